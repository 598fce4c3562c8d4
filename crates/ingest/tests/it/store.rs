//! The clock, the store and what is in it.

use std::error::Error as _;
use std::fs;

use daymark_ingest::{ErrorKind, IngestError, RawKey, RawStore};
use daymark_plan::{RawUrl, SourceId};
use daymark_testkit::rest::Reply;
use jiff::ToSpan;

use crate::world::{GOOD, PATH, World};

#[tokio::test]
async fn a_clock_far_from_the_apis_stores_nothing() {
    let world = World::new().await;
    let now = world.clock.now();
    for api in [now + 301.seconds(), now - 301.seconds()] {
        world.api.only(PATH, Reply::json(GOOD).date(api));
        let error = world.try_fetch(&world.source()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ClockSkew);
        assert!(error.hint().contains("set this machine's clock"));
        assert_eq!(world.keys(), [""; 0]);
        if api > now {
            insta::assert_snapshot!(error, @"the clock says 2026-11-23T13:00:00Z, the API of `weather` says 2026-11-23T13:05:01Z: nothing was stored");
        }
    }
    for api in [now + 300.seconds(), now - 300.seconds()] {
        world.api.only(PATH, Reply::json(GOOD).date(api));
        assert!(world.fetch(&world.source()).await.is_accepted());
    }
}

#[test]
fn a_store_that_cannot_be_made() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = RawStore::open(&RawUrl::File(file.join("raw"))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    let said = error.to_string().replace(folder.path().to_str().unwrap(), "<folder>");
    insta::assert_snapshot!(said, @"the raw store `file:<folder>/file/raw` cannot be opened");
    insta::assert_snapshot!(error.source().unwrap(), @"Not a directory (os error 20)");
    insta::assert_snapshot!(error.hint(), @"the raw store must be a folder that this user can make and write, on a disk with room; set `url` in `[raw]` or DAYMARK_RAW_URL to use another");
}

#[tokio::test]
async fn a_store_that_takes_nothing() {
    let world = World::new().await;
    world.api.on(PATH, Reply::json(GOOD));
    fs::write(world.store_folder().join("archive"), "in the way").unwrap();
    let error = world.try_fetch(&world.source()).await.unwrap_err();
    assert!(matches!(error, IngestError::WriteObject { .. }), "{error:?}");
    let folder = world.store_folder();
    let said = error.to_string().replace(folder.to_str().unwrap(), "<store>");
    insta::assert_snapshot!(said, @"the raw store `file:<store>` did not take `archive/weather/2026-11-23/77293504e0e6309cc8a47fd510efd75bde6205387fac79aa8161420e149c813d.json`");
    // No raw object, no manifest: nothing was committed.
    assert_eq!(world.keys(), ["archive"]);
}

#[tokio::test]
async fn a_store_that_takes_no_raw_object_names_it() {
    let world = World::new().await;
    world.api.on(PATH, Reply::json(GOOD));
    fs::write(world.store_folder().join("raw"), "in the way").unwrap();
    let error = world.try_fetch(&world.source()).await.unwrap_err();
    assert!(
        error.to_string().ends_with("did not take `raw/weather/weather_2026-11-23.json`"),
        "{error}"
    );
    // The archive has it, and no manifest says so.
    let archived = world.keys();
    assert!(archived.len() == 2 && archived[0].starts_with("archive/weather/"), "{archived:?}");
}

#[tokio::test]
async fn manifests_come_in_order_and_from_a_key_on() {
    let world = World::new().await;
    world.api.on(PATH, Reply::json(GOOD));
    let source = world.source();
    let store = world.ingest.store();
    assert_eq!(store.manifests(&source.id, None).await.unwrap(), []);
    let mut stored = Vec::new();
    for at in ["2026-11-23T13:00:00Z", "2026-11-24T13:00:00Z", "2026-11-25T13:00:00Z"] {
        world.set_clock(at);
        stored.push(world.try_fetch(&source).await.unwrap());
    }
    fs::write(world.store_folder().join("manifests/weather/notes.txt"), "mine").unwrap();
    assert_eq!(store.manifests(&source.id, None).await.unwrap(), stored);
    assert_eq!(store.manifests(&source.id, Some(&stored[0].key)).await.unwrap(), stored[1..]);
    let from = RawKey::manifests_from(&source.id, "2026-11-25T13:00:00Z".parse().unwrap());
    assert_eq!(
        store.manifest_keys(&source.id, Some(&from)).await.unwrap(),
        [stored[2].key.as_str()]
    );
    let other = SourceId::new("weathe").unwrap();
    assert_eq!(store.manifests(&other, None).await.unwrap(), []);
}

#[tokio::test]
async fn a_clock_set_back_does_not_disorder_the_fetches() {
    let world = World::new().await;
    world.api.on(PATH, Reply::json(GOOD));
    let first = world.try_fetch(&world.source()).await.unwrap();
    world.set_clock("2026-11-23T12:58:00Z");
    let second = world.try_fetch(&world.source()).await.unwrap();
    assert!(first.key < second.key);
    assert_eq!(second.manifest.fetched_at - first.manifest.fetched_at, 1.microsecond().fieldwise());
}

#[tokio::test]
async fn damage_in_the_archive_is_seen_and_the_same_answer_mends_it() {
    let world = World::new().await;
    world.api.on(PATH, Reply::json(GOOD));
    let page = world.fetch(&world.source()).await.pages.remove(0);
    fs::write(world.store_folder().join(&page.archive_key), "rot").unwrap();
    let error = world.ingest.store().read_page(&page).await.unwrap_err();
    assert!(matches!(error, IngestError::Damaged { .. }), "{error:?}");
    world.fetch(&world.source()).await;
    assert_eq!(world.ingest.store().read_page(&page).await.unwrap(), GOOD.as_bytes());
}

#[tokio::test]
async fn a_manifest_of_a_newer_program_is_refused_but_stops_no_fetch() {
    let world = World::new().await;
    world.api.on(PATH, Reply::json(GOOD));
    let stored = world.try_fetch(&world.source()).await.unwrap();
    fs::write(world.store_folder().join(&stored.key), r#"{"format": 2}"#).unwrap();
    let source = world.source();
    let error = world.ingest.store().manifests(&source.id, None).await.unwrap_err();
    insta::assert_snapshot!(error, @"the manifest `manifests/weather/20261123T130000.000000Z_2026-11-23_00000000-0000-0000-0000-000000000000.json` has format 2; this program knows format 1");
    assert!(world.fetch(&source).await.is_accepted());
}

#[tokio::test]
async fn a_key_that_leaves_the_store_is_not_read() {
    let world = World::new().await;
    fs::write(world.store_folder().parent().unwrap().join("secret"), "x").unwrap();
    world.ingest.store().read("../secret").await.unwrap_err();
    world.ingest.store().read("archive/../../secret").await.unwrap_err();
}
