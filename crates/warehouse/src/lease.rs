//! Leadership: which of the processes that keep the schedule does so.
//!
//! In: a process that is ready to lead, and sessions to show signs of life in. Out: a [`Standing`]: it leads,
//! under an epoch, or another does. Leadership is one row; its times are the database's clock. A [`Fence`] is
//! the leader's pass: every write of the scheduler checks it inside its own transaction, so that a process
//! that was taken for dead and comes back writes nothing. Deliberately absent: locks that outlive a
//! transaction, and what leaders do (`fires`, and the loop of `daymark up`).

use std::time::Duration;

use daymark_plan::Clock;
use jiff::Timestamp;
use tokio_postgres::GenericClient;
use tokio_postgres::error::SqlState;

use crate::error::WarehouseError;
use crate::session::{Session, Warehouse};

/// The shortest lease on the embedded database: a leader waits there for its turn like any other process.
const LEAST_EMBEDDED: Duration = Duration::from_secs(10);
/// How long a stale heartbeat goes on before it is told: a takeover is quicker.
const STALE_AFTER_SECONDS: f64 = 15.0;
/// How long a backend of a dead leader may take to end.
const END_WITHIN_MILLISECONDS: i64 = 2000;
/// What the program calls its sessions, before the holder's name.
const SESSIONS: &str = "daymark ";

/// The name a process's sessions have on a server, by which whoever takes over finds and ends them.
pub(crate) fn application_name(holder: &str) -> String {
    format!("{SESSIONS}{holder}")
}

/// A process that keeps the schedule when no other does.
#[derive(Debug, Clone)]
pub struct Candidate {
    holder: String,
    seconds: f64,
    clock: Clock,
    is_embedded: bool,
    epoch: Option<i64>,
}

/// A leader's pass: it is good for as long as nobody took over.
#[derive(Debug, Clone)]
pub struct Fence {
    holder: String,
    epoch: i64,
    seconds: f64,
    clock: Clock,
}

/// Whether a process leads.
#[derive(Debug, Clone)]
pub enum Standing {
    /// It does.
    Leads {
        /// Its pass.
        fence: Fence,
        /// From whom it has just taken over.
        from: Option<Leader>,
    },
    /// It does not.
    Follows {
        /// Who does.
        leader: Leader,
        /// Whether this process had led until now.
        lost: bool,
    },
}

/// Who leads, or led last, as the row says.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Leader {
    /// The process: `HOST:PID:ID`.
    pub holder: String,
    /// Which leadership it is, counted from 1.
    pub epoch: i64,
    /// When it began.
    pub since: Timestamp,
    /// When the process was last seen.
    pub seen_at: Timestamp,
    /// Until when it leads without another sign of life.
    pub until: Timestamp,
    /// When it gave the lease up.
    pub stopped_at: Option<Timestamp>,
    /// The next scheduled instant.
    pub next_fire_at: Option<Timestamp>,
    /// Whether nobody keeps the schedule: it was given up, or its holder is not seen any more and nobody
    /// took over.
    pub is_stopped: bool,
}

impl Leader {
    /// The process in words: `process PID on HOST`.
    pub fn process(&self) -> String {
        let mut parts = self.holder.splitn(3, ':');
        match (parts.next(), parts.next()) {
            (Some(host), Some(pid)) => format!("process {pid} on {host}"),
            _ => self.holder.clone(),
        }
    }
}

/// What a sign of life changed.
enum Changed {
    Yes(i64),
    No,
}

impl Candidate {
    /// A process that would lead. It has to show a sign of life within `lease`, or another may lead.
    pub fn new(warehouse: &Warehouse, lease: Duration, clock: Clock) -> Self {
        let lease = if warehouse.is_embedded() { lease.max(LEAST_EMBEDDED) } else { lease };
        Self {
            holder: warehouse.holder().to_owned(),
            seconds: lease.as_secs_f64(),
            clock,
            is_embedded: warehouse.is_embedded(),
            epoch: None,
        }
    }

    /// Shows a sign of life: goes on leading, or takes over from whoever shows none, or follows.
    pub async fn hold(
        &mut self,
        session: &mut Session,
        next_fire: Option<Timestamp>,
    ) -> Result<Standing, WarehouseError> {
        let led = self.epoch;
        if let Some(epoch) = led {
            if let Changed::Yes(epoch) = self.renew(session, epoch, next_fire).await? {
                return Ok(self.leads(epoch, None));
            }
            self.epoch = None;
        }
        let Some(leader) = leader(session, at(&self.clock)).await? else {
            if let Changed::Yes(epoch) = self.take_first(session, next_fire).await? {
                return Ok(self.leads(epoch, None));
            }
            // Another process was quicker; what it wrote is seen at the next sign of life.
            return self.follows(session, led).await;
        };
        if leader.until > self.database_now(session).await? {
            return Ok(Standing::Follows { leader, lost: led.is_some() });
        }
        if leader.stopped_at.is_none() {
            self.end_sessions_of(session, &leader).await?;
        }
        match self.take_over(session, leader.epoch, next_fire).await? {
            Changed::Yes(epoch) => Ok(self.leads(epoch, Some(leader))),
            Changed::No => self.follows(session, led).await,
        }
    }

    /// Gives the lease up, so that another process can lead at once.
    pub async fn give_up(&mut self, session: &mut Session) -> Result<(), WarehouseError> {
        let Some(epoch) = self.epoch.take() else { return Ok(()) };
        session
            .client()
            .execute(
                "update daymark.lease
                 set until = coalesce($3, clock_timestamp()), stopped_at = coalesce($3, clock_timestamp()),
                     seen_at = coalesce($3, clock_timestamp()), next_fire_at = null
                 where holder = $1 and epoch = $2",
                &[&self.holder, &epoch, &at(&self.clock)],
            )
            .await
            .map_err(WarehouseError::statement("giving the lease up"))?;
        Ok(())
    }

    fn leads(&mut self, epoch: i64, from: Option<Leader>) -> Standing {
        self.epoch = Some(epoch);
        let (holder, seconds, clock) = (self.holder.clone(), self.seconds, self.clock.clone());
        Standing::Leads { fence: Fence { holder, epoch, seconds, clock }, from }
    }

    async fn follows(
        &self,
        session: &mut Session,
        led: Option<i64>,
    ) -> Result<Standing, WarehouseError> {
        let leader = leader(session, at(&self.clock)).await?.ok_or(WarehouseError::LeaseLost)?;
        Ok(Standing::Follows { leader, lost: led.is_some() })
    }

    async fn renew(
        &self,
        session: &mut Session,
        epoch: i64,
        next_fire: Option<Timestamp>,
    ) -> Result<Changed, WarehouseError> {
        let row = session
            .client()
            .query_opt(
                "update daymark.lease
                 set until = coalesce($3, clock_timestamp()) + make_interval(secs => $4),
                     seen_at = coalesce($3, clock_timestamp()), backend_pid = pg_backend_pid(),
                     next_fire_at = $5
                 where holder = $1 and epoch = $2 and stopped_at is null returning epoch",
                &[&self.holder, &epoch, &at(&self.clock), &self.seconds, &next_fire],
            )
            .await
            .map_err(WarehouseError::statement("renewing the lease"))?;
        Ok(changed(row.as_ref()))
    }

    async fn take_first(
        &self,
        session: &mut Session,
        next_fire: Option<Timestamp>,
    ) -> Result<Changed, WarehouseError> {
        let row = session
            .client()
            .query_opt(
                "insert into daymark.lease
                     (holder, epoch, until, backend_pid, since, seen_at, next_fire_at)
                 select $1, 1, now + make_interval(secs => $3), pg_backend_pid(), now, now, $4
                 from coalesce($2, clock_timestamp()) as now
                 on conflict do nothing returning epoch",
                &[&self.holder, &at(&self.clock), &self.seconds, &next_fire],
            )
            .await
            .map_err(WarehouseError::statement("taking the lease"))?;
        Ok(changed(row.as_ref()))
    }

    /// Takes the lease over from an epoch, unless its holder came back or another was quicker. A holder that
    /// stands between its check and its commit has the row locked; its sessions were ended, and where that is
    /// not permitted this gives up soon and is tried again.
    async fn take_over(
        &self,
        session: &mut Session,
        from: i64,
        next_fire: Option<Timestamp>,
    ) -> Result<Changed, WarehouseError> {
        let doing = WarehouseError::statement("taking the lease over");
        let transaction = session.client().transaction().await.map_err(&doing)?;
        transaction.batch_execute("set local lock_timeout = '1s'").await.map_err(&doing)?;
        let taken = transaction
            .query_opt(
                "update daymark.lease
                 set holder = $1, epoch = epoch + 1, since = now, seen_at = now, stopped_at = null,
                     until = now + make_interval(secs => $4), backend_pid = pg_backend_pid(),
                     next_fire_at = $5
                 from coalesce($3, clock_timestamp()) as now
                 where epoch = $2 and until <= now returning epoch",
                &[&self.holder, &from, &at(&self.clock), &self.seconds, &next_fire],
            )
            .await;
        let row = match taken {
            Ok(row) => row,
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                tracing::warn!(
                    "the lease is held in an open transaction of the process that is not seen any more"
                );
                return Ok(Changed::No);
            }
            Err(error) => return Err(doing(error)),
        };
        transaction.commit().await.map_err(&doing)?;
        Ok(changed(row.as_ref()))
    }

    /// Ends the sessions of a leader that is not seen any more, so that no transaction of it holds a lock that
    /// its successor would wait for. Where the server does not permit it, the fence still holds.
    async fn end_sessions_of(
        &self,
        session: &mut Session,
        leader: &Leader,
    ) -> Result<(), WarehouseError> {
        // The embedded database has one session, and this is it.
        if self.is_embedded {
            return Ok(());
        }
        let ended = session
            .client()
            .query(
                "select pg_terminate_backend(pid, $2) from pg_stat_activity
                 where application_name = $1 and datname = current_database()
                   and pid <> pg_backend_pid()",
                &[&application_name(&leader.holder), &END_WITHIN_MILLISECONDS],
            )
            .await;
        match ended {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                tracing::warn!(
                    "the sessions of {} cannot be ended: this database role may not; what it holds locked \
                     is waited for",
                    leader.process()
                );
                Ok(())
            }
            Err(error) => {
                Err(WarehouseError::statement("ending the sessions of the last leader")(error))
            }
        }
    }

    async fn database_now(&self, session: &mut Session) -> Result<Timestamp, WarehouseError> {
        if let Some(now) = at(&self.clock) {
            return Ok(now);
        }
        let row = session
            .client()
            .query_one("select clock_timestamp()", &[])
            .await
            .map_err(WarehouseError::statement("asking for the time"))?;
        Ok(row.get(0))
    }
}

impl Fence {
    /// Which leadership it is of.
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Makes sure, as a part of the caller's transaction, that nobody took over, and that nobody can until it
    /// has ended. It is a sign of life as well, which counts at its commit: so a publish that held the
    /// embedded database's one session for long has not lost the lease by it.
    pub(crate) async fn check(&self, client: &impl GenericClient) -> Result<(), WarehouseError> {
        let touched = client
            .execute(
                "update daymark.lease
                 set until = greatest(until, now + make_interval(secs => $4)), seen_at = greatest(seen_at, now)
                 from coalesce($3, clock_timestamp()) as now
                 where holder = $1 and epoch = $2 and stopped_at is null",
                &[&self.holder, &self.epoch, &at(&self.clock), &self.seconds],
            )
            .await
            .map_err(WarehouseError::statement("checking the lease"))?;
        if touched == 1 { Ok(()) } else { Err(WarehouseError::LeaseLost) }
    }

    /// Whether nobody has taken over so far. It locks nothing: what is written after it is checked again.
    pub(crate) async fn look(&self, client: &impl GenericClient) -> Result<(), WarehouseError> {
        let row = client
            .query_opt(
                "select from daymark.lease where holder = $1 and epoch = $2 and stopped_at is null",
                &[&self.holder, &self.epoch],
            )
            .await
            .map_err(WarehouseError::statement("checking the lease"))?;
        row.map(|_| ()).ok_or(WarehouseError::LeaseLost)
    }
}

/// The time to reckon with: a manual clock's, else none, which is the database's.
pub(crate) fn at(clock: &Clock) -> Option<Timestamp> {
    match clock {
        Clock::System => None,
        Clock::Manual(_) => Some(clock.now()),
    }
}

fn changed(row: Option<&tokio_postgres::Row>) -> Changed {
    row.map_or(Changed::No, |row| Changed::Yes(row.get(0)))
}

/// Who leads, or led last; none where no process ever kept the schedule. `now` is the database's time unless
/// given.
pub async fn leader(
    session: &mut Session,
    now: Option<Timestamp>,
) -> Result<Option<Leader>, WarehouseError> {
    let row = session
        .client()
        .query_opt(
            "select holder, epoch, since, seen_at, until, stopped_at, next_fire_at,
                    stopped_at is not null
                    or until + make_interval(secs => $2) < coalesce($1, clock_timestamp())
             from daymark.lease",
            &[&now, &STALE_AFTER_SECONDS],
        )
        .await
        .map_err(WarehouseError::statement("reading who leads"))?;
    Ok(row.map(|row| Leader {
        holder: row.get(0),
        epoch: row.get(1),
        since: row.get(2),
        seen_at: row.get(3),
        until: row.get(4),
        stopped_at: row.get(5),
        next_fire_at: row.get(6),
        is_stopped: row.get(7),
    }))
}
