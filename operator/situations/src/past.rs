//! What was already done about an incident, from the fields of a situation to the record that the ledger would hold.

use crate::given::{Given, GivenAction};
use crate::words;
use crate::world::{HOME, SHOP, ago};
use homeostat_knowledge::action::{ActionInstants, Approval, ApprovalDecision, EvidenceRef};
use homeostat_knowledge::plan::{Expectation, Undo};
use homeostat_knowledge::policy::PLATFORM_TENANT;
use homeostat_knowledge::{
    ActionId, ActionKind, ActionOutcome, ActionRecord, ActionState, Before, EvidenceId, IncidentId, Name,
    ObjectKey, Parameters, PlaybookRef, SignedDuration, Target, TenantName, Uid, Verification,
};

/// The node that situations speak of.
const NODE: &str = "node-1";

impl Given {
    /// The action as the ledger holds it. Each kind is what it says: on a pod, on what the workload targets, on a run or on
    /// the node.
    pub(crate) fn action(&self, space: &str, given: &GivenAction, number: u32) -> ActionRecord {
        let kind = ActionKind::from_name(&given.kind).unwrap_or(ActionKind::EvictPod);
        let state = words::action_state(&given.state).unwrap_or(ActionState::Failed);
        let sent = given.sent.map(ago);
        let helped = match state {
            ActionState::Verified => Some(true),
            ActionState::Failed | ActionState::Undone => Some(false),
            _ => None,
        };
        let target = self.target(space, given, kind);
        let (tenant, workload) = if target.is_node() {
            (PLATFORM_TENANT, ObjectKey::new(HOME, NODE))
        } else {
            (SHOP, ObjectKey::new(space, given.of.as_str()))
        };
        ActionRecord {
            id: ActionId::new(format!("{}-{number}", given.incident)),
            namespace: space.into(),
            resource_version: "3".into(),
            incident: IncidentId::new(given.incident.as_str()),
            origin: homeostat_knowledge::Origin::Incident,
            tenant: TenantName::new(tenant),
            workload,
            playbook: PlaybookRef { name: "before".into(), version: 0, step: 1 },
            target,
            parameters: self.parameters(given, kind),
            before: Before::default(),
            epoch: 1,
            evidence: EvidenceRef {
                id: EvidenceId::new("evidence-0"),
                taken_at: sent.unwrap_or_else(|| ago(given.closed.unwrap_or(0.0))),
                summary: String::new(),
            },
            verification: Verification {
                within: SignedDuration::from_secs(30),
                expect: Expectation::ObjectivesMet,
            },
            undo: Undo::None,
            undo_of: None,
            request: homeostat_knowledge::Request::default(),
            state,
            guards: Vec::new(),
            instants: ActionInstants {
                intent: sent,
                claimed: sent,
                sent,
                closed: given.closed.map(ago),
                ..ActionInstants::default()
            },
            outcome: helped.map(|helped| ActionOutcome { helped, reason: String::new() }),
            approval: given.message.starts_with("denied").then(|| denial(given)),
            message: given.message.clone(),
        }
    }

    fn target(&self, space: &str, given: &GivenAction, kind: ActionKind) -> Target {
        // Neighbours are Deployments.
        let controller = if given.of == "order" { self.workload.target.as_str() } else { "Deployment" };
        let runs = self.runs();
        let failed = runs.iter().rev().find(|job| job.failed == Some(true));
        let (object_kind, name) = match kind {
            ActionKind::Cordon | ActionKind::Uncordon => ("Node", NODE),
            ActionKind::RetryJob => ("Job", failed.map_or("order", |job| job.name.as_str())),
            ActionKind::EvictPod | ActionKind::ResizePod | ActionKind::Notify => ("Pod", "some"),
            _ => (controller, given.of.as_str()),
        };
        // What was only asked for, and a size changed in place, leave the pod as it was.
        let stays = given.sent.is_none() || kind == ActionKind::ResizePod;
        let uid = match object_kind {
            _ if !given.uid.is_empty() => given.uid.clone(),
            "Pod" if stays => self.incident.pod_uid().unwrap_or_else(|| "uid-before".to_owned()),
            "Pod" => "uid-before".to_owned(),
            "Node" => format!("uid-{name}"),
            _ => format!("uid-{object_kind}-{name}"),
        };
        let key = match object_kind {
            "Node" => ObjectKey { namespace: Name::from(""), name: Name::from(name) },
            _ => ObjectKey::new(space, name),
        };
        Target {
            api_version: match object_kind {
                "Pod" | "Node" => "v1".into(),
                "Job" | "CronJob" => "batch/v1".into(),
                _ => "apps/v1".into(),
            },
            kind: object_kind.into(),
            key,
            uid: Uid::new(uid),
            resource_version: "1".into(),
        }
    }
}

/// A person's no, as it stands beside what the action says then.
fn denial(given: &GivenAction) -> Approval {
    Approval {
        decision: ApprovalDecision::Deny,
        approved_by: Name::from("somebody"),
        evidence: EvidenceId::new("evidence-0"),
        digest: None,
        at: ago(given.closed.unwrap_or(0.0)),
    }
}

impl Given {
    /// What such an action asks for; situations do not say the values. A size that helped is the one that is there.
    fn parameters(&self, given: &GivenAction, kind: ActionKind) -> Parameters {
        let until = given.sent.map_or(ago(-1800.0), |sent| ago(sent - 3600.0));
        match kind {
            ActionKind::RollingRestart => Parameters::RollingRestart,
            ActionKind::ScaleUp => Parameters::ScaleUp { replicas: self.workload.replicas },
            ActionKind::ScaleDown => Parameters::ScaleDown { replicas: 1 },
            ActionKind::RollBack => Parameters::RollBack { revision: Name::from("order-rs-old") },
            ActionKind::Suspend => Parameters::Suspend { until },
            ActionKind::Resume => Parameters::Resume,
            ActionKind::RetryJob => Parameters::RetryJob,
            ActionKind::Cordon => Parameters::Cordon { until },
            ActionKind::Uncordon => Parameters::Uncordon,
            ActionKind::ResizePod => Parameters::ResizePod {
                container: "app".into(),
                cpu_millis: None,
                cpu_limit_millis: None,
                memory_bytes: Some(192 << 20),
                memory_limit_bytes: None,
            },
            ActionKind::Notify => Parameters::Notify { message: "told".to_owned() },
            // The others are refused while the file is read.
            ActionKind::EvictPod
            | ActionKind::Drain
            | ActionKind::DriveBounds
            | ActionKind::StartJob
            | ActionKind::CreateJob => Parameters::EvictPod { grace_seconds: None },
        }
    }
}
