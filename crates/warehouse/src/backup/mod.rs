//! Backup and restore of what the raw store does not hold: the ledger of runs, publishes and restatements.
//!
//! In: a ledger, and somewhere to write; or a backup, and a database. Out: one file of a plain format
//! (docs/backup.md), and the counts of its rows. What belongs to it is read from PostgreSQL's catalog: every
//! table of schema `daymark` but the few of `LEFT_OUT`, so that a table that comes with a later migration is
//! in it by itself. Deliberately absent: curated tables and histories; `rebuild` makes them from the raw store.

mod error;
mod restore;
mod write;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_postgres::Transaction;

use crate::error::WarehouseError;
use crate::sql::{list, qualified};

pub use error::BackupError;
pub use restore::restore;
pub use write::write;

/// The format this program writes and reads.
const FORMAT: u32 = 1;
/// The schema of the ledger.
const LEDGER: &str = "daymark";
/// What ends the rows of a table, as in `pg_dump`'s text.
const END_OF_ROWS: &[u8] = b"\\.\n";

/// Tables that are not part of a backup, each with the reason.
const LEFT_OUT: [(&str, &str); 4] = [
    ("migration", "the ledger's version stands in the header"),
    (
        "contract",
        "says which tables were made in this database; the next run makes them and says so again",
    ),
    (
        "mart",
        "says which views were made in this database; the next run makes them and says so again",
    ),
    (
        "listing",
        "without it the next run lists the raw store in full, and finds what came after the backup",
    ),
];

/// The first line of a backup.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Header {
    /// The format.
    pub daymark_backup: u32,
    /// The program that wrote it.
    pub program: String,
    /// When.
    pub created_at: Timestamp,
    /// The pipeline's name.
    pub pipeline: String,
    /// The version of the ledger's schema.
    pub ledger: i32,
    /// Its tables, in the order in which they can be filled.
    pub tables: Vec<TableHeader>,
}

/// A table of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableHeader {
    /// Its name in schema `daymark`.
    pub table: String,
    /// The columns of its rows.
    pub columns: Vec<String>,
    /// How many rows it has.
    pub rows: i64,
}

/// The line behind the rows of a table.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct TableEnd {
    table: String,
    rows: i64,
    /// Of the rows, each with its end of line.
    sha256: String,
}

/// The last line: what does not end in it was cut off.
#[derive(Debug, Serialize, Deserialize)]
struct End {
    end: u32,
}

impl Header {
    /// The rows of all tables.
    pub fn rows(&self) -> i64 {
        self.tables.iter().map(|table| table.rows).sum()
    }
}

/// A table as the catalog has it.
#[derive(Debug)]
struct Table {
    name: String,
    columns: Vec<String>,
    /// The columns of its primary key, by which its rows are in order.
    key: Vec<String>,
    /// Columns that PostgreSQL numbers.
    numbered: Vec<String>,
}

impl Table {
    fn qualified(&self) -> String {
        qualified(LEDGER, &self.name)
    }

    fn columns(&self) -> String {
        list("", self.columns.iter().map(String::as_str))
    }
}

/// The tables of the ledger, those that are referred to first.
async fn tables(transaction: &Transaction<'_>) -> Result<Vec<Table>, WarehouseError> {
    let doing = WarehouseError::statement("reading the ledger's tables");
    let left_out: Vec<&str> = LEFT_OUT.iter().map(|(name, _)| *name).collect();
    let rows = transaction
        .query(
            "select class.relname::text,
                    array_agg(column_.attname::text order by column_.attnum),
                    coalesce((select array_agg(part.attname::text order by key.position)
                              from pg_index, unnest(indkey) with ordinality as key (attnum, position)
                              join pg_attribute as part on part.attnum = key.attnum
                              where indrelid = class.oid and indisprimary
                                and part.attrelid = class.oid), '{}'),
                    coalesce(array_agg(column_.attname::text order by column_.attnum)
                             filter (where column_.attidentity <> ''
                                     or pg_get_serial_sequence(class.oid::regclass::text,
                                                               column_.attname) is not null), '{}')
             from pg_class as class join pg_attribute as column_ on column_.attrelid = class.oid
             where class.relnamespace = to_regnamespace($1) and class.relkind in ('r', 'p')
               and not class.relispartition and class.relname::text <> all($2)
               and column_.attnum > 0 and not column_.attisdropped and column_.attgenerated = ''
             group by class.oid, class.relname order by class.relname",
            &[&LEDGER, &left_out],
        )
        .await
        .map_err(&doing)?;
    let mut left: BTreeMap<String, Table> = BTreeMap::new();
    for row in rows {
        let name: String = row.get(0);
        let table = Table {
            name: name.clone(),
            columns: row.get(1),
            key: row.get(2),
            numbered: row.get(3),
        };
        left.insert(name, table);
    }
    let references: BTreeSet<(String, String)> = transaction
        .query(
            "select one.relname::text, other.relname::text
             from pg_constraint join pg_class as one on one.oid = conrelid
             join pg_class as other on other.oid = confrelid
             where contype = 'f' and one.relnamespace = to_regnamespace($1) and one.oid <> other.oid",
            &[&LEDGER],
        )
        .await
        .map_err(&doing)?
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    let mut ordered = Vec::new();
    while !left.is_empty() {
        let waits = |name: &str| {
            references.iter().any(|(one, other)| one == name && left.contains_key(other))
        };
        // Of tables that refer to each other in a circle any may be first: filling them says so.
        let next = left.keys().find(|name| !waits(name)).or_else(|| left.keys().next()).cloned();
        ordered.extend(next.and_then(|name| left.remove(&name)));
    }
    Ok(ordered)
}

/// A SHA-256 in hexadecimal digits.
fn hex(digest: impl AsRef<[u8]>) -> String {
    let digits: Vec<String> = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}
