//! Evidence: recent, finite, still true, from a source that delivers.

use super::{GuardInput, Purpose, Ruling, SourceFacts};
use homeostat_knowledge::{FindingKind, SignedDuration};

/// Clocks of senders may be a little ahead of ours; more than this is no evidence about now.
const SKEW: SignedDuration = SignedDuration::from_secs(2);

pub(super) fn judge(input: &GuardInput) -> Ruling {
    let Some(tenant) = &input.tenant else {
        return Ruling::unknown("tenant not known", "the limit for the age of evidence is not known");
    };
    let maximum = tenant.limits.evidence_maximum_age;
    let limit = format!("at most {:.1} s old, finite, healthy source", maximum.as_secs_f64());
    let Some(evidence) = &input.evidence else {
        return Ruling::unknown(
            "not found",
            "the incident or its finding is not known any more; the situation is judged anew",
        );
    };
    if evidence.kind == Some(FindingKind::NoData) {
        return Ruling::refused("no data", limit, "missing data never justifies a change; repair the source");
    }
    if evidence.kind == Some(FindingKind::DependencyDown) {
        return Ruling::refused(
            "the cause is outside",
            limit,
            "changing the workload cannot repair what it depends on; people must look at the dependency",
        );
    }
    match &evidence.source {
        SourceFacts::Healthy => {}
        SourceFacts::Down(reason) => {
            return Ruling::refused(
                format!("source down: {reason}"),
                limit,
                "repair the telemetry source; nothing is done on its account",
            );
        }
        SourceFacts::Unknown => {
            return Ruling::unknown("source not known", "the source of the evidence reports no health");
        }
    }
    let Some(confidence) = evidence.confidence.filter(|value| (0.0..=1.0).contains(value)) else {
        return Ruling::unknown("confidence is no number from 0 to 1", "the evidence is not usable");
    };
    if !evidence.active {
        let message = match evidence.purpose {
            Purpose::Heal => "the finding does not hold any more; nothing needs to be done",
            Purpose::Order => "the run does not wait any more; nothing needs to be done",
            Purpose::Prevent => "the workload is not calm; prevention waits for a quiet minute",
            Purpose::Size => "the size is not wanted any more; it is decided anew within 15 s",
        };
        return Ruling::refused("does not hold any more", limit, message);
    }
    let age = evidence.age(input.now);
    if age < -SKEW {
        return Ruling::unknown(
            format!("{:.1} s in the future", -age.as_secs_f64()),
            "clocks disagree; set them right (NTP) on the nodes",
        );
    }
    let observed = format!("{:.1} s old, confidence {confidence:.3}", age.as_secs_f64().max(0.0));
    if age > maximum {
        return Ruling::refused(
            observed,
            limit,
            "the evidence is too old to act on; it must be seen again first",
        );
    }
    Ruling::passed(observed, limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guards::testing::{first_refusal, input};
    use homeostat_knowledge::GuardName;

    type Change = fn(&mut super::super::EvidenceFacts);

    fn refused(change: Change) -> bool {
        let mut case = input();
        change(case.evidence.as_mut().expect("the test input has evidence"));
        first_refusal(&case) == Some(GuardName::Evidence)
    }

    #[test]
    fn never_an_action_from_a_non_finite_missing_or_dead_value() {
        let cases: [Change; 10] = [
            |evidence| evidence.confidence = None,
            |evidence| evidence.confidence = Some(f64::NAN),
            |evidence| evidence.confidence = Some(f64::INFINITY),
            |evidence| evidence.confidence = Some(-0.1),
            |evidence| evidence.confidence = Some(1.1),
            |evidence| evidence.kind = Some(FindingKind::NoData),
            |evidence| evidence.kind = Some(FindingKind::DependencyDown),
            |evidence| evidence.source = SourceFacts::Unknown,
            |evidence| evidence.source = SourceFacts::Down("no answer".to_owned()),
            |evidence| evidence.active = false,
        ];
        for (index, change) in cases.into_iter().enumerate() {
            assert!(refused(change), "case {index}");
        }
        let mut none = input();
        none.evidence = None;
        assert_eq!(first_refusal(&none), Some(GuardName::Evidence));
    }

    #[test]
    fn age_is_compared_to_the_limit_exactly_and_the_future_is_no_evidence() {
        for (age_millis, expected) in [
            (10_000, None),
            (10_001, Some(GuardName::Evidence)),
            (-2_000, None),
            (-2_001, Some(GuardName::Evidence)),
        ] {
            let mut case = input();
            let evidence = case.evidence.as_mut().expect("the test input has evidence");
            evidence.kind = Some(FindingKind::Hung);
            evidence.last_seen =
                case.now.checked_sub(SignedDuration::from_millis(age_millis)).expect("a timestamp");
            assert_eq!(first_refusal(&case), expected, "{age_millis} ms");
        }
    }

    #[test]
    fn a_pod_that_backs_off_stays_evidence_without_new_samples() {
        let mut case = input();
        let evidence = case.evidence.as_mut().expect("the test input has evidence");
        evidence.kind = Some(FindingKind::BackingOff);
        evidence.last_seen = case.now.checked_sub(SignedDuration::from_mins(4)).expect("a timestamp");
        assert_eq!(first_refusal(&case), None);
    }
}
