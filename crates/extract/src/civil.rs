//! Dates and times in text: strict, exact, and as PostgreSQL counts them.
//!
//! In: the text of a date, time, timestamp, instant or duration. Out: days or microseconds since 2000-01-01,
//! or an [`Interval`]; or what is wrong. Deliberately absent: zones (an instant needs an offset, a timestamp must not
//! have one) and every form but ISO 8601's extended one; anything else is `text`, for the model to
//! read.

use jiff::civil::{Date, date};

/// 2000-01-01T00:00:00Z, PostgreSQL's epoch, in microseconds since 1970.
pub(crate) const EPOCH_MICROS: i64 = 946_684_800 * 1_000_000;

/// The first microsecond PostgreSQL's timestamps hold, 4714-11-24 BC, since its epoch.
const FIRST_MICRO: i64 = -211_813_488_000_000_000;

/// The first microsecond they no longer hold, 294277-01-01, since its epoch.
const END_MICRO: i64 = 9_223_371_331_200_000_000;

/// A day in microseconds.
pub(crate) const DAY: i64 = 86_400 * 1_000_000;

/// Whether PostgreSQL has this timestamp, in microseconds since its epoch.
pub(crate) fn is_timestamp(micros: i64) -> bool {
    (FIRST_MICRO..END_MICRO).contains(&micros)
}

/// Days from 2000-01-01 to a date.
pub(crate) fn days_of(day: Date) -> i32 {
    let days = day.duration_since(date(2000, 1, 1)).as_hours() / 24;
    i32::try_from(days).expect("a jiff date is within 9999 years of 2000")
}

/// `YYYY-MM-DD` as days since 2000-01-01.
pub(crate) fn parse_date(text: &str) -> Result<i32, &'static str> {
    const EXPECTED: &str = "expected a date `YYYY-MM-DD`";
    let bytes: &[u8; 10] = text.as_bytes().try_into().map_err(|_| EXPECTED)?;
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *bytes else { return Err(EXPECTED) };
    let century = two_digits(y1, y2).ok_or(EXPECTED)?;
    let year = two_digits(y3, y4).ok_or(EXPECTED)?;
    let month = two_digits(m1, m2).ok_or(EXPECTED)?;
    let day = two_digits(d1, d2).ok_or(EXPECTED)?;
    let year = i16::from(century) * 100 + i16::from(year);
    // PostgreSQL has no year 0 in text, though ISO 8601 has.
    let day = Date::new(year, month, day).ok().filter(|_| year > 0);
    day.map(days_of).ok_or("no such date")
}

/// `HH:MM[:SS[.ffffff]]` as microseconds since midnight.
pub(crate) fn parse_time(text: &str) -> Result<i64, &'static str> {
    const EXPECTED: &str = "expected a time `HH:MM[:SS[.ffffff]]`";
    let bytes = text.as_bytes();
    let &[h1, h2, b':', m1, m2, ref rest @ ..] = bytes else { return Err(EXPECTED) };
    let hour = two_digits(h1, h2).ok_or(EXPECTED)?;
    let minute = two_digits(m1, m2).ok_or(EXPECTED)?;
    let (second, fraction) = match rest {
        [] => (0, None),
        [b':', s1, s2] => (two_digits(*s1, *s2).ok_or(EXPECTED)?, None),
        [b':', s1, s2, b'.', fraction @ ..] if !fraction.is_empty() => {
            (two_digits(*s1, *s2).ok_or(EXPECTED)?, Some(fraction))
        }
        _ => return Err(EXPECTED),
    };
    let mut micros = 0;
    if let Some(fraction) = fraction {
        if !fraction.iter().all(u8::is_ascii_digit) {
            return Err(EXPECTED);
        }
        // Zeros further right lose nothing: .NET writes seven digits.
        if fraction.iter().skip(6).any(|digit| *digit != b'0') {
            return Err("finer than a microsecond");
        }
        let six = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(6);
        micros = six.fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
    }
    if hour > 23 || minute > 59 || second > 59 {
        return Err("no such time");
    }
    let seconds = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
    Ok(seconds * 1_000_000 + micros)
}

/// `YYYY-MM-DD[T ]HH:MM[:SS[.ffffff]]` as microseconds since 2000-01-01T00:00.
pub(crate) fn parse_timestamp(text: &str) -> Result<i64, &'static str> {
    const EXPECTED: &str =
        "expected a timestamp `YYYY-MM-DDTHH:MM[:SS[.ffffff]]` without an offset";
    let (day, time) = split_timestamp(text).ok_or(EXPECTED)?;
    if time.contains(['Z', 'z', '+', '-']) {
        return Err("a timestamp must not have an offset; `timestamptz` takes one");
    }
    Ok(i64::from(parse_date(day)?) * DAY + parse_time(time)?)
}

/// `YYYY-MM-DD[T ]HH:MM[:SS[.ffffff]](Z|+HH:MM|-HH:MM)` as microseconds since 2000-01-01T00:00Z.
pub(crate) fn parse_timestamptz(text: &str) -> Result<i64, &'static str> {
    const EXPECTED: &str =
        "expected an instant `YYYY-MM-DDTHH:MM[:SS[.ffffff]]` with an offset (`Z`, `+HH:MM`)";
    let (day, time) = split_timestamp(text).ok_or(EXPECTED)?;
    let at =
        time.find(['Z', 'z', '+', '-']).ok_or("an instant must have an offset (`Z`, `+HH:MM`)")?;
    let (time, offset) = time.split_at(at);
    let offset = match *offset.as_bytes() {
        [b'Z' | b'z'] => 0,
        [sign, h1, h2, b':', m1, m2] => {
            let hours = two_digits(h1, h2).filter(|hours| *hours < 24).ok_or(EXPECTED)?;
            let minutes = two_digits(m1, m2).filter(|minutes| *minutes < 60).ok_or(EXPECTED)?;
            let seconds = i64::from(hours) * 3600 + i64::from(minutes) * 60;
            if sign == b'-' { -seconds } else { seconds }
        }
        _ => return Err(EXPECTED),
    };
    Ok(i64::from(parse_date(day)?) * DAY + parse_time(time)? - offset * 1_000_000)
}

/// A span of time as PostgreSQL keeps it: a month has no number of days, and a day no number of hours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) months: i32,
    pub(crate) days: i32,
    pub(crate) micros: i64,
}

impl Interval {
    /// What PostgreSQL 17 and later take for infinity.
    const LAST: Self = Self { months: i32::MAX, days: i32::MAX, micros: i64::MAX };
    const FIRST: Self = Self { months: i32::MIN, days: i32::MIN, micros: i64::MIN };
}

/// `P[nY][nM][nW][nD][T[nH][nM][n[.ffffff]S]]`, each part with its own sign or all with one before the `P`.
pub(crate) fn parse_interval(text: &str) -> Result<Interval, &'static str> {
    const EXPECTED: &str = "expected a duration `P1Y2M3DT4H5M6.5S`";
    const RANGE: &str = "out of range for interval";
    let (text, is_negative) = match text.strip_prefix('-') {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let mut rest = text.strip_prefix('P').ok_or(EXPECTED)?;
    if rest.is_empty() || rest.ends_with('T') {
        return Err(EXPECTED);
    }
    let (mut months, mut days, mut micros) = (0_i64, 0_i64, 0_i128);
    let mut left = "YMWD";
    let mut in_time = false;
    while !rest.is_empty() {
        if let Some(time) = rest.strip_prefix('T') {
            if in_time {
                return Err(EXPECTED);
            }
            (rest, left, in_time) = (time, "HMS", true);
            continue;
        }
        let end = rest.find(|c: char| c.is_ascii_alphabetic()).ok_or(EXPECTED)?;
        let (number, unit) = (&rest[..end], &rest[end..=end]);
        let at = left.find(unit).ok_or(EXPECTED)?;
        left = &left[at + 1..];
        rest = &rest[end + 1..];
        let (sign, digits) = match number.as_bytes() {
            [b'-', ..] => (-1, &number[1..]),
            [b'+', ..] => (1, &number[1..]),
            _ => (1, number),
        };
        let sign = if is_negative { -sign } else { sign };
        let (whole, fraction) = match digits.split_once('.') {
            Some((whole, fraction)) if unit == "S" => (whole, Some(fraction)),
            Some(_) => return Err("a fraction of anything but seconds"),
            None => (digits, None),
        };
        let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !all_digits(whole) || fraction.is_some_and(|fraction| !all_digits(fraction)) {
            return Err(EXPECTED);
        }
        let count: i64 = whole.parse().map_err(|_| RANGE)?;
        let count = sign * count;
        let add = |sum: i64, times: i64| {
            count.checked_mul(times).and_then(|more| sum.checked_add(more)).ok_or(RANGE)
        };
        match (unit, in_time) {
            ("Y", _) => months = add(months, 12)?,
            ("M", false) => months = add(months, 1)?,
            ("W", _) => days = add(days, 7)?,
            ("D", _) => days = add(days, 1)?,
            ("H", _) => micros += i128::from(count) * 3_600_000_000,
            ("M", true) => micros += i128::from(count) * 60_000_000,
            _ => {
                let fraction = fraction.unwrap_or_default();
                if fraction.bytes().skip(6).any(|digit| digit != b'0') {
                    return Err("finer than a microsecond");
                }
                let six = fraction.bytes().chain(std::iter::repeat(b'0')).take(6);
                let behind = six.fold(0, |value, digit| value * 10 + i128::from(digit - b'0'));
                micros += i128::from(count) * 1_000_000 + i128::from(sign) * behind;
            }
        }
    }
    let span = Interval {
        months: i32::try_from(months).map_err(|_| RANGE)?,
        days: i32::try_from(days).map_err(|_| RANGE)?,
        micros: i64::try_from(micros).map_err(|_| RANGE)?,
    };
    if [Interval::FIRST, Interval::LAST].contains(&span) { Err(RANGE) } else { Ok(span) }
}

fn split_timestamp(text: &str) -> Option<(&str, &str)> {
    let (day, rest) = text.split_at_checked(10)?;
    let time = rest.strip_prefix(['T', 't', ' '])?;
    Some((day, time))
}

fn two_digits(first: u8, second: u8) -> Option<i8> {
    let digit = |byte: u8| byte.is_ascii_digit().then(|| byte.cast_signed() - b'0'.cast_signed());
    Some(digit(first)? * 10 + digit(second)?)
}
