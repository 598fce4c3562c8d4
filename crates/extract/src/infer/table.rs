//! Text that is a table: what stands between its cells, and where its header is.
//!
//! In: the texts of responses. Out: a [`Table`] whose records all have as many cells as the header, or
//! nothing. Deliberately absent: taking records apart, which [`crate::layout`] does.

use std::borrow::Cow;

use daymark_plan::{CsvFormat, FieldType};

use super::typing::{Seen, typed};
use crate::layout::split_table;

/// A table, and its cells by column.
#[derive(Debug, Clone)]
pub(super) struct Table<'b> {
    pub(super) format: CsvFormat,
    /// The names of the columns; empty without a header.
    pub(super) names: Vec<String>,
    /// The cells of each column.
    pub(super) columns: Vec<Vec<Seen<'b>>>,
}

/// What may stand between two cells.
const SEPARATORS: [u8; 4] = *b",;\t|";

/// How many lines may stand before a table.
const LINES_BEFORE: u32 = 20;

/// The table that a text is: the separator that makes the most cells of it.
pub(super) fn table(text: &str) -> Option<Table<'_>> {
    let comment = text.starts_with('#').then_some(b'#');
    let mut best: Option<Table<'_>> = None;
    for separator in SEPARATORS {
        let format = CsvFormat { separator, comment, ..CsvFormat::default() };
        let Some(found) = with(text, format) else { continue };
        if best.as_ref().is_none_or(|best| found.columns.len() > best.columns.len()) {
            best = Some(found);
        }
    }
    best
}

/// A text as a table with a separator. All records behind the lines to skip must be as wide as the first.
fn with(text: &str, format: CsvFormat) -> Option<Table<'_>> {
    let records = split_table(text, format)?;
    let widest = records.iter().rev().take(50).map(|(_, cells)| cells.len()).max()?;
    if widest < 2 || records.len() < 2 {
        return None;
    }
    let before = records.iter().position(|(_, cells)| cells.len() == widest)?;
    let lines = records[before].0.saturating_sub(1);
    // Blank lines and remarks need no skipping.
    let skip_lines = if before == 0 { 0 } else { u32::try_from(lines).ok()? };
    let records = &records[before..];
    // A few records that are cut do not make a table none; more do.
    let cut = records.iter().filter(|(_, cells)| cells.len() != widest).count();
    if skip_lines > LINES_BEFORE || records.len() < 2 || cut * 20 > records.len() {
        return None;
    }
    let first = &records[0].1;
    let is_word = |cell: &Cow<'_, str>| {
        !cell.is_empty() && typed("", &[Seen::Cell(cell.clone())]).field_type == FieldType::Text
    };
    let mut distinct: Vec<&str> = first.iter().map(|(cell, _)| cell.trim()).collect();
    distinct.sort_unstable();
    distinct.dedup();
    let words = first.iter().filter(|(cell, _)| is_word(cell)).count();
    let header = distinct.len() == widest && words * 2 > widest;
    let names = if header {
        first.iter().map(|(cell, _)| cell.trim().to_owned()).collect()
    } else {
        Vec::new()
    };
    let mut columns = vec![Vec::new(); widest];
    for (_, cells) in &records[usize::from(header)..] {
        // A record of another width is set aside whatever its cells are.
        if cells.len() != widest {
            continue;
        }
        for (column, (cell, quoted)) in columns.iter_mut().zip(cells) {
            let cell = cell.clone();
            column.push(if *quoted { Seen::Name(cell) } else { Seen::Cell(cell) });
        }
    }
    Some(Table { format: CsvFormat { header, skip_lines, ..format }, names, columns })
}
