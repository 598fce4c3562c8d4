//! TLS in front of a server that speaks none, with a certificate of its own.
//!
//! In: a port of this machine's loopback. Out: an `https` address, and the certificate to trust. Deliberately
//! absent: names; it is for `127.0.0.1`.

use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// It stops when dropped.
pub(crate) struct TlsFront {
    pub(crate) url: String,
    /// In PEM.
    pub(crate) certificate: String,
    accepting: JoinHandle<()>,
}

impl TlsFront {
    pub(crate) async fn of(port: u16) -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                connections.spawn(async move {
                    let mut stream = acceptor.accept(stream).await?;
                    let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
                    copy_bidirectional(&mut stream, &mut server).await
                });
            }
        });
        Self { url, certificate: made.cert.pem(), accepting }
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
