//! What a raw store holds, for people who look for something in it.
//!
//! In: a store and what is wanted: a source, days, an entity, an id. Out: manifests, the newest first
//! sought and the oldest first given. Keys say source, time, day and entity, so only manifests that are
//! wanted are read. Deliberately absent: bodies.

use std::collections::BTreeSet;

use daymark_plan::SourceId;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use jiff::civil::Date;
use uuid::Uuid;

use crate::error::IngestError;
use crate::keys::{ManifestName, RawKey};
use crate::manifest::{Manifest, Outcome, StoredManifest};
use crate::store::RawStore;

/// How many manifests are read at once.
const AT_ONCE: usize = 16;

/// Which manifests are wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Those for this day on.
    pub from: Option<Date>,
    /// Those for this day and before.
    pub to: Option<Date>,
    /// Those of this entity.
    pub entity: Option<String>,
    /// Those of this outcome; one that cannot be understood is wanted, too.
    pub outcome: Option<Outcome>,
    /// At most so many, the newest.
    pub last: Option<usize>,
}

/// A manifest that was found.
#[derive(Debug)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// What its key says.
    pub name: ManifestName,
    /// What it says, or why it cannot be understood.
    pub manifest: Result<Manifest, IngestError>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Catalog {
    /// The manifests, the oldest first.
    pub listed: Vec<Listed>,
    /// Whether there may be older ones beyond [`Wanted::last`].
    pub more: bool,
}

impl Wanted {
    /// Those for one day.
    pub fn on(date: Date) -> Self {
        Self { from: Some(date), to: Some(date), ..Self::default() }
    }

    fn fits(&self, name: &ManifestName) -> bool {
        self.from.is_none_or(|from| name.data_date >= from)
            && self.to.is_none_or(|to| name.data_date <= to)
            && self.entity.as_ref().is_none_or(|wanted| name.entity.as_ref() == Some(wanted))
    }
}

/// The manifests of some sources that are wanted.
pub async fn catalog(
    store: &RawStore,
    sources: &[SourceId],
    wanted: &Wanted,
) -> Result<Catalog, IngestError> {
    let mut named = Vec::new();
    for source in sources {
        for key in store.manifest_keys(source, None).await? {
            if let Some(name) = RawKey::parse_manifest(&key).filter(|name| wanted.fits(name)) {
                named.push((key, name));
            }
        }
    }
    named.sort_by(|a, b| (b.1.fetched_at, &b.0).cmp(&(a.1.fetched_at, &a.0)));
    let mut catalog = Catalog::default();
    let last = wanted.last.unwrap_or(usize::MAX);
    let reading = named.into_iter().map(|(key, name)| async move {
        let manifest = store.manifest(&key).await.map(|stored| stored.manifest);
        Listed { key, name, manifest }
    });
    let mut reading = stream::iter(reading).buffered(AT_ONCE);
    while let Some(listed) = reading.next().await {
        let fits = match &listed.manifest {
            Ok(manifest) => wanted.outcome.is_none_or(|outcome| manifest.outcome == outcome),
            Err(IngestError::BadManifest { .. } | IngestError::ManifestFormat { .. }) => true,
            Err(_) => {
                listed.manifest?;
                continue;
            }
        };
        if !fits {
            continue;
        }
        if catalog.listed.len() == last {
            catalog.more = true;
            break;
        }
        catalog.listed.push(listed);
    }
    catalog.listed.reverse();
    Ok(catalog)
}

/// The ids of the sources that have manifests in a store. All of their keys are listed for it.
pub async fn sources_in(store: &RawStore) -> Result<Vec<SourceId>, IngestError> {
    let objects = store.list("manifests").await?;
    let ids = objects.iter().filter_map(|object| RawKey::parse_manifest(&object.key));
    let ids: BTreeSet<SourceId> = ids.map(|name| name.source).collect();
    Ok(ids.into_iter().collect())
}

/// The fetch of an id, among some sources. The id says when it was made, to the millisecond.
pub async fn fetch_of_id(
    store: &RawStore,
    sources: &[SourceId],
    id: Uuid,
) -> Result<Option<StoredManifest>, IngestError> {
    let Some(at) = id.get_timestamp().map(|at| at.to_unix()) else { return Ok(None) };
    let seconds = i64::try_from(at.0).unwrap_or(i64::MAX);
    let Ok(at) = Timestamp::new(seconds, i32::try_from(at.1).unwrap_or(0)) else { return Ok(None) };
    for source in sources {
        let after = RawKey::manifests_from(source, at);
        for key in store.manifest_keys(source, Some(&after)).await? {
            let fetched_at = RawKey::fetched_at(&key).map(Timestamp::as_millisecond);
            if fetched_at != Some(at.as_millisecond()) {
                break;
            }
            match store.manifest(&key).await {
                Ok(stored) if stored.manifest.id == id => return Ok(Some(stored)),
                Ok(_)
                | Err(IngestError::BadManifest { .. } | IngestError::ManifestFormat { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(None)
}
