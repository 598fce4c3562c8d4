//! The fetches of one source: which of them are shown, and what became of each.
//!
//! In: the fetches of a source that the ledger has not taken note of. Out: its tables and its part of the
//! ledger, or everything as it was and each fetch with the reason. Deliberately absent: how rows are written
//! (`write`).

use std::collections::BTreeMap;

use daymark_plan::Source;
use tokio_postgres::Transaction;

use super::write::{Written, write_source};
use super::{
    Context, FetchResult, Outcome, PendingFetch, ReadRejects, Report, Statement, at_once, checks,
    drift, record, stage,
};
use crate::error::{Failure, WarehouseError};

/// Publishes the fetches of a source. What PostgreSQL says of their rows or of the folder's SQL where nothing
/// expects it to fails the fetch it is of, and neither the others nor other sources.
pub(super) async fn contained(
    transaction: &mut Transaction<'_>,
    context: &Context<'_>,
    source: &Source,
    fetches: Vec<PendingFetch>,
    read_rejects: &ReadRejects<'_>,
    report: &mut Report,
) -> Result<(), WarehouseError> {
    let refused = report.refused.sources.get(&source.id).map(Failure::with_hint);
    let refused = refused.as_deref();
    let groups =
        match attempt(transaction, context, source, &fetches, read_rejects, refused).await? {
            Ok(done) => {
                report.add(done);
                return Ok(());
            }
            Err(_) if fetches.len() > 1 => in_order(source, fetches.iter().collect()),
            Err(reason) => {
                let failed = FetchResult::Failed(reason);
                let became: Vec<_> = fetches.iter().map(|fetch| (fetch, &failed)).collect();
                record::fetches(transaction, context, source, &became).await?;
                let keys = fetches.iter().map(|fetch| (fetch.manifest_key.clone(), failed.clone()));
                report.fetches.extend(keys);
                return Ok(());
            }
        };
    for fetch in groups {
        stage::drop_tables(transaction).await?;
        let one = vec![fetch.clone()];
        Box::pin(contained(transaction, context, source, one, read_rejects, report)).await?;
    }
    Ok(())
}

/// Fetches from the oldest to the newest.
fn in_order<'f>(source: &Source, mut fetches: Vec<&'f PendingFetch>) -> Vec<&'f PendingFetch> {
    fetches.sort_by_cached_key(|fetch| Statement::of(fetch).order_key(source.supersede));
    fetches
}

/// Publishes fetches of a source, or leaves everything as it was: the inner error is what PostgreSQL said.
async fn attempt(
    transaction: &mut Transaction<'_>,
    context: &Context<'_>,
    source: &Source,
    fetches: &[PendingFetch],
    read_rejects: &ReadRejects<'_>,
    refused: Option<&str>,
) -> Result<Result<Report, String>, WarehouseError> {
    let doing = WarehouseError::statement("publishing");
    let mut savepoint = transaction.savepoint("whole_source").await.map_err(&doing)?;
    match publish_source(&mut savepoint, context, source, fetches, read_rejects, refused).await {
        Ok(done) => {
            savepoint.commit().await.map_err(&doing)?;
            Ok(Ok(done))
        }
        Err(error) => {
            let reason = error.said_of_rows()?;
            savepoint.rollback().await.map_err(&doing)?;
            Ok(Err(reason))
        }
    }
}

async fn publish_source(
    transaction: &mut Transaction<'_>,
    context: &Context<'_>,
    source: &Source,
    fetches: &[PendingFetch],
    read_rejects: &ReadRejects<'_>,
    refused: Option<&str>,
) -> Result<Report, WarehouseError> {
    let mut results: BTreeMap<String, FetchResult> = BTreeMap::new();
    let mut accepted = Vec::new();
    for fetch in fetches {
        if let Err(postponed) =
            checks::extraction_rejects(transaction, context, source, fetch, read_rejects).await?
        {
            results.insert(fetch.manifest_key.clone(), postponed.into());
            continue;
        }
        match (&fetch.outcome, refused) {
            (Outcome::Refused(reason), _) => {
                results.insert(fetch.manifest_key.clone(), FetchResult::Refused(reason.clone()));
            }
            // Nothing was tried with its rows.
            (Outcome::Accepted, Some(reason)) => {
                let postponed = FetchResult::Postponed(reason.to_owned());
                results.insert(fetch.manifest_key.clone(), postponed);
            }
            (Outcome::Accepted, None) => accepted.push(fetch),
        }
    }
    let mut compared = drift::compare(transaction, context, source, &accepted).await?;
    for (key, held) in std::mem::take(&mut compared.held_back) {
        results.insert(key, held.into());
    }
    let shown: Vec<&PendingFetch> = accepted
        .iter()
        .copied()
        .filter(|fetch| !results.contains_key(&fetch.manifest_key))
        .collect();
    let written = write_shown(transaction, context, source, shown).await?;
    for model in context.plan.models_of(&source.id) {
        if let Some(counts) = written.tables.get(&model.table) {
            record::table(transaction, context.publish_id, source, model, *counts).await?;
        }
    }
    results.extend(written.fetches);
    let mut checked = written.checks;
    let became: Vec<(&PendingFetch, &FetchResult)> = fetches
        .iter()
        .filter_map(|fetch| Some((fetch, results.get(&fetch.manifest_key)?)))
        .collect();
    record::fetches(transaction, context, source, &became).await?;
    checks::rejects_published(transaction, context, &became).await?;
    checked.extend(compared.results.iter().cloned());
    let drifts =
        drift::record(transaction, context, source, &mut compared, &accepted, &results).await?;
    let is_published = |key: &str| results.get(key) == Some(&FetchResult::Published);
    checks::results(transaction, context, source, &checked, &is_published).await?;
    let not_published: Vec<&str> =
        results.keys().map(String::as_str).filter(|key| !is_published(key)).collect();
    checks::forget_rejects_of(transaction, &not_published).await?;
    Ok(Report {
        fetches: results,
        tables: written.tables,
        checks: checked,
        drifts,
        ..Report::default()
    })
}

/// Writes fetches of a source: all of them as one difference of each table or, where that cannot be written, one
/// after the other, so that one of them fails or waits and not all.
async fn write_shown(
    transaction: &mut Transaction<'_>,
    context: &Context<'_>,
    source: &Source,
    shown: Vec<&PendingFetch>,
) -> Result<Written, WarehouseError> {
    let mut all = Written::default();
    if shown.is_empty() {
        return Ok(all);
    }
    let rows: i64 = shown.iter().map(|fetch| fetch.extracted).sum();
    let mut at_once = rows >= at_once::AT_ONCE_FROM;
    let mut groups = vec![shown];
    while let Some(group) = groups.pop() {
        let statements = group.iter().map(|fetch| Statement::of(fetch)).collect();
        let doing = WarehouseError::statement("publishing");
        let mut savepoint = transaction.savepoint("one_source").await.map_err(&doing)?;
        match write_source(&mut savepoint, context, source, statements, at_once).await? {
            Ok(Some(written)) => {
                savepoint.commit().await.map_err(&doing)?;
                all.add(written);
                if !groups.is_empty() {
                    stage::drop_tables(transaction).await?;
                }
            }
            Ok(None) => {
                savepoint.rollback().await.map_err(&doing)?;
                at_once = false;
                groups.push(group);
            }
            Err(not_done) => {
                savepoint.rollback().await.map_err(&doing)?;
                at_once = false;
                if let [fetch] = group[..] {
                    all.fetches.insert(fetch.manifest_key.clone(), not_done.into());
                } else {
                    // The oldest is the next to be popped.
                    groups.extend(in_order(source, group).into_iter().rev().map(|one| vec![one]));
                }
            }
        }
    }
    Ok(all)
}
