//! The warehouse against real PostgreSQL: embedded and native.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod at_once;
mod backup;
mod bench;
mod checks;
mod contracts;
mod crash;
mod drift;
mod drift_recorded;
mod fence;
mod figures;
mod fold;
mod marts;
mod names;
mod order;
mod publishing;
mod reading;
mod rebuilding;
mod types;
