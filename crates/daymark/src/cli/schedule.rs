//! The arguments of the commands about the schedule.
//!
//! In: arguments. Out: one struct per command. Deliberately absent: what the commands do.

use clap::{Args, Subcommand};

use super::Folder;

/// What to ask of a schedule.
#[derive(Debug, Subcommand)]
pub(crate) enum Schedule {
    /// Print the next fire times, and what is unusual about each
    ///
    /// Prints the next fire times of the pipeline, of one source, or of any expression (for which no
    /// pipeline folder is needed), in local time and in UTC, and the reason for anything unusual: a time
    /// that the clock skips or repeats, a day that is not of the source's calendar.
    Next(ScheduleNext),
}

/// The arguments of `daymark schedule next`.
#[derive(Debug, Args)]
pub(crate) struct ScheduleNext {
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// How many fire times to print
    #[arg(short = 'n', value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=10000))]
    pub(crate) count: u16,
    /// Fires strictly after this instant, such as 2027-03-13T00:00:00Z; default: now
    #[arg(long, value_name = "INSTANT")]
    pub(crate) from: Option<jiff::Timestamp>,
    /// An expression in place of the pipeline's, such as 'cron(0 8 * * ? *)', 'rate(6 hours)' or
    /// 'at(2027-03-14T08:00:00)'
    #[arg(long, requires = "timezone", conflicts_with = "source")]
    pub(crate) expression: Option<String>,
    /// The IANA zone of the expression
    #[arg(long, value_name = "ZONE", requires = "expression")]
    pub(crate) timezone: Option<String>,
    /// The schedule of this source; default: the pipeline's
    #[arg(long, value_name = "SOURCE")]
    pub(crate) source: Option<String>,
    /// Print an array of {"utc", "local", "note"}
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `daymark pause`.
#[derive(Debug, Args)]
pub(crate) struct Pause {
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// The source to pause; default: the whole pipeline
    #[arg(value_name = "SOURCE")]
    pub(crate) source: Option<String>,
    /// When it ends by itself: an instant such as 2027-01-04T13:00:00Z, or a date or time of the pipeline's
    /// zone such as 2027-01-04 or 2027-01-04T08:00; default: at `daymark resume`
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Why; `daymark status` and the fires that are skipped tell it
    #[arg(long, value_name = "REASON")]
    pub(crate) why: Option<String>,
}

/// The arguments of `daymark resume`.
#[derive(Debug, Args)]
pub(crate) struct Resume {
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// The source to resume; default: what was paused as a whole
    #[arg(value_name = "SOURCE")]
    pub(crate) source: Option<String>,
}
