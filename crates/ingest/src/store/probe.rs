//! Tries a store out: for `daymark doctor`.
//!
//! In: a store. Out: a [`Finding`] for each thing it must be able to do, found out by doing it with an
//! object of its own. Deliberately absent: judging whether a pipeline can live with it.

use bytes::Bytes;
use daymark_plan::Finding;
use object_store::path::Path;
use uuid::Uuid;

use super::{Backend, Mode, RawStore, s3};
use crate::words::{chain, innermost, short};

/// An error and its causes, in S3's words where S3 said no; the innermost first, where the whole is too
/// long for a line.
fn reason(error: object_store::Error, key: &str) -> String {
    let error = &s3::in_words(error, key);
    let (whole, deepest) = (chain(error), innermost(error));
    if whole.contains(&deepest) { whole } else { short(&format!("{deepest}: {whole}")) }
}

impl RawStore {
    /// Writes, reads, lists and removes an object of its own, and finds out what the store keeps to.
    pub async fn probe(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Backend::Objects(_, Some(bucket)) = &self.backend {
            findings.push(match bucket.key_id().await {
                Ok(id) => {
                    let signed = format!("requests are signed with the key {id}");
                    match bucket.identity().await {
                        None => Finding::ok("credentials", signed),
                        Some(Ok(arn)) => Finding::ok("credentials", format!("{signed}: {arn}")),
                        Some(Err(error)) => Finding::warn(
                            "credentials",
                            format!("{signed}; whose it is was not found out: {error}"),
                            "sts:GetCallerIdentity needs no permission: a refusal means that the key is \
                             wrong, expired or switched off",
                        ),
                    }
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
                    format!("`{self}` did not take `{key}`: {}", reason(error, &key)),
                    "a folder must be writable by this user; a bucket needs s3:PutObject on its \
                     objects, and the bucket's name, region and endpoint must be right",
                ));
                // What else this identity may do is found out all the same.
                findings.push(match self.list("probe").await {
                    Ok(_) => Finding::ok("store list", "keys can be listed"),
                    Err(error) => {
                        Finding::fail("store list", chain(&error), "a bucket needs s3:ListBucket")
                    }
                });
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
