//! The data date of a fire.
//!
//! In: a source's rule and calendar, the pipeline's zone, an instant. Out: the day a fetch at that
//! instant is for. It lives here because the schedule and the Lambda function both ask. Deliberately
//! absent: the clock; a fire that comes late is for the day of its scheduled instant.

use jiff::Timestamp;
use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;

use crate::schedule::{Calendar, DataDateRule};

/// How many days back a session is looked for. The longest closures of exchanges are a week or two
/// (Chinese New Year); after a month the calendar is not an exchange's.
const LONGEST_CLOSURE: usize = 31;
/// The same for a file of dates, which may be of a thing that happens once a year.
const LONGEST_PAUSE: usize = 400;

/// The data date of a fire at `at`; `zone` is the pipeline's.
///
/// - [`DataDateRule::RunDay`]: the civil day of the instant in `zone`.
/// - [`DataDateRule::RunDayOffset`]: so many civil days after it.
/// - [`DataDateRule::PreviousSession`]: the last day of the calendar that is over at the instant. Of
///   an exchange, its last session whose close is not after the instant, by the exchange's own clock,
///   half days included: at 14:00 on the Friday after Thanksgiving that Friday is over, at 14:00 on
///   other Fridays it is not. A day without hours of its own, as those of `daily` and `weekdays`, is over
///   when the instant's civil day in `zone` is a later one.
pub fn data_date(rule: DataDateRule, calendar: &Calendar, zone: &TimeZone, at: Timestamp) -> Date {
    let today = zone.to_datetime(at).date();
    match rule {
        DataDateRule::RunDay => today,
        DataDateRule::RunDayOffset(days) => today.saturating_add(jiff::Span::new().days(days)),
        DataDateRule::PreviousSession => {
            let longest = match calendar {
                Calendar::Daily | Calendar::Weekdays | Calendar::Exchange(_) => LONGEST_CLOSURE,
                Calendar::Listed(_) => LONGEST_PAUSE,
            };
            // East of UTC the exchange's day can be the one after UTC's.
            let latest =
                TimeZone::UTC.to_datetime(at).date().saturating_add(jiff::Span::new().days(2));
            let is_over = |day: &Date| match calendar.session_close(*day) {
                Some(close) => close <= at,
                None => *day < today && calendar.has_data_on(*day),
            };
            backwards(latest)
                .take(longest)
                .find(is_over)
                .unwrap_or_else(|| before(today, is_weekday))
        }
    }
}

/// The last day before `day` that `counts`.
fn before(day: Date, counts: impl Fn(Date) -> bool) -> Date {
    backwards(day).find(|day| counts(*day)).unwrap_or(day)
}

/// The days before `day`, latest first.
fn backwards(day: Date) -> impl Iterator<Item = Date> {
    std::iter::successors(day.yesterday().ok(), |day| day.yesterday().ok())
}

fn is_weekday(day: Date) -> bool {
    !matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The data date of a fire at this wall clock time of New York.
    fn of(rule: DataDateRule, calendar: &str, wall: &str) -> String {
        let zone = TimeZone::get("America/New_York").unwrap();
        let wall: jiff::civil::DateTime = wall.parse().unwrap();
        let at = zone.to_timestamp(wall).unwrap();
        data_date(rule, &Calendar::parse(calendar).unwrap(), &zone, at).to_string()
    }

    fn previous(calendar: &str, wall: &str) -> String {
        of(DataDateRule::PreviousSession, calendar, wall)
    }

    #[test]
    fn run_day_is_the_civil_day_in_the_pipelines_zone() {
        for (wall, day) in [
            ("2026-11-23T08:00", "2026-11-23"),
            ("2026-11-22T23:59", "2026-11-22"), // already Monday in UTC
            ("2026-11-23T00:00", "2026-11-23"),
        ] {
            assert_eq!(of(DataDateRule::RunDay, "nyse", wall), day);
        }
        let yesterday = of(DataDateRule::RunDayOffset(-1), "daily", "2026-03-01T08:00");
        assert_eq!(yesterday, "2026-02-28");
    }

    #[test]
    fn the_morning_after_is_for_the_session_before() {
        for (wall, day) in [
            ("2026-11-24T08:00", "2026-11-23"), // Tuesday: Monday
            ("2026-11-21T08:00", "2026-11-20"), // Saturday: Friday
            ("2026-11-22T08:00", "2026-11-20"), // Sunday: Friday
            ("2026-11-23T08:00", "2026-11-20"), // Monday: Friday
            ("2026-11-26T08:00", "2026-11-25"), // Thanksgiving: Wednesday
            ("2026-11-27T08:00", "2026-11-25"), // the Friday after it: Wednesday
            ("2026-11-30T08:00", "2026-11-27"), // Monday: the half day
            ("2026-07-06T08:00", "2026-07-02"), // Monday after July 3, observed
            ("2026-04-06T08:00", "2026-04-02"), // Easter Monday, after Good Friday
            ("2023-01-03T08:00", "2022-12-30"), // New Year's on a Sunday: Monday is closed too
        ] {
            assert_eq!(previous("nyse", wall), day, "{wall}");
        }
    }

    #[test]
    fn an_unscheduled_closing_is_skipped_over() {
        let text = "base = \"nyse\"\nclosed = [\"2026-11-24\"]\nopen = [\"2026-11-28\"]\n";
        let list = crate::calendar_file::read("c.toml", text, &mut Vec::new()).unwrap();
        let calendar = Calendar::Listed(std::sync::Arc::new(list));
        let zone = TimeZone::get("America/New_York").unwrap();
        for (wall, day) in [
            ("2026-11-25T08:00", "2026-11-23"), // Tuesday was closed
            ("2026-11-26T08:00", "2026-11-25"), // Thanksgiving: Wednesday
            ("2026-11-28T23:59", "2026-11-27"), // a Saturday that is open is over when it ends
            ("2026-11-29T00:00", "2026-11-28"),
        ] {
            let wall: jiff::civil::DateTime = wall.parse().unwrap();
            let at = zone.to_timestamp(wall).unwrap();
            let found = data_date(DataDateRule::PreviousSession, &calendar, &zone, at);
            assert_eq!(found.to_string(), day, "{wall}");
        }
    }

    #[test]
    fn a_list_of_days_may_have_long_pauses() {
        let list = crate::calendar_file::read("c.txt", "2026-01-15\n2027-01-14\n", &mut Vec::new());
        let calendar = Calendar::Listed(std::sync::Arc::new(list.unwrap()));
        let at = "2027-01-10T13:00:00Z".parse().unwrap();
        let found = data_date(DataDateRule::PreviousSession, &calendar, &TimeZone::UTC, at);
        assert_eq!(found.to_string(), "2026-01-15");
    }

    #[test]
    fn a_session_counts_from_its_close_on() {
        for (wall, day) in [
            ("2026-11-23T15:59:59", "2026-11-20"),
            ("2026-11-23T16:00", "2026-11-23"),
            ("2026-11-27T12:59:59", "2026-11-25"),
            ("2026-11-27T13:00", "2026-11-27"),
        ] {
            assert_eq!(previous("nyse", wall), day, "{wall}");
        }
    }

    #[test]
    fn the_exchanges_clock_decides() {
        // Tokyo's Monday closes at 01:25 on Monday in New York.
        assert_eq!(previous("tse", "2026-11-16T01:00"), "2026-11-13");
        assert_eq!(previous("tse", "2026-11-16T02:00"), "2026-11-16");
        // Tadawul trades Sunday to Thursday.
        assert_eq!(previous("tadawul", "2026-11-15T14:00"), "2026-11-15");
        assert_eq!(previous("tadawul", "2026-11-14T14:00"), "2026-11-12");
    }

    #[test]
    fn daily_and_weekdays_count_whole_days() {
        assert_eq!(previous("daily", "2026-11-23T08:00"), "2026-11-22");
        assert_eq!(previous("weekdays", "2026-11-23T08:00"), "2026-11-20");
        assert_eq!(previous("weekdays", "2026-11-24T23:00"), "2026-11-23");
    }

    #[test]
    fn a_calendar_without_sessions_falls_back_to_weekdays() {
        // Its last contract was delisted in 2025.
        assert_eq!(previous("small_exchange", "2026-11-23T08:00"), "2026-11-20");
    }
}
