//! The crate as its callers see it: bodies in, tuples and rejects out.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, helpers of tests too")]

mod decode;
mod difference;
mod encodings;
mod errors;
mod families;
mod fuzz;
mod infer;
mod keyed_and_grid;
mod layouts;
mod outline;
mod probes;
mod properties;
mod recorded;
mod samples;
mod shapes;
mod tables;
mod tables_properties;
mod trace;
mod types;

use bytes::BytesMut;
use daymark_extract::{ExtractError, RowContext, Summary};
use daymark_plan::{ColumnRef, Field, FieldPlace, FieldType, JsonPath, Layout, RowsSpec};

/// A `[rows]` section: a name ending in `?` is an optional field, places are divided by `|`.
fn spec(layout: Layout, at: &str, fields: &[(&str, &str, FieldType)]) -> RowsSpec {
    let fields = fields.iter().map(|(name, places, field_type)| {
        let places = places.split('|').map(|text| place(layout, text)).collect();
        let optional = name.ends_with('?');
        Field { optional, ..Field::new(name.trim_end_matches('?'), places, *field_type) }
    });
    RowsSpec::new(layout, JsonPath::parse(at).unwrap(), fields.collect())
}

/// A place: a path, `#` (the ordinal), `key` or `key 2`; of a table a column's name or number.
fn place(layout: Layout, text: &str) -> FieldPlace {
    let path = |text: &str| JsonPath::parse(text).unwrap();
    if text == "#" {
        return FieldPlace::Ordinal;
    }
    if let Some(level) = text.strip_prefix("key") {
        return FieldPlace::Key(level.trim().parse().unwrap_or(1));
    }
    let rest = text.trim_start_matches('^');
    if rest.len() < text.len() {
        let levels = u32::try_from(text.len() - rest.len()).unwrap();
        return FieldPlace::Above { levels, path: path(rest) };
    }
    match layout {
        Layout::Csv | Layout::Grid if !text.starts_with(['$', '@']) => {
            FieldPlace::Column(match text.parse() {
                Ok(number) => ColumnRef::Position(number),
                Err(_) => ColumnRef::Name(text.to_owned()),
            })
        }
        _ => FieldPlace::Path(path(text)),
    }
}

/// All tuples of a body and its summary, which `scan` must agree with.
fn extract_with(
    rows: &RowsSpec,
    body: &[u8],
    context: RowContext,
) -> Result<(BytesMut, Summary), ExtractError> {
    let first_row = context.first_row;
    assert_same_when_read(rows, body);
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

/// Asserts that a body of lines says the same whether it is in memory or read.
fn assert_same_when_read(rows: &RowsSpec, body: &[u8]) {
    if !daymark_extract::is_read_in_pieces(rows.layout) {
        return;
    }
    let whole = || {
        let mut extraction = daymark_extract::open(rows, body, RowContext::default())?;
        let mut tuples = BytesMut::new();
        while extraction.next_chunk(&mut tuples)? {}
        Ok((tuples, extraction.summary().clone()))
    };
    let whole: Result<_, ExtractError> = whole();
    for bytes in [1, 2, 7, 1 << 20] {
        let read = extract_read(rows, body, RowContext::default(), bytes);
        // What is wrong with the first lines is found before a later byte is seen not to be UTF-8.
        match (&whole, &read) {
            (Err(ExtractError::NotUtf8 { .. }), Err(_)) => {}
            _ => assert_eq!(read, whole, "{bytes} bytes at a time"),
        }
    }
}

/// A body that is read a few bytes at a time.
struct Trickle<'b> {
    body: &'b [u8],
    bytes: usize,
}

impl std::io::Read for Trickle<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let bytes = self.bytes.min(into.len()).min(self.body.len());
        into[..bytes].copy_from_slice(&self.body[..bytes]);
        self.body = &self.body[bytes..];
        Ok(bytes)
    }
}

/// What comes of a body that is read a few bytes at a time, so that it is cut wherever it can be.
fn extract_read(
    rows: &RowsSpec,
    body: &[u8],
    context: RowContext,
    bytes: usize,
) -> Result<(BytesMut, Summary), ExtractError> {
    let body = Trickle { body, bytes };
    let mut extraction = daymark_extract::open_read(rows, Box::new(body), context)?;
    let mut tuples = BytesMut::new();
    while extraction.next_chunk(&mut tuples)? {}
    Ok((tuples, extraction.summary().clone()))
}

fn extract(rows: &RowsSpec, body: &[u8]) -> Result<(BytesMut, Summary), ExtractError> {
    extract_with(rows, body, RowContext::default())
}

/// The mapped fields of every row as text (`None` is null), and the rejects.
fn rows_of(rows: &RowsSpec, body: &str) -> (Vec<Vec<Option<String>>>, Summary) {
    let (tuples, summary) = extract(rows, body.as_bytes()).unwrap();
    let types: Vec<FieldType> = rows.fields.iter().map(|field| field.field_type).collect();
    let decoded = decode::tuples(&tuples).into_iter().map(|tuple| {
        let fields = tuple[1..].iter().zip(&types);
        fields.map(|(field, kind)| field.as_ref().map(|bytes| decode::text(*kind, bytes))).collect()
    });
    (decoded.collect(), summary)
}

/// A `[rows]` section as it stands in a source's file.
fn rows_section(toml: &str) -> RowsSpec {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("sources")).unwrap();
    let settings = "name = \"p\"\ntime_zone = \"UTC\"\nschedule = \"cron(0 8 * * ? *)\"\n";
    std::fs::write(folder.path().join("daymark.toml"), settings).unwrap();
    let source = format!("id = \"s\"\n[request]\nurl = \"http://localhost/\"\n[rows]\n{toml}");
    std::fs::write(folder.path().join("sources/s.toml"), source).unwrap();
    match daymark_plan::load(folder.path(), &daymark_plan::Environment::default()) {
        Ok(plan) => plan.sources[0].rows.clone(),
        Err(daymark_plan::PlanError::Problems { problems, .. }) => {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            panic!("{}", lines.join("\n"))
        }
        Err(other) => panic!("{other}"),
    }
}

/// Rows for people: fields with a space between them, `-` for null.
fn lines(rows: &[Vec<Option<String>>]) -> Vec<String> {
    let row = |row: &Vec<Option<String>>| {
        let fields: Vec<&str> = row.iter().map(|field| field.as_deref().unwrap_or("-")).collect();
        fields.join(" ")
    };
    rows.iter().map(row).collect()
}
