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
        // What a mart of the folder as it is comes to; one that changes is tried when it is made.
        let moves_marts = prepared
            .changes
            .iter()
            .any(|change| plan.marts.iter().any(|mart| mart.file == change.file));
        let marts = match mode {
            Mode::Show if !moves_marts => reader.refused_marts().await?,
            _ => Vec::new(),
        };
        Ok::<_, Failure>((prepared, reader.older_days(&plan).await?, marts))
    };
    let compared = compared.await;
    warehouse.close().await;
    let (prepared, older, marts) = compared?;
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
            "marts_failed": marts,
            "older": older,
            "refused": refused,
        }))?;
    } else {
        let is_refused = |change: &Change| {
            let of_source = prepared
                .refused
                .sources
                .keys()
                .any(|id| plan.models_of(id).any(|model| model.file == change.file));
            of_source || prepared.refused.marts.iter().any(|failure| failure.file == change.file)
        };
        let mut told =
            text(&prepared, arguments.apply.then_some(&is_refused as &dyn Fn(&Change) -> bool));
        for mart in &marts {
            told.push_str(&format!("mart failed: {mart}\n"));
        }
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

/// The changes; where they were to be made, `is_refused` says of which they were not.
fn text(prepared: &Prepared, is_refused: Option<&dyn Fn(&Change) -> bool>) -> String {
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
        match is_refused {
            None => text.push_str(&format!("    {}\n", needs(change))),
            Some(is_refused) if is_refused(change) => {
                let why = match change.needs {
                    Needs::Nothing | Needs::Apply => String::new(),
                    Needs::DataLoss | Needs::OtherRows => format!(": {}", needs(change)),
                };
                text.push_str(&format!("    not applied{why}\n"));
            }
            Some(_) => {}
        }
    }
    if let Some(is_refused) = is_refused {
        let refused = prepared.changes.iter().filter(|change| is_refused(change)).count();
        text.push_str(&match refused {
            0 => "applied\n".to_owned(),
            all if all == prepared.changes.len() => "nothing is applied\n".to_owned(),
            some => format!("applied, but for {some} of the changes\n"),
        });
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
