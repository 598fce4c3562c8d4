//! Whether a successful answer is one: a 200 can be wrong.
//!
//! In: a body and the `[expect]` and `[rows]` of its source. Out: what extraction found, and the
//! reason to refuse it, if any, in a sentence that names what was found. Deliberately absent: any
//! change to the bytes.

use std::fmt::Write as _;

use daymark_extract::{ExtractError, Summary};
use daymark_plan::{Expect, RowsSpec};

use crate::error::ErrorKind;
use crate::keys::Extension;
use crate::manifest::{MAX_REJECTS, RowCounts};
use crate::words::{chain, message_of, short};

/// Why writing to a string cannot fail.
const TAKES_ALL: &str = "a string takes everything";

/// How many characters of the end of a truncated body are shown.
const LAST_WORDS: usize = 70;

/// What verification found.
#[derive(Debug)]
pub(crate) struct Verified {
    /// What extraction found; none when it was not reached or failed.
    pub(crate) rows: Option<RowCounts>,
    /// Why the body is refused.
    pub(crate) refusal: Option<Refusal>,
}

/// Why a body is refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
}

/// Verifies the body of a successful answer.
pub(crate) fn verify(
    rows: &RowsSpec,
    expect: &Expect,
    content_type: Option<&str>,
    body: &[u8],
) -> Verified {
    let refused =
        |(kind, message)| Verified { rows: None, refusal: Some(Refusal { kind, message }) };
    if let Err(refusal) = expected(expect, content_type, body) {
        return refused(refusal);
    }
    match daymark_extract::scan(rows, body) {
        Ok(summary) => {
            let refusal = enough(expect, &summary)
                .map(|message| Refusal { kind: ErrorKind::Refused, message });
            Verified { rows: Some(counts(summary)), refusal }
        }
        Err(error) => refused((ErrorKind::BadResponse, in_words(&error, content_type, body))),
    }
}

/// `[expect] absent` and `present`.
fn expected(
    expect: &Expect,
    content_type: Option<&str>,
    body: &[u8],
) -> Result<(), (ErrorKind, String)> {
    let matches = |path| {
        daymark_extract::matches_value(path, body)
            .map_err(|error| (ErrorKind::BadResponse, in_words(&error, content_type, body)))
    };
    for path in &expect.absent {
        if matches(path)? {
            let words = message_of(body).map(|words| format!(": {words}")).unwrap_or_default();
            return Err((ErrorKind::Refused, format!("`{}` is present{words}", path.text())));
        }
    }
    for path in &expect.present {
        if !matches(path)? {
            return Err((ErrorKind::Refused, format!("`{}` is absent", path.text())));
        }
    }
    Ok(())
}

/// What extraction could not do, with what helps to see why: of a body that is no JSON what it was
/// said to be and says; of one that is, the message it holds, for an error object that `[expect]`
/// does not name is still best told in its own words.
fn in_words(error: &ExtractError, content_type: Option<&str>, body: &[u8]) -> String {
    let mut words = chain(error);
    if !matches!(error, ExtractError::Empty) && Extension::of(body) == Extension::Txt {
        let said = content_type.map(|said| format!("content type `{}`", short(said)));
        let said = said.unwrap_or_else(|| "no content type".to_owned());
        write!(words, " ({said})").expect(TAKES_ALL);
    }
    if let ExtractError::NotJson { found, .. } = error
        && found.is_empty()
    {
        // It ended too early: its last words may say why.
        let text = String::from_utf8_lossy(body);
        let from = text.char_indices().rev().nth(LAST_WORDS).map_or(0, |(at, _)| at);
        write!(words, "; it ends with `{}`", short(&text[from..])).expect(TAKES_ALL);
    }
    if let Some(message) = message_of(body) {
        write!(words, "; it says: {message}").expect(TAKES_ALL);
    }
    words
}

/// `min_rows` and `max_reject_ratio`.
fn enough(expect: &Expect, summary: &Summary) -> Option<String> {
    let (extracted, rejected) = (summary.extracted, summary.rejected);
    let all = extracted + rejected;
    let rejects = || {
        let rows = plural(all);
        let first = summary.rejects.first().map(|first| format!(" (first: {first})"));
        let first = first.unwrap_or_default();
        format!("{rejected} of {all} {rows} rejected{first}")
    };
    if extracted < expect.min_rows {
        let found =
            format!("{extracted} {}, at least {} expected", plural(extracted), expect.min_rows);
        return Some(if rejected == 0 { found } else { format!("{found}; {}", rejects()) });
    }
    // Counts of rows are far below 2^52, where a float stops being exact.
    #[expect(clippy::cast_precision_loss, reason = "a ratio for a threshold")]
    let ratio = if all == 0 { 0.0 } else { rejected as f64 / all as f64 };
    (ratio > expect.max_reject_ratio).then(rejects)
}

fn plural(count: u64) -> &'static str {
    if count == 1 { "row" } else { "rows" }
}

fn counts(summary: Summary) -> RowCounts {
    let rejects = summary.rejects.into_iter().take(MAX_REJECTS).collect();
    RowCounts {
        extracted: summary.extracted,
        rejected: summary.rejected,
        rejects,
        rows_sha256: summary.rows_sha256,
    }
}
