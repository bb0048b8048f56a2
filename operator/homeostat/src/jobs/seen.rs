//! How each Job is, read off the watched objects.

use super::declared::{Asked, size};
use homeostat_knowledge::kubelet::OUT_OF_MEMORY;
use homeostat_knowledge::records::{ControllerKey, JobEnd, PodPhase};
use homeostat_knowledge::{
    ContainerState, ControllerKind, ControllerRecord, Name, ObjectKey, PodRecord, SignedDuration, Snapshot,
    Timestamp, Uid, WorkloadKey,
};
use homeostat_scale::jobs::{Outcome, Size, Usage};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// Where a Job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Suspended, and never let go.
    Waiting,
    /// Let go, and not over.
    Running,
    /// Over.
    Ended(Outcome),
}

/// One Job.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Whose.
    pub workload: WorkloadKey,
    /// As it is watched.
    pub record: Arc<ControllerRecord>,
    /// Moment that it was made for.
    pub slot: Timestamp,
    /// Where it stands.
    pub phase: Phase,
    /// What its pods ask for together, as it is written; more where those that live were resized.
    pub size: Size,
    /// The failed Job that it repeats.
    pub retry_of: Option<Uid>,
    /// Time that its program ran, and what it used; once it is over.
    pub ran: SignedDuration,
    /// See `ran`.
    pub usage: Usage,
    /// What its pods say of their end has arrived.
    pub told: bool,
}

/// All Jobs of the workloads that are asked for, by UID.
#[derive(Debug, Default)]
pub struct Jobs {
    by_uid: BTreeMap<Uid, Seen>,
    /// Pods of Jobs that run which have not ended, by UID of the Job, in name order.
    pods: BTreeMap<Uid, Vec<Arc<PodRecord>>>,
}

impl Jobs {
    /// Reads them off the snapshot.
    pub fn of(snapshot: &Snapshot, asked: &BTreeMap<WorkloadKey, Asked>) -> Self {
        let first = ControllerKey { kind: ControllerKind::Job, object: ObjectKey::new("", "") };
        let jobs = snapshot.controllers.range((Bound::Included(first), Bound::Unbounded));
        let jobs = jobs.take_while(|(key, _)| key.kind == ControllerKind::Job);
        let mut by_uid = BTreeMap::new();
        for (key, record) in jobs {
            let above = record.owner.as_ref().map(|owner| ControllerKey {
                kind: owner.kind,
                object: ObjectKey { namespace: key.object.namespace.clone(), name: owner.name.clone() },
            });
            let of = |target: &ControllerKey| snapshot.workload_by_target(target);
            let Some(workload) = of(key).or_else(|| of(above.as_ref()?)) else { continue };
            if !asked.contains_key(workload) {
                continue;
            }
            if let Some(seen) = look(snapshot, workload, record) {
                by_uid.insert(record.uid.clone(), seen);
            }
        }
        let pods = living(snapshot, &by_uid);
        for (uid, pods) in &pods {
            if let Some(seen) = by_uid.get_mut(uid) {
                let asks = |pod: &Arc<PodRecord>| -> u64 {
                    let requests = pod.containers.iter().filter_map(|container| container.memory.request);
                    requests.fold(0, |sum, bytes| sum.saturating_add(super::declared::mebibytes(bytes)))
                };
                let together = pods.iter().map(asks).fold(0, u64::saturating_add);
                seen.size.mebibytes = seen.size.mebibytes.max(together);
            }
        }
        Self { by_uid, pods }
    }

    /// Pods of a Job that runs which have not ended.
    pub fn pods(&self, uid: &Uid) -> &[Arc<PodRecord>] {
        self.pods.get(uid).map_or(&[], Vec::as_slice)
    }

    /// The Job of that UID.
    pub fn get(&self, uid: &Uid) -> Option<&Seen> {
        self.by_uid.get(uid)
    }

    /// Whether there is one of that UID.
    pub fn contains(&self, uid: &Uid) -> bool {
        self.by_uid.contains_key(uid)
    }

    /// Whether a workload has a Job of that slot.
    pub fn has(&self, workload: &WorkloadKey, slot: Timestamp) -> bool {
        self.by_uid.values().any(|seen| seen.slot == slot && seen.workload == *workload)
    }

    /// Whether a failed Job was repeated.
    pub fn repeated(&self, uid: &Uid) -> bool {
        self.by_uid.values().any(|seen| seen.retry_of.as_ref() == Some(uid))
    }

    /// Which try of its run it is, from 1, by those before it that are still there.
    pub fn tries(&self, uid: &Uid) -> u32 {
        let before = |uid: &Uid| self.by_uid.get(uid).and_then(|seen| seen.retry_of.clone());
        let tries = std::iter::successors(before(uid), before).take(self.by_uid.len()).count();
        u32::try_from(tries).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Seen> {
        self.by_uid.values()
    }

    /// All of them, by UID.
    pub fn by_uid(&self) -> impl Iterator<Item = (&Uid, &Seen)> {
        self.by_uid.iter()
    }

    /// All of them, oldest slot first.
    pub fn in_order(&self) -> Vec<(&Uid, &Seen)> {
        let mut all: Vec<(&Uid, &Seen)> = self.by_uid.iter().collect();
        all.sort_by(|(uid, one), (other_uid, other)| {
            (one.slot, &one.workload, one.retry_of.is_some(), uid).cmp(&(
                other.slot,
                &other.workload,
                other.retry_of.is_some(),
                other_uid,
            ))
        });
        all
    }
}

/// Pods that have not ended, of Jobs that run.
fn living(snapshot: &Snapshot, jobs: &BTreeMap<Uid, Seen>) -> BTreeMap<Uid, Vec<Arc<PodRecord>>> {
    let mut pods: BTreeMap<Uid, Vec<Arc<PodRecord>>> = BTreeMap::new();
    if jobs.values().all(|seen| seen.phase != Phase::Running) {
        return pods;
    }
    let lives = |pod: &PodRecord| !pod.deleting && matches!(pod.phase, PodPhase::Pending | PodPhase::Running);
    for pod in snapshot.pods.values().filter(|pod| lives(pod)) {
        let Some(owner) = pod.owner.as_ref().filter(|owner| owner.kind == ControllerKind::Job) else {
            continue;
        };
        if jobs.get(&owner.uid).is_some_and(|seen| seen.phase == Phase::Running) {
            pods.entry(owner.uid.clone()).or_default().push(Arc::clone(pod));
        }
    }
    pods
}

/// `None` for a Job that was let go and suspended since: that is a person's.
fn look(snapshot: &Snapshot, workload: &WorkloadKey, record: &Arc<ControllerRecord>) -> Option<Seen> {
    let work = record.work.as_ref()?;
    let mut seen = Seen {
        workload: workload.clone(),
        slot: work.slot.unwrap_or(Timestamp::UNIX_EPOCH),
        phase: Phase::Running,
        size: size(work.requests, u64::from(work.at_once())),
        retry_of: work.retry_of.clone(),
        ran: SignedDuration::ZERO,
        usage: Usage::default(),
        told: false,
        record: Arc::clone(record),
    };
    seen.phase = match record.finished {
        None if record.paused && work.started_by.is_some() => return None,
        None if record.paused => Phase::Waiting,
        None => Phase::Running,
        Some(end) => {
            let killed = ends(snapshot, &mut seen, &record.key.object);
            match end {
                JobEnd::Complete => Phase::Ended(Outcome::Succeeded),
                JobEnd::Failed if killed => Phase::Ended(Outcome::OutOfMemory),
                JobEnd::Failed => Phase::Ended(Outcome::Failed),
            }
        }
    };
    Some(seen)
}

/// Reads how its pods ended into `seen`; `true` when the last of them was killed for memory.
fn ends(snapshot: &Snapshot, seen: &mut Seen, job: &ObjectKey) -> bool {
    let mut killed = false;
    let (mut cpu, mut memory): (Option<u64>, Option<u64>) = (None, None);
    let of_job = |name: &Name, uid: &Uid| *name == job.name && *uid == seen.record.uid;
    let pods = snapshot
        .pods_in(&job.namespace)
        .filter(|pod| pod.owner.as_ref().is_some_and(|owner| of_job(&owner.name, &owner.uid)));
    let mut ran = SignedDuration::ZERO;
    let mut told = false;
    for (end, limit) in pods.flat_map(|pod| &pod.containers).filter_map(|container| match &container.state {
        ContainerState::Terminated(end) => Some((end, container.memory.limit)),
        _ => None,
    }) {
        told = true;
        if &*end.reason == OUT_OF_MEMORY {
            killed = true;
            // It had that much, whatever it asked for.
            memory = memory.max(limit);
        }
        cpu = cpu.max(end.used.cpu_millis);
        memory = memory.max(end.used.memory_bytes);
        if let (Some(started), Some(finished)) = (end.started, end.finished) {
            ran = ran.max(finished.duration_since(started));
        }
    }
    let run = &seen.record.run;
    if let (true, Some(started), Some(completed)) = (ran.is_zero(), run.started, run.completed) {
        ran = completed.duration_since(started);
    }
    let pods = seen.record.work.as_ref().map_or(1, |work| u64::from(work.at_once()));
    seen.told = told;
    seen.ran = ran.max(SignedDuration::from_millis(500)); // Kubernetes' times have a resolution of one second.
    seen.usage = Usage {
        millicores: cpu.map(|cpu| cpu.saturating_mul(pods)),
        mebibytes: memory.map(|memory| super::declared::mebibytes(memory).saturating_mul(pods)),
    };
    killed
}
