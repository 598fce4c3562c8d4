//! `daymark sql`: a read-only question to the warehouse.
//!
//! In: a query. Out: a table, JSON or CSV. Deliberately absent: writing; the transaction is read-only.

use std::process::ExitCode;

use daymark_plan::{Clock, Plan};
use daymark_warehouse::{ColumnKind, Reader, ResultTable, Warehouse};
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use serde_json::Value;

use crate::cli::Sql;
use crate::commands;
use crate::failure::Failure;
use crate::output;

/// Runs the query.
pub(crate) async fn sql(arguments: &Sql) -> Result<ExitCode, Failure> {
    let plan = commands::load(&arguments.folder)?;
    let as_of = arguments.as_of.as_deref().map(|word| instant(word, &plan)).transpose()?;
    let warehouse = Warehouse::open(&plan).await?;
    let reader = Reader::new(warehouse.clone(), Clock::System);
    let result = match as_of {
        Some(at) => reader.query_as_of(&plan, &arguments.query, at).await,
        None => reader.query(&arguments.query).await,
    };
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

/// The instant of `--as-of`: a date is its end.
fn instant(word: &str, plan: &Plan) -> Result<Timestamp, Failure> {
    if let Ok(at) = word.parse::<Timestamp>() {
        return Ok(at);
    }
    let end = word.parse::<Date>().ok().and_then(|date| {
        let start = date.tomorrow().ok()?.to_zoned(plan.settings.zone.clone()).ok()?;
        start.timestamp().checked_sub(1.microsecond()).ok()
    });
    end.ok_or_else(|| {
        Failure::usage(
            format!("`--as-of {word}` is no time"),
            "give a date (2026-03-02) or an instant (2026-03-02T08:00:00Z)",
        )
    })
}

pub(crate) fn text(table: &ResultTable) -> String {
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
