//! Actions of the vocabulary and actions on the wire, both ways. Guards, evidence and before-image survive a
//! restart exactly, within microseconds and the lengths of the schema.

use super::diff::diff;
use crate::validate::{action_kind, wire_action};
use homeostat_crds::v1alpha1::action::{
    self as wire, ActionInstants as WireInstants, ActionState as WireState, Approval as WireApproval,
    Before as WireBefore, Decision, EvidenceRef as WireEvidence, Expectation as WireExpectation, Guard,
    GuardResult as WireResult, NameRef, Origin as WireOrigin, Outcome, Parameters as WireParameters,
    PlaybookRef as WirePlaybook, Target as WireTarget, Undo as WireUndo, Verify,
};
use homeostat_crds::v1alpha1::{Action, ActionSpec, ActionStatus};
use homeostat_crds::{MicroTime, Quantity, clip};
use homeostat_knowledge::action::{ActionInstants, EvidenceRef};
use homeostat_knowledge::forecast::{self, REQUESTS};
use homeostat_knowledge::ids::{ActionId, EvidenceId, IncidentId, Uid};
use homeostat_knowledge::plan::{Expectation, Undo};
use homeostat_knowledge::policy::Bounds;
use homeostat_knowledge::{
    ActionKind, ActionOutcome, ActionRecord, ActionState, Approval, ApprovalDecision, Before, GuardName,
    GuardReport, GuardResult, Name, ObjectKey, Origin, Parameters, PlaybookRef, Request, SignedDuration,
    Target, TenantName, Timestamp, UnreadAction, Verification, runs,
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
    /// A value that this action cannot do without.
    #[error("{0} is missing or not readable")]
    Missing(&'static str),
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

fn millis(value: u64) -> Quantity {
    Quantity::from(format!("{value}m"))
}

fn bytes(value: u64) -> Quantity {
    Quantity::from(value.to_string())
}

/// Thousandths of a core, rounded up as the scheduler does.
pub(crate) fn in_millis(quantity: &Quantity) -> Option<u64> {
    whole(quantity.value()? * 1_000.0)
}

/// Bytes, rounded up.
pub(crate) fn in_bytes(quantity: &Quantity) -> Option<u64> {
    whole(quantity.value()?)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to lie within the type")]
fn whole(value: f64) -> Option<u64> {
    // 0.1 + 0.2 must not become one more.
    let rounded = (value - 1e-6).ceil().max(0.0);
    (value >= 0.0 && rounded < 9e15).then_some(rounded as u64)
}

fn replicas(count: u64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn bounds(min: Option<i32>, max: Option<i32>) -> Option<Bounds> {
    Some(Bounds { min: u64::try_from(min?).ok()?, max: u64::try_from(max?).ok()? })
}

fn wire_parameters(parameters: &Parameters) -> WireParameters {
    let mut wire = WireParameters::default();
    match parameters {
        Parameters::EvictPod { grace_seconds } => {
            wire.grace_period_seconds = grace_seconds.and_then(|seconds| i32::try_from(seconds).ok());
        }
        Parameters::RollingRestart | Parameters::Uncordon | Parameters::Resume | Parameters::RetryJob => {}
        Parameters::ScaleUp { replicas } | Parameters::ScaleDown { replicas } => {
            wire.replicas = Some(*replicas);
        }
        Parameters::DriveBounds { bounds, until } => {
            wire.min_replicas = Some(replicas(bounds.min));
            wire.max_replicas = Some(replicas(bounds.max));
            wire.until = Some(MicroTime::new(*until));
        }
        Parameters::RollBack { revision } => wire.revision = Some(clip(revision, 128)),
        Parameters::Cordon { until } | Parameters::Suspend { until } => {
            wire.until = Some(MicroTime::new(*until));
        }
        Parameters::ResizePod {
            container,
            cpu_millis,
            cpu_limit_millis,
            memory_bytes,
            memory_limit_bytes,
        } => {
            wire.container = Some(container.to_string());
            wire.cpu = cpu_millis.map(millis);
            wire.cpu_limit = cpu_limit_millis.map(millis);
            wire.memory = memory_bytes.map(bytes);
            wire.memory_limit = memory_limit_bytes.map(bytes);
        }
        Parameters::StartJob { cpu_millis, memory_bytes, parallelism } => {
            wire.cpu = cpu_millis.map(millis);
            wire.memory = memory_bytes.map(bytes);
            wire.parallelism = parallelism.map(small);
        }
        Parameters::CreateJob { slot } => wire.slot = Some(MicroTime::new(*slot)),
        Parameters::Notify { message } => wire.message = Some(clip(message, 1_024)),
    }
    wire
}

/// What an action is created with.
pub fn spec(record: &ActionRecord) -> ActionSpec {
    let (target, before) = (&record.target, &record.before);
    ActionSpec {
        origin: match record.origin {
            Origin::Incident => WireOrigin::Incident,
            Origin::Forecast => WireOrigin::Forecast,
            Origin::Schedule => WireOrigin::Schedule,
        },
        incident_ref: (record.origin == Origin::Incident).then(|| reference(record.incident.as_str())),
        forecast_ref: (record.origin == Origin::Forecast)
            .then(|| reference(&crate::forecasts::mapping::name(&record.workload.name, REQUESTS))),
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
        parameters: wire_parameters(&record.parameters),
        before: WireBefore {
            replicas: before.replicas,
            ready: before.ready,
            revision: before.revision.as_ref().map(|revision| clip(revision, 128)),
            restarts: before.restarts.map(small),
            parallelism: before.parallelism.map(small),
            suspended: before.suspended,
            unschedulable: before.cordoned,
            cpu: before.cpu_millis.map(millis),
            cpu_limit: before.cpu_limit_millis.map(millis),
            memory: before.memory_bytes.map(bytes),
            memory_limit: before.memory_limit_bytes.map(bytes),
            min_replicas: before.bounds.map(|bounds| replicas(bounds.min)),
            max_replicas: before.bounds.map(|bounds| replicas(bounds.max)),
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
        undo: match record.undo {
            Undo::None => WireUndo::Never,
            Undo::Restore => WireUndo::Restore,
        },
        undo_of: record.undo_of.as_ref().map(ToString::to_string),
        expires_at: record.request.expires.map(MicroTime::new),
        requested_by: (!record.request.by.is_empty()).then(|| clip(&record.request.by, 253)),
        digest: (!record.request.digest.is_empty()).then(|| record.request.digest.to_string()),
        approval: record.approval.as_ref().map(|approval| WireApproval {
            decision: match approval.decision {
                ApprovalDecision::Approve => Decision::Approve,
                ApprovalDecision::Deny => Decision::Deny,
            },
            approved_by: approval.approved_by.to_string(),
            evidence_id: approval.evidence.to_string(),
            digest: approval.digest.as_ref().map(ToString::to_string),
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
        diff: diff(record).map(|text| clip(&text, 8_192)),
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
    let target = Target {
        api_version: Name::from(spec.target.api_version.as_str()),
        kind: Name::from(spec.target.kind.as_str()),
        key: ObjectKey::new(spec.target.namespace.as_deref().unwrap_or_default(), spec.target.name.as_str()),
        uid: Uid::new(spec.target.uid.as_str()),
        resource_version: Name::from(spec.target.resource_version.as_str()),
    };
    let workload = ObjectKey::new(namespace.clone(), spec.workload_ref.name.as_str());
    let (origin, incident) = match spec.origin {
        WireOrigin::Incident => {
            let incident = spec.incident_ref.as_ref().ok_or(NotOurs::Missing("spec.incidentRef"))?;
            (Origin::Incident, IncidentId::new(incident.name.as_str()))
        }
        WireOrigin::Forecast => (Origin::Forecast, forecast::occasion(&workload)),
        WireOrigin::Schedule => (Origin::Schedule, runs::occasion(&target)),
    };
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
        incident,
        origin,
        tenant: TenantName::new(spec.tenant.as_str()),
        workload,
        namespace,
        playbook: PlaybookRef {
            name: Name::from(spec.playbook.name.as_str()),
            version: spec.playbook.version,
            step: u32::try_from(spec.playbook.step).unwrap_or(0),
        },
        target,
        parameters: parameters(spec)?,
        before: Before {
            replicas: spec.before.replicas,
            ready: spec.before.ready,
            revision: spec.before.revision.as_deref().map(Name::from),
            restarts: spec.before.restarts.and_then(|count| u32::try_from(count).ok()),
            cordoned: spec.before.unschedulable,
            suspended: spec.before.suspended,
            cpu_millis: spec.before.cpu.as_ref().and_then(in_millis),
            cpu_limit_millis: spec.before.cpu_limit.as_ref().and_then(in_millis),
            memory_bytes: spec.before.memory.as_ref().and_then(in_bytes),
            memory_limit_bytes: spec.before.memory_limit.as_ref().and_then(in_bytes),
            bounds: bounds(spec.before.min_replicas, spec.before.max_replicas),
            parallelism: spec.before.parallelism.and_then(|pods| u32::try_from(pods).ok()),
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
        undo: match spec.undo {
            WireUndo::Never => Undo::None,
            WireUndo::Restore => Undo::Restore,
        },
        undo_of: spec.undo_of.as_deref().map(ActionId::new),
        request: Request {
            by: Name::from(spec.requested_by.as_deref().unwrap_or_default()),
            expires: spec.expires_at.map(MicroTime::timestamp),
            digest: Name::from(spec.digest.as_deref().unwrap_or_default()),
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
            digest: approval.digest.as_deref().map(Name::from),
            at: approval.at.map_or(now, MicroTime::timestamp),
        }),
        message: status.message.clone().unwrap_or_default(),
    })
}

fn parameters(spec: &ActionSpec) -> Result<Parameters, NotOurs> {
    let wire = &spec.parameters;
    let replicas = || wire.replicas.ok_or(NotOurs::Missing("spec.parameters.replicas"));
    let until = || wire.until.map(MicroTime::timestamp).ok_or(NotOurs::Missing("spec.parameters.until"));
    match action_kind(spec.action) {
        ActionKind::ScaleUp => Ok(Parameters::ScaleUp { replicas: replicas()? }),
        ActionKind::ScaleDown => Ok(Parameters::ScaleDown { replicas: replicas()? }),
        ActionKind::DriveBounds => Ok(Parameters::DriveBounds {
            bounds: bounds(wire.min_replicas, wire.max_replicas)
                .ok_or(NotOurs::Missing("spec.parameters.minReplicas and maxReplicas"))?,
            until: until()?,
        }),
        ActionKind::RollBack => {
            let revision = wire.revision.as_deref().ok_or(NotOurs::Missing("spec.parameters.revision"))?;
            Ok(Parameters::RollBack { revision: Name::from(revision) })
        }
        ActionKind::Cordon => Ok(Parameters::Cordon { until: until()? }),
        ActionKind::Uncordon => Ok(Parameters::Uncordon),
        ActionKind::Suspend => Ok(Parameters::Suspend { until: until()? }),
        ActionKind::Resume => Ok(Parameters::Resume),
        ActionKind::RetryJob => Ok(Parameters::RetryJob),
        ActionKind::StartJob => Ok(Parameters::StartJob {
            cpu_millis: wire.cpu.as_ref().and_then(in_millis),
            memory_bytes: wire.memory.as_ref().and_then(in_bytes),
            parallelism: wire.parallelism.and_then(|pods| u32::try_from(pods).ok()),
        }),
        ActionKind::CreateJob => {
            let slot = wire.slot.map(MicroTime::timestamp);
            Ok(Parameters::CreateJob { slot: slot.ok_or(NotOurs::Missing("spec.parameters.slot"))? })
        }
        ActionKind::ResizePod => {
            let container = wire.container.as_deref().ok_or(NotOurs::Missing("spec.parameters.container"))?;
            Ok(Parameters::ResizePod {
                container: Name::from(container),
                cpu_millis: wire.cpu.as_ref().and_then(in_millis),
                cpu_limit_millis: wire.cpu_limit.as_ref().and_then(in_millis),
                memory_bytes: wire.memory.as_ref().and_then(in_bytes),
                memory_limit_bytes: wire.memory_limit.as_ref().and_then(in_bytes),
            })
        }
        ActionKind::EvictPod => Ok(Parameters::EvictPod {
            grace_seconds: wire.grace_period_seconds.and_then(|seconds| u32::try_from(seconds).ok()),
        }),
        ActionKind::RollingRestart => Ok(Parameters::RollingRestart),
        ActionKind::Notify => {
            Ok(Parameters::Notify { message: spec.parameters.message.clone().unwrap_or_default() })
        }
        other @ ActionKind::Drain => Err(NotOurs::Kind(other)),
    }
}

/// What can be told of a stored action that [`record`] does not understand. Words that are not known are taken for the
/// ones that let the least happen beside it.
pub fn unread(object: &serde_json::Value, key: &ObjectKey, why: &str) -> UnreadAction {
    let text = |path: &str| object.pointer(path).and_then(|value| value.as_str()).unwrap_or_default();
    let instant = |path: &str| text(path).parse::<Timestamp>().ok();
    let state = match text("/status/state") {
        "" => ActionState::Proposed,
        word => serde_json::from_value(word.into()).map_or(ActionState::Claimed, state),
    };
    UnreadAction {
        id: ActionId(key.name.clone()),
        resource_version: Name::from(text("/metadata/resourceVersion")),
        incident: IncidentId::new(text("/spec/incidentRef/name")),
        origin: Origin::ALL
            .into_iter()
            .find(|origin| origin.name() == text("/spec/origin"))
            .unwrap_or_default(),
        tenant: TenantName::new(text("/spec/tenant")),
        workload: ObjectKey::new(key.namespace.clone(), text("/spec/workloadRef/name")),
        target: Uid::new(text("/spec/target/uid")),
        state,
        at: instant("/status/instants/claimed").or(instant("/status/instants/intent")),
        closed: instant("/status/instants/closed"),
        why: clip(why, 256),
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
