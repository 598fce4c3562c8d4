//! What is tried again, how often, and what is left when it does not help.

use std::net::TcpListener;

use daymark_ingest::{ErrorKind, FetchEvent, Outcome};
use daymark_testkit::rest::{Gate, Reply};

use crate::world::{GOOD, PATH, World};

#[tokio::test]
async fn the_api_is_down() {
    let world = World::new().await;
    // A port that was free a moment ago and that nobody listens on.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let source =
        world.source_at(&format!("http://127.0.0.1:{port}{PATH}?key=${{TEST_KEY}}"), "", "");
    let manifest = world.fetch(&source).await;
    assert!(manifest.pages.is_empty() && manifest.status.is_none());
    assert!(!format!("{manifest:?}").contains("s3cr3t"));
    insta::assert_snapshot!(world.tale(&manifest).replace(&port.to_string(), "<port>"), @r"
    refused: cannot connect to `127.0.0.1:<port>`: Connection refused (os error 111) (4 attempts)
    kind: Unreachable
    attempts: Unreachable, Unreachable, Unreachable, Unreachable
    objects:
      manifests/weather/20261123T130000.000000Z_2026-11-23_<run>.json
    ");
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls() {
    let world = World::new().await;
    world.api.on(PATH, Reply::json(GOOD));
    let url = world.api.url(PATH).replace("http:", "https:");
    match world.try_fetch(&world.source_at(&url, "", "[retry]\nattempts = 1")).await {
        Ok(stored) => {
            let reason = stored.manifest.reason.unwrap();
            assert!(reason.starts_with("cannot connect to `127.0.0.1:"), "{reason}");
            assert_eq!(stored.manifest.error_kind, Some(ErrorKind::Unreachable));
        }
        // A machine without CA certificates has no HTTPS, and hears which package is missing.
        Err(error) => assert!(error.hint().contains("ca-certificates"), "{error:?}"),
    }
}

#[tokio::test]
async fn an_unknown_host() {
    let world = World::new().await;
    // RFC 6761 section 6.4: this name never resolves.
    let source = world.source_at("http://api.invalid/v1", "", "[retry]\nattempts = 1");
    let reason = world.fetch(&source).await.reason.unwrap();
    assert!(reason.starts_with("cannot connect to `api.invalid`: "), "{reason}");
}

#[tokio::test]
async fn a_500_throughout() {
    let world = World::new().await;
    let body = r#"{"reason":"Something went wrong.","error":true}"#;
    world.api.on(PATH, Reply::json(body).status(500));
    let manifest = world.fetch(&world.source()).await;
    insta::assert_snapshot!(world.tale(&manifest), @r"
    refused: HTTP 500: Something went wrong. (4 attempts)
    kind: Unavailable
    attempts: 500 Unavailable, 500 Unavailable, 500 Unavailable, 500 Unavailable
    objects:
      archive/weather/2026-11-23/<sha256>.json
      manifests/weather/20261123T130000.000000Z_2026-11-23_<run>.json
    ");
    assert_eq!(world.api.requests().len(), 4);
    assert_eq!(world.object(&manifest.pages[0].archive_key), body.as_bytes());
    let numbers: Vec<_> = manifest.attempts.iter().map(|attempt| attempt.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    let waits =
        world.events().into_iter().filter(|event| matches!(event, FetchEvent::Waiting { .. }));
    assert_eq!(waits.count(), 3);
}

#[tokio::test]
async fn a_429_that_says_how_long_to_wait() {
    let world = World::new().await;
    world.api.on(PATH, Reply::new(429, "Too Many Requests").header("retry-after", "1"));
    world.api.on(PATH, Reply::json(GOOD));
    let manifest = world.fetch(&world.source()).await;
    assert!(manifest.attempts[1].waited_ms >= 1000);
    insta::assert_snapshot!(world.tale(&manifest), @r"
    accepted: -
    attempts: 429 Throttled, 200
    rows: 2 extracted, 0 rejected
    objects:
      archive/weather/2026-11-23/<sha256>.json
      manifests/weather/20261123T130000.000000Z_2026-11-23_<run>.json
      raw/weather/weather_2026-11-23.json
    ");
}

#[tokio::test]
async fn a_wait_that_does_not_fit_is_not_waited_for() {
    let world = World::new().await;
    world.api.on(PATH, Reply::new(429, "Too Many Requests").header("retry-after", "3600"));
    let manifest = world.fetch(&world.source()).await;
    insta::assert_snapshot!(world.tale(&manifest), @"
    refused: HTTP 429: Too Many Requests; it asks to wait 3600 s, which does not fit the 300 s of a page
    kind: Throttled
    attempts: 429 Throttled
    objects:
      archive/weather/2026-11-23/<sha256>.txt
      manifests/weather/20261123T130000.000000Z_2026-11-23_<run>.json
    ");
    assert_eq!(manifest.headers["retry-after"], "3600");
}

#[tokio::test]
async fn only_open_meteos_limit_of_the_minute_is_waited_out() {
    let limit = |which: &str| {
        let body = format!(
            r#"{{"reason":"{which} API request limit exceeded. Please try again later.","error":true}}"#
        );
        Reply::json(body).status(429)
    };
    let world = World::new().await;
    // The minute is over in a second.
    world.api.on(PATH, limit("Minutely").date("2026-11-23T12:59:59Z".parse().unwrap()));
    world.api.on(PATH, Reply::json(GOOD));
    assert_eq!(world.fetch(&world.source()).await.outcome, Outcome::Accepted);
    let world = World::new().await;
    world.api.on(PATH, limit("Hourly"));
    insta::assert_snapshot!(world.tale(&world.fetch(&world.source()).await), @r"
    refused: HTTP 429: Hourly API request limit exceeded. Please try again later.
    kind: QuotaSpent
    attempts: 429 QuotaSpent
    objects:
      archive/weather/2026-11-23/<sha256>.json
      manifests/weather/20261123T130000.000000Z_2026-11-23_<run>.json
    ");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_asked_for_again() {
    let world = World::new().await;
    world.api.on(PATH, Reply::json(GOOD).cut_after(50));
    world.api.on(PATH, Reply::json(GOOD));
    let manifest = world.fetch(&world.source()).await;
    let first = manifest.attempts[0].message.as_deref().unwrap();
    insta::assert_snapshot!(first, @"the body broke off after 50 bytes: end of file before message length reached");
    insta::assert_snapshot!(world.tale(&manifest), @r"
    accepted: -
    attempts: 200 Unreachable, 200
    rows: 2 extracted, 0 rejected
    objects:
      archive/weather/2026-11-23/<sha256>.json
      manifests/weather/20261123T130000.000000Z_2026-11-23_<run>.json
      raw/weather/weather_2026-11-23.json
    ");
}

#[tokio::test]
async fn a_body_that_always_breaks_off_is_no_evidence() {
    let world = World::new().await;
    world.api.on(PATH, Reply::json(GOOD).cut_after(50));
    let manifest =
        world.fetch(&world.source_with("", "[retry]\nattempts = 2\nbase_seconds = 0.001")).await;
    insta::assert_snapshot!(world.tale(&manifest), @r"
    refused: the body broke off after 50 bytes: end of file before message length reached (2 attempts)
    kind: Unreachable
    attempts: 200 Unreachable, 200 Unreachable
    objects:
      manifests/weather/20261123T130000.000000Z_2026-11-23_<run>.json
    ");
}

#[tokio::test]
async fn a_connection_closed_without_an_answer() {
    let world = World::new().await;
    world.api.on(PATH, Reply::close());
    world.api.on(PATH, Reply::json(GOOD));
    let manifest = world.fetch(&world.source()).await;
    insta::assert_snapshot!(world.stable(manifest.attempts[0].message.as_deref().unwrap()), @"no answer from `127.0.0.1:<port>`: connection closed before message completed");
    assert_eq!(manifest.outcome, Outcome::Accepted);
}

#[tokio::test]
async fn a_server_that_is_silent() {
    let world = World::new().await;
    let gate = Gate::closed();
    world.api.on(PATH, Reply::json(GOOD).held_by(&gate));
    let source = world
        .source_with("read_timeout_seconds = 0.05", "[retry]\nattempts = 2\nbase_seconds = 0.001");
    let manifest = world.fetch(&source).await;
    insta::assert_snapshot!(world.tale(&manifest), @r"
    refused: no answer from `127.0.0.1:<port>` within 0.05 s (2 attempts)
    kind: Timeout
    attempts: Timeout, Timeout
    objects:
      manifests/weather/20261123T130000.000000Z_2026-11-23_<run>.json
    ");
}

#[tokio::test]
async fn a_fetch_has_an_end_whatever_the_server_does() {
    let world = World::new().await;
    let gate = Gate::closed();
    world.api.on(PATH, Reply::new(500, "busy"));
    world.api.on(PATH, Reply::json(GOOD).held_by(&gate));
    let source = world.source_with(
        "connect_timeout_seconds = 0.05\nread_timeout_seconds = 0.1",
        "[retry]\ntotal_seconds = 0.12\nattempts = 100\nbase_seconds = 0.05",
    );
    let manifest = world.fetch(&source).await;
    assert_eq!(manifest.outcome, Outcome::Refused);
    assert!(manifest.attempts.len() < 5, "{:?}", manifest.attempts);
}
