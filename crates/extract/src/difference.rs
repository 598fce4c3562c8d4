//! What differs between two bodies, as paths with their old and new values.
//!
//! In: two bodies. Out: [`Change`]s, none for equal ones. Members are matched by name, whatever their
//! order. The elements of an array are matched by what names them, if something does: the times beside
//! parallel arrays (`time`, `timestamp`, ...), an id or a date in each record, the first cell of each row
//! of a grid; or else by position, from both ends. So a day that was added at the front is one addition
//! and not a change of every day behind it. Deliberately absent: what a difference means.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use daymark_plan::Step;
use serde::Serialize;

use crate::body;
use crate::decimal::Decimal;
use crate::error::ExtractError;
use crate::json::{self, Json, Kind};
use crate::place::path_text;

/// The members whose arrays say when, for the arrays beside them and below.
const TIMES: [&str; 12] = [
    "time",
    "times",
    "timestamp",
    "timestamps",
    "date",
    "dates",
    "datetime",
    "unix_seconds",
    "day",
    "period",
    "year",
    "t",
];

/// The members that name a record, the best first.
const IDS: [&str; 8] = ["id", "uuid", "key", "code", "symbol", "ticker", "station", "name"];

/// The members that APIs fill anew for every answer, in lower case without `_` and `-`.
const VOLATILE: [&str; 16] = [
    "elapsed",
    "elapsedms",
    "executiontime",
    "generatedat",
    "generationtime",
    "generationtimems",
    "nonce",
    "processingtime",
    "querytime",
    "requestid",
    "responsetime",
    "servertime",
    "took",
    "tookms",
    "traceid",
    "xrequestid",
];

/// Where two bodies differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The path from the root; an element stands where the new body has it, if it does.
    pub path: String,
    /// The steps of that path.
    #[serde(skip)]
    pub steps: Vec<ChangeStep>,
    /// What names the nearest element around it: a time, an id.
    pub at: Option<String>,
    /// What happened to it.
    pub kind: ChangeKind,
    /// The old value, as JSON or as a line.
    pub before: Option<String>,
    /// The new value, as JSON or as a line.
    pub after: Option<String>,
    /// Whether it is of a member that APIs fill anew for every answer.
    pub volatile: bool,
}

/// What happened to a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It was not there before.
    Added,
    /// It is not there any more.
    Removed,
    /// It is another.
    Changed,
}

/// A step of the path of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeStep {
    /// A member.
    Name(String),
    /// An element, with its position in the old and in the new array.
    Element {
        /// Where it was.
        before: Option<usize>,
        /// Where it is.
        after: Option<usize>,
    },
}

/// What differs between two JSON bodies.
pub fn json_difference(before: &[u8], after: &[u8]) -> Result<Vec<Change>, ExtractError> {
    let (before, after) = (body::check(before)?, body::check(after)?);
    let mut walk = Walk::default();
    walk.value(before, after, None);
    Ok(walk.changes)
}

/// What differs between two tables of lines, such as CSV: lines are matched by their first cell where
/// those are all different, or else by position from both ends.
pub fn line_difference(before: &str, after: &str) -> Vec<Change> {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let first = |line: &&str| line.split([',', ';', '\t']).next().unwrap_or_default().to_owned();
    let labels = |lines: &[&str]| lines.iter().map(first).collect::<Vec<_>>();
    let aligned = Aligned::by(labels(&old), labels(&new));
    let aligned = aligned
        .unwrap_or_else(|| Aligned::by_position(old.len(), new.len(), |at, to| old[at] == new[to]));
    let mut changes = Vec::new();
    for (before, after) in aligned.elements(old.len(), new.len()) {
        let (was, is) = (before.map(|at| old[at]), after.map(|at| new[at]));
        let kind = match (was, is) {
            (Some(was), Some(is)) if was == is => continue,
            (Some(_), Some(_)) => ChangeKind::Changed,
            (Some(_), None) => ChangeKind::Removed,
            _ => ChangeKind::Added,
        };
        changes.push(Change {
            path: format!("line {}", after.or(before).unwrap_or(0) + 1),
            steps: vec![ChangeStep::Element { before, after }],
            at: aligned.label(before, after),
            kind,
            before: was.map(str::to_owned),
            after: is.map(str::to_owned),
            volatile: false,
        });
    }
    changes
}

/// Which elements of two arrays belong together: pairs of positions, both ascending.
#[derive(Debug, Clone, Default)]
struct Aligned {
    pairs: Vec<(usize, usize)>,
    /// What names the elements, old and new; empty when nothing does.
    labels: (Vec<String>, Vec<String>),
    /// Whether some are at another position than before.
    moved: bool,
}

impl Aligned {
    /// By what names them: none when two have one name, or when those that belong together stand in
    /// another order.
    fn by(before: Vec<String>, after: Vec<String>) -> Option<Self> {
        let mut places = HashMap::new();
        for (at, label) in after.iter().enumerate() {
            if places.insert(label.as_str(), at).is_some() {
                return None;
            }
        }
        let mut seen = HashSet::new();
        let mut pairs: Vec<(usize, usize)> = Vec::new();
        for (at, label) in before.iter().enumerate() {
            if !seen.insert(label.as_str()) {
                return None;
            }
            if let Some(to) = places.get(label.as_str()) {
                if pairs.last().is_some_and(|last| last.1 > *to) {
                    return None;
                }
                pairs.push((at, *to));
            }
        }
        let moved = before != after;
        Some(Self { pairs, labels: (before, after), moved })
    }

    /// By position, after what is equal at both ends.
    fn by_position(before: usize, after: usize, equal: impl Fn(usize, usize) -> bool) -> Self {
        let short = before.min(after);
        let start = (0..short).take_while(|at| equal(*at, *at)).count();
        let end = (0..short - start)
            .take_while(|back| equal(before - 1 - back, after - 1 - back))
            .count();
        let front = (0..short - end).map(|at| (at, at));
        let back = (0..end).rev().map(|back| (before - 1 - back, after - 1 - back));
        Self { pairs: front.chain(back).collect(), ..Self::default() }
    }

    /// Every element, old or new, in order.
    fn elements(&self, before: usize, after: usize) -> Vec<(Option<usize>, Option<usize>)> {
        let mut all = Vec::with_capacity(before.max(after));
        let (mut at, mut to) = (0, 0);
        for pair in self.pairs.iter().copied().chain([(before, after)]) {
            all.extend((at..pair.0).map(|at| (Some(at), None)));
            all.extend((to..pair.1).map(|to| (None, Some(to))));
            if pair != (before, after) {
                all.push((Some(pair.0), Some(pair.1)));
            }
            (at, to) = (pair.0 + 1, pair.1 + 1);
        }
        all
    }

    fn label(&self, before: Option<usize>, after: Option<usize>) -> Option<String> {
        let new = after.and_then(|to| self.labels.1.get(to));
        new.or_else(|| before.and_then(|at| self.labels.0.get(at))).cloned()
    }
}

#[derive(Debug, Default)]
struct Walk {
    steps: Vec<ChangeStep>,
    at: Vec<String>,
    changes: Vec<Change>,
}

impl Walk {
    /// Compares two values; `times` says when, for arrays of its lengths.
    fn value(&mut self, before: Json<'_>, after: Json<'_>, times: Option<&Aligned>) {
        // The same values at other times are others.
        if before.text() == after.text() && !times.is_some_and(|times| times.moved) {
            return;
        }
        match (before.kind(), after.kind()) {
            _ if before.text() == after.text() && is_plain(before) => {}
            (Kind::Object, Kind::Object) => self.object(before, after, times),
            (Kind::Array, Kind::Array) => self.array(before, after, times),
            (Kind::String, Kind::String)
                if characters(before.quoted()) == characters(after.quoted()) => {}
            (Kind::Number, Kind::Number) if is_same_number(before.text(), after.text()) => {}
            _ => self.push(Some(before), Some(after)),
        }
    }

    fn object(&mut self, before: Json<'_>, after: Json<'_>, times: Option<&Aligned>) {
        let (old, new) = (members(before), members(after));
        let by_name: HashMap<&str, Json<'_>> =
            new.iter().map(|(name, value)| (&**name, *value)).collect();
        let own = TIMES.iter().find_map(|name| {
            let (_, was) = old.iter().find(|(there, _)| there == name)?;
            Aligned::by(labels_of(*was)?, labels_of(*by_name.get(name)?)?)
        });
        let times = own.as_ref().or(times);
        for (name, value) in &old {
            self.steps.push(ChangeStep::Name(name.to_string()));
            match by_name.get(&**name) {
                Some(after) => self.value(*value, *after, times),
                None => self.push(Some(*value), None),
            }
            self.steps.pop();
        }
        let there: HashSet<&str> = old.iter().map(|(name, _)| &**name).collect();
        for (name, value) in new.iter().filter(|(name, _)| !there.contains(&**name)) {
            self.steps.push(ChangeStep::Name(name.to_string()));
            self.push(None, Some(*value));
            self.steps.pop();
        }
    }

    fn array(&mut self, before: Json<'_>, after: Json<'_>, times: Option<&Aligned>) {
        let old: Vec<Json<'_>> = before.elements().collect();
        let new: Vec<Json<'_>> = after.elements().collect();
        let beside = times.filter(|times| {
            times.labels.0.len() == old.len()
                && times.labels.1.len() == new.len()
                && old.iter().chain(&new).all(|value| is_plain(*value))
        });
        let aligned = match beside {
            Some(times) => times.clone(),
            None => by_names(&old, &new).unwrap_or_else(|| {
                Aligned::by_position(old.len(), new.len(), |at, to| {
                    old[at].text() == new[to].text()
                })
            }),
        };
        for (was, is) in aligned.elements(old.len(), new.len()) {
            let label = aligned.label(was, is);
            let labelled = label.is_some();
            self.at.extend(label);
            self.steps.push(ChangeStep::Element { before: was, after: is });
            match (was.map(|at| old[at]), is.map(|to| new[to])) {
                (Some(was), Some(is)) => self.value(was, is, times),
                (was, is) => self.push(was, is),
            }
            self.steps.pop();
            if labelled {
                self.at.pop();
            }
        }
    }

    fn push(&mut self, before: Option<Json<'_>>, after: Option<Json<'_>>) {
        let kind = match (before, after) {
            (Some(_), Some(_)) => ChangeKind::Changed,
            (Some(_), None) => ChangeKind::Removed,
            _ => ChangeKind::Added,
        };
        let steps: Vec<Step> = self.steps.iter().map(ChangeStep::shown).collect();
        let volatile = self.steps.iter().any(|step| match step {
            ChangeStep::Name(name) => is_volatile(name),
            ChangeStep::Element { .. } => false,
        });
        self.changes.push(Change {
            path: path_text("$", &steps),
            steps: self.steps.clone(),
            at: self.at.last().cloned(),
            kind,
            before: before.map(|value| value.text().to_owned()),
            after: after.map(|value| value.text().to_owned()),
            volatile,
        });
    }
}

impl ChangeStep {
    fn shown(&self) -> Step {
        match self {
            Self::Name(name) => Step::Name(name.clone()),
            Self::Element { before, after } => Step::Index(after.or(*before).unwrap_or(0)),
        }
    }
}

/// Aligns records by a member that names them, rows of a grid by their first cell.
fn by_names(old: &[Json<'_>], new: &[Json<'_>]) -> Option<Aligned> {
    let kind = old.first().or(new.first())?.kind();
    if old.iter().chain(new).any(|value| value.kind() != kind) {
        return None;
    }
    let align = |label: &dyn Fn(Json<'_>) -> Option<String>| {
        let labels = |values: &[Json<'_>]| {
            values.iter().map(|value| label(*value)).collect::<Option<Vec<_>>>()
        };
        Aligned::by(labels(old)?, labels(new)?)
    };
    match kind {
        Kind::Object => IDS.iter().chain(&TIMES).find_map(|name| {
            align(&|value| {
                let mut members = value.members();
                let member = members.find(|m| characters(m.name.quoted()) == *name)?;
                label_of(member.value)
            })
        }),
        Kind::Array => align(&|value| label_of(value.elements().next()?)),
        _ => None,
    }
}

/// The members of an object with the characters of their names.
fn members(object: Json<'_>) -> Vec<(Cow<'_, str>, Json<'_>)> {
    object.members().map(|member| (characters(member.name.quoted()), member.value)).collect()
}

/// The labels that an array of plain values holds.
fn labels_of(array: Json<'_>) -> Option<Vec<String>> {
    if array.kind() != Kind::Array {
        return None;
    }
    array.elements().map(label_of).collect()
}

/// What a string or number names.
fn label_of(value: Json<'_>) -> Option<String> {
    match value.kind() {
        Kind::String => Some(characters(value.quoted()).into_owned()),
        Kind::Number => Some(value.text().to_owned()),
        _ => None,
    }
}

fn is_plain(value: Json<'_>) -> bool {
    !matches!(value.kind(), Kind::Array | Kind::Object)
}

/// The characters of a string; one that no text can hold is told apart as it is written.
fn characters(quoted: &str) -> Cow<'_, str> {
    json::unescape(quoted).unwrap_or(Cow::Borrowed(quoted))
}

/// Whether two texts of numbers mean the same: `1.50`, `1.5` and `15e-1`.
fn is_same_number(a: &str, b: &str) -> bool {
    let parts = |text| {
        let number = Decimal::parse(text);
        let digits: String = [number.whole, number.fraction].concat();
        let behind = i64::try_from(number.fraction.len()).unwrap_or(i64::MAX);
        let significant = digits.trim_end_matches('0');
        let zeros = i64::try_from(digits.len() - significant.len()).unwrap_or(i64::MAX);
        let power = number.exponent.saturating_sub(behind).saturating_add(zeros);
        let significant = significant.trim_start_matches('0').to_owned();
        // Zero is zero, whatever its sign and exponent.
        if significant.is_empty() {
            return (false, significant, 0);
        }
        (number.negative, significant, power)
    };
    parts(a) == parts(b)
}

fn is_volatile(name: &str) -> bool {
    let plain: String =
        name.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect();
    VOLATILE.contains(&plain.as_str())
}
