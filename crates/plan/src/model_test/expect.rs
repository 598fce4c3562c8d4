//! `[[expect]]` of a test: what is to be found once the given answers are published.
//!
//! In: TOML tables, and what the folder has. Out: [`Expectation`]s. Deliberately absent: comparing, which is
//! `daymark_warehouse`'s.

use toml::de::DeValue;

use crate::folder::Plan;
use crate::problem::{Problem, did_you_mean};
use crate::section::Section;
use crate::source::SourceId;

/// Something that is to be found.
#[derive(Debug, Clone)]
pub enum Expectation {
    /// Rows of a table, a view or a query.
    Rows(ExpectedRows),
    /// Rows that were set aside.
    Rejects(ExpectedRejects),
}

/// What rows are looked for in.
#[derive(Debug, Clone)]
pub enum Relation {
    /// A table or a view of the folder.
    Table(String),
    /// A query.
    Sql {
        /// Its text.
        sql: String,
        /// The line it starts on.
        line: usize,
    },
}

/// Rows that are to be found.
#[derive(Debug, Clone)]
pub struct ExpectedRows {
    /// The line the expectation starts on.
    pub line: usize,
    /// Where.
    pub relation: Relation,
    /// The columns that tell one row from another; none of a query whose rows are taken in its order.
    pub key: Vec<String>,
    /// The rows, each with its key and with those of its columns that matter.
    pub rows: Vec<ExpectedRow>,
    /// Rows that are not to be there, each by its key.
    pub absent: Vec<ExpectedRow>,
    /// Whether there are no others.
    pub exact: bool,
    /// How many there are.
    pub row_count: Option<u32>,
}

/// A row that is to be found.
#[derive(Debug, Clone)]
pub struct ExpectedRow {
    /// The line it stands on.
    pub line: usize,
    /// Its columns and their values.
    pub values: Vec<(String, ExpectedValue)>,
}

/// A value that is to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExpectedValue {
    /// Null.
    Null,
    /// What PostgreSQL reads from this text, by the column's type.
    Text(String),
    /// An array or an object, as JSON.
    Json(String),
}

/// Rows that were set aside.
#[derive(Debug, Clone)]
pub struct ExpectedRejects {
    /// The line the expectation starts on.
    pub line: usize,
    /// Of which source.
    pub source: SourceId,
    /// Words of the reason.
    pub reason: Option<String>,
    /// The check that set them aside.
    pub check: Option<String>,
    /// How many; at least one where nothing is said.
    pub count: Option<u32>,
}

/// The key in a row that lists the columns that are null: TOML has no word for it.
const NULLS: &str = "_null";

/// The columns a model's table may have beside the contract's.
const BESIDE: [&str; 6] =
    ["_settled", "_data_date", "_entity", "_fetch_row", "_fetch_id", "_publish_id"];

pub(super) fn read(
    mut section: Section<'_>,
    plan: Option<&Plan>,
    problems: &mut Vec<Problem>,
) -> Option<Expectation> {
    let given: Vec<&str> =
        ["table", "sql", "rejects"].into_iter().filter(|key| section.has(key)).collect();
    let read = match given.as_slice() {
        ["rejects"] => rejects(&mut section, plan, problems).map(Expectation::Rejects),
        ["table"] => {
            let name = section.required_string("table", problems);
            rows(&mut section, name.map(Relation::Table), plan, problems).map(Expectation::Rows)
        }
        ["sql"] => {
            let line = section.text_line_of("sql");
            let sql = section.required_string("sql", problems);
            let sql = sql.map(|sql| sql.trim_end().trim_end_matches(';').to_owned());
            let relation = sql.map(|sql| Relation::Sql { sql, line });
            rows(&mut section, relation, plan, problems).map(Expectation::Rows)
        }
        other => {
            let message = match other {
                [] => "an `[[expect]]` without `table`, `sql` or `rejects`".to_owned(),
                several => format!("an `[[expect]]` with `{}`", several.join("` and `")),
            };
            let problem = section.problem_here(message);
            problems.push(
                problem.hint("one of `table = \"...\"`, `sql = \"...\"`, `rejects = \"SOURCE\"`"),
            );
            return None;
        }
    };
    section.finish(problems);
    read
}

fn rejects(
    section: &mut Section<'_>,
    plan: Option<&Plan>,
    problems: &mut Vec<Problem>,
) -> Option<ExpectedRejects> {
    let line = section.line_here();
    let name = section.required_string("rejects", problems);
    let source = name.as_deref().and_then(SourceId::new);
    let source = source.filter(|id| plan.is_none_or(|plan| plan.source(id).is_some()));
    if let (Some(name), None, Some(plan)) = (&name, &source, plan) {
        let ids = plan.sources.iter().map(|source| source.id.as_str());
        let problem = section.problem("rejects", format!("there is no source `{name}`"));
        problems.push(problem.hint(did_you_mean(name, ids)));
    }
    let reason = section.optional_string("reason", problems);
    let check = section.optional_string("check", problems);
    if let (Some(check), Some(plan), Some(source)) = (&check, plan, &source) {
        let checks: Vec<&str> = plan
            .models_of(source)
            .flat_map(|model| &model.checks)
            .filter(|check| check.severity == crate::Severity::Reject)
            .map(|check| check.name.as_str())
            .collect();
        if !checks.contains(&check.as_str()) {
            let message = format!("the models of `{source}` have no `reject` check `{check}`");
            problems.push(section.problem("check", message).hint(did_you_mean(check, checks)));
        }
    }
    let count = section.optional_whole("row_count", 0..=u32::MAX, problems);
    Some(ExpectedRejects { line, source: source?, reason, check, count })
}

fn rows(
    section: &mut Section<'_>,
    relation: Option<Relation>,
    plan: Option<&Plan>,
    problems: &mut Vec<Problem>,
) -> Option<ExpectedRows> {
    let line = section.line_here();
    let mut known = Known::default();
    if let (Some(Relation::Table(name)), Some(plan)) = (&relation, plan) {
        known = Known::of(name, plan).unwrap_or_default();
        if !known.is_found {
            let names = Known::names(plan);
            let message = format!("no model or mart makes `{name}`");
            let hint = did_you_mean(name, names.iter().map(String::as_str));
            problems.push(section.problem("table", message).hint(hint));
        }
    }
    let own = section.optional_strings("key", problems);
    let exact = section.optional_bool("exact", problems).unwrap_or(false);
    let row_count = section.optional_whole("row_count", 0..=u32::MAX, problems);
    let of_query = matches!(relation, Some(Relation::Sql { .. }));
    let key = own.unwrap_or_else(|| known.key.clone());
    let mut read_rows = |word: &str, problems: &mut Vec<Problem>| {
        let rows = section.tables(word, problems);
        rows.into_iter().map(|row| self::row(row, &known, &key, problems)).collect::<Vec<_>>()
    };
    let rows = read_rows("rows", problems);
    let absent = read_rows("absent", problems);
    // Without a plan it is not known whether the table has a key of its own.
    if key.is_empty()
        && !(of_query && absent.is_empty())
        && plan.is_some()
        && (known.is_found || of_query)
    {
        for word in ["rows", "absent"].into_iter().filter(|word| section.has(word)) {
            let message = format!("`{word}` without a `key`");
            let hint = "a view or a query has none of its own: `key = [\"date\"]` says which columns tell \
                        one row from another";
            problems.push(section.problem(word, message).hint(hint));
        }
    }
    if !section.has("rows") && !section.has("absent") && row_count.is_none() && !exact {
        let problem = section.problem_here("an `[[expect]]` that expects nothing");
        problems.push(problem.hint("accepted: `rows`, `absent`, `row_count`, `exact = true`"));
    }
    Some(ExpectedRows { line, relation: relation?, key, rows, absent, exact, row_count })
}

fn row(
    mut section: Section<'_>,
    known: &Known,
    key: &[String],
    problems: &mut Vec<Problem>,
) -> ExpectedRow {
    let line = section.line_here();
    let mut values = Vec::new();
    for name in section.keys() {
        if name == NULLS {
            let nulls = section.optional_strings(NULLS, problems).unwrap_or_default();
            values.extend(nulls.into_iter().map(|name| (name, ExpectedValue::Null)));
            continue;
        }
        let value = section.optional_value(&name).and_then(value);
        match value {
            Some(value) => values.push((name, value)),
            None => problems.push(section.problem(&name, format!("`{name}` is no value"))),
        }
    }
    for (name, _) in &values {
        if !known.columns.is_empty() && !known.columns.iter().any(|column| column == name) {
            let place = if section.has(name) { name } else { NULLS };
            let problem = section.problem(place, format!("there is no column `{name}`"));
            let columns = known.columns.iter().map(String::as_str);
            let columns = columns.filter(|column| !column.starts_with('_'));
            problems.push(problem.hint(did_you_mean(name, columns)));
        }
    }
    for (at, (name, _)) in values.iter().enumerate() {
        if values.iter().skip(at + 1).any(|(other, _)| other == name) {
            problems.push(section.problem(NULLS, format!("`{name}` has a value and is null")));
        }
    }
    for name in key {
        if !values.iter().any(|(known, _)| known == name) {
            let message = format!("the key's column `{name}` is missing in a row");
            let key = key.join("`, `");
            problems.push(section.problem_here(message).hint(format!("the key is `{key}`")));
        }
    }
    ExpectedRow { line, values }
}

/// What is known of a relation before it is there.
#[derive(Default)]
struct Known {
    is_found: bool,
    /// Empty of a view or a history.
    key: Vec<String>,
    columns: Vec<String>,
}

impl Known {
    fn of(name: &str, plan: &Plan) -> Option<Self> {
        if let Some(model) = plan.models.iter().find(|model| model.table == name) {
            let own = model.columns.iter().map(|column| column.name.clone());
            return Some(Self {
                is_found: true,
                key: model.row_key().map(str::to_owned).collect(),
                columns: own.chain(BESIDE.map(str::to_owned)).collect(),
            });
        }
        let found = Self::names(plan).iter().any(|known| known == name);
        found.then(|| Self { is_found: true, ..Self::default() })
    }

    fn names(plan: &Plan) -> Vec<String> {
        let tables = plan.models.iter().map(|model| model.table.clone());
        let histories = plan.models.iter().filter(|model| model.history);
        let histories = histories.map(crate::Model::history_table);
        let views = plan.marts.iter().map(|mart| mart.name.clone());
        tables.chain(views).chain(histories).collect()
    }
}

fn value(value: &DeValue<'_>) -> Option<ExpectedValue> {
    Some(match value {
        DeValue::Array(_) | DeValue::Table(_) => ExpectedValue::Json(json(value)?.to_string()),
        DeValue::String(text) => ExpectedValue::Text(text.to_string()),
        DeValue::Boolean(boolean) => ExpectedValue::Text(boolean.to_string()),
        DeValue::Datetime(datetime) => ExpectedValue::Text(datetime.to_string()),
        DeValue::Float(float) => ExpectedValue::Text(float.as_str().to_owned()),
        DeValue::Integer(integer) => {
            let number = i128::from_str_radix(integer.as_str(), integer.radix()).ok()?;
            ExpectedValue::Text(number.to_string())
        }
    })
}

fn json(value: &DeValue<'_>) -> Option<serde_json::Value> {
    Some(match value {
        DeValue::Array(items) => {
            let items: Option<Vec<_>> = items.iter().map(|item| json(item.get_ref())).collect();
            items?.into()
        }
        DeValue::Table(table) => {
            let members = table.iter();
            let members: Option<serde_json::Map<_, _>> = members
                .map(|(key, item)| Some((key.get_ref().to_string(), json(item.get_ref())?)))
                .collect();
            members?.into()
        }
        DeValue::String(text) => text.to_string().into(),
        DeValue::Boolean(boolean) => (*boolean).into(),
        DeValue::Datetime(datetime) => datetime.to_string().into(),
        DeValue::Integer(_) | DeValue::Float(_) => match self::value(value)? {
            ExpectedValue::Text(text) => serde_json::from_str(&text).ok()?,
            _ => return None,
        },
    })
}
