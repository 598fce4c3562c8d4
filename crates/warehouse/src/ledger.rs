//! The ledger: runs, steps, and the attempts of every day.
//!
//! In: what a run does outside of a publish. Out: rows of schema `daymark`. Deliberately absent: what
//! changes with a publish (`publish::record`); reading the days (`days`).

use std::collections::BTreeSet;

use daymark_plan::{EntityId, Plan, SourceId};
use jiff::Timestamp;
use jiff::civil::Date;
use tokio_postgres::GenericClient;
use uuid::Uuid;

use crate::error::WarehouseError;
use crate::publish::FetchResult;
use crate::session::Session;

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
}

impl RunKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Scheduled => "scheduled",
            Self::CatchUp => "catch_up",
            Self::Rebuild => "rebuild",
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
    /// The entity.
    pub entity: Option<EntityId>,
    /// `published`, `failed`, `quarantined` or `skipped`.
    pub outcome: &'static str,
    /// Why, when it is not `published`.
    pub reason: Option<String>,
}

/// An attempt to publish a day; without a publish id it failed, or was held back.
pub(crate) struct Attempt<'a> {
    pub(crate) source_id: &'a SourceId,
    pub(crate) data_date: Date,
    pub(crate) entity: Option<&'a str>,
    pub(crate) run_id: Uuid,
    pub(crate) at: Timestamp,
    pub(crate) reason: Option<&'a str>,
    pub(crate) publish_id: Option<i64>,
    /// Whether a check holds it back.
    pub(crate) is_quarantined: bool,
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
                "insert into daymark.step (run_id, source_id, data_date, entity, outcome, reason, at)
                 values ($1, $2, $3, $4, $5, $6, $7)
                 on conflict (run_id, source_id, data_date, entity) do nothing",
                &[
                    &run_id,
                    &step.source_id.as_str(),
                    &step.data_date,
                    &step.entity.as_ref().map_or("", EntityId::as_str),
                    &step.outcome,
                    &step.reason,
                    &now,
                ],
            )
            .await
            .map_err(&doing)?;
    }
    let failed = steps.iter().any(|step| ["failed", "quarantined"].contains(&step.outcome));
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
        is_quarantined: false,
    };
    record_attempt(session.client(), &attempt).await
}

/// Writes an attempt into its day: the state is the best outcome reached, `published` before `quarantined`
/// before `failed`.
pub(crate) async fn record_attempt(
    client: &impl GenericClient,
    attempt: &Attempt<'_>,
) -> Result<(), WarehouseError> {
    let outcome = match (attempt.publish_id, attempt.is_quarantined) {
        (Some(_), _) => "published",
        (None, true) => "quarantined",
        (None, false) => "failed",
    };
    client
        .execute(
            "insert into daymark.day as day
                 (source_id, data_date, entity, state, since, reason, last_outcome, last_reason, last_at,
                  attempts, run_id, publish_id)
             values ($1, $2, $8, $3, $4, $5, $3, $5, $4, 1, $6, $7)
             on conflict (source_id, data_date, entity) do update
             set state = case when day.state = 'published'
                                or (day.state, excluded.state) = ('quarantined', 'failed') then day.state
                              else excluded.state end,
                 since = case when day.state in ('published', excluded.state)
                                or (day.state, excluded.state) = ('quarantined', 'failed') then day.since
                              else excluded.since end,
                 reason = case when 'published' in (day.state, excluded.state) then null
                               when (day.state, excluded.state) = ('quarantined', 'failed') then day.reason
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
                &attempt.entity.unwrap_or_default(),
            ],
        )
        .await
        .map_err(WarehouseError::statement("recording a day"))?;
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
