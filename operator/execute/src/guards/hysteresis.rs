//! Hysteresis: the finding lasted long enough to enter, and has not left.

use super::{GuardInput, Purpose, Ruling};
use homeostat_knowledge::{FindingKind, SignedDuration};

/// How long a finding of this kind must have lasted before it is acted on.
///
/// Crashes are facts, and detectors of failing calls are calibrated on the number of calls, not on time, so
/// for those waiting longer only fails more users. Slow or noisy states must last.
pub fn minimum_duration(kind: FindingKind) -> SignedDuration {
    match kind {
        FindingKind::Crashed
        | FindingKind::BackingOff
        | FindingKind::CrashLoop
        | FindingKind::OutOfMemory
        | FindingKind::Unreachable
        | FindingKind::Hung
        | FindingKind::ErrorBurst
        | FindingKind::Slow
        | FindingKind::DependencyDown
        | FindingKind::JobFailed
        | FindingKind::CertificateExpiring
        | FindingKind::NoData => SignedDuration::ZERO,
        FindingKind::NotReady
        | FindingKind::SignalAbnormal
        | FindingKind::ReplicaOutlier
        | FindingKind::MemoryGrowing => SignedDuration::from_secs(10),
        // A short peak of load, or a node that is busy with a start, passes.
        FindingKind::Unschedulable
        | FindingKind::ImagePullFailed
        | FindingKind::NoisyNeighbour
        | FindingKind::QueueGrowing
        | FindingKind::JobStuck => SignedDuration::from_secs(30),
        // The node controller waits as long before it calls a node unready.
        FindingKind::NodeNotReady => SignedDuration::from_secs(40),
        // The kubelet first tries to free what it is short of by itself.
        FindingKind::NodePressure => SignedDuration::from_secs(60),
    }
}

pub(super) fn judge(input: &GuardInput) -> Ruling {
    let Some(evidence) = &input.evidence else {
        return Ruling::unknown("evidence not found", "how long the finding lasts is not known");
    };
    match evidence.purpose {
        Purpose::Prevent => return Ruling::unset("prevention acts on calm", "no minimum time"),
        Purpose::Order => return Ruling::unset("it is the run's turn", "no minimum time"),
        Purpose::Heal => {}
    }
    let minimum = minimum_duration(evidence.kind);
    let lasted = input.now.duration_since(evidence.since);
    let observed = format!("{} for {:.1} s", evidence.kind, lasted.as_secs_f64().max(0.0));
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
            evidence.kind = kind;
            evidence.since = case.now.checked_sub(SignedDuration::from_secs(seconds)).expect("time");
            assert_eq!(first_refusal(&case), expected, "{kind} for {seconds} s");
        }
    }
}
