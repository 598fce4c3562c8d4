//! `daymark raw ls`: what was fetched.
//!
//! In: a source, days, an entity. Out: a line for each fetch, or the manifests. Deliberately absent:
//! bodies.

use std::process::ExitCode;

use daymark_ingest::{Catalog, Listed, Manifest, Outcome, RawStore, Wanted, catalog};
use daymark_plan::{Plan, one_line};
use serde_json::{Value, json};

use super::{find, local};
use crate::cli::RawLs;
use crate::commands;
use crate::failure::Failure;
use crate::output;

/// How many fetches are listed unless a day or a number is given.
const LAST: usize = 50;

/// Lists fetches.
pub(super) async fn ls(arguments: &RawLs) -> Result<ExitCode, Failure> {
    let plan = commands::load(&arguments.folder)?;
    let store = RawStore::open_to_read(&plan.settings.raw)?;
    let sources = match &arguments.source {
        Some(name) => vec![find::source(&plan, &store, name).await?],
        None => plan.sources.iter().map(|source| source.id.clone()).collect(),
    };
    let (from, to) = (arguments.date.or(arguments.from), arguments.date.or(arguments.to));
    commands::is_a_range(from, to)?;
    let by_day = from.is_some() || to.is_some();
    let last = match arguments.last {
        Some(0) => None,
        None => (!by_day).then_some(LAST),
        given => given,
    };
    let outcome = arguments.refused.then_some(Outcome::Refused);
    let wanted = Wanted { from, to, entity: arguments.entity.clone(), outcome, last };
    let found = catalog(&store, &sources, &wanted).await?;
    if arguments.json {
        let fetches: Vec<Value> = found.listed.iter().map(as_json).collect();
        output::json(&json!({
            "store": store.to_string(), "more": found.more, "fetches": fetches,
        }))?;
    } else if found.listed.is_empty() {
        output::to_stdout(&format!("no such fetch in the raw store `{store}`\n"))?;
    } else {
        output::to_stdout(&text(&plan, &found))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(listed: &Listed) -> Value {
    match &listed.manifest {
        Ok(manifest) => json!({ "key": listed.key, "manifest": manifest }),
        Err(error) => json!({ "key": listed.key, "error": one_line(error) }),
    }
}

fn text(plan: &Plan, found: &Catalog) -> String {
    let with_entities = found.listed.iter().any(|listed| listed.name.entity.is_some());
    let mut header =
        vec!["fetched at", "source", "data date", "outcome", "", "pages", "bytes", "rows", "fetch"];
    if with_entities {
        header.insert(3, "entity");
    }
    let rows: Vec<Vec<String>> = found
        .listed
        .iter()
        .map(|listed| {
            let name = &listed.name;
            let mut row = vec![
                local(plan, name.fetched_at),
                name.source.to_string(),
                name.data_date.to_string(),
            ];
            if with_entities {
                row.push(name.entity.clone().unwrap_or_default());
            }
            match &listed.manifest {
                Ok(manifest) => row.extend(cells(manifest)),
                Err(_) => row.push("unreadable".to_owned()),
            }
            row
        })
        .collect();
    let first = 5 + usize::from(with_entities);
    let mut text = output::table(&header, &rows, &[first, first + 1, first + 2]);
    for listed in &found.listed {
        let name = &listed.name;
        let at = local(plan, name.fetched_at);
        let what = match &name.entity {
            Some(entity) => format!("{at} {} {entity} {}", name.source, name.data_date),
            None => format!("{at} {} {}", name.source, name.data_date),
        };
        match &listed.manifest {
            Ok(manifest) => {
                if let Some(reason) = &manifest.reason {
                    text.push_str(&format!("{what} refused: {}\n", output::cut(reason, 300)));
                }
            }
            Err(error) => text.push_str(&format!("{what} unreadable: {}\n", one_line(error))),
        }
    }
    if found.more {
        let shown = found.listed.len();
        text.push_str(&format!("older ones are not shown (--last {}, --last 0)\n", shown * 10));
    }
    text
}

fn cells(manifest: &Manifest) -> [String; 6] {
    let rows = manifest.rows.as_ref().map(|rows| match rows.rejected {
        0 => rows.extracted.to_string(),
        rejected => format!("{} (-{rejected})", rows.extracted),
    });
    [
        if manifest.is_accepted() { "accepted" } else { "refused" }.to_owned(),
        if manifest.unchanged { "=" } else { "" }.to_owned(),
        manifest.pages.len().to_string(),
        output::bytes(manifest.bytes()),
        rows.unwrap_or_default(),
        manifest.id.to_string(),
    ]
}
