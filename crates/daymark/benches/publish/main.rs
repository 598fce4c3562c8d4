//! How fast rows become published rows, and in how much memory: `make bench-publish`. The figures and what
//! bounds them are in the README beside this.
//!
//! In: `DAYMARK_TEST_POSTGRES_URL`, a native PostgreSQL (`scripts/with-postgres.sh`); words choose cases;
//! with `DAYMARK_BENCH_PYTHON` also a Python that has the peers. Out: a table. Raw objects come from an
//! API of the bench's own through `daymark fetch`. Every run is a process of its own that only loads, so
//! that its peak memory is loading's. Deliberately absent: asserting anything.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]
#![expect(clippy::unwrap_used, reason = "a benchmark ends where something fails")]

mod api;
mod day;
mod load;
mod peers;
// What the program itself reads rows with: it is a binary, so its modules cannot be linked to.
#[path = "../../src/run/rows.rs"]
mod rows;
mod world;

use std::process::{Command, Stdio};
use std::time::Duration;

use api::{Api, HOURS};
use daymark_testkit::database::Kind;
use load::Case;
use world::World;

/// The word that makes this program a run of a case.
const RUN: &str = "run-a-case";

/// How often a case is run on the native server.
const RUNS: usize = 5;
/// How many pairs of (a) and (b) there are.
const PAIRS: usize = 7;

/// What a run measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) took: Duration,
    pub(crate) peak_kib: u64,
    /// What this process had of the processors, and what PostgreSQL's had: of the embedded one nothing, for
    /// it is inside. On a busy machine these say more than the time.
    pub(crate) cpu: Cpu,
}

/// Time on processors.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cpu {
    pub(crate) own: Duration,
    pub(crate) server: Duration,
}

impl Measured {
    fn seconds(self) -> f64 {
        self.took.as_secs_f64()
    }

    /// How long it takes at least where each of both has a processor for itself.
    fn bound(self) -> f64 {
        self.cpu.own.max(self.cpu.server).as_secs_f64()
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let [run, case, folder, rest @ ..] = words.as_slice()
        && run == RUN
    {
        let (case, folder, rest) = (Case::read(case), folder.clone(), rest.to_vec());
        // As a task, as in the program.
        let measuring = runtime.spawn(async move { case.run(&folder, &rest).await });
        let measured = runtime.block_on(measuring).unwrap();
        let Measured { took, peak_kib, cpu } = measured;
        let [took, own, server] = [took, cpu.own, cpu.server].map(|time| time.as_micros());
        println!("{took} {peak_kib} {own} {server}");
        return;
    }
    let wanted = |name: &str| words.is_empty() || words.iter().any(|word| word == name);
    let api = Api::start();
    let any = ["load", "keyed", "embedded", "peers"].iter().any(|name| wanted(name));
    if any {
        let world = runtime.block_on(World::new(Kind::Native, &api, 300, HOURS));
        println!(
            "300 objects x 8,760 hours x 5 variables: {} rows, {} MB of JSON",
            world.rows,
            world.bytes / 1_000_000
        );
        world.encode();
        if wanted("load") {
            load_cases(&world);
        }
        if wanted("keyed") {
            keyed_cases(&world, RUNS);
        }
        if words.iter().any(|word| word == "peers") || words.is_empty() {
            peers::all(&world);
        }
        if wanted("embedded") {
            embedded_cases(&world);
        }
    }
    if wanted("memory") {
        heading("memory at 3,000 objects, 26 million rows");
        memory_cases(&runtime, &api, 3000, HOURS);
    }
    if wanted("fetches") {
        heading("memory of fetches: 300, and 6,000, of 100 rows");
        for places in [300, 6000] {
            memory_cases(&runtime, &api, places, 100);
        }
    }
    if wanted("day") {
        for kind in [Kind::Native, Kind::Embedded] {
            runtime.block_on(day::runs(kind));
        }
    }
}

/// (a) beside (b), in turn, and extraction alone.
fn load_cases(world: &World) {
    heading("native PostgreSQL");
    let alone = many(RUNS, || run(world, Case::Extract));
    line("extraction alone, no database", world, &alone, "");
    let outlines = many(RUNS, || run(world, Case::Outline));
    let share =
        |all: &[Measured]| median_of(&all.iter().map(|one| one.seconds()).collect::<Vec<_>>());
    let share = format!("{:.1} % of extraction", 100.0 * share(&outlines) / share(&alone));
    line("the outlines of the responses", world, &outlines, &share);
    let (mut ours, mut encoded) = (Vec::new(), Vec::new());
    let (mut ratios, mut bounds) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let b = run(world, Case::Encoded);
        let a = run(world, Case::Raw);
        ratios.push(b.seconds() / a.seconds());
        bounds.push(b.bound() / a.bound());
        encoded.push(b);
        ours.push(a);
    }
    line("(b) COPY of encoded rows, no key", world, &encoded, "");
    let ratio = format!("{} of (b), {PAIRS} pairs", both(&ratios, &bounds));
    line("(a) raw JSON -> table, no key", world, &ours, &ratio);
}

/// (c) beside its twin, in turn, and (d) after each.
fn keyed_cases(world: &World, runs: usize) {
    let (mut ours, mut twins, mut again) = (Vec::new(), Vec::new(), Vec::new());
    let (mut ratios, mut unchanged) = (Vec::new(), Vec::new());
    let (mut bounds, mut bounds_unchanged) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let twin = run(world, Case::ByHand);
        let new = run(world, Case::PublishNew);
        let same = run(world, Case::PublishAgain);
        ratios.push(twin.seconds() / new.seconds());
        unchanged.push(same.seconds() / new.seconds());
        bounds.push(twin.bound() / new.bound());
        bounds_unchanged.push(same.bound() / new.bound());
        twins.push(twin);
        ours.push(new);
        again.push(same);
    }
    line("by hand: COPY, insert ... select", world, &twins, "");
    let ratio = format!("{} of by hand", both(&ratios, &bounds));
    line("(c) publish, all rows new", world, &ours, &ratio);
    let ratio = format!("{} of the time of (c)", both(&unchanged, &bounds_unchanged));
    line("(d) publish, all rows unchanged", world, &again, &ratio);
}

/// The same once on the embedded database, which runs inside of the process that loads.
fn embedded_cases(world: &World) {
    heading("embedded PostgreSQL (one run each; its memory is in the process)");
    let world = world.on_embedded();
    let (b, a) = (run(&world, Case::Encoded), run(&world, Case::Raw));
    line("(b) COPY of encoded rows, no key", &world, &[b], "");
    let ratio = format!("{:.2} of (b)", b.seconds() / a.seconds());
    line("(a) raw JSON -> table, no key", &world, &[a], &ratio);
    keyed_cases(&world, 1);
}

/// (e), beside the embedded database's own memory.
fn memory_cases(runtime: &tokio::runtime::Runtime, api: &Api, places: usize, hours: usize) {
    let world = runtime.block_on(World::new(Kind::Native, api, places, hours));
    world.encode();
    let new = run(&world, Case::PublishNew);
    line("native: (c) publish, all rows new", &world, &[new], "");
    world.clear();
    let world = world.on_embedded();
    let twin = run(&world, Case::ByHand);
    line("embedded: by hand", &world, &[twin], "");
    let new = run(&world, Case::PublishNew);
    let above = (i128::from(new.peak_kib) - i128::from(twin.peak_kib)) / 1024;
    line(
        "embedded: (c) publish, all rows new",
        &world,
        &[new],
        &format!("{above} MiB above by hand"),
    );
}

/// The medians of ratios: of the times, and of what the processors allow.
fn both(times: &[f64], bounds: &[f64]) -> String {
    format!("{:.2} (by CPU {:.2})", median_of(times), median_of(bounds))
}

fn heading(text: &str) {
    println!(
        "\n{text}\n{:<35} {:>8} {:>10} {:>8} {:>8} {:>8}",
        "case", "median", "rows", "own CPU", "server's", "peak"
    );
}

fn many(runs: usize, mut run: impl FnMut() -> Measured) -> Vec<Measured> {
    (0..runs).map(|_| run()).collect()
}

fn median_of(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn line(name: &str, world: &World, all: &[Measured], more: &str) {
    let seconds = median_of(&all.iter().map(|one| one.seconds()).collect::<Vec<_>>());
    let peak = all.iter().map(|one| one.peak_kib).max().unwrap_or(0);
    let rate = world.rows as f64 / seconds / 1e6;
    let cpu = |of: fn(&Cpu) -> Duration| {
        let took = median_of(&all.iter().map(|one| of(&one.cpu).as_secs_f64()).collect::<Vec<_>>());
        // Nobody looked.
        if took == 0.0 { "-  ".to_owned() } else { format!("{took:.2} s") }
    };
    let (own, server) = (cpu(|cpu| cpu.own), cpu(|cpu| cpu.server));
    println!(
        "{name:<35} {seconds:>6.2} s {rate:>6.2} M/s {own:>8} {server:>8} {:>4} MiB  {more}",
        peak / 1024
    );
}

/// One run in a process of its own.
fn run(world: &World, case: Case) -> Measured {
    world.before(case);
    let output = Command::new(std::env::current_exe().unwrap())
        .arg(RUN)
        .arg(case.word())
        .arg(world.folder())
        .arg(world.encoded())
        .env("DAYMARK_DATABASE_URL", world.database_url())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "a run failed");
    let text = String::from_utf8(output.stdout).unwrap();
    let figures: Vec<u64> = text.split_whitespace().map(|word| word.parse().unwrap()).collect();
    let [took, peak_kib, own, server] = figures.try_into().unwrap();
    let [took, own, server] = [took, own, server].map(Duration::from_micros);
    Measured { took, peak_kib, cpu: Cpu { own, server } }
}

/// What a process and its threads had of the processors so far, as Linux counts it; nothing of one that is not
/// there.
pub(crate) fn cpu_of(process: &str) -> Duration {
    /// What Linux counts in, on every machine.
    const TICKS: u64 = 100;
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name of the program may have blanks, and stands in parentheses: `utime` and `stime` are 14 and 15.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks =
        rest.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<u64>().ok());
    Duration::from_millis(ticks.sum::<u64>() * 1000 / TICKS)
}

/// The most memory this process ever had, as Linux counts it (`VmHWM`).
pub(crate) fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
