//! Copies a raw layer from one store to another.
//!
//! In: two stores. Out: the second has all the first has. What is there in the same size is not copied
//! again, so a copy that was interrupted goes on where it was; manifests come last, so that whoever reads
//! the target never finds one without its objects. Deliberately absent: deleting what only the target has.

use futures::{StreamExt, stream};
use serde::Serialize;

use crate::error::IngestError;
use crate::store::{ObjectInfo, RawStore};

/// The folders of a raw layer, in the order they are copied in.
const FOLDERS: [&str; 5] = ["archive", "raw", "verdicts", "cursors", "manifests"];

/// How many objects are copied at once.
const AT_ONCE: usize = 8;

/// What a copy did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct SyncReport {
    /// Objects copied.
    pub copied: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that were there already.
    pub there: u64,
}

/// Copies everything that `to` lacks. `watch` is told of each object.
pub async fn sync(
    from: &RawStore,
    to: &RawStore,
    watch: &(dyn Fn(&ObjectInfo) + Sync),
) -> Result<SyncReport, IngestError> {
    let mut report = SyncReport::default();
    for folder in FOLDERS {
        let (wanted, there) = (from.list(folder).await?, to.list(folder).await?);
        let there: std::collections::HashMap<&str, &ObjectInfo> =
            there.iter().map(|object| (object.key.as_str(), object)).collect();
        // A raw object is written over when a newer answer comes, and may keep its size.
        let same = |object: &ObjectInfo| {
            there.get(object.key.as_str()).is_some_and(|copy| {
                copy.size == object.size && (folder != "raw" || copy.modified >= object.modified)
            })
        };
        let (same, wanted): (Vec<_>, Vec<_>) = wanted.into_iter().partition(same);
        report.there += same.len() as u64;
        let copies = wanted.iter().map(|object| async move {
            let body = from.read(&object.key).await?;
            let bytes = body.len() as u64;
            to.copy_in(&object.key, body).await?;
            watch(object);
            Ok::<u64, IngestError>(bytes)
        });
        let mut copies = stream::iter(copies).buffer_unordered(AT_ONCE);
        while let Some(bytes) = copies.next().await {
            report.bytes += bytes?;
            report.copied += 1;
        }
    }
    Ok(report)
}
