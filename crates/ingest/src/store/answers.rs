//! Whether a store is there, asked without writing anything: for `/readyz`.
//!
//! In: a store. Out: nothing, or why not. A folder must be there and let this user write; a bucket must answer
//! a request for an object that need not exist. Deliberately absent: what only writing finds out (`probe`).

use object_store::path::Path;
use rustix::fs::{Access, access};

use super::RawStore;
use crate::error::IngestError;

/// What is asked of a bucket.
const ASKED: &str = "probe/ready";

impl RawStore {
    /// Asks whether the store is there. A folder that is gone is not made again.
    pub async fn answers(&self) -> Result<(), IngestError> {
        let Some(folder) = self.folder() else {
            return self.head(ASKED).await.map(|_| ());
        };
        let asked = std::fs::metadata(&folder).and_then(|found| {
            if !found.is_dir() {
                return Err(std::io::ErrorKind::NotADirectory.into());
            }
            Ok(access(&folder, Access::WRITE_OK | Access::EXEC_OK)?)
        });
        asked.map_err(|cause| {
            let source = Box::new(cause);
            let cause = object_store::Error::Generic { store: "folder", source };
            self.not_listed(&Path::default(), cause)
        })
    }
}

#[cfg(test)]
mod tests {
    use daymark_plan::RawUrl;
    use tempfile::TempDir;

    use super::*;

    #[tokio::test]
    async fn a_folder_that_is_gone_is_not_made_again() {
        let home = TempDir::new().unwrap();
        let folder = home.path().join("raw");
        let store = RawStore::open(&RawUrl::File(folder.clone())).unwrap();
        store.answers().await.unwrap();
        std::fs::rename(&folder, home.path().join("elsewhere")).unwrap();
        let error = store.answers().await.unwrap_err();
        let words = daymark_plan::one_line(&error);
        assert!(
            words.contains(&folder.display().to_string()) && words.contains("os error 2"),
            "{words}"
        );
        assert!(!folder.try_exists().unwrap());
        RawStore::in_memory().answers().await.unwrap();
    }
}
