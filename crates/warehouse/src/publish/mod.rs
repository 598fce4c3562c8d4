//! Publish: rows, checks and ledger, changed together in one transaction (DESIGN.md section 7).
//!
//! In: the fetches that are not in the ledger yet, and a way to read the rows of a fetch. Out: curated
//! tables and ledger after one commit, and a [`Report`]. The same fetches published in any order and
//! grouping end in the same tables. Deliberately absent: where verdicts are kept; the caller hands in how
//! they are read and kept, as it does with the rows.
//!
//! One publish, told top to bottom: [`publish`] (locks, its number, each source by itself), `source` (which
//! fetches, what became of them), `write` (stage, check, difference; or `at_once`, where there is nothing to
//! decide); then `marts::follow`.

mod at_once;
mod checks;
mod copy;
mod difference;
mod drift;
mod entities;
mod history;
mod marts;
mod rebuild;
mod record;
mod restatement;
mod savepoint;
mod shape;
mod source;
mod stage;
mod write;

use std::collections::BTreeMap;
use std::pin::Pin;

use bytes::Bytes;
use daymark_plan::{Plan, SourceId, Supersede};
use futures::Stream;
use futures::future::BoxFuture;
use jiff::Timestamp;
use jiff::civil::Date;
use tokio_postgres::{IsolationLevel, Transaction};
use uuid::Uuid;

use crate::alerts;
use crate::contract::{self, Refused};
use crate::error::WarehouseError;
use crate::lease::Fence;
use crate::session::Session;

use checks::Purpose;
pub use checks::{
    Answer, CheckOutcome, CheckResult, KeepVerdicts, ReadVerdicts, Verdict, Verdicts,
};
pub(crate) use checks::{check_over_nothing, makes_no_sense, told_of_check};
pub use copy::copy_rows;
pub use difference::TableCounts;
pub use drift::{Drift, DriftKind};
pub(crate) use history::order_columns;
pub(crate) use marts::not_without;
pub use rebuild::{Rebuild, Rebuilt, rebuild};
pub use shape::{FetchPath, FetchShape, Shapes};

/// An error of whoever reads the rows, kept as it is.
pub type RowsError = Box<dyn std::error::Error + Send + Sync>;
/// The rows of a fetch: COPY binary tuples in chunks, without COPY's header and trailer.
pub type RowStream = Pin<Box<dyn Stream<Item = Result<Bytes, RowsError>> + Send>>;
/// Opens the rows of a fetch by its manifest's key.
pub type ReadRows<'r> =
    dyn Fn(String) -> BoxFuture<'static, Result<RowStream, RowsError>> + Send + Sync + 'r;
/// Reads the first rows that extraction set aside of a fetch, by its manifest's key.
pub type ReadRejects<'r> = dyn Fn(String) -> BoxFuture<'static, Result<Vec<ExtractionReject>, RowsError>>
    + Send
    + Sync
    + 'r;
/// Told what a publish is doing, as it does it.
pub type Watch<'w> = dyn Fn(Progress) + Send + Sync + 'w;

/// What a publish is doing.
#[derive(Debug, Clone)]
pub enum Progress {
    /// Another publish is under way, and is waited for.
    Waiting,
    /// The rows of a fetch are copied in and go through a model.
    Staging {
        /// The fetch's source.
        source_id: SourceId,
        /// The fetch's data date.
        data_date: Date,
        /// The fetch's entity; `""` of a source without.
        entity: String,
        /// The model's table.
        table: String,
    },
    /// Staged rows are compared with the published ones and written.
    Writing {
        /// The table.
        table: String,
    },
    /// Everything is written and about to be committed.
    Committing,
}

/// What a fetch brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A response that was accepted.
    Accepted,
    /// A response that was refused, or none at all, with the reason.
    Refused(String),
}

/// A fetch that the ledger has not taken note of: what tells it from others, in a few hundred bytes, for a
/// publish may be of thousands. What else is in its manifest is read when its turn comes ([`FromRaw`]).
#[derive(Debug, Clone)]
pub struct PendingFetch {
    /// Its manifest's key.
    pub manifest_key: String,
    /// Its id.
    pub fetch_id: Uuid,
    /// Its source.
    pub source_id: SourceId,
    /// The day it is for.
    pub data_date: Date,
    /// The entity it is of, if its source has entities.
    pub entity: Option<String>,
    /// When it was received.
    pub fetched_at: Timestamp,
    /// The run that made it.
    pub run_id: Uuid,
    /// What it brought.
    pub outcome: Outcome,
    /// Rows extracted.
    pub extracted: i64,
    /// Rows set aside.
    pub rejected: i64,
    /// What the response looks like; none of one that an older program fetched.
    pub shape: Option<FetchShape>,
}

/// A row that extraction set aside.
#[derive(Debug, Clone, PartialEq)]
pub struct ExtractionReject {
    /// Its place in the fetch.
    pub row: i64,
    /// What did not fit: field, path and value.
    pub value: serde_json::Value,
    /// Why.
    pub reason: String,
}

/// A fetch as a publish sees it: what it says counts from its place in the order on.
#[derive(Debug, Clone)]
struct Statement {
    /// Its place among the fetches of the publish, oldest first.
    ordinal: i32,
    manifest_key: String,
    fetch_id: Uuid,
    data_date: Date,
    fetched_at: Timestamp,
    /// `""` for a source without entities.
    entity: String,
    rejected: i64,
}

impl Statement {
    fn of(fetch: &PendingFetch) -> Self {
        Self {
            ordinal: 0,
            manifest_key: fetch.manifest_key.clone(),
            fetch_id: fetch.fetch_id,
            data_date: fetch.data_date,
            fetched_at: fetch.fetched_at,
            entity: fetch.entity.clone().unwrap_or_default(),
            rejected: fetch.rejected,
        }
    }

    /// The key that orders the fetches of a source: what "newer" means (DESIGN.md section 4). It is
    /// worked out whenever it is needed, because the source's rule can change.
    fn order_key(&self, supersede: Supersede) -> (Option<Date>, String) {
        match supersede {
            // Manifest keys start with the time of the fetch and are unique.
            Supersede::FetchedAt => (None, self.manifest_key.clone()),
            Supersede::DataDate => (Some(self.data_date), self.manifest_key.clone()),
        }
    }
}

/// What became of a fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchResult {
    /// Its rows are published.
    Published,
    /// It had been refused when it was received.
    Refused(String),
    /// The database refused its rows. It is tried again when its source's or its models' files change.
    Failed(String),
    /// A check holds it back. It is tried again when those files change or a person releases it.
    Quarantined(String),
    /// It could not be published this time, for a reason that may pass; the next publish tries again.
    Postponed(String),
}

/// Why something of a publish was not done.
enum NotDone {
    /// The SQL or the rows are at fault.
    Failed(String),
    /// A check holds it back.
    Quarantined(String),
    /// Something that may pass.
    Postponed(String),
}

impl NotDone {
    /// Why.
    fn reason(self) -> String {
        match self {
            Self::Failed(reason) | Self::Quarantined(reason) | Self::Postponed(reason) => reason,
        }
    }
}

impl From<NotDone> for FetchResult {
    fn from(not_done: NotDone) -> Self {
        match not_done {
            NotDone::Failed(reason) => Self::Failed(reason),
            NotDone::Quarantined(reason) => Self::Quarantined(reason),
            NotDone::Postponed(reason) => Self::Postponed(reason),
        }
    }
}

/// What a publish did.
#[derive(Debug, Default)]
pub struct Report {
    /// The publish's id; none when no fetch could be published, and readers see what they saw before.
    pub publish_id: Option<i64>,
    /// What became of each fetch, by manifest key.
    pub fetches: BTreeMap<String, FetchResult>,
    /// What changed in each table.
    pub tables: BTreeMap<String, TableCounts>,
    /// What the checks said.
    pub checks: Vec<CheckResult>,
    /// What the responses had otherwise than those before them.
    pub drifts: Vec<Drift>,
    /// What PostgreSQL refused of the folder.
    pub refused: Refused,
}

impl Report {
    /// Adds what was done with some more fetches.
    fn add(&mut self, other: Self) {
        self.fetches.extend(other.fetches);
        for (table, counts) in other.tables {
            self.tables.entry(table).or_default().add(counts);
        }
        self.checks.extend(other.checks);
        self.drifts.extend(other.drifts);
    }
}

/// How what the raw store has of a fetch is read.
#[derive(Clone, Copy)]
pub struct FromRaw<'r> {
    /// Its rows.
    pub rows: &'r ReadRows<'r>,
    /// What extraction set aside; it is asked only where there is something.
    pub rejects: &'r ReadRejects<'r>,
}

impl std::fmt::Debug for FromRaw<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FromRaw").finish_non_exhaustive()
    }
}

/// What to publish.
#[derive(Debug)]
pub struct Request {
    /// The run that publishes.
    pub run_id: Uuid,
    /// Now.
    pub now: Timestamp,
    /// The fetches the ledger has not taken note of.
    pub pending: Vec<PendingFetch>,
    /// The leader's pass, of a run that the schedule started: the publish counts only while it is good.
    pub fence: Option<Fence>,
}

/// What all steps of a publish need.
struct Context<'c> {
    plan: &'c Plan,
    schema: String,
    run_id: Uuid,
    now: Timestamp,
    publish_id: i64,
    /// Whether changes are restatements: a rebuild's are not.
    is_told: bool,
    /// Whether rejects and verdicts are kept: what only compares keeps none.
    is_kept: bool,
    read_rows: &'c ReadRows<'c>,
    verdicts: Verdicts<'c>,
    watch: &'c Watch<'c>,
}

/// Publishes all pending fetches. One source's failure leaves the others alone.
pub async fn publish(
    session: &mut Session,
    plan: &Plan,
    request: Request,
    from_raw: FromRaw<'_>,
    verdicts: Verdicts<'_>,
    watch: &Watch<'_>,
) -> Result<Report, WarehouseError> {
    let done = in_one_transaction(session, plan, request, from_raw, verdicts, watch).await;
    session.close_if_out_of_step(done)
}

async fn in_one_transaction(
    session: &mut Session,
    plan: &Plan,
    request: Request,
    from_raw: FromRaw<'_>,
    verdicts: Verdicts<'_>,
    watch: &Watch<'_>,
) -> Result<Report, WarehouseError> {
    if let Some(fence) = &request.fence {
        fence.look(session.client()).await?;
    }
    let mut report =
        Report { refused: contract::ensure(session, plan).await?, ..Report::default() };
    let schema = session.schema().to_owned();
    let doing = WarehouseError::statement("publishing");
    let mut transaction = session
        .client()
        .build_transaction()
        // Each statement sees what the publish that was waited for has committed.
        .isolation_level(IsolationLevel::ReadCommitted)
        .start()
        .await
        .map_err(&doing)?;
    transaction.batch_execute(&contract::search_path(&schema)).await.map_err(&doing)?;

    let mut by_source: BTreeMap<SourceId, Vec<PendingFetch>> = BTreeMap::new();
    for fetch in request.pending {
        by_source.entry(fetch.source_id.clone()).or_default().push(fetch);
    }
    lock_tables(&transaction, plan, &schema, by_source.keys(), watch).await?;
    if let Some(fence) = &request.fence {
        fence.look(&transaction).await?;
    }
    let publish_id = record::start(&transaction, request.run_id, request.now).await?;
    let context = Context {
        plan,
        schema,
        run_id: request.run_id,
        now: request.now,
        publish_id,
        is_told: true,
        is_kept: true,
        read_rows: from_raw.rows,
        verdicts,
        watch,
    };
    for (source_id, fetches) in by_source {
        // A source that was taken out of the folder keeps its manifests until it comes back.
        let Some(source) = plan.source(&source_id) else { continue };
        let fetches = record::not_noted(&transaction, plan, source, fetches).await?;
        let rejects = from_raw.rejects;
        source::contained(&mut transaction, &context, source, fetches, rejects, &mut report)
            .await?;
    }
    marts::follow(&mut transaction, &context, &mut report).await?;
    if report.fetches.values().any(|result| *result == FetchResult::Published) {
        report.publish_id = Some(publish_id);
    } else {
        record::withdraw(&transaction, publish_id).await?;
    }
    let fetches: Vec<&str> = report.fetches.keys().map(String::as_str).collect();
    Box::pin(alerts::published(&transaction, plan, request.run_id, &fetches, request.now)).await?;
    watch(Progress::Committing);
    // Last, because it keeps others from taking the lease over until the commit.
    if let Some(fence) = &request.fence {
        fence.check(&transaction).await?;
    }
    transaction.commit().await.map_err(&doing)?;
    Ok(report)
}

/// Makes publishes of one table serial: locks in name order, until the transaction ends. The first is
/// for the publish's number, which has no gaps.
async fn lock_tables(
    transaction: &Transaction<'_>,
    plan: &Plan,
    schema: &str,
    sources: impl Iterator<Item = &SourceId>,
    watch: &Watch<'_>,
) -> Result<(), WarehouseError> {
    let doing = WarehouseError::statement("waiting for another publish");
    let mut names: Vec<String> = sources
        .flat_map(|source_id| plan.models_of(source_id))
        .map(|model| format!("daymark:table:{schema}.{}", model.table))
        .chain(["daymark:publish".to_owned()])
        .collect();
    names.sort_unstable();
    for name in names {
        let locked: bool = transaction
            .query_one("select pg_try_advisory_xact_lock(hashtextextended($1, 0))", &[&name])
            .await
            .map_err(&doing)?
            .get(0);
        if !locked {
            watch(Progress::Waiting);
            transaction
                .execute("select pg_advisory_xact_lock(hashtextextended($1, 0))", &[&name])
                .await
                .map_err(&doing)?;
        }
    }
    Ok(())
}
