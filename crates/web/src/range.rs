//! The date range of a page, as it stands in the address.
//!
//! In: the pairs of a query string, the day it is, the page's default length. Out: a [`DateRange`],
//! or the plain sentence that says what is wrong with it. Deliberately absent: time zones. A date of
//! the address is a civil date.

use jiff::civil::Date;
use jiff::{Span, ToSpan};

/// The days a page shows, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DateRange {
    /// The first day.
    pub(crate) from: Date,
    /// The last day.
    pub(crate) to: Date,
}

/// A range one click away.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Preset {
    /// What it is called.
    pub(crate) label: &'static str,
    /// Its place in the address, with the `?`.
    pub(crate) query: String,
    /// Whether it is the one shown.
    pub(crate) current: bool,
}

/// A pair of the address; the last one of a name counts, and an empty one is none.
pub(crate) fn parameter<'p>(pairs: &'p [(String, String)], name: &str) -> Option<&'p str> {
    let value = pairs.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.trim());
    value.filter(|value| !value.is_empty())
}

/// A date as people write it in an address: `YYYY-MM-DD`, nothing else.
pub(crate) fn parse_date(text: &str) -> Result<Date, String> {
    let shaped = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let date = if shaped { text.parse::<Date>().ok() } else { None };
    date.filter(|date| date.year() >= 1)
        .ok_or_else(|| format!("“{text}” is not a date. Dates are written like 2026-11-23."))
}

/// `days` days that end with `to`.
pub(crate) fn ending(to: Date, days: u32) -> Result<DateRange, String> {
    let before = i32::try_from(days.saturating_sub(1)).unwrap_or(i32::MAX);
    let from = Span::new().try_days(before).and_then(|span| to.checked_sub(span));
    match from {
        Ok(from) if from.year() >= 1 => Ok(DateRange { from, to }),
        _ => Err(format!("{days} days before {to} is further back than dates go.")),
    }
}

impl DateRange {
    /// Reads `from` and `to`. What is not given: the range ends today and is `days` long.
    pub(crate) fn read(pairs: &[(String, String)], today: Date, days: u32) -> Result<Self, String> {
        let from = parameter(pairs, "from").map(parse_date).transpose()?;
        let to = parameter(pairs, "to").map(parse_date).transpose()?;
        let to_date = to.unwrap_or(today);
        let range = match from {
            Some(from) => Self { from, to: to_date },
            None => ending(to_date, days)?,
        };
        if range.from > range.to {
            let today = if to.is_none() { ", which is today" } else { "" };
            return Err(format!(
                "The first day, {}, is after the last, {}{today}. Swap them to see what lies between.",
                range.from, range.to
            ));
        }
        Ok(range)
    }

    /// The range as a query string, with the `?`.
    pub(crate) fn query(self) -> String {
        format!("?from={}&to={}", self.from, self.to)
    }

    /// The ranges offered beside the two dates, all ending today.
    pub(crate) fn presets(self, today: Date) -> Vec<Preset> {
        let year = today.checked_sub(1.year()).and_then(Date::tomorrow);
        let lengths = [
            ("30 days", ending(today, 30).ok()),
            ("60 days", ending(today, 60).ok()),
            ("1 year", year.ok().map(|from| Self { from, to: today })),
        ];
        lengths
            .into_iter()
            .filter_map(|(label, range)| {
                range.map(|range| Preset { label, query: range.query(), current: range == self })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn read(query: &[(&str, &str)]) -> Result<String, String> {
        let pairs: Vec<(String, String)> =
            query.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        DateRange::read(&pairs, date(2026, 11, 23), 60).map(DateRange::query)
    }

    #[test]
    fn what_is_not_given_is_filled_in() {
        assert_eq!(read(&[]).unwrap(), "?from=2026-09-25&to=2026-11-23");
        assert_eq!(read(&[("from", ""), ("to", " ")]).unwrap(), "?from=2026-09-25&to=2026-11-23");
        assert_eq!(read(&[("to", "2026-03-01")]).unwrap(), "?from=2026-01-01&to=2026-03-01");
        assert_eq!(read(&[("from", "2026-11-01")]).unwrap(), "?from=2026-11-01&to=2026-11-23");
    }

    #[test]
    fn one_day_is_a_range() {
        let both = [("from", "2024-02-29"), ("to", "2024-02-29")];
        assert_eq!(read(&both).unwrap(), "?from=2024-02-29&to=2024-02-29");
    }

    #[test]
    fn a_bad_range_is_a_sentence() {
        let sentences: Vec<String> = [
            read(&[("from", "2026-11-02"), ("to", "2026-11-01")]),
            read(&[("from", "2027-01-01")]),
            read(&[("from", "yesterday")]),
            read(&[("to", "2026-02-29")]),
            read(&[("to", "2026-11-01T00:00")]),
            read(&[("to", "0000-01-01")]),
            read(&[("to", "0001-01-01")]),
        ]
        .into_iter()
        .map(|range| range.unwrap_err())
        .collect();
        insta::assert_snapshot!(sentences.join("\n"), @r"
        The first day, 2026-11-02, is after the last, 2026-11-01. Swap them to see what lies between.
        The first day, 2027-01-01, is after the last, 2026-11-23, which is today. Swap them to see what lies between.
        “yesterday” is not a date. Dates are written like 2026-11-23.
        “2026-02-29” is not a date. Dates are written like 2026-11-23.
        “2026-11-01T00:00” is not a date. Dates are written like 2026-11-23.
        “0000-01-01” is not a date. Dates are written like 2026-11-23.
        60 days before 0001-01-01 is further back than dates go.
        ");
    }

    #[test]
    fn presets_end_today_and_know_which_is_shown() {
        let today = date(2026, 11, 23);
        let presets = ending(today, 60).unwrap().presets(today);
        let shown: Vec<String> = presets
            .iter()
            .map(|preset| format!("{} {} {}", preset.label, preset.query, preset.current))
            .collect();
        insta::assert_snapshot!(shown.join("\n"), @r"
        30 days ?from=2026-10-25&to=2026-11-23 false
        60 days ?from=2026-09-25&to=2026-11-23 true
        1 year ?from=2025-11-24&to=2026-11-23 false
        ");
    }
}
