//! Evidence: recent, finite, still true, from a source that delivers; from two where only `ActFull` lets it run alone.

use super::{EvidenceFacts, GuardInput, Mode, Purpose, Ruling, SourceFacts, is_object_state, mode_of};
use homeostat_knowledge::policy::TenantPolicy;
use homeostat_knowledge::{FindingKind, Level, Origin, SignedDuration};

/// Clocks of senders may be a little ahead of ours; more than this is no evidence about now.
const SKEW: SignedDuration = SignedDuration::from_secs(2);
/// Independent sources that must tell of a fault before something is done alone that only `ActFull` allows.
const SOURCES: usize = 2;

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
    if needs_two(input, evidence, tenant) {
        return two(input, evidence, &observed, &limit);
    }
    Ruling::passed(observed, limit)
}

/// It is done without a person only because of the level `ActFull`, and on what somebody measured. What a watched object
/// says of itself is no measurement: Kubernetes itself goes by it, and it is read anew before the effect.
fn needs_two(input: &GuardInput, evidence: &EvidenceFacts, tenant: &TenantPolicy) -> bool {
    let action = &input.action;
    action.origin == Origin::Incident
        && action.undo_of.is_none()
        && input.approval.is_none()
        && !evidence.kind.is_some_and(is_object_state)
        && crate::actions::spec(action.kind).is_some_and(|spec| spec.alone_at() == Level::ActFull)
        && mode_of(action, tenant, &input.control) == Mode::Act
}

fn two(input: &GuardInput, evidence: &EvidenceFacts, observed: &str, limit: &str) -> Ruling {
    let told: Vec<&str> = evidence.sources.iter().map(|source| &**source).collect();
    let observed = format!(
        "{observed}, told by {}",
        if told.is_empty() { "nobody".to_owned() } else { told.join(", ") }
    );
    let limit = format!("{limit}, {SOURCES} independent sources at level {}", Level::ActFull.name());
    if told.len() >= SOURCES {
        return Ruling::passed(observed, limit);
    }
    let kind = input.action.kind;
    Ruling::refused(
        observed,
        limit,
        format!(
            "one source may be wrong, and {kind} runs alone only at {}: set its level to {} to be asked, or have a second \
             source tell of it (spans of its callers, spans of its own, a signal)",
            Level::ActFull.name(),
            Level::Approve.name(),
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guards::testing::{first_refusal, input};
    use homeostat_knowledge::{ActionKind, GuardName, Name};

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

    /// Fewer replicas because of calls, at `ActFull`: told by one source.
    fn fewer() -> GuardInput {
        let mut case = input();
        case.action.kind = ActionKind::ScaleDown;
        case.control.ceiling = Level::ActFull;
        let tenant = case.tenant.as_mut().expect("a tenant");
        tenant.levels.insert(ActionKind::ScaleDown, Level::ActFull);
        case
    }

    fn evidence(case: &mut GuardInput) -> &mut EvidenceFacts {
        case.evidence.as_mut().expect("the test input has evidence")
    }

    #[test]
    fn what_only_act_full_allows_is_not_done_on_the_word_of_one() {
        let refused = |case: &GuardInput| first_refusal(case) == Some(GuardName::Evidence);
        let mut case = fewer();
        assert!(refused(&case));
        let Ruling { observed, limit, message, .. } = judge(&case);
        for (text, part) in [
            (&observed, "told by spans of callers of shop/order"),
            (&limit, "2 independent sources"),
            (&message, "Approve"),
            (&message, "second source"),
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        evidence(&mut case).sources.clear();
        assert!(refused(&case), "nobody is fewer than one");
        evidence(&mut case).sources =
            vec![Name::from("spans of shop/order"), Name::from("signals of shop/order")];
        assert_eq!(first_refusal(&case), None);
    }

    #[test]
    fn one_source_is_enough_for_what_less_allows_and_for_what_people_or_objects_say() {
        type Change = fn(&mut GuardInput);
        let cases: [(&str, Change); 6] = [
            ("an eviction needs less", |case| case.action.kind = ActionKind::EvictPod),
            ("a forecast decides sizes by its own rules", |case| {
                case.action.origin = Origin::Forecast;
                let known = evidence(case);
                (known.purpose, known.kind) = (Purpose::Size, None);
            }),
            ("an undo is part of what was admitted", |case| {
                case.action.undo_of = Some(homeostat_knowledge::ActionId::new("order-1-1"));
            }),
            ("a person is asked", |case| {
                let tenant = case.tenant.as_mut().expect("a tenant");
                tenant.levels.insert(ActionKind::ScaleDown, Level::Approve);
            }),
            ("a person approved it before the level was raised", |case| {
                case.approval = Some(homeostat_knowledge::Approval {
                    decision: homeostat_knowledge::ApprovalDecision::Approve,
                    approved_by: Name::from("jane"),
                    evidence: case.action.evidence.clone(),
                    digest: None,
                    at: case.now,
                });
            }),
            ("the object says it itself", |case| evidence(case).kind = Some(FindingKind::OutOfMemory)),
        ];
        for (why, change) in cases {
            let mut case = fewer();
            change(&mut case);
            assert_eq!(judge(&case).result, homeostat_knowledge::GuardResult::Passed, "{why}");
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
