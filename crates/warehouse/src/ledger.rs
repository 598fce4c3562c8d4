//! The ledger: runs with their steps (`runs`), and the attempts of every day.
//!
//! In: what a run does outside of a publish. Out: rows of schema `daymark`. Deliberately absent: what
//! changes with a publish (`publish::record`); reading the days (`days`) and the runs (`history`).

mod runs;

use std::collections::{BTreeMap, BTreeSet};

use daymark_plan::{EntityId, Plan, SourceId};
use jiff::Timestamp;
use jiff::civil::Date;
use tokio_postgres::GenericClient;
use uuid::Uuid;

use crate::error::WarehouseError;
use crate::publish::FetchResult;
use crate::session::Session;

pub use crate::holder::OpenRun;
pub use runs::{
    IngestOutcome, Ingested, Interrupted, LogLine, RequestAttempt, RunKind, Step, StepKey, beat,
    close_interrupted, end_ingest, fail_run, finish_run, keep_log, keep_requests, start_ingest,
    start_run, still_leads,
};

/// What an attempt on a day came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DayOutcome {
    Published,
    /// A check holds it back.
    Quarantined,
    /// Received and accepted, not published yet.
    Fetched,
    Failed,
}

impl DayOutcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Quarantined => "quarantined",
            Self::Fetched => "fetched",
            Self::Failed => "failed",
        }
    }
}

/// An attempt on a day.
pub(crate) struct Attempt<'a> {
    pub(crate) source_id: &'a SourceId,
    pub(crate) data_date: Date,
    pub(crate) entity: Option<&'a str>,
    pub(crate) run_id: Uuid,
    pub(crate) at: Timestamp,
    pub(crate) reason: Option<&'a str>,
    pub(crate) publish_id: Option<i64>,
    pub(crate) outcome: DayOutcome,
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
        "quarantined" => FetchResult::Quarantined(row.get(1)),
        _ => FetchResult::Failed(row.get(1)),
    }))
}

/// Marks a day as failed for a reason that left no manifest, such as a raw store that is not writable.
pub async fn fail_day(
    session: &mut Session,
    run_id: Uuid,
    source_id: &SourceId,
    data_date: Date,
    entity: Option<&EntityId>,
    reason: &str,
    now: Timestamp,
) -> Result<(), WarehouseError> {
    let attempt = Attempt {
        source_id,
        data_date,
        entity: entity.map(EntityId::as_str),
        run_id,
        at: now,
        reason: Some(reason),
        publish_id: None,
        outcome: DayOutcome::Failed,
    };
    record_attempt(session.client(), &attempt).await
}

const RECORD_ATTEMPT: &str = "insert into daymark.day as day
         (source_id, data_date, entity, state, since, reason, last_outcome, last_reason, last_at,
          attempts, run_id, publish_id)
     values ($1, $2, $8, $3, $4, $5, $3, $5, $4, case $3 when 'fetched' then 0 else 1 end, $6, $7)
     on conflict (source_id, data_date, entity) do update
     set state = case when day.state = 'published'
                        or (day.state = 'quarantined' and excluded.state in ('failed', 'fetched'))
                      then day.state else excluded.state end,
         since = case when day.state in ('published', excluded.state)
                        or (day.state = 'quarantined' and excluded.state in ('failed', 'fetched'))
                      then day.since else excluded.since end,
         reason = case when 'published' in (day.state, excluded.state) then null
                       when day.state = 'quarantined' and excluded.state in ('failed', 'fetched')
                       then day.reason else excluded.reason end,
         last_outcome = excluded.last_outcome,
         last_reason = excluded.last_reason,
         last_at = excluded.last_at,
         attempts = day.attempts + case excluded.state when 'fetched' then 0 else 1 end,
         run_id = excluded.run_id,
         publish_id = coalesce(excluded.publish_id, day.publish_id)
     where not (day.state = 'published' and excluded.state = 'fetched')";

/// Writes an attempt into its day: the state is the best outcome reached, `published` before `quarantined`
/// before the later of `fetched` and `failed`. A fetch is no attempt of its own, its publish is; and it says
/// nothing of a day that is published.
pub(crate) async fn record_attempt(
    client: &impl GenericClient,
    attempt: &Attempt<'_>,
) -> Result<(), WarehouseError> {
    record_attempts(client, std::slice::from_ref(attempt)).await
}

/// Writes attempts, which may be of one day, in turn.
pub(crate) async fn record_attempts(
    client: &impl GenericClient,
    attempts: &[Attempt<'_>],
) -> Result<(), WarehouseError> {
    if attempts.is_empty() {
        return Ok(());
    }
    let doing = WarehouseError::statement("recording a day");
    let record = client.prepare(RECORD_ATTEMPT).await.map_err(&doing)?;
    for attempt in attempts {
        client
            .execute(
                &record,
                &[
                    &attempt.source_id.as_str(),
                    &attempt.data_date,
                    &attempt.outcome.as_str(),
                    &attempt.at,
                    &attempt.reason,
                    &attempt.run_id,
                    &attempt.publish_id,
                    &attempt.entity.unwrap_or_default(),
                ],
            )
            .await
            .map_err(&doing)?;
    }
    Ok(())
}

/// What the ledger knows of the manifests of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Noted {
    /// The newest key that was taken note of.
    pub newest: Option<String>,
    /// When all manifests were last listed, unless one of them had to be left for later.
    pub listed_in_full_at: Option<Timestamp>,
    /// Those that the database refused or a check held back, by other files than the folder holds now: to be tried again.
    pub to_try_again: BTreeSet<String>,
}

/// What the ledger knows of the manifests of a source.
pub async fn noted(
    session: &mut Session,
    plan: &Plan,
    source_id: &SourceId,
) -> Result<Noted, WarehouseError> {
    let doing = WarehouseError::statement("reading what was published");
    let client = session.client();
    let row = client
        .query_one(
            "select (select manifest_key from daymark.fetch where source_id = $1
                     order by manifest_key collate \"C\" desc limit 1),
                    (select listed_in_full_at from daymark.listing where source_id = $1)",
            &[&source_id.as_str()],
        )
        .await
        .map_err(&doing)?;
    let failed = client
        .query(
            "select manifest_key from daymark.fetch
             where source_id = $1 and state in ('failed', 'quarantined') and code_hash <> $2",
            &[&source_id.as_str(), &plan.code_hash(source_id)],
        )
        .await
        .map_err(&doing)?;
    Ok(Noted {
        newest: row.get(0),
        listed_in_full_at: row.get(1),
        to_try_again: failed.iter().map(|row| row.get(0)).collect(),
    })
}

/// The manifests of a source, all or those after a key, that the ledger took note of.
pub async fn noted_manifests(
    session: &mut Session,
    source_id: &SourceId,
    after: Option<&str>,
) -> Result<BTreeSet<String>, WarehouseError> {
    let rows = session
        .client()
        .query(
            "select manifest_key from daymark.fetch
             where source_id = $1 and manifest_key collate \"C\" > $2",
            &[&source_id.as_str(), &after.unwrap_or_default()],
        )
        .await
        .map_err(WarehouseError::statement("listing the published fetches"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Keeps when all manifests of a source were listed; none makes the next listing a full one.
pub async fn set_listed(
    session: &mut Session,
    source_id: &SourceId,
    in_full_at: Option<Timestamp>,
) -> Result<(), WarehouseError> {
    session
        .client()
        .execute(
            "insert into daymark.listing (source_id, listed_in_full_at) values ($1, $2)
             on conflict (source_id) do update set listed_in_full_at = excluded.listed_in_full_at",
            &[&source_id.as_str(), &in_full_at],
        )
        .await
        .map_err(WarehouseError::statement("keeping when manifests were listed"))?;
    Ok(())
}

/// A fetch that checks hold back.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Quarantined {
    /// Its manifest.
    pub manifest_key: String,
    /// The fetch.
    pub fetch_id: Uuid,
    /// Its source.
    pub source_id: String,
    /// The day it is for.
    pub data_date: Date,
    /// Its entity; `""` of a source without.
    pub entity: String,
    /// When it was received.
    pub fetched_at: Timestamp,
    /// Why it is held back.
    pub reason: String,
    /// The checks that hold it back, as they were last asked.
    pub checks: Vec<HoldingCheck>,
}

/// A check that holds a fetch back.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct HoldingCheck {
    /// The table.
    pub table: String,
    /// The check.
    pub check: String,
    /// Rows that offend.
    pub failing: i64,
    /// The first of them.
    pub sample: Vec<serde_json::Value>,
    /// Its SQL.
    pub sql: String,
}

/// The fetches that are held back, by source and day: of each entity's day the newest, unless a newer one
/// is published.
pub async fn quarantined(session: &mut Session) -> Result<Vec<Quarantined>, WarehouseError> {
    let doing = WarehouseError::statement("reading what is held back");
    let client = session.client();
    let rows = client
        .query(
            "select manifest_key, fetch_id, source_id, data_date, coalesce(entity, ''), fetched_at,
                    coalesce(reason, '')
             from (
                 select distinct on (source_id, data_date, coalesce(entity, '')) *
                 from daymark.fetch where state in ('published', 'quarantined')
                 order by source_id, data_date, coalesce(entity, ''), manifest_key collate \"C\" desc
             ) as newest
             where state = 'quarantined' order by source_id, data_date, coalesce(entity, '')",
            &[],
        )
        .await
        .map_err(&doing)?;
    let mut held = Vec::new();
    for row in rows {
        let manifest_key: String = row.get(0);
        let checks = client
            .query(
                "select table_name, check_name, failing, coalesce(sample, '[]')::text, coalesce(sql, '')
                 from daymark.check_result
                 where manifest_key = $1 and severity = 'block' and outcome = 'failed'
                   and run_id = (select run_id from daymark.check_result where manifest_key = $1
                                 order by result_id desc limit 1)
                 order by result_id",
                &[&manifest_key],
            )
            .await
            .map_err(&doing)?;
        held.push(Quarantined {
            manifest_key,
            fetch_id: row.get(1),
            source_id: row.get(2),
            data_date: row.get(3),
            entity: row.get(4),
            fetched_at: row.get(5),
            reason: row.get(6),
            checks: checks
                .iter()
                .map(|row| HoldingCheck {
                    table: row.get(0),
                    check: row.get(1),
                    failing: row.get(2),
                    sample: serde_json::from_str(row.get(3)).unwrap_or_default(),
                    sql: row.get(4),
                })
                .collect(),
        });
    }
    Ok(held)
}

/// How many accepted fetches of each source could not be published: their rows are in no table.
pub async fn failed_fetches(
    session: &mut Session,
) -> Result<BTreeMap<String, i64>, WarehouseError> {
    let count =
        "select source_id, count(*) from daymark.fetch where state = 'failed' group by source_id";
    let rows = session.client().query(count, &[]).await;
    let rows = rows.map_err(WarehouseError::statement("counting what failed"))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Has the next publish try a fetch that is held back once more.
pub async fn try_again(session: &mut Session, manifest_key: &str) -> Result<(), WarehouseError> {
    session
        .client()
        .execute(
            "update daymark.fetch set code_hash = '' where manifest_key = $1 and state = 'quarantined'",
            &[&manifest_key],
        )
        .await
        .map_err(WarehouseError::statement("having a fetch tried again"))?;
    Ok(())
}

/// The entities of a source that are published for a day; `""` stands for a source without.
pub async fn published_entities(
    session: &mut Session,
    source_id: &SourceId,
    data_date: Date,
) -> Result<BTreeSet<String>, WarehouseError> {
    let rows = session
        .client()
        .query(
            "select entity from daymark.day
             where source_id = $1 and data_date = $2 and state = 'published'",
            &[&source_id.as_str(), &data_date],
        )
        .await
        .map_err(WarehouseError::statement("reading a day"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
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

/// Why a day is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipKind {
    /// Its fire was missed, and the schedule does not make up for it.
    Missed,
    /// Its fire was missed, or its day failed, longer ago than is made up for.
    TooOld,
    /// A person gave it up.
    Discarded,
}

impl SkipKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Missed => "missed",
            Self::TooOld => "too_old",
            Self::Discarded => "discarded",
        }
    }
}

/// A day that is left out.
#[derive(Debug, Clone)]
pub struct Skip<'s> {
    /// The source.
    pub source_id: &'s SourceId,
    /// The day.
    pub data_date: Date,
    /// The entity; none for the whole day.
    pub entity: Option<&'s EntityId>,
    /// Why.
    pub kind: SkipKind,
    /// Who said so, when it was a person.
    pub by_whom: Option<&'s str>,
    /// In words.
    pub reason: &'s str,
}

/// Leaves a day out: it is `skipped` until it is published or attempted again. In a transaction of the
/// caller's, where what is decided and what follows from it belong together.
pub async fn skip_day(
    client: &impl GenericClient,
    skip: &Skip<'_>,
    now: Timestamp,
) -> Result<(), WarehouseError> {
    client
        .execute(
            "insert into daymark.skip (source_id, data_date, entity, at, kind, by_whom, reason)
             values ($1, $2, $3, $4, $5, $6, $7)
             on conflict (source_id, data_date, entity) do update
             set at = excluded.at, kind = excluded.kind, by_whom = excluded.by_whom,
                 reason = excluded.reason",
            &[
                &skip.source_id.as_str(),
                &skip.data_date,
                &skip.entity.map_or("", EntityId::as_str),
                &now,
                &skip.kind.as_str(),
                &skip.by_whom,
                &skip.reason,
            ],
        )
        .await
        .map_err(WarehouseError::statement("leaving a day out"))?;
    Ok(())
}
