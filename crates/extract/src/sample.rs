//! The first rows of a body as text, for people who look at a source.
//!
//! In: a body and its source's `[rows]`. Out: the mapped columns and as many of the first rows as were
//! asked for, each value as PostgreSQL would print it, more or less. The values are read back from the
//! tuples that a publish would write, so that what is shown is what would be stored. Deliberately absent:
//! rows that were set aside; the [`Summary`](crate::Summary) has them.

use bytes::BytesMut;
use daymark_plan::{FieldType, RowsSpec};
use jiff::civil::{DateTime, Time, date};
use jiff::{SignedDuration, Timestamp};

use crate::civil;
use crate::error::ExtractError;
use crate::extraction::{RowContext, open};

/// The first rows of a body.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Sample {
    /// The mapped columns.
    pub columns: Vec<SampleColumn>,
    /// The rows, each with a value for each column; `None` is null.
    pub rows: Vec<Vec<Option<String>>>,
}

/// A mapped column.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SampleColumn {
    /// Its name in `raw_<source>`.
    pub name: String,
    /// Its type in PostgreSQL.
    #[serde(rename = "type")]
    pub postgres: &'static str,
    /// Whether it is set to the right, as numbers are.
    #[serde(skip)]
    pub is_number: bool,
}

/// The first `limit` rows of a body; extraction goes no further than they are.
pub fn sample(rows: &RowsSpec, body: &[u8], limit: usize) -> Result<Sample, ExtractError> {
    let columns = rows.fields.iter().map(|field| SampleColumn {
        name: field.name.clone(),
        postgres: field.field_type.postgres(),
        is_number: field.field_type.is_number() && !field.field_type.is_epoch(),
    });
    let mut sample = Sample { columns: columns.collect(), rows: Vec::new() };
    let mut extraction = open(rows, body, RowContext::default())?;
    while sample.rows.len() < limit {
        let mut chunk = BytesMut::new();
        if !extraction.next_chunk(&mut chunk)? {
            break;
        }
        let mut left: &[u8] = &chunk;
        while sample.rows.len() < limit
            && let Some(tuple) = tuple(&mut left)
        {
            // The first is the row's number.
            let mapped = tuple.into_iter().skip(1).zip(&rows.fields);
            let values = mapped.map(|(value, field)| value.map(|v| text(field.field_type, v)));
            sample.rows.push(values.collect());
        }
    }
    Ok(sample)
}

/// Takes the next tuple; `None` at the end of them.
fn tuple<'b>(bytes: &mut &'b [u8]) -> Option<Vec<Option<&'b [u8]>>> {
    let count = i16::from_be_bytes(take(bytes)?);
    let mut values = Vec::new();
    for _ in 0..count {
        let length = i32::from_be_bytes(take(bytes)?);
        let Ok(length) = usize::try_from(length) else {
            values.push(None);
            continue;
        };
        let (value, rest) = bytes.split_at_checked(length)?;
        *bytes = rest;
        values.push(Some(value));
    }
    Some(values)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}

/// A value as text. What this program does not write is shown as its bytes.
fn text(field_type: FieldType, value: &[u8]) -> String {
    read(field_type, value).unwrap_or_else(|| format!("{value:02x?}"))
}

fn read(field_type: FieldType, value: &[u8]) -> Option<String> {
    let utf8 = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
    let eight = || Some(i64::from_be_bytes(value.try_into().ok()?));
    match field_type {
        FieldType::Text => utf8(value),
        FieldType::Boolean => Some((value == [1]).to_string()),
        FieldType::Smallint => Some(i16::from_be_bytes(value.try_into().ok()?).to_string()),
        FieldType::Integer => Some(i32::from_be_bytes(value.try_into().ok()?).to_string()),
        FieldType::Bigint => Some(eight()?.to_string()),
        FieldType::Double => {
            let number = f64::from_be_bytes(value.try_into().ok()?);
            let plain = number == 0.0 || (1e-4..1e15).contains(&number.abs());
            Some(if plain { number.to_string() } else { format!("{number:e}") })
        }
        FieldType::Numeric => numeric(value),
        FieldType::Date => {
            let days = i32::from_be_bytes(value.try_into().ok()?);
            let since = SignedDuration::from_hours(i64::from(days) * 24);
            let day = date(2000, 1, 1).checked_add(since);
            Some(day.map_or_else(|_| format!("2000-01-01 + {days} days"), |day| day.to_string()))
        }
        FieldType::Time => {
            let time = Time::midnight().checked_add(SignedDuration::from_micros(eight()?));
            Some(time.ok()?.to_string())
        }
        FieldType::Timestamp => {
            let (start, micros) = (DateTime::constant(2000, 1, 1, 0, 0, 0, 0), eight()?);
            let at = start.checked_add(SignedDuration::from_micros(micros));
            Some(at.map_or_else(|_| format!("2000-01-01 + {micros} us"), |at| at.to_string()))
        }
        FieldType::Timestamptz
        | FieldType::EpochSeconds
        | FieldType::EpochMilliseconds
        | FieldType::EpochMicroseconds => {
            let micros = eight()?;
            let at = micros.checked_add(civil::EPOCH_MICROS).map(Timestamp::from_microsecond);
            Some(match at {
                Some(Ok(at)) => at.to_string(),
                _ => format!("2000-01-01 + {micros} us"),
            })
        }
        FieldType::Uuid => Some(uuid::Uuid::from_slice(value).ok()?.to_string()),
        FieldType::Interval => interval(value),
        FieldType::Jsonb => utf8(value.get(1..)?),
        FieldType::Array(element) => array(*element, value),
    }
}

/// A span of time, as an ISO 8601 duration.
fn interval(value: &[u8]) -> Option<String> {
    let mut rest = value;
    let micros = i64::from_be_bytes(take(&mut rest)?);
    let days = i32::from_be_bytes(take(&mut rest)?);
    let months = i32::from_be_bytes(take(&mut rest)?);
    let mut text = "P".to_owned();
    for (number, unit) in [(months / 12, 'Y'), (months % 12, 'M'), (days, 'D')] {
        if number != 0 {
            text.push_str(&format!("{number}{unit}"));
        }
    }
    let (minutes, rest) = (micros / 60_000_000, micros % 60_000_000);
    if micros != 0 || text.len() == 1 {
        text.push('T');
    }
    for (number, unit) in [(minutes / 60, 'H'), (minutes % 60, 'M')] {
        if number != 0 {
            text.push_str(&format!("{number}{unit}"));
        }
    }
    if rest != 0 || micros == 0 && text.len() == 2 {
        let sign = if rest < 0 { "-" } else { "" };
        let (seconds, behind) = (rest.abs() / 1_000_000, rest.abs() % 1_000_000);
        let behind = format!(".{behind:06}");
        text.push_str(&format!(
            "{sign}{seconds}{}S",
            behind.trim_end_matches('0').trim_end_matches('.')
        ));
    }
    Some(text)
}

/// The elements of an array between brackets.
fn array(element: FieldType, value: &[u8]) -> Option<String> {
    let mut rest = value;
    let dimensions = i32::from_be_bytes(take(&mut rest)?);
    let _flags: [u8; 4] = take(&mut rest)?;
    let _oid: [u8; 4] = take(&mut rest)?;
    let mut elements = Vec::new();
    if dimensions > 0 {
        let count = i32::from_be_bytes(take(&mut rest)?);
        let _lower: [u8; 4] = take(&mut rest)?;
        for _ in 0..count {
            let length = i32::from_be_bytes(take(&mut rest)?);
            elements.push(match usize::try_from(length) {
                Ok(length) => {
                    let (one, behind) = rest.split_at_checked(length)?;
                    rest = behind;
                    text(element, one)
                }
                Err(_) => "null".to_owned(),
            });
        }
    }
    Some(format!("[{}]", elements.join(", ")))
}

/// PostgreSQL's `numeric_out`: groups of four digits from `weight` down, `scale` digits shown.
fn numeric(value: &[u8]) -> Option<String> {
    let words: Vec<u16> =
        value.chunks_exact(2).map(|word| u16::from_be_bytes([word[0], word[1]])).collect();
    let [_, weight, sign, scale, groups @ ..] = words.as_slice() else { return None };
    let weight = i32::from(weight.cast_signed());
    let group = |power: i32| {
        let index = usize::try_from(weight - power).ok();
        format!("{:04}", index.and_then(|index| groups.get(index)).copied().unwrap_or(0))
    };
    let whole: String = (0..=weight.max(0)).rev().map(group).collect();
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let scale = usize::from(*scale);
    let behind: String = (1_i32..).map(|power| group(-power)).take(scale.div_ceil(4)).collect();
    let fraction = behind.get(..scale)?;
    let sign = if *sign == 0 { "" } else { "-" };
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{sign}{whole}{point}{fraction}"))
}
