//! The schedule stage: when a pipeline fires, and which data date a fire is for.
//!
//! In: a parsed [`daymark_plan::Schedule`], a calendar, an instant. Out: instants and data dates.
//! Everything here is a pure function of its arguments. Deliberately absent: waiting, the clock and
//! what was fired before, which belong to the loop of `daymark up`.

mod due;
mod fires;

pub(crate) use daymark_plan::data_date;
pub(crate) use due::due;
pub(crate) use fires::{catch_up, fires_between, next_after};
