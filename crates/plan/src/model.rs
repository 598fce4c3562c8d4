//! `models/*.sql`: one query over a source's rows, one curated table.
//!
//! In: a SQL file whose leading comment `/* model ... */` is TOML. Out: a [`Model`]. Deliberately
//! absent: the write modes `window`, `snapshot` and `append`, `settled` and `[[checks]]`, which come
//! with the publish issue; and any judgement of the SQL, which is PostgreSQL's.

use crate::problem::{Problem, did_you_mean};
use crate::section::{Section, Text, choose};
use crate::source::SourceId;
use crate::sql_text;

/// How a fetch lands in a model's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Write {
    /// Rows are inserted or updated by key; rows the source no longer sends stay.
    Upsert,
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
    /// The contract's columns, in the order of the file.
    pub columns: Vec<Column>,
    /// The query, as it stands in the file after the comment.
    pub sql: String,
    /// The line of the file the query's text starts on.
    pub sql_line: usize,
    /// The line `[columns]` starts on.
    pub columns_line: usize,
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
    let write =
        choose(&mut section, "write", &[("upsert", Write::Upsert)], Some(Write::Upsert), problems);
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
    section.finish(problems);
    Some(Model {
        table: table?,
        file: text.file.to_owned(),
        file_sha256: crate::digest::sha256_hex(text.text.as_bytes()),
        source: source?,
        key: key?,
        write: write?,
        columns,
        sql: query.text.trim_end().trim_end_matches(';').to_owned(),
        sql_line: query.first_line,
        columns_line,
    })
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
