//! The log of a run: what it said while it was at work, kept in the ledger.
//!
//! In: [`RunEvent`]s and what came of the run. Out: lines, a bounded number. Deliberately absent: writing them
//! (`execute`), and the program's own log (`crate::log`).

use std::sync::{Mutex, PoisonError};

use daymark_ingest::FetchEvent;
use daymark_plan::{Clock, SourceId};
use daymark_warehouse::ledger::LogLine;

use super::progress::{self, RunEvent};
use crate::log;

/// So many lines are kept of a run, whatever they say.
const KEPT: u32 = 1000;
/// Warnings and errors are kept beyond that, up to so many lines.
const MOST: u32 = 2000;
/// A line is cut to so many characters.
const LONGEST: usize = 2000;

/// The log of one run.
#[derive(Debug)]
pub(crate) struct Journal {
    clock: Clock,
    lines: Mutex<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    /// The number of the last line.
    last: u32,
    /// Those that are not in the ledger yet.
    unsaved: Vec<LogLine>,
    /// How many were left out.
    left_out: u64,
}

impl Journal {
    /// An empty log.
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, lines: Mutex::default() }
    }

    /// Takes an event of the run. Bytes that come in are no news.
    pub(super) fn hear(&self, event: &RunEvent<'_>) {
        if progress::is_of_bytes(event) {
            return;
        }
        let (source_id, level) = match event {
            RunEvent::Fetch { source_id, event } => {
                let is_bad = matches!(event.plain(), FetchEvent::Waiting { .. });
                (Some(*source_id), if is_bad { "warn" } else { "info" })
            }
            RunEvent::Day { source_id, failed, .. } => {
                (Some(*source_id), if failed.is_some() { "warn" } else { "info" })
            }
            RunEvent::Publish(_) => (None, "info"),
        };
        let (_, words) = progress::words(event);
        self.keep(level, source_id, &words);
    }

    /// Adds a line, and tells it to the program's log too: progress does not.
    pub(super) fn say(&self, level: &'static str, source_id: Option<&SourceId>, message: &str) {
        let source = source_id.map(tracing::field::display);
        match level {
            "error" => tracing::error!(target: log::RUNS, source, "{message}"),
            "warn" => tracing::warn!(target: log::RUNS, source, "{message}"),
            _ => tracing::info!(target: log::RUNS, source, "{message}"),
        }
        self.keep(level, source_id, message);
    }

    fn keep(&self, level: &'static str, source_id: Option<&SourceId>, message: &str) {
        let at = self.clock.now();
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let most = if level == "info" { KEPT } else { MOST };
        if lines.last >= most {
            lines.left_out += 1;
            return;
        }
        lines.last += 1;
        let line = lines.last;
        let message = crate::output::cut(message, LONGEST);
        lines.unsaved.push(LogLine { line, at, source_id: source_id.cloned(), level, message });
    }

    /// The lines that are not in the ledger yet. Those that cannot be written are given back with
    /// [`Journal::give_back`].
    pub(super) fn take(&self) -> Vec<LogLine> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut lines.unsaved)
    }

    /// Takes lines back that could not be written.
    pub(super) fn give_back(&self, mut unsaved: Vec<LogLine>) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        unsaved.append(&mut lines.unsaved);
        lines.unsaved = unsaved;
    }

    /// Says how much was left out, when anything was.
    pub(super) fn close(&self) {
        let at = self.clock.now();
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.left_out > 0 {
            let line = lines.last + 1;
            let message = format!(
                "{} are left out here: a run keeps {KEPT} lines, and {MOST} with warnings",
                crate::output::counted(lines.left_out, "line")
            );
            lines.last = line;
            lines.left_out = 0;
            lines.unsaved.push(LogLine { line, at, source_id: None, level: "info", message });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_keeps_its_warnings_and_says_what_is_left_out() {
        let journal = Journal::new(Clock::manual(jiff::Timestamp::UNIX_EPOCH));
        for number in 0..1500 {
            journal.say("info", None, &format!("line {number}"));
        }
        journal.say("warn", None, "slow");
        journal.close();
        let lines = journal.take();
        assert_eq!(lines.len(), 1002);
        assert_eq!((lines[1000].line, lines[1000].message.as_str()), (1001, "slow"));
        insta::assert_snapshot!(lines[1001].message,
            @"500 lines are left out here: a run keeps 1000 lines, and 2000 with warnings");
        // What could not be written is written first the next time.
        journal.give_back(lines);
        journal.say("error", None, "failed");
        let lines = journal.take();
        assert_eq!((lines[0].line, lines[1002].line), (1, 1003));
    }
}
