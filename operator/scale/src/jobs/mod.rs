//! Jobs: which run starts when, with how much, so that deadlines hold on the capacity there is.
//!
//! | file | question |
//! |---|---|
//! | [`job`] | what is declared of a job, and what is wrong with it |
//! | [`calendar`] | when does it fire, in its own time zone |
//! | [`learned`] | how long will a run take, how much memory will it need |
//! | [`days`] | do its runs take longer on work days than on weekends |
//! | [`foretold`] | how well were run times foretold |
//! | [`planner`] | which run starts now, and why |
//! | [`overload`] | what is late by how much, and what more capacity would cure it |
//! | [`phases`] | where in its window does each job start, so that peaks do not coincide |
//! | [`workers`] | how many workers for a backlog with a deadline, how many parts of a periodic job at a time |
//! | [`items`] | how many items has a run, how long does one take |
//! | [`parts`] | with how many pods at once does a run start, and why |
//! | [`backlog`] | is a run made because work waits, and why not |
//! | [`kueue`] | are runs ordered here, or left to Kueue's queues |

mod ahead;
pub mod backlog;
pub mod calendar;
pub mod days;
pub mod foretold;
pub mod items;
pub mod job;
pub mod kueue;
pub mod learned;
pub mod overload;
pub mod parts;
pub mod phases;
pub mod planner;
mod ready;
pub mod workers;

pub use crate::size::{Size, SizeError, Usage};
pub use ahead::Fill;
pub use calendar::{Calendar, CalendarError};
pub use job::{Criticality, Job, JobError};
pub use planner::{Decision, Event, JobId, Outcome, Planner, PlannerError, Run, Settings, Why};

use jiff::{SignedDuration, Timestamp};

/// A moment after another; the end of time where that overflows.
fn later(moment: Timestamp, by: SignedDuration) -> Timestamp {
    moment.checked_add(by).unwrap_or(if by.is_negative() { Timestamp::MIN } else { Timestamp::MAX })
}

/// Seconds as a duration, to the millisecond; not a number counts as none.
fn seconds(seconds: f64) -> SignedDuration {
    SignedDuration::from_millis((seconds * 1_000.0).round() as i64)
}
