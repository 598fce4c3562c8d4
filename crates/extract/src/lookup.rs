//! Finding many paths in one pass over a value.
//!
//! In: paths made of names and indexes, and a checked value. Out: per path the value it names, if
//! any. Deliberately absent: paths that may name several values; [`crate::place`] turns them into
//! paths of this kind first, so that there is one evaluator.

use std::collections::BTreeMap;

use daymark_plan::Step;

use crate::json::{self, Json};

/// The values found, by slot.
pub(crate) type Found<'b> = Vec<Option<Json<'b>>>;

/// A tree of paths; the first node is where they all start.
#[derive(Debug)]
pub(crate) struct Lookup<'p> {
    nodes: Vec<Node<'p>>,
    slots: usize,
}

#[derive(Debug, Default)]
struct Node<'p> {
    names: BTreeMap<&'p str, usize>,
    indexes: BTreeMap<usize, usize>,
    /// The paths that end here.
    slots: Vec<usize>,
}

impl Node<'_> {
    fn is_leaf(&self) -> bool {
        self.names.is_empty() && self.indexes.is_empty()
    }
}

impl<'p> Lookup<'p> {
    /// A lookup that looks for nothing yet.
    pub(crate) fn new() -> Self {
        Self { nodes: vec![Node::default()], slots: 0 }
    }

    /// Adds a path and returns its slot in what [`Self::find`] finds.
    pub(crate) fn add(&mut self, steps: &'p [Step]) -> usize {
        let mut node = 0;
        for step in steps {
            let fresh = self.nodes.len();
            let from = &mut self.nodes[node];
            node = match step {
                Step::Name(name) => *from.names.entry(name).or_insert(fresh),
                Step::Index(index) => *from.indexes.entry(*index).or_insert(fresh),
            };
            if node == fresh {
                self.nodes.push(Node::default());
            }
        }
        let slot = self.slots;
        self.slots += 1;
        self.nodes[node].slots.push(slot);
        slot
    }

    /// Whether it looks for nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots == 0
    }

    /// Fills `found` with the value each path names in `value`.
    pub(crate) fn find<'b>(&self, value: Json<'b>, found: &mut Found<'b>) {
        found.clear();
        found.resize(self.slots, None);
        self.walk(0, value.text(), 0, found);
    }

    /// Goes through the value that starts at `start`, and returns its end.
    fn walk<'b>(&self, node: usize, text: &'b str, start: usize, found: &mut Found<'b>) -> usize {
        let bytes = text.as_bytes();
        let here = &self.nodes[node];
        let end = match bytes.get(start) {
            Some(b'{') if !here.names.is_empty() => self.walk_members(here, text, start, found),
            Some(b'[') if !here.indexes.is_empty() => self.walk_elements(here, text, start, found),
            _ => json::value_end(bytes, start),
        };
        if let Some(value) = text.get(start..end) {
            for slot in &here.slots {
                found[*slot] = Some(Json::checked(value));
            }
        }
        end
    }

    fn walk_members<'b>(
        &self,
        here: &Node<'p>,
        text: &'b str,
        start: usize,
        found: &mut Found<'b>,
    ) -> usize {
        let bytes = text.as_bytes();
        let mut at = start + 1;
        while let Some(key) = json::next_item(bytes, at) {
            let key_end = json::string_end(bytes, key);
            let value = json::member_value(bytes, key_end);
            let quoted = text.get(key + 1..key_end.saturating_sub(1)).unwrap_or_default();
            // A key no text can hold, half a surrogate pair, is a key nobody asked for.
            let child = json::unescape(quoted).ok().and_then(|name| here.names.get(name.as_ref()));
            at = match child {
                Some(child) => {
                    // The last of two members with one name counts, with nothing of the first.
                    self.forget(*child, found);
                    self.walk(*child, text, value, found)
                }
                None => json::value_end(bytes, value),
            };
        }
        (json::skip_space(bytes, at) + 1).min(bytes.len())
    }

    fn walk_elements<'b>(
        &self,
        here: &Node<'p>,
        text: &'b str,
        start: usize,
        found: &mut Found<'b>,
    ) -> usize {
        let bytes = text.as_bytes();
        let mut at = start + 1;
        let mut index = 0;
        while let Some(element) = json::next_item(bytes, at) {
            at = match here.indexes.get(&index) {
                Some(child) => self.walk(*child, text, element, found),
                None => json::value_end(bytes, element),
            };
            index += 1;
        }
        (json::skip_space(bytes, at) + 1).min(bytes.len())
    }

    fn forget(&self, node: usize, found: &mut Found<'_>) {
        let node = &self.nodes[node];
        if node.is_leaf() {
            return; // Its slots are about to be overwritten.
        }
        for slot in &node.slots {
            found[*slot] = None;
        }
        for child in node.names.values().chain(node.indexes.values()) {
            for slot in &self.nodes[*child].slots {
                found[*slot] = None;
            }
            self.forget(*child, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use daymark_plan::JsonPath;

    use super::*;

    fn find<'b>(paths: &[&str], text: &'b str) -> Vec<Option<&'b str>> {
        let paths: Vec<JsonPath> =
            paths.iter().map(|path| JsonPath::parse(path).unwrap()).collect();
        let mut lookup = Lookup::new();
        for path in &paths {
            lookup.add(path.steps().unwrap());
        }
        let mut found = Vec::new();
        lookup.find(Json::checked(text), &mut found);
        found.into_iter().map(|value| value.map(Json::text)).collect()
    }

    #[test]
    fn many_paths_are_found_at_once() {
        let text = r#"{ "a" : { "b" : [ 1 , {"c":"}"} , [2] ] , "d" : null } , "e" : 5 }"#;
        let found =
            find(&["$.a.b[1].c", "$.e", "$.a.d", "$.a.b", "$.a.b[3]", "$.x", "$.e.f", "$"], text);
        assert_eq!(
            found,
            [
                Some("\"}\""),
                Some("5"),
                Some("null"),
                Some("[ 1 , {\"c\":\"}\"} , [2] ]"),
                None,
                None,
                None,
                Some(text),
            ]
        );
    }

    #[test]
    fn the_last_of_two_members_counts_with_nothing_of_the_first() {
        let found =
            find(&["$.a.x", "$.a.y", "$.b"], r#"{"a":{"x":1,"y":2},"b":1,"a":{"y":3},"b":2}"#);
        assert_eq!(found, [None, Some("3"), Some("2")]);
    }

    #[test]
    fn escaped_keys_are_found_by_their_characters() {
        assert_eq!(
            find(&["$.é", "$.b"], r#"{"\ud83d":0,"\u00e9":1,"b":2}"#),
            [Some("1"), Some("2")]
        );
    }
}
