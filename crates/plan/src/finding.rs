//! What `daymark doctor` finds out.
//!
//! In: what a crate tried. Out: a [`Finding`] in words. Deliberately absent: the trying.

/// How a finding is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and could be better.
    Warn,
    /// It does not work.
    Fail,
}

/// One thing that was found out.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// What was tried.
    pub name: String,
    /// How it is to be taken.
    pub verdict: Verdict,
    /// What was found.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Finding {
    /// Something that is as it should be.
    pub fn ok(name: &str, message: impl Into<String>) -> Self {
        let (name, message) = (name.to_owned(), message.into());
        Self { name, verdict: Verdict::Ok, message, hint: None }
    }

    /// Something that could be better.
    pub fn warn(name: &str, message: impl Into<String>, hint: &str) -> Self {
        Self { verdict: Verdict::Warn, hint: Some(hint.to_owned()), ..Self::ok(name, message) }
    }

    /// Something that does not work.
    pub fn fail(name: &str, message: impl Into<String>, hint: &str) -> Self {
        Self { verdict: Verdict::Fail, hint: Some(hint.to_owned()), ..Self::ok(name, message) }
    }
}
