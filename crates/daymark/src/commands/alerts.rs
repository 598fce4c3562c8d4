//! `daymark alerts`: what is wrong, who was told, what is muted, and whether a channel works.
//!
//! In: a folder. Out: the alerts' tables as text or JSON; a mute; a test message with what came back. Deliberately
//! absent: finding what is wrong and telling of it (`crate::alerts`).

use std::process::ExitCode;

use daymark_plan::{Clock, Plan};
use daymark_warehouse::Warehouse;
use daymark_warehouse::alerts::{self, Mute, NewMute, OpenAlert, Overview, Undelivered};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use serde_json::json;

use crate::alerts::test as send_test;
use crate::cli::{Alerts, AlertsList, AlertsMute, AlertsTest, AlertsUnmute};
use crate::commands;
use crate::commands::who;
use crate::failure::Failure;
use crate::output;

/// Lists, mutes, or tests.
pub(crate) async fn alerts(command: &Alerts) -> Result<ExitCode, Failure> {
    match command {
        Alerts::List(arguments) => list(arguments).await,
        Alerts::Mute(arguments) => mute(arguments).await,
        Alerts::Unmute(arguments) => unmute(arguments).await,
        Alerts::Test(arguments) => test(arguments).await,
    }
}

async fn list(arguments: &AlertsList) -> Result<ExitCode, Failure> {
    let plan = commands::load(&arguments.folder)?;
    let warehouse = Warehouse::open(&plan).await?;
    let read = overview(&warehouse).await;
    warehouse.close().await;
    let overview = read?;
    if arguments.json {
        output::json(&overview)?;
    } else {
        output::to_stdout(&text(&plan, &overview))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Everything about alerts now.
pub(crate) async fn overview(warehouse: &Warehouse) -> Result<Overview, Failure> {
    let mut session = warehouse.session("reading the alerts").await?;
    Ok(alerts::overview(&mut session, Clock::System.now()).await?)
}

fn text(plan: &Plan, overview: &Overview) -> String {
    let Overview { open, mutes, undelivered } = overview;
    let mut text = String::new();
    if open.is_empty() {
        text.push_str("nothing is wrong\n");
    } else {
        let rows: Vec<Vec<String>> = open.iter().map(|alert| opened(plan, alert)).collect();
        text.push_str(&output::table(&["since", "alert", "what", "told", "why"], &rows, &[]));
    }
    for mute in mutes {
        text.push_str(&muted(plan, mute));
    }
    for channel in undelivered {
        text.push_str(&waiting(plan, channel));
    }
    if plan.settings.alerts.is_empty() {
        text.push_str("nobody is told: the folder has no `[[alerts]]` (docs/alerts.md)\n");
    }
    text
}

fn opened(plan: &Plan, alert: &OpenAlert) -> Vec<String> {
    let told = if alert.told.is_empty() { "-".to_owned() } else { alert.told.join(", ") };
    vec![
        local(plan, alert.since),
        alert.key.clone(),
        alert.event.clone(),
        told,
        output::cut(&alert.reason, 100),
    ]
}

fn muted(plan: &Plan, mute: &Mute) -> String {
    let what = mute.source.as_deref().unwrap_or("everything");
    let days = match (mute.from, mute.to) {
        (Some(from), Some(to)) if from == to => format!(" {from}"),
        (Some(from), Some(to)) => format!(" {from} to {to}"),
        (Some(from), None) => format!(" from {from} on"),
        (None, Some(to)) => format!(" up to {to}"),
        (None, None) => String::new(),
    };
    let until = mute.until.map_or_else(
        || "until it is taken back".to_owned(),
        |until| format!("until {}", local(plan, until)),
    );
    let (id, why, by) = (mute.id, &mute.why, &mute.by);
    format!("muted ({id}): {what}{days}, {until}, by {by}: {why}\n")
}

/// Messages of a channel that did not arrive.
pub(crate) fn waiting(plan: &Plan, channel: &Undelivered) -> String {
    let Undelivered { channel, pending, given_up, error, next_at } = channel;
    let mut parts = Vec::new();
    if *pending > 0 {
        let next = next_at.map_or_else(String::new, |at| {
            format!(", the next attempt is due at {}", local(plan, at))
        });
        parts.push(format!("{} waiting{next}", messages(*pending)));
    }
    if *given_up > 0 {
        parts.push(format!("{} given up", messages(*given_up)));
    }
    format!("not delivered to `{channel}`: {}; it said: {error}\n", parts.join(", "))
}

fn messages(count: i64) -> String {
    output::counted(u64::try_from(count).unwrap_or(0), "message")
}

fn local(plan: &Plan, at: Timestamp) -> String {
    output::local(at, &plan.settings.zone)
}

async fn mute(arguments: &AlertsMute) -> Result<ExitCode, Failure> {
    let plan = commands::load(&arguments.folder)?;
    if arguments.why.trim().is_empty() {
        return Err(Failure::usage("`--why` is empty", "say why, for whoever finds it muted"));
    }
    let source = match &arguments.source {
        Some(name) => Some(commands::source(&plan, name)?.id.as_str()),
        None => None,
    };
    if let (Some(from), Some(to)) = (arguments.from, arguments.to)
        && to < from
    {
        let message = format!("`--to {to}` lies before `--from {from}`");
        return Err(Failure::usage(message, "give the first day with --from, the last with --to"));
    }
    let now = Clock::System.now();
    let until = arguments.until.as_deref().map(|text| until(&plan, text, now)).transpose()?;
    let by = who(&plan);
    let new = NewMute {
        source,
        from: arguments.from,
        to: arguments.to,
        until,
        why: arguments.why.trim(),
        by: &by.clone(),
    };
    let warehouse = Warehouse::open(&plan).await?;
    let done = async {
        let mut session = warehouse.session("muting").await?;
        alerts::mute(&mut session, &new, now).await
    };
    let done = done.await;
    warehouse.close().await;
    let id = done?;
    if arguments.json {
        output::json(&json!({ "id": id }))?;
    } else {
        let NewMute { from, to, until, .. } = new;
        let (source, why) = (source.map(str::to_owned), new.why.to_owned());
        let mute = Mute { id, source, from, to, until, why, by, at: now };
        let said = muted(&plan, &mute);
        output::to_stdout(&format!("{said}`daymark alerts unmute {id}` takes it back\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// An instant, or a time or a date of the pipeline's zone, which must lie ahead.
fn until(plan: &Plan, text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let zone = &plan.settings.zone;
    let civil = |at: DateTime| zone.to_ambiguous_timestamp(at).compatible().ok();
    let at = match (text.parse::<Timestamp>(), text.parse::<DateTime>(), text.parse::<Date>()) {
        (Ok(at), ..) => Some(at),
        (_, Ok(at), _) => civil(at),
        (_, _, Ok(date)) => civil(date.at(0, 0, 0, 0)),
        _ => None,
    };
    let hint =
        "give an instant such as 2027-03-13T08:00:00Z, or a date or time in the pipeline's zone";
    let at = at.ok_or_else(|| Failure::usage(format!("`--until` is `{text}`"), hint))?;
    if at <= now {
        return Err(Failure::usage(format!("`--until {text}` has passed"), hint));
    }
    Ok(at)
}

async fn unmute(arguments: &AlertsUnmute) -> Result<ExitCode, Failure> {
    let plan = commands::load(&arguments.folder)?;
    let warehouse = Warehouse::open(&plan).await?;
    let done = async {
        let mut session = warehouse.session("taking a mute back").await?;
        alerts::unmute(&mut session, arguments.id, Clock::System.now()).await
    };
    let done = done.await;
    warehouse.close().await;
    let ended = done?;
    if let (0, Some(id)) = (ended, arguments.id) {
        return Err(Failure::usage(
            format!("there is no mute {id}"),
            "`daymark alerts list` shows the mutes with their numbers",
        ));
    }
    if arguments.json {
        output::json(&json!({ "ended": ended }))?;
    } else {
        output::to_stdout(&format!("{} taken back\n", output::counted(ended, "mute")))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn test(arguments: &AlertsTest) -> Result<ExitCode, Failure> {
    let plan = commands::load(&arguments.folder)?;
    let name = &arguments.channel;
    let channel = plan.settings.alerts.iter().find(|channel| channel.name == *name);
    let channel = channel.ok_or_else(|| {
        let known = plan.settings.alerts.iter().map(|channel| channel.name.as_str());
        let hint = match plan.settings.alerts.len() {
            0 => "write `[[alerts]]` in daymark.toml (docs/alerts.md)".to_owned(),
            _ => daymark_plan::did_you_mean(name, known),
        };
        Failure::usage(format!("the pipeline has no channel `{name}`"), hint)
    })?;
    let answer = send_test(&plan, channel, Clock::System.now()).await?;
    if arguments.json {
        let kind = channel.kind.as_str();
        output::json(&json!({ "channel": name, "type": kind, "answer": answer }))?;
    } else {
        output::to_stdout(&format!("`{name}` took the test message; it said: {answer}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}
