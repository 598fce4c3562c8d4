//! One body from its first row to its last.
//!
//! In: a body, its source's `[rows]` and what is the same for every row. Out: tuples of PostgreSQL's
//! binary COPY in chunks (without the file's header and trailer), then a [`Summary`]. Deliberately
//! absent: how the values lie, which is [`crate::layout`]'s.

use std::io::Read;

use bytes::{BufMut, BytesMut};
use daymark_plan::{FieldType, Layout, Reading, RowsSpec, SYSTEM_COLUMNS};
use sha2::{Digest, Sha256};

use crate::encode::{self, Misfit, Target};
use crate::error::ExtractError;
use crate::layout::{Row, Rows};

/// About how much [`Extraction::next_chunk`] appends at once.
pub const CHUNK_BYTES: usize = 128 * 1024;

/// The same of a body that is only looked at.
const SCANNED_BYTES: usize = 64 * 1024;

/// How many rejects a summary keeps; all are counted.
const REJECTS_KEPT: u64 = 100;

/// PostgreSQL's limit of columns in a table.
const MAX_COLUMNS: usize = 1600;

/// What stands with the mapped fields in every row. The other system columns of `raw_<source>` are the same
/// for all rows of a fetch, and are not written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowContext {
    /// The entity's own columns, in the order of [`daymark_plan::Source::row_columns`]. They stand
    /// between `_fetch_row` and the mapped fields, and outside the hash of the rows.
    pub entity_values: Vec<EntityValue>,
    /// The `_fetch_row` of the first row of this body: a fetch of several pages counts on.
    pub first_row: i64,
}

/// A column of an entity, the same for every row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityValue {
    /// What it must be.
    pub field_type: FieldType,
    /// Its text; `None` is null.
    pub value: Option<String>,
}

/// What came of a body.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Summary {
    /// The rows that were written.
    pub extracted: u64,
    /// The rows that were set aside.
    pub rejected: u64,
    /// The first hundred of them.
    pub rejects: Vec<Reject>,
    /// The SHA-256 of the mapped fields of the rows written, in order, in hexadecimal: two bodies
    /// that differ in nothing a model can see have the same. Empty before the end.
    pub rows_sha256: String,
}

/// A row that was set aside, for the first of its values that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Reject {
    /// Its `_fetch_row`.
    pub row: i64,
    /// The field; empty where the row as a whole is not one.
    pub field: String,
    /// The `JSONPath` of the value, or its line and column.
    pub path: String,
    /// Its text, at most 200 characters; empty where it is missing.
    pub value: String,
    /// Why it does not fit.
    pub reason: String,
}

impl std::fmt::Display for Reject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { row, field, path, value, reason } = self;
        write!(f, "row {row}, `{field}` at `{path}`: ")?;
        if !value.is_empty() {
            write!(f, "`{value}`: ")?;
        }
        f.write_str(reason)
    }
}

/// A body whose rows are being read.
#[derive(Debug)]
pub struct Extraction<'b> {
    rows: Rows<'b>,
    /// The field count and the system columns, as every tuple starts.
    start: Vec<u8>,
    next_row: i64,
    summary: Summary,
    ended: bool,
    hash: Option<Sha256>,
}

/// Where `_fetch_row` is in the start of a tuple: behind the field count and a length.
const ROW_AT: usize = 2 + 4;

/// Opens a body, which must be UTF-8 (see [`crate::to_utf8`]): checks that it is whole, finds the
/// places of `at` or the header, and checks that the fields are there and, in `columns`, of equal
/// length. The lines of `csv` and `ndjson` are read when their turn comes.
pub fn open<'b>(
    rows: &'b RowsSpec,
    body: &'b [u8],
    context: RowContext,
) -> Result<Extraction<'b>, ExtractError> {
    Extraction::of(rows, context, || Rows::open(rows, body))
}

/// Opens a body that is read when its rows' turn comes, and must be UTF-8 (see
/// [`crate::is_plain_utf8`]). Only layouts that [`is_read_in_pieces`] names can be read so.
pub fn open_read<'b>(
    rows: &'b RowsSpec,
    body: Box<dyn Read + Send + 'b>,
    context: RowContext,
) -> Result<Extraction<'b>, ExtractError> {
    Extraction::of(rows, context, || Rows::open_read(rows, body))
}

/// Whether the rows of a layout are taken from a body a piece at a time. What `at` and paths from the
/// root name may stand anywhere in a JSON text, so that is wanted whole.
pub fn is_read_in_pieces(layout: Layout) -> bool {
    match layout {
        Layout::Csv | Layout::Ndjson => true,
        Layout::Columns | Layout::Records | Layout::Keyed | Layout::Grid => false,
    }
}

impl<'b> Extraction<'b> {
    fn of(
        spec: &RowsSpec,
        context: RowContext,
        rows: impl FnOnce() -> Result<Rows<'b>, ExtractError>,
    ) -> Result<Self, ExtractError> {
        let next_row = context.first_row;
        let start = tuple_start(spec, context)?;
        let (summary, hash) = (Summary::default(), Some(Sha256::new()));
        Ok(Self { rows: rows()?, start, next_row, summary, ended: false, hash })
    }

    /// The same without the hash of the rows, which then stays empty: whoever publishes rows does not ask
    /// for it, and it is a third of the work.
    #[must_use]
    pub fn unhashed(self) -> Self {
        Self { hash: None, ..self }
    }

    /// Appends tuples to `out` until about [`CHUNK_BYTES`] were added. `false` means that the rows
    /// have ended and nothing was appended.
    pub fn next_chunk(&mut self, out: &mut BytesMut) -> Result<bool, ExtractError> {
        self.next_bytes(CHUNK_BYTES, out)
    }

    fn next_bytes(&mut self, about: usize, out: &mut BytesMut) -> Result<bool, ExtractError> {
        if self.ended {
            return Ok(false);
        }
        let before = out.len();
        while out.len() - before < about {
            let tuple = out.len();
            out.put_slice(&self.start);
            let mapped = out.len();
            let row = self.next_row;
            match self.rows.next_row(out)? {
                Row::Good => {
                    let row_at = tuple + ROW_AT;
                    out[row_at..row_at + 8].copy_from_slice(&row.to_be_bytes());
                    if let Some(hash) = &mut self.hash {
                        hash.update(&out[mapped..]);
                    }
                    self.summary.extracted += 1;
                }
                Row::Bad(bad) => {
                    out.truncate(tuple);
                    if self.summary.rejected < REJECTS_KEPT {
                        self.summary.rejects.push(Reject {
                            row,
                            field: bad.field,
                            path: bad.path,
                            value: bad.value,
                            reason: bad.reason,
                        });
                    }
                    self.summary.rejected += 1;
                }
                Row::End => {
                    out.truncate(tuple);
                    self.ended = true;
                    if let Some(hash) = self.hash.take() {
                        self.summary.rows_sha256 = daymark_plan::hex(&hash.finalize());
                    }
                    break;
                }
            }
            self.next_row = row.wrapping_add(1);
        }
        Ok(out.len() > before)
    }

    /// What came of the body so far; complete once [`Self::next_chunk`] has returned `false`.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }
}

/// Runs a body to its end without keeping its rows: what ingest verifies a response with.
pub fn scan(rows: &RowsSpec, body: &[u8]) -> Result<Summary, ExtractError> {
    run(open(rows, body, RowContext::default())?)
}

/// The same with a body that is read; see [`open_read`].
pub fn scan_read(
    rows: &RowsSpec,
    body: Box<dyn Read + Send + '_>,
) -> Result<Summary, ExtractError> {
    run(open_read(rows, body, RowContext::default())?)
}

fn run(mut extraction: Extraction<'_>) -> Result<Summary, ExtractError> {
    // Many bodies may be looked at at once, and nobody waits for these rows.
    let mut chunk = BytesMut::with_capacity(SCANNED_BYTES * 2);
    while extraction.next_bytes(SCANNED_BYTES, &mut chunk)? {
        chunk.clear();
    }
    Ok(extraction.summary)
}

/// The field count, the row's number, 0 for now, and the entity's columns of every tuple.
fn tuple_start(rows: &RowsSpec, context: RowContext) -> Result<Vec<u8>, ExtractError> {
    let count = rows.fields.len();
    let before = 1 + context.entity_values.len();
    // `raw_<source>` has the other system columns as well.
    let limit = MAX_COLUMNS.saturating_sub(before - 1 + SYSTEM_COLUMNS.len());
    let columns = i16::try_from(count + before).ok().filter(|_| count <= limit);
    let mut start = BytesMut::new();
    start.put_i16(columns.ok_or(ExtractError::TooManyFields { count, limit })?);
    start.put_i32(8);
    start.put_i64(0);
    let reading = Reading::default();
    for EntityValue { field_type, value } in context.entity_values {
        let Some(value) = value else {
            encode::null(&mut start);
            continue;
        };
        let target = Target { field_type, reading: &reading };
        encode::cell(target, &value, true, &mut start).map_err(|Misfit(reason)| {
            ExtractError::EntityValue { value, reason: reason.into_owned() }
        })?;
    }
    Ok(start.to_vec())
}
