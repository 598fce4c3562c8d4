//! "What is new since yesterday" over ten years of manifests.

use std::fs;
use std::time::Instant;

use daymark_ingest::{RawKey, RawStore};
use daymark_plan::{RawUrl, S3Location, SourceId};
use daymark_testkit::bucket::FilledServer;
use jiff::{SignedDuration, Timestamp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

const SOURCES: usize = 20;
const ENTITIES: usize = 10;
const DAYS: i64 = 3650;

/// How often the question is asked.
const RUNS: usize = 7;

fn newest() -> Timestamp {
    "2026-11-23T13:00:00Z".parse().unwrap()
}

fn sources() -> Vec<SourceId> {
    (0..SOURCES).map(|n| SourceId::new(&format!("s{n:02}")).unwrap()).collect()
}

/// The keys of a source's manifests of the last days.
fn keys(source: &SourceId, days: i64) -> Vec<String> {
    let day = |back: i64| newest() - SignedDuration::from_hours(24 * back);
    let of_day = |back: i64| {
        (0..ENTITIES).map(move |entity| {
            let fetched_at =
                day(back) + SignedDuration::from_micros(i64::try_from(entity).unwrap());
            let data_date = fetched_at.to_zoned(jiff::tz::TimeZone::UTC).date();
            let entity = format!("e{entity}");
            let entity = Some(entity.as_str());
            let run_id = Uuid::from_u128(u128::try_from(back).unwrap());
            RawKey::Manifest { source, fetched_at, data_date, entity, run_id }.to_string()
        })
    };
    (0..days).flat_map(of_day).collect()
}

/// In a folder: each name is of one file, for names are all that is asked for.
pub(crate) fn on_files() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let root = folder.path().join("raw");
    let store = RawStore::open(&RawUrl::File(root.clone())).unwrap();
    let mut all = 0;
    for source in &sources() {
        let into = root.join("manifests").join(source.as_str());
        fs::create_dir_all(&into).unwrap();
        let one = root.join(format!("{source}.json"));
        fs::write(&one, "{}").unwrap();
        for key in keys(source, DAYS) {
            fs::hard_link(&one, root.join(key)).unwrap();
            all += 1;
        }
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let since = newest() - SignedDuration::from_hours(25);
    let ask = |in_full: bool| {
        let began = Instant::now();
        let found: usize = runtime.block_on(async {
            let mut found = 0;
            for source in &sources() {
                let after = RawKey::manifests_from(source, since);
                found += if in_full {
                    store.manifest_keys(source, None).await.unwrap().len()
                } else {
                    store.new_manifest_keys(source, &after).await.unwrap().len()
                };
            }
            found
        });
        (began.elapsed(), found)
    };
    let (full, found) = ask(true);
    assert_eq!(found, all);
    println!("new-file: {all} manifests, all of them listed     {:>6.1} ms", ms(full));
    let (first, found) = ask(false);
    println!("new-file: {found} new, asked for the first time    {:>6.1} ms", ms(first));
    let mut times: Vec<_> = (0..RUNS).map(|_| ask(false)).collect();
    times.sort_unstable();
    let (median, found) = times[RUNS / 2];
    assert_eq!(found, 2 * ENTITIES * SOURCES);
    println!("new-file: {found} new, asked again                 {:>6.1} ms", ms(median));
}

fn ms(took: std::time::Duration) -> f64 {
    took.as_secs_f64() * 1000.0
}

/// In a bucket, through a proxy that counts requests. The server has the objects from the beginning
/// (`FilledServer`), and looks at every one of them for each listing, which is what its time is.
pub(crate) async fn on_s3() {
    if std::env::var_os("DAYMARK_TEST_S3").is_none() {
        println!("new-s3: not measured; scripts/with-s3.sh starts the server");
        return;
    }
    let all = sources().into_iter().flat_map(|source| keys(&source, DAYS));
    let filled = FilledServer::start("ten-years", all.map(|key| format!("daymark/{key}")));
    let bucket = &filled.bucket;
    let counting = Counting::start(bucket.port()).await;
    let location = S3Location {
        bucket: bucket.name.clone(),
        prefix: "daymark".to_owned(),
        endpoint: Some(counting.url.clone()),
        path_style: true,
        allow_http: true,
        ..S3Location::default()
    };
    let store = RawStore::open(&RawUrl::S3(location)).unwrap();
    let since = newest() - SignedDuration::from_hours(25);
    let (mut times, mut requests, mut found) = (Vec::new(), Vec::new(), 0);
    for source in &sources() {
        let after = RawKey::manifests_from(source, since);
        let before = counting.requests();
        let began = Instant::now();
        found += store.new_manifest_keys(source, &after).await.unwrap().len();
        times.push(began.elapsed());
        requests.push(counting.requests() - before);
    }
    assert_eq!(found, 2 * ENTITIES * SOURCES);
    times.sort_unstable();
    println!(
        "new-s3: {found} new of {} in {SOURCES} sources, a source {:>6.1} ms, {} request(s) at most",
        SOURCES * ENTITIES * usize::try_from(DAYS).unwrap(),
        ms(times[SOURCES / 2]),
        requests.iter().max().unwrap()
    );
    let before = counting.requests();
    let began = Instant::now();
    let listed = store.manifest_keys(&sources()[0], None).await.unwrap().len();
    println!(
        "new-s3: {listed} in one source, all of them listed {:>6.1} ms, {} requests",
        ms(began.elapsed()),
        counting.requests() - before
    );
}

/// A proxy that counts the requests that pass it.
struct Counting {
    url: String,
    count: std::sync::Arc<std::sync::atomic::AtomicUsize>,
}

impl Counting {
    async fn start(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = std::sync::Arc::clone(&count);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let counted = std::sync::Arc::clone(&counted);
                tokio::spawn(async move { pass(client, port, &counted).await.unwrap_or_default() });
            }
        });
        Self { url, count }
    }

    fn requests(&self) -> usize {
        self.count.load(std::sync::atomic::Ordering::SeqCst)
    }
}

/// A client sends a request only after the answer to the one before: each turn of the talk is one.
async fn pass(
    mut client: TcpStream,
    port: u16,
    counted: &std::sync::atomic::AtomicUsize,
) -> std::io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
    let (mut asked, mut answered) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut asking = false;
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let count = read?;
                if count == 0 {
                    return Ok(());
                }
                if !asking {
                    counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    asking = true;
                }
                server.write_all(&asked[..count]).await?;
            }
            read = server.read(&mut answered) => {
                let count = read?;
                if count == 0 {
                    return Ok(());
                }
                asking = false;
                client.write_all(&answered[..count]).await?;
            }
        }
    }
}
