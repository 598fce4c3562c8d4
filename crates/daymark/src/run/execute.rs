//! The product on one screen: fetch, publish, finish.
//!
//! In: an [`Order`]. Out: a [`RunReport`]. What is fetched is kept before the database is needed: a
//! database that is down loses nothing, the next run publishes what is there. Deliberately absent:
//! how each step does its work.

use std::sync::Arc;

use daymark_ingest::{
    FetchOrder, Ingest, IngestError, Manifest, Outcome, RawKey, RawStore, StoredManifest,
};
use daymark_plan::{Clock, Plan, Source, SourceId, one_line};
use daymark_warehouse::ledger::{self, RunKind, Step};
use daymark_warehouse::publish::{self, FetchResult, PendingFetch};
use daymark_warehouse::{Session, Warehouse, WarehouseError};
use futures::future::join_all;
use jiff::Timestamp;
use jiff::civil::Date;
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::progress::RunEvent;
use super::report::{RunReport, SourceReport};
use super::rows;
use crate::failure::Failure;
use crate::schedule;

/// What to run.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    /// Why.
    pub(crate) kind: RunKind,
    /// The scheduled instant it answers to.
    pub(crate) scheduled_at: Option<Timestamp>,
    /// The sources and their data dates.
    pub(crate) days: Vec<(SourceId, Date)>,
}

/// Runs a pipeline.
#[derive(Debug)]
pub(crate) struct Runner {
    plan: Arc<Plan>,
    clock: Clock,
    ingest: OnceCell<Ingest>,
    warehouse: OnceCell<Warehouse>,
}

/// What ingest brought for a day.
struct Landed {
    source_id: SourceId,
    data_date: Date,
    fetched: Fetched,
}

enum Fetched {
    /// A manifest, accepted or refused.
    Stored(Box<StoredManifest>),
    /// Nothing could be stored.
    Failed(IngestError),
    /// The schedule came to a day that is published already.
    PublishedAlready,
}

type Watch<'w> = dyn Fn(RunEvent<'_>) + Send + Sync + 'w;

impl Runner {
    /// A runner of a plan. Nothing is opened yet.
    pub(crate) fn new(plan: Arc<Plan>, clock: Clock) -> Self {
        Self { plan, clock, ingest: OnceCell::new(), warehouse: OnceCell::new() }
    }

    /// One run.
    pub(crate) async fn execute(
        &self,
        order: &Order,
        watch: &Watch<'_>,
    ) -> Result<RunReport, Failure> {
        let run_id = Uuid::now_v7();
        let opened = self.open(run_id, order).await;
        let landed = self.ingest(run_id, order, opened.is_ok(), watch).await;
        if let Err(failure) = opened {
            let kept = landed.iter().filter(|landed| landed.is_kept()).count();
            if kept > 0 {
                tracing::warn!(
                    "{kept} responses are kept in the raw store; the next run publishes them"
                );
            }
            return Err(failure);
        }
        let mut report = match self.publish(run_id, &landed, watch).await {
            Ok(report) => report,
            Err(failure) => {
                self.fail(run_id, &landed, &failure).await;
                return Err(failure);
            }
        };
        self.finish(run_id, order, &landed, &mut report).await?;
        Ok(report)
    }

    /// The warehouse, opened at the first need.
    pub(crate) async fn warehouse(&self) -> Result<&Warehouse, WarehouseError> {
        self.warehouse.get_or_try_init(|| Warehouse::open(&self.plan)).await
    }

    /// Lets the warehouse go.
    pub(crate) async fn close(&self) {
        if let Some(warehouse) = self.warehouse.get() {
            warehouse.clone().close().await;
        }
    }

    /// The data dates a fire at an instant has, per source.
    pub(crate) fn days_at<'s>(
        &self,
        at: Timestamp,
        sources: impl IntoIterator<Item = &'s Source>,
    ) -> Vec<(SourceId, Date)> {
        let zone = &self.plan.settings.zone;
        let date =
            |source: &Source| schedule::data_date(source.data_date, source.calendar, zone, at);
        sources.into_iter().map(|source| (source.id.clone(), date(source))).collect()
    }

    /// Opens the run in the ledger.
    async fn open(&self, run_id: Uuid, order: &Order) -> Result<(), Failure> {
        let mut session = self.warehouse().await?.session("opening a run").await?;
        let now = self.clock.now();
        ledger::start_run(&mut session, run_id, order.kind, order.scheduled_at, now).await?;
        Ok(())
    }

    /// Sources -> raw objects and manifests, all sources at once.
    async fn ingest(
        &self,
        run_id: Uuid,
        order: &Order,
        ledger_open: bool,
        watch: &Watch<'_>,
    ) -> Vec<Landed> {
        let fetches = order.days.iter().map(|(source_id, data_date)| async move {
            let already = order.kind != RunKind::Manual
                && ledger_open
                && self.is_published(source_id, *data_date).await;
            let fetched = if already {
                Fetched::PublishedAlready
            } else {
                match self.fetch(run_id, order, source_id, *data_date, watch).await {
                    Ok(stored) => Fetched::Stored(Box::new(stored)),
                    Err(error) => Fetched::Failed(error),
                }
            };
            Landed { source_id: source_id.clone(), data_date: *data_date, fetched }
        });
        join_all(fetches).await
    }

    async fn is_published(&self, source_id: &SourceId, data_date: Date) -> bool {
        let read = async {
            let mut session = self.warehouse().await?.session("reading a day").await?;
            ledger::is_published(&mut session, source_id, data_date).await
        };
        // When the ledger cannot say, fetching once more is harmless and not fetching is not.
        read.await.unwrap_or(false)
    }

    async fn fetch(
        &self,
        run_id: Uuid,
        order: &Order,
        source_id: &SourceId,
        data_date: Date,
        watch: &Watch<'_>,
    ) -> Result<StoredManifest, IngestError> {
        let source = self.plan.source(source_id).expect("an order names sources of its plan");
        let ingest = self.ingest.get_or_try_init(|| std::future::ready(self.open_ingest())).await?;
        if let Some(stored) = self.fetched_before(source, order).await? {
            return Ok(stored);
        }
        let fetch_order = FetchOrder { data_date, scheduled_at: order.scheduled_at, run_id };
        let told = |event| watch(RunEvent::Fetch { source_id, event });
        ingest.fetch(source, &fetch_order, &told).await
    }

    /// What was accepted for the same scheduled instant before: a fire that is tried again, because the
    /// database was away, does not ask the API again.
    async fn fetched_before(
        &self,
        source: &Source,
        order: &Order,
    ) -> Result<Option<StoredManifest>, IngestError> {
        let Some(scheduled_at) = order.scheduled_at else { return Ok(None) };
        let store = RawStore::open(&self.plan.settings.raw)?;
        let after = RawKey::manifests_from(&source.id, scheduled_at);
        let stored = store.manifests(&source.id, Some(&after)).await?;
        let same = |stored: &StoredManifest| {
            stored.manifest.is_accepted() && stored.manifest.scheduled_at == order.scheduled_at
        };
        Ok(stored.into_iter().find(same))
    }

    fn open_ingest(&self) -> Result<Ingest, IngestError> {
        Ok(Ingest::new(RawStore::open(&self.plan.settings.raw)?, self.clock.clone()))
    }

    /// Raw objects -> rows -> curated tables and ledger, in one transaction: what this run landed, and
    /// what earlier ones left unpublished.
    async fn publish(
        &self,
        run_id: Uuid,
        landed: &[Landed],
        watch: &Watch<'_>,
    ) -> Result<RunReport, Failure> {
        let mut session = self.warehouse().await?.session("publishing").await?;
        let now = self.clock.now();
        let (mut pending, mut unreadable) = (Vec::new(), Vec::new());
        let mut store = None;
        match RawStore::open(&self.plan.settings.raw) {
            Ok(opened) => {
                for source in &self.plan.sources {
                    let (found, failed) = self.unpublished(&mut session, &opened, source).await?;
                    pending.extend(found);
                    unreadable.extend(failed);
                }
                store = Some(opened);
            }
            // Ingest has met the same store and says so for each day.
            Err(error) if landed.is_empty() => return Err(error.into()),
            Err(_) => {}
        }
        for landed in landed {
            if let Fetched::Failed(error) = &landed.fetched {
                let reason = with_hint(error);
                let (source_id, data_date) = (&landed.source_id, landed.data_date);
                ledger::fail_day(&mut session, run_id, source_id, data_date, &reason, now).await?;
            }
        }
        let mut report = RunReport::new(run_id);
        report.manifests_unreadable = unreadable;
        let Some(store) = store else { return Ok(report) };
        let request = publish::Request { run_id, now, pending };
        let read_rows = rows::reader(Arc::clone(&self.plan), store);
        let told = |progress: publish::Progress<'_>| watch(RunEvent::Publish(progress));
        let published =
            publish::publish(&mut session, &self.plan, request, &read_rows, &told).await?;
        report.take(published, &self.plan);
        for landed in landed {
            // Another process may have published it since it was listed.
            if let Fetched::Stored(stored) = &landed.fetched
                && !report.fetches.contains_key(&stored.key)
                && let Some(result) = ledger::fetch_result(&mut session, &stored.key).await?
            {
                report.fetches.insert(stored.key.clone(), result);
            }
        }
        Ok(report)
    }

    /// The fetches of a source that the ledger has not taken note of, and what is wrong with those
    /// manifests that cannot be read.
    async fn unpublished(
        &self,
        session: &mut Session,
        store: &RawStore,
        source: &Source,
    ) -> Result<(Vec<PendingFetch>, Vec<String>), Failure> {
        let noted = ledger::noted_manifests(session, &self.plan, &source.id).await?;
        let (mut pending, mut unreadable) = (Vec::new(), Vec::new());
        for key in store.manifest_keys(&source.id, None).await? {
            if noted.contains(&key) {
                continue;
            }
            match store.manifest(&key).await {
                Ok(stored) => pending.push(pending_fetch(stored)),
                Err(error) => unreadable.push(one_line(&error)),
            }
        }
        Ok((pending, unreadable))
    }

    /// Tells the days of a run whose publish failed as a whole. The next run publishes what is kept.
    async fn fail(&self, run_id: Uuid, landed: &[Landed], failure: &Failure) {
        let reason = format!("not published: {}", failure.one_line());
        let told = async {
            let mut session = self.warehouse().await?.session("recording a failure").await?;
            let now = self.clock.now();
            for landed in landed.iter().filter(|landed| landed.is_kept()) {
                let (source_id, data_date) = (&landed.source_id, landed.data_date);
                ledger::fail_day(&mut session, run_id, source_id, data_date, &reason, now).await?;
            }
            ledger::fail_run(&mut session, run_id, now).await
        };
        if let Err(error) = told.await {
            // The database that failed the publish is likely away altogether.
            tracing::warn!("the failure is not in the ledger: {}", one_line(&error));
        }
    }

    /// Closes the run in the ledger, and the report.
    async fn finish(
        &self,
        run_id: Uuid,
        order: &Order,
        landed: &[Landed],
        report: &mut RunReport,
    ) -> Result<(), Failure> {
        report.sources = landed.iter().map(|landed| landed.report(report)).collect();
        report.take_earlier();
        let steps: Vec<Step> = report
            .sources
            .iter()
            .map(|source| Step {
                source_id: source.source.clone(),
                data_date: source.data_date,
                outcome: source.state.as_str(),
                reason: source.reason.clone(),
            })
            .collect();
        report.scheduled_at = order.scheduled_at;
        let mut session = self.warehouse().await?.session("closing a run").await?;
        ledger::finish_run(&mut session, run_id, &steps, self.clock.now()).await?;
        Ok(())
    }
}

impl Landed {
    /// Whether there is a response that a later run can publish.
    fn is_kept(&self) -> bool {
        matches!(&self.fetched, Fetched::Stored(stored) if stored.manifest.is_accepted())
    }

    fn report(&self, run: &RunReport) -> SourceReport {
        let mut report = SourceReport::new(self.source_id.clone(), self.data_date);
        match &self.fetched {
            Fetched::PublishedAlready => report.skipped("this day is published already"),
            Fetched::Failed(error) => report.failed(with_hint(error)),
            Fetched::Stored(stored) => {
                report.fetched(&stored.key, &stored.manifest);
                match run.fetches.get(&stored.key) {
                    Some(FetchResult::Published) => report.published(run),
                    Some(
                        FetchResult::Refused(reason)
                        | FetchResult::Failed(reason)
                        | FetchResult::Postponed(reason),
                    ) => report.failed(reason.clone()),
                    None => report.failed("it was not published".to_owned()),
                }
            }
        }
        report
    }
}

/// What went wrong and what to do next, on one line.
fn with_hint(error: &IngestError) -> String {
    format!("{}; {}", one_line(error), error.hint())
}

fn pending_fetch(stored: StoredManifest) -> PendingFetch {
    let Manifest {
        id, source, data_date, entity, fetched_at, run_id, outcome, reason, rows, ..
    } = stored.manifest;
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let (extracted, rejected) =
        rows.map_or((0, 0), |rows| (count(rows.extracted), count(rows.rejected)));
    PendingFetch {
        manifest_key: stored.key,
        fetch_id: id,
        source_id: source,
        data_date,
        entity,
        fetched_at,
        run_id,
        outcome: match outcome {
            Outcome::Accepted => publish::Outcome::Accepted,
            Outcome::Refused => publish::Outcome::Refused(reason.unwrap_or_default()),
        },
        extracted,
        rejected,
    }
}
