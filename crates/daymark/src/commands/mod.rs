//! One file per command: from its arguments to its output.
//!
//! In: parsed arguments. Out: text or JSON on standard output, and an exit code. Deliberately absent:
//! the stages themselves.

pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod infer;
pub(crate) mod init;
pub(crate) mod run;
pub(crate) mod sql;
pub(crate) mod status;
pub(crate) mod up;
pub(crate) mod validate;

use std::sync::Arc;

use daymark_plan::{Clock, Environment, Plan, PlanError};
use daymark_warehouse::{DueDays, Warehouse};

use crate::cli::Folder;
use crate::schedule;

/// Reads the pipeline folder.
pub(crate) fn load(folder: &Folder) -> Result<Arc<Plan>, PlanError> {
    daymark_plan::load(&folder.path, &Environment::of_process()).map(Arc::new)
}

/// A reader of the warehouse that knows which days are due by a clock.
pub(crate) fn reader(plan: &Plan, warehouse: Warehouse, clock: Clock) -> daymark_warehouse::Reader {
    let (schedule, zone) = (plan.settings.schedule.clone(), plan.settings.zone.clone());
    let due: DueDays = Arc::new(move |source, date| {
        schedule::due(&schedule, source.data_date, source.calendar, &zone, date, clock.now())
    });
    daymark_warehouse::Reader::new(warehouse, due)
}
