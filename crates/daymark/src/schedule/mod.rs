//! The schedule stage: which sources are to be fetched by now, and for which data date.
//!
//! In: a plan (its schedules answer when they fire, [`daymark_plan::Schedule`]), what the ledger knows of the
//! fires, a calendar, an instant. Out: instants, sources and data dates, and what becomes of each fire.
//! All of that are pure functions of their arguments; a [`Scheduler`] acts on them. Deliberately absent: waiting,
//! which belongs to the loop of `daymark up`.

mod decide;
mod scheduler;

pub(crate) use daymark_plan::data_date;
pub(crate) use scheduler::{Ended, Scheduler, Step, Turn};
