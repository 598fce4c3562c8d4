//! A fake REST server: real HTTP/1.1 on a loopback port, scripted reply by reply.
//!
//! In: per path, or per path and query, a queue of [`Reply`]s; the last one of a queue is given again
//! and again. Out: those replies, byte for byte, and a record of every request. It is written on plain TCP rather than on
//! a framework because half of its purpose is to misbehave: to cut a body, to close a connection
//! without an answer, to be silent, to send a `Date` of its own or none. It also replays recorded
//! exchanges to whoever asks what was asked then, however the question is spelt; it can speak TLS, with a
//! certificate that nobody trusts who was not given it, and it can be asked as a proxy: a target is then
//! a whole address. Deliberately absent: keep-alive, chunked requests, tunnels.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use url::Url;

use crate::recorded::Exchange;

/// What the server does with a request.
#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
    sends: Sends,
    gate: Option<watch::Receiver<bool>>,
}

/// How much of the answer is sent.
#[derive(Debug, Clone, Copy)]
enum Sends {
    Whole,
    HeadAndBodyUpTo(usize),
    Nothing,
}

impl Reply {
    /// A status with a body and no header but its length.
    pub fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), sends: Sends::Whole, gate: None }
    }

    /// A 200 with JSON.
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self::new(200, body).header("content-type", "application/json")
    }

    /// A 200 with the bytes of a recorded response.
    pub fn recorded(file: &Path) -> Self {
        let body = std::fs::read(file)
            .unwrap_or_else(|error| panic!("the recorded response {}: {error}", file.display()));
        Self::json(body)
    }

    /// A redirect.
    pub fn redirect(location: &str) -> Self {
        Self::new(302, Bytes::new()).header("location", location)
    }

    /// The same with another status.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The same with one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with a `Date` header (RFC 9110 section 5.6.7).
    #[must_use]
    pub fn date(self, at: Timestamp) -> Self {
        let date = at.to_zoned(TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        self.header("date", &date)
    }

    /// The same, cut after so many bytes of its body; the length announced is that of the whole.
    #[must_use]
    pub fn cut_after(mut self, bytes: usize) -> Self {
        self.sends = Sends::HeadAndBodyUpTo(bytes);
        self
    }

    /// The whole body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The connection is closed without an answer.
    pub fn close() -> Self {
        Self { sends: Sends::Nothing, ..Self::new(200, Bytes::new()) }
    }

    /// The same, not sent before the gate is opened.
    #[must_use]
    pub fn held_by(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.0.subscribe());
        self
    }
}

/// What holds replies back until it is opened; dropping it opens it.
#[derive(Debug)]
pub struct Gate(watch::Sender<bool>);

impl Gate {
    /// A closed gate.
    pub fn closed() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Lets every held reply go.
    pub fn open(&self) {
        self.0.send_replace(true);
    }
}

/// A request the server got.
#[derive(Debug, Clone)]
pub struct SeenRequest {
    /// The method.
    pub method: String,
    /// Path and query exactly as they stood on the request line.
    pub target: String,
    /// Names (in lower case) and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl SeenRequest {
    /// The value of a header; the name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(seen, _)| seen == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Debug, Default)]
struct Script {
    replies: HashMap<String, VecDeque<Reply>>,
    /// By what they answer; what was recorded twice is given in turn.
    recorded: HashMap<Question, VecDeque<Reply>>,
    requests: Vec<SeenRequest>,
}

/// What a request asks for, whatever the order and the spelling of its parameters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Question {
    method: String,
    path: String,
    query: Vec<(String, String)>,
}

impl Question {
    fn of(method: &str, url: &Url) -> Self {
        let mut query: Vec<_> = url.query_pairs().into_owned().collect();
        query.sort();
        Self { method: method.to_owned(), path: decoded(url.path()), query }
    }

    /// The question of a request line.
    fn asked(method: &str, target: &str) -> Option<Self> {
        let base: Url = "http://localhost".parse().ok()?;
        Some(Self::of(method, &base.join(target).ok()?))
    }
}

/// A path without `%XX`.
fn decoded(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The server; it stops when dropped.
#[derive(Debug)]
pub struct RestServer {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    in_flight: Arc<InFlight>,
    certificate: Option<String>,
    accepting: JoinHandle<()>,
}

/// How many requests are being answered, and how many were at most.
#[derive(Debug, Default)]
struct InFlight {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl RestServer {
    /// Starts a server on a free loopback port.
    pub async fn start() -> Self {
        Self::listening(None).await
    }

    /// Starts a server that speaks TLS, with a certificate of its own for `127.0.0.1`.
    pub async fn start_tls() -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])
            .expect("a certificate can be made");
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a certificate goes with its key");
        Self::listening(Some((TlsAcceptor::from(Arc::new(config)), made.cert.pem()))).await
    }

    async fn listening(tls: Option<(TlsAcceptor, String)>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free loopback port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let (script, in_flight) = (Arc::<Mutex<Script>>::default(), Arc::<InFlight>::default());
        let (acceptor, certificate) = tls.unzip();
        let answering = (Arc::clone(&script), Arc::clone(&in_flight));
        let accepting = tokio::spawn(accept(listener, acceptor, answering));
        Self { address, script, in_flight, certificate, accepting }
    }

    /// The address of a path, such as `http://127.0.0.1:12345/v1/forecast`.
    pub fn url(&self, path: &str) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.address)
    }

    /// The certificate of a server that speaks TLS, in PEM.
    pub fn certificate(&self) -> &str {
        self.certificate.as_deref().expect("the server was started with TLS")
    }

    /// How many requests there were at once, at most.
    pub fn most_at_once(&self) -> usize {
        self.in_flight.most.load(Ordering::SeqCst)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Adds a reply to the queue of a path, or of a path with its query exactly as it is asked for, which
    /// goes first. The last one of a queue stays.
    pub fn on(&self, path: &str, reply: Reply) {
        lock(&self.script).replies.entry(path.to_owned()).or_default().push_back(reply);
    }

    /// Puts a reply in the place of all the path had.
    pub fn only(&self, path: &str, reply: Reply) {
        lock(&self.script).replies.insert(path.to_owned(), VecDeque::from([reply]));
    }

    /// Answers whoever asks what was asked then. Where the answer names the recorded server in a header,
    /// it names this one.
    pub fn replay(&self, exchange: &Exchange) {
        let origin = exchange.url.origin().ascii_serialization();
        let mut reply = Reply::new(exchange.status, exchange.body.clone());
        for (name, value) in &exchange.headers {
            reply = reply.header(name, &value.replace(&origin, &self.url("")));
        }
        let question = Question::of(&exchange.method, &exchange.url);
        lock(&self.script).recorded.entry(question).or_default().push_back(reply);
    }

    /// Every request so far, in order of arrival.
    pub fn requests(&self) -> Vec<SeenRequest> {
        lock(&self.script).requests.clone()
    }
}

impl Drop for RestServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A test that panicked while it held the lock has failed already; the script is still good.
fn lock(script: &Mutex<Script>) -> MutexGuard<'_, Script> {
    script.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    (script, in_flight): (Arc<Mutex<Script>>, Arc<InFlight>),
) {
    // Dropped with this future, and the open connections with it.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (script, in_flight, tls) = (Arc::clone(&script), Arc::clone(&in_flight), tls.clone());
        connections.spawn(async move {
            // A client that goes away, because its time is up or it does not trust the certificate, is
            // part of the tests.
            let served = match tls {
                None => serve(stream, &script, &in_flight).await,
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => serve(stream, &script, &in_flight).await,
                    Err(error) => Err(error),
                },
            };
            served.unwrap_or_default();
        });
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    script: &Mutex<Script>,
    in_flight: &InFlight,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let Some(request) = read_request(&mut stream).await? else { return Ok(()) };
    let now = in_flight.now.fetch_add(1, Ordering::SeqCst) + 1;
    in_flight.most.fetch_max(now, Ordering::SeqCst);
    let done = answer(&mut stream, request, script).await;
    in_flight.now.fetch_sub(1, Ordering::SeqCst);
    done
}

async fn answer(
    stream: &mut (impl AsyncWrite + Unpin),
    request: SeenRequest,
    script: &Mutex<Script>,
) -> std::io::Result<()> {
    let path = request.target.split('?').next().unwrap_or_default().to_owned();
    let reply = {
        let mut script = lock(script);
        let exactly = script.replies.contains_key(&request.target);
        let asked = if exactly { request.target.clone() } else { path.clone() };
        let question = Question::asked(&request.method, &request.target);
        script.requests.push(request);
        let scripted = script.replies.get_mut(&asked).and_then(next_of);
        let Script { recorded, .. } = &mut *script;
        scripted.or_else(|| recorded.get_mut(&question?).and_then(next_of))
    };
    let reply = reply.unwrap_or_else(|| {
        Reply::new(404, format!("no reply is scripted for `{path}`"))
            .header("content-type", "text/plain")
    });
    if let Some(mut gate) = reply.gate.clone() {
        // An error means that the gate was dropped, which opens it.
        gate.wait_for(|open| *open).await.map(|_| ()).unwrap_or_default();
    }
    let mut head = format!("HTTP/1.1 {} Scripted\r\nconnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        write!(head, "{name}: {value}\r\n").expect("a string takes everything");
    }
    write!(head, "content-length: {}\r\n\r\n", reply.body.len())
        .expect("a string takes everything");
    let body = match reply.sends {
        Sends::Whole => &reply.body[..],
        Sends::HeadAndBodyUpTo(bytes) => &reply.body[..bytes.min(reply.body.len())],
        Sends::Nothing => return Ok(()),
    };
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    stream.flush().await?;
    stream.shutdown().await
}

/// The next reply of a queue; the last one stays.
fn next_of(queue: &mut VecDeque<Reply>) -> Option<Reply> {
    if queue.len() > 1 { queue.pop_front() } else { queue.front().cloned() }
}

/// Reads up to the empty line that ends the head; `None` for a connection that says nothing.
async fn read_request(
    stream: &mut BufReader<impl AsyncRead + Unpin>,
) -> std::io::Result<Option<SeenRequest>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    let mut length = 0;
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            let (name, value) = (name.to_ascii_lowercase(), value.trim().to_owned());
            if name == "content-length" {
                length = value.parse().unwrap_or(0);
            }
            headers.push((name, value));
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Some(SeenRequest { method, target, headers, body }))
}
