//! The scheduler by the manual clock, on real databases and a real API.

use std::fs;
use std::sync::Arc;

use daymark_plan::{DayState, Environment};
use daymark_testkit::database::{Kind, TestDatabase};
use daymark_testkit::on_both_databases;
use daymark_testkit::rest::{Reply, RestServer};
use daymark_warehouse::{Reader, RunFilter, ledger};
use jiff::civil::{Date, date};
use tempfile::TempDir;

use super::*;

on_both_databases! {
    a_fire_for_a_published_day_is_a_recorded_no_op;
    a_fire_for_a_day_without_data_is_a_recorded_no_op;
    an_unscheduled_closing_is_a_line_in_a_file;
    a_scheduler_that_stopped_leaves_late_and_missing_days;
    a_publish_that_fails_as_a_whole_tells_every_source;
    a_day_that_failed_is_tried_again_until_it_is_given_up;
    a_day_of_now_is_tried_only_while_it_is_due;
    old_logs_go_and_the_record_stays;
}

const BARS: &str = "/bars";
/// Has the database refuse every publish, and take it again.
const REFUSED: &str = "alter table daymark.publish add constraint never check (publish_id < 0)";
const TAKEN: &str = "alter table daymark.publish drop constraint never";

/// A pipeline of one market source, fired every day at eight in New York, with its API, database and clock.
struct Desk {
    folder: TempDir,
    api: RestServer,
    database: TestDatabase,
    clock: Clock,
}

/// Eight in New York, in November.
fn eight(day: Date) -> Timestamp {
    day.at(8, 0, 0, 0).in_tz("America/New_York").unwrap().timestamp()
}

impl Desk {
    async fn new(kind: Kind, calendar: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let api = RestServer::start().await;
        api.only(BARS, Reply::json(r#"[{"symbol": "x", "price": 1.5}]"#));
        let database = TestDatabase::new(kind).await;
        let desk = Self { folder, api, database, clock: Clock::manual(Timestamp::UNIX_EPOCH) };
        desk.write(
            "daymark.toml",
            &format!(
                "name = \"desk\"\ntime_zone = \"America/New_York\"\nschedule = \"cron(0 8 * * ? *)\"\n\
                 [database]\nurl = \"{}\"\n",
                desk.database.url
            ),
        );
        desk.write("sources/bars.toml", &desk.source("bars", calendar));
        desk.write("calendars/own.toml", "base = \"nyse\"\nclosed = [\"2026-11-24\"]\n");
        desk.write(
            "models/price.sql",
            "/* model\ntable = \"price\"\nkey = [\"symbol\"]\n[columns]\nsymbol = \"text not null\"\n\
             price = \"double precision\"\n*/\nselect _fetch_id, _fetch_row, symbol, price from raw_bars\n",
        );
        desk
    }

    fn source(&self, id: &str, calendar: &str) -> String {
        format!(
            "id = \"{id}\"\ncalendar = \"{calendar}\"\ndata_date = \"previous_session\"\ndeadline = \"09:30\"\n\
             [request]\nurl = \"{}\"\n[retry]\nattempts = 1\n[rows]\nlayout = \"records\"\n[rows.fields]\n\
             symbol = {{ path = \"symbol\", type = \"text\" }}\nprice = {{ path = \"price\", type = \"double\" }}\n",
            self.api.url(&format!("/{id}"))
        )
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn plan(&self) -> Arc<Plan> {
        Arc::new(daymark_plan::load(self.folder.path(), &Environment::default()).unwrap())
    }

    fn runner(&self, plan: &Arc<Plan>) -> Arc<Runner> {
        Arc::new(Runner::new(Arc::clone(plan), self.clock.clone()))
    }

    async fn reader(&self, runner: &Runner) -> Reader {
        Reader::new(runner.warehouse().await.unwrap().clone(), self.clock.clone())
    }

    /// The states of the first source's days in a range.
    async fn states(&self, plan: &Plan, reader: &Reader, from: Date, to: Date) -> Vec<String> {
        let sources = reader.days(plan, from, to).await.unwrap();
        sources[0].days.iter().map(|day| format!("{} {}", day.date, day.state)).collect()
    }
}

/// A scheduler that keeps the schedule for the first time, or goes on.
async fn open(plan: &Arc<Plan>, runner: &Arc<Runner>, desk: &Desk) -> Scheduler {
    let mut scheduler = Scheduler::new(Arc::clone(plan), Arc::clone(runner), desk.clock.clone());
    assert!(turn(&mut scheduler).await.is_none(), "nothing is owed from before");
    scheduler
}

/// A step with the run it starts, if there is one; none for a run that failed as a whole.
async fn turn(scheduler: &mut Scheduler) -> Option<RunReport> {
    let started = scheduler.step(false).await.unwrap().started;
    assert!(started.len() <= 1);
    let ended = scheduler.run(started.into_iter().next()?).await;
    scheduler.ended(&ended);
    ended.result.ok()
}

/// What a turn did for its one source; the API answers by the manual clock.
async fn morning(scheduler: &mut Scheduler, desk: &Desk, day: Date) -> String {
    desk.clock.set(eight(day));
    desk.api.only(BARS, Reply::json(r#"[{"symbol": "x", "price": 1.5}]"#).date(desk.clock.now()));
    let report = turn(scheduler).await.expect("a fire is due");
    let source = &report.sources[0];
    assert!(turn(scheduler).await.is_none(), "a fire is acted on once");
    format!("{day} {} {}", source.data_date, source.state.as_str())
}

async fn a_fire_for_a_published_day_is_a_recorded_no_op(kind: Kind) {
    let desk = Desk::new(kind, "nyse").await;
    let plan = desk.plan();
    let runner = desk.runner(&plan);
    desk.clock.set(eight(date(2026, 11, 20)));
    let mut scheduler = open(&plan, &runner, &desk).await;
    assert!(turn(&mut scheduler).await.is_none(), "nothing is owed from before");
    let mut found = Vec::new();
    for day in 21..=25 {
        found.push(morning(&mut scheduler, &desk, date(2026, 11, day)).await);
    }
    // Friday's bar is Saturday's; on Sunday and on Monday there is none that is new.
    assert_eq!(
        found,
        [
            "2026-11-21 2026-11-20 published",
            "2026-11-22 2026-11-20 skipped",
            "2026-11-23 2026-11-20 skipped",
            "2026-11-24 2026-11-23 published",
            "2026-11-25 2026-11-24 published",
        ]
    );
    assert_eq!(desk.api.requests().len(), 3, "a no-op asks nobody");
    let reader = desk.reader(&runner).await;
    let runs = reader.runs(RunFilter { failed: false, last: 10 }).await.unwrap();
    let told: Vec<String> = runs
        .iter()
        .rev()
        .map(|run| {
            let outcome = run.outcome.as_deref().unwrap();
            format!("{outcome} {} {} {}", run.published, run.skipped, run.attempts)
        })
        .collect();
    let (done, none) = ("succeeded 1 0 1", "succeeded 0 1 0");
    assert_eq!(told, [done, none, none, done, done]);
    let skipped = reader.run(runs[3].id).await.unwrap().unwrap();
    assert_eq!(skipped.steps.len(), 1);
    assert_eq!(skipped.steps[0].reason.as_deref(), Some("this day is published already"));
    // A person who asks gets it.
    let days = runner.days_at(desk.clock.now(), plan.sources.iter());
    let order = Order {
        kind: RunKind::Manual,
        scheduled_at: None,
        days,
        reach: Reach::Forward,
        claim: None,
        pace: None,
    };
    let report = runner.execute(&order, &|_| {}).await.unwrap();
    assert_eq!(report.sources[0].state.as_str(), "published");
    assert_eq!(desk.api.requests().len(), 4);
    runner.close().await;
}

async fn a_fire_for_a_day_without_data_is_a_recorded_no_op(kind: Kind) {
    let desk = Desk::new(kind, "calendars/own.toml").await;
    let text = std::fs::read_to_string(desk.folder.path().join("sources/bars.toml")).unwrap();
    desk.write("sources/bars.toml", &text.replace("previous_session", "run_day"));
    let plan = desk.plan();
    let runner = desk.runner(&plan);
    desk.clock.set(eight(date(2026, 11, 22)));
    let mut scheduler = open(&plan, &runner, &desk).await;
    let mut found = Vec::new();
    for day in 23..=28 {
        found.push(morning(&mut scheduler, &desk, date(2026, 11, day)).await);
    }
    // Closed by the file, by the exchange (Thanksgiving), and on a Saturday.
    assert_eq!(
        found,
        [
            "2026-11-23 2026-11-23 published",
            "2026-11-24 2026-11-24 skipped",
            "2026-11-25 2026-11-25 published",
            "2026-11-26 2026-11-26 skipped",
            "2026-11-27 2026-11-27 published",
            "2026-11-28 2026-11-28 skipped",
        ]
    );
    assert_eq!(desk.api.requests().len(), 3, "a day without data asks nobody");
    let reader = desk.reader(&runner).await;
    let thursday = date(2026, 11, 26);
    let states = desk.states(&plan, &reader, thursday, thursday).await;
    assert_eq!(states, ["2026-11-26 holiday"]);
    let mut session = runner.warehouse().await.unwrap().session("test").await.unwrap();
    let fires = session
        .client()
        .query("select state, reason from daymark.fire order by scheduled_at desc limit 2", &[])
        .await
        .unwrap();
    drop(session);
    let fires: Vec<(String, Option<String>)> =
        fires.iter().map(|row| (row.get(0), row.get(1))).collect();
    let why = "2026-11-28 is no day of the calendar `calendars/own.toml`";
    assert_eq!(fires, [("no_op".to_owned(), Some(why.to_owned())), ("done".to_owned(), None)]);
    // What was missed is not made up for on such a day either; a person who asks gets it.
    desk.clock.set(eight(date(2026, 11, 29)) + SignedDuration::from_hours(2));
    let report = turn(&mut scheduler).await.expect("a fire is made up for");
    assert_eq!(report.sources[0].state.as_str(), "skipped");
    let order = Order {
        kind: RunKind::Manual,
        scheduled_at: None,
        days: runner.days_at(desk.clock.now(), plan.sources.iter()),
        reach: Reach::Forward,
        claim: None,
        pace: None,
    };
    desk.api.only(BARS, Reply::json(r#"[{"symbol": "x", "price": 1.5}]"#).date(desk.clock.now()));
    let report = runner.execute(&order, &|_| {}).await.unwrap();
    assert_eq!(report.sources[0].state.as_str(), "published");
    assert_eq!(desk.api.requests().len(), 4);
    runner.close().await;
}

async fn an_unscheduled_closing_is_a_line_in_a_file(kind: Kind) {
    let desk = Desk::new(kind, "calendars/own.toml").await;
    let plan = desk.plan();
    let runner = desk.runner(&plan);
    desk.clock.set(eight(date(2026, 11, 23)));
    let mut scheduler = open(&plan, &runner, &desk).await;
    let mut found = Vec::new();
    for day in 24..=30 {
        found.push(morning(&mut scheduler, &desk, date(2026, 11, day)).await);
    }
    // Tuesday the 24th is closed by the file, Thursday by the exchange; Friday is a half day.
    assert_eq!(
        found,
        [
            "2026-11-24 2026-11-23 published",
            "2026-11-25 2026-11-23 skipped",
            "2026-11-26 2026-11-25 published",
            "2026-11-27 2026-11-25 skipped",
            "2026-11-28 2026-11-27 published",
            "2026-11-29 2026-11-27 skipped",
            "2026-11-30 2026-11-27 skipped",
        ]
    );
    let reader = desk.reader(&runner).await;
    let states = desk.states(&plan, &reader, date(2026, 11, 23), date(2026, 11, 30)).await;
    assert_eq!(
        states,
        [
            "2026-11-23 published",
            "2026-11-24 holiday",
            "2026-11-25 published",
            "2026-11-26 holiday",
            "2026-11-27 published",
            "2026-11-28 holiday",
            "2026-11-29 holiday",
            "2026-11-30 expected",
        ]
    );
    runner.close().await;
}

async fn a_scheduler_that_stopped_leaves_late_and_missing_days(kind: Kind) {
    let desk = Desk::new(kind, "nyse").await;
    let plan = desk.plan();
    let runner = desk.runner(&plan);
    desk.clock.set(eight(date(2026, 11, 23)));
    let mut scheduler = open(&plan, &runner, &desk).await;
    morning(&mut scheduler, &desk, date(2026, 11, 24)).await;
    let reader = desk.reader(&runner).await;
    let at = |day: Date, hour, minute| {
        let at = day.at(hour, minute, 0, 0).in_tz("America/New_York").unwrap();
        desk.clock.set(at.timestamp());
    };
    let (monday, friday) = (date(2026, 11, 23), date(2026, 11, 27));
    // Nobody takes a turn any more.
    at(date(2026, 11, 25), 9, 29);
    let states = desk.states(&plan, &reader, monday, date(2026, 11, 25)).await;
    assert_eq!(states, ["2026-11-23 published", "2026-11-24 expected", "2026-11-25 expected"]);
    at(date(2026, 11, 25), 9, 30);
    let states = desk.states(&plan, &reader, monday, date(2026, 11, 25)).await;
    assert_eq!(states, ["2026-11-23 published", "2026-11-24 late", "2026-11-25 expected"]);
    at(friday, 12, 0);
    let states = desk.states(&plan, &reader, monday, friday).await;
    assert_eq!(
        states,
        [
            "2026-11-23 published",
            "2026-11-24 missing",
            "2026-11-25 missing",
            "2026-11-26 holiday",
            "2026-11-27 expected",
        ]
    );
    // Left out by a person, it is nobody's any more.
    let warehouse = runner.warehouse().await.unwrap();
    let mut session = warehouse.session("test").await.unwrap();
    let source_id = &plan.sources[0].id;
    let skip = ledger::Skip {
        source_id,
        data_date: date(2026, 11, 24),
        entity: None,
        kind: ledger::SkipKind::Discarded,
        by_whom: Some("somebody"),
        reason: "the API was down all day",
    };
    ledger::skip_day(session.client(), &skip, desk.clock.now()).await.unwrap();
    drop(session);
    let days = reader.days(&plan, monday, friday).await.unwrap();
    let left_out = &days[0].days[1];
    assert_eq!(left_out.state, DayState::Skipped);
    assert_eq!(left_out.reason.as_deref(), Some("the API was down all day"));
    runner.close().await;
}

async fn a_publish_that_fails_as_a_whole_tells_every_source(kind: Kind) {
    let desk = Desk::new(kind, "nyse").await;
    desk.write("sources/wrong.toml", &desk.source("wrong", "nyse"));
    desk.api.only("/wrong", Reply::json("{}").status(404));
    let plan = desk.plan();
    let runner = desk.runner(&plan);
    desk.clock.set(eight(date(2026, 11, 23)));
    let mut scheduler = open(&plan, &runner, &desk).await;
    // The database refuses every publish.
    let warehouse = runner.warehouse().await.unwrap();
    let mut session = warehouse.session("test").await.unwrap();
    session.client().batch_execute(REFUSED).await.unwrap();
    drop(session);
    desk.clock.set(eight(date(2026, 11, 24)));
    for path in [BARS, "/wrong"] {
        let status = if path == BARS { 200 } else { 404 };
        let body = r#"[{"symbol": "x", "price": 1.5}]"#;
        desk.api.only(path, Reply::json(body).status(status).date(desk.clock.now()));
    }
    assert!(turn(&mut scheduler).await.is_none());
    assert!(turn(&mut scheduler).await.is_none(), "it is tried again, and not at once");
    let reader = desk.reader(&runner).await;
    let monday = date(2026, 11, 23);
    let days = reader.days(&plan, monday, monday).await.unwrap();
    let told: Vec<String> = days
        .iter()
        .map(|source| {
            let day = &source.days[0];
            let reason = day.reason.as_deref().unwrap_or_default();
            format!("{} {} {}", source.source, day.state, &reason[..reason.len().min(14)])
        })
        .collect();
    assert_eq!(told, ["bars failed not published:", "wrong failed HTTP 404 Not F"]);
    let runs = reader.runs(RunFilter { failed: true, last: 1 }).await.unwrap();
    assert_eq!(runs[0].outcome.as_deref(), Some("failed"));
    let detail = reader.run(runs[0].id).await.unwrap().unwrap();
    let steps: Vec<String> = detail
        .steps
        .iter()
        .map(|step| {
            format!("{} {} {}", step.source, step.stage, step.outcome.as_deref().unwrap_or("-"))
        })
        .collect();
    assert_eq!(steps, ["bars ingest fetched", "bars publish failed", "wrong ingest refused"]);
    assert!(detail.log.iter().any(|line| line.level == "error"), "{:?}", detail.log);

    // What stood in the way is taken away: the fire is due again and does not ask the API again.
    let mut session = warehouse.session("test").await.unwrap();
    session.client().batch_execute(TAKEN).await.unwrap();
    drop(session);
    let asked = desk.api.requests().len();
    desk.clock.set(desk.clock.now() + FIRST_AGAIN);
    let report = turn(&mut scheduler).await.expect("the fire is due again");
    assert_eq!(report.sources[0].state.as_str(), "published");
    assert_eq!(desk.api.requests().len(), asked + 1, "only the refused one is asked again");
    runner.close().await;
}

/// What is noted of the days that failed.
async fn failed_days(runner: &Runner) -> Vec<String> {
    let mut session = runner.warehouse().await.unwrap().session("test").await.unwrap();
    let days = daymark_warehouse::retries::failed_days(&mut session).await.unwrap();
    let because = |day: &daymark_warehouse::retries::FailedDay| {
        day.dead_because.clone().map(|because| format!(": {because}")).unwrap_or_default()
    };
    days.iter()
        .map(|day| format!("{} {} {}{}", day.date, day.state, day.attempts, because(day)))
        .collect()
}

/// What people are told about a day, after one more look at the clock.
async fn told_of(desk: &Desk, runner: &Runner, plan: &Plan, day: &str) -> Vec<String> {
    let mut session = runner.warehouse().await.unwrap().session("test").await.unwrap();
    daymark_warehouse::alerts::look(&mut session, plan, desk.clock.now()).await.unwrap();
    let said =
        "select case action when 'trigger' then '' else action || ' ' end || alert_outbox.event
                from daymark.alert_outbox join daymark.alert using (alert_id)
                where source_id = 'bars' and data_date = $1::text::date order by message_id";
    let rows = session.client().query(said, &[&day]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn a_day_that_failed_is_tried_again_until_it_is_given_up(kind: Kind) {
    let desk = Desk::new(kind, "daily").await;
    // It is told the day, and so it can be tried whatever day it is.
    let text = std::fs::read_to_string(desk.folder.path().join("sources/bars.toml")).unwrap();
    let text = text
        .replace("[request]", "[days]\nattempts = 3\nbackoff = \"10min\"\n[request]")
        .replace("[retry]", "query = { day = \"{{ data_date }}\" }\n[retry]");
    desk.write("sources/bars.toml", &text);
    let plan = desk.plan();
    let runner = desk.runner(&plan);
    desk.clock.set(eight(date(2026, 11, 23)));
    let mut scheduler = open(&plan, &runner, &desk).await;
    // A 200 that is not what it should be counts as well.
    desk.api.only(BARS, Reply::json(r#"{"error": "maintenance"}"#));
    desk.clock.set(eight(date(2026, 11, 24)));
    assert!(turn(&mut scheduler).await.is_some());
    assert_eq!(failed_days(&runner).await, ["2026-11-23 open 1"]);
    let pass = |minutes| desk.clock.set(desk.clock.now() + SignedDuration::from_mins(minutes));
    pass(9);
    assert!(turn(&mut scheduler).await.is_none(), "not yet");
    pass(1);
    let step = scheduler.step(false).await.unwrap();
    assert_eq!(step.started.len(), 1);
    assert!(scheduler.step(false).await.unwrap().started.is_empty(), "it is claimed");
    // The process dies with it. Another takes over, and tries it once more: nothing was counted.
    drop((step, scheduler));
    let runner = desk.runner(&plan);
    let mut scheduler = Scheduler::new(Arc::clone(&plan), Arc::clone(&runner), desk.clock.clone());
    desk.clock.set(desk.clock.now() + SignedDuration::from_mins(1));
    assert!(turn(&mut scheduler).await.is_some());
    assert_eq!(failed_days(&runner).await, ["2026-11-23 open 2"]);
    let next = scheduler.step(false).await.unwrap().next.unwrap();
    assert_eq!(next, desk.clock.now() + SignedDuration::from_mins(20), "twice as long");
    desk.clock.set(next);
    assert!(turn(&mut scheduler).await.is_some());
    assert!(turn(&mut scheduler).await.is_none());
    assert_eq!(
        failed_days(&runner).await,
        ["2026-11-23 dead 3: it was tried 3 times, as often as `days.attempts` says"]
    );
    assert_eq!(desk.api.requests().len(), 3);
    // People are told, and looking again tells nothing new.
    assert_eq!(told_of(&desk, &runner, &plan, "2026-11-23").await, ["run_failed", "given_up"]);
    let reader = desk.reader(&runner).await;
    let figures = reader.figures(&plan, None).await.unwrap();
    assert_eq!(figures.days_given_up.get(&["bars".to_owned()]), Some(&1));

    // The next day fails once, and its second try is published.
    desk.clock.set(eight(date(2026, 11, 25)));
    assert!(turn(&mut scheduler).await.is_some());
    desk.api.only(BARS, Reply::json(r#"[{"symbol": "x", "price": 1.5}]"#));
    pass(10);
    let report = turn(&mut scheduler).await.expect("it is tried again");
    assert_eq!(report.sources[0].state.as_str(), "published");
    assert_eq!(failed_days(&runner).await.len(), 1);
    let runs = reader.runs(RunFilter { failed: false, last: 10 }).await.unwrap();
    assert_eq!((runs[0].kind.as_str(), runs[0].outcome.as_deref()), ("retry", Some("succeeded")));

    // A person publishes the one that was given up.
    let day = (plan.sources[0].id.clone(), date(2026, 11, 23));
    let order = Order {
        kind: RunKind::Manual,
        scheduled_at: None,
        days: vec![day],
        reach: Reach::ByDay,
        claim: None,
        pace: None,
    };
    runner.execute(&order, &|_| {}).await.unwrap();
    assert!(failed_days(&runner).await.is_empty());
    let told = told_of(&desk, &runner, &plan, "2026-11-23").await;
    assert_eq!(told, ["run_failed", "given_up", "resolve given_up"]);
    let figures = reader.figures(&plan, Some(&figures)).await.unwrap();
    assert!(figures.days_given_up.is_empty());
    runner.close().await;
}

async fn a_day_of_now_is_tried_only_while_it_is_due(kind: Kind) {
    let desk = Desk::new(kind, "nyse").await;
    let text = std::fs::read_to_string(desk.folder.path().join("sources/bars.toml")).unwrap();
    let days = "[days]\nattempts = 9\nbackoff = \"13h\"\nmax_age = \"30d\"\n[request]";
    desk.write("sources/bars.toml", &text.replace("[request]", days));
    let plan = desk.plan();
    let runner = desk.runner(&plan);
    desk.clock.set(eight(date(2026, 11, 23)));
    let mut scheduler = open(&plan, &runner, &desk).await;
    desk.api.only(BARS, Reply::json("{}").status(404));
    desk.clock.set(eight(date(2026, 11, 24)));
    assert!(turn(&mut scheduler).await.is_some());
    // 13 hours later Tuesday's session is closed: what the API says then is not Monday's word.
    assert!(turn(&mut scheduler).await.is_none());
    assert_eq!(
        failed_days(&runner).await,
        [
            "2026-11-23 dead 1: its API answers as of now, and 2026-11-23 is not the day that is due at the next \
          try"
        ]
    );
    // A person leaves it out.
    let warehouse = runner.warehouse().await.unwrap();
    let mut session = warehouse.session("test").await.unwrap();
    let (source_id, monday) = (&plan.sources[0].id, date(2026, 11, 23));
    let (now, why) = (desk.clock.now(), "discarded by somebody: the API was moved");
    let gone =
        retries::discard(&mut session, source_id, monday, "somebody", why, now).await.unwrap();
    let again =
        retries::discard(&mut session, source_id, monday, "somebody", why, now).await.unwrap();
    drop(session);
    assert!(gone && !again);
    let reader = desk.reader(&runner).await;
    let days = reader.days(&plan, monday, monday).await.unwrap();
    let day = &days[0].days[0];
    assert_eq!((day.state, day.reason.as_deref()), (DayState::Skipped, Some(why)));
    runner.close().await;
}

/// The rows of what is kept for good, as text.
async fn record(session: &mut Session) -> BTreeSet<String> {
    let mut rows = BTreeSet::new();
    for table in [
        "day",
        "publish",
        "publish_table",
        "fetch",
        "step",
        "fire",
        "skip",
        "restatement",
        "check_result",
        "alert_mute",
    ] {
        let all = format!("select '{table} ' || kept::text from daymark.{table} as kept");
        rows.extend(
            session
                .client()
                .query(&all, &[])
                .await
                .unwrap()
                .iter()
                .map(|row| row.get::<_, String>(0)),
        );
    }
    rows
}

/// How many rows there are of what is not: requests, lines of logs, alerts, their news and their messages.
async fn logs(session: &mut Session) -> [i64; 5] {
    let counts = "select (select count(*) from daymark.attempt), (select count(*) from daymark.run_log),
                         (select count(*) from daymark.alert), (select count(*) from daymark.alert_outbox),
                         (select count(*) from daymark.alert_delivery)";
    let row = session.client().query_one(counts, &[]).await.unwrap();
    std::array::from_fn(|index| row.get(index))
}

async fn old_logs_go_and_the_record_stays(kind: Kind) {
    let desk = Desk::new(kind, "daily").await;
    let text = std::fs::read_to_string(desk.folder.path().join("daymark.toml")).unwrap();
    let more = "[ledger]\nkeep_logs = \"30d\"\n[[alerts]]\nname = \"log\"\ntype = \"log\"\n";
    desk.write("daymark.toml", &format!("{text}{more}"));
    let plan = desk.plan();
    let runner = desk.runner(&plan);
    desk.clock.set(eight(date(2026, 11, 1)));
    let mut scheduler = open(&plan, &runner, &desk).await;
    // A day that failed, then more good ones than a batch has room for.
    desk.api.only(BARS, Reply::json("{}").status(404));
    desk.clock.set(eight(date(2026, 11, 2)));
    assert!(turn(&mut scheduler).await.is_some());
    for day in 3..=25 {
        morning(&mut scheduler, &desk, date(2026, 11, day)).await;
    }
    let warehouse = runner.warehouse().await.unwrap();
    let change = async |sql: &str| {
        let mut session = warehouse.session("test").await.unwrap();
        session.client().batch_execute(sql).await.unwrap();
    };
    // What is open stays, whatever its age.
    change(
        "insert into daymark.alert (key, event, reason, opened_at)
         values ('check:price:old', 'check_warned', 'so', '2026-11-01T00:00:00Z')",
    )
    .await;
    crate::alerts::look_and_deliver(&plan, &runner, &desk.clock).await.unwrap();
    change("update daymark.alert set resolved_at = opened_at where key like 'day:%'").await;
    let mut session = warehouse.session("test").await.unwrap();
    let (before, kept) = (logs(&mut session).await, record(&mut session).await);
    drop(session);
    // The day, which failed and was given up, the check, and a scheduler that is not of the machine's time.
    assert!(before[0] == 24 && before[1] >= 24 && before[2..] == [3, 3, 4], "{before:?}");
    assert!(turn(&mut scheduler).await.is_none());
    let mut session = warehouse.session("test").await.unwrap();
    assert_eq!(logs(&mut session).await, before, "nothing is too old");
    drop(session);

    // An hour before the last of them is 30 days old.
    desk.clock.set(eight(date(2026, 12, 25)) - SignedDuration::from_hours(1));
    desk.api.only(BARS, Reply::json(r#"[{"symbol": "x", "price": 1.5}]"#).date(desk.clock.now()));
    assert!(turn(&mut scheduler).await.is_some(), "a fire is made up for");
    let mut left = Vec::new();
    for _ in 0..3 {
        assert!(turn(&mut scheduler).await.is_none());
        let mut session = warehouse.session("test").await.unwrap();
        left.push(logs(&mut session).await);
    }
    let requests: Vec<i64> = left.iter().map(|left| left[0]).collect();
    assert_eq!(requests, [5, 2, 2], "twenty runs at a time: {left:?}");
    assert!(left[2][1] < before[1] && left[2][2..] == [2, 1, 2], "{left:?}");
    let mut session = warehouse.session("test").await.unwrap();
    let now_kept = record(&mut session).await;
    drop(session);
    assert!(kept.is_subset(&now_kept), "{:?}", kept.difference(&now_kept).collect::<Vec<_>>());
    let reader = desk.reader(&runner).await;
    let runs = reader.runs(RunFilter { failed: false, last: 100 }).await.unwrap();
    assert_eq!(runs.len(), 25);
    let told: Vec<bool> = runs.iter().map(|run| run.logs_removed_at.is_some()).collect();
    assert_eq!(told.iter().position(|removed| *removed), Some(2), "{told:?}");
    runner.close().await;
}
