//! `daymark raw show`: a body as it was received, or a manifest.
//!
//! In: a key, the id of a fetch, or a source and a day. Out: bytes, on standard output and nothing else.
//! Deliberately absent: any change to them.

use std::process::ExitCode;

use daymark_ingest::{RawStore, StoredManifest};

use super::find::{self, Named};
use crate::cli::RawShow;
use crate::commands;
use crate::failure::Failure;
use crate::output;

/// Writes a body or a manifest.
pub(super) async fn show(arguments: &RawShow) -> Result<ExitCode, Failure> {
    let plan = commands::load(&arguments.folder)?;
    let store = RawStore::open_to_read(&plan.settings.raw)?;
    let (date, entity) = (arguments.date, arguments.entity.as_deref());
    match find::named(&plan, &store, &arguments.what, date, entity).await? {
        Named::Fetch(stored) if arguments.manifest => {
            output::bytes_to_stdout(&store.read(&stored.key).await?)?;
        }
        Named::Fetch(stored) => {
            if !stored.manifest.is_accepted() {
                let reason = stored.manifest.reason.as_deref().unwrap_or("no reason is recorded");
                output::to_stderr(&format!("warning: this fetch was refused: {reason}\n"));
            }
            let page = page(&stored, arguments.page)?;
            output::bytes_to_stdout(&store.read_page(page).await?)?;
        }
        Named::Object { key } if arguments.manifest => {
            return Err(Failure::usage(
                format!("`{key}` is no manifest"),
                "give the key of a manifest, the id of a fetch, or a source and `--date`",
            ));
        }
        Named::Object { key } => output::bytes_to_stdout(&store.read(&key).await?)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The page that is meant.
fn page(stored: &StoredManifest, wanted: Option<u32>) -> Result<&daymark_ingest::Page, Failure> {
    let pages = &stored.manifest.pages;
    let number = |page: &daymark_ingest::Page| page.number.unwrap_or(1);
    match (wanted, pages.as_slice()) {
        (_, []) => Err(Failure::failed(
            anyhow::anyhow!("the fetch `{}` brought no body", stored.manifest.id),
            Some("`--manifest` shows what happened".to_owned()),
        )),
        (None, [only]) => Ok(only),
        (None, several) => Err(Failure::usage(
            format!("the fetch `{}` has {} pages", stored.manifest.id, several.len()),
            format!("add `--page N`, 1 to {}", several.len()),
        )),
        (Some(wanted), pages) => {
            pages.iter().find(|page| number(page) == wanted).ok_or_else(|| {
                Failure::usage(
                    format!("the fetch `{}` has no page {wanted}", stored.manifest.id),
                    format!("it has {}", output::counted(pages.len() as u64, "page")),
                )
            })
        }
    }
}
