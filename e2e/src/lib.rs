//! The test cluster, fault injectors, scenarios and measurements.
#![allow(clippy::disallowed_methods, reason = "what happens on a real machine is measured with its clocks")]

pub mod clock;
pub mod cluster;
pub mod demo;
pub mod faults;
pub mod image;
pub mod load;
pub mod program;
pub mod progress;
pub mod proof;
pub mod result;
pub mod scale;
pub mod scenarios;
pub mod share;
pub mod toolchain;
pub mod truth;
pub mod water;
