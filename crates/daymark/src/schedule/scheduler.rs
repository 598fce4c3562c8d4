//! Keeping the schedule: who leads, which fires are due, and their runs.
//!
//! In: a plan, a runner and a clock. Out: [`Scheduler::step`], one look at the clock and the ledger, and the
//! runs it starts ([`Scheduler::run`]). Nothing here sleeps and nothing is kept in memory that a successor would
//! need: what is due, claimed and done stands in the ledger. Deliberately absent: what is to become of a fire
//! (`decide`), the lease itself (`daymark_warehouse::lease`), and waiting (`commands::up`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use daymark_ingest::Reach;
use daymark_plan::{Clock, Plan, SourceId, one_line};
use daymark_warehouse::fires::{self, Board, Claim};
use daymark_warehouse::lease::{Candidate, Fence, Leader, Standing};
use daymark_warehouse::ledger::RunKind;
use daymark_warehouse::retention::{self, Tidied};
use daymark_warehouse::retries;
use daymark_warehouse::{Session, Warehouse, WarehouseError};
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::decide::{self, Group};
use crate::failure::Failure;
use crate::run::{Order, Progress, RunReport, Runner};

/// How long after a run that failed as a whole its fires are tried again; twice as long each time.
const FIRST_AGAIN: SignedDuration = SignedDuration::from_mins(1);
/// The longest of these waits.
const LAST_AGAIN: SignedDuration = SignedDuration::from_mins(30);
/// How long after old logs could not be removed that is tried again.
const TIDIED_AGAIN: SignedDuration = SignedDuration::from_hours(1);
/// The most runs at once: each holds a session of the database while it publishes.
const MOST_RUNS: usize = 4;

/// One of the processes that keep the schedule of a pipeline.
#[derive(Debug)]
pub(crate) struct Scheduler {
    plan: Arc<Plan>,
    runner: Arc<Runner>,
    clock: Clock,
    candidate: Option<Candidate>,
    role: Role,
    /// The runs of this process that have not ended.
    running: BTreeSet<Uuid>,
    next_fire: Option<Timestamp>,
    /// When it is looked next for what is too old to be kept.
    next_tidying: Timestamp,
}

/// What this process is at the moment.
#[derive(Debug, Clone)]
enum Role {
    Unknown,
    Leads,
    Follows(Leader),
}

/// What a step found.
#[derive(Debug, Default)]
pub(crate) struct Step {
    /// Whether the role changed, and how.
    pub(crate) turn: Option<Turn>,
    /// What is to be run now.
    pub(crate) started: Vec<Scheduled>,
    /// When there is something to do next.
    pub(crate) next: Option<Timestamp>,
}

/// A change of roles.
#[derive(Debug)]
pub(crate) enum Turn {
    /// This process leads now, after the one that led before, if there was any.
    Leads(Option<Leader>),
    /// Another leads.
    Follows(Leader),
    /// Another took over from this one: its runs are the other's.
    Lost(Leader),
}

/// A run that was claimed.
#[derive(Debug)]
pub(crate) struct Scheduled {
    what: What,
    claim: Claim,
}

/// What a run was claimed for.
#[derive(Debug)]
enum What {
    /// Fires of one instant.
    Fires(Group),
    /// A day that failed, whose next try became due then.
    Day(SourceId, Date, Timestamp),
}

/// A run that ended.
#[derive(Debug)]
pub(crate) struct Ended {
    run_id: Uuid,
    /// What came of it. When it failed as a whole, what was fetched is kept and its fires are tried again.
    pub(crate) result: Result<RunReport, Failure>,
}

impl Scheduler {
    /// A process that is ready to lead. Nothing is opened yet.
    pub(crate) fn new(plan: Arc<Plan>, runner: Arc<Runner>, clock: Clock) -> Self {
        let (role, running) = (Role::Unknown, BTreeSet::new());
        let next_tidying = Timestamp::MIN;
        Self { plan, runner, clock, candidate: None, role, running, next_fire: None, next_tidying }
    }

    /// How often a process shows that it lives: twice may fail.
    pub(crate) fn beat(&self) -> Duration {
        self.plan.settings.lease / 3
    }

    /// Whether this process leads, as far as it knows.
    pub(crate) fn leads(&self) -> bool {
        matches!(self.role, Role::Leads)
    }

    /// The next scheduled instant, as of the last step.
    pub(crate) fn next_fire(&self) -> Option<Timestamp> {
        self.next_fire
    }

    /// Shows a sign of life and, when leading, decides what has become due and claims what is to be run now
    /// (nothing when it stops).
    pub(crate) async fn step(&mut self, stops: bool) -> Result<Step, WarehouseError> {
        let (runner, lease) = (Arc::clone(&self.runner), self.plan.settings.lease);
        let warehouse = runner.warehouse().await?;
        warehouse.despite_a_stopped_host(lease, self.look(warehouse, stops)).await
    }

    async fn look(&mut self, warehouse: &Warehouse, stops: bool) -> Result<Step, WarehouseError> {
        let lease = self.plan.settings.lease;
        let mut session = warehouse.schedule_session().await?;
        let clock = self.clock.clone();
        let candidate =
            self.candidate.get_or_insert_with(|| Candidate::new(warehouse, lease, clock));
        let next_fire = self.next_fire.or_else(|| self.plan.next_fire(self.clock.now()));
        match candidate.hold(&mut session, next_fire).await? {
            Standing::Follows { leader, lost } => {
                self.running.clear();
                self.next_fire = leader.next_fire_at;
                let turn = match &self.role {
                    Role::Follows(before) if before.epoch == leader.epoch => None,
                    _ if lost => Some(Turn::Lost(leader.clone())),
                    _ => Some(Turn::Follows(leader.clone())),
                };
                self.role = Role::Follows(leader);
                Ok(Step { turn, ..Step::default() })
            }
            Standing::Leads { fence, from } => {
                let led = matches!(std::mem::replace(&mut self.role, Role::Leads), Role::Leads);
                let turn = if led && from.is_none() { None } else { Some(Turn::Leads(from)) };
                if turn.is_some() {
                    self.running.clear();
                }
                let step = self.lead(&mut session, &fence, stops).await?;
                Ok(Step { turn, ..step })
            }
        }
    }

    async fn lead(
        &mut self,
        session: &mut Session,
        fence: &Fence,
        stops: bool,
    ) -> Result<Step, WarehouseError> {
        let mut board = fires::board(session).await?;
        let now = self.clock.now();
        let again = self.given_up(&mut board, fence, now);
        let days_again = self.days_given_up(&mut board, fence, now);
        let mut decisions = decide::decide(&self.plan, &board, now);
        (decisions.again, decisions.days_again) = (again, days_again);
        if !decisions.is_empty() {
            fires::record(session, fence, &decisions, now).await?;
            board = fires::board(session).await?;
        }
        let mut started = Vec::new();
        if !stops {
            let mut free = MOST_RUNS.saturating_sub(self.running.len());
            for group in decide::runnable(&self.plan, &board, now).into_iter().take(free) {
                let claim = Claim { fence: fence.clone(), run_id: Uuid::now_v7() };
                let ids: Vec<i64> = group.fires.iter().map(|(fire_id, _)| *fire_id).collect();
                fires::claim(session, &claim, &ids, now).await?;
                self.running.insert(claim.run_id);
                started.push(Scheduled { what: What::Fires(group), claim });
                free -= 1;
            }
            for (source_id, date, due) in
                decide::days_to_try(&self.plan, &board, now).into_iter().take(free)
            {
                let claim = Claim { fence: fence.clone(), run_id: Uuid::now_v7() };
                retries::claim(session, &claim, &source_id, date).await?;
                self.running.insert(claim.run_id);
                started.push(Scheduled { what: What::Day(source_id, date, due), claim });
            }
        }
        self.next_fire = decide::next_fire(&self.plan, &board, now);
        let next = decide::next_look(&self.plan, &board, now);
        if !stops && started.is_empty() {
            self.tidy(session, fence, now).await?;
        }
        Ok(Step { turn: None, started, next })
    }

    /// Removes a little of what is too old to be kept, when there is nothing else to do. The schedule does not
    /// wait for it, nor ends by it.
    async fn tidy(
        &mut self,
        session: &mut Session,
        fence: &Fence,
        now: Timestamp,
    ) -> Result<(), WarehouseError> {
        let Some(keep) = self.plan.settings.keep_logs.filter(|_| self.next_tidying <= now) else {
            return Ok(());
        };
        let later = |wait| now.checked_add(wait).unwrap_or(Timestamp::MAX);
        self.next_tidying = match retention::tidy(session, fence, keep, now).await {
            Ok(Tidied::NotDue(next)) => next,
            Ok(Tidied::Some { runs, alerts }) => {
                tracing::debug!(runs, alerts, "old logs and alerts were removed");
                now
            }
            Ok(Tidied::Done) => later(retention::EVERY),
            Err(WarehouseError::LeaseLost) => return Err(WarehouseError::LeaseLost),
            Err(error) => {
                tracing::warn!("old logs stay for now: {}", one_line(&error));
                later(TIDIED_AGAIN)
            }
        };
        Ok(())
    }

    /// The fires whose run is no more, each with when it may be tried again: at once where the process that ran
    /// it lost the lease, later where the run failed as a whole. They count as due.
    fn given_up(&self, board: &mut Board, fence: &Fence, now: Timestamp) -> Vec<(i64, Timestamp)> {
        let mut again = Vec::new();
        for fire in &mut board.open {
            let Some((epoch, run_id)) = fire.claimed else { continue };
            if epoch == fence.epoch() && self.running.contains(&run_id) {
                continue;
            }
            fire.claimed = None;
            fire.starts_at = again_at(epoch == fence.epoch(), fire.claims, now);
            again.push((fire.fire_id, fire.starts_at));
        }
        again
    }

    /// The same for the days that are being tried once more.
    fn days_given_up(
        &self,
        board: &mut Board,
        fence: &Fence,
        now: Timestamp,
    ) -> Vec<(String, Date, Timestamp)> {
        let mut again = Vec::new();
        for retry in &mut board.retries {
            let Some((epoch, run_id)) = retry.claimed else { continue };
            if epoch == fence.epoch() && self.running.contains(&run_id) {
                continue;
            }
            let not_before = again_at(epoch == fence.epoch(), retry.claims, now);
            (retry.claimed, retry.not_before) = (None, Some(not_before));
            again.push((retry.source_id.clone(), retry.data_date, not_before));
        }
        again
    }

    /// Runs what was claimed. A dropped run is as one that crashed: whoever leads then tries it again.
    pub(crate) fn run(&self, scheduled: Scheduled) -> impl Future<Output = Ended> + use<> {
        let (plan, runner) = (Arc::clone(&self.plan), Arc::clone(&self.runner));
        let clock = self.clock.clone();
        async move {
            let Scheduled { what, claim } = scheduled;
            let run_id = claim.run_id;
            let (kind, at, days, reach) = match what {
                What::Fires(group) => {
                    let ids = group.fires.iter().map(|(_, source_id)| source_id);
                    let sources = ids.filter_map(|source_id| plan.source(source_id));
                    let kind = if group.missed { RunKind::CatchUp } else { RunKind::Scheduled };
                    let days = runner.days_at(group.scheduled_at, sources);
                    (kind, group.scheduled_at, days, Reach::Forward)
                }
                What::Day(source_id, date, due) => {
                    // What is new since the cursor is part of the day that is due, and of no other.
                    let today = runner.days_at(clock.now(), plan.source(&source_id));
                    let days = vec![(source_id, date)];
                    let reach = if days == today { Reach::Forward } else { Reach::ByDay };
                    (RunKind::Retry, due, days, reach)
                }
            };
            let (scheduled_at, claim, pace) = (Some(at), Some(claim), None);
            let order = Order { kind, scheduled_at, days, reach, claim, pace };
            let progress = Progress::Lines;
            let result = runner.execute(&order, &|event| progress.show(&event)).await;
            Ended { run_id, result }
        }
    }

    /// Takes note that a run ended.
    pub(crate) fn ended(&mut self, ended: &Ended) {
        self.running.remove(&ended.run_id);
    }

    /// Gives the lease up, so that another process can lead at once.
    pub(crate) async fn give_up(&mut self) -> Result<(), WarehouseError> {
        let Some(candidate) = self.candidate.as_mut() else { return Ok(()) };
        if !matches!(self.role, Role::Leads) {
            return Ok(());
        }
        let warehouse = self.runner.warehouse().await?;
        let mut session = warehouse.schedule_session().await?;
        candidate.give_up(&mut session).await?;
        self.role = Role::Unknown;
        Ok(())
    }
}

/// When a claim that was given up may be tried again: at once where the process that had it lost the lease,
/// later where its run failed as a whole.
fn again_at(failed: bool, claims: u32, now: Timestamp) -> Timestamp {
    if !failed {
        return now;
    }
    let doubled = claims.saturating_sub(1).min(10);
    let wait = FIRST_AGAIN.saturating_mul(1 << doubled).min(LAST_AGAIN);
    now.checked_add(wait).unwrap_or(now)
}

#[cfg(test)]
mod several;
#[cfg(test)]
mod soak;
#[cfg(test)]
mod tests;
