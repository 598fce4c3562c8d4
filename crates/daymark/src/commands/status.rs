//! `daymark status`: the last days, and the next scheduled time.
//!
//! In: a folder. Out: a grid of days and sources with their states, the reasons, the next fire.
//! Deliberately absent: changing anything.

use std::process::ExitCode;

use daymark_plan::{Clock, Plan};
use daymark_warehouse::{DayState, LastPublish, SourceDays, Warehouse};
use jiff::{Timestamp, ToSpan};
use serde_json::json;

use crate::cli::Status;
use crate::commands;
use crate::failure::Failure;
use crate::output;

/// Shows the status.
pub(crate) async fn status(arguments: &Status) -> Result<ExitCode, Failure> {
    let plan = commands::load(&arguments.folder)?;
    let clock = Clock::System;
    let now = clock.now();
    let to = now.to_zoned(plan.settings.zone.clone()).date();
    let from = to.saturating_sub((i64::from(arguments.days) - 1).days());
    let warehouse = Warehouse::open(&plan).await?;
    let reader = commands::reader(&plan, warehouse.clone(), clock);
    let read = async {
        let days = reader.days(&plan, from, to).await?;
        Ok::<_, Failure>((days, reader.last_publish().await?, reader.refused_marts().await?))
    };
    let read = read.await;
    warehouse.close().await;
    let (sources, last_publish, refused_marts) = read?;
    let next = plan.next_fire(now);
    if arguments.json {
        output::json(&json!({
            "pipeline": plan.name,
            "next_fire": next,
            "last_publish": last_publish,
            "sources": sources,
            "marts_failed": refused_marts,
        }))?;
    } else {
        output::to_stdout(&text(&plan, &sources, &refused_marts, last_publish, next, now))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn text(
    plan: &Plan,
    sources: &[SourceDays],
    refused_marts: &[String],
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
            let look = matches!(day.state, DayState::Failed | DayState::Missing | DayState::Late);
            if let (true, Some(reason)) = (look, &day.reason) {
                let state = day.state.as_str();
                text.push_str(&format!("{} {} {state}: {reason}\n", source.source, day.date));
            }
            let failed_since = day.last_outcome.as_deref() == Some("failed");
            if let (DayState::Published, true, Some(reason)) =
                (day.state, failed_since, &day.reason)
            {
                let (id, date) = (&source.source, day.date);
                text.push_str(&format!(
                    "{id} {date} published, but the last attempt failed: {reason}\n"
                ));
            }
        }
    }
    for reason in refused_marts {
        text.push_str(&format!("mart failed: {reason}\n"));
    }
    let zone = &plan.settings.zone;
    let local = |at: Timestamp| at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M %Z").to_string();
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
