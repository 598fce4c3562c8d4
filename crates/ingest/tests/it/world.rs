//! A scripted API, a source that points at it, a manual clock and an empty raw store.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use daymark_ingest::{
    FetchEvent, FetchOrder, Fetched, Ingest, IngestError, Manifest, RawStore, Reach, StoredManifest,
};
use daymark_plan::{Clock, Environment, PlanError, RawUrl, Source};
use daymark_testkit::rest::{Reply, RestServer};
use jiff::Timestamp;
use jiff::civil::{Date, date};
use tempfile::TempDir;
use uuid::Uuid;

/// The end of a source whose answers are `{"rows": [{"at": ...}]}`.
pub(crate) const ROWS: &str = r#"
[retry]
base_seconds = 0.001
[rows]
layout = "records"
at = "$.rows"
[rows.fields]
at = { path = "at", type = "text" }
"#;

/// Such an answer, with more members.
pub(crate) fn rows(at: &[&str], more: &str) -> Reply {
    let rows: Vec<String> = at.iter().map(|at| format!(r#"{{"at":"{at}"}}"#)).collect();
    Reply::json(format!(r#"{{"rows":[{}]{more}}}"#, rows.join(",")))
}

/// What a fetch of a day is for, by hand.
pub(crate) fn order(data_date: Date, reach: Reach) -> FetchOrder {
    FetchOrder { data_date, scheduled_at: None, run_id: Uuid::nil(), reach }
}

/// So many entities `e0`, `e1`, ...
pub(crate) fn entities(count: usize) -> String {
    let mut text = String::new();
    for number in 0..count {
        writeln!(text, "[[entity]]\nid = \"e{number}\"").unwrap();
    }
    text
}

/// The path the source asks.
pub(crate) const PATH: &str = "/v1/forecast";

/// Two whole rows.
pub(crate) const GOOD: &str = r#"{"latitude":38.9,"generationtime_ms":0.07,"daily_units":{"time":"iso8601"},"daily":{"time":["2026-11-22","2026-11-23"],"temperature_2m_max":[9.1,7.5]}}"#;

/// What `${TEST_KEY}` stands for; it is to be seen nowhere.
pub(crate) const SECRET: &str = "s3cr3t-key";

pub(crate) struct World {
    pub(crate) api: RestServer,
    pub(crate) clock: Clock,
    pub(crate) ingest: Ingest,
    folder: TempDir,
    events: Mutex<Vec<FetchEvent>>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual("2026-11-23T13:00:00Z".parse().unwrap());
        let store = RawStore::open(&RawUrl::File(folder.path().join("raw-store"))).unwrap();
        let ingest = Ingest::new(store, clock.clone()).with_environment(Environment::of([
            ("TEST_KEY", SECRET.to_owned()),
            ("TEST_ID", "client-77".to_owned()),
        ]));
        Self { api: RestServer::start().await, clock, ingest, folder, events: Mutex::default() }
    }

    pub(crate) fn store_folder(&self) -> PathBuf {
        self.folder.path().join("raw-store")
    }

    /// The source, asking `url`, with more lines for `[request]`, and other tables.
    pub(crate) fn source_at(&self, url: &str, request: &str, tables: &str) -> Source {
        let retry = if tables.contains("[retry]") { "" } else { "[retry]\nbase_seconds = 0.001" };
        let expect =
            if tables.contains("[expect]") { "" } else { "[expect]\nabsent = [\"$.error\"]" };
        let text = format!(
            r#"
            id = "weather"
            [request]
            url = "{url}"
            {request}
            {retry}
            {expect}
            {tables}
            [rows]
            layout = "columns"
            at = "$.daily"
            [rows.fields]
            date = {{ path = "time", type = "date" }}
            temperature_max_c = {{ path = "temperature_2m_max", type = "double" }}
            "#
        );
        self.weather_of(&text)
    }

    /// The source of a file `weather.toml`.
    pub(crate) fn weather_of(&self, text: &str) -> Source {
        let folder = self.folder.path().join("pipeline");
        fs::create_dir_all(folder.join("sources")).unwrap();
        let main = "name = \"test\"\ntime_zone = \"UTC\"\nschedule = \"cron(0 8 * * ? *)\"\n";
        fs::write(folder.join("daymark.toml"), main).unwrap();
        fs::write(folder.join("sources/weather.toml"), text).unwrap();
        let plan = daymark_plan::load(&folder, &Environment::default()).unwrap();
        plan.sources.into_iter().next().unwrap()
    }

    /// A source from all of its text but its id; `{api}` stands for the address of the API. Other files
    /// of the folder are given with their names.
    pub(crate) fn source_of(&self, text: &str, files: &[(&str, &str)]) -> Source {
        self.plan_of(text, files).unwrap_or_else(|error| panic!("{error:?}"))
    }

    /// The same, or what is wrong with it.
    pub(crate) fn plan_of(&self, text: &str, files: &[(&str, &str)]) -> Result<Source, PlanError> {
        let folder = self.folder.path().join("pipeline");
        fs::create_dir_all(folder.join("sources")).unwrap();
        let main = "name = \"test\"\ntime_zone = \"UTC\"\nschedule = \"cron(0 8 * * ? *)\"\n";
        fs::write(folder.join("daymark.toml"), main).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
        let text = text.replace("{api}", &self.api.url(""));
        fs::write(folder.join("sources/s.toml"), format!("id = \"s\"\n{text}")).unwrap();
        let plan = daymark_plan::load(&folder, &Environment::default())?;
        Ok(plan.sources.into_iter().next().unwrap())
    }

    /// A fetch of a day by itself.
    pub(crate) async fn fetch_day(&self, source: &Source, data_date: Date) -> Manifest {
        let order = order(data_date, Reach::ByDay);
        self.ingest.fetch(source, &order, &|_| {}).await.unwrap().manifest
    }

    /// One fetch of every entity.
    pub(crate) async fn fetch_all(&self, source: &Source) -> Vec<Fetched> {
        let order = order(date(2026, 11, 23), Reach::Forward);
        self.ingest.fetch_all(source, &order, &|_| true, &|_| {}).await.unwrap()
    }

    /// What was asked for, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.api.requests().into_iter().map(|request| request.target).collect()
    }

    /// The same world with these variables.
    pub(crate) fn with_environment(mut self, variables: &[(&'static str, &str)]) -> Self {
        let variables = variables.iter().map(|(name, value)| (*name, (*value).to_owned()));
        self.ingest = self.ingest.with_environment(Environment::of(variables));
        self
    }

    /// The source as most tests want it.
    pub(crate) fn source(&self) -> Source {
        self.source_with("", "")
    }

    pub(crate) fn source_with(&self, request: &str, tables: &str) -> Source {
        self.source_at(&self.api.url(PATH), request, tables)
    }

    pub(crate) async fn try_fetch(&self, source: &Source) -> Result<StoredManifest, IngestError> {
        let order = FetchOrder {
            data_date: date(2026, 11, 23),
            scheduled_at: Some(self.clock.now()),
            run_id: Uuid::nil(),
            reach: Reach::Forward,
        };
        let watch = |event| self.events.lock().unwrap().push(event);
        self.ingest.fetch(source, &order, &watch).await
    }

    /// A fetch that leaves a manifest, which is also what the store gives back.
    pub(crate) async fn fetch(&self, source: &Source) -> Manifest {
        let stored = self.try_fetch(source).await.unwrap();
        assert_eq!(self.ingest.store().manifest(&stored.key).await.unwrap(), stored);
        stored.manifest
    }

    pub(crate) fn events(&self) -> Vec<FetchEvent> {
        self.events.lock().unwrap().clone()
    }

    pub(crate) fn set_clock(&self, at: &str) {
        self.clock.set(at.parse::<Timestamp>().unwrap());
    }

    /// A text with the port of the API, which differs from run to run, replaced.
    pub(crate) fn stable(&self, text: &str) -> String {
        text.replace(&self.api.port().to_string(), "<port>")
    }

    /// Reason, kind and attempts of a manifest, and the store's objects, all in one text.
    pub(crate) fn tale(&self, manifest: &Manifest) -> String {
        let mut tale = String::new();
        let outcome = format!("{:?}", manifest.outcome).to_lowercase();
        writeln!(tale, "{outcome}: {}", manifest.reason.as_deref().unwrap_or("-")).unwrap();
        if let Some(kind) = manifest.error_kind {
            writeln!(tale, "kind: {kind:?}").unwrap();
        }
        let attempts: Vec<_> = manifest
            .attempts
            .iter()
            .map(|attempt| match (attempt.status, attempt.error_kind) {
                (Some(status), None) => status.to_string(),
                (Some(status), Some(kind)) => format!("{status} {kind:?}"),
                (None, kind) => kind.map(|kind| format!("{kind:?}")).unwrap_or_default(),
            })
            .collect();
        writeln!(tale, "attempts: {}", attempts.join(", ")).unwrap();
        if let Some(rows) = &manifest.rows {
            writeln!(tale, "rows: {} extracted, {} rejected", rows.extracted, rows.rejected)
                .unwrap();
        }
        write!(tale, "objects:").unwrap();
        for key in self.keys() {
            write!(tale, "\n  {}", shortened(&key)).unwrap();
        }
        self.stable(&tale)
    }

    /// The keys of all objects of the store, in order.
    pub(crate) fn keys(&self) -> Vec<String> {
        let root = self.store_folder();
        let mut keys = Vec::new();
        files_below(&root, &mut |file| {
            keys.push(file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned());
        });
        keys.sort();
        keys
    }

    pub(crate) fn object(&self, key: &str) -> Vec<u8> {
        fs::read(self.store_folder().join(key)).unwrap()
    }
}

/// A key with its hash and its run cut to what tells keys apart.
fn shortened(key: &str) -> String {
    let key = key.replace(&Uuid::nil().to_string(), "<run>");
    match key.strip_prefix("archive/") {
        Some(_) => {
            let (folder, name) = key.rsplit_once('/').unwrap();
            let (hash, extension) = name.rsplit_once('.').unwrap();
            assert_eq!(hash.len(), 64);
            format!("{folder}/<sha256>.{extension}")
        }
        None => key,
    }
}

fn files_below(folder: &Path, found: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files_below(&path, found) } else { found(&path) }
    }
}

/// A body in one raw block of Zstandard (RFC 8878).
pub(crate) fn zstandard(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap();
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0xa0];
    frame.extend(length.to_le_bytes());
    frame.extend(&((length << 3) | 1).to_le_bytes()[..3]);
    frame.extend(body);
    frame
}

/// A body in one uncompressed block of Brotli (RFC 7932).
pub(crate) fn brotli(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap();
    let mut stream = (((length - 1) << 4) | (1 << 20)).to_le_bytes()[..3].to_vec();
    stream.extend(body);
    stream.push(3);
    stream
}

/// A body in gzip (RFC 1952) without compression.
pub(crate) fn gzipped(body: &[u8]) -> Vec<u8> {
    let mut gzip = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut blocks = body.chunks(0xffff).peekable();
    while let Some(block) = blocks.next() {
        gzip.push(u8::from(blocks.peek().is_none()));
        let length = u16::try_from(block.len()).unwrap();
        gzip.extend(length.to_le_bytes());
        gzip.extend((!length).to_le_bytes());
        gzip.extend(block);
    }
    let crc = body.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1)))
    });
    gzip.extend((!crc).to_le_bytes());
    gzip.extend(u32::try_from(body.len()).unwrap().to_le_bytes());
    gzip
}

/// A port that refuses connections for as long as the socket lives: bound, and not listened on.
pub(crate) fn closed_port() -> (tokio::net::TcpSocket, u16) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}
