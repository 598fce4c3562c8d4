//! Where the values of one row came from: the last step of `daymark why`.
//!
//! In: a body, its source's `[rows]` and the number of a row. Out: per mapped field the place of its
//! value in the body and the value as it is written there. Deliberately absent: whether the value fits its
//! type; a row that was set aside can be traced as well.

use daymark_plan::RowsSpec;
use serde::Serialize;

use crate::error::ExtractError;
use crate::layout::{Row, Rows};

/// Where a field of a row came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Traced {
    /// The field.
    pub field: String,
    /// The `JSONPath` of its value, or its line and column.
    pub path: String,
    /// The value as it is written there; `None` where the response has none.
    pub value: Option<String>,
}

/// Traces the row `number` of a body (from 0, as `_fetch_row` counts within a page); `None` when the
/// body has no such row. The body must be UTF-8 (see [`crate::to_utf8`]).
pub fn trace(
    rows: &RowsSpec,
    body: &[u8],
    number: u64,
) -> Result<Option<Vec<Traced>>, ExtractError> {
    let mut rows = Rows::open(rows, body)?;
    let mut skipped = bytes::BytesMut::new();
    for _ in 0..number {
        skipped.clear();
        if matches!(rows.next_row(&mut skipped)?, Row::End) {
            return Ok(None);
        }
    }
    rows.trace_row()
}
