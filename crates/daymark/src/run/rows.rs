//! Hands the rows of a fetch from the raw store to the publish, and those that were set aside.
//!
//! In: a manifest's key. Out: what extraction set aside, or a stream of COPY binary chunks, extracted from the archived bytes on a
//! thread of their own while PostgreSQL takes them in; a few chunks at a time, so memory is bounded by
//! the largest page, or by the longest line of one that is lines. Deliberately absent: storing anything.

use std::borrow::Cow;
use std::io::{Cursor, Read};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use daymark_extract::{CHUNK_BYTES, EntityValue, RowContext};
use daymark_ingest::{Manifest, Page, RawStore};
use daymark_plan::{Plan, RowsSpec, Source};
use daymark_warehouse::publish::{ExtractionReject, RowStream, RowsError};
use futures::future::BoxFuture;
use futures::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Chunks that may wait for PostgreSQL: also those of the next fetch while the one before is looked at.
const CHUNKS_AHEAD: usize = 8;

/// A body up to this size is read as soon as it is opened. One that is larger waits until its rows are asked
/// for: that of the fetch before it may still be in memory.
const READ_AT_ONCE: u64 = 4 << 20;

/// A fetch of more pages has them in memory: each of those that are open is a file.
const OPEN_AT_ONCE: usize = 128;

/// The reader of rows of a plan's fetches.
pub(crate) fn reader(
    plan: Arc<Plan>,
    store: RawStore,
) -> impl Fn(String) -> BoxFuture<'static, Result<RowStream, RowsError>> + Send + Sync {
    move |key| {
        let (plan, store) = (Arc::clone(&plan), store.clone());
        Box::pin(async move { open(&plan, &store, &key).await })
    }
}

/// The reader of the rows that extraction set aside of fetches.
pub(crate) fn rejects(
    store: RawStore,
) -> impl Fn(String) -> BoxFuture<'static, Result<Vec<ExtractionReject>, RowsError>> + Send + Sync {
    move |key| {
        let store = store.clone();
        Box::pin(async move {
            let rows = store.manifest(&key).await?.manifest.rows.unwrap_or_default();
            let rejects = rows.rejects.into_iter().map(|reject| ExtractionReject {
                row: reject.row,
                value: serde_json::json!({
                    "field": reject.field, "path": reject.path, "value": reject.value,
                }),
                reason: reject.reason,
            });
            Ok(rejects.collect())
        })
    }
}

async fn open(plan: &Plan, store: &RawStore, key: &str) -> Result<RowStream, RowsError> {
    let manifest = store.manifest(key).await?.manifest;
    let source = plan
        .source(&manifest.source)
        .ok_or_else(|| format!("the folder has no source `{}` any more", manifest.source))?;
    // All are checked before the first row is given: a store that does not answer is no fault of the rows.
    let mut pages = Vec::new();
    for page in &manifest.pages {
        pages.push(if manifest.pages.len() <= OPEN_AT_ONCE {
            Body::Opened(store.open_page(page).await?)
        } else {
            Body::Read(store.read_page(page).await?)
        });
    }
    let rows = source.rows.clone();
    let entity_values = entity_values(source, &manifest);
    let is_small = manifest.pages.iter().map(|page| page.bytes).sum::<u64>() <= READ_AT_ONCE;
    let start = move || {
        let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
        let extracting = tokio::task::spawn_blocking(move || {
            if let Err(error) = extract(&rows, &manifest, &entity_values, pages, &sender) {
                // Whoever reads the rows has gone if this cannot be said, and needs no answer.
                sender.blocking_send(Err(error)).unwrap_or_default();
            }
        });
        stream::unfold((receiver, Some(extracting)), next_chunk)
    };
    Ok(if is_small {
        Box::pin(start())
    } else {
        Box::pin(stream::once(async move { start() }).flatten())
    })
}

/// The values of the entity's columns: what the folder says of it now, or, of one that was taken out of
/// the folder, what it said when the fetch was made.
fn entity_values(source: &Source, manifest: &Manifest) -> Vec<EntityValue> {
    let now = manifest.entity.as_ref().and_then(|entity| source.entities.get(entity));
    let columns = source.entities.columns.iter().enumerate();
    let values = columns.map(|(at, column)| EntityValue {
        field_type: column.field_type,
        value: match now {
            Some(entity) => entity.values[at].clone(),
            None => manifest.entity_fields.get(&column.name).cloned(),
        },
    });
    values.collect()
}

/// The bytes of a page, checked.
enum Body {
    Opened(Box<dyn Read + Send>),
    Read(Bytes),
}

impl Body {
    fn reader(self) -> Box<dyn Read + Send> {
        match self {
            Self::Opened(reader) => reader,
            Self::Read(bytes) => Box::new(Cursor::new(bytes)),
        }
    }

    fn in_utf8(self, page: &Page) -> Result<Bytes, RowsError> {
        let body = match self {
            Self::Opened(mut reader) => {
                let mut body = Vec::with_capacity(usize::try_from(page.bytes)?);
                reader.read_to_end(&mut body)?;
                body.into()
            }
            Self::Read(bytes) => bytes,
        };
        let converted = match daymark_extract::to_utf8(&body, page.encoding.as_deref())? {
            (Cow::Owned(text), _) => Some(text),
            (Cow::Borrowed(_), _) => None,
        };
        Ok(converted.map_or(body, Bytes::from))
    }
}

/// What `next_chunk` goes on with: where chunks come from, and who makes them until he is done.
type Chunks = (mpsc::Receiver<Result<Bytes, RowsError>>, Option<JoinHandle<()>>);

/// The next chunk. The end of the chunks is the end of the rows only if the thread that makes them
/// came to its own end: half a fetch must never pass for a whole one.
async fn next_chunk(
    (mut receiver, mut extracting): Chunks,
) -> Option<(Result<Bytes, RowsError>, Chunks)> {
    if let Some(chunk) = receiver.recv().await {
        return Some((chunk, (receiver, extracting)));
    }
    match extracting.take()?.await {
        Ok(()) => None,
        Err(panic) => Some((Err(panic.into()), (receiver, None))),
    }
}

fn extract(
    rows: &RowsSpec,
    manifest: &Manifest,
    entity_values: &[EntityValue],
    pages: Vec<Body>,
    sender: &mpsc::Sender<Result<Bytes, RowsError>>,
) -> Result<(), RowsError> {
    let mut first_row = 0;
    for (page, opened) in manifest.pages.iter().zip(pages) {
        let context = RowContext { entity_values: entity_values.to_vec(), first_row };
        // What is UTF-8 as it was received has no encoding in the manifest.
        let body;
        let in_pieces = page.encoding.is_none() && daymark_extract::is_read_in_pieces(rows.layout);
        let mut extraction = if in_pieces {
            daymark_extract::open_read(rows, opened.reader(), context)?
        } else {
            body = opened.in_utf8(page)?;
            daymark_extract::open(rows, &body, context)?
        }
        .unhashed();
        loop {
            let mut chunk = BytesMut::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 8);
            let more = extraction.next_chunk(&mut chunk)?;
            if !chunk.is_empty() && sender.blocking_send(Ok(chunk.freeze())).is_err() {
                return Ok(());
            }
            if !more {
                break;
            }
        }
        let summary = extraction.summary();
        first_row += i64::try_from(summary.extracted + summary.rejected)?;
    }
    Ok(())
}
