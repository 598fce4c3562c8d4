//! The way back from a row to the bytes the API sent.

use daymark_testkit::database::Kind;
use daymark_testkit::on_both_databases;
use daymark_testkit::rest::Reply;
use serde_json::json;

use crate::world::{WEATHER, Weather, World};

on_both_databases! {
    a_row_leads_back_to_its_bytes;
}

/// Each value is told with the place it has in the very bytes that were archived, through two
/// answers of which the second changes one of them.
async fn a_row_leads_back_to_its_bytes(kind: Kind) {
    let world = World::answering(kind).await;
    world.run("2026-03-03").await;
    let restated = Weather(&[("2026-03-02", Some(11.5), Some(2.0), Some(3.5))]);
    world.api.only(WEATHER, Reply::json(restated.body()));
    world.run("2026-03-04").await;

    // The row that changed comes from the second fetch; its place is read in the archived bytes.
    let why =
        world.daymark(&["why", "weather_daily", "washington-dc", "2026-03-02", "--json"]).await;
    why.expect_code(0);
    let why = why.json();
    assert_eq!(why["row"]["temperature_max_c"], json!("11.5"));
    let manifests = world.manifests("weather");
    assert_eq!(why["fetch"]["id"], manifests[1]["id"]);
    assert_eq!(why["raw"]["page"]["sha256"], manifests[1]["pages"][0]["sha256"]);
    assert_eq!(
        (&why["raw"]["status"], &why["raw"]["mapping_changed"]),
        (&json!(200), &json!(false))
    );
    let key = why["raw"]["page"]["archive_key"].as_str().unwrap();
    let (folder, name) = key.rsplit_once('/').unwrap();
    let stored = world.stored(folder);
    let (_, bytes) = stored.iter().find(|(stored, _)| stored == name).unwrap();
    let body: serde_json::Value = serde_json::from_slice(bytes).unwrap();
    let told = why["raw"]["values"].as_array().unwrap();
    let maximum = told.iter().find(|told| told["field"] == "temperature_max_c").unwrap();
    assert_eq!(maximum["path"], json!("$.daily.temperature_2m_max[0]"));
    assert_eq!(
        body["daily"]["temperature_2m_max"][0].to_string(),
        maximum["value"].as_str().unwrap()
    );
    assert_eq!(why["restatements"][0]["column"], json!("temperature_max_c"));
    assert_eq!(
        (&why["restatements"][0]["old"], &why["restatements"][0]["new"]),
        (&json!(11.25), &json!(11.5))
    );
    assert_eq!(why["publish"]["publish_id"], json!(2));
    assert_eq!(why["publish"]["run_kind"], json!("manual"));
    assert_eq!(why["publish"]["model_file"], json!("models/weather_daily.sql"));
    let checks = why["checks"].as_array().unwrap();
    let checks: Vec<_> = checks
        .iter()
        .map(|asked| [&asked["check"], &asked["severity"], &asked["outcome"]])
        .collect();
    assert_eq!(
        checks,
        [
            [&json!("the warmest is not below the coldest"), &json!("warn"), &json!("passed")],
            [&json!("no day is missing"), &json!("warn"), &json!("passed")],
        ]
    );

    // A row that only the first answer had still leads there, by the names of its key's columns too.
    let named = ["why", "weather_daily", "date=2026-03-03", "location=washington-dc"];
    let first = world.daymark(&named).await;
    first.expect_code(0);
    let checks = "checks     the warmest is not below the coldest (warn): passed\n           \
                  no day is missing (warn): passed\n";
    assert!(first.stdout.contains(checks), "{}", first.stdout);
    for words in [
        "weather_daily: location = washington-dc, date = 2026-03-03\n",
        "  temperature_min_c = null\n",
        "  (not final yet, as the model's `settled` says)\n",
        "published  publish 1 on 20",
        "           by the manual run ",
        "model      models/weather_daily.sql, sha256 ",
        "(the file as it is now)",
        "answer     HTTP 200, 1 request in all\n",
        "raw        archive/weather/2026-03-03/",
        "(hashed again: the same)",
        "row        2 of that response (counted from 0)\n",
        "$.daily.temperature_2m_min[2]",
        "Nothing that was final was said otherwise before.\n",
    ] {
        assert!(first.stdout.contains(words), "`{words}` in\n{}", first.stdout);
    }
    let since = world.read("models/weather_daily.sql").replace("# The bounds", "# These bounds");
    world.write("models/weather_daily.sql", &since);
    let changed = world.daymark(&named).await;
    changed.expect_code(0);
    assert!(changed.stdout.contains("(the file has changed since: `"), "{}", changed.stdout);
    world.daymark(&["rebuild"]).await.expect_code(0);
    let rebuilt = world.daymark(&named).await;
    assert!(
        rebuilt.stdout.contains(
            "(the file has changed since; a rebuild by the one of now gives the same row)"
        ),
        "{}",
        rebuilt.stdout
    );

    // Bytes that were tampered with are not shown as what was received.
    let path = world
        .folder
        .join(".daymark/raw")
        .join(manifests[0]["pages"][0]["archive_key"].as_str().unwrap());
    std::fs::write(&path, "{}").unwrap();
    let damaged = world.daymark(&named).await;
    damaged.expect_code(1);
    assert!(damaged.stdout.contains("fetched    not to be told: "), "{}", damaged.stdout);
}

#[tokio::test]
async fn what_cannot_be_asked_is_said() {
    let world = World::answering(Kind::Embedded).await;
    let refused = async |arguments: &[&str], code: i32| {
        let done = world.daymark(&[&["why"], arguments].concat()).await;
        done.expect_code(code);
        assert_eq!(done.stdout, "");
        done.stderr
    };
    insta::assert_snapshot!(refused(&["weather_dayly", "x"], 2).await, @"
    error: no model makes a table `weather_dayly`
    hint: did you mean `weather_daily`? accepted: `sp500_daily`, `weather_daily`
    ");
    insta::assert_snapshot!(refused(&["market_weather", "x"], 2).await, @"
    error: `market_weather` is a mart (view): its rows are worked out in marts/market_weather.sql from the mart `sp500_metrics`, the mart `weather_metrics`
    hint: ask for a row of one of the tables under it: sp500_daily, weather_daily
    ");
    insta::assert_snapshot!(refused(&["weather_daily", "washington-dc"], 2).await, @"
    error: the key of `weather_daily` has 2 columns (location, date), and 1 value is given
    hint: daymark why weather_daily LOCATION DATE
    ");
    insta::assert_snapshot!(refused(&["weather_daily", "a", "2026-03-02"], 1).await, @"
    error: the table `weather_daily` is not there yet
    hint: `daymark run` makes and fills it
    ");
    world.run("2026-03-02").await;
    insta::assert_snapshot!(refused(&["weather_daily", "washington-dc", "soon"], 2).await, @r#"
    error: `soon` is no value of the key's column `date` (date): invalid input syntax for type date: "soon"
    hint: give the key's values in the order of the model's `key`
    "#);
    insta::assert_snapshot!(refused(&["weather_daily", "washington-dc", "2026-04-01"], 1).await, @"
    error: `weather_daily` has no row with location = washington-dc, date = 2026-04-01
    hint: keys that are there: washington-dc 2026-03-03; washington-dc 2026-03-02; washington-dc 2026-03-01
    ");
}
