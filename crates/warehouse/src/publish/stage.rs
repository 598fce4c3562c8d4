//! Staging: the rows of a fetch through its source's models into one staged table per model.
//!
//! In: a fetch's rows as COPY binary tuples. Out: rows in the temporary tables `staged_<table>`, which
//! carry the contract's constraints, so that a fetch that breaks one is found here and leaves staging
//! alone; and, of models that delete, what each fetch covers in `covers_<table>`. Deliberately absent:
//! anything that touches a curated table.

use daymark_plan::{Model, Source, Write, one_line};
use tokio_postgres::Transaction;
use tokio_postgres::types::ToSql;

use super::checks::{self, Asked, Purpose};
use super::copy::{Staging, send_rows};
use super::{Context, NotDone, Progress, RowStream, Statement, savepoint};
use crate::contract::{create_rows, extra_columns};
use crate::error::{Failure, WarehouseError, said_of_rows};
use crate::sql::{ident, list, qualified};

/// What a fetch is staged in.
const SAVEPOINT: &str = "one_fetch";

/// A temporary table of a model.
pub(super) fn temporary(word: &str, model: &Model) -> String {
    format!("pg_temp.{}", ident(&format!("{word}_{}", model.table)))
}

/// The rows of all fetches of a publish, each with the ordinal of its fetch.
pub(super) fn staged_table(model: &Model) -> String {
    temporary("staged", model)
}

/// What the fetches cover, of a model that deletes: rows that a fetch covers and lacks are gone.
pub(super) fn covers_table(model: &Model) -> String {
    temporary("covers", model)
}

/// The fetches of a publish, by ordinal.
pub(super) fn statements_table(source: &Source) -> String {
    format!("pg_temp.{}", ident(&format!("fetches_{}", source.id)))
}

/// From where to where the keys of each fetch reach, and how many rows it has.
pub(super) fn extents_table(model: &Model) -> String {
    temporary("extents", model)
}

/// Drops the temporary tables of the fetches before, which are about to be made for others.
pub(super) async fn drop_tables(transaction: &Transaction<'_>) -> Result<(), WarehouseError> {
    let doing = WarehouseError::statement("dropping the staging tables");
    let all = "select string_agg(format('drop %s if exists pg_temp.%I cascade', \
                      case relkind when 'v' then 'view' else 'table' end, relname), '; ') \
               from pg_class where relnamespace = pg_my_temp_schema() and relkind in ('r', 'v')";
    let drop: Option<String> = transaction.query_one(all, &[]).await.map_err(&doing)?.get(0);
    transaction.batch_execute(&drop.unwrap_or_default()).await.map_err(&doing)
}

/// Makes the temporary tables of a source; they go with the transaction.
pub(super) async fn create_tables(
    transaction: &Transaction<'_>,
    context: &Context<'_>,
    source: &Source,
) -> Result<Result<Staging, NotDone>, WarehouseError> {
    let mut statements = create_rows(source).to_vec();
    statements.push(format!(
        "create temporary table {} (_ordinal integer not null, _manifest_key text collate \"C\" not null, \
         _fetch_id uuid not null, _data_date date not null, _fetched_at timestamptz not null, \
         _entity text not null) on commit drop",
        ident(&format!("fetches_{}", source.id)),
    ));
    for model in context.plan.models_of(&source.id) {
        let staged = staged_table(model);
        let table = qualified(&context.schema, &model.table);
        statements.push(format!(
            // The defaults are for system columns that the model does not need any more.
            "create temporary table {} (like {table} including constraints including defaults \
             including generated) on commit drop",
            ident(&format!("staged_{}", model.table)),
        ));
        statements.push(format!(
            "alter table {staged} drop column _publish_id, add column _ordinal integer not null"
        ));
        statements.push(create_extents(model));
        if model.write.deletes() {
            let bounds = match &model.write {
                Write::Window(column) => format!(", {0} as _low, {0} as _high", ident(column)),
                _ => String::new(),
            };
            statements.push(format!(
                "create temporary table {} on commit drop as \
                 select _ordinal, _entity{bounds} from {staged} with no data",
                ident(&format!("covers_{}", model.table)),
            ));
        }
    }
    match transaction.batch_execute(&statements.join(";\n")).await {
        Ok(()) => Ok(Ok(Staging::default())),
        Err(error) => said_of_rows(error)
            .map(|reason| Err(NotDone::Failed(reason)))
            .map_err(WarehouseError::statement("making the staging tables")),
    }
}

/// The columns of a key that have an order by which it is told that two fetches share no key. Of others
/// PostgreSQL may have no `min`.
pub(super) fn ordered_key(model: &Model) -> impl Iterator<Item = &str> {
    const ORDERED: [&str; 14] = [
        "text",
        "varchar",
        "date",
        "timestamp",
        "timestamptz",
        "smallint",
        "integer",
        "int",
        "bigint",
        "int2",
        "int4",
        "int8",
        "numeric",
        "double",
    ];
    model.key.iter().map(String::as_str).filter(|name| {
        let column = model.columns.iter().find(|column| column.name == *name);
        let definition = column.map_or("", |column| column.definition.trim_start());
        let end = definition.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(definition.len());
        let array = definition.contains('[');
        !array && ORDERED.contains(&definition[..end].to_ascii_lowercase().as_str())
    })
}

fn create_extents(model: &Model) -> String {
    let bounds: Vec<String> = ordered_key(model)
        .enumerate()
        .map(|(at, name)| format!(", min({0}) as low_{at}, max({0}) as high_{at}", ident(name)))
        .collect();
    format!(
        "create temporary table {} on commit drop as \
         select _ordinal, 0::bigint as _rows, 0::bigint as _most{} from {} group by _ordinal \
         with no data",
        ident(&format!("extents_{}", model.table)),
        bounds.concat(),
        staged_table(model),
    )
}

/// Whether it is plain that no two staged fetches share a key: one of its columns has values that do not
/// overlap from fetch to fetch. Where it is not, the rows have to be looked at.
pub(super) fn are_apart(model: &Model) -> String {
    let extents = extents_table(model);
    let apart: Vec<String> = ordered_key(model)
        .enumerate()
        .map(|(at, _)| {
            format!(
                "not exists (select 1 from (select low_{at} as low, max(high_{at}) over (\
                 order by low_{at}, _ordinal rows between unbounded preceding and 1 preceding) \
                 as before from {extents} where _rows > 0) as sorted where low <= before)"
            )
        })
        .collect();
    if apart.is_empty() { "false".to_owned() } else { format!("({})", apart.join(" or ")) }
}

/// Stages one fetch: its rows through the models, and past their checks, whose answers go into
/// [`Staging::told`]. The inner error is why it was not staged; then nothing of it stays in staging.
pub(super) async fn fetch(
    transaction: &Transaction<'_>,
    context: &Context<'_>,
    source: &Source,
    statement: &Statement,
    purpose: Purpose,
    staging: &mut Staging,
) -> Result<Result<(), NotDone>, WarehouseError> {
    let doing = WarehouseError::statement("staging rows");
    let rows = match staging.rows(context, &statement.manifest_key).await {
        Ok(rows) => rows,
        // The store may answer the next time; the rows are not at fault.
        Err(error) => return Ok(Err(NotDone::Postponed(one_line(error.as_ref())))),
    };
    if let Some(empty) = staging.empty(source) {
        transaction.batch_execute(&empty).await.map_err(&doing)?;
    }
    savepoint::set(transaction, SAVEPOINT).await.map_err(&doing)?;
    let mut asked = Asked::new(purpose);
    let mut staged =
        stage_rows(transaction, context, source, statement, (rows, staging), &mut asked).await?;
    if staged.is_ok() {
        staged = asked.settle(context, source, statement).await;
    }
    if staged.is_ok() {
        savepoint::release(transaction, SAVEPOINT).await.map_err(&doing)?;
    } else {
        savepoint::undo(transaction, SAVEPOINT).await.map_err(&doing)?;
        staging.forget();
    }
    staging.told.append(&mut asked.results);
    Ok(staged)
}

async fn stage_rows(
    transaction: &Transaction<'_>,
    context: &Context<'_>,
    source: &Source,
    statement: &Statement,
    (rows, staging): (RowStream, &mut Staging),
    asked: &mut Asked,
) -> Result<Result<(), NotDone>, WarehouseError> {
    let doing = WarehouseError::statement("staging rows");
    let sink = staging.open(transaction, source, statement, None).await?;
    let sent = send_rows(sink, rows).await?;
    staging.read_ahead(context);
    let copied = match sent {
        Ok(copied) => copied,
        Err(reason) => return Ok(Err(NotDone::Failed(reason))),
    };
    if context.is_kept {
        checks::forget_rejects(transaction, &[statement.fetch_id]).await?;
    }
    staging.analyse(transaction, source, copied).await?;
    for model in context.plan.models_of(&source.id) {
        (context.watch)(Progress::Staging {
            source_id: source.id.clone(),
            data_date: statement.data_date,
            entity: statement.entity.clone(),
            table: model.table.clone(),
        });
        let tail = match apply_model(transaction, model, statement).await? {
            Ok(tail) => tail,
            Err(reason) => return Ok(Err(NotDone::Failed(reason))),
        };
        let rejected =
            asked.of_model(transaction, context, source, model, statement, &tail).await?;
        match rejected {
            Ok(rejected) => cover(transaction, model, statement, &tail, rejected).await?,
            Err(not_done) => return Ok(Err(not_done)),
        }
    }
    let insert =
        format!("insert into {} values ($1, $2, $3, $4, $5, $6)", statements_table(source));
    let values: [&(dyn ToSql + Sync); 6] = [
        &statement.ordinal,
        &statement.manifest_key,
        &statement.fetch_id,
        &statement.data_date,
        &statement.fetched_at,
        &statement.entity,
    ];
    transaction.execute(&insert, &values).await.map_err(&doing)?;
    Ok(Ok(()))
}

/// Takes fetches out of staging again.
pub(super) async fn remove(
    transaction: &Transaction<'_>,
    context: &Context<'_>,
    source: &Source,
    ordinals: &[i32],
) -> Result<(), WarehouseError> {
    let doing = WarehouseError::statement("taking fetches out of staging");
    let mut tables = vec![statements_table(source)];
    for model in context.plan.models_of(&source.id) {
        tables.push(staged_table(model));
        if model.write.deletes() {
            tables.push(covers_table(model));
        }
    }
    for table in tables {
        let statement = format!("delete from {table} where _ordinal = any($1)");
        transaction.execute(&statement, &[&ordinals]).await.map_err(&doing)?;
    }
    Ok(())
}

/// The columns of our own that are staged with the rows, each with its value.
pub(super) fn extra_value_list(model: &Model) -> Vec<(&'static str, String)> {
    extra_columns(model)
        .into_iter()
        .map(|(name, _)| match (name, &model.settled) {
            ("_settled", Some(settled)) => (name, format!("coalesce(({}), false)", settled.sql)),
            (other, _) => (other, ident(other)),
        })
        .collect()
}

/// The values of these columns, each behind a comma.
pub(super) fn extra_values(model: &Model) -> String {
    let values = extra_value_list(model).into_iter().map(|(_, value)| format!(", {value}"));
    values.collect::<Vec<_>>().concat()
}

/// Runs a model's query over the fetch's rows into its staged table, and gives where they are.
async fn apply_model(
    transaction: &Transaction<'_>,
    model: &Model,
    statement: &Statement,
) -> Result<Result<Tail, String>, WarehouseError> {
    let doing = WarehouseError::statement("running a model");
    let staged = staged_table(model);
    // Where the table ends now: what is staged of this fetch lies behind it, and need not be looked for
    // in all of the table.
    let size =
        "select pg_relation_size($1::text::regclass) / current_setting('block_size')::bigint";
    let blocks: i64 = transaction.query_one(size, &[&staged]).await.map_err(&doing)?.get(0);
    let columns = list("", model.columns.iter().map(|column| column.name.as_str()));
    let names: Vec<String> =
        extra_columns(model).iter().map(|(name, _)| format!(", {}", ident(name))).collect();
    let names = names.concat();
    let prefix = format!(
        "insert into {staged} ({columns}, _fetch_id, _fetch_row{names}, _ordinal) \
         select {columns}, _fetch_id, _fetch_row{}, $1 from (\
         select model.*, $2::date as _data_date, $3::timestamptz as _fetched_at, $4::text as _entity from (",
        extra_values(model),
    );
    let insert = format!("{prefix}{}\n) as model) as model", model.sql);
    let params: [&(dyn ToSql + Sync); 4] =
        [&statement.ordinal, &statement.data_date, &statement.fetched_at, &statement.entity];
    let inserted = match transaction.execute(&insert, &params).await {
        Ok(inserted) => inserted,
        Err(error) => {
            let failure = Failure::of(error, &model.file, &insert, &prefix, model.sql_line)
                .map_err(&doing)?;
            return Ok(Err(failure.to_string()));
        }
    };
    let tail = match Tail::of(transaction, model, blocks, statement.ordinal, inserted).await? {
        Ok(tail) => tail,
        Err(tail) => {
            let reason = key_twice(transaction, model, &tail).await?;
            return Ok(Err(reason));
        }
    };
    Ok(Ok(tail))
}

/// Takes note of what a fetch covers, of a model that deletes. One with rejects, of extraction or of its
/// checks, cannot tell what is gone from what it could not say.
async fn cover(
    transaction: &Transaction<'_>,
    model: &Model,
    statement: &Statement,
    tail: &Tail,
    rejected: i64,
) -> Result<(), WarehouseError> {
    if model.write.deletes() && statement.rejected == 0 && rejected == 0 {
        let what = match &model.write {
            // A fetch without rows covers no range.
            Write::Window(column) => format!(
                "$1::text, min({0}), max({0}) from {1} having count({0}) > 0",
                ident(column),
                tail.from()
            ),
            _ => "$1::text".to_owned(),
        };
        let cover =
            format!("insert into {} select {}, {what}", covers_table(model), statement.ordinal);
        transaction
            .execute(&cover, &[&statement.entity])
            .await
            .map_err(WarehouseError::statement("noting what a fetch covers"))?;
    }
    Ok(())
}

/// The rows that were just staged, at the end of their table.
pub(super) struct Tail {
    staged: String,
    /// The block they start in; none when all of the table has to be read.
    block: Option<i64>,
    ordinal: i32,
    /// How many they are.
    pub(super) rows: i64,
}

impl Tail {
    /// Finds the rows and takes note of how far their keys reach. The inner error has a key twice.
    async fn of(
        transaction: &Transaction<'_>,
        model: &Model,
        blocks: i64,
        ordinal: i32,
        inserted: u64,
    ) -> Result<Result<Self, Self>, WarehouseError> {
        let doing = WarehouseError::statement("reading staged rows");
        let rows = i64::try_from(inserted).unwrap_or(i64::MAX);
        // The last block may have had room.
        let block = Some((blocks - 1).max(0));
        let mut tail = Self { staged: staged_table(model), block, ordinal, rows };
        let extents = extents_table(model);
        loop {
            let key = list("", model.key.iter().map(String::as_str));
            let bounds: Vec<String> = ordered_key(model)
                .map(|name| format!(", min({0}), max({0})", ident(name)))
                .collect();
            let look = format!(
                "insert into {extents} select {ordinal}, coalesce(sum(_times), 0), \
                 coalesce(max(_times), 0){} from (select {key}, count(*) as _times from {} group by {key}) \
                 as keys returning _rows, _most",
                bounds.concat(),
                tail.from(),
            );
            let row = transaction.query_one(&look, &[]).await.map_err(&doing)?;
            let (found, most): (i64, i64) = (row.get(0), row.get(1));
            if found == rows || tail.block.is_none() {
                return Ok(if most > 1 { Err(tail) } else { Ok(tail) });
            }
            // PostgreSQL may have put some of them elsewhere; then all of the table is read.
            let forget = format!("delete from {extents} where _ordinal = {ordinal}");
            savepoint::run(transaction, &forget).await.map_err(&doing)?;
            tail.block = None;
        }
    }

    /// The rows, to stand behind `from`.
    pub(super) fn from(&self) -> String {
        format!(
            "(select * from {} as staged_row where {}) as tail",
            self.staged,
            self.has("staged_row")
        )
    }

    /// Whether a row of the staged table, by its alias, is one of them.
    pub(super) fn has(&self, alias: &str) -> String {
        let near = self.block.map(|block| format!("{alias}.ctid >= '({block},0)'::tid and "));
        format!("{}{alias}._ordinal = {}", near.unwrap_or_default(), self.ordinal)
    }
}

/// Says which keys a fetch yields more than once.
async fn key_twice(
    transaction: &Transaction<'_>,
    model: &Model,
    tail: &Tail,
) -> Result<String, WarehouseError> {
    let key = list("", model.key.iter().map(String::as_str));
    let twice = format!(
        "select ({key})::text, count(*) from {} group by {key} having count(*) > 1 order by {key} limit 3",
        tail.from()
    );
    let rows = transaction
        .query(&twice, &[])
        .await
        .map_err(WarehouseError::statement("looking for a key twice"))?;
    let keys: Vec<String> = rows
        .iter()
        .map(|row| format!("{} ({} times)", row.get::<_, String>(0), row.get::<_, i64>(1)))
        .collect();
    Ok(format!("{}: the query yields a key more than once: {}", model.file, keys.join(", ")))
}
