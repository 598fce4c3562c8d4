//! `daymark raw`: what is in the raw store.
//!
//! In: keys, ids, sources and days. Out: lists, bodies, differences, an audit, a copy. One file for each
//! command; `find.rs` is how all of them find what was named. Deliberately absent: the database, and any
//! key that is not made in ingest.

mod diff;
mod find;
mod ls;
mod show;
mod sync;
mod verify;
mod versions;

use std::process::ExitCode;

use daymark_plan::Plan;
use jiff::Timestamp;

use crate::cli::RawCommand;
use crate::failure::Failure;

/// Looks into the raw store.
pub(crate) async fn raw(command: &RawCommand) -> Result<ExitCode, Failure> {
    match command {
        RawCommand::Ls(arguments) => ls::ls(arguments).await,
        RawCommand::Show(arguments) => show::show(arguments).await,
        RawCommand::Versions(arguments) => versions::versions(arguments).await,
        RawCommand::Diff(arguments) => diff::diff(arguments).await,
        RawCommand::Verify(arguments) => verify::verify(arguments).await,
        RawCommand::Sync(arguments) => sync::sync(arguments).await,
    }
}

/// An instant on the pipeline's clock.
fn local(plan: &Plan, at: Timestamp) -> String {
    at.to_zoned(plan.settings.zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// The first characters of a hash, enough to tell versions apart.
fn short_hash(sha256: &str) -> String {
    sha256.chars().take(12).collect()
}
