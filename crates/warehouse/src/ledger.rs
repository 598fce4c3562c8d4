//! The ledger: runs, steps, and the state of every day.
//!
//! In: what a run does outside of a publish. Out: rows of schema `daymark`, and the days of each
//! source with the states that depend on calendar and clock worked out at read time, so that a dead
//! scheduler still turns a day missing. Deliberately absent: what changes with a publish
//! (`publish::record`).

use std::collections::BTreeMap;
use std::sync::Arc;

use daymark_plan::{Plan, Source, SourceId};
use jiff::Timestamp;
use jiff::civil::Date;
use tokio_postgres::GenericClient;
use uuid::Uuid;

use crate::error::WarehouseError;
use crate::publish::FetchResult;
use crate::session::Session;

/// The state of a day (DESIGN.md section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DayState {
    /// Its time has not come yet.
    Expected,
    /// Received, not published.
    Fetched,
    /// Published.
    Published,
    /// Every attempt failed.
    Failed,
    /// Its deadline passed.
    Late,
    /// Its time came and went without an attempt.
    Missing,
    /// A check holds it back.
    Quarantined,
    /// Its source has no data on it.
    Holiday,
    /// A person decided to leave it out.
    Skipped,
}

impl DayState {
    /// The state's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expected => "expected",
            Self::Fetched => "fetched",
            Self::Published => "published",
            Self::Failed => "failed",
            Self::Late => "late",
            Self::Missing => "missing",
            Self::Quarantined => "quarantined",
            Self::Holiday => "holiday",
            Self::Skipped => "skipped",
        }
    }
}

/// One day of a source.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Day {
    /// The data date.
    pub date: Date,
    /// The best outcome reached.
    pub state: DayState,
    /// Why it is in that state, when there is something to say.
    pub reason: Option<String>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// The last attempt's outcome, when there was one: `published` or `failed`.
    pub last_outcome: Option<String>,
    /// Attempts to publish it so far.
    pub attempts: u32,
}

/// The days of a source, in order.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct SourceDays {
    /// The source.
    pub source: SourceId,
    /// Its days, in order.
    pub days: Vec<Day>,
}

/// Whether a source's day was to be attempted by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// The schedule never fires for it.
    Never,
    /// Its time has not come.
    NotYet,
    /// Its time has come.
    Now,
}

/// Tells whether a source's day was to be attempted by now.
pub type DueDays = Arc<dyn Fn(&Source, Date) -> Due + Send + Sync>;

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
}

impl RunKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Scheduled => "scheduled",
            Self::CatchUp => "catch_up",
        }
    }
}

/// What a run did for one source.
#[derive(Debug, Clone)]
pub struct Step {
    /// The source.
    pub source_id: SourceId,
    /// The day.
    pub data_date: Date,
    /// `published`, `failed` or `skipped`.
    pub outcome: &'static str,
    /// Why, when it is not `published`.
    pub reason: Option<String>,
}

/// An attempt to publish a day; without a publish id it failed.
pub(crate) struct Attempt<'a> {
    pub(crate) source_id: &'a SourceId,
    pub(crate) data_date: Date,
    pub(crate) run_id: Uuid,
    pub(crate) at: Timestamp,
    pub(crate) reason: Option<&'a str>,
    pub(crate) publish_id: Option<i64>,
}

/// Opens a run.
pub async fn start_run(
    session: &mut Session,
    run_id: Uuid,
    kind: RunKind,
    scheduled_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), WarehouseError> {
    session
        .client()
        .execute(
            "insert into daymark.run (run_id, kind, scheduled_at, started_at, program_version)
             values ($1, $2, $3, $4, $5)",
            &[&run_id, &kind.as_str(), &scheduled_at, &now, &env!("CARGO_PKG_VERSION")],
        )
        .await
        .map_err(WarehouseError::statement("opening a run"))?;
    Ok(())
}

/// Closes a run with its steps. A scheduled run also moves the mark of the last fire, so that it is
/// not caught up again.
pub async fn finish_run(
    session: &mut Session,
    run_id: Uuid,
    steps: &[Step],
    now: Timestamp,
) -> Result<(), WarehouseError> {
    let doing = WarehouseError::statement("closing a run");
    let transaction = session.client().transaction().await.map_err(&doing)?;
    for step in steps {
        transaction
            .execute(
                "insert into daymark.step (run_id, source_id, data_date, outcome, reason, at)
                 values ($1, $2, $3, $4, $5, $6)
                 on conflict (run_id, source_id, data_date) do nothing",
                &[
                    &run_id,
                    &step.source_id.as_str(),
                    &step.data_date,
                    &step.outcome,
                    &step.reason,
                    &now,
                ],
            )
            .await
            .map_err(&doing)?;
    }
    let failed = steps.iter().any(|step| step.outcome == "failed");
    let outcome = if failed { "failed" } else { "succeeded" };
    transaction
        .execute(
            "update daymark.run set finished_at = $2, outcome = $3 where run_id = $1",
            &[&run_id, &now, &outcome],
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
    transaction.commit().await.map_err(&doing)
}

/// Closes a run whose publish failed as a whole. The mark of the last fire stays where it is, so that
/// a scheduler tries the fire again.
pub async fn fail_run(
    session: &mut Session,
    run_id: Uuid,
    now: Timestamp,
) -> Result<(), WarehouseError> {
    session
        .client()
        .execute(
            "update daymark.run set finished_at = $2, outcome = 'failed' where run_id = $1",
            &[&run_id, &now],
        )
        .await
        .map_err(WarehouseError::statement("closing a run"))?;
    Ok(())
}

/// What the ledger says became of a fetch, if it has taken note of it.
pub async fn fetch_result(
    session: &mut Session,
    manifest_key: &str,
) -> Result<Option<FetchResult>, WarehouseError> {
    let row = session
        .client()
        .query_opt(
            "select state, coalesce(reason, '') from daymark.fetch where manifest_key = $1",
            &[&manifest_key],
        )
        .await
        .map_err(WarehouseError::statement("reading a fetch"))?;
    Ok(row.map(|row| match row.get(0) {
        "published" => FetchResult::Published,
        "refused" => FetchResult::Refused(row.get(1)),
        _ => FetchResult::Failed(row.get(1)),
    }))
}

/// Marks a day as failed for a reason that left no manifest, such as a raw store that is not writable.
pub async fn fail_day(
    session: &mut Session,
    run_id: Uuid,
    source_id: &SourceId,
    data_date: Date,
    reason: &str,
    now: Timestamp,
) -> Result<(), WarehouseError> {
    let attempt =
        Attempt { source_id, data_date, run_id, at: now, reason: Some(reason), publish_id: None };
    record_attempt(session.client(), &attempt).await
}

/// Writes an attempt into its day: the state never falls below `published`.
pub(crate) async fn record_attempt(
    client: &impl GenericClient,
    attempt: &Attempt<'_>,
) -> Result<(), WarehouseError> {
    let outcome = if attempt.publish_id.is_some() { "published" } else { "failed" };
    client
        .execute(
            "insert into daymark.day as day
                 (source_id, data_date, state, since, reason, last_outcome, last_reason, last_at, attempts,
                  run_id, publish_id)
             values ($1, $2, $3, $4, $5, $3, $5, $4, 1, $6, $7)
             on conflict (source_id, data_date) do update
             set state = case when day.state = 'published' then day.state else excluded.state end,
                 since = case when day.state in ('published', excluded.state) then day.since
                              else excluded.since end,
                 reason = case when 'published' in (day.state, excluded.state) then null
                               else excluded.reason end,
                 last_outcome = excluded.last_outcome,
                 last_reason = excluded.last_reason,
                 last_at = excluded.last_at,
                 attempts = day.attempts + 1,
                 run_id = excluded.run_id,
                 publish_id = coalesce(excluded.publish_id, day.publish_id)",
            &[
                &attempt.source_id.as_str(),
                &attempt.data_date,
                &outcome,
                &attempt.at,
                &attempt.reason,
                &attempt.run_id,
                &attempt.publish_id,
            ],
        )
        .await
        .map_err(WarehouseError::statement("recording a day"))?;
    Ok(())
}

/// The manifests of a source that need no publish any more: published, refused, or failed by the very
/// files the folder holds now.
pub async fn noted_manifests(
    session: &mut Session,
    plan: &Plan,
    source_id: &SourceId,
) -> Result<std::collections::BTreeSet<String>, WarehouseError> {
    let rows = session
        .client()
        .query(
            "select manifest_key from daymark.fetch
             where source_id = $1 and (state <> 'failed' or code_hash = $2)",
            &[&source_id.as_str(), &plan.code_hash(source_id)],
        )
        .await
        .map_err(WarehouseError::statement("listing the published fetches"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Whether a day is published.
pub async fn is_published(
    session: &mut Session,
    source_id: &SourceId,
    data_date: Date,
) -> Result<bool, WarehouseError> {
    let row = session
        .client()
        .query_one(
            "select exists (select 1 from daymark.day
                            where source_id = $1 and data_date = $2 and state = 'published')",
            &[&source_id.as_str(), &data_date],
        )
        .await
        .map_err(WarehouseError::statement("reading a day"))?;
    Ok(row.get(0))
}

/// The latest scheduled instant that was acted on.
pub async fn last_fired(session: &mut Session) -> Result<Option<Timestamp>, WarehouseError> {
    let row = session
        .client()
        .query_one("select last_fired_at from daymark.pipeline", &[])
        .await
        .map_err(WarehouseError::statement("reading the last fire"))?;
    Ok(row.get(0))
}

/// Marks a scheduled instant as the one to go on from: what a scheduler that starts for the first time
/// does, because it owes nothing from before.
pub async fn set_last_fired(session: &mut Session, at: Timestamp) -> Result<(), WarehouseError> {
    session
        .client()
        .execute("update daymark.pipeline set last_fired_at = greatest(last_fired_at, $1)", &[&at])
        .await
        .map_err(WarehouseError::statement("marking the last fire"))?;
    Ok(())
}

/// The days of every source in a range. `due` tells which days were to be attempted by now.
pub(crate) async fn days(
    client: &impl GenericClient,
    plan: &Plan,
    from: Date,
    to: Date,
    due: &(dyn Fn(&Source, Date) -> Due + Send + Sync),
) -> Result<Vec<SourceDays>, WarehouseError> {
    let doing = WarehouseError::statement("reading the days");
    let first_days: BTreeMap<String, Date> = client
        .query("select source_id, min(data_date) from daymark.day group by source_id", &[])
        .await
        .map_err(&doing)?
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    let rows = client
        .query(
            "select source_id, data_date, state, coalesce(reason, last_reason), since, last_outcome, attempts
             from daymark.day where data_date between $1 and $2",
            &[&from, &to],
        )
        .await
        .map_err(&doing)?;
    let mut known: BTreeMap<(String, Date), Day> = BTreeMap::new();
    for row in rows {
        let date: Date = row.get(1);
        let published = row.get::<_, &str>(2) == "published";
        let day = Day {
            date,
            state: if published { DayState::Published } else { DayState::Failed },
            reason: row.get(3),
            since: row.get(4),
            last_outcome: row.get(5),
            attempts: u32::try_from(row.get::<_, i32>(6)).unwrap_or(0),
        };
        known.insert((row.get(0), date), day);
    }
    let mut sources = Vec::new();
    for source in &plan.sources {
        let first = source.start.or_else(|| first_days.get(source.id.as_str()).copied());
        let mut days = Vec::new();
        let mut date = first.map_or(to, |first| first.max(from));
        while date <= to {
            days.push(match known.remove(&(source.id.as_str().to_owned(), date)) {
                Some(day) => day,
                // A source without any attempt and without a start owes nothing yet.
                None if first.is_none() => unattempted(source, date, Due::NotYet),
                None => unattempted(source, date, due(source, date)),
            });
            let Ok(next) = date.tomorrow() else { break };
            date = next;
        }
        sources.push(SourceDays { source: source.id.clone(), days });
    }
    Ok(sources)
}

fn unattempted(source: &Source, date: Date, due: Due) -> Day {
    let has_data = source.calendar.has_data_on(date);
    let (state, reason) = match due {
        _ if !has_data => (DayState::Holiday, None),
        Due::Never => {
            (DayState::Holiday, Some("the schedule does not fire for this day".to_owned()))
        }
        Due::NotYet => (DayState::Expected, None),
        Due::Now => {
            (DayState::Missing, Some("its time came and no attempt is recorded".to_owned()))
        }
    };
    Day { date, state, reason, since: None, last_outcome: None, attempts: 0 }
}
