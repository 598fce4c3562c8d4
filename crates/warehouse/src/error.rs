//! What can go wrong with PostgreSQL, said for its user.
//!
//! In: driver errors and findings. Out: [`WarehouseError`] (the database as a whole) and
//! [`Failure`] (one file of the pipeline that PostgreSQL refused). Deliberately absent: retries.

use std::path::PathBuf;

use tokio_postgres::error::{DbError, ErrorPosition};

/// Why the database could not be used.
#[derive(Debug, thiserror::Error)]
pub enum WarehouseError {
    /// A server did not take the connection.
    #[error("cannot connect to the database `{url}`")]
    Connect {
        /// Its URL with the password hidden.
        url: String,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The embedded database could not be started.
    #[error("cannot start the embedded database in `{}`", directory.display())]
    Start {
        /// Its directory.
        directory: PathBuf,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another process has the embedded database open and does not let us in.
    #[error("the embedded database in `{}` is open in another process{holder}", directory.display())]
    InUse {
        /// Its directory.
        directory: PathBuf,
        /// `: PID since TIME`, when known.
        holder: String,
    },
    /// The database belongs to another pipeline.
    #[error("the database `{url}` holds the pipeline `{found}`, not `{wanted}`")]
    OtherPipeline {
        /// Its URL with the password hidden.
        url: String,
        /// The pipeline it holds.
        found: String,
        /// The pipeline that was to be run.
        wanted: String,
    },
    /// The curated tables are in another schema.
    #[error("the database `{url}` has its curated tables in the schema `{found}`, not `{wanted}`")]
    OtherSchema {
        /// Its URL with the password hidden.
        url: String,
        /// The schema they are in.
        found: String,
        /// The schema that was asked for.
        wanted: String,
    },
    /// The ledger could not be brought to this program's version.
    #[error("cannot bring the ledger to this program's version")]
    Migrate {
        /// Why.
        #[source]
        cause: Box<refinery::Error>,
    },
    /// A statement failed.
    #[error("the database failed while {doing}")]
    Statement {
        /// What was being done.
        doing: &'static str,
        /// Why.
        #[source]
        cause: tokio_postgres::Error,
    },
    /// A COPY did not begin, or a statement that it had been sent right behind failed: which answer is to what is
    /// not known any more, and the connection has to be closed.
    #[error("the database failed while {doing}")]
    OutOfStep {
        /// What was being done.
        doing: &'static str,
        /// Why.
        #[source]
        cause: tokio_postgres::Error,
    },
    /// Another process took the schedule over: what this one was doing is the other's now.
    #[error("this process does not lead any more")]
    LeaseLost,
    /// A write touched another number of rows than it had to.
    #[error("{doing} touched {touched} rows, not {expected}")]
    RowCount {
        /// What was being done.
        doing: &'static str,
        /// Rows touched.
        touched: u64,
        /// Rows that had to be touched.
        expected: u64,
    },
}

impl WarehouseError {
    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Connect { .. } => Some(
                "check that the server runs and that `database.url` or DAYMARK_DATABASE_URL is right"
                    .to_owned(),
            ),
            Self::Start { directory, .. } => {
                Some(format!("check that `{}` can be written", directory.display()))
            }
            Self::InUse { .. } => Some("stop that process, or wait for it".to_owned()),
            Self::OtherPipeline { .. } => {
                Some("one database holds one pipeline: use another database".to_owned())
            }
            Self::OtherSchema { found, .. } => {
                Some(format!("set `database.schema` to `{found}`, or use another database"))
            }
            Self::Migrate { .. } => Some(
                "a newer daymark may have written this ledger: use that one or a newer one".to_owned(),
            ),
            Self::LeaseLost => Some(
                "another `daymark up` keeps the schedule now, and does what is left of this run"
                    .to_owned(),
            ),
            Self::Statement { .. } | Self::OutOfStep { .. } | Self::RowCount { .. } => None,
        }
    }

    /// Whether it may be gone at the next try: a connection that broke, a server that starts, a lock. What is
    /// wrong with the ledger itself stays wrong.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::Start { .. }
            | Self::InUse { .. }
            | Self::OutOfStep { .. }
            | Self::LeaseLost => true,
            Self::Statement { cause, .. } => !cause.as_db_error().is_some_and(is_of_sql_or_rows),
            Self::OtherPipeline { .. }
            | Self::OtherSchema { .. }
            | Self::Migrate { .. }
            | Self::RowCount { .. } => false,
        }
    }

    /// What was being done and what PostgreSQL said, if the SQL or the rows are at fault; any other error is given
    /// back.
    pub(crate) fn said_of_rows(self) -> Result<String, Self> {
        match self {
            Self::Statement { doing, cause } => match said_of_rows(cause) {
                Ok(said) => Ok(format!("{doing}: {said}")),
                Err(cause) => Err(Self::Statement { doing, cause }),
            },
            other => Err(other),
        }
    }

    pub(crate) fn statement(doing: &'static str) -> impl Fn(tokio_postgres::Error) -> Self {
        move |cause| Self::Statement { doing, cause }
    }
}

/// A file of the pipeline that PostgreSQL refused: what it said, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {message}", if *line == 0 { String::new() } else { format!(":{line}") })]
pub struct Failure {
    /// The file, relative to the pipeline folder.
    pub file: String,
    /// The line, counted from 1; 0 when PostgreSQL did not say.
    pub line: usize,
    /// The column of that line, counted from 1; 0 when it is not known.
    pub column: usize,
    /// What PostgreSQL said, with its detail.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

impl Failure {
    /// What was said and what to do next, on one line.
    pub fn with_hint(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{self}; {hint}"),
            None => self.to_string(),
        }
    }

    /// A failure of a file as a whole.
    pub(crate) fn new(file: &str, line: usize, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, column: 0, message: message.into(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What PostgreSQL said of a query that stood in `statement` after `prefix`, and starts at
    /// `query_line` of `file`. An error that is not the query's (a lost connection, a lock that was
    /// not had in time) is given back.
    pub(crate) fn of(
        error: tokio_postgres::Error,
        file: &str,
        statement: &str,
        prefix: &str,
        query_line: usize,
    ) -> Result<Self, tokio_postgres::Error> {
        let Some(db) = error.as_db_error().filter(|db| is_of_sql_or_rows(db)) else {
            return Err(error);
        };
        let (line, column) = match db.position() {
            Some(ErrorPosition::Original(position)) => {
                let at = usize::try_from(*position).unwrap_or(usize::MAX).saturating_sub(1);
                let before: String = statement.chars().take(at).collect();
                before.strip_prefix(prefix).map_or((0, 0), |in_query| {
                    let line = query_line + in_query.matches('\n').count();
                    // The query may begin in the middle of its first line.
                    let column =
                        in_query.rsplit_once('\n').map(|(_, in_line)| in_line.chars().count() + 1);
                    (line, column.filter(|_| query_line > 0).unwrap_or(0))
                })
            }
            _ => (0, 0),
        };
        let mut failure = Self { column, ..Self::new(file, line, db_message(db)) };
        failure.hint = db.hint().map(str::to_owned);
        Ok(failure)
    }
}

/// What may pass: connections, sessions and transactions that broke, passwords, a database that is not there,
/// locks, resources, a server that stops, its files, a snapshot that is too old, other servers behind it, and its
/// own mistakes.
/// Classes: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
const MAY_PASS: [&str; 18] = [
    "00", "08", "0Z", "25", "26", "28", "34", "3B", "3D", "40", "53", "55", "57", "58", "72", "F0",
    "HV", "XX",
];

/// Whether an error is the doing of the SQL or of the rows it met, so that trying again without a
/// change would end the same. A function may raise any code there is, so it is all that are not known to pass.
fn is_of_sql_or_rows(db: &DbError) -> bool {
    let class = db.code().code().get(..2).unwrap_or_default();
    !MAY_PASS.contains(&class)
}

/// What PostgreSQL said, if the SQL or the rows are at fault; any other error is given back.
pub(crate) fn said_of_rows(error: tokio_postgres::Error) -> Result<String, tokio_postgres::Error> {
    match error.as_db_error().filter(|db| is_of_sql_or_rows(db)) {
        Some(db) => Ok(db_message(db)),
        None => Err(error),
    }
}

/// PostgreSQL's message and detail on one line.
pub(crate) fn db_message(db: &DbError) -> String {
    match db.detail() {
        Some(detail) => format!("{} ({})", db.message(), detail.trim_end_matches('.')),
        None => db.message().to_owned(),
    }
}
