//! The fetches that are measured.
//!
//! In: a case as words, from the process that compares. Out: how long the fetches took and the peak of
//! this process's memory.

use std::fs;
use std::path::Path;
use std::time::Instant;

use daymark_ingest::{FetchOrder, Ingest, RawStore, Reach};
use daymark_plan::{Clock, Environment, RawUrl, Source};
use jiff::civil::date;

use crate::Measured;

/// How a body lies.
const LAYOUTS: [(&str, &str); 3] = [
    ("csv", "layout = \"csv\"\n[rows.fields]\n"),
    ("ndjson", "layout = \"ndjson\"\n[rows.fields]\n"),
    ("json", "layout = \"records\"\nat = \"$.data\"\n[rows.fields]\n"),
];

const GB: usize = 1_000_000_000;
const MB: usize = 1_000_000;

/// Fetches to be measured.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    layout: String,
    entities: usize,
    concurrency: usize,
    bytes: usize,
    delay_ms: u64,
    store: String,
}

/// Every case, and how often it is run.
pub(crate) fn all() -> Vec<(&'static str, Case, usize)> {
    let case = |layout: &str, entities, concurrency, bytes, delay_ms| Case {
        layout: layout.to_owned(),
        entities,
        concurrency,
        bytes,
        delay_ms,
        store: "file".to_owned(),
    };
    let in_memory = |case: Case| Case { store: "memory".to_owned(), ..case };
    vec![
        ("entities-file: 1000 x 1 kB, 20 ms, 64 at once", case("json", 1000, 64, 1000, 20), 7),
        ("entities-memory: the same, no disk", in_memory(case("json", 1000, 64, 1000, 20)), 7),
        ("one-csv: 1 GB in one body", case("csv", 1, 1, GB, 0), 3),
        ("one-ndjson: 1 GB in one body", case("ndjson", 1, 1, GB, 0), 3),
        ("one-json: 64 MB in one body", case("json", 1, 1, 64 * MB, 0), 3),
        ("many-json-4: 1000 x 1 MB, 4 at once", case("json", 1000, 4, MB, 0), 3),
        ("many-json-16: 1000 x 1 MB, 16 at once", case("json", 1000, 16, MB, 0), 3),
        ("many-json-64: 1000 x 1 MB, 64 at once", case("json", 1000, 64, MB, 0), 3),
        ("many-csv-64: 1000 x 1 MB, 64 at once", case("csv", 1000, 64, MB, 0), 3),
    ]
}

impl Case {
    pub(crate) fn words(&self, url: &str) -> Vec<String> {
        let Self { layout, entities, concurrency, bytes, delay_ms, store } = self;
        let numbers = [*entities, *concurrency, *bytes].map(|number| number.to_string());
        let mut words = vec![url.to_owned(), layout.clone(), store.clone(), delay_ms.to_string()];
        words.extend(numbers);
        words
    }

    pub(crate) fn read(words: &[String]) -> (Self, String) {
        let [url, layout, store, delay_ms, entities, concurrency, bytes] = words else {
            panic!("a case has seven words")
        };
        let case = Self {
            layout: layout.clone(),
            store: store.clone(),
            delay_ms: delay_ms.parse().unwrap(),
            entities: entities.parse().unwrap(),
            concurrency: concurrency.parse().unwrap(),
            bytes: bytes.parse().unwrap(),
        };
        (case, url.clone())
    }

    /// What is done in a second, and of waiting alone how much of what is possible.
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    pub(crate) fn rate(&self, seconds: f64) -> String {
        if self.delay_ms > 0 {
            let ideal =
                self.entities as f64 / self.concurrency as f64 * self.delay_ms as f64 / 1000.0;
            return format!("{:.2} of ideal", ideal / seconds);
        }
        format!("{:.0} MB/s", (self.entities * self.bytes) as f64 / 1e6 / seconds)
    }

    /// Fetches, in a store of its own below the target folder, which is on a disk.
    pub(crate) fn run(&self, url: &str, into: &Path) -> Measured {
        // ext4 does not give out the number of a file again that was deleted seconds ago, and searches long
        // for another: many small files are left to whoever started this.
        let left = self.bytes < MB;
        let folder = tempfile::Builder::new().disable_cleanup(left).tempdir_in(into).unwrap();
        let source = self.source(folder.path(), url);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let took = runtime.block_on(async {
            let store = match self.store.as_str() {
                "memory" => RawStore::in_memory(),
                _ => RawStore::open(&RawUrl::File(folder.path().join("raw"))).unwrap(),
            };
            let ingest = Ingest::new(store, Clock::System);
            let order = FetchOrder {
                data_date: date(2026, 11, 23),
                scheduled_at: Some(Clock::System.now()),
                run_id: uuid::Uuid::now_v7(),
                reach: Reach::Forward,
            };
            let began = Instant::now();
            let fetched = ingest.fetch_all(&source, &order, &|_| true, &|_| {}).await.unwrap();
            let took = began.elapsed();
            for fetched in &fetched {
                let manifest = &fetched.outcome.as_ref().unwrap().manifest;
                assert!(manifest.is_accepted(), "{:?}", manifest.reason);
            }
            assert_eq!(fetched.len(), self.entities.max(1));
            took
        });
        Measured { took, peak_kib: peak_kib() }
    }

    fn source(&self, folder: &Path, url: &str) -> Source {
        let (_, rows) = LAYOUTS.iter().find(|(name, _)| *name == self.layout).unwrap();
        let pipeline = folder.join("pipeline");
        fs::create_dir_all(pipeline.join("sources")).unwrap();
        let main = "name = \"bench\"\ntime_zone = \"UTC\"\nschedule = \"cron(0 8 * * ? *)\"\n";
        fs::write(pipeline.join("daymark.toml"), main).unwrap();
        let mut text = format!(
            "id = \"bench\"\n[request]\nurl = \"{url}/{}/{}/{}\"\nquery = {{ e = \"{}\" }}\n\
             max_mebibytes = 1024\nread_timeout_seconds = 60\ntotal_timeout_seconds = 600\n",
            self.layout,
            self.bytes,
            self.delay_ms,
            if self.entities > 1 { "{{ entity.id }}" } else { "one" },
        );
        let columns = if self.layout == "csv" { "column" } else { "path" };
        text.push_str(&format!(
            "[rows]\n{rows}id = {{ {columns} = \"id\", type = \"bigint\" }}\n\
             name = {{ {columns} = \"name\", type = \"text\" }}\n\
             value = {{ {columns} = \"value\", type = \"double\" }}\n"
        ));
        if self.entities > 1 {
            text.push_str(&format!(
                "[entities]\nfile = \"entities.csv\"\nconcurrency = {}\n",
                self.concurrency
            ));
            let ids: Vec<String> = (0..self.entities).map(|n| format!("e{n}")).collect();
            fs::write(pipeline.join("entities.csv"), format!("id\n{}\n", ids.join("\n"))).unwrap();
        }
        fs::write(pipeline.join("sources/bench.toml"), text).unwrap();
        match daymark_plan::load(&pipeline, &Environment::default()) {
            Ok(plan) => plan.sources.into_iter().next().unwrap(),
            Err(daymark_plan::PlanError::Problems { problems, .. }) => {
                let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
                panic!("{}", lines.join("\n"))
            }
            Err(other) => panic!("{other}"),
        }
    }
}

/// The most memory this process ever had, as Linux counts it (`VmHWM`).
pub(crate) fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
