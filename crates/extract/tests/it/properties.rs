//! What must hold for every body, whatever it is.

use daymark_extract::{RowContext, matches_value};
use daymark_plan::{FieldType, JsonPath, Layout, RowsSpec};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{extract, rows_of, spec};

fn specs() -> Vec<RowsSpec> {
    let fields: Vec<(&str, &str, FieldType)> =
        FieldType::ALL.iter().map(|(name, kind)| (*name, "a", *kind)).collect();
    let mut specs = vec![
        spec(Layout::Columns, "$", &fields),
        spec(Layout::Records, "$[*]", &fields),
        spec(Layout::Records, "$..b", &[("x?", "a[0].b|a", FieldType::Jsonb)]),
    ];
    for (name, kind) in FieldType::ALL {
        specs.push(spec(Layout::Columns, "$", &[(name, "a", kind)]));
    }
    specs
}

/// Any JSON with few names, so that paths hit it.
fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("1e999".to_owned()),
        Just("\"\\ud800\"".to_owned()),
        Just("\"\\u0000\"".to_owned()),
        Just("\"2026-02-29T24:61\"".to_owned()),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,8})?([eE][+-]?[0-9]{1,5})?",
        "[a-z0-9:T+Z \\-é]{0,30}".prop_map(|text| format!("\"{text}\"")),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6)
                .prop_map(|items| format!("[{}]", items.join(" ,"))),
            prop::collection::vec(("[ab]", inner), 0..6).prop_map(|members| {
                let members: Vec<String> =
                    members.iter().map(|(name, value)| format!("\"{name}\" : {value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

fn run(body: &[u8]) {
    for rows in specs() {
        // The only thing asked of any bytes: an answer. `extract` compares it with `scan`'s.
        if let Ok((tuples, summary)) = extract(&rows, body) {
            assert_eq!(crate::decode::tuples(&tuples).len() as u64, summary.extracted);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn any_bytes_get_an_answer(body in prop::collection::vec(any::<u8>(), 0..200)) {
        run(&body);
    }

    #[test]
    fn any_json_gets_an_answer(body in any_json()) {
        run(body.as_bytes());
        run(format!("{{\"a\":{body}}}").as_bytes());
        run(format!("{{\"a\":[{body},{body}]}}").as_bytes());
    }

    #[test]
    fn damaged_json_gets_an_answer(
        body in any_json(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let mut body = format!("{{\"a\":[{body}]}}").into_bytes();
        let at = at.index(body.len());
        if cut { body.truncate(at) } else { body[at] = byte }
        run(&body);
    }

    #[test]
    fn paths_find_what_serde_json_finds(body in any_json()) {
        // A tree of serde_json's does not hold every number and string; the others are compared.
        if let Ok(tree) = serde_json::from_str::<Value>(&body) {
            for (path, pointer) in
                [("$.a", "/a"), ("$.a[1]", "/a/1"), ("$[0].b", "/0/b"), ("$.b.a[0].b", "/b/a/0/b")]
            {
                let plain = JsonPath::parse(path).unwrap();
                let found = matches_value(&plain, body.as_bytes()).unwrap();
                let expected = tree.pointer(pointer).is_some_and(|value| !value.is_null());
                prop_assert_eq!(found, expected, "{}", path);
            }
            // A pointer's number may be a name too; the paths above have no such names.
            let rows = spec(Layout::Columns, "$", &[("x", "a", FieldType::Jsonb)]);
            if let Some(items) = tree.get("a").and_then(Value::as_array) {
                let (rows, summary) = rows_of(&rows, &body);
                if summary.rejected == 0 {
                    let values: Vec<Value> = rows
                        .iter()
                        .map(|row| row[0].as_ref().map_or(Value::Null, |text| serde_json::from_str(text).unwrap()))
                        .collect();
                    prop_assert_eq!(&values, items);
                }
            }
        }
    }

    #[test]
    fn rows_come_back_as_they_were(
        rows in prop::collection::vec(
            (any::<i64>(), any::<i16>(), any::<f64>(), any::<bool>(), "\\PC{0,20}", -700_000..2_000_000_i32, any::<u128>()),
            0..40,
        ),
        as_columns in any::<bool>(),
        pretty in any::<bool>(),
    ) {
        let fields = [
            ("big", FieldType::Bigint),
            ("small", FieldType::Smallint),
            ("double", FieldType::Double),
            ("boolean", FieldType::Boolean),
            ("text", FieldType::Text),
            ("date", FieldType::Date),
            ("uuid", FieldType::Uuid),
            ("exact", FieldType::Numeric),
            ("at", FieldType::EpochMilliseconds),
        ];
        let start = jiff::civil::date(2000, 1, 1);
        let records: Vec<Vec<Value>> = rows.iter().map(|(big, small, double, boolean, text, days, id)| {
            let double = if double.is_finite() && double.abs() != 0.0 { json!(double) } else { Value::Null };
            let date = start + jiff::SignedDuration::from_hours(i64::from(*days) * 24);
            vec![
                json!(big), json!(small), double, json!(boolean), json!(text),
                json!(date.to_string()), json!(uuid::Uuid::from_u128(*id).to_string()), json!(big),
                json!(i64::from(*small) * 1_000_003),
            ]
        }).collect();
        let body = if as_columns {
            let columns = fields.iter().enumerate().map(|(index, (name, _))| {
                let column: Vec<&Value> = records.iter().map(|record| &record[index]).collect();
                ((*name).to_owned(), json!(column))
            });
            Value::Object(columns.collect())
        } else {
            let records = records.iter().map(|record| {
                let members = fields.iter().zip(record).map(|((name, _), value)| ((*name).to_owned(), value.clone()));
                Value::Object(members.collect())
            });
            Value::Array(records.collect())
        };
        let body = if pretty { serde_json::to_string_pretty(&body) } else { serde_json::to_string(&body) }.unwrap();
        let mapped: Vec<(&str, &str, FieldType)> = fields.iter().map(|(name, kind)| (*name, *name, *kind)).collect();
        let layout = if as_columns { Layout::Columns } else { Layout::Records };
        let (found, summary) = rows_of(&spec(layout, "$", &mapped), &body);
        // U+0000 is the one thing a text may not hold; `\PC` has no control characters.
        prop_assert_eq!(summary.rejected, 0);
        prop_assert_eq!(found.len(), records.len());
        for (found, expected) in found.iter().zip(&records) {
            for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
                let expected = match expected {
                    Value::Null => None,
                    Value::String(text) => Some(text.clone()),
                    Value::Number(number) if index == 2 => Some(number.as_f64().unwrap().to_string()),
                    Value::Number(number) if index == 8 => {
                        Some(jiff::Timestamp::from_millisecond(number.as_i64().unwrap()).unwrap().to_string())
                    }
                    other => Some(other.to_string()),
                };
                prop_assert_eq!(found, &expected);
            }
        }
    }

    #[test]
    fn numerics_come_back_digit_for_digit(text in "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,40})?") {
        let rows = spec(Layout::Columns, "$", &[("x", "x", FieldType::Numeric)]);
        let (found, _) = rows_of(&rows, &format!("{{\"x\":{text}}}"));
        let negative_zero = text.starts_with('-') && !text.contains(|c: char| ('1'..='9').contains(&c));
        let expected = if negative_zero { &text[1..] } else { &text };
        prop_assert_eq!(found[0][0].as_deref(), Some(expected));
    }

    #[test]
    fn an_exponent_is_the_point_moved(digits in "[1-9][0-9]{0,12}", exponent in -30..30_i32) {
        let rows = spec(Layout::Columns, "$", &[("a", "a", FieldType::Numeric), ("b", "b", FieldType::Bigint)]);
        let moved = if exponent >= 0 {
            format!("{digits}{}", "0".repeat(usize::try_from(exponent).unwrap()))
        } else {
            let behind = usize::try_from(-exponent).unwrap();
            let padded = format!("{digits:0>width$}", width = behind + 1);
            let (whole, fraction) = padded.split_at(padded.len() - behind);
            format!("{whole}.{fraction}")
        };
        let (found, summary) = rows_of(&rows, &format!("{{\"a\":{digits}e{exponent},\"b\":null}}"));
        prop_assert_eq!(summary.rejected, 0);
        prop_assert_eq!(found[0][0].as_deref(), Some(moved.as_str()));
        let (found, summary) = rows_of(&rows, &format!("{{\"a\":null,\"b\":{digits}e{exponent}}}"));
        let whole = moved.split_once('.').map_or(Some(moved.as_str()), |(whole, fraction)| {
            fraction.chars().all(|digit| digit == '0').then_some(whole)
        });
        if let Some(number) = whole.and_then(|whole| whole.parse::<i64>().ok()) {
            prop_assert_eq!(found[0][1].clone(), Some(number.to_string()));
        } else {
            prop_assert_eq!(summary.rejected, 1);
        }
    }
}

#[test]
fn opening_twice_gives_the_same_bytes() {
    let rows = spec(Layout::Columns, "$", &[("v", "v", FieldType::Double)]);
    let body = b"{\"v\":[1,2,3]}";
    let read = || {
        let mut out = bytes::BytesMut::new();
        let mut extraction = daymark_extract::open(&rows, body, RowContext::default()).unwrap();
        while extraction.next_chunk(&mut out).unwrap() {}
        out
    };
    assert_eq!(read(), read());
}
