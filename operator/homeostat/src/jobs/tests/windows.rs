//! Runs with a start window take turns where there is room for all of them.

use super::slots::HOUR;
use super::*;

const MINUTE: i64 = 60;

impl World {
    /// So many vCPU. Three hourly runs of one vCPU, due after half an hour, that may start twenty minutes after their slot.
    /// Nine minutes each, as far as is known.
    fn hourly_with_windows(vcpu: u64) -> Self {
        let mut world = Self::new(vcpu);
        world.tenant("a", None);
        for name in ["one", "two", "three"] {
            world.windowed(name, 20);
        }
        world
    }

    fn windowed(&mut self, name: &str, window: i64) {
        self.workload("a", name, |policy| {
            policy.permits.runs.deadline = SignedDuration::from_mins(30);
            policy.permits.runs.window = SignedDuration::from_mins(window);
        });
        self.schedule(name, "0 * * * *", None, false);
    }
}

#[test]
fn runs_with_a_window_take_turns_and_say_until_when_they_wait() {
    let mut world = World::hourly_with_windows(8);
    assert_eq!(world.step(HOUR - 1), []);
    let jobs = ["one", "two", "three"].map(|name| world.job("a", name, HOUR));
    let [one, two, three] = jobs;
    assert_eq!(names(&world.step(HOUR + 1)), ["a/one-2800"]);
    world.begin(one);
    let said = world.said("three");
    assert!(said.contains("waits until 2026-09-21T15:09:00Z, 540 s after its slot"), "{said}");
    // Its place is at 18 min. Nine minutes of slack are left before that: it is due at 30, and takes nine.
    assert!(world.said("two").contains("waits until 2026-09-21T15:11:55"), "{}", world.said("two"));
    // Another process decides the same.
    world.runs = RunOrder::default();
    assert_eq!(world.step(HOUR + 2), []);
    assert_eq!(world.said("three"), said);
    assert_eq!(world.step(HOUR + 9 * MINUTE - 1), []);
    assert_eq!(names(&world.step(HOUR + 9 * MINUTE)), ["a/three-2800"]);
    world.begin(three);
    assert_eq!(names(&world.step(HOUR + 12 * MINUTE)), ["a/two-2800"]);
    world.begin(two);
}

#[test]
fn what_a_person_starts_and_what_has_no_window_waits_for_no_place() {
    let mut world = World::hourly_with_windows(8);
    world.windowed("four", 0);
    world.step(HOUR - 1);
    for (name, slot) in [("two", HOUR + 100), ("four", HOUR)] {
        world.job("a", name, slot);
    }
    let started = world.step(HOUR + 101);
    assert_eq!(names(&started), ["a/four-2800", "a/two-2900"]);
}

#[test]
fn where_runs_wait_for_room_none_waits_for_a_place() {
    let mut world = World::hourly_with_windows(1);
    world.windowed("four", 0);
    world.windowed("five", 0);
    world.step(HOUR - 1);
    for name in ["one", "two", "three", "four", "five"] {
        world.job("a", name, HOUR);
    }
    assert_eq!(world.step(HOUR + 1).len(), 1, "one vCPU");
    for name in ["two", "three"] {
        assert!(!world.said(name).contains("waits until"), "{}", world.said(name));
    }
}
