//! The one place where time is read.
//!
//! In: nothing. Out: [`Clock`], handed to the stages that need "now". It lives here because every
//! crate sees `plan`; nothing in this crate uses it. The manual clock is the demo's, which runs sixty
//! mornings in a minute, and the tests'.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

/// Where "now" comes from.
#[derive(Debug, Clone)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// A clock that stands still until it is set: microseconds since 1970-01-01 UTC.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands at `at`.
    pub fn manual(at: Timestamp) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(at.as_microsecond())))
    }

    /// Now.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::now(),
            Self::Manual(micros) => Timestamp::from_microsecond(micros.load(Ordering::SeqCst))
                .expect("only `manual` and `set` store here, and both take a timestamp"),
        }
    }

    /// Sets a manual clock; the system's is not ours to set.
    pub fn set(&self, at: Timestamp) {
        if let Self::Manual(micros) = self {
            micros.store(at.as_microsecond(), Ordering::SeqCst);
        }
    }
}
