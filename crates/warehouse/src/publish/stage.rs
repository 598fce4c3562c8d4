//! Staging: the rows of a fetch through its source's models into one staged table per model.
//!
//! In: a fetch's rows as COPY binary tuples. Out: rows in the temporary tables `staged_<table>`, which
//! carry the contract's constraints, so that a fetch that breaks one is found here and leaves staging
//! alone. Deliberately absent: anything that touches a curated table.

use bytes::{BufMut, Bytes, BytesMut};
use daymark_plan::{Model, Source, one_line};
use futures::{SinkExt, TryStreamExt};
use jiff::civil::Date;
use tokio_postgres::{CopyInSink, Transaction};

use super::{Context, NotDone, Progress, RowStream};
use crate::contract::create_raw;
use crate::error::{Failure, WarehouseError, said_of_rows};
use crate::sql::{ident, list, qualified};

/// COPY binary's signature, flags and header extension length
/// (<https://www.postgresql.org/docs/current/sql-copy.html>, "Binary Format").
const COPY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// COPY binary's trailer: a field count of -1.
const COPY_TRAILER: i16 = -1;

pub(super) fn staged_table(model: &Model) -> String {
    format!("pg_temp.{}", ident(&format!("staged_{}", model.table)))
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
    for model in context.plan.models_of(&source.id) {
        let staged = staged_table(model);
        statements.push(format!(
            "create temporary table {} (like {} including constraints including generated) on commit drop",
            ident(&format!("staged_{}", model.table)),
            qualified(&context.schema, &model.table),
        ));
        statements.push(format!(
            "alter table {staged} drop column _publish_id, add column _order_key text collate \"C\" not null"
        ));
    }
    match transaction.batch_execute(&statements.join(";\n")).await {
        Ok(()) => Ok(Ok(())),
        Err(error) => said_of_rows(error)
            .map(|reason| Err(NotDone::Failed(reason)))
            .map_err(WarehouseError::statement("making the staging tables")),
    }
}

/// Stages one fetch. The inner error is why it was not staged; then nothing of it stays in staging.
pub(super) async fn fetch(
    transaction: &mut Transaction<'_>,
    context: &Context<'_>,
    source: &Source,
    manifest_key: &str,
    data_date: Date,
    order_key: &str,
) -> Result<Result<(), NotDone>, WarehouseError> {
    let doing = WarehouseError::statement("staging rows");
    let rows = match (context.read_rows)(manifest_key.to_owned()).await {
        Ok(rows) => rows,
        // The store may answer the next time; the rows are not at fault.
        Err(error) => return Ok(Err(NotDone::Postponed(one_line(error.as_ref())))),
    };
    let savepoint = transaction.savepoint("one_fetch").await.map_err(&doing)?;
    let staged = stage_rows(&savepoint, context, source, data_date, order_key, rows).await?;
    match &staged {
        Ok(()) => savepoint.commit().await.map_err(&doing)?,
        Err(_) => savepoint.rollback().await.map_err(&doing)?,
    }
    Ok(staged.map_err(NotDone::Failed))
}

async fn stage_rows(
    transaction: &Transaction<'_>,
    context: &Context<'_>,
    source: &Source,
    data_date: Date,
    order_key: &str,
    rows: RowStream,
) -> Result<Result<(), String>, WarehouseError> {
    let doing = WarehouseError::statement("staging rows");
    let raw = raw_table(source);
    if let Err(reason) = copy_in(transaction, source, &raw, rows).await? {
        return Ok(Err(reason));
    }
    transaction.batch_execute(&format!("analyze {raw}")).await.map_err(&doing)?;
    for model in context.plan.models_of(&source.id) {
        (context.watch)(Progress::Staging {
            source_id: &source.id,
            data_date,
            table: &model.table,
        });
        if let Err(reason) = apply_model(transaction, model, order_key).await? {
            return Ok(Err(reason));
        }
    }
    transaction.batch_execute(&format!("truncate {raw}")).await.map_err(&doing)?;
    Ok(Ok(()))
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

/// Runs a model's query over the fetch's rows into its staged table.
async fn apply_model(
    transaction: &Transaction<'_>,
    model: &Model,
    order_key: &str,
) -> Result<Result<(), String>, WarehouseError> {
    let doing = WarehouseError::statement("running a model");
    let staged = staged_table(model);
    let columns = list("", model.columns.iter().map(|column| column.name.as_str()));
    let prefix = format!(
        "insert into {staged} ({columns}, _fetch_id, _fetch_row, _order_key) \
         select {columns}, _fetch_id, _fetch_row, $1 from ("
    );
    let statement = format!("{prefix}{}\n) as model", model.sql);
    if let Err(error) = transaction.execute(&statement, &[&order_key]).await {
        let failure =
            Failure::of(error, &model.file, &statement, &prefix, model.sql_line).map_err(&doing)?;
        return Ok(Err(failure.to_string()));
    }
    let key = list("", model.key.iter().map(String::as_str));
    let twice = format!(
        "select ({key})::text, count(*) from {staged} where _order_key = $1 \
         group by {key} having count(*) > 1 order by {key} limit 3"
    );
    let rows = transaction.query(&twice, &[&order_key]).await.map_err(&doing)?;
    if rows.is_empty() {
        return Ok(Ok(()));
    }
    let keys: Vec<String> = rows
        .iter()
        .map(|row| format!("{} ({} times)", row.get::<_, String>(0), row.get::<_, i64>(1)))
        .collect();
    Ok(Err(format!("{}: the query yields a key more than once: {}", model.file, keys.join(", "))))
}
