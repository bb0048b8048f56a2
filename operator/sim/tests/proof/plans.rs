//! Every action that changes something, at each point of perturbation, from each start: all must pass.

use homeostat_execute::actions;
use homeostat_sim::plans::{self, Baselines, Plan, Point, STARTS, Start, TAKEN_BACK};
use homeostat_sim::situations;
use std::collections::BTreeSet;

#[test]
fn every_action_that_changes_something_has_its_situation() {
    let changing: BTreeSet<_> =
        actions::ALL.iter().filter(|spec| spec.changes_state()).map(|spec| spec.kind()).collect();
    let simulated: BTreeSet<_> = situations::ALL.iter().map(|situation| situation.kind()).collect();
    assert_eq!(changing, simulated, "an action without a situation is not proved: add one in situations/");
}

#[test]
fn there_are_74_points_and_each_plan_is_another() {
    assert_eq!(plans::points().len(), 74);
    let all = plans::all();
    // An undo has the points that are requests: the crashes and the errors.
    assert_eq!(all.len(), situations::ALL.len() * 74 * STARTS.len() + TAKEN_BACK.len() * 64);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    assert_eq!(all.iter().map(Plan::to_string).collect::<BTreeSet<_>>().len(), all.len());
}

#[test]
fn undisturbed_each_action_heals_with_one_effect() {
    let mut baselines = Baselines::default();
    for situation in situations::ALL {
        for start in STARTS {
            let plan = Plan { action: situation.kind(), start, point: Point::None };
            let outcome = plans::run(plan, None, &mut baselines).expect("a runtime");
            assert_eq!(outcome.failures, [""; 0], "{plan}: {:#?}", outcome.trace);
            assert!(outcome.end.workloads.values().all(|rest| !rest.ill), "{plan}: {:?}", outcome.end);
            let own: usize = outcome
                .end
                .effects
                .iter()
                .filter(|((kind, _, workload), _)| *kind == situation.kind() && &*workload.name != "basket")
                .map(|(_, count)| count)
                .sum();
            assert_eq!(own, 1, "{plan}: {:?}", outcome.end);
        }
    }
}

#[test]
fn undisturbed_what_does_not_help_is_taken_back_with_one_effect() {
    let mut baselines = Baselines::default();
    for action in TAKEN_BACK {
        let plan = Plan { action, start: Start::TakenBack, point: Point::None };
        let outcome = plans::run(plan, None, &mut baselines).expect("a runtime");
        assert_eq!(outcome.failures, [""; 0], "{plan}: {:#?}", outcome.trace);
        let effects = || outcome.trace.iter().filter(|line| line.contains(" effect "));
        let back = effects().filter(|line| line.contains("-undo ")).count();
        assert_eq!((effects().count(), back), (2, 1), "{plan}: {:#?}", outcome.trace);
        assert!(outcome.end.workloads.values().all(|rest| !rest.ill), "{plan}: {:?}", outcome.end);
    }
}

#[test]
fn every_plan_passes() {
    let mut failed = Vec::new();
    let outcomes = plans::run_all().expect("a runtime");
    assert_eq!(outcomes.len(), plans::all().len());
    for (plan, outcome) in outcomes {
        if let Some(first) = outcome.failures.first() {
            failed.push(format!("{plan}: {first}"));
        }
    }
    assert!(
        failed.is_empty(),
        "{} failed; `make sim PLAN=...` tells one:\n{}",
        failed.len(),
        failed.join("\n")
    );
}
