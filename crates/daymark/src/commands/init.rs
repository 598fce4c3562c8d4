//! `daymark init`: the reference pipeline, written into a new folder.
//!
//! In: a folder that is empty or not there. Out: the files of `pipelines/dc-markets`, which are
//! compiled in. Deliberately absent: overwriting anything.

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use rust_embed::RustEmbed;

use crate::cli::Init;
use crate::failure::Failure;
use crate::output;

/// The files of the reference pipeline.
#[derive(RustEmbed)]
#[folder = "../../pipelines/dc-markets"]
struct Reference;

/// Writes the reference pipeline and says what to do next.
pub(crate) fn init(arguments: &Init) -> Result<ExitCode, Failure> {
    write_reference(&arguments.folder, |_, text| text)?;
    let folder = arguments.folder.display();
    output::to_stdout(&format!(
        "wrote the reference pipeline to `{folder}`\n\
         next:\n  \
         daymark run --pipeline {folder}      fetch and publish now\n  \
         daymark up --pipeline {folder}       run every morning, with the dashboard\n"
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes every file of the reference pipeline, passed through `change` with its name.
pub(crate) fn write_reference(
    folder: &Path,
    change: impl Fn(&str, String) -> String,
) -> Result<(), Failure> {
    match fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
        Ok(true) => {}
        Ok(false) => {
            return Err(Failure::usage(
                format!("the folder `{}` is not empty", folder.display()),
                "give a folder that is empty or not there yet",
            ));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            return Err(Failure::usage(
                format!("the folder `{}` cannot be read: {error}", folder.display()),
                "give a folder that is empty or not there yet",
            ));
        }
    }
    // The state of somebody who ran the reference pipeline where it stands is no part of it.
    for name in Reference::iter().filter(|name| !name.starts_with(".daymark/")) {
        let file = Reference::get(&name).expect("the name was listed");
        let text =
            String::from_utf8(file.data.into_owned()).expect("the reference pipeline is text");
        let path = folder.join(name.as_ref());
        let parent = path.parent().expect("a joined path has a parent");
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&path, change(&name, text)))
            .with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    Ok(())
}
