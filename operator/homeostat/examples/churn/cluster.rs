//! What there is in the cluster, and how the watches tell of it: objects are texts as the API server writes them, and become
//! records as in the watches.

use crate::noise::Noise;
use crate::objects::{self, Counts, Meta, PodState, Release, Stage};
use homeostat_cluster::projection::Projector;
use homeostat_knowledge::observation::{Change, ObjectChange, ObjectKind};
use homeostat_knowledge::policy::KillSwitch;
use homeostat_knowledge::records::ControllerKey;
use homeostat_knowledge::{
    ActionKind, ControlPolicy, ControllerKind, Entity, Level, Name, ObjectKey, Observation, Signal,
    TenantName, TenantPolicy, Timestamp, Uid, WorkloadPolicy,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A Monday at midnight.
pub const START: i64 = 1_767_571_200;
const WORKLOADS_PER_TEAM: usize = 50;
/// Pods of a workload at the start.
const PODS: usize = 3;
/// The release at the start; of the one before it there is a `ReplicaSet` still.
const FIRST: u32 = 2;

/// A pod.
#[derive(Clone, Copy, Debug)]
pub struct Pod {
    pub number: u64,
    pub release: u32,
    pub stage: Stage,
    pub node: Option<usize>,
    pub made: i64,
    pub started: Option<i64>,
    pub ending: Option<i64>,
}

/// A Deployment with its pods.
#[derive(Clone, Debug)]
pub struct Workload {
    pub release: u32,
    pub generation: i64,
    /// The generation that the controller has seen.
    pub seen: i64,
    pub wanted: usize,
    /// The oldest first.
    pub pods: Vec<Pod>,
    /// Something is under way.
    pub busy: bool,
}

impl Workload {
    /// Pods that are there and do not end, and those of them that are ready; of one release, or of all.
    fn count(&self, release: Option<u32>) -> (usize, usize) {
        let of = |pod: &Pod| pod.stage < Stage::Ending && release.is_none_or(|one| pod.release == one);
        let there = self.pods.iter().filter(|pod| of(pod)).count();
        let ready = self.pods.iter().filter(|pod| of(pod) && pod.stage == Stage::Ready).count();
        (there, ready)
    }
}

/// All of it.
#[derive(Debug, Default)]
pub struct Cluster {
    projector: Projector,
    version: u64,
    pods_made: u64,
    /// Whether each node is closed.
    pub nodes: Vec<bool>,
    pub workloads: Vec<Workload>,
}

/// A time of the simulation.
pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time of this century")
}

fn text(second: i64) -> String {
    at(second).to_string()
}

fn team(index: usize) -> String {
    format!("team-{:03}", index / WORKLOADS_PER_TEAM)
}

/// The name of a workload.
pub fn app(index: usize) -> String {
    format!("w{index:05}")
}

/// In no order, as real ones are.
fn uid(kind: u64, number: u64) -> String {
    let drawn = Noise::new(number + (kind << 40)).bits();
    let (first, last) = (drawn >> 32, drawn & 0xfff);
    format!("{first:08x}-{kind:04x}-4000-8{last:03x}-{number:012x}")
}

/// One number for a release of a workload.
fn numbered(index: usize, release: u32) -> u64 {
    ((index as u64) << 16) + u64::from(release)
}

fn release(index: usize, number: u32) -> Release {
    let hash = Noise::new(numbered(index, number)).bits() & 0xff_ffff_ffff;
    Release { app: app(index), hash: format!("{hash:010x}"), number }
}

fn told(second: i64, change: ObjectChange) -> Observation {
    let now = at(second);
    let (tenant, entity, signal) = (None, Entity::Cluster, Signal::Object(change));
    Observation { tenant, entity, event_time: now, arrival_time: now, signal }
}

impl Cluster {
    /// So many workloads and nodes, and what the first lists tell of them.
    pub fn new(workloads: usize, nodes: usize, noise: &mut Noise) -> (Self, Vec<Observation>) {
        let mut cluster = Self { version: 100_000_000, nodes: vec![false; nodes], ..Self::default() };
        let control = ControlPolicy { kill_switch: KillSwitch::Off, ..ControlPolicy::default() };
        let mut all = vec![told(START, ObjectChange::Control(Some(Arc::new(control))))];
        let teams: BTreeSet<String> = (0..workloads).map(team).collect();
        for team in &teams {
            all.push(told(START, ObjectChange::Tenant(Change::Applied(Arc::new(tenant(team))))));
        }
        for node in 0..nodes {
            all.push(cluster.node(node, START));
        }
        for index in 0..workloads {
            let pods = [(); PODS].map(|()| Pod {
                number: cluster.new_pod(),
                release: FIRST,
                stage: Stage::Ready,
                node: Some((noise.bits() % nodes as u64) as usize),
                made: START - 3_600,
                started: Some(START - 3_595),
                ending: None,
            });
            cluster.workloads.push(Workload {
                release: FIRST,
                generation: 1,
                seen: 1,
                wanted: PODS,
                pods: pods.to_vec(),
                busy: false,
            });
            all.push(cluster.deployment(index, START));
            all.push(cluster.set(index, FIRST - 1, START));
            all.push(cluster.set(index, FIRST, START));
            for pod in &pods {
                all.push(cluster.pod(index, pod, START));
            }
            all.push(told(START, ObjectChange::Workload(Change::Applied(Arc::new(policy(index))))));
        }
        all.extend(ObjectKind::REQUIRED.map(|kind| told(START, ObjectChange::Synced(kind))));
        (cluster, all)
    }

    /// The number of a pod that is made next.
    pub fn new_pod(&mut self) -> u64 {
        self.pods_made += 1;
        self.pods_made
    }

    /// Pods that there are.
    pub fn pods(&self) -> usize {
        self.workloads.iter().map(|workload| workload.pods.len()).sum()
    }

    /// What every object has; each change has a version of its own.
    fn meta(&mut self, namespace: String, name: String, uid: String, made: i64) -> Meta {
        self.version += 1;
        Meta { namespace, name, uid, version: self.version, made: text(made) }
    }

    fn deployment_meta(&mut self, index: usize) -> Meta {
        self.meta(team(index), app(index), uid(2, index as u64), START - 86_400)
    }

    fn set_meta(&mut self, index: usize, number: u32) -> Meta {
        let Release { app, hash, .. } = release(index, number);
        self.meta(team(index), format!("{app}-{hash}"), uid(3, numbered(index, number)), START - 86_400)
    }

    /// A node as it is.
    pub fn node(&mut self, node: usize, second: i64) -> Observation {
        let meta = self.meta(String::new(), format!("node-{node:03}"), uid(1, node as u64), START - 86_400);
        let zone = format!("zone-{}", node % 3);
        let text = objects::node(&meta, &zone, self.nodes[node], &text(second));
        let record = self.projector.node(&text).expect("a node");
        told(second, ObjectChange::Node(Change::Applied(Arc::new(record))))
    }

    /// A Deployment as it is.
    pub fn deployment(&mut self, index: usize, second: i64) -> Observation {
        let meta = self.deployment_meta(index);
        let workload = &self.workloads[index];
        let ((there, ready), (newest, _)) = (workload.count(None), workload.count(Some(workload.release)));
        let counts = Counts { wanted: workload.wanted, there, ready, newest };
        let release = release(index, workload.release);
        let text = objects::deployment(&meta, &release, counts, workload.generation, workload.seen);
        let record = self.projector.deployment(&text).expect("a Deployment");
        told(second, ObjectChange::Controller(Change::Applied(Arc::new(record))))
    }

    /// The `ReplicaSet` of a release as it is.
    pub fn set(&mut self, index: usize, number: u32, second: i64) -> Observation {
        let (of, meta) = (self.deployment_meta(index), self.set_meta(index, number));
        let (there, ready) = self.workloads[index].count(Some(number));
        let counts = Counts { wanted: there, there, ready, newest: there };
        let text = objects::replica_set(&meta, &of, &release(index, number), counts);
        let record = self.projector.replica_set(&text).expect("a ReplicaSet");
        told(second, ObjectChange::Controller(Change::Applied(Arc::new(record))))
    }

    /// The `ReplicaSet` of a release is gone.
    pub fn forgotten(&mut self, index: usize, number: u32, second: i64) -> Observation {
        let object = ObjectKey::new(team(index), self.set_meta(index, number).name);
        let key = ControllerKey { kind: ControllerKind::ReplicaSet, object };
        told(second, ObjectChange::Controller(Change::Deleted(key)))
    }

    /// A pod as it is.
    pub fn pod(&mut self, index: usize, pod: &Pod, second: i64) -> Observation {
        let of = self.set_meta(index, pod.release);
        let (number, release) = (pod.number, release(index, pod.release));
        let name = format!("{}-{}-{number:06x}", release.app, release.hash);
        if pod.stage == Stage::Gone {
            let key = ObjectKey::new(team(index), name);
            return told(second, ObjectChange::Pod(Change::Deleted(key)));
        }
        let meta = self.meta(team(index), name, uid(4, number), pod.made);
        let state = PodState {
            stage: pod.stage,
            node: pod.node.map(|node| format!("node-{node:03}")),
            address: format!("10.{}.{}.{}", (number >> 16) & 0xff, (number >> 8) & 0xff, number & 0xff),
            started: pod.started.map(text),
            ending: pod.ending.map(text),
        };
        let text = objects::pod(&meta, &of, &release, &state);
        let record = self.projector.pod(&text).expect("a pod");
        told(second, ObjectChange::Pod(Change::Applied(Arc::new(record))))
    }
}

fn tenant(team: &str) -> TenantPolicy {
    let levels = [ActionKind::EvictPod, ActionKind::RollingRestart].map(|kind| (kind, Level::ActFull));
    TenantPolicy {
        levels: BTreeMap::from(levels),
        ..TenantPolicy::new(TenantName::new(team), Uid::new(format!("uid-{team}")), [Name::from(team)])
    }
}

fn policy(index: usize) -> WorkloadPolicy {
    let key = ObjectKey::new(team(index), app(index));
    let target = ControllerKey { kind: ControllerKind::Deployment, object: key.clone() };
    WorkloadPolicy {
        availability: Some(0.995),
        ..WorkloadPolicy::new(key, Uid::new(uid(5, index as u64)), target)
    }
}
