//! What is not kept for ever: the requests and the log of old runs, and alerts that were resolved long ago.
//!
//! In: for how long they are kept, and the leader's [`Fence`]. Out: fewer rows of `daymark.attempt`,
//! `daymark.run_log`, `daymark.alert`, `daymark.alert_outbox` and `daymark.alert_delivery`, a small batch at a time,
//! so that nobody waits. A run keeps its own row, with its steps, and says when the rest was removed.
//! Deliberately absent: days, publishes, fetches, restatements, checks, fires and what people said. They are the
//! record that readers and the schedule rely on, and stay.

use jiff::{SignedDuration, Timestamp};

use crate::error::WarehouseError;
use crate::lease::Fence;
use crate::session::Session;

/// How often it is looked for what is too old.
pub const EVERY: SignedDuration = SignedDuration::from_hours(24);
/// Runs whose requests and log are removed in one transaction.
const RUNS: i64 = 20;
/// Alerts that are removed in one transaction.
const ALERTS: i64 = 200;

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tidied {
    /// It was looked at not long ago; the next look is due then.
    NotDue(Timestamp),
    /// Something was removed, and there may be more.
    Some {
        /// Runs whose requests and logs were removed.
        runs: i64,
        /// Alerts that were removed.
        alerts: i64,
    },
    /// Nothing is too old.
    Done,
}

/// Removes a batch of what is older than `keep`, if that is due.
pub async fn tidy(
    session: &mut Session,
    fence: &Fence,
    keep: SignedDuration,
    now: Timestamp,
) -> Result<Tidied, WarehouseError> {
    let doing = WarehouseError::statement("removing old logs");
    let transaction = session.client().transaction().await.map_err(&doing)?;
    fence.check(&transaction).await?;
    let row = transaction
        .query_opt("select tidied_at from daymark.pipeline", &[])
        .await
        .map_err(&doing)?;
    let last: Option<Timestamp> = row.and_then(|row| row.get(0));
    let next = last.and_then(|last| last.checked_add(EVERY).ok());
    if let Some(next) = next.filter(|next| *next > now) {
        return Ok(Tidied::NotDue(next));
    }
    let oldest = now.checked_sub(keep).unwrap_or(Timestamp::MIN);
    let runs: i64 = transaction
        .query_one(
            "with old as (
                 update daymark.run set logs_removed_at = $2
                 where run_id in (select run_id from daymark.run
                                  where logs_removed_at is null and started_at < $1 and finished_at < $1
                                  order by started_at limit $3)
                 returning run_id
             ), requests as (
                 delete from daymark.attempt where run_id in (select run_id from old)
             ), lines as (
                 delete from daymark.run_log where run_id in (select run_id from old)
             )
             select count(*) from old",
            &[&oldest, &now, &RUNS],
        )
        .await
        .map_err(&doing)?
        .get(0);
    // What is on its way, or was not decided yet, is not old news.
    let alerts: Vec<i64> = transaction
        .query(
            "select alert_id from daymark.alert
             where resolved_at < $1
               and not exists (select from daymark.alert_outbox as news
                               where news.alert_id = alert.alert_id and news.planned_at is null)
               and not exists (select from daymark.alert_delivery as message
                               where message.alert_id = alert.alert_id and message.state = 'pending')
             order by resolved_at limit $2",
            &[&oldest, &ALERTS],
        )
        .await
        .map_err(&doing)?
        .iter()
        .map(|row| row.get(0))
        .collect();
    for table in ["alert_delivery", "alert_outbox", "alert"] {
        let delete = format!("delete from daymark.{table} where alert_id = any($1)");
        transaction.execute(&delete, &[&alerts]).await.map_err(&doing)?;
    }
    let alerts = i64::try_from(alerts.len()).unwrap_or(i64::MAX);
    let done = runs == 0 && alerts == 0;
    if done {
        transaction
            .execute("update daymark.pipeline set tidied_at = $1", &[&now])
            .await
            .map_err(&doing)?;
    }
    transaction.commit().await.map_err(&doing)?;
    Ok(if done { Tidied::Done } else { Tidied::Some { runs, alerts } })
}
