//! `[retry]`, `[days]`, `[rate]` and `[expect]`: how often, how fast, and what an answer must look like.
//!
//! In: the TOML tables. Out: [`Retry`], [`DayRetry`], [`Rate`] and
//! [`Expect`]. Deliberately absent: acting on them.

use std::time::Duration;

use jiff::SignedDuration;
use toml::de::DeValue;

use crate::json_path::JsonPath;
use crate::problem::Problem;
use crate::rows;
use crate::section::{Section, choose};

/// When a failed request is tried again: on 429, 408, 5xx and transport errors, with exponential
/// backoff and full jitter, honouring `Retry-After`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retry {
    /// Requests for one page in all; default 4.
    pub attempts: u32,
    /// Time for one page in all; a wait that does not fit is not waited for. Default 5 min.
    pub total: Duration,
    /// The upper bound of the first wait; doubles with each attempt. Default 1 s.
    pub base: Duration,
    /// No wait of our own choosing is longer; default 30 s.
    pub cap: Duration,
}

/// When a day whose scheduled run failed is tried again by the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayRetry {
    /// Runs for one day in all; default 4. With 1 a day that failed is given up at once.
    pub attempts: u32,
    /// The first wait, counted from the failure; doubles with each. Default 15 min.
    pub backoff: SignedDuration,
    /// How old a day may be, counted from its fire, and still be tried. Default 24 h.
    pub max_age: SignedDuration,
}

impl Default for DayRetry {
    fn default() -> Self {
        Self {
            attempts: 4,
            backoff: SignedDuration::from_mins(15),
            max_age: SignedDuration::from_hours(24),
        }
    }
}

/// How fast something may be asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// So many calls ...
    pub calls: u32,
    /// ... in so long.
    pub per: Duration,
}

/// How many calls a request counts as.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Weight {
    /// So many.
    Calls(u32),
    /// By variables, days and locations, as Open-Meteo counts (FORMATS.md section A).
    OpenMeteo,
}

/// What a 200 must look like to be taken.
#[derive(Debug, Clone)]
pub struct Expect {
    /// Paths that must match something other than null.
    pub present: Vec<JsonPath>,
    /// Paths that must match nothing but null.
    pub absent: Vec<JsonPath>,
    /// Paths of arrays that must be of one length.
    pub same_length: Vec<JsonPath>,
    /// What the content type must start with.
    pub content_type: Option<String>,
    /// The fewest rows left after rejects; default 1.
    pub min_rows: u64,
    /// The largest part of the rows that may be rejected, 0 to 1; default 0.1.
    pub max_reject_ratio: f64,
}

/// Reads `[retry]`.
pub(super) fn read_retry(section: Option<Section<'_>>, problems: &mut Vec<Problem>) -> Retry {
    let mut retry = Retry {
        attempts: 4,
        total: Duration::from_mins(5),
        base: Duration::from_secs(1),
        cap: Duration::from_secs(30),
    };
    let Some(mut section) = section else { return retry };
    if let Some(attempts) = section.optional_whole("attempts", 1..=100, problems) {
        retry.attempts = attempts;
    }
    if let Some(seconds) = section.optional_number("total_seconds", 0.0..=86_400.0, problems) {
        retry.total = Duration::from_secs_f64(seconds);
    }
    if let Some(seconds) = section.optional_number("base_seconds", 0.001..=3600.0, problems) {
        retry.base = Duration::from_secs_f64(seconds);
    }
    if let Some(seconds) = section.optional_number("cap_seconds", 0.001..=3600.0, problems) {
        retry.cap = Duration::from_secs_f64(seconds);
    }
    section.finish(problems);
    retry
}

/// Reads `[days]`.
pub(super) fn read_days(section: Option<Section<'_>>, problems: &mut Vec<Problem>) -> DayRetry {
    let mut days = DayRetry::default();
    let Some(mut section) = section else { return days };
    if let Some(attempts) = section.optional_whole("attempts", 1..=100, problems) {
        days.attempts = attempts;
    }
    for (key, span) in [("backoff", &mut days.backoff), ("max_age", &mut days.max_age)] {
        let Some(word) = section.optional_string(key, problems) else { continue };
        if let Some(long) = super::duration(&word).filter(SignedDuration::is_positive) {
            *span = long;
        } else {
            let problem = section.problem(key, format!("`days.{key}` is `{word}`"));
            problems.push(
                problem.hint(
                    "accepted: a span such as \"15min\", \"2h\" or \"3d\"; a day is 24 hours",
                ),
            );
        }
    }
    section.finish(problems);
    days
}

/// Reads the `calls` and `per` of a table.
pub(crate) fn read_calls(section: &mut Section<'_>, problems: &mut Vec<Problem>) -> Option<Rate> {
    let calls = section.optional_whole("calls", 1..=10_000_000, problems);
    let units = [
        ("second", Duration::from_secs(1)),
        ("minute", Duration::from_mins(1)),
        ("hour", Duration::from_hours(1)),
        ("day", Duration::from_hours(24)),
    ];
    let per = choose(section, "per", &units, Some(Duration::from_mins(1)), problems);
    if calls.is_none() && section.has("per") {
        problems.push(section.problem("per", "`per` stands without `calls`"));
    }
    Some(Rate { calls: calls?, per: per? })
}

/// Reads `[rate]`.
pub(super) fn read_rate(
    section: Option<Section<'_>>,
    problems: &mut Vec<Problem>,
) -> (Option<Rate>, Weight) {
    let Some(mut section) = section else { return (None, Weight::Calls(1)) };
    let rate = read_calls(&mut section, problems);
    let weight = match section.optional_value("weight") {
        None => Weight::Calls(1),
        Some(DeValue::String(word)) if word == "open-meteo" => Weight::OpenMeteo,
        Some(DeValue::Integer(_)) => {
            Weight::Calls(section.optional_whole("weight", 1..=10_000, problems).unwrap_or(1))
        }
        Some(_) => {
            let problem = section.problem("weight", "`rate.weight` is not a weight");
            problems.push(problem.hint("accepted: a whole number, or \"open-meteo\""));
            Weight::Calls(1)
        }
    };
    section.finish(problems);
    (rate, weight)
}

/// Reads `[expect]`.
pub(super) fn read_expect(section: Option<Section<'_>>, problems: &mut Vec<Problem>) -> Expect {
    let mut expect = Expect {
        present: Vec::new(),
        absent: Vec::new(),
        same_length: Vec::new(),
        content_type: None,
        min_rows: 1,
        max_reject_ratio: 0.1,
    };
    let Some(mut section) = section else { return expect };
    let lists = [
        ("present", &mut expect.present),
        ("absent", &mut expect.absent),
        ("same_length", &mut expect.same_length),
    ];
    for (key, paths) in lists {
        let texts = section.optional_strings(key, problems).unwrap_or_default();
        paths.extend(texts.iter().filter_map(|text| rows::path(&section, key, text, problems)));
    }
    expect.content_type = section.optional_string("content_type", problems);
    if let Some(rows) = section.optional_whole("min_rows", 0..=u32::MAX, problems) {
        expect.min_rows = u64::from(rows);
    }
    if let Some(ratio) = section.optional_number("max_reject_ratio", 0.0..=1.0, problems) {
        expect.max_reject_ratio = ratio;
    }
    section.finish(problems);
    expect
}
