//! What the clock says is wrong: days that are late or missing, and a schedule that nobody keeps.
//!
//! In: the days as they stand now, and the scheduler's heartbeat. Out: alerts and their messages, in the
//! transaction that read them. Any living process looks, once a minute and after each run: looking twice tells
//! nothing twice. Deliberately absent: who is told.

use daymark_plan::{AlertEvent, DayState, Plan};
use jiff::{Timestamp, ToSpan};
use tokio_postgres::Transaction;

use super::state::Condition;
use super::{day_key, given_up, lock, open, reason_given_up, settle_conditions};
use crate::days::{self, Day};
use crate::error::WarehouseError;
use crate::session::Session;

/// Days older than this are history: `daymark status` shows them, and nobody is woken by them.
const DAYS_BACK: i64 = 7;
/// An alert of a day stays open for so long at most before it is let be.
const OLDEST: i64 = 400;
/// The key of the scheduler.
const SCHEDULER: &str = "scheduler";
/// How long nobody may lead before it is told: another process takes over much sooner.
const STALE_SECONDS: f64 = 120.0;
/// How long after a fire that nobody ran it is told.
const FIRE_GRACE_MINUTES: i64 = 5;

/// Looks at the days and the scheduler; gives whether somebody keeps the schedule.
pub async fn look(
    session: &mut Session,
    plan: &Plan,
    now: Timestamp,
) -> Result<bool, WarehouseError> {
    let doing = WarehouseError::statement("looking for what is wrong");
    let transaction = session.client().transaction().await.map_err(&doing)?;
    lock(&transaction).await?;
    days(&transaction, plan, now).await?;
    let is_kept = scheduler(&transaction, now).await?;
    transaction.commit().await.map_err(&doing)?;
    Ok(is_kept)
}

async fn days(
    transaction: &Transaction<'_>,
    plan: &Plan,
    now: Timestamp,
) -> Result<(), WarehouseError> {
    let today = now.to_zoned(plan.settings.zone.clone()).date();
    let recent = today.saturating_sub(DAYS_BACK.days());
    let oldest = today.saturating_sub(OLDEST.days());
    let mut known = open(transaction, &[], Some("day:%")).await?;
    let given_up = given_up(transaction).await?;
    let first = known.iter().filter_map(|known| known.data_date).min().unwrap_or(recent);
    let from = first.clamp(oldest, recent);
    let sources = days::days(transaction, plan, from, today.saturating_add(1.days()), now).await?;
    let mut found = Vec::new();
    for source in &sources {
        for day in &source.days {
            let key = day_key(source.source.as_str(), day.date);
            let is_open = known.iter().any(|known| known.key == key);
            let because = given_up.get(&(source.source.to_string(), day.date));
            let Some((event, reason)) =
                wrong(day, because.map(String::as_str)).filter(|_| is_open || day.date >= recent)
            else {
                continue;
            };
            found.push(Condition {
                key,
                event,
                source_id: Some(source.source.to_string()),
                data_date: Some(day.date),
                amount: None,
                reason,
            });
        }
    }
    known.retain(|known| known.data_date.is_none_or(|date| date >= from));
    settle_conditions(transaction, found, &known, now).await
}

/// What is wrong with a day; `given_up` says why it is not tried any more.
fn wrong(day: &Day, given_up: Option<&str>) -> Option<(AlertEvent, String)> {
    let last = day.last_outcome.as_deref();
    // Of one that was received and could not be published the last attempt tells.
    let is_failed = matches!(
        (day.state, last),
        (DayState::Failed, _) | (DayState::Fetched | DayState::Late, Some("failed"))
    );
    if let (true, Some(because)) = (is_failed, given_up) {
        let reason = day.reason.as_deref().unwrap_or("it failed");
        return Some((AlertEvent::GivenUp, reason_given_up(reason, because)));
    }
    let event = match (day.state, last) {
        (DayState::Failed, _) | (DayState::Published, Some("failed")) => AlertEvent::RunFailed,
        (DayState::Quarantined, _) | (DayState::Published, Some("quarantined")) => {
            AlertEvent::Quarantined
        }
        (DayState::Late, _) => AlertEvent::Late,
        (DayState::Missing, _) => AlertEvent::Missing,
        _ => return None,
    };
    let reason = day.reason.clone().unwrap_or_default();
    let before = if day.state == DayState::Published { "published before; now: " } else { "" };
    Some((event, format!("{before}{reason}")))
}

async fn scheduler(transaction: &Transaction<'_>, now: Timestamp) -> Result<bool, WarehouseError> {
    let doing = WarehouseError::statement("reading the scheduler's heartbeat");
    // Leadership is told by the database's clock, fires by the program's.
    let row = transaction
        .query_opt(
            "select holder, seen_at, stopped_at, next_fire_at,
                    stopped_at is null and extract(epoch from clock_timestamp() - until)::float8 > $1
             from daymark.lease",
            &[&STALE_SECONDS],
        )
        .await
        .map_err(&doing)?;
    let found = row.and_then(|row| {
        let holder: String = row.get(0);
        let (seen_at, stopped_at): (Timestamp, Option<Timestamp>) = (row.get(1), row.get(2));
        let next: Option<Timestamp> = row.get(3);
        let is_stale: bool = row.get(4);
        let overdue = next.filter(|next| {
            now.duration_since(*next) >= jiff::SignedDuration::from_mins(FIRE_GRACE_MINUTES)
        });
        match (is_stale, stopped_at, overdue) {
            (true, ..) => Some(format!("nobody keeps the schedule: `{holder}` was last seen at {seen_at}")),
            (false, Some(stopped_at), Some(next)) => Some(format!(
                "nobody keeps the schedule since {stopped_at}, when `{holder}` was stopped; the run of {next} did not start"
            )),
            _ => None,
        }
    });
    let found = found.map(|reason| Condition {
        key: SCHEDULER.to_owned(),
        event: AlertEvent::SchedulerStopped,
        source_id: None,
        data_date: None,
        amount: None,
        reason,
    });
    let known = open(transaction, &[SCHEDULER.to_owned()], None).await?;
    let is_kept = found.is_none();
    settle_conditions(transaction, found.into_iter().collect(), &known, now).await?;
    Ok(is_kept)
}
