//! The program's log on standard error: text for people, or one JSON object a line for machines.
//!
//! In: events and the spans they happen in. Out: lines. A span's fields (`run`, `source`, `data_date`, `entity`)
//! stand in every line of what happens in it, so that the log can be asked for one run or one source. In JSON
//! standard error holds nothing else: what is else shown there as progress or an error is a line too.
//! Deliberately absent: the log that a run keeps in the ledger (`run/journal.rs`), and secrets; who says
//! something leaves them out.

use std::io::IsTerminal;
use std::sync::OnceLock;

use daymark_plan::Clock;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::cli::LogFormat;
use crate::output;

/// The target of what runs tell: people see it as progress and in reports, machines here.
pub(crate) const RUNS: &str = "daymark::runs";

/// Whether lines are JSON; text until the log is started.
static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// Starts the log: warnings only, unless asked for more, and in JSON what runs tell.
pub(crate) fn start(verbose: u8, format: LogFormat) {
    FORMAT.get_or_init(|| format);
    let default = match verbose {
        // The wait for the embedded database is for the person who waits; retries are told by the
        // run's own progress; and the embedded server reports the end of each session as a trap.
        // A channel of type `log` tells of what is well again, too.
        0 => {
            "warn,daymark_warehouse::embedded=info,daymark::alerts=info,daymark_ingest=error,\
             oliphaunt_wasix=error"
        }
        1 => "info,oliphaunt_wasix=error",
        _ => "debug,hyper=info,h2=info",
    };
    let runs = if is_json() { "info" } else { "off" };
    let default = format!("{default},{RUNS}={runs}");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    if is_json() {
        tracing_subscriber::registry().with(filter).with(JsonLines).init();
    } else {
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            .init();
    }
}

/// Whether standard error is lines of JSON.
pub(crate) fn is_json() -> bool {
    matches!(FORMAT.get(), Some(LogFormat::Json))
}

/// A line about the program itself, whatever the filter is.
pub(crate) fn line(level: Level, message: &str) {
    let mut fields = Map::new();
    fields.insert("message".to_owned(), message.into());
    write(level, "daymark", fields, Map::new());
}

/// Writes what spans and events say as JSON.
struct JsonLines;

/// The fields of a span and of those around it.
struct SpanFields(Map<String, Value>);

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for JsonLines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        if let Some(parent) = span.parent()
            && let Some(SpanFields(known)) = parent.extensions().get()
        {
            fields.0.clone_from(known);
        }
        attributes.record(&mut fields);
        span.extensions_mut().insert(SpanFields(fields.0));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut extensions = span.extensions_mut();
        if let Some(SpanFields(known)) = extensions.get_mut() {
            let mut fields = Fields(std::mem::take(known));
            values.record(&mut fields);
            *known = fields.0;
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let around = context.event_span(event);
        let around = around
            .and_then(|span| span.extensions().get().map(|SpanFields(known)| known.clone()))
            .unwrap_or_default();
        write(*event.metadata().level(), event.metadata().target(), fields.0, around);
    }
}

/// One line: time, level, message, target, the fields of the spans and those of the event, which say it better.
fn write(level: Level, target: &str, mut fields: Map<String, Value>, around: Map<String, Value>) {
    let mut line = Map::new();
    let now = Clock::System.now();
    line.insert("timestamp".to_owned(), format!("{now:.6}").into());
    line.insert("level".to_owned(), level.as_str().into());
    line.insert("message".to_owned(), fields.remove("message").unwrap_or_default());
    line.insert("target".to_owned(), target.into());
    for (name, value) in around.into_iter().chain(fields) {
        // What a library calls its fields does not hide ours.
        if !["timestamp", "level", "message", "target"].contains(&name.as_str()) {
            line.insert(name, value);
        }
    }
    output::line_to_stderr(&Value::Object(line).to_string());
}

#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
}
