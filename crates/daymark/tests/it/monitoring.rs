//! What machines ask a running `daymark up`: `/metrics`, `/healthz`, `/readyz`, and its log in JSON.

#![expect(clippy::float_cmp, reason = "what is counted is whole")]

use std::collections::{BTreeMap, BTreeSet};

use daymark_testkit::database::Kind;
use daymark_testkit::on_both_databases;
use daymark_testkit::rest::Reply;
use serde_json::Value;

use crate::up::get;
use crate::world::{Done, MARKET, Running, World, program, run_to_end};

const DOCS: &str = include_str!("../../../../docs/monitoring.md");

on_both_databases! {
    the_metrics_say_what_the_ledger_has_before_and_after_a_restart;
}

/// A sample: the metric's name and its labels as they are written, and its value.
type Samples = BTreeMap<String, f64>;

fn samples(text: &str) -> Samples {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (key, value) = line.rsplit_once(' ').unwrap();
        (key.to_owned(), value.parse().unwrap())
    };
    lines.map(sample).collect()
}

async fn metrics(address: &str) -> String {
    let (status, headers, text) = get(&format!("{address}/metrics")).await;
    assert_eq!(status, 200, "{text}");
    assert_eq!(headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    text
}

/// One good run, and one in which the market is away.
async fn two_runs(world: &World) {
    assert_eq!(world.run("2026-03-02").await.code, 0);
    world.api.only(MARKET, Reply::json("sorry").status(503));
    assert_eq!(world.run("2026-03-03").await.code, 1);
}

/// `daymark up`, as soon as it keeps the schedule.
async fn up(world: &World) -> (Running, String) {
    let (mut up, address) = world.up_quietly().await;
    up.says("next run: ").await;
    (up, address)
}

async fn the_metrics_say_what_the_ledger_has_before_and_after_a_restart(kind: Kind) {
    let world = World::answering(kind).await;
    two_runs(&world).await;
    let (first, address) = up(&world).await;
    let text = metrics(&address).await;
    let seen = samples(&text);
    for (sample, value) in [
        (r#"daymark_runs_total{kind="manual",outcome="succeeded"}"#, 1.0),
        (r#"daymark_runs_total{kind="manual",outcome="failed"}"#, 1.0),
        (r#"daymark_runs_total{kind="scheduled",outcome="failed"}"#, 0.0),
        ("daymark_runs_open", 0.0),
        ("daymark_last_run_succeeded", 0.0),
        (r#"daymark_steps_total{source="weather",stage="publish",outcome="published"}"#, 2.0),
        (r#"daymark_steps_total{source="sp500",stage="ingest",outcome="refused"}"#, 1.0),
        (r#"daymark_step_errors_total{source="sp500",stage="ingest",error="unavailable"}"#, 1.0),
        (r#"daymark_step_errors_total{source="sp500",stage="ingest",error="storage"}"#, 0.0),
        (r#"daymark_requests_total{source="weather",outcome="answered"}"#, 2.0),
        (r#"daymark_requests_total{source="weather",outcome="failed"}"#, 0.0),
        (r#"daymark_requests_total{source="sp500",outcome="answered"}"#, 1.0),
        (r#"daymark_requests_total{source="sp500",outcome="failed"}"#, 4.0),
        (r#"daymark_request_errors_total{source="sp500",error="unavailable"}"#, 4.0),
        (r#"daymark_request_duration_seconds_count{source="sp500"}"#, 5.0),
        (r#"daymark_rows_total{table="weather_daily",kind="inserted"}"#, 3.0),
        (r#"daymark_rows_total{table="weather_daily",kind="unchanged"}"#, 2.0),
        (r#"daymark_last_publish_rows{table="weather_daily",kind="unchanged"}"#, 2.0),
        (r#"daymark_last_publish_rows{table="weather_daily",kind="inserted"}"#, 0.0),
        (r#"daymark_rejected_rows_total{source="weather",by="extraction"}"#, 0.0),
        ("daymark_publishes_total", 2.0),
        // 3 March 2026 at midnight, UTC.
        (r#"daymark_source_newest_day_timestamp_seconds{source="weather"}"#, 1_772_496_000.0),
        ("daymark_scheduler_up", 1.0),
        ("daymark_scheduler_is_leader", 1.0),
        ("daymark_scheduler_lease_epoch", 1.0),
        // 8:00 in New York on 1 January 2099.
        ("daymark_scheduler_next_fire_timestamp_seconds", 4_070_955_600.0),
        ("daymark_ledger_up", 1.0),
        (r#"daymark_process_ledger_reads_total{outcome="succeeded"}"#, 1.0),
    ] {
        assert_eq!(seen.get(sample), Some(&value), "{sample}\n{text}");
    }
    let bytes = r#"daymark_received_bytes_total{source="sp500"}"#;
    assert!(seen[bytes] > 15.0, "{text}");
    let days: f64 = seen
        .iter()
        .filter(|(key, _)| key.starts_with("daymark_day_states{source=\"weather\""))
        .map(|(_, value)| value)
        .sum();
    assert_eq!(days, 30.0, "{text}");

    let (status, _, body) = get(&format!("{address}/readyz")).await;
    let ready: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &ready["ready"]), (200, &true.into()), "{body}");
    for part in ["database", "raw_store", "scheduler"] {
        assert_eq!(ready[part]["state"], "ok", "{body}");
    }
    assert_eq!(ready["scheduler"]["is_leader"], true, "{body}");
    assert_eq!(get(&format!("{address}/healthz")).await.2, "ok\n");
    first.stop().await;

    // Another process says the same, but for what is its own.
    let (second, address) = up(&world).await;
    let after = samples(&metrics(&address).await);
    let of_ledger = |samples: Samples| -> Samples {
        let own = |name: &str| name.starts_with("daymark_process_") || !name.contains("_total");
        samples.into_iter().filter(|(name, _)| !own(name)).collect()
    };
    assert_eq!(of_ledger(after), of_ledger(seen));
    second.stop().await;

    conventions(&text);
    documented(&text);
}

/// What Prometheus's conventions ask of names, units, help and labels.
fn conventions(text: &str) {
    let mut kinds = BTreeMap::new();
    let mut helped = BTreeSet::new();
    for line in text.lines().filter(|line| line.starts_with('#')) {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[1] {
            "HELP" => assert!(words[3].ends_with('.') && helped.insert(words[2]), "{line}"),
            "TYPE" => assert_eq!(kinds.insert(words[2], words[3]), None, "{line}"),
            _ => panic!("{line}"),
        }
    }
    assert_eq!(helped, kinds.keys().copied().collect());
    for (name, kind) in &kinds {
        let is_ours = name.starts_with("daymark_") || *name == "process_start_time_seconds";
        assert!(is_ours && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
        assert_eq!(name.ends_with("_total"), *kind == "counter", "{name}");
        for word in name.split('_') {
            let is_of_base = ![
                "ms",
                "milliseconds",
                "minutes",
                "hours",
                "days",
                "kb",
                "mb",
                "kib",
                "percent",
                "count",
                "sum",
                "counter",
                "gauge",
            ]
            .contains(&word);
            assert!(is_of_base, "{name}");
        }
        let is_time = name.split('_').any(|word| ["timestamp", "duration", "age"].contains(&word));
        assert_eq!(is_time, name.ends_with("_seconds") && !name.contains("start_time"), "{name}");
    }
    // Samples of a metric stand together, behind its TYPE; each is there once.
    let mut current = "";
    let mut seen = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            current = rest.split(' ').next().unwrap();
        } else if !line.starts_with('#') {
            let (key, value) = line.rsplit_once(' ').unwrap();
            let name = key.split('{').next().unwrap();
            let name = match kinds[current] {
                "summary" => name.trim_end_matches("_sum").trim_end_matches("_count"),
                _ => name,
            };
            assert_eq!(name, current, "{line}");
            assert!(value.parse::<f64>().unwrap() >= 0.0, "{line}");
            assert!(seen.insert(key), "{line}");
        }
    }
}

/// Every metric stands in docs/monitoring.md with its type, labels and meaning, and no other.
fn documented(text: &str) {
    let mut told = BTreeMap::new();
    for line in DOCS.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, meaning] = cells[..] else { continue };
        told.insert(name.trim_matches('`').to_owned(), [kind, labels, meaning].map(str::to_owned));
    }
    let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, rest)) = line.split_once('{') else { continue };
        let names = rest.split("=\"").filter_map(|part| part.rsplit([',', '"']).next());
        let names = names.filter(|name| !name.contains('}'));
        let name = name.trim_end_matches("_sum").trim_end_matches("_count");
        labels.entry(name).or_default().extend(names);
    }
    let mut found = BTreeSet::new();
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        if line.starts_with("# HELP") {
            let [_, _, meaning] = &told.get(words[2]).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(meaning, words[3], "{}", words[2]);
            found.insert(words[2].to_owned());
        } else if line.starts_with("# TYPE") {
            let [kind, told, _] = &told[words[2]];
            assert_eq!(kind, words[3], "{}", words[2]);
            let told: BTreeSet<&str> = told
                .split(", ")
                .map(|label| label.trim_matches('`'))
                .filter(|label| !label.is_empty())
                .collect();
            if let Some(labels) = labels.get(words[2]) {
                assert_eq!(&told, labels, "{}", words[2]);
            }
        }
    }
    assert_eq!(found, told.into_keys().collect());
}

/// Prometheus's own tool has nothing to say against the metrics, nor against the rules of docs/monitoring.md.
#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(
    not(has_promtool),
    ignore = "promtool is absent: `scripts/setup.sh` fetches it where apt can, or name it in DAYMARK_TEST_PROMTOOL"
)]
async fn promtool_finds_nothing_wrong() {
    use std::process::Stdio;
    use tokio::io::AsyncWriteExt;

    let Some(promtool) = option_env!("PROMTOOL") else { panic!("the build found it") };
    let world = World::answering(Kind::Native).await;
    two_runs(&world).await;
    let (up, address) = up(&world).await;
    let text = metrics(&address).await;
    up.stop().await;
    let mut child = tokio::process::Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).await.unwrap();
    let done = child.wait_with_output().await.unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(done.status.success(), "{}{}", said(&done.stdout), said(&done.stderr));
    assert_eq!(said(&done.stderr) + &said(&done.stdout), "", "{text}");

    let rules = DOCS.split("```yaml\n").map(|part| part.split("```").next().unwrap());
    let rules = rules.filter(|part| part.starts_with("groups:")).collect::<Vec<_>>();
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("rules.yml");
    std::fs::write(&file, rules[0]).unwrap();
    let done =
        run_to_end(tokio::process::Command::new(promtool).arg("check").arg("rules").arg(&file))
            .await;
    assert_eq!((rules.len(), done.code), (1, Some(0)), "{done:?}");
    // The rules ask for metrics there are.
    let names = rules[0].split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    for name in names.filter(|name| name.starts_with("daymark_")) {
        assert!(text.contains(&format!("# TYPE {name} ")), "{name}");
    }
}

/// A store that is away is said, and that the process lives as well; nothing tells where the store is.
#[tokio::test(flavor = "multi_thread")]
async fn a_raw_store_that_is_away_is_not_ready() {
    let world = World::answering(Kind::Native).await;
    assert_eq!(world.run("2026-03-02").await.code, 0);
    let (up, address) = up(&world).await;
    let raw = world.folder.join(".daymark/raw");
    let elsewhere = world.folder.join(".daymark/elsewhere");
    std::fs::rename(&raw, &elsewhere).unwrap();
    std::fs::write(&raw, "no folder").unwrap();
    let (status, _, body) = get(&format!("{address}/readyz")).await;
    let ready: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &ready["ready"]), (503, &false.into()), "{body}");
    assert_eq!(
        [&ready["raw_store"]["state"], &ready["database"]["state"]],
        ["failed", "ok"],
        "{body}"
    );
    assert!(!body.contains("daymark/raw"), "{body}");
    assert_eq!(get(&format!("{address}/healthz")).await.0, 200);
    std::fs::remove_file(&raw).unwrap();
    std::fs::rename(&elsewhere, &raw).unwrap();
    while get(&format!("{address}/readyz")).await.0 != 200 {
        tokio::task::yield_now().await;
    }
    let done = {
        up.signal("TERM").await;
        up.end().await
    };
    // The log says where, and once.
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(done.stderr.matches("the raw store is not ready").count(), 1, "{done:?}");
    assert!(done.stderr.contains("daymark/raw"), "{done:?}");
}

/// A publish holds the one session of the embedded database. Scrapes neither wait for it nor take its turn: they
/// tell what was known, and how old it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_waits_for_no_publish() {
    let world = World::answering(Kind::Embedded).await;
    assert_eq!(world.run("2026-03-02").await.code, 0);
    let (up, address) = up(&world).await;
    let before = samples(&metrics(&address).await);
    assert_eq!(before["daymark_ledger_up"], 1.0);
    world.edit(
        "models/weather_daily.sql",
        "from raw_weather",
        "from raw_weather cross join (select pg_sleep(600)) as slow",
    );
    let mut guest = world.start(&["run", "--as-of-now", "--date", "2026-03-03"]);
    guest.reports("publish: staging weather 2026-03-03 for `weather_daily`").await;
    // What was read is good for some seconds.
    let (text, now) = loop {
        let text = metrics(&address).await;
        let now = samples(&text);
        if now["daymark_ledger_up"] == 0.0 {
            break (text, now);
        }
    };
    let runs = r#"daymark_runs_total{kind="manual",outcome="succeeded"}"#;
    assert_eq!(now[runs], before[runs], "{text}");
    assert!(now["daymark_ledger_read_age_seconds"] > before["daymark_ledger_read_age_seconds"]);
    let (status, _, body) = get(&format!("{address}/readyz")).await;
    assert_eq!(status, 200, "{body}");
    assert!(body.contains(r#""database":{"state":"busy""#), "{body}");
    guest.kill().await;
    drop(up);
}

/// The lines of a log in JSON.
fn lines(done: &Done) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    done.stderr.lines().map(parse).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_json_names_the_run_and_the_source_of_every_line() {
    let world = World::answering(Kind::Native).await;
    world.api.only(MARKET, Reply::json("sorry").status(503));
    let arguments = ["run", "--json", "--as-of-now", "--date", "2026-03-02"];
    let mut command = world.command(&arguments);
    let done = run_to_end(command.env("DAYMARK_LOG_FORMAT", "json")).await;
    assert_eq!(done.code, Some(1), "{done:?}");
    let run = done.json()["run_id"].as_str().unwrap().to_owned();
    let lines = lines(&done);
    for line in &lines {
        assert_eq!(line["run"], run, "{line}");
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
        assert!(line["level"].is_string() && line["message"].is_string(), "{line}");
    }
    let find = |message: &str, source: &str| {
        let of = |line: &&Value| {
            line["message"].as_str().unwrap().contains(message)
                && line["source"].as_str().unwrap_or("") == source
        };
        lines.iter().find(of).unwrap_or_else(|| panic!("{message}, {source}: {done:?}"))
    };
    let fetching = find("fetching", "weather");
    assert_eq!([&fetching["level"], &fetching["data_date"]], ["INFO", "2026-03-02"]);
    assert_eq!(find("asking again in", "sp500")["level"], "WARN");
    let failed = find("failed: ", "sp500");
    assert_eq!([&failed["level"], &failed["data_date"]], ["ERROR", "2026-03-02"]);
    let ended = find("the run ended", "");
    assert_eq!([&ended["outcome"], &ended["kind"]], ["failed", "manual"]);
    assert!(ended["duration_seconds"].is_f64());

    // An error is a line as well, and the ledger's own log of the run is what it was.
    let nothing =
        run_to_end(program().args(["validate", "--log-format", "json", "--pipeline", "/nowhere"]))
            .await;
    assert_eq!(nothing.code, Some(2), "{nothing:?}");
    let error: Value = serde_json::from_str(&nothing.stderr).unwrap();
    assert_eq!(error["level"], "ERROR");
    assert!(error["message"].as_str().unwrap().contains("/nowhere"), "{error}");
    let shown = world.daymark(&["runs", "show", "last"]).await;
    shown.expect_code(0);
    assert!(!shown.stdout.contains("the run ended"), "{}", shown.stdout);
    assert!(shown.stdout.contains("weather: fetching"), "{}", shown.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_for_people_shows_no_run_twice() {
    let world = World::answering(Kind::Native).await;
    let done = world.daymark(&["run", "-v", "--as-of-now", "--date", "2026-03-02"]).await;
    done.expect_code(0);
    assert_eq!(done.stderr.matches("fetching").count(), 2, "{}", done.stderr);
    assert!(!done.stderr.contains("the run ended"), "{}", done.stderr);
}
