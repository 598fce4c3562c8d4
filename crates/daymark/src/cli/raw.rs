//! The arguments of the commands about the raw store.
//!
//! In: arguments. Out: one struct per command. Deliberately absent: what the commands do.

use clap::{Args, Subcommand};
use jiff::civil::Date;

use super::Folder;

/// The arguments of `daymark raw`.
#[derive(Debug, Args)]
pub(crate) struct Raw {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: RawCommand,
}

/// What to do with the raw store.
#[derive(Debug, Subcommand)]
pub(crate) enum RawCommand {
    /// List what was fetched, the newest last
    ///
    /// One line per fetch: when, for which day, whether it was accepted and why not, its size and rows.
    /// `=` marks a fetch whose rows equal those of the one before.
    Ls(RawLs),
    /// Write a body to standard output exactly as it was received, or a manifest
    ///
    /// The body is checked against the SHA-256 of its manifest and written byte for byte. Of a source and
    /// a date it is the latest accepted fetch's, or the latest refused one's when there is no other.
    Show(RawShow),
    /// Show all fetches of a day: which changed, and which one is current
    Versions(RawVersions),
    /// Show what differs between two fetches
    ///
    /// JSON is compared by path: members by name, parallel arrays by the times beside them, records by
    /// their id or date. CSV is compared by line. Values that APIs fill anew for every answer, such as
    /// `generationtime_ms`, come last. The exit code is 0, whether or not anything differs.
    Diff(RawDiff),
    /// Hash everything again and compare with the manifests
    ///
    /// Reads every archived object and compares it with its manifest's SHA-256: what is missing or
    /// damaged makes the exit code 1. Objects that no manifest names (a fetch that was killed leaves them)
    /// and raw objects that are not the latest accepted ones are told as well.
    Verify(RawVerify),
    /// Copy a raw layer from one store to another
    ///
    /// Copies everything that TO lacks, manifests last, so that whoever reads TO never finds a manifest
    /// without its objects. Started again it goes on where it was. Nothing is deleted. A store is
    /// `file:DIR`, `s3://BUCKET/PREFIX`, or `pipeline` for the pipeline's own; region, endpoint and the
    /// like of a bucket come from `DAYMARK_RAW_*` or the pipeline's `[raw]`.
    Sync(RawSync),
}

/// The arguments of `daymark raw ls`.
#[derive(Debug, Args)]
pub(crate) struct RawLs {
    /// The source; default: all of the pipeline's. One that the folder has no more can be named, too
    #[arg(value_name = "SOURCE")]
    pub(crate) source: Option<String>,
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// Fetches for this data date only
    #[arg(long, value_name = "DATE", conflicts_with_all = ["from", "to"])]
    pub(crate) date: Option<Date>,
    /// Fetches for this data date and later ones
    #[arg(long, value_name = "DATE")]
    pub(crate) from: Option<Date>,
    /// Fetches for this data date and earlier ones
    #[arg(long, value_name = "DATE")]
    pub(crate) to: Option<Date>,
    /// Fetches of this entity only
    #[arg(long, value_name = "ENTITY")]
    pub(crate) entity: Option<String>,
    /// Refused fetches only
    #[arg(long)]
    pub(crate) refused: bool,
    /// The newest so many; 0 for all. Default: 50, or all when a date is given
    #[arg(long, value_name = "N")]
    pub(crate) last: Option<usize>,
    /// Print the manifests as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `daymark raw show`.
#[derive(Debug, Args)]
pub(crate) struct RawShow {
    /// A key of the raw store, the id of a fetch, or a source (with --date)
    #[arg(value_name = "KEY|FETCH_ID|SOURCE")]
    pub(crate) what: String,
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// The data date of a source
    #[arg(long, value_name = "DATE")]
    pub(crate) date: Option<Date>,
    /// The entity of a source
    #[arg(long, value_name = "ENTITY")]
    pub(crate) entity: Option<String>,
    /// The page, from 1; needed when a fetch has several
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) page: Option<u32>,
    /// Write the manifest instead of the body
    #[arg(long, visible_alias = "json", conflicts_with = "page")]
    pub(crate) manifest: bool,
}

/// The arguments of `daymark raw versions`.
#[derive(Debug, Args)]
pub(crate) struct RawVersions {
    /// The source
    #[arg(value_name = "SOURCE")]
    pub(crate) source: String,
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// The data date
    #[arg(long, value_name = "DATE")]
    pub(crate) date: Date,
    /// One entity only
    #[arg(long, value_name = "ENTITY")]
    pub(crate) entity: Option<String>,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `daymark raw diff`.
#[derive(Debug, Args)]
pub(crate) struct RawDiff {
    /// The older one: a key or the id of a fetch; or a source (with --date), whose last two versions of
    /// that day are then compared
    #[arg(value_name = "A|SOURCE")]
    pub(crate) before: String,
    /// The newer one: a key or the id of a fetch
    #[arg(value_name = "B", conflicts_with_all = ["date", "entity"])]
    pub(crate) after: Option<String>,
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// The data date of a source
    #[arg(long, value_name = "DATE")]
    pub(crate) date: Option<Date>,
    /// The entity of a source
    #[arg(long, value_name = "ENTITY")]
    pub(crate) entity: Option<String>,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `daymark raw verify`.
#[derive(Debug, Args)]
pub(crate) struct RawVerify {
    /// The source; default: everything in the store
    #[arg(value_name = "SOURCE")]
    pub(crate) source: Option<String>,
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `daymark raw sync`.
#[derive(Debug, Args)]
pub(crate) struct RawSync {
    /// The store to copy from
    #[arg(value_name = "FROM")]
    pub(crate) from: String,
    /// The store to copy to
    #[arg(value_name = "TO")]
    pub(crate) to: String,
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}
