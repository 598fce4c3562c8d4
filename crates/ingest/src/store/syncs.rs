//! Getting files and folders onto the disk, for all who wait at once.
//!
//! In: files that are written, folders whose entries changed. Out: the same on the disk. A hundred fetches
//! that end together have six hundred of them to sync, and a disk does some thousand a second. So whoever
//! comes while others are syncing waits for the next turn, and a turn of many is one sync of the whole
//! file system (`syncfs`), which costs about what one or two of theirs do; the one under way may have
//! begun before they had written. A turn of a few syncs just these: what other programs have written is
//! not waited for then. Deliberately absent: the order of objects.

use std::fs::File;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

/// Up to so many are synced one by one.
const FEW: usize = 8;

/// What an error is that has no number: an input or output error.
const EIO: i32 = 5;

/// The syncs of a store.
#[derive(Debug)]
pub(super) struct Syncs {
    /// Any folder of its file system. It stays open, for `syncfs` reports what went wrong since it was
    /// opened.
    disk: File,
    turns: Mutex<Turns>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Turns {
    waiting: Vec<Waiting>,
    under_way: bool,
}

#[derive(Debug)]
struct Waiting {
    file: File,
    /// How it ended: the number of an error.
    end: Arc<OnceLock<Result<(), i32>>>,
}

impl Syncs {
    /// The syncs of the file system that a folder is on.
    pub(super) fn of(disk: File) -> Self {
        Self { disk, turns: Mutex::default(), ended: Condvar::new() }
    }

    /// Returns when what was done to files and folders before is on the disk.
    pub(super) fn sync(&self, files: &[&File]) -> io::Result<()> {
        let mut ends = Vec::with_capacity(files.len());
        let mut waiting = Vec::with_capacity(files.len());
        for file in files {
            let end = Arc::new(OnceLock::new());
            waiting.push(Waiting { file: file.try_clone()?, end: Arc::clone(&end) });
            ends.push(end);
        }
        let mut turns = self.lock();
        turns.waiting.append(&mut waiting);
        // They came together, so one turn takes all of them.
        while ends.iter().any(|end| end.get().is_none()) {
            if turns.under_way {
                turns = self.ended.wait(turns).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            turns.under_way = true;
            let turn = std::mem::take(&mut turns.waiting);
            drop(turns);
            self.take_turn(&turn);
            turns = self.lock();
            turns.under_way = false;
            self.ended.notify_all();
        }
        drop(turns);
        let mut failed = ends.iter().filter_map(|end| end.get()?.err());
        failed.next().map_or(Ok(()), |number| Err(io::Error::from_raw_os_error(number)))
    }

    fn take_turn(&self, turn: &[Waiting]) {
        let number = |error: io::Error| error.raw_os_error().unwrap_or(EIO);
        let all = (turn.len() > FEW).then(|| self.sync_disk());
        for waiting in turn {
            let end = match &all {
                Some(all) => all.as_ref().copied().map_err(|number| *number),
                None => waiting.file.sync_all().map_err(number),
            };
            waiting.end.get_or_init(|| end);
        }
    }

    /// Syncs the file system.
    fn sync_disk(&self) -> Result<(), i32> {
        rustix::fs::syncfs(&self.disk).map_err(rustix::io::Errno::raw_os_error)
    }

    fn lock(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everyone_who_waits_is_synced() {
        let folder = tempfile::tempdir().unwrap();
        let syncs = Syncs::of(File::open(folder.path()).unwrap());
        std::thread::scope(|scope| {
            for number in 0..64 {
                let (syncs, folder) = (&syncs, folder.path());
                scope.spawn(move || {
                    let path = folder.join(number.to_string());
                    for _ in 0..4 {
                        std::fs::write(&path, "x").unwrap();
                        syncs.sync(&[&File::open(&path).unwrap()]).unwrap();
                    }
                });
            }
        });
        let turns = syncs.lock();
        assert!(turns.waiting.is_empty() && !turns.under_way);
    }

    #[test]
    fn an_error_is_told_to_everyone_of_its_turn_and_to_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let syncs = Syncs::of(File::open(folder.path()).unwrap());
        // What cannot be synced: a pipe.
        let (reader, _writer) = std::io::pipe().unwrap();
        let pipe = File::from(std::os::fd::OwnedFd::from(reader));
        assert!(syncs.sync(&[&File::open(folder.path()).unwrap(), &pipe]).is_err());
        syncs.sync(&[&File::open(folder.path()).unwrap()]).unwrap();
    }
}
