//! Who carries messages to a channel: secrets looked up, a few attempts, what came back.
//!
//! In: a channel and messages. Out: what it answered, or a [`Refusal`] without secrets. Deliberately absent: which
//! messages; trying again later (the outbox).

use std::time::Duration;

use daymark_ingest::Scrubber;
use daymark_plan::{Channel, ChannelKind, Plan, Secrets};
use daymark_warehouse::alerts::Message;
use jiff::Timestamp;

use super::message::{Document, Entry};
use super::{Refusal, WAITS, email, log, sns, webhook};
use crate::failure::Failure;

/// How much longer than one step all steps of a message may take.
const GRACE: Duration = Duration::from_secs(5);

/// Carries the messages of a pipeline.
#[derive(Debug)]
pub(crate) struct Courier<'p> {
    plan: &'p Plan,
}

impl<'p> Courier<'p> {
    /// A courier of a plan.
    pub(crate) fn new(plan: &'p Plan) -> Self {
        Self { plan }
    }

    /// Sends messages in one; gives what came back.
    pub(crate) async fn send(
        &self,
        channel: &Channel,
        messages: &[Message],
        now: Timestamp,
    ) -> Result<String, Refusal> {
        let entries = messages.iter().map(|message| Entry::of(self.plan, message)).collect();
        self.carry(channel, &Document::of(self.plan, entries, now), &WAITS).await
    }

    async fn carry(
        &self,
        channel: &Channel,
        document: &Document<'_>,
        waits: &[Duration],
    ) -> Result<String, Refusal> {
        let environment = &self.plan.environment;
        let secrets = daymark_ingest::secrets(channel.secrets(), environment).await;
        let secrets = secrets.map_err(|error| Refusal::of(error.to_string(), false))?;
        let scrubber = Scrubber::new(&secrets);
        let mut waits = waits.iter();
        loop {
            let sent = self.once(channel, document, &secrets).await;
            let refusal = match sent {
                Ok(answer) => return Ok(scrubber.scrub(&answer)),
                Err(refusal) => refusal,
            };
            match waits.next() {
                Some(wait) if refusal.may_pass && refusal.again_after.is_none() => {
                    tokio::time::sleep(*wait).await;
                }
                _ => return Err(Refusal { error: scrubber.scrub(&refusal.error), ..refusal }),
            }
        }
    }

    async fn once(
        &self,
        channel: &Channel,
        document: &Document<'_>,
        secrets: &Secrets,
    ) -> Result<String, Refusal> {
        let sending = async {
            match &channel.kind {
                ChannelKind::Webhook(webhook) => {
                    webhook::send(webhook, channel.timeout, document, secrets).await
                }
                ChannelKind::Email(mail) => {
                    email::send(mail, channel.timeout, document, secrets).await
                }
                ChannelKind::Sns { topic, region } => {
                    sns::send(topic, region, document, &self.plan.environment).await
                }
                ChannelKind::Log => Ok(log::write(document)),
            }
        };
        // Each step has the time that is given, all of them together little more: a claim has to outlive it.
        let all = channel.timeout + GRACE;
        tokio::time::timeout(all, sending).await.unwrap_or_else(|_| {
            Err(Refusal::of(format!("no answer within {} s", all.as_secs_f64()), true))
        })
    }
}

/// Sends a test message to a channel now, once; gives what came back.
pub(crate) async fn test(
    plan: &Plan,
    channel: &Channel,
    now: Timestamp,
) -> Result<String, Failure> {
    let document = Document::of(plan, vec![Entry::test(now)], now);
    Courier::new(plan).carry(channel, &document, &[]).await.map_err(|refusal| {
        let kind = channel.kind.as_str();
        let error = anyhow::anyhow!(
            "the channel `{}` ({kind}) did not take the test message: {}",
            channel.name,
            refusal.error
        );
        let hint = if refusal.may_pass {
            "the message may go through when it is tried again: see that the other side runs"
        } else {
            "mend `[[alerts]]` in daymark.toml, or its secret, and try again"
        };
        Failure::failed(error, Some(hint.to_owned()))
    })
}
