//! The one difference of a table: what is new, what changed, what stays.
//!
//! In: the staged rows of all fetches of a publish. Out: rows inserted and updated in the curated
//! table, each with the fetch that said it. Found out first and once, then only what differs is
//! written (measured in DESIGN.md section 7). Deliberately absent: deletes (`window`, `snapshot`).

use daymark_plan::{Model, Source};
use tokio_postgres::Transaction;

use super::stage::staged_table;
use super::{Context, NotDone};
use crate::error::{WarehouseError, said_of_rows};
use crate::sql::{ident, list, qualified};

/// What changed in a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TableCounts {
    /// Rows the models yielded, over all fetches.
    pub staged: i64,
    /// Keys that were not there before.
    pub inserted: i64,
    /// Keys whose values changed.
    pub updated: i64,
    /// Keys whose values stayed.
    pub unchanged: i64,
}

/// Whether staged rows would change rows that are published.
pub(super) async fn overwrites(
    transaction: &Transaction<'_>,
    context: &Context<'_>,
    source: &Source,
) -> Result<Result<bool, NotDone>, WarehouseError> {
    let doing = WarehouseError::statement("looking for rows a late fetch would overwrite");
    for model in context.plan.models_of(&source.id) {
        let statement = format!(
            "select exists (select 1 from {} as staged join {} as published using ({}) where {})",
            staged_table(model),
            qualified(&context.schema, &model.table),
            list("", model.key.iter().map(String::as_str)),
            differs(model),
        );
        match transaction.query_one(&statement, &[]).await {
            Ok(row) if row.get(0) => return Ok(Ok(true)),
            Ok(_) => {}
            Err(error) => return not_done(error, model).map(Err).map_err(&doing),
        }
    }
    Ok(Ok(false))
}

/// What PostgreSQL said of a model's rows.
fn not_done(error: tokio_postgres::Error, model: &Model) -> Result<NotDone, tokio_postgres::Error> {
    said_of_rows(error).map(|reason| NotDone::Failed(format!("{}: {reason}", model.file)))
}

/// Writes the difference of one table. The inner error is what PostgreSQL said of the rows.
pub(super) async fn write(
    transaction: &Transaction<'_>,
    context: &Context<'_>,
    model: &Model,
) -> Result<Result<TableCounts, NotDone>, WarehouseError> {
    let doing = WarehouseError::statement("comparing staged with published rows");
    let staged = staged_table(model);
    let table = qualified(&context.schema, &model.table);
    let columns = list("", model.columns.iter().map(|column| column.name.as_str()));
    let key = list("", model.key.iter().map(String::as_str));
    let newest = format!("pg_temp.{}", ident(&format!("newest_{}", model.table)));
    let newest_name = ident(&format!("newest_{}", model.table));
    // Each key's row is the one from the newest fetch that had that key, decided key by key.
    let statement = format!(
        "analyze {staged};
         create temporary table {newest_name} on commit drop as
         select staged.*, published._fetch_id is null as _is_new
         from (select distinct on ({key}) {columns}, _fetch_id, _fetch_row
               from {staged} order by {key}, _order_key desc) as staged
         left join {table} as published using ({key})
         where published._fetch_id is null or {};
         analyze {newest}",
        differs(model),
    );
    if let Err(error) = transaction.batch_execute(&statement).await {
        return not_done(error, model).map(Err).map_err(&doing);
    }
    let counts = transaction
        .query_one(
            &format!(
                "select (select count(*) from {staged}),
                        (select count(*) from (select distinct {key} from {staged}) as keys),
                        (select count(*) from {newest} where _is_new),
                        (select count(*) from {newest} where not _is_new)"
            ),
            &[],
        )
        .await
        .map_err(&doing)?;
    let (keys, inserted, updated): (i64, i64, i64) = (counts.get(1), counts.get(2), counts.get(3));

    let insert = format!(
        "insert into {table} ({columns}, _fetch_id, _fetch_row, _publish_id)
         select {columns}, _fetch_id, _fetch_row, $1 from {newest} where _is_new"
    );
    let values: Vec<String> = model
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .chain(["_fetch_id", "_fetch_row"])
        .map(|name| format!("{0} = newest.{0}", ident(name)))
        .collect();
    let same_key: Vec<String> =
        model.key.iter().map(|name| format!("published.{0} = newest.{0}", ident(name))).collect();
    let update = format!(
        "update {table} as published set {}, _publish_id = $1 from {newest} as newest \
         where not newest._is_new and {}",
        values.join(", "),
        same_key.join(" and "),
    );
    for (statement, expected, doing) in
        [(insert, inserted, "inserting new rows"), (update, updated, "updating changed rows")]
    {
        let expected = u64::try_from(expected).expect("count(*) is not negative");
        match transaction.execute(&statement, &[&context.publish_id]).await {
            Ok(touched) if touched == expected => {}
            Ok(touched) => return Err(WarehouseError::RowCount { doing, touched, expected }),
            Err(error) => {
                return not_done(error, model).map(Err).map_err(WarehouseError::statement(doing));
            }
        }
    }
    Ok(Ok(TableCounts {
        staged: counts.get(0),
        inserted,
        updated,
        unchanged: keys - inserted - updated,
    }))
}

/// Whether the rows differ between `staged` and `published`, as they are stored: `1.0` and `1.00`
/// are equal and not the same, and which of them stays must not depend on the order of publishes.
/// This works for types without equality, such as `json`, as well. (Written as subqueries because two
/// bare rows would be compared column by column.)
fn differs(model: &Model) -> String {
    let row = |side: &str| {
        let columns = list(side, model.columns.iter().map(|column| column.name.as_str()));
        format!("(select image from (select {columns}) as image)")
    };
    format!("{} operator(pg_catalog.*<>) {}", row("staged."), row("published."))
}
