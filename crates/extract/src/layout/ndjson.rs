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

/// The lines of a body.
#[derive(Debug)]
pub(crate) struct Ndjson<'b> {
    mapping: Mapping<'b>,
    here: Here<'b>,
    row: RowAt<'b>,
    rest: &'b str,
    /// The bytes of the body before `rest`.
    byte: usize,
    /// The number of the line `rest` starts with, from 1.
    line: usize,
}

impl<'b> Ndjson<'b> {
    pub(super) fn open(
        spec: &'b RowsSpec,
        text: &'b str,
        mark: usize,
    ) -> Result<Self, ExtractError> {
        let mapping = Mapping::new(&spec.fields, Json::checked("null"))?;
        let (here, row) = (Here::default(), RowAt::default());
        Ok(Self { mapping, here, row, rest: text, byte: mark, line: 1 })
    }

    pub(super) fn next_row(&mut self, out: &mut BytesMut) -> Result<Row, ExtractError> {
        while !self.rest.is_empty() {
            let end = self.rest.find('\n').map_or(self.rest.len(), |end| end + 1);
            let (line, rest) = self.rest.split_at(end);
            let (number, byte) = (self.line, self.byte);
            self.rest = rest;
            self.line += 1;
            self.byte += end;
            if line.trim_ascii().is_empty() {
                continue;
            }
            let value = body::check(line.as_bytes()).map_err(|error| error.behind(number, byte))?;
            self.row.ordinal += 1;
            let path = || format!("line {number}, $");
            if value.kind() != Kind::Object {
                return Ok(Row::Bad(BadValue {
                    field: String::new(),
                    path: format!("line {number}"),
                    value: excerpt(value.text(), VALUE_SHOWN),
                    reason: format!("expected an object, found {}", value.kind().with_article()),
                }));
            }
            self.mapping.find(value, &mut self.row);
            return Ok(match self.mapping.write(&self.here, &self.row, path, out) {
                Ok(()) => Row::Good,
                Err(bad) => Row::Bad(bad),
            });
        }
        Ok(Row::End)
    }
}
