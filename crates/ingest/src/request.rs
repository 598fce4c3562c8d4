//! What is sent: the source's request with its templates rendered and its query encoded, and the
//! form of it that may be shown.
//!
//! In: a [`Source`] and the [`Values`] of a fetch. Out: an [`Outgoing`]: method, address, headers and
//! body for the wire, their redacted form for manifests, and a scrubber for texts that might repeat a
//! secret. Deliberately absent: tokens that must be asked for (`auth.rs`), and which page comes next
//! (`pages.rs`).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytes::Bytes;
use daymark_plan::{
    Auth, Body, JsonTemplate, KeyPlace, Method, Source, SourceId, Template, Values, is_secret_name,
};
use reqwest::header::{
    AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT,
};
use serde_json::Value;
use url::Url;

use crate::error::IngestError;
use crate::manifest::SentRequest;
use crate::scrub::{HIDDEN, Scrubber};

/// This program, as manifests name it and as APIs see it unless the source says otherwise.
pub(crate) const PROGRAM: &str = concat!("daymark/", env!("CARGO_PKG_VERSION"));

/// A request ready to be sent as often as needed.
#[derive(Clone)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    /// The address with its query.
    pub(crate) url: Url,
    /// The headers.
    pub(crate) headers: HeaderMap,
    content: Content,
    /// The key that goes into the query of every page, whatever address the server gives for it.
    query_key: Option<(String, String)>,
    scrubber: Scrubber,
}

/// Without its secrets.
impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.shown().fmt(f)
    }
}

/// What a request carries.
#[derive(Debug, Clone, PartialEq)]
enum Content {
    None,
    Json(Value),
    Form(Vec<(String, String)>),
}

impl Outgoing {
    /// Builds the first request of a fetch.
    pub(crate) fn build(source: &Source, values: &Values<'_>) -> Result<Self, IngestError> {
        let builder = Builder { source_id: &source.id, values };
        let request = &source.request;
        let mut scrubber = Scrubber::new(values.secrets);
        let address = builder.address(&request.url)?;
        let mut url: Url = address.parse().map_err(|reason| {
            // The parser's reason does not repeat the address.
            builder.wrong(&request.url, format!("this is not an address: {reason}"))
        })?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(builder.wrong(&request.url, "this is no http or https address".to_owned()));
        }
        let mut query = url.query().map(str::to_owned).unwrap_or_default();
        for (name, template) in &request.query {
            append(&mut query, name, &builder.text(template)?);
        }
        let mut query_key = None;
        let mut headers = HeaderMap::new();
        for (name, template) in &request.headers {
            builder.header(&mut headers, name, &builder.text(template)?)?;
        }
        match &source.auth {
            Auth::None | Auth::ClientCredentials(_) => {}
            Auth::Bearer { token } => {
                let value = format!("Bearer {}", builder.text(token)?);
                builder.header(&mut headers, AUTHORIZATION.as_str(), &value)?;
            }
            Auth::Basic { user, password } => {
                let value = basic(&builder.text(user)?, &builder.text(password)?);
                scrubber.hide(value.trim_start_matches("Basic "));
                builder.header(&mut headers, AUTHORIZATION.as_str(), &value)?;
            }
            Auth::ApiKey { name, value, place: KeyPlace::Header } => {
                builder.header(&mut headers, name, &builder.text(value)?)?;
            }
            Auth::ApiKey { name, value, place: KeyPlace::Query } => {
                let value = builder.text(value)?;
                append(&mut query, name, &value);
                query_key = Some((name.clone(), value));
            }
        }
        if !query.is_empty() {
            url.set_query(Some(&query));
        }
        let content = builder.content(&request.body)?;
        let content_type = match content {
            Content::None => None,
            Content::Json(_) => Some("application/json"),
            Content::Form(_) => Some("application/x-www-form-urlencoded"),
        };
        if let Some(content_type) = content_type
            && !headers.contains_key(CONTENT_TYPE)
        {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        if !headers.contains_key(USER_AGENT) {
            headers.insert(USER_AGENT, HeaderValue::from_static(PROGRAM));
        }
        scrubber.hide_named(&url, &headers);
        Ok(Self { method: request.method, url, headers, content, query_key, scrubber })
    }

    /// The host, with the port when it is not the scheme's own: enough to know who did not answer.
    pub(crate) fn host(&self) -> String {
        host(&self.url)
    }

    /// What is carried, as bytes.
    pub(crate) fn body(&self) -> Option<Bytes> {
        match &self.content {
            Content::None => None,
            Content::Json(value) => Some(value.to_string().into()),
            Content::Form(fields) => {
                let mut text = String::new();
                for (name, value) in fields {
                    append(&mut text, name, value);
                }
                Some(text.into())
            }
        }
    }

    /// The same with a parameter set, in place of one of that name. In a JSON body a number is a number
    /// (`{"page": 2}`) and a text is a text, whatever it looks like.
    pub(crate) fn with(mut self, name: &str, value: &Value, in_body: bool) -> Self {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if !in_body {
            set_query(&mut self.url, name, &text);
            return self;
        }
        match &mut self.content {
            Content::Json(Value::Object(members)) => {
                members.insert(name.to_owned(), value.clone());
            }
            Content::Form(fields) => {
                fields.retain(|(field, _)| field != name);
                fields.push((name.to_owned(), text));
            }
            Content::Json(_) | Content::None => {}
        }
        self
    }

    /// The same at another address, which the server gave. Credentials go along only within the
    /// origin; the caller has checked that it may be asked.
    pub(crate) fn at(mut self, url: Url) -> Self {
        if url.origin() != self.url.origin() {
            self.headers.remove(AUTHORIZATION);
            self.headers.retain_unless_secret();
            self.query_key = None;
        }
        self.url = url;
        if let Some((name, value)) = self.query_key.clone() {
            set_query(&mut self.url, &name, &value);
        }
        self.scrubber.hide_named(&self.url, &self.headers);
        self
    }

    /// Whether a redirect of this status would take a body with a secret in it to another origin.
    pub(crate) fn would_give_away(&self, status: u16, to: &Url) -> bool {
        matches!(status, 307 | 308)
            && to.origin() != self.url.origin()
            && self.body().is_some_and(|body| {
                self.shown().body.is_some_and(|shown| shown.as_bytes() != body.as_ref())
            })
    }

    /// The request that a redirect asks for: a POST becomes a GET as browsers have it (RFC 9110 section
    /// 15.4), but for 307 and 308.
    pub(crate) fn redirected(mut self, status: u16, to: Url) -> Self {
        if !matches!(status, 307 | 308) && self.method == Method::Post {
            self.method = Method::Get;
            self.content = Content::None;
            self.headers.remove(CONTENT_TYPE);
        }
        self.at(to)
    }

    /// The same with a token.
    pub(crate) fn bearing(mut self, token: &str) -> Self {
        // A token that is no header was refused when it came.
        if let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {token}")) {
            value.set_sensitive(true);
            self.headers.insert(AUTHORIZATION, value);
        }
        self.scrubber.hide(token);
        self
    }

    /// What of it may be shown.
    pub(crate) fn shown(&self) -> SentRequest {
        let headers = self.headers.iter().map(|(name, value)| {
            let secret = value.is_sensitive() || is_secret_name(name.as_str());
            let text = String::from_utf8_lossy(value.as_bytes());
            let shown = if secret { HIDDEN.to_owned() } else { self.scrub(&text) };
            (name.to_string(), shown)
        });
        let headers: BTreeMap<String, String> = headers.collect();
        let body = self.body().map(|_| match &self.content {
            Content::Json(value) => self.scrub(&redacted_json(value.clone()).to_string()),
            Content::Form(fields) => {
                let mut text = String::new();
                for (name, value) in fields {
                    let value = if is_secret_name(name) { HIDDEN } else { value };
                    append(&mut text, name, value);
                }
                self.scrub(&text)
            }
            Content::None => String::new(),
        });
        SentRequest {
            method: self.method.as_str().to_owned(),
            url: self.shown_url(),
            headers,
            body,
        }
    }

    /// The address with `***` for every secret; the rest of the query exactly as sent.
    pub(crate) fn shown_url(&self) -> String {
        let mut shown = self.url.clone();
        if shown.password().is_some() {
            // An address with a password has a host, so this cannot fail; were it to, the scrubber
            // knows the password too.
            shown.set_password(Some(HIDDEN)).unwrap_or_default();
        }
        if let Some(query) = self.url.query() {
            let pairs: Vec<_> = query
                .split('&')
                .map(|pair| match pair.split_once('=') {
                    Some((name, _)) if self.is_secret_parameter(name) => {
                        format!("{name}={HIDDEN}")
                    }
                    _ => pair.to_owned(),
                })
                .collect();
            shown.set_query(Some(&pairs.join("&")));
        }
        self.scrub(shown.as_str())
    }

    fn is_secret_parameter(&self, name: &str) -> bool {
        is_secret_name(name) || self.query_key.as_ref().is_some_and(|(key, _)| key == name)
    }

    /// A text without the secrets of this request, which servers like to repeat.
    pub(crate) fn scrub(&self, text: &str) -> String {
        self.scrubber.scrub(text)
    }

    /// What hides the secrets of this request.
    pub(crate) fn scrubber(&self) -> &Scrubber {
        &self.scrubber
    }
}

/// Headers that must not follow to another origin.
trait Retain {
    fn retain_unless_secret(&mut self);
}

impl Retain for HeaderMap {
    fn retain_unless_secret(&mut self) {
        let secret: Vec<HeaderName> = self
            .iter()
            .filter(|(name, value)| value.is_sensitive() || is_secret_name(name.as_str()))
            .map(|(name, _)| name.clone())
            .collect();
        for name in secret {
            self.remove(name);
        }
    }
}

/// Renders the templates of one source.
struct Builder<'b> {
    source_id: &'b SourceId,
    values: &'b Values<'b>,
}

impl Builder<'_> {
    fn wrong(&self, template: &Template, reason: String) -> IngestError {
        IngestError::BadRequest {
            source_id: self.source_id.clone(),
            template: template.text().to_owned(),
            reason,
        }
    }

    fn text(&self, template: &Template) -> Result<String, IngestError> {
        template.render(self.values).map_err(|reason| self.wrong(template, reason))
    }

    fn address(&self, template: &Template) -> Result<String, IngestError> {
        let rendered = template.render_with(self.values, |value| encoded(&value));
        rendered.map_err(|reason| self.wrong(template, reason))
    }

    fn header(&self, headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), IngestError> {
        let bad = |reason| IngestError::BadHeader {
            source_id: self.source_id.clone(),
            header: name.to_owned(),
            reason,
        };
        let header = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| bad("a name may hold letters, digits and `-`"))?;
        let mut content = HeaderValue::from_str(value)
            .map_err(|_| bad("a value may hold printable ASCII characters"))?;
        let secret = is_secret_name(name)
            || self.values.secrets.values().any(|secret| value.contains(secret));
        content.set_sensitive(secret);
        headers.append(header, content);
        Ok(())
    }

    fn content(&self, body: &Body) -> Result<Content, IngestError> {
        Ok(match body {
            Body::None => Content::None,
            Body::Json(json) => Content::Json(self.json(json)?),
            Body::Form(fields) => {
                let fields = fields
                    .iter()
                    .map(|(name, template)| Ok((name.clone(), self.text(template)?)))
                    .collect::<Result<_, IngestError>>()?;
                Content::Form(fields)
            }
        })
    }

    fn json(&self, json: &JsonTemplate) -> Result<Value, IngestError> {
        Ok(match json {
            JsonTemplate::Literal(value) => value.clone(),
            JsonTemplate::Text(template) => Value::String(self.text(template)?),
            JsonTemplate::Array(items) => {
                Value::Array(items.iter().map(|item| self.json(item)).collect::<Result<_, _>>()?)
            }
            JsonTemplate::Object(members) => {
                let members = members
                    .iter()
                    .map(|(name, item)| Ok((name.clone(), self.json(item)?)))
                    .collect::<Result<_, IngestError>>()?;
                Value::Object(members)
            }
        })
    }
}

fn redacted_json(mut value: Value) -> Value {
    match &mut value {
        Value::Object(members) => {
            for (name, item) in members.iter_mut() {
                *item = if is_secret_name(name) && item.is_string() {
                    HIDDEN.into()
                } else {
                    redacted_json(item.take())
                };
            }
        }
        Value::Array(items) => {
            for item in items.iter_mut() {
                *item = redacted_json(item.take());
            }
        }
        _ => {}
    }
    value
}

/// The value of a Basic `Authorization` header (RFC 7617).
pub(crate) fn basic(user: &str, password: &str) -> String {
    use base64::Engine as _;
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {pair}")
}

/// The host of an address, with the port when it is not the scheme's own.
pub(crate) fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Sets a parameter of an address, in place of one of that name; the others stay as they are.
fn set_query(url: &mut Url, name: &str, value: &str) {
    let query = url.query().unwrap_or_default();
    let is_it = |pair: &&str| {
        let found = pair.split_once('=').map_or(*pair, |(name, _)| name);
        url::form_urlencoded::parse(found.as_bytes()).next().is_some_and(|(n, _)| n == name)
    };
    let mut kept: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).collect();
    kept.retain(|pair| !is_it(pair));
    let mut text = kept.join("&");
    append(&mut text, name, value);
    url.set_query(Some(&text));
}

/// Appends a parameter to a query or form.
pub(crate) fn append(query: &mut String, name: &str, value: &str) {
    if !query.is_empty() {
        query.push('&');
    }
    query.push_str(&encoded(name));
    query.push('=');
    query.push_str(&encoded(value));
}

/// A text with everything percent-encoded but unreserved characters (RFC 3986 section 2.3), `,` and
/// `:`, which stand for themselves in a query and keep lists readable. A space becomes `%20`: unlike
/// `+`, every server reads it as a space.
pub(crate) fn encoded(text: &str) -> String {
    let mut into = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~,:".contains(&byte) {
            into.push(char::from(byte));
        } else {
            write!(into, "%{byte:02X}").expect("a string takes everything");
        }
    }
    into
}

#[cfg(test)]
mod tests {
    use daymark_plan::{Environment, Secret, SecretRef, Secrets};

    use super::*;

    /// A request of templates, as a source's file has it.
    fn sent(
        request: &str,
        auth: &str,
        secrets: &[(&'static str, &str)],
    ) -> Result<Outgoing, IngestError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sources")).unwrap();
        let main = "name = \"p\"\ntime_zone = \"UTC\"\nschedule = \"cron(0 8 * * ? *)\"\n";
        std::fs::write(folder.path().join("daymark.toml"), main).unwrap();
        let source = format!(
            "id = \"weather\"\n[request]\n{request}\n{auth}\n[rows]\nlayout = \"records\"\n\
             [rows.fields]\na = {{ path = \"a\", type = \"text\" }}\n"
        );
        std::fs::write(folder.path().join("sources/weather.toml"), source).unwrap();
        let owned = secrets.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let environment = Environment::of(owned);
        let plan = daymark_plan::load(folder.path(), &environment).unwrap();
        let source = &plan.sources[0];
        let mut found = Secrets::default();
        for (name, value) in secrets {
            let name = SecretRef::Variable((*name).to_owned());
            found.insert(name, Secret::new((*value).to_owned()));
        }
        let data_date = jiff::civil::date(2026, 11, 23);
        let window = daymark_plan::Moment::Date(data_date);
        let values = Values {
            data_date,
            window_start: window.clone(),
            window_end: window,
            cursor: None,
            entity: Vec::new(),
            zone: jiff::tz::TimeZone::UTC,
            secrets: &found,
        };
        Outgoing::build(source, &values)
    }

    fn build(request: &str) -> Outgoing {
        sent(request, "", &[]).unwrap()
    }

    #[test]
    fn the_reference_requests_are_those_of_the_design() {
        let weather = build(
            r#"
            url = "https://api.open-meteo.com/v1/forecast"
            [request.query]
            latitude = 38.9
            longitude = -77.0
            daily = "temperature_2m_max,temperature_2m_min,precipitation_sum"
            timezone = "America/New_York"
            past_days = 2
            "#,
        );
        insta::assert_snapshot!(weather.url, @"https://api.open-meteo.com/v1/forecast?latitude=38.9&longitude=-77.0&daily=temperature_2m_max,temperature_2m_min,precipitation_sum&timezone=America%2FNew_York&past_days=2");
        let sp500 = build(
            r#"
            url = "https://query1.finance.yahoo.com/v8/finance/chart/%5EGSPC"
            query = { range = "1y", interval = "1d" }
            "#,
        );
        insta::assert_snapshot!(sp500.url, @"https://query1.finance.yahoo.com/v8/finance/chart/%5EGSPC?range=1y&interval=1d");
        assert_eq!(sp500.headers[USER_AGENT], concat!("daymark/", env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn a_query_is_added_to_the_one_of_the_address_and_encoded() {
        let sent = build(
            r#"
            url = "https://a.example/x?v=1"
            query = { q = "a b&c=d+é%", at = "10:00", day = "{{ data_date - 1d }}" }
            "#,
        );
        assert_eq!(
            sent.url.as_str(),
            "https://a.example/x?v=1&q=a%20b%26c%3Dd%2B%C3%A9%25&at=10:00&day=2026-11-22"
        );
    }

    #[test]
    fn the_agent_of_the_source_wins() {
        let sent =
            build("url = \"https://a.example/\"\nheaders = { User-Agent = \"Mozilla/5.0\" }");
        assert_eq!(sent.headers[USER_AGENT], "Mozilla/5.0");
        assert_eq!(sent.shown().headers["user-agent"], "Mozilla/5.0");
    }

    #[test]
    fn secrets_are_shown_nowhere() {
        let sent = sent(
            r#"
            url = "https://me:${PASSWORD}@a.example/x"
            query = { apikey = "${KEY}", city = "Oslo", note = "${SHORT}" }
            headers = { X-Api-Key = "k-${KEY}", Accept = "*/*", X-Note = "${SHORT}" }
            json = { client_secret = "${KEY}", list = ["${TOKEN}", 5, 1.50], page = 1 }
            "#,
            "[auth]\ntype = \"bearer\"\ntoken = \"${TOKEN}\"",
            &[
                ("PASSWORD", "hunter22"),
                ("KEY", "s3cr3t/key"),
                ("TOKEN", "abc.def.ghi"),
                ("SHORT", "zq7"),
            ],
        )
        .unwrap();
        insta::assert_debug_snapshot!(sent.shown(), @r#"
        SentRequest {
            method: "POST",
            url: "https://me:***@a.example/x?apikey=***&city=Oslo&note=***",
            headers: {
                "accept": "*/*",
                "authorization": "***",
                "content-type": "application/json",
                "user-agent": "daymark/0.1.0",
                "x-api-key": "***",
                "x-note": "***",
            },
            body: Some(
                "{\"client_secret\":\"***\",\"list\":[\"***\",5,1.5],\"page\":1}",
            ),
        }
        "#);
        let told = "no key s3cr3t/key or s3cr3t%2Fkey, hunter22, abc.def.ghi, zq7; Oslo";
        assert_eq!(sent.scrub(told), "no key *** or ***, ***, ***, ***; Oslo");
        assert!(!format!("{sent:?}").contains("hunter22"), "{sent:?}");
        let body = sent.body().unwrap();
        assert_eq!(body, r#"{"client_secret":"s3cr3t/key","list":["abc.def.ghi",5,1.5],"page":1}"#);
        let next = sent.with("page", &2.into(), true);
        assert!(next.body().unwrap().ends_with(br#""page":2}"#));
        let next = next.with("page", &"0012".into(), true);
        assert!(next.body().unwrap().ends_with(br#""page":"0012"}"#));
    }

    #[test]
    fn keys_go_with_every_page_and_to_no_other_host() {
        let auth =
            "[auth]\ntype = \"api_key\"\nname = \"appkey\"\nvalue = \"${KEY}\"\nin = \"query\"";
        let first =
            sent("url = \"https://a.example/x?page=1\"", auth, &[("KEY", "s3cr3t")]).unwrap();
        assert_eq!(first.url.as_str(), "https://a.example/x?page=1&appkey=s3cr3t");
        assert_eq!(first.shown_url(), "https://a.example/x?page=1&appkey=***");
        let next = first.clone().at("https://a.example/x?page=2".parse().unwrap());
        assert_eq!(next.url.as_str(), "https://a.example/x?page=2&appkey=s3cr3t");
        let other = first.at("https://b.example/x?page=2".parse().unwrap());
        assert_eq!(other.url.as_str(), "https://b.example/x?page=2");
    }

    #[test]
    fn a_header_that_cannot_be_sent_is_an_error_without_its_value() {
        let request = "url = \"https://a.example/\"\nheaders = { X-Api-Key = \"${KEY}\" }";
        let error = sent(request, "", &[("KEY", "se\ncret")]).unwrap_err();
        insta::assert_snapshot!(error, @"the request header `X-Api-Key` of `weather` cannot be sent: a value may hold printable ASCII characters");
    }
}
