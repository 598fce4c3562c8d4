//! The demo: the reference pipeline on generated data, without a network.
//!
//! In: a folder to work in and a number of mornings. Out: a pipeline folder whose sources point at an
//! API of our own ([`api`]), run once for each morning with a clock that is set by hand. Deliberately
//! absent: any shortcut; what runs is what `daymark run` runs.

pub(crate) mod api;
