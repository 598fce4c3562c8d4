//! `daymark restatements`: what sources changed of what they had said.
//!
//! In: perhaps a table and a day. Out: a table or JSON. Deliberately absent: finding them; a publish
//! records them in its own transaction.

use std::process::ExitCode;

use daymark_plan::Clock;
use daymark_warehouse::{Reader, Warehouse};

use crate::cli::Restatements;
use crate::commands;
use crate::failure::Failure;
use crate::output;

/// Shows the restatements.
pub(crate) async fn restatements(arguments: &Restatements) -> Result<ExitCode, Failure> {
    let plan = commands::load(&arguments.folder)?;
    if let Some(table) = &arguments.table
        && !plan.models.iter().any(|model| model.table == *table)
    {
        let tables = plan.models.iter().map(|model| model.table.as_str());
        return Err(Failure::usage(
            format!("no model makes the table `{table}`"),
            daymark_plan::did_you_mean(table, tables),
        ));
    }
    let since = commands::beginning_of(&plan, arguments.since)?;
    let warehouse = Warehouse::open(&plan).await?;
    let reader = Reader::new(warehouse.clone(), Clock::System);
    let result = reader.restatements(arguments.table.as_deref(), since).await;
    warehouse.close().await;
    let table = result?.map_err(|error| Failure::failed(anyhow::Error::new(error), None))?;
    if arguments.json {
        output::to_stdout(&table.json().map_err(|error| Failure::failed(error, None))?)?;
    } else {
        output::to_stdout(&commands::sql::text(&table))?;
    }
    Ok(ExitCode::SUCCESS)
}
