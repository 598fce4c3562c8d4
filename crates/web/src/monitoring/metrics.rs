//! `/metrics`: which metrics there are, and what they say.
//!
//! In: the ledger's figures and their age. Out: the text. Counts come from the ledger, so that they are the same
//! after a restart and in every process; those of this process alone begin with `daymark_process_`. What
//! there will surely be is there from the first scrape on with a 0, so that its first growth is seen.
//! Every metric stands in docs/monitoring.md; a test compares. Deliberately absent: labels that have no
//! bound, such as entities.

use std::fmt::Display;
use std::time::Duration;

use daymark_plan::Plan;
use daymark_warehouse::figures::{Counts, DAYS, Figures, LeaderFigures};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Process;
use super::exposition::{Exposition, Kind};
use super::ledger::Seen;

const RUN_KINDS: [&str; 4] = ["manual", "scheduled", "catch_up", "retry"];
const RUN_OUTCOMES: [&str; 3] = ["succeeded", "failed", "interrupted"];
const STEP_OUTCOMES: [(&str, &[&str]); 2] = [
    ("ingest", &["fetched", "refused", "failed", "skipped"]),
    ("publish", &["published", "quarantined", "failed"]),
];
const DAY_STATES: [&str; 9] = [
    "expected",
    "fetched",
    "published",
    "failed",
    "late",
    "missing",
    "quarantined",
    "holiday",
    "skipped",
];
const FIRE_STATES: [&str; 4] = ["done", "no_op", "skipped", "failed"];
const ROW_KINDS: [&str; 4] = ["inserted", "updated", "unchanged", "deleted"];

/// All metrics.
pub(super) fn text(plan: &Plan, process: &Process, is_embedded: bool, seen: &Seen) -> String {
    let mut to = Exposition::default();
    of_process(&mut to, plan, process, is_embedded, seen);
    let nothing = Figures::default();
    let figures = seen.figures.as_deref();
    let known = figures.is_some();
    let figures = figures.unwrap_or(&nothing);
    let sources: Vec<&str> = plan.sources.iter().map(|source| source.id.as_str()).collect();
    // Before the first read nothing is known, not even that something is 0.
    let shown = Shown { sources: if known { sources } else { Vec::new() }, known };
    runs(&mut to, &shown, figures);
    sources_and_days(&mut to, &shown, figures);
    requests(&mut to, &shown, figures);
    publishes(&mut to, &shown, plan, figures);
    scheduler(&mut to, &shown, process, figures, seen);
    alerts(&mut to, figures);
    to.text()
}

struct Shown<'p> {
    sources: Vec<&'p str>,
    known: bool,
}

impl Shown<'_> {
    fn known<T>(&self, value: T) -> Option<T> {
        self.known.then_some(value)
    }

    /// A counter by source and words, at 0 where nothing was counted yet.
    fn by_source<'w>(&self, words: &'w [&'w str]) -> impl Iterator<Item = [String; 2]> {
        let all = self.sources.iter().flat_map(move |source| {
            words.iter().map(move |word| [(*source).to_owned(), (*word).to_owned()])
        });
        all.collect::<Vec<_>>().into_iter()
    }
}

fn of_process(to: &mut Exposition, plan: &Plan, process: &Process, is_embedded: bool, seen: &Seen) {
    to.family("daymark_build_info", Kind::Gauge, "The program; always 1.")
        .sample(&[("version", process.version)], 1);
    let database = if is_embedded { "embedded" } else { "server" };
    to.family("daymark_pipeline_info", Kind::Gauge, "The pipeline this process is for; always 1.")
        .sample(&[("pipeline", plan.name.as_str()), ("database", database)], 1);
    to.gauge(
        "process_start_time_seconds",
        "When the process was started.",
        Some(unix(process.started_at)),
    );
    to.gauge(
        "daymark_ledger_up",
        "Whether what is said here of the ledger is of now: 1, or 0 while the database is busy or away.",
        Some(u8::from(seen.is_of_now())),
    );
    to.gauge(
        "daymark_ledger_read_age_seconds",
        "How old what is said here of the ledger is.",
        seen.age.map(|age| age.as_secs_f64()),
    );
    let mut reads = to.family(
        "daymark_process_ledger_reads_total",
        Kind::Counter,
        "Reads of the ledger for these metrics, of this process since it was started.",
    );
    reads.sample(&[("outcome", "succeeded")], seen.reads.0);
    reads.sample(&[("outcome", "failed")], seen.reads.1);
}

fn runs(to: &mut Exposition, shown: &Shown<'_>, figures: &Figures) {
    let totals = &figures.totals;
    let zeros = RUN_KINDS
        .iter()
        .flat_map(|kind| RUN_OUTCOMES.map(|outcome| [(*kind).to_owned(), outcome.to_owned()]))
        .filter(|_| shown.known);
    counter(
        to,
        "daymark_runs_total",
        "Runs that ended, by why they were started and what came of them.",
        ["kind", "outcome"],
        zeros,
        &totals.runs,
    );
    to.gauge("daymark_runs_open", "Runs that have not ended.", shown.known(figures.runs_open));
    let last = figures.last_run.as_ref();
    to.gauge(
        "daymark_last_run_timestamp_seconds",
        "When the newest run ended.",
        last.map(|run| unix(run.finished_at)),
    );
    to.gauge(
        "daymark_last_run_duration_seconds",
        "How long the newest run took.",
        last.map(|run| run.finished_at.duration_since(run.started_at).as_secs_f64()),
    );
    to.gauge(
        "daymark_last_run_succeeded",
        "Whether the newest run succeeded: 1 or 0.",
        last.map(|run| u8::from(run.succeeded)),
    );
    let zeros = shown.sources.iter().flat_map(|source| {
        STEP_OUTCOMES.iter().flat_map(move |(stage, outcomes)| {
            outcomes.iter().map(move |outcome| [*source, *stage, *outcome].map(str::to_owned))
        })
    });
    counter(
        to,
        "daymark_steps_total",
        "Steps of runs that ended: a stage for one source and entity.",
        ["source", "stage", "outcome"],
        zeros,
        &totals.steps,
    );
    counter(
        to,
        "daymark_step_errors_total",
        "Steps that went wrong, by the kind of the error; `storage` is the raw store.",
        ["source", "stage", "error"],
        // The raw store's are asked for by name, in rules of alerts.
        shown.sources.iter().map(|source| [*source, "ingest", "storage"].map(str::to_owned)),
        &totals.failures,
    );
}

fn sources_and_days(to: &mut Exposition, shown: &Shown<'_>, figures: &Figures) {
    let mut published = to.family(
        "daymark_source_published_timestamp_seconds",
        Kind::Gauge,
        "When a day of the source was last published.",
    );
    for (source, known) in &figures.sources {
        published.sample(&[("source", source)], unix(known.published_at));
    }
    let mut newest = to.family(
        "daymark_source_newest_day_timestamp_seconds",
        Kind::Gauge,
        "The newest published data date of the source, as its midnight UTC.",
    );
    for (source, known) in &figures.sources {
        if let Ok(midnight) = known.newest.to_zoned(TimeZone::UTC) {
            newest.sample(&[("source", source)], unix(midnight.timestamp()));
        }
    }
    let help = format!("Days of the last {DAYS} of the source, by their state now.");
    let mut days = to.family("daymark_day_states", Kind::Gauge, &help);
    for key in shown.by_source(&DAY_STATES) {
        let count = figures.days.get(&key).copied().unwrap_or(0);
        days.sample(&[("source", &key[0]), ("state", &key[1])], count);
    }
    let mut given_up = to.family(
        "daymark_retries_given_up",
        Kind::Gauge,
        "Days of the source that failed, are not tried any more, and wait for a person.",
    );
    let mut counts: Counts<1> =
        shown.sources.iter().map(|source| ([(*source).to_owned()], 0)).collect();
    counts.extend(figures.days_given_up.clone());
    for ([source], count) in counts {
        given_up.sample(&[("source", &source)], count);
    }
}

fn requests(to: &mut Exposition, shown: &Shown<'_>, figures: &Figures) {
    let totals = &figures.totals;
    let mut outcomes = Counts::<2>::new();
    let mut errors = Counts::<2>::new();
    for ([source, outcome, error], count) in &totals.requests {
        *outcomes.entry([source.clone(), outcome.clone()]).or_default() += count;
        if !error.is_empty() {
            *errors.entry([source.clone(), error.clone()]).or_default() += count;
        }
    }
    counter(
        to,
        "daymark_requests_total",
        "Requests to the source's API, each attempt for itself.",
        ["source", "outcome"],
        shown.by_source(&["answered", "failed"]),
        &outcomes,
    );
    counter(
        to,
        "daymark_request_errors_total",
        "Requests to the source's API that failed, by the kind of the error.",
        ["source", "error"],
        [].into_iter(),
        &errors,
    );
    let mut time = to.family(
        "daymark_request_duration_seconds",
        Kind::Summary,
        "How long requests to the source's API took.",
    );
    for source in &shown.sources {
        let (count, milliseconds) = totals.request_time.get(*source).copied().unwrap_or_default();
        let labels = [("source", *source)];
        time.part("_sum", &labels, Duration::from_millis(milliseconds).as_secs_f64());
        time.part("_count", &labels, count);
    }
    counter(
        to,
        "daymark_received_bytes_total",
        "Bytes that the source's API answered, after content decoding.",
        ["source"],
        shown.sources.iter().map(|source| [(*source).to_owned()]),
        &totals.received,
    );
}

fn publishes(to: &mut Exposition, shown: &Shown<'_>, plan: &Plan, figures: &Figures) {
    let totals = &figures.totals;
    let mut made = to.family("daymark_publishes_total", Kind::Counter, "Publishes.");
    if shown.known {
        made.sample(&[], totals.publishes);
    }
    let tables = plan
        .models
        .iter()
        .filter(|_| shown.known)
        .flat_map(|model| ROW_KINDS.map(|kind| [model.table.clone(), kind.to_owned()]));
    counter(
        to,
        "daymark_rows_total",
        "Rows of curated tables that publishes inserted, updated, left unchanged and deleted.",
        ["table", "kind"],
        tables,
        &totals.rows,
    );
    counter(
        to,
        "daymark_rejected_rows_total",
        "Rows that were set aside, by extraction or by a check.",
        ["source", "by"],
        shown.by_source(&["extraction", "check"]),
        &totals.rejected,
    );
    let last = figures.last_publish.as_ref();
    to.gauge(
        "daymark_last_publish_timestamp_seconds",
        "When the newest publish was made.",
        last.map(|publish| unix(publish.at)),
    );
    to.gauge(
        "daymark_last_publish_duration_seconds",
        "How long the newest publish took.",
        last.and_then(|publish| publish.took).map(|took| took.as_secs_f64()),
    );
    let mut rows = to.family(
        "daymark_last_publish_rows",
        Kind::Gauge,
        "Rows of the newest publish, by what became of them.",
    );
    for ([table, kind], count) in last.iter().flat_map(|publish| &publish.rows) {
        rows.sample(&[("table", table), ("kind", kind)], count);
    }
    to.gauge(
        "daymark_marts_refused",
        "Marts that PostgreSQL refuses.",
        shown.known(figures.marts_refused),
    );
}

fn scheduler(
    to: &mut Exposition,
    shown: &Shown<'_>,
    process: &Process,
    figures: &Figures,
    seen: &Seen,
) {
    let totals = &figures.totals;
    let leader: Option<&LeaderFigures> = figures.leader.as_ref();
    let leads = |known: &LeaderFigures| u8::from(!known.leader.is_stopped);
    to.gauge(
        "daymark_scheduler_up",
        "Whether a process keeps the schedule: 1 or 0.",
        shown.known(leader.map_or(0, leads)).filter(|_| process.keeps_schedule || leader.is_some()),
    );
    to.gauge(
        "daymark_scheduler_is_leader",
        "Whether it is this process that keeps the schedule: 1 or 0.",
        shown.known(u8::from(leader.is_some_and(|known| known.is_this))),
    );
    to.gauge(
        "daymark_scheduler_lease_epoch",
        "Which leadership it is, counted from 1: it grows when another process takes over.",
        leader.map(|known| known.leader.epoch),
    );
    to.gauge(
        "daymark_scheduler_heartbeat_age_seconds",
        "How long ago the process that keeps the schedule last showed that it lives.",
        leader.map(|known| known.age + seen.age.unwrap_or_default().as_secs_f64()),
    );
    to.gauge(
        "daymark_scheduler_next_fire_timestamp_seconds",
        "The next scheduled instant, as the process that keeps the schedule reckons.",
        leader.and_then(|known| known.leader.next_fire_at).map(unix),
    );
    counter(
        to,
        "daymark_fires_total",
        "Scheduled instants that came to their end, by what became of them.",
        ["source", "state"],
        shown.by_source(&FIRE_STATES),
        &totals.fires,
    );
    counter(
        to,
        "daymark_missed_fires_total",
        "Scheduled instants that nobody acted on in time; a catch-up run makes up for them, or they are skipped.",
        ["source"],
        shown.sources.iter().map(|source| [(*source).to_owned()]),
        &totals.fires_missed,
    );
    to.gauge(
        "daymark_fires_open",
        "Scheduled instants that are due or being run.",
        shown.known(figures.fires_open),
    );
    to.gauge("daymark_pauses", "Pauses of the schedule that hold.", shown.known(figures.pauses));
}

fn alerts(to: &mut Exposition, figures: &Figures) {
    let nothing = Counts::<1>::new();
    let alerts = figures.alerts.as_ref();
    for (name, help, label, counts) in [
        (
            "daymark_alerts_open",
            "Alerts that are not resolved, by event.",
            "event",
            alerts.map_or(&nothing, |alerts| &alerts.open),
        ),
        (
            "daymark_alert_messages_pending",
            "Messages of alerts that are not delivered yet; without a channel: whom to tell is not decided yet.",
            "channel",
            alerts.map_or(&nothing, |alerts| &alerts.pending),
        ),
        (
            "daymark_alert_messages_given_up",
            "Messages of alerts whose delivery was given up.",
            "channel",
            alerts.map_or(&nothing, |alerts| &alerts.given_up),
        ),
    ] {
        let mut family = to.family(name, Kind::Gauge, help);
        for ([value], count) in counts {
            family.sample(&[(label, value)], count);
        }
    }
}

/// A counter with labels: what was counted, and 0 for what there will be.
fn counter<const N: usize>(
    to: &mut Exposition,
    name: &'static str,
    help: &str,
    labels: [&str; N],
    zeros: impl Iterator<Item = [String; N]>,
    counts: &Counts<N>,
) {
    let mut all: Counts<N> = zeros.map(|key| (key, 0)).collect();
    all.extend(counts.iter().map(|(key, count)| (key.clone(), *count)));
    let mut family = to.family(name, Kind::Counter, help);
    for (key, count) in &all {
        let labels: Vec<(&str, &str)> =
            labels.iter().copied().zip(key.iter().map(String::as_str)).collect();
        family.sample(&labels, count);
    }
}

/// An instant as seconds since 1970, to the millisecond.
fn unix(at: Timestamp) -> impl Display {
    // Whole milliseconds below 2^53: a float holds them.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of our time are below 2^53")]
    let seconds = at.as_millisecond() as f64 / 1000.0;
    seconds
}
