//! The outline of a response: its paths and the types that stand at them, small enough to keep with it.
//!
//! In: the beginning of a body, and the `[rows]` of its source. Out: an [`Outline`] by which two responses
//! are compared: null is no type, an array is told by its first elements, and names that are data
//! (`2026-03-02`, those of a `keyed` place) are one path `.*`. It is made in one pass over at most
//! [`LOOKED_AT`] bytes, so that it costs about a millisecond of the largest body. Deliberately absent:
//! the whole of a body (`shape`), and the comparison (the publish's).

use std::collections::{BTreeMap, BTreeSet};

use daymark_plan::{ColumnRef, FieldPlace, JsonPath, Layout, RowsSpec, Segment, Step};
use serde::{Deserialize, Serialize};

use crate::error::excerpt;
use crate::json::{self, Json, Kind};
use crate::place::{path_text, push_name};
use crate::shape::is_data;

/// How much of a body is looked at.
pub const LOOKED_AT: usize = 1 << 20;

/// How many elements of an array are looked at, from its beginning, and how many members of an object under
/// names that are data.
const ELEMENTS: usize = 16;

/// How many bytes of the rest of an array or object are looked at together: as many as a processor takes.
const BLOCK: usize = 16;

/// How many lines are.
const LINES: usize = 64;

/// How many values are looked at in all.
const VALUES: usize = 20_000;

/// How many paths are kept.
const PATHS: usize = 500;

/// How deep values are followed; extraction takes bodies no deeper.
const DEPTH: usize = 127;

/// A longer value is no example.
const LONGEST_EXAMPLE: usize = 500;

/// How many characters of an example are kept.
const EXAMPLE: usize = 24;

/// The outline of a response.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outline {
    /// Whether the response goes on behind what was looked at, so that what is not here may be there.
    pub cut: bool,
    /// Each path with its types (`number|string`, without null; nothing where all was null), and behind a
    /// space a first value as JSON.
    pub paths: BTreeMap<String, String>,
}

impl Outline {
    /// The same with every text as `clean` gives it, and then its examples cut to a readable length: what is
    /// cut before might show a piece of a secret that nobody would recognise.
    #[must_use]
    pub fn told(self, clean: impl Fn(&str) -> String) -> Self {
        let paths = self.paths.into_iter().map(|(path, said)| {
            let (types, example) = said.split_once(' ').unwrap_or((said.as_str(), ""));
            let example = excerpt(&clean(example), EXAMPLE);
            (clean(&path), format!("{types} {example}").trim_end().to_owned())
        });
        Self { cut: self.cut, paths: paths.collect() }
    }

    /// Adds what another page of the same response has.
    pub fn merge(&mut self, other: Self) {
        self.cut |= other.cut;
        for (path, theirs) in other.paths {
            let is_full = self.paths.len() >= PATHS;
            let Some(ours) = self.paths.get_mut(&path) else {
                if is_full {
                    self.cut = true;
                } else {
                    self.paths.insert(path, theirs);
                }
                continue;
            };
            let (types, example) = split(ours);
            let (more, other_example) = split(&theirs);
            let mut all: BTreeSet<&str> = types.into_iter().chain(more).collect();
            all.remove("");
            let all: Vec<&str> = all.into_iter().collect();
            let example = if example.is_empty() { other_example } else { example };
            let merged = format!("{} {example}", all.join("|"));
            merged.trim_end().clone_into(ours);
        }
    }

    /// The types at each path, and a first value.
    pub fn entries(&self) -> impl Iterator<Item = (&str, Vec<&str>, Option<&str>)> {
        self.paths.iter().map(|(path, said)| {
            let (types, example) = split(said);
            let types = types.into_iter().filter(|word| !word.is_empty()).collect();
            (path.as_str(), types, Some(example).filter(|example| !example.is_empty()))
        })
    }
}

/// The types and the example of an entry.
fn split(said: &str) -> (Vec<&str>, &str) {
    let (types, example) = said.split_once(' ').unwrap_or((said, ""));
    (types.split('|').collect(), example)
}

/// The outline of a response that extraction has taken; `body` is its beginning in UTF-8, and `is_whole`
/// whether that is all of it.
pub fn outline(rows: &RowsSpec, body: &[u8], is_whole: bool) -> Outline {
    let start = &body[..body.len().min(LOOKED_AT)];
    let is_whole = is_whole && start.len() == body.len();
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&start[..error.valid_up_to()]).unwrap_or_default(),
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut walk = Walk {
        bytes: text.as_bytes(),
        text,
        keyed: keyed_places(rows),
        found: BTreeMap::new(),
        values: 0,
        cut: !is_whole,
        path: String::new(),
    };
    match rows.layout {
        Layout::Csv => walk.header(rows),
        Layout::Ndjson => walk.lines(),
        Layout::Columns | Layout::Records | Layout::Keyed | Layout::Grid => {
            walk.path.push('$');
            let at = json::skip_space(walk.bytes, 0);
            walk.value(at, 0);
        }
    }
    let paths = walk.found.into_iter().map(|(path, seen)| {
        let example = seen.example.unwrap_or_default();
        let said = format!("{} {example}", seen.types.into_iter().collect::<Vec<_>>().join("|"));
        (path, said.trim_end().to_owned())
    });
    Outline { cut: walk.cut, paths: paths.collect() }
}

/// What stands at a path.
#[derive(Default)]
struct Seen {
    types: BTreeSet<&'static str>,
    example: Option<String>,
}

struct Walk<'b> {
    bytes: &'b [u8],
    text: &'b str,
    /// The objects whose names are data, whatever they look like.
    keyed: BTreeSet<String>,
    found: BTreeMap<String, Seen>,
    values: usize,
    cut: bool,
    /// Where the walk is.
    path: String,
}

impl Walk<'_> {
    /// Looks at the value that starts at `at` and gives where it ends.
    fn value(&mut self, at: usize, depth: usize) -> usize {
        if at >= self.bytes.len() {
            return at;
        }
        self.values += 1;
        if self.values > VALUES || depth > DEPTH {
            self.cut = true;
            return json::value_end(self.bytes, at);
        }
        match self.bytes[at] {
            b'{' => {
                self.note("object", None);
                self.object(at, depth)
            }
            b'[' => {
                self.note("array", None);
                self.array(at, depth)
            }
            _ => {
                let end = json::value_end(self.bytes, at);
                let value = Json::checked(self.text.get(at..end).unwrap_or_default());
                // What reaches the end of a beginning may be cut anywhere.
                if end < self.bytes.len() || !self.cut || depth == 0 {
                    match value.kind() {
                        Kind::Boolean => self.note("boolean", Some(value)),
                        Kind::Number => self.note("number", Some(value)),
                        Kind::String => self.note("string", Some(value)),
                        Kind::Null | Kind::Array | Kind::Object => self.note("", None),
                    }
                }
                end
            }
        }
    }

    fn object(&mut self, start: usize, depth: usize) -> usize {
        let is_keyed = self.keyed.contains(&self.path);
        let mut seen = 0;
        let mut at = start + 1;
        while let Some(name_at) = json::next_item(self.bytes, at) {
            let name_end = json::string_end(self.bytes, name_at);
            let value_at = json::member_value(self.bytes, name_end);
            let quoted = self.text.get(name_at + 1..name_end.saturating_sub(1)).unwrap_or_default();
            // A name no text can hold has no path; one that is cut has none yet.
            let name = json::unescape(quoted).ok().filter(|_| value_at < self.bytes.len());
            let Some(name) = name else {
                at = json::value_end(self.bytes, value_at);
                continue;
            };
            let length = self.path.len();
            if is_keyed || is_data(&name) {
                seen += 1;
                if seen > ELEMENTS && is_keyed {
                    return self.rest::<b'{', b'}'>(name_at);
                }
                if seen > ELEMENTS {
                    at = json::value_end(self.bytes, value_at);
                    continue;
                }
                self.path.push_str(".*");
            } else {
                push_name(&mut self.path, &name);
            }
            at = self.value(value_at, depth + 1);
            self.path.truncate(length);
        }
        self.end(at)
    }

    fn array(&mut self, start: usize, depth: usize) -> usize {
        let length = self.path.len();
        self.path.push_str("[*]");
        let mut at = start + 1;
        let mut seen = 0;
        while let Some(element) = json::next_item(self.bytes, at) {
            if seen == ELEMENTS {
                self.path.truncate(length);
                return self.rest::<b'[', b']'>(element);
            }
            seen += 1;
            at = self.value(element, depth + 1);
        }
        self.path.truncate(length);
        self.end(at)
    }

    /// Where an array or object ends from one of its elements or members on. Only its own kind of brackets
    /// counts, for what is JSON is well nested; a block without any is told by its quotes alone, many bytes
    /// at once.
    fn rest<const OPENS: u8, const CLOSES: u8>(&self, from: usize) -> usize {
        let mut depth = 0_usize;
        let mut at = from;
        let mut in_string = false;
        while at < self.bytes.len() {
            let block = self.bytes.get(at..).and_then(|rest| rest.first_chunk::<BLOCK>());
            if let Some(quotes) = block.and_then(plain::<OPENS, CLOSES>) {
                in_string ^= quotes % 2 == 1;
                at += BLOCK;
                continue;
            }
            let end = self.bytes.len().min(at + BLOCK);
            if in_string {
                // As if it began just before.
                at = json::string_end(self.bytes, at - 1);
                in_string = false;
            }
            while at < end {
                match self.bytes[at] {
                    b'"' => {
                        at = json::string_end(self.bytes, at);
                        continue;
                    }
                    byte if byte == OPENS => depth += 1,
                    byte if byte == CLOSES && depth == 0 => return at + 1,
                    byte if byte == CLOSES => depth -= 1,
                    _ => {}
                }
                at += 1;
            }
        }
        self.bytes.len()
    }

    /// Behind the bracket that closes what ends at `at`.
    fn end(&self, at: usize) -> usize {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let closing = rest.iter().position(|byte| matches!(byte, b']' | b'}'));
        closing.map_or(self.bytes.len(), |closing| at + closing + 1)
    }

    fn note(&mut self, word: &'static str, value: Option<Json<'_>>) {
        let is_full = self.found.len() == PATHS;
        let seen = match self.found.get_mut(&self.path) {
            Some(seen) => seen,
            None if is_full => {
                self.cut = true;
                return;
            }
            None => self.found.entry(self.path.clone()).or_default(),
        };
        if !word.is_empty() {
            seen.types.insert(word);
        }
        if let (None, Some(value)) = (&seen.example, value)
            && value.text().len() <= LONGEST_EXAMPLE
        {
            seen.example = Some(value.text().to_owned());
        }
    }

    fn lines(&mut self) {
        let mut at = 0;
        self.path.push('$');
        for line in self.text.split_inclusive('\n').take(LINES) {
            let end = at + line.len();
            // A line that is not ended may be cut.
            if line.trim_ascii().is_empty() || (self.cut && !line.ends_with('\n')) {
                at = end;
                continue;
            }
            let start = at + line.len() - line.trim_ascii_start().len();
            self.value(start, 0);
            at = end;
        }
        // The lines behind may have more.
        self.cut |= at < self.text.len();
    }

    /// The columns of a table that has names.
    fn header(&mut self, rows: &RowsSpec) {
        let format = &rows.csv;
        if !format.header {
            return;
        }
        let skipped = usize::try_from(format.skip_lines).unwrap_or(usize::MAX);
        let comment = format.comment.map(char::from);
        let mut lines = self.text.split_inclusive('\n').skip(skipped);
        let header = lines.find(|line| {
            !line.trim_ascii().is_empty() && !comment.is_some_and(|mark| line.starts_with(mark))
        });
        if let Some(header) = header {
            "line".clone_into(&mut self.path);
            self.note("object", None);
            let separator = char::from(format.separator);
            for name in cells(header.trim_end(), separator, format.quote.map(char::from)) {
                self.path = column(name.trim());
                self.note("string", None);
            }
        }
        // All columns are in the first line.
        self.cut = false;
    }
}

/// How many quotes a block has; none where it has a bracket or an escape. (What is
/// looked for and in how many bytes is known, so that the compiler compares them together.)
fn plain<const OPENS: u8, const CLOSES: u8>(block: &[u8; BLOCK]) -> Option<u8> {
    let (mut quotes, mut other) = (0_u8, 0_u8);
    for byte in block {
        quotes += u8::from(*byte == b'"');
        other |= u8::from(*byte == OPENS) | u8::from(*byte == CLOSES) | u8::from(*byte == b'\\');
    }
    (other == 0).then_some(quotes)
}

/// The cells of a line. What is wrapped is taken out of its wrapping.
fn cells(line: &str, separator: char, quote: Option<char>) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut is_wrapped = false;
    for character in line.chars() {
        if Some(character) == quote {
            is_wrapped = !is_wrapped;
        } else if character == separator && !is_wrapped {
            cells.push(String::new());
        } else if let Some(cell) = cells.last_mut() {
            cell.push(character);
        }
    }
    cells
}

/// The path of a table's column; its parent is `line`.
fn column(name: &str) -> String {
    format!("line column {name}")
}

/// The paths at which the names of an object are data, by what `[rows]` says.
fn keyed_places(rows: &RowsSpec) -> BTreeSet<String> {
    let mut places = BTreeSet::new();
    let mut path = "$".to_owned();
    for segment in rows.at.segments().unwrap_or_default() {
        match segment {
            Segment::One(step) => path.push_str(&step_text(step)),
            Segment::Every => {
                places.insert(path.clone());
                // An array has the same path with other brackets.
                path.push_str(".*");
            }
        }
    }
    if rows.layout == Layout::Keyed {
        places.insert(path);
    }
    places
}

/// A step as the outline writes it: an element is any.
fn step_text(step: &Step) -> String {
    match step {
        Step::Index(_) => "[*]".to_owned(),
        Step::Name(_) => path_text("", std::slice::from_ref(step)),
    }
}

/// Whether a path of an outline is one that a field of `[rows]` reads, or what stands in the array there.
#[derive(Debug, Clone)]
pub struct Mapped {
    paths: BTreeSet<String>,
}

impl Mapped {
    /// The paths of a source's fields.
    pub fn of(rows: &RowsSpec) -> Self {
        let row = row_paths(rows);
        let mut paths = BTreeSet::new();
        for place in rows.fields.iter().flat_map(|field| &field.places) {
            match place {
                FieldPlace::Column(ColumnRef::Name(name)) => {
                    paths.insert(column(name));
                }
                FieldPlace::Path(path) if path.text().starts_with('$') => {
                    paths.extend(written(path, "$"));
                }
                FieldPlace::Path(path) => {
                    paths.extend(row.iter().filter_map(|row| written(path, row)));
                }
                // Of those around the row the name is enough for a message.
                FieldPlace::Above { .. }
                | FieldPlace::Key(_)
                | FieldPlace::Ordinal
                | FieldPlace::Column(ColumnRef::Position(_)) => {}
            }
        }
        Self { paths }
    }

    /// Whether a field reads what stands at a path.
    pub fn reads(&self, path: &str) -> bool {
        let array = path.strip_suffix("[*]");
        self.paths.contains(path) || array.is_some_and(|array| self.paths.contains(array))
    }
}

/// Where a row may be in an outline.
fn row_paths(rows: &RowsSpec) -> Vec<String> {
    let mut paths = vec!["$".to_owned()];
    for segment in rows.at.segments().unwrap_or_default() {
        paths = match segment {
            Segment::One(step) => {
                paths.iter().map(|path| format!("{path}{}", step_text(step))).collect()
            }
            Segment::Every => {
                paths.iter().flat_map(|path| [format!("{path}.*"), format!("{path}[*]")]).collect()
            }
        };
    }
    match rows.layout {
        Layout::Records => paths.extend(paths.clone().iter().map(|path| format!("{path}[*]"))),
        Layout::Keyed => paths = paths.iter().map(|path| format!("{path}.*")).collect(),
        Layout::Columns | Layout::Grid | Layout::Csv | Layout::Ndjson => {}
    }
    paths
}

/// A path that is relative to `from`, as an outline writes it.
fn written(path: &JsonPath, from: &str) -> Option<String> {
    let mut text = from.to_owned();
    for segment in path.segments()? {
        match segment {
            Segment::One(step) => text.push_str(&step_text(step)),
            Segment::Every => text.push_str("[*]"),
        }
    }
    Some(text)
}
