//! `daymark sql`: a read-only question to the warehouse.
//!
//! In: a query. Out: a table, JSON or CSV. Deliberately absent: writing; the transaction is read-only.

use std::process::ExitCode;

use daymark_plan::Clock;
use daymark_warehouse::{ColumnKind, ResultTable, Warehouse};
use serde_json::Value;

use crate::cli::Sql;
use crate::commands;
use crate::failure::Failure;
use crate::output;

/// Runs the query.
pub(crate) async fn sql(arguments: &Sql) -> Result<ExitCode, Failure> {
    let plan = commands::load(&arguments.folder)?;
    let warehouse = Warehouse::open(&plan).await?;
    let reader = commands::reader(&plan, warehouse.clone(), Clock::System);
    let result = reader.query(&arguments.query).await;
    warehouse.close().await;
    let table = result?.map_err(|error| {
        let place = error.line.map(|line| format!("look at line {line} of the query"));
        Failure::failed(anyhow::anyhow!("the query failed: {error}"), place)
    })?;
    if arguments.json {
        output::to_stdout(&table.json().map_err(|error| Failure::failed(error, None))?)?;
    } else if arguments.csv {
        output::to_stdout(&table.csv())?;
    } else {
        output::to_stdout(&text(&table))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn text(table: &ResultTable) -> String {
    let header: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
    let rows: Vec<Vec<String>> =
        table.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
    let numbers: Vec<usize> = table
        .columns
        .iter()
        .enumerate()
        .filter(|(_, column)| column.kind == ColumnKind::Number)
        .map(|(index, _)| index)
        .collect();
    let count = rows.len();
    let noun = if count == 1 { "row" } else { "rows" };
    format!("{}({count} {noun})\n", output::table(&header, &rows, &numbers))
}

/// A value as people read it; null is empty.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
