//! One request over the wire.
//!
//! In: an [`Outgoing`] and the limits of its source. Out: an [`Answer`] with its whole body, or a
//! [`Failure`]. Deliberately absent: trying again; that is `fetch.rs`'s, in one place.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use daymark_plan::{Auth, Clock, Method, Request, Source, SourceId, Values};
use reqwest::redirect;
use url::Url;

use crate::answer::{Answer, Failure, Redirects};
use crate::error::{ErrorKind, IngestError};
use crate::request::Outgoing;
use crate::store::RawStore;
use crate::turns::Turns;
use crate::words::{innermost, seconds, words_of};

/// What tells clients apart: `reqwest` fixes these when a client is made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ClientKind {
    connect_timeout: Duration,
    read_timeout: Duration,
    secure: bool,
    loopback: bool,
    /// May hold a password, and is shown nowhere.
    proxy: Option<Shown>,
    ca_file: Option<PathBuf>,
    cookies: bool,
    connections: Connections,
}

/// What becomes of a connection after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Connections {
    /// It is used for the next.
    UsedAgain,
    /// It is closed.
    UsedOnce,
}

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Shown(String);

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// The HTTP clients of this process, made when first needed and shared by the sources with equal
/// limits, so that connections are used again.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    made: Mutex<HashMap<ClientKind, reqwest::Client>>,
}

impl Clients {
    /// The client for the requests of a source.
    pub(crate) fn for_source(
        &self,
        source: &Source,
        url: &Url,
        values: &Values<'_>,
        connections: Connections,
    ) -> Result<reqwest::Client, IngestError> {
        let (request, source_id) = (&source.request, &source.id);
        let proxy = match &request.proxy {
            Some(template) => Some(template.render(values).map_err(|reason| {
                let (source_id, what) = (source_id.clone(), "request.proxy");
                IngestError::BadConnection { source_id, what, reason }
            })?),
            None => None,
        };
        let kind = ClientKind {
            connect_timeout: request.connect_timeout,
            read_timeout: request.read_timeout,
            secure: url.scheme() == "https" || asks_for_tokens_by_tls(&source.auth),
            loopback: is_loopback(url),
            proxy: proxy.map(Shown),
            ca_file: request.ca_file.clone(),
            cookies: request.cookies,
            connections,
        };
        if kind.cookies {
            // Cookies live as long as a fetch: a request is a function of what the folder says.
            return kind.build(source_id);
        }
        // Whoever panicked with the lock left a map that is whole.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = made.get(&kind) {
            return Ok(client.clone());
        }
        let client = kind.build(source_id)?;
        made.insert(kind, client.clone());
        Ok(client)
    }
}

impl ClientKind {
    fn build(&self, source_id: &SourceId) -> Result<reqwest::Client, IngestError> {
        let bad = |what, reason: String| {
            let source_id = source_id.clone();
            IngestError::BadConnection { source_id, what, reason }
        };
        let mut builder = reqwest::Client::builder()
            .connect_timeout(self.connect_timeout)
            .read_timeout(self.read_timeout)
            .cookie_store(self.cookies)
            // They are followed in `send`, which knows what may go along.
            .redirect(redirect::Policy::none());
        if self.connections == Connections::UsedOnce {
            builder = builder.pool_max_idle_per_host(0);
        }
        let mut certificates = Vec::new();
        if let Some(file) = &self.ca_file {
            let pem = std::fs::read(file).map_err(|e| bad("request.ca_file", e.to_string()))?;
            certificates = reqwest::Certificate::from_pem_bundle(&pem)
                .map_err(|error| bad("request.ca_file", innermost(&error)))?;
            if certificates.is_empty() {
                return Err(bad("request.ca_file", "it holds no certificate".to_owned()));
            }
        }
        builder = if self.secure {
            builder.tls_certs_merge(certificates)
        } else {
            // Loading the machine's certificates fails where there are none, as on a bare Debian; a
            // plain address needs none, and its redirects stay plain.
            builder.tls_certs_only([])
        };
        if let Some(Shown(proxy)) = &self.proxy {
            let proxy = reqwest::Proxy::all(proxy.as_str())
                .map_err(|error| bad("request.proxy", innermost(&error.without_url())))?;
            builder = builder.no_proxy().proxy(proxy);
        } else if self.loopback {
            // A proxy of the environment cannot reach this machine's own loopback.
            builder = builder.no_proxy();
        }
        builder
            .build()
            .map_err(|cause| IngestError::NoClient { source_id: source_id.clone(), cause })
    }
}

fn asks_for_tokens_by_tls(auth: &Auth) -> bool {
    match auth {
        Auth::ClientCredentials(client) => !client.token_url.text().starts_with("http://"),
        _ => false,
    }
}

fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// How much of a failure's body is searched for words.
const SEARCHED: u64 = 1 << 20;

/// Sends the request once, follows its redirects and takes the whole body. `progress` is told how many
/// bytes have come and how many are announced.
pub(crate) async fn send(
    client: &reqwest::Client,
    outgoing: &Outgoing,
    limits: &Request,
    clock: &Clock,
    (store, turns): (&RawStore, &Turns),
    progress: &(dyn Fn(u64, Option<u64>) + Sync),
) -> Result<Answer, Failure> {
    let asked = outgoing.url.clone();
    let (hosts, max) = (limits.redirect_hosts.as_slice(), limits.max_redirects);
    let mut redirects = Redirects { asked: &asked, hosts, max, left: max };
    let mut outgoing = outgoing.clone();
    loop {
        let answer = exchange(client, &outgoing, limits, clock, (store, turns), progress).await?;
        if let Some(to) = answer.leads_to(&redirects) {
            let status = answer.status.as_u16();
            if outgoing.would_give_away(status, &to) {
                return Err(given_away(status, &to).with(answer));
            }
            redirects.left -= 1;
            outgoing = outgoing.redirected(status, to);
            continue;
        }
        // Secrets go before words are cut to a readable length.
        let words = match &answer.body {
            Some(body) if !answer.status.is_success() && body.len() <= SEARCHED => {
                let body = body.read().await.ok();
                body.and_then(|body| words_of(&outgoing.scrubber().scrub_bytes(&body)))
            }
            _ => None,
        };
        return answer.judged(words.as_deref(), &redirects);
    }
}

/// One request and its answer.
async fn exchange(
    client: &reqwest::Client,
    outgoing: &Outgoing,
    limits: &Request,
    clock: &Clock,
    (store, turns): (&RawStore, &Turns),
    progress: &(dyn Fn(u64, Option<u64>) + Sync),
) -> Result<Answer, Failure> {
    let method = match outgoing.method {
        Method::Get => reqwest::Method::GET,
        Method::Post => reqwest::Method::POST,
    };
    let mut request =
        client.request(method, outgoing.url.clone()).headers(outgoing.headers.clone());
    if let Some(body) = outgoing.body() {
        request = request.body(body);
    }
    let sent = request.send().await;
    let mut response = sent.map_err(|error| failed_to_send(error, &outgoing.host(), limits))?;
    let mut answer = Answer {
        status: response.status(),
        headers: std::mem::take(response.headers_mut()),
        received_at: clock.now(),
        url: outgoing.url.clone(),
        body: None,
        came_fast: false,
    };
    let announced = response.content_length();
    let (mut spool, mut coming) = (store.spool(), turns.coming(limits.read_timeout));
    let mut received = 0_u64;
    if announced.is_some_and(|bytes| bytes > limits.max_bytes) {
        return Err(too_large(limits).with(answer));
    }
    loop {
        match coming.piece(&mut response).await {
            Ok(Some(chunk)) => {
                received += chunk.len() as u64;
                if received > limits.max_bytes {
                    return Err(too_large(limits).with(answer));
                }
                spool.write(chunk).await.map_err(|error| not_put_aside(&error))?;
                progress(received, announced);
            }
            Ok(None) => break,
            Err(error) => return Err(broken_body(error, received, limits).with(answer)),
        }
    }
    answer.came_fast = coming.came_fast();
    answer.body = Some(spool.finish().await.map_err(|error| not_put_aside(&error))?);
    Ok(answer)
}

fn given_away(status: u16, to: &Url) -> Failure {
    let to = to.origin().ascii_serialization();
    let message = format!(
        "HTTP {status}: it redirects a body that holds a secret to `{to}`, which is not followed"
    );
    Failure::new(ErrorKind::BadStatus, message)
}

fn not_put_aside(error: &std::io::Error) -> Failure {
    Failure::new(ErrorKind::Storage, format!("the response could not be put aside: {error}"))
}

fn too_large(limits: &Request) -> Failure {
    let limit = limits.max_bytes;
    let limit = if limit.is_multiple_of(1 << 20) {
        format!("{} MiB", limit >> 20)
    } else {
        format!("{limit} bytes")
    };
    let message = format!("the body is larger than {limit} (`request.max_mebibytes`)");
    Failure::new(ErrorKind::BadResponse, message)
}

/// `reqwest` puts the address, with every secret in it, into its errors: only causes are repeated.
pub(crate) fn failed_to_send(error: reqwest::Error, host: &str, limits: &Request) -> Failure {
    let error = error.without_url();
    let (kind, message) = match (error.is_connect(), error.is_timeout()) {
        (true, true) => {
            let limit = seconds(limits.connect_timeout);
            (ErrorKind::Timeout, format!("no connection to `{host}` within {limit}"))
        }
        (false, true) => {
            let limit = seconds(limits.read_timeout);
            (ErrorKind::Timeout, format!("no answer from `{host}` within {limit}"))
        }
        (true, false) => {
            (ErrorKind::Unreachable, format!("cannot connect to `{host}`: {}", innermost(&error)))
        }
        (false, false) => {
            (ErrorKind::Unreachable, format!("no answer from `{host}`: {}", innermost(&error)))
        }
    };
    Failure::new(kind, message)
}

fn broken_body(error: reqwest::Error, received: u64, limits: &Request) -> Failure {
    let error = error.without_url();
    if error.is_timeout() {
        let limit = seconds(limits.read_timeout);
        let message = format!("the body stopped for {limit} after {received} bytes");
        return Failure::new(ErrorKind::Timeout, message);
    }
    let message = format!("the body broke off after {received} bytes: {}", innermost(&error));
    Failure::new(ErrorKind::Unreachable, message)
}
