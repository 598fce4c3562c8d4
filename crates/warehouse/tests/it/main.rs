//! The warehouse against real PostgreSQL: embedded and native.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bench;
mod checks;
mod contracts;
mod drift;
mod fold;
mod marts;
mod order;
mod publishing;
mod reading;
mod rebuilding;
