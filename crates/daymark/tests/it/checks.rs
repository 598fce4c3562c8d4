//! Checks as their users meet them: a day that is held back, looked at and released; rows set aside.

use daymark_testkit::database::Kind;
use daymark_testkit::on_both_databases;
use daymark_testkit::rest::Reply;
use serde_json::Value;

use crate::world::{MARKET, World, bars};

on_both_databases! {
    a_restated_close_is_held_back_until_somebody_releases_it;
    rows_that_are_set_aside_are_listed_and_exported;
}

const CLOSES: &str = "select date, close from sp500_daily order by date";

async fn a_restated_close_is_held_back_until_somebody_releases_it(kind: Kind) {
    let world = World::answering(kind).await;
    assert_eq!(world.run("2026-03-02").await.code, 0);
    let before = world.rows(CLOSES).await;
    world.api.only(MARKET, Reply::json(bars(&[("2026-02-27", 6900.5), ("2026-03-02", 3475.0)])));
    let report = world.run("2026-03-03").await;
    assert_eq!(report.code, 1, "{}", report.json);
    assert_eq!(report.source("sp500")["state"], "quarantined");
    assert_eq!(report.source("weather")["state"], "published");
    let reason = report.source("sp500")["reason"].as_str().unwrap();
    assert!(
        reason.contains("the check `no close restated by more than 25 %` found 1 row"),
        "{reason}"
    );
    assert_eq!(world.rows(CLOSES).await, before);

    let status = world.daymark(&["status", "--days", "400"]).await;
    assert!(
        status.stdout.contains("sp500 2026-03-03 quarantined: models/sp500_daily.sql:"),
        "{}",
        status.stdout
    );
    let list = world.daymark(&["quarantine", "list"]).await;
    list.expect_code(0);
    assert!(list.stdout.contains("no close restated by more than 25 %"), "{}", list.stdout);
    let show = world.daymark(&["quarantine", "show", "2026-03-03", "--source", "sp500"]).await;
    show.expect_code(0);
    assert!(
        show.stdout.contains("published_close") && show.stdout.contains("3475"),
        "{}",
        show.stdout
    );
    let other = world.daymark(&["quarantine", "show", "2026-03-02", "--source", "sp500"]).await;
    other.expect_code(2);
    assert!(other.stderr.contains("held back: sp500 2026-03-03"), "{}", other.stderr);

    // The verdict is raw: the database may go, and the day stays held back.
    assert_eq!(verdicts(&world).len(), 2, "one of each fetch of the source");
    let arguments =
        ["quarantine", "release", "2026-03-03", "--source", "sp500", "--why", "a split of 2:1"];
    let release = world.daymark(&arguments).await;
    release.expect_code(0);
    assert_eq!(
        world.rows(CLOSES).await,
        [before[0].clone(), r#"["2026-03-02",3475.0]"#.to_owned()]
    );
    let verdicts = verdicts(&world);
    let released =
        verdicts.iter().find(|file| file["verdicts"][0]["answer"] == "released").unwrap();
    assert_eq!(released["verdicts"][0]["why"], "a split of 2:1");
    assert!(!released["verdicts"][0]["by"].as_str().unwrap().is_empty());
    let verify = world.daymark(&["rebuild", "--verify"]).await;
    verify.expect_code(0);
    let none = world.daymark(&["quarantine", "list"]).await;
    assert_eq!(none.stdout, "no check holds anything back\n");
}

async fn rows_that_are_set_aside_are_listed_and_exported(kind: Kind) {
    let world = World::answering(kind).await;
    world.edit(
        "models/weather_daily.sql",
        "[[checks]]\nname = \"no day is missing\"",
        "[[checks]]\nname = \"a coldest is known\"\nseverity = \"reject\"\n\
         not_null = \"temperature_min_c\"\n\n[[checks]]\nname = \"no day is missing\"",
    );
    let report = world.run("2026-03-03").await;
    assert_eq!(report.code, 0, "{}", report.json);
    assert_eq!(world.value("select count(*) from weather_daily").await, 2);
    let list = world.daymark(&["rejects", "list"]).await;
    list.expect_code(0);
    assert!(list.stdout.contains("a coldest is known"), "{}", list.stdout);
    let show = world.daymark(&["rejects", "show", "--source", "weather", "--json"]).await;
    let rows: Value = serde_json::from_str(&show.stdout).unwrap();
    assert_eq!(rows[0]["value"]["date"], "2026-03-03", "{}", show.stdout);
    let lines = world.daymark(&["rejects", "export", "--since", "2026-03-03"]).await;
    assert_eq!(lines.stdout.lines().count(), 1, "{}", lines.stdout);
    let csv = world.daymark(&["rejects", "export", "--csv", "--table", "weather_daily"]).await;
    assert!(
        csv.stdout.starts_with("source,data_date,entity,table,set_aside_by,reason,value"),
        "{}",
        csv.stdout
    );
    let none = world.daymark(&["rejects", "list", "--since", "2026-03-04"]).await;
    assert_eq!(none.stdout, "no row was set aside\n");
    world.daymark(&["rejects", "list", "--table", "weather"]).await.expect_code(2);
}

/// All verdicts on fetches of `sp500`.
fn verdicts(world: &World) -> Vec<Value> {
    let of_fetch = |manifest: &Value| {
        world.stored(&format!("verdicts/sp500/{}", manifest["id"].as_str().unwrap()))
    };
    let files: Vec<_> = world.manifests("sp500").iter().flat_map(of_fetch).collect();
    files.iter().map(|(_, body)| serde_json::from_slice(body).unwrap()).collect()
}
