//! `daymark plan`: what the folder's contracts would change in the database.
//!
//! In: a folder. Out: the DDL, the rows it touches and what it needs; with `--apply` it is done; and the days
//! that older files published.
//! Deliberately absent: the values of old rows in new columns, which `daymark rebuild` brings.

use std::process::ExitCode;

use daymark_plan::Clock;
use daymark_warehouse::contract::{self, Change, Mode, Needs, Prepared};
use daymark_warehouse::{Reader, Warehouse};
use serde_json::json;

use crate::cli::PlanArguments;
use crate::commands;
use crate::failure::Failure;
use crate::output;

/// Shows or makes the changes.
pub(crate) async fn plan(arguments: &PlanArguments) -> Result<ExitCode, Failure> {
    let plan = commands::load(&arguments.folder)?;
    let mode = if arguments.apply {
        Mode::Apply { allow_data_loss: arguments.allow_data_loss }
    } else {
        Mode::Show
    };
    let warehouse = Warehouse::open(&plan).await?;
    let compared = async {
        let mut session = warehouse.session("comparing contracts").await?;
        let prepared = contract::prepare(&mut session, &plan, mode).await?;
        drop(session);
        let reader = Reader::new(warehouse.clone(), Clock::System);
        Ok::<_, Failure>((prepared, reader.older_days(&plan).await?))
    };
    let compared = compared.await;
    warehouse.close().await;
    let (prepared, older) = compared?;
    let refused: Vec<String> = prepared
        .refused
        .sources
        .values()
        .chain(&prepared.refused.marts)
        .map(daymark_warehouse::Failure::with_hint)
        .collect();
    if arguments.json {
        output::json(&json!({
            "applied": arguments.apply && refused.is_empty(),
            "changes": prepared.changes,
            "older": older,
            "refused": refused,
        }))?;
    } else {
        let mut told = text(&prepared, arguments.apply && refused.is_empty());
        for older in &older {
            told.push_str(&format!("{older}\n"));
        }
        output::to_stdout(&told)?;
        for refused in &refused {
            output::to_stderr(&format!("error: {refused}\n"));
        }
    }
    Ok(if refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn text(prepared: &Prepared, applied: bool) -> String {
    if prepared.changes.is_empty() {
        return "the tables are as the contracts say\n".to_owned();
    }
    let mut text = String::new();
    for change in &prepared.changes {
        text.push_str(
            &format!("{}:{}: {}\n", change.file, change.line, change.what).replace(":0:", ":"),
        );
        if !change.sql.is_empty() {
            text.push_str(&format!("    {};\n", change.sql.replace('\n', "\n    ")));
        }
        if let Some(rows) = &change.rows {
            text.push_str(&format!("    rows: {rows}\n"));
        }
        if !applied {
            text.push_str(&format!("    {}\n", needs(change)));
        }
    }
    if applied {
        text.push_str("applied\n");
    }
    text
}

fn needs(change: &Change) -> &'static str {
    match change.needs {
        Needs::Nothing => "the next run does it",
        Needs::Apply => "needs `daymark plan --apply`",
        Needs::DataLoss => "needs `daymark plan --apply --allow-data-loss`",
        Needs::OtherRows => "cannot be done with the rows there are",
    }
}
