//! **daymark** runs a daily data pipeline and keeps a ledger of its days.
//!
//! In: a command line. Out: an exit code: 0 done, 1 the run failed, 2 bad usage or a bad pipeline
//! folder. This crate is the only one that knows all the others; `run/execute.rs` is the product on
//! one screen. Deliberately absent: any stage's own work.

mod alerts;
mod backfill;
mod cli;
mod commands;
mod demo;
mod failure;
mod lifecycle;
mod log;
mod machine;
mod model_tests;
mod output;
mod run;
mod schedule;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::failure::Failure;

fn main() -> ExitCode {
    let cli = Cli::parse();
    log::start(cli.verbose, cli.log_format);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(cause) => return Failure::from(anyhow::Error::new(cause)).report(),
    };
    let done = runtime.block_on(dispatch(cli));
    // A blocking thread may still hold the embedded server's listener; it must not keep us here.
    runtime.shutdown_background();
    match done {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

async fn dispatch(cli: Cli) -> Result<ExitCode, Failure> {
    match cli.command {
        Command::Init(arguments) => commands::init::init(&arguments),
        Command::Validate(arguments) => commands::validate::validate(&arguments).await,
        Command::Test(arguments) => commands::test::test(&arguments).await,
        Command::Run(arguments) => commands::run::run(&arguments).await,
        Command::Backfill(arguments) => commands::backfill::backfill(&arguments).await,
        Command::Up(arguments) => commands::up::up(&arguments).await,
        Command::Status(arguments) => commands::status::status(&arguments).await,
        Command::Days(arguments) => commands::days::days(&arguments).await,
        Command::Runs(arguments) => commands::runs::runs(&arguments).await,
        Command::Sql(arguments) => commands::sql::sql(&arguments).await,
        Command::Restatements(arguments) => commands::restatements::restatements(&arguments).await,
        Command::Drift(arguments) => commands::drift::drift(&arguments).await,
        Command::Rebuild(arguments) => commands::rebuild::rebuild(&arguments).await,
        Command::Why(arguments) => commands::why::why(&arguments).await,
        Command::Rejects(arguments) => commands::rejects::rejects(&arguments.command).await,
        Command::Quarantine(arguments) => {
            commands::quarantine::quarantine(&arguments.command).await
        }
        Command::Dlq(arguments) => commands::dlq::dlq(&arguments.command).await,
        Command::Demo(arguments) => commands::demo::demo(&arguments).await,
        Command::Preview(arguments) => commands::preview::preview(&arguments).await,
        Command::Fetch(arguments) => commands::fetch::fetch(&arguments).await,
        Command::Raw(arguments) => commands::raw::raw(&arguments.command).await,
        Command::Cursor(arguments) => commands::cursor::cursor(&arguments.command).await,
        Command::Doctor(arguments) => commands::doctor::doctor(&arguments).await,
        Command::Infer(arguments) => commands::infer::infer(&arguments),
        Command::Backup(arguments) => commands::backup::backup(&arguments).await,
        Command::Restore(arguments) => commands::backup::restore(&arguments).await,
        Command::Schedule(cli::Schedule::Next(arguments)) => commands::schedule::next(&arguments),
        Command::Pause(arguments) => commands::pause::pause(&arguments).await,
        Command::Resume(arguments) => commands::pause::resume(&arguments).await,
        Command::Plan(arguments) => commands::plan::plan(&arguments).await,
        Command::Alerts(command) => commands::alerts::alerts(&command).await,
    }
}
