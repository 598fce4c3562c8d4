//! The texts of values: numbers as people write them, dates in a form that was said.
//!
//! In: a text and how texts are written ([`Reading`]). Out: the text of the same number as JSON
//! writes it, or the parts of a date. Deliberately absent: guessing the form; `1.234` is 1234 only
//! where `grouping` is `.`.

use std::borrow::Cow;

use daymark_plan::Reading;
use jiff::civil::{Date, Time};
use jiff::fmt::strtime::BrokenDownTime;

use crate::civil;

/// The number that `text` is in full, as JSON would write it but for zeros at its start, a point at
/// its start or its end; `None` when it is none. Spaces around it do not matter.
pub(crate) fn number<'t>(text: &'t str, reading: &Reading) -> Option<Cow<'t, str>> {
    let text = text.trim_matches([' ', '\t']);
    let text = match text.strip_prefix('+') {
        Some(rest) if rest.starts_with('-') => return None,
        Some(rest) => rest,
        None => text,
    };
    if reading.decimal == '.' && reading.grouping.is_none() {
        return is_plain(text).then_some(Cow::Borrowed(text));
    }
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text),
    };
    let (mantissa, exponent) = digits.split_at(digits.find(['e', 'E']).unwrap_or(digits.len()));
    let (whole, fraction) = mantissa.split_once(reading.decimal).unwrap_or((mantissa, ""));
    let mut plain = String::with_capacity(text.len() + 1);
    plain.push_str(sign);
    match reading.grouping.filter(|grouping| whole.contains(*grouping)) {
        Some(grouping) => push_groups(whole, grouping, &mut plain)?,
        None if whole.bytes().all(|byte| byte.is_ascii_digit()) => plain.push_str(whole),
        None => return None,
    }
    if mantissa.len() > whole.len() {
        plain.push('.');
        plain.push_str(fraction);
    }
    plain.push_str(exponent);
    is_plain(&plain).then_some(Cow::Owned(plain))
}

/// Groups of digits: the last has three, the first one to three, those between two (as in India) or
/// three. Anything else is a sign that the character means something else.
fn push_groups(whole: &str, grouping: char, plain: &mut String) -> Option<()> {
    let last = whole.split(grouping).count() - 1;
    for (index, group) in whole.split(grouping).enumerate() {
        let length = match index {
            0 => 1..=3,
            _ if index == last => 3..=3,
            _ => 2..=3,
        };
        let digits = group.bytes().all(|byte| byte.is_ascii_digit());
        if !digits || !length.contains(&group.len()) {
            return None;
        }
        plain.push_str(group);
    }
    Some(())
}

/// `[-]digits[.digits][e[+-]digits]`, with digits on one side of the point at least.
fn is_plain(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digits = |mut at: usize| {
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        at
    };
    let start = usize::from(bytes.first() == Some(&b'-'));
    let mut at = digits(start);
    let mut any = at > start;
    if bytes.get(at) == Some(&b'.') {
        let end = digits(at + 1);
        any |= end > at + 1;
        at = end;
    }
    if any && matches!(bytes.get(at), Some(b'e' | b'E')) {
        let signed = matches!(bytes.get(at + 1), Some(b'+' | b'-'));
        let from = at + 1 + usize::from(signed);
        at = digits(from);
        any = at > from;
    }
    any && at == bytes.len()
}

/// The parts of a text written in `format`.
pub(crate) fn broken_down(text: &str, format: &str) -> Option<BrokenDownTime> {
    BrokenDownTime::parse(format, text).ok()
}

/// Days since 2000-01-01 of a date PostgreSQL writes the same way.
pub(crate) fn days(date: Date) -> Result<i32, &'static str> {
    if date.year() > 0 { Ok(civil::days_of(date)) } else { Err("no such date") }
}

/// Microseconds since midnight.
pub(crate) fn time(time: Time) -> Result<i64, &'static str> {
    let nanoseconds = time.duration_since(Time::midnight()).as_nanos();
    let whole = i64::try_from(nanoseconds / 1000).ok().filter(|_| nanoseconds % 1000 == 0);
    whole.ok_or("finer than a microsecond")
}

/// Microseconds since 2000-01-01T00:00Z.
pub(crate) fn instant(at: jiff::Timestamp) -> Result<i64, &'static str> {
    if at.subsec_nanosecond() % 1000 != 0 {
        return Err("finer than a microsecond");
    }
    let micros = at.as_microsecond() - civil::EPOCH_MICROS;
    if civil::is_timestamp(micros) { Ok(micros) } else { Err("out of range for timestamptz") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str, decimal: char, grouping: Option<char>) -> Option<String> {
        let reading = Reading { decimal, grouping, ..Reading::default() };
        number(text, &reading).map(Cow::into_owned)
    }

    #[test]
    fn numbers_in_text_are_numbers_in_full_or_none() {
        for (text, number) in [
            ("170.0000", "170.0000"),
            (" -1 ", "-1"),
            ("+5", "5"),
            (".5", ".5"),
            ("5.", "5."),
            ("1e5", "1e5"),
            ("-1.5E-07", "-1.5E-07"),
            ("007", "007"),
        ] {
            assert_eq!(plain(text, '.', None).as_deref(), Some(number), "{text}");
        }
        for text in [
            "", "-", ".", "1,5", "1 2", "1e", "1e+", "e5", "+-5", "--5", "NaN", "inf", "Infinity",
            "0x10", "1_000", "1.2.3", "٣", "5%",
        ] {
            assert_eq!(plain(text, '.', None), None, "{text}");
        }
    }

    #[test]
    fn commas_and_groups_mean_what_was_said_of_them() {
        for (text, number) in [
            ("1.234.567,89", "1234567.89"),
            ("-1.234,5", "-1234.5"),
            ("1234,5", "1234.5"),
            ("12.34.567,0", "1234567.0"),
            (",5", ".5"),
            ("1.234", "1234"),
            ("1,5e3", "1.5e3"),
        ] {
            assert_eq!(plain(text, ',', Some('.')).as_deref(), Some(number), "{text}");
        }
        for text in ["1.5", "1.23", "1234.567", "1..234", ".234", "1,234.567", "1,2,3", "1.2e3"] {
            assert_eq!(plain(text, ',', Some('.')), None, "{text}");
        }
        assert_eq!(plain("1.5", ',', None), None);
        assert_eq!(plain("1\u{a0}234,5", ',', Some('\u{a0}')).as_deref(), Some("1234.5"));
        assert_eq!(plain("1,234,567.89", '.', Some(',')).as_deref(), Some("1234567.89"));
    }
}
