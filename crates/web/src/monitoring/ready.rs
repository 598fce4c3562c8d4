//! `/readyz`: whether the process can do its work now.
//!
//! In: the ledger's figures, the raw store's answer. Out: the state of each part as JSON; 200 when all are
//! well, else 503; within a few seconds, whatever hangs. Why something does not answer is in the log: a
//! stranger who asks sees no address, name or message. Deliberately absent: mending anything.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::Mutex;

use super::ledger::Seen;
use super::{Check, Monitor};

/// An answer of the raw store is good for so long.
const FRESH: Duration = Duration::from_secs(10);
/// One that it does not answer.
const FRESH_FAILURE: Duration = Duration::from_secs(2);
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// For how long the embedded database may be another's, and the process count as ready.
const BUSY: Duration = Duration::from_mins(10);

/// Whether a part is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// It is.
    Ok,
    /// Another unit of work has it; it was well before.
    Busy,
    /// It is not.
    Failed,
    /// Nothing is known of it, because another part failed.
    Unknown,
    /// This process has no such part.
    Absent,
}

#[derive(Debug, Serialize)]
struct Ready {
    ready: bool,
    database: Part,
    raw_store: Part,
    scheduler: Scheduler,
}

#[derive(Debug, Serialize)]
struct Part {
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct Scheduler {
    #[serde(flatten)]
    part: Part,
    /// Whether this process keeps the schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    is_leader: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    heartbeat_age_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_fire_at: Option<Timestamp>,
}

impl Part {
    fn ok() -> Self {
        Self { state: State::Ok, reason: None }
    }

    fn new(state: State, reason: &'static str) -> Self {
        Self { state, reason: Some(reason) }
    }

    fn is_ready(&self) -> bool {
        matches!(self.state, State::Ok | State::Busy | State::Absent)
    }
}

/// Asks the parts, and answers.
pub(super) async fn answer(monitor: &Monitor) -> Response {
    let (seen, raw_store) = tokio::join!(monitor.ledger.look(), monitor.raw_store.look());
    let database = database(&seen, monitor.is_embedded);
    let scheduler = scheduler(&seen, &database, monitor.process.keeps_schedule);
    let ready = database.is_ready() && raw_store.is_ready() && scheduler.part.is_ready();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = Json(Ready { ready, database, raw_store, scheduler });
    (status, [(CACHE_CONTROL, "no-store")], body).into_response()
}

fn database(seen: &Seen, is_embedded: bool) -> Part {
    match (seen.waits, seen.age) {
        // On the embedded database a publish holds the one session there is for as long as it takes.
        (Some(waits), Some(_)) if is_embedded && waits < BUSY => {
            Part::new(State::Busy, "another unit of work has the embedded database")
        }
        (Some(_), _) => Part::new(State::Failed, "the database does not answer in time"),
        (None, _) if seen.failed => {
            Part::new(State::Failed, "the ledger cannot be read; the log says why")
        }
        (None, _) => Part::ok(),
    }
}

fn scheduler(seen: &Seen, database: &Part, keeps_schedule: bool) -> Scheduler {
    let leader = seen.figures.as_ref().and_then(|figures| figures.leader.as_ref());
    let part = if !keeps_schedule {
        Part::new(State::Absent, "this process keeps no schedule")
    } else if !database.is_ready() {
        Part::new(State::Unknown, "the database knows")
    } else {
        match leader {
            None => Part::new(State::Failed, "no process has kept the schedule yet"),
            Some(known) if known.leader.is_stopped => {
                Part::new(State::Failed, "no process keeps the schedule")
            }
            Some(_) => Part::ok(),
        }
    };
    let leader = leader.filter(|_| keeps_schedule);
    let since = seen.age.unwrap_or_default().as_secs_f64();
    Scheduler {
        part,
        is_leader: leader.map(|known| known.is_this),
        heartbeat_age_seconds: leader.map(|known| ((known.age + since) * 1000.0).round() / 1000.0),
        next_fire_at: leader.and_then(|known| known.leader.next_fire_at),
    }
}

/// Whether the raw store answers, asked seldom.
pub(super) struct RawStore {
    ask: Arc<dyn Fn() -> Check + Send + Sync>,
    last: Mutex<Option<(Instant, bool)>>,
}

impl RawStore {
    pub(super) fn new(ask: Arc<dyn Fn() -> Check + Send + Sync>) -> Self {
        Self { ask, last: Mutex::default() }
    }

    async fn look(&self) -> Part {
        let looked = tokio::time::timeout(PATIENCE * 2, async {
            let mut last = self.last.lock().await;
            if let Some((at, is_well)) = *last
                && at.elapsed() < if is_well { FRESH } else { FRESH_FAILURE }
            {
                return is_well;
            }
            let was_well = last.is_none_or(|(_, is_well)| is_well);
            let failed = match tokio::time::timeout(PATIENCE, (self.ask)()).await {
                Ok(Ok(())) => None,
                Ok(Err(reason)) => Some(reason),
                Err(_) => Some(format!("no answer within {} s", PATIENCE.as_secs())),
            };
            if let (Some(reason), true) = (&failed, was_well) {
                tracing::warn!("the raw store is not ready: {reason}");
            }
            *last = Some((Instant::now(), failed.is_none()));
            failed.is_none()
        });
        if looked.await.unwrap_or(false) {
            Part::ok()
        } else {
            Part::new(State::Failed, "the raw store does not answer as it must; the log says why")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(failed: bool, waits: Option<u64>, age: Option<u64>) -> Seen {
        let (waits, age) = (waits.map(Duration::from_secs), age.map(Duration::from_secs));
        Seen { age, failed, waits, ..Seen::default() }
    }

    #[test]
    fn a_publish_on_the_embedded_database_is_no_reason_to_be_taken_out_of_service() {
        let state = |seen: &Seen, is_embedded| {
            let part = database(seen, is_embedded);
            (part.state, part.is_ready())
        };
        for (seen, embedded, server) in [
            (seen(false, None, Some(3)), (State::Ok, true), (State::Ok, true)),
            (seen(false, Some(90), Some(100)), (State::Busy, true), (State::Failed, false)),
            (seen(false, Some(601), Some(700)), (State::Failed, false), (State::Failed, false)),
            // Nothing is known yet: it may as well be broken.
            (seen(false, Some(3), None), (State::Failed, false), (State::Failed, false)),
            (seen(true, None, Some(100)), (State::Failed, false), (State::Failed, false)),
        ] {
            assert_eq!(state(&seen, true), embedded, "{seen:?}");
            assert_eq!(state(&seen, false), server, "{seen:?}");
        }
    }
}
