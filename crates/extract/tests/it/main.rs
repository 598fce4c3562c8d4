//! The crate as its callers see it: bodies in, tuples and rejects out.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, helpers of tests too")]

mod decode;
mod errors;
mod layouts;
mod properties;
mod recorded;
mod types;

use bytes::BytesMut;
use daymark_extract::{ExtractError, RowContext, Summary};
use daymark_plan::{Field, FieldType, JsonPath, Layout, RowsSpec};

/// A `[rows]` section: a name ending in `?` is an optional field, paths are divided by `|`.
fn spec(layout: Layout, at: &str, fields: &[(&str, &str, FieldType)]) -> RowsSpec {
    let path = |text: &str| JsonPath::parse(text).unwrap();
    let fields = fields.iter().map(|(name, paths, field_type)| Field {
        name: name.trim_end_matches('?').to_owned(),
        paths: paths.split('|').map(path).collect(),
        field_type: *field_type,
        optional: name.ends_with('?'),
    });
    RowsSpec { layout, at: path(at), fields: fields.collect() }
}

fn context() -> RowContext {
    RowContext {
        fetch_id: uuid::Uuid::from_u128(0x0192_aaaa_bbbb_7ccc_8ddd_eeee_ffff_0001),
        data_date: jiff::civil::date(2026, 3, 8),
        fetched_at: "2026-03-08T13:00:00.123456Z".parse().unwrap(),
        entity: None,
        first_row: 0,
    }
}

/// All tuples of a body and its summary, which `scan` must agree with.
fn extract_with(
    rows: &RowsSpec,
    body: &[u8],
    context: RowContext,
) -> Result<(BytesMut, Summary), ExtractError> {
    let first_row = context.first_row;
    let mut extraction = daymark_extract::open(rows, body, context)?;
    let mut tuples = BytesMut::new();
    while extraction.next_chunk(&mut tuples)? {}
    let summary = extraction.summary().clone();
    let mut scanned = daymark_extract::scan(rows, body)?;
    for reject in &mut scanned.rejects {
        reject.row += first_row;
    }
    assert_eq!(scanned, summary);
    Ok((tuples, summary))
}

fn extract(rows: &RowsSpec, body: &[u8]) -> Result<(BytesMut, Summary), ExtractError> {
    extract_with(rows, body, context())
}

/// The mapped fields of every row as text (`None` is null), and the rejects.
fn rows_of(rows: &RowsSpec, body: &str) -> (Vec<Vec<Option<String>>>, Summary) {
    let (tuples, summary) = extract(rows, body.as_bytes()).unwrap();
    let types: Vec<FieldType> = rows.fields.iter().map(|field| field.field_type).collect();
    let decoded = decode::tuples(&tuples).into_iter().map(|tuple| {
        let fields = tuple[5..].iter().zip(&types);
        fields.map(|(field, kind)| field.as_ref().map(|bytes| decode::text(*kind, bytes))).collect()
    });
    (decoded.collect(), summary)
}
