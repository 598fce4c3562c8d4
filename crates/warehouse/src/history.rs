//! The runs, for people: which there were, and all that is kept of one.
//!
//! In: what to look for. Out: [`Run`]s, newest first, and a [`RunDetail`] with steps, attempts and log.
//! Deliberately absent: writing them (`ledger::runs`).

use jiff::Timestamp;
use jiff::civil::Date;
use tokio_postgres::{GenericClient, Row};
use uuid::Uuid;

use crate::error::WarehouseError;
use crate::reader::Reader;

/// Which runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Only those that failed or were interrupted.
    pub failed: bool,
    /// The newest so many.
    pub last: u32,
}

/// A run.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Run {
    /// Its id.
    pub id: Uuid,
    /// Why it was started: `manual`, `scheduled`, `catch_up`, `rebuild`, `backfill`, `retry`.
    pub kind: String,
    /// The scheduled instant it answers to.
    pub scheduled_at: Option<Timestamp>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; none of one that is at work.
    pub finished_at: Option<Timestamp>,
    /// `succeeded`, `failed` or `interrupted`; none of one that is at work.
    pub outcome: Option<String>,
    /// Why it failed: as a whole, or the first of its steps.
    pub reason: Option<String>,
    /// How many parts, a source or an entity each, came to what: published.
    pub published: i64,
    /// Failed, or refused, or interrupted.
    pub failed: i64,
    /// Held back.
    pub quarantined: i64,
    /// Left alone.
    pub skipped: i64,
    /// Requests made.
    pub attempts: i64,
    /// The publish it made, if it made one.
    pub publish: Option<i64>,
    /// Who ran it.
    pub holder: Option<String>,
    /// When it last said that it lives, by the database's clock.
    pub heartbeat_at: Option<Timestamp>,
    /// By which version of the program.
    pub program_version: String,
    /// When its requests and its log were removed, because they were old; none: they are kept.
    pub logs_removed_at: Option<Timestamp>,
}

/// One stage of a run for one source and entity.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct RunStep {
    /// The source.
    pub source: String,
    /// The day.
    pub date: Date,
    /// The entity; none of a source without.
    pub entity: Option<String>,
    /// `ingest` or `publish`.
    pub stage: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; none of one that is at work.
    pub ended_at: Option<Timestamp>,
    /// What came of it; none of one that is at work.
    pub outcome: Option<String>,
    /// The kind of what went wrong.
    pub error_kind: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

/// One request of a run.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct RunAttempt {
    /// The source.
    pub source: String,
    /// The day.
    pub date: Date,
    /// The entity; none of a source without.
    pub entity: Option<String>,
    /// The page, from 1.
    pub page: i32,
    /// The attempt at that page, from 1.
    pub number: i32,
    /// When it was sent.
    pub at: Timestamp,
    /// How long was waited before it, in milliseconds.
    pub waited_ms: i64,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<i64>,
    /// The status answered.
    pub status: Option<i32>,
    /// The bytes received.
    pub bytes: Option<i64>,
    /// `answered` or `failed`.
    pub outcome: String,
    /// The kind of what went wrong.
    pub error_kind: Option<String>,
    /// What went wrong.
    pub message: Option<String>,
}

/// A line of a run's log.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct LoggedLine {
    /// Its number, from 1.
    pub line: i32,
    /// When it was said.
    pub at: Timestamp,
    /// Of which source; none of the run as a whole.
    pub source: Option<String>,
    /// `info`, `warn` or `error`.
    pub level: String,
    /// What was said.
    pub message: String,
}

/// All that is kept of a run.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct RunDetail {
    /// The run.
    #[serde(flatten)]
    pub run: Run,
    /// Its steps, by source, day, entity and stage.
    pub steps: Vec<RunStep>,
    /// Its requests, in the order they were sent.
    pub requests: Vec<RunAttempt>,
    /// What it said.
    pub log: Vec<LoggedLine>,
}

/// A run with the count of what its parts came to: of a part the later stage tells.
const RUN: &str = "
    select run.run_id, run.kind, run.scheduled_at, run.started_at, run.finished_at, run.outcome,
           coalesce(run.reason, (
               select step.source_id || ' ' || step.data_date
                      || case step.entity when '' then '' else ' ' || step.entity end || ': ' || step.reason
               from daymark.step where step.run_id = run.run_id and step.reason is not null
                 and step.outcome in ('failed', 'refused', 'quarantined', 'interrupted')
               order by step.source_id, step.data_date, step.entity, step.stage desc limit 1)),
           coalesce(parts.published, 0), coalesce(parts.failed, 0), coalesce(parts.quarantined, 0),
           coalesce(parts.skipped, 0),
           (select count(*) from daymark.attempt where attempt.run_id = run.run_id),
           (select max(publish_id) from daymark.publish where publish.run_id = run.run_id),
           run.holder, run.heartbeat_at, run.program_version, run.logs_removed_at
    from daymark.run left join lateral (
        select count(*) filter (where outcome = 'published') as published,
               count(*) filter (where outcome in ('failed', 'refused', 'interrupted')) as failed,
               count(*) filter (where outcome = 'quarantined') as quarantined,
               count(*) filter (where outcome = 'skipped') as skipped
        from (
            select distinct on (source_id, data_date, entity) outcome
            from daymark.step where step.run_id = run.run_id
            order by source_id, data_date, entity, stage desc
        ) as latest
    ) as parts on true";

fn run(row: &Row) -> Run {
    Run {
        id: row.get(0),
        kind: row.get(1),
        scheduled_at: row.get(2),
        started_at: row.get(3),
        finished_at: row.get(4),
        outcome: row.get(5),
        reason: row.get(6),
        published: row.get(7),
        failed: row.get(8),
        quarantined: row.get(9),
        skipped: row.get(10),
        attempts: row.get(11),
        publish: row.get(12),
        holder: row.get(13),
        heartbeat_at: row.get(14),
        program_version: row.get(15),
        logs_removed_at: row.get(16),
    }
}

impl Reader {
    /// The newest runs, newest first.
    pub async fn runs(&self, filter: RunFilter) -> Result<Vec<Run>, WarehouseError> {
        let which = if filter.failed { "run.outcome in ('failed', 'interrupted')" } else { "true" };
        let mut session = self.warehouse.session("reading the runs").await?;
        let rows = session
            .client()
            .query(
                &format!(
                    "{RUN} where {which} order by run.started_at desc, run.run_id desc limit $1"
                ),
                &[&i64::from(filter.last)],
            )
            .await
            .map_err(WarehouseError::statement("reading the runs"))?;
        Ok(rows.iter().map(run).collect())
    }

    /// The ids of the runs that a text, `last` or the beginning or the end of an id, can mean; at most a few.
    pub async fn find_runs(&self, text: &str) -> Result<Vec<Uuid>, WarehouseError> {
        let which = match text {
            "last" => "$1 = 'last' order by started_at desc, run_id desc limit 1",
            _ => {
                "starts_with(run_id::text, $1) or starts_with(reverse(run_id::text), reverse($1)) \
                 order by started_at desc limit 5"
            }
        };
        let mut session = self.warehouse.session("reading the runs").await?;
        let rows = session
            .client()
            .query(&format!("select run_id from daymark.run where {which}"), &[&text])
            .await
            .map_err(WarehouseError::statement("reading the runs"))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// All that is kept of a run; none when there is no such run.
    pub async fn run(&self, run_id: Uuid) -> Result<Option<RunDetail>, WarehouseError> {
        let mut session = self.warehouse.session("reading a run").await?;
        let client = session.client();
        let doing = WarehouseError::statement("reading a run");
        let row = client
            .query_opt(&format!("{RUN} where run.run_id = $1"), &[&run_id])
            .await
            .map_err(&doing)?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(RunDetail {
            run: run(&row),
            steps: steps(client, run_id).await?,
            requests: requests(client, run_id).await?,
            log: log(client, run_id).await?,
        }))
    }
}

async fn steps(client: &impl GenericClient, run_id: Uuid) -> Result<Vec<RunStep>, WarehouseError> {
    let rows = client
        .query(
            "select source_id, data_date, nullif(entity, ''), stage, started_at, ended_at, outcome,
                    error_kind, reason
             from daymark.step where run_id = $1 order by source_id, data_date, entity, stage",
            &[&run_id],
        )
        .await
        .map_err(WarehouseError::statement("reading a run's steps"))?;
    Ok(rows
        .iter()
        .map(|row| RunStep {
            source: row.get(0),
            date: row.get(1),
            entity: row.get(2),
            stage: row.get(3),
            started_at: row.get(4),
            ended_at: row.get(5),
            outcome: row.get(6),
            error_kind: row.get(7),
            reason: row.get(8),
        })
        .collect())
}

async fn requests(
    client: &impl GenericClient,
    run_id: Uuid,
) -> Result<Vec<RunAttempt>, WarehouseError> {
    let rows = client
        .query(
            "select source_id, data_date, nullif(entity, ''), page, number, at, waited_ms, duration_ms,
                    status, bytes, outcome, error_kind, message
             from daymark.attempt where run_id = $1 order by at, attempt_id",
            &[&run_id],
        )
        .await
        .map_err(WarehouseError::statement("reading a run's requests"))?;
    Ok(rows
        .iter()
        .map(|row| RunAttempt {
            source: row.get(0),
            date: row.get(1),
            entity: row.get(2),
            page: row.get(3),
            number: row.get(4),
            at: row.get(5),
            waited_ms: row.get(6),
            duration_ms: row.get(7),
            status: row.get(8),
            bytes: row.get(9),
            outcome: row.get(10),
            error_kind: row.get(11),
            message: row.get(12),
        })
        .collect())
}

async fn log(client: &impl GenericClient, run_id: Uuid) -> Result<Vec<LoggedLine>, WarehouseError> {
    let rows = client
        .query(
            "select line, at, source_id, level, message from daymark.run_log where run_id = $1
             order by line",
            &[&run_id],
        )
        .await
        .map_err(WarehouseError::statement("reading a run's log"))?;
    Ok(rows
        .iter()
        .map(|row| LoggedLine {
            line: row.get(0),
            at: row.get(1),
            source: row.get(2),
            level: row.get(3),
            message: row.get(4),
        })
        .collect())
}
