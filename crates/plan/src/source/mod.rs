//! `sources/*.toml`: one REST resource each; one file here per section of it.
//!
//! In: the TOML of a source. Out: a [`Source`]. Deliberately absent: asking anything.

mod auth;
mod entities;
mod incremental;
mod limits;
mod pagination;
mod request;
mod schema;
mod template;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use jiff::SignedDuration;
use jiff::civil::{Date, Time};

pub use auth::{Auth, ClientCredentials, KeyPlace};
pub use entities::{Entities, Entity, EntityColumn, EntityId, behind_day};
pub use incremental::{CursorType, Incremental, Window};
pub(crate) use limits::read_calls;
pub use limits::{DayRetry, Expect, Rate, Retry, Weight};
pub use pagination::{PageStyle, Pagination};
pub use request::{Body, JsonTemplate, Method, Request, check_url, is_secret_name};
pub(crate) use request::{address, is_header_name, secret, template};
pub use schema::SchemaRules;
pub use template::{Moment, Name, SecretRef, Secrets, Template, Values};

use crate::calendar_file;
use crate::day::{Deadline, DeadlineBy};
use crate::problem::Problem;
use crate::rows::{self, ROW_COLUMN, RowsSpec, SYSTEM_COLUMNS};
use crate::schedule::{Calendar, DataDateRule, Schedule};
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
    /// When it is fetched, if not with the pipeline ([`crate::Plan::schedule_of`]).
    pub schedule: Option<Schedule>,
    /// By when a day is to be there.
    pub deadline: Deadline,
    /// When a day that failed is tried again.
    pub days: DayRetry,
    /// The first data date the ledger expects; default: the first one ever fetched.
    pub start: Option<Date>,
    /// What is asked.
    pub request: Request,
    /// Who asks.
    pub auth: Auth,
    /// How the next page is asked for.
    pub pagination: Pagination,
    /// Whom it is asked about, one by one.
    pub entities: Entities,
    /// How what is new is asked for.
    pub incremental: Option<Incremental>,
    /// The days a request asks for.
    pub window: Window,
    /// How fast it may be asked.
    pub rate: Option<Rate>,
    /// How many calls a request counts as.
    pub weight: Weight,
    /// When it is asked again.
    pub retry: Retry,
    /// What the answer must look like.
    pub expect: Expect,
    /// How the answer becomes rows.
    pub rows: RowsSpec,
    /// What may change about the answer's shape.
    pub schema: SchemaRules,
    /// Which of two fetches wins.
    pub supersede: Supersede,
}

impl Source {
    /// The columns of `raw_<source>`, in order, with their types.
    pub fn raw_columns(&self) -> impl Iterator<Item = (&str, &'static str)> {
        SYSTEM_COLUMNS.into_iter().chain(self.own_columns())
    }

    /// Those that extraction writes, in its order: without what is the same for all rows of a fetch, which
    /// is said once and not with each row.
    pub fn row_columns(&self) -> impl Iterator<Item = (&str, &'static str)> {
        std::iter::once(ROW_COLUMN).chain(self.own_columns())
    }

    /// The columns of the entity and those of the mapped fields.
    fn own_columns(&self) -> impl Iterator<Item = (&str, &'static str)> {
        let entity = self.entities.columns.iter();
        let entity = entity.map(|column| (column.raw_name.as_str(), column.field_type.postgres()));
        let fields = self.rows.fields.iter();
        let fields = fields.map(|field| (field.name.as_str(), field.field_type.postgres()));
        entity.chain(fields)
    }

    /// The ids of its entities; one `None` for a source without.
    pub fn entity_ids(&self) -> Vec<Option<EntityId>> {
        match self.entities.rows.as_slice() {
            [] => vec![None],
            rows => rows.iter().map(|entity| Some(entity.id.clone())).collect(),
        }
    }

    /// The secrets it needs.
    pub fn secrets(&self) -> BTreeSet<SecretRef> {
        template::secrets_of(self.request.templates().chain(self.auth.templates()))
    }

    /// Whether its API can be asked about any day: one that is not told the day answers as of now.
    pub fn answers_for_any_date(&self) -> bool {
        self.request
            .templates()
            .flat_map(Template::names)
            .any(|name| matches!(name, Name::DataDate | Name::WindowStart | Name::WindowEnd))
    }

    /// Why a fire for a day asks nobody, where the source's calendar has no data on it.
    pub fn without_data(&self, date: Date) -> Option<String> {
        let is_none = !self.calendar.has_data_on(date);
        is_none.then(|| format!("{date} is no day of the calendar `{}`", self.calendar))
    }
}

/// Reads one source. `stem` is its file's name without `.toml`, `zone` the pipeline's zone.
pub(crate) fn read(
    stem: &str,
    root: &Path,
    zone: &str,
    text: Text<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Source> {
    let table = text.parse(problems)?;
    let mut section = Section::top(text, &table);
    let id = read_id(&mut section, stem, problems);
    let calendar = read_calendar(&mut section, root, problems);
    let data_date = match section.optional_string("data_date", problems) {
        Some(word) => DataDateRule::parse(&word).or_else(|| {
            let message = format!("`data_date` is `{word}`");
            let hint =
                "accepted: `run_day`, `run_day - 1d` (any number of days), `previous_session`";
            problems.push(section.problem("data_date", message).hint(hint));
            None
        }),
        None => Some(DataDateRule::RunDay),
    };
    let schedule = crate::schedule_section::read(&mut section, zone, problems);
    let supersede = choose(
        &mut section,
        "supersede",
        &[("fetched_at", Supersede::FetchedAt), ("data_date", Supersede::DataDate)],
        Some(Supersede::FetchedAt),
        problems,
    );
    let start = section.optional_date("start", problems);
    let deadline = read_deadline(&mut section, problems);
    let days = limits::read_days(section.optional_table("days", problems), problems);
    let request = match section.required_table("request", problems) {
        Some(table) => request::read(table, root, problems),
        None => None,
    };
    let auth = auth::read(section.optional_table("auth", problems), problems);
    let pagination = pagination::read(section.optional_table("pagination", problems), problems);
    let entities = entities::read(&mut section, root, problems);
    let incremental = incremental::read(section.optional_table("incremental", problems), problems);
    let window = incremental::read_window(section.optional_table("window", problems), problems);
    let (rate, weight) = limits::read_rate(section.optional_table("rate", problems), problems);
    let retry = limits::read_retry(section.optional_table("retry", problems), problems);
    let mut expect = limits::read_expect(section.optional_table("expect", problems), problems);
    let schema = schema::read(section.optional_table("schema", problems), problems);
    if schema.fail_on_change {
        expect.max_reject_ratio = 0.0;
    }
    let rows = section.required_table("rows", problems);
    let mut rows = rows.and_then(|table| rows::read(table, problems));
    if let Some(rows) = rows.as_mut().filter(|_| schema.take_missing) {
        for field in &mut rows.fields {
            field.optional = true;
        }
    }
    section.finish(problems);
    let mut hashed = text.text.to_owned();
    hashed.extend(entities.file_sha256.as_deref());
    if let Some(Calendar::Listed(list)) = &calendar {
        hashed.push_str(&list.file_sha256);
    }
    let source = Source {
        id: id?,
        file: text.file.to_owned(),
        file_sha256: crate::digest::sha256_hex(hashed.as_bytes()),
        calendar: calendar?,
        data_date: data_date?,
        schedule,
        deadline,
        days,
        start,
        request: request?,
        auth: auth?,
        pagination: pagination?,
        entities,
        incremental,
        window,
        rate,
        weight,
        retry,
        expect,
        rows: rows?,
        schema,
        supersede: supersede?,
    };
    check_templates(&source, problems);
    check_auth(&source, problems);
    check_columns(&source, problems);
    check_bodies(&source, problems);
    Some(source)
}

/// What templates name must be there, and a cursor must go into the request.
fn check_templates(source: &Source, problems: &mut Vec<Problem>) {
    if let Some(incremental) = &source.incremental {
        let dated = matches!(incremental.cursor_type, CursorType::Date | CursorType::Timestamp);
        let carries =
            |name: &Name| *name == Name::Cursor || (dated && matches!(name, Name::WindowStart));
        if !source.request.templates().flat_map(Template::names).any(carries) {
            let message = "`[incremental]` keeps a cursor that no request carries";
            let hint = "write `{{ cursor }}` where the API takes it, such as in `request.query`";
            problems.push(Problem::new(&source.file, 0, message).hint(hint));
        }
    }
    let mut report = |message: String, hint: String| {
        let problem = Problem::new(&source.file, 0, message).hint(hint);
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    };
    let fields: Vec<&str> =
        source.entities.columns.iter().map(|column| column.name.as_str()).chain(["id"]).collect();
    for template in source.request.templates().chain(source.auth.templates()) {
        for name in template.names() {
            match name {
                Name::Cursor if source.incremental.is_none() => report(
                    format!("`{}` names a cursor, and the source has none", template.text()),
                    "add `[incremental]`".to_owned(),
                ),
                Name::Entity(_) if source.entities.rows.is_empty() => report(
                    format!("`{}` names an entity, and the source has none", template.text()),
                    "add `[[entity]]` rows, or `[entities] file = \"...\"`".to_owned(),
                ),
                Name::Entity(field) if !fields.contains(&field.as_str()) => report(
                    format!("`{}` names `entity.{field}`, which no entity has", template.text()),
                    crate::problem::did_you_mean(field, fields.iter().copied()),
                ),
                Name::Entity(field) => {
                    let column = source.entities.columns.iter().position(|c| c.name == *field);
                    let lacks = |e: &&Entity| column.is_some_and(|at| e.values[at].is_none());
                    if let Some(entity) = source.entities.rows.iter().find(lacks) {
                        report(
                            format!("the entity `{}` has no `{field}`", entity.id),
                            format!("`{}` needs it of every entity", template.text()),
                        );
                    }
                }
                _ => {}
            }
        }
        let instants = source
            .incremental
            .as_ref()
            .is_some_and(|incremental| incremental.cursor_type == CursorType::Timestamp);
        for name in template.moved_by_the_clock() {
            if *name == Name::DataDate || (!instants && !matches!(name, Name::Entity(_))) {
                report(
                    format!("`{}` moves a date by hours, minutes or seconds", template.text()),
                    "dates are moved by days: `d`, `w`, `mo`, `y`".to_owned(),
                );
            }
        }
        let dated = source.incremental.as_ref().is_none_or(|incremental| {
            matches!(incremental.cursor_type, CursorType::Date | CursorType::Timestamp)
        });
        for name in template.reckoned() {
            if matches!(name, Name::Entity(_)) || (*name == Name::Cursor && !dated) {
                report(
                    format!(
                        "`{}` reckons with what is neither a date nor an instant",
                        template.text()
                    ),
                    "spans and formats are for dates and instants".to_owned(),
                );
            }
        }
    }
}

/// Credentials stand in one place.
fn check_auth(source: &Source, problems: &mut Vec<Problem>) {
    let names = |header: bool| {
        let pairs = if header { &source.request.headers } else { &source.request.query };
        pairs.iter().map(|(name, _)| name.as_str())
    };
    let twice = match (source.auth.header(), source.auth.parameter()) {
        (Some(header), _) => names(true).find(|name| name.eq_ignore_ascii_case(header)),
        (None, Some(parameter)) => names(false).find(|name| *name == parameter),
        (None, None) => None,
    };
    if let Some(name) = twice {
        let message = format!("`{name}` stands in `[request]` and comes from `[auth]`");
        problems.push(Problem::new(&source.file, 0, message).hint("take one of them away"));
    }
}

/// A field and an entity's column cannot share a name.
fn check_columns(source: &Source, problems: &mut Vec<Problem>) {
    for column in &source.entities.columns {
        if source.rows.fields.iter().any(|field| field.name == column.raw_name) {
            let message = format!("the field `{}` is an entity's column already", column.raw_name);
            problems.push(Problem::new(&source.file, 0, message).hint("give it another name"));
        }
    }
}

/// A page that is asked for in the body needs one.
fn check_bodies(source: &Source, problems: &mut Vec<Problem>) {
    let in_body = match source.pagination.style {
        PageStyle::Cursor { in_body, .. }
        | PageStyle::Offset { in_body, .. }
        | PageStyle::Page { in_body, .. } => in_body,
        PageStyle::None | PageStyle::Link | PageStyle::NextUrl { .. } => false,
    };
    let fits = match &source.request.body {
        Body::Json(JsonTemplate::Object(_)) | Body::Form(_) => true,
        Body::None | Body::Json(_) => false,
    };
    if in_body && !fits {
        let message = "`pagination.in` is `body`, and the request has no body to put it into";
        let hint = "add `json = {}` or `form = {}` to `[request]`";
        problems.push(Problem::new(&source.file, 0, message).hint(hint));
    }
}

/// A calendar's name, or its file.
fn read_calendar(
    section: &mut Section<'_>,
    root: &Path,
    problems: &mut Vec<Problem>,
) -> Option<Calendar> {
    if !section.has("calendar") {
        section.optional_string("calendar", problems);
        return Some(Calendar::Daily);
    }
    let word = section.optional_string("calendar", problems)?;
    if !calendar_file::is_file(&word) {
        let calendar = Calendar::parse(&word);
        if let Err(hint) = &calendar {
            let message = format!("`calendar` is `{word}`");
            let hint = format!("{hint}; or a file of dates such as `calendars/own.toml`");
            problems.push(section.problem("calendar", message).hint(hint));
        }
        return calendar.ok();
    }
    match entities::read_file(root, &word) {
        Ok(text) => {
            let list = calendar_file::read(&word, &text, problems)?;
            Some(Calendar::Listed(Arc::new(list)))
        }
        Err(reason) => {
            let message = format!("the calendar `{word}` cannot be read: {reason}");
            let hint = "a `.toml` or `.txt` file of dates in the pipeline folder";
            problems.push(section.problem("calendar", message).hint(hint));
            None
        }
    }
}

/// `deadline` and `missing_after`.
fn read_deadline(section: &mut Section<'_>, problems: &mut Vec<Problem>) -> Deadline {
    let mut deadline = Deadline::default();
    if let Some(word) = section.optional_string("deadline", problems) {
        let of_clock = || Time::strptime("%H:%M", &word).ok();
        let by =
            of_clock().map(DeadlineBy::Time).or_else(|| duration(&word).map(DeadlineBy::After));
        if let Some(by) = by {
            deadline.by = by;
        } else {
            let problem = section.problem("deadline", format!("`deadline` is `{word}`"));
            problems.push(problem.hint(
                "accepted: a time such as \"09:30\" of the schedule's clock, or a span after the fire \
                 such as \"90min\" or \"2h\"",
            ));
        }
    }
    if let Some(word) = section.optional_string("missing_after", problems) {
        if let Some(long) = duration(&word) {
            deadline.missing_after = long;
        } else {
            let message = format!("`missing_after` is `{word}`");
            let hint =
                "accepted: a span after the deadline such as \"12h\" or \"3d\"; a day is 24 hours";
            problems.push(section.problem("missing_after", message).hint(hint));
        }
    }
    deadline
}

/// A span of fixed length: days are 24 hours.
fn duration(word: &str) -> Option<SignedDuration> {
    let units = [("min", 60), ("h", 3600), ("d", 86_400), ("w", 604_800), ("s", 1)];
    let (count, seconds) =
        units.iter().find_map(|(unit, seconds)| Some((word.strip_suffix(unit)?, seconds)))?;
    let count: u32 = count.trim_end().parse().ok().filter(|count| *count <= 1_000_000)?;
    Some(SignedDuration::from_secs(i64::from(count) * seconds))
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
