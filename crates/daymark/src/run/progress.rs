//! Shows what a run is doing: bars on a terminal, plain lines elsewhere.
//!
//! In: [`RunEvent`]s. Out: standard error. Deliberately absent: results, which are the report's.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use daymark_ingest::FetchEvent;
use daymark_plan::SourceId;
use daymark_warehouse::publish;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use jiff::civil::Date;

use crate::{log, output};

/// What a run is doing.
#[derive(Debug)]
pub(crate) enum RunEvent<'e> {
    /// Something happened to a fetch.
    Fetch {
        /// Its source.
        source_id: &'e SourceId,
        /// What happened.
        event: FetchEvent,
    },
    /// All is there of a day of many, or will not come.
    Day {
        /// Its source.
        source_id: &'e SourceId,
        /// The day.
        data_date: Date,
        /// Why something of it did not come.
        failed: Option<&'e str>,
    },
    /// The publish went on.
    Publish(&'e publish::Progress),
}

/// Shows events.
#[derive(Debug)]
pub(crate) enum Progress {
    /// A line per event.
    Lines,
    /// A spinner per source and one for the publish.
    Bars { all: MultiProgress, bars: Mutex<BTreeMap<String, ProgressBar>> },
}

impl Progress {
    /// Bars on a terminal, lines elsewhere.
    pub(crate) fn new() -> Self {
        if std::io::stderr().is_terminal() && !log::is_json() {
            Self::Bars { all: MultiProgress::new(), bars: Mutex::default() }
        } else {
            Self::Lines
        }
    }

    /// Shows an event.
    pub(crate) fn show(&self, event: &RunEvent<'_>) {
        if log::is_json() {
            return tell(event);
        }
        let (name, words) = words(event);
        match self {
            Self::Lines if is_of_bytes(event) => {}
            Self::Lines => output::to_stderr(&format!("{name}: {words}\n")),
            Self::Bars { all, bars } => {
                let mut bars = bars.lock().unwrap_or_else(PoisonError::into_inner);
                let bar = bars.entry(name.clone()).or_insert_with(|| {
                    let bar = all.add(ProgressBar::new_spinner());
                    let style =
                        ProgressStyle::with_template("{spinner} {prefix:10} {msg} ({elapsed})");
                    if let Ok(style) = style {
                        bar.set_style(style);
                    }
                    bar.set_prefix(name);
                    bar.enable_steady_tick(Duration::from_millis(100));
                    bar
                });
                bar.set_message(words);
            }
        }
    }

    /// Takes the bars away.
    pub(crate) fn finish(&self) {
        if let Self::Bars { bars, .. } = self {
            for bar in bars.lock().unwrap_or_else(PoisonError::into_inner).values() {
                bar.finish_and_clear();
            }
        }
    }
}

/// Tells an event to the log. The spans around it say which run and source it is of.
fn tell(event: &RunEvent<'_>) {
    if is_of_bytes(event) {
        return;
    }
    match event {
        RunEvent::Fetch { source_id, event: FetchEvent::Of { entity, event } } => {
            let words = fetch_words(event);
            if matches!(event.plain(), FetchEvent::Waiting { .. }) {
                tracing::warn!(target: log::RUNS, source = %source_id, %entity, "{words}");
            } else {
                tracing::info!(target: log::RUNS, source = %source_id, %entity, "{words}");
            }
        }
        RunEvent::Fetch { source_id, event } => {
            let words = fetch_words(event);
            if matches!(event, FetchEvent::Waiting { .. }) {
                tracing::warn!(target: log::RUNS, source = %source_id, "{words}");
            } else {
                tracing::info!(target: log::RUNS, source = %source_id, "{words}");
            }
        }
        RunEvent::Day { source_id, data_date, failed: None } => {
            tracing::info!(target: log::RUNS, source = %source_id, %data_date, "fetched");
        }
        RunEvent::Day { source_id, data_date, failed: Some(reason) } => {
            tracing::warn!(target: log::RUNS, source = %source_id, %data_date, "not fetched: {reason}");
        }
        RunEvent::Publish(progress @ publish::Progress::Staging { source_id, data_date, .. }) => {
            let words = publish_words(progress);
            tracing::info!(target: log::RUNS, source = %source_id, %data_date, "{words}");
        }
        RunEvent::Publish(progress) => {
            tracing::info!(target: log::RUNS, "{}", publish_words(progress));
        }
    }
}

/// Whether it only says how far a body has come.
pub(super) fn is_of_bytes(event: &RunEvent<'_>) -> bool {
    let RunEvent::Fetch { event, .. } = event else { return false };
    matches!(event.plain(), FetchEvent::Received { .. })
}

/// What an event is about, and what it says.
pub(super) fn words(event: &RunEvent<'_>) -> (String, String) {
    match event {
        RunEvent::Fetch { source_id, event } => (source_id.to_string(), fetch_words(event)),
        RunEvent::Day { source_id, data_date, failed: None } => {
            (source_id.to_string(), format!("{data_date}: fetched"))
        }
        RunEvent::Day { source_id, data_date, failed: Some(reason) } => {
            (source_id.to_string(), format!("{data_date}: not fetched: {reason}"))
        }
        RunEvent::Publish(progress) => ("publish".to_owned(), publish_words(progress)),
    }
}

fn fetch_words(event: &FetchEvent) -> String {
    match event {
        FetchEvent::Attempt { number: 1, .. } => "fetching".to_owned(),
        FetchEvent::Attempt { number, of } => format!("fetching, attempt {number} of {of}"),
        FetchEvent::Received { bytes, announced: Some(all) } => {
            format!("received {bytes} of {all} bytes")
        }
        FetchEvent::Received { bytes, announced: None } => format!("received {bytes} bytes"),
        FetchEvent::Waiting { wait, why } => {
            format!("{why}; asking again in {:.1} s", wait.as_secs_f64())
        }
        FetchEvent::Of { entity, event } => format!("{entity}: {}", fetch_words(event)),
        FetchEvent::Page { number } => format!("page {number}"),
        FetchEvent::Entity { entity, done, of } => format!("{entity} done, {done} of {of}"),
    }
}

fn publish_words(progress: &publish::Progress) -> String {
    match progress {
        publish::Progress::Waiting => "waiting for another publish".to_owned(),
        publish::Progress::Staging { source_id, data_date, entity, table } => {
            format!(
                "staging {source_id} {data_date}{} for `{table}`",
                daymark_plan::behind_day(entity)
            )
        }
        publish::Progress::Writing { table } => format!("writing `{table}`"),
        publish::Progress::Committing => "committing".to_owned(),
    }
}
