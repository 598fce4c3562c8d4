//! How a command fails: exit code, headline, causes, hint.
//!
//! In: the errors of all crates. Out: text on standard error, printed once, and an exit code.
//! Deliberately absent: secrets; the errors keep them out themselves.

use std::process::ExitCode;

use daymark_ingest::IngestError;
use daymark_plan::PlanError;
use daymark_warehouse::WarehouseError;

/// Why a command failed, for the person who typed it.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    error: anyhow::Error,
    hint: Option<String>,
}

impl Failure {
    /// What was typed makes no sense: exit code 2.
    pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code: 2, error: anyhow::Error::msg(message.into()), hint: Some(hint.into()) }
    }

    /// What was asked could not be done: exit code 1.
    pub(crate) fn failed(error: impl Into<anyhow::Error>, hint: Option<String>) -> Self {
        Self { code: 1, error: error.into(), hint }
    }

    /// The error and its causes on one line, for the ledger.
    pub(crate) fn one_line(&self) -> String {
        one_line(self.error.as_ref())
    }

    /// Prints the failure and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        let mut text = format!("error: {}\n", self.error);
        if let Some(PlanError::Problems { problems, .. }) = self.error.downcast_ref() {
            for problem in problems {
                text.push_str(&format!("  {problem}\n"));
            }
        }
        for cause in causes(self.error.as_ref()) {
            text.push_str(&format!("  caused by: {cause}\n"));
        }
        if let Some(hint) = &self.hint {
            text.push_str(&format!("hint: {hint}\n"));
        }
        crate::output::to_stderr(&text);
        ExitCode::from(self.code)
    }
}

/// The causes of an error; one whose text already ends the line above says nothing new.
fn causes(error: &(dyn std::error::Error + 'static)) -> Vec<String> {
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

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { code: 1, error, hint: None }
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        Self { code: 2, hint: error.hint(), error: error.into() }
    }
}

impl From<WarehouseError> for Failure {
    fn from(error: WarehouseError) -> Self {
        Self { code: 1, hint: error.hint(), error: error.into() }
    }
}

impl From<IngestError> for Failure {
    fn from(error: IngestError) -> Self {
        Self { code: 1, hint: Some(error.hint().to_owned()), error: error.into() }
    }
}

/// An error and its causes on one line, for the ledger.
pub(crate) fn one_line(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in causes(error) {
        text = format!("{text}: {cause}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_the_line_above_ends_with_is_said_once() {
        let error =
            anyhow::anyhow!("no such file").context("cannot read: no such file").context("no plan");
        assert_eq!(causes(error.as_ref()), ["cannot read: no such file"]);
        assert_eq!(one_line(error.as_ref()), "no plan: cannot read: no such file");
    }
}
