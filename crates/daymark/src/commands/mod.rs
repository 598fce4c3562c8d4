//! One file per command: from its arguments to its output.
//!
//! In: parsed arguments. Out: text or JSON on standard output, and an exit code. Deliberately absent:
//! the stages themselves.

pub(crate) mod alerts;
pub(crate) mod backfill;
pub(crate) mod backup;
pub(crate) mod cursor;
pub(crate) mod days;
pub(crate) mod demo;
pub(crate) mod dlq;
pub(crate) mod doctor;
pub(crate) mod drift;
pub(crate) mod fetch;
pub(crate) mod infer;
pub(crate) mod init;
pub(crate) mod pause;
pub(crate) mod plan;
pub(crate) mod preview;
pub(crate) mod quarantine;
pub(crate) mod raw;
pub(crate) mod rebuild;
pub(crate) mod rejects;
pub(crate) mod restatements;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod schedule;
pub(crate) mod sql;
pub(crate) mod status;
pub(crate) mod test;
pub(crate) mod up;
pub(crate) mod validate;
pub(crate) mod why;

use std::sync::Arc;

use daymark_plan::{EntityId, Environment, Plan, PlanError, Source, SourceId};
use jiff::Timestamp;
use jiff::civil::Date;

use crate::cli::Folder;
use crate::failure::Failure;

/// Reads the pipeline folder.
pub(crate) fn load(folder: &Folder) -> Result<Arc<Plan>, PlanError> {
    daymark_plan::load(&folder.path, &Environment::of_process()).map(Arc::new)
}

/// Refuses a range of days that ends before it begins.
pub(crate) fn is_a_range(from: Option<Date>, to: Option<Date>) -> Result<(), Failure> {
    match (from, to) {
        (Some(from), Some(to)) if from > to => Err(Failure::usage(
            format!("`--from {from}` is after `--to {to}`"),
            "give the earlier day first",
        )),
        _ => Ok(()),
    }
}

/// The source of a name.
pub(crate) fn source<'p>(plan: &'p Plan, name: &str) -> Result<&'p Source, Failure> {
    SourceId::new(name).and_then(|id| plan.source(&id)).ok_or_else(|| {
        let ids = plan.sources.iter().map(|source| source.id.as_str());
        Failure::usage(
            format!("the pipeline has no source `{name}`"),
            daymark_plan::did_you_mean(name, ids),
        )
    })
}

/// The entity of a source by its name.
pub(crate) fn entity(source: &Source, name: &str) -> Result<EntityId, Failure> {
    let found = EntityId::new(name).filter(|id| source.entities.get(id).is_some());
    found.ok_or_else(|| {
        let message = format!("the source `{}` has no entity `{name}`", source.id);
        let ids = source.entities.rows.iter().map(|entity| entity.id.as_str());
        let hint = match source.entities.rows.len() {
            0 => "it is asked once, for no entity: leave out `--entity`".to_owned(),
            1..=30 => daymark_plan::did_you_mean(name, ids),
            many => format!("it has {many} entities; see {}", source.file),
        };
        Failure::usage(message, hint)
    })
}

/// Who is at the keyboard, as far as this machine knows.
pub(crate) fn who(plan: &Plan) -> String {
    let user = ["USER", "LOGNAME"].into_iter().find_map(|name| plan.environment.get(name));
    let user = user.unwrap_or("somebody").to_owned();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match host.trim() {
        "" => user,
        host => format!("{user}@{host}"),
    }
}

/// When a day begins in the pipeline's zone.
fn beginning_of(plan: &Plan, date: Option<Date>) -> Result<Option<Timestamp>, Failure> {
    let Some(date) = date else { return Ok(None) };
    let begins = date.to_zoned(plan.settings.zone.clone());
    let begins = begins.map_err(|error| Failure::failed(anyhow::Error::new(error), None))?;
    Ok(Some(begins.timestamp()))
}
