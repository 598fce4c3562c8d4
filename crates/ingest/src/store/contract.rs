//! What a raw store promises, tried on every kind of it: a folder, memory, a bucket.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use daymark_plan::{Clock, Environment, RawUrl, S3Location, Source, SourceId};
use daymark_testkit::bucket::{FilledServer, TestBucket};
use daymark_testkit::proxy::{FaultProxy, Mishap};
use daymark_testkit::rest::{Reply, RestServer};
use futures::future::join_all;
use jiff::civil::date;
use tempfile::TempDir;
use uuid::Uuid;

use super::{Backend, RawStore};
use crate::keys::{Extension, RawKey};
use crate::spool::Spooled;
use crate::{FetchOrder, Ingest, IngestError, Reach, audit, sync};

#[derive(Clone, Copy)]
enum Kind {
    File,
    Memory,
    S3,
}

/// A store, and what must live as long as it.
struct TestStore {
    store: RawStore,
    _folder: Option<TempDir>,
}

async fn open(kind: Kind) -> TestStore {
    match kind {
        Kind::File => {
            let folder = TempDir::new().unwrap();
            let store = RawStore::open(&RawUrl::File(folder.path().join("raw-store"))).unwrap();
            TestStore { store, _folder: Some(folder) }
        }
        Kind::Memory => TestStore { store: RawStore::in_memory(), _folder: None },
        Kind::S3 => {
            let bucket = TestBucket::new().await;
            TestStore { store: in_bucket(&bucket, &bucket.endpoint), _folder: None }
        }
    }
}

pub(super) fn in_bucket(bucket: &TestBucket, endpoint: &str) -> RawStore {
    let location = S3Location {
        bucket: bucket.name.clone(),
        prefix: "team/daymark".to_owned(),
        endpoint: Some(endpoint.to_owned()),
        path_style: true,
        allow_http: true,
        ..S3Location::default()
    };
    RawStore::open(&RawUrl::S3(location)).unwrap()
}

macro_rules! on_every_store {
    ($($test:ident),+ $(,)?) => {
        mod file { $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $test() { super::$test(super::open(super::Kind::File).await).await })+ }
        mod memory { $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $test() { super::$test(super::open(super::Kind::Memory).await).await })+ }
        mod s3 { $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $test() { super::$test(super::open(super::Kind::S3).await).await })+ }
    };
}

on_every_store!(
    one_writer_of_sixteen_creates,
    equal_bytes_are_archived_by_all,
    damage_is_repaired,
    ten_thousand_objects_are_listed_from_a_key_on,
    what_is_new_is_listed_from_a_key_on,
    names_and_contents_are_any_text,
    a_large_body_goes_through_a_file,
    a_crash_between_any_two_writes_loses_nothing,
    a_copy_goes_on_where_it_was,
    an_audit_finds_what_is_wrong,
    a_probe_finds_a_sound_store,
    entities_are_told_in_any_language,
    a_clock_set_back_disorders_nothing,
    a_clock_far_from_the_apis_stores_nothing,
    a_refused_answer_is_evidence_and_no_raw_object,
);

pub(super) fn source_id() -> SourceId {
    SourceId::new("weather").unwrap()
}

pub(super) fn archive_key<'k>(source: &'k SourceId, body: &'k Spooled) -> RawKey<'k> {
    let data_date = date(2026, 11, 23);
    RawKey::Archive { source, data_date, sha256: body.sha256(), extension: Extension::Json }
}

fn manifest_key(source: &SourceId, at: i64, run_id: Uuid) -> RawKey<'_> {
    let fetched_at = jiff::Timestamp::from_microsecond(at).unwrap();
    RawKey::Manifest { source, fetched_at, data_date: date(2026, 11, 23), entity: None, run_id }
}

async fn one_writer_of_sixteen_creates(test: TestStore) {
    let source = source_id();
    for round in 0..5 {
        let key = manifest_key(&source, round, Uuid::nil());
        let writers = (0..16).map(|writer| {
            let store = test.store.clone();
            let key = &key;
            async move { store.create(key, Bytes::from(format!("writer {writer}"))).await }
        });
        let written = join_all(writers).await;
        let winners: Vec<usize> = (0..16).filter(|writer| written[*writer].is_ok()).collect();
        assert_eq!(winners.len(), 1, "{written:?}");
        let found = test.store.read(&key.to_string()).await.unwrap();
        assert_eq!(found, format!("writer {}", winners[0]));
        for error in written.into_iter().filter_map(Result::err) {
            assert!(matches!(
                error,
                IngestError::WriteObject { cause: object_store::Error::AlreadyExists { .. }, .. }
            ));
        }
    }
}

async fn equal_bytes_are_archived_by_all(test: TestStore) {
    let source = source_id();
    let body = Spooled::of(Bytes::from_static(b"{\"a\":1}"));
    let key = archive_key(&source, &body);
    for written in join_all((0..16).map(|_| test.store.archive(&key, &body))).await {
        written.unwrap();
    }
    assert_eq!(test.store.read(&key.to_string()).await.unwrap(), "{\"a\":1}");
    assert_eq!(test.store.list("archive").await.unwrap().len(), 1);
    assert!(test.store.head(&key.to_string()).await.unwrap().is_some());
    assert_eq!(test.store.head("archive/weather/none.json").await.unwrap(), None);
}

async fn damage_is_repaired(test: TestStore) {
    let source = source_id();
    let body = Spooled::of(Bytes::from_static(b"{\"a\":1}"));
    let key = archive_key(&source, &body);
    test.store.copy_in(&key.to_string(), Bytes::from_static(b"{\"a\":")).await.unwrap();
    test.store.archive(&key, &body).await.unwrap();
    assert_eq!(test.store.read(&key.to_string()).await.unwrap(), "{\"a\":1}");
}

/// On the stand-in for S3, which takes 3 ms for an object, enough for three answers of a thousand.
async fn what_is_new_is_listed_from_a_key_on(test: TestStore) {
    let source = source_id();
    let day = |day: i64| {
        let at = jiff::Timestamp::from_second(day * 86_400).unwrap();
        let key = manifest_key(&source, at.as_microsecond(), Uuid::from_u128(7)).to_string();
        (RawKey::manifests_from(&source, at), key)
    };
    let new = async |from: i64| {
        let new = test.store.new_manifest_keys(&source, &day(from).0).await.unwrap();
        // It never says anything else than the listing of all.
        let all = test.store.manifest_keys(&source, Some(&day(from).0)).await.unwrap();
        assert_eq!(new, all, "from day {from}");
        new.len()
    };
    assert_eq!(new(0).await, 0);
    for written in 0..100 {
        test.store.copy_in(&day(written).1, Bytes::from_static(b"{}")).await.unwrap();
        if written % 10 == 0 {
            for from in [0, 50, written - 1, written, written + 1] {
                new(from).await;
            }
        }
    }
    assert_eq!((new(0).await, new(97).await, new(100).await), (100, 3, 0));
    // One that came late, under an old key.
    let late = manifest_key(&source, 98 * 86_400_000_000 + 5, Uuid::from_u128(8)).to_string();
    test.store.copy_in(&late, Bytes::from_static(b"{}")).await.unwrap();
    assert_eq!((new(97).await, new(99).await), (4, 1));
    test.store.copy_in("manifests/weather/zzz.txt", Bytes::new()).await.unwrap();
    assert_eq!(new(97).await, 4);
}

async fn ten_thousand_objects_are_listed_from_a_key_on(test: TestStore) {
    let source = source_id();
    let run_ids: Vec<Uuid> = (0..10_000).map(Uuid::from_u128).collect();
    let keys: Vec<RawKey<'_>> = (0_i64..)
        .zip(&run_ids)
        .map(|(at, run_id)| manifest_key(&source, at * 1_000_000, *run_id))
        .collect();
    let expected: Vec<String> = keys.iter().map(ToString::to_string).collect();
    let is_bucket = matches!(&test.store.backend, Backend::Objects(_, Some(_)));
    // Ten thousand requests to moto take a minute: its bucket has them from the beginning.
    let filled = is_bucket.then(|| {
        FilledServer::start("filled", expected.iter().map(|key| format!("team/daymark/{key}")))
    });
    let mut test = test;
    if let Some(filled) = &filled {
        test.store = in_bucket(&filled.bucket, &filled.bucket.endpoint);
    } else {
        for some in keys.chunks(32) {
            let written = some.iter().map(|key| test.store.create(key, Bytes::from_static(b"{}")));
            for written in join_all(written).await {
                written.unwrap();
            }
        }
    }
    test.store.copy_in("manifests/weather/notes.txt", Bytes::new()).await.unwrap();
    assert_eq!(test.store.manifest_keys(&source, None).await.unwrap(), expected);
    let from = expected.len() - 7;
    let after = Some(expected[from - 1].as_str());
    assert_eq!(test.store.manifest_keys(&source, after).await.unwrap(), expected[from..]);
    let other = SourceId::new("weather_2").unwrap();
    assert_eq!(test.store.manifest_keys(&other, None).await.unwrap(), [""; 0]);
}

async fn names_and_contents_are_any_text(test: TestStore) {
    let body = "{\"city\":\"Zürich ✓ \u{1F600}\"}";
    let key = "raw/weather/Zürich + 100% ✓ 東京.json";
    test.store.copy_in(key, Bytes::from(body)).await.unwrap();
    let listed: Vec<String> =
        test.store.list("raw").await.unwrap().into_iter().map(|object| object.key).collect();
    assert_eq!(listed.len(), 1);
    assert_eq!(test.store.read(&listed[0]).await.unwrap(), body);
    assert!(test.store.read("../escape.json").await.is_err());
}

async fn a_large_body_goes_through_a_file(test: TestStore) {
    let source = source_id();
    let mut spool = test.store.spool();
    // Beyond what goes up in one part.
    for part in 0..18_u8 {
        spool.write(vec![part; 1 << 20].into()).await.unwrap();
    }
    let body = spool.finish().await.unwrap();
    assert!(body.file().is_some());
    let key = archive_key(&source, &body);
    test.store.archive(&key, &body).await.unwrap();
    test.store.archive(&key, &body).await.unwrap();
    let raw = RawKey::Raw {
        source: &source,
        data_date: date(2026, 11, 23),
        entity: None,
        page: None,
        extension: Extension::Json,
    };
    test.store.overwrite(&raw, &body).await.unwrap();
    for key in [key.to_string(), raw.to_string()] {
        let found = test.store.read(&key).await.unwrap();
        assert_eq!(daymark_plan::sha256_hex(&found), body.sha256(), "{key}");
    }
}

/// A source of two pages, asked of a scripted API.
pub(super) async fn two_pages() -> (RestServer, Source) {
    let api = RestServer::start().await;
    let page = |row: &str, next: &str| {
        Reply::json(format!("{{\"rows\":[{{\"a\":\"{row}\"}}],\"next\":{next}}}"))
    };
    api.on("/x", page("one", "\"/x?page=2\""));
    api.on("/x?page=2", page("two", "null"));
    let source = source_of(
        &api.url("/x"),
        "[pagination]\ntype = \"next_url\"\npath = \"$.next\"\n[rows]\nlayout = \"records\"\n\
         at = \"$.rows\"\n[rows.fields]\na = { path = \"a\", type = \"text\" }\n",
    );
    (api, source)
}

/// A source that asks `url`, with what follows in its file.
fn source_of(url: &str, rest: &str) -> Source {
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("sources")).unwrap();
    let main = "name = \"p\"\ntime_zone = \"UTC\"\nschedule = \"cron(0 8 * * ? *)\"\n";
    std::fs::write(folder.path().join("daymark.toml"), main).unwrap();
    let source = format!("id = \"weather\"\n[request]\nurl = \"{url}\"\n{rest}");
    std::fs::write(folder.path().join("sources/weather.toml"), source).unwrap();
    let plan = daymark_plan::load(folder.path(), &Environment::default()).unwrap();
    plan.sources.into_iter().next().unwrap()
}

pub(super) async fn fetch(
    store: &RawStore,
    source: &Source,
) -> Result<crate::StoredManifest, IngestError> {
    fetch_at(store, source, Clock::System).await
}

pub(super) async fn fetch_at(
    store: &RawStore,
    source: &Source,
    clock: Clock,
) -> Result<crate::StoredManifest, IngestError> {
    let order = FetchOrder {
        data_date: date(2026, 11, 23),
        scheduled_at: None,
        run_id: Uuid::now_v7(),
        reach: Reach::Forward,
    };
    Ingest::new(store.clone(), clock).fetch(source, &order, &|_| {}).await
}

async fn a_crash_between_any_two_writes_loses_nothing(test: TestStore) {
    let (_api, source) = two_pages().await;
    // Two archive objects, two raw objects, the manifest.
    for writes in 0..6 {
        let dying =
            RawStore { writes_left: Some(Arc::new(AtomicI64::new(writes))), ..test.store.clone() };
        let before = test.store.manifest_keys(&source.id, None).await.unwrap().len();
        let fetched = fetch(&dying, &source).await;
        let found = test.store.manifest_keys(&source.id, None).await.unwrap().len() - before;
        // The manifest is the last thing written: with it everything is there, without it nothing is.
        assert_eq!((fetched.is_ok(), found), (writes == 5, usize::from(writes == 5)), "{writes}");
        let report = audit(&test.store, None, &|_, _| {}).await.unwrap();
        assert!(report.is_sound(), "{writes}: {report:?}");
        let stored = fetch(&test.store, &source).await.unwrap();
        assert!(stored.manifest.is_accepted());
        // What was written is there for whoever reads it next.
        assert_eq!(test.store.manifest(&stored.key).await.unwrap(), stored);
        for page in &stored.manifest.pages {
            test.store.read_page(page).await.unwrap();
        }
    }
    let report = audit(&test.store, None, &|_, _| {}).await.unwrap();
    assert_eq!((report.manifests, report.objects), (7, 2));
}

async fn a_copy_goes_on_where_it_was(test: TestStore) {
    let (_api, source) = two_pages().await;
    let from = RawStore::in_memory();
    let stored = fetch(&from, &source).await.unwrap();
    for writes in 0..6 {
        let dying =
            RawStore { writes_left: Some(Arc::new(AtomicI64::new(writes))), ..test.store.clone() };
        let copied = sync(&from, &dying, &|_| {}).await;
        // One that dies at once copies nothing; what the others copied stays.
        assert!(copied.is_err() || writes > 0);
        assert!(audit(&test.store, None, &|_, _| {}).await.unwrap().is_sound(), "{writes}");
        if copied.is_ok() {
            break;
        }
    }
    sync(&from, &test.store, &|_| {}).await.unwrap();
    assert_eq!(test.store.manifest(&stored.key).await.unwrap(), stored);
    let again = sync(&from, &test.store, &|_| {}).await.unwrap();
    assert_eq!((again.copied, again.there), (0, 5));
}

async fn an_audit_finds_what_is_wrong(test: TestStore) {
    let (_api, source) = two_pages().await;
    let stored = fetch(&test.store, &source).await.unwrap();
    let damaged = &stored.manifest.pages[0].archive_key;
    test.store.copy_in(damaged, Bytes::from_static(b"{}")).await.unwrap();
    test.store.copy_in("archive/weather/2026-11-23/left.json", Bytes::new()).await.unwrap();
    let broken = manifest_key(&source.id, 1, Uuid::nil()).to_string();
    test.store.copy_in(&broken, Bytes::from_static(b"{")).await.unwrap();
    let missing = stored.manifest.clone();
    let page = crate::Page {
        archive_key: "archive/weather/gone.json".to_owned(),
        ..missing.pages[1].clone()
    };
    let missing = crate::Manifest { pages: vec![page], ..missing };
    let naming = manifest_key(&source.id, 2, Uuid::nil());
    test.store.create(&naming, missing.to_json().into()).await.unwrap();
    let raw_key = stored.manifest.pages[0].raw_key.as_ref().unwrap();
    test.store.copy_in(raw_key, Bytes::from_static(b"edited")).await.unwrap();
    let report = audit(&test.store, Some("weather"), &|_, _| {}).await.unwrap();
    let keys = |faults: &[crate::Fault]| -> Vec<String> {
        faults.iter().map(|fault| fault.key.clone()).collect()
    };
    assert_eq!(keys(&report.damaged).join(" "), *damaged);
    assert_eq!(keys(&report.raw_differs), [raw_key.as_str()]);
    assert_eq!(report.raw_objects, 2);
    assert_eq!(keys(&report.missing), ["archive/weather/gone.json"]);
    assert_eq!(keys(&report.unreadable), [broken]);
    assert_eq!(report.unreferenced, ["archive/weather/2026-11-23/left.json"]);
    let nothing = audit(&test.store, Some("other"), &|_, _| {}).await.unwrap();
    assert_eq!((nothing.manifests, nothing.is_sound()), (0, true));
}

/// Ids are `[a-z0-9-]+`; what else an entity has is any text, and so is what a body says.
async fn entities_are_told_in_any_language(test: TestStore) {
    let api = RestServer::start().await;
    api.on("/x", Reply::json("{\"rows\":[{\"città\":\"Zürich ✓ 東京 \u{1F600}\"}]}"));
    let source = source_of(
        &api.url("/x"),
        "query = { q = \"{{ entity.name }}\" }\n[rows]\nlayout = \"records\"\nat = \"$.rows\"\n\
         [rows.fields]\na = { path = \"città\", type = \"text\" }\n[[entity]]\nid = \"zh-1\"\n\
         name = \"Zürich + 100% ✓ 東京/京都\"\n",
    );
    let stored = fetch(&test.store, &source).await.unwrap();
    let manifest = &stored.manifest;
    assert!(manifest.is_accepted(), "{:?}", manifest.reason);
    assert_eq!(manifest.entity_fields["name"], "Zürich + 100% ✓ 東京/京都");
    assert_eq!(test.store.manifest(&stored.key).await.unwrap(), stored);
    let key = manifest.pages[0].raw_key.as_deref().unwrap();
    assert_eq!(key, "raw/weather/weather_2026-11-23_zh-1.json");
    let kept = test.store.read(key).await.unwrap();
    assert!(std::str::from_utf8(&kept).unwrap().contains("東京 \u{1F600}"));
}

async fn a_clock_set_back_disorders_nothing(test: TestStore) {
    let (_api, source) = two_pages().await;
    // In minutes from now; a bucket's own clock allows five.
    let now = Clock::System.now();
    let at = |minutes| Clock::manual(now + jiff::SignedDuration::from_mins(minutes));
    let mut stored = Vec::new();
    for minutes in [4, -4, 0, 4] {
        stored.push(fetch_at(&test.store, &source, at(minutes)).await.unwrap());
    }
    let keys: Vec<&str> = stored.iter().map(|stored| stored.key.as_str()).collect();
    assert!(keys.is_sorted(), "{keys:?}");
    assert_eq!(test.store.manifest_keys(&source.id, None).await.unwrap(), keys);
    let grown =
        stored.windows(2).map(|two| two[1].manifest.fetched_at - two[0].manifest.fetched_at);
    for grown in grown {
        assert_eq!(grown, jiff::ToSpan::microsecond(1).fieldwise());
    }
}

async fn a_clock_far_from_the_apis_stores_nothing(test: TestStore) {
    let (api, source) = two_pages().await;
    let now = Clock::System.now();
    for minutes in [-6, 6] {
        let date = now + jiff::SignedDuration::from_mins(minutes);
        api.only("/x", Reply::json("{\"rows\":[{\"a\":\"b\"}],\"next\":null}").date(date));
        let error = fetch_at(&test.store, &source, Clock::manual(now)).await.unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::ClockSkew);
        assert!(error.to_string().contains("the API of `weather` says"), "{error}");
        assert!(error.hint().contains("set this machine's clock"));
    }
    assert_eq!(test.store.list("").await.unwrap(), []);
}

async fn a_refused_answer_is_evidence_and_no_raw_object(test: TestStore) {
    let (api, source) = two_pages().await;
    api.only("/x", Reply::new(200, "<html><title>Will be right back</title></html>"));
    let stored = fetch(&test.store, &source).await.unwrap();
    assert!(!stored.manifest.is_accepted());
    assert_eq!(test.store.manifest(&stored.key).await.unwrap(), stored);
    let page = &stored.manifest.pages[0];
    assert_eq!(page.raw_key, None);
    assert!(test.store.read_page(page).await.unwrap().starts_with(b"<html>"));
    assert_eq!(test.store.list("raw").await.unwrap(), []);
    assert!(audit(&test.store, None, &|_, _| {}).await.unwrap().is_sound());
}

async fn a_probe_finds_a_sound_store(test: TestStore) {
    let findings = test.store.probe().await;
    for finding in &findings {
        assert_ne!(finding.verdict, daymark_plan::Verdict::Fail, "{finding:?}");
    }
    assert!(findings.iter().any(|finding| finding.name == "store create-only"));
    // It takes back what it wrote.
    assert_eq!(test.store.list("").await.unwrap(), []);
}

#[tokio::test]
async fn a_bucket_that_is_busy_or_breaks_off_is_asked_again() {
    let bucket = TestBucket::new().await;
    let proxy = FaultProxy::start(bucket.port()).await;
    let store = in_bucket(&bucket, &proxy.url());
    let busy = "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>Please reduce your request \
                rate.</Message></Error>";
    let busy = format!(
        "HTTP/1.1 503 Slow Down\r\ncontent-type: application/xml\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{busy}",
        busy.len()
    );
    let source = source_id();
    let body = Spooled::of(vec![b'x'; 600_000].into());
    let key = archive_key(&source, &body);
    proxy.next(Mishap::Answer(busy.clone().into()));
    proxy.next(Mishap::Reset);
    store.archive(&key, &body).await.unwrap();
    assert_eq!(proxy.left(), 0);
    // A connection that is kept would not meet the mishaps.
    let store = in_bucket(&bucket, &proxy.url());
    proxy.next(Mishap::Answer(busy.into()));
    proxy.next(Mishap::CutAfter(300_000));
    let found = store.read(&key.to_string()).await;
    assert_eq!(proxy.left(), 0);
    // Asked for again or given up: never half a body.
    if let Ok(found) = found {
        assert_eq!(found.len(), 600_000);
    }
    let whole = in_bucket(&bucket, &bucket.endpoint).read(&key.to_string()).await.unwrap();
    assert_eq!(daymark_plan::sha256_hex(&whole), body.sha256());
}

#[tokio::test]
async fn a_bucket_that_is_not_there_says_so() {
    let bucket = TestBucket::new().await;
    let other = TestBucket { name: "no-such-bucket".to_owned(), ..bucket };
    let store = in_bucket(&other, &other.endpoint);
    let (_api, source) = two_pages().await;
    let error = fetch(&store, &source).await.unwrap_err();
    let said = daymark_plan::one_line(&error);
    assert!(said.contains("s3://no-such-bucket") && said.contains("NoSuchBucket"), "{said}");
    assert!(!said.contains("test-secret"), "{said}");
}

#[tokio::test]
async fn a_disk_that_runs_full_loses_no_manifest_and_no_object() {
    let folder = TempDir::new().unwrap();
    let mount = |arguments: &[&str]| {
        std::process::Command::new(arguments[0]).args(&arguments[1..]).arg(folder.path()).status()
    };
    // `make test` runs as root (CONTRIBUTING.md); a small disk cannot be had otherwise.
    let mounted = mount(&["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs"]).unwrap();
    assert!(mounted.success(), "a tmpfs can be mounted");
    let store = RawStore::open(&RawUrl::File(folder.path().join("raw-store"))).unwrap();
    let (api, source) = two_pages().await;
    let good = fetch(&store, &source).await.unwrap();
    let large = |letters: usize| {
        let body = format!("{{\"rows\":[{{\"a\":\"{}\"}}],\"next\":null}}", "x".repeat(letters));
        api.only("/x", Reply::json(body));
    };
    // A body that does not even fit while it comes is told in a manifest, which does.
    large(120_000);
    let unheld = fetch(&store, &source).await.unwrap().manifest;
    // One that came has no room to be kept.
    large(60_000);
    let error = fetch(&store, &source).await.unwrap_err();
    let said = daymark_plan::one_line(&error);
    let report = audit(&store, None, &|_, _| {}).await.unwrap();
    let manifest = store.manifest(&good.key).await.unwrap();
    assert!(mount(&["umount", "-l"]).unwrap().success());
    let reason = unheld.reason.unwrap_or_default();
    assert!(reason.contains("put aside") && reason.contains("No space left"), "{reason}");
    assert_eq!(unheld.error_kind, Some(crate::error::ErrorKind::Storage));
    assert!(said.contains("No space left"), "{said}");
    assert!(report.is_sound() && report.manifests == 2, "{report:?}");
    assert_eq!(manifest, good);
}

#[tokio::test]
async fn a_disk_that_may_only_be_read_is_read() {
    let folder = TempDir::new().unwrap();
    let mount = |arguments: &[&str]| {
        let command = std::process::Command::new(arguments[0])
            .args(&arguments[1..])
            .arg(folder.path())
            .status();
        assert!(command.unwrap().success(), "{arguments:?}: a tmpfs can be mounted");
    };
    mount(&["mount", "-t", "tmpfs", "tmpfs"]);
    let root = RawUrl::File(folder.path().join("raw-store"));
    let store = RawStore::open(&root).unwrap();
    let (_api, source) = two_pages().await;
    let stored = fetch(&store, &source).await.unwrap();
    mount(&["mount", "-o", "remount,ro"]);
    let reopened = RawStore::open(&root);
    let error = fetch(&store, &source).await.unwrap_err();
    let manifest = store.manifest(&stored.key).await;
    let sound = audit(&store, None, &|_, _| {}).await;
    let findings = store.probe().await;
    mount(&["umount", "-l"]);
    assert!(reopened.is_ok(), "whoever only reads may open it: {reopened:?}");
    let said = daymark_plan::one_line(&error);
    assert!(said.contains("did not take") && said.contains("Read-only file system"), "{said}");
    assert!(error.hint().contains("this user can make and write"));
    assert_eq!(manifest.unwrap(), stored);
    assert_eq!(sound.unwrap().manifests, 1);
    assert_eq!(findings[0].verdict, daymark_plan::Verdict::Fail);
}

#[tokio::test]
async fn a_folder_of_the_store_is_this_users_alone() {
    use std::os::unix::fs::PermissionsExt;
    let test = open(Kind::File).await;
    let (_api, source) = two_pages().await;
    fetch(&test.store, &source).await.unwrap();
    let root = test.store.folder().unwrap();
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&root), 0o700);
    for object in test.store.list("").await.unwrap() {
        let path = root.join(&object.key);
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700), "{}", object.key);
    }
}

impl RawStore {
    /// Fails when the writes this store has left are used up: the process that writes is gone then.
    pub(super) fn outlive(&self) -> object_store::Result<()> {
        let left = self.writes_left.as_ref().map(|left| left.fetch_sub(1, Ordering::Relaxed));
        if left.is_some_and(|left| left <= 0) {
            return Err(object_store::Error::Generic {
                store: "test",
                source: "it is gone".into(),
            });
        }
        Ok(())
    }
}
