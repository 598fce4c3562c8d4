//! The outline of a response: small, quiet, and the same for two mornings.

use daymark_extract::{LOOKED_AT, Mapped, Outline, outline};
use daymark_plan::RowsSpec;

fn rows(layout: &str, at: &str, fields: &[&str]) -> RowsSpec {
    let fields: Vec<String> = fields
        .iter()
        .enumerate()
        .map(|(n, path)| format!("f{n} = {{ path = \"{path}\", type = \"jsonb\" }}\n"))
        .collect();
    let at = if at.is_empty() { String::new() } else { format!("at = \"{at}\"\n") };
    let text = format!(
        "id = \"s\"\n[request]\nurl = \"http://localhost/\"\n[rows]\nlayout = \"{layout}\"\n{at}[rows.fields]\n{}",
        fields.concat()
    );
    daymark_plan::read_source("s", std::path::Path::new("."), &text).unwrap().rows
}

fn lines(outline: &Outline) -> String {
    let lines: Vec<String> =
        outline.paths.iter().map(|(path, said)| format!("{path}: {said}\n")).collect();
    lines.concat()
}

#[test]
fn arrays_and_names_that_are_data_are_one_path() {
    let body = br#"{"meta": {"n": 1, "ok": true, "odd name": null}, "daily": {"t": ["a", null, 2], "u": []},
                    "by": {"2026-03-02": {"x": 1}, "2026-03-03": {"x": "y"}}}"#;
    let rows = rows("columns", "$.daily", &["t", "$.meta.n"]);
    let found = outline(&rows, body, true).told(str::to_owned);
    insta::assert_snapshot!(lines(&found), @r#"
    $: object
    $.by: object
    $.by.*: object
    $.by.*.x: number|string 1
    $.daily: object
    $.daily.t: array
    $.daily.t[*]: number|string "a"
    $.daily.u: array
    $.meta: object
    $.meta.n: number 1
    $.meta.ok: boolean true
    $.meta['odd name']: 
    "#);
    assert!(!found.cut);
    let mapped = Mapped::of(&rows);
    let read: Vec<&str> =
        found.entries().map(|(path, ..)| path).filter(|path| mapped.reads(path)).collect();
    assert_eq!(read, ["$.daily.t", "$.daily.t[*]", "$.meta.n"]);
}

#[test]
fn what_follows_long_arrays_and_objects_is_found() {
    // However the rest of them lies over the blocks that are looked at together: brackets in strings, escapes
    // at the end of a block, arrays and objects in one another.
    let elements = [
        "1",
        "12.5",
        r#""a]""#,
        r#""\\""#,
        r#""[\"{""#,
        r#"[1,[2,"]"]]"#,
        r#"{"k":"}","l":[{}]}"#,
        "null",
        r#""\\\"]\\""#,
    ];
    let by_name = rows("keyed", "$.named", &["k"]);
    for space in 0..20 {
        for first in 0..elements.len() {
            let many = |named: bool| {
                let of = (0..40_usize).map(|at| {
                    let element = elements[(first + at * 7) % elements.len()];
                    if named { format!("\"{at}{{\":{element}") } else { element.to_owned() }
                });
                of.collect::<Vec<_>>().join(",")
            };
            let dates: Vec<String> = (10..40)
                .map(|day| {
                    format!("\"20{day}-01-01\":{}", elements[(first + day) % elements.len()])
                })
                .collect();
            let body = format!(
                "{{{}\"list\":[{}],\"named\":{{{}}},\"dates\":{{{},\"word\":true}},\"last\":{{\"x\":1}}}}",
                " ".repeat(space),
                many(false),
                many(true),
                dates.join(","),
            );
            let is_json: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert!(is_json.is_object());
            let found = outline(&by_name, body.as_bytes(), true);
            let paths: Vec<&String> = found.paths.keys().collect();
            for path in ["$.list", "$.named.*", "$.dates.*", "$.dates.word", "$.last.x"] {
                assert!(paths.iter().any(|other| *other == path), "{path} of {body}: {paths:?}");
            }
            assert!(!found.cut);
        }
    }
}

#[test]
fn what_rows_says_is_keyed_is_keyed() {
    let body = br#"{"rates": {"USD": {"v": 1}, "EUR": {"v": 2}}}"#;
    let by_key = rows("keyed", "$.rates", &["v"]);
    let found = outline(&by_key, body, true);
    assert_eq!(
        found.paths.keys().collect::<Vec<_>>(),
        ["$", "$.rates", "$.rates.*", "$.rates.*.v"]
    );
    assert!(Mapped::of(&by_key).reads("$.rates.*.v"));
    let records = rows("records", "$.rates.*", &["v"]);
    assert_eq!(outline(&records, body, true).paths, found.paths);
    assert!(Mapped::of(&records).reads("$.rates.*.v"));
}

#[test]
fn lines_and_tables_have_outlines() {
    let ndjson = rows("ndjson", "", &["a"]);
    let found = outline(&ndjson, b"{\"a\": 1}\n\n{\"a\": null, \"b\": \"x\"}\n", true);
    assert_eq!(lines(&found), "$: object\n$.a: number 1\n$.b: string \"x\"\n");
    assert!(!found.cut);
}

#[test]
fn pages_are_one_response() {
    let rows = rows("records", "", &["a"]);
    let mut all = outline(&rows, br#"[{"a": 1, "b": null}]"#, true);
    all.merge(outline(&rows, br#"[{"a": "x", "b": 2, "c": 3}]"#, true));
    assert_eq!(
        lines(&all),
        "$: array\n$[*]: object\n$[*].a: number|string 1\n$[*].b: number 2\n$[*].c: number 3\n"
    );
}

#[test]
fn examples_are_cut_after_secrets_are_taken_out() {
    let rows = rows("records", "", &["a"]);
    let body = format!("[{{\"a\": \"{}sekret-and-more\"}}]", "x".repeat(20));
    let told = outline(&rows, body.as_bytes(), true).told(|text| text.replace("sekret", "***"));
    assert_eq!(lines(&told), "$: array\n$[*]: object\n$[*].a: string \"xxxxxxxxxxxxxxxxxxxx**…\n");
    let long = format!("[{{\"a\": \"{}\"}}]", "x".repeat(5_000));
    assert!(lines(&outline(&rows, long.as_bytes(), true)).ends_with("$[*].a: string\n"));
}

#[test]
fn only_the_beginning_of_a_body_is_looked_at() {
    let rows = rows("records", "$.rows", &["a"]);
    let body =
        format!("{{\"rows\": [{}{{\"a\": 1}}], \"last\": 1}}", "{\"a\": 1},".repeat(LOOKED_AT / 9));
    let found = outline(&rows, body.as_bytes(), true);
    assert!(found.cut, "{}", lines(&found));
    assert!(!found.paths.contains_key("$.last"));
    // Wherever it is cut nothing is made up, and nothing panics.
    let body = br#"{"a": {"b": [1, "\u00e9", {"c": true}], "d": "text"}, "e": 12}"#;
    let whole = outline(&rows, body, true);
    for end in 0..body.len() {
        let part = outline(&rows, &body[..end], false);
        for (path, types, _) in part.entries() {
            let of_whole = whole.entries().find(|(other, ..)| *other == path);
            let of_whole = of_whole.unwrap_or_else(|| panic!("{path} of {end}")).1;
            assert!(types.iter().all(|word| of_whole.contains(word)), "{path} of {end}");
        }
    }
}

#[test]
#[cfg_attr(
    not(has_shared),
    ignore = "../shared is absent: recorded responses are not in the repository"
)]
fn five_years_of_days_have_one_outline() {
    let folder =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/fixtures/energy-charts-daily");
    let rows = rows("columns", "$", &["unix_seconds", "price"]);
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let shapes: Vec<Vec<(String, Vec<String>)>> = files
        .iter()
        .map(|file| {
            let found = outline(&rows, &std::fs::read(file).unwrap(), true);
            let entries = found.entries();
            entries
                .map(|(path, types, _)| {
                    (path.to_owned(), types.into_iter().map(str::to_owned).collect())
                })
                .collect()
        })
        .collect();
    assert!(shapes.len() > 1_800, "{}", shapes.len());
    for (file, shape) in files.iter().zip(&shapes) {
        assert_eq!(*shape, shapes[0], "{}", file.display());
    }
}
