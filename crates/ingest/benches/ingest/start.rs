//! From the start of the Lambda function's process to its first request.
//!
//! In: the built `daymark-lambda`. Out: the time from `exec` to the line the API reads first, with the
//! Runtime API on loopback answering at once. Deliberately absent: what AWS does before it starts a process.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use crate::server::Server;

const RUNS: usize = 21;

pub(crate) async fn lambda(server: &Server) {
    let mut times = Vec::new();
    for _ in 0..RUNS {
        times.push(once(server).await);
    }
    times.sort_unstable();
    let ms = |took: Duration| took.as_secs_f64() * 1000.0;
    let (first, runtime): (Vec<Duration>, Vec<Duration>) = times.iter().copied().unzip();
    let mut runtime = runtime;
    runtime.sort_unstable();
    println!(
        "start: exec to first request                 {:>7.1} ms  (asks Lambda for an event after {:.1} ms)",
        ms(first[RUNS / 2]),
        ms(runtime[RUNS / 2])
    );
}

async fn once(server: &Server) -> (Duration, Duration) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let pipeline = folder.path().join("pipeline");
    fs::create_dir_all(pipeline.join("sources")).unwrap();
    let raw = folder.path().join("raw");
    let main = format!(
        "name = \"bench\"\ntime_zone = \"America/New_York\"\nschedule = \"cron(0 8 * * ? *)\"\n\
         [raw]\nurl = \"file:{}\"\n",
        raw.display()
    );
    fs::write(pipeline.join("daymark.toml"), main).unwrap();
    let source = format!(
        "id = \"bench\"\n[request]\nurl = \"{}/json/1000/0\"\n[rows]\nlayout = \"records\"\n\
         at = \"$.data\"\n[rows.fields]\nid = {{ path = \"id\", type = \"bigint\" }}\n",
        server.url()
    );
    fs::write(pipeline.join("sources/bench.toml"), source).unwrap();
    let api = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let mut asked = server.asked.clone();
    asked.mark_unchanged();
    let began = Instant::now();
    let mut process = Command::new(env!("CARGO_BIN_EXE_daymark-lambda"))
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", api.local_addr().unwrap().to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", "daymark")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
        .env("DAYMARK_PIPELINE", &pipeline)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let (stream, _) = api.accept().await.unwrap();
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await.unwrap() > 2 {
        line.clear();
    }
    let event_asked = began.elapsed();
    let event = "{}";
    let answer = format!(
        "HTTP/1.1 200 OK\r\nlambda-runtime-aws-request-id: 1\r\n\
         lambda-runtime-deadline-ms: 60000\r\nlambda-runtime-trace-id: Root=1-0-0\r\n\
         lambda-runtime-invoked-function-arn: arn:aws:lambda:us-east-1:1:function:daymark\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{event}",
        event.len()
    );
    stream.get_mut().write_all(answer.as_bytes()).await.unwrap();
    asked.changed().await.unwrap();
    let at = asked.borrow().unwrap();
    let first = at.duration_since(began);
    process.kill().unwrap();
    process.wait().unwrap();
    (first, event_asked)
}
