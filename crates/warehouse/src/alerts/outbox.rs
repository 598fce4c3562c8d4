//! Messages on their way: planned after the commit of what they report, claimed, sent, settled.
//!
//! In: alerts with their news, and the folder's channels. Out: [`Batch`]es, one channel's messages at a time and in
//! order, claimed by one process; after the attempt, rows that say what came of it. Between the two no
//! transaction is open: the embedded database has one session for all. A claim that outlives its process lapses.
//! Deliberately absent: sending.

use std::collections::BTreeMap;

use daymark_plan::{AlertEvent, Channel};
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use tokio_postgres::Transaction;
use uuid::Uuid;

use super::list::{ActiveMute, active_mutes};
use super::tell::{Action, Alert, Said, Told, messages};
use super::{event, lock};
use crate::error::WarehouseError;
use crate::session::Session;

/// How long a claim is believed. Sending is given up well before.
const CLAIM: SignedDuration = SignedDuration::from_mins(3);
/// The most messages sent in one.
const BATCH: i64 = 100;
/// How long after a failed attempt the next one is made; four times as long each time.
const FIRST_WAIT: SignedDuration = SignedDuration::from_secs(30);
/// The longest of these waits.
const LAST_WAIT: SignedDuration = SignedDuration::from_hours(1);
/// A message this old is not sent any more.
const PATIENCE: SignedDuration = SignedDuration::from_hours(3 * 24);

/// One message of an alert to a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its number; the same when it is sent again.
    pub id: i64,
    /// The alert's key.
    pub key: String,
    /// Whether something is wrong, still is, or is well again.
    pub action: Action,
    /// What.
    pub event: AlertEvent,
    /// The source.
    pub source: Option<String>,
    /// The day.
    pub data_date: Option<Date>,
    /// Rows, where it is about rows.
    pub rows: Option<i64>,
    /// Why, in words.
    pub reason: String,
    /// Since when it is wrong.
    pub since: Timestamp,
    /// When this was said.
    pub at: Timestamp,
}

/// Messages of one channel that this process is to send.
#[derive(Debug)]
pub struct Batch {
    /// The channel.
    pub channel: String,
    /// The messages, oldest first.
    pub messages: Vec<Message>,
    claim: Uuid,
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// The channel took it.
    Yes,
    /// It did not.
    No {
        /// What it said, without secrets.
        error: String,
        /// When it wants to be asked again.
        again_after: Option<SignedDuration>,
    },
}

/// Plans what is new and claims the messages of a channel that are due; none when there are none.
pub async fn claim(
    session: &mut Session,
    channels: &[Channel],
    now: Timestamp,
) -> Result<Option<Batch>, WarehouseError> {
    let doing = WarehouseError::statement("claiming messages");
    let transaction = session.client().transaction().await.map_err(&doing)?;
    lock(&transaction).await?;
    plan(&transaction, channels, now).await?;
    let names: Vec<&str> = channels.iter().map(|channel| channel.name.as_str()).collect();
    let too_old = before(now, PATIENCE);
    transaction
        .execute(
            "update daymark.alert_delivery
             set state = 'given_up', error = coalesce(error, 'the folder has no such channel any more')
             where state = 'pending' and channel <> all($1) and at < $2",
            &[&names, &too_old],
        )
        .await
        .map_err(&doing)?;
    // The messages of a channel go out in order: the oldest decides, and what one process sends no other does.
    let due = transaction
        .query_opt(
            "select channel from (
                 select distinct on (channel) channel, delivery_id, next_at
                 from daymark.alert_delivery where state = 'pending' and channel = any($1)
                 order by channel, delivery_id
             ) as oldest
             where next_at <= $2 and not exists (
                 select 1 from daymark.alert_delivery as other
                 where other.channel = oldest.channel and other.state = 'pending' and other.claimed_until > $2)
             order by delivery_id limit 1",
            &[&names, &now],
        )
        .await
        .map_err(&doing)?;
    let Some(due) = due else {
        transaction.commit().await.map_err(&doing)?;
        return Ok(None);
    };
    let (channel, claim): (String, Uuid) = (due.get(0), Uuid::now_v7());
    let rows = transaction
        .query(
            "with due as (
                 select delivery_id from daymark.alert_delivery
                 where channel = $1 and state = 'pending' order by delivery_id limit $2
             ), claimed as (
                 update daymark.alert_delivery as delivery set claimed_by = $3, claimed_until = $4
                 from due where due.delivery_id = delivery.delivery_id returning delivery.*
             )
             select delivery_id, key, action, claimed.event, source_id, data_date, claimed.amount,
                    claimed.reason, opened_at, at
             from claimed join daymark.alert using (alert_id) order by delivery_id",
            &[&channel, &BATCH, &claim, &after(now, CLAIM)],
        )
        .await
        .map_err(&doing)?;
    transaction.commit().await.map_err(&doing)?;
    let messages = rows
        .iter()
        .map(|row| Message {
            id: row.get(0),
            key: row.get(1),
            action: Action::parse(row.get(2)),
            event: event(row.get(3)),
            source: row.get(4),
            data_date: row.get(5),
            rows: row.get(6),
            reason: row.get(7),
            since: row.get(8),
            at: row.get(9),
        })
        .collect();
    Ok(Some(Batch { channel, messages, claim }))
}

/// Records what came of an attempt.
pub async fn settle(
    session: &mut Session,
    batch: &Batch,
    sent: &Sent,
    now: Timestamp,
) -> Result<(), WarehouseError> {
    let doing = WarehouseError::statement("recording what came of a message");
    let client = session.client();
    match sent {
        Sent::Yes => client
            .execute(
                "update daymark.alert_delivery
                 set state = 'sent', attempts = attempts + 1, sent_at = $2, error = null,
                     claimed_by = null, claimed_until = null
                 where claimed_by = $1 and state = 'pending'",
                &[&batch.claim, &now],
            )
            .await
            .map_err(&doing)?,
        Sent::No { error, again_after } => {
            let tried = client
                .query_one(
                    "select coalesce(max(attempts), 0) from daymark.alert_delivery where claimed_by = $1",
                    &[&batch.claim],
                )
                .await
                .map_err(&doing)?;
            let wait = wait(tried.get(0)).max(again_after.unwrap_or_default());
            client
                .execute(
                    "update daymark.alert_delivery
                     set attempts = attempts + 1, error = $2, next_at = $3,
                         state = case when at < $4 then 'given_up' else state end,
                         claimed_by = null, claimed_until = null
                     where claimed_by = $1 and state = 'pending'",
                    &[&batch.claim, error, &after(now, wait), &before(now, PATIENCE)],
                )
                .await
                .map_err(&doing)?
        }
    };
    Ok(())
}

/// How long is waited after so many attempts and one more.
fn wait(attempts: i32) -> SignedDuration {
    let factor = 4_i32.saturating_pow(u32::try_from(attempts).unwrap_or(0).min(10));
    FIRST_WAIT.saturating_mul(factor).min(LAST_WAIT)
}

fn after(now: Timestamp, long: SignedDuration) -> Timestamp {
    now.checked_add(long).unwrap_or(Timestamp::MAX)
}

fn before(now: Timestamp, long: SignedDuration) -> Timestamp {
    now.checked_sub(long).unwrap_or(Timestamp::MIN)
}

/// Decides who is told of what is new, still open or muted no more.
async fn plan(
    transaction: &Transaction<'_>,
    channels: &[Channel],
    now: Timestamp,
) -> Result<(), WarehouseError> {
    let doing = WarehouseError::statement("deciding who is told");
    let rows = transaction
        .query(
            "select alert_id, source_id, data_date, opened_at, resolved_at is null, event, amount, reason
             from daymark.alert
             where resolved_at is null
                or alert_id in (select alert_id from daymark.alert_outbox where planned_at is null)
             order by alert_id",
            &[],
        )
        .await
        .map_err(&doing)?;
    if rows.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    let mut news = news(transaction, now).await?;
    let told = told(transaction, &ids).await?;
    let mutes = active_mutes(transaction, now).await?;
    for row in rows {
        let alert_id: i64 = row.get(0);
        let (source_id, data_date): (Option<String>, Option<Date>) = (row.get(1), row.get(2));
        let is_muted = mutes.iter().any(|mute| mute.covers(source_id.as_deref(), data_date));
        let alert = Alert {
            source_id,
            opened_at: row.get(3),
            is_open: row.get(4),
            now: Said {
                action: Action::Trigger,
                event: event(row.get(5)),
                amount: row.get(6),
                reason: row.get(7),
                at: now,
            },
            news: news.remove(&alert_id).unwrap_or_default(),
        };
        for channel in channels {
            let before = told.get(&(alert_id, channel.name.clone()));
            let told = before.map(|(told, _)| *told);
            let mut number = before.map_or(0, |(_, number)| *number);
            for said in messages(&alert, channel, told, is_muted, now) {
                number += 1;
                transaction
                    .execute(
                        "insert into daymark.alert_delivery
                             (alert_id, channel, number, action, event, amount, reason, at, next_at)
                         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                        &[
                            &alert_id,
                            &channel.name,
                            &number,
                            &said.action.as_str(),
                            &said.event.as_str(),
                            &said.amount,
                            &said.reason,
                            &said.at,
                            &now,
                        ],
                    )
                    .await
                    .map_err(&doing)?;
            }
        }
    }
    Ok(())
}

/// What nobody was told of yet, by alert and in order; from now on it counts as told.
async fn news(
    transaction: &Transaction<'_>,
    now: Timestamp,
) -> Result<BTreeMap<i64, Vec<Said>>, WarehouseError> {
    let rows = transaction
        .query(
            "with new as (
                 update daymark.alert_outbox set planned_at = $1 where planned_at is null
                 returning message_id, alert_id, action, event, amount, reason, at
             )
             select alert_id, action, event, amount, reason, at from new order by message_id",
            &[&now],
        )
        .await
        .map_err(WarehouseError::statement("reading the outbox"))?;
    let mut news: BTreeMap<i64, Vec<Said>> = BTreeMap::new();
    for row in rows {
        news.entry(row.get(0)).or_default().push(Said {
            action: Action::parse(row.get(1)),
            event: event(row.get(2)),
            amount: row.get(3),
            reason: row.get(4),
            at: row.get(5),
        });
    }
    Ok(news)
}

/// The last message of each alert to each channel, with its number.
async fn told(
    transaction: &Transaction<'_>,
    ids: &[i64],
) -> Result<BTreeMap<(i64, String), (Told, i32)>, WarehouseError> {
    let rows = transaction
        .query(
            "select distinct on (alert_id, channel) alert_id, channel, action, event,
                    coalesce(sent_at, at), number
             from daymark.alert_delivery where alert_id = any($1)
             order by alert_id, channel, number desc",
            &[&ids],
        )
        .await
        .map_err(WarehouseError::statement("reading who was told"))?;
    Ok(rows
        .iter()
        .map(|row| {
            let action = Action::parse(row.get(2));
            let told = Told { action, event: event(row.get(3)), at: row.get(4) };
            ((row.get(0), row.get(1)), (told, row.get(5)))
        })
        .collect())
}

impl ActiveMute {
    /// Whether an alert is muted. A mute of some days says nothing of what is of no day.
    fn covers(&self, source_id: Option<&str>, date: Option<Date>) -> bool {
        let of_source = self.source_id.as_deref().is_none_or(|id| source_id == Some(id));
        let is_dated = self.from_date.is_some() || self.to_date.is_some();
        let in_range = date.map_or(!is_dated, |date| {
            self.from_date.is_none_or(|from| from <= date)
                && self.to_date.is_none_or(|to| date <= to)
        });
        of_source && in_range
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn waits_grow_to_an_hour() {
        let seconds: Vec<i64> = (0..6).map(|attempts| wait(attempts).as_secs()).collect();
        assert_eq!(seconds, [30, 120, 480, 1920, 3600, 3600]);
        assert_eq!(wait(i32::MAX).as_secs(), 3600);
    }

    #[test]
    fn a_mute_covers_its_source_and_its_days() {
        let mute = |source: Option<&str>, from, to| ActiveMute {
            source_id: source.map(str::to_owned),
            from_date: from,
            to_date: to,
        };
        let day = date(2026, 11, 25);
        assert!(mute(None, None, None).covers(None, None));
        assert!(mute(None, None, None).covers(Some("a"), Some(day)));
        assert!(mute(Some("a"), None, None).covers(Some("a"), None));
        assert!(!mute(Some("a"), None, None).covers(Some("b"), Some(day)));
        assert!(!mute(Some("a"), None, None).covers(None, None));
        assert!(mute(None, Some(day), Some(day)).covers(Some("a"), Some(day)));
        assert!(!mute(None, Some(day), None).covers(Some("a"), day.yesterday().ok()));
        assert!(!mute(None, None, Some(day)).covers(Some("a"), day.tomorrow().ok()));
        assert!(!mute(None, Some(day), Some(day)).covers(None, None));
    }
}
