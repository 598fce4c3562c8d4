//! `/ledger`: what became of every day of every source.
//!
//! In: `?to=&days=` and the ledger's days. Out: a grid of source by day, its legend, and the days that
//! need a look with their reasons. Deliberately absent: changing anything.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use daymark_warehouse::{Day, DayState, LastPublish, Run, RunFilter, SourceDays, Warning};
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
/// The newest runs shown.
const RUNS: u32 = 6;

/// Every state, in the order of the legend: its mark in a cell, and what it means.
const STATES: [(DayState, &str, &str); 9] = [
    (DayState::Published, "", "its rows are what readers see"),
    (DayState::Fetched, "↓", "received, not published yet"),
    (DayState::Expected, "", "its deadline has not passed"),
    (DayState::Holiday, "·", "its source has no data on this day"),
    (DayState::Skipped, "–", "left out, by the schedule’s rules or by a person"),
    (DayState::Late, "!", "not published by its deadline"),
    (DayState::Failed, "×", "the last attempt failed"),
    (DayState::Missing, "?", "long past its deadline, without an attempt"),
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
    /// How many days are not tried any more, of the whole ledger.
    given_up: Option<Vec<Piece>>,
    /// Marts that PostgreSQL refused, with what it said.
    refused_marts: Vec<Vec<Piece>>,
    /// What `warn` checks found, newest day first.
    warnings: Vec<Vec<Piece>>,
    /// What sources changed about the shape of their responses, newest first.
    drift: Vec<Vec<Piece>>,
    /// Days that a calendar does not know.
    unknown: Vec<Vec<Piece>>,
    /// The newest runs, newest first.
    runs: Vec<RunItem>,
}

/// A run.
struct RunItem {
    mark: &'static str,
    started: String,
    words: String,
    reason: Option<Vec<Piece>>,
    details: Vec<String>,
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
    mark: &'static str,
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

/// How many changes of shape are shown, newest first.
const DRIFT_SHOWN: usize = 20;

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
    let refused_marts = dashboard.reader.refused_marts().await?;
    let mut view = view(dashboard, &sources, published, range, days, today);
    let warnings = dashboard.reader.warnings(range.from, range.to).await?;
    view.warnings = warnings.iter().rev().map(|warning| pieces(&warned(warning))).collect();
    let drift = dashboard.reader.drift_seen(range.from, range.to).await?;
    view.drift = drift.iter().rev().take(DRIFT_SHOWN).map(|s| pieces(&s.to_string())).collect();
    view.given_up = match dashboard.reader.days_given_up().await?.len() {
        0 => None,
        1 => Some(pieces("One day is given up, and waits for a person: `daymark dlq list`.")),
        many => {
            let text =
                format!("{many} days are given up, and wait for a person: `daymark dlq list`.");
            Some(pieces(&text))
        }
    };
    let gaps = dashboard.plan.calendar_gaps(range.from, range.to);
    view.unknown = gaps.iter().map(|gap| pieces(gap)).collect();
    let runs = dashboard.reader.runs(RunFilter { failed: false, last: RUNS }).await?;
    let zone = &dashboard.plan.settings.zone;
    view.runs = runs.iter().map(|run| run_item(run, zone)).collect();
    view.frame = Frame::read(dashboard, "/ledger").await?;
    view.refused_marts = refused_marts.iter().map(|reason| pieces(reason)).collect();
    html(&view)
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
    let dates: Vec<Date> =
        range.from.series(jiff::Span::new().days(1)).take_while(|date| *date <= range.to).collect();
    let address = |to: Date, days: u32| format!("/ledger?to={to}&days={days}");
    let back = range.from.yesterday().unwrap_or(range.from);
    let ahead = range.to.saturating_add(jiff::Span::new().days(i64::from(days))).min(today);
    LedgerView {
        frame: Frame::of(dashboard, "/ledger"),
        title: "Ledger",
        published: published.map(|publish| {
            format!(
                "The newest publish is number {}, made {}",
                publish.id,
                instant(publish.at, zone)
            )
        }),
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
        rows: sources.iter().map(|source| row(source, &dates, zone)).collect(),
        legend: legend(sources),
        concerns: concerns(sources, zone),
        given_up: None,
        refused_marts: Vec::new(),
        warnings: Vec::new(),
        drift: Vec::new(),
        unknown: Vec::new(),
        runs: Vec::new(),
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

fn row(source: &SourceDays, dates: &[Date], zone: &TimeZone) -> SourceRow {
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
        if let (DayState::Expected, Some(deadline)) = (day.state, day.deadline) {
            words.push_str(&format!(", by {}", instant(deadline, zone)));
        }
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
    let outcome = day.last_outcome.as_deref();
    day.state == DayState::Published && outcome.is_some_and(|outcome| outcome != "published")
}

fn needs_a_look(day: &Day) -> bool {
    day.state.needs_a_look() || published_but_failing(day)
}

fn concern(source: &SourceDays, day: &Day, zone: &TimeZone) -> Concern {
    let mut details = Vec::new();
    match day.attempts {
        0 => {}
        1 => details.push("tried once".to_owned()),
        times => details.push(format!("tried {times} times")),
    }
    if let Some(since) = day.since {
        details.push(format!("since {}", instant(since, zone)));
    }
    if let (Some(deadline), true) = (day.deadline, day.state.needs_a_look()) {
        details.push(format!("to be there by {}", instant(deadline, zone)));
    }
    if let Some(run) = day.run {
        details.push(format!("run {run}"));
    }
    let reason = match (&day.reason, day.state) {
        (Some(reason), _) => reason.clone(),
        (None, DayState::Published) => {
            "The last attempt failed; what was published before stands.".to_owned()
        }
        (None, _) => "No reason was recorded.".to_owned(),
    };
    Concern {
        source: source.source.to_string(),
        date: day.date.to_string(),
        date_words: with_weekday(day.date),
        mark: day.state.as_str(),
        state: if published_but_failing(day) {
            "published, but the last attempt failed"
        } else {
            day.state.as_str()
        },
        reason: pieces(&reason),
        details,
    }
}

/// A run in words.
fn run_item(run: &Run, zone: &TimeZone) -> RunItem {
    let (mark, outcome) = match run.outcome.as_deref() {
        Some("succeeded") => ("published", "succeeded"),
        Some("interrupted") => ("missing", "interrupted"),
        Some(_) => ("failed", "failed"),
        None => ("fetched", "at work"),
    };
    let mut details = Vec::new();
    let counts = [
        (run.published, "published"),
        (run.failed, "failed"),
        (run.quarantined, "quarantined"),
        (run.skipped, "skipped"),
        (run.attempts, if run.attempts == 1 { "request" } else { "requests" }),
    ];
    details.extend(
        counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}")),
    );
    if let Some(end) = run.finished_at {
        let seconds = end.duration_since(run.started_at).as_secs();
        let time =
            |count: i64, unit| format!("{count} {unit}{}", if count == 1 { "" } else { "s" });
        details.push(match seconds {
            ..120 => time(seconds, "second"),
            _ => time(seconds / 60, "minute"),
        });
    }
    details.push(format!("run {}", run.id));
    RunItem {
        mark,
        started: instant(run.started_at, zone),
        words: format!("{}, {outcome}", run.kind.replace('_', " ")),
        reason: run.reason.as_deref().map(pieces),
        details,
    }
}

/// A warning in a sentence.
fn warned(warning: &Warning) -> String {
    let Warning { source, date, entity, table, check, failing, reason } = warning;
    let entity = daymark_plan::behind_day(entity);
    let said = match (reason, failing) {
        (Some(reason), _) => format!("could not be asked: {reason}"),
        (None, 1) => "found 1 row".to_owned(),
        (None, rows) => format!("found {rows} rows"),
    };
    format!("{source}{entity}, {}: the check `{check}` of {table} {said}", with_weekday(*date))
}

/// Reasons write code between backticks; a single one is just a character.
fn pieces(reason: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = reason;
    while let Some((before, (code, after))) =
        rest.split_once('`').and_then(|(before, tail)| Some((before, tail.split_once('`')?)))
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
pub(crate) fn instant(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%-d %b %Y, %H:%M %Z").to_string()
}

#[cfg(test)]
mod tests {
    use daymark_plan::SourceId;
    use jiff::civil::date;

    use super::*;

    fn day(date: Date, state: DayState, reason: Option<&str>, last_outcome: &str) -> Day {
        Day {
            date,
            state,
            reason: reason.map(str::to_owned),
            since: Some("2026-11-03T13:00:00Z".parse().unwrap()),
            deadline: Some("2026-11-03T14:00:00Z".parse().unwrap()),
            last_outcome: Some(last_outcome.to_owned()),
            last_at: None,
            attempts: 4,
            run: None,
            publish: None,
            entities: Vec::new(),
        }
    }

    fn sources() -> Vec<SourceDays> {
        let days = vec![
            day(date(2026, 11, 1), DayState::Published, None, "published"),
            day(date(2026, 11, 2), DayState::Published, Some("HTTP 503"), "failed"),
            day(date(2026, 11, 3), DayState::Failed, Some("the response has `$.error`"), "failed"),
            day(date(2026, 11, 4), DayState::Holiday, None, ""),
        ];
        vec![SourceDays { source: SourceId::new("weather").unwrap(), days }]
    }

    #[test]
    fn days_that_need_a_look_come_newest_first_with_their_reasons() {
        let zone = TimeZone::get("America/New_York").unwrap();
        let found: Vec<String> = concerns(&sources(), &zone)
            .iter()
            .map(|concern| {
                let reason: Vec<&str> =
                    concern.reason.iter().map(|piece| piece.text.as_str()).collect();
                let details = concern.details.join(", ");
                format!("{} {} {:?} ({details})", concern.date_words, concern.state, reason)
            })
            .collect();
        insta::assert_snapshot!(found.join("\n"), @r#"
        Tue 3 Nov 2026 failed ["the response has ", "$.error"] (tried 4 times, since 3 Nov 2026, 08:00 EST, to be there by 3 Nov 2026, 09:00 EST)
        Mon 2 Nov 2026 published, but the last attempt failed ["HTTP 503"] (tried 4 times, since 3 Nov 2026, 08:00 EST)
        "#);
    }

    #[test]
    fn a_cell_says_everything_in_words() {
        let dates = [date(2026, 10, 31), date(2026, 11, 1), date(2026, 11, 2), date(2026, 11, 3)];
        let zone = TimeZone::get("America/New_York").unwrap();
        let row = row(&sources()[0], &dates, &zone);
        let words: Vec<String> = row
            .cells
            .iter()
            .map(|cell| format!("{}|{}|{}", cell.state, cell.mark, cell.words))
            .collect();
        insta::assert_snapshot!(words.join("\n"), @r"
        none||weather, Sat 31 Oct 2026: before this source's first day
        published||weather, Sun 1 Nov 2026: published
        published||weather, Mon 2 Nov 2026: published. HTTP 503. The last attempt failed; what was published before stands
        failed|×|weather, Tue 3 Nov 2026: failed. the response has `$.error`
        ");
    }

    #[test]
    fn months_stand_over_their_days() {
        let range = range::ending(date(2026, 11, 2), 35).unwrap();
        let dates: Vec<Date> = range
            .from
            .series(jiff::Span::new().days(1))
            .take_while(|date| *date <= range.to)
            .collect();
        let spans: Vec<(String, usize)> =
            months(&dates).into_iter().map(|month| (month.name, month.days)).collect();
        assert_eq!(spans, [(String::new(), 2), ("Oct 2026".into(), 31), (String::new(), 2)]);
    }

    #[test]
    fn the_length_of_the_grid_has_limits() {
        let read = |days: &str| {
            let pairs = [("days".to_owned(), days.to_owned())];
            read_range(&pairs, date(2026, 11, 23))
                .map(|(range, days)| (range.from.to_string(), days))
        };
        assert_eq!(read("30"), Ok(("2026-10-25".to_owned(), 30)));
        for days in ["0", "401", "-1", "many"] {
            assert_eq!(read(days), Err(format!("“{days}” is not a number of days from 1 to 400.")));
        }
    }

    #[test]
    fn code_in_a_reason_is_found() {
        let text = |reason: &str| {
            pieces(reason).into_iter().map(|piece| (piece.text, piece.code)).collect::<Vec<_>>()
        };
        assert_eq!(
            text("no `a` b"),
            [("no ".into(), false), ("a".into(), true), (" b".into(), false)]
        );
        assert_eq!(text("5` wide"), [("5` wide".into(), false)]);
    }
}
