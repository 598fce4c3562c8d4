//! The ledger's figures, read seldom and never waited for long.
//!
//! In: whoever asks. Out: the [`Seen`] figures: those of now, or, while the database is busy or away, the
//! last ones with their age. One read at a time, at most one in [`FRESH`]; the read goes on when nobody
//! waits for it any more, so that on the embedded database, which has one session for all, it stands in line
//! once and takes nobody's turn twice. Deliberately absent: what is read (`daymark_warehouse`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use daymark_plan::{Plan, one_line};
use daymark_warehouse::Reader;
use daymark_warehouse::figures::Figures;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Figures are not read again before.
const FRESH: Duration = Duration::from_secs(10);
/// Nor after a read that failed.
const FRESH_FAILURE: Duration = Duration::from_secs(2);
/// How long whoever asks waits for a read.
const PATIENCE: Duration = Duration::from_secs(2);

/// The figures, as they are known.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// The last that were read.
    pub(super) figures: Option<Arc<Figures>>,
    /// How old they are.
    pub(super) age: Option<Duration>,
    /// Whether the last read that ended failed.
    pub(super) failed: bool,
    /// For how long a read has been waiting or at work, when it is longer than whoever asks waits.
    pub(super) waits: Option<Duration>,
    /// Reads of this process that succeeded, and that failed.
    pub(super) reads: (u64, u64),
}

impl Seen {
    /// Whether they are of now.
    pub(super) fn is_of_now(&self) -> bool {
        self.figures.is_some() && !self.failed && self.waits.is_none()
    }
}

/// The one that reads.
pub(super) struct Ledger {
    plan: Arc<Plan>,
    reader: Reader,
    known: Arc<Known>,
}

struct Known {
    state: Mutex<State>,
    /// How many reads have ended.
    ended: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    figures: Option<(Arc<Figures>, Instant)>,
    /// When the last read ended, and whether it failed.
    last: Option<(Instant, bool)>,
    reading: Option<(Instant, AbortHandle)>,
    reads: (u64, u64),
}

impl Ledger {
    pub(super) fn new(plan: Arc<Plan>, reader: Reader) -> Self {
        let known = Known { state: Mutex::default(), ended: watch::Sender::new(0) };
        Self { plan, reader, known: Arc::new(known) }
    }

    /// The figures of now, or the last ones.
    pub(super) async fn look(&self) -> Seen {
        let mut ended = {
            let mut state = self.known.lock();
            if state.is_fresh() {
                return state.seen();
            }
            let ended = self.known.ended.subscribe();
            let is_read = state.reading.as_ref().is_some_and(|(_, task)| !task.is_finished());
            if !is_read {
                let before = state.figures.as_ref().map(|(figures, _)| Arc::clone(figures));
                let task = tokio::spawn(read(
                    Arc::clone(&self.plan),
                    self.reader.clone(),
                    before,
                    Arc::clone(&self.known),
                ));
                state.reading = Some((Instant::now(), task.abort_handle()));
            }
            ended
        };
        // It is told by what is known whether the read has ended.
        drop(tokio::time::timeout(PATIENCE, ended.changed()).await);
        self.known.lock().seen()
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        // A dashboard that is gone must not open the database again.
        if let Some((_, task)) = &self.known.lock().reading {
            task.abort();
        }
    }
}

impl Known {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_fresh(&self) -> bool {
        self.last
            .is_some_and(|(at, failed)| at.elapsed() < if failed { FRESH_FAILURE } else { FRESH })
    }

    fn seen(&self) -> Seen {
        let waits = self.reading.as_ref().map(|(since, _)| since.elapsed());
        Seen {
            figures: self.figures.as_ref().map(|(figures, _)| Arc::clone(figures)),
            age: self.figures.as_ref().map(|(_, at)| at.elapsed()),
            failed: self.last.is_some_and(|(_, failed)| failed),
            waits: waits.filter(|waits| *waits >= PATIENCE),
            reads: self.reads,
        }
    }
}

async fn read(plan: Arc<Plan>, reader: Reader, before: Option<Arc<Figures>>, known: Arc<Known>) {
    let read = reader.figures(&plan, before.as_deref()).await;
    let mut state = known.lock();
    state.reading = None;
    let failed_before = state.last.is_some_and(|(_, failed)| failed);
    match read {
        Ok(figures) => {
            state.figures = Some((Arc::new(figures), Instant::now()));
            state.reads.0 += 1;
            state.last = Some((Instant::now(), false));
        }
        Err(error) => {
            state.reads.1 += 1;
            state.last = Some((Instant::now(), true));
            // Once, not at every scrape.
            if !failed_before {
                tracing::warn!("the ledger cannot be read for monitoring: {}", one_line(&error));
            }
        }
    }
    drop(state);
    known.ended.send_modify(|ended| *ended += 1);
}
