//! PostgreSQL's binary form of `numeric`: digits of base 10000, every digit kept.
//!
//! In: a JSON number taken apart. Out: its binary form, trailing zeros behind the point included
//! (`1.50` stays `1.50`), as PostgreSQL reads the same text. Deliberately absent: `NaN` and
//! `Infinity`, which JSON has not.

use bytes::{BufMut, BytesMut};

use crate::decimal::{Decimal, signed};

/// PostgreSQL's limit of digits before the point.
const MAX_BEFORE_POINT: i64 = 131_072;

/// PostgreSQL's limit of digits behind the point.
const MAX_BEHIND_POINT: i64 = 16_383;

/// PostgreSQL refuses this exponent and larger ones whatever the digits are.
const EXPONENT_LIMIT: i64 = 1_073_741_823;

/// Where the digits of a number that PostgreSQL can hold are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    /// The power of 10000 of the first group of four digits.
    first: i64,
    /// The power of 10000 of the last group; below `first` for zero.
    last: i64,
    /// The digits behind the point that are shown.
    scale: i64,
}

/// Checks a number against PostgreSQL's limits, in time and memory that do not grow with its
/// exponent.
pub(crate) fn measure(number: &Decimal<'_>) -> Result<Layout, &'static str> {
    let scale = (signed(number.fraction.len()) - number.exponent).max(0);
    if scale > MAX_BEHIND_POINT {
        return Err("more than 16383 digits behind the point");
    }
    let Some(first) = digits(number).position(|digit| digit != b'0') else {
        // Zero has no digits to pass a limit with, but PostgreSQL does not read `0e2000000000`.
        let readable = number.exponent < EXPONENT_LIMIT;
        let zero = Layout { first: 0, last: 1, scale };
        return if readable { Ok(zero) } else { Err("an exponent beyond PostgreSQL's") };
    };
    let zeros_behind = digits(number).rev().take_while(|digit| *digit == b'0').count();
    let last = number.whole.len() + number.fraction.len() - zeros_behind - 1;
    let power = |index: usize| point(number) - signed(index) - 1;
    if power(first) >= MAX_BEFORE_POINT {
        return Err("more than 131072 digits before the point");
    }
    Ok(Layout { first: power(first).div_euclid(4), last: power(last).div_euclid(4), scale })
}

/// Appends the binary form with its length, or says why PostgreSQL cannot hold the number.
pub(crate) fn encode(number: &Decimal<'_>, out: &mut BytesMut) -> Result<(), &'static str> {
    let layout = measure(number)?;
    let groups = layout.first - layout.last + 1;
    let groups = u16::try_from(groups.max(0)).map_err(|_| "too many digits")?;
    let weight = if groups == 0 { 0 } else { layout.first };
    let weight = i16::try_from(weight).map_err(|_| "too many digits")?;
    let scale = u16::try_from(layout.scale).map_err(|_| "too many digits")?;
    let negative = number.negative && groups > 0;
    out.put_i32(8 + 2 * i32::from(groups));
    out.put_u16(groups);
    out.put_i16(weight);
    out.put_u16(if negative { 0x4000 } else { 0 });
    out.put_u16(scale);
    let mut group = layout.first;
    for _ in 0..groups {
        let digits = (0..4).rev().map(|place| digit_of(number, group * 4 + place));
        out.put_u16(digits.fold(0, |value, digit| value * 10 + u16::from(digit)));
        group -= 1;
    }
    Ok(())
}

/// How many of the written digits stand before the point once the exponent has moved it.
fn point(number: &Decimal<'_>) -> i64 {
    signed(number.whole.len()) + number.exponent
}

fn digits<'a>(number: &Decimal<'a>) -> impl DoubleEndedIterator<Item = u8> + use<'a> {
    number.whole.bytes().chain(number.fraction.bytes())
}

/// The digit that counts ten to the power `power`.
fn digit_of(number: &Decimal<'_>, power: i64) -> u8 {
    let Ok(index) = usize::try_from(point(number) - 1 - power) else { return 0 };
    let whole = number.whole.as_bytes();
    let digit = match index.checked_sub(whole.len()) {
        None => whole.get(index),
        Some(index) => number.fraction.as_bytes().get(index),
    };
    digit.map_or(0, |digit| digit - b'0')
}
