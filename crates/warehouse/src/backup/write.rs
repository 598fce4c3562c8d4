//! Writing a backup.
//!
//! In: a session. Out: the ledger as it was at one moment, written as it is read. Deliberately absent:
//! the file and its name.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use futures::TryStreamExt;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio_postgres::IsolationLevel;

use super::{BackupError, END_OF_ROWS, End, FORMAT, Header, TableEnd, TableHeader, hex, tables};
use crate::error::WarehouseError;
use crate::migrate;
use crate::session::Session;
use crate::sql::list;

/// Writes the ledger, and gives what was written. Others may go on writing it meanwhile.
pub async fn write(
    session: &mut Session,
    now: Timestamp,
    out: &mut (dyn Write + Send),
) -> Result<Header, BackupError> {
    let doing = WarehouseError::statement("reading the ledger");
    let transaction = session
        .client()
        .build_transaction()
        // One snapshot for all tables.
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await
        .map_err(&doing)?;
    let read = "select name from daymark.pipeline";
    let pipeline: String = transaction.query_one(read, &[]).await.map_err(&doing)?.get(0);
    let tables = tables(&transaction).await?;
    let mut header = Header {
        daymark_backup: FORMAT,
        program: concat!("daymark ", env!("CARGO_PKG_VERSION")).to_owned(),
        created_at: now,
        pipeline,
        ledger: migrate::current(),
        tables: Vec::new(),
    };
    for table in &tables {
        let count = format!("select count(*) from {}", table.qualified());
        let rows = transaction.query_one(&count, &[]).await.map_err(&doing)?.get(0);
        let (table, columns) = (table.name.clone(), table.columns.clone());
        header.tables.push(TableHeader { table, columns, rows });
    }

    let mut out = GzEncoder::new(out, Compression::default());
    line(&mut out, &header)?;
    for (table, told) in tables.iter().zip(&header.tables) {
        let order = match table.key.as_slice() {
            [] => String::new(),
            key => format!(" order by {}", list("", key.iter().map(String::as_str))),
        };
        let copy = format!(
            "copy (select {} from {}{order}) to stdout",
            table.columns(),
            table.qualified()
        );
        let rows = transaction.copy_out(&copy).await.map_err(&doing)?;
        futures::pin_mut!(rows);
        let mut digest = Sha256::new();
        while let Some(chunk) = rows.try_next().await.map_err(&doing)? {
            digest.update(&chunk);
            out.write_all(&chunk).map_err(BackupError::Write)?;
        }
        out.write_all(END_OF_ROWS).map_err(BackupError::Write)?;
        let (table, rows, sha256) = (told.table.clone(), told.rows, hex(digest.finalize()));
        line(&mut out, &TableEnd { table, rows, sha256 })?;
    }
    line(&mut out, &End { end: FORMAT })?;
    out.finish().map_err(BackupError::Write)?;
    transaction.commit().await.map_err(&doing)?;
    Ok(header)
}

/// Writes a line of JSON.
fn line(out: &mut impl Write, value: &impl serde::Serialize) -> Result<(), BackupError> {
    let mut line = serde_json::to_vec(value).map_err(|error| BackupError::Write(error.into()))?;
    line.push(b'\n');
    out.write_all(&line).map_err(BackupError::Write)
}
