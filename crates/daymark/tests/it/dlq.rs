//! `daymark dlq`: what becomes of days that were given up, by a person's word.

use daymark_testkit::database::Kind;
use daymark_testkit::rest::Reply;

use crate::world::{MARKET, WEATHER, World};

/// Marks a day as one that the schedule had tried and given up.
async fn given_up(world: &World, source: &str, day: &str) {
    let dead = format!(
        "insert into daymark.retry (source_id, data_date, state, scheduled_at, attempts, first_at, last_at, reason,
                                    dead_at, dead_because)
         values ('{source}', '{day}', 'dead', now(), 4, now() - interval '2 hours', now(), 'HTTP 404', now(),
                 'it was tried 4 times')"
    );
    world.native_client().await.batch_execute(&dead).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_was_given_up_is_run_or_left_out() {
    let world = World::answering(Kind::Native).await;
    let empty = world.daymark(&["dlq", "list"]).await;
    empty.expect_code(0);
    assert!(empty.stdout.starts_with("no scheduled day has failed"), "{}", empty.stdout);
    world.edit("sources/weather.toml", "past_days = 2\n", "day = \"{{ data_date }}\"\n");
    let good = world.api.requests().len();
    world.api.only(WEATHER, Reply::json("{}").status(404));
    world.api.only(MARKET, Reply::json("{}").status(404));
    assert_eq!(world.run("2026-03-02").await.code, 1);
    assert!(world.api.requests().len() > good);
    for source in ["weather", "sp500"] {
        given_up(&world, source, "2026-03-02").await;
    }
    let list = world.daymark(&["dlq", "list", "--json"]).await.json();
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_eq!([&list[0]["source"], &list[0]["state"]], ["sp500", "dead"]);
    let both = world.daymark(&["dlq", "show", "2026-03-02"]).await;
    both.expect_code(2);
    assert!(both.stderr.contains("say which: `--source sp500`"), "{}", both.stderr);
    let shown = world.daymark(&["dlq", "show", "2026-03-02", "--source", "weather"]).await;
    shown.expect_code(0);
    for words in ["weather 2026-03-02: given up", "it was tried 4 times", "refused"] {
        assert!(shown.stdout.contains(words), "`{words}`: {}", shown.stdout);
    }

    // It fails once more, and stays; then it is published, and goes.
    let retry = ["dlq", "retry", "2026-03-02", "--source", "weather"];
    world.daymark(&retry).await.expect_code(1);
    let list = world.daymark(&["dlq", "list", "--json"]).await.json();
    assert_eq!([&list[1]["attempts"], &list[1]["state"]], [&5.into(), &serde_json::json!("dead")]);
    world.api.only(WEATHER, Reply::json(crate::world::GOOD_WEATHER.body()));
    world.daymark(&retry).await.expect_code(0);
    let list = world.daymark(&["dlq", "list", "--json"]).await.json();
    assert_eq!(list.as_array().unwrap().len(), 1);

    // What answers as of now cannot be asked about that day.
    let of_now = world.daymark(&["dlq", "retry", "--all"]).await;
    of_now.expect_code(2);
    assert!(
        of_now.stderr.contains("daymark dlq discard 2026-03-02 --source sp500"),
        "{}",
        of_now.stderr
    );
    let why = ["dlq", "discard", "2026-03-02", "--why", "the exchange was closed"];
    let gone = world.daymark(&why).await;
    gone.expect_code(0);
    let day = "select kind, by_whom is not null as by_whom, reason like 'discarded by %: the exchange was closed' \
               as told from daymark.skip";
    assert_eq!(world.rows(day).await, [r#"["discarded",true,true]"#]);
    let days =
        ["days", "--source", "sp500", "--from", "2026-03-02", "--to", "2026-03-02", "--json"];
    assert_eq!(world.daymark(&days).await.json()[0]["state"], "skipped");
    let again = world.daymark(&why).await;
    again.expect_code(2);
    assert!(
        again.stderr.contains("is not among the scheduled days that failed"),
        "{}",
        again.stderr
    );
}
