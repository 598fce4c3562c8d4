//! Yahoo's `/v8/finance/chart/{symbol}`, daily bars of `^GSPC`.
//!
//! In: the symbol, query parameters, now. Out: the answer, in the form recorded in `fixtures/yahoo/`
//! (Yahoo documents none of it). Deliberately absent: other symbols, intraday bars, `period1` and
//! `period2`, events, prices before 2015. A coarser interval than a day is answered with daily bars,
//! which `dataGranularity` says; the real service, too, does not always keep to the interval asked.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use super::answer::{Answer, Query, parameter};
use super::market::{Bar, Market, Session};
use super::noise::{Stream, day_number, float32};

const PRINTED_LATE: Stream = Stream(41);
const EMPTY_BAR: Stream = Stream(42);

const SYMBOL: &str = "^GSPC";
const EXCHANGE_ZONE: &str = "America/New_York";

const INTERVALS: [&str; 14] =
    ["1m", "2m", "5m", "15m", "30m", "60m", "90m", "1h", "4h", "1d", "5d", "1wk", "1mo", "3mo"];
const RANGES: [&str; 11] = ["1d", "5d", "1mo", "3mo", "6mo", "1y", "2y", "5y", "10y", "ytd", "max"];

/// The answer for `symbol` (decoded) at `now`.
pub(super) fn answer(symbol: &str, query: &Query, now: Timestamp) -> Answer {
    if symbol != SYMBOL {
        return Answer { status: 404, ..no_data() };
    }
    let interval = parameter(query, "interval").unwrap_or("1d");
    let range = parameter(query, "range").unwrap_or("1d");
    for (name, value, valid) in [("interval", interval, &INTERVALS[..]), ("range", range, &RANGES)]
    {
        if !valid.contains(&value) {
            let list = valid.join(", ");
            let description =
                format!("Invalid input - {name}={value} is not supported. Valid {name}s: [{list}]");
            return failure(400, "Bad Request", &description);
        }
    }
    let zone = TimeZone::get(EXCHANGE_ZONE).expect("the time zone database has New York");
    if interval.ends_with(['m', 'h']) {
        let start = now.as_second() - 10 * 86_400;
        let description = format!(
            "{interval} data not available for startTime={start} and endTime={}. The requested \
             range must be within the last 60 days.",
            now.as_second()
        );
        return failure(422, "Unprocessable Entity", &description);
    }
    json_answer(200, &json!({"chart": {"result": [result(range, &zone, now)], "error": null}}))
}

/// The error object of an unknown symbol, as a 200: seen on bad days of the real service.
pub(super) fn no_data() -> Answer {
    failure(200, "Not Found", "No data found, symbol may be delisted")
}

fn failure(status: u16, code: &str, description: &str) -> Answer {
    let error = json!({"code": code, "description": description});
    json_answer(status, &json!({"chart": {"result": null, "error": error}}))
}

fn json_answer(status: u16, body: &Value) -> Answer {
    Answer { status, content_type: "application/json;charset=utf-8", body: body.to_string() }
}

/// One row: a session's stamp and, unless nothing is known of it yet, its bar.
struct Row {
    session: Session,
    stamp: i64,
    bar: Option<Bar>,
}

fn result(range: &str, zone: &TimeZone, now: Timestamp) -> Value {
    let today = zone.to_datetime(now).date();
    let market = Market::until(today);
    let year_ago = today.saturating_sub(1.year());
    let first = first_day(range, today);
    // Some days more, for the close before the first row.
    let rows = rows(&market, first.min(year_ago).saturating_sub(10.days()), today, now);
    let from = match range {
        "1d" => last_bars(&rows, 1),
        "5d" => last_bars(&rows, 5),
        _ => rows.partition_point(|row| row.session.day < first),
    };
    let (earlier, shown) = rows.split_at(from);
    let year = rows.partition_point(|row| row.session.day < year_ago);
    let year = rows.get(year..).unwrap_or_default();

    let meta = meta(range, zone, &market, earlier, year, now);
    let column = |price: fn(&Bar) -> f64| -> Value {
        // Prices are 32-bit floats, told in full.
        shown.iter().map(|row| row.bar.as_ref().map(|bar| f64::from(float32(price(bar))))).collect()
    };
    let volume: Value = shown.iter().map(|row| row.bar.map(|bar| bar.volume)).collect();
    let stamps: Value = shown.iter().map(|row| row.stamp).collect();
    json!({
        "meta": meta,
        "timestamp": stamps,
        "indicators": {
            "quote": [{
                "open": column(|bar| bar.open),
                "high": column(|bar| bar.high),
                "low": column(|bar| bar.low),
                "close": column(|bar| bar.close),
                "volume": volume,
            }],
            // An index pays no dividend.
            "adjclose": [{"adjclose": column(|bar| bar.close)}],
        },
    })
}

/// The first day of a range other than `1d` and `5d`, which count sessions.
fn first_day(range: &str, today: Date) -> Date {
    let span = match range {
        "1mo" => 1.month(),
        "3mo" => 3.months(),
        "6mo" => 6.months(),
        "1y" => 1.year(),
        "2y" => 2.years(),
        "5y" => 5.years(),
        "10y" => 10.years(),
        "ytd" => return today.first_of_year(),
        "max" => return Date::MIN,
        _ => 10.days(),
    };
    today.saturating_sub(span)
}

/// Where the last `count` rows that have a bar begin.
fn last_bars(rows: &[Row], count: usize) -> usize {
    let bars = rows.iter().enumerate().rev().filter(|(_, row)| row.bar.is_some());
    bars.map(|(index, _)| index).take(count).last().unwrap_or(rows.len())
}

/// The sessions from `first` to `today` as they are known at `now`.
fn rows(market: &Market, first: Date, today: Date, now: Timestamp) -> Vec<Row> {
    let first = first.max(Market::FIRST_DAY);
    let days = first.series(1.day()).take_while(|day| *day <= today);
    let sessions = days.filter_map(|day| market.session(day));
    sessions
        .filter_map(|session| {
            let bar = market.bar(session, now);
            // The day's own row is live: until the next morning it carries the time of its last
            // price instead of the session's open.
            let live = session.day == today && bar.is_some();
            let stamp = if live { last_price_at(session, now) } else { session.open };
            // Before the open there is no row of the day, or at times a row of nulls (yahoo-finance2
            // issue 429).
            let announced = EMPTY_BAR.bits(day_number(session.day)).is_multiple_of(5);
            (bar.is_some() || (session.day == today && announced)).then(|| Row {
                session,
                stamp: stamp.as_second(),
                bar,
            })
        })
        .collect()
}

/// The time of the last price: an index is still computed for half an hour or so after the close.
fn last_price_at(session: Session, now: Timestamp) -> Timestamp {
    let seconds = 900 + (PRINTED_LATE.bits(day_number(session.day)) % 1800).cast_signed();
    now.min(later(session.close, seconds))
}

fn meta(
    range: &str,
    zone: &TimeZone,
    market: &Market,
    earlier: &[Row],
    year: &[Row],
    now: Timestamp,
) -> Value {
    let bars = || year.iter().filter_map(|row| Some((row.session, row.bar?)));
    let last = bars().next_back();
    let bar = last.map(|(_, bar)| bar);
    let high = bars().map(|(_, bar)| bar.high).reduce(f64::max);
    let low = bars().map(|(_, bar)| bar.low).reduce(f64::min);
    let before = earlier.iter().filter_map(|row| row.bar).next_back();
    let offset = zone.to_offset_info(now);
    let (abbreviation, seconds) = (offset.abbreviation(), offset.offset().seconds());
    json!({
        "currency": "USD",
        "symbol": SYMBOL,
        "exchangeName": "SNP",
        "fullExchangeName": "SNP",
        "instrumentType": "INDEX",
        // 1927-12-30, before the epoch.
        "firstTradeDate": -1_325_583_000,
        "regularMarketTime": last.map(|(session, _)| last_price_at(session, now).as_second()),
        "hasPrePostMarketData": false,
        "gmtoffset": seconds,
        "timezone": abbreviation,
        "exchangeTimezoneName": EXCHANGE_ZONE,
        "regularMarketPrice": bar.map(|bar| bar.close),
        "fiftyTwoWeekHigh": high,
        "fiftyTwoWeekLow": low,
        "regularMarketDayHigh": bar.map(|bar| bar.high),
        "regularMarketDayLow": bar.map(|bar| bar.low),
        "regularMarketVolume": bar.map(|bar| bar.volume),
        "longName": "S&P 500",
        "shortName": "S&P 500",
        "chartPreviousClose": before.map(|bar| bar.close),
        "priceHint": 2,
        "currentTradingPeriod": trading_period(zone, market, now),
        "dataGranularity": "1d",
        "range": range,
        "validRanges": RANGES,
    })
}

/// The hours of today's session, or of the next one on a day without.
fn trading_period(zone: &TimeZone, market: &Market, now: Timestamp) -> Value {
    let mut days = zone.to_datetime(now).date().series(1.day()).take(14);
    let Some(session) = days.find_map(|day| market.session(day)) else {
        return Value::Null;
    };
    let period = |start: Timestamp, end: Timestamp| {
        let offset = zone.to_offset_info(start);
        json!({
            "timezone": offset.abbreviation(),
            "start": start.as_second(),
            "end": end.as_second(),
            "gmtoffset": offset.offset().seconds(),
        })
    };
    let (pre, post) = (later(session.open, -5 * 3600 - 1800), later(session.close, 4 * 3600));
    json!({
        "pre": period(pre, session.open),
        "regular": period(session.open, session.close),
        "post": period(session.close, post),
    })
}

fn later(at: Timestamp, seconds: i64) -> Timestamp {
    at.saturating_add(jiff::SignedDuration::from_secs(seconds)).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(symbol: &str, parameters: &[(&str, &str)], now: &str) -> Answer {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let query: Vec<_> = parameters.iter().map(own).collect();
        answer(symbol, &query, now.parse().unwrap())
    }

    fn ranged(range: &str, now: &str) -> Value {
        let answer = ask(SYMBOL, &[("range", range), ("interval", "1d")], now);
        assert_eq!(answer.status, 200, "{}", answer.body);
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(body["chart"]["error"], Value::Null);
        body["chart"]["result"][0].clone()
    }

    fn stamps(result: &Value) -> Vec<Timestamp> {
        let stamps = result["timestamp"].as_array().unwrap().iter();
        stamps.map(|stamp| Timestamp::from_second(stamp.as_i64().unwrap()).unwrap()).collect()
    }

    fn closes(result: &Value) -> Vec<Value> {
        result["indicators"]["quote"][0]["close"].as_array().unwrap().clone()
    }

    const MORNING: &str = "2026-11-23T13:00:00Z";

    #[test]
    fn a_year_of_bars_has_parallel_arrays_and_the_real_keys() {
        let result = ranged("1y", MORNING);
        let keys =
            |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
        assert_eq!(keys(&result), ["meta", "timestamp", "indicators"]);
        assert_eq!(
            keys(&result["meta"]),
            [
                "currency",
                "symbol",
                "exchangeName",
                "fullExchangeName",
                "instrumentType",
                "firstTradeDate",
                "regularMarketTime",
                "hasPrePostMarketData",
                "gmtoffset",
                "timezone",
                "exchangeTimezoneName",
                "regularMarketPrice",
                "fiftyTwoWeekHigh",
                "fiftyTwoWeekLow",
                "regularMarketDayHigh",
                "regularMarketDayLow",
                "regularMarketVolume",
                "longName",
                "shortName",
                "chartPreviousClose",
                "priceHint",
                "currentTradingPeriod",
                "dataGranularity",
                "range",
                "validRanges",
            ]
        );
        let rows = stamps(&result).len();
        assert_eq!(rows, 250);
        let quote = result["indicators"]["quote"][0].as_object().unwrap();
        assert_eq!(quote.len(), 5);
        for (name, column) in quote {
            assert_eq!(column.as_array().unwrap().len(), rows, "{name}");
        }
        let adjusted = result["indicators"]["adjclose"][0]["adjclose"].as_array().unwrap();
        assert_eq!(adjusted, &closes(&result));
        assert!(result["meta"].as_object().unwrap().values().all(|value| !value.is_null()));
    }

    #[test]
    fn stamps_are_the_opens_of_the_sessions_on_both_sides_of_dst() {
        let stamps = stamps(&ranged("1y", MORNING));
        let text: Vec<String> = stamps.iter().map(ToString::to_string).collect();
        for present in [
            "2025-11-24T14:30:00Z", // the first session of the year's range
            "2026-03-06T14:30:00Z",
            "2026-03-09T13:30:00Z",
            "2026-10-30T13:30:00Z",
            "2026-11-02T14:30:00Z",
            "2026-11-20T14:30:00Z", // the session before this Monday morning
        ] {
            assert!(text.iter().any(|stamp| stamp == present), "{present}");
        }
        assert!(!text.iter().any(|stamp| stamp.starts_with("2025-11-27")), "Thanksgiving");
        assert_eq!(text.last().unwrap(), "2026-11-20T14:30:00Z");
        assert!(stamps.is_sorted());
    }

    #[test]
    fn during_and_after_the_session_the_last_row_is_live() {
        // 11:00 in New York.
        let now = "2026-11-23T16:00:00Z";
        let running = ranged("5d", now);
        assert_eq!(stamps(&running).last().unwrap().to_string(), now);
        assert_eq!(running["meta"]["regularMarketTime"], stamps(&running)[4].as_second());
        let after = ranged("5d", "2026-11-24T01:00:00Z");
        let stamp = *stamps(&after).last().unwrap();
        assert!(stamp > "2026-11-23T21:15:00Z".parse().unwrap(), "{stamp}");
        assert!(stamp < "2026-11-23T21:45:00Z".parse().unwrap(), "{stamp}");
        // The next morning the same bar is final and stamped with its open.
        let next = ranged("5d", "2026-11-24T13:00:00Z");
        assert_eq!(stamps(&next)[4].to_string(), "2026-11-23T14:30:00Z");
        assert_eq!(closes(&next)[4], closes(&after)[4]);
        assert_ne!(closes(&next)[4], closes(&running)[4]);
        assert_eq!(closes(&next)[..4], closes(&running)[..4]);
    }

    #[test]
    fn on_some_mornings_the_day_has_a_row_of_nulls() {
        let mut seen = [0, 0];
        for day in jiff::civil::date(2026, 10, 5).series(1.day()).take(40) {
            let result = ranged("1mo", &format!("{day}T12:00:00Z"));
            let closes = closes(&result);
            let null = closes.last().unwrap().is_null();
            seen[usize::from(null)] += 1;
            assert!(closes.iter().rev().skip(1).all(Value::is_number), "{day}");
            let last = *stamps(&result).last().unwrap();
            let ahead = last > format!("{day}T12:00:00Z").parse().unwrap();
            assert_eq!(null, ahead, "{day}: a row of nulls is today's, at its open");
        }
        assert!(seen[1] >= 2 && seen[0] > seen[1], "{seen:?}");
    }

    #[test]
    fn prices_are_widened_32_bit_floats() {
        let result = ranged("1mo", MORNING);
        let mut widened = 0;
        for name in ["open", "high", "low", "close"] {
            for price in result["indicators"]["quote"][0][name].as_array().unwrap() {
                let price = price.as_f64().unwrap();
                assert_eq!(f64::from(float32(price)).to_bits(), price.to_bits());
                widened += usize::from(price.to_string().len() > 8);
            }
        }
        assert!(widened > 40, "{widened} of them show the digits of their widening");
    }

    #[test]
    fn a_bar_has_one_value_whatever_the_range() {
        let (month, long) = (ranged("1mo", MORNING), ranged("2y", "2026-11-25T13:00:00Z"));
        let find = |result: &Value| {
            let at: Timestamp = "2026-11-16T14:30:00Z".parse().unwrap();
            let index = stamps(result).iter().position(|stamp| *stamp == at).unwrap();
            closes(result)[index].clone()
        };
        assert_eq!(find(&month), find(&long));
    }

    #[test]
    fn ranges_hold_the_sessions_they_name() {
        for (range, rows) in [("1d", 1), ("5d", 5), ("1mo", 22), ("ytd", 224)] {
            // A Sunday: the last session is Friday's.
            let result = ranged(range, "2026-11-22T13:00:00Z");
            assert_eq!(stamps(&result).len(), rows, "{range}");
            assert_eq!(result["meta"]["range"], range);
        }
        let longest = stamps(&ranged("max", "2026-11-22T13:00:00Z"));
        assert_eq!(longest[0].to_string(), "2015-01-05T14:30:00Z", "the demo's first bar");
        let day = ranged("1d", "2026-11-22T13:00:00Z");
        let week = ranged("5d", "2026-11-22T13:00:00Z");
        let shown = |value: &Value| float32(value.as_f64().unwrap()).to_bits();
        assert_eq!(shown(&day["meta"]["chartPreviousClose"]), shown(&closes(&week)[3]));
    }

    #[test]
    fn the_trading_period_is_todays_or_the_next_sessions() {
        let period = |now| ranged("5d", now)["meta"]["currentTradingPeriod"]["regular"].clone();
        let half_day = period("2026-11-27T13:00:00Z");
        let seconds = |text: &str| Value::from(text.parse::<Timestamp>().unwrap().as_second());
        assert_eq!(half_day["start"], seconds("2026-11-27T14:30:00Z"));
        assert_eq!(half_day["end"], seconds("2026-11-27T18:00:00Z"));
        assert_eq!(half_day["timezone"], "EST");
        let weekend = period("2026-11-28T13:00:00Z");
        assert_eq!(weekend["start"], seconds("2026-11-30T14:30:00Z"));
    }

    #[test]
    fn error_bodies_are_the_recorded_ones() {
        let unknown = ask("NOPE", &[], MORNING);
        assert_eq!(unknown.status, 404);
        let not_found = r#"{"chart":{"result":null,"error":{"code":"Not Found","description":"No data found, symbol may be delisted"}}}"#;
        assert_eq!(unknown.body, not_found);
        assert_eq!((no_data().status, no_data().body.as_str()), (200, not_found));
        let interval = ask(SYMBOL, &[("interval", "5h")], MORNING);
        assert_eq!(interval.status, 400);
        assert_eq!(
            interval.body,
            "{\"chart\":{\"result\":null,\"error\":{\"code\":\"Bad Request\",\"description\":\
             \"Invalid input - interval=5h is not supported. Valid intervals: [1m, 2m, 5m, 15m, \
             30m, 60m, 90m, 1h, 4h, 1d, 5d, 1wk, 1mo, 3mo]\"}}}"
        );
        let intraday = ask(SYMBOL, &[("interval", "5m"), ("range", "1y")], MORNING);
        assert_eq!(intraday.status, 422);
        assert!(
            intraday.body.contains("5m data not available for startTime="),
            "{}",
            intraday.body
        );
        assert_eq!(ask(SYMBOL, &[("range", "7y")], MORNING).status, 400);
    }
}
