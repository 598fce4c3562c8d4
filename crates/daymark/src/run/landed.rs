//! What ingest brought for a day, and what the stages after it are told of it.
//!
//! In: manifests, and the errors of what left none. Out: a step's words for the ledger, a line of the report,
//! and the fetch as a publish takes it. Deliberately absent: doing any of the stages (`execute`).

use std::sync::Arc;

use daymark_extract::{Mapped, Outline};
use daymark_ingest::{ErrorKind, IngestError, Manifest, Outcome, StoredManifest};
use daymark_plan::{EntityId, SourceId, one_line};
use daymark_warehouse::ledger::{self, IngestOutcome, Ingested, RequestAttempt, StepKey};
use daymark_warehouse::publish::{self, FetchPath, FetchResult, FetchShape, PendingFetch, Shapes};
use daymark_warehouse::{Session, WarehouseError};
use jiff::Timestamp;
use jiff::civil::Date;
use uuid::Uuid;

use super::report::{Part, RunReport, State};

/// What ingest brought for a day, of one entity.
pub(super) struct Landed {
    pub(super) source_id: SourceId,
    pub(super) data_date: Date,
    pub(super) entity: Option<EntityId>,
    pub(super) fetched: Fetched,
    /// Whether the ledger was told.
    pub(super) recorded: bool,
}

pub(super) enum Fetched {
    /// A manifest, accepted or refused.
    Stored(Box<Brought>),
    /// Nothing could be stored, and why: the same for every entity of a source that none could be
    /// fetched of.
    Failed(Arc<IngestError>),
    /// The schedule came to a day that is published already.
    PublishedAlready,
    /// The schedule came to a day that the source has no data of, and why.
    NoData(String),
}

/// What a run goes on with of a fetch it made: of thousands of them, their manifests would be most of its
/// memory.
pub(super) struct Brought {
    pub(super) manifest_key: String,
    pub(super) is_accepted: bool,
    /// Why it was not taken.
    pub(super) reason: Option<String>,
    /// Its line of the report, but for what became of it.
    part: Part,
    /// What the ledger is told; nothing once it was.
    ingested: Option<Ingested>,
}

impl Brought {
    pub(super) fn of(stored: &StoredManifest) -> Self {
        let manifest = &stored.manifest;
        let mut part =
            Part::new(manifest.source.clone(), manifest.data_date, manifest.entity.clone());
        part.fetched(&stored.key, manifest);
        Self {
            manifest_key: stored.key.clone(),
            is_accepted: manifest.is_accepted(),
            reason: manifest.reason.clone(),
            part,
            ingested: Some(ingested(stored)),
        }
    }
}

/// Why a fire of the schedule leaves a day alone.
pub(super) const PUBLISHED_ALREADY: &str = "this day is published already";

impl Landed {
    /// What it is, as a step of a run.
    pub(super) fn key(&self) -> StepKey {
        StepKey {
            source_id: self.source_id.clone(),
            data_date: self.data_date,
            entity: self.entity.clone(),
        }
    }

    /// What came of asking, unless the ledger was told of it.
    pub(super) fn ingested(&self) -> Option<Ingested> {
        if self.recorded {
            return None;
        }
        let (outcome, reason, error_kind) = match &self.fetched {
            Fetched::Stored(brought) => return brought.ingested.clone(),
            Fetched::Failed(error) => {
                (IngestOutcome::Failed, with_hint(error), Some(word(error.kind())))
            }
            Fetched::PublishedAlready => {
                (IngestOutcome::Skipped, PUBLISHED_ALREADY.to_owned(), None)
            }
            Fetched::NoData(why) => (IngestOutcome::Skipped, why.clone(), None),
        };
        Some(Ingested {
            key: self.key(),
            outcome,
            fetch_id: None,
            reason: Some(reason),
            error_kind,
            attempts: Vec::new(),
        })
    }

    /// Takes note that the ledger was told what came of asking.
    pub(super) fn is_recorded(&mut self) {
        self.recorded = true;
        if let Fetched::Stored(brought) = &mut self.fetched {
            brought.ingested = None;
        }
    }

    /// Why there is nothing to publish, in words, where that is so.
    pub(super) fn failure(&self) -> Option<String> {
        match &self.fetched {
            Fetched::Stored(brought) if brought.is_accepted => None,
            Fetched::Stored(brought) => Some(brought.reason.clone().unwrap_or_default()),
            Fetched::Failed(error) => Some(with_hint(error)),
            Fetched::PublishedAlready | Fetched::NoData(_) => None,
        }
    }

    /// The key of its manifest.
    pub(super) fn manifest_key(&self) -> Option<String> {
        match &self.fetched {
            Fetched::Stored(brought) => Some(brought.manifest_key.clone()),
            Fetched::Failed(_) | Fetched::PublishedAlready | Fetched::NoData(_) => None,
        }
    }

    /// Whether there is a response that a later run can publish.
    pub(super) fn is_kept(&self) -> bool {
        matches!(&self.fetched, Fetched::Stored(brought) if brought.is_accepted)
    }

    /// Marks its day as failed, for a reason that left no manifest.
    pub(super) async fn fail(
        &self,
        session: &mut Session,
        run_id: Uuid,
        reason: &str,
        now: Timestamp,
    ) -> Result<(), WarehouseError> {
        let (source_id, date) = (&self.source_id, self.data_date);
        ledger::fail_day(session, run_id, source_id, date, self.entity.as_ref(), reason, now).await
    }

    pub(super) fn report(&self, run: &RunReport) -> Part {
        let mut part = Part::new(self.source_id.clone(), self.data_date, self.entity.clone());
        match &self.fetched {
            Fetched::PublishedAlready => part.skipped(PUBLISHED_ALREADY),
            Fetched::NoData(why) => part.skipped(why),
            Fetched::Failed(error) => part.failed(with_hint(error)),
            Fetched::Stored(brought) => {
                part = brought.part.clone();
                match run.fetches.get(&brought.manifest_key).map(became) {
                    Some((State::Quarantined, reason)) => {
                        part.quarantined(reason.unwrap_or_default());
                    }
                    Some((State::Failed, reason)) => part.failed(reason.unwrap_or_default()),
                    Some((State::Published | State::Skipped, _)) => part.published(),
                    None => part.failed("it was not published".to_owned()),
                }
            }
        }
        part
    }
}

/// What a publish made of a fetch, and why.
pub(super) fn became(result: &FetchResult) -> (State, Option<String>) {
    match result {
        FetchResult::Published => (State::Published, None),
        FetchResult::Quarantined(reason) => (State::Quarantined, Some(reason.clone())),
        FetchResult::Refused(reason)
        | FetchResult::Failed(reason)
        | FetchResult::Postponed(reason) => (State::Failed, Some(reason.clone())),
    }
}

/// What a manifest is of, as a step of a run.
pub(super) fn step_key(manifest: &Manifest) -> StepKey {
    StepKey {
        source_id: manifest.source.clone(),
        data_date: manifest.data_date,
        entity: manifest.entity.clone(),
    }
}

/// What a manifest tells of asking.
pub(super) fn ingested(stored: &StoredManifest) -> Ingested {
    let manifest = &stored.manifest;
    let attempts = manifest.attempts.iter().map(|attempt| RequestAttempt {
        page: attempt.page,
        number: attempt.number,
        at: attempt.at,
        waited_ms: attempt.waited_ms,
        duration_ms: attempt.duration_ms,
        status: attempt.status,
        bytes: attempt.bytes,
        error_kind: attempt.error_kind.map(word),
        message: attempt.message.clone(),
    });
    let is_accepted = manifest.is_accepted();
    Ingested {
        key: step_key(manifest),
        outcome: if is_accepted { IngestOutcome::Fetched } else { IngestOutcome::Refused },
        fetch_id: Some(manifest.id),
        reason: manifest.reason.clone(),
        error_kind: manifest.error_kind.map(word),
        attempts: attempts.collect(),
    }
}

/// The word a manifest has for a kind of failure.
fn word(kind: ErrorKind) -> String {
    let word = serde_json::to_value(kind).ok();
    word.and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

/// What went wrong and what to do next, on one line.
pub(super) fn with_hint(error: &IngestError) -> String {
    format!("{}; {}", one_line(error), error.hint())
}

/// A fetch by its manifest, as a publish takes it; `mapped` are the paths that its source's fields read,
/// `shapes` what other fetches of the source look like.
pub(crate) fn pending_fetch(
    stored: StoredManifest,
    mapped: &Mapped,
    shapes: &mut Shapes,
) -> PendingFetch {
    let Manifest {
        id,
        source,
        data_date,
        entity,
        fetched_at,
        run_id,
        outcome,
        reason,
        rows,
        outline,
        ..
    } = stored.manifest;
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let rows = rows.unwrap_or_default();
    PendingFetch {
        manifest_key: stored.key,
        fetch_id: id,
        source_id: source,
        data_date,
        entity: entity.map(|entity| entity.to_string()),
        fetched_at,
        run_id,
        outcome: match outcome {
            Outcome::Accepted => publish::Outcome::Accepted,
            Outcome::Refused => publish::Outcome::Refused(reason.unwrap_or_default()),
        },
        extracted: count(rows.extracted),
        rejected: count(rows.rejected),
        shape: outline.map(|outline| fetch_shape(&outline, mapped, shapes)),
    }
}

fn fetch_shape(outline: &Outline, mapped: &Mapped, shapes: &mut Shapes) -> FetchShape {
    let paths = outline.entries().map(|(path, types, example)| FetchPath {
        path: path.to_owned(),
        types: types.into_iter().map(str::to_owned).collect(),
        example: example.map(str::to_owned),
        is_mapped: mapped.reads(path),
    });
    shapes.keep(outline.cut, paths)
}
