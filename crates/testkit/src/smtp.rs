//! A mail server: real SMTP on a loopback port, in the open or with TLS from the start or after STARTTLS.
//!
//! In: how it speaks, whom it lets in, and how often it refuses. Out: the mail it took, as it came. It is written on
//! plain TCP because half of its purpose is to refuse. Deliberately absent: delivering anything.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// How a mail server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// In the open.
    Openly,
    /// In the open until the client says STARTTLS, before which it takes nothing.
    StartTls,
    /// TLS from the start.
    Tls,
}

/// Mail that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenMail {
    /// The envelope's sender.
    pub from: String,
    /// The envelope's receivers.
    pub to: Vec<String>,
    /// Headers and body as they came, with soft line breaks and `=XX` undone.
    pub text: String,
    /// Whether the connection was private by then.
    pub private: bool,
    /// Who logged in.
    pub user: Option<String>,
}

impl SeenMail {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let head = self.text.split("\r\n\r\n").next().unwrap_or_default();
        head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

#[derive(Debug, Default)]
struct State {
    refusals: u32,
    login: Option<(String, String)>,
    attempts: u32,
    mails: Vec<SeenMail>,
}

/// The server; it stops when dropped.
#[derive(Debug)]
pub struct SmtpServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    certificate: String,
    accepting: JoinHandle<()>,
}

impl SmtpServer {
    /// Starts a server on a free loopback port.
    pub async fn start(speaks: Speaks) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free loopback port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])
            .expect("a certificate can be made");
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a certificate goes with its key");
        let tls = TlsAcceptor::from(Arc::new(config));
        let state = Arc::<Mutex<State>>::default();
        let accepting = tokio::spawn(accept(listener, speaks, tls, Arc::clone(&state)));
        Self { address, state, certificate: made.cert.pem(), accepting }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Its certificate, in PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// From now on only who knows this gets in.
    pub fn wants(&self, user: &str, password: &str) {
        lock(&self.state).login = Some((user.to_owned(), password.to_owned()));
    }

    /// Refuses so many mails with a 451 before it takes one.
    pub fn refuses(&self, mails: u32) {
        lock(&self.state).refusals = mails;
    }

    /// The mail it took, in order of arrival.
    pub fn mails(&self) -> Vec<SeenMail> {
        lock(&self.state).mails.clone()
    }

    /// How often it was offered mail.
    pub fn attempts(&self) -> u32 {
        lock(&self.state).attempts
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A test that panicked while it held the lock has failed already.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, speaks: Speaks, tls: TlsAcceptor, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, state) = (tls.clone(), Arc::clone(&state));
        connections.spawn(async move {
            // A client that goes away, or does not trust the certificate, is part of the tests.
            greet(stream, speaks, &tls, &state).await.unwrap_or_default();
        });
    }
}

async fn greet(
    mut stream: TcpStream,
    speaks: Speaks,
    tls: &TlsAcceptor,
    state: &Mutex<State>,
) -> std::io::Result<()> {
    if speaks == Speaks::Tls {
        let mut stream = tls.accept(stream).await?;
        stream.write_all(b"220 here\r\n").await?;
        return talk(BufReader::new(stream), true, false, state).await.map(|_| ());
    }
    stream.write_all(b"220 here\r\n").await?;
    let wants_tls = speaks == Speaks::StartTls;
    let mut stream = BufReader::new(stream);
    if talk(&mut stream, false, wants_tls, state).await? {
        let stream = tls.accept(stream.into_inner()).await?;
        talk(BufReader::new(stream), true, false, state).await?;
    }
    Ok(())
}

/// Talks until the client ends it, or gives `true` when it said STARTTLS.
async fn talk(
    mut stream: impl AsyncBufReadExt + AsyncRead + AsyncWrite + Unpin,
    private: bool,
    wants_tls: bool,
    state: &Mutex<State>,
) -> std::io::Result<bool> {
    let (mut from, mut to, mut user) = (String::new(), Vec::new(), None);
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(false);
        }
        let said = line.trim_end();
        let word = said.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let address = || {
            let inside = said.split_once('<').map_or("", |(_, rest)| rest);
            inside.split('>').next().unwrap_or_default().to_owned()
        };
        let login = lock(state).login.clone();
        let reply = match word.as_str() {
            "EHLO" if wants_tls => "250-here\r\n250 STARTTLS\r\n".to_owned(),
            "EHLO" => "250-here\r\n250-8BITMIME\r\n250 AUTH PLAIN\r\n".to_owned(),
            "STARTTLS" if wants_tls => {
                stream.write_all(b"220 go on\r\n").await?;
                stream.flush().await?;
                return Ok(true);
            }
            "QUIT" => {
                stream.write_all(b"221 bye\r\n").await?;
                stream.flush().await?;
                return Ok(false);
            }
            "NOOP" | "RSET" => "250 so be it\r\n".to_owned(),
            _ if wants_tls => "530 5.7.0 say STARTTLS first\r\n".to_owned(),
            "AUTH" => {
                let given = said.split(' ').nth(2).and_then(|text| STANDARD.decode(text).ok());
                let given = String::from_utf8_lossy(&given.unwrap_or_default()).into_owned();
                let mut parts = given.split('\0').skip(1).map(str::to_owned);
                let pair = parts.next().zip(parts.next());
                if pair.is_some() && pair == login {
                    user = pair.map(|(user, _)| user);
                    "235 2.7.0 come in\r\n".to_owned()
                } else {
                    // Some servers repeat what they were told.
                    format!("535 5.7.8 not you: {given}\r\n").replace('\0', " ")
                }
            }
            "MAIL" if login.is_some() && user.is_none() => "530 5.7.0 who are you?\r\n".to_owned(),
            "MAIL" => {
                (from, to) = (address(), Vec::new());
                "250 so be it\r\n".to_owned()
            }
            "RCPT" => {
                to.push(address());
                "250 so be it\r\n".to_owned()
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                stream.flush().await?;
                let text = body(&mut stream).await?;
                let mut state = lock(state);
                state.attempts += 1;
                if state.refusals > 0 {
                    state.refusals -= 1;
                    "451 4.3.0 not now\r\n".to_owned()
                } else {
                    let (from, to, user) = (from.clone(), to.clone(), user.clone());
                    state.mails.push(SeenMail { from, to, text, private, user });
                    format!("250 2.0.0 taken as {}\r\n", state.mails.len())
                }
            }
            _ => "502 5.5.1 what?\r\n".to_owned(),
        };
        stream.write_all(reply.as_bytes()).await?;
        stream.flush().await?;
    }
}

/// Everything up to the line with a dot alone.
async fn body(
    stream: &mut (impl AsyncBufReadExt + AsyncReadExt + Unpin),
) -> std::io::Result<String> {
    let mut text = String::new();
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 || line == ".\r\n" {
            return Ok(plain(&text));
        }
        text.push_str(line.strip_prefix('.').unwrap_or(&line));
    }
}

/// Undoes quoted-printable (RFC 2045 section 6.7).
fn plain(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        if *first == b'=' && after.starts_with(b"\r\n") {
            rest = &after[2..];
        } else if let (b'=', Some(byte)) =
            (*first, hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()))
        {
            bytes.push(byte);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
