//! `/d/{page}/{query}.csv` and `.json`: the rows of one query of a page.
//!
//! In: the names and the date range of the address. Out: all rows, values as they are: dates as
//! `YYYY-MM-DD`, numbers as numbers, nothing rounded. Deliberately absent: formats, which are for
//! people.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

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
    let content_type = match extension {
        "csv" => "text/csv; charset=utf-8; header=present",
        "json" => "application/json",
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
    let text = match extension {
        "csv" => result.csv(),
        _ => result.json().map_err(|error| Refusal::BadQuery(error.to_string()))?,
    };
    let saved_as = format!("{}-{}-{}-{}.{extension}", page.name, name, range.from, range.to);
    let headers = [
        (CONTENT_TYPE, content_type.to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{}\"", safe_name(&saved_as))),
        (CACHE_CONTROL, "no-cache".to_owned()),
    ];
    Ok((headers, text).into_response())
}

/// A file name that needs no quoting in a header or a shell.
fn safe_name(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    name.chars().map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_file_has_a_plain_name() {
        assert_eq!(safe_name("a b\"\r\n/é-1.csv"), "a_b_____-1.csv");
    }
}
