//! The raw store: objects under the keys of `keys.rs`.
//!
//! In: bytes and keys. Out: objects that are written whole or not at all (`object_store` publishes
//! a finished file by linking it into place) and, for `file:`, are on the disk when the call returns.
//! Deliberately absent: deleting anything; `s3:`, which comes with the AWS issue and needs a branch
//! in [`RawStore::open`] only.

use std::sync::Arc;

use bytes::Bytes;
use daymark_plan::{RawUrl, SourceId, sha256_hex};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use crate::error::IngestError;
use crate::keys::RawKey;
use crate::manifest::{Manifest, Page, StoredManifest};
use crate::spool::{Spool, Spooled};

/// How many manifests are read at once.
const READ_AT_ONCE: usize = 16;

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    /// The version of the object, in a bucket that keeps versions.
    pub(crate) version: Option<String>,
}

impl std::fmt::Display for RawStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

/// The raw store of a pipeline.
#[derive(Debug, Clone)]
pub struct RawStore {
    objects: Arc<dyn ObjectStore>,
    shown: Arc<str>,
    /// Where bodies are put while they are received: on the disk they will be on.
    spool_folder: Option<Arc<std::path::Path>>,
}

impl RawStore {
    /// Opens the store, making its folder when it is not there.
    pub fn open(url: &RawUrl) -> Result<Self, IngestError> {
        let shown: Arc<str> = url.to_string().into();
        match url {
            RawUrl::File(folder) => {
                let failed = |cause| IngestError::OpenStore { store: shown.to_string(), cause };
                std::fs::create_dir_all(folder).map_err(failed)?;
                let files = LocalFileSystem::new_with_prefix(folder)
                    .map_err(|error| failed(std::io::Error::other(error)))?
                    .with_fsync(true);
                let spool_folder = Some(folder.join("tmp").into());
                Ok(Self { objects: Arc::new(files), shown, spool_folder })
            }
        }
    }

    /// The bytes of an object.
    pub async fn read(&self, key: &str) -> Result<Bytes, IngestError> {
        let failed = |cause| self.not_read(key, cause);
        let path = Path::parse(key).map_err(|error| failed(error.into()))?;
        self.objects.get(&path).await.map_err(failed)?.bytes().await.map_err(failed)
    }

    /// The bytes of a page, checked against the hash its manifest has for them.
    pub async fn read_page(&self, page: &Page) -> Result<Bytes, IngestError> {
        let body = self.read(&page.archive_key).await?;
        let found = sha256_hex(&body);
        if found != page.sha256 {
            let (store, key) = (self.shown.to_string(), page.archive_key.clone());
            return Err(IngestError::Damaged { store, key, found });
        }
        Ok(body)
    }

    /// The keys of a source's manifests, in order: all, or those after a key (see
    /// [`RawKey::manifests_from`]). Files that are not manifests are passed over.
    pub async fn manifest_keys(
        &self,
        source: &SourceId,
        after: Option<&str>,
    ) -> Result<Vec<String>, IngestError> {
        let prefix = RawKey::manifests_of(source);
        let listed = match after {
            Some(after) => self.objects.list_with_offset(Some(&prefix), &Path::from(after)),
            None => self.objects.list(Some(&prefix)),
        };
        let failed = |cause| {
            let (store, prefix) = (self.shown.to_string(), prefix.to_string());
            IngestError::ListObjects { store, prefix, cause }
        };
        let listed: Vec<_> = listed.try_collect().await.map_err(failed)?;
        let mut keys: Vec<String> =
            listed.into_iter().map(|object| object.location.to_string()).collect();
        keys.retain(|key| RawKey::fetched_at(key).is_some());
        keys.sort_unstable();
        Ok(keys)
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

    /// Archives a body. Equal bytes that are there already are as good; other bytes under the name
    /// of these are damage, and these repair it.
    pub(crate) async fn archive_spooled(
        &self,
        key: &RawKey<'_>,
        body: &Spooled,
    ) -> Result<Written, IngestError> {
        let body = &body.read().await.map_err(IngestError::Spool)?;
        match self.put(key, body.clone(), PutMode::Create).await {
            Err(object_store::Error::AlreadyExists { .. }) => {
                let key_text = key.to_string();
                if self.read(&key_text).await? == *body {
                    return Ok(Written { version: None });
                }
                tracing::warn!(store = %self.shown, key = %key_text, "a damaged archive object was repaired");
                self.overwrite(key, body.clone()).await
            }
            done => done.map_err(|cause| self.not_written(key, cause)),
        }
    }

    /// Writes an object that may be there already.
    pub(crate) async fn overwrite_spooled(
        &self,
        key: &RawKey<'_>,
        body: &Spooled,
    ) -> Result<Written, IngestError> {
        self.overwrite(key, body.read().await.map_err(IngestError::Spool)?).await
    }

    /// A body to be received.
    pub(crate) fn spool(&self) -> Spool {
        Spool::new(self.spool_folder.as_deref().map(std::path::Path::to_owned))
    }

    /// The store's time.
    pub(crate) async fn server_time(&self) -> Option<jiff::Timestamp> {
        std::future::ready(None).await
    }

    /// The keys under a prefix.
    pub(crate) async fn keys(&self, prefix: &Path) -> Result<Vec<String>, IngestError> {
        let failed = |cause| {
            let (store, prefix) = (self.shown.to_string(), prefix.to_string());
            IngestError::ListObjects { store, prefix, cause }
        };
        let listed: Vec<_> = self.objects.list(Some(prefix)).try_collect().await.map_err(failed)?;
        Ok(listed.into_iter().map(|object| object.location.to_string()).collect())
    }

    /// Writes an object that may be there already.
    pub(crate) async fn overwrite(
        &self,
        key: &RawKey<'_>,
        body: Bytes,
    ) -> Result<Written, IngestError> {
        let done = self.put(key, body, PutMode::Overwrite).await;
        done.map_err(|cause| self.not_written(key, cause))
    }

    /// Writes an object that must not be there.
    pub(crate) async fn create(
        &self,
        key: &RawKey<'_>,
        body: Bytes,
    ) -> Result<Written, IngestError> {
        let done = self.put(key, body, PutMode::Create).await;
        done.map_err(|cause| self.not_written(key, cause))
    }

    async fn put(
        &self,
        key: &RawKey<'_>,
        body: Bytes,
        mode: PutMode,
    ) -> object_store::Result<Written> {
        let payload = PutPayload::from_bytes(body);
        self.objects
            .put_opts(&key.path(), payload, PutOptions::from(mode))
            .await
            .map(|put| Written { version: put.version })
    }

    fn not_read(&self, key: &str, cause: object_store::Error) -> IngestError {
        IngestError::ReadObject { store: self.shown.to_string(), key: key.to_owned(), cause }
    }

    fn not_written(&self, key: &RawKey<'_>, cause: object_store::Error) -> IngestError {
        IngestError::WriteObject { store: self.shown.to_string(), key: key.to_string(), cause }
    }
}
