//! `sources/*.toml`: one REST resource each.
//!
//! In: the TOML of a source. Out: a [`Source`]. Deliberately absent: pagination, authentication,
//! entities, templates and incremental cursors, which come with the ingest issue.

use std::time::Duration;

use jiff::civil::Date;

use crate::json_path::JsonPath;
use crate::problem::Problem;
use crate::rows::{self, RowsSpec};
use crate::schedule::{Calendar, DataDateRule};
use crate::section::{Section, Text, choose};

/// The id of a source: `[a-z][a-z0-9_]*`, part of table names and raw keys.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct SourceId(String);

impl SourceId {
    /// Checks and takes an id.
    pub fn new(text: &str) -> Option<Self> {
        let mut bytes = text.bytes();
        let starts = bytes.next().is_some_and(|byte| byte.is_ascii_lowercase());
        let goes_on =
            bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        (starts && goes_on && text.len() <= 40).then(|| Self(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for SourceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What "newer" means between two fetches of a source (DESIGN.md section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Supersede {
    /// The source's latest word wins.
    FetchedAt,
    /// The later data date wins, then the later fetch.
    DataDate,
}

/// The request of a source.
#[derive(Debug, Clone)]
pub struct Request {
    /// The address; its scheme is `http` or `https`.
    pub url: url::Url,
    /// Query parameters in the order of the file, not yet encoded.
    pub query: Vec<(String, String)>,
    /// Header names and values in the order of the file.
    pub headers: Vec<(String, String)>,
    /// How long a connection may take; default 10 s.
    pub connect_timeout: Duration,
    /// How long the server may be silent; default 30 s.
    pub read_timeout: Duration,
    /// The largest body taken, in bytes after decoding; default 64 MiB.
    pub max_bytes: u64,
}

/// When a failed request is tried again: on 429, 5xx and transport errors, with exponential backoff
/// and full jitter, honouring `Retry-After`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retry {
    /// Requests of one fetch in all; default 4.
    pub attempts: u32,
    /// Time for one fetch in all; a wait that does not fit is not waited for. Default 60 s.
    pub total: Duration,
    /// The upper bound of the first wait; doubles with each attempt. Default 1 s.
    pub base: Duration,
}

/// What a 200 must look like to be taken.
#[derive(Debug, Clone)]
pub struct Expect {
    /// Paths that must match something other than null.
    pub present: Vec<JsonPath>,
    /// Paths that must match nothing but null.
    pub absent: Vec<JsonPath>,
    /// The fewest rows left after rejects; default 1.
    pub min_rows: u64,
    /// The largest part of the rows that may be rejected, 0 to 1; default 0.1.
    pub max_reject_ratio: f64,
}

/// One REST resource.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its id.
    pub id: SourceId,
    /// Its file, relative to the pipeline folder.
    pub file: String,
    /// The SHA-256 of its file, in hexadecimal.
    pub file_sha256: String,
    /// The days it has data on.
    pub calendar: Calendar,
    /// Which data date a run is for.
    pub data_date: DataDateRule,
    /// The first data date the ledger expects; default: the first one ever fetched.
    pub start: Option<Date>,
    /// What is asked.
    pub request: Request,
    /// When it is asked again.
    pub retry: Retry,
    /// What the answer must look like.
    pub expect: Expect,
    /// How the answer becomes rows.
    pub rows: RowsSpec,
    /// Which of two fetches wins.
    pub supersede: Supersede,
}

/// Reads one source. `stem` is its file's name without `.toml`.
pub(crate) fn read(stem: &str, text: Text<'_>, problems: &mut Vec<Problem>) -> Option<Source> {
    let table = text.parse(problems)?;
    let mut section = Section::top(text, &table);
    let id = read_id(&mut section, stem, problems);
    let calendar = match section.optional_string("calendar", problems) {
        Some(word) => Calendar::parse(&word)
            .map_err(|hint| {
                let message = format!("`calendar` is `{word}`");
                problems.push(section.problem("calendar", message).hint(hint));
            })
            .ok(),
        None => Some(Calendar::Daily),
    };
    let data_date = choose(
        &mut section,
        "data_date",
        &[("run_day", DataDateRule::RunDay), ("previous_session", DataDateRule::PreviousSession)],
        Some(DataDateRule::RunDay),
        problems,
    );
    let supersede = choose(
        &mut section,
        "supersede",
        &[("fetched_at", Supersede::FetchedAt), ("data_date", Supersede::DataDate)],
        Some(Supersede::FetchedAt),
        problems,
    );
    let start = section.optional_string("start", problems).and_then(|word| {
        let date = word.parse::<Date>().ok();
        if date.is_none() {
            let message = format!("`start` is `{word}`");
            problems.push(section.problem("start", message).hint("accepted: a date YYYY-MM-DD"));
        }
        date
    });
    let request = match section.required_table("request", problems) {
        Some(table) => read_request(table, problems),
        None => None,
    };
    let retry = read_retry(section.optional_table("retry", problems), problems);
    let expect = read_expect(section.optional_table("expect", problems), problems);
    let rows =
        section.required_table("rows", problems).and_then(|table| rows::read(table, problems));
    section.finish(problems);
    Some(Source {
        id: id?,
        file: text.file.to_owned(),
        file_sha256: crate::digest::sha256_hex(text.text.as_bytes()),
        calendar: calendar?,
        data_date: data_date?,
        start,
        request: request?,
        retry,
        expect,
        rows: rows?,
        supersede: supersede?,
    })
}

fn read_id(section: &mut Section<'_>, stem: &str, problems: &mut Vec<Problem>) -> Option<SourceId> {
    let word = section.required_string("id", problems)?;
    let id = SourceId::new(&word);
    if id.is_none() {
        let message = format!("`id` is `{word}`");
        let hint = "accepted: a-z, 0-9 and _, a letter first, at most 40 characters";
        problems.push(section.problem("id", message).hint(hint));
    } else if word != stem {
        let message = format!("`id` is `{word}`, but the file is named `{stem}.toml`");
        problems.push(section.problem("id", message).hint("give both the same name"));
    }
    id
}

fn read_request(mut section: Section<'_>, problems: &mut Vec<Problem>) -> Option<Request> {
    let url = section.required_string("url", problems).and_then(|word| {
        let parsed = url::Url::parse(&word).map_err(|error| error.to_string());
        match parsed {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Some(url),
            Ok(url) => {
                let message = format!("`request.url` has the scheme `{}`", url.scheme());
                problems.push(section.problem("url", message).hint("accepted: http, https"));
                None
            }
            Err(reason) => {
                let message = format!("`request.url` is not an address: {reason}");
                problems.push(
                    section.problem("url", message).hint("such as `https://api.example.com/v1/x`"),
                );
                None
            }
        }
    });
    let query = section.optional_texts("query", problems);
    let headers = section.optional_texts("headers", problems);
    for (name, value) in &headers {
        // RFC 9110, sections 5.1 and 5.5: a token, and visible text.
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty()
            || !name.bytes().all(token)
            || value.bytes().any(|byte| byte.is_ascii_control())
        {
            // The value may be a secret, so it is not repeated.
            let problem =
                section.problem("headers", format!("`{name}` is not a header that can be sent"));
            problems.push(
                problem.hint("accepted: a name of letters, digits and -, and a value on one line"),
            );
        }
    }
    let seconds =
        |section: &mut Section<'_>, key: &str, default: f64, problems: &mut Vec<Problem>| {
            let seconds = section.optional_number(key, 0.05..=3600.0, problems);
            Duration::from_secs_f64(seconds.unwrap_or(default))
        };
    let connect_timeout = seconds(&mut section, "connect_timeout_seconds", 10.0, problems);
    let read_timeout = seconds(&mut section, "read_timeout_seconds", 30.0, problems);
    let max_mib = section.optional_whole("max_mebibytes", 1..=4096, problems).unwrap_or(64);
    section.finish(problems);
    Some(Request {
        url: url?,
        query,
        headers,
        connect_timeout,
        read_timeout,
        max_bytes: u64::from(max_mib) << 20,
    })
}

fn read_retry(section: Option<Section<'_>>, problems: &mut Vec<Problem>) -> Retry {
    let mut retry =
        Retry { attempts: 4, total: Duration::from_mins(1), base: Duration::from_secs(1) };
    let Some(mut section) = section else { return retry };
    if let Some(attempts) = section.optional_whole("attempts", 1..=100, problems) {
        retry.attempts = attempts;
    }
    if let Some(seconds) = section.optional_number("total_seconds", 0.0..=86_400.0, problems) {
        retry.total = Duration::from_secs_f64(seconds);
    }
    if let Some(seconds) = section.optional_number("base_seconds", 0.001..=3600.0, problems) {
        retry.base = Duration::from_secs_f64(seconds);
    }
    section.finish(problems);
    retry
}

fn read_expect(section: Option<Section<'_>>, problems: &mut Vec<Problem>) -> Expect {
    let mut expect =
        Expect { present: Vec::new(), absent: Vec::new(), min_rows: 1, max_reject_ratio: 0.1 };
    let Some(mut section) = section else { return expect };
    for (key, paths) in [("present", &mut expect.present), ("absent", &mut expect.absent)] {
        let texts = section.optional_strings(key, problems).unwrap_or_default();
        paths.extend(texts.iter().filter_map(|text| rows::path(&section, key, text, problems)));
    }
    if let Some(rows) = section.optional_whole("min_rows", 0..=u32::MAX, problems) {
        expect.min_rows = u64::from(rows);
    }
    if let Some(ratio) = section.optional_number("max_reject_ratio", 0.0..=1.0, problems) {
        expect.max_reject_ratio = ratio;
    }
    section.finish(problems);
    expect
}
