//! `daymark validate`: all problems of a pipeline folder.
//!
//! In: a folder. Out: every problem with file and line, or a summary of what the folder holds.
//! Deliberately absent: the database (`validate --database` is a later issue).

use std::process::ExitCode;

use daymark_plan::PlanError;
use serde_json::json;

use crate::cli::Validate;
use crate::commands;
use crate::failure::Failure;
use crate::output;

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
    let names =
        |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let sources: Vec<&str> = plan.sources.iter().map(|source| source.id.as_str()).collect();
    let models: Vec<&str> = plan.models.iter().map(|model| model.table.as_str()).collect();
    let marts: Vec<&str> = plan.marts.iter().map(|mart| mart.name.as_str()).collect();
    let pages: Vec<&str> = plan.pages.iter().map(|page| page.name.as_str()).collect();
    if arguments.json {
        output::json(&json!({
            "valid": true, "problems": [], "pipeline": plan.name,
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
    }
    Ok(ExitCode::SUCCESS)
}
