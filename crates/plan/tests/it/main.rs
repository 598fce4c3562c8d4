//! Pipeline folders, good and bad: every problem is reported at once, with its line.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::Path;

mod checks;
mod ledger;
mod model_tests;
mod rows;
mod sources;
mod zones;

use daymark_plan::{Block, Calendar, ChartKind, DatabaseUrl, Environment, PlanError, RawUrl, load};
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
