//! `cron(minute hour day-of-month month day-of-week year)`: six fields become a set of wall clock minutes.
//!
//! In: the fields as written. Out: a [`Cron`], which finds the next and the previous minute of its set on a
//! wall clock. The parser is our own, because the meaning is `EventBridge`'s and not Unix's: weekdays count
//! from SUN = 1, one of the two day fields is `?`, `5/15` starts at 5 and `6#3` is the third Friday.
//! Deliberately absent: zones and instants (`fires`).

use std::ops::Range;

use jiff::civil::{Date, DateTime, Time};

use super::BadExpression;

/// The years the field takes, as in `EventBridge`.
const YEARS: (i16, i16) = (1970, 2199);
const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// What a field is called, the values it takes and how they can be named.
struct FieldRule {
    name: &'static str,
    low: i16,
    high: i16,
    names: &'static [&'static str],
    accepts: &'static str,
}

const FIELDS: [FieldRule; 6] = [
    FieldRule {
        name: "minute",
        low: 0,
        high: 59,
        names: &[],
        accepts: "0-59, `*`, lists `0,30`, ranges `10-20`, steps `5/15` or `*/15`",
    },
    FieldRule {
        name: "hour",
        low: 0,
        high: 23,
        names: &[],
        accepts: "0-23, `*`, lists `8,20`, ranges `9-17` or `22-2`, steps `0/6`",
    },
    FieldRule {
        name: "day-of-month",
        low: 1,
        high: 31,
        names: &[],
        accepts: "1-31, `*`, `?`, lists, ranges, steps, `L` (the last day), `L-3` (three days before it), \
                  `15W` (the weekday nearest the 15th), `LW` (the last weekday)",
    },
    FieldRule {
        name: "month",
        low: 1,
        high: 12,
        names: &MONTHS,
        accepts: "1-12 or JAN-DEC, `*`, lists, ranges, steps",
    },
    FieldRule {
        name: "day-of-week",
        low: 1,
        high: 7,
        names: &WEEKDAYS,
        accepts: "1-7 or SUN-SAT (1 is SUN), `*`, `?`, lists, ranges, steps, `L` (Saturday), `6L` or `FRIL` \
                  (the month's last Friday), `6#3` (its third Friday; alone in the field)",
    },
    FieldRule {
        name: "year",
        low: YEARS.0,
        high: YEARS.1,
        names: &[],
        accepts: "1970-2199, `*`, lists, ranges, steps",
    },
];

/// A set of wall clock minutes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cron {
    minutes: u64,
    hours: u64,
    months: u64,
    days: Vec<Days>,
    /// In order, each once.
    years: Vec<i16>,
}

/// One item of a day field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Days {
    /// Days of the month, a bit each.
    OfMonth(u64),
    /// So many days before the month's last.
    BeforeLast(i8),
    /// The month's last weekday.
    LastWeekday,
    /// The weekday of the month nearest to a day of it.
    Nearest(i8),
    /// Days of the week, a bit each; SUN is bit 1.
    OfWeek(u64),
    /// The month's last such day of the week.
    LastOfWeek(i16),
    /// The month's nth such day of the week.
    Nth(i16, i8),
}

impl Cron {
    /// Reads what stands in the parentheses, which is `expression[inner]`.
    pub(super) fn parse(expression: &str, inner: Range<usize>) -> Result<Self, BadExpression> {
        let fields = words(expression, inner.clone());
        let Ok(fields) = <[Range<usize>; 6]>::try_from(fields.clone()) else {
            let reason = format!("it has {} fields, not 6", fields.len());
            let accepted = "cron(minute hour day-of-month month day-of-week year), such as \
                            `cron(0 8 * * ? *)` for every day at 08:00";
            return Err(BadExpression::at(expression, inner, reason, accepted));
        };
        let text = |index: usize| expression[fields[index].clone()].to_ascii_uppercase();
        if (text(2) == "?") == (text(4) == "?") {
            let reason = "exactly one of day-of-month and day-of-week is `?`";
            let both = fields[2].start..fields[4].end;
            let accepted = "`?` in the day field that is left open: `cron(0 8 * * ? *)` for every day, \
                            `cron(0 8 ? * MON-FRI *)` for weekdays";
            return Err(BadExpression::at(expression, both, reason, accepted));
        }
        let bad = |index: usize, why: Option<String>| {
            let (span, rule) = (fields[index].clone(), &FIELDS[index]);
            let written = &expression[span.clone()];
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            let reason = format!("the {} is `{written}`{why}", rule.name);
            BadExpression::at(
                expression,
                span,
                reason,
                format!("the {} takes {}", rule.name, rule.accepts),
            )
        };
        let values =
            |index: usize| values_of(&text(index), &FIELDS[index]).map_err(|why| bad(index, why));
        let days = if text(4) == "?" {
            days_of_month(&text(2)).map_err(|why| bad(2, why))?
        } else {
            days_of_week(&text(4)).map_err(|why| bad(4, why))?
        };
        let mut years = values(5)?;
        years.sort_unstable();
        years.dedup();
        Ok(Self {
            minutes: bits(&values(0)?),
            hours: bits(&values(1)?),
            months: bits(&values(3)?),
            days,
            years,
        })
    }

    /// The first minute of the set after `wall`, or at it.
    pub(super) fn next(&self, wall: DateTime, inclusive: bool) -> Option<DateTime> {
        let fits = |time: Time| match (time > wall.time(), inclusive) {
            (true, _) => true,
            (false, inclusive) => inclusive && time == wall.time(),
        };
        if self.has(wall.date())
            && let Some(time) = self.times().find(|time| fits(*time))
        {
            return Some(wall.date().to_datetime(time));
        }
        let first = self.times().next()?;
        let from = wall.date().tomorrow().ok()?;
        for &year in self.years.iter().filter(|year| **year >= from.year()) {
            for month in (1_i8..=12).filter(|month| self.months & bit(*month) != 0) {
                if (year, month) < (from.year(), from.month()) {
                    continue;
                }
                let days = self.days_in(year, month);
                for day in (1_i8..=31).filter(|day| days & bit(*day) != 0) {
                    let date = Date::new(year, month, day).ok()?;
                    if date >= from {
                        return Some(date.to_datetime(first));
                    }
                }
            }
        }
        None
    }

    /// The last minute of the set before `wall`, or at it.
    pub(super) fn previous(&self, wall: DateTime, inclusive: bool) -> Option<DateTime> {
        let fits = |time: Time| time < wall.time() || (inclusive && time == wall.time());
        if self.has(wall.date())
            && let Some(time) = self.times().filter(|time| fits(*time)).last()
        {
            return Some(wall.date().to_datetime(time));
        }
        let last = self.times().last()?;
        let until = wall.date().yesterday().ok()?;
        for &year in self.years.iter().rev().filter(|year| **year <= until.year()) {
            for month in (1_i8..=12).rev().filter(|month| self.months & bit(*month) != 0) {
                if (year, month) > (until.year(), until.month()) {
                    continue;
                }
                let days = self.days_in(year, month);
                for day in (1_i8..=31).rev().filter(|day| days & bit(*day) != 0) {
                    let date = Date::new(year, month, day).ok()?;
                    if date <= until {
                        return Some(date.to_datetime(last));
                    }
                }
            }
        }
        None
    }

    fn has(&self, date: Date) -> bool {
        self.years.binary_search(&date.year()).is_ok()
            && self.months & bit(date.month()) != 0
            && self.days_in(date.year(), date.month()) & bit(date.day()) != 0
    }

    /// The times of a day, in order.
    fn times(&self) -> impl Iterator<Item = Time> + '_ {
        let hours = (0_i8..24).filter(|hour| self.hours & bit(*hour) != 0);
        hours.flat_map(|hour| {
            let minutes = (0_i8..60).filter(|minute| self.minutes & bit(*minute) != 0);
            minutes.map(move |minute| Time::constant(hour, minute, 0, 0))
        })
    }

    /// The days of a month, a bit each.
    fn days_in(&self, year: i16, month: i8) -> u64 {
        let Ok(first) = Date::new(year, month, 1) else { return 0 };
        let length = first.days_in_month();
        // The weekday of a day of this month, SUN = 1.
        let weekday = |day: i8| {
            (i16::from(first.weekday().to_sunday_zero_offset()) + i16::from(day) - 1) % 7 + 1
        };
        let nearest = |day: i8| match weekday(day) {
            // Saturday goes to Friday and Sunday to Monday, but never into another month.
            7 => {
                if day == 1 {
                    3
                } else {
                    day - 1
                }
            }
            1 => {
                if day == length {
                    day - 2
                } else {
                    day + 1
                }
            }
            _ => day,
        };
        let mut found = 0;
        for days in &self.days {
            found |= match *days {
                Days::OfMonth(days) => days,
                Days::BeforeLast(back) if back < length => bit(length - back),
                Days::LastWeekday => bit(nearest(length)),
                Days::Nearest(day) if day <= length => bit(nearest(day)),
                Days::BeforeLast(_) | Days::Nearest(_) => 0,
                Days::OfWeek(days) => (1..=length)
                    .filter(|day| days & (1 << weekday(*day)) != 0)
                    .fold(0, |all, day| all | bit(day)),
                Days::LastOfWeek(of) => {
                    (1..=length).rev().find(|day| weekday(*day) == of).map_or(0, bit)
                }
                Days::Nth(of, nth) => (1..=length)
                    .find(|day| weekday(*day) == of && (day - 1) / 7 + 1 == nth)
                    .map_or(0, bit),
            };
        }
        found & ((1 << (length + 1)) - 2)
    }
}

fn bit(value: i8) -> u64 {
    1 << value
}

fn bits(values: &[i16]) -> u64 {
    values.iter().fold(0, |all, value| all | 1 << value)
}

/// The words of `text[within]`, by their places.
fn words(text: &str, within: Range<usize>) -> Vec<Range<usize>> {
    let inner = &text[within.clone()];
    inner
        .split_whitespace()
        .map(|word| {
            let start = within.start + (word.as_ptr().addr() - inner.as_ptr().addr());
            start..start + word.len()
        })
        .collect()
}

/// Why a field is bad, when there is more to say than what it takes.
type Why = Option<String>;

/// A value by its number or its name.
fn value_of(word: &str, rule: &FieldRule) -> Result<i16, Why> {
    if let Some(at) = rule.names.iter().position(|name| *name == word) {
        return i16::try_from(at + 1).map_err(|_| None);
    }
    if word.is_empty() || !word.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(None);
    }
    let value = word.parse::<i16>().ok().filter(|value| (rule.low..=rule.high).contains(value));
    value.ok_or_else(|| Some(format!("{word} is not from {} to {}", rule.low, rule.high)))
}

/// The values of a list of values, ranges and steps.
fn values_of(text: &str, rule: &FieldRule) -> Result<Vec<i16>, Why> {
    let mut all = Vec::new();
    for item in text.split(',') {
        all.extend(item_of(item, rule)?);
    }
    Ok(all)
}

fn item_of(item: &str, rule: &FieldRule) -> Result<Vec<i16>, Why> {
    let (range, step) = match item.split_once('/') {
        Some((range, step)) => {
            let count =
                step.parse::<i16>().ok().filter(|_| step.bytes().all(|b| b.is_ascii_digit()));
            let fits = count.filter(|step| (1..=rule.high).contains(step));
            let refused = || Some(format!("the step is `{step}`, not from 1 to {}", rule.high));
            (range, Some(fits.ok_or_else(refused)?))
        }
        None => (item, None),
    };
    let (low, high) = if range == "*" {
        (rule.low, rule.high)
    } else if let Some((low, high)) = range.split_once('-') {
        (value_of(low, rule)?, value_of(high, rule)?)
    } else {
        let value = value_of(range, rule)?;
        (value, if step.is_some() { rule.high } else { value })
    };
    let step = step.unwrap_or(1);
    let at_step = |from: i16, to: i16| {
        std::iter::successors(Some(from), move |at| Some(at + step)).take_while(move |at| *at <= to)
    };
    if low <= high {
        return Ok(at_step(low, high).collect());
    }
    if rule.low == YEARS.0 {
        return Err(Some(format!("the range ends before it begins ({low}-{high})")));
    }
    // 22-2 goes on over midnight, FRI-MON over the weekend.
    let size = rule.high - rule.low + 1;
    Ok(at_step(low, high + size).map(|at| if at > rule.high { at - size } else { at }).collect())
}

fn days_of_month(text: &str) -> Result<Vec<Days>, Why> {
    let rule = &FIELDS[2];
    text.split(',')
        .map(|item| match item {
            "L" => Ok(Days::BeforeLast(0)),
            "LW" | "WL" => Ok(Days::LastWeekday),
            _ => {
                let small = |word: &str| {
                    value_of(word, rule).and_then(|day| i8::try_from(day).map_err(|_| None))
                };
                if let Some(back) = item.strip_prefix("L-") {
                    let back = small(back)?;
                    if back > 30 {
                        return Err(Some("no month has more than 31 days".to_owned()));
                    }
                    Ok(Days::BeforeLast(back))
                } else if let Some(day) = item.strip_suffix('W') {
                    small(day).map(Days::Nearest)
                } else {
                    item_of(item, rule).map(|days| Days::OfMonth(bits(&days)))
                }
            }
        })
        .collect()
}

fn days_of_week(text: &str) -> Result<Vec<Days>, Why> {
    let rule = &FIELDS[4];
    if text.contains('#') && text.contains(',') {
        return Err(Some("an item with `#` stands alone in the field".to_owned()));
    }
    text.split(',')
        .map(|item| {
            if item == "L" {
                return Ok(Days::OfWeek(1 << 7));
            }
            if let Some((day, nth)) = item.split_once('#') {
                let day = value_of(day, rule)?;
                let nth = nth.parse::<i8>().ok().filter(|nth| (1..=5).contains(nth));
                let nth = nth.ok_or_else(|| Some("after `#` stands 1 to 5".to_owned()))?;
                return Ok(Days::Nth(day, nth));
            }
            match item.strip_suffix('L') {
                Some(day) => value_of(day, rule).map(Days::LastOfWeek),
                None => item_of(item, rule).map(|days| Days::OfWeek(bits(&days))),
            }
        })
        .collect()
}
