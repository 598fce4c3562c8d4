//! Whether a body is one whole JSON text.
//!
//! In: bytes as received. Out: its root value, which [`crate::json`] may walk without checking
//! again, or the error with its position. Deliberately absent: what the JSON means.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::error::{ExtractError, Position, excerpt};
use crate::json::{self, Json};

/// How deep arrays and objects may stand in one another. `serde_json`, which answers the paths with
/// wildcards, takes no more, and PostgreSQL's `jsonb` has a limit of its own.
const MAX_DEPTH: usize = 127;

/// How much of an unexpected text an error shows.
const SHOWN: usize = 80;

/// The text of a body behind its byte order mark, and how many bytes that mark has. The text is not
/// empty, and not a page for people.
pub(crate) fn text<'b>(
    body: &'b [u8],
    wanted: &'static str,
) -> Result<(&'b str, usize), ExtractError> {
    let text = match std::str::from_utf8(body) {
        Ok(text) => text,
        Err(error) => {
            let position = Position::of(body, error.valid_up_to());
            return Err(ExtractError::NotUtf8 { position });
        }
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mark = body.len() - text.len();
    let trimmed = text.trim_ascii();
    if trimmed.is_empty() {
        return Err(ExtractError::Empty);
    }
    if trimmed.starts_with('<') {
        return Err(ExtractError::Html { wanted, found: excerpt(trimmed, SHOWN) });
    }
    Ok((text, mark))
}

/// Checks a body and returns its root value.
pub(crate) fn check(body: &[u8]) -> Result<Json<'_>, ExtractError> {
    let (text, mark) = text(body, "JSON")?;
    let trimmed = text.trim_ascii();
    let mut parser = serde_json::Deserializer::from_str(text);
    if let Err(error) = IgnoredAny::deserialize(&mut parser) {
        let at = byte_of(text, &error);
        return Err(ExtractError::NotJson {
            reason: reason(&error),
            position: Position::of(body, mark + at),
            found: excerpt(text[at..].trim_ascii_end(), SHOWN),
        });
    }
    if let Err(error) = parser.end() {
        let at = byte_of(text, &error);
        return Err(ExtractError::TrailingText {
            position: Position::of(body, mark + at),
            found: excerpt(text[at..].trim_ascii_end(), SHOWN),
        });
    }
    if let Some(at) = json::deeper_than(text, MAX_DEPTH) {
        let position = Position::of(body, mark + at);
        return Err(ExtractError::TooDeep { limit: MAX_DEPTH, position });
    }
    Ok(Json::checked(trimmed))
}

/// The byte of `text` an error of `serde_json` speaks of. Its column counts bytes, up to and with the
/// one at fault; at the end of the text there is none.
fn byte_of(text: &str, error: &serde_json::Error) -> usize {
    if error.is_eof() {
        return text.len();
    }
    let lines = text.split_inclusive('\n').take(error.line().saturating_sub(1));
    let at = lines.map(str::len).sum::<usize>() + error.column().saturating_sub(1);
    text.floor_char_boundary(at)
}

/// `serde_json`'s reason without the position it appends, which does not know of the mark.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
    match reason.strip_prefix("EOF while parsing a") {
        Some(rest) => format!("it ends inside a{rest}"),
        None => reason.to_owned(),
    }
}
