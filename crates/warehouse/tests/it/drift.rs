//! What sources change about the shape of their responses: told once, quiet, and held back where `[schema]`
//! says so, whatever the order and after the loss of the database.

use daymark_extract::{Mapped, outline};
use daymark_testkit::database::Kind;
use daymark_testkit::on_both_databases;
use daymark_warehouse::publish::{
    Answer, CheckOutcome, FetchPath, FetchResult, Report, Shapes, Verdict,
};

use crate::bench::{Bench, SOURCE, at};
use crate::checks::rebuild;

on_both_databases! {
    what_is_new_missing_or_changed_is_told_once;
    what_says_nothing_is_not_told;
    a_name_that_postgres_does_not_take_is_told_in_other_words;
    a_fetch_with_a_new_field_is_held_back_until_it_is_released;
    a_field_of_another_type_is_held_back_where_it_is_read;
    a_rebuild_that_asks_again_obeys_what_was_held_back_until_the_rules_change;
}

/// Has the fetch know the shape of its response, as its manifest would.
pub(crate) fn shaped(bench: &mut Bench, minute: i64, json: &str) -> String {
    let key = bench.fetch(minute, json);
    let rows = &bench.plan.sources[0].rows;
    let mapped = Mapped::of(rows);
    let outline = outline(rows, json.as_bytes(), true).told(str::to_owned);
    let paths = outline.entries().map(|(path, types, example)| FetchPath {
        path: path.to_owned(),
        types: types.into_iter().map(str::to_owned).collect(),
        example: example.map(str::to_owned),
        is_mapped: mapped.reads(path),
    });
    bench.pending(&key).shape = Some(Shapes::default().keep(outline.cut, paths));
    key
}

pub(crate) fn said(report: &Report) -> Vec<String> {
    report.drifts.iter().map(ToString::to_string).collect()
}

/// Publishes fetches of their own, one after the other.
async fn learn(bench: &mut Bench, json: &str, minutes: std::ops::Range<i64>) {
    for minute in minutes {
        let key = shaped(bench, minute, json);
        assert_eq!(said(&bench.publish(&[&key]).await), Vec::<String>::new(), "{json}");
    }
}

/// A member's name may have U+0000, and PostgreSQL's text may not.
async fn a_name_that_postgres_does_not_take_is_told_in_other_words(kind: Kind) {
    let mut bench = Bench::new(kind).await;
    learn(&mut bench, PLAIN, 1..6).await;
    let key =
        shaped(&mut bench, 6, r#"[{"symbol": "A", "price": 1, "note": "x", "z\u0000": "\u0000"}]"#);
    let report = bench.publish(&[&key]).await;
    assert_eq!(report.fetches[&key], daymark_warehouse::publish::FetchResult::Published);
    assert_eq!(said(&report), [r#"`$[*]['z\u0000']` is new (string, such as "\u0000")"#]);
}

const PLAIN: &str = r#"[{"symbol": "A", "price": 1, "note": "x"}]"#;

async fn what_is_new_missing_or_changed_is_told_once(kind: Kind) {
    let mut bench = Bench::new(kind).await;
    learn(&mut bench, PLAIN, 1..6).await;
    // A new object is one thing, however much stands in it.
    let new = r#"[{"symbol": "A", "price": 2, "note": "x", "more": {"a": 1, "b": [2]}}]"#;
    let (one, two) = (shaped(&mut bench, 6, new), shaped(&mut bench, 7, new));
    let report = bench.publish(&[&one, &two]).await;
    assert_eq!(said(&report), ["`$[*].more` is new (object)"]);
    learn(&mut bench, new, 8..9).await;
    let changed = r#"[{"symbol": "A", "price": "3", "note": 4, "more": {"a": 1, "b": [2]}}]"#;
    let key = shaped(&mut bench, 9, changed);
    let report = bench.publish(&[&key]).await;
    assert_eq!(
        said(&report),
        [
            "`$[*].note` became number, it was string, such as 4",
            "`$[*].price`, which `[rows]` reads, became string, it was number, such as \"3\""
        ]
    );
    // Both types are known from then on.
    learn(&mut bench, changed, 10..11).await;
    learn(&mut bench, new, 11..12).await;
    let missing = r#"[{"symbol": "A", "price": 4}]"#;
    let key = shaped(&mut bench, 12, missing);
    let report = bench.publish(&[&key]).await;
    assert_eq!(said(&report), ["`$[*].more` is missing", "`$[*].note` is missing"]);
    // What went once is optional.
    learn(&mut bench, new, 13..14).await;
    learn(&mut bench, missing, 14..15).await;
    let kept = bench
        .rows_of("select kind, path, publish_id is not null, example from daymark.drift order by drift_id")
        .await;
    assert_eq!(
        kept,
        [
            r#"["new","$[*].more",true,null]"#,
            r#"["changed","$[*].note",true,"4"]"#,
            r#"["changed","$[*].price",true,"\"3\""]"#,
            r#"["missing","$[*].more",true,null]"#,
            r#"["missing","$[*].note",true,null]"#,
        ]
    );
    let seen = bench.reader().drift_seen(crate::bench::day(), crate::bench::day()).await.unwrap();
    assert_eq!(
        seen[1].to_string(),
        "prices 2026-03-02 changed field `$[*].note`: number, was string, such as `4`"
    );
}

async fn what_says_nothing_is_not_told(kind: Kind) {
    let mut bench = Bench::new(kind).await;
    let first = r#"[{"symbol": "A", "price": null, "tags": [], "at": {}, "note": null}]"#;
    learn(&mut bench, first, 1..6).await;
    for (minute, json) in [
        // Null becomes a value and a value null; an empty array and object fill, and are empty again.
        r#"[{"symbol": "A", "price": 1, "tags": ["x"], "at": {"2026-03-02": 1}, "note": {"a": 1}}]"#,
        r#"[{"symbol": "A", "price": null, "tags": null, "at": {"2026-03-03": 2}, "note": null}]"#,
        first,
        // No rows at all.
        "[]",
        first,
    ]
    .into_iter()
    .enumerate()
    {
        let minute = 6 + i64::try_from(minute).unwrap();
        learn(&mut bench, json, minute..minute + 1).await;
    }
}

async fn a_fetch_with_a_new_field_is_held_back_until_it_is_released(kind: Kind) {
    let mut bench = Bench::new(kind).await;
    let source = format!("{SOURCE}[schema]\non_new_field = \"fail\"\n");
    bench.change("sources/prices.toml", &source);
    learn(&mut bench, PLAIN, 1..3).await;
    let new = PLAIN.replace('}', ", \"extra\": true}").replace("\"price\": 1", "\"price\": 5");
    let held = shaped(&mut bench, 3, &new);
    let report = bench.publish(&[&held]).await;
    let reason = "sources/prices.toml: the shape of the response changed ([schema] on_new_field = \"fail\"): \
                  `$[*].extra` is new (boolean, such as true)";
    assert_eq!(report.fetches[&held], FetchResult::Quarantined(reason.to_owned()));
    assert_eq!(bench.prices().await, ["[\"A\",1.0]"]);
    let failed: Vec<CheckOutcome> = report.checks.iter().map(|check| check.outcome).collect();
    assert_eq!(failed, [CheckOutcome::Failed]);
    // What comes after it without the field is published.
    learn(&mut bench, PLAIN, 4..5).await;
    // The verdict outlives the database, where nothing was published before that the field could be new to.
    let all: Vec<String> =
        [1, 2, 3, 4].map(|minute| format!("manifests/prices/{minute:06}")).into();
    bench.wipe().await;
    let report = bench.publish(&all.iter().collect::<Vec<_>>()).await;
    assert_eq!(report.fetches[&held], FetchResult::Quarantined(reason.to_owned()));
    assert_eq!(bench.prices().await, ["[\"A\",1.0]"]);
    // A person lets it through.
    let fetch_id = bench.pending(&held).fetch_id;
    let released = Verdict {
        answer: Answer::Released,
        by: "me".to_owned(),
        why: Some("it is fine".to_owned()),
        at: at(9),
        ..bench.verdicts.lock().unwrap()[&fetch_id][0].clone()
    };
    bench.verdicts.lock().unwrap().entry(fetch_id).or_default().push(released);
    bench.wipe().await;
    let report = bench.publish(&all.iter().collect::<Vec<_>>()).await;
    assert_eq!(report.fetches[&held], FetchResult::Published);
    // It is known now.
    let again = shaped(&mut bench, 6, &new);
    let report = bench.publish(&[&again]).await;
    assert_eq!(report.fetches[&again], FetchResult::Published);
    assert_eq!(bench.prices().await, ["[\"A\",5.0]"]);
}

async fn a_field_of_another_type_is_held_back_where_it_is_read(kind: Kind) {
    let mut bench = Bench::new(kind).await;
    learn(&mut bench, PLAIN, 1..3).await;
    let price = PLAIN.replace("\"price\": 1", "\"price\": \"2\"");
    let note = PLAIN.replace("\"x\"", "7").replace("\"price\": 1", "\"price\": 3");
    let source = format!("{SOURCE}[schema]\non_type_change = \"fail\"\n");
    bench.change("sources/prices.toml", &source);
    // What no field reads holds nothing back.
    let other = shaped(&mut bench, 3, &note);
    let report = bench.publish(&[&other]).await;
    assert_eq!(report.fetches[&other], FetchResult::Published);
    assert_eq!(said(&report), ["`$[*].note` became number, it was string, such as 7"]);
    let held = shaped(&mut bench, 4, &price);
    let report = bench.publish(&[&held]).await;
    let reason = "sources/prices.toml: the shape of the response changed ([schema] on_type_change = \"fail\"): \
                  `$[*].price`, which `[rows]` reads, became string, it was number, such as \"2\"";
    assert_eq!(report.fetches[&held], FetchResult::Quarantined(reason.to_owned()));
    // A new field is none of another type, and the type that was held back is not known by it.
    let new = PLAIN.replace('}', ", \"extra\": true}");
    let (new, again) = (shaped(&mut bench, 5, &new), shaped(&mut bench, 6, &price));
    let report = bench.publish(&[&new, &again]).await;
    assert_eq!(report.fetches[&new], FetchResult::Published);
    assert_eq!(report.fetches[&again], FetchResult::Quarantined(reason.to_owned()));
    assert_eq!(bench.prices().await, ["[\"A\",1.0]"]);
    // Without the rule it is told, and published.
    bench.change("sources/prices.toml", SOURCE);
    let taken = shaped(&mut bench, 7, &price);
    let report = bench.publish(&[&taken]).await;
    assert_eq!(report.fetches[&taken], FetchResult::Published);
    assert_eq!(report.drifts.len(), 1, "{:?}", said(&report));
    assert_eq!(bench.prices().await, ["[\"A\",2.0]"]);
}

async fn a_rebuild_that_asks_again_obeys_what_was_held_back_until_the_rules_change(kind: Kind) {
    let mut bench = Bench::new(kind).await;
    let source = format!("{SOURCE}[schema]\non_new_field = \"fail\"\n");
    bench.change("sources/prices.toml", &source);
    learn(&mut bench, PLAIN, 1..3).await;
    let new = PLAIN.replace('}', ", \"extra\": true}").replace("\"price\": 1", "\"price\": 5");
    let held = shaped(&mut bench, 3, &new);
    let report = bench.publish(&[&held]).await;
    assert!(matches!(report.fetches[&held], FetchResult::Quarantined(_)));
    let states = "select state, reason is not null, publish_id is not null from daymark.fetch \
                  order by manifest_key desc limit 1";
    let days = "select state, reason is not null from daymark.day";
    for recheck in [false, true] {
        assert!(rebuild(&bench, true, recheck).await.is_equal(), "recheck: {recheck}");
        rebuild(&bench, false, recheck).await;
        assert_eq!(bench.prices().await, ["[\"A\",1.0]"]);
        assert_eq!(bench.rows_of(states).await, [r#"["quarantined",true,false]"#]);
    }
    // Asked under other rules it is published.
    bench.change("sources/prices.toml", SOURCE);
    assert_eq!(rebuild(&bench, true, true).await.different, 1);
    assert_eq!(rebuild(&bench, false, true).await.different, 1);
    assert_eq!(bench.prices().await, ["[\"A\",5.0]"]);
    assert_eq!(bench.rows_of(states).await, [r#"["published",false,true]"#]);
    assert_eq!(bench.rows_of(days).await, [r#"["published",false]"#]);
    assert!(rebuild(&bench, true, false).await.is_equal());
}
