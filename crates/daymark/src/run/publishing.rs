//! The publish of a run, as a task.
//!
//! In: a session, what is pending, and the raw store. Out: the session and what came of it; what it tells on
//! its way is passed on. As a task it is woken by the thread that has read PostgreSQL's answer, and not by way of the one
//! that waits for the run: a publish asks a few times for each fetch, and each way takes as long as a small
//! answer. Deliberately absent: what is published.

use std::sync::Arc;

use daymark_ingest::RawStore;
use daymark_plan::Plan;
use daymark_warehouse::publish::{self, Progress, Report, Request};
use daymark_warehouse::{Session, WarehouseError};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::{rows, verdicts};

/// Publishes. Whoever drops this ends the publish as well, and nothing of it is seen.
pub(crate) async fn publish(
    mut session: Session,
    plan: Arc<Plan>,
    store: RawStore,
    request: Request,
    watch: impl Fn(&Progress),
) -> (Session, Result<Report, WarehouseError>) {
    let (sender, mut told) = mpsc::unbounded_channel();
    let publishing = tokio::spawn(async move {
        let (read, keep) =
            (verdicts::reader(Some(store.clone())), verdicts::keeper(Some(store.clone())));
        let verdicts = publish::Verdicts { read: &read, keep: &keep };
        let rejects = rows::rejects(store.clone());
        let read_rows = rows::reader(Arc::clone(&plan), store);
        let from_raw = publish::FromRaw { rows: &read_rows, rejects: &rejects };
        // Whoever has gone needs not be told.
        let tell = |progress: Progress| sender.send(progress).unwrap_or_default();
        let published =
            publish::publish(&mut session, &plan, request, from_raw, verdicts, &tell).await;
        (session, published)
    });
    let publishing = AbortOnDropHandle::new(publishing);
    // The sender goes with the task.
    while let Some(told) = told.recv().await {
        watch(&told);
    }
    match publishing.await {
        Ok(published) => published,
        Err(ended) => std::panic::resume_unwind(ended.into_panic()),
    }
}
