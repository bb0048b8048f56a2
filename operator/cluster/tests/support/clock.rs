//! Clocks for tests: one that stands still, and two that begin where it stands.

use homeostat_knowledge::{Clock, SignedDuration, Timestamp};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use tokio::time::Instant;

/// A clock that stands still.
pub struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        "2026-11-22T09:14:03.512000Z".parse().unwrap()
    }
}

/// A clock that is moved by hand.
#[derive(Default)]
pub struct Hand {
    seconds: AtomicI64,
    looks: AtomicUsize,
}

impl Hand {
    /// So many seconds pass.
    pub fn forward(&self, seconds: i64) {
        self.seconds.fetch_add(seconds, Ordering::SeqCst);
    }

    /// How often it was looked at.
    pub fn looks(&self) -> usize {
        self.looks.load(Ordering::SeqCst)
    }
}

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        self.looks.fetch_add(1, Ordering::SeqCst);
        Still.now() + SignedDuration::from_secs(self.seconds.load(Ordering::SeqCst))
    }
}

/// Time that goes with the runtime's.
pub struct Going(Instant);

impl Going {
    /// Goes from now on.
    #[allow(clippy::disallowed_methods, reason = "the virtual clock of a paused runtime")]
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for Going {
    fn now(&self) -> Timestamp {
        Still.now() + SignedDuration::try_from(self.0.elapsed()).unwrap()
    }
}
