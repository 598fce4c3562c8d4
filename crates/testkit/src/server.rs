//! A native PostgreSQL of a test's own, for tests that stop it.
//!
//! In: the programs of the newest PostgreSQL in `/usr/lib/postgresql`. Out: a server on a loopback port,
//! which can be restarted and is taken away when dropped. Deliberately absent: the server that other tests
//! share (`database`).

use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// The server.
#[derive(Debug)]
pub struct OwnServer {
    programs: PathBuf,
    folder: TempDir,
    port: u16,
}

impl OwnServer {
    /// Makes and starts a server.
    pub fn start() -> Self {
        let programs = programs();
        let folder = TempDir::new().expect("a temporary folder can be made");
        let port = {
            let listener =
                std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free loopback port");
            listener.local_addr().expect("a bound listener has an address").port()
        };
        let server = Self { programs, folder, port };
        // PostgreSQL refuses to run as root, so root lends the folder to the package's own user.
        if is_root() {
            run(Command::new("chown").arg("postgres:").arg(server.folder.path()));
        }
        let arguments = ["-U", "daymark", "--auth=trust", "--encoding=UTF8", "--no-sync"];
        run(server.program("initdb").arg("-D").arg(server.data()).args(arguments));
        server.control("start");
        server
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of its first database.
    pub fn url(&self) -> String {
        format!("postgres://daymark@127.0.0.1:{}/postgres", self.port)
    }

    /// Restarts it as after a crash: nothing is written down first (`pg_ctl restart -m immediate`).
    pub fn restart_at_once(&self) {
        self.control("restart");
    }

    fn control(&self, what: &str) {
        let options = format!(
            "-c listen_addresses=127.0.0.1 -p {} -c unix_socket_directories= -c fsync=off",
            self.port
        );
        let mut command = self.program("pg_ctl");
        command.arg("-D").arg(self.data()).args(["-w", "-l"]).arg(self.data().join("server.log"));
        if what == "restart" {
            command.args(["-m", "immediate"]);
        }
        run(command.arg("-o").arg(options).arg(what));
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// One of PostgreSQL's programs, as a user it runs as.
    fn program(&self, name: &str) -> Command {
        let path = self.programs.join(name);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        command.current_dir(self.folder.path());
        command
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        let mut stop = self.program("pg_ctl");
        stop.arg("-D").arg(self.data()).args(["-m", "immediate", "-w", "stop"]);
        // Its folder goes either way.
        drop(stop.stdout(Stdio::null()).stderr(Stdio::null()).status());
    }
}

fn run(command: &mut Command) {
    // A server that is started keeps its output open, so none of it is waited for.
    let status = command.stdout(Stdio::null()).status();
    let status = status.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .max()
        .expect("there is a PostgreSQL in /usr/lib/postgresql: run scripts/setup.sh");
    PathBuf::from(format!("/usr/lib/postgresql/{newest}/bin"))
}
