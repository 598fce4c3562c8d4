//! One recorded response of each family, its `[rows]` section as a person would write it, and its
//! rows compared with rows made by hand from `serde_json`'s tree or the crate `csv`'s records.

use std::path::Path;

use serde_json::Value;

use crate::{rows_of, rows_section};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/fixtures");

type Rows = Vec<Vec<Option<String>>>;

fn body(file: &str) -> String {
    std::fs::read_to_string(Path::new(FIXTURES).join(file)).unwrap()
}

fn tree(body: &str) -> Value {
    serde_json::from_str(body).unwrap()
}

/// A value of the tree as text.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Some(whole.to_string()),
            None => Some(number.as_f64().unwrap().to_string()),
        },
        other => Some(other.to_string()),
    }
}

fn stamp(value: &Value) -> Option<String> {
    let at: jiff::civil::DateTime = value.as_str()?.parse().unwrap();
    Some(at.to_string())
}

fn millis(value: &Value) -> Option<String> {
    Some(jiff::Timestamp::from_millisecond(value.as_i64()?).unwrap().to_string())
}

#[track_caller]
fn same(section: &str, body: &str, expected: &Rows) {
    let (rows, summary) = rows_of(&rows_section(section), body);
    assert_eq!(summary.rejects, []);
    assert_eq!(rows.len(), expected.len());
    for (at, (row, expected)) in rows.iter().zip(expected).enumerate() {
        assert_eq!(row, expected, "row {at}");
    }
    assert!(!rows.is_empty());
}

/// Why a body is refused.
fn refused(section: &str, body: &str) -> String {
    daymark_extract::scan(&rows_section(section), body.as_bytes()).unwrap_err().to_string()
}

/// The JSON bodies of a cassette: single-quoted YAML, folded at spaces.
pub(crate) fn cassette(file: &str) -> Vec<String> {
    let text = body(file);
    let mut bodies: Vec<String> = Vec::new();
    let mut open = false;
    for line in text.lines() {
        let start = line.trim_start().strip_prefix("string: '");
        let part = match start.filter(|part| part.starts_with(['{', '['])) {
            Some(part) => {
                bodies.push(part.to_owned());
                part
            }
            None if open => {
                let body = bodies.last_mut().unwrap();
                body.push(' ');
                body.push_str(line.trim_start());
                line
            }
            None => continue,
        };
        open = !part.ends_with('\'') || part.ends_with("''");
    }
    assert!(!bodies.is_empty() && !open);
    bodies.iter().map(|body| body.strip_suffix('\'').unwrap().replace("''", "'")).collect()
}

/// The records of a table, by the crate `csv`; what is in `missing` is null.
fn table(body: &str, missing: &[&str]) -> Rows {
    let mut reader = csv::Reader::from_reader(body.as_bytes());
    let records = reader.records().map(|record| {
        let cell = |cell: &str| (!missing.contains(&cell)).then(|| cell.to_owned());
        record.unwrap().iter().map(cell).collect()
    });
    records.collect()
}

const ALPHA_VANTAGE: &str = r#"
layout = "keyed"
at = "$['Time Series (Daily)']"
[rows.fields]
date   = { key = true, type = "date" }
symbol = { path = "$['Meta Data']['2. Symbol']", type = "text" }
open   = { path = "['1. open']", type = "numeric" }
close  = { path = "['4. close']", type = "double" }
volume = { path = "['5. volume']", type = "bigint" }
"#;

#[test]
#[cfg_attr(not(has_shared), ignore = "../shared is absent")]
fn alpha_vantage_keys_by_day_and_writes_numbers_as_strings() {
    let body = body("alpha-vantage/IBM-TIME_SERIES_DAILY-compact.json");
    let tree = tree(&body);
    let days = tree["Time Series (Daily)"].as_object().unwrap();
    let rows = days.iter().map(|(day, bar)| {
        let close: f64 = bar["4. close"].as_str().unwrap().parse().unwrap();
        vec![
            Some(day.clone()),
            Some("IBM".to_owned()),
            text(&bar["1. open"]),
            Some(close.to_string()),
            text(&bar["5. volume"]),
        ]
    });
    same(ALPHA_VANTAGE, &body, &rows.collect());
    for file in ["error-message", "note-rate-limit"] {
        let error =
            refused(ALPHA_VANTAGE, &self::body(&format!("alpha-vantage/errors/{file}.json")));
        assert_eq!(error, "the body has nothing at `$['Time Series (Daily)']`");
    }
}

const DJIA: &str = r#"
layout = "csv"
[rows.fields]
date   = { column = "Date", type = "date" }
open   = { column = "Open", type = "numeric" }
high   = { column = 3, type = "numeric" }
low    = { column = ["Lowest", "Low"], type = "numeric" }
close  = { column = "Close", type = "numeric" }
volume = { column = "Volume", type = "bigint" }
name   = { column = "Name", type = "text" }
"#;

const PRSA: &str = r#"
layout = "csv"
missing = "NA"
[rows.fields]
no      = { column = "No", type = "integer" }
year    = { column = "year", type = "smallint" }
pm      = { column = "PM2.5", type = "numeric" }
wind    = { column = "wd", type = "text" }
station = { column = "station", type = "text" }
row     = { ordinal = true, type = "integer" }
"#;

#[test]
#[cfg_attr(not(has_shared), ignore = "../shared is absent")]
fn the_benchmark_tables_have_holes_and_words_for_missing() {
    let folder = "benchmark/djia-daily-2006-2018";
    for symbol in ["AAPL", "BA", "CAT", "KO"] {
        let body = body(&format!("{folder}/{symbol}_2006-01-01_to_2018-01-01.csv"));
        same(DJIA, &body, &table(&body, &[""]));
    }
    let body = body("benchmark/beijing-prsa-hourly/PRSA_Data_Dongsi_20130301-20170228.csv");
    let rows = table(&body, &["NA"]).into_iter().map(|row| {
        let mut picked: Vec<_> = [0, 1, 5, 15, 17].iter().map(|at| row[*at].clone()).collect();
        picked.push(picked[0].clone());
        picked
    });
    same(PRSA, &body, &rows.collect());
}

#[test]
#[cfg_attr(not(has_shared), ignore = "../shared is absent")]
fn coingecko_lists_coins_and_keys_prices_by_coin() {
    let body = body("coingecko/coins_list.json");
    let coins = tree(&body);
    let rows =
        coins.as_array().unwrap().iter().map(|coin| vec![text(&coin["id"]), text(&coin["name"])]);
    same(
        "layout = \"records\"\n[rows.fields]\nid = { path = \"id\", type = \"text\" }\n\
         name = { path = \"name\", type = \"text\" }\n",
        &body,
        &rows.collect(),
    );
    let body = self::body("coingecko/simple_price.json");
    let prices = tree(&body);
    let rows = prices
        .as_object()
        .unwrap()
        .iter()
        .map(|(id, price)| vec![Some(id.clone()), text(&price["usd"]), text(&price["myr"])]);
    same(
        "layout = \"keyed\"\n[rows.fields]\nid = { key = true, type = \"text\" }\n\
         usd = { path = \"usd\", type = \"double\" }\nmyr = { path = \"myr\", type = \"double\" }\n",
        &body,
        &rows.collect(),
    );
}

#[test]
#[cfg_attr(not(has_shared), ignore = "../shared is absent")]
fn energy_charts_has_days_of_23_24_and_25_hours() {
    let section = "layout = \"columns\"\n[rows.fields]\n\
         at = { path = \"unix_seconds\", type = \"epoch_seconds\" }\n\
         price = { path = \"price\", type = \"double\" }\n\
         hour = { ordinal = true, type = \"smallint\" }\n";
    for (day, hours) in [("2020-01-01", 24), ("2020-03-29", 23), ("2020-10-25", 25)] {
        let body = body(&format!("energy-charts-daily/{day}.json"));
        let tree = tree(&body);
        let prices = tree["price"].as_array().unwrap();
        assert_eq!(prices.len(), hours, "{day}");
        let at = tree["unix_seconds"].as_array().unwrap();
        let rows = at.iter().zip(prices).enumerate().map(|(row, (at, price))| {
            let at = jiff::Timestamp::from_second(at.as_i64().unwrap()).unwrap();
            vec![Some(at.to_string()), text(price), Some((row + 1).to_string())]
        });
        same(section, &body, &rows.collect());
    }
}

#[test]
#[cfg_attr(not(has_shared), ignore = "../shared is absent")]
fn frankfurter_keys_by_day_and_by_currency() {
    let section = r#"
layout = "keyed"
at = "$.rates.*"
[rows.fields]
date     = { key = 2, type = "date" }
currency = { key = true, type = "text" }
rate     = { path = "@", type = "double" }
base     = { path = "^^.base", type = "text" }
"#;
    let body = body("frankfurter/usd-range-2026-07.json");
    let tree = tree(&body);
    let mut rows = Rows::new();
    for (day, rates) in tree["rates"].as_object().unwrap() {
        for (currency, rate) in rates.as_object().unwrap() {
            let base = text(&tree["base"]);
            rows.push(vec![Some(day.clone()), Some(currency.clone()), text(rate), base]);
        }
    }
    same(section, &body, &rows);
}

#[test]
#[cfg_attr(not(has_shared), ignore = "../shared is absent")]
fn fred_leaves_holidays_empty_or_writes_a_point() {
    let section = "layout = \"csv\"\n[rows.fields]\n\
         date = { column = \"observation_date\", type = \"date\" }\n\
         close = { column = \"SP500\", type = \"numeric\" }\n";
    let body = body("fred/fred_sp500-fredgraph.csv");
    let rows = table(&body, &[""]);
    assert!(rows.iter().any(|row| row[1].is_none()));
    same(section, &body, &rows);
    let section = "layout = \"records\"\nat = \"$.observations\"\nmissing = \".\"\n[rows.fields]\n\
         date = { path = \"date\", type = \"date\" }\nrate = { path = \"value\", type = \"numeric\" }\n\
         units = { path = \"$.units\", type = \"text\" }\n";
    for body in cassette("fred/frankfurter-vcr-series-observations.yml") {
        let tree = tree(&body);
        let rows = tree["observations"].as_array().unwrap().iter().map(|seen| {
            let rate = text(&seen["value"]).filter(|value| value != ".");
            vec![text(&seen["date"]), rate, text(&tree["units"])]
        });
        same(section, &body, &rows.collect());
    }
}

#[test]
#[cfg_attr(not(has_shared), ignore = "../shared is absent")]
fn github_nests_issues_in_pages() {
    let section = r#"
layout = "records"
at = "$[*].response"
[rows.fields]
page   = { path = "^.path", type = "text" }
number = { path = "number", type = "integer" }
login  = { path = "user.login", type = "text" }
at     = { path = "created_at", type = "timestamptz" }
place  = { ordinal = true, type = "integer" }
"#;
    let body = body("github/paginate-issues-normalized.json");
    let tree = tree(&body);
    let mut rows = Rows::new();
    for page in tree.as_array().unwrap() {
        for (at, issue) in page["response"].as_array().unwrap().iter().enumerate() {
            rows.push(vec![
                text(&page["path"]),
                text(&issue["number"]),
                text(&issue["user"]["login"]),
                text(&issue["created_at"]),
                Some((at + 1).to_string()),
            ]);
        }
    }
    assert!(tree.as_array().unwrap().len() > 1);
    same(section, &body, &rows);
}

#[test]
#[cfg_attr(not(has_shared), ignore = "../shared is absent")]
fn met_office_nests_reports_in_days_in_stations() {
    let section = r#"
layout = "records"
at = "$.SiteRep.DV.Location[*].Period[*].Rep"
[rows.fields]
station = { path = "^^^.i", type = "integer" }
name    = { path = "^^^.name", type = "text" }
date    = { path = "^.value", type = "date", format = "%Y-%m-%dZ" }
minutes = { path = "['$']", type = "smallint" }
degrees = { path = "T", type = "numeric", optional = true }
wind    = { path = "D", type = "text", optional = true }
"#;
    let body = body("met-office-datapoint/valid_data.json");
    let tree = tree(&body);
    let mut rows = Rows::new();
    for station in tree["SiteRep"]["DV"]["Location"].as_array().unwrap() {
        let periods = match &station["Period"] {
            Value::Array(periods) => periods.as_slice(),
            _ => continue,
        };
        for period in periods {
            let reports = match &period["Rep"] {
                Value::Array(reports) => reports.clone(),
                one => vec![one.clone()],
            };
            for report in reports {
                rows.push(vec![
                    text(&station["i"]),
                    text(&station["name"]),
                    text(&period["value"]).map(|day| day.trim_end_matches('Z').to_owned()),
                    text(&report["$"]),
                    text(&report["T"]),
                    text(&report["D"]),
                ]);
            }
        }
    }
    assert!(rows.len() > 1000, "{}", rows.len());
    same(section, &body, &rows);
}

#[test]
#[cfg_attr(not(has_shared), ignore = "../shared is absent")]
fn noaa_lists_results() {
    let section = "layout = \"records\"\nat = \"$.results\"\n[rows.fields]\n\
         at = { path = \"date\", type = \"timestamp\" }\nstation = { path = \"station\", type = \"text\" }\n\
         attributes = { path = \"attributes\", type = \"text\" }\nvalue = { path = \"value\", type = \"integer\" }\n";
    for body in cassette("noaa-cdo/ncdc.yml") {
        let tree = tree(&body);
        let rows = tree["results"].as_array().unwrap().iter().map(|seen| {
            let attributes = text(&seen["attributes"]);
            vec![stamp(&seen["date"]), text(&seen["station"]), attributes, text(&seen["value"])]
        });
        same(section, &body, &rows.collect());
    }
}

#[test]
#[cfg_attr(not(has_shared), ignore = "../shared is absent")]
fn open_meteo_answers_for_several_places_at_once() {
    let section = r#"
layout = "columns"
at = "$[*].hourly"
[rows.fields]
latitude    = { path = "^.latitude", type = "double" }
time        = { path = "time", type = "timestamp" }
temperature = { path = "temperature_2m", type = "double" }
unit        = { path = "^.hourly_units.temperature_2m", type = "text" }
"#;
    let body = body("open-meteo/multi-location-12-cities-ecmwf.json");
    let tree = tree(&body);
    let mut rows = Rows::new();
    for city in tree.as_array().unwrap() {
        let hours = city["hourly"]["time"].as_array().unwrap();
        for (hour, degrees) in
            hours.iter().zip(city["hourly"]["temperature_2m"].as_array().unwrap())
        {
            let unit = text(&city["hourly_units"]["temperature_2m"]);
            rows.push(vec![text(&city["latitude"]), stamp(hour), text(degrees), unit]);
        }
    }
    assert_eq!(rows.len(), 12 * 240);
    same(section, &body, &rows);
}

#[test]
#[cfg_attr(not(has_shared), ignore = "../shared is absent")]
fn polygon_lists_bars_of_milliseconds() {
    let section = "layout = \"records\"\nat = \"$.results\"\n[rows.fields]\n\
         ticker = { path = \"$.ticker\", type = \"text\" }\nat = { path = \"t\", type = \"epoch_milliseconds\" }\n\
         close = { path = \"c\", type = \"double\" }\nvolume = { path = \"v\", type = \"bigint\" }\n";
    let body = body("polygon/aggs-AAPL-2005-04.json");
    let tree = tree(&body);
    let rows = tree["results"].as_array().unwrap().iter().map(|bar| {
        vec![text(&tree["ticker"]), millis(&bar["t"]), text(&bar["c"]), text(&bar["v"])]
    });
    same(section, &body, &rows.collect());
}

#[test]
#[cfg_attr(not(has_shared), ignore = "../shared is absent")]
fn socrata_writes_every_number_as_a_string() {
    let section = "layout = \"records\"\n[rows.fields]\nid = { path = \"id\", type = \"bigint\" }\n\
         at = { path = \"date\", type = \"timestamp\" }\ncounts = { path = \"counts\", type = \"integer\" }\n";
    for page in ["1", "2"] {
        let body = body(&format!("socrata/bike_counts_page_{page}.json"));
        let tree = tree(&body);
        let rows = tree
            .as_array()
            .unwrap()
            .iter()
            .map(|seen| vec![text(&seen["id"]), stamp(&seen["date"]), text(&seen["counts"])]);
        same(section, &body, &rows.collect());
    }
}

#[test]
#[cfg_attr(not(has_shared), ignore = "../shared is absent")]
fn stooq_answers_in_tables_and_in_words() {
    let section = "layout = \"csv\"\n[rows.fields]\ndate = { column = \"Date\", type = \"date\" }\n\
         open = { column = \"Open\", type = \"numeric\" }\nhigh = { column = \"High\", type = \"numeric\" }\n\
         low = { column = \"Low\", type = \"numeric\" }\nclose = { column = \"Close\", type = \"numeric\" }\n\
         volume = { column = \"Volume\", type = \"numeric\", optional = true }\n";
    let body = body("stooq/spx_d-1789-2025.csv");
    same(section, &body, &table(&body, &[""]));
    assert_eq!(
        refused(section, &self::body("stooq/errors/daily-limit.txt")),
        "the field `date` is missing: no column `Date` in the header `Exceeded the daily hits limit`"
    );
}

#[test]
#[cfg_attr(not(has_shared), ignore = "../shared is absent")]
fn usgs_lists_features_or_none() {
    let section = "layout = \"records\"\nat = \"$.features\"\n[rows.fields]\nid = { path = \"id\", type = \"text\" }\n\
         at = { path = \"properties.time\", type = \"epoch_milliseconds\" }\n\
         mag = { path = \"properties.mag\", type = \"double\" }\n\
         longitude = { path = \"geometry.coordinates[0]\", type = \"double\" }\n";
    let body = body("usgs/earthquakes-week-2018.json");
    let tree = tree(&body);
    let rows = tree["features"].as_array().unwrap().iter().map(|feature| {
        vec![
            text(&feature["id"]),
            millis(&feature["properties"]["time"]),
            text(&feature["properties"]["mag"]),
            text(&feature["geometry"]["coordinates"][0]),
        ]
    });
    same(section, &body, &rows.collect());
    let (rows, _) = rows_of(&rows_section(section), &self::body("usgs/earthquakes-empty.json"));
    assert_eq!(rows, Rows::new());
}

#[test]
#[cfg_attr(not(has_shared), ignore = "../shared is absent")]
fn the_world_bank_answers_with_a_pair() {
    let section = "layout = \"records\"\nat = \"$[1]\"\n[rows.fields]\n\
         country = { path = \"country.id\", type = \"text\" }\nyear = { path = \"date\", type = \"smallint\" }\n\
         value = { path = \"value\", type = \"double\" }\nupdated = { path = \"$[0].lastupdated\", type = \"date\" }\n";
    let body = body("world-bank/wdi-reserves-v2.json");
    let tree = tree(&body);
    let rows = tree[1].as_array().unwrap().iter().map(|seen| {
        let updated = text(&tree[0]["lastupdated"]);
        vec![text(&seen["country"]["id"]), text(&seen["date"]), text(&seen["value"]), updated]
    });
    same(section, &body, &rows.collect());
    let nothing = "[{\"page\":1,\"lastupdated\":\"2026-07-01\"},null]";
    assert_eq!(rows_of(&rows_section(section), nothing).0, Rows::new());
}

#[test]
#[cfg_attr(not(has_shared), ignore = "../shared is absent")]
fn central_banks_write_dates_their_own_way() {
    let section = "layout = \"records\"\nat = \"$.items\"\n[rows.fields]\n\
         date = { path = \"Tarih\", type = \"date\", format = \"%d-%m-%Y\" }\n\
         euro = { path = \"TP_DK_EUR_A_YTL\", type = \"numeric\" }\n";
    for body in cassette("central-banks/tcmb.yml") {
        let tree = tree(&body);
        let rows = tree["items"].as_array().unwrap().iter().map(|seen| {
            let day = seen["Tarih"].as_str().unwrap();
            let day = format!("{}-{}-{}", &day[6..], &day[3..5], &day[..2]);
            vec![Some(day), text(&seen["TP_DK_EUR_A_YTL"])]
        });
        same(section, &body, &rows.collect());
    }
    let section = "layout = \"records\"\nat = \"$.value\"\n[rows.fields]\n\
         at = { path = \"dataHoraCotacao\", type = \"timestamp\" }\nbid = { path = \"cotacaoCompra\", type = \"double\" }\n";
    for body in cassette("central-banks/bcb.yml") {
        let tree = tree(&body);
        let rows = tree["value"]
            .as_array()
            .unwrap()
            .iter()
            .map(|seen| vec![stamp(&seen["dataHoraCotacao"]), text(&seen["cotacaoCompra"])]);
        same(section, &body, &rows.collect());
    }
    let section = "layout = \"records\"\n[rows.fields]\nid = { path = \"Cur_ID\", type = \"integer\" }\n\
         at = { path = \"Date\", type = \"timestamp\" }\nrate = { path = \"Cur_OfficialRate\", type = \"double\" }\n";
    for body in cassette("central-banks/nbrb.yml") {
        let tree = tree(&body);
        let rows = tree.as_array().unwrap().iter().map(|seen| {
            vec![text(&seen["Cur_ID"]), stamp(&seen["Date"]), text(&seen["Cur_OfficialRate"])]
        });
        same(section, &body, &rows.collect());
    }
}
