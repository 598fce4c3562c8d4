//! The days of a backfill, asked for and published in batches.
//!
//! In: a [`Choice`]. Out: an [`Outcome`]. A batch is a run: some days of each source, the oldest first, published
//! together when they are there or half a minute has passed, so that a source with a narrow limit keeps nothing
//! from readers. Deliberately absent: showing it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use daymark_ingest::{RawKey, Reach};
use daymark_plan::SourceId;
use daymark_warehouse::ledger::RunKind;
use jiff::civil::Date;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::choice::Choice;
use crate::failure::Failure;
use crate::run::{Order, Pace, RunEvent, RunReport, Runner};

/// The most days of a source in a batch.
const AT_MOST: usize = 50;
/// After so long no other day of a batch is begun.
const WITHIN: Duration = Duration::from_secs(30);

/// What came of a backfill.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Outcome {
    /// Whether it was stopped before its end.
    pub(crate) stopped: bool,
    /// By source.
    pub(crate) sources: BTreeMap<SourceId, SourceOutcome>,
}

/// What came of the days of a source.
#[derive(Debug, Default, Serialize)]
pub(crate) struct SourceOutcome {
    /// Days that are published now.
    pub(crate) published: usize,
    /// Those that are not, each with why.
    pub(crate) wrong: Vec<Wrong>,
    /// Days that nothing was done for.
    pub(crate) left: usize,
    /// Requests made.
    pub(crate) requests: usize,
}

/// A day that is not published.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Wrong {
    /// The day.
    pub(crate) date: Date,
    /// `failed` or `quarantined`.
    pub(crate) state: &'static str,
    /// Why.
    pub(crate) reason: String,
}

impl Outcome {
    /// Whether a day failed, or is held back.
    pub(crate) fn has_failed(&self) -> bool {
        self.sources.values().any(|source| !source.wrong.is_empty())
    }

    /// Days that nothing was done for.
    pub(crate) fn left(&self) -> usize {
        self.sources.values().map(|source| source.left).sum()
    }

    fn take(&mut self, report: &RunReport) {
        for day in &report.sources {
            let of = self.sources.entry(day.source.clone()).or_default();
            of.requests += day.requests;
            if day.state.is_wrong() {
                let first = day.entities.iter().find(|part| part.state.is_wrong());
                let of_entity = first.and_then(|part| {
                    Some(format!("; {}: {}", part.entity.as_ref()?, part.reason.as_ref()?))
                });
                let reason = day.reason.clone().unwrap_or_default();
                let reason = reason + of_entity.as_deref().unwrap_or_default();
                of.wrong.push(Wrong { date: day.data_date, state: day.state.as_str(), reason });
            } else {
                of.published += 1;
            }
        }
    }
}

/// What a backfill works with.
pub(crate) struct Work<'w> {
    /// Runs its batches.
    pub(crate) runner: &'w Runner,
    /// How many days of a source are asked for at once.
    pub(crate) at_once: usize,
    /// Whether published entities of a day are asked for again.
    pub(crate) again: bool,
    /// Told what happens.
    pub(crate) watch: &'w (dyn Fn(RunEvent<'_>) + Send + Sync),
}

/// Publishes what the raw store has and the ledger has not: what an earlier start had received, and what
/// other programs kept there.
pub(crate) async fn bring_in(work: &Work<'_>) -> Result<RunReport, Failure> {
    work.runner.execute(&order(Vec::new(), None), &work.watch).await
}

impl Work<'_> {
    /// Asks for all days, until `stop`. One that fails stops no other; a publish that fails as a whole does.
    pub(crate) async fn ask(
        &self,
        choice: &Choice,
        stop: &CancellationToken,
        outcome: &mut Outcome,
    ) -> Result<(), Failure> {
        let mut queues: BTreeMap<&SourceId, VecDeque<Date>> = choice
            .sources
            .iter()
            .map(|source| (&source.source, source.dates.iter().copied().collect()))
            .collect();
        for (source, queue) in &queues {
            outcome.sources.entry((*source).clone()).or_default().left = queue.len();
        }
        while !stop.is_cancelled() {
            let days: Vec<(SourceId, Date)> = queues
                .iter()
                .flat_map(|(source, queue)| {
                    queue.iter().take(AT_MOST).map(|date| ((*source).clone(), *date))
                })
                .collect();
            if days.is_empty() {
                return Ok(());
            }
            let batch = stop.child_token();
            let pace =
                Pace { at_once: self.at_once, stop: batch.clone(), only_unpublished: !self.again };
            let order = order(days, Some(pace));
            let running = self.runner.execute(&order, &self.watch);
            tokio::pin!(running);
            let report = tokio::select! {
                report = &mut running => report,
                () = tokio::time::sleep(WITHIN) => {
                    batch.cancel();
                    running.await
                }
            }?;
            outcome.take(&report);
            let begun: BTreeSet<(&SourceId, Date)> =
                report.sources.iter().map(|day| (&day.source, day.data_date)).collect();
            for (source, queue) in &mut queues {
                queue.retain(|date| !begun.contains(&(*source, *date)));
                outcome.sources.entry((*source).clone()).or_default().left = queue.len();
            }
        }
        outcome.stopped = outcome.left() > 0;
        Ok(())
    }
}

/// Takes what a publish from the raw store came to, for the days of a range.
pub(crate) fn of_raw(
    report: &RunReport,
    sources: &[&SourceId],
    (from, to): (Date, Date),
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut published: BTreeSet<(SourceId, Date)> = BTreeSet::new();
    for source in sources {
        outcome.sources.entry((*source).clone()).or_default();
    }
    for fetch in &report.earlier {
        let Some(name) = RawKey::parse_manifest(&fetch.manifest_key) else { continue };
        let Some(of) = outcome.sources.get_mut(&name.source) else { continue };
        if name.data_date < from || name.data_date > to {
            continue;
        }
        if fetch.state.is_wrong() {
            of.wrong.push(Wrong {
                date: name.data_date,
                state: fetch.state.as_str(),
                reason: fetch.reason.clone().unwrap_or_default(),
            });
        } else if published.insert((name.source.clone(), name.data_date)) {
            of.published += 1;
        }
    }
    outcome
}

fn order(days: Vec<(SourceId, Date)>, pace: Option<Pace>) -> Order {
    Order {
        kind: RunKind::Backfill,
        scheduled_at: None,
        days,
        // A day of the past says nothing of what is new.
        reach: Reach::ByDay,
        claim: None,
        pace,
    }
}
