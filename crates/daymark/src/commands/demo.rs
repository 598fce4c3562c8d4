//! `daymark demo`: the whole product in a minute, on generated data.
//!
//! In: how many mornings, and where. Out: a summary and the dashboard. Deliberately absent: the API
//! (`crate::demo::api`).

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use daymark_ingest::Reach;
use daymark_plan::{Calendar, Clock, Environment, Plan};
use daymark_warehouse::ledger::RunKind;
use daymark_warehouse::{DayState, Reader, SourceDays};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use crate::cli::Demo;
use crate::commands::init;
use crate::demo::api::{DemoApi, Faults};
use crate::failure::Failure;
use crate::lifecycle::{self, Ended};
use crate::output;
use crate::run::{Order, Runner};

/// Runs the demo.
pub(crate) async fn demo(arguments: &Demo) -> Result<ExitCode, Failure> {
    let system = Clock::System;
    let listener =
        if arguments.exit { None } else { Some(lifecycle::listen(arguments.listen).await?) };
    let clock = Clock::manual(system.now());
    let (directory, temporary) = directory(arguments.dir.as_deref())?;
    let faults = faults(system.now());
    let api = DemoApi::start(clock.clone(), faults).await?;
    write_pipeline(&directory, &api)?;
    // The demo is the same everywhere: no variable of this machine changes it.
    let environment = Environment::default();
    let plan = Arc::new(daymark_plan::load(&directory, &environment)?);
    let runner = Runner::new(Arc::clone(&plan), clock.clone());
    let mornings_and_dashboard = async |stop: tokio_util::sync::CancellationToken| {
        let fires = mornings(&plan, system.now(), arguments.days);
        if !run_mornings(&plan, &runner, &clock, &fires, &stop).await? {
            output::to_stderr("stopped before the last morning\n");
            return Ok(());
        }
        clock.set(system.now());
        let summary = Summary::read(&plan, &runner, &clock, fires.len()).await?;
        if arguments.json {
            output::json(&summary.json())?;
        } else {
            output::to_stdout(&summary.text(&directory, arguments.dir.is_some()))?;
        }
        let Some(listener) = listener else { return Ok(()) };
        let dashboard = lifecycle::dashboard(&plan, &runner, clock.clone(), true).await?;
        lifecycle::serve(listener, dashboard, stop).await
    };
    let work = async |stop| {
        let done = mornings_and_dashboard(stop).await;
        runner.close().await;
        done
    };
    let done = lifecycle::until_stopped(work).await;
    if let Ok(Ended::AtOnce) = done {
        drop(temporary);
        lifecycle::exit_at_once();
    }
    done.map(|_| ExitCode::SUCCESS)
}

/// The folder to work in; a temporary one is removed when its guard is dropped.
fn directory(given: Option<&Path>) -> Result<(PathBuf, Option<tempfile::TempDir>), Failure> {
    if let Some(directory) = given {
        return Ok((directory.to_owned(), None));
    }
    let temporary = tempfile::Builder::new()
        .prefix("daymark-demo-")
        .tempdir()
        .context("cannot make a temporary folder; give one with `--dir DIR`")?;
    Ok((temporary.path().to_owned(), Some(temporary)))
}

/// The reference pipeline with its two addresses changed, and waits too short to be waited for.
fn write_pipeline(directory: &Path, api: &DemoApi) -> Result<(), Failure> {
    let addresses = [
        ("sources/weather.toml", "https://api.open-meteo.com/v1/forecast", api.weather_url()),
        (
            "sources/sp500.toml",
            "https://query1.finance.yahoo.com/v8/finance/chart/%5EGSPC",
            api.sp500_url(),
        ),
    ];
    init::write_reference(directory, |name, text| {
        match addresses.iter().find(|(file, _, _)| *file == name) {
            Some((_, public, local)) => {
                assert!(text.contains(public), "the reference pipeline asks {public}");
                format!("{}\n[retry]\nbase_seconds = 0.01\n", text.replace(public, local))
            }
            None => text,
        }
    })
}

/// One morning on which the weather API is down, and one on which Yahoo answers with an error. The second
/// is the day after a session and a session itself, so that no later morning asks for the same data date
/// again and makes up for it.
fn faults(now: Timestamp) -> Faults {
    let new_york = TimeZone::get("America/New_York").expect("the zones are compiled in");
    let today = now.to_zoned(new_york).date();
    let nyse = Calendar::parse("nyse").expect("the reference pipeline's calendar is known");
    let session = |date: Date| nyse.has_data_on(date);
    let between_sessions = |date: Date| session(date) && date.yesterday().is_ok_and(session);
    let mut error_body_on = today.saturating_sub(20.days());
    while !between_sessions(error_body_on) {
        error_body_on = error_body_on.saturating_sub(1.day());
    }
    Faults {
        server_error_on: Some(today.saturating_sub(12.days())),
        error_body_on: Some(error_body_on),
    }
}

/// The last `count` scheduled instants up to now.
fn mornings(plan: &Plan, now: Timestamp, count: u16) -> Vec<Timestamp> {
    let start = now - (i64::from(count) + 2).saturating_mul(24).hours();
    let fires: Vec<Timestamp> = plan.settings.schedule.fires_between(start, now).collect();
    fires[fires.len().saturating_sub(usize::from(count))..].to_vec()
}

/// Runs every morning; false when it was stopped.
async fn run_mornings(
    plan: &Plan,
    runner: &Runner,
    clock: &Clock,
    fires: &[Timestamp],
    stop: &tokio_util::sync::CancellationToken,
) -> Result<bool, Failure> {
    let bar = ProgressBar::new(u64::try_from(fires.len()).unwrap_or(0));
    if let Ok(style) =
        ProgressStyle::with_template("running {pos} of {len} mornings {bar:30} {msg}")
    {
        bar.set_style(style);
    }
    for fire in fires {
        if stop.is_cancelled() {
            return Ok(false);
        }
        clock.set(*fire);
        let days = runner.days_at(*fire, plan.sources.iter());
        let order = Order {
            kind: RunKind::Scheduled,
            scheduled_at: Some(*fire),
            days,
            reach: Reach::Forward,
            claim: None,
            pace: None,
        };
        // A morning that fails is part of the demo; the summary tells of it.
        runner.execute(&order, &|_| {}).await?;
        bar.set_message(fire.to_zoned(plan.settings.zone.clone()).date().to_string());
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(true)
}

/// What the mornings left behind.
struct Summary {
    mornings: usize,
    sources: Vec<SourceDays>,
    tables: Vec<(String, i64)>,
}

impl Summary {
    async fn read(
        plan: &Plan,
        runner: &Runner,
        clock: &Clock,
        mornings: usize,
    ) -> Result<Self, Failure> {
        let warehouse = runner.warehouse().await?.clone();
        let reader = Reader::new(warehouse, clock.clone());
        let to = clock.now().to_zoned(plan.settings.zone.clone()).date();
        let from = to.saturating_sub(400.days());
        let sources = reader.days(plan, from, to).await?;
        let mut tables = Vec::new();
        for model in &plan.models {
            let counted = reader.query(&format!("select count(*) from {}", model.table)).await?;
            let counted = counted.map_err(|error| Failure::failed(error, None))?;
            let count = counted.rows.first().and_then(|row| row.first()).and_then(Value::as_i64);
            tables.push((model.table.clone(), count.unwrap_or(0)));
        }
        Ok(Self { mornings, sources, tables })
    }

    fn count(source: &SourceDays, state: DayState) -> usize {
        source.days.iter().filter(|day| day.state == state).count()
    }

    fn text(&self, directory: &Path, kept: bool) -> String {
        let states = [
            DayState::Published,
            DayState::Failed,
            DayState::Missing,
            DayState::Holiday,
            DayState::Expected,
        ];
        let header: Vec<&str> =
            ["source"].into_iter().chain(states.iter().map(|state| state.as_str())).collect();
        let rows: Vec<Vec<String>> = self
            .sources
            .iter()
            .map(|source| {
                let counts = states.iter().map(|state| Self::count(source, *state).to_string());
                [source.source.to_string()].into_iter().chain(counts).collect()
            })
            .collect();
        let mut text =
            format!("ran {} mornings on generated data; days by state:\n", self.mornings);
        text.push_str(&output::table(&header, &rows, &[1, 2, 3, 4, 5]));
        for source in &self.sources {
            for day in source.days.iter().filter(|day| day.state == DayState::Failed) {
                let reason = day.reason.as_deref().unwrap_or("no reason is recorded");
                text.push_str(&format!("{} {} failed: {reason}\n", source.source, day.date));
            }
        }
        for (table, rows) in &self.tables {
            text.push_str(&format!("{table}: {rows} rows\n"));
        }
        if kept {
            let directory = directory.display();
            text.push_str(&format!("the pipeline folder is `{directory}`\n"));
        }
        text
    }

    fn json(&self) -> Value {
        let sources: Vec<Value> = self
            .sources
            .iter()
            .map(|source| {
                let failed: Vec<Value> = source
                    .days
                    .iter()
                    .filter(|day| day.state == DayState::Failed)
                    .map(|day| json!({ "date": day.date, "reason": day.reason }))
                    .collect();
                json!({
                    "source": source.source,
                    "published": Self::count(source, DayState::Published),
                    "failed": failed,
                })
            })
            .collect();
        let tables: serde_json::Map<String, Value> =
            self.tables.iter().map(|(table, rows)| (table.clone(), json!(rows))).collect();
        json!({ "mornings": self.mornings, "sources": sources, "tables": tables })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Thanksgiving 2026 is Thursday, 26 November: an error on that morning would be made up for on
    /// Friday, when the last session is Wednesday's still.
    #[test]
    fn the_mornings_that_fail_are_not_made_up_for() {
        let mut now: Timestamp = "2026-11-01T15:00:00Z".parse().unwrap();
        for _ in 0..90 {
            let faults = faults(now);
            let error = faults.error_body_on.unwrap();
            let nyse = Calendar::parse("nyse").unwrap();
            assert!(
                nyse.has_data_on(error) && nyse.has_data_on(error.yesterday().unwrap()),
                "{error}"
            );
            assert_ne!(faults.server_error_on, faults.error_body_on);
            now += 24.hours();
        }
    }
}
