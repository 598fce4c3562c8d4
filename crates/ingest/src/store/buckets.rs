//! What is true of buckets only: how requests are signed and spelt, versions, and servers that say no.

use bytes::Bytes;
use daymark_plan::{Clock, Encryption, RawUrl, S3Location, Source};
use daymark_testkit::bucket::TestBucket;
use daymark_testkit::proxy::{FaultProxy, Mishap};
use daymark_testkit::rest::{Reply, RestServer, SeenRequest};
use jiff::{SignedDuration, Timestamp};

use super::RawStore;
use super::contract::{archive_key, fetch, fetch_at, in_bucket, source_id, two_pages};
use super::s3::Bucket;
use crate::spool::Spooled;
use crate::{ErrorKind, IngestError, audit};

fn location(endpoint: String) -> S3Location {
    S3Location {
        bucket: "my-bucket".to_owned(),
        prefix: "team/daymark".to_owned(),
        endpoint: Some(endpoint),
        path_style: true,
        allow_http: true,
        ..S3Location::default()
    }
}

/// The one request of a create-only write to a scripted server.
async fn written(change: impl FnOnce(S3Location) -> S3Location) -> SeenRequest {
    let server = RestServer::start().await;
    let store = RawStore::open(&RawUrl::S3(change(location(server.url(""))))).unwrap();
    let source = source_id();
    let body = Spooled::of(Bytes::from_static(b"{\"a\":1}"));
    let key = archive_key(&source, &body);
    server
        .on(&format!("/my-bucket/team/daymark/{key}"), Reply::new(200, "").header("etag", "\"1\""));
    store.archive(&key, &body).await.unwrap();
    let mut seen = server.requests();
    assert_eq!(seen.len(), 1, "{seen:?}");
    seen.remove(0)
}

#[tokio::test]
async fn a_write_is_create_only_signed_and_hashed() {
    let seen =
        written(|location| S3Location { region: Some("eu-north-1".to_owned()), ..location }).await;
    assert_eq!(seen.method, "PUT");
    assert!(
        seen.target.starts_with("/my-bucket/team/daymark/archive/weather/2026-11-23/"),
        "path style"
    );
    let header = |name| seen.header(name).unwrap_or_default();
    assert_eq!(header("if-none-match"), "*");
    // SHA-256 of `{"a":1}`, in base64 and in hexadecimal.
    assert_eq!(header("x-amz-checksum-sha256"), "AVq9f1zFei3ZS3WQ8ErYCEJzkF7jPsXOvq5iJ2qX+GI=");
    assert_eq!(
        header("x-amz-content-sha256"),
        "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
    );
    let authorization = header("authorization");
    assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential="), "{authorization}");
    assert!(authorization.contains("/eu-north-1/s3/aws4_request"), "{authorization}");
    assert!(authorization.contains("x-amz-checksum-sha256"), "what is signed: {authorization}");
    assert_eq!(seen.header("x-amz-server-side-encryption"), None);
}

#[tokio::test]
async fn encryption_is_asked_for_in_headers() {
    let encrypted = |encryption| {
        written(move |location| S3Location { encryption: Some(encryption), ..location })
    };
    let by_s3 = encrypted(Encryption::S3).await;
    assert_eq!(by_s3.header("x-amz-server-side-encryption"), Some("AES256"));
    let key = "arn:aws:kms:us-east-1:123456789012:key/1";
    let by_kms = encrypted(Encryption::Kms(Some(key.to_owned()))).await;
    assert_eq!(by_kms.header("x-amz-server-side-encryption"), Some("aws:kms"));
    assert_eq!(by_kms.header("x-amz-server-side-encryption-aws-kms-key-id"), Some(key));
    let by_default_key = encrypted(Encryption::Kms(None)).await;
    assert_eq!(by_default_key.header("x-amz-server-side-encryption"), Some("aws:kms"));
    assert!(by_default_key.header("x-amz-server-side-encryption-aws-kms-key-id").is_none());
}

/// Names below `localhost` are found by few machines, so the address is looked at rather than asked.
#[tokio::test]
async fn the_bucket_stands_in_the_path_or_before_the_host() {
    let endpoint = "https://s3.example.com".to_owned();
    let virtual_hosted = S3Location { path_style: false, ..location(endpoint.clone()) };
    let of_aws = S3Location {
        endpoint: None,
        region: Some("eu-west-1".to_owned()),
        ..virtual_hosted.clone()
    };
    let expected = [
        (location(endpoint), "https://s3.example.com/my-bucket/x"),
        (virtual_hosted, "https://my-bucket.s3.example.com/x"),
        (of_aws, "https://my-bucket.s3.eu-west-1.amazonaws.com/x"),
    ];
    for (location, address) in expected {
        assert_eq!(Bucket::open(&location).unwrap().object_address().await, address);
    }
}

/// A body of a page that is the last.
const BODY: &str = r#"{"rows":[{"a":"three"}],"next":null}"#;

/// The bytes of a version of an object.
async fn of_version(bucket: &TestBucket, key: &str, version: &str) -> String {
    let (endpoint, name) = (&bucket.endpoint, &bucket.name);
    let url = format!("{endpoint}/{name}/team/daymark/{key}?versionId={version}");
    let signer = super::signer().await.unwrap();
    let (status, body) = signer.send("GET", &url, "s3", &[], Bytes::new()).await.unwrap();
    assert_eq!(status, 200, "{body}");
    body
}

#[tokio::test]
async fn a_bucket_that_keeps_versions_gives_them_to_the_manifest() {
    let bucket = TestBucket::new().await;
    let store = in_bucket(&bucket, &bucket.endpoint);
    let (api, source) = two_pages().await;
    let without = fetch(&store, &source).await.unwrap();
    assert!(without.manifest.pages.iter().all(|page| page.archive_version.is_none()));
    bucket.keep_versions().await;
    api.only("/x", Reply::json(BODY));
    let first = fetch(&store, &source).await.unwrap();
    let page = &first.manifest.pages[0];
    let version = page.archive_version.clone().unwrap();
    assert_eq!(of_version(&bucket, &page.archive_key, &version).await, BODY);
    // The same bytes again are the same object: the version is that of the one who wrote it.
    let second = fetch(&store, &source).await.unwrap();
    assert!(second.manifest.unchanged);
    assert_eq!(second.manifest.pages[0].archive_version.as_ref(), Some(&version));
    // Whoever writes over an object by hand makes another version, and the first is still there.
    store.copy_in(&page.archive_key, Bytes::from_static(b"rot")).await.unwrap();
    assert!(matches!(store.read_page(page).await, Err(IngestError::Damaged { .. })));
    assert_eq!(of_version(&bucket, &page.archive_key, &version).await, BODY);
    // A body that goes up in parts has a version too.
    let source = source_id();
    let mut spool = store.spool();
    for part in 0..18_u8 {
        spool.write(vec![part; 1 << 20].into()).await.unwrap();
    }
    let large = spool.finish().await.unwrap();
    assert!(store.archive(&archive_key(&source, &large), &large).await.unwrap().version.is_some());
}

#[tokio::test]
async fn a_clock_far_from_the_stores_stores_nothing() {
    let bucket = TestBucket::new().await;
    let store = in_bucket(&bucket, &bucket.endpoint);
    let (api, source) = two_pages().await;
    let now = Clock::System.now();
    for minutes in [-6, 6] {
        let clock = Clock::manual(now + SignedDuration::from_mins(minutes));
        let error = fetch_at(&store, &source, clock).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ClockSkew);
        let said = error.to_string();
        assert!(said.contains("the raw store `s3://"), "{said}");
        assert!(said.ends_with("nothing was stored"), "{said}");
    }
    assert_eq!(store.list("").await.unwrap(), []);
    assert_eq!(api.requests().len(), 0, "an API that is asked in vain counts it all the same");
    let near = Clock::manual(now + SignedDuration::from_mins(4));
    assert!(fetch_at(&store, &source, near).await.unwrap().manifest.is_accepted());
}

/// A proxy's answer in S3's words.
fn says(status: u16, code: &str) -> Mishap {
    let body =
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>No.</Message></Error>");
    let answer = format!(
        "HTTP/1.1 {status} Said\r\ncontent-type: application/xml\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    );
    Mishap::Answer(answer.into())
}

/// A store behind a proxy that lets the first request pass, which asks for the time.
async fn behind_a_proxy() -> (TestBucket, FaultProxy, RawStore, RestServer, Source) {
    let bucket = TestBucket::new().await;
    let proxy = FaultProxy::start(bucket.port()).await;
    let store = in_bucket(&bucket, &proxy.url());
    let (api, source) = two_pages().await;
    (bucket, proxy, store, api, source)
}

#[tokio::test]
async fn a_bucket_that_runs_full_takes_no_half_fetch() {
    let (bucket, proxy, store, _api, source) = behind_a_proxy().await;
    let body = Spooled::of(Bytes::from_static(b"{\"a\":1}"));
    let id = source_id();
    let direct = in_bucket(&bucket, &bucket.endpoint);
    // In the words of Ceph and of MinIO; a 507 is asked for again, as every 5xx is.
    for (status, code, times) in
        [(403, "QuotaExceeded", 1), (507, "XMinioStorageFull", 1 + super::s3::RETRIES)]
    {
        for _ in 0..times {
            proxy.next(says(status, code));
        }
        let error = store.archive(&archive_key(&id, &body), &body).await.unwrap_err();
        assert_eq!(proxy.left(), 0, "{code}");
        assert_eq!(error.kind(), ErrorKind::Storage);
        let said = daymark_plan::one_line(&error);
        assert!(said.contains("did not take `archive/") && said.contains(code), "{said}");
        assert_eq!(error.hint(), "the bucket takes no more: make room, or raise its quota");
        assert_eq!(direct.list("").await.unwrap(), []);
    }
    // With room again the same fetch goes through.
    let kept = fetch(&direct, &source).await.unwrap();
    // Full once more, where a fetch is half done: no manifest tells of it, and what was kept is there still.
    let before = direct.list("").await.unwrap();
    proxy.next(says(403, "QuotaExceeded"));
    let key = crate::RawKey::Manifest {
        source: &source.id,
        fetched_at: Clock::System.now(),
        data_date: jiff::civil::date(2026, 11, 24),
        entity: None,
        run_id: uuid::Uuid::nil(),
    };
    let error = store.create(&key, Bytes::from_static(b"{}")).await.unwrap_err();
    assert!(daymark_plan::one_line(&error).contains("QuotaExceeded"), "{error:?}");
    assert_eq!(direct.list("").await.unwrap(), before);
    assert_eq!(direct.manifest(&kept.key).await.unwrap(), kept);
    assert!(audit(&direct, None, &|_, _| {}).await.unwrap().is_sound());
}

#[tokio::test]
async fn keys_that_are_wrong_are_told_from_keys_that_may_not() {
    let (_bucket, proxy, store, ..) = behind_a_proxy().await;
    let body = Spooled::of(Bytes::from_static(b"{\"a\":1}"));
    let id = source_id();
    let mut hints = Vec::new();
    for code in ["AccessDenied", "SignatureDoesNotMatch", "RequestTimeTooSkewed"] {
        // Each on a connection of its own, for a kept one would not meet the mishap.
        proxy.next(says(403, code));
        let error = store.archive(&archive_key(&id, &body), &body).await.unwrap_err();
        let said = daymark_plan::one_line(&error);
        assert!(said.contains(code), "{said}");
        hints.push(error.hint());
    }
    assert!(hints[0].contains("`s3:PutObject`"), "{hints:?}");
    assert!(hints[1].contains("must belong together"), "{hints:?}");
    assert!(hints[2].contains("clock"), "{hints:?}");
}

#[tokio::test]
async fn a_large_body_survives_resets_and_throttling_on_its_way_up() {
    let (bucket, proxy, store, ..) = behind_a_proxy().await;
    let id = source_id();
    let mut spool = store.spool();
    for part in 0..18_u8 {
        spool.write(vec![part; 1 << 20].into()).await.unwrap();
    }
    let body = spool.finish().await.unwrap();
    let key = archive_key(&id, &body);
    // The question whether it is there, the upload's beginning, a part: each fails once.
    proxy.next(says(503, "SlowDown"));
    proxy.next(Mishap::Reset);
    proxy.next(says(503, "SlowDown"));
    proxy.next(Mishap::Reset);
    store.archive(&key, &body).await.unwrap();
    assert_eq!(proxy.left(), 0);
    let found = in_bucket(&bucket, &bucket.endpoint).read(&key.to_string()).await.unwrap();
    assert_eq!(daymark_plan::sha256_hex(&found), body.sha256());
}

#[tokio::test]
async fn a_manifest_whose_answer_is_lost_is_written_once() {
    let (bucket, proxy, store, _api, source) = behind_a_proxy().await;
    let run_id = uuid::Uuid::nil();
    let key = crate::RawKey::Manifest {
        source: &source.id,
        fetched_at: Timestamp::UNIX_EPOCH,
        data_date: jiff::civil::date(2026, 11, 23),
        entity: None,
        run_id,
    };
    // The bucket has taken it, and the answer breaks off: trying again finds what was to be written.
    proxy.next(Mishap::CutAfter(1));
    store.create(&key, Bytes::from_static(b"{\"mine\":1}")).await.unwrap();
    assert_eq!(proxy.left(), 0);
    let direct = in_bucket(&bucket, &bucket.endpoint);
    assert_eq!(direct.read(&key.to_string()).await.unwrap(), "{\"mine\":1}");
    // Another's bytes under that key are another's.
    let error = direct.create(&key, Bytes::from_static(b"{\"yours\":1}")).await.unwrap_err();
    assert!(matches!(
        error,
        IngestError::WriteObject { cause: object_store::Error::AlreadyExists { .. }, .. }
    ));
}
