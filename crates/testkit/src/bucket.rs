//! A bucket per test on the S3 server of `DAYMARK_TEST_S3`; `scripts/with-s3.sh` starts one.
//!
//! In: nothing. Out: the server's address and a bucket's name. Deliberately absent: taking buckets away;
//! the server that holds them is made for one run of the tests.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A bucket of a test's own.
#[derive(Debug)]
pub struct TestBucket {
    /// The server, such as `http://127.0.0.1:5055`.
    pub endpoint: String,
    /// The bucket.
    pub name: String,
}

impl TestBucket {
    /// Makes a bucket.
    pub async fn new() -> Self {
        let endpoint = server();
        let name = format!("daymark-{}", uuid::Uuid::now_v7().simple());
        let port = port(&endpoint);
        let mut stream =
            TcpStream::connect(("127.0.0.1", port)).await.expect("the S3 server answers");
        let request = format!(
            "PUT /{name} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("it takes a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "the bucket can be made: {answer}");
        Self { endpoint, name }
    }

    /// The port of its server on this machine's loopback.
    pub fn port(&self) -> u16 {
        port(&self.endpoint)
    }
}

pub(crate) fn port(endpoint: &str) -> u16 {
    let port = endpoint.rsplit(':').next().and_then(|port| port.trim_end_matches('/').parse().ok());
    port.expect("DAYMARK_TEST_S3 ends with a port")
}

#[expect(clippy::disallowed_methods, reason = "this variable is for tests only")]
pub(crate) fn server() -> String {
    std::env::var("DAYMARK_TEST_S3").expect(
        "DAYMARK_TEST_S3 is the address of an S3 server; `scripts/with-s3.sh COMMAND` starts one and sets it",
    )
}
