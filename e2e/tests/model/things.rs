//! The objects that requests are about, and what both sides show of them.

use std::collections::BTreeMap;
use std::fmt::Debug;

use homeostat_cluster::client::FIELD_MANAGER;
use homeostat_execute::ports::{Field, FreshTarget};
use homeostat_knowledge::action::{ActionInstants, EvidenceRef};
use homeostat_knowledge::plan::{Expectation, Undo};
use homeostat_knowledge::policy::Bounds;
use homeostat_knowledge::records::ControllerKey;
use homeostat_knowledge::{
    ActionId, ActionRecord, ActionState, Before, ControllerKind, EvidenceId, IncidentId, Name, ObjectKey,
    Origin, Parameters, PlaybookRef, Request, SignedDuration, Target, TenantName, Timestamp, Uid,
    Verification,
};

pub const NAMESPACE: &str = "model";
/// Node that pods are bound to.
pub const NODE: &str = "model-node";
/// `CronJob` that Jobs belong to. Nobody asks for it.
pub const PARENT: &str = "parent";
/// Replicas that the Deployment is made with.
pub const REPLICAS: i32 = 3;
/// Bounds of people, the first those that the autoscaler is made with.
pub const PEOPLES: [Bounds; 3] =
    [Bounds { min: 2, max: 8 }, Bounds { min: 5, max: 8 }, Bounds { min: 3, max: 10 }];

/// An object of the small world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Thing {
    /// A pod on a node.
    Pod(u8),
    /// A pod that no node has.
    Homeless,
    /// With two releases.
    Deployment,
    CronJob,
    /// A Job that is repeated.
    FailedRun,
    /// A Job that was made suspended.
    WaitingRun,
    Node,
    Autoscaler,
}

pub const PODS: [Thing; 4] = [Thing::Pod(0), Thing::Pod(1), Thing::Pod(2), Thing::Homeless];
pub const OTHERS: [Thing; 6] =
    [Thing::Deployment, Thing::CronJob, Thing::FailedRun, Thing::WaitingRun, Thing::Node, Thing::Autoscaler];

impl Thing {
    /// API version and kind.
    pub fn kind(self) -> (&'static str, &'static str) {
        match self {
            Self::Pod(_) | Self::Homeless => ("v1", "Pod"),
            Self::Deployment => ("apps/v1", "Deployment"),
            Self::CronJob => ("batch/v1", "CronJob"),
            Self::FailedRun | Self::WaitingRun => ("batch/v1", "Job"),
            Self::Node => ("v1", "Node"),
            Self::Autoscaler => ("autoscaling/v2", "HorizontalPodAutoscaler"),
        }
    }

    pub fn key(self) -> ObjectKey {
        let name = match self {
            Self::Pod(number) => format!("pod-{number}"),
            Self::Homeless => "pod-homeless".to_owned(),
            Self::Deployment => "web".to_owned(),
            Self::CronJob => "night".to_owned(),
            Self::FailedRun => "failed-run".to_owned(),
            Self::WaitingRun => "waiting-run".to_owned(),
            Self::Node => NODE.to_owned(),
            Self::Autoscaler => "sized".to_owned(),
        };
        ObjectKey::new(if self == Self::Node { "" } else { NAMESPACE }, name)
    }

    pub fn target(self, uid: Uid, resource_version: Name) -> Target {
        let (api_version, kind) = self.kind();
        Target {
            api_version: Name::from(api_version),
            kind: Name::from(kind),
            key: self.key(),
            uid,
            resource_version,
        }
    }

    /// Whatever has this name.
    pub fn named(self) -> Target {
        self.target(Uid::new(""), Name::from(""))
    }

    /// As a controller, where it is one.
    pub fn controller(self) -> ControllerKey {
        ControllerKey { kind: ControllerKind::from_kind(self.kind().1), object: self.key() }
    }
}

fn said(value: &dyn Debug) -> String {
    format!("{value:?}")
}

/// What the model knows of an object, from an uncached read of either side.
pub fn facts(thing: Thing, fresh: &FreshTarget) -> BTreeMap<&'static str, String> {
    let ours = |field: Field| {
        let mut edits = fresh.marks.edits.iter();
        edits.any(|edit| edit.field == field && &*edit.manager == FIELD_MANAGER)
    };
    let mut facts = BTreeMap::from([("deleting", said(&fresh.deleting))]);
    if let Some(pod) = &fresh.pod {
        facts.extend([
            ("phase", said(&pod.phase)),
            // That what ends is not ready any more is its kubelet's word.
            ("ready", said(&(pod.ready && !pod.deleting))),
            ("on a node", said(&pod.node.is_some())),
            ("requests", said(&fresh.marks.requests)),
            ("requests are ours", said(&ours(Field::Resources))),
        ]);
    }
    if let Some(found) = &fresh.controller {
        facts.extend([("paused", said(&found.paused)), ("hold", said(&found.hold))]);
        match thing {
            Thing::Deployment => facts.extend([
                ("replicas", said(&found.replicas)),
                ("replicas are ours", said(&ours(Field::Replicas))),
                ("restarted by", said(&fresh.restarted_by)),
                ("rolled back by", said(&fresh.marks.rolled_back_by)),
            ]),
            Thing::FailedRun => facts.extend([("retried by", said(&fresh.marks.retried_by))]),
            Thing::WaitingRun => facts.extend([
                ("pods", said(&found.work.as_ref().map(|work| work.pods))),
                ("started by", said(&found.work.as_ref().and_then(|work| work.started_by.clone()))),
            ]),
            _ => {}
        }
    }
    if let Some(node) = &fresh.node {
        facts.extend([("cordoned", said(&node.cordoned)), ("hold", said(&node.hold))]);
    }
    if let Some(found) = &fresh.autoscaler {
        facts.extend([
            ("bounds", said(&found.bounds)),
            ("people's bounds", said(&found.peoples())),
            ("driven", said(&found.drive.as_ref().map(|drive| (&drive.hold, drive.set)))),
        ]);
    }
    facts
}

/// How often what is wanted was changed; of the kinds where the model counts it.
pub fn generation(thing: Thing, fresh: &FreshTarget) -> i64 {
    let counted = fresh.controller.as_ref().filter(|_| thing == Thing::Deployment);
    counted.map_or(0, |found| found.generation)
}

/// A pod as lists and watches show it.
pub fn pod_line(name: &str, phase: &str, ready: bool, deleting: bool) -> String {
    format!("{name} {phase} ready={} deleting={deleting}", ready && !deleting)
}

/// An action as lists and watches show it.
pub fn action_line(name: &str, state: &str) -> String {
    format!("{name} {state}")
}

/// An action of this number as the ledger stores it.
pub fn record(number: u8, state: ActionState, message: &str, version: Name) -> ActionRecord {
    ActionRecord {
        id: ActionId::new(format!("model-{number}")),
        namespace: Name::from(NAMESPACE),
        resource_version: version,
        incident: IncidentId::new("web-7f3k2"),
        origin: Origin::Incident,
        tenant: TenantName::new("shop"),
        workload: ObjectKey::new(NAMESPACE, "web"),
        playbook: PlaybookRef { name: Name::from("hung-process"), version: 0, step: 1 },
        target: Thing::Pod(0).target(Uid::new("0f2c"), Name::from("88231")),
        parameters: Parameters::EvictPod { grace_seconds: None },
        before: Before::default(),
        epoch: 17,
        evidence: EvidenceRef {
            id: EvidenceId::new("9c41"),
            taken_at: Timestamp::from_second(1_700_000_000).unwrap(),
            summary: "no answer for 1.2 s".to_owned(),
        },
        verification: Verification {
            within: SignedDuration::from_secs(30),
            expect: Expectation::ObjectivesMet,
        },
        undo: Undo::None,
        undo_of: None,
        request: Request::default(),
        state,
        guards: Vec::new(),
        instants: ActionInstants::default(),
        outcome: None,
        approval: None,
        message: message.to_owned(),
    }
}
