//! SIGKILL in the middle of a publish: nothing is lost, nothing is doubled.

use daymark_testkit::database::Kind;
use daymark_testkit::on_both_databases;
use daymark_testkit::rest::Reply;

use crate::world::{MARKET, MARKET_ROWS, WEATHER, WEATHER_ROWS, World};

on_both_databases! {
    a_run_that_is_killed_while_it_publishes_is_published_by_the_next;
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
