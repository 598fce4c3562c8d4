//! Bad answers, bad SQL, and places that cannot be used: what is said, and what is left behind.

use std::fs::{self, File};
use std::net::TcpListener;

use daymark_testkit::database::Kind;
use daymark_testkit::on_both_databases;
use daymark_testkit::rest::Reply;
use serde_json::{Value, json};

use crate::world::{
    Done, GOOD_BARS, GOOD_WEATHER, GOOD_WEATHER_ROWS, MARKET, MARKET_ROWS, Report, Running,
    WEATHER, WEATHER_ROWS, World, bars, closed_port, run_to_end,
};

on_both_databases! {
    a_bad_answer_costs_its_day_and_nothing_else;
    sql_that_postgresql_refuses_costs_its_source;
    a_database_that_is_away_costs_nothing;
    a_raw_store_that_cannot_be_written_fails_the_days;
}

/// An answer that is not taken.
struct Bad {
    reply: Reply,
    attempts: usize,
    reason: String,
}

impl Bad {
    fn new(reply: Reply, reason: &str) -> Self {
        Self { reply, attempts: 1, reason: reason.to_owned() }
    }

    fn after(self, attempts: usize) -> Self {
        Self { attempts, ..self }
    }
}

fn bad_answers(world: &World) -> Vec<Bad> {
    let good = GOOD_WEATHER.body();
    let html = "<!DOCTYPE html>\n<html><head><title>Will be right back</title></head></html>";
    let (half, _) = good.split_once("11.25").unwrap();
    let broke = format!("{half}Unexpected error while streaming data: timeoutReached");
    let changed = |change: fn(&mut Value)| {
        let mut body = GOOD_WEATHER.json();
        change(&mut body);
        Reply::json(body.to_string())
    };
    vec![
        Bad::new(
            Reply::close(),
            &format!(
                "no answer from `127.0.0.1:{}`: connection closed before message completed (4 attempts)",
                world.api.port()
            ),
        )
        .after(4),
        Bad::new(
            Reply::json(r#"{"error":true,"reason":"Something went wrong."}"#).status(500),
            "HTTP 500: Something went wrong. (4 attempts)",
        )
        .after(4),
        Bad::new(
            Reply::json(r#"{"reason":"No data is available for this location","error":true}"#)
                .status(404),
            "HTTP 404: No data is available for this location",
        ),
        Bad::new(
            Reply::new(200, html).header("content-type", "text/html"),
            "the body is not JSON: it looks like HTML, it starts with `<!DOCTYPE html> \
             <html><head><title>Will be right back</title></head></html>` (content type \
             `text/html`); it says: Will be right back",
        ),
        Bad::new(
            Reply::json(broke),
            &format!(
                "the body is not whole JSON: expected value at line 1 column {} (byte {}), found \
                 `Unexpected error while streaming data: timeoutReached`",
                half.chars().count() + 1,
                half.len()
            ),
        ),
        Bad::new(
            Reply::json(r#"{"error":true,"reason":"Daily API request limit exceeded."}"#),
            "`$.error` is present: Daily API request limit exceeded.",
        ),
        Bad::new(
            Reply::json(r#"{"reason":"The service is overloaded","error":true}"#),
            "`$.error` is present: The service is overloaded",
        ),
        Bad::new(
            changed(|body| {
                for (_, column) in body["daily"].as_object_mut().unwrap() {
                    *column = json!([]);
                }
            }),
            "0 rows, at least 1 expected (`min_rows`)",
        ),
        Bad::new(
            changed(|body| {
                body["daily"]["precipitation_sum"].as_array_mut().unwrap().pop();
            }),
            "the arrays of `$.daily` differ in length: `date` has 3, `temperature_max_c` has 3, \
             `temperature_min_c` has 3, `precipitation_mm` has 2",
        ),
        Bad::new(
            changed(|body| body["daily"]["temperature_2m_max"][1] = json!("warm")),
            "1 of 3 rows rejected, more than `max_reject_ratio = 0.1` (first: row 1, `temperature_max_c` at \
             `$.daily.temperature_2m_max[1]`: `\"warm\"`: expected a number, found other text)",
        ),
    ]
}

/// A host for the embedded database: the commands are its guests then, and need no start of their own.
async fn host(world: &World) -> Option<Running> {
    match world.kind {
        Kind::Embedded => Some(world.up_quietly().await.0),
        Kind::Native => None,
    }
}

async fn a_bad_answer_costs_its_day_and_nothing_else(kind: Kind) {
    let world = World::answering(kind).await;
    let host = host(&world).await;
    assert_eq!(world.run("2026-03-01").await.code, 0);

    let mut market = GOOD_BARS.to_vec();
    let dates: Vec<String> = (3..28).map(|day| format!("2026-03-{day:02}")).collect();
    let answers = bad_answers(&world);
    for (bad, date) in answers.iter().zip(&dates) {
        // The other source has a new row each time, so that its publish can be seen.
        market.push((date, 7000.0));
        world.api.only(MARKET, Reply::json(bars(&market)));
        world.api.only(WEATHER, bad.reply.clone());
        let report = world.run(date).await;
        let context = format!("{}: {}", bad.reason, report.json);
        assert_eq!(report.code, 1, "{context}");
        assert_eq!(report.counts("sp500")[0], 1, "{context}");
        assert_eq!(report.reason("weather"), bad.reason);
        let weather = report.source("weather");
        assert_eq!(weather["requests"], bad.attempts, "{context}");
        assert_eq!(weather["raw_key"], Value::Null, "{context}");

        // The evidence is kept byte for byte, with its manifest, and is no raw object.
        let archived = world.stored(&format!("archive/weather/{date}"));
        let bodies: Vec<&[u8]> = archived.iter().map(|(_, bytes)| &bytes[..]).collect();
        let sent = [&bad.reply.body()[..]];
        let sent = if bad.reply.body().is_empty() { &[][..] } else { &sent[..] };
        assert_eq!(bodies, sent, "{context}");
        assert_eq!(world.stored("raw/weather").len(), 1, "{context}");
        let manifest = world.manifests("weather").pop().unwrap();
        assert_eq!(manifest["outcome"], "refused");
        assert_eq!(manifest["data_date"], **date);
        assert_eq!(manifest["reason"], *bad.reason);
    }

    // The ledger says of each day why; the rows of the first run stand untouched.
    let days = "select data_date, state, reason, last_outcome, attempts from daymark.day \
                where source_id = 'weather' order by data_date";
    let failed = answers.iter().zip(&dates);
    let expected: Vec<String> =
        std::iter::once(json!(["2026-03-01", "published", null, "published", 1]))
            .chain(failed.map(|(bad, date)| json!([date, "failed", bad.reason, "failed", 1])))
            .map(|day| day.to_string())
            .collect();
    assert_eq!(world.rows(days).await, expected);
    assert_eq!(world.rows(WEATHER_ROWS).await, GOOD_WEATHER_ROWS);
    let touched = "select count(distinct _publish_id) from weather_daily";
    assert_eq!(world.value(touched).await, 1);
    assert_eq!(world.rows(MARKET_ROWS).await.len(), market.len());

    // An API that is not there at all.
    let (_closed, port) = closed_port();
    let file = world.read("sources/weather.toml");
    let nowhere = format!("http://127.0.0.1:{port}{WEATHER}");
    world.edit("sources/weather.toml", &world.api.url(WEATHER), &nowhere);
    let report = world.run("2026-03-01").await;
    let reason = format!(
        "cannot connect to `127.0.0.1:{port}`: Connection refused (os error 111) (4 attempts)"
    );
    assert_eq!((report.code, report.reason("weather")), (1, &*reason));
    assert_eq!(report.source("sp500")["state"], "published");
    world.write("sources/weather.toml", &file);

    // A failed attempt does not take a published day back, and a good one mends a failed day.
    world.api.only(WEATHER, Reply::json("{}").status(404));
    assert_eq!(world.run("2026-03-01").await.code, 1);
    world.api.only(WEATHER, Reply::json(GOOD_WEATHER.body()));
    // The values stay; two days that were over by the later fetches are not as of this one.
    assert_eq!(world.run(&dates[0]).await.counts("weather"), [0, 2, 1]);
    let days = format!("{days} limit 2");
    assert_eq!(
        world.rows(&days).await,
        [
            r#"["2026-03-01","published",null,"failed",3]"#,
            r#"["2026-03-03","published",null,"published",2]"#,
        ]
    );
    if let Some(host) = host {
        host.stop().await;
    }
}

async fn sql_that_postgresql_refuses_costs_its_source(kind: Kind) {
    let world = World::answering(kind).await;
    let host = host(&world).await;
    let model = world.read("models/weather_daily.sql");
    let line_of = |text: &str| model.lines().position(|line| line.contains(text)).unwrap() + 1;
    let cases = [
        (
            "date, temperature_max_c,",
            "date, temperature_maxx_c,",
            format!(
                "models/weather_daily.sql:{}: column \"temperature_maxx_c\" does not exist",
                line_of("date, temperature_max_c,")
            ),
        ),
        (
            "precipitation_mm\nfrom",
            "precipitation_mm, 7 as humidity\nfrom",
            format!(
                "models/weather_daily.sql:{}: the query yields the column `humidity`, which the \
                 contract lacks",
                line_of("select _fetch_id")
            ),
        ),
        (
            "temperature_min_c = \"double precision check",
            "temperature_min_c = \"double precisions check",
            format!(
                "models/weather_daily.sql:{}: syntax error at or near \"precisions\"",
                line_of("temperature_min_c = ")
            ),
        ),
    ];
    for (number, (from, to, reason)) in (1..).zip(cases) {
        let date = format!("2026-03-{number:02}");
        world.edit("models/weather_daily.sql", from, to);
        let report = world.run(&date).await;
        assert_eq!(report.code, 1, "{}", report.json);
        // PostgreSQL's advice, which stands behind it, changes with its version.
        let told = report.reason("weather");
        assert!(told.starts_with(&reason), "{told}");
        assert_eq!(report.source("sp500")["state"], "published");
        let day = format!(
            "select state, reason from daymark.day where source_id = 'weather' and data_date = '{date}'"
        );
        assert_eq!(world.rows(&day).await, [json!(["failed", told]).to_string()]);
        world.write("models/weather_daily.sql", &model);
    }
    assert_eq!(world.rows(MARKET_ROWS).await.len(), GOOD_BARS.len());
    // The responses were good: with the model mended they are published, although the API is away.
    assert_eq!(world.stored("raw/weather").len(), 3);
    world.api.only(WEATHER, Reply::close());
    assert_eq!(world.run("2026-03-04").await.code, 1);
    let days = "select data_date, state from daymark.day where source_id = 'weather' order by 1";
    assert_eq!(
        world.rows(days).await,
        [
            r#"["2026-03-01","published"]"#,
            r#"["2026-03-02","published"]"#,
            r#"["2026-03-03","published"]"#,
            r#"["2026-03-04","failed"]"#,
        ]
    );
    assert_eq!(world.rows(WEATHER_ROWS).await, GOOD_WEATHER_ROWS);

    // A mart that is refused fails the run, and the rows are published all the same.
    world.api.only(WEATHER, Reply::json(GOOD_WEATHER.body()));
    let mart = world.read("marts/market_weather.sql");
    let line = mart.lines().position(|line| line.contains("market.close,")).unwrap() + 1;
    world.edit("marts/market_weather.sql", "market.close,", "market.closed,");
    let report = world.run("2026-03-04").await;
    assert_eq!(report.code, 1);
    assert_eq!(
        report.json["marts_failed"],
        json!([format!("marts/market_weather.sql:{line}: column market.closed does not exist")])
    );
    // A day that was not over by the fetch before is now.
    assert_eq!(report.counts("weather"), [0, 1, 2]);
    if let Some(host) = host {
        host.stop().await;
    }
}

/// Both say where the database was looked for, and never the password.
fn assert_no_database(done: &Done, port: u16) {
    done.expect_code(1);
    let first = format!("cannot connect to the database `postgres://u:***@127.0.0.1:{port}/x`");
    assert!(done.stderr.contains(&format!("error: {first}\n")), "{}", done.stderr);
    assert!(done.stderr.contains("Connection refused"), "{}", done.stderr);
    assert!(done.stderr.contains("hint: check that the server runs"), "{}", done.stderr);
    assert!(!format!("{done:?}").contains("sekret"), "{done:?}");
}

async fn a_database_that_is_away_costs_nothing(kind: Kind) {
    let world = World::answering(kind).await;
    let (_closed, port) = closed_port();
    let away = format!("postgres://u:sekret@127.0.0.1:{port}/x?password=sekret");
    for arguments in
        [&["run", "--as-of-now", "--date", "2026-03-02"][..], &["status"], &["sql", "select 1"]]
    {
        let mut command = world.command(arguments);
        let done = run_to_end(command.env("DAYMARK_DATABASE_URL", &away)).await;
        assert_no_database(&done, port);
    }
    // What was fetched is kept, and published by the next run: here by one that fetches nothing.
    for source in ["weather", "sp500"] {
        assert_eq!(world.manifests(source).len(), 1);
        assert_eq!(world.stored(&format!("raw/{source}")).len(), 1);
    }
    world.api.only(WEATHER, Reply::close());
    world.api.only(MARKET, Reply::close());
    let report = world.run("2026-03-03").await;
    assert_eq!(report.code, 1);
    assert!(report.reason("weather").contains("127.0.0.1"), "{}", report.json);
    assert_eq!(world.rows(WEATHER_ROWS).await, GOOD_WEATHER_ROWS);
    let days = "select source_id, data_date, state from daymark.day order by 1, 2";
    assert_eq!(
        world.rows(days).await,
        [
            r#"["sp500","2026-03-02","published"]"#,
            r#"["sp500","2026-03-03","failed"]"#,
            r#"["weather","2026-03-02","published"]"#,
            r#"["weather","2026-03-03","failed"]"#,
        ]
    );
}

async fn a_raw_store_that_cannot_be_written_fails_the_days(kind: Kind) {
    let world = World::answering(kind).await;
    let host = host(&world).await;
    assert_eq!(world.run("2026-03-02").await.code, 0);
    let file = world.folder.join("README");
    fs::write(&file, "a file").unwrap();
    let url = format!("file:{}/raw", file.display());
    let mut command = world.command(&["run", "--json", "--as-of-now", "--date", "2026-03-03"]);
    let report = Report::of(&run_to_end(command.env("DAYMARK_RAW_URL", &url)).await);
    assert_eq!(report.code, 1);
    let reason = format!(
        "the raw store `{url}` cannot be opened: Not a directory (os error 20); the raw store must be a \
         folder that this user can make and write, on a disk with room; set `url` in `[raw]` or \
         DAYMARK_RAW_URL to use another"
    );
    for source in ["weather", "sp500"] {
        assert_eq!(report.reason(source), reason);
    }
    assert!(world.api.requests().len() <= 2, "nothing is asked that cannot be kept");
    let days = "select source_id, state, reason from daymark.day where data_date = '2026-03-03' order by 1";
    let failed = |source: &str| json!([source, "failed", reason]).to_string();
    assert_eq!(world.rows(days).await, [failed("sp500"), failed("weather")]);
    assert_eq!(world.rows(WEATHER_ROWS).await, GOOD_WEATHER_ROWS);
    if let Some(host) = host {
        host.stop().await;
    }
}

/// Another process has the embedded database and answers nobody: the wait ends, the folder is named,
/// and the responses wait for the next run.
#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_database_that_another_process_holds() {
    let world = World::answering(Kind::Embedded).await;
    let directory = world.database_url().strip_prefix("embedded:").unwrap().to_owned();
    fs::create_dir_all(&directory).unwrap();
    let lock = File::create(format!("{directory}/host.lock")).unwrap();
    lock.lock().unwrap();

    let done = world.daymark(&["run", "--as-of-now", "--date", "2026-03-02"]).await;
    done.expect_code(1);
    let error = format!(
        "error: the embedded database in `{directory}` is open in another process\n\
         hint: stop that process, or wait for it\n"
    );
    assert!(done.stderr.ends_with(&error), "{}", done.stderr);
    assert_eq!(world.manifests("weather").len(), 1);

    drop(lock);
    world.api.only(WEATHER, Reply::close());
    world.api.only(MARKET, Reply::close());
    assert_eq!(world.run("2026-03-03").await.code, 1);
    assert_eq!(world.rows(WEATHER_ROWS).await, GOOD_WEATHER_ROWS);
}

#[tokio::test]
async fn a_port_that_is_in_use() {
    let world = World::new(Kind::Embedded).await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for arguments in [&["up", "--listen", &address][..], &["demo", "--listen", &address]] {
        let done = world.daymark(arguments).await;
        done.expect_code(1);
        let expected = format!(
            "error: the dashboard cannot listen on {address}\n  \
             caused by: Address already in use (os error 98)\n\
             hint: another program may use this port: give another with `--listen ADDRESS:PORT`\n"
        );
        assert_eq!(done.stderr, expected);
    }
}
