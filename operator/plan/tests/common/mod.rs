//! The small world of the recorded situations, for tests that look at single decisions.

#![allow(unused_imports, reason = "each test file uses a part of it")]

pub use homeostat_situations::{
    Given, GivenAction, GivenIncident, GivenNode, GivenOther, GivenPod, GivenWorkload, ago, now, order,
    tenant,
};
