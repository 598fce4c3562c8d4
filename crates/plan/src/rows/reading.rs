//! How the texts of values are written: what means null, how numbers and dates look.
//!
//! In: the keys `missing`, `decimal`, `grouping` and `format`, of `[rows]` and of a field. Out: a
//! [`Reading`]. Deliberately absent: reading values; that is `extract`'s.

use jiff::fmt::strtime::BrokenDownTime;

use super::FieldType;
use crate::problem::Problem;
use crate::section::Section;

/// How the texts of a field's values are written. JSON numbers are written one way only; this is
/// about strings and cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Texts that mean null.
    pub missing: Vec<String>,
    /// What stands before the fraction of a number.
    pub decimal: char,
    /// What stands between groups of digits, if anything does.
    pub grouping: Option<char>,
    /// The form of a date, time, timestamp or instant, in the words of `strptime`; without one it is
    /// ISO 8601's. It has been tried.
    pub format: Option<String>,
}

impl Default for Reading {
    fn default() -> Self {
        Self { missing: Vec::new(), decimal: '.', grouping: None, format: None }
    }
}

impl Reading {
    /// Reads the keys of `[rows]`, or of a field over those of `[rows]`.
    pub(super) fn read(
        section: &mut Section<'_>,
        over: Option<&Self>,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let before = problems.len();
        let mut reading = over.cloned().unwrap_or_default();
        if let Some(missing) = section.optional_strings("missing", problems) {
            reading.missing = missing;
        }
        let accepted = "accepted: `.` or `,`";
        if let Some(decimal) =
            character(section, "decimal", accepted, problems, |c| matches!(c, '.' | ','))
        {
            reading.decimal = decimal;
        }
        let accepted =
            "accepted: one character that is no letter, digit or sign, such as `.`, `,` or ` `";
        if let Some(grouping) = character(section, "grouping", accepted, problems, |c| {
            !c.is_alphanumeric() && !matches!(c, '+' | '-') && !c.is_control()
        }) {
            reading.grouping = Some(grouping);
        }
        if reading.grouping == Some(reading.decimal) && problems.len() == before {
            let key = if section.has("grouping") { "grouping" } else { "decimal" };
            let message = format!("`decimal` and `grouping` are both `{}`", reading.decimal);
            let hint = "such as `decimal = \",\"` with `grouping = \".\"`";
            problems.push(section.problem(key, message).hint(hint));
        }
        reading
    }

    /// Reads `format` of a field, and reports what does not go with the field's type.
    pub(super) fn read_format(
        &mut self,
        section: &mut Section<'_>,
        field_type: FieldType,
        problems: &mut Vec<Problem>,
    ) {
        if !field_type.is_number() {
            for key in ["decimal", "grouping"] {
                if section.has(key) {
                    let message = format!("`{key}` is for numbers, this is {}", word(field_type));
                    problems.push(section.problem(key, message).hint("leave it out"));
                }
            }
        }
        let Some(format) = section.optional_string("format", problems) else { return };
        if !field_type.is_dated() {
            let message = format!("`format` is for dates and times, this is {}", word(field_type));
            let hint = "leave it out, or take `date`, `time`, `timestamp` or `timestamptz`";
            problems.push(section.problem("format", message).hint(hint));
            return;
        }
        match try_format(&format, field_type) {
            Ok(()) => self.format = Some(format),
            Err((reason, hint)) => {
                let message = format!("`{format}` is no format of {}: {reason}", word(field_type));
                problems.push(section.problem("format", message).hint(hint));
            }
        }
    }
}

fn word(field_type: FieldType) -> String {
    let word = FieldType::ALL.iter().find(|(_, other)| *other == field_type);
    format!("`{}`", word.map_or("", |(word, _)| word))
}

fn character(
    section: &mut Section<'_>,
    key: &str,
    accepted: &str,
    problems: &mut Vec<Problem>,
    fits: impl Fn(char) -> bool,
) -> Option<char> {
    let text = section.optional_string(key, problems)?;
    let mut characters = text.chars();
    let found = characters.next().filter(|c| characters.next().is_none() && fits(*c));
    if found.is_none() {
        let message = format!("`{key}` is `{text}`");
        problems.push(section.problem(key, message).hint(accepted));
    }
    found
}

/// Writes a known instant in the format and reads it back: what does not come back cannot be read.
fn try_format(format: &str, field_type: FieldType) -> Result<(), (String, &'static str)> {
    const WORDS: &str = "`strptime`'s words, such as `%d/%m/%Y`, `%Y%m%d` or `%m/%d/%Y %I:%M %p`";
    let known = jiff::civil::date(2001, 12, 23).at(16, 0, 0, 0);
    let zoned = known.to_zoned(jiff::tz::TimeZone::UTC).map_err(|e| (e.to_string(), WORDS))?;
    let written = BrokenDownTime::from(&zoned).to_string(format);
    let written = written.map_err(|error| (error.to_string(), WORDS))?;
    let read = BrokenDownTime::parse(format, &written).map_err(|e| (e.to_string(), WORDS))?;
    let lost = |part: &str| Err((format!("it has no {part}"), WORDS));
    match field_type {
        FieldType::Time => match read.to_time() {
            Ok(time) if time == known.time() => Ok(()),
            Ok(_) | Err(_) => lost("whole time of day"),
        },
        FieldType::Date => match read.to_date() {
            Ok(date) if date == known.date() => Ok(()),
            Ok(_) | Err(_) => Err((
                "it has no whole date".to_owned(),
                "a date needs year, month and day; take `text` and make the date in the model",
            )),
        },
        FieldType::Timestamp => match read.to_datetime() {
            Ok(found) if found.date() == known.date() => Ok(()),
            Ok(_) | Err(_) => lost("whole date"),
        },
        _ => match read.to_timestamp() {
            Ok(found) if found == zoned.timestamp() => Ok(()),
            Ok(_) | Err(_) => Err((
                "it does not tell an instant".to_owned(),
                "add the offset (`%z`), or take `timestamp` and say the zone in the model",
            )),
        },
    }
}
