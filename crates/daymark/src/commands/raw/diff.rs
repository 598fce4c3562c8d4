//! `daymark raw diff`: what differs between two fetches.
//!
//! In: two fetches or bodies, or a source and a day of which the last two versions are taken. Out: the
//! changes of each page. Deliberately absent: the comparing, which is extract's.

use std::process::ExitCode;

use bytes::Bytes;
use daymark_extract::{Change, ChangeKind, json_difference, line_difference, to_utf8};
use daymark_ingest::{Page, RawStore, StoredManifest};
use daymark_plan::Plan;
use serde::Serialize;

use super::find::{self, Named};
use super::local;
use crate::cli::RawDiff;
use crate::commands;
use crate::failure::Failure;
use crate::output;

/// How many changes people are shown; the JSON has all.
const SHOWN: usize = 200;

/// One side of a comparison.
struct Side {
    name: String,
    /// The bodies, in UTF-8, with their page numbers.
    pages: Vec<(u32, Bytes)>,
}

/// What differs on a page.
#[derive(Debug, Serialize)]
struct PageChanges {
    page: u32,
    changes: Vec<Change>,
}

/// What differs in all.
#[derive(Debug, Serialize)]
struct Difference {
    before: String,
    after: String,
    added: usize,
    removed: usize,
    changed: usize,
    /// Those of all that APIs fill anew for every answer.
    volatile: usize,
    pages: Vec<PageChanges>,
}

/// Compares two versions.
pub(super) async fn diff(arguments: &RawDiff) -> Result<ExitCode, Failure> {
    let plan = commands::load(&arguments.folder)?;
    let store = RawStore::open_to_read(&plan.settings.raw)?;
    let (before, after) = match (&arguments.after, arguments.date) {
        (Some(after), _) => {
            (side(&plan, &store, &arguments.before).await?, side(&plan, &store, after).await?)
        }
        (None, Some(date)) => {
            let entity = arguments.entity.as_deref();
            last_two(&plan, &store, &arguments.before, date, entity).await?
        }
        (None, None) => {
            return Err(Failure::usage(
                format!("with what is `{}` to be compared?", arguments.before),
                "give two keys or ids of fetches, or a source and `--date YYYY-MM-DD` to compare its \
                 last two versions of that day",
            ));
        }
    };
    let difference = compare(&before, &after);
    if arguments.json {
        output::json(&difference)?;
    } else {
        output::to_stdout(&text(&difference))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn side(plan: &Plan, store: &RawStore, what: &str) -> Result<Side, Failure> {
    match find::named(plan, store, what, None, None).await? {
        Named::Fetch(stored) => of_fetch(plan, store, &stored).await,
        Named::Object { key } => {
            let body = store.read(&key).await?;
            let text = utf8(&body, None);
            Ok(Side { name: key, pages: vec![(1, text)] })
        }
    }
}

async fn of_fetch(plan: &Plan, store: &RawStore, stored: &StoredManifest) -> Result<Side, Failure> {
    let manifest = &stored.manifest;
    let mut pages = Vec::new();
    for page in &manifest.pages {
        pages.push((page.number.unwrap_or(1), body(store, page).await?));
    }
    let refused = if manifest.is_accepted() { "" } else { ", refused" };
    let at = local(plan, manifest.fetched_at);
    Ok(Side { name: format!("{} ({at}{refused})", manifest.id), pages })
}

async fn body(store: &RawStore, page: &Page) -> Result<Bytes, Failure> {
    let body = store.read_page(page).await?;
    Ok(utf8(&body, page.encoding.as_deref()))
}

/// A body in UTF-8; one that cannot be converted is compared as it is.
fn utf8(body: &Bytes, encoding: Option<&str>) -> Bytes {
    match to_utf8(body, encoding) {
        Ok((text, _)) => Bytes::copy_from_slice(&text),
        Err(_) => body.clone(),
    }
}

/// The last two versions of a day: the newest fetch whose body differs from the newest of all, or the one
/// before it.
async fn last_two(
    plan: &Plan,
    store: &RawStore,
    name: &str,
    date: jiff::civil::Date,
    entity: Option<&str>,
) -> Result<(Side, Side), Failure> {
    let source = find::source(plan, store, name).await?;
    let mut fetches = find::fetches_of(store, &source, date, entity).await?;
    fetches.retain(|stored| stored.manifest.is_accepted());
    find::of_one_entity(&source, date, &fetches)?;
    let hashes = |stored: &StoredManifest| {
        stored.manifest.pages.iter().map(|page| page.sha256.clone()).collect::<Vec<_>>()
    };
    let [earlier @ .., before, after] = fetches.as_slice() else {
        let count = output::counted(fetches.len() as u64, "accepted fetch");
        let count = count.replace("fetchs", "fetches");
        return Err(Failure::failed(
            anyhow::anyhow!("there is {count} of `{source}` for {date}: nothing to compare"),
            Some(format!("`daymark raw ls {source}` shows fetches of other days to compare")),
        ));
    };
    let differs = |stored: &&StoredManifest| hashes(stored) != hashes(after);
    let older = earlier.iter().chain([before]).rev().find(differs).unwrap_or(before);
    Ok((of_fetch(plan, store, older).await?, of_fetch(plan, store, after).await?))
}

fn compare(before: &Side, after: &Side) -> Difference {
    let mut pages = Vec::new();
    let mut numbers: Vec<u32> =
        before.pages.iter().chain(&after.pages).map(|(number, _)| *number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let of = |side: &Side, number: u32| {
        let found = side.pages.iter().find(|(there, _)| *there == number);
        found.map(|(_, body)| body.clone()).unwrap_or_default()
    };
    for page in numbers {
        let mut changes = compare_page(&of(before, page), &of(after, page));
        // What is new in every answer is of the least interest.
        changes.sort_by_key(|change| change.volatile);
        pages.push(PageChanges { page, changes });
    }
    let count = |kind| {
        let all = pages.iter().flat_map(|page| &page.changes);
        all.filter(|change| change.kind == kind).count()
    };
    Difference {
        before: before.name.clone(),
        after: after.name.clone(),
        added: count(ChangeKind::Added),
        removed: count(ChangeKind::Removed),
        changed: count(ChangeKind::Changed),
        volatile: pages.iter().flat_map(|page| &page.changes).filter(|c| c.volatile).count(),
        pages,
    }
}

/// JSON by path where both are JSON, anything else by line.
fn compare_page(before: &[u8], after: &[u8]) -> Vec<Change> {
    if let Ok(changes) = json_difference(before, after) {
        return changes;
    }
    line_difference(&String::from_utf8_lossy(before), &String::from_utf8_lossy(after))
}

fn text(difference: &Difference) -> String {
    let Difference { before, after, added, removed, changed, volatile, pages } = difference;
    let mut text = format!("before: {before}\nafter:  {after}\n");
    let several = pages.len() > 1;
    let mut left = SHOWN;
    for PageChanges { page, changes } in pages.iter().filter(|page| !page.changes.is_empty()) {
        let with_at = changes.iter().any(|change| change.at.is_some());
        let mut header = vec!["", "path", "before", "after"];
        if with_at {
            header.insert(2, "at");
        }
        let rows: Vec<Vec<String>> =
            changes.iter().take(left).map(|change| row(change, with_at)).collect();
        left -= rows.len();
        text.push('\n');
        if several {
            text.push_str(&format!("page {page}\n"));
        }
        text.push_str(&output::table(&header, &rows, &[]));
    }
    let all = added + removed + changed;
    if all == 0 {
        text.push_str("\nno difference\n");
        return text;
    }
    if all > SHOWN {
        text.push_str(&format!("... and {} more; --json has them\n", all - SHOWN));
    }
    let same = if *volatile == all { ": nothing but what is new in every answer" } else { "" };
    let of = if *volatile > 0 && *volatile < all {
        format!(" ({volatile} of them new in every answer, marked ~)")
    } else {
        String::new()
    };
    text.push_str(&format!("\n{changed} changed, {added} added, {removed} removed{of}{same}\n"));
    text
}

fn row(change: &Change, with_at: bool) -> Vec<String> {
    let mark = match (change.volatile, change.kind) {
        (true, _) => "~",
        (_, ChangeKind::Added) => "+",
        (_, ChangeKind::Removed) => "-",
        (_, ChangeKind::Changed) => "",
    };
    let value =
        |value: &Option<String>| value.as_deref().map_or(String::new(), |v| output::cut(v, 48));
    let mut row = vec![
        mark.to_owned(),
        output::cut(&change.path, 80),
        value(&change.before),
        value(&change.after),
    ];
    if with_at {
        row.insert(2, change.at.as_deref().map_or(String::new(), |at| output::cut(at, 30)));
    }
    row
}
