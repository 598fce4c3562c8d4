//! What differs between two bodies.

use daymark_extract::{Change, ChangeKind, ChangeStep, json_difference, line_difference};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn differ(before: &Value, after: &Value) -> Vec<Change> {
    json_difference(before.to_string().as_bytes(), after.to_string().as_bytes()).unwrap()
}

/// One line per change: `path [at] before -> after`.
fn said(changes: &[Change]) -> String {
    let line = |change: &Change| {
        let at = change.at.as_ref().map(|at| format!(" [{at}]")).unwrap_or_default();
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        let volatile = if change.volatile { " (volatile)" } else { "" };
        format!(
            "{}{at}: {} -> {}{volatile}",
            change.path,
            value(&change.before),
            value(&change.after)
        )
    };
    changes.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn parallel_arrays_are_matched_by_their_times() {
    let weather = |generated: f64, times: &[&str], max: &[Option<f64>]| json!({"generationtime_ms": generated, "daily": {"time": times, "max": max}});
    let before =
        weather(0.07, &["2026-11-21", "2026-11-22", "2026-11-23"], &[Some(9.1), Some(7.5), None]);
    let after = weather(
        0.09,
        &["2026-11-22", "2026-11-23", "2026-11-24"],
        &[Some(7.5), Some(8.25), Some(3.0)],
    );
    insta::assert_snapshot!(said(&differ(&before, &after)), @r#"
    $.generationtime_ms: 0.07 -> 0.09 (volatile)
    $.daily.time[0] [2026-11-21]: "2026-11-21" -> -
    $.daily.time[2] [2026-11-24]: - -> "2026-11-24"
    $.daily.max[0] [2026-11-21]: 9.1 -> -
    $.daily.max[1] [2026-11-23]: null -> 8.25
    $.daily.max[2] [2026-11-24]: - -> 3.0
    "#);
}

#[test]
fn times_count_for_the_arrays_below_them() {
    let chart = |stamps: &[i64], closes: &[f64]| {
        json!({"chart": {"result": [{
            "timestamp": stamps, "indicators": {"quote": [{"close": closes}]},
        }]}})
    };
    let before = chart(&[100, 200], &[1.0, 2.0]);
    let after = chart(&[50, 100, 200], &[0.5, 1.0, 2.5]);
    insta::assert_snapshot!(said(&differ(&before, &after)), @r"
    $.chart.result[0].timestamp[0] [50]: - -> 50
    $.chart.result[0].indicators.quote[0].close[0] [50]: - -> 0.5
    $.chart.result[0].indicators.quote[0].close[2] [200]: 2.0 -> 2.5
    ");
}

#[test]
fn records_are_matched_by_what_names_them() {
    let before = json!([{"id": 7, "v": 1}, {"id": 8, "v": 2}]);
    let after = json!([{"id": 6, "v": 0}, {"id": 7, "v": 1}, {"id": 8, "v": 3}]);
    insta::assert_snapshot!(said(&differ(&before, &after)), @r#"
    $[0] [6]: - -> {"id":6,"v":0}
    $[2].v [8]: 2 -> 3
    "#);
    let days = |days: &[(&str, i64)]| {
        days.iter().map(|(date, v)| json!({"date": date, "value": v})).collect::<Value>()
    };
    insta::assert_snapshot!(said(&differ(&days(&[("2026-01-01", 1)]), &days(&[("2026-01-02", 1)]))), @r#"
    $[0] [2026-01-01]: {"date":"2026-01-01","value":1} -> -
    $[0] [2026-01-02]: - -> {"date":"2026-01-02","value":1}
    "#);
    // Rows of a grid by their first cell.
    let before = json!([["d", "v"], ["2026-01-01", 1]]);
    let after = json!([["d", "v"], ["2026-01-01", 4]]);
    insta::assert_snapshot!(said(&differ(&before, &after)), @"$[1][1] [2026-01-01]: 1 -> 4");
}

#[test]
fn what_means_the_same_is_no_difference() {
    let same = |a: &str, b: &str| json_difference(a.as_bytes(), b.as_bytes()).unwrap().is_empty();
    assert!(same(r#"{"a":1.50,"b":"é"}"#, r#"{ "b" : "\u00e9" , "a" : 15e-1 }"#));
    assert!(same("[0, -0.0, 1e2]", "[0e5,0,100]"));
    assert!(!same("[1]", "[1.0000000000000000000001]"));
    assert!(!same("[1]", "[-1]"));
    assert!(!same("[1]", "[10]"));
    assert!(!same("[0.1]", "[0.01]"));
    assert!(!same("null", "false"));
}

#[test]
fn lines_are_matched_by_their_first_cell() {
    let before = "date,close\n2026-11-20,1\n2026-11-21,2\n";
    let after = "date,close\n2026-11-19,9\n2026-11-20,1\n2026-11-21,3\n";
    insta::assert_snapshot!(said(&line_difference(before, after)), @r"
    line 2 [2026-11-19]: - -> 2026-11-19,9
    line 4 [2026-11-21]: 2026-11-21,2 -> 2026-11-21,3
    ");
    assert_eq!(line_difference(before, before), []);
    insta::assert_snapshot!(said(&line_difference("a\na\nb", "a\nb")), @"line 2: a -> -");
}

#[test]
fn a_body_that_is_no_json_is_an_error() {
    assert!(json_difference(b"{}", b"{").is_err());
    assert!(json_difference(b"<html>", b"{}").is_err());
}

/// What `changes` make of a value.
fn apply(value: &Value, changes: &[(&[ChangeStep], &Change)]) -> Value {
    if let [([], change)] = changes {
        return serde_json::from_str(change.after.as_ref().unwrap()).unwrap();
    }
    match value {
        Value::Object(members) => {
            let mut made: Map<String, Value> = members.clone();
            let mut names: Vec<&str> = changes.iter().map(|(steps, _)| name(&steps[0])).collect();
            names.dedup();
            for name_of in names {
                let within: Vec<_> = changes
                    .iter()
                    .filter(|(steps, _)| name(&steps[0]) == name_of)
                    .map(|(steps, change)| (&steps[1..], *change))
                    .collect();
                match within.as_slice() {
                    [([], Change { kind: ChangeKind::Removed, .. })] => {
                        made.remove(name_of);
                    }
                    within => {
                        let old = members.get(name_of).unwrap_or(&Value::Null);
                        made.insert(name_of.to_owned(), apply(old, within));
                    }
                }
            }
            Value::Object(made)
        }
        Value::Array(elements) => {
            let mut left: Vec<Option<Value>> = elements.iter().cloned().map(Some).collect();
            let mut added = Vec::new();
            let mut at = 0;
            while at < changes.len() {
                let (steps, change) = changes[at];
                let ChangeStep::Element { before, after } = &steps[0] else { panic!("{change:?}") };
                let alike = changes[at..].iter().take_while(|(other, _)| other[0] == steps[0]);
                let within: Vec<_> = alike.map(|(steps, change)| (&steps[1..], *change)).collect();
                at += within.len();
                match (before, after) {
                    (Some(before), Some(_)) => {
                        left[*before] = Some(apply(&elements[*before], &within));
                    }
                    (Some(before), None) => left[*before] = None,
                    (None, Some(after)) => added.push((*after, apply(&Value::Null, &within))),
                    (None, None) => panic!("{change:?}"),
                }
            }
            let mut made: Vec<Value> = left.into_iter().flatten().collect();
            for (at, value) in added {
                made.insert(at, value);
            }
            Value::Array(made)
        }
        plain if changes.is_empty() => plain.clone(),
        plain => panic!("{plain} has no {changes:?}"),
    }
}

fn name(step: &ChangeStep) -> &str {
    match step {
        ChangeStep::Name(name) => name,
        ChangeStep::Element { .. } => panic!("{step:?} of an object"),
    }
}

/// JSON with few names and values, so that two of them have something in common.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..6_i64).prop_map(Value::from),
        "[ab'\\\\é]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec(("time|date|id|a|took", inner), 0..5).prop_map(|members| {
                Value::Object(members.into_iter().collect::<Map<String, Value>>())
            }),
        ]
    })
}

/// Columns beside times, as APIs answer on two days.
fn columns() -> impl Strategy<Value = Value> {
    prop::collection::btree_map(0..12_u8, (0..3_i64, 0..3_i64), 0..8).prop_map(|days| {
        json!({
            "time": days.keys().collect::<Vec<_>>(),
            "max": days.values().map(|day| day.0).collect::<Vec<_>>(),
            "below": {"min": days.values().map(|day| day.1).collect::<Vec<_>>()},
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn the_changes_make_the_old_body_the_new_one(
        (before, after) in prop_oneof![(any_value(), any_value()), (columns(), columns())],
    ) {
        let changes = differ(&before, &after);
        prop_assert_eq!(changes.is_empty(), before == after);
        let steps: Vec<_> = changes.iter().map(|change| (change.steps.as_slice(), change)).collect();
        prop_assert_eq!(apply(&before, &steps), after);
    }

    #[test]
    fn equal_bodies_differ_in_nothing(value in any_value()) {
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        let changes = json_difference(value.to_string().as_bytes(), pretty.as_bytes()).unwrap();
        prop_assert_eq!(changes, []);
    }

    #[test]
    fn no_day_that_stayed_is_a_change(before in columns(), after in columns()) {
        // A day that both have, with equal values, is named by no change.
        let day = |value: &Value, time: &Value| {
            let at = value["time"].as_array().unwrap().iter().position(|t| t == time)?;
            Some((value["max"][at].clone(), value["below"]["min"][at].clone()))
        };
        let changes = differ(&before, &after);
        for time in before["time"].as_array().unwrap() {
            if let (Some(was), Some(is)) = (day(&before, time), day(&after, time)) {
                let named = changes.iter().any(|c| c.at.as_deref() == Some(&time.to_string()));
                prop_assert_eq!(named, was != is, "{} {:?}", time, &changes);
            }
        }
    }

    #[test]
    fn lines_that_are_given_back_are_the_new_ones(before in "([ab],[0-2]\n){0,6}", after in "([ab],[0-2]\n){0,6}") {
        let changes = line_difference(&before, &after);
        prop_assert_eq!(changes.is_empty(), before == after);
        let mut left: Vec<Option<&str>> = before.lines().map(Some).collect();
        let mut added = Vec::new();
        for change in &changes {
            let [ChangeStep::Element { before, after }] = change.steps.as_slice() else { panic!() };
            match (before, after) {
                (Some(at), _) => left[*at] = change.after.as_deref(),
                (None, Some(to)) => added.push((*to, change.after.as_deref().unwrap())),
                (None, None) => panic!("{change:?}"),
            }
        }
        let mut made: Vec<&str> = left.into_iter().flatten().collect();
        for (to, line) in added {
            made.insert(to, line);
        }
        prop_assert_eq!(made, after.lines().collect::<Vec<_>>());
    }
}
