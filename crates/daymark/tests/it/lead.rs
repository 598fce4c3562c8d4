//! Several `daymark up` on one database: one keeps the schedule, another takes over, nothing is lost or
//! doubled.

use daymark_testkit::database::Kind;
use daymark_testkit::on_both_databases;
use daymark_testkit::rest::{Gate, Reply};

use crate::up::get;
use crate::world::{GOOD_WEATHER, GOOD_WEATHER_ROWS, Running, WEATHER, WEATHER_ROWS, World};

on_both_databases! {
    a_killed_leader_is_succeeded_in_the_middle_of_its_run;
    a_leader_that_stops_gives_the_lease_up;
    a_paused_schedule_waits_until_it_is_resumed;
}

const LEADS: &str = "scheduler: this process keeps the schedule";
const STANDS_BY: &str = "keeps the schedule; this process stands by";
const TAKES_OVER: &str = "scheduler: this process takes the schedule over from process";

/// What became of the fires of the weather.
const FIRES: &str =
    "select state, claims, epoch, reason from daymark.fire where source_id = 'weather'";
/// How often the weather was published.
const PUBLISHES: &str =
    "select count(*) from daymark.publish_table where table_name = 'weather_daily'";

/// `daymark up` with the shortest lease.
fn up(world: &World) -> Running {
    let mut command = world.command(&["up", "--listen", "127.0.0.1:0"]);
    Running::start(command.env("DAYMARK_SCHEDULER_LEASE_SECONDS", "2"))
}

/// A pipeline whose schedule was kept before, and fired once since.
pub(crate) async fn one_fire_behind(world: &World) {
    let (mut first, _) = world.up_quietly().await;
    first.says(LEADS).await;
    first.stop().await;
    // It lies after what was decided so far, and nobody is there yet.
    #[expect(
        clippy::disallowed_methods,
        reason = "the program that is tried reads the machine's clock"
    )]
    let now = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(1);
    let second = now.in_tz("America/New_York").unwrap().strftime("%Y-%m-%dT%H:%M:%S").to_string();
    world.edit("daymark.toml", "cron(0 8 1 1 ? 2099)", &format!("at({second})"));
}

/// The same, with a leader in the middle of the run of that fire: the weather's answer waits for the gate.
async fn in_the_middle(world: &World) -> (Running, Gate) {
    one_fire_behind(world).await;
    let gate = Gate::closed();
    world.api.only(WEATHER, Reply::json(GOOD_WEATHER.body()).held_by(&gate));
    let mut leader = up(world);
    leader.says(TAKES_OVER).await;
    leader.reports("weather: fetching").await;
    (leader, gate)
}

async fn a_killed_leader_is_succeeded_in_the_middle_of_its_run(kind: Kind) {
    let world = World::answering(kind).await;
    let (leader, gate) = in_the_middle(&world).await;
    let mut other = up(&world);
    other.says(STANDS_BY).await;
    leader.kill().await;
    gate.open();
    other.says(TAKES_OVER).await;
    other.says(" weather ").await;

    assert_eq!(world.rows(FIRES).await, [r#"["done",2,3,null]"#]);
    assert_eq!(world.rows(PUBLISHES).await, ["[1]"]);
    assert_eq!(world.rows(WEATHER_ROWS).await, GOOD_WEATHER_ROWS);
    let status = world.daymark(&["status"]).await;
    assert!(status.stdout.contains("keeps the schedule since"), "{}", status.stdout);
    // It owes nothing more, and whoever comes next does not either.
    other.stop().await;
    let mut third = up(&world);
    third.says(TAKES_OVER).await;
    third.stop().await;
    assert_eq!(world.rows(FIRES).await, [r#"["done",2,3,null]"#]);
    let status = world.daymark(&["status"]).await;
    assert!(status.stdout.contains("scheduler: stopped since"), "{}", status.stdout);
}

/// A process that is stopped, taken for dead and goes on finds that it lost, and writes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_comes_back_writes_nothing() {
    let world = World::answering(Kind::Native).await;
    let (mut leader, gate) = in_the_middle(&world).await;
    let mut other = up(&world);
    other.says(STANDS_BY).await;
    leader.signal("STOP").await;
    gate.open();
    other.says(TAKES_OVER).await;
    other.says(" weather ").await;
    let ledger = "select (select count(*) from daymark.run) as runs, (select count(*) from daymark.step) as steps,
                         (select count(*) from daymark.publish) as publishes,
                         (select count(*) from daymark.fetch) as fetches,
                         (select sum(attempts) from daymark.day) as attempts,
                         (select sum(claims) from daymark.fire) as claims";
    let before = world.rows(ledger).await;
    assert_eq!(world.rows(FIRES).await, [r#"["done",2,3,null]"#]);

    leader.signal("CONT").await;
    leader.reports("gave no sign of life for too long").await;
    assert_eq!(world.rows(ledger).await, before);
    assert_eq!(world.rows(PUBLISHES).await, ["[1]"]);
    // It stands by like any other: it leads again when the other is gone.
    other.kill().await;
    leader.says(TAKES_OVER).await;
    leader.stop().await;
    assert_eq!(world.rows(ledger).await, before);
}

/// The embedded database stops with the process that serves it. Whoever waits for it ends that process.
#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_host_of_the_embedded_database_is_ended() {
    let world = World::answering(Kind::Embedded).await;
    let (leader, gate) = in_the_middle(&world).await;
    let mut other = up(&world);
    other.says(STANDS_BY).await;
    leader.signal("STOP").await;
    gate.open();
    other.reports("gave no sign of life: it was ended").await;
    other.says(TAKES_OVER).await;
    other.says(" weather ").await;
    assert_eq!(leader.end().await.code, None, "it was killed");
    assert_eq!(world.rows(FIRES).await, [r#"["done",2,3,null]"#]);
    assert_eq!(world.rows(PUBLISHES).await, ["[1]"]);
    other.stop().await;
}

async fn a_leader_that_stops_gives_the_lease_up(kind: Kind) {
    let world = World::answering(kind).await;
    let (mut leader, _) = world.up_quietly().await;
    leader.says(LEADS).await;
    let mut command = world.command(&["up", "--listen", "127.0.0.1:0"]);
    let mut other = Running::start(&mut command);
    let address = other.address().await;
    other.says(STANDS_BY).await;
    // By hand, beside both.
    assert_eq!(world.run("2026-03-02").await.code, 0);
    let (_, _, page) = get(&format!("{address}/ledger")).await;
    assert!(!page.contains("Scheduler stopped"), "{page}");
    leader.stop().await;
    // The lease is 15 seconds long here, and nobody waits for it.
    assert!(other.says(TAKES_OVER).await.contains("which gave it up at"));
    other.stop().await;
}

async fn a_paused_schedule_waits_until_it_is_resumed(kind: Kind) {
    let world = World::answering(kind).await;
    one_fire_behind(&world).await;
    let paused = world.daymark(&["pause", "weather", "--why", "the API moves"]).await;
    paused.expect_code(0);
    assert!(paused.stdout.contains("`weather` is paused since"), "{}", paused.stdout);
    let mut leader = up(&world);
    leader.address().await;
    leader.says(" sp500 ").await;
    assert!(world.rows(FIRES).await.is_empty());
    let status = world.daymark(&["status"]).await;
    let told = "until `daymark resume`: the API moves";
    assert!(status.stdout.contains(told), "{}", status.stdout);

    let resumed = world.daymark(&["resume", "weather"]).await;
    assert_eq!(resumed.stdout, "`weather` is resumed\n");
    leader.says(" weather ").await;
    assert_eq!(world.rows(FIRES).await, [r#"["done",1,2,null]"#]);
    let again = world.daymark(&["resume", "weather"]).await;
    assert_eq!(again.stdout, "`weather` is not paused\n");
    leader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_makes_no_sense_is_refused() {
    let world = World::new(Kind::Embedded).await;
    for (arguments, said) in [
        (["pause", "wether"].as_slice(), "the pipeline has no source `wether`"),
        (&["pause", "--until", "tomorrow"], "`--until` is `tomorrow`"),
        (&["pause", "--until", "2020-01-01"], "has passed"),
    ] {
        let done = world.daymark(arguments).await;
        assert_eq!(done.code, Some(2), "{done:?}");
        assert!(done.stderr.contains(said), "{done:?}");
    }
}
