//! The raw store in a folder: `file:`.
//!
//! In: bytes and keys. Out: files that are written whole or not at all and are on the disk when the call
//! returns: each is written and synced under another name, then linked (create-only) or renamed into
//! place, and its folder synced (`folders.rs`). Files are this user's alone (0600, folders 0700). `object_store`'s own
//! local store neither restricts permissions nor lists a folder without asking for every file's size,
//! which is what makes ten years of manifests slow. Deliberately absent: deleting objects.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{Error, Result};

use super::folders::Folders;
use super::recent::Recent;
use super::{Mode, ObjectInfo};

/// What errors name as the store.
const STORE: &str = "file";

/// Where files are written before they are put into place.
const SPOOL: &str = "tmp";

/// A file that was being written so long ago is of a process that is gone.
const ABANDONED: Duration = Duration::from_hours(24);

/// A folder of objects.
#[derive(Debug, Clone)]
pub(super) struct Files {
    root: Arc<FilePath>,
    folders: Arc<Folders>,
}

/// The bytes of an object to be.
#[derive(Debug)]
pub(super) enum Content {
    Memory(Bytes),
    /// A file of the spool, which is on the disk.
    File(PathBuf),
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        Self::Memory(bytes)
    }
}

/// A file in the spool; its name there goes with this.
#[derive(Debug)]
struct Draft {
    path: PathBuf,
    file: File,
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Linked into place it has two names; renamed it has lost this one.
        fs::remove_file(&self.path).unwrap_or_default();
    }
}

impl Files {
    /// Opens a folder, making it when it is not there, and clears away what killed processes left in its
    /// spool.
    pub(super) fn open(root: &FilePath) -> io::Result<Self> {
        let files = Self { root: root.into(), folders: Arc::new(Folders::of(root)?) };
        files.clear_spool();
        Ok(files)
    }

    /// Where bodies are put while they are received: on the disk they will be on.
    pub(super) fn spool_folder(&self) -> PathBuf {
        self.root.join(SPOOL)
    }

    /// The newest of the abandoned are a day old, so nothing that is in use is touched. What cannot be
    /// removed is tried again at the next opening.
    #[expect(clippy::disallowed_methods, reason = "the times of files are the system's")]
    fn clear_spool(&self) {
        let Ok(entries) = fs::read_dir(self.spool_folder()) else { return };
        for entry in entries.flatten() {
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let age = modified.map(|at| SystemTime::now().duration_since(at).unwrap_or_default());
            if age.is_ok_and(|age| age > ABANDONED) {
                fs::remove_file(entry.path()).unwrap_or_default();
            }
        }
    }

    /// Writes bytes.
    pub(super) async fn put(&self, key: &Path, body: Bytes, mode: Mode) -> Result<()> {
        let (files, key) = (self.clone(), key.clone());
        blocking(move || {
            files.must_be_free(&key, mode)?;
            let draft = files.draft(&body.into()).map_err(|error| failed(&key, error))?;
            files.sync_and_place(&draft, &key, mode)
        })
        .await
    }

    /// Creates an object, and then writes another with the same bytes, which may be there already. The second
    /// gets into its place when the first is in its own, but they get onto the disk together: that is two waits
    /// for it and not four. The outer error is about the first of them, the inner one about the second.
    pub(super) async fn put_twice(
        &self,
        create: &Path,
        overwrite: &Path,
        body: Content,
    ) -> Result<Result<()>> {
        let (files, create, overwrite) = (self.clone(), create.clone(), overwrite.clone());
        blocking(move || {
            files.must_be_free(&create, Mode::Create)?;
            let of_first = |error| failed(&create, error);
            // What was received into a file is synced, and linked from there.
            let (drafted, from) = match &body {
                Content::Memory(_) => {
                    let draft = files.draft(&body).map_err(of_first)?;
                    let path = draft.path.clone();
                    (Some(draft), path)
                }
                Content::File(file) => (None, file.clone()),
            };
            let second = match files.draft(&body) {
                Ok(second) => second,
                Err(error) => return Ok(Err(failed(&overwrite, error))),
            };
            let drafts: Vec<&File> =
                drafted.iter().chain([&second]).map(|draft| &draft.file).collect();
            files.folders.sync_files(&drafts).map_err(of_first)?;
            let archived = files.place(&from, &create, Mode::Create).map_err(of_first)?;
            Ok(files
                .place(&second.path, &overwrite, Mode::Overwrite)
                .and_then(|folder| files.folders.sync(&[archived, folder]))
                .map_err(|error| failed(&overwrite, error)))
        })
        .await
    }

    /// Looks whether what is to be created is there, before it is written for nothing: bodies that many
    /// entities, or fetches of a day, have in common are archived once. To put it into place decides.
    fn must_be_free(&self, key: &Path, mode: Mode) -> Result<()> {
        if mode == Mode::Create && fs::symlink_metadata(self.root.join(key.as_ref())).is_ok() {
            return Err(failed(key, io::ErrorKind::AlreadyExists.into()));
        }
        Ok(())
    }

    /// Writes a file of its own name in the spool.
    fn draft(&self, content: &Content) -> io::Result<Draft> {
        let spool = self.spool_folder();
        let path = spool.join(format!("put-{}", uuid::Uuid::now_v7()));
        let create = || {
            self.folders.make(&spool)?;
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)
        };
        let file = match create() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.folders.forget(&spool);
                create()?
            }
            created => created?,
        };
        let mut draft = Draft { path, file };
        match content {
            Content::Memory(bytes) => draft.file.write_all(bytes)?,
            Content::File(from) => {
                io::copy(&mut File::open(from)?, &mut draft.file)?;
            }
        }
        Ok(draft)
    }

    /// Copies an object to another key.
    pub(super) async fn copy(&self, from: &Path, to: &Path) -> Result<()> {
        self.put_file(to, self.root.join(from.as_ref()), Mode::Overwrite).await
    }

    /// An object, to be read from front to back.
    pub(super) async fn file(&self, key: &Path) -> Result<File> {
        let (path, key) = (self.root.join(key.as_ref()), key.clone());
        blocking(move || File::open(&path).map_err(|error| failed(&key, error))).await
    }

    /// Puts a file of the spool, synced already, into place; it stays where it is as well.
    pub(super) async fn put_file(&self, key: &Path, file: PathBuf, mode: Mode) -> Result<()> {
        let (files, key) = (self.clone(), key.clone());
        blocking(move || {
            if mode == Mode::Create {
                let placed = files.place(&file, &key, mode);
                let synced = placed.and_then(|folder| files.folders.sync(&[folder]));
                return synced.map_err(|error| failed(&key, error));
            }
            // A second name that can be renamed over what is there. It must be a copy: the raw object
            // is for people, and whoever edits it in place must not reach the archive.
            let copy = files.draft(&Content::File(file)).map_err(|error| failed(&key, error))?;
            files.sync_and_place(&copy, &key, mode)
        })
        .await
    }

    /// Gets a draft into its place, and both onto the disk.
    fn sync_and_place(&self, draft: &Draft, key: &Path, mode: Mode) -> Result<()> {
        let placed = self
            .folders
            .sync_files(&[&draft.file])
            .and_then(|()| self.place(&draft.path, key, mode));
        placed.and_then(|folder| self.folders.sync(&[folder])).map_err(|error| failed(key, error))
    }

    /// Gives the folder that it put a file into.
    fn place(&self, from: &FilePath, key: &Path, mode: Mode) -> io::Result<PathBuf> {
        let to = self.root.join(key.as_ref());
        let folder = to.parent().unwrap_or(&self.root);
        let place = || -> io::Result<()> {
            self.folders.make(folder)?;
            Recent::of(&self.root, self.spool_folder()).note(key.as_ref(), from)?;
            match mode {
                Mode::Create => fs::hard_link(from, &to),
                Mode::Overwrite => fs::rename(from, &to),
            }
        };
        match place() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.folders.forget(folder);
                place()?;
            }
            placed => placed?,
        }
        Ok(folder.to_owned())
    }

    /// The bytes of an object.
    pub(super) async fn get(&self, key: &Path) -> Result<Bytes> {
        let (path, key) = (self.root.join(key.as_ref()), key.clone());
        blocking(move || fs::read(&path).map(Bytes::from).map_err(|error| failed(&key, error)))
            .await
    }

    /// What is known of an object without reading it.
    pub(super) async fn head(&self, key: &Path) -> Result<ObjectInfo> {
        let (path, key) = (self.root.join(key.as_ref()), key.clone());
        blocking(move || {
            let metadata = fs::metadata(&path).and_then(|metadata| {
                if metadata.is_file() { Ok(metadata) } else { Err(io::ErrorKind::NotFound.into()) }
            });
            let metadata = metadata.map_err(|error| failed(&key, error))?;
            Ok(info(key.to_string(), &metadata))
        })
        .await
    }

    /// The names of one folder after a name, in order; no file is looked at.
    pub(super) async fn names(&self, folder: &Path, after: Option<&str>) -> Result<Vec<String>> {
        let (files, folder) = (self.clone(), folder.clone());
        let after = after.map(str::to_owned);
        blocking(move || {
            let mut keys = files.names_of(&folder).map_err(|error| failed(&folder, error))?;
            keys.retain(|key| after.as_ref().is_none_or(|after| key > after));
            Ok(keys)
        })
        .await
    }

    /// The names of a folder of manifests after a name, in order, of those that daymark wrote.
    pub(super) async fn recent(&self, folder: &Path, after: &str) -> Result<Vec<String>> {
        let (files, folder, after) = (self.clone(), folder.clone(), after.to_owned());
        blocking(move || {
            let recent = Recent::of(&files.root, files.spool_folder());
            let all = || files.names_of(&folder);
            recent.after(folder.as_ref(), &after, all).map_err(|error| failed(&folder, error))
        })
        .await
    }

    fn names_of(&self, folder: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.root.join(folder.as_ref())) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut keys = Vec::new();
        for entry in entries {
            // A name that is not UTF-8 is none of ours.
            if let Some(name) = entry?.file_name().to_str() {
                keys.push(format!("{folder}/{name}"));
            }
        }
        keys.sort_unstable();
        Ok(keys)
    }

    /// Every object under a prefix, in order.
    pub(super) async fn list(&self, prefix: &Path) -> Result<Vec<ObjectInfo>> {
        let (files, prefix) = (self.clone(), prefix.clone());
        blocking(move || {
            let mut found = Vec::new();
            let mut folders = vec![prefix.to_string()];
            while let Some(folder) = folders.pop() {
                let entries = match fs::read_dir(files.root.join(&folder)) {
                    Ok(entries) => entries,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(failed(&prefix, error)),
                };
                for entry in entries {
                    let entry = entry.map_err(|error| failed(&prefix, error))?;
                    let Ok(name) = entry.file_name().into_string() else { continue };
                    let key = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                    // What is written by others may be renamed while it is listed.
                    match entry.metadata() {
                        Ok(metadata) if metadata.is_dir() && key == SPOOL => {}
                        Ok(metadata) if metadata.is_dir() => folders.push(key),
                        Ok(metadata) => found.push(info(key, &metadata)),
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        Err(error) => return Err(failed(&prefix, error)),
                    }
                }
            }
            found.sort_by(|a, b| a.key.cmp(&b.key));
            Ok(found)
        })
        .await
    }

    /// Removes an object; for the probe's own.
    pub(super) async fn remove(&self, key: &Path) -> Result<()> {
        let (path, key) = (self.root.join(key.as_ref()), key.clone());
        blocking(move || fs::remove_file(&path).map_err(|error| failed(&key, error))).await
    }
}

fn info(key: String, metadata: &fs::Metadata) -> ObjectInfo {
    let modified = metadata.modified().ok().and_then(|at| Timestamp::try_from(at).ok());
    ObjectInfo { key, size: metadata.len(), modified }
}

fn failed(key: &Path, error: io::Error) -> Error {
    let (path, kind) = (key.to_string(), error.kind());
    let source = Box::new(error);
    match kind {
        io::ErrorKind::NotFound => Error::NotFound { path, source },
        io::ErrorKind::AlreadyExists => Error::AlreadyExists { path, source },
        io::ErrorKind::PermissionDenied => Error::PermissionDenied { path, source },
        _ => Error::Generic { store: STORE, source },
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
