//! What every page has in common, and the pages that say no.
//!
//! In: a page's content, or what went wrong. Out: HTML responses. What a database error is in full
//! goes to the log with a number; the page shows a plain sentence and that number. Deliberately
//! absent: the content of pages (`page`, `ledger`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{Html, IntoResponse, Response};
use daymark_warehouse::WarehouseError;

use crate::Dashboard;
use crate::assets::{BUNDLE, Bundle};

/// What the frame around every page says.
pub(crate) struct Frame {
    /// The dashboard's title.
    pub(crate) site: String,
    /// The pipeline's name.
    pub(crate) pipeline: String,
    /// The pipeline's zone, in which its days are days.
    pub(crate) zone: String,
    /// The pages and the ledger.
    pub(crate) links: Vec<Link>,
    /// Whether the numbers are the demo's.
    pub(crate) generated: bool,
    /// What is wrong with the schedule: that nobody keeps it, or that it is paused.
    pub(crate) schedule: Vec<String>,
    /// The built scripts and styles.
    pub(crate) bundle: &'static Bundle,
}

/// A link of the navigation.
pub(crate) struct Link {
    /// Where it goes.
    pub(crate) address: String,
    /// Its words.
    pub(crate) text: String,
    /// Whether it is the page shown.
    pub(crate) current: bool,
}

impl Frame {
    /// The frame of the page with this address.
    pub(crate) fn of(dashboard: &Dashboard, address: &str) -> Self {
        let plan = &dashboard.plan;
        let mut pages: Vec<(String, String)> =
            plan.pages.iter().map(|page| (page_address(&page.name), page.title.clone())).collect();
        pages.push(("/ledger".to_owned(), "Ledger".to_owned()));
        let links = pages
            .into_iter()
            .map(|(link, text)| Link { current: link == address, address: link, text })
            .collect();
        Self {
            site: plan.settings.dashboard.title.clone(),
            pipeline: plan.name.clone(),
            zone: plan.settings.zone.iana_name().unwrap_or("a fixed offset").to_owned(),
            links,
            generated: dashboard.generated,
            schedule: Vec::new(),
            bundle: &BUNDLE,
        }
    }

    /// The frame of the page with this address, with what is wrong with the schedule.
    pub(crate) async fn read(dashboard: &Dashboard, address: &str) -> Result<Self, WarehouseError> {
        let state = dashboard.reader.scheduler().await?;
        let zone = &dashboard.plan.settings.zone;
        let at = |at| crate::ledger::instant(at, zone);
        let mut schedule = Vec::new();
        if let Some(leader) = state.leader.filter(|leader| leader.is_stopped) {
            let since = at(leader.stopped_at.unwrap_or(leader.seen_at));
            schedule.push(format!(
                "Scheduler stopped since {since}. Nothing is fetched until “daymark up” runs again."
            ));
        }
        for pause in state.pauses {
            let what =
                pause.source.map_or("The schedule".to_owned(), |id| format!("The source {id}"));
            let until = pause.until.map_or(String::new(), |until| format!(" until {}", at(until)));
            let why = pause.why.map_or(String::new(), |why| format!(": {why}"));
            schedule.push(format!("{what} is paused since {}{until}{why}.", at(pause.since)));
        }
        Ok(Self { schedule, ..Self::of(dashboard, address) })
    }
}

/// The address of a page.
pub(crate) fn page_address(name: &str) -> String {
    format!("/d/{name}")
}

/// Why there is no page to show.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Nothing is there.
    Unknown,
    /// The address asks for something that cannot be; the sentence says what.
    BadAddress(String),
    /// A query of the page was refused by PostgreSQL: where it stands, and what was said.
    BadQuery(String),
    /// The database cannot be read.
    Database(WarehouseError),
    /// A template did not render.
    Page(askama::Error),
}

impl From<WarehouseError> for Refusal {
    fn from(cause: WarehouseError) -> Self {
        Self::Database(cause)
    }
}

impl From<askama::Error> for Refusal {
    fn from(cause: askama::Error) -> Self {
        Self::Page(cause)
    }
}

#[derive(Template)]
#[template(path = "refusal.html")]
struct RefusalPage {
    frame: Frame,
    title: &'static str,
    sentence: String,
}

/// Numbers the errors of this process, so that a page and the log can name the same one.
static ERRORS: AtomicU64 = AtomicU64::new(0);

/// A response out of a page or a refusal.
pub(crate) fn respond(dashboard: &Dashboard, result: Result<Response, Refusal>) -> Response {
    let refusal = match result {
        Ok(response) => return response,
        Err(refusal) => refusal,
    };
    let (status, title, sentence) = match refusal {
        Refusal::Unknown => (
            StatusCode::NOT_FOUND,
            "Not here",
            "There is nothing at this address. The pages of this dashboard are linked above."
                .to_owned(),
        ),
        Refusal::BadAddress(sentence) => (StatusCode::BAD_REQUEST, "Not a range of days", sentence),
        Refusal::BadQuery(sentence) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "The query failed", sentence)
        }
        Refusal::Database(cause) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "No answer from the database", logged(&cause))
        }
        Refusal::Page(cause) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "The page cannot be shown", logged(&cause))
        }
    };
    let page = RefusalPage { frame: Frame::of(dashboard, ""), title, sentence };
    match html(&page) {
        Ok(response) => (status, response).into_response(),
        // The one template that cannot have its failure told by a template.
        Err(_) => (status, title).into_response(),
    }
}

/// Puts the whole chain in the log and gives the sentence for the page.
fn logged(error: &(dyn std::error::Error + 'static)) -> String {
    let id = ERRORS.fetch_add(1, Ordering::Relaxed) + 1;
    let chain = daymark_plan::one_line(error);
    tracing::error!(id, error = chain, "a page could not be answered");
    format!(
        "Something went wrong on our side; nothing is lost. Try again in a moment. \
         The log of this program has the details as error {id}."
    )
}

/// A page as a response that browsers ask for again each time.
pub(crate) fn html(page: &impl Template) -> Result<Response, Refusal> {
    Ok(([(CACHE_CONTROL, "no-cache")], Html(page.render()?)).into_response())
}

/// The answer to any address that is none of ours.
pub(crate) async fn unknown(State(dashboard): State<Arc<Dashboard>>) -> Response {
    std::future::ready(respond(&dashboard, Err(Refusal::Unknown))).await
}
