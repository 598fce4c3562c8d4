//! The ledger's part of a publish, in the same transaction as the rows.
//!
//! In: what became of fetches, days and tables. Out: rows of schema `daymark`. Deliberately absent:
//! what a run does outside of a publish (`ledger`).

use std::collections::{BTreeMap, BTreeSet};

use daymark_plan::{Mart, Model, Plan, Source, SourceId, Supersede};
use jiff::Timestamp;
use tokio_postgres::Transaction;
use uuid::Uuid;

use super::{Context, FetchResult, PendingFetch, Rebuild, Statement, TableCounts};
use crate::error::WarehouseError;
use crate::ledger::{self, Attempt, DayOutcome};
use crate::older;

/// How many rows a statement of the ledger takes: all of them in one is memory for each fetch, here and in
/// PostgreSQL.
pub(super) const AT_ONCE: usize = 500;

/// Opens a publish and gives its id: one more than the last, without gaps. The caller holds the lock
/// that makes this safe.
pub(super) async fn start(
    transaction: &Transaction<'_>,
    run_id: Uuid,
    now: Timestamp,
) -> Result<i64, WarehouseError> {
    let doing = WarehouseError::statement("opening a publish");
    let row = transaction
        .query_one(
            "insert into daymark.publish (publish_id, run_id, published_at)
             select coalesce(max(publish_id), 0) + 1, $1, $2 from daymark.publish
             returning publish_id",
            &[&run_id, &now],
        )
        .await
        .map_err(&doing)?;
    Ok(row.get(0))
}

/// Takes an opened publish back: nothing was published in it.
pub(super) async fn withdraw(
    transaction: &Transaction<'_>,
    publish_id: i64,
) -> Result<(), WarehouseError> {
    transaction
        .execute("delete from daymark.publish where publish_id = $1", &[&publish_id])
        .await
        .map_err(WarehouseError::statement("withdrawing an empty publish"))?;
    Ok(())
}

/// Leaves out the fetches the ledger has taken note of already: another process may have published
/// them since they were listed. One that failed or was held back is tried again when its source's or its
/// models' files changed.
pub(super) async fn not_noted(
    transaction: &Transaction<'_>,
    plan: &Plan,
    source: &Source,
    fetches: Vec<PendingFetch>,
) -> Result<Vec<PendingFetch>, WarehouseError> {
    let keys: Vec<&str> = fetches.iter().map(|fetch| fetch.manifest_key.as_str()).collect();
    let code_hash = plan.code_hash(&source.id);
    let noted: BTreeSet<String> = transaction
        .query(
            "select manifest_key from daymark.fetch
             where manifest_key = any($1)
               and (state not in ('failed', 'quarantined') or code_hash = $2)",
            &[&keys, &code_hash],
        )
        .await
        .map_err(WarehouseError::statement("looking for fetches that are published already"))?
        .iter()
        .map(|row| row.get(0))
        .collect();
    Ok(fetches.into_iter().filter(|fetch| !noted.contains(&fetch.manifest_key)).collect())
}

/// The published fetches of a source that are newer than a fetch, or all; oldest first.
pub(super) async fn published(
    transaction: &Transaction<'_>,
    source: &Source,
    after: Option<&Statement>,
) -> Result<Vec<Statement>, WarehouseError> {
    in_states(transaction, source, after, &["published"]).await
}

/// The fetches of a source in some states that are newer than a fetch, or all; oldest first.
pub(super) async fn in_states(
    transaction: &Transaction<'_>,
    source: &Source,
    after: Option<&Statement>,
    states: &[&str],
) -> Result<Vec<Statement>, WarehouseError> {
    let newer = match source.supersede {
        Supersede::FetchedAt => "manifest_key collate \"C\" > $2 and $3::date is not null",
        Supersede::DataDate => "(data_date, manifest_key collate \"C\") > ($3, $2)",
    };
    let key = after.map(|fetch| fetch.manifest_key.as_str());
    let date = after.map(|fetch| fetch.data_date);
    let rows = transaction
        .query(
            &format!(
                "select manifest_key, fetch_id, data_date, fetched_at, coalesce(entity, ''), rejected
                 from daymark.fetch
                 where source_id = $1 and state = any($5) and ($4 or {newer})"
            ),
            &[&source.id.as_str(), &key, &date, &after.is_none(), &states],
        )
        .await
        .map_err(WarehouseError::statement("looking for newer fetches"))?;
    let mut newer: Vec<Statement> = rows
        .iter()
        .map(|row| Statement {
            ordinal: 0,
            manifest_key: row.get(0),
            fetch_id: row.get(1),
            data_date: row.get(2),
            fetched_at: row.get(3),
            entity: row.get(4),
            rejected: row.get(5),
        })
        .collect();
    newer.sort_by_cached_key(|statement| statement.order_key(source.supersede));
    Ok(newer)
}

/// Records what became of fetches, and their days.
pub(super) async fn fetches(
    transaction: &Transaction<'_>,
    context: &Context<'_>,
    source: &Source,
    became: &[(&PendingFetch, &FetchResult)],
) -> Result<(), WarehouseError> {
    for some in became.chunks(AT_ONCE) {
        some_fetches(transaction, context, source, some).await?;
    }
    Ok(())
}

async fn some_fetches(
    transaction: &Transaction<'_>,
    context: &Context<'_>,
    source: &Source,
    became: &[(&PendingFetch, &FetchResult)],
) -> Result<(), WarehouseError> {
    note(transaction, context, source, became).await?;
    let attempts: Vec<Attempt<'_>> = became
        .iter()
        .map(|(fetch, result)| Attempt {
            source_id: &source.id,
            data_date: fetch.data_date,
            entity: fetch.entity.as_deref(),
            run_id: context.run_id,
            at: context.now,
            reason: state_of(result).1,
            publish_id: (**result == FetchResult::Published).then_some(context.publish_id),
            outcome: match result {
                FetchResult::Published => DayOutcome::Published,
                FetchResult::Quarantined(_) => DayOutcome::Quarantined,
                FetchResult::Refused(_) | FetchResult::Failed(_) | FetchResult::Postponed(_) => {
                    DayOutcome::Failed
                }
            },
        })
        .collect();
    ledger::record_attempts(transaction, &attempts).await
}

/// The state of a fetch in the ledger, and the reason. One that is postponed stays unpublished; only its day
/// is told.
fn state_of(result: &FetchResult) -> (Option<&'static str>, Option<&str>) {
    match result {
        FetchResult::Published => (Some("published"), None),
        FetchResult::Refused(reason) => (Some("refused"), Some(reason)),
        FetchResult::Failed(reason) => (Some("failed"), Some(reason)),
        FetchResult::Quarantined(reason) => (Some("quarantined"), Some(reason)),
        FetchResult::Postponed(reason) => (None, Some(reason)),
    }
}

/// Takes note of fetches: they are not unpublished any more.
async fn note(
    transaction: &Transaction<'_>,
    context: &Context<'_>,
    source: &Source,
    became: &[(&PendingFetch, &FetchResult)],
) -> Result<(), WarehouseError> {
    let noted: Vec<(&PendingFetch, &str, Option<&str>)> = became
        .iter()
        .filter_map(|(fetch, result)| {
            let (state, reason) = state_of(result);
            Some((*fetch, state?, reason))
        })
        .collect();
    if noted.is_empty() {
        return Ok(());
    }
    let keys: Vec<&str> = noted.iter().map(|(fetch, ..)| fetch.manifest_key.as_str()).collect();
    let ids: Vec<Uuid> = noted.iter().map(|(fetch, ..)| fetch.fetch_id).collect();
    let dates: Vec<_> = noted.iter().map(|(fetch, ..)| fetch.data_date).collect();
    let entities: Vec<Option<&str>> =
        noted.iter().map(|(fetch, ..)| fetch.entity.as_deref()).collect();
    let times: Vec<Timestamp> = noted.iter().map(|(fetch, ..)| fetch.fetched_at).collect();
    let states: Vec<&str> = noted.iter().map(|(_, state, _)| *state).collect();
    let reasons: Vec<Option<&str>> = noted.iter().map(|(_, _, reason)| *reason).collect();
    let extracted: Vec<i64> = noted.iter().map(|(fetch, ..)| fetch.extracted).collect();
    let rejected: Vec<i64> = noted.iter().map(|(fetch, ..)| fetch.rejected).collect();
    transaction
        .execute(
            "insert into daymark.fetch (manifest_key, fetch_id, source_id, data_date, entity, fetched_at,
                                        state, reason, code_hash, publish_id, extracted, rejected)
             select manifest_key, fetch_id, $3, data_date, entity, fetched_at, state, reason, $9,
                    case state when 'published' then $10::bigint end, extracted, rejected
             from unnest($1::text[], $2::uuid[], $4::date[], $5::text[], $6::timestamptz[], $7::text[],
                         $8::text[], $11::bigint[], $12::bigint[])
                  as said (manifest_key, fetch_id, data_date, entity, fetched_at, state, reason,
                           extracted, rejected)
             on conflict (manifest_key) do update
             set state = excluded.state, reason = excluded.reason, code_hash = excluded.code_hash,
                 publish_id = excluded.publish_id",
            &[
                &keys,
                &ids,
                &source.id.as_str(),
                &dates,
                &entities,
                &times,
                &states,
                &reasons,
                &context.plan.code_hash(&source.id),
                &context.publish_id,
                &extracted,
                &rejected,
            ],
        )
        .await
        .map_err(WarehouseError::statement("recording fetches"))?;
    Ok(())
}

/// Brings the states of a source's fetches and days to what a rebuild found: what a check holds back is not
/// published, and of those that were asked again the rest is. Gives whether anything came to be published.
pub(super) async fn settle_states(
    transaction: &Transaction<'_>,
    source_id: &SourceId,
    request: &Rebuild,
    publish_id: i64,
    held_back: &BTreeMap<String, String>,
) -> Result<bool, WarehouseError> {
    let doing = WarehouseError::statement("recording what a rebuild holds back");
    for (manifest_key, reason) in held_back {
        transaction
            .execute(
                "update daymark.fetch set state = 'quarantined', reason = $3, publish_id = null
                 where source_id = $1 and manifest_key = $2 and state = 'published'",
                &[&source_id.as_str(), manifest_key, reason],
            )
            .await
            .map_err(&doing)?;
    }
    let keys: Vec<&str> = held_back.keys().map(String::as_str).collect();
    let mut released = 0;
    if request.recheck {
        released = transaction
            .execute(
                "update daymark.fetch set state = 'published', reason = null, publish_id = $3
                 where source_id = $1 and state = 'quarantined' and manifest_key <> all($2)",
                &[&source_id.as_str(), &keys, &publish_id],
            )
            .await
            .map_err(&doing)?;
    }
    transaction
        .execute(
            "with newest as (
                 select distinct on (data_date, coalesce(entity, ''))
                        data_date, coalesce(entity, '') as entity, state, reason
                 from daymark.fetch where source_id = $1 and state in ('published', 'quarantined')
                 order by data_date, coalesce(entity, ''), state
             )
             update daymark.day set state = newest.state, since = $2, reason = newest.reason,
                    publish_id = case newest.state when 'published' then coalesce(publish_id, $3) end
             from newest
             where day.source_id = $1 and day.data_date = newest.data_date and day.entity = newest.entity
               and day.state <> newest.state",
            &[&source_id.as_str(), &request.now, &publish_id],
        )
        .await
        .map_err(&doing)?;
    Ok(released > 0)
}

/// Records what changed in a table.
pub(super) async fn table(
    transaction: &Transaction<'_>,
    publish_id: i64,
    source: &Source,
    model: &Model,
    counts: TableCounts,
) -> Result<(), WarehouseError> {
    let file = (model.file.as_str(), model.file_sha256.as_str());
    changed(transaction, publish_id, &model.table, file, Some(&source.file_sha256), counts).await
}

/// Records what changed in a mart that is a table.
pub(super) async fn mart(
    transaction: &Transaction<'_>,
    publish_id: i64,
    mart: &Mart,
    counts: TableCounts,
) -> Result<(), WarehouseError> {
    let file = (mart.file.as_str(), mart.file_sha256.as_str());
    changed(transaction, publish_id, &mart.name, file, None, counts).await
}

async fn changed(
    transaction: &Transaction<'_>,
    publish_id: i64,
    table: &str,
    (file, file_sha256): (&str, &str),
    source_sha256: Option<&str>,
    counts: TableCounts,
) -> Result<(), WarehouseError> {
    transaction
        .execute(
            // A source whose fetches could not be published together says it of each of them.
            "insert into daymark.publish_table as said
                 (publish_id, table_name, model_file, model_sha256, source_sha256,
                  staged, inserted, updated, unchanged, deleted)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             on conflict (publish_id, table_name) do update
             set staged = said.staged + excluded.staged, inserted = said.inserted + excluded.inserted,
                 updated = said.updated + excluded.updated, unchanged = said.unchanged + excluded.unchanged,
                 deleted = said.deleted + excluded.deleted",
            &[
                &publish_id,
                &table,
                &file,
                &file_sha256,
                &source_sha256,
                &counts.staged,
                &counts.inserted,
                &counts.updated,
                &counts.unchanged,
                &counts.deleted,
            ],
        )
        .await
        .map_err(WarehouseError::statement("recording what changed"))?;
    Ok(())
}

/// Takes note that a table is what the files of now give, for all that was published so far.
pub(super) async fn brought_over(
    transaction: &Transaction<'_>,
    plan: &Plan,
    model: &Model,
) -> Result<(), WarehouseError> {
    transaction
        .execute(
            "update daymark.contract set rebuilt_code = $2,
                    rebuilt_publish = (select coalesce(max(publish_id), 0) from daymark.fetch)
             where table_name = $1",
            &[&model.table, &older::code_of(plan, model)],
        )
        .await
        .map_err(WarehouseError::statement("recording a rebuild"))?;
    Ok(())
}
