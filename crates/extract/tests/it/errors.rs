//! Every error text, and where the error is.

use daymark_extract::{RowContext, matches_value, open};
use daymark_plan::{FieldType, JsonPath, Layout};

use crate::{extract, spec};

/// The text of the error a body ends in, read as daily columns.
fn error(body: impl AsRef<[u8]>) -> String {
    let rows = spec(
        Layout::Columns,
        "$.daily",
        &[("date", "time", FieldType::Date), ("high", "t|$.t", FieldType::Double)],
    );
    extract(&rows, body.as_ref()).unwrap_err().to_string()
}

#[test]
fn bodies_that_are_not_json() {
    insta::assert_snapshot!(error(""), @"the body is empty");
    insta::assert_snapshot!(error("\u{feff} \r\n"), @"the body is empty");
    insta::assert_snapshot!(
        error("\n<!DOCTYPE html>\n<title>Will be right back</title>"),
        @"the body is not JSON: it looks like HTML, it starts with `<!DOCTYPE html> <title>Will be right back</title>`"
    );
    insta::assert_snapshot!(
        error("Edge: Too Many Requests"),
        @"the body is not whole JSON: expected value at line 1 column 1 (byte 0), found `Edge: Too Many Requests`"
    );
    insta::assert_snapshot!(
        error(b"{\"a\":\n \"\xc3\xa9\xff\"}"),
        @"the body is not UTF-8 at line 2 column 4 (byte 10)"
    );
    insta::assert_snapshot!(
        error("{\"a\": NaN}"),
        @"the body is not whole JSON: expected value at line 1 column 7 (byte 6), found `NaN}`"
    );
    insta::assert_snapshot!(
        error("{\"a\": -Infinity}"),
        @"the body is not whole JSON: invalid number at line 1 column 8 (byte 7), found `Infinity}`"
    );
}

#[test]
fn bodies_that_are_cut_or_go_on() {
    insta::assert_snapshot!(
        error("{\"daily\":{\"time\":[\"2026-01-01\""),
        @"the body is not whole JSON: it ends inside a list at line 1 column 31 (byte 30)"
    );
    insta::assert_snapshot!(
        error("{\"daily\":{\"time\":[\"2026-01-0"),
        @"the body is not whole JSON: it ends inside a string at line 1 column 29 (byte 28)"
    );
    insta::assert_snapshot!(
        error("{\"daily\":{\"time\":[1.5,2.5Unexpected error while streaming data: it broke, and here is a long story of how and why"),
        @"the body is not whole JSON: expected `,` or `]` at line 1 column 26 (byte 25), found `Unexpected error while streaming data: it broke, and here is a long story of ho…`"
    );
    insta::assert_snapshot!(
        error("\u{feff}{\"a\":1}\n é,\nUnexpected error"),
        @"the body goes on after the end of its JSON at line 2 column 2 (byte 12), found `é, Unexpected error`"
    );
}

#[test]
fn nesting_beyond_the_limit_ends_in_an_error_and_not_in_a_crash() {
    let deep = |depth: usize| format!("{{\"a\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
    insta::assert_snapshot!(
        error(deep(100_000)),
        @"the body nests arrays and objects more than 127 deep at line 1 column 132 (byte 131)"
    );
    // At the limit the paths with wildcards work too: serde_json takes the same depth.
    let everything = JsonPath::parse("$..x").unwrap();
    assert_eq!(matches_value(&everything, deep(126).as_bytes()), Ok(false));
    assert!(matches_value(&everything, deep(127).as_bytes()).is_err());
    insta::assert_snapshot!(
        error("[".repeat(100_000)),
        @"the body is not whole JSON: it ends inside a list at line 1 column 100001 (byte 100000)"
    );
}

#[test]
fn fields_that_are_not_there() {
    insta::assert_snapshot!(error("{\"error\":true}"), @"the body has nothing at `$.daily`");
    insta::assert_snapshot!(
        error("{\"daily\":{\"time\":[]}}"),
        @"the field `high` is missing: nothing at `$.daily.t` or `$.t`"
    );
    insta::assert_snapshot!(
        error("{\"daily\":{}}"),
        @"the field `date` is missing: nothing at `$.daily.time`"
    );
    insta::assert_snapshot!(
        error("{\"daily\":{\"time\":[\"2026-01-01\",\"2026-01-02\"],\"t\":[1.5]}}"),
        @"the arrays of `$.daily` differ in length: `date` has 2, `high` has 1"
    );
}

#[test]
fn records_that_are_not_there() {
    let rows = spec(
        Layout::Records,
        "$.items",
        &[("v", "v", FieldType::Text), ("u", "$.u", FieldType::Text)],
    );
    let error = |body: &str| extract(&rows, body.as_bytes()).unwrap_err().to_string();
    insta::assert_snapshot!(
        error("{\"items\":7,\"u\":1}"),
        @"`$.items` holds a number, but the layout `records` wants an array of objects"
    );
    insta::assert_snapshot!(
        error("{\"items\":[]}"),
        @"the field `u` is missing: nothing at `$.u`"
    );
}

#[test]
fn sections_that_cannot_be_followed() {
    let rows = spec(Layout::Columns, "$", &[("x", "a[*]", FieldType::Text)]);
    insta::assert_snapshot!(
        extract(&rows, b"{}").unwrap_err(),
        @"the path `a[*]` of the field `x` may match several values: it must be made of names and indexes only"
    );
    let wide = vec![("x", "x", FieldType::Text); 1596];
    let rows = spec(Layout::Columns, "$", &wide);
    insta::assert_snapshot!(
        open(&rows, b"{}", RowContext::default()).unwrap_err(),
        @"the source maps 1596 fields, more than the 1595 that fit a table"
    );
    let rows = spec(Layout::Columns, "$[?@.x]", &[("x", "x", FieldType::Text)]);
    insta::assert_snapshot!(
        extract(&rows, b"[{\"x\":1e999}]").unwrap_err(),
        @"`$[?@.x]` cannot be looked up in the body: number out of range at line 1 column 11"
    );
}

#[test]
fn expectations_are_answered_for_null_and_for_both_orders_of_keys() {
    let matches = |path: &str, body: &str| {
        matches_value(&JsonPath::parse(path).unwrap(), body.as_bytes()).unwrap()
    };
    assert!(matches("$.error", "{\"error\":true,\"reason\":\"no\"}"));
    assert!(matches("$.error", "{\"reason\":\"no\",\"error\":true}"));
    assert!(!matches("$.chart.error.code", "{\"chart\":{\"result\":[],\"error\":null}}"));
    assert!(!matches("$.a", "{\"a\":null}"));
    assert!(matches("$.a[*]", "{\"a\":[null,0]}"));
    assert!(!matches("$.a[*]", "{\"a\":[null]}"));
    assert!(matches("$", " 0 "));
}
