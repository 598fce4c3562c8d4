//! For tests only: a fake REST server, recorded responses, databases per test.

pub mod database;
pub mod rest;
