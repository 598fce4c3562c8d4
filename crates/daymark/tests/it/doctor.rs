//! `daymark doctor` on what is well and on each thing that can be wrong.

use std::fs;

use daymark_plan::Clock;
use daymark_testkit::bucket::TestBucket;
use daymark_testkit::database::Kind;
use daymark_testkit::on_both_databases;
use daymark_testkit::rest::Reply;
use jiff::SignedDuration;
use serde_json::Value;
use tokio::process::Command;

use crate::world::{Done, World, closed_port, run_to_end};

on_both_databases! {
    a_healthy_pipeline_is_well_before_and_after_its_first_run;
    a_database_of_another_pipeline_is_told;
}

/// Channels are looked at, and told nothing.
#[tokio::test(flavor = "multi_thread")]
async fn channels_are_looked_at_and_told_nothing() {
    let world = healthy(Kind::Native).await;
    let json = doctor(&world).await.json();
    let [(verdict, said, _)] = findings(&json, "alerts")[..] else { panic!("{json:#}") };
    assert!(verdict == "ok" && said.starts_with("nobody is told of anything"), "{said}");

    let sink = daymark_testkit::rest::RestServer::start().await;
    let (_closed, port) = closed_port();
    let text = world.read("daymark.toml");
    let mail = |name: &str, port: u16| {
        format!(
            "[[alerts]]\nname = \"{name}\"\ntype = \"email\"\nhost = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\n\
             from = \"d@example.com\"\nto = \"a@example.com\"\n"
        )
    };
    let hook = |name: &str, url: &str| {
        format!("[[alerts]]\nname = \"{name}\"\ntype = \"webhook\"\nurl = \"{url}\"\n")
    };
    let smtp = sink.url("").rsplit(':').next().unwrap().parse().unwrap();
    let channels = [
        hook("well", "${HOOK}"),
        hook("unset", "${NO_SUCH_HOOK}"),
        hook("away", &format!("http://127.0.0.1:{port}/tokqen")),
        hook("other", "${NO_ADDRESS}"),
        mail("mail", smtp),
        mail("no-mail", port),
        "[[alerts]]\nname = \"log\"\ntype = \"log\"\n".to_owned(),
        "[heartbeat]\nurl = \"${HOOK}/beat\"\n".to_owned(),
    ];
    world.write("daymark.toml", &format!("{text}\n{}", channels.concat()));
    let look = async |more: &[&str]| {
        let arguments: Vec<&str> =
            ["doctor", "--json"].into_iter().chain(more.iter().copied()).collect();
        let mut command = command(&world, &arguments);
        command.env("HOOK", sink.url("/hook/tokqen")).env("NO_ADDRESS", "tokqen");
        run_to_end(&mut command).await
    };
    let done = look(&[]).await;
    fails(&done, "alerts", "`unset` (webhook): the secret `${NO_SUCH_HOOK}`");
    let json = done.json();
    let found: Vec<String> = findings(&json, "alerts")
        .iter()
        .map(|(verdict, said, _)| format!("{verdict} {}", said.split(": ").next().unwrap()))
        .collect();
    assert_eq!(
        found,
        [
            "ok `well` (webhook)",
            "fail `unset` (webhook)",
            "fail `away` (webhook)",
            "fail `other` (webhook)",
            "ok `mail` (email)",
            "fail `no-mail` (email)",
            "ok `log` (log)",
            "ok the heartbeat",
        ]
    );
    // Nothing was sent, the path that means a message was not asked for, and no secret is shown.
    assert!(!sink.requests().is_empty());
    for seen in sink.requests() {
        assert_eq!((seen.method.as_str(), seen.target.as_str()), ("HEAD", "/"));
    }
    assert!(!done.stdout.contains("tokqen"), "{}", done.stdout);
    let asked = sink.requests().len();
    let json = look(&["--offline"]).await.json();
    let failed: Vec<&str> = findings(&json, "alerts")
        .into_iter()
        .filter(|(verdict, ..)| *verdict == "fail")
        .map(|(_, said, _)| said.split(' ').next().unwrap())
        .collect();
    assert_eq!(failed, ["`unset`", "`other`"]);
    assert_eq!(sink.requests().len(), asked);
}

/// The pipeline with an API that tells the time and a dashboard on any port.
async fn healthy(kind: Kind) -> World {
    let world = World::answering(kind).await;
    world.api.on("/", Reply::json("{}").date(Clock::System.now()));
    world
}

fn command(world: &World, arguments: &[&str]) -> Command {
    let mut command = world.command(arguments);
    command.env("DAYMARK_DASHBOARD_LISTEN", "127.0.0.1:0");
    command
}

async fn doctor(world: &World) -> Done {
    run_to_end(&mut command(world, &["doctor", "--json"])).await
}

/// The findings of a name: verdict, message and hint.
#[track_caller]
fn findings<'j>(json: &'j Value, name: &str) -> Vec<(&'j str, &'j str, &'j str)> {
    let findings = json["findings"].as_array().unwrap();
    let text = |finding: &'j Value, key: &str| finding[key].as_str().unwrap_or_default();
    let named = findings.iter().filter(|finding| finding["name"] == name);
    named.map(|f| (text(f, "verdict"), text(f, "message"), text(f, "hint"))).collect()
}

/// One thing fails, with these words and a hint, and nothing else does.
#[track_caller]
fn fails(done: &Done, name: &str, words: &str) {
    done.expect_code(1);
    let json = done.json();
    assert_eq!(json["healthy"], false);
    let all = json["findings"].as_array().unwrap();
    let failed: Vec<&Value> = all.iter().filter(|finding| finding["verdict"] == "fail").collect();
    assert!(!failed.is_empty() && failed.iter().all(|f| f["name"] == name), "{failed:#?}");
    let said = |f: &&Value| f["message"].as_str().unwrap().contains(words);
    assert!(failed.iter().any(said), "`{words}` in {failed:#?}");
    assert!(failed.iter().all(|f| f["hint"].as_str().is_some_and(|hint| !hint.is_empty())));
    // What is broken does not keep the rest from being looked at.
    for name in ["zones", "disk"] {
        assert!(!findings(&json, name).is_empty(), "{name}: {json:#}");
    }
}

async fn a_healthy_pipeline_is_well_before_and_after_its_first_run(kind: Kind) {
    let world = healthy(kind).await;
    let before = doctor(&world).await;
    before.expect_code(0);
    let json = before.json();
    assert_eq!(json["healthy"], true);
    match kind {
        // Nothing was made by looking.
        Kind::Embedded => {
            let (_, said, _) = findings(&json, "database")[0];
            assert!(said.contains("is not there yet"), "{said}");
            let folder = world.database_url().strip_prefix("embedded:").unwrap();
            assert!(!std::path::Path::new(folder).try_exists().unwrap());
        }
        Kind::Native => {
            let (_, said, _) = findings(&json, "ledger")[0];
            assert!(said.contains("there is none yet"), "{said}");
            let client = world.native_client().await;
            let row = client.query_one("select to_regnamespace('daymark') is null", &[]).await;
            assert!(row.unwrap().get::<_, bool>(0));
        }
    }
    assert_eq!(world.run("2026-03-02").await.code, 0);
    let after = run_to_end(&mut command(&world, &["doctor"])).await;
    after.expect_code(0);
    for words in [
        "is the pipeline `dc-markets`: sources 2, models 2",
        "tzdata",
        "this machine's clock",
        "what was written is read back",
        "what was written is listed",
        "is not written over",
        "it is of the pipeline `dc-markets`, version",
        "may make what daymark needs",
        "free for the raw store",
        "the dashboard can listen on 127.0.0.1:0",
    ] {
        assert!(after.stdout.contains(words), "`{words}` in\n{}", after.stdout);
    }
    assert!(after.stdout.lines().all(|line| {
        ["OK", "WARN", "      ", "all is well", "it works"]
            .iter()
            .any(|word| line.starts_with(word))
    }));
    // A run afterwards is none the worse.
    assert_eq!(world.run("2026-03-03").await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_of_a_running_dashboard_is_told_whose() {
    let world = healthy(Kind::Embedded).await;
    let (up, address) = world.up_quietly().await;
    let listen = address.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let mut command = world.command(&["doctor", "--json"]);
    let done = run_to_end(command.env("DAYMARK_DASHBOARD_LISTEN", &listen)).await;
    done.expect_code(0);
    let json = done.json();
    assert!(findings(&json, "database")[0].1.contains("it is served by process "), "{json:#}");
    let (verdict, said, _) = findings(&json, "port")[0];
    assert_eq!(verdict, "warn");
    assert!(said.contains("is taken by a daymark that runs (process "), "{said}");
    up.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_tried_out_and_one_that_is_not_there_is_told() {
    let world = healthy(Kind::Embedded).await;
    let bucket = TestBucket::new().await;
    let run = async |name: &str| {
        let mut command = command(&world, &["doctor", "--json"]);
        command
            .env("DAYMARK_RAW_URL", format!("s3://{name}/raw"))
            .env("DAYMARK_RAW_ENDPOINT", &bucket.endpoint)
            .env("AWS_ENDPOINT_URL", &bucket.endpoint);
        run_to_end(&mut command).await
    };
    let well = run(&bucket.name).await;
    well.expect_code(0);
    let json = well.json();
    let (_, credentials, _) = findings(&json, "credentials")[0];
    assert!(
        credentials.contains("the key AKIA") && credentials.contains("arn:aws:"),
        "{credentials}"
    );
    assert!(!well.stdout.contains("test-secret"));
    assert_eq!(findings(&json, "store create-only")[0].0, "ok");
    let (verdict, _, hint) = findings(&json, "store versions")[0];
    assert!(verdict == "warn" && hint.contains("turn bucket versioning on"), "{json:#}");
    assert!(
        findings(&json, "clock").iter().any(|(_, said, _)| said.contains("`s3://")),
        "{json:#}"
    );

    let missing = run("nobody-made-this-bucket").await;
    missing.expect_code(1);
    let json = missing.json();
    let (verdict, said, hint) = findings(&json, "store write")[0];
    assert_eq!(verdict, "fail");
    assert!(said.contains("NoSuchBucket") && hint.contains("the bucket's name"), "{said} {hint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_folder_does_not_keep_the_rest_from_being_looked_at() {
    let world = healthy(Kind::Embedded).await;
    world.edit("sources/weather.toml", "layout = \"columns\"", "layout = \"colums\"");
    let done = doctor(&world).await;
    fails(&done, "folder", "sources/weather.toml:");
    let json = done.json();
    for name in ["clock", "store read", "database", "port"] {
        assert_eq!(findings(&json, name)[0].0, "ok", "{name}: {json:#}");
    }
    world.write("daymark.toml", "name = 1\n");
    let done = doctor(&world).await;
    fails(&done, "folder", "daymark.toml:1");
    assert_eq!(findings(&done.json(), "store")[0].0, "warn");
    // No folder at all.
    let mut nowhere = command(&world, &["doctor", "--json"]);
    fails(
        &run_to_end(nowhere.env("DAYMARK_PIPELINE", "/nowhere")).await,
        "folder",
        "is not a pipeline folder",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_set_or_missing_and_never_shown() {
    let world = healthy(Kind::Embedded).await;
    let text = world.read("sources/weather.toml");
    let secret = "\n[auth]\ntype = \"bearer\"\ntoken = \"${WEATHER_TOKEN}\"\n";
    world.write("sources/weather.toml", &format!("{text}{secret}"));
    fails(
        &doctor(&world).await,
        "secret",
        "`${WEATHER_TOKEN}` of `weather`: the environment variable is not set",
    );
    let mut set = command(&world, &["doctor", "--json"]);
    let done = run_to_end(set.env("WEATHER_TOKEN", "hunter2-hunter2")).await;
    done.expect_code(0);
    assert!(findings(&done.json(), "secret")[0].1.contains("is set"));
    assert!(!format!("{done:?}").contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_off_an_api_that_is_away_and_offline() {
    let world = World::answering(Kind::Embedded).await;
    let far = Clock::System.now() + SignedDuration::from_hours(3);
    world.api.on("/", Reply::json("{}").date(far));
    let done = doctor(&world).await;
    fails(&done, "clock", " s behind that of `http://127.0.0.1:");
    let mut offline = command(&world, &["doctor", "--json", "--offline"]);
    let asked = world.api.requests().len();
    run_to_end(&mut offline).await.expect_code(0);
    assert_eq!(world.api.requests().len(), asked);

    let (_socket, port) = closed_port();
    for (file, path) in [("sources/weather.toml", "/v1/"), ("sources/sp500.toml", "/v8/")] {
        world.edit(file, &world.api.url(path), &format!("http://127.0.0.1:{port}{path}"));
    }
    fails(&doctor(&world).await, "api", "does not answer: ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_place_of_a_folder_and_a_port_that_is_taken() {
    let world = healthy(Kind::Embedded).await;
    let file = world.folder.join("a-file");
    fs::write(&file, "x").unwrap();
    let mut store = command(&world, &["doctor", "--json"]);
    let done = run_to_end(store.env("DAYMARK_RAW_URL", format!("file:{}", file.display()))).await;
    fails(&done, "store", "a-file");
    let mut database = command(&world, &["doctor", "--json"]);
    let url = format!("embedded:{}", file.display());
    let done = run_to_end(database.env("DAYMARK_DATABASE_URL", url)).await;
    fails(&done, "database", "is not a folder");
    // The API of this test has the port, in this very process.
    let mut port = world.command(&["doctor", "--json"]);
    let taken = format!("127.0.0.1:{}", world.api.port());
    let done = run_to_end(port.env("DAYMARK_DASHBOARD_LISTEN", &taken)).await;
    fails(&done, "port", &format!("(process {})", std::process::id()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_reached_and_rights_that_are_missing() {
    let world = healthy(Kind::Native).await;
    let with = async |url: &str| {
        let mut command = command(&world, &["doctor", "--json"]);
        run_to_end(command.env("DAYMARK_DATABASE_URL", url)).await
    };
    let (_socket, port) = closed_port();
    fails(
        &with(&format!("postgres://u:hunter2@127.0.0.1:{port}/d")).await,
        "database",
        "cannot connect to",
    );
    let client = world.native_client().await;
    let role = format!("reader_{}", uuid::Uuid::now_v7().simple());
    client.batch_execute(&format!("create role {role} login password 'right'")).await.unwrap();
    let url = world.database_url();
    let (_, at) = url.split_once("://").unwrap();
    let place = at.rsplit_once('@').map_or(at, |(_, place)| place);
    let narrow = with(&format!("postgres://{role}:right@{place}")).await;
    fails(&narrow, "rights", "may not make what daymark needs");
    let json = narrow.json();
    assert!(findings(&json, "rights")[0].2.contains("grant create on database"), "{json:#}");
    let (server, _) = place.split_once('/').unwrap();
    let missing = with(&format!("postgres://{role}:right@{server}/nobody_made_this")).await;
    fails(&missing, "database", "does not exist");
    assert!(!format!("{missing:?}{narrow:?}").contains(":right@"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_of_the_database_is_told_and_not_shown() {
    let world = healthy(Kind::Native).await;
    let client = world.native_client().await;
    let asked = "select count(*) from pg_hba_file_rules \
                 where auth_method like 'scram%' and '+daymark_by_password' = any (user_name)";
    let rules: i64 = client.query_one(asked, &[]).await.unwrap().get(0);
    assert!(rules > 0, "the server asks for passwords as that of scripts/with-postgres.sh does");
    let role = format!("asked_{}", uuid::Uuid::now_v7().simple());
    let made = format!(
        "do $$ begin create role daymark_by_password; exception when duplicate_object or unique_violation \
         then null; end $$; set password_encryption = 'scram-sha-256'; \
         create role {role} login password 'the-right-one' in role daymark_by_password"
    );
    client.batch_execute(&made).await.unwrap();
    let url = world.database_url();
    let place = url.rsplit_once('@').map_or(url, |(_, place)| place);
    let with = async |password: &str, arguments: &[&str]| {
        let mut command = command(&world, arguments);
        let url = format!("postgres://{role}:{password}@{place}");
        run_to_end(command.env("DAYMARK_DATABASE_URL", url)).await
    };
    let wrong = with("hunter2-hunter2", &["doctor", "--json"]).await;
    fails(&wrong, "database", &format!("password authentication failed for user \"{role}\""));
    let json = wrong.json();
    let (_, said, hint) = findings(&json, "database")[0];
    assert!(said.contains(&format!("postgres://{role}:***@")), "{said}");
    assert!(
        hint.contains("the role or its password is wrong: check DAYMARK_DATABASE_URL"),
        "{hint}"
    );
    let status = with("hunter2-hunter2", &["status"]).await;
    assert_ne!(status.code, Some(0));
    assert!(status.stderr.contains("password authentication failed"), "{}", status.stderr);
    let right = with("the-right-one", &["doctor", "--json"]).await;
    assert_eq!(findings(&right.json(), "database")[0].0, "ok", "{right:?}");
    let shown = format!("{wrong:?}{status:?}{right:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("the-right-one"), "{shown}");
}

async fn a_database_of_another_pipeline_is_told(kind: Kind) {
    let world = healthy(kind).await;
    assert_eq!(world.run("2026-03-02").await.code, 0);
    world.edit("daymark.toml", "name = \"dc-markets\"", "name = \"other\"");
    fails(&doctor(&world).await, "ledger", "holds the pipeline `dc-markets`, not `other`");
}
