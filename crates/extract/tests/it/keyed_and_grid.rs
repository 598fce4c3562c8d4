//! Objects keyed by a value, arrays of arrays, and what is above a place.

use crate::{lines, rows_of, rows_section};

fn read(section: &str, body: &str) -> (Vec<String>, Vec<String>) {
    let (rows, summary) = rows_of(&rows_section(section), body);
    let rejects = summary.rejects.iter().map(ToString::to_string).collect();
    (lines(&rows), rejects)
}

fn refused(section: &str, body: &str) -> String {
    daymark_extract::scan(&rows_section(section), body.as_bytes()).unwrap_err().to_string()
}

#[test]
fn names_are_values_and_the_last_of_two_counts() {
    let section = "layout = \"keyed\"\nat = \"$.days\"\n[rows.fields]\n\
                   day = { key = true, type = \"date\" }\nopen = { path = \"['1. open']\", type = \"numeric\" }\n\
                   n = { ordinal = true, type = \"integer\" }\n";
    let body = r#"{"days":{"2026-01-02":{"1. open":"1.50"},"2026-01-0\u0033":{"1. open":2},
        "soon":{"1. open":3},"2026-01-02":{"1. open":"4"},"2026-01-05":{"1. open":"x"},"2026-01-06":null}}"#;
    let (found, rejects) = read(section, body);
    assert_eq!(found, ["2026-01-03 2 1", "2026-01-02 4 3"]);
    assert_eq!(
        rejects,
        [
            "row 1, `day` at `$.days.soon, its name`: `\"soon\"`: expected a date `YYYY-MM-DD`",
            "row 3, `open` at `$.days['2026-01-05']['1. open']`: `\"x\"`: expected a number, found other text",
            "row 4, `open` at `$.days['2026-01-06']['1. open']`: missing",
        ]
    );
    assert_eq!(
        refused(section, "{\"days\":[1]}"),
        "`$.days` holds an array, but the layout `keyed` wants an object"
    );
    assert_eq!(read(section, "{\"days\":{}}").0, Vec::<String>::new());
}

#[test]
fn names_further_up_are_values_in_every_layout() {
    let body = r#"{"rates":{"2026-01-01":{"EUR":[1,2]},"2026-01-02":{"CHF":[3],"USD":[]}}}"#;
    let keyed = "layout = \"keyed\"\nat = \"$.rates.*\"\n[rows.fields]\nday = { key = 2, type = \"date\" }\n\
                 currency = { key = 1, type = \"text\" }\nfirst = { path = \"[0]\", type = \"integer\", optional = true }\n\
                 what = { key = 3, type = \"text\" }\n";
    assert_eq!(
        read(keyed, body).0,
        ["2026-01-01 EUR 1 rates", "2026-01-02 CHF 3 rates", "2026-01-02 USD - rates"]
    );
    let columns = "layout = \"columns\"\nat = \"$.rates.*.*\"\n[rows.fields]\nday = { key = 3, type = \"date\" }\n\
                   currency = { key = 2, type = \"text\" }\nrate = { path = \"@\", type = \"integer\" }\n";
    assert_eq!(read(columns, body).0, ["2026-01-01 EUR 1", "2026-01-01 EUR 2", "2026-01-02 CHF 3"]);
    // An index is no name: further up than there are names, there is none.
    let listed =
        "layout = \"records\"\nat = \"$[*]\"\n[rows.fields]\nname = { key = 2, type = \"text\" }\n";
    assert_eq!(read(listed, "{\"x\":{}}").0, ["x"]);
    assert_eq!(read(listed, "[{}]").1, ["row 0, `name` at `$[0], name 1 from its end`: missing"]);
}

#[test]
fn what_is_above_a_place_repeats_on_its_rows() {
    let body = r#"{"v":7,"regions":[
        {"id":"a","stations":[{"id":1,"readings":[{"t":1},{"t":2}]},{"id":2,"readings":[]}]},
        {"stations":[{"id":3,"readings":[{"t":3}]}]},
        {"id":"c","stations":[{"readings":[{"t":4}]},{"id":"x","readings":[{"t":5}]}]}]}"#;
    for at in
        ["$.regions[*].stations[*].readings", "$.regions[0:].stations[*].readings", "$..readings"]
    {
        let section = format!(
            "layout = \"records\"\nat = \"{at}\"\n[rows.fields]\n\
             region = {{ path = \"^^^.id\", type = \"text\", optional = true }}\n\
             station = {{ path = [\"^.id\", \"$.v\"], type = \"integer\" }}\nt = {{ path = \"t\", type = \"integer\" }}\n"
        );
        let (found, rejects) = read(&section, body);
        assert_eq!(found, ["a 1 1", "a 1 2", "- 3 3", "c 7 4"], "{at}");
        assert_eq!(
            rejects,
            [
                "row 4, `station` at `$.regions[2].stations[1].id`: `\"x\"`: expected a whole number, found other text"
            ]
        );
    }
    // An array above a place of columns is a column too.
    let columns = "layout = \"columns\"\nat = \"$[*].daily\"\n[rows.fields]\n\
                   day = { path = \"^.days\", type = \"date\" }\nt = { path = \"t\", type = \"integer\" }\n";
    let body = r#"[{"days":["2026-01-01","2026-01-02"],"daily":{"t":[1,2]}},{"days":[],"daily":{"t":[]}}]"#;
    assert_eq!(read(columns, body).0, ["2026-01-01 1", "2026-01-02 2"]);
}

#[test]
fn a_place_may_be_null_or_absent() {
    for layout in ["columns", "records", "keyed", "grid"] {
        let field = if layout == "grid" { "column = 1" } else { "path = \"x\"" };
        let section = |optional: &str| {
            format!(
                "layout = \"{layout}\"\nat = \"$.a\"\n{optional}[rows.fields]\nx = {{ {field}, type = \"text\" }}\n"
            )
        };
        assert_eq!(read(&section(""), "{\"a\":null}"), (Vec::new(), Vec::new()));
        assert_eq!(refused(&section(""), "{}"), "the body has nothing at `$.a`");
        assert_eq!(read(&section("at_optional = true\n"), "{}"), (Vec::new(), Vec::new()));
    }
}

const NUMBERED: &str = "layout = \"grid\"\nat = \"$.bars\"\n[rows.fields]\n\
    at = { column = 1, type = \"epoch_milliseconds\" }\nclose = { column = 3, type = \"numeric\" }\n\
    kind = { column = 4, type = \"text\", optional = true }\nfirst = { path = \"[1].x\", type = \"integer\", optional = true }\n\
    pair = { path = \"$.pair\", type = \"text\" }\n";

#[test]
fn grids_may_be_numbered() {
    let body =
        r#"{"pair":"p","bars":[[1000,{"x":5},"1.50","k"],[2000,0,2],[3000,0],7,["x",0,1],[]]}"#;
    let (found, rejects) = read(NUMBERED, body);
    assert_eq!(found, ["1970-01-01T00:00:01Z 1.50 k 5 p", "1970-01-01T00:00:02Z 2 - - p"]);
    assert_eq!(
        rejects,
        [
            "row 2, `close` at `$.bars[2][2]`: missing",
            "row 3, `` at `$.bars[3]`: `7`: expected an array, found a number",
            "row 4, `at` at `$.bars[4][0]`: `\"x\"`: expected a number, found other text",
            "row 5, `at` at `$.bars[5][0]`: missing",
        ]
    );
    assert_eq!(
        refused(NUMBERED, "{\"pair\":\"p\",\"bars\":{\"a\":1}}"),
        "`$.bars` holds an object, but the layout `grid` wants an array of arrays"
    );
    assert_eq!(
        refused(NUMBERED, "{\"bars\":[]}"),
        "the field `pair` is missing: nothing at `$.pair`"
    );
}

#[test]
fn grids_may_be_named_by_their_first_row() {
    let section = "layout = \"grid\"\nat = \"$[*]\"\nheader = \"first_row\"\n[rows.fields]\n\
                   name = { column = [\"title\", \"NAME\"], type = \"text\" }\nstate = { column = \"state\", type = \"text\" }\n\
                   area = { column = \"area\", type = \"text\", optional = true }\nn = { ordinal = true, type = \"integer\" }\n";
    // Each place has its own header.
    let body = r#"[[["NAME","state"],["Alabama","01"],["Alaska"],["x","y","z"]],[],[["state","area","title"],["02",7,"A"]]]"#;
    let (found, rejects) = read(section, body);
    assert_eq!(found, ["Alabama 01 - 1", "A 02 7 1"]);
    assert_eq!(
        rejects,
        [
            "row 1, `` at `$[0][2]`: `[\"Alaska\"]`: expected 2 cells, found 1",
            "row 2, `` at `$[0][3]`: `[\"x\",\"y\",\"z\"]`: expected 2 cells, found 3",
        ]
    );
    assert_eq!(
        refused(section, r#"[[["NAME","state"]],[["name","state"],["a","b"]]]"#),
        "the field `name` is missing: no column `title` or `NAME` in the header `name, state`"
    );
    assert_eq!(
        refused(section, r#"[[["NAME","state","state"]]]"#),
        "the header has `state` twice: `NAME, state, state`"
    );
    assert_eq!(
        refused(section, r#"[[["NAME",7]]]"#),
        "`$[0][0]` holds `7` where the names of the columns should be"
    );
    assert_eq!(
        refused(section, r#"[[{"NAME":"x"}]]"#),
        "`$[0][0]` holds an object where the names of the columns should be"
    );
}

#[test]
fn grids_may_be_named_from_elsewhere() {
    for (path, columns) in [
        ("$.meta.columns", r#"["id","v"]"#),
        ("$.meta.columns[*].name", r#"[{"name":"id"},{"name":"v"}]"#),
    ] {
        let section = format!(
            "layout = \"grid\"\nat = \"$.data\"\nheader = \"{path}\"\n[rows.fields]\n\
             v = {{ column = \"v\", type = \"integer\" }}\nid = {{ column = 1, type = \"text\" }}\n"
        );
        let body = format!("{{\"meta\":{{\"columns\":{columns}}},\"data\":[[\"a\",1],[\"b\",2]]}}");
        assert_eq!(read(&section, &body), (vec!["1 a".into(), "2 b".into()], Vec::new()));
        assert_eq!(refused(&section, "{\"data\":[]}"), format!("the body has nothing at `{path}`"));
    }
}
