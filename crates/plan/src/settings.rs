//! `daymark.toml`: name, zone, schedule, raw store, database, dashboard, alerts.
//!
//! In: the TOML and the environment variables that override it. Out: [`Settings`]. Deliberately
//! absent: opening anything that is named here.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use jiff::tz::TimeZone;

use crate::alerts::{self, Channel, Heartbeat};
use crate::folder::Environment;
use crate::problem::Problem;
use crate::raw;
use crate::schedule::Schedule;
use crate::schedule_section::read_age;
use crate::section::{Section, Text};
use crate::source::{Rate, read_calls};

/// A text that must not be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a secret.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself, for the call that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where raw objects are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RawUrl {
    /// `file:DIR`; relative directories are of the pipeline folder.
    File(PathBuf),
    /// `s3://BUCKET/PREFIX`, or a server that speaks S3.
    S3(S3Location),
}

/// A bucket and how it is reached. Credentials are never part of it: they come by AWS's standard chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct S3Location {
    /// The bucket.
    pub bucket: String,
    /// What all keys start with; may be empty.
    pub prefix: String,
    /// Its region; by default the environment's.
    pub region: Option<String>,
    /// Another server than AWS's.
    pub endpoint: Option<String>,
    /// Whether the bucket stands in the path rather than in the host's name; default for an endpoint.
    pub path_style: bool,
    /// Whether it may be reached without TLS; default on this machine's own loopback only.
    pub allow_http: bool,
    /// How objects are encrypted; by default as the bucket says.
    pub encryption: Option<Encryption>,
}

/// How S3 encrypts objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// With keys that S3 manages (SSE-S3).
    S3,
    /// With a key of KMS; the account's default one unless named.
    Kms(Option<String>),
}

impl fmt::Display for RawUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::S3(location) if location.prefix.is_empty() => {
                write!(f, "s3://{}", location.bucket)
            }
            Self::S3(location) => write!(f, "s3://{}/{}", location.bucket, location.prefix),
        }
    }
}

/// Which PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// The one inside this program, with its data in a directory.
    Embedded(PathBuf),
    /// A server, by its connection URL.
    Server(Secret),
}

impl DatabaseUrl {
    fn parse(word: &str, root: &Path) -> Option<Self> {
        if let Some(directory) = word.strip_prefix("embedded:") {
            let directory = if directory.is_empty() { ".daymark/postgres" } else { directory };
            return Some(Self::Embedded(root.join(directory)));
        }
        let is_server = word.starts_with("postgres://") || word.starts_with("postgresql://");
        is_server.then(|| Self::Server(Secret::new(word.to_owned())))
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded(directory) => write!(f, "embedded:{}", directory.display()),
            Self::Server(url) => f.write_str(&shown(url.reveal())),
        }
    }
}

/// A server's URL without its secrets. Where this crate and PostgreSQL could read a URL differently
/// (an unescaped `/`, `#` or `@` in a password), nothing of it is shown.
fn shown(url: &str) -> String {
    let hidden = "postgres://***".to_owned();
    let Ok(mut shown) = url::Url::parse(url) else { return hidden };
    let clear =
        !shown.path().contains('@') && shown.fragment().is_none() && url.matches('@').count() < 2;
    if !clear || (shown.password().is_some() && shown.set_password(Some("***")).is_err()) {
        return hidden;
    }
    // A password can also stand in the query (`?password=`).
    shown.set_query(None);
    shown.to_string()
}

/// The dashboard's settings.
#[derive(Debug, Clone)]
pub struct Dashboard {
    /// The title of every page; default the pipeline's name.
    pub title: String,
    /// Where it listens; default `127.0.0.1:8080`.
    pub listen: SocketAddr,
    /// The address people open it at, for links in messages; without a slash at its end.
    pub url: Option<String>,
}

/// How long leadership lasts without a sign of life, in seconds: at most so long that another process takes
/// over within 30 seconds.
const LEASE_SECONDS: std::ops::RangeInclusive<u32> = 2..=20;

/// Logs are kept at least so long: alerts and the pages of the last weeks lean on them.
const SHORTEST_KEPT: SignedDuration = SignedDuration::from_hours(24 * 30);

/// What `daymark.toml` says.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The pipeline's zone: what "the day" of an instant is.
    pub zone: TimeZone,
    /// The zone's name.
    pub zone_name: String,
    /// When the pipeline fires.
    pub schedule: Schedule,
    /// Where raw objects are kept.
    pub raw: RawUrl,
    /// Which PostgreSQL.
    pub database: DatabaseUrl,
    /// The schema of the curated tables; default `public`.
    pub schema: String,
    /// The dashboard.
    pub dashboard: Dashboard,
    /// After how long without a sign of life of the leading `daymark up` another takes over; default 15
    /// seconds.
    pub lease: Duration,
    /// For how long requests and logs of runs, and resolved alerts, are kept in the ledger; none is for ever.
    /// Default 400 days.
    pub keep_logs: Option<SignedDuration>,
    /// How fast hosts may be asked, whatever the source: `[hosts."api.example.com"]`.
    pub hosts: BTreeMap<String, Rate>,
    /// Who is told when something is wrong.
    pub alerts: Vec<Channel>,
    /// Who is pinged while all is well.
    pub heartbeat: Option<Heartbeat>,
}

/// Reads `daymark.toml`; gives the pipeline's name and its settings.
pub(crate) fn read(
    root: &Path,
    text: Text<'_>,
    environment: &Environment,
    problems: &mut Vec<Problem>,
) -> Option<(String, Settings)> {
    let table = text.parse(problems)?;
    let mut section = Section::top(text, &table);
    let name = section.required_string("name", problems).filter(|name| {
        let fits = !name.is_empty()
            && name.len() <= 60
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b));
        if !fits {
            let problem = section.problem("name", format!("`name` is `{name}`"));
            problems.push(problem.hint("accepted: a-z, 0-9, - and _, at most 60 characters"));
        }
        fits
    });
    let zone = read_zone(&mut section, problems);
    let default = zone.as_ref().map_or("UTC", |(name, _)| name);
    if !section.has("schedule") {
        section.required_string("schedule", problems);
    }
    let schedule = crate::schedule_section::read(&mut section, default, problems);
    let raw = raw::read(root, &mut section, environment, problems);
    let database = read_database(root, &mut section, environment, problems);
    let dashboard = read_dashboard(&mut section, name.as_deref(), environment, problems);
    let lease = read_lease(&mut section, environment, problems);
    let keep_logs = read_keep_logs(&mut section, environment, problems);
    let hosts = read_hosts(&mut section, problems);
    let alerts = alerts::read(&mut section, root, problems);
    let heartbeat = alerts::read_heartbeat(&mut section, problems);
    section.finish(problems);
    let (database, schema) = database?;
    let schedule = schedule?;
    let (zone_name, zone) = zone?;
    let (raw, dashboard) = (raw?, dashboard?);
    let settings = Settings {
        zone,
        zone_name,
        schedule,
        raw,
        database,
        schema,
        dashboard,
        lease,
        keep_logs,
        hosts,
        alerts,
        heartbeat,
    };
    Some((name?, settings))
}

/// The pipeline's zone, with its name.
fn read_zone(section: &mut Section<'_>, problems: &mut Vec<Problem>) -> Option<(String, TimeZone)> {
    let name = section.required_string("time_zone", problems)?;
    let zone = TimeZone::get(&name).ok();
    if zone.is_none() {
        let problem = section.problem("time_zone", format!("`time_zone` is `{name}`"));
        problems
            .push(problem.hint("accepted: an IANA zone name such as `America/New_York` or `UTC`"));
    }
    zone.map(|zone| (name, zone))
}

/// `[scheduler] lease_seconds`.
fn read_lease(
    section: &mut Section<'_>,
    environment: &Environment,
    problems: &mut Vec<Problem>,
) -> Duration {
    const VARIABLE: &str = "DAYMARK_SCHEDULER_LEASE_SECONDS";
    let mut table = section.optional_table("scheduler", problems);
    let in_file = table
        .as_mut()
        .and_then(|table| table.optional_whole("lease_seconds", LEASE_SECONDS, problems));
    if let Some(table) = table {
        table.finish(problems);
    }
    let of_environment = environment.get(VARIABLE).and_then(|word| {
        let seconds = word.parse().ok().filter(|seconds| LEASE_SECONDS.contains(seconds));
        if seconds.is_none() {
            let message = format!("it is `{word}`");
            let (from, to) = (LEASE_SECONDS.start(), LEASE_SECONDS.end());
            problems.push(
                Problem::new(&format!("${VARIABLE}"), 0, message)
                    .hint(format!("accepted: a whole number from {from} to {to}")),
            );
        }
        seconds
    });
    Duration::from_secs(u64::from(of_environment.or(in_file).unwrap_or(15)))
}

/// `[ledger] keep_logs`.
fn read_keep_logs(
    section: &mut Section<'_>,
    environment: &Environment,
    problems: &mut Vec<Problem>,
) -> Option<SignedDuration> {
    let default = SignedDuration::from_hours(24 * 400);
    let mut table = section.optional_table("ledger", problems);
    let variable = "DAYMARK_LEDGER_KEEP_LOGS";
    let found = setting(table.as_mut(), "keep_logs", variable, environment, problems);
    if let Some(table) = table {
        table.finish(problems);
    }
    let Some((word, at)) = found else { return Some(default) };
    if word == "forever" {
        return None;
    }
    let length = read_age(&word).filter(|length| *length >= SHORTEST_KEPT);
    if length.is_none() {
        let message = format!("`ledger.keep_logs` is `{word}`");
        let hint = "accepted: `forever`, or from 30 days to ten years, such as `90d` or `400d`";
        problems.push(Problem { message, ..at }.hint(hint));
    }
    length
}

fn read_hosts(section: &mut Section<'_>, problems: &mut Vec<Problem>) -> BTreeMap<String, Rate> {
    let mut hosts = BTreeMap::new();
    let Some(mut table) = section.optional_table("hosts", problems) else { return hosts };
    for host in table.keys() {
        if url::Host::parse(&host).is_err() {
            let problem = table.problem(&host, format!("`{host}` is not a host"));
            problems.push(problem.hint("write `[hosts.\"api.example.com\"]`"));
        }
        let Some(mut limits) = table.optional_table(&host, problems) else { continue };
        match read_calls(&mut limits, problems) {
            Some(rate) => {
                hosts.insert(host.to_ascii_lowercase(), rate);
            }
            None => problems.push(limits.problem_here("`calls` is missing")),
        }
        limits.finish(problems);
    }
    hosts
}

/// A setting: the environment's word if there is one, else the file's, with the place to blame.
pub(crate) fn setting(
    section: Option<&mut Section<'_>>,
    key: &str,
    variable: &str,
    environment: &Environment,
    problems: &mut Vec<Problem>,
) -> Option<(String, Problem)> {
    let in_file = section.and_then(|section| {
        let word = section.optional_string(key, problems)?;
        Some((word, section.problem(key, String::new())))
    });
    match environment.get(variable) {
        Some(word) => Some((word.to_owned(), Problem::new(&format!("${variable}"), 0, ""))),
        None => in_file,
    }
}

fn read_database(
    root: &Path,
    section: &mut Section<'_>,
    environment: &Environment,
    problems: &mut Vec<Problem>,
) -> Option<(DatabaseUrl, String)> {
    let mut table = section.optional_table("database", problems);
    let found = setting(table.as_mut(), "url", "DAYMARK_DATABASE_URL", environment, problems);
    let schema =
        setting(table.as_mut(), "schema", "DAYMARK_DATABASE_SCHEMA", environment, problems);
    if let Some(table) = table {
        table.finish(problems);
    }
    let database = match found {
        None => DatabaseUrl::parse("embedded:", root),
        Some((word, at)) => {
            let database = DatabaseUrl::parse(&word, root);
            if database.is_none() {
                // The word may hold a password, so it is not repeated.
                let message = "the database URL is neither embedded nor PostgreSQL's".to_owned();
                let hint =
                    "accepted: `embedded:`, `embedded:DIR` or `postgres://USER@HOST/DATABASE`";
                problems.push(Problem { message, ..at }.hint(hint));
            }
            database
        }
    };
    let schema = match schema {
        None => Some("public".to_owned()),
        Some((word, at)) => {
            let fits = crate::sql_text::is_identifier(&word)
                && word != "daymark"
                && !word.starts_with("pg_");
            if !fits {
                let message = format!("`database.schema` is `{word}`");
                let hint =
                    "accepted: a-z, 0-9 and _, a letter first; `daymark` is the ledger's own";
                problems.push(Problem { message, ..at }.hint(hint));
            }
            fits.then_some(word)
        }
    };
    Some((database?, schema?))
}

fn read_dashboard(
    section: &mut Section<'_>,
    name: Option<&str>,
    environment: &Environment,
    problems: &mut Vec<Problem>,
) -> Option<Dashboard> {
    let mut table = section.optional_table("dashboard", problems);
    let title = table.as_mut().and_then(|table| table.optional_string("title", problems));
    let listen =
        setting(table.as_mut(), "listen", "DAYMARK_DASHBOARD_LISTEN", environment, problems);
    let url = setting(table.as_mut(), "url", "DAYMARK_DASHBOARD_URL", environment, problems);
    if let Some(table) = table {
        table.finish(problems);
    }
    let listen = match listen {
        None => Some(SocketAddr::from(([127, 0, 0, 1], 8080))),
        Some((word, at)) => {
            let address = word.parse().ok();
            if address.is_none() {
                let message = format!("`dashboard.listen` is `{word}`");
                problems.push(
                    Problem { message, ..at }
                        .hint("accepted: ADDRESS:PORT, such as `127.0.0.1:8080`"),
                );
            }
            address
        }
    };
    let url = url.and_then(|(word, at)| {
        let parsed = url::Url::parse(&word).ok();
        let fits = parsed.is_some_and(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none()
        });
        if !fits {
            let message = "`dashboard.url` is not the address of a page".to_owned();
            problems.push(Problem { message, ..at }.hint("such as `https://data.example.com`"));
        }
        fits.then(|| word.trim_end_matches('/').to_owned())
    });
    let title = title.unwrap_or_else(|| name.unwrap_or_default().to_owned());
    Some(Dashboard { title, listen: listen?, url })
}
