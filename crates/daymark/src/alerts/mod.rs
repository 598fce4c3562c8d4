//! Telling people: messages from the ledger's outbox to channels, and the heartbeat.
//!
//! In: `[[alerts]]` and `[heartbeat]` of the folder, messages that the ledger holds (`daymark_warehouse::alerts`).
//! Out: HTTP, mail, SNS, log lines. One file per kind of channel; `message.rs` is what is said, `courier.rs` who
//! carries it. Whatever happens here never fails a run: what is not delivered stays in the outbox and is seen in
//! `daymark status`. Deliberately absent: what is wrong, and who is to be told of it.

mod courier;
mod doctor;
mod email;
mod heartbeat;
mod log;
mod message;
mod sns;
mod watch;
mod webhook;

use std::time::Duration;

use daymark_plan::{Clock, Plan, one_line};
use daymark_warehouse::WarehouseError;
use daymark_warehouse::alerts::{self, Sent};
use jiff::SignedDuration;

use crate::failure::Failure;
use crate::run::{RunReport, Runner};

pub(crate) use courier::{Courier, test};
pub(crate) use doctor::channels;
pub(crate) use heartbeat::Beat;
pub(crate) use watch::{Bell, bell, keep_watch};

/// Why a channel did not take a message; without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// In words.
    pub(crate) error: String,
    /// Whether it may take it when asked again.
    pub(crate) may_pass: bool,
    /// When it wants to be asked again.
    pub(crate) again_after: Option<SignedDuration>,
}

impl Refusal {
    fn of(error: impl Into<String>, may_pass: bool) -> Self {
        Self { error: error.into(), may_pass, again_after: None }
    }
}

/// How a run ended, for the heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ran {
    /// Everything is published.
    Well,
    /// Something failed.
    Badly(String),
}

impl Ran {
    /// What came of a run.
    pub(crate) fn of(done: &Result<RunReport, Failure>) -> Self {
        match done {
            Ok(report) if report.has_failed() => Self::Badly(report.text()),
            Ok(_) => Self::Well,
            Err(failure) => Self::Badly(failure.one_line()),
        }
    }
}

/// What follows a run: a look at the clock, messages, the heartbeat. Nothing of it fails the run.
pub(crate) async fn after_run(plan: &Plan, runner: &Runner, clock: &Clock, ran: &Ran) {
    if let Err(error) = look_and_deliver(plan, runner, clock).await {
        tracing::warn!("alerts wait for the next run or `daymark up`: {}", one_line(&error));
    }
    let beat = match ran {
        Ran::Well => Beat::Well,
        Ran::Badly(why) => Beat::Failed(why),
    };
    heartbeat::ping(plan, beat).await;
}

/// Before a run: the heartbeat's own word for it, where it is wanted.
pub(crate) async fn before_run(plan: &Plan) {
    heartbeat::ping(plan, Beat::Started).await;
}

/// What follows a person's word on days (released, left out, filled): whoever was told what is wrong with them is
/// told that it is not any more.
pub(crate) async fn after_word(plan: &Plan, runner: &Runner) {
    if let Err(error) = deliver(plan, runner, &Clock::System).await {
        tracing::warn!("alerts wait for the next run or `daymark up`: {}", one_line(&error));
    }
}

/// Looks for what is wrong by the clock, and delivers what is to be told; gives whether somebody keeps the
/// schedule.
pub(crate) async fn look_and_deliver(
    plan: &Plan,
    runner: &Runner,
    clock: &Clock,
) -> Result<bool, WarehouseError> {
    let is_kept = {
        let mut session = runner.warehouse().await?.session("looking for what is wrong").await?;
        alerts::look(&mut session, plan, clock.now()).await?
    };
    deliver(plan, runner, clock).await?;
    Ok(is_kept)
}

/// Delivers what is due, one channel after the other.
pub(crate) async fn deliver(
    plan: &Plan,
    runner: &Runner,
    clock: &Clock,
) -> Result<(), WarehouseError> {
    let channels = &plan.settings.alerts;
    loop {
        let batch = {
            let mut session = runner.warehouse().await?.session("claiming messages").await?;
            alerts::claim(&mut session, channels, clock.now()).await?
        };
        let Some(batch) = batch else { return Ok(()) };
        let channel = channels.iter().find(|channel| channel.name == batch.channel);
        let channel = channel.expect("messages are claimed for channels of the folder");
        // No session is held meanwhile: the embedded database has one for all.
        let sent = Courier::new(plan).send(channel, &batch.messages, clock.now()).await;
        let sent = match sent {
            Ok(_) => Sent::Yes,
            Err(Refusal { error, again_after, .. }) => {
                let name = &batch.channel;
                tracing::warn!("the channel `{name}` did not take an alert: {error}");
                Sent::No { error, again_after }
            }
        };
        let mut session = runner.warehouse().await?.session("recording messages").await?;
        alerts::settle(&mut session, &batch, &sent, clock.now()).await?;
    }
}

/// The waits between the attempts of one delivery; longer ones are the outbox's.
const WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];
