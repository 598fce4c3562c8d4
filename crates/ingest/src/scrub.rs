//! Hides secrets in texts.
//!
//! In: the secrets of a source, and what its request carries under names of secrets. Out: texts with
//! `***` in their place, for manifests, errors, progress and the log. Servers like to repeat what
//! they were sent. Deliberately absent: knowing what is a secret by its look.

use daymark_plan::{Secrets, is_secret_name};
use reqwest::header::HeaderMap;
use url::Url;

use crate::request::encoded;

/// What stands for a secret.
pub(crate) const HIDDEN: &str = "***";

/// What is hidden by its name only (`key=date`) is not searched for in texts when it is shorter: it
/// would be found in ordinary words. A secret that was declared as one is hidden from
/// [`SHORTEST_DECLARED`] on.
const SHORTEST_NAMED: usize = 6;

/// A declared secret shorter than this would make every text unreadable, and is none.
const SHORTEST_DECLARED: usize = 3;

/// Hides the secrets of one request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scrubber {
    hidden: Hidden,
}

#[derive(Clone, Default)]
struct Hidden(Vec<String>);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} texts", self.0.len())
    }
}

impl Scrubber {
    /// Hides declared secrets.
    pub(crate) fn new(secrets: &Secrets) -> Self {
        let mut scrubber = Self::default();
        for secret in secrets.values() {
            scrubber.hide(secret);
        }
        scrubber
    }

    /// Hides one more secret, in the forms in which it may come back.
    pub(crate) fn hide(&mut self, secret: &str) {
        if secret.len() < SHORTEST_DECLARED {
            return;
        }
        let formed: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let quoted = serde_json::Value::from(secret).to_string();
        let quoted = quoted.trim_matches('"').to_owned();
        for form in [secret.to_owned(), encoded(secret), formed, quoted] {
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
    pub(crate) fn scrub(&self, text: &str) -> String {
        let hide = |text: String, secret: &String| {
            if text.contains(secret.as_str()) {
                text.replace(secret.as_str(), HIDDEN)
            } else {
                text
            }
        };
        self.hidden.0.iter().fold(text.to_owned(), hide)
    }
}
