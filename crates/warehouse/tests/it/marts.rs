//! Marts that are tables: they follow publishes, files, contracts and rebuilds, and leave readers alone.

use std::collections::BTreeMap;

use daymark_testkit::database::Kind;
use daymark_testkit::on_both_databases;
use daymark_warehouse::contract::{self, Mode};
use daymark_warehouse::publish::{Rebuild, Rebuilt, TableCounts};
use uuid::Uuid;

use crate::bench::{Bench, MODEL, at};

on_both_databases! {
    a_table_follows_what_it_reads_in_the_publish_itself;
    rows_without_a_key_are_matched_as_a_whole;
    a_mart_changes_with_its_file;
    a_mart_that_fails_keeps_its_rows_and_recovers;
    a_contract_that_changes_takes_its_marts_along;
    a_rebuild_has_the_marts_follow;
}

const OTHER_MODEL: &str = r#"/* model
table = "volume"
key = ["symbol"]
[columns]
symbol = "text not null"
volume = "double precision"
*/
select _fetch_id, _fetch_row, symbol, price as volume
from raw_volumes
"#;

const OTHER_SOURCE: &str = r#"
id = "volumes"
[request]
url = "http://127.0.0.1:1/"
[rows]
layout = "records"
[rows.fields]
symbol = { path = "symbol", type = "text" }
price = { path = "price", type = "double" }
"#;

/// What identifies the rows of a mart as PostgreSQL keeps them: a row that was written anew has another.
const PLACES: &str = "select symbol, xmin::text from twice order by symbol";

fn twice(factor: i32) -> String {
    format!(
        "/* mart\nmaterialized = \"table\"\nkey = [\"symbol\"]\n[[indexes]]\ncolumns = [\"twice\"]\n*/\n\
         select symbol, price * {factor} as twice from price"
    )
}

fn counts(staged: i64, inserted: i64, updated: i64, unchanged: i64, deleted: i64) -> TableCounts {
    TableCounts { staged, inserted, updated, unchanged, deleted }
}

async fn a_table_follows_what_it_reads_in_the_publish_itself(kind: Kind) {
    let twice = twice(2);
    let mut bench = Bench::with(
        kind,
        &[
            ("sources/volumes.toml", OTHER_SOURCE),
            ("models/volume.sql", OTHER_MODEL),
            ("marts/twice.sql", twice.as_str()),
            // A view between, and a name that staging has a table of.
            ("marts/a_view.sql", "select * from twice where twice > 2"),
            (
                "marts/staged_price.sql",
                "/* mart\nmaterialized = \"table\"\n*/\nselect count(*) as n, max(price) as top from price",
            ),
            (
                "marts/a_top.sql",
                "/* mart\nmaterialized = \"table\"\nkey = [\"n\"]\n*/\nselect (select n from staged_price) as n, \
                 max(twice) as most, (select count(*) from a_view) as many from a_view",
            ),
            (
                "marts/volumes.sql",
                "/* mart\nmaterialized = \"table\"\n*/\nselect sum(volume) as sum from volume",
            ),
        ],
    )
    .await;
    let first = bench.fetch(1, r#"[{"symbol": "A", "price": 1}, {"symbol": "B", "price": 2}]"#);
    let report = bench.publish(&[&first]).await;
    assert!(report.refused.marts.is_empty(), "{:?}", report.refused.marts);
    assert_eq!(report.tables["twice"], counts(2, 2, 0, 0, 0));
    // Nothing it reads changed.
    assert!(!report.tables.contains_key("volumes"));
    assert_eq!(bench.rows_of("select n, most, many from a_top").await, ["[2,4.0,1]"]);
    let before = bench.rows_of(PLACES).await;

    let second = bench.fetch(2, r#"[{"symbol": "A", "price": 1}, {"symbol": "B", "price": 3}]"#);
    let report = bench.publish(&[&second]).await;
    assert_eq!(report.tables["twice"], counts(2, 0, 1, 1, 0));
    assert_eq!(report.tables["a_top"], counts(1, 0, 1, 0, 0));
    let after = bench.rows_of(PLACES).await;
    assert_eq!(before[0], after[0], "a row that stays is not written");
    assert_ne!(before[1], after[1]);
    assert_eq!(bench.rows_of("select n, most, many from a_top").await, ["[2,6.0,1]"]);
    assert_eq!(bench.rows_of("select top from staged_price").await, ["[3.0]"]);

    // A publish that changes no row of theirs leaves them out; another source's mart follows its own.
    let same = bench.fetch(3, r#"[{"symbol": "A", "price": 1}]"#);
    assert!(!bench.publish(&[&same]).await.tables.contains_key("twice"));
    let volume = bench.fetch_of("volumes", 4, r#"[{"symbol": "A", "price": 7}]"#);
    let report = bench.publish(&[&volume]).await;
    assert!(!report.tables.contains_key("twice"));
    assert_eq!(bench.rows_of("select sum from volumes").await, ["[7.0]"]);
    let noted = "select staged, updated, model_file, source_sha256 from daymark.publish_table \
                 where table_name = 'twice' order by publish_id";
    assert_eq!(
        bench.rows_of(noted).await,
        ["[2,0,\"marts/twice.sql\",null]", "[2,1,\"marts/twice.sql\",null]"]
    );
    // The table is as the file says.
    let indexes = "select indexname from pg_indexes where tablename = 'twice' order by 1";
    assert_eq!(bench.rows_of(indexes).await, ["[\"twice_pkey\"]", "[\"twice_twice_idx\"]"]);
}

async fn rows_without_a_key_are_matched_as_a_whole(kind: Kind) {
    // Rows that are equal, nulls, and a type that cannot be compared.
    let mart = "/* mart\nmaterialized = \"table\"\n*/\n\
                select case when price < 10 then price end as price, '{}'::json as odd from price";
    let mut bench = Bench::with(kind, &[("marts/bag.sql", mart)]).await;
    let rows = |prices: &[i32]| {
        let rows: Vec<String> = prices
            .iter()
            .enumerate()
            .map(|(at, price)| format!("{{\"symbol\": \"S{at}\", \"price\": {price}}}"))
            .collect();
        format!("[{}]", rows.join(","))
    };
    let first = bench.fetch(1, &rows(&[1, 1, 1, 20]));
    assert_eq!(bench.publish(&[&first]).await.tables["bag"], counts(4, 4, 0, 0, 0));
    let places = "select price, xmin::text from bag where price is null or price = 1 order by 2, 1";
    let before = bench.rows_of(places).await;
    let second = bench.fetch(2, &rows(&[1, 1, 5, 30]));
    assert_eq!(bench.publish(&[&second]).await.tables["bag"], counts(4, 1, 0, 3, 1));
    let after = bench.rows_of(places).await;
    assert!(after.iter().all(|row| before.contains(row)), "{before:?} {after:?}");
    let held = "select coalesce(price, 0), count(*) from bag group by 1 order by 1";
    assert_eq!(bench.rows_of(held).await, ["[0.0,1]", "[1.0,2]", "[5.0,1]"]);
}

async fn a_mart_changes_with_its_file(kind: Kind) {
    let mut bench = Bench::with(
        kind,
        &[
            ("marts/twice.sql", twice(2).as_str()),
            ("marts/over.sql", "select symbol, twice from twice"),
            (
                "marts/above.sql",
                "/* mart\nmaterialized = \"table\"\n*/\nselect sum(twice) as sum from over",
            ),
        ],
    )
    .await;
    let key = bench.fetch(1, r#"[{"symbol": "A", "price": 1}, {"symbol": "B", "price": 0.5}]"#);
    bench.publish(&[&key]).await;
    let sum = |bench: &Bench| {
        let (reader, sql) = (bench.reader(), "select sum from above");
        async move { reader.query(sql).await.unwrap().unwrap().rows[0][0].clone() }
    };
    assert_eq!(sum(&bench).await, 3.0);
    // Another query, the same columns: what reads it follows at once, without a publish.
    bench.change("marts/twice.sql", &twice(3));
    assert_eq!(told(&bench).await, ["the query of the mart `twice` changed"]);
    assert!(bench.publish(&[]).await.refused.marts.is_empty());
    assert_eq!(sum(&bench).await, 4.5);
    assert!(told(&bench).await.is_empty());
    // Other columns: the table is made anew under the view that reads it.
    bench.change("marts/twice.sql", &twice(4).replace("price * 4", "(price * 4)::numeric"));
    assert!(bench.publish(&[]).await.refused.marts.is_empty());
    let typed = "select twice, pg_typeof(twice)::text from over where symbol = 'A'";
    assert_eq!(bench.rows_of(typed).await, ["[4,\"numeric\"]"]);
    // A table becomes a view, and a view a table.
    bench.change("marts/twice.sql", "select symbol, price * 5 as twice from price");
    bench.change(
        "marts/over.sql",
        "/* mart\nmaterialized = \"table\"\n*/\nselect symbol, twice from twice",
    );
    assert_eq!(
        told(&bench).await,
        [
            "the mart `twice` becomes a view; it was a table",
            "the mart `over` becomes a table; it was a view"
        ]
    );
    assert!(bench.publish(&[]).await.refused.marts.is_empty());
    let kinds = "select relname, relkind::text from pg_class \
                 where relname in ('twice', 'over', 'above') and relnamespace = 'public'::regnamespace order by 1";
    assert_eq!(
        bench.rows_of(kinds).await,
        ["[\"above\",\"r\"]", "[\"over\",\"r\"]", "[\"twice\",\"v\"]"]
    );
    assert_eq!(sum(&bench).await, 7.5);
    // Files that are gone take their views and tables along.
    for name in ["above", "over"] {
        std::fs::remove_file(bench.folder.path().join(format!("marts/{name}.sql"))).unwrap();
    }
    bench.change("models/price.sql", MODEL);
    assert_eq!(
        told(&bench).await,
        [
            "the mart `over` is not in the folder any more",
            "the mart `above` is not in the folder any more"
        ]
    );
    bench.publish(&[]).await;
    assert_eq!(bench.rows_of(kinds).await, ["[\"twice\",\"v\"]"]);
    // A table of somebody else is not touched.
    let mut session = bench.warehouse.session("test").await.unwrap();
    session.client().batch_execute("create table public.mine as select 1 as a").await.unwrap();
    drop(session);
    bench.change("marts/mine.sql", "/* mart\nmaterialized = \"table\"\n*/\nselect 2 as a");
    let failures = bench.publish(&[]).await.refused.marts;
    assert_eq!(failures[0].message, "relation \"mine\" already exists");
    assert_eq!(bench.rows_of("select a from public.mine").await, ["[1]"]);
}

/// What `daymark plan` tells.
async fn told(bench: &Bench) -> Vec<String> {
    let mut session = bench.warehouse.session("test").await.unwrap();
    let prepared = contract::prepare(&mut session, &bench.plan, Mode::Show).await.unwrap();
    prepared.changes.into_iter().map(|change| change.what).collect()
}

async fn a_mart_that_fails_keeps_its_rows_and_recovers(kind: Kind) {
    let mart = |key: &str| {
        format!(
            "/* mart\nmaterialized = \"table\"\nkey = [\"{key}\"]\n*/\nselect symbol, 6 / (price - 3) as part,\n\
                 round(price) as near from price"
        )
    };
    let mut bench = Bench::with(
        kind,
        &[
            ("marts/part.sql", mart("symbol").as_str()),
            (
                "marts/z_sum.sql",
                "/* mart\nmaterialized = \"table\"\n*/\nselect sum(part) as sum from part",
            ),
        ],
    )
    .await;
    let good = bench.fetch(1, r#"[{"symbol": "A", "price": 1}, {"symbol": "B", "price": 1.2}]"#);
    assert!(bench.publish(&[&good]).await.refused.marts.is_empty());
    let bad = bench.fetch(2, r#"[{"symbol": "A", "price": 3}]"#);
    let report = bench.publish(&[&bad]).await;
    // The day is published all the same, and it is told.
    assert!(report.publish_id.is_some());
    let failures: Vec<String> = report.refused.marts.iter().map(ToString::to_string).collect();
    assert_eq!(
        failures,
        [
            "marts/part.sql: division by zero",
            "marts/z_sum.sql:4: it keeps its rows, because `part`, which it reads, failed"
        ]
    );
    assert_eq!(bench.prices().await, ["[\"A\",3.0]", "[\"B\",1.2]"]);
    assert_eq!(bench.rows_of("select part from part where symbol = 'A'").await, ["[-3.0]"]);
    assert_eq!(bench.reader().refused_marts().await.unwrap(), failures);
    // The next publish tries again, though nothing they read is its own.
    let mended = bench.fetch(3, r#"[{"symbol": "A", "price": 4}]"#);
    assert!(bench.publish(&[&mended]).await.refused.marts.is_empty());
    assert_eq!(bench.rows_of("select part from part where symbol = 'A'").await, ["[6.0]"]);
    assert!(bench.reader().refused_marts().await.unwrap().is_empty());
    // A key that is none is refused with its line and the rows.
    let near = bench.fetch(4, r#"[{"symbol": "A", "price": 1}]"#);
    bench.publish(&[&near]).await;
    bench.change("marts/part.sql", &mart("near"));
    let failures = bench.publish(&[]).await.refused.marts;
    assert_eq!(
        failures[0].to_string(),
        "marts/part.sql:3: the query yields keys (near) that are there twice or have no value: 1 (2 rows)"
    );
}

async fn a_contract_that_changes_takes_its_marts_along(kind: Kind) {
    let mut bench = Bench::with(
        kind,
        &[
            ("marts/twice.sql", "/* mart\nmaterialized = \"table\"\nkey = [\"symbol\"]\n*/\nselect symbol, price from price"),
            ("marts/over.sql", "select * from twice"),
        ],
    )
    .await;
    let key = bench.fetch(1, r#"[{"symbol": "A", "price": 1}]"#);
    bench.publish(&[&key]).await;
    let model = MODEL
        .replace("double precision check (price > 0)", "numeric")
        .replace("symbol, price\n", "symbol, price::numeric as price\n");
    bench.change("models/price.sql", &model);
    let mut session = bench.warehouse.session("test").await.unwrap();
    let mode = Mode::Apply { allow_data_loss: false };
    let prepared = contract::prepare(&mut session, &bench.plan, mode).await.unwrap();
    drop(session);
    assert!(prepared.refused.sources.is_empty(), "{:?}", prepared.refused);
    assert!(prepared.refused.marts.is_empty(), "{:?}", prepared.refused);
    let types = "select pg_typeof(price)::text from over";
    assert_eq!(bench.rows_of(types).await, ["[\"numeric\"]"]);
}

async fn rebuild(bench: &Bench, verify: bool) -> BTreeMap<String, Rebuilt> {
    let mut session = bench.warehouse.session("test").await.unwrap();
    let run_id = Uuid::now_v7();
    daymark_warehouse::ledger::start_run(
        &mut session,
        run_id,
        daymark_warehouse::ledger::RunKind::Rebuild,
        None,
        at(0),
    )
    .await
    .unwrap();
    let request = Rebuild {
        run_id,
        now: at(0),
        tables: std::collections::BTreeSet::default(),
        from: None,
        to: None,
        verify,
        recheck: false,
    };
    let (read, keep) = (bench.read_verdicts(), bench.keep_verdicts());
    let verdicts = daymark_warehouse::publish::Verdicts { read: &read, keep: &keep };
    daymark_warehouse::publish::rebuild(
        &mut session,
        &bench.plan,
        &request,
        &bench.rows(),
        verdicts,
        &|_| {},
    )
    .await
    .unwrap()
    .unwrap()
}

async fn a_rebuild_has_the_marts_follow(kind: Kind) {
    let mut bench = Bench::with(kind, &[("marts/twice.sql", twice(2).as_str())]).await;
    let key = bench.fetch(1, r#"[{"symbol": "A", "price": 1}, {"symbol": "B", "price": 2}]"#);
    bench.publish(&[&key]).await;
    assert!(rebuild(&bench, true).await["twice"].is_equal());
    let mut session = bench.warehouse.session("test").await.unwrap();
    let by_hand = "update price set price = 9 where symbol = 'A'; delete from twice where symbol = 'B'; \
                   insert into twice values ('C', 1)";
    session.client().batch_execute(by_hand).await.unwrap();
    drop(session);
    let found = rebuild(&bench, true).await;
    // It is compared with what the table has now.
    let twice = &found["twice"];
    assert_eq!((twice.missing, twice.different, twice.extra), (1, 1, 1));
    assert_eq!(twice.keys, ["A", "B", "C"]);
    let rebuilt = rebuild(&bench, false).await;
    assert_eq!(rebuilt["price"].different, 1);
    assert_eq!(
        bench.rows_of("select symbol, twice from twice order by 1").await,
        ["[\"A\",2.0]", "[\"B\",4.0]"]
    );
    assert!(rebuild(&bench, true).await.values().all(Rebuilt::is_equal));
}
