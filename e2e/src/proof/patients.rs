//! Who is ill, and what helps: the stand-in for analysis and planner. It looks at the snapshot alone.

use homeostat_knowledge::forecast::occasion;
use homeostat_knowledge::policy::Bounds;
use homeostat_knowledge::records::{ControllerKey, JobEnd};
use homeostat_knowledge::{
    ActionKind, Before, ContainerState, ControllerKind, ControllerRecord, Entity, FindingKind, Name,
    Parameters, PodRecord, SignedDuration, Snapshot, Target, Timestamp, Uid, WorkloadKey,
};

use super::under_test::Patient;

/// What a held state is held for: longer than any run.
const HOLD: SignedDuration = SignedDuration::from_hours(1);
/// Replicas of a workload that has too few.
pub const FEW: i32 = 2;
/// Replicas of a workload that has too many.
pub const MANY: i32 = 5;
/// Thousandths of a core that a starved pod has, and needs.
pub const STARVED: u64 = 100;
/// See [`STARVED`].
pub const FED: u64 = 200;
/// Bounds of an autoscaler as people made it.
pub const PEOPLES: Bounds = Bounds { min: 2, max: 8 };
/// Bounds that a forecast asks for.
pub const FORESEEN: Bounds = Bounds { min: 4, max: 8 };
/// The one container of each pod.
pub const CONTAINER: &str = "app";

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// Name of the incident; follows from who is ill.
    pub incident: String,
    /// Who is ill.
    pub entity: Entity,
    /// In which way.
    pub finding: FindingKind,
    /// What is changed.
    pub target: Target,
    /// How.
    pub parameters: Parameters,
    /// As it was.
    pub before: Before,
}

/// Is this patient ill, and what helps?
pub fn look(patient: &Patient, snapshot: &Snapshot, now: Timestamp) -> Option<Chosen> {
    let workload = &patient.workload;
    match patient.action {
        ActionKind::EvictPod => evict(snapshot, workload),
        ActionKind::ResizePod => resize(snapshot, workload),
        ActionKind::RollingRestart => restart(snapshot, workload),
        ActionKind::RollBack => roll_back(snapshot, workload),
        ActionKind::ScaleUp => {
            let found = snapshot.controller_of(workload).filter(|found| found.replicas == FEW)?;
            let parameters = Parameters::ScaleUp { replicas: FEW + 1 };
            of_controller(workload, found, FindingKind::Slow, parameters, "up")
        }
        ActionKind::ScaleDown => {
            let found = snapshot.controller_of(workload).filter(|found| found.replicas == MANY)?;
            let parameters = Parameters::ScaleDown { replicas: MANY - 1 };
            of_controller(workload, found, FindingKind::SignalAbnormal, parameters, "down")
        }
        ActionKind::Suspend => {
            let found = snapshot.controller_of(workload).filter(|found| !found.paused)?;
            let parameters = Parameters::Suspend { until: now + HOLD };
            of_controller(workload, found, FindingKind::Slow, parameters, "suspend")
        }
        ActionKind::Resume => {
            let held = |found: &&std::sync::Arc<ControllerRecord>| found.paused && found.hold.is_some();
            let found = snapshot.controller_of(workload).filter(held)?;
            of_controller(workload, found, FindingKind::SignalAbnormal, Parameters::Resume, "resume")
        }
        ActionKind::RetryJob => retry(snapshot, workload),
        ActionKind::Cordon | ActionKind::Uncordon => node(patient, snapshot, now),
        ActionKind::DriveBounds => drive(snapshot, workload, now),
        ActionKind::Drain | ActionKind::Notify | ActionKind::StartJob | ActionKind::CreateJob => None,
    }
}

/// The pod's process ended and the kubelet waits.
pub fn sick(pod: &PodRecord) -> bool {
    let waits = |state: &ContainerState| matches!(state, ContainerState::Waiting { reason } if &**reason == "CrashLoopBackOff");
    !pod.deleting && pod.containers.iter().any(|container| waits(&container.state))
}

/// The first part of a UID: enough to tell one workload's objects apart.
fn short(uid: &Uid) -> String {
    uid.as_str().chars().take(8).collect()
}

fn sick_pod<'a>(snapshot: &'a Snapshot, workload: &'a WorkloadKey) -> Option<&'a PodRecord> {
    snapshot.pods_of(workload).map(|pod| &**pod).find(|pod| sick(pod))
}

fn evict(snapshot: &Snapshot, workload: &WorkloadKey) -> Option<Chosen> {
    let pod = sick_pod(snapshot, workload)?;
    Some(Chosen {
        incident: format!("{}-{}", workload.name, short(&pod.uid)),
        entity: snapshot.entity_of(pod),
        finding: FindingKind::BackingOff,
        target: Snapshot::pod_target(pod),
        parameters: Parameters::EvictPod { grace_seconds: None },
        before: Before { restarts: Some(pod.restarts()), ..Before::default() },
    })
}

fn resize(snapshot: &Snapshot, workload: &WorkloadKey) -> Option<Chosen> {
    let pod = sick_pod(snapshot, workload)?;
    Some(Chosen {
        incident: format!("{}-{}", workload.name, short(&pod.uid)),
        entity: snapshot.entity_of(pod),
        finding: FindingKind::Slow,
        target: Snapshot::pod_target(pod),
        parameters: Parameters::ResizePod {
            container: Name::from(CONTAINER),
            cpu_millis: Some(FED),
            cpu_limit_millis: None,
            memory_bytes: None,
            memory_limit_bytes: None,
        },
        before: Before { cpu_millis: Some(STARVED), ..Before::default() },
    })
}

/// All processes are tired at once, and no rollout has begun.
fn restart(snapshot: &Snapshot, workload: &WorkloadKey) -> Option<Chosen> {
    let found = snapshot.controller_of(workload)?;
    let mut pods = snapshot.pods_of(workload).filter(|pod| !pod.deleting).peekable();
    pods.peek()?;
    if found.rolling_out() || !pods.all(|pod| sick(pod)) {
        return None;
    }
    let revision = found.revision.as_deref().unwrap_or_default();
    let what = format!("restart-{revision}");
    of_controller(workload, found, FindingKind::ErrorBurst, Parameters::RollingRestart, &what)
}

/// A pod of the newest release is sick, and there is one before it.
fn roll_back(snapshot: &Snapshot, workload: &WorkloadKey) -> Option<Chosen> {
    sick_pod(snapshot, workload)?;
    let found = snapshot.controller_of(workload)?;
    let number = |record: &ControllerRecord| record.revision.as_ref()?.parse::<u32>().ok();
    let present = number(found)?;
    let older = snapshot.controllers.values().filter(|set| {
        set.key.kind == ControllerKind::ReplicaSet
            && set.owner.as_ref().is_some_and(|owner| owner.uid == found.uid)
            && number(set).is_some_and(|number| number < present)
    });
    let revision = older.max_by_key(|set| number(set)).map(|set| set.key.object.name.clone())?;
    let what = format!("back-{present}");
    of_controller(workload, found, FindingKind::ErrorBurst, Parameters::RollBack { revision }, &what)
}

/// The newest run failed, and no run repeats it.
fn retry(snapshot: &Snapshot, workload: &WorkloadKey) -> Option<Chosen> {
    let cron = snapshot.controller_of(workload)?;
    let of_cron = |job: &&std::sync::Arc<ControllerRecord>| {
        job.key.kind == ControllerKind::Job && job.owner.as_ref().is_some_and(|owner| owner.uid == cron.uid)
    };
    let failed = snapshot.controllers.values().filter(of_cron);
    let mut steps = failed.filter(|job| job.finished == Some(JobEnd::Failed)).filter_map(|job| {
        let target = Snapshot::controller_target(job)?;
        let mut object = target.key.clone();
        object.name = homeostat_execute::actions::retry_name(&target);
        let again = ControllerKey { kind: ControllerKind::Job, object };
        (!snapshot.controllers.contains_key(&again)).then_some(job)
    });
    let job = steps.next()?;
    of_controller(workload, job, FindingKind::JobFailed, Parameters::RetryJob, "retry")
}

/// More load is foreseen than the floor of the autoscaler is for.
fn drive(snapshot: &Snapshot, workload: &WorkloadKey, now: Timestamp) -> Option<Chosen> {
    let found = snapshot.autoscaler_of(snapshot.workloads.get(workload)?)?;
    if found.bounds.min >= FORESEEN.min {
        return None;
    }
    Some(Chosen {
        incident: occasion(workload).as_str().to_owned(),
        entity: Entity::Workload { key: workload.clone() },
        finding: FindingKind::Slow,
        target: Snapshot::autoscaler_target(found),
        parameters: Parameters::DriveBounds { bounds: FORESEEN, until: now + HOLD },
        before: Before {
            replicas: snapshot.controller_of(workload).map(|controller| controller.replicas),
            bounds: Some(found.bounds),
            ..Before::default()
        },
    })
}

fn of_controller(
    workload: &WorkloadKey,
    found: &ControllerRecord,
    finding: FindingKind,
    parameters: Parameters,
    what: &str,
) -> Option<Chosen> {
    Some(Chosen {
        incident: format!("{}-{}-{what}", workload.name, short(&found.uid)),
        entity: Entity::Workload { key: workload.clone() },
        finding,
        target: Snapshot::controller_target(found)?,
        parameters,
        before: Before {
            replicas: Some(found.replicas),
            ready: Some(found.ready),
            revision: found.revision.clone(),
            suspended: Some(found.paused),
            ..Before::default()
        },
    })
}

/// A node under pressure takes new pods; or a node that we closed is needed again.
fn node(patient: &Patient, snapshot: &Snapshot, now: Timestamp) -> Option<Chosen> {
    let name = Name::from(patient.node.as_deref()?);
    let node = snapshot.nodes.get(&name)?;
    let (finding, parameters) = if patient.action == ActionKind::Cordon {
        if node.pressures.is_empty() || node.cordoned {
            return None;
        }
        (FindingKind::NodePressure, Parameters::Cordon { until: now + HOLD })
    } else {
        if !node.cordoned || node.hold.is_none() {
            return None;
        }
        (FindingKind::SignalAbnormal, Parameters::Uncordon)
    };
    Some(Chosen {
        incident: format!("{name}-{}", patient.episode),
        entity: Entity::Node { name },
        finding,
        target: Snapshot::node_target(node),
        parameters,
        before: Before { cordoned: Some(node.cordoned), ..Before::default() },
    })
}
