//! Whether a raw layer still is what its manifests say.
//!
//! In: a store. Out: every archived object that a manifest names, hashed again: what is missing, damaged,
//! unreadable; and what no manifest names, which is no fault: a fetch that was killed leaves it; and the raw
//! objects that are not what the latest accepted fetch of their day brought.
//! Deliberately absent: mending anything.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use serde::Serialize;

use crate::error::IngestError;
use crate::keys::RawKey;
use crate::store::RawStore;

/// How many objects are hashed at once.
const AT_ONCE: usize = 4;

/// What an audit found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AuditReport {
    /// Manifests read.
    pub manifests: u64,
    /// Objects hashed.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that manifests name and the store does not have, each with a manifest that does.
    pub missing: Vec<Fault>,
    /// Objects whose bytes are not those that were received.
    pub damaged: Vec<Fault>,
    /// Manifests that cannot be understood.
    pub unreadable: Vec<Fault>,
    /// Archived objects that no manifest names.
    pub unreferenced: Vec<String>,
    /// Raw objects compared with the latest accepted fetch.
    pub raw_objects: u64,
    /// Those that are not what it brought, or are not there. The archive has the bytes all the same, and
    /// nothing is published from raw objects.
    pub raw_differs: Vec<Fault>,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The object.
    pub key: String,
    /// What is wrong.
    pub message: String,
}

impl AuditReport {
    /// Whether everything is as it should be.
    pub fn is_sound(&self) -> bool {
        self.missing.is_empty() && self.damaged.is_empty() && self.unreadable.is_empty()
    }
}

/// Audits a store, or one source of it. `watch` is told how many objects have been hashed, of how many.
pub async fn audit(
    store: &RawStore,
    source: Option<&str>,
    watch: &(dyn Fn(u64, u64) + Sync),
) -> Result<AuditReport, IngestError> {
    let mut report = AuditReport::default();
    let under = |folder: &str| match source {
        Some(source) => format!("{folder}/{source}"),
        None => folder.to_owned(),
    };
    // The hash an object should have, and the manifest that says so.
    let mut named: BTreeMap<String, (String, String)> = BTreeMap::new();
    // The same of raw objects; manifests come in order, so the latest is what is left.
    let mut latest: BTreeMap<String, (String, String)> = BTreeMap::new();
    for object in store.list(&under("manifests")).await? {
        if RawKey::parse_manifest(&object.key).is_none() {
            continue;
        }
        report.manifests += 1;
        match store.manifest(&object.key).await {
            Ok(stored) => {
                for page in stored.manifest.pages {
                    if let Some(raw_key) = page.raw_key {
                        latest.insert(raw_key, (page.sha256.clone(), object.key.clone()));
                    }
                    named.insert(page.archive_key, (page.sha256, object.key.clone()));
                }
            }
            Err(error @ (IngestError::BadManifest { .. } | IngestError::ManifestFormat { .. })) => {
                let message = daymark_plan::one_line(&error);
                report.unreadable.push(Fault { key: object.key, message });
            }
            Err(error) => return Err(error),
        }
    }
    let there: BTreeSet<String> =
        store.list(&under("archive")).await?.into_iter().map(|object| object.key).collect();
    report.unreferenced = there.iter().filter(|key| !named.contains_key(*key)).cloned().collect();
    for (key, (_, manifest)) in named.iter().filter(|(key, _)| !there.contains(*key)) {
        let message = format!("`{manifest}` names it");
        report.missing.push(Fault { key: key.clone(), message });
    }
    let of = named.keys().filter(|key| there.contains(*key)).count() as u64;
    let hashing = named.iter().filter(|(key, _)| there.contains(*key)).map(
        |(key, (sha256, manifest))| async move {
            let crate::store::Digest { bytes, sha256: found } = store.digest(key).await?;
            let fault = (found != *sha256).then(|| Fault {
                key: key.clone(),
                message: format!("its SHA-256 is {found}; `{manifest}` says {sha256}"),
            });
            Ok::<_, IngestError>((bytes, fault))
        },
    );
    let mut hashing = stream::iter(hashing).buffered(AT_ONCE);
    while let Some(hashed) = hashing.next().await {
        let (bytes, fault) = hashed?;
        report.objects += 1;
        report.bytes += bytes;
        report.damaged.extend(fault);
        watch(report.objects, of);
    }
    let comparing = latest.iter().map(|(key, (sha256, manifest))| async move {
        let fault = |message| Fault { key: key.clone(), message };
        if store.head(key).await?.is_none() {
            return Ok(Some(fault(format!("it is not there; `{manifest}` names it"))));
        }
        let found = daymark_plan::sha256_hex(&store.read(key).await?);
        let differs =
            format!("its SHA-256 is {found}; the latest accepted, `{manifest}`, says {sha256}");
        Ok::<_, IngestError>((found != *sha256).then(|| fault(differs)))
    });
    let mut comparing = stream::iter(comparing).buffered(AT_ONCE);
    while let Some(compared) = comparing.next().await {
        report.raw_objects += 1;
        report.raw_differs.extend(compared?);
    }
    Ok(report)
}
