#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::kernel::Effect;
use homeostat_knowledge::observation::{Change, ObjectChange, Sample};
use homeostat_knowledge::policy::{Measures, SignalPolicy};
use homeostat_knowledge::{Entity, Name, Observation, Parameters, SeededIds, Signal};
use homeostat_situations::{Given, GivenPod, now, order};

fn at(second: i64) -> Timestamp {
    now() + SignedDuration::from_secs(second)
}

/// A loop that leads in a healthy world of `order`, one replica, whose heap may reach 1,000.
fn kernel() -> Kernel {
    let given = Given { pods: vec![GivenPod::default()], good: Some(3_000.0), ..Given::default() };
    let (world, incident) = given.build();
    let playbooks = homeostat_playbooks::library::shipped();
    let mut kernel = Kernel::new(playbooks, Box::new(SeededIds::new(1)), Name::from("homeostat-system"));
    kernel.snapshot = world;
    kernel.snapshot.incidents.remove_mut(&incident.id);
    let mut policy = (**kernel.snapshot.workloads.get(&order()).unwrap()).clone();
    policy.signals = vec![SignalPolicy {
        name: Name::from("heap"),
        promql: Name::from("heap"),
        unit: Name::from("MiB"),
        bad_above: true,
        threshold: Some(1_000.0),
        minimum_effect: None,
        measures: Measures::MemoryBytes,
    }];
    kernel.snapshot.commit(&ObjectChange::Workload(Change::Applied(Arc::new(policy))), at(0));
    kernel
}

/// The day was such that now is this share of its highest load.
fn carries(kernel: &mut Kernel, share: f64) {
    let followed = kernel.foresight.loads.entry(order()).or_default();
    followed.day = Day::default();
    (0..120).for_each(|minute| followed.day.observe(minute, Some(100.0)));
    (120..130).for_each(|minute| followed.day.observe(minute, Some(100.0 * share)));
}

fn heap(second: i64, value: f64) -> Observation {
    Observation {
        tenant: None,
        entity: Entity::Workload { key: order() },
        event_time: at(second),
        arrival_time: at(second),
        signal: Signal::Sample(Sample {
            metric: Name::from("heap"),
            series: Name::from("pod=order-a"),
            value,
            counter: false,
            asked_by: Some(order()),
        }),
    }
}

/// The restart that is begun, with what its action says.
fn restart(effects: &[Effect]) -> Option<String> {
    effects.iter().find_map(|effect| match effect {
        Effect::Execute(plan, _) => {
            let step = plan.steps.first().unwrap();
            assert_eq!(step.parameters, Parameters::RollingRestart);
            Some(step.evidence.summary.clone())
        }
        _ => None,
    })
}

/// Five more each minute from 500 on: the minute in which the pods are replaced, and what the action says.
fn leak(kernel: &mut Kernel, quiet_from: i64) -> (i64, String) {
    carries(kernel, 0.9);
    for minute in 0..100 {
        if minute == quiet_from {
            carries(kernel, 0.2);
        }
        for second in (60 * minute..60 * minute + 60).step_by(2) {
            let sample = (second % 60 == 0).then(|| heap(second, 500.0 + 5.0 * f64::from(minute as i32)));
            let effects = kernel.step(&sample.into_iter().collect::<Vec<_>>(), at(second), true);
            if let Some(said) = restart(&effects) {
                return (minute, said);
            }
        }
    }
    panic!("the limit was reached: {:?}", kernel.findings());
}

#[test]
fn a_leak_waits_for_a_quiet_minute_and_is_met_before_its_limit_in_any_case() {
    // 1,000 is reached in minute 100; a rollout has five minutes, and as many once more.
    let (busy, said) = leak(&mut kernel(), i64::MAX);
    assert!((80..=90).contains(&busy), "{busy}: {said}");
    assert!(said.contains("MemoryGrowing") && said.contains("limit reached in about"), "{said}");
    assert!(said.contains("no time to wait"), "{said}");
    let (quiet, said) = leak(&mut kernel(), 60);
    assert!((60..=61).contains(&quiet), "{quiet}: {said}");
    assert!(said.contains("min were left: a quiet minute"), "{said}");
}

#[test]
fn where_no_load_is_seen_nothing_is_waited_for() {
    let mut kernel = kernel();
    let mut begun = None;
    for minute in 0..100 {
        for second in (60 * minute..60 * minute + 60).step_by(2) {
            let sample = (second % 60 == 0).then(|| heap(second, 500.0 + 5.0 * f64::from(minute as i32)));
            let effects = kernel.step(&sample.into_iter().collect::<Vec<_>>(), at(second), true);
            begun = begun.or_else(|| restart(&effects).map(|said| (minute, said)));
        }
    }
    let (minute, said) = begun.unwrap();
    assert!(minute < 60 && said.contains("not known"), "{minute}: {said}");
}
