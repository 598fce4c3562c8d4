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

/// The longest name of a table: `differing_<table>` must be a name as well (63 bytes at most).
const LONGEST_TABLE: usize = 53;

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
    "a-z, 0-9 and _, a letter first, not `pg_`, at most 53 characters";

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
    let words = tokens(sql).into_iter().filter_map(|token| match token {
        Token::Word(word) => Some(word),
        Token::Mark(_) => None,
    });
    words.collect()
}

/// Whether a query has a parameter such as `$1`.
pub(crate) fn has_parameter(sql: &str) -> bool {
    let tokens = tokens(sql);
    tokens.windows(2).any(|pair| pair == [Token::Mark('$'), Token::Mark('0')])
}

/// A piece of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// An identifier or a keyword, lower-cased unless it was quoted.
    Word(String),
    /// A character of punctuation; `'` is a whole literal, `0` a whole number.
    Mark(char),
}

fn tokens(sql: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("--") {
            rest = after.split_once('\n').map_or("", |(_, tail)| tail);
        } else if rest.starts_with("/*") {
            rest = skip_block_comment(rest);
        } else if first == '\'' {
            found.push(Token::Mark('\''));
            rest = skip_quoted(&rest[1..], '\'').1;
        } else if first == '"' {
            let (inner, tail) = skip_quoted(&rest[1..], '"');
            found.push(Token::Word(inner.to_owned()));
            rest = tail;
        } else if let Some(tail) = dollar_quoted(rest) {
            found.push(Token::Mark('\''));
            rest = tail;
        } else if let Some(body) = rest.strip_prefix("E'").or_else(|| rest.strip_prefix("e'")) {
            found.push(Token::Mark('\''));
            rest = skip_escaped(body);
        } else if first.is_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let (word, tail) = rest.split_at(end);
            found.push(Token::Word(word.to_lowercase()));
            rest = tail;
        } else if first.is_ascii_digit() {
            // `1e5` is a number, not a name.
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            found.push(Token::Mark('0'));
            rest = &rest[end..];
        } else {
            if !first.is_whitespace() {
                found.push(Token::Mark(first));
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    found
}

/// Functions in whose parentheses `from` names no table.
const FROM_INSIDE: [&str; 5] = ["extract", "substring", "trim", "overlay", "position"];

/// Functions that may stand in place of a table and read none.
const SET_FUNCTIONS: [&str; 7] = [
    "generate_series",
    "unnest",
    "jsonb_array_elements",
    "jsonb_array_elements_text",
    "jsonb_each",
    "jsonb_each_text",
    "string_to_table",
];

/// The tables a query names behind `from` and `join`, qualified as they are there; not those it makes
/// itself in `with`. What cannot be told from a table is taken for one.
pub(crate) fn tables(sql: &str) -> Vec<String> {
    /// What is known of an open parenthesis.
    #[derive(Default)]
    struct Frame {
        in_from: bool,
        is_function: bool,
    }
    let tokens = tokens(sql);
    let word = |at: usize| match tokens.get(at) {
        Some(Token::Word(word)) => Some(word.as_str()),
        _ => None,
    };
    let mark = |at: usize, mark: char| tokens.get(at) == Some(&Token::Mark(mark));
    let mut found: Vec<String> = Vec::new();
    let mut made: Vec<&str> = Vec::new();
    let mut frames = vec![Frame::default()];
    let mut expected = false;
    for at in 0..tokens.len() {
        let before = at.checked_sub(1).and_then(word);
        if mark(at, '(') {
            if let Some(frame) = frames.last_mut() {
                frame.in_from |= expected;
            }
            let is_function = before.is_some_and(|name| FROM_INSIDE.contains(&name));
            frames.push(Frame { in_from: false, is_function });
            continue;
        }
        if mark(at, ')') {
            frames.pop();
            expected = false;
            continue;
        }
        // One closed too often is PostgreSQL's to tell.
        if frames.is_empty() {
            frames.push(Frame::default());
        }
        let Some(frame) = frames.last_mut() else { continue };
        if mark(at, ',') {
            expected = frame.in_from;
        }
        let Some(name) = word(at) else { continue };
        if expected && !["lateral", "only", "select", "with", "values"].contains(&name) {
            let mut whole = name.to_owned();
            let mut next = at + 1;
            while let (true, Some(part)) = (mark(next, '.'), word(next + 1)) {
                whole = format!("{whole}.{part}");
                next += 2;
            }
            frame.in_from = true;
            expected = false;
            if !(mark(next, '(') && SET_FUNCTIONS.contains(&whole.as_str())) {
                found.push(whole);
            }
            continue;
        }
        match name {
            "from" if !frame.is_function && before != Some("distinct") => expected = true,
            "join" | "table" => expected = true,
            "select" | "with" | "values" => {
                expected = false;
                frame.in_from = false;
            }
            "where" | "group" | "order" | "having" | "limit" | "offset" | "window" | "union"
            | "intersect" | "except" => frame.in_from = false,
            _ => {}
        }
        let mut next = at + 1;
        if word(next) == Some("as") {
            next += 1;
            while matches!(word(next), Some("not" | "materialized")) {
                next += 1;
            }
            if mark(next, '(') {
                made.push(name);
            }
        }
    }
    found.retain(|table| !made.contains(&table.as_str()));
    found.sort();
    found.dedup();
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
    fn tables_stand_behind_from_and_join() {
        let of = |sql: &str| tables(sql).join(" ");
        assert_eq!(of("select * from staged where a is distinct from b"), "staged");
        assert_eq!(of("select extract(epoch from t), trim(both from x) from staged"), "staged");
        assert_eq!(
            of("select * from staged, price p, lateral (select 1) q, s.t"),
            "price s.t staged"
        );
        assert_eq!(
            of("with x as (select * from staged) select a, b from x join y using (a)"),
            "staged y"
        );
        assert_eq!(
            of("select 1 where exists (select from (a cross join only b) where true), c"),
            "a b"
        );
        assert_eq!(of("select * from generate_series(1, 2) g, mine(3)"), "mine");
        assert_eq!(of("select 'from x' -- from y\n/* from z */"), "");
        assert!(has_parameter("select $1") && !has_parameter("select $$1$$, '$1'"));
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
