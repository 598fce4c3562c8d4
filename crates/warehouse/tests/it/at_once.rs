//! Large publishes settle plain fetches without staging: to readers and in the ledger it must make no
//! difference. The same fetches are published as large ones (their manifests say that they have many rows)
//! and as small ones, and everything that comes of it is compared. Driven by proptest.

use daymark_testkit::database::Kind;
use daymark_testkit::on_both_databases;
use daymark_warehouse::publish::FetchResult;
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestRunner};

use crate::bench::{Bench, SOURCE, Told};
use crate::crash::{Cut, is_thorough};

on_both_databases! {
    an_upsert_at_once_is_as_if_staged;
    an_append_at_once_is_as_if_staged;
    a_row_of_no_fetch_is_not_left_out;
    keys_with_a_rule_of_their_own_are_compared_by_it;
    a_statement_that_fails_in_front_of_a_copy_fails_the_publish_and_none_after_it;
}

async fn an_upsert_at_once_is_as_if_staged(kind: Kind) {
    as_if_staged(kind, "").await;
}

async fn an_append_at_once_is_as_if_staged(kind: Kind) {
    as_if_staged(kind, "write = \"append\"\n").await;
}

/// A row that names no row of the fetch is the table's to refuse, whatever a check says of it.
async fn a_row_of_no_fetch_is_not_left_out(kind: Kind) {
    let model = "/* model\ntable = \"price\"\nkey = [\"symbol\"]\n[columns]\nsymbol = \"text not null\"\n\
         price = \"double precision\"\n[[checks]]\nname = \"there is a price\"\nnot_null = \"price\"\n*/\n\
         select _fetch_id, _fetch_row, coalesce(symbol, 'none') as symbol, price \
         from generate_series(0, 1) as place left join raw_prices on _fetch_row = place\n";
    let mut bench = Bench::with(kind, &[("models/price.sql", model)]).await;
    let key = bench.fetch(1, r#"[{"symbol": "A", "price": 1}]"#);
    bench.pending(&key).extracted = MANY;
    let report = bench.publish(&[&key]).await;
    assert!(matches!(report.fetches[&key], FetchResult::Failed(_)), "{report:?}");
}

/// By one rule "Z" stands before "b" and by the other behind it: how far the keys of a fetch reach, and whether those
/// of two fetches are apart, must be told by the same.
async fn keys_with_a_rule_of_their_own_are_compared_by_it(kind: Kind) {
    // The embedded database has no rules but those of bytes.
    let rules: &[&str] = if kind == Kind::Native { &["C", "en-x-icu"] } else { &["C"] };
    for rule in rules {
        let model = format!(
            "/* model\ntable = \"price\"\nkey = [\"symbol\"]\n[columns]\n\
             symbol = 'text collate \"{rule}\" not null'\nprice = \"double precision\"\n*/\n\
             select _fetch_id, _fetch_row, symbol, price from raw_prices\n"
        );
        let mut bench = Bench::with(kind, &[("models/price.sql", &model)]).await;
        let both = r#"[{"symbol": "Z", "price": 1}, {"symbol": "b", "price": 1}]"#;
        let first = bench.fetch(1, both);
        bench.publish(&[&first]).await;
        let (other, last) =
            (bench.fetch(2, r#"[{"symbol": "b", "price": 2}]"#), bench.fetch(3, both));
        for key in [&other, &last] {
            bench.pending(key).extracted = MANY;
        }
        let report = bench.publish(&[&other, &last]).await;
        assert!(report.fetches.values().all(|done| *done == FetchResult::Published), "{report:?}");
        let prices = "select symbol, price from price order by symbol collate \"C\"";
        assert_eq!(bench.rows_of(prices).await, [r#"["Z",1.0]"#, r#"["b",1.0]"#], "{rule}");
        assert!(bench.rows_of("select 1 from daymark.restatement").await.is_empty());
    }
}

/// What is sent behind it is not answered as it should be: the connection cannot be used any more.
async fn a_statement_that_fails_in_front_of_a_copy_fails_the_publish_and_none_after_it(kind: Kind) {
    let mut cut = Cut::with(kind, &[]).await;
    let mut fetches = Vec::new();
    for (minute, symbol) in [(1, "A"), (2, "B"), (3, "C")] {
        let json = format!(r#"[{{"symbol": "{symbol}", "price": 1}}]"#);
        let key = cut.bench.fetch(minute, &json);
        cut.bench.pending(&key).extracted = MANY;
        fetches.push(key);
    }
    let fetches: Vec<&String> = fetches.iter().collect();
    for asked in ["release savepoint at_once", "truncate pg_temp", "savepoint at_once"] {
        cut.bench.forget().await;
        // A word that PostgreSQL does not know: what it says of SQL is otherwise the fault of a fetch.
        let arrives: &'static str = asked.replacen('e', "3", 1).leak();
        cut.proxy.alter(asked, arrives);
        let error = cut.bench.try_publish(&cut.bench.warehouse, &fetches).await.unwrap_err();
        assert!(!cut.proxy.is_altering(), "{asked}");
        let said = daymark_plan::one_line(&error);
        assert!(said.contains("copying rows in") && said.contains("syntax error"), "{said}");
        let report = cut.bench.publish(&fetches).await;
        assert!(report.fetches.values().all(|done| *done == FetchResult::Published), "{report:?}");
        let all = [r#"["A",1.0]"#, r#"["B",1.0]"#, r#"["C",1.0]"#];
        assert_eq!(cut.bench.prices().await, all);
    }
}

/// More rows than a publish that is staged without further ado has.
const MANY: i64 = 1_000_000;

const CHECKS: &str = "[[checks]]\nname = \"no price of 4\"\nseverity = \"reject\"\n\
     range = { column = \"price\", max = 3.5 }\n\
     [[checks]]\nname = \"no price of 3\"\nseverity = \"warn\"\n\
     accepted_values = { column = \"price\", values = [0, 1, 2, 4] }\n\
     [[checks]]\nname = \"not every row there is\"\nrow_count = { max = 5 }\n";

/// A fetch: the entity and the symbols it is of, and days with prices.
#[derive(Debug, Clone)]
struct Fetch {
    data_date: i8,
    entity: &'static str,
    rows: Vec<(char, i8, i8)>,
    /// Whether its response ends before its end.
    is_cut: bool,
}

/// Each fetch with whether a publish ends behind it.
fn cases() -> impl Strategy<Value = Vec<(Fetch, bool)>> {
    // 0 breaks a constraint, 3 and 4 offend checks; a key may come twice.
    let price = prop_oneof![20 => 1..=2_i8, 1 => Just(0_i8), 1 => Just(3_i8), 1 => Just(4_i8)];
    let fetch = (
        1..=2_i8,
        prop_oneof![3 => Just(""), 1 => Just("east"), 1 => Just("west")],
        prop_oneof![Just('A'), Just('B'), Just('C'), Just('D')],
        proptest::collection::vec((proptest::bool::weighted(0.05), 1..=12_i8, price), 0..5),
        // As the one before it, or with one more row.
        proptest::option::weighted(0.4, proptest::bool::weighted(0.3)),
        proptest::bool::weighted(0.05),
        proptest::bool::weighted(0.4),
    );
    proptest::collection::vec(fetch, 2..10).prop_map(|fetches| {
        let mut all: Vec<(Fetch, bool)> = Vec::new();
        for (data_date, entity, symbol, rows, again, is_cut, ends) in fetches {
            let rows = rows.into_iter();
            let rows =
                rows.map(|(other, day, price)| (if other { 'D' } else { symbol }, day, price));
            let mut fetch = Fetch { data_date, entity, rows: rows.collect(), is_cut };
            if let (Some(more), Some((last, _))) = (again, all.last()) {
                fetch = Fetch { data_date, is_cut, ..last.clone() };
                fetch.rows.extend(more.then_some((symbol, 13, 1)));
            }
            all.push((fetch, ends));
        }
        all
    })
}

async fn as_if_staged(kind: Kind, write: &str) {
    let source = SOURCE
        .replace("price = { path", "day = { path = \"day\", type = \"integer\" }\nprice = { path");
    let model = format!(
        "/* model\ntable = \"price\"\nkey = [\"symbol\", \"day\"]\n{write}\
         settled = \"day <= 6\"\n[columns]\nsymbol = \"text not null\"\nday = \"integer not null\"\n\
         price = \"double precision check (price > 0)\"\n{CHECKS}*/\n\
         select _fetch_id, _fetch_row, symbol, day, price from raw_prices\n"
    );
    let files = [("sources/prices.toml", source.as_str()), ("models/price.sql", model.as_str())];
    // proptest's closure may be called again while it shrinks, but never while it runs.
    let bench = std::sync::Mutex::new(Bench::with(kind, &files).await);
    let config = Config {
        cases: match kind {
            Kind::Native if is_thorough() => 400,
            Kind::Native => 50,
            Kind::Embedded => 6,
        },
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            "tests/it/at_once.regressions",
        ))),
        max_shrink_iters: 60,
        ..Config::default()
    };
    let run = TestRunner::new(config).run(&cases(), |case| {
        tokio::task::block_in_place(|| {
            let mut bench = bench.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            tokio::runtime::Handle::current().block_on(one(&mut bench, &case))
        })
    });
    run.unwrap();
}

async fn one(bench: &mut Bench, case: &[(Fetch, bool)]) -> Result<(), TestCaseError> {
    bench.empty().await;
    let mut fetches = Vec::new();
    for (minute, (fetch, _)) in (0..).zip(case) {
        let rows = fetch.rows.iter().map(|(symbol, day, price)| {
            format!(r#"{{"symbol": "{symbol}", "day": {day}, "price": {price}}}"#)
        });
        let rows = rows.collect::<Vec<_>>().join(", ");
        fetches.push(bench.fetch_as(&Told {
            data_date: jiff::civil::date(2026, 3, fetch.data_date),
            minute,
            entity: fetch.entity,
            rejected: 0,
            json: &format!("[{rows}{}", if fetch.is_cut { "" } else { "]" }),
        }));
    }
    let staged = all_of_it(bench, case, &fetches).await;
    bench.forget().await;
    for key in &fetches {
        bench.pending(key).extracted = MANY;
    }
    let at_once = all_of_it(bench, case, &fetches).await;
    prop_assert_eq!(at_once, staged);
    Ok(())
}

/// Publishes the fetches in their groups, and gives all that came of it.
async fn all_of_it(bench: &Bench, case: &[(Fetch, bool)], fetches: &[String]) -> Vec<String> {
    let mut said = Vec::new();
    let mut group = Vec::new();
    for (at, key) in fetches.iter().enumerate() {
        group.push(key);
        if case[at].1 || at + 1 == fetches.len() {
            let report = bench.publish(&group).await;
            said.push(format!("{:#?} {:#?}", report.fetches, report.tables));
            said.push(format!("{:#?}", report.checks));
            group.clear();
        }
    }
    for query in [
        "select * from price order by symbol, day, _fetch_id",
        "select publish_id, table_name, key, kind, column_name, old_value, new_value, old_manifest, \
                new_manifest from daymark.restatement order by restatement_id",
        "select fetch_id, fetch_row, value, reason, check_name, publish_id from daymark.reject \
         order by manifest_key, fetch_row",
        "select manifest_key, state, reason, publish_id from daymark.fetch order by manifest_key",
        "select data_date, entity, state, reason, publish_id from daymark.day order by data_date, entity",
        "select publish_id, staged, inserted, updated, unchanged, deleted from daymark.publish_table \
         order by publish_id",
    ] {
        said.extend(bench.rows_of(query).await);
    }
    said
}
