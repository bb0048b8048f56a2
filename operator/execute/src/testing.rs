//! Records for this crate's own tests.

use crate::guards::testing::{tenant, workload};
use crate::ports::{Field, FieldEdit, FreshTarget};
use homeostat_knowledge::action::{ActionInstants, EvidenceRef};
use homeostat_knowledge::forecast::Scaler;
use homeostat_knowledge::observation::{Change, ObjectChange, ObjectKind, SourceReport, SourceState};
use homeostat_knowledge::plan::{Expectation, Verification};
use homeostat_knowledge::policy::{Bounds, PLATFORM_TENANT, Permits};
use homeostat_knowledge::records::{AutoscalerRecord, ControllerKey, Hold, NodeRecord, OwnerRecord};
use homeostat_knowledge::{
    ActionId, ActionRecord, ActionState, Before, Cause, ContainerRecord, ContainerState, ControlPolicy,
    ControllerKind, ControllerRecord, Entity, EvidenceId, Finding, FindingId, FindingKind, Incident,
    IncidentId, IncidentState, Instants, Name, ObjectKey, Parameters, PlaybookRef, PodRecord, Severity,
    SignedDuration, Snapshot, Target, TenantName, Timestamp, Uid,
};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a timestamp")
}

/// An eviction of pod `shop/order-abc`, decided at second 0.
pub(crate) fn record(id: &str) -> ActionRecord {
    ActionRecord {
        id: ActionId::new(id),
        namespace: Name::from("shop"),
        resource_version: Name::from(""),
        incident: IncidentId::new("order-1"),
        origin: homeostat_knowledge::Origin::Incident,
        tenant: TenantName::new("shop"),
        workload: ObjectKey::new("shop", "order"),
        playbook: PlaybookRef { name: Name::from("hung-process"), version: 1, step: 1 },
        target: Target {
            api_version: Name::from("v1"),
            kind: Name::from("Pod"),
            key: ObjectKey::new("shop", "order-abc"),
            uid: Uid::new("pod-uid"),
            resource_version: Name::from("7"),
        },
        parameters: Parameters::EvictPod { grace_seconds: None },
        before: Before {
            replicas: Some(1),
            ready: Some(1),
            revision: Some(Name::from("4")),
            restarts: Some(0),
            ..Before::default()
        },
        epoch: 100,
        evidence: EvidenceRef {
            id: EvidenceId::new("evidence"),
            taken_at: at(0),
            summary: "12 of 12 calls failed".to_owned(),
        },
        verification: Verification {
            within: SignedDuration::from_secs(30),
            expect: Expectation::ObjectivesMet,
        },
        undo: homeostat_knowledge::plan::Undo::None,
        undo_of: None,
        request: homeostat_knowledge::Request::default(),
        state: ActionState::Proposed,
        guards: Vec::new(),
        instants: ActionInstants::default(),
        outcome: None,
        approval: None,
        message: "decided".to_owned(),
    }
}

/// Pod `shop/order-abc` of Deployment `order`, created at second -1000.
pub(crate) fn pod() -> PodRecord {
    PodRecord {
        resource_version: Name::from("7"),
        node: Some(Name::from("node")),
        owner: Some(OwnerRecord {
            kind: ControllerKind::ReplicaSet,
            name: Name::from("order-rs"),
            uid: Uid::new("rs-uid"),
        }),
        created: at(-1_000),
        containers: vec![ContainerRecord {
            memory: homeostat_knowledge::records::Memory::default(),
            name: Name::from("app"),
            ready: true,
            restarts: 0,
            state: ContainerState::Running { since: at(-1_000) },
            last_termination: None,
            cpu_request: None,
            cpu_limit: None,
            ephemeral_storage_limit: None,
        }],
        ..PodRecord::bare(ObjectKey::new("shop", "order-abc"), Uid::new("pod-uid"))
    }
}

pub(crate) fn controller(kind: ControllerKind, name: &str) -> ControllerRecord {
    ControllerRecord {
        key: ControllerKey { kind, object: ObjectKey::new("shop", name) },
        uid: Uid::new(format!("uid-{name}")),
        resource_version: Name::from("9"),
        generation: 4,
        observed_generation: 4,
        replicas: 1,
        current: 1,
        ready: 1,
        updated: 1,
        revision: Some(Name::from("4")),
        release: None,
        surges: true,
        paused: false,
        template_labels: BTreeMap::new(),
        owner: None,
        gitops_owner: None,
        finished: None,
        run: homeostat_knowledge::records::RunTimes::default(),
        work: None,
        hold: None,
        do_not_touch: None,
        api: None,
    }
}

/// A restart of Deployment `shop/order`.
pub(crate) fn restart(id: &str) -> ActionRecord {
    let deployment = controller(ControllerKind::Deployment, "order");
    ActionRecord {
        target: Snapshot::controller_target(&deployment).expect("a deployment"),
        parameters: Parameters::RollingRestart,
        ..record(id)
    }
}

pub(crate) fn incident(id: &str, entity: Entity, kind: FindingKind, since: i64) -> Incident {
    let finding = Finding {
        id: FindingId::new(format!("{id}-finding")),
        entity: entity.clone(),
        kind,
        since: at(since),
        detected: at(since),
        last_seen: at(since),
        confidence: 0.99,
        evidence: Vec::new(),
        active: true,
    };
    Incident {
        id: IncidentId::new(id),
        namespace: Name::from("shop"),
        tenant: Some(TenantName::new("shop")),
        workload: entity.workload().cloned(),
        state: IncidentState::Open,
        severity: Severity::Critical,
        findings: vec![finding],
        causes: vec![Cause { entity, kind, confidence: 0.99, evidence: Vec::new() }],
        affected: Vec::new(),
        instants: Instants {
            impact_start: at(since),
            detected: at(since),
            acknowledged: None,
            mitigated: None,
            resolved: None,
        },
        timeline: Vec::new(),
        actions: Vec::new(),
        reopen_count: 0,
        evidence: EvidenceId::new("evidence"),
        handed_over: None,
        acknowledged_by: None,
    }
}

pub(crate) fn pod_entity() -> Entity {
    Entity::Pod {
        key: ObjectKey::new("shop", "order-abc"),
        uid: Uid::new("pod-uid"),
        workload: Some(ObjectKey::new("shop", "order")),
    }
}

/// Everything synced, one workload `shop/order` with one pod and one incident: the pod hangs.
pub(crate) fn snapshot() -> Snapshot {
    let mut snapshot = Snapshot::default();
    let mut set = controller(ControllerKind::ReplicaSet, "order-rs");
    set.owner = Some(OwnerRecord {
        kind: ControllerKind::Deployment,
        name: Name::from("order"),
        uid: Uid::new("uid-order"),
    });
    let deployment = controller(ControllerKind::Deployment, "order");
    let mut changes = vec![
        ObjectChange::Control(Some(Arc::new(ControlPolicy::default()))),
        ObjectChange::Tenant(Change::Applied(Arc::new(tenant()))),
        ObjectChange::Workload(Change::Applied(Arc::new(workload("order")))),
        ObjectChange::Controller(Change::Applied(Arc::new(set))),
        ObjectChange::Controller(Change::Applied(Arc::new(deployment))),
        ObjectChange::Pod(Change::Applied(Arc::new(pod()))),
    ];
    changes.extend(ObjectKind::REQUIRED.map(ObjectChange::Synced));
    for change in &changes {
        snapshot.commit(change, at(-1_000));
    }
    for source in ["kubernetes", "otlp"] {
        let report = SourceReport { state: SourceState::Healthy, accepted: 1, dropped: 0 };
        snapshot.sources.insert_mut(Name::from(source), report);
    }
    let incident = incident("order-1", pod_entity(), FindingKind::Hung, -1);
    snapshot.incidents.insert_mut(incident.id.clone(), Arc::new(incident));
    snapshot
}

pub(crate) fn put_pod(snapshot: &mut Snapshot, pod: PodRecord) {
    snapshot.commit(&ObjectChange::Pod(Change::Applied(Arc::new(pod))), at(0));
}

pub(crate) fn put_controller(snapshot: &mut Snapshot, controller: ControllerRecord) {
    snapshot.commit(&ObjectChange::Controller(Change::Applied(Arc::new(controller))), at(0));
}

pub(crate) fn fresh_pod(pod: PodRecord) -> FreshTarget {
    FreshTarget {
        uid: pod.uid.clone(),
        resource_version: pod.resource_version.clone(),
        deleting: pod.deleting,
        pod: Some(pod),
        controller: None,
        restarted_by: None,
        node: None,
        autoscaler: None,
        marks: crate::ports::Marks::default(),
    }
}

pub(crate) fn fresh_controller(controller: ControllerRecord) -> FreshTarget {
    FreshTarget {
        uid: controller.uid.clone(),
        resource_version: controller.resource_version.clone(),
        deleting: false,
        pod: None,
        controller: Some(controller),
        restarted_by: None,
        node: None,
        autoscaler: None,
        marks: crate::ports::Marks::default(),
    }
}

pub(crate) fn fresh_autoscaler(autoscaler: AutoscalerRecord) -> FreshTarget {
    FreshTarget {
        uid: autoscaler.uid.clone(),
        resource_version: autoscaler.resource_version.clone(),
        deleting: false,
        pod: None,
        controller: None,
        restarted_by: None,
        node: None,
        autoscaler: Some(autoscaler),
        marks: crate::ports::Marks::default(),
    }
}

/// `HorizontalPodAutoscaler` `shop/order-hpa` over Deployment `shop/order`, as people made it.
pub(crate) fn autoscaler(min: u64, max: u64) -> AutoscalerRecord {
    AutoscalerRecord {
        key: ObjectKey::new("shop", "order-hpa"),
        uid: Uid::new("uid-order-hpa"),
        resource_version: Name::from("12"),
        scales: controller(ControllerKind::Deployment, "order").key,
        bounds: Bounds { min, max },
        drive: None,
        keda: None,
        gitops_owner: None,
    }
}

pub(crate) fn put_scaler(snapshot: &mut Snapshot, scaler: Scaler) {
    let key = controller(ControllerKind::Deployment, "order").key;
    snapshot.scalers = Arc::new(BTreeMap::from([(key, scaler)]));
}

pub(crate) fn fresh_node(node: NodeRecord) -> FreshTarget {
    FreshTarget {
        uid: node.uid.clone(),
        resource_version: Name::from("9"),
        deleting: false,
        pod: None,
        controller: None,
        restarted_by: None,
        node: Some(node),
        autoscaler: None,
        marks: crate::ports::Marks::default(),
    }
}

/// A change of Deployment `shop/order`.
pub(crate) fn change(id: &str, parameters: Parameters) -> ActionRecord {
    ActionRecord { parameters, ..restart(id) }
}

/// Changes what workload `shop/order` permits.
pub(crate) fn permit(snapshot: &mut Snapshot, change: impl FnOnce(&mut Permits)) {
    let mut policy = workload("order");
    if let Some(known) = snapshot.workloads.get(&policy.key) {
        policy.target = known.target.clone();
    }
    change(&mut policy.permits);
    snapshot.commit(&ObjectChange::Workload(Change::Applied(Arc::new(policy))), at(0));
}

pub(crate) fn edit(field: Field, manager: &str, second: i64) -> FieldEdit {
    FieldEdit { field, manager: Name::from(manager), subresource: Name::from(""), at: Some(at(second)) }
}

pub(crate) fn hold(by: &str, until: i64) -> Hold {
    Hold { by: Name::from(by), until: Some(at(until)) }
}

pub(crate) fn node(name: &str) -> NodeRecord {
    NodeRecord {
        name: Name::from(name),
        uid: Uid::new(format!("uid-{name}")),
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

pub(crate) fn put_node(snapshot: &mut Snapshot, node: NodeRecord) {
    snapshot.commit(&ObjectChange::Node(Change::Applied(Arc::new(node))), at(0));
}

/// Like [`snapshot`], with `nodes` nodes from `node-0` on; Homeostat runs on the first.
pub(crate) fn cluster(nodes: usize) -> Snapshot {
    let mut snapshot = snapshot();
    for number in 0..nodes {
        put_node(&mut snapshot, node(&format!("node-{number}")));
    }
    let mut own = pod();
    own.key = ObjectKey::new("homeostat", "homeostat-0");
    own.uid = Uid::new("own");
    own.node = Some(Name::from("node-0"));
    put_pod(&mut snapshot, own);
    snapshot
}

/// An action of the platform tenant on a node.
pub(crate) fn node_action(id: &str, name: &str, parameters: Parameters) -> ActionRecord {
    ActionRecord {
        namespace: Name::from("homeostat"),
        tenant: TenantName::new(PLATFORM_TENANT),
        workload: ObjectKey::new("homeostat", name),
        target: Snapshot::node_target(&node(name)),
        parameters,
        before: Before { cordoned: Some(false), ..Before::default() },
        ..record(id)
    }
}

/// Job or `CronJob` `shop/order`.
pub(crate) fn run(kind: ControllerKind) -> ControllerRecord {
    controller(kind, "order")
}

/// Like [`snapshot`], but workload `shop/order` runs to completion.
pub(crate) fn runs(kind: ControllerKind, repeatable: bool) -> Snapshot {
    let mut snapshot = snapshot();
    let mut policy = workload("order");
    policy.target = run(kind).key;
    policy.permits.repeatable = repeatable;
    snapshot.commit(&ObjectChange::Workload(Change::Applied(Arc::new(policy))), at(0));
    put_controller(&mut snapshot, run(kind));
    snapshot
}

/// A change of Job or `CronJob` `shop/order`.
pub(crate) fn run_action(id: &str, kind: ControllerKind, parameters: Parameters) -> ActionRecord {
    ActionRecord {
        target: Snapshot::controller_target(&run(kind)).expect("a kind of its own"),
        parameters,
        before: Before { suspended: Some(false), ..Before::default() },
        ..record(id)
    }
}
