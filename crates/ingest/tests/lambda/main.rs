//! The Lambda function: its real process, behind a Runtime API of the tests' own, and the same fetches
//! through the library.

mod boundary;
mod contract;
mod failing;
// The attribute, always true here, says to clippy that these helpers may unwrap.
#[cfg(test)]
mod runtime_api;
#[cfg(test)]
mod world;
