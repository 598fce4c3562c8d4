//! The warehouse against real PostgreSQL: embedded and native.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bench;
mod checks;
mod contracts;
mod fold;
mod order;
mod publishing;
mod reading;
mod rebuilding;
