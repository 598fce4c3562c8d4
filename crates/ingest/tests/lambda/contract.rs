//! The function and the library leave the same: one scenario each, in two empty stores.

use daymark_ingest::{RawStore, sync};
use daymark_plan::{RawUrl, S3Location};
use daymark_testkit::bucket::TestBucket;
use daymark_testkit::rest::Reply;
use jiff::civil::date;
use serde_json::{Value, json};

use crate::runtime_api::{Lambda, Said};
use crate::world::{AMPLE, BUSY, GOOD, MONDAY, World, scheduled};

/// The report, with what differs from run to run put aside.
fn report(said: Option<Said>) -> Value {
    let Some(Said::Response(mut report)) = said else { panic!("no report: {said:?}") };
    assert_ne!(report["run_id"].take(), Value::Null);
    for fetch in report["fetches"].as_array_mut().unwrap() {
        assert!(fetch["manifest"].take().as_str().unwrap().starts_with("manifests/"));
    }
    report
}

/// The text of an error, by its kind.
fn error(said: Option<Said>, kind: &str) -> String {
    let Some(Said::Error(error)) = said else { panic!("no error: {said:?}") };
    assert_eq!(error["errorType"], kind);
    error["errorMessage"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn two_sources_at_a_scheduled_instant_of_the_past() {
    let world = World::of_two().await;
    let mut function = world.function().await;
    let said = function.invoke(&scheduled(), AMPLE).await;
    world.library(&["weather", "stock"], Some(MONDAY), None).await;
    insta::assert_snapshot!(world.same(), @"
    archive/stock/2025-11-21/<sha256>.json
    archive/weather/2025-11-24/<sha256>.json
    manifests/stock/2025-11-21_
    manifests/weather/2025-11-24_
    raw/stock/stock_2025-11-21.json
    raw/weather/weather_2025-11-24.json
    ");
    let text = serde_json::to_string_pretty(&report(said)).unwrap();
    insta::assert_snapshot!(text, @r#"
    {
      "run_id": null,
      "scheduled_at": "2025-11-24T13:00:00Z",
      "fetches": [
        {
          "source": "stock",
          "data_date": "2025-11-21",
          "entity": null,
          "outcome": "accepted",
          "reason": null,
          "error_kind": null,
          "rows": 2,
          "bytes": 68,
          "manifest": null,
          "fetched_before": false
        },
        {
          "source": "weather",
          "data_date": "2025-11-24",
          "entity": null,
          "outcome": "accepted",
          "reason": null,
          "error_kind": null,
          "rows": 2,
          "bytes": 64,
          "manifest": null,
          "fetched_before": false
        }
      ]
    }
    "#);
    // The log says the same, as JSON lines, and no secret.
    let log = function.log().await;
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said: Vec<_> = lines.iter().map(|line| (&line["message"], &line["source"])).collect();
    assert_eq!(
        said,
        [(&json!("fetched"), &json!("stock")), (&json!("fetched"), &json!("weather"))]
    );
    assert_eq!(lines[0]["span"]["request_id"], "request-1");
    assert!(!log.contains(crate::world::SECRET));
}

#[tokio::test]
async fn the_events_of_aws_are_for_their_time() {
    let world = World::of_two().await;
    let mut function = world.function().await;
    let event = json!({
        "version": "0", "detail-type": "Scheduled Event", "source": "aws.events",
        "time": MONDAY, "region": "us-east-1", "resources": [], "detail": {},
    });
    report(function.invoke(&event.to_string(), AMPLE).await);
    world.library(&["weather", "stock"], Some(MONDAY), None).await;
    world.same();
}

#[tokio::test]
async fn a_day_without_data_asks_nobody_unless_it_is_named() {
    let world = World::of_two().await;
    world.source("stock", "calendar = \"nyse\"", "headers = { x-day = \"{{ data_date }}\" }");
    let mut function = world.function().await;
    // Saturday, 22 November 2025.
    let saturday = json!({ "scheduled_at": "2025-11-22T13:00:00Z" }).to_string();
    let Some(Said::Response(report)) = function.invoke(&saturday, AMPLE).await else { panic!() };
    let stock = &report["fetches"][0];
    assert_eq!([&stock["source"], &stock["outcome"]], ["stock", "skipped"], "{report}");
    assert_eq!(stock["reason"], "2025-11-22 is no day of the calendar `nyse`");
    assert_eq!(report["fetches"][1]["outcome"], "accepted");
    let asked = |world: &World| {
        world.api.requests().iter().filter(|seen| seen.target.starts_with("/stock")).count()
    };
    assert_eq!(asked(&world), 0);
    let named = json!({ "source": "stock", "data_date": "2025-11-22" }).to_string();
    let Some(Said::Response(report)) = function.invoke(&named, AMPLE).await else { panic!() };
    assert_eq!(report["fetches"][0]["outcome"], "accepted", "{report}");
    assert_eq!(asked(&world), 1);
}

#[tokio::test]
async fn one_that_is_refused_does_not_stop_the_other() {
    let world = World::of_two().await;
    world.answer("weather", BUSY);
    let mut function = world.function().await;
    let said = function.invoke(&scheduled(), AMPLE).await;
    world.library(&["weather", "stock"], Some(MONDAY), None).await;
    insta::assert_snapshot!(world.same(), @"
    archive/stock/2025-11-21/<sha256>.json
    archive/weather/2025-11-24/<sha256>.json
    manifests/stock/2025-11-21_
    manifests/weather/2025-11-24_
    raw/stock/stock_2025-11-21.json
    ");
    insta::assert_snapshot!(error(said, "FetchFailed"), @"
    1 of 2 fetches failed
      weather 2025-11-24: `$.error` is present: come back later
    ");
    // A retry asks only the one that is not there yet.
    world.answer("weather", GOOD);
    let said = function.invoke(&scheduled(), AMPLE).await;
    let asked: Vec<_> = world.api.requests().into_iter().map(|seen| seen.target).collect();
    assert_eq!(asked.iter().filter(|target| target.starts_with("/stock")).count(), 2, "{asked:?}");
    assert_eq!(before(&report(said)), [true, false]);
    world.library(&["weather", "stock"], Some(MONDAY), None).await;
    world.same();
}

#[tokio::test]
async fn a_retry_of_another_process_fetches_nothing_twice() {
    let world = World::of_two().await;
    report(world.function().await.invoke(&scheduled(), AMPLE).await);
    let asked = world.api.requests().len();
    let said = world.function().await.invoke(&scheduled(), AMPLE).await;
    assert_eq!(before(&report(said)), [true, true]);
    assert_eq!(world.api.requests().len(), asked);
    for _ in 0..2 {
        world.library(&["weather", "stock"], Some(MONDAY), None).await;
    }
    world.same();
    // Another instant is another fetch.
    let next = json!({ "scheduled_at": "2025-11-24T14:00:00Z" }).to_string();
    let said = world.function().await.invoke(&next, AMPLE).await;
    assert_eq!(before(&report(said)), [false, false]);
}

fn before(report: &Value) -> Vec<bool> {
    let fetches = report["fetches"].as_array().unwrap().iter();
    fetches.map(|fetch| fetch["fetched_before"].as_bool().unwrap()).collect()
}

#[tokio::test]
async fn every_entity_is_a_fetch_of_its_own() {
    let world = World::new().await;
    let entities = "\n[[entity]]\nid = \"berlin\"\ncode = \"b\"\n[[entity]]\nid = \"lima\"\n\
                    code = \"l\"\n[[entity]]\nid = \"oslo\"\ncode = \"o\"\n";
    world.source("city", "", &format!("query = {{ at = \"{{{{ entity.code }}}}\" }}{entities}"));
    world.answer("city?at=b", GOOD);
    world.answer("city?at=l", BUSY);
    world.answer("city?at=o", &GOOD.replace("9.1", "-3"));
    let mut function = world.function().await;
    let said = function.invoke(&scheduled(), AMPLE).await;
    world.library(&["city"], Some(MONDAY), None).await;
    insta::assert_snapshot!(world.same(), @"
    archive/city/2025-11-24/<sha256>.json
    archive/city/2025-11-24/<sha256>.json
    archive/city/2025-11-24/<sha256>.json
    manifests/city/2025-11-24_berlin
    manifests/city/2025-11-24_lima
    manifests/city/2025-11-24_oslo
    raw/city/city_2025-11-24_berlin.json
    raw/city/city_2025-11-24_oslo.json
    ");
    insta::assert_snapshot!(error(said, "FetchFailed"), @"
    1 of 3 fetches failed
      city/lima 2025-11-24: `$.error` is present: come back later
    ");
    world.answer("city?at=l", GOOD);
    let said = function.invoke(&scheduled(), AMPLE).await;
    assert_eq!(before(&report(said)), [true, false, true]);
    world.library(&["city"], Some(MONDAY), None).await;
    world.same();
}

#[tokio::test]
async fn a_person_asks_for_a_source_and_a_day() {
    let world = World::of_two().await;
    world.names_the_day("stock");
    let event = json!({ "source": "stock", "data_date": "2025-10-01" }).to_string();
    report(world.function().await.invoke(&event, AMPLE).await);
    world.library(&["stock"], None, Some(date(2025, 10, 1))).await;
    insta::assert_snapshot!(world.same(), @"
    archive/stock/2025-10-01/<sha256>.json
    manifests/stock/2025-10-01_
    raw/stock/stock_2025-10-01.json
    ");
}

#[tokio::test]
async fn a_day_may_be_named_beside_the_scheduled_instant() {
    let world = World::of_two().await;
    world.names_the_day("weather");
    world.names_the_day("stock");
    let event = json!({ "scheduled_at": MONDAY, "data_date": "2025-10-01" }).to_string();
    report(world.function().await.invoke(&event, AMPLE).await);
    world.library(&["weather", "stock"], Some(MONDAY), Some(date(2025, 10, 1))).await;
    world.same();
}

#[tokio::test]
async fn an_empty_event_is_for_now_and_a_retry_fetches_again() {
    let world = World::of_two().await;
    let mut function = world.function().await;
    for _ in 0..2 {
        assert_eq!(before(&report(function.invoke("{}", AMPLE).await)), [false, false]);
        world.library(&["weather", "stock"], None, None).await;
    }
    assert_eq!(world.manifests().len(), 4);
    assert!(world.manifests().iter().all(|manifest| manifest["scheduled_at"].is_null()));
    world.same();
}

#[tokio::test]
async fn a_server_that_is_busy_is_asked_again() {
    let world = World::of_two().await;
    for _ in 0..2 {
        world.api.only("/weather", Reply::new(503, "busy"));
        world.api.on("/weather", Reply::json(GOOD));
        match world.manifests().len() {
            0 => drop(report(world.function().await.invoke(&scheduled(), AMPLE).await)),
            _ => world.library(&["weather", "stock"], Some(MONDAY), None).await,
        }
    }
    world.same();
    let attempts = world.manifests().pop().unwrap()["attempts"].as_array().unwrap().len();
    assert_eq!(attempts, 2);
}

#[tokio::test]
async fn a_bucket_is_filled_as_a_folder_is() {
    let world = World::of_two().await;
    let bucket = TestBucket::new().await;
    let mut variables = world.variables("function");
    let folder = std::mem::replace(&mut variables[1].1, format!("s3://{}/daymark", bucket.name));
    variables.push(("DAYMARK_RAW_ENDPOINT", bucket.endpoint.clone()));
    variables.push(("AWS_ACCESS_KEY_ID", "AKIATEST".to_owned()));
    variables.push(("AWS_SECRET_ACCESS_KEY", "test-secret".to_owned()));
    variables.push(("AWS_REGION", "us-east-1".to_owned()));
    report(Lambda::start(&variables).await.invoke(&scheduled(), AMPLE).await);
    let again = Lambda::start(&variables).await.invoke(&scheduled(), AMPLE).await;
    assert_eq!(before(&report(again)), [true, true]);
    // What the bucket has, beside what the library leaves in a folder.
    let location = S3Location {
        bucket: bucket.name,
        prefix: "daymark".to_owned(),
        endpoint: Some(bucket.endpoint),
        path_style: true,
        allow_http: true,
        ..S3Location::default()
    };
    let in_bucket = RawStore::open(&RawUrl::S3(location)).unwrap();
    let folder = folder.strip_prefix("file:").unwrap().into();
    let in_folder = RawStore::open(&RawUrl::File(folder)).unwrap();
    sync(&in_bucket, &in_folder, &|_| {}).await.unwrap();
    world.library(&["weather", "stock"], Some(MONDAY), None).await;
    world.same();
}

#[tokio::test]
async fn a_missing_secret_stops_its_source_alone() {
    let world = World::of_two().await;
    world.source("weather", "", "query = { key = \"${OTHER_KEY}\" }");
    let said = world.function().await.invoke(&scheduled(), AMPLE).await;
    insta::assert_snapshot!(error(said, "FetchFailed"), @"
    1 of 2 fetches failed
      weather 2025-11-24: the secret `${OTHER_KEY}` of `weather` is not there: the environment variable is not set; set the environment variable, or store the secret, where daymark runs
    ");
    world.library(&["weather", "stock"], Some(MONDAY), None).await;
    insta::assert_snapshot!(world.same(), @"
    archive/stock/2025-11-21/<sha256>.json
    manifests/stock/2025-11-21_
    raw/stock/stock_2025-11-21.json
    ");
}
