//! Raw bytes to typed rows: pure, without I/O or clock.
//!
//! In: the bytes of a response as they were received, and the `[rows]` section of its source
//! ([`daymark_plan::RowsSpec`]). Out: the rows as tuples of PostgreSQL's binary COPY, in chunks, and
//! a [`Summary`] with the rows that were set aside; also what `[expect]`, paging and cursors ask of a
//! body. Deliberately absent: the network, files, the database and every decision about the numbers
//! in the summary (`min_rows`, `max_reject_ratio` and the other expectations are ingest's).
//!
//! A value that does not fit its type sets its whole row aside with a reason; it never becomes a
//! silent null and never a rounded number. Whatever the bytes are, the answer is rows, rejects or
//! an [`ExtractError`] with a position: no panic, and no memory beyond the body, one chunk and the
//! places of `at` (in `keyed` also the names of one place, to tell those that come twice). Only an
//! `at` with filters, slices or descendants is answered from a parsed copy of the body. The lines of
//! `csv` and `ndjson` need not be in memory at all: [`open_read`] takes them from a reader, a piece at a
//! time, and holds no more than the longest of them.
//!
//! Where an object names a member twice, the last one counts, as in PostgreSQL's `jsonb` and in
//! `serde_json`.
//!
//! How it goes: `encoding` makes the bytes UTF-8; `body` has `serde_json` check that they are one
//! whole JSON text; `json` then walks that checked text without building a tree (13 times the speed
//! of sonic-rs' lazy iterators, which check every value again: 0.055 s against 0.73 s for 8 million
//! values); `place` and `lookup` find many paths in one pass; `layout` turns what was found, or the
//! lines of a table, into rows; `encode` and `text` write values.

mod body;
mod civil;
mod decimal;
mod difference;
mod encode;
mod encoding;
mod error;
mod extraction;
pub mod infer;
mod json;
mod layout;
mod lookup;
mod numeric;
mod outline;
mod place;
mod probe;
mod sample;
mod shape;
mod text;
mod trace;
mod window;

pub use difference::{Change, ChangeKind, ChangeStep, json_difference, line_difference};
pub use encoding::to_utf8;
pub use error::{ExtractError, Position};
pub use extraction::{
    CHUNK_BYTES, EntityValue, Extraction, Reject, RowContext, Summary, is_read_in_pieces, open,
    open_read, scan, scan_read,
};
pub use outline::{LOOKED_AT, Mapped, Outline, outline};
pub use probe::{Scalar, matches_value, same_length, scalars_at};
pub use sample::{Sample, SampleColumn, sample};
pub use shape::{ReadsLike, Shape, ShapePath, ValueType, shape, shape_of_lines};
pub use trace::{Traced, trace};
pub use window::is_plain_utf8;
