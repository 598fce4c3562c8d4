//! `daymark plan`: what a changed contract does to the table, what of it was done, and what stands in ruins
//! afterwards.

use daymark_testkit::database::Kind;
use daymark_testkit::on_both_databases;
use serde_json::json;

use crate::world::World;

on_both_databases! {
    what_loses_values_is_named_and_done_when_told_to;
    a_model_that_comes_later_is_said_to_lack_days;
}

async fn what_loses_values_is_named_and_done_when_told_to(kind: Kind) {
    let world = World::answering(kind).await;
    assert_eq!(world.run("2026-03-02").await.code, 0);
    let model = world.read("models/weather_daily.sql");
    let lines = model.lines().filter(|line| !line.starts_with("temperature_min_c "));
    let model = lines.collect::<Vec<_>>().join("\n");
    let without = model.replace("temperature_min_c, precipitation_mm", "precipitation_mm").replace(
        "sql = \"select * from staged where temperature_max_c < temperature_min_c\"",
        "not_null = \"location\"",
    );
    assert!(!without.contains("temperature_min_c"), "{without}");
    world.write("models/weather_daily.sql", &without);

    let change =
        "the table `weather_daily` has the column `temperature_min_c`, which the contract lacks";
    let lost = "    rows: the values of `temperature_min_c` in 2 rows are lost\n";
    let needs = "needs `daymark plan --apply --allow-data-loss`\n";
    let shown = world.daymark(&["plan"]).await;
    shown.expect_code(0);
    assert!(shown.stdout.contains(change), "{}", shown.stdout);
    assert!(shown.stdout.contains(&format!("{lost}    {needs}")), "{}", shown.stdout);
    // A run leaves the table alone, and says so.
    let run = world.run("2026-03-03").await;
    assert_eq!(run.source("weather")["state"], "failed", "{}", run.json);
    let reason = run.source("weather")["reason"].as_str().unwrap();
    assert!(reason.ends_with("`daymark plan --apply --allow-data-loss` does it"), "{reason}");
    assert_eq!(run.source("sp500")["state"], "published", "{}", run.json);

    let refused = world.daymark(&["plan", "--apply"]).await;
    refused.expect_code(1);
    assert!(
        refused.stdout.contains(&format!("{lost}    not applied: {needs}")),
        "{}",
        refused.stdout
    );
    assert!(refused.stdout.contains("nothing is applied\n"), "{}", refused.stdout);
    assert!(
        refused.stderr.contains("`temperature_min_c` in 2 rows are lost"),
        "{}",
        refused.stderr
    );
    assert_eq!(world.value("select count(temperature_min_c) from weather_daily").await, 2);

    // It is done; the marts that read the column are the next to be mended, and `plan` does not forget them.
    let applied = world.daymark(&["plan", "--apply", "--allow-data-loss"]).await;
    applied.expect_code(1);
    assert!(
        applied.stdout.contains(change) && applied.stdout.contains("\napplied\n"),
        "{applied:?}"
    );
    assert!(!applied.stdout.contains("not applied"), "{}", applied.stdout);
    assert!(!applied.stdout.contains("the new mart"), "{}", applied.stdout);
    let mart = "marts/weather_metrics.sql:";
    let no_column = "column \"temperature_min_c\" does not exist";
    assert!(
        applied.stderr.contains(&format!("error: {mart}")) && applied.stderr.contains(no_column),
        "{}",
        applied.stderr
    );
    let after = world.daymark(&["plan"]).await;
    after.expect_code(0);
    assert!(after.stdout.starts_with("the tables are as the contracts say\n"), "{}", after.stdout);
    let failed =
        after.stdout.lines().find(|line| line.starts_with(&format!("mart failed: {mart}")));
    assert!(failed.is_some_and(|line| line.contains(no_column)), "{}", after.stdout);
    let told = world.daymark(&["plan", "--json"]).await.json();
    assert_eq!(told["changes"], json!([]));
    assert!(told["marts_failed"][0].as_str().unwrap().contains(no_column), "{told}");

    // The marts mended, all is well; nothing of the failed day is lost.
    for mart in ["weather_metrics", "market_weather"] {
        std::fs::remove_file(world.folder.join(format!("marts/{mart}.sql"))).unwrap();
    }
    for page in std::fs::read_dir(world.folder.join("dashboards")).unwrap() {
        std::fs::remove_file(page.unwrap().path()).unwrap();
    }
    assert_eq!(world.run("2026-03-03").await.code, 0);
    world.daymark(&["rebuild"]).await.expect_code(0);
    assert_eq!(world.daymark(&["plan"]).await.stdout, "the tables are as the contracts say\n");
    assert_eq!(world.value("select count(*) from weather_daily").await, 3);
}

async fn a_model_that_comes_later_is_said_to_lack_days(kind: Kind) {
    let world = World::answering(kind).await;
    assert_eq!(world.run("2026-03-02").await.code, 0);
    let model = world.read("models/weather_daily.sql");
    let later = model.replace("table = \"weather_daily\"", "table = \"later\"");
    world.write("models/later.sql", &later);
    let lacks = "the model of `later` came after 1 day was published (2026-03-02): \
                 `daymark rebuild --model later` brings them over\n";
    let said = async |command: &str| world.daymark(&[command]).await.stdout.contains(lacks);
    assert!(said("plan").await);
    assert_eq!(world.run("2026-03-03").await.code, 0);
    assert!(said("plan").await && said("status").await);
    // The grid of the status ends today; what was before it is counted.
    let earlier = "missing: `daymark days --state missing` lists them\n";
    let status = world.daymark(&["status"]).await.stdout;
    assert!(status.contains("\nbefore these: ") && status.contains(earlier), "{status}");
    world.daymark(&["rebuild", "--model", "later"]).await.expect_code(0);
    assert!(!said("plan").await);
}
