//! Expressions, good and bad, and their fires around the changes of the clock.

use jiff::Timestamp;

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
    let fires = schedule.fires_between(at(after), at(until));
    fires.map(|fire| fire.to_string()).collect()
}

#[test]
fn eight_in_the_morning_keeps_its_wall_clock_through_both_changes() {
    // Offsets of New York: -05:00, from 2026-03-08 -04:00, from 2026-11-01 -05:00.
    let spring = fires("cron(0 8 * * ? *)", "2026-03-06T13:00:00Z", "2026-03-09T12:00:00Z");
    assert_eq!(spring, ["2026-03-07T13:00:00Z", "2026-03-08T12:00:00Z", "2026-03-09T12:00:00Z"]);
    let autumn = fires("cron(0 8 * * ? *)", "2026-10-30T12:00:00Z", "2026-11-01T13:00:00Z");
    assert_eq!(autumn, ["2026-10-31T12:00:00Z", "2026-11-01T13:00:00Z"]);
}

#[test]
fn a_time_the_spring_change_skips_does_not_fire_that_day() {
    let found = fires("cron(30 2 * * ? *)", "2026-03-07T00:00:00Z", "2026-03-09T12:00:00Z");
    assert_eq!(found, ["2026-03-07T07:30:00Z", "2026-03-09T06:30:00Z"]);
    let last = schedule("cron(30 2 * * ? *)").last_at_or_before(at("2026-03-08T20:00:00Z"));
    assert_eq!(last, Some(at("2026-03-07T07:30:00Z")));
}

#[test]
fn a_time_the_autumn_change_repeats_fires_once_at_its_first_occurrence() {
    let found = fires("cron(30 1 * * ? *)", "2026-10-31T12:00:00Z", "2026-11-02T12:00:00Z");
    assert_eq!(found, ["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"]);
    // Asked from between the two occurrences and from after the second.
    for from in ["2026-11-01T05:30:00Z", "2026-11-01T06:10:00Z", "2026-11-01T06:45:00Z"] {
        let schedule = schedule("cron(30 1 * * ? *)");
        assert_eq!(schedule.next_after(at(from)), Some(at("2026-11-02T06:30:00Z")), "{from}");
        let last = schedule.last_at_or_before(at(from));
        assert_eq!(last, Some(at("2026-11-01T05:30:00Z")), "{from}");
    }
}

#[test]
fn every_minute_does_not_repeat_the_repeated_hour() {
    let found = fires("cron(* * * * ? *)", "2026-11-01T05:58:00Z", "2026-11-01T07:01:00Z");
    assert_eq!(found, ["2026-11-01T05:59:00Z", "2026-11-01T07:00:00Z", "2026-11-01T07:01:00Z"]);
    let last = schedule("cron(* * * * ? *)").last_at_or_before(at("2026-11-01T06:59:59Z"));
    assert_eq!(last, Some(at("2026-11-01T05:59:00Z")));
}

#[test]
fn weekdays_months_and_years_are_kept_to() {
    let found = fires("cron(0 8 ? * MON-FRI *)", "2026-11-20T13:00:00Z", "2026-11-24T13:00:00Z");
    assert_eq!(found, ["2026-11-23T13:00:00Z", "2026-11-24T13:00:00Z"]);
    let found = fires("cron(0 8 L * ? 2026)", "2026-11-01T13:00:00Z", "2027-12-31T00:00:00Z");
    assert_eq!(found, ["2026-11-30T13:00:00Z", "2026-12-31T13:00:00Z"]);
    assert_eq!(schedule("cron(0 8 * * ? 2020)").next_after(at("2026-01-01T00:00:00Z")), None);
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
                let next = schedule.next_after(from).unwrap();
                assert!(next > from, "{expression} {zone} {from}");
                let wall = schedule.zone.to_datetime(next);
                assert_eq!((wall.hour(), wall.minute()), (hour, minute), "{zone} {from}");
                let days = next.duration_since(from).as_hours() / 24;
                assert!(days <= 2, "{expression} {zone} {from}: {next}");
                assert_eq!(schedule.last_at_or_before(next), Some(next));
                let last = schedule.last_at_or_before(from).unwrap();
                assert!(last <= from, "{expression} {zone} {from}");
                assert_eq!(schedule.next_after(last), Some(next), "{zone} {from}");
            }
        }
    }
}

#[test]
fn the_fields_mean_what_eventbridge_documents() {
    for (expression, after, expected) in [
        ("cron(5/15 8 * * ? *)", "2026-11-01T00:00", "11-01T08:05 11-01T08:20 11-01T08:35"),
        ("cron(50-10/10 8 * * ? *)", "2026-11-01T00:00", "11-01T08:00 11-01T08:10 11-01T08:50"),
        ("cron(0 22-2 * * ? *)", "2026-11-01T20:00", "11-01T22:00 11-01T23:00 11-02T00:00"),
        ("cron(0 8 L * ? *)", "2026-11-01T00:00", "11-30T08:00 12-31T08:00 01-31T08:00"),
        ("cron(0 8 L-3 * ? *)", "2026-11-01T00:00", "11-27T08:00 12-28T08:00 01-28T08:00"),
        // 31 January 2027 is a Sunday.
        ("cron(0 8 LW * ? *)", "2026-11-01T00:00", "11-30T08:00 12-31T08:00 01-29T08:00"),
        // 15 November is a Sunday, 15 August 2026 a Saturday, 1 August too.
        ("cron(0 8 15W * ? *)", "2026-11-01T00:00", "11-16T08:00 12-15T08:00 01-15T08:00"),
        ("cron(0 8 15w aug ? *)", "2026-01-01T00:00", "08-14T08:00 08-16T08:00 08-15T08:00"),
        ("cron(0 8 1W 8 ? *)", "2026-01-01T00:00", "08-03T08:00 08-02T08:00 08-01T08:00"),
        ("cron(0 8 ? * 6#3 *)", "2026-11-01T00:00", "11-20T08:00 12-18T08:00 01-15T08:00"),
        ("cron(0 8 ? * FRIL *)", "2026-11-01T00:00", "11-27T08:00 12-25T08:00 01-29T08:00"),
        ("cron(0 8 ? * 6L *)", "2026-11-01T00:00", "11-27T08:00 12-25T08:00 01-29T08:00"),
        ("cron(0 8 ? * L *)", "2026-11-01T00:00", "11-07T08:00 11-14T08:00 11-21T08:00"),
        ("cron(0 8 ? * 1 *)", "2026-11-01T09:00", "11-08T08:00 11-15T08:00 11-22T08:00"),
        ("cron(0 8 ? * fri-mon *)", "2026-11-01T09:00", "11-02T08:00 11-06T08:00 11-07T08:00"),
        ("cron(0 8 29 2 ? *)", "2026-11-01T00:00", "02-29T08:00 02-29T08:00 02-29T08:00"),
        ("cron(0 8 1 1 ? 2027/2)", "2026-11-01T00:00", "01-01T08:00 01-01T08:00 01-01T08:00"),
        ("rate(36 hours)", "1970-01-01T00:00", "01-02T12:00 01-04T00:00 01-05T12:00"),
    ] {
        let schedule = Schedule::parse(expression, "UTC").unwrap();
        let after = at(&format!("{after}:00Z"));
        let fires: Vec<String> = schedule
            .fires_after(after)
            .take(3)
            .map(|fire| fire.strftime("%m-%dT%H:%M").to_string())
            .collect();
        assert_eq!(fires.join(" "), expected, "{expression}");
    }
}

#[test]
fn what_is_wrong_is_pointed_at() {
    let said = |expression: &str| Schedule::parse(expression, "UTC").unwrap_err().to_string();
    insta::assert_snapshot!(said("cron(61 8 * * ? *)"), @r"
    the minute is `61`: 61 is not from 0 to 59
            cron(61 8 * * ? *)
                 ^^
    ");
    insta::assert_snapshot!(said("cron(0 8 * * *)"), @r"
    it has 5 fields, not 6
            cron(0 8 * * *)
                 ^^^^^^^^^
    ");
    insta::assert_snapshot!(said("cron(0 8 * * * *)"), @r"
    exactly one of day-of-month and day-of-week is `?`
            cron(0 8 * * * *)
                     ^^^^^
    ");
    insta::assert_snapshot!(said("rate(5 weeks)"), @r"
    the unit is `weeks`
            rate(5 weeks)
                 ^^^^^^^
    ");
    for bad in [
        "",
        "0 8 * * *",
        "cron()",
        "cron(",
        "cron(0 8 ? * 0 *)",
        "cron(0 8 ? * 8 *)",
        "cron(0 8 ? * 6#6 *)",
        "cron(0 8 ? * 3#1,6#3 *)",
        "cron(0 8 32 * ? *)",
        "cron(0 8 L-31 * ? *)",
        "cron(0 8 0W * ? *)",
        "cron(0/0 8 * * ? *)",
        "cron(/5 8 * * ? *)",
        "cron(0 8 * * ? 1969)",
        "cron(0 8 * * ? 2030-2027)",
        "cron(0 24 * * ? *)",
        "cron(0 8 * FOO ? *)",
        "cron(? 8 * * ? *)",
        "cron(0 8 * * ? *",
        "rate(0 days)",
        "rate(-1 days)",
        "rate(1.5 days)",
        "at(2027-02-30T08:00:00)",
        "at(2027-02-03)",
        "cron(é 8 * * ? *)",
        "cron(+1 8 * * ? *)",
        "cron(0,, 8 * * ? *)",
    ] {
        assert!(Schedule::parse(bad, "UTC").is_err(), "{bad}");
    }
}

#[test]
fn a_day_that_is_in_no_year_never_fires() {
    for (expression, fires) in [
        ("cron(0 8 30 2 ? *)", false),
        ("cron(0 8 31 4,6 ? *)", false),
        ("cron(0 8 29 2 ? 2027)", false),
        ("cron(0 8 29 2 ? 2028)", true),
        // The one time of its life is in the gap.
        ("cron(30 2 8 3 ? 2026)", false),
        ("at(2026-03-08T02:30:00)", false),
        ("at(2026-03-08T03:30:00)", true),
    ] {
        assert_eq!(schedule(expression).ever_fires(), fires, "{expression}");
    }
}

#[test]
fn a_time_in_the_gap_can_be_moved_to_its_end() {
    let mut schedule = schedule("cron(0/30 2-3 * * ? *)");
    schedule.dst_gap = DstGap::NextValid;
    let fires: Vec<String> = schedule
        .fires_after(at("2026-03-08T00:00:00Z"))
        .take(3)
        .map(|fire| fire.to_string())
        .collect();
    // 02:00, 02:30 and 03:00 are one instant on that day, and it fires once.
    assert_eq!(fires, ["2026-03-08T07:00:00Z", "2026-03-08T07:30:00Z", "2026-03-09T06:00:00Z"]);
    assert_eq!(
        schedule.last_at_or_before(at("2026-03-08T07:10:00Z")),
        Some(at("2026-03-08T07:00:00Z"))
    );
}

#[test]
fn a_rate_counts_from_its_start_and_all_end() {
    let mut schedule = schedule("rate(1 day)");
    schedule.start = Some(at("2026-03-07T13:00:00Z"));
    schedule.end = Some(at("2026-03-09T13:00:00Z"));
    let fires: Vec<String> =
        schedule.fires_after(at("2020-01-01T00:00:00Z")).map(|fire| fire.to_string()).collect();
    // 24 hours each, whatever the clocks of New York do on the 8th.
    assert_eq!(fires, ["2026-03-07T13:00:00Z", "2026-03-08T13:00:00Z", "2026-03-09T13:00:00Z"]);
    assert_eq!(schedule.last_at_or_before(at("2027-01-01T00:00:00Z")), schedule.end);
    assert_eq!(schedule.last_at_or_before(at("2026-03-07T12:59:59Z")), None);
}

#[test]
fn the_window_is_a_stable_delay() {
    let mut schedule = schedule("cron(0 8 * * ? *)");
    let fire = at("2026-11-23T13:00:00Z");
    assert_eq!(schedule.delay("weather", fire).as_secs(), 0);
    schedule.flexible_window_minutes = 15;
    let delays: std::collections::BTreeSet<i64> =
        (0..20).map(|n| schedule.delay(&format!("s{n}"), fire).as_secs()).collect();
    assert!(delays.len() > 10 && delays.iter().all(|delay| (0..900).contains(delay)), "{delays:?}");
    assert_eq!(schedule.delay("s1", fire), schedule.delay("s1", fire));
}

#[test]
fn what_is_unusual_is_said() {
    let notes = |expression: &str, after: &str| {
        let (schedule, after) = (schedule(expression), at(after));
        schedule.unusual(after, schedule.next_after(after).unwrap())
    };
    let skipped = notes("cron(30 2 * * ? *)", "2026-03-07T07:30:00Z");
    assert_eq!(skipped.unwrap(), "2026-03-08 02:30 skipped: the clock goes from 02:00 to 03:00");
    let twice = notes("cron(30 1 * * ? *)", "2026-10-31T12:00:00Z");
    assert_eq!(twice.unwrap(), "01:30 comes twice, the clock is put back: the first of the two");
    assert_eq!(notes("cron(0 8 * * ? *)", "2026-03-07T13:00:00Z"), None);
}
