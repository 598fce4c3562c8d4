//! The layout `csv`: a table of text.
//!
//! In: the text of a body. Out: a row per record behind the header. A record with another number of
//! cells than the header is set aside. Deliberately absent: taking the text apart; see
//! [`super::cells`].

use bytes::BytesMut;
use daymark_plan::{CsvFormat, Field, FieldPlace, RowsSpec};

use super::cells::{Cell, Cells, Record};
use super::grid::{HEADER_SHOWN, position};
use super::mapping::column_text;
use super::{BadValue, Row, VALUE_SHOWN};
use crate::encode::{self, Misfit, Target};
use crate::error::{ExtractError, excerpt};
use crate::trace::Traced;
use crate::window::Window;

/// The records of a body.
#[derive(Debug)]
pub(crate) struct Csv<'b> {
    fields: Vec<CsvField<'b>>,
    format: CsvFormat,
    window: Window<'b>,
    /// The cells of the record that is here.
    record: Vec<Cell>,
    /// How many cells a record has.
    width: usize,
    ordinal: u64,
}

#[derive(Debug)]
struct CsvField<'b> {
    field: &'b Field,
    source: Source,
    /// The column for people.
    column: String,
}

#[derive(Debug, Clone, Copy)]
enum Source {
    Column(usize),
    Ordinal,
    Absent,
}

impl<'b> Csv<'b> {
    pub(super) fn open(spec: &'b RowsSpec, mut window: Window<'b>) -> Result<Self, ExtractError> {
        let format = spec.csv;
        let mut record = Vec::new();
        loop {
            let mut cells = Cells::new(window.rest(), format, window.line(), window.byte());
            cells.skip_lines();
            let before = cells.read();
            let first = cells.next(&mut record);
            if is_cut(&cells, &first, &window) {
                window.more()?;
                continue;
            }
            let Some(first) = first? else { return Err(ExtractError::Empty) };
            let width = record.len();
            let texts: Vec<String> =
                record.iter().map(|cell| cells.text(*cell).trim().to_owned()).collect();
            let header = excerpt(first.text, HEADER_SHOWN);
            let named = format.header;
            let mut fields = Vec::with_capacity(spec.fields.len());
            for field in &spec.fields {
                let (source, column) = source(field, &texts, named, &header)?;
                fields.push(CsvField { field, source, column });
            }
            let (bytes, line) = if named { cells.read() } else { before };
            window.advance(bytes, line);
            return Ok(Self { fields, format, window, record, width, ordinal: 0 });
        }
    }

    pub(super) fn next_row(&mut self, out: &mut BytesMut) -> Result<Row, ExtractError> {
        let row = self.next_record(|csv, cells, record| csv.row(cells, record, out))?;
        Ok(row.unwrap_or(Row::End))
    }

    pub(super) fn trace_row(&mut self) -> Result<Option<Vec<Traced>>, ExtractError> {
        self.next_record(Self::traced)
    }

    /// What `then` makes of the next record; none at the end.
    fn next_record<T>(
        &mut self,
        then: impl FnOnce(&Self, &Cells<'_>, Record<'_>) -> T,
    ) -> Result<Option<T>, ExtractError> {
        loop {
            let window = &self.window;
            let mut cells = Cells::new(window.rest(), self.format, window.line(), window.byte());
            let record = cells.next(&mut self.record);
            if is_cut(&cells, &record, window) {
                self.window.more()?;
                continue;
            }
            let (bytes, line) = cells.read();
            let made = match record? {
                Some(record) => {
                    self.ordinal += 1;
                    Some(then(self, &cells, record))
                }
                None => None,
            };
            self.window.advance(bytes, line);
            return Ok(made);
        }
    }

    fn traced(&self, cells: &Cells<'_>, record: Record<'_>) -> Vec<Traced> {
        let traced = self.fields.iter().map(|field| Traced {
            field: field.field.name.clone(),
            path: format!("line {}{}", record.line, field.column),
            value: match field.source {
                Source::Absent => None,
                Source::Ordinal => Some(self.ordinal.to_string()),
                Source::Column(at) => {
                    self.record.get(at).map(|cell| cells.text(*cell).into_owned())
                }
            },
        });
        traced.collect()
    }

    fn row(&self, cells: &Cells<'_>, record: Record<'_>, out: &mut BytesMut) -> Row {
        let found = self.record.len();
        let fits = if record.garbled {
            Err("text stands behind a closing quote".to_owned())
        } else if found != self.width {
            Err(format!("expected {} cells, found {found}", self.width))
        } else {
            Ok(())
        };
        if let Err(reason) = fits {
            return Row::Bad(BadValue {
                field: String::new(),
                path: format!("line {}", record.line),
                value: excerpt(record.text, VALUE_SHOWN),
                reason,
            });
        }
        for field in &self.fields {
            let target =
                Target { field_type: field.field.field_type, reading: &field.field.reading };
            let written = match field.source {
                Source::Absent => {
                    encode::null(out);
                    Ok(())
                }
                Source::Ordinal => encode::counted(target, self.ordinal, out),
                Source::Column(at) => {
                    let cell = self.record[at];
                    encode::cell(target, &cells.text(cell), cell.quoted, out)
                }
            };
            if let Err(Misfit(reason)) = written {
                let value = match field.source {
                    Source::Column(at) => cells.text(self.record[at]).into_owned(),
                    _ => self.ordinal.to_string(),
                };
                return Row::Bad(BadValue {
                    field: field.field.name.clone(),
                    path: format!("line {}{}", record.line, field.column),
                    value: excerpt(&value, VALUE_SHOWN),
                    reason: reason.into_owned(),
                });
            }
        }
        Row::Good
    }
}

/// Whether what came of a record may only be so because the text goes on behind what is at hand: it
/// reaches the end of that (a line break, too, may have a second half), or its quote was not closed.
fn is_cut(
    cells: &Cells<'_>,
    record: &Result<Option<Record<'_>>, ExtractError>,
    window: &Window<'_>,
) -> bool {
    !window.ended() && (cells.is_at_end() || record.is_err())
}

/// Where a field is in a record, and how rejects speak of it.
fn source(
    field: &Field,
    first: &[String],
    named: bool,
    header: &str,
) -> Result<(Source, String), ExtractError> {
    let mut columns = Vec::new();
    for place in &field.places {
        match place {
            FieldPlace::Ordinal => return Ok((Source::Ordinal, String::new())),
            FieldPlace::Column(column) => {
                let found = position(column, Some(first)).map_err(|error| match error {
                    ExtractError::RepeatedColumn { column, .. } => {
                        ExtractError::RepeatedColumn { column, header: header.to_owned() }
                    }
                    other => other,
                })?;
                if let Some(at) = found {
                    let column = match first.get(at).filter(|_| named) {
                        Some(name) => format!(", column \"{name}\""),
                        None => format!(", column {}", at + 1),
                    };
                    return Ok((Source::Column(at), column));
                }
                columns.push(column_text(column));
            }
            // A table has no paths; the plan does not let one through.
            _ => columns.push(format!("at `{place}`")),
        }
    }
    if field.optional {
        return Ok((Source::Absent, String::new()));
    }
    Err(ExtractError::MissingColumn {
        field: field.name.clone(),
        columns,
        named,
        header: header.to_owned(),
    })
}
