//! The main job on real responses: every published row compared with what the recording says.
//!
//! The expectation is worked out here with `serde_json` and jiff, and shares nothing with the
//! program but the reference pipeline's words: a bar's date is its instant plus two hours in the
//! exchange's zone, the last bar of a date stands for it, a bar without a close and a day of weather
//! without any value are left out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use daymark_testkit::database::Kind;
use daymark_testkit::on_both_databases;
use daymark_testkit::rest::Reply;
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use serde_json::{Map, Value};

use crate::world::{MARKET, MARKET_ROWS, WEATHER, WEATHER_ROWS, World};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/fixtures");

on_both_databases! {
    #[cfg_attr(
        not(has_shared),
        ignore = "../shared is absent: recorded responses are not in the repository"
    )]
    every_row_of_the_recorded_responses_is_published;
}

/// The values of a row beside its key; the two tables share the shape.
type Values = Vec<Option<f64>>;
/// Rows by the words of their key and their date.
type Rows = BTreeMap<(String, Date), Values>;

/// A recorded response that has the fields a source reads.
struct Recorded {
    name: String,
    reply: Reply,
    /// How many rows are extracted of it.
    extracted: usize,
    rows: Rows,
}

async fn every_row_of_the_recorded_responses_is_published(kind: Kind) {
    let mut weather = eligible("open-meteo", weather_rows);
    let mut market = eligible("yahoo", market_rows);
    let names = |all: &[Recorded]| all.iter().map(|one| one.name.clone()).collect::<Vec<_>>();
    let (weather_names, market_names) = (names(&weather), names(&market));
    assert_eq!((weather.len(), market.len()), (6, 16), "{weather_names:?} {market_names:?}");
    if kind == Kind::Embedded {
        // Those the issue names, the longest one of each, and some that overlap them.
        let few = [
            "melbourne-forecast-7d-nulls.json",
            "bergen-10y-daily.json",
            "AAPL-6mo-1d-dividends.json",
            "MUV2.DE-6mo-null-row.json",
            "AAPL-10d-1d.json",
            "historical-via-chart-dividends-TSLA-no-dividends.json",
        ];
        for all in [&mut weather, &mut market] {
            all.retain(|one| few.contains(&one.name.as_str()));
        }
        assert_eq!(weather.len() + market.len(), few.len());
    }
    let world = World::new(kind).await;
    // What the tables must hold: a later response has the last word on the rows it has.
    let (mut weather_table, mut market_table) = (Rows::new(), Rows::new());
    for index in 0..market.len() {
        let (sky, bars) = (&weather[index % weather.len()], &market[index]);
        world.api.only(WEATHER, sky.reply.clone());
        world.api.only(MARKET, bars.reply.clone());
        let report = world.run("2026-03-02").await;
        let context = format!("{} and {}: {}", sky.name, bars.name, report.json);
        assert_eq!(report.code, 0, "{context}");
        for (source, recorded, table) in
            [("weather", sky, &mut weather_table), ("sp500", bars, &mut market_table)]
        {
            let new = recorded.rows.keys().filter(|key| !table.contains_key(*key)).count();
            table.extend(recorded.rows.clone());
            let [inserted, updated, unchanged] = report.counts(source);
            assert_eq!(inserted, u64::try_from(new).unwrap(), "{context}");
            let keys = u64::try_from(recorded.rows.len()).unwrap();
            assert_eq!(inserted + updated + unchanged, keys, "{context}");
            let told = report.source(source);
            assert_eq!(told["extracted"], recorded.extracted, "{context}");
            assert_eq!(told["rejected"], 0, "{context}");
            assert_eq!(told["bytes"], recorded.reply.body().len(), "{context}");
        }
        compare(&table_of(world.sql(WEATHER_ROWS).await, "location"), &weather_table, &context);
        compare(&table_of(world.sql(MARKET_ROWS).await, "symbol"), &market_table, &context);
        // The bytes that were served are the bytes that are kept.
        assert_eq!(world.stored("raw/weather")[0].1, sky.reply.body()[..]);
        assert_eq!(world.stored("raw/sp500")[0].1, bars.reply.body()[..]);
    }
}

/// Says which row differs, where the whole tables would fill screens.
fn compare(found: &Rows, expected: &Rows, context: &str) {
    for (key, values) in expected {
        assert_eq!(found.get(key), Some(values), "{key:?} of {context}");
    }
    assert_eq!(found.len(), expected.len(), "rows nobody recorded, {context}");
}

/// A table as `daymark sql --json` gives it.
fn table_of(rows: Vec<Map<String, Value>>, key: &str) -> Rows {
    let mut table = Rows::new();
    for mut row in rows {
        let name = row.shift_remove(key).unwrap().as_str().unwrap().to_owned();
        let date = row.shift_remove("date").unwrap().as_str().unwrap().parse().unwrap();
        let values = row.values().map(number).collect();
        assert_eq!(table.insert((name, date), values), None, "a key twice");
    }
    table
}

fn number(value: &Value) -> Option<f64> {
    assert!(value.is_null() || value.is_number(), "{value}");
    value.as_f64()
}

/// The recorded responses of a folder that have the fields, by name.
fn eligible(folder: &str, rows_of: fn(&Value) -> Option<(usize, Rows)>) -> Vec<Recorded> {
    let mut all = Vec::new();
    for file in files(&Path::new(FIXTURES).join(folder)) {
        let Ok(tree) = serde_json::from_slice::<Value>(&std::fs::read(&file).unwrap()) else {
            continue;
        };
        // A recording with its HTTP around it holds the body as JSON.
        let (reply, body) = match tree.pointer("/response/bodyJson") {
            Some(body) => (Reply::json(serde_json::to_vec(body).unwrap()), body),
            None => (Reply::recorded(&file), &tree),
        };
        if let Some((extracted, rows)) = rows_of(body) {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            all.push(Recorded { name, reply, extracted, rows });
        }
    }
    all
}

/// The JSON files under a folder, by path.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn weather_rows(body: &Value) -> Option<(usize, Rows)> {
    let array = |name: &str| body.pointer("/daily")?.get(name)?.as_array();
    let times = array("time")?;
    let columns =
        [array("temperature_2m_max")?, array("temperature_2m_min")?, array("precipitation_sum")?];
    let mut rows = Rows::new();
    for (index, time) in times.iter().enumerate() {
        let values: Values = columns.iter().map(|column| number(&column[index])).collect();
        if values.iter().any(Option::is_some) {
            let date = time.as_str()?.parse().unwrap();
            rows.insert(("washington-dc".to_owned(), date), values);
        }
    }
    Some((times.len(), rows))
}

fn market_rows(body: &Value) -> Option<(usize, Rows)> {
    let result = body.pointer("/chart/result/0")?;
    let text = |pointer: &str| result.pointer(pointer)?.as_str();
    let (symbol, zone) = (text("/meta/symbol")?, text("/meta/exchangeTimezoneName")?);
    if text("/meta/dataGranularity")? != "1d" {
        return None;
    }
    let stamps = result.get("timestamp")?.as_array()?;
    result.pointer("/indicators/quote/0/close")?.as_array()?;
    let columns = ["quote/0/open", "quote/0/high", "quote/0/low", "quote/0/close"]
        .into_iter()
        .chain(["adjclose/0/adjclose", "quote/0/volume"])
        .map(|pointer| result.pointer(&format!("/indicators/{pointer}")));
    let columns: Vec<Option<&Value>> = columns.collect();
    let mut latest: BTreeMap<Date, (i64, Values)> = BTreeMap::new();
    for (index, stamp) in stamps.iter().enumerate() {
        let stamp = stamp.as_i64().unwrap();
        let at = Timestamp::from_second(stamp).unwrap() + 2.hours();
        let date = at.in_tz(zone).unwrap().date();
        let values: Values =
            columns.iter().map(|column| column.and_then(|column| number(&column[index]))).collect();
        let has_close = values[3].is_some();
        if has_close && latest.get(&date).is_none_or(|(before, _)| *before <= stamp) {
            latest.insert(date, (stamp, values));
        }
    }
    let rows = latest.into_iter().map(|(date, (_, values))| ((symbol.to_owned(), date), values));
    Some((stamps.len(), rows.collect()))
}
