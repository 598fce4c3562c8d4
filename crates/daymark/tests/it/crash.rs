//! SIGKILL in the middle of a publish: nothing is lost, nothing is doubled.

use daymark_testkit::database::Kind;
use daymark_testkit::on_both_databases;
use daymark_testkit::rest::Reply;

use crate::world::{MARKET, MARKET_ROWS, WEATHER, WEATHER_ROWS, Weather, WeatherDay, World};

on_both_databases! {
    a_run_that_is_killed_while_it_publishes_is_published_by_the_next;
    an_upsert_that_is_killed_here_and_there_ends_as_if_it_was_not;
    a_window_that_is_killed_here_and_there_ends_as_if_it_was_not;
    a_snapshot_that_is_killed_here_and_there_ends_as_if_it_was_not;
    an_append_that_is_killed_here_and_there_ends_as_if_it_was_not;
}

async fn an_upsert_that_is_killed_here_and_there_ends_as_if_it_was_not(kind: Kind) {
    killed_here_and_there(kind, "write = \"upsert\"").await;
}

async fn a_window_that_is_killed_here_and_there_ends_as_if_it_was_not(kind: Kind) {
    killed_here_and_there(kind, "write = \"window\"\nwindow = \"date\"").await;
}

async fn a_snapshot_that_is_killed_here_and_there_ends_as_if_it_was_not(kind: Kind) {
    killed_here_and_there(kind, "write = \"snapshot\"").await;
}

async fn an_append_that_is_killed_here_and_there_ends_as_if_it_was_not(kind: Kind) {
    killed_here_and_there(kind, "write = \"append\"").await;
}

/// Three mornings that are killed and one that is not, beside four that are not. What is killed may have come
/// to its commit or not; on the embedded database the server dies with it.
async fn killed_here_and_there(kind: Kind, write: &str) {
    let (world, clean) = (World::answering(kind).await, World::answering(kind).await);
    for world in [&world, &clean] {
        let settled = "settled = \"date < _data_date\"";
        world.edit(
            "models/weather_daily.sql",
            settled,
            &format!("{write}\nhistory = true\n{settled}"),
        );
    }
    // Values change, and a row is missing in the middle and returns.
    let says = |maximum, days: &[&'static str]| {
        let days: Vec<WeatherDay<'_>> =
            days.iter().map(|day| (*day, Some(maximum), Some(1.0), None)).collect();
        Reply::json(Weather(&days).body())
    };
    let mornings = [
        (
            "2026-03-02",
            Some("staging weather"),
            says(5.0, &["2026-03-01", "2026-03-02", "2026-03-03"]),
        ),
        ("2026-03-03", Some("writing `weather_daily`"), says(6.0, &["2026-03-01", "2026-03-03"])),
        ("2026-03-04", Some("committing"), says(6.0, &["2026-03-02", "2026-03-03"])),
        ("2026-03-05", None, says(5.0, &["2026-03-01", "2026-03-02", "2026-03-03"])),
    ];
    for (date, point, answer) in &mornings {
        for world in [&world, &clean] {
            world.api.only(WEATHER, answer.clone());
        }
        let arguments = ["run", "--as-of-now", "--date", date, "--source", "weather"];
        clean.daymark(&arguments).await.expect_code(0);
        if let Some(point) = point {
            let mut killed = world.start(&arguments);
            killed.reports(&format!("publish: {point}")).await;
            killed.kill().await;
        } else {
            world.daymark(&arguments).await.expect_code(0);
        }
    }
    let rows = |table: &str, without: &str| {
        let row = format!("(to_jsonb(said) - '{{{without}}}'::text[])::text");
        format!("(select string_agg({row}, ' ' order by {row}) from {table} as said) as {table}")
    };
    let image = format!(
        "select {}, {}, (select string_agg(concat_ws(' ', data_date, state), ' ' order by manifest_key) \
         from daymark.fetch) as fetches, (select sum(inserted) - sum(deleted) from daymark.publish_table) as came",
        rows("weather_daily", "_fetch_id,_fetch_row,_publish_id"),
        rows("weather_daily_history", "_fetch_id,_fetch_row,_manifest_key,_fetched_at"),
    );
    let (found, expected) = (world.rows(&image).await, clean.rows(&image).await);
    assert_eq!(found, expected);
    assert!(expected[0].contains("2026-03-03"), "{expected:?}");
}

async fn a_run_that_is_killed_while_it_publishes_is_published_by_the_next(kind: Kind) {
    let world = World::answering(kind).await;
    let model = world.read("models/weather_daily.sql");
    // The market's rows are written by then, in the same transaction.
    world.edit(
        "models/weather_daily.sql",
        "from raw_weather",
        "from raw_weather cross join (select pg_sleep(60)) as slow",
    );
    let mut killed = world.start(&["run", "--as-of-now", "--date", "2026-03-02"]);
    killed.reports("publish: staging weather 2026-03-02 for `weather_daily`").await;
    killed.kill().await;

    world.write("models/weather_daily.sql", &model);
    world.api.only(WEATHER, Reply::json(r#"{"error":true,"reason":"gone"}"#).status(404));
    world.api.only(MARKET, Reply::json("{}").status(404));
    let next = world.run("2026-03-03").await;
    assert_eq!(next.code, 1, "its own fetches failed");
    assert_eq!(next.reason("weather"), "HTTP 404: gone");

    let clean = World::answering(kind).await;
    assert_eq!(clean.run("2026-03-02").await.code, 0);
    for rows in [WEATHER_ROWS, MARKET_ROWS] {
        assert_eq!(world.rows(rows).await, clean.rows(rows).await);
    }
    // The killed run's responses are published once, by the run after it.
    assert_eq!(
        world
            .rows(
                "select source_id, data_date, state, reason, attempts from daymark.day order by 1, 2"
            )
            .await,
        [
            r#"["sp500","2026-03-02","published",null,1]"#,
            r#"["sp500","2026-03-03","failed","HTTP 404 Not Found",1]"#,
            r#"["weather","2026-03-02","published",null,1]"#,
            r#"["weather","2026-03-03","failed","HTTP 404: gone",1]"#,
        ]
    );
    let publishes = "select count(*), sum(inserted) as inserted, sum(updated) as updated \
                     from daymark.publish_table";
    assert_eq!(world.rows(publishes).await, ["[2,5,0]"]);
    // The run that was killed is found, and its steps say where it was.
    let runs = "select outcome, finished_at is null as open, reason like '%ended without closing it' as told from daymark.run \
                order by started_at";
    assert_eq!(
        world.rows(runs).await,
        [r#"["interrupted",false,true]"#, r#"["failed",false,null]"#]
    );
    let steps = "select source_id, stage, outcome from daymark.step where run_id = \
                 (select run_id from daymark.run where outcome = 'interrupted') order by 1, 2";
    assert_eq!(
        world.rows(steps).await,
        [r#"["sp500","ingest","fetched"]"#, r#"["weather","ingest","fetched"]"#]
    );

    // And once more changes nothing.
    let rows = "select * from weather_daily order by date";
    let before = world.rows(rows).await;
    world.run("2026-03-03").await;
    assert_eq!(world.rows(rows).await, before);
}
