//! The first look at a source, and the raw store from the command line, on a folder and in a bucket.

use std::fs;

use daymark_testkit::bucket::TestBucket;
use daymark_testkit::database::Kind;
use daymark_testkit::rest::Reply;
use serde_json::{Value, json};

use crate::world::{Done, GOOD_WEATHER, WEATHER, Weather, World, run_to_end};

/// A source with all that a preview has to show.
const PAGED: &str = "/v2/rows";

/// What `${PAGED_KEY}` stands for; it is to be seen nowhere.
const SECRET: &str = "s3cr3t-key-of-paged";

/// The same days a little later: one value is another, and one day more.
const REVISED: Weather<'_> = Weather(&[
    ("2026-03-01", Some(9.5), Some(-0.5), Some(0.0)),
    ("2026-03-02", Some(12.5), Some(2.0), Some(3.5)),
    ("2026-03-03", Some(7.0), None, Some(1.5)),
    ("2026-03-04", Some(3.0), Some(1.0), Some(0.5)),
]);

/// A world with a source more: two entities, a key in the query, pages by cursor, a cursor by date.
async fn world() -> World {
    let world = World::new(Kind::Embedded).await;
    let source = format!(
        r#"
id = "paged"
[request]
url = "{}"
query = {{ of = "{{{{ entity.id }}}}", since = "{{{{ cursor }}}}" }}
[auth]
type = "api_key"
name = "token"
value = "${{PAGED_KEY}}"
in = "query"
[[entity]]
id = "dc"
[[entity]]
id = "nyc"
[pagination]
type = "cursor"
path = "$.next"
parameter = "page"
[incremental]
cursor = "$.rows[*].day"
type = "date"
initial = "2026-01-01"
[expect]
absent = ["$.error"]
present = ["$.rows"]
[rows]
layout = "records"
at = "$.rows[*]"
[rows.fields]
day = {{ path = "day", type = "date" }}
price = {{ path = "price", type = "numeric" }}
"#,
        world.api.url(PAGED)
    );
    world.write("sources/paged.toml", &source);
    world
}

/// The program with the secret of `paged`.
async fn daymark(world: &World, arguments: &[&str]) -> Done {
    let done = run_to_end(world.command(arguments).env("PAGED_KEY", SECRET)).await;
    assert!(!done.stdout.contains(SECRET) && !done.stderr.contains(SECRET), "{done:?}");
    done
}

/// A text with what differs from run to run replaced.
fn stable(world: &World, text: &str) -> String {
    let text = text.replace(&world.api.port().to_string(), "<port>");
    let timed = |line: &str| match line.find("first byte after") {
        Some(at) => format!("{}<times>", &line[..at]),
        None => line.to_owned(),
    };
    text.lines()
        .map(timed)
        .filter(|line| !line.starts_with("  date "))
        .collect::<Vec<_>>()
        .join("\n")
}

fn page(rows: &[(&str, Value)], next: Option<&str>) -> Reply {
    let rows: Vec<Value> =
        rows.iter().map(|(day, price)| json!({"day": day, "price": price})).collect();
    Reply::json(json!({"rows": rows, "next": next}).to_string())
}

#[tokio::test]
async fn a_preview_shows_everything_and_stores_nothing() {
    let world = world().await;
    let echo = json!({
        "rows": [{"day": "2026-03-01", "price": "1.50"}, {"day": "2026-03-02", "price": "cheap"}],
        "next": "p2", "you_sent": SECRET,
    });
    world.api.on(PAGED, Reply::json(echo.to_string()).header("x-ratelimit-remaining", "7"));
    let fetched = daymark(&world, &["preview", "paged"]).await;
    // One of two rows is set aside, which would be too many of an only page.
    fetched.expect_code(0);
    let today = fetched.stdout.lines().find_map(|line| line.strip_prefix("  data date")).unwrap();
    let said = stable(&world, &fetched.stdout.replace(today.trim(), "<today>"));
    insta::assert_snapshot!(said, @r#"
    paged: GET http://127.0.0.1:<port>/v2/rows?of=dc&since=2026-01-01&token=***
      data date        <today>
      entity           dc (and 1 more)
      page             1
      user-agent       daymark/0.1.0

    HTTP 200, 128 B, <times>
      content-type          application/json
      x-ratelimit-remaining 7

    shape
       path              type                example
      ────────────────────────────────────────────────────
       $.rows[*].day     2 x string (date)   "2026-03-01"
       $.rows[*].price   2 x string          "1.50"
       $.next            string              "p2"
       $.you_sent        string              "***"

    expectations
            expected               found
      ────────────────────────────────────────────────
       ok   absent $.error         nothing
       ok   present $.rows         an array or object
       ok   min_rows 1             1
       ?    max_reject_ratio 0.1   1 of 2 rejected

    rows
      1 row extracted, 1 set aside

       day            price
       date         numeric
      ──────────────────────
       2026-03-01      1.50

    set aside
      row 1, `price` at `$.rows[1].price`: `"cheap"`: expected a number, found other text

    next page: 2, GET http://127.0.0.1:<port>/v2/rows?of=dc&since=2026-01-01&token=***&page=p2
    cursor: 2026-01-01 (`initial` of the source's file) -> 2026-03-02

    would be accepted, as far as this page tells; nothing was stored (`daymark fetch paged` stores it)
    "#);
    assert_eq!(world.api.requests().len(), 1);
    assert!(!world.folder.join(".daymark").try_exists().unwrap(), "nothing is stored");
    let seen = &world.api.requests()[0].target;
    assert_eq!(seen, &format!("{PAGED}?of=dc&since=2026-01-01&token={SECRET}"));
}

#[tokio::test]
async fn a_preview_walks_to_a_page_and_says_where_pages_end() {
    let world = world().await;
    world.api.on(PAGED, page(&[("2026-03-01", json!(1))], Some("p2")));
    world.api.on(PAGED, page(&[("2026-03-02", json!(2))], None));
    let done =
        daymark(&world, &["preview", "paged", "--entity", "nyc", "--page", "9", "--json"]).await;
    done.expect_code(0);
    let preview = &done.json()["preview"];
    assert_eq!((&preview["page"], &preview["entity"]), (&json!(2), &json!("nyc")));
    assert_eq!(preview["sample"]["rows"], json!([["2026-03-02", "2"]]));
    assert_eq!(preview["next"], json!({"kind": "last"}));
    assert_eq!(preview["cursor"]["after"], "2026-03-02");
    let targets: Vec<String> = world.api.requests().into_iter().map(|seen| seen.target).collect();
    assert!(targets[1].contains("page=p2") && targets.len() == 2, "{targets:?}");
    let wrong = daymark(&world, &["preview", "paged", "--entity", "nycc"]).await;
    wrong.expect_code(2);
    assert!(wrong.stderr.contains("did you mean `nyc`?"), "{}", wrong.stderr);
}

#[tokio::test]
async fn a_preview_of_a_refused_answer_says_all_and_why() {
    let world = world().await;
    let error = r#"{"error": true, "reason": "no such variable"}"#;
    world.api.only(WEATHER, Reply::json(error));
    let done = daymark(&world, &["preview", "weather"]).await;
    done.expect_code(1);
    for part in [
        "HTTP 200",
        "$.reason",
        "WOULD BE REFUSED",
        "no such variable",
        "next page: none; the source has no `[pagination]`",
        "none: the body has nothing at `$.daily`",
    ] {
        assert!(done.stdout.contains(part), "`{part}` in\n{}", done.stdout);
    }
    // A page for people, a failure of the server, and no server at all.
    world.api.only(WEATHER, Reply::new(200, "<html><title>Consent</title></html>"));
    let done = daymark(&world, &["preview", "weather"]).await;
    done.expect_code(1);
    assert!(done.stdout.contains("body starts with\n  <html>"), "{}", done.stdout);
    world.api.only(WEATHER, Reply::new(503, "away"));
    let done = daymark(&world, &["preview", "weather", "--json"]).await;
    done.expect_code(1);
    let json = done.json();
    assert_eq!((&json["accepted"], &json["preview"]["status"]), (&json!(false), &json!(503)));
    assert_eq!(json["preview"]["refusal"]["kind"], "unavailable");
    // Once: a person asks again when he likes.
    assert_eq!(world.api.requests().len(), 3);
    assert!(!world.folder.join(".daymark").try_exists().unwrap(), "nothing is stored");
}

#[tokio::test]
async fn a_fetch_is_stored_without_a_database_and_published_by_the_next_run() {
    let world = World::answering(Kind::Embedded).await;
    let done = daymark(&world, &["fetch", "weather"]).await;
    done.expect_code(0);
    assert!(done.stdout.contains("the next `daymark run` publishes"), "{}", done.stdout);
    assert!(done.stdout.contains("manifests/weather/"), "{}", done.stdout);
    let database = world.database_url().strip_prefix("embedded:").unwrap().to_owned();
    assert!(!std::path::Path::new(&database).try_exists().unwrap(), "no database is made");
    let manifests = world.manifests("weather");
    assert_eq!((manifests.len(), &manifests[0]["rows"]["extracted"]), (1, &json!(3)));
    // Only what is due can be asked of an API that answers as of now.
    let other = daymark(&world, &["fetch", "weather", "--date", "2026-03-01"]).await;
    other.expect_code(2);
    assert!(other.stderr.contains("as of now and not for 2026-03-01"), "{}", other.stderr);
    assert!(other.stderr.contains("write `{{ data_date }}` into `[request]`"), "{}", other.stderr);
    assert_eq!(world.manifests("weather").len(), 1);
    // What is refused is kept as evidence.
    world.api.only(WEATHER, Reply::new(200, "{}"));
    let refused = daymark(&world, &["fetch", "weather", "--json"]).await;
    refused.expect_code(1);
    let json = refused.json();
    assert_eq!(json["fetches"][0]["manifest"]["outcome"], "refused", "{json}");
    // The run of another source publishes what was fetched before.
    daymark(&world, &["run", "--source", "sp500"]).await.expect_code(0);
    assert_eq!(world.value("select count(*) from weather_daily").await, json!(3));
}

#[tokio::test]
async fn a_run_fails_for_its_own_sources_and_tells_of_the_others() {
    let world = World::answering(Kind::Embedded).await;
    daymark(&world, &["run"]).await.expect_code(0);
    let wrong = "from raw_weather join (select 1) as one on 1 / (_fetch_row - _fetch_row) = 1";
    world.edit("models/weather_daily.sql", "from raw_weather", wrong);
    daymark(&world, &["fetch", "weather"]).await.expect_code(0);
    let other = daymark(&world, &["run", "--source", "sp500"]).await;
    other.expect_code(0);
    assert!(
        other.stdout.contains("fetch of an earlier run failed: `manifests/weather/"),
        "{}",
        other.stdout
    );
    let key = "manifests/weather/20260301T130000.000000Z_2026-03-01_0193a2b4-0000-7000-8000-000000000001.json";
    world.store(key, b"{");
    let other = daymark(&world, &["run", "--source", "sp500"]).await;
    other.expect_code(0);
    assert!(other.stdout.contains("manifest not read: "), "{}", other.stdout);
    daymark(&world, &["run", "--source", "weather"]).await.expect_code(1);
    daymark(&world, &["run", "--source", "sp500", "--source", "weather"]).await.expect_code(1);
    daymark(&world, &["run"]).await.expect_code(1);
}

#[tokio::test]
async fn a_run_says_whose_requests_it_makes_and_how_many_pages_came() {
    let world = world().await;
    world.edit("sources/paged.toml", "[[entity]]\nid = \"nyc\"\n", "");
    world.api.on(PAGED, page(&[("2026-03-01", json!(1))], Some("p2")));
    world.api.on(PAGED, page(&[("2026-03-02", json!(2))], None));
    let run = daymark(&world, &["run", "--source", "paged"]).await;
    assert!(run.stdout.contains("_p1.json (+1 page)"), "{run:?}");
    for line in ["paged: dc: fetching\n", "paged: dc: page 2\n", "paged: dc done, 1 of 1\n"] {
        assert!(run.stderr.contains(line), "{line}{}", run.stderr);
    }
    assert!(!run.stderr.contains("bytes"), "{}", run.stderr);
}

#[tokio::test]
async fn the_fetches_of_a_day_are_listed_shown_and_compared() {
    let world = World::answering(Kind::Embedded).await;
    let first = daymark(&world, &["fetch", "weather", "--json"]).await.json();
    let day = first["data_date"].as_str().unwrap().to_owned();
    world.api.only(WEATHER, Reply::json(REVISED.body()));
    daymark(&world, &["fetch", "weather"]).await.expect_code(0);
    daymark(&world, &["fetch", "weather"]).await.expect_code(0);
    world.api.only(WEATHER, Reply::new(500, "broken"));
    world.edit(
        "sources/weather.toml",
        "base_seconds = 0.001",
        "base_seconds = 0.001\nattempts = 1",
    );
    daymark(&world, &["fetch", "weather"]).await.expect_code(1);

    let listed = daymark(&world, &["raw", "ls", "weather"]).await;
    listed.expect_code(0);
    let lines: Vec<&str> = listed.stdout.lines().skip(2).collect();
    assert_eq!(lines.len(), 5, "{}", listed.stdout);
    assert!(lines[2].contains("accepted") && lines[2].contains(" = "), "{}", lines[2]);
    assert!(lines[3].contains("refused") && lines[4].ends_with("refused: HTTP 500: broken"));
    let count = |done: &Done| done.json()["fetches"].as_array().unwrap().len();
    for (arguments, expected) in [
        (vec!["--refused"], 1),
        (vec!["--date", &day], 4),
        (vec!["--to", "2026-01-01"], 0),
        (vec!["--from", "2026-01-01", "--last", "2"], 2),
        (vec!["--entity", "dc"], 0),
    ] {
        let arguments = [vec!["raw", "ls", "--json"], arguments].concat();
        assert_eq!(count(&daymark(&world, &arguments).await), expected, "{arguments:?}");
    }

    // Byte for byte, of the latest accepted fetch, by every name it has.
    let latest = REVISED.body();
    let shown = daymark(&world, &["raw", "show", "weather", "--date", &day]).await;
    assert_eq!((shown.code, shown.stdout.as_str()), (Some(0), latest.as_str()));
    let id = first["fetches"][0]["manifest"]["id"].as_str().unwrap();
    let key = first["fetches"][0]["key"].as_str().unwrap();
    let archived = first["fetches"][0]["manifest"]["pages"][0]["archive_key"].as_str().unwrap();
    for name in [id, key, archived] {
        let shown = daymark(&world, &["raw", "show", name]).await;
        assert_eq!(shown.stdout, GOOD_WEATHER.body(), "{name}");
    }
    let manifest = daymark(&world, &["raw", "show", id, "--manifest"]).await;
    assert_eq!(manifest.json(), first["fetches"][0]["manifest"]);

    let versions = daymark(&world, &["raw", "versions", "weather", "--date", &day, "--json"]).await;
    let told: Vec<_> = versions
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|version| format!("{} {}", version["change"], version["current"]))
        .collect();
    assert_eq!(told, ["\"first\" false", "\"changed\" true", "\"same bytes\" true", "null false"]);
    daymark(&world, &["raw", "versions", "weather", "--date", &day]).await.expect_code(0);

    let differ = daymark(&world, &["raw", "diff", "weather", "--date", &day]).await;
    differ.expect_code(0);
    let from = differ.stdout.find("\n\n").unwrap();
    insta::assert_snapshot!(&differ.stdout[from + 2..], @r#"
         path                            at           before   after
    ────────────────────────────────────────────────────────────────────────
     +   $.daily.time[3]                 2026-03-04            "2026-03-04"
         $.daily.temperature_2m_max[1]   2026-03-02   11.25    12.5
     +   $.daily.temperature_2m_max[3]   2026-03-04            3.0
     +   $.daily.temperature_2m_min[3]   2026-03-04            1.0
     +   $.daily.precipitation_sum[3]    2026-03-04            0.5

    1 changed, 4 added, 0 removed
    "#);
    let same = daymark(&world, &["raw", "diff", id, id]).await;
    assert!(same.stdout.ends_with("\nno difference\n"), "{}", same.stdout);

    // What is not there is said to be, with what to do.
    for (arguments, code, said) in [
        (vec!["raw", "show", "weather"], 2, "which day of it is meant?"),
        (vec!["raw", "show", "wether", "--date", &day], 2, "did you mean `weather`?"),
        (vec!["raw", "show", "archive/nothing.json"], 1, "has no `archive/nothing.json`"),
        (vec!["raw", "show", "../../daymark.toml"], 1, "../../daymark.toml"),
        (vec!["raw", "show", "0193a2b4-0000-7000-8000-000000000001"], 1, "has no fetch"),
        (vec!["raw", "show", "weather", "--date", "2020-01-01"], 1, "for 2020-01-01"),
        (vec!["raw", "diff", "weather"], 2, "give two keys or ids"),
        (vec!["raw", "ls", "weather", "--from", "2026-02-01", "--to", "2026-01-01"], 2, "is after"),
    ] {
        let done = daymark(&world, &arguments).await;
        done.expect_code(code);
        assert!(done.stderr.contains(said), "{arguments:?}: {}", done.stderr);
    }
}

#[tokio::test]
async fn a_verified_store_is_sound_until_it_is_not() {
    let world = World::answering(Kind::Embedded).await;
    // Nothing fetched yet is no damage, and makes no folder.
    let nothing = daymark(&world, &["raw", "verify"]).await;
    nothing.expect_code(0);
    assert!(nothing.stdout.contains("the raw store is empty"), "{}", nothing.stdout);
    daymark(&world, &["raw", "ls"]).await.expect_code(0);
    assert!(!world.folder.join(".daymark").try_exists().unwrap());
    let fetched = daymark(&world, &["fetch", "weather", "--json"]).await.json();
    let sound = daymark(&world, &["raw", "verify", "weather"]).await;
    sound.expect_code(0);
    assert!(sound.stdout.contains("the raw store is sound"), "{}", sound.stdout);
    let page = &fetched["fetches"][0]["manifest"]["pages"][0];
    let file = |key: &str| world.folder.join(".daymark/raw").join(page[key].as_str().unwrap());
    // Someone edits the raw object, which is for people.
    fs::write(file("raw_key"), "{}").unwrap();
    let edited = daymark(&world, &["raw", "verify", "--json"]).await;
    edited.expect_code(0);
    let report = &edited.json()["report"];
    assert_eq!(report["raw_differs"][0]["key"], page["raw_key"], "{report}");
    let told = daymark(&world, &["raw", "verify"]).await.stdout;
    assert!(told.contains("raw differs: raw/weather/"), "{told}");
    // The archive rots.
    fs::write(file("archive_key"), "rot").unwrap();
    let damaged = daymark(&world, &["raw", "verify"]).await;
    damaged.expect_code(1);
    assert!(damaged.stdout.contains("DAMAGED: archive/weather/"), "{}", damaged.stdout);
    fs::remove_file(file("archive_key")).unwrap();
    let missing = daymark(&world, &["raw", "verify"]).await;
    missing.expect_code(1);
    assert!(missing.stdout.contains("MISSING: archive/weather/"), "{}", missing.stdout);
}

#[tokio::test]
async fn a_raw_layer_goes_to_a_bucket_and_back() {
    let world = World::answering(Kind::Embedded).await;
    let bucket = TestBucket::new().await;
    let day = daymark(&world, &["fetch", "weather", "--json"]).await.json();
    let day = day["data_date"].as_str().unwrap().to_owned();
    let url = format!("s3://{}/copy", bucket.name);
    let with = |arguments: &[&str], own: bool| {
        let mut command = world.command(arguments);
        command
            .env("DAYMARK_RAW_ENDPOINT", &bucket.endpoint)
            .env("AWS_ACCESS_KEY_ID", "AKIATEST")
            .env("AWS_SECRET_ACCESS_KEY", "test-secret")
            .env("AWS_REGION", "us-east-1");
        if own {
            command.env("DAYMARK_RAW_URL", &url);
        }
        command
    };
    let there = run_to_end(&mut with(&["raw", "sync", "pipeline", &url, "--json"], false)).await;
    there.expect_code(0);
    assert_eq!((&there.json()["copied"], &there.json()["there"]), (&json!(3), &json!(0)));
    let again = run_to_end(&mut with(&["raw", "sync", "pipeline", &url, "--json"], false)).await;
    let count = |key: &str| again.json()[key].as_u64().unwrap();
    // A bucket's times have whole seconds: a raw object, which may be written over, that was copied in
    // the second it was written in is copied again.
    assert!(count("copied") <= 1 && count("copied") + count("there") == 3, "{}", again.stdout);

    // Every command works on the bucket as on the folder.
    let shown = run_to_end(&mut with(&["raw", "show", "weather", "--date", &day], true)).await;
    assert_eq!(shown.stdout, GOOD_WEATHER.body());
    world.api.only(WEATHER, Reply::json(REVISED.body()));
    run_to_end(&mut with(&["fetch", "weather"], true)).await.expect_code(0);
    let listed = run_to_end(&mut with(&["raw", "ls", "--json"], true)).await;
    assert_eq!(listed.json()["fetches"].as_array().unwrap().len(), 2);
    let versions = &["raw", "versions", "weather", "--date", &day, "--json"];
    assert_eq!(run_to_end(&mut with(versions, true)).await.json()[1]["current"], json!(true));
    let differ = &["raw", "diff", "weather", "--date", &day, "--json"];
    let differ = run_to_end(&mut with(differ, true)).await.json();
    assert_eq!((&differ["changed"], &differ["added"]), (&json!(1), &json!(4)), "{differ}");
    run_to_end(&mut with(&["raw", "verify"], true)).await.expect_code(0);

    let home = world.folder.parent().unwrap().join("back");
    let back = format!("file:{}", home.display());
    let copied = run_to_end(&mut with(&["raw", "sync", "pipeline", &back, "--json"], true)).await;
    copied.expect_code(0);
    assert_eq!(copied.json()["copied"], json!(5));
    let mut command = world.command(&["raw", "verify"]);
    run_to_end(command.env("DAYMARK_RAW_URL", &back)).await.expect_code(0);
    // A misspelt prefix is no backup, and a bucket that is not there keeps no evidence.
    let none = format!("s3://{}/copied", bucket.name);
    let nothing = run_to_end(&mut with(&["raw", "sync", &none, &back], true)).await;
    nothing.expect_code(1);
    assert!(
        nothing.stderr.contains(&format!("there is nothing in `{none}`")),
        "{}",
        nothing.stderr
    );
    let mut lost = with(&["fetch", "weather"], false);
    let lost = run_to_end(lost.env("DAYMARK_RAW_URL", "s3://not-there/copy")).await;
    lost.expect_code(1);
    assert!(lost.stdout.contains("no manifest was written"), "{}", lost.stdout);
    let mut doctor = with(&["doctor", "--offline"], false);
    let doctor = run_to_end(doctor.env("DAYMARK_RAW_URL", "s3://not-there/copy")).await;
    doctor.expect_code(1);
    assert!(doctor.stdout.contains("S3 says NoSuchBucket"), "{}", doctor.stdout);
    assert!(!doctor.stdout.contains("<?xml"), "{}", doctor.stdout);
    // Stores that are none.
    for (from, to, said) in [
        ("pipeline", "ftp://x", "accepted: `file:DIR`"),
        ("file:nowhere", "pipeline", "there is no raw store"),
        ("pipeline", "pipeline", "cannot be copied to itself"),
        ("file:.", "file:./archive/copy", "lies inside"),
        ("s3://our-bucket/raw", "s3://our-bucket/raw/copy", "lies inside"),
        ("s3://our-bucket", "s3://our-bucket/copy", "lies inside"),
    ] {
        let done = daymark(&world, &["raw", "sync", from, to]).await;
        done.expect_code(2);
        assert!(done.stderr.contains(said), "{}", done.stderr);
    }
}

#[tokio::test]
async fn a_cursor_is_shown_moved_by_fetches_and_set_by_hand() {
    let world = world().await;
    world.api.on(PAGED, page(&[("2026-03-01", json!(1))], None));
    let show = async |arguments: &[&str]| {
        let arguments = [&["cursor", "show", "--json"], arguments].concat();
        let done = daymark(&world, &arguments).await;
        done.expect_code(0);
        done.json()
    };
    let before = show(&[]).await;
    assert_eq!(before.as_array().unwrap().len(), 2);
    assert_eq!((&before[0]["cursor"], &before[0]["since"]), (&json!("2026-01-01"), &Value::Null));
    assert!(!world.folder.join(".daymark").try_exists().unwrap());
    daymark(&world, &["fetch", "paged", "--entity", "dc"]).await.expect_code(0);
    assert_eq!(show(&["paged", "--entity", "dc"]).await[0]["cursor"], "2026-03-01");
    assert_eq!(show(&["paged", "--entity", "nyc"]).await[0]["cursor"], "2026-01-01");
    let why = "the API restated February";
    let set = ["cursor", "set", "paged", "2026-02-01", "--entity", "dc", "--why", why];
    let done = daymark(&world, &set).await;
    done.expect_code(0);
    assert!(done.stdout.contains("paged dc: 2026-03-01 -> 2026-02-01"), "{}", done.stdout);
    let told = daymark(&world, &["cursor", "show"]).await.stdout;
    assert!(told.contains("set by hand: the API restated February"), "{told}");
    // The next fetch asks from there on, and a preview says so.
    let preview = daymark(&world, &["preview", "paged"]).await.stdout;
    assert!(
        preview.contains(&format!("cursor: 2026-02-01 (set by hand: {why}) -> 2026-03-01")),
        "{preview}"
    );
    daymark(&world, &["fetch", "paged", "--entity", "dc"]).await.expect_code(0);
    let target = world.api.requests().pop().unwrap().target;
    assert!(target.contains("since=2026-02-01"), "{target}");
    assert_eq!(show(&["paged", "--entity", "dc"]).await[0]["cursor"], "2026-03-01");
    let ahead = ["cursor", "set", "paged", "2999-01-01", "--entity", "nyc", "--why", "a slip"];
    let ahead = daymark(&world, &ahead).await;
    ahead.expect_code(0);
    assert!(ahead.stderr.contains("warning: 2999-01-01 is in the future"), "{}", ahead.stderr);
    for (arguments, said) in [
        (vec!["paged", "soon", "--entity", "dc", "--why", "x"], "accepted: a date such as"),
        (vec!["paged", "2026-02-01", "--why", "x"], "such as `--entity dc`"),
        (vec!["paged", "2026-02-01", "--entity", "dc", "--why", " "], "the reason is empty"),
        (vec!["weather", "2026-02-01", "--why", "x"], "`weather` has no cursor"),
        (vec!["paged", "2026-02-01", "--entity", "dc"], "--why"),
    ] {
        let done = daymark(&world, &[vec!["cursor", "set"], arguments].concat()).await;
        done.expect_code(2);
        assert!(done.stderr.contains(said), "{}", done.stderr);
    }
}
