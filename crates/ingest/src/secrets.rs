//! Looks secrets up.
//!
//! In: the names a source uses. Out: their values. Deliberately absent: showing them.

use daymark_plan::{Environment, Secret, SecretRef, Secrets, Source};

use crate::error::IngestError;

/// The secrets of a source.
pub(crate) async fn look_up(
    source: &Source,
    environment: &Environment,
) -> Result<Secrets, IngestError> {
    let mut secrets = Secrets::default();
    for name in source.secrets() {
        let missing = |reason: String| IngestError::NoSecret {
            source_id: source.id.clone(),
            name: name.to_string(),
            reason,
        };
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
