//! The demo's own API: Open-Meteo and Yahoo's chart endpoint, generated.
//!
//! In: HTTP requests on a loopback port, and the demo's clock. Out: answers in the exact formats of
//! the two real services, as recorded from them: columnar arrays, units, nulls, `generationtime_ms`,
//! session-open stamps, the live last row, error bodies. Their numbers come from pure functions of
//! the date, so two requests agree on every day that both cover. Deliberately absent: any data of
//! the real services, the network, and whatever part of them the reference pipeline does not ask for
//! (hourly variables, several places, intraday bars, other symbols, `period1` and `period2`).
//!
//! [`server`] is HTTP, clock and faults; [`forecast`] and [`chart`] write the two formats;
//! [`weather`] and [`market`] make up the numbers; [`noise`] is what they are made from.

mod answer;
mod chart;
mod forecast;
mod market;
mod noise;
mod server;
mod weather;

pub(crate) use server::{DemoApi, Faults};
