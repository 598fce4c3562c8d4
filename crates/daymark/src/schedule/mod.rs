//! The schedule stage: which sources are to be fetched by now, and for which data date.
//!
//! In: a plan (its schedules answer when they fire, [`daymark_plan::Schedule`]), a calendar, an instant. Out:
//! instants, sources and data dates, pure functions of their arguments; and a [`Scheduler`], which acts on them.
//! Deliberately absent: waiting, which belongs to the loop of `daymark up`.

mod missed;
mod scheduler;

pub(crate) use daymark_plan::data_date;
pub(crate) use scheduler::Scheduler;
