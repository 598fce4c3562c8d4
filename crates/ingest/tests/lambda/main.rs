//! The Lambda function: its real process, behind a Runtime API of the tests' own, and the same fetches
//! through the library.

mod boundary;
// The attribute, always true here, says to clippy that helpers may unwrap.
#[cfg(test)]
mod contract;
#[cfg(test)]
mod credentials;
#[cfg(test)]
mod failing;
#[cfg(test)]
mod in_bucket;
#[cfg(test)]
mod permissions;
#[cfg(test)]
mod runtime_api;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod world;
