//! `/ledger`: what became of every day of every source.
//!
//! In: `?to=&days=` and the ledger's days. Out: a grid of source by day, its legend, and the days that
//! need a look with their reasons. Deliberately absent: changing anything.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use daymark_warehouse::{Day, DayState, LastPublish, SourceDays};
use jiff::Timestamp;
use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;

use crate::Dashboard;
use crate::answer::{Frame, Refusal, html, respond};
use crate::format::day as day_words;
use crate::page::Pairs;
use crate::range::{self, DateRange};

/// The days shown when the address does not say.
const DEFAULT_DAYS: u32 = 60;
/// The most days one grid shows.
const MOST_DAYS: u32 = 400;

/// Every state, in the order of the legend: its mark in a cell, and what it means.
const STATES: [(DayState, &str, &str); 9] = [
    (DayState::Published, "", "its rows are what readers see"),
    (DayState::Fetched, "↓", "received, not published yet"),
    (DayState::Expected, "", "its time has not come"),
    (DayState::Holiday, "·", "its source has no data on this day"),
    (DayState::Skipped, "–", "left out by a person"),
    (DayState::Late, "!", "past its deadline"),
    (DayState::Failed, "×", "every attempt failed"),
    (DayState::Missing, "?", "its time went by without an attempt"),
    (DayState::Quarantined, "‖", "held back by a check"),
];

#[derive(Template)]
#[template(path = "ledger.html")]
struct LedgerView {
    frame: Frame,
    title: &'static str,
    published: Option<String>,
    days: u32,
    from: String,
    to: String,
    from_words: String,
    to_words: String,
    spans: Vec<Span>,
    earlier: String,
    later: Option<String>,
    months: Vec<Month>,
    heads: Vec<Head>,
    rows: Vec<SourceRow>,
    legend: Vec<LegendItem>,
    concerns: Vec<Concern>,
}

/// A link to a grid of another length.
struct Span {
    days: u32,
    address: String,
    current: bool,
}

/// A month over its days.
struct Month {
    name: String,
    days: usize,
}

/// A day's column.
struct Head {
    words: String,
    /// The number shown; only Mondays have one, or the numbers would be a texture.
    shown: Option<i8>,
    /// Whether a week starts here.
    monday: bool,
}

struct SourceRow {
    source: String,
    cells: Vec<Cell>,
}

struct Cell {
    state: &'static str,
    mark: &'static str,
    words: String,
    monday: bool,
}

struct LegendItem {
    state: &'static str,
    mark: &'static str,
    meaning: &'static str,
    count: usize,
}

/// A day that needs a look.
struct Concern {
    source: String,
    date: String,
    date_words: String,
    state: &'static str,
    reason: Vec<Piece>,
    details: Vec<String>,
}

/// Words, or code that stood between backticks.
#[derive(Debug, PartialEq, Eq)]
struct Piece {
    text: String,
    code: bool,
}

/// `GET /ledger`.
pub(crate) async fn ledger(State(dashboard): State<Arc<Dashboard>>, pairs: Pairs) -> Response {
    let result = show(&dashboard, &pairs).await;
    respond(&dashboard, result)
}

async fn show(dashboard: &Dashboard, pairs: &[(String, String)]) -> Result<Response, Refusal> {
    let today = (dashboard.today)();
    let (range, days) = read_range(pairs, today).map_err(Refusal::BadAddress)?;
    let sources = dashboard.reader.days(&dashboard.plan, range.from, range.to).await?;
    let published = dashboard.reader.last_publish().await?;
    html(&view(dashboard, &sources, published, range, days, today))
}

fn read_range(pairs: &[(String, String)], today: Date) -> Result<(DateRange, u32), String> {
    let days = match range::parameter(pairs, "days") {
        None => DEFAULT_DAYS,
        Some(text) => text
            .parse()
            .ok()
            .filter(|days| (1..=MOST_DAYS).contains(days))
            .ok_or_else(|| format!("“{text}” is not a number of days from 1 to {MOST_DAYS}."))?,
    };
    let to = range::parameter(pairs, "to").map(range::parse_date).transpose()?.unwrap_or(today);
    Ok((range::ending(to, days)?, days))
}

fn view(
    dashboard: &Dashboard,
    sources: &[SourceDays],
    published: Option<LastPublish>,
    range: DateRange,
    days: u32,
    today: Date,
) -> LedgerView {
    let zone = &dashboard.plan.settings.zone;
    let dates: Vec<Date> = range
        .from
        .series(jiff::Span::new().days(1))
        .take_while(|date| *date <= range.to)
        .collect();
    let address = |to: Date, days: u32| format!("/ledger?to={to}&days={days}");
    let back = range.from.yesterday().unwrap_or(range.from);
    let ahead = range.to.saturating_add(jiff::Span::new().days(i64::from(days))).min(today);
    LedgerView {
        frame: Frame::of(dashboard, "/ledger"),
        title: "Ledger",
        published: published
            .map(|publish| format!("The newest publish is number {}, made {}", publish.id, instant(publish.at, zone))),
        days,
        from: range.from.to_string(),
        to: range.to.to_string(),
        from_words: day_words(range.from),
        to_words: day_words(range.to),
        spans: [30, 60, 120, 365]
            .map(|length| Span {
                days: length,
                address: address(range.to, length),
                current: length == days,
            })
            .into(),
        earlier: address(back, days),
        later: (range.to < today).then(|| address(ahead, days)),
        months: months(&dates),
        heads: dates.iter().map(|date| head(*date)).collect(),
        rows: sources.iter().map(|source| row(source, &dates)).collect(),
        legend: legend(sources),
        concerns: concerns(sources, zone),
    }
}

fn months(dates: &[Date]) -> Vec<Month> {
    let same = |a: &Date, b: &Date| a.first_of_month() == b.first_of_month();
    dates
        .chunk_by(same)
        .map(|month| Month {
            // A month of a few days has no room for its name.
            name: if month.len() > 3 {
                month[0].strftime("%b %Y").to_string()
            } else {
                String::new()
            },
            days: month.len(),
        })
        .collect()
}

fn head(date: Date) -> Head {
    let monday = date.weekday() == Weekday::Monday;
    Head { words: with_weekday(date), shown: monday.then(|| date.day()), monday }
}

fn row(source: &SourceDays, dates: &[Date]) -> SourceRow {
    let cells = dates.iter().map(|date| {
        let day = source.days.iter().find(|day| day.date == *date);
        let monday = date.weekday() == Weekday::Monday;
        let mut words = format!("{}, {}: ", source.source, with_weekday(*date));
        // The ledger has no days from before a source's first.
        let Some(day) = day else {
            words.push_str("before this source's first day");
            return Cell { state: "none", mark: "", words, monday };
        };
        words.push_str(day.state.as_str());
        if let Some(reason) = &day.reason {
            words.push_str(&format!(". {reason}"));
        }
        if published_but_failing(day) {
            words.push_str(". The last attempt failed; what was published before stands");
        }
        Cell { state: day.state.as_str(), mark: mark(day.state), words, monday }
    });
    SourceRow { source: source.source.to_string(), cells: cells.collect() }
}

fn mark(state: DayState) -> &'static str {
    STATES.iter().find(|(known, ..)| *known == state).map_or("", |(_, mark, _)| mark)
}

fn legend(sources: &[SourceDays]) -> Vec<LegendItem> {
    let all = || sources.iter().flat_map(|source| &source.days);
    STATES
        .map(|(state, mark, meaning)| LegendItem {
            state: state.as_str(),
            mark,
            meaning,
            count: all().filter(|day| day.state == state).count(),
        })
        .into()
}

/// The days somebody should look at, newest first.
fn concerns(sources: &[SourceDays], zone: &TimeZone) -> Vec<Concern> {
    let mut found: Vec<(&SourceDays, &Day)> = sources
        .iter()
        .flat_map(|source| source.days.iter().map(move |day| (source, day)))
        .filter(|(_, day)| needs_a_look(day))
        .collect();
    found.sort_by(|(one, a), (other, b)| {
        b.date.cmp(&a.date).then_with(|| one.source.as_str().cmp(other.source.as_str()))
    });
    found.into_iter().map(|(source, day)| concern(source, day, zone)).collect()
}

/// Readers see an older word of the source than they could.
fn published_but_failing(day: &Day) -> bool {
    day.state == DayState::Published && day.last_outcome.as_deref() == Some("failed")
}

fn needs_a_look(day: &Day) -> bool {
    match day.state {
        DayState::Failed | DayState::Late | DayState::Missing | DayState::Quarantined => true,
        DayState::Published => published_but_failing(day),
        DayState::Expected | DayState::Fetched | DayState::Holiday | DayState::Skipped => false,
    }
}

fn concern(source: &SourceDays, day: &Day, zone: &TimeZone) -> Concern {
    let mut details = Vec::new();
    match day.attempts {
        0 => {}
        1 => details.push("1 attempt".to_owned()),
        attempts => details.push(format!("{attempts} attempts")),
    }
    if let Some(since) = day.since {
        details.push(format!("since {}", instant(since, zone)));
    }
    let reason = match (&day.reason, day.state) {
        (Some(reason), _) => reason.clone(),
        (None, DayState::Published) => "The last attempt failed; what was published before stands.".to_owned(),
        (None, _) => "No reason was recorded.".to_owned(),
    };
    Concern {
        source: source.source.to_string(),
        date: day.date.to_string(),
        date_words: with_weekday(day.date),
        state: day.state.as_str(),
        reason: pieces(&reason),
        details,
    }
}

/// Reasons write code between backticks; a single one is just a character.
fn pieces(reason: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = reason;
    while let Some((before, (code, after))) = rest
        .split_once('`')
        .and_then(|(before, tail)| Some((before, tail.split_once('`')?)))
    {
        pieces.push(Piece { text: before.to_owned(), code: false });
        pieces.push(Piece { text: code.to_owned(), code: true });
        rest = after;
    }
    pieces.push(Piece { text: rest.to_owned(), code: false });
    pieces.retain(|piece| !piece.text.is_empty());
    pieces
}

fn with_weekday(date: Date) -> String {
    date.strftime("%a %-d %b %Y").to_string()
}

/// An instant in the pipeline's zone.
fn instant(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%-d %b %Y, %H:%M %Z").to_string()
}
