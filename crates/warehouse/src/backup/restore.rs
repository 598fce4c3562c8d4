//! Restoring a backup.
//!
//! In: a backup and a plan. Out: the ledger as it was, in one transaction: all of it or nothing. A backup of
//! an older version is put into a ledger of that version, which is migrated then as any older ledger is.
//! Deliberately absent: the curated tables; `rebuild` makes them.

use std::io::{BufRead, BufReader, Read};

use bytes::{Bytes, BytesMut};
use daymark_plan::Plan;
use flate2::bufread::MultiGzDecoder;
use futures::SinkExt;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use tokio_postgres::{CopyInSink, Transaction};

use super::{
    BackupError, END_OF_ROWS, End, FORMAT, Header, LEDGER, LEFT_OUT, Table, TableEnd, TableHeader,
    hex, tables,
};
use crate::error::WarehouseError;
use crate::migrate;
use crate::session::{Session, Warehouse};
use crate::sql::{ident, literal, qualified};

/// Rows are sent in pieces of about this size.
const CHUNK: usize = 64 * 1024;

/// Restores a backup into the plan's database. One whose ledger is not empty is refused, unless what it holds
/// is to be replaced.
pub async fn restore(
    plan: &Plan,
    backup: &mut (dyn Read + Send),
    replace: bool,
) -> Result<Header, BackupError> {
    let mut packed = BufReader::new(backup);
    if packed.fill_buf().map_err(BackupError::Read)?.is_empty() {
        return Err(BackupError::NoBackup("it is empty".to_owned()));
    }
    let mut backup = BufReader::new(MultiGzDecoder::new(packed));
    let header = header(&mut backup, plan)?;
    let warehouse = Warehouse::connect(plan).await?;
    let done = into(&warehouse, plan, &mut backup, &header, replace).await;
    warehouse.close().await;
    done.map(|()| header)
}

async fn into(
    warehouse: &Warehouse,
    plan: &Plan,
    backup: &mut (impl BufRead + Send),
    header: &Header,
    replace: bool,
) -> Result<(), BackupError> {
    let mut session = warehouse.session("restoring a backup").await?;
    if header.ledger < migrate::current() {
        begin_older(&mut session, header.ledger).await?;
    } else {
        warehouse.migrate(&mut session).await?;
    }
    fill(&mut session, plan, backup, header, replace).await?;
    // Of an older version: what has changed since.
    warehouse.migrate(&mut session).await?;
    Ok(())
}

/// Reads the header, and refuses what this program or pipeline cannot take.
fn header(backup: &mut impl BufRead, plan: &Plan) -> Result<Header, BackupError> {
    let line = line(backup)?;
    let read: serde_json::Value = serde_json::from_slice(&line)
        .map_err(|_| BackupError::NoBackup("its first line is not JSON".to_owned()))?;
    let Some(format) = read.get("daymark_backup").and_then(serde_json::Value::as_u64) else {
        return Err(BackupError::NoBackup("its first line has no `daymark_backup`".to_owned()));
    };
    let program = || {
        let program = read.get("program").and_then(serde_json::Value::as_str);
        program.unwrap_or("another daymark").to_owned()
    };
    if format > u64::from(FORMAT) {
        let what = format!("it has format {format}, this one knows {FORMAT}");
        return Err(BackupError::Newer { program: program(), what });
    }
    let header: Header = serde_json::from_value(read.clone())
        .map_err(|error| BackupError::Damaged(format!("its first line: {error}")))?;
    let current = migrate::current();
    if header.ledger > current {
        let what = format!("its ledger has version {}, this one knows {current}", header.ledger);
        return Err(BackupError::Newer { program: program(), what });
    }
    if header.pipeline != plan.name {
        let (found, wanted) = (header.pipeline, plan.name.clone());
        return Err(BackupError::OtherPipeline { found, wanted });
    }
    Ok(header)
}

/// Makes a ledger of an older version, in place of one that holds nothing yet.
async fn begin_older(session: &mut Session, older: i32) -> Result<(), BackupError> {
    let doing = WarehouseError::statement("making an older ledger");
    if let Some(current) = migrate::version(session.client()).await? {
        let transaction = session.client().transaction().await.map_err(&doing)?;
        let mut names = tables(&transaction).await?;
        names.retain(|table| table.name != "pipeline");
        let mut names: Vec<String> = names.into_iter().map(|table| table.name).collect();
        // With contracts there are tables that only this ledger knows to be ours.
        names.extend(["contract".to_owned(), "mart".to_owned()]);
        if !holds(&transaction, &names).await?.is_empty() {
            return Err(BackupError::OlderInUse { found: older, current });
        }
        transaction.batch_execute("drop schema daymark cascade").await.map_err(&doing)?;
        transaction.commit().await.map_err(&doing)?;
    }
    migrate::to(session.client(), older).await?;
    Ok(())
}

/// Fills the ledger, in one transaction.
async fn fill(
    session: &mut Session,
    plan: &Plan,
    backup: &mut (impl BufRead + Send),
    header: &Header,
    replace: bool,
) -> Result<(), BackupError> {
    let doing = WarehouseError::statement("restoring the ledger");
    let schema = session.schema().to_owned();
    let transaction = session.client().transaction().await.map_err(&doing)?;
    // No publish comes between.
    transaction
        .execute("select pg_advisory_xact_lock(hashtextextended('daymark:publish', 0))", &[])
        .await
        .map_err(&doing)?;
    let tables = tables(&transaction).await?;
    let names: Vec<String> = tables.iter().map(|table| table.name.clone()).collect();
    let in_use: Vec<String> = names.iter().filter(|name| *name != "pipeline").cloned().collect();
    let held = holds(&transaction, &in_use).await?;
    if !held.is_empty() && !replace {
        return Err(BackupError::NotEmpty(held.join(", ")));
    }
    let all: Vec<String> = names.iter().map(|name| qualified(LEDGER, name)).collect();
    transaction.batch_execute(&format!("truncate {}", all.join(", "))).await.map_err(&doing)?;
    // What says how far the raw store was listed is of another ledger, too. The first versions had none.
    let has_listing = "select to_regclass('daymark.listing') is not null";
    if transaction.query_one(has_listing, &[]).await.map_err(&doing)?.get(0) {
        transaction.batch_execute("delete from daymark.listing").await.map_err(&doing)?;
    }
    for told in &header.tables {
        let table = tables.iter().find(|table| table.name == told.table);
        fill_table(&transaction, backup, table, told).await?;
    }
    let last = line(backup)?;
    let end: End = json(&last, "its last line")?;
    if end.end != header.daymark_backup {
        return Err(BackupError::Damaged("its last line is of another format".to_owned()));
    }
    for table in &tables {
        continue_numbers(&transaction, table).await?;
    }
    // The schema of the curated tables is the folder's: they are made anew there.
    transaction
        .execute(
            "insert into daymark.pipeline (name, schema_name) values ($1, $2)
             on conflict (only_one) do update set schema_name = excluded.schema_name",
            &[&plan.name, &schema],
        )
        .await
        .map_err(&doing)?;
    transaction.commit().await.map_err(&doing)?;
    Ok(())
}

/// Which of some tables hold rows, each with how many.
async fn holds(
    transaction: &Transaction<'_>,
    names: &[String],
) -> Result<Vec<String>, WarehouseError> {
    let mut held = Vec::new();
    for name in names {
        let count = format!("select count(*) from {}", qualified(LEDGER, name));
        let rows: i64 = transaction
            .query_one(&count, &[])
            .await
            .map_err(WarehouseError::statement("looking for what the ledger holds"))?
            .get(0);
        if rows > 0 {
            held.push(format!("{rows} in `{name}`"));
        }
    }
    Ok(held)
}

/// Copies the rows of one table in, and compares them with what is said of them.
async fn fill_table(
    transaction: &Transaction<'_>,
    backup: &mut (impl BufRead + Send),
    table: Option<&Table>,
    told: &TableHeader,
) -> Result<(), BackupError> {
    let doing = WarehouseError::statement("restoring a table of the ledger");
    let name = &told.table;
    let left_out = LEFT_OUT.iter().any(|(left_out, _)| left_out == name);
    let known =
        table.is_some_and(|table| told.columns.iter().all(|column| table.columns.contains(column)));
    if left_out || !known {
        let what = format!("the ledger of its version has no table `{name}` with its columns");
        return Err(BackupError::Damaged(what));
    }
    let columns: Vec<String> = told.columns.iter().map(|column| ident(column)).collect();
    let copy = format!("copy {} ({}) from stdin", qualified(LEDGER, name), columns.join(", "));
    let sink: CopyInSink<Bytes> = transaction.copy_in(&copy).await.map_err(&doing)?;
    futures::pin_mut!(sink);
    let mut digest = Sha256::new();
    let mut rows = 0_i64;
    let mut chunk = BytesMut::new();
    loop {
        let row = line(backup)?;
        if row == END_OF_ROWS {
            break;
        }
        rows += 1;
        digest.update(&row);
        chunk.extend_from_slice(&row);
        if chunk.len() >= CHUNK {
            sink.send(chunk.split().freeze()).await.map_err(&doing)?;
        }
    }
    let ending = line(backup)?;
    let end: TableEnd = json(&ending, &format!("the end of `{name}`"))?;
    // Compared before PostgreSQL reads the last of it: what is damaged is said to be that.
    let found = TableEnd { table: name.clone(), rows, sha256: hex(digest.finalize()) };
    if end != found || rows != told.rows {
        let what = format!("the rows of `{name}` are not those that were written ({rows} rows)");
        return Err(BackupError::Damaged(what));
    }
    sink.send(chunk.freeze()).await.map_err(&doing)?;
    sink.finish().await.map_err(&doing)?;
    Ok(())
}

/// Has the numbers of a table go on behind those that were restored.
async fn continue_numbers(
    transaction: &Transaction<'_>,
    table: &Table,
) -> Result<(), WarehouseError> {
    for column in &table.numbered {
        let statement = format!(
            "select setval(pg_get_serial_sequence({}, {}), greatest(max({}), 1), count(*) > 0) from {}",
            literal(&table.qualified()),
            literal(column),
            ident(column),
            table.qualified(),
        );
        transaction
            .batch_execute(&statement)
            .await
            .map_err(WarehouseError::statement("numbering the ledger's rows"))?;
    }
    Ok(())
}

/// The next line, with its end.
fn line(backup: &mut impl BufRead) -> Result<Vec<u8>, BackupError> {
    let mut line = Vec::new();
    let read = backup.read_until(b'\n', &mut line);
    read.map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidInput => {
            BackupError::NoBackup("it is not compressed by gzip".to_owned())
        }
        std::io::ErrorKind::UnexpectedEof => BackupError::Damaged("it was cut off".to_owned()),
        std::io::ErrorKind::InvalidData => BackupError::Damaged(error.to_string()),
        _ => BackupError::Read(error),
    })?;
    if line.last() == Some(&b'\n') {
        Ok(line)
    } else {
        Err(BackupError::Damaged("it was cut off".to_owned()))
    }
}

fn json<T: DeserializeOwned>(line: &[u8], what: &str) -> Result<T, BackupError> {
    serde_json::from_slice(line).map_err(|error| BackupError::Damaged(format!("{what}: {error}")))
}
