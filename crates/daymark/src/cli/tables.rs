//! The arguments of the commands about the tables: ask, explain, compare and make them anew.
//!
//! In: arguments. Out: one struct per command. Deliberately absent: what the commands do.

use clap::Args;
use jiff::civil::Date;

use super::Folder;

/// The arguments of `daymark sql`.
#[derive(Debug, Args)]
pub(crate) struct Sql {
    /// The query, in PostgreSQL's SQL
    #[arg(value_name = "QUERY")]
    pub(crate) query: String,
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// Print an array of objects: dates as YYYY-MM-DD, numbers as numbers (a numeric of more digits
    /// than a float holds is text, so that none is lost)
    #[arg(long, conflicts_with = "csv")]
    pub(crate) json: bool,
    /// Print CSV with a header line
    #[arg(long)]
    pub(crate) csv: bool,
    /// Answer as of this time, from the histories: what the sources had said by then. A date
    /// (YYYY-MM-DD: by its end, in the pipeline's zone) or an instant (2026-03-02T08:00:00Z). A table
    /// without `history = true` is refused
    #[arg(long, value_name = "TIME")]
    pub(crate) as_of: Option<String>,
}

/// The arguments of `daymark why`.
#[derive(Debug, Args)]
pub(crate) struct Why {
    /// The table
    #[arg(value_name = "TABLE")]
    pub(crate) table: String,
    /// The values of its key's columns, in the order of the model's `key`, or as COLUMN=VALUE
    #[arg(value_name = "KEY", required = true)]
    pub(crate) key: Vec<String>,
    /// The data date whose row is meant, in a table that keeps one of each (`write = "append"`);
    /// default: the newest
    #[arg(long, value_name = "DATE")]
    pub(crate) date: Option<Date>,
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `daymark restatements`.
#[derive(Debug, Args)]
pub(crate) struct Restatements {
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// Of this table only
    #[arg(long, value_name = "TABLE")]
    pub(crate) table: Option<String>,
    /// Published on this day (YYYY-MM-DD, in the pipeline's zone) or later
    #[arg(long, value_name = "DATE")]
    pub(crate) since: Option<Date>,
    /// Print an array of objects
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `daymark drift`.
#[derive(Debug, Args)]
pub(crate) struct Drift {
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// Of this source only
    #[arg(long, value_name = "SOURCE")]
    pub(crate) source: Option<String>,
    /// Seen on this day (YYYY-MM-DD, in the pipeline's zone) or later
    #[arg(long, value_name = "DATE")]
    pub(crate) since: Option<Date>,
    /// Print an array of objects
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `daymark rebuild`.
#[derive(Debug, Args)]
pub(crate) struct Rebuild {
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// Only rows of fetches for this data date (YYYY-MM-DD) or later
    #[arg(long, value_name = "DATE")]
    pub(crate) from: Option<Date>,
    /// Only rows of fetches for this data date or earlier
    #[arg(long, value_name = "DATE")]
    pub(crate) to: Option<Date>,
    /// This model's table only (the table's or the file's name); may be given several times
    #[arg(long = "model", value_name = "MODEL")]
    pub(crate) models: Vec<String>,
    /// Compare and change nothing
    #[arg(long)]
    pub(crate) verify: bool,
    /// Ask the checks that look beyond a fetch again, instead of obeying their verdicts; what they hold back
    /// now is named, and the exit code is 1
    #[arg(long)]
    pub(crate) recheck: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `daymark plan`.
#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// Make the changes
    #[arg(long)]
    pub(crate) apply: bool,
    /// Make also those that lose values
    #[arg(long, requires = "apply")]
    pub(crate) allow_data_loss: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}
