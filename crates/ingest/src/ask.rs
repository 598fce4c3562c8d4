//! Asks for one page until there is an answer or no attempt or time left.
//!
//! In: a request. Out: the answer, every attempt, and why there is nothing to look at, if so.
//! Deliberately absent: what stands in a successful answer.

use std::time::Duration;

use daymark_plan::{Auth, Source, Values};
use tokio::time::Instant;

use crate::answer::{Answer, Failure};
use crate::client;
use crate::error::ErrorKind;
use crate::fetch::{FetchEvent, Ingest};
use crate::manifest::Attempt;
use crate::request::Outgoing;
use crate::retry::{self, Next};
use crate::scrub::Scrubber;
use crate::spool::Spooled;
use crate::verify::Refusal;
use crate::words::seconds;

/// What asking led to.
pub(crate) struct Asked {
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) answer: Option<Answer>,
    pub(crate) refusal: Option<Refusal>,
    /// What hides the secrets of the requests made, tokens among them.
    pub(crate) scrubber: Scrubber,
}

impl Ingest {
    /// Asks until there is a successful answer, a failure that asking again does not mend, or no
    /// attempt or time left.
    pub(crate) async fn ask(
        &self,
        client: &reqwest::Client,
        source: &Source,
        outgoing: &Outgoing,
        values: &Values<'_>,
        watch: &(dyn Fn(FetchEvent) + Sync),
    ) -> Asked {
        let (request, retry) = (&source.request, &source.retry);
        let began = Instant::now();
        // Waiting for one's turn is no part of the time of a page.
        let mut queued = Duration::ZERO;
        // A page that has no time for a second attempt still gets its first one whole.
        let allowed = retry.total.max(request.connect_timeout + request.read_timeout);
        let mut scrubber = outgoing.scrubber().clone();
        let mut attempts = Vec::new();
        let mut waited = Duration::ZERO;
        let mut refused_token = None;
        let mut number = 0;
        loop {
            number += 1;
            let turn = Instant::now();
            self.limits.wait(source, &outgoing.url).await;
            queued += turn.elapsed();
            let elapsed = || began.elapsed().saturating_sub(queued);
            watch(FetchEvent::Attempt { number, of: retry.attempts });
            let at = self.clock.now();
            let limit = match number {
                1 => request.total_timeout,
                _ => allowed.saturating_sub(elapsed()).min(request.total_timeout),
            };
            let mut token = None;
            let sending = async {
                let mut outgoing = outgoing.clone();
                if let Auth::ClientCredentials(credentials) = &source.auth {
                    let refused = refused_token.as_deref();
                    let got = self.tokens.get(client, source, credentials, values, refused).await?;
                    outgoing = outgoing.bearing(&got);
                    token = Some(got);
                }
                let progress = |bytes, announced| watch(FetchEvent::Received { bytes, announced });
                let into = (&self.store, &self.turns);
                client::send(client, &outgoing, request, &self.clock, into, &progress).await
            };
            let sent_at = Instant::now();
            let sent = tokio::time::timeout(limit, sending).await.unwrap_or_else(|_| {
                let message = format!("no whole answer within {}", seconds(limit));
                Err(Failure::new(ErrorKind::Timeout, message))
            });
            let millis = |long: Duration| u64::try_from(long.as_millis()).unwrap_or(u64::MAX);
            let received = |answer: &Answer| answer.body.as_ref().map(Spooled::len);
            let mut attempt = Attempt {
                page: 1,
                number,
                at,
                waited_ms: millis(waited),
                duration_ms: Some(millis(sent_at.elapsed())),
                bytes: None,
                status: None,
                error_kind: None,
                message: None,
            };
            let failure = match sent {
                Ok(answer) => {
                    attempt.status = Some(answer.status.as_u16());
                    attempt.bytes = received(&answer);
                    attempts.push(attempt);
                    if let Some(token) = &token {
                        scrubber.hide(token);
                    }
                    return Asked { attempts, answer: Some(answer), refusal: None, scrubber };
                }
                Err(failure) => failure,
            };
            if let Some(token) = &token {
                scrubber.hide(token);
            }
            let message = scrubber.scrub(&failure.message);
            attempt.status = failure.answer.as_ref().map(|answer| answer.status.as_u16());
            attempt.bytes = failure.answer.as_deref().and_then(received);
            attempt.error_kind = Some(failure.kind);
            attempt.message = Some(message.clone());
            let unauthorized = attempt.status == Some(401);
            attempts.push(attempt);
            // A token may be taken back before its time: once, another is asked for.
            if unauthorized && token.is_some() && refused_token.is_none() {
                refused_token = token;
                waited = Duration::ZERO;
                continue;
            }
            let (kind, asked_for) = (failure.kind, failure.retry_after);
            match retry::next(retry, kind, asked_for, number, elapsed(), rand::random()) {
                Next::Wait(wait) => {
                    tracing::warn!(source = %source.id, number, wait = %seconds(wait), "{message}");
                    watch(FetchEvent::Waiting { wait, why: message });
                    tokio::time::sleep(wait).await;
                    waited = wait;
                }
                Next::GiveUp(why) => {
                    let why = why.map(|why| format!("; {why}")).unwrap_or_default();
                    let often =
                        if number > 1 { format!(" ({number} attempts)") } else { String::new() };
                    let message = format!("{message}{why}{often}");
                    let refusal = Some(Refusal { kind, message });
                    let answer = failure.answer.map(|answer| *answer);
                    return Asked { attempts, answer, refusal, scrubber };
                }
            }
        }
    }
}
