//! `dashboards/*.md`: one Markdown file, one page.
//!
//! In: Markdown with TOML front matter between `+++` lines, named ` ```sql NAME ` blocks and
//! ` ```chart ` blocks (TOML). Out: a [`Page`]: its queries, and its prose and charts in order.
//! Deliberately absent: running a query, drawing a chart (`web` and `ui`).

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use crate::problem::{Problem, did_you_mean};
use crate::section::{Section, Text, choose};

/// One page of the dashboard.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Page {
    /// The file's name without `.md`: its place in the address, `/d/<name>`.
    pub name: String,
    /// The file, relative to the pipeline folder.
    pub file: String,
    /// The title shown; front matter `title`, default the name.
    pub title: String,
    /// How many days the page shows when its address says nothing; front matter `days`, default 60.
    pub days: u32,
    /// The queries of the page, in the order of the file.
    pub queries: Vec<NamedQuery>,
    /// Prose and charts in the order of the file.
    pub blocks: Vec<Block>,
}

/// A ` ```sql NAME ` block. The words `$from` and `$to` in it are the page's date range (dates).
#[derive(Debug, Clone, serde::Serialize)]
pub struct NamedQuery {
    /// The name charts refer to.
    pub name: String,
    /// The SQL as written, with `$from` and `$to`.
    pub sql: String,
    /// The line of its first line in the file.
    pub line: usize,
}

/// A piece of a page.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(tag = "block", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "a page has a few dozen blocks")]
pub enum Block {
    /// Markdown between the code blocks.
    Prose {
        /// The Markdown as written.
        markdown: String,
    },
    /// A chart, tiles or a table.
    Chart(Chart),
}

/// What a ` ```chart ` block draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChartKind {
    /// One number each, from the first row of the query.
    Tiles,
    /// An area between two values (`low`, `high`) over `x`.
    Band,
    /// Bars of `y` over `x`.
    Bars,
    /// One line for each of `y` over `x`.
    Lines,
    /// Points of `y` over `x`, with their regression line.
    Scatter,
    /// The rows as a table.
    Table,
}

/// A ` ```chart ` block.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Chart {
    /// What it draws.
    pub kind: ChartKind,
    /// The name of the query it draws.
    pub query: String,
    /// Its heading.
    pub title: Option<String>,
    /// A line under the heading; `{column}` stands for that column of the query's first row.
    pub caption: Option<String>,
    /// The column across.
    pub x: Option<String>,
    /// The columns up.
    pub y: Vec<String>,
    /// Words for `y`, in the same order; default the columns' names.
    pub labels: Vec<String>,
    /// The lower column of a band.
    pub low: Option<String>,
    /// The upper column of a band.
    pub high: Option<String>,
    /// The words along the x axis.
    pub x_title: Option<String>,
    /// The words along the y axis.
    pub y_title: Option<String>,
    /// How the values of y are written.
    pub format: ValueFormat,
    /// How the values of x are written, where x is a number.
    pub x_format: ValueFormat,
    /// The tiles, for `kind = "tiles"`.
    pub tiles: Vec<Tile>,
    /// The line of the block in the file.
    pub line: usize,
}

/// How a number is written.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct ValueFormat {
    /// Digits after the point; `None`: as few as the value needs.
    pub decimals: Option<u32>,
    /// Times 100, with `%`.
    pub percent: bool,
    /// What follows the number, such as `°C`.
    pub unit: Option<String>,
}

/// One number of a `tiles` chart.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Tile {
    /// The words above the number.
    pub label: String,
    /// The column of the number.
    pub value: String,
    /// The words under it; `{column}` stands for that column of the first row.
    pub note: Option<String>,
    /// How it is written.
    pub format: ValueFormat,
    /// Whether its sign matters: it is written with `+` or `-` and coloured.
    pub signed: bool,
}

/// Reads one page. `text` is the whole file.
pub(crate) fn read(name: &str, text: Text<'_>, problems: &mut Vec<Problem>) -> Page {
    let mut page = Page {
        name: name.to_owned(),
        file: text.file.to_owned(),
        title: name.to_owned(),
        days: 60,
        queries: Vec::new(),
        blocks: Vec::new(),
    };
    let body = front_matter(text, &mut page, problems);
    let mut prose_start = 0;
    let mut block: Option<(String, usize, String)> = None;
    for (event, range) in Parser::new_ext(body.text, Options::ENABLE_TABLES).into_offset_iter() {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info)))
                if matches!(info.split_whitespace().next(), Some("sql" | "chart")) =>
            {
                push_prose(&body.text[prose_start..range.start], &mut page.blocks);
                block = Some((info.to_string(), body.line(range.start), String::new()));
                prose_start = range.end;
            }
            Event::Text(code) => {
                if let Some((_, _, collected)) = &mut block {
                    collected.push_str(&code);
                }
            }
            Event::End(TagEnd::CodeBlock) => {
                if let Some((info, line, code)) = block.take() {
                    code_block(text.file, &info, line, code, &mut page, problems);
                }
            }
            _ => {}
        }
    }
    push_prose(&body.text[prose_start..], &mut page.blocks);
    check_references(&page, problems);
    page
}

/// Takes the front matter off and reads it.
fn front_matter<'t>(text: Text<'t>, page: &mut Page, problems: &mut Vec<Problem>) -> Text<'t> {
    let Some(rest) = text.text.strip_prefix("+++\n") else {
        return text;
    };
    // The end may be the first line of all, or the last line of a file without a line end.
    let end = rest.starts_with("+++").then_some(0).or_else(|| rest.find("\n+++").map(|at| at + 1));
    let parts = end.map(|end| (&rest[..end], &rest[end + 3..]));
    let Some((front, body)) = parts.filter(|(_, body)| body.is_empty() || body.starts_with('\n'))
    else {
        let problem =
            Problem::new(text.file, 1, "the front matter that starts with `+++` has no end");
        problems.push(problem.hint("end it with a line `+++`"));
        return text;
    };
    let front_text = Text { file: text.file, text: front, first_line: 2 };
    if let Some(table) = front_text.parse(problems) {
        let mut section = Section::top(front_text, &table);
        if let Some(title) = section.optional_string("title", problems) {
            page.title = title;
        }
        if let Some(days) = section.optional_whole("days", 1..=36_600, problems) {
            page.days = days;
        }
        section.finish(problems);
    }
    // The body starts with the end of the closing line.
    let body_line = 2 + front.matches('\n').count();
    Text { file: text.file, text: body, first_line: body_line }
}

fn push_prose(markdown: &str, blocks: &mut Vec<Block>) {
    if !markdown.trim().is_empty() {
        blocks.push(Block::Prose { markdown: markdown.trim().to_owned() });
    }
}

fn code_block(
    file: &str,
    info: &str,
    line: usize,
    code: String,
    page: &mut Page,
    problems: &mut Vec<Problem>,
) {
    let mut words = info.split_whitespace();
    let language = words.next();
    let name = words.next();
    if language == Some("sql") {
        let Some(name) = name else {
            let problem = Problem::new(file, line, "this `sql` block has no name");
            problems.push(problem.hint("write its name after `sql`, such as ```sql market"));
            return;
        };
        if page.queries.iter().any(|query| query.name == name) {
            problems.push(Problem::new(file, line, format!("a second query named `{name}`")));
        }
        page.queries.push(NamedQuery { name: name.to_owned(), sql: code, line: line + 1 });
    } else {
        let text = Text { file, text: &code, first_line: line + 1 };
        let Some(table) = text.parse(problems) else { return };
        let section = Section::top(text, &table);
        page.blocks.extend(chart(section, line, problems).map(Block::Chart));
    }
}

fn chart(mut section: Section<'_>, line: usize, problems: &mut Vec<Problem>) -> Option<Chart> {
    let kinds = [
        ("tiles", ChartKind::Tiles),
        ("band", ChartKind::Band),
        ("bars", ChartKind::Bars),
        ("lines", ChartKind::Lines),
        ("scatter", ChartKind::Scatter),
        ("table", ChartKind::Table),
    ];
    let kind = choose(&mut section, "kind", &kinds, None, problems);
    let query = section.required_string("query", problems);
    let title = section.optional_string("title", problems);
    let caption = section.optional_string("caption", problems);
    let x = section.optional_string("x", problems);
    let y = section.optional_strings("y", problems).unwrap_or_default();
    let labels = section.optional_strings("labels", problems).unwrap_or_default();
    let low = section.optional_string("low", problems);
    let high = section.optional_string("high", problems);
    let x_title = section.optional_string("x_title", problems);
    let y_title = section.optional_string("y_title", problems);
    let format = value_format(&mut section, "format", problems);
    let x_format = value_format(&mut section, "x_format", problems);
    let mut tiles = Vec::new();
    for mut tile in section.tables("tiles", problems) {
        let label = tile.required_string("label", problems);
        let value = tile.required_string("value", problems);
        let note = tile.optional_string("note", problems);
        let format = value_format(&mut tile, "format", problems);
        let signed = tile.optional_bool("signed", problems).unwrap_or(false);
        tile.finish(problems);
        if let (Some(label), Some(value)) = (label, value) {
            tiles.push(Tile { label, value, note, format, signed });
        }
    }
    let kind = kind?;
    let needs: &[(&str, bool)] = match kind {
        ChartKind::Tiles => &[("tiles", tiles.is_empty())],
        ChartKind::Band => &[("x", x.is_none()), ("low", low.is_none()), ("high", high.is_none())],
        ChartKind::Bars | ChartKind::Lines | ChartKind::Scatter => {
            &[("x", x.is_none()), ("y", y.is_empty())]
        }
        ChartKind::Table => &[],
    };
    for (key, _) in needs.iter().filter(|(key, missing)| *missing && !section.has(key)) {
        problems.push(Problem::new(section.file(), line, format!("this chart has no `{key}`")));
    }
    if !labels.is_empty() && labels.len() != y.len() {
        let message = format!("{} labels for {} columns of `y`", labels.len(), y.len());
        problems.push(section.problem("labels", message));
    }
    section.finish(problems);
    let query = query?;
    Some(Chart {
        kind,
        query,
        title,
        caption,
        x,
        y,
        labels,
        low,
        high,
        x_title,
        y_title,
        format,
        x_format,
        tiles,
        line,
    })
}

fn value_format(section: &mut Section<'_>, key: &str, problems: &mut Vec<Problem>) -> ValueFormat {
    let Some(mut table) = section.optional_table(key, problems) else {
        return ValueFormat::default();
    };
    let decimals = table.optional_whole("decimals", 0..=10, problems);
    let percent = table.optional_bool("percent", problems).unwrap_or(false);
    let unit = table.optional_string("unit", problems);
    table.finish(problems);
    ValueFormat { decimals, percent, unit }
}

fn check_references(page: &Page, problems: &mut Vec<Problem>) {
    for block in &page.blocks {
        let Block::Chart(chart) = block else { continue };
        if !page.queries.iter().any(|query| query.name == chart.query) {
            let message =
                format!("the chart draws `{}`, which is no query of this page", chart.query);
            let hint =
                did_you_mean(&chart.query, page.queries.iter().map(|query| query.name.as_str()));
            problems.push(Problem::new(&page.file, chart.line, message).hint(hint));
        }
    }
}
