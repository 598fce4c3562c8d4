//! What `up` and `demo` have in common: a dashboard that is served, and an end by signals.
//!
//! In: an address, a runner's warehouse, work to do. Out: pages until a signal: the step in flight
//! finishes, a second signal stops at once. Deliberately absent: what the work is (`commands`), the
//! pages (`daymark_web`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use daymark_ingest::RawStore;
use daymark_plan::{Clock, Plan, one_line};
use daymark_warehouse::Reader;
use daymark_web::{Check, Dashboard, Process};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::output;
use crate::run::Runner;

/// How long open requests may take when the dashboard stops.
const DRAIN: Duration = Duration::from_secs(5);
/// The exit code after a second Ctrl-C: 128 + SIGINT, as shells have it.
const STOPPED_AT_ONCE: i32 = 130;

/// Binds the dashboard's address.
pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|cause| {
        let hint = "another program may use this port: give another with `--listen ADDRESS:PORT`";
        let error =
            anyhow::Error::new(cause).context(format!("the dashboard cannot listen on {address}"));
        Failure::failed(error, Some(hint.to_owned()))
    })
}

/// The dashboard of a runner's warehouse. One that is generated is the demo's, which keeps no schedule.
pub(crate) async fn dashboard(
    plan: &Arc<Plan>,
    runner: &Runner,
    clock: Clock,
    generated: bool,
) -> Result<Dashboard, Failure> {
    let process = Process {
        version: env!("CARGO_PKG_VERSION"),
        started_at: Clock::System.now(),
        keeps_schedule: !generated,
        raw_store: raw_store(plan),
    };
    let reader = Reader::new(runner.warehouse().await?.clone(), clock.clone());
    let zone = plan.settings.zone.clone();
    let today = Arc::new(move || clock.now().to_zoned(zone.clone()).date());
    Ok(Dashboard { plan: Arc::clone(plan), reader, today, generated, process })
}

/// Asks the raw store whether it is there; one that could not be opened is opened at the next question.
fn raw_store(plan: &Arc<Plan>) -> Arc<dyn Fn() -> Check + Send + Sync> {
    let opened: Arc<OnceCell<RawStore>> = Arc::default();
    let plan = Arc::clone(plan);
    Arc::new(move || {
        let (opened, plan) = (Arc::clone(&opened), Arc::clone(&plan));
        Box::pin(async move {
            let open = || std::future::ready(RawStore::open(&plan.settings.raw));
            let asked = async { opened.get_or_try_init(open).await?.answers().await };
            asked.await.map_err(|error| one_line(&error))
        })
    })
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
