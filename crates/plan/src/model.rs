//! `models/*.sql`: one query over a source's rows, one curated table.
//!
//! In: a SQL file whose leading comment `/* model ... */` is TOML. Out: a [`Model`]. Deliberately
//! absent: any judgement of the SQL, which is PostgreSQL's.

use crate::check::{self, Check, Rule, volatile_words};
use crate::problem::{Problem, did_you_mean};
use crate::section::{Section, Text, choose};
use crate::source::SourceId;
use crate::sql_reads;
use crate::sql_text;

/// How a fetch lands in a model's table.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Write {
    /// Rows are inserted or updated by key; rows the source no longer sends stay.
    Upsert,
    /// Within the smallest and the largest value of this column that a fetch has, rows of its entity
    /// that it lacks are deleted.
    Window(String),
    /// The rows of a fetch replace those of its entity.
    Snapshot,
    /// One row per key and data date.
    Append,
}

impl Write {
    /// Its word in a model's file.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Upsert => "upsert",
            Self::Window(_) => "window",
            Self::Snapshot => "snapshot",
            Self::Append => "append",
        }
    }

    /// Whether a fetch says of keys it lacks that they are gone.
    pub fn deletes(&self) -> bool {
        match self {
            Self::Window(_) | Self::Snapshot => true,
            Self::Upsert | Self::Append => false,
        }
    }
}

/// The longest name of a table with a history: `<table>_history` must be a name as well.
const LONGEST_WITH_HISTORY: usize = 45;

/// A condition in a model's comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The SQL.
    pub sql: String,
    /// The line it starts on.
    pub line: usize,
}

/// A column of a model's contract.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its definition in PostgreSQL's own words, such as `text not null`.
    pub definition: String,
    /// What it is, in a sentence; kept as the column's comment.
    pub comment: Option<String>,
    /// The line of the definition in the file.
    #[serde(skip)]
    pub line: usize,
}

/// An index of a curated table beside its primary key.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// Its columns, in their order.
    pub columns: Vec<String>,
    /// Whether two rows may not have the same values; its columns then hold the whole key.
    pub unique: bool,
    /// Which rows it holds, if not all: a condition in PostgreSQL's own words.
    pub condition: Option<String>,
    /// The line it starts on in the file.
    #[serde(skip)]
    pub line: usize,
}

/// A SQL file that makes one curated table.
#[derive(Debug, Clone)]
pub struct Model {
    /// The table.
    pub table: String,
    /// The file, relative to the pipeline folder.
    pub file: String,
    /// The SHA-256 of the file, in hexadecimal.
    pub file_sha256: String,
    /// The source whose rows it reads.
    pub source: SourceId,
    /// The primary key's columns.
    pub key: Vec<String>,
    /// How a fetch lands in the table.
    pub write: Write,
    /// When a row is final: a condition over the contract's columns, `_data_date` and `_fetched_at`.
    /// Without it every row is.
    pub settled: Option<Condition>,
    /// Whether `<table>_history` is kept.
    pub history: bool,
    /// The contract's columns, in the order of the file.
    pub columns: Vec<Column>,
    /// What has to hold before its rows are shown, in the order of the file.
    pub checks: Vec<Check>,
    /// The query, as it stands in the file after the comment.
    pub sql: String,
    /// The line of the file the query's text starts on.
    pub sql_line: usize,
    /// The line `[columns]` starts on.
    pub columns_line: usize,
    /// What the table is, in a sentence; kept as its comment.
    pub description: Option<String>,
    /// The indexes beside the primary key.
    pub indexes: Vec<Index>,
}

impl Model {
    /// Whether its query reads the rows of a fetch and no other table. One that cannot be read may.
    pub fn reads_only_rows(&self) -> bool {
        let rows = format!("raw_{}", self.source);
        sql_reads::tables(&self.sql)
            .is_ok_and(|read| read.iter().all(|table| table.schema.is_none() && table.name == rows))
    }

    /// The tables its columns refer to, each with the column's place in the contract.
    pub fn references(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for (at, column) in self.columns.iter().enumerate() {
            let words = sql_text::identifiers(&column.definition);
            for (word, next) in words.iter().zip(words.iter().skip(1)) {
                if word == "references" {
                    found.push((at, next.clone()));
                }
            }
        }
        found
    }
}

/// Reports what refers to a table it cannot refer to (DECISIONS.md, "A foreign key stays within one
/// source"), and gives the models with those referred to before those that refer.
pub(crate) fn in_order(models: Vec<Model>, problems: &mut Vec<Problem>) -> Vec<Model> {
    for model in &models {
        check_reads(model, &models, problems);
        for (at, table) in model.references() {
            let column = &model.columns[at];
            let problem = |message: String| Problem::new(&model.file, column.line, message);
            match models.iter().find(|other| other.table == table) {
                None => {
                    let tables = models.iter().map(|model| model.table.as_str());
                    problems.push(
                        problem(format!("`{}` references `{table}`, which no model makes", column.name))
                            .hint(did_you_mean(&table, tables)),
                    );
                }
                Some(other) if other.source != model.source => problems.push(
                    problem(format!(
                        "`{}` references `{table}`, which is fed by another source (`{}`)",
                        column.name, other.source
                    ))
                    .hint(
                        "sources are fetched and published each for itself, so a row may come before the \
                         row it names: join the tables in a mart",
                    ),
                ),
                Some(other) if other.write.deletes() => problems.push(
                    problem(format!(
                        "`{}` references `{table}`, from which fetches delete rows (`write = \"{}\"`)",
                        column.name,
                        other.write.as_str()
                    ))
                    .hint(
                        "whether the row it names is still there would depend on which fetch came first: leave \
                         `references` out, and join the tables in a mart",
                    ),
                ),
                Some(_) => {}
            }
        }
    }
    let mut waiting = models;
    let mut ordered: Vec<Model> = Vec::new();
    while !waiting.is_empty() {
        let ready = waiting.iter().position(|model| {
            model.references().iter().all(|(_, table)| {
                *table == model.table || !waiting.iter().any(|other| other.table == *table)
            })
        });
        if ready.is_none() {
            let names: Vec<String> =
                waiting.iter().map(|model| format!("`{}`", model.table)).collect();
            let model = &waiting[0];
            problems.push(
                Problem::new(
                    &model.file,
                    model.columns_line,
                    format!("tables reference each other in a circle, among {}", names.join(", ")),
                )
                .hint("none of them could be made first: take one `references` out"),
            );
        }
        ordered.push(waiting.remove(ready.unwrap_or(0)));
    }
    ordered
}

/// Reports what would make the rows of a model depend on something else than its fetch: on when it is published, or
/// on what was published before it.
fn check_reads(model: &Model, models: &[Model], problems: &mut Vec<Problem>) {
    let curated = |name: &str| {
        models.iter().any(|other| name == other.table || name == other.history_table())
    };
    for read in sql_reads::tables(&model.sql).unwrap_or_default() {
        if read.schema.is_none() && curated(&read.name) {
            let message = format!("the query reads `{}`, which is published", read.name);
            problems.push(
                Problem::new(&model.file, model.sql_line + read.line, message).hint(
                    "a model makes rows of its fetch alone, so that they do not depend on what was published \
                     before it: join the tables in a mart",
                ),
            );
        }
    }
    let settled = model.settled.iter().map(|settled| (settled.sql.as_str(), settled.line));
    for (sql, line) in settled.chain([(model.sql.as_str(), 0)]) {
        if let Some(word) = volatile_words(sql).first() {
            let what = if line == 0 { "the query" } else { "`settled`" };
            let message = format!("{what} has `{word}`, whose value is another one each time");
            let line = if line == 0 { model.sql_line } else { line };
            problems.push(Problem::new(&model.file, line, message).hint(
                "rows that are made again must be the same: take `_fetched_at`, when the fetch was received, or \
                 `_data_date`, the day it is for",
            ));
        }
    }
    for check in &model.checks {
        if let Rule::References { table, .. } = &check.rule
            && models.iter().any(|other| other.table == *table && other.source == model.source)
        {
            let message = format!(
                "the check `{}` asks for rows of `{table}`, which the same fetches bring",
                check.name
            );
            problems.push(Problem::new(&model.file, check.line, message).hint(format!(
                "it is asked before they are there: write `references {table}` into the column's definition, \
                 and a row waits for the row it names"
            )));
        }
    }
}

impl Model {
    /// The table of what the source had said before.
    pub fn history_table(&self) -> String {
        format!("{}_history", self.table)
    }

    /// The columns that tell one row of the table from another: the key, and in `append` the data date.
    pub fn row_key(&self) -> impl Iterator<Item = &str> {
        let dated = (self.write == Write::Append).then_some("_data_date");
        self.key.iter().map(String::as_str).chain(dated)
    }
}

/// Reads one model. `sources` are the ids the folder has.
pub(crate) fn read(
    text: Text<'_>,
    sources: &[String],
    problems: &mut Vec<Problem>,
) -> Option<Model> {
    let Some((comment, query)) = sql_text::leading_comment(text, "model") else {
        let message = if text.text.trim_start().starts_with("/*") && !text.text.contains("*/") {
            "the comment the file starts with has no end `*/`"
        } else {
            "the file does not start with a comment `/* model ... */`"
        };
        problems.push(
            Problem::new(text.file, 1, message)
                .hint("its TOML names the table, its key and its columns; see docs/folder.md"),
        );
        return None;
    };
    let source = read_source(text, query, sources, problems);
    let table_of_comment = comment.parse(problems)?;
    let mut section = Section::top(comment, &table_of_comment);
    let table = section.required_string("table", problems).filter(|name| {
        let fits = sql_text::is_table_name(name);
        if !fits {
            let problem = section.problem("table", format!("`table` is `{name}`"));
            problems.push(problem.hint(format!("accepted: {}", sql_text::TABLE_NAMES)));
        }
        fits
    });
    let write = read_write(&mut section, problems);
    let settled = read_settled(&mut section, problems);
    let history = section.optional_bool("history", problems).unwrap_or(false);
    if let Some(table) = table.as_ref().filter(|_| history)
        && table.len() > LONGEST_WITH_HISTORY
    {
        let message = format!("`{table}` is too long a name for a table with a history");
        let hint =
            format!("at most {LONGEST_WITH_HISTORY} characters: `{table}_history` is a table too");
        problems.push(section.problem("table", message).hint(hint));
    }
    let key = section.required_strings("key", problems);
    let columns_line = section.line_of("columns");
    let mut columns = Vec::new();
    if let Some(mut definitions) = section.required_table("columns", problems) {
        for name in definitions.keys() {
            sql_text::check_column_name(&definitions, &name, problems);
            let line = definitions.line_of(&name);
            let Some((definition, comment)) = read_definition(&mut definitions, &name, problems)
            else {
                continue;
            };
            if definition.contains([';']) || definition.trim().is_empty() {
                let problem =
                    definitions.problem(&name, format!("`{definition}` defines no column"));
                problems.push(
                    problem.hint("PostgreSQL's own words, such as `double precision not null`"),
                );
            }
            let words = sql_text::identifiers(&definition);
            let action =
                words.windows(2).find_map(|pair| match (pair[0].as_str(), pair[1].as_str()) {
                    ("on", "delete") => Some("on delete"),
                    ("on", "update") => Some("on update"),
                    _ => None,
                });
            let refused = ["primary", "unique", "deferrable", "generated"]
                .into_iter()
                .find(|word| words.iter().any(|found| found == word));
            if let Some(word) = refused.or(action) {
                let message = format!("`{word}` in the definition of `{name}`");
                let problem = definitions.problem(&name, message);
                problems.push(problem.hint(
                    "accepted: a type, `not null`, `default`, `check`, `references`; the primary key is \
                     `key`",
                ));
            }
            columns.push(Column { name, definition, comment, line });
        }
    }
    if let Some(key) = &key {
        for name in key {
            if !columns.iter().any(|column| column.name == *name) {
                let message = format!("the key's column `{name}` is not in `[columns]`");
                let hint = did_you_mean(name, columns.iter().map(|column| column.name.as_str()));
                problems.push(section.problem("key", message).hint(hint));
            }
        }
    }
    if let Some(Write::Window(column)) = &write
        && !columns.iter().any(|known| known.name == *column)
    {
        let message = format!("the window's column `{column}` is not in `[columns]`");
        let hint = did_you_mean(column, columns.iter().map(|column| column.name.as_str()));
        problems.push(section.problem("window", message).hint(hint));
    }
    let checks = check::read(&mut section, &columns, key.as_deref().unwrap_or_default(), problems);
    let description = section.optional_string("description", problems);
    let indexes = read_indexes(
        &mut section,
        table.as_deref().unwrap_or_default(),
        key.as_deref().unwrap_or_default(),
        Some(&columns),
        problems,
    );
    section.finish(problems);
    Some(Model {
        table: table?,
        file: text.file.to_owned(),
        file_sha256: crate::digest::sha256_hex(text.text.as_bytes()),
        source: source?,
        key: key?,
        write: write?,
        settled,
        history,
        columns,
        checks,
        sql: query.text.trim_end().trim_end_matches(';').to_owned(),
        sql_line: query.first_line,
        columns_line,
        description,
        indexes,
    })
}

/// `write`, and the `window` that goes with one of its words.
fn read_write(section: &mut Section<'_>, problems: &mut Vec<Problem>) -> Option<Write> {
    let words = [("upsert", 0), ("window", 1), ("snapshot", 2), ("append", 3)];
    let word = choose(section, "write", &words, Some(0), problems);
    let window = section.optional_string("window", problems);
    if word != Some(1) && word.is_some() && window.is_some() {
        let problem = section.problem("window", "`window` without `write = \"window\"`");
        problems.push(problem.hint("add `write = \"window\"`, or leave `window` out"));
    }
    match word? {
        0 => Some(Write::Upsert),
        1 => {
            if window.is_none() && !section.has("window") {
                let message = "`write = \"window\"` without a `window`";
                let hint = "name the column a fetch covers a range of, such as `window = \"date\"`";
                problems.push(section.problem("write", message).hint(hint));
            }
            window.map(Write::Window)
        }
        2 => Some(Write::Snapshot),
        _ => Some(Write::Append),
    }
}

fn read_settled(section: &mut Section<'_>, problems: &mut Vec<Problem>) -> Option<Condition> {
    let line = section.line_of("settled");
    let sql = section.optional_string("settled", problems)?;
    if sql.trim().is_empty() || sql.contains(';') {
        let problem = section.problem("settled", format!("`{sql}` is no condition"));
        problems.push(problem.hint(
            "a condition over the model's columns, `_data_date` and `_fetched_at`, such as `date <= _data_date`",
        ));
    } else if sql_text::has_parameter(&sql) {
        let message = format!("`{sql}` has a parameter such as `$1`");
        problems.push(
            section.problem("settled", message).hint("nothing is told to it: write the value"),
        );
    }
    Some(Condition { sql, line })
}

/// A column's definition and comment: words, or `{ definition, comment }`.
fn read_definition(
    definitions: &mut Section<'_>,
    name: &str,
    problems: &mut Vec<Problem>,
) -> Option<(String, Option<String>)> {
    if definitions.optional_value(name).is_none_or(|value| value.as_table().is_none()) {
        return Some((definitions.required_string(name, problems)?, None));
    }
    let mut column = definitions.optional_table(name, problems)?;
    let definition = column.required_string("definition", problems);
    let comment = column.optional_string("comment", problems);
    column.finish(problems);
    Some((definition?, comment))
}

/// The longest name PostgreSQL keeps.
const LONGEST_NAME: usize = 63;

/// Reads `[[indexes]]`. Of a mart the columns are PostgreSQL's to tell.
pub(crate) fn read_indexes(
    section: &mut Section<'_>,
    table: &str,
    key: &[String],
    columns: Option<&[Column]>,
    problems: &mut Vec<Problem>,
) -> Vec<Index> {
    let mut indexes: Vec<Index> = Vec::new();
    for mut entry in section.tables("indexes", problems) {
        let named = entry.optional_string("name", problems);
        let of = entry.required_strings("columns", problems);
        let unique = entry.optional_bool("unique", problems).unwrap_or(false);
        let condition = entry.optional_string("where", problems);
        let line = entry.line_of("columns");
        let Some(of) = of else {
            entry.finish(problems);
            continue;
        };
        for name in &of {
            let Some(columns) = columns else { break };
            if !columns.iter().any(|column| column.name == *name) {
                let message = format!("the index's column `{name}` is not in `[columns]`");
                let accepted = columns.iter().map(|column| column.name.as_str());
                problems.push(entry.problem("columns", message).hint(did_you_mean(name, accepted)));
            }
        }
        if unique && !key.iter().all(|name| of.contains(name)) {
            let message = format!("the unique index on ({}) does not hold the key", of.join(", "));
            problems.push(entry.problem("unique", message).hint(format!(
                "which of two rows came first would decide which of them stays: add ({}) to its columns, \
                 or make them the key",
                key.join(", ")
            )));
        }
        if condition.as_ref().is_some_and(|condition| condition.contains(';')) {
            problems.push(entry.problem("where", "`where` holds a `;`").hint("one condition"));
        }
        let name = named.clone().unwrap_or_else(|| {
            let mut name = format!("{table}_{}_idx", of.join("_"));
            if name.len() > LONGEST_NAME {
                let hash = crate::digest::sha256_hex(name.as_bytes());
                // Column names are ASCII, so the cut is between characters.
                name = format!("{}_{}_idx", &name[..LONGEST_NAME - 13], &hash[..8]);
            }
            name
        });
        if named.is_some() && !sql_text::is_identifier(&name) {
            let problem = entry.problem("name", format!("an index cannot be named `{name}`"));
            problems.push(problem.hint("accepted: a-z, 0-9 and _, at most 63 characters"));
        } else if indexes.iter().any(|other| other.name == name) {
            let problem = entry.problem("columns", format!("the index `{name}` is there already"));
            problems.push(problem.hint("give one of the two another `name`"));
        }
        entry.finish(problems);
        indexes.push(Index { name, columns: of, unique, condition, line });
    }
    indexes
}

/// The one source whose `raw_<source>` the query reads.
fn read_source(
    text: Text<'_>,
    query: Text<'_>,
    sources: &[String],
    problems: &mut Vec<Problem>,
) -> Option<SourceId> {
    let mut read: Vec<String> = sql_text::identifiers(query.text)
        .iter()
        .filter_map(|word| word.strip_prefix("raw_").map(str::to_owned))
        .collect();
    read.sort();
    read.dedup();
    let line = query.first_line;
    let tables: Vec<String> = sources.iter().map(|id| format!("raw_{id}")).collect();
    match read.iter().filter(|id| sources.contains(id)).collect::<Vec<_>>().as_slice() {
        [one] => SourceId::new(one),
        [] => {
            let (message, hint) = match read.first() {
                Some(other) => (
                    format!("the query reads `raw_{other}`, but there is no source `{other}`"),
                    did_you_mean(&format!("raw_{other}"), tables.iter().map(String::as_str)),
                ),
                None => (
                    "the query reads the rows of no source".to_owned(),
                    format!("a model selects from one of: {}", tables.join(", ")),
                ),
            };
            problems.push(Problem::new(text.file, line, message).hint(hint));
            None
        }
        several => {
            let names: Vec<String> = several.iter().map(|id| format!("`raw_{id}`")).collect();
            let message = format!("the query reads several sources: {}", names.join(", "));
            problems.push(
                Problem::new(text.file, line, message)
                    .hint("a model reads one source; what joins sources is a mart"),
            );
            None
        }
    }
}
