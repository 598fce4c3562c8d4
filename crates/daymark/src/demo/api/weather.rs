//! Washington's weather, made up: what a day was, and what was forecast for it.
//!
//! In: a day, and the day the forecast is made on. Out: its maximum and minimum temperature and its
//! precipitation. Deliberately absent: the response format, and places: everywhere has
//! Washington's weather.
//!
//! A year's course of temperature after the normals of Washington National Airport (January 7/-2 °C,
//! July 32/23 °C); departures from it that last some days; precipitation on about a third of the
//! days, mostly a few millimetres, seldom very much; rainy days cooler at noon and warmer at night.

use jiff::civil::Date;

use super::noise::{Stream, day_number, float, rounded};

const TEMPERATURE: Stream = Stream(11);
const NIGHT: Stream = Stream(12);
const RAIN: Stream = Stream(13);
const TEMPERATURE_REVISION: Stream = Stream(14);
const NIGHT_REVISION: Stream = Stream(15);
const RAIN_REVISION: Stream = Stream(16);

/// Above this value of a standard normal it rains: on a third of the days.
const RAIN_FROM: f64 = 0.43;

/// One day's weather.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Day {
    /// The highest temperature, °C, one decimal.
    pub(super) maximum: f64,
    /// The lowest temperature, °C, one decimal.
    pub(super) minimum: f64,
    /// The sum of precipitation, mm, in tenths.
    pub(super) precipitation: f64,
}

/// The weather of `day` as known on `issued`: a forecast for the days from `issued` on, final for
/// the days before it.
pub(super) fn day(day: Date, issued: Date) -> Day {
    let number = day_number(day);
    let outlook = Outlook { number, updates: number - day_number(issued) + 1 };
    let season = season(day);

    let mildness = outlook.seen(TEMPERATURE.smooth(number, 0.65), TEMPERATURE_REVISION, 0.2);
    let night = outlook.seen(NIGHT.normal(number), NIGHT_REVISION, 0.3);
    let rain = outlook.seen(RAIN.smooth(number, 0.3), RAIN_REVISION, 0.25);
    let wet = (rain - RAIN_FROM).max(0.0);

    // Winters are more changeable than summers.
    let departure = mildness * (3.7 - 0.9 * season);
    let maximum = 19.6 + 12.6 * season + departure - (2.5 * wet).min(4.0);
    let minimum = 10.4 + 12.0 * season + 0.75 * departure + 1.4 * night + wet.min(1.5);
    Day {
        maximum: rounded(maximum.max(minimum + 1.5), 1),
        minimum: rounded(minimum, 1),
        precipitation: rounded(13.0 * wet * wet.sqrt(), 1),
    }
}

/// The year's course: 1 at its warmest, about July 20, -1 half a year later.
fn season(day: Date) -> f64 {
    let phase = (f64::from(day.day_of_year()) - 201.0) / 365.25;
    (phase * std::f64::consts::TAU).cos()
}

/// How a day looks from a distance.
struct Outlook {
    number: i64,
    /// How many daily updates of the forecast are still to come; none once the day is past.
    updates: i64,
}

impl Outlook {
    /// What the forecast takes `value`, a standard normal, for. Each update to come moves it by
    /// `step`, so that its error shrinks from day to day and is gone when the day is past.
    fn seen(&self, value: f64, revisions: Stream, step: f64) -> f64 {
        if self.updates <= 0 {
            return value;
        }
        // Every update has its own number: 32 days and updates do not meet.
        let moves = (0..self.updates).map(|update| revisions.normal(self.number * 32 + update));
        let spread = 1.0 + step * step * float(self.updates);
        // Forecasts are as spread out as the weather, so that it does not rain more in them.
        (value + step * moves.sum::<f64>()) / spread.sqrt()
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;
    use jiff::civil::date;

    use super::*;

    fn final_day(of: Date) -> Day {
        day(of, of.tomorrow().unwrap())
    }

    fn years() -> Vec<(Date, Day)> {
        let days = date(2020, 1, 1).series(1.day()).take_while(|day| day.year() < 2028);
        days.map(|of| (of, final_day(of))).collect()
    }

    fn mean(values: impl Iterator<Item = f64>) -> f64 {
        let values: Vec<f64> = values.collect();
        values.iter().sum::<f64>() / float(i64::try_from(values.len()).unwrap())
    }

    #[test]
    fn the_climate_is_washingtons() {
        let years = years();
        let month = |month: i8| years.iter().filter(move |(of, _)| of.month() == month);
        assert!((mean(month(1).map(|(_, day)| day.maximum)) - 6.9).abs() < 1.5);
        assert!((mean(month(1).map(|(_, day)| day.minimum)) + 1.5).abs() < 1.5);
        assert!((mean(month(7).map(|(_, day)| day.maximum)) - 31.9).abs() < 1.5);
        assert!((mean(month(7).map(|(_, day)| day.minimum)) - 22.5).abs() < 1.5);
        let rainy = mean(years.iter().map(|(_, day)| f64::from(u8::from(day.precipitation > 0.0))));
        assert!((rainy - 0.33).abs() < 0.04, "{rainy}");
        let yearly = 365.25 * mean(years.iter().map(|(_, day)| day.precipitation));
        assert!((900.0..1300.0).contains(&yearly), "{yearly}");
        let most = years.iter().map(|(_, day)| day.precipitation).fold(0.0, f64::max);
        assert!((40.0..130.0).contains(&most), "{most}");
        for (of, day) in &years {
            assert!(day.minimum < day.maximum, "{of}");
            assert!((-22.0..42.0).contains(&day.minimum) && day.maximum < 43.0, "{of} {day:?}");
        }
    }

    #[test]
    fn a_past_day_has_its_final_value_whenever_it_is_asked_for() {
        let of = date(2026, 11, 20);
        assert_eq!(day(of, date(2026, 11, 21)), day(of, date(2026, 12, 31)));
        assert_ne!(day(of, date(2026, 11, 20)), day(of, date(2026, 11, 21)));
    }

    #[test]
    fn forecasts_get_better_as_the_day_comes_nearer() {
        let error = |ahead: i64| {
            mean(years().iter().map(|(of, last)| {
                let issued = of.saturating_sub(ahead.days());
                (day(*of, issued).maximum - last.maximum).abs()
            }))
        };
        let (today, third, seventh) = (error(0), error(3), error(6));
        assert!(0.2 < today && today < third && third < seventh, "{today} {third} {seventh}");
        assert!(seventh < 3.0, "{seventh}");
    }
}
