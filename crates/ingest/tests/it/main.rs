//! Fetches over real HTTP into a store in a temporary folder: what is said and what is left behind.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod accepted;
mod auth;
mod encodings;
mod entities;
mod incremental;
mod large;
mod pagination;
mod rates;
mod refused;
mod requests;
mod retries;
mod secrets;
mod store;
mod world;
