//! `daymark test`: the pipeline's tests, run and told.
//!
//! In: a folder, perhaps names of tests. Out: a line for each test, and of one that fails every difference
//! with its place; exit code 1 when one does. Deliberately absent: running one (`model_tests`).

use std::process::ExitCode;

use daymark_plan::{ModelTest, PlanError};
use daymark_warehouse::expected::{Difference, Found};
use serde_json::json;

use crate::cli::Test;
use crate::commands;
use crate::failure::Failure;
use crate::model_tests::{self, Broken, Ran};
use crate::output;

/// Runs the tests.
pub(crate) async fn test(arguments: &Test) -> Result<ExitCode, Failure> {
    let folder = &arguments.folder.path;
    let plan = commands::load(&arguments.folder)?;
    let tests = daymark_plan::model_tests(folder, Some(&plan))
        .map_err(|problems| PlanError::Problems { folder: folder.clone(), problems })?;
    let tests = chosen(tests, &arguments.names)?;
    if tests.is_empty() {
        if arguments.json {
            output::json(&json!({ "passed": 0, "failed": 0, "tests": [] }))?;
        } else {
            output::to_stdout("the pipeline has no tests: docs/folder.md says how to write one\n")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let (mut passed, mut failed, mut told) = (0_u64, 0_u64, Vec::new());
    let shown = |ran: &Ran| if arguments.json { Ok(()) } else { output::to_stdout(&text(ran)) };
    let mut bench = model_tests::Bench::open(&plan).await?;
    for test in tests {
        let ran = bench.run(test).await;
        let ran = match ran {
            Ok(ran) => ran,
            Err(failure) => {
                bench.close().await;
                return Err(failure);
            }
        };
        if ran.broken.is_empty() {
            passed += 1;
        } else {
            failed += 1;
        }
        shown(&ran)?;
        told.push(ran);
    }
    bench.close().await;
    if arguments.json {
        let tests: Vec<_> = told
            .iter()
            .map(|ran| {
                json!({
                    "name": ran.test.name, "file": ran.test.file, "passed": ran.broken.is_empty(),
                    "differences": ran.broken,
                })
            })
            .collect();
        output::json(&json!({ "passed": passed, "failed": failed, "tests": tests }))?;
    } else {
        let all = output::counted(passed + failed, "test");
        let outcome = if failed == 0 { "passed".to_owned() } else { format!("{failed} failed") };
        output::to_stdout(&format!("{all}, {outcome}\n"))?;
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The tests of these names; all where there is none.
fn chosen(tests: Vec<ModelTest>, names: &[String]) -> Result<Vec<ModelTest>, Failure> {
    for name in names {
        if !tests.iter().any(|test| test.name == *name) {
            let known = tests.iter().map(|test| test.name.as_str());
            let hint = if tests.is_empty() {
                "it has none: docs/folder.md says how to write one".to_owned()
            } else {
                daymark_plan::did_you_mean(name, known)
            };
            return Err(Failure::usage(format!("the pipeline has no test `{name}`"), hint));
        }
    }
    let is_wanted = |test: &ModelTest| names.is_empty() || names.contains(&test.name);
    Ok(tests.into_iter().filter(is_wanted).collect())
}

fn text(ran: &Ran) -> String {
    let ModelTest { name, file, .. } = &ran.test;
    if ran.broken.is_empty() {
        return format!("ok    {name}\n");
    }
    let mut text = format!("FAIL  {name}\n");
    for broken in &ran.broken {
        match broken {
            Broken::Fetch { line, fetch, expected, got } => {
                text.push_str(&format!(
                    "  {file}:{line}: {fetch}\n    expected  {expected}\n    got       {got}\n"
                ));
            }
            Broken::Folder { message } => text.push_str(&format!("  {message}\n")),
            Broken::Rows(difference) => text.push_str(&in_words(file, difference)),
        }
    }
    text
}

fn in_words(file: &str, difference: &Difference) -> String {
    let Difference { line, table, key, found } = difference;
    let key: Vec<String> = key
        .iter()
        .map(|(name, value)| match name.as_str() {
            // The number of a query's row.
            "_position" => format!("row {value}"),
            name => format!("{name} = {value}"),
        })
        .collect();
    let place = match (table, key.is_empty()) {
        (Some(table), true) => table.clone(),
        (Some(table), false) => format!("{table}, {}", key.join(", ")),
        (None, true) => String::new(),
        (None, false) => format!("the query's {}", key.join(", ")),
    };
    let colon = if place.is_empty() { "" } else { ": " };
    let start = format!("  {file}:{line}: {place}");
    match found {
        Found::Values { columns } => {
            let rows: Vec<Vec<String>> = columns
                .iter()
                .map(|column| {
                    let (expected, got) = (&column.expected, &column.got);
                    vec![column.column.clone(), output::cut(expected, 60), output::cut(got, 60)]
                })
                .collect();
            let table = output::table(&["column", "expected", "got"], &rows, &[]);
            format!("{start}\n{}", output::indented(&output::indented(&table)))
        }
        Found::NoRow => format!("{start}{colon}there is no such row\n"),
        Found::Several { rows } => format!("{start}{colon}{rows} rows have this key\n"),
        Found::Present => format!("{start}{colon}the row is there\n"),
        Found::Others { rows, sample } => {
            let noun = output::counted(u64::try_from(*rows).unwrap_or_default(), "row");
            let mut text = format!("{start}{colon}{noun} not expected\n");
            for row in sample {
                text.push_str(&format!("    {}\n", output::cut(row, 200)));
            }
            text
        }
        Found::Count { expected, got, instead } => {
            let what = if table.is_some() { "rows" } else { "such rows" };
            let mut text =
                format!("{start}{colon}{what}\n    expected  {expected}\n    got       {got}\n");
            for other in instead {
                text.push_str(&format!("    set aside: {}\n", output::cut(other, 200)));
            }
            text
        }
        Found::Refused { message } => format!("{start}{colon}{message}\n"),
    }
}
