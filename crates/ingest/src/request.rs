//! What is sent: the source's request with its query encoded, and the form of it that may be shown.
//!
//! In: a [`Request`]. Out: an [`Outgoing`]: address and headers for the wire, their redacted form
//! for manifests, and a scrubber for texts that might repeat a secret. Deliberately absent:
//! templates, authentication and pagination, which come with the ingest issue.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use daymark_plan::{Request, SourceId};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use url::Url;

use crate::error::IngestError;
use crate::manifest::SentRequest;

/// This program, as manifests name it and as APIs see it unless the source says otherwise.
pub(crate) const PROGRAM: &str = concat!("daymark/", env!("CARGO_PKG_VERSION"));

/// What stands for a secret.
const HIDDEN: &str = "***";

/// A secret shorter than this is not searched for in texts: it would be found in ordinary words.
const SHORTEST_SCRUBBED: usize = 6;

/// Names whose values are secrets, without `-`, `_` and case.
const SECRET_NAMES: [&str; 12] = [
    "authorization",
    "proxyauthorization",
    "cookie",
    "key",
    "token",
    "auth",
    "appid",
    "signature",
    "sig",
    "crumb",
    "session",
    "pass",
];

/// Endings of names whose values are secrets (`x-api-key`, `access_token`, `client_secret`).
const SECRET_ENDINGS: [&str; 6] =
    ["apikey", "accesskey", "secret", "password", "accesstoken", "authtoken"];

/// A request ready to be sent as often as needed.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// The address with its query.
    pub(crate) url: Url,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// What of it may be shown.
    pub(crate) shown: SentRequest,
    secrets: Vec<String>,
}

impl Outgoing {
    /// Builds the request of a source.
    pub(crate) fn build(source_id: &SourceId, request: &Request) -> Result<Self, IngestError> {
        let mut url = request.url.clone();
        if !request.query.is_empty() {
            let mut query = url.query().map(str::to_owned).unwrap_or_default();
            for (name, value) in &request.query {
                if !query.is_empty() {
                    query.push('&');
                }
                encode(&mut query, name);
                query.push('=');
                encode(&mut query, value);
            }
            url.set_query(Some(&query));
        }
        let mut headers = HeaderMap::new();
        let mut shown_headers = BTreeMap::new();
        for (name, value) in &request.headers {
            let bad = |reason| IngestError::BadHeader {
                source_id: source_id.clone(),
                header: name.clone(),
                reason,
            };
            let header = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| bad("a name may hold letters, digits and `-`"))?;
            let mut content = HeaderValue::from_str(value)
                .map_err(|_| bad("a value may hold printable ASCII characters"))?;
            content.set_sensitive(is_secret(name));
            let shown = if is_secret(name) { HIDDEN } else { value };
            shown_headers.insert(header.to_string(), shown.to_owned());
            headers.append(header, content);
        }
        if !headers.contains_key(USER_AGENT) {
            shown_headers.insert(USER_AGENT.to_string(), PROGRAM.to_owned());
            headers.insert(USER_AGENT, HeaderValue::from_static(PROGRAM));
        }
        let secrets = secrets(&url, request);
        let shown =
            SentRequest { method: "GET".to_owned(), url: redacted(&url), headers: shown_headers };
        Ok(Self { url, headers, shown, secrets })
    }

    /// The host, with the port when it is not the scheme's own: enough to know who did not answer.
    pub(crate) fn host(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// A text without the secrets of this request, which servers like to repeat.
    pub(crate) fn scrub(&self, text: &str) -> String {
        let hide = |text: String, secret: &String| text.replace(secret.as_str(), HIDDEN);
        self.secrets.iter().fold(text.to_owned(), hide)
    }
}

/// Percent-encodes everything but unreserved characters (RFC 3986 section 2.3), `,` and `:`, which
/// stand for themselves in a query and keep lists readable. A space becomes `%20`: unlike `+`, every
/// server reads it as a space.
fn encode(into: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~,:".contains(&byte) {
            into.push(char::from(byte));
        } else {
            write!(into, "%{byte:02X}").expect("a string takes everything");
        }
    }
}

fn is_secret(name: &str) -> bool {
    let plain: String =
        name.chars().filter(|c| !matches!(c, '-' | '_')).collect::<String>().to_ascii_lowercase();
    SECRET_NAMES.contains(&plain.as_str())
        || SECRET_ENDINGS.iter().any(|ending| plain.ends_with(ending))
}

/// The address with `***` for every secret; the rest of the query exactly as sent.
fn redacted(url: &Url) -> String {
    let mut shown = url.clone();
    if shown.password().is_some() {
        shown.set_password(Some(HIDDEN)).expect("an address with a password has a host");
    }
    if let Some(query) = url.query() {
        let pairs: Vec<_> = query
            .split('&')
            .map(|pair| match pair.split_once('=') {
                Some((name, _)) if is_secret(name) => format!("{name}={HIDDEN}"),
                _ => pair.to_owned(),
            })
            .collect();
        shown.set_query(Some(&pairs.join("&")));
    }
    shown.to_string()
}

/// Every secret of a request, in the forms in which it may come back.
fn secrets(url: &Url, request: &Request) -> Vec<String> {
    let mut secrets: Vec<String> = Vec::new();
    for (_, value) in url.query_pairs().filter(|(name, _)| is_secret(name)) {
        let mut encoded = String::new();
        encode(&mut encoded, &value);
        secrets.extend([value.into_owned(), encoded]);
    }
    secrets.extend(url.password().map(str::to_owned));
    for (_, value) in request.headers.iter().filter(|(name, _)| is_secret(name)) {
        // `Authorization: Bearer <token>`: the token alone is the secret.
        secrets.extend(value.split([' ', ';']).map(str::to_owned));
        secrets.push(value.clone());
    }
    secrets.retain(|secret| secret.len() >= SHORTEST_SCRUBBED && secret != "Bearer");
    // A long one first: it may hold a shorter one.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn request(url: &str, query: &[(&str, &str)], headers: &[(&str, &str)]) -> Request {
        let owned = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        Request {
            url: url.parse().unwrap(),
            query: owned(query),
            headers: owned(headers),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            max_bytes: 1 << 20,
        }
    }

    fn build(url: &str, query: &[(&str, &str)], headers: &[(&str, &str)]) -> Outgoing {
        let source_id = SourceId::new("weather").unwrap();
        Outgoing::build(&source_id, &request(url, query, headers)).unwrap()
    }

    #[test]
    fn the_reference_requests_are_those_of_the_design() {
        let weather = build(
            "https://api.open-meteo.com/v1/forecast",
            &[
                ("latitude", "38.9"),
                ("longitude", "-77.0"),
                ("daily", "temperature_2m_max,temperature_2m_min,precipitation_sum"),
                ("timezone", "America/New_York"),
                ("past_days", "2"),
            ],
            &[],
        );
        insta::assert_snapshot!(weather.url, @"https://api.open-meteo.com/v1/forecast?latitude=38.9&longitude=-77.0&daily=temperature_2m_max,temperature_2m_min,precipitation_sum&timezone=America%2FNew_York&past_days=2");
        let sp500 = build(
            "https://query1.finance.yahoo.com/v8/finance/chart/%5EGSPC",
            &[("range", "1y"), ("interval", "1d")],
            &[],
        );
        insta::assert_snapshot!(sp500.url, @"https://query1.finance.yahoo.com/v8/finance/chart/%5EGSPC?range=1y&interval=1d");
        assert_eq!(sp500.headers[USER_AGENT], concat!("daymark/", env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn a_query_is_added_to_the_one_of_the_address_and_encoded() {
        let sent = build("https://a.example/x?v=1", &[("q", "a b&c=d+é%"), ("at", "10:00")], &[]);
        assert_eq!(
            sent.url.as_str(),
            "https://a.example/x?v=1&q=a%20b%26c%3Dd%2B%C3%A9%25&at=10:00"
        );
    }

    #[test]
    fn the_agent_of_the_source_wins() {
        let sent = build("https://a.example/", &[], &[("User-Agent", "Mozilla/5.0")]);
        assert_eq!(sent.headers[USER_AGENT], "Mozilla/5.0");
        assert_eq!(sent.shown.headers["user-agent"], "Mozilla/5.0");
    }

    #[test]
    fn secrets_are_shown_nowhere() {
        let sent = build(
            "https://me:hunter22@a.example/x",
            &[("apikey", "s3cr3t/key"), ("access_token", "tok-123"), ("city", "Oslo")],
            &[
                ("Authorization", "Bearer abc.def.ghi"),
                ("X-Api-Key", "k-999999"),
                ("Accept", "*/*"),
            ],
        );
        insta::assert_debug_snapshot!(sent.shown, @r#"
        SentRequest {
            method: "GET",
            url: "https://me:***@a.example/x?apikey=***&access_token=***&city=Oslo",
            headers: {
                "accept": "*/*",
                "authorization": "***",
                "user-agent": "daymark/0.1.0",
                "x-api-key": "***",
            },
        }
        "#);
        let told =
            "no key s3cr3t/key or s3cr3t%2Fkey, tok-123, hunter22, abc.def.ghi, k-999999; Oslo";
        assert_eq!(sent.scrub(told), "no key *** or ***, ***, ***, ***, ***; Oslo");
    }

    #[test]
    fn a_header_that_cannot_be_sent_is_an_error_without_its_value() {
        let source_id = SourceId::new("weather").unwrap();
        let request = request("https://a.example/", &[], &[("X-Api-Key", "se\ncret")]);
        let error = Outgoing::build(&source_id, &request).unwrap_err();
        insta::assert_snapshot!(error, @"the request header `X-Api-Key` of `weather` cannot be sent: a value may hold printable ASCII characters");
    }
}
