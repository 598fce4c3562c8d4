//! `tests/*.toml`: what is read from them, and what is refused, each with its line.

use std::fs;
use std::path::Path;

use daymark_plan::{
    Environment, Expectation, ExpectedValue, FetchOutcome, ModelTest, Problem, Relation,
    model_tests,
};
use tempfile::TempDir;

/// A folder with a source, a source of entities, a model and a mart, and one test.
fn folder(test: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write(
        "daymark.toml",
        "name = \"t\"\ntime_zone = \"America/New_York\"\nschedule = \"cron(0 8 * * ? *)\"\n",
    );
    let rows = "[request]\nurl = \"http://127.0.0.1:1/\"\n[rows]\nlayout = \"records\"\n\
                [rows.fields]\nsymbol = { path = \"symbol\", type = \"text\" }\n";
    write("sources/bars.toml", &format!("id = \"bars\"\n{rows}"));
    write("sources/sky.toml", &format!("id = \"sky\"\n{rows}[[entity]]\nid = \"oslo\"\n"));
    write(
        "models/bar.sql",
        "/* model\ntable = \"bar\"\nkey = [\"symbol\", \"date\"]\n[columns]\nsymbol = \"text not null\"\n\
         date = \"date not null\"\nclose = \"double precision\"\n[[checks]]\nname = \"w\"\n\
         severity = \"warn\"\nnot_null = \"close\"\n*/\n\
         select _fetch_id, _fetch_row, symbol, null::date as date, 1 as close from raw_bars\n",
    );
    write("marts/total.sql", "select count(*) as bars from bar\n");
    write("tests/bodies/one.json", "[{}]");
    write("tests/one.toml", test);
    folder
}

fn read(folder: &Path) -> Result<Vec<ModelTest>, Vec<Problem>> {
    let plan = daymark_plan::load(folder, &Environment::default()).unwrap();
    model_tests(folder, Some(&plan))
}

fn refused(test: &str) -> String {
    let folder = folder(test);
    let problems = read(folder.path()).unwrap_err();
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_test_is_read_with_its_times_and_values() {
    let folder = folder(
        "description = \"d\"\n\
         [[given]]\nsource = \"bars\"\ndata_date = 2026-03-09\nbody = '''\n[]'''\n\
         [[given]]\nsource = \"bars\"\ndata_date = \"2026-03-09\"\nfile = \"tests/bodies/one.json\"\n\
         outcome = \"quarantined\"\nreason = \"x\"\nwarnings = [\"w\"]\n\
         [[given]]\nsource = \"bars\"\ndata_date = 2026-03-10\nfetched_at = 2026-03-10 08:00:00\n\
         status = 503\nbody = \"\"\n\
         [[given]]\nsource = \"sky\"\nentity = \"oslo\"\ndata_date = 2026-03-09\n\
         fetched_at = 2026-03-09T08:00:00+01:00\nbody = \"[]\"\n\
         [[expect]]\ntable = \"bar\"\nexact = true\n\
         rows = [{ symbol = \"A\", date = 2026-03-09, close = 1.50, _null = [] },\n\
         { symbol = 'B', date = \"2026-03-10\", _null = [\"close\"] }]\n\
         [[expect]]\nsql = \"\"\"\nselect 1 as a;\"\"\"\nrows = [{ a = [1, { b = true }] }]\n\
         [[expect]]\nrejects = \"bars\"\nrow_count = 0\n",
    );
    let tests = read(folder.path()).unwrap();
    let [test] = tests.as_slice() else { panic!("{tests:?}") };
    assert_eq!((test.name.as_str(), test.file.as_str()), ("one", "tests/one.toml"));
    let times: Vec<String> = test.given.iter().map(|given| given.fetched_at.to_string()).collect();
    // Noon in New York, the minute after, eight o'clock there, and an instant of its own.
    assert_eq!(
        times,
        [
            "2026-03-09T16:00:00Z",
            "2026-03-09T16:01:00Z",
            "2026-03-10T12:00:00Z",
            "2026-03-09T07:00:00Z"
        ]
    );
    assert_eq!(test.given[0].pages, [b"[]".to_vec()]);
    assert_eq!(test.given[1].pages, [b"[{}]".to_vec()]);
    assert_eq!(test.given[1].outcome, FetchOutcome::Quarantined);
    assert_eq!((test.given[2].status, test.given[2].pages.as_slice()), (503, &[Vec::new()][..]));
    let Expectation::Rows(rows) = &test.expect[0] else { panic!() };
    assert_eq!(rows.key, ["symbol", "date"]);
    let text = |value: &str| ExpectedValue::Text(value.to_owned());
    let values = |row: usize| {
        let values = rows.rows[row].values.iter().map(|(_, value)| value.clone());
        values.collect::<Vec<_>>()
    };
    assert_eq!(values(0), [text("A"), text("2026-03-09"), text("1.50")]);
    assert_eq!(values(1), [text("B"), text("2026-03-10"), ExpectedValue::Null]);
    let Expectation::Rows(rows) = &test.expect[1] else { panic!() };
    let Relation::Sql { sql, line } = &rows.relation else { panic!() };
    assert_eq!((sql.as_str(), *line), ("select 1 as a", 33));
    assert_eq!(rows.rows[0].values[0].1, ExpectedValue::Json("[1,{\"b\":true}]".to_owned()));
}

#[test]
fn everything_that_is_wrong_is_said_with_its_line() {
    insta::assert_snapshot!(refused(
        "[[given]]\nsorce = \"bars\"\nsource = \"bar\"\ndata_date = 2026-02-30\nbody = \"\"\nfile = \"x\"\n"
    ), @"");
    insta::assert_snapshot!(refused(
        "[[given]]\nsource = \"bars\"\nentity = \"oslo\"\ndata_date = \"tomorrow\"\n\
         body = [\"\", \"\"]\nreason = \"x\"\nwarnings = \"v\"\n\
         [[given]]\nsource = \"sky\"\ndata_date = 2026-03-09\nfile = \"../x\"\noutcome = \"refuse\"\n\
         [[given]]\nsource = \"bars\"\ndata_date = 2026-03-09\nfetched_at = 2026-03-09T08:00:00Z\n\
         [[given]]\nsource = \"bars\"\ndata_date = 2026-03-09\nfetched_at = 2026-03-09T07:00:00Z\nbody = 1\n\
         [[expect]]\ntable = \"bars\"\nrow_count = 1\n\
         [[expect]]\ntable = \"bar\"\nrows = [{ symbol = \"A\", clse = 1 }]\n\
         [[expect]]\ntable = \"total\"\nrows = [{ bars = 1 }]\n\
         [[expect]]\ntable = \"bar\"\nsql = \"select 1\"\n\
         [[expect]]\ntable = \"bar\"\n\
         [[expect]]\nrejects = \"bars\"\ncheck = \"w\"\n"
    ), @"");
    insta::assert_snapshot!(refused("description = 1\n"), @"");
}

/// A folder that has problems of its own is not looked up in; a test's form still is.
#[test]
fn form_is_judged_without_a_plan() {
    let folder = folder("[[given]]\nsource = \"no\"\ndata_date = 2026-03-09\nbodi = \"\"\n");
    fs::write(folder.path().join("tests/readme.txt"), "").unwrap();
    let problems = model_tests(folder.path(), None).unwrap_err();
    let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(said.join("\n"), @"");
}
