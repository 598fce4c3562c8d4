//! What is asked of AWS beside the raw store: secrets, and that a topic passes a message on.
//!
//! In: the name of a secret. Out: its value, from Secrets Manager (`GetSecretValue`), or from SSM's
//! parameter store (`GetParameter`) where the name starts with `/`. In: a topic of SNS and a message; out: the
//! message's id. Three requests that `object_store`'s signer can sign do not need three SDKs. Deliberately
//! absent: writing secrets, making topics.

use std::time::Duration;

use bytes::Bytes;
use daymark_plan::Environment;
use serde_json::{Value, json};

use crate::store::signer;
use crate::words::message_of;

/// How long is waited before it is asked again ...
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// ... and at most; three times as long each time.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// A secret. `NAME#FIELD` is a member of one that is JSON, as the console makes them.
pub(crate) async fn secret(name: &str, environment: &Environment) -> Result<String, String> {
    let (name, field) = match name.split_once('#') {
        Some((name, field)) => (name, Some(field)),
        None => (name, None),
    };
    let (service, shown, target, question, answer) = if name.starts_with('/') {
        let question = json!({ "Name": name, "WithDecryption": true });
        ("ssm", "SSM", "AmazonSSM.GetParameter", question, "/Parameter/Value")
    } else {
        let target = "secretsmanager.GetSecretValue";
        ("secretsmanager", "Secrets Manager", target, json!({ "SecretId": name }), "/SecretString")
    };
    let signer = signer().await?;
    let url = endpoint(service, &signer.region, environment);
    let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target)];
    let body = Bytes::from(question.to_string());
    let mut wait = FIRST_WAIT;
    let found = loop {
        let sent = signer.send("POST", &format!("{url}/"), service, &headers, body.clone()).await;
        let (reason, passing) = match sent {
            Err(error) => (format!("no answer of {shown}: {error}"), true),
            Ok((status, text)) => {
                let found: Value = serde_json::from_str(&text).unwrap_or_default();
                if status == 200 {
                    break found;
                }
                // `{"__type": "ResourceNotFoundException", "message": "..."}`; it does not hold the
                // secret.
                let kind = found["__type"].as_str().unwrap_or_default();
                let kind = kind.rsplit('#').next().unwrap_or_default();
                let words = message_of(text.as_bytes()).unwrap_or_default();
                let reason = format!("{shown} answers HTTP {status} {kind} {words}");
                (reason.trim_end().to_owned(), status >= 500 || kind.contains("Throttling"))
            }
        };
        if !passing || wait > LAST_WAIT {
            return Err(reason);
        }
        tokio::time::sleep(wait).await;
        wait *= 3;
    };
    let value = found.pointer(answer).and_then(Value::as_str);
    let value = value.ok_or_else(|| format!("{shown} has it in another form than text"))?;
    let Some(field) = field else { return Ok(value.to_owned()) };
    let members: Value = serde_json::from_str(value).unwrap_or_default();
    match &members[field] {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err(format!("{shown} has it, and it has no `{field}`")),
    }
}

/// Why a topic did not take a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotPublished {
    /// In words.
    pub reason: String,
    /// Whether it may do so when asked again.
    pub may_pass: bool,
}

/// Has SNS pass a message on to the subscribers of a topic; gives the message's id. `once` tells the message
/// apart from others where the topic keeps an order (`.fifo`).
pub async fn publish_to_topic(
    topic: &str,
    region: &str,
    subject: &str,
    message: &str,
    once: &str,
    environment: &Environment,
) -> Result<String, NotPublished> {
    let passing = |reason: String| NotPublished { reason, may_pass: true };
    let mut signer = signer().await.map_err(passing)?;
    region.clone_into(&mut signer.region);
    let url = endpoint("sns", region, environment);
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("Action", "Publish")
        .append_pair("Version", "2010-03-31")
        .append_pair("TopicArn", topic)
        .append_pair("Subject", subject)
        .append_pair("Message", message);
    if topic.rsplit_once('.').is_some_and(|(_, kind)| kind == "fifo") {
        form.append_pair("MessageGroupId", "daymark").append_pair("MessageDeduplicationId", once);
    }
    let body = Bytes::from(form.finish());
    let headers = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
    let sent = signer.send("POST", &format!("{url}/"), "sns", &headers, body).await;
    let (status, text) = sent.map_err(|error| passing(format!("no answer of SNS: {error}")))?;
    let tag = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(inside, _)| inside.to_owned())
    };
    if status == 200 {
        return Ok(tag("MessageId").unwrap_or_default());
    }
    let code = tag("Code").unwrap_or_default();
    let words = tag("Message").or_else(|| message_of(text.as_bytes())).unwrap_or_default();
    let reason = format!("SNS answers HTTP {status} {code} {words}").trim_end().to_owned();
    Err(NotPublished { reason, may_pass: status >= 500 || code.contains("Throttl") })
}

/// The address of a service: that of the environment, as AWS's own tools have it, or AWS's.
fn endpoint(service: &str, region: &str, environment: &Environment) -> String {
    let name = match service {
        "ssm" => "SSM",
        "sns" => "SNS",
        _ => "SECRETS_MANAGER",
    };
    let variable = |name: &str| environment.get(name).map(str::to_owned);
    variable(&format!("AWS_ENDPOINT_URL_{name}"))
        .or_else(|| variable("AWS_ENDPOINT_URL"))
        .map_or_else(
            || format!("https://{service}.{region}.amazonaws.com"),
            |url| url.trim_end_matches('/').to_owned(),
        )
}
