//! PostgreSQL, all of it: the embedded server, sessions, contracts, publish, ledger, read-only queries.
//!
//! In: a [`daymark_plan::Plan`] and the rows of fetches as COPY binary tuples. Out: curated tables,
//! marts and the ledger, changed in one transaction per publish, and read-only results.
//! **Invariant:** only [`publish`] writes curated tables; marts that are tables are written by `refresh`
//! alone. Deliberately absent: where rows come
//! from (`ingest`, `extract`) and how results look (`web`).

pub mod alerts;
mod as_of;
pub mod backfill;
pub mod backup;
pub mod contract;
mod days;
pub mod doctor;
mod embedded;
mod error;
pub mod expected;
pub mod figures;
pub mod fires;
mod history;
mod holder;
pub mod lease;
pub mod ledger;
mod migrate;
mod older;
pub mod publish;
mod reader;
mod refresh;
mod result;
pub mod retention;
pub mod retries;
mod scratch;
mod session;
mod sql;
mod why;

pub use daymark_plan::DayState;
pub use days::{Day, EntityDay, SourceDays};
pub use error::{Failure, WarehouseError};
pub use history::{LoggedLine, Run, RunAttempt, RunDetail, RunFilter, RunStep};
pub use older::OlderDays;
pub use reader::{
    DriftSeen, LastPublish, QueryError, ReadQuery, Reader, RejectFilter, RejectPlace,
    SchedulerState, Warning,
};
pub use result::{ColumnKind, NameTwice, ResultColumn, ResultTable};
pub use scratch::Scratch;
pub use session::{Session, Warehouse};
pub use why::{Asked, NoRow, Origin, Restated, WhyError};
