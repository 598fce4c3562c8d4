//! One request over the wire.
//!
//! In: an [`Outgoing`] and the limits of its source. Out: an [`Answer`] with its whole body, or a
//! [`Failure`]. Deliberately absent: trying again; that is `fetch.rs`'s, in one place.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use daymark_plan::{Clock, Request, SourceId};
use reqwest::redirect;

use crate::answer::{Answer, Failure, MAX_REDIRECTS, may_follow};
use crate::error::{ErrorKind, IngestError};
use crate::request::Outgoing;
use crate::words::{innermost, seconds};

/// What tells clients apart: `reqwest` fixes these when a client is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct ClientKind {
    connect_timeout: Duration,
    read_timeout: Duration,
    secure: bool,
    loopback: bool,
}

/// The HTTP clients of this process, made when first needed and shared by the sources with equal
/// limits, so that connections are used again.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    made: Mutex<HashMap<ClientKind, reqwest::Client>>,
}

impl Clients {
    /// The client for a request.
    pub(crate) fn for_request(
        &self,
        source_id: &SourceId,
        request: &Request,
    ) -> Result<reqwest::Client, IngestError> {
        let kind = ClientKind {
            connect_timeout: request.connect_timeout,
            read_timeout: request.read_timeout,
            secure: request.url.scheme() == "https",
            loopback: is_loopback(&request.url),
        };
        // Whoever panicked with the lock left a map that is whole.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = made.get(&kind) {
            return Ok(client.clone());
        }
        let client = kind
            .build()
            .map_err(|cause| IngestError::NoClient { source_id: source_id.clone(), cause })?;
        made.insert(kind, client.clone());
        Ok(client)
    }
}

impl ClientKind {
    fn build(self) -> reqwest::Result<reqwest::Client> {
        let mut builder = reqwest::Client::builder()
            .connect_timeout(self.connect_timeout)
            .read_timeout(self.read_timeout)
            .gzip(true)
            .redirect(redirect::Policy::custom(|attempt| {
                let asked = attempt.previous().first();
                let goes_on = attempt.previous().len() <= MAX_REDIRECTS
                    && asked.is_some_and(|asked| may_follow(asked, attempt.url()));
                if goes_on { attempt.follow() } else { attempt.stop() }
            }));
        if !self.secure {
            // Loading the machine's certificates fails where there are none, as on a bare Debian; a
            // plain address needs none, and its redirects stay plain.
            builder = builder.tls_certs_only([]);
        }
        if self.loopback {
            // A proxy of the environment cannot reach this machine's own loopback.
            builder = builder.no_proxy();
        }
        builder.build()
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

/// Sends the request once and takes the whole body. `progress` is told how many bytes have come and
/// how many are announced.
pub(crate) async fn send(
    client: &reqwest::Client,
    outgoing: &Outgoing,
    limits: &Request,
    clock: &Clock,
    progress: &(dyn Fn(u64, Option<u64>) + Sync),
) -> Result<Answer, Failure> {
    let sent = client.get(outgoing.url.clone()).headers(outgoing.headers.clone()).send().await;
    let mut response = sent.map_err(|error| no_answer(error, outgoing, limits))?;
    let mut answer = Answer {
        status: response.status(),
        headers: std::mem::take(response.headers_mut()),
        received_at: clock.now(),
        body: bytes::Bytes::new(),
    };
    let announced = response.content_length();
    let mut body = Vec::new();
    let mut received = 0_u64;
    if announced.is_some_and(|bytes| bytes > limits.max_bytes) {
        return Err(too_large(limits).with(answer));
    }
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                received += chunk.len() as u64;
                if received > limits.max_bytes {
                    return Err(too_large(limits).with(answer));
                }
                body.extend_from_slice(&chunk);
                progress(received, announced);
            }
            Ok(None) => break,
            Err(error) => return Err(broken_body(error, received, limits).with(answer)),
        }
    }
    answer.body = body.into();
    answer.judged(&outgoing.url)
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
fn no_answer(error: reqwest::Error, outgoing: &Outgoing, limits: &Request) -> Failure {
    let error = error.without_url();
    let host = outgoing.host();
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
