//! What can go wrong, by kind.
//!
//! In: failures of the HTTP side (kept in manifests as an [`ErrorKind`] and a sentence) and of the
//! store side. Out: [`IngestError`] for the few that leave nothing in the raw store. Deliberately
//! absent: what is done about a kind; that is [`policy`](crate::policy).

use daymark_plan::SourceId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The kind of a failure: what decides whether trying again can help and whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// No connection, or one that broke before the answer was whole.
    Unreachable,
    /// The server was silent too long, or says so itself (408).
    Timeout,
    /// The server asks to slow down (429).
    Throttled,
    /// The server says that the allowance of the hour or the day is used up (429).
    QuotaSpent,
    /// The server failed (5xx).
    Unavailable,
    /// The server wants other credentials (401, 403, 407).
    Auth,
    /// There is no such resource (404, 410).
    NotFound,
    /// Any other status but a success, redirects that are not followed among them.
    BadStatus,
    /// A success whose body is not what `[rows]` describes: empty, too large, not JSON, other shape.
    BadResponse,
    /// A body of the right shape that breaks `[expect]`.
    Refused,
    /// The source cannot be asked as its file says.
    BadConfig,
    /// The machine's clock is wrong.
    ClockSkew,
    /// The raw store cannot be read or written.
    Storage,
    /// A kind this program does not know: the manifest was written by a newer one.
    #[serde(other)]
    Unknown,
}

/// Why a fetch left nothing in the raw store, or why the store could not be read.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The raw store's folder is not there and cannot be made.
    #[error("the raw store `{store}` cannot be opened")]
    OpenStore {
        /// The store, as configured.
        store: String,
        /// What the operating system said.
        #[source]
        cause: std::io::Error,
    },
    /// An object could not be written.
    #[error("the raw store `{store}` did not take `{key}`")]
    WriteObject {
        /// The store, as configured.
        store: String,
        /// The object's key.
        key: String,
        /// What the store said.
        #[source]
        cause: object_store::Error,
    },
    /// An object could not be read.
    #[error("the raw store `{store}` did not give `{key}`")]
    ReadObject {
        /// The store, as configured.
        store: String,
        /// The object's key.
        key: String,
        /// What the store said.
        #[source]
        cause: object_store::Error,
    },
    /// Keys could not be listed.
    #[error("the raw store `{store}` did not list `{prefix}`")]
    ListObjects {
        /// The store, as configured.
        store: String,
        /// What the keys start with.
        prefix: String,
        /// What the store said.
        #[source]
        cause: object_store::Error,
    },
    /// An archived object is not the bytes that were received.
    #[error("`{key}` in the raw store `{store}` is damaged: its SHA-256 is {found}")]
    Damaged {
        /// The store, as configured.
        store: String,
        /// The object's key, which names the SHA-256 it should have.
        key: String,
        /// The SHA-256 it has.
        found: String,
    },
    /// A manifest is not the JSON it should be.
    #[error("the manifest `{key}` cannot be understood")]
    BadManifest {
        /// Its key.
        key: String,
        /// What is wrong with it.
        #[source]
        cause: serde_json::Error,
    },
    /// A manifest of another format.
    #[error(
        "the manifest `{key}` has format {found}; this program knows format {}",
        crate::MANIFEST_FORMAT
    )]
    ManifestFormat {
        /// Its key.
        key: String,
        /// Its format.
        found: u64,
    },
    /// A body that was being received could not be put aside.
    #[error("a response could not be put aside")]
    Spool(#[source] std::io::Error),
    /// The machine's clock and another's are too far apart for `fetched_at` to be believed.
    #[error("the clock says {clock}, {whose} says {other}: nothing was stored")]
    ClockSkew {
        /// Whose clock it was compared with.
        whose: String,
        /// This machine's time.
        clock: Timestamp,
        /// The other's time: its `Date` header, plus `Age` for an answer out of a cache.
        other: Timestamp,
    },
    /// A template of the source gives no request.
    #[error("the request of `{source_id}` cannot be made: `{template}`: {reason}")]
    BadRequest {
        /// The source.
        source_id: SourceId,
        /// The template, as it stands in the folder.
        template: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A secret could not be looked up.
    #[error("the secret `{name}` of `{source_id}` is not there: {reason}")]
    NoSecret {
        /// The source.
        source_id: SourceId,
        /// The secret's name, as it stands in the folder.
        name: String,
        /// Where it was looked for, and what came.
        reason: String,
    },
    /// The certificates or the proxy of a source cannot be used.
    #[error("`{what}` of `{source_id}` cannot be used: {reason}")]
    BadConnection {
        /// The source.
        source_id: SourceId,
        /// The key of its file.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A header of `[request]` that HTTP does not allow. Its value is not shown: it may be a secret.
    #[error("the request header `{header}` of `{source_id}` cannot be sent: {reason}")]
    BadHeader {
        /// The source.
        source_id: SourceId,
        /// The header's name.
        header: String,
        /// What HTTP does not allow.
        reason: &'static str,
    },
    /// The HTTP client could not be made.
    #[error("no HTTP client could be made for `{source_id}`")]
    NoClient {
        /// The source.
        source_id: SourceId,
        /// What is missing, mostly the machine's certificates.
        #[source]
        cause: reqwest::Error,
    },
}

/// What to do about a bucket that gives no answer of use.
const BUCKET_REACHED: &str = "the bucket must be there and in reach: its name, region and endpoint stand \
                              in `[raw]` (DAYMARK_RAW_URL, DAYMARK_RAW_REGION, DAYMARK_RAW_ENDPOINT); \
                              `daymark doctor` tries it";

/// Whether a store, as it is shown, is a bucket.
fn is_bucket(store: &str) -> bool {
    store.starts_with("s3://")
}

/// Whether a store said no.
fn is_no(cause: &object_store::Error) -> bool {
    use object_store::Error::{PermissionDenied, Unauthenticated};
    matches!(cause, PermissionDenied { .. } | Unauthenticated { .. })
}

/// What to do about a no that has another reason than a permission, by S3's own code for it.
fn refusal(cause: &object_store::Error) -> Option<&'static str> {
    let said = daymark_plan::one_line(cause);
    let has = |code: &str| said.contains(code);
    if has("SignatureDoesNotMatch") || has("InvalidAccessKeyId") || has("ExpiredToken") {
        return Some(
            "the key, its secret and its session token must belong together and be in force: \
             AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, or the profile of AWS_PROFILE",
        );
    }
    if has("RequestTimeTooSkewed") {
        return Some("set this machine's clock (`timedatectl set-ntp true`) and run again");
    }
    if has("QuotaExceeded") || has("StorageFull") {
        return Some("the bucket takes no more: make room, or raise its quota");
    }
    None
}

impl IngestError {
    /// The kind of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::OpenStore { .. }
            | Self::WriteObject { .. }
            | Self::ReadObject { .. }
            | Self::ListObjects { .. }
            | Self::Damaged { .. }
            | Self::BadManifest { .. }
            | Self::ManifestFormat { .. }
            | Self::Spool(_) => ErrorKind::Storage,
            Self::ClockSkew { .. } => ErrorKind::ClockSkew,
            Self::NoSecret { .. } => ErrorKind::Auth,
            Self::BadHeader { .. }
            | Self::NoClient { .. }
            | Self::BadRequest { .. }
            | Self::BadConnection { .. } => ErrorKind::BadConfig,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::WriteObject { store, cause, .. } if is_bucket(store) => match refusal(cause) {
                Some(hint) => hint,
                None if is_no(cause) => {
                    "the credentials must be right and may write: `s3:PutObject` on the bucket's \
                     objects, and nothing of the bucket's own policy against it; docs/lambda.md has \
                     the whole policy, and `daymark doctor` tries each permission"
                }
                None => BUCKET_REACHED,
            },
            Self::ReadObject { store, cause, .. } if is_bucket(store) && is_no(cause) => {
                "the credentials must be right and may read: `s3:GetObject` on the bucket's objects; \
                 docs/lambda.md has the whole policy, and `daymark doctor` tries each permission"
            }
            Self::ListObjects { store, cause, .. } if is_bucket(store) => match refusal(cause) {
                Some(hint) => hint,
                None if is_no(cause) => {
                    "the credentials must be right and may list: `s3:ListBucket` on the bucket itself, \
                     for its prefix; docs/lambda.md has the whole policy, and `daymark doctor` tries \
                     each permission"
                }
                None => BUCKET_REACHED,
            },
            Self::OpenStore { store, .. } if is_bucket(store) => {
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the machine a \
                 role; the bucket, its region and its endpoint stand in `[raw]`"
            }
            Self::OpenStore { .. } | Self::WriteObject { .. } => {
                "the raw store must be a folder that this user can make and write, on a disk with \
                 room; set `url` in `[raw]` or DAYMARK_RAW_URL to use another"
            }
            Self::ReadObject { .. } | Self::ListObjects { .. } => {
                "the raw store must be readable by this user; manifests and the objects they name \
                 belong together, so copy or move a store whole"
            }
            Self::Damaged { .. } => "restore this object from a backup of the raw store",
            Self::BadManifest { .. } => {
                "restore the manifest from a backup; its objects are still in `archive/`"
            }
            Self::ManifestFormat { .. } => "a newer daymark wrote it: use that version",
            Self::ClockSkew { .. } => {
                "raw objects are ordered by time, so a wrong clock would let old data win: set this \
                 machine's clock (`timedatectl set-ntp true`) and run again"
            }
            Self::Spool(_) => "the disk that holds temporary files must have room",
            Self::BadRequest { .. } => {
                "correct the source's file; `daymark preview` shows a request"
            }
            Self::NoSecret { .. } => {
                "set the environment variable, or store the secret, where daymark runs"
            }
            Self::BadConnection { .. } => "correct `[request]` in the source's file",
            Self::BadHeader { .. } => "correct `[request.headers]` in the source's file",
            Self::NoClient { .. } => {
                "HTTPS needs the machine's CA certificates (Debian: the package ca-certificates)"
            }
        }
    }
}
