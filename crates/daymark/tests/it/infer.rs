//! `daymark infer`: files in, a section that the folder takes out.

use std::fs;

use tempfile::TempDir;

use crate::world::{daymark, program, run_to_end};

#[tokio::test]
async fn a_recorded_response_becomes_a_source_that_is_valid() {
    let home = TempDir::new().unwrap();
    let (good, bad) = (home.path().join("Good Day.json"), home.path().join("bad.json"));
    fs::write(&good, "{\"daily\":{\"time\":[\"2026-03-01\"],\"max\":[1.5]},\"latitude\":38.9}")
        .unwrap();
    fs::write(&bad, "{\"error\":true,\"reason\":\"Minutely limit\"}").unwrap();
    let files = [good.to_str().unwrap(), bad.to_str().unwrap()];
    let url = "https://api.example.com/v1/days?d={{ data_date }}";
    let made = daymark(&["infer", files[0], files[1], "--id", "days", "--url", url]).await;
    made.expect_code(0);
    insta::assert_snapshot!(made.stdout, @r#"
    id = "days"

    [request]
    url = "https://api.example.com/v1/days?d={{ data_date }}"

    # Good Day.json: 1 row
    # bad.json: an error, told by `$.error`

    [expect]
    absent = ["$.error"]

    [rows]
    layout = "columns"
    at = "$.daily"

    [rows.fields]
    latitude = { path = "$.latitude", type = "double" }
    time     = { path = "time", type = "date" }
    max      = { path = "max", type = "double" }
    "#);
    // An address that the folder would refuse is refused here, in the same words.
    for (url, said) in [
        ("api.example.com/v1", "`url` is not an address"),
        ("ftp://api.example.com/v1", "`url` has the scheme `ftp`"),
        ("https://api.example.com/v1?api_key=hunter2", "api_key"),
        ("https://api.example.com/{{ data_dat }}", "data_dat"),
    ] {
        let refused = daymark(&["infer", files[0], "--id", "days", "--url", url]).await;
        refused.expect_code(2);
        assert!(refused.stderr.contains(said) && refused.stdout.is_empty(), "{}", refused.stderr);
        assert!(!refused.stderr.contains("hunter2"), "{}", refused.stderr);
    }
    let model = daymark(&["infer", files[0], "--id", "days", "--model"]).await;
    model.expect_code(0);

    // Both are files of a pipeline as they are.
    let folder = home.path().join("pipeline");
    for (file, text) in [
        ("sources/days.toml", &made.stdout),
        ("models/days_daily.sql", &model.stdout),
        (
            "daymark.toml",
            &"name = \"p\"\ntime_zone = \"UTC\"\nschedule = \"cron(0 8 * * ? *)\"\n".to_owned(),
        ),
    ] {
        let path = folder.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let valid = daymark(&["validate", "--pipeline", folder.to_str().unwrap()]).await;
    valid.expect_code(0);
    assert!(valid.stdout.contains("days_daily"), "{}", valid.stdout);
}

#[tokio::test]
async fn what_cannot_be_read_is_told() {
    let missing = daymark(&["infer", "/nowhere/a.json"]).await;
    missing.expect_code(1);
    assert!(
        missing.stderr.starts_with("error: cannot read `/nowhere/a.json`"),
        "{}",
        missing.stderr
    );
    let bad_id = daymark(&["infer", "a.json", "--id", "A b"]).await;
    bad_id.expect_code(2);
    daymark(&["infer"]).await.expect_code(2);
    let home = TempDir::new().unwrap();
    fs::write(home.path().join("page.html"), "<html>").unwrap();
    let page = run_to_end(program().args(["infer", "page.html"]).current_dir(home.path())).await;
    page.expect_code(1);
    assert!(
        page.stderr.contains("it looks like HTML") && page.stderr.contains("hint: "),
        "{}",
        page.stderr
    );
}
