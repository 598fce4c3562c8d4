//! A response as a tree, its numbers as they are written.
//!
//! In: the text of a response. Out: a [`Node`]. Deliberately absent: what it means.

use std::borrow::Cow;

use crate::body;
use crate::json::{self, Json, Kind};

/// A value, taken apart.
#[derive(Debug, Clone)]
pub(super) enum Node<'b> {
    Scalar(Json<'b>),
    Array(Json<'b>, Vec<Node<'b>>),
    Object(Json<'b>, Vec<(Cow<'b, str>, Node<'b>)>),
}

impl<'b> Node<'b> {
    /// The tree of a whole JSON text.
    pub(super) fn of(text: &'b str) -> Option<Self> {
        body::check(text.as_bytes()).ok().map(Self::build)
    }

    /// The depth is bounded by [`body::check`].
    fn build(value: Json<'b>) -> Self {
        match value.kind() {
            Kind::Array => Self::Array(value, value.elements().map(Self::build).collect()),
            Kind::Object => {
                let mut members: Vec<(Cow<'b, str>, Node<'b>)> = Vec::new();
                for member in value.members() {
                    // A name of half a surrogate pair cannot be written in a path.
                    if let Ok(name) = json::unescape(member.name.quoted()) {
                        members.push((name, Self::build(member.value)));
                    }
                }
                Self::Object(value, members)
            }
            _ => Self::Scalar(value),
        }
    }

    /// As it is written.
    pub(super) fn json(&self) -> Json<'b> {
        match self {
            Self::Scalar(value) | Self::Array(value, _) | Self::Object(value, _) => *value,
        }
    }

    pub(super) fn is_null(&self) -> bool {
        self.json().kind() == Kind::Null
    }

    pub(super) fn is_number(&self) -> bool {
        self.json().kind() == Kind::Number
    }

    pub(super) fn is_scalar(&self) -> bool {
        matches!(self, Self::Scalar(_))
    }

    pub(super) fn elements(&self) -> Option<&[Node<'b>]> {
        match self {
            Self::Array(_, elements) => Some(elements),
            _ => None,
        }
    }

    pub(super) fn members(&self) -> Option<&[(Cow<'b, str>, Node<'b>)]> {
        match self {
            Self::Object(_, members) => Some(members),
            _ => None,
        }
    }

    /// A member; the last of those with the name.
    pub(super) fn get(&self, name: &str) -> Option<&Node<'b>> {
        self.members()?.iter().rev().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    /// How many plain values it holds.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Scalar(value) => usize::from(value.kind() != Kind::Null),
            Self::Array(_, elements) => elements.iter().map(Node::count).sum(),
            Self::Object(_, members) => members.iter().map(|(_, value)| value.count()).sum(),
        }
    }

    /// The text of a string.
    pub(super) fn string(&self) -> Option<Cow<'b, str>> {
        let value = self.json();
        (value.kind() == Kind::String).then(|| json::unescape(value.quoted()).ok()).flatten()
    }
}

/// A step from a value to those in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// A member.
    Name(String),
    /// An element of an array whose elements differ in kind.
    Index(usize),
    /// Every element of an array whose elements are alike.
    Each,
    /// Every member of an object whose members are alike.
    Member,
}

/// A way from the root.
pub(super) type Route = Vec<Part>;

/// A place a route leads to.
#[derive(Debug, Clone)]
pub(super) struct Spot<'t, 'b> {
    /// What it is in, the root first.
    pub(super) above: Vec<&'t Node<'b>>,
    pub(super) node: &'t Node<'b>,
    /// The names of [`Part::Member`] on the way.
    pub(super) names: Vec<&'t str>,
}

/// The places a route leads to.
pub(super) fn spots<'t, 'b>(root: &'t Node<'b>, route: &[Part]) -> Vec<Spot<'t, 'b>> {
    let mut found = vec![Spot { above: Vec::new(), node: root, names: Vec::new() }];
    for part in route {
        let mut next = Vec::new();
        for spot in found {
            let mut go = |node: &'t Node<'b>, name: Option<&'t str>| {
                let mut to = spot.clone();
                to.above.push(spot.node);
                to.node = node;
                to.names.extend(name);
                next.push(to);
            };
            match part {
                Part::Name(name) => {
                    if let Some(node) = spot.node.get(name) {
                        go(node, None);
                    }
                }
                Part::Index(at) => {
                    if let Some(node) = spot.node.elements().and_then(|elements| elements.get(*at))
                    {
                        go(node, None);
                    }
                }
                Part::Each => {
                    for node in spot.node.elements().unwrap_or_default() {
                        go(node, None);
                    }
                }
                Part::Member => {
                    for (name, node) in spot.node.members().unwrap_or_default() {
                        go(node, Some(name));
                    }
                }
            }
        }
        found = next;
    }
    found
}
