//! The days of every source, with their states.
//!
//! In: what the ledger recorded, calendar and clock. Out: a [`Day`] for each data date. States are worked out
//! here, at read time ([`daymark_plan::DayRules::standing`]), so that a dead scheduler still turns a day late. A
//! day of a source with entities is published when all of them are. Deliberately absent: writing anything.

use std::collections::BTreeMap;

use daymark_plan::{DayFacts, DayState, EntityId, Expected, Plan, Reached, SourceId, Standing};
use jiff::Timestamp;
use jiff::civil::Date;
use tokio_postgres::GenericClient;
use uuid::Uuid;

use crate::error::WarehouseError;

/// How many entities a day's reason tells of.
const TOLD: usize = 3;

/// One day of a source.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Day {
    /// The data date.
    pub date: Date,
    /// The best outcome reached.
    pub state: DayState,
    /// Why it is in that state, when there is something to say.
    pub reason: Option<String>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// By when it is to be published; none when nothing is expected of it.
    pub deadline: Option<Timestamp>,
    /// The last attempt's outcome, when there was one: `published`, `fetched`, `failed` or
    /// `quarantined`.
    pub last_outcome: Option<String>,
    /// When that was.
    pub last_at: Option<Timestamp>,
    /// Attempts to publish it so far; of a source with entities the most that one of them needed.
    pub attempts: u32,
    /// The run of the last attempt.
    pub run: Option<Uuid>,
    /// The newest publish it is in; of a source with entities the newest of theirs.
    pub publish: Option<i64>,
    /// Its entities, in the order of the folder; none for a source without.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entities: Vec<EntityDay>,
}

/// One entity's part of a day.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct EntityDay {
    /// The entity.
    pub entity: EntityId,
    /// The best outcome reached.
    pub state: DayState,
    /// Why it is in that state, when there is something to say.
    pub reason: Option<String>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// The last attempt's outcome, when there was one.
    pub last_outcome: Option<String>,
    /// The run of the last attempt.
    pub run: Option<Uuid>,
    /// The newest publish it is in.
    pub publish: Option<i64>,
}

/// The days of a source, in order.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct SourceDays {
    /// The source.
    pub source: SourceId,
    /// Its days, in order.
    pub days: Vec<Day>,
}

/// What the ledger has of one entity's part of a day; `""` is the entity of a source without.
#[derive(Debug, Default, Clone)]
struct Recorded {
    facts: DayFacts,
    last_outcome: Option<String>,
    attempts: u32,
    run: Option<Uuid>,
    publish: Option<i64>,
}

/// Rows of the ledger by source, date and entity.
type Known = BTreeMap<(String, Date), BTreeMap<String, Recorded>>;

/// The days of every source in a range, as they stand at `now`.
pub(crate) async fn days(
    client: &impl GenericClient,
    plan: &Plan,
    from: Date,
    to: Date,
    now: Timestamp,
) -> Result<Vec<SourceDays>, WarehouseError> {
    let doing = WarehouseError::statement("reading the days");
    let first_days: BTreeMap<(String, String), Date> = client
        .query(
            "select source_id, entity, min(data_date) from daymark.day group by source_id, entity",
            &[],
        )
        .await
        .map_err(&doing)?
        .iter()
        .map(|row| ((row.get(0), row.get(1)), row.get(2)))
        .collect();
    let mut known = recorded(client, from, to).await?;
    let mut sources = Vec::new();
    for source in &plan.sources {
        let rules = plan.day_rules(source);
        let id = source.id.as_str().to_owned();
        let first_of = |entity: &str| first_days.get(&(id.clone(), entity.to_owned())).copied();
        let entities: Vec<(&EntityId, Option<Date>)> = source
            .entities
            .rows
            .iter()
            .map(|entity| (&entity.id, first_of(entity.id.as_str())))
            .collect();
        let seen = entities.iter().filter_map(|(_, first)| *first).chain(first_of("")).min();
        let first = source.start.or(seen);
        let mut days = Vec::new();
        let mut date = first.map_or(to, |first| first.max(from));
        while date <= to {
            let mut recorded = known.remove(&(id.clone(), date)).unwrap_or_default();
            let expected = rules.expected(date);
            let of_source = recorded.remove("").unwrap_or_default();
            let stands = |recorded: &Recorded| {
                let mut facts = recorded.facts.clone();
                // A source without any attempt and without a start owes nothing yet.
                facts.is_before_start = first.is_none();
                rules.standing(expected, &facts, now)
            };
            let mut day = of_entities(&entities, date, recorded, &of_source, &stands)
                .unwrap_or_else(|| of_one(date, of_source, &stands));
            if let Expected::By { late, .. } = expected {
                day.deadline = Some(late);
            }
            days.push(day);
            let Ok(next) = date.tomorrow() else { break };
            date = next;
        }
        sources.push(SourceDays { source: source.id.clone(), days });
    }
    Ok(sources)
}

/// What the ledger has of the days in a range.
async fn recorded(
    client: &impl GenericClient,
    from: Date,
    to: Date,
) -> Result<Known, WarehouseError> {
    let doing = WarehouseError::statement("reading the days");
    // PostgreSQL's dates do not begin as early as ours.
    let from = from.max(jiff::civil::date(1, 1, 1));
    let rows = client
        .query(
            "select source_id, data_date, entity, state, coalesce(day.reason, last_reason), since,
                    last_outcome, last_at, coalesce(attempts, 0), run_id, publish_id, skip.at, skip.reason
             from daymark.day full join daymark.skip using (source_id, data_date, entity)
             where data_date between $1 and $2",
            &[&from, &to],
        )
        .await
        .map_err(&doing)?;
    let mut known = Known::new();
    for row in rows {
        let reached = row.get::<_, Option<&str>>(3).map(|state| {
            let reached = match state {
                "published" => Reached::Published,
                "quarantined" => Reached::Quarantined,
                "fetched" => Reached::Fetched,
                _ => Reached::Failed,
            };
            (reached, row.get(5), row.get(4))
        });
        let skipped = row.get::<_, Option<Timestamp>>(11).map(|at| (at, row.get(12)));
        let facts = DayFacts { reached, last_at: row.get(7), skipped, is_before_start: false };
        let recorded = Recorded {
            facts,
            last_outcome: row.get(6),
            attempts: u32::try_from(row.get::<_, i32>(8)).unwrap_or(0),
            run: row.get(9),
            publish: row.get(10),
        };
        known.entry((row.get(0), row.get(1))).or_default().insert(row.get(2), recorded);
    }
    Ok(known)
}

/// The day of a source without entities, or of one of whose entities nothing is known.
fn of_one(date: Date, recorded: Recorded, stands: &dyn Fn(&Recorded) -> Standing) -> Day {
    let Standing { state, since, reason } = stands(&recorded);
    Day {
        date,
        state,
        reason,
        since,
        deadline: None,
        last_outcome: recorded.last_outcome,
        last_at: recorded.facts.last_at,
        attempts: recorded.attempts,
        run: recorded.run,
        publish: recorded.publish,
        entities: Vec::new(),
    }
}

/// The day of a source with entities; none when nothing is known of any of them. An entity owes the days
/// from the first one it was ever fetched for on, like a source. What was left out as a whole day is left out of
/// each of its entities.
fn of_entities(
    entities: &[(&EntityId, Option<Date>)],
    date: Date,
    mut recorded: BTreeMap<String, Recorded>,
    of_source: &Recorded,
    stands: &dyn Fn(&Recorded) -> Standing,
) -> Option<Day> {
    let mut parts = Vec::new();
    let mut day = of_one(date, Recorded::default(), stands);
    (day.since, day.reason) = (None, None);
    let mut is_known = false;
    for (entity, first) in entities {
        let found = recorded.remove(entity.as_str());
        let is_owed = first.is_some_and(|first| first <= date);
        if found.is_none() && !is_owed {
            continue;
        }
        is_known |= found.is_some();
        let mut found = found.unwrap_or_default();
        found.facts.skipped = found.facts.skipped.or_else(|| of_source.facts.skipped.clone());
        let Standing { state, since, reason } = stands(&found);
        day.last_at = day.last_at.max(found.facts.last_at);
        day.attempts = day.attempts.max(found.attempts);
        day.run = day.run.max(found.run);
        day.publish = day.publish.max(found.publish);
        let Recorded { last_outcome, run, publish, .. } = found;
        let entity = (*entity).clone();
        parts.push(EntityDay { entity, state, reason, since, last_outcome, run, publish });
    }
    if !is_known {
        return None;
    }
    day.state = worst(&parts);
    let of_state = parts.iter().filter(|part| part.state == day.state);
    day.since = of_state.filter_map(|part| part.since).max();
    let last = |word: &str| parts.iter().any(|part| part.last_outcome.as_deref() == Some(word));
    let outcomes = ["failed", "quarantined", "fetched", "published"];
    day.last_outcome = outcomes.into_iter().find(|word| last(word)).map(str::to_owned);
    day.reason = told(&parts);
    day.entities = parts;
    Some(day)
}

/// The state of a day by those of its entities: what is most in need of a look, and `published` only when
/// nothing of it is open.
fn worst(parts: &[EntityDay]) -> DayState {
    [
        DayState::Failed,
        DayState::Quarantined,
        DayState::Missing,
        DayState::Late,
        DayState::Fetched,
        DayState::Expected,
        DayState::Published,
        DayState::Skipped,
    ]
    .into_iter()
    .find(|state| parts.iter().any(|part| part.state == *state))
    .unwrap_or(DayState::Holiday)
}

/// What is wrong with how many entities, the first of them by name.
fn told(parts: &[EntityDay]) -> Option<String> {
    let is_well = |part: &&EntityDay| {
        let last = part.last_outcome.as_deref();
        matches!(part.state, DayState::Published | DayState::Expected | DayState::Holiday)
            && last.is_none_or(|word| word == "published")
    };
    let wrong: Vec<&EntityDay> = parts.iter().filter(|part| !is_well(part)).collect();
    let first: Vec<String> = wrong
        .iter()
        .take(TOLD)
        .map(|part| {
            let reason = part.reason.as_deref().unwrap_or(part.state.as_str());
            format!("{}: {reason}", part.entity)
        })
        .collect();
    let more = wrong.len().saturating_sub(TOLD);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let (count, of) = (wrong.len(), parts.len());
    (count > 0).then(|| format!("{count} of {of} entities: {}{more}", first.join("; ")))
}
