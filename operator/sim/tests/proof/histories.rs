//! Drawn histories: no invariant is broken, everything ends, and a seed is a history.

use homeostat_sim::histories;

#[test]
fn five_hundred_histories_break_no_invariant() {
    let mut effects = 0;
    for seed in 0..500 {
        let history = histories::run(seed, None).expect("a runtime");
        assert_eq!(history.violations, [""; 0], "replay: make sim SEED={seed}");
        effects += history.effects;
    }
    assert!(effects > 500, "histories in which nothing is done prove nothing: {effects} effects");
}

#[test]
fn a_hundred_seeds_run_twice_give_identical_traces() {
    for seed in 0..100 {
        let (one, other) =
            (histories::run(seed, None).expect("a runtime"), histories::run(seed, None).expect("a runtime"));
        assert!(one.trace.len() > 50);
        assert_eq!(one.trace, other.trace, "seed {seed}");
    }
}
