//! The days of a [`Calendar`]: which of them have data, and when their session is over.
//!
//! In: a civil date. Out: whether the calendar has data on it, and its session's open and close as
//! instants, holidays and half days included. Deliberately absent: clocks, schedules and the rule
//! that turns an instant into a data date (`data_date`), reading a file of dates (`calendar_file`).
//!
//! The exchanges' days come from the `exchange-hours` crate, compiled in from the exchanges' own
//! calendar pages: no file, no network. Its instants are chrono's; chrono stays in this file.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeZone, Utc};
use exchange_hours::{Exchange, ExchangeCalendar, SessionKind};
use jiff::civil::{Date, Weekday};
use jiff::{SignedDuration, Timestamp};

use crate::schedule::Calendar;

/// How far from midnight UTC of a date the sessions of that trade date are searched. A session of a
/// trade date can open on the evening before, in any zone (-12 to +14), and end the day after.
const SEARCH_HOURS: i64 = 48;

impl Calendar {
    /// Whether the source has data of this date. For an exchange: whether it holds a session on it.
    ///
    /// A date the exchange has not published a calendar for (NYSE: before 2010 and after 2028) is
    /// judged by its ordinary week, Monday to Friday for NYSE: a day too many is a visible gap in
    /// the ledger, a day too few would be silence. So is one outside of a file that is all there is.
    pub fn has_data_on(&self, date: Date) -> bool {
        match self {
            Self::Daily => true,
            Self::Weekdays => is_weekday(date),
            Self::Exchange(exchange) => holds_session(*exchange, date),
            Self::Listed(list) => match &list.base {
                _ if list.open.contains(&date) => true,
                _ if list.closed.contains(&date) => false,
                Some(base) => base.has_data_on(date),
                None => !self.covers(date) && is_weekday(date),
            },
        }
    }

    /// Whether the calendar is complete for this date, holidays and half days included, rather than
    /// answered from an ordinary week.
    pub fn covers(&self, date: Date) -> bool {
        match self {
            Self::Daily | Self::Weekdays => true,
            Self::Exchange(exchange) => to_chrono(date)
                .is_some_and(|day| ExchangeCalendar::new(*exchange).coverage().is_complete_on(day)),
            Self::Listed(list) => match &list.base {
                _ if list.open.contains(&date) || list.closed.contains(&date) => true,
                Some(base) => base.covers(date),
                None => {
                    list.open.first().is_some_and(|first| *first <= date)
                        && list.open.last().is_some_and(|last| date <= *last)
                }
            },
        }
    }

    /// What is not known of the days from `from` to `to`, in a sentence; none when all are covered.
    pub fn gap(&self, from: Date, to: Date) -> Option<String> {
        let days = || from.series(jiff::Span::new().days(1)).take_while(|date| *date <= to);
        let first = days().find(|date| !self.covers(*date))?;
        let after = days().skip_while(|date| *date < first).find(|date| self.covers(*date));
        let until = match after.and_then(|date| date.yesterday().ok()) {
            Some(last) => format!("from {first} to {last}"),
            None => format!("from {first} on"),
        };
        Some(format!(
            "the calendar `{self}` does not know the days {until}: holidays are not known there, and every \
             day of an ordinary week counts"
        ))
    }

    /// Whether the session of this date is a short one, such as NYSE's on the Friday after Thanksgiving: shorter by
    /// half an hour or more than those of the same weekday in the weeks around it.
    pub fn is_half_day(&self, date: Date) -> bool {
        let long = |date: Date| self.session(date).map(|(open, close)| close.duration_since(open));
        let Some(this) = long(date) else { return false };
        let weeks = (-4_i64..=4).filter(|weeks| *weeks != 0);
        let around = weeks.map(|weeks| date.saturating_add(jiff::Span::new().weeks(weeks)));
        let mut lengths: Vec<SignedDuration> = around.filter_map(long).collect();
        lengths.sort_unstable();
        // The one in the middle: a holiday week has several short ones.
        let usual = lengths.get(lengths.len() / 2);
        usual.is_some_and(|usual| this + SignedDuration::from_mins(30) <= *usual)
    }

    /// When the regular session of this date is over; 13:00 instead of 16:00 on a half day of NYSE.
    /// `None` without a session, and for `daily` and `weekdays`, which have no sessions.
    pub fn session_close(&self, date: Date) -> Option<Timestamp> {
        self.session(date).map(|(_open, close)| close)
    }

    /// Open and close of the regular session of this date; the first open and the last close where
    /// an exchange pauses for lunch. The few minutes of auction some exchanges hold after it (Tokyo
    /// 15:25 to 15:30) are not counted. `None` as for [`Calendar::session_close`], and on a day that only a
    /// file calls open: such a day is over when it ends.
    pub fn session(&self, date: Date) -> Option<(Timestamp, Timestamp)> {
        match self {
            Self::Daily | Self::Weekdays => None,
            Self::Exchange(exchange) => session_of(*exchange, date),
            Self::Listed(list) => {
                list.base.as_ref().filter(|_| self.has_data_on(date))?.session(date)
            }
        }
    }
}

fn is_weekday(date: Date) -> bool {
    !matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday)
}

/// The exchange's calendar, answering from its ordinary week where its published one ends. Inside
/// its coverage the answers are the published ones.
fn calendar_of(exchange: Exchange) -> ExchangeCalendar {
    ExchangeCalendar::new(exchange).with_last_known_week().with_next_known_week()
}

/// The sessions that make a day: the regular ones, or all where an exchange names none regular
/// (electronic futures books such as COMEX).
fn kind_of(calendar: ExchangeCalendar, at: DateTime<Utc>) -> SessionKind {
    if calendar.hours_at(at).regular.is_empty() { SessionKind::Both } else { SessionKind::Regular }
}

fn holds_session(exchange: Exchange, date: Date) -> bool {
    let calendar = calendar_of(exchange);
    let Some(day) = to_chrono(date) else { return is_weekday(date) };
    let kind = kind_of(calendar, noon(day));
    match calendar.is_closed_trade_date(day, kind) {
        Ok(closed) => !closed || is_always_open(calendar, day),
        Err(_) => is_weekday(date),
    }
}

/// Whether the exchange trades round the clock without trade dates, as crypto exchanges do: every
/// civil day is then a session of its own.
fn is_always_open(calendar: ExchangeCalendar, day: NaiveDate) -> bool {
    let noon = noon(day);
    calendar.is_open(noon) == Ok(true) && !matches!(calendar.trade_date(noon), Ok(Some(_)))
}

fn session_of(exchange: Exchange, date: Date) -> Option<(Timestamp, Timestamp)> {
    if !holds_session(exchange, date) {
        return None;
    }
    let calendar = calendar_of(exchange);
    let day = to_chrono(date)?;
    if is_always_open(calendar, day) {
        let next = day.checked_add_days(Days::new(1))?;
        return Some((to_jiff(midnight(calendar, day)?)?, to_jiff(midnight(calendar, next)?)?));
    }
    let kind = kind_of(calendar, noon(day));
    let start = noon(day) - chrono::TimeDelta::hours(SEARCH_HOURS);
    let end = noon(day) + chrono::TimeDelta::hours(SEARCH_HOURS);
    let mut session: Option<(DateTime<Utc>, DateTime<Utc>)> = None;
    let mut after = start;
    while let Ok(Some(window)) = calendar.next_session_after_with(after, kind) {
        let (open, close) = window;
        if open > end {
            break;
        }
        if calendar.trade_date(open) == Ok(Some(day)) {
            session = Some(session.map_or((open, close), |(first, last)| (first, last.max(close))));
        } else if session.is_some() {
            break;
        }
        after = open;
    }
    let (open, close) = session?;
    Some((to_jiff(open)?, to_jiff(close)?))
}

fn noon(day: NaiveDate) -> DateTime<Utc> {
    (day.and_time(NaiveTime::MIN) + chrono::TimeDelta::hours(12)).and_utc()
}

fn midnight(calendar: ExchangeCalendar, day: NaiveDate) -> Option<DateTime<Utc>> {
    let local = calendar.tz().from_local_datetime(&day.and_time(NaiveTime::MIN));
    local.earliest().map(|at| at.with_timezone(&Utc))
}

fn to_chrono(date: Date) -> Option<NaiveDate> {
    let month = u32::try_from(date.month()).ok()?;
    let day = u32::try_from(date.day()).ok()?;
    NaiveDate::from_ymd_opt(i32::from(date.year()), month, day)
}

fn to_jiff(at: DateTime<Utc>) -> Option<Timestamp> {
    Timestamp::from_second(at.timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;
    use jiff::civil::date;

    use super::*;

    fn nyse() -> Calendar {
        Calendar::parse("nyse").unwrap()
    }

    /// The close in New York's wall clock.
    fn close(day: Date) -> String {
        let close = nyse().session_close(day).expect("the day has a session");
        close.in_tz("America/New_York").unwrap().strftime("%F %H:%M").to_string()
    }

    #[test]
    fn nyse_keeps_its_holidays() {
        for (day, name) in [
            (date(2026, 11, 26), "Thanksgiving"),
            (date(2026, 4, 3), "Good Friday"),
            (date(2026, 7, 3), "Independence Day, observed"),
            (date(2026, 12, 25), "Christmas"),
            (date(2026, 1, 1), "New Year's Day"),
            (date(2025, 1, 9), "day of mourning"),
        ] {
            assert!(!nyse().has_data_on(day), "{name}");
            assert!(nyse().covers(day), "{name}");
            assert_eq!(nyse().session(day), None, "{name}");
        }
    }

    #[test]
    fn half_days_close_at_one() {
        assert_eq!(close(date(2026, 11, 27)), "2026-11-27 13:00");
        assert_eq!(close(date(2026, 12, 24)), "2026-12-24 13:00");
    }

    #[test]
    fn an_ordinary_day_closes_at_four_on_both_sides_of_dst() {
        assert_eq!(close(date(2026, 11, 23)), "2026-11-23 16:00");
        let utc =
            |day| nyse().session(day).map(|(open, close)| (open.to_string(), close.to_string()));
        let hours = |open: &str, close: &str| Some((open.to_owned(), close.to_owned()));
        let winter = hours("2026-11-23T14:30:00Z", "2026-11-23T21:00:00Z");
        let summer = hours("2026-07-06T13:30:00Z", "2026-07-06T20:00:00Z");
        assert_eq!(utc(date(2026, 11, 23)), winter);
        assert_eq!(utc(date(2026, 7, 6)), summer);
    }

    #[test]
    fn weekends_have_no_session() {
        for day in [date(2026, 11, 21), date(2026, 11, 22)] {
            assert!(!nyse().has_data_on(day));
            assert!(!Calendar::Weekdays.has_data_on(day));
            assert!(Calendar::Daily.has_data_on(day));
        }
        assert!(Calendar::Weekdays.has_data_on(date(2026, 11, 26)));
        assert_eq!(Calendar::Weekdays.session_close(date(2026, 11, 23)), None);
        assert_eq!(Calendar::Daily.session_close(date(2026, 11, 23)), None);
    }

    #[test]
    fn a_year_has_as_many_sessions_as_nyse_says() {
        let days = date(2026, 1, 1).series(1.day()).take_while(|day| day.year() == 2026);
        assert_eq!(days.filter(|day| nyse().has_data_on(*day)).count(), 251);
    }

    #[test]
    fn outside_the_published_calendar_weekdays_count() {
        for (day, open) in [
            (date(2040, 12, 25), true), // a Tuesday; Christmas is not known that far ahead
            (date(2040, 12, 22), false),
            (date(1999, 12, 31), true),
            (date(1999, 12, 25), false),
        ] {
            assert!(!nyse().covers(day), "{day}");
            assert_eq!(nyse().has_data_on(day), open, "{day}");
            assert_eq!(nyse().session_close(day).is_some(), open, "{day}");
        }
        assert_eq!(close(date(2040, 12, 25)), "2040-12-25 16:00");
    }

    #[test]
    fn half_days_are_shorter_than_those_around_them() {
        let of = |calendar: &Calendar, year: i16| -> Vec<String> {
            let days = date(year, 1, 1).series(1.day()).take_while(move |day| day.year() == year);
            days.filter(|day| calendar.is_half_day(*day)).map(|day| day.to_string()).collect()
        };
        // As the exchange publishes them.
        assert_eq!(of(&nyse(), 2025), ["2025-07-03", "2025-11-28", "2025-12-24"]);
        assert_eq!(of(&nyse(), 2026), ["2026-11-27", "2026-12-24"]);
        assert!(of(&Calendar::Weekdays, 2026).is_empty());
        let own = listed("base = \"nyse\"\nclosed = [2026-12-24]\n");
        assert_eq!(of(&own, 2026), ["2026-11-27"]);
        // Round the clock no day is short, whatever the clocks do.
        assert!(of(&Calendar::parse("binance_futures").unwrap(), 2026).is_empty());
    }

    #[test]
    fn every_day_with_data_of_every_exchange_has_a_session() {
        for &exchange in Exchange::ALL {
            for day in date(2026, 3, 5).series(1.day()).take(7) {
                let calendar = Calendar::Exchange(exchange);
                let session = calendar.session(day);
                assert_eq!(session.is_some(), calendar.has_data_on(day), "{exchange} {day}");
                assert!(session.is_none_or(|(open, close)| open < close), "{exchange} {day}");
            }
        }
    }

    /// A calendar's file in TOML.
    fn listed(text: &str) -> Calendar {
        let mut problems = Vec::new();
        let list = crate::calendar_file::read("calendars/own.toml", text, &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        Calendar::Listed(std::sync::Arc::new(list.unwrap()))
    }

    #[test]
    fn an_unscheduled_closing_is_one_line_on_top_of_an_exchange() {
        let own = listed("base = \"nyse\"\nclosed = [2026-11-24]\nopen = [\"2026-11-28\"]\n");
        let (closed, saturday) = (date(2026, 11, 24), date(2026, 11, 28));
        assert!(nyse().has_data_on(closed) && !own.has_data_on(closed));
        assert_eq!(own.session(closed), None);
        assert!(!nyse().has_data_on(saturday) && own.has_data_on(saturday));
        // Nobody told its hours.
        assert_eq!(own.session(saturday), None);
        // All else is the exchange's: the half day, and what it does not know.
        assert_eq!(own.session(date(2026, 11, 27)), nyse().session(date(2026, 11, 27)));
        assert!(!own.has_data_on(date(2026, 11, 26)));
        assert!(own.covers(closed) && !own.covers(date(2040, 12, 25)));
    }

    #[test]
    fn a_plain_list_of_days_is_all_there_is_and_weekdays_beyond_it() {
        let mut problems = Vec::new();
        let text = "# employment reports\n2026-10-02\n2026-11-06  # a Friday\n\n2026-12-04\n";
        let list = crate::calendar_file::read("calendars/reports.txt", text, &mut problems);
        let own = Calendar::Listed(std::sync::Arc::new(list.unwrap()));
        assert!(own.has_data_on(date(2026, 11, 6)) && !own.has_data_on(date(2026, 11, 9)));
        assert!(!own.covers(date(2026, 12, 5)) && own.has_data_on(date(2026, 12, 7)));
        insta::assert_snapshot!(own.gap(date(2026, 11, 30), date(2027, 1, 31)).unwrap(),
            @"the calendar `calendars/reports.txt` does not know the days from 2026-12-05 on: holidays are not known there, and every day of an ordinary week counts");
        insta::assert_snapshot!(own.gap(date(2026, 9, 29), date(2026, 12, 1)).unwrap(),
            @"the calendar `calendars/reports.txt` does not know the days from 2026-09-29 to 2026-10-01: holidays are not known there, and every day of an ordinary week counts");
        assert_eq!(own.gap(date(2026, 10, 2), date(2026, 12, 4)), None);
    }

    #[test]
    fn what_is_wrong_with_a_file_of_dates_is_told_with_its_line() {
        let told = |file: &str, text: &str| {
            let mut problems = Vec::new();
            assert!(crate::calendar_file::read(file, text, &mut problems).is_none());
            let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
            told.join("\n")
        };
        let all = [
            told("a.txt", "2026-02-30\n2026-03-01\n2026-03-01\n"),
            told("b.toml", "closed = [\"2026-03-01\"]\n"),
            told("c.toml", "base = \"nyze\"\nopen = [\"soon\"]\nshut = []\n"),
            told("d.toml", "base = \"nyse\"\nopen = [2026-03-01]\nclosed = [2026-03-01]\n"),
            told("e.txt", "# nothing\n"),
        ];
        insta::assert_snapshot!(all.join("\n"), @r#"
        a.txt:1: `2026-02-30` is no date
            hint: one date YYYY-MM-DD on a line; `#` starts a remark
        a.txt:3: 2026-03-01 stands here twice
        b.toml:1: `closed` stands without `base`
            hint: add `base = "nyse"`, `"weekdays"` or `"daily"`
        c.toml:1: `base` is `nyze`
            hint: did you mean `nyse`? accepted: `daily`, `weekdays`, or an exchange's code such as `nyse`
        c.toml:2: `open` has `soon`
            hint: accepted: dates YYYY-MM-DD
        c.toml:3: unknown key `shut`
            hint: accepted: `base`, `closed`, `open`
        d.toml:2: 2026-03-01 is both `open` and `closed`
        e.txt: the calendar has no day
            hint: give days with data, or `base` and what differs from it
        "#);
    }

    #[test]
    fn lunch_breaks_and_round_the_clock_exchanges_have_one_session_a_day() {
        let session = |code: &str, day| {
            let (open, close) = Calendar::parse(code).unwrap().session(day).unwrap();
            format!("{open} {close}")
        };
        let monday = date(2026, 3, 9);
        assert_eq!(session("tse", monday), "2026-03-09T00:00:00Z 2026-03-09T06:25:00Z");
        let sunday = date(2026, 3, 8);
        assert_eq!(session("binance_futures", sunday), "2026-03-08T00:00:00Z 2026-03-09T00:00:00Z");
    }
}
