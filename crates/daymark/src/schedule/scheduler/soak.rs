//! Three years of mornings: five sources, two processes, and everything that can go wrong, by a clock set by hand
//! on a real PostgreSQL. In the end each day that was owed is published, once, or the ledger says why it is not.
//!
//! `DAYMARK_SOAK_DAYS` and `DAYMARK_SOAK_SEED` set how long and which dice; `make soak` runs all of it. What dice
//! decide is the same for the same seed, but for the instant in which a process dies in the middle of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use daymark_ingest::RawStore;
use daymark_plan::{Clock, DayState, Environment, Expected, Plan, load};
use daymark_testkit::database::{Kind, TestDatabase};
use daymark_testkit::on_both_databases;
use daymark_testkit::rest::{Reply, RestServer};
use daymark_warehouse::Reader;
use jiff::civil::{Date, date};
use jiff::{SignedDuration, Timestamp, ToSpan};
use tempfile::TempDir;

use super::*;

on_both_databases! {
    every_day_is_published_once_or_has_its_reason;
}

/// So many days of mornings, on a server and on the embedded database, when nothing else is said: 2024 to 2026 are
/// 1096. On the embedded one they are slow: processes take turns at its one session.
const DAYS: (u64, u64) = (120, 5);
/// The first morning.
const FIRST: Date = date(2024, 1, 1);
/// Has the database refuse every publish, and take it again.
const REFUSED: &str =
    "alter table daymark.publish add constraint never check (publish_id < 0) not valid";
const TAKEN: &str = "alter table daymark.publish drop constraint never";

/// The sources: a calendar and data-date rule, what becomes of missed fires, and what is asked.
const SOURCES: [(&str, &str, &str, &str); 5] = [
    ("plain", "", "all", "{ day = \"{{ data_date }}\" }"),
    (
        "market",
        "calendar = \"nyse\"\ndata_date = \"previous_session\"",
        "all",
        "{ day = \"{{ data_date }}\" }",
    ),
    (
        "weekday",
        "calendar = \"weekdays\"\ndata_date = \"run_day - 1d\"",
        "last",
        "{ day = \"{{ data_date }}\" }",
    ),
    ("of_now", "", "all", "{ now = \"1\" }"),
    ("cities", "", "none", "{ of = \"{{ entity.id }}\", day = \"{{ data_date }}\" }"),
];

#[expect(clippy::disallowed_methods, reason = "these variables are for this test only")]
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a whole number"))
}

/// Numbers that look random, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.roll(times) == 0
    }
}

/// The pipeline, and what is wrong with the world around it at the moment.
struct World {
    plan: Arc<Plan>,
    clock: Clock,
    api: RestServer,
    _database: TestDatabase,
    _folder: TempDir,
}

impl World {
    async fn new(kind: Kind) -> Self {
        let folder = TempDir::new().unwrap();
        let (api, database) = (RestServer::start().await, TestDatabase::new(kind).await);
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(
            "daymark.toml",
            &format!(
                "name = \"soak\"\ntime_zone = \"America/New_York\"\nschedule = \"cron(0 8 * * ? *)\"\n\
                 [database]\nurl = \"{}\"\n",
                database.url
            ),
        );
        for (id, days, missed, query) in SOURCES {
            let entities = if id == "cities" {
                "[[entity]]\nid = \"x\"\n[[entity]]\nid = \"y\"\n"
            } else {
                ""
            };
            write(
                &format!("sources/{id}.toml"),
                &format!(
                    "id = \"{id}\"\n{days}\n[schedule]\nexpression = \"cron(0 8 * * ? *)\"\nmissed = \"{missed}\"\n\
                     [days]\nattempts = 4\nbackoff = \"15min\"\nmax_age = \"12h\"\n\
                     [request]\nurl = \"{}\"\nquery = {query}\n[retry]\nattempts = 1\n{entities}\
                     [rows]\nlayout = \"records\"\n[rows.fields]\nn = {{ path = \"n\", type = \"integer\" }}\n",
                    api.url(&format!("/{id}"))
                ),
            );
            write(
                &format!("models/t_{id}.sql"),
                &format!(
                    "/* model\ntable = \"t_{id}\"\nkey = [\"day\", \"of\"]\n[columns]\nday = \"date not null\"\n\
                     of = \"text not null\"\nn = \"integer not null\"\n*/\nselect _fetch_id, _fetch_row, \
                     _data_date as day, coalesce(_entity, '') as of, n from raw_{id}\n"
                ),
            );
        }
        let plan = Arc::new(load(folder.path(), &Environment::default()).unwrap());
        let world = Self {
            plan,
            clock: Clock::manual(eight(FIRST)),
            api,
            _database: database,
            _folder: folder,
        };
        for (id, ..) in SOURCES {
            world.mend(id);
        }
        world
    }

    fn mend(&self, id: &str) {
        self.api.only(&format!("/{id}"), Reply::json(r#"[{"n": 1}]"#));
    }

    /// The API of a source is down, or lies, or is silent.
    fn break_api(&self, id: &str, how: u64) {
        let reply = match how {
            0 => Reply::json("{}").status(503),
            1 => Reply::json(r#"{"error": "maintenance"}"#),
            _ => Reply::close(),
        };
        self.api.only(&format!("/{id}"), reply);
    }

    fn process(&self) -> Process {
        let runner = Arc::new(Runner::new(Arc::clone(&self.plan), self.clock.clone()));
        let scheduler =
            Scheduler::new(Arc::clone(&self.plan), Arc::clone(&runner), self.clock.clone());
        Process { scheduler, runner, hangs_with: Vec::new(), hangs: false }
    }

    /// A runner that is not one of the two processes, to look and to break things with.
    fn bystander(&self) -> Runner {
        Runner::new(Arc::clone(&self.plan), self.clock.clone())
    }
}

/// Eight in New York.
fn eight(day: Date) -> Timestamp {
    day.at(8, 0, 0, 0).in_tz("America/New_York").unwrap().timestamp()
}

/// One of the two `daymark up`.
struct Process {
    scheduler: Scheduler,
    runner: Arc<Runner>,
    hangs_with: Vec<Scheduled>,
    hangs: bool,
}

impl Process {
    /// Does all that is due, as `daymark up` does in time. Now and then it hangs with what it claimed, or dies in
    /// the middle of a run: then it gives false.
    async fn live(&mut self, dice: &mut Dice, calm: bool) -> bool {
        if std::mem::take(&mut self.hangs) {
            for scheduled in self.hangs_with.drain(..) {
                // It comes back not knowing that time has passed. Whether it may still write is the fence's.
                let ended = self.scheduler.run(scheduled).await;
                self.scheduler.ended(&ended);
            }
        }
        loop {
            let step = match self.scheduler.step(false).await {
                Ok(step) => step,
                Err(error) => {
                    // A session that its successor has ended.
                    assert!(error.may_pass(), "{error:?}");
                    continue;
                }
            };
            if step.started.is_empty() {
                return true;
            }
            if !calm && dice.one_in(120) {
                (self.hangs, self.hangs_with) = (true, step.started);
                return true;
            }
            for scheduled in step.started {
                let run = self.scheduler.run(scheduled);
                if !calm && dice.one_in(80) {
                    let somewhere = std::time::Duration::from_millis(dice.roll(60));
                    if tokio::time::timeout(somewhere, run).await.is_err() {
                        return false;
                    }
                    return false;
                }
                // Of one that failed as a whole the ledger tells, and it is tried again.
                let ended = run.await;
                self.scheduler.ended(&ended);
            }
        }
    }
}

/// How many rows a query counts.
async fn count(runner: &Runner, query: &str) -> i64 {
    let mut session = runner.warehouse().await.unwrap().session("a test").await.unwrap();
    session.client().query_one(query, &[]).await.unwrap().get(0)
}

async fn execute(runner: &Runner, statement: &str) {
    let mut session = runner.warehouse().await.unwrap().session("a test").await.unwrap();
    session.client().batch_execute(statement).await.unwrap();
}

/// What is left to be done: fires and days that are tried again.
const OPEN: &str = "select (select count(*) from daymark.fire where state in ('due', 'claimed'))
                         + (select count(*) from daymark.retry where state <> 'dead')";

async fn every_day_is_published_once_or_has_its_reason(kind: Kind) {
    let days = match kind {
        Kind::Native => setting("DAYMARK_SOAK_DAYS", DAYS.0),
        Kind::Embedded => DAYS.1,
    };
    let seed = setting("DAYMARK_SOAK_SEED", 0x9e37_79b9_7f4a_7c15);
    crate::output::to_stderr(&format!("soak: {days} days, DAYMARK_SOAK_SEED={seed}\n"));
    let mut dice = Dice(seed.max(1));
    let world = World::new(kind).await;
    let bystander = world.bystander();
    let mut processes: Vec<Process> = vec![world.process()];
    // On the embedded database two processes of one machine would be two programs; here one takes over after
    // the other.
    let most = if kind == Kind::Native { 2 } else { 1 };
    assert!(processes[0].live(&mut dice, true).await);

    let mut broken: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut away, mut refused) = (0, false);
    for day in 1..=days {
        let day_of = FIRST.checked_add(i64::try_from(day).unwrap().days()).unwrap();
        // Outages of APIs begin, and end after some looks.
        for (id, ..) in SOURCES {
            if !broken.contains_key(id) && dice.one_in(25) {
                world.break_api(id, dice.roll(3));
                broken.insert(id, 1 + dice.roll(9));
            }
        }
        if away == 0 && dice.one_in(20) {
            // A machine that is off for some days.
            away = 2 + dice.roll(5);
            processes.clear();
        }
        away = u64::saturating_sub(away, 1);
        if away == 0 && dice.one_in(50) {
            refused = true;
            execute(&bystander, REFUSED).await;
        }
        world
            .clock
            .set(eight(day_of) + SignedDuration::from_secs(i64::try_from(dice.roll(50)).unwrap()));
        for look in 0..6 {
            if away > 0 {
                break;
            }
            if processes.len() == most && dice.one_in(40) {
                // Restarted: without giving the lease up, as when its machine loses power.
                let which = usize::from(most == 2 && dice.one_in(2));
                processes.remove(which);
            }
            while processes.len() < most {
                processes.push(world.process());
            }
            let mut alive = Vec::new();
            for mut process in processes.drain(..) {
                if process.live(&mut dice, false).await {
                    alive.push(process);
                }
            }
            // Whoever leads looks first, but for once in a while.
            alive.sort_by_key(|process| !process.scheduler.leads());
            if dice.one_in(30) {
                alive.reverse();
            }
            processes = alive;
            broken.retain(|id, looks| {
                *looks -= 1;
                if *looks == 0 {
                    world.mend(id);
                }
                *looks > 0
            });
            if refused && (look == 2 || dice.one_in(2)) {
                refused = false;
                execute(&bystander, TAKEN).await;
            }
            if look > 0 && count(&bystander, OPEN).await == 0 {
                break;
            }
            world.clock.set(world.clock.now() + SignedDuration::from_mins(31 << look.min(2)));
        }
    }
    // All is well in the end, and what is open comes to its end.
    if refused {
        execute(&bystander, TAKEN).await;
    }
    for (id, ..) in SOURCES {
        world.mend(id);
    }
    processes.truncate(1);
    let mut last = processes.pop().unwrap_or_else(|| world.process());
    for _ in 0..40 {
        assert!(last.live(&mut dice, true).await);
        if count(&bystander, OPEN).await == 0 {
            break;
        }
        world.clock.set(world.clock.now() + SignedDuration::from_mins(31));
    }
    assert_eq!(count(&bystander, OPEN).await, 0, "seed {seed}");
    let told = look_at_the_ledger(&world, &bystander, seed).await;
    crate::output::to_stderr(&format!("soak: {told:?}\n"));
    let came_to = |what: &str| told.get(what).copied().unwrap_or(0);
    let wanting = came_to("given up") + came_to("left out") + came_to("skipped fire");
    assert!(came_to("published") > wanting * 3, "seed {seed}: {told:?}");
    if days >= 120 {
        // It has met what it is about.
        for what in ["given up", "skipped fire", "left out", "retried", "takeovers"] {
            assert!(came_to(what) > 0, "seed {seed}: no {what}: {told:?}");
        }
    }
    last.runner.close().await;
    bystander.close().await;
}

/// Every day that was owed is published once, or has a reason. Gives how many days came to what.
async fn look_at_the_ledger(
    world: &World,
    runner: &Runner,
    seed: u64,
) -> BTreeMap<&'static str, u64> {
    let now = world.clock.now();
    let to = now.to_zoned(world.plan.settings.zone.clone()).date();
    let reader = Reader::new(runner.warehouse().await.unwrap().clone(), world.clock.clone());
    let sources = reader.days(&world.plan, FIRST, to).await.unwrap();
    let mut session = runner.warehouse().await.unwrap().session("a test").await.unwrap();
    let client = session.client();
    let mut told: BTreeMap<&'static str, u64> = BTreeMap::new();
    for source in &world.plan.sources {
        let id = source.id.as_str();
        let rules = world.plan.day_rules(source);
        let entities = source.entity_ids().len();
        // How often each day was published, by the steps, by the fetches, and by the rows readers see.
        let counted = async |query: String| -> BTreeMap<Date, i64> {
            let rows = client.query(&query, &[]).await.unwrap();
            rows.iter().map(|row| (row.get(0), row.get(1))).collect()
        };
        let steps = counted(format!(
            "select data_date, count(*) from daymark.step where source_id = '{id}' and stage = 'publish' \
             and outcome = 'published' group by 1"
        ))
        .await;
        let fetches = counted(format!(
            "select data_date, count(distinct coalesce(entity, '')) from daymark.fetch \
             where source_id = '{id}' and state = 'published' group by 1"
        ))
        .await;
        // Several fires may have one date. A later one asks again where the database was away, so that the answer
        // to the first was not published yet; but no fire's answer is published twice.
        let published = client
            .query(
                "select manifest_key from daymark.fetch where source_id = $1 and state = 'published'",
                &[&id],
            )
            .await
            .unwrap();
        let published: BTreeSet<String> = published.iter().map(|row| row.get(0)).collect();
        let store = RawStore::open(&world.plan.settings.raw).unwrap();
        let mut fires = BTreeSet::new();
        for stored in store.manifests(&source.id, None).await.unwrap() {
            let made = stored.manifest;
            let entity = made.entity.map(|entity| entity.to_string());
            assert!(
                !published.contains(&stored.key)
                    || fires.insert((made.data_date, entity, made.scheduled_at)),
                "seed {seed}: {id} {} was asked twice for {:?}",
                made.data_date,
                made.scheduled_at
            );
        }
        let rows = counted(format!("select day, count(*) from t_{id} group by 1")).await;
        let dates = async |query: &str| -> BTreeSet<Date> {
            let rows = client.query(query, &[&id]).await.unwrap();
            rows.iter().map(|row| row.get(0)).collect()
        };
        let dead = dates(
            "select data_date from daymark.retry where source_id = $1 and state = 'dead' \
             and length(reason) > 0 and length(dead_because) > 0",
        )
        .await;
        let left_out =
            dates("select data_date from daymark.skip where source_id = $1 and length(reason) > 0")
                .await;
        let fires = client
            .query(
                "select scheduled_at from daymark.fire where source_id = $1 and state = 'skipped' \
                 and length(reason) > 0",
                &[&id],
            )
            .await
            .unwrap();
        let skipped_fires: BTreeSet<Timestamp> = fires.iter().map(|row| row.get(0)).collect();
        let found = sources.iter().find(|found| found.source == source.id).unwrap();
        let states: BTreeMap<Date, (DayState, bool)> =
            found.days.iter().map(|day| (day.date, (day.state, day.reason.is_some()))).collect();

        let mut owed = BTreeSet::new();
        let mut day = FIRST.checked_sub(7.days()).unwrap();
        while day <= to {
            let expected = rules.expected(day);
            let fire = match expected {
                Expected::By { fire, .. } if fire > eight(FIRST) && fire <= now => fire,
                _ => {
                    day = day.tomorrow().unwrap();
                    continue;
                }
            };
            owed.insert(day);
            let parts = i64::try_from(entities).unwrap();
            let by = |counts: &BTreeMap<Date, i64>| counts.get(&day).copied().unwrap_or(0);
            let times = [by(&steps), by(&fetches), by(&rows)];
            assert!(
                times.iter().all(|count| *count <= parts),
                "seed {seed}: {id} {day} is published more than once: {times:?}"
            );
            let (state, has_reason) =
                states.get(&day).copied().unwrap_or((DayState::Expected, false));
            let what = if times == [parts; 3] {
                assert_eq!(state, DayState::Published, "seed {seed}: {id} {day}");
                "published"
            } else if dead.contains(&day) {
                assert_eq!(
                    (state, has_reason),
                    (DayState::Failed, true),
                    "seed {seed}: {id} {day}"
                );
                "given up"
            } else if left_out.contains(&day) {
                assert_eq!(
                    (state, has_reason),
                    (DayState::Skipped, true),
                    "seed {seed}: {id} {day}"
                );
                "left out"
            } else {
                // A later fire for the same day would have made up for it.
                assert!(
                    skipped_fires.contains(&fire),
                    "seed {seed}: {id} {day} is {state}, and nothing says why: {times:?}"
                );
                "skipped fire"
            };
            *told.entry(what).or_default() += 1;
            day = day.tomorrow().unwrap();
        }
        let known: BTreeSet<Date> = steps.keys().chain(rows.keys()).copied().collect();
        // The session before the first morning is still the last one on a holiday after it. Of a day without data
        // nobody asks.
        let is_beside = |date: &Date| match rules.expected(*date) {
            Expected::By { fire, .. } => fire <= eight(FIRST),
            Expected::NoData | Expected::Never => false,
        };
        let others: Vec<&Date> = known.difference(&owed).filter(|date| !is_beside(date)).collect();
        assert!(others.is_empty(), "seed {seed}: {id}: nobody asked for {others:?}");
    }
    let one = async |query: &str| -> u64 {
        let count: i64 = client.query_one(query, &[]).await.unwrap().get(0);
        u64::try_from(count).unwrap()
    };
    let retried =
        one("select count(*) from daymark.run where kind = 'retry' and outcome = 'succeeded'")
            .await;
    let takeovers = one("select epoch - 1 from daymark.lease").await;
    told.extend([("retried", retried), ("takeovers", takeovers)]);
    told
}
