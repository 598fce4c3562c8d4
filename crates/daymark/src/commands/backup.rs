//! `daymark backup` and `daymark restore`: the part of the database that the raw store does not hold.
//!
//! In: a file. Out: the ledger in it, or it in the ledger. A backup appears under its name when all of it is
//! on the disk, readable to its owner only. Deliberately absent: the format and what belongs to it
//! (`daymark_warehouse::backup`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use daymark_plan::Clock;
use daymark_warehouse::Warehouse;
use daymark_warehouse::backup::{self, BackupError, Header};

use crate::cli::{Backup, Restore};
use crate::commands;
use crate::failure::Failure;
use crate::output;

/// Writes a backup.
pub(crate) async fn backup(arguments: &Backup) -> Result<ExitCode, Failure> {
    let plan = commands::load(&arguments.folder)?;
    // What cannot be written is found out before the database is asked.
    let mut target = Target::open(&arguments.file).map_err(cannot_write(&arguments.file))?;
    let warehouse = Warehouse::open(&plan).await?;
    let written = async {
        let mut session = warehouse.session("writing a backup").await?;
        backup::write(&mut session, Clock::System.now(), target.writer()).await
    };
    let written = written.await;
    warehouse.close().await;
    let header = written?;
    target.finish(&arguments.file).map_err(cannot_write(&arguments.file))?;
    let done = format!(
        "the ledger of `{}` is {}: {}\n\
         not in it, because the raw store gives it: the curated tables and their histories\n",
        header.pipeline,
        place(&arguments.file),
        counted(&header),
    );
    if is_stream(&arguments.file) {
        output::to_stderr(&done);
    } else if arguments.json {
        output::json(&told(&header))?;
    } else {
        output::to_stdout(&done)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Restores a backup.
pub(crate) async fn restore(arguments: &Restore) -> Result<ExitCode, Failure> {
    let plan = commands::load(&arguments.folder)?;
    let header = if is_stream(&arguments.file) {
        backup::restore(&plan, &mut io::stdin(), arguments.replace).await?
    } else {
        let mut file = File::open(&arguments.file).map_err(|cause| {
            let message = format!("cannot read `{}`", arguments.file.display());
            Failure::failed(anyhow::Error::new(cause).context(message), None)
        })?;
        backup::restore(&plan, &mut file, arguments.replace).await?
    };
    if arguments.json {
        output::json(&told(&header))?;
    } else {
        output::to_stdout(&format!(
            "the ledger of `{}` is restored: {}, as of {}\n\
             next: `daymark rebuild` makes the curated tables and their histories from the raw store\n",
            header.pipeline,
            counted(&header),
            header.created_at.round(jiff::Unit::Second).unwrap_or(header.created_at),
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Where a backup goes.
enum Target {
    Stdout(io::Stdout),
    File(BufWriter<tempfile::NamedTempFile>),
}

impl Target {
    /// A file beside the one that is meant: its name is taken when all is written.
    fn open(file: &Path) -> io::Result<Self> {
        if is_stream(file) {
            return Ok(Self::Stdout(io::stdout()));
        }
        if file.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        let name = file.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
        let mut prefix = std::ffi::OsString::from(".");
        prefix.push(name);
        prefix.push(".");
        // Only its owner reads it: a ledger tells what failed, and how.
        let temporary = tempfile::Builder::new().prefix(&prefix).tempfile_in(folder_of(file))?;
        Ok(Self::File(BufWriter::new(temporary)))
    }

    fn writer(&mut self) -> &mut (dyn Write + Send) {
        match self {
            Self::Stdout(stdout) => stdout,
            Self::File(file) => file,
        }
    }

    /// Has all of it on the disk, under its name.
    fn finish(self, file: &Path) -> io::Result<()> {
        match self {
            Self::Stdout(mut stdout) => stdout.flush(),
            Self::File(writer) => {
                let temporary = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
                temporary.as_file().sync_all()?;
                temporary.persist(file).map_err(|error| error.error)?;
                File::open(folder_of(file))?.sync_all()
            }
        }
    }
}

fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn is_stream(file: &Path) -> bool {
    file.as_os_str() == "-"
}

fn place(file: &Path) -> String {
    if is_stream(file) {
        "on standard output".to_owned()
    } else {
        format!("in `{}`", file.display())
    }
}

fn counted(header: &Header) -> String {
    let rows = header.rows();
    format!("{} tables, {rows} {}", header.tables.len(), if rows == 1 { "row" } else { "rows" })
}

fn cannot_write(file: &Path) -> impl Fn(io::Error) -> Failure {
    let message = format!("cannot write the backup `{}`", file.display());
    move |cause| {
        let hint = "give a file in a folder that can be written".to_owned();
        Failure::failed(anyhow::Error::new(cause).context(message.clone()), Some(hint))
    }
}

fn told(header: &Header) -> serde_json::Value {
    let rows: BTreeMap<&str, i64> =
        header.tables.iter().map(|table| (table.table.as_str(), table.rows)).collect();
    serde_json::json!({
        "pipeline": header.pipeline,
        "created_at": header.created_at,
        "program": header.program,
        "ledger": header.ledger,
        "tables": rows,
    })
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        match error {
            // It is the database's, and says so itself.
            BackupError::Warehouse(error) => error.into(),
            other => {
                let hint = other.hint();
                Self::failed(other, hint)
            }
        }
    }
}
