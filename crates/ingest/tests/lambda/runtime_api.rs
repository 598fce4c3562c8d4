//! Lambda's Runtime API on loopback, and the function's process behind it.
//!
//! In: the process's environment, then events, each with the time there is for it. Out: what the process
//! answers. As on AWS, a process that has not answered by its deadline is killed. Deliberately absent:
//! anything that AWS adds before or after the process: retries are the test's to send.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use daymark_plan::Clock;
use jiff::SignedDuration;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

/// What a process says to the Runtime API.
#[derive(Debug, PartialEq)]
pub(crate) enum Said {
    /// It asks for an event.
    Next,
    /// It answers an event.
    Response(Value),
    /// It fails an event.
    Error(Value),
    /// It cannot start; the header that says of what kind that is comes along.
    InitError(String, Value),
}

/// A process and the Runtime API it speaks to.
pub(crate) struct Lambda {
    listener: TcpListener,
    open: Option<BufReader<TcpStream>>,
    process: Child,
    events: u32,
}

impl Lambda {
    /// Starts the process with these variables and those that Lambda sets.
    pub(crate) async fn start(variables: &[(&str, String)]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_daymark-lambda"))
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "daymark")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { listener, open: None, process, events: 0 }
    }

    /// Sends an event and waits for the answer, no longer than the deadline: none when it passes.
    pub(crate) async fn invoke(&mut self, event: &str, time: Duration) -> Option<Said> {
        assert_eq!(self.said(None).await, Said::Next);
        self.events += 1;
        let deadline = Clock::System.now() + SignedDuration::try_from(time).unwrap();
        let answering = async {
            self.reply(&format!(
                "HTTP/1.1 200 OK\r\nlambda-runtime-aws-request-id: request-{}\r\n\
                 lambda-runtime-deadline-ms: {}\r\nlambda-runtime-trace-id: Root=1-0-0\r\n\
                 lambda-runtime-invoked-function-arn: arn:aws:lambda:us-east-1:1:function:daymark\r\n\
                 content-type: application/json\r\ncontent-length: {}\r\n\r\n{event}",
                self.events,
                deadline.as_millisecond(),
                event.len(),
            ))
            .await;
            self.said(Some(self.events)).await
        };
        let answer = tokio::time::timeout(time, answering).await.ok();
        match answer {
            Some(_) => self.reply("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n").await,
            None => self.process.kill().await.unwrap(),
        }
        answer
    }

    /// What a process says that cannot start, and the code it ends with.
    pub(crate) async fn init_error(mut self) -> (Said, Option<i32>) {
        let said = self.said(None).await;
        self.reply("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n").await;
        (said, self.process.wait().await.unwrap().code())
    }

    /// Waits for the process to ask for its first event.
    pub(crate) async fn ready(&mut self) {
        // What it sends is left where it is, for the invocation.
        self.connection().await.fill_buf().await.unwrap();
    }

    /// Ends the process; gives what it logged.
    pub(crate) async fn log(mut self) -> String {
        self.process.start_kill().unwrap();
        let output = self.process.wait_with_output().await.unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    async fn connection(&mut self) -> &mut BufReader<TcpStream> {
        if self.open.is_none() {
            let (stream, _) = self.listener.accept().await.unwrap();
            self.open = Some(BufReader::new(stream));
        }
        self.open.as_mut().unwrap()
    }

    async fn reply(&mut self, text: &str) {
        self.open.as_mut().unwrap().get_mut().write_all(text.as_bytes()).await.unwrap();
    }

    /// The next request of the process, on the connection it has or on a new one. `answered` is the
    /// number of the event that an answer must name.
    async fn said(&mut self, answered: Option<u32>) -> Said {
        if let Some(open) = &mut self.open
            && open.fill_buf().await.is_ok_and(<[u8]>::is_empty)
        {
            self.open = None;
        }
        let stream = self.connection().await;
        let mut start = String::new();
        stream.read_line(&mut start).await.unwrap();
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.unwrap();
            let Some((name, value)) = line.split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let body = body(stream, &headers).await;
        let json = || serde_json::from_slice(&body).unwrap();
        let mut words = start.split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let path = path.strip_prefix("/2018-06-01/runtime/").unwrap();
        match (method, path.split('/').collect::<Vec<_>>().as_slice()) {
            ("GET", ["invocation", "next"]) => Said::Next,
            ("POST", ["init", "error"]) => {
                Said::InitError(headers["lambda-runtime-function-error-type"].clone(), json())
            }
            ("POST", ["invocation", id, said]) => {
                assert_eq!(*id, format!("request-{}", answered.unwrap()));
                if *said == "response" { Said::Response(json()) } else { Said::Error(json()) }
            }
            _ => panic!("the Runtime API has no {start}"),
        }
    }
}

/// A body, of an announced length or in chunks.
async fn body(stream: &mut BufReader<TcpStream>, headers: &HashMap<String, String>) -> Vec<u8> {
    let mut body = Vec::new();
    if let Some(length) = headers.get("content-length") {
        body.resize(length.parse().unwrap(), 0);
        stream.read_exact(&mut body).await.unwrap();
    }
    while headers.get("transfer-encoding").is_some_and(|encoding| encoding == "chunked") {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        let length = usize::from_str_radix(line.trim(), 16).unwrap();
        // The chunk and the line end after it.
        let mut chunk = vec![0; length + 2];
        stream.read_exact(&mut chunk).await.unwrap();
        if length == 0 {
            break;
        }
        body.extend_from_slice(&chunk[..length]);
    }
    body
}
