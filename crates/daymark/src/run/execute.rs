//! The product on one screen: fetch, publish, finish.
//!
//! In: an [`Order`]. Out: a [`RunReport`]. What is fetched is kept before the database is needed: a
//! database that is down loses nothing, the next run publishes what is there. Deliberately absent:
//! how each step does its work.

use std::collections::BTreeSet;
use std::sync::Arc;

use daymark_ingest::{
    FetchOrder, Ingest, IngestError, Manifest, Outcome, RawStore, Reach, StoredManifest,
};
use daymark_plan::{Clock, EntityId, Plan, Source, SourceId, one_line};
use daymark_warehouse::ledger::{self, RunKind, Step};
use daymark_warehouse::publish::{self, ExtractionReject, FetchResult, PendingFetch};
use daymark_warehouse::{Session, Warehouse, WarehouseError};
use futures::future::join_all;
use jiff::Timestamp;
use jiff::civil::Date;
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::progress::RunEvent;
use super::report::{Part, RunReport};
use super::rows;
use super::unpublished::{Look, Unpublished};
use super::verdicts;
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
    /// What part of an incremental source is asked for.
    pub(crate) reach: Reach,
}

/// Runs a pipeline.
#[derive(Debug)]
pub(crate) struct Runner {
    plan: Arc<Plan>,
    clock: Clock,
    ingest: OnceCell<Ingest>,
    warehouse: OnceCell<Warehouse>,
}

/// What ingest brought for a day, of one entity.
struct Landed {
    source_id: SourceId,
    data_date: Date,
    entity: Option<EntityId>,
    fetched: Fetched,
}

enum Fetched {
    /// A manifest, accepted or refused.
    Stored(Box<StoredManifest>),
    /// Nothing could be stored, and why: the same for every entity of a source that none could be
    /// fetched of.
    Failed(Arc<IngestError>),
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
        let mut report = match self.publish(run_id, order, &landed, watch).await {
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
        let days = order.days.iter().map(|(source_id, data_date)| {
            self.ingest_day(run_id, order, source_id, *data_date, ledger_open, watch)
        });
        join_all(days).await.into_iter().flatten().collect()
    }

    /// One source's day: all its entities, but those a schedule finds published already.
    async fn ingest_day(
        &self,
        run_id: Uuid,
        order: &Order,
        source_id: &SourceId,
        data_date: Date,
        ledger_open: bool,
        watch: &Watch<'_>,
    ) -> Vec<Landed> {
        let source = self.plan.source(source_id).expect("an order names sources of its plan");
        let published = if order.kind != RunKind::Manual && ledger_open {
            self.published(source_id, data_date).await
        } else {
            BTreeSet::new()
        };
        let is_published =
            |entity: Option<&EntityId>| published.contains(entity.map_or("", EntityId::as_str));
        let landed =
            |entity, fetched| Landed { source_id: source_id.clone(), data_date, entity, fetched };
        let (already, wanted): (Vec<_>, Vec<_>) =
            source.entity_ids().into_iter().partition(|entity| is_published(entity.as_ref()));
        let mut all: Vec<Landed> =
            already.into_iter().map(|entity| landed(entity, Fetched::PublishedAlready)).collect();
        if wanted.is_empty() {
            return all;
        }
        let fetched = async {
            let opened = self.ingest.get_or_try_init(|| std::future::ready(self.open_ingest()));
            let order = FetchOrder {
                data_date,
                scheduled_at: order.scheduled_at,
                run_id,
                reach: order.reach,
            };
            let told = |event| watch(RunEvent::Fetch { source_id, event });
            let only = |entity: Option<&EntityId>| !is_published(entity);
            opened.await?.fetch_all(source, &order, &only, &told).await
        };
        match fetched.await {
            Ok(fetched) => all.extend(fetched.into_iter().map(|fetched| {
                let came = match fetched.outcome {
                    Ok(stored) => Fetched::Stored(Box::new(stored)),
                    Err(error) => Fetched::Failed(Arc::new(error)),
                };
                landed(fetched.entity, came)
            })),
            Err(error) => {
                let error = Arc::new(error);
                all.extend(
                    wanted
                        .into_iter()
                        .map(|entity| landed(entity, Fetched::Failed(Arc::clone(&error)))),
                );
            }
        }
        all
    }

    /// The entities of a source that are published for a day; `""` is a source without.
    async fn published(&self, source_id: &SourceId, data_date: Date) -> BTreeSet<String> {
        let read = async {
            let mut session = self.warehouse().await?.session("reading a day").await?;
            ledger::published_entities(&mut session, source_id, data_date).await
        };
        // When the ledger cannot say, fetching once more is harmless and not fetching is not.
        read.await.unwrap_or_default()
    }

    fn open_ingest(&self) -> Result<Ingest, IngestError> {
        let store = RawStore::open(&self.plan.settings.raw)?;
        Ok(Ingest::of(store, self.clock.clone(), &self.plan))
    }

    /// Raw objects -> rows -> curated tables and ledger, in one transaction: what this run landed, and
    /// what earlier ones left unpublished.
    async fn publish(
        &self,
        run_id: Uuid,
        order: &Order,
        landed: &[Landed],
        watch: &Watch<'_>,
    ) -> Result<RunReport, Failure> {
        let mut session = self.warehouse().await?.session("publishing").await?;
        let now = self.clock.now();
        let mut unpublished = Vec::new();
        let keys: BTreeSet<String> = landed.iter().filter_map(Landed::key).collect();
        // Whoever runs it wants everything published, also what was copied into the store just now.
        let look = Look { landed: &keys, in_full: order.kind == RunKind::Manual, now };
        let mut store = None;
        match RawStore::open(&self.plan.settings.raw) {
            Ok(opened) => {
                for source in &self.plan.sources {
                    let found =
                        Unpublished::find(&mut session, &opened, &self.plan, source, look).await?;
                    unpublished.push(found);
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
                landed.fail(&mut session, run_id, &reason, now).await?;
            }
        }
        let mut report = RunReport::new(run_id);
        let unreadable = unpublished.iter().flat_map(|found| found.unreadable.iter().cloned());
        report.manifests_unreadable = unreadable.collect();
        let Some(store) = store else { return Ok(report) };
        let manifests = unpublished.iter().flat_map(|found| &found.manifests);
        let pending = manifests.map(|stored| pending_fetch(stored.clone())).collect();
        let request = publish::Request { run_id, now, pending };
        let (read, keep) =
            (verdicts::reader(Some(store.clone())), verdicts::keeper(Some(store.clone())));
        let read_rows = rows::reader(Arc::clone(&self.plan), store);
        let verdicts = publish::Verdicts { read: &read, keep: &keep };
        let told = |progress: publish::Progress<'_>| watch(RunEvent::Publish(progress));
        let published =
            publish::publish(&mut session, &self.plan, request, &read_rows, verdicts, &told)
                .await?;
        for found in &unpublished {
            found.settle(&mut session, &published, now).await?;
        }
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

    /// Tells the days of a run whose publish failed as a whole. The next run publishes what is kept.
    async fn fail(&self, run_id: Uuid, landed: &[Landed], failure: &Failure) {
        let reason = format!("not published: {}", failure.one_line());
        let told = async {
            let mut session = self.warehouse().await?.session("recording a failure").await?;
            let now = self.clock.now();
            for landed in landed.iter().filter(|landed| landed.is_kept()) {
                landed.fail(&mut session, run_id, &reason, now).await?;
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
        let parts = landed.iter().map(|landed| landed.report(report)).collect();
        report.take_sources(parts);
        report.take_earlier();
        let steps: Vec<Step> = landed
            .iter()
            .map(|landed| {
                let part = landed.report(report);
                Step {
                    source_id: landed.source_id.clone(),
                    data_date: landed.data_date,
                    entity: landed.entity.clone(),
                    outcome: part.state.as_str(),
                    reason: part.reason,
                }
            })
            .collect();
        report.scheduled_at = order.scheduled_at;
        let mut session = self.warehouse().await?.session("closing a run").await?;
        ledger::finish_run(&mut session, run_id, &steps, self.clock.now()).await?;
        Ok(())
    }
}

impl Landed {
    /// The key of its manifest.
    fn key(&self) -> Option<String> {
        match &self.fetched {
            Fetched::Stored(stored) => Some(stored.key.clone()),
            Fetched::Failed(_) | Fetched::PublishedAlready => None,
        }
    }

    /// Whether there is a response that a later run can publish.
    fn is_kept(&self) -> bool {
        matches!(&self.fetched, Fetched::Stored(stored) if stored.manifest.is_accepted())
    }

    /// Marks its day as failed, for a reason that left no manifest.
    async fn fail(
        &self,
        session: &mut Session,
        run_id: Uuid,
        reason: &str,
        now: Timestamp,
    ) -> Result<(), WarehouseError> {
        let (source_id, date) = (&self.source_id, self.data_date);
        ledger::fail_day(session, run_id, source_id, date, self.entity.as_ref(), reason, now).await
    }

    fn report(&self, run: &RunReport) -> Part {
        let mut part = Part::new(self.source_id.clone(), self.data_date, self.entity.clone());
        match &self.fetched {
            Fetched::PublishedAlready => part.skipped("this day is published already"),
            Fetched::Failed(error) => part.failed(with_hint(error)),
            Fetched::Stored(stored) => {
                part.fetched(&stored.key, &stored.manifest);
                match run.fetches.get(&stored.key) {
                    Some(FetchResult::Published) => part.published(),
                    Some(FetchResult::Quarantined(reason)) => part.quarantined(reason.clone()),
                    Some(
                        FetchResult::Refused(reason)
                        | FetchResult::Failed(reason)
                        | FetchResult::Postponed(reason),
                    ) => part.failed(reason.clone()),
                    None => part.failed("it was not published".to_owned()),
                }
            }
        }
        part
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
    let rows = rows.unwrap_or_default();
    let rejects = rows.rejects.into_iter().map(|reject| ExtractionReject {
        row: reject.row,
        value: serde_json::json!({
            "field": reject.field, "path": reject.path, "value": reject.value,
        }),
        reason: reject.reason,
    });
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
        rejects: rejects.collect(),
    }
}
