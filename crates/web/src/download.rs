//! `/d/{page}/{query}.csv` and `.json`: the rows of one query of a page.
//!
//! In: the names and the date range of the address. Out: all rows, values as they are: dates as
//! `YYYY-MM-DD`, numbers as numbers, nothing rounded. Deliberately absent: formats, which are for
//! people.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use daymark_warehouse::ResultTable;
use serde_json::{Map, Value};

use crate::Dashboard;
use crate::answer::{Refusal, respond};
use crate::blocks::where_it_failed;
use crate::page::{Pairs, page_of};
use crate::parameters;
use crate::range::DateRange;

/// `GET /d/{page}/{file}`.
pub(crate) async fn query(
    State(dashboard): State<Arc<Dashboard>>,
    Path((page, file)): Path<(String, String)>,
    pairs: Pairs,
) -> Response {
    let result = rows(&dashboard, &page, &file, &pairs).await;
    respond(&dashboard, result)
}

async fn rows(
    dashboard: &Dashboard,
    page: &str,
    file: &str,
    pairs: &[(String, String)],
) -> Result<Response, Refusal> {
    let page = page_of(&dashboard.plan, page).ok_or(Refusal::Unknown)?;
    let (name, extension) = file.rsplit_once('.').ok_or(Refusal::Unknown)?;
    let (content_type, write): (_, fn(&ResultTable) -> String) = match extension {
        "csv" => ("text/csv; charset=utf-8; header=present", csv),
        "json" => ("application/json", json),
        _ => return Err(Refusal::Unknown),
    };
    let query = page.queries.iter().find(|query| query.name == name).ok_or(Refusal::Unknown)?;
    let range =
        DateRange::read(pairs, (dashboard.today)(), page.days).map_err(Refusal::BadAddress)?;
    let mut results = dashboard.reader.queries(&[parameters::bind(&query.sql, range)]).await?;
    let result = results
        .pop()
        .expect("one result for one query")
        .map_err(|error| Refusal::BadQuery(where_it_failed(page, query, &error)))?;
    let saved_as = format!("{}-{}-{}-{}.{extension}", page.name, name, range.from, range.to);
    let headers = [
        (CONTENT_TYPE, content_type.to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{}\"", safe_name(&saved_as))),
        (CACHE_CONTROL, "no-cache".to_owned()),
    ];
    Ok((headers, write(&result)).into_response())
}

/// A file name that needs no quoting in a header or a shell.
fn safe_name(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    name.chars().map(safe).collect()
}

/// RFC 4180: lines end with CR LF; quotes only where a value needs them. Null is empty, an empty text
/// is `""`.
fn csv(result: &ResultTable) -> String {
    let mut text = String::new();
    let names: Vec<Value> =
        result.columns.iter().map(|column| Value::from(column.name.as_str())).collect();
    for row in std::iter::once(&names).chain(&result.rows) {
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

/// An array of objects, one a line.
fn json(result: &ResultTable) -> String {
    let objects: Vec<String> = result
        .rows
        .iter()
        .map(|row| {
            let names = result.columns.iter().map(|column| column.name.clone());
            Value::Object(names.zip(row.iter().cloned()).collect::<Map<_, _>>()).to_string()
        })
        .collect();
    if objects.is_empty() { "[]\n".to_owned() } else { format!("[\n{}\n]\n", objects.join(",\n")) }
}

#[cfg(test)]
mod tests {
    use daymark_warehouse::{ColumnKind, ResultColumn};
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
            csv(&result),
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
            json(&result(vec![row])),
            "[\n{\"date\":\"2026-11-23\",\"return, %\":-0.5,\"note\":null}\n]\n"
        );
        assert_eq!(json(&result(Vec::new())), "[]\n");
    }

    #[test]
    fn a_saved_file_has_a_plain_name() {
        assert_eq!(safe_name("a b\"\r\n/é-1.csv"), "a_b_____-1.csv");
    }
}
