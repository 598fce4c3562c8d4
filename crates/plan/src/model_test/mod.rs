//! `tests/*.toml`: what models make of responses that are given, said before any API is asked.
//!
//! In: TOML files, and what the folder has. Out: [`ModelTest`]s: the answers an API gives, one after the
//! other, what becomes of each, and what stands in the tables then. A test file takes no part in a run, so
//! [`load`](crate::load) leaves them alone and [`model_tests`] reads them: what is wrong with one stops no
//! morning. Deliberately absent: running them, and any judgement of values, which is PostgreSQL's.

mod expect;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use toml::de::DeValue;

use crate::folder::{Plan, files};
use crate::problem::{Problem, did_you_mean};
use crate::section::{Section, Text, choose};
use crate::source::{EntityId, Source, SourceId};

pub use expect::{
    Expectation, ExpectedRejects, ExpectedRow, ExpectedRows, ExpectedValue, Relation,
};

/// A test of models.
#[derive(Debug, Clone)]
pub struct ModelTest {
    /// Its name: the file's without `.toml`.
    pub name: String,
    /// The file, relative to the pipeline folder.
    pub file: String,
    /// What it shows, in a sentence.
    pub description: Option<String>,
    /// The answers, in the order they are published in.
    pub given: Vec<Given>,
    /// What is to be found then.
    pub expect: Vec<Expectation>,
}

/// An answer that is given in place of the API's, and what becomes of it.
#[derive(Debug, Clone)]
pub struct Given {
    /// The line it starts on.
    pub line: usize,
    /// The source that is answered.
    pub source: SourceId,
    /// The entity of it.
    pub entity: Option<EntityId>,
    /// The day the fetch is for.
    pub data_date: Date,
    /// When the answer came.
    pub fetched_at: Timestamp,
    /// The status it came with.
    pub status: u16,
    /// What it is said to be.
    pub content_type: Option<String>,
    /// The bodies, one for each page.
    pub pages: Vec<Vec<u8>>,
    /// What becomes of the fetch.
    pub outcome: FetchOutcome,
    /// Words of the reason, of one that is not published.
    pub reason: Option<String>,
    /// The `warn` checks that find rows; none when it does not matter.
    pub warnings: Option<Vec<String>>,
}

/// What becomes of a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FetchOutcome {
    /// Its rows are shown.
    Published,
    /// The answer is not what its source expects.
    Refused,
    /// A check holds it back.
    Quarantined,
    /// The database does not take its rows.
    Failed,
}

impl FetchOutcome {
    /// Its word in a test's file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Refused => "refused",
            Self::Quarantined => "quarantined",
            Self::Failed => "failed",
        }
    }
}

/// Reads the tests of a folder, with all that is wrong with them. With a plan, what they name must be in
/// it; without, because the rest of the folder has problems of its own, only their form is judged.
pub fn model_tests(folder: &Path, plan: Option<&Plan>) -> Result<Vec<ModelTest>, Vec<Problem>> {
    let mut problems = Vec::new();
    // Whoever calls has met a folder that is not there.
    let Ok(root) = folder.canonicalize() else { return Ok(Vec::new()) };
    let mut tests = Vec::new();
    for file in files(&root, "tests", "toml", &mut problems) {
        let reading = Reading { root: &root, plan, problems: &mut problems };
        tests.extend(reading.test(&file.stem, file.text()));
    }
    problems.sort();
    if problems.is_empty() { Ok(tests) } else { Err(problems) }
}

/// What reading a test needs.
struct Reading<'r> {
    root: &'r Path,
    plan: Option<&'r Plan>,
    problems: &'r mut Vec<Problem>,
}

impl Reading<'_> {
    fn test(mut self, name: &str, text: Text<'_>) -> Option<ModelTest> {
        let table = text.parse(self.problems)?;
        let mut section = Section::top(text, &table);
        let description = section.optional_string("description", self.problems);
        let mut given: Vec<Given> = Vec::new();
        let mut times = BTreeMap::new();
        let sections = section.tables("given", self.problems);
        if sections.is_empty() && !section.has("given") {
            self.problems.push(
                Problem::new(text.file, 1, "a test without `[[given]]`").hint(
                    "each `[[given]]` is one answer of a source: `source`, `data_date`, `body`",
                ),
            );
        }
        for section in sections {
            given.extend(self.given(section, &mut times));
        }
        let mut expect = Vec::new();
        for section in section.tables("expect", self.problems) {
            expect.extend(expect::read(section, self.plan, self.problems));
        }
        section.finish(self.problems);
        let (name, file) = (name.to_owned(), text.file.to_owned());
        Some(ModelTest { name, file, description, given, expect })
    }

    /// Reads one answer; `times` has when the one before it came, by source and entity.
    fn given(
        &mut self,
        mut section: Section<'_>,
        times: &mut BTreeMap<(SourceId, Option<EntityId>), Timestamp>,
    ) -> Option<Given> {
        let line = section.line_here();
        let source = self.source(&mut section);
        let entity = self.entity(&mut section, source.as_ref());
        let data_date = self.data_date(&mut section);
        let known = self.plan.zip(source.as_ref()).and_then(|(plan, id)| plan.source(id));
        let pages = self.pages(&mut section, known);
        let status = section.optional_whole("status", 200..=599, self.problems).unwrap_or(200);
        let content_type = section.optional_string("content_type", self.problems);
        let words = [
            ("published", FetchOutcome::Published),
            ("refused", FetchOutcome::Refused),
            ("quarantined", FetchOutcome::Quarantined),
            ("failed", FetchOutcome::Failed),
        ];
        let published = Some(FetchOutcome::Published);
        let outcome = choose(&mut section, "outcome", &words, published, self.problems);
        let reason = section.optional_string("reason", self.problems);
        if reason.is_some() && outcome == published {
            let problem = section.problem("reason", "a fetch that is published has no `reason`");
            let hint = "say what becomes of it: `outcome = \"refused\"`, `\"quarantined\"` or `\"failed\"`";
            self.problems.push(problem.hint(hint));
        }
        let warnings = section.optional_strings("warnings", self.problems);
        self.are_checks(&section, source.as_ref(), warnings.as_deref().unwrap_or_default());
        let before = source.as_ref().and_then(|id| times.get(&(id.clone(), entity.clone())));
        let fetched_at = self.fetched_at(&mut section, data_date, before.copied());
        section.finish(self.problems);
        let (source, fetched_at) = (source?, fetched_at?);
        times.insert((source.clone(), entity.clone()), fetched_at);
        Some(Given {
            line,
            source,
            entity,
            data_date: data_date?,
            fetched_at,
            status: u16::try_from(status).unwrap_or(200),
            content_type,
            pages: pages?,
            outcome: outcome?,
            reason,
            warnings,
        })
    }

    fn source(&mut self, section: &mut Section<'_>) -> Option<SourceId> {
        let name = section.required_string("source", self.problems)?;
        let id = SourceId::new(&name);
        let Some(plan) = self.plan else { return id };
        let found = id.filter(|id| plan.source(id).is_some());
        if found.is_none() {
            let ids = plan.sources.iter().map(|source| source.id.as_str());
            let problem = section.problem("source", format!("there is no source `{name}`"));
            self.problems.push(problem.hint(did_you_mean(&name, ids)));
        }
        found
    }

    fn entity(&mut self, section: &mut Section<'_>, source: Option<&SourceId>) -> Option<EntityId> {
        let given = section.optional_string("entity", self.problems);
        let source = self.plan.zip(source).and_then(|(plan, id)| plan.source(id));
        let Some(source) = source else { return given.as_deref().and_then(EntityId::new) };
        let ids = || source.entities.rows.iter().map(|entity| entity.id.as_str());
        let Some(name) = given else {
            if let Some(first) = ids().next() {
                let message = format!("`entity` is missing: `{}` is asked for each", source.id);
                let problem = section.problem_here(message);
                self.problems.push(problem.hint(format!("such as `entity = \"{first}\"`")));
            }
            return None;
        };
        let id = EntityId::new(&name).filter(|id| source.entities.get(id).is_some());
        if id.is_none() {
            let message = format!("the source `{}` has no entity `{name}`", source.id);
            let hint = if source.entities.rows.is_empty() {
                "it is asked once, for no entity: leave `entity` out".to_owned()
            } else {
                did_you_mean(&name, ids())
            };
            self.problems.push(section.problem("entity", message).hint(hint));
        }
        id
    }

    fn data_date(&mut self, section: &mut Section<'_>) -> Option<Date> {
        if !section.has("data_date") {
            // Says that it is missing.
            section.required_string("data_date", self.problems);
            return None;
        }
        let text = date_or_text(section.optional_value("data_date")?);
        let date = text.as_deref().and_then(|text| text.parse::<Date>().ok());
        if date.is_none() {
            let problem = section.problem("data_date", "`data_date` is no date");
            self.problems.push(problem.hint("accepted: YYYY-MM-DD"));
        }
        date
    }

    /// When the answer came: as said, else at noon of its day, and later than the one before.
    fn fetched_at(
        &mut self,
        section: &mut Section<'_>,
        data_date: Option<Date>,
        before: Option<Timestamp>,
    ) -> Option<Timestamp> {
        let zone = self.plan.map_or(TimeZone::UTC, |plan| plan.settings.zone.clone());
        let in_zone = |at: DateTime| Some(at.to_zoned(zone.clone()).ok()?.timestamp());
        let Some(value) = section.optional_value("fetched_at") else {
            let noon = in_zone(data_date?.at(12, 0, 0, 0))?;
            return match before {
                Some(before) if before >= noon => before.checked_add(1.minute()).ok(),
                _ => Some(noon),
            };
        };
        let at = date_or_text(value).and_then(|text| {
            // TOML may have a space in place of the `T`.
            let with_offset = text.parse::<Timestamp>().ok();
            with_offset.or_else(|| in_zone(text.parse::<DateTime>().ok()?))
        });
        match (at, before) {
            (None, _) => {
                let problem = section.problem("fetched_at", "`fetched_at` is no instant");
                self.problems.push(problem.hint(
                    "such as 2026-03-09T08:00:00, in the pipeline's zone, or 2026-03-09T12:00:00Z",
                ));
            }
            (Some(at), Some(before)) if at <= before => {
                let message = format!("`fetched_at` is not later than that before it ({before})");
                let problem = section.problem("fetched_at", message);
                self.problems.push(problem.hint(
                    "the fetches of a source come one after the other; which day one is for is `data_date`",
                ));
            }
            _ => {}
        }
        at
    }

    fn pages(
        &mut self,
        section: &mut Section<'_>,
        source: Option<&Source>,
    ) -> Option<Vec<Vec<u8>>> {
        let body = section.optional_strings("body", self.problems);
        let names = section.optional_strings("file", self.problems);
        let mut pages = Vec::new();
        let key = match (body, names) {
            (Some(bodies), None) => {
                pages.extend(bodies.into_iter().map(String::into_bytes));
                "body"
            }
            (None, Some(names)) => {
                for name in names {
                    match read_body(self.root, &name) {
                        Ok(body) => pages.push(body),
                        Err(reason) => {
                            let message = format!("`{name}` cannot be read: {reason}");
                            let problem = section.problem("file", message);
                            let hint =
                                "a file in the pipeline folder, such as `tests/bodies/monday.json`";
                            self.problems.push(problem.hint(hint));
                        }
                    }
                }
                "file"
            }
            (Some(_), Some(_)) => {
                let problem = section.problem("file", "an answer has `body` and `file`");
                self.problems.push(problem.hint("one of the two"));
                return None;
            }
            (None, None) => {
                // One that is of another type was told above.
                if !section.has("body") && !section.has("file") {
                    let problem = section.problem_here("an answer without `body`");
                    self.problems.push(problem.hint(
                        "`body = '''...'''`, or `file` relative to the pipeline folder; several are pages",
                    ));
                }
                return None;
            }
        };
        let pagination = source.is_none_or(|source| source.pagination.is_some());
        if pages.len() > 1 && !pagination {
            let message = format!("`{key}` has {} pages, and the source has none", pages.len());
            let problem = section.problem(key, message);
            self.problems.push(problem.hint("a source with pages has `[pagination]`"));
        }
        if pages.is_empty() && self.problems.is_empty() {
            self.problems.push(section.problem(key, format!("`{key}` is empty")));
        }
        Some(pages)
    }

    /// Whether the source's models have such `warn` checks.
    fn are_checks(&mut self, section: &Section<'_>, source: Option<&SourceId>, names: &[String]) {
        let Some((plan, id)) = self.plan.zip(source) else { return };
        let checks: Vec<&str> = plan
            .models_of(id)
            .flat_map(|model| &model.checks)
            .filter(|check| check.severity == crate::Severity::Warn)
            .map(|check| check.name.as_str())
            .collect();
        for name in names {
            if !checks.contains(&name.as_str()) {
                let message = format!("the models of `{id}` have no `warn` check `{name}`");
                let hint = did_you_mean(name, checks.iter().copied());
                self.problems.push(section.problem("warnings", message).hint(hint));
            }
        }
    }
}

/// A TOML date or time, or a text.
fn date_or_text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::Datetime(datetime) => Some(datetime.to_string()),
        DeValue::String(text) => Some(text.to_string()),
        _ => None,
    }
}

fn read_body(root: &Path, name: &str) -> Result<Vec<u8>, String> {
    let inside = root.join(name).canonicalize().map_err(|error| error.to_string())?;
    if !inside.starts_with(root) {
        return Err("it is not inside the pipeline folder".to_owned());
    }
    fs::read(inside).map_err(|error| error.to_string())
}
