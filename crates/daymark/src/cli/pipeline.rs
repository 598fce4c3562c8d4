//! The arguments of the commands about the pipeline as a whole: make, check, run and watch it.
//!
//! In: arguments. Out: one struct per command. Deliberately absent: what the commands do.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use jiff::civil::Date;

use super::Folder;

/// The arguments of `daymark init`.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The folder to write into; it is made if it is not there
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
}

/// The arguments of `daymark validate`.
#[derive(Debug, Args)]
pub(crate) struct Validate {
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// Also have PostgreSQL judge all SQL, over an empty database of its own
    #[arg(long)]
    pub(crate) database: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `daymark run`.
#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// The data date to run for (YYYY-MM-DD); default: the one a scheduled run at this moment would
    /// have, per source. A source whose request names no date can only be asked about now, and is
    /// refused
    #[arg(long, value_name = "DATE")]
    pub(crate) date: Option<Date>,
    /// With `--date`: also ask sources whose API only answers as of now, and keep its answer as the
    /// answer for that day
    #[arg(long, requires = "date")]
    pub(crate) as_of_now: bool,
    /// Run this source only; may be given several times
    #[arg(long = "source", value_name = "SOURCE")]
    pub(crate) sources: Vec<String>,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `daymark up`.
#[derive(Debug, Args)]
pub(crate) struct Up {
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// Where the dashboard listens; default: `dashboard.listen` of daymark.toml. Port 0 takes any
    /// free port
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,
}

/// The arguments of `daymark status`.
#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// How many days to show
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=3660))]
    pub(crate) days: u16,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `daymark demo`.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Do all of it without serving the dashboard, print the summary and exit
    #[arg(long)]
    pub(crate) exit: bool,
    /// The folder to work in; it must be empty or not there, and is kept. Default: a temporary one
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// How many mornings to run
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=365))]
    pub(crate) days: u16,
    /// Where the dashboard listens. Port 0 takes any free port
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// Print the summary as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `daymark doctor`.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// Ask nothing of the network but the raw store and the database: leave the APIs alone
    #[arg(long)]
    pub(crate) offline: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}
