//! `daymark up`: the dashboard, the schedule, guests, and how it stops.

use daymark_testkit::database::Kind;
use daymark_testkit::on_both_databases;
use daymark_testkit::rest::{Gate, Reply};
use jiff::Timestamp;
use serde_json::Value;

use crate::world::{
    GOOD_WEATHER, GOOD_WEATHER_ROWS, Running, WEATHER, WEATHER_ROWS, Weather, World,
};

on_both_databases! {
    the_dashboard_is_served_while_other_commands_work;
}

pub(crate) async fn get(url: &str) -> (u16, reqwest::header::HeaderMap, String) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.get(url).send().await.unwrap();
    (answer.status().as_u16(), answer.headers().clone(), answer.text().await.unwrap())
}

async fn the_dashboard_is_served_while_other_commands_work(kind: Kind) {
    let world = World::answering(kind).await;
    let (up, address) = world.up_quietly().await;

    // Each a program of its own: on the embedded database guests of the one that serves.
    assert_eq!(world.run("2026-03-02").await.code, 0);
    world.daymark(&["status"]).await.expect_code(0);
    assert_eq!(world.rows(WEATHER_ROWS).await, GOOD_WEATHER_ROWS);

    for path in ["/", "/ledger", "/d/overview?from=2026-03-01&to=2026-03-03", "/nothing-here"] {
        let (status, headers, body) = get(&format!("{address}{path}")).await;
        assert_eq!(status, if path == "/nothing-here" { 404 } else { 200 }, "{path}: {body}");
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(headers["content-type"].to_str().unwrap().starts_with("text/html"));
        assert!(body.contains("DC weather and the S&"), "{body}");
        // Generated numbers are the demo's alone.
        assert!(!body.contains("generated"), "{body}");
    }
    assert_eq!(get(&format!("{address}/healthz")).await.2, "ok\n");

    let download = format!("{address}/d/overview/weather");
    let range = "from=2026-03-01&to=2026-03-02";
    let (status, headers, csv) = get(&format!("{download}.csv?{range}")).await;
    assert_eq!(
        (status, headers["content-type"].to_str().unwrap()),
        (200, "text/csv; charset=utf-8; header=present")
    );
    assert_eq!(
        headers["content-disposition"],
        "attachment; filename=\"overview-weather-2026-03-01-2026-03-02.csv\""
    );
    assert!(
        csv.contains("\r\n2026-03-01,9.5,-0.5,0.0,")
            && csv.contains("\r\n2026-03-02,11.25,2.0,3.5,"),
        "{csv}"
    );
    let (status, _, json) = get(&format!("{download}.json?{range}")).await;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((status, json.as_array().unwrap().len()), (200, 2));
    assert_eq!((&json[1]["date"], &json[1]["maximum"]), (&"2026-03-02".into(), &11.25.into()));

    // It stops softly and takes nothing away.
    up.signal("TERM").await;
    let done = up.end().await;
    done.expect_code(0);
    assert!(done.stderr.contains("stopping after the step in flight"), "{}", done.stderr);
    assert_eq!(world.rows(WEATHER_ROWS).await, GOOD_WEATHER_ROWS);
    assert_eq!(world.stored("raw/weather").len(), 1);
}

/// A pipeline that ran two days ago for the last time: two fires are missed. It fires half a day from
/// now, so that none falls into the test. Gives the latest fire that is missed, too.
async fn two_days_behind(world: &World) -> (tokio_postgres::Client, Timestamp) {
    world.daymark(&["status"]).await.expect_code(0);
    let client = world.native_client().await;
    let now: Timestamp = client.query_one("select now()", &[]).await.unwrap().get(0);
    let now = now.in_tz("America/New_York").unwrap();
    let hour = (now.hour() + 12) % 24;
    world.edit("daymark.toml", "cron(0 8 * * ? *)", &format!("cron(0 {hour} * * ? *)"));
    // One that is cut off is succeeded soon.
    let text = world.read("daymark.toml");
    world.write("daymark.toml", &format!("{text}\n[scheduler]\nlease_seconds = 2\n"));
    let day = if hour <= now.hour() { now.date() } else { now.date().yesterday().unwrap() };
    let missed = day.at(hour, 0, 0, 0).in_tz("America/New_York").unwrap().timestamp();
    let marked = "update daymark.pipeline set last_fired_at = now() - interval '2 days'";
    assert_eq!(client.execute(marked, &[]).await.unwrap(), 1);
    (client, missed)
}

/// Every run so far, all of them catching up: for which scheduled time, and what came of it.
async fn catch_ups(client: &tokio_postgres::Client) -> Vec<(Option<Timestamp>, Option<String>)> {
    let runs = "select kind, scheduled_at, outcome from daymark.run order by run_id";
    let rows = client.query(runs, &[]).await.unwrap();
    assert!(rows.iter().all(|row| row.get::<_, &str>(0) == "catch_up"), "{rows:?}");
    rows.iter().map(|row| (row.get(1), row.get(2))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn missed_mornings_become_one_run() {
    let world = World::answering(Kind::Native).await;
    let (client, missed) = two_days_behind(&world).await;
    let mut up = world.start(&["up", "--listen", "127.0.0.1:0"]);
    let address = up.address().await;
    up.says(" weather ").await;
    // The dashboard answers while and after the run.
    assert_eq!(get(&format!("{address}/ledger")).await.0, 200);
    up.stop().await;

    assert_eq!(catch_ups(&client).await, [(Some(missed), Some("succeeded".to_owned()))]);
    let marked = client.query_one("select last_fired_at from daymark.pipeline", &[]).await.unwrap();
    assert_eq!(marked.get::<_, Timestamp>(0), missed);
    assert_eq!(world.rows(WEATHER_ROWS).await, GOOD_WEATHER_ROWS);

    // Started again, it owes nothing.
    let mut up = world.start(&["up", "--listen", "127.0.0.1:0"]);
    up.address().await;
    up.stop().await;
    assert_eq!(catch_ups(&client).await.len(), 1);
}

/// `daymark up` with a run in flight: the weather's answer waits for the gate.
async fn with_a_run_in_flight(world: &World) -> (tokio_postgres::Client, Gate, Running) {
    let (client, _) = two_days_behind(world).await;
    let gate = Gate::closed();
    world.api.only(WEATHER, Reply::json(GOOD_WEATHER.body()).held_by(&gate));
    let mut up = world.start(&["up", "--listen", "127.0.0.1:0"]);
    up.address().await;
    up.reports("weather: fetching").await;
    (client, gate, up)
}

const SOFTLY: &str = "stopping after the step in flight; Ctrl-C again stops at once";

#[tokio::test(flavor = "multi_thread")]
async fn the_run_in_flight_ends_before_it_stops() {
    let world = World::answering(Kind::Native).await;
    let (client, gate, mut up) = with_a_run_in_flight(&world).await;
    up.signal("INT").await;
    up.reports(SOFTLY).await;
    gate.open();
    let done = up.end().await;
    done.expect_code(0);
    assert!(done.stdout.contains("published"), "{}", done.stdout);
    assert_eq!(world.rows(WEATHER_ROWS).await, GOOD_WEATHER_ROWS);
    assert_eq!(catch_ups(&client).await[0].1.as_deref(), Some("succeeded"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_stops_at_once_and_the_next_start_makes_up_for_it() {
    let world = World::answering(Kind::Native).await;
    let (client, gate, mut up) = with_a_run_in_flight(&world).await;
    up.signal("INT").await;
    up.reports(SOFTLY).await;
    up.signal("INT").await;
    let done = up.end().await;
    assert_eq!(done.code, Some(130), "{done:?}");
    drop(gate);
    assert_eq!(catch_ups(&client).await[0].1, None, "it was cut off");

    world.api.only(WEATHER, Reply::json(Weather(&[("2026-03-01", Some(4.0), None, None)]).body()));
    let mut up = world.start(&["up", "--listen", "127.0.0.1:0"]);
    up.says(" weather ").await;
    up.stop().await;
    let runs = catch_ups(&client).await;
    assert_eq!(runs[0].0, runs[1].0, "the same morning");
    assert_eq!((runs.len(), runs[1].1.as_deref()), (2, Some("succeeded")));
}

/// The process that serves the embedded database waits for its guest's publish, unless it is told twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_does_not_wait_for_a_guest() {
    let world = World::answering(Kind::Embedded).await;
    let (mut up, _) = world.up_quietly().await;
    let model = world.read("models/weather_daily.sql");
    world.edit(
        "models/weather_daily.sql",
        "from raw_weather",
        "from raw_weather cross join (select pg_sleep(600)) as slow",
    );
    let mut guest = world.start(&["run", "--as-of-now", "--date", "2026-03-02"]);
    guest.reports("publish: staging weather 2026-03-02 for `weather_daily`").await;
    up.signal("INT").await;
    up.reports(SOFTLY).await;
    up.signal("INT").await;
    assert_eq!(up.end().await.code, Some(130));
    let cut_off = guest.end().await;
    assert_eq!(cut_off.code, Some(1), "{cut_off:?}");

    world.write("models/weather_daily.sql", &model);
    assert_eq!(world.run("2026-03-02").await.code, 0);
    assert_eq!(world.rows(WEATHER_ROWS).await, GOOD_WEATHER_ROWS);
}

/// A schedule that cannot be kept is no reason to go on as if nothing were wrong.
#[tokio::test(flavor = "multi_thread")]
async fn without_its_schedule_the_dashboard_does_not_stay_up() {
    let world = World::answering(Kind::Native).await;
    assert_eq!(world.run("2026-03-02").await.code, 0);
    let broken = "alter table daymark.pipeline drop column last_fired_at";
    world.native_client().await.batch_execute(broken).await.unwrap();
    let done = world.start(&["up", "--listen", "127.0.0.1:0"]).end().await;
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(
        done.stderr.contains("the database failed while reading the last fire"),
        "{}",
        done.stderr
    );
}

/// A manifest that comes under an old key, as a copy of another raw layer brings it, is not looked for by
/// every fire, and found at once when a person runs the pipeline, or a day after the last full listing.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_manifest_is_found_by_a_person_at_once_and_by_the_schedule_within_a_day() {
    let world = World::answering(Kind::Native).await;
    assert_eq!(world.run("2026-03-02").await.code, 0);
    let (_, text) = world.stored("manifests/weather").remove(0);
    let put_late = |data_date: &str, id: &str| {
        let mut manifest: Value = serde_json::from_slice(&text).unwrap();
        manifest["data_date"] = data_date.into();
        manifest["id"] = format!("0193a2b4-0000-7000-8000-{id}").into();
        manifest["fetched_at"] = "2026-03-01T13:00:00Z".into();
        let run_id = manifest["run_id"].as_str().unwrap();
        let name = format!("20260301T130000.000000Z_{data_date}_{run_id}.json");
        let bytes = serde_json::to_vec(&manifest).unwrap();
        world.store(&format!("manifests/weather/{name}"), &bytes);
    };
    let noted = "select data_date from daymark.fetch where data_date < '2026-03-02' order by 1";
    let (client, _) = two_days_behind(&world).await;
    let fires = async || {
        let marked = "delete from daymark.fire; delete from daymark.schedule; \
                      update daymark.pipeline set last_fired_at = now() - interval '2 days'";
        client.batch_execute(marked).await.unwrap();
        let mut up = world.start(&["up", "--listen", "127.0.0.1:0"]);
        up.address().await;
        up.says(" weather ").await;
        up.stop().await;
    };

    put_late("2026-02-01", "000000000001");
    fires().await;
    assert!(world.rows(noted).await.is_empty());
    assert_eq!(world.run("2026-03-02").await.code, 0);
    assert_eq!(world.rows(noted).await, [r#"["2026-02-01"]"#]);

    put_late("2026-02-02", "000000000002");
    let day_ago = "update daymark.listing set listed_in_full_at = now() - interval '24 hours'";
    client.execute(day_ago, &[]).await.unwrap();
    fires().await;
    assert_eq!(world.rows(noted).await, [r#"["2026-02-01"]"#, r#"["2026-02-02"]"#]);
}
