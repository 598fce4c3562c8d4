//! How the values of a response lie: one module per way of lying.
//!
//! In: the places of a body, or its lines, and the mapped fields. Out: one row after the other, as
//! the mapped fields of a tuple. Deliberately absent: the system columns, counting and hashing, which
//! are the same for every layout; see [`crate::extraction`]. A new layout is a module here and an arm
//! of [`Rows`].

mod cells;
mod columns;
mod csv;
mod grid;
mod mapping;
mod ndjson;
mod records;

use std::io::Read;

use bytes::BytesMut;
use daymark_plan::{FieldPlace, Layout, RowsSpec};

use crate::body;
use crate::error::ExtractError;
use crate::json::Kind;
use crate::place;
use crate::trace::Traced;
use crate::window::Window;

/// How much of a value a reject keeps.
const VALUE_SHOWN: usize = 200;

/// The rows of a body.
#[derive(Debug)]
pub(crate) enum Rows<'b> {
    Columns(columns::Columns<'b>),
    Records(records::Records<'b>),
    Csv(csv::Csv<'b>),
    Ndjson(ndjson::Ndjson<'b>),
}

/// What came of one row.
#[derive(Debug)]
pub(crate) enum Row {
    /// Its mapped fields were appended.
    Good,
    /// It does not fit; what was appended means nothing.
    Bad(BadValue),
    /// There is no further row; nothing was appended.
    End,
}

/// The first value of a row that does not fit.
#[derive(Debug, Clone)]
pub(crate) struct BadValue {
    pub(crate) field: String,
    pub(crate) path: String,
    pub(crate) value: String,
    pub(crate) reason: String,
}

/// A record of a table for `infer`: the line it starts on, its cells, and whether each was quoted.
pub(crate) type SplitRecord<'b> = (usize, Vec<(std::borrow::Cow<'b, str>, bool)>);

/// The records of a table; none when the text is none in this form.
pub(crate) fn split_table(
    text: &str,
    format: daymark_plan::CsvFormat,
) -> Option<Vec<SplitRecord<'_>>> {
    let mut cells = cells::Cells::new(text, format, 1, 0);
    cells.skip_lines();
    let mut record = Vec::new();
    let mut records = Vec::new();
    while let Some(found) = cells.next(&mut record).ok()? {
        let texts = record.iter().map(|cell| (cells.text(*cell), cell.quoted)).collect();
        records.push((found.line, texts));
    }
    Some(records)
}

impl<'b> Rows<'b> {
    /// Checks a body and what must be there before its first row.
    pub(crate) fn open(spec: &'b RowsSpec, body: &'b [u8]) -> Result<Self, ExtractError> {
        match spec.layout {
            Layout::Csv => {
                return csv::Csv::open(spec, Window::whole(body, "CSV")?).map(Self::Csv);
            }
            Layout::Ndjson => {
                return ndjson::Ndjson::open(spec, Window::whole(body, "JSON")?).map(Self::Ndjson);
            }
            Layout::Columns | Layout::Records | Layout::Keyed | Layout::Grid => {}
        }
        let root = body::check(body)?;
        let levels = spec.fields.iter().flat_map(|field| &field.places).map(|place| match place {
            FieldPlace::Above { levels, .. } => usize::try_from(*levels).unwrap_or(usize::MAX),
            _ => 0,
        });
        let mut places = place::places(&spec.at, levels.max().unwrap_or(0), root)?;
        if places.is_empty() && !spec.at_optional {
            return Err(ExtractError::NoPlace { path: spec.at.text().to_owned() });
        }
        // A source that has nothing to say often says null (World Bank: `[meta, null]`).
        places.retain(|place| place.value.kind() != Kind::Null);
        let mapping = mapping::Mapping::new(&spec.fields, root)?;
        match spec.layout {
            Layout::Columns => columns::Columns::open(mapping, places).map(Self::Columns),
            _ => records::Records::open(spec, mapping, places, root).map(Self::Records),
        }
    }

    /// The same of a body of lines that is read when their turn comes.
    pub(crate) fn open_read(
        spec: &'b RowsSpec,
        body: Box<dyn Read + Send + 'b>,
    ) -> Result<Self, ExtractError> {
        match spec.layout {
            Layout::Csv => csv::Csv::open(spec, Window::read(body, "CSV")?).map(Self::Csv),
            Layout::Ndjson => {
                ndjson::Ndjson::open(spec, Window::read(body, "JSON")?).map(Self::Ndjson)
            }
            Layout::Columns | Layout::Records | Layout::Keyed | Layout::Grid => {
                Err(ExtractError::NotInPieces { layout: spec.layout.word() })
            }
        }
    }

    /// Appends the mapped fields of the next row.
    pub(crate) fn next_row(&mut self, out: &mut BytesMut) -> Result<Row, ExtractError> {
        match self {
            Self::Columns(columns) => columns.next_row(out),
            Self::Records(records) => records.next_row(out),
            Self::Csv(csv) => csv.next_row(out),
            Self::Ndjson(lines) => lines.next_row(out),
        }
    }

    /// Where the values of the next row are, in place of the row; `None` when there is no further one.
    pub(crate) fn trace_row(&mut self) -> Result<Option<Vec<Traced>>, ExtractError> {
        match self {
            Self::Columns(columns) => columns.trace_row(),
            Self::Records(records) => records.trace_row(),
            Self::Csv(csv) => csv.trace_row(),
            Self::Ndjson(lines) => lines.trace_row(),
        }
    }
}
