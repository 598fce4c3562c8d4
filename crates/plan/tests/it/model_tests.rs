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
    let said = |value: &str| ExpectedValue::Text(value.to_owned());
    let values = |row: usize| {
        let values = rows.rows[row].values.iter().map(|(_, value)| value.clone());
        values.collect::<Vec<_>>()
    };
    assert_eq!(values(0), [said("A"), said("2026-03-09"), said("1.50")]);
    assert_eq!(values(1), [said("B"), said("2026-03-10"), ExpectedValue::Null]);
    let Expectation::Rows(rows) = &test.expect[1] else { panic!() };
    let Relation::Sql { sql, line } = &rows.relation else { panic!() };
    assert_eq!((sql.as_str(), *line), ("select 1 as a", 33));
    assert_eq!(rows.rows[0].values[0].1, ExpectedValue::Json("[1,{\"b\":true}]".to_owned()));
}

#[test]
fn everything_that_is_wrong_is_said_with_its_line() {
    insta::assert_snapshot!(refused(
        "[[given]]\nsorce = \"bars\"\nsource = \"bar\"\ndata_date = \"2026-02-30\"\nbody = \"\"\nfile = \"x\"\n"
    ), @r##"
    tests/one.toml:2: unknown key `given[0].sorce`
        hint: did you mean `source`? accepted: `source`, `entity`, `data_date`, `body`, `file`, `status`, `content_type`, `outcome`, `reason`, `warnings`, `fetched_at`
    tests/one.toml:3: there is no source `bar`
        hint: did you mean `bars`? accepted: `bars`, `sky`
    tests/one.toml:4: `data_date` is no date
        hint: accepted: YYYY-MM-DD
    tests/one.toml:6: an answer has `body` and `file`
        hint: one of the two
    "##);
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
    ), @r##"
    tests/one.toml:3: the source `bars` has no entity `oslo`
        hint: it is asked once, for no entity: leave `entity` out
    tests/one.toml:4: `data_date` is no date
        hint: accepted: YYYY-MM-DD
    tests/one.toml:5: `body` has 2 pages, and the source has none
        hint: a source with pages has `[pagination]`
    tests/one.toml:6: a fetch that is published has no `reason`
        hint: say what becomes of it: `outcome = "refused"`, `"quarantined"` or `"failed"`
    tests/one.toml:7: the models of `bars` have no `warn` check `v`
        hint: accepted: `w`
    tests/one.toml:8: `entity` is missing: `sky` is asked for each
        hint: such as `entity = "oslo"`
    tests/one.toml:11: `../x` cannot be read: No such file or directory (os error 2)
        hint: a file in the pipeline folder, such as `tests/bodies/monday.json`
    tests/one.toml:12: `given[1].outcome` is `refuse`
        hint: did you mean `refused`? accepted: `published`, `refused`, `quarantined`, `failed`
    tests/one.toml:13: an answer without `body`
        hint: `body = '''...'''`, or `file` relative to the pipeline folder; several are pages
    tests/one.toml:20: `fetched_at` is not later than that before it (2026-03-09T08:00:00Z)
        hint: the fetches of a source come one after the other; which day one is for is `data_date`
    tests/one.toml:21: `given[3].body` is an integer
        hint: accepted: a string or a list of strings
    tests/one.toml:23: no model or mart makes `bars`
        hint: did you mean `bar`? accepted: `bar`, `total`
    tests/one.toml:27: the key's column `date` is missing in a row
        hint: the key is `symbol`, `date`
    tests/one.toml:27: there is no column `clse`
        hint: did you mean `close`? accepted: `symbol`, `date`, `close`
    tests/one.toml:30: `rows` without a `key`
        hint: a view or a query has none of its own: `key = ["date"]` says which columns tell one row from another
    tests/one.toml:31: an `[[expect]]` with `table` and `sql`
        hint: one of `table = "..."`, `sql = "..."`, `rejects = "SOURCE"`
    tests/one.toml:34: an `[[expect]]` that expects nothing
        hint: accepted: `rows`, `absent`, `row_count`, `exact = true`
    tests/one.toml:38: the models of `bars` have no `reject` check `w`
        hint: nothing is accepted here
    "##);
    insta::assert_snapshot!(refused("description = 1\n"), @r##"
    tests/one.toml:1: `description` is an integer
        hint: accepted: a string
    tests/one.toml:1: a test without `[[given]]`
        hint: each `[[given]]` is one answer of a source: `source`, `data_date`, `body`
    "##);
}

/// A folder that has problems of its own is not looked up in; a test's form still is.
#[test]
fn form_is_judged_without_a_plan() {
    let folder = folder("[[given]]\nsource = \"no\"\ndata_date = 2026-03-09\nbodi = \"\"\n");
    fs::write(folder.path().join("tests/readme.txt"), "").unwrap();
    let problems = model_tests(folder.path(), None).unwrap_err();
    let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(said.join("\n"), @r##"
    tests/one.toml:1: an answer without `body`
        hint: `body = '''...'''`, or `file` relative to the pipeline folder; several are pages
    tests/one.toml:4: unknown key `given[0].bodi`
        hint: did you mean `body`? accepted: `source`, `entity`, `data_date`, `body`, `file`, `status`, `content_type`, `outcome`, `reason`, `warnings`, `fetched_at`
    tests/readme.txt: `readme.txt` is not a `.toml` file
        hint: `tests/` holds `.toml` files only
    "##);
}
