//! HTTP around the two answers: routes, the `Date` header, and the demo's two bad days.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use anyhow::Context;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use daymark_plan::Clock;
use jiff::civil::Date;
use jiff::fmt::rfc2822::DateTimePrinter;
use jiff::tz::TimeZone;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::answer::Answer;
use super::{chart, forecast};

/// The days on which the API misbehaves, so that the demo's ledger has something to show. A day is
/// the civil day in New York of the demo's clock; it misbehaves throughout.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// The weather API answers 500 to everything.
    pub(crate) server_error_on: Option<Date>,
    /// The chart API answers 200 with an error object where the result should be.
    pub(crate) error_body_on: Option<Date>,
}

/// The running API; it stops when this is dropped.
#[derive(Debug)]
pub(crate) struct DemoApi {
    /// Where it listens: a free port of the loopback interface.
    pub(crate) address: SocketAddr,
    _stop: DropGuard,
}

impl DemoApi {
    /// Starts it on the current tokio runtime. `clock` is its "now": what is past and what is
    /// forecast, which bar is live, and the `Date` header of its answers.
    pub(crate) async fn start(clock: Clock, faults: Faults) -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("the demo's API found no free port on 127.0.0.1")?;
        let address = listener.local_addr().context("the demo's API has no address")?;
        let zone = TimeZone::get("America/New_York")
            .context("the time zone database has no America/New_York")?;
        let api = Arc::new(Api { clock, faults, zone, calls: AtomicI64::new(0) });
        let router = Router::new()
            .route("/v1/forecast", get(weather))
            .route("/v8/finance/chart/{symbol}", get(sp500))
            .with_state(api);
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        // Nothing is lost with this task: it holds no state, and ends with its guard.
        tokio::spawn(async move {
            let served = axum::serve(listener, router).with_graceful_shutdown(stopped).await;
            // Its only errors are those of accepting, which axum itself retries.
            served.ok();
        });
        Ok(Self { address, _stop: stop.drop_guard() })
    }

    /// The address of the weather source, to be completed with the query of its source file.
    pub(crate) fn weather_url(&self) -> String {
        format!("http://{}/v1/forecast", self.address)
    }

    /// The address of the S&P 500 source, to be completed with the query of its source file.
    pub(crate) fn sp500_url(&self) -> String {
        format!("http://{}/v8/finance/chart/%5EGSPC", self.address)
    }
}

struct Api {
    clock: Clock,
    faults: Faults,
    zone: TimeZone,
    calls: AtomicI64,
}

impl Api {
    /// Whether the demo's clock stands on this bad day.
    fn is_bad(&self, day: Option<Date>) -> bool {
        day.is_some_and(|day| self.zone.to_datetime(self.clock.now()).date() == day)
    }

    fn respond(&self, answer: Answer) -> Response {
        let status =
            StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // Whoever compares the demo's clock with the server's must find them equal.
        let date = DateTimePrinter::new()
            .timestamp_to_rfc9110_string(&self.clock.now())
            .unwrap_or_default();
        let headers =
            [(header::CONTENT_TYPE, answer.content_type.to_owned()), (header::DATE, date)];
        (status, headers, answer.body).into_response()
    }
}

async fn weather(
    State(api): State<Arc<Api>>,
    Query(query): Query<Vec<(String, String)>>,
) -> Response {
    let answer = if api.is_bad(api.faults.server_error_on) {
        forecast::server_error()
    } else {
        let call = api.calls.fetch_add(1, Ordering::Relaxed);
        forecast::answer(&query, api.clock.now(), call)
    };
    api.respond(answer)
}

async fn sp500(
    State(api): State<Arc<Api>>,
    Path(symbol): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Response {
    let answer = if api.is_bad(api.faults.error_body_on) {
        chart::no_data()
    } else {
        chart::answer(&symbol, &query, api.clock.now())
    };
    api.respond(answer)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use jiff::civil::date;

    use super::*;

    async fn fetch(url: &str, query: &[(&str, &str)]) -> (u16, String, serde_json::Value) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let query = query.iter().map(|(key, value)| format!("{key}={}", value.replace('/', "%2F")));
        let url = format!("{url}?{}", query.collect::<Vec<_>>().join("&"));
        let response = client.get(url).send().await.unwrap();
        let status = response.status().as_u16();
        let date = response.headers()["date"].to_str().unwrap().to_owned();
        let body = response.bytes().await.unwrap();
        (status, date, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn the_reference_requests_are_answered_by_the_demos_clock() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let clock = Clock::manual(at("2026-11-20T13:00:00Z"));
        let faults = Faults {
            server_error_on: Some(date(2026, 11, 21)),
            error_body_on: Some(date(2026, 11, 22)),
        };
        let api = DemoApi::start(clock.clone(), faults).await.unwrap();
        let weather = [
            ("latitude", "38.9"),
            ("longitude", "-77.0"),
            ("daily", "temperature_2m_max,temperature_2m_min,precipitation_sum"),
            ("timezone", "America/New_York"),
            ("past_days", "2"),
        ];
        let bars = [("range", "1y"), ("interval", "1d")];

        let (status, date, body) = fetch(&api.weather_url(), &weather).await;
        assert_eq!((status, date.as_str()), (200, "Fri, 20 Nov 2026 13:00:00 GMT"));
        assert_eq!(body["daily"]["time"][2], "2026-11-20");
        let (status, _, body) = fetch(&api.sp500_url(), &bars).await;
        assert_eq!((status, &body["chart"]["result"][0]["meta"]["symbol"]), (200, &"^GSPC".into()));

        clock.set(at("2026-11-21T13:00:00Z"));
        let (status, _, body) = fetch(&api.weather_url(), &weather).await;
        assert_eq!((status, &body["reason"]), (500, &"Something went wrong.".into()));
        assert_eq!(fetch(&api.sp500_url(), &bars).await.0, 200);

        clock.set(at("2026-11-22T13:00:00Z"));
        assert_eq!(fetch(&api.weather_url(), &weather).await.0, 200);
        let (status, date, body) = fetch(&api.sp500_url(), &bars).await;
        assert_eq!((status, date.as_str()), (200, "Sun, 22 Nov 2026 13:00:00 GMT"));
        assert_eq!(body["chart"]["error"]["code"], "Not Found");

        let address = api.address;
        drop(api);
        // The port is given up soon after; a connection made then is refused.
        for _ in 0..200 {
            if tokio::net::TcpStream::connect(address).await.is_err() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("the API still listens");
    }
}
