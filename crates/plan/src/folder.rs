//! A pipeline folder, read whole.
//!
//! In: the folder and the environment. Out: a [`Plan`], or every problem at once. Deliberately
//! absent: anything that opens what the plan names.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::Date;
use sha2::{Digest, Sha256};

use crate::alerts;
use crate::day::DayRules;
use crate::digest::hex;
use crate::mart::{self, Mart};
use crate::model::{self, Model};
use crate::page::{self, Page};
use crate::problem::{PlanError, Problem};
use crate::schedule::Schedule;
use crate::section::Text;
use crate::settings::{self, Settings};
use crate::source::{self, Source, SourceId};

/// The environment variables that matter here, taken once.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

/// The names only: the values may be secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

impl Environment {
    /// This process's variables.
    pub fn of_process() -> Self {
        // `vars` would panic on a variable that is not UTF-8; none of ours is, so those are left out.
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self { variables }
    }

    /// Given variables.
    pub fn of(variables: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let variables =
            variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { variables }
    }

    /// These variables with one set otherwise.
    pub(crate) fn with(&self, name: &str, value: &str) -> Self {
        let mut variables = self.variables.clone();
        variables.insert(name.to_owned(), value.to_owned());
        Self { variables }
    }

    /// A variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// A pipeline, checked.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The folder.
    pub root: PathBuf,
    /// The pipeline's name.
    pub name: String,
    /// What `daymark.toml` says.
    pub settings: Settings,
    /// The sources, by id.
    pub sources: Vec<Source>,
    /// The models by file name, those that are referenced before those that reference.
    pub models: Vec<Model>,
    /// The marts, in the order they can be created in.
    pub marts: Vec<Mart>,
    /// The pages, by file name.
    pub pages: Vec<Page>,
    /// The environment variables that secrets are taken from.
    pub environment: Environment,
}

impl Plan {
    /// The source of an id.
    pub fn source(&self, id: &SourceId) -> Option<&Source> {
        self.sources.iter().find(|source| source.id == *id)
    }

    /// When a source is fetched: at its own times if it has any, else at the pipeline's.
    pub fn schedule_of<'p>(&'p self, source: &'p Source) -> &'p Schedule {
        source.schedule.as_ref().unwrap_or(&self.settings.schedule)
    }

    /// What decides when a source's days are to be there.
    pub fn day_rules<'p>(&'p self, source: &'p Source) -> DayRules<'p> {
        DayRules {
            source_id: &source.id,
            schedule: self.schedule_of(source),
            data_date: source.data_date,
            calendar: &source.calendar,
            deadline: source.deadline,
            zone: &self.settings.zone,
        }
    }

    /// Where the sources' calendars do not reach in a range of days, from each source's first day on.
    pub fn calendar_gaps(&self, from: Date, to: Date) -> Vec<String> {
        let gaps = self.sources.iter().filter_map(|source| {
            let from = source.start.map_or(from, |start| start.max(from));
            Some(format!("{}: {}", source.file, source.calendar.gap(from, to)?))
        });
        gaps.collect()
    }

    /// The first instant after `after` at which a source is fetched; `None` if none ever is again.
    pub fn next_fire(&self, after: Timestamp) -> Option<Timestamp> {
        self.sources.iter().filter_map(|source| self.schedule_of(source).next_after(after)).min()
    }

    /// The models that read a source.
    pub fn models_of(&self, id: &SourceId) -> impl Iterator<Item = &Model> {
        self.models.iter().filter(move |model| model.source == *id)
    }

    /// The names of the marts that read some tables or marts, also through other marts.
    pub fn marts_reading(&self, names: &BTreeSet<String>) -> BTreeSet<String> {
        self.marts_from(names, false)
    }

    /// The names of the marts whose rows can change when those of some tables or marts do: those that read
    /// them, and those that read tables made elsewhere.
    pub fn marts_over(&self, changed: &BTreeSet<String>) -> BTreeSet<String> {
        self.marts_from(changed, true)
    }

    fn marts_from(&self, names: &BTreeSet<String>, elsewhere: bool) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        // A mart stands behind those it reads.
        for mart in &self.marts {
            let is_read = |name: &String| names.contains(name) || found.contains(name);
            if (elsewhere && !mart.reads_elsewhere.is_empty()) || mart.reads.keys().any(is_read) {
                found.insert(mart.name.clone());
            }
        }
        found
    }

    /// A hash of the source's and its models' files and of this program's version: what made the rows of a
    /// publish.
    pub fn code_hash(&self, id: &SourceId) -> String {
        let mut hasher = Sha256::new();
        hasher.update(env!("CARGO_PKG_VERSION"));
        if let Some(source) = self.source(id) {
            hasher.update(&source.file_sha256);
        }
        for model in self.models_of(id) {
            hasher.update(&model.file_sha256);
        }
        hex(&hasher.finalize())
    }
}

/// Reads a pipeline folder. All problems of all files are reported together.
pub fn load(folder: &Path, environment: &Environment) -> Result<Plan, PlanError> {
    let no_folder = |cause| PlanError::NoFolder { folder: folder.to_owned(), cause };
    let root = folder.canonicalize().map_err(no_folder)?;
    let mut problems = Vec::new();
    let main = match read_file(&root, "daymark.toml") {
        Err(cause) if cause.kind() == io::ErrorKind::InvalidData => {
            problems.push(Problem::new("daymark.toml", 0, "the file is not UTF-8 text"));
            String::new()
        }
        main => main.map_err(no_folder)?,
    };
    let main = Text { file: "daymark.toml", text: &main, first_line: 1 };
    let settings = settings::read(&root, main, environment, &mut problems);

    let zone = settings.as_ref().map_or("UTC", |(_, settings)| &settings.zone_name);
    let source_files = files(&root, "sources", "toml", &mut problems);
    let ids: Vec<String> = source_files.iter().map(|file| file.stem.clone()).collect();
    if let Some((_, settings)) = &settings {
        alerts::sources_exist(&settings.alerts, &ids, &mut problems);
    }
    let sources: Vec<Source> = source_files
        .iter()
        .filter_map(|file| source::read(&file.stem, &root, zone, file.text(), &mut problems))
        .collect();
    if source_files.is_empty() {
        problems.push(
            Problem::new("sources", 0, "the pipeline has no source")
                .hint("add `sources/<id>.toml`; `daymark init DIR` writes examples"),
        );
    }
    let model_files = files(&root, "models", "sql", &mut problems);
    let models: Vec<Model> = model_files
        .iter()
        .filter_map(|file| model::read(file.text(), &ids, &mut problems))
        .collect();
    let models = model::in_order(models, &mut problems);
    let marts: Vec<Mart> = files(&root, "marts", "sql", &mut problems)
        .iter()
        .filter_map(|file| mart::read(&file.stem, file.text(), &mut problems))
        .collect();
    let schema = settings.as_ref().map(|(_, settings)| settings.schema.as_str());
    // What a model would make that is wrong itself is not known.
    let is_known = models.len() == model_files.len();
    let marts = mart::in_order(marts, &models, is_known, schema, &mut problems);
    let pages: Vec<Page> = files(&root, "dashboards", "md", &mut problems)
        .iter()
        .map(|file| page::read(&file.stem, file.text(), &mut problems))
        .collect();
    names_once(&models, &marts, &mut problems);

    match settings {
        Some((name, settings)) if problems.is_empty() => {
            let environment = environment.clone();
            Ok(Plan { root, name, settings, sources, models, marts, pages, environment })
        }
        _ => {
            problems.sort();
            Err(PlanError::Problems { folder: folder.to_owned(), problems })
        }
    }
}

/// Reads one source's file on its own, as [`load`] reads it in `sources/`; `root` is the pipeline folder: a
/// file of entities is looked for in it, and its `daymark.toml` says the zone of a schedule that names none
/// (where there is no such file, it is UTC).
pub fn read_source(id: &str, root: &Path, text: &str) -> Result<Source, Vec<Problem>> {
    let file = format!("sources/{id}.toml");
    let mut problems = Vec::new();
    let text = Text { file: &file, text, first_line: 1 };
    let zone = settings_of(root, &Environment::default());
    let zone = zone.as_ref().map_or("UTC", |(_, settings)| &settings.zone_name);
    match source::read(id, root, zone, text, &mut problems) {
        Some(source) if problems.is_empty() => Ok(source),
        _ => {
            problems.sort();
            Err(problems)
        }
    }
}

/// What of a pipeline folder can be read, whatever else is wrong with it: for `daymark doctor`.
#[derive(Debug, Clone, Default)]
pub struct WholeParts {
    /// The pipeline's name and what `daymark.toml` says, when that file has no problem.
    pub settings: Option<(String, Settings)>,
    /// The sources that have no problem.
    pub sources: Vec<Source>,
}

/// Reads what is whole in a folder. [`load`] says what is wrong with the rest.
pub fn whole_parts(folder: &Path, environment: &Environment) -> WholeParts {
    let Ok(root) = folder.canonicalize() else { return WholeParts::default() };
    let settings = settings_of(&root, environment);
    let zone = settings.as_ref().map_or("UTC", |(_, settings)| &settings.zone_name);
    let files = files(&root, "sources", "toml", &mut Vec::new());
    let sources = files.iter().filter_map(|file| {
        let mut problems = Vec::new();
        let source = source::read(&file.stem, &root, zone, file.text(), &mut problems);
        source.filter(|_| problems.is_empty())
    });
    let sources = sources.collect();
    WholeParts { settings, sources }
}

/// What `daymark.toml` says, when that file has no problem.
fn settings_of(root: &Path, environment: &Environment) -> Option<(String, Settings)> {
    let text = read_file(root, "daymark.toml").ok()?;
    let mut problems = Vec::new();
    let text = Text { file: "daymark.toml", text: &text, first_line: 1 };
    let settings = settings::read(root, text, environment, &mut problems);
    settings.filter(|_| problems.is_empty())
}

fn names_once(models: &[Model], marts: &[Mart], problems: &mut Vec<Problem>) {
    let tables = models.iter().map(|model| (model.table.clone(), &model.file));
    let histories = models.iter().filter(|model| model.history);
    let histories = histories.map(|model| (model.history_table(), &model.file));
    let views = marts.iter().map(|mart| (mart.name.clone(), &mart.file));
    let mut seen: BTreeMap<String, &String> = BTreeMap::new();
    for (name, file) in tables.chain(histories).chain(views) {
        if let Some(first) = seen.insert(name.clone(), file) {
            problems.push(Problem::new(file, 0, format!("`{name}` is made by `{first}` already")));
        }
    }
}

/// A file of the folder, read.
pub(crate) struct FileText {
    pub(crate) stem: String,
    relative: String,
    text: String,
}

impl FileText {
    pub(crate) fn text(&self) -> Text<'_> {
        Text { file: &self.relative, text: &self.text, first_line: 1 }
    }
}

/// The files of a sub-folder with an extension, by name. A sub-folder that is not there has none.
pub(crate) fn files(
    root: &Path,
    folder: &str,
    extension: &str,
    problems: &mut Vec<Problem>,
) -> Vec<FileText> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(root.join(folder)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return found,
        Err(error) => {
            problems.push(Problem::new(folder, 0, format!("the folder cannot be read: {error}")));
            return found;
        }
    };
    for entry in entries {
        let name = match entry {
            Ok(entry) => entry.file_name().to_string_lossy().into_owned(),
            Err(error) => {
                problems.push(Problem::new(
                    folder,
                    0,
                    format!("the folder cannot be read: {error}"),
                ));
                continue;
            }
        };
        let Some(stem) = name.strip_suffix(extension).and_then(|stem| stem.strip_suffix('.'))
        else {
            // Tests may keep the bodies they give in folders of their own.
            let holds_bodies = folder == "tests" && root.join(folder).join(&name).is_dir();
            if !name.starts_with('.') && !holds_bodies {
                let message = format!("`{name}` is not a `.{extension}` file");
                problems.push(
                    Problem::new(&format!("{folder}/{name}"), 0, message)
                        .hint(format!("`{folder}/` holds `.{extension}` files only")),
                );
            }
            continue;
        };
        let relative = format!("{folder}/{name}");
        match read_file(root, &relative) {
            Ok(text) => found.push(FileText { stem: stem.to_owned(), relative, text }),
            Err(error) => {
                problems.push(Problem::new(
                    &relative,
                    0,
                    format!("the file cannot be read: {error}"),
                ));
            }
        }
    }
    found.sort_by(|a, b| a.stem.cmp(&b.stem));
    found
}

/// A text file with its line ends made `\n`.
fn read_file(root: &Path, relative: &str) -> io::Result<String> {
    let text = fs::read_to_string(root.join(relative))?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(&text).replace("\r\n", "\n"))
}
