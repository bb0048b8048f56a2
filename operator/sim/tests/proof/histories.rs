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
        assert_eq!(in_any_order(&one.trace), in_any_order(&other.trace), "seed {seed}");
    }
}

/// The same without the numbers of requests and sorted: tokio wakes those who wait for one change in an order that it
/// draws, so requests of the same millisecond may change places.
fn in_any_order(trace: &[String]) -> Vec<String> {
    let bare = |line: &String| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let numbered = words.get(1).is_some_and(|word| word.parse::<u64>().is_ok());
        let kept = words.iter().enumerate().filter(|(index, _)| !(numbered && *index == 1));
        kept.map(|(_, word)| *word).collect::<Vec<_>>().join(" ")
    };
    let mut lines: Vec<String> = trace.iter().map(bare).collect();
    lines.sort();
    lines
}
