//! `[raw]` of `daymark.toml`: where raw objects are kept.
//!
//! In: the TOML table and the variables `DAYMARK_RAW_*`. Out: a [`RawUrl`]. Deliberately absent:
//! credentials, which never stand in the folder.

use std::path::Path;

use crate::folder::Environment;
use crate::problem::Problem;
use crate::section::{Section, Text};
use crate::settings::{Encryption, RawUrl, S3Location, setting};

/// The keys that are about buckets only.
const OF_BUCKETS: [(&str, &str); 6] = [
    ("region", "DAYMARK_RAW_REGION"),
    ("endpoint", "DAYMARK_RAW_ENDPOINT"),
    ("path_style", "DAYMARK_RAW_PATH_STYLE"),
    ("allow_http", "DAYMARK_RAW_ALLOW_HTTP"),
    ("encryption", "DAYMARK_RAW_ENCRYPTION"),
    ("kms_key", "DAYMARK_RAW_KMS_KEY"),
];

/// The raw store that a word of a command line names. Relative folders are of `root`. What the word does
/// not say of a bucket is as the variables `DAYMARK_RAW_*` have it, or else as that of `like`.
pub fn raw_url(
    word: &str,
    root: &Path,
    environment: &Environment,
    like: Option<&RawUrl>,
) -> Result<RawUrl, Problem> {
    let environment = environment.with("DAYMARK_RAW_URL", word);
    let text = Text { file: word, text: "", first_line: 1 };
    let mut problems = Vec::new();
    let url = text
        .parse(&mut problems)
        .and_then(|table| read(root, &mut Section::top(text, &table), &environment, &mut problems));
    match (problems.into_iter().next(), url, like) {
        (Some(problem), ..) => Err(problem),
        (None, Some(RawUrl::S3(mut named)), Some(RawUrl::S3(like))) => {
            if named.endpoint.is_none() {
                named.endpoint.clone_from(&like.endpoint);
                (named.path_style, named.allow_http) = (like.path_style, like.allow_http);
            }
            named.region = named.region.or_else(|| like.region.clone());
            named.encryption = named.encryption.or_else(|| like.encryption.clone());
            Ok(RawUrl::S3(named))
        }
        (None, Some(url), _) => Ok(url),
        (None, None, _) => Err(Problem::new(word, 0, "it names no raw store")),
    }
}

/// Reads `[raw]`.
pub(crate) fn read(
    root: &Path,
    section: &mut Section<'_>,
    environment: &Environment,
    problems: &mut Vec<Problem>,
) -> Option<RawUrl> {
    let mut table = section.optional_table("raw", problems);
    let url = setting(table.as_mut(), "url", "DAYMARK_RAW_URL", environment, problems);
    let [region, endpoint, path_style, allow_http, encryption, kms_key] =
        OF_BUCKETS.map(|(key, variable)| {
            if matches!(key, "path_style" | "allow_http") && environment.get(variable).is_none() {
                let table = table.as_mut()?;
                let flag = table.optional_bool(key, problems)?;
                return Some((flag.to_string(), table.problem(key, String::new())));
            }
            setting(table.as_mut(), key, variable, environment, problems)
        });
    if let Some(table) = table {
        table.finish(problems);
    }
    let Some((word, at)) = url else {
        return Some(RawUrl::File(root.join(".daymark/raw")));
    };
    if let Some(path) = word.strip_prefix("file:").filter(|path| !path.is_empty()) {
        return Some(RawUrl::File(root.join(path.strip_prefix("//").unwrap_or(path))));
    }
    let Some(rest) = word.strip_prefix("s3://") else {
        let message = format!("the raw store is `{word}`");
        let hint = "accepted: `file:DIR`, such as `file:.daymark/raw`, or `s3://BUCKET/PREFIX`";
        problems.push(Problem { message, ..at }.hint(hint));
        return None;
    };
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    // The rules of S3's bucket names.
    let fits = (3..=63).contains(&bucket.len())
        && bucket
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b));
    if !fits {
        let message = format!("the bucket of the raw store is `{bucket}`");
        let hint = "accepted: 3 to 63 characters of a-z, 0-9, - and .";
        problems.push(Problem { message, ..at.clone() }.hint(hint));
    }
    let flag = |found: Option<(String, Problem)>, default: bool, problems: &mut Vec<Problem>| {
        match found {
            None => default,
            Some((word, _)) if word == "true" => true,
            Some((word, _)) if word == "false" => false,
            Some((word, at)) => {
                let message = format!("it is `{word}`");
                problems.push(Problem { message, ..at }.hint("accepted: `true` or `false`"));
                default
            }
        }
    };
    let mut loopback = false;
    let mut plain = None;
    let endpoint = endpoint.and_then(|(word, at)| match url::Url::parse(&word) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
            loopback = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
            plain = (url.scheme() == "http").then_some(at);
            Some(word.trim_end_matches('/').to_owned())
        }
        _ => {
            let message = format!("the endpoint of the raw store is `{word}`");
            problems.push(
                Problem { message, ..at }
                    .hint("such as `https://s3.example.com` or `http://127.0.0.1:9000`"),
            );
            None
        }
    });
    let allow_http = flag(allow_http, loopback, problems);
    if let Some(at) = plain.filter(|_| !allow_http) {
        let message = "the endpoint of the raw store is reached without TLS".to_owned();
        let hint = "use https, or write `allow_http = true` to send credentials in the clear";
        problems.push(Problem { message, ..at }.hint(hint));
    }
    let path_style = flag(path_style, endpoint.is_some(), problems);
    let encryption = match (encryption, kms_key) {
        (None, None) => None,
        (Some((word, _)), None) if word == "AES256" => Some(Encryption::S3),
        (Some((word, _)), key) if word == "aws:kms" => {
            Some(Encryption::Kms(key.map(|(key, _)| key)))
        }
        (None, Some((key, _))) => Some(Encryption::Kms(Some(key))),
        (Some((word, at)), _) => {
            let message = format!("the encryption of the raw store is `{word}`");
            let hint = "accepted: `AES256`, or `aws:kms` with or without `kms_key`";
            problems.push(Problem { message, ..at }.hint(hint));
            None
        }
    };
    Some(RawUrl::S3(S3Location {
        bucket: bucket.to_owned(),
        prefix: prefix.trim_matches('/').to_owned(),
        region: region.map(|(word, _)| word),
        endpoint,
        path_style,
        allow_http,
        encryption,
    }))
}
