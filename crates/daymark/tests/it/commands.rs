//! Each command's own words and forms of output.

use daymark_testkit::database::Kind;
use daymark_testkit::on_both_databases;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::world::{World, daymark, program, run_to_end};

on_both_databases! {
    run_status_and_sql_in_all_their_forms;
}

#[tokio::test]
async fn help_names_every_option() {
    let top = daymark(&["--help"]).await;
    top.expect_code(0);
    assert!(top.stdout.contains("0 done; 1 the run failed; 2 bad usage"), "{}", top.stdout);
    let commands: &[(&str, &[&str])] = &[
        ("init", &["DIR", "reference pipeline"]),
        ("validate", &["--pipeline", "DAYMARK_PIPELINE", "--database", "--json", "ALL problems"]),
        ("test", &["NAME", "--pipeline", "--json", "Nothing is asked"]),
        (
            "run",
            &[
                "--pipeline",
                "--date",
                "--as-of-now",
                "--source",
                "--json",
                "Sources are independent",
            ],
        ),
        ("up", &["--pipeline", "--listen", "takes over"]),
        ("status", &["--pipeline", "--days", "--json", "daymark up"]),
        ("sql", &["QUERY", "--pipeline", "--json", "--csv", "read-only"]),
        ("doctor", &["--pipeline", "--offline", "--json", "OK, WARN or FAIL"]),
        ("infer", &["FILE", "--id", "--url", "--model", "expect.absent"]),
        ("why", &["TABLE", "KEY", "--pipeline", "--date", "--json", "hashed again"]),
        ("demo", &["--exit", "--dir", "--days", "--listen", "--json"]),
        (
            "preview",
            &["SOURCE", "--date", "--entity", "--page", "--rows", "--json", "nothing is stored"],
        ),
        ("fetch", &["SOURCE", "--date", "--entity", "--json", "No database is opened"]),
        ("raw", &["ls", "show", "versions", "diff", "verify", "sync"]),
        ("cursor", &["show", "set"]),
        ("backup", &["FILE", "--pipeline", "--json", "docs/backup.md"]),
        ("restore", &["FILE", "--pipeline", "--replace", "--json", "all of it, or nothing"]),
    ];
    for (command, mentioned) in commands {
        let help = daymark(&[*command, "--help"]).await;
        help.expect_code(0);
        for word in *mentioned {
            assert!(help.stdout.contains(word), "`{word}` of {command}:\n{}", help.stdout);
        }
        assert!(top.stdout.contains(&format!("\n  {command} ")), "{}", top.stdout);
    }
    // Without a command, or with one that is not there: bad usage.
    daymark(&[]).await.expect_code(2);
    daymark(&["runn"]).await.expect_code(2);
}

#[tokio::test]
async fn init_writes_a_valid_folder_once() {
    let home = TempDir::new().unwrap();
    let folder = home.path().join("new/pipeline");
    let folder = folder.to_str().unwrap();
    let first = daymark(&["init", folder]).await;
    first.expect_code(0);
    assert!(first.stdout.starts_with(&format!("wrote the reference pipeline to `{folder}`")));
    let second = daymark(&["init", folder]).await;
    second.expect_code(2);
    let refusal = format!(
        "error: the folder `{folder}` is not empty\nhint: give a folder that is empty or not there yet\n"
    );
    assert_eq!((second.stdout.as_str(), second.stderr), ("", refusal));

    let valid = daymark(&["validate", "--pipeline", folder]).await;
    valid.expect_code(0);
    insta::assert_snapshot!(valid.stdout, @"
    the pipeline `dc-markets` is valid
      sources: sp500, weather
      models:  sp500_daily, weather_daily
      marts:   sp500_metrics, weather_metrics, market_weather
      pages:   overview
      tests:   sp500_dst_week, sp500_empty_200, sp500_holiday, sp500_live_last_row, sp500_live_morning, sp500_live_row_becomes_final, sp500_restated_close, weather_dst_week, weather_error_in_a_200, weather_nulls_at_the_tail
    ");
    // The current folder is the default.
    let here = run_to_end(program().args(["validate", "--json"]).current_dir(folder)).await;
    here.expect_code(0);
    assert_eq!(
        here.json(),
        json!({
            "valid": true, "problems": [], "warnings": [], "pipeline": "dc-markets",
            "sources": ["sp500", "weather"], "models": ["sp500_daily", "weather_daily"],
            "marts": ["sp500_metrics", "weather_metrics", "market_weather"], "pages": ["overview"],
            "tests": [
                "sp500_dst_week", "sp500_empty_200", "sp500_holiday", "sp500_live_last_row",
                "sp500_live_morning", "sp500_live_row_becomes_final", "sp500_restated_close",
                "weather_dst_week", "weather_error_in_a_200", "weather_nulls_at_the_tail",
            ],
        })
    );
}

async fn run_status_and_sql_in_all_their_forms(kind: Kind) {
    let world = World::answering(kind).await;
    let (up, _) = world.up_quietly().await;

    // Nothing is there yet.
    let status = world.daymark(&["status"]).await;
    status.expect_code(0);
    assert!(status.stdout.contains("nothing is published yet"), "{}", status.stdout);

    let report = world.run("2026-03-02").await;
    let sky =
        world.api.requests().into_iter().find(|asked| asked.target.contains("latitude")).unwrap();
    assert_eq!(
        sky.target,
        "/v1/forecast?latitude=38.9&longitude=-77.0\
         &daily=temperature_2m_max,temperature_2m_min,precipitation_sum\
         &timezone=America%2FNew_York&past_days=2"
    );
    assert_eq!(report.code, 0);
    let keys: Vec<&String> = report.json.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "run_id",
            "scheduled_at",
            "publish_id",
            "sources",
            "earlier",
            "checks",
            "drift",
            "marts_failed",
            "manifests_unreadable"
        ]
    );
    assert_eq!(report.json["marts_failed"], json!([]));
    assert!(report.json["publish_id"].is_i64());
    let weather = report.source("weather");
    let bytes = world.stored("raw/weather")[0].1.len();
    let expected = json!({
        "source": "weather", "data_date": "2026-03-02", "requests": 1, "pages": 1, "bytes": bytes,
        "raw_key": "raw/weather/weather_2026-03-02.json", "extracted": 3, "rejected": 0, "first_reject": null,
        "inserted": 3, "updated": 0, "unchanged": 0, "deleted": 0, "state": "published", "reason": null,
    });
    assert_eq!(*weather, expected);

    // The same for people: one source only, for the day a scheduled run would have now.
    let table = world.daymark(&["run", "--source", "weather"]).await;
    table.expect_code(0);
    let lines: Vec<Vec<&str>> =
        table.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    let header = "source data date requests bytes raw key extracted rejected inserted updated \
                  unchanged deleted state";
    assert!(lines.iter().any(|line| line.join(" ") == header), "{}", table.stdout);
    let today =
        world.value("select max(data_date) from daymark.day where source_id = 'weather'").await;
    let today = today.as_str().unwrap();
    // Two of the rows are of days that are over now, and were not on March 2: they are final.
    let row =
        format!("weather {today} 1 {bytes} raw/weather/weather_{today}.json 3 0 0 2 1 0 published");
    assert!(lines.iter().any(|line| line.join(" ") == row), "{}", table.stdout);
    assert!(table.stderr.contains("weather: fetching\n"), "{}", table.stderr);
    assert!(!table.stdout.contains("sp500"), "{}", table.stdout);

    let query = "select date, temperature_max_c, temperature_min_c, 'a, \"b\"' as words from weather_daily \
                 order by date desc limit 2";
    let json = world.daymark(&["sql", "--json", query]).await;
    assert_eq!(
        json.json(),
        json!([
            {
                "date": "2026-03-03", "temperature_max_c": 7.0, "temperature_min_c": null,
                "words": "a, \"b\"",
            },
            {
                "date": "2026-03-02", "temperature_max_c": 11.25, "temperature_min_c": 2.0,
                "words": "a, \"b\"",
            },
        ])
    );
    let csv = world.daymark(&["sql", "--csv", query]).await;
    csv.expect_code(0);
    insta::allow_duplicates! {
        insta::assert_snapshot!(csv.stdout, @r#"
        date,temperature_max_c,temperature_min_c,words
        2026-03-03,7.0,,"a, ""b"""
        2026-03-02,11.25,2.0,"a, ""b"""
        "#);
    }
    let text = world.daymark(&["sql", query]).await;
    text.expect_code(0);
    let text: Vec<String> = text
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    for line in [
        "date temperature_max_c temperature_min_c words",
        "2026-03-03 7.0 a, \"b\"",
        "2026-03-02 11.25 2.0 a, \"b\"",
        "(2 rows)",
    ] {
        assert!(text.iter().any(|found| found == line), "{line} in {text:?}");
    }
    assert_eq!(world.sql("select date from weather_daily where false").await.len(), 0);

    // Nothing can be written, and an error says where.
    for (query, said) in [
        ("create table t ()", "cannot execute CREATE TABLE in a read-only transaction"),
        ("delete from weather_daily", "cannot execute DELETE in a read-only transaction"),
        ("select 1,\n  oen", "column \"oen\" does not exist\nhint: look at line 2 of the query"),
    ] {
        let done = world.daymark(&["sql", query]).await;
        done.expect_code(1);
        let error = format!("error: the query failed: {said}\n");
        // Before it may stand that the embedded database was waited for.
        assert!(done.stderr.ends_with(&error), "{}", done.stderr);
        assert_eq!(done.stdout, "");
    }
    assert_eq!(world.value("select count(*) from weather_daily").await, 3);

    // Days from the first one on, each with its state.
    let status = world.daymark(&["status", "--json", "--days", "3660"]).await;
    status.expect_code(0);
    let status = status.json();
    assert_eq!(status["pipeline"], "dc-markets");
    assert_eq!(status["next_fire"], "2099-01-01T13:00:00Z");
    assert!(status["last_publish"].is_object(), "{status}");
    let days =
        &status["sources"].as_array().unwrap().iter().find(|of| of["source"] == "weather").unwrap()
            ["days"];
    let first = &days[0];
    assert_eq!(
        [&first["date"], &first["state"], &first["reason"], &first["attempts"]],
        [&json!("2026-03-02"), &json!("published"), &Value::Null, &json!(1)]
    );
    let status = world.daymark(&["status", "--days", "2"]).await;
    status.expect_code(0);
    assert!(status.stdout.contains(today), "{}", status.stdout);
    assert!(status.stdout.contains("next run: 2099-01-01 08:00 EST"), "{}", status.stdout);
    up.stop().await;
}

/// The demo twice: the same numbers, and nothing left in the temporary folder.
#[tokio::test(flavor = "multi_thread")]
async fn the_demo_is_the_same_each_time() {
    let temporary = TempDir::new().unwrap();
    let mut summaries = Vec::new();
    for _ in 0..2 {
        let mut command = program();
        command.args(["demo", "--exit", "--json", "--days", "10"]).env("TMPDIR", temporary.path());
        let done = run_to_end(&mut command).await;
        done.expect_code(0);
        summaries.push(done.json());
        assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
    }
    assert_eq!(summaries[0], summaries[1]);
    assert_eq!(summaries[0]["mornings"], 10);
    let rows = |table: &str| summaries[0]["tables"][table].as_u64().unwrap();
    // A year of bars, and ten mornings with two days before and six after each.
    assert!((240..=265).contains(&rows("sp500_daily")), "{}", summaries[0]);
    assert!((16..=18).contains(&rows("weather_daily")), "{}", summaries[0]);
}
