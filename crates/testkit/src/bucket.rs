//! A bucket per test on the S3 server of `DAYMARK_TEST_S3`, and servers that look at signatures and policies;
//! `scripts/with-s3.sh` starts the one and says where the program of the others is.
//!
//! In: nothing. Out: the server's address and a bucket's name. Deliberately absent: taking buckets away;
//! the server that holds them is made for one run of the tests.

use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::form_urlencoded;

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
        send(port(&endpoint), "PUT", &format!("/{name}"), "", "").await;
        Self { endpoint, name }
    }

    /// The port of its server on this machine's loopback.
    pub fn port(&self) -> u16 {
        port(&self.endpoint)
    }

    /// Lets the bucket keep versions.
    pub async fn keep_versions(&self) {
        let status = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
        send(self.port(), "PUT", &format!("/{}?versioning=", self.name), "", status).await;
    }
}

/// An S3 server of a test's own that looks at signatures and at the policies of its users, once
/// [`GuardedServer::enforce`] was called.
#[derive(Debug)]
pub struct GuardedServer {
    /// Its address.
    pub endpoint: String,
    process: Child,
}

/// The keys of a user.
#[derive(Debug, Clone)]
pub struct UserKeys {
    /// The id.
    pub id: String,
    /// The secret.
    pub secret: String,
}

/// An S3 server of a test's own whose one bucket holds many objects from the beginning, all of them `{}`.
#[derive(Debug)]
pub struct FilledServer {
    /// The bucket.
    pub bucket: TestBucket,
    process: Child,
}

impl FilledServer {
    /// Starts a server with a bucket of these keys; it is ready when it says where it runs.
    pub fn start(bucket: &str, keys: impl IntoIterator<Item = String>) -> Self {
        let mut process = Command::new(program().with_file_name("python3"))
            .args(["-c", include_str!("filled_bucket.py"), bucket])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the Python beside the program of DAYMARK_TEST_MOTO starts");
        let mut stdin = BufWriter::new(process.stdin.take().expect("it is piped"));
        for key in keys {
            writeln!(stdin, "{key}").expect("it reads its keys");
        }
        drop(stdin);
        let endpoint = endpoint_of(&mut process);
        Self { bucket: TestBucket { endpoint, name: bucket.to_owned() }, process }
    }
}

impl Drop for FilledServer {
    fn drop(&mut self) {
        // It may be gone already.
        self.process.kill().unwrap_or_default();
        self.process.wait().map(drop).unwrap_or_default();
    }
}

/// Where a server that was started runs, as it says itself.
fn endpoint_of(process: &mut Child) -> String {
    let said = BufReader::new(process.stderr.take().expect("it is piped"));
    let mut lines = said.lines().map_while(Result::ok);
    let endpoint = lines.find_map(|line| {
        let from = line.find("http://127.0.0.1:")?;
        Some(line[from..].trim().to_owned())
    });
    // Whoever writes into a pipe that nobody reads stops one day.
    std::thread::spawn(move || lines.for_each(drop));
    endpoint.expect("it says where it runs")
}

impl GuardedServer {
    /// Starts a server; it is ready when it says where it runs.
    pub fn start() -> Self {
        let mut process = Command::new(program())
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program of DAYMARK_TEST_MOTO starts");
        Self { endpoint: endpoint_of(&mut process), process }
    }

    /// Makes a bucket.
    pub async fn bucket(&self, name: &str) {
        send(port(&self.endpoint), "PUT", &format!("/{name}"), "", "").await;
    }

    /// Makes a user with a policy.
    pub async fn user(&self, name: &str, policy: &str) -> UserKeys {
        self.ask(&[("Action", "CreateUser"), ("UserName", name)]).await;
        let policy = [
            ("Action", "PutUserPolicy"),
            ("UserName", name),
            ("PolicyName", "daymark"),
            ("PolicyDocument", policy),
        ];
        self.ask(&policy).await;
        let keys = self.ask(&[("Action", "CreateAccessKey"), ("UserName", name)]).await;
        let inside = |name: &str| {
            let rest = keys.split_once(&format!("<{name}>")).expect("a key has it").1;
            rest.split_once('<').expect("it ends").0.to_owned()
        };
        UserKeys { id: inside("AccessKeyId"), secret: inside("SecretAccessKey") }
    }

    /// From now on nothing is done without a signature and a permission.
    pub async fn enforce(&self) {
        let headers = "content-type: text/plain\r\n";
        send(port(&self.endpoint), "POST", "/moto-api/reset-auth", headers, "0").await;
    }

    async fn ask(&self, parameters: &[(&str, &str)]) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("Version", "2010-05-08").extend_pairs(parameters);
        // The scope says which of AWS's services is asked.
        let headers = "content-type: application/x-www-form-urlencoded\r\n\
                       authorization: AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/iam/aws4_request, \
                       SignedHeaders=host, Signature=none\r\n";
        send(port(&self.endpoint), "POST", "/", headers, &form.finish()).await
    }
}

impl Drop for GuardedServer {
    fn drop(&mut self) {
        // It may be gone already.
        self.process.kill().unwrap_or_default();
        self.process.wait().map(drop).unwrap_or_default();
    }
}

/// Sends a request that is answered with 200; gives the body of the answer.
async fn send(port: u16, method: &str, target: &str, headers: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the S3 server answers");
    let request = format!(
        "{method} {target} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-length: {}\r\n{headers}\
         connection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("it takes a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200"), "{method} {target}: {answer}");
    answer.split_once("\r\n\r\n").expect("a head ends").1.to_owned()
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

#[expect(clippy::disallowed_methods, reason = "this variable is for tests only")]
fn program() -> PathBuf {
    let program = std::env::var("DAYMARK_TEST_MOTO").expect(
        "DAYMARK_TEST_MOTO is the path of moto_server; `scripts/with-s3.sh COMMAND` installs it and sets it",
    );
    program.into()
}
