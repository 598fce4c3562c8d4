//! `marts/*.sql`: queries over curated tables, published as views.
//!
//! In: SQL files, with an optional leading comment `/* mart ... */` in TOML. Out: [`Mart`]s in the
//! order they can be created in. Deliberately absent: `materialized = "table"`, which comes with the
//! publish issue.

use crate::problem::Problem;
use crate::section::{Section, Text};
use crate::sql_text;

/// A view over curated tables and other marts.
#[derive(Debug, Clone)]
pub struct Mart {
    /// The view's name: the file's name without `.sql`.
    pub name: String,
    /// The file, relative to the pipeline folder.
    pub file: String,
    /// What it is, in a sentence; kept as the view's comment.
    pub description: Option<String>,
    /// The query, as it stands in the file after the comment.
    pub sql: String,
    /// The line of the file the query's text starts on.
    pub sql_line: usize,
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
    let mut description = None;
    let query = match sql_text::leading_comment(text, "mart") {
        Some((comment, query)) => {
            if let Some(table) = comment.parse(problems) {
                let mut section = Section::top(comment, &table);
                description = section.optional_string("description", problems);
                section.finish(problems);
            }
            query
        }
        None => text,
    };
    Some(Mart {
        name: name.to_owned(),
        file: text.file.to_owned(),
        description,
        sql: query.text.trim_end().trim_end_matches(';').to_owned(),
        sql_line: query.first_line,
    })
}

/// Puts marts behind the marts they read. A word in a query may also be a column of that name, so what
/// looks like a circle need not be one: the rest follows by name, and PostgreSQL judges.
pub(crate) fn in_order(mut waiting: Vec<Mart>) -> Vec<Mart> {
    let mut ordered: Vec<Mart> = Vec::new();
    while !waiting.is_empty() {
        let ready = waiting.iter().position(|mart| {
            let reads = sql_text::identifiers(&mart.sql);
            !waiting.iter().any(|other| other.name != mart.name && reads.contains(&other.name))
        });
        ordered.push(waiting.remove(ready.unwrap_or(0)));
    }
    ordered
}
