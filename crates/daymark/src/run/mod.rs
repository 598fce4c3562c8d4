//! A run: ingest, publish and ledger for some days of some sources.
//!
//! In: an [`Order`]. Out: a `RunReport`. `execute.rs` tells the story, while `heart.rs` shows that it lives; `landed.rs` is what asking brought;
//! `unpublished.rs` finds what to publish, `publishing.rs` has it published; `rows.rs` hands the rows of a fetch
//! from the raw store to the publish, `verdicts.rs` what was decided about it; `dates.rs` says which days may be asked for; `progress.rs` shows what is happening, `journal.rs` keeps it; `report.rs` is what
//! came of it. Deliberately absent: when to run (`schedule`, `commands::up`).

pub(crate) mod dates;
mod execute;
mod heart;
mod journal;
mod landed;
mod progress;
mod publishing;
mod report;
pub(crate) mod rows;
mod unpublished;
pub(crate) mod verdicts;

pub(crate) use execute::{Order, Pace, Runner};
pub(crate) use landed::pending_fetch;
pub(crate) use progress::{Progress, RunEvent};
pub(crate) use report::RunReport;
pub(crate) use unpublished::count_unpublished;
