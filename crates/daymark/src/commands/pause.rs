//! `daymark pause` and `daymark resume`.
//!
//! In: a folder, perhaps a source, an end and a reason. Out: rows of the ledger that every `daymark up` on the
//! database reads, and a sentence. Deliberately absent: what becomes of the fires meanwhile (`schedule`).

use std::process::ExitCode;

use daymark_plan::{Clock, Plan};
use daymark_warehouse::{Warehouse, fires};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};

use crate::cli::{Pause, Resume};
use crate::commands;
use crate::failure::Failure;
use crate::output;

/// Pauses.
pub(crate) async fn pause(arguments: &Pause) -> Result<ExitCode, Failure> {
    let plan = commands::load(&arguments.folder)?;
    let source =
        arguments.source.as_deref().map(|name| commands::source(&plan, name)).transpose()?;
    let now = Clock::System.now();
    let until = arguments.until.as_deref().map(|text| instant(&plan, text, now)).transpose()?;
    let pause = fires::Pause {
        source: source.map(|source| source.id.to_string()),
        since: now,
        until,
        why: arguments.why.clone(),
        resumed_at: None,
    };
    let warehouse = Warehouse::open(&plan).await?;
    let written = async {
        let mut session = warehouse.session("pausing").await?;
        fires::pause(&mut session, &pause).await
    };
    let written = written.await;
    warehouse.close().await;
    written?;
    output::to_stdout(&format!("{}\n", sentence(&plan, &pause)))?;
    Ok(ExitCode::SUCCESS)
}

/// Resumes.
pub(crate) async fn resume(arguments: &Resume) -> Result<ExitCode, Failure> {
    let plan = commands::load(&arguments.folder)?;
    let source =
        arguments.source.as_deref().map(|name| commands::source(&plan, name)).transpose()?;
    let id = source.map(|source| source.id.as_str());
    let now = Clock::System.now();
    let warehouse = Warehouse::open(&plan).await?;
    let written = async {
        let mut session = warehouse.session("resuming").await?;
        let ended = fires::resume(&mut session, id, now).await?;
        Ok::<_, Failure>((ended, fires::pauses(&mut session).await?))
    };
    let written = written.await;
    warehouse.close().await;
    let (ended, pauses) = written?;
    let what = id.map_or("the pipeline".to_owned(), |id| format!("`{id}`"));
    let mut left: Vec<&fires::Pause> = pauses
        .iter()
        .filter(|pause| pause.is_open(now))
        .filter(|pause| id.is_none() || pause.source.is_none())
        .collect();
    left.dedup();
    let mut text = match ended {
        0 => format!("{what} is not paused\n"),
        _ => format!("{what} is resumed\n"),
    };
    for pause in left {
        text.push_str(&format!("still paused: {}\n", sentence(&plan, pause)));
    }
    output::to_stdout(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// A pause in words.
pub(crate) fn sentence(plan: &Plan, pause: &fires::Pause) -> String {
    let what = pause.source.as_ref().map_or("the pipeline".to_owned(), |id| format!("`{id}`"));
    let until = match pause.until {
        Some(until) => format!("until {}", output::exactly(plan, until)),
        None => "until `daymark resume`".to_owned(),
    };
    let why = pause.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
    format!("{what} is paused since {} {until}{why}", output::exactly(plan, pause.since))
}

/// An instant, or a date or time of the pipeline's zone, that has not passed.
fn instant(plan: &Plan, text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let zone = &plan.settings.zone;
    let wall = || {
        let date = || text.parse::<Date>().ok().map(|date| date.at(0, 0, 0, 0));
        let wall = if text.contains('T') { text.parse::<DateTime>().ok() } else { date() }?;
        zone.to_ambiguous_timestamp(wall).compatible().ok()
    };
    let at = text.parse::<Timestamp>().ok().or_else(wall).ok_or_else(|| {
        Failure::usage(
            format!("`--until` is `{text}`"),
            format!(
                "give an instant such as 2027-01-04T13:00:00Z, or a date or time in {} such as 2027-01-04 or \
                 2027-01-04T08:00",
                plan.settings.zone_name
            ),
        )
    })?;
    if at <= now {
        return Err(Failure::usage(
            format!("`--until` {} has passed", output::exactly(plan, at)),
            format!("it is {} now", output::exactly(plan, now)),
        ));
    }
    Ok(at)
}
