//! Keeps verdicts in the raw store, and reads them: the file behind `publish::Verdict`.
//!
//! In: what a publish or a person decided about a fetch. Out: `verdicts/<source>/<fetch_id>/<time>.json`,
//! `format = 1`, written once. Deliberately absent: deciding.

use bytes::Bytes;
use daymark_ingest::{IngestError, RawStore};
use daymark_plan::SourceId;
use daymark_warehouse::publish::{RowsError, Verdict};
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The format this program writes and reads.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct File {
    format: u32,
    source: SourceId,
    fetch_id: Uuid,
    /// The program that wrote this.
    program: String,
    verdicts: Vec<Verdict>,
}

/// Reads the verdicts on fetches.
pub(crate) fn reader(
    store: Option<RawStore>,
) -> impl Fn(SourceId, Uuid) -> BoxFuture<'static, Result<Vec<Verdict>, RowsError>> + Send + Sync {
    move |source, fetch_id| {
        let store = store.clone();
        Box::pin(async move {
            let mut verdicts = Vec::new();
            let Some(store) = store else { return Ok(verdicts) };
            for (key, body) in store.verdicts(&source, fetch_id).await? {
                verdicts.extend(read(&key, &body)?);
            }
            Ok(verdicts)
        })
    }
}

/// Keeps verdicts on fetches.
pub(crate) fn keeper(
    store: Option<RawStore>,
) -> impl Fn(SourceId, Uuid, Vec<Verdict>) -> BoxFuture<'static, Result<(), RowsError>> + Send + Sync
{
    move |source, fetch_id, verdicts| {
        let store = store.clone();
        Box::pin(async move {
            if let Some(store) = store {
                keep(&store, source, fetch_id, verdicts).await?;
            }
            Ok(())
        })
    }
}

/// Keeps verdicts on a fetch, and gives their key.
pub(crate) async fn keep(
    store: &RawStore,
    source: SourceId,
    fetch_id: Uuid,
    verdicts: Vec<Verdict>,
) -> Result<String, IngestError> {
    let at = verdicts.iter().map(|verdict| verdict.at).max().unwrap_or(Timestamp::UNIX_EPOCH);
    let program = concat!("daymark ", env!("CARGO_PKG_VERSION")).to_owned();
    let file = File { format: FORMAT, source: source.clone(), fetch_id, program, verdicts };
    let mut body =
        serde_json::to_vec_pretty(&file).expect("a verdict has text keys and no number JSON lacks");
    body.push(b'\n');
    store.keep_verdict(&source, fetch_id, at, Bytes::from(body)).await
}

fn read(key: &str, body: &[u8]) -> Result<Vec<Verdict>, RowsError> {
    #[derive(Deserialize)]
    struct Head {
        format: u64,
    }
    let bad = |cause| format!("the verdict `{key}` cannot be understood: {cause}");
    let head: Head = serde_json::from_slice(body).map_err(bad)?;
    if head.format != u64::from(FORMAT) {
        let found = head.format;
        return Err(format!(
            "the verdict `{key}` has format {found}; this program knows format {FORMAT}: use the daymark \
             that wrote it, or a newer one"
        )
        .into());
    }
    let file: File = serde_json::from_slice(body).map_err(bad)?;
    Ok(file.verdicts)
}
