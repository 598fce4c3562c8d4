//! Alerts as their receivers meet them: real HTTP, on both kinds of PostgreSQL, and what is left when
//! programs are killed or run beside each other.

use std::collections::BTreeMap;

use daymark_testkit::database::Kind;
use daymark_testkit::on_both_databases;
use daymark_testkit::rest::{Gate, Reply, RestServer, SeenRequest};
use serde_json::Value;

use crate::lead::one_fire_behind;
use crate::up::get;
use crate::world::{Done, GOOD_WEATHER, MARKET, WEATHER, Weather, World, bars, run_to_end};

on_both_databases! {
    a_failed_day_is_told_once_and_its_recovery_too;
    a_day_that_is_given_up_is_told_until_a_person_decides;
    a_muted_source_is_told_of_when_the_mute_ends;
    what_a_webhook_refuses_twice_it_gets_once;
    what_was_committed_before_a_kill_is_told_by_the_next_process;
}

/// Where the tests' webhook is.
pub(crate) const HOOK: &str = "/hook/tokqen-in-the-path";

/// A pipeline that owes no day of its own accord.
pub(crate) async fn quiet(kind: Kind) -> World {
    let world = World::answering(kind).await;
    world.edit("daymark.toml", "cron(0 8 * * ? *)", "cron(0 8 1 1 ? 2099)");
    world
}

/// A pipeline that tells a webhook.
pub(crate) async fn told(kind: Kind, more: &str) -> (World, RestServer) {
    let world = quiet(kind).await;
    let sink = RestServer::start().await;
    sink.on(HOOK, Reply::new(200, "thanks"));
    let text = world.read("daymark.toml");
    let channel = format!(
        "{text}\n[[alerts]]\nname = \"ops\"\ntype = \"webhook\"\nurl = \"${{HOOK}}\"\n{more}\n"
    );
    world.write("daymark.toml", &channel);
    (world, sink)
}

/// The program with the webhook's address in its environment.
pub(crate) async fn daymark(world: &World, sink: &RestServer, arguments: &[&str]) -> Done {
    run_to_end(world.command(arguments).env("HOOK", sink.url(HOOK))).await
}

async fn run(world: &World, sink: &RestServer, date: &str) -> Done {
    daymark(world, sink, &["run", "--as-of-now", "--date", date]).await
}

/// The alerts of a request.
fn alerts(request: &SeenRequest) -> Vec<Value> {
    let document: Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!((document["version"].as_u64(), request.method.as_str()), (Some(1), "POST"));
    document["alerts"].as_array().unwrap().clone()
}

/// What a webhook was told: action, event and key of each message.
fn story(sink: &RestServer) -> Vec<String> {
    let of = |alert: &Value| {
        ["action", "event", "key"].map(|name| alert[name].as_str().unwrap()).join(" ")
    };
    sink.requests().iter().flat_map(alerts).map(|alert| of(&alert)).collect()
}

pub(crate) fn gone() -> Reply {
    Reply::json(r#"{"error":true,"reason":"gone"}"#).status(404)
}

async fn a_failed_day_is_told_once_and_its_recovery_too(kind: Kind) {
    let (world, sink) = told(kind, "").await;
    world.edit("daymark.toml", "[dashboard]", "[dashboard]\nurl = \"https://data.test\"");
    world.api.only(WEATHER, gone());
    run(&world, &sink, "2026-03-02").await.expect_code(1);
    let day = "day:weather:2026-03-02";
    assert_eq!(story(&sink), [format!("trigger run_failed {day}")]);
    let alert = alerts(&sink.requests()[0]).remove(0);
    assert_eq!(alert["summary"], "weather 2026-03-02 failed");
    assert_eq!(alert["reason"], "HTTP 404: gone");
    assert_eq!(alert["todo"], "daymark run --source weather");
    assert_eq!(alert["url"], "https://data.test/ledger?to=2026-03-05&days=30");
    documented(&sink.requests()[0].body);

    // The same failure again is nothing new.
    run(&world, &sink, "2026-03-02").await.expect_code(1);
    assert_eq!(story(&sink).len(), 1);
    let list = daymark(&world, &sink, &["alerts", "list", "--json"]).await.json();
    assert_eq!(
        (&list["open"][0]["key"], &list["open"][0]["told"][0]),
        (&day.into(), &"ops".into())
    );
    let status = daymark(&world, &sink, &["status", "--days", "1"]).await;
    assert!(status.stdout.contains("1 alert open: `daymark alerts list`"), "{}", status.stdout);

    world.api.only(WEATHER, Reply::json(GOOD_WEATHER.body()));
    run(&world, &sink, "2026-03-02").await.expect_code(0);
    assert_eq!(story(&sink)[1..], [format!("resolve run_failed {day}")]);
    let list = daymark(&world, &sink, &["alerts", "list"]).await;
    assert_eq!(list.stdout, "nothing is wrong\n");
    run(&world, &sink, "2026-03-02").await.expect_code(0);
    assert_eq!(story(&sink).len(), 2);
}

/// Days that the schedule gave up: told, counted, and in the status with what to type; over when they are published
/// or discarded.
async fn a_day_that_is_given_up_is_told_until_a_person_decides(kind: Kind) {
    let world = World::answering(kind).await;
    let sink = RestServer::start().await;
    sink.on(HOOK, Reply::new(200, "thanks"));
    let once = "[days]\nattempts = 1\n[request]\n";
    world.edit("sources/weather.toml", "[request]\n", once);
    world.edit("sources/sp500.toml", "[request]\n", once);
    one_fire_behind(&world).await;
    let channel = "[[alerts]]\nname = \"ops\"\ntype = \"webhook\"\nurl = \"${HOOK}\"\n";
    world.write("daymark.toml", &format!("{}\n{channel}", world.read("daymark.toml")));
    world.api.only(WEATHER, gone());
    world.api.only(MARKET, gone());
    let mut command = world.command(&["up", "--listen", "127.0.0.1:0"]);
    let mut up = crate::world::Running::start(command.env("HOOK", sink.url(HOOK)));
    let address = up.address().await;
    // The ledger is read for them every ten seconds at most.
    let given_up = |text: &str, source: &str| {
        text.contains(&format!("daymark_retries_given_up{{source=\"{source}\"}} 1\n"))
    };
    loop {
        let (_, _, text) = get(&format!("{address}/metrics")).await;
        if given_up(&text, "weather") && given_up(&text, "sp500") {
            break;
        }
    }
    let (_, _, page) = get(&format!("{address}/ledger")).await;
    assert!(page.contains("2 days are given up, and wait for a person"), "{page}");
    up.stop().await;

    let open = daymark(&world, &sink, &["alerts", "list", "--json"]).await.json();
    let day = |source: &str| {
        let all = open["open"].as_array().unwrap();
        let found = all.iter().find(|alert| alert["source"] == source).unwrap();
        assert_eq!(found["event"], "given_up", "{open}");
        let reason =
            "HTTP 404: gone; given up: it was tried 1 time, as often as `days.attempts` says";
        assert_eq!(found["reason"].as_str().unwrap().replace("Not Found: ", ""), reason);
        found["data_date"].as_str().unwrap().to_owned()
    };
    let (weather, market) = (day("weather"), day("sp500"));
    let status = daymark(&world, &sink, &["status"]).await;
    let told = "2 days are given up: `daymark dlq list` shows them, ";
    assert!(status.stdout.contains(told), "{}", status.stdout);

    // It fails once more: nothing new. Then it is published.
    let retry = ["dlq", "retry", &weather, "--source", "weather"];
    daymark(&world, &sink, &retry).await.expect_code(1);
    world.api.only(WEATHER, Reply::json(GOOD_WEATHER.body()));
    daymark(&world, &sink, &retry).await.expect_code(0);
    let of = |key: String| -> Vec<String> {
        let told = story(&sink).into_iter().filter(|told| told.ends_with(&key));
        told.map(|told| told.trim_end_matches(&key).trim_end().to_owned()).collect()
    };
    let whole = ["trigger run_failed", "trigger given_up", "resolve given_up"];
    assert_eq!(of(format!("day:weather:{weather}")), whole);
    let of_market = || of(format!("day:sp500:{market}"));
    assert_eq!(of_market(), whole[..2]);
    let all: Vec<Value> = sink.requests().iter().flat_map(alerts).collect();
    let market_told = all.iter().find(|it| it["source"] == "sp500" && it["event"] == "given_up");
    assert_eq!(market_told.unwrap()["todo"], format!("daymark dlq show {market} --source sp500"));
    // A day that nobody can ask about any more is left out.
    let discard = ["dlq", "discard", &market, "--source", "sp500", "--why", "the API lost it"];
    daymark(&world, &sink, &discard).await.expect_code(0);
    assert_eq!(of_market(), whole);
    let status = daymark(&world, &sink, &["status", "--json"]).await.json();
    assert_eq!(status["given_up"], Value::Array(Vec::new()));
}

/// A document has the members that docs/alerts.md shows, in that order, of those types.
fn documented(body: &str) {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/alerts.md"));
    let text = text.unwrap();
    let shown = text.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    let shown: Value = serde_json::from_str(shown).unwrap();
    let sent: Value = serde_json::from_str(body).unwrap();
    same_shape(&shown, &sent);
}

fn same_shape(shown: &Value, sent: &Value) {
    match (shown, sent) {
        (Value::Object(shown), Value::Object(sent)) => {
            let names =
                |map: &serde_json::Map<String, Value>| map.keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(shown), names(sent));
            shown.values().zip(sent.values()).for_each(|(shown, sent)| same_shape(shown, sent));
        }
        (Value::Array(shown), Value::Array(sent)) => same_shape(&shown[0], &sent[0]),
        (shown, sent) => {
            assert_eq!(
                std::mem::discriminant(shown),
                std::mem::discriminant(sent),
                "{shown} {sent}"
            );
        }
    }
}

async fn a_muted_source_is_told_of_when_the_mute_ends(kind: Kind) {
    let (world, sink) = told(kind, "").await;
    let muting = ["alerts", "mute", "--source", "weather", "--why", "the API moves"];
    let muted = daymark(&world, &sink, &muting).await;
    let until = "muted (1): weather, until it is taken back, by ";
    assert!(muted.stdout.starts_with(until), "{}", muted.stdout);
    assert!(
        muted.stdout.ends_with("\n`daymark alerts unmute 1` takes it back\n"),
        "{}",
        muted.stdout
    );
    world.api.only(WEATHER, gone());
    world.api.only(MARKET, gone());
    run(&world, &sink, "2026-03-02").await.expect_code(1);
    assert_eq!(story(&sink), ["trigger run_failed day:sp500:2026-03-02"]);
    let list = daymark(&world, &sink, &["alerts", "list"]).await;
    let says = |text: &str| assert!(list.stdout.contains(text), "{text}: {}", list.stdout);
    says("day:weather:2026-03-02");
    says("muted (1): weather, until it is taken back, by ");
    says(": the API moves\n");

    daymark(&world, &sink, &["alerts", "unmute", "1"]).await.expect_code(0);
    run(&world, &sink, "2026-03-02").await.expect_code(1);
    assert_eq!(story(&sink)[1..], ["trigger run_failed day:weather:2026-03-02"]);
    daymark(&world, &sink, &["alerts", "unmute", "1"]).await.expect_code(2);
}

async fn what_a_webhook_refuses_twice_it_gets_once(kind: Kind) {
    let (world, sink) = told(kind, "").await;
    sink.only(HOOK, Reply::new(500, "out of order"));
    sink.on(HOOK, Reply::close());
    sink.on(HOOK, Reply::new(204, ""));
    world.api.only(WEATHER, gone());
    run(&world, &sink, "2026-03-02").await.expect_code(1);
    let ids: Vec<Value> =
        sink.requests().iter().map(|request| alerts(request)[0]["id"].clone()).collect();
    assert_eq!(ids.len(), 3);
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    run(&world, &sink, "2026-03-02").await.expect_code(1);
    assert_eq!(sink.requests().len(), 3, "it has it");
}

/// Holds up whoever would claim a message, and nobody who publishes.
async fn held_up(world: &World) -> tokio_postgres::Client {
    let client = world.native_client().await;
    client
        .batch_execute("begin; lock table daymark.alert_delivery in access exclusive mode")
        .await
        .unwrap();
    client
}

async fn what_was_committed_before_a_kill_is_told_by_the_next_process(kind: Kind) {
    let (world, sink) = told(kind, "").await;
    // Makes the ledger.
    daymark(&world, &sink, &["status"]).await.expect_code(0);
    world.api.only(WEATHER, gone());
    let arguments = ["run", "--as-of-now", "--date", "2026-03-02"];
    if kind == Kind::Native {
        let holder = held_up(&world).await;
        let other = world.native_client().await;
        let killed =
            crate::world::Running::start(world.command(&arguments).env("HOOK", sink.url(HOOK)));
        let closed = "select count(*) > 0 from (select pg_sleep(0.05)) as wait, daymark.run
                      where finished_at is not null";
        while !other.query_one(closed, &[]).await.unwrap().get::<_, bool>(0) {}
        killed.kill().await;
        holder.batch_execute("rollback").await.unwrap();
    } else {
        // Killed while the channel is silent: the message is claimed by then, and the claim has to lapse.
        let gate = Gate::closed();
        sink.only(HOOK, Reply::new(200, "thanks").held_by(&gate));
        let killed =
            crate::world::Running::start(world.command(&arguments).env("HOOK", sink.url(HOOK)));
        while sink.requests().is_empty() {
            tokio::task::yield_now().await;
        }
        killed.kill().await;
        sink.only(HOOK, Reply::new(200, "thanks"));
        assert_eq!(
            story(&sink),
            ["trigger run_failed day:weather:2026-03-02"],
            "nobody answered it"
        );
        assert_eq!(
            world
                .value("select count(*) from daymark.alert_delivery where state = 'pending'")
                .await,
            1
        );
        return;
    }
    assert_eq!(story(&sink), [""; 0]);

    // The next process finds the day well, and tells both in order.
    world.api.only(WEATHER, Reply::json(GOOD_WEATHER.body()));
    run(&world, &sink, "2026-03-02").await.expect_code(0);
    let day = "day:weather:2026-03-02";
    assert_eq!(
        story(&sink),
        [format!("trigger run_failed {day}"), format!("resolve run_failed {day}")]
    );
    assert_eq!(sink.requests().len(), 1, "in one message");
    run(&world, &sink, "2026-03-02").await.expect_code(0);
    assert_eq!(sink.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_of_a_killed_process_lapses() {
    let (world, sink) = told(Kind::Native, "").await;
    world.api.only(WEATHER, gone());
    let gate = Gate::closed();
    sink.only(HOOK, Reply::new(200, "thanks").held_by(&gate));
    let mut command = world.command(&["run", "--as-of-now", "--date", "2026-03-02"]);
    let killed = crate::world::Running::start(command.env("HOOK", sink.url(HOOK)));
    while sink.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    killed.kill().await;
    sink.only(HOOK, Reply::new(200, "thanks"));
    // Whoever comes at once believes that it is being sent.
    run(&world, &sink, "2026-03-02").await.expect_code(1);
    assert_eq!(sink.requests().len(), 1);
    let client = world.native_client().await;
    let later =
        "update daymark.alert_delivery set claimed_until = claimed_until - interval '3 minutes'";
    assert_eq!(client.execute(later, &[]).await.unwrap(), 1);
    run(&world, &sink, "2026-03-02").await.expect_code(1);
    assert_eq!(sink.requests().len(), 2);
    assert_eq!(alerts(&sink.requests()[0])[0]["id"], alerts(&sink.requests()[1])[0]["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_that_look_tell_once() {
    let (world, sink) =
        told(Kind::Native, "[heartbeat]\nurl = \"${HOOK}/beat\"\nevery = \"1h\"").await;
    sink.on(&format!("{HOOK}/beat"), Reply::new(200, "OK"));
    // Days that were due before anything ran are missing.
    let source = world.read("sources/weather.toml");
    let yesterday = jiff_today().yesterday().unwrap();
    let start = format!("start = \"{}\"\n", yesterday.yesterday().unwrap());
    world.write("sources/weather.toml", &format!("{start}{source}"));
    world.edit("daymark.toml", "cron(0 8 1 1 ? 2099)", "cron(0 0 * * ? *)");
    let up = || {
        let mut command = world.command(&["up", "--listen", "127.0.0.1:0"]);
        crate::world::Running::start(command.env("HOOK", sink.url(HOOK)))
    };
    let (mut first, mut second) = (up(), up());
    first.address().await;
    second.address().await;
    // A process that has looked, and told, pings.
    let beats = || {
        let beat = |request: &&SeenRequest| request.target.ends_with("/beat");
        sink.requests().iter().filter(beat).count()
    };
    while beats() < 2 {
        tokio::task::yield_now().await;
    }
    first.stop().await;
    second.stop().await;
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for request in sink.requests().iter().filter(|request| request.method == "POST") {
        for alert in alerts(request) {
            *seen.entry(alert["key"].as_str().unwrap().to_owned()).or_default() += 1;
            assert!(["late", "missing"].contains(&alert["event"].as_str().unwrap()), "{alert}");
        }
    }
    assert!(seen.contains_key(&format!("day:weather:{yesterday}")), "{seen:?}");
    assert!(seen.values().all(|times| *times == 1), "{seen:?}");
}

/// Today in the pipeline's zone, as the machine has it.
fn jiff_today() -> jiff::civil::Date {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap();
    let now = jiff::Timestamp::from_second(i64::try_from(now.as_secs()).unwrap()).unwrap();
    now.in_tz("America/New_York").unwrap().date()
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_that_warn_and_rows_set_aside_close_by_themselves() {
    let (world, sink) = told(Kind::Native, "min_rejects = 2").await;
    world.edit(
        "models/weather_daily.sql",
        "[[checks]]\nname = \"no day is missing\"",
        "[[checks]]\nname = \"a coldest is known\"\nseverity = \"warn\"\nnot_null = \"temperature_min_c\"\n\n\
         [[checks]]\nname = \"it rains little\"\nseverity = \"reject\"\nsql = \"select * from staged where date = '2026-03-01' or precipitation_mm > 3.9\"\n\n\
         [[checks]]\nname = \"no day is missing\"",
    );
    let done = run(&world, &sink, "2026-03-03").await;
    done.expect_code(0);
    for said in [
        "weather_daily 2026-03-03 warning: the check `a coldest is known` found 1 row, such as ",
        "weather_daily 2026-03-03: row set aside by the check `it rains little`: 1, such as ",
    ] {
        assert!(done.stdout.contains(said), "{done:?}");
    }
    // One row was set aside, which is below the channel's threshold.
    let key = "check:weather_daily:a coldest is known";
    assert_eq!(story(&sink), [format!("trigger check_warned {key}")]);
    let list = daymark(&world, &sink, &["alerts", "list", "--json"]).await.json();
    let keys: Vec<&str> = list["open"]
        .as_array()
        .unwrap()
        .iter()
        .map(|alert| alert["key"].as_str().unwrap())
        .collect();
    assert_eq!(keys, ["rejects:weather", key], "{list}");

    let wet = Weather(&[
        ("2026-03-03", Some(7.0), Some(1.0), Some(4.0)),
        ("2026-03-04", Some(8.0), Some(1.0), Some(5.0)),
        ("2026-03-05", Some(8.0), Some(1.0), Some(0.0)),
    ]);
    world.api.only(WEATHER, Reply::json(wet.body()));
    run(&world, &sink, "2026-03-04").await.expect_code(0);
    assert_eq!(
        story(&sink)[1..],
        ["trigger rejects rejects:weather".to_owned(), format!("resolve check_warned {key}")]
    );
    assert_eq!(alerts(&sink.requests()[1])[0]["rows"], 2);
    // An old day without rejects says nothing of the newest.
    let dry = Weather(&[
        ("2026-03-02", Some(7.0), Some(1.0), Some(0.0)),
        ("2026-03-03", Some(8.0), Some(1.0), Some(0.0)),
    ]);
    world.api.only(WEATHER, Reply::json(dry.body()));
    run(&world, &sink, "2026-03-02").await.expect_code(0);
    assert_eq!(story(&sink).len(), 3);
    run(&world, &sink, "2026-03-05").await.expect_code(0);
    assert_eq!(story(&sink)[3..], ["resolve rejects rejects:weather"]);
}

/// A fetch with another number of rows than usual is told as what it is, and the next usual one closes it.
#[tokio::test(flavor = "multi_thread")]
async fn an_unusual_number_of_rows_is_told() {
    let (world, sink) = told(Kind::Native, "events = [\"volume_anomaly\", \"recovered\"]").await;
    world.edit(
        "models/weather_daily.sql",
        "[[checks]]\nname = \"no day is missing\"",
        "[[checks]]\nname = \"as many rows as ever\"\nseverity = \"warn\"\n\
         volume_anomaly = { publishes = 30, deviations = 5 }\n\n[[checks]]\nname = \"no day is missing\"",
    );
    let days: Vec<String> = (1..=28).map(|day| format!("2026-03-{day:02}")).collect();
    let answer = async |last: usize, rows: usize| {
        let rows: Vec<_> = days[last - rows..last]
            .iter()
            .map(|day| (day.as_str(), Some(7.0), Some(1.0), Some(0.0)))
            .collect();
        world.api.only(WEATHER, Reply::json(Weather(&rows).body()));
        run(&world, &sink, &days[last - 1]).await.expect_code(0);
    };
    for last in 3..9 {
        answer(last, 2).await;
    }
    assert_eq!(story(&sink), [""; 0]);
    let key = "check:weather_daily:as many rows as ever";
    answer(12, 9).await;
    assert_eq!(story(&sink), [format!("trigger volume_anomaly {key}")]);
    let alert = alerts(&sink.requests()[0]).remove(0);
    let reason =
        "`weather_daily`: the fetch has 9 rows, 2 are usual (check `as many rows as ever`)";
    assert_eq!(alert["reason"], reason);
    answer(13, 2).await;
    assert_eq!(story(&sink)[1..], [format!("resolve volume_anomaly {key}")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_is_held_back_is_told_and_its_release_too() {
    let (world, sink) = told(Kind::Native, "events = [\"quarantined\", \"recovered\"]").await;
    run(&world, &sink, "2026-03-02").await.expect_code(0);
    world.api.only(MARKET, Reply::json(bars(&[("2026-02-27", 6900.5), ("2026-03-02", 3475.0)])));
    world.api.only(WEATHER, gone());
    run(&world, &sink, "2026-03-03").await.expect_code(1);
    let day = "day:sp500:2026-03-03";
    assert_eq!(story(&sink), [format!("trigger quarantined {day}")]);
    let alert = alerts(&sink.requests()[0]).remove(0);
    assert_eq!(alert["todo"], "daymark quarantine show 2026-03-03 --source sp500");
    let release = ["quarantine", "release", "2026-03-03", "--source", "sp500", "--why", "a split"];
    daymark(&world, &sink, &release).await.expect_code(0);
    assert_eq!(story(&sink)[1..], [format!("resolve quarantined {day}")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fails_as_a_whole_is_told() {
    let (world, sink) = told(Kind::Native, "").await;
    run(&world, &sink, "2026-03-02").await.expect_code(0);
    let client = world.native_client().await;
    client.batch_execute("alter table daymark.publish rename to hidden").await.unwrap();
    run(&world, &sink, "2026-03-03").await.expect_code(1);
    let first = story(&sink);
    assert!(first.contains(&"trigger run_failed run".to_owned()), "{first:?}");
    client.batch_execute("alter table daymark.hidden rename to publish").await.unwrap();
    run(&world, &sink, "2026-03-03").await.expect_code(0);
    let after = story(&sink);
    assert!(after[first.len()..].contains(&"resolve run_failed run".to_owned()), "{after:?}");
    let list = daymark(&world, &sink, &["alerts", "list"]).await;
    assert_eq!(list.stdout, "nothing is wrong\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_that_change_their_shape_are_told() {
    let (world, sink) = told(Kind::Native, "").await;
    run(&world, &sink, "2026-03-02").await.expect_code(0);
    let mut other = GOOD_WEATHER.json();
    other["model"] = "ecmwf".into();
    world.api.only(WEATHER, Reply::json(other.to_string()));
    run(&world, &sink, "2026-03-03").await.expect_code(0);
    assert_eq!(story(&sink), ["trigger schema_drift drift:weather"]);
    let alert = alerts(&sink.requests()[0]).remove(0);
    assert!(alert["reason"].as_str().unwrap().contains("`$.model` is new"), "{alert}");
    // The next day in the same shape is what is known by then.
    run(&world, &sink, "2026-03-04").await.expect_code(0);
    assert_eq!(story(&sink)[1..], ["resolve schema_drift drift:weather"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_that_died_is_told_and_its_return_too() {
    let (world, sink) = told(Kind::Native, "events = [\"scheduler_stopped\", \"recovered\"]").await;
    let start = || {
        let mut command = world.command(&["up", "--listen", "127.0.0.1:0"]);
        crate::world::Running::start(command.env("HOOK", sink.url(HOOK)))
    };
    let mut up = start();
    up.says("scheduler: this process keeps the schedule").await;
    run(&world, &sink, "2026-03-02").await.expect_code(0);
    assert_eq!(story(&sink), [""; 0], "it lives");
    up.kill().await;
    let client = world.native_client().await;
    let later = "update daymark.lease set until = until - interval '10 minutes', seen_at = seen_at - interval '10 minutes'";
    assert_eq!(client.execute(later, &[]).await.unwrap(), 1);
    run(&world, &sink, "2026-03-02").await.expect_code(0);
    assert_eq!(story(&sink), ["trigger scheduler_stopped scheduler"]);
    let alert = alerts(&sink.requests()[0]).remove(0);
    assert!(alert["reason"].as_str().unwrap().contains("was last seen at"), "{alert}");
    let mut up = start();
    up.says("scheduler: this process ").await;
    while sink.requests().len() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(story(&sink)[1..], ["resolve scheduler_stopped scheduler"]);
    up.stop().await;
}
