//! Backups: what is in one, and what is refused. That a lost ledger comes back is in the tests of `daymark`.

use std::io::{Read, Write};

use daymark_testkit::database::Kind;
use daymark_testkit::on_both_databases;
use daymark_warehouse::backup::{self, BackupError, Header};
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use crate::bench::{Bench, at};

on_both_databases! {
    every_table_of_the_ledger_is_in_it_also_one_that_came_later;
    what_is_damaged_or_not_ours_is_refused_and_changes_nothing;
    an_older_backup_is_brought_to_this_version;
}

/// Text that COPY has to escape.
const AWKWARD: &str = r#"[{"symbol": "A\\.\n\t\\N é", "price": 1.5}]"#;

async fn bench(kind: Kind) -> Bench {
    let mut bench = Bench::new(kind).await;
    let first = bench.fetch(1, AWKWARD);
    let refused = bench.refused(2, "an error\nin two lines, \\. and a\ttab");
    let negative = bench.fetch(3, r#"[{"symbol": "B", "price": -1}]"#);
    bench.publish(&[&first, &refused, &negative]).await;
    bench
}

async fn write(bench: &Bench) -> (Header, Vec<u8>) {
    let mut session = bench.warehouse.session("test").await.unwrap();
    let mut file = Vec::new();
    let header = backup::write(&mut session, at(5), &mut file).await.unwrap();
    (header, file)
}

async fn restore(bench: &Bench, file: &[u8], replace: bool) -> Result<Header, BackupError> {
    let mut file = file;
    backup::restore(&bench.plan, &mut file, replace).await
}

async fn run(bench: &Bench, sql: &str) {
    let mut session = bench.warehouse.session("test").await.unwrap();
    session.client().batch_execute(sql).await.unwrap();
}

const LEDGER: [&str; 4] = [
    "select * from daymark.fetch order by manifest_key",
    "select * from daymark.day order by source_id, data_date, entity",
    "select * from daymark.publish join daymark.publish_table using (publish_id)",
    "select run_id, kind, started_at from daymark.run",
];

async fn ledger(bench: &Bench) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for query in LEDGER {
        all.push(bench.rows_of(query).await);
    }
    all
}

fn unpacked(file: &[u8]) -> String {
    let mut text = String::new();
    MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
    text
}

fn packed(text: &str) -> Vec<u8> {
    let mut file = GzEncoder::new(Vec::new(), Compression::fast());
    file.write_all(text.as_bytes()).unwrap();
    file.finish().unwrap()
}

/// Tables of a later migration: one refers to the other, whose name comes behind, and has a number of its own.
const LATER: &str = "create table daymark.zone (name text primary key, grid integer[]);
     create table daymark.siren (siren_id bigint generated always as identity primary key,
         zone text not null references daymark.zone, said jsonb, doubled text generated always as (zone || zone) stored);";

async fn every_table_of_the_ledger_is_in_it_also_one_that_came_later(kind: Kind) {
    let bench = bench(kind).await;
    run(
        &bench,
        &format!(
            "{LATER} insert into daymark.zone values ('north', '{{1,null}}');
             insert into daymark.siren (zone, said) values ('north', '{{\"a\\\\b\": \"\\n\"}}'), ('north', null)"
        ),
    )
    .await;
    let before = ledger(&bench).await;
    let sirens = "select * from daymark.siren order by siren_id";
    let later = bench.rows_of(sirens).await;
    let (header, file) = write(&bench).await;
    let known = "select relname::text from pg_class where relnamespace = 'daymark'::regnamespace \
                 and relkind = 'r' and relname not in ('migration', 'contract', 'mart', 'listing') order by 1";
    let mut names: Vec<String> =
        header.tables.iter().map(|table| serde_json::json!([table.table]).to_string()).collect();
    names.sort_unstable();
    assert_eq!(names, bench.rows_of(known).await);
    let rows = |name: &str| header.tables.iter().find(|table| table.table == name).unwrap().rows;
    assert_eq!((rows("fetch"), rows("siren"), rows("zone")), (3, 2, 1));

    // What is said of the format: each line is JSON or a row, and the rows are counted.
    let text = unpacked(&file);
    let first: Header = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!((first.pipeline.as_str(), first.rows()), ("bench", header.rows()));
    assert_eq!(text.matches("\n\\.\n").count(), header.tables.len());

    run(&bench, "drop schema daymark cascade; drop table price").await;
    // The ledger is made by whoever opens it; this one's later tables are made by hand.
    let again = daymark_warehouse::Warehouse::open(&bench.plan).await.unwrap();
    again.clone().session("test").await.unwrap().client().batch_execute(LATER).await.unwrap();
    again.close().await;
    restore(&bench, &file, false).await.unwrap();
    assert_eq!(ledger(&bench).await, before);
    assert_eq!(bench.rows_of(sirens).await, later);
    run(&bench, "insert into daymark.siren (zone) values ('north')").await;
    assert_eq!(bench.rows_of("select max(siren_id) from daymark.siren").await, ["[3]"]);
}

async fn what_is_damaged_or_not_ours_is_refused_and_changes_nothing(kind: Kind) {
    let bench = bench(kind).await;
    let before = ledger(&bench).await;
    let (header, file) = write(&bench).await;
    let text = unpacked(&file);
    let first = text.lines().next().unwrap();
    let version = format!("\"ledger\":{}", header.ledger);
    let mut torn = file.clone();
    torn.truncate(file.len() - 20);
    let row = text.lines().find(|line| line.contains("an error\\nin two lines")).unwrap();
    let bad: [(&str, Vec<u8>, &str); 11] = [
        (
            "no gzip",
            text.clone().into_bytes(),
            "this is no backup of a ledger: it is not compressed by gzip",
        ),
        ("nothing", Vec::new(), "this is no backup of a ledger: it is empty"),
        (
            "other JSON",
            packed("{\"a\": 1}\n"),
            "this is no backup of a ledger: its first line has no `daymark_backup`",
        ),
        ("torn", torn, "the backup is damaged: it was cut off"),
        (
            "without its end",
            packed(text.trim_end().rsplit_once('\n').unwrap().0),
            "the backup is damaged: it was cut off",
        ),
        (
            "a row less",
            packed(&text.replace(&format!("{row}\n"), "")),
            "the backup is damaged: the rows of `fetch` are not those",
        ),
        (
            "a value changed",
            packed(&text.replace("an error\\nin", "no error\\nin")),
            "the backup is damaged: the rows of `fetch` are not those",
        ),
        (
            "a table nobody knows",
            packed(&text.replace("\"publish_table\"", "\"publish_tible\"")),
            "the backup is damaged: the ledger of its version has no table `publish_tible`",
        ),
        (
            "newer format",
            packed(&text.replace("\"daymark_backup\":1", "\"daymark_backup\":2")),
            "the backup was written by daymark ",
        ),
        (
            "newer ledger",
            packed(&text.replace(&version, "\"ledger\":4000")),
            "the backup was written by daymark ",
        ),
        (
            "another pipeline",
            packed(&text.replace("\"pipeline\":\"bench\"", "\"pipeline\":\"other\"")),
            "the backup is of the pipeline `other`, not of `bench`",
        ),
    ];
    assert!(first.contains(&version), "{first}");
    for (what, file, said) in bad {
        let error = restore(&bench, &file, true).await.unwrap_err();
        assert!(error.to_string().starts_with(said), "{what}: {error}");
        assert!(error.hint().is_some(), "{what}");
        assert_eq!(ledger(&bench).await, before, "{what}");
    }
    let error = restore(&bench, &file, false).await.unwrap_err();
    assert!(matches!(error, BackupError::NotEmpty(_)), "{error}");
    assert!(error.to_string().contains("3 in `fetch`"), "{error}");
    assert_eq!(ledger(&bench).await, before);
}

/// The tables of version 5, which had no checks yet, and the columns of those that got others since.
const VERSION_5: [(&str, &[&str]); 8] = [
    ("pipeline", &["only_one", "name", "schema_name", "last_fired_at"]),
    (
        "run",
        &[
            "run_id",
            "kind",
            "scheduled_at",
            "started_at",
            "finished_at",
            "outcome",
            "program_version",
        ],
    ),
    ("step", &["run_id", "source_id", "data_date", "outcome", "reason", "at", "entity"]),
    ("publish", &[]),
    ("publish_table", &[]),
    ("fetch", &[]),
    ("day", &[]),
    ("restatement", &[]),
];

/// What version 5 would have written of a backup.
fn as_of_version_5(header: &Header, file: &[u8]) -> Vec<u8> {
    let mut older = header.clone();
    older.ledger = 5;
    older.tables.clear();
    let text = unpacked(file);
    let mut lines = text.lines().skip(1);
    let mut parts = Vec::new();
    for table in &header.tables {
        let rows: Vec<&str> = lines.by_ref().take_while(|line| *line != "\\.").collect();
        lines.next().unwrap();
        let Some((_, kept)) = VERSION_5.iter().find(|(name, _)| *name == table.table) else {
            continue;
        };
        let mut table = table.clone();
        let columns = std::mem::take(&mut table.columns);
        let is_kept = |name: &&String| kept.is_empty() || kept.contains(&name.as_str());
        table.columns = match kept {
            // It has no rows here, so its columns can have other names.
            _ if rows.is_empty() && !kept.is_empty() => {
                kept.iter().map(|name| (*name).to_owned()).collect()
            }
            _ => columns.iter().filter(is_kept).cloned().collect(),
        };
        let mut body = String::new();
        for row in rows {
            let values = columns.iter().zip(row.split('\t')).filter(|(name, _)| is_kept(name));
            let values: Vec<&str> = values.map(|(_, value)| value).collect();
            body.push_str(&format!("{}\n", values.join("\t")));
        }
        let digits: Vec<String> =
            Sha256::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
        let sha256 = digits.concat();
        let end = serde_json::json!({ "table": table.table, "rows": table.rows, "sha256": sha256 });
        parts.push(format!("{body}\\.\n{end}\n"));
        older.tables.push(table);
    }
    parts.insert(0, serde_json::to_string(&older).unwrap() + "\n");
    parts.extend(lines.map(|line| format!("{line}\n")));
    packed(&parts.concat())
}

async fn an_older_backup_is_brought_to_this_version(kind: Kind) {
    let bench = bench(kind).await;
    let before = ledger(&bench).await;
    let (header, file) = write(&bench).await;
    let file = as_of_version_5(&header, &file);

    let error = restore(&bench, &file, true).await.unwrap_err();
    assert!(matches!(error, BackupError::OlderInUse { found: 5, .. }), "{error}");
    assert_eq!(ledger(&bench).await, before);

    run(&bench, "drop schema daymark cascade; drop table price").await;
    restore(&bench, &file, false).await.unwrap();
    assert_eq!(ledger(&bench).await, before);
    let version = bench.rows_of("select max(version) from daymark.migration").await;
    assert_eq!(version, [format!("[{}]", header.ledger)]);
}
