//! The tables of docs/ledger.md, row by row.

use daymark_plan::{
    Calendar, DataDateRule, DayFacts, DayRules, DayState, Deadline, DeadlineBy, Reached, Schedule,
    SourceId,
};
use jiff::civil::{Date, DateTime, time};
use jiff::{SignedDuration, Timestamp};

/// The cells of the rows of a table with so many columns whose last cell is a state.
fn rows(columns: usize) -> Vec<Vec<String>> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/ledger.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("|---"));
    rows.map(|line| {
        line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect()
    })
    .filter(|cells: &Vec<String>| cells.len() == columns)
    .collect()
}

#[test]
fn every_state_is_told_of() {
    let told: Vec<DayState> =
        rows(2).iter().filter_map(|cells| DayState::parse(&cells[0])).collect();
    for state in DayState::ALL {
        assert_eq!(told.iter().filter(|found| **found == state).count(), 1, "{state}");
    }
}

#[test]
fn the_table_of_states_is_true() {
    let id = SourceId::new("sp500").unwrap();
    let schedule = Schedule::parse("cron(0 8 * * ? *)", "America/New_York").unwrap();
    let calendar = Calendar::parse("nyse").unwrap();
    let rules = DayRules {
        source_id: &id,
        schedule: &schedule,
        data_date: DataDateRule::PreviousSession,
        calendar: &calendar,
        deadline: Deadline {
            by: DeadlineBy::Time(time(9, 30, 0, 0)),
            missing_after: SignedDuration::from_hours(24),
        },
        zone: &schedule.zone,
    };
    let rows = rows(4);
    let rows: Vec<_> = rows.iter().filter(|cells| cells[0].parse::<Date>().is_ok()).collect();
    assert!(rows.len() >= 18, "the table is found: {rows:?}");
    for cells in rows {
        let [day, known, now, state] = cells.as_slice() else { unreachable!("four cells") };
        let now: DateTime = now.parse().unwrap();
        let now = schedule.zone.to_timestamp(now).unwrap();
        let expected = rules.expected(day.parse().unwrap());
        let standing = rules.standing(expected, &facts(known), now);
        assert_eq!(standing.state.as_str(), state, "{cells:?}: {standing:?}");
    }
}

/// What is known, in the table's words: the one after the other.
fn facts(known: &str) -> DayFacts {
    let mut facts = DayFacts::default();
    let first: Timestamp = "2026-11-24T13:00:01Z".parse().unwrap();
    for (index, word) in known.split(", then ").enumerate() {
        let at = first.checked_add(SignedDuration::from_secs(index.try_into().unwrap())).unwrap();
        let reached = match word {
            "nothing" => continue,
            "skipped" => {
                facts.skipped = Some((at, "given up".to_owned()));
                continue;
            }
            "fetched" => Reached::Fetched,
            "published" => Reached::Published,
            "quarantined" => Reached::Quarantined,
            "failed" => Reached::Failed,
            other => panic!("`{other}` is no word of the table"),
        };
        facts.reached = Some((reached, at, None));
        facts.last_at = Some(at);
    }
    facts
}
