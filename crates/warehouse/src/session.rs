//! Sessions: who may talk to PostgreSQL, and for how long.
//!
//! In: a database URL and the pipeline's name. Out: a [`Session`] at a time. On the embedded database
//! there is one session for all (DESIGN.md section 8): it is kept while there is work, let go when
//! idle and at the latest every two seconds between two units of work. On a server they come from a
//! pool. Never ask for a second session while holding one. Deliberately absent: what is done in one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use daymark_plan::{DatabaseUrl, Plan};
use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod,
};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::Instant;
use tokio_postgres::{Client, NoTls};

use crate::embedded::Embedded;
use crate::error::WarehouseError;
use crate::lease;
use crate::migrate;

/// How long an idle embedded session is kept for the next unit of work.
const IDLE: Duration = Duration::from_millis(150);
/// After how long the embedded session is let go between two units of work.
const LONGEST: Duration = Duration::from_secs(2);
/// How long a server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// After how long without traffic a server's host is asked whether it is there.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// After how long without an answer of its host a server is cut off.
const CUT_OFF_AFTER: Duration = Duration::from_secs(30);
/// Sessions of one process on a server.
const POOL_SIZE: usize = 8;
/// Every session speaks UTC, so that nothing depends on where the server stands.
const SETTINGS: &str = "set time zone 'UTC'; set datestyle = 'ISO, YMD'; set intervalstyle = 'postgres'; \
                        set client_min_messages = warning; set standard_conforming_strings = on";

/// Sessions of one process on a server that are for the schedule alone: neither pages nor runs that take all
/// others may keep a leader from showing that it lives.
const RESERVED_SIZE: usize = 2;
/// On a server, a statement whose client died is given up, and its locks with it; and so is a transaction
/// whose client does nothing with it any more. It waits for a raw store longer than any retry there takes.
const SERVER_SETTINGS: &str = "set client_connection_check_interval = '2s'; \
                               set idle_in_transaction_session_timeout = '10min'";
/// The longest host name that stands in a holder's.
const LONGEST_HOST: usize = 30;
/// How long a host of the embedded database is left to show that it lives.
const HOST_ANSWERS_WITHIN: Duration = Duration::from_secs(6);

/// The pipeline's PostgreSQL.
#[derive(Debug, Clone)]
pub struct Warehouse {
    backend: Backend,
    schema: String,
    url: String,
    pipeline: String,
    /// Who this is among the processes that use the database.
    holder: String,
}

#[derive(Debug, Clone)]
enum Backend {
    Embedded { embedded: Embedded, slot: Arc<Mutex<Slot>> },
    Server { pool: Pool, reserved: Pool },
}

/// The one embedded connection of this process, when it is open.
#[derive(Debug, Default)]
struct Slot {
    open: Option<Open>,
    used: u64,
}

#[derive(Debug)]
struct Open {
    client: Client,
    since: Instant,
}

/// A session: until it is dropped, it is the holder's alone.
#[derive(Debug)]
pub struct Session {
    held: Held,
    schema: String,
}

#[derive(Debug)]
enum Held {
    Embedded { embedded: Embedded, slot: Arc<Mutex<Slot>>, guard: Option<OwnedMutexGuard<Slot>> },
    Server(Object),
}

impl Warehouse {
    /// Opens the plan's database: connects, brings the ledger to this version, and checks that it is
    /// this pipeline's.
    pub async fn open(plan: &Plan) -> Result<Self, WarehouseError> {
        let warehouse = Self::connect(plan).await?;
        let mut session = warehouse.session("opening").await?;
        warehouse.migrate(&mut session).await?;
        drop(session);
        Ok(warehouse)
    }

    /// The plan's database with its curated schema, whatever its ledger is.
    pub(crate) async fn connect(plan: &Plan) -> Result<Self, WarehouseError> {
        let url = plan.settings.database.to_string();
        let holder = holder();
        let backend = match &plan.settings.database {
            DatabaseUrl::Embedded(directory) => {
                let directory: PathBuf = directory.clone();
                Backend::Embedded { embedded: Embedded::new(&directory)?, slot: Arc::default() }
            }
            DatabaseUrl::Server(secret) => Backend::Server {
                pool: pool(secret.reveal(), &url, &holder, POOL_SIZE)?,
                reserved: pool(secret.reveal(), &url, &holder, RESERVED_SIZE)?,
            },
        };
        let warehouse = Self {
            backend,
            schema: plan.settings.schema.clone(),
            url,
            pipeline: plan.name.clone(),
            holder,
        };
        let mut session = warehouse.session("opening").await?;
        migrate::make_schema(session.client(), &warehouse.schema).await?;
        drop(session);
        Ok(warehouse)
    }

    /// Brings the ledger to this version, and checks that it is this pipeline's.
    pub(crate) async fn migrate(&self, session: &mut Session) -> Result<(), WarehouseError> {
        let Self { pipeline, schema, url, .. } = self;
        migrate::ensure(session.client(), pipeline, schema, url).await
    }

    /// A session for one unit of work; `what` tells waiting processes who holds it.
    pub async fn session(&self, what: &str) -> Result<Session, WarehouseError> {
        self.session_from(what, false).await
    }

    /// A session for the schedule's own bookkeeping.
    pub async fn schedule_session(&self) -> Result<Session, WarehouseError> {
        self.session_from("keeping the schedule", true).await
    }

    /// Does work on the database. On the embedded one, a process that serves it and gives no sign of life while
    /// the work goes on is ended: the database has stopped with it, and nothing else would let anyone in. What
    /// it had committed is there, and what it had not is not, as after a crash.
    pub async fn despite_a_stopped_host<T>(
        &self,
        lease: Duration,
        work: impl Future<Output = T>,
    ) -> T {
        let Backend::Embedded { embedded, .. } = &self.backend else { return work.await };
        tokio::pin!(work);
        loop {
            let seen = embedded.sign_of_life();
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(lease.max(HOST_ANSWERS_WITHIN)) => {}
            }
            if seen.is_some() && embedded.sign_of_life() == seen {
                embedded.end_host().await;
            }
        }
    }

    async fn session_from(&self, what: &str, reserved: bool) -> Result<Session, WarehouseError> {
        let held = match &self.backend {
            Backend::Embedded { embedded, slot } => {
                let mut guard = Arc::clone(slot).lock_owned().await;
                guard.used += 1;
                let usable = guard.open.as_ref().is_some_and(|open| !open.client.is_closed());
                if !usable {
                    guard.open = None;
                    let client = embedded.connect(what).await?;
                    client
                        .batch_execute(SETTINGS)
                        .await
                        .map_err(WarehouseError::statement("opening a session"))?;
                    guard.open = Some(Open { client, since: Instant::now() });
                }
                Held::Embedded {
                    embedded: embedded.clone(),
                    slot: Arc::clone(slot),
                    guard: Some(guard),
                }
            }
            Backend::Server { pool, reserved: for_schedule } => {
                let pool = if reserved { for_schedule } else { pool };
                let object = pool.get().await.map_err(|error| WarehouseError::Connect {
                    url: self.url.clone(),
                    // The pool's own words say nothing that PostgreSQL's or the network's do not.
                    cause: match error {
                        PoolError::Backend(cause) => Box::new(cause),
                        other => Box::new(other),
                    },
                })?;
                Held::Server(object)
            }
        };
        Ok(Session { held, schema: self.schema.clone() })
    }

    /// The schema of the curated tables.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// Who this is among the processes that use the database: `HOST:PID:ID`.
    pub fn holder(&self) -> &str {
        &self.holder
    }

    /// Whether the database is the one inside the program.
    pub fn is_embedded(&self) -> bool {
        matches!(self.backend, Backend::Embedded { .. })
    }

    /// The database's URL with the password hidden.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Lets every session go and stops the embedded server, if this process serves it.
    pub async fn close(self) {
        match self.backend {
            Backend::Embedded { embedded, slot } => {
                let mut guard = slot.lock().await;
                if guard.open.take().is_some() {
                    embedded.session_ended();
                }
                // Stopping the server would cut a guest off in the middle of its work: wait for it by
                // standing in line behind it. Whether that succeeds does not matter any more.
                if embedded.serves_a_guest() {
                    drop(embedded.connect("stopping").await);
                    embedded.session_ended();
                }
                tokio::task::spawn_blocking(move || embedded.stop())
                    .await
                    .expect("stopping the embedded server does not panic");
            }
            Backend::Server { pool, reserved } => {
                pool.close();
                reserved.close();
            }
        }
    }
}

impl Session {
    /// The driver's client.
    pub fn client(&mut self) -> &mut Client {
        match &mut self.held {
            Held::Embedded { guard, .. } => {
                let slot = guard.as_mut().expect("the guard is taken in drop only");
                &mut slot.open.as_mut().expect("a session opens its connection first").client
            }
            Held::Server(object) => object,
        }
    }

    /// Ends the connection if what was done left it [`WarehouseError::OutOfStep`]: nothing can be asked on it any
    /// more, and whoever asks for a session next gets another one.
    pub(crate) fn close_if_out_of_step<T>(
        &mut self,
        done: Result<T, WarehouseError>,
    ) -> Result<T, WarehouseError> {
        if matches!(done, Err(WarehouseError::OutOfStep { .. })) {
            // The driver has no other name for it; its own blocking client closes by it.
            self.client().__private_api_close();
        }
        done
    }

    /// The schema of the curated tables.
    pub fn schema(&self) -> &str {
        &self.schema
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Held::Embedded { embedded, slot, guard } = &mut self.held else { return };
        let Some(mut held) = guard.take() else { return };
        if held.open.as_ref().is_some_and(|open| open.since.elapsed() >= LONGEST) {
            held.open = None;
            embedded.session_ended();
            return;
        }
        let used = held.used;
        drop(held);
        let (embedded, slot) = (embedded.clone(), Arc::clone(slot));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                tokio::time::sleep(IDLE).await;
                let mut slot = slot.lock().await;
                // Somebody else has used it since: then its own drop decides.
                if slot.used == used && slot.open.take().is_some() {
                    embedded.session_ended();
                }
            });
        }
    }
}

/// A name for this process that no other has: `HOST:PID:ID`, in ASCII, as PostgreSQL wants session names.
fn holder() -> String {
    let host: String = crate::holder::host()
        .unwrap_or_else(|| "localhost".to_owned())
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c))
        .take(LONGEST_HOST)
        .collect();
    let id = uuid::Uuid::now_v7().simple().to_string();
    format!("{host}:{}:{}", std::process::id(), &id[id.len() - 8..])
}

fn pool(url: &str, shown: &str, holder: &str, size: usize) -> Result<Pool, WarehouseError> {
    let connect = |cause: Box<dyn std::error::Error + Send + Sync>| WarehouseError::Connect {
        url: shown.to_owned(),
        cause,
    };
    let mut config: tokio_postgres::Config =
        url.parse().map_err(|cause| connect(Box::new(cause)))?;
    // A server that is cut off is noticed in time to go on elsewhere.
    config.keepalives_idle(KEEPALIVE).tcp_user_timeout(CUT_OFF_AFTER);
    config.connect_timeout(CONNECT_TIMEOUT).application_name(lease::application_name(holder));
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(config, NoTls, recycling);
    Pool::builder(manager)
        .max_size(size)
        .post_create(Hook::async_fn(|client, _| {
            Box::pin(async move {
                client.batch_execute(SETTINGS).await.map_err(HookError::Backend)?;
                client.batch_execute(SERVER_SETTINGS).await.map_err(HookError::Backend)
            })
        }))
        .build()
        .map_err(|cause| connect(Box::new(cause)))
}
