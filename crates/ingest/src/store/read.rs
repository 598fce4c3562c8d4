//! Reading objects that may be larger than memory.
//!
//! In: keys. Out: their hash, or their bytes from front to back, checked before the first is given.
//! Deliberately absent: small objects; [`RawStore::read`] has them whole.

use std::fs::File;
use std::io::{self, Read, Seek};

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use sha2::{Digest as _, Sha256};

use super::{Backend, RawStore};
use crate::error::IngestError;
use crate::manifest::Page;
use crate::spool::{Spool, Spooled};

/// How much is read at once.
const PIECE: usize = 128 << 10;

/// What the bytes of an object are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Digest {
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

impl RawStore {
    /// The bytes of a page, checked against the hash its manifest has for them.
    pub async fn read_page(&self, page: &Page) -> Result<Bytes, IngestError> {
        let body = self.read(&page.archive_key).await?;
        self.is_page(page, daymark_plan::sha256_hex(&body))?;
        Ok(body)
    }

    /// The same to be read from front to back, however large. That of a bucket is a file first: what is
    /// given was checked whole.
    pub async fn open_page(&self, page: &Page) -> Result<Box<dyn Read + Send>, IngestError> {
        let key = &page.archive_key;
        if let Backend::Files(files) = &self.backend {
            let path = Path::parse(key).map_err(|error| self.not_read(key, error.into()))?;
            let file = files.file(&path).await.map_err(|cause| self.not_read(key, cause))?;
            let (digest, mut file) = self.digest_of(key, file).await?;
            self.is_page(page, digest.sha256)?;
            file.rewind().map_err(|error| self.not_read(key, broken(error)))?;
            return Ok(Box::new(file));
        }
        let spooled = self.spooled(key).await?;
        self.is_page(page, spooled.sha256().to_owned())?;
        spooled.into_reader().map_err(|error| self.not_read(key, broken(error)))
    }

    /// The hash of an object.
    pub(crate) async fn digest(&self, key: &str) -> Result<Digest, IngestError> {
        let failed = |cause| self.not_read(key, cause);
        let path = Path::parse(key).map_err(|error| failed(error.into()))?;
        match &self.backend {
            Backend::Files(files) => {
                let file = files.file(&path).await.map_err(failed)?;
                Ok(self.digest_of(key, file).await?.0)
            }
            Backend::Objects(objects, _) => {
                let mut stream = objects.stream(&path).await.map_err(failed)?;
                let (mut hash, mut bytes) = (Sha256::new(), 0);
                while let Some(piece) = stream.try_next().await.map_err(failed)? {
                    hash.update(&piece);
                    bytes += piece.len() as u64;
                }
                Ok(Digest { bytes, sha256: daymark_plan::hex(&hash.finalize()) })
            }
        }
    }

    async fn digest_of(&self, key: &str, mut file: File) -> Result<(Digest, File), IngestError> {
        let reading = tokio::task::spawn_blocking(move || {
            let (mut hash, mut bytes) = (Sha256::new(), 0);
            let mut piece = vec![0; PIECE];
            loop {
                let count = match file.read(&mut piece) {
                    Ok(0) => break,
                    Ok(count) => count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(error),
                };
                hash.update(&piece[..count]);
                bytes += count as u64;
            }
            Ok((Digest { bytes, sha256: daymark_plan::hex(&hash.finalize()) }, file))
        });
        match reading.await {
            Ok(read) => read.map_err(|error| self.not_read(key, broken(error))),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    /// An object as it came over the network, out of the way.
    async fn spooled(&self, key: &str) -> Result<Spooled, IngestError> {
        let failed = |cause| self.not_read(key, cause);
        let path = Path::parse(key).map_err(|error| failed(error.into()))?;
        let mut spool: Spool = self.spool();
        if let Backend::Objects(objects, _) = &self.backend {
            let mut stream = objects.stream(&path).await.map_err(failed)?;
            while let Some(piece) = stream.try_next().await.map_err(failed)? {
                spool.write(piece).await.map_err(IngestError::Spool)?;
            }
        }
        spool.finish().await.map_err(IngestError::Spool)
    }

    fn is_page(&self, page: &Page, found: String) -> Result<(), IngestError> {
        if found == page.sha256 {
            return Ok(());
        }
        let (store, key) = (self.shown.to_string(), page.archive_key.clone());
        Err(IngestError::Damaged { store, key, found })
    }
}

impl Spooled {
    /// All of it, from front to back; a file goes when the reader does.
    fn into_reader(self) -> io::Result<Box<dyn Read + Send>> {
        let reader = self.reader()?;
        Ok(Box::new(Held { reader, _spooled: self }))
    }
}

/// A reader, and what it reads from.
struct Held {
    reader: Box<dyn Read + Send>,
    _spooled: Spooled,
}

impl Read for Held {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.reader.read(into)
    }
}

fn broken(error: io::Error) -> object_store::Error {
    object_store::Error::Generic { store: "file", source: error.into() }
}
