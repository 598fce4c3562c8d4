//! Reading a TOML table key by key, with the line of everything that is wrong.
//!
//! In: one table of a file. Out: typed values; what is missing, of another type or unknown becomes a
//! [`Problem`] and reading goes on. Built on the spans of the `toml` crate rather than on serde,
//! because serde stops at the first error and an unknown key must be reported beside all others.
//! Deliberately absent: what the keys mean.

use jiff::civil::Date;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::{Problem, did_you_mean};

/// A file's text and the place of its lines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'t> {
    /// The file, relative to the pipeline folder.
    pub(crate) file: &'t str,
    /// What stands in it (or in the part of it that is TOML).
    pub(crate) text: &'t str,
    /// The line of the file at which `text` starts, counted from 1.
    pub(crate) first_line: usize,
}

impl<'t> Text<'t> {
    /// The line of the file that holds byte `offset` of the text.
    pub(crate) fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().iter().take(offset);
        self.first_line + before.filter(|byte| **byte == b'\n').count()
    }

    /// Parses the text as TOML; every syntax error becomes a problem.
    pub(crate) fn parse(&self, problems: &mut Vec<Problem>) -> Option<Spanned<DeTable<'t>>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        if errors.is_empty() {
            return Some(table);
        }
        for error in errors {
            let line = error.span().map_or(self.first_line, |span| self.line(span.start));
            let message = format!("this is not valid TOML: {}", error.message().trim());
            problems.push(Problem::new(self.file, line, message.replace('\n', "; ")));
        }
        None
    }
}

/// One table being read.
#[derive(Debug)]
pub(crate) struct Section<'t> {
    text: Text<'t>,
    table: &'t DeTable<'t>,
    offset: usize,
    path: String,
    known: Vec<String>,
}

impl<'t> Section<'t> {
    /// The top of a file.
    pub(crate) fn top(text: Text<'t>, table: &'t Spanned<DeTable<'t>>) -> Self {
        Self { text, table: table.get_ref(), offset: 0, path: String::new(), known: Vec::new() }
    }

    /// The file the table stands in, relative to the pipeline folder.
    pub(crate) fn file(&self) -> &'t str {
        self.text.file
    }

    /// The keys of the table in the order of the file.
    pub(crate) fn keys(&self) -> Vec<String> {
        let mut keys: Vec<_> = self
            .table
            .iter()
            .map(|(key, _)| (key.span().start, key.get_ref().to_string()))
            .collect();
        keys.sort();
        keys.into_iter().map(|(_, key)| key).collect()
    }

    /// Whether the key is there.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// A problem at the value of `key`, or at the table when the key is not there.
    pub(crate) fn problem(&self, key: &str, message: impl Into<String>) -> Problem {
        let offset = self.table.get(key).map_or(self.offset, |value| value.span().start);
        Problem::new(self.text.file, self.text.line(offset), message)
    }

    /// A problem at the table itself.
    pub(crate) fn problem_here(&self, message: impl Into<String>) -> Problem {
        Problem::new(self.text.file, self.text.line(self.offset), message)
    }

    /// The line of a key's value.
    pub(crate) fn line_of(&self, key: &str) -> usize {
        let offset = self.table.get(key).map_or(self.offset, |value| value.span().start);
        self.text.line(offset)
    }

    /// The line the table itself starts on.
    pub(crate) fn line_here(&self) -> usize {
        self.text.line(self.offset)
    }

    /// The line the text of a string starts on: a newline right behind `"""` is not part of it.
    pub(crate) fn text_line_of(&self, key: &str) -> usize {
        let offset = self.table.get(key).map_or(self.offset, |value| value.span().start);
        let written = self.text.text.get(offset..).unwrap_or_default();
        let opened = written.strip_prefix("\"\"\"").or_else(|| written.strip_prefix("'''"));
        let next = opened.is_some_and(|text| text.starts_with('\n') || text.starts_with("\r\n"));
        self.text.line(offset) + usize::from(next)
    }

    fn full(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn get(&mut self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        if !self.known.iter().any(|known| known == key) {
            self.known.push(key.to_owned());
        }
        self.table.get(key)
    }

    fn wrong_type(&self, key: &str, accepted: &str, found: &DeValue<'_>) -> Problem {
        let message = format!("`{}` is {}", self.full(key), article(found.type_str()));
        self.problem(key, message).hint(format!("accepted: {accepted}"))
    }

    fn missing(&self, key: &str) -> Problem {
        self.problem_here(format!("`{}` is missing", self.full(key)))
    }

    /// A string that may be absent.
    pub(crate) fn optional_string(
        &mut self,
        key: &str,
        problems: &mut Vec<Problem>,
    ) -> Option<String> {
        let value = self.get(key)?.get_ref();
        if value.as_str().is_none() {
            problems.push(self.wrong_type(key, "a string", value));
        }
        value.as_str().map(str::to_owned)
    }

    /// A date, in quotes or as TOML has it without.
    pub(crate) fn optional_date(&mut self, key: &str, problems: &mut Vec<Problem>) -> Option<Date> {
        let word = match self.get(key)?.get_ref() {
            DeValue::Datetime(date) => date.to_string(),
            DeValue::String(word) => word.to_string(),
            other => {
                problems.push(self.wrong_type(key, "a date YYYY-MM-DD", other));
                return None;
            }
        };
        // A time behind it would be taken off in silence.
        let date = word.parse::<Date>().ok().filter(|date| date.to_string() == word);
        if date.is_none() {
            let problem = self.problem(key, format!("`{key}` is `{word}`"));
            problems.push(problem.hint("accepted: a date YYYY-MM-DD"));
        }
        date
    }

    /// A string that must be there.
    pub(crate) fn required_string(
        &mut self,
        key: &str,
        problems: &mut Vec<Problem>,
    ) -> Option<String> {
        if !self.has(key) {
            self.known.push(key.to_owned());
            problems.push(self.missing(key));
            return None;
        }
        self.optional_string(key, problems)
    }

    /// A value of any type, which may be absent.
    pub(crate) fn optional_value(&mut self, key: &str) -> Option<&'t DeValue<'t>> {
        Some(self.get(key)?.get_ref())
    }

    /// `true` or `false`, which may be absent.
    pub(crate) fn optional_bool(&mut self, key: &str, problems: &mut Vec<Problem>) -> Option<bool> {
        let value = self.get(key)?.get_ref();
        if value.as_bool().is_none() {
            problems.push(self.wrong_type(key, "`true` or `false`", value));
        }
        value.as_bool()
    }

    /// A number, whole or not, within bounds; may be absent.
    pub(crate) fn optional_number(
        &mut self,
        key: &str,
        accepted: std::ops::RangeInclusive<f64>,
        problems: &mut Vec<Problem>,
    ) -> Option<f64> {
        let value = self.get(key)?.get_ref();
        let number: Option<f64> = match value {
            DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str().parse().ok(),
            DeValue::Float(float) => float.as_str().parse().ok(),
            _ => None,
        };
        let words = format!("a number from {} to {}", accepted.start(), accepted.end());
        match number {
            Some(number) if accepted.contains(&number) => Some(number),
            Some(number) => {
                let message = format!("`{}` is {number}", self.full(key));
                problems.push(self.problem(key, message).hint(format!("accepted: {words}")));
                None
            }
            None => {
                problems.push(self.wrong_type(key, &words, value));
                None
            }
        }
    }

    /// A whole number within bounds; may be absent.
    pub(crate) fn optional_whole(
        &mut self,
        key: &str,
        accepted: std::ops::RangeInclusive<u32>,
        problems: &mut Vec<Problem>,
    ) -> Option<u32> {
        let value = self.get(key)?.get_ref();
        let number = match value {
            DeValue::Integer(integer) => {
                u32::from_str_radix(integer.as_str(), integer.radix()).ok()
            }
            _ => None,
        };
        let number = number.filter(|number| accepted.contains(number));
        if number.is_none() {
            let words = format!("a whole number from {} to {}", accepted.start(), accepted.end());
            problems.push(match value {
                DeValue::Integer(integer) => {
                    let message = format!("`{}` is {}", self.full(key), integer.as_str());
                    self.problem(key, message).hint(format!("accepted: {words}"))
                }
                other => self.wrong_type(key, &words, other),
            });
        }
        number
    }

    /// One string or a list of strings, not empty; may be absent.
    pub(crate) fn optional_strings(
        &mut self,
        key: &str,
        problems: &mut Vec<Problem>,
    ) -> Option<Vec<String>> {
        let value = self.get(key)?.get_ref();
        let words = "a string or a list of strings";
        match value {
            DeValue::String(text) => Some(vec![text.to_string()]),
            DeValue::Array(items) => {
                let mut strings = Vec::new();
                for item in items {
                    match item.get_ref().as_str() {
                        Some(text) => strings.push(text.to_owned()),
                        None => problems.push(self.wrong_type(key, words, item.get_ref())),
                    }
                }
                Some(strings)
            }
            other => {
                problems.push(self.wrong_type(key, words, other));
                None
            }
        }
    }

    /// One string or a list of strings, at least one.
    pub(crate) fn required_strings(
        &mut self,
        key: &str,
        problems: &mut Vec<Problem>,
    ) -> Option<Vec<String>> {
        if !self.has(key) {
            self.known.push(key.to_owned());
            problems.push(self.missing(key));
            return None;
        }
        let strings = self.optional_strings(key, problems)?;
        if strings.is_empty() {
            problems.push(self.problem(key, format!("`{}` is empty", self.full(key))));
            return None;
        }
        Some(strings)
    }

    /// The texts of a list of dates, which TOML can also write without quotes, each with its line; may be absent.
    pub(crate) fn optional_dates(
        &mut self,
        key: &str,
        problems: &mut Vec<Problem>,
    ) -> Vec<(String, usize)> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let words = "a list of dates, such as [\"2027-01-04\"]";
        let Some(items) = value.get_ref().as_array() else {
            problems.push(self.wrong_type(key, words, value.get_ref()));
            return Vec::new();
        };
        let mut dates = Vec::new();
        for item in items {
            let line = self.text.line(item.span().start);
            match item.get_ref() {
                DeValue::String(text) => dates.push((text.to_string(), line)),
                DeValue::Datetime(date) => dates.push((date.to_string(), line)),
                other => problems.push(self.wrong_type(key, words, other)),
            }
        }
        dates
    }

    /// The values of a table of strings, numbers and booleans, as text, in file order.
    pub(crate) fn optional_texts(
        &mut self,
        key: &str,
        problems: &mut Vec<Problem>,
    ) -> Vec<(String, String)> {
        let Some(mut table) = self.optional_table(key, problems) else {
            return Vec::new();
        };
        let mut texts = Vec::new();
        for name in table.keys() {
            let Some(value) = table.get(&name) else { continue };
            let text = match value.get_ref() {
                DeValue::String(text) => text.to_string(),
                DeValue::Integer(integer) => integer.as_str().to_owned(),
                DeValue::Float(float) => float.as_str().to_owned(),
                DeValue::Boolean(boolean) => boolean.to_string(),
                other => {
                    problems.push(table.wrong_type(
                        &name,
                        "a string, a number or a boolean",
                        other,
                    ));
                    continue;
                }
            };
            texts.push((name, text));
        }
        texts
    }

    fn enter(
        &self,
        key: &str,
        value: &'t Spanned<DeValue<'t>>,
        index: Option<usize>,
    ) -> Option<Self> {
        let name = match index {
            Some(index) => format!("{}[{index}]", self.full(key)),
            None => self.full(key),
        };
        let table = value.get_ref().as_table()?;
        Some(Self {
            text: self.text,
            table,
            offset: value.span().start,
            path: name,
            known: Vec::new(),
        })
    }

    /// A table that may be absent.
    pub(crate) fn optional_table(
        &mut self,
        key: &str,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        let value = self.get(key)?;
        let section = self.enter(key, value, None);
        if section.is_none() {
            problems.push(self.wrong_type(key, "a table", value.get_ref()));
        }
        section
    }

    /// A table that must be there.
    pub(crate) fn required_table(
        &mut self,
        key: &str,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        if !self.has(key) {
            self.known.push(key.to_owned());
            problems.push(self.missing(key));
            return None;
        }
        self.optional_table(key, problems)
    }

    /// A list of tables (`[[key]]`); empty when absent.
    pub(crate) fn tables(&mut self, key: &str, problems: &mut Vec<Problem>) -> Vec<Self> {
        let Some(value) = self.get(key) else {
            return Vec::new();
        };
        let Some(items) = value.get_ref().as_array() else {
            problems.push(self.wrong_type(key, &format!("tables `[[{key}]]`"), value.get_ref()));
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match self.enter(key, item, Some(index)) {
                Some(section) => sections.push(section),
                None => problems.push(self.wrong_type(key, "tables", item.get_ref())),
            }
        }
        sections
    }

    /// Reports every key that no call above asked for.
    pub(crate) fn finish(self, problems: &mut Vec<Problem>) {
        for (key, _) in self.table {
            if !self.known.iter().any(|known| known == key.get_ref().as_ref()) {
                let line = self.text.line(key.span().start);
                let message = format!("unknown key `{}`", self.full(key.get_ref()));
                let hint = did_you_mean(key.get_ref(), self.known.iter().map(String::as_str));
                problems.push(Problem::new(self.text.file, line, message).hint(hint));
            }
        }
    }
}

/// One of a closed set of words; `default` when the key is absent, a problem when there is none.
pub(crate) fn choose<T: Copy>(
    section: &mut Section<'_>,
    key: &str,
    accepted: &[(&str, T)],
    default: Option<T>,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    if !section.has(key) && default.is_some() {
        section.known.push(key.to_owned());
        return default;
    }
    let found = section.required_string(key, problems)?;
    let chosen = accepted.iter().find(|(word, _)| *word == found).map(|(_, value)| *value);
    if chosen.is_none() {
        let message = format!("`{}` is `{found}`", section.full(key));
        let hint = did_you_mean(&found, accepted.iter().map(|(word, _)| *word));
        problems.push(section.problem(key, message).hint(hint));
    }
    chosen
}

fn article(type_name: &str) -> String {
    let vowel = type_name.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {type_name}", if vowel { "an" } else { "a" })
}
