//! One fetch of a source, told top to bottom: ask until there is an answer or no time left, look at
//! the answer, keep it.
//!
//! In: a source and what the fetch is for. Out: the manifest, stored, of an accepted or a refused
//! fetch. Of an answer that is not accepted the whole body of the last attempt is kept as evidence,
//! whatever its status; a body that broke off or was too large was never received and is not.
//! Deliberately absent: pages after the first, entities and cursors, which come with the ingest
//! issue; whether a fetch is due.

use std::time::Duration;

use daymark_plan::{Clock, Source, SourceId, sha256_hex};
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use uuid::{NoContext, Uuid};

use crate::answer::{Answer, Failure};
use crate::client::{self, Clients};
use crate::error::{ErrorKind, IngestError};
use crate::keys::{Extension, RawKey};
use crate::manifest::{
    Attempt, MANIFEST_FORMAT, Manifest, Outcome, Page, RowCounts, StoredManifest,
};
use crate::request::{Outgoing, PROGRAM};
use crate::retry::{self, Next};
use crate::store::RawStore;
use crate::verify::{Refusal, Verified, verify};
use crate::words::seconds;

/// How far this machine's clock may be from an API's (DESIGN.md section 6).
const MAX_SKEW: SignedDuration = SignedDuration::from_mins(5);

/// What a fetch is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchOrder {
    /// The day it is for.
    pub data_date: Date,
    /// The scheduled instant it answers to; none when someone asked for it by hand.
    pub scheduled_at: Option<Timestamp>,
    /// The run it is part of.
    pub run_id: Uuid,
}

/// What a fetch is doing, for progress shown to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchEvent {
    /// A request is sent.
    Attempt {
        /// Counted from 1.
        number: u32,
        /// How many there may be.
        of: u32,
    },
    /// Bytes have come.
    Received {
        /// So far, after content decoding.
        bytes: u64,
        /// In all, when the server said so.
        announced: Option<u64>,
    },
    /// A request failed and another will be sent.
    Waiting {
        /// After so long.
        wait: Duration,
        /// What failed.
        why: String,
    },
}

/// Fetches sources into a raw store.
#[derive(Debug)]
pub struct Ingest {
    store: RawStore,
    clock: Clock,
    clients: Clients,
}

/// What asking led to.
struct Asked {
    attempts: Vec<Attempt>,
    answer: Option<Answer>,
    refusal: Option<Refusal>,
    rows: Option<RowCounts>,
}

impl Ingest {
    /// Fetches into `store`. HTTP clients are made when a source first needs one.
    pub fn new(store: RawStore, clock: Clock) -> Self {
        Self { store, clock, clients: Clients::default() }
    }

    /// The store fetched into.
    pub fn store(&self) -> &RawStore {
        &self.store
    }

    /// One fetch. Gives the manifest of an accepted and of a refused fetch alike; an error means
    /// that nothing could be recorded. Dropping the future ends the fetch and leaves at worst
    /// objects that no manifest names.
    pub async fn fetch(
        &self,
        source: &Source,
        order: &FetchOrder,
        watch: &(dyn Fn(FetchEvent) + Sync),
    ) -> Result<StoredManifest, IngestError> {
        let outgoing = Outgoing::build(&source.id, &source.request)?;
        let client = self.clients.for_request(&source.id, &source.request)?;
        let asked = self.ask(&client, source, &outgoing, watch).await;
        clocks_agree(&source.id, asked.answer.as_ref())?;
        let asked = look_at(source, &outgoing, asked).await;
        self.keep(source, order, &outgoing, asked).await
    }

    /// Asks until there is a successful answer, a failure that asking again does not mend, or no
    /// attempt or time left.
    async fn ask(
        &self,
        client: &reqwest::Client,
        source: &Source,
        outgoing: &Outgoing,
        watch: &(dyn Fn(FetchEvent) + Sync),
    ) -> Asked {
        let (request, retry) = (&source.request, &source.retry);
        let began = Instant::now();
        // A fetch that has no time for a second attempt still gets its first one whole.
        let allowed = retry.total.max(request.connect_timeout + request.read_timeout);
        let mut attempts = Vec::new();
        let mut waited = Duration::ZERO;
        let mut number = 0;
        loop {
            number += 1;
            watch(FetchEvent::Attempt { number, of: retry.attempts });
            let at = self.clock.now();
            let progress = |bytes, announced| watch(FetchEvent::Received { bytes, announced });
            let sending = client::send(client, outgoing, request, &self.clock, &progress);
            let left = allowed.saturating_sub(began.elapsed());
            let sent = tokio::time::timeout(left, sending).await.unwrap_or_else(|_| {
                let message = format!("no whole answer within the {} of a fetch", seconds(allowed));
                Err(Failure::new(ErrorKind::Timeout, message))
            });
            let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
            let mut attempt =
                Attempt { number, at, waited_ms, status: None, error_kind: None, message: None };
            let failure = match sent {
                Ok(answer) => {
                    attempt.status = Some(answer.status.as_u16());
                    attempts.push(attempt);
                    return Asked { attempts, answer: Some(answer), refusal: None, rows: None };
                }
                Err(failure) => failure,
            };
            let message = outgoing.scrub(&failure.message);
            attempt.status = failure.answer.as_ref().map(|answer| answer.status.as_u16());
            attempt.error_kind = Some(failure.kind);
            attempt.message = Some(message.clone());
            attempts.push(attempt);
            let (kind, asked_for) = (failure.kind, failure.retry_after);
            match retry::next(retry, kind, asked_for, number, began.elapsed(), rand::random()) {
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
                    return Asked { attempts, answer, refusal, rows: None };
                }
            }
        }
    }

    /// Keeps what came: archive, then raw, then manifest, so that a crash in between leaves at worst
    /// objects that no manifest names, never a manifest without its objects (DESIGN.md section 6).
    async fn keep(
        &self,
        source: &Source,
        order: &FetchOrder,
        outgoing: &Outgoing,
        asked: Asked,
    ) -> Result<StoredManifest, IngestError> {
        let Asked { attempts, answer, refusal, rows } = asked;
        let (source_id, data_date) = (&source.id, order.data_date);
        let earlier = self.store.manifest_keys(source_id, None).await?;
        let fetched_at = later_than(self.clock.now(), earlier.last());
        let accepted = refusal.is_none();
        let unchanged = match &rows {
            Some(rows) if accepted => self.equals_the_last(&earlier, &rows.rows_sha256).await?,
            _ => false,
        };

        let mut pages = Vec::new();
        if let Some(body) =
            answer.as_ref().map(|answer| &answer.body).filter(|body| !body.is_empty())
        {
            let sha256 = sha256_hex(body);
            let extension = if accepted { Extension::Json } else { Extension::of(body) };
            let archive =
                RawKey::Archive { source: source_id, data_date, sha256: &sha256, extension };
            self.store.archive(&archive, body).await?;
            let archive_key = archive.to_string();
            let raw = RawKey::Raw { source: source_id, data_date };
            if accepted {
                self.store.overwrite(&raw, body.clone()).await?;
            }
            let raw_key = accepted.then(|| raw.to_string());
            pages.push(Page { archive_key, raw_key, sha256, bytes: body.len() as u64 });
        }

        let key =
            RawKey::Manifest { source: source_id, fetched_at, data_date, run_id: order.run_id };
        let (reason, error_kind) = refusal.map(|Refusal { kind, message }| (message, kind)).unzip();
        let manifest = Manifest {
            format: MANIFEST_FORMAT,
            id: id_at(fetched_at),
            source: source_id.clone(),
            data_date,
            entity: None,
            scheduled_at: order.scheduled_at,
            run_id: order.run_id,
            fetched_at,
            outcome: if accepted { Outcome::Accepted } else { Outcome::Refused },
            reason,
            error_kind,
            request: outgoing.shown.clone(),
            status: answer.as_ref().map(|answer| answer.status.as_u16()),
            headers: answer.as_ref().map(Answer::kept_headers).unwrap_or_default(),
            attempts,
            pages,
            rows,
            unchanged,
            cursor: None,
            program: PROGRAM.to_owned(),
            source_file_sha256: source.file_sha256.clone(),
        };
        self.store.create(&key, manifest.to_json().into()).await?;
        Ok(StoredManifest { key: key.to_string(), manifest })
    }

    /// Whether the accepted fetch before had the same rows. A manifest that cannot be understood is
    /// for those who publish it to report; here it only ends the search.
    async fn equals_the_last(&self, earlier: &[String], rows: &str) -> Result<bool, IngestError> {
        for key in earlier.iter().rev() {
            match self.store.manifest(key).await {
                Ok(before) if before.manifest.is_accepted() => {
                    let before = before.manifest.rows;
                    return Ok(before.is_some_and(|before| before.rows_sha256 == rows));
                }
                Ok(_) => {}
                Err(IngestError::BadManifest { .. } | IngestError::ManifestFormat { .. }) => {
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }
}

/// Looks into a successful answer. Off the runtime's threads: a large body takes a while.
async fn look_at(source: &Source, outgoing: &Outgoing, asked: Asked) -> Asked {
    let Asked { mut attempts, answer: Some(answer), refusal: None, .. } = asked else {
        return asked;
    };
    let (rows, expect) = (source.rows.clone(), source.expect.clone());
    let (content_type, body) = (answer.content_type().map(str::to_owned), answer.body.clone());
    let looking = move || verify(&rows, &expect, content_type.as_deref(), &body);
    let Verified { rows, refusal } = match tokio::task::spawn_blocking(looking).await {
        Ok(verified) => verified,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    };
    let refusal =
        refusal.map(|refusal| Refusal { message: outgoing.scrub(&refusal.message), ..refusal });
    if let (Some(refusal), Some(last)) = (&refusal, attempts.last_mut()) {
        last.error_kind = Some(refusal.kind);
        last.message = Some(refusal.message.clone());
    }
    Asked { attempts, answer: Some(answer), refusal, rows }
}

/// Refuses to go on with a clock that is far from the API's. An API that sends no `Date` is believed
/// to agree.
fn clocks_agree(source_id: &SourceId, answer: Option<&Answer>) -> Result<(), IngestError> {
    let Some(answer) = answer else { return Ok(()) };
    let (Some(api), clock) = (answer.server_time(), answer.received_at) else { return Ok(()) };
    if clock.duration_since(api).abs() <= MAX_SKEW {
        return Ok(());
    }
    // Shown in whole seconds, which is what `Date` has.
    let clock = Timestamp::from_second(clock.as_second()).unwrap_or(clock);
    Err(IngestError::ClockSkew { source_id: source_id.clone(), clock, api })
}

/// `now` in microseconds, or the first microsecond after the newest manifest: the order of keys is
/// the order of fetches, even under a clock that was set back a little.
fn later_than(now: Timestamp, newest: Option<&String>) -> Timestamp {
    let micros = |at: Timestamp| at.as_microsecond();
    let newest = newest.and_then(|key| RawKey::fetched_at(key));
    let at = newest.map_or(micros(now), |newest| micros(now).max(micros(newest) + 1));
    Timestamp::from_microsecond(at).unwrap_or(now)
}

/// A `UUIDv7` (RFC 9562 section 5.7) of an instant.
fn id_at(at: Timestamp) -> Uuid {
    let nanoseconds = u32::try_from(at.subsec_nanosecond()).unwrap_or(0);
    let seconds = u64::try_from(at.as_second()).unwrap_or(0);
    Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, seconds, nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_fetch_is_later_than_every_earlier_one() {
        let newest = "manifests/w/20261123T130000.000005Z_2026-11-23_\
                      00000000-0000-0000-0000-000000000000.json"
            .to_owned();
        let next = |now| later_than(at(now), Some(&newest));
        assert_eq!(next("2026-11-23T12:59:00Z"), at("2026-11-23T13:00:00.000006Z"));
        assert_eq!(next("2026-11-23T13:00:00.000005Z"), at("2026-11-23T13:00:00.000006Z"));
        assert_eq!(next("2026-11-23T13:00:01.1234567Z"), at("2026-11-23T13:00:01.123456Z"));
        assert_eq!(later_than(at("2026-11-23T13:00:00Z"), None), at("2026-11-23T13:00:00Z"));
    }

    #[test]
    fn ids_carry_the_time_of_the_fetch() {
        let id = id_at(at("2026-11-23T13:00:00.123456Z"));
        assert_eq!(id.get_version_num(), 7);
        let (seconds, nanoseconds) = id.get_timestamp().unwrap().to_unix();
        assert_eq!((seconds, nanoseconds), (1_795_438_800, 123_000_000));
    }
}
