//! How fast ingestion is, and in how much memory: `make bench-ingest`. The figures and what bounds them are
//! in the README beside this.
//!
//! In: nothing; with `DAYMARK_TEST_S3` also an S3 server; words choose cases. Out: a table. Every run is a
//! process of its own that only ingests, so that its peak memory is ingestion's; server, generated
//! bodies and the tables are this one's. Deliberately absent: asserting anything.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]
#![expect(clippy::unwrap_used, reason = "a benchmark ends where something fails")]

mod case;
mod listing;
mod server;
mod start;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use case::Case;
use server::Server;

/// The word that makes this program a run of a case.
const RUN: &str = "run-a-case";

/// What a run measured.
#[derive(Debug, Clone, Copy)]
struct Measured {
    took: Duration,
    peak_kib: u64,
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if let [run, into, rest @ ..] = words.as_slice()
        && run == RUN
    {
        let (case, url) = Case::read(rest);
        let measured = case.run(&url, Path::new(into));
        println!("{} {}", measured.took.as_micros(), measured.peak_kib);
        return;
    }
    let wanted =
        |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(Server::start());
    let into = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    println!("{:<44} {:>10} {:>12} {:>10}", "case", "median", "rate", "peak");
    for (name, case, runs) in case::all() {
        if wanted(name) {
            measure(name, &case, runs, &server, into.path());
        }
    }
    if wanted("new-file") {
        listing::on_files();
    }
    if wanted("new-s3") {
        runtime.block_on(listing::on_s3());
    }
    if wanted("start") {
        runtime.block_on(start::lambda(&server));
    }
}

fn measure(name: &str, case: &Case, runs: usize, server: &Server, into: &Path) {
    let mut all: Vec<Measured> = (0..runs).map(|_| run(case, server, into)).collect();
    all.sort_by_key(|measured| measured.took);
    let median = all[all.len() / 2];
    let peak = all.iter().map(|measured| measured.peak_kib).max().unwrap_or(0);
    let seconds = median.took.as_secs_f64();
    println!(
        "{name:<44} {:>7.0} ms {:>12} {:>6} MiB",
        seconds * 1000.0,
        case.rate(seconds),
        peak / 1024
    );
}

/// One run in a process of its own.
fn run(case: &Case, server: &Server, into: &Path) -> Measured {
    let output = Command::new(std::env::current_exe().unwrap())
        .arg(RUN)
        .arg(into)
        .args(case.words(&server.url()))
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "a run failed");
    let text = String::from_utf8(output.stdout).unwrap();
    let (took, peak) = text.trim().split_once(' ').unwrap();
    Measured { took: Duration::from_micros(took.parse().unwrap()), peak_kib: peak.parse().unwrap() }
}
