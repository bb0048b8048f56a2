//! Actions of the vocabulary and actions on the wire, both ways. Guards, evidence and before-image survive a
//! restart exactly, within microseconds and the lengths of the schema.

use crate::validate::{action_kind, wire_action};
use homeostat_crds::v1alpha1::action::{
    self as wire, ActionInstants as WireInstants, ActionState as WireState, Approval as WireApproval,
    Before as WireBefore, Decision, EvidenceRef as WireEvidence, Expectation as WireExpectation, Guard,
    GuardResult as WireResult, NameRef, Outcome, Parameters as WireParameters, PlaybookRef as WirePlaybook,
    Target as WireTarget, Undo, Verify,
};
use homeostat_crds::v1alpha1::{Action, ActionSpec, ActionStatus};
use homeostat_crds::{MicroTime, clip};
use homeostat_knowledge::action::{ActionInstants, EvidenceRef};
use homeostat_knowledge::ids::{ActionId, EvidenceId, IncidentId, Uid};
use homeostat_knowledge::plan::Expectation;
use homeostat_knowledge::{
    ActionKind, ActionOutcome, ActionRecord, ActionState, Approval, ApprovalDecision, Before, GuardName,
    GuardReport, GuardResult, Name, ObjectKey, Parameters, PlaybookRef, SignedDuration, Target, TenantName,
    Timestamp, Verification,
};

/// A stored action cannot be carried on by this version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOurs {
    /// A word that this version does not know.
    #[error("{field} is `{found}`, which this version does not know")]
    Word {
        /// Path within the object.
        field: String,
        /// What it holds.
        found: String,
    },
    /// An action kind that this version cannot do.
    #[error("spec.action is {0}, which this version cannot do")]
    Kind(ActionKind),
}

fn reference(name: &str) -> NameRef {
    NameRef { name: name.to_owned() }
}

fn small(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn or_dash(text: &str, limit: usize) -> String {
    if text.is_empty() { "-".to_owned() } else { clip(text, limit) }
}

/// What an action is created with.
pub fn spec(record: &ActionRecord) -> ActionSpec {
    let (target, before) = (&record.target, &record.before);
    ActionSpec {
        incident_ref: reference(record.incident.as_str()),
        tenant: record.tenant.0.to_string(),
        workload_ref: reference(&record.workload.name),
        playbook: WirePlaybook {
            name: record.playbook.name.to_string(),
            version: record.playbook.version,
            step: small(record.playbook.step),
        },
        action: wire_action(record.kind()),
        target: WireTarget {
            api_version: target.api_version.to_string(),
            kind: target.kind.to_string(),
            namespace: (!target.key.namespace.is_empty()).then(|| target.key.namespace.to_string()),
            name: target.key.name.to_string(),
            uid: target.uid.to_string(),
            resource_version: target.resource_version.to_string(),
        },
        parameters: match &record.parameters {
            Parameters::EvictPod | Parameters::RollingRestart => WireParameters::default(),
            Parameters::Notify { message } => {
                WireParameters { message: Some(clip(message, 1_024)), ..WireParameters::default() }
            }
        },
        before: WireBefore {
            replicas: before.replicas,
            ready: before.ready,
            revision: before.revision.as_ref().map(|revision| clip(revision, 128)),
            restarts: before.restarts.map(small),
            ..WireBefore::default()
        },
        epoch: i64::try_from(record.epoch).unwrap_or(i64::MAX),
        evidence: WireEvidence {
            id: or_dash(record.evidence.id.as_str(), 128),
            taken_at: MicroTime::new(record.evidence.taken_at),
            summary: or_dash(&record.evidence.summary, 1_024),
        },
        verify: Verify {
            within_seconds: i32::try_from(record.verification.within.as_secs()).unwrap_or(i32::MAX),
            expect: match record.verification.expect {
                Expectation::ObjectivesMet => WireExpectation::ObjectivesMet,
                Expectation::RolloutComplete => WireExpectation::RolloutComplete,
                Expectation::Nothing => WireExpectation::Nothing,
            },
        },
        undo: Undo::Never,
        undo_of: None,
        expires_at: None,
        approval: record.approval.as_ref().map(|approval| WireApproval {
            decision: match approval.decision {
                ApprovalDecision::Approve => Decision::Approve,
                ApprovalDecision::Deny => Decision::Deny,
            },
            approved_by: approval.approved_by.to_string(),
            evidence_id: approval.evidence.to_string(),
            at: Some(MicroTime::new(approval.at)),
            reason: None,
        }),
    }
}

/// The status, without conditions.
pub fn status(record: &ActionRecord) -> ActionStatus {
    let instants = &record.instants;
    let text = |text: &str, limit| (!text.is_empty()).then(|| clip(text, limit));
    ActionStatus {
        observed_generation: None,
        state: Some(wire_state(record.state)),
        target: Some(clip(&format!("{}/{}", record.target.kind, record.target.key.name), 320)),
        message: text(&record.message, 1_024),
        guards: record
            .guards
            .iter()
            .map(|guard| Guard {
                name: guard.name.name().to_owned(),
                result: match guard.result {
                    GuardResult::Passed => WireResult::Passed,
                    GuardResult::Refused => WireResult::Refused,
                    GuardResult::Unset => WireResult::Unset,
                    GuardResult::Unknown => WireResult::Unknown,
                },
                observed: text(&guard.observed, 256),
                limit: text(&guard.limit, 256),
                message: text(&guard.message, 1_024),
            })
            .collect(),
        instants: Some(WireInstants {
            intent: instants.intent.map(MicroTime::new),
            claimed: instants.claimed.map(MicroTime::new),
            sent: instants.sent.map(MicroTime::new),
            acknowledged: instants.acknowledged.map(MicroTime::new),
            verified: instants.verified.map(MicroTime::new),
            closed: instants.closed.map(MicroTime::new),
        }),
        outcome: record.outcome.as_ref().map(|outcome| Outcome::new(outcome.helped, &outcome.reason)),
        diff: None,
        conditions: Vec::new(),
    }
}

fn wire_state(state: ActionState) -> WireState {
    match state {
        ActionState::Proposed => WireState::Proposed,
        ActionState::AwaitingApproval => WireState::AwaitingApproval,
        ActionState::Admitted => WireState::Admitted,
        ActionState::Refused => WireState::Refused,
        ActionState::Claimed => WireState::Claimed,
        ActionState::Sent => WireState::Sent,
        ActionState::Verifying => WireState::Verifying,
        ActionState::Verified => WireState::Verified,
        ActionState::Undone => WireState::Undone,
        ActionState::Failed => WireState::Failed,
        ActionState::Cancelled => WireState::Cancelled,
        ActionState::HandedOver => WireState::HandedOver,
    }
}

fn state(wire: WireState) -> ActionState {
    match wire {
        WireState::Proposed => ActionState::Proposed,
        WireState::AwaitingApproval => ActionState::AwaitingApproval,
        WireState::Admitted => ActionState::Admitted,
        WireState::Refused => ActionState::Refused,
        WireState::Claimed => ActionState::Claimed,
        WireState::Sent => ActionState::Sent,
        WireState::Verifying => ActionState::Verifying,
        WireState::Verified => ActionState::Verified,
        WireState::Undone => ActionState::Undone,
        WireState::Failed => ActionState::Failed,
        WireState::Cancelled => ActionState::Cancelled,
        WireState::HandedOver => ActionState::HandedOver,
    }
}

/// A stored action in the vocabulary. An action without a status was created and nothing more. `now` stands in
/// for the instant of an approval that does not say one.
pub fn record(object: &Action, now: Timestamp) -> Result<ActionRecord, NotOurs> {
    let default = ActionStatus::default();
    let (spec, status) = (&object.spec, object.status.as_ref().unwrap_or(&default));
    let metadata = &object.metadata;
    let namespace = Name::from(metadata.namespace.as_deref().unwrap_or_default());
    let target = &spec.target;
    let mut guards = Vec::with_capacity(status.guards.len());
    for (index, guard) in status.guards.iter().enumerate() {
        guards.push(report(guard).ok_or_else(|| NotOurs::Word {
            field: format!("status.guards[{index}].name"),
            found: guard.name.clone(),
        })?);
    }
    Ok(ActionRecord {
        id: ActionId::new(metadata.name.as_deref().unwrap_or_default()),
        resource_version: Name::from(metadata.resource_version.as_deref().unwrap_or_default()),
        incident: IncidentId::new(spec.incident_ref.name.as_str()),
        tenant: TenantName::new(spec.tenant.as_str()),
        workload: ObjectKey::new(namespace.clone(), spec.workload_ref.name.as_str()),
        namespace,
        playbook: PlaybookRef {
            name: Name::from(spec.playbook.name.as_str()),
            version: spec.playbook.version,
            step: u32::try_from(spec.playbook.step).unwrap_or(0),
        },
        target: Target {
            api_version: Name::from(target.api_version.as_str()),
            kind: Name::from(target.kind.as_str()),
            key: ObjectKey::new(target.namespace.as_deref().unwrap_or_default(), target.name.as_str()),
            uid: Uid::new(target.uid.as_str()),
            resource_version: Name::from(target.resource_version.as_str()),
        },
        parameters: parameters(spec)?,
        before: Before {
            replicas: spec.before.replicas,
            ready: spec.before.ready,
            revision: spec.before.revision.as_deref().map(Name::from),
            restarts: spec.before.restarts.and_then(|count| u32::try_from(count).ok()),
        },
        epoch: u64::try_from(spec.epoch).unwrap_or(0),
        evidence: EvidenceRef {
            id: EvidenceId::new(spec.evidence.id.as_str()),
            taken_at: spec.evidence.taken_at.timestamp(),
            summary: spec.evidence.summary.clone(),
        },
        verification: Verification {
            within: SignedDuration::from_secs(i64::from(spec.verify.within_seconds)),
            expect: match spec.verify.expect {
                WireExpectation::ObjectivesMet => Expectation::ObjectivesMet,
                WireExpectation::RolloutComplete => Expectation::RolloutComplete,
                WireExpectation::Nothing => Expectation::Nothing,
            },
        },
        state: status.state.map_or(ActionState::Proposed, state),
        guards,
        instants: instants(status.instants.as_ref()),
        outcome: status
            .outcome
            .as_ref()
            .map(|outcome| ActionOutcome { helped: outcome.helped, reason: outcome.reason.clone() }),
        approval: spec.approval.as_ref().map(|approval| Approval {
            decision: match approval.decision {
                Decision::Approve => ApprovalDecision::Approve,
                Decision::Deny => ApprovalDecision::Deny,
            },
            approved_by: Name::from(approval.approved_by.as_str()),
            evidence: EvidenceId::new(approval.evidence_id.as_str()),
            at: approval.at.map_or(now, MicroTime::timestamp),
        }),
        message: status.message.clone().unwrap_or_default(),
    })
}

fn parameters(spec: &ActionSpec) -> Result<Parameters, NotOurs> {
    match action_kind(spec.action) {
        ActionKind::EvictPod => Ok(Parameters::EvictPod),
        ActionKind::RollingRestart => Ok(Parameters::RollingRestart),
        ActionKind::Notify => {
            Ok(Parameters::Notify { message: spec.parameters.message.clone().unwrap_or_default() })
        }
        other => Err(NotOurs::Kind(other)),
    }
}

fn report(guard: &wire::Guard) -> Option<GuardReport> {
    Some(GuardReport {
        name: GuardName::from_name(&guard.name)?,
        result: match guard.result {
            WireResult::Passed => GuardResult::Passed,
            WireResult::Refused => GuardResult::Refused,
            WireResult::Unset => GuardResult::Unset,
            WireResult::Unknown => GuardResult::Unknown,
        },
        observed: guard.observed.clone().unwrap_or_default(),
        limit: guard.limit.clone().unwrap_or_default(),
        message: guard.message.clone().unwrap_or_default(),
    })
}

fn instants(wire: Option<&WireInstants>) -> ActionInstants {
    let Some(wire) = wire else { return ActionInstants::default() };
    ActionInstants {
        intent: wire.intent.map(MicroTime::timestamp),
        claimed: wire.claimed.map(MicroTime::timestamp),
        sent: wire.sent.map(MicroTime::timestamp),
        acknowledged: wire.acknowledged.map(MicroTime::timestamp),
        verified: wire.verified.map(MicroTime::timestamp),
        closed: wire.closed.map(MicroTime::timestamp),
    }
}

#[cfg(test)]
#[path = "mapping_tests.rs"]
pub(crate) mod tests;
