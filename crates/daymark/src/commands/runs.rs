//! `daymark runs`: which runs there were, and all that is kept of one.
//!
//! In: a folder, perhaps a run. Out: runs, or steps, requests and log, as text or JSON. Deliberately absent:
//! starting or stopping any.

use std::process::ExitCode;

use daymark_plan::{Clock, Plan};
use daymark_warehouse::{
    LoggedLine, Reader, Run, RunAttempt, RunDetail, RunFilter, RunStep, Warehouse, WarehouseError,
};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::cli::{Runs, RunsCommand, RunsList, RunsShow};
use crate::commands;
use crate::failure::Failure;
use crate::output;

/// Lists runs, or shows one.
pub(crate) async fn runs(arguments: &Runs) -> Result<ExitCode, Failure> {
    match &arguments.command {
        Some(RunsCommand::Show(arguments)) => show(arguments).await,
        None => list(&arguments.list).await,
    }
}

async fn list(arguments: &RunsList) -> Result<ExitCode, Failure> {
    let plan = commands::load(&arguments.folder)?;
    let filter = RunFilter { failed: arguments.failed, last: arguments.last };
    let warehouse = Warehouse::open(&plan).await?;
    let read = Reader::new(warehouse.clone(), Clock::System).runs(filter).await;
    warehouse.close().await;
    let runs = read?;
    if arguments.json {
        output::json(&runs)?;
    } else {
        output::to_stdout(&table(&plan, &runs, filter))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(arguments: &RunsShow) -> Result<ExitCode, Failure> {
    let plan = commands::load(&arguments.folder)?;
    let warehouse = Warehouse::open(&plan).await?;
    let reader = Reader::new(warehouse.clone(), Clock::System);
    let read = find(&reader, &arguments.run).await;
    warehouse.close().await;
    let detail = match read? {
        Ok(detail) => detail,
        Err(found) => {
            let known: Vec<String> = found.iter().map(|id| format!("`{id}`")).collect();
            let (message, hint) = if known.is_empty() {
                let message = format!("there is no run `{}`", arguments.run);
                (message, "`daymark runs` lists them; `last` is the newest".to_owned())
            } else {
                let message = format!("`{}` can be several runs", arguments.run);
                (message, format!("give more of its id: {}", known.join(", ")))
            };
            return Err(Failure::usage(message, hint));
        }
    };
    if arguments.json {
        output::json(&detail)?;
    } else {
        output::to_stdout(&text(&plan, &detail))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The run of a text; or those it can mean, when it is not one.
async fn find(
    reader: &Reader,
    text: &str,
) -> Result<Result<RunDetail, Vec<uuid::Uuid>>, WarehouseError> {
    let found = reader.find_runs(&text.to_ascii_lowercase()).await?;
    match found.as_slice() {
        [run_id] => Ok(reader.run(*run_id).await?.ok_or(Vec::new())),
        _ => Ok(Err(found)),
    }
}

fn table(plan: &Plan, runs: &[Run], filter: RunFilter) -> String {
    if runs.is_empty() {
        let none = "nothing has run yet: `daymark run` runs now\n";
        return if filter.failed { "no run has failed\n" } else { none }.to_owned();
    }
    let zone = &plan.settings.zone;
    let rows: Vec<Vec<String>> = runs
        .iter()
        .map(|run| {
            vec![
                output::local(run.started_at, zone),
                run.kind.clone(),
                run.outcome.clone().unwrap_or_else(|| "at work".to_owned()),
                run.finished_at.map(|end| took(run.started_at, end)).unwrap_or_default(),
                parts(run),
                run.id.to_string(),
                output::cut(run.reason.as_deref().unwrap_or_default(), 80),
            ]
        })
        .collect();
    output::table(&["started", "kind", "outcome", "took", "parts", "run", "reason"], &rows, &[3])
}

/// What its parts came to.
fn parts(run: &Run) -> String {
    let counts = [
        (run.published, "published"),
        (run.failed, "failed"),
        (run.quarantined, "quarantined"),
        (run.skipped, "skipped"),
    ];
    let some = counts.iter().filter(|(count, _)| *count > 0);
    let words: Vec<String> = some.map(|(count, word)| format!("{count} {word}")).collect();
    words.join(", ")
}

fn took(from: Timestamp, to: Timestamp) -> String {
    let millis = to.duration_since(from).as_millis();
    if millis < 10_000 {
        format!("{}.{} s", millis / 1000, (millis % 1000) / 100)
    } else if millis < 600_000 {
        format!("{} s", millis / 1000)
    } else {
        format!("{} min", millis / 60_000)
    }
}

/// A run with all that is kept of it.
fn text(plan: &Plan, detail: &RunDetail) -> String {
    let (run, zone) = (&detail.run, &plan.settings.zone);
    let outcome = run.outcome.as_deref().unwrap_or("at work");
    let mut text = format!("run {}: {outcome}\n", run.id);
    let mut line = |name: &str, value: String| text.push_str(&format!("  {name:10} {value}\n"));
    line("kind", run.kind.replace('_', " "));
    if let Some(at) = run.scheduled_at {
        line("scheduled", output::local(at, zone));
    }
    line("started", output::local(run.started_at, zone));
    if let Some(end) = run.finished_at {
        line("ended", format!("{} ({})", output::local(end, zone), took(run.started_at, end)));
    }
    if let Some(holder) = &run.holder {
        line("by", format!("{holder}, daymark {}", run.program_version));
    }
    if let (None, Some(at)) = (run.finished_at, run.heartbeat_at) {
        line("alive", output::local(at, zone));
    }
    if let Some(publish) = run.publish {
        line("publish", publish.to_string());
    }
    if let Some(reason) = &run.reason {
        line("reason", reason.clone());
    }
    if !detail.steps.is_empty() {
        text.push_str("\nsteps\n");
        text.push_str(&output::indented(&steps(&detail.steps)));
    }
    if !detail.requests.is_empty() {
        text.push_str("\nrequests\n");
        text.push_str(&output::indented(&requests(&detail.requests, zone)));
    }
    if let Some(at) = run.logs_removed_at {
        let at = output::local(at, zone);
        text.push_str(&format!(
            "\nits requests and log were removed {at}, as `ledger.keep_logs` says\n"
        ));
    }
    if !detail.log.is_empty() {
        text.push_str("\nlog\n");
        for line in &detail.log {
            text.push_str(&format!("  {}\n", logged(line, zone)));
        }
    }
    text
}

fn steps(steps: &[RunStep]) -> String {
    let rows: Vec<Vec<String>> = steps
        .iter()
        .map(|step| {
            vec![
                step.source.clone(),
                step.date.to_string(),
                step.entity.clone().unwrap_or_default(),
                step.stage.clone(),
                step.outcome.clone().unwrap_or_else(|| "at work".to_owned()),
                step.ended_at.map(|end| took(step.started_at, end)).unwrap_or_default(),
                step.error_kind.clone().unwrap_or_default(),
                output::cut(step.reason.as_deref().unwrap_or_default(), 200),
            ]
        })
        .collect();
    let header = ["source", "data date", "entity", "stage", "outcome", "took", "error", "reason"];
    output::table(&header, &rows, &[5])
}

fn requests(requests: &[RunAttempt], zone: &TimeZone) -> String {
    let rows: Vec<Vec<String>> = requests
        .iter()
        .map(|request| {
            let bytes = request.bytes.and_then(|bytes| u64::try_from(bytes).ok());
            vec![
                time(request.at, zone),
                request.source.clone(),
                request.date.to_string(),
                request.entity.clone().unwrap_or_default(),
                request.page.to_string(),
                request.number.to_string(),
                request.status.map(|status| status.to_string()).unwrap_or_default(),
                bytes.map(output::bytes).unwrap_or_default(),
                request.duration_ms.map(|ms| format!("{ms} ms")).unwrap_or_default(),
                request.error_kind.clone().unwrap_or_default(),
                output::cut(request.message.as_deref().unwrap_or_default(), 120),
            ]
        })
        .collect();
    let header = [
        "sent",
        "source",
        "data date",
        "entity",
        "page",
        "try",
        "status",
        "bytes",
        "took",
        "error",
        "message",
    ];
    output::table(&header, &rows, &[4, 5, 6, 7, 8])
}

fn logged(line: &LoggedLine, zone: &TimeZone) -> String {
    let level = match line.level.as_str() {
        "info" => "",
        "warn" => "WARN ",
        _ => "ERROR ",
    };
    let source = line.source.as_ref().map(|source| format!("{source}: ")).unwrap_or_default();
    format!("{} {level}{source}{}", time(line.at, zone), line.message)
}

/// The time of day; the day is the run's.
fn time(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%H:%M:%S%.3f").to_string()
}
