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
//! matter (`publish::write`). Deliberately absent: what is told of it (`restatement`, `history`).

use daymark_plan::{Column, Model, Source, Write};
use tokio_postgres::Transaction;
use tokio_postgres::types::ToSql;

use super::stage::{are_apart, covers_table, staged_table, temporary};
use super::{Context, NotDone, history, restatement};
use crate::contract::extra_columns;
use crate::error::{WarehouseError, said_of_rows};
use crate::sql::{ident, list, qualified, same};

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

impl TableCounts {
    /// Takes in those of other rows.
    pub fn add(&mut self, other: Self) {
        self.staged += other.staged;
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.deleted += other.deleted;
    }
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

/// How the staged rows stand to the published ones.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beside {
    /// The keys that are published.
    pub(super) there: i64,
    /// Those of them whose rows differ.
    pub(super) differing: i64,
}

/// What is staged for a model.
#[derive(Debug, Clone, Copy)]
pub(super) struct Staged {
    /// The fetches.
    pub(super) fetches: usize,
    /// Their rows.
    pub(super) rows: i64,
    /// The keys of those rows.
    pub(super) keys: i64,
    /// How they stand to the published rows, where that is known.
    pub(super) beside: Option<Beside>,
}

impl Staged {
    /// Counts. One fetch has no key twice (`stage`), so its rows need not be looked at again; nor do those
    /// of fetches whose keys lie apart.
    pub(super) async fn count(
        transaction: &Transaction<'_>,
        model: &Model,
        fetches: usize,
    ) -> Result<Self, WarehouseError> {
        let doing = WarehouseError::statement("counting staged rows");
        let staged = staged_table(model);
        let mut apart = fetches == 1;
        if !apart {
            let look = format!("select {}", are_apart(model));
            apart = transaction.query_one(&look, &[]).await.map_err(&doing)?.get(0);
        }
        let keys = if apart {
            "count(*)".to_owned()
        } else {
            format!(
                "(select count(*) from (select distinct {} from {staged}) as keys)",
                list("", model.row_key())
            )
        };
        let row = transaction
            .query_one(&format!("select count(*), {keys} from {staged}"), &[])
            .await
            .map_err(&doing)?;
        Ok(Self { fetches, rows: row.get(0), keys: row.get(1), beside: None })
    }
}

/// What there is to write of a table.
#[derive(Debug, Clone, Copy, Default)]
struct Found {
    inserted: i64,
    updated: i64,
    deleted: i64,
    /// Of those deleted, the keys that are staged as well.
    deleted_staged: i64,
}

/// From how many rows on PostgreSQL is told what they are like: of fewer the size of the table is enough.
const ANALYSED_FROM: i64 = 10_000;

/// Has PostgreSQL look at the staged rows: at few of them, for how many there are is what matters.
pub(super) fn analyse(model: &Model, staged: &Staged) -> String {
    if staged.rows < ANALYSED_FROM {
        return String::new();
    }
    format!(
        "set local default_statistics_target = 10; analyze {}; \
         set local default_statistics_target to default; ",
        staged_table(model)
    )
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
    let found = if model.write.deletes() {
        find_with_gone(transaction, context, model, staged).await
    } else {
        find(transaction, context, model, staged).await
    };
    let found = match found {
        Ok(found) => found,
        Err(error) => return not_done(error, model).map(Err).map_err(&doing),
    };
    let Found { inserted, updated, deleted, deleted_staged } = found;
    if context.is_told {
        restatement::record(transaction, context, source, model, updated > 0).await?;
    }
    if model.history {
        history::write(transaction, context, source, model, reapplied).await?;
    }

    let difference = temporary("newest", model);
    let gone = temporary("gone", model);
    let table = qualified(&context.schema, &model.table);
    let values: Vec<&str> = value_columns(model).collect();
    let columns = list("", values.iter().copied());
    let same_key = |alias: &str| same(model.row_key(), "published", alias);
    let delete =
        format!("delete from {table} as published using {gone} as gone where {}", same_key("gone"));
    let new = if model.write.deletes() {
        format!("{difference} where _is_new")
    } else if inserted == staged.keys {
        format!("{} as staged", newest_staged(model, staged))
    } else {
        format!(
            "{} as staged where not exists (select 1 from {table} as published where {})",
            newest_staged(model, staged),
            same_key("staged"),
        )
    };
    let insert =
        format!("insert into {table} ({columns}, _publish_id) select {columns}, $1 from {new}");
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

/// The staged row of each key that counts, to stand behind `from`.
fn newest_staged(model: &Model, counted: &Staged) -> String {
    let staged = staged_table(model);
    if counted.keys == counted.rows {
        return staged;
    }
    let key = list("", model.row_key());
    format!("(select distinct on ({key}) * from {staged} order by {key}, _ordinal desc)")
}

/// Finds the difference of a model that deletes nothing: `newest_<table>` has what is to be updated. What
/// is new is not copied once more: it is inserted from where it is staged.
async fn find(
    transaction: &Transaction<'_>,
    context: &Context<'_>,
    model: &Model,
    staged: &Staged,
) -> Result<Found, tokio_postgres::Error> {
    let beside = format!(
        "{} as staged join {} as published using ({})",
        newest_staged(model, staged),
        qualified(&context.schema, &model.table),
        list("", model.row_key()),
    );
    let differs = differs(model);
    let known = if let Some(known) = staged.beside {
        known
    } else {
        transaction.batch_execute(&analyse(model, staged)).await?;
        let count = format!("select count(*), count(*) filter (where {differs}) from {beside}");
        let row = transaction.query_one(&count, &[]).await?;
        Beside { there: row.get(0), differing: row.get(1) }
    };
    let updated = known.differing;
    if updated > 0 {
        let name = ident(&format!("newest_{}", model.table));
        let columns = list("staged.", value_columns(model));
        let make = format!(
            "create temporary table {name} on commit drop as
             select {columns}, staged._ordinal, false as _is_new from {beside} where {differs};
             analyze pg_temp.{name}"
        );
        transaction.batch_execute(&make).await?;
    }
    Ok(Found { inserted: staged.keys - known.there, updated, ..Found::default() })
}

/// Finds the difference of a model that deletes: `newest_<table>` has what is to be inserted and updated,
/// `gone_<table>` the keys to delete, each with the ordinal of the fetch that says so.
async fn find_with_gone(
    transaction: &Transaction<'_>,
    context: &Context<'_>,
    model: &Model,
    staged: &Staged,
) -> Result<Found, tokio_postgres::Error> {
    transaction.batch_execute(&make_gone(context, model, staged)).await?;
    let (newest, gone) = (temporary("newest", model), temporary("gone", model));
    let count = format!(
        "select count(*) filter (where _is_new), count(*) filter (where not _is_new),
                (select count(*) from {gone}), (select count(*) from {gone} where _was_staged)
         from {newest}"
    );
    let row = transaction.query_one(&count, &[]).await?;
    Ok(Found {
        inserted: row.get(0),
        updated: row.get(1),
        deleted: row.get(2),
        deleted_staged: row.get(3),
    })
}

fn make_gone(context: &Context<'_>, model: &Model, counted: &Staged) -> String {
    let staged = staged_table(model);
    let table = qualified(&context.schema, &model.table);
    let key = list("", model.row_key());
    let newest = newest_staged(model, counted);
    let columns = list("staged.", value_columns(model));
    let newest_name = ident(&format!("newest_{}", model.table));
    // A row of the newest staged fetch is covered by none that is newer.
    let covered = if counted.fetches > 1 {
        format!(
            "(select max(covers._ordinal) from {} as covers where covers._ordinal > staged._ordinal and {})",
            covers_table(model),
            covers(model, "staged"),
        )
    } else {
        "null::integer".to_owned()
    };
    let found = format!(
        "{}create temporary table {newest_name} on commit drop as
         select {columns}, staged._ordinal, published._fetch_id is null as _is_new
         from {newest} as staged left join {table} as published using ({key})
         where (published._fetch_id is null or {}){}",
        analyse(model, counted),
        differs(model),
        if covered.starts_with("null") { String::new() } else { format!(" and {covered} is null") },
    );
    let keys = |alias: &str| list(&format!("{alias}."), model.row_key());
    let gone_name = ident(&format!("gone_{}", model.table));
    let mut gone = format!(
        "create temporary table {gone_name} on commit drop as
         select {}, max(covers._ordinal) as _ordinal, false as _was_staged
         from {table} as published join {} as covers on {}
         where not exists (select 1 from {staged} as staged where {})
         group by {}",
        keys("published"),
        covers_table(model),
        covers(model, "published"),
        same(model.row_key(), "staged", "published"),
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
pub(super) fn differs(model: &Model) -> String {
    differs_between(model, "staged.", "published.")
}

/// [`differs`] between any two rows of one key.
pub(super) fn differs_between(model: &Model, one: &str, other: &str) -> String {
    let mut conditions = Vec::new();
    let mut images = Vec::new();
    for name in compared(model) {
        let (mine, theirs) = (format!("{one}{}", ident(name)), format!("{other}{}", ident(name)));
        match sameness(model, name) {
            // The rows have it in common.
            Sameness::Equal if model.row_key().any(|part| part == name) => {}
            Sameness::Equal => conditions.push(format!("{mine} is distinct from {theirs}")),
            Sameness::EqualButZero => conditions.push(format!(
                "{mine} is distinct from {theirs} or (({mine} = 0 or {mine} > 'Infinity') \
                 and float8send({mine}) <> float8send({theirs}))"
            )),
            Sameness::Image => images.push(name),
        }
    }
    if !images.is_empty() {
        let row = |side: &str| {
            let columns = list(side, images.iter().copied());
            format!("(select row({columns}))")
        };
        conditions.push(format!("{} operator(pg_catalog.*<>) {}", row(one), row(other)));
    }
    if conditions.is_empty() {
        "false".to_owned()
    } else {
        format!("({})", conditions.join(" or "))
    }
}

/// How it is told that two values are stored alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sameness {
    /// They are when they are equal.
    Equal,
    /// As well, but for the two zeros and what is not a number.
    EqualButZero,
    /// Only their images tell. Rows of images take several times as long to compare as equal values.
    Image,
}

fn sameness(model: &Model, name: &str) -> Sameness {
    // Columns of our own are a date, a boolean, a text.
    model.columns.iter().find(|column| column.name == name).map_or(Sameness::Equal, said)
}

fn said(column: &Column) -> Sameness {
    const EQUAL: [&str; 16] = [
        "text",
        "varchar",
        "date",
        "time",
        "timestamp",
        "timestamptz",
        "smallint",
        "integer",
        "int",
        "bigint",
        "int2",
        "int4",
        "int8",
        "boolean",
        "bool",
        "uuid",
    ];
    let definition = column.definition.trim().to_ascii_lowercase();
    let end = definition.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(definition.len());
    let (word, rest) = definition.split_at(end);
    // Arrays, collations for which different texts are equal, times with a zone of their own, names that
    // only start like those of a type.
    let plain = !(rest.starts_with(['_', '.', '"'])
        || rest.contains('[')
        || ["array", "collate", "zone"].iter().any(|word| rest.contains(word)));
    match word {
        "timestamp" if rest.trim_start().starts_with("with") && !rest.contains('[') => {
            Sameness::Equal
        }
        _ if plain && EQUAL.contains(&word) => Sameness::Equal,
        "double" | "float8" if plain => Sameness::EqualButZero,
        _ => Sameness::Image,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sameness_of(definition: &str) -> Sameness {
        let column = daymark_plan::Column {
            name: "x".to_owned(),
            definition: definition.to_owned(),
            comment: None,
            line: 1,
        };
        said(&column)
    }

    #[test]
    fn only_types_whose_equal_values_are_stored_alike_are_compared_as_values() {
        for equal in ["text not null", "INT", "timestamp(3)", "timestamp with time zone", "uuid"] {
            assert_eq!(sameness_of(equal), Sameness::Equal, "{equal}");
        }
        assert_eq!(sameness_of("double precision check (x > 0)"), Sameness::EqualButZero);
        for image in [
            "numeric(8,2)",
            "text[]",
            "text collate \"und-x-icu\"",
            "time with time zone",
            "interval",
            "json",
            "text_of_mine",
            "date.range",
            "real",
            "double precision[]",
            "bigint array[3]",
            "timestamp with time zone[]",
            "char(3)",
            "daterange",
            "\"text\"",
        ] {
            assert_eq!(sameness_of(image), Sameness::Image, "{image}");
        }
    }
}
