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
    for warning in answers_of_now(&plan, &days, &due) {
        output::to_stderr(&format!("warning: {warning}\n"));
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

/// Days that are asked of sources whose API only answers as of now.
fn answers_of_now(plan: &Plan, days: &[(SourceId, Date)], due: &[(SourceId, Date)]) -> Vec<String> {
    let asked = days.iter().filter(|day| !due.contains(day));
    let of_now = asked
        .filter(|(id, _)| plan.source(id).is_some_and(|source| !source.answers_for_any_date()));
    of_now
        .map(|(id, date)| {
            format!(
                "`{id}` is not told a date, so its answer is as of now; it is kept as the answer for \
                 {date} (`{{{{ data_date }}}}` in `[request]` tells it)"
            )
        })
        .collect()
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
            format!("today is {today} in {}", plan.settings.schedule.zone_name),
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
