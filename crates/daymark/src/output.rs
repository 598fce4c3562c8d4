//! The only place that prints.
//!
//! In: text, tables, JSON. Out: results on standard output, progress and errors on standard error.
//! A closed pipe (`daymark sql ... | head`) ends the output quietly. Deliberately absent: what is said.

use std::io::{ErrorKind, Write};

use comfy_table::{CellAlignment, ContentArrangement, Table};
use comfy_table::{ContentLineStyle, LineStyle, TableStyle};
use serde::Serialize;
use tracing::Level;

use crate::failure::Failure;
use crate::log;

/// A line under the header and nothing else: easy to read, easy to copy.
const STYLE: TableStyle = TableStyle::new()
    .header_lines(ContentLineStyle::none().junction(' '))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .content_lines(ContentLineStyle::none().junction(' '));

/// Writes a result. That nobody reads any more (`daymark sql ... | head`) is no failure; that it
/// cannot be written, as on a full disk, is one.
pub(crate) fn to_stdout(text: &str) -> Result<(), Failure> {
    bytes_to_stdout(text.as_bytes())
}

/// Writes bytes as they are.
pub(crate) fn bytes_to_stdout(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(cause) if cause.kind() != ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(cause).context("cannot write the result").into())
        }
        _ => Ok(()),
    }
}

/// Writes progress or a remark; a line of the log, where that is JSON.
pub(crate) fn to_stderr(text: &str) {
    if log::is_json() {
        log::line(Level::INFO, text.trim_end());
    } else {
        std::io::stderr().lock().write_all(text.as_bytes()).unwrap_or_default();
    }
}

/// Writes an error; a line of the log, where that is JSON.
pub(crate) fn error_to_stderr(text: &str) {
    if log::is_json() {
        log::line(Level::ERROR, text.trim_end());
    } else {
        to_stderr(text);
    }
}

/// Writes a line of the log, whole.
pub(crate) fn line_to_stderr(line: &str) {
    let line = format!("{line}\n");
    std::io::stderr().lock().write_all(line.as_bytes()).unwrap_or_default();
}

/// Writes a value as JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).expect("results have text keys");
    to_stdout(&format!("{text}\n"))
}

/// A table; the columns named in `right` are set to the right, as numbers are.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>], right: &[usize]) -> String {
    let mut table = Table::new();
    table.load_style(STYLE).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for index in right {
        if let Some(column) = table.column_mut(*index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n") + "\n"
}

/// A number of bytes for people.
pub(crate) fn bytes(count: u64) -> String {
    let mut unit = 0;
    // Shown with one digit behind the point, where a float is exact enough.
    #[expect(clippy::cast_precision_loss, reason = "shown in three or four digits")]
    let mut size = count as f64;
    while size >= 1024.0 && unit < 4 {
        size /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{count} B"),
        _ => format!("{size:.1} {}", ["B", "KiB", "MiB", "GiB", "TiB"][unit]),
    }
}

/// An instant in the pipeline's zone, to the second.
pub(crate) fn exactly(plan: &daymark_plan::Plan, at: jiff::Timestamp) -> String {
    at.to_zoned(plan.settings.zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// An instant on the clock of a zone, to the minute.
pub(crate) fn local(at: jiff::Timestamp, zone: &jiff::tz::TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M %Z").to_string()
}

/// `1 row`, `2 rows`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// A text on one line, cut to `limit` characters.
pub(crate) fn cut(text: &str, limit: usize) -> String {
    let mut shown: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(limit + 1).collect();
    if shown.chars().count() > limit {
        shown.pop();
        shown.pop();
        shown.push('…');
    }
    shown
}

/// A text with every line set in by two spaces.
pub(crate) fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}").trim_end().to_owned() + "\n").collect()
}
