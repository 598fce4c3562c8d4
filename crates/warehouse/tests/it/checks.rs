//! Checks: what is held back, set aside and told, what is asked once, and what a rebuild makes of it.

use std::collections::BTreeMap;

use daymark_testkit::database::Kind;
use daymark_testkit::on_both_databases;
use daymark_warehouse::ledger::{self, RunKind};
use daymark_warehouse::publish::{
    self, Answer, CheckOutcome, ExtractionReject, FetchResult, Rebuild, Report, Verdict, Verdicts,
};
use uuid::Uuid;

use crate::bench::{Bench, MODEL, Told, at, day};

on_both_databases! {
    a_blocked_fetch_shows_nothing_and_the_other_days_go_on;
    rejected_rows_are_set_aside_once;
    a_warning_is_told_and_stops_nothing;
    a_check_that_cannot_be_asked_lets_nothing_through;
    a_verdict_is_asked_once_and_obeyed;
    a_person_releases_what_is_held_back;
    a_rebuild_obeys_verdicts_and_asks_again_when_told_to;
    built_in_rules_find_what_offends;
    a_fetch_with_rejected_rows_deletes_nothing;
}

fn with(checks: &str) -> String {
    MODEL.replace("*/\n", &format!("{checks}\n*/\n"))
}

fn check(name: &str, severity: &str, rule: &str) -> String {
    format!("[[checks]]\nname = \"{name}\"\nseverity = \"{severity}\"\n{rule}\n")
}

/// Held back when the price of a symbol moved by more than a quarter.
fn restated() -> String {
    with(&check(
        "no price moved by more than 25 %",
        "block",
        "sql = \"\"\"\nselect symbol, price, published_price from staged_beside_published\n\
         where abs(price / published_price - 1) > 0.25\"\"\"",
    ))
}

fn held_back(report: &Report, key: &str) -> String {
    match &report.fetches[key] {
        FetchResult::Quarantined(reason) => reason.clone(),
        other => panic!("{key} is {other:?}"),
    }
}

async fn a_blocked_fetch_shows_nothing_and_the_other_days_go_on(kind: Kind) {
    let model = with(&check(
        "A is below 100",
        "block",
        "sql = \"select symbol, price from staged where symbol = 'A' and price >= 100\"",
    ));
    let mut bench = Bench::with(kind, &[("models/price.sql", &model)]).await;
    let told = |data_date, minute, json| Told { data_date, minute, entity: "", rejected: 0, json };
    let good = bench.fetch_as(&told(day(), 1, r#"[{"symbol": "A", "price": 1}]"#));
    let tomorrow = day().tomorrow().unwrap();
    let bad = bench.fetch_as(&told(
        tomorrow,
        2,
        r#"[{"symbol": "A", "price": 100}, {"symbol": "B", "price": 2}]"#,
    ));
    let report = bench.publish(&[&good, &bad]).await;
    assert_eq!(report.fetches[&good], FetchResult::Published);
    assert_eq!(
        held_back(&report, &bad),
        "models/price.sql:10: the check `A is below 100` found 1 row, such as \
         {\"price\":100,\"symbol\":\"A\"}"
    );
    assert_eq!(bench.prices().await, [r#"["A",1.0]"#]);
    assert_eq!(
        bench.rows_of("select data_date, state, last_outcome from daymark.day order by 1").await,
        [
            r#"["2026-03-02","published","published"]"#,
            r#"["2026-03-03","quarantined","quarantined"]"#
        ]
    );
    assert_eq!(
        bench
            .rows_of(
                "select outcome, failing, row_count, publish_id, sample->0->>'symbol' \
                 from daymark.check_result order by result_id"
            )
            .await,
        [r#"["passed",0,1,1,null]"#, r#"["failed",1,2,null,"A"]"#]
    );
    // It is noted: it is tried again when the check changes, and not before.
    assert!(bench.publish(&[&bad]).await.fetches.is_empty());
    bench.change("models/price.sql", &model.replace(">= 100", "> 100"));
    assert_eq!(bench.publish(&[&bad]).await.fetches[&bad], FetchResult::Published);
    assert_eq!(bench.prices().await, [r#"["A",100.0]"#, r#"["B",2.0]"#]);
}

async fn rejected_rows_are_set_aside_once(kind: Kind) {
    let model = with(&check(
        "no price is 13",
        "reject",
        "sql = \"select symbol from staged where price = 13\"",
    ));
    let mut bench = Bench::with(kind, &[("models/price.sql", &model)]).await;
    let key = bench.fetch(1, r#"[{"symbol": "A", "price": 13}, {"symbol": "B", "price": 2}]"#);
    bench.pending(&key).rejected = 1;
    let set_aside = ExtractionReject {
        row: 7,
        value: serde_json::json!({"field": "price", "value": "x"}),
        reason: "no number".to_owned(),
    };
    bench.set_aside.insert(key.clone(), vec![set_aside]);
    let rejects = "select table_name, check_name, fetch_row, value::text, reason, publish_id \
                   from daymark.reject order by table_name nulls first";
    let aside = [
        r#"[null,null,7,"{\"field\": \"price\", \"value\": \"x\"}","no number",1]"#,
        r#"["price","no price is 13",0,"{\"price\": 13, \"symbol\": \"A\"}","no price is 13",1]"#,
    ];
    assert_eq!(bench.publish(&[&key]).await.fetches[&key], FetchResult::Published);
    assert_eq!(bench.prices().await, [r#"["B",2.0]"#]);
    assert_eq!(bench.rows_of(rejects).await, aside);
    // A late fetch has this one applied again, and a rebuild all of them.
    let late = bench.fetch(0, r#"[{"symbol": "A", "price": 1}, {"symbol": "B", "price": 1}]"#);
    bench.publish(&[&late]).await;
    assert_eq!(bench.prices().await, [r#"["A",1.0]"#, r#"["B",2.0]"#]);
    rebuild(&bench, false, false).await;
    assert_eq!(bench.rows_of("select check_name from daymark.reject order by 1").await.len(), 2);
    assert_eq!(bench.prices().await, [r#"["A",1.0]"#, r#"["B",2.0]"#]);
}

async fn a_warning_is_told_and_stops_nothing(kind: Kind) {
    let model = with(
        &[
            check("few rows", "warn", "row_count = { min = 2 }"),
            check("nonsense", "warn", "sql = \"select nothing from staged\""),
        ]
        .concat(),
    );
    let mut bench = Bench::with(kind, &[("models/price.sql", &model)]).await;
    let key = bench.fetch(1, r#"[{"symbol": "A", "price": 1}]"#);
    let report = bench.publish(&[&key]).await;
    assert_eq!(report.fetches[&key], FetchResult::Published);
    let told: Vec<_> = report.checks.iter().map(|check| (check.outcome, check.failing)).collect();
    assert_eq!(told, [(CheckOutcome::Failed, 1), (CheckOutcome::Error, 0)]);
    assert_eq!(bench.prices().await, [r#"["A",1.0]"#]);
}

async fn a_check_that_cannot_be_asked_lets_nothing_through(kind: Kind) {
    let model =
        with(&check("typo", "block", "sql = \"\"\"\nselect *\nfrom staged where prize < 0\"\"\""));
    let mut bench = Bench::with(kind, &[("models/price.sql", &model)]).await;
    let key = bench.fetch(1, r#"[{"symbol": "A", "price": 1}]"#);
    // It is prepared before any row moves; the fetch is tried again by the next publish.
    let postponed = |report: &Report| match &report.fetches[&key] {
        FetchResult::Postponed(reason) => reason.clone(),
        other => panic!("{other:?}"),
    };
    let report = bench.publish(&[&key]).await;
    let reason = postponed(&report);
    let said = "models/price.sql:12: the check `typo`: column \"prize\" does not exist";
    assert!(reason.starts_with(said), "{reason}");
    assert!(bench.prices().await.is_empty());
    // One that rejects rows has to name them.
    let model = with(&check("no key", "reject", "sql = \"select price from staged\""));
    bench.change("models/price.sql", &model);
    let reason = postponed(&bench.publish(&[&key]).await);
    let said = "models/price.sql:10: the check `no key`: column offending.symbol does not exist";
    assert!(reason.starts_with(said), "{reason}");
    // So are built-in ones, and those that read other tables of the folder.
    let model = with(&check("a number", "block", "range = { column = \"price\", min = \"a\" }"));
    bench.change("models/price.sql", &model);
    let reason = postponed(&bench.publish(&[&key]).await);
    let said = "models/price.sql:10: the check `a number`: invalid input syntax";
    assert!(reason.starts_with(said), "{reason}");
    // And what PostgreSQL does not look at without a row.
    for (rule, said) in [
        (
            "regex = { column = \"symbol\", pattern = \"[\" }",
            "invalid regular expression: brackets",
        ),
        ("range = { column = \"price\", min = 1e1, max = 9 }", "no value can pass: `min` is above"),
        (
            "range = { column = \"symbol\", min = \"b\", max = \"a\" }",
            "no value can pass: `min` is above",
        ),
    ] {
        bench.change("models/price.sql", &with(&check("one", "reject", rule)));
        let reason = postponed(&bench.publish(&[&key]).await);
        let said = format!("models/price.sql:10: the check `one`: {said}");
        assert!(reason.starts_with(&said) && !reason.contains("returns the columns"), "{reason}");
    }
    // A bound may lie beyond what the type holds.
    let narrow =
        with(&check("one", "reject", "range = { column = \"size\", min = -32768, max = 1e6 }"))
            .replace("[columns]", "[columns]\nsize = \"smallint\"")
            .replace("symbol, price\n", "symbol, price, 1::smallint as size\n");
    let mut fresh = Bench::with(kind, &[("models/price.sql", &narrow)]).await;
    let one = fresh.fetch(1, r#"[{"symbol": "A", "price": 1}]"#);
    assert_eq!(fresh.publish(&[&one]).await.fetches[&one], FetchResult::Published);
    // What only rows bring to light fails the fetch.
    let sql = "sql = \"select * from staged where 1 / (price - 1) > 0 and price / 0 > 1\"";
    bench.change("models/price.sql", &with(&check("division", "block", sql)));
    let report = bench.publish(&[&key]).await;
    let FetchResult::Failed(reason) = &report.fetches[&key] else { panic!("{report:?}") };
    let said = "the check `division` could not be asked: models/price.sql:10: division by zero";
    assert_eq!(reason, said);
    assert!(bench.prices().await.is_empty());
}

async fn a_verdict_is_asked_once_and_obeyed(kind: Kind) {
    let mut bench = Bench::with(kind, &[("models/price.sql", &restated())]).await;
    let first = bench.fetch(1, r#"[{"symbol": "A", "price": 100}]"#);
    let second = bench.fetch(2, r#"[{"symbol": "A", "price": 50}]"#);
    let third = bench.fetch(3, r#"[{"symbol": "A", "price": 110}]"#);
    for key in [&first, &second, &third] {
        bench.publish(&[key]).await;
    }
    assert_eq!(bench.prices().await, [r#"["A",110.0]"#]);
    let answers = |bench: &Bench| {
        let verdicts = bench.verdicts.lock().unwrap();
        verdicts.values().map(Vec::len).collect::<Vec<_>>()
    };
    assert_eq!(answers(&bench), [1, 1, 1]);
    // In another order and at once, each would be answered otherwise: 50 stands beside nothing.
    for order in [[&second, &first, &third], [&third, &second, &first]] {
        bench.forget().await;
        for key in order {
            bench.publish(&[key]).await;
        }
        assert_eq!(bench.prices().await, [r#"["A",110.0]"#]);
    }
    bench.forget().await;
    let report = bench.publish(&[&first, &second, &third]).await;
    assert!(held_back(&report, &second).contains("found 1 row"));
    assert_eq!(bench.prices().await, [r#"["A",110.0]"#]);
    assert_eq!(answers(&bench), [1, 1, 1], "they are asked once");
}

async fn a_person_releases_what_is_held_back(kind: Kind) {
    let model = restated().replace(
        "*/\n",
        &format!(
            "{}\n*/\n",
            check("below 60", "block", "range = { column = \"price\", min = 60 }")
        ),
    );
    let mut bench = Bench::with(kind, &[("models/price.sql", &model)]).await;
    let first = bench.fetch(1, r#"[{"symbol": "A", "price": 100}]"#);
    let second = bench.fetch(2, r#"[{"symbol": "A", "price": 50}]"#);
    bench.publish(&[&first]).await;
    assert!(held_back(&bench.publish(&[&second]).await, &second).contains("; "), "both are told");
    let mut session = bench.warehouse.session("test").await.unwrap();
    let held = ledger::quarantined(&mut session).await.unwrap();
    assert_eq!(held.len(), 1);
    let names: Vec<&str> = held[0].checks.iter().map(|check| check.check.as_str()).collect();
    assert_eq!(names, ["no price moved by more than 25 %", "below 60"]);
    let keep = bench.keep_verdicts();
    let released = held[0].checks.iter().map(|check| Verdict {
        table: check.table.clone(),
        check: check.check.clone(),
        check_sha256: String::new(),
        answer: Answer::Released,
        failing: check.failing,
        sample: Vec::new(),
        at: at(5),
        by: "ada@lovelace".to_owned(),
        why: Some("a split".to_owned()),
    });
    let source = bench.plan.sources[0].id.clone();
    keep(source, held[0].fetch_id, released.collect()).await.unwrap();
    ledger::try_again(&mut session, &held[0].manifest_key).await.unwrap();
    drop(session);
    let report = bench.publish(&[&second]).await;
    assert_eq!(report.fetches[&second], FetchResult::Published);
    assert_eq!(bench.prices().await, [r#"["A",50.0]"#]);
    let reasons: Vec<_> = report.checks.iter().map(|check| check.reason.clone().unwrap()).collect();
    assert_eq!(reasons, ["released by ada@lovelace at 2026-03-02 00:05:00 UTC: a split"; 2]);
    let state = bench.rows_of("select state, last_outcome, reason from daymark.day").await;
    assert_eq!(state, [r#"["published","published",null]"#]);
    // So it stays when everything is lost but what is raw.
    bench.forget().await;
    bench.publish(&[&second, &first]).await;
    assert_eq!(bench.prices().await, [r#"["A",50.0]"#]);
}

async fn a_rebuild_obeys_verdicts_and_asks_again_when_told_to(kind: Kind) {
    let mut bench = Bench::with(kind, &[("models/price.sql", &restated())]).await;
    let first = bench.fetch(1, r#"[{"symbol": "A", "price": 100}]"#);
    let second = bench.fetch(2, r#"[{"symbol": "A", "price": 50}]"#);
    bench.publish(&[&first]).await;
    bench.publish(&[&second]).await;
    assert!(rebuild(&bench, true, false).await.is_equal());
    assert!(rebuild(&bench, true, true).await.is_equal(), "50 still is too far from 100");
    // A check of the staged rows that came later holds back what was published before it.
    let later = format!(
        "{}\n*/\n",
        check("not 100", "block", "sql = \"select * from staged where price = 100\"")
    );
    bench.change("models/price.sql", &restated().replace("*/\n", &later));
    assert_eq!(rebuild(&bench, true, false).await.extra, 1);
    assert_eq!(bench.prices().await, [r#"["A",100.0]"#], "comparing changes nothing");
    rebuild(&bench, false, false).await;
    assert!(bench.prices().await.is_empty());
    assert_eq!(
        bench.rows_of("select distinct state from daymark.fetch").await,
        [r#"["quarantined"]"#]
    );
    // Beside nothing, 50 is no restatement: asked again, it is published.
    assert_eq!(rebuild(&bench, false, true).await.missing, 1);
    assert_eq!(bench.prices().await, [r#"["A",50.0]"#]);
    assert!(rebuild(&bench, true, false).await.is_equal(), "the new verdict is obeyed");
}

/// Rebuilds or verifies the table `price`.
pub(crate) async fn rebuild(bench: &Bench, verify: bool, recheck: bool) -> publish::Rebuilt {
    rebuild_tables(bench, verify, recheck).await["price"].clone()
}

/// Rebuilds or verifies all tables.
pub(crate) async fn rebuild_all(bench: &Bench, verify: bool) -> BTreeMap<String, publish::Rebuilt> {
    rebuild_tables(bench, verify, false).await
}

async fn rebuild_tables(
    bench: &Bench,
    verify: bool,
    recheck: bool,
) -> BTreeMap<String, publish::Rebuilt> {
    let mut session = bench.warehouse.session("test").await.unwrap();
    let run_id = Uuid::now_v7();
    let kind = RunKind::Rebuild;
    let _open = ledger::start_run(&mut session, run_id, kind, None, at(9)).await.unwrap();
    let request =
        Rebuild { run_id, now: at(9), tables: [].into(), from: None, to: None, verify, recheck };
    let (read, keep) = (bench.read_verdicts(), bench.keep_verdicts());
    let kept = Verdicts { read: &read, keep: &keep };
    publish::rebuild(&mut session, &bench.plan, &request, &bench.rows(), kept, &|_| {})
        .await
        .unwrap()
        .unwrap()
}

async fn built_in_rules_find_what_offends(kind: Kind) {
    let rules = [
        ("not_null", "not_null = \"price\"", 1),
        ("unique", "unique = \"price\"", 2),
        (
            "accepted_values",
            "accepted_values = { column = \"symbol\", values = [\"A\", \"B\", \"C\"] }",
            2,
        ),
        ("range", "range = { column = \"price\", min = 2, max = 50.5 }", 4),
        ("regex", "regex = { column = \"symbol\", pattern = '^[A-Z]$' }", 1),
        ("row_count", "row_count = { max = 4 }", 1),
        ("monotonic", "monotonic = { column = \"price\", by = [] }", 1),
        ("strictly", "monotonic = { column = \"price\", by = [], strictly = true }", 2),
        ("no_gaps", "no_gaps = { column = \"day\", by = [] }", 2),
        ("freshness", "freshness = { column = \"day\", days = 1 }", 1),
        ("references", "references = { column = \"symbol\", table = \"known\", to = \"name\" }", 3),
        ("max_change", "max_change = { column = \"price\", ratio = 0.5 }", 1),
        ("volume_anomaly", "volume_anomaly = { deviations = 2 }", 1),
    ];
    let checks: Vec<String> =
        rules.iter().map(|(name, rule, _)| check(name, "warn", rule)).collect();
    let model = with(&checks.concat())
        .replace(
            "price = \"double precision check (price > 0)\"",
            "price = \"double precision\"\nday = \"date\"",
        )
        .replace("symbol, price\n", "symbol, price, day::date as day\n");
    let source = crate::bench::SOURCE
        .replace("price = {", "day = { path = \"day\", type = \"text\" }\nprice = {");
    let source = source
        .replace("id = \"prices\"", "id = \"prices\"\ncalendar = \"weekdays\"")
        .replace("type = \"double\" }", "type = \"double\", optional = true }");
    let files = [("models/price.sql", model.as_str()), ("sources/prices.toml", source.as_str())];
    let mut bench = Bench::with(kind, &files).await;
    {
        let mut session = bench.warehouse.session("test").await.unwrap();
        let known = format!("\"{}\".known", session.schema());
        let made =
            format!("create table {known} (name text); insert into {known} values ('A'), ('B')");
        session.client().batch_execute(&made).await.unwrap();
    }
    let good = r#"[{"symbol": "A", "price": 3, "day": "2026-02-27"}, {"symbol": "B", "price": 4, "day": "2026-03-02"}]"#;
    for minute in 0..6 {
        let key = bench.fetch(minute, good);
        let report = bench.publish(&[&key]).await;
        assert_eq!(report.fetches[&key], FetchResult::Published);
        let failed: Vec<_> =
            report.checks.iter().filter(|check| check.outcome != CheckOutcome::Passed).collect();
        assert!(failed.is_empty(), "{failed:?}");
    }
    // A weekend is no gap, the Thursday and the Wednesday are; five rows are not two.
    let bad = r#"[
        {"symbol": "A", "price": 1, "day": "2026-02-24"},
        {"symbol": "B", "price": null, "day": "2026-02-27"},
        {"symbol": "C", "price": 99, "day": "2026-02-28"},
        {"symbol": "D", "price": 99, "day": "2026-02-28"},
        {"symbol": "long", "price": 1.5, "day": "2026-02-28"}]"#;
    let key = bench.fetch(9, bad);
    let report = bench.publish(&[&key]).await;
    let found: Vec<(&str, i64)> =
        report.checks.iter().map(|check| (check.check.as_str(), check.failing)).collect();
    let expected: Vec<(&str, i64)> = rules.iter().map(|(name, _, count)| (*name, *count)).collect();
    assert_eq!(found, expected, "{report:#?}");
}

async fn a_fetch_with_rejected_rows_deletes_nothing(kind: Kind) {
    let model = with(&check(
        "no 13",
        "reject",
        "accepted_values = { column = \"price\", values = [1, 2] }",
    ))
    .replace("key = [\"symbol\"]", "key = [\"symbol\"]\nwrite = \"snapshot\"");
    let mut bench = Bench::with(kind, &[("models/price.sql", &model)]).await;
    let first = bench.fetch(1, r#"[{"symbol": "A", "price": 1}, {"symbol": "B", "price": 1}]"#);
    let second = bench.fetch(2, r#"[{"symbol": "A", "price": 13}]"#);
    bench.publish(&[&first]).await;
    bench.publish(&[&second]).await;
    assert_eq!(bench.prices().await, [r#"["A",1.0]"#, r#"["B",1.0]"#]);
    let third = bench.fetch(3, r#"[{"symbol": "A", "price": 2}]"#);
    bench.publish(&[&third]).await;
    assert_eq!(bench.prices().await, [r#"["A",2.0]"#]);
}
