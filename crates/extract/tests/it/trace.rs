//! Where the values of a row came from.

use daymark_extract::{Traced, trace};
use daymark_plan::{FieldType, JsonPath, RowsSpec};

use crate::{decode, extract, rows_section};

/// A row as `path = value` lines; `-` where there is no value.
fn traced(rows: &RowsSpec, body: &str, number: u64) -> Vec<String> {
    let traced = trace(rows, body.as_bytes(), number).unwrap().unwrap();
    let line = |traced: Traced| {
        let value = traced.value.unwrap_or_else(|| "-".to_owned());
        format!("{}: {} = {value}", traced.field, traced.path)
    };
    traced.into_iter().map(line).collect()
}

#[test]
fn parallel_arrays_lead_to_their_elements() {
    let rows = rows_section(
        "layout = \"columns\"\nat = \"$[*].daily\"\n[rows.fields]\n\
         lat = { path = \"^.lat\", type = \"double\" }\nday = { path = \"time\", type = \"date\" }\n\
         t = { path = \"['t max']\", type = \"double\" }\ngone = { path = \"x\", type = \"double\", optional = true }\n\
         n = { ordinal = true, type = \"integer\" }\n",
    );
    let body = r#"[{"lat":1.5,"daily":{"time":["2026-01-01"],"t max":[-0.0]}},
                   {"lat":2.5,"daily":{"time":["2026-01-01","2026-01-02"],"t max":[1,2.50]}}]"#;
    assert_eq!(
        traced(&rows, body, 2),
        [
            "lat: $[1].lat = 2.5",
            "day: $[1].daily.time[1] = \"2026-01-02\"",
            "t: $[1].daily['t max'][1] = 2.50",
            "gone: $[1].daily.x = -",
            "n: $[1].daily, its number = 2",
        ]
    );
    assert_eq!(trace(&rows, body.as_bytes(), 3).unwrap(), None);
}

#[test]
fn names_cells_and_lines_are_told() {
    let keyed = rows_section(
        "layout = \"keyed\"\nat = \"$.days\"\n[rows.fields]\nday = { key = true, type = \"date\" }\n\
         open = { path = \"['1. open']\", type = \"numeric\" }\n",
    );
    let body = r#"{"days":{"2026-01-02":{"1. open":"1.50"},"2026-01-05":{"1. open":"2"}}}"#;
    assert_eq!(
        traced(&keyed, body, 1),
        [
            "day: $.days['2026-01-05'], its name = \"2026-01-05\"",
            "open: $.days['2026-01-05']['1. open'] = \"2\"",
        ]
    );
    let grid = rows_section(
        "layout = \"grid\"\nheader = \"first_row\"\n[rows.fields]\n\
         b = { column = \"b\", type = \"integer\" }\n",
    );
    assert_eq!(traced(&grid, r#"[["a","b"],[1,2],[3,4]]"#, 1), ["b: $[2][1] = 4"]);
    let csv = rows_section(
        "layout = \"csv\"\ncomment = \"#\"\n[rows.fields]\n\
         close = { column = \"Close\", type = \"double\" }\nn = { ordinal = true, type = \"integer\" }\n",
    );
    assert_eq!(
        traced(&csv, "# by us\nDate,Close\nx,1\n\ny,\"2\"\n", 1),
        ["close: line 5, column \"Close\" = 2", "n: line 5 = 2"]
    );
    let lines = rows_section(
        "layout = \"ndjson\"\n[rows.fields]\na = { path = \"a.b\", type = \"integer\" }\n",
    );
    assert_eq!(traced(&lines, "{}\n\n{\"a\":{\"b\":7}}\n", 1), ["a: line 3, $.a.b = 7"]);
}

/// Whatever the row: the path that is told is that of the very value that was extracted.
#[test]
fn every_path_holds_the_value_that_was_extracted() {
    let sections = [
        ("layout = \"columns\"\nat = \"$.d[*]\"\n", "a = { path = \"x\", type = \"bigint\" }\n"),
        ("layout = \"records\"\nat = \"$.r\"\n", "a = { path = \"x.y\", type = \"bigint\" }\n"),
        ("layout = \"records\"\nat = \"$.k.*\"\n", "a = { path = \"x\", type = \"bigint\" }\n"),
    ];
    let body = r#"{"d":[{"x":[1,2]},{"x":[]},{"x":[3,null,5]}],"r":[{"x":{"y":6}},{"x":{"y":"7"}}],
                   "k":{"one 1":{"x":8},"two":{"x":9},"th'ree":{"x":10}}}"#;
    let tree: serde_json::Value = serde_json::from_str(body).unwrap();
    for (head, fields) in sections {
        let rows = rows_section(&format!("{head}[rows.fields]\n{fields}"));
        let (tuples, summary) = extract(&rows, body.as_bytes()).unwrap();
        assert_eq!(summary.rejected, 0);
        let tuples = decode::tuples(&tuples);
        assert!(tuples.len() > 1);
        for (number, tuple) in (0..).zip(&tuples) {
            let extracted = tuple[1].as_ref().map(|bytes| decode::text(FieldType::Bigint, bytes));
            let [told] =
                trace(&rows, body.as_bytes(), number).unwrap().unwrap().try_into().unwrap();
            let path = JsonPath::parse(&told.path).unwrap();
            let there = path.query().query(&tree).exactly_one().unwrap();
            let there = match there {
                serde_json::Value::Null => None,
                serde_json::Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            };
            assert_eq!(there, extracted, "{head} row {number} at {}", told.path);
            let written: serde_json::Value = serde_json::from_str(&told.value.unwrap()).unwrap();
            assert_eq!(&written, path.query().query(&tree).exactly_one().unwrap());
        }
        assert_eq!(trace(&rows, body.as_bytes(), tuples.len() as u64).unwrap(), None);
    }
}
