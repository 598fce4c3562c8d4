//! The arguments of the commands about alerts.
//!
//! In: arguments. Out: one struct per command. Deliberately absent: what the commands do.

use clap::{Args, Subcommand};
use jiff::civil::Date;

use super::Folder;

/// What to do about alerts.
#[derive(Debug, Subcommand)]
pub(crate) enum Alerts {
    /// Show what is wrong, what is muted, and what could not be delivered
    List(AlertsList),
    /// Tell nobody about a source or some days for a while
    ///
    /// Alerts of what is muted are still opened and closed, and `alerts list` shows them; no channel is told.
    /// What is still open when the mute ends is told then. Without --source and dates everything is muted.
    Mute(AlertsMute),
    /// Take a mute back
    Unmute(AlertsUnmute),
    /// Send a test message to a channel now, and show what came back
    Test(AlertsTest),
}

/// The arguments of `daymark alerts list`.
#[derive(Debug, Args)]
pub(crate) struct AlertsList {
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `daymark alerts mute`.
#[derive(Debug, Args)]
pub(crate) struct AlertsMute {
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// This source only
    #[arg(long, value_name = "SOURCE")]
    pub(crate) source: Option<String>,
    /// Data dates (YYYY-MM-DD) from this one on only
    #[arg(long, value_name = "DATE")]
    pub(crate) from: Option<Date>,
    /// Data dates (YYYY-MM-DD) up to this one only
    #[arg(long, value_name = "DATE")]
    pub(crate) to: Option<Date>,
    /// Until this time: an instant such as 2027-03-13T08:00:00Z, or a date or time in the pipeline's zone;
    /// default: until it is taken back
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Why; shown in `alerts list`
    #[arg(long, value_name = "TEXT")]
    pub(crate) why: String,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `daymark alerts unmute`.
#[derive(Debug, Args)]
pub(crate) struct AlertsUnmute {
    /// The mute's number, as `alerts list` shows it
    #[arg(value_name = "NUMBER", required_unless_present = "all")]
    pub(crate) id: Option<i64>,
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// Take all mutes back
    #[arg(long, conflicts_with = "id")]
    pub(crate) all: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `daymark alerts test`.
#[derive(Debug, Args)]
pub(crate) struct AlertsTest {
    /// The channel's `name` in daymark.toml
    #[arg(value_name = "CHANNEL")]
    pub(crate) channel: String,
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}
