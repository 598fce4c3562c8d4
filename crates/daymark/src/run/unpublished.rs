//! What is unpublished: the manifests that the ledger has not taken note of (DESIGN.md section 7).
//!
//! In: the ledger, the raw store and the keys of what this run fetched. Out: the fetches to publish. A
//! source is listed from the newest manifest noted, less an hour: other machines' clocks differ a little,
//! and a fetch may end after one that began later. What came later still, under an old key (a copy of
//! another raw layer, a clock that was set back), is found by listing all of a source: once a day, at once
//! when a person runs it, and whenever the last publish left something for later. Deliberately absent:
//! publishing.

use std::collections::BTreeSet;

use daymark_extract::Mapped;
use daymark_ingest::{RawKey, RawStore};
use daymark_plan::{Plan, Source, SourceId, one_line};
use daymark_warehouse::ledger::{self, Ingested, Noted, StepKey};
use daymark_warehouse::publish::{FetchResult, Outcome, PendingFetch, Report, Shapes};
use daymark_warehouse::{Session, WarehouseError};
use futures::{StreamExt, stream};
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::landed::{ingested, pending_fetch, step_key};
use crate::failure::Failure;

/// How far before the newest manifest noted is listed.
const BACK: SignedDuration = SignedDuration::from_hours(1);

/// How often all manifests of a source are listed.
const IN_FULL_EVERY: SignedDuration = SignedDuration::from_hours(24);

/// How many manifests are read at once. None is kept: there may be thousands, after the loss of a database
/// all that there ever were.
const READ_AT_ONCE: usize = 16;

/// For how many fetches the ledger is told at once what was asked.
const TOLD_AT_ONCE: usize = 100;

/// What is unpublished of a source.
pub(super) struct Unpublished {
    source_id: SourceId,
    /// The fetches.
    pub(super) pending: Vec<PendingFetch>,
    /// Those of them that this run did not make.
    pub(super) earlier: Vec<Earlier>,
    /// What is wrong with those that cannot be read.
    pub(super) unreadable: Vec<String>,
    in_full: bool,
    noted: Noted,
}

/// A fetch of an earlier run, or of another program.
pub(super) struct Earlier {
    pub(super) manifest_key: String,
    pub(super) step: StepKey,
    /// Whether it was taken when it was received.
    pub(super) is_accepted: bool,
}

/// How a source is looked through.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look<'l> {
    /// The keys of what this run brought: it is new, whatever its clock said.
    pub(super) landed: &'l BTreeSet<String>,
    /// Whether all its manifests are wanted, however recently they were listed.
    pub(super) in_full: bool,
    /// Now.
    pub(super) now: Timestamp,
}

/// How many accepted fetches of a source for some days the raw store has, and readers do not see.
pub(crate) async fn count_unpublished(
    session: &mut Session,
    store: &RawStore,
    plan: &Plan,
    source: &Source,
    is_asked_for: impl Fn(Date) -> bool,
) -> Result<usize, Failure> {
    let look = Look { landed: &BTreeSet::new(), in_full: true, now: Timestamp::UNIX_EPOCH };
    let found = Unpublished::find(session, store, plan, source, look).await?;
    if let Some(unreadable) = found.unreadable.into_iter().next() {
        return Err(Failure::failed(anyhow::anyhow!(unreadable), None));
    }
    let accepted =
        |fetch: &&PendingFetch| fetch.outcome == Outcome::Accepted && is_asked_for(fetch.data_date);
    Ok(found.pending.iter().filter(accepted).count())
}

impl Unpublished {
    /// Finds what is unpublished of a source.
    pub(super) async fn find(
        session: &mut Session,
        store: &RawStore,
        plan: &Plan,
        source: &Source,
        look: Look<'_>,
    ) -> Result<Self, Failure> {
        let source_id = &source.id;
        let noted = ledger::noted(session, plan, source_id).await?;
        let after = if look.in_full { None } else { listed_after(&noted, source_id, look.now) };
        let known = ledger::noted_manifests(session, source_id, after.as_deref()).await?;
        let mut wanted: BTreeSet<String> = match &after {
            Some(after) => {
                let mut keys: BTreeSet<String> =
                    store.new_manifest_keys(source_id, after).await?.into_iter().collect();
                for key in &noted.to_try_again {
                    // One that was taken away is no fetch any more.
                    if store.head(key).await?.is_some() {
                        keys.insert(key.clone());
                    }
                }
                keys
            }
            None => store.manifest_keys(source_id, None).await?.into_iter().collect(),
        };
        wanted.retain(|key| !known.contains(key) || noted.to_try_again.contains(key));
        let prefix = format!("manifests/{source_id}/");
        wanted.extend(look.landed.iter().filter(|key| key.starts_with(&prefix)).cloned());
        let (mapped, mut shapes) = (Mapped::of(&source.rows), Shapes::default());
        let (mut pending, mut unreadable) = (Vec::new(), Vec::new());
        let mut earlier = Vec::new();
        let mut reading =
            stream::iter(&wanted).map(|key| store.manifest(key)).buffered(READ_AT_ONCE);
        while let Some(read) = reading.next().await {
            let stored = match read {
                Ok(stored) => stored,
                Err(error) => {
                    unreadable.push(one_line(&error));
                    continue;
                }
            };
            if !look.landed.contains(&stored.key) {
                earlier.push(Earlier {
                    manifest_key: stored.key.clone(),
                    step: step_key(&stored.manifest),
                    is_accepted: stored.manifest.is_accepted(),
                });
            }
            pending.push(pending_fetch(stored, &mapped, &mut shapes));
        }
        let (source_id, in_full) = (source_id.clone(), after.is_none());
        Ok(Self { source_id, pending, earlier, unreadable, in_full, noted })
    }

    /// Tells the ledger what was asked for the fetches that this run published and did not make, by their
    /// manifests. One that cannot be read once more leaves it untold; it is published all the same.
    pub(super) async fn keep_requests(
        &self,
        session: &mut Session,
        store: &RawStore,
        run_id: Uuid,
    ) -> Result<(), WarehouseError> {
        for some in self.earlier.chunks(TOLD_AT_ONCE) {
            let reading = stream::iter(some).map(|fetch| store.manifest(&fetch.manifest_key));
            let asked = reading.buffered(READ_AT_ONCE).filter_map(async |read| match read {
                Ok(stored) => Some(ingested(&stored)),
                Err(error) => {
                    let error = one_line(&error);
                    tracing::warn!("the requests of a fetch are not in the ledger: {error}");
                    None
                }
            });
            let asked: Vec<Ingested> = asked.collect().await;
            ledger::keep_requests(session, run_id, &asked).await?;
        }
        Ok(())
    }

    /// Keeps that all was listed, when all of it is in the ledger now. What was left for later is older than
    /// the newest that was noted, perhaps: then the next listing is a full one.
    pub(super) async fn settle(
        &self,
        session: &mut Session,
        published: &Report,
        now: Timestamp,
    ) -> Result<(), WarehouseError> {
        let prefix = format!("manifests/{}/", self.source_id);
        let mut postponed = published.fetches.iter().filter(|(key, result)| {
            matches!(result, FetchResult::Postponed(_)) && key.starts_with(&prefix)
        });
        let left = !self.unreadable.is_empty() || postponed.next().is_some();
        match (left, self.in_full) {
            (true, _) if self.noted.listed_in_full_at.is_some() => {
                ledger::set_listed(session, &self.source_id, None).await
            }
            (false, true) => ledger::set_listed(session, &self.source_id, Some(now)).await,
            _ => Ok(()),
        }
    }
}

/// The key to list a source from; none when all of it is to be listed.
fn listed_after(noted: &Noted, source_id: &SourceId, now: Timestamp) -> Option<String> {
    let age = now.duration_since(noted.listed_in_full_at?);
    // A clock that was set back says nothing about a day.
    if age.is_negative() || age >= IN_FULL_EVERY {
        return None;
    }
    let newest = RawKey::fetched_at(noted.newest.as_deref()?)?;
    Some(RawKey::manifests_from(source_id, newest.checked_sub(BACK).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_listed_from_an_hour_before_the_newest_and_in_full_once_a_day() {
        let source_id = SourceId::new("w").unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let newest = "manifests/w/20261123T130000.000000Z_2026-11-23_\
                      0193a2b4-0000-7000-8000-000000000001.json";
        let noted = Noted {
            newest: Some(newest.to_owned()),
            listed_in_full_at: Some(at("2026-11-23T13:00:05Z")),
            ..Noted::default()
        };
        let after = |noted: &Noted, now: &str| listed_after(noted, &source_id, at(now));
        let from = Some("manifests/w/20261123T120000.000000Z".to_owned());
        assert_eq!(after(&noted, "2026-11-23T14:00:00Z"), from);
        assert_eq!(after(&noted, "2026-11-24T13:00:04Z"), from);
        assert_eq!(after(&noted, "2026-11-24T13:00:05Z"), None);
        assert_eq!(after(&noted, "2026-11-23T12:00:00Z"), None);
        assert_eq!(after(&Noted { newest: None, ..noted.clone() }, "2026-11-23T14:00:00Z"), None);
        let never = Noted { listed_in_full_at: None, ..noted };
        assert_eq!(after(&never, "2026-11-23T14:00:00Z"), None);
    }
}
