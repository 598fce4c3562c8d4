//! The arguments of `daymark dlq`.
//!
//! In: arguments. Out: one struct per command. Deliberately absent: what the commands do.

use clap::{Args, Subcommand};
use jiff::civil::Date;

use super::Folder;

/// The arguments of `daymark dlq`.
#[derive(Debug, Args)]
pub(crate) struct Dlq {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: DlqCommand,
}

/// What to do with days that were given up.
#[derive(Debug, Subcommand)]
pub(crate) enum DlqCommand {
    /// List the days that were given up, and those that are tried again
    List(DlqList),
    /// Show every try of such a day
    Show(DlqDay),
    /// Run a day now, or all that were given up; what is published is taken off
    Retry(DlqRetry),
    /// Leave a day out for good: it is `skipped`
    Discard(DlqDiscard),
}

/// The arguments of `daymark dlq list`.
#[derive(Debug, Args)]
pub(crate) struct DlqList {
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// Print an array of days
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `daymark dlq show`.
#[derive(Debug, Args)]
pub(crate) struct DlqDay {
    /// The data date (YYYY-MM-DD)
    #[arg(value_name = "DAY")]
    pub(crate) date: Date,
    /// Of this source; may be left out where only one has the day here
    #[arg(long, value_name = "SOURCE")]
    pub(crate) source: Option<String>,
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `daymark dlq retry`.
#[derive(Debug, Args)]
pub(crate) struct DlqRetry {
    /// The data date (YYYY-MM-DD)
    #[arg(value_name = "DAY", required_unless_present = "all")]
    pub(crate) date: Option<Date>,
    /// All that were given up, of `--source` or of every source
    #[arg(long, conflicts_with = "date")]
    pub(crate) all: bool,
    /// Of this source; may be left out where only one has the day here
    #[arg(long, value_name = "SOURCE")]
    pub(crate) source: Option<String>,
    /// Also ask a source whose API only answers as of now, and keep its answer as the answer for that day
    #[arg(long)]
    pub(crate) as_of_now: bool,
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `daymark dlq discard`.
#[derive(Debug, Args)]
pub(crate) struct DlqDiscard {
    #[command(flatten)]
    pub(crate) day: DlqDay,
    /// Why; it is kept with the day
    #[arg(long, value_name = "REASON")]
    pub(crate) why: Option<String>,
}
