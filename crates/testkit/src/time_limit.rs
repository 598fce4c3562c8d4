//! A limit of time for a test: one that hangs would otherwise hold all of them up, and nobody would say which.
//!
//! In: the start and the end of a test's hold on a database. Out: when it is not over in a quarter of an hour, its name
//! on standard error, what its sessions were doing, and the end of the program that runs it. Deliberately
//! absent: a limit that measures speed; the longest test of `make test` takes a tenth of it on two busy cores.

use std::io::Write;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// How long a test may take.
const LONGEST: Duration = Duration::from_mins(15);

/// The limit runs until this is dropped.
#[derive(Debug)]
pub struct TimeLimit {
    _until: Sender<()>,
}

impl TimeLimit {
    /// The limit of the test that is running; `told` says more of it when it is over.
    pub fn of_this_test(told: impl FnOnce() -> String + Send + 'static) -> Self {
        Self::of(LONGEST, told, || std::process::abort())
    }

    fn of(
        longest: Duration,
        told: impl FnOnce() -> String + Send + 'static,
        end: impl FnOnce() + Send + 'static,
    ) -> Self {
        let (until, over) = channel::<()>();
        // The test's thread has the test's name.
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        std::thread::spawn(move || {
            if let Err(RecvTimeoutError::Timeout) = over.recv_timeout(longest) {
                let seconds = longest.as_secs();
                let said =
                    format!("\n{test} is not over after {seconds} s: it hangs\n{}\n", told());
                // Not `eprintln!`, which is kept until the test ends.
                std::io::stderr().write_all(said.as_bytes()).unwrap_or_default();
                end();
            }
        });
        Self { _until: until }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_in_time_is_left_alone_and_what_is_not_is_ended() {
        let (ended, end) = channel();
        let in_time = TimeLimit::of(Duration::from_hours(1), String::new, || unreachable!());
        drop(in_time);
        let _hangs =
            TimeLimit::of(Duration::from_millis(1), String::new, move || ended.send(()).unwrap());
        end.recv().unwrap();
    }
}
