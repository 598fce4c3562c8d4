//! The arguments of `daymark test`.
//!
//! In: arguments. Out: one struct. Deliberately absent: what the command does.

use clap::Args;

use super::Folder;

/// The arguments of `daymark test`.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// The tests to run, by the names of their files without `.toml`; default: all
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}
