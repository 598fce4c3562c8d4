//! What is asked of AWS beside the raw store: secrets.
//!
//! In: the name of a secret. Out: its value. Deliberately absent: writing any.

use daymark_plan::Environment;

/// A secret of Secrets Manager, or of SSM's parameter store where the name starts with `/`.
#[expect(clippy::unused_async, reason = "it will ask AWS")]
pub(crate) async fn secret(_name: &str, _environment: &Environment) -> Result<String, String> {
    Err("not yet".to_owned())
}
