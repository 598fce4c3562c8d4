//! Curated is a function of raw: whatever the order, the grouping, the repeats and the connections lost on
//! the way, the tables and their histories are what folding the fetches gives (`fold`). For every write mode and both rules of what is
//! newer, driven by proptest.

use std::collections::BTreeMap;

use daymark_testkit::database::Kind;
use daymark_testkit::on_both_databases;
use daymark_warehouse::publish::FetchResult;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestRunner};

use crate::bench::{Bench, SOURCE, Told};
use crate::crash::{Cut, is_thorough};
use crate::fold::{Fetch, Folded, Mode, Row, Word, checked, fold, plain};

/// How many cases are tried on a native database; more when a thorough look is asked for.
const CASES: u32 = 40;

on_both_databases! {
    upsert_is_the_fold;
    window_is_the_fold;
    snapshot_is_the_fold;
    append_is_the_fold;
    upsert_by_data_date_is_the_fold;
    window_by_data_date_is_the_fold;
    snapshot_by_data_date_is_the_fold;
    append_by_data_date_is_the_fold;
    upsert_with_checks_is_the_fold;
    window_with_checks_is_the_fold;
}

async fn upsert_is_the_fold(kind: Kind) {
    every_order(kind, Mode::Upsert, false).await;
}

async fn window_is_the_fold(kind: Kind) {
    every_order(kind, Mode::Window, false).await;
}

async fn snapshot_is_the_fold(kind: Kind) {
    every_order(kind, Mode::Snapshot, false).await;
}

async fn append_is_the_fold(kind: Kind) {
    every_order(kind, Mode::Append, false).await;
}

async fn upsert_by_data_date_is_the_fold(kind: Kind) {
    every_order(kind, Mode::Upsert, true).await;
}

async fn window_by_data_date_is_the_fold(kind: Kind) {
    every_order(kind, Mode::Window, true).await;
}

async fn snapshot_by_data_date_is_the_fold(kind: Kind) {
    every_order(kind, Mode::Snapshot, true).await;
}

async fn append_by_data_date_is_the_fold(kind: Kind) {
    every_order(kind, Mode::Append, true).await;
}

async fn upsert_with_checks_is_the_fold(kind: Kind) {
    every_order_of(kind, Mode::Upsert, false, CHECKS).await;
}

async fn window_with_checks_is_the_fold(kind: Kind) {
    every_order_of(kind, Mode::Window, false, CHECKS).await;
}

/// What `fold::checked` does as well.
pub(crate) const CHECKS: &str = "[[checks]]\nname = \"no price of 2 on day 3\"\nseverity = \"reject\"\n\
     sql = \"select symbol from staged where price = 2 and day = 3\"\n\
     [[checks]]\nname = \"B is not 1 on day 1\"\n\
     sql = \"select * from staged where symbol = 'B' and price = 1 and day = 1\"\n";

/// Fetches and how they are published.
#[derive(Debug, Clone)]
struct Case {
    fetches: Vec<Fetch>,
    /// The order they are published in.
    order: Vec<usize>,
    /// After which of them a publish ends.
    cuts: Vec<bool>,
    /// At which answer of PostgreSQL that publish loses its connection the first time, if it does.
    lost: Vec<Option<usize>>,
}

/// Two values per key, now and then a third; keys vanish and return; four fetches of each of two entities, most
/// of them for one data date, and more than there are minutes. The keys of the entities are apart on one
/// data date and move on another.
fn cases() -> impl Strategy<Value = Case> {
    let fetches = (1..=3_i8).prop_flat_map(|date| {
        let of_east = proptest::collection::vec(fetch_of(date, "east"), 4);
        let of_west = proptest::collection::vec(fetch_of(date, "west"), 4);
        (of_east, of_west).prop_map(|(east, west)| [east, west].concat())
    });
    fetches.prop_flat_map(|fetches| {
        let count = fetches.len();
        let order = Just((0..count).collect::<Vec<_>>()).prop_shuffle();
        let cuts = proptest::collection::vec(any::<bool>(), count);
        let lost = proptest::option::weighted(0.3, 1..150_usize);
        let lost = proptest::collection::vec(lost, count);
        (Just(fetches), order, cuts, lost).prop_map(|(fetches, order, cuts, lost)| Case {
            fetches,
            order,
            cuts,
            lost,
        })
    })
}

fn fetch_of(most: i8, entity: &'static str) -> impl Strategy<Value = Fetch> {
    let data_date = prop_oneof![4 => Just(most), 1 => 1..=3_i8];
    let value = prop_oneof![3 => Just((1, 1)), 3 => Just((1, 2)), 1 => Just((3, 2))];
    let row = proptest::option::weighted(0.8, value);
    let rows = proptest::collection::vec(row, 3);
    (data_date, 0..4_i64, Just(entity), proptest::bool::weighted(0.2), rows).prop_map(
        |(data_date, minute, entity, rejects, rows)| {
            let rows = ['A', 'B', 'C'].into_iter().zip(rows);
            let rows = rows.filter_map(|(symbol, row)| Some((symbol, row?)));
            let rows = rows.filter(|(symbol, _)| entity == owner(*symbol, data_date)).collect();
            Fetch { data_date, minute, entity, rejects, rows }
        },
    )
}

fn owner(symbol: char, data_date: i8) -> &'static str {
    match (symbol, data_date) {
        ('A', _) | ('C', 2) => "east",
        _ => "west",
    }
}

/// What the tests above would make of a publish that only looks at the row that is there: the orders they try
/// find it out, in every write mode.
#[test]
fn the_plain_rule_is_found_out() {
    for mode in [Mode::Upsert, Mode::Window, Mode::Snapshot, Mode::Append] {
        for by_data_date in [false, true] {
            let mut runner = TestRunner::deterministic();
            let is_red = |_: &usize| {
                let case = cases().new_tree(&mut runner).unwrap().current();
                let keyed = |index: &usize| {
                    let fetch = case.fetches[*index].clone();
                    let manifest = format!("{:06}_{}_{index:04}", fetch.minute, fetch.data_date);
                    (manifest, fetch)
                };
                let told: Vec<(String, Fetch)> = case.order.iter().map(keyed).collect();
                plain(&told, mode, by_data_date) != fold(&told, mode, by_data_date).table
            };
            let red = (0..CASES as usize).filter(is_red).count();
            assert!(red >= 3, "{mode:?} {by_data_date}: {red} of {CASES}");
        }
    }
}

/// The source and the model that fetches of a [`Case`] are for.
pub(crate) fn files(mode: Mode, by_data_date: bool, checks: &str) -> (String, String) {
    let source = SOURCE
        .replace("[request]", if by_data_date { "supersede = \"data_date\"\n[request]" } else { "[request]" })
        .replace(
            "price = { path = \"price\", type = \"double\" }",
            "price = { path = \"price\", type = \"integer\" }\nday = { path = \"day\", type = \"integer\" }",
        );
    let write = match mode {
        Mode::Upsert => "",
        Mode::Window => "write = \"window\"\nwindow = \"day\"\n",
        Mode::Snapshot => "write = \"snapshot\"\n",
        Mode::Append => "write = \"append\"\n",
    };
    let model = format!(
        "/* model\ntable = \"price\"\nkey = [\"symbol\"]\n{write}history = true\n\
         settled = \"day <= extract(day from _data_date)\"\n[columns]\nsymbol = \"text not null\"\n\
         day = \"integer\"\nprice = \"integer\"\n{checks}*/\nselect _fetch_id, _fetch_row, symbol, day, price\n\
         from raw_prices\n"
    );
    (source, model)
}

async fn every_order(kind: Kind, mode: Mode, by_data_date: bool) {
    every_order_of(kind, mode, by_data_date, "").await;
}

async fn every_order_of(kind: Kind, mode: Mode, by_data_date: bool, checks: &str) {
    let (source, model) = files(mode, by_data_date, checks);
    let files = [("sources/prices.toml", source.as_str()), ("models/price.sql", model.as_str())];
    // proptest's closure may be called again while it shrinks, but never while it runs.
    let bench = std::sync::Mutex::new(Cut::with(kind, &files).await);
    let config = Config {
        cases: match kind {
            Kind::Native if is_thorough() => 300,
            Kind::Native => CASES,
            Kind::Embedded => 4,
        },
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            "tests/it/order.regressions",
        ))),
        max_shrink_iters: 60,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let run = runner.run(&cases(), |case| {
        tokio::task::block_in_place(|| {
            let mut bench = bench.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            tokio::runtime::Handle::current().block_on(one(
                &mut bench,
                &case,
                mode,
                by_data_date,
                !checks.is_empty(),
            ))
        })
    });
    run.unwrap();
}

async fn one(
    cut: &mut Cut,
    case: &Case,
    mode: Mode,
    by_data_date: bool,
    is_checked: bool,
) -> Result<(), TestCaseError> {
    let bench = &mut cut.bench;
    bench.empty().await;
    let mut fetches = Vec::new();
    for fetch in &case.fetches {
        let rows: Vec<String> = fetch
            .rows
            .iter()
            .map(|(symbol, (day, price))| {
                format!(r#"{{"symbol": "{symbol}", "day": {day}, "price": {price}}}"#)
            })
            .collect();
        let key = bench.fetch_as(&Told {
            data_date: jiff::civil::date(2026, 3, fetch.data_date),
            minute: fetch.minute,
            entity: fetch.entity,
            rejected: i64::from(fetch.rejects),
            json: &format!("[{}]", rows.join(", ")),
        });
        fetches.push((key, fetch.clone()));
    }
    let mut group: Vec<&String> = Vec::new();
    for (at, index) in case.order.iter().enumerate() {
        group.push(&fetches[*index].0);
        if case.cuts[at] || at + 1 == case.order.len() {
            // Whether it came to its commit or not: what is published again is what was asked for.
            if let (Some(answer), Kind::Native) = (case.lost[at], cut.kind) {
                cut.proxy.cut_at(answer);
                let lost = bench.try_publish(&bench.warehouse, &group).await;
                let (has_cut, _) = cut.proxy.pass();
                prop_assert!(lost.is_ok() || has_cut, "{:?}", lost.err());
            }
            let report = bench.publish(&group).await;
            for result in report.fetches.values() {
                let held_back = is_checked && matches!(result, FetchResult::Quarantined(_));
                prop_assert!(held_back || *result == FetchResult::Published, "{result:?}");
            }
            // A fetch that is told again is nothing new: the next group has it as well.
            group.drain(..group.len() - 1);
        }
    }
    if is_checked {
        fetches = fetches.into_iter().filter_map(checked).collect();
    }
    let expected = fold(&fetches, mode, by_data_date);
    let found = found(bench, mode, by_data_date).await;
    prop_assert_eq!(&found.table, &expected.table);
    prop_assert_eq!(&found.history, &expected.history);
    // What the histories say of each minute is what folding those fetches gives that were made by then. Not of a
    // row that a fetch takes away where it was before another, made later and before it in the order, moved it:
    // between the days of a window, or the entities of a snapshot.
    let stays = |symbol: char| match mode {
        Mode::Window => !by_data_date,
        Mode::Snapshot => !by_data_date || symbol != 'C',
        Mode::Upsert | Mode::Append => true,
    };
    for minute in 0..4 {
        let by_then = fetches.iter().filter(|(_, fetch)| fetch.minute <= minute).cloned();
        let mut then = fold(&by_then.collect::<Vec<_>>(), mode, by_data_date).table;
        let mut said = found.as_of(minute);
        then.retain(|key, _| stays(key.0));
        said.retain(|key, _| stays(key.0));
        prop_assert_eq!(said, then, "as of minute {}", minute);
    }
    Ok(())
}

/// What PostgreSQL has.
async fn found(bench: &Bench, mode: Mode, by_data_date: bool) -> Folded {
    let dated = if mode == Mode::Append { "extract(day from _data_date)::int" } else { "0" };
    let deletes = matches!(mode, Mode::Window | Mode::Snapshot);
    let entity = if deletes { "_entity" } else { "''" };
    let mut folded = Folded::default();
    let table = format!("select symbol, {dated}, day, price, _settled, {entity} from price");
    for row in values(bench, &table).await {
        let key = (symbol(&row[0]), small(&row[1]));
        assert!(folded.table.insert(key, self::row(&row[2..])).is_none(), "{key:?} twice");
    }
    let order = if by_data_date { "_data_date, _manifest_key" } else { "_manifest_key" };
    let history = format!(
        "select symbol, {dated}, day, price, _settled, {entity}, _present, _manifest_key,
                (extract(epoch from _fetched_at)::bigint - 1772409600) / 60
         from price_history order by {order}"
    );
    let mut words: BTreeMap<_, Vec<Word>> = BTreeMap::new();
    for row in values(bench, &history).await {
        let present = row[6].as_bool().unwrap();
        words.entry((symbol(&row[0]), small(&row[1]))).or_default().push(Word {
            manifest: row[7].as_str().unwrap().to_owned(),
            at: row[8].as_i64().unwrap(),
            row: present.then(|| self::row(&row[2..6])),
        });
    }
    folded.history = words;
    folded
}

async fn values(bench: &Bench, sql: &str) -> Vec<Vec<serde_json::Value>> {
    bench.reader().query(sql).await.unwrap().unwrap().rows
}

fn symbol(value: &serde_json::Value) -> char {
    value.as_str().unwrap().chars().next().unwrap()
}

fn small(value: &serde_json::Value) -> i8 {
    i8::try_from(value.as_i64().unwrap()).unwrap()
}

fn row(cells: &[serde_json::Value]) -> Row {
    let entity = match cells[3].as_str().unwrap() {
        "east" => "east",
        "west" => "west",
        _ => "",
    };
    Row {
        day: small(&cells[0]),
        price: small(&cells[1]),
        settled: cells[2].as_bool().unwrap(),
        entity,
    }
}
