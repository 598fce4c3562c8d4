//! Open-Meteo's `/v1/forecast`, daily variables of one place.
//!
//! In: query parameters, now. Out: the answer, with the key order and number formats of the server
//! (`JsonWriter.swift`), recorded in `fixtures/open-meteo/`. Deliberately absent: hourly and current
//! sections, several places, `models`, units other than the default ones.

use std::fmt::{Display, Write};

use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, ToSpan};

use super::answer::{Answer, Query, parameter};
use super::noise::{Stream, day_number, float, float32};
use super::weather::{self, Day};

const GENERATION_TIME: Stream = Stream(31);
const HORIZON: Stream = Stream(32);

/// The spacing of the weather model's grid in degrees, about 3 km.
const GRID: f64 = 0.027;

/// The daily variables known here, with unit and decimals.
const VARIABLES: [Variable; 4] = [
    Variable { name: "temperature_2m_max", unit: "°C", decimals: 1, of: |day| day.maximum },
    Variable { name: "temperature_2m_min", unit: "°C", decimals: 1, of: |day| day.minimum },
    Variable {
        name: "temperature_2m_mean",
        unit: "°C",
        decimals: 1,
        of: |day| day.minimum.midpoint(day.maximum),
    },
    Variable { name: PRECIPITATION, unit: "mm", decimals: 2, of: |day| day.precipitation },
];

const PRECIPITATION: &str = "precipitation_sum";

struct Variable {
    name: &'static str,
    unit: &'static str,
    decimals: usize,
    of: fn(&Day) -> f64,
}

/// The answer at `now`; `call` counts the requests, for what differs between two equal ones.
pub(super) fn answer(query: &Query, now: Timestamp, call: i64) -> Answer {
    match Request::read(query) {
        Ok(request) => json(200, request.write(now, call)),
        Err(reason) => bad_request(&reason),
    }
}

/// The body of a server that failed; release builds of the real one hide the detail.
pub(super) fn server_error() -> Answer {
    json(500, r#"{"reason":"Something went wrong.","error":true}"#.to_owned())
}

fn bad_request(reason: &str) -> Answer {
    json(400, format!(r#"{{"error":true,"reason":{}}}"#, serde_json::Value::from(reason)))
}

fn json(status: u16, body: String) -> Answer {
    Answer { status, content_type: "application/json; charset=utf-8", body }
}

struct Request {
    latitude: f64,
    longitude: f64,
    variables: Vec<&'static Variable>,
    zone: TimeZone,
    zone_name: String,
    past_days: i64,
    forecast_days: i64,
}

impl Request {
    /// Reads the parameters; the error is the server's `reason`.
    fn read(query: &Query) -> Result<Self, String> {
        let coordinate = |name| parameter(query, name).and_then(|text| text.parse::<f64>().ok());
        let (Some(latitude), Some(longitude)) = (coordinate("latitude"), coordinate("longitude"))
        else {
            let reason =
                "Parameter 'latitude' and 'longitude' must have the same number of elements";
            return Err(reason.to_owned());
        };
        if !(-90.0..=90.0).contains(&latitude) {
            return Err(format!("Latitude must be in range of -90 to 90°. Given: {latitude:?}."));
        }
        if !(-180.0..=180.0).contains(&longitude) {
            return Err(format!(
                "Longitude must be in range of -180 to 180°. Given: {longitude:?}."
            ));
        }
        let zone_name = match parameter(query, "timezone") {
            None => "GMT",
            // The real server looks the zone up by place; there is one place here.
            Some("auto") => "America/New_York",
            Some(name) => name,
        };
        let zone = TimeZone::get(zone_name).map_err(|_| "Invalid timezone".to_owned())?;
        Ok(Self {
            latitude,
            longitude,
            variables: variables(query)?,
            zone_name: zone.iana_name().unwrap_or(zone_name).to_owned(),
            zone,
            past_days: days(query, "past_days", "Past", 0, 92)?,
            forecast_days: days(query, "forecast_days", "Forecast", 7, 16)?,
        })
    }

    fn write(&self, now: Timestamp, call: i64) -> String {
        // One offset for the whole answer, the one at the time of the request, also for dates on
        // the other side of a DST change.
        let offset = self.zone.to_offset(now);
        let today = offset.to_datetime(now).date();
        let first = today.saturating_sub(self.past_days.days());
        let count = usize::try_from(self.past_days + self.forecast_days).unwrap_or(0);
        let dates: Vec<Date> = first.series(1.day()).take(count).collect();
        let days: Vec<Day> = dates.iter().map(|day| weather::day(*day, today)).collect();

        let mut units = String::from(r#""time":"iso8601""#);
        let mut columns =
            format!(r#""time":{}"#, array(dates.iter().map(|day| format!("\"{day}\""))));
        for variable in &self.variables {
            let Variable { name, unit, decimals, of } = variable;
            let horizon = (*name == PRECIPITATION).then(|| self.horizon(today)).flatten();
            let cells = dates.iter().zip(&days).map(|(date, day)| match horizon {
                Some(end) if *date >= end => "null".to_owned(),
                _ => format!("{:.decimals$}", of(day)),
            });
            append(&mut units, format_args!(r#","{name}":"{unit}""#));
            append(&mut columns, format_args!(r#","{name}":{}"#, array(cells)));
        }
        let latitude = grid_cell(self.latitude, -90.0);
        let longitude = grid_cell(self.longitude, -180.0);
        let generation = generation_time(call);
        let seconds = offset.seconds();
        let abbreviation = abbreviation(offset);
        let zone_name = &self.zone_name;
        let mut body = format!(r#"{{"latitude":{latitude},"longitude":{longitude}"#);
        append(&mut body, format_args!(r#","generationtime_ms":{generation}"#));
        append(&mut body, format_args!(r#","utc_offset_seconds":{seconds}"#));
        append(&mut body, format_args!(r#","timezone":"{zone_name}""#));
        append(&mut body, format_args!(r#","timezone_abbreviation":"{abbreviation}""#));
        append(&mut body, format_args!(r#","elevation":{:?}"#, 7.0));
        if !self.variables.is_empty() {
            append(&mut body, format_args!(r#","daily_units":{{{units}}},"daily":{{{columns}}}"#));
        }
        body.push('}');
        body
    }

    /// The first day the model run behind this answer did not reach: on some days the last day's
    /// precipitation is null.
    fn horizon(&self, today: Date) -> Option<Date> {
        let short = self.forecast_days >= 7 && HORIZON.bits(day_number(today)).is_multiple_of(4);
        short.then(|| today.saturating_add((self.forecast_days - 1).days()))
    }
}

fn variables(query: &Query) -> Result<Vec<&'static Variable>, String> {
    let names =
        query.iter().filter(|(key, _)| key == "daily").flat_map(|(_, list)| list.split(','));
    names
        .filter(|name| !name.is_empty())
        .map(|name| {
            VARIABLES.iter().find(|variable| variable.name == name).ok_or_else(|| {
                format!(
                    "Data corrupted at path ''. Cannot initialize ForecastVariableDaily from \
                     invalid String value {name}."
                )
            })
        })
        .collect()
}

fn days(query: &Query, name: &str, word: &str, default: i64, most: i64) -> Result<i64, String> {
    let Some(text) = parameter(query, name) else { return Ok(default) };
    match text.parse() {
        Ok(days) if (0..=most).contains(&days) => Ok(days),
        _ => Err(format!("{word} days is invalid. Allowed range 0 to {most}. Given {text}.")),
    }
}

/// Writing to a string cannot fail.
fn append(text: &mut String, part: std::fmt::Arguments<'_>) {
    text.write_fmt(part).expect("a string takes what is written to it");
}

fn array(cells: impl Iterator<Item = impl Display>) -> String {
    let cells: Vec<String> = cells.map(|cell| cell.to_string()).collect();
    format!("[{}]", cells.join(","))
}

/// The centre of the grid cell a coordinate falls into, computed as the server does it: in 32-bit
/// floats, which is where the likes of 38.897003 come from.
fn grid_cell(coordinate: f64, origin: f64) -> f32 {
    let cell = ((coordinate - origin) / GRID).round();
    float32(origin) + float32(cell) * float32(GRID)
}

/// 0.02 to 0.26 ms, in the steps of a clock difference between two large doubles; differs from call
/// to call, so that two equal answers never have equal bytes.
fn generation_time(call: i64) -> f64 {
    let ticks = 200 + (GENERATION_TIME.bits(call) % 64) * 32 + (call.cast_unsigned() % 32);
    float(i64::try_from(ticks).unwrap_or(200)) * 1000.0 / 8_388_608.0
}

/// The server's short name of a zone, as its Linux builds print it: `GMT-5`.
fn abbreviation(offset: Offset) -> String {
    let minutes = offset.seconds() / 60;
    let sign = if minutes < 0 { '-' } else { '+' };
    match (minutes.abs() / 60, minutes.abs() % 60) {
        (0, 0) => "GMT".to_owned(),
        (hours, 0) => format!("GMT{sign}{hours}"),
        (hours, minutes) => format!("GMT{sign}{hours}:{minutes:02}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn query(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let place = [("latitude", "38.9"), ("longitude", "-77.0")];
        place
            .iter()
            .chain(pairs)
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    const REFERENCE: [(&str, &str); 3] = [
        ("daily", "temperature_2m_max,temperature_2m_min,precipitation_sum"),
        ("timezone", "America/New_York"),
        ("past_days", "2"),
    ];

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn body(pairs: &[(&str, &str)], now: &str) -> String {
        let answer = answer(&query(pairs), at(now), 1);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }

    fn parsed(pairs: &[(&str, &str)], now: &str) -> Value {
        serde_json::from_str(&body(pairs, now)).unwrap()
    }

    fn reason(pairs: &[(&str, &str)]) -> String {
        let answer = answer(&query(pairs), at("2026-11-23T13:00:00Z"), 1);
        assert_eq!(answer.status, 400);
        answer.body
    }

    #[test]
    fn the_reference_request_is_answered_in_the_servers_form() {
        let body = body(&REFERENCE, "2026-11-23T13:00:00Z");
        assert_eq!(
            shape_of(&body),
            "{\"latitude\":#,\"longitude\":#,\"generationtime_ms\":#,\"utc_offset_seconds\":#,\
             \"timezone\":\"America/New_York\",\"timezone_abbreviation\":\"GMT-5\",\"elevation\":#,\
             \"daily_units\":{\"time\":\"iso8601\",\"temperature_2m_max\":\"°C\",\
             \"temperature_2m_min\":\"°C\",\"precipitation_sum\":\"mm\"},\
             \"daily\":{\"time\":[...],\"temperature_2m_max\":[...],\"temperature_2m_min\":[...],\
             \"precipitation_sum\":[...]}}"
        );
        let value = parsed(&REFERENCE, "2026-11-23T13:00:00Z");
        let daily = value["daily"].as_object().unwrap();
        assert_eq!(daily.len(), 4);
        for (name, column) in daily {
            assert_eq!(column.as_array().unwrap().len(), 9, "{name}");
        }
        assert_eq!(daily["time"][0], "2026-11-21");
        assert_eq!(daily["time"][8], "2026-11-29");
        assert_eq!(value["utc_offset_seconds"], -18_000);
    }

    /// Arrays as `[...]` and other numbers as `#`.
    fn shape_of(body: &str) -> String {
        let mut shape = String::new();
        let mut rest = body;
        while let Some(character) = rest.chars().next() {
            if let Some(after) = rest.strip_prefix('[') {
                let (_, after) = after.split_once(']').unwrap();
                shape.push_str("[...]");
                rest = after;
            } else if shape.ends_with("\":") && (character.is_ascii_digit() || character == '-') {
                shape.push('#');
                rest = rest.trim_start_matches(|c: char| c.is_ascii_digit() || "-.e".contains(c));
            } else {
                shape.push(character);
                rest = rest.strip_prefix(character).unwrap();
            }
        }
        shape
    }

    #[test]
    fn numbers_have_the_servers_decimals() {
        let body = body(&REFERENCE, "2026-11-24T13:00:00Z");
        let column = |name: &str| {
            let (_, rest) = body.split_once(&format!("\"{name}\":[")).unwrap();
            rest.split_once(']').unwrap().0.split(',').map(str::to_owned).collect::<Vec<_>>()
        };
        let decimals = |cell: &String| cell.split_once('.').map_or(0, |(_, digits)| digits.len());
        assert!(column("temperature_2m_max").iter().all(|cell| decimals(cell) == 1));
        assert!(column("precipitation_sum").iter().all(|c| c == "null" || decimals(c) == 2));
    }

    #[test]
    fn coordinates_are_a_nearby_cell_in_32_bits() {
        let value = parsed(&REFERENCE, "2026-11-23T13:00:00Z");
        for (name, asked) in [("latitude", 38.9), ("longitude", -77.0)] {
            let cell = value[name].as_f64().unwrap();
            assert!((cell - asked).abs() <= GRID / 2.0 + 1e-4, "{name} {cell}");
            assert!((cell - asked).abs() > 1e-6, "{name} {cell}: not the request itself");
        }
    }

    #[test]
    fn the_offset_is_the_one_at_the_time_of_the_request() {
        // The Saturday before the spring change; the days after it are still told with -5.
        let saturday = parsed(&REFERENCE, "2026-03-07T13:00:00Z");
        assert_eq!(saturday["utc_offset_seconds"], -18_000);
        let monday = parsed(&REFERENCE, "2026-03-09T12:00:00Z");
        assert_eq!(monday["utc_offset_seconds"], -14_400);
        assert_eq!(monday["timezone_abbreviation"], "GMT-4");
        let gmt = parsed(&[("daily", "precipitation_sum")], "2026-11-23T03:00:00Z");
        assert_eq!(gmt["timezone"], "GMT");
        assert_eq!(gmt["timezone_abbreviation"], "GMT");
        assert_eq!(gmt["daily"]["time"][0], "2026-11-23");
        let kathmandu = [("timezone", "Asia/Kathmandu"), ("daily", "precipitation_sum")];
        let value = parsed(&kathmandu, "2026-11-23T03:00:00Z");
        assert_eq!(value["timezone_abbreviation"], "GMT+5:45");
    }

    #[test]
    fn a_day_has_one_value_whatever_the_window() {
        let now = "2026-11-23T13:00:00Z";
        let short = parsed(&REFERENCE, now);
        let mut wide = REFERENCE;
        wide[2] = ("past_days", "92");
        let long = parsed(&wide, now);
        assert_eq!(long["daily"]["time"][90], short["daily"]["time"][0]);
        assert_eq!(
            long["daily"]["temperature_2m_max"][90],
            short["daily"]["temperature_2m_max"][0]
        );
    }

    #[test]
    fn forecasts_are_revised_and_settle() {
        // Nov 23 as told on seven mornings: today at index 2, the day before at index 1.
        let told: Vec<Value> = (0..6)
            .map(|days: i64| {
                let now = at("2026-11-20T13:00:00Z").saturating_add((days * 24).hours()).unwrap();
                let value = parsed(&REFERENCE, &now.to_string());
                let times = value["daily"]["time"].as_array().unwrap();
                let index = times.iter().position(|day| day == "2026-11-23").unwrap();
                value["daily"]["temperature_2m_max"][index].clone()
            })
            .collect();
        let mut different = told.clone();
        different.dedup();
        assert!(different.len() >= 4, "{told:?}");
        assert_eq!(told[4], told[5], "past days are final");
    }

    #[test]
    fn the_horizon_is_short_on_some_days() {
        let nulls: Vec<bool> = (0..40)
            .map(|days: i64| {
                let now = at("2026-10-01T12:00:00Z").saturating_add((days * 24).hours()).unwrap();
                let value = parsed(&REFERENCE, &now.to_string());
                let cells = value["daily"]["precipitation_sum"].as_array().unwrap();
                assert!(cells.iter().rev().skip(1).all(Value::is_number));
                assert!(value["daily"]["temperature_2m_max"][8].is_number());
                cells[8].is_null()
            })
            .collect();
        let count = nulls.iter().filter(|null| **null).count();
        assert!((4..=16).contains(&count), "{count}");
    }

    #[test]
    fn only_the_generation_time_differs_between_two_calls() {
        let query = query(&REFERENCE);
        let now = at("2026-11-23T13:00:00Z");
        let times: Vec<f64> = (0..50)
            .map(|call| {
                let mut value: Value =
                    serde_json::from_str(&answer(&query, now, call).body).unwrap();
                let time = value["generationtime_ms"].take().as_f64().unwrap();
                let mut first: Value = serde_json::from_str(&answer(&query, now, 0).body).unwrap();
                first["generationtime_ms"].take();
                assert_eq!(value, first);
                time
            })
            .collect();
        assert!(times.windows(2).all(|pair| pair[0].to_bits() != pair[1].to_bits()));
        assert!(times.iter().all(|time| (0.02..0.3).contains(time)), "{times:?}");
    }

    #[test]
    fn bad_parameters_are_refused_in_the_servers_words() {
        for (pairs, text) in [
            (
                [("daily", "temperature_2m_max,uv")].as_slice(),
                "Data corrupted at path ''. Cannot initialize ForecastVariableDaily from invalid \
                 String value uv.",
            ),
            (&[("timezone", "Mars/Base")], "Invalid timezone"),
            (&[("past_days", "93")], "Past days is invalid. Allowed range 0 to 92. Given 93."),
            (
                &[("forecast_days", "17")],
                "Forecast days is invalid. Allowed range 0 to 16. Given 17.",
            ),
            (&[("latitude", "91")], "Latitude must be in range of -90 to 90°. Given: 91.0."),
            (
                &[("latitude", "38.9,39")],
                "Parameter 'latitude' and 'longitude' must have the same number of elements",
            ),
        ] {
            assert_eq!(reason(pairs), format!(r#"{{"error":true,"reason":"{text}"}}"#));
        }
        let error = server_error();
        assert_eq!(error.status, 500);
        assert_eq!(error.body, r#"{"reason":"Something went wrong.","error":true}"#);
    }
}
