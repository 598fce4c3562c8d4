//! The place or places the rows of a body are at, and the text of paths.
//!
//! In: the `at` of a source and a checked body. Out: the values it matches, each with its normalized
//! path (RFC 9535, section 2.7). Deliberately absent: fields; see [`crate::layout`].

use std::fmt::Write;

use daymark_plan::{JsonPath, Step};

use crate::error::ExtractError;
use crate::json::{Json, Kind};
use crate::lookup::Lookup;

/// A value that holds rows.
#[derive(Debug)]
pub(crate) struct Place<'b> {
    /// The value.
    pub(crate) value: Json<'b>,
    /// Where it is in the body.
    pub(crate) path: String,
}

/// Every place `path` matches in the body whose root value is `root`; none is not an error here.
pub(crate) fn places<'b>(path: &JsonPath, root: Json<'b>) -> Result<Vec<Place<'b>>, ExtractError> {
    let several;
    let locations: &[Vec<Step>] = if let Some(steps) = path.steps() {
        &[steps.to_vec()]
    } else {
        several = locations(path, root)?;
        &several
    };
    let mut lookup = Lookup::new();
    for steps in locations {
        lookup.add(steps);
    }
    let mut found = Vec::new();
    lookup.find(root, &mut found);
    let places = found
        .into_iter()
        .zip(locations)
        .filter_map(|(value, steps)| Some(Place { value: value?, path: path_text("$", steps) }));
    Ok(places.collect())
}

/// Whether `path` matches something other than null.
pub(crate) fn matches_value(path: &JsonPath, root: Json<'_>) -> Result<bool, ExtractError> {
    Ok(places(path, root)?.iter().any(|place| place.value.kind() != Kind::Null))
}

/// The locations a path with wildcards, filters, slices or descendants matches.
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
        let written = match step {
            Step::Name(name) if is_shorthand(name) => write!(text, ".{name}"),
            Step::Name(name) => {
                let name = name.replace('\\', "\\\\").replace('\'', "\\'");
                write!(text, "['{name}']")
            }
            Step::Index(index) => write!(text, "[{index}]"),
        };
        written.expect("writing to a string cannot fail");
    }
    text
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
        let places = places(&path, Json::checked(text)).unwrap();
        places.into_iter().map(|place| (place.path, place.value.text().to_owned())).collect()
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
}
