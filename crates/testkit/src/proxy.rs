//! A TCP proxy that misbehaves on demand, one connection at a time.
//!
//! In: the address of a server, and a queue of [`Mishap`]s. Out: a loopback address; each new connection
//! takes the next mishap of the queue, and is passed through when there is none. Deliberately absent:
//! any knowledge of what is sent.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// What happens to a connection.
#[derive(Debug, Clone)]
pub enum Mishap {
    /// It is closed with a reset as soon as something was sent on it.
    Reset,
    /// It is closed with a reset after so many bytes of the answer.
    CutAfter(usize),
    /// It is answered with these bytes instead, and closed.
    Answer(Bytes),
    /// Where these bytes are sent on it, others of the same length arrive.
    Alter(Bytes, Bytes),
}

/// The proxy; it stops when dropped.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    queue: Arc<Mutex<VecDeque<Mishap>>>,
    accepting: JoinHandle<()>,
}

impl FaultProxy {
    /// Starts a proxy in front of `127.0.0.1:port`.
    pub async fn start(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free loopback port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let queue = Arc::new(Mutex::new(VecDeque::new()));
        let accepting = tokio::spawn(accept(listener, port, Arc::clone(&queue)));
        Self { address, queue, accepting }
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds a mishap for the next connection that has none yet.
    pub fn next(&self, mishap: Mishap) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(mishap);
    }

    /// How many mishaps are still to come.
    pub fn left(&self) -> usize {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Puts other bytes of the same length in the place of the first of these, and gives whether there were any.
pub(crate) fn altered(chunk: &mut [u8], sent: &[u8], arrives: &[u8]) -> bool {
    let found = chunk.windows(sent.len()).position(|part| part == sent);
    if let Some(at) = found {
        chunk[at..at + sent.len()].copy_from_slice(arrives);
    }
    found.is_some()
}

async fn accept(listener: TcpListener, port: u16, queue: Arc<Mutex<VecDeque<Mishap>>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let mishap = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        connections.spawn(async move {
            // Either side may go away: that is what this is for.
            serve(stream, port, mishap).await.unwrap_or_default();
        });
    }
}

async fn serve(mut client: TcpStream, port: u16, mishap: Option<Mishap>) -> std::io::Result<()> {
    let Some(mishap) = mishap else {
        let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
        copy_bidirectional(&mut client, &mut server).await?;
        return Ok(());
    };
    let mut buffer = vec![0; 64 * 1024];
    match mishap {
        Mishap::Reset => {
            client.readable().await?;
            client.set_zero_linger()
        }
        Mishap::Answer(bytes) => {
            // What was sent is read, for closing on unread bytes would be a reset.
            let read = client.read(&mut buffer).await?;
            buffer.truncate(read);
            client.write_all(&bytes).await?;
            client.shutdown().await
        }
        Mishap::Alter(sent, arrives) => {
            let server = TcpStream::connect(("127.0.0.1", port)).await?;
            let (mut from_client, mut to_client) = client.split();
            let (mut from_server, mut to_server) = server.into_split();
            let upwards = async move {
                loop {
                    let count = from_client.read(&mut buffer).await?;
                    if count == 0 {
                        return to_server.shutdown().await;
                    }
                    let chunk = &mut buffer[..count];
                    altered(chunk, &sent, &arrives);
                    to_server.write_all(chunk).await?;
                }
            };
            let downwards = async {
                tokio::io::copy(&mut from_server, &mut to_client).await?;
                to_client.shutdown().await
            };
            // The server closes when it has said no.
            tokio::select! { done = upwards => done, done = downwards => done }
        }
        Mishap::CutAfter(limit) => {
            let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
            let mut left = limit;
            loop {
                tokio::select! {
                    read = client.read(&mut buffer) => {
                        let count = read?;
                        server.write_all(&buffer[..count]).await?;
                    }
                    read = async {
                        let mut answer = vec![0; 64 * 1024];
                        server.read(&mut answer).await.map(|count| {
                            answer.truncate(count);
                            answer
                        })
                    } => {
                        let answer = read?;
                        let count = answer.len().min(left);
                        client.write_all(&answer[..count]).await?;
                        left -= count;
                        if left == 0 || answer.is_empty() {
                            client.flush().await?;
                            return client.set_zero_linger();
                        }
                    }
                }
            }
        }
    }
}
