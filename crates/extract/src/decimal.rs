//! The text of a JSON number taken apart, exactly.
//!
//! In: a number's text. Out: its sign, digits and exponent, and whole numbers made from them without
//! ever going through a float. Deliberately absent: the binary forms; see [`crate::encode`] and
//! [`crate::numeric`].

/// A JSON number in its parts: `[-]whole[.fraction][e exponent]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decimal<'a> {
    /// Whether a minus stands before it.
    pub(crate) negative: bool,
    /// The digits before the point.
    pub(crate) whole: &'a str,
    /// The digits behind the point.
    pub(crate) fraction: &'a str,
    /// The exponent; one beyond 18 digits is held at 18 nines, where every limit is passed anyway.
    pub(crate) exponent: i64,
}

/// Why a number is not the whole number asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotWhole {
    /// Something other than zero is left behind the point.
    Fraction,
    /// It has more than 30 digits, enough for every type made from it.
    Range,
}

const MAX_DIGITS: i64 = 30;

const EXPONENT_LIMIT: i64 = 999_999_999_999_999_999;

impl<'a> Decimal<'a> {
    /// Takes the text of a JSON number apart.
    pub(crate) fn parse(text: &'a str) -> Self {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        Self { negative, whole, fraction, exponent }
    }

    /// Whether every digit is zero.
    pub(crate) fn is_zero(&self) -> bool {
        self.whole.bytes().chain(self.fraction.bytes()).all(|digit| digit == b'0')
    }

    /// This number times ten to the power `shift`, if that is a whole number of 30 digits or less.
    pub(crate) fn whole(&self, shift: i64) -> Result<i128, NotWhole> {
        if self.is_zero() {
            return Ok(0);
        }
        // Zeros at the end are taken off so that what is left behind the point is not zero.
        let fraction = self.fraction.trim_end_matches('0');
        let whole = if fraction.is_empty() { self.whole.trim_end_matches('0') } else { self.whole };
        let taken_off = if fraction.is_empty() { self.whole.len() - whole.len() } else { 0 };
        let power = self.exponent + shift + signed(taken_off) - signed(fraction.len());
        if power < 0 {
            return Err(NotWhole::Fraction);
        }
        let digits = whole.bytes().chain(fraction.bytes()).skip_while(|digit| *digit == b'0');
        let mut value: i128 = 0;
        let mut length: i64 = 0;
        for digit in digits {
            value = value * 10 + i128::from(digit - b'0');
            length += 1;
            if length + power > MAX_DIGITS {
                return Err(NotWhole::Range);
            }
        }
        for _ in 0..power {
            value *= 10;
        }
        Ok(if self.negative { -value } else { value })
    }
}

fn parse_exponent(text: &str) -> i64 {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = digits.trim_start_matches('0');
    let value = if digits.len() > 18 { EXPONENT_LIMIT } else { digits.parse().unwrap_or(0) };
    if negative { -value } else { value }
}

/// A length as a power of ten; no text is near 2^63 bytes long.
pub(crate) fn signed(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str, shift: i64) -> Result<i128, NotWhole> {
        Decimal::parse(text).whole(shift)
    }

    #[test]
    fn whole_numbers_are_exact_however_they_are_written() {
        for (text, value) in [
            ("0", 0),
            ("-0", 0),
            ("0e999999999999999999999", 0),
            ("-0.000", 0),
            ("6.0", 6),
            ("1e3", 1000),
            ("-1.5E+1", -15),
            ("0.0012e4", 12),
            ("1200e-2", 12),
            ("9223372036854775807", i128::from(i64::MAX)),
            ("-9223372036854775808", i128::from(i64::MIN)),
            ("9223372036854775807.000", i128::from(i64::MAX)),
            ("9.223372036854775807e18", i128::from(i64::MAX)),
            ("1e29", 10_i128.pow(29)),
            ("9007199254740993", 9_007_199_254_740_993),
        ] {
            assert_eq!(whole(text, 0), Ok(value), "{text}");
        }
        assert_eq!(whole("1.5", 6), Ok(1_500_000));
        assert_eq!(whole("-0.000001", 6), Ok(-1));
    }

    #[test]
    fn fractions_and_large_numbers_are_told_apart() {
        for text in ["0.5", "1e-1", "1.0000000000000000000000001", "1e-999999999999999999999"] {
            assert_eq!(whole(text, 0), Err(NotWhole::Fraction), "{text}");
        }
        assert_eq!(whole("0.0000001", 6), Err(NotWhole::Fraction));
        for text in ["1e30", "-1234567890123456789012345678901", "1e999999999999999999999"] {
            assert_eq!(whole(text, 0), Err(NotWhole::Range), "{text}");
        }
        assert_eq!(whole("1e27", 3), Err(NotWhole::Range));
    }
}
