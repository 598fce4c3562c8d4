//! `daymark status`: the last days, and the next scheduled time.
//!
//! In: a folder. Out: a grid of days and sources with their states, the reasons, the next fire.
//! Deliberately absent: changing anything.

use std::collections::BTreeMap;
use std::process::ExitCode;

use daymark_plan::{Clock, Plan, Source};
use daymark_warehouse::alerts::Overview;
use daymark_warehouse::retries::FailedDay;
use daymark_warehouse::{
    DayState, DriftSeen, LastPublish, OlderDays, Reader, SchedulerState, SourceDays, Warehouse,
    Warning,
};
use jiff::{Timestamp, ToSpan};
use serde_json::json;

use crate::cli::Status;
use crate::commands;
use crate::failure::Failure;
use crate::output;

/// How many days before those of the grid are looked at.
const EARLIER: i64 = 365;

/// Shows the status.
pub(crate) async fn status(arguments: &Status) -> Result<ExitCode, Failure> {
    let plan = commands::load(&arguments.folder)?;
    let clock = Clock::System;
    let now = clock.now();
    let to = now.to_zoned(plan.settings.zone.clone()).date();
    let from = to.saturating_sub((i64::from(arguments.days) - 1).days());
    let warehouse = Warehouse::open(&plan).await?;
    let reader = Reader::new(warehouse.clone(), clock);
    let read = async {
        let days = reader.days(&plan, from, to).await?;
        let before = from.saturating_sub(1.days());
        let earlier = reader.days(&plan, before.saturating_sub(EARLIER.days()), before).await?;
        let warnings = reader.warnings(from, to).await?;
        let refused_marts = reader.refused_marts().await?;
        let drift = reader.drift_seen(from, to).await?;
        let older = reader.older_days(&plan).await?;
        let scheduler = reader.scheduler().await?;
        let alerts = commands::alerts::overview(&warehouse).await?;
        let given_up = reader.days_given_up().await?;
        let said = (refused_marts, warnings, drift, older, scheduler, alerts, given_up);
        Ok::<_, Failure>((days, unsolved(&earlier), reader.last_publish().await?, said))
    };
    let read = read.await;
    warehouse.close().await;
    let (sources, unsolved, last_publish, said) = read?;
    let (refused_marts, warnings, drift, older, scheduler, alerts, given_up) = said;
    let next = plan.next_fire(now);
    let unknown = plan.calendar_gaps(from, to);
    if arguments.json {
        output::json(&json!({
            "pipeline": plan.name,
            "next_fire": next,
            "last_publish": last_publish,
            "sources": sources,
            "earlier": unsolved,
            "marts_failed": refused_marts,
            "warnings": warnings,
            "calendars": unknown,
            "drift": drift,
            "older": older,
            "scheduler": scheduler.leader,
            "pauses": scheduler.pauses,
            "alerts": alerts,
            "given_up": given_up,
        }))?;
    } else {
        let told = Told {
            unsolved: &unsolved,
            refused_marts: &refused_marts,
            warnings: &warnings,
            unknown: &unknown,
            drift: &drift,
            older: &older,
            scheduler: &scheduler,
            alerts: &alerts,
            given_up: &given_up,
        };
        output::to_stdout(&text(&plan, &sources, &told, last_publish, next, now))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What is told beside the days.
struct Told<'t> {
    /// How many earlier days are in each state that needs a look.
    unsolved: &'t BTreeMap<&'static str, usize>,
    refused_marts: &'t [String],
    warnings: &'t [Warning],
    unknown: &'t [String],
    drift: &'t [DriftSeen],
    older: &'t [OlderDays],
    scheduler: &'t SchedulerState,
    alerts: &'t Overview,
    given_up: &'t [FailedDay],
}

/// How many changes of shape are told; `daymark drift` has them all.
const DRIFT_TOLD: usize = 5;

fn text(
    plan: &Plan,
    sources: &[SourceDays],
    told: &Told<'_>,
    last_publish: Option<LastPublish>,
    next: Option<Timestamp>,
    now: Timestamp,
) -> String {
    let mut dates: Vec<jiff::civil::Date> =
        sources.iter().flat_map(|source| source.days.iter().map(|day| day.date)).collect();
    dates.sort_unstable();
    dates.dedup();
    let state = |source: &SourceDays, date| {
        source.days.iter().find(|day| day.date == date).map_or("", |day| day.state.as_str())
    };
    let rows: Vec<Vec<String>> = dates
        .iter()
        .map(|date| {
            let states = sources.iter().map(|source| state(source, *date).to_owned());
            [date.to_string()].into_iter().chain(states).collect()
        })
        .collect();
    let header: Vec<&str> = ["data date"]
        .into_iter()
        .chain(sources.iter().map(|source| source.source.as_str()))
        .collect();
    let mut text = output::table(&header, &rows, &[]);
    for source in sources {
        for day in &source.days {
            let of_note = day.state.needs_a_look() || day.state == DayState::Skipped;
            if let (true, Some(reason)) = (of_note, &day.reason) {
                let state = day.state.as_str();
                text.push_str(&format!("{} {} {state}: {reason}\n", source.source, day.date));
            }
            let since = day.last_outcome.as_deref().filter(|outcome| *outcome != "published");
            if let (DayState::Published, Some(outcome), Some(reason)) =
                (day.state, since, &day.reason)
            {
                let (id, date) = (&source.source, day.date);
                text.push_str(&format!(
                    "{id} {date} published, but the last attempt {}: {reason}\n",
                    if outcome == "quarantined" { "is quarantined" } else { "failed" }
                ));
            }
        }
    }
    if !told.unsolved.is_empty() {
        let counts: Vec<String> = told
            .unsolved
            .iter()
            .map(|(state, days)| format!("{} {state}", output::counted(*days as u64, "day")))
            .collect();
        let states: Vec<String> =
            told.unsolved.keys().map(|state| format!(" --state {state}")).collect();
        text.push_str(&format!(
            "before these: {}: `daymark days{}` lists them\n",
            counts.join(", "),
            states.concat()
        ));
    }
    for warning in told.warnings {
        text.push_str(&warned(warning));
    }
    for unknown in told.unknown {
        text.push_str(&format!("warning: {unknown}\n"));
    }
    for seen in told.drift.iter().rev().take(DRIFT_TOLD).rev() {
        text.push_str(&format!("{seen}\n"));
    }
    if told.drift.len() > DRIFT_TOLD {
        let more = told.drift.len() - DRIFT_TOLD;
        text.push_str(&format!("and {more} changes of shape before: `daymark drift`\n"));
    }
    for older in told.older {
        text.push_str(&format!("{older}\n"));
    }
    for reason in told.refused_marts {
        text.push_str(&format!("mart failed: {reason}\n"));
    }
    text.push_str(&of_given_up(plan, told.given_up));
    for channel in &told.alerts.undelivered {
        text.push_str(&commands::alerts::waiting(plan, channel));
    }
    if !told.alerts.open.is_empty() && !plan.settings.alerts.is_empty() {
        let open = output::counted(told.alerts.open.len() as u64, "alert");
        text.push_str(&format!("{open} open: `daymark alerts list`\n"));
    }
    let zone = &plan.settings.zone;
    let local = |at: Timestamp| output::local(at, zone);
    match last_publish {
        Some(publish) => {
            text.push_str(&format!(
                "last publish: {} (number {})\n",
                local(publish.at),
                publish.id
            ));
        }
        None => {
            text.push_str("nothing is published yet: `daymark run` fetches and publishes now\n");
        }
    }
    text.push_str(&of_scheduler(plan, told.scheduler));
    if let Some(next) = next {
        let minutes = (next.as_second() - now.as_second()) / 60;
        let (hours, minutes) = (minutes / 60, minutes % 60);
        text.push_str(&format!(
            "next run: {} (in {hours} h {minutes} min), while `daymark up` runs\n",
            local(next)
        ));
    }
    text
}

/// How many days are in each state that needs a look.
fn unsolved(sources: &[SourceDays]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for day in sources.iter().flat_map(|source| &source.days) {
        if day.state.needs_a_look() {
            *counts.entry(day.state.as_str()).or_default() += 1;
        }
    }
    counts
}

/// The days that were given up, and what to type.
fn of_given_up(plan: &Plan, days: &[FailedDay]) -> String {
    let Some(first) = days.first() else { return String::new() };
    let can_be_asked = |day: &FailedDay| {
        let source = plan.sources.iter().find(|source| source.id.as_str() == day.source);
        source.is_some_and(Source::answers_for_any_date)
    };
    let (count, what) = match days.len() {
        1 => (format!("{} {} is", first.source, first.date), "it"),
        many => (format!("{} are", output::counted(many as u64, "day")), "them"),
    };
    let retry = match days {
        [_] if can_be_asked(first) => {
            format!("`daymark dlq retry {} --source {}` tries it again", first.date, first.source)
        }
        [_, ..] if days.iter().all(can_be_asked) => {
            "`daymark dlq retry --all` tries them again".to_owned()
        }
        // The API of some answers as of now only.
        _ => "`daymark dlq retry` tries one again, `daymark dlq discard` leaves it out".to_owned(),
    };
    format!("{count} given up: `daymark dlq list` shows {what}, {retry}\n")
}

/// Who keeps the schedule, and what is paused, on a line each.
fn of_scheduler(plan: &Plan, state: &SchedulerState) -> String {
    let mut text = match &state.leader {
        None => String::new(),
        Some(leader) if leader.is_stopped => {
            let since = output::exactly(plan, leader.stopped_at.unwrap_or(leader.seen_at));
            format!(
                "scheduler: stopped since {since}: nothing is fetched until `daymark up` runs\n"
            )
        }
        Some(leader) => format!(
            "scheduler: {} keeps the schedule since {}, last seen {}\n",
            leader.process(),
            output::exactly(plan, leader.since),
            output::exactly(plan, leader.seen_at)
        ),
    };
    for pause in &state.pauses {
        text.push_str(&format!("{}\n", commands::pause::sentence(plan, pause)));
    }
    text
}

/// A warning on a line.
fn warned(warning: &Warning) -> String {
    let Warning { source, date, entity, table, check, failing, reason } = warning;
    let entity = daymark_plan::behind_day(entity);
    let said = match (reason, failing) {
        (Some(reason), _) => format!("could not be asked: {reason}"),
        (None, 1) => "found 1 row".to_owned(),
        (None, rows) => format!("found {rows} rows"),
    };
    format!("{source} {date}{entity} warning: {table}: the check `{check}` {said}\n")
}
