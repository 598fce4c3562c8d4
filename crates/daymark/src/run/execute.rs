//! The product on one screen: fetch, publish, finish.
//!
//! In: an [`Order`]. Out: a [`RunReport`]. What is fetched is kept before the database is needed: a
//! database that is down loses nothing, the next run publishes what is there. Deliberately absent:
//! how each step does its work.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use daymark_ingest::{FetchOrder, Ingest, IngestError, RawStore, Reach};
use daymark_plan::{Clock, EntityId, Plan, Source, SourceId, one_line};
use daymark_warehouse::fires::Claim;
use daymark_warehouse::ledger::{self, Ingested, OpenRun, RunKind, Step, StepKey};
use daymark_warehouse::publish;
use daymark_warehouse::{Session, Warehouse, WarehouseError};
use futures::future::join_all;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use jiff::civil::Date;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use uuid::Uuid;

use super::journal::Journal;
use super::landed::{Brought, Fetched, Landed, became, with_hint};
use super::progress::RunEvent;
use super::publishing;
use super::report::{RunReport, State};
use super::unpublished::{Look, Unpublished};
use crate::alerts::{Bell, Ran};
use crate::failure::Failure;
use crate::log;
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
    /// The fires it was claimed for, of a run that the schedule started. Without, nobody has to lead: a run
    /// by hand stands beside the schedule, and publishes are serial anyway.
    pub(crate) claim: Option<Claim>,
    /// How to go about many days; without, all are asked for at once.
    pub(crate) pace: Option<Pace>,
}

/// How a run of many days goes about it.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    /// So many days of a source are asked for at once, the oldest first.
    pub(crate) at_once: usize,
    /// Once it is set, no other day is begun. Those that are finish, and are published.
    pub(crate) stop: CancellationToken,
    /// Whether entities that are published for a day are left alone.
    pub(crate) only_unpublished: bool,
}

/// Runs a pipeline.
#[derive(Debug)]
pub(crate) struct Runner {
    plan: Arc<Plan>,
    clock: Clock,
    ingest: OnceCell<Ingest>,
    warehouse: OnceCell<Warehouse>,
    /// Rung when a run starts and ends, where somebody hears it.
    bell: Option<Bell>,
}

/// What a publish did.
struct Published {
    report: RunReport,
    /// What became of fetches that earlier runs, or other programs, had left unpublished.
    earlier: Vec<Step>,
    began: Timestamp,
}

type Watch<'w> = dyn Fn(RunEvent<'_>) + Send + Sync + 'w;

impl Runner {
    /// A runner of a plan. Nothing is opened yet.
    pub(crate) fn new(plan: Arc<Plan>, clock: Clock) -> Self {
        Self { plan, clock, ingest: OnceCell::new(), warehouse: OnceCell::new(), bell: None }
    }

    /// The same, with a bell for its runs.
    pub(crate) fn ringing(self, bell: Bell) -> Self {
        Self { bell: Some(bell), ..self }
    }

    /// One run.
    pub(crate) async fn execute(
        &self,
        order: &Order,
        watch: &Watch<'_>,
    ) -> Result<RunReport, Failure> {
        if let Some(bell) = &self.bell {
            bell.started();
        }
        let done = Box::pin(self.one_run(order, watch)).await;
        // A run that was taken over has not ended: whoever took over tells.
        let is_lost = done.as_ref().is_err_and(Failure::is_lease_lost);
        if let Some(bell) = self.bell.as_ref().filter(|_| !is_lost) {
            bell.ended(Ran::of(&done));
        }
        done
    }

    async fn one_run(&self, order: &Order, watch: &Watch<'_>) -> Result<RunReport, Failure> {
        let run_id = order.claim.as_ref().map_or_else(Uuid::now_v7, |claim| claim.run_id);
        // A span that is there whatever is logged: a warning says which run it is of.
        let span = tracing::error_span!("run", run = %run_id);
        self.run(run_id, order, watch).instrument(span).await
    }

    async fn run(
        &self,
        run_id: Uuid,
        order: &Order,
        watch: &Watch<'_>,
    ) -> Result<RunReport, Failure> {
        let (kind, began) = (order.kind.as_str(), Instant::now());
        tracing::info!(target: log::RUNS, kind, "the run begins");
        let done = self.opened(run_id, order, watch).await;
        let duration_seconds = began.elapsed().as_secs_f64();
        match &done {
            Ok(report) if !report.has_failed() => {
                let outcome = "succeeded";
                tracing::info!(target: log::RUNS, kind, outcome, duration_seconds, "the run ended");
            }
            Ok(_) => {
                let outcome = "failed";
                tracing::error!(target: log::RUNS, kind, outcome, duration_seconds, "the run ended");
            }
            Err(failure) => {
                let (outcome, reason) = ("failed", failure.one_line());
                tracing::error!(
                    target: log::RUNS, kind, outcome, duration_seconds, reason, "the run ended"
                );
            }
        }
        done
    }

    async fn opened(
        &self,
        run_id: Uuid,
        order: &Order,
        watch: &Watch<'_>,
    ) -> Result<RunReport, Failure> {
        let journal = Journal::new(self.clock.clone());
        let told = |event: RunEvent<'_>| {
            journal.hear(&event);
            watch(event);
        };
        match self.open(run_id, order, &journal).await {
            Ok(_open) => {
                let stages = Box::pin(self.stages(run_id, order, &journal, &told));
                self.beating(run_id, Some(&journal), stages).await
            }
            // Whoever took over runs it: nothing of it is ours to do.
            Err(failure) if failure.is_lease_lost() => Err(failure),
            Err(failure) => {
                let landed = self.ingest(run_id, order, false, &told).await;
                let kept = landed.iter().filter(|landed| landed.is_kept()).count();
                if kept > 0 {
                    tracing::warn!(
                        "{kept} responses are kept in the raw store; the next run publishes them"
                    );
                }
                Err(failure)
            }
        }
    }

    /// The stages of a run that is open in the ledger.
    async fn stages(
        &self,
        run_id: Uuid,
        order: &Order,
        journal: &Journal,
        watch: &Watch<'_>,
    ) -> Result<RunReport, Failure> {
        let mut landed = self.ingest(run_id, order, true, watch).await;
        let published = match self.publish(run_id, order, &mut landed, watch).await {
            Ok(published) => published,
            Err(failure) => {
                self.fail(run_id, order, &landed, &failure, journal).await;
                return Err(failure);
            }
        };
        self.finish(run_id, order, &landed, published, journal).await
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
            |source: &Source| schedule::data_date(source.data_date, &source.calendar, zone, at);
        sources.into_iter().map(|source| (source.id.clone(), date(source))).collect()
    }

    /// Opens the run in the ledger, with the steps it is about to take. Runs that were killed are found and
    /// closed first.
    async fn open(
        &self,
        run_id: Uuid,
        order: &Order,
        journal: &Journal,
    ) -> Result<OpenRun, Failure> {
        let mut session = self.warehouse().await?.session("opening a run").await?;
        ledger::still_leads(&mut session, order.claim.as_ref()).await?;
        let now = self.clock.now();
        for closed in ledger::close_interrupted(&mut session, now).await? {
            let words = format!("the run {} was interrupted: {}", closed.run_id, closed.reason);
            tracing::info!("{words}");
            journal.say("warn", None, &words);
        }
        let open =
            ledger::start_run(&mut session, run_id, order.kind, order.scheduled_at, now).await?;
        let mut steps = Vec::new();
        // With a pace, whether a day is begun at all is not known yet.
        let days = if order.pace.is_some() { &[][..] } else { &order.days };
        for (source_id, data_date) in days {
            let Some(source) = self.plan.source(source_id) else { continue };
            steps.extend(steps_of(source, *data_date));
        }
        ledger::start_ingest(&mut session, run_id, &steps, now).await?;
        Ok(open)
    }

    /// Sources -> raw objects and manifests, all sources at once; of a run with a pace, the days of each one
    /// after the other.
    async fn ingest(
        &self,
        run_id: Uuid,
        order: &Order,
        ledger_open: bool,
        watch: &Watch<'_>,
    ) -> Vec<Landed> {
        let ingest = |(source_id, data_date): &'_ (SourceId, Date)| {
            let span = tracing::error_span!("source", source = %source_id, %data_date);
            self.ingest_day(run_id, order, source_id.clone(), *data_date, ledger_open, watch)
                .instrument(span)
        };
        let Some(pace) = &order.pace else {
            return join_all(order.days.iter().map(ingest)).await.into_iter().flatten().collect();
        };
        let mut by_source: BTreeMap<&SourceId, Vec<&(SourceId, Date)>> = BTreeMap::new();
        for day in &order.days {
            by_source.entry(&day.0).or_default().push(day);
        }
        let of_sources = by_source.into_values().map(|days| {
            stream::iter(days)
                .take_until(pace.stop.clone().cancelled_owned())
                .map(ingest)
                .buffer_unordered(pace.at_once.max(1))
                .collect::<Vec<Vec<Landed>>>()
        });
        let landed = join_all(of_sources).await;
        let mut landed: Vec<Landed> = landed.into_iter().flatten().flatten().collect();
        landed.sort_by(|a, b| (&a.source_id, a.data_date).cmp(&(&b.source_id, b.data_date)));
        landed
    }

    /// One source's day: all its entities, but those a schedule finds published already, and none on a day that
    /// the source has no data of.
    async fn ingest_day(
        &self,
        run_id: Uuid,
        order: &Order,
        source_id: SourceId,
        data_date: Date,
        ledger_open: bool,
        watch: &Watch<'_>,
    ) -> Vec<Landed> {
        let source_id = &source_id;
        let source = self.plan.source(source_id).expect("an order names sources of its plan");
        // A person who asks gets it; a schedule leaves alone what is there.
        let leaves_published =
            matches!(order.kind, RunKind::Scheduled | RunKind::CatchUp | RunKind::Retry)
                || order.pace.as_ref().is_some_and(|pace| pace.only_unpublished);
        if order.pace.is_some() && ledger_open {
            self.begin(run_id, source, data_date).await;
        }
        let fires = matches!(order.kind, RunKind::Scheduled | RunKind::CatchUp);
        let no_data = source.without_data(data_date).filter(|_| fires);
        let published = if leaves_published && ledger_open {
            self.published(source_id, data_date).await
        } else {
            BTreeSet::new()
        };
        let is_published =
            |entity: Option<&EntityId>| published.contains(entity.map_or("", EntityId::as_str));
        let landed = |entity, fetched| Landed {
            source_id: source_id.clone(),
            data_date,
            entity,
            fetched,
            recorded: false,
        };
        let (already, wanted): (Vec<_>, Vec<_>) =
            source.entity_ids().into_iter().partition(|entity| is_published(entity.as_ref()));
        let mut all: Vec<Landed> =
            already.into_iter().map(|entity| landed(entity, Fetched::PublishedAlready)).collect();
        if let Some(why) = &no_data {
            all.extend(
                wanted.iter().cloned().map(|entity| landed(entity, Fetched::NoData(why.clone()))),
            );
        }
        if wanted.is_empty() || no_data.is_some() {
            self.record(run_id, order, &mut all, ledger_open).await;
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
            let take = |fetched: daymark_ingest::Fetched| {
                let came = match fetched.outcome {
                    Ok(stored) => Fetched::Stored(Box::new(Brought::of(&stored))),
                    Err(error) => Fetched::Failed(Arc::new(error)),
                };
                landed(fetched.entity, came)
            };
            opened.await?.fetch_each(source, &order, &only, &told, &take).await
        };
        match fetched.await {
            Ok(fetched) => all.extend(fetched),
            Err(error) => {
                let error = Arc::new(error);
                all.extend(
                    wanted
                        .into_iter()
                        .map(|entity| landed(entity, Fetched::Failed(Arc::clone(&error)))),
                );
            }
        }
        self.record(run_id, order, &mut all, ledger_open).await;
        if order.pace.is_some() {
            let failed = all.iter().find_map(Landed::failure);
            watch(RunEvent::Day { source_id, data_date, failed: failed.as_deref() });
        }
        all
    }

    /// Tells the ledger that a day of many is begun. That it cannot is met again when it ends.
    async fn begin(&self, run_id: Uuid, source: &Source, data_date: Date) {
        let began = async {
            let mut session = self.warehouse().await?.session("beginning a day").await?;
            let steps = steps_of(source, data_date);
            ledger::start_ingest(&mut session, run_id, &steps, self.clock.now()).await
        };
        if let Err(error) = began.await {
            tracing::debug!("the day's steps are recorded later: {}", one_line(&error));
        }
    }

    /// Tells the ledger what came of a source, as soon as it is there: a run that is killed later has told of
    /// it. What cannot be told now is told before the publish.
    async fn record(&self, run_id: Uuid, order: &Order, landed: &mut [Landed], ledger_open: bool) {
        if !ledger_open {
            return;
        }
        let told = async {
            let mut session = self.warehouse().await?.session("recording what was fetched").await?;
            ledger::still_leads(&mut session, order.claim.as_ref()).await?;
            record(&mut session, run_id, landed, self.clock.now()).await
        };
        if let Err(error) = told.await {
            tracing::debug!("what was fetched is recorded later: {}", one_line(&error));
        }
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
        landed: &mut [Landed],
        watch: &Watch<'_>,
    ) -> Result<Published, Failure> {
        let mut session = self.warehouse().await?.session("publishing").await?;
        ledger::still_leads(&mut session, order.claim.as_ref()).await?;
        let now = self.clock.now();
        record(&mut session, run_id, landed, now).await?;
        let mut unpublished = Vec::new();
        let keys: BTreeSet<String> = landed.iter().filter_map(Landed::manifest_key).collect();
        // Whoever runs it wants everything published, also what was copied into the store just now.
        // A backfill looks once, before its first day.
        let in_full = order.kind == RunKind::Manual
            || (order.kind == RunKind::Backfill && order.days.is_empty());
        let look = Look { landed: &keys, in_full, now };
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
        let mut report = RunReport::new(run_id);
        let unreadable = unpublished.iter().flat_map(|found| found.unreadable.iter().cloned());
        report.manifests_unreadable = unreadable.collect();
        let Some(store) = store else {
            return Ok(Published { report, earlier: Vec::new(), began: now });
        };
        let pending =
            unpublished.iter_mut().flat_map(|found| std::mem::take(&mut found.pending)).collect();
        let fence = order.claim.as_ref().map(|claim| claim.fence.clone());
        let request = publish::Request { run_id, now, pending, fence };
        let told = |progress: &publish::Progress| watch(RunEvent::Publish(progress));
        let plan = Arc::clone(&self.plan);
        let (mut session, published) =
            publishing::publish(session, plan, store.clone(), request, told).await;
        let published = published?;
        for found in &unpublished {
            found.settle(&mut session, &published, now).await?;
        }
        report.take(published, &self.plan);
        for landed in &*landed {
            // Another process may have published it since it was listed.
            if let Some(key) = landed.manifest_key()
                && !report.fetches.contains_key(&key)
                && let Some(result) = ledger::fetch_result(&mut session, &key).await?
            {
                report.fetches.insert(key, result);
            }
        }
        for found in &unpublished {
            found.keep_requests(&mut session, &store, run_id).await?;
        }
        // One that was refused when it was received is no news.
        let earlier = unpublished.into_iter().flat_map(|found| found.earlier);
        let steps = earlier.filter(|fetch| fetch.is_accepted).filter_map(|fetch| {
            let (outcome, reason) = became(report.fetches.get(&fetch.manifest_key)?);
            Some(Step { key: fetch.step, outcome: outcome.as_str(), reason, started_at: now })
        });
        let earlier = steps.collect();
        Ok(Published { report, earlier, began: now })
    }

    /// Tells the days of a run whose publish failed as a whole. The next run publishes what is kept.
    async fn fail(
        &self,
        run_id: Uuid,
        order: &Order,
        landed: &[Landed],
        failure: &Failure,
        journal: &Journal,
    ) {
        let reason = format!("not published: {}", failure.one_line());
        journal.say("error", None, &reason);
        journal.close();
        let told = async {
            let mut session = self.warehouse().await?.session("recording a failure").await?;
            ledger::still_leads(&mut session, order.claim.as_ref()).await?;
            let now = self.clock.now();
            let mut steps = Vec::new();
            for landed in landed {
                let Fetched::Stored(brought) = &landed.fetched else {
                    // It was told when it failed, if it could be.
                    if let (Fetched::Failed(error), false) = (&landed.fetched, landed.recorded) {
                        landed.fail(&mut session, run_id, &with_hint(error), now).await?;
                    }
                    continue;
                };
                if brought.is_accepted {
                    landed.fail(&mut session, run_id, &reason, now).await?;
                    steps.push(Step {
                        key: landed.key(),
                        outcome: State::Failed.as_str(),
                        reason: Some(reason.clone()),
                        started_at: now,
                    });
                } else {
                    // The publish would have taken note of it.
                    let reason = brought.reason.as_deref().unwrap_or("it was refused");
                    landed.fail(&mut session, run_id, reason, now).await?;
                }
            }
            save(&mut session, run_id, Some(journal)).await?;
            ledger::fail_run(&mut session, run_id, &steps, &failure.one_line(), now).await
        };
        match told.await {
            // A run that was taken over has not failed.
            Ok(()) | Err(WarehouseError::LeaseLost) => {}
            // The database that failed the publish is likely away altogether.
            Err(error) => {
                tracing::warn!("the failure is not in the ledger: {}", one_line(&error));
            }
        }
    }

    /// Closes the run in the ledger, and the report.
    async fn finish(
        &self,
        run_id: Uuid,
        order: &Order,
        landed: &[Landed],
        published: Published,
        journal: &Journal,
    ) -> Result<RunReport, Failure> {
        let Published { mut report, earlier, began } = published;
        let parts = landed.iter().map(|landed| landed.report(&report)).collect();
        report.take_sources(parts);
        report.take_earlier();
        // Of two fetches of one day in a run, this run's own tells.
        let mut steps: BTreeMap<StepKey, Step> =
            earlier.into_iter().map(|step| (step.key.clone(), step)).collect();
        for landed in landed {
            let part = landed.report(&report);
            let entity = part.entity.as_ref().map(|id| format!(" {id}")).unwrap_or_default();
            let mut words = format!("{}{entity}: {}", landed.data_date, part.state.as_str());
            if let Some(reason) = &part.reason {
                words.push_str(&format!(": {reason}"));
            }
            let level = if part.state.is_wrong() { "error" } else { "info" };
            let entity = landed.entity.as_ref().map(tracing::field::display);
            let date = landed.data_date;
            let source = tracing::field::display(&landed.source_id);
            let _of = tracing::error_span!("day", source, data_date = %date, entity).entered();
            journal.say(level, Some(&landed.source_id), &words);
            if landed.is_kept() {
                let (key, outcome) = (landed.key(), part.state.as_str());
                let (started_at, reason) = (began, part.reason);
                steps.insert(key.clone(), Step { key, outcome, reason, started_at });
            }
        }
        journal.close();
        report.scheduled_at = order.scheduled_at;
        let steps: Vec<Step> = steps.into_values().collect();
        let mut session = self.warehouse().await?.session("closing a run").await?;
        let (claim, now) = (order.claim.as_ref(), self.clock.now());
        ledger::still_leads(&mut session, claim).await?;
        save(&mut session, run_id, Some(journal)).await?;
        ledger::finish_run(&mut session, run_id, &steps, claim, now).await?;
        Ok(report)
    }
}

/// The steps of a source's day.
fn steps_of(source: &Source, data_date: Date) -> Vec<StepKey> {
    let of = |entity| StepKey { source_id: source.id.clone(), data_date, entity };
    source.entity_ids().into_iter().map(of).collect()
}

/// Keeps the new lines of a run's log.
pub(super) async fn save(
    session: &mut Session,
    run_id: Uuid,
    journal: Option<&Journal>,
) -> Result<(), WarehouseError> {
    let Some(journal) = journal else { return Ok(()) };
    let lines = journal.take();
    let kept = ledger::keep_log(session, run_id, &lines).await;
    if kept.is_err() {
        journal.give_back(lines);
    }
    kept
}

/// Tells the ledger what came of asking, of what it was not told yet.
async fn record(
    session: &mut Session,
    run_id: Uuid,
    landed: &mut [Landed],
    now: Timestamp,
) -> Result<(), WarehouseError> {
    let parts: Vec<Ingested> = landed.iter().filter_map(Landed::ingested).collect();
    if parts.is_empty() {
        return Ok(());
    }
    ledger::end_ingest(session, run_id, &parts, now).await?;
    landed.iter_mut().for_each(Landed::is_recorded);
    Ok(())
}
