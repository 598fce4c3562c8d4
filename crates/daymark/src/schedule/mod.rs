//! The schedule stage: which sources are to be fetched by now, and for which data date.
//!
//! In: a plan (its schedules answer when they fire, [`daymark_plan::Schedule`]), a calendar, an instant. Out:
//! instants, sources and data dates. Everything here is a pure function of its arguments. Deliberately absent:
//! waiting, the clock and what was fired before, which belong to the loop of `daymark up`.

mod due;
mod missed;

pub(crate) use daymark_plan::data_date;
pub(crate) use due::due;
pub(crate) use missed::{Missed, missed};
