//! What monitoring counts: read on from what was read before, it is what all rows say.

use daymark_testkit::database::Kind;
use daymark_testkit::on_both_databases;
use daymark_warehouse::figures::{AlertFigures, Figures};

use crate::bench::Bench;

on_both_databases! {
    totals_that_are_read_on_are_those_of_all_rows;
    alerts_are_counted_where_there_are_any;
}

async fn sql(bench: &Bench, statement: &str) {
    let mut session = bench.warehouse.session("test").await.unwrap();
    session.client().batch_execute(statement).await.unwrap();
}

fn run(number: u32, started: &str, finished: Option<&str>) -> String {
    let (finished, outcome) = match finished {
        Some(at) => (format!("'2026-03-0{at}Z'"), "'succeeded'"),
        None => ("null".to_owned(), "null"),
    };
    format!(
        "insert into daymark.run (run_id, kind, started_at, finished_at, outcome, program_version)
         values ('00000000-0000-7000-8000-{number:012}', 'scheduled', '2026-03-0{started}Z', {finished}, {outcome}, '0');
         insert into daymark.attempt (run_id, fetch_id, source_id, data_date, page, number, at, waited_ms, duration_ms,
                                      bytes, outcome, error_kind)
         values ('00000000-0000-7000-8000-{number:012}', '00000000-0000-7000-9000-{number:012}', 'prices',
                 '2026-03-01', 1, 1, now(), 0, 250, 10, 'failed', 'timeout');
         insert into daymark.step (run_id, source_id, data_date, stage, started_at, ended_at, outcome)
         values ('00000000-0000-7000-8000-{number:012}', 'prices', '2026-03-01', 'publish', now(), now(), 'published');
         insert into daymark.fetch (manifest_key, fetch_id, source_id, data_date, fetched_at, state, code_hash, extracted, rejected)
         values ('{number:04}', '00000000-0000-7000-9000-{number:012}', 'prices', '2026-03-01', now(), 'failed', '', 3, 2);"
    )
}

fn publish(number: u32) -> String {
    format!(
        "insert into daymark.publish values ({number}, '00000000-0000-7000-8000-{number:012}', now());
         insert into daymark.publish_table (publish_id, table_name, staged, inserted, updated, unchanged, deleted)
         values ({number}, 'price', 9, 4, 3, 2, 1);
         insert into daymark.reject (fetch_id, manifest_key, source_id, data_date, table_name, check_name, value, reason, at)
         values ('00000000-0000-7000-9000-{number:012}', '', 'prices', '2026-03-01', 'price', 'a', '1', '', now());"
    )
}

fn fire(hour: u32, state: &str, missed: bool) -> String {
    format!(
        "insert into daymark.fire (source_id, scheduled_at, state, missed, decided_at, starts_at)
         values ('prices', '2026-03-01T{hour:02}:00Z', '{state}', {missed}, now(), now());"
    )
}

async fn totals_that_are_read_on_are_those_of_all_rows(kind: Kind) {
    let bench = Bench::new(kind).await;
    let reader = bench.reader();
    let mut figures: Option<Figures> = None;
    let finished = |number: u32, at: &str| {
        format!(
            "update daymark.run set finished_at = '2026-03-0{at}Z', outcome = 'failed' where run_id = '00000000-0000-7000-8000-{number:012}';"
        )
    };
    for (what, statements) in [
        ("nothing", String::new()),
        ("a run", run(1, "1T08:00", Some("1T08:01")) + &publish(1) + &fire(8, "done", false)),
        ("nothing more", String::new()),
        ("a run at work", run(2, "1T09:00", None) + &fire(9, "due", true)),
        ("a fire behind one that is open", fire(10, "no_op", true)),
        // It began before another that was counted already, and more than a day earlier.
        ("runs past it", run(3, "3T08:00", Some("3T08:01")) + &run(4, "3T08:02", Some("3T08:03"))),
        ("it ends", finished(2, "3T09:00") + &publish(2) + &publish(3)),
        ("a clock that is behind", run(5, "2T20:00", Some("2T20:01"))),
        (
            "its fire, too",
            "update daymark.fire set state = 'failed' where state = 'due'".to_owned(),
        ),
        ("and another", fire(11, "skipped", true)),
    ] {
        sql(&bench, &statements).await;
        let read_on = reader.figures(&bench.plan, figures.as_ref()).await.unwrap();
        let of_all = reader.figures(&bench.plan, None).await.unwrap();
        assert_eq!(read_on.totals, of_all.totals, "{what}");
        assert_eq!(read_on.sources, of_all.sources, "{what}");
        assert_eq!(read_on.last_publish, of_all.last_publish, "{what}");
        assert_eq!(
            (read_on.runs_open, read_on.fires_open),
            (of_all.runs_open, of_all.fires_open),
            "{what}"
        );
        figures = Some(read_on);
    }
    let totals = figures.unwrap().totals;
    let one = |name: &str| [name.to_owned()];
    let two = |one: &str, other: &str| [one.to_owned(), other.to_owned()];
    assert_eq!(totals.runs[&two("scheduled", "succeeded")], 4);
    assert_eq!(totals.runs[&two("scheduled", "failed")], 1);
    assert_eq!(totals.requests.values().sum::<u64>(), 5);
    assert_eq!(totals.request_time["prices"], (5, 1250));
    assert_eq!(totals.received[&one("prices")], 50);
    assert_eq!(totals.rejected[&two("prices", "extraction")], 10);
    assert_eq!(totals.rejected[&two("prices", "check")], 3);
    assert_eq!(totals.rows[&two("price", "inserted")], 12);
    assert_eq!(totals.publishes, 3);
    assert_eq!(totals.fires.values().sum::<u64>(), 4);
    assert_eq!(totals.fires_missed[&one("prices")], 3);
}

async fn alerts_are_counted_where_there_are_any(kind: Kind) {
    let bench = Bench::new(kind).await;
    let alerts = async || bench.reader().figures(&bench.plan, None).await.unwrap().alerts;
    assert_eq!(alerts().await, Some(AlertFigures::default()));
    sql(
        &bench,
        "insert into daymark.alert (key, event, reason, opened_at, resolved_at)
         values ('a', 'run_failed', '', now(), null), ('b', 'day_late', '', now(), null),
                ('c', 'day_late', '', now(), null), ('d', 'day_late', '', now(), now());
         insert into daymark.alert_outbox (alert_id, number, action, event, reason, at, planned_at)
         select min(alert_id), 1, 'trigger', '', '', now(), null from daymark.alert union all
         select min(alert_id), 2, 'trigger', '', '', now(), now() from daymark.alert;
         insert into daymark.alert_delivery (alert_id, channel, number, action, event, reason, at, state, next_at)
         select min(alert_id), 'ops', 1, 'trigger', '', '', now(), 'pending', now() from daymark.alert union all
         select min(alert_id), 'ops', 2, 'trigger', '', '', now(), 'sent', now() from daymark.alert union all
         select min(alert_id), 'ops', 3, 'trigger', '', '', now(), 'given_up', now() from daymark.alert;",
    )
    .await;
    let alerts = alerts().await.unwrap();
    let words = |counts: &daymark_warehouse::figures::Counts<1>| format!("{counts:?}");
    assert_eq!(words(&alerts.open), r#"{["day_late"]: 2, ["run_failed"]: 1}"#);
    assert_eq!(words(&alerts.pending), r#"{[""]: 1, ["ops"]: 1}"#);
    assert_eq!(words(&alerts.given_up), r#"{["ops"]: 1}"#);
}
