//! What the raw store knows of the fetches of a source before this one.
//!
//! In: a source. Out: its newest manifest by entity, and where its cursor stands. The cursor stands in
//! the manifest of the very fetch that moved it, so that data and cursor cannot part; what a person set
//! (`daymark cursor set`) is an object of its own and counts until a fetch moves on from it.
//! Deliberately absent: the database.

use std::collections::HashMap;

use daymark_plan::{EntityId, SourceId};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::error::IngestError;
use crate::keys::RawKey;
use crate::manifest::Manifest;
use crate::store::RawStore;

/// How far back manifests are listed at first, and then; at last all are.
const FIRST_BACK: [SignedDuration; 2] =
    [SignedDuration::from_hours(72), SignedDuration::from_hours(24 * 40)];

/// The manifests of a source, listed as far back as needed and no further.
#[derive(Debug)]
pub(crate) struct History {
    store: RawStore,
    source_id: SourceId,
    now: Timestamp,
    listed: Mutex<Listed>,
}

#[derive(Debug, Default)]
struct Listed {
    /// How many of the steps back were made.
    steps: usize,
    /// The keys by entity, each in order.
    keys: HashMap<Option<String>, Vec<String>>,
}

/// Where a cursor stands, and who put it there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CursorPosition {
    /// The cursor.
    pub cursor: String,
    /// When it got there.
    pub since: Timestamp,
    /// The object that says so.
    pub key: String,
    /// Why, when a person set it.
    pub set_by_hand: Option<String>,
}

/// A cursor that a person set.
#[derive(Debug, Serialize, Deserialize)]
struct SetCursor {
    cursor: String,
    at: Timestamp,
    why: String,
}

impl History {
    pub(crate) fn new(store: RawStore, source_id: SourceId, now: Timestamp) -> Self {
        Self { store, source_id, now, listed: Mutex::default() }
    }

    /// The keys of an entity's manifests, newest first.
    fn back<'h>(&'h self, entity: Option<&'h EntityId>) -> Back<'h> {
        Back { history: self, entity, step: 0, seen: 0, keys: Vec::new() }
    }

    /// The keys of an entity's manifests after a number of steps back, oldest first.
    async fn keys(
        &self,
        step: usize,
        entity: Option<&EntityId>,
    ) -> Result<Vec<String>, IngestError> {
        let mut listed = self.listed.lock().await;
        if listed.steps <= step {
            let from = FIRST_BACK.get(step).and_then(|back| self.now.checked_sub(*back).ok());
            let after = from.map(|from| RawKey::manifests_from(&self.source_id, from));
            listed.keys.clear();
            for key in self.store.manifest_keys(&self.source_id, after.as_deref()).await? {
                if let Some(name) = RawKey::parse_manifest(&key) {
                    listed.keys.entry(name.entity).or_default().push(key);
                }
            }
            listed.steps = step + 1;
        }
        let entity = entity.map(|entity| entity.as_str().to_owned());
        Ok(listed.keys.get(&entity).cloned().unwrap_or_default())
    }

    /// When the newest fetch of an entity ended.
    pub(crate) async fn newest(
        &self,
        entity: Option<&EntityId>,
    ) -> Result<Option<Timestamp>, IngestError> {
        let newest = self.back(entity).next().await?;
        Ok(newest.and_then(|key| RawKey::fetched_at(&key)))
    }

    /// The newest accepted manifest of an entity. One that cannot be understood is for those who
    /// publish it to report; here it only ends the search.
    pub(crate) async fn last_accepted(
        &self,
        entity: Option<&EntityId>,
    ) -> Result<Option<Manifest>, IngestError> {
        let mut back = self.back(entity);
        while let Some(key) = back.next().await? {
            match self.store.manifest(&key).await {
                Ok(stored) if stored.manifest.is_accepted() => return Ok(Some(stored.manifest)),
                Ok(_) => {}
                Err(IngestError::BadManifest { .. } | IngestError::ManifestFormat { .. }) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Where the cursor of an entity stands; none before the first fetch that had one.
    pub(crate) async fn cursor(
        &self,
        entity: Option<&EntityId>,
    ) -> Result<Option<CursorPosition>, IngestError> {
        let (moved, set) = (self.moved(entity).await?, self.set_by_hand(entity).await?);
        Ok(match (moved, set) {
            (Some(moved), Some(set)) if moved.since > set.since => Some(moved),
            (moved, set) => set.or(moved),
        })
    }

    /// The cursor of the newest accepted manifest that has one.
    async fn moved(
        &self,
        entity: Option<&EntityId>,
    ) -> Result<Option<CursorPosition>, IngestError> {
        let mut back = self.back(entity);
        while let Some(key) = back.next().await? {
            let manifest = self.store.manifest(&key).await?.manifest;
            if manifest.is_accepted()
                && let Some(cursor) = manifest.cursor
            {
                let since = manifest.fetched_at;
                return Ok(Some(CursorPosition { cursor, since, key, set_by_hand: None }));
            }
        }
        Ok(None)
    }

    async fn set_by_hand(
        &self,
        entity: Option<&EntityId>,
    ) -> Result<Option<CursorPosition>, IngestError> {
        let prefix = RawKey::cursors_of(&self.source_id);
        let entity = entity.map(EntityId::as_str);
        let keys = self.store.names(&prefix, None).await?;
        let newest = keys.into_iter().filter(|key| RawKey::is_cursor_of(key, entity)).max();
        let Some(key) = newest else { return Ok(None) };
        let bytes = self.store.read(&key).await?;
        let set: SetCursor = serde_json::from_slice(&bytes)
            .map_err(|cause| IngestError::BadManifest { key: key.clone(), cause })?;
        let SetCursor { cursor, at, why } = set;
        Ok(Some(CursorPosition { cursor, since: at, key, set_by_hand: Some(why) }))
    }
}

/// A walk over the keys of an entity's manifests, newest first, that lists no further back than it
/// gets.
struct Back<'h> {
    history: &'h History,
    entity: Option<&'h EntityId>,
    step: usize,
    seen: usize,
    /// Those still to come of the steps made, the next one last.
    keys: Vec<String>,
}

impl Back<'_> {
    async fn next(&mut self) -> Result<Option<String>, IngestError> {
        while self.keys.is_empty() && self.step <= FIRST_BACK.len() {
            let all = self.history.keys(self.step, self.entity).await?;
            self.step += 1;
            let older = all.len().saturating_sub(self.seen);
            self.seen = all.len();
            self.keys = all;
            self.keys.truncate(older);
        }
        Ok(self.keys.pop())
    }
}

/// Where the cursor of a source's entity stands.
pub async fn cursor(
    store: &RawStore,
    source_id: &SourceId,
    entity: Option<&EntityId>,
    now: Timestamp,
) -> Result<Option<CursorPosition>, IngestError> {
    History::new(store.clone(), source_id.clone(), now).cursor(entity).await
}

/// Sets the cursor of a source's entity by hand. It is later than every fetch so far, whatever the
/// clock says.
pub async fn set_cursor(
    store: &RawStore,
    source_id: &SourceId,
    entity: Option<&EntityId>,
    cursor: &str,
    why: &str,
    now: Timestamp,
) -> Result<String, IngestError> {
    let history = History::new(store.clone(), source_id.clone(), now);
    let newest = history.newest(entity).await?;
    let set = history.set_by_hand(entity).await?.map(|set| set.since);
    let at = later_than(now, newest.max(set));
    let key = RawKey::Cursor { source: source_id, at, entity: entity.map(EntityId::as_str) };
    let set = SetCursor { cursor: cursor.to_owned(), at, why: why.to_owned() };
    let mut json = serde_json::to_vec_pretty(&set).expect("texts and an instant are JSON");
    json.push(b'\n');
    store.create(&key, json.into()).await?;
    Ok(key.to_string())
}

/// `now` in microseconds, or the first microsecond after the newest: the order of keys is the order of
/// fetches, even under a clock that was set back a little.
pub(crate) fn later_than(now: Timestamp, newest: Option<Timestamp>) -> Timestamp {
    let micros = now.as_microsecond();
    let at = newest.map_or(micros, |newest| micros.max(newest.as_microsecond() + 1));
    Timestamp::from_microsecond(at).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fetch_is_later_than_every_earlier_one() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let newest = Some(at("2026-11-23T13:00:00.000005Z"));
        let next = |now| later_than(at(now), newest);
        assert_eq!(next("2026-11-23T12:59:00Z"), at("2026-11-23T13:00:00.000006Z"));
        assert_eq!(next("2026-11-23T13:00:00.000005Z"), at("2026-11-23T13:00:00.000006Z"));
        assert_eq!(next("2026-11-23T13:00:01.1234567Z"), at("2026-11-23T13:00:01.123456Z"));
        assert_eq!(later_than(at("2026-11-23T13:00:00Z"), None), at("2026-11-23T13:00:00Z"));
    }
}
