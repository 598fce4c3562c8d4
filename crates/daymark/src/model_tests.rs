//! Model tests: given answers through the very stages of a run, then compared with what is expected.
//!
//! In: a test's file, read. Out: every way in which it is not as expected. Each test has a raw store in
//! memory and a database with nothing in it; one embedded server is started for all. Ingest's
//! expectations, extraction, models, checks and publish are the run's own. Deliberately absent: asking an
//! API, and how a failure looks.

use std::sync::Arc;

use daymark_extract::Mapped;
use daymark_ingest::{FetchOrder, GivenAnswer, Ingest, RawStore, Reach, StoredManifest};
use daymark_plan::{Clock, Expectation, FetchOutcome, Given, Layout, ModelTest, Plan, Source};
use daymark_warehouse::expected::{self, Difference};
use daymark_warehouse::ledger::{self, RunKind};
use daymark_warehouse::publish::{self, CheckOutcome, FetchResult};
use daymark_warehouse::{Scratch, Session};
use serde::Serialize;
use tempfile::TempDir;
use uuid::Uuid;

use crate::failure::Failure;
use crate::run::{pending_fetch, rows, verdicts};

/// Where tests are run: one embedded server.
pub(crate) struct Bench {
    plan: Arc<Plan>,
    scratch: Scratch,
    /// Whether a test has left something.
    used: bool,
    /// Its directory, removed with it.
    _directory: TempDir,
}

/// A test that ran.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) test: ModelTest,
    /// What was not as expected; nothing when it passed.
    pub(crate) broken: Vec<Broken>,
}

/// Something that was not as expected.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Broken {
    /// Another thing became of a fetch.
    Fetch {
        /// The line of the test's file.
        line: usize,
        /// Which fetch.
        fetch: String,
        /// What was to become of it.
        expected: String,
        /// What became of it.
        got: String,
    },
    /// PostgreSQL refuses a file of the pipeline.
    Folder {
        /// What it says, with file and line.
        message: String,
    },
    /// Other rows.
    Rows(Difference),
}

impl Bench {
    /// Starts the server.
    pub(crate) async fn open(plan: &Arc<Plan>) -> Result<Self, Failure> {
        let directory = TempDir::with_prefix("daymark-test-").map_err(anyhow::Error::new)?;
        let scratch = Scratch::open(plan, &directory.path().join("postgres")).await?;
        Ok(Self { plan: Arc::clone(plan), scratch, used: false, _directory: directory })
    }

    /// Stops it.
    pub(crate) async fn close(self) {
        self.scratch.close().await;
    }

    /// Runs one test.
    pub(crate) async fn run(&mut self, test: ModelTest) -> Result<Ran, Failure> {
        if std::mem::replace(&mut self.used, true) {
            self.scratch.empty().await?;
        }
        let mut session = self.scratch.session().await?;
        let store = RawStore::in_memory();
        let mut broken = Vec::new();
        for given in &test.given {
            self.give(&mut session, &store, given, &mut broken).await?;
        }
        for expectation in &test.expect {
            match expectation {
                Expectation::Rows(rows) => {
                    let differences = expected::rows(&mut session, rows).await?;
                    broken.extend(differences.into_iter().map(Broken::Rows));
                }
                Expectation::Rejects(rejects) => {
                    let difference = expected::rejects(&mut session, rejects).await?;
                    broken.extend(difference.map(Broken::Rows));
                }
            }
        }
        Ok(Ran { test, broken })
    }

    /// Has a source answered, and publishes what came of it.
    async fn give(
        &self,
        session: &mut Session,
        store: &RawStore,
        given: &Given,
        broken: &mut Vec<Broken>,
    ) -> Result<(), Failure> {
        let source = self.plan.source(&given.source).expect("a test names sources of its plan");
        let (run_id, now) = (Uuid::now_v7(), given.fetched_at);
        let stored = self.take(store, source, given, run_id).await?;
        let _open = ledger::start_run(session, run_id, RunKind::Manual, None, now).await?;
        let key = stored.key.clone();
        let mapped = Mapped::of(&source.rows);
        let pending = vec![pending_fetch(stored, &mapped, &mut publish::Shapes::default())];
        let request = publish::Request { run_id, now, pending, fence: None };
        let (read, keep) =
            (verdicts::reader(Some(store.clone())), verdicts::keeper(Some(store.clone())));
        let read_rows = rows::reader(Arc::clone(&self.plan), store.clone());
        let rejects = rows::rejects(store.clone());
        let from_raw = publish::FromRaw { rows: &read_rows, rejects: &rejects };
        let verdicts = publish::Verdicts { read: &read, keep: &keep };
        let report =
            publish::publish(session, &self.plan, request, from_raw, verdicts, &|_| {}).await?;
        ledger::finish_run(session, run_id, &[], None, now).await?;
        for failure in &report.refused.marts {
            let message = failure.with_hint();
            let is_told = broken.iter().any(
                |broken| matches!(broken, Broken::Folder { message: told } if *told == message),
            );
            if !is_told {
                broken.push(Broken::Folder { message });
            }
        }
        let (outcome, reason) = became(report.fetches.get(&key));
        let is_met = outcome == Some(given.outcome)
            && given.reason.as_deref().is_none_or(|words| reason.contains(words));
        let fetch = || match &given.entity {
            Some(entity) => format!("{} {} {entity}", given.source, given.data_date),
            None => format!("{} {}", given.source, given.data_date),
        };
        let because = |outcome: &str, reason: &str| {
            if reason.is_empty() { outcome.to_owned() } else { format!("{outcome}: {reason}") }
        };
        if !is_met {
            let words = given.reason.as_ref().map(|words| format!("... {words} ..."));
            broken.push(Broken::Fetch {
                line: given.line,
                fetch: fetch(),
                expected: because(given.outcome.as_str(), &words.unwrap_or_default()),
                got: because(outcome.map_or("not published", FetchOutcome::as_str), &reason),
            });
        }
        if let Some(wanted) = &given.warnings {
            let found = report.checks.iter().filter(|check| {
                let is_wrong = matches!(check.outcome, CheckOutcome::Failed | CheckOutcome::Error);
                check.severity == daymark_plan::Severity::Warn && is_wrong
            });
            let mut found: Vec<&str> = found.map(|check| check.check.as_str()).collect();
            let mut wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
            found.sort_unstable();
            wanted.sort_unstable();
            if found != wanted {
                let list = |names: &[&str]| match names {
                    [] => "no warning".to_owned(),
                    names => format!("warnings of `{}`", names.join("`, `")),
                };
                let (expected, got) = (list(&wanted), list(&found));
                broken.push(Broken::Fetch { line: given.line, fetch: fetch(), expected, got });
            }
        }
        Ok(())
    }

    async fn take(
        &self,
        store: &RawStore,
        source: &Source,
        given: &Given,
        run_id: Uuid,
    ) -> Result<StoredManifest, Failure> {
        let ingest = Ingest::of(store.clone(), Clock::manual(given.fetched_at), &self.plan);
        let entity = given.entity.as_ref().and_then(|id| source.entities.get(id));
        let order = FetchOrder {
            data_date: given.data_date,
            scheduled_at: None,
            run_id,
            reach: Reach::Forward,
        };
        let usual = || match (&source.expect.content_type, source.rows.layout) {
            (Some(expected), _) => expected.clone(),
            (None, Layout::Csv) => "text/csv".to_owned(),
            (None, _) => "application/json".to_owned(),
        };
        let answer = GivenAnswer {
            status: given.status,
            content_type: given.content_type.clone().unwrap_or_else(usual),
            pages: given.pages.clone(),
        };
        Ok(ingest.take(source, entity, &order, &answer).await?)
    }
}

/// What became of a fetch, and why.
fn became(result: Option<&FetchResult>) -> (Option<FetchOutcome>, String) {
    match result {
        Some(FetchResult::Published) => (Some(FetchOutcome::Published), String::new()),
        Some(FetchResult::Refused(reason)) => (Some(FetchOutcome::Refused), reason.clone()),
        Some(FetchResult::Quarantined(reason)) => (Some(FetchOutcome::Quarantined), reason.clone()),
        Some(FetchResult::Failed(reason)) => (Some(FetchOutcome::Failed), reason.clone()),
        Some(FetchResult::Postponed(reason)) => (None, reason.clone()),
        None => (None, String::new()),
    }
}
