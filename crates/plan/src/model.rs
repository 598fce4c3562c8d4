//! `models/*.sql`: one query over a source's rows, one curated table.
//!
//! In: a SQL file whose leading comment `/* model ... */` is TOML. Out: a [`Model`]. Deliberately
//! absent: `[[indexes]]`; and any judgement of the SQL, which is PostgreSQL's.

use crate::check::{self, Check};
use crate::problem::{Problem, did_you_mean};
use crate::section::{Section, Text, choose};
use crate::source::SourceId;
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
const LONGEST_WITH_HISTORY: usize = 55;

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
    /// The line of the definition in the file.
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
            if let Some(definition) = definitions.required_string(&name, problems) {
                if definition.contains([';']) || definition.trim().is_empty() {
                    let problem =
                        definitions.problem(&name, format!("`{definition}` defines no column"));
                    problems.push(
                        problem.hint("PostgreSQL's own words, such as `double precision not null`"),
                    );
                }
                let words = sql_text::identifiers(&definition);
                if let Some(word) = ["primary", "unique", "references", "deferrable"]
                    .into_iter()
                    .find(|word| words.iter().any(|found| found == word))
                {
                    let message = format!("`{word}` in the definition of `{name}`");
                    let problem = definitions.problem(&name, message);
                    problems.push(problem.hint(
                        "accepted: a type, `not null`, `default`, `check`; the primary key is `key`",
                    ));
                }
                columns.push(Column { name, definition, line });
            }
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
    }
    Some(Condition { sql, line })
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
