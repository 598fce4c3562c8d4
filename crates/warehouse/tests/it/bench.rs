//! A pipeline in a folder, a database, and fetches made of JSON: what the tests publish.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use daymark_extract::RowContext;
use daymark_plan::{Clock, Environment, Plan, SourceId};
use daymark_testkit::database::{Kind, TestDatabase};
use daymark_warehouse::ledger::{self, RunKind};
use daymark_warehouse::publish::{
    self, ExtractionReject, FromRaw, Outcome, PendingFetch, Report, Request, RowStream, RowsError,
    Verdict, Verdicts,
};
use daymark_warehouse::{Reader, Warehouse, WarehouseError};
use futures::future::BoxFuture;
use futures::stream;
use jiff::Timestamp;
use jiff::civil::Date;
use tempfile::TempDir;
use uuid::Uuid;

pub(crate) const SETTINGS: &str = r#"
name = "bench"
time_zone = "UTC"
schedule = "cron(0 8 * * ? *)"
"#;

pub(crate) const SOURCE: &str = r#"
id = "prices"
[request]
url = "http://127.0.0.1:1/"
[rows]
layout = "records"
[rows.fields]
symbol = { path = "symbol", type = "text" }
price = { path = "price", type = "double" }
"#;

pub(crate) const MODEL: &str = r#"/* model
table = "price"
key = ["symbol"]
[columns]
symbol = "text not null"
price = "double precision check (price > 0)"
*/
select _fetch_id, _fetch_row, symbol, price
from raw_prices
"#;

/// A pipeline and its database.
pub(crate) struct Bench {
    pub(crate) folder: TempDir,
    pub(crate) plan: Arc<Plan>,
    pub(crate) warehouse: Warehouse,
    fetches: BTreeMap<String, (PendingFetch, String)>,
    /// What extraction set aside of fetches.
    pub(crate) set_aside: BTreeMap<String, Vec<ExtractionReject>>,
    /// Set to have every read of rows fail.
    pub(crate) store_is_away: Arc<AtomicBool>,
    /// What was decided about fetches: part of what is raw, so it outlives the database.
    pub(crate) verdicts: Arc<Mutex<BTreeMap<Uuid, Vec<Verdict>>>>,
    /// The time of those who read.
    pub(crate) clock: Clock,
    _database: TestDatabase,
}

/// The settings of a bench on a database.
fn settings(url: &str) -> String {
    format!("{SETTINGS}\n[database]\nurl = \"{url}\"\n")
}

impl Bench {
    /// The files above, in a database of their own.
    pub(crate) async fn new(kind: Kind) -> Self {
        Self::with(kind, &[]).await
    }

    /// The files above and others.
    pub(crate) async fn with(kind: Kind, files: &[(&str, &str)]) -> Self {
        Self::on(TestDatabase::new(kind).await, files).await
    }

    /// The same on a database that is there.
    pub(crate) async fn on(database: TestDatabase, files: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        let first = [
            ("daymark.toml", settings(&database.url)),
            ("sources/prices.toml", SOURCE.to_owned()),
            ("models/price.sql", MODEL.to_owned()),
        ];
        for (name, text) in &first {
            write(&folder, name, text);
        }
        for (name, text) in files {
            write(&folder, name, text);
        }
        let plan = Arc::new(daymark_plan::load(folder.path(), &Environment::default()).unwrap());
        let warehouse = Warehouse::open(&plan).await.unwrap();
        Self {
            folder,
            plan,
            warehouse,
            fetches: BTreeMap::new(),
            set_aside: BTreeMap::new(),
            store_is_away: Arc::default(),
            verdicts: Arc::default(),
            clock: Clock::manual(at(0)),
            _database: database,
        }
    }

    /// Changes a file of the folder and reads it again.
    pub(crate) fn change(&mut self, name: &str, text: &str) {
        write(&self.folder, name, text);
        self.plan =
            Arc::new(daymark_plan::load(self.folder.path(), &Environment::default()).unwrap());
    }

    /// A fetch of `prices` at minute `minute`, with the JSON it brought; gives its manifest's key.
    pub(crate) fn fetch(&mut self, minute: i64, json: &str) -> String {
        self.fetch_of("prices", minute, json)
    }

    pub(crate) fn fetch_of(&mut self, source: &str, minute: i64, json: &str) -> String {
        self.fetch_for(source, day(), minute, json)
    }

    pub(crate) fn fetch_for(
        &mut self,
        source: &str,
        data_date: Date,
        minute: i64,
        json: &str,
    ) -> String {
        self.add(source, data_date, minute, json, Outcome::Accepted)
    }

    /// A fetch of an entity, of which some rows were set aside, under a manifest's key of its own.
    pub(crate) fn fetch_as(&mut self, said: &Told<'_>) -> String {
        let number = self.fetches.len();
        let key = format!(
            "manifests/prices/{:06}_{}_{}_{number:04}",
            said.minute, said.data_date, said.entity
        );
        let fetch = PendingFetch {
            manifest_key: key.clone(),
            fetch_id: Uuid::now_v7(),
            source_id: SourceId::new("prices").unwrap(),
            data_date: said.data_date,
            entity: (!said.entity.is_empty()).then(|| said.entity.to_owned()),
            fetched_at: at(said.minute),
            run_id: Uuid::now_v7(),
            outcome: Outcome::Accepted,
            extracted: 0,
            rejected: said.rejected,
            shape: None,
        };
        self.fetches.insert(key.clone(), (fetch, said.json.to_owned()));
        key
    }

    /// Forgets everything that was published, and keeps the tables.
    pub(crate) async fn empty(&mut self) {
        self.fetches.clear();
        self.forget().await;
    }

    /// Forgets everything that was published, but not the fetches.
    pub(crate) async fn forget(&self) {
        let mut session = self.warehouse.session("test").await.unwrap();
        let mut tables = vec![
            "daymark.check_result, daymark.reject, daymark.restatement, daymark.publish_table, daymark.fetch, daymark.day, daymark.step, \
             daymark.attempt, daymark.run_log, daymark.skip, daymark.publish, daymark.run"
                .to_owned(),
        ];
        for model in &self.plan.models {
            tables.push(model.table.clone());
            tables.extend(model.history.then(|| model.history_table()));
        }
        let known = "select count(*) from daymark.contract";
        let made: i64 = session.client().query_one(known, &[]).await.unwrap().get(0);
        if made > 0 {
            let statement = format!("truncate {}", tables.join(", "));
            session.client().batch_execute(&statement).await.unwrap();
        }
    }

    /// A fetch that was refused.
    pub(crate) fn refused(&mut self, minute: i64, reason: &str) -> String {
        self.add("prices", day(), minute, "", Outcome::Refused(reason.to_owned()))
    }

    fn add(
        &mut self,
        source: &str,
        data_date: Date,
        minute: i64,
        json: &str,
        outcome: Outcome,
    ) -> String {
        let key = format!("manifests/{source}/{minute:06}");
        let fetch = PendingFetch {
            manifest_key: key.clone(),
            fetch_id: Uuid::now_v7(),
            source_id: SourceId::new(source).unwrap(),
            data_date,
            entity: None,
            fetched_at: at(minute),
            run_id: Uuid::now_v7(),
            outcome,
            extracted: 0,
            rejected: 0,
            shape: None,
        };
        self.fetches.insert(key.clone(), (fetch, json.to_owned()));
        key
    }

    /// Publishes fetches by their manifests' keys, in one publish.
    pub(crate) async fn publish(&self, keys: &[&String]) -> Report {
        self.try_publish(&self.warehouse, keys).await.unwrap()
    }

    pub(crate) async fn try_publish(
        &self,
        warehouse: &Warehouse,
        keys: &[&String],
    ) -> Result<Report, WarehouseError> {
        let mut session = warehouse.session("test").await?;
        let run_id = Uuid::now_v7();
        let kind = RunKind::Manual;
        let _open = ledger::start_run(&mut session, run_id, kind, None, at(0)).await?;
        let pending = keys.iter().map(|key| self.fetches[*key].0.clone()).collect();
        let request = Request { run_id, now: at(0), pending, fence: None };
        let (read, keep) = (self.read_verdicts(), self.keep_verdicts());
        let verdicts = Verdicts { read: &read, keep: &keep };
        let rejects = |key: String| -> BoxFuture<'static, Result<Vec<_>, RowsError>> {
            let away = self.store_is_away.load(Ordering::SeqCst);
            let set_aside = self.set_aside.get(&key).cloned().unwrap_or_default();
            Box::pin(std::future::ready(if away {
                Err("the store is away".into())
            } else {
                Ok(set_aside)
            }))
        };
        let from_raw = FromRaw { rows: &self.rows(), rejects: &rejects };
        publish::publish(&mut session, &self.plan, request, from_raw, verdicts, &|_| {}).await
    }

    pub(crate) fn read_verdicts(
        &self,
    ) -> impl Fn(SourceId, Uuid) -> BoxFuture<'static, Result<Vec<Verdict>, RowsError>> + Send + Sync
    {
        let verdicts = Arc::clone(&self.verdicts);
        move |_, fetch_id| {
            let found = verdicts.lock().unwrap().get(&fetch_id).cloned().unwrap_or_default();
            Box::pin(std::future::ready(Ok(found)))
        }
    }

    pub(crate) fn keep_verdicts(
        &self,
    ) -> impl Fn(SourceId, Uuid, Vec<Verdict>) -> BoxFuture<'static, Result<(), RowsError>> + Send + Sync
    {
        let verdicts = Arc::clone(&self.verdicts);
        move |_, fetch_id, given| {
            verdicts.lock().unwrap().entry(fetch_id).or_default().extend(given);
            Box::pin(std::future::ready(Ok(())))
        }
    }

    /// The fetch of a manifest.
    pub(crate) fn pending(&mut self, key: &str) -> &mut PendingFetch {
        &mut self.fetches.get_mut(key).unwrap().0
    }

    pub(crate) fn rows(
        &self,
    ) -> impl Fn(String) -> BoxFuture<'static, Result<RowStream, RowsError>> + Send + Sync {
        let (fetches, plan) = (self.fetches.clone(), Arc::clone(&self.plan));
        let away = Arc::clone(&self.store_is_away);
        move |key| {
            if away.load(Ordering::SeqCst) {
                return Box::pin(std::future::ready(Err("the store is away".into())));
            }
            let (fetch, json) = fetches[&key].clone();
            let plan = Arc::clone(&plan);
            Box::pin(async move {
                let rows = &plan.source(&fetch.source_id).unwrap().rows;
                let mut chunks: Vec<Result<Bytes, RowsError>> = Vec::new();
                match daymark_extract::open(rows, json.as_bytes(), RowContext::default()) {
                    Ok(mut extraction) => {
                        let mut chunk = BytesMut::new();
                        loop {
                            match extraction.next_chunk(&mut chunk) {
                                Ok(true) => chunks.push(Ok(chunk.split().freeze())),
                                Ok(false) => break,
                                Err(error) => {
                                    chunks.push(Err(error.into()));
                                    break;
                                }
                            }
                        }
                    }
                    Err(error) => chunks.push(Err(error.into())),
                }
                Ok(Box::pin(stream::iter(chunks)) as RowStream)
            })
        }
    }

    pub(crate) fn reader(&self) -> Reader {
        Reader::new(self.warehouse.clone(), self.clock.clone())
    }

    /// The rows of a query, each as JSON text.
    pub(crate) async fn rows_of(&self, sql: &str) -> Vec<String> {
        let table = self.reader().query(sql).await.unwrap().unwrap();
        table.rows.iter().map(|row| serde_json::to_string(row).unwrap()).collect()
    }

    /// The curated rows, by key.
    pub(crate) async fn prices(&self) -> Vec<String> {
        self.rows_of("select symbol, price from price order by symbol").await
    }

    /// Takes everything away but the server, and opens it anew.
    pub(crate) async fn wipe(&mut self) {
        let mut session = self.warehouse.session("test").await.unwrap();
        session
            .client()
            .batch_execute("drop schema if exists daymark cascade; drop table if exists price")
            .await
            .unwrap();
        drop(session);
        self.warehouse.clone().close().await;
        self.warehouse = Warehouse::open(&self.plan).await.unwrap();
    }
}

/// What a fetch brings.
pub(crate) struct Told<'t> {
    pub(crate) data_date: Date,
    pub(crate) minute: i64,
    pub(crate) entity: &'t str,
    pub(crate) rejected: i64,
    pub(crate) json: &'t str,
}

/// The day all fetches are for.
pub(crate) fn day() -> Date {
    jiff::civil::date(2026, 3, 2)
}

/// Minute `minute` of that day.
pub(crate) fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_772_409_600 + minute * 60).unwrap()
}

fn write(folder: &TempDir, name: &str, text: &str) {
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}
