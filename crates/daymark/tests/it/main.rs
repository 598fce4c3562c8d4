//! The program as its users meet it: the real binary in folders of its own, with real HTTP and, where
//! it matters, both kinds of PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod alerts;
mod backfill;
mod bad_folder;
mod bad_input;
mod channels;
mod checks;
mod commands;
mod crash;
mod dlq;
mod doctor;
mod drift;
mod entities;
mod infer;
mod lead;
mod ledger;
mod model_tests;
mod monitoring;
mod older;
mod plan_command;
mod raw;
mod rebuilding;
mod recorded;
mod secrets;
mod twice;
mod up;
mod why;
mod world;
