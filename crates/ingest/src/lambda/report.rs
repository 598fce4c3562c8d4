//! What an invocation did, for whoever invoked it and for the log.
//!
//! In: what came of each source and entity. Out: JSON, or one text that names what failed. Deliberately
//! absent: anything that the manifest has and this need not repeat.

use std::fmt;

use daymark_plan::{EntityId, Source, SourceId, one_line};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;
use uuid::Uuid;

use crate::error::ErrorKind;
use crate::fetch::{FetchOrder, Fetched};
use crate::manifest::Outcome;

/// What an invocation did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The run that its manifests name.
    pub run_id: Uuid,
    /// The scheduled instant it answered to.
    pub scheduled_at: Option<Timestamp>,
    /// Every fetch, in the order of the sources and their entities.
    pub fetches: Vec<FetchReport>,
}

/// What came of a source, or of one of its entities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FetchReport {
    /// The source.
    pub source: SourceId,
    /// The day it was fetched for.
    pub data_date: Date,
    /// The entity.
    pub entity: Option<EntityId>,
    /// What came of it.
    pub outcome: FetchOutcome,
    /// Why it was not accepted.
    pub reason: Option<String>,
    /// The kind of that reason.
    pub error_kind: Option<ErrorKind>,
    /// The rows the answer has.
    pub rows: Option<u64>,
    /// The bytes received.
    pub bytes: u64,
    /// The key of its manifest; none where nothing was stored.
    pub manifest: Option<String>,
    /// Whether it was there already, from an earlier delivery of the same event.
    pub fetched_before: bool,
}

/// What came of a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FetchOutcome {
    /// The answer was taken.
    Accepted,
    /// The answer, or that there was none, is recorded, and nothing is taken of it.
    Refused,
    /// Nothing could be recorded.
    Failed,
    /// The function had to stop first.
    OutOfTime,
    /// Nobody was asked: by the source's calendar the day has no data.
    Skipped,
}

impl FetchOutcome {
    fn is_failure(self) -> bool {
        match self {
            Self::Accepted | Self::Skipped => false,
            Self::Refused | Self::Failed | Self::OutOfTime => true,
        }
    }
}

impl Report {
    /// Whether everything that was asked for was accepted.
    pub fn is_complete(&self) -> bool {
        self.failed().next().is_none()
    }

    /// Whether something was stopped by the deadline.
    pub(super) fn out_of_time(&self) -> bool {
        self.fetches.iter().any(|fetch| fetch.outcome == FetchOutcome::OutOfTime)
    }

    fn failed(&self) -> impl Iterator<Item = &FetchReport> {
        self.fetches.iter().filter(|fetch| fetch.outcome.is_failure())
    }
}

/// What failed.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (failed, of) = (self.failed().count(), self.fetches.len());
        write!(f, "{failed} of {of} fetches failed")?;
        for fetch in self.failed() {
            let reason = fetch.reason.as_deref().unwrap_or_default();
            write!(f, "\n  {fetch}: {reason}")?;
        }
        Ok(())
    }
}

/// Whose it is.
impl fmt::Display for FetchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.source)?;
        if let Some(entity) = &self.entity {
            write!(f, "/{entity}")?;
        }
        write!(f, " {}", self.data_date)
    }
}

impl FetchReport {
    /// Nothing but whose it is and what came of it.
    pub(super) fn new(source: &Source, order: &FetchOrder, outcome: FetchOutcome) -> Self {
        Self {
            source: source.id.clone(),
            data_date: order.data_date,
            entity: None,
            outcome,
            reason: None,
            error_kind: None,
            rows: None,
            bytes: 0,
            manifest: None,
            fetched_before: false,
        }
    }

    /// Nobody was asked, and why.
    pub(super) fn skipped(source: &Source, order: &FetchOrder, why: String) -> Self {
        Self { reason: Some(why), ..Self::new(source, order, FetchOutcome::Skipped) }
    }

    /// What a fetch came to.
    pub(super) fn of(source: &Source, order: &FetchOrder, fetched: Fetched) -> Self {
        let Fetched { entity, outcome, fetched_before } = fetched;
        let base = Self { entity, ..Self::new(source, order, FetchOutcome::Failed) };
        match outcome {
            Ok(stored) => {
                let manifest = stored.manifest;
                let outcome = match manifest.outcome {
                    Outcome::Accepted => FetchOutcome::Accepted,
                    Outcome::Refused => FetchOutcome::Refused,
                };
                Self {
                    outcome,
                    rows: manifest.rows.as_ref().map(|rows| rows.extracted),
                    bytes: manifest.bytes(),
                    reason: manifest.reason,
                    error_kind: manifest.error_kind,
                    manifest: Some(stored.key),
                    fetched_before,
                    ..base
                }
            }
            Err(error) => {
                let reason = Some(format!("{}; {}", one_line(&error), error.hint()));
                Self { reason, error_kind: Some(error.kind()), ..base }
            }
        }
    }

    /// One line of the log.
    pub(super) fn log(&self) {
        let entity = self.entity.as_ref().map(EntityId::as_str);
        let (source, data_date) = (self.source.as_str(), self.data_date.to_string());
        let (reason, manifest) = (self.reason.as_deref(), self.manifest.as_deref());
        let (rows, bytes, before) = (self.rows, self.bytes, self.fetched_before);
        match self.outcome {
            FetchOutcome::Accepted => {
                tracing::info!(source, data_date, entity, rows, bytes, manifest, before, "fetched");
            }
            FetchOutcome::Skipped => tracing::info!(source, data_date, reason, "skipped"),
            FetchOutcome::Refused | FetchOutcome::Failed | FetchOutcome::OutOfTime => {
                tracing::error!(source, data_date, entity, reason, manifest, "not fetched");
            }
        }
    }
}
