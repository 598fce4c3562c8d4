//! An API that answers with rows of any size after any while.
//!
//! In: `GET /<layout>/<bytes>/<milliseconds>`. Out: that many bytes of rows, about, made as they are sent.
//! Connections are kept open. Deliberately absent: everything else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How much is sent at once.
const PIECE: usize = 256 << 10;

/// The server; it stops with the process.
pub(crate) struct Server {
    address: SocketAddr,
    /// When the newest request came.
    pub(crate) asked: watch::Receiver<Option<Instant>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (told, asked) = watch::channel(None);
        let told = Arc::new(told);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                let told = Arc::clone(&told);
                // A client that goes away is done.
                tokio::spawn(async move { serve(stream, &told).await.unwrap_or_default() });
            }
        });
        Self { address, asked }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn serve(stream: TcpStream, told: &watch::Sender<Option<Instant>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut target = String::new();
        if stream.read_line(&mut target).await? == 0 {
            return Ok(());
        }
        told.send_replace(Some(Instant::now()));
        let mut line = String::new();
        while stream.read_line(&mut line).await? > 2 {
            line.clear();
        }
        let path = target.split([' ', '?']).nth(1).unwrap_or_default().to_owned();
        let mut words = path.split('/').skip(1);
        let layout = words.next().unwrap_or_default().to_owned();
        let mut number = || words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        let (bytes, delay) = (number(), number());
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay as u64)).await;
        }
        let body = Body::new(&layout, bytes);
        let kind = if layout == "csv" { "text/csv" } else { "application/json" };
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let socket = stream.get_mut();
        if body.len() < PIECE {
            socket.write_all(&[head.as_bytes(), &body.whole()].concat()).await?;
            continue;
        }
        socket.write_all(head.as_bytes()).await?;
        body.send(socket).await?;
    }
}

/// How many bodies there were: none is as another, for what is equal is archived once.
static BODIES: AtomicU64 = AtomicU64::new(10_000_000_000);

/// A first line of its own, the same lines again and again, and a last one.
struct Body {
    first: String,
    piece: Vec<u8>,
    pieces: usize,
    last: &'static str,
}

impl Body {
    fn new(layout: &str, bytes: usize) -> Self {
        let number = BODIES.fetch_add(1, Ordering::Relaxed);
        let (first, last) = match layout {
            "csv" => (format!("id,name,value\n{number},first,0\n"), ""),
            "json" => (
                format!("{{\"data\":[{{\"id\":{number},\"name\":\"first\",\"value\":0}},\n"),
                "{\"id\":0,\"name\":\"last\",\"value\":0}]}",
            ),
            _ => (format!("{{\"id\":{number},\"name\":\"first\",\"value\":0}}\n"), ""),
        };
        let mut piece = Vec::new();
        let wanted = bytes.min(PIECE / 4);
        let mut id = 1_000_000_u64;
        while piece.len() < wanted {
            let value = format!("{}.{}", id % 977, id % 89);
            let line = match layout {
                "csv" => format!("{id},\"name of {id}\",{value}\n"),
                "json" => format!("{{\"id\":{id},\"name\":\"name of {id}\",\"value\":{value}}},\n"),
                _ => format!("{{\"id\":{id},\"name\":\"name of {id}\",\"value\":{value}}}\n"),
            };
            piece.extend_from_slice(line.as_bytes());
            id += 1;
        }
        let pieces = bytes.div_ceil(piece.len().max(1));
        Self { first, piece, pieces, last }
    }

    fn len(&self) -> usize {
        self.first.len() + self.piece.len() * self.pieces + self.last.len()
    }

    fn whole(&self) -> Vec<u8> {
        [self.first.as_bytes(), &self.piece.repeat(self.pieces), self.last.as_bytes()].concat()
    }

    async fn send(&self, socket: &mut TcpStream) -> std::io::Result<()> {
        socket.write_all(self.first.as_bytes()).await?;
        for _ in 0..self.pieces {
            socket.write_all(&self.piece).await?;
        }
        socket.write_all(self.last.as_bytes()).await
    }
}
