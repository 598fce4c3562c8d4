//! SQL files as text: the leading comment, the names a query uses, what may be a name.
//!
//! In: the text of a `.sql` file. Out: its TOML comment and its query, and the plain identifiers in
//! the query. Deliberately absent: understanding SQL; PostgreSQL does that.

use crate::problem::Problem;
use crate::section::{Section, Text};

/// Whether a word can be a table, column or schema name without quotes.
pub(crate) fn is_identifier(word: &str) -> bool {
    let mut bytes = word.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && word.len() <= 63
}

/// The longest name of a table: `staged_<table>` must be a name as well (63 bytes at most).
const LONGEST_TABLE: usize = 56;

/// Whether a word can be a curated table or a mart. Names that start with `pg_` are the catalog's,
/// which is searched first.
pub(crate) fn is_table_name(word: &str) -> bool {
    is_identifier(word)
        && word.len() <= LONGEST_TABLE
        && !word.starts_with('_')
        && !word.starts_with("pg_")
}

/// What [`is_table_name`] accepts, for a hint.
pub(crate) const TABLE_NAMES: &str =
    "a-z, 0-9 and _, a letter first, not `pg_`, at most 56 characters";

/// Reports a column name that PostgreSQL would need quotes for, or that is ours.
pub(crate) fn check_column_name(section: &Section<'_>, name: &str, problems: &mut Vec<Problem>) {
    if !is_identifier(name) {
        let problem = section.problem(name, format!("`{name}` cannot be a column"));
        problems
            .push(problem.hint("accepted: a-z, 0-9 and _, a letter first, at most 63 characters"));
    } else if name.starts_with('_') {
        let problem = section.problem(name, format!("the column `{name}` starts with `_`"));
        problems.push(problem.hint("names that start with `_` are daymark's own columns"));
    }
}

/// Splits a file that starts with a comment `/* WORD ... */` into the comment's text and the rest.
pub(crate) fn leading_comment<'t>(text: Text<'t>, word: &str) -> Option<(Text<'t>, Text<'t>)> {
    let trimmed = text.text.trim_start();
    let start = text.text.len() - trimmed.len();
    let after_open = trimmed.strip_prefix("/*")?;
    let after_word = after_open.trim_start_matches([' ', '\t']).strip_prefix(word)?;
    if !after_word.starts_with(['\n', '\r', ' ', '*']) {
        return None;
    }
    let (comment, query) = after_word.split_once("*/")?;
    let comment_at = start + (trimmed.len() - after_word.len());
    let query = query.trim_start();
    let query_at = text.text.len() - query.len();
    Some((
        Text { file: text.file, text: comment, first_line: text.line(comment_at) },
        Text { file: text.file, text: query, first_line: text.line(query_at) },
    ))
}

/// The words of a query that could be table names, lower-cased: identifiers outside of comments and
/// string literals, quoted ones included.
pub(crate) fn identifiers(sql: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("--") {
            rest = after.split_once('\n').map_or("", |(_, tail)| tail);
        } else if rest.starts_with("/*") {
            rest = skip_block_comment(rest);
        } else if first == '\'' {
            rest = skip_quoted(&rest[1..], '\'').1;
        } else if first == '"' {
            let (inner, tail) = skip_quoted(&rest[1..], '"');
            found.push(inner.to_owned());
            rest = tail;
        } else if let Some(tail) = dollar_quoted(rest) {
            rest = tail;
        } else if let Some(body) = rest.strip_prefix("E'").or_else(|| rest.strip_prefix("e'")) {
            rest = skip_escaped(body);
        } else if first.is_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let (word, tail) = rest.split_at(end);
            found.push(word.to_lowercase());
            rest = tail;
        } else if first.is_ascii_digit() {
            // `1e5` is a number, not a name.
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            rest = &rest[end..];
        } else {
            rest = &rest[first.len_utf8()..];
        }
    }
    found
}

fn skip_block_comment(text: &str) -> &str {
    let mut depth = 0_usize;
    let mut rest = text;
    loop {
        if let Some(after) = rest.strip_prefix("/*") {
            depth += 1;
            rest = after;
        } else if let Some(after) = rest.strip_prefix("*/") {
            depth -= 1;
            rest = after;
            if depth == 0 {
                return rest;
            }
        } else {
            match rest.chars().next() {
                Some(skipped) => rest = &rest[skipped.len_utf8()..],
                None => return rest,
            }
        }
    }
}

/// What stands before the closing quote, and what after it; a doubled quote is a quote.
fn skip_quoted(text: &str, quote: char) -> (&str, &str) {
    let mut from = 0;
    while let Some(at) = text[from..].find(quote) {
        let end = from + at;
        let after = &text[end + quote.len_utf8()..];
        if !after.starts_with(quote) {
            return (&text[..end], after);
        }
        from = end + 2 * quote.len_utf8();
    }
    (text, "")
}

/// What follows the end of an `E'...'` literal, in which a backslash escapes a quote.
fn skip_escaped(text: &str) -> &str {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if c == '\'' && !escaped {
            return &text[at + 1..];
        }
        escaped = c == '\\' && !escaped;
    }
    ""
}

/// What follows a `$tag$...$tag$` literal, when the text starts with one.
fn dollar_quoted(text: &str) -> Option<&str> {
    let after = text.strip_prefix('$')?;
    let (tag, _) = after.split_once('$')?;
    if !tag.chars().all(|c| c.is_alphanumeric() || c == '_')
        || tag.starts_with(|c: char| c.is_ascii_digit())
    {
        return None;
    }
    let fence = format!("${tag}$");
    let body = text.strip_prefix(fence.as_str())?;
    Some(body.split_once(fence.as_str()).map_or("", |(_, tail)| tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_skip_comments_strings_and_numbers() {
        let sql = "select a.B, 'raw_x', $$raw_y$$, 1e5 -- raw_z\nfrom \"Raw\" /* raw_w /* q */ */ join raw_v on $1";
        assert_eq!(identifiers(sql), ["select", "a", "b", "from", "Raw", "join", "raw_v", "on"]);
    }

    #[test]
    fn a_backslash_escapes_a_quote_in_e_literals_only() {
        assert_eq!(identifiers(r"select E'it\'s' from a"), ["select", "from", "a"]);
        assert_eq!(identifiers(r"select '\' from a"), ["select", "from", "a"]);
        assert_eq!(identifiers(r"select see'x' from a"), ["select", "see", "from", "a"]);
    }

    #[test]
    fn unfinished_literals_end_the_text() {
        for sql in ["'abc", "e'abc", "\"abc", "/* abc", "$$abc", "--", "$"] {
            identifiers(sql);
        }
    }

    #[test]
    fn the_leading_comment_and_the_query_know_their_lines() {
        let text =
            Text { file: "m.sql", text: "/* model\ntable = \"t\"\n*/\nselect 1", first_line: 1 };
        let (comment, query) = leading_comment(text, "model").unwrap();
        assert_eq!((comment.text, comment.first_line), ("\ntable = \"t\"\n", 1));
        assert_eq!((query.text, query.first_line), ("select 1", 4));
        assert!(leading_comment(text, "mart").is_none());
    }
}
