//! `daymark quarantine`: the days that a check holds back.
//!
//! In: a day. Out: the checks, their SQL and the rows they found; or the day published after all, with who
//! released it and why kept in the raw store for good. Deliberately absent: holding anything back; a publish
//! does that.

use std::process::ExitCode;
use std::sync::Arc;

use daymark_ingest::{RawStore, Reach};
use daymark_plan::{Clock, Plan, SourceId};
use daymark_warehouse::ledger::{self, Quarantined, RunKind};
use daymark_warehouse::publish::{Answer, Verdict};
use daymark_warehouse::{Session, Warehouse};

use crate::alerts;
use crate::cli::{QuarantineCommand, QuarantineDay, QuarantineRelease};
use crate::commands;
use crate::failure::Failure;
use crate::output;
use crate::run::{Order, Progress, Runner, verdicts};

/// Lists, shows or releases.
pub(crate) async fn quarantine(command: &QuarantineCommand) -> Result<ExitCode, Failure> {
    match command {
        QuarantineCommand::List(arguments) => {
            let plan = commands::load(&arguments.folder)?;
            let warehouse = Warehouse::open(&plan).await?;
            let held = all(&warehouse).await;
            warehouse.close().await;
            let held = held?;
            if arguments.json {
                output::json(&held)?;
            } else {
                output::to_stdout(&list(&held))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        QuarantineCommand::Show(arguments) => {
            let plan = commands::load(&arguments.day.folder)?;
            let warehouse = Warehouse::open(&plan).await?;
            let held = all(&warehouse).await;
            warehouse.close().await;
            let held = of_day(held?, &plan, &arguments.day)?;
            if arguments.json {
                output::json(&held)?;
            } else {
                let shown: Vec<String> = held.iter().map(show).collect();
                output::to_stdout(&shown.join("\n"))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        QuarantineCommand::Release(arguments) => {
            let plan = commands::load(&arguments.day.folder)?;
            let runner = Runner::new(Arc::clone(&plan), Clock::System);
            let done = release(&plan, &runner, arguments).await;
            runner.close().await;
            done
        }
    }
}

async fn all(warehouse: &Warehouse) -> Result<Vec<Quarantined>, Failure> {
    let mut session = warehouse.session("reading what is held back").await?;
    Ok(ledger::quarantined(&mut session).await?)
}

/// What is held back of a day.
fn of_day(
    held: Vec<Quarantined>,
    plan: &Plan,
    day: &QuarantineDay,
) -> Result<Vec<Quarantined>, Failure> {
    let source = commands::source(plan, &day.source)?;
    let entity = match &day.entity {
        Some(name) => Some(commands::entity(source, name)?.to_string()),
        None => None,
    };
    let (wanted, others): (Vec<_>, Vec<_>) = held.into_iter().partition(|held| {
        held.source_id == source.id.as_str()
            && held.data_date == day.date
            && entity.as_ref().is_none_or(|entity| *entity == held.entity)
    });
    if wanted.is_empty() {
        let known: Vec<String> = others.iter().map(name).collect();
        let hint = match known.as_slice() {
            [] => "nothing is held back at all".to_owned(),
            known => format!("held back: {}", known.join(", ")),
        };
        let message = format!("no check holds back {} {}", source.id, day.date);
        return Err(Failure::usage(message, hint));
    }
    Ok(wanted)
}

/// Lets a day through: a verdict first, which outlives everything, then a publish.
async fn release(
    plan: &Arc<Plan>,
    runner: &Runner,
    arguments: &QuarantineRelease,
) -> Result<ExitCode, Failure> {
    if arguments.why.trim().is_empty() {
        return Err(Failure::usage(
            "`--why` is empty".to_owned(),
            "say why the day may be shown: it is kept with it for good".to_owned(),
        ));
    }
    let mut session = runner.warehouse().await?.session("releasing a day").await?;
    let held = of_day(ledger::quarantined(&mut session).await?, plan, &arguments.day)?;
    let store = RawStore::open(&plan.settings.raw)?;
    let by = commands::who(plan);
    for held in &held {
        let key = let_through(&mut session, &store, held, &by, &arguments.why).await?;
        output::to_stderr(&format!("{}: released; the verdict is `{key}`\n", name(held)));
    }
    drop(session);
    let progress = Progress::new();
    let order = Order {
        kind: RunKind::Manual,
        scheduled_at: None,
        days: Vec::new(),
        reach: Reach::ByDay,
        claim: None,
        pace: None,
    };
    let report = runner.execute(&order, &|event| progress.show(&event)).await;
    progress.finish();
    let report = report?;
    alerts::after_word(plan, runner).await;
    if arguments.json {
        output::json(&report)?;
    } else {
        output::to_stdout(&report.text())?;
    }
    Ok(if report.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn let_through(
    session: &mut Session,
    store: &RawStore,
    held: &Quarantined,
    by: &str,
    why: &str,
) -> Result<String, Failure> {
    let at = Clock::System.now();
    let given = held.checks.iter().map(|check| Verdict {
        table: check.table.clone(),
        check: check.check.clone(),
        check_sha256: daymark_plan::sha256_hex(check.sql.as_bytes()),
        answer: Answer::Released,
        failing: check.failing,
        sample: check.sample.clone(),
        at,
        by: by.to_owned(),
        why: Some(why.to_owned()),
    });
    let source = SourceId::new(&held.source_id).ok_or_else(|| {
        Failure::failed(anyhow::anyhow!("`{}` is no source's id", held.source_id), None)
    })?;
    let key = verdicts::keep(store, source, held.fetch_id, given.collect()).await?;
    ledger::try_again(session, &held.manifest_key).await?;
    Ok(key)
}

fn name(held: &Quarantined) -> String {
    let entity = if held.entity.is_empty() { String::new() } else { format!(" {}", held.entity) };
    format!("{} {}{entity}", held.source_id, held.data_date)
}

fn list(held: &[Quarantined]) -> String {
    if held.is_empty() {
        return "no check holds anything back\n".to_owned();
    }
    let rows: Vec<Vec<String>> = held
        .iter()
        .flat_map(|held| {
            held.checks.iter().map(|check| {
                vec![
                    held.source_id.clone(),
                    held.data_date.to_string(),
                    held.entity.clone(),
                    check.table.clone(),
                    check.check.clone(),
                    check.failing.to_string(),
                ]
            })
        })
        .collect();
    let header = ["source", "data date", "entity", "table", "check", "rows"];
    let mut text = output::table(&header, &rows, &[5]);
    text.push_str(
        "`daymark quarantine show DAY --source S` shows the rows, `release` lets them through\n",
    );
    text
}

/// A held back fetch: each check with its SQL and the rows it found.
fn show(held: &Quarantined) -> String {
    let mut text = format!(
        "{}: held back\nfetched at {}, manifest `{}`\n{}\n",
        name(held),
        held.fetched_at,
        held.manifest_key,
        held.reason
    );
    for check in &held.checks {
        let rows = if check.failing == 1 { "row" } else { "rows" };
        text.push_str(&format!(
            "\ncheck `{}` of {}: {} {rows}\n{}\n",
            check.check,
            check.table,
            check.failing,
            output::indented(check.sql.trim())
        ));
        for row in &check.sample {
            text.push_str(&format!("    {row}\n"));
        }
        let shown = i64::try_from(check.sample.len()).unwrap_or(i64::MAX);
        if check.failing > shown {
            text.push_str(&format!("    and {} more\n", check.failing - shown));
        }
    }
    text
}
