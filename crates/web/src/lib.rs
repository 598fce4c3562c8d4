//! The dashboard and ledger pages.
//!
//! In: a [`Plan`] and a read-only [`Reader`]. Out: an axum [`Router`] that
//! answers with HTML, CSV and JSON, and monitoring with metrics, under one strict content policy. **Invariant:** this crate
//! cannot write: a `Reader` is all it has of the database. Deliberately absent: listening and
//! stopping (`daymark`), drawing (`ui`), and any state of a visitor: it is in the address.

mod answer;
mod assets;
mod blocks;
mod download;
mod format;
mod ledger;
mod monitoring;
mod page;
mod parameters;
mod range;

use std::sync::Arc;

use axum::Router;
use axum::http::HeaderName;
use axum::http::header::{
    CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::routing::get;
use daymark_plan::Plan;
use daymark_warehouse::Reader;
use daymark_warehouse::contract::PageQuery;
use jiff::civil::Date;
use tower_http::compression::CompressionLayer;
use tower_http::set_header::SetResponseHeaderLayer;

pub use monitoring::{Check, Process};

/// The queries of a plan's pages, as they are asked: with parameters for the dates.
pub fn page_queries(plan: &Plan) -> Vec<PageQuery> {
    let day = range::DateRange { from: Date::constant(2000, 1, 1), to: Date::constant(2000, 1, 1) };
    let queries = plan.pages.iter().flat_map(|page| {
        page.queries.iter().map(|query| PageQuery {
            file: page.file.clone(),
            line: query.line,
            sql: parameters::bind(&query.sql, day).sql,
        })
    });
    queries.collect()
}

/// What the pages need.
pub struct Dashboard {
    /// What is run.
    pub plan: Arc<Plan>,
    /// The warehouse, read only.
    pub reader: Reader,
    /// The day it is now in the pipeline's zone.
    pub today: Arc<dyn Fn() -> Date + Send + Sync>,
    /// Whether the numbers come from the demo's generator; every page then says so.
    pub generated: bool,
    /// What monitoring has to know of the process.
    pub process: Process,
}

impl std::fmt::Debug for Dashboard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dashboard")
            .field("pipeline", &self.plan.name)
            .field("generated", &self.generated)
            .finish_non_exhaustive()
    }
}

/// Nothing from elsewhere, nothing inline, no `eval`, no frame.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self'; font-src 'self'; base-uri 'none'; \
    form-action 'self'; frame-ancestors 'none'";

/// All pages of a dashboard.
pub fn router(dashboard: Dashboard) -> Router {
    let header = |name: HeaderName, value: &'static str| {
        SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value))
    };
    // For machines, which cannot sign in: beside the pages, not among them.
    let monitoring = monitoring::routes(&dashboard.plan, &dashboard.reader, &dashboard.process);
    Router::new()
        .route("/", get(page::home))
        .route("/d/{page}", get(page::named))
        .route("/d/{page}/{file}", get(download::query))
        .route("/ledger", get(ledger::ledger))
        .route("/assets/{file}", get(assets::asset))
        .fallback(answer::unknown)
        .with_state(Arc::new(dashboard))
        .merge(monitoring)
        .layer(CompressionLayer::new())
        .layer(header(CONTENT_SECURITY_POLICY, CONTENT_POLICY))
        .layer(header(X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(header(REFERRER_POLICY, "same-origin"))
}
