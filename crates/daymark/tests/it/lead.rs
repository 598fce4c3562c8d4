//! Several `daymark up` on one database: one keeps the schedule, another takes over, nothing is lost or
//! doubled.

use daymark_testkit::database::Kind;
use daymark_testkit::on_both_databases;
use daymark_testkit::rest::{Gate, Reply};

use crate::up::get;
use crate::world::{
    GOOD_BARS, GOOD_WEATHER, GOOD_WEATHER_ROWS, MARKET, Running, WEATHER, WEATHER_ROWS, World, bars,
};

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
    // Whoever took over ended its sessions, and it may warn of each when it comes to use it.
    leader.signal("TERM").await;
    let done = leader.end().await;
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(world.rows(ledger).await, before);
}

/// Ends every session of the database but the test's own, as a server that restarts does.
async fn end_sessions(client: &tokio_postgres::Client) {
    let end = "select count(pg_terminate_backend(pid)) from pg_stat_activity
               where datname = current_database() and pid <> pg_backend_pid()";
    assert!(client.query_one(end, &[]).await.unwrap().get::<_, i64>(0) > 0);
}

/// A connection that is lost costs a try, and nothing else: while it fetches, while it publishes, while it waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_survived_and_nothing_is_doubled() {
    let world = World::answering(Kind::Native).await;
    // So that there is something to lock, and the day of the run is not there yet.
    assert_eq!(world.run("2026-01-02").await.code, 0);
    let publishes = world.rows(PUBLISHES).await;
    assert_eq!(publishes, ["[1]"]);
    let asked =
        || world.api.requests().iter().filter(|seen| seen.target.starts_with(WEATHER)).count();
    let before = asked();
    let (mut up, gate) = in_the_middle(&world).await;
    let client = world.native_client().await;
    end_sessions(&client).await;
    let holder = world.native_client().await;
    holder.batch_execute("begin; lock table weather_daily in exclusive mode").await.unwrap();
    gate.open();
    let waits = "select exists (select from pg_stat_activity where wait_event_type = 'Lock')";
    while !client.query_one(waits, &[]).await.unwrap().get::<_, bool>(0) {}
    end_sessions(&client).await;
    // Its fire is tried again a minute later, with what is in the raw store.
    up.says(" weather ").await;
    end_sessions(&client).await;
    let fires = "select state from daymark.fire where source_id = 'weather'";
    assert_eq!(world.rows(fires).await, [r#"["done"]"#]);
    assert_eq!(world.rows(PUBLISHES).await, ["[2]"]);
    assert_eq!(asked(), before + 1);
    let doubled = "select count(*) from (select from weather_daily group by location, date having count(*) > 1) as t";
    assert_eq!(world.rows(doubled).await, ["[0]"]);
    let open = "select count(*) from daymark.run where finished_at is null";
    assert_eq!(world.rows(open).await, ["[0]"]);
    // It has warned of each, and stops in order.
    up.signal("TERM").await;
    let done = up.end().await;
    assert_eq!(done.code, Some(0), "{done:?}");
}

/// A fire that comes while the source's last run is going waits for its end, or is left out: as the schedule says.
#[tokio::test(flavor = "multi_thread")]
async fn a_fire_within_a_run_waits_or_is_left_out() {
    let world = World::answering(Kind::Native).await;
    let (mut first, _) = world.up_quietly().await;
    first.says(LEADS).await;
    first.stop().await;
    for (source, overlap) in [("weather", "queue"), ("sp500", "skip")] {
        let file = format!("sources/{source}.toml");
        let text = world.read(&file);
        let schedule =
            format!("[schedule]\nexpression = \"rate(1 minute)\"\noverlap = \"{overlap}\"\n");
        world.write(&file, &format!("{text}\n{schedule}"));
    }
    let gate = Gate::closed();
    world.api.only(WEATHER, Reply::json(GOOD_WEATHER.body()).held_by(&gate));
    world.api.only(MARKET, Reply::json(bars(&GOOD_BARS)).held_by(&gate));
    // The fire of this minute is due at once.
    let client = world.native_client().await;
    let decided = "update daymark.schedule set decided_until = date_trunc('minute', now()) - interval '1 second'";
    assert_eq!(client.execute(decided, &[]).await.unwrap(), 2);
    let mut up = up(&world);
    up.reports("weather: fetching").await;
    // The next one comes within the minute.
    let overlapped = "select (select count(*) from daymark.fire where source_id = 'sp500' and state = 'skipped'
                                and reason like 'overlap: the run of the fire at % was still going') > 0
                         and (select count(*) from daymark.fire where source_id = 'weather' and state = 'due') > 0
                         and (select count(*) from daymark.fire where state = 'claimed') = 2";
    while !client.query_one(overlapped, &[]).await.unwrap().get::<_, bool>(0) {}
    gate.open();
    up.says(" weather ").await;
    let ended = "select (select count(*) from daymark.fire where source_id = 'weather' and state = 'no_op') > 0";
    while !client.query_one(ended, &[]).await.unwrap().get::<_, bool>(0) {}
    up.stop().await;
    // The one that waited found the day published, and asked nobody.
    let asked = "select distinct outcome from daymark.step
                 where run_id in (select run_id from daymark.fire where source_id = 'weather' and state = 'no_op')";
    assert_eq!(world.rows(asked).await, [r#"["skipped"]"#]);
    assert_eq!(world.rows(PUBLISHES).await, ["[1]"]);
    let runs = "select count(distinct run_id) from daymark.fire where source_id = 'weather' and state in ('done', 'no_op')";
    assert!(world.value(runs).await.as_i64().unwrap() >= 2);
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

/// A scheduler that hangs shows no sign of life: the dashboard, which still answers, says so on every page until it
/// goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_nobody_keeps_is_a_banner_on_every_page() {
    let world = World::answering(Kind::Native).await;
    let (mut up, address) = world.up_quietly().await;
    up.says(LEADS).await;
    let banner = r#"<p class="stopped" role="alert">Scheduler stopped since "#;
    for path in ["/", "/ledger"] {
        let (status, _, page) = get(&format!("{address}{path}")).await;
        assert!(status == 200 && !page.contains(r#"class="stopped""#), "{page}");
    }
    // The row is old, and whoever would renew it waits for this lock. Readers do not.
    let client = world.native_client().await;
    let age = "update daymark.lease set until = until - interval '1 hour', seen_at = seen_at - interval '1 hour'";
    loop {
        client.batch_execute(age).await.unwrap();
        client
            .batch_execute("begin; lock table daymark.lease in share row exclusive mode")
            .await
            .unwrap();
        let is_old = "select until < now() - interval '30 minutes' from daymark.lease";
        if client.query_one(is_old, &[]).await.unwrap().get(0) {
            break;
        }
        client.batch_execute("rollback").await.unwrap();
    }
    for path in ["/", "/ledger"] {
        let (status, _, page) = get(&format!("{address}{path}")).await;
        assert_eq!(status, 200);
        assert_eq!(page.matches(banner).count(), 1, "{page}");
        assert!(page.contains("Nothing is fetched until “daymark up” runs again."), "{page}");
    }
    let status = world.daymark(&["status"]).await;
    assert!(status.stdout.contains("scheduler: stopped since"), "{}", status.stdout);
    client.batch_execute("rollback").await.unwrap();
    while get(&format!("{address}/ledger")).await.2.contains(banner) {}
    up.stop().await;
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
