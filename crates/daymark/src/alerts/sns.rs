//! A topic of AWS SNS.
//!
//! In: a topic and a document. Out: the message's id. Credentials come by AWS's standard chain, as for a bucket.
//! Deliberately absent: signing (`daymark_ingest`).

use daymark_plan::Environment;

use super::Refusal;
use super::message::Document;

/// SNS takes subjects of ASCII, up to 100 characters.
const SUBJECT: usize = 99;

/// Sends a document.
pub(super) async fn send(
    topic: &str,
    region: &str,
    document: &Document<'_>,
    environment: &Environment,
) -> Result<String, Refusal> {
    let subject: String = document
        .subject()
        .chars()
        .map(|c| if c.is_ascii() && !c.is_ascii_control() { c } else { '.' })
        .take(SUBJECT)
        .collect();
    let (text, once) = (document.text(), document.identity());
    let sent =
        daymark_ingest::publish_to_topic(topic, region, &subject, &text, &once, environment).await;
    let id = sent.map_err(|error| Refusal::of(error.reason, error.may_pass))?;
    Ok(format!("SNS message {id}"))
}
