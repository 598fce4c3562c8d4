//! `[rows.fields]`: one mapped field and where its value is.
//!
//! In: the TOML of a field and what its layout has. Out: a [`Field`], or the problems of one that
//! asks for what its layout has not. Deliberately absent: looking anything up.

use toml::de::DeValue;

use super::{FieldType, Layout, Reading, path};
use crate::json_path::{JsonPath, Segment, Step};
use crate::problem::Problem;
use crate::section::{Section, choose};

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnRef {
    /// By its name in the header.
    Name(String),
    /// By its number, from 1.
    Position(u32),
}

/// Where a field's value is.
#[derive(Debug, Clone)]
pub enum FieldPlace {
    /// At a path: from the root, or relative to the row (in `columns` to the place).
    Path(JsonPath),
    /// At a path from a value that holds the place of `at`: `levels` is 1 for the one around it.
    Above {
        /// How far up, from 1.
        levels: u32,
        /// The path from there.
        path: JsonPath,
    },
    /// A name on the way to the row: 1 is the row's own name, 2 the one before it, ...
    Key(u32),
    /// The number of the row in its place, from 1.
    Ordinal,
    /// In a column of a table.
    Column(ColumnRef),
}

impl std::fmt::Display for FieldPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => f.write_str(path.text()),
            Self::Above { levels, path } => {
                for _ in 0..*levels {
                    f.write_str("^")?;
                }
                f.write_str(path.text())
            }
            Self::Key(level) => write!(f, "key {level}"),
            Self::Ordinal => f.write_str("ordinal"),
            Self::Column(ColumnRef::Name(name)) => write!(f, "column {name}"),
            Self::Column(ColumnRef::Position(number)) => write!(f, "column {number}"),
        }
    }
}

/// One mapped field: a column of `raw_<source>`.
#[derive(Debug, Clone)]
pub struct Field {
    /// The column's name.
    pub name: String,
    /// Where the value is; the first of them that exists is taken. Never empty.
    pub places: Vec<FieldPlace>,
    /// What it must be.
    pub field_type: FieldType,
    /// Whether a response may lack it altogether; its column is then null. A field that is not
    /// optional and stands nowhere in a response makes the response a refused one.
    pub optional: bool,
    /// How its texts are written.
    pub reading: Reading,
}

impl Field {
    /// A field that must be there, its texts written the usual way.
    pub fn new(name: &str, places: Vec<FieldPlace>, field_type: FieldType) -> Self {
        let reading = Reading::default();
        Self { name: name.to_owned(), places, field_type, optional: false, reading }
    }
}

/// What a field is read by.
#[derive(Debug)]
pub(super) struct Rules<'r> {
    /// The layout, when it is known.
    pub(super) layout: Option<Layout>,
    /// Where the rows are, when that is known.
    pub(super) at: Option<&'r JsonPath>,
    /// Whether columns have names.
    pub(super) named: bool,
    /// How texts are written unless the field says otherwise.
    pub(super) reading: &'r Reading,
}

/// The keys that say where a value is.
const WHERE: [&str; 4] = ["path", "key", "ordinal", "column"];

/// Reads one field.
pub(super) fn read(
    table: &mut Section<'_>,
    name: String,
    rules: &Rules<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Field> {
    let mut section = table.required_table(&name, problems)?;
    let places = places(&mut section, &name, rules, problems);
    let field_type = choose(&mut section, "type", &FieldType::ALL, None, problems);
    let optional = section.optional_bool("optional", problems).unwrap_or(false);
    let mut reading = Reading::read(&mut section, Some(rules.reading), problems);
    match field_type {
        Some(field_type) => {
            reading.read_format(&mut section, field_type, problems);
            check_made(&section, places.as_deref(), field_type, problems);
        }
        None => drop(section.optional_value("format")),
    }
    section.finish(problems);
    Some(Field { name, places: places?, field_type: field_type?, optional, reading })
}

/// What is counted is a number, and a number is not any type.
fn check_made(
    section: &Section<'_>,
    places: Option<&[FieldPlace]>,
    field_type: FieldType,
    problems: &mut Vec<Problem>,
) {
    let counted = matches!(places, Some([FieldPlace::Ordinal]));
    let fits = field_type == FieldType::Text || (field_type.is_number() && !field_type.is_epoch());
    if counted && !fits {
        let hint = "take `integer` or `bigint`";
        problems.push(section.problem("type", "`ordinal` is a whole number").hint(hint));
    }
}

fn places(
    section: &mut Section<'_>,
    name: &str,
    rules: &Rules<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Vec<FieldPlace>> {
    let said: Vec<&str> = WHERE.into_iter().filter(|key| section.has(key)).collect();
    for key in WHERE {
        section.optional_value(key);
    }
    match said.as_slice() {
        [] => {
            let message = format!("`rows.fields.{name}` does not say where its value is");
            let hint =
                "one of `path = \"...\"`, `key = true`, `ordinal = true`, `column = \"...\"`";
            problems.push(section.problem_here(message).hint(hint));
            None
        }
        ["path"] => paths(section, rules, problems),
        ["key"] => key(section, rules, problems),
        ["ordinal"] => match section.optional_bool("ordinal", problems) {
            Some(true) => Some(vec![FieldPlace::Ordinal]),
            Some(false) => {
                let problem = section.problem("ordinal", "`ordinal` is `false`");
                problems.push(problem.hint("accepted: `true`"));
                None
            }
            None => None,
        },
        ["column"] => columns(section, rules, problems),
        several => {
            let words: Vec<String> = several.iter().map(|key| format!("`{key}`")).collect();
            let message = format!("`rows.fields.{name}` says {} at once", words.join(" and "));
            let hint =
                "a value is at one of them; a list of paths or columns takes the first there is";
            problems.push(section.problem(several[1], message).hint(hint));
            None
        }
    }
}

fn paths(
    section: &mut Section<'_>,
    rules: &Rules<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Vec<FieldPlace>> {
    let texts = section.required_strings("path", problems)?;
    if rules.layout == Some(Layout::Csv) {
        let problem = section.problem("path", "a table of text has no paths");
        problems.push(problem.hint("name the column: `column = \"Close\"`"));
        return None;
    }
    let places: Vec<Option<FieldPlace>> =
        texts.iter().map(|text| one_path(section, text, rules, problems)).collect();
    places.into_iter().collect()
}

fn one_path(
    section: &Section<'_>,
    text: &str,
    rules: &Rules<'_>,
    problems: &mut Vec<Problem>,
) -> Option<FieldPlace> {
    let rest = text.trim_start_matches('^');
    let levels = u32::try_from(text.len() - rest.len()).ok()?;
    if levels > 0 && !(rest.is_empty() || rest.starts_with(['.', '['])) {
        let message = format!("`{text}` is not a path of what holds the place");
        problems.push(section.problem("path", message).hint("such as `^.id` or `^^['name']`"));
        return None;
    }
    let path = path(section, "path", rest, problems)?;
    if path.steps().is_none() {
        let message = format!("`{text}` may match several values");
        let hint = "a field's path is made of names and indexes only";
        problems.push(section.problem("path", message).hint(hint));
        return None;
    }
    if rules.layout == Some(Layout::Ndjson) && (levels > 0 || path.is_from_root()) {
        let message = format!("`{text}` leaves the line, and in `ndjson` each line is a row");
        problems
            .push(section.problem("path", message).hint("write it relative, such as `user.id`"));
        return None;
    }
    if levels == 0 {
        return Some(FieldPlace::Path(path));
    }
    let depth = rules.at.and_then(JsonPath::segments).map(<[Segment]>::len);
    if let Some(depth) = depth
        && usize::try_from(levels).is_ok_and(|levels| levels > depth)
    {
        let at = rules.at.map_or("$", JsonPath::text);
        let message = format!("`{text}` climbs above the root, the place is `{at}`");
        problems.push(section.problem("path", message).hint("what the root holds is at `$.name`"));
        return None;
    }
    Some(FieldPlace::Above { levels, path })
}

fn key(
    section: &mut Section<'_>,
    rules: &Rules<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Vec<FieldPlace>> {
    let level = match section.optional_value("key") {
        Some(DeValue::Boolean(true)) => Some(1),
        Some(DeValue::Integer(_)) => section.optional_whole("key", 1..=126, problems),
        _ => {
            let problem = section.problem("key", "`key` is not `true`");
            problems.push(problem.hint("accepted: `true`, or a number: 2 is one name further up"));
            None
        }
    }?;
    let layout = rules.layout?;
    if matches!(layout, Layout::Csv | Layout::Ndjson) {
        let message = format!("the rows of `{}` have no names", layout.word());
        problems.push(section.problem("key", message).hint("leave `key` out"));
        return None;
    }
    if level == 1 && layout != Layout::Keyed {
        let message = format!("the rows of `{}` have no name of their own", layout.word());
        let hint = "take `layout = \"keyed\"`; `key = 2` is the last name of the place";
        problems.push(section.problem("key", message).hint(hint));
        return None;
    }
    // A wildcard may stand for a name; whether it does is known when the response is there.
    let names = rules.at.and_then(JsonPath::segments).map(|segments| {
        let named = |s: &&Segment| matches!(s, Segment::Every | Segment::One(Step::Name(_)));
        segments.iter().filter(named).count()
    });
    if let Some(names) = names
        && usize::try_from(level).is_ok_and(|level| level > names + 1)
    {
        let at = rules.at.map_or("$", JsonPath::text);
        let message = format!("`key = {level}` is further up than `{at}` has names");
        problems.push(section.problem("key", message).hint(format!("at most {}", names + 1)));
        return None;
    }
    Some(vec![FieldPlace::Key(level)])
}

fn columns(
    section: &mut Section<'_>,
    rules: &Rules<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Vec<FieldPlace>> {
    let numbered = matches!(section.optional_value("column"), Some(DeValue::Integer(_)));
    let columns: Vec<FieldPlace> = if numbered {
        let number = section.optional_whole("column", 1..=100_000, problems)?;
        vec![FieldPlace::Column(ColumnRef::Position(number))]
    } else {
        let names = section.required_strings("column", problems)?;
        names.into_iter().map(|name| FieldPlace::Column(ColumnRef::Name(name))).collect()
    };
    let layout = rules.layout?;
    if !matches!(layout, Layout::Csv | Layout::Grid) {
        let message = format!("the layout `{}` has no columns to name", layout.word());
        problems.push(section.problem("column", message).hint("say where it is with `path`"));
        return None;
    }
    let by_name = columns.iter().any(|c| matches!(c, FieldPlace::Column(ColumnRef::Name(_))));
    if by_name && !rules.named {
        let hint = match layout {
            Layout::Grid => {
                "number it, from 1, or say where the names are: `header = \"first_row\"`"
            }
            _ => "number it, from 1, or take `header = true`",
        };
        let problem = section.problem("column", "the columns have no names");
        problems.push(problem.hint(hint));
        return None;
    }
    Some(columns)
}
