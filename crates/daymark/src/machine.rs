//! What `daymark doctor` looks at of this machine: zone data, disk space, the dashboard's port.
//!
//! In: paths and an address. Out: [`Finding`]s. Deliberately absent: what needs the network.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use daymark_plan::Finding;
use jiff::Timestamp;
use rustix::fs::{StatVfsMountFlags, statvfs};

const MIB: u64 = 1 << 20;
/// Less free space than this is worth a word.
const LITTLE: u64 = 1024 * MIB;
/// With less than this a run fails sooner or later in its middle.
const TOO_LITTLE: u64 = 64 * MIB;

/// Which zone data is used, and how old it is.
pub(crate) fn zones(now: Timestamp) -> Finding {
    let used = daymark_plan::zone_data();
    let year = now.to_zoned(jiff::tz::TimeZone::UTC).year();
    let bundled = used.compiled_in.unwrap_or("of unknown age");
    let is_old = used.version.as_deref().is_some_and(|version| is_old(version, year));
    let (message, hint) = match &used.folder {
        None => (
            format!("tzdata {bundled}, which is compiled in"),
            "take a newer daymark, or install the package tzdata",
        ),
        Some(folder) => {
            let version = used.version.as_deref().unwrap_or("of unknown age");
            (
                format!("tzdata {version} of `{}`; {bundled} is compiled in", folder.display()),
                "update the package tzdata: rules of time change several times a year",
            )
        }
    };
    if is_old { Finding::warn("zones", message, hint) } else { Finding::ok("zones", message) }
}

/// Whether zone data is of the year before last or older.
fn is_old(version: &str, year: i16) -> bool {
    let of = version.get(..4).and_then(|digits| digits.parse::<i16>().ok());
    of.is_some_and(|of| of < year - 1)
}

/// The free space where a folder is or will be.
pub(crate) fn space(whose: &str, folder: &Path) -> Option<Finding> {
    let there = folder.ancestors().find(|path| path.is_dir())?;
    let shown = folder.display();
    let name = "disk";
    let found = match statvfs(there) {
        Ok(found) => found,
        Err(error) => {
            let message = format!("the space of `{shown}` is not known: {error}");
            return Some(Finding::warn(name, message, "see `df`"));
        }
    };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let message = format!("{} free for the {whose} (`{shown}`)", size(free));
    Some(if found.f_flag.contains(StatVfsMountFlags::RDONLY) {
        let message = format!("the file system of the {whose} (`{shown}`) can only be read");
        Finding::fail(name, message, "mount it for writing, or name another folder")
    } else if free < TOO_LITTLE {
        Finding::fail(name, message, "free some space: a run that runs out of it fails")
    } else if free < LITTLE {
        Finding::warn(name, message, "free some space before it runs out")
    } else {
        Finding::ok(name, message)
    })
}

fn size(bytes: u64) -> String {
    match bytes / MIB {
        mib if mib >= 10 * 1024 => format!("{} GiB", mib / 1024),
        mib => format!("{mib} MiB"),
    }
}

/// Whether the dashboard's port is free, or who has it.
pub(crate) fn port(listen: SocketAddr) -> Finding {
    let name = "port";
    match TcpListener::bind(listen) {
        Ok(_) => Finding::ok(name, format!("the dashboard can listen on {listen}")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => match holder(listen.port()) {
            Some((id, program)) if program == "daymark" => Finding::warn(
                name,
                format!("{listen} is taken by a daymark that runs (process {id})"),
                "if that is `daymark up` of this pipeline, all is well; else give another `dashboard.listen`",
            ),
            Some((id, program)) => Finding::fail(
                name,
                format!("{listen} is taken by `{program}` (process {id})"),
                "stop it, or give another `dashboard.listen` or `--listen`",
            ),
            None => Finding::fail(
                name,
                format!("{listen} is taken by another program, of another user perhaps"),
                "see `ss -ltnp`, or give another `dashboard.listen` or `--listen`",
            ),
        },
        Err(error) => Finding::fail(
            name,
            format!("the dashboard cannot listen on {listen}: {error}"),
            "give an address of this machine and a port above 1023 in `dashboard.listen`",
        ),
    }
}

/// The process that listens on a port, by what Linux tells in /proc; other systems tell it elsewhere.
fn holder(port: u16) -> Option<(u32, String)> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listeners(&table, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(id) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let Ok(open) = fs::read_dir(process.path().join("fd")) else { continue };
        let has = open.flatten().any(|file| {
            fs::read_link(file.path()).is_ok_and(|to: PathBuf| {
                to.to_str().is_some_and(|to| inodes.iter().any(|inode| inode == to))
            })
        });
        if has {
            let program = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some((id, program.trim().to_owned()));
        }
    }
    None
}

/// The inodes of the sockets that listen on a port (state `0A`), of a table of Linux.
fn listeners(table: &str, port: u16) -> Vec<String> {
    let wanted = format!(":{port:04X}");
    let listens = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is = words.get(1)?.ends_with(&wanted) && *words.get(3)? == "0A";
        is.then(|| words.get(9).map(|inode| (*inode).to_owned())).flatten()
    };
    table.lines().skip(1).filter_map(listens).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_read_from_the_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                     \x20  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1\n\
                     \x20  1: 0100007F:1F90 0100007F:A000 01 00000000:00000000 00:00000000 00000000     0        0 4712 1\n";
        assert_eq!(listeners(table, 8080), ["4711"]);
        assert_eq!(listeners(table, 80), Vec::<String>::new());
    }

    #[test]
    fn zone_data_is_old_by_its_year() {
        assert!(is_old("2024b", 2026) && !is_old("2025a", 2026) && !is_old("", 2026));
    }

    #[test]
    fn sizes_are_for_people() {
        assert_eq!(size(5 * MIB), "5 MiB");
        assert_eq!(size(20 * 1024 * MIB + 1), "20 GiB");
    }
}
