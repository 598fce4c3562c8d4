//! A body while it is received: hashed as it comes, in memory at first, in a file when it grows.
//!
//! In: chunks of bytes. Out: a [`Spooled`] body that can be read and stored several times. Deliberately
//! absent: where bodies are kept in the end.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

/// A body larger than this goes to a file.
const IN_MEMORY: usize = 1 << 20;

/// How much of the beginning is kept at hand.
const START: usize = 64;

/// A body being received.
#[derive(Debug)]
pub(crate) struct Spool {
    folder: Option<PathBuf>,
    hash: Sha256,
    memory: BytesMut,
    file: Option<NamedTempFile>,
    start: Vec<u8>,
    len: u64,
}

/// A body that was received whole.
#[derive(Debug, Clone)]
pub(crate) struct Spooled {
    content: Content,
    sha256: Arc<str>,
    start: Arc<[u8]>,
    len: u64,
}

#[derive(Debug, Clone)]
enum Content {
    Memory(Bytes),
    File(Arc<NamedTempFile>),
}

impl Spool {
    /// A spool whose file, if it needs one, is made in `folder`, or else where the system has such files.
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        Self {
            folder,
            hash: Sha256::new(),
            memory: BytesMut::new(),
            file: None,
            start: Vec::new(),
            len: 0,
        }
    }

    /// Takes the next bytes.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.len += bytes.len() as u64;
        let missing = START.saturating_sub(self.start.len()).min(bytes.len());
        self.start.extend_from_slice(&bytes[..missing]);
        if let Some(file) = &mut self.file {
            return file.write_all(bytes);
        }
        self.memory.extend_from_slice(bytes);
        if self.memory.len() > IN_MEMORY {
            let mut file = match &self.folder {
                Some(folder) => {
                    tokio::fs::create_dir_all(folder).await?;
                    NamedTempFile::new_in(folder)?
                }
                None => NamedTempFile::new()?,
            };
            file.write_all(&self.memory)?;
            self.memory = BytesMut::new();
            self.file = Some(file);
        }
        Ok(())
    }

    /// The whole body.
    pub(crate) async fn finish(self) -> io::Result<Spooled> {
        let content = match self.file {
            Some(mut file) => {
                file.flush()?;
                let synced = tokio::task::spawn_blocking(move || {
                    file.as_file().sync_all()?;
                    Ok::<_, io::Error>(file)
                });
                Content::File(Arc::new(synced.await.map_err(io::Error::other)??))
            }
            None => Content::Memory(self.memory.freeze()),
        };
        Ok(Spooled {
            content,
            sha256: daymark_plan::hex(&self.hash.finalize()).into(),
            start: self.start.into(),
            len: self.len,
        })
    }
}

impl Spooled {
    /// Its SHA-256, in hexadecimal.
    pub(crate) fn sha256(&self) -> &str {
        &self.sha256
    }

    /// How many bytes it has.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Its first bytes.
    pub(crate) fn starts_with(&self) -> &[u8] {
        &self.start
    }

    /// The file it is in, when it is in one.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        match &self.content {
            Content::Memory(_) => None,
            Content::File(file) => Some(file.path().to_owned()),
        }
    }

    /// A body that is in memory already.
    pub(crate) fn of(bytes: Bytes) -> Self {
        let start: Vec<u8> = bytes.iter().take(START).copied().collect();
        Self {
            sha256: daymark_plan::sha256_hex(&bytes).into(),
            start: start.into(),
            len: bytes.len() as u64,
            content: Content::Memory(bytes),
        }
    }

    /// All of it.
    pub(crate) async fn read(&self) -> io::Result<Bytes> {
        match &self.content {
            Content::Memory(bytes) => Ok(bytes.clone()),
            Content::File(file) => Ok(tokio::fs::read(file.path()).await?.into()),
        }
    }
}
