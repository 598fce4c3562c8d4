//! `daymark schedule next`: when a schedule fires.
//!
//! In: an expression with its zone, or a folder. Out: the next fire times, and what is unusual about them.
//! Deliberately absent: the database; what was fired is not asked.

use std::process::ExitCode;

use daymark_plan::{Clock, DataDateRule, Plan, Schedule, Source, data_date, did_you_mean};
use jiff::Timestamp;
use serde_json::json;

use crate::cli::ScheduleNext;
use crate::commands;
use crate::failure::Failure;
use crate::output;

/// Prints the next fire times.
pub(crate) fn next(arguments: &ScheduleNext) -> Result<ExitCode, Failure> {
    let from = arguments.from.unwrap_or_else(|| Clock::System.now());
    if let (Some(expression), Some(zone)) = (&arguments.expression, &arguments.timezone) {
        let schedule = Schedule::parse(expression, zone).map_err(|bad| {
            let hint = format!("accepted: {}", bad.accepted);
            Failure::usage(format!("the schedule cannot be read: {bad}"), hint)
        })?;
        return show(arguments, &schedule, from, |_, _| None);
    }
    let plan = commands::load(&arguments.folder)?;
    let Some(id) = &arguments.source else {
        return show(arguments, &plan.settings.schedule, from, |_, _| None);
    };
    let source = plan.sources.iter().find(|source| source.id.as_str() == id).ok_or_else(|| {
        let known = plan.sources.iter().map(|source| source.id.as_str());
        Failure::usage(format!("there is no source `{id}`"), did_you_mean(id, known))
    })?;
    let note = |before, fire| about_day(&plan, source, before, fire);
    show(arguments, plan.schedule_of(source), from, note)
}

/// What is unusual about the day a fire is for; `before` is the fire before it.
fn about_day(
    plan: &Plan,
    source: &Source,
    before: Option<Timestamp>,
    fire: Timestamp,
) -> Option<String> {
    let zone = &plan.settings.zone;
    let of = |at| data_date(source.data_date, &source.calendar, zone, at);
    let date = of(fire);
    if let Some(why) = source.without_data(date) {
        return Some(format!("{why}: nothing is asked"));
    }
    if !source.calendar.covers(date) {
        return Some(format!(
            "for {date}, which the calendar `{}` does not know: an ordinary week counts",
            source.calendar
        ));
    }
    let day = zone.to_datetime(fire).date();
    let again = before.is_some_and(|before| of(before) == date);
    let short = source.calendar.is_half_day(date);
    if let (true, false, Some(close)) = (short, again, source.calendar.session_close(date)) {
        let close = close.to_zoned(plan.schedule_of(source).zone.clone()).strftime("%H:%M %Z");
        return Some(format!(
            "for {date}, a half day of `{}`: it closes at {close}",
            source.calendar
        ));
    }
    match (source.data_date, again) {
        (DataDateRule::PreviousSession, true) => {
            Some(format!("for {date} again: no session has closed since the fire before"))
        }
        (_, true) => Some(format!("for {date} again")),
        (DataDateRule::PreviousSession, false) if !source.calendar.has_data_on(day) => {
            Some(format!("for {date}; {day} is no session of `{}`", source.calendar))
        }
        _ => None,
    }
}

fn show(
    arguments: &ScheduleNext,
    schedule: &Schedule,
    from: Timestamp,
    about: impl Fn(Option<Timestamp>, Timestamp) -> Option<String>,
) -> Result<ExitCode, Failure> {
    let mut before = (from, schedule.last_at_or_before(from));
    let mut fires = Vec::new();
    for fire in schedule.fires_after(from).take(usize::from(arguments.count)) {
        let notes = [schedule.unusual(before.0, fire), about(before.1, fire)];
        let notes: Vec<String> = notes.into_iter().flatten().collect();
        fires.push((fire, (!notes.is_empty()).then(|| notes.join("; "))));
        before = (fire, Some(fire));
    }
    let local =
        |fire: Timestamp, format| fire.to_zoned(schedule.zone.clone()).strftime(format).to_string();
    if arguments.json {
        let fires: Vec<serde_json::Value> = fires
            .iter()
            .map(|(fire, note)| {
                json!({ "utc": fire, "local": local(*fire, "%Y-%m-%dT%H:%M:%S%:z"), "note": note })
            })
            .collect();
        output::json(&fires)?;
    } else if fires.is_empty() {
        output::to_stdout(&format!("`{}` never fires after {from}\n", schedule.text))?;
    } else {
        let rows: Vec<Vec<String>> = fires
            .into_iter()
            .map(|(fire, note)| {
                let local = local(fire, "%a %Y-%m-%d %H:%M %Z");
                vec![local, fire.to_string(), note.unwrap_or_default()]
            })
            .collect();
        let zone = format!("local ({})", schedule.zone_name);
        output::to_stdout(&output::table(&[&zone, "utc", "note"], &rows, &[]))?;
    }
    Ok(ExitCode::SUCCESS)
}
