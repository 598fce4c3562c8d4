//! `daymark cursor`: how far incremental sources have been read.
//!
//! In: sources and entities. Out: where their cursors stand and who put them there; or a cursor set by
//! hand, which is an object of the raw store with its reason. Deliberately absent: the database.

use std::process::ExitCode;

use daymark_ingest::{CursorPosition, RawStore};
use daymark_plan::{Clock, EntityId, Incremental, Moment, Plan, Source};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::{Timestamp, Zoned};
use serde_json::{Value, json};

use crate::cli::{CursorCommand, CursorSet, CursorShow};
use crate::commands;
use crate::failure::Failure;
use crate::output;

/// How many cursors are looked up at once.
const AT_ONCE: usize = 16;

/// Shows or sets cursors.
pub(crate) async fn cursor(command: &CursorCommand) -> Result<ExitCode, Failure> {
    match command {
        CursorCommand::Show(arguments) => show(arguments).await,
        CursorCommand::Set(arguments) => set(arguments).await,
    }
}

/// A cursor of a source's entity.
struct Standing<'s> {
    source: &'s Source,
    incremental: &'s Incremental,
    entity: Option<EntityId>,
    position: Option<CursorPosition>,
}

async fn show(arguments: &CursorShow) -> Result<ExitCode, Failure> {
    let plan = commands::load(&arguments.folder)?;
    let sources: Vec<&Source> = match &arguments.source {
        Some(name) => {
            let source = commands::source(&plan, name)?;
            incremental(source)?;
            vec![source]
        }
        None => plan.sources.iter().filter(|source| source.incremental.is_some()).collect(),
    };
    let store = RawStore::open_to_read(&plan.settings.raw)?;
    let now = Clock::System.now();
    let mut wanted = Vec::new();
    for source in sources {
        let entities = match &arguments.entity {
            Some(name) => vec![Some(commands::entity(source, name)?)],
            None => source.entity_ids(),
        };
        let incremental = incremental(source)?;
        wanted.extend(entities.into_iter().map(|entity| (source, incremental, entity)));
    }
    let looking = wanted.into_iter().map(|(source, incremental, entity)| {
        let store = &store;
        async move {
            let position = daymark_ingest::cursor(store, &source.id, entity.as_ref(), now).await?;
            Ok::<_, Failure>(Standing { source, incremental, entity, position })
        }
    });
    let standing: Vec<Standing<'_>> = stream::iter(looking).buffered(AT_ONCE).try_collect().await?;
    if arguments.json {
        let cursors: Vec<Value> = standing.iter().map(as_json).collect();
        output::json(&cursors)?;
    } else if standing.is_empty() {
        output::to_stdout("no source of the pipeline is incremental\n")?;
    } else {
        output::to_stdout(&text(&plan, &standing))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(standing: &Standing<'_>) -> Value {
    let position = standing.position.as_ref();
    json!({
        "source": standing.source.id,
        "entity": standing.entity,
        "type": standing.incremental.cursor_type,
        "cursor": position.map_or(&standing.incremental.initial, |position| &position.cursor),
        "since": position.map(|position| position.since),
        "key": position.map(|position| &position.key),
        "set_by_hand": position.and_then(|position| position.set_by_hand.as_ref()),
    })
}

fn text(plan: &Plan, all: &[Standing<'_>]) -> String {
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|standing| {
            let entity = standing.entity.as_ref().map(ToString::to_string).unwrap_or_default();
            let mut row = vec![standing.source.id.to_string(), entity];
            row.extend(match &standing.position {
                None => [
                    standing.incremental.initial.clone(),
                    String::new(),
                    format!("`initial` of {}; nothing was fetched yet", standing.source.file),
                ],
                Some(position) => [
                    position.cursor.clone(),
                    local(plan, position.since),
                    match &position.set_by_hand {
                        Some(why) => format!("set by hand: {}", output::cut(why, 80)),
                        None => position.key.clone(),
                    },
                ],
            });
            row
        })
        .collect();
    output::table(&["source", "entity", "cursor", "since", "by"], &rows, &[])
}

/// An instant on the pipeline's clock.
fn local(plan: &Plan, at: Timestamp) -> String {
    at.to_zoned(plan.settings.zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

async fn set(arguments: &CursorSet) -> Result<ExitCode, Failure> {
    let plan = commands::load(&arguments.folder)?;
    let source = commands::source(&plan, &arguments.source)?;
    let incremental = incremental(source)?;
    let (value, why) = (arguments.value.as_str(), arguments.why.trim());
    if incremental.cursor_type.read(value).is_none() || value.is_empty() {
        return Err(Failure::usage(
            format!("`{value}` is no cursor of `{}`", source.id),
            format!("accepted: {}", incremental.cursor_type.example()),
        ));
    }
    if why.is_empty() {
        return Err(Failure::usage(
            "the reason is empty",
            "say with `--why` why the cursor is set; it is kept beside it",
        ));
    }
    let entity = match &arguments.entity {
        Some(name) => Some(commands::entity(source, name)?),
        None if source.entities.rows.is_empty() => None,
        None => {
            let first = source.entities.rows.first().map(|entity| entity.id.to_string());
            return Err(Failure::usage(
                format!("`{}` has a cursor for each of its entities", source.id),
                format!("name one, such as `--entity {}`", first.unwrap_or_default()),
            ));
        }
    };
    let store = RawStore::open(&plan.settings.raw)?;
    let now = Clock::System.now();
    let before = daymark_ingest::cursor(&store, &source.id, entity.as_ref(), now).await?;
    let before = before.map_or_else(|| incremental.initial.clone(), |position| position.cursor);
    if is_ahead(incremental, value, &now.to_zoned(plan.settings.zone.clone())) {
        output::to_stderr(&format!(
            "warning: {value} is in the future: the source is asked for nothing that is older\n"
        ));
    }
    let key =
        daymark_ingest::set_cursor(&store, &source.id, entity.as_ref(), value, why, now).await?;
    if arguments.json {
        output::json(&json!({
            "source": source.id, "entity": entity, "before": before, "cursor": value, "key": key,
        }))?;
    } else {
        let entity = entity.map(|entity| format!(" {entity}")).unwrap_or_default();
        let (id, lag) = (&source.id, if incremental.lag.is_some() { ", less its lag" } else { "" });
        output::to_stdout(&format!(
            "{id}{entity}: {before} -> {value}\n{key}\nthe next fetch asks from there on{lag}\n"
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether a cursor is later than now. Forecasts have such cursors; else it is a slip of the pen.
fn is_ahead(incremental: &Incremental, value: &str, now: &Zoned) -> bool {
    match incremental.cursor_type.read(value) {
        Some(Moment::Instant(at)) => at > now.timestamp(),
        Some(Moment::Date(date)) => date > now.date(),
        Some(Moment::Text(_)) | None => false,
    }
}

/// The `[incremental]` of a source that has one.
fn incremental(source: &Source) -> Result<&Incremental, Failure> {
    source.incremental.as_ref().ok_or_else(|| {
        Failure::usage(
            format!("`{}` has no cursor: it is asked for everything each time", source.id),
            format!("`[incremental]` in {} makes a source incremental", source.file),
        )
    })
}
