//! Whether a day was to be attempted by now.

use daymark_plan::{Calendar, DataDateRule, Schedule};
use daymark_warehouse::Due;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::data_date;

/// Whether `date` was to be attempted at `now`: whether the first fire that is for it has passed. A day
/// no fire is for, such as a Sunday under a schedule of weekdays, is never due.
pub(crate) fn due(
    schedule: &Schedule,
    rule: DataDateRule,
    calendar: Calendar,
    zone: &TimeZone,
    date: Date,
    now: Timestamp,
) -> Due {
    let midnight = |date: Date| zone.to_ambiguous_timestamp(date.at(0, 0, 0, 0)).compatible().ok();
    let from = match rule {
        DataDateRule::RunDay => midnight(date),
        DataDateRule::RunDayOffset(days) => {
            midnight(date.saturating_sub(jiff::Span::new().days(days)))
        }
        // Fires for a session come after its close; without a clock of its own, after the day.
        DataDateRule::PreviousSession => {
            calendar.session_close(date).or_else(|| midnight(date.tomorrow().ok()?))
        }
    };
    let just_before = from.and_then(|from| from.checked_sub(SignedDuration::from_micros(1)).ok());
    let fire = just_before.and_then(|just_before| schedule.next_after(just_before));
    match fire {
        Some(fire) if data_date(rule, calendar, zone, fire) == date => {
            if fire <= now {
                Due::Now
            } else {
                Due::NotYet
            }
        }
        _ => Due::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(expression: &str, rule: DataDateRule, calendar: &str, date: &str, now: &str) -> Due {
        let schedule = Schedule::parse(expression, "America/New_York").unwrap();
        let calendar = Calendar::parse(calendar).unwrap();
        let zone = schedule.zone.clone();
        due(&schedule, rule, calendar, &zone, date.parse().unwrap(), now.parse().unwrap())
    }

    const EIGHT: &str = "cron(0 8 * * ? *)";
    const EIGHT_ON_WEEKDAYS: &str = "cron(0 8 ? * MON-FRI *)";

    #[test]
    fn a_run_day_is_due_at_its_fire() {
        let at = |now| of(EIGHT, DataDateRule::RunDay, "daily", "2026-11-23", now);
        assert_eq!(at("2026-11-23T12:59:59Z"), Due::NotYet);
        assert_eq!(at("2026-11-23T13:00:00Z"), Due::Now);
    }

    #[test]
    fn a_day_off_the_run_day_is_due_at_the_fire_that_is_for_it() {
        let rule = DataDateRule::RunDayOffset(-1);
        let at = |now| of(EIGHT, rule, "daily", "2026-11-22", now);
        assert_eq!(at("2026-11-23T12:59:59Z"), Due::NotYet);
        assert_eq!(at("2026-11-23T13:00:00Z"), Due::Now);
    }

    #[test]
    fn a_day_without_a_fire_is_never_due() {
        let on = |date| {
            of(EIGHT_ON_WEEKDAYS, DataDateRule::RunDay, "daily", date, "2026-12-31T00:00:00Z")
        };
        assert_eq!(on("2026-11-22"), Due::Never);
        assert_eq!(on("2026-11-23"), Due::Now);
    }

    #[test]
    fn a_session_is_due_at_the_first_fire_after_its_close() {
        let on = |date, now| of(EIGHT, DataDateRule::PreviousSession, "nyse", date, now);
        // Friday's bar is for Saturday morning's fire.
        assert_eq!(on("2026-11-20", "2026-11-21T12:00:00Z"), Due::NotYet);
        assert_eq!(on("2026-11-20", "2026-11-21T13:00:00Z"), Due::Now);
        let weekdays =
            |now| of(EIGHT_ON_WEEKDAYS, DataDateRule::PreviousSession, "nyse", "2026-11-20", now);
        assert_eq!(weekdays("2026-11-22T13:00:00Z"), Due::NotYet);
        assert_eq!(weekdays("2026-11-23T13:00:00Z"), Due::Now);
    }

    #[test]
    fn weekdays_are_due_the_morning_after() {
        let at = |now| of(EIGHT, DataDateRule::PreviousSession, "weekdays", "2026-11-20", now);
        assert_eq!(at("2026-11-20T23:00:00Z"), Due::NotYet);
        assert_eq!(at("2026-11-21T13:00:00Z"), Due::Now);
    }
}
