//! Finds what was named: a key, the id of a fetch, a source and a day.
//!
//! In: the words of a command line. Out: a stored manifest, or a body by its key. Deliberately absent:
//! reading bodies of fetches.

use daymark_ingest::{RawKey, RawStore, StoredManifest, Wanted, catalog, fetch_of_id, sources_in};
use daymark_plan::{Plan, SourceId};
use jiff::civil::Date;
use uuid::Uuid;

use crate::failure::Failure;

/// What was named.
pub(super) enum Named {
    /// A fetch.
    Fetch(Box<StoredManifest>),
    /// An object that is no manifest.
    Object {
        /// Its key.
        key: String,
    },
}

/// What a key, an id, or a source with a day names.
pub(super) async fn named(
    plan: &Plan,
    store: &RawStore,
    what: &str,
    date: Option<Date>,
    entity: Option<&str>,
) -> Result<Named, Failure> {
    if what.contains('/') {
        return of_key(store, what.trim_start_matches("./")).await;
    }
    if let Ok(id) = what.parse::<Uuid>() {
        return of_id(plan, store, id).await;
    }
    let Some(date) = date else {
        // A source that is not there is the likelier mistake.
        source(plan, store, what).await?;
        return Err(Failure::usage(
            format!("`{what}` is a source: which day of it is meant?"),
            format!("add `--date YYYY-MM-DD`; `daymark raw ls {what}` lists what was fetched"),
        ));
    };
    let source = source(plan, store, what).await?;
    let mut fetches = fetches_of(store, &source, date, entity).await?;
    of_one_entity(&source, date, &fetches)?;
    let accepted = fetches.iter().rposition(|stored| stored.manifest.is_accepted());
    let at = accepted.unwrap_or(fetches.len() - 1);
    Ok(Named::Fetch(Box::new(fetches.swap_remove(at))))
}

/// Refuses fetches of several entities, of which one must be named.
pub(super) fn of_one_entity(
    source: &SourceId,
    date: jiff::civil::Date,
    fetches: &[StoredManifest],
) -> Result<(), Failure> {
    let entities: std::collections::BTreeSet<_> =
        fetches.iter().map(|stored| stored.manifest.entity.as_ref()).collect();
    if entities.len() <= 1 {
        return Ok(());
    }
    let names: Vec<String> =
        entities.iter().flatten().take(5).map(|entity| format!("`{entity}`")).collect();
    Err(Failure::usage(
        format!("`{source}` was fetched for {} entities on {date}", entities.len()),
        format!("name one with `--entity`, such as {}", names.join(", ")),
    ))
}

async fn of_key(store: &RawStore, key: &str) -> Result<Named, Failure> {
    if store.head(key).await?.is_none() {
        return Err(Failure::failed(
            anyhow::anyhow!("the raw store `{store}` has no `{key}`"),
            Some("`daymark raw ls` lists what was fetched".to_owned()),
        ));
    }
    if RawKey::parse_manifest(key).is_some() {
        return Ok(Named::Fetch(Box::new(store.manifest(key).await?)));
    }
    Ok(Named::Object { key: key.to_owned() })
}

async fn of_id(plan: &Plan, store: &RawStore, id: Uuid) -> Result<Named, Failure> {
    let of_plan: Vec<SourceId> = plan.sources.iter().map(|source| source.id.clone()).collect();
    let mut found = fetch_of_id(store, &of_plan, id).await?;
    if found.is_none() {
        // It may be of a source that the folder has no more.
        found = fetch_of_id(store, &sources_in(store).await?, id).await?;
    }
    match found {
        Some(stored) => Ok(Named::Fetch(Box::new(stored))),
        None => Err(Failure::failed(
            anyhow::anyhow!("the raw store `{store}` has no fetch `{id}`"),
            Some("`daymark raw ls` shows the ids of fetches".to_owned()),
        )),
    }
}

/// The source of a name: the folder's, or one that the folder has no more and the store still knows.
pub(super) async fn source(plan: &Plan, store: &RawStore, name: &str) -> Result<SourceId, Failure> {
    if let Some(id) = SourceId::new(name)
        && (plan.source(&id).is_some() || !store.manifest_keys(&id, None).await?.is_empty())
    {
        return Ok(id);
    }
    let ids = plan.sources.iter().map(|source| source.id.as_str());
    Err(Failure::usage(
        format!("neither the pipeline nor the raw store has a source `{name}`"),
        daymark_plan::did_you_mean(name, ids),
    ))
}

/// The fetches of a source's day, the oldest first; at least one.
pub(super) async fn fetches_of(
    store: &RawStore,
    source: &SourceId,
    date: Date,
    entity: Option<&str>,
) -> Result<Vec<StoredManifest>, Failure> {
    let wanted = Wanted { entity: entity.map(str::to_owned), ..Wanted::on(date) };
    let found = catalog(store, std::slice::from_ref(source), &wanted).await?;
    let mut fetches = Vec::new();
    for listed in found.listed {
        fetches.push(StoredManifest { key: listed.key, manifest: listed.manifest? });
    }
    if fetches.is_empty() {
        let entity = entity.map(|entity| format!(" of `{entity}`")).unwrap_or_default();
        return Err(Failure::failed(
            anyhow::anyhow!(
                "the raw store `{store}` has no fetch{entity} of `{source}` for {date}"
            ),
            Some(format!("`daymark raw ls {source}` lists what was fetched")),
        ));
    }
    Ok(fetches)
}
