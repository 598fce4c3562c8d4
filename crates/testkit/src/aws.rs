//! Secrets and topics in the stand-in for AWS whose address is `DAYMARK_TEST_S3`.
//!
//! In: names and values. Out: secrets in Secrets Manager, parameters in SSM, topics of SNS. Deliberately absent:
//! signatures, which that server does not check; it tells services apart by them all the same.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bucket::{port, server};

/// The address of the server.
pub fn endpoint() -> String {
    server()
}

/// Puts a secret into Secrets Manager; `kind` is `SecretString` or, in base64, `SecretBinary`.
pub async fn put_secret(name: &str, kind: &str, value: &str) {
    let body = format!(r#"{{"Name":"{name}","{kind}":{}}}"#, quoted(value));
    ask("secretsmanager", "secretsmanager.CreateSecret", &body).await;
}

/// Puts an encrypted parameter into SSM's store.
pub async fn put_parameter(name: &str, value: &str) {
    let value = quoted(value);
    let body = format!(r#"{{"Name":"{name}","Value":{value},"Type":"SecureString"}}"#);
    ask("ssm", "AmazonSSM.PutParameter", &body).await;
}

/// A text as JSON has it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

async fn ask(service: &str, target: &str, body: &str) {
    let port = port(&server());
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the server answers");
    let scope = format!("AKIATEST/20260101/us-east-1/{service}/aws4_request");
    let request = format!(
        "POST / HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-length: {}\r\nconnection: close\r\n\
         content-type: application/x-amz-json-1.1\r\nx-amz-target: {target}\r\n\
         authorization: AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("it takes a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200"), "{target} is done: {answer}");
}

/// Makes a topic of SNS that passes its messages on to an address; gives its ARN.
pub async fn topic(name: &str, subscriber: &str) -> String {
    let made = ask_sns(&[("Action", "CreateTopic"), ("Name", name)]).await;
    let arn = made.split("<TopicArn>").nth(1).and_then(|rest| rest.split("</TopicArn>").next());
    let arn = arn.expect("a topic has an ARN").to_owned();
    let subscribe = [
        ("Action", "Subscribe"),
        ("TopicArn", arn.as_str()),
        ("Protocol", "http"),
        ("Endpoint", subscriber),
    ];
    ask_sns(&subscribe).await;
    arn
}

async fn ask_sns(fields: &[(&str, &str)]) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(fields);
    let body = form.finish();
    let port = port(&server());
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the server answers");
    let scope = "AKIATEST/20260101/us-east-1/sns/aws4_request";
    let request = format!(
        "POST / HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-length: {}\r\nconnection: close\r\n\
         content-type: application/x-www-form-urlencoded\r\n\
         authorization: AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("it takes a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200"), "{fields:?} is done: {answer}");
    answer
}
