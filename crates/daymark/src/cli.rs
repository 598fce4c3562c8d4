//! The command line, and its help.
//!
//! In: arguments. Out: one struct per command. Deliberately absent: what the commands do.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use jiff::civil::Date;

/// Runs a daily data pipeline and keeps a ledger of its days.
///
/// A pipeline is a folder of text files: sources (REST APIs), models and marts (SQL), dashboards
/// (Markdown). Every morning daymark fetches the sources, keeps every response, turns them into rows,
/// and publishes them to PostgreSQL in one transaction. Start with `daymark demo`, or with
/// `daymark init DIR` and then `daymark run --pipeline DIR`.
///
/// Exit codes: 0 done; 1 the run failed; 2 bad usage or a bad pipeline folder.
#[derive(Debug, Parser)]
#[command(name = "daymark", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// Log what happens inside, to standard error (twice: in detail). `RUST_LOG` overrides it.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write the reference pipeline (weather and the S&P 500) into a new folder
    ///
    /// Writes the reference pipeline: daymark.toml, sources/, models/, marts/ and dashboards/. Its state
    /// (embedded database, raw responses) will live in DIR/.daymark/. A folder that is not empty is
    /// refused.
    Init(Init),
    /// Check a pipeline folder and report all of its problems
    ///
    /// Reads every file of the pipeline folder and reports ALL problems at once, each with its file and
    /// line, what was found and what is accepted. Nothing is fetched and no database is opened, so
    /// SQL is not judged here: PostgreSQL does that at the next run, with file and line.
    Validate(Validate),
    /// Fetch and publish once, now
    ///
    /// One run now: every source is fetched, its response is kept in the raw store, and its rows are
    /// published. It always fetches and publishes, on any day of the week and also when the day is
    /// published already. Sources are independent: one that fails does not stop the others, and the exit
    /// code is then 1. Responses that an earlier run left unpublished are published too.
    Run(Run),
    /// Run the schedule and the dashboard until Ctrl-C
    ///
    /// The schedule and the dashboard in one process. Times missed while it was stopped become one
    /// catch-up run. Ctrl-C (or SIGTERM) stops it after the step in flight; a second Ctrl-C at once.
    Up(Up),
    /// Show the last days of every source and the next scheduled time
    ///
    /// The last days of every source with their states, why a day failed, and the next scheduled time.
    /// Works while `daymark up` runs.
    Status(Status),
    /// Ask the warehouse a read-only question
    ///
    /// Runs one query in a read-only transaction, on the curated tables, the marts and the ledger
    /// (schema `daymark`). Works while `daymark up` runs.
    Sql(Sql),
    /// Run the reference pipeline on generated data, without a network, and show its dashboard
    ///
    /// Writes the reference pipeline into a folder, starts a small API on a loopback port that answers
    /// like Open-Meteo and the Yahoo chart API with generated numbers, runs the pipeline for the last 60
    /// mornings, and shows the dashboard. One of the mornings finds the API broken and another gets an
    /// error in place of data, so that the ledger has something to tell.
    Demo(Demo),
    /// Find out what is wrong with this machine, and what to do
    ///
    /// Tries everything a run needs: the pipeline folder, the clock (against the APIs' and the bucket's),
    /// zone data, the raw store (writes, reads and lists an object of its own), credentials, the sources'
    /// secrets, the database, disk space and the dashboard's port. Each line is OK, WARN or FAIL with what to
    /// do; what is broken does not keep the rest from being looked at. Exit code 1 when a line is FAIL.
    /// Nothing is fetched or published; secrets are not shown.
    Doctor(Doctor),
    /// Write a first `[rows]` section from recorded responses
    ///
    /// Reads responses of one source, as `curl` saves them, and prints `[expect]` and `[rows]` for
    /// sources/ID.toml: the layout, the place of the rows, and fields with types that every value of every
    /// file fits. Give several files, errors among them: what some lack becomes optional, and what tells
    /// errors from data becomes `expect.absent`. The result reads the very files without setting a row
    /// aside; a remark names each that it does not read.
    Infer(Infer),
}

/// Where the pipeline is.
#[derive(Debug, Args)]
pub(crate) struct Folder {
    /// The pipeline folder (the one that holds daymark.toml)
    #[arg(long = "pipeline", value_name = "DIR", default_value = ".", env = "DAYMARK_PIPELINE")]
    pub(crate) path: PathBuf,
}

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
    /// have, per source. The request is the same for every date: what the API answers now is kept
    /// as the answer for this day
    #[arg(long, value_name = "DATE")]
    pub(crate) date: Option<Date>,
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

/// The arguments of `daymark infer`.
#[derive(Debug, Args)]
pub(crate) struct Infer {
    /// Recorded responses of one source; `-` reads standard input
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// The source's id; default: made from the first file's name. With it the file's first line is printed
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    /// The source's address. With it `[request]` is printed
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Print a first models/ID.sql instead: the fields as they are, with the key they seem to have
    #[arg(long)]
    pub(crate) model: bool,
}
