//! Routes through a response, in the words of a file.
//!
//! In: a [`Route`](super::tree::Route). Out: its JSON path, and the words of a column's name. Deliberately absent:
//! the name itself (`name`).

use super::tree::Part;

/// A route in the words of RFC 9535; none when a name cannot be written.
pub(super) fn path(start: &str, route: &[Part]) -> Option<String> {
    let mut text = start.to_owned();
    for part in route {
        match part {
            Part::Name(name) => {
                let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                    && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
                if plain && text.is_empty() {
                    text.push_str(name);
                } else if plain {
                    text.push_str(&format!(".{name}"));
                } else {
                    let quote = if name.contains('\'') { '"' } else { '\'' };
                    if name.contains(quote)
                        || name.contains('\\')
                        || name.contains(char::is_control)
                    {
                        return None;
                    }
                    text.push_str(&format!("[{quote}{name}{quote}]"));
                }
            }
            Part::Index(at) => text.push_str(&format!("[{at}]")),
            Part::Each => text.push_str("[*]"),
            Part::Member => text.push_str(".*"),
        }
    }
    Some(text)
}

/// `path = "..."` for a route from the row.
pub(super) fn row_path(route: &[Part]) -> Option<String> {
    let text = if route.is_empty() { "@".to_owned() } else { path("", route)? };
    Some(format!("path = {}", super::toml::string(&text)))
}

/// The words that a column at the end of a route is named after.
pub(super) fn words(route: &[Part]) -> Vec<String> {
    let name = |part: &Part| match part {
        Part::Name(name) => Some(name.clone()),
        Part::Index(at) => Some((at + 1).to_string()),
        Part::Each | Part::Member => None,
    };
    let mut words: Vec<String> = route.iter().filter_map(name).collect();
    // `quote[0].open` is called `open`, and `coordinates[0]` `coordinates_1`.
    if let [.., parent, last] = words.as_mut_slice()
        && matches!(route.last(), Some(Part::Index(_)))
    {
        *last = format!("{parent} {last}");
    }
    words
}
