//! Everything twice, in pieces, and out of order: the same tables each time.

use std::fs;

use daymark_testkit::database::Kind;
use daymark_testkit::on_both_databases;
use daymark_testkit::rest::Reply;

use crate::world::{
    GOOD_WEATHER_ROWS, MARKET_ROWS, Report, WEATHER, WEATHER_ROWS, Weather, WeatherDay, World,
};

on_both_databases! {
    everything_twice_is_the_same_as_once;
    a_response_that_is_published_late_does_not_win;
    runs_at_the_same_time_all_succeed;
}

/// The first run of a database that is not there yet, three times at once: one makes the ledger and the
/// tables, one publishes what another fetched, and each reports its own day as published.
async fn runs_at_the_same_time_all_succeed(kind: Kind) {
    let world = World::answering(kind).await;
    let arguments = ["run", "--json", "--as-of-now", "--date", "2026-03-02"];
    let runs = futures::future::join_all((0..3).map(|_| world.daymark(&arguments))).await;
    for done in &runs {
        let report = Report::of(done);
        assert_eq!(report.code, 0, "{}", report.json);
        for source in ["weather", "sp500"] {
            assert_eq!(report.source(source)["state"], "published", "{}", report.json);
        }
    }
    assert_eq!(world.rows(WEATHER_ROWS).await, GOOD_WEATHER_ROWS);
    let fetches = "select source_id, state, count(*) from daymark.fetch group by 1, 2 order by 1";
    assert_eq!(
        world.rows(fetches).await,
        [r#"["sp500","published",3]"#, r#"["weather","published",3]"#]
    );
    let numbers = "select count(*) = max(publish_id) from daymark.publish";
    assert_eq!(world.rows(numbers).await, ["[true]"]);
}

async fn everything_twice_is_the_same_as_once(kind: Kind) {
    let world = World::answering(kind).await;
    let whole =
        ["select * from weather_daily order by date", "select * from sp500_daily order by date"];

    // All rows are of days that are over: another fetch says nothing new of them, nor that they are final.
    let first = world.run("2026-03-04").await;
    assert_eq!(
        (first.code, first.counts("weather"), first.counts("sp500")),
        (0, [3, 0, 0], [2, 0, 0])
    );
    let once = (world.rows(whole[0]).await, world.rows(whole[1]).await);
    assert_eq!(world.rows(WEATHER_ROWS).await, GOOD_WEATHER_ROWS);

    // Row by row the same, down to the fetch and the publish that first said it.
    let second = world.run("2026-03-04").await;
    assert_eq!(
        (second.code, second.counts("weather"), second.counts("sp500")),
        (0, [0, 0, 3], [0, 0, 2])
    );
    assert_eq!((world.rows(whole[0]).await, world.rows(whole[1]).await), once);

    // In pieces, and for another day that brings the same rows.
    for source in ["sp500", "weather"] {
        let arguments =
            ["run", "--json", "--as-of-now", "--date", "2026-03-05", "--source", source];
        let piece = Report::of(&world.daymark(&arguments).await);
        assert_eq!(piece.code, 0);
        assert_eq!(piece.json["sources"].as_array().unwrap().len(), 1, "{}", piece.json);
        assert_eq!(piece.counts(source)[..2], [0, 0]);
    }
    assert_eq!((world.rows(whole[0]).await, world.rows(whole[1]).await), once);
    let days = "select source_id, data_date, state, attempts from daymark.day order by 1, 2";
    assert_eq!(
        world.rows(days).await,
        [
            r#"["sp500","2026-03-04","published",2]"#,
            r#"["sp500","2026-03-05","published",1]"#,
            r#"["weather","2026-03-04","published",2]"#,
            r#"["weather","2026-03-05","published",1]"#,
        ]
    );
    // The same bytes are kept once, every fetch has its manifest.
    assert_eq!(world.stored("archive/weather/2026-03-04").len(), 1);
    assert_eq!(world.manifests("weather").len(), 3);
}

/// A, B, A, of which B is published last (DESIGN.md section 7, "Late fetches").
async fn a_response_that_is_published_late_does_not_win(kind: Kind) {
    let world = World::answering(kind).await;
    let saying = |maximum, extra: &[WeatherDay<'_>]| {
        let days = [&[("2026-03-01", Some(maximum), None, None)], extra].concat();
        Reply::json(Weather(&days).body())
    };
    let arguments = ["run", "--json", "--as-of-now", "--date", "2026-03-02", "--source", "weather"];

    world.api.only(WEATHER, saying(1.0, &[]));
    assert_eq!(world.daymark(&arguments).await.code, Some(0));

    // B comes while the database is away, and only its own day is new.
    world.api.only(WEATHER, saying(2.0, &[("2026-03-05", Some(5.0), None, None)]));
    let mut away = world.command(&arguments);
    away.env("DAYMARK_DATABASE_URL", "postgres://nobody@127.0.0.1:1/nothing");
    assert_eq!(away.output().await.unwrap().status.code(), Some(1));
    let manifests = world.folder.join(".daymark/raw/manifests/weather");
    let (late, _) = world.stored("manifests/weather").pop().unwrap();
    let aside = world.folder.join(".daymark/late.json");
    fs::rename(manifests.join(&late), &aside).unwrap();

    world.api.only(WEATHER, saying(1.0, &[]));
    let again = Report::of(&world.daymark(&arguments).await);
    assert_eq!(again.counts("weather"), [0, 0, 1]);

    fs::rename(&aside, manifests.join(&late)).unwrap();
    world.api.only(WEATHER, Reply::json("{}").status(404));
    assert_eq!(world.daymark(&arguments).await.code, Some(1));
    assert_eq!(
        world.rows(WEATHER_ROWS).await,
        [
            r#"["washington-dc","2026-03-01",1.0,null,null]"#,
            r#"["washington-dc","2026-03-05",5.0,null,null]"#,
        ]
    );
    let fetches = "select state, count(*) from daymark.fetch group by state order by state";
    assert_eq!(world.rows(fetches).await, [r#"["published",3]"#, r#"["refused",1]"#]);
    // The other source was never asked for.
    assert!(world.manifests("sp500").is_empty());
    let tables = "select count(*) from sp500_daily";
    assert_eq!(world.value(tables).await, 0);
    assert!(world.rows(MARKET_ROWS).await.is_empty());
}
