//! `[[entity]]` and `[entities]`: the cities, symbols, ... a source is asked for, one by one.
//!
//! In: the TOML tables, or the CSV or TOML file they name. Out: [`Entities`]: every entity with the
//! values of its columns, which become `entity_<name>` in `raw_<source>`. Deliberately absent:
//! what an entity means.

use std::path::Path;

use toml::de::DeValue;

use super::request;
use crate::problem::Problem;
use crate::rows::FieldType;
use crate::section::{Section, Text};

/// The id of an entity: `[a-z0-9-]+`, part of raw keys.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct EntityId(String);

impl EntityId {
    /// Checks and takes an id.
    pub fn new(text: &str) -> Option<Self> {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        (!text.is_empty() && text.len() <= 60 && text.bytes().all(fits))
            .then(|| Self(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for EntityId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// An entity as it stands in a sentence behind the day it is of: nothing for a source without (`""`).
pub fn behind_day(entity: &str) -> String {
    if entity.is_empty() { String::new() } else { format!(" {entity}") }
}

/// One entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity {
    /// Its id.
    pub id: EntityId,
    /// Its values, one for each of [`Entities::columns`].
    pub values: Vec<Option<String>>,
}

/// A column that all entities have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityColumn {
    /// Its name in the file and in `{{ entity.NAME }}`.
    pub name: String,
    /// Its name in `raw_<source>`: `entity_<name>`.
    pub raw_name: String,
    /// Its type: `text`, `bigint`, `double` or `boolean`, by the values in the file.
    pub field_type: FieldType,
}

/// The entities of a source.
#[derive(Debug, Clone)]
pub struct Entities {
    /// Their columns beside the id.
    pub columns: Vec<EntityColumn>,
    /// The entities, in the order of the file; none for a source that is asked once.
    pub rows: Vec<Entity>,
    /// How many are asked for at once; default 4.
    pub concurrency: usize,
    /// The SHA-256 of the file they come from, when they do not stand in the source's own.
    pub(super) file_sha256: Option<String>,
}

impl Entities {
    /// An entity by its id.
    pub fn get(&self, id: &EntityId) -> Option<&Entity> {
        self.rows.iter().find(|entity| entity.id == *id)
    }

    /// The names and values of an entity, `id` first; what it lacks is left out.
    pub fn named<'e>(&'e self, entity: &'e Entity) -> Vec<(&'e str, &'e str)> {
        let values = self.columns.iter().zip(&entity.values);
        let values = values.filter_map(|(c, value)| Some((c.name.as_str(), value.as_deref()?)));
        std::iter::once(("id", entity.id.as_str())).chain(values).collect()
    }
}

/// A row as it was found: where, and its values by name.
struct Found {
    problem: Box<dyn Fn(String) -> Problem>,
    values: Vec<(String, String, FieldType)>,
}

/// Reads `[[entity]]` and `[entities]` of a source.
pub(super) fn read(
    section: &mut Section<'_>,
    root: &Path,
    problems: &mut Vec<Problem>,
) -> Entities {
    let mut found = Vec::new();
    for mut table in section.tables("entity", problems) {
        found.push(inline(&mut table, problems));
    }
    let mut concurrency = 4;
    let mut file_sha256 = None;
    if let Some(mut table) = section.optional_table("entities", problems) {
        if let Some(number) = table.optional_whole("concurrency", 1..=256, problems) {
            concurrency = usize::try_from(number).unwrap_or(1);
        }
        if let Some(file) = table.optional_string("file", problems) {
            if !found.is_empty() {
                let problem = table.problem("file", "entities stand here and in a file");
                problems.push(problem.hint("use `[[entity]]` or `entities.file`, not both"));
            }
            match read_file(root, &file) {
                Ok(text) => {
                    file_sha256 = Some(crate::digest::sha256_hex(text.as_bytes()));
                    found = in_file(&file, &text, problems);
                    if found.is_empty() {
                        problems.push(table.problem("file", format!("`{file}` has no entity")));
                    }
                }
                Err(reason) => problems.push(
                    table
                        .problem("file", format!("`{file}` cannot be read: {reason}"))
                        .hint("a `.csv` or `.toml` file in the pipeline folder"),
                ),
            }
        }
        table.finish(problems);
    }
    let (columns, rows) = table_of(found, problems);
    Entities { columns, rows, concurrency, file_sha256 }
}

/// A text file of the folder that another one names, with its line ends made `\n`.
pub(super) fn read_file(root: &Path, file: &str) -> Result<String, String> {
    let path = root.join(file);
    let inside = path.canonicalize().map_err(|error| error.to_string())?;
    if !inside.starts_with(root) {
        return Err("it is not inside the pipeline folder".to_owned());
    }
    let text = std::fs::read_to_string(inside).map_err(|error| error.to_string())?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(&text).replace("\r\n", "\n"))
}

fn in_file(file: &str, text: &str, problems: &mut Vec<Problem>) -> Vec<Found> {
    if Path::new(file).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml")) {
        let text = Text { file, text, first_line: 1 };
        let Some(table) = text.parse(problems) else { return Vec::new() };
        let mut section = Section::top(text, &table);
        let found =
            section.tables("entity", problems).iter_mut().map(|t| inline(t, problems)).collect();
        section.finish(problems);
        return found;
    }
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let headers = match reader.headers() {
        Ok(headers) => headers.clone(),
        Err(error) => {
            problems.push(Problem::new(file, 1, format!("this is not CSV: {error}")));
            return Vec::new();
        }
    };
    let mut found = Vec::new();
    for record in reader.records() {
        match record {
            Ok(record) => {
                let line = record.position().map_or(0, csv::Position::line);
                let line = usize::try_from(line).unwrap_or(0);
                let file = file.to_owned();
                let values = headers.iter().zip(&record).filter(|(_, value)| !value.is_empty());
                let values = values
                    .map(|(name, value)| (name.to_owned(), value.to_owned(), type_of_text(value)));
                found.push(Found {
                    problem: Box::new(move |message| Problem::new(&file, line, message)),
                    values: values.collect(),
                });
            }
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                let line = usize::try_from(line).unwrap_or(0);
                problems.push(Problem::new(file, line, format!("this is not CSV: {error}")));
            }
        }
    }
    found
}

/// The narrowest type of a CSV cell. Only what is written back the same is a number: `007` is text.
fn type_of_text(value: &str) -> FieldType {
    let whole = value.parse::<i64>().is_ok_and(|number| number.to_string() == value);
    let digits = value.strip_prefix('-').unwrap_or(value);
    let decimal = value.parse::<f64>().is_ok_and(f64::is_finite)
        && digits.starts_with(|c: char| c.is_ascii_digit())
        && (digits.starts_with("0.") || !digits.starts_with('0'));
    if whole {
        FieldType::Bigint
    } else if decimal {
        FieldType::Double
    } else {
        FieldType::Text
    }
}

fn inline(table: &mut Section<'_>, problems: &mut Vec<Problem>) -> Found {
    let mut values = Vec::new();
    for name in table.keys() {
        let value = match table.optional_value(&name) {
            Some(DeValue::String(text)) => (text.to_string(), FieldType::Text),
            Some(DeValue::Integer(integer)) => (integer.as_str().to_owned(), FieldType::Bigint),
            Some(DeValue::Float(float)) => (float.as_str().to_owned(), FieldType::Double),
            Some(DeValue::Boolean(boolean)) => (boolean.to_string(), FieldType::Boolean),
            _ => {
                let problem = table.problem(&name, format!("`entity.{name}` is not a plain value"));
                problems.push(problem.hint("accepted: a string, a number or a boolean"));
                continue;
            }
        };
        values.push((name, value.0, value.1));
    }
    let here = table.problem_here(String::new());
    Found { problem: Box::new(move |message| Problem { message, ..here.clone() }), values }
}

/// The columns all entities have together, and the entities.
fn table_of(found: Vec<Found>, problems: &mut Vec<Problem>) -> (Vec<EntityColumn>, Vec<Entity>) {
    let mut columns: Vec<EntityColumn> = Vec::new();
    for (row, (name, _, field_type)) in
        found.iter().flat_map(|row| row.values.iter().map(move |value| (row, value)))
    {
        if name == "id" {
            continue;
        }
        if let Some(column) = columns.iter_mut().find(|column| column.name == *name) {
            column.field_type = wider(column.field_type, *field_type);
            continue;
        }
        let raw_name = format!("entity_{name}");
        if !crate::sql_text::is_identifier(&raw_name) || raw_name.len() > 56 {
            let problem = (row.problem)(format!("`{name}` is not a column's name"));
            problems.push(problem.hint("accepted: a-z, 0-9 and _"));
        }
        columns.push(EntityColumn { name: name.clone(), raw_name, field_type: *field_type });
    }
    let mut rows: Vec<Entity> = Vec::new();
    for row in found {
        let value = |name: &str| row.values.iter().find(|(n, ..)| n == name).map(|v| v.1.clone());
        let Some(text) = value("id") else {
            problems.push((row.problem)("an entity has no `id`".to_owned()));
            continue;
        };
        let Some(id) = EntityId::new(&text) else {
            let problem = (row.problem)(format!("the entity's `id` is `{text}`"));
            problems.push(problem.hint("accepted: a-z, 0-9 and -, at most 60 characters"));
            continue;
        };
        if rows.iter().any(|other| other.id == id) {
            problems.push((row.problem)(format!("the entity `{id}` stands here twice")));
            continue;
        }
        for (name, text, _) in &row.values {
            if request::is_secret_name(name) && !text.is_empty() {
                let problem = (row.problem)(format!("the secret of `{name}` stands in the file"));
                problems.push(problem.hint("entities cannot hold secrets; use `[auth]`"));
            }
        }
        let values = columns.iter().map(|column| value(&column.name)).collect();
        rows.push(Entity { id, values });
    }
    (columns, rows)
}

fn wider(a: FieldType, b: FieldType) -> FieldType {
    match (a, b) {
        (a, b) if a == b => a,
        (FieldType::Bigint, FieldType::Double) | (FieldType::Double, FieldType::Bigint) => {
            FieldType::Double
        }
        _ => FieldType::Text,
    }
}
