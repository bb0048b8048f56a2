//! Sizes of which little is known: at the first looks, after a restart, where all replicas are full.

use super::*;

fn wanted(sizer: &mut Sizer, step: i64, waiting: f64, replicas: u32) -> u32 {
    backlog(sizer, step, Some(waiting), replicas, None).wanted.unwrap()
}

#[test]
fn who_knows_nothing_yet_takes_nothing_away_that_the_present_load_needs() {
    for archetype in [Archetype::Worker, Archetype::Service] {
        let (mut one, mut replicas) = (sizer(0, 20, archetype), 10);
        for step in 0..5 {
            replicas = wanted(&mut one, step, 80.0, replicas);
            assert!(replicas >= 8, "{archetype:?}: eight replicas' worth waits, {replicas} at look {step}");
        }
    }
}

#[test]
fn after_a_restart_the_size_that_was_safe_is_no_reason_to_grow() {
    let mut one = sizer(1, 50, Archetype::Worker);
    let mut replicas = 6;
    for step in 0..400 {
        replicas = wanted(&mut one, step, 50.0, replicas);
    }
    let safe = replicas;
    let mut back = sizer(1, 50, Archetype::Worker);
    back.restore(&one.kept()).unwrap();
    for step in 400..440 {
        replicas = wanted(&mut back, step, 50.0, replicas);
        assert!((5..=safe.max(8)).contains(&replicas), "{replicas} where {safe} were safe, at look {step}");
    }
    for step in 440..443 {
        replicas = wanted(&mut back, step, 200.0, replicas);
    }
    assert!(replicas >= 18, "a load that grows gets what it needs: {replicas}");
}

#[test]
fn that_nothing_waits_now_is_no_reason_where_work_is_foreseen() {
    for (said, gone) in [(None, true), (Some(Expected { p50: 30.0, p90: 50.0 }), false)] {
        let (mut one, mut replicas) = (sizer(0, 20, Archetype::Worker), 0);
        for step in 0..100 {
            replicas = wanted(&mut one, step, 30.0, replicas);
        }
        let said = (100..130).map(|step| backlog(&mut one, step, Some(0.0), replicas, said).why);
        assert_eq!(said.filter(|why| why.contains("nothing waits anywhere any more")).count() > 0, gone);
    }
}

#[test]
fn where_all_are_full_and_the_objective_is_missed_there_are_twice_as_many_at_once() {
    let mut one = sizer(1, 50, Archetype::Service);
    run(&mut one, 0, vec![Some(80.0); 200], 4);
    let each = one.per_replica().unwrap();
    let look = |sizer: &mut Sizer, step: i64, (ready, replicas): (u32, u32), share: f64| {
        let rate = 0.95 * each * f64::from(ready);
        let answered = (rate * f64::from(STEP_SECONDS)) as u64;
        let outside = (answered as f64 * share) as u64;
        let seen = Seen {
            requests: Requests { rate: Some(rate), answered, outside, telling: ready == replicas },
            loads: &[],
            replicas,
            ready,
            expected: None,
            calendar: None,
            hurts: false,
        };
        sizer.decide(at(step), &seen, &Owner::Nobody).wanted.unwrap()
    };
    let mut calm = one.clone();
    assert!(look(&mut calm, 200, (10, 10), 0.0) < 20, "full, and everybody is answered in time");
    let said = look(&mut one, 200, (10, 10), 0.4);
    assert_eq!(said, 20, "how many more would have come nobody can say");
    assert!(look(&mut one, 201, (10, 20), 0.4) < 40, "those that start are waited for");
}
