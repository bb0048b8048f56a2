//! T64: the kill switch is engaged, deleted or unreadable at each request of each action's life. No effect comes later
//! than two seconds, and none at all once it was read.

use homeostat_sim::faults::{At, Fault, Meddle, What};
use homeostat_sim::plans::{self, Start};
use homeostat_sim::situations::{self, Situation};

/// The requests of an undisturbed life: which of them there are, up to the one after the effect was stored, and which
/// reads the switch last.
struct Life {
    requests: u32,
    last_read: u32,
}

fn life(situation: &dyn Situation) -> Life {
    let outcome = plans::with_faults(situation.kind(), Start::Alone, Vec::new()).expect("a runtime");
    let requests: Vec<(u32, String)> = outcome
        .trace
        .iter()
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let number = words.next()?.parse().ok()?;
            words.next()?.parse::<u64>().ok()?;
            Some((number, words.next()?.to_owned()))
        })
        .collect();
    let number = |name: &str| requests.iter().find(|(_, request)| request == name).map(|(number, _)| *number);
    let effect = number("Effect").expect("an effect");
    let reads = requests.iter().filter(|(number, request)| request == "KillSwitch" && *number < effect);
    Life {
        requests: number("Watch").expect("a verification") + 1,
        last_read: reads.map(|(number, _)| *number).max().expect("the switch is read"),
    }
}

fn effects(action: homeostat_knowledge::ActionKind, faults: Vec<Fault>, context: &str) -> usize {
    let outcome = plans::with_faults(action, Start::Alone, faults).expect("a runtime");
    let broken: Vec<_> = outcome.failures.iter().filter(|failure| failure.starts_with('S')).collect();
    assert!(broken.is_empty(), "{context}: {broken:?} {:#?}", outcome.trace);
    assert_eq!(outcome.end.open, 0, "{context}: every action ends");
    outcome.end.effects.values().sum()
}

#[test]
fn the_kill_switch_stops_every_action_at_every_request() {
    for situation in situations::ALL {
        let Life { requests, last_read } = life(*situation);
        for number in 1..=requests {
            for meddle in [Meddle::Engage, Meddle::DeleteSwitch] {
                let context = format!("{} {meddle:?} at {number}", situation.kind());
                let fault = Fault { at: At::Number(number), what: What::Meanwhile(meddle) };
                let landed = effects(situation.kind(), vec![fault], &context);
                assert!(landed <= usize::from(number > last_read), "{context}: {landed} effects");
            }
        }
    }
}

#[test]
fn without_the_right_to_read_anything_nothing_is_done() {
    for situation in situations::ALL {
        for number in [1, 3, life(*situation).last_read] {
            // The role binding is gone: from here on every request is refused.
            let faults =
                (number..number + 2_000).map(|at| Fault { at: At::Number(at), what: What::Denied }).collect();
            let context = format!("{} without rights from {number}", situation.kind());
            let outcome = plans::with_faults(situation.kind(), Start::Alone, faults).expect("a runtime");
            assert_eq!(outcome.end.effects.values().sum::<usize>(), 0, "{context}");
            assert!(!outcome.failures.iter().any(|failure| failure.starts_with('S')), "{context}");
        }
    }
}
