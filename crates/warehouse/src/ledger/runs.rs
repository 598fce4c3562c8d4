//! Runs as rows: opened, kept alive, closed; their steps, attempts and log.
//!
//! In: what a run is doing. Out: rows of `daymark.run`, `step`, `attempt`, `run_log`, and the days that a
//! fetch moves. Deliberately absent: reading them for people (`runs`), and who may start one.

use daymark_plan::{EntityId, SourceId};
use jiff::Timestamp;
use jiff::civil::Date;
use tokio_postgres::Transaction;
use uuid::Uuid;

use super::{Attempt, DayOutcome, record_attempt};
use crate::alerts;
use crate::error::WarehouseError;
use crate::fires::{self, Claim};
use crate::holder::{self, Life, OpenRun};
use crate::retries;
use crate::session::Session;

/// After how many seconds without a heartbeat a run of another machine is taken for dead. Its process
/// renews it every few seconds, and can be held up by a long statement on the embedded database only, which
/// no other machine shares.
const DEAD_AFTER_SECONDS: f64 = 60.0;

/// Why a run was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunKind {
    /// By a person.
    Manual,
    /// By the schedule, on time.
    Scheduled,
    /// By the schedule, for fires that were missed.
    CatchUp,
    /// By a person: nothing is fetched, the tables are made from the raw store.
    Rebuild,
    /// By a person, for days of the past.
    Backfill,
    /// By the schedule, for days that failed.
    Retry,
}

impl RunKind {
    /// Its word in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Scheduled => "scheduled",
            Self::CatchUp => "catch_up",
            Self::Rebuild => "rebuild",
            Self::Backfill => "backfill",
            Self::Retry => "retry",
        }
    }
}

/// A part of a run: what it is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StepKey {
    /// The source.
    pub source_id: SourceId,
    /// The day.
    pub data_date: Date,
    /// The entity.
    pub entity: Option<EntityId>,
}

impl StepKey {
    fn entity(&self) -> &str {
        self.entity.as_ref().map_or("", EntityId::as_str)
    }
}

/// What a part of a run asked for came to.
#[derive(Debug, Clone)]
pub struct Ingested {
    /// Of what.
    pub key: StepKey,
    /// What came.
    pub outcome: IngestOutcome,
    /// The fetch, when there is a manifest.
    pub fetch_id: Option<Uuid>,
    /// Why, when nothing was accepted.
    pub reason: Option<String>,
    /// The kind of that reason.
    pub error_kind: Option<String>,
    /// Every request made.
    pub attempts: Vec<RequestAttempt>,
}

/// What came of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IngestOutcome {
    /// An answer was accepted: it waits to be published.
    Fetched,
    /// An answer, or that there was none, is kept as evidence; the publish takes note of it.
    Refused,
    /// Nothing could be kept.
    Failed,
    /// It was not asked: the day is published already, or has no data.
    Skipped,
}

impl IngestOutcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Fetched => "fetched",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// One request, as its manifest tells it.
#[derive(Debug, Clone)]
pub struct RequestAttempt {
    /// The page asked for, counted from 1.
    pub page: u32,
    /// Counted from 1 for each page.
    pub number: u32,
    /// When it was sent.
    pub at: Timestamp,
    /// How long was waited before it, in milliseconds.
    pub waited_ms: u64,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<u64>,
    /// The status answered.
    pub status: Option<u16>,
    /// The bytes received.
    pub bytes: Option<u64>,
    /// What kind of failure it was; none for a success.
    pub error_kind: Option<String>,
    /// What went wrong, without secrets.
    pub message: Option<String>,
}

/// What a publish came to for a part of a run.
#[derive(Debug, Clone)]
pub struct Step {
    /// Of what.
    pub key: StepKey,
    /// `published`, `failed` or `quarantined`.
    pub outcome: &'static str,
    /// Why, when it is not `published`.
    pub reason: Option<String>,
    /// When the publish began.
    pub started_at: Timestamp,
}

/// A line of a run's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Its number, from 1.
    pub line: u32,
    /// When it was said.
    pub at: Timestamp,
    /// Of which source; none of the run as a whole.
    pub source_id: Option<SourceId>,
    /// `info`, `warn` or `error`.
    pub level: &'static str,
    /// What was said.
    pub message: String,
}

/// A run that was found dead, and closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interrupted {
    /// The run.
    pub run_id: Uuid,
    /// Why it is taken for dead.
    pub reason: String,
}

/// Opens a run. It counts as alive while what is given is held and, on other machines, while its heart
/// beats ([`beat`]).
pub async fn start_run(
    session: &mut Session,
    run_id: Uuid,
    kind: RunKind,
    scheduled_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<OpenRun, WarehouseError> {
    let open = OpenRun::new(run_id);
    session
        .client()
        .execute(
            "insert into daymark.run (run_id, kind, scheduled_at, started_at, program_version, holder,
                                      holder_process, heartbeat_at)
             values ($1, $2, $3, $4, $5, $6, $7, clock_timestamp())",
            &[
                &run_id,
                &kind.as_str(),
                &scheduled_at,
                &now,
                &env!("CARGO_PKG_VERSION"),
                &holder::shown(),
                &holder::this_process(),
            ],
        )
        .await
        .map_err(WarehouseError::statement("opening a run"))?;
    Ok(open)
}

/// Says that a run lives.
pub async fn beat(session: &mut Session, run_id: Uuid) -> Result<(), WarehouseError> {
    session
        .client()
        .execute(
            "update daymark.run set heartbeat_at = clock_timestamp()
             where run_id = $1 and finished_at is null",
            &[&run_id],
        )
        .await
        .map_err(WarehouseError::statement("renewing a run's heartbeat"))?;
    Ok(())
}

/// Closes the runs whose process is gone, with the steps they were at. A run is dead when its process is not
/// there any more; of a process on another machine, when its heart has not beaten for a minute.
pub async fn close_interrupted(
    session: &mut Session,
    now: Timestamp,
) -> Result<Vec<Interrupted>, WarehouseError> {
    let doing = WarehouseError::statement("looking for runs that were killed");
    let transaction = session.client().transaction().await.map_err(&doing)?;
    // Two programs that start at once look at each run one after the other.
    let rows = transaction
        .query(
            "select run_id, coalesce(holder, 'an older program'), holder_process,
                    extract(epoch from clock_timestamp() - heartbeat_at)::float8
             from daymark.run where finished_at is null order by run_id for update",
            &[],
        )
        .await
        .map_err(&doing)?;
    let mut closed = Vec::new();
    for row in rows {
        let (run_id, holder): (Uuid, String) = (row.get(0), row.get(1));
        let silent: Option<f64> = row.get(3);
        let reason = match holder::life_of(run_id, row.get(2)) {
            Life::Alive => continue,
            Life::Gone => format!("{holder} ended without closing it"),
            Life::Unknown => match silent {
                Some(seconds) if seconds < DEAD_AFTER_SECONDS => continue,
                Some(seconds) => format!("{holder} was not heard of for {seconds:.0} seconds"),
                None => format!("{holder} never closed it"),
            },
        };
        transaction
            .execute(
                "update daymark.run set finished_at = $2, outcome = 'interrupted', reason = $3
                 where run_id = $1",
                &[&run_id, &now, &reason],
            )
            .await
            .map_err(&doing)?;
        transaction
            .execute(
                "update daymark.step set ended_at = $2, outcome = 'interrupted', reason = $3
                 where run_id = $1 and outcome is null",
                &[&run_id, &now, &reason],
            )
            .await
            .map_err(&doing)?;
        closed.push(Interrupted { run_id, reason });
    }
    if let Some(last) = closed.last() {
        let reason = format!("it was cut off: {}", last.reason);
        Box::pin(alerts::run_failed(&transaction, last.run_id, &reason, now)).await?;
    }
    transaction.commit().await.map_err(&doing)?;
    Ok(closed)
}

/// Opens the ingest steps of a run.
pub async fn start_ingest(
    session: &mut Session,
    run_id: Uuid,
    steps: &[StepKey],
    now: Timestamp,
) -> Result<(), WarehouseError> {
    let (sources, dates, entities) = columns(steps.iter());
    session
        .client()
        .execute(
            "insert into daymark.step (run_id, source_id, data_date, entity, stage, started_at)
             select $1, source_id, data_date, entity, 'ingest', $5
             from unnest($2::text[], $3::date[], $4::text[]) as asked (source_id, data_date, entity)
             on conflict do nothing",
            &[&run_id, &sources, &dates, &entities, &now],
        )
        .await
        .map_err(WarehouseError::statement("opening the steps of a run"))?;
    Ok(())
}

/// Closes ingest steps with their attempts. What was accepted makes its day `fetched`, what left no manifest
/// makes it `failed`; a refused fetch is the publish's to take note of.
pub async fn end_ingest(
    session: &mut Session,
    run_id: Uuid,
    parts: &[Ingested],
    now: Timestamp,
) -> Result<(), WarehouseError> {
    let doing = WarehouseError::statement("recording what was fetched");
    let transaction = session.client().transaction().await.map_err(&doing)?;
    let (sources, dates, entities) = columns(parts.iter().map(|part| &part.key));
    let outcomes: Vec<&str> = parts.iter().map(|part| part.outcome.as_str()).collect();
    let reasons: Vec<Option<&str>> = parts.iter().map(|part| part.reason.as_deref()).collect();
    let kinds: Vec<Option<&str>> = parts.iter().map(|part| part.error_kind.as_deref()).collect();
    transaction
        .execute(
            "insert into daymark.step as step (run_id, source_id, data_date, entity, stage, started_at,
                                               ended_at, outcome, reason, error_kind)
             select $1, source_id, data_date, entity, 'ingest', $2, $2, outcome, reason, error_kind
             from unnest($3::text[], $4::date[], $5::text[], $6::text[], $7::text[], $8::text[])
                  as came (source_id, data_date, entity, outcome, reason, error_kind)
             on conflict (run_id, source_id, data_date, entity, stage) do update
             set ended_at = excluded.ended_at, outcome = excluded.outcome, reason = excluded.reason,
                 error_kind = excluded.error_kind",
            &[&run_id, &now, &sources, &dates, &entities, &outcomes, &reasons, &kinds],
        )
        .await
        .map_err(&doing)?;
    for part in parts {
        record_requests(&transaction, run_id, part).await?;
        let outcome = match part.outcome {
            IngestOutcome::Fetched => DayOutcome::Fetched,
            IngestOutcome::Failed => DayOutcome::Failed,
            IngestOutcome::Refused | IngestOutcome::Skipped => continue,
        };
        let attempt = Attempt {
            source_id: &part.key.source_id,
            data_date: part.key.data_date,
            entity: part.key.entity.as_ref().map(EntityId::as_str),
            run_id,
            at: now,
            reason: part.reason.as_deref(),
            publish_id: None,
            outcome,
        };
        record_attempt(&transaction, &attempt).await?;
    }
    transaction.commit().await.map_err(&doing)
}

/// Keeps the requests of fetches that another program made and this run publishes.
pub async fn keep_requests(
    session: &mut Session,
    run_id: Uuid,
    parts: &[Ingested],
) -> Result<(), WarehouseError> {
    if parts.is_empty() {
        return Ok(());
    }
    let doing = WarehouseError::statement("recording requests");
    let transaction = session.client().transaction().await.map_err(&doing)?;
    for part in parts {
        record_requests(&transaction, run_id, part).await?;
    }
    transaction.commit().await.map_err(&doing)
}

async fn record_requests(
    transaction: &Transaction<'_>,
    run_id: Uuid,
    part: &Ingested,
) -> Result<(), WarehouseError> {
    fn whole(number: u64) -> i64 {
        i64::try_from(number).unwrap_or(i64::MAX)
    }
    fn small(number: u32) -> i32 {
        i32::try_from(number).unwrap_or(i32::MAX)
    }
    if part.attempts.is_empty() {
        return Ok(());
    }
    let all = || part.attempts.iter();
    let pages: Vec<i32> = all().map(|attempt| small(attempt.page)).collect();
    let numbers: Vec<i32> = all().map(|attempt| small(attempt.number)).collect();
    let times: Vec<Timestamp> = all().map(|attempt| attempt.at).collect();
    let waits: Vec<i64> = all().map(|attempt| whole(attempt.waited_ms)).collect();
    let durations: Vec<Option<i64>> = all().map(|it| it.duration_ms.map(whole)).collect();
    let statuses: Vec<Option<i32>> = all().map(|it| it.status.map(i32::from)).collect();
    let bytes: Vec<Option<i64>> = all().map(|attempt| attempt.bytes.map(whole)).collect();
    let kinds: Vec<Option<&str>> = all().map(|attempt| attempt.error_kind.as_deref()).collect();
    let messages: Vec<Option<&str>> = all().map(|attempt| attempt.message.as_deref()).collect();
    transaction
        .execute(
            "insert into daymark.attempt (run_id, fetch_id, source_id, data_date, entity, page, number, at,
                                          waited_ms, duration_ms, status, bytes, outcome, error_kind, message)
             select $1, $2, $3, $4, $5, page, number, at, waited_ms, duration_ms, status, bytes,
                    case when error_kind is null then 'answered' else 'failed' end, error_kind, message
             from unnest($6::int[], $7::int[], $8::timestamptz[], $9::bigint[], $10::bigint[], $11::int[],
                         $12::bigint[], $13::text[], $14::text[])
                  as made (page, number, at, waited_ms, duration_ms, status, bytes, error_kind, message)
             on conflict (fetch_id, page, number) do nothing",
            &[
                &run_id,
                &part.fetch_id,
                &part.key.source_id.as_str(),
                &part.key.data_date,
                &part.key.entity(),
                &pages,
                &numbers,
                &times,
                &waits,
                &durations,
                &statuses,
                &bytes,
                &kinds,
                &messages,
            ],
        )
        .await
        .map_err(WarehouseError::statement("recording requests"))?;
    Ok(())
}

/// Keeps lines of a run's log.
pub async fn keep_log(
    session: &mut Session,
    run_id: Uuid,
    lines: &[LogLine],
) -> Result<(), WarehouseError> {
    if lines.is_empty() {
        return Ok(());
    }
    let numbers: Vec<i32> =
        lines.iter().map(|line| i32::try_from(line.line).unwrap_or(i32::MAX)).collect();
    let times: Vec<Timestamp> = lines.iter().map(|line| line.at).collect();
    let sources: Vec<Option<&str>> =
        lines.iter().map(|line| line.source_id.as_ref().map(SourceId::as_str)).collect();
    let levels: Vec<&str> = lines.iter().map(|line| line.level).collect();
    let messages: Vec<&str> = lines.iter().map(|line| line.message.as_str()).collect();
    session
        .client()
        .execute(
            "insert into daymark.run_log (run_id, line, at, source_id, level, message)
             select $1, line, at, source_id, level, message
             from unnest($2::int[], $3::timestamptz[], $4::text[], $5::text[], $6::text[])
                  as said (line, at, source_id, level, message)
             on conflict (run_id, line) do update
             set at = excluded.at, source_id = excluded.source_id, level = excluded.level,
                 message = excluded.message",
            &[&run_id, &numbers, &times, &sources, &levels, &messages],
        )
        .await
        .map_err(WarehouseError::statement("keeping a run's log"))?;
    Ok(())
}

/// Closes a run with its publish steps. It has failed when one of its steps has. A scheduled run also moves
/// the mark of the last fire, so that it is not caught up again.
pub async fn finish_run(
    session: &mut Session,
    run_id: Uuid,
    steps: &[Step],
    claim: Option<&Claim>,
    now: Timestamp,
) -> Result<(), WarehouseError> {
    let doing = WarehouseError::statement("closing a run");
    let transaction = session.client().transaction().await.map_err(&doing)?;
    record_steps(&transaction, run_id, steps, now).await?;
    transaction
        .execute(
            "update daymark.run set finished_at = $2,
                    outcome = case when exists (
                        select from daymark.step where step.run_id = $1
                          and step.outcome in ('failed', 'refused', 'quarantined')
                    ) then 'failed' else 'succeeded' end
             where run_id = $1",
            &[&run_id, &now],
        )
        .await
        .map_err(&doing)?;
    transaction
        .execute(
            "update daymark.pipeline
             set last_fired_at = greatest(last_fired_at, (select scheduled_at from daymark.run where run_id = $1))",
            &[&run_id],
        )
        .await
        .map_err(&doing)?;
    if let Some(claim) = claim {
        fires::settle(&transaction, claim, now).await?;
        retries::settle(&transaction, claim, now).await?;
    }
    retries::follow(&transaction, run_id, now).await?;
    Box::pin(alerts::run_closed(&transaction, run_id, now)).await?;
    transaction.commit().await.map_err(&doing)
}

/// Makes sure that a run which the schedule started is still its process's own.
pub async fn still_leads(
    session: &mut Session,
    claim: Option<&Claim>,
) -> Result<(), WarehouseError> {
    match claim {
        Some(claim) => claim.fence.check(session.client()).await,
        None => Ok(()),
    }
}

async fn record_steps(
    transaction: &Transaction<'_>,
    run_id: Uuid,
    steps: &[Step],
    now: Timestamp,
) -> Result<(), WarehouseError> {
    let (sources, dates, entities) = columns(steps.iter().map(|step| &step.key));
    let outcomes: Vec<&str> = steps.iter().map(|step| step.outcome).collect();
    let reasons: Vec<Option<&str>> = steps.iter().map(|step| step.reason.as_deref()).collect();
    let starts: Vec<Timestamp> = steps.iter().map(|step| step.started_at).collect();
    transaction
        .execute(
            "insert into daymark.step (run_id, source_id, data_date, entity, stage, started_at, ended_at,
                                       outcome, reason)
             select $1, source_id, data_date, entity, 'publish', started_at, $2, outcome, reason
             from unnest($3::text[], $4::date[], $5::text[], $6::text[], $7::text[], $8::timestamptz[])
                  as came (source_id, data_date, entity, outcome, reason, started_at)
             on conflict do nothing",
            &[&run_id, &now, &sources, &dates, &entities, &outcomes, &reasons, &starts],
        )
        .await
        .map_err(WarehouseError::statement("recording the steps of a run"))?;
    Ok(())
}

/// Closes a run that failed as a whole, with the publish steps it can tell of. The mark of the last fire
/// stays where it is, so that a scheduler tries the fire again.
pub async fn fail_run(
    session: &mut Session,
    run_id: Uuid,
    steps: &[Step],
    reason: &str,
    now: Timestamp,
) -> Result<(), WarehouseError> {
    let doing = WarehouseError::statement("closing a run");
    let transaction = session.client().transaction().await.map_err(&doing)?;
    record_steps(&transaction, run_id, steps, now).await?;
    transaction
        .execute(
            "update daymark.run set finished_at = $2, outcome = 'failed', reason = $3 where run_id = $1",
            &[&run_id, &now, &reason],
        )
        .await
        .map_err(&doing)?;
    Box::pin(alerts::run_failed(&transaction, run_id, reason, now)).await?;
    transaction.commit().await.map_err(&doing)
}

/// Steps as columns of their key.
fn columns<'k>(
    steps: impl Iterator<Item = &'k StepKey>,
) -> (Vec<&'k str>, Vec<Date>, Vec<&'k str>) {
    let (mut sources, mut dates, mut entities) = (Vec::new(), Vec::new(), Vec::new());
    for key in steps {
        sources.push(key.source_id.as_str());
        dates.push(key.data_date);
        entities.push(key.entity());
    }
    (sources, dates, entities)
}
