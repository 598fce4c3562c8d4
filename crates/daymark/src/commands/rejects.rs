//! `daymark rejects`: the rows that were set aside, and why.
//!
//! In: perhaps a source, a table, a day. Out: counts, rows, or a file's worth of them. Deliberately absent:
//! setting rows aside; extraction and `reject` checks do, and a publish records it.

use std::process::ExitCode;

use daymark_plan::{Clock, Plan};
use daymark_warehouse::{Reader, RejectFilter, ResultTable, Warehouse};

use crate::cli::{RejectsCommand, RejectsFilter};
use crate::commands;
use crate::failure::Failure;
use crate::output;

/// How many rows `show` shows.
const SHOWN: u32 = 50;

/// Lists, shows or exports.
pub(crate) async fn rejects(command: &RejectsCommand) -> Result<ExitCode, Failure> {
    match command {
        RejectsCommand::List(arguments) => {
            let table = read(&arguments.filter, Wanted::Counts).await?;
            if arguments.json {
                return in_json(&table);
            }
            if table.rows.is_empty() {
                output::to_stdout("no row was set aside\n")?;
            } else {
                output::to_stdout(&commands::sql::text(&table))?;
            }
        }
        RejectsCommand::Show(arguments) => {
            let table = read(&arguments.filter, Wanted::Rows(Some(SHOWN))).await?;
            if arguments.json {
                return in_json(&table);
            }
            output::to_stdout(&commands::sql::text(&table))?;
            if table.rows.len() >= usize::try_from(SHOWN).unwrap_or(usize::MAX) {
                output::to_stdout("these are the newest; `daymark rejects export` gives all\n")?;
            }
        }
        RejectsCommand::Export(arguments) => {
            let table = read(&arguments.filter, Wanted::Rows(None)).await?;
            if arguments.csv {
                output::to_stdout(&table.csv())?;
            } else {
                let objects = table
                    .objects()
                    .map_err(|error| Failure::failed(anyhow::Error::new(error), None))?;
                let lines: Vec<String> = objects
                    .into_iter()
                    .map(|object| format!("{}\n", serde_json::Value::from(object)))
                    .collect();
                output::to_stdout(&lines.concat())?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

enum Wanted {
    Counts,
    Rows(Option<u32>),
}

async fn read(arguments: &RejectsFilter, wanted: Wanted) -> Result<ResultTable, Failure> {
    let plan = commands::load(&arguments.folder)?;
    let filter = filter(arguments, &plan)?;
    let warehouse = Warehouse::open(&plan).await?;
    let reader = Reader::new(warehouse.clone(), Clock::System);
    let result = match wanted {
        Wanted::Counts => reader.reject_counts(&filter).await,
        Wanted::Rows(limit) => reader.rejects(&filter, limit).await,
    };
    warehouse.close().await;
    result?.map_err(|error| Failure::failed(anyhow::Error::new(error), None))
}

fn filter(arguments: &RejectsFilter, plan: &Plan) -> Result<RejectFilter, Failure> {
    if let Some(name) = &arguments.source {
        commands::source(plan, name)?;
    }
    if let Some(table) = &arguments.table
        && !plan.models.iter().any(|model| model.table == *table)
    {
        let tables = plan.models.iter().map(|model| model.table.as_str());
        return Err(Failure::usage(
            format!("no model makes the table `{table}`"),
            daymark_plan::did_you_mean(table, tables),
        ));
    }
    Ok(RejectFilter {
        source: arguments.source.clone(),
        table: arguments.table.clone(),
        since: arguments.since,
    })
}

fn in_json(table: &ResultTable) -> Result<ExitCode, Failure> {
    output::to_stdout(&table.json().map_err(|error| Failure::failed(error, None))?)?;
    Ok(ExitCode::SUCCESS)
}
