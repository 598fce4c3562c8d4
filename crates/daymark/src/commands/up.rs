//! `daymark up`: schedule, ingest, publish and dashboard in one process.
//!
//! In: a folder. Out: runs at the scheduled times and a dashboard, until Ctrl-C or SIGTERM: the runs
//! in flight finish; a second signal stops at once. Several may run on one database: one keeps the schedule,
//! the others stand by, and all serve the dashboard. Here is the waiting. Deliberately absent: what is due and
//! who leads (`schedule`).

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use daymark_plan::{Clock, Plan, one_line};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use crate::alerts;
use crate::cli::Up;
use crate::commands;
use crate::failure::Failure;
use crate::lifecycle::{self, Ended};
use crate::output;
use crate::run::Runner;
use crate::schedule::{self, Scheduler, Step, Turn};

/// Runs until it is stopped.
pub(crate) async fn up(arguments: &Up) -> Result<ExitCode, Failure> {
    let plan = commands::load(&arguments.folder)?;
    let clock = Clock::System;
    let listener =
        lifecycle::listen(arguments.listen.unwrap_or(plan.settings.dashboard.listen)).await?;
    let (bell, ear) = alerts::bell();
    let runner = Arc::new(Runner::new(Arc::clone(&plan), clock.clone()).ringing(bell));
    let mut scheduler = Scheduler::new(Arc::clone(&plan), Arc::clone(&runner), clock.clone());
    let dashboard = lifecycle::dashboard(&plan, &runner, clock.clone(), false).await?;
    let work = async |stop: CancellationToken| {
        let serving = lifecycle::serve(listener, dashboard, stop.clone());
        // A schedule that cannot be kept ends the dashboard as well: a process that looks alive and does
        // nothing would be silence.
        let over = CancellationToken::new();
        let watching = alerts::keep_watch(&plan, &runner, &clock, ear, &over);
        let scheduling = async {
            let kept = keep_schedule(&plan, &mut scheduler, &clock, &stop).await;
            over.cancel();
            kept
        };
        let done = tokio::try_join!(serving, scheduling, watching);
        // Guests of the embedded database finish what they are at; that can be given up as well.
        runner.close().await;
        done.map(|((), (), ())| ())
    };
    let done = Box::pin(lifecycle::until_stopped(work)).await;
    if let Ok(Ended::AtOnce) = done {
        lifecycle::exit_at_once();
    }
    done.map(|_| ExitCode::SUCCESS)
}

/// Keeps the schedule, or stands by while another process does.
async fn keep_schedule(
    plan: &Plan,
    scheduler: &mut Scheduler,
    clock: &Clock,
    ending: &CancellationToken,
) -> Result<(), Failure> {
    let mut runs = FuturesUnordered::new();
    let mut failed = 0_u32;
    loop {
        let stops = ending.is_cancelled();
        if stops && runs.is_empty() {
            break;
        }
        // Runs go on while the step waits for the database: on the embedded one they hold what it waits for.
        let mut ended = Vec::new();
        let stands_by = !scheduler.leads() && runs.is_empty();
        let step = {
            let step = scheduler.step(stops);
            tokio::pin!(step);
            loop {
                tokio::select! {
                    step = &mut step => break step,
                    Some(run) = runs.next() => ended.push(run),
                    () = ending.cancelled(), if stands_by => return Ok(()),
                }
            }
        };
        for run in ended {
            tell_end(scheduler, &run)?;
        }
        let step = match step {
            Ok(step) => {
                failed = 0;
                step
            }
            Err(error) if error.may_pass() => {
                // One may be a connection that ended, or the process that served the embedded database.
                failed = failed.saturating_add(1);
                if failed == 2 {
                    let words = one_line(&error);
                    tracing::warn!("the schedule waits for the database: {words}");
                }
                Step::default()
            }
            // A schedule that cannot be kept is no reason to go on as if nothing were wrong.
            Err(error) => return Err(error.into()),
        };
        if let Some(turn) = &step.turn {
            // Whatever is going was claimed under an earlier leadership.
            runs.clear();
            tell_turn(plan, scheduler, turn)?;
        }
        for scheduled in step.started {
            runs.push(scheduler.run(scheduled));
        }
        let until_next = step
            .next
            .map(|next| Duration::try_from(clock.now().duration_until(next)).unwrap_or_default());
        let wait = until_next.map_or(scheduler.beat(), |next| next.min(scheduler.beat()));
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            Some(run) = runs.next() => tell_end(scheduler, &run)?,
            () = ending.cancelled(), if !stops => {}
        }
    }
    if let Err(error) = scheduler.give_up().await {
        tracing::warn!("the lease was not given up, and lapses by itself: {}", one_line(&error));
    }
    Ok(())
}

/// Takes note of a run that ended, and says what came of it.
fn tell_end(scheduler: &mut Scheduler, run: &schedule::Ended) -> Result<(), Failure> {
    scheduler.ended(run);
    match &run.result {
        Ok(report) => output::to_stdout(&report.text()),
        // Likely the database is away. What was fetched is kept.
        Err(failure) => {
            failure.report();
            Ok(())
        }
    }
}

/// Says who keeps the schedule.
fn tell_turn(plan: &Plan, scheduler: &Scheduler, turn: &Turn) -> Result<(), Failure> {
    let text = match turn {
        Turn::Leads(None) => "scheduler: this process keeps the schedule\n".to_owned(),
        Turn::Leads(Some(before)) => {
            let how = match before.stopped_at {
                Some(at) => format!("which gave it up at {}", output::exactly(plan, at)),
                None => format!("last seen at {}", output::exactly(plan, before.seen_at)),
            };
            format!(
                "scheduler: this process takes the schedule over from {}, {how}\n",
                before.process()
            )
        }
        Turn::Follows(leader) => {
            format!("scheduler: {} keeps the schedule; this process stands by\n", leader.process())
        }
        Turn::Lost(leader) => {
            output::to_stderr(&format!(
                "scheduler: this process gave no sign of life for too long, and {} keeps the schedule now; \
                 runs that were in flight are left to it, and this process stands by\n",
                leader.process()
            ));
            return Ok(());
        }
    };
    output::to_stdout(&text)?;
    match scheduler.next_fire().filter(|_| scheduler.leads()) {
        Some(next) => output::to_stdout(&format!("next run: {}\n", output::exactly(plan, next))),
        None => Ok(()),
    }
}
