//! Problems of a pipeline folder: where, what was found, what is accepted.
//!
//! In: findings of the readers in this crate. Out: [`Problem`]s in file and line order, collected
//! into one [`PlanError`]. Deliberately absent: any decision to stop early; a reader reports and goes on.

use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong with a pipeline folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Problem {
    /// The file, relative to the pipeline folder.
    pub file: String,
    /// The line, counted from 1; 0 when the problem is the file as a whole.
    pub line: usize,
    /// The column of that line, counted from 1, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// What was found: a lower-case fragment with values in backticks.
    pub message: String,
    /// What is accepted instead, or what to do next.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem at a line of a file.
    pub fn new(file: &str, line: usize, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, column: None, message: message.into(), hint: None }
    }

    /// The same with the column of its line.
    #[must_use]
    pub fn at_column(mut self, column: usize) -> Self {
        self.column = Some(column);
        self
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, message, .. } = self;
        match (line, self.column) {
            (0, _) => write!(f, "{file}: {message}")?,
            (line, None) => write!(f, "{file}:{line}: {message}")?,
            (line, Some(column)) => write!(f, "{file}:{line}:{column}: {message}")?,
        }
        match &self.hint {
            Some(hint) => write!(f, "\n    hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The folder itself cannot be read.
    #[error("`{}` is not a pipeline folder", folder.display())]
    NoFolder {
        /// The folder as it was given.
        folder: PathBuf,
        /// What the operating system said.
        #[source]
        cause: std::io::Error,
    },
    /// The folder was read and has problems; all of them are here, in file and line order.
    #[error("{} problem{} in the pipeline folder `{}`", problems.len(), if problems.len() == 1 { "" } else { "s" }, folder.display())]
    Problems {
        /// The folder as it was given.
        folder: PathBuf,
        /// Every problem found.
        problems: Vec<Problem>,
    },
}

impl PlanError {
    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoFolder { .. } => Some(
                "give the folder with `--pipeline DIR`; `daymark init DIR` writes a new one"
                    .to_owned(),
            ),
            Self::Problems { .. } => None,
        }
    }
}

/// "did you mean `x`?" when one of `accepted` is close to `found`, else the list of what is accepted.
pub fn did_you_mean<'a>(found: &str, accepted: impl IntoIterator<Item = &'a str>) -> String {
    let accepted: Vec<&str> = accepted.into_iter().collect();
    let near = accepted
        .iter()
        .map(|candidate| (strsim::jaro_winkler(found, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let list = accepted.iter().map(|a| format!("`{a}`")).collect::<Vec<_>>().join(", ");
    match near {
        Some((_, candidate)) => format!("did you mean `{candidate}`? accepted: {list}"),
        None if accepted.is_empty() => "nothing is accepted here".to_owned(),
        None => format!("accepted: {list}"),
    }
}
