//! `daymark up`: schedule, ingest, publish and dashboard in one process.
//!
//! In: a folder. Out: runs at the scheduled times and a dashboard, until Ctrl-C or SIGTERM: the step
//! in flight finishes; a second signal stops at once. Deliberately absent: leadership between several
//! processes (a later issue).

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use daymark_ingest::Reach;
use daymark_plan::{Clock, Plan};
use daymark_warehouse::ledger::{self, RunKind};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::cli::Up;
use crate::commands;
use crate::failure::Failure;
use crate::lifecycle::{self, Ended};
use crate::output;
use crate::run::{Order, Progress, Runner};
use crate::schedule::{self, Missed};

/// The longest sleep: a machine that was suspended, or whose clock was set, is late by no more.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// How long after a run that failed as a whole it is tried again; twice as long each time.
const FIRST_AGAIN: Duration = Duration::from_mins(1);
/// The longest of these waits.
const LAST_AGAIN: Duration = Duration::from_mins(30);

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

/// Runs at every scheduled time, the sources whose time it is. What was missed while nothing ran becomes one catch-up run.
async fn keep_schedule(
    plan: &Plan,
    runner: &Runner,
    clock: &Clock,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let mut last = first_mark(runner, clock.now()).await?;
    if let Some(next) = plan.next_fire(clock.now()) {
        let local =
            next.to_zoned(plan.settings.zone.clone()).strftime("%Y-%m-%d %H:%M %Z").to_string();
        output::to_stdout(&format!("next run: {local}\n"))?;
    }
    let started = clock.now();
    let mut again = None;
    while !stop.is_cancelled() {
        let now = clock.now();
        let missed = schedule::missed(plan, last, now);
        if let Some(Missed { fire, sources, .. }) = missed.filter(|missed| missed.starts <= now) {
            let days = runner.days_at(fire, sources);
            let kind = if fire < started { RunKind::CatchUp } else { RunKind::Scheduled };
            let order = Order { kind, scheduled_at: Some(fire), days, reach: Reach::Forward };
            let progress = Progress::Lines;
            match runner.execute(&order, &|event| progress.show(&event)).await {
                Ok(report) => {
                    output::to_stdout(&report.text())?;
                    (last, again) = (fire, None);
                }
                // The run as a whole failed: likely the database is away. What was fetched is kept.
                Err(failure) => {
                    failure.report();
                    again = Some(
                        again.map_or(FIRST_AGAIN, |wait: Duration| (wait * 2).min(LAST_AGAIN)),
                    );
                }
            }
        }
        let next = schedule::missed(plan, last, clock.now())
            .map(|missed| missed.starts)
            .or_else(|| plan.next_fire(last));
        let wait = match (again, next) {
            (Some(again), _) => again,
            (None, Some(next)) => Duration::try_from(clock.now().duration_until(next))
                .unwrap_or_default()
                .min(LONGEST_SLEEP),
            (None, None) => LONGEST_SLEEP,
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => {}
        }
    }
    Ok(())
}

/// The fire to go on from; a pipeline that never ran owes nothing from before.
async fn first_mark(runner: &Runner, now: Timestamp) -> Result<Timestamp, Failure> {
    let mut session = runner.warehouse().await?.session("reading the schedule").await?;
    if let Some(last) = ledger::last_fired(&mut session).await? {
        return Ok(last);
    }
    ledger::set_last_fired(&mut session, now).await?;
    Ok(now)
}
