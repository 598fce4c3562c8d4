//! What an API changes about its responses, as its users meet it: told by the run, `daymark status` and
//! `daymark drift`, taken, refused or held back as `[schema]` says.

use daymark_testkit::database::Kind;
use daymark_testkit::on_both_databases;
use daymark_testkit::rest::Reply;
use serde_json::{Value, json};

use crate::world::{GOOD_WEATHER, WEATHER, WEATHER_ROWS, World};

on_both_databases! {
    what_an_api_changed_is_told_by_the_run_the_status_and_drift;
    a_response_without_a_field_is_refused_or_taken;
    a_field_of_another_type_sets_rows_aside_or_holds_the_day_back;
}

/// The three days of weather, changed.
fn changed(change: impl Fn(&mut Value)) -> Reply {
    let mut body = GOOD_WEATHER.json();
    change(&mut body);
    Reply::json(body.to_string())
}

/// The lines of a text, without the spaces that make columns.
fn lines(text: &str) -> Vec<String> {
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

async fn what_an_api_changed_is_told_by_the_run_the_status_and_drift(kind: Kind) {
    let world = World::answering(kind).await;
    assert_eq!(world.run("2026-03-02").await.json["drift"], json!([]));
    let none = world.daymark(&["drift"]).await;
    none.expect_code(0);
    assert_eq!(none.stdout, "no response has had another shape than those before it\n");
    assert_eq!(world.daymark(&["drift", "--json"]).await.json(), json!([]));

    world.api.only(
        WEATHER,
        changed(|body| {
            body["model"] = json!({ "name": "best_match", "run": 6 });
            body["elevation"] = json!("18 m");
        }),
    );
    let run =
        world.daymark(&["run", "--as-of-now", "--date", "2026-03-03", "--source", "weather"]).await;
    run.expect_code(0);
    for said in [
        "weather 2026-03-03 shape: `$.elevation` became string, it was number, such as \"18 m\"",
        "weather 2026-03-03 shape: `$.model` is new (object)",
    ] {
        assert!(run.stdout.lines().any(|line| line == said), "{said} in {}", run.stdout);
    }
    // Once only.
    assert_eq!(world.run("2026-03-04").await.json["drift"], json!([]));

    let text = world.daymark(&["drift"]).await;
    text.expect_code(0);
    let told = lines(&text.stdout);
    assert!(
        told[0].starts_with(
            "at source data_date entity kind path old_types new_types example mapped first_seen"
        ),
        "{told:?}"
    );
    for said in [
        "weather 2026-03-03 changed $.elevation number string \"18 m\" f",
        "weather 2026-03-03 new $.model object f",
    ] {
        assert!(told.iter().any(|line| line.contains(said)), "{said} in {told:?}");
    }
    let manifest = format!("manifests/weather/{}", world.stored("manifests/weather")[1].0);
    let found = world.daymark(&["drift", "--json", "--source", "weather"]).await.json();
    let (run_at, first_seen) = (&found[0]["at"], &found[0]["first_seen"]);
    assert!(run_at.is_string() && first_seen.is_string(), "{found}");
    assert_eq!(
        found[0],
        json!({
            "at": run_at, "source": "weather", "data_date": "2026-03-03", "entity": "", "kind": "changed",
            "path": "$.elevation", "old_types": "number", "new_types": "string", "example": "\"18 m\"",
            "mapped": false, "first_seen": first_seen, "publish": 2, "manifest": manifest,
        })
    );
    assert_eq!(found.as_array().unwrap().len(), 2, "{found}");

    for (arguments, count) in
        [(["--source", "sp500"], 0), (["--since", "2026-03-03"], 2), (["--since", "2999-01-01"], 0)]
    {
        let mut all = vec!["drift", "--json"];
        all.extend(arguments);
        let found = world.daymark(&all).await.json();
        assert_eq!(found.as_array().unwrap().len(), count, "{arguments:?}: {found}");
    }
    let unknown = world.daymark(&["drift", "--source", "wether"]).await;
    unknown.expect_code(2);
    assert!(
        unknown.stderr.contains("`wether`") && unknown.stderr.contains("`weather`"),
        "{unknown:?}"
    );

    let status = world.daymark(&["status", "--days", "3660"]).await;
    status.expect_code(0);
    let said = "weather 2026-03-03 new field `$.model`";
    assert!(status.stdout.contains(said), "{}", status.stdout);
}

async fn a_response_without_a_field_is_refused_or_taken(kind: Kind) {
    let world = World::answering(kind).await;
    assert_eq!(world.run("2026-03-02").await.code, 0);
    let before = world.rows(WEATHER_ROWS).await;
    world.api.only(
        WEATHER,
        changed(|body| {
            body["daily"].as_object_mut().unwrap().remove("precipitation_sum");
        }),
    );
    let refused = world.run("2026-03-03").await;
    assert_eq!(refused.code, 1);
    assert_eq!(
        refused.reason("weather"),
        "the field `precipitation_mm` is missing: nothing at `$.daily.precipitation_sum`"
    );
    assert_eq!(world.rows(WEATHER_ROWS).await, before);
    // What was refused is no shape that anything is compared with.
    assert_eq!(world.daymark(&["drift", "--json"]).await.json(), json!([]));

    let source = world.read("sources/weather.toml");
    world.write(
        "sources/weather.toml",
        &format!("{source}\n[schema]\non_missing_field = \"record\"\n"),
    );
    let taken = world.run("2026-03-03").await;
    assert_eq!(taken.code, 0, "{}", taken.json);
    let drift = &taken.json["drift"];
    assert_eq!(drift.as_array().unwrap().len(), 1, "{drift}");
    assert_eq!(
        [&drift[0]["kind"], &drift[0]["path"], &drift[0]["is_mapped"]],
        [&json!("missing"), &json!("$.daily.precipitation_sum"), &json!(true)]
    );
    assert_eq!(
        world.value("select count(*) from weather_daily where precipitation_mm is null").await,
        3
    );
    world.daymark(&["rebuild", "--verify"]).await.expect_code(0);
}

async fn a_field_of_another_type_sets_rows_aside_or_holds_the_day_back(kind: Kind) {
    let world = World::answering(kind).await;
    let source = format!("{}\n[schema]\n", world.read("sources/weather.toml"))
        .replace("absent = [\"$.error\"]", "absent = [\"$.error\"]\nmax_reject_ratio = 0.5");
    world.write("sources/weather.toml", &source);
    assert_eq!(world.run("2026-03-02").await.code, 0);
    let one = || changed(|body| body["daily"]["temperature_2m_max"] = json!([9.5, "warm", 7.0]));
    // By itself: the row is set aside and the rest is published.
    world.api.only(WEATHER, one());
    let report = world.run("2026-03-03").await;
    assert_eq!(report.code, 0, "{}", report.json);
    assert_eq!(report.source("weather")["rejected"], 1);
    let drift = &report.json["drift"];
    assert_eq!(
        [&drift[0]["path"], &drift[0]["old_types"], &drift[0]["new_types"]],
        [&json!("$.daily.temperature_2m_max[*]"), &json!(["number"]), &json!(["number", "string"])]
    );

    world.write("sources/weather.toml", &format!("{source}on_type_change = \"fail\"\n"));
    // A value that does not fit refuses the response.
    world.api.only(WEATHER, one());
    let report = world.run("2026-03-04").await;
    assert_eq!(report.code, 1, "{}", report.json);
    assert!(
        report.reason("weather").starts_with(
            "1 of 3 rows rejected, none taken with `on_type_change = \"fail\"` (first: "
        ),
        "{}",
        report.reason("weather")
    );
    // One that fits, and is of another type, holds the day back.
    let minima = || changed(|body| body["daily"]["temperature_2m_min"] = json!(["1", "2", "3"]));
    world.api.only(WEATHER, minima());
    let before = world.rows(WEATHER_ROWS).await;
    let report = world.run("2026-03-05").await;
    assert_eq!(report.code, 1, "{}", report.json);
    assert_eq!(
        report.source("weather")["reason"],
        "sources/weather.toml: the shape of the response changed ([schema] on_type_change = \"fail\"): \
         `$.daily.temperature_2m_min[*]`, which `[rows]` reads, became string, it was number, such as \"1\""
    );
    assert_eq!(report.source("weather")["state"], "quarantined");
    assert_eq!(world.rows(WEATHER_ROWS).await, before);

    let show = world.daymark(&["quarantine", "show", "2026-03-05", "--source", "weather"]).await;
    show.expect_code(0);
    assert!(show.stdout.contains("$.daily.temperature_2m_min[*]"), "{}", show.stdout);
    // A rebuild that asks checks again obeys it.
    world.daymark(&["rebuild", "--recheck"]).await.expect_code(0);
    assert_eq!(world.rows(WEATHER_ROWS).await, before);
    let release = [
        "quarantine",
        "release",
        "2026-03-05",
        "--source",
        "weather",
        "--why",
        "they are texts now",
    ];
    world.daymark(&release).await.expect_code(0);
    let after = world.rows(WEATHER_ROWS).await;
    assert_ne!(after, before);
    // So it does a person's word.
    world.daymark(&["rebuild", "--recheck"]).await.expect_code(0);
    assert_eq!(world.rows(WEATHER_ROWS).await, after);
    // The new type is known from then on.
    world.api.only(WEATHER, minima());
    assert_eq!(world.run("2026-03-06").await.code, 0);
    world.daymark(&["rebuild", "--verify"]).await.expect_code(0);
}
