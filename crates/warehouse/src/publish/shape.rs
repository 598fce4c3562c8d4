//! What the responses of fetches look like, in the memory that one of them needs.
//!
//! In: the paths of a response with their types, of one fetch after the other. Out: a [`FetchShape`] each. The
//! responses of a source are much alike, and a publish may be of thousands: a path with its types is kept
//! once, and so is a whole shape that came before. Deliberately absent: comparing them (`drift`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The outline of a fetch's response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchShape {
    /// Whether what is not here may be there all the same.
    pub(super) cut: bool,
    /// Its paths.
    pub(super) paths: Arc<[Arc<FetchPath>]>,
}

/// A path of a response.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FetchPath {
    /// The path; `[*]` is any element of an array, `.*` any member under a name that is data.
    pub path: String,
    /// The types of its values but null.
    pub types: Vec<String>,
    /// A first value, as JSON: that of the first fetch that has the path with these types.
    pub example: Option<String>,
    /// Whether a field of `[rows]` reads it.
    pub is_mapped: bool,
}

/// What was seen of a source's responses so far.
#[derive(Debug, Default)]
pub struct Shapes {
    /// Each path, once for each set of types.
    paths: BTreeMap<String, Vec<Arc<FetchPath>>>,
    whole: BTreeSet<Arc<[Arc<FetchPath>]>>,
}

impl Shapes {
    /// The shape of a fetch, by the paths of its response.
    pub fn keep(&mut self, cut: bool, paths: impl IntoIterator<Item = FetchPath>) -> FetchShape {
        let paths: Arc<[_]> = paths.into_iter().map(|path| self.path(storable(path))).collect();
        let paths = if let Some(known) = self.whole.get(&paths) {
            Arc::clone(known)
        } else {
            self.whole.insert(Arc::clone(&paths));
            paths
        };
        FetchShape { cut, paths }
    }

    fn path(&mut self, path: FetchPath) -> Arc<FetchPath> {
        if !self.paths.contains_key(&path.path) {
            self.paths.insert(path.path.clone(), Vec::new());
        }
        let known = self.paths.get_mut(&path.path).expect("it is there now");
        let is_same = |other: &&Arc<FetchPath>| {
            other.types == path.types && other.is_mapped == path.is_mapped
        };
        if let Some(same) = known.iter().find(is_same) {
            return Arc::clone(same);
        }
        let path = Arc::new(path);
        known.push(Arc::clone(&path));
        path
    }
}

/// The path as PostgreSQL takes it: its text has no U+0000, which a member's name may have.
fn storable(mut path: FetchPath) -> FetchPath {
    for text in path.example.iter_mut().chain([&mut path.path]) {
        if text.contains('\0') {
            *text = text.replace('\0', "\\u0000");
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(path: &str, types: &str, example: &str) -> FetchPath {
        FetchPath {
            path: path.to_owned(),
            types: vec![types.to_owned()],
            example: Some(example.to_owned()),
            is_mapped: false,
        }
    }

    #[test]
    fn what_fetches_have_in_common_is_in_memory_once() {
        let mut shapes = Shapes::default();
        let like = |shapes: &mut Shapes, price: &str, types: &str| {
            shapes.keep(false, [path("$.time", "string", price), path("$.price", types, price)])
        };
        let first = like(&mut shapes, "1", "number");
        let alike = like(&mut shapes, "2", "number");
        assert!(Arc::ptr_eq(&first.paths, &alike.paths));
        // One that differs has its own only where it does.
        let other = like(&mut shapes, "3", "string");
        assert_ne!(first, other);
        assert!(Arc::ptr_eq(&first.paths[0], &other.paths[0]));
        assert_eq!(other.paths[1].example.as_deref(), Some("3"));
        assert_eq!(other.paths[1].types, ["string"]);
    }
}
