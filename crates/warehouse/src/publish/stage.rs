//! Staging: the rows of a fetch through its source's models into one staged table per model.
//!
//! In: a fetch's rows as COPY binary tuples. Out: rows in the temporary tables `staged_<table>`, which
//! carry the contract's constraints, so that a fetch that breaks one is found here and leaves staging
//! alone; and, of models that delete, what each fetch covers in `covers_<table>`. Deliberately absent:
//! anything that touches a curated table.

use bytes::{BufMut, Bytes, BytesMut};
use daymark_plan::{Model, Source, Write, one_line};
use futures::{SinkExt, TryStreamExt};
use tokio_postgres::types::ToSql;
use tokio_postgres::{CopyInSink, Transaction};

use super::checks::{self, Asked, Purpose};
use super::{CheckResult, Context, NotDone, Progress, RowStream, Statement};
use crate::contract::{create_raw, extra_columns};
use crate::error::{Failure, WarehouseError, said_of_rows};
use crate::sql::{ident, list, qualified};

/// COPY binary's signature, flags and header extension length
/// (<https://www.postgresql.org/docs/current/sql-copy.html>, "Binary Format").
const COPY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// COPY binary's trailer: a field count of -1.
const COPY_TRAILER: i16 = -1;

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

fn raw_table(source: &Source) -> String {
    format!("pg_temp.{}", ident(&format!("raw_{}", source.id)))
}

/// Makes the temporary tables of a source; they go with the transaction.
pub(super) async fn create_tables(
    transaction: &Transaction<'_>,
    context: &Context<'_>,
    source: &Source,
) -> Result<Result<(), NotDone>, WarehouseError> {
    let mut statements = vec![create_raw(source)];
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
        Ok(()) => Ok(Ok(())),
        Err(error) => said_of_rows(error)
            .map(|reason| Err(NotDone::Failed(reason)))
            .map_err(WarehouseError::statement("making the staging tables")),
    }
}

/// Stages one fetch: its rows through the models, and past their checks, whose answers go into `told`. The
/// inner error is why it was not staged; then nothing of it stays in staging.
pub(super) async fn fetch(
    transaction: &mut Transaction<'_>,
    context: &Context<'_>,
    source: &Source,
    statement: &Statement,
    purpose: Purpose,
    told: &mut Vec<CheckResult>,
) -> Result<Result<(), NotDone>, WarehouseError> {
    let doing = WarehouseError::statement("staging rows");
    let rows = match (context.read_rows)(statement.manifest_key.clone()).await {
        Ok(rows) => rows,
        // The store may answer the next time; the rows are not at fault.
        Err(error) => return Ok(Err(NotDone::Postponed(one_line(error.as_ref())))),
    };
    let savepoint = transaction.savepoint("one_fetch").await.map_err(&doing)?;
    let mut asked = Asked::new(purpose);
    let mut staged = stage_rows(&savepoint, context, source, statement, rows, &mut asked).await?;
    if staged.is_ok() {
        staged = asked.settle(context, source, statement).await;
    }
    match &staged {
        Ok(()) => savepoint.commit().await.map_err(&doing)?,
        Err(_) => savepoint.rollback().await.map_err(&doing)?,
    }
    told.append(&mut asked.results);
    Ok(staged)
}

async fn stage_rows(
    transaction: &Transaction<'_>,
    context: &Context<'_>,
    source: &Source,
    statement: &Statement,
    rows: RowStream,
    asked: &mut Asked,
) -> Result<Result<(), NotDone>, WarehouseError> {
    let doing = WarehouseError::statement("staging rows");
    let raw = raw_table(source);
    if let Err(reason) = copy_in(transaction, source, &raw, rows).await? {
        return Ok(Err(NotDone::Failed(reason)));
    }
    if context.is_kept {
        checks::forget_rejects(transaction, statement.fetch_id).await?;
    }
    transaction.batch_execute(&format!("analyze {raw}")).await.map_err(&doing)?;
    for model in context.plan.models_of(&source.id) {
        (context.watch)(Progress::Staging {
            source_id: &source.id,
            data_date: statement.data_date,
            table: &model.table,
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
    transaction.batch_execute(&format!("truncate {raw}")).await.map_err(&doing)?;
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

/// Copies rows in, a chunk at a time.
async fn copy_in(
    transaction: &Transaction<'_>,
    source: &Source,
    raw: &str,
    mut rows: RowStream,
) -> Result<Result<(), String>, WarehouseError> {
    let doing = WarehouseError::statement("copying rows in");
    let columns = list("", source.raw_columns().map(|(name, _)| name));
    let statement = format!("copy {raw} ({columns}) from stdin (format binary)");
    let sink: CopyInSink<Bytes> = transaction.copy_in(&statement).await.map_err(&doing)?;
    futures::pin_mut!(sink);
    // The outer error is PostgreSQL's or the connection's, the inner one the reader's.
    let copied: Result<Result<(), String>, tokio_postgres::Error> = async {
        sink.send(Bytes::from_static(COPY_HEADER)).await?;
        loop {
            match rows.try_next().await {
                Ok(Some(chunk)) => sink.send(chunk).await?,
                Ok(None) => break,
                // Dropping the sink unfinished has PostgreSQL discard what was sent.
                Err(error) => return Ok(Err(one_line(error.as_ref()))),
            }
        }
        let mut trailer = BytesMut::with_capacity(2);
        trailer.put_i16(COPY_TRAILER);
        sink.send(trailer.freeze()).await?;
        sink.finish().await?;
        Ok(Ok(()))
    }
    .await;
    match copied {
        Ok(read) => Ok(read),
        Err(error) => said_of_rows(error).map(Err).map_err(&doing),
    }
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
    let extra = extra_columns(model);
    let names: Vec<String> = extra.iter().map(|(name, _)| format!(", {}", ident(name))).collect();
    let names = names.concat();
    let values: Vec<String> = extra
        .iter()
        .map(|(name, _)| match (*name, &model.settled) {
            ("_settled", Some(settled)) => format!(", coalesce(({}), false)", settled.sql),
            (other, _) => format!(", {}", ident(other)),
        })
        .collect();
    let prefix = format!(
        "insert into {staged} ({columns}, _fetch_id, _fetch_row{names}, _ordinal) \
         select {columns}, _fetch_id, _fetch_row{}, $1 from (\
         select model.*, $2::date as _data_date, $3::timestamptz as _fetched_at, $4::text as _entity from (",
        values.concat(),
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
    let tail = Tail::of(transaction, &staged, blocks, statement.ordinal, inserted).await?;
    if let Some(reason) = key_twice(transaction, model, &tail).await? {
        return Ok(Err(reason));
    }
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
    async fn of(
        transaction: &Transaction<'_>,
        staged: &str,
        blocks: i64,
        ordinal: i32,
        inserted: u64,
    ) -> Result<Self, WarehouseError> {
        let doing = WarehouseError::statement("reading staged rows");
        // The last block may have had room.
        let block = (blocks - 1).max(0);
        let rows = i64::try_from(inserted).unwrap_or(i64::MAX);
        let near = Self { staged: staged.to_owned(), block: Some(block), ordinal, rows };
        let count: i64 = transaction
            .query_one(&format!("select count(*) from {}", near.from()), &[])
            .await
            .map_err(&doing)?
            .get(0);
        // PostgreSQL may have put some of them elsewhere; then all of the table is read.
        Ok(if count == rows { near } else { Self { block: None, ..near } })
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
) -> Result<Option<String>, WarehouseError> {
    let key = list("", model.key.iter().map(String::as_str));
    let twice = format!(
        "select ({key})::text, count(*) from {} group by {key} having count(*) > 1 order by {key} limit 3",
        tail.from()
    );
    let rows = transaction
        .query(&twice, &[])
        .await
        .map_err(WarehouseError::statement("looking for a key twice"))?;
    if rows.is_empty() {
        return Ok(None);
    }
    let keys: Vec<String> = rows
        .iter()
        .map(|row| format!("{} ({} times)", row.get::<_, String>(0), row.get::<_, i64>(1)))
        .collect();
    Ok(Some(format!("{}: the query yields a key more than once: {}", model.file, keys.join(", "))))
}
