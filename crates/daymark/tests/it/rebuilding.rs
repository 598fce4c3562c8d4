//! The database is lost, and made again from the raw store; what the raw store does not hold comes from a
//! backup. And two processes that make it at once.

use std::os::unix::fs::PermissionsExt;

use daymark_testkit::database::Kind;
use daymark_testkit::on_both_databases;
use daymark_testkit::rest::Reply;

use crate::world::{GOOD_WEATHER_ROWS, MARKET, WEATHER, WEATHER_ROWS, Weather, World, bars};

on_both_databases! {
    a_lost_database_is_made_again_from_the_raw_store;
    what_a_check_that_is_asked_again_takes_from_readers_is_told;
    what_failed_is_not_called_equal_in_silence;
    a_backup_brings_back_what_the_raw_store_does_not_hold;
    of_two_processes_that_publish_the_same_day_one_does;
}

/// Days of all kinds: restated, with rows that are set aside, held back, and held back and released.
async fn lived(kind: Kind) -> World {
    let world = World::answering(kind).await;
    let settled = "settled = \"date < _data_date\"";
    world.edit(
        "models/weather_daily.sql",
        settled,
        &format!("write = \"window\"\nwindow = \"date\"\nhistory = true\n{settled}"),
    );
    world.edit(
        "models/weather_daily.sql",
        "[[checks]]\nname = \"no day is missing\"",
        "[[checks]]\nname = \"a coldest is known\"\nseverity = \"reject\"\n\
         not_null = \"temperature_min_c\"\n\n[[checks]]\nname = \"no day is missing\"",
    );
    world.edit("models/sp500_daily.sql", "settled =", "history = true\nsettled =");
    // The third day has no minimum.
    assert_eq!(world.run("2026-03-04").await.code, 0);

    let restated = [
        ("2026-03-01", Some(9.75), Some(-0.5), Some(0.0)),
        ("2026-03-03", Some(7.0), Some(1.0), Some(1.5)),
    ];
    world.api.only(WEATHER, Reply::json(Weather(&restated).body()));
    world.api.only(MARKET, Reply::json(bars(&[("2026-02-27", 6900.5), ("2026-03-02", 3475.0)])));
    let report = world.run("2026-03-05").await;
    assert_eq!(report.source("sp500")["state"], "quarantined", "{}", report.json);
    // The second day is within the window and was not sent.
    assert_eq!(report.source("weather")["deleted"], 1, "{}", report.json);
    let arguments =
        ["quarantine", "release", "2026-03-05", "--source", "sp500", "--why", "a split of 2:1"];
    world.daymark(&arguments).await.expect_code(0);

    world.api.only(MARKET, Reply::json(bars(&[("2026-03-02", 100.0), ("2026-03-05", 3500.0)])));
    assert_eq!(world.run("2026-03-06").await.source("sp500")["state"], "quarantined");
    world.api.only(MARKET, Reply::json(bars(&[("2026-03-05", 3500.0), ("2026-03-06", 3510.0)])));
    assert_eq!(world.run("2026-03-07").await.code, 0);
    world
}

/// What the raw store gives: tables and histories, without the columns that tell fetches and publishes apart,
/// and what became of each fetch.
async fn image(world: &World) -> Vec<String> {
    let rows = |table: &str, without: &str| {
        let row = format!("(to_jsonb(said) - '{{{without}}}'::text[])::text");
        format!(
            "select '{table}' as part, count(*), md5(string_agg({row}, ';' order by {row})) as hash \
             from {table} as said"
        )
    };
    let system = "_publish_id";
    let parts = [
        rows("weather_daily", "_fetch_id,_fetch_row,_publish_id"),
        rows("weather_daily_history", system),
        rows("sp500_daily", "_fetch_id,_fetch_row,_publish_id"),
        rows("sp500_daily_history", system),
        rows("daymark.reject", "reject_id,publish_id,at"),
        "select 'fetches', count(*), string_agg(concat_ws(' ', source_id, data_date, state), ', ' \
         order by source_id, manifest_key) from daymark.fetch"
            .to_owned(),
        "select 'days', count(*), string_agg(concat_ws(' ', source_id, data_date, state), ', ' \
         order by source_id, data_date) from daymark.day"
            .to_owned(),
    ];
    world.rows(&parts.join(" union all ")).await
}

async fn a_lost_database_is_made_again_from_the_raw_store(kind: Kind) {
    let world = lived(kind).await;
    let before = image(&world).await;
    let held_back = world.daymark(&["quarantine", "list"]).await.stdout;
    assert!(held_back.contains("2026-03-06") && !held_back.contains("2026-03-05"), "{held_back}");
    assert!(!before.iter().any(|part| part.contains(",0,")), "{before:?}");

    world.lose_database().await;
    let lost = world.daymark(&["rebuild", "--verify"]).await;
    lost.expect_code(1);
    let said = "in the raw store and not published, so not compared: sp500 (";
    assert!(lost.stdout.contains(said) && lost.stdout.contains("weather ("), "{lost:?}");
    assert!(!lost.stdout.contains("equal to the raw store"), "{lost:?}");
    let backwards = ["rebuild", "--verify", "--from", "2026-03-06", "--to", "2026-03-05"];
    world.daymark(&backwards).await.expect_code(2);
    let one = ["rebuild", "--verify", "--model", "weather_daily", "--from", "2026-03-06", "--json"];
    let one = world.daymark(&one).await;
    one.expect_code(1);
    assert!(one.json()["unpublished"].get("sp500").is_none(), "{one:?}");

    world.daymark(&["rebuild"]).await.expect_code(0);
    assert_eq!(image(&world).await, before);
    assert_eq!(world.daymark(&["quarantine", "list"]).await.stdout, held_back);
    world.daymark(&["rebuild", "--verify"]).await.expect_code(0);

    // The next run would have made them as well.
    world.lose_database().await;
    world.api.only(WEATHER, Reply::json("{}").status(404));
    world.api.only(MARKET, Reply::json("{}").status(404));
    assert_eq!(world.run("2026-03-08").await.code, 1, "its own fetches failed");
    let again = image(&world).await;
    assert_eq!(again[..5], before[..5]);
}

/// What only the ledger knows: what readers were shown, and when who did what.
const TOLD: [&str; 6] = [
    "select * from daymark.attempt order by attempt_id",
    "select * from daymark.restatement order by restatement_id",
    "select * from daymark.run where kind <> 'rebuild' order by run_id",
    "select * from daymark.step order by run_id, source_id, data_date, entity, stage",
    "select * from daymark.day order by source_id, data_date, entity",
    "select * from daymark.publish as publish join daymark.run using (run_id) \
     where kind <> 'rebuild' order by publish_id",
];

async fn told(world: &World) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for query in TOLD {
        all.push(world.rows(query).await);
    }
    all
}

async fn a_backup_brings_back_what_the_raw_store_does_not_hold(kind: Kind) {
    let world = lived(kind).await;
    let before = (image(&world).await, told(&world).await);
    assert!(before.1.iter().all(|rows| !rows.is_empty()), "{:?}", before.1);
    let file = world.folder.join("ledger.backup");
    let file = file.to_str().unwrap();
    let backup = world.daymark(&["backup", file]).await;
    backup.expect_code(0);
    assert!(backup.stdout.contains("is in `") && backup.stdout.contains("raw store"), "{backup:?}");
    let mode = std::fs::metadata(file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Nothing half-written is left beside it.
    let beside = std::fs::read_dir(&world.folder).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(beside.filter(|name| name.to_string_lossy().contains("ledger.backup")).count(), 1);
    let missing = world.daymark(&["backup", "/nowhere/at/all"]).await;
    missing.expect_code(1);
    assert!(missing.stderr.contains("cannot write the backup `/nowhere/at/all`"), "{missing:?}");

    // A ledger that is in use is not written over by accident.
    let again = world.daymark(&["restore", file]).await;
    again.expect_code(1);
    let said = "error: the ledger is not empty: it has";
    assert!(again.stderr.contains(said) && again.stderr.contains("in `restatement`"), "{again:?}");
    assert!(again.stderr.contains("--replace"), "{again:?}");
    assert_eq!(told(&world).await, before.1);

    world.lose_database().await;
    let restore = world.daymark(&["restore", file]).await;
    restore.expect_code(0);
    assert!(restore.stdout.contains("`daymark rebuild`"), "{restore:?}");
    assert_eq!(told(&world).await, before.1);
    world.daymark(&["rebuild"]).await.expect_code(0);
    assert_eq!((image(&world).await, told(&world).await), before);
    world.daymark(&["rebuild", "--verify"]).await.expect_code(0);
    // The ledger goes on behind what was restored.
    assert_eq!(world.run("2026-03-08").await.code, 0);

    let replaced = world.daymark(&["restore", file, "--replace", "--json"]).await;
    replaced.expect_code(0);
    assert_eq!(replaced.json()["tables"]["run"], before.1[2].len());
    assert_eq!(told(&world).await, before.1);
}

/// Both have found the same fetches unpublished before either publishes them. On the embedded database the
/// second waits for its turn and finds nothing left.
async fn of_two_processes_that_publish_the_same_day_one_does(kind: Kind) {
    let world = World::answering(kind).await;
    for source in ["weather", "sp500"] {
        world.daymark(&["fetch", source]).await.expect_code(0);
    }
    if kind == Kind::Native {
        // The ledger is there, so that none waits for the other to make it.
        world.daymark(&["status"]).await.expect_code(0);
        let holder = world.native_client().await;
        let lock = "begin; select pg_advisory_xact_lock(hashtextextended('daymark:publish', 0))";
        holder.batch_execute(lock).await.unwrap();
        let (mut one, mut other) = (world.start(&["rebuild"]), world.start(&["rebuild"]));
        for process in [&mut one, &mut other] {
            process.reports("waiting for another publish").await;
        }
        holder.batch_execute("commit").await.unwrap();
        for process in [one, other] {
            process.end().await.expect_code(0);
        }
    } else {
        let model = world.read("models/weather_daily.sql");
        world.edit(
            "models/weather_daily.sql",
            "from raw_weather",
            "from raw_weather cross join (select pg_sleep(1)) as slow",
        );
        let mut one = world.start(&["rebuild"]);
        one.reports("publish: staging weather").await;
        let other = world.start(&["rebuild"]);
        for process in [one, other] {
            process.end().await.expect_code(0);
        }
        world.write("models/weather_daily.sql", &model);
    }
    assert_eq!(world.rows(WEATHER_ROWS).await, GOOD_WEATHER_ROWS);
    let ledger = "select (select count(*) from daymark.publish) as publishes, \
                  (select count(*) from daymark.fetch where publish_id = 1) as fetches, \
                  (select count(*) from daymark.publish_table) as tables, \
                  (select sum(attempts) from daymark.day) as attempts, \
                  (select count(*) from daymark.run where outcome = 'succeeded') as runs";
    assert_eq!(world.rows(ledger).await, ["[1,2,2,2,4]"]);
}

async fn what_a_check_that_is_asked_again_takes_from_readers_is_told(kind: Kind) {
    let world = World::answering(kind).await;
    for date in ["2026-03-02", "2026-03-03"] {
        assert_eq!(world.run(date).await.code, 0);
    }
    let model = world.read("models/weather_daily.sql");
    let check = "[[checks]]\nname = \"the first and no other\"\n\
                 sql = \"select * from staged where exists (select from weather_daily)\"\n*/";
    world.write("models/weather_daily.sql", &model.replacen("*/", check, 1));
    let rechecked = world.daymark(&["rebuild", "--recheck"]).await;
    rechecked.expect_code(1);
    let said = "held back now, so that readers do not see them any more: 1 fetch\n    weather 2026-03-03: ";
    assert!(rechecked.stdout.contains(said), "{}", rechecked.stdout);
    assert!(
        rechecked.stdout.contains("the check `the first and no other` found"),
        "{}",
        rechecked.stdout
    );
    // It is told once.
    let again = world.daymark(&["rebuild", "--recheck"]).await;
    again.expect_code(0);
    assert!(!again.stdout.contains("held back now"), "{}", again.stdout);
}

async fn what_failed_is_not_called_equal_in_silence(kind: Kind) {
    let world = World::answering(kind).await;
    let bounds = "temperature_max_c between -130 and 140";
    world.edit("models/weather_daily.sql", bounds, "temperature_max_c < -130");
    assert_eq!(world.run("2026-03-02").await.code, 1);
    let said =
        "accepted and failed to be published, so in no table and not compared: weather (1 fetch)";
    assert!(world.daymark(&["rebuild", "--verify"]).await.stdout.contains(said));
    let other = world.daymark(&["rebuild", "--verify", "--model", "sp500_daily"]).await;
    other.expect_code(0);
    assert!(!other.stdout.contains("failed to be published"), "{}", other.stdout);
}
