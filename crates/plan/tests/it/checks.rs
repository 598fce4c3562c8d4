//! `[[checks]]`: what is refused of them, each with its line, and what they read.

use std::fs;

use daymark_plan::{Environment, PlanError, Reads, Rule, Severity};
use tempfile::TempDir;

/// A folder with one model that has these checks; the first of them starts on line 8.
fn with(checks: &str) -> Result<daymark_plan::Plan, PlanError> {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("daymark.toml", "name = \"t\"\ntime_zone = \"UTC\"\nschedule = \"cron(0 8 * * ? *)\"\n");
    write(
        "sources/bars.toml",
        "id = \"bars\"\n[request]\nurl = \"http://127.0.0.1:1/\"\n[rows]\nlayout = \"records\"\n\
         [rows.fields]\nsymbol = { path = \"symbol\", type = \"text\" }\n",
    );
    let head = "/* model\ntable = \"bar\"\nkey = [\"symbol\", \"date\"]\n[columns]\nsymbol = \"text not null\"\n\
                date = \"date not null\"\nclose = \"double precision\"\n";
    let query =
        "*/\nselect _fetch_id, _fetch_row, symbol, null::date as date, 1 as close from raw_bars\n";
    write("models/bar.sql", &format!("{head}{checks}{query}"));
    daymark_plan::load(folder.path(), &Environment::default())
}

/// The problems of checks, as people read them.
fn refused(checks: &str) -> String {
    match with(checks) {
        Err(PlanError::Problems { problems, .. }) => {
            problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_check_says_what_it_reads_and_where_its_sql_starts() {
    let plan = with(
        "[[checks]]\nname = \"a\"\nsql = \"\"\"\nselect * from staged where close < 0\"\"\"\n\
         [[checks]]\nname = \"b\"\nseverity = \"warn\"\nsql = \"select 1 from staged join bar using (symbol)\"\n\
         [[checks]]\nname = \"c\"\nsql = \"select 1 from staged where date > current_date\"\n\
         [[checks]]\nname = \"d\"\nseverity = \"reject\"\nnot_null = \"close\"\n\
         [[checks]]\nname = \"e\"\nno_gaps = { column = \"date\" }\n",
    )
    .unwrap();
    let checks = &plan.models[0].checks;
    let read: Vec<Reads> = checks.iter().map(|check| check.reads).collect();
    assert_eq!(read, [Reads::Staged, Reads::More, Reads::More, Reads::Staged, Reads::Staged]);
    assert_eq!((checks[0].line, checks[1].line), (11, 15));
    assert_eq!((checks[0].severity, checks[3].severity), (Severity::Block, Severity::Reject));
    let by = vec!["symbol".to_owned()];
    assert_eq!(checks[4].rule, Rule::NoGaps { column: "date".to_owned(), by });
}

#[test]
fn everything_that_is_wrong_is_said_with_its_line() {
    for (checks, said) in [
        ("[[checks]]\nname = \"a\"\n", "models/bar.sql:8: a check without a rule"),
        ("[[checks]]\nunique = \"date\"\n", "models/bar.sql:8: `checks[0].name` is missing"),
        (
            "[[checks]]\nname = \"a\"\nnot_null = \"clos\"\n",
            "models/bar.sql:10: the column `clos` is not in `[columns]`",
        ),
        (
            "[[checks]]\nname = \"a\"\nunique = \"date\"\nrow_count = { min = 1 }\n",
            "models/bar.sql:8: a check with several rules: unique, row_count",
        ),
        (
            "[[checks]]\nname = \"a\"\nseverity = \"reject\"\nrow_count = { min = 1 }\n",
            "models/bar.sql:11: `row_count` judges a fetch as a whole, and `severity` is `reject`",
        ),
        (
            "[[checks]]\nname = \"a\"\nseverity = \"reject\"\nmax_change = { column = \"close\", ratio = 1 }\n",
            "models/bar.sql:11: a check that rejects rows reads `staged_beside_published`",
        ),
        (
            "[[checks]]\nname = \"a\"\nseverity = \"reject\"\nsql = \"select symbol, date from staged, bar\"\n",
            "models/bar.sql:11: a check that rejects rows reads `bar`",
        ),
        (
            "[[checks]]\nname = \"a\"\nsql = \"select $1 from staged\"\n",
            "models/bar.sql:10: the SQL has a parameter such as `$1`",
        ),
        (
            "[[checks]]\nname = \"a\"\nrange = { column = \"close\" }\n",
            "models/bar.sql:10: a range without `min` and `max`",
        ),
        (
            "[[checks]]\nname = \"a\"\nfreshness = { column = \"date\", day = 3 }\n",
            "models/bar.sql:10: unknown key `checks[0].freshness.day`",
        ),
        (
            "[[checks]]\nname = \"a\"\nunique = \"date\"\n[[checks]]\nname = \"a\"\nunique = \"date\"\n",
            "models/bar.sql:11: two checks are called `a`",
        ),
        (
            "[[checks]]\nname = \"a\"\nseverity = \"stop\"\nunique = \"date\"\n",
            "models/bar.sql:10: `checks[0].severity` is `stop`",
        ),
    ] {
        let found = refused(checks);
        assert!(found.contains(said), "{said}\nin\n{found}");
    }
}
