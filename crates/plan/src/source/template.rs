//! Templates of a request: text with `{{ data_date }}`, `${VARIABLE}` and `secret://name` in it.
//!
//! In: a text of the folder. Out: a [`Template`], checked when the folder is read, rendered when a
//! request is made. The whole language:
//!
//! ```text
//! {{ VALUE [+|- SPAN] [| format("STRFTIME")] }}
//! VALUE  data_date | window.start | window.end | cursor | entity.NAME
//! SPAN   7d, 1w, 1mo, 1y; of instants also 12h, 30min, 10s
//! STRFTIME          of a date that asks for a time or a zone: its midnight in the pipeline's zone
//! ${NAME}           the environment variable NAME, a secret
//! secret://NAME     as the whole text: AWS Secrets Manager or SSM, a secret
//! ```
//!
//! Deliberately absent: conditions, loops and the current time: a request is a function of its data
//! date, cursor and entity, so that asking again asks the same. Looking a secret up is ingest's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use crate::settings::Secret;

/// Where a secret comes from; its name, which is no secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretRef {
    /// `${NAME}`: an environment variable.
    Variable(String),
    /// `secret://NAME`: AWS Secrets Manager, or SSM where the name starts with `/`.
    Stored(String),
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "${{{name}}}"),
            Self::Stored(name) => write!(f, "secret://{name}"),
        }
    }
}

/// Secrets that were looked up.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    values: BTreeMap<SecretRef, Secret>,
}

impl Secrets {
    /// Adds one.
    pub fn insert(&mut self, name: SecretRef, value: Secret) {
        self.values.insert(name, value);
    }

    /// One of them.
    pub fn get(&self, name: &SecretRef) -> Option<&str> {
        self.values.get(name).map(Secret::reveal)
    }

    /// All values, to be hidden wherever text leaves the program.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.values.values().map(Secret::reveal)
    }
}

/// A point in time that a template can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moment {
    /// A civil day.
    Date(Date),
    /// An instant; written in UTC.
    Instant(Timestamp),
    /// What cannot be reckoned with, such as a cursor that is a number or a word.
    Text(String),
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Date(date) => date.fmt(f),
            Self::Instant(instant) => instant.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// What a request's templates can name.
#[derive(Debug, Clone)]
pub struct Values<'v> {
    /// The day the fetch is for.
    pub data_date: Date,
    /// The first moment asked for.
    pub window_start: Moment,
    /// The last day asked for, or the instant it ends at.
    pub window_end: Moment,
    /// The cursor of an incremental source.
    pub cursor: Option<Moment>,
    /// The entity's fields, `id` among them.
    pub entity: Vec<(&'v str, &'v str)>,
    /// The pipeline's zone: where a date has its midnight.
    pub zone: TimeZone,
    /// The secrets of the source.
    pub secrets: &'v Secrets,
}

/// A text to be rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Secret(SecretRef),
    Value(Expression),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Expression {
    name: Name,
    shift: Option<Shift>,
    format: Option<String>,
}

/// A value's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// `data_date`
    DataDate,
    /// `window.start`
    WindowStart,
    /// `window.end`
    WindowEnd,
    /// `cursor`
    Cursor,
    /// `entity.NAME`
    Entity(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shift {
    count: i32,
    unit: &'static str,
}

/// The units of a span, longest word first.
const UNITS: [&str; 7] = ["min", "mo", "d", "w", "y", "h", "s"];

impl Template {
    /// Parses a text; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix("secret://") {
            let fits = |c: char| c.is_ascii_alphanumeric() || "/_+=.@-#".contains(c);
            if name.is_empty() || !name.chars().all(fits) {
                return Err("`secret://` takes a name of letters, digits and /_+=.@-#".to_owned());
            }
            let part = Part::Secret(SecretRef::Stored(name.to_owned()));
            return Ok(Self { text: text.to_owned(), parts: vec![part] });
        }
        if text.contains("secret://") {
            return Err(
                "`secret://NAME` stands alone: it is the whole text or none of it".to_owned()
            );
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find("{{").into_iter().chain(rest.find("${")).min() {
            if at > 0 {
                parts.push(Part::Text(plain(&rest[..at])?));
            }
            let (close, inner_at) = if rest[at..].starts_with("{{") { ("}}", 2) } else { ("}", 2) };
            let inner = &rest[at + inner_at..];
            let end = inner.find(close).ok_or_else(|| format!("a `{close}` is missing"))?;
            let inside = inner[..end].trim();
            parts.push(if close == "}}" {
                Part::Value(Expression::parse(inside)?)
            } else {
                Part::Secret(variable(inside)?)
            });
            rest = &inner[end + close.len()..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(plain(rest)?));
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    /// A text without anything to be replaced.
    pub fn literal(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { parts: vec![Part::Text(text.clone())], text }
    }

    /// The text as it stands in the folder: the names of secrets, never their values.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The secrets it needs.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretRef> {
        self.parts.iter().filter_map(|part| match part {
            Part::Secret(name) => Some(name),
            _ => None,
        })
    }

    /// The values it names.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.parts.iter().filter_map(|part| match part {
            Part::Value(expression) => Some(&expression.name),
            _ => None,
        })
    }

    /// The values it reckons with or formats, which must then be dates or instants.
    pub(super) fn reckoned(&self) -> impl Iterator<Item = &Name> {
        self.parts.iter().filter_map(|part| match part {
            Part::Value(expression)
                if expression.shift.is_some() || expression.format.is_some() =>
            {
                Some(&expression.name)
            }
            _ => None,
        })
    }

    /// The text with every value in its place.
    pub fn render(&self, values: &Values<'_>) -> Result<String, String> {
        self.render_with(values, |value| value)
    }

    /// The same with what `{{ }}` gives passed through `encode`, as an address needs it. What comes
    /// out of `${ }` is only behind a `?`, where it is a value; before it may be a whole address, or
    /// a part of one with its slashes.
    pub fn render_with(
        &self,
        values: &Values<'_>,
        encode: impl Fn(String) -> String,
    ) -> Result<String, String> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Secret(name) => match values.secrets.get(name) {
                    Some(secret) if text.contains('?') => {
                        text.push_str(&encode(secret.to_owned()));
                    }
                    Some(secret) => text.push_str(secret),
                    None => return Err(format!("`{name}` was not looked up")),
                },
                Part::Value(expression) => text.push_str(&encode(expression.render(values)?)),
            }
        }
        Ok(text)
    }

    /// The text with its secrets in their place, of one that names nothing else.
    pub fn revealed(&self, secrets: &Secrets) -> Result<String, String> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Secret(name) => {
                    let secret = secrets.get(name);
                    text.push_str(secret.ok_or_else(|| format!("`{name}` was not looked up"))?);
                }
                Part::Value(_) => return Err(format!("`{}` names a value", self.text)),
            }
        }
        Ok(text)
    }

    /// The values it moves by a span of the clock, which must then be instants.
    pub(super) fn moved_by_the_clock(&self) -> impl Iterator<Item = &Name> {
        self.parts.iter().filter_map(|part| match part {
            Part::Value(expression) if expression.shift.is_some_and(Shift::of_the_clock) => {
                Some(&expression.name)
            }
            _ => None,
        })
    }

    /// The text with every value replaced by `x`: what can be checked before anything is known.
    pub(super) fn sample(&self) -> String {
        let parts = self.parts.iter().map(|part| match part {
            Part::Text(text) => text.as_str(),
            _ => "x",
        });
        parts.collect()
    }

    /// Whether it starts with a secret, such as the whole address of a server.
    pub(super) fn starts_with_secret(&self) -> bool {
        matches!(self.parts.first(), Some(Part::Secret(_)))
    }
}

/// What stands between values, as it is. A value's name in single braces would be sent to the API as its name.
fn plain(text: &str) -> Result<String, String> {
    for (at, _) in text.match_indices('{') {
        let Some((name, _)) = text[at + 1..].split_once('}') else { continue };
        // `cursor` is a word that a query of GraphQL may have in braces.
        if !matches!(Name::parse(name), Err(_) | Ok(Name::Cursor)) {
            return Err(format!("`{{{name}}}` is not replaced: write `{{{{ {name} }}}}`"));
        }
    }
    Ok(text.to_owned())
}

fn variable(name: &str) -> Result<SecretRef, String> {
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let goes_on = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if starts && goes_on {
        return Ok(SecretRef::Variable(name.to_owned()));
    }
    Err(format!("`${{{name}}}` is not the name of an environment variable"))
}

impl Expression {
    fn parse(text: &str) -> Result<Self, String> {
        let (value, format) = match text.split_once('|') {
            Some((value, filter)) => (value.trim(), Some(parse_format(filter.trim())?)),
            None => (text, None),
        };
        // Names hold no `+` or `-`, so the first of them starts the span.
        let (name, shift) = match value.find(['+', '-']) {
            Some(at) => {
                let sign = if value[at..].starts_with('-') { -1 } else { 1 };
                (value[..at].trim(), Some(Shift::parse(sign, value[at + 1..].trim())?))
            }
            None => (value, None),
        };
        Ok(Self { name: Name::parse(name)?, shift, format })
    }

    fn render(&self, values: &Values<'_>) -> Result<String, String> {
        let moment = match &self.name {
            Name::DataDate => Moment::Date(values.data_date),
            Name::WindowStart => values.window_start.clone(),
            Name::WindowEnd => values.window_end.clone(),
            Name::Cursor => values.cursor.clone().ok_or("the source has no cursor")?,
            Name::Entity(name) => {
                let field = values.entity.iter().find(|(field, _)| field == name);
                let value = field.ok_or_else(|| format!("the entity has no `{name}`"))?.1;
                Moment::Text(value.to_owned())
            }
        };
        let moment = match self.shift {
            Some(shift) => moment.shifted(shift)?,
            None => moment,
        };
        match &self.format {
            None => Ok(moment.to_string()),
            Some(format) => moment.formatted(format, &values.zone),
        }
    }
}

impl Name {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "data_date" => Ok(Self::DataDate),
            "window.start" => Ok(Self::WindowStart),
            "window.end" => Ok(Self::WindowEnd),
            "cursor" => Ok(Self::Cursor),
            _ => match text.strip_prefix("entity.") {
                Some(field) if !field.is_empty() => Ok(Self::Entity(field.to_owned())),
                _ => Err(format!(
                    "`{text}` is not known; accepted: data_date, window.start, window.end, cursor, \
                     entity.NAME"
                )),
            },
        }
    }
}

impl Shift {
    fn parse(sign: i32, text: &str) -> Result<Self, String> {
        let bad =
            || format!("`{text}` is not a span; accepted: such as 7d, 1w, 1mo, 1y, 12h, 30min");
        let unit = UNITS.into_iter().find(|unit| text.ends_with(unit)).ok_or_else(bad)?;
        let count: i32 = text[..text.len() - unit.len()].trim().parse().map_err(|_| bad())?;
        let shift = Self { count: sign * count, unit };
        if count < 0 || shift.to_span().is_err() {
            return Err(bad());
        }
        Ok(shift)
    }

    /// A span such as `7d`, as `lag` has it.
    pub(super) fn span(text: &str) -> Result<Span, String> {
        Self::parse(1, text)?.to_span()
    }

    fn to_span(self) -> Result<Span, String> {
        let (span, count) = (Span::new(), self.count);
        let span = match self.unit {
            "d" => span.try_days(count),
            "w" => span.try_weeks(count),
            "mo" => span.try_months(count),
            "y" => span.try_years(count),
            "h" => span.try_hours(count),
            "min" => span.try_minutes(count),
            _ => span.try_seconds(count),
        };
        span.map_err(|error| error.to_string())
    }

    fn of_the_clock(self) -> bool {
        matches!(self.unit, "h" | "min" | "s")
    }
}

impl Moment {
    fn shifted(self, shift: Shift) -> Result<Self, String> {
        if shift.of_the_clock() && matches!(self, Self::Date(_)) {
            return Err(format!("a date cannot be moved by `{}`", shift.unit));
        }
        self.plus(shift.to_span()?)
    }

    /// The moment a span later; of an instant in UTC, where a day has 24 hours.
    pub fn plus(self, span: Span) -> Result<Self, String> {
        let too_far = |_| format!("`{span}` leads beyond the calendar");
        match self {
            Self::Date(date) => date.checked_add(span).map(Self::Date).map_err(too_far),
            Self::Instant(instant) => {
                let moved = instant.to_zoned(TimeZone::UTC).checked_add(span).map_err(too_far)?;
                Ok(Self::Instant(moved.timestamp()))
            }
            Self::Text(text) => Err(format!("`{text}` is neither a date nor an instant")),
        }
    }

    /// An instant is written in UTC, a date as its midnight in the zone: `%s` of a day is when it begins.
    fn formatted(&self, format: &str, zone: &TimeZone) -> Result<String, String> {
        let bad = |error: jiff::Error| format!("the format `{format}`: {error}");
        let zoned = match self {
            Self::Date(date) => date.to_zoned(zone.clone()).map_err(bad)?,
            Self::Instant(instant) => instant.to_zoned(TimeZone::UTC),
            Self::Text(text) => return Err(format!("`{text}` is neither a date nor an instant")),
        };
        jiff::fmt::strtime::format(format, &zoned).map_err(bad)
    }
}

fn parse_format(filter: &str) -> Result<String, String> {
    let bad = || format!("`{filter}` is not a filter; accepted: format(\"%Y%m%d\")");
    let inside = filter.strip_prefix("format").map(str::trim).ok_or_else(bad)?;
    let inside =
        inside.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).ok_or_else(bad)?;
    let inside = inside.trim();
    let quoted = |quote| inside.strip_prefix(quote)?.strip_suffix(quote);
    let format = quoted('"').or_else(|| quoted('\'')).ok_or_else(bad)?;
    // Tried on an instant, which has everything a format may ask for.
    Moment::Instant(Timestamp::UNIX_EPOCH).formatted(format, &TimeZone::UTC)?;
    Ok(format.to_owned())
}

/// Every secret a set of templates needs, once.
pub(super) fn secrets_of<'t>(templates: impl Iterator<Item = &'t Template>) -> BTreeSet<SecretRef> {
    templates.flat_map(|template| template.secrets().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str) -> Result<String, String> {
        let mut secrets = Secrets::default();
        secrets.insert(SecretRef::Variable("KEY".to_owned()), Secret::new("s3cret".to_owned()));
        secrets.insert(SecretRef::Stored("prod/key".to_owned()), Secret::new("stored".to_owned()));
        let values = Values {
            data_date: "2026-03-01".parse().unwrap(),
            window_start: Moment::Instant("2026-02-27T23:30:00Z".parse().unwrap()),
            window_end: Moment::Date("2026-03-01".parse().unwrap()),
            cursor: Some(Moment::Text("42".to_owned())),
            entity: vec![("id", "dc"), ("name", "Washington & DC")],
            zone: TimeZone::get("America/New_York").unwrap(),
            secrets: &secrets,
        };
        Template::parse(text)?.render(&values)
    }

    #[test]
    fn values_spans_and_formats_are_rendered() {
        let all = [
            "{{ data_date }}",
            "{{data_date - 7d}}",
            "{{ data_date - 1mo }}",
            "{{ data_date + 1y | format(\"%Y%m%d\") }}",
            "{{ window.start }} to {{ window.end }}",
            "{{ window.start + 45min | format('%s') }}",
            "{{ data_date | format('%s %H:%M %Z') }}",
            "{{ cursor }}/{{ entity.id }}: {{ entity.name }}",
            "Bearer ${KEY}",
            "secret://prod/key",
            "no braces {here} $5",
            "{ edges {cursor} { data_date } }",
            "",
        ]
        .map(|text| rendered(text).unwrap());
        insta::assert_snapshot!(all.join("\n"), @"
        2026-03-01
        2026-02-22
        2026-02-01
        20270301
        2026-02-27T23:30:00Z to 2026-03-01
        1772237700
        1772341200 00:00 EST
        42/dc: Washington & DC
        Bearer s3cret
        stored
        no braces {here} $5
        { edges {cursor} { data_date } }
        ");
    }

    #[test]
    fn what_is_not_the_language_is_said() {
        let all = [
            "{{ today }}",
            "{{ data_date - 7 }}",
            "{{ data_date - 7fortnights }}",
            "{{ data_date | upper }}",
            "{{ data_date | format(\"%!\") }}",
            "{{ data_date ",
            "${1X}",
            "${KEY",
            "secret://",
            "Bearer secret://name",
            "{{ entity. }}",
            "{{ data_date - 5min }}",
            "{{ cursor - 1d }}",
            "{{ entity.colour }}",
            "${OTHER}",
            "{{ data_date + 9999y }}",
            "day={data_date}&to={{ window.end }}",
            "{{ window.end }}/{window.start}",
        ]
        .map(|text| format!("{text}: {}", rendered(text).unwrap_err()));
        insta::assert_snapshot!(all.join("\n"), @r#"
        {{ today }}: `today` is not known; accepted: data_date, window.start, window.end, cursor, entity.NAME
        {{ data_date - 7 }}: `7` is not a span; accepted: such as 7d, 1w, 1mo, 1y, 12h, 30min
        {{ data_date - 7fortnights }}: `7fortnights` is not a span; accepted: such as 7d, 1w, 1mo, 1y, 12h, 30min
        {{ data_date | upper }}: `upper` is not a filter; accepted: format("%Y%m%d")
        {{ data_date | format("%!") }}: the format `%!`: strftime formatting failed: found unrecognized specifier directive `!`
        {{ data_date : a `}}` is missing
        ${1X}: `${1X}` is not the name of an environment variable
        ${KEY: a `}` is missing
        secret://: `secret://` takes a name of letters, digits and /_+=.@-#
        Bearer secret://name: `secret://NAME` stands alone: it is the whole text or none of it
        {{ entity. }}: `entity.` is not known; accepted: data_date, window.start, window.end, cursor, entity.NAME
        {{ data_date - 5min }}: a date cannot be moved by `min`
        {{ cursor - 1d }}: `42` is neither a date nor an instant
        {{ entity.colour }}: the entity has no `colour`
        ${OTHER}: `${OTHER}` was not looked up
        {{ data_date + 9999y }}: `P9999Y` leads beyond the calendar
        day={data_date}&to={{ window.end }}: `{data_date}` is not replaced: write `{{ data_date }}`
        {{ window.end }}/{window.start}: `{window.start}` is not replaced: write `{{ window.start }}`
        "#);
    }

    #[test]
    fn only_what_braces_give_is_encoded() {
        let template = Template::parse("${KEY}/v1/{{ entity.name }}?a=b").unwrap();
        let mut secrets = Secrets::default();
        let base = Secret::new("http://a.example".to_owned());
        secrets.insert(SecretRef::Variable("KEY".to_owned()), base);
        let date = "2026-03-01".parse().unwrap();
        let values = Values {
            data_date: date,
            window_start: Moment::Date(date),
            window_end: Moment::Date(date),
            cursor: None,
            entity: vec![("name", "a b")],
            zone: TimeZone::UTC,
            secrets: &secrets,
        };
        let encode = |value: String| value.replace(' ', "%20").replace('/', "%2F");
        let text = template.render_with(&values, encode).unwrap();
        assert_eq!(text, "http://a.example/v1/a%20b?a=b");
        // Behind the `?` a secret is a value, whatever stands in it.
        let query = Template::parse("http://b.example/{{ entity.name }}?key=${KEY}").unwrap();
        let text = query.render_with(&values, encode).unwrap();
        assert_eq!(text, "http://b.example/a%20b?key=http:%2F%2Fa.example");
    }
}
