//! Days that an older model or source file published: named by `plan` and `status`, found by `rebuild
//! --verify` where their rows differ, and brought over by `rebuild`.

use daymark_testkit::database::Kind;
use daymark_testkit::on_both_databases;
use serde_json::json;

use crate::world::World;

on_both_databases! {
    days_of_older_files_are_named_until_they_are_brought_over;
}

const AS_THEY_ARE: &str = "the tables are as the contracts say\n";

async fn days_of_older_files_are_named_until_they_are_brought_over(kind: Kind) {
    let world = World::answering(kind).await;
    for date in ["2026-03-02", "2026-03-03"] {
        assert_eq!(world.run(date).await.code, 0);
    }
    let plan = || world.daymark(&["plan"]);
    assert_eq!(plan().await.stdout, AS_THEY_ARE);
    assert_eq!(world.daymark(&["plan", "--json"]).await.json()["older"], json!([]));

    // A model that makes something else of the same rows.
    let first = world.read("models/weather_daily.sql");
    let tenths = "temperature_max_c, temperature_min_c, precipitation_mm * 10 as precipitation_mm";
    let now = "temperature_max_c, temperature_min_c, precipitation_mm\n";
    world.edit("models/weather_daily.sql", now, &format!("{tenths}\n"));
    let said = |files: &str| {
        format!(
            "{files} changed since 2 days were published (2026-03-02 to 2026-03-03): \
             `daymark rebuild --model weather_daily` brings them over\n"
        )
    };
    let of_model = said("models/weather_daily.sql");
    let told = plan().await;
    told.expect_code(0);
    assert_eq!(told.stdout, format!("{AS_THEY_ARE}{of_model}"));
    let status = world.daymark(&["status", "--days", "3660"]).await;
    status.expect_code(0);
    assert!(status.stdout.contains(&of_model), "{}", status.stdout);
    let older = json!([{
        "table": "weather_daily", "files": ["models/weather_daily.sql"], "days": 2,
        "first": "2026-03-02", "last": "2026-03-03",
    }]);
    assert_eq!(world.daymark(&["plan", "--json"]).await.json()["older"], older);
    assert_eq!(world.daymark(&["status", "--json"]).await.json()["older"], older);

    // Their rows differ, and that is why. (One has no precipitation.)
    let verify = world.daymark(&["rebuild", "--verify"]).await;
    verify.expect_code(1);
    assert_eq!(
        verify.stdout,
        "sp500_daily: equal to the raw store\n\
         weather_daily: differs from the raw store: 0 missing, 2 different, 0 that should not be there\n\
         \x20   (washington-dc,2026-03-02)\n\
         \x20   (washington-dc,2026-03-03)\n\
         \x20   2 of them were published by an older model, source file or daymark\n\
         `daymark rebuild` brings them over\n"
    );

    // The source's file counts as well, even where it comes to the same.
    world.edit("sources/weather.toml", "id = \"weather\"", "# Asked every day.\nid = \"weather\"");
    let both = said("models/weather_daily.sql and sources/weather.toml");
    assert_eq!(plan().await.stdout, format!("{AS_THEY_ARE}{both}"));

    world.daymark(&["rebuild", "--model", "weather_daily"]).await.expect_code(0);
    assert_eq!(plan().await.stdout, AS_THEY_ARE);
    world.daymark(&["rebuild", "--verify"]).await.expect_code(0);
    let wettest = "select max(precipitation_mm) from weather_daily";
    assert_eq!(world.value(wettest).await, 35.0);

    // A row that somebody else changed is no older model's.
    if kind == Kind::Native {
        let client = world.native_client().await;
        client
            .batch_execute(
                "update weather_daily set precipitation_mm = 1 where date = '2026-03-02'",
            )
            .await
            .unwrap();
        let verify = world.daymark(&["rebuild", "--verify", "--json"]).await;
        verify.expect_code(1);
        let found = &verify.json()["tables"]["weather_daily"];
        assert_eq!([&found["different"], &found["by_older_model"]], [1, 0], "{found}");
        world.daymark(&["rebuild"]).await.expect_code(0);
    }

    // Back to the first model: what the rebuild made is older now, though the first publish was of this file.
    world.write("models/weather_daily.sql", &first);
    assert_eq!(plan().await.stdout, format!("{AS_THEY_ARE}{of_model}"));
    let verify = world.daymark(&["rebuild", "--verify", "--json"]).await;
    verify.expect_code(1);
    let found = &verify.json()["tables"]["weather_daily"];
    assert_eq!([&found["different"], &found["by_older_model"]], [2, 2], "{found}");
    // A filter that lets more rows through: those that are missing are of the older model, too.
    world.write(
        "models/weather_daily.sql",
        &first.replace("precipitation_mm) > 0", "precipitation_mm) > 0 and date <> '2026-03-02'"),
    );
    world.daymark(&["rebuild"]).await.expect_code(0);
    world.write("models/weather_daily.sql", &first);
    let verify = world.daymark(&["rebuild", "--verify", "--json"]).await;
    verify.expect_code(1);
    let found = &verify.json()["tables"]["weather_daily"];
    assert_eq!([&found["missing"], &found["by_older_model"]], [1, 1], "{found}");
    world.daymark(&["rebuild"]).await.expect_code(0);
    assert_eq!(plan().await.stdout, AS_THEY_ARE);

    // A mart is held against the tables as they are, also where these differ, and that is what it says.
    let mart = "/* mart\nmaterialized = \"table\"\n*/\nselect max(precipitation_mm) as most from weather_daily\n";
    world.write("marts/wettest.sql", mart);
    world.daymark(&["rebuild"]).await.expect_code(0);
    world.write(
        "models/weather_daily.sql",
        &first.replace("precipitation_mm) > 0", "precipitation_mm) > 0 and date <> '2026-03-02'"),
    );
    let verify = world.daymark(&["rebuild", "--verify"]).await;
    verify.expect_code(1);
    assert!(verify.stdout.contains("weather_daily: differs from the raw store: "), "{verify:?}");
    let said = "wettest: equal to what its query gives of the tables as they are\n";
    assert!(verify.stdout.contains(said), "{verify:?}");
}
