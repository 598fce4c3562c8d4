//! Fetches over real HTTP into a store in a temporary folder: what is said and what is left behind.

mod accepted;
mod large;
mod refused;
mod retries;
mod store;
// The attribute, always true here, says to clippy that these helpers may unwrap.
#[cfg(test)]
mod world;
