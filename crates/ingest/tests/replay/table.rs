//! `outcomes.txt`: what is replayed and what is to come of it.
//!
//! In: the file. Out: its lines; the differences between what it says and what was found. Deliberately
//! absent: replaying.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

/// The recorded responses, beside the repository.
pub(crate) const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/fixtures");

const FILE: &str = include_str!("outcomes.txt");

/// The columns of the table; the first three say what is done, the others what comes of it.
const COLUMNS: [&str; 11] = [
    "responses",
    "source",
    "served",
    "fetches",
    "outcome",
    "kind",
    "then",
    "requests",
    "rows",
    "rejected",
    "says",
];

/// A part of a line has at most so many files, so that parts can be worked on at once.
const PART: usize = 120;

/// A line of the table.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) number: usize,
    /// A file, several with ` + ` between them, or many by a name with `*`. `=name` is a literal, `#2` the
    /// second exchange of a recording.
    pub(crate) responses: String,
    /// The source that asks; `@` names one entity of it.
    pub(crate) source: String,
    /// How they are served (see `served.rs`).
    pub(crate) served: String,
    expected: Vec<String>,
    /// Of a part of a line: its files.
    only: Option<Vec<Vec<String>>>,
}

/// What came of one fetch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    pub(crate) outcome: String,
    pub(crate) kind: String,
    pub(crate) then: String,
    pub(crate) requests: u64,
    pub(crate) rows: u64,
    pub(crate) rejected: u64,
    pub(crate) says: String,
}

/// The lines of the table, in order.
pub(crate) fn lines() -> Vec<Line> {
    let table = FILE.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    let mut lines = table.filter(|(_, line)| !line.is_empty() && !line.starts_with("//"));
    let (_, head) = lines.next().expect("the table has a head");
    assert_eq!(cells(head), COLUMNS);
    lines
        .map(|(number, line)| {
            let cells = cells(line);
            let cell = |at: usize| cells[at].to_owned();
            Line {
                number,
                responses: cell(0),
                source: cell(1),
                served: cell(2),
                expected: cells[3..].iter().map(|&cell| cell.to_owned()).collect(),
                only: None,
            }
        })
        .collect()
}

fn cells(line: &str) -> Vec<&str> {
    line.splitn(COLUMNS.len(), '|').map(str::trim).collect()
}

impl Line {
    /// What is asked for, each with its files in the order they are served in.
    pub(crate) fn files(&self) -> Vec<Vec<String>> {
        if let Some(only) = &self.only {
            return only.clone();
        }
        match self.responses.split_once('*') {
            Some((start, end)) => fixtures()
                .into_iter()
                .filter(|file| file.starts_with(start) && file.ends_with(end))
                .map(|file| vec![file])
                .collect(),
            None => vec![self.responses.split(" + ").map(str::to_owned).collect()],
        }
    }

    /// The line in parts of a size.
    pub(crate) fn parts(&self) -> Vec<Self> {
        let files = self.files();
        files.chunks(PART).map(|some| Self { only: Some(some.to_vec()), ..self.clone() }).collect()
    }
}

/// Every file of the recorded responses, in order.
pub(crate) fn fixtures() -> Vec<String> {
    fn below(folder: &Path, files: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                below(&path, files);
            } else {
                files.push(path.strip_prefix(FIXTURES).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    let mut files = Vec::new();
    below(Path::new(FIXTURES), &mut files);
    files.sort();
    files
}

/// Compares what was found with what the table says.
pub(crate) fn compare(lines: &[Line], found: Vec<(usize, Vec<Found>)>) {
    let mut by_line: BTreeMap<usize, Vec<Found>> = BTreeMap::new();
    for (number, part) in found {
        by_line.entry(number).or_default().extend(part);
    }
    let mut differing = String::new();
    let mut now = Vec::new();
    for line in lines {
        let cells = summed(&by_line[&line.number]);
        if cells != line.expected {
            writeln!(differing, "line {}: {} | {}", line.number, line.responses, line.source)
                .unwrap();
            for ((column, expected), found) in COLUMNS[3..].iter().zip(&line.expected).zip(&cells) {
                if expected != found {
                    writeln!(differing, "    {column}: `{expected}` expected, `{found}` found")
                        .unwrap();
                }
            }
        }
        now.push((line.number, cells));
    }
    if differing.is_empty() {
        return;
    }
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("outcomes.txt");
    std::fs::write(&file, written(lines, &now)).unwrap();
    panic!("{differing}the table as it is now: {}", file.display());
}

/// The fetches of a line as its cells: sums, and each different word once.
fn summed(found: &[Found]) -> Vec<String> {
    let words = |of: fn(&Found) -> &String| {
        let words: BTreeSet<&str> = found.iter().map(|found| of(found).as_str()).collect();
        words.into_iter().collect::<Vec<_>>().join(", ")
    };
    let sum = |of: fn(&Found) -> u64| found.iter().map(of).sum::<u64>().to_string();
    vec![
        found.len().to_string(),
        words(|found| &found.outcome),
        words(|found| &found.kind),
        words(|found| &found.then),
        sum(|found| found.requests),
        sum(|found| found.rows),
        sum(|found| found.rejected),
        found.first().map(|found| found.says.clone()).unwrap_or_default(),
    ]
}

/// The table with other outcomes, its columns aligned, its remarks where they were.
fn written(lines: &[Line], now: &[(usize, Vec<String>)]) -> String {
    let rows: BTreeMap<usize, Vec<String>> = lines
        .iter()
        .zip(now)
        .map(|(line, (number, cells))| {
            let head = [&line.responses, &line.source, &line.served].map(String::clone);
            (*number, head.into_iter().chain(cells.iter().cloned()).collect())
        })
        .collect();
    let head: Vec<String> = COLUMNS.map(str::to_owned).to_vec();
    let width = |at: usize| {
        let cells = rows.values().chain([&head]).map(|row| row[at].chars().count());
        // A long list of files must not push all others aside.
        cells.filter(|width| *width <= 64).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..COLUMNS.len() - 1).map(width).collect();
    let aligned = |row: &[String]| {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            write!(line, "{cell:width$} | ").unwrap();
        }
        line + row.last().unwrap()
    };
    let mut text = String::new();
    for (at, line) in FILE.lines().enumerate() {
        match rows.get(&(at + 1)) {
            Some(row) => writeln!(text, "{}", aligned(row)).unwrap(),
            None if line.starts_with("responses") => writeln!(text, "{}", aligned(&head)).unwrap(),
            None => writeln!(text, "{line}").unwrap(),
        }
    }
    text
}
