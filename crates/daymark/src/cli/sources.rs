//! The arguments of the commands about one source: look at it, fetch it, move its cursor.
//!
//! In: arguments. Out: one struct per command. Deliberately absent: what the commands do.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::civil::Date;

use super::Folder;

/// The arguments of `daymark preview`.
#[derive(Debug, Args)]
pub(crate) struct Preview {
    /// The source
    #[arg(value_name = "SOURCE")]
    pub(crate) source: String,
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// The data date to ask for (YYYY-MM-DD); default: the one a run now would have
    #[arg(long, value_name = "DATE")]
    pub(crate) date: Option<Date>,
    /// The entity to ask about; default: the first one
    #[arg(long, value_name = "ENTITY")]
    pub(crate) entity: Option<String>,
    /// The page to look at; those before it are asked for on the way
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) page: u32,
    /// How many rows to show
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub(crate) rows: u16,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `daymark fetch`.
#[derive(Debug, Args)]
pub(crate) struct Fetch {
    /// The source
    #[arg(value_name = "SOURCE")]
    pub(crate) source: String,
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// The data date to fetch (YYYY-MM-DD); default: the one a run now would have. Another day can
    /// only be asked of a source whose request names the day
    #[arg(long, value_name = "DATE")]
    pub(crate) date: Option<Date>,
    /// Fetch this entity only; may be given several times
    #[arg(long = "entity", value_name = "ENTITY")]
    pub(crate) entities: Vec<String>,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `daymark cursor`.
#[derive(Debug, Args)]
pub(crate) struct Cursor {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: CursorCommand,
}

/// What to do with cursors.
#[derive(Debug, Subcommand)]
pub(crate) enum CursorCommand {
    /// Show where cursors stand and who put them there
    Show(CursorShow),
    /// Put a cursor elsewhere, with the reason
    ///
    /// The next fetch asks from VALUE on (less the source's `lag`). The value is checked against the
    /// cursor's type and kept in the raw store with the reason and the time; it counts until a fetch
    /// moves the cursor on from it.
    Set(CursorSet),
}

/// The arguments of `daymark cursor show`.
#[derive(Debug, Args)]
pub(crate) struct CursorShow {
    /// The source; default: all incremental ones
    #[arg(value_name = "SOURCE")]
    pub(crate) source: Option<String>,
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// One entity only
    #[arg(long, value_name = "ENTITY", requires = "source")]
    pub(crate) entity: Option<String>,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `daymark cursor set`.
#[derive(Debug, Args)]
pub(crate) struct CursorSet {
    /// The source
    #[arg(value_name = "SOURCE")]
    pub(crate) source: String,
    /// Where to put the cursor, as the source's `incremental.type` has it
    #[arg(value_name = "VALUE", allow_hyphen_values = true)]
    pub(crate) value: String,
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// Why; kept beside the cursor and shown by `daymark cursor show`
    #[arg(long, value_name = "TEXT")]
    pub(crate) why: String,
    /// The entity; needed for a source that has entities
    #[arg(long, value_name = "ENTITY")]
    pub(crate) entity: Option<String>,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `daymark infer`.
#[derive(Debug, Args)]
pub(crate) struct Infer {
    /// Recorded responses of one source; `-` reads standard input
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// The source's id; default: made from the first file's name. With it the file's first line is printed
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    /// The source's address. With it `[request]` is printed
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Print a first models/ID.sql instead: the fields as they are, with the key they seem to have
    #[arg(long)]
    pub(crate) model: bool,
}
