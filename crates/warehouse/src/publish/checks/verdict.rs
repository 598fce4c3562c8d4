//! Verdicts: what was decided about a fetch, by a check that looks beyond it or by a person.
//!
//! In: what the raw store holds of a fetch. Out: what has to be obeyed, and what is to be kept there. A
//! verdict is written once and never changed; the latest of a check counts. Deliberately absent: where they
//! are kept; this crate does not see the raw store and is handed two functions.

use daymark_plan::SourceId;
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::RowsError;

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// No row offended.
    Passed,
    /// The fetch is held back.
    Blocked,
    /// A person let it through.
    Released,
}

/// What was decided about a fetch, once and for all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The table.
    pub table: String,
    /// The check's name.
    pub check: String,
    /// The SHA-256 of the question: the check's SQL. A check that was changed asks another one.
    pub check_sha256: String,
    /// What was decided.
    pub answer: Answer,
    /// How many rows offended.
    pub failing: i64,
    /// The first of them.
    pub sample: Vec<serde_json::Value>,
    /// When.
    pub at: Timestamp,
    /// By whom: a person, or `daymark`.
    pub by: String,
    /// Why, of a person's.
    #[serde(default)]
    pub why: Option<String>,
}

impl Verdict {
    /// Who decided, when and why.
    pub(in crate::publish) fn in_words(&self) -> String {
        let at = self.at.strftime("%Y-%m-%d %H:%M:%S UTC");
        let why = self.why.as_deref().map_or(String::new(), |why| format!(": {why}"));
        match self.answer {
            Answer::Released => format!("released by {} at {at}{why}", self.by),
            Answer::Passed | Answer::Blocked => format!("decided at {at}"),
        }
    }
}

/// Reads the verdicts on a fetch, oldest first.
pub type ReadVerdicts<'v> = dyn Fn(SourceId, Uuid) -> BoxFuture<'static, Result<Vec<Verdict>, RowsError>>
    + Send
    + Sync
    + 'v;
/// Keeps verdicts on a fetch for good.
pub type KeepVerdicts<'v> = dyn Fn(SourceId, Uuid, Vec<Verdict>) -> BoxFuture<'static, Result<(), RowsError>>
    + Send
    + Sync
    + 'v;

/// Where verdicts are kept.
#[derive(Clone, Copy)]
pub struct Verdicts<'v> {
    /// Reads those on a fetch.
    pub read: &'v ReadVerdicts<'v>,
    /// Keeps new ones.
    pub keep: &'v KeepVerdicts<'v>,
}

impl std::fmt::Debug for Verdicts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verdicts")
    }
}
