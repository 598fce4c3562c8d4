//! A calendar that is a file of dates.
//!
//! In: a `.toml` or `.txt` file of the pipeline folder. Out: a [`DayList`]: the days that are closed or open
//! whatever the calendar below it says. Deliberately absent: what a calendar means for a day (`calendar`).
//!
//! A `.txt` file is the days that have data, one on a line, `#` before remarks: days of release, say. A `.toml`
//! file can stand on another calendar, so that an unscheduled closing of an exchange is one line.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::civil::Date;

use crate::problem::Problem;
use crate::schedule::Calendar;
use crate::section::{Section, Text};

/// A file of dates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayList {
    /// The file, relative to the pipeline folder.
    pub file: String,
    /// The SHA-256 of the file.
    pub file_sha256: String,
    /// What other days are; none: they have no data, from the first day of the list to its last.
    pub base: Option<Calendar>,
    /// Days without data.
    pub closed: BTreeSet<Date>,
    /// Days with data.
    pub open: BTreeSet<Date>,
}

/// Whether the word of a source's `calendar` names a file.
pub(crate) fn is_file(word: &str) -> bool {
    let extension = Path::new(word).extension();
    extension.is_some_and(|extension| extension == "toml" || extension == "txt")
        || word.contains('/')
}

/// Reads a calendar's file.
pub(crate) fn read(file: &str, text: &str, problems: &mut Vec<Problem>) -> Option<DayList> {
    let known = problems.len();
    let is_toml = Path::new(file).extension().is_some_and(|extension| extension == "toml");
    let (base, closed, open) =
        if is_toml { of_toml(file, text, problems)? } else { of_lines(file, text, problems) };
    if base.is_none() && open.is_empty() && problems.len() == known {
        let problem = Problem::new(file, 0, "the calendar has no day");
        problems.push(problem.hint("give days with data, or `base` and what differs from it"));
    }
    let file_sha256 = crate::digest::sha256_hex(text.as_bytes());
    let list = DayList { file: file.to_owned(), file_sha256, base, closed, open };
    (problems.len() == known).then_some(list)
}

type Days = (Option<Calendar>, BTreeSet<Date>, BTreeSet<Date>);

fn of_toml(file: &str, text: &str, problems: &mut Vec<Problem>) -> Option<Days> {
    let text = Text { file, text, first_line: 1 };
    let table = text.parse(problems)?;
    let mut section = Section::top(text, &table);
    let base = section.optional_string("base", problems).and_then(|word| {
        let base = Calendar::parse(&word);
        if let Err(hint) = &base {
            let problem = section.problem("base", format!("`base` is `{word}`"));
            problems.push(problem.hint(hint.clone()));
        }
        base.ok()
    });
    let closed = dates(&mut section, "closed", problems);
    let open = dates(&mut section, "open", problems);
    if let Some(both) = closed.intersection(&open).next() {
        problems.push(section.problem("open", format!("{both} is both `open` and `closed`")));
    }
    if !section.has("base") && !closed.is_empty() {
        let problem = section.problem("closed", "`closed` stands without `base`");
        problems.push(problem.hint("add `base = \"nyse\"`, `\"weekdays\"` or `\"daily\"`"));
    }
    section.finish(problems);
    Some((base, closed, open))
}

/// The dates of a list: texts, or TOML's own dates.
fn dates(section: &mut Section<'_>, key: &str, problems: &mut Vec<Problem>) -> BTreeSet<Date> {
    let mut found = BTreeSet::new();
    for (word, line) in section.optional_dates(key, problems) {
        match word.parse::<Date>() {
            Ok(date) => {
                if !found.insert(date) {
                    problems.push(Problem::new(
                        section.file(),
                        line,
                        format!("`{key}` has {date} twice"),
                    ));
                }
            }
            Err(_) => problems.push(
                Problem::new(section.file(), line, format!("`{key}` has `{word}`"))
                    .hint("accepted: dates YYYY-MM-DD"),
            ),
        }
    }
    found
}

fn of_lines(file: &str, text: &str, problems: &mut Vec<Problem>) -> Days {
    let mut open = BTreeSet::new();
    for (index, line) in text.lines().enumerate() {
        let word = line.split('#').next().unwrap_or_default().trim();
        if word.is_empty() {
            continue;
        }
        let problem = |message: String| Problem::new(file, index + 1, message);
        match word.parse::<Date>() {
            Ok(date) if open.insert(date) => {}
            Ok(date) => problems.push(problem(format!("{date} stands here twice"))),
            Err(_) => problems.push(
                problem(format!("`{word}` is no date"))
                    .hint("one date YYYY-MM-DD on a line; `#` starts a remark"),
            ),
        }
    }
    (None, BTreeSet::new(), open)
}
