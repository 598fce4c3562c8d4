//! `daymark up`: schedule, ingest, publish and dashboard in one process.
//!
//! In: a folder. Out: runs at the scheduled times and a dashboard, until Ctrl-C or SIGTERM: the step
//! in flight finishes; a second signal stops at once. Deliberately absent: leadership between several
//! processes (a later issue).

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use daymark_plan::{Clock, Plan};
use tokio_util::sync::CancellationToken;

use crate::cli::Up;
use crate::commands;
use crate::failure::Failure;
use crate::lifecycle::{self, Ended};
use crate::output;
use crate::run::Runner;
use crate::schedule::Scheduler;

/// The longest sleep: a machine that was suspended, or whose clock was set, is late by no more.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// Runs until it is stopped.
pub(crate) async fn up(arguments: &Up) -> Result<ExitCode, Failure> {
    let plan = commands::load(&arguments.folder)?;
    let clock = Clock::System;
    let listener =
        lifecycle::listen(arguments.listen.unwrap_or(plan.settings.dashboard.listen)).await?;
    let runner = Runner::new(Arc::clone(&plan), clock.clone());
    let dashboard = lifecycle::dashboard(&plan, &runner, clock.clone(), false).await?;
    let work = async |stop: CancellationToken| {
        let serving = lifecycle::serve(listener, dashboard, stop.clone());
        // A schedule that cannot be kept ends the dashboard as well: a process that looks alive and does
        // nothing would be silence.
        let done = tokio::try_join!(serving, keep_schedule(&plan, &runner, &clock, &stop));
        // Guests of the embedded database finish what they are at; that can be given up as well.
        runner.close().await;
        done.map(|((), ())| ())
    };
    let done = lifecycle::until_stopped(work).await;
    if let Ok(Ended::AtOnce) = done {
        lifecycle::exit_at_once();
    }
    done.map(|_| ExitCode::SUCCESS)
}

/// Runs at every scheduled time, the sources whose time it is.
async fn keep_schedule(
    plan: &Plan,
    runner: &Runner,
    clock: &Clock,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let mut scheduler = Scheduler::open(plan, runner, clock).await?;
    if let Some(next) = plan.next_fire(clock.now()) {
        let local =
            next.to_zoned(plan.settings.zone.clone()).strftime("%Y-%m-%d %H:%M %Z").to_string();
        output::to_stdout(&format!("next run: {local}\n"))?;
    }
    while !stop.is_cancelled() {
        if let Some(report) = scheduler.turn().await {
            output::to_stdout(&report.text())?;
        }
        tokio::select! {
            () = tokio::time::sleep(scheduler.wait().min(LONGEST_SLEEP)) => {}
            () = stop.cancelled() => {}
        }
    }
    Ok(())
}
