//! A pipeline of a few sources, an API that they ask, and two empty raw stores: one for the function,
//! one for the library.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use daymark_ingest::{FetchOrder, Ingest, RawKey, RawStore, Reach};
use daymark_plan::{Clock, Environment, data_date};
use daymark_testkit::rest::{Reply, RestServer};
use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::runtime_api::Lambda;

/// A Monday, 08:00 in New York; long ago, whatever this machine's clock says.
pub(crate) const MONDAY: &str = "2025-11-24T13:00:00Z";

/// More time than any of these fetches takes.
pub(crate) const AMPLE: Duration = Duration::from_mins(1);

/// What `${TEST_KEY}` stands for; it is to be seen nowhere.
pub(crate) const SECRET: &str = "s3cr3t-key";

/// Two whole rows.
pub(crate) const GOOD: &str = r#"{"daily":{"time":["2025-11-23","2025-11-24"],"value":[9.1,7.5]}}"#;

/// An error in a 200.
pub(crate) const BUSY: &str = r#"{"error":true,"reason":"come back later"}"#;

/// Sent by a schedule whose input names the scheduled time.
pub(crate) fn scheduled() -> String {
    json!({ "scheduled_at": MONDAY }).to_string()
}

pub(crate) struct World {
    pub(crate) api: RestServer,
    folder: TempDir,
}

impl World {
    /// A pipeline without sources.
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = Self { api: RestServer::start().await, folder };
        fs::create_dir_all(world.pipeline().join("sources")).unwrap();
        world.write(
            "daymark.toml",
            "name = \"test\"\ntime_zone = \"America/New_York\"\nschedule = \"cron(0 8 * * ? *)\"\n",
        );
        world
    }

    /// With two sources that are answered: `weather`, and `stock`, whose day is the session before.
    pub(crate) async fn of_two() -> Self {
        let world = Self::new().await;
        world.source("weather", "", "query = { key = \"${TEST_KEY}\" }");
        world.source("stock", "calendar = \"nyse\"\ndata_date = \"previous_session\"", "");
        world.answer("weather", GOOD);
        world.answer("stock", &GOOD.replace("7.5", "6700.25"));
        world
    }

    /// Has the request of a source say which day it is about.
    pub(crate) fn names_the_day(&self, id: &str) {
        self.source(id, "", "headers = { x-day = \"{{ data_date }}\" }");
    }

    pub(crate) fn pipeline(&self) -> PathBuf {
        self.folder.path().join("pipeline")
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        fs::write(self.pipeline().join(file), text).unwrap();
    }

    /// Adds a source that asks the path of its name, with more keys at the top and lines of `[request]`
    /// and whatever tables follow.
    pub(crate) fn source(&self, id: &str, keys: &str, request: &str) {
        let url = self.api.url(&format!("/{id}"));
        let text = format!(
            r#"
            id = "{id}"
            {keys}
            [rows]
            layout = "columns"
            at = "$.daily"
            [rows.fields]
            date = {{ path = "time", type = "date" }}
            value = {{ path = "value", type = "double" }}
            [expect]
            absent = ["$.error"]
            [retry]
            base_seconds = 0.001
            [request]
            url = "{url}"
            {request}
            "#
        );
        self.write(&format!("sources/{id}.toml"), &text);
    }

    /// What the API answers a source from now on.
    pub(crate) fn answer(&self, id: &str, body: &str) {
        self.api.only(&format!("/{id}"), Reply::json(body.to_owned()));
    }

    /// The variables of a process or of a plan: the raw store is one of the two.
    pub(crate) fn variables(&self, who: &str) -> Vec<(&'static str, String)> {
        vec![
            ("DAYMARK_PIPELINE", self.pipeline().to_str().unwrap().to_owned()),
            ("DAYMARK_RAW_URL", format!("file:{}", self.store_folder(who).display())),
            ("TEST_KEY", SECRET.to_owned()),
        ]
    }

    fn store_folder(&self, who: &str) -> PathBuf {
        self.folder.path().join(who)
    }

    /// Starts the function.
    pub(crate) async fn function(&self) -> Lambda {
        Lambda::start(&self.variables("function")).await
    }

    /// The same through the library, as `daymark run` has it: sources, the instant, the day.
    pub(crate) async fn library(
        &self,
        sources: &[&str],
        scheduled_at: Option<&str>,
        day: Option<Date>,
    ) {
        let environment = Environment::of(self.variables("library"));
        let plan = daymark_plan::load(&self.pipeline(), &environment).unwrap();
        let store = RawStore::open(&plan.settings.raw).unwrap();
        let ingest = Ingest::of(store, Clock::System, &plan);
        let scheduled_at = scheduled_at.map(|at| at.parse::<Timestamp>().unwrap());
        let at = scheduled_at.unwrap_or_else(|| Clock::System.now());
        let run_id = Uuid::now_v7();
        let named = plan.sources.iter().filter(|source| sources.contains(&source.id.as_str()));
        for source in named {
            let (rule, calendar) = (source.data_date, &source.calendar);
            let data_date =
                day.unwrap_or_else(|| data_date(rule, calendar, &plan.settings.zone, at));
            let reach = if day.is_some() { Reach::ByDay } else { Reach::Forward };
            let order = FetchOrder { data_date, scheduled_at, run_id, reach };
            // One that cannot be fetched leaves nothing here either.
            ingest.fetch_all(source, &order, &|_| true, &|_| {}).await.ok();
        }
    }

    /// Both stores hold the same; gives the keys.
    pub(crate) fn same(&self) -> String {
        let function = objects(&self.store_folder("function"));
        assert_eq!(function, objects(&self.store_folder("library")));
        let keys: Vec<_> = function.into_iter().map(|(key, _)| without_hash(&key)).collect();
        keys.join("\n")
    }

    /// The manifests of the function's store, by key.
    pub(crate) fn manifests(&self) -> Vec<Value> {
        let mut found = Vec::new();
        let root = self.store_folder("function").join("manifests");
        files_below(&root, &mut |file| found.push(file.to_owned()));
        found.sort();
        found.iter().map(|file| serde_json::from_slice(&fs::read(file).unwrap()).unwrap()).collect()
    }
}

/// Every object of a store by its key, without what differs from fetch to fetch: ids, clocks, waits.
fn objects(root: &Path) -> Vec<(String, String)> {
    let mut objects = BTreeMap::new();
    files_below(root, &mut |file| {
        let key = file.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        objects.insert(key, fs::read_to_string(file).unwrap());
    });
    let mut same: Vec<_> = objects
        .into_iter()
        .map(|(key, text)| match RawKey::parse_manifest(&key) {
            None => (key, text),
            Some(name) => {
                let entity = name.entity.unwrap_or_default();
                let key = format!("manifests/{}/{}_{entity}", name.source, name.data_date);
                (key, stable(&text))
            }
        })
        .collect();
    same.sort();
    same
}

/// A manifest without what differs between two fetches of one answer.
fn stable(text: &str) -> String {
    let mut manifest: Value = serde_json::from_str(text).unwrap();
    for key in ["id", "run_id", "fetched_at"] {
        assert_ne!(manifest[key].take(), Value::Null, "{key}");
    }
    for attempt in manifest["attempts"].as_array_mut().unwrap() {
        assert_ne!(attempt["at"].take(), Value::Null);
        attempt["waited_ms"].take();
        attempt["duration_ms"].take();
    }
    manifest.to_string()
}

/// A key of the archive without the hash, which the compared bytes stand for.
fn without_hash(key: &str) -> String {
    match key.rsplit_once('/') {
        Some((folder, name)) if folder.starts_with("archive/") => {
            format!("{folder}/<sha256>.{}", name.rsplit_once('.').unwrap().1)
        }
        _ => key.to_owned(),
    }
}

fn files_below(folder: &Path, found: &mut dyn FnMut(&Path)) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() { files_below(&path, found) } else { found(&path) }
    }
}
