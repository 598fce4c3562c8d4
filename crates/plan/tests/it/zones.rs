//! The next-time function against a slow oracle: all IANA zones, all changes of the clock from 2000 to 2040.
//!
//! The oracle walks the minutes of UTC around a change, reads each off the wall clock, and fires where the wall
//! clock shows the time for the first time. It knows neither gaps nor folds. Zones that changed alike are one.

use std::collections::{BTreeMap, BTreeSet};

use daymark_plan::{DstGap, Schedule};
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// One zone's name for each way the clocks went from 2000 to 2040, with the changes.
fn groups() -> Vec<(String, TimeZone, Vec<Timestamp>)> {
    let from: Timestamp = "2000-01-01T00:00:00Z".parse().unwrap();
    let until: Timestamp = "2041-01-01T00:00:00Z".parse().unwrap();
    let mut groups: BTreeMap<(Offset, Vec<(Timestamp, Offset)>), String> = BTreeMap::new();
    let mut names = 0;
    for name in jiff::tz::db().available() {
        let zone = TimeZone::get(name.as_str()).unwrap();
        let changes = zone.following(from).take_while(|change| change.timestamp() < until);
        let changes = changes.map(|change| (change.timestamp(), change.offset())).collect();
        groups.entry((zone.to_offset(from), changes)).or_insert_with(|| name.to_string());
        names += 1;
    }
    assert!(names > 300 && groups.len() > 100, "{names} zones in {} groups", groups.len());
    let zone = |name: &str| TimeZone::get(name).unwrap();
    groups
        .into_iter()
        .map(|((_, changes), name)| {
            let zone = zone(&name);
            (name, zone, changes.into_iter().map(|(at, _)| at).collect())
        })
        .collect()
}

/// The minutes around a change, each with what the wall clock shows.
fn walk(zone: &TimeZone, change: Timestamp) -> Vec<(Timestamp, DateTime)> {
    let before = zone.to_offset(change - SignedDuration::from_secs(1));
    let size = i64::from((zone.to_offset(change).seconds() - before.seconds()).abs());
    let reach = SignedDuration::from_secs(size + 5400);
    let start = change - reach;
    let start = Timestamp::from_second(start.as_second().div_euclid(60) * 60).unwrap();
    let minutes = std::iter::successors(Some(start), |at| Some(*at + MINUTE));
    minutes.take_while(|at| *at <= change + reach).map(|at| (at, zone.to_datetime(at))).collect()
}

/// The fires within a walk of what shows a time that `fits`.
fn slow(
    walk: &[(Timestamp, DateTime)],
    gap: DstGap,
    fits: impl Fn(DateTime) -> bool,
) -> Vec<Timestamp> {
    let mut shown = BTreeSet::new();
    let mut fires = Vec::new();
    let mut previous: Option<DateTime> = None;
    for &(at, wall) in walk {
        // The times the clock jumped over, a minute each; none when it went on or back.
        let mut jumped = false;
        if let (Some(previous), DstGap::NextValid) = (previous, gap) {
            let mut skipped = previous + MINUTE;
            while skipped < wall {
                jumped |= fits(skipped);
                skipped += MINUTE;
            }
        }
        if jumped || (fits(wall) && !shown.contains(&wall)) {
            fires.push(at);
        }
        if fits(wall) {
            shown.insert(wall);
        }
        previous = Some(wall);
    }
    fires
}

fn check(
    schedule: &Schedule,
    walk: &[(Timestamp, DateTime)],
    fits: impl Fn(DateTime) -> bool,
    of: &str,
) {
    let (first, last) = (walk[0].0, walk[walk.len() - 1].0);
    let slow = slow(walk, schedule.dst_gap, fits);
    let fast: Vec<Timestamp> =
        schedule.fires_between(first - SignedDuration::from_secs(1), last).collect();
    assert_eq!(fast, slow, "{} {:?} in {of}", schedule.text, schedule.dst_gap);
    for fire in fast {
        assert_eq!(schedule.last_at_or_before(fire), Some(fire), "{} in {of}", schedule.text);
    }
}

#[test]
fn every_change_of_every_zone_agrees_with_the_wall_clock() {
    let mut seed = 20_261_125_u64;
    let mut random = move |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    let mut changes = 0;
    for (name, zone, times) in groups() {
        for change in times {
            changes += 1;
            let walk = walk(&zone, change);
            let of = format!("{name} at {change}");
            let gap = if random(2) == 0 { DstGap::Skip } else { DstGap::NextValid };
            let parse = |expression: &str| {
                let mut schedule = Schedule::parse(expression, &name).unwrap();
                schedule.dst_gap = gap;
                schedule
            };
            let quarters = parse("cron(7/15 * * * ? *)");
            check(&quarters, &walk, |wall| wall.minute() % 15 == 7, &of);

            // A time that is shown near the change, or that it jumped over.
            let shown = walk[random(walk.len())].1 + MINUTE * i32::try_from(random(60)).unwrap();
            let (hour, minute) = (shown.hour(), shown.minute());
            let daily = parse(&format!("cron({minute} {hour} * * ? *)"));
            check(&daily, &walk, |wall| (wall.hour(), wall.minute()) == (hour, minute), &of);

            let once = parse(&format!("at({})", shown.strftime("%Y-%m-%dT%H:%M:00")));
            let once_shown = shown.with().second(0).subsec_nanosecond(0).build().unwrap();
            check(&once, &walk, |wall| wall == once_shown, &of);

            let every = i64::try_from(random(90)).unwrap() + 1;
            let rate = Schedule::parse(&format!("rate({every} minutes)"), &name).unwrap();
            let (first, last) = (walk[0].0, walk[walk.len() - 1].0);
            let fast: Vec<Timestamp> =
                rate.fires_between(first - SignedDuration::from_secs(1), last).collect();
            let minutes = walk.iter().map(|(at, _)| *at);
            let slow: Vec<Timestamp> =
                minutes.filter(|at| at.as_second() / 60 % every == 0).collect();
            assert_eq!(fast, slow, "{} in {of}", rate.text);
        }
    }
    assert!(changes > 3000, "{changes} changes");
}

/// The table of docs/schedule.md, row by row.
#[test]
fn the_published_table_is_true() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schedule.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().skip_while(|line| !line.starts_with("| expression |")).skip(2);
    let mut count = 0;
    for row in rows.take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> =
            row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let &[expression, zone, gap, after, fires, _why] = cells.as_slice() else {
            panic!("{row}")
        };
        let mut schedule = Schedule::parse(expression, zone).unwrap();
        schedule.dst_gap = match gap {
            "skip" => DstGap::Skip,
            "next_valid" => DstGap::NextValid,
            other => panic!("{other}"),
        };
        let published: Vec<&str> = fires.split(' ').filter(|fire| *fire != "none").collect();
        let found: Vec<String> = schedule
            .fires_after(after.parse().unwrap())
            .take(2)
            .map(|fire| fire.to_string())
            .collect();
        assert_eq!(found, published, "{row}");
        count += 1;
    }
    assert!(count >= 15, "{count} rows");
}
