//! The folders of a store: made when they are needed, and synced.
//!
//! In: folders. Out: folders that are there, and whose entries are on the disk. Deliberately absent: how
//! many who wait share a sync, which is `syncs.rs`'s.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::syncs::Syncs;

/// What is known of the folders of a store.
#[derive(Debug)]
pub(super) struct Folders {
    made: Mutex<HashSet<PathBuf>>,
    syncs: Syncs,
}

impl Folders {
    /// The folders of a store, which is made when it is not there.
    pub(super) fn of(root: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(root)?;
        Ok(Self { made: Mutex::default(), syncs: Syncs::of(File::open(root)?) })
    }

    /// Makes a folder and those it stands in, for this user alone, and their entries last. What is found
    /// once is not looked for again.
    pub(super) fn make(&self, folder: &Path) -> io::Result<()> {
        if lock(&self.made).contains(folder) {
            return Ok(());
        }
        let mut missing = Vec::new();
        for folder in folder.ancestors().take_while(|folder| !folder.as_os_str().is_empty()) {
            if folder.try_exists()? {
                break;
            }
            missing.push(folder);
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        for folder in missing.into_iter().rev() {
            if let Some(around) = folder.parent().filter(|around| !around.as_os_str().is_empty()) {
                self.sync(&[around])?;
            }
        }
        lock(&self.made).insert(folder.to_owned());
        Ok(())
    }

    /// Forgets that a folder was there: someone took it away.
    pub(super) fn forget(&self, folder: &Path) {
        lock(&self.made).remove(folder);
    }

    /// Returns when what was done in folders before is on the disk.
    pub(super) fn sync(&self, folders: &[impl AsRef<Path>]) -> io::Result<()> {
        let opened: io::Result<Vec<File>> = folders.iter().map(File::open).collect();
        self.sync_files(&opened?.iter().collect::<Vec<_>>())
    }

    /// The same of what was written to files.
    pub(super) fn sync_files(&self, files: &[&File]) -> io::Result<()> {
        self.syncs.sync(files)
    }
}

/// Whoever panicked with a lock left behind what is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_was_taken_away_is_made_again() {
        let root = tempfile::tempdir().unwrap();
        let (folders, folder) = (Folders::of(root.path()).unwrap(), root.path().join("a/b/c"));
        folders.make(&folder).unwrap();
        fs::remove_dir_all(root.path().join("a")).unwrap();
        folders.make(&folder).unwrap();
        assert!(!folder.try_exists().unwrap());
        folders.forget(&folder);
        folders.make(&folder).unwrap();
        assert!(folder.try_exists().unwrap());
    }
}
