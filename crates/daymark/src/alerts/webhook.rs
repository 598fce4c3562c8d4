//! A POST of JSON: the program's own document, or what Slack takes.
//!
//! In: an address, headers, a document. Out: what came back. A redirect is no delivery: following one would turn the
//! POST into a GET that finds a page. Deliberately absent: trying again.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use daymark_plan::{Secrets, Webhook, WebhookFormat};
use jiff::SignedDuration;
use reqwest::{StatusCode, Url, redirect};
use serde_json::json;

use super::Refusal;
use super::message::Document;

/// The most of an answer that is repeated.
const REPEATED: usize = 200;
/// No server makes us wait longer.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(1);

/// Sends a document.
pub(super) async fn send(
    webhook: &Webhook,
    timeout: Duration,
    document: &Document<'_>,
    secrets: &Secrets,
) -> Result<String, Refusal> {
    let url = address(&webhook.url, secrets)?;
    let client = client(&url, timeout, webhook.ca_file.as_deref())?;
    let mut request = client.post(url);
    for (name, value) in &webhook.headers {
        let value = value.revealed(secrets).map_err(|error| Refusal::of(error, false))?;
        request = request.header(name, value);
    }
    let body = match webhook.format {
        WebhookFormat::Json => serde_json::to_string(document).expect("a document has text keys"),
        WebhookFormat::Slack => json!({ "text": slack(document) }).to_string(),
    };
    let request = request
        .header("content-type", "application/json")
        .header("user-agent", concat!("daymark/", env!("CARGO_PKG_VERSION")))
        .body(body);
    answered(request.send().await).await
}

/// The text in Slack's words: three characters mean something to it.
fn slack(document: &Document<'_>) -> String {
    let text = format!("{}{}", document.heading(), document.text());
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// An address with its secrets in their place.
pub(super) fn address(
    template: &daymark_plan::Template,
    secrets: &Secrets,
) -> Result<Url, Refusal> {
    let text = template.revealed(secrets).map_err(|error| Refusal::of(error, false))?;
    // The address may be a secret: it is not repeated.
    let url = text.trim().parse::<Url>();
    url.ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host()).ok_or_else(
        || Refusal::of(format!("`{}` holds no http or https address", template.text()), false),
    )
}

/// A client for one address.
pub(super) fn client(
    url: &Url,
    timeout: Duration,
    ca_file: Option<&Path>,
) -> Result<reqwest::Client, Refusal> {
    let bad = |what: String| Refusal::of(what, false);
    let mut builder = reqwest::Client::builder()
        .timeout(timeout)
        .connect_timeout(timeout)
        .redirect(redirect::Policy::none());
    let mut certificates = Vec::new();
    if let Some(file) = ca_file {
        let shown = file.display();
        let pem = std::fs::read(file)
            .map_err(|error| bad(format!("cannot read `ca_file` `{shown}`: {error}")))?;
        certificates = reqwest::Certificate::from_pem_bundle(&pem)
            .map_err(|error| bad(format!("`ca_file` `{shown}`: {}", innermost(&error))))?;
    }
    builder = if url.scheme() == "https" {
        builder.tls_certs_merge(certificates)
    } else {
        // Loading the machine's certificates fails where there are none; a plain address needs none.
        builder.tls_certs_only([])
    };
    if is_loopback(url) {
        // A proxy of the environment cannot reach this machine's own loopback.
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| bad(format!("no HTTP client: {}", innermost(&error))))
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || host.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback())
}

/// What an answer means.
pub(super) async fn answered(
    sent: Result<reqwest::Response, reqwest::Error>,
) -> Result<String, Refusal> {
    // `reqwest` puts the address, which may be a secret, into its errors: only causes are repeated.
    let answer = sent.map_err(|error| {
        let error = error.without_url();
        let words = match (error.is_timeout(), error.is_connect()) {
            (true, _) => "no answer in time".to_owned(),
            (false, true) => format!("cannot connect: {}", innermost(&error)),
            (false, false) => format!("no answer: {}", innermost(&error)),
        };
        Refusal::of(words, !error.is_builder())
    })?;
    let status = answer.status();
    let again_after = answer
        .headers()
        .get("retry-after")
        .and_then(|value| value.to_str().ok()?.trim().parse::<i64>().ok())
        .map(|seconds| SignedDuration::from_secs(seconds.max(0)).min(LONGEST_WAIT));
    let body = answer.text().await.unwrap_or_default();
    let said = crate::output::cut(body.trim(), REPEATED);
    let said = if said.is_empty() { String::new() } else { format!(": {said}") };
    let words = format!("HTTP {}{said}", status.as_u16());
    if status.is_success() {
        return Ok(words);
    }
    let may_pass = status.is_server_error()
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
    let again_after = again_after.filter(|_| may_pass);
    let hint = if status.is_redirection() { "; a redirect is not followed" } else { "" };
    Err(Refusal { error: format!("{words}{hint}"), may_pass, again_after })
}

/// The innermost cause of an error: what the operating system or the other side said.
pub(super) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    crate::output::cut(&cause.to_string(), REPEATED)
}
