//! What becomes of alerts, given what was found.
//!
//! In: the conditions that a look found, and the open alerts it looked at. Out: [`Change`]s. A pure function:
//! no database, no clock. Deliberately absent: who is told (`tell`).

use daymark_plan::AlertEvent;
use jiff::civil::Date;

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    /// The alert it is of.
    pub(super) key: String,
    /// What it is.
    pub(super) event: AlertEvent,
    /// Its source.
    pub(super) source_id: Option<String>,
    /// Its day.
    pub(super) data_date: Option<Date>,
    /// How many rows it is about.
    pub(super) amount: Option<i64>,
    /// In words.
    pub(super) reason: String,
}

/// An open alert under one of the keys that were looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) alert_id: i64,
    pub(super) key: String,
    pub(super) event: AlertEvent,
    pub(super) data_date: Option<Date>,
}

/// What is to be written of an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// It is new.
    Open(Condition),
    /// It goes on, perhaps as something else, which is then told.
    Update { alert_id: i64, condition: Condition, tell: bool },
    /// It is well again.
    Resolve { alert_id: i64 },
}

/// What becomes of the open alerts that were looked at, and which are new. Of several conditions of one key
/// the first counts.
pub(super) fn changes(found: Vec<Condition>, known: &[Known]) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut seen: Vec<String> = Vec::new();
    for condition in found {
        if seen.contains(&condition.key) {
            continue;
        }
        seen.push(condition.key.clone());
        match known.iter().find(|known| known.key == condition.key) {
            None => changes.push(Change::Open(condition)),
            Some(known) => {
                let tell = known.event != condition.event;
                changes.push(Change::Update { alert_id: known.alert_id, condition, tell });
            }
        }
    }
    let gone = known.iter().filter(|known| !seen.contains(&known.key));
    changes.extend(gone.map(|known| Change::Resolve { alert_id: known.alert_id }));
    changes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn condition(key: u8, event: usize) -> Condition {
        Condition {
            key: format!("k{key}"),
            event: AlertEvent::ALL[event % AlertEvent::ALL.len()],
            source_id: None,
            data_date: None,
            amount: None,
            reason: "so".to_owned(),
        }
    }

    /// What the table holds after the changes.
    fn applied(changes: Vec<Change>, known: &[Known]) -> Vec<Known> {
        let mut after = known.to_vec();
        for change in changes {
            match change {
                Change::Open(new) => {
                    assert!(after.iter().all(|known| known.key != new.key), "one per key is open");
                    let alert_id = 1 + after.iter().map(|known| known.alert_id).max().unwrap_or(0);
                    let (key, event, data_date) = (new.key, new.event, new.data_date);
                    after.push(Known { alert_id, key, event, data_date });
                }
                Change::Update { alert_id, condition, tell } => {
                    let at = after.iter_mut().find(|known| known.alert_id == alert_id).unwrap();
                    assert_eq!(tell, at.event != condition.event);
                    at.event = condition.event;
                }
                Change::Resolve { alert_id } => after.retain(|known| known.alert_id != alert_id),
            }
        }
        after
    }

    proptest! {
        /// After any row of looks the open alerts are exactly what the last one found, and looking again
        /// at the same tells nothing.
        #[test]
        fn what_is_open_is_what_was_found(
            looks in prop::collection::vec(prop::collection::vec((0_u8..5, 0_usize..9), 0..6), 1..8)
        ) {
            let mut known = Vec::new();
            for look in looks {
                let found: Vec<Condition> = look.into_iter().map(|(k, e)| condition(k, e)).collect();
                known = applied(changes(found.clone(), &known), &known);
                let mut keys: Vec<&str> = found.iter().map(|found| found.key.as_str()).collect();
                keys.sort_unstable();
                keys.dedup();
                let mut open: Vec<&str> = known.iter().map(|known| known.key.as_str()).collect();
                open.sort_unstable();
                prop_assert_eq!(open, keys);
                let quiet = |change: &Change| matches!(change, Change::Update { tell: false, .. });
                prop_assert!(changes(found, &known).iter().all(quiet));
            }
        }
    }
}
