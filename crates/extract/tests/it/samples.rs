//! The first rows of a body, as people read them.

use daymark_extract::sample;
use daymark_plan::{FieldType, Layout};
use proptest::prelude::*;

use crate::{rows_of, spec};

#[test]
fn the_first_rows_are_those_that_would_be_stored() {
    let fields = [
        ("day", "day", FieldType::Date),
        ("at", "at", FieldType::EpochSeconds),
        ("price", "price", FieldType::Numeric),
        ("n", "n", FieldType::Bigint),
        ("word", "word", FieldType::Text),
    ];
    let rows = spec(Layout::Records, "$[*]", &fields);
    let body = br#"[
        {"day": "2026-11-20", "at": 1795438800, "price": "-1234567.8900", "n": null, "word": "a b"},
        {"day": "never", "at": 0, "price": 0, "n": 1, "word": ""},
        {"day": "0099-01-01", "at": 0.5, "price": 0.0001, "n": -1, "word": null}]"#;
    let two = sample(&rows, body, 2).unwrap();
    let shown: Vec<String> = two
        .rows
        .iter()
        .map(|row| row.iter().map(|v| v.as_deref().unwrap_or("-")).collect::<Vec<_>>().join(" | "))
        .collect();
    // The row between them is set aside.
    insta::assert_snapshot!(shown.join("\n"), @r"
    2026-11-20 | 2026-11-23T13:00:00Z | -1234567.8900 | - | a b
    0099-01-01 | 1970-01-01T00:00:00.5Z | 0.0001 | -1 | -
    ");
    assert_eq!(sample(&rows, body, 1).unwrap().rows, two.rows[..1]);
    assert_eq!(sample(&rows, body, 0).unwrap().rows.len(), 0);
    let types: Vec<&str> = two.columns.iter().map(|column| column.postgres).collect();
    assert_eq!(types, ["date", "timestamptz", "numeric", "bigint", "text"]);
    assert!(sample(&rows, b"{", 2).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    /// `decode.rs`, which reads tuples for the tests, was written apart.
    #[test]
    fn values_read_as_another_reader_has_them(
        numbers in prop::collection::vec("-?(0|[1-9][0-9]{0,9})(\\.[0-9]{1,9})?", 1..20),
    ) {
        let kinds = [FieldType::Numeric, FieldType::EpochMicroseconds, FieldType::Text, FieldType::Jsonb];
        for kind in kinds {
            let rows = spec(Layout::Columns, "$", &[("x", "x", kind)]);
            let body = format!("{{\"x\": [{}]}}", numbers.join(","));
            let (expected, _) = rows_of(&rows, &body);
            prop_assert_eq!(sample(&rows, body.as_bytes(), usize::MAX).unwrap().rows, expected);
        }
    }
}
