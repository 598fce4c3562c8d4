//! `daymark sql`: a read-only question to the warehouse.
//!
//! In: a query. Out: a table, JSON or CSV. Deliberately absent: writing; the transaction is read-only.

use std::process::ExitCode;

use daymark_plan::Clock;
use daymark_warehouse::{ColumnKind, ResultTable, Warehouse};
use serde_json::{Map, Value};

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
        output::json(&objects(&table));
    } else if arguments.csv {
        output::to_stdout(&csv_text(&table)?);
    } else {
        output::to_stdout(&text(&table));
    }
    Ok(ExitCode::SUCCESS)
}

fn objects(table: &ResultTable) -> Vec<Map<String, Value>> {
    let object = |row: &Vec<Value>| {
        table.columns.iter().map(|column| column.name.clone()).zip(row.iter().cloned()).collect()
    };
    table.rows.iter().map(object).collect()
}

fn csv_text(table: &ResultTable) -> Result<String, Failure> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header = table.columns.iter().map(|column| column.name.as_str());
    let written = writer.write_record(header).and_then(|()| {
        table.rows.iter().try_for_each(|row| writer.write_record(row.iter().map(cell)))
    });
    written.map_err(anyhow::Error::new)?;
    let bytes = writer.into_inner().map_err(|error| anyhow::Error::new(error.into_error()))?;
    Ok(String::from_utf8(bytes).map_err(anyhow::Error::new)?)
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
