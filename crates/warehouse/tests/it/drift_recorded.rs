//! Drift over recorded responses: what one endpoint answers from day to day, and for its many entities, is
//! no drift; what really changed about one is told, and once.

use std::path::{Path, PathBuf};

use daymark_testkit::database::Kind;
use daymark_testkit::on_both_databases;

use crate::bench::Bench;
use crate::drift::{said, shaped};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/fixtures");

on_both_databases! {
    #[cfg_attr(
        not(has_shared),
        ignore = "../shared is absent: recorded responses are not in the repository"
    )]
    what_an_endpoint_answers_every_day_is_no_drift;
    #[cfg_attr(
        not(has_shared),
        ignore = "../shared is absent: recorded responses are not in the repository"
    )]
    what_changed_about_an_endpoint_is_told_once;
}

/// Yahoo's bars, as the reference pipeline reads them.
const BARS: &str = r#"
id = "prices"
[request]
url = "http://127.0.0.1:1/"
[rows]
layout = "columns"
at = "$.chart.result[0]"
[rows.fields]
symbol = { path = "meta.symbol", type = "text" }
opened_at = { path = "timestamp", type = "epoch_seconds" }
open = { path = "indicators.quote[0].open", type = "double", optional = true }
price = { path = "indicators.quote[0].close", type = "double" }
"#;

/// Open-Meteo's days of several places.
const DAYS: &str = r#"
id = "prices"
[request]
url = "http://127.0.0.1:1/"
[rows]
layout = "columns"
at = "$[*].daily"
[rows.fields]
symbol = { path = "time", type = "text" }
price = { path = "precipitation_sum", type = "double" }
"#;

/// Open-Meteo's hours of one place, with the units beside them.
const HOURS: &str = r#"
id = "prices"
[request]
url = "http://127.0.0.1:1/"
[rows]
layout = "columns"
at = "$.hourly"
[rows.fields]
symbol = { path = "time", type = "text" }
price = { path = "temperature_2m", type = "double" }
"#;

/// Day-ahead prices of electricity.
const ENERGY: &str = r#"
id = "prices"
[request]
url = "http://127.0.0.1:1/"
[rows]
layout = "columns"
[rows.fields]
symbol = { path = "unix_seconds", type = "bigint" }
price = { path = "price", type = "double" }
"#;

/// Counts of bicycles, page by page.
const COUNTS: &str = r#"
id = "prices"
[request]
url = "http://127.0.0.1:1/"
[rows]
layout = "records"
[rows.fields]
symbol = { path = "date", type = "text" }
price = { path = "counts", type = "double" }
"#;

/// One row of each fetch is enough: the shape is what is looked at.
const MODEL: &str = r#"/* model
table = "price"
key = ["symbol"]
[columns]
symbol = "text not null"
price = "double precision"
*/
select _fetch_id, _fetch_row, symbol::text as symbol, price
from raw_prices order by _fetch_row limit 1
"#;

/// A bench for a source of recorded responses.
async fn bench(kind: Kind, source: &str) -> Bench {
    Bench::with(kind, &[("sources/prices.toml", source), ("models/price.sql", MODEL)]).await
}

/// The files of a folder, by name.
fn folder(name: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(Path::new(FIXTURES).join(name)).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.is_file());
    files.sort();
    files
}

fn files(names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(|name| Path::new(FIXTURES).join(name)).collect()
}

/// Publishes recorded responses, each by itself; gives what was told of each that said something.
async fn told(bench: &mut Bench, from: i64, files: &[PathBuf]) -> Vec<(String, Vec<String>)> {
    let mut told = Vec::new();
    for (minute, file) in (from..).zip(files) {
        let body = std::fs::read_to_string(file).unwrap();
        let key = shaped(bench, minute, &body);
        let report = bench.publish(&[&key]).await;
        assert_eq!(report.fetches[&key], daymark_warehouse::publish::FetchResult::Published);
        let said = said(&report);
        if !said.is_empty() {
            told.push((file.file_name().unwrap().to_string_lossy().into_owned(), said));
        }
    }
    told
}

async fn what_an_endpoint_answers_every_day_is_no_drift(kind: Kind) {
    let mut bars = folder("yahoo/max-1mo");
    bars.extend(files(&[
        "yahoo/GSPC-max-1mo.json",
        "yahoo/AAPL-10d-1d.json",
        "yahoo/AAPL-1mo-1d-2sp.json",
        "yahoo/GS2C.DE-5d.json",
        "yahoo/MUV2.DE-6mo-b.json",
    ]));
    // The same request six times a day over seven weeks, and what it forecasts.
    let days = folder("open-meteo/mumbai-revisions");
    let (forecasts, archive): (Vec<PathBuf>, Vec<PathBuf>) = days
        .into_iter()
        .partition(|file| file.file_name().unwrap().to_string_lossy().starts_with("forecast"));
    // Five years, all seasons of them.
    let energy = folder("energy-charts-daily").into_iter().step_by(179).collect::<Vec<_>>();
    let counts = files(&["socrata/bike_counts_page_1.json", "socrata/bike_counts_page_2.json"]);
    for (source, files, at_least) in [
        (BARS, bars, 40),
        (DAYS, archive, 5),
        (DAYS, forecasts, 2),
        (HOURS, folder("open-meteo/city-batch-2026-01-21"), 9),
        (ENERGY, energy, 11),
        (COUNTS, counts, 2),
    ] {
        assert!(files.len() >= at_least, "{files:?}");
        let mut bench = bench(kind, source).await;
        // Once in their order, and once more when it is known what is always there.
        let mut twice = files.clone();
        twice.extend(files.into_iter().rev().take(10));
        assert_eq!(told(&mut bench, 1, &twice).await, [], "{source}");
        let known = bench.rows_of("select count(*) from daymark.shape").await;
        assert_ne!(known, ["[0]"], "a shape is known, so something could have been told");
    }
}

async fn what_changed_about_an_endpoint_is_told_once(kind: Kind) {
    let mut bars = bench(kind, BARS).await;
    let daily: Vec<PathBuf> = folder("yahoo/max-1mo").into_iter().take(6).collect();
    assert_eq!(told(&mut bars, 1, &daily).await, []);
    // A dividend is paid, then one of another kind as well; then a month without any.
    let names = [
        "yahoo/AAPL-6mo-1d-dividends.json",
        "yahoo/AAPL-dividends-1mo.json",
        "yahoo/VFINX-max-3mo-capitalgains.json",
        "yahoo/AAPL-10d-1d.json",
        "yahoo/AAPL-6mo-1d-dividends.json",
        "yahoo/AAPL-10d-1d.json",
        "yahoo/VFINX-max-3mo-capitalgains.json",
        "yahoo/AAPL-10d-1d.json",
    ];
    let events = told(&mut bars, 10, &files(&names)).await;
    insta::allow_duplicates! { insta::assert_snapshot!(text(&events), @r#"
    AAPL-6mo-1d-dividends.json
      `$.chart.result[*].events` is new (object)
    VFINX-max-3mo-capitalgains.json
      `$.chart.result[*].events.capitalGains` is new (object)
      `$.chart.result[*].meta.regularMarketDayHigh` is missing
      `$.chart.result[*].meta.regularMarketDayLow` is missing
      `$.chart.result[*].meta.regularMarketVolume` is missing
    AAPL-10d-1d.json
      `$.chart.result[*].events` is missing
    AAPL-6mo-1d-dividends.json
      `$.chart.result[*].events.capitalGains` is missing
    "#); }

    // What the same endpoint answered years before: fields of `meta` came later.
    let mut bars = bench(kind, BARS).await;
    assert_eq!(told(&mut bars, 1, &daily).await, []);
    let names = [
        "yahoo/AAPL-5d-formatted.json",
        "yahoo/AAPL-5d-close-adjclose-only.json",
        "yahoo/AAPL-5d-formatted.json",
    ];
    let older = told(&mut bars, 10, &files(&names)).await;
    insta::allow_duplicates! { insta::assert_snapshot!(text(&older), @r#"
    AAPL-5d-formatted.json
      `$.chart.result[*].meta.fiftyTwoWeekHigh` is missing
      `$.chart.result[*].meta.fiftyTwoWeekLow` is missing
      `$.chart.result[*].meta.fullExchangeName` is missing
      `$.chart.result[*].meta.hasPrePostMarketData` is missing
      `$.chart.result[*].meta.longName` is missing
      `$.chart.result[*].meta.regularMarketDayHigh` is missing
      `$.chart.result[*].meta.regularMarketDayLow` is missing
      `$.chart.result[*].meta.regularMarketVolume` is missing
      `$.chart.result[*].meta.shortName` is missing
    AAPL-5d-close-adjclose-only.json
      `$.chart.result[*].indicators.quote[*].high` is missing
      `$.chart.result[*].indicators.quote[*].low` is missing
      `$.chart.result[*].indicators.quote[*].open`, which `[rows]` reads, is missing
      `$.chart.result[*].indicators.quote[*].volume` is missing
    "#); }

    // A request that asks for other variables.
    let mut days = bench(kind, DAYS).await;
    let days_of = folder("open-meteo/mumbai-revisions");
    assert_eq!(told(&mut days, 1, &days_of[..5]).await, []);
    let asked = told(&mut days, 10, &days_of[5..]).await;
    insta::allow_duplicates! { insta::assert_snapshot!(text(&asked), @r#"
    forecast-2026-08-18-cf8519c.json
      `$[*].current` is new (object)
      `$[*].current_units` is new (object)
      `$[*].daily.precipitation_probability_max` is new (array)
      `$[*].daily.weather_code` is new (array)
      `$[*].daily_units.precipitation_probability_max` is new (string, such as "%")
      `$[*].daily_units.weather_code` is new (string, such as "wmo code")
      `$[*].hourly` is new (object)
      `$[*].hourly_units` is new (object)
      `$[*].daily.precipitation_hours` is missing
      `$[*].daily.temperature_2m_max` is missing
      `$[*].daily.temperature_2m_min` is missing
      `$[*].daily_units.precipitation_hours` is missing
      `$[*].daily_units.temperature_2m_max` is missing
      `$[*].daily_units.temperature_2m_min` is missing
    "#); }
}

fn text(told: &[(String, Vec<String>)]) -> String {
    let texts = told.iter().map(|(file, said)| format!("{file}\n  {}\n", said.join("\n  ")));
    texts.collect()
}
