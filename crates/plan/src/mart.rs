//! `marts/*.sql`: queries over curated tables, published as views or kept as tables.
//!
//! In: SQL files, with an optional leading comment `/* mart ... */` in TOML. Out: [`Mart`]s, each with what
//! it reads, in the order they can be made in. Deliberately absent: any judgement of the SQL beyond the
//! names it reads, which is PostgreSQL's.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Index, Model, read_indexes};
use crate::problem::{Problem, did_you_mean};
use crate::section::{Section, Text, choose};
use crate::sql_reads;
use crate::sql_text;

/// What a mart is in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Materialized {
    /// A view: its query runs whenever it is read.
    View,
    /// A table: its query runs in every publish that changes what it reads.
    Table,
}

impl Materialized {
    /// Its word in a mart's file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Table => "table",
        }
    }
}

/// A query over curated tables and other marts.
#[derive(Debug, Clone)]
pub struct Mart {
    /// Its name: the file's name without `.sql`.
    pub name: String,
    /// The file, relative to the pipeline folder.
    pub file: String,
    /// The SHA-256 of the file, in hexadecimal.
    pub file_sha256: String,
    /// What it is, in a sentence; kept as its comment.
    pub description: Option<String>,
    /// What it is in the database.
    pub materialized: Materialized,
    /// The primary key's columns, of a table that has one.
    pub key: Vec<String>,
    /// The line of `key`.
    pub key_line: usize,
    /// The indexes of a table beside its primary key.
    pub indexes: Vec<Index>,
    /// The tables and marts of the folder that it reads, by their names, each with the line it stands on.
    pub reads: BTreeMap<String, usize>,
    /// What else it reads: tables of other schemas, and those that `depends` says are made elsewhere.
    pub reads_elsewhere: BTreeSet<String>,
    /// The query, as it stands in the file after the comment.
    pub sql: String,
    /// The line of the file the query's text starts on.
    pub sql_line: usize,
    /// What `depends` names.
    depends: Vec<String>,
    /// Its line.
    depends_line: usize,
}

/// Reads one mart.
pub(crate) fn read(name: &str, text: Text<'_>, problems: &mut Vec<Problem>) -> Option<Mart> {
    if !sql_text::is_table_name(name) {
        problems.push(
            Problem::new(text.file, 0, format!("a mart cannot be named `{name}`"))
                .hint(format!("its file's name is the view's: {}", sql_text::TABLE_NAMES)),
        );
        return None;
    }
    let mut mart = Mart {
        name: name.to_owned(),
        file: text.file.to_owned(),
        file_sha256: crate::digest::sha256_hex(text.text.as_bytes()),
        description: None,
        materialized: Materialized::View,
        key: Vec::new(),
        key_line: 0,
        indexes: Vec::new(),
        reads: BTreeMap::new(),
        reads_elsewhere: BTreeSet::new(),
        sql: String::new(),
        sql_line: text.first_line,
        depends: Vec::new(),
        depends_line: 0,
    };
    let mut query = text;
    if let Some((comment, rest)) = sql_text::leading_comment(text, "mart") {
        if let Some(table) = comment.parse(problems) {
            read_comment(&mut mart, Section::top(comment, &table), problems);
        }
        query = rest;
    }
    query.text.trim_end().trim_end_matches(';').clone_into(&mut mart.sql);
    mart.sql_line = query.first_line;
    Some(mart)
}

fn read_comment(mart: &mut Mart, mut section: Section<'_>, problems: &mut Vec<Problem>) {
    mart.description = section.optional_string("description", problems);
    let words = [("view", Materialized::View), ("table", Materialized::Table)];
    let word = choose(&mut section, "materialized", &words, Some(Materialized::View), problems);
    mart.materialized = word.unwrap_or(Materialized::View);
    mart.key_line = section.line_of("key");
    mart.key = section.optional_strings("key", problems).unwrap_or_default();
    mart.indexes = read_indexes(&mut section, &mart.name, &mart.key, None, problems);
    // A word that is none has been told already.
    if word == Some(Materialized::View) {
        for key in ["key", "indexes"] {
            if section.has(key) {
                let problem = section.problem(key, format!("`{key}` of a view"));
                problems.push(problem.hint(
                    "add `materialized = \"table\"`, or leave it out: a view holds no rows of its own",
                ));
            }
        }
    }
    mart.depends_line = section.line_of("depends");
    mart.depends = section.optional_strings("depends", problems).unwrap_or_default();
    section.finish(problems);
}

/// Finds out what each mart reads, and puts them behind those they read. A name that nothing makes is an
/// error when all models are known.
pub(crate) fn in_order(
    mut marts: Vec<Mart>,
    models: &[Model],
    all_are_known: bool,
    schema: Option<&str>,
    problems: &mut Vec<Problem>,
) -> Vec<Mart> {
    let histories = models.iter().filter(|model| model.history).map(Model::history_table);
    let tables = models.iter().map(|model| model.table.clone()).chain(histories);
    let known: BTreeSet<String> =
        tables.chain(marts.iter().map(|mart| mart.name.clone())).collect();
    for mart in &mut marts {
        let mut found = Vec::new();
        resolve(mart, &known, schema, &mut found);
        problems.extend(
            found
                .into_iter()
                .filter(|(is_of_names, _)| all_are_known || !is_of_names)
                .map(|(_, problem)| problem),
        );
    }
    let mut waiting = marts;
    let mut ordered: Vec<Mart> = Vec::new();
    while !waiting.is_empty() {
        let stands_on = |mart: &Mart, other: &Mart| mart.reads.contains_key(&other.name);
        let ready =
            waiting.iter().position(|mart| !waiting.iter().any(|other| stands_on(mart, other)));
        if ready.is_none() {
            problems.push(circle(&waiting));
            return ordered;
        }
        ordered.push(waiting.remove(ready.unwrap_or(0)));
    }
    ordered
}

/// Sorts what the query names into the folder's and others', and reports what is neither: each problem with
/// whether it is one of a name.
fn resolve(
    mart: &mut Mart,
    known: &BTreeSet<String>,
    schema: Option<&str>,
    problems: &mut Vec<(bool, Problem)>,
) {
    let words = sql_text::identifiers(&mart.sql);
    for name in &mart.depends {
        if known.contains(name) {
            mart.reads.insert(name.clone(), mart.depends_line);
        } else if words.contains(name) {
            mart.reads_elsewhere.insert(name.clone());
        } else {
            let message = format!(
                "`depends` names `{name}`, which no model or mart makes and the query does not name"
            );
            let near = did_you_mean(name, known.iter().map(String::as_str));
            problems.push((true, Problem::new(&mart.file, mart.depends_line, message).hint(near)));
        }
    }
    let named = match sql_reads::tables(&mart.sql) {
        Ok(named) => named,
        // PostgreSQL takes more than the parser does.
        Err(_) if !mart.depends.is_empty() => return,
        Err(unread) => {
            let message = format!("what the query reads cannot be told: {}", unread.message);
            let hint = "mend it; or, if PostgreSQL takes it as it is, name the tables and marts it reads in its leading \
                        comment: `depends = [\"...\"]`";
            let line = mart.sql_line + unread.line;
            problems.push((false, Problem::new(&mart.file, line, message).hint(hint)));
            return;
        }
    };
    for found in named {
        let line = mart.sql_line + found.line;
        let ours = found.schema.is_none() || found.schema.as_deref() == schema;
        let is_catalog = found.schema.is_none() && found.name.starts_with("pg_");
        if !ours {
            let schema = found.schema.unwrap_or_default();
            mart.reads_elsewhere.insert(format!("{schema}.{}", found.name));
        } else if known.contains(&found.name) {
            mart.reads.insert(found.name, line);
        } else if is_catalog || mart.depends.contains(&found.name) {
            mart.reads_elsewhere.insert(found.name);
        } else {
            let message = format!("the query reads `{}`, which no model or mart makes", found.name);
            let near = did_you_mean(&found.name, known.iter().map(String::as_str));
            let hint = if found.name.starts_with("raw_") {
                format!("the rows of a fetch are there for models only; {near}")
            } else {
                format!(
                    "{near}; a table that is made elsewhere is named in `depends = [\"{}\"]`",
                    found.name
                )
            };
            problems.push((true, Problem::new(&mart.file, line, message).hint(hint)));
        }
    }
}

/// Names a circle: each of the marts reads another of them.
fn circle(waiting: &[Mart]) -> Problem {
    let mut path: Vec<&Mart> = Vec::new();
    let mut at = &waiting[0];
    while !path.iter().any(|mart| mart.name == at.name) {
        path.push(at);
        let next = waiting.iter().find(|other| at.reads.contains_key(&other.name));
        at = next.expect("each of those that wait reads one of them");
    }
    let start = path.iter().position(|mart| mart.name == at.name).unwrap_or(0);
    let circle = &path[start..];
    let first = circle[0];
    let read_by = |place: usize| circle[(place + 1) % circle.len()];
    let line = first.reads.get(&read_by(0).name).copied().unwrap_or(0);
    if circle.len() == 1 {
        let message = format!("the mart `{}` reads itself", first.name);
        return Problem::new(&first.file, line, message)
            .hint("a mart is worked out anew from other tables; name what it should read");
    }
    let steps: Vec<String> = circle
        .iter()
        .enumerate()
        .map(|(place, mart)| {
            let next = read_by(place);
            format!("`{}` ({}) reads `{}`", mart.name, mart.file, next.name)
        })
        .collect();
    let message = format!("marts read each other in a circle: {}", steps.join(", "));
    Problem::new(&first.file, line, message)
        .hint("none of them could be made first: let one of them read tables instead")
}
