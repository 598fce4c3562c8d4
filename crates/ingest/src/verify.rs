//! Whether a successful answer is one: a 200 can be wrong.
//!
//! In: a body and the `[expect]` and `[rows]` of its source. Out: what extraction found, and the
//! reason to refuse it, if any, in a sentence that names what was found. Deliberately absent: any
//! change to the bytes.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Read};

use bytes::Bytes;
use daymark_extract::{ExtractError, Outline, Scalar, Summary, outline, same_length, scalars_at};
use daymark_plan::{Expect, Incremental, JsonPath, RowsSpec, Source};

use crate::error::ErrorKind;
use crate::keys::Extension;
use crate::manifest::{MAX_REJECTS, RowCounts};
use crate::scrub::Scrubber;
use crate::words::{chain, message_of, short};

/// Why writing to a string cannot fail.
const TAKES_ALL: &str = "a string takes everything";

/// How many characters of the end of a truncated body are shown.
const LAST_WORDS: usize = 70;

/// How much of the beginning of a body that is not in memory is at hand for words about it.
const SHOWN_OF_LINES: u64 = 64 << 10;

/// What looking into an answer found.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// What extraction found; none when it was not reached or failed.
    pub(crate) rows: Option<RowCounts>,
    /// Why the body is refused.
    pub(crate) refusal: Option<Refusal>,
    /// The encoding the body was converted from.
    pub(crate) encoding: Option<&'static str>,
    /// The furthest cursor in it.
    pub(crate) cursor: Option<String>,
    /// Its paths and types, of a body that is taken; what it repeats of secrets still in it.
    pub(crate) outline: Option<Outline>,
    /// The body in UTF-8; let go once the next page is known.
    pub(crate) text: Bytes,
}

impl Looked {
    /// Whether nothing of the body has to be told in words.
    pub(crate) fn is_taken_as_it_is(&self) -> bool {
        self.refusal.is_none() && self.rows.as_ref().is_none_or(|rows| rows.rejected == 0)
    }

    /// Refuses the body, unless it is already.
    pub(crate) fn refuse(&mut self, kind: ErrorKind, message: String) {
        self.refusal.get_or_insert(Refusal { kind, message });
    }
}

/// Why a body is refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
}

/// What a body is looked at for, and what it was said to be.
#[derive(Debug, Clone)]
pub(crate) struct About {
    pub(crate) rows: RowsSpec,
    pub(crate) expect: Expect,
    pub(crate) incremental: Option<Incremental>,
    pub(crate) content_type: Option<String>,
}

impl About {
    /// Whether the body's lines, one after the other, are all that is asked for.
    pub(crate) fn needs_only_lines(&self) -> bool {
        let Expect { absent, present, same_length, .. } = &self.expect;
        daymark_extract::is_read_in_pieces(self.rows.layout)
            && self.incremental.is_none()
            && absent.is_empty()
            && present.is_empty()
            && same_length.is_empty()
    }
}

/// Looks through the body of a successful answer that is not in memory, if its lines are all that is
/// asked for and it is UTF-8; any other has to be there whole. `body` opens it.
pub(crate) fn look_through(
    about: &About,
    body: impl Fn() -> io::Result<Box<dyn Read + Send>>,
) -> io::Result<Option<Looked>> {
    let content_type = about.content_type.as_deref();
    let charset = content_type.and_then(charset);
    if !daymark_extract::is_plain_utf8(body()?, charset.as_deref())? {
        return Ok(None);
    }
    let mut looked = Looked::default();
    let mut start = Vec::new();
    body()?.take(SHOWN_OF_LINES).read_to_end(&mut start)?;
    if let Err((kind, message)) = expected(&about.expect, content_type, &start) {
        looked.refuse(kind, message);
        return Ok(Some(looked));
    }
    match daymark_extract::scan_read(&about.rows, body()?) {
        Ok(summary) => {
            looked.rows = Some(counts(summary));
            let is_whole = u64::try_from(start.len()).unwrap_or(u64::MAX) < SHOWN_OF_LINES;
            looked.outline = Some(outline(&about.rows, &start, is_whole));
        }
        Err(ExtractError::Unread { reason }) => return Err(io::Error::other(reason)),
        Err(error) => {
            // Its last words are not at hand.
            let words = match &error {
                ExtractError::NotJson { found, .. } if found.is_empty() => chain(&error),
                _ => in_words(&error, content_type, &start),
            };
            looked.refuse(ErrorKind::BadResponse, words);
        }
    }
    Ok(Some(looked))
}

/// Looks into the body of a successful answer. Of a body that repeats a secret and is not taken as it
/// is, words and rejected values are those of the same body without it: cut to a readable length they
/// might show a piece that nobody would recognise.
pub(crate) fn look_into(about: &About, body: &Bytes, scrubber: &Scrubber) -> Looked {
    let mut looked = look(about, body);
    if looked.refusal.is_none() {
        looked.outline = Some(outline(&about.rows, &looked.text, true));
    }
    if looked.is_taken_as_it_is() {
        return looked;
    }
    let shown = if looked.text.is_empty() { body } else { &looked.text };
    let Cow::Owned(clean) = scrubber.scrub_bytes(shown) else { return looked };
    let said = look(about, &clean.into());
    if let Some(refusal) = &mut looked.refusal {
        refusal.message = said.refusal.map_or_else(
            || "it repeats a secret where it is not what was expected".to_owned(),
            |said| said.message,
        );
    }
    if let Some(rows) = &mut looked.rows {
        rows.rejects = said.rows.map(|said| said.rejects).unwrap_or_default();
    }
    looked
}

fn look(about: &About, body: &Bytes) -> Looked {
    let About { rows, expect, incremental, content_type } = about;
    let content_type = content_type.as_deref();
    let mut looked = Looked::default();
    let charset = content_type.and_then(charset);
    match daymark_extract::to_utf8(body, charset.as_deref()) {
        Ok((Cow::Borrowed(text), encoding)) => {
            looked.text = body.slice_ref(text);
            looked.encoding = encoding;
        }
        Ok((Cow::Owned(text), encoding)) => {
            looked.text = text.into();
            looked.encoding = encoding;
        }
        Err(error) => {
            looked.refuse(ErrorKind::BadResponse, in_words(&error, content_type, body));
            return looked;
        }
    }
    let text = looked.text.clone();
    if let Err((kind, message)) = expected(expect, content_type, &text) {
        looked.refuse(kind, message);
        return looked;
    }
    match daymark_extract::scan(rows, &text) {
        Ok(summary) => looked.rows = Some(counts(summary)),
        Err(error) => {
            looked.refuse(ErrorKind::BadResponse, in_words(&error, content_type, &text));
            return looked;
        }
    }
    if let Some(incremental) = incremental {
        match furthest(incremental, &text) {
            Ok(cursor) => looked.cursor = cursor,
            Err(message) => looked.refuse(ErrorKind::Refused, message),
        }
    }
    looked
}

/// The furthest of the cursors in a body; none where there is none.
fn furthest(incremental: &Incremental, body: &[u8]) -> Result<Option<String>, String> {
    let path = &incremental.path;
    let scalars = scalars_at(path, body).map_err(|error| chain(&error))?;
    let mut furthest: Option<String> = None;
    for scalar in scalars {
        let text = match scalar {
            Scalar::Text(text) | Scalar::Number(text) => text,
            Scalar::Null => continue,
            Scalar::Boolean(value) => value.to_string(),
        };
        let kind = incremental.cursor_type;
        if kind.read(&text).is_none() {
            let (path, example) = (path.text(), kind.example());
            return Err(format!("the cursor `{}` at `{path}` is not {example}", short(&text)));
        }
        if furthest.as_deref().is_none_or(|before| kind.compare(&text, before).is_gt()) {
            furthest = Some(text);
        }
    }
    Ok(furthest)
}

/// The `charset` of a content type.
pub(crate) fn charset(content_type: &str) -> Option<String> {
    let parameters = content_type.split(';').skip(1);
    let mut named = parameters.filter_map(|parameter| parameter.split_once('='));
    let (_, charset) = named.find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))?;
    Some(charset.trim().trim_matches('"').to_owned())
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
    if let Some(accepted) = &expect.content_type {
        let said = content_type.unwrap_or_default();
        let starts = said.get(..accepted.len());
        if !starts.is_some_and(|start| start.eq_ignore_ascii_case(accepted)) {
            let said =
                if said.is_empty() { "missing".to_owned() } else { format!("`{}`", short(said)) };
            return Err((
                ErrorKind::Refused,
                format!("the content type is {said}, not `{accepted}`"),
            ));
        }
    }
    for path in &expect.absent {
        if matches(path)? {
            let words = message_of(body).or_else(|| text_at(path, body));
            let words = words.map(|words| format!(": {words}")).unwrap_or_default();
            return Err((ErrorKind::Refused, format!("`{}` is present{words}", path.text())));
        }
    }
    for path in &expect.present {
        if !matches(path)? {
            return Err((ErrorKind::Refused, format!("`{}` is absent", path.text())));
        }
    }
    if !expect.same_length.is_empty() {
        let lengths = same_length(&expect.same_length, body)
            .map_err(|error| (ErrorKind::BadResponse, in_words(&error, content_type, body)))?;
        if let Some(lengths) = lengths {
            let lengths: Vec<String> =
                lengths.iter().take(6).map(|(path, length)| format!("`{path}` {length}")).collect();
            let message = format!("arrays of unequal length: {}", lengths.join(", "));
            return Err((ErrorKind::Refused, message));
        }
    }
    Ok(())
}

/// The first text at a path: a message under a name that no other API has for its messages.
fn text_at(path: &JsonPath, body: &[u8]) -> Option<String> {
    let scalars = scalars_at(path, body).ok()?;
    scalars.into_iter().find_map(|scalar| match scalar {
        Scalar::Text(text) => Some(short(&text)).filter(|text| !text.is_empty()),
        Scalar::Number(_) | Scalar::Boolean(_) | Scalar::Null => None,
    })
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

/// `min_rows` and `max_reject_ratio`, which is 0 with `on_type_change = "fail"`.
pub(crate) fn enough(source: &Source, rows: Option<&RowCounts>) -> Option<String> {
    let expect = &source.expect;
    let none = RowCounts::default();
    let found = rows.unwrap_or(&none);
    let (extracted, rejected) = (found.extracted, found.rejected);
    let all = extracted + rejected;
    let rejects = |limit: &str| {
        let rows = plural(all);
        let first = found.rejects.first().map(|first| format!(" (first: {first})"));
        let first = first.unwrap_or_default();
        format!("{rejected} of {all} {rows} rejected{limit}{first}")
    };
    if extracted < expect.min_rows {
        let found = format!(
            "{extracted} {}, at least {} expected (`min_rows`)",
            plural(extracted),
            expect.min_rows
        );
        return Some(if rejected == 0 { found } else { format!("{found}; {}", rejects("")) });
    }
    // Counts of rows are far below 2^52, where a float stops being exact.
    #[expect(clippy::cast_precision_loss, reason = "a ratio for a threshold")]
    let ratio = if all == 0 { 0.0 } else { rejected as f64 / all as f64 };
    let limit = if source.schema.fail_on_change {
        ", none taken with `on_type_change = \"fail\"`".to_owned()
    } else {
        format!(", more than `max_reject_ratio = {}`", expect.max_reject_ratio)
    };
    (ratio > expect.max_reject_ratio).then(|| rejects(&limit))
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
