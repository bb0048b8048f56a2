//! A small piece of the quiet week (`make quiet-week` runs all of it), and the same cluster with faults put in.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../examples/quiet_week/noise.rs"]
mod noise;
#[path = "../examples/quiet_week/world.rs"]
mod world;

use homeostat_knowledge::FindingKind;
use world::{Fault, SIGNALS, STEP, World};

#[test]
fn a_cluster_in_which_nothing_is_wrong_is_left_alone() {
    let (workloads, days) = (20, 2);
    let mut world = World::new(workloads, 11, Vec::new());
    for _ in 0..days * 86_400 / STEP {
        world.step();
    }
    let outcome = &world.outcome;
    assert_eq!(outcome.samples, workloads as u64 * 5 * 2 * 1_440);
    assert!(outcome.rollouts > 10 && outcome.spans > 100_000, "{} {}", outcome.rollouts, outcome.spans);
    assert!(outcome.disruptive.is_empty(), "{:?}", outcome.disruptive);
    // One a workload-month is the bound.
    let bound = workloads as f64 * days as f64 / 30.0;
    assert!(outcome.incidents.len() as f64 <= bound, "{:?}", outcome.incidents);
}

#[test]
fn a_signal_that_is_ten_times_worse_is_an_incident_by_its_third_sample() {
    let faults: Vec<Fault> = [0, 1, 3, 4]
        .into_iter()
        .zip([0, 1, 2, 3])
        .map(|(signal, workload)| Fault {
            workload,
            signal,
            from_step: 700 + 40 * workload as i64,
            steps: 20,
            factor: 10.0,
        })
        .collect();
    let mut world = World::new(6, 5, faults.clone());
    while world.steps() < 900 {
        world.step();
    }
    for fault in &faults {
        let (name, workload) = (SIGNALS[fault.signal].0, format!("w{:04}", fault.workload));
        let found = world.outcome.incidents.iter().find(|(step, of, kind, evidence)| {
            (fault.from_step..fault.from_step + 3).contains(step)
                && *of == workload
                && *kind == FindingKind::SignalAbnormal
                && evidence.starts_with(name)
        });
        assert!(found.is_some(), "{name} of {workload}: {:?}", world.outcome.incidents);
        // It lasts for twenty minutes; it is told once.
        let told = world
            .outcome
            .incidents
            .iter()
            .filter(|(_, of, kind, _)| *of == workload && *kind == FindingKind::SignalAbnormal);
        assert_eq!(told.count(), 1, "{:?}", world.outcome.incidents);
    }
    assert!(world.outcome.disruptive.is_empty(), "people are told: {:?}", world.outcome.disruptive);
}

#[test]
fn a_unit_that_changes_a_thousandfold_asks_people_and_nothing_else() {
    // Seconds become milliseconds, and bytes kilobytes.
    let (from_step, signal, steps) = (700, 1, 10_000);
    let fault = |workload, factor| Fault { workload, signal, from_step, steps, factor };
    let mut world = World::new(3, 5, vec![fault(0, 1e3), fault(1, 1e-3)]);
    while world.steps() < 850 {
        world.step();
    }
    let outcome = &world.outcome;
    assert!(outcome.disruptive.is_empty(), "{:?}", outcome.disruptive);
    let told: Vec<&str> = outcome.incidents.iter().map(|(_, of, ..)| of.as_str()).collect();
    // A smaller number is no trouble by what people said of this signal.
    assert_eq!(told, ["w0000"], "{:?}", outcome.incidents);
    assert!(outcome.incidents[0].3.starts_with(SIGNALS[signal].0), "{:?}", outcome.incidents);
}

#[test]
fn series_that_are_renamed_alarm_nobody() {
    let mut world = World::new(2, 5, Vec::new());
    world.renamed_from = Some(700);
    while world.steps() < 850 {
        world.step();
    }
    assert!(world.outcome.incidents.is_empty(), "{:?}", world.outcome.incidents);
    assert!(world.outcome.disruptive.is_empty(), "{:?}", world.outcome.disruptive);
}

#[test]
fn a_signal_that_flaps_at_any_pace_is_told_to_people_and_never_acted_on() {
    // Bad and good for so many minutes each, every workload at another pace.
    let halves: [i64; 4] = [1, 2, 5, 30];
    let faults = halves.into_iter().zip(0..).flat_map(|(steps, workload)| {
        let mut from_steps = Vec::new();
        let mut from_step = 700;
        while from_step < 900 {
            from_steps.push(from_step);
            from_step += 2 * steps;
        }
        from_steps.into_iter().map(move |from_step| Fault {
            workload,
            signal: 1,
            from_step,
            steps,
            factor: 10.0,
        })
    });
    let mut world = World::new(halves.len(), 11, faults.collect());
    while world.steps() < 900 {
        world.step();
    }
    let outcome = &world.outcome;
    assert!(outcome.disruptive.is_empty(), "{:?}", outcome.disruptive);
    let told = |workload: usize| {
        let name = format!("w{workload:04}");
        outcome.incidents.iter().filter(|(_, of, ..)| *of == name).count()
    };
    for (workload, half) in halves.iter().enumerate() {
        assert!(told(workload) <= 3, "{half} min each: {:?}", outcome.incidents);
    }
    assert!(told(halves.len() - 1) >= 1, "the slowest is told: {:?}", outcome.incidents);
}
