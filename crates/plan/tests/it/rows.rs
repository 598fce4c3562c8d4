//! The `[rows]` section: what it takes, and every misuse with its line and what to do.

use daymark_plan::{
    ColumnRef, CsvFormat, Environment, Field, FieldPlace, GridHeader, Layout, RowsSpec, load,
};

use super::{SETTINGS, folder, problems};

fn source(rows: &str) -> String {
    format!("id = \"s\"\n[request]\nurl = \"http://localhost/\"\n[rows]\n{rows}")
}

/// The section as it is read.
fn rows(text: &str) -> RowsSpec {
    let source = source(text);
    let folder = folder(&[("daymark.toml", SETTINGS), ("sources/s.toml", &source)]);
    load(folder.path(), &Environment::default()).unwrap().sources[0].rows.clone()
}

/// The problems of a section, whose first line is line 5.
fn wrong(text: &str) -> String {
    problems(&[("daymark.toml", SETTINGS), ("sources/s.toml", &source(text))])
}

fn field<'r>(rows: &'r RowsSpec, name: &str) -> &'r Field {
    rows.fields.iter().find(|field| field.name == name).unwrap()
}

#[test]
fn every_layout_has_its_options() {
    let keyed = rows(
        "layout = \"keyed\"\nat = \"$.rates.*\"\nat_optional = true\n[rows.fields]\n\
         day = { key = 2, type = \"date\" }\ncurrency = { key = true, type = \"text\" }\n\
         rate = { path = \"@\", type = \"numeric\" }\nbase = { path = \"^^.base\", type = \"text\" }\n\
         n = { ordinal = true, type = \"integer\" }\n",
    );
    assert_eq!((keyed.layout, keyed.at_optional), (Layout::Keyed, true));
    let places: Vec<String> =
        keyed.fields.iter().map(|field| field.places[0].to_string()).collect();
    assert_eq!(places, ["key 2", "key 1", "@", "^^.base", "ordinal"]);
    assert!(matches!(keyed.fields[3].places[0], FieldPlace::Above { levels: 2, .. }));

    let csv = rows(
        "layout = \"csv\"\nseparator = \";\"\nquote = \"'\"\ncomment = \"#\"\nskip_lines = 3\n\
         missing = [\".\", \"NA\"]\ndecimal = \",\"\ngrouping = \".\"\n[rows.fields]\n\
         day = { column = [\"Date\", \"Day\"], type = \"date\", format = \"%d/%m/%Y\" }\n\
         close = { column = 5, type = \"numeric\", missing = \"n/a\", grouping = \" \" }\n",
    );
    assert_eq!(
        csv.csv,
        CsvFormat {
            separator: b';',
            quote: Some(b'\''),
            comment: Some(b'#'),
            header: true,
            skip_lines: 3
        }
    );
    let day = field(&csv, "day");
    assert_eq!(day.places.len(), 2);
    assert_eq!(day.reading.format.as_deref(), Some("%d/%m/%Y"));
    assert_eq!(day.reading.missing, [".", "NA"]);
    let close = field(&csv, "close");
    assert!(matches!(close.places[0], FieldPlace::Column(ColumnRef::Position(5))));
    assert_eq!(close.reading.missing, ["n/a"]);
    assert_eq!((close.reading.decimal, close.reading.grouping), (',', Some(' ')));

    let plain = "[rows.fields]\na = { column = 1, type = \"text\" }\n";
    let tsv = rows(&format!("layout = \"tsv\"\nheader = false\nquote = \"\"\n{plain}"));
    assert_eq!((tsv.layout, tsv.csv.separator), (Layout::Csv, b'\t'));
    assert_eq!((tsv.csv.header, tsv.csv.quote), (false, None));
    for (header, shown) in
        [("", "None"), ("header = \"none\"\n", "None"), ("header = \"first_row\"\n", "FirstRow")]
    {
        let grid = rows(&format!("layout = \"grid\"\n{header}{plain}"));
        assert_eq!(format!("{:?}", grid.grid), shown);
    }
    let grid = rows(&format!("layout = \"grid\"\nheader = \"$.columns[*].name\"\n{plain}"));
    assert!(matches!(grid.grid, GridHeader::At(path) if path.text() == "$.columns[*].name"));
    let lines =
        rows("layout = \"ndjson\"\n[rows.fields]\na = { path = \"a.b\", type = \"text\" }\n");
    assert_eq!(lines.layout, Layout::Ndjson);
}

#[test]
fn options_of_other_layouts_are_refused() {
    insta::assert_snapshot!(wrong(
        "layout = \"csv\"\nat = \"$.a\"\nat_optional = true\n[rows.fields]\na = { column = \"a\", type = \"text\" }\n"
    ), @"");
    insta::assert_snapshot!(wrong(
        "layout = \"records\"\nheader = true\nseparator = \";\"\nseperator = \";\"\n[rows.fields]\na = { path = \"a\", type = \"text\" }\n"
    ), @"");
    insta::assert_snapshot!(wrong(
        "layout = \"tsv\"\nseparator = \",,\"\nquote = \"x\"\nskip_lines = -1\nheader = \"first_row\"\n[rows.fields]\na = { column = 1, type = \"text\" }\n"
    ), @"");
    insta::assert_snapshot!(wrong(
        "layout = \"csv\"\nseparator = \"#\"\ncomment = \"#\"\n[rows.fields]\na = { column = 1, type = \"text\" }\n"
    ), @"");
    insta::assert_snapshot!(wrong(
        "layout = \"grid\"\nheader = \"first\"\nat = \"a\"\n[rows.fields]\na = { column = 1, type = \"text\" }\n"
    ), @"");
    insta::assert_snapshot!(wrong(
        "layout = \"grid\"\nheader = true\n[rows.fields]\na = { column = 1, type = \"text\" }\n"
    ), @"");
    insta::assert_snapshot!(wrong(
        "layout = \"ndjson\"\nat = \"$.a\"\ndecimal = \"x\"\ngrouping = \"12\"\nmissing = 7\n[rows.fields]\na = { path = \"a\", type = \"text\" }\n"
    ), @"");
}

#[test]
fn places_a_layout_has_not_are_refused() {
    insta::assert_snapshot!(wrong(
        "layout = \"records\"\nat = \"$.a[*]\"\n[rows.fields]\n\
         a = { column = \"a\", type = \"text\" }\nb = { key = true, type = \"text\" }\nc = { key = 4, type = \"text\" }\n\
         d = { path = \"^^^.x\", type = \"text\" }\ne = { path = \"^x\", type = \"text\" }\nf = { path = \"x[*]\", type = \"text\" }\n\
         g = { ordinal = true, type = \"date\" }\nh = { ordinal = false, type = \"integer\" }\ni = { type = \"text\" }\n\
         j = { path = \"x\", key = 2, type = \"text\" }\nk = { key = \"x\", type = \"text\" }\nl = { path = [], type = \"text\" }\n"
    ), @"");
    insta::assert_snapshot!(wrong(
        "layout = \"csv\"\nheader = false\n[rows.fields]\n\
         a = { path = \"a\", type = \"text\" }\nb = { column = \"b\", type = \"text\" }\nc = { column = 0, type = \"text\" }\n\
         d = { key = 2, type = \"text\" }\n"
    ), @"");
    insta::assert_snapshot!(wrong(
        "layout = \"grid\"\n[rows.fields]\na = { column = \"a\", type = \"text\" }\nb = { column = true, type = \"text\" }\n"
    ), @"");
    insta::assert_snapshot!(wrong(
        "layout = \"ndjson\"\n[rows.fields]\na = { path = \"$.a\", type = \"text\" }\nb = { path = \"^.b\", type = \"text\" }\n\
         c = { key = true, type = \"text\" }\nd = { path = \"a[\", type = \"text\" }\n"
    ), @"");
}

#[test]
fn texts_are_read_as_their_type_allows() {
    insta::assert_snapshot!(wrong(
        "layout = \"records\"\ndecimal = \",\"\n[rows.fields]\n\
         a = { path = \"a\", type = \"double\", format = \"%Y\" }\nb = { path = \"b\", type = \"text\", decimal = \".\" }\n\
         c = { path = \"c\", type = \"date\", format = \"YYYY-MM-DD\" }\nd = { path = \"d\", type = \"date\", format = \"%Y-%m\" }\n\
         e = { path = \"e\", type = \"timestamptz\", format = \"%Y-%m-%d %H:%M\" }\nf = { path = \"f\", type = \"time\", format = \"%I:%M\" }\n\
         g = { path = \"g\", type = \"timestamp\", format = \"%H:%M\" }\nh = { path = \"h\", type = \"date\", format = \"%d/%m/%K\" }\n\
         i = { path = \"i\", type = \"numeric\", grouping = \",\" }\nj = { path = \"j\", type = \"date\", format = 7 }\n"
    ), @"");
    for (kind, format) in [
        ("date", "%d/%m/%Y"),
        ("date", "%Y%m%d"),
        ("date", "%b %d, %Y"),
        ("date", "%d-%b-%y"),
        ("date", "%A %d %B %Y"),
        ("time", "%I:%M %p"),
        ("time", "%H%M"),
        ("timestamp", "%Y-%m-%dT%H:%M:%S%.f"),
        ("timestamp", "%m/%d/%Y"),
        ("timestamptz", "%a, %d %b %Y %H:%M:%S %z"),
        ("timestamptz", "%Y-%m-%d %H:%M:%S%:z"),
        ("timestamptz", "%s"),
        ("timestamptz", "%Y-%m-%dT%H:%M:%S[%Q]"),
    ] {
        let rows = rows(&format!(
            "layout = \"records\"\n[rows.fields]\na = {{ path = \"a\", type = \"{kind}\", format = \"{format}\" }}\n"
        ));
        assert_eq!(rows.fields[0].reading.format.as_deref(), Some(format));
    }
}
