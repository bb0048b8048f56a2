//! The things in the simulated cluster, and where each comes from. Every record of the product's vocabulary is
//! built here and nowhere else in this crate, so that a new field is set in one place.

use homeostat_execute::ports::{Field, FieldEdit, FreshTarget, Marks, Requests};
use homeostat_knowledge::policy::{
    Bounds, ControlPolicy, KillSwitch, PLATFORM_TENANT, Permits, TenantPolicy, WorkloadPolicy,
};
use homeostat_knowledge::records::{AutoscalerRecord, ControllerKey, NodeRecord, OwnerRecord};
use homeostat_knowledge::{
    ActionKind, ContainerRecord, ContainerState, ControllerKind, ControllerRecord, FindingKind, GuardLimits,
    Level, Name, ObjectKey, PodRecord, SignedDuration, TenantName, Timestamp, Uid, WorkloadKey,
};
use std::collections::BTreeMap;

/// A pod as the API server stores it, and how its process really is.
#[derive(Clone, Debug, PartialEq)]
pub struct Pod {
    /// What watchers see.
    pub record: PodRecord,
    /// What is wrong with its process; `None` when it is well.
    pub ailment: Option<FindingKind>,
    /// What its container asks for.
    pub requests: Requests,
    /// Who set that last, when it is not what the template says.
    pub set_by: Option<FieldEdit>,
}

/// Field manager of the product's writes.
pub const OURS: &str = "homeostat";
/// Field manager of everybody else: a part of Kubernetes, whose writes keep nobody off.
pub const OTHERS: &str = "kube-controller-manager";

/// The owner of a field after a write that changed it (`metadata.managedFields`), in whole seconds as there.
pub fn edit(field: Field, manager: &str, at: Option<Timestamp>) -> Option<FieldEdit> {
    Some(FieldEdit { field, manager: Name::from(manager), subresource: Name::from(""), at: at.map(whole) })
}

fn whole(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// How many serving replicas a workload does well with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// With fewer it is too slow.
    pub least: usize,
    /// With more they are in each other's way.
    pub most: usize,
}

impl Default for Need {
    fn default() -> Self {
        Self { least: 0, most: usize::MAX }
    }
}

/// Annotation of a Deployment that was rolled back: by which action.
pub const ROLLED_BACK_BY: &str = "homeostat.dev/rolled-back-by";
/// Annotation of a Job that retries another: by which action.
pub const CREATED_BY: &str = "homeostat.dev/created-by";

/// The namespace that Homeostat runs in; the platform tenant owns it.
pub const OWN_NAMESPACE: &str = "homeostat-system";

/// A pod template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Value of the `pod-template-hash` label.
    pub hash: Name,
    /// Version of the program in it.
    pub image: Name,
    /// The annotation `homeostat.dev/restarted-by`.
    pub restarted_by: Option<Name>,
}

/// A Deployment, StatefulSet, `CronJob` or Job as the API server stores it.
#[derive(Clone, Debug, PartialEq)]
pub struct Controller {
    /// What watchers see. `replicas` is `spec.replicas`, `paused` is `spec.paused` or `spec.suspend`.
    pub record: ControllerRecord,
    /// The present pod template.
    pub template: Template,
    /// Templates before it, oldest first.
    pub revisions: Vec<Template>,
    /// Annotations of the object itself.
    pub marks: BTreeMap<Name, Name>,
    /// What is wrong with what it starts, whatever its pods say.
    pub ailment: Option<FindingKind>,
    /// How many replicas it takes.
    pub need: Need,
    /// Who set its size last, when that is not the one that it was made with.
    pub sized_by: Option<FieldEdit>,
}

impl Controller {
    /// A controller at its first revision, with nothing wrong.
    pub fn new(record: ControllerRecord) -> Self {
        let template = Template { hash: Name::from("1"), image: Name::from("v1"), restarted_by: None };
        Self {
            record,
            template,
            revisions: Vec::new(),
            marks: BTreeMap::new(),
            ailment: None,
            need: Need::default(),
            sized_by: None,
        }
    }
}

/// A `HorizontalPodAutoscaler` as the API server stores it.
#[derive(Clone, Debug, PartialEq)]
pub struct Autoscaler {
    /// What the product reads.
    pub record: AutoscalerRecord,
    /// Who set its bounds last, when they are not those that it was made with.
    pub set_by: Option<FieldEdit>,
}

/// A node as the API server stores it. `cordoned` in the record is `spec.unschedulable`.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What watchers see.
    pub record: NodeRecord,
    /// `metadata.resourceVersion`.
    pub version: Name,
    /// What is wrong with it as long as it takes new pods.
    pub ailment: Option<FindingKind>,
}

/// A `PodDisruptionBudget` over one workload's pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The controller whose pods it protects.
    pub controller: ControllerKey,
    /// Ready pods that an eviction must leave.
    pub minimum: usize,
}

/// Key of a controller.
pub fn controller_key(kind: ControllerKind, key: &ObjectKey) -> ControllerKey {
    ControllerKey { kind, object: key.clone() }
}

/// Name of the one container of each pod.
pub const CONTAINER: &str = "app";

/// A running, ready pod of a controller's template.
pub fn pod(
    key: ObjectKey,
    uid: Uid,
    version: Name,
    owner: OwnerRecord,
    hash: &Name,
    created: Timestamp,
) -> PodRecord {
    PodRecord {
        resource_version: version,
        owner: Some(owner),
        created,
        template_hash: Some(hash.clone()),
        containers: vec![ContainerRecord {
            memory: homeostat_knowledge::records::Memory::default(),
            name: Name::from(CONTAINER),
            ready: true,
            restarts: 0,
            state: ContainerState::Running { since: created },
            last_termination: None,
            cpu_request: None,
            cpu_limit: None,
            ephemeral_storage_limit: None,
        }],
        ..PodRecord::bare(key, uid)
    }
}

/// A controller with all replicas up.
pub fn controller(
    key: ControllerKey,
    uid: Uid,
    version: Name,
    replicas: i32,
    owner: Option<OwnerRecord>,
) -> ControllerRecord {
    ControllerRecord {
        key,
        uid,
        resource_version: version,
        generation: 1,
        observed_generation: 1,
        replicas,
        current: replicas,
        ready: replicas,
        updated: replicas,
        revision: Some(Name::from("1")),
        release: None,
        surges: true,
        paused: false,
        template_labels: BTreeMap::new(),
        owner,
        gitops_owner: None,
        finished: None,
        run: homeostat_knowledge::records::RunTimes::default(),
        work: None,
        hold: None,
        do_not_touch: None,
        api: None,
    }
}

/// An autoscaler over a Deployment of the same name, as people made it.
pub fn autoscaler(key: &ObjectKey, uid: Uid, bounds: Bounds) -> Autoscaler {
    let record = AutoscalerRecord {
        key: key.clone(),
        uid,
        resource_version: Name::from(""),
        scales: controller_key(ControllerKind::Deployment, key),
        bounds,
        drive: None,
        keda: None,
        gitops_owner: None,
    };
    Autoscaler { record, set_by: None }
}

/// A ready node.
pub fn node(name: &str, uid: Uid) -> NodeRecord {
    NodeRecord {
        name: Name::from(name),
        uid,
        ready: true,
        cordoned: false,
        leaving: None,
        zone: Some(Name::from("zone-a")),
        allocatable_pods: 110,
        allocatable: homeostat_knowledge::records::Amounts::default(),
        pressures: Vec::new(),
        control_plane: false,
        hold: None,
    }
}

/// The uncached read of a pod.
pub fn fresh_pod(pod: &Pod) -> FreshTarget {
    FreshTarget {
        uid: pod.record.uid.clone(),
        resource_version: pod.record.resource_version.clone(),
        deleting: pod.record.deleting,
        pod: Some(pod.record.clone()),
        controller: None,
        node: None,
        autoscaler: None,
        restarted_by: None,
        marks: Marks {
            requests: BTreeMap::from([(Name::from(CONTAINER), pod.requests)]),
            edits: pod.set_by.iter().cloned().collect(),
            ..Marks::default()
        },
    }
}

/// The uncached read of a controller.
pub fn fresh_controller(controller: &Controller) -> FreshTarget {
    FreshTarget {
        uid: controller.record.uid.clone(),
        resource_version: controller.record.resource_version.clone(),
        deleting: false,
        pod: None,
        controller: Some(controller.record.clone()),
        node: None,
        autoscaler: None,
        restarted_by: controller.template.restarted_by.clone(),
        marks: Marks {
            rolled_back_by: controller.marks.get(ROLLED_BACK_BY).cloned(),
            edits: controller.sized_by.iter().cloned().collect(),
            ..Marks::default()
        },
    }
}

/// The uncached read of a node.
pub fn fresh_node(node: &Node) -> FreshTarget {
    FreshTarget {
        uid: node.record.uid.clone(),
        resource_version: node.version.clone(),
        deleting: false,
        pod: None,
        controller: None,
        node: Some(node.record.clone()),
        autoscaler: None,
        restarted_by: None,
        marks: Marks::default(),
    }
}

/// The uncached read of an autoscaler.
pub fn fresh_autoscaler(autoscaler: &Autoscaler) -> FreshTarget {
    FreshTarget {
        uid: autoscaler.record.uid.clone(),
        resource_version: autoscaler.record.resource_version.clone(),
        deleting: false,
        pod: None,
        controller: None,
        node: None,
        autoscaler: Some(autoscaler.record.clone()),
        restarted_by: None,
        marks: Marks { edits: autoscaler.set_by.iter().cloned().collect(), ..Marks::default() },
    }
}

/// What a program without a fresh read would take for one: the cached object.
pub fn cached(
    pod: Option<PodRecord>,
    controller: Option<ControllerRecord>,
    node: Option<NodeRecord>,
) -> Option<FreshTarget> {
    if let Some(record) = pod {
        return Some(fresh_pod(&Pod { record, ailment: None, requests: Requests::default(), set_by: None }));
    }
    if let Some(record) = node {
        return Some(fresh_node(&Node { record, version: Name::from(""), ailment: None }));
    }
    controller.map(|record| fresh_controller(&Controller::new(record)))
}

/// A tenant that owns the namespace of its own name, or, for the platform tenant, Homeostat's own.
pub fn tenant(name: &str, level: Level) -> TenantPolicy {
    TenantPolicy {
        levels: levels(level),
        limits: GuardLimits {
            // Shipped limits but one: with some fifteen workloads 5 % would be less than one.
            percent_per_10_minutes: 20,
            ..GuardLimits::default()
        },
        approvers: vec![(Name::from("Group"), Name::from("sre"))],
        ..TenantPolicy::new(
            TenantName::new(name),
            Uid::new(format!("tenant-{name}")),
            [Name::from(if name == PLATFORM_TENANT { OWN_NAMESPACE } else { name })],
        )
    }
}

/// The same level for every action.
pub fn levels(level: Level) -> BTreeMap<ActionKind, Level> {
    ActionKind::ALL.into_iter().map(|kind| (kind, level)).collect()
}

/// The policy of a workload that targets a controller.
pub fn workload(key: &WorkloadKey, target: ControllerKey, permits: Permits) -> WorkloadPolicy {
    WorkloadPolicy {
        permits,
        ..WorkloadPolicy::new(key.clone(), Uid::new(format!("workload-{key}")), target)
    }
}

/// The control plane's policy with the switch off. The warm-up is short: what it protects is tested elsewhere.
pub fn control() -> ControlPolicy {
    ControlPolicy {
        uid: Uid::new("control"),
        generation: 1,
        kill_switch: KillSwitch::Off,
        ceiling: Level::ActFull,
        warm_up: SignedDuration::from_secs(2),
        ..ControlPolicy::default()
    }
}
