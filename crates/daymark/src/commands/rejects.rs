//! `daymark rejects`: the rows that were set aside, and why.
//!
//! In: perhaps a source, a table, a day. Out: counts, rows, or a file's worth of them. Deliberately absent:
//! setting rows aside; extraction and `reject` checks do, and a publish records it.

use std::process::ExitCode;

use daymark_plan::{Clock, Plan};
use daymark_warehouse::{QueryError, Reader, RejectFilter, ResultTable, Warehouse, WarehouseError};
use futures::future::BoxFuture;

use crate::cli::{RejectsCommand, RejectsFilter};
use crate::commands;
use crate::failure::Failure;
use crate::output;

/// How many rows `show` shows.
const SHOWN: u32 = 50;

/// How many rows `export` has in memory.
const AT_ONCE: u32 = 1000;

/// Lists, shows or exports.
pub(crate) async fn rejects(command: &RejectsCommand) -> Result<ExitCode, Failure> {
    match command {
        RejectsCommand::List(arguments) => {
            let table = read(&arguments.filter, |reader, filter| {
                Box::pin(async move { told(reader.reject_counts(filter).await) })
            });
            let table = table.await?;
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
            let table = read(&arguments.filter, |reader, filter| {
                Box::pin(async move { told(reader.rejects(filter, None, SHOWN).await) })
            });
            let (table, more) = table.await?;
            if arguments.json {
                return in_json(&table);
            }
            output::to_stdout(&commands::sql::text(&table))?;
            if more.is_some() {
                output::to_stdout("these are the newest; `daymark rejects export` gives all\n")?;
            }
        }
        RejectsCommand::Export(arguments) => {
            let csv = arguments.csv;
            let exported =
                read(&arguments.filter, |reader, filter| Box::pin(export(reader, filter, csv)));
            exported.await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes all rows, a page at a time.
async fn export(reader: &Reader, filter: &RejectFilter, csv: bool) -> Result<(), Failure> {
    let mut before = None;
    loop {
        let (table, next) = told(reader.rejects(filter, before, AT_ONCE).await)?;
        if csv {
            let text = table.csv();
            // The header stands before the first page.
            let rows = text.split_once('\n').map_or("", |(_, rows)| rows);
            output::to_stdout(if before.is_none() { &text } else { rows })?;
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
        if next.is_none() {
            return Ok(());
        }
        before = next;
    }
}

/// What a query gave, or why it gave nothing.
fn told<T>(result: Result<Result<T, QueryError>, WarehouseError>) -> Result<T, Failure> {
    result?.map_err(|error| Failure::failed(anyhow::Error::new(error), None))
}

/// Asks the warehouse about the rejects that are wanted.
async fn read<T>(
    arguments: &RejectsFilter,
    ask: impl for<'a> FnOnce(&'a Reader, &'a RejectFilter) -> BoxFuture<'a, Result<T, Failure>>,
) -> Result<T, Failure> {
    let plan = commands::load(&arguments.folder)?;
    let filter = filter(arguments, &plan)?;
    let warehouse = Warehouse::open(&plan).await?;
    let reader = Reader::new(warehouse.clone(), Clock::System);
    let result = ask(&reader, &filter).await;
    warehouse.close().await;
    result
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
