//! Walking JSON text that has been checked, without building a tree.
//!
//! In: a text that [`crate::body::check`] found to be JSON. Out: its values as pieces of that text.
//! Deliberately absent: checking. On text that is not JSON every function here still ends, within
//! the text and without a panic, but what it returns means nothing.

use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

/// A value as the text it is written in, without space around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Json<'b> {
    text: &'b str,
}

/// What a value is, told by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Boolean,
    Number,
    String,
    Array,
    Object,
}

impl Kind {
    /// The word for it with its article.
    pub(crate) fn with_article(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "a boolean",
            Self::Number => "a number",
            Self::String => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
        }
    }
}

/// An escaped surrogate without its other half: text that no UTF-8 can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LoneSurrogate;

impl<'b> Json<'b> {
    /// Takes the text of one value that is known to be JSON.
    pub(crate) fn checked(text: &'b str) -> Self {
        Self { text }
    }

    /// The value as it is written.
    pub(crate) fn text(self) -> &'b str {
        self.text
    }

    /// What it is.
    pub(crate) fn kind(self) -> Kind {
        match self.text.as_bytes().first() {
            Some(b'"') => Kind::String,
            Some(b'[') => Kind::Array,
            Some(b'{') => Kind::Object,
            Some(b't' | b'f') => Kind::Boolean,
            Some(b'n') | None => Kind::Null,
            Some(_) => Kind::Number,
        }
    }

    /// The elements of an array.
    pub(crate) fn elements(self) -> Elements<'b> {
        Elements { text: self.text, at: 1 }
    }

    /// How many elements an array has. Bytes of one kind are counted many times faster than elements walked,
    /// and the arrays of `columns` are the body.
    pub(crate) fn count(self) -> u64 {
        let bytes = self.text.as_bytes();
        if next_item(bytes, 1).is_none() {
            return 0;
        }
        let inside = bytes.get(1..).unwrap_or_default();
        if memchr::memchr3(b'[', b'{', b'\\', inside).is_none() {
            let (quotes, commas) = (count_of(inside, b'"'), count_of(inside, b','));
            // Between scalars that are no strings every comma parts two of them. With strings among them there is
            // at least one comma between two strings; when there are no more than that, they are all there is.
            if quotes == 0 || commas + 1 == quotes / 2 {
                return commas as u64 + 1;
            }
        }
        self.elements().map(|_| 1_u64).sum()
    }

    /// The members of an object. A first pass finds the names that come twice: by their hashes,
    /// because a table of all names would take several times the room of the body.
    pub(crate) fn members(self) -> Members<'b> {
        let mut pass = Members { text: self.text, at: 1, overridden: HashSet::new() };
        let hasher = RandomState::new();
        let mut names = Vec::new();
        while let Some((start, member)) = pass.next_at() {
            names.push((hasher.hash_one(name_of(member.name.quoted())), start));
        }
        names.sort_unstable();
        let mut overridden = HashSet::new();
        for alike in names.chunk_by(|a, b| a.0 == b.0).filter(|alike| alike.len() > 1) {
            let mut later = HashSet::new();
            for (_, start) in alike.iter().rev() {
                let end = string_end(self.text.as_bytes(), *start);
                let quoted = self.text.get(start + 1..end.saturating_sub(1)).unwrap_or_default();
                if !later.insert(name_of(quoted)) {
                    overridden.insert(*start);
                }
            }
        }
        Members { text: self.text, at: 1, overridden }
    }

    /// The text between the quotes of a string, escapes and all.
    pub(crate) fn quoted(self) -> &'b str {
        self.text.get(1..self.text.len().saturating_sub(1)).unwrap_or_default()
    }
}

/// The characters of a name. One that no text can hold, half a surrogate pair, is told apart as it
/// is written.
fn name_of(quoted: &str) -> Cow<'_, str> {
    unescape(quoted).unwrap_or(Cow::Borrowed(quoted))
}

/// The elements of an array, one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Elements<'b> {
    text: &'b str,
    at: usize,
}

impl<'b> Iterator for Elements<'b> {
    type Item = Json<'b>;

    fn next(&mut self) -> Option<Json<'b>> {
        let bytes = self.text.as_bytes();
        let start = next_item(bytes, self.at)?;
        self.at = value_end(bytes, start);
        Some(Json { text: self.text.get(start..self.at)? })
    }
}

/// A member of an object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member<'b> {
    /// Its name as a string, quotes and all.
    pub(crate) name: Json<'b>,
    /// Its value.
    pub(crate) value: Json<'b>,
}

/// The members of an object, one after the other; of several with one name the last.
#[derive(Debug, Clone)]
pub(crate) struct Members<'b> {
    text: &'b str,
    at: usize,
    /// Where the names start that come again later.
    overridden: HashSet<usize>,
}

impl<'b> Members<'b> {
    fn next_at(&mut self) -> Option<(usize, Member<'b>)> {
        let bytes = self.text.as_bytes();
        let start = next_item(bytes, self.at)?;
        let name_end = string_end(bytes, start);
        let value = member_value(bytes, name_end);
        self.at = value_end(bytes, value);
        let name = Json { text: self.text.get(start..name_end)? };
        Some((start, Member { name, value: Json { text: self.text.get(value..self.at)? } }))
    }
}

impl<'b> Iterator for Members<'b> {
    type Item = Member<'b>;

    fn next(&mut self) -> Option<Member<'b>> {
        loop {
            let (start, member) = self.next_at()?;
            if self.overridden.is_empty() || !self.overridden.contains(&start) {
                return Some(member);
            }
        }
    }
}

/// Where the next element or member starts behind position `at` of an array or object; `None` at
/// its closing bracket.
pub(crate) fn next_item(bytes: &[u8], at: usize) -> Option<usize> {
    let mut start = at;
    while let Some(b',' | b' ' | b'\n' | b'\r' | b'\t') = bytes.get(start) {
        start += 1;
    }
    match bytes.get(start) {
        None | Some(b']' | b'}') => None,
        Some(_) => Some(start),
    }
}

/// The first byte from `at` on that is not space.
pub(crate) fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

/// Where the value of a member starts behind the end of its key.
pub(crate) fn member_value(bytes: &[u8], key_end: usize) -> usize {
    let mut start = key_end;
    while let Some(b':' | b' ' | b'\n' | b'\r' | b'\t') = bytes.get(start) {
        start += 1;
    }
    start
}

/// The end of the value that starts at `start`.
pub(crate) fn value_end(bytes: &[u8], start: usize) -> usize {
    match bytes.get(start) {
        Some(b'"') => string_end(bytes, start),
        Some(b'[' | b'{') => container_end(bytes, start),
        _ => {
            let rest = bytes.get(start + 1..).unwrap_or_default();
            let more = rest.iter().position(|byte| ENDS_SCALAR[usize::from(*byte)]);
            more.map_or(bytes.len(), |more| start + 1 + more)
        }
    }
}

fn count_of(bytes: &[u8], wanted: u8) -> usize {
    memchr::memchr_iter(wanted, bytes).count()
}

/// What stands behind a number, a boolean or null, looked up: a body of numbers is gone through several times,
/// byte by byte.
const ENDS_SCALAR: [bool; 256] = {
    let mut ends_scalar = [false; 256];
    let (mut at, ends) = (0, b",]} \n\r\t");
    while at < ends.len() {
        ends_scalar[ends[at] as usize] = true;
        at += 1;
    }
    ends_scalar
};

/// The end of the string that starts at `start`, behind its closing quote.
pub(crate) fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Brackets stand in one another properly, so those of the other kind need no look. Where numbers are long in a
/// row many bytes are passed at once; beginning with that takes its time, so the next few are looked at first.
fn container_end(bytes: &[u8], start: usize) -> usize {
    const NEAR: usize = 16;
    let Some(&open) = bytes.get(start) else { return bytes.len() };
    let close = if open == b'[' { b']' } else { b'}' };
    let is_structure = |byte: &u8| *byte == b'"' || *byte == open || *byte == close;
    let mut depth = 0_usize;
    let mut at = start;
    while let Some(rest) = bytes.get(at..) {
        let near = rest.iter().take(NEAR).position(is_structure);
        let Some(found) = near.or_else(|| memchr::memchr3(b'"', open, close, rest)) else { break };
        at += found;
        match bytes.get(at) {
            Some(b'"') => {
                at = string_end(bytes, at);
                continue;
            }
            Some(byte) if *byte == open => depth += 1,
            _ => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
        }
        at += 1;
    }
    bytes.len()
}

/// The first bracket that opens more than `limit` arrays and objects in one another.
pub(crate) fn deeper_than(text: &str, limit: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    // Most bodies have fewer brackets than that in all, and bytes of one kind are counted quickly.
    if count_of(bytes, b'[') + count_of(bytes, b'{') <= limit {
        return None;
    }
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = string_end(bytes, at);
                continue;
            }
            b'[' | b'{' => {
                depth += 1;
                if depth > limit {
                    return Some(at);
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    None
}

/// The strings (with their quotes, keys too) and numbers of a value, in order.
pub(crate) fn scalars(value: Json<'_>) -> impl Iterator<Item = Json<'_>> {
    let bytes = value.text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        while let Some(byte) = bytes.get(at) {
            if matches!(byte, b'"' | b'-' | b'0'..=b'9') {
                let start = at;
                at = value_end(bytes, start);
                return value.text.get(start..at).map(|text| Json { text });
            }
            at += 1;
        }
        None
    })
}

/// The characters of a string from what stands between its quotes.
pub(crate) fn unescape(quoted: &str) -> Result<Cow<'_, str>, LoneSurrogate> {
    let Some(first) = quoted.find('\\') else { return Ok(Cow::Borrowed(quoted)) };
    let mut text = String::with_capacity(quoted.len());
    let mut rest = quoted;
    let mut next = Some(first);
    while let Some(escape) = next {
        let (plain, tail) = rest.split_at(escape);
        text.push_str(plain);
        let (character, after) = unescape_one(tail)?;
        text.push(character);
        rest = after;
        next = rest.find('\\');
    }
    text.push_str(rest);
    Ok(Cow::Owned(text))
}

/// The character of the escape at the start of `text`, and what follows it.
fn unescape_one(text: &str) -> Result<(char, &str), LoneSurrogate> {
    let after = text.get(2..).unwrap_or_default();
    let character = match text.as_bytes().get(1) {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unescape_unicode(after),
        Some(other) => char::from(*other),
        None => return Err(LoneSurrogate),
    };
    Ok((character, after))
}

/// The character of `XXXX` or `XXXX\uXXXX` at the start of `text`, and what follows it.
fn unescape_unicode(text: &str) -> Result<(char, &str), LoneSurrogate> {
    let unit = |text: &str| {
        let digits = text.get(..4)?;
        u32::from_str_radix(digits, 16).ok()
    };
    let first = unit(text).ok_or(LoneSurrogate)?;
    let after = text.get(4..).unwrap_or_default();
    if let Some(character) = char::from_u32(first) {
        return Ok((character, after));
    }
    let low = after.strip_prefix("\\u").and_then(unit).ok_or(LoneSurrogate)?;
    if first >= 0xdc00 || !(0xdc00..0xe000).contains(&low) {
        return Err(LoneSurrogate);
    }
    let character = char::from_u32(0x10000 + ((first - 0xd800) << 10) + (low - 0xdc00));
    Ok((character.ok_or(LoneSurrogate)?, after.get(6..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_become_their_characters() {
        assert_eq!(unescape("plain").unwrap(), "plain");
        assert_eq!(unescape(r#"a\"\\\/\b\f\n\r\tz"#).unwrap(), "a\"\\/\u{8}\u{c}\n\r\tz");
        assert_eq!(unescape(r"\u00e9\u20AC").unwrap(), "é€");
        assert_eq!(unescape(r"x\ud83d\ude00y").unwrap(), "x😀y");
        assert_eq!(unescape(r"\\u0041").unwrap(), r"\u0041");
    }

    #[test]
    fn half_a_surrogate_pair_is_refused() {
        for text in
            [r"\ud83d", r"\ude00", r"\ud83dx", r"\ud83d\n", r"\ud83d\u0041", r"\ude00\ud83d"]
        {
            assert_eq!(unescape(text), Err(LoneSurrogate), "{text}");
        }
    }

    #[test]
    fn elements_are_found_whatever_they_hold() {
        let text = "[ 1 ,\"a,]\\\"\", [2,[3]] ,{\"k\":\"}\"}\n, null,true,-0.5e+3 ]";
        let found: Vec<&str> = Json::checked(text).elements().map(Json::text).collect();
        assert_eq!(
            found,
            ["1", "\"a,]\\\"\"", "[2,[3]]", "{\"k\":\"}\"}", "null", "true", "-0.5e+3"]
        );
        assert_eq!(Json::checked("[ ]").elements().count(), 0);
        assert_eq!(Json::checked(text).count(), 7);
        for (array, count) in [
            ("[]", 0),
            ("[ ]", 0),
            ("[1]", 1),
            ("[ 1,null , -2 ]", 3),
            ("[\"a,b\",1]", 2),
            ("[\"a,b\"]", 1),
            ("[\"a\",\"b\" , \"\"]", 3),
            ("[\"a\",null,\"b,c\"]", 3),
            ("[\",\",null]", 2),
            ("[\"\\\",\",\"b\"]", 2),
            ("[\"[\",\"b\"]", 2),
            ("[[1,2],3]", 2),
        ] {
            assert_eq!(Json::checked(array).count(), count, "{array}");
        }
    }

    #[test]
    fn the_last_of_two_members_counts() {
        let text = r#"{ "a" : 1, "b":[2] , "\u0061": 3 }"#;
        let members = Json::checked(text).members();
        let found: Vec<_> = members.map(|m| (m.name.text(), m.value.text())).collect();
        assert_eq!(found, [("\"b\"", "[2]"), ("\"\\u0061\"", "3")]);
        assert_eq!(Json::checked("{}").members().count(), 0);
    }

    #[test]
    fn scalars_are_strings_keys_and_numbers() {
        let found: Vec<&str> = scalars(Json::checked(r#"{"a":[1,-2e3,null],"b":{"c":"d"}}"#))
            .map(Json::text)
            .collect();
        assert_eq!(found, ["\"a\"", "1", "-2e3", "\"b\"", "\"c\"", "\"d\""]);
    }

    /// Any value, with much that looks like structure in its strings.
    fn values() -> impl Strategy<Value = serde_json::Value> {
        let scalars = prop_oneof![
            Just(serde_json::Value::Null),
            any::<i32>().prop_map(Into::into),
            "[a\\[\\]{},\"\\\\ é]{0,20}".prop_map(Into::into),
        ];
        scalars.prop_recursive(3, 40, 8, |inner| {
            let names = "[a\\[\\]{}\"]{0,3}";
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Into::into),
                prop::collection::btree_map(names, inner, 0..4)
                    .prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    /// Scalars whose strings have nothing but commas in them, and values of any kind.
    fn arrays() -> impl Strategy<Value = Vec<serde_json::Value>> {
        let plain = prop_oneof![
            "[a, ]{0,3}".prop_map(serde_json::Value::from),
            Just(serde_json::Value::Null),
            any::<i32>().prop_map(serde_json::Value::from),
        ];
        prop_oneof![prop::collection::vec(plain, 0..8), prop::collection::vec(values(), 0..12),]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

        #[test]
        fn an_array_has_the_elements_that_serde_json_reads(array in arrays()) {
            let text = serde_json::to_string(&array).unwrap();
            let json = Json::checked(&text);
            prop_assert_eq!(json.count(), array.len() as u64);
            let elements: Vec<serde_json::Value> =
                json.elements().map(|element| serde_json::from_str(element.text()).unwrap()).collect();
            prop_assert_eq!(elements, array);
        }
    }
}
