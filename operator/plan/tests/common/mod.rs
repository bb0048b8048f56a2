//! The small world of the recorded situations, for tests that look at single decisions.

#![allow(dead_code, unused_imports, reason = "each test file uses a part of it")]

use homeostat_knowledge::plan::{Draft, Plan};
use homeostat_knowledge::{SeededIds, Snapshot};
use homeostat_plan::{Decision, plan};
use homeostat_playbooks::shipped;

pub use homeostat_situations::{
    Given, GivenAction, GivenIncident, GivenNode, GivenOther, GivenPod, GivenWorkload, ago, now, order,
    tenant,
};

/// What the shipped playbooks decide.
pub fn decide(given: &Given) -> Decision {
    let (snapshot, incident) = given.build();
    plan(&incident, &snapshot, &shipped(), now(), &mut SeededIds::new(7))
}

/// The plan that must come of it, and the world that it is made for.
pub fn drafted(given: &Given) -> (Plan<Draft>, Snapshot) {
    let (snapshot, _) = given.build();
    match decide(given) {
        Decision::Act(plan) => (plan, snapshot),
        other => panic!("expected a plan, got {other:?}"),
    }
}
