//! The manifest of a fetch: what it brought, how, and whether it was taken.
//!
//! In: what a fetch found out. Out: JSON, `format = 1`, that later programs can read: unknown keys
//! are ignored, unknown error kinds become [`ErrorKind::Unknown`], another `format` is refused.
//! Deliberately absent: secrets; they are replaced before they get here (see `request.rs`).

use std::collections::BTreeMap;

use daymark_extract::{Outline, Reject};
use daymark_plan::{EntityId, SourceId};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{ErrorKind, IngestError};

/// The format of the manifests this program writes and reads.
pub const MANIFEST_FORMAT: u32 = 1;

/// How many rejected rows a manifest shows; all are counted.
pub const MAX_REJECTS: usize = 100;

/// Whether a response was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It became a raw object and may be published.
    Accepted,
    /// It is kept as evidence only, or there was none.
    Refused,
}

/// The record of one fetch (DESIGN.md section 6).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format of this record.
    pub format: u32,
    /// The fetch: a `UUIDv7` of its `fetched_at`.
    pub id: Uuid,
    /// The source asked.
    pub source: SourceId,
    /// The day the fetch is for.
    pub data_date: Date,
    /// The entity of the source; none for a source without.
    pub entity: Option<EntityId>,
    /// What the folder said of the entity, by name.
    #[serde(default)]
    pub entity_fields: BTreeMap<String, String>,
    /// The scheduled instant the fetch answers to; none for one asked for by hand.
    pub scheduled_at: Option<Timestamp>,
    /// The run it was part of.
    pub run_id: Uuid,
    /// When the answer was complete: microseconds, later than every earlier manifest of the source
    /// and entity.
    pub fetched_at: Timestamp,
    /// Whether it was taken.
    pub outcome: Outcome,
    /// Why it was not taken.
    pub reason: Option<String>,
    /// The kind of that reason.
    pub error_kind: Option<ErrorKind>,
    /// What was asked first; the other pages say their own addresses.
    pub request: SentRequest,
    /// The status of the last answer; none when there was no answer.
    pub status: Option<u16>,
    /// The headers of the last answer that say something about the body or about asking again.
    pub headers: BTreeMap<String, String>,
    /// Every request made, in order.
    pub attempts: Vec<Attempt>,
    /// The bytes received; none when there was no answer or an empty one.
    pub pages: Vec<Page>,
    /// What extraction found; none when it was not reached.
    pub rows: Option<RowCounts>,
    /// The paths and types of an accepted response, by which the next is compared with it; none of one that
    /// an older program fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outline: Option<Outline>,
    /// Whether the rows equal those of the accepted fetch before.
    pub unchanged: bool,
    /// The cursor of an incremental source that the request was made from.
    #[serde(default)]
    pub cursor_before: Option<String>,
    /// Its cursor from this fetch on; none of a fetch that leaves it where it was set before.
    pub cursor: Option<String>,
    /// The program that wrote this.
    pub program: String,
    /// The SHA-256 of the source's file.
    pub source_file_sha256: String,
}

/// A request as it may be shown: secrets are `***`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentRequest {
    /// The method.
    pub method: String,
    /// The address with its query.
    pub url: String,
    /// The headers.
    pub headers: BTreeMap<String, String>,
    /// The body.
    #[serde(default)]
    pub body: Option<String>,
}

/// One request of a fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The page asked for, counted from 1.
    #[serde(default = "first")]
    pub page: u32,
    /// Counted from 1 for each page.
    pub number: u32,
    /// When it was sent.
    pub at: Timestamp,
    /// How long was waited before it, in milliseconds.
    pub waited_ms: u64,
    /// How long it took, from sending to the answer's last byte or the failure, in milliseconds.
    #[serde(default)]
    pub duration_ms: Option<u64>,
    /// The bytes of the answer's body, after content decoding; none of one that did not come whole.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// The status answered; none when there was no answer.
    pub status: Option<u16>,
    /// What kind of failure it was; none for a success.
    pub error_kind: Option<ErrorKind>,
    /// What went wrong.
    pub message: Option<String>,
}

/// The bytes of one answer, as received (after content decoding).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Where they are kept for ever.
    pub archive_key: String,
    /// The version of that object, in a bucket that keeps versions.
    #[serde(default)]
    pub archive_version: Option<String>,
    /// Where they were put for people; none when refused.
    pub raw_key: Option<String>,
    /// Their SHA-256, in hexadecimal.
    pub sha256: String,
    /// How many they are.
    pub bytes: u64,
    /// The page's number, from 1; none for a source without pages.
    #[serde(default)]
    pub number: Option<u32>,
    /// The address they came from; secrets are `***`.
    #[serde(default)]
    pub url: Option<String>,
    /// The rows in them, rejects among them; none when extraction was not reached.
    #[serde(default)]
    pub rows: Option<u64>,
    /// The encoding they are in, where it is not UTF-8; rows are extracted from a conversion.
    #[serde(default)]
    pub encoding: Option<String>,
}

fn first() -> u32 {
    1
}

/// What extraction found in the pages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowCounts {
    /// Rows left after rejects.
    pub extracted: u64,
    /// Rows set aside.
    pub rejected: u64,
    /// The first of them.
    pub rejects: Vec<Reject>,
    /// The hash of the extracted rows.
    pub rows_sha256: String,
}

/// A manifest with the key it is stored under.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredManifest {
    /// The key.
    pub key: String,
    /// The manifest.
    pub manifest: Manifest,
}

impl Manifest {
    /// Whether the fetch was taken.
    pub fn is_accepted(&self) -> bool {
        self.outcome == Outcome::Accepted
    }

    /// All bytes of the fetch.
    pub fn bytes(&self) -> u64 {
        self.pages.iter().map(|page| page.bytes).sum()
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self)
            .expect("a manifest has text keys and no number JSON lacks");
        json.push(b'\n');
        json
    }

    /// Reads a manifest; `key` is for the error.
    pub(crate) fn from_json(key: &str, json: &[u8]) -> Result<Self, IngestError> {
        #[derive(Deserialize)]
        struct Head {
            format: u64,
        }
        let bad = |cause| IngestError::BadManifest { key: key.to_owned(), cause };
        let head: Head = serde_json::from_slice(json).map_err(bad)?;
        if head.format != u64::from(MANIFEST_FORMAT) {
            return Err(IngestError::ManifestFormat { key: key.to_owned(), found: head.format });
        }
        serde_json::from_slice(json).map_err(bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::chain;

    #[test]
    fn another_format_is_refused_before_its_keys_are_looked_at() {
        let read = |json: &str| {
            chain(&Manifest::from_json("manifests/w/x.json", json.as_bytes()).unwrap_err())
        };
        insta::assert_snapshot!(read(r#"{"format": 2, "pages": "elsewhere"}"#),
            @"the manifest `manifests/w/x.json` has format 2; this program knows format 1");
        insta::assert_snapshot!(read("{"),
            @"the manifest `manifests/w/x.json` cannot be understood: EOF while parsing an object at line 1 column 1");
        insta::assert_snapshot!(read(r#"{"format": 1}"#),
            @"the manifest `manifests/w/x.json` cannot be understood: missing field `id` at line 1 column 13");
    }

    #[test]
    fn a_kind_of_a_newer_program_is_unknown_not_an_error() {
        assert_eq!(serde_json::from_str::<ErrorKind>("\"haunted\"").unwrap(), ErrorKind::Unknown);
        assert_eq!(serde_json::to_string(&ErrorKind::BadResponse).unwrap(), "\"bad_response\"");
    }
}
