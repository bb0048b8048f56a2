//! The clock as a port. Decisions get `now` as a value; only drivers that wait ask a clock.

use jiff::Timestamp;

/// Tells the time. The binary implements it with the system clock, tests and replays with a virtual one.
pub trait Clock: Send + Sync {
    /// The current instant.
    fn now(&self) -> Timestamp;
}
