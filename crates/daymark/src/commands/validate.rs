//! `daymark validate`: all problems of a pipeline folder.
//!
//! In: a folder. Out: every problem with file and line, or a summary of what the folder holds. With
//! `--database` PostgreSQL judges the SQL as well, in a database of its own that is empty and is removed.
//! Deliberately absent: the pipeline's own database.

use std::process::ExitCode;

use daymark_plan::{Clock, ModelTest, Plan, PlanError, Problem};
use daymark_warehouse::{Scratch, contract};
use jiff::{Timestamp, ToSpan};
use serde_json::json;
use tempfile::TempDir;

use crate::cli::Validate;
use crate::commands;
use crate::failure::Failure;
use crate::output;

/// How many days ahead a calendar should reach.
const AHEAD: i64 = 90;

/// Checks the folder.
pub(crate) async fn validate(arguments: &Validate) -> Result<ExitCode, Failure> {
    let folder = &arguments.folder.path;
    let plan = match commands::load(&arguments.folder) {
        Ok(plan) => plan,
        Err(PlanError::Problems { mut problems, .. }) => {
            // What the tests name cannot be looked up; their form can.
            problems.extend(daymark_plan::model_tests(folder, None).err().unwrap_or_default());
            problems.sort();
            return refuse(arguments, problems);
        }
        Err(error) => return Err(error.into()),
    };
    let mut problems = over(&plan, Clock::System.now());
    let tests = daymark_plan::model_tests(folder, Some(&plan)).unwrap_or_else(|of_tests| {
        problems.extend(of_tests);
        Vec::new()
    });
    if arguments.database {
        problems.extend(judge(&plan).await?);
    }
    if !problems.is_empty() {
        problems.sort();
        return refuse(arguments, problems);
    }
    tell(arguments, &plan, &tests)
}

fn refuse(arguments: &Validate, problems: Vec<Problem>) -> Result<ExitCode, Failure> {
    if arguments.json {
        output::json(&json!({ "valid": false, "problems": problems }))?;
        return Ok(ExitCode::from(2));
    }
    Err(PlanError::Problems { folder: arguments.folder.path.clone(), problems }.into())
}

/// What PostgreSQL says of the folder's SQL.
async fn judge(plan: &Plan) -> Result<Vec<Problem>, Failure> {
    let directory = TempDir::with_prefix("daymark-validate-").map_err(anyhow::Error::new)?;
    let scratch = Scratch::open(plan, &directory.path().join("postgres")).await?;
    let judged = async {
        let mut session = scratch.session().await?;
        contract::judge(&mut session, plan, &daymark_web::page_queries(plan)).await
    };
    let judged = judged.await;
    scratch.close().await;
    Ok(judged?)
}

fn tell(arguments: &Validate, plan: &Plan, tests: &[ModelTest]) -> Result<ExitCode, Failure> {
    let warnings = unknown(plan, Clock::System.now());
    let names =
        |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let sources: Vec<&str> = plan.sources.iter().map(|source| source.id.as_str()).collect();
    let models: Vec<&str> = plan.models.iter().map(|model| model.table.as_str()).collect();
    let marts: Vec<&str> = plan.marts.iter().map(|mart| mart.name.as_str()).collect();
    let pages: Vec<&str> = plan.pages.iter().map(|page| page.name.as_str()).collect();
    let tests: Vec<&str> = tests.iter().map(|test| test.name.as_str()).collect();
    if arguments.json {
        output::json(&json!({
            "valid": true, "problems": [], "warnings": warnings, "pipeline": plan.name,
            "sources": sources, "models": models, "marts": marts, "pages": pages, "tests": tests,
        }))?;
    } else {
        output::to_stdout(&format!(
            "the pipeline `{}` is valid\n  sources: {}\n  models:  {}\n  marts:   {}\n  pages:   {}\n  \
             tests:   {}\n",
            plan.name,
            names(sources),
            names(models),
            names(marts),
            names(pages),
            names(tests),
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
