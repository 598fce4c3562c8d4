//! Restatements, histories asked as of a time, and rebuilds.

use std::collections::BTreeMap;

use daymark_testkit::database::Kind;
use daymark_testkit::on_both_databases;
use daymark_warehouse::ledger::{self, RunKind};
use daymark_warehouse::publish::{self, Rebuild, Rebuilt};
use uuid::Uuid;

use crate::bench::{Bench, MODEL, Told, at, day};

on_both_databases! {
    a_row_that_changes_goes_and_returns_is_told;
    a_row_that_returns_before_it_is_final_is_told_when_it_is;
    what_was_said_by_then_is_answered_and_what_is_not_known_refused;
    a_rebuild_mends_what_is_not_what_raw_gives;
    a_rebuild_of_some_days_or_models_leaves_the_others_alone;
}

fn snapshot(more: &str) -> String {
    MODEL.replace("[columns]", &format!("write = \"snapshot\"\n{more}[columns]"))
}

async fn a_row_that_changes_goes_and_returns_is_told(kind: Kind) {
    let model = snapshot("settled = \"symbol <> 'live'\"\n");
    let mut bench = Bench::with(kind, &[("models/price.sql", &model)]).await;
    let said = [
        r#"[{"symbol": "A", "price": 1}, {"symbol": "live", "price": 1}]"#,
        r#"[{"symbol": "A", "price": 2}, {"symbol": "live", "price": 2}]"#,
        r#"[{"symbol": "B", "price": 5}]"#,
        r#"[{"symbol": "A", "price": 2}]"#,
    ];
    let mut keys = Vec::new();
    for (minute, json) in (1..).zip(said) {
        keys.push(bench.fetch(minute, json));
        bench.publish(&[keys.last().unwrap()]).await;
    }
    let told =
        "select key ->> 'symbol', kind, column_name, old_value::text, new_value::text, new_manifest
                from daymark.restatement order by restatement_id";
    let row =
        |symbol: &str, price: f64| format!(r#"{{\"price\": {price}, \"symbol\": \"{symbol}\"}}"#);
    assert_eq!(
        bench.rows_of(told).await,
        [
            format!(r#"["A","changed","price","1","2","{}"]"#, keys[1]),
            format!(r#"["A","deleted",null,"{}",null,"{}"]"#, row("A", 2.0), keys[2]),
            format!(r#"["B","deleted",null,"{}",null,"{}"]"#, row("B", 5.0), keys[3]),
            format!(r#"["A","returned",null,null,"{}","{}"]"#, row("A", 2.0), keys[3]),
        ]
    );
    let table = bench.reader().restatements(Some("price"), None).await.unwrap().unwrap();
    assert_eq!(table.rows.len(), 4);
}

async fn a_row_that_returns_before_it_is_final_is_told_when_it_is(kind: Kind) {
    let model = snapshot("settled = \"price > 1\"\n");
    let mut bench = Bench::with(kind, &[("models/price.sql", &model)]).await;
    let mut keys = Vec::new();
    for (minute, price) in (1..).zip([Some(2), None, Some(1), Some(3), Some(4)]) {
        let row = price.map(|price| format!(r#"{{"symbol": "A", "price": {price}}}"#));
        let json = format!("[{}]", row.unwrap_or_default());
        keys.push(bench.fetch(minute, &json));
        bench.publish(&[keys.last().unwrap()]).await;
    }
    let told = "select kind, new_manifest from daymark.restatement order by restatement_id";
    let expected = [("deleted", 1), ("returned", 3), ("changed", 4)];
    let expected = expected.map(|(kind, at)| format!(r#"["{kind}","{}"]"#, keys[at]));
    assert_eq!(bench.rows_of(told).await, expected);
}

async fn what_was_said_by_then_is_answered_and_what_is_not_known_refused(kind: Kind) {
    let model = snapshot("history = true\n");
    let other = MODEL.replace("\"price\"\nkey", "\"other\"\nkey");
    let files = [
        ("models/price.sql", model.as_str()),
        ("models/other.sql", other.as_str()),
        ("marts/total.sql", "select sum(price) as total from price"),
        ("marts/pair.sql", "select * from total, (select count(*) from other) as counted"),
    ];
    let mut bench = Bench::with(kind, &files).await;
    let first = bench.fetch(1, r#"[{"symbol": "A", "price": 1}, {"symbol": "B", "price": 2}]"#);
    let second = bench.fetch(5, r#"[{"symbol": "A", "price": 7}]"#);
    bench.publish(&[&second]).await;
    bench.publish(&[&first]).await;
    let asked = |sql: &'static str, minute| {
        let (reader, plan) = (bench.reader(), std::sync::Arc::clone(&bench.plan));
        async move { reader.query_as_of(&plan, sql, at(minute)).await.unwrap() }
    };
    let rows = "select symbol, price from price order by symbol";
    for (minute, expected) in [
        (0, "[]"),
        (1, r#"[["A",1.0],["B",2.0]]"#),
        (4, r#"[["A",1.0],["B",2.0]]"#),
        (5, r#"[["A",7.0]]"#),
    ] {
        let found = asked(rows, minute).await.unwrap();
        assert_eq!(serde_json::to_string(&found.rows).unwrap(), expected, "at minute {minute}");
    }
    let total = asked("select total from total", 2).await.unwrap();
    assert_eq!(serde_json::to_string(&total.rows).unwrap(), "[[3.0]]");
    for sql in ["select * from other", "select * from pair", "select * from public.other"] {
        let error = asked(sql, 2).await.unwrap_err();
        assert!(error.message.starts_with("the table `other` keeps no history"), "{error}");
    }
    let error = asked("select * from public.price", 2).await.unwrap_err();
    assert!(error.message.contains("`price`"), "{error}");
}

async fn a_rebuild_mends_what_is_not_what_raw_gives(kind: Kind) {
    let model = snapshot("history = true\n");
    let mut bench = Bench::with(kind, &[("models/price.sql", &model)]).await;
    let first = bench.fetch(1, r#"[{"symbol": "A", "price": 1}, {"symbol": "B", "price": 2}]"#);
    let second = bench.fetch(2, r#"[{"symbol": "A", "price": 7}, {"symbol": "C", "price": 3}]"#);
    bench.publish(&[&first]).await;
    bench.publish(&[&second]).await;
    let whole = [
        "select * from price order by symbol",
        "select * from price_history order by 1, _manifest_key",
    ];
    let before = (bench.prices().await, bench.rows_of(whole[1]).await);
    assert!(rebuild(&bench, true).await.1.is_equal());

    let mut session = bench.warehouse.session("test").await.unwrap();
    session
        .client()
        .batch_execute(
            "update price set price = 8 where symbol = 'A'; delete from price where symbol = 'C';
             insert into price select 'Z', price, _fetch_id, _fetch_row, _publish_id from price;
             delete from price_history where symbol = 'B'",
        )
        .await
        .unwrap();
    drop(session);
    let (table, history) = rebuild(&bench, true).await;
    assert_eq!((table.missing, table.different, table.extra), (1, 1, 1));
    assert_eq!(table.keys, ["A", "C", "Z"]);
    assert_eq!(history.missing, 2);
    assert_eq!(rebuild(&bench, false).await.0, table);
    assert_eq!((bench.prices().await, bench.rows_of(whole[1]).await), before);
    assert!(
        bench
            .rows_of("select 1 from daymark.restatement where new_manifest is null")
            .await
            .is_empty()
    );

    // Another model: what it published before is told apart, and brought over.
    bench.change(
        "models/price.sql",
        &model.replace("symbol, price\n", "symbol, price * 2 as price\n"),
    );
    let (table, _) = rebuild(&bench, true).await;
    assert_eq!((table.different, table.by_older_model), (2, 2));
    rebuild(&bench, false).await;
    assert_eq!(bench.prices().await, [r#"["A",14.0]"#, r#"["C",6.0]"#]);
    // No two rebuilds differ.
    assert!(rebuild(&bench, true).await.0.is_equal());
}

async fn a_rebuild_of_some_days_or_models_leaves_the_others_alone(kind: Kind) {
    let other = MODEL.replace("\"price\"\nkey", "\"other\"\nkey");
    let files = [("models/price.sql", MODEL), ("models/other.sql", other.as_str())];
    let mut bench = Bench::with(kind, &files).await;
    let days = [day(), day().tomorrow().unwrap(), day().tomorrow().unwrap().tomorrow().unwrap()];
    let said = [
        r#"[{"symbol": "A", "price": 1}]"#,
        r#"[{"symbol": "B", "price": 2}]"#,
        r#"[{"symbol": "C", "price": 3}]"#,
    ];
    for (minute, (data_date, json)) in (1..).zip(days.into_iter().zip(said)) {
        let told = Told { data_date, minute, entity: "", rejected: 0, json };
        let key = bench.fetch_as(&told);
        bench.publish(&[&key]).await;
    }
    let others = "select symbol, price from other order by 1";
    let (prices, rest) = (bench.prices().await, bench.rows_of(others).await);
    let mut session = bench.warehouse.session("test").await.unwrap();
    let spoil = "update price set price = 9; update other set price = 9";
    session.client().batch_execute(spoil).await.unwrap();
    drop(session);
    let some = |tables: &[&str], from, to, verify| Rebuild {
        run_id: Uuid::now_v7(),
        now: at(9),
        tables: tables.iter().map(|table| (*table).to_owned()).collect(),
        from,
        to,
        verify,
        recheck: false,
    };

    // One day of one model: its row, and nothing else, in either way.
    for verify in [true, false] {
        let tables =
            rebuild_some(&bench, some(&["price"], Some(days[1]), Some(days[1]), verify)).await;
        assert_eq!(tables.keys().collect::<Vec<_>>(), ["price"]);
        assert_eq!(
            (tables["price"].different, tables["price"].keys.as_slice()),
            (1, &["B".to_owned()][..])
        );
    }
    assert_eq!(bench.prices().await, [r#"["A",9.0]"#, r#"["B",2.0]"#, r#"["C",9.0]"#]);
    let spoilt = [r#"["A",9.0]"#, r#"["B",9.0]"#, r#"["C",9.0]"#];
    assert_eq!(bench.rows_of(others).await, spoilt);
    // From a day on, all models; up to a day, one.
    let tables = rebuild_some(&bench, some(&[], Some(days[1]), None, false)).await;
    assert_eq!((tables["price"].different, tables["other"].different), (1, 2));
    assert_eq!(
        bench.prices().await,
        [r#"["A",9.0]"#.to_owned(), prices[1].clone(), prices[2].clone()]
    );
    let tables = rebuild_some(&bench, some(&["price"], None, Some(days[0]), false)).await;
    assert_eq!(tables["price"].keys, ["A"]);
    assert_eq!(bench.prices().await, prices);
    assert_eq!(
        bench.rows_of(others).await,
        [spoilt[0].to_owned(), rest[1].clone(), rest[2].clone()]
    );
}

/// What a rebuild says of the table and of its history.
async fn rebuild(bench: &Bench, verify: bool) -> (Rebuilt, Rebuilt) {
    let request = Rebuild {
        run_id: Uuid::now_v7(),
        now: at(9),
        tables: [].into(),
        from: None,
        to: None,
        verify,
        recheck: false,
    };
    let tables = rebuild_some(bench, request).await;
    (tables["price"].clone(), tables["price_history"].clone())
}

async fn rebuild_some(bench: &Bench, request: Rebuild) -> BTreeMap<String, Rebuilt> {
    let mut session = bench.warehouse.session("test").await.unwrap();
    let (run_id, kind) = (request.run_id, RunKind::Rebuild);
    let _open = ledger::start_run(&mut session, run_id, kind, None, at(9)).await.unwrap();
    let (read, keep) = (bench.read_verdicts(), bench.keep_verdicts());
    let kept = publish::Verdicts { read: &read, keep: &keep };
    publish::rebuild(&mut session, &bench.plan, &request, &bench.rows(), kept, &|_| {})
        .await
        .unwrap()
        .unwrap()
}
