//! The fuzz targets on stable Rust: recorded and made-up bodies, mutated the same way every time.
//!
//! cargo-fuzz goes on where this ends (CONTRIBUTING.md).

use std::path::Path;

#[path = "../../../../fuzz/targets.rs"]
mod targets;

/// What parsers stumble over.
const TOKENS: [&[u8]; 32] = [
    b"\0",
    b"\"",
    b"'",
    b"\\",
    b"\n",
    b"\r\n",
    b"\\ud800",
    b"\\u0000",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"1e999",
    b"-0",
    b"1e-99999",
    b"99999999999999999999999999999999999999",
    b"null",
    b"true",
    b"{}",
    b"[]",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    b"{\"a\":{\"a\":{\"a\":{\"a\":",
    b",",
    b";",
    b"\t",
    b":",
    b".",
    b"$",
    b"*",
    b"(((((((((((((((((((((((((((((((((",
    b"NA",
    b"2026-02-30T25:61:00+99:99",
    b"\n---\n",
];

/// Bodies to begin with.
const SEEDS: [&[u8]; 13] = [
    b"",
    b"{\"a\":[{\"a\":1,\"b\":[{\"c\":\"x\"}]},{\"a\":null}]}",
    b"[{\"a\":\"2026-03-01\",\"b\":1.50},{\"a\":\"\\u00e9\",\"b\":\"1,5\"}]",
    b"{\"time\":[\"2026-03-01\",\"2026-03-02\"],\"max\":[1.5,null],\"zone\":\"UTC\"}",
    b"{\"2026-03-01\":{\"1. open\":\"1.5\"},\"2026-03-02\":{\"1. open\":\"2.5\"}}",
    b"[[\"a\",\"b\"],[1,2],[3,\"x\"]]",
    b"a,b,c\n1,2.5,\"x\ny\"\n3,NA,\"\"\"q\"\"\"\n",
    b"# remark\na;b\n1.234,5;31.12.2025\n",
    b"{\"a\":1}\n{\"a\":2,\"b\":{\"c\":[1]}}\n",
    b"$.a[*]['b']..c[?@.d > 1 && !(@.e)]",
    b"name = \"p\"\ntime_zone = \"UTC\"\nschedule = \"cron(0 8 * * ? *)\"\n---\nid = \"s\"\n[request]\nurl = \"http://h/\"\n[rows]\nlayout = \"records\"\n[rows.fields]\na = { path = \"a\", type = \"text\" }\n---\n/* model\ntable = \"t\"\nkey = [\"a\"]\n[columns]\na = \"text not null\"\n*/\nselect _fetch_id, _fetch_row, a from raw_s\n---\nselect 1\n---\n+++\ntitle = \"x\"\n+++\n# H\n```sql q\nselect 1\n```\n",
    b"\xe9\xe8;\xfc\n1;2\n",
    b"\x00{\x00\"\x00a\x00\"\x00:\x001\x00}",
];

/// `SplitMix64`: the same numbers every time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }
}

/// A mutated seed behind a few bytes that targets choose by.
fn case(numbers: &mut Numbers, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut body = seeds[numbers.below(seeds.len())].clone();
    for _ in 0..numbers.below(5) {
        let (from, to) = (numbers.below(body.len() + 1), numbers.below(body.len() + 1));
        let (from, to) = (from.min(to), from.max(to));
        match numbers.below(6) {
            0 => drop(body.drain(from..to)),
            1 => {
                let part = body[from..to].to_vec();
                body.splice(from..from, part);
            }
            2 if from < body.len() => body[from] = u8::try_from(numbers.next() & 255).unwrap(),
            3 => {
                let token = TOKENS[numbers.below(TOKENS.len())];
                let times = [1, 1, 1, 2, 200][numbers.below(5)];
                body.splice(from..from, token.repeat(times));
            }
            4 => {
                let other = &seeds[numbers.below(seeds.len())];
                let end = numbers.below(other.len() + 1);
                body.splice(from..to, other[..end].iter().copied());
            }
            _ => body.truncate(to),
        }
        body.truncate(64 << 10);
    }
    let mut data: Vec<u8> = (0..24).map(|_| u8::try_from(numbers.next() & 255).unwrap()).collect();
    if numbers.below(3) == 0 {
        data.clear();
    }
    data.extend(body);
    data
}

fn run(target: fn(&[u8]), cases: usize, seed: u64) {
    let mut seeds: Vec<Vec<u8>> = SEEDS.iter().map(|seed| seed.to_vec()).collect();
    // Where they are, recorded responses are begun with too.
    let fixtures = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/fixtures"));
    for file in [
        "yahoo/AAPL-10d-1d.json",
        "alpha-vantage/errors/note-rate-limit.json",
        "frankfurter/usd-range-2026-07.json",
        "coingecko/simple_price.json",
        "energy-charts-daily/2020-03-29.json",
        "open-meteo/adelaide-archive-3d.json",
    ] {
        seeds.extend(std::fs::read(fixtures.join(file)).ok());
    }
    let mut numbers = Numbers(seed);
    for number in 0..cases {
        let data = case(&mut numbers, &seeds);
        let shown = String::from_utf8_lossy(&data).into_owned();
        let ended = std::panic::catch_unwind(|| target(&data));
        assert!(ended.is_ok(), "case {number} of seed {seed}: {data:?}\n{shown}");
    }
}

macro_rules! targets {
    ($($name:ident: $cases:expr;)+) => {
        $(#[test]
        fn $name() {
            run(targets::$name, $cases, 0x5eed);
        })+
    };
}

targets! {
    rows: 20000;
    json: 10000;
    table: 10000;
    path: 10000;
    value: 10000;
    encoding: 10000;
    folder: 2000;
    infer: 5000;
}

#[test]
fn what_was_found_once_stays_mended() {
    let nested = "(".repeat(50_000);
    for path in [format!("$[?{nested}"), format!("$[?{}", "!".repeat(50_000)), "$[".repeat(50_000)]
    {
        targets::path(path.as_bytes());
    }
    // Kept the parser of paths for minutes.
    targets::path("$[*][?@.fY".repeat(30).as_bytes());
    targets::path(format!("$[*]{}", "[?@.a".repeat(5)).as_bytes());
    targets::json(&b"[".repeat(60_000));
    targets::json(&b"{\"a\":".repeat(12_000));
    targets::infer(&b"[".repeat(8_000));
    let arrays = format!("a = {}", "[".repeat(60_000));
    targets::folder(arrays.as_bytes());
    let quotes = format!("x\n---\nx\n---\nx\n---\nx\n---\n{}", "> ".repeat(20_000));
    targets::folder(quotes.as_bytes());
}
