//! How each Job is, read off the watched objects.

use super::declared::{Asked, counted, size, taken};
use homeostat_knowledge::kubelet::OUT_OF_MEMORY;
use homeostat_knowledge::records::{Amounts, ControllerKey, JobEnd, PodPhase};
use homeostat_knowledge::{
    ContainerState, ControllerKind, ControllerRecord, Name, ObjectKey, PodRecord, SignedDuration, Snapshot,
    TenantName, Timestamp, Uid, WorkloadKey,
};
use homeostat_scale::jobs::kueue::Orderer;
use homeostat_scale::jobs::{Outcome, Size, Usage};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

/// A pod that follows another one begins so soon after its end; more than that between them is a pause, and no run time.
const BETWEEN: SignedDuration = SignedDuration::from_mins(1);

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
    /// Whose workload that is.
    pub tenant: TenantName,
    /// A queue of Kueue lets it go.
    pub left: bool,
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
    /// Failed ones of which there is a further try.
    repeated: BTreeSet<Uid>,
    /// Pods of Jobs that run which have not ended, by UID of the Job, in name order.
    pods: BTreeMap<Uid, Vec<Arc<PodRecord>>>,
    /// What pods of Jobs that run take of the nodes that are counted; of each Job that has a pod.
    taken: BTreeMap<Uid, Size>,
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
            let Some(asked) = asked.get(workload) else { continue };
            if let Some(seen) = look(snapshot, (workload, asked), record) {
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
        let repeated = by_uid.values().filter_map(|seen| seen.retry_of.clone()).collect();
        let taken = all_taken(snapshot, &by_uid);
        Self { by_uid, repeated, pods, taken }
    }

    /// Pods of a Job that runs which have not ended.
    pub fn pods(&self, uid: &Uid) -> &[Arc<PodRecord>] {
        self.pods.get(uid).map_or(&[], Vec::as_slice)
    }

    /// What a Job that runs takes of what there is for runs: what its pods ask for that have a node, or may find one. Of pods
    /// that are not seen yet, as it is written.
    pub fn takes(&self, uid: &Uid) -> Size {
        let of_pods = self.taken.get(uid).copied();
        let written = || self.by_uid.get(uid).filter(|seen| seen.record.current > 0).map(|seen| seen.size);
        of_pods.or_else(written).unwrap_or_default()
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
        self.repeated.contains(uid)
    }

    /// Which try of its run it is, from 1: as is noted on it, else by those before it that are still there.
    pub fn tries(&self, uid: &Uid) -> u32 {
        let (mut later, mut seen) = (0_u32, self.by_uid.get(uid));
        // No more than there are: those that say they repeat each other would go round for ever.
        for _ in 0..self.by_uid.len() {
            let Some(one) = seen else { break };
            if let Some(noted) = one.record.work.as_ref().and_then(|work| work.attempt) {
                return later.saturating_add(noted);
            }
            let Some(first) = &one.retry_of else { break };
            later = later.saturating_add(1);
            seen = self.by_uid.get(first);
        }
        later.saturating_add(1)
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

/// What pods take of the nodes that are counted, by UID of their Job, of Jobs that run.
fn all_taken(snapshot: &Snapshot, jobs: &BTreeMap<Uid, Seen>) -> BTreeMap<Uid, Size> {
    let mut all: BTreeMap<Uid, Size> = BTreeMap::new();
    if jobs.values().all(|seen| seen.phase != Phase::Running) {
        return all;
    }
    let nodes = counted(snapshot);
    let lives = |pod: &PodRecord| !matches!(pod.phase, PodPhase::Succeeded | PodPhase::Failed);
    for pod in snapshot.pods.values().filter(|pod| lives(pod)) {
        let Some(owner) = &pod.owner else { continue };
        if jobs.get(&owner.uid).is_some_and(|seen| seen.phase == Phase::Running) {
            let sum = all.entry(owner.uid.clone()).or_default();
            *sum = sum.plus(taken(pod, &nodes));
        }
    }
    all
}

/// `None` for a Job that was let go and suspended since: that is a person's.
fn look(
    snapshot: &Snapshot,
    (workload, asked): (&WorkloadKey, &Asked),
    record: &Arc<ControllerRecord>,
) -> Option<Seen> {
    let work = record.work.as_ref()?;
    let mut seen = Seen {
        workload: workload.clone(),
        tenant: asked.tenant.clone(),
        left: matches!(asked.orderer, Orderer::Kueue { .. }),
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
    let mut all_times: Vec<(Timestamp, Timestamp)> = Vec::new();
    let mut told = false;
    for pod in pods {
        let mut used = Amounts::default();
        let mut times: Option<(Timestamp, Timestamp)> = None;
        for container in &pod.containers {
            let ContainerState::Terminated(end) = &container.state else { continue };
            told = true;
            let mut peak = end.used.memory_bytes;
            if &*end.reason == OUT_OF_MEMORY {
                killed = true;
                // It had that much, whatever it asked for.
                peak = peak.max(container.memory.limit);
            }
            used.cpu_millis = together(used.cpu_millis, end.used.cpu_millis);
            used.memory_bytes = together(used.memory_bytes, peak);
            if let (Some(started), Some(finished)) = (end.started, end.finished) {
                let (first, last) = times.unwrap_or((started, finished));
                times = Some((first.min(started), last.max(finished)));
            }
        }
        all_times.extend(times);
        cpu = cpu.max(used.cpu_millis);
        memory = memory.max(used.memory_bytes);
    }
    let run = &seen.record.run;
    let written = || run.started.zip(run.completed).map(|(first, last)| last.duration_since(first));
    let ran = Some(together_in(all_times)).filter(SignedDuration::is_positive).or_else(written);
    let ran = ran.unwrap_or(SignedDuration::ZERO);
    let work = seen.record.work.as_ref();
    let pods = work.map_or(1, |work| u64::from(work.at_once()));
    let cpu_limit = work.and_then(|work| work.cpu_limit);
    seen.told = told;
    seen.ran = ran.max(SignedDuration::from_millis(500)); // Kubernetes' times have a resolution of one second.
    seen.usage = Usage {
        millicores: cpu.map(|cpu| cpu.saturating_mul(pods)),
        cpu_limit: cpu_limit.map(|limit| limit.saturating_mul(pods)),
        mebibytes: memory.map(|memory| super::declared::mebibytes(memory).saturating_mul(pods)),
    };
    killed
}

/// How long any of several pods ran, at once or one after the other; a pause between them does not count.
fn together_in(mut times: Vec<(Timestamp, Timestamp)>) -> SignedDuration {
    times.sort_unstable();
    let (mut sum, mut present) = (SignedDuration::ZERO, None::<(Timestamp, Timestamp)>);
    let lasts = |span: Option<(Timestamp, Timestamp)>| {
        span.map_or(SignedDuration::ZERO, |(first, last)| {
            last.duration_since(first).max(SignedDuration::ZERO)
        })
    };
    for (first, last) in times {
        present = match present {
            Some((begin, end)) if first.duration_since(end) <= BETWEEN => Some((begin, end.max(last))),
            before => {
                sum = sum.saturating_add(lasts(before));
                Some((first, last))
            }
        };
    }
    sum.saturating_add(lasts(present))
}

/// What containers of one pod use together, as far as it is known.
fn together(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.saturating_add(other)),
        (one, other) => one.or(other),
    }
}
