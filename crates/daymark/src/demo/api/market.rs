//! The S&P 500, made up: a walk of closes, and the bar of each session as it forms.
//!
//! In: a date, and an instant up to which its session is known. Out: a [`Bar`]. Deliberately absent:
//! the response format. A bar is a function of its date: the walk starts on the same day for every
//! request and is walked anew.
//!
//! The walk is geometric, of weekdays, with quiet and restless weeks and a weak pull towards a level
//! that grows by 9.8 % a year and passes 6,600 at the end of 2026. A session is a path of
//! five-minute steps from its open to its close, so that a bar's high and low hold what was reached.

use daymark_plan::Calendar;
use jiff::Timestamp;
use jiff::civil::{Date, Weekday, date};

use super::noise::{Stream, day_number, float, rounded, whole};

const RETURN: Stream = Stream(21);
const RESTLESSNESS: Stream = Stream(22);
const OPENING: Stream = Stream(23);
const PATH: Stream = Stream(24);
const VOLUME: Stream = Stream(25);

/// The walk's first day and level.
const START: (Date, f64) = (date(2015, 1, 2), 2058.2);
/// Growth of the trend per weekday: 9.8 % a year.
const GROWTH: f64 = 0.000_375;
/// The part of the distance to the trend that a day takes back.
const PULL: f64 = 0.006;
/// The typical daily move.
const VOLATILITY: f64 = 0.008;
/// How much restlessness stays from day to day, and how far it reaches.
const PERSISTENCE: f64 = 0.96;
const RESTLESS_RANGE: f64 = 0.3;
/// The step of a session's path in seconds.
const STEP: i64 = 300;

/// A daily bar; prices have two decimals.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bar {
    pub(super) open: f64,
    pub(super) high: f64,
    pub(super) low: f64,
    pub(super) close: f64,
    pub(super) volume: i64,
}

/// A session of the exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) day: Date,
    pub(super) open: Timestamp,
    pub(super) close: Timestamp,
}

/// The walk up to some day.
#[derive(Debug)]
pub(super) struct Market {
    calendar: Calendar,
    walk: Vec<Close>,
}

#[derive(Debug, Clone, Copy)]
struct Close {
    day: Date,
    /// The logarithm of the level.
    level: f64,
    /// The size of this day's moves.
    volatility: f64,
}

impl Market {
    /// The first day that can have a bar.
    pub(super) const FIRST_DAY: Date = START.0;

    /// Walks up to and including `last`.
    pub(super) fn until(last: Date) -> Self {
        let calendar = Calendar::parse("nyse").expect("the crate of calendars knows NYSE");
        let (start, level) = START;
        let mut walk = vec![Close { day: start, level: level.ln(), volatility: VOLATILITY }];
        let (mut level, mut trend, mut restless) = (level.ln(), level.ln(), 0.0);
        let mut day = start;
        while day < last {
            day = day.saturating_add(jiff::Span::new().days(1));
            if matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday) {
                continue;
            }
            let number = day_number(day);
            let shock = (1.0 - PERSISTENCE * PERSISTENCE).sqrt() * RESTLESSNESS.normal(number);
            restless = PERSISTENCE * restless + shock;
            let volatility = VOLATILITY * (RESTLESS_RANGE * restless).exp();
            level += GROWTH + volatility * RETURN.normal(number) - PULL * (level - trend);
            trend += GROWTH;
            walk.push(Close { day, level, volatility });
        }
        Self { calendar, walk }
    }

    /// The session of a day, if the exchange holds one.
    pub(super) fn session(&self, day: Date) -> Option<Session> {
        self.calendar.session(day).map(|(open, close)| Session { day, open, close })
    }

    /// The bar of a session as far as it is known at `at`: running until the close, final from then
    /// on, `None` before the open and before the walk begins.
    pub(super) fn bar(&self, session: Session, at: Timestamp) -> Option<Bar> {
        let index = self.walk.binary_search_by_key(&session.day, |close| close.day).ok()?;
        let (today, before) = (self.walk.get(index)?, self.walk.get(index.checked_sub(1)?)?);
        let elapsed = at.duration_since(session.open).as_secs();
        if elapsed < 0 {
            return None;
        }
        let steps = session.close.duration_since(session.open).as_secs() / STEP;
        let known = (elapsed / STEP).min(steps);
        let path = path(*before, *today, steps);
        let seen = path.get(..=usize::try_from(known).ok()?)?;
        let (open, close) = (*seen.first()?, *seen.last()?);
        // In thousands of shares, more on days that move.
        let moved = (today.level - before.level).abs() / VOLATILITY;
        let whole_day = 3_100_000.0 * (0.9 + 0.2 * VOLUME.uniform(day_number(session.day)));
        let part = (float(known) + 0.2) / (float(steps) + 0.2);
        Some(Bar {
            open,
            high: seen.iter().copied().fold(open, f64::max),
            low: seen.iter().copied().fold(open, f64::min),
            close,
            volume: whole(whole_day * (1.0 + 0.25 * moved) * part) * 1000,
        })
    }
}

/// The prices of a session from open to close, in steps.
fn path(before: Close, today: Close, steps: i64) -> Vec<f64> {
    let number = day_number(today.day);
    let open = before.level + 0.3 * today.volatility * OPENING.normal(number);
    let step = 0.8 * today.volatility / float(steps).sqrt();
    let mut wander = vec![0.0];
    for index in 0..steps {
        let last = wander.last().copied().unwrap_or_default();
        wander.push(last + step * PATH.normal(number * 128 + index));
    }
    // A bridge: what the wandering would miss the close by is taken back along the way.
    let missed = today.level - open - wander.last().copied().unwrap_or_default();
    let along = (0..=steps).map(|index| float(index) / float(steps));
    let levels = wander.iter().zip(along).map(|(wander, along)| open + wander + along * missed);
    levels.map(|level| rounded(level.exp(), 2)).collect()
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;

    use super::*;

    fn late() -> Timestamp {
        "2030-01-01T00:00:00Z".parse().unwrap()
    }

    /// The final bars of the sessions in these years.
    fn bars(years: std::ops::RangeInclusive<i16>) -> Vec<(Session, Bar)> {
        let market = Market::until(date(*years.end(), 12, 31));
        let days = date(*years.start(), 1, 1).series(1.day());
        days.take_while(|day| day.year() <= *years.end())
            .filter_map(|day| market.session(day))
            .filter_map(|session| Some((session, market.bar(session, late())?)))
            .collect()
    }

    #[test]
    fn it_looks_like_the_index() {
        let bars = bars(2022..=2027);
        let recent = bars.iter().filter(|(session, _)| session.day >= date(2025, 9, 1));
        for (session, bar) in recent.filter(|(session, _)| session.day < date(2027, 7, 1)) {
            assert!((5_000.0..8_000.0).contains(&bar.close), "{} {bar:?}", session.day);
        }
        let returns: Vec<f64> =
            bars.windows(2).map(|pair| (pair[1].1.close / pair[0].1.close).ln()).collect();
        let count = float(i64::try_from(returns.len()).unwrap());
        let deviation = (returns.iter().map(|r| r * r).sum::<f64>() / count).sqrt();
        assert!((0.007..0.012).contains(&deviation), "{deviation}");
        assert!(returns.iter().all(|r| r.abs() < 0.07));
        // Restless days follow restless days.
        let size: Vec<f64> = returns.iter().map(|r| r.abs()).collect();
        let mean = size.iter().sum::<f64>() / count;
        let together = size.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum::<f64>();
        let alone = size.iter().map(|size| (size - mean).powi(2)).sum::<f64>();
        assert!(together / alone > 0.03, "{}", together / alone);
    }

    #[test]
    fn bars_are_consistent() {
        for (session, bar) in bars(2025..=2026) {
            let Bar { open, high, low, close, volume } = bar;
            assert!(low <= open.min(close) && open.max(close) <= high, "{} {bar:?}", session.day);
            assert!(low < high && volume > 1_000_000_000 && volume < 9_000_000_000, "{bar:?}");
            assert!(high / low < 1.08, "{} {bar:?}", session.day);
        }
    }

    #[test]
    fn a_bar_is_a_function_of_its_date() {
        let day = date(2026, 3, 2);
        let near = Market::until(day);
        let far = Market::until(date(2027, 12, 31));
        let session = near.session(day).unwrap();
        assert_eq!(near.bar(session, late()), far.bar(session, late()));
    }

    #[test]
    fn a_running_bar_grows_into_the_final_one() {
        let market = Market::until(date(2026, 11, 27));
        // A whole day and a half day.
        for day in [date(2026, 11, 23), date(2026, 11, 27)] {
            let session = market.session(day).unwrap();
            assert_eq!(market.bar(session, session.open.saturating_sub(1.second()).unwrap()), None);
            let last = market.bar(session, session.close).unwrap();
            let mut before = market.bar(session, session.open).unwrap();
            assert_eq!(
                (before.high.to_bits(), before.low.to_bits()),
                (before.open.to_bits(), before.open.to_bits())
            );
            let mut at = session.open;
            while at < session.close {
                at = at.saturating_add(30.minutes()).unwrap();
                let bar = market.bar(session, at).unwrap();
                assert_eq!(bar.open.to_bits(), last.open.to_bits());
                assert!(
                    bar.high >= before.high && bar.low <= before.low && bar.volume >= before.volume
                );
                before = bar;
            }
            assert_eq!(before, last);
            assert_eq!(market.bar(session, late()), Some(last));
        }
    }

    #[test]
    fn days_without_session_and_before_the_walk_have_no_bar() {
        let market = Market::until(date(2026, 11, 30));
        assert_eq!(market.session(date(2026, 11, 26)), None);
        let early = market.session(date(2014, 12, 31)).unwrap();
        assert_eq!(market.bar(early, late()), None);
    }
}
