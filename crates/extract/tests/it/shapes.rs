//! What a body looks like.

use daymark_extract::{Shape, shape, shape_of_lines};
use proptest::prelude::*;
use serde_json::{Value, json};

/// One line per path: types with counts, lengths, what it reads like, an example.
fn said(shape: &Shape) -> String {
    let line = |path: &daymark_extract::ShapePath| {
        let types: Vec<String> =
            path.types.iter().map(|(t, count)| format!("{} {}", count, t.as_str())).collect();
        let mut line = format!("{}: {}", path.path, types.join(", "));
        if let Some((shortest, longest)) = path.lengths {
            line.push_str(&format!(" of {shortest} to {longest}"));
        }
        if let Some(like) = path.reads_like {
            line.push_str(&format!(" ({})", like.as_str()));
        }
        line.extend(path.example.iter().map(|example| format!(" {example}")));
        line.extend(path.first_name.iter().map(|name| format!(" first `{name}`")));
        line
    };
    shape.paths.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn of(value: &Value) -> String {
    said(&shape(value.to_string().as_bytes()).unwrap())
}

#[test]
fn arrays_are_one_path_with_their_types_counted() {
    let body = json!({
        "daily": {"time": ["2026-11-22", "2026-11-23"], "max": [9.1, null]},
        "rows": [{"at": 1_795_438_800, "n": "1.5"}, {"at": 1_795_438_801, "n": "2", "o": true}, []],
        "none": [],
    });
    insta::assert_snapshot!(of(&body), @r#"
    $: 1 object
    $.daily: 1 object
    $.daily.time: 1 array of 2 to 2
    $.daily.time[*]: 2 string (date) "2026-11-22"
    $.daily.max: 1 array of 2 to 2
    $.daily.max[*]: 1 null, 1 number 9.1
    $.rows: 1 array of 3 to 3
    $.rows[*]: 1 array, 2 object of 0 to 0
    $.rows[*].at: 2 number (epoch seconds) 1795438800
    $.rows[*].n: 2 string (number as text) "1.5"
    $.rows[*].o: 1 boolean true
    $.none: 1 array of 0 to 0
    "#);
}

#[test]
fn names_that_are_data_are_one_path() {
    let alpha = json!({"Meta Data": {"1. Information": "x"}, "Time Series (Daily)": {
        "2026-11-20": {"1. open": "1.0"}, "2026-11-19": {"1. open": "2.0"}}});
    insta::assert_snapshot!(of(&alpha), @r#"
    $: 1 object
    $['Meta Data']: 1 object
    $['Meta Data']['1. Information']: 1 string "x"
    $['Time Series (Daily)']: 1 object first `2026-11-20`
    $['Time Series (Daily)'].*: 2 object
    $['Time Series (Daily)'].*['1. open']: 2 string (number as text) "1.0"
    "#);
    // Many objects alike are rows, whatever they are called; a few may be words of the API.
    let tickers = |count: usize| {
        let row = |n: usize| (format!("T{}", "x".repeat(n)), json!({"close": n, "open": n}));
        Value::Object((0..count).map(row).collect())
    };
    insta::assert_snapshot!(of(&tickers(8)), @r"
    $: 1 object first `T`
    $.*: 8 object
    $.*.close: 8 number (whole) 0
    $.*.open: 8 number (whole) 0
    ");
    assert!(of(&tickers(7)).contains("$.Txx.close"));
    // Very many names are none.
    let many: Value = Value::Object((0..5000).map(|n| (format!("n{n}"), json!(n))).collect());
    insta::assert_snapshot!(of(&many), @r"
    $: 1 object first `n0`
    $.*: 5000 number (whole) 0
    ");
}

#[test]
fn lines_have_one_shape() {
    let body = b"{\"a\":1}\n\n{\"a\":null,\"b\":[1]}\n";
    insta::assert_snapshot!(said(&shape_of_lines(body).unwrap()), @r"
    $: 2 object
    $.a: 1 null, 1 number (whole) 1
    $.b: 1 array of 1 to 1
    $.b[*]: 1 number (whole) 1
    ");
    assert!(shape_of_lines(b"{}\n{").is_err());
}

#[test]
fn a_body_without_end_has_a_shape_with_one() {
    // Nested wide objects with ever new names: more paths than are followed.
    let wide = |tag: &str| {
        Value::Object((0..150).map(|n| (format!("{tag}{n}"), json!({"v": [n]}))).collect())
    };
    let deep =
        Value::Object((0..150).map(|n| (format!("k{n}"), wide(&format!("x{n}y")))).collect());
    let shape = shape(deep.to_string().as_bytes()).unwrap();
    assert!(shape.paths.len() <= 5_001, "{}", shape.paths.len());
    assert!(shape.cut);
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[ab]{0,3}|2026-0[1-9]-1[0-9]".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 60, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map("[a-d]|2026-0[1-9]-1[0-9]|[0-9]{1,2}", inner, 0..10)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn values_in(value: &Value) -> u64 {
    1 + match value {
        Value::Array(elements) => elements.iter().map(values_in).sum::<u64>(),
        Value::Object(members) => members.values().map(values_in).sum::<u64>(),
        _ => 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn every_value_is_counted_once_and_no_path_comes_twice(value in any_value()) {
        let shape = shape(value.to_string().as_bytes()).unwrap();
        let counted: u64 = shape.paths.iter().flat_map(|path| path.types.values()).sum();
        prop_assert_eq!(counted, values_in(&value));
        let mut paths: Vec<&str> = shape.paths.iter().map(|path| path.path.as_str()).collect();
        paths.sort_unstable();
        let all = paths.len();
        paths.dedup();
        prop_assert_eq!(paths.len(), all);
    }

    #[test]
    fn any_bytes_have_a_shape_or_an_error(body in prop::collection::vec(any::<u8>(), 0..60)) {
        drop((shape(&body), shape_of_lines(&body)));
    }
}
