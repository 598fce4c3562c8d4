//! Reading binary COPY tuples back, written apart from what writes them.

use daymark_plan::FieldType;
use jiff::{SignedDuration, Timestamp, civil::date};

/// The fields of every tuple; `None` is null.
pub(crate) fn tuples(mut bytes: &[u8]) -> Vec<Vec<Option<Vec<u8>>>> {
    let mut tuples = Vec::new();
    while !bytes.is_empty() {
        let count = i16::from_be_bytes(take(&mut bytes));
        let fields = (0..count).map(|_| {
            let length = i32::from_be_bytes(take(&mut bytes));
            let length = usize::try_from(length).ok()?;
            let (field, rest) = bytes.split_at(length);
            bytes = rest;
            Some(field.to_vec())
        });
        tuples.push(fields.collect());
    }
    tuples
}

fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    let (field, rest) = bytes.split_first_chunk::<N>().expect("a whole tuple");
    *bytes = rest;
    *field
}

/// A value in the text PostgreSQL would print, more or less.
pub(crate) fn text(field_type: FieldType, bytes: &[u8]) -> String {
    let utf8 = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    match field_type {
        FieldType::Text => utf8(bytes),
        FieldType::Boolean => match bytes {
            [0] => "false".to_owned(),
            [1] => "true".to_owned(),
            other => panic!("no boolean: {other:?}"),
        },
        FieldType::Smallint => i16::from_be_bytes(bytes.try_into().unwrap()).to_string(),
        FieldType::Integer => i32::from_be_bytes(bytes.try_into().unwrap()).to_string(),
        FieldType::Bigint => int8(bytes).to_string(),
        FieldType::Double => f64::from_be_bytes(bytes.try_into().unwrap()).to_string(),
        FieldType::Numeric => numeric(bytes),
        FieldType::Date => {
            let days = i32::from_be_bytes(bytes.try_into().unwrap());
            (date(2000, 1, 1) + SignedDuration::from_hours(i64::from(days) * 24)).to_string()
        }
        FieldType::Time => {
            let time = jiff::civil::Time::midnight() + SignedDuration::from_micros(int8(bytes));
            time.to_string()
        }
        FieldType::Timestamp => {
            let start = date(2000, 1, 1).at(0, 0, 0, 0);
            (start + SignedDuration::from_micros(int8(bytes))).to_string()
        }
        FieldType::Timestamptz
        | FieldType::EpochSeconds
        | FieldType::EpochMilliseconds
        | FieldType::EpochMicroseconds => {
            let micros = i128::from(int8(bytes)) + 946_684_800_000_000;
            let instant = i64::try_from(micros).ok().map(Timestamp::from_microsecond);
            match instant {
                Some(Ok(instant)) => instant.to_string(),
                _ => format!("{micros} us"),
            }
        }
        FieldType::Uuid => uuid::Uuid::from_slice(bytes).unwrap().to_string(),
        FieldType::Jsonb => {
            assert_eq!(bytes[0], 1, "the version of jsonb's binary form");
            utf8(&bytes[1..])
        }
        FieldType::Interval => {
            let (micros, rest) = bytes.split_at(8);
            let (days, months) = rest.split_at(4);
            let [days, months] = [days, months].map(|b| i32::from_be_bytes(b.try_into().unwrap()));
            format!("{months} months {days} days {} us", int8(micros))
        }
        FieldType::Array(element) => array(*element, bytes),
    }
}

/// An array's elements between braces, behind the number of its elements' type.
fn array(element: FieldType, mut bytes: &[u8]) -> String {
    let mut word = || i32::from_be_bytes(take(&mut bytes));
    let (dimensions, has_null, oid) = (word(), word(), word());
    let mut elements = Vec::new();
    if dimensions > 0 {
        let (count, lower) = (word(), word());
        assert_eq!((dimensions, lower), (1, 1));
        assert!(count > 0, "an empty array has no dimension");
        for _ in 0..count {
            let length = i32::from_be_bytes(take(&mut bytes));
            elements.push(match usize::try_from(length) {
                Ok(length) => {
                    let (one, rest) = bytes.split_at(length);
                    bytes = rest;
                    text(element, one)
                }
                Err(_) => "null".to_owned(),
            });
        }
    }
    assert!(bytes.is_empty(), "bytes behind the last element");
    assert_eq!(has_null == 1, elements.iter().any(|one| one == "null"));
    format!("{oid}{{{}}}", elements.join(","))
}

fn int8(bytes: &[u8]) -> i64 {
    i64::from_be_bytes(bytes.try_into().unwrap())
}

/// PostgreSQL's `numeric_out`: groups of four digits from `weight` down, `scale` digits shown.
fn numeric(bytes: &[u8]) -> String {
    let words: Vec<[u8; 2]> = bytes.chunks(2).map(|word| word.try_into().unwrap()).collect();
    let [count, weight, sign, scale, groups @ ..] = words.as_slice() else { panic!("no header") };
    let groups: Vec<u16> = groups.iter().copied().map(u16::from_be_bytes).collect();
    assert_eq!(usize::from(u16::from_be_bytes(*count)), groups.len());
    assert!(groups.iter().all(|group| *group < 10_000));
    assert!(groups.first() != Some(&0) && groups.last() != Some(&0), "not stripped: {groups:?}");
    let weight = i32::from(i16::from_be_bytes(*weight));
    let shown = usize::from(u16::from_be_bytes(*scale));
    let group = |power: i32| {
        let index = usize::try_from(weight - power).ok();
        format!("{:04}", index.and_then(|index| groups.get(index)).copied().unwrap_or(0))
    };
    let whole: String = (0..=weight.max(0)).rev().map(group).collect();
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let behind: String = (1_i32..).map(|power| group(-power)).take(shown.div_ceil(4)).collect();
    let (fraction, cut) = behind.split_at(shown);
    assert!(cut.chars().all(|digit| digit == '0'), "digits beyond the scale");
    let sign = match u16::from_be_bytes(*sign) {
        0 => "",
        0x4000 => "-",
        other => panic!("no sign: {other:x}"),
    };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}
