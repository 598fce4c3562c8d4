//! Tokens of the client credentials grant (RFC 6749 section 4.4).
//!
//! In: the `[auth]` of a source. Out: an access token, asked for once, kept until a minute before it
//! runs out, and asked for anew when the API says 401. Deliberately absent: grants that need a person
//! in front of a browser.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use daymark_plan::{ClientCredentials, Source, SourceId, Template, Values};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::answer::Failure;
use crate::client::failed_to_send;
use crate::error::ErrorKind;
use crate::request::{append, basic, encoded, host};
use crate::scrub::Scrubber;
use crate::words::words_of;

/// How long before its end a token is no longer used.
const MARGIN: Duration = Duration::from_mins(1);

/// How long a token lives whose server does not say.
const ASSUMED_LIFE: Duration = Duration::from_mins(10);

/// The largest answer of a token server that is read.
const MAX_ANSWER: usize = 1 << 20;

/// The tokens of this process, by source.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    held: std::sync::Mutex<HashMap<SourceId, Arc<Mutex<Option<Token>>>>>,
}

struct Token {
    text: String,
    ends: Instant,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "*** until {:?}", self.ends)
    }
}

/// What a token server answers (RFC 6749 section 5.1).
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: Option<serde_json::Value>,
}

impl Tokens {
    /// A token of a source; `refused` is one that the API did not take. The source's lock is held while
    /// the server is asked, so that fifty entities ask once.
    pub(crate) async fn get(
        &self,
        client: &reqwest::Client,
        source: &Source,
        credentials: &ClientCredentials,
        values: &Values<'_>,
        refused: Option<&str>,
    ) -> Result<String, Failure> {
        let held = {
            let mut all = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(source.id.clone()).or_default())
        };
        let mut held = held.lock().await;
        if let Some(token) = held.as_ref()
            && refused != Some(token.text.as_str())
            && token.ends > Instant::now()
        {
            return Ok(token.text.clone());
        }
        let token = ask(client, source, credentials, values).await?;
        let text = token.text.clone();
        *held = Some(token);
        Ok(text)
    }
}

async fn ask(
    client: &reqwest::Client,
    source: &Source,
    credentials: &ClientCredentials,
    values: &Values<'_>,
) -> Result<Token, Failure> {
    let render = |template: &Template| {
        template.render(values).map_err(|reason| {
            Failure::new(ErrorKind::BadConfig, format!("`{}`: {reason}", template.text()))
        })
    };
    let url: url::Url = render(&credentials.token_url)?.parse().map_err(|reason| {
        Failure::new(ErrorKind::BadConfig, format!("`auth.token_url` is no address: {reason}"))
    })?;
    let (id, secret) = (render(&credentials.client_id)?, render(&credentials.client_secret)?);
    let mut scrubber = Scrubber::new(values.secrets);
    let mut form = String::new();
    append(&mut form, "grant_type", "client_credentials");
    if let Some(scope) = &credentials.scope {
        append(&mut form, "scope", scope);
    }
    if let Some(audience) = &credentials.audience {
        append(&mut form, "audience", audience);
    }
    let mut request = client
        .post(url.clone())
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(ACCEPT, "application/json");
    if credentials.in_form {
        append(&mut form, "client_id", &id);
        append(&mut form, "client_secret", &secret);
    } else {
        // RFC 6749 section 2.3.1: both are form-encoded before they are joined.
        let value = basic(&encoded(&id), &encoded(&secret));
        scrubber.hide(value.trim_start_matches("Basic "));
        if let Ok(mut value) = HeaderValue::from_str(&value) {
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
    }
    let host = host(&url);
    let failed = |kind, message: String| {
        Failure::new(kind, scrubber.scrub(&format!("no token from `{host}`: {message}")))
    };
    let sent = request.body(form).send().await;
    let mut response = sent.map_err(|error| {
        let failure = failed_to_send(error, &host, &source.request);
        failed(failure.kind, failure.message)
    })?;
    let status = response.status();
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= MAX_ANSWER => {
                body.extend_from_slice(&chunk);
            }
            Ok(Some(_)) => {
                return Err(failed(ErrorKind::BadResponse, "its answer is too large".to_owned()));
            }
            Ok(None) => break,
            Err(_) => {
                return Err(failed(ErrorKind::Unreachable, "its answer broke off".to_owned()));
            }
        }
    }
    if !status.is_success() {
        let kind = match status.as_u16() {
            429 => ErrorKind::Throttled,
            500..=599 => ErrorKind::Unavailable,
            // RFC 6749 section 5.2: 400 and 401 are about the credentials.
            _ => ErrorKind::Auth,
        };
        let words = words_of(&scrubber.scrub_bytes(&body))
            .map(|words| format!(": {words}"))
            .unwrap_or_default();
        return Err(failed(kind, format!("HTTP {}{words}", status.as_u16())));
    }
    let granted: Granted = serde_json::from_slice(&body).map_err(|_| {
        failed(ErrorKind::BadResponse, "its answer has no `access_token`".to_owned())
    })?;
    if HeaderValue::from_str(&granted.access_token).is_err() {
        return Err(failed(ErrorKind::BadResponse, "its token is no header value".to_owned()));
    }
    // A number, or a number in quotes: both are seen.
    let life = granted.expires_in.and_then(|life| match life {
        serde_json::Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    });
    let life = life.map_or(ASSUMED_LIFE, Duration::from_secs).min(Duration::from_hours(24));
    Ok(Token { text: granted.access_token, ends: Instant::now() + life.saturating_sub(MARGIN) })
}
