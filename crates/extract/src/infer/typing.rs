//! The narrowest type that every value seen fits.
//!
//! In: the values of a field in all responses, and its name. Out: a type and how its texts are
//! written. Whether a value fits is asked of [`crate::encode`], which will write it. Deliberately absent:
//! types that none of the values needs, and rounding: a number that a float cannot hold is `numeric`.

use std::borrow::Cow;

use bytes::BytesMut;
use daymark_plan::{FieldType, Reading};

use super::name;
use crate::encode::{self, Target};
use crate::json::{self, Json, Kind};

/// A value that was seen.
#[derive(Debug, Clone)]
pub(super) enum Seen<'b> {
    /// In JSON.
    Json(Json<'b>),
    /// In a cell of a table.
    Cell(Cow<'b, str>),
    /// As the name of a member.
    Name(Cow<'b, str>),
}

/// What a field is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Typed {
    pub(super) field_type: FieldType,
    pub(super) reading: Reading,
    /// A remark for the person.
    pub(super) note: Option<&'static str>,
}

/// Words that stand for a value that is not there.
const MISSING: [&str; 13] =
    [".", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "-", "--", "ND", "#N/A"];

const DATES: [&str; 10] = [
    "%d/%m/%Y",
    "%d-%m-%Y",
    "%d.%m.%Y",
    "%m/%d/%Y",
    "%m-%d-%Y",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%d %b %Y",
    "%d-%b-%Y",
    "%b %d, %Y",
];

const TIMES: [&str; 3] = ["%H:%M:%S", "%H:%M", "%I:%M %p"];

impl Seen<'_> {
    fn is_null(&self) -> bool {
        match self {
            Self::Json(value) => value.kind() == Kind::Null,
            Self::Cell(text) => text.is_empty(),
            Self::Name(_) => false,
        }
    }

    /// The text of a string, cell or name.
    fn string(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Json(value) if value.kind() == Kind::String => {
                json::unescape(value.quoted()).ok()
            }
            Self::Json(_) => None,
            Self::Cell(text) | Self::Name(text) => Some(Cow::Borrowed(text)),
        }
    }

    fn fits(&self, target: Target<'_>, out: &mut BytesMut) -> bool {
        out.clear();
        match self {
            Self::Json(value) => encode::value(target, *value, out),
            Self::Cell(text) => encode::cell(target, text, false, out),
            Self::Name(text) => encode::text(target, text, out),
        }
        .is_ok()
    }
}

/// Whether all values fit.
fn all_fit(values: &[Seen<'_>], field_type: FieldType, reading: &Reading) -> bool {
    let mut out = BytesMut::new();
    values.iter().all(|value| value.fits(Target { field_type, reading }, &mut out))
}

/// The type of a field.
pub(super) fn typed(name: &str, values: &[Seen<'_>]) -> Typed {
    let plain = |field_type| Typed { field_type, reading: Reading::default(), note: None };
    let there: Vec<Seen<'_>> = values.iter().filter(|value| !value.is_null()).cloned().collect();
    if there.is_empty() {
        return Typed { note: Some("only null was seen"), ..plain(FieldType::Text) };
    }
    let kinds = |wanted: &[Kind]| {
        there.iter().all(|value| matches!(value, Seen::Json(v) if wanted.contains(&v.kind())))
    };
    let holds = |wanted: Kind| {
        there.iter().any(|value| matches!(value, Seen::Json(v) if v.kind() == wanted))
    };
    let found = if holds(Kind::Array) || holds(Kind::Object) {
        None
    } else if kinds(&[Kind::Boolean]) {
        Some(plain(FieldType::Boolean))
    } else if kinds(&[Kind::Number]) {
        let texts: Vec<&str> = there
            .iter()
            .filter_map(|value| match value {
                Seen::Json(value) => Some(value.text()),
                _ => None,
            })
            .collect();
        Some(plain(number(name, &texts, false)))
    } else if there.iter().all(|value| value.string().is_some()) {
        Some(of_texts(name, &there))
    } else {
        None
    };
    let fallback = || {
        let text = all_fit(values, FieldType::Text, &Reading::default());
        plain(if text { FieldType::Text } else { FieldType::Jsonb })
    };
    match found {
        Some(typed) if all_fit(values, typed.field_type, &typed.reading) => typed,
        // `1e999` is no float.
        Some(typed)
            if typed.field_type.is_number()
                && all_fit(values, FieldType::Numeric, &typed.reading) =>
        {
            Typed { field_type: FieldType::Numeric, ..typed }
        }
        _ => fallback(),
    }
}

fn is_whole(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

/// The type of numbers. Those written as text are prices and amounts whose every digit counts.
fn number(name: &str, texts: &[&str], in_text: bool) -> FieldType {
    if texts.iter().all(|text| is_whole(text)) {
        let wholes: Option<Vec<i64>> = texts.iter().map(|text| text.parse().ok()).collect();
        let Some(wholes) = wholes else { return FieldType::Numeric };
        if name::is_of_time(name)
            && let Some(epoch) = epoch(&wholes)
        {
            return epoch;
        }
        if name::is_of_measure(name) && !name::is_of_amount(name) {
            return if in_text { FieldType::Numeric } else { FieldType::Double };
        }
        let small = wholes.iter().all(|whole| whole.unsigned_abs() < 200_000_000);
        return if small && !name::is_of_amount(name) {
            FieldType::Integer
        } else {
            FieldType::Bigint
        };
    }
    if name::is_of_time(name) {
        let seconds: Option<Vec<i64>> =
            texts.iter().map(|text| text.split('.').next()?.parse().ok()).collect();
        if let Some(seconds) = seconds
            && epoch(&seconds) == Some(FieldType::EpochSeconds)
        {
            return FieldType::EpochSeconds;
        }
    }
    if in_text || texts.iter().any(|text| !float_holds(text)) {
        FieldType::Numeric
    } else {
        FieldType::Double
    }
}

/// Seconds, milliseconds or microseconds since 1970, if all are between 1973 and 2100.
fn epoch(wholes: &[i64]) -> Option<FieldType> {
    let units = [
        (FieldType::EpochSeconds, 1),
        (FieldType::EpochMilliseconds, 1000),
        (FieldType::EpochMicroseconds, 1_000_000),
    ];
    let within = |unit: i64| {
        wholes.iter().all(|whole| (100_000_000 * unit..4_102_444_800 * unit).contains(whole))
    };
    units.into_iter().find(|(_, unit)| within(*unit)).map(|(field_type, _)| field_type)
}

/// Whether a float loses none of the digits that are written: 17 tell any float from the next, so a
/// longer text was never one.
fn float_holds(text: &str) -> bool {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').len() <= 17
}

/// The type of strings, cells and names.
fn of_texts(name: &str, values: &[Seen<'_>]) -> Typed {
    let texts: Vec<Cow<'_, str>> = values.iter().filter_map(Seen::string).collect();
    let plain = of_words(name, values, &texts, &[]);
    if plain.field_type != FieldType::Text {
        return plain;
    }
    let mut words: Vec<String> = MISSING
        .into_iter()
        .filter(|word| texts.iter().any(|text| text == word))
        .map(str::to_owned)
        .collect();
    // An empty string of JSON; an empty cell is null by itself.
    if values.iter().any(|value| matches!(value, Seen::Json(_)))
        && texts.iter().any(|text| text.is_empty())
    {
        words.push(String::new());
    }
    if words.is_empty() {
        return plain;
    }
    let rest: Vec<Seen<'_>> = values
        .iter()
        .filter(|value| value.string().is_none_or(|text| !words.iter().any(|w| *w == text)))
        .cloned()
        .collect();
    let rest_texts: Vec<Cow<'_, str>> = rest.iter().filter_map(Seen::string).collect();
    if rest.is_empty() {
        return plain;
    }
    let with_words = of_words(name, &rest, &rest_texts, &words);
    if with_words.field_type == FieldType::Text { plain } else { with_words }
}

fn of_words(name: &str, values: &[Seen<'_>], texts: &[Cow<'_, str>], missing: &[String]) -> Typed {
    let reading = Reading { missing: missing.to_vec(), ..Reading::default() };
    let typed = |field_type, reading: Reading| Typed { field_type, reading, note: None };
    // `007` is a code, and `0` a number.
    let coded = texts.iter().any(|text| {
        let digits = text.trim_start_matches(['-', '+']);
        digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
    });
    let compact =
        name::is_of_time(name) && texts.iter().all(|text| text.len() == 8 && is_whole(text));
    if compact {
        let reading = Reading { format: Some("%Y%m%d".to_owned()), ..reading.clone() };
        if all_fit(values, FieldType::Date, &reading) {
            return typed(FieldType::Date, reading);
        }
    }
    if !coded && all_fit(values, FieldType::Numeric, &reading) {
        let texts: Vec<&str> = texts.iter().map(Cow::as_ref).collect();
        return typed(number(name, &texts, true), reading);
    }
    let plainest = [
        FieldType::Boolean,
        FieldType::Date,
        FieldType::Timestamptz,
        FieldType::Timestamp,
        FieldType::Time,
        FieldType::Uuid,
    ];
    for field_type in plainest {
        if all_fit(values, field_type, &reading) {
            return typed(field_type, reading);
        }
    }
    if texts.iter().all(|text| text.len() <= 32 && text.bytes().any(|b| b.is_ascii_digit())) {
        if let Some(dated) = dated(values, &reading) {
            return dated;
        }
        let decimal = |decimal, grouping| Reading { decimal, grouping, ..reading.clone() };
        for reading in [decimal('.', Some(',')), decimal(',', None), decimal(',', Some('.'))] {
            if !coded && all_fit(values, FieldType::Numeric, &reading) {
                return typed(FieldType::Numeric, reading);
            }
        }
    }
    typed(FieldType::Text, Reading::default())
}

/// A date or wall clock in another form than ISO 8601's.
fn dated(values: &[Seen<'_>], reading: &Reading) -> Option<Typed> {
    let with = |format: String| Reading { format: Some(format), ..reading.clone() };
    let fit =
        |field_type: FieldType, format: &str| all_fit(values, field_type, &with(format.to_owned()));
    for date in DATES {
        let mut found = None;
        if fit(FieldType::Date, date) {
            found = Some((FieldType::Date, date.to_owned()));
        }
        for time in TIMES {
            let both = format!("{date} {time}");
            if found.is_none() && fit(FieldType::Timestamp, &both) {
                found = Some((FieldType::Timestamp, both));
            }
        }
        let Some((field_type, format)) = found else { continue };
        let swapped =
            format.replacen("%d", "%x", 1).replacen("%m", "%d", 1).replacen("%x", "%m", 1);
        let ambiguous =
            format.starts_with("%d") && format.contains("%m") && fit(field_type, &swapped);
        let note = ambiguous.then_some("day first or month first: both fit every value seen");
        return Some(Typed { field_type, reading: with(format), note });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, json: &str) -> String {
        let array = crate::body::check(json.as_bytes()).unwrap();
        let values: Vec<Seen<'_>> = array.elements().map(Seen::Json).collect();
        let Typed { field_type, reading, note } = typed(name, &values);
        let mut text = format!("{field_type:?}");
        for part in [reading.format, Some(reading.missing.join(" ")), note.map(str::to_owned)] {
            if let Some(part) = part.filter(|part| !part.is_empty()) {
                text.push_str(&format!(" {part}"));
            }
        }
        if (reading.decimal, reading.grouping) != ('.', None) {
            text.push_str(&format!(" {}{:?}", reading.decimal, reading.grouping));
        }
        text
    }

    #[test]
    fn types_fit_every_value_and_no_more() {
        for (name, json, wanted) in [
            ("n", "[1, 2, null]", "Integer"),
            ("volume", "[1, 2]", "Bigint"),
            ("n", "[1, 3000000000]", "Bigint"),
            ("n", "[1, 99999999999999999999]", "Numeric"),
            ("n", "[1, 2.5]", "Double"),
            ("close", "[1, 2]", "Double"),
            ("n", "[1, 0.1234567890123456789]", "Numeric"),
            ("n", "[412.20001220703125]", "Double"),
            ("n", "[1e999]", "Numeric"),
            ("timestamp", "[1761768001]", "EpochSeconds"),
            ("n", "[1761768001]", "Bigint"),
            ("time", "[1761768001000]", "EpochMilliseconds"),
            ("updated_at", "[1761768001000000]", "EpochMicroseconds"),
            ("first_trade_date", "[-1325583000]", "Bigint"),
            ("n", "[\"170.0000\"]", "Numeric"),
            ("n", "[\"12\", \"5\"]", "Integer"),
            ("n", "[\"007\", \"12\"]", "Text"),
            ("n", "[\"0\", \"12\"]", "Integer"),
            ("n", "[\"1.5\", \".\"]", "Numeric ."),
            ("n", "[\"a\", \"NA\"]", "Text"),
            ("n", "[\"1.234,5\", \"2,25\"]", "Numeric ,Some('.')"),
            ("n", "[\"2,25\"]", "Numeric ,None"),
            ("n", "[\"1,234.5\"]", "Numeric .Some(',')"),
            ("d", "[\"2026-03-01\"]", "Date"),
            ("d", "[\"2026-03-01T00:00\"]", "Timestamp"),
            ("d", "[\"2026-03-01T00:00:00Z\"]", "Timestamptz"),
            ("d", "[\"31-01-2026\"]", "Date %d-%m-%Y"),
            ("d", "[\"01/31/2026\"]", "Date %m/%d/%Y"),
            (
                "d",
                "[\"01/02/2026\"]",
                "Date %d/%m/%Y day first or month first: both fit every value seen",
            ),
            ("date", "[\"20260301\"]", "Date %Y%m%d"),
            ("n", "[\"20260301\"]", "Integer"),
            ("t", "[\"07:30\"]", "Time"),
            ("b", "[true, null]", "Boolean"),
            ("b", "[true, 1]", "Text"),
            ("m", "[1, \"a\"]", "Text"),
            ("m", "[[1], 2]", "Jsonb"),
            ("m", "[null]", "Text only null was seen"),
        ] {
            assert_eq!(of(name, json), wanted, "{name} {json}");
        }
    }
}
