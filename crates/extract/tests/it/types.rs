//! Every type: what it takes, exactly, and what it sets aside with which reason.

use daymark_plan::{FieldType, Layout};

use crate::{rows_of, spec};

/// What becomes of one value: its text, `null`, or `! reason`.
fn fit(field_type: FieldType, json: &str) -> String {
    let rows = spec(Layout::Columns, "$", &[("x", "x", field_type)]);
    let (rows, summary) = rows_of(&rows, &format!("{{\"x\":[{json}]}}"));
    match summary.rejects.as_slice() {
        [reject] => {
            assert_eq!((rows.len(), reject.path.as_str()), (0, "$.x[0]"));
            format!("! {}", reject.reason)
        }
        _ => rows[0][0].clone().unwrap_or("null".to_owned()),
    }
}

#[track_caller]
fn check(field_type: FieldType, cases: &[(&str, &str)]) {
    assert_eq!(fit(field_type, "null"), "null");
    for (json, outcome) in cases {
        assert_eq!(fit(field_type, json), *outcome, "{json}");
    }
}

#[test]
fn text_takes_strings_and_the_words_of_numbers_and_booleans() {
    check(
        FieldType::Text,
        &[
            (r#""""#, ""),
            (r#""é €\n\"\ud83d\ude00""#, "é €\n\"😀"),
            ("1.50", "1.50"),
            ("-0.0", "-0.0"),
            ("1e1000000", "1e1000000"),
            ("true", "true"),
            (r#""a\u0000b""#, "! PostgreSQL's text cannot hold U+0000"),
            (r#""\ud83d""#, "! half a surrogate pair is not text"),
            ("[1]", "! expected a string, found an array"),
            ("{}", "! expected a string, found an object"),
        ],
    );
}

#[test]
fn booleans_are_true_and_false_only() {
    check(
        FieldType::Boolean,
        &[
            ("true", "true"),
            ("false", "false"),
            ("1", "! expected a boolean, found a number"),
            (r#""true""#, "true"),
            (r#""FALSE""#, "false"),
            (r#""yes""#, "! expected a boolean, found other text"),
        ],
    );
}

#[test]
fn whole_numbers_are_exact_and_in_range() {
    check(
        FieldType::Smallint,
        &[
            ("6.0", "6"),
            ("1e3", "1000"),
            ("-32768", "-32768"),
            ("32768", "! out of range for smallint"),
            ("0.5", "! not a whole number"),
        ],
    );
    check(
        FieldType::Integer,
        &[
            ("2147483647", "2147483647"),
            ("2147483648", "! out of range for integer"),
            ("\"12\"", "12"),
            ("\"+7\"", "7"),
            ("\"12.5\"", "! not a whole number"),
            ("\"12 km\"", "! expected a whole number, found other text"),
            ("\"\"", "! expected a whole number, found other text"),
            ("true", "! expected a whole number, found a boolean"),
        ],
    );
    check(
        FieldType::Bigint,
        &[
            ("9007199254740993", "9007199254740993"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("9223372036854775807.0", "9223372036854775807"),
            ("9.223372036854775807e18", "9223372036854775807"),
            ("9223372036854775808", "! out of range for bigint"),
            ("1e1000000", "! out of range for bigint"),
            ("1e-1000000", "! not a whole number"),
            ("0e1000000", "0"),
            ("-0", "0"),
        ],
    );
}

#[test]
fn doubles_are_correctly_rounded_and_never_infinite_or_vanished() {
    check(
        FieldType::Double,
        &[
            ("-0.0", "-0"),
            ("34.45000076293945", "34.45000076293945"),
            ("9007199254740993", "9007199254740992"),
            ("1.7976931348623157e308", &f64::MAX.to_string()),
            ("5e-324", &5e-324.to_string()),
            ("0e-999", "0"),
            ("1e999", "! out of range for double"),
            ("-1e999", "! out of range for double"),
            ("1e-999", "! out of range for double"),
            ("\"6.5\"", "6.5"),
            ("\"9007199254740993\"", "9007199254740992"),
            ("\"NaN\"", "! expected a number, found other text"),
            ("\"Infinity\"", "! expected a number, found other text"),
        ],
    );
}

#[test]
fn numerics_keep_every_digit() {
    let many = format!("{}.{}", "9".repeat(131_072), "1".repeat(16_383));
    let large = format!("1{}", "0".repeat(131_071));
    let small = format!("0.{}1", "0".repeat(16_382));
    check(
        FieldType::Numeric,
        &[
            ("0", "0"),
            ("-0", "0"),
            ("0.00", "0.00"),
            ("1.50", "1.50"),
            ("10000", "10000"),
            ("-12345678.000100", "-12345678.000100"),
            ("0.0001", "0.0001"),
            ("0.00001", "0.00001"),
            ("123456789012345678901234567890.12345", "123456789012345678901234567890.12345"),
            ("1.5e3", "1500"),
            ("1.5e-3", "0.0015"),
            ("12e4", "120000"),
            ("-1E+2", "-100"),
            ("0e5", "0"),
            (&many, &many),
            ("1e131071", &large),
            ("0.001e131074", &large),
            ("1e-16383", &small),
            ("1e131072", "! more than 131072 digits before the point"),
            ("1e1000000", "! more than 131072 digits before the point"),
            ("1e999999999999999999999999", "! more than 131072 digits before the point"),
            ("1e-16384", "! more than 16383 digits behind the point"),
            ("1e-999999999999999999999999", "! more than 16383 digits behind the point"),
            ("0e-16384", "! more than 16383 digits behind the point"),
            ("0e2000000000", "! an exponent beyond PostgreSQL's"),
            ("\"170.0000\"", "170.0000"),
            ("\"-00.50\"", "-0.50"),
            ("\".5\"", "0.5"),
            ("\"5.\"", "5"),
            ("\"1,5\"", "! expected a number, found other text"),
        ],
    );
}

#[test]
fn dates_are_strict() {
    const EXPECTED: &str = "! expected a date `YYYY-MM-DD`";
    check(
        FieldType::Date,
        &[
            ("\"2000-01-01\"", "2000-01-01"),
            ("\"1927-12-30\"", "1927-12-30"),
            ("\"2024-02-29\"", "2024-02-29"),
            ("\"0001-01-01\"", "0001-01-01"),
            ("\"9999-12-31\"", "9999-12-31"),
            (r#""2026\u002d01-02""#, "2026-01-02"),
            ("\"2023-02-29\"", "! no such date"),
            ("\"0000-01-01\"", "! no such date"),
            ("\"2026-13-01\"", "! no such date"),
            ("\"2026-1-2\"", EXPECTED),
            ("\"20260102\"", EXPECTED),
            ("\"2026-01-02T00:00\"", EXPECTED),
            ("\" 2026-01-02\"", EXPECTED),
            ("\"+026-01-02\"", EXPECTED),
            ("\"２０26-1\"", EXPECTED),
            ("\"\"", EXPECTED),
            ("20260102", "! expected a date in a string, found a number"),
        ],
    );
}

#[test]
fn times_and_timestamps_are_exact_to_the_microsecond() {
    const TIME: &str = "! expected a time `HH:MM[:SS[.ffffff]]`";
    const STAMP: &str = "! expected a timestamp `YYYY-MM-DDTHH:MM[:SS[.ffffff]]` without an offset";
    check(
        FieldType::Time,
        &[
            ("\"00:00\"", "00:00:00"),
            ("\"23:59:59.999999\"", "23:59:59.999999"),
            ("\"12:30:15.5\"", "12:30:15.5"),
            ("\"12:30:15.5000000\"", "12:30:15.5"),
            ("\"12:30:15.0000001\"", "! finer than a microsecond"),
            ("\"24:00\"", "! no such time"),
            ("\"12:60\"", "! no such time"),
            ("\"23:59:60\"", "! no such time"),
            ("\"12:30:15.\"", TIME),
            ("\"12:30:15.x\"", TIME),
            ("\"1:30\"", TIME),
            ("\"12:30Z\"", TIME),
            ("\"12\"", TIME),
        ],
    );
    check(
        FieldType::Timestamp,
        &[
            ("\"2026-03-08T02:00\"", "2026-03-08T02:00:00"),
            ("\"1999-12-31 23:59:59.000001\"", "1999-12-31T23:59:59.000001"),
            ("\"2026-03-08\"", STAMP),
            ("\"2026-03-08X02:00\"", STAMP),
            (
                "\"2026-03-08T02:00Z\"",
                "! a timestamp must not have an offset; `timestamptz` takes one",
            ),
            ("\"2026-02-30T02:00\"", "! no such date"),
            ("\"2026-02-20T25:00\"", "! no such time"),
            ("1772935200", "! expected a timestamp in a string, found a number"),
        ],
    );
}

#[test]
fn instants_need_an_offset() {
    const EXPECTED: &str =
        "! expected an instant `YYYY-MM-DDTHH:MM[:SS[.ffffff]]` with an offset (`Z`, `+HH:MM`)";
    check(
        FieldType::Timestamptz,
        &[
            ("\"2026-03-08T02:00:00Z\"", "2026-03-08T02:00:00Z"),
            ("\"2026-03-08t02:00:00.25z\"", "2026-03-08T02:00:00.25Z"),
            ("\"2026-03-08 02:00:00-05:00\"", "2026-03-08T07:00:00Z"),
            ("\"2026-03-08T02:00+05:45\"", "2026-03-07T20:15:00Z"),
            ("\"0001-01-01T00:00:00+23:59\"", "0000-12-31T00:01:00Z"),
            ("\"2026-03-08T02:00:00\"", "! an instant must have an offset (`Z`, `+HH:MM`)"),
            ("\"2026-03-08T02:00:00+0500\"", EXPECTED),
            ("\"2026-03-08T02:00:00+24:00\"", EXPECTED),
            ("\"2026-03-08T02:00:00Z \"", EXPECTED),
            ("\"2026-03-08\"", EXPECTED),
        ],
    );
}

#[test]
fn epochs_are_numbers_to_the_microsecond() {
    check(
        FieldType::EpochSeconds,
        &[
            ("0", "1970-01-01T00:00:00Z"),
            ("-1325583000", "1927-12-30T14:30:00Z"),
            ("1761768001.000001", "2025-10-29T20:00:01.000001Z"),
            ("1.7e9", "2023-11-14T22:13:20Z"),
            ("1.0000001", "! finer than a microsecond"),
            ("9224318015999.999999", "9224318015999999999 us"),
            ("9224318016000", "! out of range for timestamptz"),
            ("-210866803200", "-004713-11-24T00:00:00Z"),
            ("-210866803201", "! out of range for timestamptz"),
            ("1e300", "! out of range for timestamptz"),
            ("\"1761768001\"", "2025-10-29T20:00:01Z"),
            ("\"today\"", "! expected a number, found other text"),
        ],
    );
    check(
        FieldType::EpochMilliseconds,
        &[
            ("1761768001123", "2025-10-29T20:00:01.123Z"),
            ("-1.5", "1969-12-31T23:59:59.9985Z"),
            ("0.0001", "! finer than a microsecond"),
        ],
    );
    check(
        FieldType::EpochMicroseconds,
        &[
            ("1761768001123456", "2025-10-29T20:00:01.123456Z"),
            ("0.5", "! finer than a microsecond"),
            ("-9223372036854775808", "! out of range for timestamptz"),
        ],
    );
}

#[test]
fn uuids_are_taken_in_their_usual_forms() {
    check(
        FieldType::Uuid,
        &[
            ("\"0192AAAA-bbbb-7ccc-8ddd-eeeeffff0001\"", "0192aaaa-bbbb-7ccc-8ddd-eeeeffff0001"),
            ("\"0192aaaabbbb7ccc8dddeeeeffff0001\"", "0192aaaa-bbbb-7ccc-8ddd-eeeeffff0001"),
            ("\"0192aaaa\"", "! expected a UUID"),
            ("1", "! expected a string, found a number"),
        ],
    );
}

#[test]
fn jsonb_is_kept_as_it_is_unless_postgresql_would_refuse_it() {
    check(
        FieldType::Jsonb,
        &[
            ("{\"a\" : [1.50, \"x\"]}", "{\"a\" : [1.50, \"x\"]}"),
            ("[ ]", "[ ]"),
            (r#""a\\u0000""#, r#""a\\u0000""#),
            (r#"["\u0000"]"#, "! PostgreSQL's `jsonb` cannot hold U+0000"),
            (r#"{"a\u0000":1}"#, "! PostgreSQL's `jsonb` cannot hold U+0000"),
            (r#"{"a":["\ud83d"]}"#, "! half a surrogate pair is not text"),
            ("[1e1000000]", "! more than 131072 digits before the point"),
            ("{\"a\":1e-1000000}", "! more than 16383 digits behind the point"),
        ],
    );
}

#[test]
fn intervals_are_iso_durations_and_keep_months_days_and_time_apart() {
    const EXPECTED: &str = "! expected a duration `P1Y2M3DT4H5M6.5S`";
    check(
        FieldType::Interval,
        &[
            ("\"P1Y2M3DT4H5M6.5S\"", "14 months 3 days 14706500000 us"),
            ("\"P2W\"", "0 months 14 days 0 us"),
            ("\"PT36H\"", "0 months 0 days 129600000000 us"),
            ("\"PT0S\"", "0 months 0 days 0 us"),
            ("\"-P1DT0.000001S\"", "0 months -1 days -1 us"),
            ("\"P-1M+2DT-0.5S\"", "-1 months 2 days -500000 us"),
            ("\"PT1.5000000S\"", "0 months 0 days 1500000 us"),
            ("\"P178956970Y7M2147483647D\"", "2147483647 months 2147483647 days 0 us"),
            ("\"P178956970Y8M\"", "! out of range for interval"),
            ("\"P2147483648D\"", "! out of range for interval"),
            ("\"PT9223372036854.775807S\"", "0 months 0 days 9223372036854775807 us"),
            ("\"PT9223372036854.775808S\"", "! out of range for interval"),
            ("\"P99999999999999999999D\"", "! out of range for interval"),
            // PostgreSQL 17 and later would read the largest and the smallest of all as infinite.
            ("\"P178956970Y7M2147483647DT9223372036854.775807S\"", "! out of range for interval"),
            ("\"PT0.0000001S\"", "! finer than a microsecond"),
            ("\"P0.5D\"", "! a fraction of anything but seconds"),
            ("\"P\"", EXPECTED),
            ("\"P1DT\"", EXPECTED),
            ("\"P1D1M\"", EXPECTED),
            ("\"P1DT1HT1M\"", EXPECTED),
            ("\"PD\"", EXPECTED),
            ("\"P1\"", EXPECTED),
            ("\"PT.5S\"", EXPECTED),
            ("\"p1d\"", EXPECTED),
            ("\"1 day\"", EXPECTED),
            ("\"\"", EXPECTED),
            ("86400", "! expected a duration in a string, found a number"),
        ],
    );
}

#[test]
fn arrays_hold_values_of_one_type_and_nulls() {
    check(
        FieldType::Array(&FieldType::Text),
        &[
            ("[]", "25{}"),
            (r#"["a", null, "é\"\\,{}"]"#, "25{a,null,é\"\\,{}}"),
            ("[null]", "25{null}"),
            (r#"["a", "\u0000"]"#, "! element 2: PostgreSQL's text cannot hold U+0000"),
            (r#"[["a"]]"#, "! element 1: expected a string, found an array"),
            (r#""a""#, "! expected an array, found a string"),
            ("1", "! expected an array, found a number"),
            ("{}", "! expected an array, found an object"),
        ],
    );
    check(
        FieldType::Array(&FieldType::Integer),
        &[
            ("[1, -2147483648]", "23{1,-2147483648}"),
            ("[1, 2.5]", "! element 2: not a whole number"),
            ("[\"12\"]", "23{12}"),
        ],
    );
    let others = [
        (FieldType::Boolean, "[true]", "16{true}"),
        (FieldType::Smallint, "[-1]", "21{-1}"),
        (FieldType::Bigint, "[9007199254740993]", "20{9007199254740993}"),
        (FieldType::Double, "[0.5, -0.0]", "701{0.5,-0}"),
        (FieldType::Numeric, "[1.50]", "1700{1.50}"),
        (FieldType::Date, "[\"0001-01-01\"]", "1082{0001-01-01}"),
        (FieldType::Time, "[\"12:30\"]", "1083{12:30:00}"),
        (FieldType::Timestamp, "[\"2026-03-08T02:00\"]", "1114{2026-03-08T02:00:00}"),
        (FieldType::Timestamptz, "[\"2026-03-08T02:00Z\"]", "1184{2026-03-08T02:00:00Z}"),
        (FieldType::Interval, "[\"P1D\"]", "1186{0 months 1 days 0 us}"),
        (
            FieldType::Uuid,
            "[\"0192aaaabbbb7ccc8dddeeeeffff0001\"]",
            "2950{0192aaaa-bbbb-7ccc-8ddd-eeeeffff0001}",
        ),
        (FieldType::Jsonb, "[{\"a\": [1]}, null]", "3802{{\"a\": [1]},null}"),
    ];
    for (element, json, expected) in others {
        let (_, whole) = *FieldType::ALL
            .iter()
            .find(|(_, whole)| matches!(whole, FieldType::Array(one) if **one == element))
            .unwrap();
        assert_eq!(fit(whole, json), expected, "{json}");
    }
}
