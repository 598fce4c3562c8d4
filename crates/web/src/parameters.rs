//! `$from` and `$to` in a page's SQL become bound parameters.
//!
//! In: SQL as the page's author wrote it. Out: SQL with `$1::date`, `$2::date` and the dates to bind,
//! only those that occur: PostgreSQL refuses a parameter it cannot find. Words in comments, string
//! literals, quoted identifiers and longer words (`$from_x`) stay as they are. The lines of the text
//! stay where they are, so that PostgreSQL's error position still names the file's line. Deliberately
//! absent: understanding SQL beyond its quoting.

use daymark_warehouse::ReadQuery;
use jiff::civil::Date;

use crate::range::DateRange;

/// The query of a page for a date range.
pub(crate) fn bind(sql: &str, range: DateRange) -> ReadQuery {
    let mut bound = String::with_capacity(sql.len());
    let mut params: Vec<(&str, Date)> = Vec::new();
    let mut rest = sql;
    // The two characters before `rest`, the nearer one last.
    let mut before = [None, None];
    while let Some(first) = rest.chars().next() {
        // `a$from` is one identifier in PostgreSQL.
        let parameter = if before[1].is_some_and(is_word) { None } else { parameter(rest) };
        let taken = if let Some(word) = parameter {
            let place = params.iter().position(|(known, _)| *known == word).unwrap_or_else(|| {
                params.push((word, date_of(word, range)));
                params.len() - 1
            });
            bound.push_str(&format!("${}::date", place + 1));
            word
        } else {
            let length = skipped(rest, before).unwrap_or(first.len_utf8());
            bound.push_str(&rest[..length]);
            &rest[..length]
        };
        rest = &rest[taken.len()..];
        for c in taken.chars() {
            before = [before[1], Some(c)];
        }
    }
    ReadQuery { sql: bound, params: params.into_iter().map(|(_, date)| date).collect() }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// The parameter the text starts with.
fn parameter(text: &str) -> Option<&'static str> {
    ["$from", "$to"]
        .into_iter()
        .find(|word| text.strip_prefix(word).is_some_and(|after| !after.starts_with(is_word)))
}

fn date_of(word: &str, range: DateRange) -> Date {
    if word == "$from" { range.from } else { range.to }
}

/// How long the comment, literal or quoted identifier is that the text starts with.
fn skipped(text: &str, before: [Option<char>; 2]) -> Option<usize> {
    if text.starts_with("--") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(block_comment(text));
    }
    match text.chars().next()? {
        quote @ ('\'' | '"') => {
            // Only in `E'...'` does a backslash escape the quote after it.
            let alone = matches!(before[1], Some('e' | 'E')) && !before[0].is_some_and(is_word);
            let escapes = quote == '\'' && alone;
            Some(quoted(text, quote, escapes))
        }
        '$' if !before[1].is_some_and(is_word) => dollar_quoted(text),
        _ => None,
    }
}

/// Block comments nest in PostgreSQL.
fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += c.len_utf8();
        }
    }
    at
}

/// A doubled quote ends one literal and starts the next, which comes to the same.
fn quoted(text: &str, quote: char, escapes: bool) -> usize {
    let mut characters = text.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        if escapes && c == '\\' {
            characters.next();
        } else if c == quote {
            return at + 1;
        }
    }
    text.len()
}

fn dollar_quoted(text: &str) -> Option<usize> {
    let (tag, body) = text.strip_prefix('$')?.split_once('$')?;
    let is_tag = !tag.starts_with(|c: char| c.is_ascii_digit())
        && tag.chars().all(|c| c.is_alphanumeric() || c == '_');
    if !is_tag {
        return None;
    }
    let fence = format!("${tag}$");
    Some(body.find(&fence).map_or(text.len(), |end| 2 * fence.len() + end))
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn bound(sql: &str) -> (String, Vec<String>) {
        let range = DateRange { from: date(2026, 11, 1), to: date(2026, 11, 23) };
        let query = bind(sql, range);
        (query.sql, query.params.iter().map(Date::to_string).collect())
    }

    fn unchanged(sql: &str) {
        assert_eq!(bound(sql), (sql.to_owned(), Vec::new()));
    }

    #[test]
    fn both_dates_are_bound() {
        let (sql, params) = bound("select * from t where d between $from and $to or d=$from");
        assert_eq!(sql, "select * from t where d between $1::date and $2::date or d=$1::date");
        assert_eq!(params, ["2026-11-01", "2026-11-23"]);
    }

    #[test]
    fn a_date_that_does_not_occur_is_not_bound() {
        let (sql, params) = bound("select $to, $to-1, f($to)");
        assert_eq!(sql, "select $1::date, $1::date-1, f($1::date)");
        assert_eq!(params, ["2026-11-23"]);
        unchanged("select 1");
    }

    #[test]
    fn the_first_that_occurs_is_the_first_bound() {
        let (sql, params) = bound("where d <= $to and d >= $from");
        assert_eq!(sql, "where d <= $1::date and d >= $2::date");
        assert_eq!(params, ["2026-11-23", "2026-11-01"]);
    }

    #[test]
    fn longer_words_stay() {
        unchanged("select $from_x, $today, $tomorrow, a$from, $1, $from1");
    }

    #[test]
    fn comments_and_literals_stay() {
        unchanged("select 1 -- $from");
        unchanged("select /* $from /* $to */ $from */ 1");
        unchanged("select '$from', 'it''s $to', \"$to\", e'\\' $from'");
        unchanged("select $$ $from $$, $q$ $to $q$, $from$ $to $from$");
    }

    #[test]
    fn what_follows_a_comment_or_literal_is_bound() {
        let (sql, _) = bound("select date'\\', $from -- x\n, /* y */ $to, $$z$$, $to");
        assert_eq!(sql, "select date'\\', $1::date -- x\n, /* y */ $2::date, $$z$$, $2::date");
    }

    #[test]
    fn unfinished_quotes_end_the_text() {
        for sql in ["'$from", "\"$from", "/* $from", "$$ $from", "-- $from", "e'\\", "$"] {
            unchanged(sql);
        }
    }
}
