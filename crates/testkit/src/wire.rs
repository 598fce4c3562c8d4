//! A proxy between a program and PostgreSQL that cuts the connection at a chosen answer.
//!
//! In: a server, on a port or behind a Unix socket. Out: the same server once more, and [`WireProxy::cut_at`]:
//! the n-th answer that ends a statement (`ReadyForQuery`) never arrives, and both ends are closed. What the
//! statement did is done by then, and who asked for it does not know: for all but a commit that is the
//! same as having died before the next statement. Or [`WireProxy::alter`]: PostgreSQL is asked something else, and
//! fails at it. Deliberately absent: what else is asked and answered.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

use crate::proxy::altered;

/// The message that says that a statement is over.
const READY_FOR_QUERY: u8 = b'Z';
/// The message that says that a prepared statement is forgotten: sent when one is dropped, and waited for by
/// nobody.
const CLOSE_COMPLETE: u8 = b'3';
/// A message's kind and length.
const HEADER: usize = 5;

/// The proxy; it stops when dropped.
#[derive(Debug)]
pub struct WireProxy {
    address: Option<SocketAddr>,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    at: Mutex<At>,
    reached: Notify,
    let_go: Notify,
    /// What is altered once on its way to the server, and what arrives.
    alter: Mutex<Option<(&'static str, &'static str)>>,
}

#[derive(Debug, Default)]
struct At {
    /// Answers seen since it was armed.
    seen: usize,
    /// The answer at which to cut; none when it is not armed.
    cut: Option<usize>,
    /// Whether the cut waits to be let go.
    holds: bool,
    fired: bool,
}

/// What becomes of an answer.
enum Next {
    Pass,
    Cut { holds: bool },
}

impl WireProxy {
    /// A proxy in front of a server on a loopback port.
    pub async fn before_port(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free loopback port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                connections.spawn(async move {
                    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                    for stream in [&client, &server] {
                        stream.set_nodelay(true).unwrap_or_default();
                    }
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    between(from_client, to_server, from_server, to_client, &state).await;
                });
            }
        });
        Self { address: Some(address), state, accepting }
    }

    /// A proxy in the place of a server's Unix socket, which is moved aside.
    pub fn in_place_of(socket: &Path) -> Self {
        let behind = socket.with_extension("behind");
        std::fs::rename(socket, &behind).expect("the server has a socket");
        let listener = UnixListener::bind(socket).expect("the socket's place is free");
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (state, behind) = (Arc::clone(&shared), behind.clone());
                connections.spawn(async move {
                    let Ok(server) = UnixStream::connect(&behind).await else { return };
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    between(from_client, to_server, from_server, to_client, &state).await;
                });
            }
        });
        Self { address: None, state, accepting }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.expect("it is in front of a port").port()
    }

    /// Cuts at the n-th answer from now, counted from 1 and over all connections.
    pub fn cut_at(&self, answer: usize) {
        *self.at() = At { cut: Some(answer), ..At::default() };
    }

    /// As [`Self::cut_at`], but at the answer it waits for [`Self::let_go`]: [`Self::reached`] tells.
    pub fn hold_at(&self, answer: usize) {
        *self.at() = At { cut: Some(answer), holds: true, ..At::default() };
    }

    /// Waits until the answer is there that [`Self::hold_at`] holds.
    pub async fn reached(&self) {
        self.state.reached.notified().await;
    }

    /// Cuts what is held.
    pub fn let_go(&self) {
        self.state.let_go.notify_one();
    }

    /// Where these words are asked next, others of the same length arrive, once.
    pub fn alter(&self, asked: &'static str, arrives: &'static str) {
        assert_eq!(asked.len(), arrives.len(), "messages say how long they are");
        *self.state.alter() = Some((asked, arrives));
    }

    /// Whether what was to be altered is still to come.
    pub fn is_altering(&self) -> bool {
        self.state.alter().is_some()
    }

    /// Passes everything again. Gives whether it did cut, and how many answers there were since it was told to.
    pub fn pass(&self) -> (bool, usize) {
        let mut at = self.at();
        let told = (at.fired, at.seen);
        *at = At::default();
        told
    }

    fn at(&self) -> std::sync::MutexGuard<'_, At> {
        self.state.at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for WireProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl State {
    fn answer(&self) -> Next {
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        at.seen += 1;
        if at.cut == Some(at.seen) {
            at.fired = true;
            return Next::Cut { holds: at.holds };
        }
        Next::Pass
    }

    fn alter(&self) -> std::sync::MutexGuard<'_, Option<(&'static str, &'static str)>> {
        self.alter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Alters what is on its way to the server, if it is that.
    fn asked(&self, sent: &mut [u8]) {
        let mut alter = self.alter();
        let Some((asked, arrives)) = *alter else { return };
        if altered(sent, asked.as_bytes(), arrives.as_bytes()) {
            *alter = None;
        }
    }
}

/// Passes bytes both ways until one end closes or the answer is there at which to cut; both are closed then.
async fn between(
    mut from_client: impl AsyncRead + Unpin,
    mut to_server: impl AsyncWrite + Unpin,
    mut from_server: impl AsyncRead + Unpin,
    mut to_client: impl AsyncWrite + Unpin,
    state: &State,
) {
    let upwards = async {
        let mut sent = Vec::new();
        while from_client.read_buf(&mut sent).await? > 0 {
            state.asked(&mut sent);
            to_server.write_all(&sent).await?;
            sent.clear();
        }
        to_server.shutdown().await
    };
    let downwards = async {
        let mut waiting = Vec::new();
        let mut is_answer = false;
        loop {
            if from_server.read_buf(&mut waiting).await? == 0 {
                return to_client.shutdown().await;
            }
            let mut whole = 0;
            while let Some(header) = waiting.get(whole..whole + HEADER) {
                let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
                let end = whole + 1 + usize::try_from(length).unwrap_or(usize::MAX / 2);
                if waiting.len() < end {
                    break;
                }
                match header[0] {
                    READY_FOR_QUERY if std::mem::take(&mut is_answer) => match state.answer() {
                        Next::Cut { holds: true } => {
                            state.reached.notify_one();
                            state.let_go.notified().await;
                            return Ok(());
                        }
                        Next::Cut { holds: false } => return Ok(()),
                        Next::Pass => {}
                    },
                    READY_FOR_QUERY | CLOSE_COMPLETE => {}
                    _ => is_answer = true,
                }
                whole = end;
            }
            to_client.write_all(&waiting[..whole]).await?;
            waiting.drain(..whole);
        }
    };
    // Either end may go away: that is what this is for.
    let ended: std::io::Result<()> =
        tokio::select! { end = upwards => end, end = downwards => end };
    ended.unwrap_or_default();
}
