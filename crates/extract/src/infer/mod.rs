//! A first `[rows]` section from recorded responses, for `daymark infer`.
//!
//! In: the bodies of some responses of one source. Out: the text of `[expect]` and `[rows]`, which the
//! folder's own parser takes and which reads every row of the responses it was made from; what else
//! they could be read as; which of them hold no rows, and why. What a value may be is asked of the
//! encoder that will write it, so that no guess sets a row aside. Deliberately absent: files, and
//! knowing better than the person who reads the result.

mod draft;
mod name;
mod path;
mod shape;
mod table;
mod toml;
mod tree;
mod typing;

use daymark_plan::{Layout, RowsSpec};

use crate::error::ExtractError;
use crate::{scan, to_utf8};
use draft::Draft;

/// A recorded response.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'b> {
    /// What it is called, for the remarks.
    pub name: &'b str,
    /// Its bytes.
    pub body: &'b [u8],
}

/// What a response turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Its rows are read.
    Rows(u64),
    /// Some of its rows are set aside.
    Rejects {
        /// How many.
        rejected: u64,
        /// The first, in words.
        first: String,
    },
    /// It says that something went wrong; the path tells it from the others.
    Error(Option<String>),
    /// It is none of these: why.
    Other(String),
}

/// What was found out.
#[derive(Debug)]
pub struct Inferred {
    /// How the rows are read.
    pub rows: RowsSpec,
    /// `[expect]`, `[rows]` and `[rows.fields]`, with remarks.
    pub toml: String,
    /// A first `models/ID.sql`.
    pub model: String,
    /// What each response is, in the order they were given.
    pub findings: Vec<Finding>,
}

/// Why nothing could be found out.
#[derive(Debug, thiserror::Error)]
pub enum InferError {
    /// No response was given.
    #[error("no response was given")]
    Nothing,
    /// None of them holds rows.
    #[error("no rows were found in {names}: {reason}")]
    NoRows {
        /// The responses.
        names: String,
        /// Why the first has none.
        reason: String,
    },
    /// What was written is not accepted, which is a fault of this program.
    #[error("the section made is not accepted: {problem}")]
    NotAccepted {
        /// Why not.
        problem: String,
    },
}

/// Finds out how responses become rows. `id` is the source's.
pub fn infer(samples: &[Sample<'_>], id: &str) -> Result<Inferred, InferError> {
    if samples.is_empty() {
        return Err(InferError::Nothing);
    }
    let texts: Vec<Result<String, ExtractError>> = samples.iter().map(text_of).collect();
    let drafts = draft::drafts(&texts);
    let Some(draft) = drafts.first() else {
        let names: Vec<String> =
            samples.iter().map(|sample| format!("`{}`", sample.name)).collect();
        let reason = match texts.iter().find_map(|text| text.as_ref().err()) {
            Some(error) => daymark_plan::one_line(error),
            None => texts.iter().flatten().find_map(|text| broken(text)).map_or_else(
                || "there is neither a list of values nor a table in it".to_owned(),
                |error| daymark_plan::one_line(&error),
            ),
        };
        return Err(InferError::NoRows { names: names.join(", "), reason });
    };
    let mut draft = draft.clone();
    let mut rows = accepted(&draft, id)?;
    let mut findings = judge(&rows, &texts);
    for finding in &findings {
        if let Finding::Error(Some(path)) = finding
            && !draft.absent.contains(path)
        {
            draft.absent.push(path.clone());
        }
    }
    // A response without the place that says nothing of an error has no rows, as NOAA's `{}`.
    let lacks = |(text, finding): (&Result<String, ExtractError>, &Finding)| {
        matches!(finding, Finding::Other(_))
            && text.as_deref().is_ok_and(|text| matches!(text.trim(), "{}" | "[]"))
    };
    if draft.takes_optional_place() && texts.iter().zip(&findings).any(lacks) {
        draft.at_optional = true;
        rows = accepted(&draft, id)?;
        let again = judge(&rows, &texts);
        for (finding, again) in findings.iter_mut().zip(again) {
            // An error stays one, though it has no rows now either.
            if !matches!(finding, Finding::Error(_)) {
                *finding = again;
            }
        }
    }
    draft.min_rows_zero = findings.contains(&Finding::Rows(0));
    if matches!(draft.layout, Layout::Csv | Layout::Ndjson) {
        draft.absent.clear();
    }
    accepted(&draft, id)?;
    let names: Vec<&str> = samples.iter().map(|sample| sample.name).collect();
    let toml = toml::section(&draft, &drafts[1..], &names, &findings);
    let model = toml::model(&draft, id);
    Ok(Inferred { rows, toml, model, findings })
}

fn text_of(sample: &Sample<'_>) -> Result<String, ExtractError> {
    let (body, _) = to_utf8(sample.body, None)?;
    let (text, _) = crate::body::text(&body, "JSON or a table")?;
    Ok(text.to_owned())
}

/// Why a text that begins as JSON does is none.
fn broken(text: &str) -> Option<ExtractError> {
    let begins = text.trim_start().starts_with(['{', '[']);
    begins.then(|| crate::body::check(text.as_bytes()).err()).flatten()
}

/// The section as the folder's own parser reads it.
fn accepted(draft: &Draft, id: &str) -> Result<RowsSpec, InferError> {
    let text = format!(
        "id = \"{id}\"\n[request]\nurl = \"https://api.example.com/\"\n{}",
        toml::section(draft, &[], &[], &[])
    );
    match daymark_plan::read_source(id, std::path::Path::new("."), &text) {
        Ok(source) => Ok(source.rows),
        Err(problems) => {
            let problem = problems.first().map(ToString::to_string).unwrap_or_default();
            Err(InferError::NotAccepted { problem })
        }
    }
}

/// Reads every response by the section.
fn judge(rows: &RowsSpec, texts: &[Result<String, ExtractError>]) -> Vec<Finding> {
    let good: Vec<&str> = texts
        .iter()
        .filter_map(|text| text.as_deref().ok())
        .filter(|text| scan(rows, text.as_bytes()).is_ok())
        .collect();
    let one = |text: &Result<String, ExtractError>| {
        let text = match text {
            Ok(text) => text,
            Err(error) => return Finding::Other(daymark_plan::one_line(error)),
        };
        match scan(rows, text.as_bytes()) {
            Ok(summary) => match summary.rejects.first() {
                Some(first) => {
                    Finding::Rejects { rejected: summary.rejected, first: first.to_string() }
                }
                None => Finding::Rows(summary.extracted),
            },
            Err(error) => match draft::told_apart(text, &good) {
                // Words that are no JSON have no path.
                Some(path) => Finding::Error(Some(path).filter(|path| !path.is_empty())),
                None => Finding::Other(daymark_plan::one_line(&error)),
            },
        }
    };
    texts.iter().map(one).collect()
}
