//! What machines ask: `/metrics`, `/healthz` and `/readyz`.
//!
//! In: the ledger's figures (`ledger`), and whether the raw store answers. Out: text for Prometheus, and
//! two answers for whoever restarts or routes. All three are for machines that cannot sign in: they have a
//! router of their own, and say nothing that is secret or of rows. Deliberately absent: alerts.

mod exposition;
mod ledger;
mod metrics;
mod ready;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use daymark_plan::Plan;
use daymark_warehouse::Reader;
use jiff::Timestamp;

use ledger::Ledger;
use ready::RawStore;

/// Whether something answers; of what does not, why, for the log.
pub type Check = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// What monitoring has to know of the process beside the dashboard's own.
#[derive(Clone)]
pub struct Process {
    /// The version of the program.
    pub version: &'static str,
    /// When the process was started.
    pub started_at: Timestamp,
    /// Whether it is one that keeps the schedule, or stands by for it.
    pub keeps_schedule: bool,
    /// Asks the raw store whether it is there.
    pub raw_store: Arc<dyn Fn() -> Check + Send + Sync>,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("version", &self.version).finish_non_exhaustive()
    }
}

/// What the three answers are made of.
struct Monitor {
    plan: Arc<Plan>,
    process: Process,
    is_embedded: bool,
    ledger: Ledger,
    raw_store: RawStore,
}

/// The three addresses.
pub(crate) fn routes(plan: &Arc<Plan>, reader: &Reader, process: &Process) -> Router {
    let monitor = Monitor {
        plan: Arc::clone(plan),
        process: process.clone(),
        is_embedded: reader.is_embedded(),
        ledger: Ledger::new(Arc::clone(plan), reader.clone()),
        raw_store: RawStore::new(Arc::clone(&process.raw_store)),
    };
    Router::new()
        .route("/metrics", get(metrics))
        // It answers: that is all there is to say. Whoever restarts a process must not ask for more.
        .route("/healthz", get(|| std::future::ready(([(CACHE_CONTROL, "no-store")], "ok\n"))))
        .route("/readyz", get(ready))
        .with_state(Arc::new(monitor))
}

async fn metrics(State(monitor): State<Arc<Monitor>>) -> Response {
    let seen = monitor.ledger.look().await;
    let text = metrics::text(&monitor.plan, &monitor.process, monitor.is_embedded, &seen);
    let headers =
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"), (CACHE_CONTROL, "no-store")];
    (headers, text).into_response()
}

async fn ready(State(monitor): State<Arc<Monitor>>) -> Response {
    ready::answer(&monitor).await
}
