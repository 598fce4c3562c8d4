//! `daymark test` and `daymark validate --database`: what is said before any API is asked. Both use an
//! embedded database of their own, whatever the pipeline's is.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;

use crate::world::{Done, daymark, program, run_to_end};

/// A folder with the reference pipeline.
struct Folder {
    path: PathBuf,
    _home: TempDir,
}

impl Folder {
    async fn new() -> Self {
        let home = TempDir::new().unwrap();
        let path = home.path().join("pipeline");
        run_to_end(program().arg("init").arg(&path)).await.expect_code(0);
        Self { path, _home: home }
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.path.join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches(from).count(), 1, "`{from}` in {file}");
        fs::write(path, text.replace(from, to)).unwrap();
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.path.join(file), text).unwrap();
    }

    /// Runs the program on it. The pipeline's own database and raw store are never opened.
    async fn daymark(&self, arguments: &[&str]) -> Done {
        let mut command = program();
        command.args(arguments).env("DAYMARK_PIPELINE", &self.path);
        command.env("DAYMARK_DATABASE_URL", "postgres://nobody@127.0.0.1:1/nothing");
        let done = run_to_end(&mut command).await;
        assert!(!self.path.join(".daymark").try_exists().unwrap());
        done
    }

    /// What is said on standard error, without the folder's own path.
    fn said(&self, done: &Done) -> String {
        done.stderr.replace(&self.path.display().to_string(), "<folder>")
    }
}

/// The tests of the repository's own reference pipeline.
#[tokio::test]
async fn the_reference_pipeline_passes_its_tests() {
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines/dc-markets");
    let all = daymark(&["test", "--pipeline", reference.to_str().unwrap()]).await;
    all.expect_code(0);
    insta::assert_snapshot!(all.stdout, @r"
    ok    sp500_dst_week
    ok    sp500_empty_200
    ok    sp500_holiday
    ok    sp500_live_last_row
    ok    sp500_live_morning
    ok    sp500_live_row_becomes_final
    ok    sp500_restated_close
    ok    weather_dst_week
    ok    weather_error_in_a_200
    ok    weather_nulls_at_the_tail
    10 tests, passed
    ");
}

/// Each of these breaks a rule of the models that a test of the reference pipeline is about.
#[tokio::test]
async fn a_model_that_is_broken_fails_its_tests() {
    let folder = Folder::new().await;
    folder.edit("models/sp500_daily.sql", "opened_at desc", "opened_at");
    folder.edit("models/weather_daily.sql", "precipitation_mm) > 0", "precipitation_mm) > 2");
    folder.edit("sources/sp500.toml", "absent = [\"$.chart.error.code\"]", "min_rows = 0");
    folder.edit(
        "sources/sp500.toml",
        "at = \"$.chart.result[0]\"",
        "at = \"$.chart.result[0]\"\nat_optional = true",
    );
    let tests = ["test", "sp500_live_last_row", "weather_nulls_at_the_tail", "sp500_empty_200"];
    let done = folder.daymark(&tests).await;
    done.expect_code(1);
    let failed: Vec<&str> = done.stdout.lines().filter(|line| line.starts_with("FAIL")).collect();
    assert_eq!(failed.len(), 3, "{}", done.stdout);
    let told = |words: &str| assert!(done.stdout.contains(words), "{words}:\n{}", done.stdout);
    told("sp500_daily, symbol = ^GSPC, date = 2026-03-10\n");
    told("     close    6781.75      6751.5\n");
    told("weather_daily, location = washington-dc, date = 2026-03-03");
    let done = folder.daymark(&["test", "sp500_holiday", "--json"]).await;
    done.expect_code(0);
    assert_eq!(
        done.json(),
        json!({ "passed": 1, "failed": 0, "tests": [{
            "name": "sp500_holiday", "file": "tests/sp500_holiday.toml", "passed": true, "differences": [],
        }] })
    );
}

#[tokio::test]
async fn every_difference_is_told_by_table_key_and_column() {
    let folder = Folder::new().await;
    folder.edit(
        "tests/sp500_holiday.toml",
        "warnings = []",
        "warnings = [\"the high is the highest\"]",
    );
    folder.edit("tests/sp500_holiday.toml", "row_count = 4", "row_count = 5");
    folder.edit("tests/sp500_holiday.toml", "date = 2026-07-03 }", "date = 2026-07-02 }");
    folder.edit("tests/sp500_holiday.toml", "close = 7020.25 }", "close = 7020.5, volume = 1 }");
    folder.edit("tests/sp500_holiday.toml", "daily_return = 0.001391 }", "daily_return = \"x\" }");
    folder.write(
        "tests/weather.toml",
        r#"
[[given]]
source = "weather"
data_date = 2026-03-02
outcome = "quarantined"
reason = "too warm"
body = '{"latitude": 1, "longitude": 2, "daily": {"time": ["2026-03-01", "2026-03-02"], "temperature_2m_max": [1, 2], "temperature_2m_min": [0, 1], "precipitation_sum": [0, 0]}}'

[[expect]]
table = "weather_daily"
exact = true
rows = [
    { location = "washington-dc", date = 2026-03-01, temperature_max_c = 1.0 },
    { location = "washington-dc", date = 2026-03-03 },
]

[[expect]]
rejects = "weather"
reason = "a number"

[[expect]]
table = "weather_metrics"
key = ["dat"]
rows = [{ dat = 2026-03-01 }]

[[expect]]
sql = """
select 1 as a
from nowhere"""
rows = []
"#,
    );
    let done = folder.daymark(&["test", "sp500_holiday", "weather"]).await;
    done.expect_code(1);
    insta::assert_snapshot!(done.stdout, @r##"
    FAIL  sp500_holiday
      tests/sp500_holiday.toml:4: sp500 2026-07-07
        expected  warnings of `the high is the highest`
        got       no warning
      tests/sp500_holiday.toml:34: sp500_daily, symbol = ^GSPC, date = 2026-07-02: the row is there
      tests/sp500_holiday.toml:31: sp500_daily: rows
        expected  5
        got       4
      tests/sp500_holiday.toml:41: sp500_metrics, symbol = ^GSPC, date = 2026-07-06
         column   expected   got
        ─────────────────────────────
         close    7020.5     7020.25
         volume   1          null
      tests/sp500_holiday.toml:47: invalid input syntax for type numeric: "x"
    FAIL  weather
      tests/weather.toml:2: weather 2026-03-02
        expected  quarantined: ... too warm ...
        got       published
      tests/weather.toml:14: weather_daily, location = washington-dc, date = 2026-03-03: there is no such row
      tests/weather.toml:9: weather_daily: 1 row not expected
        {"date": "2026-03-02", "location": "washington-dc", "precipitation_mm": 0, "temperature_max_c": 2, "temperature_min_c": 1}
      tests/weather.toml:17: such rows
        expected  at least 1
        got       0
      tests/weather.toml:24: weather_metrics: there is no column `dat`; did you mean `date`? accepted: `location`, `date`, `temperature_max_c`, `temperature_min_c`, `temperature_mean_c`, `precipitation_mm`, `temperature_anomaly_c`, `precipitation_7d_mm`
      tests/weather.toml:28: relation "nowhere" does not exist
    2 tests, 2 failed
    "##);
    let json = folder.daymark(&["test", "weather", "--json"]).await;
    json.expect_code(1);
    let json = json.json();
    assert_eq!((&json["passed"], &json["failed"]), (&json!(0), &json!(1)));
    let differences = json["tests"][0]["differences"].as_array().unwrap();
    assert_eq!(
        differences[0],
        json!({
            "kind": "fetch", "line": 2, "fetch": "weather 2026-03-02",
            "expected": "quarantined: ... too warm ...", "got": "published",
        })
    );
    assert_eq!(
        differences[1],
        json!({
            "kind": "rows", "line": 14, "table": "weather_daily",
            "key": [["location", "washington-dc"], ["date", "2026-03-03"]], "found": "no_row",
        })
    );
}

#[tokio::test]
async fn tests_that_cannot_be_understood_and_tests_that_are_not_there() {
    let folder = Folder::new().await;
    let none = folder.daymark(&["test", "sp500_holidays"]).await;
    none.expect_code(2);
    assert!(
        none.stderr.starts_with(
            "error: the pipeline has no test `sp500_holidays`\nhint: did you mean `sp500_holiday`? accepted: "
        ),
        "{}",
        none.stderr
    );
    folder.edit("tests/sp500_holiday.toml", "row_count = 4", "rowcount = 4");
    folder.edit("tests/weather_dst_week.toml", "table = \"weather_daily\"", "table = \"weather\"");
    let mut said = Vec::new();
    for command in ["test", "validate"] {
        let done = folder.daymark(&[command]).await;
        done.expect_code(2);
        assert_eq!(done.stdout, "");
        said.push(folder.said(&done));
    }
    assert_eq!(said[0], said[1]);
    insta::assert_snapshot!(said[0], @r##"
    error: 2 problems in the pipeline folder `<folder>`
      tests/sp500_holiday.toml:33: unknown key `expect[0].rowcount`
        hint: did you mean `row_count`? accepted: `table`, `key`, `exact`, `row_count`, `rows`, `absent`
      tests/weather_dst_week.toml:20: no model or mart makes `weather`
        hint: did you mean `weather_daily`? accepted: `sp500_daily`, `weather_daily`, `sp500_metrics`, `weather_metrics`, `market_weather`
    "##);
    // Beside a problem of another file, what they name cannot be looked up; their form can.
    folder.edit("daymark.toml", "time_zone", "time_zon");
    let done = folder.daymark(&["validate"]).await;
    done.expect_code(2);
    let said = folder.said(&done);
    assert!(
        said.contains("unknown key `time_zon`")
            && said.contains("unknown key `expect[0].rowcount`")
    );
    assert!(!said.contains("no model or mart"), "{said}");
    // A run has nothing to do with them.
    folder.edit("daymark.toml", "time_zon ", "time_zone ");
    folder.daymark(&["schedule", "next"]).await.expect_code(0);
    fs::remove_dir_all(folder.path.join("tests")).unwrap();
    let empty = folder.daymark(&["test"]).await;
    empty.expect_code(0);
    assert!(empty.stdout.starts_with("the pipeline has no tests"), "{}", empty.stdout);
}

#[tokio::test]
async fn all_sql_is_judged_at_once_over_an_empty_database() {
    let folder = Folder::new().await;
    let valid = folder.daymark(&["validate", "--database"]).await;
    valid.expect_code(0);
    assert!(valid.stdout.starts_with("the pipeline `dc-markets` is valid\n"), "{}", valid.stdout);

    // A type, a query, checks of both kinds, a mart that others read, and a page's query.
    folder.edit(
        "models/weather_daily.sql",
        "precipitation_mm  = \"double precision check",
        "precipitation_mm  = \"numeric check",
    );
    folder.edit(
        "models/weather_daily.sql",
        "where temperature_max_c < temperature_min_c\"",
        "where temperature_max < 0\"",
    );
    folder.edit(
        "models/weather_daily.sql",
        "*/\nselect _fetch_id",
        "[[checks]]\nname = \"a number\"\nrange = { column = \"temperature_max_c\", min = \"cold\" }\n*/\nselect _fetch_id",
    );
    folder.edit("models/sp500_daily.sql", "where close is not null", "where closing is not null");
    folder.edit("marts/sp500_metrics.sql", "close / max(close)", "closing / max(close)");
    let page = fs::read_to_string(folder.path.join("dashboards/overview.md")).unwrap();
    folder.write(
        "dashboards/overview.md",
        &format!(
            "{page}\n```sql later\nselect 1 as a\nfrom weather_daily\nwhere day >= $from\n```\n"
        ),
    );
    let judged = folder.daymark(&["validate", "--database"]).await;
    judged.expect_code(2);
    assert_eq!(judged.stdout, "");
    insta::assert_snapshot!(folder.said(&judged), @r##"
    error: 6 problems in the pipeline folder `<folder>`
      dashboards/overview.md:177:7: column "day" does not exist
      marts/sp500_metrics.sql:35:8: column "closing" does not exist
        hint: Perhaps you meant to reference the column "moved.close".
      models/sp500_daily.sql:42:7: column "closing" does not exist
        hint: Perhaps you meant to reference the column "bar.close".
      models/weather_daily.sql:12: the query yields `precipitation_mm` as `double precision`, and the contract has `numeric`
        hint: cast it in the query (`...::numeric`), where a reader sees what that rounds or cuts, or change the contract
      models/weather_daily.sql:17: the check `the warmest is not below the coldest`: column "temperature_max" does not exist
        hint: Perhaps you meant to reference the column "staged.temperature_max_c".
      models/weather_daily.sql:25: the check `a number`: invalid input syntax for type double precision: "cold"
    "##);
    let json = folder.daymark(&["validate", "--database", "--json"]).await;
    json.expect_code(2);
    let json = json.json();
    assert_eq!(json["valid"], false);
    assert_eq!(json["problems"][0]["file"], "dashboards/overview.md");
    assert!(json["problems"][0]["column"].is_u64());
    // Without it, none of that is seen.
    folder.daymark(&["validate"]).await.expect_code(0);
}
