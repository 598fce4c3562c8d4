//! Days against the manual clock.

use proptest::prelude::*;

use super::*;
use crate::clock::Clock;

const EIGHT: &str = "cron(0 8 * * ? *)";
const EIGHT_ON_WEEKDAYS: &str = "cron(0 8 ? * MON-FRI *)";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A source's rules, owned.
struct Rules {
    id: SourceId,
    schedule: Schedule,
    calendar: Calendar,
    data_date: DataDateRule,
    deadline: Deadline,
    clock: Clock,
}

impl Rules {
    fn new(expression: &str, data_date: DataDateRule, calendar: &str) -> Self {
        Self {
            id: SourceId::new("s").unwrap(),
            schedule: Schedule::parse(expression, "America/New_York").unwrap(),
            calendar: Calendar::parse(calendar).unwrap(),
            data_date,
            deadline: Deadline::default(),
            clock: Clock::manual(Timestamp::UNIX_EPOCH),
        }
    }

    fn by(mut self, time: &str, missing_after_hours: i64) -> Self {
        self.deadline = Deadline {
            by: DeadlineBy::Time(time.parse().unwrap()),
            missing_after: SignedDuration::from_hours(missing_after_hours),
        };
        self
    }

    fn rules(&self) -> DayRules<'_> {
        DayRules {
            source_id: &self.id,
            schedule: &self.schedule,
            data_date: self.data_date,
            calendar: &self.calendar,
            deadline: self.deadline,
            zone: &self.schedule.zone,
        }
    }

    fn of(&self, date: &str, facts: &DayFacts, now: &str) -> Standing {
        self.clock.set(at(now));
        let expected = self.rules().expected(date.parse().unwrap());
        self.rules().standing(expected, facts, self.clock.now())
    }

    fn state(&self, date: &str, now: &str) -> DayState {
        self.of(date, &DayFacts::default(), now).state
    }

    fn fire(&self, date: &str) -> Option<String> {
        self.rules().fire_of(date.parse().unwrap()).map(|fire| fire.to_string())
    }
}

fn reached(reached: Reached, when: &str) -> DayFacts {
    let when = at(when);
    DayFacts { reached: Some((reached, when, None)), last_at: Some(when), ..DayFacts::default() }
}

#[test]
fn a_dead_scheduler_still_turns_a_day_late_and_then_missing() {
    let rules = Rules::new(EIGHT, DataDateRule::RunDay, "daily").by("09:30", 24);
    let state = |now| rules.state("2026-11-23", now);
    assert_eq!(state("2026-11-23T12:59:59Z"), DayState::Expected);
    assert_eq!(state("2026-11-23T14:29:59Z"), DayState::Expected);
    assert_eq!(state("2026-11-23T14:30:00Z"), DayState::Late);
    assert_eq!(state("2026-11-24T14:29:59Z"), DayState::Late);
    assert_eq!(state("2026-11-24T14:30:00Z"), DayState::Missing);
    let late = rules.of("2026-11-23", &DayFacts::default(), "2026-11-23T15:00:00Z");
    assert_eq!(late.since, Some(at("2026-11-23T14:30:00Z")));
    insta::assert_snapshot!(late.reason.unwrap(),
        @"no attempt is recorded; it was to be there by 2026-11-23 09:30 EST");
}

#[test]
fn without_a_deadline_of_its_own_a_day_is_late_an_hour_after_its_fire() {
    let rules = Rules::new(EIGHT, DataDateRule::RunDay, "daily");
    assert_eq!(rules.state("2026-11-23", "2026-11-23T13:59:59Z"), DayState::Expected);
    assert_eq!(rules.state("2026-11-23", "2026-11-23T14:00:00Z"), DayState::Late);
    assert_eq!(rules.state("2026-11-23", "2026-11-24T14:00:00Z"), DayState::Missing);
}

#[test]
fn a_deadline_earlier_on_the_clock_than_the_fire_is_the_next_mornings() {
    let rules = Rules::new("cron(0 22 * * ? *)", DataDateRule::RunDay, "daily").by("02:30", 1);
    assert_eq!(rules.state("2026-11-23", "2026-11-24T07:29:59Z"), DayState::Expected);
    assert_eq!(rules.state("2026-11-23", "2026-11-24T07:30:00Z"), DayState::Late);
    // 02:30 does not exist on the morning of 14 March 2027: it is 03:30.
    assert_eq!(rules.state("2027-03-13", "2027-03-14T07:29:59Z"), DayState::Expected);
    assert_eq!(rules.state("2027-03-13", "2027-03-14T07:30:00Z"), DayState::Late);
}

#[test]
fn what_was_received_in_time_and_not_published_is_late_and_never_missing() {
    let rules = Rules::new(EIGHT, DataDateRule::RunDay, "daily").by("09:30", 24);
    let fetched = reached(Reached::Fetched, "2026-11-23T13:00:05Z");
    assert_eq!(rules.of("2026-11-23", &fetched, "2026-11-23T14:00:00Z").state, DayState::Fetched);
    let late = rules.of("2026-11-23", &fetched, "2026-11-30T14:00:00Z");
    assert_eq!(late.state, DayState::Late);
    insta::assert_snapshot!(late.reason.unwrap(), @"received, and not published by 2026-11-23 09:30 EST");
}

#[test]
fn a_day_left_out_is_skipped_until_it_is_tried_again_or_published() {
    let rules = Rules::new(EIGHT, DataDateRule::RunDay, "daily");
    let mut facts = reached(Reached::Failed, "2026-11-23T13:00:00Z");
    let state = |facts: &DayFacts| rules.of("2026-11-23", facts, "2026-12-23T00:00:00Z").state;
    facts.skipped = Some((at("2026-11-23T18:00:00Z"), "given up".to_owned()));
    assert_eq!(state(&facts), DayState::Skipped);
    facts.last_at = Some(at("2026-11-23T19:00:00Z"));
    assert_eq!(state(&facts), DayState::Failed);
    facts.reached = Some((Reached::Published, at("2026-11-23T13:00:00Z"), None));
    facts.last_at = None;
    assert_eq!(state(&facts), DayState::Published);
}

#[test]
fn a_run_day_is_due_at_its_fire() {
    let rules = Rules::new(EIGHT, DataDateRule::RunDay, "daily");
    assert_eq!(rules.fire("2026-11-23").as_deref(), Some("2026-11-23T13:00:00Z"));
    let offset = Rules::new(EIGHT, DataDateRule::RunDayOffset(-1), "daily");
    assert_eq!(offset.fire("2026-11-22").as_deref(), Some("2026-11-23T13:00:00Z"));
}

#[test]
fn a_day_without_a_fire_is_a_holiday_and_says_so() {
    let rules = Rules::new(EIGHT_ON_WEEKDAYS, DataDateRule::RunDay, "daily");
    let sunday = rules.of("2026-11-22", &DayFacts::default(), "2026-12-31T00:00:00Z");
    assert_eq!(sunday.state, DayState::Holiday);
    assert!(sunday.reason.unwrap().contains("does not fire"));
    assert_eq!(rules.state("2026-11-23", "2026-12-31T00:00:00Z"), DayState::Missing);
}

#[test]
fn a_session_is_due_at_the_first_fire_after_its_close() {
    let fire = |expression, date| {
        Rules::new(expression, DataDateRule::PreviousSession, "nyse").fire(date).unwrap()
    };
    // Friday's bar is for Saturday morning's fire, or for Monday's of a schedule of weekdays.
    assert_eq!(fire(EIGHT, "2026-11-20"), "2026-11-21T13:00:00Z");
    assert_eq!(fire(EIGHT_ON_WEEKDAYS, "2026-11-20"), "2026-11-23T13:00:00Z");
    // The half day after Thanksgiving is over at one: a fire at two is for it, and for Friday's close at
    // four not on other Fridays.
    let two = "cron(0 14 * * ? *)";
    assert_eq!(fire(two, "2026-11-27"), "2026-11-27T19:00:00Z");
    assert_eq!(fire(two, "2026-11-20"), "2026-11-21T19:00:00Z");
    let weekdays = Rules::new(EIGHT, DataDateRule::PreviousSession, "weekdays");
    assert_eq!(weekdays.fire("2026-11-20").as_deref(), Some("2026-11-21T13:00:00Z"));
}

#[test]
fn holidays_are_no_gaps() {
    let rules = Rules::new(EIGHT, DataDateRule::PreviousSession, "nyse");
    for holiday in ["2026-11-26", "2026-04-03", "2023-01-02", "2026-11-28"] {
        assert_eq!(rules.state(holiday, "2027-01-01T00:00:00Z"), DayState::Holiday, "{holiday}");
    }
    assert_eq!(rules.state("2026-11-27", "2027-01-01T00:00:00Z"), DayState::Missing);
}

/// How far the clock has brought a day without an attempt.
fn rank(state: DayState) -> u8 {
    match state {
        DayState::Expected => 0,
        DayState::Late => 1,
        DayState::Missing => 2,
        _ => 3,
    }
}

proptest! {
    /// Time alone only ever makes a day worse, and only one that nothing was reached for.
    #[test]
    fn time_goes_one_way(
        day in 0_i32..1500,
        kind in 0_usize..4,
        minutes in proptest::collection::vec(0_i64..6 * 24 * 60, 1..12),
        hour in 0_i8..24,
        missing_after in 0_i64..100,
    ) {
        let (expression, rule, calendar) = [
            (EIGHT, DataDateRule::RunDay, "daily"),
            (EIGHT_ON_WEEKDAYS, DataDateRule::RunDayOffset(-1), "weekdays"),
            (EIGHT, DataDateRule::PreviousSession, "nyse"),
            ("rate(6 hours)", DataDateRule::RunDay, "tse"),
        ][kind];
        let mut rules = Rules::new(expression, rule, calendar);
        rules.deadline = Deadline {
            by: DeadlineBy::Time(Time::constant(hour, 30, 0, 0)),
            missing_after: SignedDuration::from_hours(missing_after),
        };
        let first = jiff::civil::date(2024, 1, 1);
        let date = first.saturating_add(jiff::Span::new().days(day));
        let expected = rules.rules().expected(date);
        let midnight = date.to_zoned(rules.schedule.zone.clone()).unwrap().timestamp();
        let mut minutes = minutes;
        minutes.sort_unstable();
        let clock = &rules.clock;
        let mut before = 0;
        for minute in minutes {
            clock.set(midnight.checked_add(SignedDuration::from_mins(minute)).unwrap());
            let standing = rules.rules().standing(expected, &DayFacts::default(), clock.now());
            prop_assert!(rank(standing.state) >= before);
            before = rank(standing.state);
            prop_assert!(standing.since.is_none_or(|since| since <= clock.now()));
            match (expected, standing.state) {
                (Expected::By { fire, late, missing }, state) => {
                    prop_assert!(fire <= late && late <= missing);
                    let due = clock.now() >= late;
                    prop_assert_eq!(due, state != DayState::Expected);
                    // A fire that is for the day is for no other.
                    let zone = &rules.schedule.zone;
                    prop_assert_eq!(data_date(rule, &rules.calendar, zone, fire), date);
                }
                (_, state) => prop_assert_eq!(state, DayState::Holiday),
            }
            // What was published stays so.
            let published = reached(Reached::Published, "2024-01-01T00:00:00Z");
            let stands = rules.rules().standing(expected, &published, clock.now());
            prop_assert_eq!(stands.state, DayState::Published);
        }
    }
}

#[test]
fn a_backfill_wants_the_days_that_calendar_and_schedule_have() {
    // Eight in New York on a Tuesday.
    let now = at("2026-11-24T13:00:00Z");
    let wanted = |rules: &Rules, date: &str| rules.rules().wanted(date.parse().unwrap(), now);
    let mut rules = Rules::new(EIGHT_ON_WEEKDAYS, DataDateRule::RunDay, "daily");
    rules.schedule.start = Some(at("2026-11-20T00:00:00Z"));
    // When the schedule began says nothing about which days there are.
    assert_eq!(wanted(&rules, "2026-11-09"), Wanted::Yes);
    assert_eq!(wanted(&rules, "2026-11-08"), Wanted::NoFire);
    assert_eq!(wanted(&rules, "2026-11-24"), Wanted::Yes);
    assert_eq!(wanted(&rules, "2026-11-25"), Wanted::NotYet);

    let sessions = Rules::new(EIGHT, DataDateRule::PreviousSession, "nyse");
    assert_eq!(wanted(&sessions, "2026-11-23"), Wanted::Yes);
    assert_eq!(wanted(&sessions, "2026-11-24"), Wanted::NotYet);
    assert_eq!(wanted(&sessions, "2026-11-22"), Wanted::NoData);

    // A rate counts from its start: before it, every day of the calendar is as good.
    let mut rate = Rules::new("rate(7 days)", DataDateRule::RunDay, "daily");
    rate.schedule.start = Some(at("2026-11-20T13:00:00Z"));
    assert_eq!(wanted(&rate, "2026-11-10"), Wanted::Yes);
    assert_eq!(wanted(&rate, "2026-11-20"), Wanted::Yes);
    assert_eq!(wanted(&rate, "2026-11-21"), Wanted::NoFire);
}
