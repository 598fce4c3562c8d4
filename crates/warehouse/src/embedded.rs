//! The embedded PostgreSQL: one process serves a data directory, others are its guests.
//!
//! In: a directory. Out: connections, one at a time for all processes (DESIGN.md section 8). The
//! first process to lock the directory starts the server and listens on a Unix socket in a private
//! folder; later ones connect to that socket and wait for their turn. Deliberately absent: when to
//! let a connection go (`session`).

use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use oliphaunt_wasix::{DatabaseStorage, OliphauntServer, ServerListen};
use sha2::{Digest, Sha256};
use tokio::net::UnixStream;
use tokio::time::Instant;
use tokio_postgres::{Client, Config, NoTls};

use crate::error::WarehouseError;

/// How long a process that is no guest and no host yet tries to become one.
const TAKE_OVER: Duration = Duration::from_secs(20);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(50);
/// After how long a wait for another process's session is told.
const TELL_AFTER: Duration = Duration::from_secs(1);
/// How often the host shows that it lives.
const BEAT: Duration = Duration::from_secs(2);
/// The socket's name, as PostgreSQL's clients expect it.
const SOCKET: &str = ".s.PGSQL.5432";
/// The longest path a Unix socket may have (oliphaunt-wasix refuses 100 bytes and more).
const LONGEST_SOCKET_PATH: usize = 99;

/// The server, while this process is the host.
struct Host {
    server: Mutex<OliphauntServer>,
    /// Held for as long as the server runs; the operating system frees it when the process dies.
    _lock: File,
}

/// An embedded database directory.
#[derive(Clone)]
pub(crate) struct Embedded {
    directory: PathBuf,
    host: Arc<Mutex<Option<Host>>>,
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedded").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl Embedded {
    /// The database in a directory, which is made when it is not there.
    pub(crate) fn new(directory: &Path) -> Result<Self, WarehouseError> {
        let start = |cause: io::Error| WarehouseError::Start {
            directory: directory.to_owned(),
            cause: cause.into(),
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(start)?;
        let directory = directory.canonicalize().map_err(start)?;
        Ok(Self { directory, host: Arc::default() })
    }

    /// A new connection: as host if nobody serves the directory, else as a guest. Waits while another
    /// process's session is open.
    pub(crate) async fn connect(&self, what: &str) -> Result<Client, WarehouseError> {
        let mut begun = Instant::now();
        loop {
            let this = self.clone();
            tokio::task::spawn_blocking(move || this.become_host())
                .await
                .expect("starting the embedded server does not panic")?;
            let tried = Instant::now();
            let connected = self.try_connect().await;
            // A wait in line behind a session that was open is no failure to get in.
            if tried.elapsed() >= TELL_AFTER {
                begun = Instant::now();
            }
            match connected {
                Ok(client) => {
                    self.note_session(what);
                    return Ok(client);
                }
                // The host has just gone or has not opened its socket yet; look again who serves.
                Err(_) if begun.elapsed() < TAKE_OVER => tokio::time::sleep(LOOK).await,
                Err(cause) if self.is_host() => {
                    return Err(WarehouseError::Start { directory: self.directory.clone(), cause });
                }
                Err(_) => {
                    return Err(WarehouseError::InUse {
                        directory: self.directory.clone(),
                        holder: self
                            .other_holder()
                            .map(|holder| format!(": {holder}"))
                            .unwrap_or_default(),
                    });
                }
            }
        }
    }

    /// Forgets the note of who holds the session; called when the connection is let go.
    pub(crate) fn session_ended(&self) {
        // The note only helps others' messages; that it cannot be removed is no failure.
        fs::remove_file(self.session_note()).unwrap_or_default();
    }

    /// Stops the server, if this process is the host.
    pub(crate) fn stop(&self) {
        let host = self.host.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(host) = host {
            let mut server = host.server.into_inner().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = server.close() {
                tracing::warn!(%error, "the embedded database did not stop cleanly; its log will be replayed at the next start");
            }
        }
    }

    /// Whether this process serves the directory and another holds the session.
    pub(crate) fn serves_a_guest(&self) -> bool {
        let note = fs::read_to_string(self.session_note()).unwrap_or_default();
        let ours = format!("process {} ", std::process::id());
        self.is_host() && !note.is_empty() && !note.starts_with(&ours)
    }

    /// When the process that serves the directory last showed that it lives; none where it is this one, or
    /// where that cannot be told.
    pub(crate) fn sign_of_life(&self) -> Option<SystemTime> {
        if self.is_host() {
            return None;
        }
        fs::metadata(self.lock_file()).and_then(|metadata| metadata.modified()).ok()
    }

    /// Ends the process that listens on the directory's socket. The kernel says who that is, so that no other
    /// process that has its number by chance is meant.
    pub(crate) async fn end_host(&self) {
        let Ok(sockets) = self.socket_directory() else { return };
        let Ok(stream) = UnixStream::connect(sockets.join(SOCKET)).await else { return };
        let process = stream.peer_cred().ok().and_then(|peer| peer.pid());
        let Some(process) = process.and_then(rustix::process::Pid::from_raw) else {
            tracing::warn!(
                "the process that serves the embedded database does not answer, and is not of this machine's processes: it has to be ended by hand"
            );
            return;
        };
        let number = process.as_raw_nonzero();
        if number.get().unsigned_abs() == std::process::id() {
            return;
        }
        match rustix::process::kill_process(process, rustix::process::Signal::KILL) {
            Ok(()) => tracing::warn!(
                "process {number} serves the embedded database and gave no sign of life: it was ended"
            ),
            Err(error) => tracing::warn!(
                %error,
                "process {number} serves the embedded database, gives no sign of life and cannot be ended"
            ),
        }
    }

    /// Who serves the directory, when it is another process.
    pub(crate) fn host_of_others(&self) -> Option<String> {
        let host = fs::read_to_string(self.lock_file()).unwrap_or_default();
        (!self.is_host()).then(|| host.trim().to_owned())
    }

    fn is_host(&self) -> bool {
        self.host.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Starts the server if no process holds the directory's lock.
    fn become_host(&self) -> Result<(), WarehouseError> {
        let mut host = self.host.lock().unwrap_or_else(PoisonError::into_inner);
        if host.is_some() {
            return Ok(());
        }
        let start = |cause: Box<dyn std::error::Error + Send + Sync>| WarehouseError::Start {
            directory: self.directory.clone(),
            cause,
        };
        let mut lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.lock_file())
            .map_err(|cause| start(cause.into()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Ok(()),
            Err(fs::TryLockError::Error(cause)) => return Err(start(cause.into())),
        }
        note_host(&mut lock).map_err(|cause| start(cause.into()))?;
        // Opened once more: a copy of the locked one would hold the lock for as long as it is there.
        let shown = File::options().write(true).open(self.lock_file());
        let shown = shown.map_err(|cause| start(cause.into()))?;
        let sockets = self.socket_directory().map_err(|cause| start(cause.into()))?;
        // We hold the lock, so a note or a socket that is there belongs to a host that died.
        self.session_ended();
        match fs::remove_file(sockets.join(SOCKET)) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                return Err(start(cause.into()));
            }
            _ => {}
        }
        let server = OliphauntServer::builder()
            .storage(DatabaseStorage::Directory(self.directory.join("cluster")))
            .listen(ServerListen::unix(sockets))
            .start();
        match server {
            Ok(server) => {
                show_life(&self.host, shown);
                *host = Some(Host { server: Mutex::new(server), _lock: lock });
                Ok(())
            }
            Err(error) if error.to_string().contains("already in use") => {
                Err(WarehouseError::InUse {
                    directory: self.directory.clone(),
                    holder: String::new(),
                })
            }
            Err(error) => Err(start(Box::new(error))),
        }
    }

    async fn try_connect(&self) -> Result<Client, Box<dyn std::error::Error + Send + Sync>> {
        let mut config = Config::new();
        config.host_path(self.socket_directory()?).port(5432).user("postgres").dbname("postgres");
        let connecting = config.connect(NoTls);
        tokio::pin!(connecting);
        let connected = tokio::select! {
            connected = &mut connecting => connected,
            () = tokio::time::sleep(TELL_AFTER) => {
                if let Some(holder) = self.other_holder() {
                    tracing::info!("waiting for the embedded database, which serves one session at a time: {holder}");
                }
                connecting.await
            }
        };
        let (client, connection) = connected?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the embedded database closed the connection");
            }
        });
        Ok(client)
    }

    /// A private folder for the socket: beside the data, or in the temporary folder when the data's
    /// path is too long for a socket.
    fn socket_directory(&self) -> io::Result<PathBuf> {
        let mut directory = self.directory.join("socket");
        if directory.join(SOCKET).as_os_str().len() > LONGEST_SOCKET_PATH {
            let digest = Sha256::digest(self.directory.as_os_str().as_encoded_bytes());
            let name = u64::from_be_bytes(digest[..8].try_into().expect("a SHA-256 has 32 bytes"));
            directory = std::env::temp_dir().join(format!("daymark-{name:016x}"));
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let metadata = fs::symlink_metadata(&directory)?;
        let ours = metadata.uid() == fs::metadata(&self.directory)?.uid();
        if !metadata.is_dir() || !ours || metadata.mode() & 0o077 != 0 {
            let message = format!("`{}` is not a private folder of this user", directory.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
        Ok(directory)
    }

    fn lock_file(&self) -> PathBuf {
        self.directory.join("host.lock")
    }

    fn session_note(&self) -> PathBuf {
        self.directory.join("session")
    }

    fn note_session(&self, what: &str) {
        let now = daymark_plan::Clock::System.now().round(jiff::Unit::Second).unwrap_or_default();
        let note = format!("process {} has held it since {now} ({what})", std::process::id());
        fs::write(self.session_note(), note).unwrap_or_default();
    }

    /// Which other process holds the session, or else serves the directory.
    fn other_holder(&self) -> Option<String> {
        let serves = || fs::read_to_string(self.lock_file()).ok();
        let holder = fs::read_to_string(self.session_note()).ok().or_else(serves)?;
        let holder = holder.trim();
        let ours = format!("process {}", std::process::id());
        (!holder.is_empty() && holder != ours && !holder.starts_with(&format!("{ours} ")))
            .then(|| holder.to_owned())
    }
}

/// Has the lock's time of change move on for as long as this process serves the directory. It is a thread of its
/// own: a process that is merely busy must not be taken for a stopped one.
fn show_life(host: &Arc<Mutex<Option<Host>>>, shown: File) {
    let host = Arc::downgrade(host);
    let serves = move || {
        host.upgrade()
            .is_some_and(|host| host.lock().unwrap_or_else(PoisonError::into_inner).is_some())
    };
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(BEAT);
            if !serves() {
                return;
            }
            let now = SystemTime::from(daymark_plan::Clock::System.now());
            if let Err(error) = shown.set_modified(now) {
                tracing::warn!(%error, "other processes cannot see that this one serves the embedded database");
                return;
            }
        }
    });
}

/// Writes into the lock who holds it, for others' messages.
fn note_host(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "process {}", std::process::id())
}
