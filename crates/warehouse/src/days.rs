//! The days of every source, with their states.
//!
//! In: what the ledger recorded, calendar and clock. Out: a [`Day`] for each data date. States that
//! depend on calendar and clock are worked out here, at read time, so that a dead scheduler still turns
//! a day missing. A day of a source with entities is published when all of them are. Deliberately
//! absent: writing anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use daymark_plan::{EntityId, Plan, Source, SourceId};
use jiff::Timestamp;
use jiff::civil::Date;
use tokio_postgres::GenericClient;

use crate::error::WarehouseError;

/// How many entities a day's reason tells of.
const TOLD: usize = 3;

/// The state of a day (DESIGN.md section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DayState {
    /// Its time has not come yet.
    Expected,
    /// Received, not published.
    Fetched,
    /// Published.
    Published,
    /// Every attempt failed.
    Failed,
    /// Its deadline passed.
    Late,
    /// Its time came and went without an attempt.
    Missing,
    /// A check holds it back.
    Quarantined,
    /// Its source has no data on it.
    Holiday,
    /// A person decided to leave it out.
    Skipped,
}

impl DayState {
    /// The state's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expected => "expected",
            Self::Fetched => "fetched",
            Self::Published => "published",
            Self::Failed => "failed",
            Self::Late => "late",
            Self::Missing => "missing",
            Self::Quarantined => "quarantined",
            Self::Holiday => "holiday",
            Self::Skipped => "skipped",
        }
    }
}

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
    /// The last attempt's outcome, when there was one: `published`, `failed` or
    /// `quarantined`.
    pub last_outcome: Option<String>,
    /// Attempts to publish it so far; of a source with entities the most that one of them needed.
    pub attempts: u32,
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
    /// The last attempt's outcome, when there was one.
    pub last_outcome: Option<String>,
}

/// The days of a source, in order.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct SourceDays {
    /// The source.
    pub source: SourceId,
    /// Its days, in order.
    pub days: Vec<Day>,
}

/// Whether a source's day was to be attempted by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// The schedule never fires for it.
    Never,
    /// Its time has not come.
    NotYet,
    /// Its time has come.
    Now,
}

/// Tells whether a source's day was to be attempted by now.
pub type DueDays = Arc<dyn Fn(&Source, Date) -> Due + Send + Sync>;

/// What the ledger has of one entity's part of a day; `""` is the entity of a source without.
struct Recorded {
    state: DayState,
    reason: Option<String>,
    since: Option<Timestamp>,
    last_outcome: Option<String>,
    attempts: u32,
}

/// Rows of the ledger by source, date and entity.
type Known = BTreeMap<(String, Date), BTreeMap<String, Recorded>>;

/// The days of every source in a range. `due` tells which days were to be attempted by now.
pub(crate) async fn days(
    client: &impl GenericClient,
    plan: &Plan,
    from: Date,
    to: Date,
    due: &(dyn Fn(&Source, Date) -> Due + Send + Sync),
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
    let rows = client
        .query(
            "select source_id, data_date, entity, state, coalesce(reason, last_reason), since,
                    last_outcome, attempts
             from daymark.day where data_date between $1 and $2",
            &[&from, &to],
        )
        .await
        .map_err(&doing)?;
    let mut known = Known::new();
    for row in rows {
        let state = match row.get(3) {
            "published" => DayState::Published,
            "quarantined" => DayState::Quarantined,
            _ => DayState::Failed,
        };
        let recorded = Recorded {
            state,
            reason: row.get(4),
            since: row.get(5),
            last_outcome: row.get(6),
            attempts: u32::try_from(row.get::<_, i32>(7)).unwrap_or(0),
        };
        known.entry((row.get(0), row.get(1))).or_default().insert(row.get(2), recorded);
    }
    let mut sources = Vec::new();
    for source in &plan.sources {
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
            let recorded = known.remove(&(id.clone(), date)).unwrap_or_default();
            // A source without any attempt and without a start owes nothing yet.
            let due = || if first.is_none() { Due::NotYet } else { due(source, date) };
            days.push(
                if entities.is_empty() {
                    of_one(recorded).map(|day| Day { date, ..day })
                } else {
                    of_entities(source, date, &entities, recorded, &due)
                }
                .unwrap_or_else(|| unattempted(source, date, due())),
            );
            let Ok(next) = date.tomorrow() else { break };
            date = next;
        }
        sources.push(SourceDays { source: source.id.clone(), days });
    }
    Ok(sources)
}

/// The day of a source without entities; none without an attempt.
fn of_one(mut recorded: BTreeMap<String, Recorded>) -> Option<Day> {
    let Recorded { state, reason, since, last_outcome, attempts } = recorded.remove("")?;
    let date = Date::ZERO;
    Some(Day { date, state, reason, since, last_outcome, attempts, entities: Vec::new() })
}

/// The day of a source with entities; none when none of them was attempted. An entity owes the days
/// from the first one it was ever fetched for on, like a source.
fn of_entities(
    source: &Source,
    date: Date,
    entities: &[(&EntityId, Option<Date>)],
    mut recorded: BTreeMap<String, Recorded>,
    due: &dyn Fn() -> Due,
) -> Option<Day> {
    let mut parts = Vec::new();
    let mut since = None;
    let mut attempts = 0;
    let mut attempted = false;
    for (entity, first) in entities {
        let entity = (*entity).clone();
        if let Some(found) = recorded.remove(entity.as_str()) {
            attempted = true;
            since = since.max(found.since);
            attempts = attempts.max(found.attempts);
            let Recorded { state, reason, last_outcome, .. } = found;
            parts.push(EntityDay { entity, state, reason, last_outcome });
        } else if first.is_some_and(|first| first <= date) {
            let Day { state, reason, .. } = unattempted(source, date, due());
            parts.push(EntityDay { entity, state, reason, last_outcome: None });
        }
    }
    if !attempted {
        return None;
    }
    let state = [DayState::Failed, DayState::Quarantined, DayState::Missing]
        .into_iter()
        .find(|state| parts.iter().any(|part| part.state == *state))
        .unwrap_or(DayState::Published);
    let last = |word: &str| parts.iter().any(|part| part.last_outcome.as_deref() == Some(word));
    let worst = ["failed", "quarantined"].into_iter().find(|word| last(word));
    let last_outcome = Some(worst.unwrap_or("published").to_owned());
    let reason = told(&parts);
    Some(Day { date, state, reason, since, last_outcome, attempts, entities: parts })
}

/// What is wrong with how many entities, the first of them by name.
fn told(parts: &[EntityDay]) -> Option<String> {
    let wrong: Vec<&EntityDay> = parts
        .iter()
        .filter(|part| {
            part.state != DayState::Published
                || part.last_outcome.as_deref().is_some_and(|word| word != "published")
        })
        .collect();
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

fn unattempted(source: &Source, date: Date, due: Due) -> Day {
    let has_data = source.calendar.has_data_on(date);
    let (state, reason) = match due {
        _ if !has_data => (DayState::Holiday, None),
        Due::Never => {
            (DayState::Holiday, Some("the schedule does not fire for this day".to_owned()))
        }
        Due::NotYet => (DayState::Expected, None),
        Due::Now => {
            (DayState::Missing, Some("its time came and no attempt is recorded".to_owned()))
        }
    };
    Day { date, state, reason, since: None, last_outcome: None, attempts: 0, entities: Vec::new() }
}
