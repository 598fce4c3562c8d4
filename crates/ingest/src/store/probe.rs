//! Tries a store out: for `daymark doctor`.
//!
//! In: a store. Out: a [`Finding`] for each thing it must be able to do, found out by doing it with an
//! object of its own. Deliberately absent: judging whether a pipeline can live with it.

use bytes::Bytes;
use object_store::path::Path;
use serde::Serialize;
use uuid::Uuid;

use super::{Backend, Mode, RawStore};
use crate::words::chain;

/// How a finding is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and could be better.
    Warn,
    /// It does not work.
    Fail,
}

/// One thing that was found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was tried.
    pub name: String,
    /// How it is to be taken.
    pub verdict: Verdict,
    /// What was found.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Finding {
    /// Something that is as it should be.
    pub fn ok(name: &str, message: impl Into<String>) -> Self {
        let (name, message) = (name.to_owned(), message.into());
        Self { name, verdict: Verdict::Ok, message, hint: None }
    }

    /// Something that could be better.
    pub fn warn(name: &str, message: impl Into<String>, hint: &str) -> Self {
        Self { verdict: Verdict::Warn, hint: Some(hint.to_owned()), ..Self::ok(name, message) }
    }

    /// Something that does not work.
    pub fn fail(name: &str, message: impl Into<String>, hint: &str) -> Self {
        Self { verdict: Verdict::Fail, hint: Some(hint.to_owned()), ..Self::ok(name, message) }
    }
}

impl RawStore {
    /// Writes, reads, lists and removes an object of its own, and finds out what the store keeps to.
    pub async fn probe(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Backend::Objects(_, Some(bucket)) = &self.backend {
            findings.push(match bucket.key_id().await {
                Ok(id) => {
                    Finding::ok("credentials", format!("requests are signed with the key {id}"))
                }
                Err(error) => Finding::fail(
                    "credentials",
                    format!("no credentials were found: {error}"),
                    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the \
                     machine a role",
                ),
            });
        }
        let key = format!("probe/{}.txt", Uuid::now_v7());
        let path = Path::from(key.as_str());
        let body = Bytes::from_static(b"daymark doctor wrote this; it may be deleted\n");
        match self.put(&path, body.clone(), Mode::Create).await {
            Ok(_) => findings.push(Finding::ok("store write", format!("`{self}` takes objects"))),
            Err(error) => {
                findings.push(Finding::fail(
                    "store write",
                    format!("`{self}` did not take `{key}`: {}", chain(&error)),
                    "a folder must be writable by this user; a bucket needs s3:PutObject on its \
                     objects, and the bucket's name, region and endpoint must be right",
                ));
                return findings;
            }
        }
        findings.push(match self.read(&key).await {
            Ok(found) if found == body => {
                Finding::ok("store read", "what was written is read back")
            }
            Ok(_) => Finding::fail(
                "store read",
                format!("`{key}` came back with other bytes"),
                "something between daymark and the store changes objects",
            ),
            Err(error) => Finding::fail(
                "store read",
                chain(&error),
                "a bucket needs s3:GetObject on its objects",
            ),
        });
        findings.push(match self.list("probe").await {
            Ok(found) if found.iter().any(|object| object.key == key) => {
                Finding::ok("store list", "what was written is listed")
            }
            Ok(_) => Finding::fail(
                "store list",
                "what was written is not listed",
                "daymark needs a store that lists what it has just taken",
            ),
            Err(error) => {
                Finding::fail("store list", chain(&error), "a bucket needs s3:ListBucket")
            }
        });
        let other = Bytes::from_static(b"other\n");
        findings.push(match self.put(&path, other, Mode::Create).await {
            Err(object_store::Error::AlreadyExists { .. }) => {
                Finding::ok("store create-only", "an object that is there is not written over")
            }
            Ok(_) => Finding::fail(
                "store create-only",
                "the store ignores If-None-Match and wrote over an object",
                "the archive must be write-once: use a store that honours conditional writes, as S3 \
                 does",
            ),
            Err(error) => Finding::fail(
                "store create-only",
                chain(&error),
                "the store must answer a conditional write with 412",
            ),
        });
        if let Backend::Objects(_, Some(bucket)) = &self.backend {
            findings.push(match bucket.versioning().await {
                Ok(Some(status)) if status == "Enabled" => {
                    Finding::ok("store versions", "the bucket keeps versions")
                }
                Ok(_) => Finding::warn(
                    "store versions",
                    "the bucket keeps no versions",
                    "turn bucket versioning on: it protects from deletions by hand; daymark does not \
                     need it",
                ),
                Err(error) => Finding::warn(
                    "store versions",
                    format!("it is not known whether the bucket keeps versions: {error}"),
                    "s3:GetBucketVersioning would tell; daymark does not need it",
                ),
            });
        }
        let removed = match &self.backend {
            Backend::Files(files) => files.remove(&path).await,
            Backend::Objects(objects, _) => objects.remove(&path).await,
        };
        if removed.is_err() {
            findings.push(Finding::ok(
                "store delete",
                format!("`{key}` stays: deleting is not allowed, and daymark never deletes"),
            ));
        }
        findings
    }
}
