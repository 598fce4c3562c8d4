//! Columns, keys and tables may have any name: those of our own statements' relations, those of the ledger's
//! columns, and SQL's own words. A relation's name means its row as a whole, unless it has a column of that
//! name.

use daymark_testkit::database::Kind;
use daymark_testkit::on_both_databases;
use daymark_warehouse::publish::{CheckOutcome, FetchResult, Rebuilt};

use crate::bench::{Bench, SOURCE, at};
use crate::checks::rebuild_all;

on_both_databases! {
    any_name_is_a_column_of_an_upsert;
    any_name_is_a_column_of_a_window;
    any_name_is_a_column_of_a_snapshot;
    any_name_is_a_column_of_an_append;
    any_name_is_a_column_of_a_large_publish;
    any_name_is_a_column_of_a_mart;
}

/// What our statements call their relations, what the ledger calls its columns, and words of SQL.
const NAMES: [&str; 62] = [
    "published",
    "staged",
    "newest",
    "gone",
    "covers",
    "said",
    "noted",
    "made",
    "was",
    "is_now",
    "differing",
    "history",
    "cut",
    "seen",
    "word",
    "before",
    "runs",
    "told",
    "value",
    "last",
    "first",
    "mine",
    "theirs",
    "others",
    "twice",
    "model",
    "tail",
    "one",
    "kept",
    "offending",
    "staged_row",
    "old",
    "new",
    "excluded",
    "row",
    "order",
    "select",
    "table",
    "name",
    "kind",
    "key",
    "path",
    "state",
    "reason",
    "data_date",
    "fetch_id",
    "fetched_at",
    "manifest_key",
    "source_id",
    "publish_id",
    "run_id",
    "code_hash",
    "publish",
    "run",
    "restatement",
    "current",
    "date",
    "from",
    "group",
    "values",
    "as",
    "shown",
];

/// The definition of a column and what it is made of, in turn: values that are compared as such, and values
/// of which only their images tell.
fn column(at: usize) -> (&'static str, &'static str) {
    [
        ("numeric(8, 2)", "price::numeric(8, 2)"),
        ("double precision", "price"),
        ("text", "price::text"),
        ("jsonb", "to_jsonb(price)"),
        ("integer", "price::integer"),
        ("text[]", "array[price::text]"),
    ][at % 6]
}

/// A model of a table `order`, whose key has such names as well.
fn model(more: &str, checks: &str) -> String {
    let definitions: Vec<String> = NAMES
        .iter()
        .enumerate()
        .map(|(at, name)| format!("{name} = \"{}\"\n", column(at).0))
        .collect();
    let values: Vec<String> = NAMES
        .iter()
        .enumerate()
        .map(|(at, name)| format!(", {} as \"{name}\"", column(at).1))
        .collect();
    format!(
        "/* model\ntable = \"order\"\nkey = [\"user\", \"image\", \"entity\"]\n{more}\n\
         [columns]\nuser = \"text not null\"\nimage = \"integer not null\"\nentity = \"text not null\"\n\
         {}{checks}\n*/\n\
         select _fetch_id, _fetch_row, symbol as \"user\", day as image, 'e' as entity{}\nfrom raw_prices\n",
        definitions.concat(),
        values.concat(),
    )
}

const CHECKS: &str = r#"
[[checks]]
name = "no price of 9"
severity = "reject"
sql = 'select * from staged where "row" = 9'

[[checks]]
name = "no price of 8"
severity = "reject"
range = { column = "covers", max = 7.5 }

[[checks]]
name = "nothing moves"
severity = "warn"
sql = 'select * from staged_beside_published where "row" <> published_row'

[[checks]]
name = "no jump"
severity = "warn"
max_change = { column = "published", ratio = 0.1 }
"#;

async fn bench(kind: Kind, model: &str) -> Bench {
    let source = SOURCE
        .replace("price = { path", "day = { path = \"day\", type = \"integer\" }\nprice = { path");
    let mut bench = Bench::new(kind).await;
    bench.change("sources/prices.toml", &source);
    bench.change("models/order.sql", model);
    std::fs::remove_file(bench.folder.path().join("models/price.sql")).unwrap();
    bench.change("models/order.sql", model);
    bench
}

/// Rows of days, each with its price.
fn json(rows: &[(i32, i32)]) -> String {
    let rows: Vec<String> = rows
        .iter()
        .map(|(day, price)| format!(r#"{{"symbol": "A", "day": {day}, "price": {price}}}"#))
        .collect();
    format!("[{}]", rows.join(","))
}

async fn any_name_is_a_column_of_an_upsert(kind: Kind) {
    lives(kind, "history = true").await;
}

async fn any_name_is_a_column_of_a_window(kind: Kind) {
    lives(kind, "history = true\nwrite = \"window\"\nwindow = \"image\"").await;
}

async fn any_name_is_a_column_of_a_snapshot(kind: Kind) {
    lives(kind, "write = \"snapshot\"\nsettled = '\"row\" < 100'").await;
}

async fn any_name_is_a_column_of_an_append(kind: Kind) {
    lives(kind, "write = \"append\"").await;
}

/// A table that is published, restated, set aside from, asked and made again.
async fn lives(kind: Kind, more: &str) {
    let deletes = more.contains("window") || more.contains("snapshot");
    let mut bench = bench(kind, &model(more, CHECKS)).await;
    let fetches = [
        json(&[(1, 1), (2, 2), (3, 3)]),
        // One changes, one goes, one stays.
        json(&[(1, 5), (3, 3)]),
        // One comes back; nothing else.
        json(&[(1, 5), (2, 2), (3, 3)]),
        // Two are set aside.
        json(&[(1, 5), (2, 9), (3, 8)]),
    ];
    let mut outcomes = Vec::new();
    for (minute, said) in (1..).zip(&fetches) {
        let key = bench.fetch(minute, said);
        let report = bench.publish(&[&key]).await;
        assert_eq!(report.fetches[&key], FetchResult::Published, "{more}");
        outcomes.extend(report.checks.into_iter().filter(|c| c.outcome == CheckOutcome::Failed));
    }
    let found: Vec<(&str, i64)> =
        outcomes.iter().map(|check| (check.check.as_str(), check.failing)).collect();
    assert_eq!(
        found,
        [("nothing moves", 1), ("no jump", 1), ("no price of 9", 1), ("no price of 8", 1)],
        "{more}"
    );
    // Samples and rows that are set aside are whole rows.
    for check in &outcomes[2..] {
        let sample = check.sample[0].as_object().unwrap();
        assert!(NAMES.iter().all(|name| sample.contains_key(*name)), "{sample:?}");
    }
    let whole = NAMES.len() + 3;
    let rejected =
        "select distinct (select count(*) from jsonb_object_keys(value)) from daymark.reject";
    assert_eq!(bench.rows_of(rejected).await, [format!("[{whole}]")]);

    let prices = "select image, \"row\", published::text, staged, newest from \"order\" order by 1";
    assert_eq!(
        bench.rows_of(prices).await,
        [r#"[1,5,"5.00",5.0,"5"]"#, r#"[2,2,"2.00",2.0,"2"]"#, r#"[3,3,"3.00",3.0,"3"]"#,]
    );

    // Each column is told by itself, a row that goes and comes back as a whole.
    let changed = "select count(distinct column_name), count(*), min(key ->> 'image') \
                   from daymark.restatement where kind = 'changed'";
    let names = NAMES.len();
    assert_eq!(bench.rows_of(changed).await, [format!("[{names},{names},\"1\"]")], "{more}");
    let wholes = "select kind, (select count(*) from jsonb_object_keys(coalesce(old_value, new_value))) \
                  from daymark.restatement where kind <> 'changed' order by restatement_id";
    let went = [format!("[\"deleted\",{whole}]"), format!("[\"returned\",{whole}]")];
    assert_eq!(bench.rows_of(wholes).await, if deletes { &went[..] } else { &[] }, "{more}");

    // A row is asked for, and the table as it was.
    let model = bench.plan.models[0].clone();
    let key = ["A", "1", "e"].map(str::to_owned);
    let origin = bench.reader().why(&model, &key, None).await.unwrap().unwrap();
    assert_eq!(origin.row.len(), whole);
    assert!(!origin.restatements.is_empty());
    if model.history {
        let plan = std::sync::Arc::clone(&bench.plan);
        let then = bench.reader().query_as_of(&plan, prices, at(1)).await.unwrap().unwrap();
        assert_eq!(then.rows.len(), 3);
        assert_eq!(serde_json::to_string(&then.rows[0]).unwrap(), "[1,1,\"1.00\",1.0,\"1\"]");
    }

    // It is what the raw store gives, and a value that is not is found and mended, whatever its column.
    assert!(rebuild_all(&bench, true).await.values().all(Rebuilt::is_equal), "{more}");
    for spoil in ["published = 7", "staged = 7", "\"row\" = 7", "\"values\" = null", "shown = null"]
    {
        let mut session = bench.warehouse.session("test").await.unwrap();
        let spoil = format!("update \"order\" set {spoil} where image = 1");
        session.client().batch_execute(&spoil).await.unwrap();
        drop(session);
        let found = rebuild_all(&bench, true).await["order"].clone();
        assert_eq!((found.different, found.missing, found.extra), (1, 0, 0), "{spoil}");
        assert!(found.keys[0].starts_with("(A,1,e"), "{:?}", found.keys);
        assert_eq!(rebuild_all(&bench, false).await["order"].different, 1, "{spoil}");
        assert!(rebuild_all(&bench, true).await.values().all(Rebuilt::is_equal), "{spoil}");
    }
    // All of it once more.
    let mut session = bench.warehouse.session("test").await.unwrap();
    session.client().batch_execute("delete from \"order\"").await.unwrap();
    drop(session);
    assert_eq!(rebuild_all(&bench, false).await["order"].missing, 3);
    assert_eq!(bench.rows_of(prices).await.len(), 3);
}

async fn any_name_is_a_column_of_a_large_publish(kind: Kind) {
    let checks = "[[checks]]\nname = \"some price\"\nnot_null = \"excluded\"\n";
    let mut bench = bench(kind, &model("settled = '\"row\" < 3'", checks)).await;
    let many = 1_000_000;
    for (minute, price, counts) in [(1, 1, (3, 0, 0)), (2, 1, (0, 0, 3)), (3, 2, (0, 1, 2))] {
        let key = bench.fetch(minute, &json(&[(1, price), (2, 2), (3, 3)]));
        bench.pending(&key).extracted = many;
        let report = bench.publish(&[&key]).await;
        assert_eq!(report.fetches[&key], FetchResult::Published);
        let table = &report.tables["order"];
        assert_eq!((table.inserted, table.updated, table.unchanged), counts, "{minute}");
    }
    assert!(rebuild_all(&bench, true).await["order"].is_equal());
}

async fn any_name_is_a_column_of_a_mart(kind: Kind) {
    let mart = |key: &str, of: &str| {
        format!(
            "/* mart\nmaterialized = \"table\"\n{key}*/\nselect \"user\", image, \"row\" as one, staged as kept, \
             price as made, entity as \"_text\", \"row\" + {of} as texts, published as _image from \"order\" \
             cross join (select 1 as price) as given"
        )
    };
    let mut bench = bench(kind, &model("", "")).await;
    for of in [0, 1] {
        bench.change("marts/keyed.sql", &mart("key = [\"user\", \"image\"]\n", &of.to_string()));
        bench.change("marts/unkeyed.sql", &mart("", &of.to_string()));
        let key = bench.fetch(1 + of, &json(&[(1, 1), (2, 2)]));
        let report = bench.publish(&[&key]).await;
        assert_eq!(report.fetches[&key], FetchResult::Published);
        for table in ["keyed", "unkeyed"] {
            let rows = format!("select image, texts, made from {table} order by 1");
            assert_eq!(
                bench.rows_of(&rows).await,
                [format!("[1,{},1]", 1 + of), format!("[2,{},1]", 2 + of)]
            );
        }
        let mut session = bench.warehouse.session("test").await.unwrap();
        let spoil = "update keyed set texts = 7 where image = 1; update unkeyed set texts = 7 where image = 1";
        session.client().batch_execute(spoil).await.unwrap();
        drop(session);
        let found = rebuild_all(&bench, true).await;
        assert_eq!(found["keyed"].different, 1);
        assert_eq!((found["unkeyed"].missing, found["unkeyed"].extra), (1, 1));
        rebuild_all(&bench, false).await;
        assert!(rebuild_all(&bench, true).await.values().all(Rebuilt::is_equal));
    }
}
