//! Recorded real responses, every row compared with what `serde_json` reads from the same bytes.
//! (With its feature `float_roundtrip`: without it `serde_json` misses the last digit now and then.)

use std::path::{Path, PathBuf};

use daymark_plan::{FieldType, Layout, RowsSpec};
use serde_json::Value;

use crate::{rows_of, spec};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/fixtures");

/// Every JSON file under a folder of the recorded responses.
fn files(folder: &str) -> Vec<PathBuf> {
    fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "json") {
                files.push(path);
            }
        }
    }
    let mut files = Vec::new();
    collect(&Path::new(FIXTURES).join(folder), &mut files);
    files.sort();
    files
}

fn weather() -> RowsSpec {
    spec(
        Layout::Columns,
        "$.daily",
        &[
            ("latitude", "$.latitude", FieldType::Double),
            ("longitude", "$.longitude", FieldType::Double),
            ("date", "time", FieldType::Date),
            ("high", "temperature_2m_max", FieldType::Double),
            ("low?", "temperature_2m_min", FieldType::Double),
            ("rain?", "precipitation_sum", FieldType::Double),
        ],
    )
}

fn bars() -> RowsSpec {
    spec(
        Layout::Columns,
        "$.chart.result[0]",
        &[
            ("symbol", "meta.symbol", FieldType::Text),
            ("zone", "meta.exchangeTimezoneName", FieldType::Text),
            ("opened_at", "timestamp", FieldType::EpochSeconds),
            ("open?", "indicators.quote[0].open", FieldType::Double),
            ("high?", "indicators.quote[0].high", FieldType::Double),
            ("low?", "indicators.quote[0].low", FieldType::Double),
            ("close", "indicators.quote[0].close", FieldType::Double),
            ("adj_close?", "indicators.adjclose[0].adjclose", FieldType::Double),
            ("volume?", "indicators.quote[0].volume", FieldType::Bigint),
        ],
    )
}

/// The value of a field in one row, as text, the way a reader of the JSON would tell it.
fn expected(tree: &Value, at: &str, pointer: &str, row: usize, kind: FieldType) -> Option<String> {
    let whole =
        if pointer.starts_with('/') { pointer.to_owned() } else { format!("{at}/{pointer}") };
    let value = match tree.pointer(&whole)? {
        Value::Array(items) => items[row].clone(),
        scalar => scalar.clone(),
    };
    match (kind, value) {
        (_, Value::Null) => None,
        (_, Value::String(text)) => Some(text),
        (FieldType::Double, Value::Number(number)) => Some(number.as_f64()?.to_string()),
        (FieldType::EpochSeconds, Value::Number(number)) => {
            Some(jiff::Timestamp::from_second(number.as_i64()?).unwrap().to_string())
        }
        (_, Value::Number(number)) => Some(number.as_i64()?.to_string()),
        (_, other) => panic!("unexpected {other}"),
    }
}

/// Extracts every file that has the arrays `required`, and compares every value of every row.
fn compare(folder: &str, rows: &RowsSpec, at: &str, required: [&str; 2]) -> (Vec<String>, usize) {
    let mut names = Vec::new();
    let mut compared = 0;
    for file in files(folder) {
        let body = std::fs::read_to_string(&file).unwrap();
        let Ok(tree) = serde_json::from_str::<Value>(&body) else { continue };
        let has =
            |pointer: &str| tree.pointer(&format!("{at}/{pointer}")).is_some_and(Value::is_array);
        if !required.into_iter().all(has) {
            assert!(daymark_extract::scan(rows, body.as_bytes()).is_err(), "{}", file.display());
            continue;
        }
        let length =
            tree.pointer(&format!("{at}/{}", required[0])).unwrap().as_array().unwrap().len();
        let (found, summary) = rows_of(rows, &body);
        assert_eq!(summary.rejects, [], "{}", file.display());
        assert_eq!(found.len(), length, "{}", file.display());
        for (row, values) in found.iter().enumerate() {
            for (field, value) in rows.fields.iter().zip(values) {
                let text = field.places[0].to_string().replace("[0]", ".0").replace('.', "/");
                let pointer = text.trim_start_matches('$');
                let expected = expected(&tree, at, pointer, row, field.field_type);
                assert_eq!(value, &expected, "{} row {row} of {}", field.name, file.display());
                compared += 1;
            }
        }
        names.push(file.file_name().unwrap().to_string_lossy().into_owned());
    }
    (names, compared)
}

#[test]
#[cfg_attr(
    not(has_shared),
    ignore = "../shared is absent: recorded responses are not in the repository"
)]
fn every_recorded_day_of_open_meteo_is_extracted() {
    let (names, compared) =
        compare("open-meteo", &weather(), "/daily", ["time", "temperature_2m_max"]);
    for name in ["melbourne-forecast-7d-nulls.json", "tpisel-forecast-daily-nulls-all.json"] {
        assert!(names.iter().any(|found| found == name), "{name} in {names:?}");
    }
    assert!(names.len() >= 5 && compared > 500, "{compared} values of {names:?}");
}

#[test]
#[cfg_attr(
    not(has_shared),
    ignore = "../shared is absent: recorded responses are not in the repository"
)]
fn every_recorded_bar_of_yahoo_is_extracted() {
    let required = ["timestamp", "indicators/quote/0/close"];
    let (names, compared) = compare("yahoo", &bars(), "/chart/result/0", required);
    for name in ["AAPL-6mo-1d-dividends.json", "MUV2.DE-6mo-null-row.json", "AAPL-10d-1d.json"] {
        assert!(names.iter().any(|found| found == name), "{name} in {names:?}");
    }
    assert!(names.len() >= 5 && compared > 1000, "{compared} values of {names:?}");
}
