//! `schedule = "..."` or `[schedule]`: of the pipeline, or of one source.
//!
//! In: the section that holds the key. Out: a [`Schedule`]. Deliberately absent: which of the two is a source's
//! ([`crate::Plan::schedule_of`]).

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::problem::Problem;
use crate::schedule::{DstGap, Missed, Overlap, Schedule};
use crate::section::{Section, choose};

/// Reads the schedule of a section, `None` when there is none or a bad one. `zone` is the default.
pub(crate) fn read(
    section: &mut Section<'_>,
    zone: &str,
    problems: &mut Vec<Problem>,
) -> Option<Schedule> {
    if !section.has("schedule") {
        return section.optional_string("schedule", problems).and(None);
    }
    let value = section.optional_value("schedule")?;
    if value.as_table().is_none() {
        let expression = section.optional_string("schedule", problems)?;
        return expression_of(section, "schedule", "schedule", &expression, zone, problems);
    }
    let mut table = section.optional_table("schedule", problems)?;
    let expression = table.required_string("expression", problems);
    let named = table.optional_string("time_zone", problems);
    let known = named.as_deref().unwrap_or(zone);
    let clock = TimeZone::get(known).ok();
    if clock.is_none() {
        let problem = table.problem("time_zone", format!("`schedule.time_zone` is `{known}`"));
        problems
            .push(problem.hint("accepted: an IANA zone name such as `America/New_York` or `UTC`"));
    }
    let zone = if clock.is_some() { known } else { "UTC" };
    let schedule = expression.and_then(|expression| {
        expression_of(&table, "expression", "schedule.expression", &expression, zone, problems)
    });
    let clock = clock.unwrap_or(TimeZone::UTC);
    let start = instant(&mut table, "start", &clock, problems);
    let end = instant(&mut table, "end", &clock, problems);
    let window = table.optional_whole("flexible_window_minutes", 0..=1440, problems);
    let dst_gap = choose(
        &mut table,
        "dst_gap",
        &[("skip", DstGap::Skip), ("next_valid", DstGap::NextValid)],
        Some(DstGap::Skip),
        problems,
    );
    let missed = choose(
        &mut table,
        "missed",
        &[("all", Missed::All), ("last", Missed::Last), ("none", Missed::None)],
        Some(Missed::default()),
        problems,
    );
    let missed_max_age = age(&mut table, "missed_max_age", problems);
    let overlap = choose(
        &mut table,
        "overlap",
        &[("skip", Overlap::Skip), ("queue", Overlap::Queue)],
        Some(Overlap::default()),
        problems,
    );
    let mut schedule = schedule?;
    (schedule.start, schedule.end) = (start, end);
    (schedule.missed, schedule.missed_max_age) = (missed?, missed_max_age);
    schedule.overlap = overlap?;
    schedule.flexible_window_minutes = u16::try_from(window.unwrap_or(0)).unwrap_or(0);
    schedule.dst_gap = dst_gap?;
    if !schedule.ever_fires() {
        let message = format!(
            "`schedule` can never fire: no day and time between its bounds is in `{}`",
            schedule.text
        );
        problems.push(
            table
                .problem("expression", message)
                .hint("give a day that exists, and an `end` after `start`"),
        );
    }
    table.finish(problems);
    Some(schedule)
}

fn expression_of(
    section: &Section<'_>,
    key: &str,
    full: &str,
    expression: &str,
    zone: &str,
    problems: &mut Vec<Problem>,
) -> Option<Schedule> {
    match Schedule::parse(expression, zone) {
        Ok(schedule) => {
            // Of a table this is judged with its bounds.
            if key == "schedule" && !schedule.ever_fires() {
                let message = format!(
                    "`{full}` is `{expression}`, which can never fire: no year has such a day and time"
                );
                problems.push(
                    section
                        .problem(key, message)
                        .hint("give a day that exists, such as 28 or `L` for the last of a month"),
                );
            }
            Some(schedule)
        }
        Err(bad) => {
            let message = format!("`{full}` cannot be read: {bad}");
            problems
                .push(section.problem(key, message).hint(format!("accepted: {}", bad.accepted)));
            None
        }
    }
}

/// An instant: with an offset or `Z`, or a date or wall clock time of the zone.
fn instant(
    table: &mut Section<'_>,
    key: &str,
    zone: &TimeZone,
    problems: &mut Vec<Problem>,
) -> Option<Timestamp> {
    let word = table.optional_string(key, problems)?;
    let wall = || {
        let date = || word.parse::<Date>().ok().map(|date| date.at(0, 0, 0, 0));
        let wall = if word.contains('T') { word.parse::<DateTime>().ok() } else { date() }?;
        zone.to_ambiguous_timestamp(wall).compatible().ok()
    };
    let at = word.parse::<Timestamp>().ok().or_else(wall);
    if at.is_none() {
        let problem = table.problem(key, format!("`schedule.{key}` is `{word}`"));
        problems.push(problem.hint(
            "accepted: a date `2027-01-01` or a time `2027-01-01T08:00:00` of the schedule's zone, or an \
             instant `2027-01-01T13:00:00Z`",
        ));
    }
    at
}

/// A length of time that does not depend on the calendar: `90m`, `36h`, `7d` (of 24 hours).
fn age(table: &mut Section<'_>, key: &str, problems: &mut Vec<Problem>) -> Option<SignedDuration> {
    let word = table.optional_string(key, problems)?;
    let length = read_age(&word);
    if length.is_none() {
        let problem = table.problem(key, format!("`schedule.{key}` is `{word}`"));
        problems.push(problem.hint(
            "accepted: a whole number from 1 of minutes, hours or days of 24 hours, such as `90m`, `36h` or \
             `7d`; at most ten years",
        ));
    }
    length
}

/// A length of time of the form `90m`, `36h`, `7d`, up to ten years.
pub(crate) fn read_age(word: &str) -> Option<SignedDuration> {
    let count = word.strip_suffix(['m', 'h', 'd'])?;
    let digits = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = match word.as_bytes().last()? {
        b'm' => 60,
        b'h' => 3600,
        _ => 86_400,
    };
    let count: i64 = count.parse().ok().filter(|_| digits)?;
    let length = count.checked_mul(seconds)?;
    (1..=3660 * 86_400).contains(&length).then(|| SignedDuration::from_secs(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_a_number_and_a_unit() {
        assert_eq!(read_age("90m"), Some(SignedDuration::from_mins(90)));
        assert_eq!(read_age("36h"), Some(SignedDuration::from_hours(36)));
        assert_eq!(read_age("7d"), Some(SignedDuration::from_hours(168)));
        for bad in [
            "",
            "d",
            "0d",
            "7",
            "7 d",
            "-1d",
            "+1d",
            "1.5h",
            "7w",
            "99999999999999999999d",
            "4000d",
        ] {
            assert_eq!(read_age(bad), None, "{bad}");
        }
    }
}
