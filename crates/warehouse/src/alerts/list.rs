//! What is open, what is muted, and what could not be delivered.
//!
//! In: the alerts' tables, and what a person mutes. Out: an [`Overview`]. Deliberately absent: deciding anything.

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use tokio_postgres::GenericClient;

use crate::error::WarehouseError;
use crate::session::Session;

/// For how long a message that was given up is shown.
const SHOWN_FOR: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Everything about alerts at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Overview {
    /// What is wrong.
    pub open: Vec<OpenAlert>,
    /// What nobody is told of.
    pub mutes: Vec<Mute>,
    /// Messages that did not arrive, by channel.
    pub undelivered: Vec<Undelivered>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct OpenAlert {
    /// Its key.
    pub key: String,
    /// What it is.
    pub event: String,
    /// The source.
    pub source: Option<String>,
    /// The day.
    pub data_date: Option<Date>,
    /// Rows, where it is about rows.
    pub rows: Option<i64>,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// The channels that were told of it.
    pub told: Vec<String>,
}

/// What nobody is told of.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Mute {
    /// Its number.
    pub id: i64,
    /// The source; none is all.
    pub source: Option<String>,
    /// The first day.
    pub from: Option<Date>,
    /// The last day.
    pub to: Option<Date>,
    /// Until when; none is until it is taken back.
    pub until: Option<Timestamp>,
    /// Why.
    pub why: String,
    /// By whom.
    pub by: String,
    /// Since when.
    pub at: Timestamp,
}

/// Messages of a channel that did not arrive.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Undelivered {
    /// The channel.
    pub channel: String,
    /// How many wait for another attempt.
    pub pending: i64,
    /// How many were given up in the last week.
    pub given_up: i64,
    /// What the last attempt came to.
    pub error: String,
    /// When the next one is.
    pub next_at: Option<Timestamp>,
}

/// What is to be muted.
#[derive(Debug, Clone)]
pub struct NewMute<'m> {
    /// The source; none is all.
    pub source: Option<&'m str>,
    /// The first day.
    pub from: Option<Date>,
    /// The last day.
    pub to: Option<Date>,
    /// Until when.
    pub until: Option<Timestamp>,
    /// Why.
    pub why: &'m str,
    /// By whom.
    pub by: &'m str,
}

/// What a mute in force covers.
pub(super) struct ActiveMute {
    pub(super) source_id: Option<String>,
    pub(super) from_date: Option<Date>,
    pub(super) to_date: Option<Date>,
}

pub(super) async fn active_mutes(
    client: &impl GenericClient,
    now: Timestamp,
) -> Result<Vec<ActiveMute>, WarehouseError> {
    let rows = client
        .query(
            "select source_id, from_date, to_date from daymark.alert_mute
             where ended_at is null and (until is null or until > $1)",
            &[&now],
        )
        .await
        .map_err(WarehouseError::statement("reading the mutes"))?;
    Ok(rows
        .iter()
        .map(|row| ActiveMute { source_id: row.get(0), from_date: row.get(1), to_date: row.get(2) })
        .collect())
}

/// Everything about alerts now.
pub async fn overview(session: &mut Session, now: Timestamp) -> Result<Overview, WarehouseError> {
    let doing = WarehouseError::statement("reading the alerts");
    let client = session.client();
    let open = client
        .query(
            "select key, event, source_id, data_date, amount, reason, opened_at,
                    coalesce((select array_agg(distinct channel order by channel)
                              from daymark.alert_delivery as delivery
                              where delivery.alert_id = alert.alert_id and state = 'sent'), '{}')
             from daymark.alert where resolved_at is null order by alert_id",
            &[],
        )
        .await
        .map_err(&doing)?;
    let mutes = client
        .query(
            "select mute_id, source_id, from_date, to_date, until, why, by_whom, at
             from daymark.alert_mute
             where ended_at is null and (until is null or until > $1) order by mute_id",
            &[&now],
        )
        .await
        .map_err(&doing)?;
    let since = now.checked_sub(SHOWN_FOR).unwrap_or(Timestamp::MIN);
    let undelivered = client
        .query(
            "select channel, count(*) filter (where state = 'pending'),
                    count(*) filter (where state = 'given_up'),
                    (array_agg(error order by delivery_id desc))[1],
                    min(next_at) filter (where state = 'pending')
             from daymark.alert_delivery
             where error is not null and (state = 'pending' or (state = 'given_up' and next_at > $1))
             group by channel order by channel",
            &[&since],
        )
        .await
        .map_err(&doing)?;
    Ok(Overview {
        open: open
            .iter()
            .map(|row| OpenAlert {
                key: row.get(0),
                event: row.get(1),
                source: row.get(2),
                data_date: row.get(3),
                rows: row.get(4),
                reason: row.get(5),
                since: row.get(6),
                told: row.get(7),
            })
            .collect(),
        mutes: mutes
            .iter()
            .map(|row| Mute {
                id: row.get(0),
                source: row.get(1),
                from: row.get(2),
                to: row.get(3),
                until: row.get(4),
                why: row.get(5),
                by: row.get(6),
                at: row.get(7),
            })
            .collect(),
        undelivered: undelivered
            .iter()
            .map(|row| Undelivered {
                channel: row.get(0),
                pending: row.get(1),
                given_up: row.get(2),
                error: row.get(3),
                next_at: row.get(4),
            })
            .collect(),
    })
}

/// Mutes; gives the mute's number.
pub async fn mute(
    session: &mut Session,
    new: &NewMute<'_>,
    now: Timestamp,
) -> Result<i64, WarehouseError> {
    let row = session
        .client()
        .query_one(
            "insert into daymark.alert_mute (source_id, from_date, to_date, until, why, by_whom, at)
             values ($1, $2, $3, $4, $5, $6, $7) returning mute_id",
            &[&new.source, &new.from, &new.to, &new.until, &new.why, &new.by, &now],
        )
        .await
        .map_err(WarehouseError::statement("muting"))?;
    Ok(row.get(0))
}

/// Takes a mute back, or all; gives how many.
pub async fn unmute(
    session: &mut Session,
    id: Option<i64>,
    now: Timestamp,
) -> Result<u64, WarehouseError> {
    session
        .client()
        .execute(
            "update daymark.alert_mute set ended_at = $2
             where ended_at is null and (until is null or until > $2) and ($1::bigint is null or mute_id = $1)",
            &[&id, &now],
        )
        .await
        .map_err(WarehouseError::statement("taking a mute back"))
}
