//! Fires: every scheduled instant of every source, and what became of it.
//!
//! In: what a leader decided, claimed and ran. Out: rows of `daymark.fire`, unique by source and instant, so
//! that none is lost by a crash and none is run twice. Every write checks the leader's [`Fence`] in its own
//! transaction. Here is also what a person says to the schedule: pauses. Deliberately absent: which instants
//! there are and what is to become of them (`schedule` in `daymark`).

use std::collections::BTreeMap;

use daymark_plan::SourceId;
use jiff::Timestamp;
use jiff::civil::Date;
use tokio_postgres::{Row, Transaction};
use uuid::Uuid;

use crate::alerts;
use crate::error::WarehouseError;
use crate::lease::Fence;
use crate::ledger::{self, Skip, SkipKind};
use crate::retries::{self, OpenRetry};
use crate::session::Session;

/// What the ledger knows of the schedule.
#[derive(Debug, Clone, Default)]
pub struct Board {
    /// Up to which instant the fires of each source are decided.
    pub decided_until: BTreeMap<String, Timestamp>,
    /// Up to which instant a ledger from before there were fires had acted on the schedule.
    pub acted_on_until: Option<Timestamp>,
    /// Fires that are due or being run, oldest first.
    pub open: Vec<OpenFire>,
    /// Days that failed and are to be tried again, or are being tried.
    pub retries: Vec<OpenRetry>,
    /// All pauses that were ever made, oldest first.
    pub pauses: Vec<Pause>,
}

/// A fire that is due or being run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenFire {
    /// Its number.
    pub fire_id: i64,
    /// Its source.
    pub source_id: String,
    /// The scheduled instant.
    pub scheduled_at: Timestamp,
    /// It is not run before.
    pub starts_at: Timestamp,
    /// Whether nobody acted on it in time.
    pub missed: bool,
    /// How often it was claimed.
    pub claims: u32,
    /// By whom it is being run: the epoch and the run.
    pub claimed: Option<(i64, Uuid)>,
}

/// A time in which nothing is scheduled.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Pause {
    /// The source; none: every source.
    pub source: Option<String>,
    /// From when on.
    pub since: Timestamp,
    /// Until when; none: until it is resumed.
    pub until: Option<Timestamp>,
    /// Why.
    pub why: Option<String>,
    /// When it was resumed.
    pub resumed_at: Option<Timestamp>,
}

impl Pause {
    /// Whether it holds for a source at an instant.
    pub fn holds(&self, source: &str, at: Timestamp) -> bool {
        let ended = |end: Option<Timestamp>| end.is_some_and(|end| end <= at);
        self.source.as_deref().is_none_or(|paused| paused == source)
            && self.since <= at
            && !ended(self.until)
            && !ended(self.resumed_at)
    }

    /// Whether it holds for anything at an instant.
    pub fn is_open(&self, at: Timestamp) -> bool {
        self.resumed_at.is_none() && self.until.is_none_or(|until| until > at)
    }
}

/// What is to become of a fire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The source.
    pub source_id: SourceId,
    /// The scheduled instant.
    pub scheduled_at: Timestamp,
    /// Not to be run before.
    pub starts_at: Timestamp,
    /// Whether nobody acted on it in time.
    pub missed: bool,
    /// Why it is skipped; none: it is run.
    pub skipped: Option<Skipped>,
}

/// A fire that is not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Why.
    pub reason: String,
    /// The day that is left out by it, if no other fire is for that day.
    pub day: Option<(Date, SkipKind)>,
}

/// A day that is not tried any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUp {
    /// The source.
    pub source_id: String,
    /// The day.
    pub data_date: Date,
    /// Why.
    pub because: String,
    /// Whether people are told: not of a source that they took out of the folder.
    pub is_told: bool,
}

/// What a leader decided, to be written at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decisions {
    /// Fires.
    pub fires: Vec<Decision>,
    /// Up to which instant the fires of a source are decided now.
    pub decided_until: BTreeMap<SourceId, Timestamp>,
    /// Fires whose run was given up, each with when it may be claimed again.
    pub again: Vec<(i64, Timestamp)>,
    /// Fires that are due and will not be run, each with why.
    pub dropped: Vec<(i64, String)>,
    /// Days whose try was given up, each with when it may be claimed again.
    pub days_again: Vec<(String, Date, Timestamp)>,
    /// Days that are not tried any more.
    pub days_dead: Vec<GivenUp>,
}

impl Decisions {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What a scheduled run shows to write: the leadership it was claimed under, and its number.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The leader's pass.
    pub fence: Fence,
    /// The run.
    pub run_id: Uuid,
}

/// What the ledger knows of the schedule.
pub async fn board(session: &mut Session) -> Result<Board, WarehouseError> {
    let doing = WarehouseError::statement("reading the schedule");
    let client = session.client();
    let decided_until = client
        .query("select source_id, decided_until from daymark.schedule", &[])
        .await
        .map_err(&doing)?
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    let open = client
        .query(
            "select fire_id, source_id, scheduled_at, starts_at, missed, claims,
                    case state when 'claimed' then epoch end, case state when 'claimed' then run_id end
             from daymark.fire where state in ('due', 'claimed') order by scheduled_at, source_id",
            &[],
        )
        .await
        .map_err(&doing)?;
    let pauses = pauses(session).await?;
    let acted_on_until = ledger::last_fired(session).await?;
    let retries = retries::open(session.client()).await?;
    let open = open.iter().map(open_fire).collect();
    Ok(Board { decided_until, acted_on_until, open, retries, pauses })
}

fn open_fire(row: &Row) -> OpenFire {
    let epoch: Option<i64> = row.get(6);
    let run_id: Option<Uuid> = row.get(7);
    OpenFire {
        fire_id: row.get(0),
        source_id: row.get(1),
        scheduled_at: row.get(2),
        starts_at: row.get(3),
        missed: row.get(4),
        claims: u32::try_from(row.get::<_, i32>(5)).unwrap_or(0),
        claimed: epoch.zip(run_id),
    }
}

/// Writes what a leader decided. A fire that stands there already is left as it is.
pub async fn record(
    session: &mut Session,
    fence: &Fence,
    decisions: &Decisions,
    now: Timestamp,
) -> Result<(), WarehouseError> {
    let doing = WarehouseError::statement("recording the schedule");
    let transaction = session.client().transaction().await.map_err(&doing)?;
    fence.check(&transaction).await?;
    let fires = &decisions.fires;
    let sources: Vec<&str> = fires.iter().map(|fire| fire.source_id.as_str()).collect();
    let scheduled: Vec<Timestamp> = fires.iter().map(|fire| fire.scheduled_at).collect();
    let starts: Vec<Timestamp> = fires.iter().map(|fire| fire.starts_at).collect();
    let missed: Vec<bool> = fires.iter().map(|fire| fire.missed).collect();
    let reason = |fire: &'_ Decision| fire.skipped.as_ref().map(|skipped| skipped.reason.clone());
    let skipped: Vec<Option<String>> = fires.iter().map(reason).collect();
    transaction
        .execute(
            "insert into daymark.fire
                 (source_id, scheduled_at, starts_at, missed, reason, state, decided_at, finished_at)
             select source_id, scheduled_at, starts_at, missed, skipped,
                    case when skipped is null then 'due' else 'skipped' end, $6::timestamptz,
                    case when skipped is not null then $6::timestamptz end
             from unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::boolean[], $5::text[])
                  as fire (source_id, scheduled_at, starts_at, missed, skipped)
             on conflict (source_id, scheduled_at) do nothing",
            &[&sources, &scheduled, &starts, &missed, &skipped, &now],
        )
        .await
        .map_err(&doing)?;
    for fire in fires {
        let Some(Skipped { reason, day: Some((data_date, kind)) }) = &fire.skipped else {
            continue;
        };
        let tried: bool = transaction
            .query_one(
                "select exists (select from daymark.day where source_id = $1 and data_date = $2)",
                &[&fire.source_id.as_str(), data_date],
            )
            .await
            .map_err(&doing)?
            .get(0);
        // What was tried has a state of its own.
        if !tried {
            let (source_id, data_date, kind) = (&fire.source_id, *data_date, *kind);
            let skip = Skip { source_id, data_date, entity: None, kind, by_whom: None, reason };
            ledger::skip_day(&transaction, &skip, now).await?;
        }
    }
    for (source_id, until) in &decisions.decided_until {
        transaction
            .execute(
                "insert into daymark.schedule as known (source_id, decided_until) values ($1, $2)
                 on conflict (source_id) do update
                 set decided_until = greatest(known.decided_until, excluded.decided_until)",
                &[&source_id.as_str(), until],
            )
            .await
            .map_err(&doing)?;
    }
    for (fire_id, starts_at) in &decisions.again {
        transaction
            .execute(
                "update daymark.fire set state = 'due', starts_at = greatest(starts_at, $2)
                 where fire_id = $1 and state = 'claimed'",
                &[fire_id, starts_at],
            )
            .await
            .map_err(&doing)?;
    }
    for (fire_id, reason) in &decisions.dropped {
        transaction
            .execute(
                "update daymark.fire set state = 'skipped', reason = $2, finished_at = $3
                 where fire_id = $1 and state = 'due'",
                &[fire_id, reason, &now],
            )
            .await
            .map_err(&doing)?;
    }
    for (source_id, data_date, not_before) in &decisions.days_again {
        retries::again(&transaction, (source_id, *data_date), *not_before).await?;
    }
    for GivenUp { source_id, data_date, because, .. } in &decisions.days_dead {
        retries::give_up(&transaction, (source_id, *data_date), because, now).await?;
    }
    let told = decisions.days_dead.iter().filter(|day| day.is_told);
    let told: Vec<(&str, Date)> = told.map(|day| (day.source_id.as_str(), day.data_date)).collect();
    Box::pin(alerts::days_given_up(&transaction, &told, now)).await?;
    transaction.commit().await.map_err(&doing)
}

/// Takes fires for a run: all of them, or none.
pub async fn claim(
    session: &mut Session,
    claim: &Claim,
    fires: &[i64],
    now: Timestamp,
) -> Result<(), WarehouseError> {
    let doing = WarehouseError::statement("claiming fires");
    let transaction = session.client().transaction().await.map_err(&doing)?;
    claim.fence.check(&transaction).await?;
    let touched = transaction
        .execute(
            "update daymark.fire
             set state = 'claimed', epoch = $2, run_id = $3, claims = claims + 1, claimed_at = $4, reason = null
             where fire_id = any($1) and state = 'due'",
            &[&fires, &claim.fence.epoch(), &claim.run_id, &now],
        )
        .await
        .map_err(&doing)?;
    let expected = u64::try_from(fires.len()).unwrap_or(u64::MAX);
    if touched != expected {
        return Err(WarehouseError::RowCount { doing: "claiming fires", touched, expected });
    }
    transaction.commit().await.map_err(&doing)
}

/// Says what became of the fires of a run, in the transaction that closes it: of each source what its steps
/// came to. A source all of whose days were published before has nothing to do.
pub(crate) async fn settle(
    transaction: &Transaction<'_>,
    claim: &Claim,
    now: Timestamp,
) -> Result<(), WarehouseError> {
    claim.fence.check(transaction).await?;
    transaction
        .execute(
            "update daymark.fire
             set finished_at = $3, (state, reason) = (
                 select case when bool_or(outcome in ('failed', 'refused', 'quarantined')) then 'failed'
                             when bool_and(outcome = 'skipped') then 'no_op'
                             else 'done' end,
                        case when bool_or(outcome in ('failed', 'refused', 'quarantined'))
                             then min(reason) filter (where outcome in ('failed', 'refused', 'quarantined'))
                             when bool_and(outcome = 'skipped') then min(reason) end
                 from daymark.step
                 where step.run_id = fire.run_id and step.source_id = fire.source_id
                   -- A run also publishes what earlier ones left; that is not what the fire was for.
                   and exists (select from daymark.step as asked
                               where asked.run_id = step.run_id and asked.source_id = step.source_id
                                 and asked.data_date = step.data_date and asked.entity = step.entity
                                 and asked.stage = 'ingest'))
             where run_id = $1 and epoch = $2 and state = 'claimed'",
            &[&claim.run_id, &claim.fence.epoch(), &now],
        )
        .await
        .map_err(WarehouseError::statement("closing fires"))?;
    Ok(())
}

/// All pauses that were ever made, oldest first.
pub async fn pauses(session: &mut Session) -> Result<Vec<Pause>, WarehouseError> {
    let rows = session
        .client()
        .query(
            "select source_id, since, until, why, resumed_at from daymark.pause order by pause_id",
            &[],
        )
        .await
        .map_err(WarehouseError::statement("reading the pauses"))?;
    Ok(rows
        .iter()
        .map(|row| Pause {
            source: row.get(0),
            since: row.get(1),
            until: row.get(2),
            why: row.get(3),
            resumed_at: row.get(4),
        })
        .collect())
}

/// Pauses a source, or all. One that is paused so already has that pause replaced.
pub async fn pause(session: &mut Session, pause: &Pause) -> Result<(), WarehouseError> {
    let doing = WarehouseError::statement("pausing the schedule");
    let transaction = session.client().transaction().await.map_err(&doing)?;
    transaction
        .execute(
            "update daymark.pause set resumed_at = $2
             where source_id is not distinct from $1 and resumed_at is null
               and (until is null or until > $2)",
            &[&pause.source, &pause.since],
        )
        .await
        .map_err(&doing)?;
    transaction
        .execute(
            "insert into daymark.pause (source_id, since, until, why) values ($1, $2, $3, $4)",
            &[&pause.source, &pause.since, &pause.until, &pause.why],
        )
        .await
        .map_err(&doing)?;
    transaction.commit().await.map_err(&doing)
}

/// Resumes a source, or what was paused as a whole. Gives how many pauses it ended.
pub async fn resume(
    session: &mut Session,
    source: Option<&str>,
    now: Timestamp,
) -> Result<u64, WarehouseError> {
    session
        .client()
        .execute(
            "update daymark.pause set resumed_at = $2
             where source_id is not distinct from $1 and resumed_at is null
               and (until is null or until > $2)",
            &[&source, &now],
        )
        .await
        .map_err(WarehouseError::statement("resuming the schedule"))
}
