//! What checks leave behind: rows of `daymark.check_result` and `daymark.reject`.
//!
//! In: results, and the rows to set aside. Out: rows of the ledger, in the publish's own transaction. What
//! was set aside of a fetch before is replaced, never doubled. Deliberately absent: reading them.

use daymark_plan::{Check, Source, one_line};
use serde_json::json;
use tokio_postgres::Transaction;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{CheckResult, Over};
use crate::error::WarehouseError;
use crate::publish::record::AT_ONCE;
use crate::publish::{Context, FetchResult, NotDone, PendingFetch, ReadRejects};
use crate::sql::{list, same};

/// Forgets what checks set aside of fetches.
pub(in crate::publish) async fn forget_rejects(
    transaction: &Transaction<'_>,
    fetch_ids: &[Uuid],
) -> Result<(), WarehouseError> {
    transaction
        .execute(
            "delete from daymark.reject where fetch_id = any($1) and check_name is not null",
            &[&fetch_ids],
        )
        .await
        .map_err(WarehouseError::statement("forgetting rejects"))?;
    Ok(())
}

/// Forgets what checks set aside of fetches, by their manifests: they were not published after all.
pub(in crate::publish) async fn forget_rejects_of(
    transaction: &Transaction<'_>,
    manifest_keys: &[&str],
) -> Result<(), WarehouseError> {
    if manifest_keys.is_empty() {
        return Ok(());
    }
    transaction
        .execute(
            "delete from daymark.reject where check_name is not null
             and manifest_key = any($1) and publish_id is not null",
            &[&manifest_keys],
        )
        .await
        .map_err(WarehouseError::statement("forgetting rejects"))?;
    Ok(())
}

/// Moves the rows a check returns out of staging, and gives how many.
pub(super) async fn reject(
    transaction: &Transaction<'_>,
    over: &Over<'_>,
    check: &Check,
    sql: &str,
) -> Result<i64, WarehouseError> {
    let doing = WarehouseError::statement("setting rows aside");
    let model = over.model;
    let key = list("", model.key.iter().map(String::as_str));
    let same = same(model.key.iter().map(String::as_str), "said", "offending");
    let columns = list("said.", model.columns.iter().map(|column| column.name.as_str()));
    let moved = format!(
        "{relations}, offending as materialized (select distinct {key} from (\n{sql}\n) as offending), \
         gone as (delete from {staged} as said using offending where {tail} and {same} \
         returning said._fetch_row, \
         (select to_jsonb(image.*) from (select {columns}) as image) as value)",
        relations = over.relations(check, None),
        staged = super::staged_table(model),
        tail = over.tail.has("said"),
        same = same,
    );
    if !over.context.is_kept {
        let count = format!("{moved} select count(*) from gone");
        let row = transaction.query_one(&count, &[]).await.map_err(&doing)?;
        return Ok(row.get(0));
    }
    let statement = over.statement;
    let publish_id = (over.context.publish_id > 0).then_some(over.context.publish_id);
    let (source_id, reason) = (over.source.id.as_str(), check.name.as_str());
    let params: [&(dyn ToSql + Sync); 10] = [
        &statement.fetch_id,
        &statement.manifest_key,
        &source_id,
        &statement.data_date,
        &statement.entity,
        &model.table,
        &check.name,
        &reason,
        &publish_id,
        &over.context.now,
    ];
    let insert = format!(
        "{moved} insert into daymark.reject (fetch_id, manifest_key, source_id, data_date, entity, \
         table_name, check_name, reason, publish_id, at, fetch_row, value) \
         select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, gone._fetch_row, gone.value from gone"
    );
    let moved = transaction.execute(&insert, &params).await.map_err(&doing)?;
    Ok(i64::try_from(moved).unwrap_or(i64::MAX))
}

/// Records what extraction set aside of a fetch, before it is known what becomes of the fetch. The inner error:
/// it cannot be read, as its rows could not be.
pub(in crate::publish) async fn extraction_rejects(
    transaction: &Transaction<'_>,
    context: &Context<'_>,
    source: &Source,
    fetch: &PendingFetch,
    read: &ReadRejects<'_>,
) -> Result<Result<(), NotDone>, WarehouseError> {
    if fetch.rejected == 0 {
        return Ok(Ok(()));
    }
    let rejects = match read(fetch.manifest_key.clone()).await {
        Ok(rejects) => rejects,
        Err(error) => return Ok(Err(NotDone::Postponed(one_line(error.as_ref())))),
    };
    if rejects.is_empty() {
        return Ok(Ok(()));
    }
    let rows: Vec<serde_json::Value> = rejects
        .iter()
        .map(|reject| json!({ "row": reject.row, "value": reject.value, "reason": reject.reason }))
        .collect();
    let rows = serde_json::Value::from(rows).to_string();
    let doing = WarehouseError::statement("recording rejects");
    transaction
        .execute(
            "delete from daymark.reject where fetch_id = $1 and check_name is null",
            &[&fetch.fetch_id],
        )
        .await
        .map_err(&doing)?;
    let entity = fetch.entity.clone().unwrap_or_default();
    transaction
        .execute(
            "insert into daymark.reject (fetch_id, manifest_key, source_id, data_date, entity,
                                         at, fetch_row, value, reason)
             select $1, $2, $3, $4, $5, $6, said.row, said.value, said.reason
             from jsonb_to_recordset($7::text::jsonb) as said (\"row\" bigint, value jsonb, reason text)",
            &[
                &fetch.fetch_id,
                &fetch.manifest_key,
                &source.id.as_str(),
                &fetch.data_date,
                &entity,
                &context.now,
                &rows,
            ],
        )
        .await
        .map_err(&doing)?;
    Ok(Ok(()))
}

/// Takes note of which publish the rows belong to that extraction set aside of fetches.
pub(in crate::publish) async fn rejects_published(
    transaction: &Transaction<'_>,
    context: &Context<'_>,
    became: &[(&PendingFetch, &FetchResult)],
) -> Result<(), WarehouseError> {
    let published = became
        .iter()
        .filter(|(fetch, result)| fetch.rejected > 0 && **result == FetchResult::Published);
    let fetch_ids: Vec<Uuid> = published.map(|(fetch, _)| fetch.fetch_id).collect();
    if fetch_ids.is_empty() {
        return Ok(());
    }
    transaction
        .execute(
            "update daymark.reject set publish_id = $1 where fetch_id = any($2) and check_name is null",
            &[&context.publish_id, &fetch_ids],
        )
        .await
        .map_err(WarehouseError::statement("recording rejects"))?;
    Ok(())
}

/// Records what checks said, of the fetches of a publish.
pub(in crate::publish) async fn results(
    transaction: &Transaction<'_>,
    context: &Context<'_>,
    source: &Source,
    results: &[CheckResult],
    published: &(dyn Fn(&str) -> bool + Sync),
) -> Result<(), WarehouseError> {
    for some in results.chunks(AT_ONCE) {
        some_results(transaction, context, source, some, published).await?;
    }
    Ok(())
}

async fn some_results(
    transaction: &Transaction<'_>,
    context: &Context<'_>,
    source: &Source,
    results: &[CheckResult],
    published: &(dyn Fn(&str) -> bool + Sync),
) -> Result<(), WarehouseError> {
    let rows: Vec<serde_json::Value> = results
        .iter()
        .map(|result| {
            json!({
                "manifest_key": result.manifest_key,
                "fetch_id": result.fetch_id,
                "data_date": result.data_date,
                "entity": result.entity,
                "publish_id": published(&result.manifest_key).then_some(context.publish_id),
                "table_name": result.table,
                "check_name": result.check,
                "severity": result.severity.as_str(),
                "outcome": result.outcome.as_str(),
                "row_count": result.rows,
                "failing": result.failing,
                "sample": (!result.sample.is_empty()).then_some(&result.sample),
                "sql": result.sql,
                "reason": result.reason,
            })
        })
        .collect();
    let rows = serde_json::Value::from(rows).to_string();
    transaction
        .execute(
            "insert into daymark.check_result
                 (publish_id, run_id, at, manifest_key, fetch_id, source_id, data_date, entity, table_name,
                  check_name, severity, outcome, row_count, failing, sample, sql, reason)
             select said.publish_id, $1, $2, said.manifest_key, said.fetch_id, $3, said.data_date,
                    said.entity, said.table_name, said.check_name, said.severity, said.outcome,
                    said.row_count, said.failing, said.sample, said.sql, said.reason
             from jsonb_to_recordset($4::text::jsonb) as said (
                 publish_id bigint, manifest_key text, fetch_id uuid, data_date date, entity text,
                 table_name text, check_name text, severity text, outcome text, row_count bigint,
                 failing bigint, sample jsonb, sql text, reason text)",
            &[&context.run_id, &context.now, &source.id.as_str(), &rows],
        )
        .await
        .map_err(WarehouseError::statement("recording what checks said"))?;
    Ok(())
}
