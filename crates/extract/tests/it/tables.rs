//! Tables of text and lines of JSON: which rows they have, and what they are refused for.

use crate::{lines, rows_of, rows_section};

/// The rows of a table with a text `a` and a number `b`, and its rejects.
fn rows(options: &str, body: &str) -> (Vec<String>, Vec<String>) {
    let section = format!(
        "layout = \"csv\"\n{options}\n[rows.fields]\na = {{ column = \"a\", type = \"text\" }}\n\
         b = {{ column = \"b\", type = \"numeric\" }}\n"
    );
    read(&section, body)
}

fn read(section: &str, body: &str) -> (Vec<String>, Vec<String>) {
    let (rows, summary) = rows_of(&rows_section(section), body);
    let rejects = summary.rejects.iter().map(ToString::to_string).collect();
    (lines(&rows), rejects)
}

fn refused(section: &str, body: &[u8]) -> String {
    daymark_extract::scan(&rows_section(section), body).unwrap_err().to_string()
}

const AB: &str = "layout = \"csv\"\n[rows.fields]\na = { column = \"a\", type = \"text\" }\n\
                  b = { column = [\"B\", \"b\"], type = \"numeric\" }\n";

const NO_REJECTS: Vec<String> = Vec::new();

#[test]
fn marks_line_ends_quotes_and_spaces_are_taken() {
    let body = "\u{feff} b ,a\r\n1.50,\"x, \"\"y\"\"\r\nz\"\r\n\r\n , é \n-2,\"\"\r3,";
    let (found, rejects) = rows("", body);
    // A quoted empty text is a text; an empty cell is null; a cell of spaces is neither.
    assert_eq!(found, ["x, \"y\"\r\nz 1.50", " -2", "- 3"]);
    assert_eq!(
        rejects,
        ["row 1, `b` at `line 5, column \"b\"`: ` `: expected a number, found other text"]
    );
}

#[test]
fn separators_comments_quotes_and_lines_before_are_said() {
    let body = "Title; of the table\n# made today\na;b\n# between\n'x;''y';1\nz;2\n";
    let options = "separator = \";\"\ncomment = \"#\"\nquote = \"'\"\nskip_lines = 1";
    assert_eq!(rows(options, body), (vec!["x;'y 1".into(), "z 2".into()], NO_REJECTS));
    let tsv = AB.replace("\"csv\"", "\"tsv\"");
    assert_eq!(read(&tsv, "a\tb\n\"x\ty\"\t1\n"), (vec!["x\ty 1".into()], NO_REJECTS));
    assert_eq!(rows("quote = \"\"", "a,b\n\"x,1\n"), (vec!["\"x 1".into()], NO_REJECTS));
}

#[test]
fn words_mean_null_and_numbers_are_written_as_people_do() {
    let options = "missing = [\".\", \"NA\"]\nseparator = \";\"\ndecimal = \",\"\ngrouping = \".\"";
    let (found, rejects) = rows(options, "a;b\nNA;.\n\".\";1.234,50\nx; 7 \ny;1.5\nz;1,5,5\n");
    assert_eq!(found, ["- -", "- 1234.50", "x 7"]);
    assert_eq!(
        rejects,
        [
            "row 3, `b` at `line 5, column \"b\"`: `1.5`: expected a number, found other text",
            "row 4, `b` at `line 6, column \"b\"`: `1,5,5`: expected a number, found other text",
        ]
    );
}

#[test]
fn ragged_and_garbled_records_are_set_aside_with_their_line() {
    let body = "a,b\nx,1\ny\nz,2,3\n\"p\"q,4\n\"two\nlines\",5\n,,\nlast,6";
    let (found, rejects) = rows("", body);
    assert_eq!(found, ["x 1", "two\nlines 5", "last 6"]);
    assert_eq!(
        rejects,
        [
            "row 1, `` at `line 3`: `y`: expected 2 cells, found 1",
            "row 2, `` at `line 4`: `z,2,3`: expected 2 cells, found 3",
            "row 3, `` at `line 5`: `\"p\"q,4`: text stands behind a closing quote",
            "row 5, `` at `line 8`: `,,`: expected 2 cells, found 3",
        ]
    );
}

#[test]
fn columns_may_be_numbered_and_a_table_may_have_no_header() {
    let section = "layout = \"csv\"\nheader = false\n[rows.fields]\nn = { ordinal = true, type = \"integer\" }\n\
                   b = { column = 2, type = \"integer\" }\nc = { column = 3, type = \"text\", optional = true }\n";
    let (found, rejects) = read(section, "x,1\ny,z\nw,3\n");
    assert_eq!(found, ["1 1 -", "3 3 -"]);
    assert_eq!(
        rejects,
        ["row 1, `b` at `line 2, column 2`: `z`: expected a whole number, found other text"]
    );
    insta::assert_snapshot!(
        refused(section, b"No data"),
        @"the field `b` is missing: no column 2 in the first line `No data`"
    );
    assert_eq!(read(AB, "a,b\n"), (Vec::new(), NO_REJECTS));
}

#[test]
fn a_body_that_is_not_the_table_is_refused_in_its_own_words() {
    insta::assert_snapshot!(
        refused(AB, b"Exceeded the daily hits limit\n"),
        @"the field `a` is missing: no column `a` in the header `Exceeded the daily hits limit`"
    );
    insta::assert_snapshot!(
        refused(AB, b"Date,a,Close\n1,2,3\n"),
        @"the field `b` is missing: no column `B` or `b` in the header `Date,a,Close`"
    );
    insta::assert_snapshot!(
        refused(AB, b"{\"error\":\"no such series\"}"),
        @"the field `a` is missing: no column `a` in the header `{\"error\":\"no such series\"}`"
    );
    insta::assert_snapshot!(
        refused(AB, b"\n<html>busy</html>"),
        @"the body is not CSV: it looks like HTML, it starts with `<html>busy</html>`"
    );
    insta::assert_snapshot!(
        refused(AB, b"a,b,a\n1,2,3\n"),
        @"the header has `a` twice: `a,b,a`"
    );
    insta::assert_snapshot!(
        refused(AB, "\u{feff}a,b\né,\"1\nx,2\n".as_bytes()),
        @"the quote at line 2 column 3 (byte 10) is never closed"
    );
    insta::assert_snapshot!(refused(AB, b"\r\n \r\n"), @"the body is empty");
    insta::assert_snapshot!(refused(AB, b"a,b\n\xff,1"), @"the body is not UTF-8 at line 2 column 1 (byte 4)");
}

#[test]
fn cells_are_of_every_type() {
    let section = r#"
layout = "csv"
[rows.fields]
day    = { column = "day", type = "date", format = "%d/%m/%Y" }
at     = { column = "at", type = "timestamptz", format = "%m/%d/%Y %I:%M %p %z" }
clock  = { column = "clock", type = "time", format = "%H%M" }
local  = { column = "local", type = "timestamp", format = "%d.%m.%y %H:%M:%S%.f" }
seen   = { column = "seen", type = "epoch_seconds" }
yes    = { column = "yes", type = "boolean" }
json   = { column = "json", type = "jsonb" }
"#;
    let header = "day,at,clock,local,seen,yes,json\n";
    let good = "31/12/2025,03/08/2026 02:30 PM -0500,0930,01.02.99 03:04:05.25,1.5,TRUE,\"{\"\"a\"\": 1}\"\n";
    let (found, rejects) = read(section, &format!("{header}{good}"));
    assert_eq!(rejects, NO_REJECTS);
    assert_eq!(
        found,
        [
            "2025-12-31 2026-03-08T19:30:00Z 09:30:00 1999-02-01T03:04:05.25 1970-01-01T00:00:01.5Z true {\"a\": 1}"
        ]
    );
    for (column, cell, reason) in [
        (0, "31/02/2025", "not written as `%d/%m/%Y`"),
        (0, "2025-12-31", "not written as `%d/%m/%Y`"),
        (0, "31/12/2025 ", "not written as `%d/%m/%Y`"),
        (1, "03/08/2026 02:30 PM", "not written as `%m/%d/%Y %I:%M %p %z`"),
        (2, "2460", "not written as `%H%M`"),
        (3, "01.02.99 03:04:05.1234567", "finer than a microsecond"),
        (5, "1", "expected a boolean, found other text"),
        (6, "{", "expected JSON"),
    ] {
        let mut cells: Vec<String> = vec![String::new(); 7];
        cell.clone_into(&mut cells[column]);
        let (found, rejects) = read(section, &format!("{header}{}\n", cells.join(",")));
        assert_eq!(found, NO_REJECTS);
        assert!(rejects[0].ends_with(&format!(": {reason}")), "{cell}: {}", rejects[0]);
    }
}

#[test]
fn digits_alone_are_dates_where_a_format_says_so() {
    let section = "layout = \"records\"\nmissing = \"n/a\"\n[rows.fields]\n\
                   day = { path = \"d\", type = \"date\", format = \"%Y%m%d\" }\n";
    let (found, rejects) =
        read(section, "[{\"d\":20240229},{\"d\":\"20240301\"},{\"d\":\"n/a\"},{\"d\":1.5}]");
    assert_eq!(found, ["2024-02-29", "2024-03-01", "-"]);
    assert_eq!(rejects, ["row 3, `day` at `$[3].d`: `1.5`: not written as `%Y%m%d`"]);
}

#[test]
fn each_line_of_json_is_a_row() {
    let section = "layout = \"ndjson\"\n[rows.fields]\nid = { path = \"user.id\", type = \"integer\" }\n\
                   n = { ordinal = true, type = \"integer\" }\n";
    let body = "\u{feff}{\"user\":{\"id\":1}}\r\n\n  \n{\"user\":{\"id\":\"2\"}}\n[]\n{\"user\":{\"id\":\"x\"}}\n{}\n{\"user\":{\"id\":5}}";
    let (found, rejects) = read(section, body);
    assert_eq!(found, ["1 1", "2 2", "5 6"]);
    assert_eq!(
        rejects,
        [
            "row 2, `` at `line 5`: `[]`: expected an object, found an array",
            "row 3, `id` at `line 6, $.user.id`: `\"x\"`: expected a whole number, found other text",
            "row 4, `id` at `line 7, $.user.id`: missing",
        ]
    );
    insta::assert_snapshot!(
        refused(section, b"{\"user\":{\"id\":1}}\n\n {\"user\":{\"id\":"),
        @"the body is not whole JSON: it ends inside a value at line 3 column 16 (byte 34)"
    );
    insta::assert_snapshot!(
        refused(section, b"{\"user\":{\"id\":1}}\n{} {}\n"),
        @"the body goes on after the end of its JSON at line 2 column 4 (byte 21), found `{}`"
    );
    insta::assert_snapshot!(refused(section, b"\n \n"), @"the body is empty");
}
