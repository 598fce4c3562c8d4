//! The instants a schedule fires at.
//!
//! The rule is that of the `EventBridge` Scheduler, so that a pipeline fires at home as it does on AWS: a wall
//! clock time that the spring change skips does not fire that day, and one that the autumn change
//! repeats fires once, at its first occurrence
//! (<https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html>, "Daylight savings
//! time"). croner's own rule is another one: it moves a skipped time to the end of the gap. So croner
//! only ever sees the wall clock here, and the zone is applied to what it finds.

use daymark_plan::Schedule;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::AmbiguousOffset;

/// The first fire strictly after `after`; `None` if the schedule never fires again.
pub(crate) fn next_after(schedule: &Schedule, after: Timestamp) -> Option<Timestamp> {
    // Fires in wall clock order are fires in time order: only a repeated hour runs backwards, and of
    // that only the first occurrence fires. So every fire after `after` is later on the wall clock
    // too, and the search can start from there.
    let mut wall = schedule.zone.to_datetime(after);
    loop {
        wall = schedule.cron.find_next_occurrence(&wall, false).ok()?;
        // In the repeated hour's second half the wall clock names instants that have passed.
        if let Some(fire) = instant_of(schedule, wall).filter(|fire| *fire > after) {
            return Some(fire);
        }
    }
}

/// The last fire at or before `at`; `None` if the schedule had not fired by then.
pub(crate) fn last_at_or_before(schedule: &Schedule, at: Timestamp) -> Option<Timestamp> {
    let now = schedule.zone.to_datetime(at);
    // In the repeated hour's second half, all of its first half has passed: it is read as if the
    // clock had not been put back.
    let mut wall = match schedule.zone.to_ambiguous_timestamp(now).offset() {
        AmbiguousOffset::Fold { before, .. } => before.to_datetime(at),
        AmbiguousOffset::Gap { .. } | AmbiguousOffset::Unambiguous { .. } => now,
    };
    let mut inclusive = true;
    loop {
        wall = schedule.cron.find_previous_occurrence(&wall, inclusive).ok()?;
        inclusive = false;
        if let Some(fire) = instant_of(schedule, wall).filter(|fire| *fire <= at) {
            return Some(fire);
        }
    }
}

/// The fires strictly after `after`, up to and including `until`, in order.
pub(crate) fn fires_between(
    schedule: &Schedule,
    after: Timestamp,
    until: Timestamp,
) -> impl Iterator<Item = Timestamp> + '_ {
    std::iter::successors(next_after(schedule, after), |fire| next_after(schedule, *fire))
        .take_while(move |fire| *fire <= until)
}

/// The one fire that makes up for those missed while the program was stopped: the latest in
/// (`last_fired`, `now`], `None` if there was none. The days in between are the ledger's to show as
/// missing and a backfill's to fill: sources that only answer "now" would answer the same each time.
///
/// Without `last_fired` there is nothing to make up for: a pipeline that has never fired does not
/// fire for the time before it existed.
pub(crate) fn catch_up(
    schedule: &Schedule,
    last_fired: Option<Timestamp>,
    now: Timestamp,
) -> Option<Timestamp> {
    last_at_or_before(schedule, now).filter(|fire| last_fired.is_some_and(|last| *fire > last))
}

/// The instant a wall clock time fires at: none in a gap, the first of two in a fold.
fn instant_of(schedule: &Schedule, wall: DateTime) -> Option<Timestamp> {
    let offset = match schedule.zone.to_ambiguous_timestamp(wall).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset,
        AmbiguousOffset::Gap { .. } => return None,
        AmbiguousOffset::Fold { before, .. } => before,
    };
    offset.to_timestamp(wall).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW_YORK: &str = "America/New_York";

    fn schedule(expression: &str) -> Schedule {
        Schedule::parse(expression, NEW_YORK).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn fires(expression: &str, after: &str, until: &str) -> Vec<String> {
        let schedule = schedule(expression);
        let fires = fires_between(&schedule, at(after), at(until));
        fires.map(|fire| fire.to_string()).collect()
    }

    #[test]
    fn eight_in_the_morning_keeps_its_wall_clock_through_both_changes() {
        // Offsets of New York: -05:00, from 2026-03-08 -04:00, from 2026-11-01 -05:00.
        let spring = fires("cron(0 8 * * ? *)", "2026-03-06T13:00:00Z", "2026-03-09T12:00:00Z");
        assert_eq!(
            spring,
            ["2026-03-07T13:00:00Z", "2026-03-08T12:00:00Z", "2026-03-09T12:00:00Z"]
        );
        let autumn = fires("cron(0 8 * * ? *)", "2026-10-30T12:00:00Z", "2026-11-01T13:00:00Z");
        assert_eq!(autumn, ["2026-10-31T12:00:00Z", "2026-11-01T13:00:00Z"]);
    }

    #[test]
    fn a_time_the_spring_change_skips_does_not_fire_that_day() {
        let found = fires("cron(30 2 * * ? *)", "2026-03-07T00:00:00Z", "2026-03-09T12:00:00Z");
        assert_eq!(found, ["2026-03-07T07:30:00Z", "2026-03-09T06:30:00Z"]);
        let last = last_at_or_before(&schedule("cron(30 2 * * ? *)"), at("2026-03-08T20:00:00Z"));
        assert_eq!(last, Some(at("2026-03-07T07:30:00Z")));
    }

    #[test]
    fn a_time_the_autumn_change_repeats_fires_once_at_its_first_occurrence() {
        let found = fires("cron(30 1 * * ? *)", "2026-10-31T12:00:00Z", "2026-11-02T12:00:00Z");
        assert_eq!(found, ["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"]);
        // Asked from between the two occurrences and from after the second.
        for from in ["2026-11-01T05:30:00Z", "2026-11-01T06:10:00Z", "2026-11-01T06:45:00Z"] {
            let schedule = schedule("cron(30 1 * * ? *)");
            assert_eq!(next_after(&schedule, at(from)), Some(at("2026-11-02T06:30:00Z")), "{from}");
            let last = last_at_or_before(&schedule, at(from));
            assert_eq!(last, Some(at("2026-11-01T05:30:00Z")), "{from}");
        }
    }

    #[test]
    fn every_minute_does_not_repeat_the_repeated_hour() {
        let found = fires("cron(* * * * ? *)", "2026-11-01T05:58:00Z", "2026-11-01T07:01:00Z");
        assert_eq!(found, ["2026-11-01T05:59:00Z", "2026-11-01T07:00:00Z", "2026-11-01T07:01:00Z"]);
        let last = last_at_or_before(&schedule("cron(* * * * ? *)"), at("2026-11-01T06:59:59Z"));
        assert_eq!(last, Some(at("2026-11-01T05:59:00Z")));
    }

    #[test]
    fn weekdays_months_and_years_are_kept_to() {
        let found =
            fires("cron(0 8 ? * MON-FRI *)", "2026-11-20T13:00:00Z", "2026-11-24T13:00:00Z");
        assert_eq!(found, ["2026-11-23T13:00:00Z", "2026-11-24T13:00:00Z"]);
        let found = fires("cron(0 8 L * ? 2026)", "2026-11-01T13:00:00Z", "2027-12-31T00:00:00Z");
        assert_eq!(found, ["2026-11-30T13:00:00Z", "2026-12-31T13:00:00Z"]);
        assert_eq!(next_after(&schedule("cron(0 8 * * ? 2020)"), at("2026-01-01T00:00:00Z")), None);
    }

    #[test]
    fn missed_fires_collapse_into_one() {
        let schedule = schedule("cron(0 8 * * ? *)");
        let now = at("2026-11-23T15:00:00Z");
        let today = Some(at("2026-11-23T13:00:00Z"));
        assert_eq!(catch_up(&schedule, Some(at("2026-11-19T13:00:00Z")), now), today);
        assert_eq!(catch_up(&schedule, today, now), None);
        assert_eq!(catch_up(&schedule, None, now), None);
        assert_eq!(
            catch_up(&schedule, Some(at("2026-11-22T13:00:00Z")), at("2026-11-23T12:59:59Z")),
            None
        );
        // The fire of this very instant is due.
        assert_eq!(
            catch_up(&schedule, Some(at("2026-11-22T13:00:00Z")), at("2026-11-23T13:00:00Z")),
            today
        );
    }

    /// For some thousand instants of many years, in zones with changes of an hour, of half an hour
    /// and of none: a fire is later than asked, has the expression's wall clock, and the two
    /// directions agree.
    #[test]
    fn fires_are_later_and_have_the_wall_clock_asked_for() {
        let mut seed = 7_i64;
        for zone in [NEW_YORK, "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"] {
            for (hour, minute) in [(8_i8, 0_i8), (2, 30), (1, 30), (0, 0), (23, 59), (1, 45)] {
                let expression = format!("cron({minute} {hour} * * ? *)");
                let schedule = Schedule::parse(&expression, zone).unwrap();
                for _ in 0..100 {
                    seed = (seed * 48_271) % 2_147_483_647;
                    let from = Timestamp::from_second(seed).unwrap();
                    let next = next_after(&schedule, from).unwrap();
                    assert!(next > from, "{expression} {zone} {from}");
                    let wall = schedule.zone.to_datetime(next);
                    assert_eq!((wall.hour(), wall.minute()), (hour, minute), "{zone} {from}");
                    let days = next.duration_since(from).as_hours() / 24;
                    assert!(days <= 2, "{expression} {zone} {from}: {next}");
                    assert_eq!(last_at_or_before(&schedule, next), Some(next));
                    let last = last_at_or_before(&schedule, from).unwrap();
                    assert!(last <= from, "{expression} {zone} {from}");
                    assert_eq!(next_after(&schedule, last), Some(next), "{zone} {from}");
                }
            }
        }
    }
}
