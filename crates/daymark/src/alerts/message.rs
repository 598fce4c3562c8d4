//! What is said: one document for all channels, and the same as text.
//!
//! In: messages of the outbox and the plan. Out: a [`Document`], which is the JSON of webhooks (docs/alerts.md, its
//! `version` counts changes that break readers), and text that says what, which source and date, why, and what to
//! do. Deliberately absent: sending it.

use daymark_plan::{AlertEvent, Plan, Source, SourceId};
use daymark_warehouse::alerts::{Action, Message};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::Serialize;

/// The version of the document.
const VERSION: u32 = 1;
/// So many messages are told in full in a text; a webhook gets all.
const IN_FULL: usize = 20;
/// The longest reason in a text, in characters.
const REASON: usize = 600;

/// Messages of a pipeline, sent in one.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Document<'d> {
    version: u32,
    pipeline: &'d str,
    sent_at: Timestamp,
    alerts: Vec<Entry>,
    #[serde(skip)]
    zone: &'d TimeZone,
    #[serde(skip)]
    dashboard: Option<&'d str>,
}

/// One message.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Entry {
    /// Its number; the same when it is sent again. 0 of a test.
    id: i64,
    /// What it is about; the same for its beginning, its reminders and its end.
    key: String,
    /// `trigger`, `reminder`, `resolve` or `test`.
    action: &'static str,
    /// What is, or was, wrong.
    event: &'static str,
    source: Option<String>,
    data_date: Option<Date>,
    /// Rows, where it is about rows.
    rows: Option<i64>,
    /// In one line.
    summary: String,
    /// Why.
    reason: String,
    /// The command to type; none when there is nothing to do.
    todo: Option<String>,
    /// Since when it is wrong.
    since: Timestamp,
    /// When this was said.
    at: Timestamp,
    /// The page to look at, where the dashboard's address is known.
    url: Option<String>,
}

impl Entry {
    /// A message of the outbox.
    pub(crate) fn of(plan: &Plan, message: &Message) -> Self {
        let source = message.source.as_deref().and_then(SourceId::new);
        let source = source.and_then(|id| plan.source(&id));
        let is_over = message.action == Action::Resolve;
        Self {
            id: message.id,
            key: message.key.clone(),
            action: message.action.as_str(),
            event: message.event.as_str(),
            source: message.source.clone(),
            data_date: message.data_date,
            rows: message.rows,
            summary: summary(message),
            reason: message.reason.clone(),
            todo: (!is_over).then(|| todo(message, source)),
            since: message.since,
            at: message.at,
            url: plan.settings.dashboard.url.as_ref().map(|base| match message.data_date {
                Some(date) => {
                    // A few days more, so that the day stands among others.
                    format!("{base}/ledger?to={}&days=30", date.saturating_add(3.days()))
                }
                None => format!("{base}/ledger"),
            }),
        }
    }

    /// A message that tries a channel.
    pub(crate) fn test(now: Timestamp) -> Self {
        Self {
            id: 0,
            key: "test".to_owned(),
            action: "test",
            event: "test",
            source: None,
            data_date: None,
            rows: None,
            summary: "a test of this channel".to_owned(),
            reason: "somebody typed `daymark alerts test`".to_owned(),
            todo: None,
            since: now,
            at: now,
            url: None,
        }
    }

    fn text(&self, zone: &TimeZone) -> String {
        let mut text = format!("{}\n", self.summary);
        if !self.reason.is_empty() {
            let label = if self.action == "resolve" { "it was: " } else { "" };
            text.push_str(&format!("  {label}{}\n", crate::output::cut(&self.reason, REASON)));
        }
        if self.action != "test" {
            let since = crate::output::local(self.since, zone);
            text.push_str(&format!("  since: {since}\n"));
        }
        if let Some(todo) = &self.todo {
            text.push_str(&format!("  to do: {todo}\n"));
        }
        text
    }
}

impl<'d> Document<'d> {
    /// Messages in one document.
    pub(crate) fn of(plan: &'d Plan, alerts: Vec<Entry>, now: Timestamp) -> Self {
        Self {
            version: VERSION,
            pipeline: &plan.name,
            // As fine as the ledger's own times.
            sent_at: Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now),
            alerts,
            zone: &plan.settings.zone,
            dashboard: plan.settings.dashboard.url.as_deref(),
        }
    }

    /// On one line.
    pub(crate) fn subject(&self) -> String {
        let first = self.alerts.first().map_or("", |entry| entry.summary.as_str());
        let subject = match self.alerts.len() {
            0 | 1 => format!("[{}] {first}", self.pipeline),
            count => format!("[{}] {first}, and {} more", self.pipeline, count - 1),
        };
        crate::output::cut(&subject, 150)
    }

    /// What stands before the text where there is no subject.
    pub(crate) fn heading(&self) -> String {
        match self.alerts.len() {
            0 | 1 => format!("[{}] ", self.pipeline),
            count => format!("[{}] {count} messages\n", self.pipeline),
        }
    }

    /// As text.
    pub(crate) fn text(&self) -> String {
        let told: Vec<String> =
            self.alerts.iter().take(IN_FULL).map(|entry| entry.text(self.zone)).collect();
        let mut text = told.join("\n");
        let more = self.alerts.len().saturating_sub(IN_FULL);
        if more > 0 {
            text.push_str(&format!("\nand {more} more: `daymark alerts list`\n"));
        }
        match self.alerts.first().and_then(|entry| entry.url.as_deref()) {
            Some(url) if self.alerts.len() == 1 => text.push_str(&format!("\n{url}\n")),
            _ => {
                if let Some(base) = self.dashboard {
                    text.push_str(&format!("\n{base}/ledger\n"));
                }
            }
        }
        text
    }

    /// Each message on a line, and whether it is a good one.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (bool, String)> {
        self.alerts.iter().map(|entry| {
            let reason = if entry.reason.is_empty() { "" } else { ": " };
            let todo =
                entry.todo.as_ref().map_or_else(String::new, |todo| format!("; to do: {todo}"));
            let line = format!("{}{reason}{}{todo}", entry.summary, entry.reason);
            (matches!(entry.action, "resolve" | "test"), crate::output::cut(&line, 2 * REASON))
        })
    }

    /// What tells it apart from every other, and stays when it is sent again.
    pub(crate) fn identity(&self) -> String {
        let first = self.alerts.first();
        let (id, at) = first.map_or((0, self.sent_at), |entry| (entry.id, entry.at));
        format!("daymark-{}-{id}-{}", self.pipeline, at.as_microsecond())
    }
}

/// What is wrong, or was, on one line.
fn summary(message: &Message) -> String {
    let what = match (&message.source, message.data_date) {
        (Some(source), Some(date)) => format!("{source} {date}"),
        (Some(source), None) => source.clone(),
        (None, _) => String::new(),
    };
    let rows = message.rows.unwrap_or(0);
    let now = match message.event {
        AlertEvent::RunFailed if message.source.is_none() => "a run failed as a whole".to_owned(),
        AlertEvent::RunFailed => format!("{what} failed"),
        AlertEvent::Late => format!("{what} is late"),
        AlertEvent::Missing => format!("{what} is missing"),
        AlertEvent::GivenUp => format!("{what} is given up: it is not tried any more"),
        AlertEvent::Quarantined => format!("{what} is quarantined"),
        AlertEvent::SchemaDrift => format!("{what}: the responses changed their shape"),
        AlertEvent::Rejects if rows == 1 => format!("{what}: 1 row was set aside"),
        AlertEvent::Rejects => format!("{what}: {rows} rows were set aside"),
        AlertEvent::VolumeAnomaly => format!("{what}: an unusual number of rows"),
        AlertEvent::CheckWarned => format!("{what}: a check warns"),
        AlertEvent::SchedulerStopped => "the scheduler has stopped".to_owned(),
    };
    match message.action {
        Action::Trigger => now,
        Action::Reminder => format!("still: {now}"),
        Action::Resolve => format!("recovered: {}", recovered(message, &what)),
    }
}

/// What is well again.
fn recovered(message: &Message, what: &str) -> String {
    match message.event {
        AlertEvent::RunFailed if message.source.is_none() => "runs end in order again".to_owned(),
        AlertEvent::RunFailed
        | AlertEvent::Late
        | AlertEvent::Missing
        | AlertEvent::Quarantined => {
            format!("{what} is well again")
        }
        AlertEvent::GivenUp => format!("{what} is settled: it was published, or left out"),
        AlertEvent::SchemaDrift => format!("{what}: the responses keep their shape"),
        AlertEvent::Rejects => format!("{what}: no rows are set aside any more"),
        AlertEvent::VolumeAnomaly => format!("{what}: the number of rows is usual again"),
        AlertEvent::CheckWarned => format!("{what}: the check passes again"),
        AlertEvent::SchedulerStopped => "the schedule is kept again".to_owned(),
    }
}

/// What to type.
fn todo(message: &Message, source: Option<&Source>) -> String {
    let id = message.source.as_deref().unwrap_or_default();
    let date = message.data_date.map(|date| date.to_string()).unwrap_or_default();
    match message.event {
        AlertEvent::RunFailed if message.source.is_none() => "daymark runs --failed".to_owned(),
        AlertEvent::RunFailed | AlertEvent::Late | AlertEvent::Missing => match source {
            Some(source) if source.answers_for_any_date() => {
                format!("daymark run --source {id} --date {date}")
            }
            // Its API answers as of now only.
            _ => format!("daymark run --source {id}"),
        },
        // One that can still be asked for the day; of the others a person has to decide.
        AlertEvent::GivenUp if source.is_some_and(Source::answers_for_any_date) => {
            format!("daymark dlq retry {date} --source {id}")
        }
        AlertEvent::GivenUp => format!("daymark dlq show {date} --source {id}"),
        AlertEvent::Quarantined => format!("daymark quarantine show {date} --source {id}"),
        AlertEvent::SchemaDrift => format!("daymark drift --source {id}"),
        AlertEvent::Rejects => format!("daymark rejects show --source {id} --since {date}"),
        AlertEvent::VolumeAnomaly | AlertEvent::CheckWarned => "daymark status".to_owned(),
        AlertEvent::SchedulerStopped => "daymark up".to_owned(),
    }
}
