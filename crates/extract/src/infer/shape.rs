//! Where rows could be: every list of values in a response, with how many values it would give.
//!
//! In: the tree of a response. Out: the [`Shape`]s it has and their weights. Deliberately absent: choosing
//! between them, and their fields.

use std::collections::BTreeMap;

use daymark_plan::Layout;

use super::name;
use super::tree::{Node, Part, Route};

/// A place and a layout.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shape {
    pub(super) layout: Layout,
    pub(super) route: Route,
    /// `records`: one object that is no element of a list, for want of anything better.
    pub(super) single: bool,
}

/// How many values each shape gives.
pub(super) type Shapes = BTreeMap<Shape, usize>;

/// How deep rows are looked for.
const DEEPEST: usize = 8;
/// How many elements that differ in kind are looked into.
const WIDEST: usize = 8;

/// Every shape a response has.
pub(super) fn shapes(root: &Node<'_>) -> Shapes {
    let mut found = Shapes::new();
    walk(root, &mut Vec::new(), &mut found);
    if root.members().is_some_and(|members| !members.is_empty()) {
        let single = Shape { layout: Layout::Records, route: Vec::new(), single: true };
        found.insert(single, root.count().max(1));
    }
    found
}

fn walk(node: &Node<'_>, route: &mut Route, found: &mut Shapes) {
    if route.len() > DEEPEST {
        return;
    }
    let mut add = |layout, route: &Route, weight: usize| {
        if weight > 0 {
            let shape = Shape { layout, route: route.clone(), single: false };
            *found.entry(shape).or_default() += weight;
        }
    };
    let into = |part: Part, node: &Node<'_>, route: &mut Route, found: &mut Shapes| {
        route.push(part);
        walk(node, route, found);
        route.pop();
    };
    match node {
        Node::Scalar(_) => {}
        Node::Object(_, members) => {
            add(
                Layout::Columns,
                route,
                columns(node).map_or(0, |(length, arrays)| length * arrays),
            );
            add(Layout::Keyed, route, keyed(node));
            for (name, value) in members {
                into(Part::Name(name.clone().into_owned()), value, route, found);
            }
            if members.len() > 1 && members.iter().all(|(name, _)| name::is_value(name)) {
                for (_, value) in members {
                    into(Part::Member, value, route, found);
                }
            }
        }
        Node::Array(_, elements) => {
            let all = |is: fn(&Node<'_>) -> bool| !elements.is_empty() && elements.iter().all(is);
            if all(|element| element.members().is_some()) {
                add(Layout::Records, route, elements.iter().map(flat_count).sum());
                for element in elements {
                    into(Part::Each, element, route, found);
                }
            } else if all(|element| element.elements().is_some()) {
                if let Some(width) = grid_width(elements) {
                    add(Layout::Grid, route, width * elements.len());
                } else {
                    for element in elements {
                        into(Part::Each, element, route, found);
                    }
                }
            } else if elements.len() <= WIDEST {
                for (at, element) in elements.iter().enumerate() {
                    into(Part::Index(at), element, route, found);
                }
            }
        }
    }
}

/// How many plain values stand in an object without going through its lists.
fn flat_count(node: &Node<'_>) -> usize {
    match node {
        Node::Scalar(_) => usize::from(!node.is_null()),
        // As a whole it is one value.
        Node::Array(..) => 1,
        Node::Object(_, members) => members.iter().map(|(_, value)| flat_count(value)).sum(),
    }
}

/// The lists of plain values in an object: the way to each, as names and indexes, and the list.
pub(super) fn lists<'t, 'b>(node: &'t Node<'b>) -> Vec<(Route, &'t Node<'b>)> {
    fn collect<'t, 'b>(
        node: &'t Node<'b>,
        route: &mut Route,
        found: &mut Vec<(Route, &'t Node<'b>)>,
    ) {
        if route.len() > DEEPEST {
            return;
        }
        match node {
            Node::Scalar(_) => {}
            Node::Object(_, members) => {
                for (name, value) in members {
                    route.push(Part::Name(name.clone().into_owned()));
                    collect(value, route, found);
                    route.pop();
                }
            }
            Node::Array(_, elements) if elements.iter().all(Node::is_scalar) => {
                if !elements.is_empty() {
                    found.push((route.clone(), node));
                }
            }
            Node::Array(_, elements) => {
                if let [element @ Node::Object(..)] = elements.as_slice() {
                    route.push(Part::Index(0));
                    collect(element, route, found);
                    route.pop();
                }
            }
        }
    }
    let mut found = Vec::new();
    if node.members().is_some() {
        collect(node, &mut Vec::new(), &mut found);
    }
    found
}

/// The length that most values of an object's lists have together, and how many lists have it. A group
/// that stands in one member alone is that member's.
pub(super) fn columns(node: &Node<'_>) -> Option<(usize, usize)> {
    let mut groups: BTreeMap<usize, Vec<Route>> = BTreeMap::new();
    for (route, list) in lists(node) {
        groups.entry(list.elements().map_or(0, <[_]>::len)).or_default().push(route);
    }
    let (length, routes) = groups
        .into_iter()
        .filter(|(_, routes)| routes.len() > 1)
        .max_by_key(|(length, routes)| length * routes.len())?;
    let within_one = routes.iter().all(|route| route.len() > 1 && route[0] == routes[0][0]);
    (!within_one).then_some((length, routes.len()))
}

/// How many values the members of an object give as rows, if they look like rows.
fn keyed(node: &Node<'_>) -> usize {
    let members = node.members().unwrap_or_default();
    if members.len() < 2 {
        return 0;
    }
    let named = members.iter().all(|(name, _)| name::is_value(name));
    if members.iter().all(|(_, value)| value.is_number()) {
        return if named { members.len() * 2 } else { 0 };
    }
    // Lists among the members are rows of their own.
    let plain = |node: &Node<'_>| {
        node.members().is_some_and(|inner| {
            !inner.is_empty() && inner.iter().all(|(_, value)| !matches!(value, Node::Array(..)))
        })
    };
    if !members.iter().all(|(_, value)| plain(value)) {
        return 0;
    }
    let shared = members[0]
        .1
        .members()
        .unwrap_or_default()
        .iter()
        .any(|(name, _)| members.iter().all(|(_, value)| value.get(name).is_some()));
    let alike = named || {
        let of = |node: &Node<'_>| -> Vec<String> {
            let inner = node.members().unwrap_or_default().iter();
            inner.map(|(name, _)| name.clone().into_owned()).collect()
        };
        let first = of(&members[0].1);
        members.iter().all(|(_, value)| of(value) == first)
    };
    if !(named || shared && alike) {
        return 0;
    }
    members.iter().map(|(_, value)| flat_count(value) + 1).sum()
}

/// The width of a list of lists of plain values.
fn grid_width(rows: &[Node<'_>]) -> Option<usize> {
    let width = rows.first()?.elements()?.len();
    let fits = |row: &Node<'_>| {
        row.elements()
            .is_some_and(|cells| cells.len() == width && cells.iter().all(Node::is_scalar))
    };
    (width > 1 && rows.iter().all(fits)).then_some(width)
}
