//! The rows of a body, counted without daymark's extraction: by `serde_json`'s tree, the crate `csv`'s
//! records, or lines.
//!
//! In: a source's name and a body. Out: how many rows a person would say it has.

use serde_json::Value;

/// The rows of a body that a source extracts; none where there is nothing that could be counted.
pub(crate) fn rows(source: &str, body: &[u8]) -> Option<u64> {
    let tree = || serde_json::from_slice::<Value>(body).ok();
    let at = |pointer: &str| tree()?.pointer(pointer).map(length);
    let of_each = |pointer: &str| {
        let tree = tree()?;
        Some(tree.as_array()?.iter().filter_map(|one| one.pointer(pointer)).map(length).sum())
    };
    match source {
        "weather" | "om_daily" => at("/daily/time"),
        "om_hourly" | "om_customer" => at("/hourly/time"),
        "om_quarter_hours" => at("/minutely_15/time"),
        "om_places" => of_each("/hourly/time"),
        "om_places_daily" => of_each("/daily/time"),
        "om_current" => at("/current"),
        "om_current_weather" => at("/current_weather"),
        "om_wrapped" => at("/payload/api_response/daily/time"),
        "sp500" | "yahoo_chart" | "yahoo_history" => at("/chart/result/0/timestamp"),
        "yahoo_spark" => at("/spark/result/0/response/0/timestamp"),
        "yahoo_dividends" => Some(at("/chart/result/0/events/dividends").unwrap_or(0)),
        "yahoo_splits" => Some(at("/chart/result/0/events/splits").unwrap_or(0)),
        "yahoo_capitalgains" => Some(at("/chart/result/0/events/capitalGains").unwrap_or(0)),
        "alpha_vantage" => at("/Time Series (Daily)"),
        "fred" | "fred_pages" => at("/observations"),
        "world_bank" => at("/1"),
        "github_issues" | "socrata" | "coins" | "nbrb" | "nbrb_history" => {
            tree().as_ref().map(length)
        }
        "github_search" | "tcmb" => at("/items"),
        "noaa_data" | "om_geocoding" => Some(at("/results").unwrap_or(0)),
        "noaa_locations" | "noaa_stations" | "polygon" => at("/results"),
        "noaa_station" => tree().map(|_| 1),
        "usgs" | "usgs_strict" => at("/features"),
        "frankfurter" => {
            let tree = tree()?;
            Some(tree["rates"].as_object()?.values().map(length).sum())
        }
        "energy_charts" => at("/price"),
        "bcb" => at("/value"),
        "coin_prices" => tree()?.as_object().map(|coins| coins.len() as u64),
        "met_office" | "met_office_single" => {
            let alone = source.ends_with("single");
            let tree = tree()?;
            let stations = tree.pointer("/SiteRep/DV/Location")?.as_array()?;
            let periods = stations.iter().flat_map(|station| match &station["Period"] {
                Value::Array(periods) if !alone => periods.as_slice(),
                one @ Value::Object(_) if alone => std::slice::from_ref(one),
                _ => &[],
            });
            Some(periods.map(|period| length(&period["Rep"])).sum())
        }
        // A table whose cells hold no line breaks: its lines but the first.
        "stooq" | "fred_graph" => {
            let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
            (lines as u64).checked_sub(1)
        }
        "djia" | "beijing" => Some(csv::Reader::from_reader(body).records().count() as u64),
        _ => None,
    }
}

/// The elements of an array; an object of objects is as many, any other is one.
fn length(value: &Value) -> u64 {
    match value {
        Value::Array(items) => items.len() as u64,
        Value::Object(members) if members.values().all(Value::is_object) => members.len() as u64,
        Value::Object(members) if members.values().all(Value::is_number) => members.len() as u64,
        Value::Null => 0,
        _ => 1,
    }
}
