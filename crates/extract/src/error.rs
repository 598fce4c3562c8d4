//! Why a body has no rows at all.
//!
//! In: what the other modules found. Out: [`ExtractError`], whose text a stranger understands.
//! Deliberately absent: values that do not fit; they set a row aside as a
//! [`Reject`](crate::Reject) and never stop the rest.

/// Why a body was refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// There is nothing in it.
    #[error("the body is empty")]
    Empty,
    /// It is a page for people, such as an error page of a gateway.
    #[error("the body is not {wanted}: it looks like HTML, it starts with `{found}`")]
    Html {
        /// What it should be.
        wanted: &'static str,
        /// How it starts.
        found: String,
    },
    /// JSON is UTF-8; this is something else.
    #[error("the body is not UTF-8 at {position}")]
    NotUtf8 {
        /// The first byte that is wrong.
        position: Position,
    },
    /// It is not in the encoding it says it is in, or seems to be in.
    #[error("the body is not {encoding} at {position}")]
    NotDecodable {
        /// The encoding.
        encoding: &'static str,
        /// The first byte that is wrong.
        position: Position,
    },
    /// It is not JSON, or ends before the JSON does.
    #[error("the body is not whole JSON: {reason} at {position}{}", Found(found))]
    NotJson {
        /// What is wrong.
        reason: String,
        /// Where.
        position: Position,
        /// The text that stands there; empty at the end of the body.
        found: String,
    },
    /// The JSON is whole, but something stands behind it.
    #[error("the body goes on after the end of its JSON at {position}{}", Found(found))]
    TrailingText {
        /// Where it goes on.
        position: Position,
        /// What stands there.
        found: String,
    },
    /// Arrays and objects stand in one another more often than any honest response has them.
    #[error("the body nests arrays and objects more than {limit} deep at {position}")]
    TooDeep {
        /// How deep is taken.
        limit: usize,
        /// The bracket that is one too many.
        position: Position,
    },
    /// `at` matches nothing.
    #[error("the body has nothing at `{path}`")]
    NoPlace {
        /// The path as it is written in the source.
        path: String,
    },
    /// A path that may match several places could not be answered.
    #[error("`{path}` cannot be looked up in the body: {reason}")]
    Unsearchable {
        /// The path as it is written in the source.
        path: String,
        /// What `serde_json` could not hold.
        reason: String,
    },
    /// What is at a place is not what the layout makes rows of.
    #[error("`{place}` holds {found}, but the layout `{layout}` wants {wanted}")]
    NotRows {
        /// The place.
        place: String,
        /// The layout.
        layout: &'static str,
        /// What it wants, with its article.
        wanted: &'static str,
        /// What is there, with its article.
        found: &'static str,
    },
    /// A field that is not optional is nowhere in the response.
    #[error("the field `{field}` is missing: nothing at {}", quoted(paths, " or "))]
    MissingField {
        /// The field.
        field: String,
        /// Where it was looked for, from the root.
        paths: Vec<String>,
    },
    /// A table has no column for a field that is not optional.
    #[error(
        "the field `{field}` is missing: no column {} in the {} `{header}`",
        columns.join(" or "),
        if *named { "header" } else { "first line" }
    )]
    MissingColumn {
        /// The field.
        field: String,
        /// The columns it was looked for in: names in backticks, numbers as they are.
        columns: Vec<String>,
        /// Whether the table has a header.
        named: bool,
        /// The header or first line.
        header: String,
    },
    /// A mapped name stands in the header twice.
    #[error("the header has `{column}` twice: `{header}`")]
    RepeatedColumn {
        /// The name.
        column: String,
        /// The header.
        header: String,
    },
    /// What should name the columns of a grid does not.
    #[error("`{path}` holds {found} where the names of the columns should be")]
    NotHeader {
        /// Where the names should be.
        path: String,
        /// What is there.
        found: String,
    },
    /// A quoted cell is not closed, so all that follows would be one cell.
    #[error("the quote at {position} is never closed")]
    OpenQuote {
        /// The quote.
        position: Position,
    },
    /// A column of the entity is not of its type.
    #[error("the entity's value `{value}` does not fit its column: {reason}")]
    EntityValue {
        /// The value.
        value: String,
        /// Why it does not fit.
        reason: String,
    },
    /// Parallel arrays that are not parallel.
    #[error("the arrays of `{place}` differ in length: {}", lengths_text(lengths))]
    UnequalLengths {
        /// The place.
        place: String,
        /// Every field that is an array, with its length.
        lengths: Vec<(String, u64)>,
    },
    /// The path of a field may match several values.
    #[error(
        "the path `{path}` of the field `{field}` may match several values: it must be made of names and indexes only"
    )]
    AmbiguousPath {
        /// The field.
        field: String,
        /// Its path as it is written in the source.
        path: String,
    },
    /// What a body is read from failed.
    #[error("the body could not be read: {reason}")]
    Unread {
        /// What was said.
        reason: String,
    },
    /// A body that is wanted whole came in pieces: a mistake of the program.
    #[error("rows of the layout `{layout}` cannot be read a piece at a time")]
    NotInPieces {
        /// The layout.
        layout: &'static str,
    },
    /// PostgreSQL has no table this wide.
    #[error("the source maps {count} fields, more than the {limit} that fit a table")]
    TooManyFields {
        /// How many.
        count: usize,
        /// How many fit.
        limit: usize,
    },
}

impl ExtractError {
    /// The same error of a line that starts behind `byte` bytes of the body, as its line `line`.
    pub(crate) fn behind(mut self, line: usize, byte: usize) -> Self {
        match &mut self {
            Self::NotUtf8 { position }
            | Self::OpenQuote { position }
            | Self::NotJson { position, .. }
            | Self::TrailingText { position, .. }
            | Self::TooDeep { position, .. } => {
                position.line += line - 1;
                position.byte += byte;
            }
            _ => {}
        }
        self
    }
}

/// A place in a body, for people and for `dd`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// The byte in the body, from 0, a byte order mark included.
    pub byte: usize,
}

impl Position {
    /// The position of a byte. What stands before it must be UTF-8 for the column to be exact.
    pub(crate) fn of(body: &[u8], byte: usize) -> Self {
        let before = body.get(..byte).unwrap_or(body);
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let line = before.split(|byte| *byte == b'\n').count();
        let column = 1 + String::from_utf8_lossy(&before[line_start..])
            .trim_start_matches('\u{feff}')
            .chars()
            .count();
        Self { line, column, byte }
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {} column {} (byte {})", self.line, self.column, self.byte)
    }
}

/// The tail of a message that shows what was found, if anything was.
struct Found<'a>(&'a str);

impl std::fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ", found `{}`", self.0) }
    }
}

fn quoted(words: &[String], between: &str) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    words.join(between)
}

fn lengths_text(lengths: &[(String, u64)]) -> String {
    let words: Vec<String> =
        lengths.iter().map(|(field, length)| format!("`{field}` has {length}")).collect();
    words.join(", ")
}

/// The first `limit` characters of a text on one line; a text that is cut ends in `…`.
pub(crate) fn excerpt(text: &str, limit: usize) -> String {
    let mut shown: String = text.chars().take(limit).collect();
    if shown.len() < text.len() {
        shown.pop();
        shown.push('…');
    }
    shown.replace(char::is_control, " ")
}
