//! One value as one field of a binary COPY tuple.
//!
//! In: a checked JSON value or the text of a cell, the type it must have and how texts are written.
//! Out: its length and bytes, appended; or why it does not fit. Deliberately absent: guessing. A
//! text is a number only when all of it is one; a number is never a boolean; null is null for every
//! type.

use std::borrow::Cow;
use std::io::Write;

use bytes::{BufMut, BytesMut};
use daymark_plan::{FieldType, Reading};

use crate::civil;
use crate::decimal::{Decimal, NotWhole};
use crate::json::{self, Json, Kind};
use crate::numeric;
use crate::text;

/// PostgreSQL's limit of one value, with room for its header.
const MAX_VALUE_BYTES: usize = (1 << 30) - 64;

/// PostgreSQL's `jsonb` holds 256 MiB in its own form, which takes up to 6 times the text's room.
const MAX_JSONB_BYTES: usize = 40 << 20;

/// Why a value does not fit its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Misfit(pub(crate) Cow<'static, str>);

impl From<&'static str> for Misfit {
    fn from(reason: &'static str) -> Self {
        Self(Cow::Borrowed(reason))
    }
}

/// What a value must be, and how its texts are written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'f> {
    pub(crate) field_type: FieldType,
    pub(crate) reading: &'f Reading,
}

/// Appends a field that is SQL null.
pub(crate) fn null(out: &mut BytesMut) {
    out.put_i32(-1);
}

/// Appends a JSON value. After an error, what was appended means nothing.
pub(crate) fn value(target: Target<'_>, value: Json<'_>, out: &mut BytesMut) -> Result<(), Misfit> {
    let kind = value.kind();
    match (kind, target.field_type) {
        (Kind::Null, _) => null(out),
        (Kind::String, FieldType::Jsonb) => {
            if !target.reading.missing.is_empty() && is_missing(target.reading, &string(value)?) {
                null(out);
            } else {
                jsonb(value, out)?;
            }
        }
        (_, FieldType::Jsonb) => jsonb(value, out)?,
        (Kind::Array, FieldType::Array(element)) => {
            array(Target { field_type: *element, ..target }, value, out)?;
        }
        (Kind::String, FieldType::Array(_)) if !is_missing(target.reading, &string(value)?) => {
            return Err("expected an array, found a string".into());
        }
        (Kind::String, _) => text(target, &string(value)?, out)?,
        (Kind::Number, field_type) if field_type.is_number() => {
            number(field_type, value.text(), out)?;
        }
        (Kind::Number | Kind::Boolean, FieldType::Text) => bytes(value.text().as_bytes(), out)?,
        (Kind::Boolean, FieldType::Boolean) => boolean(value.text() == "true", out),
        // A format may describe digits alone, such as `%Y%m%d`.
        (Kind::Number, _) if target.reading.format.is_some() => text(target, value.text(), out)?,
        (found, field_type) => {
            let found = found.with_article();
            let reason = format!("expected {}, found {found}", expected(field_type));
            return Err(Misfit(reason.into()));
        }
    }
    Ok(())
}

/// Appends the cell of a table: an empty one that is not quoted is null.
pub(crate) fn cell(
    target: Target<'_>,
    cell: &str,
    quoted: bool,
    out: &mut BytesMut,
) -> Result<(), Misfit> {
    if cell.is_empty() && !quoted {
        null(out);
        return Ok(());
    }
    let is_json = matches!(target.field_type, FieldType::Jsonb | FieldType::Array(_));
    if is_json && !is_missing(target.reading, cell) {
        let read = crate::body::check(cell.as_bytes()).map_err(|_| "expected JSON")?;
        return value(target, read, out);
    }
    text(target, cell, out)
}

/// Appends a number that was counted.
pub(crate) fn counted(target: Target<'_>, count: u64, out: &mut BytesMut) -> Result<(), Misfit> {
    let mut digits = [0_u8; 20];
    let mut rest = digits.as_mut_slice();
    write!(rest, "{count}").map_err(|_| "too large")?;
    let unused = rest.len();
    let length = digits.len() - unused;
    let text = std::str::from_utf8(&digits[..length]).map_err(|_| "too large")?;
    value(target, Json::checked(text), out)
}

fn is_missing(reading: &Reading, text: &str) -> bool {
    reading.missing.iter().any(|missing| missing == text)
}

/// Appends the value that a text is written for.
pub(crate) fn text(target: Target<'_>, text: &str, out: &mut BytesMut) -> Result<(), Misfit> {
    let Target { field_type, reading } = target;
    if is_missing(reading, text) {
        null(out);
        return Ok(());
    }
    if field_type.is_number() {
        let plain = text::number(text, reading).ok_or_else(|| other_text(field_type))?;
        return number(field_type, &plain, out);
    }
    if let Some(format) = &reading.format {
        return dated(field_type, format, text, out);
    }
    match field_type {
        FieldType::Text => {
            if text.contains('\0') {
                return Err("PostgreSQL's text cannot hold U+0000".into());
            }
            bytes(text.as_bytes(), out)?;
        }
        FieldType::Date => days(civil::parse_date(text)?, out),
        FieldType::Time => micros(civil::parse_time(text)?, out),
        FieldType::Timestamp => micros(civil::parse_timestamp(text)?, out),
        FieldType::Timestamptz => micros(civil::parse_timestamptz(text)?, out),
        FieldType::Interval => interval(civil::parse_interval(text)?, out),
        FieldType::Uuid => {
            let id = uuid::Uuid::try_parse(text).map_err(|_| "expected a UUID")?;
            bytes(id.as_bytes(), out)?;
        }
        FieldType::Boolean if text.eq_ignore_ascii_case("true") => boolean(true, out),
        FieldType::Boolean if text.eq_ignore_ascii_case("false") => boolean(false, out),
        _ => return Err(other_text(field_type)),
    }
    Ok(())
}

fn other_text(field_type: FieldType) -> Misfit {
    Misfit(format!("expected {}, found other text", expected(field_type)).into())
}

/// Appends a number, whose text is that of a JSON number.
fn number(field_type: FieldType, text: &str, out: &mut BytesMut) -> Result<(), Misfit> {
    match field_type {
        FieldType::Double => {
            out.put_i32(8);
            out.put_f64(double(text)?);
        }
        FieldType::Bigint => {
            out.put_i32(8);
            out.put_i64(whole(text, "bigint")?);
        }
        FieldType::Integer => {
            let number = whole(text, "integer")?;
            out.put_i32(4);
            out.put_i32(i32::try_from(number).map_err(|_| out_of_range("integer"))?);
        }
        FieldType::Smallint => {
            let number = whole(text, "smallint")?;
            out.put_i32(2);
            out.put_i16(i16::try_from(number).map_err(|_| out_of_range("smallint"))?);
        }
        FieldType::Numeric => numeric::encode(&Decimal::parse(text), out)?,
        FieldType::EpochSeconds => epoch(text, 6, out)?,
        FieldType::EpochMilliseconds => epoch(text, 3, out)?,
        FieldType::EpochMicroseconds => epoch(text, 0, out)?,
        _ => return Err(other_text(field_type)),
    }
    Ok(())
}

/// Appends what a text written in `format` says.
fn dated(
    field_type: FieldType,
    format: &str,
    text: &str,
    out: &mut BytesMut,
) -> Result<(), Misfit> {
    let misfit = || Misfit(format!("not written as `{format}`").into());
    let read = text::broken_down(text, format).ok_or_else(misfit)?;
    match field_type {
        FieldType::Date => {
            let date = read.to_date().map_err(|_| misfit())?;
            days(text::days(date)?, out);
        }
        FieldType::Time => micros(text::time(read.to_time().map_err(|_| misfit())?)?, out),
        FieldType::Timestamp => {
            let at = read.to_datetime().map_err(|_| misfit())?;
            let midnight = i64::from(text::days(at.date())?) * civil::DAY;
            micros(midnight + text::time(at.time())?, out);
        }
        _ => micros(text::instant(read.to_timestamp().map_err(|_| misfit())?)?, out),
    }
    Ok(())
}

/// What a type is made from, with its article.
fn expected(field_type: FieldType) -> &'static str {
    match field_type {
        FieldType::Text | FieldType::Uuid => "a string",
        FieldType::Boolean => "a boolean",
        FieldType::Smallint | FieldType::Integer | FieldType::Bigint => "a whole number",
        FieldType::Double
        | FieldType::Numeric
        | FieldType::EpochSeconds
        | FieldType::EpochMilliseconds
        | FieldType::EpochMicroseconds => "a number",
        FieldType::Date => "a date in a string",
        FieldType::Time => "a time in a string",
        FieldType::Timestamp => "a timestamp in a string",
        FieldType::Timestamptz => "an instant in a string",
        FieldType::Interval => "a duration in a string",
        FieldType::Jsonb => "any JSON",
        FieldType::Array(_) => "an array",
    }
}

fn out_of_range(what: &str) -> Misfit {
    Misfit(format!("out of range for {what}").into())
}

fn whole(text: &str, what: &str) -> Result<i64, Misfit> {
    // The usual number is short and plain; the rest is exact by the longer way.
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let number = Decimal::parse(text).whole(0).map_err(|error| match error {
        NotWhole::Fraction => "not a whole number".into(),
        NotWhole::Range => out_of_range(what),
    })?;
    i64::try_from(number).map_err(|_| out_of_range(what))
}

fn double(text: &str) -> Result<f64, Misfit> {
    let number: f64 = text.parse().map_err(|_| "not a number")?;
    // As PostgreSQL's own reading of the text: a number too small to be told from zero is an error.
    let vanished = number == 0.0 && text != "0.0" && text != "0" && !Decimal::parse(text).is_zero();
    if number.is_finite() && !vanished { Ok(number) } else { Err(out_of_range("double")) }
}

/// An instant from a number that times ten to the power `shift` is microseconds since 1970.
fn epoch(text: &str, shift: i64, out: &mut BytesMut) -> Result<(), Misfit> {
    let since_1970 = Decimal::parse(text).whole(shift).map_err(|error| match error {
        NotWhole::Fraction => "finer than a microsecond".into(),
        NotWhole::Range => out_of_range("timestamptz"),
    })?;
    let since_2000 = i64::try_from(since_1970 - i128::from(civil::EPOCH_MICROS)).ok();
    let number = since_2000.filter(|number| civil::is_timestamp(*number));
    micros(number.ok_or_else(|| out_of_range("timestamptz"))?, out);
    Ok(())
}

fn boolean(value: bool, out: &mut BytesMut) {
    out.put_i32(1);
    out.put_u8(u8::from(value));
}

fn days(number: i32, out: &mut BytesMut) {
    out.put_i32(4);
    out.put_i32(number);
}

fn micros(number: i64, out: &mut BytesMut) {
    out.put_i32(8);
    out.put_i64(number);
}

fn interval(span: civil::Interval, out: &mut BytesMut) {
    out.put_i32(16);
    out.put_i64(span.micros);
    out.put_i32(span.days);
    out.put_i32(span.months);
}

/// An array of one dimension, or of none when it is empty.
fn array(target: Target<'_>, value: Json<'_>, out: &mut BytesMut) -> Result<(), Misfit> {
    let start = out.len();
    // The length, and the header of an array: both are known when all of it is written.
    out.put_bytes(0, 4 + 20);
    let (mut count, mut has_null) = (0_i32, false);
    for element in value.elements() {
        let before = out.len();
        self::value(target, element, out).map_err(|Misfit(reason)| {
            Misfit(format!("element {}: {reason}", count.saturating_add(1)).into())
        })?;
        has_null |= out[before..].starts_with(&(-1_i32).to_be_bytes());
        count = count.checked_add(1).ok_or("longer than PostgreSQL's arrays")?;
    }
    let dimensions = i32::from(count > 0);
    if count == 0 {
        out.truncate(start + 4 + 12);
    }
    let length = out.len() - start - 4;
    let length = i32::try_from(length).ok().filter(|_| length <= MAX_VALUE_BYTES);
    let mut header = [0_u8; 24];
    let words = [
        length.ok_or("longer than the 1 GiB of a value in PostgreSQL")?,
        dimensions,
        i32::from(has_null),
        oid(target.field_type),
        count,
        1,
    ];
    for (place, word) in header.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_be_bytes());
    }
    let written = if count == 0 { 16 } else { 24 };
    out[start..start + written].copy_from_slice(&header[..written]);
    Ok(())
}

/// The number of a type in PostgreSQL's catalog, which the binary form of an array names. These never change.
fn oid(field_type: FieldType) -> i32 {
    match field_type {
        FieldType::Boolean => 16,
        FieldType::Bigint => 20,
        FieldType::Smallint => 21,
        FieldType::Integer => 23,
        // An element that is an array is refused before.
        FieldType::Text | FieldType::Array(_) => 25,
        FieldType::Double => 701,
        FieldType::Date => 1082,
        FieldType::Time => 1083,
        FieldType::Timestamp => 1114,
        FieldType::Timestamptz
        | FieldType::EpochSeconds
        | FieldType::EpochMilliseconds
        | FieldType::EpochMicroseconds => 1184,
        FieldType::Interval => 1186,
        FieldType::Numeric => 1700,
        FieldType::Uuid => 2950,
        FieldType::Jsonb => 3802,
    }
}

fn bytes(bytes: &[u8], out: &mut BytesMut) -> Result<(), Misfit> {
    let length = i32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= MAX_VALUE_BYTES);
    out.put_i32(length.ok_or("longer than the 1 GiB of a value in PostgreSQL")?);
    out.put_slice(bytes);
    Ok(())
}

fn string(value: Json<'_>) -> Result<Cow<'_, str>, Misfit> {
    json::unescape(value.quoted()).map_err(|_| "half a surrogate pair is not text".into())
}

/// The text as it is, behind the version of the form. What PostgreSQL would refuse is found here:
/// one value it refuses would fail the COPY of all.
fn jsonb(value: Json<'_>, out: &mut BytesMut) -> Result<(), Misfit> {
    let text = value.text();
    if text.len() > MAX_JSONB_BYTES {
        return Err("longer than the 40 MiB taken for `jsonb`".into());
    }
    for scalar in json::scalars(value) {
        if scalar.kind() == Kind::Number {
            numeric::measure(&Decimal::parse(scalar.text()))?;
        } else if string(scalar)?.contains('\0') {
            return Err("PostgreSQL's `jsonb` cannot hold U+0000".into());
        }
    }
    let length = i32::try_from(text.len() + 1).map_err(|_| "too long")?;
    out.put_i32(length);
    out.put_u8(1);
    out.put_slice(text.as_bytes());
    Ok(())
}
