//! The raw store in a bucket (`s3://`), and in memory: what `object_store` has.
//!
//! In: bytes and keys. Out: objects. Large bodies go up in parts of bounded size. Deliberately absent:
//! what a key means.

use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{
    Error, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, Result,
    WriteMultipart,
};
use tokio::io::AsyncReadExt;

use super::{Mode, ObjectInfo};

/// A body larger than this goes up in parts.
const IN_PARTS_FROM: u64 = 16 << 20;

/// The size of a part; S3 takes none under 5 MiB but the last.
const PART: usize = 8 << 20;

/// How many parts are on their way at once.
const PARTS_AT_ONCE: usize = 2;

/// How often a write is tried whose answer is lost.
const TRIES: u32 = 4;

/// How long is waited before the second try; longer before each further one.
const PAUSE: Duration = Duration::from_millis(200);

/// A store of objects.
#[derive(Debug, Clone)]
pub(super) struct Objects {
    pub(super) store: Arc<dyn ObjectStore>,
}

impl Objects {
    /// Writes bytes; gives the version of the object, where the bucket keeps versions.
    pub(super) async fn put(&self, key: &Path, body: Bytes, mode: Mode) -> Result<Option<String>> {
        let mode = match mode {
            Mode::Create => PutMode::Create,
            Mode::Overwrite => PutMode::Overwrite,
        };
        let mut tries = 1;
        loop {
            let payload = PutPayload::from_bytes(body.clone());
            let put = self.store.put_opts(key, payload, PutOptions::from(mode.clone())).await;
            match put {
                Ok(put) => return Ok(put.version),
                // `object_store` does not repeat a conditional write whose answer was lost: it may have
                // been done. Here that can be told: what is there then is what was to be written. A store
                // that is full has answered.
                Err(error @ Error::Generic { .. })
                    if mode == PutMode::Create
                        && tries < TRIES
                        && !daymark_plan::one_line(&error).contains("StorageFull") =>
                {
                    tokio::time::sleep(PAUSE * tries).await;
                    tries += 1;
                }
                Err(Error::AlreadyExists { .. })
                    if tries > 1 && self.get(key).await.is_ok_and(|there| there == body) =>
                {
                    return Ok(self.version(key).await);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes a file. A large one goes up in parts, which cannot be create-only: that is left to keys
    /// that name their content, where writing twice writes the same.
    pub(super) async fn put_file(
        &self,
        key: &Path,
        file: &FilePath,
        len: u64,
        mode: Mode,
    ) -> Result<Option<String>> {
        let failed =
            |error: std::io::Error| Error::Generic { store: "spool", source: error.into() };
        if len <= IN_PARTS_FROM {
            let body = tokio::fs::read(file).await.map_err(failed)?;
            return self.put(key, body.into(), mode).await;
        }
        if mode == Mode::Create && self.store.head(key).await.is_ok() {
            return Err(Error::AlreadyExists {
                path: key.to_string(),
                source: "it is there".into(),
            });
        }
        let mut file = tokio::fs::File::open(file).await.map_err(failed)?;
        let upload = self.store.put_multipart(key).await?;
        let mut writing = WriteMultipart::new_with_chunk_size(upload, PART);
        let mut buffer = vec![0; 1 << 20];
        loop {
            writing.wait_for_capacity(PARTS_AT_ONCE).await?;
            match file.read(&mut buffer).await {
                Ok(0) => break,
                Ok(count) => writing.write(&buffer[..count]),
                Err(error) => {
                    writing.abort().await?;
                    return Err(failed(error));
                }
            }
        }
        Ok(writing.finish().await?.version)
    }

    /// The bytes of an object.
    pub(super) async fn get(&self, key: &Path) -> Result<Bytes> {
        self.store.get(key).await?.bytes().await
    }

    /// The version of an object, where the bucket keeps versions. It is good to know and not needed.
    pub(super) async fn version(&self, key: &Path) -> Option<String> {
        self.store.head(key).await.ok()?.version
    }

    /// The bytes of an object as they come.
    pub(super) async fn stream(&self, key: &Path) -> Result<BoxStream<'static, Result<Bytes>>> {
        Ok(self.store.get(key).await?.into_stream())
    }

    /// Copies an object to another key, within the bucket.
    pub(super) async fn copy(&self, from: &Path, to: &Path) -> Result<()> {
        self.store.copy(from, to).await
    }

    /// What is known of an object without reading it.
    pub(super) async fn head(&self, key: &Path) -> Result<ObjectInfo> {
        self.store.head(key).await.map(|meta| info(&meta))
    }

    /// The keys under a prefix after a key, in order.
    pub(super) async fn names(&self, prefix: &Path, after: Option<&str>) -> Result<Vec<String>> {
        let listed = match after {
            Some(after) => self.store.list_with_offset(Some(prefix), &Path::from(after)),
            None => self.store.list(Some(prefix)),
        };
        let listed: Vec<ObjectMeta> = listed.try_collect().await?;
        let mut keys: Vec<String> =
            listed.into_iter().map(|object| object.location.to_string()).collect();
        keys.sort_unstable();
        Ok(keys)
    }

    /// Every object under a prefix, in order.
    pub(super) async fn list(&self, prefix: &Path) -> Result<Vec<ObjectInfo>> {
        let prefix = Some(prefix).filter(|prefix| !prefix.as_ref().is_empty());
        let listed: Vec<ObjectMeta> = self.store.list(prefix).try_collect().await?;
        let mut found: Vec<ObjectInfo> = listed.iter().map(info).collect();
        found.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }

    /// Removes an object; for the probe's own.
    pub(super) async fn remove(&self, key: &Path) -> Result<()> {
        self.store.delete(key).await
    }
}

fn info(meta: &ObjectMeta) -> ObjectInfo {
    let modified = Timestamp::from_second(meta.last_modified.timestamp()).ok();
    ObjectInfo { key: meta.location.to_string(), size: meta.size, modified }
}
