//! What can go wrong with a backup.
//!
//! In: findings. Out: [`BackupError`], each with what to do next. Deliberately absent: where the file is.

use crate::error::WarehouseError;

/// Why a backup could not be written or restored. A restore that fails has changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The database failed.
    #[error(transparent)]
    Warehouse(#[from] WarehouseError),
    /// The file could not be written.
    #[error("cannot write the backup")]
    Write(#[source] std::io::Error),
    /// The file could not be read.
    #[error("cannot read the backup")]
    Read(#[source] std::io::Error),
    /// The file is none.
    #[error("this is no backup of a ledger: {0}")]
    NoBackup(String),
    /// The file is damaged or was cut off.
    #[error("the backup is damaged: {0}")]
    Damaged(String),
    /// A newer program wrote it.
    #[error("the backup was written by {program}, which is newer: {what}")]
    Newer {
        /// The program that wrote it.
        program: String,
        /// What this program does not know.
        what: String,
    },
    /// It is of another pipeline.
    #[error("the backup is of the pipeline `{found}`, not of `{wanted}`")]
    OtherPipeline {
        /// The pipeline it is of.
        found: String,
        /// The pipeline of the folder.
        wanted: String,
    },
    /// There is a ledger already.
    #[error("the ledger is not empty: it has {0}")]
    NotEmpty(String),
    /// An older backup cannot be put into a database that is in use.
    #[error("the backup has version {found} of the ledger, and this database has {current} in use")]
    OlderInUse {
        /// The backup's.
        found: i32,
        /// The database's.
        current: i32,
    },
}

impl BackupError {
    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Warehouse(error) => error.hint(),
            Self::Write(_) => Some("check the folder's rights and the space on its disk".to_owned()),
            Self::Read(_) | Self::NoBackup(_) => {
                Some("give a file that `daymark backup FILE` wrote".to_owned())
            }
            Self::Damaged(_) => {
                Some("nothing was changed; take another backup, or another copy of this one".to_owned())
            }
            Self::Newer { .. } => Some("restore it with that daymark, or with a newer one".to_owned()),
            Self::OtherPipeline { .. } => {
                Some("name the folder it is of: `--pipeline DIR`".to_owned())
            }
            Self::NotEmpty(_) => Some(
                "restore into another database; or give up what stands there now with `--replace`, \
                 after `daymark backup OTHER_FILE`"
                    .to_owned(),
            ),
            Self::OlderInUse { .. } => Some(
                "restore it into a database that is empty (`database.url`), where it is brought to this \
                 version, and run `daymark rebuild`"
                    .to_owned(),
            ),
        }
    }
}
