//! Pipeline folders, good and bad: every problem is reported at once, with its line.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::Path;

mod alerts;
mod checks;
mod ledger;
mod model_tests;
mod rows;
mod sources;
mod zones;

use daymark_plan::{
    Block, Calendar, ChartKind, DatabaseUrl, Environment, Materialized, PlanError, RawUrl, load,
};
use tempfile::TempDir;

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn problems(files: &[(&str, &str)]) -> String {
    let folder = folder(files);
    match load(folder.path(), &Environment::default()) {
        Err(PlanError::Problems { problems, .. }) => {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            lines.join("\n") + "\n"
        }
        other => panic!("{other:?}"),
    }
}

const SETTINGS: &str = "name = \"p\"\ntime_zone = \"UTC\"\nschedule = \"cron(0 8 * * ? *)\"\n";
const SOURCE: &str = "id = \"s\"\n[request]\nurl = \"http://localhost/\"\n[rows]\nlayout = \"records\"\n\
                      [rows.fields]\na = { path = \"a\", type = \"text\" }\n";
const MODEL: &str = "/* model\ntable = \"t\"\nkey = [\"a\"]\n[columns]\na = \"text not null\"\n*/\n\
                     select _fetch_id, _fetch_row, a from raw_s\n";

fn good() -> Vec<(&'static str, &'static str)> {
    vec![("daymark.toml", SETTINGS), ("sources/s.toml", SOURCE), ("models/t.sql", MODEL)]
}

#[test]
fn the_reference_pipeline_is_a_plan() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines/dc-markets");
    let plan = load(&root, &Environment::default()).unwrap();
    assert_eq!(plan.name, "dc-markets");
    let sources: Vec<&str> = plan.sources.iter().map(|source| source.id.as_str()).collect();
    assert_eq!(sources, ["sp500", "weather"]);
    assert_eq!(plan.sources[0].calendar.to_string(), "nyse");
    assert_eq!(plan.sources[1].calendar, Calendar::Daily);
    assert_eq!(plan.models.len(), 2);
    let page = &plan.pages[0];
    assert_eq!(page.name, "overview");
    for kind in [
        ChartKind::Tiles,
        ChartKind::Band,
        ChartKind::Bars,
        ChartKind::Lines,
        ChartKind::Scatter,
        ChartKind::Table,
    ] {
        let has = page
            .blocks
            .iter()
            .any(|block| matches!(block, Block::Chart(chart) if chart.kind == kind));
        assert!(has, "{kind:?}");
    }
}

#[test]
fn every_problem_of_every_file_is_reported_with_its_line() {
    let found = problems(&[
        (
            "daymark.toml",
            "name = \"My Pipeline\"\ntimezone = \"UTC\"\nschedule = \"cron(0 8 * * *)\"\n[dashboard]\nlisten = 8080\n",
        ),
        (
            "sources/weather.toml",
            "id = \"weathr\"\ncalender = \"nyse\"\n\n[request]\nurl = \"ftp://example.com/\"\nread_timeout_seconds = 0\n\
             [expect]\nabsent = [\"$.error[\"]\nmin_rows = -1\n\n[rows]\nlayout = \"colums\"\n\n[rows.fields]\n\
             date = { path = \"time\", typ = \"date\" }\n_x = { path = \"x\", type = \"float\" }\n",
        ),
        ("sources/broken.toml", "id = \"broken\"\n[request\nurl = 1\n"),
        ("models/a.sql", "select 1"),
        (
            "models/b.sql",
            "/* model\ntable = \"B\"\nkey = [\"dat\"]\nwrite = \"upset\"\n[columns]\ndate = \"date not null unique\"\n*/\n\
             select * from raw_wether",
        ),
        ("marts/x.sql", "select * from y"),
        ("marts/y.sql", "select * from x"),
        (
            "dashboards/page.md",
            "+++\ntitel = \"Page\"\n+++\n# Page\n\n```sql\nselect 1\n```\n\n```chart\nkind = \"lines\"\nquery = \"markt\"\nx = \"date\"\n```\n",
        ),
        ("models/notes.txt", "?"),
    ]);
    insta::assert_snapshot!(found);
}

#[test]
fn a_folder_that_is_none_says_so() {
    let missing = load(Path::new("does/not/exist"), &Environment::default()).unwrap_err();
    assert_eq!(missing.to_string(), "`does/not/exist` is not a pipeline folder");
    let empty = TempDir::new().unwrap();
    let error = load(empty.path(), &Environment::default()).unwrap_err();
    assert!(matches!(error, PlanError::NoFolder { .. }));
    assert!(error.hint().unwrap().contains("daymark init"));
}

#[test]
fn the_environment_overrides_the_file_and_hides_passwords() {
    let folder = folder(&good());
    let environment = Environment::of([
        (
            "DAYMARK_DATABASE_URL",
            "postgres://me:sekret@db.example.com/x?password=sekret".to_owned(),
        ),
        ("DAYMARK_RAW_URL", "file:elsewhere".to_owned()),
        ("DAYMARK_DATABASE_SCHEMA", "curated".to_owned()),
    ]);
    let plan = load(folder.path(), &environment).unwrap();
    let shown = plan.settings.database.to_string();
    assert_eq!(shown, "postgres://me:***@db.example.com/x");
    assert!(!format!("{plan:?}").contains("sekret"));
    assert_eq!(plan.settings.schema, "curated");
    assert_eq!(plan.settings.raw, RawUrl::File(plan.root.join("elsewhere")));

    for odd in [
        "postgres://u:12/sekret@host/db",
        "postgres://u:12#sekret@host/db",
        "postgres://u:a@sekret@host/db",
    ] {
        let environment = Environment::of([("DAYMARK_DATABASE_URL", odd.to_owned())]);
        let shown = load(folder.path(), &environment).unwrap().settings.database.to_string();
        assert_eq!(shown, "postgres://***", "{odd}");
    }

    let wrong = Environment::of([("DAYMARK_DATABASE_URL", "mysql://me:sekret@x/".to_owned())]);
    let Err(PlanError::Problems { problems, .. }) = load(folder.path(), &wrong) else { panic!() };
    insta::assert_snapshot!(problems[0], @"
    $DAYMARK_DATABASE_URL: the database URL is neither embedded nor PostgreSQL's
        hint: accepted: `embedded:`, `embedded:DIR` or `postgres://USER@HOST/DATABASE`
    ");
}

#[test]
fn without_words_everything_has_a_default() {
    let folder = folder(&good());
    let plan = load(folder.path(), &Environment::default()).unwrap();
    assert_eq!(plan.settings.database, DatabaseUrl::Embedded(plan.root.join(".daymark/postgres")));
    assert_eq!(plan.settings.raw, RawUrl::File(plan.root.join(".daymark/raw")));
    assert_eq!(plan.settings.dashboard.listen.to_string(), "127.0.0.1:8080");
    let source = &plan.sources[0];
    assert_eq!((source.retry.attempts, source.retry.total.as_secs()), (4, 300));
    assert_eq!(source.expect.min_rows, 1);
    let columns: Vec<&str> = source.rows.raw_columns().map(|(name, _)| name).collect();
    assert_eq!(columns, ["_fetch_id", "_fetch_row", "_data_date", "_fetched_at", "_entity", "a"]);
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_change_nothing() {
    let settings = format!("\u{feff}{}", SETTINGS.replace('\n', "\r\n"));
    let model = MODEL.replace('\n', "\r\n");
    let folder = folder(&[
        ("daymark.toml", &settings),
        ("sources/s.toml", SOURCE),
        ("models/t.sql", &model),
    ]);
    assert_eq!(load(folder.path(), &Environment::default()).unwrap().models[0].sql_line, 7);
}

#[test]
fn front_matter_may_be_empty_or_all_there_is() {
    for (page, title) in
        [("+++\n+++\nHello", "p"), ("+++\ntitle = \"T\"\n+++", "T"), ("Hello +++", "p")]
    {
        let mut files = good();
        files.push(("dashboards/p.md", page));
        let plan = load(folder(&files).path(), &Environment::default()).unwrap();
        assert_eq!(plan.pages[0].title, title, "{page:?}");
    }
}

#[test]
fn a_page_knows_its_blocks_and_lines() {
    let page = "+++\ntitle = \"T\"\ndays = 7\n+++\nHello *you*.\n\n```sql q\nselect 1\n```\n\n```rust\nfn x() {}\n```\n\n\
                ```chart\nkind = \"table\"\nquery = \"q\"\n```\nBye.\n";
    let mut files = good();
    files.push(("dashboards/p.md", page));
    let folder = folder(&files);
    let plan = load(folder.path(), &Environment::default()).unwrap();
    let page = &plan.pages[0];
    assert_eq!((page.title.as_str(), page.days), ("T", 7));
    assert_eq!(
        (page.queries[0].name.as_str(), page.queries[0].sql.as_str(), page.queries[0].line),
        ("q", "select 1\n", 8)
    );
    let kinds: Vec<String> = page
        .blocks
        .iter()
        .map(|block| match block {
            Block::Prose { markdown } => markdown.clone(),
            Block::Chart(chart) => format!("chart at {}", chart.line),
        })
        .collect();
    assert_eq!(kinds, ["Hello *you*.", "```rust\nfn x() {}\n```", "chart at 15", "Bye."]);
}

#[test]
fn a_table_refers_to_one_of_its_source_that_only_gets_rows() {
    let model = |table: &str, more: &str| {
        MODEL
            .replace("\"t\"", &format!("\"{table}\""))
            .replace("[columns]", &format!("{more}[columns]"))
            .replace("text not null", "text not null references t")
    };
    let (child, gone) =
        (model("child", ""), MODEL.replace("[columns]", "write = \"snapshot\"\n[columns]"));
    let mut files = good();
    files.push(("models/child.sql", &child));
    let folder = folder(&files);
    let plan = load(folder.path(), &Environment::default()).unwrap();
    let tables: Vec<&str> = plan.models.iter().map(|model| model.table.as_str()).collect();
    assert_eq!(tables, ["t", "child"]);

    files[2].1 = &gone;
    assert_eq!(
        problems(&files),
        "models/child.sql:5: `a` references `t`, from which fetches delete rows (`write = \"snapshot\"`)\n    hint: whether \
         the row it names is still there would depend on which fetch came first: leave `references` out, and join \
         the tables in a mart\n"
    );
    files.remove(2);
    let none = problems(&files);
    assert!(
        none.starts_with("models/child.sql:5: `a` references `t`, which no model makes"),
        "{none}"
    );
    // Each the other, and itself where rows go.
    let other = MODEL.replace("text not null", "text not null references child");
    files.push(("models/t.sql", &other));
    let circle = problems(&files);
    assert!(
        circle.contains("tables reference each other in a circle, among `child`, `t`"),
        "{circle}"
    );
}

/// The problems of a good folder with these marts.
fn of_marts(marts: &[(&'static str, &str)]) -> String {
    let mut files = good();
    files.extend(marts.iter().map(|(name, text)| (*name, *text)));
    problems(&files)
}

#[test]
fn marts_stand_behind_what_they_read() {
    let mut files = good();
    files.extend([
        ("marts/a.sql", "with c as (select * from t) select * from \"public\".b join c using (a)"),
        ("marts/b.sql", "select a from public.t, daymark.run, pg_class"),
        // A column of a mart's name is no mart.
        ("marts/c.sql", "select a as b from t"),
        (
            "marts/d.sql",
            "/* mart\nmaterialized = \"table\"\nkey = [\"a\"]\ndepends = [\"t\", \"mine\"]\n[[indexes]]\n\
             columns = [\"b\"]\n*/\nselect a from mine(1), mine",
        ),
    ]);
    let plan = load(folder(&files).path(), &Environment::default()).unwrap();
    let reads: Vec<String> = plan
        .marts
        .iter()
        .map(|mart| {
            let names: Vec<&str> = mart.reads.keys().map(String::as_str).collect();
            format!("{} <- {} + {:?}", mart.name, names.join(" "), mart.reads_elsewhere)
        })
        .collect();
    assert_eq!(
        reads,
        [
            "b <- t + {\"daymark.run\", \"pg_class\"}",
            "a <- b t + {}",
            "c <- t + {}",
            "d <- t + {\"mine\"}"
        ]
    );
    let d = &plan.marts[3];
    assert_eq!((d.materialized, d.key.as_slice()), (Materialized::Table, &["a".to_owned()][..]));
    assert_eq!(d.indexes[0].name, "d_b_idx");
    let over =
        |name: &str| plan.marts_over(&[name.to_owned()].into()).into_iter().collect::<Vec<_>>();
    assert_eq!(over("t"), ["a", "b", "c", "d"]);
    // What reads other tables may always have changed.
    assert_eq!(over("nothing"), ["a", "b", "d"]);
}

#[test]
fn what_a_mart_cannot_read_is_told() {
    insta::assert_snapshot!(
        of_marts(&[
            ("marts/circle.sql", "select *\nfrom square"),
            ("marts/square.sql", "with x as (select * from circle) select * from x"),
        ]),
        @r#"
        marts/circle.sql:2: marts read each other in a circle: `circle` (marts/circle.sql) reads `square`, `square` (marts/square.sql) reads `circle`
            hint: none of them could be made first: let one of them read tables instead
        "#
    );
    insta::assert_snapshot!(
        of_marts(&[("marts/self.sql", "select * from self")]),
        @r#"
        marts/self.sql:1: the mart `self` reads itself
            hint: a mart is worked out anew from other tables; name what it should read
        "#);
    insta::assert_snapshot!(
        of_marts(&[
            ("marts/a.sql", "/* mart\n*/\nselect *\nfrom tt\njoin raw_s using (a)"),
            ("marts/b.sql", "/* mart\ndepends = [\"tee\"]\nkey = [\"a\"]\n*/\nselect 1"),
            ("marts/c.sql", "/* mart\nmaterialized = \"tabel\"\n*/\nselect a\nfrom t where )"),
        ]),
        @r#"
        marts/a.sql:4: the query reads `tt`, which no model or mart makes
            hint: did you mean `t`? accepted: `a`, `b`, `c`, `t`; a table that is made elsewhere is named in `depends = ["tt"]`
        marts/a.sql:5: the query reads `raw_s`, which no model or mart makes
            hint: the rows of a fetch are there for models only; accepted: `a`, `b`, `c`, `t`
        marts/b.sql:2: `depends` names `tee`, which no model or mart makes and the query does not name
            hint: did you mean `t`? accepted: `a`, `b`, `c`, `t`
        marts/b.sql:3: `key` of a view
            hint: add `materialized = "table"`, or leave it out: a view holds no rows of its own
        marts/c.sql:2: `materialized` is `tabel`
            hint: did you mean `table`? accepted: `view`, `table`
        marts/c.sql:5: what the query reads cannot be told: expected: an expression, found: )
            hint: mend it; or, if PostgreSQL takes it as it is, name the tables and marts it reads in its leading comment: `depends = ["..."]`
        "#
    );
    // What only PostgreSQL can read says itself what it reads.
    let mut files = good();
    files.push(("marts/odd.sql", "/* mart\ndepends = [\"t\"]\n*/\nselect from t where )"));
    let plan = load(folder(&files).path(), &Environment::default()).unwrap();
    assert!(plan.marts[0].reads.contains_key("t"));
}

/// A model that has this in its comment and this query, in a folder with a second model of the same source.
fn of_model(settled: &str, columns: &str, checks: &str, query: &str) -> String {
    let source = "id = \"bars\"\n[request]\nurl = \"http://127.0.0.1:1/\"\n[rows]\nlayout = \"records\"\n\
         [rows.fields]\nsymbol = { path = \"symbol\", type = \"text\" }\n";
    let head = |table: &str, settled: &str| {
        format!(
            "/* model\ntable = \"{table}\"\nkey = [\"symbol\"]\n{settled}[columns]\nsymbol = \"text not null\"\n"
        )
    };
    let bar = format!("{}{columns}{checks}*/\n{query}\n", head("bar", settled));
    let listing =
        format!("{}*/\nselect _fetch_id, _fetch_row, symbol from raw_bars\n", head("listing", ""));
    problems(&[
        ("daymark.toml", "name = \"t\"\ntime_zone = \"UTC\"\nschedule = \"cron(0 8 * * ? *)\"\n"),
        ("sources/bars.toml", source),
        ("models/bar.sql", &bar),
        ("models/listing.sql", &listing),
    ])
}

#[test]
fn a_model_is_of_its_fetch_alone() {
    let plain = "select _fetch_id, _fetch_row, symbol from raw_bars";
    for (settled, columns, checks, query, said) in [
        (
            "",
            "",
            "",
            "select _fetch_id, _fetch_row, symbol\nfrom raw_bars join listing using (symbol)",
            "models/bar.sql:8: the query reads `listing`, which is published",
        ),
        (
            "",
            "",
            "",
            "select _fetch_id, _fetch_row, symbol from raw_bars where now() > _fetched_at",
            "models/bar.sql:7: the query has `now`, whose value is another one each time",
        ),
        (
            "settled = \"_fetched_at < current_timestamp\"\n",
            "",
            "",
            plain,
            "models/bar.sql:4: `settled` has `current_timestamp`, whose value is another one each time",
        ),
        (
            "settled = \"symbol > $1\"\n",
            "",
            "",
            plain,
            "models/bar.sql:4: `symbol > $1` has a parameter",
        ),
        (
            "",
            "twice = \"text generated always as (symbol) stored\"\n",
            "",
            plain,
            "models/bar.sql:6: `generated` in the definition of `twice`",
        ),
        (
            "",
            "of = \"text references listing (symbol) on delete cascade\"\n",
            "",
            plain,
            "models/bar.sql:6: `on delete` in the definition of `of`",
        ),
        (
            "",
            "",
            "[[checks]]\nname = \"listed\"\nreferences = { column = \"symbol\", table = \"listing\", to = \"symbol\" }\n",
            plain,
            "models/bar.sql:8: the check `listed` asks for rows of `listing`, which the same fetches bring",
        ),
        (
            "",
            "",
            "[[checks]]\nname = \"listed\"\nseverity = \"reject\"\n\
             sql = \"with listing as (select symbol from listing) select symbol from staged where symbol not in (select symbol from listing)\"\n",
            plain,
            "models/bar.sql:9: a check that rejects rows reads `listing`",
        ),
    ] {
        let told = of_model(settled, columns, checks, query);
        assert!(told.contains(said), "{said}\n{told}");
    }
}
