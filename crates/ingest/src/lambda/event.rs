//! What wakes the function: the event, understood.
//!
//! In: the JSON that was sent. Out: an [`Event`], or what is wrong with it and what is accepted. Three
//! senders are known: a schedule of the `EventBridge` Scheduler whose input names
//! `<aws.scheduler.scheduled-time>`, one without an input or an `EventBridge` rule (both send AWS's own
//! "Scheduled Event"), and a person. Deliberately absent: the plan; whether a source exists is not
//! asked here.

use daymark_plan::did_you_mean;
use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::{Map, Value};

use crate::words::short;

/// The keys of an event of ours.
const KEYS: [&str; 3] = ["scheduled_at", "source", "data_date"];

/// What is asked of the function.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// The instant it answers to, which a retry has as well; none when a person asks.
    pub scheduled_at: Option<Timestamp>,
    /// The source to fetch, as it was written; all when none is named.
    pub source: Option<String>,
    /// The day to fetch; by default that of the scheduled instant, or of now.
    pub data_date: Option<Date>,
}

/// What is wrong with an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the event cannot be understood: {message}; {hint}")]
pub struct EventError {
    /// What was found.
    pub message: String,
    /// What is accepted.
    pub hint: String,
}

impl Event {
    /// Reads an event. An unknown key is an error: `{"date": ...}` must not fetch today.
    pub fn read(event: &Value) -> Result<Self, EventError> {
        let members = match event {
            Value::Null => return Ok(Self::default()),
            Value::Object(members) => members,
            other => {
                let message = format!("it is `{}`", short(&other.to_string()));
                return Err(wrong(message, "accepted: an object, such as `{}`"));
            }
        };
        let sender = members.get("source").and_then(Value::as_str).unwrap_or_default();
        if members.contains_key("detail-type") || sender.starts_with("aws.") {
            return of_aws(members);
        }
        if let Some(key) = members.keys().find(|key| !KEYS.contains(&key.as_str())) {
            let message = format!("it has the key `{}`", short(key));
            return Err(wrong(message, did_you_mean(key, KEYS)));
        }
        let text = |key: &str| match members.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(other) => {
                let message = format!("`{key}` is `{}`", short(&other.to_string()));
                Err(wrong(message, "accepted: a text"))
            }
        };
        let scheduled_at =
            text("scheduled_at")?.map(|at| instant("scheduled_at", at)).transpose()?;
        let data_date = text("data_date")?.map(day).transpose()?;
        Ok(Self { scheduled_at, source: text("source")?.map(str::to_owned), data_date })
    }
}

/// The event that AWS makes itself; its `time` is the scheduled one.
fn of_aws(members: &Map<String, Value>) -> Result<Event, EventError> {
    let text = |key: &str| members.get(key).and_then(Value::as_str).unwrap_or_default();
    let (sender, kind) = (text("source"), text("detail-type"));
    if kind != "Scheduled Event" && sender != "aws.events" {
        let message = format!("it is a `{}` of `{}`", short(kind), short(sender));
        return Err(wrong(message, "accepted: a `Scheduled Event`"));
    }
    Ok(Event { scheduled_at: Some(instant("time", text("time"))?), ..Event::default() })
}

fn instant(key: &str, text: &str) -> Result<Timestamp, EventError> {
    text.parse().map_err(|_| {
        wrong(
            format!("`{key}` is `{}`", short(text)),
            "accepted: an instant such as `2026-11-23T13:00:00Z`, which is what EventBridge Scheduler \
             puts in the place of `<aws.scheduler.scheduled-time>`",
        )
    })
}

fn day(text: &str) -> Result<Date, EventError> {
    // A whole instant would also be parsed as the date it begins with.
    let date = text.parse::<Date>().ok().filter(|date| date.to_string() == text);
    date.ok_or_else(|| {
        let message = format!("`data_date` is `{}`", short(text));
        wrong(message, "accepted: a day such as `2026-11-23`")
    })
}

fn wrong(message: String, hint: impl Into<String>) -> EventError {
    EventError { message, hint: hint.into() }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use serde_json::json;

    use super::*;

    fn at(text: &str) -> Event {
        Event { scheduled_at: Some(text.parse().unwrap()), ..Event::default() }
    }

    #[test]
    fn the_three_senders_are_understood() {
        let of_schedule = json!({ "scheduled_at": "2026-11-23T13:00:00Z" });
        assert_eq!(Event::read(&of_schedule).unwrap(), at("2026-11-23T13:00:00Z"));
        for (sender, detail) in [("aws.events", json!({})), ("aws.scheduler", json!("{}"))] {
            let of_aws = json!({
                "version": "0", "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
                "detail-type": "Scheduled Event", "source": sender, "account": "123456789012",
                "time": "2026-11-23T13:00:00Z", "region": "us-east-1", "resources": [],
                "detail": detail,
            });
            assert_eq!(Event::read(&of_aws).unwrap(), at("2026-11-23T13:00:00Z"), "{sender}");
        }
        assert_eq!(Event::read(&json!({})).unwrap(), Event::default());
        assert_eq!(Event::read(&Value::Null).unwrap(), Event::default());
        let of_a_person = json!({ "source": "weather", "data_date": "2026-11-23" });
        let (source, data_date) = (Some("weather".to_owned()), Some(date(2026, 11, 23)));
        let expected = Event { source, data_date, scheduled_at: None };
        assert_eq!(Event::read(&of_a_person).unwrap(), expected);
    }

    #[test]
    fn what_is_not_understood_is_said_with_what_is_accepted() {
        let said = |event: &Value| Event::read(event).unwrap_err().to_string();
        insta::assert_snapshot!(said(&json!({ "date": "2026-11-23" })), @"the event cannot be understood: it has the key `date`; accepted: `scheduled_at`, `source`, `data_date`");
        insta::assert_snapshot!(said(&json!({ "data_date": "2026-11-23T13:00:00Z" })), @"the event cannot be understood: `data_date` is `2026-11-23T13:00:00Z`; accepted: a day such as `2026-11-23`");
        insta::assert_snapshot!(said(&json!({ "data_date": "2026-1-2" })), @"the event cannot be understood: `data_date` is `2026-1-2`; accepted: a day such as `2026-11-23`");
        insta::assert_snapshot!(said(&json!({ "data_date": 20_261_123 })), @"the event cannot be understood: `data_date` is `20261123`; accepted: a text");
        insta::assert_snapshot!(said(&json!({ "scheduled_at": "<aws.scheduler.scheduled-time>" })), @"the event cannot be understood: `scheduled_at` is `<aws.scheduler.scheduled-time>`; accepted: an instant such as `2026-11-23T13:00:00Z`, which is what EventBridge Scheduler puts in the place of `<aws.scheduler.scheduled-time>`");
        insta::assert_snapshot!(said(&json!({ "source": "aws.s3", "detail-type": "Object Created" })), @"the event cannot be understood: it is a `Object Created` of `aws.s3`; accepted: a `Scheduled Event`");
        insta::assert_snapshot!(said(&json!({ "source": "aws.events" })), @"the event cannot be understood: `time` is ``; accepted: an instant such as `2026-11-23T13:00:00Z`, which is what EventBridge Scheduler puts in the place of `<aws.scheduler.scheduled-time>`");
        insta::assert_snapshot!(said(&json!(["weather"])), @r#"the event cannot be understood: it is `["weather"]`; accepted: an object, such as `{}`"#);
    }
}
