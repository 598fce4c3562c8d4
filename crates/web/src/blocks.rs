//! A page's blocks with the results of its queries: what the templates show.
//!
//! In: a [`Page`], a result per query, the date range. Out: [`Part`]s in the page's order, every
//! text filled and every number written. Neighbouring charts become one group, so that wide screens
//! can set them side by side. A failed query is said where it would have been drawn; the rest of the
//! page stands. Deliberately absent: the database, HTML other than prose.

use daymark_plan::{Block, Chart, ChartKind, NamedQuery, Page, ValueFormat};
use daymark_warehouse::{ColumnKind, QueryError, ResultColumn, ResultTable};
use pulldown_cmark::{Event, Options, Parser};
use serde_json::Value;

use crate::answer::page_address;
use crate::format::{self, Written};
use crate::range::DateRange;

/// The most rows a table shows; all of them are in its downloads.
const TABLE_ROWS: usize = 500;
/// The most rows a chart draws: more than there are pixels, and still quick to load.
const DRAWN_ROWS: usize = 20_000;

/// The result of one query.
pub(crate) type QueryResult = Result<ResultTable, QueryError>;

/// A piece of a page, ready to be shown.
#[derive(Debug)]
pub(crate) enum Part {
    /// HTML made from Markdown.
    Prose(String),
    /// Numbers, large.
    Tiles(Tiles),
    /// Charts that stand side by side where there is room.
    Charts(Vec<Figure>),
    /// A table.
    Table(Figure),
}

/// A row of tiles.
#[derive(Debug)]
pub(crate) struct Tiles {
    pub(crate) title: Option<String>,
    pub(crate) caption: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) tiles: Vec<TileView>,
}

/// One number.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TileView {
    pub(crate) label: String,
    pub(crate) value: Written,
    pub(crate) note: Option<String>,
    /// `up`, `down` or nothing.
    pub(crate) direction: &'static str,
}

/// A chart or a table with its words and downloads.
#[derive(Debug)]
pub(crate) struct Figure {
    /// Its id on the page.
    pub(crate) id: String,
    /// The word of its kind.
    pub(crate) kind: &'static str,
    pub(crate) title: String,
    pub(crate) caption: Option<String>,
    /// What PostgreSQL said, and where.
    pub(crate) error: Option<String>,
    /// The definition and rows, as JSON that is safe inside a `script` element.
    pub(crate) json: String,
    pub(crate) table: TableView,
    /// Said when not everything is shown.
    pub(crate) cut: Option<String>,
    pub(crate) csv: String,
    pub(crate) json_download: String,
}

/// Rows as text.
#[derive(Debug, Default)]
pub(crate) struct TableView {
    pub(crate) headings: Vec<Heading>,
    pub(crate) rows: Vec<Vec<Cell>>,
}

/// A column's heading.
#[derive(Debug)]
pub(crate) struct Heading {
    pub(crate) text: String,
    pub(crate) number: bool,
}

/// A value of a table.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) number: bool,
}

/// What the browser gets to draw a chart with; `ui/src/definition.ts` reads it.
#[derive(serde::Serialize)]
struct ChartData<'a> {
    chart: &'a Chart,
    columns: Vec<&'a ResultColumn>,
    rows: Vec<Vec<Value>>,
}

/// The parts of a page. `results` has one result per query of the page, in its order.
pub(crate) fn parts(page: &Page, results: &[QueryResult], range: DateRange) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut charts = 0_usize;
    for block in &page.blocks {
        match block {
            Block::Prose { markdown } => parts.push(Part::Prose(prose(markdown))),
            Block::Chart(chart) => {
                charts += 1;
                let asked =
                    page.queries.iter().zip(results).find(|(query, _)| query.name == chart.query);
                // `plan` refuses a chart of a query that is not there.
                let Some((query, result)) = asked else { continue };
                let found = result.as_ref().map_err(|error| where_it_failed(page, query, error));
                match (chart.kind, parts.last_mut()) {
                    (ChartKind::Tiles, _) => parts.push(Part::Tiles(tiles(chart, found))),
                    (ChartKind::Table, _) => {
                        parts.push(Part::Table(figure(page, chart, charts, found, range)));
                    }
                    (_, Some(Part::Charts(group))) => {
                        group.push(figure(page, chart, charts, found, range));
                    }
                    _ => parts.push(Part::Charts(vec![figure(page, chart, charts, found, range)])),
                }
            }
        }
    }
    parts
}

/// A query's error with the place in the page's file.
pub(crate) fn where_it_failed(page: &Page, query: &NamedQuery, error: &QueryError) -> String {
    let line = query.line + error.line.map_or(0, |line| line.saturating_sub(1));
    format!("{}:{line}: the query “{}” failed: {}", page.file, query.name, error.message)
}

/// Markdown as HTML. HTML inside of it is shown as text: the content policy would stop its scripts
/// and styles anyway, and half of it working would be worse.
fn prose(markdown: &str) -> String {
    let events = Parser::new_ext(markdown, Options::ENABLE_TABLES).map(|event| match event {
        Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
        other => other,
    });
    let mut html = String::new();
    pulldown_cmark::html::push_html(&mut html, events);
    html
}

fn tiles(chart: &Chart, found: Result<&ResultTable, String>) -> Tiles {
    let result = found.as_ref().ok().copied();
    let views = chart.tiles.iter().map(|tile| {
        let value = result.and_then(|result| {
            let index = column(result, &tile.value)?;
            Some((result.rows.first()?.get(index)?, result.columns[index].kind))
        });
        let number = value.and_then(|(value, kind)| format::number_of(value, kind));
        let written = match (number, value) {
            (Some(number), _) => format::number(number, &tile.format, tile.signed),
            (None, Some((value, kind))) => {
                Written { number: format::value(value, kind, &tile.format), unit: String::new() }
            }
            (None, None) => Written { number: format::NONE.to_owned(), unit: String::new() },
        };
        let direction = match written.number.chars().next() {
            Some('+') if tile.signed => "up",
            Some('\u{2212}') if tile.signed => "down",
            _ => "",
        };
        TileView {
            label: tile.label.clone(),
            value: written,
            note: tile.note.as_ref().map(|note| format::fill(note, result)),
            direction,
        }
    });
    Tiles {
        title: chart.title.clone(),
        caption: chart.caption.as_ref().map(|caption| format::fill(caption, result)),
        tiles: if found.is_ok() { views.collect() } else { Vec::new() },
        error: missing_columns(chart, &found).or(found.err()),
    }
}

fn figure(
    page: &Page,
    chart: &Chart,
    number: usize,
    found: Result<&ResultTable, String>,
    range: DateRange,
) -> Figure {
    let result = found.as_ref().ok().copied();
    let error = missing_columns(chart, &found).or(found.err());
    let shown = result.filter(|_| error.is_none());
    let is_table = chart.kind == ChartKind::Table;
    let rows = result.map_or(0, |result| result.rows.len());
    let most = if is_table { TABLE_ROWS } else { DRAWN_ROWS };
    let cut = (rows > most).then(|| {
        let (most, rows) = (most.to_string(), rows.to_string());
        format!("The first {most} of {rows} rows; the downloads have them all.")
    });
    let download = |extension: &str| {
        format!("{}/{}.{extension}{}", page_address(&page.name), chart.query, range.query())
    };
    Figure {
        id: format!("chart-{number}"),
        kind: kind_word(chart.kind),
        title: chart.title.clone().unwrap_or_else(|| words(&chart.query)),
        // With a failed query a caption would show its placeholders.
        caption: chart
            .caption
            .as_ref()
            .filter(|_| shown.is_some())
            .map(|text| format::fill(text, result)),
        error,
        json: shown.filter(|_| !is_table).map(|result| drawn(chart, result)).unwrap_or_default(),
        table: shown.map(|result| table(chart, result)).unwrap_or_default(),
        cut,
        csv: download("csv"),
        json_download: download("json"),
    }
}

/// The column names a chart draws, in the order a reader wants them.
fn columns_of(chart: &Chart) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    let sides = [&chart.x, &chart.high, &chart.low].into_iter().flatten();
    for name in sides.map(String::as_str).chain(chart.y.iter().map(String::as_str)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Says so when a chart draws a column that its query does not give.
fn missing_columns(chart: &Chart, found: &Result<&ResultTable, String>) -> Option<String> {
    let result = found.as_ref().ok()?;
    let tiles = chart.tiles.iter().map(|tile| tile.value.as_str());
    let missing =
        columns_of(chart).into_iter().chain(tiles).find(|name| column(result, name).is_none())?;
    let given: Vec<&str> = result.columns.iter().map(|column| column.name.as_str()).collect();
    Some(format!(
        "the query “{}” gives no column “{missing}”; it gives {}",
        chart.query,
        given.join(", ")
    ))
}

fn column(result: &ResultTable, name: &str) -> Option<usize> {
    result.columns.iter().position(|column| column.name == name)
}

/// The columns a chart is drawn from, and a scatter's date so that a point can say its day.
fn drawn_columns(chart: &Chart, result: &ResultTable) -> Vec<usize> {
    let mut indices: Vec<usize> =
        columns_of(chart).into_iter().filter_map(|name| column(result, name)).collect();
    let date = column(result, "date").filter(|_| chart.kind == ChartKind::Scatter);
    if let Some(date) = date.filter(|date| !indices.contains(date)) {
        indices.insert(0, date);
    }
    indices
}

fn drawn(chart: &Chart, result: &ResultTable) -> String {
    let indices = drawn_columns(chart, result);
    let columns: Vec<&ResultColumn> = indices.iter().map(|index| &result.columns[*index]).collect();
    let value = |row: &[Value], index: usize| {
        // A long numeric is text on the way; a chart wants its number.
        let number = format::number_of(&row[index], result.columns[index].kind);
        match (&row[index], number) {
            (Value::String(_), Some(number)) => Value::from(number),
            (Value::String(_), None) if result.columns[index].kind == ColumnKind::Number => {
                Value::Null
            }
            (value, _) => value.clone(),
        }
    };
    let rows = result.rows.iter().take(DRAWN_ROWS);
    let rows = rows.map(|row| indices.iter().map(|index| value(row, *index)).collect()).collect();
    let text = serde_json::to_string(&ChartData { chart, columns, rows })
        .expect("names and values have a form in JSON");
    // `</script>` and `<!--` would end or change the element.
    text.replace('<', "\\u003c")
}

fn table(chart: &Chart, result: &ResultTable) -> TableView {
    let is_table = chart.kind == ChartKind::Table;
    let mut indices = drawn_columns(chart, result);
    if indices.is_empty() {
        indices = (0..result.columns.len()).collect();
    }
    let formats: Vec<ValueFormat> =
        indices.iter().map(|index| column_format(chart, result, *index)).collect();
    let headings = indices.iter().map(|index| {
        let column = &result.columns[*index];
        let label = chart.y.iter().position(|name| *name == column.name);
        let text = label.and_then(|at| chart.labels.get(at)).cloned();
        Heading {
            text: text.unwrap_or_else(|| words(&column.name)),
            number: column.kind == ColumnKind::Number,
        }
    });
    let rows = result.rows.iter().take(TABLE_ROWS).map(|row| {
        let cells = indices.iter().zip(&formats).map(|(index, format)| {
            let kind = result.columns[*index].kind;
            Cell {
                text: format::value(&row[*index], kind, format),
                number: kind == ColumnKind::Number,
            }
        });
        cells.collect()
    });
    let mut view = TableView { headings: headings.collect(), rows: rows.collect() };
    // A chart's table repeats what is drawn; beyond the first rows the download serves better.
    if !is_table && result.rows.len() > TABLE_ROWS {
        view.rows.truncate(TABLE_ROWS);
    }
    view
}

/// How a column is written: as the chart says, else with as many decimals as its longest value has,
/// so that the points stand under each other.
fn column_format(chart: &Chart, result: &ResultTable, index: usize) -> ValueFormat {
    let name = &result.columns[index].name;
    if chart.x.as_ref() == Some(name) {
        return chart.x_format.clone();
    }
    if chart.kind != ChartKind::Table || chart.format != ValueFormat::default() {
        return chart.format.clone();
    }
    let kind = result.columns[index].kind;
    let plain = ValueFormat::default();
    let decimals = result.rows.iter().take(TABLE_ROWS).filter_map(|row| {
        let number = format::number_of(&row[index], kind)?;
        let written = format::number(number, &plain, false).number;
        written.split_once('.').map(|(_, fraction)| fraction.len())
    });
    ValueFormat { decimals: decimals.max().and_then(|most| u32::try_from(most).ok()), ..plain }
}

/// A column's or query's name as words.
fn words(name: &str) -> String {
    name.replace('_', " ")
}

fn kind_word(kind: ChartKind) -> &'static str {
    match kind {
        ChartKind::Tiles => "tiles",
        ChartKind::Band => "band",
        ChartKind::Bars => "bars",
        ChartKind::Lines => "lines",
        ChartKind::Scatter => "scatter",
        ChartKind::Table => "table",
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use daymark_plan::{Environment, load};
    use jiff::civil::date;
    use serde_json::json;

    use super::*;

    /// The reference pipeline's page, as everybody gets it.
    fn overview() -> Page {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../pipelines/dc-markets");
        let plan = load(folder.as_ref(), &Environment::of([])).unwrap();
        plan.pages.into_iter().find(|page| page.name == "overview").unwrap()
    }

    fn table(columns: &[(&str, ColumnKind)], rows: Vec<Vec<Value>>) -> ResultTable {
        let columns = columns.iter();
        ResultTable {
            columns: columns
                .map(|(name, kind)| ResultColumn { name: (*name).to_owned(), kind: *kind })
                .collect(),
            rows,
        }
    }

    fn range() -> DateRange {
        DateRange { from: date(2026, 11, 1), to: date(2026, 11, 23) }
    }

    /// A result for every query: what `known` says, else a failure.
    fn results(page: &Page, known: &[(&str, ResultTable)]) -> Vec<QueryResult> {
        let failure = QueryError { message: "relation \"t\" does not exist".into(), line: Some(2) };
        let found = |name: &str| known.iter().find(|(known, _)| *known == name);
        page.queries
            .iter()
            .map(|query| found(&query.name).map(|(_, table)| table.clone()).ok_or(failure.clone()))
            .collect()
    }

    /// A page in lines, as a reader sees it.
    fn outline(parts: &[Part]) -> String {
        let mut text = String::new();
        let mut line = |words: String| writeln!(text, "{words}").unwrap();
        for part in parts {
            match part {
                Part::Prose(html) => line(format!("prose {}", html.trim())),
                Part::Tiles(block) => {
                    line(format!("tiles error={:?}", block.error));
                    for tile in &block.tiles {
                        let note = tile.note.as_deref().unwrap_or_default();
                        line(format!(
                            "  {}: {} {} ({note})",
                            tile.label, tile.value, tile.direction
                        ));
                    }
                }
                Part::Charts(figures) => {
                    for figure in figures {
                        line(format!("{} {}: {:?}", figure.kind, figure.title, figure.caption));
                        line(format!("  {:?}, {} rows", figure.error, figure.table.rows.len()));
                    }
                }
                Part::Table(figure) => {
                    line(format!("table {}: {:?}", figure.title, figure.error));
                    for row in &figure.table.rows {
                        let cells: Vec<&str> = row.iter().map(|cell| cell.text.as_str()).collect();
                        line(format!("  {}", cells.join(" | ")));
                    }
                }
            }
        }
        text
    }

    #[test]
    fn a_failed_query_leaves_the_rest_of_the_page() {
        let page = overview();
        let latest = table(
            &[
                ("market_date", ColumnKind::Date),
                ("close", ColumnKind::Number),
                ("daily_return", ColumnKind::Number),
                ("volatility_20d", ColumnKind::Number),
                ("drawdown", ColumnKind::Number),
                ("weather_date", ColumnKind::Date),
                ("temperature_max_c", ColumnKind::Number),
                ("temperature_min_c", ColumnKind::Number),
            ],
            vec![vec![
                json!("2026-11-20"),
                json!(6610.0625),
                json!(-0.0169),
                Value::Null,
                json!("-0.0123456789012345678"),
                json!("2026-11-23"),
                json!(14.6),
                json!(-0.04),
            ]],
        );
        let weather = table(
            &[
                ("date", ColumnKind::Date),
                ("maximum", ColumnKind::Number),
                ("minimum", ColumnKind::Number),
                ("precipitation_mm", ColumnKind::Number),
                ("total_mm", ColumnKind::Number),
                ("wet_days", ColumnKind::Number),
            ],
            vec![vec![
                json!("2026-11-20"),
                json!(14),
                json!(3.5),
                Value::Null,
                json!(1204.5),
                json!(9),
            ]],
        );
        let market =
            table(&[("date", ColumnKind::Date), ("close", ColumnKind::Number)], Vec::new());
        let days = table(
            &[
                ("date", ColumnKind::Date),
                ("close", ColumnKind::Number),
                ("note", ColumnKind::Text),
            ],
            vec![
                vec![json!("2026-11-20"), json!(6610), json!("<b>")],
                vec![json!("2026-11-19"), json!(-0.25), Value::Null],
            ],
        );
        let known = [("latest", latest), ("weather", weather), ("market", market), ("days", days)];
        let parts = parts(&page, &results(&page, &known), range());
        insta::assert_snapshot!(outline(&parts));
    }

    fn chart(page: &mut Page, kind: ChartKind) -> &mut Chart {
        let found = page.blocks.iter_mut().find_map(|block| match block {
            Block::Chart(chart) if chart.kind == kind => Some(chart),
            _ => None,
        });
        found.unwrap()
    }

    #[test]
    fn the_json_of_a_chart_cannot_end_its_element() {
        let mut page = overview();
        let chart = chart(&mut page, ChartKind::Bars);
        chart.title = Some("</script><script>alert(1)</script><!--".into());
        let rows = vec![
            vec![json!("<!--"), json!("12345678901234567890.5")],
            vec![json!("b"), json!("NaN")],
        ];
        let columns = [("date", ColumnKind::Text), ("precipitation_mm", ColumnKind::Number)];
        let text = drawn(chart, &table(&columns, rows));
        assert!(!text.contains('<'), "{text}");
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["chart"]["title"], json!(chart.title));
        assert_eq!(read["rows"], json!([["<!--", 12_345_678_901_234_567_890.5], ["b", null]]));
    }

    #[test]
    fn html_in_markdown_is_text() {
        assert_eq!(
            prose("*Rain* <b onclick=x>hi</b> & `<i>`\n\n<script>alert(1)</script>\n")
                .replace('\n', ""),
            "<p><em>Rain</em> &lt;b onclick=x&gt;hi&lt;/b&gt; &amp; <code>&lt;i&gt;</code></p>\
             &lt;script&gt;alert(1)&lt;/script&gt;"
        );
    }

    #[test]
    fn long_results_are_cut_and_say_so() {
        let page = overview();
        let rows = (0..=TABLE_ROWS).map(|n| vec![json!("2026-11-20"), json!(n)]).collect();
        let days = table(&[("date", ColumnKind::Date), ("n", ColumnKind::Number)], rows);
        let parts = parts(&page, &results(&page, &[("days", days)]), range());
        let Some(Part::Table(figure)) = parts.last() else {
            panic!("the page ends with its table")
        };
        assert_eq!(figure.table.rows.len(), TABLE_ROWS);
        let cut = figure.cut.as_deref();
        assert_eq!(cut, Some("The first 500 of 501 rows; the downloads have them all."));
        assert_eq!(figure.csv, "/d/overview/days.csv?from=2026-11-01&to=2026-11-23");
    }
}
