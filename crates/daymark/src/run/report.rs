//! What came of a run.
//!
//! In: manifests and what the publish did. Out: a [`RunReport`]: the table at the end of `daymark run`
//! and its JSON. Deliberately absent: anything the ledger does not hold as well.

use std::collections::BTreeMap;

use daymark_ingest::Manifest;
use daymark_plan::{Plan, SourceId};
use daymark_warehouse::publish::{FetchResult, Report, TableCounts};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;
use uuid::Uuid;

use crate::output;

/// What became of a day in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// Its rows are published.
    Published,
    /// It could not be fetched or published.
    Failed,
    /// It was published before, and the schedule leaves it alone.
    Skipped,
}

impl State {
    /// The state's word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// What a run did for one source.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SourceReport {
    /// The source.
    pub(crate) source: SourceId,
    /// The day.
    pub(crate) data_date: Date,
    /// Requests made.
    pub(crate) attempts: usize,
    /// Bytes received.
    pub(crate) bytes: u64,
    /// Where the accepted bytes are.
    pub(crate) raw_key: Option<String>,
    /// Rows extracted from the response.
    pub(crate) extracted: u64,
    /// Rows set aside.
    pub(crate) rejected: u64,
    /// The first of them: where it stands and why it does not fit.
    pub(crate) first_reject: Option<String>,
    /// Rows new in the source's tables.
    pub(crate) inserted: i64,
    /// Rows changed in the source's tables.
    pub(crate) updated: i64,
    /// Rows that stayed as they were.
    pub(crate) unchanged: i64,
    /// What became of the day.
    pub(crate) state: State,
    /// Why, when it is not published.
    pub(crate) reason: Option<String>,
    #[serde(skip)]
    manifest_key: Option<String>,
}

/// What became of a fetch that an earlier run had left unpublished.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct EarlierFetch {
    /// Its manifest's key.
    pub(crate) manifest_key: String,
    /// What became of it.
    pub(crate) state: State,
    /// Why, when it is not published.
    pub(crate) reason: Option<String>,
}

impl SourceReport {
    pub(super) fn new(source: SourceId, data_date: Date) -> Self {
        Self {
            source,
            data_date,
            attempts: 0,
            bytes: 0,
            raw_key: None,
            extracted: 0,
            rejected: 0,
            first_reject: None,
            inserted: 0,
            updated: 0,
            unchanged: 0,
            state: State::Failed,
            reason: None,
            manifest_key: None,
        }
    }

    pub(super) fn fetched(&mut self, manifest_key: &str, manifest: &Manifest) {
        self.manifest_key = Some(manifest_key.to_owned());
        self.attempts = manifest.attempts.len();
        self.bytes = manifest.bytes();
        self.raw_key = manifest.pages.iter().find_map(|page| page.raw_key.clone());
        if let Some(rows) = &manifest.rows {
            self.extracted = rows.extracted;
            self.rejected = rows.rejected;
            self.first_reject = rows.rejects.first().map(ToString::to_string);
        }
    }

    pub(super) fn published(&mut self, run: &RunReport) {
        self.state = State::Published;
        let counts = run.counts.get(&self.source).copied().unwrap_or_default();
        (self.inserted, self.updated, self.unchanged) =
            (counts.inserted, counts.updated, counts.unchanged);
    }

    pub(super) fn failed(&mut self, reason: String) {
        self.state = State::Failed;
        self.reason = Some(reason);
    }

    pub(super) fn skipped(&mut self, reason: &str) {
        self.state = State::Skipped;
        self.reason = Some(reason.to_owned());
    }

    fn row(&self) -> Vec<String> {
        vec![
            self.source.to_string(),
            self.data_date.to_string(),
            self.attempts.to_string(),
            self.bytes.to_string(),
            self.raw_key.clone().unwrap_or_else(|| "-".to_owned()),
            self.extracted.to_string(),
            self.rejected.to_string(),
            self.inserted.to_string(),
            self.updated.to_string(),
            self.unchanged.to_string(),
            self.state.as_str().to_owned(),
        ]
    }
}

/// What came of a run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RunReport {
    /// The run.
    pub(crate) run_id: Uuid,
    /// The scheduled instant it answered to.
    pub(crate) scheduled_at: Option<Timestamp>,
    /// Its publish; none when nothing could be published.
    pub(crate) publish_id: Option<i64>,
    /// What it did for each source.
    pub(crate) sources: Vec<SourceReport>,
    /// What became of fetches that earlier runs had left unpublished.
    pub(crate) earlier: Vec<EarlierFetch>,
    /// What PostgreSQL refused of the marts.
    pub(crate) marts_failed: Vec<String>,
    /// Manifests that cannot be read, and why.
    pub(crate) manifests_unreadable: Vec<String>,
    #[serde(skip)]
    pub(super) fetches: BTreeMap<String, FetchResult>,
    #[serde(skip)]
    pub(super) counts: BTreeMap<SourceId, TableCounts>,
}

impl RunReport {
    pub(super) fn new(run_id: Uuid) -> Self {
        Self {
            run_id,
            scheduled_at: None,
            publish_id: None,
            sources: Vec::new(),
            earlier: Vec::new(),
            marts_failed: Vec::new(),
            manifests_unreadable: Vec::new(),
            fetches: BTreeMap::new(),
            counts: BTreeMap::new(),
        }
    }

    /// Takes what the publish did; the counts of a source are those of all its tables.
    pub(super) fn take(&mut self, published: Report, plan: &Plan) {
        self.publish_id = published.publish_id;
        self.marts_failed = published.refused.marts.iter().map(ToString::to_string).collect();
        for model in &plan.models {
            if let Some(counts) = published.tables.get(&model.table) {
                let sum = self.counts.entry(model.source.clone()).or_default();
                sum.staged += counts.staged;
                sum.inserted += counts.inserted;
                sum.updated += counts.updated;
                sum.unchanged += counts.unchanged;
            }
        }
        self.fetches = published.fetches;
    }

    /// Takes the fetches of the publish that are of no source's own report. Those refused when they were
    /// received are no news.
    pub(super) fn take_earlier(&mut self) {
        let own: Vec<&String> =
            self.sources.iter().filter_map(|source| source.manifest_key.as_ref()).collect();
        let earlier = self.fetches.iter().filter(|(key, _)| !own.contains(key));
        let earlier = earlier.filter_map(|(key, result)| {
            let (state, reason) = match result {
                FetchResult::Published => (State::Published, None),
                FetchResult::Refused(_) => return None,
                FetchResult::Failed(reason) | FetchResult::Postponed(reason) => {
                    (State::Failed, Some(reason.clone()))
                }
            };
            Some(EarlierFetch { manifest_key: key.clone(), state, reason })
        });
        self.earlier = earlier.collect();
    }

    /// Whether anything failed.
    pub(crate) fn has_failed(&self) -> bool {
        !self.marts_failed.is_empty()
            || !self.manifests_unreadable.is_empty()
            || self.sources.iter().any(|source| source.state == State::Failed)
            || self.earlier.iter().any(|fetch| fetch.state == State::Failed)
    }

    /// The table and the reasons, for people.
    pub(crate) fn text(&self) -> String {
        let header = [
            "source",
            "data date",
            "attempts",
            "bytes",
            "raw key",
            "extracted",
            "rejected",
            "inserted",
            "updated",
            "unchanged",
            "state",
        ];
        let rows: Vec<Vec<String>> = self.sources.iter().map(SourceReport::row).collect();
        let mut text = output::table(&header, &rows, &[2, 3, 5, 6, 7, 8, 9]);
        for source in &self.sources {
            if let Some(first) = &source.first_reject {
                let (id, date, count) = (&source.source, source.data_date, source.rejected);
                text.push_str(&format!(
                    "{id} {date} rows set aside: {count}; the first: {first}\n"
                ));
            }
            if let Some(reason) = &source.reason {
                let (id, date, state) = (&source.source, source.data_date, source.state.as_str());
                text.push_str(&format!("{id} {date} {state}: {reason}\n"));
            }
        }
        let (published, failed): (Vec<_>, Vec<_>) =
            self.earlier.iter().partition(|fetch| fetch.state == State::Published);
        if !published.is_empty() {
            text.push_str(&format!("fetches of earlier runs published: {}\n", published.len()));
        }
        for fetch in failed {
            let reason = fetch.reason.as_deref().unwrap_or_default();
            text.push_str(&format!(
                "fetch of an earlier run failed: `{}`: {reason}\n",
                fetch.manifest_key
            ));
        }
        for reason in &self.manifests_unreadable {
            text.push_str(&format!("manifest not read: {reason}\n"));
        }
        for failure in &self.marts_failed {
            text.push_str(&format!("mart failed: {failure}\n"));
        }
        text
    }
}
