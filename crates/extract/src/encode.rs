//! One JSON value as one field of a binary COPY tuple.
//!
//! In: a checked value and the type it must have. Out: its length and bytes, appended; or why it
//! does not fit. Deliberately absent: guessing. A string is never read as a number, a number never
//! as a boolean; null is null for every type.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};
use daymark_plan::FieldType;

use crate::civil;
use crate::decimal::{Decimal, NotWhole};
use crate::json::{self, Json, Kind};
use crate::numeric;

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

/// Appends a field that is SQL null.
pub(crate) fn null(out: &mut BytesMut) {
    out.put_i32(-1);
}

/// Appends a value as a field of `field_type`. After an error, what was appended means nothing.
pub(crate) fn value(
    field_type: FieldType,
    value: Json<'_>,
    out: &mut BytesMut,
) -> Result<(), Misfit> {
    let kind = value.kind();
    if kind == Kind::Null {
        null(out);
        return Ok(());
    }
    match (field_type, kind) {
        (FieldType::Double, Kind::Number) => {
            out.put_i32(8);
            out.put_f64(double(value.text())?);
        }
        (FieldType::Bigint, Kind::Number) => {
            out.put_i32(8);
            out.put_i64(whole(value.text(), "bigint")?);
        }
        (FieldType::Integer, Kind::Number) => {
            let number = whole(value.text(), "integer")?;
            out.put_i32(4);
            out.put_i32(i32::try_from(number).map_err(|_| out_of_range("integer"))?);
        }
        (FieldType::Smallint, Kind::Number) => {
            let number = whole(value.text(), "smallint")?;
            out.put_i32(2);
            out.put_i16(i16::try_from(number).map_err(|_| out_of_range("smallint"))?);
        }
        (FieldType::Numeric, Kind::Number) => {
            numeric::encode(&Decimal::parse(value.text()), out)?;
        }
        (FieldType::EpochSeconds, Kind::Number) => epoch(value.text(), 6, out)?,
        (FieldType::EpochMilliseconds, Kind::Number) => epoch(value.text(), 3, out)?,
        (FieldType::EpochMicroseconds, Kind::Number) => epoch(value.text(), 0, out)?,
        (FieldType::Boolean, Kind::Boolean) => {
            out.put_i32(1);
            out.put_u8(u8::from(value.text() == "true"));
        }
        (FieldType::Text, Kind::String) => {
            let text = string(value)?;
            if text.contains('\0') {
                return Err("PostgreSQL's text cannot hold U+0000".into());
            }
            bytes(text.as_bytes(), out)?;
        }
        (FieldType::Text, Kind::Number | Kind::Boolean) => bytes(value.text().as_bytes(), out)?,
        (FieldType::Date, Kind::String) => {
            let days = civil::parse_date(&string(value)?)?;
            out.put_i32(4);
            out.put_i32(days);
        }
        (FieldType::Time, Kind::String) => micros(civil::parse_time(&string(value)?)?, out),
        (FieldType::Timestamp, Kind::String) => {
            micros(civil::parse_timestamp(&string(value)?)?, out);
        }
        (FieldType::Timestamptz, Kind::String) => {
            micros(civil::parse_timestamptz(&string(value)?)?, out);
        }
        (FieldType::Uuid, Kind::String) => {
            let id = uuid::Uuid::try_parse(&string(value)?).map_err(|_| "expected a UUID")?;
            bytes(id.as_bytes(), out)?;
        }
        (FieldType::Jsonb, _) => jsonb(value, out)?,
        (_, found) => {
            let found = found.with_article();
            let reason = format!("expected {}, found {found}", expected(field_type));
            return Err(Misfit(reason.into()));
        }
    }
    Ok(())
}

/// The JSON a type is made from, with its article.
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
        FieldType::Jsonb => "any JSON",
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
    let vanished = number == 0.0 && !Decimal::parse(text).is_zero();
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

fn micros(number: i64, out: &mut BytesMut) {
    out.put_i32(8);
    out.put_i64(number);
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
