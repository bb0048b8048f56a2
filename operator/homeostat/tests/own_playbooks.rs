//! Playbooks of people reach the planner: over the shipped ones, and back when they go.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use homeostat::kernel::Kernel;
use homeostat_knowledge::observation::{Change, ObjectChange, PlaybookText};
use homeostat_knowledge::{Entity, Observation, SeededIds, Signal, Timestamp};
use homeostat_playbooks::shipped;
use std::collections::BTreeMap;
use std::sync::Arc;

fn seen(change: ObjectChange) -> Observation {
    let now = Timestamp::UNIX_EPOCH;
    Observation {
        tenant: None,
        entity: Entity::Cluster,
        event_time: now,
        arrival_time: now,
        signal: Signal::Object(change),
    }
}

fn applied(name: &str, generation: i64, action: &str) -> Observation {
    let spec = format!(
        r#"{{"trigger":{{"findings":["Slow"]}},"ladder":[{{"action":"{action}","verify":{{"withinSeconds":30}}}}]}}"#
    );
    let text = PlaybookText { name: name.into(), generation, spec: spec.as_str().into() };
    seen(ObjectChange::Playbook(Change::Applied(Arc::new(text))))
}

#[test]
fn people_s_playbooks_are_over_the_shipped_ones_until_they_go() {
    let mut kernel = Kernel::new(shipped(), Box::new(SeededIds::new(1)), "homeostat-system".into());
    let step = |kernel: &mut Kernel, batch: &[Observation]| {
        kernel.step(batch, Timestamp::UNIX_EPOCH, true);
        let versions: Vec<(String, i64)> = kernel
            .playbooks()
            .iter()
            .filter(|playbook| playbook.version > 0)
            .map(|playbook| (playbook.name.to_string(), playbook.version))
            .collect();
        (kernel.playbooks().len(), versions)
    };
    let base = shipped().len();
    assert_eq!(step(&mut kernel, &[]), (base, vec![]));
    let both = [applied("slow", 3, "RollingRestart"), applied("mine", 1, "EvictPod")];
    assert_eq!(step(&mut kernel, &both), (base + 1, vec![("mine".into(), 1), ("slow".into(), 3)]));
    // What another version of the checker let through is not used.
    assert_eq!(step(&mut kernel, &[applied("mine", 2, "Reboot")]), (base, vec![("slow".into(), 3)]));
    let gone = seen(ObjectChange::Playbook(Change::Deleted("slow".into())));
    assert_eq!(step(&mut kernel, &[gone]), (base, vec![]));
    assert!(kernel.playbooks().iter().any(|playbook| &*playbook.name == "slow"), "the shipped one is back");
}

#[test]
fn a_chain_of_changes_ends_as_a_fresh_start_with_the_last_of_them() {
    const NAMES: [&str; 5] = ["slow", "hung", "crashed", "mine", "other"];
    // What was put by an older version of the checker may not be readable; then nothing of it is used.
    const ACTIONS: [&str; 5] = ["RollingRestart", "EvictPod", "Notify", "Reboot", ""];
    let mut drawn = 7_u64;
    let mut draw = |below: usize| {
        drawn = drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(drawn >> 33).unwrap() % below
    };
    let fresh = || Kernel::new(shipped(), Box::new(SeededIds::new(1)), "homeostat-system".into());
    for round in 0..4 {
        let (mut chained, mut last) = (fresh(), BTreeMap::new());
        let mut seen_own = false;
        for generation in 1..=200 {
            let name = NAMES[draw(NAMES.len())];
            let change = if draw(4) == 0 {
                last.remove(name);
                seen(ObjectChange::Playbook(Change::Deleted(name.into())))
            } else {
                let change = applied(name, generation, ACTIONS[draw(ACTIONS.len())]);
                last.insert(name, change.clone());
                change
            };
            chained.step(&[change], Timestamp::UNIX_EPOCH, true);
            seen_own |= chained.playbooks().iter().any(|playbook| playbook.version > 0);
        }
        assert!(seen_own, "round {round} used people's own at some time");
        let mut at_once = fresh();
        let mut batch: Vec<Observation> = last.into_values().collect();
        if round % 2 == 0 {
            batch.reverse();
        }
        at_once.step(&batch, Timestamp::UNIX_EPOCH, true);
        assert_eq!(
            format!("{:?}", chained.playbooks()),
            format!("{:?}", at_once.playbooks()),
            "round {round}"
        );
    }
}
