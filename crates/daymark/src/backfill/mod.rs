//! A backfill: days of the past, fetched and published.
//!
//! In: sources, a range of days, and what the ledger has of them. Out: [`Choice`], the days that are asked for and
//! those that are not, each with why (`choice.rs`); and [`Outcome`], what came of them (`work.rs`), batch by batch,
//! each a run of its own. Nothing is kept in memory that a second start would need: what is there stands in the
//! ledger, and what is in the raw store is published first. Deliberately absent: the arguments and what is shown
//! (`commands::backfill`).

mod choice;
mod work;

pub(crate) use choice::{Choice, Known, Mode, choose};
pub(crate) use work::{Outcome, Work, bring_in, of_raw};
