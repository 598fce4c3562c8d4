//! `daymark runs` and `daymark days`: what is kept of runs, and the states of days.

use daymark_testkit::database::Kind;
use daymark_testkit::on_both_databases;
use daymark_testkit::rest::{Gate, Reply};
use serde_json::Value;

use crate::world::{GOOD_WEATHER, MARKET, WEATHER, World, daymark};

on_both_databases! {
    a_run_is_kept_with_its_steps_its_requests_and_what_it_said;
    days_are_shown_with_their_states;
}

async fn a_run_is_kept_with_its_steps_its_requests_and_what_it_said(kind: Kind) {
    let world = World::answering(kind).await;
    world.edit("sources/sp500.toml", "base_seconds = 0.001", "base_seconds = 0.001\nattempts = 2");
    let key = "query = { range = \"1y\", interval = \"1d\" }";
    world.edit("sources/sp500.toml", key, "query = { range = \"1y\", key = \"${THE_KEY}\" }");
    world.api.only(MARKET, Reply::json("sorry, s3cr3t").status(503));
    let mut command = world.command(&["run", "--as-of-now", "--date", "2026-03-02"]);
    crate::world::run_to_end(command.env("THE_KEY", "s3cr3t")).await.expect_code(1);

    let runs = world.daymark(&["runs", "--failed", "--json"]).await.json();
    let run = &runs[0];
    assert_eq!(runs.as_array().unwrap().len(), 1);
    assert_eq!([&run["kind"], &run["outcome"]], ["manual", "failed"]);
    assert_eq!([&run["published"], &run["failed"], &run["attempts"]], [1, 1, 3]);

    let id = run["id"].as_str().unwrap();
    let shown = world.daymark(&["runs", "show", &id[24..], "--json"]).await.json();
    let steps: Vec<String> = shown["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| {
            format!(
                "{} {} {} {}",
                step["source"], step["stage"], step["outcome"], step["error_kind"]
            )
        })
        .collect();
    assert_eq!(
        steps,
        [
            r#""sp500" "ingest" "refused" "unavailable""#,
            r#""weather" "ingest" "fetched" null"#,
            r#""weather" "publish" "published" null"#,
        ]
    );
    let requests = shown["requests"].as_array().unwrap();
    let of = |source: &str| requests.iter().filter(|it| it["source"] == source).collect::<Vec<_>>();
    let weather = &of("weather")[0];
    assert_eq!([&weather["status"], &weather["outcome"]], [&200.into(), &Value::from("answered")]);
    assert_eq!(weather["bytes"], GOOD_WEATHER.body().len());
    assert!(weather["duration_ms"].is_u64());
    let market = of("sp500");
    assert_eq!([&market[0]["number"], &market[1]["number"]], [1, 2]);
    assert_eq!([&market[0]["status"], &market[0]["bytes"]], [503, 13]);
    assert_eq!(market[0]["outcome"], "failed");

    let text = world.daymark(&["runs", "show", "last"]).await;
    text.expect_code(0);
    for words in
        ["steps", "requests", "log", "weather: fetching", "ERROR sp500: 2026-03-02: failed"]
    {
        assert!(text.stdout.contains(words), "`{words}`: {}", text.stdout);
    }
    assert!(!text.stdout.contains("s3cr3t"), "{}", text.stdout);
    let list = world.daymark(&["runs"]).await.stdout;
    assert!(list.contains("1 published, 1 failed") && list.contains(id), "{list}");

    let unknown = world.daymark(&["runs", "show", "ffff-none"]).await;
    unknown.expect_code(2);
    assert!(unknown.stderr.contains("there is no run `ffff-none`"), "{}", unknown.stderr);
}

async fn days_are_shown_with_their_states(kind: Kind) {
    let world = World::answering(kind).await;
    world.edit("sources/sp500.toml", "id = \"sp500\"", "id = \"sp500\"\nstart = \"2026-02-26\"");
    assert_eq!(world.run("2026-03-02").await.code, 0);
    let arguments = ["days", "--source", "sp500", "--from", "2026-02-26", "--to", "2026-03-02"];
    let shown = world.daymark(&[&arguments[..], &["--json"]].concat()).await.json();
    let days: Vec<String> = shown
        .as_array()
        .unwrap()
        .iter()
        .map(|day| format!("{} {} {}", day["date"], day["state"], day["publish"]))
        .collect();
    assert_eq!(
        days,
        [
            r#""2026-02-26" "missing" null"#,
            r#""2026-02-27" "missing" null"#,
            r#""2026-02-28" "holiday" null"#,
            r#""2026-03-01" "holiday" null"#,
            r#""2026-03-02" "published" 1"#,
        ]
    );
    let run = world.value("select run_id from daymark.run").await;
    assert_eq!(shown[4]["run"], run);
    let text = world.daymark(&["days", "--state", "missing", "--to", "2026-02-28"]).await;
    text.expect_code(0);
    assert_eq!(text.stdout.matches("missing").count(), 2, "{}", text.stdout);
    assert!(text.stdout.contains("no attempt is recorded"), "{}", text.stdout);
    let bad = world.daymark(&["days", "--state", "mising"]).await;
    bad.expect_code(2);
    assert!(bad.stderr.contains("did you mean `missing`?"), "{}", bad.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_run_whose_process_is_gone_is_closed() {
    let world = World::answering(Kind::Native).await;
    let gate = Gate::closed();
    world.api.only(WEATHER, Reply::json(GOOD_WEATHER.body()).held_by(&gate));
    let mut alive = world.start(&["run", "--as-of-now", "--date", "2026-03-02"]);
    alive.reports("weather: fetching").await;
    let client = world.native_client().await;
    // Processes of other machines: one is heard of all the while, the other is not.
    for (id, age) in [("01", "-1 hours"), ("02", "2 minutes")] {
        let other = format!(
            "insert into daymark.run (run_id, kind, started_at, program_version, holder, holder_process,
                                      heartbeat_at)
             values ('00000000-0000-7000-8000-0000000000{id}', 'manual', now() - interval '1 hour', '0',
                     'process 1 on elsewhere', 'elsewhere/1/1/1', clock_timestamp() - interval '{age}')"
        );
        client.batch_execute(&other).await.unwrap();
    }
    let own = ["run", "--source", "sp500", "--as-of-now", "--date", "2026-03-02"];
    world.daymark(&own).await.expect_code(0);
    let runs = "select coalesce(outcome, 'at work') from daymark.run order by run_id";
    let outcomes = async || -> Vec<String> {
        client.query(runs, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
    };
    assert_eq!(outcomes().await, ["at work", "interrupted", "at work", "succeeded"]);
    gate.open();
    alive.end().await.expect_code(0);
    assert_eq!(outcomes().await, ["at work", "interrupted", "succeeded", "succeeded"]);
}

#[tokio::test]
async fn a_calendar_that_ends_is_warned_of() {
    let world = World::new(Kind::Native).await;
    world.edit("sources/sp500.toml", "id = \"sp500\"", "id = \"sp500\"\nstart = \"2009-12-30\"");
    let valid = world.daymark(&["validate"]).await;
    valid.expect_code(0);
    let warning = "sources/sp500.toml: the calendar `nyse` does not know the days from 2009-12-30 to 2009-12-31";
    assert!(valid.stdout.contains(warning), "{}", valid.stdout);
    let json = world.daymark(&["validate", "--json"]).await.json();
    assert!(json["warnings"][0].as_str().unwrap().starts_with(warning), "{json}");

    std::fs::create_dir(world.folder.join("calendars")).unwrap();
    world.write("calendars/own.txt", "2026-11-31\n");
    world.edit("sources/sp500.toml", "calendar = \"nyse\"", "calendar = \"calendars/own.txt\"");
    let bad = daymark(&["validate", "--pipeline", &world.folder.to_string_lossy()]).await;
    bad.expect_code(2);
    assert!(bad.stderr.contains("calendars/own.txt:1: `2026-11-31` is no date"), "{}", bad.stderr);
}
