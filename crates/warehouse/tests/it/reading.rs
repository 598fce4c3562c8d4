//! Reading: types as values, read-only, and the one session of the embedded database shared.

use daymark_testkit::database::Kind;
use daymark_testkit::on_both_databases;
use daymark_warehouse::{DayState, ReadQuery, Warehouse};

use crate::bench::{Bench, day};

on_both_databases! {
    values_come_as_they_are;
    writing_is_refused_and_an_error_leaves_the_other_queries_alone;
    several_users_take_turns;
    days_without_an_attempt_are_missing_expected_or_holidays;
}

async fn values_come_as_they_are(kind: Kind) {
    let bench = Bench::new(kind).await;
    let sql = "select true, 7::smallint, 7, 9007199254740993::bigint, 0.1::real, 0.1::float8, \
               12.30::numeric(10,2), -0.00012::numeric, 1234567890.5::numeric, 12345678901234567890.123::numeric, \
               date '2026-03-08', timestamp '2026-03-08 02:30', timestamptz '2026-03-08 02:30+00', \
               time '08:00', 'text', null::date, '{\"a\": 1}'::jsonb, 'NaN'::float8, 'NaN'::numeric, \
               array['a', null], '0190a0e0-0000-7000-8000-000000000000'::uuid, 'b'::name";
    assert_eq!(
        bench.rows_of(sql).await,
        [concat!(
            r#"[true,7,7,9007199254740993,0.1,0.1,12.3,-0.00012,1234567890.5,"12345678901234567890.123","#,
            r#""2026-03-08","2026-03-08T02:30:00","2026-03-08T02:30:00Z","08:00:00","text",null,{"a":1},"NaN","NaN","#,
            r#"["a",null],"0190a0e0-0000-7000-8000-000000000000","b"]"#
        )]
    );
}

async fn writing_is_refused_and_an_error_leaves_the_other_queries_alone(kind: Kind) {
    let bench = Bench::new(kind).await;
    let query = |sql: &str| ReadQuery { sql: sql.to_owned(), params: Vec::new() };
    let queries = [
        query("create table t ()"),
        query("select 1 as one,\n  oen"),
        ReadQuery { sql: "select $1::date + 1 as next".to_owned(), params: vec![day()] },
        query("select $1::date"),
    ];
    let results = bench.reader().queries(&queries).await.unwrap();
    let failed = |index: usize| results[index].as_ref().unwrap_err();
    assert_eq!(failed(0).message, "cannot execute CREATE TABLE in a read-only transaction");
    assert_eq!(failed(1).message, "column \"oen\" does not exist");
    assert_eq!(failed(1).line, Some(2));
    assert_eq!(results[2].as_ref().unwrap().rows, [["2026-03-03"]]);
    assert_eq!(failed(3).message, "the query has 1 parameters; 0 are given");
}

async fn several_users_take_turns(kind: Kind) {
    let bench = Bench::new(kind).await;
    // A second handle on the same database: on the embedded one, a guest of the first.
    let other = Warehouse::open(&bench.plan).await.unwrap();
    let users = [bench.warehouse.clone(), other.clone(), bench.warehouse.clone(), other.clone()];
    let asked = users.map(|warehouse| {
        tokio::spawn(async move {
            for _ in 0..3 {
                let mut session = warehouse.session("test").await.unwrap();
                session.client().query_one("select 1", &[]).await.unwrap();
            }
        })
    });
    for task in asked {
        task.await.unwrap();
    }
    other.close().await;
}

async fn days_without_an_attempt_are_missing_expected_or_holidays(kind: Kind) {
    let weekdays = crate::bench::SOURCE
        .replace("[request]", "calendar = \"weekdays\"\nstart = \"2026-02-26\"\n[request]");
    let mut bench = Bench::with(kind, &[("sources/prices.toml", &weekdays)]).await;
    let key = bench.refused(1, "HTTP 500");
    bench.publish(&[&key]).await;
    let to = day().saturating_add(jiff::ToSpan::days(1));
    let days = bench.reader().days(&bench.plan, jiff::civil::date(2026, 2, 1), to).await.unwrap();
    let found: Vec<(String, DayState)> =
        days[0].days.iter().map(|day| (day.date.to_string(), day.state)).collect();
    let expected = [
        ("2026-02-26", DayState::Missing),
        ("2026-02-27", DayState::Missing),
        ("2026-02-28", DayState::Holiday),
        ("2026-03-01", DayState::Holiday),
        ("2026-03-02", DayState::Failed),
        ("2026-03-03", DayState::Expected),
    ];
    assert_eq!(found, expected.map(|(date, state)| (date.to_owned(), state)));
}
