//! `[schema]`: what a source may change about the shape of its responses.
//!
//! In: the TOML table. Out: [`SchemaRules`]. Deliberately absent: comparing responses (a publish does).

use crate::problem::Problem;
use crate::section::{Section, choose};

/// What becomes of a response whose shape is not that of those before it. Everything is recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SchemaRules {
    /// Whether one with a field that was never there is held back.
    pub fail_on_new: bool,
    /// Whether one without a field that `[rows]` reads is taken all the same.
    pub take_missing: bool,
    /// Whether one is held back in which a field that `[rows]` reads has another type, and refused when a
    /// value does not fit.
    pub fail_on_change: bool,
}

impl SchemaRules {
    /// The rules that can hold a response back, in words; none where none can.
    pub fn holding(&self) -> Option<String> {
        let rules = [
            (self.fail_on_new, "on_new_field = \"fail\""),
            (self.fail_on_change, "on_type_change = \"fail\""),
        ];
        let rules: Vec<&str> =
            rules.into_iter().filter(|(holds, _)| *holds).map(|(_, words)| words).collect();
        (!rules.is_empty()).then(|| format!("[schema] {}", rules.join(", ")))
    }
}

/// Reads `[schema]`.
pub(super) fn read(section: Option<Section<'_>>, problems: &mut Vec<Problem>) -> SchemaRules {
    let Some(mut section) = section else { return SchemaRules::default() };
    let mut fails = |key: &str, other: &str, default: bool| {
        let words = [("fail", true), (other, false)];
        choose(&mut section, key, &words, Some(default), problems).unwrap_or(default)
    };
    let rules = SchemaRules {
        fail_on_new: fails("on_new_field", "record", false),
        take_missing: !fails("on_missing_field", "record", true),
        fail_on_change: fails("on_type_change", "reject", false),
    };
    section.finish(problems);
    rules
}
