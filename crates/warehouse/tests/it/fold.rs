//! The reference: what a table is, as a pure function of the set of its fetches.
//!
//! In: fetches, a write mode, a rule of what is newer. Out: the table and its history. All fetches are
//! folded one by one in their order; there is no publish here, no late fetch, no database. What
//! PostgreSQL ends in, in whatever order and grouping it was told, has to be this.

use std::collections::{BTreeMap, BTreeSet};

/// What a fetch says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fetch {
    pub(crate) data_date: i8,
    pub(crate) minute: i64,
    pub(crate) entity: &'static str,
    pub(crate) rejects: bool,
    /// By symbol: the day it speaks of and the price.
    pub(crate) rows: BTreeMap<char, (i8, i8)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Upsert,
    Window,
    Snapshot,
    Append,
}

impl Mode {
    fn deletes(self) -> bool {
        matches!(self, Self::Window | Self::Snapshot)
    }
}

/// What tells rows apart: the symbol and, in `append`, the data date.
pub(crate) type Key = (char, i8);

/// A row's values; whose it is counts where rows are deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) day: i8,
    pub(crate) price: i8,
    pub(crate) settled: bool,
    pub(crate) entity: &'static str,
}

/// A line of a history: who said so and when, and the row if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) manifest: String,
    pub(crate) at: i64,
    pub(crate) row: Option<Row>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Folded {
    pub(crate) table: BTreeMap<Key, Row>,
    pub(crate) history: BTreeMap<Key, Vec<Word>>,
}

/// A fetch past the checks of `order.rs`: without the rows that are rejected, which makes it one with
/// rejects; none when it is held back.
pub(crate) fn checked((manifest, mut fetch): (String, Fetch)) -> Option<(String, Fetch)> {
    let before = fetch.rows.len();
    fetch.rows.retain(|_, row| *row != (3, 2));
    fetch.rejects |= fetch.rows.len() < before;
    (fetch.rows.get(&'B') != Some(&(1, 1))).then_some((manifest, fetch))
}

/// Folds fetches, each with its manifest's key.
pub(crate) fn fold(fetches: &[(String, Fetch)], mode: Mode, by_data_date: bool) -> Folded {
    let mut ordered: Vec<&(String, Fetch)> = fetches.iter().collect();
    ordered.sort_by_key(|(manifest, fetch)| {
        (if by_data_date { fetch.data_date } else { 0 }, manifest.clone())
    });
    let mut folded = Folded::default();
    for (manifest, fetch) in ordered {
        let dated = if mode == Mode::Append { fetch.data_date } else { 0 };
        let mut gone: BTreeSet<Key> = BTreeSet::new();
        if mode.deletes() && !fetch.rejects {
            let days = || fetch.rows.values().map(|(day, _)| *day);
            let covers = |row: &Row| match (mode, days().min(), days().max()) {
                (Mode::Window, Some(low), Some(high)) => (low..=high).contains(&row.day),
                (Mode::Window, ..) => false,
                _ => true,
            };
            // What is gone already is gone by this fetch as well: it may have been made earlier.
            let last_rows = folded.history.iter().filter_map(|(key, words)| {
                let row = words.iter().rev().find_map(|word| word.row.as_ref())?;
                Some((key, row))
            });
            gone.extend(
                last_rows
                    .filter(|(key, row)| {
                        row.entity == fetch.entity
                            && covers(row)
                            && !fetch.rows.contains_key(&key.0)
                    })
                    .map(|(key, _)| *key),
            );
        }
        for key in gone {
            folded.table.remove(&key);
            folded.say(key, manifest, fetch.minute, None);
        }
        for (symbol, (day, price)) in &fetch.rows {
            let row = Row {
                day: *day,
                price: *price,
                settled: *day <= fetch.data_date,
                entity: if mode.deletes() { fetch.entity } else { "" },
            };
            folded.table.insert((*symbol, dated), row.clone());
            folded.say((*symbol, dated), manifest, fetch.minute, Some(row));
        }
    }
    folded
}

/// The rule that is not enough: a row is written when it differs from the one that is there and its fetch is not
/// older than that row's. An unchanged row keeps the fetch that first said its value, so what a late fetch
/// is compared with is too old. `told` is in the order of publishing.
pub(crate) fn plain(
    told: &[(String, Fetch)],
    mode: Mode,
    by_data_date: bool,
) -> BTreeMap<Key, Row> {
    let mut table: BTreeMap<Key, (Row, (i8, &str))> = BTreeMap::new();
    for (manifest, fetch) in told {
        let place = (if by_data_date { fetch.data_date } else { 0 }, manifest.as_str());
        if mode.deletes() && !fetch.rejects {
            let days = || fetch.rows.values().map(|(day, _)| *day);
            table.retain(|key, (row, said)| {
                let is_covered = match (mode, days().min(), days().max()) {
                    (Mode::Window, Some(low), Some(high)) => (low..=high).contains(&row.day),
                    (Mode::Window, ..) => false,
                    _ => true,
                };
                let is_gone = row.entity == fetch.entity
                    && is_covered
                    && !fetch.rows.contains_key(&key.0)
                    && *said < place;
                !is_gone
            });
        }
        for (symbol, (day, price)) in &fetch.rows {
            let row = Row {
                day: *day,
                price: *price,
                settled: *day <= fetch.data_date,
                entity: if mode.deletes() { fetch.entity } else { "" },
            };
            let key = (*symbol, if mode == Mode::Append { fetch.data_date } else { 0 });
            match table.get(&key) {
                Some((there, said)) if *there == row || *said > place => {}
                _ => {
                    table.insert(key, (row, place));
                }
            }
        }
    }
    table.into_iter().map(|(key, (row, _))| (key, row)).collect()
}

impl Folded {
    /// What the history says the table was at a minute.
    pub(crate) fn as_of(&self, minute: i64) -> BTreeMap<Key, Row> {
        let words = self.history.iter().filter_map(|(key, words)| {
            let said = words.iter().rev().find(|word| word.at <= minute)?;
            Some((*key, said.row.clone()?))
        });
        words.collect()
    }

    fn say(&mut self, key: Key, manifest: &str, at: i64, row: Option<Row>) {
        let words = self.history.entry(key).or_default();
        match words.last_mut() {
            // Said before, and no earlier than it was known.
            Some(last) if last.row == row && last.at <= at => {}
            _ => words.push(Word { manifest: manifest.to_owned(), at, row }),
        }
    }
}
