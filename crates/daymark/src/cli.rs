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
    /// Show what sources changed of what they had said before
    ///
    /// Every final value that a source changed after it was published, every row it took back and every
    /// row that returned, with the old and the new value and the manifests of both fetches. What is not
    /// final yet (`settled` of the model) is not told.
    Restatements(Restatements),
    /// Make the tables anew from the raw store, or compare them with it
    ///
    /// Publishes what is new in the raw store, then folds all published fetches again in a schema of
    /// their own and applies the difference in one transaction: readers never see less. With --verify
    /// nothing is changed, and the exit code is 1 when a table is not what the raw store gives.
    Rebuild(Rebuild),
    /// Show what the contracts would change in the database, and change it with --apply
    ///
    /// Compares the models' contracts with the tables as PostgreSQL has them, and prints the DDL, the rows
    /// it touches and what it needs. New nullable columns, new indexes, wider types, dropped `not null` and
    /// comments are made by the next run; everything else needs `--apply`, and what loses values
    /// `--allow-data-loss` too. A table that daymark did not make is never touched.
    Plan(PlanArguments),
    /// Tell where a published row came from, down to the bytes the API sent
    ///
    /// Walks the way back from a row of a curated table: the publish that wrote it (when, by which run and
    /// program, from which files), the fetch that said it (request, status, attempts), the archived response
    /// (its bytes are hashed again and compared), and for each value the place in that response it was
    /// taken from. Then what readers had been shown before.
    Why(Why),
    /// Show the rows that were set aside, and why
    ///
    /// A row that does not fit the types of its source is set aside by extraction, one that a `reject` check
    /// finds by the publish; the rest is published. `list` counts them by day, `show` shows the newest,
    /// `export` writes all. Of extraction's each fetch keeps the first hundred, and counts all.
    Rejects(Rejects),
    /// Show the days that a check holds back, and release them
    ///
    /// A fetch in which a `block` check finds rows is not published: its day is quarantined. `list` names
    /// the days, `show` the rows and the SQL that found them. `release` publishes such a day after all; who
    /// did it and why is kept in the raw store beside the fetch, and a rebuild obeys it.
    Quarantine(Quarantine),
    /// Run the reference pipeline on generated data, without a network, and show its dashboard
    ///
    /// Writes the reference pipeline into a folder, starts a small API on a loopback port that answers
    /// like Open-Meteo and the Yahoo chart API with generated numbers, runs the pipeline for the last 60
    /// mornings, and shows the dashboard. One of the mornings finds the API broken and another gets an
    /// error in place of data, so that the ledger has something to tell.
    Demo(Demo),
    /// Ask a source once and show what came of it; nothing is stored
    ///
    /// The first look at a source, while its file is being written. One request is sent, and nothing is
    /// stored: what was asked (secrets are ***), status, timing and headers, the shape of the answer as
    /// paths that can be copied into the file, every expectation with what was found, the first rows as
    /// they would be stored, the rows that would be set aside and why, the next page and the cursor.
    /// All of it is shown of an answer that would be refused as well; the exit code is then 1.
    Preview(Preview),
    /// Fetch a source into the raw store, without a database
    ///
    /// The first half of a run: the source is asked, and the answer is kept in the raw store with its
    /// manifest, accepted or refused. No database is opened; the next run publishes what was accepted.
    /// The exit code is 1 when anything was refused.
    Fetch(Fetch),
    /// Look into the raw store: list, show, compare, verify and copy what was received
    ///
    /// Every answer that any source ever gave is in the raw store, with a manifest that says how it was
    /// asked for and what became of it. These commands look into it, on a folder (`file:`) as in a
    /// bucket (`s3://`). None needs a database, and none but `sync` writes.
    Raw(Raw),
    /// Show or set how far an incremental source has been read
    ///
    /// An incremental source is asked for what is new since its cursor, which stands in the manifest of
    /// the fetch that moved it. `show` says where it is and why; `set` puts it elsewhere.
    Cursor(Cursor),
    /// Show when a schedule fires
    #[command(subcommand)]
    Schedule(Schedule),
}

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

/// The arguments of `daymark preview`.
#[derive(Debug, Args)]
pub(crate) struct Preview {
    /// The source
    #[arg(value_name = "SOURCE")]
    pub(crate) source: String,
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// The data date to ask for (YYYY-MM-DD); default: the one a run now would have
    #[arg(long, value_name = "DATE")]
    pub(crate) date: Option<Date>,
    /// The entity to ask about; default: the first one
    #[arg(long, value_name = "ENTITY")]
    pub(crate) entity: Option<String>,
    /// The page to look at; those before it are asked for on the way
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) page: u32,
    /// How many rows to show
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub(crate) rows: u16,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `daymark fetch`.
#[derive(Debug, Args)]
pub(crate) struct Fetch {
    /// The source
    #[arg(value_name = "SOURCE")]
    pub(crate) source: String,
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// The data date to fetch (YYYY-MM-DD); default: the one a run now would have. Another day can
    /// only be asked of a source whose request names the day
    #[arg(long, value_name = "DATE")]
    pub(crate) date: Option<Date>,
    /// Fetch this entity only; may be given several times
    #[arg(long = "entity", value_name = "ENTITY")]
    pub(crate) entities: Vec<String>,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `daymark raw`.
#[derive(Debug, Args)]
pub(crate) struct Raw {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: RawCommand,
}

/// What to do with the raw store.
#[derive(Debug, Subcommand)]
pub(crate) enum RawCommand {
    /// List what was fetched, the newest last
    ///
    /// One line per fetch: when, for which day, whether it was accepted and why not, its size and rows.
    /// `=` marks a fetch whose rows equal those of the one before.
    Ls(RawLs),
    /// Write a body to standard output exactly as it was received, or a manifest
    ///
    /// The body is checked against the SHA-256 of its manifest and written byte for byte. Of a source and
    /// a date it is the latest accepted fetch's, or the latest refused one's when there is no other.
    Show(RawShow),
    /// Show all fetches of a day: which changed, and which one is current
    Versions(RawVersions),
    /// Show what differs between two fetches
    ///
    /// JSON is compared by path: members by name, parallel arrays by the times beside them, records by
    /// their id or date. CSV is compared by line. Values that APIs fill anew for every answer, such as
    /// `generationtime_ms`, come last. The exit code is 0, whether or not anything differs.
    Diff(RawDiff),
    /// Hash everything again and compare with the manifests
    ///
    /// Reads every archived object and compares it with its manifest's SHA-256: what is missing or
    /// damaged makes the exit code 1. Objects that no manifest names (a fetch that was killed leaves them)
    /// and raw objects that are not the latest accepted ones are told as well.
    Verify(RawVerify),
    /// Copy a raw layer from one store to another
    ///
    /// Copies everything that TO lacks, manifests last, so that whoever reads TO never finds a manifest
    /// without its objects. Started again it goes on where it was. Nothing is deleted. A store is
    /// `file:DIR`, `s3://BUCKET/PREFIX`, or `pipeline` for the pipeline's own; region, endpoint and the
    /// like of a bucket come from `DAYMARK_RAW_*` or the pipeline's `[raw]`.
    Sync(RawSync),
}

/// The arguments of `daymark raw ls`.
#[derive(Debug, Args)]
pub(crate) struct RawLs {
    /// The source; default: all of the pipeline's. One that the folder has no more can be named, too
    #[arg(value_name = "SOURCE")]
    pub(crate) source: Option<String>,
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// Fetches for this data date only
    #[arg(long, value_name = "DATE", conflicts_with_all = ["from", "to"])]
    pub(crate) date: Option<Date>,
    /// Fetches for this data date and later ones
    #[arg(long, value_name = "DATE")]
    pub(crate) from: Option<Date>,
    /// Fetches for this data date and earlier ones
    #[arg(long, value_name = "DATE")]
    pub(crate) to: Option<Date>,
    /// Fetches of this entity only
    #[arg(long, value_name = "ENTITY")]
    pub(crate) entity: Option<String>,
    /// Refused fetches only
    #[arg(long)]
    pub(crate) refused: bool,
    /// The newest so many; 0 for all. Default: 50, or all when a date is given
    #[arg(long, value_name = "N")]
    pub(crate) last: Option<usize>,
    /// Print the manifests as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `daymark raw show`.
#[derive(Debug, Args)]
pub(crate) struct RawShow {
    /// A key of the raw store, the id of a fetch, or a source (with --date)
    #[arg(value_name = "KEY|FETCH_ID|SOURCE")]
    pub(crate) what: String,
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// The data date of a source
    #[arg(long, value_name = "DATE")]
    pub(crate) date: Option<Date>,
    /// The entity of a source
    #[arg(long, value_name = "ENTITY")]
    pub(crate) entity: Option<String>,
    /// The page, from 1; needed when a fetch has several
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) page: Option<u32>,
    /// Write the manifest instead of the body
    #[arg(long, visible_alias = "json", conflicts_with = "page")]
    pub(crate) manifest: bool,
}

/// The arguments of `daymark raw versions`.
#[derive(Debug, Args)]
pub(crate) struct RawVersions {
    /// The source
    #[arg(value_name = "SOURCE")]
    pub(crate) source: String,
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// The data date
    #[arg(long, value_name = "DATE")]
    pub(crate) date: Date,
    /// One entity only
    #[arg(long, value_name = "ENTITY")]
    pub(crate) entity: Option<String>,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `daymark raw diff`.
#[derive(Debug, Args)]
pub(crate) struct RawDiff {
    /// The older one: a key or the id of a fetch; or a source (with --date), whose last two versions of
    /// that day are then compared
    #[arg(value_name = "A|SOURCE")]
    pub(crate) before: String,
    /// The newer one: a key or the id of a fetch
    #[arg(value_name = "B", conflicts_with_all = ["date", "entity"])]
    pub(crate) after: Option<String>,
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// The data date of a source
    #[arg(long, value_name = "DATE")]
    pub(crate) date: Option<Date>,
    /// The entity of a source
    #[arg(long, value_name = "ENTITY")]
    pub(crate) entity: Option<String>,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `daymark raw verify`.
#[derive(Debug, Args)]
pub(crate) struct RawVerify {
    /// The source; default: everything in the store
    #[arg(value_name = "SOURCE")]
    pub(crate) source: Option<String>,
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `daymark raw sync`.
#[derive(Debug, Args)]
pub(crate) struct RawSync {
    /// The store to copy from
    #[arg(value_name = "FROM")]
    pub(crate) from: String,
    /// The store to copy to
    #[arg(value_name = "TO")]
    pub(crate) to: String,
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `daymark cursor`.
#[derive(Debug, Args)]
pub(crate) struct Cursor {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: CursorCommand,
}

/// What to do with cursors.
#[derive(Debug, Subcommand)]
pub(crate) enum CursorCommand {
    /// Show where cursors stand and who put them there
    Show(CursorShow),
    /// Put a cursor elsewhere, with the reason
    ///
    /// The next fetch asks from VALUE on (less the source's `lag`). The value is checked against the
    /// cursor's type and kept in the raw store with the reason and the time; it counts until a fetch
    /// moves the cursor on from it.
    Set(CursorSet),
}

/// The arguments of `daymark cursor show`.
#[derive(Debug, Args)]
pub(crate) struct CursorShow {
    /// The source; default: all incremental ones
    #[arg(value_name = "SOURCE")]
    pub(crate) source: Option<String>,
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// One entity only
    #[arg(long, value_name = "ENTITY", requires = "source")]
    pub(crate) entity: Option<String>,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `daymark cursor set`.
#[derive(Debug, Args)]
pub(crate) struct CursorSet {
    /// The source
    #[arg(value_name = "SOURCE")]
    pub(crate) source: String,
    /// Where to put the cursor, as the source's `incremental.type` has it
    #[arg(value_name = "VALUE", allow_hyphen_values = true)]
    pub(crate) value: String,
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// Why; kept beside the cursor and shown by `daymark cursor show`
    #[arg(long, value_name = "TEXT")]
    pub(crate) why: String,
    /// The entity; needed for a source that has entities
    #[arg(long, value_name = "ENTITY")]
    pub(crate) entity: Option<String>,
    /// Print the result as JSON
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
    /// Ask the checks that look beyond a fetch again, instead of obeying their verdicts
    #[arg(long)]
    pub(crate) recheck: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

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
