//! The warehouse against real PostgreSQL: embedded and native.

mod bench;
mod contracts;
mod publishing;
mod reading;
