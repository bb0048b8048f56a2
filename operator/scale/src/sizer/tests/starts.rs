use super::*;

#[test]
fn it_looks_as_far_ahead_as_its_own_starts_take() {
    let mut one = sizer(1, 20, Archetype::Worker);
    let loads = [jobs(Some(30.0))];
    let mut step = 0;
    let mut look = |one: &mut Sizer, replicas, ready| {
        let requests = Requests::default();
        let seen =
            Seen { requests, loads: &loads, replicas, ready, expected: None, calendar: None, hurts: false };
        step += 1;
        one.decide(at(step), &seen, &Owner::Nobody).why
    };
    let said = look(&mut one, 3, 3);
    assert!(said.contains("too few in 30 s"), "{said}");
    // One is asked for, and ready eight steps later.
    for ready in [3, 3, 3, 3, 3, 3, 3, 4] {
        look(&mut one, 4, ready);
    }
    let said = look(&mut one, 4, 4);
    assert!(said.contains("too few in 120 s"), "{said}");
    let mut other = sizer(1, 20, Archetype::Worker);
    other.restore(&one.kept()).unwrap();
    other.follow(Policy { max: 30, ..*other.policy() }).unwrap();
    let said = look(&mut other, 4, 4);
    assert!(said.contains("too few in 120 s"), "after a restart and with other bounds: {said}");
}
