//! What a JSON body looks like: its paths, the types of their values, how many there are.
//!
//! In: a body. Out: a [`Shape`]: one entry per path, in the order of the body, with arrays collapsed to
//! `[*]` and objects whose names are data to `.*`, so that ten years of days are one path and the shapes
//! of two mornings can be compared. Its size does not grow with the body. Deliberately absent: any
//! judgement about it.
//!
//! A name is data when it reads like a date, an instant, a number or a UUID. An object is keyed by data,
//! whatever its names, when it has very many members, or several objects that all have the same members
//! (`{"AAPL": {"close": 1}, "MSFT": {"close": 2}, ...}`).

use std::collections::BTreeMap;

use daymark_plan::Step;
use serde::Serialize;

use crate::body;
use crate::error::{ExtractError, excerpt};
use crate::json::{self, Json, Kind};
use crate::place::path_text;

/// An object with more members than this is keyed by data.
const MAX_NAMES: usize = 200;

/// So many objects with the same members, in one object, are rows under names that are data.
const ALIKE: usize = 8;

/// How many paths are followed; what lies beyond is counted as left off.
const MAX_PATHS: usize = 5_000;

/// How many characters of an example are kept.
const EXAMPLE: usize = 60;

/// The shape of a body.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Shape {
    /// Its paths, in the order of the body.
    pub paths: Vec<ShapePath>,
    /// Whether there are more paths than are followed.
    pub cut: bool,
}

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShapePath {
    /// The path; `[*]` is every element of an array, `.*` every member of an object keyed by data.
    pub path: String,
    /// The types of its values, with how many there are of each.
    pub types: BTreeMap<ValueType, u64>,
    /// The shortest and the longest array, where there are arrays.
    pub lengths: Option<(u64, u64)>,
    /// What all its texts or numbers read like.
    pub reads_like: Option<ReadsLike>,
    /// The first plain value, as JSON, at most 60 characters.
    pub example: Option<String>,
    /// The first name, of an object keyed by data.
    pub first_name: Option<String>,
}

/// The type of a JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "JSON's own words")]
pub enum ValueType {
    Null,
    Boolean,
    Number,
    String,
    Array,
    Object,
}

impl ValueType {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Number => "number",
            Self::String => "string",
            Self::Array => "array",
            Self::Object => "object",
        }
    }
}

/// What texts or numbers read like, when all of a path do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadsLike {
    /// Whole numbers.
    Whole,
    /// Whole numbers that may be seconds since 1970.
    EpochSeconds,
    /// Whole numbers that may be milliseconds since 1970.
    EpochMilliseconds,
    /// Texts `YYYY-MM-DD`.
    Date,
    /// Texts of a date and a time.
    DateAndTime,
    /// Numbers written as texts.
    NumberAsText,
    /// UUIDs.
    Uuid,
}

impl ReadsLike {
    const ALL: [Self; 7] = [
        Self::Date,
        Self::DateAndTime,
        Self::Uuid,
        Self::NumberAsText,
        Self::EpochSeconds,
        Self::EpochMilliseconds,
        Self::Whole,
    ];

    /// The words for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::EpochSeconds => "epoch seconds",
            Self::EpochMilliseconds => "epoch milliseconds",
            Self::Date => "date",
            Self::DateAndTime => "date and time",
            Self::NumberAsText => "number as text",
            Self::Uuid => "uuid",
        }
    }

    fn bit(self) -> u8 {
        1 << (self as u8)
    }

    /// All that a plain value reads like.
    fn of(value: Json<'_>) -> u8 {
        let all = |wanted: &[Self]| wanted.iter().fold(0, |bits, like| bits | like.bit());
        match value.kind() {
            Kind::Number => match value.text().parse::<i64>() {
                // 1973 to 2096: smaller numbers are more often counts.
                Ok(100_000_000..=4_000_000_000) => all(&[Self::Whole, Self::EpochSeconds]),
                Ok(100_000_000_000..=4_000_000_000_000) => {
                    all(&[Self::Whole, Self::EpochMilliseconds])
                }
                Ok(_) => Self::Whole.bit(),
                Err(_) => 0,
            },
            Kind::String => {
                let text = value.quoted();
                let date = text.get(..10).is_some_and(is_date);
                if date && text.len() == 10 {
                    Self::Date.bit()
                } else if date && matches!(text.as_bytes().get(10), Some(b'T' | b' ')) {
                    Self::DateAndTime.bit()
                } else if is_uuid(text) {
                    Self::Uuid.bit()
                } else if is_number(text) {
                    Self::NumberAsText.bit()
                } else {
                    0
                }
            }
            _ => 0,
        }
    }
}

/// The shape of a body that is one JSON text.
pub fn shape(body: &[u8]) -> Result<Shape, ExtractError> {
    Ok(shape_of([body::check(body)?]))
}

/// The shape that the lines of an NDJSON body have in common; empty lines are passed over.
pub fn shape_of_lines(body: &[u8]) -> Result<Shape, ExtractError> {
    let (text, _) = body::text(body, "NDJSON")?;
    let lines = text.lines().filter(|line| !line.trim_ascii().is_empty());
    let mut values = Vec::new();
    for line in lines {
        values.push(body::check(line.as_bytes())?);
    }
    Ok(shape_of(values))
}

fn shape_of<'b>(values: impl IntoIterator<Item = Json<'b>>) -> Shape {
    let mut walk = Walk { nodes: 0, cut: false };
    let mut root = Node::default();
    for value in values {
        walk.value(&mut root, value);
    }
    root.settle();
    let mut shape = Shape { paths: Vec::new(), cut: walk.cut };
    root.write("$", &mut shape.paths);
    shape
}

/// What is known of a path so far.
#[derive(Debug, Default)]
struct Node {
    types: BTreeMap<ValueType, u64>,
    lengths: Option<(u64, u64)>,
    /// A bit for each [`ReadsLike`] that all plain values had; none before the first.
    reads_like: Option<u8>,
    example: Option<String>,
    first_name: Option<String>,
    elements: Option<Box<Node>>,
    members: Vec<(String, Node)>,
    /// The members whose names are data.
    every: Option<Box<Node>>,
    /// Whether every further name is, too.
    all_are_data: bool,
}

struct Walk {
    nodes: usize,
    cut: bool,
}

impl Walk {
    fn value(&mut self, node: &mut Node, value: Json<'_>) {
        let kind = value.kind();
        let value_type = match kind {
            Kind::Null => ValueType::Null,
            Kind::Boolean => ValueType::Boolean,
            Kind::Number => ValueType::Number,
            Kind::String => ValueType::String,
            Kind::Array => ValueType::Array,
            Kind::Object => ValueType::Object,
        };
        *node.types.entry(value_type).or_default() += 1;
        match kind {
            Kind::Null => {}
            Kind::Boolean | Kind::Number | Kind::String => {
                let like = ReadsLike::of(value);
                node.reads_like = Some(node.reads_like.map_or(like, |before| before & like));
                node.example.get_or_insert_with(|| excerpt(value.text(), EXAMPLE));
            }
            Kind::Array => {
                let mut length = 0;
                for element in value.elements() {
                    length += 1;
                    if node.elements.is_none() && !self.one_more() {
                        continue;
                    }
                    self.value(node.elements.get_or_insert_default(), element);
                }
                let (shortest, longest) = node.lengths.unwrap_or((length, length));
                node.lengths = Some((shortest.min(length), longest.max(length)));
            }
            Kind::Object => self.members(node, value),
        }
    }

    fn members(&mut self, node: &mut Node, value: Json<'_>) {
        // The objects of an array mostly have the same members in the same order.
        let mut expected = 0;
        for member in value.members() {
            // A name no text can hold has no path.
            let Ok(name) = json::unescape(member.name.quoted()) else { continue };
            if node.all_are_data || is_data(&name) {
                node.first_name.get_or_insert_with(|| excerpt(&name, EXAMPLE));
                if node.every.is_some() || self.one_more() {
                    self.value(node.every.get_or_insert_default(), member.value);
                }
                continue;
            }
            let found = match node.members.get(expected) {
                Some((there, _)) if *there == name => Some(expected),
                _ => node.members.iter().position(|(there, _)| *there == name),
            };
            let at = match found {
                Some(at) => at,
                None if node.members.len() >= MAX_NAMES => {
                    node.key_by_data();
                    self.value(node.every.get_or_insert_default(), member.value);
                    continue;
                }
                None if self.one_more() => {
                    node.members.push((name.into_owned(), Node::default()));
                    node.members.len() - 1
                }
                None => continue,
            };
            expected = at + 1;
            self.value(&mut node.members[at].1, member.value);
        }
    }

    /// Whether there is room for another path.
    fn one_more(&mut self) -> bool {
        let room = self.nodes < MAX_PATHS;
        self.nodes += usize::from(room);
        self.cut |= !room;
        room
    }
}

impl Node {
    /// Takes all members for one, under names that are data.
    fn key_by_data(&mut self) {
        let mut every = self.every.take().unwrap_or_default();
        for (name, node) in std::mem::take(&mut self.members) {
            self.first_name.get_or_insert_with(|| excerpt(&name, EXAMPLE));
            every.merge(node);
        }
        self.every = Some(every);
        self.all_are_data = true;
    }

    fn merge(&mut self, other: Self) {
        for (value_type, count) in other.types {
            *self.types.entry(value_type).or_default() += count;
        }
        self.lengths = match (self.lengths, other.lengths) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(b),
        };
        self.reads_like = match (self.reads_like, other.reads_like) {
            (Some(a), Some(b)) => Some(a & b),
            (a, b) => a.or(b),
        };
        self.example = self.example.take().or(other.example);
        self.first_name = self.first_name.take().or(other.first_name);
        if let Some(elements) = other.elements {
            self.elements.get_or_insert_default().merge(*elements);
        }
        if let Some(every) = other.every {
            self.every.get_or_insert_default().merge(*every);
        }
        for (name, node) in other.members {
            match self.members.iter_mut().find(|(there, _)| *there == name) {
                Some((_, there)) => there.merge(node),
                None => self.members.push((name, node)),
            }
        }
    }

    /// Finds the objects that are keyed by data from what their members have in common, inside out.
    fn settle(&mut self) {
        for (_, node) in &mut self.members {
            node.settle();
        }
        for node in self.elements.iter_mut().chain(&mut self.every) {
            node.settle();
        }
        let names = |node: &Self| {
            let mut names: Vec<String> = node.members.iter().map(|(n, _)| n.clone()).collect();
            names.sort_unstable();
            names
        };
        if self.members.len() < ALIKE {
            return;
        }
        let first = names(&self.members[0].1);
        let alike = first.len() > 1
            && self.members.iter().all(|(_, node)| {
                node.types.keys().eq([&ValueType::Object]) && names(node) == first
            });
        if alike {
            self.key_by_data();
        }
    }

    fn write(self, path: &str, paths: &mut Vec<ShapePath>) {
        let like = self.reads_like.unwrap_or(0);
        let reads_like = ReadsLike::ALL.into_iter().find(|one| like & one.bit() != 0);
        paths.push(ShapePath {
            path: path.to_owned(),
            types: self.types,
            lengths: self.lengths,
            reads_like,
            example: self.example,
            first_name: self.first_name,
        });
        for (name, node) in self.members {
            node.write(&path_text(path, &[Step::Name(name)]), paths);
        }
        if let Some(every) = self.every {
            every.write(&format!("{path}.*"), paths);
        }
        if let Some(elements) = self.elements {
            elements.write(&format!("{path}[*]"), paths);
        }
    }
}

/// Whether a name is data rather than a word of the API.
pub(crate) fn is_data(name: &str) -> bool {
    name.get(..10).is_some_and(is_date) || is_uuid(name) || is_number(name)
}

/// Whether ten characters are `YYYY-MM-DD`, and a possible one.
fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 10
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        })
        && text.parse::<jiff::civil::Date>().is_ok()
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    digits.starts_with(|c: char| c.is_ascii_digit())
        && digits
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'-' | b'+'))
        && text.parse::<f64>().is_ok()
}
