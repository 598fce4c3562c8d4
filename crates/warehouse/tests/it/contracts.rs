//! What PostgreSQL refuses of a folder, said with file and line; and tables that are not ours.

use daymark_testkit::database::Kind;
use daymark_testkit::on_both_databases;
use daymark_warehouse::contract::{self, Mode, Needs};
use daymark_warehouse::publish::FetchResult;

use crate::bench::{Bench, MODEL};

on_both_databases! {
    sql_that_postgres_refuses_names_file_and_line;
    query_and_contract_must_have_the_same_columns;
    a_type_the_contract_does_not_take_is_found_before_any_row;
    a_table_that_is_not_ours_is_left_alone;
    a_new_nullable_column_is_added_and_other_changes_are_refused;
    a_plan_says_what_each_change_needs_and_applies_what_it_may;
    a_history_follows_its_table;
    what_write_and_settled_need_is_added_and_a_key_is_asked_first;
    a_row_waits_for_the_row_it_refers_to;
    what_was_changed_by_hand_is_seen;
    marts_are_views_that_follow_their_files;
    another_pipelines_database_is_refused;
}

const ROW: &str = r#"[{"symbol": "A", "price": 1}]"#;

/// Publishes one fetch with a model, and gives what it came to.
async fn outcome(bench: &mut Bench, minute: i64, model: &str) -> String {
    bench.change("models/price.sql", model);
    let key = bench.fetch(minute, ROW);
    match bench.publish(&[&key]).await.fetches.remove(&key) {
        Some(FetchResult::Published) => "published".to_owned(),
        // What to do next stands behind it, and PostgreSQL's own advice changes with its version.
        Some(FetchResult::Postponed(reason)) => reason.split("; ").next().unwrap().to_owned(),
        other => panic!("{other:?}"),
    }
}

async fn sql_that_postgres_refuses_names_file_and_line(kind: Kind) {
    let mut bench = Bench::new(kind).await;
    let misspelt = MODEL.replace("symbol, price\nfrom", "symbol,\n  prise as price\nfrom");
    assert_eq!(
        outcome(&mut bench, 1, &misspelt).await,
        "models/price.sql:9: column \"prise\" does not exist"
    );
    let broken = MODEL.replace("from raw_prices", "form raw_prices");
    assert_eq!(
        outcome(&mut bench, 2, &broken).await,
        "models/price.sql:9: syntax error at or near \"raw_prices\""
    );
    assert_eq!(outcome(&mut bench, 3, MODEL).await, "published");
}

async fn query_and_contract_must_have_the_same_columns(kind: Kind) {
    let mut bench = Bench::new(kind).await;
    let extra = MODEL.replace("symbol, price\n", "symbol, price, price * 2 as twice\n");
    assert_eq!(
        outcome(&mut bench, 1, &extra).await,
        "models/price.sql:8: the query yields the column `twice`, which the contract lacks"
    );
    let fewer = MODEL.replace("symbol, price\n", "symbol\n");
    assert_eq!(
        outcome(&mut bench, 2, &fewer).await,
        "models/price.sql:6: the query yields no column `price`"
    );
    let nowhere = MODEL.replace("_fetch_id, _fetch_row, ", "_fetch_id, ");
    assert_eq!(
        outcome(&mut bench, 3, &nowhere).await,
        "models/price.sql:8: the query yields no `_fetch_row`, so a row could not name where it came from"
    );
}

async fn a_type_the_contract_does_not_take_is_found_before_any_row(kind: Kind) {
    let mut bench = Bench::new(kind).await;
    let text = MODEL.replace("symbol, price\n", "symbol, price::text as price\n");
    assert_eq!(
        outcome(&mut bench, 1, &text).await,
        "models/price.sql:6: the query yields `price` as `text`, and the contract has `double precision`"
    );
    let no_type = MODEL.replace("double precision check (price > 0)", "dubble");
    let mut fresh = Bench::with(kind, &[("models/price.sql", &no_type)]).await;
    assert_eq!(
        outcome(&mut fresh, 1, &no_type).await,
        "models/price.sql:6: type \"dubble\" does not exist"
    );
    let window = MODEL
        .replace(
            "[columns]",
            "write = \"window\"\nwindow = \"is_open\"\n[columns]\nis_open = \"boolean\"",
        )
        .replace("symbol, price\n", "symbol, price, true as is_open\n");
    let mut fresh = Bench::with(kind, &[("models/price.sql", &window)]).await;
    assert_eq!(
        outcome(&mut fresh, 1, &window).await,
        "models/price.sql:7: `is_open` cannot be a window: function min(boolean) does not exist"
    );
}

async fn a_table_that_is_not_ours_is_left_alone(kind: Kind) {
    let mut bench = Bench::new(kind).await;
    let mut session = bench.warehouse.session("test").await.unwrap();
    session.client().batch_execute("create table public.price (mine text)").await.unwrap();
    drop(session);
    assert_eq!(
        outcome(&mut bench, 1, MODEL).await,
        "models/price.sql: the table `price` exists and is not daymark's"
    );
    assert!(bench.rows_of("select mine from price").await.is_empty());
}

async fn a_new_nullable_column_is_added_and_other_changes_are_refused(kind: Kind) {
    let mut bench = Bench::new(kind).await;
    assert_eq!(outcome(&mut bench, 1, MODEL).await, "published");
    let wider = MODEL
        .replace(
            "price = \"double precision check (price > 0)\"",
            "price = \"double precision check (price > 0)\"\ntwice = \"double precision\"",
        )
        .replace("symbol, price\n", "symbol, price, price * 2 as twice\n");
    assert_eq!(outcome(&mut bench, 2, &wider).await, "published");
    assert_eq!(bench.rows_of("select symbol, twice from price").await, [r#"["A",2.0]"#]);
    assert_eq!(
        outcome(&mut bench, 3, MODEL).await,
        "models/price.sql:4: the table `price` has the column `twice`, which the contract lacks: the values of \
         `twice` in 1 row are lost"
    );
    let retyped = wider.replace("twice = \"double precision\"", "twice = \"integer\"");
    assert_eq!(
        outcome(&mut bench, 4, &retyped).await,
        "models/price.sql:7: the column `twice` changed from `double precision` to `integer`: 1 row to be \
         written anew, none loses a value"
    );
}

const CONTRACT: &str = r#"price = "double precision check (price > 0)""#;

/// The needs of every change that a model brings, and the changes made with a mode.
async fn prepare(bench: &mut Bench, model: &str, mode: Mode) -> (Vec<Needs>, Vec<String>) {
    bench.change("models/price.sql", model);
    let mut session = bench.warehouse.session("test").await.unwrap();
    let prepared = contract::prepare(&mut session, &bench.plan, mode).await.unwrap();
    let refused = prepared.refused.sources.values().map(ToString::to_string).collect();
    (prepared.changes.iter().map(|change| change.needs).collect(), refused)
}

async fn a_plan_says_what_each_change_needs_and_applies_what_it_may(kind: Kind) {
    let mut bench = Bench::with(kind, &[("marts/seen.sql", "select price from price")]).await;
    assert_eq!(outcome(&mut bench, 1, MODEL).await, "published");
    assert_eq!(prepare(&mut bench, MODEL, Mode::Show).await, (vec![], vec![]));
    let indexed = MODEL
        .replace(CONTRACT, r#"price = { definition = "double precision", comment = "it's dear" }"#)
        .replace("*/", "[[indexes]]\ncolumns = [\"price\"]\nwhere = \"price > 1\"\n*/");
    let (needs, _) = prepare(&mut bench, &indexed, Mode::Show).await;
    assert_eq!(needs, [Needs::Apply, Needs::Nothing, Needs::Nothing]);
    let apply = Mode::Apply { allow_data_loss: false };
    assert_eq!(prepare(&mut bench, &indexed, apply).await.1, Vec::<String>::new());
    assert_eq!(prepare(&mut bench, &indexed, Mode::Show).await, (vec![], vec![]));
    assert_eq!(bench.rows_of("select price from seen").await, ["[1.0]"]);

    // The column becomes another type under the mart that reads it, then loses what it holds.
    let halves = r#"[{"symbol": "A", "price": 1.5}]"#;
    let key = bench.fetch(2, halves);
    bench.publish(&[&key]).await;
    let whole = MODEL
        .replace(CONTRACT, "price = \"integer\"")
        .replace(", price\n", ", price::int as price\n");
    assert_eq!(prepare(&mut bench, &whole, Mode::Show).await.0, [Needs::DataLoss, Needs::Apply]);
    assert_eq!(prepare(&mut bench, &whole, apply).await.1.len(), 1);
    assert_eq!(bench.rows_of("select price from seen").await, ["[1.5]"]);
    let lose = Mode::Apply { allow_data_loss: true };
    assert_eq!(prepare(&mut bench, &whole, lose).await.1, Vec::<String>::new());
    assert_eq!(bench.rows_of("select price from seen").await, ["[2]"]);
}

async fn a_history_follows_its_table(kind: Kind) {
    let kept = MODEL.replace("[columns]", "history = true\n[columns]");
    let mut bench = Bench::with(kind, &[("models/price.sql", &kept)]).await;
    assert_eq!(outcome(&mut bench, 1, &kept).await, "published");
    assert_eq!(prepare(&mut bench, &kept, Mode::Show).await, (vec![], vec![]));
    // A named constraint comes with its column, and once.
    let wider = kept
        .replace(
            CONTRACT,
            &format!("{CONTRACT}\ntwice = \"integer constraint even check (twice > 1)\""),
        )
        .replace("symbol, price\n", "symbol, price, (price * 2)::int as twice\n");
    let both = vec![Needs::Nothing, Needs::Nothing];
    assert_eq!(prepare(&mut bench, &wider, Mode::Show).await, (both, vec![]));
    assert_eq!(outcome(&mut bench, 2, &wider).await, "published");
    assert_eq!(prepare(&mut bench, &wider, Mode::Show).await, (vec![], vec![]));
    let columns = "select attname::text, format_type(atttypid, atttypmod) from pg_attribute
                   where attrelid = 'price_history'::regclass and attnum > 0 and attname !~ '^_'
                         and not attisdropped order by attname";
    let with_twice = |as_type: &str| {
        [
            r#"["price","double precision"]"#.to_owned(),
            r#"["symbol","text"]"#.to_owned(),
            format!(r#"["twice","{as_type}"]"#),
        ]
    };
    assert_eq!(bench.rows_of(columns).await, with_twice("integer"));
    let retyped = wider
        .replace("integer constraint even check (twice > 1)", "bigint")
        .replace("::int as", "::bigint as");
    let (needs, _) = prepare(&mut bench, &retyped, Mode::Show).await;
    assert_eq!(needs, [Needs::Apply, Needs::Apply, Needs::Apply]);
    let apply = Mode::Apply { allow_data_loss: false };
    assert_eq!(prepare(&mut bench, &retyped, apply).await.1, Vec::<String>::new());
    assert_eq!(bench.rows_of(columns).await, with_twice("bigint"));
    // What it had been is lost with the history's column as with the table's.
    assert_eq!(prepare(&mut bench, &kept, Mode::Show).await.0, [Needs::DataLoss, Needs::DataLoss]);
    let lose = Mode::Apply { allow_data_loss: true };
    assert_eq!(prepare(&mut bench, &kept, lose).await.1, Vec::<String>::new());
    assert_eq!(bench.rows_of(columns).await, with_twice("")[..2]);
    assert_eq!(prepare(&mut bench, &kept, Mode::Show).await, (vec![], vec![]));
    assert_eq!(outcome(&mut bench, 3, &kept).await, "published");
}

async fn what_write_and_settled_need_is_added_and_a_key_is_asked_first(kind: Kind) {
    let mut bench = Bench::new(kind).await;
    let two = r#"[{"symbol": "A", "price": 1}, {"symbol": "B", "price": 1}]"#;
    let key = bench.fetch(1, two);
    bench.publish(&[&key]).await;
    let more = "write = \"snapshot\"\nsettled = \"price > 0\"\n[columns]";
    let snapshot = MODEL.replace("[columns]", more);
    let (needs, refused) = prepare(&mut bench, &snapshot, Mode::Run).await;
    assert_eq!((needs, refused), (vec![Needs::Nothing, Needs::Nothing], vec![]));
    let system = "select symbol, _settled, _entity from price order by symbol";
    assert_eq!(bench.rows_of(system).await, [r#"["A",true,""]"#, r#"["B",true,""]"#]);
    // They stay when nothing needs them any more, and a fetch goes on.
    assert_eq!(outcome(&mut bench, 2, MODEL).await, "published");

    let append = MODEL.replace("[columns]", "write = \"append\"\n[columns]");
    assert_eq!(
        outcome(&mut bench, 3, &append).await,
        "models/price.sql:5: `write` changed from `upsert` to `append`: its rows have other keys, so give the \
         model a new table name"
    );
    let by_price = MODEL.replace("[\"symbol\"]", "[\"price\"]");
    let (needs, _) = prepare(&mut bench, &by_price, Mode::Show).await;
    assert_eq!(needs, [Needs::Apply, Needs::Apply, Needs::OtherRows]);
    let by_both = MODEL.replace("[\"symbol\"]", "[\"symbol\", \"price\"]");
    let apply = Mode::Apply { allow_data_loss: false };
    assert_eq!(prepare(&mut bench, &by_both, apply).await.1, Vec::<String>::new());
    assert_eq!(prepare(&mut bench, &by_both, Mode::Show).await, (vec![], vec![]));
}

async fn a_row_waits_for_the_row_it_refers_to(kind: Kind) {
    // Made before the table whose name comes first, and written in one publish with it.
    let parent = MODEL
        .replace("\"price\"\nkey", "\"share\"\nkey")
        .replace(CONTRACT, "price = \"double precision\"")
        .replace("from raw_prices", "from raw_prices where price < 10");
    let child = MODEL
        .replace("text not null", "text not null references share")
        .replace("from raw_prices", "from raw_prices where price > 1");
    let files = [("models/a_share.sql", parent.as_str()), ("models/price.sql", child.as_str())];
    let mut bench = Bench::with(kind, &files).await;
    let early = bench.fetch(1, r#"[{"symbol": "A", "price": 20}]"#);
    let result = bench.publish(&[&early]).await.fetches.remove(&early);
    assert!(matches!(result, Some(FetchResult::Postponed(_))), "{result:?}");
    let late = bench.fetch(2, r#"[{"symbol": "A", "price": 5}]"#);
    let report = bench.publish(&[&early, &late]).await;
    assert!(report.fetches.values().all(|result| *result == FetchResult::Published));
    assert_eq!(bench.rows_of("select symbol, price from price").await, [r#"["A",5.0]"#]);
    assert_eq!(prepare(&mut bench, &child, Mode::Show).await, (vec![], vec![]));
}

async fn what_was_changed_by_hand_is_seen(kind: Kind) {
    let mut bench = Bench::new(kind).await;
    assert_eq!(outcome(&mut bench, 1, MODEL).await, "published");
    let mut session = bench.warehouse.session("test").await.unwrap();
    let by_hand = "alter table public.price drop constraint price_price_check, add column mine text; \
                   create index mine on public.price (price)";
    session.client().batch_execute(by_hand).await.unwrap();
    drop(session);
    // The check comes back with a yes; the index and the column are somebody's own.
    assert_eq!(prepare(&mut bench, MODEL, Mode::Show).await.0, [Needs::Apply]);
}

async fn marts_are_views_that_follow_their_files(kind: Kind) {
    let files = [
        // Made after what it reads, whatever the names' order.
        (
            "marts/a_sum.sql",
            "/* mart\ndescription = \"it's a sum\"\n*/\nselect sum(price) as total from b_double",
        ),
        ("marts/b_double.sql", "select symbol, price * 2 as price from price"),
    ];
    let mut bench = Bench::with(kind, &files).await;
    let key = bench.fetch(1, ROW);
    assert!(bench.publish(&[&key]).await.refused.marts.is_empty());
    assert_eq!(bench.rows_of("select total from a_sum").await, ["[2.0]"]);
    bench.change("marts/b_double.sql", "select price * 3 as price, symbol from price");
    bench.publish(&[]).await;
    assert_eq!(bench.rows_of("select total from a_sum").await, ["[3.0]"]);
    bench.change("marts/b_double.sql", "select symbol,\n  prise\nfrom price");
    let failures = bench.publish(&[]).await.refused.marts;
    assert_eq!(failures[0].to_string(), "marts/b_double.sql:2: column \"prise\" does not exist");
    assert_eq!(failures.len(), 2, "what reads it cannot be made either: {failures:?}");
}

async fn another_pipelines_database_is_refused(kind: Kind) {
    let bench = Bench::new(kind).await;
    let mut plan = (*bench.plan).clone();
    "other".clone_into(&mut plan.name);
    let refused = daymark_warehouse::Warehouse::open(&plan).await.unwrap_err().to_string();
    assert!(refused.ends_with("holds the pipeline `bench`, not `other`"), "{refused}");
}
