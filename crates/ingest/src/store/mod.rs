//! The raw store: objects under the keys of `keys.rs`, in a folder, a bucket or memory.
//!
//! In: bytes and keys. Out: objects that are written whole or not at all and are kept when the call
//! returns. Deliberately absent: deleting anything but the probe's own object.

mod answers;
#[cfg(test)]
mod buckets;
#[cfg(test)]
mod contract;
mod files;
mod folders;
mod objects;
mod probe;
mod read;
mod recent;
mod s3;
#[cfg(test)]
mod strict;
mod syncs;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use daymark_plan::{RawUrl, SourceId};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;

pub(crate) use read::Digest;
pub(crate) use s3::signer;

use crate::error::IngestError;
use crate::keys::RawKey;
use crate::manifest::{Manifest, StoredManifest};
use crate::spool::{Spool, Spooled};
use files::{Content, Files};
use objects::Objects;
use s3::Bucket;

/// How many manifests are read at once.
pub(crate) const READ_AT_ONCE: usize = 16;

/// The raw store of a pipeline.
#[derive(Debug, Clone)]
pub struct RawStore {
    backend: Backend,
    shown: Arc<str>,
    /// How many more writes a test lets this store do.
    #[cfg(test)]
    writes_left: Option<Arc<std::sync::atomic::AtomicI64>>,
}

#[derive(Debug, Clone)]
enum Backend {
    Files(Files),
    Objects(Objects, Option<Arc<Bucket>>),
}

/// Whether what is there may be written over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Create,
    Overwrite,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    /// The version of the object, in a bucket that keeps versions.
    pub(crate) version: Option<String>,
}

/// An object of the store.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ObjectInfo {
    /// Its key.
    pub key: String,
    /// Its bytes.
    pub size: u64,
    /// When it was written, as the store has it.
    pub modified: Option<Timestamp>,
}

impl std::fmt::Display for RawStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

impl RawStore {
    /// Opens the store, making its folder when it is not there. A bucket is first asked when it is used.
    pub fn open(url: &RawUrl) -> Result<Self, IngestError> {
        let shown: Arc<str> = url.to_string().into();
        let failed = |cause| IngestError::OpenStore { store: shown.to_string(), cause };
        let backend = match url {
            RawUrl::File(folder) => Backend::Files(Files::open(folder).map_err(failed)?),
            RawUrl::S3(location) => {
                let bucket =
                    Bucket::open(location).map_err(|e| failed(std::io::Error::other(e)))?;
                let objects = Objects { store: bucket.objects() };
                Backend::Objects(objects, Some(Arc::new(bucket)))
            }
        };
        Ok(Self::made(backend, shown))
    }

    /// Opens the store to look into it: a folder that is not there is not made, it is a store without
    /// objects.
    pub fn open_to_read(url: &RawUrl) -> Result<Self, IngestError> {
        match url {
            RawUrl::File(folder) if !folder.is_dir() => {
                Ok(Self::over(Arc::new(InMemory::new()), &url.to_string()))
            }
            RawUrl::File(_) | RawUrl::S3(_) => Self::open(url),
        }
    }

    /// A store that is gone with this process.
    pub fn in_memory() -> Self {
        Self::over(Arc::new(InMemory::new()), "memory:")
    }

    /// A store over any other; `shown` names it.
    pub fn over(store: Arc<dyn ObjectStore>, shown: &str) -> Self {
        Self::made(Backend::Objects(Objects { store }, None), shown.into())
    }

    fn made(backend: Backend, shown: Arc<str>) -> Self {
        Self {
            backend,
            shown,
            #[cfg(test)]
            writes_left: None,
        }
    }

    /// The bytes of an object.
    pub async fn read(&self, key: &str) -> Result<Bytes, IngestError> {
        let failed = |cause| self.not_read(key, cause);
        let path = Path::parse(key).map_err(|error| failed(error.into()))?;
        match &self.backend {
            Backend::Files(files) => files.get(&path).await,
            Backend::Objects(objects, _) => objects.get(&path).await,
        }
        .map_err(failed)
    }

    /// What is known of an object without reading it; none when it is not there.
    pub async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, IngestError> {
        let failed = |cause| self.not_read(key, cause);
        let path = Path::parse(key).map_err(|error| failed(error.into()))?;
        let found = match &self.backend {
            Backend::Files(files) => files.head(&path).await,
            Backend::Objects(objects, _) => objects.head(&path).await,
        };
        match found {
            Ok(info) => Ok(Some(info)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// The keys of a source's manifests, in order: all, or those after a key (see
    /// [`RawKey::manifests_from`]). Files that are not manifests are passed over. In a bucket one request
    /// brings a thousand; in a folder no file is looked at.
    pub async fn manifest_keys(
        &self,
        source: &SourceId,
        after: Option<&str>,
    ) -> Result<Vec<String>, IngestError> {
        let mut keys = self.names(&RawKey::manifests_of(source), after).await?;
        keys.retain(|key| RawKey::fetched_at(key).is_some());
        Ok(keys)
    }

    /// The keys of a source's manifests after a key, in order: what is new since then. In a bucket one
    /// request brings a thousand; in a folder, what others than daymark copied into it may be missing,
    /// and [`Self::manifest_keys`] finds it.
    pub async fn new_manifest_keys(
        &self,
        source: &SourceId,
        after: &str,
    ) -> Result<Vec<String>, IngestError> {
        let prefix = RawKey::manifests_of(source);
        let keys = match &self.backend {
            Backend::Files(files) => files.recent(&prefix, after).await,
            Backend::Objects(objects, _) => objects.names(&prefix, Some(after)).await,
        };
        let mut keys = keys.map_err(|cause| self.not_listed(&prefix, cause))?;
        keys.retain(|key| RawKey::fetched_at(key).is_some());
        Ok(keys)
    }

    /// The keys under a prefix, in order: all, or those after a key.
    pub(crate) async fn names(
        &self,
        prefix: &Path,
        after: Option<&str>,
    ) -> Result<Vec<String>, IngestError> {
        match &self.backend {
            Backend::Files(files) => files.names(prefix, after).await,
            Backend::Objects(objects, _) => objects.names(prefix, after).await,
        }
        .map_err(|cause| self.not_listed(prefix, cause))
    }

    /// Every object whose key starts with the folders of `prefix`, in order; all for `""`.
    pub async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, IngestError> {
        let prefix = Path::from(prefix);
        match &self.backend {
            Backend::Files(files) => files.list(&prefix).await,
            Backend::Objects(objects, _) => objects.list(&prefix).await,
        }
        .map_err(|cause| self.not_listed(&prefix, cause))
    }

    /// The manifest of a key.
    pub async fn manifest(&self, key: &str) -> Result<StoredManifest, IngestError> {
        let manifest = Manifest::from_json(key, &self.read(key).await?)?;
        Ok(StoredManifest { key: key.to_owned(), manifest })
    }

    /// The manifests of a source in key order: all, or those after a key.
    pub async fn manifests(
        &self,
        source: &SourceId,
        after: Option<&str>,
    ) -> Result<Vec<StoredManifest>, IngestError> {
        let keys = self.manifest_keys(source, after).await?;
        let reading = keys.iter().map(|key| self.manifest(key));
        stream::iter(reading).buffered(READ_AT_ONCE).try_collect().await
    }

    /// The store's own time, where it has one: that of the server a bucket is on. An unreachable server
    /// has none to compare with; whoever writes to it will say so.
    pub async fn server_time(&self) -> Option<Timestamp> {
        match &self.backend {
            Backend::Objects(_, Some(bucket)) => bucket.server_time().await,
            Backend::Objects(_, None) | Backend::Files(_) => None,
        }
    }

    /// A body to be received.
    pub(crate) fn spool(&self) -> Spool {
        match &self.backend {
            Backend::Files(files) => Spool::new(Some(files.spool_folder())),
            Backend::Objects(..) => Spool::new(None),
        }
    }

    /// Archives a body, and then writes it as its raw object, which may be there already: where the archive
    /// does not take it, the raw object stays what it was.
    pub(crate) async fn archive_and_overwrite(
        &self,
        archive: &RawKey<'_>,
        raw: &RawKey<'_>,
        body: &Spooled,
    ) -> Result<Written, IngestError> {
        if let Backend::Files(files) = &self.backend {
            match self.put_twice(files, archive, raw, body).await {
                // Whether they are equal bytes has to be looked at.
                Err(object_store::Error::AlreadyExists { .. }) => {}
                done => {
                    let written = done.map_err(|cause| self.not_written(archive, cause))?;
                    written.map_err(|cause| self.not_written(raw, cause))?;
                    return Ok(Written { version: None });
                }
            }
        }
        let archived = self.archive(archive, body).await?;
        self.overwrite(raw, body).await?;
        Ok(archived)
    }

    /// Archives a body. Equal bytes that are there already are as good; other bytes under the name
    /// of these are damage, and these repair it.
    pub(crate) async fn archive(
        &self,
        key: &RawKey<'_>,
        body: &Spooled,
    ) -> Result<Written, IngestError> {
        match self.put_spooled(key, body, Mode::Create).await {
            Err(object_store::Error::AlreadyExists { .. }) => {
                let key_text = key.to_string();
                let there = self.digest(&key_text).await?;
                if there.bytes == body.len() && there.sha256 == body.sha256() {
                    let version = match &self.backend {
                        Backend::Objects(objects, Some(_)) => objects.version(&key.path()).await,
                        Backend::Objects(_, None) | Backend::Files(_) => None,
                    };
                    return Ok(Written { version });
                }
                tracing::warn!(store = %self.shown, key = %key_text, "a damaged archive object was repaired");
                self.overwrite(key, body).await
            }
            done => done.map_err(|cause| self.not_written(key, cause)),
        }
    }

    /// Writes an object that may be there already.
    pub(crate) async fn overwrite(
        &self,
        key: &RawKey<'_>,
        body: &Spooled,
    ) -> Result<Written, IngestError> {
        let done = self.put_spooled(key, body, Mode::Overwrite).await;
        done.map_err(|cause| self.not_written(key, cause))
    }

    /// Writes what is at a key to another that may be there already.
    pub(crate) async fn copy(&self, from: &str, to: &RawKey<'_>) -> Result<(), IngestError> {
        let copied = async {
            #[cfg(test)]
            self.outlive()?;
            let from = Path::parse(from)?;
            match &self.backend {
                Backend::Files(files) => files.copy(&from, &to.path()).await,
                Backend::Objects(objects, _) => objects.copy(&from, &to.path()).await,
            }
        };
        copied.await.map_err(|cause| self.not_written(to, cause))
    }

    /// Writes an object that must not be there.
    pub(crate) async fn create(&self, key: &RawKey<'_>, body: Bytes) -> Result<(), IngestError> {
        let done = self.put(&key.path(), body, Mode::Create).await;
        done.map(|_| ()).map_err(|cause| self.not_written(key, cause))
    }

    /// Writes an object under a key of another store, as a copy of that store's.
    pub(crate) async fn copy_in(&self, key: &str, body: Bytes) -> Result<(), IngestError> {
        let failed = |cause| {
            let (store, cause) = (self.shown.to_string(), s3::in_words(cause, key));
            IngestError::WriteObject { store, key: key.to_owned(), cause }
        };
        let path = Path::parse(key).map_err(|error| failed(error.into()))?;
        self.put(&path, body, Mode::Overwrite).await.map(|_| ()).map_err(failed)
    }

    async fn put(&self, key: &Path, body: Bytes, mode: Mode) -> object_store::Result<Written> {
        #[cfg(test)]
        self.outlive()?;
        let version = match &self.backend {
            Backend::Files(files) => files.put(key, body, mode).await.map(|()| None)?,
            Backend::Objects(objects, _) => objects.put(key, body, mode).await?,
        };
        Ok(Written { version })
    }

    async fn put_spooled(
        &self,
        key: &RawKey<'_>,
        body: &Spooled,
        mode: Mode,
    ) -> object_store::Result<Written> {
        let key = key.path();
        let Some(file) = body.file() else {
            return self.put(&key, body.read().await.map_err(spool_failed)?, mode).await;
        };
        #[cfg(test)]
        self.outlive()?;
        let version = match &self.backend {
            Backend::Files(files) => files.put_file(&key, file, mode).await.map(|()| None)?,
            Backend::Objects(objects, _) => objects.put_file(&key, &file, body.len(), mode).await?,
        };
        Ok(Written { version })
    }

    async fn put_twice(
        &self,
        files: &Files,
        create: &RawKey<'_>,
        overwrite: &RawKey<'_>,
        body: &Spooled,
    ) -> object_store::Result<object_store::Result<()>> {
        let content = match body.file() {
            Some(file) => Content::File(file),
            None => body.read().await.map_err(spool_failed)?.into(),
        };
        #[cfg(test)]
        {
            self.outlive()?;
            // Dead between the one and the other.
            if let Err(dead) = self.outlive() {
                match content {
                    Content::Memory(bytes) => files.put(&create.path(), bytes, Mode::Create).await,
                    Content::File(file) => files.put_file(&create.path(), file, Mode::Create).await,
                }?;
                return Err(dead);
            }
        }
        files.put_twice(&create.path(), &overwrite.path(), content).await
    }

    /// The folder of a store that is one.
    pub fn folder(&self) -> Option<PathBuf> {
        match &self.backend {
            Backend::Files(files) => files.spool_folder().parent().map(std::path::Path::to_owned),
            Backend::Objects(..) => None,
        }
    }

    fn not_read(&self, key: &str, cause: object_store::Error) -> IngestError {
        let cause = s3::in_words(cause, key);
        IngestError::ReadObject { store: self.shown.to_string(), key: key.to_owned(), cause }
    }

    fn not_listed(&self, prefix: &Path, cause: object_store::Error) -> IngestError {
        let (store, prefix) = (self.shown.to_string(), prefix.to_string());
        let cause = s3::in_words(cause, &prefix);
        IngestError::ListObjects { store, prefix, cause }
    }

    fn not_written(&self, key: &RawKey<'_>, cause: object_store::Error) -> IngestError {
        let cause = s3::in_words(cause, &key.to_string());
        IngestError::WriteObject { store: self.shown.to_string(), key: key.to_string(), cause }
    }
}

fn spool_failed(error: std::io::Error) -> object_store::Error {
    object_store::Error::Generic { store: "spool", source: error.into() }
}
