//! How fast and how often: limits of a source, and what a server asks for when it has enough.

use std::time::{Duration, Instant};

use daymark_ingest::{ErrorKind, Outcome};
use daymark_testkit::rest::Reply;
use jiff::ToSpan;

use crate::world::{ROWS, World, entities, rows};

fn source(tables: &str) -> String {
    let retry = if tables.contains("[retry]") { "" } else { "[retry]\nbase_seconds = 0.001\n" };
    let rows = ROWS.replace("[retry]\nbase_seconds = 0.001\n", retry);
    format!("[request]\nurl = \"{{api}}/x\"\n{tables}\n{rows}")
}

#[tokio::test]
async fn a_source_is_asked_no_faster_than_it_may_be() {
    let world = World::new().await;
    world.api.on("/x", rows(&["a"], ""));
    // Two at once, then one each 1/18 s.
    let entities = entities(6);
    let text = source(&format!("[rate]\ncalls = 20\nper = \"second\"\n{entities}"));
    let began = Instant::now();
    let all = world.fetch_all(&world.source_of(&text, &[])).await;
    assert_eq!(all.len(), 6);
    // It cannot have been faster; how much slower is the machine's affair.
    assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
}

#[tokio::test]
async fn waiting_for_ones_turn_is_no_part_of_a_pages_time() {
    let world = World::new().await;
    world.api.on("/x", Reply::new(503, "busy"));
    world.api.on("/x", Reply::new(503, "busy"));
    world.api.on("/x", rows(&["a"], ""));
    // Each request may be sent a third of a second after the one before; a page has a tenth of one.
    let text = source(
        "connect_timeout_seconds = 0.05\nread_timeout_seconds = 0.05\n[rate]\ncalls = 4\nper = \"second\"\n\
         [retry]\nbase_seconds = 0.001\ntotal_seconds = 0.1",
    );
    let manifest = world.fetch(&world.source_of(&text, &[])).await;
    assert_eq!(manifest.outcome, Outcome::Accepted, "{:?}", manifest.reason);
}

#[tokio::test]
async fn a_wait_may_be_asked_for_by_a_date_or_by_the_reset_of_a_limit() {
    let world = World::new().await;
    let now = world.clock.now();
    let date = |at: jiff::Timestamp| {
        at.to_zoned(jiff::tz::TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
    };
    let in_a_second = now + 1.second();
    for (status, name, value) in [
        (429, "retry-after", date(in_a_second)),
        (503, "retry-after", "1".to_owned()),
        (429, "ratelimit-reset", "1".to_owned()),
        (429, "x-ratelimit-reset", in_a_second.as_second().to_string()),
        (408, "retry-after", "1".to_owned()),
    ] {
        let world = World::new().await;
        world.api.on("/x", Reply::new(status, "wait").date(now).header(name, &value));
        world.api.on("/x", rows(&["a"], "").date(now));
        let manifest = world.fetch(&world.source_of(&source(""), &[])).await;
        assert_eq!(manifest.outcome, Outcome::Accepted, "{name}: {:?}", manifest.reason);
        assert!(manifest.attempts[1].waited_ms >= 1000, "{name}: {:?}", manifest.attempts);
    }
}

#[tokio::test]
async fn githubs_403_of_a_spent_limit_is_a_throttle_and_another_is_not() {
    let world = World::new().await;
    let reset = (world.clock.now() + 2.hours()).as_second().to_string();
    let spent = Reply::json(r#"{"message":"API rate limit exceeded"}"#)
        .status(403)
        .header("x-ratelimit-remaining", "0")
        .header("x-ratelimit-reset", &reset);
    world.api.on("/x", spent);
    let manifest = world.fetch(&world.source_of(&source(""), &[])).await;
    assert_eq!(
        manifest.reason.unwrap(),
        "HTTP 403: API rate limit exceeded; it asks to wait 7200 s, which does not fit the 300 s of a page"
    );
    assert_eq!(manifest.error_kind, Some(ErrorKind::Throttled));
    assert_eq!(manifest.headers["x-ratelimit-remaining"], "0");
    world.api.only("/x", Reply::json(r#"{"message":"not for you"}"#).status(403));
    let manifest = world.fetch(&world.source_of(&source(""), &[])).await;
    assert_eq!(manifest.error_kind, Some(ErrorKind::Auth));
}

#[tokio::test]
async fn attempts_and_waits_are_as_the_source_says() {
    let world = World::new().await;
    world.api.on("/x", Reply::new(500, ""));
    let text = source("[retry]\nattempts = 7\nbase_seconds = 0.001\ncap_seconds = 0.002");
    let manifest = world.fetch(&world.source_of(&text, &[])).await;
    assert_eq!(manifest.reason.unwrap(), "HTTP 500 Internal Server Error (7 attempts)");
    assert!(
        manifest.attempts.iter().all(|attempt| attempt.waited_ms <= 2),
        "{:?}",
        manifest.attempts
    );
    let text = source("[retry]\nattempts = 100\nbase_seconds = 30\ntotal_seconds = 0");
    let manifest = world.fetch(&world.source_of(&text, &[])).await;
    assert_eq!(
        manifest.reason.unwrap(),
        "HTTP 500 Internal Server Error; the 0 s of a page are over"
    );
}
