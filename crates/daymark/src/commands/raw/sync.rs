//! `daymark raw sync`: copies a raw layer between stores.
//!
//! In: two stores. Out: the second has all the first has, and how much of it was copied. Deliberately
//! absent: the copying, which is ingest's, and deleting.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use daymark_ingest::RawStore;
use daymark_plan::{Environment, RawUrl};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::cli::RawSync;
use crate::commands;
use crate::failure::Failure;
use crate::output;

/// The word for the pipeline's own store.
const OWN: &str = "pipeline";

/// Copies a raw layer.
pub(super) async fn sync(arguments: &RawSync) -> Result<ExitCode, Failure> {
    let own = own(arguments)?;
    let from = url(&arguments.from, own.as_ref())?;
    let to = url(&arguments.to, own.as_ref())?;
    if from == to {
        return Err(Failure::usage(
            format!("`{from}` cannot be copied to itself"),
            "give two different stores",
        ));
    }
    if lies_inside(&to, &from) {
        return Err(Failure::usage(
            format!("`{to}` lies inside `{from}`: the copy would become part of what is copied"),
            "give a place beside it",
        ));
    }
    if let RawUrl::File(folder) = &from
        && !folder.is_dir()
    {
        return Err(Failure::usage(
            format!("there is no raw store at `{from}`"),
            "relative folders are of the directory you are in",
        ));
    }
    let (source, target) = (RawStore::open_to_read(&from)?, RawStore::open(&to)?);
    let bar = ProgressBar::no_length();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} objects copied, {msg}") {
        bar.set_style(style);
    }
    let watch = |object: &daymark_ingest::ObjectInfo| {
        bar.inc(1);
        bar.set_message(object.key.clone());
    };
    let done = daymark_ingest::sync(&source, &target, &watch).await;
    bar.finish_and_clear();
    let report = done?;
    // A prefix that is misspelt is an empty store to S3, and a backup that copies nothing must not pass.
    if report.copied + report.there == 0 {
        return Err(Failure::failed(
            anyhow::anyhow!("there is nothing in `{from}` to copy"),
            Some("are the bucket, the prefix or the folder spelt as they are? `daymark raw ls` lists what the \
                  pipeline's own store has".to_owned()),
        ));
    }
    if arguments.json {
        output::json(&json!({
            "from": from.to_string(), "to": to.to_string(), "copied": report.copied,
            "bytes": report.bytes, "there": report.there,
        }))?;
    } else {
        output::to_stdout(&format!(
            "{from} -> {to}\n{} copied ({}), {} there already\n",
            output::counted(report.copied, "object"),
            output::bytes(report.bytes),
            report.there,
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether a store is another, or a part of it.
fn lies_inside(inner: &RawUrl, outer: &RawUrl) -> bool {
    match (inner, outer) {
        (RawUrl::File(inner), RawUrl::File(outer)) => real(inner).starts_with(real(outer)),
        (RawUrl::S3(inner), RawUrl::S3(outer)) => {
            let parts = |prefix: &str| prefix.split('/').map(str::to_owned).collect::<Vec<_>>();
            inner.bucket == outer.bucket
                && inner.endpoint == outer.endpoint
                && (outer.prefix.is_empty()
                    || parts(&inner.prefix).starts_with(&parts(&outer.prefix)))
        }
        _ => false,
    }
}

/// A folder without links on the way, as far as it is there.
fn real(folder: &Path) -> PathBuf {
    let there = folder.ancestors().find_map(|above| {
        let rest = folder.strip_prefix(above).ok()?;
        Some(above.canonicalize().ok()?.join(rest))
    });
    there.unwrap_or_else(|| folder.to_owned())
}

/// The pipeline's own store; none outside of a pipeline folder, where none is needed.
fn own(arguments: &RawSync) -> Result<Option<RawUrl>, Failure> {
    let needed = arguments.from == OWN || arguments.to == OWN;
    let is_folder = arguments.folder.path.join("daymark.toml").is_file();
    if !needed && !is_folder {
        return Ok(None);
    }
    Ok(Some(commands::load(&arguments.folder)?.settings.raw.clone()))
}

fn url(word: &str, own: Option<&RawUrl>) -> Result<RawUrl, Failure> {
    if let (OWN, Some(own)) = (word, own) {
        return Ok(own.clone());
    }
    let here = std::env::current_dir().unwrap_or_else(|_| Path::new(".").to_owned());
    daymark_plan::raw_url(word, &here, &Environment::of_process(), own).map_err(|problem| {
        let hint = problem.hint.unwrap_or_else(|| {
            "accepted: `file:DIR`, `s3://BUCKET/PREFIX`, or `pipeline`".to_owned()
        });
        Failure::usage(problem.message, hint)
    })
}
