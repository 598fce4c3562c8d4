//! `[incremental]` and `[window]`: what part of a source a fetch asks for.
//!
//! In: the TOML tables. Out: an [`Incremental`] and a [`Window`]. Deliberately absent: where the
//! cursor stands, which the manifests say.

use std::cmp::Ordering;

use jiff::civil::Date;
use jiff::{Span, Timestamp};

use super::pagination::required_path;
use super::template::{Moment, Shift};
use crate::json_path::JsonPath;
use crate::problem::Problem;
use crate::section::{Section, choose};

/// How cursors are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CursorType {
    /// Instants, RFC 3339.
    Timestamp,
    /// Dates.
    Date,
    /// Whole numbers.
    Integer,
    /// Words, byte by byte.
    Text,
}

impl CursorType {
    /// A cursor that can be compared and reckoned with; `None` for a text that is none of this type.
    pub fn read(self, text: &str) -> Option<Moment> {
        match self {
            Self::Timestamp => text.parse::<Timestamp>().ok().map(Moment::Instant),
            Self::Date => text.parse::<Date>().ok().map(Moment::Date),
            Self::Integer => text.parse::<i128>().ok().map(|_| Moment::Text(text.to_owned())),
            Self::Text => Some(Moment::Text(text.to_owned())),
        }
    }

    /// Which of two cursors of this type is further; equal where one of them is none.
    pub fn compare(self, a: &str, b: &str) -> Ordering {
        match self {
            Self::Timestamp => a.parse::<Timestamp>().ok().cmp(&b.parse::<Timestamp>().ok()),
            Self::Date => a.parse::<Date>().ok().cmp(&b.parse::<Date>().ok()),
            Self::Integer => a.parse::<i128>().ok().cmp(&b.parse::<i128>().ok()),
            Self::Text => a.cmp(b),
        }
    }

    /// What a value of this type looks like.
    pub fn example(self) -> &'static str {
        match self {
            Self::Timestamp => "an instant such as 2026-01-31T00:00:00Z",
            Self::Date => "a date such as 2026-01-31",
            Self::Integer => "a whole number",
            Self::Text => "any text",
        }
    }
}

/// How a source is asked for what is new only.
#[derive(Debug, Clone)]
pub struct Incremental {
    /// Where the values are whose largest is the next cursor.
    pub path: JsonPath,
    /// How they compare.
    pub cursor_type: CursorType,
    /// The cursor before the first fetch.
    pub initial: String,
    /// How far before the cursor a fetch asks, for rows that came late.
    pub lag: Option<Span>,
}

impl Incremental {
    /// What a request carries for a cursor: the cursor less the lag.
    pub fn asked_for(&self, cursor: &str) -> Result<Moment, String> {
        let read = self.cursor_type.read(cursor);
        let moment = read.ok_or_else(|| {
            format!("the cursor `{cursor}` is not {}", self.cursor_type.example())
        })?;
        match self.lag {
            Some(lag) => moment.plus(-lag),
            None => Ok(moment),
        }
    }
}

/// The days a request asks for, when its API takes dates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// How many, up to the data date; default 1.
    pub days: u32,
}

/// Reads `[incremental]`.
pub(super) fn read(
    section: Option<Section<'_>>,
    problems: &mut Vec<Problem>,
) -> Option<Incremental> {
    let mut section = section?;
    let path = required_path(&mut section, "cursor", problems);
    let types = [
        ("timestamp", CursorType::Timestamp),
        ("date", CursorType::Date),
        ("integer", CursorType::Integer),
        ("text", CursorType::Text),
    ];
    let cursor_type = choose(&mut section, "type", &types, None, problems);
    let initial = section.required_string("initial", problems);
    if let (Some(kind), Some(initial)) = (cursor_type, &initial)
        && kind.read(initial).is_none()
    {
        let message = format!("`incremental.initial` is `{initial}`");
        let hint = format!("accepted: {}", kind.example());
        problems.push(section.problem("initial", message).hint(hint));
    }
    let lag = section.optional_string("lag", problems).and_then(|text| {
        let dated = matches!(cursor_type, Some(CursorType::Timestamp | CursorType::Date) | None);
        let span = Shift::span(&text);
        if !dated {
            let problem = section.problem("lag", "only dates and instants can lag");
            problems.push(problem);
        }
        span.map_err(|reason| problems.push(section.problem("lag", reason))).ok()
    });
    section.finish(problems);
    Some(Incremental { path: path?, cursor_type: cursor_type?, initial: initial?, lag })
}

/// Reads `[window]`.
pub(super) fn read_window(section: Option<Section<'_>>, problems: &mut Vec<Problem>) -> Window {
    let Some(mut section) = section else { return Window { days: 1 } };
    let days = section.optional_whole("days", 1..=36_600, problems).unwrap_or(1);
    section.finish(problems);
    Window { days }
}
