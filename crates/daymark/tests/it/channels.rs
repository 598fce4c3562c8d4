//! The channels that alerts go through, and the heartbeat: mail, a topic, a webhook, and the secrets they hold.

use daymark_testkit::database::Kind;
use daymark_testkit::rest::{Reply, RestServer};
use daymark_testkit::smtp::{SmtpServer, Speaks};
use serde_json::Value;

use crate::alerts::{HOOK, daymark, gone, quiet, told};
use crate::world::{GOOD_WEATHER, MARKET, WEATHER, closed_port, run_to_end};

#[tokio::test(flavor = "multi_thread")]
async fn mail_is_sent_over_tls_and_shows_no_secret() {
    let world = quiet(Kind::Native).await;
    let mut secrets = Vec::new();
    for (name, speaks, tls) in
        [("start", Speaks::StartTls, "starttls"), ("whole", Speaks::Tls, "implicit")]
    {
        let server = SmtpServer::start(speaks).await;
        server.wants("me", "sqcret-pass word");
        server.refuses(1);
        world.write(&format!("{name}.pem"), server.certificate());
        let text = world.read("daymark.toml");
        world.write(
            "daymark.toml",
            &format!(
                "{text}\n[[alerts]]\nname = \"{name}\"\ntype = \"email\"\nhost = \"127.0.0.1\"\nport = {}\n\
                 tls = \"{tls}\"\nca_file = \"{name}.pem\"\nuser = \"me\"\npassword = \"${{SMTP_{name}}}\"\n\
                 from = \"daymark <d@example.com>\"\nto = [\"a@example.com\", \"Bé <b@example.com>\"]\n",
                server.port()
            ),
        );
        secrets.push((format!("SMTP_{name}"), server));
    }
    world.api.only(WEATHER, gone());
    world.api.only(MARKET, gone());
    let with = |arguments: &[&str], password: &str| {
        let mut command = world.command(arguments);
        for (name, _) in &secrets {
            command.env(name, password);
        }
        command
    };
    let run = ["-vv", "run", "--as-of-now", "--date", "2026-03-02"];
    let done = run_to_end(&mut with(&run, "sqcret-pass word")).await;
    done.expect_code(1);
    assert!(!format!("{done:?}").contains("sqcret"), "{done:?}");
    for (_, server) in &secrets {
        let [mail] = <[_; 1]>::try_from(server.mails()).unwrap();
        assert_eq!(server.attempts(), 2, "it was refused once");
        assert!(mail.private && mail.user.as_deref() == Some("me"));
        assert_eq!((mail.from.as_str(), mail.to.len()), ("d@example.com", 2));
        let subject = mail.header("Subject").unwrap();
        assert!(
            subject.starts_with("[dc-markets] sp500 2026-03-02 failed, and 1 more"),
            "{subject}"
        );
        assert_eq!(mail.header("Auto-Submitted"), Some("auto-generated"));
        for text in [
            "weather 2026-03-02 failed\r\n",
            "HTTP 404: gone",
            "to do: daymark run --source weather",
        ] {
            assert!(mail.text.contains(text), "{text}: {}", mail.text);
        }
    }
    // A server that does not know us repeats what it was told.
    let tried = run_to_end(&mut with(&["-vv", "alerts", "test", "start"], "wqrong-pass")).await;
    tried.expect_code(1);
    assert!(tried.stderr.contains("not you: ") && tried.stderr.contains("***"), "{}", tried.stderr);
    assert!(!tried.stderr.contains("wqrong"), "{}", tried.stderr);
    let tried = run_to_end(&mut with(&["alerts", "test", "whole"], "sqcret-pass word")).await;
    tried.expect_code(0);
    assert_eq!(
        tried.stdout,
        "`whole` took the test message; it said: SMTP 250: 2.0.0 taken as 2\n"
    );
    // A certificate that nobody vouches for.
    world.write("start.pem", secrets[1].1.certificate());
    let tried = run_to_end(&mut with(&["alerts", "test", "start"], "sqcret-pass word")).await;
    tried.expect_code(1);
    assert!(tried.stderr.contains("certificate"), "{}", tried.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_of_a_channel_is_found_nowhere() {
    let (world, sink) =
        told(Kind::Native, "headers = { Authorization = \"Bearer ${TOKEN}\" }").await;
    world.edit("daymark.toml", "[dashboard]", "[heartbeat]\nurl = \"${HOOK}/beat\"\n[dashboard]");
    let hidden = ["tokqen-in-the-path", "bqarer-secret"];
    // It repeats what it was told, as servers do.
    let repeats = format!("no {} for {}", hidden[1], sink.url(HOOK));
    sink.only(HOOK, Reply::new(403, repeats));
    sink.on(&format!("{HOOK}/beat/fail"), Reply::new(403, format!("no {}", sink.url(HOOK))));
    world.api.only(WEATHER, gone());
    let mut said = String::new();
    let (_closed, port) = closed_port();
    for (hook, arguments) in [
        (sink.url(HOOK), vec!["run", "--as-of-now", "--date", "2026-03-02"]),
        (sink.url(HOOK), vec!["alerts", "test", "ops"]),
        (format!("http://127.0.0.1:{port}{HOOK}"), vec!["alerts", "test", "ops"]),
        (format!("nonsense{HOOK}"), vec!["alerts", "test", "ops"]),
        (sink.url(HOOK), vec!["alerts", "list"]),
        (sink.url(HOOK), vec!["alerts", "list", "--json"]),
        (sink.url(HOOK), vec!["status", "--json"]),
        (sink.url(HOOK), vec!["validate"]),
    ] {
        let mut command = world.command(&["-v", "-v"]);
        let done =
            run_to_end(command.args(arguments).env("HOOK", hook).env("TOKEN", hidden[1])).await;
        said.push_str(&format!("{done:?}"));
    }
    let client = world.native_client().await;
    for row in client
        .query("select to_jsonb(d)::text from daymark.alert_delivery as d", &[])
        .await
        .unwrap()
    {
        said.push_str(row.get(0));
    }
    assert!(said.contains("HTTP 403: no *** for ***"), "{said}");
    for secret in hidden {
        assert!(!said.contains(secret), "`{secret}` in {said}");
    }
    let seen = sink.requests();
    assert!(
        seen.iter().any(|request| request.header("authorization") == Some("Bearer bqarer-secret"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_heartbeat_hears_of_good_runs_and_of_bad_ones() {
    let world = quiet(Kind::Native).await;
    let sink = RestServer::start().await;
    for path in ["/ping/start", "/ping", "/ping/fail"] {
        sink.on(path, Reply::new(200, "OK"));
    }
    let text = world.read("daymark.toml");
    let heartbeat =
        format!("[heartbeat]\nurl = \"{}?create=1\"\nstart = true\n", sink.url("/ping"));
    world.write("daymark.toml", &format!("{text}\n{heartbeat}"));
    assert_eq!(world.run("2026-03-02").await.code, 0);
    world.api.only(WEATHER, gone());
    assert_eq!(world.run("2026-03-03").await.code, 1);
    let seen: Vec<String> =
        sink.requests().iter().map(|seen| format!("{} {}", seen.method, seen.target)).collect();
    assert_eq!(
        seen,
        [
            "GET /ping/start?create=1",
            "GET /ping?create=1",
            "GET /ping/start?create=1",
            "POST /ping/fail?create=1",
        ]
    );
    assert!(sink.requests()[3].body.contains("HTTP 404: gone"), "{:?}", sink.requests()[3]);

    // One that does not answer fails nothing.
    for path in ["/ping/start", "/ping"] {
        sink.only(path, Reply::close());
    }
    world.api.only(WEATHER, Reply::json(GOOD_WEATHER.body()));
    let done = world.daymark(&["run", "--as-of-now", "--date", "2026-03-03"]).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stderr.contains("the heartbeat was not taken: no answer: "), "{}", done.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_is_tried_by_name() {
    let (world, sink) = told(Kind::Embedded, "format = \"slack\"").await;
    let tried = daymark(&world, &sink, &["alerts", "test", "ops"]).await;
    tried.expect_code(0);
    assert_eq!(tried.stdout, "`ops` took the test message; it said: HTTP 200: thanks\n");
    let body: Value = serde_json::from_str(&sink.requests()[0].body).unwrap();
    let text = body["text"].as_str().unwrap();
    assert!(text.starts_with("[dc-markets] a test of this channel\n"), "{text}");
    let database = std::path::Path::new(world.database_url().trim_start_matches("embedded:"));
    assert!(!database.try_exists().unwrap(), "no database is needed");
    sink.only(HOOK, Reply::redirect("/elsewhere"));
    let tried = daymark(&world, &sink, &["alerts", "test", "ops"]).await;
    tried.expect_code(1);
    assert!(
        tried.stderr.starts_with(
            "error: the channel `ops` (webhook) did not take the test message: HTTP 302; a redirect is not followed\n"
        ),
        "{}",
        tried.stderr
    );
    let other = daymark(&world, &sink, &["alerts", "test", "opps"]).await;
    other.expect_code(2);
    assert!(other.stderr.contains("hint: did you mean `ops`?"), "{}", other.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_passes_a_message_on() {
    let world = quiet(Kind::Native).await;
    let sink = RestServer::start().await;
    sink.on("/topic", Reply::new(200, ""));
    let topic = daymark_testkit::aws::topic("daymark-ops", &sink.url("/topic")).await;
    let text = world.read("daymark.toml");
    world.write(
        "daymark.toml",
        &format!("{text}\n[[alerts]]\nname = \"topic\"\ntype = \"sns\"\ntopic = \"{topic}\"\n"),
    );
    let aws = |arguments: &[&str]| {
        let mut command = world.command(arguments);
        command
            .env("AWS_ENDPOINT_URL", daymark_testkit::aws::endpoint())
            .env("AWS_ACCESS_KEY_ID", "AKIATEST")
            .env("AWS_SECRET_ACCESS_KEY", "sqcret-key");
        command
    };
    let tried = run_to_end(&mut aws(&["alerts", "test", "topic"])).await;
    tried.expect_code(0);
    assert!(tried.stdout.contains("it said: SNS message "), "{}", tried.stdout);
    world.api.only(WEATHER, gone());
    run_to_end(&mut aws(&["run", "--as-of-now", "--date", "2026-03-02"])).await.expect_code(1);
    let notified: Vec<Value> = sink
        .requests()
        .iter()
        .filter_map(|request| serde_json::from_str(&request.body).ok())
        .filter(|body: &Value| body["Type"] == "Notification")
        .collect();
    assert_eq!(notified.len(), 2, "{notified:?}");
    assert_eq!(notified[1]["Subject"], "[dc-markets] weather 2026-03-02 failed");
    assert!(notified[1]["Message"].as_str().unwrap().contains("HTTP 404: gone"));
    world.edit("daymark.toml", "daymark-ops", "daymark-nobody");
    let tried = run_to_end(&mut aws(&["alerts", "test", "topic"])).await;
    tried.expect_code(1);
    assert!(tried.stderr.contains("SNS answers HTTP 404 NotFound"), "{}", tried.stderr);
}
