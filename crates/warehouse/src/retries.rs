//! Days that failed: tried again for a while, then given up until a person decides.
//!
//! In: what the runs of the schedule came to, and what a person says. Out: rows of `daymark.retry`, one for each
//! source and day that failed by the schedule. They are claimed and settled under the leader's [`Fence`], as
//! fires are, so that a try outlives restarts and is made once. A row goes when its day is published, held back by
//! a check, or left out. Deliberately absent: when to try again and when to give up (`schedule` in `daymark`).
//!
//! [`Fence`]: crate::lease::Fence

use daymark_plan::SourceId;
use jiff::Timestamp;
use jiff::civil::Date;
use tokio_postgres::{GenericClient, Row, Transaction};
use uuid::Uuid;

use crate::alerts;
use crate::error::WarehouseError;
use crate::fires::Claim;
use crate::ledger::{self, Skip, SkipKind};
use crate::session::Session;

/// A day that is to be tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRetry {
    /// The source.
    pub source_id: String,
    /// The day.
    pub data_date: Date,
    /// The scheduled instant of the fire that failed.
    pub scheduled_at: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// When it failed last.
    pub last_at: Timestamp,
    /// Not to be tried before, because the last try failed as a whole.
    pub not_before: Option<Timestamp>,
    /// How often it was claimed.
    pub claims: u32,
    /// By whom it is being tried: the epoch and the run.
    pub claimed: Option<(i64, Uuid)>,
}

/// A day whose scheduled run failed, for people.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct FailedDay {
    /// The source.
    pub source: String,
    /// The day.
    pub date: Date,
    /// `open` (it is tried again), `claimed` (it is being tried) or `dead` (it was given up).
    pub state: String,
    /// The scheduled instant of the fire that failed.
    pub scheduled_at: Timestamp,
    /// How often it was tried.
    pub attempts: i32,
    /// When it failed first.
    pub first_at: Timestamp,
    /// When it failed last.
    pub last_at: Timestamp,
    /// Why, the last time.
    pub reason: String,
    /// When it was given up.
    pub dead_at: Option<Timestamp>,
    /// Why it is not tried any more.
    pub dead_because: Option<String>,
}

/// One try of a day.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Tried {
    /// The run.
    pub run: Uuid,
    /// Why it was started.
    pub kind: String,
    /// When it began.
    pub at: Timestamp,
    /// The entity; `""` of a source without.
    pub entity: String,
    /// `ingest` or `publish`.
    pub stage: String,
    /// What came of it; none of one that is at work.
    pub outcome: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

/// A day that is failed still: nobody has published it, and no check holds it back.
const FAILED_STILL: &str = "exists (
    select from daymark.day where day.source_id = retry.source_id and day.data_date = retry.data_date
      and day.state in ('failed', 'fetched'))";

/// The days that are to be tried again, or are being tried.
pub(crate) async fn open(client: &impl GenericClient) -> Result<Vec<OpenRetry>, WarehouseError> {
    let rows = client
        .query(
            &format!(
                "select source_id, data_date, scheduled_at, attempts, last_at, not_before, claims,
                        case state when 'claimed' then epoch end, case state when 'claimed' then run_id end
                 from daymark.retry
                 where state = 'claimed' or (state = 'open' and {FAILED_STILL})
                 order by last_at, source_id, data_date"
            ),
            &[],
        )
        .await
        .map_err(WarehouseError::statement("reading the days that failed"))?;
    let open = rows.iter().map(|row| {
        let epoch: Option<i64> = row.get(7);
        OpenRetry {
            source_id: row.get(0),
            data_date: row.get(1),
            scheduled_at: row.get(2),
            attempts: u32::try_from(row.get::<_, i32>(3)).unwrap_or(0),
            last_at: row.get(4),
            not_before: row.get(5),
            claims: u32::try_from(row.get::<_, i32>(6)).unwrap_or(0),
            claimed: epoch.zip(row.get(8)),
        }
    });
    Ok(open.collect())
}

/// Writes that a try was given up by its process, with when the next may be made.
pub(crate) async fn again(
    transaction: &Transaction<'_>,
    (source_id, data_date): (&str, Date),
    not_before: Timestamp,
) -> Result<(), WarehouseError> {
    transaction
        .execute(
            "update daymark.retry set state = 'open', not_before = $3
             where source_id = $1 and data_date = $2 and state = 'claimed'",
            &[&source_id, &data_date, &not_before],
        )
        .await
        .map_err(WarehouseError::statement("having a day tried again"))?;
    Ok(())
}

/// Gives a day up.
pub(crate) async fn give_up(
    transaction: &Transaction<'_>,
    (source_id, data_date): (&str, Date),
    because: &str,
    now: Timestamp,
) -> Result<(), WarehouseError> {
    transaction
        .execute(
            "update daymark.retry set state = 'dead', dead_at = $4, dead_because = $3
             where source_id = $1 and data_date = $2 and state = 'open'",
            &[&source_id, &data_date, &because, &now],
        )
        .await
        .map_err(WarehouseError::statement("giving a day up"))?;
    Ok(())
}

/// Takes a day for a run.
pub async fn claim(
    session: &mut Session,
    claim: &Claim,
    source_id: &SourceId,
    data_date: Date,
) -> Result<(), WarehouseError> {
    let doing = WarehouseError::statement("claiming a day that failed");
    let transaction = session.client().transaction().await.map_err(&doing)?;
    claim.fence.check(&transaction).await?;
    let touched = transaction
        .execute(
            "update daymark.retry
             set state = 'claimed', epoch = $3, run_id = $4, claims = claims + 1
             where source_id = $1 and data_date = $2 and state = 'open'",
            &[&source_id.as_str(), &data_date, &claim.fence.epoch(), &claim.run_id],
        )
        .await
        .map_err(&doing)?;
    if touched != 1 {
        let doing = "claiming a day that failed";
        return Err(WarehouseError::RowCount { doing, touched, expected: 1 });
    }
    transaction.commit().await.map_err(&doing)
}

/// What a run of the schedule came to, in the transaction that closes it: a fire whose day failed is to be tried
/// again, a try that failed counts, one that did not takes its day off. A day that only a check holds back is
/// the quarantine's.
pub(crate) async fn settle(
    transaction: &Transaction<'_>,
    claim: &Claim,
    now: Timestamp,
) -> Result<(), WarehouseError> {
    let doing = WarehouseError::statement("noting the days that failed");
    let (run_id, epoch) = (&claim.run_id, claim.fence.epoch());
    // Of a source what it was asked for: a run also publishes what earlier ones left.
    let failed = "select step.source_id, step.data_date, min(coalesce(step.reason, 'it failed')) as reason
                  from daymark.step
                  where step.run_id = $1 and step.outcome in ('failed', 'refused')
                    and exists (select from daymark.step as asked
                                where asked.run_id = step.run_id and asked.source_id = step.source_id
                                  and asked.data_date = step.data_date and asked.stage = 'ingest')
                  group by step.source_id, step.data_date";
    transaction
        .execute(
            &format!(
                "update daymark.retry
                 set state = 'open', attempts = attempts + 1, last_at = $3, not_before = null,
                     reason = failed.reason
                 from ({failed}) as failed
                 where retry.source_id = failed.source_id and retry.data_date = failed.data_date
                   and retry.run_id = $1 and retry.epoch = $2 and retry.state = 'claimed'"
            ),
            &[run_id, &epoch, &now],
        )
        .await
        .map_err(&doing)?;
    transaction
        .execute(
            "delete from daymark.retry where run_id = $1 and epoch = $2 and state = 'claimed'",
            &[run_id, &epoch],
        )
        .await
        .map_err(&doing)?;
    transaction
        .execute(
            &format!(
                "insert into daymark.retry as known
                     (source_id, data_date, state, scheduled_at, attempts, first_at, last_at, reason)
                 select failed.source_id, failed.data_date, 'open', fire.scheduled_at, 1, $3, $3, failed.reason
                 from ({failed}) as failed join daymark.fire
                   on fire.source_id = failed.source_id and fire.run_id = $1 and fire.epoch = $2
                 on conflict (source_id, data_date) do update
                 set attempts = known.attempts + 1, last_at = excluded.last_at, not_before = null,
                     reason = excluded.reason"
            ),
            &[run_id, &epoch, &now],
        )
        .await
        .map_err(&doing)?;
    Ok(())
}

/// What any run did for days that had failed: those that are published go, of those that were given up and failed
/// once more it is noted.
pub(crate) async fn follow(
    transaction: &Transaction<'_>,
    run_id: Uuid,
    now: Timestamp,
) -> Result<(), WarehouseError> {
    let doing = WarehouseError::statement("noting the days that failed");
    transaction
        .execute(
            &format!(
                "delete from daymark.retry
                 where state <> 'claimed' and not {FAILED_STILL}
                   and exists (select from daymark.step
                               where step.run_id = $1 and step.outcome in ('published', 'quarantined')
                                 and step.source_id = retry.source_id and step.data_date = retry.data_date)"
            ),
            &[&run_id],
        )
        .await
        .map_err(&doing)?;
    transaction
        .execute(
            "update daymark.retry set attempts = attempts + 1, last_at = $2, reason = failed.reason
             from (select source_id, data_date, min(coalesce(reason, 'it failed')) as reason
                   from daymark.step where run_id = $1 and outcome in ('failed', 'refused')
                   group by source_id, data_date) as failed
             where retry.source_id = failed.source_id and retry.data_date = failed.data_date
               and retry.state = 'dead' and retry.last_at < $2",
            &[&run_id, &now],
        )
        .await
        .map_err(&doing)?;
    Ok(())
}

/// How many days were given up and wait for a person, by source.
pub(crate) async fn count_given_up(
    client: &impl GenericClient,
) -> Result<Vec<Row>, WarehouseError> {
    client
        .query(
            &format!(
                "select source_id, count(*) from daymark.retry
                 where state = 'dead' and {FAILED_STILL} group by 1"
            ),
            &[],
        )
        .await
        .map_err(WarehouseError::statement("counting the days that were given up"))
}

/// The days whose scheduled run failed and that are not published: those that were given up first.
pub async fn failed_days(session: &mut Session) -> Result<Vec<FailedDay>, WarehouseError> {
    let rows = session
        .client()
        .query(
            &format!(
                "select source_id, data_date, state, scheduled_at, attempts, first_at, last_at, reason, dead_at,
                        dead_because
                 from daymark.retry where {FAILED_STILL}
                 order by state <> 'dead', source_id, data_date"
            ),
            &[],
        )
        .await
        .map_err(WarehouseError::statement("reading the days that failed"))?;
    Ok(rows.iter().map(failed_day).collect())
}

fn failed_day(row: &Row) -> FailedDay {
    FailedDay {
        source: row.get(0),
        date: row.get(1),
        state: row.get(2),
        scheduled_at: row.get(3),
        attempts: row.get(4),
        first_at: row.get(5),
        last_at: row.get(6),
        reason: row.get(7),
        dead_at: row.get(8),
        dead_because: row.get(9),
    }
}

/// Every try of a day, oldest first.
pub async fn tries(
    session: &mut Session,
    source: &str,
    date: Date,
) -> Result<Vec<Tried>, WarehouseError> {
    let rows = session
        .client()
        .query(
            "select run_id, kind, step.started_at, entity, stage, step.outcome, step.reason
             from daymark.step join daymark.run using (run_id)
             where source_id = $1 and data_date = $2 order by step.started_at, run_id, entity, stage",
            &[&source, &date],
        )
        .await
        .map_err(WarehouseError::statement("reading the tries of a day"))?;
    let tried = rows.iter().map(|row| Tried {
        run: row.get(0),
        kind: row.get(1),
        at: row.get(2),
        entity: row.get(3),
        stage: row.get(4),
        outcome: row.get(5),
        reason: row.get(6),
    });
    Ok(tried.collect())
}

/// Leaves a day out that had failed, and takes it off: both, or neither. Gives whether it was there; one that is
/// being tried at the moment is left alone.
pub async fn discard(
    session: &mut Session,
    source_id: &SourceId,
    data_date: Date,
    by_whom: &str,
    reason: &str,
    now: Timestamp,
) -> Result<bool, WarehouseError> {
    let doing = WarehouseError::statement("discarding a day");
    let transaction = session.client().transaction().await.map_err(&doing)?;
    let gone = transaction
        .execute(
            "delete from daymark.retry where source_id = $1 and data_date = $2 and state <> 'claimed'",
            &[&source_id.as_str(), &data_date],
        )
        .await
        .map_err(&doing)?;
    if gone == 1 {
        let by_whom = Some(by_whom);
        let kind = SkipKind::Discarded;
        let skip = Skip { source_id, data_date, entity: None, kind, by_whom, reason };
        ledger::skip_day(&transaction, &skip, now).await?;
        Box::pin(alerts::day_left_out(&transaction, source_id, data_date, now)).await?;
    }
    transaction.commit().await.map_err(&doing)?;
    Ok(gone == 1)
}
