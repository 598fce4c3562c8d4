//! What the function does that the library does not: starting, understanding events, ending in time.

use std::time::{Duration, Instant};

use daymark_testkit::rest::{Gate, Reply};
use serde_json::Value;

use crate::runtime_api::{Lambda, Said};
use crate::world::{AMPLE, GOOD, MONDAY, SECRET, World, scheduled};

/// Less than the slow API takes, and enough for the quick one.
const SHORT: Duration = Duration::from_secs(5);

fn message(error: &Value) -> String {
    error["errorMessage"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_slow_api_is_left_before_the_deadline_and_the_rest_is_kept() {
    let world = World::of_two().await;
    let gate = Gate::closed();
    world.api.only("/weather", Reply::json(GOOD).held_by(&gate));
    let mut function = world.function().await;
    function.ready().await;
    let asked = Instant::now();
    let said = function.invoke(&scheduled(), SHORT).await;
    assert!(asked.elapsed() < SHORT, "it answers before its deadline");
    let Some(Said::Error(error)) = said else { panic!("no error: {said:?}") };
    assert_eq!(error["errorType"], "OutOfTime");
    insta::assert_snapshot!(message(&error), @"
    1 of 2 fetches failed
      weather 2025-11-24: the function's time ran out
    hint: give the function more time (at most 15 minutes), or each source its own schedule
    ");
    // What was quick is there, of what was slow nothing.
    world.library(&["stock"], Some(MONDAY), None).await;
    insta::assert_snapshot!(world.same(), @"
    archive/stock/2025-11-21/<sha256>.json
    manifests/stock/2025-11-21_
    raw/stock/stock_2025-11-21.json
    ");
    // The same process takes the retry.
    gate.open();
    let said = function.invoke(&scheduled(), AMPLE).await;
    assert!(matches!(said, Some(Said::Response(_))), "{said:?}");
    world.library(&["weather"], Some(MONDAY), None).await;
    world.same();
}

#[tokio::test]
async fn slow_entities_are_counted() {
    let world = World::new().await;
    let entities = "\n[[entity]]\nid = \"berlin\"\n[[entity]]\nid = \"lima\"\n";
    world.source("city", "", &format!("query = {{ at = \"{{{{ entity.id }}}}\" }}{entities}"));
    world.answer("city?at=berlin", GOOD);
    let gate = Gate::closed();
    world.api.only("/city?at=lima", Reply::json(GOOD).held_by(&gate));
    let said = world.function().await.invoke(&scheduled(), SHORT).await;
    let Some(Said::Error(error)) = said else { panic!("no error: {said:?}") };
    insta::assert_snapshot!(message(&error), @"
    1 of 1 fetches failed
      city 2025-11-24: the function's time ran out after 1 of 2 entities
    hint: give the function more time (at most 15 minutes), or each source its own schedule
    ");
    assert_eq!(world.manifests().len(), 1);
}

#[tokio::test]
async fn a_bad_folder_is_an_error_of_the_start_with_every_problem() {
    let world = World::of_two().await;
    world.source("weather", "calender = \"nyse\"", "methd = \"GET\"");
    let mut function = world.variables("function");
    function.push(("AWS_LAMBDA_LOG_LEVEL", "INFO".to_owned()));
    let (said, code) = Lambda::start(&function).await.init_error().await;
    assert_eq!(code, Some(1));
    let Said::InitError(kind, error) = said else { panic!("no error of the start: {said:?}") };
    assert_eq!(
        (kind.as_str(), &error["errorType"]),
        ("Runtime.BadPipeline", &"BadPipeline".into())
    );
    let folder = world.pipeline().display().to_string();
    insta::assert_snapshot!(message(&error).replace(&folder, "<folder>"), @"
    2 problems in the pipeline folder `<folder>`
      sources/weather.toml:3: unknown key `calender`
        hint: did you mean `calendar`? accepted: `id`, `calendar`, `data_date`, `schedule`, `supersede`, `start`, `deadline`, `missing_after`, `days`, `request`, `auth`, `pagination`, `entity`, `entities`, `incremental`, `window`, `rate`, `retry`, `expect`, `schema`, `rows`
      sources/weather.toml:16: unknown key `request.methd`
        hint: did you mean `method`? accepted: `url`, `query`, `headers`, `form`, `json`, `method`, `connect_timeout_seconds`, `read_timeout_seconds`, `total_timeout_seconds`, `max_mebibytes`, `max_redirects`, `redirect_hosts`, `proxy`, `ca_file`, `cookies`
    ");
}

#[tokio::test]
async fn no_folder_at_all_says_where_it_is_looked_for() {
    let empty = tempfile::tempdir().unwrap();
    let root = empty.path().to_str().unwrap().to_owned();
    let (said, _) = Lambda::start(&[("LAMBDA_TASK_ROOT", root.clone())]).await.init_error().await;
    let Said::InitError(_, error) = said else { panic!("no error of the start: {said:?}") };
    insta::assert_snapshot!(message(&error).replace(&root, "<root>"), @"
    `<root>/pipeline` is not a pipeline folder
      caused by: No such file or directory (os error 2)
    hint: put the folder into the zip as `pipeline/`, or set DAYMARK_PIPELINE
    ");
    let (said, _) = Lambda::start(&[]).await.init_error().await;
    let Said::InitError(_, error) = said else { panic!("no error of the start: {said:?}") };
    insta::assert_snapshot!(message(&error), @"
    there is no pipeline folder: neither DAYMARK_PIPELINE nor LAMBDA_TASK_ROOT is set
    hint: put the folder into the zip as `pipeline/`, or set DAYMARK_PIPELINE
    ");
}

#[tokio::test]
async fn the_folder_travels_beside_the_bootstrap() {
    let world = World::of_two().await;
    let mut variables = world.variables("function");
    let root = world.pipeline().parent().unwrap().to_str().unwrap().to_owned();
    variables[0] = ("LAMBDA_TASK_ROOT", root);
    let said = Lambda::start(&variables).await.invoke(&scheduled(), AMPLE).await;
    assert!(matches!(said, Some(Said::Response(_))), "{said:?}");
}

#[tokio::test]
async fn a_store_that_cannot_be_written_is_an_error_of_the_start() {
    let world = World::of_two().await;
    let mut variables = world.variables("function");
    variables[1].1 = "file:/proc/daymark".to_owned();
    let (said, _) = Lambda::start(&variables).await.init_error().await;
    let Said::InitError(kind, error) = said else { panic!("no error of the start: {said:?}") };
    assert_eq!(kind, "Runtime.NoRawStore");
    insta::assert_snapshot!(message(&error), @"
    the raw store `file:/proc/daymark` cannot be opened
      caused by: No such file or directory (os error 2)
    hint: the raw store must be a folder that this user can make and write, on a disk with room; set `url` in `[raw]` or DAYMARK_RAW_URL to use another
    ");
}

#[tokio::test]
async fn an_event_that_asks_for_nothing_known_fetches_nothing() {
    let world = World::of_two().await;
    let mut function = world.function().await;
    let mut said = Vec::new();
    for event in [r#"{"source": "wether"}"#, r#"{"date": "2025-11-24"}"#] {
        match function.invoke(event, AMPLE).await {
            Some(Said::Error(error)) => said.push(message(&error)),
            said => panic!("no error: {said:?}"),
        }
    }
    insta::assert_snapshot!(said.join("\n"), @"
    the event cannot be understood: the pipeline has no source `wether`; did you mean `weather`? accepted: `stock`, `weather`
    the event cannot be understood: it has the key `date`; accepted: `scheduled_at`, `source`, `data_date`
    ");
    assert!(world.api.requests().is_empty());
}

#[tokio::test]
async fn a_day_that_has_not_come_or_that_the_api_is_not_told_is_no_record() {
    let world = World::of_two().await;
    world.names_the_day("weather");
    let mut function = world.function().await;
    let mut said = Vec::new();
    for event in [
        r#"{"source": "stock", "data_date": "2025-10-01"}"#,
        r#"{"data_date": "2025-10-01"}"#,
        r#"{"source": "weather", "data_date": "2999-01-01"}"#,
        r#"{"scheduled_at": "2999-01-01T13:00:00Z"}"#,
    ] {
        match function.invoke(event, AMPLE).await {
            Some(Said::Error(error)) => {
                assert_eq!(error["errorType"], "BadEvent");
                // What day it is stands behind.
                let message = message(&error);
                said.push(match message.split_once(" is in the future") {
                    Some((before, _)) => format!("{before} is in the future"),
                    None => message,
                });
            }
            said => panic!("no error: {said:?}"),
        }
    }
    insta::assert_snapshot!(said.join("\n"), @"
    the event cannot be understood: the request of `stock` names no day, so the answer is not of 2025-10-01; write `{{ data_date }}` into `[request]` where the API takes a date; name a `source` that is told the day; or leave `data_date` away for the day that is due
    the event cannot be understood: the request of `stock` names no day, so the answer is not of 2025-10-01; write `{{ data_date }}` into `[request]` where the API takes a date; name a `source` that is told the day; or leave `data_date` away for the day that is due
    the event cannot be understood: the data date 2999-01-01 is in the future
    the event cannot be understood: `scheduled_at` 2999-01-01T13:00:00Z is in the future
    ");
    assert!(world.api.requests().is_empty());
}

#[tokio::test]
async fn no_secret_is_said_when_it_fails() {
    let world = World::of_two().await;
    // An API that repeats what it was asked with.
    world.answer("weather", &format!(r#"{{"error":true,"reason":"bad key {SECRET}"}}"#));
    let mut function = world.function().await;
    let said = function.invoke(&scheduled(), AMPLE).await;
    let Some(Said::Error(error)) = said else { panic!("no error: {said:?}") };
    assert!(message(&error).contains("bad key ***"), "{error}");
    let log = function.log().await;
    assert!(log.contains("not fetched") && !log.contains(SECRET), "{log}");
}
