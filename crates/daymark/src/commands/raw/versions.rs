//! `daymark raw versions`: all fetches of a day.
//!
//! In: a source and a day. Out: a line for each fetch: whether it changed anything against the one before,
//! and which one the raw objects are. Deliberately absent: what changed, which is `diff`'s.

use std::collections::BTreeMap;
use std::process::ExitCode;

use daymark_ingest::{Manifest, RawStore, StoredManifest};
use daymark_plan::{EntityId, Plan, sha256_hex};
use serde::Serialize;
use uuid::Uuid;

use super::{find, local, short_hash};
use crate::cli::RawVersions;
use crate::commands;
use crate::failure::Failure;
use crate::output;

/// A fetch of a day.
#[derive(Debug, Serialize)]
struct Version {
    key: String,
    fetch_id: Uuid,
    entity: Option<EntityId>,
    fetched_at: jiff::Timestamp,
    accepted: bool,
    reason: Option<String>,
    /// The SHA-256 of each page.
    pages: Vec<String>,
    bytes: u64,
    rows: Option<u64>,
    /// Against the accepted one before: `first`, `same bytes`, `same rows`, `changed`; none when refused.
    change: Option<&'static str>,
    /// Whether the raw objects are this one's.
    current: bool,
}

/// Shows the versions of a day.
pub(super) async fn versions(arguments: &RawVersions) -> Result<ExitCode, Failure> {
    let plan = commands::load(&arguments.folder)?;
    let store = RawStore::open_to_read(&plan.settings.raw)?;
    let source = find::source(&plan, &store, &arguments.source).await?;
    let entity = arguments.entity.as_deref();
    let fetches = find::fetches_of(&store, &source, arguments.date, entity).await?;
    let versions = compare(&store, &fetches).await?;
    if arguments.json {
        output::json(&versions)?;
    } else {
        output::to_stdout(&text(&plan, &versions))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn compare(store: &RawStore, fetches: &[StoredManifest]) -> Result<Vec<Version>, Failure> {
    let mut before: BTreeMap<Option<EntityId>, &Manifest> = BTreeMap::new();
    let mut raw: BTreeMap<String, Option<String>> = BTreeMap::new();
    let mut versions = Vec::new();
    for StoredManifest { key, manifest } in fetches {
        let mut current = manifest.is_accepted() && !manifest.pages.is_empty();
        for page in &manifest.pages {
            let Some(raw_key) = &page.raw_key else { continue };
            if !raw.contains_key(raw_key) {
                let there = match store.head(raw_key).await? {
                    Some(_) => Some(sha256_hex(&store.read(raw_key).await?)),
                    None => None,
                };
                raw.insert(raw_key.clone(), there);
            }
            current &= raw.get(raw_key).is_some_and(|there| there.as_ref() == Some(&page.sha256));
        }
        let change = manifest.is_accepted().then(|| change(before.get(&manifest.entity), manifest));
        if manifest.is_accepted() {
            before.insert(manifest.entity.clone(), manifest);
        }
        versions.push(Version {
            key: key.clone(),
            fetch_id: manifest.id,
            entity: manifest.entity.clone(),
            fetched_at: manifest.fetched_at,
            accepted: manifest.is_accepted(),
            reason: manifest.reason.clone(),
            pages: manifest.pages.iter().map(|page| page.sha256.clone()).collect(),
            bytes: manifest.bytes(),
            rows: manifest.rows.as_ref().map(|rows| rows.extracted),
            change,
            current,
        });
    }
    Ok(versions)
}

/// How a fetch differs from the accepted one before.
fn change(before: Option<&&Manifest>, manifest: &Manifest) -> &'static str {
    let Some(before) = before else { return "first" };
    let hashes = |manifest: &Manifest| {
        manifest.pages.iter().map(|page| page.sha256.clone()).collect::<Vec<_>>()
    };
    let rows = |manifest: &Manifest| manifest.rows.as_ref().map(|rows| rows.rows_sha256.clone());
    if hashes(before) == hashes(manifest) {
        "same bytes"
    } else if rows(before) == rows(manifest) {
        "same rows"
    } else {
        "changed"
    }
}

fn text(plan: &Plan, versions: &[Version]) -> String {
    let with_entities = versions.iter().any(|version| version.entity.is_some());
    let mut header = vec![
        "fetched at",
        "outcome",
        "against before",
        "",
        "pages",
        "bytes",
        "rows",
        "sha256",
        "fetch",
    ];
    if with_entities {
        header.insert(1, "entity");
    }
    let rows: Vec<Vec<String>> = versions
        .iter()
        .map(|version| {
            let mut row = vec![
                local(plan, version.fetched_at),
                if version.accepted { "accepted" } else { "refused" }.to_owned(),
                version.change.unwrap_or_default().to_owned(),
                if version.current { "current" } else { "" }.to_owned(),
                version.pages.len().to_string(),
                output::bytes(version.bytes),
                version.rows.map(|rows| rows.to_string()).unwrap_or_default(),
                version.pages.first().map(|sha256| short_hash(sha256)).unwrap_or_default(),
                version.fetch_id.to_string(),
            ];
            if with_entities {
                let entity = version.entity.as_ref().map(ToString::to_string);
                row.insert(1, entity.unwrap_or_default());
            }
            row
        })
        .collect();
    let first = 4 + usize::from(with_entities);
    let mut text = output::table(&header, &rows, &[first, first + 1, first + 2]);
    for version in versions {
        if let Some(reason) = &version.reason {
            let at = local(plan, version.fetched_at);
            text.push_str(&format!("{at} refused: {}\n", output::cut(reason, 300)));
        }
    }
    let accepted = versions.iter().any(|version| version.accepted);
    if accepted && !versions.iter().any(|version| version.current) {
        text.push_str(
            "the raw objects are none of these: `daymark raw verify` says how they differ\n",
        );
    }
    text
}
