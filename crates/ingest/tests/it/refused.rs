//! Answers that are not taken: the reason, its kind, and the evidence.

use daymark_testkit::rest::Reply;

use crate::world::{GOOD, PATH, World, gzipped};

/// What a reply leaves behind.
async fn tale_of(reply: Reply) -> String {
    tale_with(reply, "").await
}

async fn tale_with(reply: Reply, request: &str) -> String {
    let world = World::new().await;
    let body = reply.body().clone();
    world.api.on(PATH, reply);
    let manifest = world.fetch(&world.source_with(request, "")).await;
    // Evidence is the bytes as they came.
    for page in &manifest.pages {
        assert_eq!(world.object(&page.archive_key), body);
        assert_eq!(page.raw_key, None);
    }
    world.tale(&manifest)
}

#[tokio::test]
async fn not_found() {
    let body = r#"{"chart":{"result":null,"error":{"code":"Not Found","description":"No data found, symbol may be delisted"}}}"#;
    insta::assert_snapshot!(tale_of(Reply::json(body).status(404)).await, @r"
    refused: HTTP 404: No data found, symbol may be delisted
    kind: NotFound
    attempts: 404 NotFound
    objects:
      archive/weather/2026-11-23/<sha256>.json
      manifests/weather/20261123T130000.000000Z_2026-11-23_<run>.json
    ");
}

#[tokio::test]
async fn unauthorized() {
    let reply = Reply::new(401, "Unauthorized").header("content-type", "text/plain");
    insta::assert_snapshot!(tale_of(reply).await, @r"
    refused: HTTP 401: Unauthorized
    kind: Auth
    attempts: 401 Auth
    objects:
      archive/weather/2026-11-23/<sha256>.txt
      manifests/weather/20261123T130000.000000Z_2026-11-23_<run>.json
    ");
}

#[tokio::test]
async fn bad_parameters() {
    let body = r#"{"error":true,"reason":"Parameter 'start_date' is out of allowed range from 2016-01-01 to 2026-10-09"}"#;
    insta::assert_snapshot!(tale_of(Reply::json(body).status(400)).await, @r"
    refused: HTTP 400: Parameter 'start_date' is out of allowed range from 2016-01-01 to 2026-10-09
    kind: BadStatus
    attempts: 400 BadStatus
    objects:
      archive/weather/2026-11-23/<sha256>.json
      manifests/weather/20261123T130000.000000Z_2026-11-23_<run>.json
    ");
}

#[tokio::test]
async fn html_instead_of_json() {
    let page =
        "<!DOCTYPE html>\n<html><head><title>Will be right back</title></head><body></body></html>";
    let reply = Reply::new(200, page).header("content-type", "text/html; charset=utf-8");
    insta::assert_snapshot!(tale_of(reply).await, @r"
    refused: the body is not JSON: it looks like HTML, it starts with `<!DOCTYPE html> <html><head><title>Will be right back</title></head><body></bod…` (content type `text/html; charset=utf-8`); it says: Will be right back
    kind: BadResponse
    attempts: 200 BadResponse
    objects:
      archive/weather/2026-11-23/<sha256>.txt
      manifests/weather/20261123T130000.000000Z_2026-11-23_<run>.json
    ");
}

#[tokio::test]
async fn words_instead_of_json() {
    let reply = Reply::new(200, "Edge: Too Many Requests\n").header("content-type", "text/plain");
    insta::assert_snapshot!(tale_of(reply).await, @r"
    refused: the body is not whole JSON: expected value at line 1 column 1 (byte 0), found `Edge: Too Many Requests` (content type `text/plain`)
    kind: BadResponse
    attempts: 200 BadResponse
    objects:
      archive/weather/2026-11-23/<sha256>.txt
      manifests/weather/20261123T130000.000000Z_2026-11-23_<run>.json
    ");
    insta::assert_snapshot!(tale_of(Reply::new(200, "Forbidden")).await, @r"
    refused: the body is not whole JSON: expected value at line 1 column 1 (byte 0), found `Forbidden` (no content type)
    kind: BadResponse
    attempts: 200 BadResponse
    objects:
      archive/weather/2026-11-23/<sha256>.txt
      manifests/weather/20261123T130000.000000Z_2026-11-23_<run>.json
    ");
}

#[tokio::test]
async fn nothing_at_all() {
    insta::assert_snapshot!(tale_of(Reply::json("")).await, @r"
    refused: the body is empty
    kind: BadResponse
    attempts: 200 BadResponse
    objects:
      manifests/weather/20261123T130000.000000Z_2026-11-23_<run>.json
    ");
    insta::assert_snapshot!(tale_of(Reply::json(" \n")).await, @r"
    refused: the body is empty
    kind: BadResponse
    attempts: 200 BadResponse
    objects:
      archive/weather/2026-11-23/<sha256>.txt
      manifests/weather/20261123T130000.000000Z_2026-11-23_<run>.json
    ");
}

#[tokio::test]
async fn truncated_json_followed_by_text() {
    let words = "Unexpected error while streaming data: timeoutReached";
    let (half, _) = GOOD.split_once("7.5").unwrap();
    insta::assert_snapshot!(tale_of(Reply::json(format!("{half}{words}"))).await, @r"
    refused: the body is not whole JSON: expected value at line 1 column 146 (byte 145), found `Unexpected error while streaming data: timeoutReached`
    kind: BadResponse
    attempts: 200 BadResponse
    objects:
      archive/weather/2026-11-23/<sha256>.json
      manifests/weather/20261123T130000.000000Z_2026-11-23_<run>.json
    ");
    // In the middle of a string, which then swallows the words.
    let (half, _) = GOOD.split_once("rature").unwrap();
    insta::assert_snapshot!(tale_of(Reply::json(format!("{half}{words}"))).await, @r#"
    refused: the body is not whole JSON: it ends inside a string at line 1 column 179 (byte 178); it ends with `026-11-23"],"tempeUnexpected error while streaming data: timeoutReached`
    kind: BadResponse
    attempts: 200 BadResponse
    objects:
      archive/weather/2026-11-23/<sha256>.json
      manifests/weather/20261123T130000.000000Z_2026-11-23_<run>.json
    "#);
}

#[tokio::test]
async fn whole_rows_followed_by_text() {
    let body = format!("{GOOD}Unexpected error while streaming data: timeoutReached");
    insta::assert_snapshot!(tale_of(Reply::json(body)).await, @r"
    refused: the body goes on after the end of its JSON at line 1 column 152 (byte 151), found `Unexpected error while streaming data: timeoutReached`
    kind: BadResponse
    attempts: 200 BadResponse
    objects:
      archive/weather/2026-11-23/<sha256>.json
      manifests/weather/20261123T130000.000000Z_2026-11-23_<run>.json
    ");
}

#[tokio::test]
async fn truncated_json() {
    insta::assert_snapshot!(tale_of(Reply::json(&GOOD[..90])).await, @r#"
    refused: the body is not whole JSON: it ends inside an object at line 1 column 91 (byte 90); it ends with `enerationtime_ms":0.07,"daily_units":{"time":"iso8601"},"daily":{"time"`
    kind: BadResponse
    attempts: 200 BadResponse
    objects:
      archive/weather/2026-11-23/<sha256>.json
      manifests/weather/20261123T130000.000000Z_2026-11-23_<run>.json
    "#);
}

#[tokio::test]
async fn an_error_body_in_either_key_order() {
    let reason = r#""reason":"Daily API request limit exceeded. Please try again tomorrow.""#;
    let first = tale_of(Reply::json(format!(r#"{{"error":true,{reason}}}"#))).await;
    let last = tale_of(Reply::json(format!(r#"{{{reason},"error":true}}"#))).await;
    assert_eq!(first, last);
    insta::assert_snapshot!(first, @r"
    refused: `$.error` is present: Daily API request limit exceeded. Please try again tomorrow.
    kind: Refused
    attempts: 200 Refused
    objects:
      archive/weather/2026-11-23/<sha256>.json
      manifests/weather/20261123T130000.000000Z_2026-11-23_<run>.json
    ");
}

#[tokio::test]
async fn an_error_body_no_expectation_names() {
    let reply = Reply::json(r#"{"Error Message":1,"message":"Invalid API call"}"#);
    insta::assert_snapshot!(tale_of(reply).await, @r"
    refused: the body has nothing at `$.daily`; it says: Invalid API call
    kind: BadResponse
    attempts: 200 BadResponse
    objects:
      archive/weather/2026-11-23/<sha256>.json
      manifests/weather/20261123T130000.000000Z_2026-11-23_<run>.json
    ");
}

#[tokio::test]
async fn what_must_be_present_is_absent() {
    let world = World::new().await;
    world.api.on(PATH, Reply::json(GOOD));
    let source =
        world.source_with("", "[expect]\npresent = [\"$.latitude\", \"$.daily_units.wind\"]");
    insta::assert_snapshot!(world.tale(&world.fetch(&source).await), @r"
    refused: `$.daily_units.wind` is absent
    kind: Refused
    attempts: 200 Refused
    objects:
      archive/weather/2026-11-23/<sha256>.json
      manifests/weather/20261123T130000.000000Z_2026-11-23_<run>.json
    ");
}

#[tokio::test]
async fn empty_arrays() {
    let body = r#"{"daily":{"time":[],"temperature_2m_max":[]}}"#;
    insta::assert_snapshot!(tale_of(Reply::json(body)).await, @r"
    refused: 0 rows, at least 1 expected (`min_rows`)
    kind: Refused
    attempts: 200 Refused
    rows: 0 extracted, 0 rejected
    objects:
      archive/weather/2026-11-23/<sha256>.json
      manifests/weather/20261123T130000.000000Z_2026-11-23_<run>.json
    ");
}

#[tokio::test]
async fn arrays_of_unequal_length() {
    let body = r#"{"daily":{"time":["2026-11-22","2026-11-23"],"temperature_2m_max":[9.1]}}"#;
    insta::assert_snapshot!(tale_of(Reply::json(body)).await, @r"
    refused: the arrays of `$.daily` differ in length: `date` has 2, `temperature_max_c` has 1
    kind: BadResponse
    attempts: 200 BadResponse
    objects:
      archive/weather/2026-11-23/<sha256>.json
      manifests/weather/20261123T130000.000000Z_2026-11-23_<run>.json
    ");
}

#[tokio::test]
async fn a_string_where_a_number_belongs() {
    let body = r#"{"daily":{"time":["2026-11-22","2026-11-23","2026-11-24"],"temperature_2m_max":[9.1,"abc",null]}}"#;
    insta::assert_snapshot!(tale_of(Reply::json(body)).await, @r#"
    refused: 1 of 3 rows rejected, more than `max_reject_ratio = 0.1` (first: row 1, `temperature_max_c` at `$.daily.temperature_2m_max[1]`: `"abc"`: expected a number, found other text)
    kind: Refused
    attempts: 200 Refused
    rows: 2 extracted, 1 rejected
    objects:
      archive/weather/2026-11-23/<sha256>.json
      manifests/weather/20261123T130000.000000Z_2026-11-23_<run>.json
    "#);
    let body = r#"{"daily":{"time":["2026-11-22","2026-11-23"],"temperature_2m_max":["a","b"]}}"#;
    insta::assert_snapshot!(tale_of(Reply::json(body)).await, @r#"
    refused: 0 rows, at least 1 expected (`min_rows`); 2 of 2 rows rejected (first: row 0, `temperature_max_c` at `$.daily.temperature_2m_max[0]`: `"a"`: expected a number, found other text)
    kind: Refused
    attempts: 200 Refused
    rows: 0 extracted, 2 rejected
    objects:
      archive/weather/2026-11-23/<sha256>.json
      manifests/weather/20261123T130000.000000Z_2026-11-23_<run>.json
    "#);
}

#[tokio::test]
async fn too_large() {
    let big = format!(r#"{{"daily":"{}"}}"#, "x".repeat(1 << 20));
    insta::assert_snapshot!(tale_with(Reply::json(big), "max_mebibytes = 1").await, @r"
    refused: the body is larger than 1 MiB (`request.max_mebibytes`)
    kind: BadResponse
    attempts: 200 BadResponse
    objects:
      manifests/weather/20261123T130000.000000Z_2026-11-23_<run>.json
    ");
}

#[tokio::test]
async fn too_large_after_decoding() {
    let big = gzipped(&vec![b' '; (1 << 20) + 1]);
    let reply = Reply::json(big).header("content-encoding", "gzip");
    insta::assert_snapshot!(tale_with(reply, "max_mebibytes = 1").await, @r"
    refused: the body is larger than 1 MiB (`request.max_mebibytes`)
    kind: BadResponse
    attempts: 200 BadResponse
    objects:
      manifests/weather/20261123T130000.000000Z_2026-11-23_<run>.json
    ");
}

#[tokio::test]
async fn a_redirect_to_another_host() {
    let reply = Reply::redirect("https://consent.example.org/collect?session=1");
    insta::assert_snapshot!(tale_of(reply).await, @r"
    refused: HTTP 302: it redirects to `https://consent.example.org`, which is not followed
    kind: BadStatus
    attempts: 302 BadStatus
    objects:
      manifests/weather/20261123T130000.000000Z_2026-11-23_<run>.json
    ");
}

#[tokio::test]
async fn a_redirect_that_never_ends() {
    let world = World::new().await;
    world.api.on(PATH, Reply::redirect(PATH));
    insta::assert_snapshot!(world.tale(&world.fetch(&world.source()).await), @r"
    refused: HTTP 302: more than 10 redirects
    kind: BadStatus
    attempts: 302 BadStatus
    objects:
      manifests/weather/20261123T130000.000000Z_2026-11-23_<run>.json
    ");
    assert_eq!(world.api.requests().len(), 11);
}

#[tokio::test]
async fn a_secret_that_the_server_repeats_is_hidden() {
    let world = World::new().await;
    world.api.on(PATH, Reply::json(r#"{"error":true,"reason":"no such key: s3cr3t-key"}"#));
    let manifest =
        world.fetch(&world.source_with("query = { apikey = \"${TEST_KEY}\" }", "")).await;
    insta::assert_snapshot!(manifest.reason.unwrap(), @"`$.error` is present: no such key: ***");
}
