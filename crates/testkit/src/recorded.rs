//! Recorded exchanges: what was asked and what was answered, as other projects' tests have kept it.
//!
//! In: a file of `../shared/fixtures`: a cassette of VCR (YAML), a scenario of octokit's (JSON), an exchange of
//! node-yahoo-finance2's (JSON). Out: [`Exchange`]s that a [`RestServer`](crate::rest::RestServer) replays.
//! Deliberately absent: what was true of the connection only: lengths, encodings, keep-alive. The bodies
//! of the JSON recordings were parsed by those who kept them and are written out anew.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use serde_json::Value;
use url::Url;
use yaml_rust2::{Yaml, YamlLoader};

/// Headers that are true of the connection only.
const OF_THE_CONNECTION: [&str; 5] =
    ["connection", "content-encoding", "content-length", "keep-alive", "transfer-encoding"];

/// A request and its answer.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The method, in capitals.
    pub method: String,
    /// The address that was asked.
    pub url: Url,
    /// The status answered.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body answered.
    pub body: Bytes,
}

impl Exchange {
    fn new(method: &str, url: &str, status: &str, body: Bytes) -> Self {
        let url = url.parse().unwrap_or_else(|error| panic!("the recorded address {url}: {error}"));
        let status = status.parse().unwrap_or_else(|_| panic!("the recorded status {status}"));
        Self { method: method.to_ascii_uppercase(), url, status, headers: Vec::new(), body }
    }

    fn header(&mut self, name: &str, value: &str) {
        let name = name.to_ascii_lowercase();
        if !OF_THE_CONNECTION.contains(&name.as_str()) {
            self.headers.push((name, value.to_owned()));
        }
    }

    /// When it was answered, by its `Date` header and the `Age` a cache gave it.
    pub fn date(&self) -> Option<Timestamp> {
        let header = |name| self.headers.iter().find(|(found, _)| found == name);
        let date = rfc2822::parse(&header("date")?.1).expect("a recorded date is one").timestamp();
        let age = header("age").and_then(|(_, age)| age.parse().ok()).unwrap_or(0_i64);
        Some(date + jiff::SignedDuration::from_secs(age))
    }
}

/// The exchanges of a file, in order.
pub fn exchanges(file: &Path) -> Vec<Exchange> {
    let text = std::fs::read_to_string(file)
        .unwrap_or_else(|error| panic!("the recording {}: {error}", file.display()));
    if file.extension().is_some_and(|extension| extension == "yml") {
        return cassette(&text);
    }
    match serde_json::from_str(&text).expect("a recording is JSON") {
        Value::Array(exchanges) => exchanges.iter().map(of_octokit).collect(),
        exchange => vec![of_yahoo(&exchange)],
    }
}

/// `{scope, method, path, status, response, headers}`.
fn of_octokit(kept: &Value) -> Exchange {
    let word = |name: &str| kept[name].as_str().expect("octokit's recordings have it");
    let url = format!("{}{}", word("scope"), word("path"));
    let status = kept["status"].to_string();
    let mut exchange = Exchange::new(word("method"), &url, &status, written(&kept["response"]));
    add_headers(&mut exchange, &kept["headers"]);
    exchange
}

/// `{request: {url, method}, response: {status, headers, bodyJson}}`.
fn of_yahoo(kept: &Value) -> Exchange {
    let (request, response) = (&kept["request"], &kept["response"]);
    let word = |name: &str| request[name].as_str().expect("the recordings have it");
    let status = response["status"].to_string();
    let body = written(&response["bodyJson"]);
    let mut exchange = Exchange::new(word("method"), word("url"), &status, body);
    add_headers(&mut exchange, &response["headers"]);
    exchange
}

fn written(value: &Value) -> Bytes {
    serde_json::to_vec(value).expect("what was parsed can be written").into()
}

fn add_headers(exchange: &mut Exchange, headers: &Value) {
    for (name, value) in headers.as_object().into_iter().flatten() {
        exchange.header(name, value.as_str().unwrap_or_default());
    }
}

/// `http_interactions: [{request: {method, uri}, response: {status, headers, body}}]`, of Ruby's VCR and of
/// R's, which write headers as lists and as words.
fn cassette(text: &str) -> Vec<Exchange> {
    let documents = YamlLoader::load_from_str(text).expect("a cassette is YAML");
    let kept = documents[0]["http_interactions"].as_vec().expect("a cassette has interactions");
    kept.iter().map(of_vcr).collect()
}

fn of_vcr(kept: &Yaml) -> Exchange {
    let (request, response) = (&kept["request"], &kept["response"]);
    let word = |value: &Yaml| match value {
        Yaml::Integer(number) => number.to_string(),
        other => other.as_str().unwrap_or_default().to_owned(),
    };
    let status = &response["status"];
    let status = [&status["code"], &status["status_code"]].map(word).concat();
    let text = word(&response["body"]["string"]);
    // `!binary` is base64 in lines; a body of an API never looks like it.
    let packed: String = text.split_ascii_whitespace().collect();
    let body = match STANDARD.decode(&packed) {
        Ok(bytes) if !packed.is_empty() => bytes,
        _ => text.into_bytes(),
    };
    let (method, url) = (word(&request["method"]), word(&request["uri"]));
    let mut exchange = Exchange::new(&method, &url, &status, body.into());
    for (name, values) in response["headers"].as_hash().into_iter().flatten() {
        let values =
            values.as_vec().map_or_else(|| vec![word(values)], |v| v.iter().map(word).collect());
        for value in values {
            exchange.header(&word(name), &value);
        }
    }
    exchange
}
