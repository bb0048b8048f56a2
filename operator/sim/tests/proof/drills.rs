//! Drills at drawn moments and storms: a slice of what `make sim` runs.

use homeostat_sim::drills::{self, Drill};
use homeostat_sim::run::spread;
use homeostat_sim::storms;

/// Runs a drill from so many seeds; nothing may be broken in any.
fn slice(name: &str, seeds: u64, drill: fn(u64) -> std::io::Result<Drill>) -> Vec<Drill> {
    let seeds: Vec<u64> = (0..seeds).collect();
    let runs = spread(&seeds, |seed| drill(*seed).expect("a runtime"));
    let broken: Vec<String> = runs
        .iter()
        .filter_map(|run| Some(format!("{name} {}: {}", run.seed, run.violations.first()?)))
        .collect();
    assert!(broken.is_empty(), "make sim ARGS='--only {name} --seed N' tells one:\n{}", broken.join("\n"));
    runs
}

#[test]
fn a_leader_that_stood_still_beyond_its_lease_does_nothing_when_it_goes_on() {
    let runs = slice("freezes", 44, drills::frozen_leader);
    assert!(runs.iter().all(|run| run.forbidden == 0));
    assert!(runs.iter().all(|run| run.busy), "the leader stood still");
    let slow: Vec<_> = runs.iter().filter(|run| run.millis.is_some_and(|millis| millis > 20_000)).collect();
    assert!(slow.is_empty(), "another one takes over within 20 s: {slow:?}");
    assert!(runs.iter().any(|run| run.effects > 0), "and heals");
}

#[test]
fn no_effect_comes_later_than_two_seconds_after_the_kill_switch() {
    let runs = slice("switches", 44, drills::kill_switch);
    assert!(runs.iter().all(|run| run.forbidden == 0));
    assert!(runs.iter().all(|run| run.millis.is_some_and(|millis| millis <= 2_000)));
    assert!(runs.iter().filter(|run| run.busy).count() >= 20, "in the middle of something");
}

#[test]
fn a_replica_with_a_wrong_clock_does_nothing_and_the_next_one_heals() {
    let runs = slice("clocks", 44, |seed| drills::clocks(seed, None));
    assert!(runs.iter().all(|run| run.forbidden == 0));
    assert!(runs.iter().any(|run| run.busy), "a small difference does not keep anybody from acting");
    assert!(
        runs.iter().filter(|run| run.seed.is_multiple_of(2)).all(|run| run.effects > 0),
        "the right clock heals"
    );
}

#[test]
fn an_effect_that_lands_long_after_its_request_was_given_up_is_counted_once() {
    let runs = slice("late", 44, drills::late_effect);
    let landed = |run: &&Drill| run.trace.iter().any(|line| line.ends_with("late: landed true"));
    assert!(runs.iter().filter(landed).count() >= 20, "many do land");
}

#[test]
fn a_claim_of_which_nothing_came_ends_although_no_process_lives_long() {
    let runs = slice("lives", 44, drills::short_lives);
    assert!(runs.iter().all(|run| run.busy && run.effects > 0), "claimed, given up, and helped later");
    // Never before nothing can come any more: sent within 10 s, worked on for 15 s, by clocks that differ by 10 s.
    let took: Vec<i64> = runs.iter().filter_map(|run| run.millis).collect();
    assert!(took.iter().all(|millis| (35_000..60_000).contains(millis)), "{took:?}");
}

#[test]
fn reads_that_take_long_keep_no_effect_from_the_kill_switch_and_nobody_from_healing() {
    let runs = slice("slow", 44, |seed| drills::slow_reads(seed, None));
    let late: Vec<_> =
        runs.iter().filter(|run| run.forbidden > 0).map(|run| (run.seed, run.millis)).collect();
    assert!(late.is_empty(), "later than the age that an answer may have: {late:?}");
    assert!(runs.iter().filter(|run| run.busy).count() >= 20, "engaged in the middle of a read");
    assert!(runs.iter().all(|run| run.effects > 0), "healed, at the latest when the switch is off again");
}

#[test]
fn fifty_actions_that_are_open_when_the_server_restarts_end_within_a_minute_of_its_return() {
    let runs = slice("restarts", 24, drills::server_restart);
    assert!(runs.iter().all(|run| run.busy), "fifty are open");
    assert!(runs.iter().all(|run| run.effects == 50), "each once, none lost");
}

#[test]
fn no_share_of_a_group_that_fails_together_exceeds_a_budget_and_storms_stop_everything() {
    let all: Vec<_> = storms::all(100)
        .into_iter()
        .filter(|storm| storm.group <= 10 || [1, 19, 20].contains(&storm.sick))
        .collect();
    for passed in spread(&all, |storm| storms::run(*storm).expect("a runtime")) {
        assert_eq!(passed.violations, [""; 0], "{:?}", passed.storm);
    }
}
