//! Interrupted anywhere: a publish whose connection is lost at any answer of PostgreSQL, or whose server
//! dies under it, leaves all of itself or nothing, and the next one ends where the uninterrupted one does.
//!
//! The connection is cut by a proxy, so there is no hook in the program. SIGKILL of the program, and with it
//! of the embedded server, is in the tests of `daymark`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use daymark_testkit::database::{Kind, TestDatabase};
use daymark_testkit::on_both_databases;
use daymark_testkit::server::OwnServer;
use daymark_testkit::wire::WireProxy;
use daymark_warehouse::publish::FetchResult;
use tokio_postgres::{Client, NoTls};

use crate::bench::{Bench, Told};
use crate::fold::Mode;
use crate::order::{CHECKS, files};

on_both_databases! {
    an_upsert_that_is_cut_anywhere_is_whole_or_nothing;
    a_window_that_is_cut_anywhere_is_whole_or_nothing;
    a_snapshot_that_is_cut_anywhere_is_whole_or_nothing;
    an_append_that_is_cut_anywhere_is_whole_or_nothing;
}

async fn an_upsert_that_is_cut_anywhere_is_whole_or_nothing(kind: Kind) {
    cut_everywhere(kind, Mode::Upsert).await;
}

async fn a_window_that_is_cut_anywhere_is_whole_or_nothing(kind: Kind) {
    cut_everywhere(kind, Mode::Window).await;
}

async fn a_snapshot_that_is_cut_anywhere_is_whole_or_nothing(kind: Kind) {
    cut_everywhere(kind, Mode::Snapshot).await;
}

async fn an_append_that_is_cut_anywhere_is_whole_or_nothing(kind: Kind) {
    cut_everywhere(kind, Mode::Append).await;
}

/// A bench whose warehouse speaks to PostgreSQL through a proxy.
pub(crate) struct Cut {
    pub(crate) bench: Bench,
    pub(crate) proxy: WireProxy,
    pub(crate) kind: Kind,
    /// Past the proxy.
    direct: String,
}

impl Cut {
    pub(crate) async fn with(kind: Kind, files: &[(&str, &str)]) -> Self {
        let database = TestDatabase::new(kind).await;
        let direct = database.url.clone();
        let Some(folder) = direct.strip_prefix("embedded:") else {
            return Self::before(&direct, files).await;
        };
        let bench = Bench::on(database, files).await;
        // A session that is as old as this is let go when it is dropped: the next one meets the proxy.
        let mut session = bench.warehouse.session("test").await.unwrap();
        session.client().batch_execute("select pg_sleep(2.1)").await.unwrap();
        drop(session);
        let socket = std::path::Path::new(folder).canonicalize().unwrap();
        let proxy = WireProxy::in_place_of(&socket.join("socket/.s.PGSQL.5432"));
        Self { bench, proxy, kind, direct }
    }

    /// On a server.
    async fn before(direct: &str, files: &[(&str, &str)]) -> Self {
        let mut url: url::Url = direct.parse().unwrap();
        let proxy = WireProxy::before_port(url.port().unwrap()).await;
        url.set_ip_host([127, 0, 0, 1].into()).unwrap();
        url.set_port(Some(proxy.port())).unwrap();
        let bench = Bench::on(TestDatabase::at(url.to_string()), files).await;
        Self { bench, proxy, kind: Kind::Native, direct: direct.to_owned() }
    }

    /// All there is to see, as one session sees it now.
    async fn image(&self) -> String {
        self.bench.rows_of(&image()).await.remove(0)
    }

    /// A session past the proxy.
    async fn onlooker(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.direct, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// Two published fetches.
    async fn begin(&self, said: &Said) {
        self.bench.forget().await;
        self.bench.verdicts.lock().unwrap().clear();
        let before: Vec<&String> = said.before.iter().collect();
        self.bench.publish(&before).await;
    }
}

/// Manifests' keys of what is published before, and of what is published in pieces.
struct Said {
    before: Vec<String>,
    then: Vec<String>,
}

/// Fetches of two entities: one is late, one takes rows back, one has a row that is rejected, one is held back,
/// and one says nothing new.
fn say(bench: &mut Bench) -> Said {
    let mut fetch = |data_date, minute, entity, json| {
        let data_date = jiff::civil::date(2026, 3, data_date);
        bench.fetch_as(&Told { data_date, minute, entity, rejected: 0, json })
    };
    let before = vec![
        fetch(
            1,
            1,
            "east",
            r#"[{"symbol": "A", "day": 1, "price": 1}, {"symbol": "C", "day": 2, "price": 1}]"#,
        ),
        fetch(2, 4, "east", r#"[{"symbol": "A", "day": 1, "price": 1}]"#),
    ];
    let then = vec![
        fetch(
            1,
            2,
            "east",
            r#"[{"symbol": "A", "day": 1, "price": 2}, {"symbol": "D", "day": 1, "price": 1}]"#,
        ),
        fetch(
            2,
            5,
            "east",
            r#"[{"symbol": "A", "day": 1, "price": 2}, {"symbol": "E", "day": 3, "price": 2}]"#,
        ),
        fetch(2, 6, "west", r#"[{"symbol": "B", "day": 1, "price": 1}]"#),
        fetch(3, 7, "west", r#"[{"symbol": "F", "day": 2, "price": 2}]"#),
        fetch(3, 8, "west", r#"[{"symbol": "F", "day": 2, "price": 2}]"#),
    ];
    Said { before, then }
}

/// A check that looks beyond its fetch: its verdict is kept before the commit.
const BEYOND: &str = "[[checks]]\nname = \"no price of 9 after 1\"\n\
     sql = \"select symbol from staged_beside_published where price = 9 and published_price = 1\"\n";

/// Tables, histories and ledger in one statement, so in one snapshot. Columns that tell fetches and publishes
/// apart are left out of the tables, and runs and numbers of the ledger. In the order in which `Bench::forget`
/// locks them, so that neither waits for the other for ever.
fn image() -> String {
    let rows = |table: &str, without: &str| {
        let row = format!("(to_jsonb(seen) - '{{{without}}}'::text[])::text");
        format!(
            "select '{table}' as part, md5(string_agg({row}, ';' order by {row})) as hash, count(*) from {table} as seen"
        )
    };
    let system = "_fetch_id,_fetch_row,_publish_id";
    let parts = [
        rows("daymark.check_result", "result_id,run_id"),
        rows("daymark.reject", "reject_id"),
        rows("daymark.restatement", "restatement_id"),
        rows("daymark.publish_table", ""),
        rows("daymark.fetch", "code_hash"),
        rows("daymark.day", "run_id"),
        rows("daymark.publish", "run_id"),
        rows("price", system),
        rows("price_history", system),
    ];
    format!(
        "select string_agg(concat_ws(' ', part, count, hash), e'\\n' order by part) from ({}) as parts",
        parts.join(" union all ")
    )
}

async fn cut_everywhere(kind: Kind, mode: Mode) {
    let (source, model) = files(mode, false, &format!("{CHECKS}{BEYOND}"));
    let files = [("sources/prices.toml", source.as_str()), ("models/price.sql", model.as_str())];
    let mut cut = Cut::with(kind, &files).await;
    let said = say(&mut cut.bench);
    let then: Vec<&String> = said.then.iter().collect();

    cut.bench.forget().await;
    cut.bench.publish(&[]).await;
    cut.bench.forget().await;
    let empty = cut.image().await;
    cut.begin(&said).await;
    let before = cut.image().await;
    // More answers than it gets: it is only counted how many those are.
    cut.proxy.cut_at(usize::MAX);
    let report = cut.bench.publish(&then).await;
    let (_, answers) = cut.proxy.pass();
    assert!(answers > 60, "{answers}");
    assert!(matches!(report.fetches[&said.then[2]], FetchResult::Quarantined(_)), "{report:?}");
    let published = report.fetches.values().filter(|one| **one == FetchResult::Published);
    assert_eq!(published.count(), 4, "{report:?}");
    let after = cut.image().await;
    assert_ne!(before, after);

    let looking = match kind {
        Kind::Native => Some(look_on(&cut).await),
        Kind::Embedded => None,
    };
    // All places are met by the modes together; each on its own meets all of them when it is asked to. The
    // embedded database takes its time to let the next session in, so there it is some of them.
    let step = match kind {
        Kind::Native if is_thorough() => 1,
        Kind::Native => 4,
        Kind::Embedded => 29,
    };
    let mut answer = 1 + (mode as usize * 7) % step;
    let mut whole = 0;
    loop {
        cut.begin(&said).await;
        assert_eq!(cut.image().await, before, "begun anew");
        cut.proxy.cut_at(answer);
        let lost = cut.bench.try_publish(&cut.bench.warehouse, &then).await;
        let (has_cut, _) = cut.proxy.pass();
        let seen = cut.image().await;
        match lost {
            // There are no more answers than that.
            Ok(_) if !has_cut => {
                assert_eq!(seen, after);
                break;
            }
            Ok(_) => assert_eq!(seen, after, "answer {answer}"),
            Err(error) => {
                assert!(has_cut, "answer {answer}: {error:?}");
                assert!(seen == before || seen == after, "answer {answer}: {error:?}\n{seen}");
                whole += usize::from(seen == after);
            }
        }
        cut.bench.publish(&then).await;
        assert_eq!(cut.image().await, after, "answer {answer}");
        answer += step;
    }
    assert!(answer + step > answers, "{answer} of {answers} answers");
    if let Some((stop, looking)) = looking {
        // Only the answer to the commit can be lost after all is done.
        assert!(whole == 1 || step > 1 && whole == 0, "{whole} of {answers}");
        stop.store(true, Ordering::SeqCst);
        let seen: BTreeSet<String> = looking.await.unwrap();
        for image in &seen {
            assert!(
                [&empty, &before, &after].contains(&image),
                "half a publish was seen:\n{image}"
            );
        }
        assert!(seen.contains(&before) && seen.contains(&after), "{} images", seen.len());
    }
}

/// Whether all is to be tried, however long it takes.
#[expect(clippy::disallowed_methods, reason = "this variable is for tests only")]
pub(crate) fn is_thorough() -> bool {
    std::env::var("DAYMARK_TEST_THOROUGH").is_ok()
}

/// Looks on from another session, again and again, until it is told to stop: all it saw.
async fn look_on(cut: &Cut) -> (Arc<AtomicBool>, tokio::task::JoinHandle<BTreeSet<String>>) {
    let client = cut.onlooker().await;
    let stop = Arc::<AtomicBool>::default();
    let until = Arc::clone(&stop);
    let looking = tokio::spawn(async move {
        let statement = client.prepare(&image()).await.unwrap();
        let mut seen = BTreeSet::new();
        while !until.load(Ordering::SeqCst) {
            let row = client.query_one(&statement, &[]).await.unwrap();
            seen.insert(serde_json::json!([row.get::<_, String>(0)]).to_string());
        }
        seen
    });
    (stop, looking)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_restarts_in_the_middle_of_a_publish_fails_it_and_the_next_one_is_whole() {
    let server = OwnServer::start();
    let (source, model) = files(Mode::Window, false, &format!("{CHECKS}{BEYOND}"));
    let files = [("sources/prices.toml", source.as_str()), ("models/price.sql", model.as_str())];
    let mut cut = Cut::before(&server.url(), &files).await;
    let said = say(&mut cut.bench);
    let then: Vec<&String> = said.then.iter().collect();
    cut.begin(&said).await;
    let before = cut.image().await;
    cut.proxy.cut_at(usize::MAX);
    cut.bench.publish(&then).await;
    let (_, answers) = cut.proxy.pass();
    let after = cut.image().await;

    // The last answer is the commit's: it is done, and outlives the crash.
    for (answer, expected) in
        [(answers / 4, &before), (answers / 2, &before), (answers - 1, &before), (answers, &after)]
    {
        cut.begin(&said).await;
        cut.proxy.hold_at(answer);
        let publish = cut.bench.try_publish(&cut.bench.warehouse, &then);
        tokio::pin!(publish);
        tokio::select! {
            () = cut.proxy.reached() => {}
            over = &mut publish => panic!("over before answer {answer} of {answers}: {over:?}"),
        }
        server.restart_at_once();
        cut.proxy.let_go();
        let lost = publish.await;
        cut.proxy.pass();
        let error = lost.unwrap_err();
        assert!(error.to_string().starts_with("the database failed while "), "{error}");
        assert_eq!(cut.image().await, *expected, "answer {answer} of {answers}");
        cut.bench.publish(&then).await;
        assert_eq!(cut.image().await, after, "answer {answer} of {answers}");
    }
}
