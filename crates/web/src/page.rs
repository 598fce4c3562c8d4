//! `/` and `/d/{page}`: a page of `dashboards/`.
//!
//! In: a page's name and the date range of the address. Out: HTML. All queries of the page run in one
//! read, so that they see one publish and pay for one session. Deliberately absent: caching.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use daymark_plan::{Page, Plan};
use daymark_warehouse::ReadQuery;

use crate::Dashboard;
use crate::answer::{Frame, Refusal, html, page_address, respond};
use crate::blocks::{self, Part};
use crate::parameters;
use crate::range::{DateRange, Preset};

/// The pairs of a query string, whatever they are.
pub(crate) type Pairs = Query<Vec<(String, String)>>;

#[derive(Template)]
#[template(path = "page.html")]
struct PageView<'a> {
    frame: Frame,
    title: &'a str,
    address: String,
    from: String,
    to: String,
    presets: Vec<Preset>,
    parts: Vec<Part>,
    has_charts: bool,
}

#[derive(Template)]
#[template(path = "empty.html")]
struct NoPages {
    frame: Frame,
    title: &'static str,
}

/// `GET /`: the page called `overview`, else the first.
pub(crate) async fn home(State(dashboard): State<Arc<Dashboard>>, pairs: Pairs) -> Response {
    let pages = &dashboard.plan.pages;
    let first = pages.iter().find(|page| page.name == "overview").or(pages.first());
    let result = match first {
        Some(page) => show(&dashboard, page, &pairs).await,
        None => no_pages(&dashboard).await,
    };
    respond(&dashboard, result)
}

async fn no_pages(dashboard: &Dashboard) -> Result<Response, Refusal> {
    html(&NoPages { frame: Frame::read(dashboard, "/").await?, title: "No pages yet" })
}

/// `GET /d/{page}`.
pub(crate) async fn named(
    State(dashboard): State<Arc<Dashboard>>,
    Path(name): Path<String>,
    pairs: Pairs,
) -> Response {
    let result = match page_of(&dashboard.plan, &name) {
        Some(page) => show(&dashboard, page, &pairs).await,
        None => Err(Refusal::Unknown),
    };
    respond(&dashboard, result)
}

/// The page of a name.
pub(crate) fn page_of<'p>(plan: &'p Plan, name: &str) -> Option<&'p Page> {
    plan.pages.iter().find(|page| page.name == name)
}

async fn show(
    dashboard: &Dashboard,
    page: &Page,
    pairs: &[(String, String)],
) -> Result<Response, Refusal> {
    let today = (dashboard.today)();
    let range = DateRange::read(pairs, today, page.days).map_err(Refusal::BadAddress)?;
    let queries: Vec<ReadQuery> =
        page.queries.iter().map(|query| parameters::bind(&query.sql, range)).collect();
    let results = dashboard.reader.queries(&queries).await?;
    let parts = blocks::parts(page, &results, range);
    let address = page_address(&page.name);
    html(&PageView {
        frame: Frame::read(dashboard, &address).await?,
        title: &page.title,
        address,
        from: range.from.to_string(),
        to: range.to.to_string(),
        presets: range.presets(today),
        has_charts: parts.iter().any(|part| matches!(part, Part::Charts(_))),
        parts,
    })
}
