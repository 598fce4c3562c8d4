//! (f): one day of the reference pipeline, from the start of the process to its end, which is behind the
//! commit.
//!
//! In: a kind of database. Out: the median of some days, and the first one, which makes the ledger and the
//! tables. Deliberately absent: whatever is not `daymark run`.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use daymark_testkit::database::{Kind, TestDatabase};

use crate::api::Api;
use crate::world::program;

const RUNS: usize = 11;

pub(crate) async fn runs(kind: Kind) {
    // Its own, so that each run of the bench asks from the first day on.
    let api = Api::start();
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let folder = home.path().join("pipeline");
    let made = program().arg("init").arg(&folder).stdout(Stdio::null()).status().unwrap();
    assert!(made.success());
    for (file, public) in [
        ("sources/weather.toml", "https://api.open-meteo.com"),
        ("sources/sp500.toml", "https://query1.finance.yahoo.com"),
    ] {
        let path = folder.join(file);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace(public, &api.url())).unwrap();
    }
    let database = TestDatabase::new(kind).await;
    let command = |day: usize| {
        let mut command: Command = program();
        command
            .args(["run", "--json", "--as-of-now", "--date"])
            .arg(format!("2026-01-{:02}", day + 2))
            .env("DAYMARK_PIPELINE", &folder)
            .env("DAYMARK_DATABASE_URL", &database.url)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    };
    let mut times: Vec<Duration> = Vec::new();
    for day in 0..=RUNS {
        let began = Instant::now();
        let done = command(day).status().unwrap();
        times.push(began.elapsed());
        assert!(done.success(), "a day failed");
    }
    let first = times.remove(0);
    times.sort_unstable();
    let ms = |took: Duration| took.as_secs_f64() * 1000.0;
    println!(
        "\n(f) one day of the reference pipeline, {kind:?}: {:.0} ms, the first day {:.0} ms",
        ms(times[RUNS / 2]),
        ms(first)
    );
}
