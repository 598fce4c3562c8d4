//! Two schedulers on one database, a clock that is set by hand, and everything that can happen to a process:
//! it is away, it crashes in the middle of a run, it hangs and comes back after another took over.

use std::sync::Arc;

use daymark_plan::{Clock, Environment, Plan, load};
use daymark_testkit::database::{Kind, TestDatabase};
use daymark_testkit::rest::{Reply, RestServer};
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use super::*;

/// A pipeline of two sources on a database: `a` fires at eight every day, `b` every twelve hours.
struct World {
    plan: Arc<Plan>,
    clock: Clock,
    client: tokio_postgres::Client,
    _api: RestServer,
    _database: TestDatabase,
    _folder: TempDir,
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

impl World {
    async fn new(missed: &str, overlap: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let api = RestServer::start().await;
        let database = TestDatabase::new(Kind::Native).await;
        let source = |id: &str, expression: &str| {
            api.only(&format!("/{id}"), Reply::json(r#"[{"n": 1}]"#));
            format!(
                "id = \"{id}\"\n[schedule]\nexpression = \"{expression}\"\nmissed = \"{missed}\"\n\
                 overlap = \"{overlap}\"\n[request]\nurl = \"{}\"\nquery = {{ day = \"{{{{ data_date }}}}\" }}\n\
                 [retry]\nbase_seconds = 0.001\n[rows]\nlayout = \"records\"\n[rows.fields]\n\
                 n = {{ path = \"n\", type = \"integer\" }}\n",
                api.url(&format!("/{id}"))
            )
        };
        let model = |id: &str| {
            format!(
                "/* model\ntable = \"t_{id}\"\nkey = [\"day\"]\n[columns]\nday = \"date not null\"\n\
                 n = \"integer not null\"\n*/\nselect _fetch_id, _fetch_row, _data_date as day, n from raw_{id}\n"
            )
        };
        for name in ["sources", "models"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        for (name, text) in [
            (
                "daymark.toml",
                format!(
                    "name = \"p\"\ntime_zone = \"America/New_York\"\nschedule = \"cron(0 8 * * ? *)\"\n\
                     [database]\nurl = \"{}\"\n",
                    database.url
                ),
            ),
            ("sources/a.toml", source("a", "cron(0 8 * * ? *)")),
            ("sources/b.toml", source("b", "rate(12 hours)")),
            ("models/t_a.sql", model("a")),
            ("models/t_b.sql", model("b")),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let plan = Arc::new(load(folder.path(), &Environment::default()).unwrap());
        let connecting = tokio_postgres::connect(&database.url, tokio_postgres::NoTls);
        let (client, connection) = connecting.await.unwrap();
        tokio::spawn(connection);
        let clock = Clock::manual(at("2026-03-01T00:00:00Z"));
        Self { plan, clock, client, _api: api, _database: database, _folder: folder }
    }

    fn scheduler(&self) -> Scheduler {
        let runner = Runner::new(Arc::clone(&self.plan), self.clock.clone());
        Scheduler::new(Arc::clone(&self.plan), Arc::new(runner), self.clock.clone())
    }

    fn pass(&self, length: SignedDuration) {
        self.clock.set(self.clock.now() + length);
    }

    async fn count(&self, query: &str) -> i64 {
        self.client.query_one(query, &[]).await.unwrap().get(0)
    }
}

impl Scheduler {
    /// A step, after as many as find a session that a successor has ended.
    async fn look_again(&mut self) -> Step {
        loop {
            match self.step(false).await {
                Ok(step) => return step,
                Err(error) => assert!(error.may_pass(), "{error:?}"),
            }
        }
    }

    /// The same for the sessions of runs.
    async fn connect(&self) {
        let warehouse = self.runner.warehouse().await.unwrap();
        loop {
            let mut session = warehouse.session("a test").await.unwrap();
            if session.client().batch_execute("select 1").await.is_ok() {
                return;
            }
        }
    }

    /// Does all that is due by the clock, as `daymark up` would in time.
    async fn settle(&mut self) {
        loop {
            let step = self.look_again().await;
            if step.started.is_empty() {
                return;
            }
            for scheduled in step.started {
                self.finish(scheduled).await.unwrap();
            }
        }
    }

    async fn finish(&mut self, scheduled: Scheduled) -> Result<RunReport, Failure> {
        let ended = self.run(scheduled).await;
        self.ended(&ended);
        ended.result
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_leads_and_the_other_takes_over_when_it_gives_no_sign_of_life() {
    let world = World::new("last", "queue").await;
    let (mut a, mut b) = (world.scheduler(), world.scheduler());
    assert!(matches!(a.look_again().await.turn, Some(Turn::Leads(None))));
    assert!(matches!(b.look_again().await.turn, Some(Turn::Follows(_))));
    world.pass(SignedDuration::from_secs(14));
    assert!(b.look_again().await.turn.is_none() && !b.leads());
    // A sign of life, and the lease begins anew.
    a.look_again().await;
    world.pass(SignedDuration::from_secs(14));
    b.look_again().await;
    assert!(!b.leads());
    world.pass(SignedDuration::from_secs(1));
    assert!(matches!(b.look_again().await.turn, Some(Turn::Leads(Some(_)))));
    assert!(matches!(a.look_again().await.turn, Some(Turn::Lost(_))));
    assert_eq!(world.count("select epoch from daymark.lease").await, 2);
    b.give_up().await.unwrap();
    assert!(matches!(a.look_again().await.turn, Some(Turn::Leads(Some(_)))));
}

/// What a leader claimed and did not run is run by its successor; the leader that comes back with it is told
/// off, and leaves no trace.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_taken_over_writes_nothing() {
    let world = World::new("all", "queue").await;
    let (mut a, mut b) = (world.scheduler(), world.scheduler());
    a.settle().await;
    world.pass(SignedDuration::from_mins(750));
    let mut held = a.look_again().await.started;
    let claimed = "select count(*) from daymark.fire where state = 'claimed'";
    assert!(held.len() == 1 && world.count(claimed).await == 1, "{held:?}");
    world.pass(SignedDuration::from_secs(20));
    b.settle().await;
    assert_eq!(
        world.count("select count(*) from daymark.fire where state = 'done' and epoch = 2").await,
        1
    );

    let written = "select (select count(*) from daymark.run) * 1000000 + (select count(*) from daymark.step) * 1000
                   + (select count(*) from daymark.publish) * 100 + (select sum(attempts) from daymark.day)";
    let before = world.count(written).await;
    a.connect().await;
    let failure = a.finish(held.remove(0)).await.unwrap_err();
    assert!(failure.is_lease_lost(), "{failure:?}");
    assert_eq!(world.count(written).await, before);
}

/// A run that was opened and then taken over in the middle publishes nothing, whatever it has fetched.
#[tokio::test(flavor = "multi_thread")]
async fn a_publish_of_an_earlier_epoch_is_rolled_back() {
    let world = World::new("all", "queue").await;
    let mut a = world.scheduler();
    a.settle().await;
    world.pass(SignedDuration::from_mins(750));
    let held = a.look_again().await.started.remove(0);
    // Just as it is about to commit, another takes over.
    world
        .client
        .batch_execute(
            "create function take_over() returns trigger language plpgsql as $$ begin
                 update daymark.lease set epoch = epoch + 1; return null; end $$;
             create trigger take_over after insert on daymark.fetch
             for each statement execute function take_over()",
        )
        .await
        .unwrap();
    let failure = a.finish(held).await.unwrap_err();
    assert!(failure.is_lease_lost(), "{failure:?}");
    assert_eq!(world.count("select count(*) from daymark.publish").await, 0);
    assert_eq!(world.count("select count(*) from t_b").await, 0);
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
}

/// A process, while it lives, and the runs it holds while it hangs.
#[derive(Default)]
struct Process {
    scheduler: Option<Scheduler>,
    hangs_with: Vec<Scheduled>,
}

impl Process {
    /// Lets a process live for a moment, or come to something.
    async fn live(&mut self, world: &World, dice: &mut Dice) {
        let fate = dice.roll(10);
        if fate == 0 {
            self.scheduler = None;
            self.hangs_with.clear();
            return;
        }
        if fate == 1 {
            return;
        }
        let scheduler = self.scheduler.get_or_insert_with(|| world.scheduler());
        // It goes on where it hung, not knowing that time has passed.
        for scheduled in self.hangs_with.drain(..) {
            // What it writes then is what the ledger is looked at for.
            scheduler.finish(scheduled).await.ok();
        }
        let started = scheduler.look_again().await.started;
        if fate == 2 {
            self.hangs_with = started;
            return;
        }
        for scheduled in started {
            if dice.roll(4) == 0 {
                let somewhere = std::time::Duration::from_millis(dice.roll(60));
                // Whether it came to its end or not, the process dies.
                tokio::time::timeout(somewhere, scheduler.run(scheduled)).await.ok();
                self.scheduler = None;
                return;
            }
            // A session that its successor had ended may be met once more.
            scheduler.finish(scheduled).await.ok();
        }
    }
}

async fn no_fire_is_lost_or_doubled(missed: &str, overlap: &str, seed: u64) {
    let world = World::new(missed, overlap).await;
    let mut dice = Dice(seed);
    let start = world.clock.now();
    world.scheduler().settle().await;
    let mut processes = [Process::default(), Process::default()];
    for _ in 0..60 {
        let length = match dice.roll(6) {
            0..3 => SignedDuration::from_secs(10),
            3 => SignedDuration::from_hours(6),
            4 => SignedDuration::from_hours(12),
            _ => SignedDuration::from_mins(i64::try_from(dice.roll(6000)).unwrap()),
        };
        world.pass(length);
        for process in &mut processes {
            process.live(&world, &mut dice).await;
        }
    }
    drop(processes);
    // Somebody lives on in the end. What failed as a whole is tried again after a while.
    let mut last = world.scheduler();
    let open = "select count(*) from daymark.fire where state in ('due', 'claimed')";
    for _ in 0..30 {
        world.pass(SignedDuration::from_mins(31));
        last.settle().await;
        if world.count(open).await == 0 {
            break;
        }
    }
    assert_eq!(world.count(open).await, 0, "seed {seed}");

    let now = world.clock.now();
    for source in &world.plan.sources {
        let id = source.id.as_str();
        let expected: Vec<Timestamp> =
            world.plan.schedule_of(source).fires_between(start, now).collect();
        let rows = world
            .client
            .query(
                "select scheduled_at, state, reason, missed from daymark.fire
                 where source_id = $1 order by 1",
                &[&id],
            )
            .await
            .unwrap();
        let found: Vec<Timestamp> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(found, expected, "seed {seed}: {id}");
        for row in &rows {
            let (state, reason): (&str, Option<&str>) = (row.get(1), row.get(2));
            assert!(["done", "no_op", "skipped"].contains(&state), "seed {seed}: {row:?}");
            // Nothing is left out without its reason, and with `all` nothing is left out.
            assert_eq!(reason.is_some(), state != "done", "seed {seed}: {row:?}");
            assert!(
                missed != "all" || overlap == "skip" || state != "skipped",
                "seed {seed}: {row:?}"
            );
            assert!(
                row.get::<_, bool>(3) || overlap == "skip" || state != "skipped",
                "seed {seed}: {row:?}"
            );
        }
        // Each day of a fire that was not left out is published, and by one publish only.
        let days = "select count(distinct (scheduled_at at time zone 'America/New_York')::date) from daymark.fire
                    where state <> 'skipped' and source_id = ";
        let days = world.count(&format!("{days}'{id}'")).await;
        // A source that never ran has no table yet.
        if days > 0 {
            let rows = world.count(&format!("select count(*) from t_{id}")).await;
            assert_eq!(rows, days, "seed {seed}");
        }
        let twice =
            "select count(*) from (select data_date from daymark.step where outcome = 'published'
                     and source_id = '$' and stage = 'publish' group by data_date having count(*) > 1) as twice";
        assert_eq!(world.count(&twice.replace('$', id)).await, 0, "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_each_fire_has_its_end_with_all() {
    no_fire_is_lost_or_doubled("all", "queue", 0x9e37_79b9_7f4a_7c15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_each_fire_has_its_end_with_last() {
    no_fire_is_lost_or_doubled("last", "queue", 0x0dd0_1234_5678_9abc).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_each_fire_has_its_end_with_none() {
    no_fire_is_lost_or_doubled("none", "skip", 0x1357_9bdf_0246_8ace).await;
}
