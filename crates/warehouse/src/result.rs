//! What a query gave, and how it is written: CSV, JSON.
//!
//! In: columns and rows of JSON values. Out: text, the same for `daymark sql` and for downloads.
//! Deliberately absent: tables for people, which are the terminal's and the pages' own.

use serde_json::{Map, Value};

/// What a query gave.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ResultTable {
    /// The columns.
    pub columns: Vec<ResultColumn>,
    /// The rows, each with a value per column.
    pub rows: Vec<Vec<Value>>,
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ResultColumn {
    /// Its name.
    pub name: String,
    /// What its values are.
    pub kind: ColumnKind,
}

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    /// Text.
    Text,
    /// A number.
    Number,
    /// A date, as `YYYY-MM-DD`.
    Date,
    /// An instant in UTC or a wall clock, as ISO 8601.
    Timestamp,
    /// `true` or `false`.
    Boolean,
    /// Any JSON.
    Json,
}

/// Two columns of one name: as an object, a row would lose one of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the query gives two columns named `{name}`; name them apart, such as `... as {name}_2`")]
pub struct NameTwice {
    name: String,
}

impl ResultTable {
    /// The rows as objects, in the order of the columns.
    pub fn objects(&self) -> Result<Vec<Map<String, Value>>, NameTwice> {
        let mut seen = std::collections::BTreeSet::new();
        if let Some(column) = self.columns.iter().find(|column| !seen.insert(&column.name)) {
            return Err(NameTwice { name: column.name.clone() });
        }
        let names = || self.columns.iter().map(|column| column.name.clone());
        Ok(self.rows.iter().map(|row| names().zip(row.iter().cloned()).collect()).collect())
    }

    /// An array of objects, one a line.
    pub fn json(&self) -> Result<String, NameTwice> {
        let objects: Vec<String> =
            self.objects()?.into_iter().map(|object| Value::Object(object).to_string()).collect();
        if objects.is_empty() {
            return Ok("[]\n".to_owned());
        }
        Ok(format!("[\n{}\n]\n", objects.join(",\n")))
    }

    /// RFC 4180: lines end with CR LF; quotes only where a value needs them. Null is empty, an empty
    /// text is `""`: a difference the csv crate does not make.
    pub fn csv(&self) -> String {
        let mut text = String::new();
        let names: Vec<Value> =
            self.columns.iter().map(|column| Value::from(column.name.as_str())).collect();
        for row in std::iter::once(&names).chain(&self.rows) {
            for (index, value) in row.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                match value {
                    Value::Null => {}
                    Value::String(found) => push_field(found, &mut text),
                    other => push_field(&other.to_string(), &mut text),
                }
            }
            text.push_str("\r\n");
        }
        text
    }
}

fn push_field(field: &str, text: &mut String) {
    let edges = field.starts_with(' ') || field.ends_with(' ');
    if field.is_empty() || edges || field.contains([',', '"', '\n', '\r']) {
        text.push('"');
        text.push_str(&field.replace('"', "\"\""));
        text.push('"');
    } else {
        text.push_str(field);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json as value;

    use super::*;

    fn result(rows: Vec<Vec<Value>>) -> ResultTable {
        let column = |name: &str, kind| ResultColumn { name: name.to_owned(), kind };
        ResultTable {
            columns: vec![
                column("date", ColumnKind::Date),
                column("return, %", ColumnKind::Number),
                column("note", ColumnKind::Text),
            ],
            rows,
        }
    }

    #[test]
    fn csv_quotes_what_needs_it() {
        let result = result(vec![
            vec![value!("2026-11-23"), value!(-0.5), value!("plain")],
            vec![value!("2026-11-24"), Value::Null, value!("a \"b\", c\nd")],
            vec![value!("2026-11-25"), value!(1), value!("")],
            vec![value!("2026-11-26"), value!(true), value!(" edge")],
            vec![value!("2026-11-27"), value!("12345678901234567890.5"), value!({"a": [1, 2]})],
        ]);
        assert_eq!(
            result.csv(),
            "date,\"return, %\",note\r\n\
             2026-11-23,-0.5,plain\r\n\
             2026-11-24,,\"a \"\"b\"\", c\nd\"\r\n\
             2026-11-25,1,\"\"\r\n\
             2026-11-26,true,\" edge\"\r\n\
             2026-11-27,12345678901234567890.5,\"{\"\"a\"\":[1,2]}\"\r\n"
        );
    }

    #[test]
    fn json_is_an_array_of_objects_in_the_order_of_the_columns() {
        let row = vec![value!("2026-11-23"), value!(-0.5), Value::Null];
        assert_eq!(
            result(vec![row]).json().unwrap(),
            "[\n{\"date\":\"2026-11-23\",\"return, %\":-0.5,\"note\":null}\n]\n"
        );
        assert_eq!(result(Vec::new()).json().unwrap(), "[]\n");
    }

    #[test]
    fn two_columns_of_one_name_are_no_object() {
        let mut result = result(Vec::new());
        result.columns[2].name = "date".to_owned();
        assert_eq!(
            result.json().unwrap_err().to_string(),
            "the query gives two columns named `date`; name them apart, such as `... as date_2`"
        );
    }
}
