//! How a command fails: exit code, headline, causes, hint.
//!
//! In: the errors of all crates. Out: text on standard error, printed once, and an exit code.
//! Deliberately absent: secrets; the errors keep them out themselves.

use std::process::ExitCode;

use daymark_ingest::IngestError;
use daymark_plan::{PlanError, causes, one_line};
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

    /// Whether another process took the schedule over in the middle.
    pub(crate) fn is_lease_lost(&self) -> bool {
        matches!(self.error.downcast_ref(), Some(WarehouseError::LeaseLost))
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
        crate::output::error_to_stderr(&text);
        ExitCode::from(self.code)
    }
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
