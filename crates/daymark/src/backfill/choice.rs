//! Which days a backfill asks for.
//!
//! In: a plan, a range, what the ledger has of it, now. Out: a [`Choice`], a pure function of these. Deliberately
//! absent: reading the ledger, and asking.

use std::collections::BTreeMap;
use std::time::Duration;

use daymark_ingest::asking;
use daymark_plan::{EntityId, Plan, Reached, Source, SourceId, Wanted};
use daymark_warehouse::backfill::{Part, Parts};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;

/// Which days of the range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    /// Those that nothing came of.
    MissingOnly,
    /// Those that failed.
    FailedOnly,
    /// All.
    All,
}

impl Mode {
    /// The argument.
    pub(crate) fn argument(self) -> &'static str {
        match self {
            Self::MissingOnly => "--missing-only",
            Self::FailedOnly => "--failed-only",
            Self::All => "--all",
        }
    }
}

/// The days of a backfill.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Choice {
    /// The first day of the range.
    pub(crate) from: Date,
    /// The last.
    pub(crate) to: Date,
    /// Which of them.
    pub(crate) mode: Mode,
    /// Days in all.
    pub(crate) days: usize,
    /// Requests in all, of one page each.
    pub(crate) requests: u64,
    /// The least time that limits leave for them.
    pub(crate) least_seconds: u64,
    /// How long it will take, where requests were made before or limits decide.
    pub(crate) estimated_seconds: Option<u64>,
    /// By source.
    pub(crate) sources: Vec<SourceChoice>,
}

/// The days of a source.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SourceChoice {
    /// The source.
    pub(crate) source: SourceId,
    /// How many days.
    pub(crate) days: usize,
    /// The first of them.
    pub(crate) first: Option<Date>,
    /// The last of them.
    pub(crate) last: Option<Date>,
    /// Requests, of one page each.
    pub(crate) requests: u64,
    /// What they count as at the API.
    pub(crate) calls: u64,
    /// The least time that limits leave for them.
    pub(crate) least_seconds: u64,
    /// How long it will take.
    pub(crate) estimated_seconds: Option<u64>,
    /// Days of the range that are not asked for, by why.
    pub(crate) left_out: BTreeMap<&'static str, usize>,
    #[serde(skip)]
    pub(crate) dates: Vec<Date>,
}

/// What the ledger has of a day as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    /// Something of it was never received, or not published yet.
    Missing,
    Failed,
    Quarantined,
    Discarded,
    Published,
}

/// Chooses the days. `times` says how long a request of a source takes, where that is known.
pub(crate) fn choose(
    plan: &Plan,
    sources: &[&Source],
    (from, to): (Date, Date),
    mode: Mode,
    known: &Known<'_>,
    now: Timestamp,
) -> Choice {
    let mut choices: Vec<SourceChoice> = sources
        .iter()
        .map(|source| of_source(plan, source, (from, to), mode, known.parts, now))
        .collect();
    let wanted: Vec<(&Source, Date, u64)> = sources
        .iter()
        .zip(&choices)
        .map(|(source, choice)| (*source, choice.last.unwrap_or(to), choice.requests))
        .collect();
    for (choice, asked) in choices.iter_mut().zip(asking(plan, &wanted)) {
        choice.calls = asked.calls;
        choice.least_seconds = whole_seconds(asked.least);
        let entities = plan.source(&choice.source).map_or(1, |source| {
            source.entities.concurrency.max(1).min(source.entities.rows.len().max(1))
        });
        let at_once = u32::try_from(known.at_once.saturating_mul(entities)).unwrap_or(u32::MAX);
        let took = known.times.get(choice.source.as_str()).map(|one| {
            let requests = u32::try_from(choice.requests).unwrap_or(u32::MAX);
            one.saturating_mul(requests) / at_once.max(1)
        });
        choice.estimated_seconds = match took {
            Some(took) => Some(whole_seconds(took.max(asked.least))),
            None => Some(choice.least_seconds).filter(|seconds| *seconds > 0 || choice.days == 0),
        };
    }
    let estimates: Option<Vec<u64>> = choices.iter().map(|it| it.estimated_seconds).collect();
    Choice {
        from,
        to,
        mode,
        days: choices.iter().map(|choice| choice.days).sum(),
        requests: choices.iter().map(|choice| choice.requests).sum(),
        // Sources are asked side by side.
        least_seconds: choices.iter().map(|choice| choice.least_seconds).max().unwrap_or(0),
        estimated_seconds: estimates.map(|all| all.into_iter().max().unwrap_or(0)),
        sources: choices,
    }
}

/// What is known before.
pub(crate) struct Known<'k> {
    /// What the ledger has of the days.
    pub(crate) parts: &'k Parts,
    /// How long a request of a source takes.
    pub(crate) times: &'k BTreeMap<String, Duration>,
    /// How many days of a source are asked for at once.
    pub(crate) at_once: usize,
}

fn of_source(
    plan: &Plan,
    source: &Source,
    (from, to): (Date, Date),
    mode: Mode,
    parts: &Parts,
    now: Timestamp,
) -> SourceChoice {
    let rules = plan.day_rules(source);
    let entities = source.entity_ids();
    let (mut dates, mut requests) = (Vec::new(), 0);
    let mut left_out: BTreeMap<&'static str, usize> = BTreeMap::new();
    for date in from.series(jiff::Span::new().days(1)).take_while(|date| *date <= to) {
        let known = parts.get(&(source.id.as_str().to_owned(), date));
        let stands = standing(&entities, known);
        let why = match (rules.wanted(date, now), stands, mode) {
            (Wanted::NoData, ..) => Some("no data by the calendar"),
            (Wanted::NoFire, ..) => Some("no fire of the schedule"),
            (Wanted::NotYet, ..) => Some("not due yet"),
            (Wanted::Yes, _, Mode::All)
            | (Wanted::Yes, Stands::Missing, Mode::MissingOnly)
            | (Wanted::Yes, Stands::Failed, Mode::FailedOnly) => None,
            (Wanted::Yes, Stands::Published, _) => Some("published"),
            (Wanted::Yes, Stands::Discarded, _) => Some("discarded"),
            (Wanted::Yes, Stands::Quarantined, _) => Some("quarantined"),
            (Wanted::Yes, Stands::Failed, _) => Some("failed"),
            (Wanted::Yes, Stands::Missing, _) => Some("missing"),
        };
        if let Some(why) = why {
            *left_out.entry(why).or_default() += 1;
            continue;
        }
        dates.push(date);
        requests += match mode {
            Mode::All => entities.len(),
            Mode::MissingOnly | Mode::FailedOnly => {
                let open = |entity: &&Option<EntityId>| {
                    part(known, entity.as_ref()).reached != Some(Reached::Published)
                };
                entities.iter().filter(open).count()
            }
        };
    }
    SourceChoice {
        source: source.id.clone(),
        days: dates.len(),
        first: dates.first().copied(),
        last: dates.last().copied(),
        requests: requests as u64,
        calls: 0,
        least_seconds: 0,
        estimated_seconds: None,
        left_out,
        dates,
    }
}

fn part(known: Option<&BTreeMap<String, Part>>, entity: Option<&EntityId>) -> Part {
    let name = entity.map_or("", EntityId::as_str);
    known.and_then(|parts| parts.get(name)).copied().unwrap_or_default()
}

fn standing(entities: &[Option<EntityId>], known: Option<&BTreeMap<String, Part>>) -> Stands {
    let whole = part(known, None).is_discarded;
    let stands: Vec<Stands> = entities
        .iter()
        .map(|entity| {
            let Part { reached, is_discarded } = part(known, entity.as_ref());
            match reached {
                Some(Reached::Published) => Stands::Published,
                _ if is_discarded || whole => Stands::Discarded,
                Some(Reached::Quarantined) => Stands::Quarantined,
                Some(Reached::Failed) => Stands::Failed,
                Some(Reached::Fetched) | None => Stands::Missing,
            }
        })
        .collect();
    [Stands::Missing, Stands::Failed, Stands::Quarantined, Stands::Discarded]
        .into_iter()
        .find(|wanted| stands.contains(wanted))
        .unwrap_or(Stands::Published)
}

fn whole_seconds(long: Duration) -> u64 {
    long.as_secs() + u64::from(long.subsec_nanos() > 0)
}
