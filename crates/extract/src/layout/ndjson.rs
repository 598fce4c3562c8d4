//! The layout `ndjson`: an object on each line.
//!
//! In: the text of a body. Out: a row per line; lines without anything are passed over. Deliberately
//! absent: a line that is not JSON as a reject: the body is damaged, and is refused as a whole.

use bytes::BytesMut;
use daymark_plan::RowsSpec;

use super::mapping::{Here, Mapping, RowAt};
use super::{BadValue, Row, VALUE_SHOWN};
use crate::body;
use crate::error::{ExtractError, excerpt};
use crate::json::{Json, Kind};
use crate::trace::Traced;
use crate::window::Window;

/// The lines of a body.
#[derive(Debug)]
pub(crate) struct Ndjson<'b> {
    mapping: Mapping<'b>,
    window: Window<'b>,
    /// How many rows were seen.
    ordinal: u64,
}

impl<'b> Ndjson<'b> {
    pub(super) fn open(spec: &'b RowsSpec, window: Window<'b>) -> Result<Self, ExtractError> {
        let mapping = Mapping::new(&spec.fields, Json::checked("null"))?;
        Ok(Self { mapping, window, ordinal: 0 })
    }

    pub(super) fn next_row(&mut self, out: &mut BytesMut) -> Result<Row, ExtractError> {
        let row = self.next_line(|lines, value, number| lines.row(value, number, out))?;
        Ok(row.unwrap_or(Row::End))
    }

    pub(super) fn trace_row(&mut self) -> Result<Option<Vec<Traced>>, ExtractError> {
        self.next_line(Self::traced)
    }

    /// What `then` makes of the next line that has a value, and of its number; none at the end.
    fn next_line<T>(
        &mut self,
        then: impl FnOnce(&Self, Json<'_>, usize) -> T,
    ) -> Result<Option<T>, ExtractError> {
        loop {
            let rest = self.window.rest();
            let end = match rest.find('\n') {
                Some(end) => end + 1,
                None if self.window.ended() && rest.is_empty() => return Ok(None),
                None if self.window.ended() => rest.len(),
                None => {
                    self.window.more()?;
                    continue;
                }
            };
            let (line, number) = (&rest[..end], self.window.line());
            if line.trim_ascii().is_empty() {
                self.window.advance(end, number + 1);
                continue;
            }
            let byte = self.window.byte();
            let value = body::check(line.as_bytes()).map_err(|error| error.behind(number, byte))?;
            self.ordinal += 1;
            let made = then(self, value, number);
            self.window.advance(end, number + 1);
            return Ok(Some(made));
        }
    }

    fn traced(&self, value: Json<'_>, line: usize) -> Vec<Traced> {
        let (mapping, here): (&Mapping<'_>, Here<'_>) = (&self.mapping, Here::default());
        let mut row = RowAt::default();
        row.ordinal = self.ordinal;
        mapping.find(value, &mut row);
        mapping.trace(&here, &row, &format!("line {line}, $"))
    }

    fn row(&self, value: Json<'_>, line: usize, out: &mut BytesMut) -> Row {
        if value.kind() != Kind::Object {
            return Row::Bad(BadValue {
                field: String::new(),
                path: format!("line {line}"),
                value: excerpt(value.text(), VALUE_SHOWN),
                reason: format!("expected an object, found {}", value.kind().with_article()),
            });
        }
        // What was found in a line goes with it.
        let (mapping, here): (&Mapping<'_>, Here<'_>) = (&self.mapping, Here::default());
        let mut row = RowAt::default();
        row.ordinal = self.ordinal;
        mapping.find(value, &mut row);
        match mapping.write(&here, &row, || format!("line {line}, $"), out) {
            Ok(()) => Row::Good,
            Err(bad) => Row::Bad(bad),
        }
    }
}
