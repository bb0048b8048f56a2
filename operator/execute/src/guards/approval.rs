//! Approval: where the level demands it, a person's word on exactly this action.

use super::{GuardInput, Mode, Ruling, mode_of};
use homeostat_knowledge::{Approval, ApprovalDecision, EvidenceId, SignedDuration, Timestamp};

/// How long the evidence that is shown to a person, and so an approval of it, holds.
pub const APPROVAL_LIFETIME: SignedDuration = SignedDuration::from_mins(15);

/// Does this approval hold for this evidence at `now`? The approval is written into the `Action` object, whose
/// target UID and parameters cannot be changed, so it is bound to those; it is single use because the action is.
pub fn approval_holds(
    approval: &Approval,
    evidence: &EvidenceId,
    evidence_taken_at: Timestamp,
    now: Timestamp,
) -> Result<(), String> {
    if approval.decision == ApprovalDecision::Deny {
        return Err(format!("denied by {}", approval.approved_by));
    }
    if approval.approved_by.is_empty() {
        return Err("nobody's name stands under it".to_owned());
    }
    if approval.evidence != *evidence {
        return Err("it was given for other evidence".to_owned());
    }
    if approval.at < evidence_taken_at {
        return Err("it was given before the evidence was there".to_owned());
    }
    if now.duration_since(evidence_taken_at) > APPROVAL_LIFETIME {
        return Err(format!("it expired {} min after the evidence", APPROVAL_LIFETIME.as_mins()));
    }
    Ok(())
}

pub(super) fn judge(input: &GuardInput) -> Ruling {
    let Some(tenant) = &input.tenant else {
        return Ruling::unknown("tenant not known", "whether approval is needed is not known");
    };
    match mode_of(&input.action, tenant, &input.control) {
        Mode::Act => Ruling::unset("not needed at this level", "none needed"),
        Mode::Nothing | Mode::Recommend => Ruling::refused(
            "the level allows no effect",
            "level Approve or higher",
            "raise the level in the Tenant's automation list",
        ),
        Mode::Approve => {
            let limit = format!("a person, within {} min", APPROVAL_LIFETIME.as_mins());
            let Some(approval) = &input.approval else {
                let who: Vec<String> =
                    tenant.approvers.iter().map(|(kind, name)| format!("{kind} {name}")).collect();
                return Ruling::refused(
                    "not given",
                    limit,
                    if let Some(why) = &input.action.needs_approval {
                        format!("needs approval: {why}")
                    } else if who.is_empty() {
                        "needs approval, but the Tenant names no approvers".to_owned()
                    } else {
                        format!("needs approval ({})", who.join(", "))
                    },
                );
            };
            match approval_holds(approval, &input.action.evidence, input.action.evidence_taken_at, input.now)
            {
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
    use homeostat_knowledge::{ActionKind, GuardName, Level, Name};

    #[test]
    fn an_approval_is_bound_to_person_evidence_and_time() {
        type Change = fn(&mut GuardInput);
        let cases: [(Change, bool); 7] = [
            (|_| {}, true),
            (|case| case.approval = None, false),
            (|case| case.approval.as_mut().expect("approval").decision = ApprovalDecision::Deny, false),
            (|case| case.approval.as_mut().expect("approval").evidence = EvidenceId::new("old"), false),
            (|case| case.approval.as_mut().expect("approval").approved_by = Name::from(""), false),
            (
                |case| {
                    let early = case.action.evidence_taken_at.checked_sub(SignedDuration::from_secs(1));
                    case.approval.as_mut().expect("approval").at = early.expect("time");
                },
                false,
            ),
            (
                |case| {
                    let late = APPROVAL_LIFETIME + SignedDuration::from_secs(1);
                    case.action.evidence_taken_at = case.now.checked_sub(late).expect("time");
                },
                false,
            ),
        ];
        for (index, (change, holds)) in cases.into_iter().enumerate() {
            let mut case = input();
            case.tenant.as_mut().expect("tenant").levels.insert(ActionKind::EvictPod, Level::Approve);
            case.approval = Some(Approval {
                decision: ApprovalDecision::Approve,
                approved_by: Name::from("jane"),
                evidence: case.action.evidence.clone(),
                at: case.now,
            });
            change(&mut case);
            assert_eq!(first_refusal(&case), (!holds).then_some(GuardName::Approval), "case {index}");
        }
    }
}
