//! What `daymark up` does about alerts, beside its schedule: it looks once a minute, and after each run.
//!
//! In: a bell that runs ring when they end. Out: alerts that the clock brings, messages, pings; until the schedule is
//! over and everything the bell rang for is done. Every process does it, the one that keeps the schedule and those that
//! stand by: what one has told the others do not. Deliberately absent: stopping the process over any of it.

use std::time::Duration;

use daymark_plan::{Clock, Plan, one_line};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::heartbeat::{self, Beat};
use super::{Ran, after_run, look_and_deliver};
use crate::failure::Failure;
use crate::run::Runner;

/// When it looks first: a process that was just started has taken the schedule over by then, and does not tell that
/// nobody kept it a moment ago.
const FIRST: Duration = Duration::from_secs(5);
/// How often it looks.
const EVERY: Duration = Duration::from_mins(1);

/// What a run rings when it ends.
#[derive(Debug, Clone)]
pub(crate) struct Bell(UnboundedSender<Rung>);

#[derive(Debug)]
enum Rung {
    Started,
    Ended(Ran),
}

/// Who hears it.
#[derive(Debug)]
pub(crate) struct Ear(UnboundedReceiver<Rung>);

/// A bell, and who hears it.
pub(crate) fn bell() -> (Bell, Ear) {
    let (bell, ear) = unbounded_channel();
    (Bell(bell), Ear(ear))
}

impl Bell {
    /// A run starts.
    pub(crate) fn started(&self) {
        // Nobody hears it when the watch is over, and then nobody has to.
        self.0.send(Rung::Started).unwrap_or_default();
    }

    /// A run ended.
    pub(crate) fn ended(&self, ran: Ran) {
        self.0.send(Rung::Ended(ran)).unwrap_or_default();
    }
}

/// Watches until it is over.
pub(crate) async fn keep_watch(
    plan: &Plan,
    runner: &Runner,
    clock: &Clock,
    mut ear: Ear,
    over: &CancellationToken,
) -> Result<(), Failure> {
    let every = plan.settings.heartbeat.as_ref().and_then(|heartbeat| heartbeat.every);
    let mut next_look = Instant::now() + FIRST;
    let mut next_beat = every.map(|_| next_look);
    let (mut is_away, mut is_well) = (false, false);
    loop {
        let next = next_beat.map_or(next_look, |beat| beat.min(next_look));
        tokio::select! {
            // What the last runs rang is heard before the end.
            biased;
            Some(rung) = ear.0.recv() => match rung {
                Rung::Started => heartbeat::ping(plan, Beat::Started).await,
                Rung::Ended(ran) => after_run(plan, runner, clock, &ran).await,
            },
            () = over.cancelled() => return Ok(()),
            () = tokio::time::sleep_until(next) => {
                if next_look <= Instant::now() {
                    let looked = look_and_deliver(plan, runner, clock).await;
                    is_well = matches!(looked, Ok(true));
                    match looked {
                        Err(error) if !is_away => {
                            tracing::warn!("alerts wait for the database: {}", one_line(&error));
                            is_away = true;
                        }
                        Err(_) => {}
                        Ok(_) => is_away = false,
                    }
                    next_look = Instant::now() + EVERY;
                }
                if let (Some(at), Some(every)) = (next_beat, every)
                    && at <= Instant::now()
                {
                    // Silence is what tells that nobody keeps the schedule, or cannot.
                    if is_well {
                        heartbeat::ping(plan, Beat::Alive).await;
                    }
                    next_beat = Some(Instant::now() + every);
                }
            }
        }
    }
}
