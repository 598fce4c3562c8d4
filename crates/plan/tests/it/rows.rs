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
    ), @"
    sources/s.toml:6: `rows.at` means nothing in the layout `csv`
        hint: leave it out; it is for `columns`, `records`, `keyed`, `grid`
    sources/s.toml:7: `rows.at_optional` means nothing in the layout `csv`
        hint: leave it out; it is for `columns`, `records`, `keyed`, `grid`
    ");
    insta::assert_snapshot!(wrong(
        "layout = \"records\"\nheader = true\nseparator = \";\"\nseperator = \";\"\n[rows.fields]\na = { path = \"a\", type = \"text\" }\n"
    ), @"
    sources/s.toml:6: `rows.header` means nothing in the layout `records`
        hint: leave it out; it is for `grid`, `csv`
    sources/s.toml:7: `rows.separator` means nothing in the layout `records`
        hint: leave it out; it is for `csv`
    sources/s.toml:8: unknown key `rows.seperator`
        hint: did you mean `separator`? accepted: `layout`, `at`, `at_optional`, `header`, `separator`, `comment`, `quote`, `skip_lines`, `missing`, `decimal`, `grouping`, `fields`
    ");
    insta::assert_snapshot!(wrong(
        "layout = \"tsv\"\nseparator = \",,\"\nquote = \"x\"\nskip_lines = -1\nheader = \"first_row\"\n[rows.fields]\na = { column = 1, type = \"text\" }\n"
    ), @r#"
    sources/s.toml:6: `rows.separator` is a tab in `tsv`
        hint: leave it out, or write `layout = "csv"`
    sources/s.toml:7: `rows.quote` is `x`
        hint: accepted: one ASCII character that is neither letter nor digit, such as `;`
    sources/s.toml:8: `rows.skip_lines` is -1
        hint: accepted: a whole number from 0 to 1000
    sources/s.toml:9: `rows.header` is a string
        hint: accepted: `true` or `false`
    "#);
    insta::assert_snapshot!(wrong(
        "layout = \"csv\"\nseparator = \"#\"\ncomment = \"#\"\n[rows.fields]\na = { column = 1, type = \"text\" }\n"
    ), @"
    sources/s.toml:4: `rows.separator`, `rows.quote` and `rows.comment` must differ
        hint: give each its own character
    ");
    insta::assert_snapshot!(wrong(
        "layout = \"grid\"\nheader = \"first\"\nat = \"a\"\n[rows.fields]\na = { column = 1, type = \"text\" }\n"
    ), @"
    sources/s.toml:6: `rows.header` is `first`
        hint: accepted: `none`, `first_row`, or the path of the names, such as `$.columns`
    sources/s.toml:7: `at` must start at the root, found `a`
        hint: write it from `$`, such as `$.daily`
    ");
    insta::assert_snapshot!(wrong(
        "layout = \"grid\"\nheader = true\n[rows.fields]\na = { column = 1, type = \"text\" }\n"
    ), @"
    sources/s.toml:6: `rows.header` is a boolean
        hint: accepted: a string
    ");
    insta::assert_snapshot!(wrong(
        "layout = \"ndjson\"\nat = \"$.a\"\ndecimal = \"x\"\ngrouping = \"12\"\nmissing = 7\n[rows.fields]\na = { path = \"a\", type = \"text\" }\n"
    ), @"
    sources/s.toml:6: `rows.at` means nothing in the layout `ndjson`
        hint: leave it out; it is for `columns`, `records`, `keyed`, `grid`
    sources/s.toml:7: `decimal` is `x`
        hint: accepted: `.` or `,`
    sources/s.toml:8: `grouping` is `12`
        hint: accepted: one character that is no letter, digit or sign, such as `.`, `,` or ` `
    sources/s.toml:9: `rows.missing` is an integer
        hint: accepted: a string or a list of strings
    ");
}

#[test]
fn places_a_layout_has_not_are_refused() {
    insta::assert_snapshot!(wrong(
        "layout = \"records\"\nat = \"$.a[*]\"\n[rows.fields]\n\
         a = { column = \"a\", type = \"text\" }\nb = { key = true, type = \"text\" }\nc = { key = 4, type = \"text\" }\n\
         d = { path = \"^^^.x\", type = \"text\" }\ne = { path = \"^x\", type = \"text\" }\nf = { path = \"x[*]\", type = \"text\" }\n\
         g = { ordinal = true, type = \"date\" }\nh = { ordinal = false, type = \"integer\" }\ni = { type = \"text\" }\n\
         j = { path = \"x\", key = 2, type = \"text\" }\nk = { key = \"x\", type = \"text\" }\nl = { path = [], type = \"text\" }\n"
    ), @r#"
    sources/s.toml:8: the layout `records` has no columns to name
        hint: say where it is with `path`
    sources/s.toml:9: the rows of `records` have no name of their own
        hint: take `layout = "keyed"`; `key = 2` is the last name of the place
    sources/s.toml:10: `key = 4` is further up than `$.a[*]` has names
        hint: at most 3
    sources/s.toml:11: `^^^.x` climbs above the root, the place is `$.a[*]`
        hint: what the root holds is at `$.name`
    sources/s.toml:12: `^x` is not a path of what holds the place
        hint: such as `^.id` or `^^['name']`
    sources/s.toml:13: `x[*]` may match several values
        hint: a field's path is made of names and indexes only
    sources/s.toml:14: `ordinal` is a whole number
        hint: take `integer` or `bigint`
    sources/s.toml:15: `ordinal` is `false`
        hint: accepted: `true`
    sources/s.toml:16: `rows.fields.i` does not say where its value is
        hint: one of `path = "..."`, `key = true`, `ordinal = true`, `column = "..."`
    sources/s.toml:17: `rows.fields.j` says `path` and `key` at once
        hint: a value is at one of them; a list of paths or columns takes the first there is
    sources/s.toml:18: `key` is not `true`
        hint: accepted: `true`, or a number: 2 is one name further up
    sources/s.toml:19: `rows.fields.l.path` is empty
    "#);
    insta::assert_snapshot!(wrong(
        "layout = \"csv\"\nheader = false\n[rows.fields]\n\
         a = { path = \"a\", type = \"text\" }\nb = { column = \"b\", type = \"text\" }\nc = { column = 0, type = \"text\" }\n\
         d = { key = 2, type = \"text\" }\n"
    ), @r#"
    sources/s.toml:8: a table of text has no paths
        hint: name the column: `column = "Close"`
    sources/s.toml:9: the columns have no names
        hint: number it, from 1, or take `header = true`
    sources/s.toml:10: `rows.fields.c.column` is 0
        hint: accepted: a whole number from 1 to 100000
    sources/s.toml:11: the rows of `csv` have no names
        hint: leave `key` out
    "#);
    insta::assert_snapshot!(wrong(
        "layout = \"grid\"\n[rows.fields]\na = { column = \"a\", type = \"text\" }\nb = { column = true, type = \"text\" }\n"
    ), @r#"
    sources/s.toml:7: the columns have no names
        hint: number it, from 1, or say where the names are: `header = "first_row"`
    sources/s.toml:8: `rows.fields.b.column` is a boolean
        hint: accepted: a string or a list of strings
    "#);
    insta::assert_snapshot!(wrong(
        "layout = \"ndjson\"\n[rows.fields]\na = { path = \"$.a\", type = \"text\" }\nb = { path = \"^.b\", type = \"text\" }\n\
         c = { key = true, type = \"text\" }\nd = { path = \"a[\", type = \"text\" }\n"
    ), @"
    sources/s.toml:7: `$.a` leaves the line, and in `ndjson` each line is a row
        hint: write it relative, such as `user.id`
    sources/s.toml:8: `^.b` leaves the line, and in `ndjson` each line is a row
        hint: write it relative, such as `user.id`
    sources/s.toml:9: the rows of `ndjson` have no names
        hint: leave `key` out
    sources/s.toml:10: `a[` is not a JSON path: parser error at character 2
        hint: RFC 9535, such as `$.daily` or `indicators.quote[0].close`
    ");
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
    ), @r#"
    sources/s.toml:8: `format` is for dates and times, this is `double`
        hint: leave it out, or take `date`, `time`, `timestamp` or `timestamptz`
    sources/s.toml:9: `decimal` is for numbers, this is `text`
        hint: leave it out
    sources/s.toml:10: `YYYY-MM-DD` is no format of `date`: it has no whole date
        hint: a date needs year, month and day; take `text` and make the date in the model
    sources/s.toml:11: `%Y-%m` is no format of `date`: it has no whole date
        hint: a date needs year, month and day; take `text` and make the date in the model
    sources/s.toml:12: `%Y-%m-%d %H:%M` is no format of `timestamptz`: it does not tell an instant
        hint: add the offset (`%z`), or take `timestamp` and say the zone in the model
    sources/s.toml:13: `%I:%M` is no format of `time`: it has no whole time of day
        hint: `strptime`'s words, such as `%d/%m/%Y`, `%Y%m%d` or `%m/%d/%Y %I:%M %p`
    sources/s.toml:14: `%H:%M` is no format of `timestamp`: it has no whole date
        hint: `strptime`'s words, such as `%d/%m/%Y`, `%Y%m%d` or `%m/%d/%Y %I:%M %p`
    sources/s.toml:15: `%d/%m/%K` is no format of `date`: strftime formatting failed: found unrecognized specifier directive `K`
        hint: `strptime`'s words, such as `%d/%m/%Y`, `%Y%m%d` or `%m/%d/%Y %I:%M %p`
    sources/s.toml:16: `decimal` and `grouping` are both `,`
        hint: such as `decimal = ","` with `grouping = "."`
    sources/s.toml:17: `rows.fields.j.format` is an integer
        hint: accepted: a string
    "#);
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
    ] {
        let rows = rows(&format!(
            "layout = \"records\"\n[rows.fields]\na = {{ path = \"a\", type = \"{kind}\", format = \"{format}\" }}\n"
        ));
        assert_eq!(rows.fields[0].reading.format.as_deref(), Some(format));
    }
}
