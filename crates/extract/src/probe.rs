//! What `[expect]`, paging and cursors ask of a body.
//!
//! In: paths and a body. Out: whether there is something, how long arrays are, which plain values
//! there are. Deliberately absent: what follows from the answers.

use daymark_plan::JsonPath;

use crate::body;
use crate::error::ExtractError;
use crate::json::{self, Kind};
use crate::place;

/// A plain value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scalar {
    /// `null`.
    Null,
    /// A string's characters.
    Text(String),
    /// A number as it is written.
    Number(String),
    /// `true` or `false`.
    Boolean(bool),
}

/// Whether `path` matches something other than null in a body, for `[expect]`.
pub fn matches_value(path: &JsonPath, body: &[u8]) -> Result<bool, ExtractError> {
    let places = place::places(path, 0, body::check(body)?)?;
    Ok(places.iter().any(|place| place.value.kind() != Kind::Null))
}

/// The lengths of everything that `paths` match, each with its own path, when they differ. Null and
/// nothing at all have the length 0, a value that is no array 1.
pub fn same_length(
    paths: &[JsonPath],
    body: &[u8],
) -> Result<Option<Vec<(String, u64)>>, ExtractError> {
    let root = body::check(body)?;
    let mut lengths = Vec::new();
    for path in paths {
        let places = place::places(path, 0, root)?;
        if places.is_empty() {
            lengths.push((path.text().to_owned(), 0));
        }
        lengths.extend(places.iter().map(|place| {
            let length = match place.value.kind() {
                Kind::Array => place.value.elements().map(|_| 1).sum(),
                Kind::Null => 0,
                _ => 1,
            };
            (place.path(), length)
        }));
    }
    let differ = lengths.windows(2).any(|pair| pair[0].1 != pair[1].1);
    Ok(differ.then_some(lengths))
}

/// The plain values that `path` matches, in the order of the body. Arrays, objects and strings that
/// are no text (half a surrogate pair) are passed over.
pub fn scalars_at(path: &JsonPath, body: &[u8]) -> Result<Vec<Scalar>, ExtractError> {
    let places = place::places(path, 0, body::check(body)?)?;
    let scalars = places.iter().filter_map(|place| match place.value.kind() {
        Kind::Null => Some(Scalar::Null),
        Kind::Boolean => Some(Scalar::Boolean(place.value.text() == "true")),
        Kind::Number => Some(Scalar::Number(place.value.text().to_owned())),
        Kind::String => {
            let text = json::unescape(place.value.quoted()).ok()?;
            Some(Scalar::Text(text.into_owned()))
        }
        Kind::Array | Kind::Object => None,
    });
    Ok(scalars.collect())
}
