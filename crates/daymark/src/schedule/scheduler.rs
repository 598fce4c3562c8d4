//! The scheduler: acts on fires as their time comes, one look at a time.
//!
//! In: a plan, a runner, a clock. Out: runs, and how long nothing will be due. What was missed while nothing ran
//! becomes one catch-up run. Nothing here sleeps, so that a test can set the clock and take a turn. Deliberately
//! absent: leadership between several processes (a later issue), printing.

use std::time::Duration;

use daymark_ingest::Reach;
use daymark_plan::{Clock, Plan};
use daymark_warehouse::ledger::{self, RunKind};
use jiff::Timestamp;

use super::missed::{Missed, missed};
use crate::failure::Failure;
use crate::run::{Order, Progress, RunReport, Runner};

/// How long after a run that failed as a whole it is tried again; twice as long each time.
const FIRST_AGAIN: Duration = Duration::from_mins(1);
/// The longest of these waits.
const LAST_AGAIN: Duration = Duration::from_mins(30);
/// How long is waited when the schedule never fires again.
const NEVER: Duration = Duration::from_hours(1);

/// Keeps the schedule of a plan.
#[derive(Debug)]
pub(crate) struct Scheduler<'s> {
    plan: &'s Plan,
    runner: &'s Runner,
    clock: &'s Clock,
    /// The last fire that was acted on.
    last: Timestamp,
    /// Fires from before it are caught up.
    started: Timestamp,
    /// How long is waited after a run that failed as a whole.
    again: Option<Duration>,
}

impl<'s> Scheduler<'s> {
    /// Goes on from the last fire that was acted on; a pipeline that never ran owes nothing from before.
    pub(crate) async fn open(
        plan: &'s Plan,
        runner: &'s Runner,
        clock: &'s Clock,
    ) -> Result<Self, Failure> {
        let started = clock.now();
        let mut session = runner.warehouse().await?.session("reading the schedule").await?;
        let last = match ledger::last_fired(&mut session).await? {
            Some(last) => last,
            None => {
                ledger::set_last_fired(&mut session, started).await?;
                started
            }
        };
        Ok(Self { plan, runner, clock, last, started, again: None })
    }

    /// Acts on the first fire that is due, if one is, and gives the report of its run. A run that failed as a
    /// whole is told, and is due again.
    pub(crate) async fn turn(&mut self) -> Option<RunReport> {
        let now = self.clock.now();
        let due = missed(self.plan, self.last, now).filter(|missed| missed.starts <= now);
        let Missed { fire, sources, .. } = due?;
        let days = self.runner.days_at(fire, sources);
        let kind = if fire < self.started { RunKind::CatchUp } else { RunKind::Scheduled };
        let order = Order { kind, scheduled_at: Some(fire), days, reach: Reach::Forward };
        let progress = Progress::Lines;
        match self.runner.execute(&order, &|event| progress.show(&event)).await {
            Ok(report) => {
                (self.last, self.again) = (fire, None);
                Some(report)
            }
            // The run as a whole failed: likely the database is away. What was fetched is kept.
            Err(failure) => {
                failure.report();
                let wait = self.again.map_or(FIRST_AGAIN, |wait| (wait * 2).min(LAST_AGAIN));
                self.again = Some(wait);
                None
            }
        }
    }

    /// How long nothing is to be done.
    pub(crate) fn wait(&self) -> Duration {
        let next = || {
            let now = self.clock.now();
            let due = missed(self.plan, self.last, now).map(|missed| missed.starts);
            let next = due.or_else(|| self.plan.next_fire(self.last))?;
            Some(Duration::try_from(now.duration_until(next)).unwrap_or_default())
        };
        self.again.or_else(next).unwrap_or(NEVER)
    }
}

#[cfg(test)]
mod tests;
