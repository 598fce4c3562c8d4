//! Which manifests of a folder are new, without listing ten years of them.
//!
//! In: manifests as they are written, and a key to go on from. Out: the keys after it. A folder cannot be
//! listed from a name on, so the manifests of the last weeks have a second name in `tmp/recent/`, given
//! before the one that counts, once someone has asked: what is not there was not written by daymark since. A
//! `since-...` mark says from where on that holds; a question from before it is answered from all names. What others copied into
//! the folder is not there: whoever asks lists all manifests now and then. Everything here may be deleted
//! at any time. Deliberately absent: syncing: after a crash of the machine an entry may be missing, which
//! the full listing finds.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use jiff::SignedDuration;

use crate::keys::RawKey;

/// How far back the second names go when they are made anew.
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 30);

/// They are cleared out when the oldest is older than this.
const OLDEST: SignedDuration = SignedDuration::from_hours(24 * 60);

/// What the name of a mark starts with.
const MARK: &str = "since-";

/// The second names of a store's manifests.
#[derive(Debug)]
pub(super) struct Recent<'s> {
    root: &'s Path,
    spool: PathBuf,
}

impl<'s> Recent<'s> {
    pub(super) fn of(root: &'s Path, spool: PathBuf) -> Self {
        Self { root, spool }
    }

    /// Where the second names of `manifests/<source>/...` are; none for another key.
    fn folder(&self, key: &str) -> Option<PathBuf> {
        let (source, _) = key.strip_prefix("manifests/")?.split_once('/')?;
        Some(self.spool.join("recent").join(source))
    }

    /// Gives a manifest that was written and is not in place yet its second name.
    pub(super) fn note(&self, key: &str, written: &Path) -> io::Result<()> {
        let (Some(folder), Some((_, name))) = (self.folder(key), key.rsplit_once('/')) else {
            return Ok(());
        };
        match link(written, &folder.join(name)) {
            // Nobody has asked yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            linked => linked,
        }
    }

    /// The keys of `manifests/<source>` after a key, in order. `all` lists every name of a folder.
    pub(super) fn after(
        &self,
        folder: &str,
        after: &str,
        all: impl FnOnce() -> io::Result<Vec<String>>,
    ) -> io::Result<Vec<String>> {
        let Some(recent) = self.folder(after) else { return all() };
        let Some((_, from)) = after.rsplit_once('/') else { return all() };
        let names = match fs::read_dir(&recent) {
            Ok(entries) => entries
                .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
                .collect::<io::Result<Vec<String>>>()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let since = names.iter().filter_map(|name| name.strip_prefix(MARK)).max();
        if since.is_none_or(|since| from < since) {
            if since.is_none() {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(&recent)?;
            }
            let mut keys = all()?;
            if since.is_none() {
                self.begin(&recent, &keys)?;
            }
            keys.retain(|key| key.as_str() > after);
            return Ok(keys);
        }
        Self::clear_out(&recent, &names)?;
        let mut keys = Vec::new();
        for name in names.into_iter().filter(|name| !name.starts_with(MARK)) {
            let key = format!("{folder}/{name}");
            // One whose writer was killed in between has no first name, and never will.
            if key.as_str() > after && self.root.join(&key).try_exists()? {
                keys.push(key);
            }
        }
        keys.sort_unstable();
        Ok(keys)
    }

    /// Gives the manifests of the last weeks their second names. Those written meanwhile have them.
    fn begin(&self, recent: &Path, keys: &[String]) -> io::Result<()> {
        let cut = cut(keys.iter().map(String::as_str), KEPT);
        for key in keys {
            let name = key.rsplit_once('/').map_or(key.as_str(), |(_, name)| name);
            if name > cut.as_str() && RawKey::fetched_at(key).is_some() {
                link(&self.root.join(key), &recent.join(name))?;
            }
        }
        mark(recent, &cut)
    }

    /// Lets go of the oldest when there are many, after a mark says so.
    fn clear_out(recent: &Path, names: &[String]) -> io::Result<()> {
        let manifests = || names.iter().map(String::as_str).filter(|name| !name.starts_with(MARK));
        let oldest = cut(manifests(), OLDEST);
        if !manifests().any(|name| name < oldest.as_str()) {
            return Ok(());
        }
        let cut = cut(manifests(), KEPT);
        mark(recent, &cut)?;
        let old = names.iter().filter(|name| {
            name.strip_prefix(MARK).map_or(**name < cut, |since| since < cut.as_str())
        });
        for name in old {
            match fs::remove_file(recent.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The instant of a name that is `back` before the newest, as names write it; empty where there is none.
fn cut<'n>(names: impl Iterator<Item = &'n str>, back: SignedDuration) -> String {
    let newest = names.filter_map(|name| {
        let name = name.rsplit_once('/').map_or(name, |(_, name)| name);
        RawKey::instant_of_name(name)
    });
    let cut = newest.max().and_then(|newest| newest.checked_sub(back).ok());
    cut.map(RawKey::name_from).unwrap_or_default()
}

fn mark(recent: &Path, cut: &str) -> io::Result<()> {
    let mark = fs::File::create_new(recent.join(format!("{MARK}{cut}")));
    there(mark.map(|_| ()))
}

fn link(from: &Path, to: &Path) -> io::Result<()> {
    there(fs::hard_link(from, to))
}

/// Another process, or this one before, may have made it.
fn there(made: io::Result<()>) -> io::Result<()> {
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(day: i64) -> String {
        let at = jiff::Timestamp::from_second(day * 86_400).unwrap();
        format!(
            "manifests/w/{}_2026-11-23_00000000-0000-7000-8000-000000000001.json",
            RawKey::name_from(at)
        )
    }

    fn from(day: i64) -> String {
        let at = jiff::Timestamp::from_second(day * 86_400).unwrap();
        format!("manifests/w/{}", RawKey::name_from(at))
    }

    /// A folder with manifests of some days, and what its second names say; `listed` counts how often all
    /// names were.
    struct Folder {
        root: tempfile::TempDir,
        listed: std::cell::Cell<u32>,
    }

    impl Folder {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            fs::create_dir_all(root.path().join("manifests/w")).unwrap();
            fs::create_dir_all(root.path().join("tmp")).unwrap();
            Self { root, listed: 0.into() }
        }

        fn recent(&self) -> Recent<'_> {
            Recent::of(self.root.path(), self.root.path().join("tmp"))
        }

        /// As daymark writes one.
        fn write(&self, day: i64) {
            let written = self.root.path().join("tmp/put-1");
            fs::write(&written, "{}").unwrap();
            self.recent().note(&key(day), &written).unwrap();
            fs::hard_link(&written, self.root.path().join(key(day))).unwrap();
            fs::remove_file(&written).unwrap();
        }

        fn after(&self, day: i64) -> Vec<String> {
            let all = || {
                self.listed.set(self.listed.get() + 1);
                let entries = fs::read_dir(self.root.path().join("manifests/w"))?;
                let mut keys = Vec::new();
                for entry in entries {
                    keys.push(format!("manifests/w/{}", entry?.file_name().to_str().unwrap()));
                }
                keys.sort_unstable();
                Ok(keys)
            };
            self.recent().after("manifests/w", &from(day), all).unwrap()
        }

        fn second_names(&self) -> usize {
            fs::read_dir(self.root.path().join("tmp/recent/w")).unwrap().count()
        }
    }

    #[test]
    fn all_names_are_listed_once_and_then_only_the_new_ones() {
        let folder = Folder::new();
        for day in 0..100 {
            fs::write(folder.root.path().join(key(day)), "{}").unwrap();
        }
        assert_eq!(folder.after(98).len(), 2);
        assert_eq!(folder.listed.get(), 1);
        folder.write(100);
        assert_eq!(folder.after(98), [key(98), key(99), key(100)]);
        assert_eq!(folder.listed.get(), 1);
        // What is older than they go back is answered from all names.
        assert_eq!(folder.after(10).len(), 91);
        assert_eq!(folder.listed.get(), 2);
    }

    #[test]
    fn a_name_without_its_manifest_is_none() {
        let folder = Folder::new();
        assert!(folder.after(0).is_empty());
        let written = folder.root.path().join("tmp/put-1");
        fs::write(&written, "{}").unwrap();
        folder.recent().note(&key(5), &written).unwrap();
        assert!(folder.after(0).is_empty(), "its writer was killed before the manifest was there");
        folder.write(6);
        assert_eq!(folder.after(0), [key(6)]);
        assert_eq!(folder.listed.get(), 1);
    }

    #[test]
    fn they_may_be_deleted_at_any_time() {
        let folder = Folder::new();
        folder.after(0);
        folder.write(1);
        fs::remove_dir_all(folder.root.path().join("tmp/recent")).unwrap();
        folder.write(2);
        assert_eq!(folder.after(0), [key(1), key(2)]);
        assert_eq!(folder.after(1), [key(1), key(2)]);
    }

    #[test]
    fn old_ones_are_let_go_and_no_question_is_answered_wrongly() {
        let folder = Folder::new();
        folder.after(0);
        for day in 0..200 {
            folder.write(day);
            assert_eq!(folder.after(day).len(), 1);
        }
        assert!(folder.second_names() < 70, "{}", folder.second_names());
        for day in [0, 100, 138, 139, 140, 141, 150, 180, 199, 200] {
            assert_eq!(folder.after(day).len(), usize::try_from(200 - day).unwrap(), "{day}");
        }
    }
}
