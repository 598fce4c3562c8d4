//! When a failed request is tried again: a pure table and a little arithmetic.
//!
//! In: the kind of a failure, what the server asked for, how much was tried. Out: a wait, or the
//! end. Deliberately absent: waiting, and asking what time it is.

use std::time::Duration;

use daymark_plan::Retry;

use crate::error::ErrorKind;
use crate::words::seconds;

/// What can be done about a failure of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Trying again in a moment may help.
    Retry,
    /// The next scheduled fetch may help; trying again now does not.
    Stop,
    /// Someone must act.
    NeedsOperator(&'static str),
}

/// The one place that decides what a kind of failure asks for.
pub fn policy(kind: ErrorKind) -> Policy {
    match kind {
        ErrorKind::Unreachable
        | ErrorKind::Timeout
        | ErrorKind::Throttled
        | ErrorKind::Unavailable => Policy::Retry,
        ErrorKind::QuotaSpent
        | ErrorKind::BadResponse
        | ErrorKind::Refused
        | ErrorKind::Unknown => Policy::Stop,
        ErrorKind::Auth => {
            Policy::NeedsOperator("check the credentials and the headers of `[request]`")
        }
        ErrorKind::NotFound => Policy::NeedsOperator("check `[request] url`"),
        ErrorKind::BadStatus => {
            Policy::NeedsOperator("check `[request]`: the API does not take it")
        }
        ErrorKind::BadConfig => Policy::NeedsOperator("correct the source's file"),
        ErrorKind::ClockSkew => Policy::NeedsOperator("set this machine's clock"),
        ErrorKind::Storage => Policy::NeedsOperator("make the raw store writable"),
    }
}

/// What follows a failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// Wait so long, then try again.
    Wait(Duration),
    /// It ends here; the text says why when the failure itself does not.
    GiveUp(Option<String>),
}

/// Decides what follows the failed attempt `number` (from 1), `elapsed` after the fetch began.
///
/// The wait is random in `0..min(cap, base * 2^(number - 1))` (full jitter; `jitter` is in `0..1`)
/// and at least what the server asked for in `Retry-After` (RFC 9110 section 10.2.3). A wait that
/// does not fit the time of the fetch is not waited for.
pub(crate) fn next(
    retry: &Retry,
    kind: ErrorKind,
    retry_after: Option<Duration>,
    number: u32,
    elapsed: Duration,
    jitter: f64,
) -> Next {
    match policy(kind) {
        Policy::Stop | Policy::NeedsOperator(_) => return Next::GiveUp(None),
        Policy::Retry => {}
    }
    if number >= retry.attempts {
        return Next::GiveUp(None);
    }
    let doublings = 2_u32.saturating_pow(number.saturating_sub(1));
    let longest = retry.base.saturating_mul(doublings).min(retry.cap);
    let wait = longest.mul_f64(jitter).max(retry_after.unwrap_or_default());
    let left = retry.total.saturating_sub(elapsed);
    if wait <= left {
        return Next::Wait(wait);
    }
    Next::GiveUp(Some(match retry_after {
        Some(asked) => format!(
            "it asks to wait {}, which does not fit the {} of a page",
            seconds(asked),
            seconds(retry.total)
        ),
        None => format!("the {} of a page are over", seconds(retry.total)),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Retry = Retry {
        attempts: 4,
        total: Duration::from_mins(1),
        base: Duration::from_secs(1),
        cap: Duration::from_secs(30),
    };

    fn after(number: u32, jitter: f64) -> Next {
        next(&RETRY, ErrorKind::Unavailable, None, number, Duration::ZERO, jitter)
    }

    #[test]
    fn waits_double_and_are_random_from_nothing_on() {
        let waits = [1, 2, 3].map(|number| after(number, 0.5));
        let expected = [500, 1000, 2000].map(|ms| Next::Wait(Duration::from_millis(ms)));
        assert_eq!(waits, expected);
        assert_eq!(after(1, 0.0), Next::Wait(Duration::ZERO));
    }

    #[test]
    fn waits_are_capped_and_never_overflow() {
        let patient = Retry { attempts: u32::MAX, total: Duration::MAX, ..RETRY };
        for number in [6, 40, u32::MAX - 1] {
            let next = next(&patient, ErrorKind::Timeout, None, number, Duration::ZERO, 1.0);
            assert_eq!(next, Next::Wait(RETRY.cap), "{number}");
        }
    }

    #[test]
    fn the_last_attempt_ends_it() {
        assert_eq!(after(4, 0.5), Next::GiveUp(None));
    }

    #[test]
    fn what_the_server_asks_for_is_the_least() {
        let asked = |seconds, elapsed| {
            let asked = Some(Duration::from_secs(seconds));
            next(&RETRY, ErrorKind::Throttled, asked, 1, Duration::from_secs(elapsed), 0.5)
        };
        assert_eq!(asked(7, 0), Next::Wait(Duration::from_secs(7)));
        assert_eq!(asked(0, 0), Next::Wait(Duration::from_millis(500)));
        assert_eq!(asked(50, 10), Next::Wait(Duration::from_secs(50)));
        let over = "it asks to wait 51 s, which does not fit the 60 s of a page";
        assert_eq!(asked(51, 10), Next::GiveUp(Some(over.to_owned())));
    }

    #[test]
    fn a_wait_that_does_not_fit_is_not_waited_for() {
        let late = next(&RETRY, ErrorKind::Timeout, None, 2, Duration::from_secs(59), 0.9);
        assert_eq!(late, Next::GiveUp(Some("the 60 s of a page are over".to_owned())));
    }

    #[test]
    fn only_what_may_pass_by_itself_is_tried_again() {
        use ErrorKind::{
            Auth, BadConfig, BadResponse, BadStatus, ClockSkew, NotFound, QuotaSpent, Refused,
            Storage, Throttled, Timeout, Unavailable, Unknown, Unreachable,
        };
        for kind in [Unreachable, Timeout, Throttled, Unavailable] {
            assert_eq!(policy(kind), Policy::Retry, "{kind:?}");
        }
        for kind in [QuotaSpent, BadResponse, Refused, Unknown] {
            assert_eq!(policy(kind), Policy::Stop, "{kind:?}");
        }
        for kind in [Auth, NotFound, BadStatus, BadConfig, ClockSkew, Storage] {
            assert!(matches!(policy(kind), Policy::NeedsOperator(_)), "{kind:?}");
            let once = next(&RETRY, kind, None, 1, Duration::ZERO, 0.5);
            assert_eq!(once, Next::GiveUp(None));
        }
    }
}
