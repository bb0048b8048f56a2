//! Approval: where the level demands it, a person's word on exactly this action.

use super::{GuardInput, Mode, Ruling, mode_of};
use crate::actions::Asks;
use crate::asking::{Asked, approval_holds};
use homeostat_knowledge::guard::NEEDS_APPROVAL;

pub(super) fn judge(input: &GuardInput) -> Ruling {
    let Some(tenant) = &input.tenant else {
        return Ruling::unknown("tenant not known", "whether approval is needed is not known");
    };
    match mode_of(&input.action, tenant, &input.control) {
        Mode::Act => match &input.action.asks {
            Asks::Spared(why) => Ruling::passed(why.as_str(), "known well enough to ask nobody"),
            Asks::ByLevel | Asks::Always(_) => Ruling::unset("not needed at this level", "none needed"),
        },
        Mode::Nothing | Mode::Recommend => Ruling::refused(
            "the level allows no effect",
            "level Approve or higher",
            "raise the level in the Tenant's automation list",
        ),
        Mode::Approve => {
            let limit = format!("a person, within {} min", tenant.approval_timeout.as_mins());
            let Some(approval) = &input.approval else {
                let who: Vec<String> =
                    tenant.approvers.iter().map(|(kind, name)| format!("{kind} {name}")).collect();
                return Ruling::refused(
                    "not given",
                    limit,
                    if let Asks::Always(why) = &input.action.asks {
                        format!("{NEEDS_APPROVAL}: {why}")
                    } else if who.is_empty() {
                        "needs approval, but the Tenant names no approvers".to_owned()
                    } else {
                        format!("{NEEDS_APPROVAL} ({})", who.join(", "))
                    },
                );
            };
            let action = &input.action;
            let asked =
                Asked { digest: &action.digest, request: &action.request, evidence: &action.evidence };
            match approval_holds(approval, &asked, input.now) {
                Ok(()) => Ruling::passed(format!("by {}", approval.approved_by), limit),
                Err(reason) => {
                    Ruling::refused("does not hold", limit, format!("the approval does not hold: {reason}"))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guards::testing::{first_refusal, input};
    use homeostat_knowledge::{
        ActionKind, Approval, ApprovalDecision, EvidenceId, GuardName, Level, Name, SignedDuration,
    };

    fn approval(case: &mut GuardInput) -> &mut Approval {
        case.approval.as_mut().expect("approval")
    }

    #[test]
    fn an_approval_is_bound_to_person_question_evidence_and_time() {
        type Change = fn(&mut GuardInput);
        let cases: [(Change, bool); 15] = [
            (|_| {}, true),
            (|case| approval(case).digest = Some(case.action.digest.clone()), true),
            (|case| case.approval = None, false),
            (|case| approval(case).decision = ApprovalDecision::Deny, false),
            (|case| approval(case).evidence = EvidenceId::new("old"), false),
            (|case| approval(case).approved_by = Name::from(""), false),
            (|case| approval(case).approved_by = case.action.request.by.clone(), false),
            (|case| case.action.request.by = Name::from(""), false),
            // What would be done is not what was asked for, or not what the person saw.
            (|case| case.action.digest = Name::from("another"), false),
            (|case| approval(case).digest = Some(Name::from("another")), false),
            (|case| case.action.request.digest = Name::from("another"), false),
            (|case| case.action.request.expires = None, false),
            (|case| case.action.request.expires = Some(case.now), true),
            // The clock of who approved is hours late.
            (
                |case| {
                    let early = case.action.evidence_taken_at.checked_sub(SignedDuration::from_hours(3));
                    approval(case).at = early.expect("time");
                },
                true,
            ),
            (
                |case| {
                    let over = case.now.checked_sub(SignedDuration::from_micros(1));
                    case.action.request.expires = over.ok();
                },
                false,
            ),
        ];
        for (index, (change, holds)) in cases.into_iter().enumerate() {
            let mut case = input();
            case.tenant.as_mut().expect("tenant").levels.insert(ActionKind::EvictPod, Level::Approve);
            case.action.request.by = Name::from("system:serviceaccount:homeostat-system:homeostat");
            case.action.request.expires = case.now.checked_add(SignedDuration::from_mins(15)).ok();
            case.action.request.digest = case.action.digest.clone();
            case.approval = Some(Approval {
                decision: ApprovalDecision::Approve,
                approved_by: Name::from("jane"),
                evidence: case.action.evidence.clone(),
                digest: None,
                at: case.now,
            });
            change(&mut case);
            assert_eq!(first_refusal(&case), (!holds).then_some(GuardName::Approval), "case {index}");
        }
    }

    #[test]
    fn people_read_who_is_to_approve_and_why() {
        let asked = |change: fn(&mut GuardInput)| {
            let mut case = input();
            case.tenant.as_mut().expect("tenant").levels.insert(ActionKind::EvictPod, Level::Approve);
            change(&mut case);
            judge(&case)
        };
        let nobody = asked(|case| case.tenant.as_mut().expect("tenant").approvers.clear());
        assert!(
            !nobody.result.permits() && nobody.message.contains("names no approvers"),
            "{}",
            nobody.message
        );
        let why = asked(|case| case.action.asks = Asks::Always("a Secret changed".to_owned()));
        assert!(!why.result.permits() && why.message.contains("a Secret changed"), "{}", why.message);
        let low = asked(|case| {
            case.tenant.as_mut().expect("tenant").levels.insert(ActionKind::EvictPod, Level::Recommend);
        });
        assert!(!low.result.permits() && low.message.contains("raise the level"), "{}", low.message);
        assert!(!asked(|case| case.tenant = None).result.permits());
    }
}
