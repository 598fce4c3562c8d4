//! PostgreSQL, all of it: the embedded server, sessions, contracts, publish, ledger, read-only queries.
//!
//! In: a [`daymark_plan::Plan`] and the rows of fetches as COPY binary tuples. Out: curated tables,
//! marts and the ledger, changed in one transaction per publish, and read-only results.
//! **Invariant:** only [`publish`] writes curated tables. Deliberately absent: where rows come
//! from (`ingest`, `extract`) and how results look (`web`).

mod as_of;
pub mod contract;
mod days;
pub mod doctor;
mod embedded;
mod error;
pub mod fires;
mod history;
mod holder;
pub mod lease;
pub mod ledger;
mod migrate;
pub mod publish;
mod reader;
mod result;
mod session;
mod sql;
mod why;

pub use daymark_plan::DayState;
pub use days::{Day, EntityDay, SourceDays};
pub use error::{Failure, WarehouseError};
pub use history::{LoggedLine, Run, RunAttempt, RunDetail, RunFilter, RunStep};
pub use reader::{
    LastPublish, QueryError, ReadQuery, Reader, RejectFilter, SchedulerState, Warning,
};
pub use result::{ColumnKind, NameTwice, ResultColumn, ResultTable};
pub use session::{Session, Warehouse};
pub use why::{NoRow, Origin, Restated, WhyError};
