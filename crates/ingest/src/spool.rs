//! A body while it is received: hashed as it comes, in memory at first, in a file when it grows.
//!
//! In: chunks of bytes. Out: a [`Spooled`] body that can be read and stored several times. However large
//! it is, memory holds no more than [`IN_MEMORY`] of it and the chunk that has just come; hashing and
//! writing a large one is done on a thread of its own. Deliberately absent: where bodies are kept in the
//! end.

use std::fs::{DirBuilder, File};
use std::io::{self, Cursor, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::buffers::Buffers;

/// A body larger than this goes to a file, as much at a time.
const IN_MEMORY: usize = 64 << 10;

/// How much of the beginning is kept at hand.
const START: usize = 64;

/// A body being received.
#[derive(Debug)]
pub(crate) struct Spool {
    folder: Option<PathBuf>,
    put_aside: PutAside,
    memory: BytesMut,
    start: Vec<u8>,
    len: u64,
}

/// What is not in memory any more.
#[derive(Debug, Default)]
struct PutAside {
    hash: Sha256,
    file: Option<NamedTempFile>,
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
    /// A spool whose file, if it needs one, is made in `folder` and synced, for it will be linked into
    /// place; or else it is where the system has such files.
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        Self {
            folder,
            put_aside: PutAside::default(),
            memory: BytesMut::new(),
            start: Vec::new(),
            len: 0,
        }
    }

    /// Takes the next bytes.
    pub(crate) async fn write(&mut self, chunk: Bytes) -> io::Result<()> {
        self.len += chunk.len() as u64;
        let missing = START.saturating_sub(self.start.len()).min(chunk.len());
        self.start.extend_from_slice(&chunk[..missing]);
        if self.memory.len() + chunk.len() <= IN_MEMORY {
            self.memory.extend_from_slice(&chunk);
            return Ok(());
        }
        // A large chunk is not copied beside what is there: a hundred of them may be on their way.
        let (before, folder) = (std::mem::take(&mut self.memory), self.folder.clone());
        let put_aside = std::mem::take(&mut self.put_aside);
        self.put_aside =
            blocking(move || put_aside.take(&before, folder.clone())?.take(&chunk, folder)).await?;
        Ok(())
    }

    /// The whole body.
    pub(crate) async fn finish(self) -> io::Result<Spooled> {
        let Self { folder, mut put_aside, memory, start, len } = self;
        let content = if put_aside.file.is_none() {
            put_aside.hash.update(&memory);
            Content::Memory(memory.freeze())
        } else {
            let sync = folder.is_some();
            put_aside = blocking(move || {
                let put_aside = put_aside.take(&memory, folder)?;
                if let Some(file) = put_aside.file.as_ref().filter(|_| sync) {
                    file.as_file().sync_all()?;
                }
                Ok(put_aside)
            })
            .await?;
            match put_aside.file {
                Some(file) => Content::File(Arc::new(file)),
                None => Content::Memory(Bytes::new()),
            }
        };
        let sha256 = daymark_plan::hex(&put_aside.hash.finalize()).into();
        Ok(Spooled { content, sha256, start: start.into(), len })
    }
}

impl PutAside {
    fn take(mut self, bytes: &[u8], folder: Option<PathBuf>) -> io::Result<Self> {
        self.hash.update(bytes);
        let file = match self.file.take() {
            Some(file) => file,
            None => match folder {
                Some(folder) => {
                    DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
                    NamedTempFile::new_in(folder)?
                }
                None => NamedTempFile::new()?,
            },
        };
        self.file.insert(file).write_all(bytes)?;
        Ok(self)
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
    #[cfg(test)]
    pub(crate) fn of(bytes: Bytes) -> Self {
        let start: Vec<u8> = bytes.iter().take(START).copied().collect();
        Self {
            sha256: daymark_plan::sha256_hex(&bytes).into(),
            start: start.into(),
            len: bytes.len() as u64,
            content: Content::Memory(bytes),
        }
    }

    /// All of it, in memory.
    pub(crate) async fn read(&self) -> io::Result<Bytes> {
        match &self.content {
            Content::Memory(bytes) => Ok(bytes.clone()),
            Content::File(file) => Ok(tokio::fs::read(file.path()).await?.into()),
        }
    }

    /// All of it, in memory that is used again.
    pub(crate) fn read_from(&self, buffers: &Buffers) -> io::Result<Bytes> {
        match &self.content {
            Content::Memory(bytes) => Ok(bytes.clone()),
            Content::File(file) => buffers.read(file.path(), self.len),
        }
    }

    /// All of it, from front to back.
    pub(crate) fn reader(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(match &self.content {
            Content::Memory(bytes) => Box::new(Cursor::new(bytes.clone())),
            Content::File(file) => Box::new(File::open(file.path())?),
        })
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
