//! `daymark run`: one run now.
//!
//! In: a folder, perhaps a data date and sources. Out: the run's table or JSON. Deliberately absent:
//! the run itself (`crate::run`).

use std::process::ExitCode;

use daymark_ingest::Reach;
use daymark_plan::{Clock, Plan, Source, SourceId};
use daymark_warehouse::ledger::RunKind;
use jiff::civil::Date;

use crate::cli::Run;
use crate::commands;
use crate::failure::Failure;
use crate::output;
use crate::run::{Order, Progress, Runner};

/// Runs once.
pub(crate) async fn run(arguments: &Run) -> Result<ExitCode, Failure> {
    let plan = commands::load(&arguments.folder)?;
    let sources = chosen(&plan, &arguments.sources)?;
    let clock = Clock::System;
    let runner = Runner::new(std::sync::Arc::clone(&plan), clock.clone());
    let due = runner.days_at(clock.now(), sources.iter().copied());
    let days = match arguments.date {
        Some(date) => on_date(&plan, &sources, date, &clock)?,
        None => due.clone(),
    };
    if !arguments.as_of_now {
        answer_for_their_days(&plan, &days, &due)?;
    }
    // A day that was asked for by name is a day by itself: what is new since is not part of it.
    let reach = if days == due { Reach::Forward } else { Reach::ByDay };
    let order = Order { kind: RunKind::Manual, scheduled_at: None, days, reach };
    let progress = Progress::new();
    let done = runner.execute(&order, &|event| progress.show(&event)).await;
    progress.finish();
    runner.close().await;
    let report = done?;
    if arguments.json {
        output::json(&report)?;
    } else {
        output::to_stdout(&report.text())?;
    }
    Ok(if report.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Refuses days that the API of a source knows nothing of: one that is not told the day answers as of
/// now, and its answer would stand in the raw store as that of another day.
fn answer_for_their_days(
    plan: &Plan,
    days: &[(SourceId, Date)],
    due: &[(SourceId, Date)],
) -> Result<(), Failure> {
    let of_now: Vec<&(SourceId, Date)> = days
        .iter()
        .filter(|day| !due.contains(day))
        .filter(|(id, _)| plan.source(id).is_some_and(|source| !source.answers_for_any_date()))
        .collect();
    let Some((_, date)) = of_now.first() else { return Ok(()) };
    let names: Vec<String> = of_now.iter().map(|(id, _)| format!("`{id}`")).collect();
    let now: Vec<String> = due
        .iter()
        .filter(|(id, _)| of_now.iter().any(|(other, _)| other == id))
        .map(|(id, date)| format!("`{id}` {date}"))
        .collect();
    let (are, answers) =
        if names.len() == 1 { ("is", "its API answers") } else { ("are", "their APIs answer") };
    Err(Failure::usage(
        format!(
            "{} {are} asked without a date, so {answers} as of now and not for {date}",
            names.join(" and ")
        ),
        format!(
            "write `{{{{ data_date }}}}` into `[request]` where the API takes a date; choose other sources with \
             `--source`; leave `--date` away for the days that are due now ({}); or keep what the API \
             answers now as the answer for {date}, with `--as-of-now`",
            now.join(", ")
        ),
    ))
}

/// The sources named, or all.
fn chosen<'p>(plan: &'p Plan, names: &[String]) -> Result<Vec<&'p Source>, Failure> {
    if names.is_empty() {
        return Ok(plan.sources.iter().collect());
    }
    let mut sources = Vec::new();
    for name in names {
        let source = SourceId::new(name).and_then(|id| plan.source(&id)).ok_or_else(|| {
            let ids = plan.sources.iter().map(|source| source.id.as_str());
            Failure::usage(
                format!("the pipeline has no source `{name}`"),
                daymark_plan::did_you_mean(name, ids),
            )
        })?;
        if !sources.iter().any(|chosen: &&Source| chosen.id == source.id) {
            sources.push(source);
        }
    }
    Ok(sources)
}

fn on_date(
    plan: &Plan,
    sources: &[&Source],
    date: Date,
    clock: &Clock,
) -> Result<Vec<(SourceId, Date)>, Failure> {
    let today = clock.now().to_zoned(plan.settings.zone.clone()).date();
    if date > today {
        return Err(Failure::usage(
            format!("the data date {date} is in the future"),
            format!("today is {today} in {}", plan.settings.zone_name),
        ));
    }
    if date.year() < 1 {
        return Err(Failure::usage(
            format!("the data date {date} is before year 1"),
            "give a date YYYY-MM-DD",
        ));
    }
    Ok(sources.iter().map(|source| (source.id.clone(), date)).collect())
}
