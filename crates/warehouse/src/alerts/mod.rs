//! Alerts: what is wrong, since when, and who has been told.
//!
//! In: what the ledger says after a publish, a run or a look at the clock. Out: rows of `daymark.alert` and
//! `daymark.alert_outbox`, in the transaction of the state they report, so that none is lost with a process;
//! and messages for channels (`outbox`), which whoever lives delivers. An alert is opened when its condition is
//! found and resolved when the same look finds it gone: a healthy check closes its own alert. `state.rs` decides
//! what becomes of an alert, `tell.rs` who is told: both pure. Deliberately absent: sending (`daymark`).

mod hooks;
mod list;
mod look;
mod outbox;
mod state;
mod tell;

use std::collections::BTreeMap;

use daymark_plan::AlertEvent;
use jiff::Timestamp;
use jiff::civil::Date;
use tokio_postgres::{GenericClient, Transaction};

use crate::error::WarehouseError;

pub(crate) use hooks::{day_left_out, days_given_up, published, run_closed, run_failed};
pub use list::{Mute, NewMute, OpenAlert, Overview, Undelivered, mute, overview, unmute};
pub use look::look;
pub use outbox::{Batch, Message, Sent, claim, settle};
use state::{Change, Condition, Known, changes};
pub use tell::Action;

/// Makes looks at alerts serial, until the transaction ends: always the last lock a transaction takes.
async fn lock(transaction: &Transaction<'_>) -> Result<(), WarehouseError> {
    transaction
        .execute("select pg_advisory_xact_lock(hashtextextended('daymark:alerts', 0))", &[])
        .await
        .map_err(WarehouseError::statement("waiting for another look at the alerts"))?;
    Ok(())
}

/// The open alerts of some keys; a pattern is of SQL's `like`.
async fn open(
    client: &impl GenericClient,
    keys: &[String],
    pattern: Option<&str>,
) -> Result<Vec<Known>, WarehouseError> {
    let rows = client
        .query(
            "select alert_id, key, event, data_date from daymark.alert
             where resolved_at is null and (key = any($1) or key like $2) order by alert_id",
            &[&keys, &pattern],
        )
        .await
        .map_err(WarehouseError::statement("reading the open alerts"))?;
    Ok(rows
        .iter()
        .map(|row| Known {
            alert_id: row.get(0),
            key: row.get(1),
            event: event(row.get(2)),
            data_date: row.get(3),
        })
        .collect())
}

/// The event of a word of the ledger. Words of a newer program cannot be there: it has a newer ledger.
fn event(word: &str) -> AlertEvent {
    AlertEvent::parse(word).unwrap_or(AlertEvent::RunFailed)
}

/// Brings alerts to what was found, each with its message for the outbox. `looked_at` are the keys that were
/// looked at: what is open under one of them and was not found is well again.
async fn settle_conditions(
    transaction: &Transaction<'_>,
    found: Vec<Condition>,
    known: &[Known],
    now: Timestamp,
) -> Result<(), WarehouseError> {
    let doing = WarehouseError::statement("recording an alert");
    for change in changes(found, known) {
        match change {
            Change::Open(condition) => {
                let opened = transaction
                    .query_opt(
                        "insert into daymark.alert (key, event, source_id, data_date, amount, reason, opened_at)
                         values ($1, $2, $3, $4, $5, $6, $7)
                         on conflict (key) where resolved_at is null do nothing returning alert_id",
                        &[
                            &condition.key,
                            &condition.event.as_str(),
                            &condition.source_id,
                            &condition.data_date,
                            &condition.amount,
                            &condition.reason,
                            &now,
                        ],
                    )
                    .await
                    .map_err(&doing)?;
                if let Some(row) = opened {
                    put(transaction, row.get(0), "trigger", now).await?;
                }
            }
            Change::Update { alert_id, condition, tell } => {
                transaction
                    .execute(
                        "update daymark.alert set event = $2, data_date = $3, amount = $4, reason = $5
                         where alert_id = $1",
                        &[
                            &alert_id,
                            &condition.event.as_str(),
                            &condition.data_date,
                            &condition.amount,
                            &condition.reason,
                        ],
                    )
                    .await
                    .map_err(&doing)?;
                if tell {
                    put(transaction, alert_id, "trigger", now).await?;
                }
            }
            Change::Resolve { alert_id } => {
                transaction
                    .execute(
                        "update daymark.alert set resolved_at = $2 where alert_id = $1",
                        &[&alert_id, &now],
                    )
                    .await
                    .map_err(&doing)?;
                put(transaction, alert_id, "resolve", now).await?;
            }
        }
    }
    Ok(())
}

/// Puts what an alert says now into the outbox.
async fn put(
    transaction: &Transaction<'_>,
    alert_id: i64,
    action: &str,
    now: Timestamp,
) -> Result<(), WarehouseError> {
    transaction
        .execute(
            "insert into daymark.alert_outbox (alert_id, number, action, event, amount, reason, at)
             select alert_id, 1 + (select count(*)::integer from daymark.alert_outbox where alert_id = $1),
                    $2, event, amount, reason, $3
             from daymark.alert where alert_id = $1",
            &[&alert_id, &action, &now],
        )
        .await
        .map_err(WarehouseError::statement("putting an alert into the outbox"))?;
    Ok(())
}

/// The days that failed and are not tried any more, each with why not.
async fn given_up(
    client: &impl GenericClient,
) -> Result<BTreeMap<(String, Date), String>, WarehouseError> {
    let rows = client
        .query(
            "select source_id, data_date, dead_because from daymark.retry where state = 'dead'",
            &[],
        )
        .await
        .map_err(WarehouseError::statement("reading the days that were given up"))?;
    Ok(rows.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect())
}

/// Why a day failed, and why it is not tried any more.
fn reason_given_up(reason: &str, because: &str) -> String {
    format!("{reason}; given up: {because}")
}

/// The key of a day's alert.
fn day_key(source_id: &str, date: Date) -> String {
    format!("day:{source_id}:{date}")
}
