//! What a status says.
//!
//! In: an [`Answer`]: status, headers, whole body. Out: the answer, when the status is a success; a
//! [`Failure`] with its kind and sentence otherwise. Deliberately absent: what stands in a
//! successful body; that is `verify.rs`.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::{AGE, CONTENT_TYPE, DATE, HeaderMap, HeaderName, LOCATION, RETRY_AFTER};
use url::Url;

use crate::error::ErrorKind;
use crate::words::words_of;

/// How many redirects are followed.
pub(crate) const MAX_REDIRECTS: usize = 10;

/// The headers kept in manifests, beside those that start with [`RATE_HEADERS`].
const KEPT_HEADERS: [&str; 6] =
    ["age", "content-type", "date", "etag", "last-modified", "retry-after"];

/// What the headers about rates start with.
const RATE_HEADERS: [&str; 2] = ["ratelimit", "x-ratelimit"];

/// What a server answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// This machine's time when the headers came.
    pub(crate) received_at: Timestamp,
    /// The body after content decoding; empty when it did not come whole.
    pub(crate) body: Bytes,
}

/// Why an attempt brought nothing to verify.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
    /// How long the server asked to wait.
    pub(crate) retry_after: Option<Duration>,
    /// What came all the same.
    pub(crate) answer: Option<Box<Answer>>,
}

impl Failure {
    /// A failure without an answer.
    pub(crate) fn new(kind: ErrorKind, message: String) -> Self {
        Self { kind, message, retry_after: None, answer: None }
    }

    /// The same with what had come.
    pub(crate) fn with(self, answer: Answer) -> Self {
        Self { answer: Some(Box::new(answer)), ..self }
    }
}

impl Answer {
    fn text(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// What the body is said to be.
    pub(crate) fn content_type(&self) -> Option<&str> {
        self.text(&CONTENT_TYPE)
    }

    /// The server's time when the headers came: `Date`, plus the `Age` that a cache states
    /// (RFC 9111 section 5.1): a cached answer has the date it was made at.
    pub(crate) fn server_time(&self) -> Option<Timestamp> {
        let date = http_date(self.text(&DATE)?)?;
        let age = self.text(&AGE).and_then(|age| age.trim().parse::<u32>().ok()).unwrap_or(0);
        date.checked_add(Duration::from_secs(u64::from(age))).ok()
    }

    /// The headers worth keeping.
    pub(crate) fn kept_headers(&self) -> BTreeMap<String, String> {
        let kept = |name: &str| {
            KEPT_HEADERS.contains(&name) || RATE_HEADERS.iter().any(|start| name.starts_with(start))
        };
        let headers = self.headers.iter().filter(|(name, _)| kept(name.as_str()));
        headers
            .map(|(name, value)| {
                (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            })
            .collect()
    }

    /// How long the server asks to wait: `Retry-After` in seconds or as a date (RFC 9110 section
    /// 10.2.3), a date being compared with the server's own time where it gives one.
    fn retry_after(&self) -> Option<Duration> {
        let text = self.text(&RETRY_AFTER)?.trim();
        if let Ok(seconds) = text.parse::<u64>() {
            return Some(Duration::from_secs(seconds));
        }
        let now = self.server_time().unwrap_or(self.received_at);
        let wait = http_date(text)?.duration_since(now);
        Some(Duration::try_from(wait).unwrap_or_default())
    }

    /// The answer, if its status is a success. `asked` is the address the request began at.
    pub(crate) fn judged(self, asked: &Url) -> Result<Self, Failure> {
        let words = words_of(&self.body);
        let Some(kind) = kind_of(self.status, words.as_deref()) else { return Ok(self) };
        let status = self.status.as_u16();
        let reason = self.status.canonical_reason().filter(|reason| !reason.is_empty());
        let message = match self.redirect(asked).or(words) {
            Some(words) => format!("HTTP {status}: {words}"),
            None => match reason {
                Some(reason) => format!("HTTP {status} {reason}"),
                None => format!("HTTP {status}"),
            },
        };
        let retry_after = self.retry_after();
        Err(Failure { kind, message, retry_after, answer: Some(Box::new(self)) })
    }

    /// Why a redirect was not followed. The place is named without path and query, which may hold
    /// secrets or a screenful of tracking.
    fn redirect(&self, asked: &Url) -> Option<String> {
        if !self.status.is_redirection() {
            return None;
        }
        let to = asked.join(self.text(&LOCATION)?).ok()?;
        Some(if may_follow(asked, &to) {
            format!("more than {MAX_REDIRECTS} redirects")
        } else {
            format!(
                "it redirects to `{}`, which is not followed",
                to.origin().ascii_serialization()
            )
        })
    }
}

/// Whether a redirect may be followed: to the same scheme, host and port only, so that neither
/// credentials nor trust go where the source's file does not send them.
pub(crate) fn may_follow(asked: &Url, to: &Url) -> bool {
    asked.origin() == to.origin()
}

/// The kind of a status; `None` for a success.
fn kind_of(status: StatusCode, words: Option<&str>) -> Option<ErrorKind> {
    match status.as_u16() {
        // 206 answers a question for a part, which was not asked.
        200..=205 | 207..=299 => None,
        401 | 403 | 407 => Some(ErrorKind::Auth),
        404 | 410 => Some(ErrorKind::NotFound),
        408 => Some(ErrorKind::Timeout),
        429 if words.is_some_and(is_quota) => Some(ErrorKind::QuotaSpent),
        429 => Some(ErrorKind::Throttled),
        500..=599 => Some(ErrorKind::Unavailable),
        _ => Some(ErrorKind::BadStatus),
    }
}

/// Open-Meteo says in words only which of its limits was reached; those of the hour and the day do
/// not pass while a fetch waits (FORMATS.md section A; `RateLimiter.swift` of open-meteo).
fn is_quota(words: &str) -> bool {
    ["Hourly API request limit exceeded", "Daily API request limit exceeded"]
        .iter()
        .any(|limit| words.starts_with(limit))
}

/// An HTTP date in any of its three forms (RFC 9110 section 5.6.7).
fn http_date(text: &str) -> Option<Timestamp> {
    Timestamp::try_from(httpdate::parse_http_date(text.trim()).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()));
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: headers.collect(),
            received_at: "2026-11-23T13:00:00Z".parse().unwrap(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    fn fails(answer: Answer) -> (ErrorKind, String) {
        let asked = "https://api.example.com/v1/x?key=secret".parse().unwrap();
        let failure = answer.judged(&asked).unwrap_err();
        (failure.kind, failure.message)
    }

    #[test]
    fn every_status_has_its_kind() {
        let kind = |status| kind_of(StatusCode::from_u16(status).unwrap(), None);
        let kinds =
            [200, 204, 206, 302, 400, 401, 403, 404, 408, 410, 418, 422, 429, 500, 503, 599]
                .map(|status| format!("{status} {:?}", kind(status)));
        insta::assert_snapshot!(kinds.join("\n"), @r"
        200 None
        204 None
        206 Some(BadStatus)
        302 Some(BadStatus)
        400 Some(BadStatus)
        401 Some(Auth)
        403 Some(Auth)
        404 Some(NotFound)
        408 Some(Timeout)
        410 Some(NotFound)
        418 Some(BadStatus)
        422 Some(BadStatus)
        429 Some(Throttled)
        500 Some(Unavailable)
        503 Some(Unavailable)
        599 Some(Unavailable)
        ");
    }

    #[test]
    fn sentences_say_what_the_server_said() {
        let yahoo = r#"{"chart":{"result":null,"error":{"code":"Not Found","description":"No data found, symbol may be delisted"}}}"#;
        let said = [
            fails(answer(404, &[], yahoo)),
            fails(answer(
                502,
                &[("content-type", "text/html")],
                "<html><title>502 Bad Gateway</title>",
            )),
            fails(answer(429, &[], "Edge: Too Many Requests")),
            fails(answer(500, &[], "")),
            fails(answer(599, &[], "")),
            fails(answer(302, &[("location", "https://consent.example.org/?to=api")], "moved")),
            fails(answer(301, &[("location", "http://api.example.com/v1/x")], "")),
            fails(answer(302, &[("location", "/v1/y")], "")),
            fails(answer(304, &[], "")),
        ];
        let said: Vec<_> =
            said.iter().map(|(kind, message)| format!("{kind:?}: {message}")).collect();
        insta::assert_snapshot!(said.join("\n"), @r"
        NotFound: HTTP 404: No data found, symbol may be delisted
        Unavailable: HTTP 502: 502 Bad Gateway
        Throttled: HTTP 429: Edge: Too Many Requests
        Unavailable: HTTP 500 Internal Server Error
        Unavailable: HTTP 599
        BadStatus: HTTP 302: it redirects to `https://consent.example.org`, which is not followed
        BadStatus: HTTP 301: it redirects to `http://api.example.com`, which is not followed
        BadStatus: HTTP 302: more than 10 redirects
        BadStatus: HTTP 304 Not Modified
        ");
    }

    #[test]
    fn open_meteos_limits_are_told_apart() {
        let limit = |which: &str| {
            let body = format!(
                r#"{{"reason":"{which} API request limit exceeded. Please try again later.","error":true}}"#
            );
            fails(answer(429, &[], &body)).0
        };
        assert_eq!(limit("Minutely"), ErrorKind::Throttled);
        assert_eq!(limit("Hourly"), ErrorKind::QuotaSpent);
        assert_eq!(limit("Daily"), ErrorKind::QuotaSpent);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let asks = |headers: &[(&str, &str)]| answer(429, headers, "").retry_after();
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(asks(&[("retry-after", " 120")]), seconds(120));
        let date = ("retry-after", "Mon, 23 Nov 2026 13:00:30 GMT");
        assert_eq!(asks(&[date]), seconds(30), "against our clock");
        let server = ("date", "Mon, 23 Nov 2026 13:00:20 GMT");
        assert_eq!(asks(&[date, server]), seconds(10), "against the server's");
        assert_eq!(asks(&[("retry-after", "Mon, 23 Nov 2020 13:00:30 GMT")]), seconds(0));
        assert_eq!(asks(&[("retry-after", "soon")]), None);
        assert_eq!(asks(&[]), None);
    }

    #[test]
    fn the_age_of_a_cached_answer_is_no_skew() {
        let server = |headers: &[(&str, &str)]| answer(200, headers, "").server_time();
        let date = ("date", "Mon, 23 Nov 2026 12:00:00 GMT");
        assert_eq!(server(&[date, ("age", "3600")]), Some("2026-11-23T13:00:00Z".parse().unwrap()));
        assert_eq!(server(&[date]), Some("2026-11-23T12:00:00Z".parse().unwrap()));
        assert_eq!(server(&[("date", "yesterday")]), None);
    }

    #[test]
    fn headers_that_say_something_are_kept() {
        let headers = [
            ("content-type", "application/json"),
            ("set-cookie", "A1=secret"),
            ("x-ratelimit-remaining", "7"),
            ("server", "envoy"),
        ];
        let kept = answer(200, &headers, "").kept_headers();
        assert_eq!(kept.into_keys().collect::<Vec<_>>(), ["content-type", "x-ratelimit-remaining"]);
    }
}
