//! `daymark infer`: a first `[rows]` section from recorded responses.
//!
//! In: files, perhaps an id and an address. Out: TOML or SQL to begin with. Deliberately absent: finding
//! out, which is `extract`'s; writing into the folder, which is the person's.

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use daymark_extract::infer::{InferError, Sample, infer as find_out};
use daymark_plan::SourceId;

use crate::cli::Infer;
use crate::failure::Failure;
use crate::output;

/// Prints a first section, or a first model.
pub(crate) fn infer(arguments: &Infer) -> Result<ExitCode, Failure> {
    let id = match &arguments.id {
        Some(id) => {
            if SourceId::new(id).is_none() {
                return Err(Failure::usage(
                    format!("`{id}` is not an id of a source"),
                    "accepted: a-z, 0-9 and _, a letter first, at most 40 characters",
                ));
            }
            id.clone()
        }
        None => id_of(&arguments.files[0]),
    };
    if let Some(url) = &arguments.url {
        daymark_plan::check_url(url).map_err(|problem| {
            let hint = problem
                .hint
                .unwrap_or_else(|| "give `--url` as `url` of `[request]` will have it".to_owned());
            Failure::usage(problem.message, hint)
        })?;
    }
    let mut bodies = Vec::new();
    for file in &arguments.files {
        let body = read(file).map_err(|cause| {
            let context = format!("cannot read `{}`", file.display());
            Failure::failed(anyhow::Error::new(cause).context(context), None)
        })?;
        let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
        bodies.push((name, body));
    }
    let samples: Vec<Sample<'_>> =
        bodies.iter().map(|(name, body)| Sample { name, body }).collect();
    let inferred = find_out(&samples, &id).map_err(|error| {
        let hint = match error {
            InferError::NoRows { .. } | InferError::Nothing => {
                "give responses that have rows, as `curl -o FILE URL` saves them; errors may be among them"
            }
            InferError::NotAccepted { .. } => {
                "this is a fault of daymark: please report it with the files"
            }
        };
        Failure::failed(error, Some(hint.to_owned()))
    })?;
    if arguments.model {
        output::to_stdout(&inferred.model)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = String::new();
    if arguments.id.is_some() {
        text.push_str(&format!("id = \"{id}\"\n\n"));
    }
    if let Some(url) = &arguments.url {
        let quoted = serde_json::to_string(url).expect("a text is JSON");
        text.push_str(&format!("[request]\nurl = {quoted}\n\n"));
    }
    output::to_stdout(&(text + &inferred.toml))?;
    Ok(ExitCode::SUCCESS)
}

fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    if file.as_os_str() == "-" {
        let mut body = Vec::new();
        std::io::stdin().lock().read_to_end(&mut body)?;
        return Ok(body);
    }
    std::fs::read(file)
}

/// An id out of a file's name.
fn id_of(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let id: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(40).collect();
    let id = id.trim_matches('_').to_owned();
    if SourceId::new(&id).is_some() { id } else { "source".to_owned() }
}
