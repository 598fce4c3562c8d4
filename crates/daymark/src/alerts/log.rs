//! The program's own log, on standard error: for machines whose log is watched by others.
//!
//! In: a document. Out: a line for each message. Deliberately absent: how the log looks (`output`).

use super::message::Document;

/// Writes a document.
pub(super) fn write(document: &Document<'_>) -> String {
    let mut lines = 0;
    for (is_good, line) in document.lines() {
        lines += 1;
        if is_good {
            tracing::info!(target: "daymark::alerts", "{line}");
        } else {
            tracing::warn!(target: "daymark::alerts", "{line}");
        }
    }
    crate::output::counted(lines, "line") + " in the log"
}
