//! `daymark run`: one run now.
//!
//! In: a folder, perhaps a data date and sources. Out: the run's table or JSON. Deliberately absent:
//! the run itself (`crate::run`).

use std::process::ExitCode;

use daymark_ingest::Reach;
use daymark_plan::{Clock, Plan, Source, SourceId};
use daymark_warehouse::ledger::RunKind;

use crate::alerts::{self, Ran};
use crate::cli::Run;
use crate::commands;
use crate::failure::Failure;
use crate::output;
use crate::run::{Order, Progress, Runner, dates};

/// Runs once.
pub(crate) async fn run(arguments: &Run) -> Result<ExitCode, Failure> {
    let plan = commands::load(&arguments.folder)?;
    let sources = chosen(&plan, &arguments.sources)?;
    let clock = Clock::System;
    let runner = Runner::new(std::sync::Arc::clone(&plan), clock.clone());
    let due = runner.days_at(clock.now(), sources.iter().copied());
    let days = match arguments.date {
        Some(date) => {
            dates::is_past_or_today(&plan, date, &clock)?;
            sources.iter().map(|source| (source.id.clone(), date)).collect()
        }
        None => due.clone(),
    };
    if !arguments.as_of_now {
        dates::are_answered_for(&plan, &days, &due, |date| {
            format!(
                "; choose other sources with `--source`; or keep what the API answers now as the \
                 answer for {date}, with `--as-of-now`"
            )
        })?;
    }
    // A day that was asked for by name is a day by itself: what is new since is not part of it.
    let reach = if days == due { Reach::Forward } else { Reach::ByDay };
    let order =
        Order { kind: RunKind::Manual, scheduled_at: None, days, reach, claim: None, pace: None };
    let progress = Progress::new();
    alerts::before_run(&plan).await;
    let done = runner.execute(&order, &|event| progress.show(&event)).await;
    progress.finish();
    alerts::after_run(&plan, &runner, &clock, &Ran::of(&done)).await;
    runner.close().await;
    let report = done?;
    if arguments.json {
        output::json(&report)?;
    } else {
        output::to_stdout(&report.text())?;
    }
    let ids: Vec<&SourceId> = sources.iter().map(|source| &source.id).collect();
    let failed = if arguments.sources.is_empty() {
        report.has_failed()
    } else {
        report.has_failed_for(&ids)
    };
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
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
