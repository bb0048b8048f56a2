//! Our own health: no invariant broken, this replica leads, caches synced and warm.

use super::{GuardInput, Ruling};

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
    fn a_broken_invariant_stops_everything() {
        let mut case = input();
        case.breaches.push("S2: two effects".to_owned());
        assert_eq!(first_refusal(&case), Some(GuardName::Invariants));
    }
}
