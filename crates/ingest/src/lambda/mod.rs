//! The Lambda function, without the Lambda: one invocation is one fetch of the plan's sources.
//!
//! In: an event and the instant the function must have answered by. Out: a [`Report`] when every fetch
//! was accepted; else an error that names each that was not, so that whoever invoked it tries again. The
//! raw store is the only memory: a retried event finds there what need not be fetched again.
//! Deliberately absent: Lambda's Runtime API, which is `bin/daymark-lambda.rs`'s; publishing, which
//! happens where the database is.

mod event;
mod report;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use daymark_plan::{
    Clock, Environment, Plan, PlanError, Source, causes, data_date, did_you_mean, one_line,
};
use futures::future::join_all;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use uuid::Uuid;

pub use event::{Event, EventError};
pub use report::{FetchOutcome, FetchReport, Report};

use crate::error::IngestError;
use crate::fetch::{FetchEvent, FetchOrder, Ingest, Reach};
use crate::store::RawStore;

/// Where the function stops before its deadline, at most: enough to say what was not done.
const LONGEST_MARGIN: Duration = Duration::from_secs(2);

/// How far the scheduler's clock may be ahead of this one.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_hours(1);

/// Why the function did not start, or why an invocation failed.
#[derive(Debug, thiserror::Error)]
pub enum LambdaError {
    /// Nothing says where the pipeline folder is.
    #[error("there is no pipeline folder: neither DAYMARK_PIPELINE nor LAMBDA_TASK_ROOT is set")]
    NoFolder,
    /// The folder gives no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The raw store cannot be opened.
    #[error(transparent)]
    Store(#[from] IngestError),
    /// The event asks for nothing that can be done.
    #[error(transparent)]
    Event(#[from] EventError),
    /// Some fetches were not accepted; all were tried.
    #[error("{0}")]
    Fetches(Report),
}

impl LambdaError {
    /// The kind, as Lambda shows it beside the text.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoFolder | Self::Plan(_) => "BadPipeline",
            Self::Store(_) => "NoRawStore",
            Self::Event(_) => "BadEvent",
            Self::Fetches(report) if report.out_of_time() => "OutOfTime",
            Self::Fetches(_) => "FetchFailed",
        }
    }

    /// All there is to say: Lambda keeps one text of an error.
    pub fn text(&self) -> String {
        let mut text = self.to_string();
        if let Self::Plan(PlanError::Problems { problems, .. }) = self {
            for problem in problems {
                text.push_str(&format!("\n  {problem}"));
            }
        }
        for cause in causes(self) {
            text.push_str(&format!("\n  caused by: {cause}"));
        }
        let hint = match self {
            Self::NoFolder | Self::Plan(PlanError::NoFolder { .. }) => {
                "put the folder into the zip as `pipeline/`, or set DAYMARK_PIPELINE"
            }
            Self::Store(error) => error.hint(),
            Self::Fetches(report) if report.out_of_time() => {
                "give the function more time (at most 15 minutes), or each source its own schedule"
            }
            Self::Plan(_) | Self::Event(_) | Self::Fetches(_) => return text,
        };
        text + "\nhint: " + hint
    }
}

/// The function, ready for events.
#[derive(Debug)]
pub struct Function {
    plan: Plan,
    clock: Clock,
    ingest: Ingest,
}

impl Function {
    /// Reads the pipeline folder and opens the raw store; neither asks the network.
    pub fn open(environment: &Environment, clock: Clock) -> Result<Self, LambdaError> {
        let folder =
            match (environment.get("DAYMARK_PIPELINE"), environment.get("LAMBDA_TASK_ROOT")) {
                (Some(folder), _) => PathBuf::from(folder),
                (None, Some(root)) => Path::new(root).join("pipeline"),
                (None, None) => return Err(LambdaError::NoFolder),
            };
        let plan = daymark_plan::load(&folder, environment)?;
        let store = RawStore::open(&plan.settings.raw)?;
        let ingest = Ingest::of(store, clock.clone(), &plan);
        Ok(Self { plan, clock, ingest })
    }

    /// One invocation: every source asked for is tried, all at once.
    pub async fn handle(&self, event: &Value, deadline: Timestamp) -> Result<Report, LambdaError> {
        let now = self.clock.now();
        let event = Event::read(event)?;
        let sources = self.sources(&event)?;
        let at = event.scheduled_at.unwrap_or(now);
        self.can_be_asked(&event, &sources, at, now)?;
        let time = Duration::try_from(deadline.duration_since(now)).unwrap_or_default();
        let time = time.saturating_sub(LONGEST_MARGIN.min(time / 10));
        let run_id = Uuid::now_v7();
        let fetching = sources.into_iter().map(|source| {
            let due = self.data_date(source, at);
            let data_date = event.data_date.unwrap_or(due);
            // As with `daymark fetch`: a day by name is a day by itself, and moves no cursor.
            let reach = if data_date == due { Reach::Forward } else { Reach::ByDay };
            let order = FetchOrder { data_date, scheduled_at: event.scheduled_at, run_id, reach };
            // As a fire at home: a day without data is asked for by name only.
            let is_fire = event.scheduled_at.is_some() && event.data_date.is_none();
            let no_data = source.without_data(data_date).filter(|_| is_fire);
            async move {
                match no_data {
                    Some(why) => vec![FetchReport::skipped(source, &order, why)],
                    None => self.fetch(source, order, time).await,
                }
            }
        });
        let fetches: Vec<_> = join_all(fetching).await.into_iter().flatten().collect();
        let report = Report { run_id, scheduled_at: event.scheduled_at, fetches };
        for fetch in &report.fetches {
            fetch.log();
        }
        if report.is_complete() { Ok(report) } else { Err(LambdaError::Fetches(report)) }
    }

    /// The source that is named, or all.
    fn sources(&self, event: &Event) -> Result<Vec<&Source>, EventError> {
        let all = &self.plan.sources;
        let Some(named) = &event.source else { return Ok(all.iter().collect()) };
        let found = all.iter().find(|source| source.id.as_str() == named);
        let unknown = || EventError {
            message: format!("the pipeline has no source `{}`", crate::words::short(named)),
            hint: did_you_mean(named, all.iter().map(|source| source.id.as_str())),
        };
        Ok(vec![found.ok_or_else(unknown)?])
    }

    /// Refuses what would be kept as a false record: a time that has not come, and a day by name of sources
    /// whose requests name none, which are answered as of now. `at` is the instant the event is for.
    fn can_be_asked(
        &self,
        event: &Event,
        sources: &[&Source],
        at: Timestamp,
        now: Timestamp,
    ) -> Result<(), EventError> {
        let refused = |message, hint| Err(EventError { message, hint });
        // The scheduled instant counts, not the clock; but no clock is off by so much.
        if at.duration_since(now) > CLOCKS_DIFFER {
            let message = format!("`scheduled_at` {at} is in the future");
            return refused(message, format!("it is {now} here"));
        }
        let Some(date) = event.data_date else { return Ok(()) };
        let today = now.max(at).to_zoned(self.plan.settings.zone.clone()).date();
        if date > today {
            let message = format!("the data date {date} is in the future");
            return refused(message, format!("today is {today}"));
        }
        let of_now: Vec<String> = sources
            .iter()
            .filter(|source| date != self.data_date(source, at) && !source.answers_for_any_date())
            .map(|source| format!("`{}`", source.id))
            .collect();
        if of_now.is_empty() {
            return Ok(());
        }
        refused(
            format!("the request of {} names no day, so the answer is not of {date}", of_now.join(", ")),
            "write `{{ data_date }}` into `[request]` where the API takes a date; name a `source` that is \
             told the day; or leave `data_date` away for the day that is due"
                .to_owned(),
        )
    }

    fn data_date(&self, source: &Source, at: Timestamp) -> Date {
        data_date(source.data_date, &source.calendar, &self.plan.settings.zone, at)
    }

    async fn fetch(&self, source: &Source, order: FetchOrder, time: Duration) -> Vec<FetchReport> {
        let ended = AtomicUsize::new(0);
        let watch = |event| {
            if let FetchEvent::Entity { done, .. } = event {
                ended.fetch_max(done, Ordering::Relaxed);
            }
        };
        let fetching = self.ingest.fetch_all(source, &order, &|_| true, &watch);
        let nothing = |outcome, reason| FetchReport {
            reason: Some(reason),
            ..FetchReport::new(source, &order, outcome)
        };
        match tokio::time::timeout(time, fetching).await {
            Ok(Ok(fetched)) => {
                fetched.into_iter().map(|one| FetchReport::of(source, &order, one)).collect()
            }
            Ok(Err(error)) => {
                let reason = format!("{}; {}", one_line(&error), error.hint());
                let report = nothing(FetchOutcome::Failed, reason);
                vec![FetchReport { error_kind: Some(error.kind()), ..report }]
            }
            Err(_) => {
                let entities = source.entities.rows.len();
                let after = match (entities, ended.into_inner()) {
                    (0, _) => String::new(),
                    (of, done) => format!(" after {done} of {of} entities"),
                };
                let reason = format!("the function's time ran out{after}");
                vec![nothing(FetchOutcome::OutOfTime, reason)]
            }
        }
    }
}
