//! The machine's clock, as the binary has it: for the shipped code that is run here.

use homeostat_knowledge::{Clock, Timestamp};

/// Tells the machine's time.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
