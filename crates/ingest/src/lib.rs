//! REST sources to raw objects and manifests: one fetch of a source, kept whatever it brought.
//!
//! In: a [`Source`](daymark_plan::Source) and a [`FetchOrder`]. Out: the response's bytes in the raw
//! store and a [`Manifest`] that says what they are, how they were asked for and whether they were
//! accepted (DESIGN.md section 6). A fetch that brought nothing leaves a manifest too, with the
//! reason and no pages, so that whoever publishes sees it in the same place. Deliberately absent:
//! the database, schedules, and any look into a response beyond what accepting it needs; the bytes
//! land as received.

mod answer;
mod ask;
mod audit;
mod auth;
mod aws;
mod buffers;
mod catalog;
mod client;
pub mod doctor;
mod error;
mod fetch;
mod given;
mod history;
mod keep;
mod keys;
pub mod lambda;
mod manifest;
mod pace;
mod pages;
mod preview;
mod rate;
mod request;
mod retry;
mod scrub;
mod secrets;
mod spool;
mod store;
mod sync;
mod turns;
mod verdicts;
mod verify;
mod words;

pub use audit::{AuditReport, Fault, audit};
pub use aws::{NotPublished, publish_to_topic};
pub use catalog::{Catalog, Listed, Wanted, catalog, fetch_of_id, sources_in};
pub use error::{ErrorKind, IngestError};
pub use fetch::{FetchEvent, FetchOrder, Fetched, Ingest, Reach};
pub use given::GivenAnswer;
pub use history::{CursorPosition, cursor, set_cursor};
pub use keys::{Extension, ManifestName, RawKey};
pub use manifest::{
    Attempt, MANIFEST_FORMAT, MAX_REJECTS, Manifest, Outcome, Page, RowCounts, SentRequest,
    StoredManifest,
};
pub use pace::{Asking, asking};
pub use preview::{
    CursorMove, Expectation, Met, NextPage, Preview, PreviewOrder, RefusedBecause, Timing,
};
pub use retry::{Policy, policy};
pub use scrub::Scrubber;
pub use secrets::{NoSecret, secrets};
pub use store::{ObjectInfo, RawStore};
pub use sync::{SyncReport, sync};
