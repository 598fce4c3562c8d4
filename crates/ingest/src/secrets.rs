//! Looks secrets up.
//!
//! In: the names that a source or a channel uses. Out: their values. Deliberately absent: showing them.

use std::collections::BTreeSet;

use daymark_plan::{Environment, Secret, SecretRef, Secrets, Source};

use crate::error::IngestError;

/// A secret that could not be had.
#[derive(Debug, thiserror::Error)]
#[error("the secret `{name}` cannot be had: {reason}")]
pub struct NoSecret {
    /// Its name.
    pub name: SecretRef,
    /// Why.
    pub reason: String,
}

/// The secrets of some names.
pub async fn secrets(
    names: BTreeSet<SecretRef>,
    environment: &Environment,
) -> Result<Secrets, NoSecret> {
    let mut secrets = Secrets::default();
    for name in names {
        let missing = |reason: String| NoSecret { name: name.clone(), reason };
        let value = match &name {
            SecretRef::Variable(variable) => environment
                .get(variable)
                .map(str::to_owned)
                .ok_or_else(|| missing("the environment variable is not set".to_owned()))?,
            SecretRef::Stored(stored) => {
                crate::aws::secret(stored, environment).await.map_err(missing)?
            }
        };
        secrets.insert(name, Secret::new(value));
    }
    Ok(secrets)
}

/// The secrets of a source.
pub(crate) async fn look_up(
    source: &Source,
    environment: &Environment,
) -> Result<Secrets, IngestError> {
    secrets(source.secrets(), environment).await.map_err(|NoSecret { name, reason }| {
        IngestError::NoSecret { source_id: source.id.clone(), name: name.to_string(), reason }
    })
}
