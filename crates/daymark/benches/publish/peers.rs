//! What others do with the same objects: Python programs beside this file.
//!
//! In: `DAYMARK_BENCH_PYTHON`, a Python; the raw objects; the native database. Out: a line for each peer.
//! One that is not installed says so. Deliberately absent: installing anything.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::world::World;
use crate::{Measured, heading, line};

/// A peer, and every how many objects it is given: the slow ones get a part.
const PEERS: [(&str, usize); 6] = [
    ("json_psycopg", 1),
    ("polars_adbc", 1),
    ("duckdb_csv", 1),
    ("dlt_arrow", 10),
    ("dlt_rows", 60),
    ("pandas_to_sql", 100),
];

pub(crate) fn all(world: &World) {
    #[expect(clippy::disallowed_methods, reason = "this variable is for the bench only")]
    let Ok(python) = std::env::var("DAYMARK_BENCH_PYTHON") else {
        println!("\nno peers: DAYMARK_BENCH_PYTHON names no Python");
        return;
    };
    heading("peers, native PostgreSQL: raw JSON -> table, no key (one run each)");
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/publish/peers");
    for (peer, part) in PEERS {
        let output = Command::new(&python)
            .arg(scripts.join(format!("{peer}.py")))
            .arg(world.folder().join("raw/raw/archive"))
            .arg(world.database_url())
            .arg(part.to_string())
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let said = text.lines().last().and_then(|line| line.split_once(' '));
        let (Some((seconds, peak)), true) = (said, output.status.success()) else {
            let error = String::from_utf8_lossy(&output.stderr);
            println!("{peer:<42} not run: {}", error.lines().last().unwrap_or_default());
            continue;
        };
        let seconds: f64 = seconds.parse().unwrap();
        let whole = seconds * f64::from(u32::try_from(part).unwrap());
        let more = if part == 1 {
            String::new()
        } else {
            format!("of one object in {part}, its time times {part}")
        };
        let peak_kib = peak.parse().unwrap();
        let took = Duration::from_secs_f64(whole);
        line(peer, world, &[Measured { took, peak_kib, cpu: crate::Cpu::default() }], &more);
    }
}
