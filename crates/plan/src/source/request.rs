//! `[request]`: what is asked, with its limits.
//!
//! In: the TOML table. Out: a [`Request`] of templates. A secret that stands in the file in plain
//! words is a problem here. Deliberately absent: rendering and sending.

use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::template::Template;
use crate::problem::Problem;
use crate::section::{Section, Text};

/// The method of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `POST`
    Post,
}

impl Method {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

/// A JSON value with templates in its strings.
#[derive(Debug, Clone, PartialEq)]
pub enum JsonTemplate {
    /// A number or a boolean.
    Literal(serde_json::Value),
    /// A string.
    Text(Template),
    /// An array.
    Array(Vec<JsonTemplate>),
    /// An object, in the order of the file.
    Object(Vec<(String, JsonTemplate)>),
}

/// What a request carries.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Nothing.
    None,
    /// JSON.
    Json(JsonTemplate),
    /// A form, `application/x-www-form-urlencoded`.
    Form(Vec<(String, Template)>),
}

/// The request of a source.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The address; its scheme is `http` or `https`.
    pub url: Template,
    /// Query parameters in the order of the file, not yet encoded.
    pub query: Vec<(String, Template)>,
    /// Header names and values in the order of the file.
    pub headers: Vec<(String, Template)>,
    /// What it carries.
    pub body: Body,
    /// How long a connection may take; default 10 s.
    pub connect_timeout: Duration,
    /// How long the server may be silent; default 30 s.
    pub read_timeout: Duration,
    /// How long one answer may take in all; default 5 min.
    pub total_timeout: Duration,
    /// The largest body taken, in bytes after decoding; default 64 MiB.
    pub max_bytes: u64,
    /// How many redirects are followed; default 10.
    pub max_redirects: u32,
    /// The hosts that may be redirected to beside the request's own.
    pub redirect_hosts: Vec<String>,
    /// A proxy's address, instead of those of the environment.
    pub proxy: Option<Template>,
    /// A file of certificates (PEM) trusted beside the machine's.
    pub ca_file: Option<PathBuf>,
    /// Whether cookies that a server sets are sent back during the fetch; default not.
    pub cookies: bool,
}

impl Request {
    /// Every template of it.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        let mut all = vec![&self.url];
        all.extend(self.query.iter().chain(&self.headers).map(|(_, template)| template));
        match &self.body {
            Body::None => {}
            Body::Json(json) => json.templates(&mut all),
            Body::Form(fields) => all.extend(fields.iter().map(|(_, template)| template)),
        }
        all.extend(&self.proxy);
        all.into_iter()
    }
}

impl JsonTemplate {
    fn templates<'t>(&'t self, all: &mut Vec<&'t Template>) {
        match self {
            Self::Literal(_) => {}
            Self::Text(template) => all.push(template),
            Self::Array(items) => items.iter().for_each(|item| item.templates(all)),
            Self::Object(members) => members.iter().for_each(|(_, item)| item.templates(all)),
        }
    }
}

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

/// Endings of names whose values are secrets (`x-api-key`, `access_token`, `client_secret`,
/// `Ocp-Apim-Subscription-Key`, `PRIVATE-TOKEN`). Not every token is one: `page_token` is none.
const SECRET_ENDINGS: [&str; 11] = [
    "apikey",
    "accesskey",
    "subscriptionkey",
    "registrationkey",
    "functionskey",
    "secret",
    "password",
    "accesstoken",
    "authtoken",
    "apitoken",
    "privatetoken",
];

/// Whether what a parameter or header of this name holds is a secret.
pub fn is_secret_name(name: &str) -> bool {
    let plain: String =
        name.chars().filter(|c| !matches!(c, '-' | '_')).collect::<String>().to_ascii_lowercase();
    SECRET_NAMES.contains(&plain.as_str())
        || SECRET_ENDINGS.iter().any(|ending| plain.ends_with(ending))
}

/// Whether a header can have this name (RFC 9110 section 5.1).
pub(crate) fn is_header_name(name: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(token)
}

/// A template that must not hold its secret in plain words.
pub(crate) fn secret(
    section: &mut Section<'_>,
    key: &str,
    problems: &mut Vec<Problem>,
) -> Option<Template> {
    let text = section.required_string(key, problems)?;
    let template = template(section, key, &text, problems)?;
    if template.secrets().next().is_none() {
        problems.push(in_plain_words(section, key, key));
        return None;
    }
    Some(template)
}

fn in_plain_words(section: &Section<'_>, key: &str, name: &str) -> Problem {
    // The value is not repeated.
    let message = format!("the secret of `{name}` stands in the file");
    section.problem(key, message).hint(
        "write `${NAME}` for an environment variable, or `secret://NAME` for AWS Secrets Manager",
    )
}

/// Parses a text as a template, reporting one that is none.
pub(crate) fn template(
    section: &Section<'_>,
    key: &str,
    text: &str,
    problems: &mut Vec<Problem>,
) -> Option<Template> {
    let parsed = Template::parse(text);
    parsed.map_err(|reason| problems.push(section.problem(key, reason))).ok()
}

/// A table of templates; values under names of secrets must be templates with a secret.
fn templates(
    section: &mut Section<'_>,
    key: &str,
    problems: &mut Vec<Problem>,
) -> Vec<(String, Template)> {
    let mut found = Vec::new();
    for (name, text) in section.optional_texts(key, problems) {
        let Some(template) = template(section, key, &text, problems) else { continue };
        if is_secret_name(&name) && template.secrets().next().is_none() && !text.contains("{{") {
            problems.push(in_plain_words(section, key, &name));
        }
        found.push((name, template));
    }
    found
}

/// Reads `[request]`.
pub(super) fn read(
    mut section: Section<'_>,
    root: &std::path::Path,
    problems: &mut Vec<Problem>,
) -> Option<Request> {
    let url = read_url(&mut section, problems);
    let query = templates(&mut section, "query", problems);
    let headers = templates(&mut section, "headers", problems);
    for (name, value) in &headers {
        if !is_header_name(name) || value.text().bytes().any(|byte| byte.is_ascii_control()) {
            // The value may be a secret, so it is not repeated.
            let problem =
                section.problem("headers", format!("`{name}` is not a header that can be sent"));
            problems.push(
                problem.hint("accepted: a name of letters, digits and -, and a value on one line"),
            );
        }
    }
    let body = read_body(&mut section, problems);
    let method = crate::section::choose(
        &mut section,
        "method",
        &[("GET", Method::Get), ("POST", Method::Post)],
        Some(if body == Body::None { Method::Get } else { Method::Post }),
        problems,
    );
    if method == Some(Method::Get) && body != Body::None {
        let key = if matches!(body, Body::Form(_)) { "form" } else { "json" };
        let problem = section.problem(key, "a GET request carries no body");
        problems.push(problem.hint("write `method = \"POST\"`, or use `query`"));
    }
    let seconds =
        |section: &mut Section<'_>, key: &str, default: f64, problems: &mut Vec<Problem>| {
            let seconds = section.optional_number(key, 0.05..=3600.0, problems);
            Duration::from_secs_f64(seconds.unwrap_or(default))
        };
    let connect_timeout = seconds(&mut section, "connect_timeout_seconds", 10.0, problems);
    let read_timeout = seconds(&mut section, "read_timeout_seconds", 30.0, problems);
    let total_timeout = seconds(&mut section, "total_timeout_seconds", 300.0, problems);
    let max_mib = section.optional_whole("max_mebibytes", 1..=4096, problems).unwrap_or(64);
    let max_redirects = section.optional_whole("max_redirects", 0..=20, problems).unwrap_or(10);
    let redirect_hosts = section.optional_strings("redirect_hosts", problems).unwrap_or_default();
    for host in &redirect_hosts {
        if url::Host::parse(host).is_err() {
            let problem = section.problem("redirect_hosts", format!("`{host}` is not a host"));
            problems.push(problem.hint("accepted: names such as `cdn.example.com`"));
        }
    }
    let proxy = section.optional_string("proxy", problems).and_then(|text| {
        let proxy = template(&section, "proxy", &text, problems)?;
        address(&section, "proxy", &proxy, problems).then_some(proxy)
    });
    let ca_file = section.optional_string("ca_file", problems).map(|file| {
        let path = root.join(&file);
        if !path.is_file() {
            let problem = section.problem("ca_file", format!("there is no file `{file}`"));
            problems.push(problem.hint("a PEM file, relative to the pipeline folder"));
        }
        path
    });
    let cookies = section.optional_bool("cookies", problems).unwrap_or(false);
    section.finish(problems);
    Some(Request {
        method: method?,
        url: url?,
        query,
        headers,
        body,
        connect_timeout,
        read_timeout,
        total_timeout,
        max_bytes: u64::from(max_mib) << 20,
        max_redirects,
        redirect_hosts,
        proxy,
        ca_file,
        cookies,
    })
}

fn read_url(section: &mut Section<'_>, problems: &mut Vec<Problem>) -> Option<Template> {
    let word = section.required_string("url", problems)?;
    let url = template(section, "url", &word, problems)?;
    address(section, "url", &url, problems).then_some(url)
}

/// What is wrong with the address of a request, as a source's file would be told.
pub fn check_url(word: &str) -> Result<(), Problem> {
    let mut table = toml::Table::new();
    table.insert("url".to_owned(), toml::Value::String(word.to_owned()));
    let written = table.to_string();
    let text = Text { file: "request.url", text: &written, first_line: 1 };
    let mut problems = Vec::new();
    if let Some(table) = text.parse(&mut problems) {
        read_url(&mut Section::top(text, &table), &mut problems);
    }
    problems.into_iter().next().map_or(Ok(()), Err)
}

/// Checks an address as far as it is known before its secrets are.
pub(crate) fn address(
    section: &Section<'_>,
    key: &str,
    template: &Template,
    problems: &mut Vec<Problem>,
) -> bool {
    if template.starts_with_secret() {
        return true;
    }
    match url::Url::parse(&template.sample()) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
            let in_query = url.query_pairs().find(|(name, value)| {
                is_secret_name(name) && value != "x" && template.text().contains(value.as_ref())
            });
            if let Some((name, _)) = in_query {
                problems.push(in_plain_words(section, key, &name));
                return false;
            }
            if url.password().is_some_and(|password| password != "x") {
                problems.push(in_plain_words(section, key, key));
                return false;
            }
            true
        }
        Ok(url) if matches!(url.scheme(), "http" | "https") => {
            problems.push(section.problem(key, format!("`{key}` names no host")));
            false
        }
        Ok(url) => {
            let message = format!("`{key}` has the scheme `{}`", url.scheme());
            problems.push(section.problem(key, message).hint("accepted: http, https"));
            false
        }
        Err(reason) => {
            let message = format!("`{key}` is not an address: {reason}");
            let hint = "such as `https://api.example.com/v1/x`";
            problems.push(section.problem(key, message).hint(hint));
            false
        }
    }
}

fn read_body(section: &mut Section<'_>, problems: &mut Vec<Problem>) -> Body {
    let form = templates(section, "form", problems);
    let json = section.optional_value("json");
    match (json, section.has("form")) {
        (Some(_), true) => {
            let problem = section.problem("form", "a request carries `json` or `form`, not both");
            problems.push(problem);
            Body::None
        }
        (Some(json), false) => match json_template(section, json, problems) {
            Some(json) => Body::Json(json),
            None => Body::None,
        },
        (None, true) => Body::Form(form),
        (None, false) => Body::None,
    }
}

fn json_template(
    section: &Section<'_>,
    value: &DeValue<'_>,
    problems: &mut Vec<Problem>,
) -> Option<JsonTemplate> {
    let number = |text: &str| {
        let number = text.replace('_', "").parse::<serde_json::Number>();
        number.ok().map(|number| JsonTemplate::Literal(number.into()))
    };
    match value {
        DeValue::String(text) => template(section, "json", text, problems).map(JsonTemplate::Text),
        DeValue::Integer(integer) if integer.radix() == 10 => number(integer.as_str()),
        DeValue::Float(float) => number(float.as_str()),
        DeValue::Boolean(boolean) => Some(JsonTemplate::Literal((*boolean).into())),
        DeValue::Array(items) => {
            let items = items.iter().map(|item| json_template(section, item.get_ref(), problems));
            items.collect::<Option<Vec<_>>>().map(JsonTemplate::Array)
        }
        DeValue::Table(table) => {
            let mut members: Vec<_> = table.iter().collect();
            members.sort_by_key(|(name, _)| name.span().start);
            let members = members.into_iter().map(|(name, item)| {
                let name = name.get_ref().to_string();
                if is_secret_name(&name)
                    && item.get_ref().as_str().is_some_and(|text| !text.contains("${"))
                {
                    problems.push(in_plain_words(section, "json", &name));
                }
                Some((name, json_template(section, item.get_ref(), problems)?))
            });
            members.collect::<Option<Vec<_>>>().map(JsonTemplate::Object)
        }
        other => {
            let message = format!("`request.json` holds a {}", other.type_str());
            let hint = "accepted: strings, decimal numbers, booleans, arrays and tables";
            problems.push(section.problem("json", message).hint(hint));
            None
        }
    }
}
