//! `daymark drift`: what sources changed about the shape of their responses.
//!
//! In: perhaps a source and a day. Out: a table or JSON. Deliberately absent: finding it; a publish compares
//! each response with those before it.

use std::process::ExitCode;

use daymark_plan::Clock;
use daymark_warehouse::{Reader, Warehouse};

use crate::cli::Drift;
use crate::commands;
use crate::failure::Failure;
use crate::output;

/// Shows what changed.
pub(crate) async fn drift(arguments: &Drift) -> Result<ExitCode, Failure> {
    let plan = commands::load(&arguments.folder)?;
    if let Some(source) = &arguments.source {
        commands::source(&plan, source)?;
    }
    let since = commands::beginning_of(&plan, arguments.since)?;
    let warehouse = Warehouse::open(&plan).await?;
    let reader = Reader::new(warehouse.clone(), Clock::System);
    let result = reader.drift(arguments.source.as_deref(), since).await;
    warehouse.close().await;
    let table = result?.map_err(|error| Failure::failed(anyhow::Error::new(error), None))?;
    if arguments.json {
        output::to_stdout(&table.json().map_err(|error| Failure::failed(error, None))?)?;
    } else if table.rows.is_empty() {
        output::to_stdout("no response has had another shape than those before it\n")?;
    } else {
        output::to_stdout(&commands::sql::text(&table))?;
    }
    Ok(ExitCode::SUCCESS)
}
