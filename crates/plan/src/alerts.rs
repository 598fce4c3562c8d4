//! `[[alerts]]` and `[heartbeat]`: who is told when something is wrong, and who notices when nobody tells.
//!
//! In: the tables of `daymark.toml`. Out: [`Channel`]s and a [`Heartbeat`] whose secrets are templates.
//! Deliberately absent: what happened (`daymark_warehouse::alerts`) and sending anything (`daymark`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;

use crate::problem::{Problem, did_you_mean};
use crate::section::{Section, choose};
use crate::source::{self, SecretRef, SourceId, Template, is_header_name, is_secret_name};

/// What can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertEvent {
    /// An attempt on a day failed, or a run as a whole.
    RunFailed,
    /// A day's deadline passed.
    Late,
    /// A day's time went by without an attempt.
    Missing,
    /// A day that failed is not tried any more: it waits for a person.
    GivenUp,
    /// A check holds a day back.
    Quarantined,
    /// The responses of a source changed their shape.
    SchemaDrift,
    /// Rows were set aside.
    Rejects,
    /// A fetch brought another number of rows than usual.
    VolumeAnomaly,
    /// Another check with `severity = "warn"` found rows.
    CheckWarned,
    /// Nobody keeps the schedule.
    SchedulerStopped,
}

impl AlertEvent {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::RunFailed,
        Self::Late,
        Self::Missing,
        Self::GivenUp,
        Self::Quarantined,
        Self::SchemaDrift,
        Self::Rejects,
        Self::VolumeAnomaly,
        Self::CheckWarned,
        Self::SchedulerStopped,
    ];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RunFailed => "run_failed",
            Self::Late => "late",
            Self::Missing => "missing",
            Self::GivenUp => "given_up",
            Self::Quarantined => "quarantined",
            Self::SchemaDrift => "schema_drift",
            Self::Rejects => "rejects",
            Self::VolumeAnomaly => "volume_anomaly",
            Self::CheckWarned => "check_warned",
            Self::SchedulerStopped => "scheduler_stopped",
        }
    }

    /// The event of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.as_str() == word)
    }
}

/// The word among `events` for the message that something is well again.
const RECOVERED: &str = "recovered";

/// A place where messages go.
#[derive(Debug, Clone, PartialEq)]
pub struct Channel {
    /// Its name.
    pub name: String,
    /// How it is reached.
    pub kind: ChannelKind,
    /// What it is told of.
    pub events: BTreeSet<AlertEvent>,
    /// Whether it is told when something is well again.
    pub recovered: bool,
    /// The sources it is told of; none is all. What is of no source, such as the scheduler, it is always told.
    pub sources: Vec<SourceId>,
    /// After how long it is reminded of what is still wrong; none is never.
    pub repeat: Option<SignedDuration>,
    /// The fewest rows set aside that it is told of.
    pub min_rejects: i64,
    /// How long one message may take.
    pub timeout: Duration,
    /// Where it stands in `daymark.toml`.
    line: usize,
}

/// How a channel is reached.
#[derive(Debug, Clone, PartialEq)]
pub enum ChannelKind {
    /// A POST of JSON.
    Webhook(Webhook),
    /// Mail.
    Email(Box<Email>),
    /// A topic of AWS SNS, by its ARN.
    Sns {
        /// The topic.
        topic: String,
        /// Its region, which the ARN holds.
        region: String,
    },
    /// The program's own log.
    Log,
}

impl ChannelKind {
    /// Its word.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Email(_) => "email",
            Self::Sns { .. } => "sns",
            Self::Log => "log",
        }
    }
}

/// An address that takes JSON.
#[derive(Debug, Clone, PartialEq)]
pub struct Webhook {
    /// The address, often a secret itself.
    pub url: Template,
    /// Headers beside the content type.
    pub headers: Vec<(String, Template)>,
    /// What the JSON looks like.
    pub format: WebhookFormat,
    /// Certificates that are trusted beside the machine's.
    pub ca_file: Option<PathBuf>,
}

/// What a webhook's JSON looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookFormat {
    /// The program's own (docs/alerts.md).
    Json,
    /// `{"text": ...}`, as Slack and those that follow it take it.
    Slack,
}

/// A mail server, and whose mail it takes to whom.
#[derive(Debug, Clone, PartialEq)]
pub struct Email {
    /// The server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is kept private.
    pub tls: SmtpTls,
    /// Who asks, with the password.
    pub login: Option<(Template, Template)>,
    /// The sender.
    pub from: String,
    /// The receivers.
    pub to: Vec<String>,
    /// Certificates that are trusted beside the machine's.
    pub ca_file: Option<PathBuf>,
}

/// How a connection to a mail server is kept private.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpTls {
    /// It starts in the open and must turn private before anything is said (RFC 3207).
    StartTls,
    /// It is private from the start (RFC 8314).
    Implicit,
    /// It is not: on this machine's own loopback only.
    None,
}

/// An address that is pinged while all is well: whoever owns it notices the silence.
#[derive(Debug, Clone, PartialEq)]
pub struct Heartbeat {
    /// The address, often a secret itself.
    pub url: Template,
    /// How often `daymark up` pings it beside its runs; none is after runs only.
    pub every: Option<Duration>,
    /// Whether a run that failed is told at `URL/fail`.
    pub fail: bool,
    /// Whether the beginning of a run is told at `URL/start`.
    pub start: bool,
    /// How long one ping may take.
    pub timeout: Duration,
}

impl Channel {
    /// The secrets it needs.
    pub fn secrets(&self) -> BTreeSet<SecretRef> {
        let templates: Vec<&Template> = match &self.kind {
            ChannelKind::Webhook(webhook) => {
                let headers = webhook.headers.iter().map(|(_, value)| value);
                std::iter::once(&webhook.url).chain(headers).collect()
            }
            ChannelKind::Email(email) => {
                email.login.iter().flat_map(|(user, password)| [user, password]).collect()
            }
            ChannelKind::Sns { .. } | ChannelKind::Log => Vec::new(),
        };
        templates.into_iter().flat_map(|template| template.secrets().cloned()).collect()
    }

    /// Whether it is told of an event of a source; rows that were set aside count.
    pub fn wants(&self, event: AlertEvent, source: Option<&str>, amount: Option<i64>) -> bool {
        let of_source = |id: &str| self.sources.iter().any(|source| source.as_str() == id);
        self.events.contains(&event)
            && (self.sources.is_empty() || source.is_none_or(of_source))
            && (event != AlertEvent::Rejects || amount.is_some_and(|rows| rows >= self.min_rejects))
    }
}

/// How long one message may take, unless the file says otherwise.
const TIMEOUT_SECONDS: f64 = 10.0;

/// Reads `[[alerts]]`.
pub(crate) fn read(
    section: &mut Section<'_>,
    root: &Path,
    problems: &mut Vec<Problem>,
) -> Vec<Channel> {
    let mut channels: Vec<Channel> = Vec::new();
    for table in section.tables("alerts", problems) {
        let line = table.line_here();
        let file = table.file();
        let Some(channel) = read_channel(table, root, problems) else { continue };
        if channels.iter().any(|other| other.name == channel.name) {
            let message = format!("two channels are called `{}`", channel.name);
            problems.push(Problem::new(file, line, message));
        }
        channels.push(channel);
    }
    channels
}

/// Channels name sources of the folder.
pub(crate) fn sources_exist(channels: &[Channel], ids: &[String], problems: &mut Vec<Problem>) {
    for channel in channels {
        for source in &channel.sources {
            if !ids.iter().any(|id| id == source.as_str()) {
                let message = format!("the channel `{}` names the source `{source}`", channel.name);
                let hint = did_you_mean(source.as_str(), ids.iter().map(String::as_str));
                problems.push(Problem::new("daymark.toml", channel.line, message).hint(hint));
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Webhook,
    Email,
    Sns,
    Log,
}

fn read_channel(
    mut section: Section<'_>,
    root: &Path,
    problems: &mut Vec<Problem>,
) -> Option<Channel> {
    let line = section.line_here();
    let name = section.required_string("name", problems).filter(|name| {
        let fits = !name.is_empty()
            && name.len() <= 40
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b));
        if !fits {
            let problem = section.problem("name", format!("`alerts.name` is `{name}`"));
            problems.push(problem.hint("accepted: a-z, 0-9, - and _, at most 40 characters"));
        }
        fits
    });
    let kinds = [
        ("webhook", Kind::Webhook),
        ("email", Kind::Email),
        ("sns", Kind::Sns),
        ("log", Kind::Log),
    ];
    let kind = choose(&mut section, "type", &kinds, None, problems);
    let (events, recovered) = read_events(&mut section, problems);
    let words = section.optional_strings("sources", problems).unwrap_or_default();
    let mut sources = Vec::new();
    for word in words {
        if let Some(id) = SourceId::new(&word) {
            sources.push(id);
        } else {
            let problem = section.problem("sources", format!("`{word}` is no source's id"));
            problems.push(problem.hint("accepted: the names of files in `sources/`"));
        }
    }
    let repeat = read_repeat(&mut section, problems);
    let min_rejects = section.optional_whole("min_rejects", 1..=u32::MAX, problems).unwrap_or(1);
    let timeout = timeout(&mut section, problems);
    // Of a channel of a type that is none, no key is judged.
    let kind = match kind? {
        Kind::Webhook => read_webhook(&mut section, root, problems).map(ChannelKind::Webhook),
        Kind::Email => {
            let email = read_email(&mut section, root, problems);
            email.map(|email| ChannelKind::Email(Box::new(email)))
        }
        Kind::Sns => read_topic(&mut section, problems),
        Kind::Log => Some(ChannelKind::Log),
    };
    section.finish(problems);
    Some(Channel {
        name: name?,
        kind: kind?,
        events,
        recovered,
        sources,
        repeat,
        min_rejects: i64::from(min_rejects),
        timeout,
        line,
    })
}

fn read_events(
    section: &mut Section<'_>,
    problems: &mut Vec<Problem>,
) -> (BTreeSet<AlertEvent>, bool) {
    let Some(words) = section.optional_strings("events", problems) else {
        return (AlertEvent::ALL.into(), true);
    };
    let mut events = BTreeSet::new();
    let (mut recovered, mut all_known) = (false, true);
    for word in words {
        match AlertEvent::parse(&word) {
            Some(event) => drop(events.insert(event)),
            None if word == RECOVERED => recovered = true,
            None => {
                all_known = false;
                let all = AlertEvent::ALL.map(AlertEvent::as_str);
                let hint = did_you_mean(&word, all.into_iter().chain([RECOVERED]));
                let problem = section.problem("events", format!("`{word}` is no event"));
                problems.push(problem.hint(hint));
            }
        }
    }
    if events.is_empty() && all_known {
        let problem = section.problem("events", "the channel is told of nothing");
        problems.push(problem.hint("leave `events` out to tell it of everything"));
    }
    (events, recovered)
}

fn read_repeat(section: &mut Section<'_>, problems: &mut Vec<Problem>) -> Option<SignedDuration> {
    let default = SignedDuration::from_hours(24);
    let Some(word) = section.optional_string("repeat", problems) else { return Some(default) };
    if word == "never" {
        return None;
    }
    let length = length(&word).filter(|length| *length >= SignedDuration::from_mins(1));
    if length.is_none() {
        let problem = section.problem("repeat", format!("`alerts.repeat` is `{word}`"));
        let hint = "accepted: `never`, or from one minute on such as `30min`, `6h`, `1d`";
        problems.push(problem.hint(hint));
    }
    length
}

/// A length of time that no calendar is needed for: `30s`, `5min`, `6h`, `1d` (24 hours).
fn length(word: &str) -> Option<SignedDuration> {
    let at = word.find(|c: char| !c.is_ascii_digit())?;
    let (count, unit) = word.split_at_checked(at)?;
    let seconds = match unit {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    let seconds = count.parse::<i64>().ok()?.checked_mul(seconds)?;
    (0..=366 * 86_400).contains(&seconds).then(|| SignedDuration::from_secs(seconds))
}

fn timeout(section: &mut Section<'_>, problems: &mut Vec<Problem>) -> Duration {
    let seconds = section.optional_number("timeout_seconds", 0.1..=30.0, problems);
    Duration::from_secs_f64(seconds.unwrap_or(TIMEOUT_SECONDS))
}

/// A text that may hold secrets, and nothing of a request's day.
fn template(
    section: &Section<'_>,
    key: &str,
    text: &str,
    problems: &mut Vec<Problem>,
) -> Option<Template> {
    let template = source::template(section, key, text, problems)?;
    if template.names().next().is_some() {
        let problem = section.problem(key, format!("`{key}` is the same for every message"));
        problems.push(problem.hint("accepted: text with `${NAME}`, or `secret://NAME`"));
        return None;
    }
    Some(template)
}

/// An address, which may be a secret as a whole.
fn address(section: &mut Section<'_>, key: &str, problems: &mut Vec<Problem>) -> Option<Template> {
    let text = section.required_string(key, problems)?;
    let url = template(section, key, &text, problems)?;
    source::address(section, key, &url, problems).then_some(url)
}

fn ca_file(section: &mut Section<'_>, root: &Path, problems: &mut Vec<Problem>) -> Option<PathBuf> {
    let file = section.optional_string("ca_file", problems)?;
    let path = root.join(&file);
    if !path.is_file() {
        let problem = section.problem("ca_file", format!("there is no file `{file}`"));
        problems.push(problem.hint("a PEM file, relative to the pipeline folder"));
    }
    Some(path)
}

fn read_webhook(
    section: &mut Section<'_>,
    root: &Path,
    problems: &mut Vec<Problem>,
) -> Option<Webhook> {
    let url = address(section, "url", problems);
    let mut headers = Vec::new();
    for (name, text) in section.optional_texts("headers", problems) {
        let Some(value) = template(section, "headers", &text, problems) else { continue };
        if !is_header_name(&name) || text.bytes().any(|byte| byte.is_ascii_control()) {
            let problem =
                section.problem("headers", format!("`{name}` is not a header that can be sent"));
            problems.push(
                problem.hint("accepted: a name of letters, digits and -, and a value on one line"),
            );
        }
        if is_secret_name(&name) && value.secrets().next().is_none() {
            // The value is not repeated.
            let message = format!("the secret of `{name}` stands in the file");
            let hint = "write `${NAME}` for an environment variable, or `secret://NAME` for AWS Secrets Manager";
            problems.push(section.problem("headers", message).hint(hint));
        }
        headers.push((name, value));
    }
    let formats = [("json", WebhookFormat::Json), ("slack", WebhookFormat::Slack)];
    let format = choose(section, "format", &formats, Some(WebhookFormat::Json), problems);
    let ca_file = ca_file(section, root, problems);
    Some(Webhook { url: url?, headers, format: format?, ca_file })
}

fn read_email(
    section: &mut Section<'_>,
    root: &Path,
    problems: &mut Vec<Problem>,
) -> Option<Email> {
    let host = section.required_string("host", problems).filter(|host| {
        let fits = url::Host::parse(host).is_ok();
        if !fits {
            let problem = section.problem("host", format!("`{host}` is not a host"));
            problems.push(problem.hint("accepted: a name such as `smtp.example.com`"));
        }
        fits
    });
    let kinds =
        [("starttls", SmtpTls::StartTls), ("implicit", SmtpTls::Implicit), ("none", SmtpTls::None)];
    let tls = choose(section, "tls", &kinds, Some(SmtpTls::StartTls), problems);
    if let (Some(SmtpTls::None), Some(host)) = (tls, &host)
        && !is_loopback(host)
    {
        let message = format!("mail would go to `{host}` in the open");
        let hint =
            "`tls = \"none\"` is for this machine's own loopback; use `starttls` or `implicit`";
        problems.push(section.problem("tls", message).hint(hint));
    }
    let default = match tls {
        Some(SmtpTls::Implicit) => 465,
        Some(SmtpTls::None) => 25,
        Some(SmtpTls::StartTls) | None => 587,
    };
    let port = section.optional_whole("port", 1..=65_535, problems).unwrap_or(default);
    let user = section.optional_string("user", problems);
    let user = user.and_then(|text| template(section, "user", &text, problems));
    let password = match (section.has("password"), section.has("user")) {
        (true, _) => {
            let secret = source::secret(section, "password", problems);
            secret.filter(|secret| template(section, "password", secret.text(), problems).is_some())
        }
        (false, true) => {
            section.required_string("password", problems);
            None
        }
        (false, false) => None,
    };
    if section.has("password") && !section.has("user") {
        section.required_string("user", problems);
    }
    let mailbox = |section: &Section<'_>, key: &str, text: &str, problems: &mut Vec<Problem>| {
        let inside = text.rsplit_once('<').map_or(text, |(_, rest)| rest.trim_end_matches('>'));
        let fits = inside.split_once('@').is_some_and(|(who, host)| {
            !who.is_empty() && !host.is_empty() && !inside.contains([' ', '<', ',', '\n', '\r'])
        });
        if !fits {
            let problem = section.problem(key, format!("`{text}` is no mail address"));
            problems.push(problem.hint("such as `ops@example.com` or `Ops <ops@example.com>`"));
        }
        fits
    };
    let from = section.required_string("from", problems);
    let from = from.filter(|text| mailbox(section, "from", text, problems));
    let to = section.required_strings("to", problems);
    let to = to.map(|to| {
        to.into_iter().filter(|text| mailbox(section, "to", text, problems)).collect::<Vec<_>>()
    });
    let ca_file = ca_file(section, root, problems);
    Some(Email {
        host: host?,
        port: u16::try_from(port).ok()?,
        tls: tls?,
        login: user.zip(password),
        from: from?,
        to: to?,
        ca_file,
    })
}

fn is_loopback(host: &str) -> bool {
    match url::Host::parse(host) {
        Ok(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Ok(url::Host::Ipv4(address)) => address.is_loopback(),
        Ok(url::Host::Ipv6(address)) => address.is_loopback(),
        Err(_) => false,
    }
}

fn read_topic(section: &mut Section<'_>, problems: &mut Vec<Problem>) -> Option<ChannelKind> {
    let topic = section.required_string("topic", problems)?;
    // `arn:aws:sns:REGION:ACCOUNT:NAME`; other partitions are called `aws-cn`, `aws-us-gov`.
    let parts: Vec<&str> = topic.split(':').collect();
    match parts.as_slice() {
        ["arn", partition, "sns", region, account, name]
            if partition.starts_with("aws")
                && [region, account, name].iter().all(|part| !part.is_empty()) =>
        {
            let region = (*region).to_owned();
            Some(ChannelKind::Sns { topic, region })
        }
        _ => {
            let problem = section.problem("topic", format!("`alerts.topic` is `{topic}`"));
            problems.push(problem.hint("accepted: `arn:aws:sns:REGION:ACCOUNT:NAME`"));
            None
        }
    }
}

/// Reads `[heartbeat]`.
pub(crate) fn read_heartbeat(
    section: &mut Section<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Heartbeat> {
    let mut section = section.optional_table("heartbeat", problems)?;
    let url = address(&mut section, "url", problems);
    let every = section.optional_string("every", problems).and_then(|word| {
        let shortest = SignedDuration::from_secs(10);
        let length = length(&word).filter(|length| *length >= shortest);
        if length.is_none() {
            let problem = section.problem("every", format!("`heartbeat.every` is `{word}`"));
            problems.push(problem.hint("accepted: from `10s` on, such as `5min` or `1h`"));
        }
        Duration::try_from(length?).ok()
    });
    // A ping on a period would end the alarm of a failed run minutes later.
    let fail = section.optional_bool("fail", problems).unwrap_or(every.is_none());
    let start = section.optional_bool("start", problems).unwrap_or(false);
    let timeout = timeout(&mut section, problems);
    section.finish(problems);
    Some(Heartbeat { url: url?, every, fail, start, timeout })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_a_number_and_a_unit() {
        assert_eq!(length("90s"), Some(SignedDuration::from_secs(90)));
        assert_eq!(length("5min"), Some(SignedDuration::from_mins(5)));
        assert_eq!(length("6h"), Some(SignedDuration::from_hours(6)));
        assert_eq!(length("1d"), Some(SignedDuration::from_hours(24)));
        for bad in ["", "min", "5", "5 min", "-5min", "1.5h", "1y", "99999999999999999999d", "h5"] {
            assert_eq!(length(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_event_has_its_word() {
        for event in AlertEvent::ALL {
            assert_eq!(AlertEvent::parse(event.as_str()), Some(event));
        }
        assert_eq!(AlertEvent::parse(RECOVERED), None);
    }
}
