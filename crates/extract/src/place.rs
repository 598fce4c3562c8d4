//! The place or places the rows of a body are at, and the text of paths.
//!
//! In: the `at` of a source and a checked body. Out: the values it matches, each with its normalized
//! path (RFC 9535, section 2.7) and the values around it. Deliberately absent: fields; see
//! [`crate::layout`].
//!
//! Three ways, the quickest that can answer: names and indexes in one pass, wildcards by walking the
//! text, and only filters, slices and descendants from a parsed copy.

use std::fmt::Write;

use daymark_plan::{JsonPath, Segment, Step};

use crate::error::ExtractError;
use crate::json::{self, Json, Kind};
use crate::lookup::Lookup;

/// A value that holds rows.
#[derive(Debug, Clone)]
pub(crate) struct Place<'b> {
    /// The value.
    pub(crate) value: Json<'b>,
    /// Where it is in the body, from the root.
    pub(crate) steps: Vec<Step>,
    /// The values around it, the nearest first; as many as were asked for and there are.
    pub(crate) above: Vec<Json<'b>>,
}

impl Place<'_> {
    /// Its path from the root.
    pub(crate) fn path(&self) -> String {
        path_text("$", &self.steps)
    }

    /// The path of the value `levels` around it.
    pub(crate) fn path_above(&self, levels: usize) -> String {
        path_text("$", &self.steps[..self.steps.len().saturating_sub(levels)])
    }

    /// The names on the way to it, the last one first.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().rev().filter_map(|step| match step {
            Step::Name(name) => Some(name.as_str()),
            Step::Index(_) => None,
        })
    }
}

/// Every place `path` matches in the body whose root value is `root`, each with `levels` of the
/// values around it; none is not an error here.
pub(crate) fn places<'b>(
    path: &JsonPath,
    levels: usize,
    root: Json<'b>,
) -> Result<Vec<Place<'b>>, ExtractError> {
    if let Some(steps) = path.steps() {
        return Ok(look_up(vec![steps.to_vec()], levels, root));
    }
    if let Some(segments) = path.segments() {
        let mut walk = Walk { levels, steps: Vec::new(), around: Vec::new(), found: Vec::new() };
        walk.on(segments, root);
        return Ok(walk.found);
    }
    Ok(look_up(locations(path, root)?, levels, root))
}

/// The values of locations, in one pass.
fn look_up(locations: Vec<Vec<Step>>, levels: usize, root: Json<'_>) -> Vec<Place<'_>> {
    let mut lookup = Lookup::new();
    for steps in &locations {
        for up in 0..=levels.min(steps.len()) {
            lookup.add(&steps[..steps.len() - up]);
        }
    }
    let mut found = Vec::new();
    lookup.find(root, &mut found);
    let mut found = found.into_iter();
    let places = locations.into_iter().filter_map(|steps| {
        let mut values = found.by_ref().take(1 + levels.min(steps.len()));
        let value = values.next().flatten();
        let above = values.flatten().collect();
        Some(Place { value: value?, steps, above })
    });
    places.collect()
}

/// The places of a path with wildcards, found on the way through the text.
struct Walk<'b> {
    levels: usize,
    steps: Vec<Step>,
    around: Vec<Json<'b>>,
    found: Vec<Place<'b>>,
}

impl<'b> Walk<'b> {
    fn on(&mut self, segments: &[Segment], value: Json<'b>) {
        let Some((segment, rest)) = segments.split_first() else {
            let above = self.around.iter().rev().take(self.levels).copied().collect();
            self.found.push(Place { value, steps: self.steps.clone(), above });
            return;
        };
        self.around.push(value);
        match (segment, value.kind()) {
            (Segment::Every, Kind::Array) => {
                for (index, element) in value.elements().enumerate() {
                    self.enter(Step::Index(index), rest, element);
                }
            }
            (Segment::One(Step::Index(index)), Kind::Array) => {
                if let Some(element) = value.elements().nth(*index) {
                    self.enter(Step::Index(*index), rest, element);
                }
            }
            (Segment::Every, Kind::Object) => {
                for member in value.members() {
                    // A name no text can hold has no path.
                    if let Ok(name) = json::unescape(member.name.quoted()) {
                        self.enter(Step::Name(name.into_owned()), rest, member.value);
                    }
                }
            }
            (Segment::One(Step::Name(name)), Kind::Object) => {
                let mut lookup = Lookup::new();
                let step = [Step::Name(name.clone())];
                lookup.add(&step);
                let mut found = Vec::new();
                lookup.find(value, &mut found);
                if let Some(Some(member)) = found.first() {
                    self.enter(Step::Name(name.clone()), rest, *member);
                }
            }
            _ => {}
        }
        self.around.pop();
    }

    fn enter(&mut self, step: Step, rest: &[Segment], value: Json<'b>) {
        self.steps.push(step);
        self.on(rest, value);
        self.steps.pop();
    }
}

/// The locations a path with filters, slices or descendants matches.
fn locations(path: &JsonPath, root: Json<'_>) -> Result<Vec<Vec<Step>>, ExtractError> {
    let tree: serde_json::Value = serde_json::from_str(root.text()).map_err(|error| {
        ExtractError::Unsearchable { path: path.text().to_owned(), reason: error.to_string() }
    })?;
    let nodes = path.query().query_located(&tree);
    let steps = nodes.locations().map(|location| {
        let steps = location.iter().map(|element| match (element.as_name(), element.as_index()) {
            (_, Some(index)) => Step::Index(index),
            (name, None) => Step::Name(name.unwrap_or_default().to_owned()),
        });
        steps.collect()
    });
    Ok(steps.collect())
}

/// The text of the path that goes on from `base` by `steps`.
pub(crate) fn path_text(base: &str, steps: &[Step]) -> String {
    let mut text = base.to_owned();
    for step in steps {
        match step {
            Step::Name(name) => push_name(&mut text, name),
            Step::Index(index) => {
                write!(text, "[{index}]").expect("writing to a string cannot fail");
            }
        }
    }
    text
}

/// Has a path go on by a name.
pub(crate) fn push_name(path: &mut String, name: &str) {
    if is_shorthand(name) {
        path.push('.');
        path.push_str(name);
        return;
    }
    path.push_str("['");
    path.push_str(&name.replace('\\', "\\\\").replace('\'', "\\'"));
    path.push_str("']");
}

/// Whether a name may stand behind a dot.
fn is_shorthand(name: &str) -> bool {
    let starts = name.starts_with(|first: char| first == '_' || !first.is_ascii_digit());
    starts && name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric() || !c.is_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<(String, String)> {
        let path = JsonPath::parse(path).unwrap();
        let places = places(&path, 0, Json::checked(text)).unwrap();
        places.into_iter().map(|place| (place.path(), place.value.text().to_owned())).collect()
    }

    #[test]
    fn a_path_may_match_no_place_one_or_several() {
        let text = r#"[{"daily":{"a b":1}},{"x":0},{"daily":{"a b":2,"l'e":3}}]"#;
        assert_eq!(found("$.daily", text), []);
        assert_eq!(found("$[0].daily", text), [("$[0].daily".into(), r#"{"a b":1}"#.into())]);
        assert_eq!(
            found("$[*].daily['a b', \"l'e\"]", text),
            [
                ("$[0].daily['a b']".into(), "1".into()),
                ("$[2].daily['a b']".into(), "2".into()),
                (r"$[2].daily['l\'e']".into(), "3".into()),
            ]
        );
        assert_eq!(found("$[?@.x == 0]", text), [("$[1]".into(), r#"{"x":0}"#.into())]);
    }

    #[test]
    fn the_three_ways_give_the_same_places_with_what_is_around_them() {
        let text = r#"{"a":[{"id":1,"b":{"x":[1],"y":[2]}},{"id":2},{"id":3,"b":{"z":[3]}}]}"#;
        let all = |path: &str, levels| {
            let path = JsonPath::parse(path).unwrap();
            let places = places(&path, levels, Json::checked(text)).unwrap();
            let shown = places.into_iter().map(|place| {
                let above: Vec<String> = place.above.iter().map(|v| v.text().to_owned()).collect();
                (place.path(), place.value.text().to_owned(), above)
            });
            shown.collect::<Vec<_>>()
        };
        for levels in 0..6 {
            let walked = all("$.a[*].b.*", levels);
            assert_eq!(walked.len(), 3);
            assert_eq!(walked[0].2.len(), levels.min(4));
            // A slice of everything is answered from the tree.
            assert_eq!(walked, all("$.a[0:].b.*", levels));
            assert_eq!(walked[2..], all("$.a[2].b.z", levels));
        }
    }
}
