//! What a status says.
//!
//! In: an [`Answer`]: status, headers, whole body. Out: the answer, when the status is a success; a
//! [`Failure`] with its kind and sentence otherwise. Deliberately absent: what stands in a
//! successful body; that is `verify.rs`.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::{AGE, CONTENT_TYPE, DATE, HeaderMap, HeaderName, LOCATION, RETRY_AFTER};
use url::Url;

use crate::error::ErrorKind;
use crate::spool::Spooled;

/// The headers kept in manifests, beside those that start with [`RATE_HEADERS`].
const KEPT_HEADERS: [&str; 6] =
    ["age", "content-type", "date", "etag", "last-modified", "retry-after"];

/// What the headers about rates start with.
const RATE_HEADERS: [&str; 2] = ["ratelimit", "x-ratelimit"];

/// The headers that say when a rate limit starts anew, best first.
const RESETS: [&str; 4] =
    ["ratelimit-reset", "x-ratelimit-reset-after", "x-ratelimit-reset", "x-rate-limit-reset"];

/// The headers that say what is left of it.
const REMAINING: [&str; 3] =
    ["ratelimit-remaining", "x-ratelimit-remaining", "x-rate-limit-remaining"];

/// A reset beyond this is a Unix time, not a number of seconds.
const UNIX_FROM: f64 = 1e9;

/// A Unix time beyond this is in milliseconds.
const MILLISECONDS_FROM: f64 = 1e11;

/// What a server answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// This machine's time when the headers came.
    pub(crate) received_at: Timestamp,
    /// The address it came from, after redirects.
    pub(crate) url: Url,
    /// The body after content decoding; none when it did not come whole.
    pub(crate) body: Option<Spooled>,
    /// Whether the body came as fast as it could be taken.
    pub(crate) came_fast: bool,
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

    /// Whether the body was too large to be held in memory while it came.
    pub(crate) fn is_large(&self) -> bool {
        self.body.as_ref().is_some_and(|body| body.file().is_some())
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
    /// 10.2.3), a date being compared with the server's own time where it gives one; or else the reset
    /// of its rate limit, in seconds or, as GitHub has it, as a Unix time.
    fn retry_after(&self) -> Option<Duration> {
        let now = self.server_time().unwrap_or(self.received_at);
        if let Some(text) = self.text(&RETRY_AFTER).map(str::trim) {
            // RFC 9110 has whole seconds; some send fractions.
            if let Some(seconds) = text.parse().ok().filter(|seconds: &f64| *seconds >= 0.0) {
                return Duration::try_from_secs_f64(seconds).ok();
            }
            let wait = http_date(text)?.duration_since(now);
            return Some(Duration::try_from(wait).unwrap_or_default());
        }
        let header = |name: &&str| self.headers.get(*name)?.to_str().ok()?.trim().parse().ok();
        let reset = RESETS.iter().find_map(header).or_else(|| self.combined_reset());
        let reset = reset.filter(|reset: &f64| reset.is_finite())?;
        let now = f64::from(i32::try_from(now.as_second()).unwrap_or(i32::MAX));
        let wait = if reset > MILLISECONDS_FROM {
            reset / 1000.0 - now
        } else if reset > UNIX_FROM {
            reset - now
        } else {
            reset
        };
        Duration::try_from_secs_f64(wait.max(0.0)).ok()
    }

    /// The seconds in the one header of newer drafts of the IETF (draft-ietf-httpapi-ratelimit-headers):
    /// `limit=100, remaining=0, reset=30` or `"default";r=0;t=30`.
    fn combined_reset(&self) -> Option<f64> {
        let text = self.headers.get("ratelimit")?.to_str().ok()?;
        let mut pairs = text.split([',', ';']).filter_map(|pair| pair.split_once('='));
        let (_, seconds) = pairs.find(|(name, _)| matches!(name.trim(), "reset" | "t"))?;
        seconds.trim().parse().ok()
    }

    /// Whether the rate limit says that nothing is left.
    fn is_spent(&self) -> bool {
        let left = |name: &&str| self.headers.get(*name)?.to_str().ok();
        REMAINING.iter().find_map(left).is_some_and(|left| left.trim() == "0")
    }

    /// The answer, if its status is a success. `words` is what the
    /// body says.
    pub(crate) fn judged(
        self,
        words: Option<&str>,
        redirects: &Redirects<'_>,
    ) -> Result<Self, Failure> {
        let kind = match kind_of(self.status, words) {
            None => return Ok(self),
            // GitHub: the first limit leaves nothing, the second one says when to come back.
            Some(ErrorKind::Auth)
                if self.status == StatusCode::FORBIDDEN
                    && (self.is_spent() || self.headers.contains_key(RETRY_AFTER)) =>
            {
                ErrorKind::Throttled
            }
            Some(kind) => kind,
        };
        let status = self.status.as_u16();
        let reason = self.status.canonical_reason().filter(|reason| !reason.is_empty());
        let message = match self.redirect(redirects).or_else(|| words.map(str::to_owned)) {
            Some(words) => format!("HTTP {status}: {words}"),
            None => match reason {
                Some(reason) => format!("HTTP {status} {reason}"),
                None => format!("HTTP {status}"),
            },
        };
        let now = self.server_time().unwrap_or(self.received_at);
        let retry_after =
            self.retry_after().or_else(|| words.and_then(|words| next_minute(words, now)));
        Err(Failure { kind, message, retry_after, answer: Some(Box::new(self)) })
    }

    /// Where a redirect leads, if it may be followed.
    pub(crate) fn leads_to(&self, redirects: &Redirects<'_>) -> Option<Url> {
        let followed = matches!(self.status.as_u16(), 301 | 302 | 303 | 307 | 308);
        let to = self.url.join(self.text(&LOCATION).filter(|_| followed)?).ok()?;
        let may = redirects.left > 0 && may_follow(redirects.asked, &to, redirects.hosts);
        may.then_some(to)
    }

    /// Why a redirect was not followed. The place is named without path and query, which may hold
    /// secrets or a screenful of tracking.
    fn redirect(&self, redirects: &Redirects<'_>) -> Option<String> {
        if !self.status.is_redirection() {
            return None;
        }
        let to = self.url.join(self.text(&LOCATION)?).ok()?;
        Some(if may_follow(redirects.asked, &to, redirects.hosts) {
            format!("more than {} redirects", redirects.max)
        } else {
            // No key allows another scheme.
            let same = to.scheme() == redirects.asked.scheme();
            let key = if same { " (`request.redirect_hosts`)" } else { "" };
            let to = to.origin().ascii_serialization();
            format!("it redirects to `{to}`, which is not followed{key}")
        })
    }
}

/// Which redirects are followed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Redirects<'r> {
    /// The address the request began at.
    pub(crate) asked: &'r Url,
    /// The hosts allowed beside its own.
    pub(crate) hosts: &'r [String],
    /// How many may be followed in all.
    pub(crate) max: u32,
    /// How many may still be.
    pub(crate) left: u32,
}

/// Whether an address that a server gave may be asked: that of the same scheme, host and port, or one
/// of the same scheme on a host that the source's file allows, so that neither credentials nor trust
/// go where it does not send them.
pub(crate) fn may_follow(asked: &Url, to: &Url, hosts: &[String]) -> bool {
    let allowed = |host: &str| hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host));
    asked.origin() == to.origin()
        || (asked.scheme() == to.scheme() && to.host_str().is_some_and(allowed))
}

/// The wait that Open-Meteo asks for in words only, when the limit of the minute was reached: its
/// counters start anew with each minute (FORMATS.md section A).
fn next_minute(words: &str, now: Timestamp) -> Option<Duration> {
    let minutely = words.starts_with("Minutely API request limit exceeded");
    let into = u64::try_from(now.as_second().rem_euclid(60)).unwrap_or(0);
    minutely.then(|| Duration::from_secs(61 - into))
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
    use crate::words::words_of;

    fn answer(status: u16, headers: &[(&str, &str)]) -> Answer {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()));
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: headers.collect(),
            received_at: "2026-11-23T13:00:00Z".parse().unwrap(),
            url: "https://api.example.com/v1/x?key=secret".parse().unwrap(),
            body: None,
            came_fast: false,
        }
    }

    fn failure(answer: Answer, body: &str) -> Failure {
        let asked = answer.url.clone();
        let redirects = Redirects { asked: &asked, hosts: &[], max: 10, left: 0 };
        answer.judged(words_of(body.as_bytes()).as_deref(), &redirects).unwrap_err()
    }

    fn fails(status: u16, headers: &[(&str, &str)], body: &str) -> (ErrorKind, String) {
        let failure = failure(answer(status, headers), body);
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
            fails(404, &[], yahoo),
            fails(502, &[("content-type", "text/html")], "<html><title>502 Bad Gateway</title>"),
            fails(429, &[], "Edge: Too Many Requests"),
            fails(500, &[], ""),
            fails(599, &[], ""),
            fails(302, &[("location", "https://consent.example.org/?to=api")], "moved"),
            fails(301, &[("location", "http://api.example.com/v1/x")], ""),
            fails(302, &[("location", "/v1/y")], ""),
            fails(304, &[], ""),
        ];
        let said: Vec<_> =
            said.iter().map(|(kind, message)| format!("{kind:?}: {message}")).collect();
        insta::assert_snapshot!(said.join("\n"), @r"
        NotFound: HTTP 404: No data found, symbol may be delisted
        Unavailable: HTTP 502: 502 Bad Gateway
        Throttled: HTTP 429: Edge: Too Many Requests
        Unavailable: HTTP 500 Internal Server Error
        Unavailable: HTTP 599
        BadStatus: HTTP 302: it redirects to `https://consent.example.org`, which is not followed (`request.redirect_hosts`)
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
            fails(429, &[], &body).0
        };
        assert_eq!(limit("Minutely"), ErrorKind::Throttled);
        assert_eq!(limit("Hourly"), ErrorKind::QuotaSpent);
        assert_eq!(limit("Daily"), ErrorKind::QuotaSpent);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let asks = |headers: &[(&str, &str)]| answer(429, headers).retry_after();
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(asks(&[("retry-after", " 120")]), seconds(120));
        let date = ("retry-after", "Mon, 23 Nov 2026 13:00:30 GMT");
        assert_eq!(asks(&[date]), seconds(30), "against our clock");
        let server = ("date", "Mon, 23 Nov 2026 13:00:20 GMT");
        assert_eq!(asks(&[date, server]), seconds(10), "against the server's");
        assert_eq!(asks(&[("retry-after", "Mon, 23 Nov 2020 13:00:30 GMT")]), seconds(0));
        assert_eq!(asks(&[("retry-after", "soon")]), None);
        assert_eq!(asks(&[("retry-after", "-1")]), None);
        assert_eq!(asks(&[("retry-after", "0.25")]), Some(Duration::from_millis(250)));
        assert_eq!(asks(&[]), None);
    }

    #[test]
    fn the_age_of_a_cached_answer_is_no_skew() {
        let server = |headers: &[(&str, &str)]| answer(200, headers).server_time();
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
        let kept = answer(200, &headers).kept_headers();
        assert_eq!(kept.into_keys().collect::<Vec<_>>(), ["content-type", "x-ratelimit-remaining"]);
    }

    #[test]
    fn the_reset_of_a_rate_limit_is_a_wait() {
        let asks = |headers: &[(&str, &str)]| answer(429, headers).retry_after();
        assert_eq!(asks(&[("ratelimit-reset", "17")]), Some(Duration::from_secs(17)));
        // 2026-11-23T13:00:40Z, as GitHub has it.
        let github = ("x-ratelimit-reset", "1795438840");
        assert_eq!(asks(&[github]), Some(Duration::from_secs(40)));
        assert_eq!(asks(&[("retry-after", "3"), github]), Some(Duration::from_secs(3)));
        assert_eq!(asks(&[("x-ratelimit-reset", "NaN")]), None);
        assert_eq!(
            asks(&[("x-ratelimit-reset", "1795438840500")]),
            Some(Duration::from_millis(40_500))
        );
        let discord = ("x-ratelimit-reset-after", "1.5");
        assert_eq!(asks(&[github, discord]), Some(Duration::from_millis(1500)));
        for combined in ["limit=100, remaining=0, reset=30", "\"default\";r=0;t=30"] {
            assert_eq!(asks(&[("ratelimit", combined)]), Some(Duration::from_secs(30)));
        }
        assert_eq!(asks(&[("ratelimit", "\"default\";r=0")]), None);
        let spent = [("x-ratelimit-remaining", "0"), github];
        assert_eq!(fails(403, &spent, "rate limit exceeded").0, ErrorKind::Throttled);
        assert_eq!(fails(403, &[github], "forbidden").0, ErrorKind::Auth);
        assert_eq!(fails(403, &[("retry-after", "60")], "slow down").0, ErrorKind::Throttled);
    }

    #[test]
    fn the_limit_of_a_minute_is_over_with_the_minute() {
        let body = r#"{"error":true,"reason":"Minutely API request limit exceeded. Please try again in one minute."}"#;
        let at = |date| failure(answer(429, &[("date", date)]), body).retry_after;
        let late = at("Mon, 23 Nov 2026 13:00:58 GMT");
        assert_eq!(late, Some(Duration::from_secs(3)));
        assert_eq!(at("Mon, 23 Nov 2026 13:00:00 GMT"), Some(Duration::from_secs(61)));
    }

    #[test]
    fn only_allowed_hosts_are_followed_to() {
        let url = |text: &str| text.parse::<Url>().unwrap();
        let asked = url("https://api.example.com/v1/x");
        let hosts = ["cdn.example.com".to_owned()];
        let may = |to: &str| may_follow(&asked, &url(to), &hosts);
        assert!(may("https://api.example.com/v2/y") && may("https://CDN.example.com/z"));
        for to in [
            "http://api.example.com/",
            "http://cdn.example.com/",
            "https://evil.example/",
            "https://api.example.com:8443/",
            "https://example.com/",
        ] {
            assert!(!may(to), "{to}");
        }
    }
}
