//! Fetches that are taken.

use daymark_ingest::{FetchEvent, Outcome};
use daymark_testkit::rest::Reply;

use crate::world::{GOOD, PATH, World, gzipped};

#[tokio::test]
async fn a_good_answer_is_archived_put_at_its_raw_key_and_described() {
    let world = World::new().await;
    let reply = Reply::json(GOOD).header("etag", "\"1\"").header("set-cookie", "a=b");
    world.api.on(PATH, reply);
    let source = world.source_with("query = { latitude = 38.9, apikey = \"${TEST_KEY}\" }", "");
    let manifest = world.fetch(&source).await;
    insta::assert_snapshot!(world.tale(&manifest), @r"
    accepted: -
    attempts: 200
    rows: 2 extracted, 0 rejected
    objects:
      archive/weather/2026-11-23/<sha256>.json
      manifests/weather/20261123T130000.000000Z_2026-11-23_<run>.json
      raw/weather/weather_2026-11-23.json
    ");
    let page = &manifest.pages[0];
    assert_eq!(world.object(&page.archive_key), GOOD.as_bytes());
    assert_eq!(world.object(page.raw_key.as_ref().unwrap()), GOOD.as_bytes());
    assert_eq!(world.ingest.store().read_page(page).await.unwrap(), GOOD.as_bytes());
    assert_eq!(manifest.id.get_version_num(), 7);

    let text = String::from_utf8(
        world.object(world.keys().iter().find(|key| key.starts_with("manifests")).unwrap()),
    )
    .unwrap();
    assert!(!text.contains("s3cr3t"));
    let took = manifest.attempts[0].duration_ms.unwrap();
    let text = world
        .stable(&text)
        .replace(&format!("\"duration_ms\": {took},"), "\"duration_ms\": \"<duration>\",")
        .replace(&manifest.id.to_string(), "<id>")
        .replace(&manifest.source_file_sha256, "<source sha256>")
        .replace(&manifest.rows.unwrap().rows_sha256, "<rows sha256>");
    insta::assert_snapshot!(text, @r#"
        {
          "format": 1,
          "id": "<id>",
          "source": "weather",
          "data_date": "2026-11-23",
          "entity": null,
          "entity_fields": {},
          "scheduled_at": "2026-11-23T13:00:00Z",
          "run_id": "00000000-0000-0000-0000-000000000000",
          "fetched_at": "2026-11-23T13:00:00Z",
          "outcome": "accepted",
          "reason": null,
          "error_kind": null,
          "request": {
            "method": "GET",
            "url": "http://127.0.0.1:<port>/v1/forecast?latitude=38.9&apikey=***",
            "headers": {
              "user-agent": "daymark/0.1.0"
            },
            "body": null
          },
          "status": 200,
          "headers": {
            "content-type": "application/json",
            "etag": "\"1\""
          },
          "attempts": [
            {
              "page": 1,
              "number": 1,
              "at": "2026-11-23T13:00:00Z",
              "waited_ms": 0,
              "duration_ms": "<duration>",
              "bytes": 151,
              "status": 200,
              "error_kind": null,
              "message": null
            }
          ],
          "pages": [
            {
              "archive_key": "archive/weather/2026-11-23/77293504e0e6309cc8a47fd510efd75bde6205387fac79aa8161420e149c813d.json",
              "archive_version": null,
              "raw_key": "raw/weather/weather_2026-11-23.json",
              "sha256": "77293504e0e6309cc8a47fd510efd75bde6205387fac79aa8161420e149c813d",
              "bytes": 151,
              "number": null,
              "url": "http://127.0.0.1:<port>/v1/forecast?latitude=38.9&apikey=***",
              "rows": 2,
              "encoding": null
            }
          ],
          "rows": {
            "extracted": 2,
            "rejected": 0,
            "rejects": [],
            "rows_sha256": "<rows sha256>"
          },
          "outline": {
            "cut": false,
            "paths": {
              "$": "object",
              "$.daily": "object",
              "$.daily.temperature_2m_max": "array",
              "$.daily.temperature_2m_max[*]": "number 9.1",
              "$.daily.time": "array",
              "$.daily.time[*]": "string \"2026-11-22\"",
              "$.daily_units": "object",
              "$.daily_units.time": "string \"iso8601\"",
              "$.generationtime_ms": "number 0.07",
              "$.latitude": "number 38.9"
            }
          },
          "unchanged": false,
          "cursor_before": null,
          "cursor": null,
          "program": "daymark/0.1.0",
          "source_file_sha256": "<source sha256>"
        }
        "#);
    assert!(world.api.requests()[0].target.ends_with("?latitude=38.9&apikey=s3cr3t-key"));
}

#[tokio::test]
async fn progress_is_told() {
    let world = World::new().await;
    world.api.on(PATH, Reply::json(GOOD));
    world.fetch(&world.source()).await;
    let length = GOOD.len() as u64;
    assert_eq!(world.events().first(), Some(&FetchEvent::Attempt { number: 1, of: 4 }));
    let last = FetchEvent::Received { bytes: length, announced: Some(length) };
    assert_eq!(world.events().last(), Some(&last));
}

#[tokio::test]
async fn the_request_goes_out_as_the_source_says() {
    let world = World::new().await;
    let path = "/v8/finance/chart/%5EGSPC";
    world.api.on(path, Reply::json(GOOD));
    let request = "query = { range = \"1y\", zone = \"America/New_York\" }\n\
                   headers = { User-Agent = \"Mozilla/5.0\", Accept = \"*/*\" }";
    world.fetch(&world.source_at(&world.api.url(path), request, "")).await;
    let seen = &world.api.requests()[0];
    assert_eq!(seen.target, "/v8/finance/chart/%5EGSPC?range=1y&zone=America%2FNew_York");
    assert_eq!(seen.header("user-agent"), Some("Mozilla/5.0"));
    assert_eq!(seen.header("accept-encoding"), Some("zstd,gzip,br"));
}

#[tokio::test]
async fn gzip_is_decoded_before_storing() {
    let world = World::new().await;
    let reply = Reply::json(gzipped(GOOD.as_bytes())).header("content-encoding", "gzip");
    world.api.on(PATH, reply);
    let manifest = world.fetch(&world.source()).await;
    assert_eq!(world.object(&manifest.pages[0].archive_key), GOOD.as_bytes());
}

#[tokio::test]
async fn equal_rows_are_remarked_and_still_a_fetch() {
    let world = World::new().await;
    let source = world.source();
    world.api.on(PATH, Reply::json(GOOD));
    assert!(!world.fetch(&source).await.unchanged, "the first one");
    // A refused one in between does not count.
    world.api.only(PATH, Reply::json(r#"{"error":true,"reason":"busy"}"#));
    assert_eq!(world.fetch(&source).await.outcome, Outcome::Refused);
    // Only the time the server took differs.
    world.api.only(PATH, Reply::json(GOOD.replace("0.07", "0.11")));
    assert!(world.fetch(&source).await.unchanged);
    world.api.only(PATH, Reply::json(GOOD.replace("7.5", "7.6")));
    let last = world.fetch(&source).await;
    assert!(!last.unchanged);
    // The manual clock stood still; the keys are in order all the same.
    insta::assert_snapshot!(world.tale(&last), @r"
    accepted: -
    attempts: 200
    rows: 2 extracted, 0 rejected
    objects:
      archive/weather/2026-11-23/<sha256>.json
      archive/weather/2026-11-23/<sha256>.json
      archive/weather/2026-11-23/<sha256>.json
      archive/weather/2026-11-23/<sha256>.json
      manifests/weather/20261123T130000.000000Z_2026-11-23_<run>.json
      manifests/weather/20261123T130000.000001Z_2026-11-23_<run>.json
      manifests/weather/20261123T130000.000002Z_2026-11-23_<run>.json
      manifests/weather/20261123T130000.000003Z_2026-11-23_<run>.json
      raw/weather/weather_2026-11-23.json
    ");
}

#[tokio::test]
async fn the_same_bytes_are_archived_once() {
    let world = World::new().await;
    world.api.on(PATH, Reply::json(GOOD));
    let first = world.fetch(&world.source()).await;
    world.set_clock("2026-11-23T14:00:00Z");
    let second = world.fetch(&world.source()).await;
    assert_eq!(first.pages, second.pages);
    assert!(second.unchanged && first.id < second.id);
    insta::assert_snapshot!(world.tale(&second), @r"
    accepted: -
    attempts: 200
    rows: 2 extracted, 0 rejected
    objects:
      archive/weather/2026-11-23/<sha256>.json
      manifests/weather/20261123T130000.000000Z_2026-11-23_<run>.json
      manifests/weather/20261123T140000.000000Z_2026-11-23_<run>.json
      raw/weather/weather_2026-11-23.json
    ");
}

#[tokio::test]
async fn a_few_rejects_are_taken_and_shown() {
    let world = World::new().await;
    let body = r#"{"daily":{"time":["2026-11-22","2026-11-23","2026-11-24"],"temperature_2m_max":[9.1,"7.5 C",8]}}"#;
    world.api.on(PATH, Reply::json(body));
    let source = world.source_with("", "[expect]\nmax_reject_ratio = 0.5");
    let manifest = world.fetch(&source).await;
    insta::assert_snapshot!(world.tale(&manifest), @r"
    accepted: -
    attempts: 200
    rows: 2 extracted, 1 rejected
    objects:
      archive/weather/2026-11-23/<sha256>.json
      manifests/weather/20261123T130000.000000Z_2026-11-23_<run>.json
      raw/weather/weather_2026-11-23.json
    ");
    insta::assert_debug_snapshot!(manifest.rows.unwrap().rejects, @r#"
    [
        Reject {
            row: 1,
            field: "temperature_max_c",
            path: "$.daily.temperature_2m_max[1]",
            value: "\"7.5 C\"",
            reason: "expected a number, found other text",
        },
    ]
    "#);
}

#[tokio::test]
async fn an_empty_answer_of_an_incremental_source_is_taken() {
    let world = World::new().await;
    world.api.on(PATH, Reply::json(r#"{"daily":{"time":[],"temperature_2m_max":[]}}"#));
    let manifest = world.fetch(&world.source_with("", "[expect]\nmin_rows = 0")).await;
    assert_eq!((manifest.outcome, manifest.rows.unwrap().extracted), (Outcome::Accepted, 0));
}

#[tokio::test]
async fn a_redirect_within_the_host_is_followed() {
    let world = World::new().await;
    world.api.on(PATH, Reply::redirect("/v2/forecast?moved=1"));
    world.api.on("/v2/forecast", Reply::json(GOOD));
    let manifest = world.fetch(&world.source()).await;
    assert_eq!(manifest.outcome, Outcome::Accepted);
    assert_eq!(world.api.requests()[1].target, "/v2/forecast?moved=1");
}

#[tokio::test]
async fn fetches_can_run_on_any_thread() {
    fn needs_send<T: Send>(value: T) -> T {
        value
    }
    let world = World::new().await;
    world.api.on(PATH, Reply::json(GOOD));
    let source = world.source();
    needs_send(world.try_fetch(&source)).await.unwrap();
}
