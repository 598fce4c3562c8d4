//! How things are said: short, on one line, in the same words everywhere.
//!
//! In: bodies, durations, error chains. Out: fragments of sentences. Deliberately absent: deciding
//! anything.

use std::error::Error;
use std::time::Duration;

use serde_json::Value;

use crate::keys::Extension;

/// The longest piece of a response that is repeated in a sentence, in characters.
const SHORT: usize = 200;

/// A body larger than this is not searched for words: messages of APIs are small.
const SEARCHED: usize = 1 << 20;

/// The keys under which APIs say in words what is wrong, best first.
const WORDS: [&str; 6] = ["reason", "description", "message", "detail", "error", "title"];

/// A text on one line, without control characters, cut to a readable length.
pub(crate) fn short(text: &str) -> String {
    let mut line = String::new();
    for (length, character) in
        text.split_whitespace().collect::<Vec<_>>().join(" ").chars().enumerate()
    {
        if length == SHORT {
            line.push('…');
            break;
        }
        line.push(if character.is_control() { '\u{fffd}' } else { character });
    }
    line
}

/// What a body says in words: its message, or else its text.
pub(crate) fn words_of(body: &[u8]) -> Option<String> {
    let text = || Some(short(&String::from_utf8_lossy(body))).filter(|text| !text.is_empty());
    match message_of(body) {
        Some(message) => Some(message),
        // JSON without a message is data; nobody wants to read it in a sentence.
        None if body.len() > SEARCHED || Extension::of(body) == Extension::Json => None,
        None => text(),
    }
}

/// The message a body holds: that of an error object, or the title of a page.
pub(crate) fn message_of(body: &[u8]) -> Option<String> {
    if body.len() > SEARCHED {
        return None;
    }
    match serde_json::from_slice::<Value>(body) {
        Ok(value) => message_in(&value),
        Err(_) => title(&String::from_utf8_lossy(body)).map(short),
    }
}

/// Looks level by level, so that the outermost message wins; arrays hold data, not messages.
fn message_in(value: &Value) -> Option<String> {
    let mut level = vec![value];
    for _ in 0..4 {
        let objects: Vec<_> = level.iter().filter_map(|value| value.as_object()).collect();
        for key in WORDS {
            let texts = objects.iter().filter_map(|object| object.get(key)?.as_str());
            if let Some(text) = texts.map(short).find(|text| !text.is_empty()) {
                return Some(text);
            }
        }
        level = objects.iter().flat_map(|object| object.values()).collect();
    }
    None
}

/// The title of an HTML page.
fn title(text: &str) -> Option<&str> {
    // ASCII case does not change lengths, so offsets of the one are offsets of the other.
    let lower = text.to_ascii_lowercase();
    let start = lower.find("<title")?;
    let from = start + lower[start..].find('>')? + 1;
    let to = from + lower[from..].find("</title")?;
    Some(text[from..to].trim()).filter(|title| !title.is_empty())
}

/// A duration in seconds, such as `0.05 s` or `30 s`.
pub(crate) fn seconds(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    let (whole, rest) = (milliseconds / 1000, milliseconds % 1000);
    if rest == 0 {
        return format!("{whole} s");
    }
    format!("{whole}.{} s", format!("{rest:03}").trim_end_matches('0'))
}

/// The innermost cause of an error: what the operating system or the other side said.
pub(crate) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    short(&cause.to_string())
}

/// An error and its causes in one line, each said once.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    short(&daymark_plan::one_line(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_in_every_recorded_form() {
        let says = |body: &str| words_of(body.as_bytes()).unwrap_or_default();
        assert_eq!(says(r#"{"error":true,"reason":"Minutely"}"#), "Minutely");
        assert_eq!(
            says(r#"{"reason":"Something went wrong.","error":true}"#),
            "Something went wrong."
        );
        let yahoo = r#"{"chart":{"result":null,"error":{"code":"Not Found","description":"No data found"}}}"#;
        assert_eq!(says(yahoo), "No data found");
        assert_eq!(says("Edge: Too Many Requests\n"), "Edge: Too Many Requests");
        assert_eq!(says("<html><head><TITLE>502 Bad Gateway</TITLE></head>"), "502 Bad Gateway");
        assert_eq!(says(r#"{"a":[{"message":"data"}]}"#), "");
        assert_eq!(says(r#"{"a":1,"#), "");
        assert_eq!(says(" \n"), "");
    }

    #[test]
    fn long_texts_are_cut_and_stay_on_one_line() {
        let text = short(&format!("a\n\tb\u{7} {}", "é".repeat(300)));
        assert!(text.starts_with("a b\u{fffd} é") && text.ends_with('…'));
        assert_eq!(text.chars().count(), SHORT + 1);
    }

    #[test]
    fn seconds_show_no_more_digits_than_they_have() {
        let said = [50, 1000, 1500, 60_000].map(|ms| seconds(Duration::from_millis(ms)));
        assert_eq!(said, ["0.05 s", "1 s", "1.5 s", "60 s"]);
    }
}
