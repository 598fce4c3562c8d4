//! `daymark days`: the days of the sources, one on a line.
//!
//! In: a folder, perhaps a source, a range, states. Out: days with their states, as text or JSON. Deliberately
//! absent: changing anything.

use std::process::ExitCode;

use daymark_plan::{Clock, Plan};
use daymark_warehouse::{Day, Reader, SourceDays, Warehouse};
use jiff::ToSpan;
use jiff::civil::Date;
use serde::Serialize;

use crate::cli::Days;
use crate::commands;
use crate::failure::Failure;
use crate::output;

/// How many days are shown when nothing is said.
const SHOWN: i64 = 30;

/// A day with its source.
#[derive(Debug, Serialize)]
struct Line<'d> {
    source: &'d str,
    #[serde(flatten)]
    day: &'d Day,
}

/// Shows the days.
pub(crate) async fn days(arguments: &Days) -> Result<ExitCode, Failure> {
    let plan = commands::load(&arguments.folder)?;
    let only = match &arguments.source {
        Some(name) => Some(commands::source(&plan, name)?.id.clone()),
        None => None,
    };
    let clock = Clock::System;
    let today = clock.now().to_zoned(plan.settings.zone.clone()).date();
    let to = arguments.to.unwrap_or(today);
    let default =
        if arguments.states.is_empty() { to.saturating_sub((SHOWN - 1).days()) } else { Date::MIN };
    let from = arguments.from.unwrap_or(default);
    if from > to {
        return Err(Failure::usage(
            format!("`--from {from}` is after the last day, {to}"),
            "give a day before it, or a later `--to`",
        ));
    }
    let warehouse = Warehouse::open(&plan).await?;
    let read = Reader::new(warehouse.clone(), clock).days(&plan, from, to).await;
    warehouse.close().await;
    let mut sources = read?;
    sources.retain(|source| only.as_ref().is_none_or(|only| source.source == *only));
    for source in &mut sources {
        source
            .days
            .retain(|day| arguments.states.is_empty() || arguments.states.contains(&day.state));
    }
    let lines = lines(&sources);
    if arguments.json {
        output::json(&lines)?;
    } else {
        output::to_stdout(&text(&plan, &lines, from, to))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// By day, then by source.
fn lines(sources: &[SourceDays]) -> Vec<Line<'_>> {
    let mut lines: Vec<Line<'_>> = sources
        .iter()
        .flat_map(|source| {
            source.days.iter().map(|day| Line { source: source.source.as_str(), day })
        })
        .collect();
    lines.sort_by_key(|line| (line.day.date, line.source));
    lines
}

fn text(plan: &Plan, lines: &[Line<'_>], from: Date, to: Date) -> String {
    if lines.is_empty() {
        let from = if from == Date::MIN { "the first day".to_owned() } else { from.to_string() };
        return format!("no such day from {from} to {to}\n");
    }
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|Line { source, day }| {
            let since = day.since.map(|since| output::local(since, &plan.settings.zone));
            vec![
                day.date.to_string(),
                (*source).to_owned(),
                day.state.to_string(),
                since.unwrap_or_default(),
                day.last_outcome.clone().unwrap_or_default(),
                if day.attempts > 0 { day.attempts.to_string() } else { String::new() },
                day.publish.map(|publish| publish.to_string()).unwrap_or_default(),
                output::cut(day.reason.as_deref().unwrap_or_default(), 100),
            ]
        })
        .collect();
    let header = ["data date", "source", "state", "since", "last", "tries", "publish", "reason"];
    output::table(&header, &rows, &[5, 6])
}
