//! Who runs a run, and whether that process is still there.
//!
//! In: this machine's `/proc`. Out: what tells a process apart for as long as the machine is up, and whether
//! such a process lives. A process id alone does not: it is given out again. Deliberately absent: the heartbeat,
//! which judges the processes of other machines (`ledger::runs`).

use std::collections::BTreeSet;
use std::fs;
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

/// The runs this process has open.
static OPEN: Mutex<BTreeSet<Uuid>> = Mutex::new(BTreeSet::new());

/// A run that this process has open, until it is dropped: it is not taken for one that was killed.
#[derive(Debug)]
pub struct OpenRun {
    run_id: Uuid,
}

impl OpenRun {
    pub(crate) fn new(run_id: Uuid) -> Self {
        OPEN.lock().unwrap_or_else(PoisonError::into_inner).insert(run_id);
        Self { run_id }
    }
}

impl Drop for OpenRun {
    fn drop(&mut self) {
        OPEN.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.run_id);
    }
}

/// What is known of the process that holds a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// It is not there any more, or has given the run up.
    Gone,
    /// It is there.
    Alive,
    /// It is another machine's, or this one does not tell.
    Unknown,
}

/// This machine's name, where it is known.
pub(crate) fn host() -> Option<String> {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(host.trim().to_owned()).filter(|host| !host.is_empty())
}

/// This process, for people: its id and its machine.
pub(crate) fn shown() -> String {
    let host = host().unwrap_or_else(|| "this machine".to_owned());
    format!("process {} on {host}", std::process::id())
}

/// This process, told apart from every other of this machine since it was started; none without `/proc`.
pub(crate) fn this_process() -> Option<String> {
    let pid = std::process::id();
    Some(format!("{}/{pid}/{}", machine()?, started(pid)?))
}

/// Whether the process of a run is there.
pub(crate) fn life_of(run_id: Uuid, process: Option<&str>) -> Life {
    let (Some(process), Some(machine)) = (process, machine()) else { return Life::Unknown };
    let Some(rest) = process.strip_prefix(&machine).and_then(|rest| rest.strip_prefix('/')) else {
        return Life::Unknown;
    };
    let Some((pid, since)) = rest.split_once('/') else { return Life::Unknown };
    let Ok(pid) = pid.parse::<u32>() else { return Life::Unknown };
    let is_there = started(pid).as_deref() == Some(since);
    let is_open = || OPEN.lock().unwrap_or_else(PoisonError::into_inner).contains(&run_id);
    if !is_there || (pid == std::process::id() && !is_open()) { Life::Gone } else { Life::Alive }
}

/// This machine since it was started, and the space its process ids are of: containers have their own.
fn machine() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let space = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{}/{}", boot.trim(), space.to_string_lossy().replace('/', "")))
}

/// When a process was started, in the kernel's ticks; none of one that has ended, waited for or not.
fn started(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold anything, spaces and parentheses too.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ended = matches!(*fields.first()?, "Z" | "X" | "x");
    fields.get(19).filter(|_| !ended).map(|ticks| (*ticks).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_from_a_later_one_of_its_id() {
        let Some(here) = this_process() else { return };
        let run_id = Uuid::now_v7();
        let open = OpenRun::new(run_id);
        assert_eq!(life_of(run_id, Some(&here)), Life::Alive);
        let (before, _) = here.rsplit_once('/').unwrap();
        assert_eq!(life_of(run_id, Some(&format!("{before}/1"))), Life::Gone);
        let elsewhere = format!("another-boot/{}", here.split_once('/').unwrap().1);
        assert_eq!(life_of(run_id, Some(&elsewhere)), Life::Unknown);
        assert_eq!(life_of(run_id, None), Life::Unknown);
        // The process is there, but has given the run up.
        drop(open);
        assert_eq!(life_of(run_id, Some(&here)), Life::Gone);
    }

    #[test]
    fn a_process_that_ended_is_gone_before_it_is_waited_for() {
        if this_process().is_none() {
            return;
        }
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        let since = started(pid);
        child.wait().unwrap();
        assert_eq!(started(pid), None, "{since:?}");
    }
}
