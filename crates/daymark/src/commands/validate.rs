//! `daymark validate`: all problems of a pipeline folder.
//!
//! In: a folder. Out: every problem with file and line, or a summary of what the folder holds.
//! Deliberately absent: the database (`validate --database` is a later issue).

use std::process::ExitCode;

use daymark_plan::{Clock, Plan, PlanError, Problem};
use jiff::{Timestamp, ToSpan};
use serde_json::json;

use crate::cli::Validate;
use crate::commands;
use crate::failure::Failure;
use crate::output;

/// How many days ahead a calendar should reach.
const AHEAD: i64 = 90;

/// Checks the folder.
pub(crate) fn validate(arguments: &Validate) -> Result<ExitCode, Failure> {
    let plan = match commands::load(&arguments.folder) {
        Ok(plan) => plan,
        Err(PlanError::Problems { problems, .. }) if arguments.json => {
            output::json(&json!({ "valid": false, "problems": problems }))?;
            return Ok(ExitCode::from(2));
        }
        Err(error) => return Err(error.into()),
    };
    let over = over(&plan, Clock::System.now());
    if !over.is_empty() {
        if arguments.json {
            output::json(&json!({ "valid": false, "problems": over }))?;
            return Ok(ExitCode::from(2));
        }
        return Err(
            PlanError::Problems { folder: arguments.folder.path.clone(), problems: over }.into()
        );
    }
    let warnings = unknown(&plan, Clock::System.now());
    let names =
        |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let sources: Vec<&str> = plan.sources.iter().map(|source| source.id.as_str()).collect();
    let models: Vec<&str> = plan.models.iter().map(|model| model.table.as_str()).collect();
    let marts: Vec<&str> = plan.marts.iter().map(|mart| mart.name.as_str()).collect();
    let pages: Vec<&str> = plan.pages.iter().map(|page| page.name.as_str()).collect();
    if arguments.json {
        output::json(&json!({
            "valid": true, "problems": [], "warnings": warnings, "pipeline": plan.name,
            "sources": sources, "models": models, "marts": marts, "pages": pages,
        }))?;
    } else {
        output::to_stdout(&format!(
            "the pipeline `{}` is valid\n  sources: {}\n  models:  {}\n  marts:   {}\n  pages:   {}\n",
            plan.name,
            names(sources),
            names(models),
            names(marts),
            names(pages),
        ))?;
        for warning in warnings {
            output::to_stdout(&format!("warning: {warning}\n"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The days the calendars do not know, from each source's `start`, or today, to a season ahead.
fn unknown(plan: &Plan, now: Timestamp) -> Vec<String> {
    let today = now.to_zoned(plan.settings.zone.clone()).date();
    let to = today.saturating_add(AHEAD.days());
    let gaps = plan.sources.iter().filter_map(|source| {
        let from = source.start.map_or(today, |start| start.min(today));
        Some(format!("{}: {}", source.file, source.calendar.gap(from, to)?))
    });
    gaps.collect()
}

/// The schedules whose last fire has passed: legal, but no reason to have one.
fn over(plan: &Plan, now: Timestamp) -> Vec<Problem> {
    let own =
        plan.sources.iter().filter_map(|source| Some((&source.file, source.schedule.as_ref()?)));
    let file = "daymark.toml".to_owned();
    std::iter::once((&file, &plan.settings.schedule))
        .chain(own)
        .filter(|(_, schedule)| schedule.next_after(now).is_none())
        .map(|(file, schedule)| {
            let last =
                schedule.last_at_or_before(now).map(|at| format!(": its last time was {at}"));
            let last = last.unwrap_or_default();
            let message =
                format!("`schedule` is `{}`, which never fires again{last}", schedule.text);
            Problem::new(file, 0, message).hint("give a year or an end that is still to come")
        })
        .collect()
}
