//! Errors and their causes as text, each said once.
//!
//! In: an error. Out: its causes, or all of it on one line. It lives here because every crate sees
//! `plan`. Deliberately absent: how an error is shown, which is `daymark::failure`'s.

use std::error::Error;

/// The causes of an error, outermost first. One whose text already ends the line above says nothing
/// new: `object_store` and others repeat their cause.
pub fn causes(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut lines = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !lines.last().is_some_and(|above| above.ends_with(&text)) {
            lines.push(text);
        }
        next = cause.source();
    }
    lines.split_off(1)
}

/// An error and its causes on one line.
pub fn one_line(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in causes(error) {
        text = format!("{text}: {cause}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: &'static str,
        #[source]
        cause: Option<Box<Link>>,
    }

    #[test]
    fn a_cause_that_the_line_above_ends_with_is_said_once() {
        let link = |text, cause: Option<Link>| Link { text, cause: cause.map(Box::new) };
        let read = link("cannot read: no such file", Some(link("no such file", None)));
        let error = link("no plan", Some(read));
        assert_eq!(causes(&error), ["cannot read: no such file"]);
        assert_eq!(one_line(&error), "no plan: cannot read: no such file");
    }
}
