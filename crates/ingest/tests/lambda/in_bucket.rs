//! The same scenarios with the function writing to a bucket and the library to a folder.

use daymark_ingest::{RawStore, sync};
use daymark_plan::{RawUrl, S3Location};
use daymark_testkit::bucket::TestBucket;
use daymark_testkit::rest::Reply;
use serde_json::json;

use crate::runtime_api::{Lambda, Said};
use crate::world::{AMPLE, BUSY, GOOD, MONDAY, World, scheduled};

/// A later instant than [`MONDAY`].
const TUESDAY: &str = "2025-11-25T13:00:00Z";

struct InBucket {
    world: World,
    bucket: TestBucket,
}

impl InBucket {
    async fn new(world: World) -> Self {
        Self { world, bucket: TestBucket::new().await }
    }

    /// Invokes the function, in a process of its own.
    async fn invoke(&self, event: &str) -> Said {
        let mut variables = self.world.variables("function");
        variables[1].1 = format!("s3://{}/daymark", self.bucket.name);
        variables.push(("DAYMARK_RAW_ENDPOINT", self.bucket.endpoint.clone()));
        variables.push(("AWS_ACCESS_KEY_ID", "AKIATEST".to_owned()));
        variables.push(("AWS_SECRET_ACCESS_KEY", "test-secret".to_owned()));
        variables.push(("AWS_REGION", "us-east-1".to_owned()));
        Lambda::start(&variables).await.invoke(event, AMPLE).await.unwrap()
    }

    /// What the bucket has, beside what the library has left in its folder.
    async fn same(&self) -> String {
        let location = S3Location {
            bucket: self.bucket.name.clone(),
            prefix: "daymark".to_owned(),
            endpoint: Some(self.bucket.endpoint.clone()),
            path_style: true,
            allow_http: true,
            ..S3Location::default()
        };
        let in_bucket = RawStore::open(&RawUrl::S3(location)).unwrap();
        let folder = self.world.variables("function").swap_remove(1).1;
        let folder = folder.strip_prefix("file:").unwrap().into();
        let in_folder = RawStore::open(&RawUrl::File(folder)).unwrap();
        sync(&in_bucket, &in_folder, &|_| {}).await.unwrap();
        self.world.same()
    }
}

#[tokio::test]
async fn refusals_leave_their_evidence() {
    let world = World::of_two().await;
    world.answer("weather", BUSY);
    world.api.only("/stock", Reply::new(200, "<html><title>Will be right back</title></html>"));
    let test = InBucket::new(world).await;
    let said = test.invoke(&scheduled()).await;
    let Said::Error(error) = said else { panic!("no error: {said:?}") };
    let message = error["errorMessage"].as_str().unwrap();
    assert!(message.starts_with("2 of 2 fetches failed"), "{message}");
    test.world.library(&["weather", "stock"], Some(MONDAY), None).await;
    insta::assert_snapshot!(test.same().await, @"
    archive/stock/2025-11-21/<sha256>.txt
    archive/weather/2025-11-24/<sha256>.json
    manifests/stock/2025-11-21_
    manifests/weather/2025-11-24_
    ");
}

#[tokio::test]
async fn pages_are_kept_each() {
    let world = World::new().await;
    world.source("pages", "", "\n[pagination]\ntype = \"next_url\"\npath = \"$.next\"\n");
    world.answer("pages", &GOOD.replacen('{', "{\"next\":\"/pages?page=2\",", 1));
    world.answer("pages?page=2", &GOOD.replace("9.1", "8.8"));
    let test = InBucket::new(world).await;
    let said = test.invoke(&scheduled()).await;
    let Said::Response(report) = said else { panic!("no report: {said:?}") };
    assert_eq!(report["fetches"][0]["rows"], 4);
    test.world.library(&["pages"], Some(MONDAY), None).await;
    insta::assert_snapshot!(test.same().await, @"
    archive/pages/2025-11-24/<sha256>.json
    archive/pages/2025-11-24/<sha256>.json
    manifests/pages/2025-11-24_
    raw/pages/pages_2025-11-24_p1.json
    raw/pages/pages_2025-11-24_p2.json
    ");
}

#[tokio::test]
async fn a_page_that_fails_fails_the_fetch_and_is_evidence() {
    let world = World::new().await;
    world.source("pages", "", "\n[pagination]\ntype = \"next_url\"\npath = \"$.next\"\n");
    world.answer("pages", &GOOD.replacen('{', "{\"next\":\"/pages?page=2\",", 1));
    world.answer("pages?page=2", BUSY);
    let test = InBucket::new(world).await;
    let said = test.invoke(&scheduled()).await;
    assert!(matches!(said, Said::Error(_)), "{said:?}");
    test.world.library(&["pages"], Some(MONDAY), None).await;
    insta::assert_snapshot!(test.same().await, @"
    archive/pages/2025-11-24/<sha256>.json
    archive/pages/2025-11-24/<sha256>.json
    manifests/pages/2025-11-24_
    ");
}

#[tokio::test]
async fn a_cursor_goes_on_from_process_to_process() {
    let world = World::new().await;
    world.source(
        "events",
        "",
        "query = { since = \"{{ cursor }}\" }\n[incremental]\ncursor = \"$.daily.time[*]\"\n\
         type = \"date\"\ninitial = \"2025-11-01\"\n",
    );
    world.answer("events?since=2025-11-01", GOOD);
    world.answer("events?since=2025-11-24", &GOOD.replace("2025-11-24", "2025-11-25"));
    world.answer("events?since=2025-11-25", BUSY);
    let test = InBucket::new(world).await;
    for (at, accepted) in [(MONDAY, true), (TUESDAY, true), ("2025-11-26T13:00:00Z", false)] {
        let said = test.invoke(&json!({ "scheduled_at": at }).to_string()).await;
        assert_eq!(matches!(said, Said::Response(_)), accepted, "{said:?}");
        test.world.library(&["events"], Some(at), None).await;
    }
    insta::assert_snapshot!(test.same().await, @"
    archive/events/2025-11-24/<sha256>.json
    archive/events/2025-11-25/<sha256>.json
    archive/events/2025-11-26/<sha256>.json
    manifests/events/2025-11-24_
    manifests/events/2025-11-25_
    manifests/events/2025-11-26_
    raw/events/events_2025-11-24.json
    raw/events/events_2025-11-25.json
    ");
    let asked: Vec<_> = test.world.api.requests().into_iter().map(|seen| seen.target).collect();
    // The function's and the library's, in turn.
    let asked: Vec<&str> = asked.iter().step_by(2).map(String::as_str).collect();
    assert_eq!(
        asked,
        ["/events?since=2025-11-01", "/events?since=2025-11-24", "/events?since=2025-11-25"]
    );
    // What was refused moves nothing: a retry asks from the same place.
    test.world.answer("events?since=2025-11-25", &GOOD.replace("2025-11-24", "2025-11-26"));
    let event = json!({ "scheduled_at": "2025-11-26T13:00:00Z" }).to_string();
    assert!(matches!(test.invoke(&event).await, Said::Response(_)));
    test.world.library(&["events"], Some("2025-11-26T13:00:00Z"), None).await;
    test.same().await;
    let cursors: Vec<_> =
        test.world.manifests().iter().map(|manifest| manifest["cursor"].clone()).collect();
    assert_eq!(
        cursors,
        [json!("2025-11-24"), json!("2025-11-25"), json!(null), json!("2025-11-26")]
    );
}

#[tokio::test]
async fn one_entity_that_is_refused_stops_no_other() {
    let world = World::new().await;
    world.source(
        "city",
        "",
        "query = { at = \"{{ entity.name }}\" }\n[[entity]]\nid = \"zh\"\nname = \"Zürich\"\n\
         [[entity]]\nid = \"tokyo\"\nname = \"東京\"\n",
    );
    world.answer("city?at=Z%C3%BCrich", GOOD);
    world.answer("city?at=%E6%9D%B1%E4%BA%AC", BUSY);
    let test = InBucket::new(world).await;
    let said = test.invoke(&scheduled()).await;
    let Said::Error(error) = said else { panic!("no error: {said:?}") };
    assert!(
        error["errorMessage"]
            .as_str()
            .unwrap()
            .contains("city/tokyo 2025-11-24: `$.error` is present"),
        "{error}"
    );
    test.world.library(&["city"], Some(MONDAY), None).await;
    insta::assert_snapshot!(test.same().await, @"
    archive/city/2025-11-24/<sha256>.json
    archive/city/2025-11-24/<sha256>.json
    manifests/city/2025-11-24_tokyo
    manifests/city/2025-11-24_zh
    raw/city/city_2025-11-24_zh.json
    ");
}
