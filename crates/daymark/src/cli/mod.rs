//! The command line, and its help.
//!
//! In: arguments. Out: one struct per command, in the file of what it is about. Deliberately absent: what the
//! commands do.

mod alerts;
mod backfill;
mod backup;
mod checks;
mod dlq;
mod ledger;
mod pipeline;
mod raw;
mod schedule;
mod sources;
mod tables;
mod tests;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use alerts::{Alerts, AlertsList, AlertsMute, AlertsTest, AlertsUnmute};
pub(crate) use backfill::Backfill;
pub(crate) use backup::{Backup, Restore};
pub(crate) use checks::{
    Quarantine, QuarantineCommand, QuarantineDay, QuarantineRelease, Rejects, RejectsCommand,
    RejectsFilter,
};
pub(crate) use dlq::{Dlq, DlqCommand, DlqDay, DlqDiscard, DlqList, DlqRetry};
pub(crate) use ledger::{Days, Runs, RunsCommand, RunsList, RunsShow};
pub(crate) use pipeline::{Demo, Doctor, Init, Run, Status, Up, Validate};
pub(crate) use raw::{Raw, RawCommand, RawDiff, RawLs, RawShow, RawSync, RawVerify, RawVersions};
pub(crate) use schedule::{Pause, Resume, Schedule, ScheduleNext};
pub(crate) use sources::{Cursor, CursorCommand, CursorSet, CursorShow, Fetch, Infer, Preview};
pub(crate) use tables::{Drift, PlanArguments, Rebuild, Restatements, Sql, Why};
pub(crate) use tests::Test;

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
    /// How standard error is written: for people, or as one JSON object a line, each with the run and
    /// the source it is about
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "text",
        env = "DAYMARK_LOG_FORMAT"
    )]
    pub(crate) log_format: LogFormat,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How standard error is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
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
    /// line, what was found and what is accepted; the tests' files too. Nothing is fetched and no database
    /// is opened, so SQL is not judged, unless told `--database`: then an embedded PostgreSQL is started in
    /// a temporary folder, and the contracts, models, checks, marts and the pages' queries are tried in it.
    Validate(Validate),
    /// Run the pipeline's tests: given answers in, expected rows out
    ///
    /// Each tests/NAME.toml gives answers of sources, which go the way of a run (expectations, extraction,
    /// models, checks, publish) into an embedded database and a raw store of their own, and says what is to
    /// be found then. Nothing is asked, and the pipeline's own database and raw store are not opened. Exit
    /// code 1 when a test fails, 2 when a test's file cannot be understood.
    Test(Test),
    /// Fetch and publish once, now
    ///
    /// One run now: every source is fetched, its response is kept in the raw store, and its rows are
    /// published. It always fetches and publishes, on any day of the week and also when the day is
    /// published already. Sources are independent: one that fails does not stop the others, and the exit
    /// code is then 1. Responses that an earlier run left unpublished are published too.
    Run(Run),
    /// Fetch and publish days of the past
    ///
    /// Shows its plan first: which days, how many requests, how long at the sources' limits. Then it asks for the
    /// days, the oldest first, and publishes them in batches. A day that fails stops no other; the exit code is
    /// then 1. Ctrl-C ends it after the days in flight, and the same command goes on where it was, as it does
    /// after a crash. Limits and calendars are respected, and cursors stay where they are. A source whose request
    /// names no date answers as of now, and is refused; `--from-raw` publishes what the raw store has of it.
    Backfill(Backfill),
    /// Run the schedule and the dashboard until Ctrl-C
    ///
    /// The schedule and the dashboard in one process. Of the times missed while it was stopped, the latest is
    /// made up for (`missed` in `[schedule]` says otherwise). Several may run on one database: one keeps the
    /// schedule, another takes over within 30 seconds when it dies or hangs, and all serve the dashboard.
    /// Ctrl-C (or SIGTERM) stops it after the step in flight; a second Ctrl-C at once.
    Up(Up),
    /// Show the last days of every source and the next scheduled time
    ///
    /// The last days of every source with their states, why a day failed, and the next scheduled time.
    /// Works while `daymark up` runs.
    Status(Status),
    /// Show the days of the sources, each with its state
    ///
    /// Every day a source owes, from its `start` or its first fetch on, with its state, since when, why, and
    /// the run and the publish it belongs to. The states and what leads from one to the other are told in
    /// docs/ledger.md. Exit code 0 whatever the states are.
    Days(Days),
    /// Show the runs, or all that is kept of one
    ///
    /// Lists the newest runs with what came of them, or shows one: its steps (ingest and publish of each
    /// source), every request with its status, bytes and time, and what it said. A run that was killed is
    /// found and marked as interrupted when the next one starts.
    Runs(Runs),
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
    /// Show what sources changed about the shape of their responses
    ///
    /// Each response that is published is compared with those before it: paths that are new, that are missing
    /// though they were always there, and whose values are of another type. Each is told once, with the fetch
    /// that had it first and a value. `[schema]` in the source's file says which of them hold a day back.
    Drift(Drift),
    /// Make the tables anew from the raw store, or compare them with it
    ///
    /// Publishes what is new in the raw store, then folds all published fetches again in a schema of
    /// their own and applies the difference in one transaction: readers never see less. With --verify
    /// nothing is changed, and the exit code is 1 when a table is not what the raw store gives, or when
    /// fetches there were never published.
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
    /// Show what is wrong and who was told, mute it, and try the channels
    ///
    /// What is wrong is opened and closed by runs and by the clock, and told to the channels of `[[alerts]]` in
    /// daymark.toml, by `daymark up` and at the end of `daymark run`.
    #[command(subcommand)]
    Alerts(Alerts),
    /// Show the days that failed and were given up, and decide about them
    ///
    /// A day whose scheduled run failed is tried again by `daymark up` (`[days]` of its source). When its attempts
    /// or its time are used up it is given up, and waits here: `list` names such days and those that are still
    /// tried again, `show` every try. `retry` runs one now and takes it off when it is published; `discard` leaves
    /// it out for good, and keeps who did and why.
    Dlq(Dlq),
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
    /// Write what the raw store does not hold into a file: the ledger
    ///
    /// Everything in the curated tables comes from the raw store. What does not: runs and their steps, the days
    /// and their attempts, publishes, results of checks, rejects, restatements, and whatever else the ledger
    /// records. It is written as it is at one moment, while others go on; the file appears when all of it is on
    /// the disk. Its format is plain and described in docs/backup.md.
    Backup(Backup),
    /// Put a backup into a ledger that is empty
    ///
    /// In one transaction: all of it, or nothing. A backup of an older daymark is brought to this version, one
    /// of a newer is refused. Then `daymark rebuild` makes the curated tables from the raw store. A ledger that
    /// is not empty is left alone, unless told to --replace it.
    Restore(Restore),
    /// Show when a schedule fires
    #[command(subcommand)]
    Schedule(Schedule),
    /// Leave the schedule alone for a while: of one source, or of the whole pipeline
    ///
    /// Nothing is started by the schedule until `daymark resume`, or until the time that was given; runs that
    /// are going finish, and `daymark run` works as ever. A running `daymark up` sees it within seconds. What
    /// would have fired meanwhile is decided when the pause ends, by the schedule's `missed`: the latest is
    /// made up for (`last`), or each (`all`), or none.
    Pause(Pause),
    /// End a pause
    Resume(Resume),
}

/// Where the pipeline is.
#[derive(Debug, Args)]
pub(crate) struct Folder {
    /// The pipeline folder (the one that holds daymark.toml)
    #[arg(long = "pipeline", value_name = "DIR", default_value = ".", env = "DAYMARK_PIPELINE")]
    pub(crate) path: PathBuf,
}
