//! `daymark fetch`: the first half of a run.
//!
//! In: a source, perhaps a day and entities. Out: a manifest for each entity, stored, and a table of what
//! came; exit code 1 when anything was refused. Deliberately absent: the database; the next run publishes
//! what was accepted.

use std::process::ExitCode;

use daymark_ingest::{FetchOrder, Fetched, Ingest, Manifest, RawStore, Reach};
use daymark_plan::{Clock, EntityId, one_line};
use serde_json::{Value, json};
use tracing::Instrument;
use uuid::Uuid;

use crate::cli::Fetch;
use crate::commands;
use crate::failure::Failure;
use crate::output;
use crate::run::{Progress, RunEvent, dates};
use crate::schedule;

/// Fetches a source.
pub(crate) async fn fetch(arguments: &Fetch) -> Result<ExitCode, Failure> {
    let plan = commands::load(&arguments.folder)?;
    let source = commands::source(&plan, &arguments.source)?;
    let entities: Vec<EntityId> = arguments
        .entities
        .iter()
        .map(|name| commands::entity(source, name))
        .collect::<Result<_, _>>()?;
    let clock = Clock::System;
    let zone = &plan.settings.zone;
    let due = schedule::data_date(source.data_date, &source.calendar, zone, clock.now());
    let data_date = arguments.date.unwrap_or(due);
    dates::is_past_or_today(&plan, data_date, &clock)?;
    let day = |date| [(source.id.clone(), date)];
    dates::are_answered_for(&plan, &day(data_date), &day(due), |_| String::new())?;
    // A day that was asked for by name is a day by itself: what is new since is not part of it.
    let reach = if data_date == due { Reach::Forward } else { Reach::ByDay };
    let order = FetchOrder { data_date, scheduled_at: None, run_id: Uuid::now_v7(), reach };
    let ingest = Ingest::of(RawStore::open(&plan.settings.raw)?, clock, &plan);
    let only = |entity: Option<&EntityId>| {
        entities.is_empty() || entity.is_some_and(|entity| entities.contains(entity))
    };
    let progress = Progress::new();
    let told = |event| progress.show(&RunEvent::Fetch { source_id: &source.id, event });
    let span = tracing::error_span!("run", run = %order.run_id, source = %source.id, %data_date);
    let fetched = ingest.fetch_all(source, &order, &only, &told).instrument(span).await;
    progress.finish();
    let fetched = fetched?;
    let failed = fetched.iter().any(|fetched| match &fetched.outcome {
        Ok(stored) => !stored.manifest.is_accepted(),
        Err(_) => true,
    });
    if arguments.json {
        output::json(&json!({
            "source": source.id, "data_date": data_date, "store": ingest.store().to_string(),
            "fetches": fetched.iter().map(as_json).collect::<Vec<Value>>(),
        }))?;
    } else {
        let store = ingest.store().to_string();
        output::to_stdout(&text(source.id.as_str(), data_date, &store, &fetched))?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn as_json(fetched: &Fetched) -> Value {
    match &fetched.outcome {
        Ok(stored) => json!({
            "entity": fetched.entity, "key": stored.key, "manifest": stored.manifest,
        }),
        Err(error) => json!({
            "entity": fetched.entity, "error": one_line(error), "hint": error.hint(),
        }),
    }
}

fn text(source: &str, data_date: jiff::civil::Date, store: &str, fetched: &[Fetched]) -> String {
    let with_entities = fetched.iter().any(|fetched| fetched.entity.is_some());
    let with_cursor = fetched.iter().any(|fetched| cursor(fetched).is_some());
    let mut header = vec!["outcome", "requests", "pages", "bytes", "rows", "set aside", "changed"];
    if with_entities {
        header.insert(0, "entity");
    }
    if with_cursor {
        header.push("cursor");
    }
    let rows = fetched.iter().map(|fetched| {
        let mut row = vec![String::new(); 7];
        "failed".clone_into(&mut row[0]);
        if let Ok(stored) = &fetched.outcome {
            row = cells(&stored.manifest);
        }
        if with_entities {
            row.insert(0, fetched.entity.as_ref().map(ToString::to_string).unwrap_or_default());
        }
        if with_cursor {
            row.push(cursor(fetched).unwrap_or_default());
        }
        row
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let first = usize::from(with_entities) + 1;
    let numbers: Vec<usize> = (first..first + 5).collect();
    let mut text = format!("{source} {data_date} -> {store}\n\n");
    text.push_str(&output::table(&header, &rows, &numbers));
    text.push('\n');
    let mut accepted = 0;
    for fetched in fetched {
        let entity = fetched.entity.as_ref().map(|entity| format!("{entity}: "));
        let entity = entity.unwrap_or_default();
        match &fetched.outcome {
            Ok(stored) => {
                text.push_str(&format!("{entity}{}\n", stored.key));
                accepted += u64::from(stored.manifest.is_accepted());
                if let Some(reason) = &stored.manifest.reason {
                    text.push_str(&format!("{entity}refused: {reason}\n"));
                }
            }
            Err(error) => {
                text.push_str(&format!("{entity}failed: {}\n", one_line(error)));
                text.push_str(&format!("{entity}hint: {}\n", error.hint()));
            }
        }
    }
    let kept = fetched.iter().any(|fetched| fetched.outcome.is_ok());
    match accepted {
        0 if kept => text.push_str("nothing was accepted; what came is kept as evidence\n"),
        0 => text
            .push_str("nothing was accepted, and nothing of it counts: no manifest was written\n"),
        _ => text.push_str("the next `daymark run` publishes what was accepted\n"),
    }
    text
}

fn cells(manifest: &Manifest) -> Vec<String> {
    let rows = manifest.rows.as_ref();
    vec![
        if manifest.is_accepted() { "accepted" } else { "refused" }.to_owned(),
        manifest.attempts.len().to_string(),
        manifest.pages.len().to_string(),
        output::bytes(manifest.bytes()),
        rows.map(|rows| rows.extracted.to_string()).unwrap_or_default(),
        rows.map(|rows| rows.rejected.to_string()).unwrap_or_default(),
        match (manifest.is_accepted(), manifest.unchanged) {
            (true, true) => "no",
            (true, false) => "yes",
            (false, _) => "",
        }
        .to_owned(),
    ]
}

/// Where the cursor went.
fn cursor(fetched: &Fetched) -> Option<String> {
    let manifest = &fetched.outcome.as_ref().ok()?.manifest;
    match (&manifest.cursor_before, &manifest.cursor) {
        (Some(before), Some(after)) if before != after => Some(format!("{before} -> {after}")),
        (_, Some(after)) => Some(after.clone()),
        (before, None) => before.clone(),
    }
}
