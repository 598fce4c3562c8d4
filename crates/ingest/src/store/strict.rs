//! Against a server that checks every signature and checksum (s3s-fs), which moto does not: `make strict-s3`.

use bytes::Bytes;
use daymark_plan::{RawUrl, S3Location};
use daymark_testkit::proxy::{FaultProxy, Mishap};
use uuid::Uuid;

use super::RawStore;
use super::contract::{archive_key, fetch, source_id, two_pages};
use crate::audit;
use crate::spool::Spooled;

/// A bucket, made by a signed request.
async fn bucket() -> S3Location {
    let endpoint = server();
    // s3s-fs makes a file name of bucket and key, which must be short for it.
    let name = format!("s-{}", &Uuid::now_v7().simple().to_string()[24..]);
    let url = format!("{endpoint}/{name}");
    let signer = super::signer().await.unwrap();
    let (status, said) = signer.send("PUT", &url, "s3", &[], Bytes::new()).await.unwrap();
    assert_eq!(status, 200, "{said}");
    S3Location {
        bucket: name,
        endpoint: Some(endpoint),
        path_style: true,
        allow_http: true,
        ..S3Location::default()
    }
}

fn open(location: S3Location) -> RawStore {
    RawStore::open(&RawUrl::S3(location)).unwrap()
}

#[tokio::test]
#[ignore = "it needs s3s-fs, a build of five minutes: `make strict-s3`"]
async fn a_strict_server_takes_all_that_a_fetch_does() {
    let store = open(bucket().await);
    let (_api, source) = two_pages().await;
    let first = fetch(&store, &source).await.unwrap();
    let second = fetch(&store, &source).await.unwrap();
    assert!(second.manifest.unchanged);
    for stored in [&first, &second] {
        assert_eq!(store.manifest(&stored.key).await.unwrap(), *stored);
    }
    assert_eq!(store.manifest_keys(&source.id, Some(&first.key)).await.unwrap(), [second.key]);
    assert!(audit(&store, None, &|_, _| {}).await.unwrap().is_sound());
    // In parts as well.
    let mut spool = store.spool();
    for part in 0..18_u8 {
        spool.write(vec![part; 1 << 20].into()).await.unwrap();
    }
    let large = spool.finish().await.unwrap();
    let id = source_id();
    let key = archive_key(&id, &large);
    store.archive(&key, &large).await.unwrap();
    let found = store.read(&key.to_string()).await.unwrap();
    assert_eq!(daymark_plan::sha256_hex(&found), large.sha256());
}

#[tokio::test]
#[ignore = "it needs s3s-fs, a build of five minutes: `make strict-s3`"]
async fn a_body_that_is_altered_on_its_way_is_not_taken() {
    let location = bucket().await;
    let direct = open(location.clone());
    let port = server().rsplit(':').next().unwrap().parse().unwrap();
    let proxy = FaultProxy::start(port).await;
    let store = open(S3Location { endpoint: Some(proxy.url()), ..location });
    let body = Spooled::of(Bytes::from_static(b"{\"price\":41.88}"));
    let id = source_id();
    let key = archive_key(&id, &body);
    proxy.next(Mishap::Alter(Bytes::from_static(b"41.88"), Bytes::from_static(b"91.88")));
    let written = store.archive(&key, &body).await;
    assert_eq!(proxy.left(), 0);
    // Refused, or sent again as it is: never the other price under the hash of this one.
    match written {
        Ok(_) => assert_eq!(direct.read(&key.to_string()).await.unwrap(), "{\"price\":41.88}"),
        Err(error) => {
            // The connection is kept, so each try is altered; the server's word for it is a 500.
            assert!(daymark_plan::one_line(&error).contains("did not take `archive/"), "{error}");
            assert_eq!(direct.head(&key.to_string()).await.unwrap(), None);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this variable is for tests only")]
fn server() -> String {
    std::env::var("DAYMARK_TEST_S3_STRICT").expect(
        "DAYMARK_TEST_S3_STRICT is the address of a strict S3 server; `make strict-s3` starts one",
    )
}
