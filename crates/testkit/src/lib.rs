//! For tests only: a fake REST server, a mail server, recorded responses, databases per test.

pub mod aws;
pub mod bucket;
pub mod database;
pub mod proxy;
pub mod recorded;
pub mod rest;
pub mod server;
pub mod smtp;
pub mod time_limit;
pub mod wire;
