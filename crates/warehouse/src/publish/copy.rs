//! The rows of a fetch into `rows_<source>`: read ahead, and taken in by PostgreSQL.
//!
//! In: the keys of the fetches to come, and each fetch's rows as COPY binary tuples. Out: `rows_<source>` with the rows of
//! one fetch, the one row about it beside them, and [`Staging`], what is known from one fetch to the next.
//! Deliberately absent: the models that read them (`stage`, `at_once`).

use bytes::{BufMut, Bytes, BytesMut};
use daymark_plan::{Source, one_line};
use futures::{SinkExt, TryStreamExt, future};
use tokio::task::JoinHandle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{CopyInSink, Statement as Prepared, Transaction};

use super::{CheckResult, Context, RowStream, RowsError, Statement, savepoint};
use crate::error::{WarehouseError, said_of_rows};
use crate::sql::{ident, list};

/// COPY binary's signature, flags and header extension length
/// (<https://www.postgresql.org/docs/current/sql-copy.html>, "Binary Format").
const COPY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// COPY binary's trailer: a field count of -1.
const COPY_TRAILER: i16 = -1;
/// How often the row about the fetch is updated before its table is emptied. To empty three files, its TOAST among
/// them, takes longer than everything else that is asked before a COPY; and each update leaves a row that those who
/// look pass over.
const UPDATES: u32 = 100;

/// The rows of a fetch as extraction writes them.
pub(super) fn rows_table(source: &Source) -> String {
    format!("pg_temp.{}", ident(&format!("rows_{}", source.id)))
}

/// What is the same for all of them.
fn fetch_table(source: &Source) -> String {
    format!("pg_temp.{}", ident(&format!("fetch_of_{}", source.id)))
}

/// What is known from one fetch to the next.
#[derive(Default)]
pub(super) struct Staging {
    /// The fetches to come, the next one last.
    keys: Vec<String>,
    /// The rows of the next one, which are read while PostgreSQL is busy with those of the one before it.
    ahead: Option<(String, JoinHandle<Result<RowStream, RowsError>>)>,
    /// How many rows there were when the statistics of `rows_<source>` were taken.
    analysed: Option<u64>,
    /// Whether `rows_<source>` has the rows of a fetch before.
    used: bool,
    /// How often it was said which fetch it is since that was said first; none when nothing is said.
    said: Option<u32>,
    /// The savepoint that [`Self::open`] has set and nobody let go of yet.
    open: Option<&'static str>,
    /// What says which fetch it is, at first and then, and what takes its rows in.
    copying: Option<[Prepared; 3]>,
    /// What the checks said.
    pub(super) told: Vec<CheckResult>,
}

impl Staging {
    /// Takes note of the fetches that are staged next, in their order.
    pub(super) fn expect(&mut self, statements: &[Statement]) {
        self.keys = statements.iter().rev().map(|said| said.manifest_key.clone()).collect();
    }

    /// The statement that empties `rows_<source>`, where it has rows; it is about to have some. It is run outside
    /// of a savepoint, where the table was made: there PostgreSQL empties its file, inside it would make
    /// another one.
    pub(super) fn empty(&mut self, source: &Source) -> Option<String> {
        if !std::mem::replace(&mut self.used, true) {
            return None;
        }
        self.said = self.said.filter(|said| *said < UPDATES);
        let rows = rows_table(source);
        Some(match self.said {
            Some(_) => format!("truncate {rows}"),
            None => format!("truncate {rows}, {}", fetch_table(source)),
        })
    }

    /// Has `raw_<source>` take in the rows of a fetch, for [`send_rows`] to send them. With the name of a savepoint
    /// the one that was set here before is let go of, `raw_<source>` emptied, and the savepoint set; without, it
    /// must be empty already. All of that is sent before the first answer is waited for, and the `COPY` with it.
    pub(super) async fn open(
        &mut self,
        transaction: &Transaction<'_>,
        source: &Source,
        statement: &Statement,
        savepoint: Option<&'static str>,
    ) -> Result<CopyInSink<Bytes>, WarehouseError> {
        let doing = WarehouseError::statement("copying rows in");
        let empty = savepoint.and_then(|_| self.empty(source));
        let [first, then, copy] = if let Some(copying) = &self.copying {
            copying
        } else {
            let fetch = fetch_table(source);
            let columns = "(_fetch_id, _data_date, _fetched_at, _entity)";
            let values = "($1, $2, $3, nullif($4, ''))";
            let first = format!("insert into {fetch} {columns} values {values}");
            let then = format!("update {fetch} set {columns} = {values}");
            let first = transaction.prepare(&first).await.map_err(&doing)?;
            let then = transaction.prepare(&then).await.map_err(&doing)?;
            let copy = copy_statement(source, &rows_table(source));
            let copy = transaction.prepare(&copy).await.map_err(&doing)?;
            self.copying.insert([first, then, copy])
        };
        let say = if self.said.is_some() { then } else { first };
        self.said = Some(self.said.map_or(0, |said| said + 1));
        let Statement { fetch_id, data_date, fetched_at, entity, .. } = statement;
        let said: [&(dyn ToSql + Sync); 4] = [fetch_id, data_date, fetched_at, entity];
        let open = std::mem::replace(&mut self.open, savepoint);
        let released = async {
            match open {
                Some(name) => savepoint::release(transaction, name).await,
                None => Ok(()),
            }
        };
        let emptied = async {
            match &empty {
                Some(empty) => transaction.batch_execute(empty).await,
                None => Ok(()),
            }
        };
        let set = async {
            match savepoint {
                Some(name) => savepoint::set(transaction, name).await,
                None => Ok(()),
            }
        };
        let say = transaction.execute(say, &said);
        let copying = transaction.copy_in(copy);
        let (released, emptied, set, said, copying) =
            future::join5(released, emptied, set, say, copying).await;
        let before = released.and(emptied).and(set).and(said);
        before.and(copying).map_err(out_of_step)
    }

    /// Whether there are statistics of a fetch of this source.
    pub(super) fn is_analysed(&self) -> bool {
        self.analysed.is_some()
    }

    /// Has PostgreSQL look at `rows_<source>`. The fetches of a source are much alike: statistics serve all
    /// those of about the same number of rows.
    pub(super) async fn analyse(
        &mut self,
        transaction: &Transaction<'_>,
        source: &Source,
        copied: u64,
    ) -> Result<(), WarehouseError> {
        if self.analysed.is_none_or(|rows| copied / 2 > rows || rows / 2 > copied) {
            let analyse = format!("analyze {}", rows_table(source));
            savepoint::run(transaction, &analyse)
                .await
                .map_err(WarehouseError::statement("staging rows"))?;
            self.analysed = Some(copied);
        }
        Ok(())
    }

    /// Lets go of the savepoint that is open.
    pub(super) async fn release(
        &mut self,
        transaction: &Transaction<'_>,
    ) -> Result<(), WarehouseError> {
        if let Some(name) = self.open.take() {
            let released = savepoint::release(transaction, name).await;
            released.map_err(WarehouseError::statement("staging rows"))?;
        }
        Ok(())
    }

    /// Takes note that a savepoint was undone: the statistics went with it, and perhaps what was said first of
    /// the fetch.
    pub(super) fn forget(&mut self) {
        self.analysed = None;
        self.said = None;
        self.open = None;
    }

    /// The rows of a fetch.
    pub(super) async fn rows(
        &mut self,
        context: &Context<'_>,
        key: &str,
    ) -> Result<RowStream, RowsError> {
        if self.keys.last().is_some_and(|last| last == key) {
            self.keys.pop();
        }
        match self.ahead.take_if(|(opened, _)| opened == key) {
            Some((_, opening)) => match opening.await {
                Ok(opened) => opened,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
            None => (context.read_rows)(key.to_owned()).await,
        }
    }

    /// Reads the rows of the next fetch from now on: while PostgreSQL is busy with those that it was sent, and not
    /// before, for what sends them would wait for the reader where there are few processors.
    pub(super) fn read_ahead(&mut self, context: &Context<'_>) {
        if let (None, Some(next)) = (&self.ahead, self.keys.last()) {
            let opening = tokio::spawn((context.read_rows)(next.clone()));
            self.ahead = Some((next.clone(), opening));
        }
    }
}

/// Copies rows into a table that has the columns of a source's rows, a chunk at a time, as a publish does.
/// Gives how many there were; the inner error is what the reader, or PostgreSQL, said of them.
pub async fn copy_rows(
    transaction: &Transaction<'_>,
    source: &Source,
    table: &str,
    rows: RowStream,
) -> Result<Result<u64, String>, WarehouseError> {
    let copying = transaction.copy_in(&copy_statement(source, table)).await;
    send_rows(copying.map_err(out_of_step)?, rows).await
}

/// What a `COPY` that did not begin leaves: the driver says behind it that no rows come, to which PostgreSQL gives
/// an answer that nobody expects, and each answer from then on would be taken for the one before it.
fn out_of_step(cause: tokio_postgres::Error) -> WarehouseError {
    WarehouseError::OutOfStep { doing: "copying rows in", cause }
}

fn copy_statement(source: &Source, table: &str) -> String {
    let columns = list("", source.row_columns().map(|(name, _)| name));
    format!("copy {table} ({columns}) from stdin (format binary)")
}

/// Sends the rows of a fetch, to a `COPY` that is open. Gives what [`copy_rows`] does.
pub(super) async fn send_rows(
    sink: CopyInSink<Bytes>,
    mut rows: RowStream,
) -> Result<Result<u64, String>, WarehouseError> {
    let doing = WarehouseError::statement("copying rows in");
    futures::pin_mut!(sink);
    // The outer error is PostgreSQL's or the connection's, the inner one the reader's.
    let copied: Result<Result<u64, String>, tokio_postgres::Error> = async {
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
        Ok(Ok(sink.finish().await?))
    }
    .await;
    match copied {
        Ok(read) => Ok(read),
        Err(error) => said_of_rows(error).map(Err).map_err(&doing),
    }
}
