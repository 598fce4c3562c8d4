//! The one difference of a table: what is new, what changed, what is gone, what stays.
//!
//! In: the staged rows of all fetches of a publish and what those fetches cover. Out: rows inserted,
//! updated and deleted in the curated table, each with the fetch that said it. Found out first and once,
//! then only what differs is written (measured in DESIGN.md section 7).
//!
//! What a table holds is the fold of its fetches in their order. For one key that comes to this: its row is
//! the one of the newest fetch that had the key, unless a newer fetch of the row's entity covers the row
//! and lacks it; then there is none. A published row without a staged one stands before all staged
//! fetches, because every fetch that is newer than the oldest staged one is staged as well where it can
//! matter (`publish::write_source`). Deliberately absent: what is told of it (`restatement`, `history`).

use daymark_plan::{Model, Source, Write};
use tokio_postgres::Transaction;
use tokio_postgres::types::ToSql;

use super::stage::{covers_table, staged_table, temporary};
use super::{Context, NotDone, history, restatement};
use crate::contract::extra_columns;
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
    /// Keys that are gone.
    pub deleted: i64,
}

/// Whether staged rows would change rows that are published, or what was said of them before.
pub(super) async fn overwrites(
    transaction: &Transaction<'_>,
    context: &Context<'_>,
    source: &Source,
) -> Result<Result<bool, NotDone>, WarehouseError> {
    let doing = WarehouseError::statement("looking for rows a late fetch would overwrite");
    for model in context.plan.models_of(&source.id) {
        // Of a key that was said before, a history may begin anew even where the value stays.
        let differs = if model.history { "true".to_owned() } else { differs(model) };
        let statement = format!(
            "select exists (select 1 from {} as staged join {} as published using ({}) where {differs})",
            staged_table(model),
            qualified(&context.schema, &model.table),
            list("", model.row_key()),
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

/// What is staged for a model.
pub(super) struct Staged {
    /// The fetches.
    pub(super) fetches: usize,
    /// Their rows.
    pub(super) rows: i64,
    /// The keys of those rows.
    pub(super) keys: i64,
}

impl Staged {
    /// Counts. One fetch has no key twice (`stage`), so its rows need not be looked at again.
    pub(super) async fn count(
        transaction: &Transaction<'_>,
        model: &Model,
        fetches: usize,
    ) -> Result<Self, WarehouseError> {
        let staged = staged_table(model);
        let keys = match fetches {
            1 => "count(*)".to_owned(),
            _ => format!(
                "(select count(*) from (select distinct {} from {staged}) as keys)",
                list("", model.row_key())
            ),
        };
        let row = transaction
            .query_one(&format!("select count(*), {keys} from {staged}"), &[])
            .await
            .map_err(WarehouseError::statement("counting staged rows"))?;
        Ok(Self { fetches, rows: row.get(0), keys: row.get(1) })
    }
}

/// Writes the difference of one table. The inner error is what PostgreSQL said of the rows.
pub(super) async fn write(
    transaction: &Transaction<'_>,
    context: &Context<'_>,
    source: &Source,
    model: &Model,
    staged: &Staged,
    reapplied: bool,
) -> Result<Result<TableCounts, NotDone>, WarehouseError> {
    let doing = WarehouseError::statement("comparing staged with published rows");
    if let Err(error) = transaction.batch_execute(&find(context, model, staged)).await {
        return not_done(error, model).map(Err).map_err(&doing);
    }
    let difference = temporary("newest", model);
    let gone = temporary("gone", model);
    let counts = transaction
        .query_one(
            &format!(
                "select count(*) filter (where _is_new), count(*) filter (where not _is_new),
                        {} from {difference}",
                if model.write.deletes() {
                    format!(
                        "(select count(*) from {gone}), (select count(*) from {gone} where _was_staged)"
                    )
                } else {
                    "0::bigint, 0::bigint".to_owned()
                },
            ),
            &[],
        )
        .await
        .map_err(&doing)?;
    let (inserted, updated, deleted): (i64, i64, i64) =
        (counts.get(0), counts.get(1), counts.get(2));
    let deleted_staged: i64 = counts.get(3);
    if context.is_told {
        restatement::record(transaction, context, source, model).await?;
    }
    if model.history {
        history::write(transaction, context, source, model, reapplied).await?;
    }

    let table = qualified(&context.schema, &model.table);
    let values: Vec<&str> = value_columns(model).collect();
    let columns = list("", values.iter().copied());
    let same_key = |alias: &str| -> String {
        let parts: Vec<String> = model
            .row_key()
            .map(|name| format!("published.{0} = {alias}.{0}", ident(name)))
            .collect();
        parts.join(" and ")
    };
    let delete =
        format!("delete from {table} as published using {gone} as gone where {}", same_key("gone"));
    let insert = format!(
        "insert into {table} ({columns}, _publish_id)
         select {columns}, $1 from {difference} where _is_new"
    );
    let set: Vec<String> =
        values.iter().map(|name| format!("{0} = newest.{0}", ident(name))).collect();
    let update = format!(
        "update {table} as published set {}, _publish_id = $1 from {difference} as newest \
         where not newest._is_new and {}",
        set.join(", "),
        same_key("newest"),
    );
    let publish_id: [&(dyn ToSql + Sync); 1] = [&context.publish_id];
    for (statement, params, expected, doing) in [
        (delete, &[][..], deleted, "deleting rows that are gone"),
        (update, &publish_id[..], updated, "updating changed rows"),
        (insert, &publish_id[..], inserted, "inserting new rows"),
    ] {
        if expected == 0 {
            continue;
        }
        let expected = u64::try_from(expected).expect("count(*) is not negative");
        match transaction.execute(&statement, params).await {
            Ok(touched) if touched == expected => {}
            Ok(touched) => return Err(WarehouseError::RowCount { doing, touched, expected }),
            Err(error) => {
                return not_done(error, model).map(Err).map_err(WarehouseError::statement(doing));
            }
        }
    }
    Ok(Ok(TableCounts {
        staged: staged.rows,
        inserted,
        updated,
        // A key that came and went within the publish was never there.
        unchanged: (staged.keys - inserted - updated - deleted_staged).max(0),
        deleted,
    }))
}

/// The columns that are written as they were staged.
fn value_columns(model: &Model) -> impl Iterator<Item = &str> {
    let own = model.columns.iter().map(|column| column.name.as_str());
    let extra = extra_columns(model).into_iter().map(|(name, _)| name);
    own.chain(["_fetch_id", "_fetch_row"]).chain(extra)
}

/// Finds the difference: `newest_<table>` has what is to be inserted and updated, `gone_<table>` the
/// keys to delete, each with the ordinal of the fetch that says so.
fn find(context: &Context<'_>, model: &Model, counted: &Staged) -> String {
    let staged = staged_table(model);
    let table = qualified(&context.schema, &model.table);
    let key = list("", model.row_key());
    let newest = if counted.keys == counted.rows {
        staged.clone()
    } else {
        format!("(select distinct on ({key}) * from {staged} order by {key}, _ordinal desc)")
    };
    let columns = list("staged.", value_columns(model));
    let newest_name = ident(&format!("newest_{}", model.table));
    // A row of the newest staged fetch is covered by none that is newer.
    let covered = if model.write.deletes() && counted.fetches > 1 {
        format!(
            "(select max(covers._ordinal) from {} as covers where covers._ordinal > staged._ordinal and {})",
            covers_table(model),
            covers(model, "staged"),
        )
    } else {
        "null::integer".to_owned()
    };
    let found = format!(
        "analyze {staged};
         create temporary table {newest_name} on commit drop as
         select {columns}, staged._ordinal, published._fetch_id is null as _is_new
         from {newest} as staged left join {table} as published using ({key})
         where (published._fetch_id is null or {}){}",
        differs(model),
        if covered.starts_with("null") { String::new() } else { format!(" and {covered} is null") },
    );
    if !model.write.deletes() {
        return format!("{found}; analyze pg_temp.{newest_name}");
    }
    let keys = |alias: &str| list(&format!("{alias}."), model.row_key());
    let gone_name = ident(&format!("gone_{}", model.table));
    let same_key: Vec<String> =
        model.row_key().map(|name| format!("staged.{0} = published.{0}", ident(name))).collect();
    let mut gone = format!(
        "create temporary table {gone_name} on commit drop as
         select {}, max(covers._ordinal) as _ordinal, false as _was_staged
         from {table} as published join {} as covers on {}
         where not exists (select 1 from {staged} as staged where {})
         group by {}",
        keys("published"),
        covers_table(model),
        covers(model, "published"),
        same_key.join(" and "),
        keys("published"),
    );
    if !covered.starts_with("null") {
        gone.push_str(&format!(
            "; insert into pg_temp.{gone_name}
             select {}, {covered}, true from {newest} as staged
             join {table} as published using ({key}) where {covered} is not null",
            keys("staged"),
        ));
    }
    format!("{found}; {gone}; analyze pg_temp.{newest_name}; analyze pg_temp.{gone_name}")
}

/// Whether `covers` covers a row that it may lack.
pub(super) fn covers(model: &Model, alias: &str) -> String {
    let entity = format!("covers._entity = {alias}._entity");
    match &model.write {
        Write::Window(column) => {
            format!("{entity} and {alias}.{} between covers._low and covers._high", ident(column))
        }
        Write::Snapshot | Write::Upsert | Write::Append => entity,
    }
}

/// The columns in which a row can differ: the contract's, whether it is final, and whose it is.
pub(super) fn compared(model: &Model) -> impl Iterator<Item = &str> {
    let own = model.columns.iter().map(|column| column.name.as_str());
    own.chain(extra_columns(model).into_iter().map(|(name, _)| name))
}

/// Whether the rows differ between `staged` and `published`, as they are stored: `1.0` and `1.00`
/// are equal and not the same, and which of them stays must not depend on the order of publishes.
/// This works for types without equality, such as `json`, as well. (Written as subqueries because two
/// bare rows would be compared column by column.)
fn differs(model: &Model) -> String {
    differs_between(model, "staged.", "published.")
}

/// [`differs`] between any two.
pub(super) fn differs_between(model: &Model, one: &str, other: &str) -> String {
    let row = |side: &str| {
        let columns = list(side, compared(model));
        format!("(select image from (select {columns}) as image)")
    };
    format!("{} operator(pg_catalog.*<>) {}", row(one), row(other))
}
