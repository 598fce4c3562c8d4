//! The arguments of the commands that keep the ledger safe.
//!
//! In: arguments. Out: one struct per command. Deliberately absent: what the commands do.

use std::path::PathBuf;

use clap::Args;

use super::Folder;

/// The arguments of `daymark backup`.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// Where to write it; one that is there is replaced when all is written. `-` is standard output
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `daymark restore`.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The backup; `-` is standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// Give up the ledger that is there. Without it a ledger that is not empty is left alone, and what it
    /// holds is told
    #[arg(long)]
    pub(crate) replace: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}
