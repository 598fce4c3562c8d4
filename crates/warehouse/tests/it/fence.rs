//! The leader's pass: what a process publishes that does not lead any more counts for nothing, whenever it was
//! that another took over.

use std::time::Duration;

use daymark_plan::Clock;
use daymark_testkit::database::{Kind, TestDatabase};
use daymark_testkit::on_both_databases;
use daymark_warehouse::WarehouseError;
use daymark_warehouse::lease::{Candidate, Fence, Standing};
use daymark_warehouse::ledger::{self, RunKind};
use daymark_warehouse::publish::{
    self, ExtractionReject, FetchResult, FromRaw, PendingFetch, Report, Request, RowStream,
    Verdicts,
};
use futures::future::BoxFuture;
use tokio_postgres::NoTls;
use uuid::Uuid;

use crate::bench::{Bench, at};

on_both_databases! {
    a_leader_publishes_until_another_takes_over;
}

const TAKE_OVER: &str = "update daymark.lease set holder = 'another', epoch = epoch + 1";
const PUBLISHED: &str = "select (select count(*) from daymark.publish), \
     (select count(*) from daymark.fetch), (select count(*) from daymark.day)";

type Rows = Result<RowStream, publish::RowsError>;

async fn publish_as(
    bench: &Bench,
    fetch: &PendingFetch,
    fence: &Fence,
    rows: &(dyn Fn(String) -> BoxFuture<'static, Rows> + Send + Sync),
) -> Result<Report, WarehouseError> {
    let pending = vec![fetch.clone()];
    let mut session = bench.warehouse.session("test").await?;
    let run_id = Uuid::now_v7();
    let _open = ledger::start_run(&mut session, run_id, RunKind::Manual, None, at(0)).await?;
    let request = Request { run_id, now: at(0), pending, fence: Some(fence.clone()) };
    let (read, keep) = (bench.read_verdicts(), bench.keep_verdicts());
    let verdicts = Verdicts { read: &read, keep: &keep };
    let rejects = |_| -> BoxFuture<'static, Result<Vec<ExtractionReject>, publish::RowsError>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    };
    let from_raw = FromRaw { rows, rejects: &rejects };
    publish::publish(&mut session, &bench.plan, request, from_raw, verdicts, &|_| {}).await
}

async fn lead(bench: &Bench) -> Fence {
    let mut session = bench.warehouse.session("test").await.unwrap();
    session.client().batch_execute("delete from daymark.lease").await.unwrap();
    let mut candidate =
        Candidate::new(&bench.warehouse, Duration::from_mins(1), Clock::manual(at(0)));
    match candidate.hold(&mut session, None).await.unwrap() {
        Standing::Leads { fence, .. } => fence,
        follows @ Standing::Follows { .. } => panic!("{follows:?}"),
    }
}

async fn a_leader_publishes_until_another_takes_over(kind: Kind) {
    let database = TestDatabase::new(kind).await;
    let url = database.url.clone();
    let mut bench = Bench::on(database, &[]).await;
    let fence = lead(&bench).await;
    let first = bench.fetch(1, r#"[{"symbol": "A", "price": 1}]"#);
    let first = bench.pending(&first).clone();
    let second = bench.fetch(2, r#"[{"symbol": "A", "price": 2}]"#);
    let second = bench.pending(&second).clone();
    let rows = bench.rows();
    let report = publish_as(&bench, &first, &fence, &rows).await.unwrap();
    assert_eq!(report.fetches[&first.manifest_key], FetchResult::Published);
    let published = bench.rows_of(PUBLISHED).await;

    // Before it begins.
    let mut session = bench.warehouse.session("test").await.unwrap();
    session.client().batch_execute(TAKE_OVER).await.unwrap();
    drop(session);
    let lost = publish_as(&bench, &second, &fence, &rows).await;
    assert!(matches!(lost, Err(WarehouseError::LeaseLost)), "{lost:?}");
    assert_eq!(bench.prices().await, [r#"["A",1.0]"#]);
    assert_eq!(bench.rows_of(PUBLISHED).await, published);

    // While its rows are read, where others have sessions of their own.
    if kind == Kind::Native {
        let fence = lead(&bench).await;
        let again = bench.rows();
        let read = move |key: String| -> BoxFuture<'static, Rows> {
            let (url, rows) = (url.clone(), again(key));
            Box::pin(async move {
                let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
                let connection = tokio::spawn(connection);
                client.batch_execute(TAKE_OVER).await.unwrap();
                drop(client);
                connection.await.unwrap().unwrap();
                rows.await
            })
        };
        let lost = publish_as(&bench, &second, &fence, &read).await;
        assert!(matches!(lost, Err(WarehouseError::LeaseLost)), "{lost:?}");
        assert_eq!(bench.prices().await, [r#"["A",1.0]"#]);
        assert_eq!(bench.rows_of(PUBLISHED).await, published);
    }
    // Who leads then publishes it.
    let fence = lead(&bench).await;
    let report = publish_as(&bench, &second, &fence, &rows).await.unwrap();
    assert_eq!(report.fetches[&second.manifest_key], FetchResult::Published);
    assert_eq!(bench.prices().await, [r#"["A",2.0]"#]);
}
