//! Verdicts: what was decided about a fetch, kept beside what it brought.
//!
//! In: bytes, which are the caller's. Out: objects that are written once and never changed, in the order
//! they were written. Deliberately absent: what stands in them; this crate decides nothing about rows.

use bytes::Bytes;
use daymark_plan::SourceId;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::error::IngestError;
use crate::keys::RawKey;
use crate::store::RawStore;

/// How many are read at once.
const READ_AT_ONCE: usize = 8;

/// How many writers of one microsecond are made way for.
const TRIES: u32 = 16;

impl RawStore {
    /// The verdicts on a fetch, oldest first, each with its key.
    pub async fn verdicts(
        &self,
        source: &SourceId,
        fetch_id: Uuid,
    ) -> Result<Vec<(String, Bytes)>, IngestError> {
        let mut keys = self.names(&RawKey::verdicts_on(source, fetch_id), None).await?;
        keys.retain(|key| RawKey::is_verdict(key));
        let reading = keys.into_iter().map(|key| async move {
            let body = self.read(&key).await?;
            Ok((key, body))
        });
        stream::iter(reading).buffered(READ_AT_ONCE).try_collect().await
    }

    /// Keeps a verdict on a fetch for good, and gives its key. One that is there already is never
    /// overwritten: this one comes a microsecond later.
    pub async fn keep_verdict(
        &self,
        source: &SourceId,
        fetch_id: Uuid,
        at: Timestamp,
        body: Bytes,
    ) -> Result<String, IngestError> {
        let mut at = at;
        let mut tries = 1;
        loop {
            let key = RawKey::Verdict { source, fetch_id, at };
            match self.create(&key, body.clone()).await {
                Ok(()) => return Ok(key.to_string()),
                Err(IngestError::WriteObject {
                    cause: object_store::Error::AlreadyExists { .. },
                    ..
                }) if tries < TRIES => {
                    tries += 1;
                    at = at.saturating_add(SignedDuration::from_micros(1)).unwrap_or(at);
                }
                Err(error) => return Err(error),
            }
        }
    }
}
