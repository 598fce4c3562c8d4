//! The loads that are measured, each in a process of its own.
//!
//! In: a case, the pipeline folder and a database. Out: how long the load took and the peak of this
//! process's memory. Starting, connecting and making the tables are not in the time. Deliberately
//! absent: comparing.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use daymark_extract::Mapped;
use daymark_ingest::{RawStore, StoredManifest};
use daymark_plan::{Clock, Environment, Plan};
use daymark_warehouse::ledger::{self, RunKind};
use daymark_warehouse::publish::{
    self, FetchPath, FromRaw, Outcome, PendingFetch, RowsError, Shapes, Verdict, Verdicts,
};
use daymark_warehouse::{Session, Warehouse};
use futures::{SinkExt, StreamExt, TryStreamExt, stream};
use tokio_postgres::CopyInSink;

use crate::{Cpu, Measured, cpu_of, peak_kib, rows};

/// How much of the encoded rows is sent at once.
const PIECE: usize = 64 << 10;

/// What is done in a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    /// Writes the rows as COPY takes them, for the others; not measured.
    Encode,
    /// Takes everything away; not measured.
    Clear,
    /// Extraction alone.
    Extract,
    /// What the responses look like, which ingest notes down beside extraction.
    Outline,
    /// (a)
    Raw,
    /// (b)
    Encoded,
    /// (c)
    PublishNew,
    /// (d)
    PublishAgain,
    /// The twin of (c).
    ByHand,
}

const ALL: [(Case, &str); 9] = [
    (Case::Encode, "encode"),
    (Case::Clear, "clear"),
    (Case::Extract, "extract"),
    (Case::Outline, "outline"),
    (Case::Raw, "raw"),
    (Case::Encoded, "encoded"),
    (Case::PublishNew, "publish-new"),
    (Case::PublishAgain, "publish-again"),
    (Case::ByHand, "by-hand"),
];

/// What both sides of (c) write: the columns of `weather_hourly` that do not come from the publish.
const CURATED: &str = "place, time, temperature, humidity, precipitation, wind_speed, cloud_cover, \
                       _fetch_id, _fetch_row";

impl Case {
    pub(crate) fn word(self) -> &'static str {
        ALL.iter().find(|(case, _)| *case == self).unwrap().1
    }

    pub(crate) fn read(word: &str) -> Self {
        ALL.iter().find(|(_, name)| *name == word).unwrap().0
    }

    pub(crate) async fn run(self, folder: &str, rest: &[String]) -> Measured {
        let [encoded] = rest else { panic!("a case has a folder and the encoded rows") };
        let bench = Bench::open(Path::new(folder), Path::new(encoded));
        let before = cpu_of("self");
        let (took, server) = match self {
            Self::Extract => (bench.extract().await, Duration::ZERO),
            Self::Outline => (bench.outline().await, Duration::ZERO),
            Self::Encode => (bench.encode().await, Duration::ZERO),
            _ => bench.on_database(self).await,
        };
        let cpu = Cpu { own: cpu_of("self").saturating_sub(before), server };
        Measured { took, peak_kib: peak_kib(), cpu }
    }
}

struct Bench<'b> {
    plan: Arc<Plan>,
    store: RawStore,
    encoded: &'b Path,
}

impl<'b> Bench<'b> {
    fn open(folder: &Path, encoded: &'b Path) -> Self {
        std::env::set_current_dir(folder).unwrap();
        let plan = match daymark_plan::load(folder, &Environment::of_process()) {
            Ok(plan) => Arc::new(plan),
            Err(error) => panic!("{error:?}"),
        };
        let store = RawStore::open(&plan.settings.raw).unwrap();
        Self { plan, store, encoded }
    }

    /// The keys of the manifests of the first fetch of every place, or the second.
    async fn keys(&self, second: bool) -> Vec<String> {
        let mut all = self.store.manifest_keys(&self.plan.sources[0].id, None).await.unwrap();
        let places = self.plan.sources[0].entities.rows.len();
        if second { all.split_off(places) } else { all.drain(..places).collect() }
    }

    async fn extract(&self) -> Duration {
        let keys = self.keys(false).await;
        let reader = rows::reader(Arc::clone(&self.plan), self.store.clone());
        let began = Instant::now();
        let mut bytes = 0;
        for key in keys {
            let mut rows = reader(key).await.unwrap();
            while let Some(chunk) = rows.try_next().await.unwrap() {
                bytes += chunk.len();
            }
        }
        let took = began.elapsed();
        assert!(bytes > 0);
        took
    }

    /// Reading the bodies is not in the time: ingest has them in memory.
    async fn outline(&self) -> Duration {
        let rows = &self.plan.sources[0].rows;
        let mut took = Duration::ZERO;
        let mut paths = 0;
        for key in self.keys(false).await {
            let stored = self.store.manifest(&key).await.unwrap();
            for page in &stored.manifest.pages {
                let body = self.store.read_page(page).await.unwrap();
                let began = Instant::now();
                paths += daymark_extract::outline(rows, &body, true).paths.len();
                took += began.elapsed();
            }
        }
        assert!(paths > 0);
        took
    }

    async fn encode(&self) -> Duration {
        let reader = rows::reader(Arc::clone(&self.plan), self.store.clone());
        let mut file = BufWriter::new(File::create(self.encoded).unwrap());
        for key in self.keys(false).await {
            let mut rows = reader(key).await.unwrap();
            while let Some(chunk) = rows.try_next().await.unwrap() {
                file.write_all(&chunk).unwrap();
            }
        }
        file.flush().unwrap();
        // The columns of the table alone, as a person would have them: by PostgreSQL itself.
        let warehouse = Warehouse::open(&self.plan).await.unwrap();
        let mut session = warehouse.session("bench").await.unwrap();
        session.client().batch_execute(&self.unkeyed()).await.unwrap();
        let more = "alter table bench_rows add column _entity text, add column _fetch_id uuid";
        session.client().batch_execute(more).await.unwrap();
        for key in self.keys(false).await {
            let stored = self.store.manifest(&key).await.unwrap();
            let transaction = session.client().transaction().await.unwrap();
            let of_fetch = format!(
                "alter table bench_rows alter column _entity set default '{}', \
                 alter column _fetch_id set default '{}'",
                stored.manifest.entity.unwrap(),
                stored.manifest.id
            );
            transaction.batch_execute(&of_fetch).await.unwrap();
            let rows = reader(stored.key).await.unwrap();
            let source = &self.plan.sources[0];
            publish::copy_rows(&transaction, source, "bench_rows", rows).await.unwrap().unwrap();
            transaction.commit().await.unwrap();
        }
        let copy = format!(
            "copy (select {} from bench_rows) to stdout (format binary)",
            CURATED.replace("place,", "_entity as place,")
        );
        let mut out = pin!(session.client().copy_out(&copy).await.unwrap());
        let mut file = BufWriter::new(File::create(self.narrow()).unwrap());
        let mut head = HEADER;
        while let Some(chunk) = out.try_next().await.unwrap() {
            file.write_all(&chunk[head.min(chunk.len())..]).unwrap();
            head = head.saturating_sub(chunk.len());
        }
        // Behind the rows stands COPY's trailer, which is sent by itself.
        file.flush().unwrap();
        let length = file.get_ref().metadata().unwrap().len();
        file.get_ref().set_len(length - 2).unwrap();
        session.client().batch_execute("drop table bench_rows").await.unwrap();
        Duration::ZERO
    }

    fn narrow(&self) -> std::path::PathBuf {
        self.encoded.with_extension("narrow")
    }

    fn raw_columns(&self) -> String {
        let columns: Vec<&str> = self.plan.sources[0].row_columns().map(|(name, _)| name).collect();
        columns.join(", ")
    }

    /// The unkeyed table of (a) and (b).
    fn unkeyed(&self) -> String {
        let columns: Vec<String> = self.plan.sources[0]
            .row_columns()
            .map(|(name, kind)| format!("{name} {kind}"))
            .collect();
        format!("drop table if exists bench_rows; create table bench_rows ({})", columns.join(", "))
    }

    /// How long it took, and what PostgreSQL's process had of the processors.
    async fn on_database(&self, case: Case) -> (Duration, Duration) {
        let warehouse = Warehouse::open(&self.plan).await.unwrap();
        let mut session = warehouse.session("bench").await.unwrap();
        let backend = session.client().query_one("select pg_backend_pid()", &[]).await.unwrap();
        let backend = backend.get::<_, i32>(0).to_string();
        let of_server = || if warehouse.is_embedded() { Duration::ZERO } else { cpu_of(&backend) };
        let before = of_server();
        let took = match case {
            Case::Clear => {
                clear(&mut session).await;
                Duration::ZERO
            }
            Case::Raw => {
                session.client().batch_execute(&self.unkeyed()).await.unwrap();
                self.raw(&mut session).await
            }
            Case::Encoded => {
                session.client().batch_execute(&self.unkeyed()).await.unwrap();
                let columns = self.raw_columns();
                self.copy_encoded(&mut session, "bench_rows", self.encoded, &columns).await
            }
            Case::ByHand => self.by_hand(&mut session).await,
            Case::PublishNew | Case::PublishAgain => self.publish(&mut session, case).await,
            Case::Encode | Case::Extract | Case::Outline => unreachable!("it needs no database"),
        };
        let server = of_server().saturating_sub(before);
        drop(session);
        warehouse.close().await;
        (took, server)
    }

    async fn raw(&self, session: &mut Session) -> Duration {
        let keys = self.keys(false).await;
        let reader = rows::reader(Arc::clone(&self.plan), self.store.clone());
        let source = &self.plan.sources[0];
        let began = Instant::now();
        let transaction = session.client().transaction().await.unwrap();
        // One COPY, as in (b); the next fetch is opened while this one is copied in, as in a publish.
        let rows = stream::iter(keys)
            .map(move |key| tokio::spawn(reader(key)))
            .buffered(2)
            .map(|opened| opened.unwrap().unwrap())
            .flatten();
        let rows = Box::pin(rows);
        publish::copy_rows(&transaction, source, "bench_rows", rows).await.unwrap().unwrap();
        transaction.commit().await.unwrap();
        began.elapsed()
    }

    async fn copy_encoded(
        &self,
        session: &mut Session,
        table: &str,
        file: &Path,
        columns: &str,
    ) -> Duration {
        let began = Instant::now();
        let copy = format!("copy {table} ({columns}) from stdin (format binary)");
        let sink: CopyInSink<Bytes> = session.client().copy_in(&copy).await.unwrap();
        let mut sink = pin!(sink);
        sink.send(Bytes::from_static(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0")).await.unwrap();
        let mut file = File::open(file).unwrap();
        loop {
            let mut piece = BytesMut::zeroed(PIECE);
            let count = file.read(&mut piece).unwrap();
            if count == 0 {
                break;
            }
            piece.truncate(count);
            sink.send(piece.freeze()).await.unwrap();
        }
        sink.send(Bytes::from_static(&[0xff, 0xff])).await.unwrap();
        sink.finish().await.unwrap();
        began.elapsed()
    }

    /// What somebody does in psql, with the rows encoded already.
    async fn by_hand(&self, session: &mut Session) -> Duration {
        daymark_warehouse::contract::ensure(session, &self.plan).await.unwrap();
        let make = "drop table if exists by_hand; \
                    create table by_hand (like weather_hourly including all); \
                    create temporary table loaded (like weather_hourly); \
                    alter table loaded drop column _publish_id";
        session.client().batch_execute(make).await.unwrap();
        let began = Instant::now();
        session.client().batch_execute("begin").await.unwrap();
        self.copy_encoded(session, "loaded", &self.narrow(), CURATED).await;
        let insert = format!(
            "insert into by_hand ({CURATED}, _publish_id) select {CURATED}, 1 from loaded; commit"
        );
        session.client().batch_execute(&insert).await.unwrap();
        let took = began.elapsed();
        session.client().batch_execute("drop table loaded; drop table by_hand").await.unwrap();
        took
    }

    async fn publish(&self, session: &mut Session, case: Case) -> Duration {
        let second = case == Case::PublishAgain;
        let (mapped, mut shapes) = (Mapped::of(&self.plan.sources[0].rows), Shapes::default());
        let mut pending = Vec::new();
        for key in self.keys(second).await {
            let stored = self.store.manifest(&key).await.unwrap();
            pending.push(pending_fetch(stored, &mapped, &mut shapes));
        }
        let rows: i64 = pending.iter().map(|fetch| fetch.extracted).sum();
        // The tables are there, as on every day but the first.
        daymark_warehouse::contract::ensure(session, &self.plan).await.unwrap();
        let (run_id, now) = (uuid::Uuid::now_v7(), Clock::System.now());
        ledger::start_run(session, run_id, RunKind::Manual, None, now).await.unwrap();
        let read_rows = rows::reader(Arc::clone(&self.plan), self.store.clone());
        let read = |_, _| -> futures::future::BoxFuture<'static, Result<Vec<Verdict>, RowsError>> {
            Box::pin(std::future::ready(Ok(Vec::new())))
        };
        let keep = |_, _, _| -> futures::future::BoxFuture<'static, Result<(), RowsError>> {
            Box::pin(std::future::ready(Ok(())))
        };
        let verdicts = Verdicts { read: &read, keep: &keep };
        let rejects = rows::rejects(self.store.clone());
        let from_raw = FromRaw { rows: &read_rows, rejects: &rejects };
        let request = publish::Request { run_id, now, pending, fence: None };
        let began = Instant::now();
        let report = publish::publish(session, &self.plan, request, from_raw, verdicts, &|_| {})
            .await
            .unwrap();
        let took = began.elapsed();
        let counts = report.tables["weather_hourly"];
        let (inserted, unchanged) = if second { (0, rows) } else { (rows, 0) };
        assert_eq!((counts.inserted, counts.unchanged), (inserted, unchanged), "{report:?}");
        took
    }
}

/// The bytes before the first row of what COPY gives out.
const HEADER: usize = 19;

/// Takes everything away.
async fn clear(session: &mut Session) {
    let clear = "drop schema public cascade; create schema public; drop schema daymark cascade";
    session.client().batch_execute(clear).await.unwrap();
    session.client().batch_execute("checkpoint").await.unwrap();
}

/// As the program does it, so that what is new of the responses is looked for.
fn pending_fetch(stored: StoredManifest, mapped: &Mapped, shapes: &mut Shapes) -> PendingFetch {
    let manifest = stored.manifest;
    PendingFetch {
        manifest_key: stored.key,
        fetch_id: manifest.id,
        source_id: manifest.source,
        data_date: manifest.data_date,
        entity: manifest.entity.map(|entity| entity.to_string()),
        fetched_at: manifest.fetched_at,
        run_id: manifest.run_id,
        outcome: Outcome::Accepted,
        extracted: i64::try_from(manifest.rows.map_or(0, |rows| rows.extracted)).unwrap(),
        rejected: 0,
        shape: manifest.outline.map(|outline| {
            let paths = outline.entries().map(|(path, types, example)| FetchPath {
                path: path.to_owned(),
                types: types.into_iter().map(str::to_owned).collect(),
                example: example.map(str::to_owned),
                is_mapped: mapped.reads(path),
            });
            shapes.keep(outline.cut, paths)
        }),
    }
}
