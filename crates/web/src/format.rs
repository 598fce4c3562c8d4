//! Values as words: numbers, dates, and the templates of captions and notes.
//!
//! In: values of a result and a [`ValueFormat`]. Out: text for people. `ui/src/format.ts` writes
//! numbers the same way. Deliberately absent: CSV and JSON, which keep values as they are.

use daymark_plan::ValueFormat;
use daymark_warehouse::{ColumnKind, ResultTable};
use jiff::civil::Date;
use serde_json::Value;

/// What stands for a value that is not there.
pub(crate) const NONE: &str = "–";

/// Digits after the point when the format names no number of them.
const FEW: usize = 6;

/// A number in two parts, since a page writes the unit smaller.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Written {
    /// Sign and digits.
    pub(crate) number: String,
    /// `%` or the unit, with the space before it where there is one.
    pub(crate) unit: String,
}

impl std::fmt::Display for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.number, self.unit)
    }
}

/// The number a value is. PostgreSQL's long numerics arrive as text, so that no digit is lost on the
/// way; what is only looked at may be rounded.
pub(crate) fn number_of(value: &Value, kind: ColumnKind) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) if kind == ColumnKind::Number => text.parse().ok(),
        _ => None,
    }
    .filter(|number| number.is_finite())
}

/// Writes a number. `signed` writes the plus too.
pub(crate) fn number(value: f64, format: &ValueFormat, signed: bool) -> Written {
    let scaled = if format.percent { value * 100.0 } else { value };
    let digits = if let Some(decimals) = format.decimals {
        let decimals = usize::try_from(decimals).unwrap_or(FEW);
        format!("{:.decimals$}", scaled.abs())
    } else {
        let digits = format!("{:.FEW$}", scaled.abs());
        digits.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    // What rounds to zero has no sign.
    let is_zero = !digits.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    let sign = match (is_zero, scaled < 0.0, signed) {
        (false, true, _) => "\u{2212}",
        (false, false, true) => "+",
        _ => "",
    };
    let unit = match (&format.unit, format.percent) {
        (Some(unit), true) => format!("%\u{a0}{unit}"),
        (Some(unit), false) => format!("\u{a0}{unit}"),
        (None, true) => "%".to_owned(),
        (None, false) => String::new(),
    };
    Written { number: format!("{sign}{}", grouped(&digits)), unit }
}

/// Commas between thousands.
fn grouped(digits: &str) -> String {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut text = String::with_capacity(digits.len() + whole.len() / 3);
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if !fraction.is_empty() {
        text.push('.');
        text.push_str(fraction);
    }
    text
}

/// Any value in words: what captions, notes and tables say.
pub(crate) fn value(value: &Value, kind: ColumnKind, format: &ValueFormat) -> String {
    if let Some(found) = number_of(value, kind) {
        return number(found, format, false).to_string();
    }
    match value {
        Value::Null => NONE.to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A date as people read it: `23 Nov 2026`.
pub(crate) fn day(date: Date) -> String {
    date.strftime("%-d %b %Y").to_string()
}

/// Fills `{column}` from the first row. A name that is no column stays as it is written, so that its
/// author sees it; so does everything when there is no result.
pub(crate) fn fill(template: &str, result: Option<&ResultTable>) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let found = after
            .split_once('}')
            .and_then(|(name, tail)| Some((first_value(name, result?)?, tail)));
        if let Some((text, tail)) = found {
            filled.push_str(&text);
            rest = tail;
        } else {
            filled.push('{');
            rest = after;
        }
    }
    filled.push_str(rest);
    filled
}

/// The column of the first row in words; `–` when there is no row.
fn first_value(name: &str, result: &ResultTable) -> Option<String> {
    let index = result.columns.iter().position(|column| column.name == name)?;
    let kind = result.columns[index].kind;
    let Some(found) = result.rows.first().map(|row| &row[index]) else {
        return Some(NONE.to_owned());
    };
    let date = found.as_str().filter(|_| kind == ColumnKind::Date);
    Some(match date.and_then(|text| text.parse().ok()) {
        Some(date) => day(date),
        None => value(found, kind, &ValueFormat::default()),
    })
}

#[cfg(test)]
mod tests {
    use daymark_warehouse::ResultColumn;
    use serde_json::json;

    use super::*;

    fn format(decimals: Option<u32>, percent: bool, unit: Option<&str>) -> ValueFormat {
        ValueFormat { decimals, percent, unit: unit.map(str::to_owned) }
    }

    fn written(value: f64, format: &ValueFormat) -> String {
        number(value, format, false).to_string()
    }

    #[test]
    fn thousands_decimals_and_signs() {
        let two = format(Some(2), false, None);
        assert_eq!(written(6_705.123, &two), "6,705.12");
        assert_eq!(written(1_234_567.0, &two), "1,234,567.00");
        assert_eq!(written(999.999, &two), "1,000.00");
        assert_eq!(written(-12.5, &two), "−12.50");
        assert_eq!(written(-0.001, &two), "0.00");
        assert_eq!(number(12.5, &two, true).to_string(), "+12.50");
        assert_eq!(number(0.0, &two, true).to_string(), "0.00");
        assert_eq!(number(-12.5, &two, true).to_string(), "−12.50");
    }

    #[test]
    fn as_few_digits_as_the_value_needs() {
        let few = ValueFormat::default();
        assert_eq!(written(100.0, &few), "100");
        assert_eq!(written(0.5, &few), "0.5");
        assert_eq!(written(1_234.123_456_78, &few), "1,234.123457");
        assert_eq!(written(0.0, &few), "0");
        assert_eq!(written(1e21, &few), "1,000,000,000,000,000,000,000");
    }

    #[test]
    fn percent_and_units() {
        assert_eq!(written(-0.012_345, &format(Some(2), true, None)), "−1.23%");
        assert_eq!(written(21.04, &format(Some(1), false, Some("°C"))), "21.0\u{a0}°C");
        assert_eq!(written(0.5, &format(None, true, Some("a year"))), "50%\u{a0}a year");
    }

    #[test]
    fn values_of_every_kind() {
        let plain = ValueFormat::default();
        let text = |found: &Value, kind| value(found, kind, &plain);
        assert_eq!(text(&Value::Null, ColumnKind::Number), "–");
        assert_eq!(text(&json!(true), ColumnKind::Boolean), "yes");
        assert_eq!(text(&json!("2026-11-23"), ColumnKind::Date), "2026-11-23");
        assert_eq!(text(&json!("1234567.12345678901"), ColumnKind::Number), "1,234,567.123457");
        assert_eq!(text(&json!("1234567"), ColumnKind::Text), "1234567");
        assert_eq!(text(&json!("NaN"), ColumnKind::Number), "NaN");
        assert_eq!(text(&json!({"a": [1]}), ColumnKind::Json), r#"{"a":[1]}"#);
    }

    fn result(rows: Vec<Vec<Value>>) -> ResultTable {
        let column = |name: &str, kind| ResultColumn { name: name.to_owned(), kind };
        ResultTable {
            columns: vec![column("r", ColumnKind::Number), column("d", ColumnKind::Date)],
            rows,
        }
    }

    #[test]
    fn templates_take_the_first_row() {
        let result = result(vec![
            vec![json!(-0.12), json!("2026-11-03")],
            vec![json!(9), json!("2026-11-04")],
        ]);
        assert_eq!(fill("r = {r}, {d}; {r}", Some(&result)), "r = −0.12, 3 Nov 2026; −0.12");
        assert_eq!(fill("{unknown} {r", Some(&result)), "{unknown} {r");
        assert_eq!(fill("{ {r} }{}", Some(&result)), "{ −0.12 }{}");
    }

    #[test]
    fn templates_without_a_row_or_a_result() {
        assert_eq!(fill("{r} on {d}", Some(&result(Vec::new()))), "– on –");
        assert_eq!(fill("{r}", None), "{r}");
    }
}
