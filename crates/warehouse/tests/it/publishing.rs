//! Publishing: once or twice, in any order and grouping, with bad rows and bad SQL.

use daymark_testkit::database::Kind;
use daymark_testkit::on_both_databases;
use daymark_warehouse::publish::FetchResult;

use crate::bench::Bench;

on_both_databases! {
    a_publish_writes_rows_that_name_where_they_came_from;
    every_type_arrives_as_it_was_said;
    the_same_fetch_published_twice_changes_nothing;
    a_late_fetch_between_two_equal_ones_does_not_win;
    every_order_and_grouping_ends_in_the_same_table;
    a_row_that_breaks_the_contract_fails_its_fetch_alone;
    a_key_twice_in_one_fetch_fails_it_and_shows_the_key;
    a_source_whose_rows_cannot_be_read_leaves_the_others_alone;
    a_refused_fetch_marks_its_day_and_nothing_else;
    a_failed_fetch_is_tried_again_when_its_model_changed;
    a_day_that_is_published_stays_published;
    equal_is_not_the_same_and_types_without_equality_are_compared;
    the_two_zeros_are_equal_and_not_the_same;
    a_rule_of_supersede_can_change;
    rows_that_cannot_be_read_now_are_published_later;
    a_lock_that_is_not_had_in_time_blames_no_fetch;
    publishes_of_two_processes_wait_for_each_other;
    a_fetch_that_cannot_be_written_fails_alone;
    a_row_that_waits_keeps_no_other_fetch_waiting;
    what_nothing_expects_of_the_rows_fails_their_fetch_alone;
}

async fn a_publish_writes_rows_that_name_where_they_came_from(kind: Kind) {
    let mut bench = Bench::new(kind).await;
    let key = bench.fetch(1, r#"[{"symbol": "A", "price": 1.5}, {"symbol": "B", "price": null}]"#);
    let report = bench.publish(&[&key]).await;
    assert_eq!(report.fetches[&key], FetchResult::Published);
    let counts = report.tables["price"];
    assert_eq!((counts.staged, counts.inserted, counts.updated, counts.unchanged), (2, 2, 0, 0));
    assert_eq!(bench.prices().await, [r#"["A",1.5]"#, r#"["B",null]"#]);
    let lineage = "select price._fetch_row, noted.manifest_key, price._publish_id = noted.publish_id \
                   from price join daymark.fetch as noted on noted.fetch_id = price._fetch_id order by symbol";
    let expected = [format!("[0,\"{key}\",true]"), format!("[1,\"{key}\",true]")];
    assert_eq!(bench.rows_of(lineage).await, expected);
}

const TYPES: [(&str, &str, &str); 16] = [
    ("text", r#""caf\u00e9 \n \"quoted\"""#, "café \n \"quoted\""),
    ("boolean", "true", "true"),
    ("smallint", "-32768", "-32768"),
    ("integer", "2147483647", "2147483647"),
    ("bigint", "9007199254740993", "9007199254740993"),
    ("double", "229.64999389648438", "229.64999389648438"),
    (
        "numeric",
        "-1234567890123456789.000000000000000120",
        "-1234567890123456789.000000000000000120",
    ),
    ("date", r#""2026-03-08""#, "2026-03-08"),
    ("time", r#""23:59:59.999999""#, "23:59:59.999999"),
    ("timestamp", r#""2026-03-08T02:30""#, "2026-03-08 02:30:00"),
    ("timestamptz", r#""2026-03-08T02:30:00-05:00""#, "2026-03-08 07:30:00+00"),
    ("epoch_seconds", "-1325583000", "1927-12-30 14:30:00+00"),
    ("epoch_milliseconds", "1772937000123", "2026-03-08 02:30:00.123+00"),
    ("epoch_microseconds", "1772937000123456", "2026-03-08 02:30:00.123456+00"),
    ("uuid", r#""0190a0e0-0000-7000-8000-000000000000""#, "0190a0e0-0000-7000-8000-000000000000"),
    ("jsonb", r#"{"b": [1, null], "a": 1.50}"#, r#"{"a": 1.50, "b": [1, null]}"#),
];

async fn every_type_arrives_as_it_was_said(kind: Kind) {
    let fields: Vec<String> = TYPES
        .iter()
        .map(|(word, ..)| format!("f_{word} = {{ path = \"{word}\", type = \"{word}\" }}\n"))
        .collect();
    let source = crate::bench::SOURCE.replace("\"prices\"", "\"types\"");
    let source = format!(
        "{}[rows.fields]\n{}",
        source.split("[rows.fields]").next().unwrap(),
        fields.concat()
    );
    let columns: Vec<String> = TYPES
        .iter()
        .map(|(word, ..)| {
            let (_, field_type) =
                daymark_plan::FieldType::ALL.iter().find(|(known, _)| known == word).unwrap();
            format!("f_{word} = \"{}\"\n", field_type.postgres())
        })
        .collect();
    let model = format!(
        "/* model\ntable = \"types\"\nkey = [\"f_text\"]\n[columns]\n{}*/\nselect {}, _fetch_id, _fetch_row from raw_types",
        columns.concat(),
        TYPES.map(|(word, ..)| format!("f_{word}")).join(", ")
    );
    let files = [("sources/types.toml", source.as_str()), ("models/types.sql", model.as_str())];
    let mut bench = Bench::with(kind, &files).await;
    let said: Vec<String> =
        TYPES.iter().map(|(word, json, _)| format!("\"{word}\": {json}")).collect();
    let key = bench.fetch_of("types", 1, &format!("[{{{}}}]", said.join(", ")));
    let report = bench.publish(&[&key]).await;
    assert_eq!(report.fetches[&key], FetchResult::Published);
    let texts = TYPES.map(|(word, ..)| format!("f_{word}::text")).join(", ");
    let found = bench.rows_of(&format!("select {texts} from types")).await;
    let expected: Vec<&str> = TYPES.iter().map(|(_, _, text)| *text).collect();
    assert_eq!(found, [serde_json::to_string(&expected).unwrap()]);
}

async fn the_same_fetch_published_twice_changes_nothing(kind: Kind) {
    let mut bench = Bench::new(kind).await;
    let first = bench.fetch(1, r#"[{"symbol": "A", "price": 1}]"#);
    bench.publish(&[&first]).await;
    let again = bench.publish(&[&first]).await;
    assert!(again.fetches.is_empty(), "{:?}", again.fetches);
    let same = bench.fetch(2, r#"[{"symbol": "A", "price": 1}]"#);
    let report = bench.publish(&[&first, &same]).await;
    let counts = report.tables["price"];
    assert_eq!((counts.inserted, counts.updated, counts.unchanged), (0, 0, 1));
    assert_eq!(bench.prices().await, [r#"["A",1]"#.replace('1', "1.0")]);
}

/// A at t1, B at t2, A at t3, published 1, 3, 2, must end in A (DESIGN.md section 7, "Late fetches").
async fn a_late_fetch_between_two_equal_ones_does_not_win(kind: Kind) {
    let mut bench = Bench::new(kind).await;
    let a = bench.fetch(1, r#"[{"symbol": "X", "price": 1}]"#);
    let b = bench.fetch(2, r#"[{"symbol": "X", "price": 2}, {"symbol": "Y", "price": 9}]"#);
    let a_again = bench.fetch(3, r#"[{"symbol": "X", "price": 1}]"#);
    for key in [&a, &a_again, &b] {
        bench.publish(&[key]).await;
    }
    assert_eq!(bench.prices().await, [r#"["X",1.0]"#, r#"["Y",9.0]"#]);
}

async fn every_order_and_grouping_ends_in_the_same_table(kind: Kind) {
    let mut bench = Bench::new(kind).await;
    // Two values per key, and keys that vanish and come back.
    let fetches = [
        r#"[{"symbol": "X", "price": 1}, {"symbol": "Y", "price": 1}]"#,
        r#"[{"symbol": "X", "price": 2}]"#,
        r#"[{"symbol": "X", "price": 1}, {"symbol": "Z", "price": 2}]"#,
        r#"[{"symbol": "Y", "price": 2}, {"symbol": "Z", "price": 2}]"#,
    ];
    let keys: Vec<String> = (1..).zip(fetches).map(|(at, json)| bench.fetch(at, json)).collect();
    let expected = [r#"["X",1.0]"#, r#"["Y",2.0]"#, r#"["Z",2.0]"#];
    for order in permutations(&keys) {
        for cuts in 0..1 << (order.len() - 1) {
            // The embedded database takes its time; one of the groupings will do there.
            if kind == Kind::Embedded && cuts % 8 != 5 {
                continue;
            }
            bench.wipe().await;
            let mut group = Vec::new();
            for (index, key) in order.iter().enumerate() {
                group.push(*key);
                if cuts >> index & 1 == 1 || index + 1 == order.len() {
                    bench.publish(&group).await;
                    group.clear();
                }
            }
            assert_eq!(bench.prices().await, expected, "order {order:?}, cuts {cuts:03b}");
        }
    }
}

fn permutations(keys: &[String]) -> Vec<Vec<&String>> {
    if keys.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (index, key) in keys.iter().enumerate() {
        let rest: Vec<String> = [&keys[..index], &keys[index + 1..]].concat();
        for tail in permutations(&rest) {
            let tail = tail.into_iter().map(|name| keys.iter().find(|key| *key == name).unwrap());
            all.push(std::iter::once(key).chain(tail).collect());
        }
    }
    all
}

async fn a_row_that_breaks_the_contract_fails_its_fetch_alone(kind: Kind) {
    let mut bench = Bench::new(kind).await;
    let good = bench.fetch(1, r#"[{"symbol": "A", "price": 1}]"#);
    let bad = bench.fetch(2, r#"[{"symbol": "A", "price": -1}]"#);
    let report = bench.publish(&[&good, &bad]).await;
    assert_eq!(report.fetches[&good], FetchResult::Published);
    let FetchResult::Failed(reason) = &report.fetches[&bad] else { panic!("{report:?}") };
    assert!(reason.starts_with("models/price.sql"), "{reason}");
    assert!(
        reason.contains(
            "violates check constraint \"price_price_check\" (Failing row contains (A, -1"
        ),
        "{reason}"
    );
    assert_eq!(bench.prices().await, [r#"["A",1.0]"#]);
}

async fn a_key_twice_in_one_fetch_fails_it_and_shows_the_key(kind: Kind) {
    let mut bench = Bench::new(kind).await;
    let key = bench.fetch(1, r#"[{"symbol": "A", "price": 1}, {"symbol": "A", "price": 2}]"#);
    let report = bench.publish(&[&key]).await;
    let expected = "models/price.sql: the query yields a key more than once: A (2 times)";
    assert_eq!(report.fetches[&key], FetchResult::Failed(expected.to_owned()));
    assert!(bench.prices().await.is_empty());
}

async fn a_source_whose_rows_cannot_be_read_leaves_the_others_alone(kind: Kind) {
    let other_source = crate::bench::SOURCE.replace("\"prices\"", "\"others\"");
    let other_model =
        crate::bench::MODEL.replace("raw_prices", "raw_others").replace("\"price\"", "\"other\"");
    let files = [
        ("sources/others.toml", other_source.as_str()),
        ("models/other.sql", other_model.as_str()),
    ];
    let mut bench = Bench::with(kind, &files).await;
    let broken = bench.fetch_of("others", 1, "[{");
    let good = bench.fetch(1, r#"[{"symbol": "A", "price": 1}]"#);
    let report = bench.publish(&[&broken, &good]).await;
    assert!(matches!(report.fetches[&broken], FetchResult::Failed(_)), "{report:?}");
    assert_eq!(report.fetches[&good], FetchResult::Published);
    assert_eq!(bench.prices().await.len(), 1);
}

async fn a_refused_fetch_marks_its_day_and_nothing_else(kind: Kind) {
    let mut bench = Bench::new(kind).await;
    let key = bench.refused(1, "HTTP 500");
    let report = bench.publish(&[&key]).await;
    assert_eq!(report.fetches[&key], FetchResult::Refused("HTTP 500".to_owned()));
    let days = "select data_date, state, reason, last_outcome, attempts from daymark.day";
    assert_eq!(bench.rows_of(days).await, [r#"["2026-03-02","failed","HTTP 500","failed",1]"#]);
    assert!(bench.publish(&[&key]).await.fetches.is_empty(), "it is taken note of");
}

async fn a_failed_fetch_is_tried_again_when_its_model_changed(kind: Kind) {
    let mut bench = Bench::new(kind).await;
    let key = bench.fetch(1, r#"[{"symbol": "A", "price": 1}, {"symbol": "A", "price": 2}]"#);
    bench.publish(&[&key]).await;
    assert!(bench.publish(&[&key]).await.fetches.is_empty(), "the same files would fail again");
    let mended = crate::bench::MODEL.replace("from raw_prices", "from raw_prices where price > 1");
    bench.change("models/price.sql", &mended);
    assert_eq!(bench.publish(&[&key]).await.fetches[&key], FetchResult::Published);
    assert_eq!(bench.prices().await, [r#"["A",2.0]"#]);
}

async fn a_day_that_is_published_stays_published(kind: Kind) {
    let mut bench = Bench::new(kind).await;
    let good = bench.fetch(1, r#"[{"symbol": "A", "price": 1}]"#);
    let bad = bench.refused(2, "HTTP 503");
    bench.publish(&[&good]).await;
    bench.publish(&[&bad]).await;
    let days = "select state, reason, last_outcome, last_reason, attempts from daymark.day";
    assert_eq!(bench.rows_of(days).await, [r#"["published",null,"failed","HTTP 503",2]"#]);
    assert_eq!(bench.prices().await, [r#"["A",1.0]"#]);
}

async fn equal_is_not_the_same_and_types_without_equality_are_compared(kind: Kind) {
    let source = crate::bench::SOURCE.replace(
        "type = \"double\" }",
        "type = \"numeric\" }\nnote = { path = \"note\", type = \"jsonb\", optional = true }",
    );
    let model = crate::bench::MODEL
        .replace("double precision check (price > 0)\"", "numeric\"\nnote = \"json\"")
        .replace("symbol, price\n", "symbol, price, note::json as note\n");
    let files = [("sources/prices.toml", source.as_str()), ("models/price.sql", model.as_str())];
    let mut bench = Bench::with(kind, &files).await;
    let first = bench.fetch(1, r#"[{"symbol": "A", "price": 1.0, "note": {"a": 1}}]"#);
    let second = bench.fetch(2, r#"[{"symbol": "A", "price": 1.00, "note": {"a": 1}}]"#);
    bench.publish(&[&second]).await;
    bench.publish(&[&first]).await;
    let told = "select price::text, note::text from price";
    assert_eq!(
        bench.rows_of(told).await,
        [r#"["1.00","{\"a\": 1}"]"#],
        "the newer fetch's own text"
    );
    let third = bench.fetch(3, r#"[{"symbol": "A", "price": 1.00, "note": {"a": 2}}]"#);
    assert_eq!(bench.publish(&[&third]).await.tables["price"].updated, 1);
}

async fn the_two_zeros_are_equal_and_not_the_same(kind: Kind) {
    let model = crate::bench::MODEL.replace(" check (price > 0)", "");
    for order in [[0, 1], [1, 0]] {
        let mut bench = Bench::with(kind, &[("models/price.sql", model.as_str())]).await;
        let fetches = [
            bench.fetch(1, r#"[{"symbol": "A", "price": 0.0}]"#),
            bench.fetch(2, r#"[{"symbol": "A", "price": -0.0}]"#),
        ];
        for at in order {
            bench.publish(&[&fetches[at]]).await;
        }
        let told = "select price::text from price";
        assert_eq!(bench.rows_of(told).await, [r#"["-0"]"#], "{order:?}");
        // Once more it is nothing new.
        let again = bench.fetch(3, r#"[{"symbol": "A", "price": -0.0}]"#);
        assert_eq!(bench.publish(&[&again]).await.tables["price"].unchanged, 1);
    }
}

/// Under `data_date` a fetch for an older day that came later loses; when the rule changes to
/// `fetched_at`, what comes from then on wins by its time.
async fn a_rule_of_supersede_can_change(kind: Kind) {
    let mut bench = Bench::new(kind).await;
    let first = bench.fetch(1, r#"[{"symbol": "A", "price": 1}]"#);
    bench.publish(&[&first]).await;
    let by_date = crate::bench::SOURCE.replace("[request]", "supersede = \"data_date\"\n[request]");
    bench.change("sources/prices.toml", &by_date);
    let second = bench.fetch(2, r#"[{"symbol": "A", "price": 2}]"#);
    bench.publish(&[&second]).await;
    assert_eq!(bench.prices().await, [r#"["A",2.0]"#]);
    let of_the_day_before = bench.fetch_for(
        "prices",
        crate::bench::day().yesterday().unwrap(),
        3,
        r#"[{"symbol": "A", "price": 3}]"#,
    );
    bench.publish(&[&of_the_day_before]).await;
    assert_eq!(bench.prices().await, [r#"["A",2.0]"#], "the later data date wins");
}

async fn rows_that_cannot_be_read_now_are_published_later(kind: Kind) {
    let mut bench = Bench::new(kind).await;
    let key = bench.fetch(1, r#"[{"symbol": "A", "price": 1}]"#);
    // Of this one it is what extraction set aside that is asked for first.
    let with_rejects = bench.fetch(2, r#"[{"symbol": "B", "price": 1}]"#);
    bench.pending(&with_rejects).rejected = 1;
    let keys = [&key, &with_rejects];
    bench.store_is_away.store(true, std::sync::atomic::Ordering::SeqCst);
    let report = bench.publish(&keys).await;
    for key in keys {
        assert_eq!(report.fetches[key], FetchResult::Postponed("the store is away".to_owned()));
    }
    assert_eq!(report.publish_id, None);
    bench.store_is_away.store(false, std::sync::atomic::Ordering::SeqCst);
    let report = bench.publish(&keys).await;
    assert!(report.fetches.values().all(|result| *result == FetchResult::Published), "{report:?}");
}

/// A reader that holds the table makes the new column wait, and ten seconds later the publish gives up
/// as a whole: the fetch is not to blame and is published by the next one.
async fn a_lock_that_is_not_had_in_time_blames_no_fetch(kind: Kind) {
    if kind == Kind::Embedded {
        // One session at a time: there is nobody to hold a lock.
        return;
    }
    let mut bench = Bench::new(kind).await;
    let first = bench.fetch(1, r#"[{"symbol": "A", "price": 1}]"#);
    bench.publish(&[&first]).await;
    let mut reader = bench.warehouse.session("test").await.unwrap();
    reader.client().batch_execute("begin; select * from price").await.unwrap();
    let wider = crate::bench::MODEL
        .replace("symbol = \"text not null\"", "symbol = \"text not null\"\nnote = \"text\"")
        .replace("symbol, price\n", "symbol, price, null as note\n");
    bench.change("models/price.sql", &wider);
    let second = bench.fetch(2, r#"[{"symbol": "A", "price": 2}]"#);
    let error = bench.try_publish(&bench.warehouse, &[&second]).await.unwrap_err();
    assert_eq!(error.to_string(), "the database failed while changing a table");
    reader.client().batch_execute("rollback").await.unwrap();
    assert_eq!(bench.publish(&[&second]).await.fetches[&second], FetchResult::Published);
}

async fn publishes_of_two_processes_wait_for_each_other(kind: Kind) {
    let mut bench = Bench::new(kind).await;
    let key = bench.fetch(1, r#"[{"symbol": "A", "price": 1}]"#);
    let keys = [&key];
    let reports = futures::future::join_all((0..4).map(|_| bench.publish(&keys))).await;
    let published = reports.iter().filter(|report| report.publish_id.is_some()).count();
    assert_eq!(published, 1, "one publishes, the others see that it is done");
    assert_eq!(bench.rows_of("select publish_id from daymark.publish").await, ["[1]"]);
}

/// A source of symbols with a text, and a model of them.
fn noted(columns: &str, query: &str) -> [(&'static str, String); 2] {
    let source = crate::bench::SOURCE.replace(
        "price = { path = \"price\", type = \"double\" }",
        "note = { path = \"note\", type = \"text\" }",
    );
    let model = format!(
        "/* model\ntable = \"price\"\nkey = [\"symbol\"]\n[columns]\nsymbol = \"text not null\"\n{columns}*/\n\
         select _fetch_id, _fetch_row, symbol, {query} from raw_prices\n"
    );
    [("sources/prices.toml", source), ("models/price.sql", model)]
}

async fn with_notes(kind: Kind, columns: &str, query: &str) -> Bench {
    let files = noted(columns, query);
    Bench::with(kind, &files.each_ref().map(|(name, text)| (*name, text.as_str()))).await
}

/// What an index does not take is found when all is written, and not when a fetch is staged.
async fn a_fetch_that_cannot_be_written_fails_alone(kind: Kind) {
    let columns = "note = \"text\"\n[[indexes]]\ncolumns = [\"note\"]\n";
    let mut bench = with_notes(kind, columns, "note").await;
    let good = bench.fetch(1, r#"[{"symbol": "A", "note": "a"}]"#);
    // No page of an index holds it, and it cannot be made shorter.
    let words: Vec<String> =
        (1..1200_u64).map(|n| format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let long = words.concat();
    let bad = bench.fetch(2, &format!(r#"[{{"symbol": "B", "note": "{long}"}}]"#));
    let last = bench.fetch(3, r#"[{"symbol": "A", "note": "c"}]"#);
    let report = bench.publish(&[&good, &bad, &last]).await;
    assert_eq!(report.fetches[&good], FetchResult::Published);
    assert_eq!(report.fetches[&last], FetchResult::Published);
    let FetchResult::Failed(reason) = &report.fetches[&bad] else { panic!("{report:?}") };
    assert!(reason.contains("index row"), "{reason}");
    assert_eq!(bench.rows_of("select symbol, note from price").await, [r#"["A","c"]"#]);
    let counts = report.tables["price"];
    assert_eq!((counts.staged, counts.inserted, counts.updated), (2, 1, 1));
}

async fn a_row_that_waits_keeps_no_other_fetch_waiting(kind: Kind) {
    let mut bench = with_notes(kind, "note = \"text references price (symbol)\"\n", "note").await;
    let waits = bench.fetch(1, r#"[{"symbol": "B", "note": "A"}]"#);
    let good = bench.fetch(2, r#"[{"symbol": "C", "note": null}]"#);
    let report = bench.publish(&[&waits, &good]).await;
    assert_eq!(report.fetches[&good], FetchResult::Published);
    assert!(matches!(report.fetches[&waits], FetchResult::Postponed(_)), "{report:?}");
    let named = bench.fetch(3, r#"[{"symbol": "A", "note": null}]"#);
    let report = bench.publish(&[&waits, &named]).await;
    assert!(report.fetches.values().all(|result| *result == FetchResult::Published), "{report:?}");
}

/// `json` holds what `jsonb` does not, and what was said of a value that changes is kept as `jsonb`.
async fn what_nothing_expects_of_the_rows_fails_their_fetch_alone(kind: Kind) {
    let mut bench = with_notes(kind, "note = \"json\"\n", "note::json as note").await;
    let first = bench.fetch(1, r#"[{"symbol": "A", "note": "{\"x\": \"\\u0000\"}"}]"#);
    assert_eq!(bench.publish(&[&first]).await.fetches[&first], FetchResult::Published);
    let bad = bench.fetch(2, r#"[{"symbol": "A", "note": "1"}]"#);
    let good = bench.fetch(3, r#"[{"symbol": "B", "note": "2"}]"#);
    let other = bench.fetch(4, r#"[{"symbol": "C", "note": "3"}]"#);
    let report = bench.publish(&[&bad, &good, &other]).await;
    assert_eq!(report.fetches[&good], FetchResult::Published);
    assert_eq!(report.fetches[&other], FetchResult::Published);
    let FetchResult::Failed(reason) = &report.fetches[&bad] else { panic!("{report:?}") };
    assert!(reason.starts_with("recording restatements: "), "{reason}");
    let symbols = bench.rows_of("select symbol from price order by 1").await;
    assert_eq!(symbols, [r#"["A"]"#, r#"["B"]"#, r#"["C"]"#]);
    let counts = "select staged, inserted from daymark.publish_table order by publish_id";
    assert_eq!(bench.rows_of(counts).await, ["[1,1]", "[2,2]"]);
    let states = "select state from daymark.fetch order by manifest_key";
    assert_eq!(
        bench.rows_of(states).await,
        [r#"["published"]"#, r#"["failed"]"#, r#"["published"]"#, r#"["published"]"#]
    );
}
