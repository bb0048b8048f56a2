//! Our own health: no invariant broken, this replica leads, its clock is right, caches synced and warm.

use super::{GuardInput, Ruling};
use crate::skew;

pub(super) fn judge(input: &GuardInput) -> Ruling {
    if let Some(breach) = input.breaches.first() {
        return Ruling::refused(
            format!("{} broken", input.breaches.len()),
            "none broken",
            format!("{breach}; all effects are stopped until this replica restarts, report this as a bug"),
        );
    }
    if !input.leads {
        return Ruling::refused("does not lead", "leads", "another replica holds the lease and will act");
    }
    if skew::too_far(input.clock_off) {
        let (off, side) =
            (input.clock_off.abs(), if input.clock_off.is_positive() { "ahead" } else { "behind" });
        return Ruling::unknown(
            format!("clock {} s {side} of the API server's", off.as_secs()),
            "cool-downs, windows and budgets cannot be told with a wrong clock; set the clock of this node",
        );
    }
    let Some(synced) = input.synced_since else {
        return Ruling::unknown("caches not synced", "not every kind has been listed yet; wait");
    };
    let warm = input.now.duration_since(synced);
    if warm.is_negative() {
        return Ruling::unknown(
            "synced in the future",
            "the clock went backwards; nothing is done until it is right",
        );
    }
    let limit = format!("{} s after sync", input.control.warm_up.as_secs());
    if input.resumed {
        return Ruling::passed("leads, synced; intent from before the restart", limit);
    }
    if warm < input.control.warm_up {
        return Ruling::refused(
            format!("synced for {} s", warm.as_secs()),
            limit,
            "warming up after a start; the decision comes again when it is over",
        );
    }
    Ruling::passed(format!("leads, synced for {} s", warm.as_secs()), limit)
}

#[cfg(test)]
mod tests {
    use crate::guards::testing::{first_refusal, input};
    use homeostat_knowledge::{GuardName, SignedDuration};

    #[test]
    fn warm_up_holds_new_decisions_but_not_resumed_intents() {
        let mut case = input();
        case.synced_since = case.now.checked_sub(SignedDuration::from_secs(59)).ok();
        assert_eq!(first_refusal(&case), Some(GuardName::Invariants));
        case.resumed = true;
        assert_eq!(first_refusal(&case), None);
        case.resumed = false;
        case.synced_since = case.now.checked_sub(SignedDuration::from_secs(60)).ok();
        assert_eq!(first_refusal(&case), None);
        case.synced_since = None;
        assert_eq!(first_refusal(&case), Some(GuardName::Invariants));
        case.synced_since = case.now.checked_add(SignedDuration::from_secs(1)).ok();
        assert_eq!(first_refusal(&case), Some(GuardName::Invariants));
    }

    #[test]
    fn with_a_wrong_clock_nothing_is_done_not_even_an_undo() {
        let mut case = input();
        for (millis, stops) in
            [(2_000, false), (-2_000, false), (2_001, true), (-2_001, true), (300_000, true)]
        {
            case.clock_off = SignedDuration::from_millis(millis);
            assert_eq!(first_refusal(&case), stops.then_some(GuardName::Invariants), "{millis}");
        }
        case.action.undo_of = Some(homeostat_knowledge::ActionId::new("order-1-1"));
        assert_eq!(first_refusal(&case), Some(GuardName::Invariants));
    }

    #[test]
    fn a_broken_invariant_stops_everything() {
        let mut case = input();
        case.breaches.push("S2: two effects".to_owned());
        assert_eq!(first_refusal(&case), Some(GuardName::Invariants));
    }
}
