//! When a pipeline fires: the expression, checked, and the instants it means.
//!
//! In: `cron(...)`, `rate(...)` or `at(...)` as the `EventBridge` Scheduler takes them, an IANA zone, and what
//! bounds and shifts the fires. Out: a [`Schedule`], which answers when it fires next (`fires`). Deliberately
//! absent: a clock and any state; the same question always has the same answer.

mod cron;
mod fires;
mod words;

use std::fmt;
use std::ops::Range;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use cron::Cron;
pub use words::{Calendar, DataDateRule};

/// A parsed schedule.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The expression as written, such as `cron(0 8 * * ? *)`.
    pub text: String,
    /// The zone its wall clock is of.
    pub zone: TimeZone,
    /// The zone's name.
    pub zone_name: String,
    /// No fire before it; what a rate counts from.
    pub start: Option<Timestamp>,
    /// No fire after it.
    pub end: Option<Timestamp>,
    /// How many minutes after its time a fire may start; 0: at once.
    pub flexible_window_minutes: u16,
    /// What becomes of a time that the clock skips.
    pub dst_gap: DstGap,
    /// What becomes of fires that nobody acted on in time.
    pub missed: Missed,
    /// How old a missed fire may be and still be made up for; none: any age.
    pub missed_max_age: Option<SignedDuration>,
    /// What becomes of a fire that comes while the run of an earlier one is going.
    pub overlap: Overlap,
    expression: Expression,
}

/// What becomes of fires that nobody acted on in time: no process ran, the database was away, the source
/// was paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missed {
    /// Each is made up for, oldest first.
    All,
    /// The latest is made up for, the others are skipped.
    #[default]
    Last,
    /// All are skipped.
    None,
}

/// What becomes of a fire that comes while the run of an earlier one of the same source is going.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overlap {
    /// It is skipped.
    Skip,
    /// It waits for its turn.
    #[default]
    Queue,
}

/// What becomes of a time that the clock skips.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DstGap {
    /// It does not fire that day.
    #[default]
    Skip,
    /// It fires at the first instant after the gap.
    NextValid,
}

/// What is fired at.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Expression {
    Cron(Cron),
    /// Every so many seconds.
    Rate(i64),
    At(DateTime),
}

/// Why an expression is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadExpression {
    /// What is wrong, a lower-case fragment.
    pub reason: String,
    /// What is accepted in that place.
    pub accepted: String,
    expression: String,
    at: Option<Range<usize>>,
}

impl BadExpression {
    fn at(
        expression: &str,
        at: Range<usize>,
        reason: impl Into<String>,
        accepted: impl Into<String>,
    ) -> Self {
        let (reason, accepted) = (reason.into(), accepted.into());
        Self { reason, accepted, expression: expression.to_owned(), at: Some(at) }
    }
}

/// The reason, and below it the expression with a caret under the place.
impl fmt::Display for BadExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        let Some(at) = &self.at else { return Ok(()) };
        let before = self.expression[..at.start].chars().count();
        let carets = self.expression[at.clone()].chars().count().max(1);
        write!(
            f,
            "\n        {}\n        {}{}",
            self.expression,
            " ".repeat(before),
            "^".repeat(carets)
        )
    }
}

impl std::error::Error for BadExpression {}

impl Schedule {
    /// Parses an expression of the `EventBridge` Scheduler
    /// (<https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html>): without bounds, without
    /// a window, skipping what the clock skips.
    pub fn parse(expression: &str, zone_name: &str) -> Result<Self, BadExpression> {
        let zone = TimeZone::get(zone_name).map_err(|_| BadExpression {
            reason: format!("there is no time zone `{zone_name}`"),
            accepted: "an IANA zone name such as `America/New_York` or `UTC`".to_owned(),
            expression: expression.to_owned(),
            at: None,
        })?;
        Ok(Self {
            text: expression.to_owned(),
            zone,
            zone_name: zone_name.to_owned(),
            start: None,
            end: None,
            flexible_window_minutes: 0,
            dst_gap: DstGap::Skip,
            missed: Missed::default(),
            missed_max_age: None,
            overlap: Overlap::default(),
            expression: read(expression)?,
        })
    }

    /// The same without `start` and `end`, where its times do not depend on them: a rate counts from its
    /// start, and `at` is one instant.
    pub fn unbounded(&self) -> Option<Self> {
        let is_cron = matches!(self.expression, Expression::Cron(_));
        is_cron.then(|| Self { start: None, end: None, ..self.clone() })
    }
}

fn read(expression: &str) -> Result<Expression, BadExpression> {
    let inner = |name: &str| {
        let end = expression.len().checked_sub(1)?;
        let fits = expression.starts_with(name) && expression.ends_with(')');
        fits.then_some(name.len()..end)
    };
    if let Some(inner) = inner("cron(") {
        return Cron::parse(expression, inner).map(Expression::Cron);
    }
    if let Some(inner) = inner("rate(") {
        return rate(expression, inner);
    }
    if let Some(inner) = inner("at(") {
        let wall = &expression[inner.clone()];
        let accepted = "at(yyyy-mm-ddThh:mm:ss), such as `at(2027-03-14T08:00:00)`: a wall clock time of the zone";
        let parsed = DateTime::strptime("%Y-%m-%dT%H:%M:%S", wall).ok();
        let bad = || {
            BadExpression::at(
                expression,
                inner,
                format!("`{wall}` is no wall clock time"),
                accepted,
            )
        };
        return parsed.map(Expression::At).ok_or_else(bad);
    }
    Err(BadExpression::at(
        expression,
        0..expression.len(),
        "it is neither cron(...), rate(...) nor at(...)",
        "cron(minute hour day-of-month month day-of-week year), such as `cron(0 8 * * ? *)` for every day at \
         08:00; `rate(6 hours)`; `at(2027-03-14T08:00:00)`",
    ))
}

fn rate(expression: &str, inner: Range<usize>) -> Result<Expression, BadExpression> {
    let text = &expression[inner.clone()];
    let accepted = "rate(N minutes), rate(N hours) or rate(N days), N a whole number from 1; a day is 24 hours";
    let bad = |reason: String| BadExpression::at(expression, inner.clone(), reason, accepted);
    let words: Vec<&str> = text.split_whitespace().collect();
    let &[count, unit] = words.as_slice() else {
        return Err(bad(format!("`{text}` is not a number and a unit")));
    };
    let seconds = match unit {
        "minute" | "minutes" => 60,
        "hour" | "hours" => 3600,
        "day" | "days" => 86_400,
        _ => return Err(bad(format!("the unit is `{unit}`"))),
    };
    let count = count.parse::<u32>().ok().filter(|count| *count > 0 && *count <= 1_000_000);
    let count = count.ok_or_else(|| bad("the number is not from 1 to 1000000".to_owned()))?;
    Ok(Expression::Rate(i64::from(count) * seconds))
}

#[cfg(test)]
mod tests;
