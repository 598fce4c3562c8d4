//! The arguments of the commands about what was set aside or held back.
//!
//! In: arguments. Out: one struct per command. Deliberately absent: what the commands do.

use clap::{Args, Subcommand};
use jiff::civil::Date;

use super::Folder;

/// The arguments of `daymark rejects`.
#[derive(Debug, Args)]
pub(crate) struct Rejects {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: RejectsCommand,
}

/// What to do with rejects.
#[derive(Debug, Subcommand)]
pub(crate) enum RejectsCommand {
    /// Count the rows that were set aside, by day and by what set them aside
    List(RejectsShown),
    /// Show the newest rows that were set aside
    Show(RejectsShown),
    /// Write all rows that were set aside to standard output
    Export(RejectsExport),
}

/// Which rejects.
#[derive(Debug, Args)]
pub(crate) struct RejectsFilter {
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// Of this source only
    #[arg(long, value_name = "SOURCE")]
    pub(crate) source: Option<String>,
    /// Set aside by a check of this table only
    #[arg(long, value_name = "TABLE")]
    pub(crate) table: Option<String>,
    /// Of this data date (YYYY-MM-DD) or later
    #[arg(long, value_name = "DATE")]
    pub(crate) since: Option<Date>,
}

/// The arguments of `daymark rejects list` and `show`.
#[derive(Debug, Args)]
pub(crate) struct RejectsShown {
    #[command(flatten)]
    pub(crate) filter: RejectsFilter,
    /// Print an array of objects
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `daymark rejects export`.
#[derive(Debug, Args)]
pub(crate) struct RejectsExport {
    #[command(flatten)]
    pub(crate) filter: RejectsFilter,
    /// Write CSV; default: one JSON object a line
    #[arg(long)]
    pub(crate) csv: bool,
}

/// The arguments of `daymark quarantine`.
#[derive(Debug, Args)]
pub(crate) struct Quarantine {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: QuarantineCommand,
}

/// What to do with what is held back.
#[derive(Debug, Subcommand)]
pub(crate) enum QuarantineCommand {
    /// List the days that are held back
    List(QuarantineList),
    /// Show the checks that hold a day back, their SQL and the rows they found
    Show(QuarantineShow),
    /// Publish a day after all
    Release(QuarantineRelease),
}

/// The arguments of `daymark quarantine list`.
#[derive(Debug, Args)]
pub(crate) struct QuarantineList {
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which day.
#[derive(Debug, Args)]
pub(crate) struct QuarantineDay {
    /// The data date (YYYY-MM-DD)
    #[arg(value_name = "DAY")]
    pub(crate) date: Date,
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// The source
    #[arg(long, value_name = "SOURCE")]
    pub(crate) source: String,
    /// One entity only; default: all that are held back
    #[arg(long, value_name = "ENTITY")]
    pub(crate) entity: Option<String>,
}

/// The arguments of `daymark quarantine show`.
#[derive(Debug, Args)]
pub(crate) struct QuarantineShow {
    #[command(flatten)]
    pub(crate) day: QuarantineDay,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `daymark quarantine release`.
#[derive(Debug, Args)]
pub(crate) struct QuarantineRelease {
    #[command(flatten)]
    pub(crate) day: QuarantineDay,
    /// Why it may be shown; kept with the verdict for good
    #[arg(long, value_name = "TEXT")]
    pub(crate) why: String,
    /// Print the result of the publish as JSON
    #[arg(long)]
    pub(crate) json: bool,
}
