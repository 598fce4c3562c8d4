//! `daymark up`: schedule, ingest, publish and dashboard in one process.
//!
//! In: a folder. Out: runs at the scheduled times and a dashboard, until Ctrl-C or SIGTERM: the step
//! in flight finishes; a second signal stops at once. Deliberately absent: leadership between several
//! processes (a later issue).

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use daymark_plan::{Clock, Plan};
use daymark_warehouse::ledger::{self, RunKind};
use daymark_web::Dashboard;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cli::Up;
use crate::commands;
use crate::failure::Failure;
use crate::output;
use crate::run::{Order, Progress, Runner};
use crate::schedule;

/// The longest sleep: a machine that was suspended, or whose clock was set, is late by no more.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// How long after a run that failed as a whole it is tried again; twice as long each time.
const FIRST_AGAIN: Duration = Duration::from_mins(1);
/// The longest of these waits.
const LAST_AGAIN: Duration = Duration::from_mins(30);
/// How long open requests may take when the dashboard stops.
const DRAIN: Duration = Duration::from_secs(5);
/// The exit code after a second Ctrl-C: 128 + SIGINT, as shells have it.
const STOPPED_AT_ONCE: i32 = 130;

/// Runs until it is stopped.
pub(crate) async fn up(arguments: &Up) -> Result<ExitCode, Failure> {
    let plan = commands::load(&arguments.folder)?;
    let clock = Clock::System;
    let listener = listen(arguments.listen.unwrap_or(plan.settings.dashboard.listen)).await?;
    let runner = Runner::new(Arc::clone(&plan), clock.clone());
    let dashboard = dashboard(&plan, &runner, clock.clone(), false).await?;
    let work = async |stop: CancellationToken| {
        let serving = serve(listener, dashboard, stop.clone());
        let (served, scheduled) =
            tokio::join!(serving, keep_schedule(&plan, &runner, &clock, &stop));
        // Guests of the embedded database finish what they are at; that can be given up as well.
        runner.close().await;
        served.and(scheduled)
    };
    let done = until_stopped(work).await;
    if let Ok(Ended::AtOnce) = done {
        exit_at_once();
    }
    done.map(|_| ExitCode::SUCCESS)
}

/// Binds the dashboard's address.
pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|cause| {
        let hint = "another program may use this port: give another with `--listen ADDRESS:PORT`";
        let error =
            anyhow::Error::new(cause).context(format!("the dashboard cannot listen on {address}"));
        Failure::failed(error, Some(hint.to_owned()))
    })
}

/// The dashboard of a runner's warehouse.
pub(crate) async fn dashboard(
    plan: &Arc<Plan>,
    runner: &Runner,
    clock: Clock,
    generated: bool,
) -> Result<Dashboard, Failure> {
    let reader = commands::reader(plan, runner.warehouse().await?.clone(), clock.clone());
    let zone = plan.settings.zone.clone();
    let today = Arc::new(move || clock.now().to_zoned(zone.clone()).date());
    Ok(Dashboard { plan: Arc::clone(plan), reader, today, generated })
}

/// Serves the dashboard until `stop`, and says where once it can be opened.
pub(crate) async fn serve(
    listener: TcpListener,
    dashboard: Dashboard,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let address = listener.local_addr().context("the dashboard has no address")?;
    output::to_stdout(&format!("dashboard: http://{address}\n"))?;
    let stopped = stop.clone();
    let serving = axum::serve(listener, daymark_web::router(dashboard))
        .with_graceful_shutdown(async move { stopped.cancelled().await });
    let drained = async {
        stop.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        served = serving.into_future() => Ok(served.context("the dashboard stopped")?),
        // A browser that keeps a connection open does not keep us here.
        () = drained => Ok(()),
    }
}

/// How something that runs until it is stopped came to its end.
pub(crate) enum Ended {
    /// By itself, or after a signal with its step in flight finished.
    InOrder,
    /// In the middle, by a second signal.
    AtOnce,
}

/// Runs `work` until it ends by itself or after a signal; a second signal ends it where it is.
pub(crate) async fn until_stopped<W>(
    work: impl FnOnce(CancellationToken) -> W,
) -> Result<Ended, Failure>
where
    W: Future<Output = Result<(), Failure>>,
{
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let stop = CancellationToken::new();
    let work = work(stop.clone());
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done.map(|()| Ended::InOrder),
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if stop.is_cancelled() {
            return Ok(Ended::AtOnce);
        }
        output::to_stderr("stopping after the step in flight; Ctrl-C again stops at once\n");
        stop.cancel();
    }
}

/// Ends the process where it is. Nothing is lost by that: an open transaction is rolled back, and the
/// next run publishes what was fetched. To wait for a query in flight would be no "at once".
#[expect(clippy::disallowed_methods, reason = "what is given up here must not hold us back")]
pub(crate) fn exit_at_once() -> ! {
    std::process::exit(STOPPED_AT_ONCE)
}

/// Runs at every scheduled time. What was missed while nothing ran becomes one catch-up run.
async fn keep_schedule(
    plan: &Plan,
    runner: &Runner,
    clock: &Clock,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let schedule = &plan.settings.schedule;
    let mut last = first_mark(runner, clock.now()).await?;
    if let Some(next) = schedule::next_after(schedule, clock.now()) {
        let local =
            next.to_zoned(plan.settings.zone.clone()).strftime("%Y-%m-%d %H:%M %Z").to_string();
        output::to_stdout(&format!("next run: {local}\n"))?;
    }
    let mut kind = RunKind::CatchUp;
    let mut again = None;
    while !stop.is_cancelled() {
        if let Some(fire) = schedule::catch_up(schedule, Some(last), clock.now()) {
            let days = runner.days_at(fire, plan.sources.iter());
            let order = Order { kind, scheduled_at: Some(fire), days };
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
        kind = RunKind::Scheduled;
        let wait = match (again, schedule::next_after(schedule, last)) {
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
