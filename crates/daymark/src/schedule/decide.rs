//! What becomes of the fires that have come.
//!
//! In: the plan, what the ledger knows of the schedule, now. Out: [`Decisions`] to write, what to run at once
//! ([`Group`]s), and when to look again. Pure: the same question always has the same answer, so that a leader
//! that took over in the middle decides as the one before it. Deliberately absent: writing and running.

use std::collections::{BTreeMap, BTreeSet};

use daymark_plan::{Missed, Overlap, Plan, Schedule, Source, SourceId, data_date};
use daymark_warehouse::fires::{Board, Decision, Decisions, GivenUp, OpenFire, Pause, Skipped};
use daymark_warehouse::ledger::SkipKind;
use daymark_warehouse::retries::OpenRetry;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

/// A fire that is acted on within so much is on time: a takeover and a short outage of the database are no
/// reason to call it missed.
pub(crate) const ON_TIME: SignedDuration = SignedDuration::from_mins(1);
/// Why an old fire is not made up for.
const TOO_OLD: &str = "missed, and older than `missed_max_age`";
/// The most fires of one source that are decided at once; the rest follows.
const AT_ONCE: usize = 10_000;

/// Fires of one instant that are run together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    /// The scheduled instant.
    pub(crate) scheduled_at: Timestamp,
    /// Whether it is made up for.
    pub(crate) missed: bool,
    /// The fires, with their sources.
    pub(crate) fires: Vec<(i64, SourceId)>,
}

/// What becomes of the fires between what is decided and now.
pub(crate) fn decide(plan: &Plan, board: &Board, now: Timestamp) -> Decisions {
    let mut decisions = Decisions::default();
    for source in &plan.sources {
        let id = source.id.as_str();
        let decided = board.decided_until.get(id).copied();
        // A pipeline that is scheduled for the first time owes nothing from before.
        let from = decided.or(board.acted_on_until).unwrap_or(now);
        let is_paused = board.pauses.iter().any(|pause| pause.holds(id, now));
        if decided.is_none() {
            decisions.decided_until.insert(source.id.clone(), from);
        }
        // What falls into a pause is decided when it ends, by the rule for missed fires.
        if is_paused {
            continue;
        }
        let going = board
            .open
            .iter()
            .find(|fire| fire.source_id == id && fire.claimed.is_some())
            .map(|fire| fire.scheduled_at);
        let mut of = of_source(source, plan.schedule_of(source), from, now, going, &board.pauses);
        leave_out_days(plan, source, &mut of);
        if let Some(last) = of.last() {
            decisions.decided_until.insert(source.id.clone(), last.scheduled_at);
        }
        decisions.fires.extend(of);
    }
    for fire in &board.open {
        if fire.claimed.is_none()
            && plan.sources.iter().all(|source| source.id.as_str() != fire.source_id)
        {
            let reason = "the source is not in the pipeline folder any more".to_owned();
            decisions.dropped.push((fire.fire_id, reason));
        }
    }
    start_together(&mut decisions.fires);
    for retry in board.retries.iter().filter(|retry| retry.claimed.is_none()) {
        if let Next::Never(because) = next_try(plan, retry, now) {
            let (source_id, data_date) = (retry.source_id.clone(), retry.data_date);
            let is_told = plan.sources.iter().any(|source| source.id.as_str() == source_id);
            decisions.days_dead.push(GivenUp { source_id, data_date, because, is_told });
        }
    }
    decisions
}

/// What is next for a day that failed.
enum Next {
    /// It is tried again.
    Try {
        /// When, as reckoned from its last failure: the same for whoever reckons.
        due: Timestamp,
        /// Not before.
        from: Timestamp,
    },
    /// It is given up, and why.
    Never(String),
}

/// When a day that failed is tried again, if at all.
fn next_try(plan: &Plan, retry: &OpenRetry, now: Timestamp) -> Next {
    let source = plan.sources.iter().find(|source| source.id.as_str() == retry.source_id);
    let Some(source) = source else {
        return Next::Never("the source is not in the pipeline folder any more".to_owned());
    };
    let days = source.days;
    if retry.attempts >= days.attempts {
        let times = crate::output::counted(u64::from(retry.attempts), "time");
        return Next::Never(format!("it was tried {times}, as often as `days.attempts` says"));
    }
    let doubled = 1 << retry.attempts.saturating_sub(1).min(16);
    let wait = days.backoff.saturating_mul(doubled);
    let due = retry.last_at.checked_add(wait).unwrap_or(Timestamp::MAX);
    let from = due.max(retry.not_before.unwrap_or(due));
    let until = retry.scheduled_at.checked_add(days.max_age).unwrap_or(Timestamp::MAX);
    if from.max(now) > until {
        return Next::Never(
            "the next try would be later than `days.max_age` after its fire".to_owned(),
        );
    }
    let zone = &plan.settings.zone;
    if !source.answers_for_any_date()
        && data_date(source.data_date, &source.calendar, zone, from.max(now)) != retry.data_date
    {
        return Next::Never(format!(
            "its API answers as of now, and {} is not the day that is due at the next try",
            retry.data_date
        ));
    }
    Next::Try { due, from }
}

/// The days that failed and are to be tried now, each with when that became due: of each source the one that
/// waits longest, unless one of its fires or days is being run.
pub(crate) fn days_to_try(
    plan: &Plan,
    board: &Board,
    now: Timestamp,
) -> Vec<(SourceId, Date, Timestamp)> {
    let mut busy = busy(board);
    busy.extend(runnable(plan, board, now).iter().flat_map(|group| &group.fires).filter_map(
        |(id, _)| {
            board.open.iter().find(|fire| fire.fire_id == *id).map(|fire| fire.source_id.as_str())
        },
    ));
    let mut days = Vec::new();
    for retry in board.retries.iter().filter(|retry| retry.claimed.is_none()) {
        let Next::Try { due, from } = next_try(plan, retry, now) else { continue };
        let paused = || board.pauses.iter().any(|pause| pause.holds(&retry.source_id, now));
        if from > now || paused() || !busy.insert(&retry.source_id) {
            continue;
        }
        let source = plan.sources.iter().find(|source| source.id.as_str() == retry.source_id);
        days.extend(source.map(|source| (source.id.clone(), retry.data_date, due)));
    }
    days
}

/// The sources that something is being run of.
fn busy(board: &Board) -> BTreeSet<&str> {
    let fires = board.open.iter().filter(|fire| fire.claimed.is_some());
    let days = board.retries.iter().filter(|retry| retry.claimed.is_some());
    fires
        .map(|fire| fire.source_id.as_str())
        .chain(days.map(|retry| retry.source_id.as_str()))
        .collect()
}

/// The fires of one source in (`from`, `now`], at most [`AT_ONCE`], oldest first.
fn of_source(
    source: &Source,
    schedule: &Schedule,
    from: Timestamp,
    now: Timestamp,
    going: Option<Timestamp>,
    pauses: &[Pause],
) -> Vec<Decision> {
    let Some(latest) = schedule.last_at_or_before(now).filter(|latest| *latest > from) else {
        return Vec::new();
    };
    let decided = |fire: Timestamp| {
        let age = now.duration_since(fire);
        let missed = age > ON_TIME;
        let skipped = if missed {
            skipped_as_missed(source, schedule, fire, latest, age).map(|why| {
                let held = pauses.iter().find(|pause| pause.holds(source.id.as_str(), fire));
                match held {
                    Some(Pause { why: Some(because), .. }) => format!("paused ({because}): {why}"),
                    Some(_) => format!("paused: {why}"),
                    None => why,
                }
            })
        } else {
            let going = going.filter(|_| schedule.overlap == Overlap::Skip);
            going.map(|going| format!("overlap: the run of the fire at {going} was still going"))
        };
        let skipped = skipped.map(|reason| Skipped { reason, day: None });
        let delay = schedule.delay(source.id.as_str(), fire);
        let starts_at = fire.checked_add(delay).unwrap_or(fire);
        Decision { source_id: source.id.clone(), scheduled_at: fire, starts_at, missed, skipped }
    };
    schedule.fires_between(from, now).take(AT_ONCE).map(decided).collect()
}

/// A day whose fires are all skipped is left out, where that is what the folder says: with `none`, and of what
/// is too old. With `last` it stays missing, for a backfill to fill.
fn leave_out_days(plan: &Plan, source: &Source, fires: &mut [Decision]) {
    let zone = &plan.settings.zone;
    let day = |at: Timestamp| data_date(source.data_date, &source.calendar, zone, at);
    let run: BTreeSet<Date> = fires
        .iter()
        .filter(|fire| fire.skipped.is_none())
        .map(|fire| day(fire.scheduled_at))
        .collect();
    let schedule = plan.schedule_of(source);
    for fire in fires.iter_mut().filter(|fire| fire.missed) {
        let Some(skipped) = &mut fire.skipped else { continue };
        let kind = match schedule.missed {
            Missed::None => SkipKind::Missed,
            _ if skipped.reason.ends_with(TOO_OLD) => SkipKind::TooOld,
            Missed::All | Missed::Last => continue,
        };
        let date = day(fire.scheduled_at);
        let expected = source.calendar.has_data_on(date);
        skipped.day = (expected && !run.contains(&date)).then_some((date, kind));
    }
}

/// Why a missed fire is not made up for.
fn skipped_as_missed(
    source: &Source,
    schedule: &Schedule,
    fire: Timestamp,
    latest: Timestamp,
    age: SignedDuration,
) -> Option<String> {
    if schedule.missed_max_age.is_some_and(|most| age > most) {
        return Some(TOO_OLD.to_owned());
    }
    match schedule.missed {
        Missed::None => Some("missed, and `missed` is `none`".to_owned()),
        // What such a source answers is of now, and the same for each of its fires.
        Missed::All if source.answers_for_any_date() || fire == latest => None,
        Missed::All => Some(format!(
            "missed; the API answers as of now, so the fire at {latest} is made up for only"
        )),
        Missed::Last if fire == latest => None,
        Missed::Last => Some(format!("missed; the fire at {latest} is made up for")),
    }
}

/// Has fires of one instant start together, after the longest of their delays.
fn start_together(fires: &mut [Decision]) {
    let mut latest: BTreeMap<Timestamp, Timestamp> = BTreeMap::new();
    for fire in fires.iter() {
        let starts = latest.entry(fire.scheduled_at).or_insert(fire.starts_at);
        *starts = fire.starts_at.max(*starts);
    }
    for fire in fires {
        fire.starts_at = latest[&fire.scheduled_at];
    }
}

/// What is to be run now: of each source its oldest fire that is due, unless one of its fires is being run.
pub(crate) fn runnable(plan: &Plan, board: &Board, now: Timestamp) -> Vec<Group> {
    let mut busy = busy(board);
    let mut groups: BTreeMap<Timestamp, Group> = BTreeMap::new();
    for fire in board.open.iter().filter(|fire| is_free(fire, board, now)) {
        let source = plan.sources.iter().find(|source| source.id.as_str() == fire.source_id);
        let Some(source) = source.filter(|_| busy.insert(&fire.source_id)) else { continue };
        let group = groups.entry(fire.scheduled_at).or_insert_with(|| Group {
            scheduled_at: fire.scheduled_at,
            missed: false,
            fires: Vec::new(),
        });
        group.missed |= fire.missed;
        group.fires.push((fire.fire_id, source.id.clone()));
    }
    groups.into_values().collect()
}

fn is_free(fire: &OpenFire, board: &Board, now: Timestamp) -> bool {
    let paused = || board.pauses.iter().any(|pause| pause.holds(&fire.source_id, now));
    fire.claimed.is_none() && fire.starts_at <= now && !paused()
}

/// The next scheduled instant of the sources that are not paused.
pub(crate) fn next_fire(plan: &Plan, board: &Board, now: Timestamp) -> Option<Timestamp> {
    plan.sources
        .iter()
        .filter(|source| !board.pauses.iter().any(|pause| pause.holds(source.id.as_str(), now)))
        .filter_map(|source| plan.schedule_of(source).next_after(now))
        .min()
}

/// The next instant at which there is something to decide or to run.
pub(crate) fn next_look(plan: &Plan, board: &Board, now: Timestamp) -> Option<Timestamp> {
    let starts = board.open.iter().filter(|fire| fire.claimed.is_none()).map(|fire| fire.starts_at);
    let resumed =
        board.pauses.iter().filter(|pause| pause.is_open(now)).filter_map(|pause| pause.until);
    let tries = board.retries.iter().filter(|retry| retry.claimed.is_none());
    let tries = tries.filter_map(|retry| match next_try(plan, retry, now) {
        Next::Try { from, .. } => Some(from),
        Next::Never(_) => None,
    });
    starts
        .chain(resumed)
        .chain(tries)
        .filter(|at| *at > now)
        .chain(next_fire(plan, board, now))
        .min()
}

#[cfg(test)]
mod tests;
