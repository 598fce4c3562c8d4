//! Hides secrets in texts.
//!
//! In: the secrets of a source, and what its request carries under names of secrets. Out: texts with
//! `***` in their place, for manifests, errors, progress and the log. Servers like to repeat what
//! they were sent, in whatever form their words have: a secret is found in any mix of plain,
//! percent-encoded, form-encoded, JSON-escaped and HTML-escaped characters, inside base64, and where a
//! text was cut in the middle of it. Deliberately absent: knowing what is a secret by its look.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use daymark_plan::{Secrets, is_secret_name};
use reqwest::header::HeaderMap;
use url::Url;

/// What stands for a secret.
pub(crate) const HIDDEN: &str = "***";

/// What is hidden by its name only (`key=date`) is not searched for in texts when it is shorter: it
/// would be found in ordinary words. A secret that was declared as one is hidden from
/// [`SHORTEST_DECLARED`] on.
const SHORTEST_NAMED: usize = 6;

/// A declared secret shorter than this would make every text unreadable, and is none.
const SHORTEST_DECLARED: usize = 3;

/// The shortest piece of base64, and the shortest beginning of a secret that was cut, that is hidden.
const SHORTEST_PIECE: usize = 6;

/// What stands where a text was cut.
const CUT: &[u8] = "…".as_bytes();

/// Hides the secrets of one request.
#[derive(Debug, Clone, Default)]
pub struct Scrubber {
    hidden: Hidden,
}

#[derive(Clone, Default)]
struct Hidden(Vec<Vec<u8>>);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} texts", self.0.len())
    }
}

impl Scrubber {
    /// Whether there is nothing to hide.
    pub(crate) fn is_empty(&self) -> bool {
        self.hidden.0.is_empty()
    }

    /// Hides declared secrets.
    pub fn new(secrets: &Secrets) -> Self {
        let mut scrubber = Self::default();
        for secret in secrets.values() {
            scrubber.hide(secret);
        }
        scrubber
    }

    /// Hides one more secret.
    pub fn hide(&mut self, secret: &str) {
        let trimmed = secret.trim();
        if trimmed.len() < SHORTEST_DECLARED {
            return;
        }
        let mut forms = vec![trimmed.as_bytes().to_vec()];
        if trimmed.len() < secret.len() {
            forms.push(secret.as_bytes().to_vec());
        }
        forms.extend(in_base64(trimmed.as_bytes()));
        self.add(forms);
    }

    /// Hides what another hides too.
    pub(crate) fn add_all(&mut self, other: &Self) {
        self.add(other.hidden.0.clone());
    }

    fn add(&mut self, forms: Vec<Vec<u8>>) {
        for form in forms {
            if !self.hidden.0.contains(&form) {
                self.hidden.0.push(form);
            }
        }
        // A long one first: it may hold a shorter one.
        self.hidden.0.sort_by_key(|form| std::cmp::Reverse(form.len()));
    }

    /// Hides what stands under names of secrets in an address and in headers.
    pub(crate) fn hide_named(&mut self, url: &Url, headers: &HeaderMap) {
        let mut found: Vec<String> = Vec::new();
        let named = url.query_pairs().filter(|(name, _)| is_secret_name(name));
        found.extend(named.map(|(_, value)| value.into_owned()));
        found.extend(url.password().map(str::to_owned));
        for (_, value) in headers.iter().filter(|(name, _)| is_secret_name(name.as_str())) {
            let value = String::from_utf8_lossy(value.as_bytes());
            // `Authorization: Bearer <token>`: the token alone is the secret.
            found.extend(value.split([' ', ';']).map(str::to_owned));
            found.push(value.into_owned());
        }
        found.retain(|text| text.len() >= SHORTEST_NAMED && text != "Bearer");
        for text in found {
            self.hide(&text);
        }
    }

    /// A text without the secrets.
    pub fn scrub(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.scrub_bytes(text.as_bytes())).into_owned()
    }

    /// Bytes without the secrets; borrowed where there were none.
    pub(crate) fn scrub_bytes<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        let mut clean = Cow::Borrowed(text);
        for secret in &self.hidden.0 {
            if let Some(without) = without(&clean, secret) {
                clean = Cow::Owned(without);
            }
        }
        clean
    }
}

/// The parts of its base64 that are the same whatever stands before and behind it: a server that
/// repeats `Basic dXNlcjpwYXNz` repeats the password.
fn in_base64(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    for before in 0..3 {
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(secret);
        // Six bits a character: those that hold bits of the secret only.
        let (from, to) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
        for text in [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)] {
            let piece = text.as_bytes().get(from..to).unwrap_or_default().to_vec();
            if piece.len() >= SHORTEST_PIECE && !pieces.contains(&piece) {
                pieces.push(piece);
            }
        }
    }
    pieces
}

/// A text with every occurrence of a secret replaced; none where it does not occur.
fn without(text: &[u8], secret: &[u8]) -> Option<Vec<u8>> {
    let mut clean: Option<Vec<u8>> = None;
    let (mut at, mut copied) = (0, 0);
    while at < text.len() {
        let Some(length) = length_at(&text[at..], secret) else {
            at += 1;
            continue;
        };
        let clean = clean.get_or_insert_default();
        clean.extend_from_slice(&text[copied..at]);
        clean.extend_from_slice(HIDDEN.as_bytes());
        at += length;
        copied = at;
    }
    clean.map(|mut clean| {
        clean.extend_from_slice(&text[copied..]);
        clean
    })
}

/// How many bytes a secret takes at the beginning of a text, in whatever form; none where it does not
/// stand there.
fn length_at(text: &[u8], secret: &[u8]) -> Option<usize> {
    let first = *text.first()?;
    if first != *secret.first()? && !b"%+\\&".contains(&first) {
        return None;
    }
    // Pairs of how much of the secret and of the text was read. Seldom more than one: a `%` may be
    // itself or the start of `%25`.
    let mut open = vec![(0, 0)];
    while let Some((read, at)) = open.pop() {
        let rest = &text[at..];
        if read == secret.len() || (read >= SHORTEST_PIECE && rest.starts_with(CUT)) {
            return Some(at);
        }
        readings(rest, &secret[read..], &mut |of_secret, of_text| {
            open.push((read + of_secret, at + of_text));
        });
    }
    None
}

/// The ways to read the next character of a secret from a text: how many bytes of each.
fn readings(text: &[u8], secret: &[u8], read: &mut impl FnMut(usize, usize)) {
    let (Some(&next), Some(&wanted)) = (text.first(), secret.first()) else { return };
    if next == wanted {
        read(1, 1);
    }
    let mut character = |code: u32, length: usize| {
        let mut buffer = [0; 4];
        if let Some(character) = char::from_u32(code) {
            let encoded = character.encode_utf8(&mut buffer).as_bytes();
            if secret.starts_with(encoded) {
                read(encoded.len(), length);
            }
        }
    };
    match next {
        b'+' => character(u32::from(b' '), 1),
        b'%' => {
            // An address in an address is encoded twice: `%252F`.
            let mut at = 1;
            while let Some(digits) = text.get(at..at + 2) {
                if number(digits, 16) == Some(u32::from(wanted)) {
                    read(1, at + 2);
                }
                if digits != b"25" {
                    break;
                }
                at += 2;
            }
        }
        b'\\' => {
            // JSON in JSON is escaped twice: `\\\"`, and a backslash itself is two, four, ...
            for level in [1, 3, 7] {
                if text.get(..level).is_some_and(|run| run.iter().all(|byte| *byte == b'\\')) {
                    escaped(&text[level..], level, &mut character);
                }
            }
        }
        b'&' => {
            let Some(end) = text.iter().take(10).position(|byte| *byte == b';') else { return };
            let code = match &text[1..end] {
                b"amp" => Some(u32::from(b'&')),
                b"lt" => Some(u32::from(b'<')),
                b"gt" => Some(u32::from(b'>')),
                b"quot" => Some(u32::from(b'"')),
                b"apos" => Some(u32::from(b'\'')),
                [b'#', b'x' | b'X', digits @ ..] => number(digits, 16),
                [b'#', digits @ ..] => number(digits, 10),
                _ => None,
            };
            if let Some(code) = code {
                character(code, end + 1);
            }
        }
        _ => {}
    }
}

/// The character behind so many backslashes.
fn escaped(text: &[u8], before: usize, character: &mut impl FnMut(u32, usize)) {
    match text.first() {
        Some(b'u') => {
            if let Some(code) = text.get(1..5).and_then(|digits| number(digits, 16)) {
                character(code, before + 5);
            }
        }
        Some(b'n') => character(u32::from(b'\n'), before + 1),
        Some(b'r') => character(u32::from(b'\r'), before + 1),
        Some(b't') => character(u32::from(b'\t'), before + 1),
        Some(&other) => character(u32::from(other), before + 1),
        None => {}
    }
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    let plain = digits.iter().all(u8::is_ascii_alphanumeric);
    u32::from_str_radix(std::str::from_utf8(digits).ok().filter(|_| plain)?, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "p&ss \"w\\rd\"/é+%25=";

    fn scrubbed(secret: &str, text: &str) -> String {
        let mut scrubber = Scrubber::default();
        scrubber.hide(secret);
        scrubber.scrub(text)
    }

    #[test]
    fn a_secret_is_found_in_every_form_it_may_come_back_in() {
        let percent = crate::request::encoded(SECRET);
        let form: String = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
        let mut url: Url = "http://a.example/".parse().unwrap();
        let in_url = "p&ss w/é+%25=";
        url.set_path(in_url);
        url.set_query(Some(in_url));
        url.set_password(Some(in_url)).unwrap();
        let json = serde_json::Value::from(SECRET).to_string();
        let forms = [
            SECRET.to_owned(),
            percent.to_lowercase(),
            crate::request::encoded(&percent),
            percent,
            form,
            json.trim_matches('"').to_owned(),
            serde_json::Value::from(json.trim_matches('"'))
                .to_string()
                .trim_matches('"')
                .to_owned(),
            "p\\u0026ss \\u0022w\\\\rd\\\"\\/\\u00e9+%25=".to_owned(),
            "p&amp;ss &quot;w\\rd&#34;/&#xE9;+%25=".to_owned(),
            "p%26ss+%22w%5crd%22/%C3%A9%2B%2525%3D".to_owned(),
        ];
        for form in forms {
            assert_eq!(scrubbed(SECRET, &format!("<{form}>")), "<***>", "{form}");
        }
        assert_eq!(scrubbed(in_url, url.as_str()), "http://:***@a.example/***?***");
        let near = "p&ss \"w\\rd\"/é+%25";
        assert_eq!(scrubbed(SECRET, near), near, "not all of it");
    }

    #[test]
    fn a_secret_is_found_inside_base64() {
        for before in ["", "u:", "me:", "you:"] {
            for behind in ["", "!", "??"] {
                let text = format!("{before}hunter2-hunter2{behind}");
                for text in [STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
                    let found = scrubbed("hunter2-hunter2", &text);
                    assert!(found.contains(HIDDEN) && found.len() <= 13, "{text}: {found}");
                }
            }
        }
    }

    #[test]
    fn a_secret_that_was_cut_is_hidden_too() {
        assert_eq!(
            scrubbed("hunter2-hunter2", "the key hunter2-h… is wrong"),
            "the key ***… is wrong"
        );
        assert_eq!(scrubbed("hunter2-hunter2", "a hunt… began"), "a hunt… began");
    }

    #[test]
    fn short_words_are_no_secrets_and_long_ones_go_first() {
        assert_eq!(scrubbed("ab", "about"), "about");
        let mut scrubber = Scrubber::default();
        scrubber.hide("abc");
        scrubber.hide("bcdef");
        assert_eq!(scrubber.scrub("abcdef abc"), "a*** ***");
        scrubber.hide(" spaced-key\n");
        assert_eq!(scrubber.scrub("[spaced-key]"), "[***]");
    }
}
