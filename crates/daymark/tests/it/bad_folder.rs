//! Bad folders and bad usage: exit code 2, every problem with its place, nothing opened.

use daymark_testkit::database::Kind;

use crate::world::{World, daymark};

/// What a command that is refused says, with the pipeline folder's path taken out.
async fn refused(world: &World, arguments: &[&str]) -> String {
    let done = world.daymark(arguments).await;
    done.expect_code(2);
    assert_eq!(done.stdout, "");
    // Nothing was asked, kept or opened.
    assert!(world.api.requests().is_empty());
    assert!(!world.folder.join(".daymark").try_exists().unwrap());
    done.stderr.replace(&world.folder.display().to_string(), "<folder>")
}

#[tokio::test]
async fn a_folder_that_is_not_there() {
    for command in ["validate", "run", "up", "status"] {
        let done = daymark(&[command, "--pipeline", "/nowhere/at-all"]).await;
        done.expect_code(2);
        insta::allow_duplicates! {
            insta::assert_snapshot!(done.stderr, @r"
            error: `/nowhere/at-all` is not a pipeline folder
              caused by: No such file or directory (os error 2)
            hint: give the folder with `--pipeline DIR`; `daymark init DIR` writes a new one
            ");
        }
    }
}

#[tokio::test]
async fn toml_that_cannot_be_parsed() {
    let world = World::new(Kind::Embedded).await;
    let text = world.read("sources/weather.toml");
    let line = text.lines().count() + 1;
    world.write("sources/weather.toml", &format!("{text}[other\n"));
    let said = refused(&world, &["run"]).await;
    let expected = format!(
        "error: 1 problem in the pipeline folder `<folder>`\n  \
         sources/weather.toml:{line}: this is not valid TOML: unclosed table, expected `]`\n"
    );
    assert_eq!(said, expected);
}

#[tokio::test]
async fn unknown_keys_of_all_files_at_once() {
    let world = World::new(Kind::Embedded).await;
    world.edit("daymark.toml", "time_zone", "time_zon");
    world.edit("sources/sp500.toml", "calendar =", "calender =");
    world.edit("models/weather_daily.sql", "key   =", "keys  =");
    insta::assert_snapshot!(refused(&world, &["run"]).await, @"
    error: 5 problems in the pipeline folder `<folder>`
      daymark.toml:1: `time_zone` is missing
      daymark.toml:3: unknown key `time_zon`
        hint: did you mean `time_zone`? accepted: `name`, `time_zone`, `schedule`, `raw`, `database`, `dashboard`, `scheduler`, `ledger`, `hosts`, `alerts`, `heartbeat`
      models/weather_daily.sql:1: `key` is missing
      models/weather_daily.sql:3: unknown key `keys`
        hint: did you mean `key`? accepted: `table`, `write`, `window`, `settled`, `history`, `key`, `columns`, `checks`, `description`, `indexes`
      sources/sp500.toml:3: unknown key `calender`
        hint: did you mean `calendar`? accepted: `id`, `calendar`, `data_date`, `schedule`, `supersede`, `start`, `deadline`, `missing_after`, `days`, `request`, `auth`, `pagination`, `entity`, `entities`, `incremental`, `window`, `rate`, `retry`, `expect`, `schema`, `rows`
    ");

    // The same for programs.
    let done = world.daymark(&["validate", "--json"]).await;
    done.expect_code(2);
    let json = done.json();
    assert_eq!(json["valid"], false);
    let problems = json["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 5);
    assert_eq!(problems[4]["file"], "sources/sp500.toml");
    assert_eq!(problems[4]["line"], 3);
}

#[tokio::test]
async fn a_date_in_the_future_and_sources_that_are_not_there() {
    let world = World::new(Kind::Embedded).await;
    let said = refused(&world, &["run", "--date", "2999-01-01"]).await;
    let (error, hint) = said.split_once('\n').unwrap();
    assert_eq!(error, "error: the data date 2999-01-01 is in the future");
    assert!(hint.starts_with("hint: today is 20") && hint.ends_with(" in America/New_York\n"));

    let said = refused(&world, &["run", "--date", "2026-02-30"]).await;
    assert!(said.starts_with("error: invalid value '2026-02-30' for '--date <DATE>'"), "{said}");

    insta::assert_snapshot!(refused(&world, &["run", "--source", "sp500", "--source", "wether"]).await, @"
    error: the pipeline has no source `wether`
    hint: did you mean `weather`? accepted: `sp500`, `weather`
    ");
}

/// Today's answer is not that of another day, and does not get its name by accident.
#[tokio::test]
async fn a_day_that_the_api_is_not_asked_about() {
    let world = World::answering(Kind::Embedded).await;
    let said = refused(&world, &["run", "--date", "2026-03-02"]).await;
    let (error, hint) = said.split_once('\n').unwrap();
    assert_eq!(
        error,
        "error: `sp500` and `weather` are asked without a date, so their APIs answer as of now and not for \
         2026-03-02"
    );
    let start = "hint: write `{{ data_date }}` into `[request]` where the API takes a date; leave `--date` \
                 away for what is due now (`sp500` 20";
    assert!(hint.starts_with(start), "{hint}");
    let end = "); choose other sources with `--source`; or keep what the API answers now as the answer for \
         2026-03-02, with `--as-of-now`\n";
    assert!(hint.ends_with(end), "{hint}");
    let said = refused(&world, &["run", "--date", "2026-03-02", "--source", "weather"]).await;
    let error = "error: `weather` is asked without a date, so its API answers as of now and not for \
                 2026-03-02\n";
    assert!(said.starts_with(error), "{said}");
    assert!(world.api.requests().is_empty());
    assert!(world.stored("manifests/weather").is_empty());
    let said = refused(&world, &["run", "--as-of-now"]).await;
    assert!(said.contains("--date <DATE>"), "{said}");

    // Told the day, the API is asked about it.
    world.edit("sources/weather.toml", "\npast_days = 2\n", "\nstart_date = \"{{ data_date }}\"\n");
    let told =
        world.daymark(&["run", "--json", "--date", "2026-03-02", "--source", "weather"]).await;
    told.expect_code(0);
    let asked = world.api.requests().remove(0).target;
    assert!(asked.ends_with("&start_date=2026-03-02"), "{asked}");
    // The day that is due may be named: it is what an answer as of now is for.
    world.edit("sources/weather.toml", "start_date = \"{{ data_date }}\"", "past_days = 2");
    let due = world.daymark(&["run", "--json", "--source", "weather"]).await;
    due.expect_code(0);
    let due = due.json()["sources"][0]["data_date"].as_str().unwrap().to_owned();
    let named = world.daymark(&["run", "--json", "--date", &due, "--source", "weather"]).await;
    named.expect_code(0);
}

#[tokio::test]
async fn addresses_that_are_not_understood_are_not_repeated_with_their_passwords() {
    let world = World::new(Kind::Embedded).await;
    let mut command = world.command(&["run"]);
    command.env("DAYMARK_DATABASE_URL", "mysql://u:sekret@h/x").env("DAYMARK_RAW_URL", "s3://x");
    let done = crate::world::run_to_end(&mut command).await;
    done.expect_code(2);
    insta::assert_snapshot!(done.stderr.replace(&world.folder.display().to_string(), "<folder>"), @"
    error: 2 problems in the pipeline folder `<folder>`
      $DAYMARK_DATABASE_URL: the database URL is neither embedded nor PostgreSQL's
        hint: accepted: `embedded:`, `embedded:DIR` or `postgres://USER@HOST/DATABASE`
      $DAYMARK_RAW_URL: the bucket of the raw store is `x`
        hint: accepted: 3 to 63 characters of a-z, 0-9, - and .
    ");
}
