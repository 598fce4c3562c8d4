//! `daymark dlq`: the days that failed and are tried no more.
//!
//! In: a day. Out: its tries; or a run of it; or the day left out, with who said so and why. Deliberately absent:
//! giving days up, which the schedule does.

use std::process::ExitCode;
use std::sync::Arc;

use daymark_ingest::Reach;
use daymark_plan::{Clock, Plan, Source, SourceId};
use daymark_warehouse::ledger::RunKind;
use daymark_warehouse::retries::{self, FailedDay, Tried};
use jiff::civil::Date;
use serde_json::json;

use crate::alerts::{self, Ran};
use crate::cli::{DlqCommand, DlqDay, DlqDiscard, DlqList, DlqRetry};
use crate::commands;
use crate::failure::Failure;
use crate::output;
use crate::run::{Order, Progress, RunReport, Runner};

/// Lists, shows, retries or discards.
pub(crate) async fn dlq(command: &DlqCommand) -> Result<ExitCode, Failure> {
    let folder = match command {
        DlqCommand::List(arguments) => &arguments.folder,
        DlqCommand::Show(day) => &day.folder,
        DlqCommand::Retry(arguments) => &arguments.folder,
        DlqCommand::Discard(arguments) => &arguments.day.folder,
    };
    let plan = commands::load(folder)?;
    let runner = Runner::new(Arc::clone(&plan), Clock::System);
    let done = async {
        let mut session = runner.warehouse().await?.session("reading the days that failed").await?;
        let days = retries::failed_days(&mut session).await?;
        drop(session);
        match command {
            DlqCommand::List(arguments) => list(&plan, &days, arguments),
            DlqCommand::Show(arguments) => show(&plan, &runner, days, arguments).await,
            DlqCommand::Retry(arguments) => retry(&plan, &runner, days, arguments).await,
            DlqCommand::Discard(arguments) => discard(&plan, &runner, days, arguments).await,
        }
    };
    let done = done.await;
    runner.close().await;
    done
}

fn list(plan: &Plan, days: &[FailedDay], arguments: &DlqList) -> Result<ExitCode, Failure> {
    if arguments.json {
        output::json(&days)?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = if days.is_empty() {
        "no scheduled day has failed and was given up, and none is tried again\n".to_owned()
    } else {
        let rows: Vec<Vec<String>> = days
            .iter()
            .map(|day| {
                vec![
                    day.source.clone(),
                    day.date.to_string(),
                    stands(day).to_owned(),
                    day.attempts.to_string(),
                    output::local(day.first_at, &plan.settings.zone),
                    output::local(day.last_at, &plan.settings.zone),
                    output::cut(&day.reason, 100),
                ]
            })
            .collect();
        let header =
            ["source", "data date", "state", "tries", "failed first", "failed last", "reason"];
        let mut text = output::table(&header, &rows, &[3]);
        text.push_str(
            "`daymark dlq show DAY --source S` shows every try, `retry` runs it now, `discard` leaves it out\n",
        );
        text
    };
    output::to_stdout(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn stands(day: &FailedDay) -> &'static str {
    match day.state.as_str() {
        "dead" => "given up",
        "claimed" => "being tried",
        _ => "tried again",
    }
}

async fn show(
    plan: &Plan,
    runner: &Runner,
    days: Vec<FailedDay>,
    arguments: &DlqDay,
) -> Result<ExitCode, Failure> {
    let day = one(plan, days, arguments.date, arguments.source.as_deref())?;
    let mut session = runner.warehouse().await?.session("reading a day").await?;
    let tries = retries::tries(&mut session, &day.source, day.date).await?;
    drop(session);
    if arguments.json {
        output::json(&json!({ "day": day, "tries": tries }))?;
    } else {
        output::to_stdout(&shown(plan, &day, &tries))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn shown(plan: &Plan, day: &FailedDay, tries: &[Tried]) -> String {
    let at = |at| output::exactly(plan, at);
    let mut text = format!(
        "{} {}: {}\n  scheduled for  {}\n  failed first   {}\n  failed last    {}, try {}: {}\n",
        day.source,
        day.date,
        stands(day),
        at(day.scheduled_at),
        at(day.first_at),
        at(day.last_at),
        day.attempts,
        day.reason
    );
    if let (Some(dead_at), Some(because)) = (day.dead_at, &day.dead_because) {
        text.push_str(&format!("  given up       {}: {because}\n", at(dead_at)));
    }
    let rows: Vec<Vec<String>> = tries
        .iter()
        .map(|tried| {
            vec![
                at(tried.at),
                tried.kind.clone(),
                tried.entity.clone(),
                tried.stage.clone(),
                tried.outcome.clone().unwrap_or_else(|| "at work".to_owned()),
                tried.run.to_string(),
                output::cut(tried.reason.as_deref().unwrap_or_default(), 200),
            ]
        })
        .collect();
    let header = ["began", "run", "entity", "stage", "outcome", "id", "reason"];
    text.push_str("\ntries\n");
    text.push_str(&output::indented(&output::table(&header, &rows, &[])));
    text
}

async fn retry(
    plan: &Arc<Plan>,
    runner: &Runner,
    days: Vec<FailedDay>,
    arguments: &DlqRetry,
) -> Result<ExitCode, Failure> {
    let named = arguments.source.as_deref();
    let wanted = if let Some(date) = arguments.date {
        vec![one(plan, days, date, named)?]
    } else {
        let source = named.map(|name| commands::source(plan, name)).transpose()?;
        let of = |day: &FailedDay| source.is_none_or(|source| source.id.as_str() == day.source);
        days.into_iter().filter(|day| day.state == "dead" && of(day)).collect()
    };
    if wanted.is_empty() {
        output::to_stdout("no day was given up\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    let due = runner.days_at(Clock::System.now(), &plan.sources);
    let (mut of_now, mut by_day) = (Vec::new(), Vec::new());
    for day in &wanted {
        let source = of_folder(plan, day)?;
        not_being_tried(day)?;
        let asked = (source.id.clone(), day.date);
        if due.contains(&asked) {
            of_now.push(asked);
        } else if source.answers_for_any_date() || arguments.as_of_now {
            by_day.push(asked);
        } else {
            return Err(Failure::usage(
                format!(
                    "`{}` is asked without a date, so its API answers as of now and not for {}",
                    source.id, day.date
                ),
                format!(
                    "`daymark dlq discard {} --source {}` leaves the day out; or keep what the API answers now \
                     as the answer for {}, with `--as-of-now`",
                    day.date, source.id, day.date
                ),
            ));
        }
    }
    let progress = Progress::new();
    let mut reports: Vec<RunReport> = Vec::new();
    for (days, reach) in [(of_now, Reach::Forward), (by_day, Reach::ByDay)] {
        if days.is_empty() {
            continue;
        }
        let (kind, scheduled_at, claim, pace) = (RunKind::Retry, None, None, None);
        let order = Order { kind, scheduled_at, days, reach, claim, pace };
        alerts::before_run(plan).await;
        let done = runner.execute(&order, &|event| progress.show(&event)).await;
        alerts::after_run(plan, runner, &Clock::System, &Ran::of(&done)).await;
        reports.push(done?);
    }
    progress.finish();
    let failed = reports.iter().flat_map(|it| &it.sources).any(|day| day.state.is_wrong());
    if arguments.json {
        output::json(&reports)?;
    } else {
        for report in &reports {
            output::to_stdout(&report.text())?;
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn discard(
    plan: &Arc<Plan>,
    runner: &Runner,
    days: Vec<FailedDay>,
    arguments: &DlqDiscard,
) -> Result<ExitCode, Failure> {
    let day = one(plan, days, arguments.day.date, arguments.day.source.as_deref())?;
    not_being_tried(&day)?;
    let id = SourceId::new(&day.source).ok_or_else(|| {
        Failure::failed(anyhow::anyhow!("`{}` is no source's id", day.source), None)
    })?;
    let by = commands::who(plan);
    let why = arguments.why.as_deref().map(str::trim).filter(|why| !why.is_empty());
    let reason = match why {
        Some(why) => format!("discarded by {by}: {why}"),
        None => format!("discarded by {by}"),
    };
    let mut session = runner.warehouse().await?.session("discarding a day").await?;
    let now = Clock::System.now();
    let gone = retries::discard(&mut session, &id, day.date, &by, &reason, now).await?;
    drop(session);
    if !gone {
        return Err(being_tried(&day));
    }
    alerts::after_word(plan, runner).await;
    if arguments.day.json {
        output::json(&json!({ "source": day.source, "date": day.date, "reason": reason }))?;
    } else {
        output::to_stdout(&format!("{} {}: skipped; {reason}\n", day.source, day.date))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The one failed day that is meant.
fn one(
    plan: &Plan,
    days: Vec<FailedDay>,
    date: Date,
    source: Option<&str>,
) -> Result<FailedDay, Failure> {
    let source = source.map(|name| commands::source(plan, name)).transpose()?;
    let is_meant = |day: &FailedDay| {
        day.date == date && source.is_none_or(|source| source.id.as_str() == day.source)
    };
    let (mut meant, others): (Vec<_>, Vec<_>) = days.into_iter().partition(is_meant);
    let of = source.map(|source| format!("{} ", source.id)).unwrap_or_default();
    if meant.len() > 1 {
        let names: Vec<String> =
            meant.iter().map(|day| format!("`--source {}`", day.source)).collect();
        return Err(Failure::usage(
            format!("several sources have {date} here"),
            format!("say which: {}", names.join(", ")),
        ));
    }
    meant.pop().ok_or_else(|| {
        let known: Vec<String> =
            others.iter().take(20).map(|day| format!("{} {}", day.source, day.date)).collect();
        let hint = match known.as_slice() {
            [] => "none is: `daymark days --state failed` has the days that failed when a person ran them"
                .to_owned(),
            known => format!("these are: {}", known.join(", ")),
        };
        Failure::usage(format!("{of}{date} is not among the scheduled days that failed"), hint)
    })
}

fn of_folder<'p>(plan: &'p Plan, day: &FailedDay) -> Result<&'p Source, Failure> {
    plan.sources.iter().find(|source| source.id.as_str() == day.source).ok_or_else(|| {
        Failure::usage(
            format!("the pipeline has no source `{}` any more", day.source),
            format!("`daymark dlq discard {}` leaves its day out", day.date),
        )
    })
}

fn not_being_tried(day: &FailedDay) -> Result<(), Failure> {
    if day.state == "claimed" { Err(being_tried(day)) } else { Ok(()) }
}

fn being_tried(day: &FailedDay) -> Failure {
    let hint = Some("wait for what comes of it: `daymark dlq list`".to_owned());
    let what = anyhow::anyhow!(
        "{} {} is being tried by `daymark up` at this moment",
        day.source,
        day.date
    );
    Failure::failed(what, hint)
}
