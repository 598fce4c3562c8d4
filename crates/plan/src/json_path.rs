//! JSON paths as the folder writes them (RFC 9535), parsed once.
//!
//! In: the text of a path, from the root (`$.daily`) or relative (`indicators.quote[0].open`).
//! Out: a [`JsonPath`]. Deliberately absent: evaluating it; that is `extract`'s.

/// One step of a path that names at most one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A member of an object.
    Name(String),
    /// An element of an array, counted from 0.
    Index(usize),
}

/// One step of a path that needs no filter, slice or descendant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// At most one place.
    One(Step),
    /// `*`: every member of an object, every element of an array.
    Every,
}

/// A checked JSON path.
#[derive(Debug, Clone)]
pub struct JsonPath {
    text: String,
    from_root: bool,
    query: serde_json_path::JsonPath,
    segments: Option<Vec<Segment>>,
    steps: Option<Vec<Step>>,
}

impl JsonPath {
    /// Parses a path. A text that does not start with `$` is relative to the place it is used at;
    /// that place itself is `@`.
    pub fn parse(text: &str) -> Result<Self, String> {
        check_size(text)?;
        let from_root = text.starts_with('$');
        let relative = text.strip_prefix('@').unwrap_or(text);
        let absolute = if from_root {
            text.to_owned()
        } else if relative.is_empty() || relative.starts_with(['.', '[']) {
            format!("${relative}")
        } else {
            format!("$.{relative}")
        };
        let query = serde_json_path::JsonPath::parse(&absolute).map_err(|error| {
            // In bytes, from 0; what was put before the path is not counted.
            let added = absolute.len() - text.len();
            let at = error.position().saturating_sub(added);
            let before = text.get(..at).unwrap_or(text).chars().count();
            format!("{} at character {}", error.message(), before + 1)
        })?;
        let segments = plain_segments(&absolute[1..]);
        let steps = segments.as_deref().and_then(|segments| {
            let steps = segments.iter().map(|segment| match segment {
                Segment::One(step) => Some(step.clone()),
                Segment::Every => None,
            });
            steps.collect()
        });
        Ok(Self { text: text.to_owned(), from_root, query, segments, steps })
    }

    /// The path as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it starts at the root (`$`) whatever place it is used at.
    pub fn is_from_root(&self) -> bool {
        self.from_root
    }

    /// The steps, when the path is made of names and indexes only and so names at most one place.
    pub fn steps(&self) -> Option<&[Step]> {
        self.steps.as_deref()
    }

    /// The segments, when the path is made of names, indexes and wildcards only.
    pub fn segments(&self) -> Option<&[Segment]> {
        self.segments.as_deref()
    }

    /// The full RFC 9535 query, for paths that may match several places.
    pub fn query(&self) -> &serde_json_path::JsonPath {
        &self.query
    }
}

/// The longest path.
const LONGEST: usize = 4096;
/// How deep filters and parentheses may stand in one another: the parser behind this one tries each several
/// times over, and those in it again each time.
const DEEPEST: usize = 5;
/// How many `!` a path may have: each takes a piece of the parser's stack.
const MOST_NOTS: usize = 64;

/// Refuses a path that nobody writes and that would keep the full parser for ever.
fn check_size(text: &str) -> Result<(), String> {
    if text.len() > LONGEST {
        return Err(format!("it is longer than {LONGEST} bytes"));
    }
    // What is open: `true` for a filter or a parenthesis, `false` for a plain bracket.
    let mut open: Vec<bool> = Vec::new();
    let (mut nots, mut quote) = (0_usize, None);
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if let Some(end) = quote {
            match byte {
                b'\\' => drop(bytes.next()),
                byte if byte == end => quote = None,
                _ => {}
            }
            continue;
        }
        match byte {
            b'\'' | b'"' => quote = Some(byte),
            b'(' => open.push(true),
            b'[' => open.push(false),
            // A filter may stand behind another selector: `[0, ?@.a]`.
            b'?' => {
                if let Some(last) = open.last_mut() {
                    *last = true;
                }
            }
            b')' | b']' => drop(open.pop()),
            b'!' => nots += 1,
            _ => {}
        }
        if open.iter().filter(|deep| **deep).count() > DEEPEST || open.len() > LONGEST / 64 {
            return Err(format!("filters stand in one another more than {DEEPEST} deep"));
        }
        if nots > MOST_NOTS {
            return Err(format!("it has more than {MOST_NOTS} `!`"));
        }
    }
    Ok(())
}

/// The segments of a path that uses nothing but `.name`, `['name']`, `["name"]` without escapes,
/// `[0]`, `.*` and `[*]`; `None` for anything richer. The full parser has accepted the text before.
fn plain_segments(mut rest: &str) -> Option<Vec<Segment>> {
    let mut segments = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let (name, tail) = after.split_at(end);
            if name.is_empty() || name.contains(char::is_whitespace) {
                return None;
            }
            segments.push(match name {
                "*" => Segment::Every,
                name => Segment::One(Step::Name(name.to_owned())),
            });
            rest = tail;
        } else {
            let after = rest.strip_prefix('[')?;
            if let Some(quote) = after.chars().next().filter(|c| matches!(c, '\'' | '"')) {
                let (name, tail) = after[1..].split_once(quote)?;
                if name.contains('\\') {
                    return None;
                }
                segments.push(Segment::One(Step::Name(name.to_owned())));
                rest = tail.strip_prefix(']')?;
            } else {
                let (index, tail) = after.split_once(']')?;
                segments.push(match index {
                    "*" => Segment::Every,
                    index => Segment::One(Step::Index(index.parse().ok()?)),
                });
                rest = tail;
            }
        }
    }
    Some(segments)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Step {
        Step::Name(text.to_owned())
    }

    #[test]
    fn names_and_indexes_are_plain_steps() {
        let path = JsonPath::parse("indicators.quote[0]['open']").unwrap();
        assert!(!path.is_from_root());
        assert_eq!(
            path.steps().unwrap(),
            [name("indicators"), name("quote"), Step::Index(0), name("open")]
        );
        assert_eq!(JsonPath::parse("$").unwrap().steps().unwrap(), []);
    }

    #[test]
    fn wildcards_filters_and_descendants_have_no_plain_steps() {
        for text in ["$[*]", "$..name", "$.a[?@.b > 1]", "$.a[-1]", "$.a[0,1]", "$['a\\'b']"] {
            assert!(JsonPath::parse(text).unwrap().steps().is_none(), "{text}");
        }
        for text in ["$..name", "$.a[?@.b > 1]", "$.a[-1]", "$.a[0,1]", "$['a\\'b']", "$[ * ]"] {
            assert!(JsonPath::parse(text).unwrap().segments().is_none(), "{text}");
        }
        let path = JsonPath::parse("$[*].a.*").unwrap();
        assert_eq!(
            path.segments().unwrap(),
            [Segment::Every, Segment::One(name("a")), Segment::Every]
        );
    }

    #[test]
    fn the_place_itself_is_an_at_sign() {
        for text in ["@", ""] {
            let path = JsonPath::parse(text).unwrap();
            assert_eq!((path.steps().unwrap(), path.is_from_root()), ([].as_slice(), false));
        }
        assert_eq!(JsonPath::parse("@.a").unwrap().steps().unwrap(), [name("a")]);
    }

    #[test]
    fn filters_may_stand_in_one_another_five_deep() {
        let nested = |depth| format!("$[?{}@.a{}]", "(".repeat(depth), ")".repeat(depth));
        assert!(JsonPath::parse(&nested(4)).is_ok());
        let refused = JsonPath::parse(&nested(5)).unwrap_err();
        assert_eq!(refused, "filters stand in one another more than 5 deep");
        // What is quoted is a name.
        assert!(JsonPath::parse("$['((((((((!!']").is_ok());
        assert!(JsonPath::parse(&format!("$[?{}@.a]", "!".repeat(65))).is_err());
        assert!(JsonPath::parse(&".a".repeat(2049)).is_err());
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(JsonPath::parse("$.a[").is_err());
        assert!(JsonPath::parse("a b").is_err());
        for (text, at) in [("$.a[", 4), (".a[", 3), ("a[", 2), ("a b", 2), ("@.a[", 4)] {
            let reason = JsonPath::parse(text).unwrap_err();
            assert!(reason.ends_with(&format!(" at character {at}")), "{text}: {reason}");
        }
    }
}
