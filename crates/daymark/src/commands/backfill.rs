//! `daymark backfill`: days of the past, fetched and published.
//!
//! In: a folder, a range, which of its days. Out: the plan before it starts, a bar or lines while it goes on, a
//! table at its end; as JSON the plan and the outcome. Deliberately absent: choosing the days and working through
//! them (`crate::backfill`).

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use daymark_ingest::{FetchEvent, RawKey, RawStore};
use daymark_plan::{Clock, CursorType, Plan, Source, SourceId};
use daymark_warehouse::{Warehouse, backfill, ledger};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::civil::Date;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::alerts;
use crate::backfill::{Choice, Known, Mode, Outcome, Work, bring_in, choose, of_raw};
use crate::cli::Backfill;
use crate::commands;
use crate::failure::Failure;
use crate::lifecycle::{self, Ended};
use crate::output;
use crate::run::{RunEvent, Runner, dates};

/// How many days that failed are told to people; the JSON has them all.
const TOLD: usize = 20;

/// Fills days of the past.
pub(crate) async fn backfill(arguments: &Backfill) -> Result<ExitCode, Failure> {
    let plan = commands::load(&arguments.folder)?;
    let sources = chosen(&plan, arguments)?;
    let clock = Clock::System;
    let (from, to) = (arguments.from, arguments.to);
    commands::is_a_range(Some(from), Some(to))?;
    dates::is_past_or_today(&plan, from, &clock)?;
    dates::is_past_or_today(&plan, to, &clock)?;
    if !arguments.from_raw {
        can_be_asked(&plan, arguments, &sources)?;
    } else if arguments.which.all {
        return Err(Failure::usage(
            "`--all` and `--from-raw`: days that are published need not be published again",
            "`daymark rebuild` makes the tables anew from the raw store; without `--all` what is not published \
             yet is",
        ));
    }
    let runner = Runner::new(Arc::clone(&plan), clock.clone());
    let desk = Desk { plan: &plan, sources, arguments, runner: &runner, clock };
    let done = if arguments.from_raw { desk.take_from_raw().await } else { desk.ask_apis().await };
    if !arguments.dry_run {
        alerts::after_word(&plan, &runner).await;
    }
    runner.close().await;
    done
}

/// What the command works with.
struct Desk<'d> {
    plan: &'d Plan,
    sources: Vec<&'d Source>,
    arguments: &'d Backfill,
    runner: &'d Runner,
    clock: Clock,
}

impl Desk<'_> {
    fn range(&self) -> (Date, Date) {
        (self.arguments.from, self.arguments.to)
    }

    fn ids(&self) -> Vec<&SourceId> {
        self.sources.iter().map(|source| &source.id).collect()
    }

    fn mode(&self) -> Mode {
        match &self.arguments.which {
            which if which.all => Mode::All,
            which if which.failed_only => Mode::FailedOnly,
            _ => Mode::MissingOnly,
        }
    }

    /// The days by what the ledger has of them now.
    async fn choice(&self, mode: Mode) -> Result<Choice, Failure> {
        let (from, to) = self.range();
        let ids = self.ids();
        let warehouse: &Warehouse = self.runner.warehouse().await?;
        let mut session = warehouse.session("choosing the days").await?;
        let parts = backfill::parts(&mut session, &ids, from, to).await?;
        let times = backfill::request_times(&mut session, &ids).await?;
        let at_once = usize::from(self.arguments.parallel);
        let known = Known { parts: &parts, times: &times, at_once };
        Ok(choose(self.plan, &self.sources, (from, to), mode, &known, self.clock.now()))
    }

    async fn ask_apis(&self) -> Result<ExitCode, Failure> {
        let mut choice = self.choice(self.mode()).await?;
        if self.arguments.dry_run {
            if self.arguments.json {
                output::json(&json!({ "dry_run": true, "plan": choice }))?;
            } else {
                output::to_stdout(&plan_text(&choice))?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        output::to_stderr(&plan_text(&choice));
        let mut outcome = Outcome::default();
        if choice.days > 0 {
            let shown = Shown::new(choice.days);
            let watch = |event: RunEvent<'_>| shown.show(&event);
            let work = Work {
                runner: self.runner,
                at_once: usize::from(self.arguments.parallel),
                again: choice.mode == Mode::All,
                watch: &watch,
            };
            let going = async |stop: CancellationToken| {
                bring_in(&work).await?;
                if choice.mode != Mode::All {
                    // What an earlier start had received is published by now, and asked for no more.
                    let before = choice.days;
                    let now = self.choice(choice.mode).await?;
                    if now.days < before {
                        shown
                            .say(&format!("{} of them were in the raw store\n", before - now.days));
                        shown.expect(now.days);
                        choice = now;
                    }
                }
                work.ask(&choice, &stop, &mut outcome).await
            };
            let done = lifecycle::until_stopped(going).await;
            shown.finish();
            match done {
                Ok(Ended::AtOnce) => lifecycle::exit_at_once(),
                Ok(Ended::InOrder) => {}
                Err(failure) => {
                    output::to_stderr(&format!(
                        "{}what was received is kept; the same command goes on from here\n",
                        summary(&outcome)
                    ));
                    return Err(failure);
                }
            }
        }
        self.tell(&choice, &outcome)
    }

    async fn take_from_raw(&self) -> Result<ExitCode, Failure> {
        let mode = self.mode();
        let (from, to) = self.range();
        let ids = self.ids();
        let found = self.in_raw(mode).await?;
        let text = raw_text((from, to), &found);
        if self.arguments.dry_run {
            if self.arguments.json {
                output::json(&json!({ "dry_run": true, "from_raw": true, "fetches": found }))?;
            } else {
                output::to_stdout(&text)?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        output::to_stderr(&text);
        if mode == Mode::FailedOnly {
            let mut session = self.runner.warehouse().await?.session("a backfill").await?;
            backfill::try_failed_again(&mut session, &ids, from, to).await?;
        }
        let shown = Shown::new(found.values().sum());
        let watch = |event: RunEvent<'_>| shown.show(&event);
        let work = Work { runner: self.runner, at_once: 1, again: false, watch: &watch };
        let done = bring_in(&work).await;
        shown.finish();
        let mut outcome = of_raw(&done?, &ids, (from, to));
        // What is still not there has to come from somewhere else.
        let choice = self.choice(Mode::MissingOnly).await?;
        for source in &choice.sources {
            outcome.sources.entry(source.source.clone()).or_default().left = source.days;
        }
        self.tell(&choice, &outcome)
    }

    /// How many fetches of the range the raw store has that are to be published, by source.
    async fn in_raw(&self, mode: Mode) -> Result<BTreeMap<SourceId, usize>, Failure> {
        let (from, to) = self.range();
        let store = RawStore::open(&self.plan.settings.raw)?;
        let mut found = BTreeMap::new();
        for source in &self.sources {
            let mut session = self.runner.warehouse().await?.session("a backfill").await?;
            let noted = ledger::noted_manifests(&mut session, &source.id, None).await?;
            drop(session);
            let keys = store.manifest_keys(&source.id, None).await?;
            let of_range = |key: &&String| {
                RawKey::parse_manifest(key)
                    .is_some_and(|name| from <= name.data_date && name.data_date <= to)
            };
            let mut count = 0;
            for key in keys.iter().filter(of_range).filter(|key| !noted.contains(*key)) {
                count += usize::from(store.manifest(key).await?.manifest.is_accepted());
            }
            if mode == Mode::FailedOnly {
                let mut session = self.runner.warehouse().await?.session("a backfill").await?;
                count += backfill::failed_fetches(&mut session, &source.id, from, to).await?;
            }
            found.insert(source.id.clone(), count);
        }
        Ok(found)
    }

    /// Says what came of it.
    fn tell(&self, choice: &Choice, outcome: &Outcome) -> Result<ExitCode, Failure> {
        if self.arguments.json {
            output::json(&json!({ "plan": choice, "outcome": outcome }))?;
        } else {
            output::to_stdout(&summary(outcome))?;
            let left = outcome.left();
            if outcome.stopped {
                let days = output::counted(left as u64, "day");
                output::to_stdout(&format!(
                    "stopped with {days} left; the same command goes on\n"
                ))?;
            } else if self.arguments.from_raw && left > 0 {
                let (is, it) = if left == 1 { ("is", "it") } else { ("are", "them") };
                output::to_stdout(&format!(
                    "{} {is} not in the raw store: `daymark backfill` without `--from-raw` asks for {it}, \
                     where the API takes a date\n",
                    output::counted(left as u64, "day")
                ))?;
            }
        }
        let failed = outcome.has_failed() || outcome.stopped;
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// The sources named, or all.
fn chosen<'p>(plan: &'p Plan, arguments: &Backfill) -> Result<Vec<&'p Source>, Failure> {
    let mut sources: Vec<&Source> = Vec::new();
    for name in &arguments.sources {
        let source = commands::source(plan, name)?;
        if !sources.iter().any(|chosen| chosen.id == source.id) {
            sources.push(source);
        }
    }
    Ok(if arguments.sources.is_empty() { plan.sources.iter().collect() } else { sources })
}

/// Refuses sources that cannot be asked about a day of the past.
fn can_be_asked(plan: &Plan, arguments: &Backfill, sources: &[&Source]) -> Result<(), Failure> {
    let by_number = |source: &Source| {
        source.incremental.as_ref().is_some_and(|incremental| {
            matches!(incremental.cursor_type, CursorType::Integer | CursorType::Text)
        })
    };
    let can = |source: &&&Source| source.answers_for_any_date() && !by_number(source);
    let Some(first) = sources.iter().find(|source| !can(source)) else { return Ok(()) };
    let id = &first.id;
    let why = if first.answers_for_any_date() {
        format!(
            "`{id}` is read from a cursor that is no date: it cannot be asked about a day of the past"
        )
    } else {
        format!(
            "`{id}` is asked without a date, so its API answers as of now: it cannot be asked about a day of \
                 the past"
        )
    };
    let raw = format!(
        "`daymark backfill --from-raw --source {id} --from {} --to {}` publishes what the raw store has for these \
         days; or write `{{{{ data_date }}}}` into `[request]` of {} where the API takes a date",
        arguments.from, arguments.to, first.file
    );
    let others: Vec<String> = plan
        .sources
        .iter()
        .collect::<Vec<_>>()
        .iter()
        .filter(can)
        .map(|source| format!("`--source {}`", source.id))
        .collect();
    let hint = match others.as_slice() {
        [] => raw,
        others => format!("{raw}; those that can be asked: {}", others.join(", ")),
    };
    Err(Failure::usage(why, hint))
}

/// What will be done.
fn plan_text(choice: &Choice) -> String {
    let Choice { from, to, mode, .. } = choice;
    let rows: Vec<Vec<String>> = choice
        .sources
        .iter()
        .map(|source| {
            let left_out: Vec<String> =
                source.left_out.iter().map(|(why, days)| format!("{days} {why}")).collect();
            vec![
                source.source.to_string(),
                source.days.to_string(),
                source.first.map(|date| date.to_string()).unwrap_or_default(),
                source.last.map(|date| date.to_string()).unwrap_or_default(),
                source.requests.to_string(),
                source.calls.to_string(),
                source.estimated_seconds.map_or("unknown".to_owned(), about),
                left_out.join(", "),
            ]
        })
        .collect();
    let header = ["source", "days", "first", "last", "requests", "calls", "takes", "left out"];
    let mut text = format!("backfill of {from} to {to}, {}\n", mode.argument());
    text.push_str(&output::table(&header, &rows, &[1, 4, 5]));
    text.push_str(&match (choice.days, choice.estimated_seconds) {
        (0, _) => "nothing to do\n".to_owned(),
        (days, estimated) => {
            let days = output::counted(days as u64, "day");
            let requests = output::counted(choice.requests, "request");
            let takes = match estimated {
                Some(seconds) => format!("about {}", about(seconds)),
                None if choice.least_seconds > 0 => {
                    format!("at least {}, by the limits", about(choice.least_seconds))
                }
                None => {
                    "an unknown time: nothing was asked before, and there are no limits".to_owned()
                }
            };
            format!("{days}, {requests} (more where an answer has several pages), {takes}\n")
        }
    });
    text
}

fn raw_text((from, to): (Date, Date), found: &BTreeMap<SourceId, usize>) -> String {
    let rows: Vec<Vec<String>> =
        found.iter().map(|(source, count)| vec![source.to_string(), count.to_string()]).collect();
    let table = output::table(&["source", "fetches to publish"], &rows, &[1]);
    format!("backfill of {from} to {to} from the raw store; nobody is asked\n{table}")
}

fn summary(outcome: &Outcome) -> String {
    let rows: Vec<Vec<String>> = outcome
        .sources
        .iter()
        .map(|(source, of)| {
            let wrong = |state: &str| of.wrong.iter().filter(|day| day.state == state).count();
            vec![
                source.to_string(),
                of.published.to_string(),
                wrong("failed").to_string(),
                wrong("quarantined").to_string(),
                of.left.to_string(),
                of.requests.to_string(),
            ]
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let header = ["source", "published", "failed", "quarantined", "left", "requests"];
    let mut text = output::table(&header, &rows, &[1, 2, 3, 4, 5]);
    let wrong: Vec<String> = outcome
        .sources
        .iter()
        .flat_map(|(source, of)| {
            of.wrong.iter().map(move |day| {
                let reason = output::cut(&day.reason, 300);
                format!("{source} {} {}: {reason}\n", day.date, day.state)
            })
        })
        .collect();
    text.extend(wrong.iter().take(TOLD).map(String::as_str));
    if wrong.len() > TOLD {
        let more = wrong.len() - TOLD;
        text.push_str(&format!("and {more} more: `daymark days --state failed`\n"));
    }
    text
}

/// A time for people: `40 s`, `9 min`, `2 h 5 min`, `3 d 4 h`.
fn about(seconds: u64) -> String {
    let minutes = seconds.div_ceil(60);
    match (seconds, minutes) {
        (0..120, _) => format!("{seconds} s"),
        (_, 0..120) => format!("{minutes} min"),
        (_, 120..2880) => format!("{} h {} min", minutes / 60, minutes % 60),
        _ => format!("{} d {} h", minutes / 1440, minutes % 1440 / 60),
    }
}

/// Shows how far it is: a bar on a terminal, lines elsewhere.
struct Shown {
    bar: Option<ProgressBar>,
    done: AtomicUsize,
    of: AtomicUsize,
}

impl Shown {
    fn new(of: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(of as u64);
            let style = ProgressStyle::with_template(
                "{wide_bar} {pos}/{len} days  {elapsed} so far, {eta} left  {msg}",
            );
            if let Ok(style) = style {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, done: AtomicUsize::new(0), of: AtomicUsize::new(of) }
    }

    fn expect(&self, of: usize) {
        self.of.store(of, Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.set_length(of as u64);
        }
    }

    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| output::to_stderr(text)),
            None => output::to_stderr(text),
        }
    }

    fn show(&self, event: &RunEvent<'_>) {
        match event {
            RunEvent::Day { source_id, data_date, failed } => {
                let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
                let of = self.of.load(Ordering::Relaxed);
                if let Some(bar) = &self.bar {
                    bar.set_position(done as u64);
                }
                match failed {
                    Some(reason) => self.say(&format!(
                        "{source_id} {data_date}: not fetched ({done} of {of}): {}\n",
                        output::cut(reason, 200)
                    )),
                    None if self.bar.is_none() => {
                        self.say(&format!("{source_id} {data_date}: fetched ({done} of {of})\n"));
                    }
                    None => {}
                }
            }
            RunEvent::Fetch { source_id, event } => {
                if let FetchEvent::Waiting { wait, why } = event.plain() {
                    let seconds = wait.as_secs_f64();
                    match &self.bar {
                        Some(bar) => bar.set_message(format!("{source_id}: {why}")),
                        None => self
                            .say(&format!("{source_id}: {why}; asking again in {seconds:.1} s\n")),
                    }
                }
            }
            RunEvent::Publish(daymark_warehouse::publish::Progress::Committing) => {
                match &self.bar {
                    Some(bar) => bar.set_message("publishing"),
                    None => self.say("publish: committing\n"),
                }
            }
            RunEvent::Publish(_) => {}
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
