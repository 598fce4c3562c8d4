//! What is promised of any bytes: rows, rejects or an error with its position; never a panic, never memory
//! without bound.
//!
//! In: bytes that a fuzzer made up. Out: nothing, or a panic that is a finding. One function per target;
//! cargo-fuzz calls them (`fuzz_targets/`), and so does a test on stable Rust
//! (`crates/extract/tests/it/fuzz.rs`). Deliberately absent: anything but the public functions that the
//! program itself calls.

use bytes::BytesMut;
use daymark_extract::infer::{Finding, Sample, infer as find_out};
use daymark_extract::{CHUNK_BYTES, ExtractError, RowContext, open, scan, to_utf8};
use daymark_plan::{Environment, JsonPath, RowsSpec, load, read_source};

/// A larger input tells no more, and takes longer.
const LARGEST: usize = 64 << 10;

/// Bytes to choose by.
struct Choices<'d> {
    rest: &'d [u8],
}

impl Choices<'_> {
    fn next(&mut self) -> usize {
        let Some((first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        usize::from(*first)
    }

    fn of<'w>(&mut self, words: &[&'w str]) -> &'w str {
        words[self.next() % words.len()]
    }
}

const TYPES: [&str; 16] = [
    "text",
    "boolean",
    "smallint",
    "integer",
    "bigint",
    "double",
    "numeric",
    "date",
    "time",
    "timestamp",
    "timestamptz",
    "epoch_seconds",
    "epoch_milliseconds",
    "epoch_microseconds",
    "uuid",
    "jsonb",
];

/// The `[rows]` of a source that bytes choose; none when the folder would refuse it.
fn section(choices: &mut Choices<'_>) -> Option<RowsSpec> {
    let layout = choices.of(&["records", "columns", "keyed", "grid", "csv", "tsv", "ndjson"]);
    let is_text = matches!(layout, "csv" | "tsv" | "ndjson");
    let mut text =
        format!("id = \"s\"\n[request]\nurl = \"http://h/\"\n[rows]\nlayout = \"{layout}\"\n");
    let at = choices.of(&[
        "$",
        "$.a",
        "$[*]",
        "$.a[*].b",
        "$[0]",
        "$.*",
        "$..a",
        "$[?@.a > 1]",
        "$[1:]",
    ]);
    if !is_text {
        text.push_str(&format!("at = \"{at}\"\n"));
        text.push_str(choices.of(&["", "at_optional = true\n"]));
    }
    match layout {
        "grid" => {
            text.push_str(choices.of(&["", "header = \"first_row\"\n", "header = \"$.a\"\n"]));
        }
        "csv" => {
            text.push_str(choices.of(&["", "separator = \";\"\n", "separator = \"|\"\n"]));
            text.push_str(choices.of(&["", "header = false\n"]));
            text.push_str(choices.of(&["", "quote = \"\"\n", "quote = \"'\"\n"]));
            text.push_str(choices.of(&["", "comment = \"#\"\n"]));
            text.push_str(choices.of(&["", "skip_lines = 2\n"]));
        }
        _ => {}
    }
    text.push_str(choices.of(&["", "missing = [\".\", \"NA\", \"\"]\n"]));
    text.push_str(choices.of(&["", "decimal = \",\"\ngrouping = \".\"\n", "grouping = \",\"\n"]));
    text.push_str("[rows.fields]\n");
    for number in 0..=choices.next() % 4 {
        let place = match layout {
            "csv" | "tsv" => choices.of(&[
                "column = 1",
                "column = 2",
                "column = \"a\"",
                "column = [\"b\", \"a\"]",
                "ordinal = true",
            ]),
            "grid" => choices.of(&[
                "column = 1",
                "column = 3",
                "column = \"a\"",
                "path = \"$.a\"",
                "path = \"[0]\"",
            ]),
            "ndjson" => {
                choices.of(&["path = \"a\"", "path = \"@\"", "path = \"a.b[0]\"", "ordinal = true"])
            }
            _ => choices.of(&[
                "path = \"a\"",
                "path = \"@\"",
                "path = \"b[0].c\"",
                "path = \"$.a\"",
                "path = \"^.a\"",
                "path = \"^^\"",
                "key = true",
                "key = 2",
                "ordinal = true",
                "path = [\"b\", \"a\"]",
            ]),
        };
        let field_type = choices.of(&TYPES);
        let format = match field_type {
            "date" => choices.of(&["", ", format = \"%d/%m/%Y\"", ", format = \"%Y%m%d\""]),
            "timestamp" => choices.of(&["", ", format = \"%d %b %Y %H:%M\""]),
            "timestamptz" => {
                choices.of(&["", ", format = \"%s\"", ", format = \"%a, %d %b %Y %T %z\""])
            }
            "time" => choices.of(&["", ", format = \"%I:%M %p\""]),
            _ => "",
        };
        let optional = choices.of(&["", ", optional = true"]);
        text.push_str(&format!(
            "f{number} = {{ {place}, type = \"{field_type}\"{format}{optional} }}\n"
        ));
    }
    read_source("s", std::path::Path::new("/nowhere"), &text).ok().map(|source| source.rows)
}

/// Any bytes by any `[rows]`.
pub(crate) fn rows(data: &[u8]) {
    let data = &data[..data.len().min(LARGEST)];
    let mut choices = Choices { rest: data };
    let Some(rows) = section(&mut choices) else { return };
    read(&rows, choices.rest);
}

fn read(rows: &RowsSpec, body: &[u8]) {
    let Ok((body, _)) = to_utf8(body, None) else { return };
    match read_whole(rows, &body) {
        Ok(()) => {}
        Err(error) => {
            let words = daymark_plan::one_line(&error);
            assert!(!words.is_empty() && words.len() < 20_000, "{words}");
        }
    }
}

fn read_whole(rows: &RowsSpec, body: &[u8]) -> Result<(), ExtractError> {
    let mut extraction = open(rows, body, RowContext::default())?;
    // A row is no longer than its fields, each of which stands in the body, `\u0001` as more bytes in
    // `jsonb` than here perhaps.
    let row = 128 + rows.fields.len() * (64 + 6 * body.len());
    let mut chunk = BytesMut::new();
    loop {
        chunk.clear();
        let more = extraction.next_chunk(&mut chunk)?;
        assert!(chunk.len() <= CHUNK_BYTES + row, "{} bytes at once", chunk.len());
        if !more {
            break;
        }
    }
    let summary = extraction.summary().clone();
    // No place is deeper than JSON may be, and no row is made of less than a byte.
    let most = 128 * (body.len() as u64 + 1);
    assert!(summary.extracted + summary.rejected <= most, "{summary:?}");
    assert!(summary.rejects.len() <= 100);
    for reject in &summary.rejects {
        assert!(reject.value.chars().count() <= 204 && !reject.reason.is_empty(), "{reject:?}");
    }
    assert_eq!(scan(rows, body)?, summary);
    Ok(())
}

/// Any bytes as JSON: what `serde_json` takes is taken, and paths find what its tree has.
pub(crate) fn json(data: &[u8]) {
    let data = &data[..data.len().min(LARGEST)];
    let every = JsonPath::parse("$..*").expect("a path");
    let members = JsonPath::parse("$.*").expect("a path");
    let found = daymark_extract::scalars_at(&members, data);
    let deep = daymark_extract::matches_value(&every, data);
    for path in ["$", "$[0]", "$.a.b", "$['a'][1]"] {
        let path = JsonPath::parse(path).expect("a path");
        assert_eq!(daymark_extract::matches_value(&path, data).is_ok(), found.is_ok());
        assert_eq!(daymark_extract::same_length(&[path], data).is_ok(), found.is_ok());
    }
    if let Ok(tree) = serde_json::from_slice::<serde_json::Value>(data) {
        let found = found.expect("serde_json takes it");
        let plain = match &tree {
            serde_json::Value::Array(elements) => elements.iter().filter(|e| is_plain(e)).count(),
            // A member that comes twice stands once in the tree.
            serde_json::Value::Object(members) => members.values().filter(|e| is_plain(e)).count(),
            _ => 0,
        };
        assert_eq!(found.len(), plain, "{found:?}");
        assert!(deep.is_ok());
    }
}

fn is_plain(value: &serde_json::Value) -> bool {
    !value.is_array() && !value.is_object()
}

/// Any bytes as a table of text.
pub(crate) fn table(data: &[u8]) {
    let data = &data[..data.len().min(LARGEST)];
    let mut choices = Choices { rest: data };
    let separator = choices.of(&[",", ";", "|", "\\t"]);
    let more = choices.of(&[
        "",
        "header = false\n",
        "quote = \"\"\n",
        "comment = \"#\"\n",
        "skip_lines = 3\n",
    ]);
    let text = format!(
        "id = \"s\"\n[request]\nurl = \"http://h/\"\n[rows]\nlayout = \"csv\"\nseparator = \"{separator}\"\n{more}\
         [rows.fields]\na = {{ column = 1, type = \"text\" }}\n\
         b = {{ column = 2, type = \"numeric\", optional = true }}\nn = {{ ordinal = true, type = \"bigint\" }}\n"
    );
    let source = read_source("s", std::path::Path::new("/nowhere"), &text).expect("a source");
    read(&source.rows, choices.rest);
}

/// Any text as a JSON path, asked of a small body.
pub(crate) fn path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(&data[..data.len().min(LARGEST)]) else { return };
    let Ok(path) = JsonPath::parse(text) else { return };
    assert_eq!(path.text(), text);
    if path.steps().is_some() {
        assert!(path.segments().is_some());
    }
    let body = br#"{"a":[{"b":1,"c":"x"},{"b":2}],"d":{"e":null}}"#;
    daymark_extract::scalars_at(&path, body).map(drop).unwrap_or_default();
}

/// Any text as a value of any type: in a cell, in a string, as a number.
pub(crate) fn value(data: &[u8]) {
    let data = &data[..data.len().min(4096)];
    let mut choices = Choices { rest: data };
    let field_type = choices.of(&TYPES);
    let format = match field_type {
        "date" => choices.of(&[
            "",
            "format = \"%d/%m/%Y\"",
            "format = \"%b %d, %Y\"",
            "format = \"%Y%m%d\"",
        ]),
        "timestamp" => choices.of(&["", "format = \"%d/%m/%y %I:%M %p\""]),
        "timestamptz" => choices.of(&["", "format = \"%s\""]),
        "numeric" | "double" | "bigint" => {
            choices.of(&["", "decimal = \",\", grouping = \".\"", "grouping = \",\""])
        }
        _ => "",
    };
    let comma = if format.is_empty() { "" } else { ", " };
    let text = format!(
        "id = \"s\"\n[request]\nurl = \"http://h/\"\n[rows]\nlayout = \"grid\"\n\
         [rows.fields]\na = {{ column = 1, type = \"{field_type}\"{comma}{format} }}\n"
    );
    let source = read_source("s", std::path::Path::new("/nowhere"), &text).expect("a source");
    let Ok(text) = std::str::from_utf8(choices.rest) else { return };
    let quoted = serde_json::to_string(text).expect("a text is JSON");
    read(&source.rows, format!("[[{quoted}]]").as_bytes());
    read(&source.rows, format!("[[{text}]]").as_bytes());
}

/// Any bytes in any encoding.
pub(crate) fn encoding(data: &[u8]) {
    let data = &data[..data.len().min(LARGEST)];
    let mut choices = Choices { rest: data };
    let charset = choices.of(&[
        "",
        "utf-8",
        "utf-16",
        "utf-16be",
        "iso-8859-1",
        "windows-1252",
        "shift_jis",
        "gb18030",
        "euc-kr",
        "iso-2022-jp",
        "\"utf-8\"",
        "nonsense",
    ]);
    let charset = Some(charset).filter(|charset| !charset.is_empty());
    match to_utf8(choices.rest, charset) {
        Ok((text, _)) => {
            assert!(std::str::from_utf8(&text).is_ok());
            assert!(text.len() <= 4 * choices.rest.len() + 4);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Any texts as the files of a pipeline folder, parted by lines of `---`.
pub(crate) fn folder(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(&data[..data.len().min(LARGEST)]) else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in ["sources", "models", "marts", "dashboards"] {
        std::fs::create_dir(folder.path().join(name)).expect("a folder");
    }
    let files =
        ["daymark.toml", "sources/s.toml", "models/m.sql", "marts/t.sql", "dashboards/p.md"];
    for (file, text) in files.into_iter().zip(text.split("\n---\n")) {
        std::fs::write(folder.path().join(file), text).expect("a file");
    }
    if let Err(error) = load(folder.path(), &Environment::default()) {
        assert!(!daymark_plan::one_line(&error).is_empty());
    }
}

/// Any bytes as recorded responses, parted by lines of `---`. What is found is accepted by the folder's parser,
/// and reads them as it says.
pub(crate) fn infer(data: &[u8]) {
    let data = &data[..data.len().min(8 << 10)];
    let mut bodies: Vec<&[u8]> = vec![data];
    while bodies.len() < 4
        && let Some(last) = bodies.last().copied()
        && let Some(at) = last.windows(5).position(|window| window == b"\n---\n")
    {
        bodies.pop();
        bodies.extend([&last[..at], &last[at + 5..]]);
    }
    let samples: Vec<Sample<'_>> =
        bodies.iter().map(|body| Sample { name: "a\nb", body }).collect();
    let inferred = match find_out(&samples, "s") {
        Ok(inferred) => inferred,
        Err(error) => {
            let words = daymark_plan::one_line(&error);
            assert!(!words.contains("is not accepted"), "{words}");
            return;
        }
    };
    let text = format!("id = \"s\"\n[request]\nurl = \"http://h/\"\n{}", inferred.toml);
    let source = match read_source("s", std::path::Path::new("/nowhere"), &text) {
        Ok(source) => source,
        Err(problems) => panic!("{problems:?}\n{text}"),
    };
    for (body, finding) in bodies.iter().zip(&inferred.findings) {
        if let Finding::Rows(rows) = finding {
            let (body, _) = to_utf8(body, None).expect("it was read before");
            let summary = scan(&source.rows, &body).expect("it was read before");
            assert_eq!((summary.extracted, summary.rejected), (*rows, 0), "{text}");
        }
    }
}
