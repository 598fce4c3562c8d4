//! The arguments of `daymark backfill`.
//!
//! In: arguments. Out: a struct. Deliberately absent: what the command does.

use clap::Args;
use jiff::civil::Date;

use super::Folder;

/// The arguments of `daymark backfill`.
#[derive(Debug, Args)]
pub(crate) struct Backfill {
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// The first data date (YYYY-MM-DD)
    #[arg(long, value_name = "DATE")]
    pub(crate) from: Date,
    /// The last data date
    #[arg(long, value_name = "DATE")]
    pub(crate) to: Date,
    /// Of this source only; may be given several times
    #[arg(long = "source", value_name = "SOURCE")]
    pub(crate) sources: Vec<String>,
    #[command(flatten)]
    pub(crate) which: Which,
    /// Ask nobody: publish what the raw store has for these days
    #[arg(long)]
    pub(crate) from_raw: bool,
    /// So many days of a source are asked for at once, within its limits
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) parallel: u16,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which days of the range.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct Which {
    /// Days of which something was never received or published, and did not fail (default)
    #[arg(long)]
    pub(crate) missing_only: bool,
    /// Days that failed
    #[arg(long)]
    pub(crate) failed_only: bool,
    /// All days, those that are published or were discarded as well
    #[arg(long)]
    pub(crate) all: bool,
}
