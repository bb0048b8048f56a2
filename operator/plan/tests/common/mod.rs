//! The small world of the recorded situations, for tests that look at single decisions.

#![allow(dead_code, unused_imports, reason = "each test file uses a part of it")]

use homeostat_knowledge::plan::{Admitted, Draft, Plan, Step};
use homeostat_knowledge::{Incident, SeededIds, Snapshot, TenantName};
use homeostat_plan::{Checker, Decision, plan};
use homeostat_playbooks::{Playbook, parse, shipped};

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

/// A playbook of people's own with this one step.
pub fn own(kind: &str, step: &str) -> Playbook {
    parse(&format!(
        "apiVersion: homeostat.dev/v1alpha1\nkind: Playbook\nmetadata: {{ name: own }}\nspec:\n  trigger: {{ findings: [{kind}], minimumConfidence: '0.5' }}\n  ladder:\n    - {{ {step}, verify: {{ withinSeconds: 60 }} }}\n"
    ))
    .expect("valid")
}

/// What is planned, which the checker must admit; else what is decided instead, and why.
pub fn admitted(
    snapshot: &Snapshot,
    incident: &Incident,
    playbook: Playbook,
) -> Result<Plan<Admitted>, (&'static str, String)> {
    match plan(incident, snapshot, &[playbook], now(), &mut SeededIds::new(7)) {
        Decision::Act(draft) => {
            let admitted = Checker::new("homeostat").check(draft, snapshot, now());
            let admitted = admitted.unwrap_or_else(|found| panic!("not admitted: {found:?}"));
            assert_eq!(admitted.steps.len(), 1, "one step at a time");
            Ok(admitted)
        }
        other => Err((other.name(), other.reason().to_owned())),
    }
}

/// The one step that is planned, and for whom.
pub fn planned(
    snapshot: &Snapshot,
    incident: &Incident,
    playbook: Playbook,
) -> Result<(Step, TenantName), String> {
    let mut admitted = admitted(snapshot, incident, playbook).map_err(|(_, reason)| reason)?;
    Ok((admitted.steps.remove(0), admitted.tenant))
}
