//! Hysteresis: the finding lasted long enough to enter, and has not left.

use super::{GuardInput, Purpose, Ruling};
use homeostat_knowledge::{FindingKind, SignedDuration};

/// How long a finding of this kind must have lasted before it is acted on, where its tenant does not ask for longer.
pub fn minimum_duration(kind: FindingKind) -> SignedDuration {
    kind.minimum_duration()
}

pub(super) fn judge(input: &GuardInput) -> Ruling {
    let Some(evidence) = &input.evidence else {
        return Ruling::unknown("evidence not found", "how long the finding lasts is not known");
    };
    let kind = match (evidence.purpose, evidence.kind) {
        (Purpose::Prevent, _) => return Ruling::unset("prevention acts on calm", "no minimum time"),
        // Its decision has a patience of its own: up what pays at once, down what pays for minutes.
        (Purpose::Size, _) => return Ruling::unset("a size is no finding", "no minimum time"),
        (Purpose::Order, _) => return Ruling::unset("it is the run's turn", "no minimum time"),
        (Purpose::Heal, Some(kind)) => kind,
        (Purpose::Heal, None) => {
            return Ruling::unknown("no finding", "how long the finding lasts is not known");
        }
    };
    let Some(tenant) = &input.tenant else {
        return Ruling::unknown("tenant not known", "how long it lets findings last is not known");
    };
    // Whoever plans waits as long.
    let minimum = tenant.limits.hysteresis.minimum(kind);
    let lasted = input.now.duration_since(evidence.since);
    let observed = format!("{kind} for {:.1} s", lasted.as_secs_f64().max(0.0));
    if minimum.is_zero() {
        return Ruling::passed(observed, "holds now");
    }
    let limit = format!("at least {} s", minimum.as_secs());
    if lasted < minimum {
        return Ruling::refused(
            observed,
            limit,
            "it may pass by itself; the decision comes again when it lasts",
        );
    }
    Ruling::passed(observed, limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guards::testing::{first_refusal, input};
    use homeostat_knowledge::GuardName;
    use homeostat_knowledge::policy::Hysteresis;

    #[test]
    fn noisy_states_must_last_and_crashes_need_not() {
        for (kind, seconds, expected) in [
            (FindingKind::Crashed, 0, None),
            (FindingKind::ErrorBurst, 0, None),
            (FindingKind::NotReady, 9, Some(GuardName::Hysteresis)),
            (FindingKind::NotReady, 10, None),
            (FindingKind::SignalAbnormal, 9, Some(GuardName::Hysteresis)),
            (FindingKind::NodeNotReady, 39, Some(GuardName::Hysteresis)),
        ] {
            let mut case = input();
            let evidence = case.evidence.as_mut().expect("the test input has evidence");
            evidence.kind = Some(kind);
            evidence.since = case.now.checked_sub(SignedDuration::from_secs(seconds)).expect("time");
            assert_eq!(first_refusal(&case), expected, "{kind} for {seconds} s");
        }
    }

    #[test]
    fn a_tenant_may_ask_for_longer_but_not_for_less() {
        for (kind, set, seconds, expected) in [
            (FindingKind::NotReady, 60, 59, Some(GuardName::Hysteresis)),
            (FindingKind::NotReady, 60, 60, None),
            (FindingKind::NotReady, 0, 9, Some(GuardName::Hysteresis)),
            (FindingKind::NotReady, 0, 10, None),
            (FindingKind::Crashed, 5, 4, Some(GuardName::Hysteresis)),
            (FindingKind::Crashed, 5, 5, None),
        ] {
            let mut case = input();
            let limits = &mut case.tenant.as_mut().expect("tenant").limits;
            limits.hysteresis = Hysteresis::new([(kind, SignedDuration::from_secs(set))]);
            let evidence = case.evidence.as_mut().expect("the test input has evidence");
            evidence.kind = Some(kind);
            evidence.since = case.now.checked_sub(SignedDuration::from_secs(seconds)).expect("time");
            assert_eq!(first_refusal(&case), expected, "{kind} for {seconds} s of {set}");
        }
        let mut case = input();
        case.tenant = None;
        assert!(!judge(&case).result.permits());
    }

    #[test]
    fn what_is_no_finding_has_its_own_patience_and_a_missing_one_refuses() {
        for (purpose, kind, permits) in [
            (Purpose::Prevent, None, true),
            (Purpose::Size, None, true),
            (Purpose::Order, None, true),
            (Purpose::Heal, None, false),
        ] {
            let mut case = input();
            let evidence = case.evidence.as_mut().expect("the test input has evidence");
            (evidence.purpose, evidence.kind) = (purpose, kind);
            assert_eq!(judge(&case).result.permits(), permits, "{purpose:?}");
        }
        let mut case = input();
        case.evidence = None;
        assert!(!judge(&case).result.permits());
    }
}
