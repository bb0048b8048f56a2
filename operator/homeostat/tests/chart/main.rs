//! The chart as users get it: rendered with a real helm, then judged object by object.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod admission;
mod approvals;
mod definitions;
mod kill_switch;
mod monitoring;
mod names;
mod network;
mod pods;
mod render;
mod rights;
mod values;
