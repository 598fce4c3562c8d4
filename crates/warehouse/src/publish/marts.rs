//! Marts that are tables, brought to the rows of a publish in its own transaction.
//!
//! In: the tables a publish changed. Out: the marts over them with the rows their queries give now; one
//! whose query fails keeps the rows it had, and the ledger says why. Deliberately absent: views, which
//! need nothing.

use std::collections::BTreeSet;

use daymark_plan::{Mart, Materialized};
use tokio_postgres::Transaction;

use super::{Context, FetchResult, Progress, Rebuild, Rebuilt, Report, TableCounts, record};
use crate::error::{Failure, WarehouseError};
use crate::refresh::{Difference, refresh};

impl From<&Difference> for TableCounts {
    fn from(found: &Difference) -> Self {
        Self {
            staged: found.rows,
            inserted: found.missing,
            updated: found.different,
            unchanged: found.rows - found.missing - found.different,
            deleted: found.extra,
        }
    }
}

/// Why a mart is not worked out anew when one it reads was not.
pub(crate) fn not_without(mart: &Mart, failed: &BTreeSet<String>) -> Option<Failure> {
    let (name, line) = mart.reads.iter().find(|(name, _)| failed.contains(*name))?;
    let message = format!("it keeps its rows, because `{name}`, which it reads, failed");
    Some(Failure::new(&mart.file, *line, message))
}

/// What the ledger has of the marts that are tables.
struct Kept {
    name: String,
    is_refused: bool,
}

async fn kept(transaction: &Transaction<'_>, schema: &str) -> Result<Vec<Kept>, WarehouseError> {
    let rows = transaction
        .query(
            "select view_name, refused is not null from daymark.mart
             where kind = 'table' and to_regclass(format('%I.%I', $1::text, view_name)) is not null",
            &[&schema],
        )
        .await
        .map_err(WarehouseError::statement("reading the marts"))?;
    Ok(rows.iter().map(|row| Kept { name: row.get(0), is_refused: row.get(1) }).collect())
}

/// Brings the marts over what the publish changed, and those that failed before, to their queries' rows.
pub(super) async fn follow(
    transaction: &mut Transaction<'_>,
    context: &Context<'_>,
    report: &mut Report,
) -> Result<(), WarehouseError> {
    if !report.fetches.values().any(|result| *result == FetchResult::Published) {
        return Ok(());
    }
    let kept = kept(transaction, &context.schema).await?;
    let mut changed: BTreeSet<String> = BTreeSet::new();
    for model in &context.plan.models {
        let Some(counts) = report.tables.get(&model.table) else { continue };
        if counts.inserted + counts.updated + counts.deleted > 0 {
            changed.insert(model.table.clone());
        }
        // A history may have another line where the table stays as it is.
        if model.history {
            changed.insert(model.history_table());
        }
    }
    let refused: BTreeSet<String> =
        kept.iter().filter(|mart| mart.is_refused).map(|mart| mart.name.clone()).collect();
    changed.extend(refused.iter().cloned());
    let mut due = context.plan.marts_over(&changed);
    due.extend(refused);
    let mut failed = BTreeSet::new();
    for mart in context.plan.marts.iter().filter(|mart| due.contains(&mart.name)) {
        let without = not_without(mart, &failed);
        if mart.materialized == Materialized::View {
            if without.is_some() {
                failed.insert(mart.name.clone());
            }
            continue;
        }
        // PostgreSQL refused to make it, which has been told.
        let Some(was) = kept.iter().find(|kept| kept.name == mart.name) else { continue };
        (context.watch)(Progress::Writing { table: mart.name.clone() });
        let done = match without {
            Some(failure) => Err(failure),
            None => refresh(transaction, &context.schema, mart, true).await?,
        };
        let reason = match done {
            Ok(found) => {
                let counts = TableCounts::from(&found);
                record::mart(transaction, context.publish_id, mart, counts).await?;
                report.tables.insert(mart.name.clone(), counts);
                None
            }
            Err(failure) => {
                failed.insert(mart.name.clone());
                let reason = failure.with_hint();
                report.refused.marts.push(failure);
                Some(reason)
            }
        };
        if reason.is_some() || was.is_refused {
            note(transaction, mart, reason.as_deref()).await?;
        }
    }
    Ok(())
}

/// Takes note of why a mart could not be worked out, or that it could.
async fn note(
    transaction: &Transaction<'_>,
    mart: &Mart,
    refused: Option<&str>,
) -> Result<(), WarehouseError> {
    transaction
        .execute(
            "update daymark.mart set refused = $2 where view_name = $1",
            &[&mart.name, &refused],
        )
        .await
        .map_err(WarehouseError::statement("recording a mart"))?;
    Ok(())
}

/// Compares the marts over rebuilt tables with what their queries give, and with a publish brings them to
/// it. The inner error is what one of them failed with.
pub(super) async fn rebuild(
    transaction: &mut Transaction<'_>,
    context: &Context<'_>,
    schema: &str,
    request: &Rebuild,
    publish_id: Option<i64>,
) -> Result<Result<Vec<(String, Rebuilt)>, String>, WarehouseError> {
    let kept = kept(transaction, schema).await?;
    let mut tables = request.tables.clone();
    let models = context.plan.models.iter().filter(|model| request.tables.contains(&model.table));
    tables.extend(models.filter(|model| model.history).map(daymark_plan::Model::history_table));
    let over = context.plan.marts_over(&tables);
    let mut compared = Vec::new();
    for mart in &context.plan.marts {
        let chosen = request.tables.is_empty()
            || request.tables.contains(&mart.name)
            || over.contains(&mart.name);
        let is_there = kept.iter().any(|kept| kept.name == mart.name);
        if !chosen || !is_there || mart.materialized == Materialized::View {
            continue;
        }
        (context.watch)(Progress::Writing { table: mart.name.clone() });
        let found = match refresh(transaction, schema, mart, publish_id.is_some()).await? {
            Ok(found) => found,
            Err(failure) => return Ok(Err(format!("the mart {}", failure.with_hint()))),
        };
        if let Some(publish_id) = publish_id {
            note(transaction, mart, None).await?;
            if !found.is_none() {
                record::mart(transaction, publish_id, mart, TableCounts::from(&found)).await?;
            }
        }
        let rebuilt = Rebuilt {
            missing: found.missing,
            different: found.different,
            extra: found.extra,
            keys: found.shown,
            by_older_model: 0,
        };
        compared.push((mart.name.clone(), rebuilt));
    }
    Ok(Ok(compared))
}
