//! What came of a run.
//!
//! In: manifests and what the publish did. Out: a [`RunReport`]: the table at the end of `daymark run`
//! and its JSON. Deliberately absent: anything the ledger does not hold as well.

use std::collections::BTreeMap;

use daymark_ingest::Manifest;
use daymark_plan::{EntityId, Plan, Severity, SourceId};
use daymark_warehouse::publish::{
    CheckOutcome, CheckResult, Drift, FetchResult, Report, TableCounts,
};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;
use uuid::Uuid;

use crate::output;

/// How many failed entities of a source are told to people; the JSON has them all.
const TOLD: usize = 20;

/// What became of a day in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// Its rows are published.
    Published,
    /// It could not be fetched or published.
    Failed,
    /// A check holds it back.
    Quarantined,
    /// It was published before, and the schedule leaves it alone.
    Skipped,
}

impl State {
    /// Whether somebody has to look.
    pub(crate) fn is_wrong(self) -> bool {
        matches!(self, Self::Failed | Self::Quarantined)
    }

    /// The state's word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Failed => "failed",
            Self::Quarantined => "quarantined",
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
    pub(crate) requests: usize,
    /// Pages received.
    pub(crate) pages: usize,
    /// Bytes received.
    pub(crate) bytes: u64,
    /// Where the accepted bytes are, when they are in one place.
    pub(crate) raw_key: Option<String>,
    /// Rows extracted from the responses.
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
    /// Rows gone from the source's tables.
    pub(crate) deleted: i64,
    /// What became of the day: of a source with entities the worst that became of one of them.
    pub(crate) state: State,
    /// Why, when it is not published.
    pub(crate) reason: Option<String>,
    /// What the run did for each entity; empty for a source without.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) entities: Vec<Part>,
    #[serde(skip)]
    manifest_keys: Vec<String>,
}

/// What a run did for one entity, or for a source without.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Part {
    #[serde(skip)]
    source: SourceId,
    #[serde(skip)]
    data_date: Date,
    /// The entity.
    pub(crate) entity: Option<EntityId>,
    /// Requests made.
    pub(crate) requests: usize,
    /// Pages received.
    pub(crate) pages: usize,
    /// Bytes received.
    pub(crate) bytes: u64,
    /// Where the accepted bytes are; of several pages, the first.
    pub(crate) raw_key: Option<String>,
    /// Rows extracted.
    pub(crate) extracted: u64,
    /// Rows set aside.
    pub(crate) rejected: u64,
    /// The first of them.
    pub(crate) first_reject: Option<String>,
    /// What became of it.
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

impl Part {
    pub(super) fn new(source: SourceId, data_date: Date, entity: Option<EntityId>) -> Self {
        Self {
            source,
            data_date,
            entity,
            requests: 0,
            pages: 0,
            bytes: 0,
            raw_key: None,
            extracted: 0,
            rejected: 0,
            first_reject: None,
            state: State::Failed,
            reason: None,
            manifest_key: None,
        }
    }

    pub(super) fn fetched(&mut self, manifest_key: &str, manifest: &Manifest) {
        self.manifest_key = Some(manifest_key.to_owned());
        self.requests = manifest.attempts.len();
        self.pages = manifest.pages.len();
        self.bytes = manifest.bytes();
        self.raw_key = manifest.pages.iter().find_map(|page| page.raw_key.clone());
        if let Some(rows) = &manifest.rows {
            self.extracted = rows.extracted;
            self.rejected = rows.rejected;
            self.first_reject = rows.rejects.first().map(ToString::to_string);
        }
    }

    pub(super) fn published(&mut self) {
        self.state = State::Published;
    }

    pub(super) fn failed(&mut self, reason: String) {
        self.state = State::Failed;
        self.reason = Some(reason);
    }

    pub(super) fn quarantined(&mut self, reason: String) {
        self.state = State::Quarantined;
        self.reason = Some(reason);
    }

    pub(super) fn skipped(&mut self, reason: &str) {
        self.state = State::Skipped;
        self.reason = Some(reason.to_owned());
    }

    /// Its name before a reason.
    fn name(&self) -> String {
        match &self.entity {
            Some(entity) => format!("{} {} {entity}", self.source, self.data_date),
            None => format!("{} {}", self.source, self.data_date),
        }
    }
}

impl SourceReport {
    /// The report of a source's day out of its parts, which are not empty.
    fn of(parts: Vec<Part>, counts: TableCounts) -> Option<Self> {
        let first = parts.first()?;
        let has = |state| parts.iter().any(|part| part.state == state);
        let states = [State::Failed, State::Quarantined, State::Published];
        let state = states.into_iter().find(|state| has(*state));
        let state = state.unwrap_or(State::Skipped);
        let wrong: Vec<&Part> = parts.iter().filter(|part| part.state.is_wrong()).collect();
        let several = first.entity.is_some();
        let reason = match wrong.first() {
            Some(_) if several => {
                Some(format!("{} of {} entities are not published", wrong.len(), parts.len()))
            }
            Some(part) => part.reason.clone(),
            None if state == State::Skipped => first.reason.clone(),
            None => None,
        };
        // What was published in this run moved the tables; what failed did not.
        let counts = if has(State::Published) { counts } else { TableCounts::default() };
        let mut raw_keys = parts.iter().filter_map(|part| part.raw_key.clone());
        let raw_key = raw_keys.next().filter(|_| !several || parts.len() == 1);
        Some(Self {
            source: first.source.clone(),
            data_date: first.data_date,
            requests: parts.iter().map(|part| part.requests).sum(),
            pages: parts.iter().map(|part| part.pages).sum(),
            bytes: parts.iter().map(|part| part.bytes).sum(),
            raw_key,
            extracted: parts.iter().map(|part| part.extracted).sum(),
            rejected: parts.iter().map(|part| part.rejected).sum(),
            first_reject: parts.iter().find_map(|part| part.first_reject.clone()),
            inserted: counts.inserted,
            updated: counts.updated,
            unchanged: counts.unchanged,
            deleted: counts.deleted,
            state,
            reason,
            manifest_keys: parts.iter().filter_map(|part| part.manifest_key.clone()).collect(),
            entities: if several { parts } else { Vec::new() },
        })
    }

    /// Where the accepted bytes are, for people.
    fn place(&self) -> String {
        let accepted = self.entities.iter().filter(|part| part.raw_key.is_some()).count();
        match (&self.raw_key, accepted) {
            (Some(key), _) => match self.pages {
                0 | 1 => key.clone(),
                2 => format!("{key} (+1 page)"),
                pages => format!("{key} (+{} pages)", pages - 1),
            },
            (None, 0) => "-".to_owned(),
            (None, count) => format!("raw/{}/ ({count} entities)", self.source),
        }
    }

    fn row(&self) -> Vec<String> {
        vec![
            self.source.to_string(),
            self.data_date.to_string(),
            self.requests.to_string(),
            self.bytes.to_string(),
            self.place(),
            self.extracted.to_string(),
            self.rejected.to_string(),
            self.inserted.to_string(),
            self.updated.to_string(),
            self.unchanged.to_string(),
            self.deleted.to_string(),
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
    /// The checks that did not pass.
    pub(crate) checks: Vec<CheckResult>,
    /// What the responses had otherwise than those before them.
    pub(crate) drift: Vec<Drift>,
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
            checks: Vec::new(),
            drift: Vec::new(),
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
                self.counts.entry(model.source.clone()).or_default().add(*counts);
            }
        }
        let passed = |check: &CheckResult| check.outcome == CheckOutcome::Passed;
        self.checks = published.checks.into_iter().filter(|check| !passed(check)).collect();
        self.fetches = published.fetches;
        self.drift = published.drifts;
    }

    /// Takes what was done for each entity, of one source after the other.
    pub(super) fn take_sources(&mut self, parts: Vec<Part>) {
        let mut days: Vec<Vec<Part>> = Vec::new();
        for part in parts {
            match days.iter_mut().find(|day| {
                day.first().is_some_and(|first| {
                    first.source == part.source && first.data_date == part.data_date
                })
            }) {
                Some(day) => day.push(part),
                None => days.push(vec![part]),
            }
        }
        let reports = days.into_iter().filter_map(|parts| {
            let counts = self.counts.get(&parts.first()?.source).copied().unwrap_or_default();
            SourceReport::of(parts, counts)
        });
        self.sources = reports.collect();
    }

    /// Takes the fetches of the publish that are of no source's own report. Those refused when they were
    /// received are no news.
    pub(super) fn take_earlier(&mut self) {
        let own: Vec<&String> =
            self.sources.iter().flat_map(|source| &source.manifest_keys).collect();
        let earlier = self.fetches.iter().filter(|(key, _)| !own.contains(key));
        let earlier = earlier.filter_map(|(key, result)| {
            let (state, reason) = match result {
                FetchResult::Published => (State::Published, None),
                FetchResult::Refused(_) => return None,
                FetchResult::Quarantined(reason) => (State::Quarantined, Some(reason.clone())),
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
            || self.sources.iter().any(|source| source.state.is_wrong())
            || self.earlier.iter().any(|fetch| fetch.state.is_wrong())
    }

    /// Whether anything failed that is of one of these sources, or of none. What earlier runs left of
    /// another is told, and is that one's.
    pub(crate) fn has_failed_for(&self, sources: &[&SourceId]) -> bool {
        let folders: Vec<String> =
            sources.iter().map(|source| format!("manifests/{source}/")).collect();
        let is_theirs = |text: &str| folders.iter().any(|folder| text.contains(folder.as_str()));
        !self.marts_failed.is_empty()
            || self.manifests_unreadable.iter().any(|reason| is_theirs(reason))
            || self.sources.iter().any(|source| source.state.is_wrong())
            || self
                .earlier
                .iter()
                .any(|fetch| fetch.state.is_wrong() && is_theirs(&fetch.manifest_key))
    }

    /// The table and the reasons, for people.
    pub(crate) fn text(&self) -> String {
        let header = [
            "source",
            "data date",
            "requests",
            "bytes",
            "raw key",
            "extracted",
            "rejected",
            "inserted",
            "updated",
            "unchanged",
            "deleted",
            "state",
        ];
        let rows: Vec<Vec<String>> = self.sources.iter().map(SourceReport::row).collect();
        // A publish of what was there has asked for nothing.
        let mut text = String::new();
        if !rows.is_empty() {
            text = output::table(&header, &rows, &[2, 3, 5, 6, 7, 8, 9, 10]);
        }
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
            let failed = || source.entities.iter().filter(|part| part.state.is_wrong());
            for part in failed().take(TOLD) {
                let reason = part.reason.as_deref().unwrap_or_default();
                let state = part.state.as_str();
                text.push_str(&format!("  {} {state}: {reason}\n", part.name()));
            }
            if failed().count() > TOLD {
                text.push_str(&format!("  and {} more\n", failed().count() - TOLD));
            }
        }
        let (published, failed): (Vec<_>, Vec<_>) =
            self.earlier.iter().partition(|fetch| fetch.state == State::Published);
        if !published.is_empty() {
            text.push_str(&format!("fetches of earlier runs published: {}\n", published.len()));
        }
        // Fetches wait for the same reason until someone acts, and each day adds one: a line for a reason.
        let mut reasons: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
        for fetch in failed {
            let reason = fetch.reason.as_deref().unwrap_or_default();
            let state = fetch.state.as_str();
            reasons.entry((state, reason)).or_default().push(&fetch.manifest_key);
        }
        for ((state, reason), keys) in reasons {
            let first = keys.first().copied().unwrap_or_default();
            text.push_str(&match keys.len() {
                1 => format!("fetch of an earlier run {state}: `{first}`: {reason}\n"),
                count => format!(
                    "fetches of earlier runs {state}: {count}, the first `{first}`: {reason}\n"
                ),
            });
        }
        for check in &self.checks {
            text.push_str(&check_text(check));
        }
        for drift in self.drift.iter().take(TOLD) {
            let Drift { source, data_date, entity, .. } = drift;
            let entity = daymark_plan::behind_day(entity);
            text.push_str(&format!("{source} {data_date}{entity} shape: {drift}\n"));
        }
        if self.drift.len() > TOLD {
            let more = self.drift.len() - TOLD;
            text.push_str(&format!("and {more} more changes of shape: `daymark drift`\n"));
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

/// What a check that did not pass has to say; one that holds a fetch back is the reason of its day already.
fn check_text(check: &CheckResult) -> String {
    let CheckResult { table, data_date, entity, check: name, failing, .. } = check;
    let of = format!("{table} {data_date}{}", daymark_plan::behind_day(entity));
    let rows = if *failing == 1 { "row" } else { "rows" };
    let first = check.sample.first().map_or(String::new(), |row| format!(", such as {row}"));
    match (check.outcome, check.severity) {
        (CheckOutcome::Failed, Severity::Warn) => {
            format!("{of} warning: the check `{name}` found {failing} {rows}{first}\n")
        }
        (CheckOutcome::Failed, Severity::Reject) => {
            format!("{of}: {rows} set aside by the check `{name}`: {failing}{first}\n")
        }
        (CheckOutcome::Error, Severity::Warn) => {
            let reason = check.reason.as_deref().unwrap_or_default();
            format!("{of} warning: the check `{name}` could not be asked: {reason}\n")
        }
        (CheckOutcome::Released, _) => {
            let reason = check.reason.as_deref().unwrap_or_default();
            format!("{of}: the check `{name}` found {failing} {rows}; {reason}\n")
        }
        _ => String::new(),
    }
}
