//! `daymark backfill`: days of the past, each asked for once, whatever comes between.

use std::collections::BTreeMap;

use daymark_testkit::database::Kind;
use daymark_testkit::on_both_databases;
use daymark_testkit::rest::{Gate, Reply};
use serde_json::Value;

use crate::world::{World, daymark};

on_both_databases! {
    missing_days_are_filled_and_one_that_fails_stops_no_other;
    a_backfill_that_is_killed_goes_on_where_it_was;
    a_cursor_stays_where_it_is;
    what_answers_as_of_now_comes_from_the_raw_store_only;
}

const ROWS: &str = "select day::text from rates order by day";

/// A pipeline with a source more, which takes a date, on weekdays.
async fn world(kind: Kind, more: &str) -> World {
    let world = World::answering(kind).await;
    let source = format!(
        "id = \"rates\"\ncalendar = \"weekdays\"\n[request]\nurl = \"{}\"\n\
         query = {{ day = \"{{{{ data_date }}}}\" }}\n[retry]\nbase_seconds = 0.001\n{more}\n[rows]\n\
         layout = \"records\"\n[rows.fields]\nn = {{ path = \"n\", type = \"integer\" }}\n",
        world.api.url("/rates")
    );
    world.write("sources/rates.toml", &source);
    world.write(
        "models/rates.sql",
        "/* model\ntable = \"rates\"\nkey = [\"day\"]\n[columns]\nday = \"date not null\"\n\
         n = \"integer not null\"\n*/\nselect _fetch_id, _fetch_row, _data_date as day, n from raw_rates\n",
    );
    world.api.only("/rates", Reply::json(r#"[{"n": 1}]"#));
    world
}

/// How often each day was asked for.
fn asked(world: &World) -> BTreeMap<String, usize> {
    let mut days = BTreeMap::new();
    for request in world.api.requests() {
        if let Some(day) = request.target.strip_prefix("/rates?day=") {
            *days.entry(day.to_owned()).or_default() += 1;
        }
    }
    days
}

/// A backfill of the first half of March 2026, in which the weekdays are 2 to 6 and 9 to 13.
const HALF: [&str; 7] =
    ["backfill", "--source", "rates", "--from", "2026-03-01", "--to", "2026-03-15"];

fn half(more: &[&'static str]) -> Vec<&'static str> {
    [&HALF[..], more].concat()
}

async fn missing_days_are_filled_and_one_that_fails_stops_no_other(kind: Kind) {
    let world = world(kind, "[rate]\ncalls = 1000\nper = \"second\"").await;
    world.daymark(&["run", "--source", "rates", "--date", "2026-03-03"]).await.expect_code(0);
    let one = asked(&world);

    let dry = world.daymark(&half(&["--dry-run", "--json"])).await;
    dry.expect_code(0);
    let plan = &dry.json()["plan"];
    assert_eq!([&plan["days"], &plan["requests"]], [9, 9]);
    let left_out = &plan["sources"][0]["left_out"];
    assert_eq!([&left_out["no data by the calendar"], &left_out["published"]], [5, 1]);
    assert_eq!(asked(&world), one, "a dry run asks nobody");

    world.api.only("/rates?day=2026-03-05", Reply::json("{}").status(404));
    world.api.only("/rates?day=2026-03-06", Reply::json(r#"{"error": "sorry"}"#));
    let done = world.daymark(&half(&[])).await;
    done.expect_code(1);
    assert!(done.stderr.contains("9 days, 9 requests"), "{}", done.stderr);
    assert!(done.stdout.contains("rates 2026-03-05 failed: HTTP 404"), "{}", done.stdout);
    assert!(done.stdout.contains("rates 2026-03-06 failed:"), "{}", done.stdout);
    let days = asked(&world);
    let expected = [2, 3, 4, 5, 6, 9, 10, 11, 12, 13].map(|day| format!("2026-03-{day:02}"));
    assert_eq!(days.keys().cloned().collect::<Vec<_>>(), expected, "no weekend, no day twice");
    assert!(days.values().all(|count| *count == 1), "{days:?}");
    assert_eq!(world.rows(ROWS).await.len(), 8);
    // Days of a batch are published together.
    assert_eq!(world.value("select count(*) from daymark.publish").await, 2);

    // What failed is not missing.
    let done = world.daymark(&half(&["--missing-only"])).await;
    done.expect_code(0);
    assert!(done.stderr.contains("2 failed"), "{}", done.stderr);
    assert_eq!(asked(&world), days);
    world.api.only("/rates?day=2026-03-05", Reply::json(r#"[{"n": 2}]"#));
    world.api.only("/rates?day=2026-03-06", Reply::json(r#"[{"n": 2}]"#));
    let done = world.daymark(&half(&["--failed-only", "--json"])).await;
    done.expect_code(0);
    assert_eq!(done.json()["outcome"]["sources"]["rates"]["published"], 2);
    assert_eq!(world.rows(ROWS).await.len(), 10);
    world.daymark(&half(&["--all", "--parallel", "2"])).await.expect_code(0);
    let days = asked(&world);
    assert_eq!([days["2026-03-02"], days["2026-03-05"]], [2, 3]);
    let runs = world.daymark(&["runs", "--json"]).await.json();
    assert_eq!(runs[0]["kind"], "backfill");
}

async fn a_backfill_that_is_killed_goes_on_where_it_was(kind: Kind) {
    let world = world(kind, "").await;
    let gate = Gate::closed();
    world.api.only("/rates?day=2026-03-10", Reply::json(r#"[{"n": 1}]"#).held_by(&gate));
    let mut killed = world.start(&half(&["--parallel", "1"]));
    killed.reports("fetched (6 of 10)").await;
    killed.kill().await;
    gate.open();
    let before = asked(&world);
    let done = world.daymark(&half(&["--json"])).await;
    done.expect_code(0);
    assert_eq!(world.rows(ROWS).await.len(), 10);
    for (day, count) in asked(&world) {
        // The one that was asked for when it was killed is the only one that is asked for again.
        let expected = if day == "2026-03-10" && before.contains_key(&day) { 2 } else { 1 };
        assert_eq!(count, expected, "{day}");
    }
    let twice = "select count(*) from (select data_date from daymark.step where source_id = 'rates' and \
                 outcome = 'published' group by data_date having count(*) > 1) as twice";
    assert_eq!(world.value(twice).await, 0);
    let killed =
        "select count(*) from daymark.run where outcome = 'interrupted' and kind = 'backfill'";
    assert_eq!(world.value(killed).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_backfill_ends_after_the_day_in_flight() {
    let world = world(Kind::Native, "").await;
    let gate = Gate::closed();
    world.api.only("/rates?day=2026-03-04", Reply::json(r#"[{"n": 1}]"#).held_by(&gate));
    let mut going = world.start(&half(&["--parallel", "1"]));
    going.reports("fetched (2 of 10)").await;
    going.signal("INT").await;
    going.reports("stopping after the step in flight").await;
    gate.open();
    let done = going.end().await;
    done.expect_code(1);
    assert!(done.stdout.contains("stopped with 7 days left"), "{}", done.stdout);
    let rows = world.rows(ROWS).await;
    assert_eq!(rows, [r#"["2026-03-02"]"#, r#"["2026-03-03"]"#, r#"["2026-03-04"]"#]);
    // No step is left open by the days that were not begun.
    let open = "select count(*) from daymark.step where outcome is null";
    assert_eq!(world.value(open).await, 0);
    world.daymark(&half(&[])).await.expect_code(0);
    assert!(asked(&world).values().all(|count| *count == 1));
}

async fn a_cursor_stays_where_it_is(kind: Kind) {
    let more = "[incremental]\ncursor = \"$[*].at\"\ntype = \"date\"\ninitial = \"2026-01-01\"";
    let world = world(kind, more).await;
    world.edit(
        "sources/rates.toml",
        "query = { day = \"{{ data_date }}\" }",
        "query = { since = \"{{ window.start }}\", until = \"{{ window.end }}\" }",
    );
    world.api.only("/rates", Reply::json(r#"[{"n": 1, "at": "2026-09-09"}]"#));
    world.daymark(&["run", "--source", "rates"]).await.expect_code(0);
    let cursor = async || world.daymark(&["cursor", "show", "rates", "--json"]).await.stdout;
    let before = cursor().await;
    assert!(before.contains("2026-09-09"), "{before}");
    world.api.only("/rates", Reply::json(r#"[{"n": 1, "at": "2099-09-09"}]"#));
    world.daymark(&half(&[])).await.expect_code(0);
    assert_eq!(cursor().await, before);
    let asked = world.api.requests();
    // Days are asked for side by side, in no order.
    let day = "/rates?since=2026-03-13&until=2026-03-13";
    assert!(asked.iter().any(|request| request.target == day), "{asked:?}");
}

async fn what_answers_as_of_now_comes_from_the_raw_store_only(kind: Kind) {
    let world = world(kind, "").await;
    let range = ["--from", "2026-03-01", "--to", "2026-03-15"];
    let refused = world.daymark(&[&["backfill"][..], &range].concat()).await;
    refused.expect_code(2);
    for words in ["asked without a date", "--from-raw --source sp500", "`--source rates`"] {
        assert!(refused.stderr.contains(words), "{words}: {}", refused.stderr);
    }
    assert!(world.api.requests().is_empty());

    // Another program keeps two days in the raw store.
    for day in ["2026-03-02", "2026-03-03"] {
        world.daymark(&["fetch", "rates", "--date", day]).await.expect_code(0);
    }
    let requests = world.api.requests().len();
    let raw = [&["backfill", "--from-raw", "--source", "rates", "--json"][..], &range].concat();
    let dry = world.daymark(&[&raw[..], &["--dry-run"]].concat()).await;
    dry.expect_code(0);
    assert_eq!(dry.json()["fetches"]["rates"], 2);
    let done = world.daymark(&raw).await;
    done.expect_code(0);
    let of = &done.json()["outcome"]["sources"]["rates"];
    assert_eq!([&of["published"], &of["left"]], [&Value::from(2), &Value::from(8)]);
    assert_eq!(world.rows(ROWS).await.len(), 2);
    assert_eq!(world.api.requests().len(), requests, "nobody is asked");
    let all = world.daymark(&[&raw[..], &["--all"]].concat()).await;
    all.expect_code(2);
    assert!(all.stderr.contains("daymark rebuild"), "{}", all.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_entities_that_lack_a_day_are_asked() {
    let entities = "[[entity]]\nid = \"a\"\n[[entity]]\nid = \"b\"";
    let world = world(Kind::Native, entities).await;
    world.edit("sources/rates.toml", "{ day =", "{ of = \"{{ entity.id }}\", day =");
    world.edit("models/rates.sql", "key = [\"day\"]", "key = [\"day\", \"of\"]");
    world.edit("models/rates.sql", "[columns]", "[columns]\nof = \"text not null\"");
    world.edit("models/rates.sql", "_data_date as day", "_entity as of, _data_date as day");
    world.api.only("/rates?of=b&day=2026-03-02", Reply::json("{}").status(404));
    world.daymark(&["run", "--source", "rates", "--date", "2026-03-02"]).await.expect_code(1);
    world.api.only("/rates?of=b&day=2026-03-02", Reply::json(r#"[{"n": 1}]"#));
    let day = ["--from", "2026-03-02", "--to", "2026-03-02", "--failed-only", "--json"];
    let done = world.daymark(&[&["backfill", "--source", "rates"][..], &day].concat()).await;
    done.expect_code(0);
    assert_eq!(done.json()["plan"]["requests"], 1);
    assert_eq!(world.api.requests().len(), 3);
    assert_eq!(world.value("select count(*) from rates").await, 2);
}

#[tokio::test]
async fn its_plan_reckons_with_the_limits() {
    let world = world(Kind::Native, "[rate]\ncalls = 10\nweight = 2").await;
    let dry = world.daymark(&half(&["--dry-run", "--json"])).await.json();
    // 10 requests count as 20 calls; 2 may come at once, and 8 are added in each minute.
    let source = &dry["plan"]["sources"][0];
    assert_eq!([&source["requests"], &source["calls"], &source["least_seconds"]], [10, 20, 135]);
    let host =
        world.api.url("").trim_start_matches("http://").split(':').next().unwrap().to_owned();
    let text = world.read("daymark.toml");
    world.write("daymark.toml", &format!("{text}\n[hosts.\"{host}\"]\ncalls = 4\n"));
    let text = world.daymark(&half(&["--dry-run"])).await;
    text.expect_code(0);
    // 2 at once, 2 in each minute: 18 calls wait.
    assert!(text.stdout.contains("about 9 min"), "{}", text.stdout);
    assert!(world.api.requests().is_empty());

    let wrong = world.daymark(&["backfill", "--from", "2026-03-02", "--to", "2026-03-01"]).await;
    wrong.expect_code(2);
    assert!(wrong.stderr.contains("is after `--to 2026-03-01`"), "{}", wrong.stderr);
    let future = world.daymark(&["backfill", "--from", "2026-03-02", "--to", "2999-01-01"]).await;
    future.expect_code(2);
    assert!(future.stderr.contains("is in the future"), "{}", future.stderr);
    let both = daymark(&[&half(&[])[..], &["--all", "--failed-only"]].concat()).await;
    both.expect_code(2);
}
