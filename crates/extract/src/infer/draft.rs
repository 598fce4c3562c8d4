//! What a `[rows]` section could be, best guess first.
//!
//! In: the texts of the responses. Out: [`Draft`]s: a layout, a place, and fields with types that every
//! value of every response fits. Deliberately absent: the words they are written in.

use std::collections::BTreeMap;

use daymark_plan::{CsvFormat, Layout};

use super::name;
use super::path::{path, row_path, words};
use super::shape::{self, Shape, Shapes};
use super::table::{self, Table};
use super::tree::{Node, Part, Route, Spot, spots};
use super::typing::{Seen, Typed, typed};
use crate::error::ExtractError;

/// A field of a draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FieldDraft {
    pub(super) name: String,
    /// `path = "..."`, `key = true`, ... as it stands in the file.
    pub(super) place: String,
    pub(super) typed: Typed,
    pub(super) optional: bool,
}

/// Where the names of a grid's columns are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Header {
    None,
    FirstRow,
    At(String),
}

/// A guess.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) layout: Layout,
    pub(super) at: String,
    pub(super) at_optional: bool,
    pub(super) header: Header,
    pub(super) csv: CsvFormat,
    pub(super) fields: Vec<FieldDraft>,
    /// The paths that an error has.
    pub(super) absent: Vec<String>,
    pub(super) min_rows_zero: bool,
}

impl Draft {
    fn new(layout: Layout, at: String, fields: Vec<FieldDraft>) -> Self {
        Self {
            layout,
            at,
            at_optional: false,
            header: Header::None,
            csv: CsvFormat::default(),
            fields,
            absent: Vec::new(),
            min_rows_zero: false,
        }
    }

    /// Whether a response may lack the place.
    pub(super) fn takes_optional_place(&self) -> bool {
        !matches!(self.layout, Layout::Csv | Layout::Ndjson) && self.at != "$"
    }
}

/// How many other ways are told.
const OTHERS: usize = 3;
/// PostgreSQL's tables have 1600 columns, and `raw_<source>` has some before the fields.
const MOST_FIELDS: usize = 1500;
/// How many values beside the rows are repeated on them.
const MOST_BESIDE: usize = 16;

/// The guesses, best first.
pub(super) fn drafts(texts: &[Result<String, ExtractError>]) -> Vec<Draft> {
    let texts: Vec<&str> = texts.iter().filter_map(|text| text.as_deref().ok()).collect();
    let trees: Vec<Node<'_>> = texts.iter().filter_map(|text| Node::of(text)).collect();
    let mut drafts = of_trees(&trees);
    if drafts.is_empty() {
        drafts.extend(of_lines(&texts));
    }
    if drafts.is_empty() {
        drafts.extend(of_tables(&texts));
    }
    drafts
}

fn of_trees(trees: &[Node<'_>]) -> Vec<Draft> {
    let shapes: Vec<Shapes> = trees.iter().map(shape::shapes).collect();
    let mut weights: BTreeMap<&Shape, usize> = BTreeMap::new();
    // A response with nothing but one object says nothing of where the others have their rows.
    let only_single = shapes.iter().all(|shapes| shapes.keys().all(|shape| shape.single));
    for shapes in &shapes {
        for (shape, weight) in shapes {
            if shape.single == only_single {
                *weights.entry(shape).or_default() += weight;
            }
        }
    }
    let mut ranked: Vec<(&Shape, usize)> = weights.into_iter().collect();
    ranked.sort_by_key(|(shape, weight)| (std::cmp::Reverse(*weight), shape.route.len()));
    let drafts = ranked.into_iter().filter_map(|(shape, _)| of_shape(trees, shape));
    let mut drafts: Vec<Draft> = drafts.take(OTHERS + 1).collect();
    // Nothing but errors: they are no rows.
    if only_single && trees.iter().all(|tree| error_path(tree).is_some()) {
        drafts.clear();
    }
    drafts
}

/// The fields of a draft while they are collected.
#[derive(Debug, Default)]
struct Fields<'b> {
    /// By the text of their place.
    found: BTreeMap<String, Found<'b>>,
    order: Vec<String>,
    rows: usize,
}

#[derive(Debug)]
struct Found<'b> {
    words: Vec<String>,
    values: Vec<Seen<'b>>,
    /// In how many rows, or responses, it is.
    present: usize,
    /// Of how many it must be in.
    of: Of,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Rows,
    Places,
}

impl<'b> Fields<'b> {
    fn add(
        &mut self,
        place: String,
        words: &[String],
        of: Of,
        values: impl IntoIterator<Item = Seen<'b>>,
    ) {
        let found = self.found.entry(place.clone()).or_insert_with(|| {
            self.order.push(place);
            Found { words: words.to_vec(), values: Vec::new(), present: 0, of }
        });
        found.present += 1;
        found.values.extend(values);
    }

    /// The fields with their types.
    fn drafts(self, places: usize) -> Vec<FieldDraft> {
        let mut taken: Vec<String> = Vec::new();
        let Self { mut found, order, rows } = self;
        let last = |words: &[String]| name::column(words.last().map_or("", String::as_str));
        let mut often: BTreeMap<String, usize> = BTreeMap::new();
        for field in found.values() {
            *often.entry(last(&field.words)).or_default() += 1;
        }
        let mut drafts = Vec::new();
        for place in order.into_iter().take(MOST_FIELDS) {
            let Some(field) = found.remove(&place) else { continue };
            let words: Vec<&str> = field.words.iter().map(String::as_str).collect();
            let twice = often.get(&last(&field.words)).is_some_and(|times| *times > 1);
            let name = name::unused(&words, twice, &taken);
            taken.push(name.clone());
            let whole = match field.of {
                Of::Rows => rows,
                Of::Places => places,
            };
            let typed = typed(&name, &field.values);
            drafts.push(FieldDraft { name, place, typed, optional: field.present < whole });
        }
        drafts
    }
}

fn of_shape(trees: &[Node<'_>], shape: &Shape) -> Option<Draft> {
    let route = settled(trees, &shape.route);
    let at = path("$", &route)?;
    let mut fields = Fields::default();
    let mut places = 0;
    let mut header = Header::None;
    for tree in trees {
        let found = spots(tree, &route);
        // A response that has none of the place, or a null in it, tells nothing.
        let found: Vec<Spot<'_, '_>> = found
            .into_iter()
            .filter(|spot| spot.node.count() > 0 && fits(spot.node, shape))
            .collect();
        for spot in &found {
            places += 1;
            beside(&route, spot, &mut fields);
            match shape.layout {
                Layout::Columns => of_columns(spot.node, &mut fields),
                Layout::Records => of_records(spot.node, &mut fields),
                Layout::Keyed => of_keyed(spot.node, &mut fields),
                Layout::Grid => {
                    header = of_grid(tree, spot.node, header, &mut fields);
                }
                Layout::Csv | Layout::Ndjson => {}
            }
        }
    }
    if shape.layout == Layout::Columns {
        same_lengths(trees, &route, &mut fields);
    }
    untangle(&mut fields);
    let fields = fields.drafts(places);
    if fields.is_empty() {
        return None;
    }
    Some(Draft { header, ..Draft::new(shape.layout, at, fields) })
}

/// Whether a place of another response has the kind a layout needs.
fn fits(node: &Node<'_>, shape: &Shape) -> bool {
    match shape.layout {
        Layout::Records if shape.single => node.members().is_some(),
        Layout::Records | Layout::Grid => node.elements().is_some(),
        _ => node.members().is_some(),
    }
}

/// A route whose lists of one element are steps to it: `result[0]` says more than `result[*]`.
fn settled(trees: &[Node<'_>], route: &[Part]) -> Route {
    let mut settled = Route::new();
    for part in route {
        let one = *part == Part::Each
            && trees
                .iter()
                .flat_map(|tree| spots(tree, &settled))
                .all(|spot| spot.node.elements().is_none_or(|elements| elements.len() < 2));
        settled.push(if one { Part::Index(0) } else { part.clone() });
    }
    settled
}

/// The values beside the rows that tell whose they are, and the names on the way to them.
fn beside<'b>(route: &Route, spot: &Spot<'_, 'b>, fields: &mut Fields<'b>) {
    let first_many = route.iter().position(|part| matches!(part, Part::Each | Part::Member));
    // The names on the way, counted from the last.
    let mut level = 2;
    let mut names = spot.names.iter().rev();
    for part in route.iter().rev() {
        match part {
            Part::Member => {
                let value = names.next().map(|name| Seen::Name((*name).to_owned().into()));
                let word = value.as_ref().map_or("key", |value| key_word(value));
                fields.add(format!("key = {level}"), &[word.to_owned()], Of::Places, value);
                level += 1;
            }
            Part::Name(_) => level += 1,
            Part::Index(_) | Part::Each => {}
        }
    }
    let mut count = 0;
    for (depth, above) in spot.above.iter().enumerate() {
        let under_many = first_many.is_some_and(|many| depth > many);
        let on_way = &route[depth..];
        let mut scalars = Vec::new();
        plain_values(above, &mut Vec::new(), 3, Some(on_way), &mut scalars);
        for (at, value) in scalars {
            let words = words(&at);
            let name = name::column(words.last().map_or("", String::as_str));
            // What stands in an element of many tells it from the others, whatever it is called.
            let wanted = name::tells_whose(&name)
                || (under_many && at.len() == 1 && name != "generationtime_ms");
            if !wanted || count >= MOST_BESIDE {
                continue;
            }
            let levels = route.len() - depth;
            let text = if under_many {
                let up = "^".repeat(levels);
                path(&up, &at)
            } else {
                path("$", &[&route[..depth], &at].concat())
            };
            if let Some(text) = text {
                let place = format!("path = {}", super::toml::string(&text));
                fields.add(place, &words, Of::Places, [Seen::Json(value.json())]);
                count += 1;
            }
        }
    }
}

/// The plain values in an object, through objects and lists of one or few differing elements; what lies
/// on the way to the rows is left out from its first step on.
fn plain_values<'t, 'b>(
    node: &'t Node<'b>,
    route: &mut Route,
    deep: usize,
    on_way: Option<&[Part]>,
    found: &mut Vec<(Route, &'t Node<'b>)>,
) {
    let mut go = |part: Part, value: &'t Node<'b>, found: &mut Vec<_>| {
        let way = on_way.and_then(<[Part]>::first);
        if way == Some(&part) || matches!(way, Some(Part::Each | Part::Member)) {
            return;
        }
        route.push(part);
        if value.is_scalar() {
            found.push((route.clone(), value));
        } else if deep > 1 {
            plain_values(value, route, deep - 1, None, found);
        }
        route.pop();
    };
    match node {
        Node::Object(_, members) => {
            for (name, value) in members {
                go(Part::Name(name.clone().into_owned()), value, found);
            }
        }
        // World Bank: `[meta, rows]`.
        Node::Array(_, elements)
            if elements.len() <= 2 && !elements.iter().all(Node::is_scalar) =>
        {
            for (at, value) in elements.iter().enumerate() {
                if value.members().is_some() {
                    go(Part::Index(at), value, found);
                }
            }
        }
        Node::Scalar(_) | Node::Array(..) => {}
    }
}

fn of_columns<'b>(node: &Node<'b>, fields: &mut Fields<'b>) {
    let Some((length, _)) = shape::columns(node) else { return };
    let mut scalars = Vec::new();
    plain_values(node, &mut Vec::new(), 2, None, &mut scalars);
    let mut count = 0;
    for (at, value) in scalars {
        let words = words(&at);
        let tells = words.last().is_some_and(|word| name::tells_whose(&name::column(word)));
        if let (true, true, Some(place)) = (tells, count < MOST_BESIDE, row_path(&at)) {
            fields.add(place, &words, Of::Places, [Seen::Json(value.json())]);
            count += 1;
        }
    }
    for (at, list) in shape::lists(node) {
        let elements = list.elements().unwrap_or_default();
        if elements.len() == length
            && let Some(place) = row_path(&at)
        {
            let values = elements.iter().map(|value| Seen::Json(value.json()));
            fields.add(place, &words(&at), Of::Places, values);
        }
    }
}

/// A list that is of another length in some response is no column.
fn same_lengths(trees: &[Node<'_>], route: &Route, fields: &mut Fields<'_>) {
    for tree in trees {
        for spot in spots(tree, route) {
            let Some((length, _)) = shape::columns(spot.node) else { continue };
            for (at, list) in shape::lists(spot.node) {
                let same = list.elements().map_or(0, <[_]>::len) == length;
                if let (false, Some(place)) = (same, row_path(&at)) {
                    fields.found.remove(&place);
                }
            }
        }
    }
}

fn of_records<'b>(node: &Node<'b>, fields: &mut Fields<'b>) {
    let one = std::slice::from_ref(node);
    for record in node.elements().unwrap_or(one) {
        fields.rows += 1;
        of_record(record, &mut Vec::new(), fields);
    }
}

/// How deep a record's own objects are taken apart.
const DEEPEST_RECORD: usize = 5;

fn of_record<'b>(node: &Node<'b>, route: &mut Route, fields: &mut Fields<'b>) {
    match node {
        Node::Object(_, members) if route.len() < DEEPEST_RECORD => {
            let mut seen: Vec<&str> = Vec::new();
            for (name, _) in members {
                if seen.contains(&name.as_ref()) {
                    continue;
                }
                seen.push(name.as_ref());
                let Some(value) = node.get(name) else { continue };
                route.push(Part::Name(name.clone().into_owned()));
                of_record(value, route, fields);
                route.pop();
            }
        }
        // A pair or triple of numbers: a place on Earth.
        Node::Array(_, elements)
            if (2..=3).contains(&elements.len()) && elements.iter().all(Node::is_number) =>
        {
            for (at, element) in elements.iter().enumerate() {
                route.push(Part::Index(at));
                of_record(element, route, fields);
                route.pop();
            }
        }
        _ => {
            if let Some(place) = row_path(route) {
                fields.add(place, &words(route), Of::Rows, [Seen::Json(node.json())]);
            }
        }
    }
}

/// The name of a row's own name.
fn key_word(value: &Seen<'_>) -> &'static str {
    match typed("date", std::slice::from_ref(value)).field_type {
        daymark_plan::FieldType::Date => "date",
        daymark_plan::FieldType::Text => "key",
        field_type if field_type.is_number() && !field_type.is_epoch() => "key",
        _ => "time",
    }
}

fn of_keyed<'b>(node: &Node<'b>, fields: &mut Fields<'b>) {
    for (name, value) in node.members().unwrap_or_default() {
        fields.rows += 1;
        let key = Seen::Name(name.clone());
        let word = key_word(&key).to_owned();
        fields.add("key = true".to_owned(), &[word], Of::Rows, [key]);
        if value.is_scalar() {
            let (place, word) = ("path = \"@\"".to_owned(), "value".to_owned());
            fields.add(place, &[word], Of::Rows, [Seen::Json(value.json())]);
        } else {
            of_record(value, &mut Vec::new(), fields);
        }
    }
}

fn of_grid<'b>(tree: &Node<'b>, node: &Node<'b>, known: Header, fields: &mut Fields<'b>) -> Header {
    let rows = node.elements().unwrap_or_default();
    let cells = |row: &Node<'b>| -> Vec<Node<'b>> { row.elements().unwrap_or_default().to_vec() };
    let Some(first) = rows.first().map(cells) else { return known };
    let strings: Option<Vec<String>> =
        first.iter().map(|cell| cell.string().map(std::borrow::Cow::into_owned)).collect();
    let strings = strings.filter(|names| {
        let mut sorted = names.clone();
        sorted.sort();
        sorted.dedup();
        sorted.len() == names.len() && names.iter().all(|name| !name.is_empty())
    });
    // Names stand in the first row when other rows have other kinds of values, or are texts of numbers.
    let worded = strings.as_ref().is_some_and(|names| {
        names.iter().all(|name| {
            typed("", &[Seen::Name(name.clone().into())]).field_type
                == daymark_plan::FieldType::Text
        })
    });
    let differ = rows.iter().skip(1).any(|row| {
        cells(row).iter().any(|cell| {
            cell.string().is_none_or(|text| {
                typed("", &[Seen::Name(text)]).field_type != daymark_plan::FieldType::Text
            })
        })
    });
    let (header, names, rows) = if worded && differ {
        (Header::FirstRow, strings, &rows[1..])
    } else if let Some((at, names)) = names_beside(tree, first.len()) {
        (Header::At(at), Some(names), rows)
    } else {
        (Header::None, None, rows)
    };
    for row in rows {
        fields.rows += 1;
        for (at, cell) in cells(row).iter().enumerate() {
            let (place, word) = match names.as_ref().and_then(|names| names.get(at)) {
                Some(name) => (format!("column = {}", super::toml::string(name)), name.clone()),
                None => (format!("column = {}", at + 1), format!("column {}", at + 1)),
            };
            fields.add(place, &[word], Of::Rows, [Seen::Json(cell.json())]);
        }
    }
    header
}

/// A list of as many names as a grid has columns: `["a", "b"]` or `[{"name": "a"}, ...]`.
fn names_beside(tree: &Node<'_>, width: usize) -> Option<(String, Vec<String>)> {
    for (name, value) in tree.members()? {
        let elements = value.elements().filter(|elements| elements.len() == width);
        let Some(elements) = elements else { continue };
        let plain: Option<Vec<String>> =
            elements.iter().map(|e| e.string().map(std::borrow::Cow::into_owned)).collect();
        let route = vec![Part::Name(name.clone().into_owned())];
        if let (Some(names), Some(at)) = (plain, path("$", &route)) {
            return Some((at, names));
        }
        let named: Option<Vec<String>> = elements
            .iter()
            .map(|e| e.get("name").and_then(Node::string).map(std::borrow::Cow::into_owned))
            .collect();
        let route = [route, vec![Part::Each, Part::Name("name".to_owned())]].concat();
        if let (Some(names), Some(at)) = (named, path("$", &route)) {
            return Some((at, names));
        }
    }
    None
}

/// Where a value is an object in some rows and something else in others: an object or nothing is taken
/// apart, anything else is kept whole.
fn untangle(fields: &mut Fields<'_>) {
    let places: Vec<String> = fields.order.clone();
    for place in &places {
        let Some(stem) = place.strip_suffix('"') else { continue };
        let deeper: Vec<&String> = places
            .iter()
            .filter(|other| {
                other.strip_prefix(stem).is_some_and(|rest| rest.starts_with(['.', '[']))
            })
            .collect();
        let Some(found) = fields.found.get_mut(place).filter(|_| !deeper.is_empty()) else {
            continue;
        };
        let is_nothing = |value: &Seen<'_>| match value {
            Seen::Json(value) => matches!(value.text(), "null" | "{}"),
            _ => false,
        };
        if found.values.iter().all(is_nothing) {
            fields.found.remove(place);
            continue;
        }
        // What was taken apart was an object, which only `jsonb` holds beside the others.
        found.values.push(Seen::Json(crate::json::Json::checked("{}")));
        let parts = deeper.into_iter().filter_map(|other| fields.found.remove(other));
        let taken_apart = parts.map(|part| part.present).max().unwrap_or(0);
        if let Some(found) = fields.found.get_mut(place) {
            found.present += taken_apart;
        }
    }
}

fn of_lines(texts: &[&str]) -> Option<Draft> {
    let mut fields = Fields::default();
    let lines: Vec<Vec<Node<'_>>> = texts
        .iter()
        .filter_map(|text| {
            let lines = text.lines().filter(|line| !line.trim().is_empty());
            let nodes: Option<Vec<Node<'_>>> =
                lines.map(|line| Node::of(line).filter(|node| node.members().is_some())).collect();
            nodes.filter(|nodes| nodes.len() > 1)
        })
        .collect();
    for node in lines.iter().flatten() {
        fields.rows += 1;
        of_record(node, &mut Vec::new(), &mut fields);
    }
    untangle(&mut fields);
    let fields = fields.drafts(0);
    (!fields.is_empty()).then(|| Draft::new(Layout::Ndjson, "$".to_owned(), fields))
}

fn of_tables(texts: &[&str]) -> Option<Draft> {
    let tables: Vec<Table<'_>> = texts.iter().filter_map(|text| table::table(text)).collect();
    let widest = tables.iter().max_by_key(|table| table.columns.len())?;
    let csv = widest.format;
    let alike: Vec<&Table<'_>> = tables.iter().filter(|table| table.format == csv).collect();
    let mut fields = Fields::default();
    for table in &alike {
        for (at, cells) in table.columns.iter().enumerate() {
            let (place, word) = match table.names.get(at) {
                Some(name) if !name.is_empty() => {
                    (format!("column = {}", super::toml::string(name)), name.clone())
                }
                _ => (format!("column = {}", at + 1), format!("column {}", at + 1)),
            };
            fields.add(place, &[word], Of::Places, cells.iter().cloned());
        }
    }
    let fields = fields.drafts(alike.len());
    let draft = Draft::new(Layout::Csv, "$".to_owned(), fields);
    Some(Draft { csv, ..draft })
}

/// Words that members of an error have for names.
const OF_ERRORS: [&str; 12] = [
    "error",
    "errors",
    "error message",
    "errormessage",
    "error_message",
    "message",
    "note",
    "information",
    "fault",
    "reason",
    "detail",
    "exception",
];

/// The path that tells an error from the good responses: the first of its values that none of them has.
pub(super) fn told_apart(text: &str, good: &[&str]) -> Option<String> {
    let Some(tree) = Node::of(text) else {
        // A line of words where others are tables.
        return (text.lines().count() < 3 && !text.contains([',', ';', '\t'])).then(String::new);
    };
    let path = error_path(&tree)?;
    let parsed = daymark_plan::JsonPath::parse(&path).ok()?;
    let others =
        good.iter().any(|good| crate::matches_value(&parsed, good.as_bytes()).unwrap_or(false));
    (!others).then_some(path)
}

/// Where a response says that something went wrong: in the plainest of the words for it.
fn error_path(tree: &Node<'_>) -> Option<String> {
    fn search(node: &Node<'_>, route: &mut Route, deep: usize, found: &mut Vec<(usize, Route)>) {
        if deep == 0 {
            return;
        }
        let steps: Vec<(Part, &Node<'_>)> = match node {
            Node::Scalar(_) => return,
            Node::Object(_, members) => members
                .iter()
                .map(|(name, value)| (Part::Name(name.clone().into_owned()), value))
                .collect(),
            Node::Array(_, elements) => {
                elements.first().map(|element| (Part::Index(0), element)).into_iter().collect()
            }
        };
        for (part, value) in steps {
            route.push(part);
            if let Some(Part::Name(name)) = route.last()
                && let Some(rank) =
                    OF_ERRORS.iter().position(|word| *word == name.to_ascii_lowercase())
                && value.json().text() != "false"
                && value.count() > 0
            {
                found.push((route.len() * OF_ERRORS.len() + rank, route.clone()));
            }
            search(value, route, deep - 1, found);
            route.pop();
        }
    }
    let mut found = Vec::new();
    search(tree, &mut Vec::new(), 3, &mut found);
    let (_, route) = found.into_iter().min_by_key(|(rank, _)| *rank)?;
    path("$", &route)
}
