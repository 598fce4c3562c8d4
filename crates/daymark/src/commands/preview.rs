//! `daymark preview`: the first look at a source, of which nothing is stored.
//!
//! In: a source, perhaps a day, an entity, a page. Out: what was asked, what came, what would become of
//! it, as text or JSON; exit code 1 when it would be refused. Deliberately absent: the looking, which is
//! ingest's.

use std::fmt::Write as _;
use std::process::ExitCode;

use daymark_extract::{Sample, Shape, ShapePath, ValueType};
use daymark_ingest::{
    CursorMove, Expectation, FetchOrder, Ingest, Met, NextPage, Preview, PreviewOrder, RawStore,
    Reach,
};
use daymark_plan::{Clock, Source};
use jiff::civil::Date;
use serde_json::json;
use uuid::Uuid;

use crate::cli;
use crate::commands;
use crate::failure::Failure;
use crate::output;
use crate::run::dates;
use crate::schedule;

/// Why writing to a string cannot fail.
const TAKES_ALL: &str = "a string takes everything";

/// How many paths of a shape people are shown; the JSON has all.
const PATHS: usize = 60;

/// How many rejects people are shown.
const REJECTS: usize = 10;

/// A table of rows wider than this is shown row by row.
const WIDTH: usize = 110;

/// Shows what a source answers.
pub(crate) async fn preview(arguments: &cli::Preview) -> Result<ExitCode, Failure> {
    let plan = commands::load(&arguments.folder)?;
    let source = commands::source(&plan, &arguments.source)?;
    let named = arguments.entity.as_deref();
    let entity = named.map(|name| commands::entity(source, name)).transpose()?;
    let clock = Clock::System;
    let zone = &plan.settings.zone;
    let due = schedule::data_date(source.data_date, &source.calendar, zone, clock.now());
    let data_date = arguments.date.unwrap_or(due);
    dates::is_past_or_today(&plan, data_date, &clock)?;
    let reach = if data_date == due { Reach::Forward } else { Reach::ByDay };
    let fetch = FetchOrder { data_date, scheduled_at: None, run_id: Uuid::now_v7(), reach };
    let rows = usize::from(arguments.rows);
    let order = PreviewOrder { fetch, page: arguments.page, rows };
    let store = RawStore::open_to_read(&plan.settings.raw)?;
    let ingest = Ingest::of(store, clock, &plan);
    let preview = ingest.preview(source, entity.as_ref(), &order).await?;
    let as_of_now = data_date != due && !source.answers_for_any_date();
    if arguments.json {
        output::json(&json!({
            "source": source.id,
            "data_date": data_date,
            "as_of_now": as_of_now,
            "accepted": preview.is_accepted(),
            "preview": preview,
        }))?;
    } else {
        let page = arguments.page;
        let words = Words { source, data_date, due, as_of_now, page, preview: &preview };
        output::to_stdout(&words.text())?;
    }
    Ok(if preview.is_accepted() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A preview and what it is of, to be told.
struct Words<'w> {
    source: &'w Source,
    data_date: Date,
    due: Date,
    as_of_now: bool,
    page: u32,
    preview: &'w Preview,
}

impl Words<'_> {
    fn text(&self) -> String {
        let preview = self.preview;
        let mut text = self.asked();
        text.push_str(&self.answered());
        if let Some(start) = &preview.starts_with {
            text.push_str("\nbody starts with\n");
            text.push_str(&output::indented(start));
        }
        if let Some(shape) = &preview.shape {
            text.push_str("\nshape\n");
            text.push_str(&output::indented(&shape_text(shape)));
        }
        text.push_str("\nexpectations\n");
        text.push_str(&output::indented(&expectations(&preview.expectations)));
        text.push_str(&self.rows());
        text.push('\n');
        text.push_str(&next_text(&preview.next));
        if let Some(cursor) = &preview.cursor {
            text.push_str(&cursor_text(cursor));
        }
        text.push_str(&self.verdict());
        text
    }

    /// The request.
    fn asked(&self) -> String {
        let (source, preview) = (self.source, self.preview);
        let request = &preview.request;
        let mut text = format!("{}: {} {}\n", source.id, request.method, request.url);
        let names = request.headers.keys().map(String::len);
        let width = names.max().unwrap_or(0).max(16);
        let mut say = |name: &str, value: &str| {
            writeln!(text, "  {name:<width$} {value}").expect(TAKES_ALL);
        };
        let due = if self.data_date == self.due { " (due now)" } else { "" };
        say("data date", &format!("{}{due}", self.data_date));
        if let Some(entity) = &preview.entity {
            let others = source.entities.rows.len() - 1;
            let others = if others == 0 { String::new() } else { format!(" (and {others} more)") };
            say("entity", &format!("{entity}{others}"));
        }
        if source.pagination.is_some() {
            say("page", &preview.page.to_string());
        }
        for (name, value) in &request.headers {
            say(name, value);
        }
        if let Some(body) = &request.body {
            say("body", &output::cut(body, 400));
        }
        if self.as_of_now {
            text.push_str(
                "  note: the request names no day, so the answer is as of now, whatever the data date\n",
            );
        }
        text
    }

    /// Status, time, size, headers.
    fn answered(&self) -> String {
        let preview = self.preview;
        let mut text = String::from("\n");
        let timing = preview.timing;
        let took = match timing.first_byte_ms {
            Some(first) => {
                format!("first byte after {first:.1} ms, all after {:.1} ms", timing.total_ms)
            }
            None => format!("{:.1} ms", timing.total_ms),
        };
        match preview.status {
            Some(status) => {
                let size = match preview.bytes {
                    Some(bytes) => output::bytes(bytes),
                    None => "no whole body".to_owned(),
                };
                writeln!(text, "HTTP {status}, {size}, {took}").expect(TAKES_ALL);
            }
            None => writeln!(text, "no answer, {took}").expect(TAKES_ALL),
        }
        let width = preview.headers.keys().map(String::len).max().unwrap_or(0).max(16);
        for (name, value) in &preview.headers {
            writeln!(text, "  {name:<width$} {}", output::cut(value, 200)).expect(TAKES_ALL);
        }
        if let Some(encoding) = &preview.encoding {
            writeln!(text, "  {:<width$} converted from {encoding}", "encoding").expect(TAKES_ALL);
        }
        text
    }

    /// The rows: how many, the first of them, and those set aside.
    fn rows(&self) -> String {
        let mut text = String::from("\nrows\n");
        let Some(rows) = &self.preview.rows else {
            match (&self.preview.rows_error, &self.preview.sample) {
                (Some(error), _) => writeln!(text, "  none: {error}").expect(TAKES_ALL),
                (None, None) => text.push_str("  none: there is no body\n"),
                (None, Some(sample)) if sample.rows.is_empty() => text.push_str("  none\n"),
                // They can be had, though the answer is refused before they are looked at.
                (None, Some(_)) => text.push_str("  the first of them, were it not refused\n"),
            }
            text.push_str(&self.sample());
            return text;
        };
        let extracted = output::counted(rows.extracted, "row");
        writeln!(text, "  {extracted} extracted, {} set aside", rows.rejected).expect(TAKES_ALL);
        text.push_str(&self.sample());
        if rows.rejected > 0 {
            text.push_str("\nset aside\n");
            let told = rows.rejects.iter().take(REJECTS);
            for reject in told {
                writeln!(text, "  {}", output::cut(&reject.to_string(), 300)).expect(TAKES_ALL);
            }
            let shown = rows.rejects.len().min(REJECTS) as u64;
            if rows.rejected > shown {
                writeln!(text, "  ... and {} more", rows.rejected - shown).expect(TAKES_ALL);
            }
        }
        text
    }

    fn sample(&self) -> String {
        match &self.preview.sample {
            Some(sample) if !sample.rows.is_empty() => {
                format!("\n{}", output::indented(&sample_text(sample)))
            }
            _ => String::new(),
        }
    }

    fn verdict(&self) -> String {
        let preview = self.preview;
        if let Some(refusal) = &preview.refusal {
            let kind = serde_json::to_value(refusal.kind).unwrap_or_default();
            let kind = kind.as_str().unwrap_or("refused").to_owned();
            let more = if refusal.kind == daymark_ingest::ErrorKind::Refused {
                String::new()
            } else {
                format!(" ({kind})")
            };
            return format!("\nWOULD BE REFUSED{more}: {}\n", refusal.reason);
        }
        let mut text = String::from("\n");
        if preview.page < self.page {
            let (last, wanted) = (preview.page, self.page);
            writeln!(text, "there is no page {wanted}: page {last} is the last").expect(TAKES_ALL);
        }
        let one = match preview.next {
            NextPage::Page { .. } => ", as far as this page tells",
            _ => "",
        };
        let id = &self.source.id;
        writeln!(
            text,
            "would be accepted{one}; nothing was stored (`daymark fetch {id}` stores it)"
        )
        .expect(TAKES_ALL);
        text
    }
}

fn shape_text(shape: &Shape) -> String {
    // Containers tell nothing that their contents do not, unless they are empty or uneven.
    let is_told = |path: &&ShapePath| {
        let containers = [ValueType::Array, ValueType::Object];
        let plain = path.types.keys().any(|value_type| !containers.contains(value_type));
        let uneven = path.lengths.is_some_and(|(shortest, longest)| shortest != longest);
        let empty = path.lengths.is_some_and(|(_, longest)| longest == 0);
        let mixed = path.types.len() > 1;
        plain || uneven || empty || mixed || path.first_name.is_some()
    };
    let told: Vec<&ShapePath> = shape.paths.iter().filter(is_told).collect();
    let rows: Vec<Vec<String>> = told
        .iter()
        .take(PATHS)
        .map(|path| {
            let example = match (&path.example, &path.first_name) {
                (Some(example), _) => output::cut(example, 50),
                (None, Some(name)) => format!("keyed by data, such as `{}`", output::cut(name, 30)),
                (None, None) => String::new(),
            };
            vec![output::cut(&path.path, 90), types_text(path), example]
        })
        .collect();
    let mut text = output::table(&["path", "type", "example"], &rows, &[]);
    if told.len() > PATHS {
        let more = told.len() - PATHS;
        writeln!(text, "... and {more} more paths; --json has them").expect(TAKES_ALL);
    }
    if shape.cut {
        text.push_str("... and more paths than are followed\n");
    }
    text
}

fn types_text(path: &ShapePath) -> String {
    let all: u64 = path.types.values().sum();
    let types: Vec<String> = path
        .types
        .iter()
        .map(|(value_type, count)| {
            let word = match (value_type, path.reads_like) {
                (ValueType::Number | ValueType::String, Some(like)) => {
                    format!("{} ({})", value_type.as_str(), like.as_str())
                }
                (ValueType::Array, _) => match path.lengths {
                    Some((shortest, longest)) if shortest == longest => {
                        format!("array of {longest}")
                    }
                    Some((shortest, longest)) => format!("array of {shortest} to {longest}"),
                    None => "array".to_owned(),
                },
                _ => value_type.as_str().to_owned(),
            };
            if all == 1 { word } else { format!("{count} x {word}") }
        })
        .collect();
    types.join(", ")
}

fn expectations(all: &[Expectation]) -> String {
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|expectation| {
            let verdict = match expectation.verdict {
                Met::Yes => "ok",
                Met::No => "FAIL",
                Met::Open => "?",
            };
            vec![
                verdict.to_owned(),
                format!("{} {}", expectation.rule, expectation.of),
                output::cut(&expectation.found, 80),
            ]
        })
        .collect();
    output::table(&["", "expected", "found"], &rows, &[])
}

/// Rows as a table, or one under the other when the table would be too wide to read.
fn sample_text(sample: &Sample) -> String {
    let cell =
        |value: &Option<String>| value.as_deref().map_or(String::new(), |v| output::cut(v, 40));
    let header: Vec<String> = sample
        .columns
        .iter()
        .map(|column| format!("{}\n{}", column.name, column.postgres))
        .collect();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let rows: Vec<Vec<String>> =
        sample.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
    let numbers = sample.columns.iter().enumerate().filter(|(_, column)| column.is_number);
    let numbers: Vec<usize> = numbers.map(|(index, _)| index).collect();
    let table = output::table(&header, &rows, &numbers);
    if table.lines().all(|line| line.chars().count() <= WIDTH) {
        return table;
    }
    let names = sample.columns.iter().map(|column| column.name.chars().count());
    let width = names.max().unwrap_or(0);
    let mut text = String::new();
    for (number, row) in sample.rows.iter().enumerate() {
        writeln!(text, "row {number}").expect(TAKES_ALL);
        for (column, value) in sample.columns.iter().zip(row) {
            let value = value.as_deref().map_or("null".to_owned(), |v| output::cut(v, 80));
            let (name, postgres) = (&column.name, column.postgres);
            writeln!(text, "  {name:<width$}  {postgres:<16}  {value}").expect(TAKES_ALL);
        }
    }
    text
}

fn next_text(next: &NextPage) -> String {
    match next {
        NextPage::NoPages => "next page: none; the source has no `[pagination]`\n".to_owned(),
        NextPage::Last => "next page: none; this is the last\n".to_owned(),
        NextPage::Page { number, request } => {
            let mut text = format!("next page: {number}, {} {}\n", request.method, request.url);
            if let Some(body) = &request.body {
                writeln!(text, "  body {}", output::cut(body, 400)).expect(TAKES_ALL);
            }
            text
        }
        NextPage::Unknown => "next page: unknown, for this one would be refused\n".to_owned(),
    }
}

fn cursor_text(cursor: &CursorMove) -> String {
    let CursorMove { before, set, found, after } = cursor;
    let Some(before) = before else {
        return "cursor: stays where it is; only the data date is asked for\n".to_owned();
    };
    let whose = match set {
        None => " (`initial` of the source's file)".to_owned(),
        Some(set) => match &set.set_by_hand {
            Some(why) => format!(" (set by hand: {why})"),
            None => String::new(),
        },
    };
    match (found, after) {
        (None, _) => format!("cursor: {before}{whose}; none in this answer\n"),
        (Some(_), Some(after)) if after != before => {
            format!("cursor: {before}{whose} -> {after}\n")
        }
        (Some(found), _) => {
            format!("cursor: {before}{whose}, and stays there; the furthest here is {found}\n")
        }
    }
}
