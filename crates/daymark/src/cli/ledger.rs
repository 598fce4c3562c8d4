//! The arguments of the commands about the ledger: its days and its runs.
//!
//! In: arguments. Out: one struct per command. Deliberately absent: what the commands do.

use clap::{Args, Subcommand};
use daymark_plan::DayState;
use jiff::civil::Date;

use super::Folder;

/// The arguments of `daymark days`.
#[derive(Debug, Args)]
pub(crate) struct Days {
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// Of this source only
    #[arg(long, value_name = "SOURCE")]
    pub(crate) source: Option<String>,
    /// From this data date (YYYY-MM-DD) on; default: 30 days before the last, or with `--state` the
    /// first day of each source
    #[arg(long, value_name = "DATE")]
    pub(crate) from: Option<Date>,
    /// Up to this data date; default: today
    #[arg(long, value_name = "DATE")]
    pub(crate) to: Option<Date>,
    /// In this state only; may be given several times
    #[arg(long = "state", value_name = "STATE", value_parser = state)]
    pub(crate) states: Vec<DayState>,
    /// Print an array of days
    #[arg(long)]
    pub(crate) json: bool,
}

fn state(word: &str) -> Result<DayState, String> {
    DayState::parse(word).ok_or_else(|| {
        let words = DayState::ALL.map(DayState::as_str);
        format!("there is no such state; {}", daymark_plan::did_you_mean(word, words))
    })
}

/// The arguments of `daymark runs`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Runs {
    /// What to do; default: list them
    #[command(subcommand)]
    pub(crate) command: Option<RunsCommand>,
    #[command(flatten)]
    pub(crate) list: RunsList,
}

/// What to do with runs.
#[derive(Debug, Subcommand)]
pub(crate) enum RunsCommand {
    /// Show all that is kept of a run: steps, requests, log
    Show(RunsShow),
}

/// The arguments of `daymark runs`.
#[derive(Debug, Args)]
pub(crate) struct RunsList {
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// Only those that failed or were interrupted
    #[arg(long)]
    pub(crate) failed: bool,
    /// The newest so many
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) last: u32,
    /// Print an array of runs
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `daymark runs show`.
#[derive(Debug, Args)]
pub(crate) struct RunsShow {
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// The run: its id, the beginning or the end of it, or `last`
    #[arg(value_name = "RUN")]
    pub(crate) run: String,
    /// Print it as JSON
    #[arg(long)]
    pub(crate) json: bool,
}
