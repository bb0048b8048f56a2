//! What Workloads ask for their runs.

use super::seen::Jobs;
use super::slots::zone;
use homeostat_knowledge::policy::{Prices, ScalingMode};
use homeostat_knowledge::records::{Amounts, ControllerKey, PodPhase, Schedule, Work};
use homeostat_knowledge::{
    ControllerKind, ControllerRecord, Name, ObjectKey, PodRecord, SignedDuration, Snapshot, TenantName,
    Timestamp, Uid, WorkloadKey, WorkloadPolicy,
};
use homeostat_scale::jobs::kueue::{Found, Orderer, orderer};
use homeostat_scale::jobs::{Criticality, Job, Size};
use jiff::civil::Date;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

/// CPU of a pod that asks for none, in thousandths of a core.
const UNASKED: u64 = 500;
/// Bytes of one MiB.
pub(super) const MEBIBYTE: u64 = 1 << 20;

/// One workload's runs, as people want them.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// Whose.
    pub tenant: TenantName,
    /// What is done with them.
    pub mode: ScalingMode,
    /// A person paused automation for it.
    pub paused: bool,
    /// As the planner is told; its sizes are those of the first look, not what was learnt since.
    pub job: Job,
    /// A run may start so long after its slot, and has its place so long after it.
    pub window: SignedDuration,
    /// See `window`.
    pub place: SignedDuration,
    /// Pods of one run, as it is written.
    pub pods: u64,
    /// The template of its Jobs.
    pub work: Work,
    /// When its Jobs are made; `None` when they are made by hand, or not now.
    pub schedule: Option<Schedule>,
    /// Days, in the schedule's time zone, on which none is expected.
    pub exceptions: Vec<Date>,
    /// Who orders its runs.
    pub orderer: Orderer,
    /// Quota of its tenant, for runs and all other pods together.
    pub quota: Option<Size>,
    /// What capacity costs its tenant.
    pub prices: Option<Prices>,
    /// Workload whose run of the same slot it needs.
    pub needs: Option<WorkloadKey>,
    /// The policy behind it.
    pub policy: Arc<WorkloadPolicy>,
    /// Why its runs cannot be ordered.
    pub problem: Option<String>,
}

impl Asked {
    /// What one pod of a run asks for as it is written now; unknown memory counts as none.
    pub fn pod(&self) -> Size {
        size(self.work.requests, 1)
    }

    /// The same of all its pods.
    pub fn asks(&self) -> Size {
        size(self.work.requests, self.pods)
    }
}

/// Whole MiB, rounded up.
pub fn mebibytes(bytes: u64) -> u64 {
    bytes.div_ceil(MEBIBYTE)
}

/// What so many pods reserve; unknown memory counts as none.
pub fn size(requests: Amounts, pods: u64) -> Size {
    Size {
        millicores: requests.cpu_millis.unwrap_or(UNASKED).saturating_mul(pods),
        mebibytes: mebibytes(requests.memory_bytes.unwrap_or(0)).saturating_mul(pods),
    }
}

/// The queue of Kueue that the newest Job of each `CronJob` was in, by the UID of the `CronJob`: its Jobs may be cleared away
/// (`ttlSecondsAfterFinished`) before the next one is made.
#[derive(Debug, Default)]
pub struct Queues(BTreeMap<Uid, Name>);

/// Every workload whose runs are ordered, or would be; `queues` is what the look before knew, and knows what this one saw.
pub fn asked(snapshot: &Snapshot, queues: &mut Queues, now: Timestamp) -> BTreeMap<WorkloadKey, Asked> {
    let last = std::mem::take(queues);
    let mut all = BTreeMap::new();
    let mut names: BTreeSet<(TenantName, Name)> = BTreeSet::new();
    for (key, policy) in &snapshot.workloads {
        let Some(scaling) = &policy.permits.scaling else { continue };
        if !matches!(policy.target.kind, ControllerKind::Job | ControllerKind::CronJob) {
            continue;
        }
        let Some(tenant) = snapshot.tenant_of_namespace(&key.namespace) else { continue };
        let Some(found) = snapshot.controllers.get(&policy.target) else { continue };
        let work = *found.work.clone().unwrap_or_default();
        // Workloads of one name are one program, whoever's they are; two of one tenant must not share it.
        let name = if names.insert((tenant.name.clone(), key.name.clone())) {
            key.name.to_string()
        } else {
            format!("{}.{}", key.name, key.namespace)
        };
        let there = snapshot.kueue.as_ref();
        let label = work.queue.clone().or_else(|| queue_of_jobs(snapshot, found, &last, queues));
        let orderer = orderer(&Found {
            known: snapshot.kueue_known,
            installed: there.is_some(),
            queues: there
                .and_then(|queues| queues.get(&key.namespace))
                .map(|names| names.iter().map(ToString::to_string).collect())
                .unwrap_or_default(),
            label: label.as_ref().map(ToString::to_string),
        });
        // By a backlog each run is given its own number of pods; what is learnt is then of one pod.
        let rules = &policy.permits.runs;
        let by_backlog = rules.items.is_some() && matches!(orderer, Orderer::Homeostat { .. });
        // Only a backlog changes that number: without one its bounds say nothing of the Job as it is written.
        let pods = u64::from(work.at_once());
        let counted = if by_backlog { 1 } else { pods };
        let whole = size(work.requests, counted);
        let job = Job {
            tenant: tenant.name.0.to_string(),
            name,
            millicores: whole.millicores,
            mebibytes: work.requests.memory_bytes.map(|_| whole.mebibytes),
            due_after: policy.permits.runs.deadline,
            not_before: SignedDuration::ZERO,
            needs: None,
            criticality: match policy.criticality {
                ..=250 => Criticality::Low,
                251..=500 => Criticality::Normal,
                501..=750 => Criticality::High,
                _ => Criticality::Critical,
            },
            retries: if policy.permits.repeatable { 2 } else { 0 },
            pods: by_backlog.then(|| work.at_once()),
            // Without a limit in its template nothing is known of what keeps a run from more: it takes what it finds.
            most_millicores: work
                .cpu_limit
                .and(policy.permits.cpu_millis)
                .map(|bounds| bounds.max.saturating_mul(counted)),
            most_mebibytes: None,
            zone: work.schedule.as_ref().map(|schedule| zone(schedule).to_owned()),
        };
        all.insert(
            key.clone(),
            Asked {
                tenant: tenant.name.clone(),
                mode: scaling.mode,
                paused: policy.paused || policy.do_not_touch_until.is_some_and(|until| now < until),
                job,
                window: policy.permits.runs.window,
                place: SignedDuration::ZERO,
                pods,
                schedule: if found.paused { None } else { work.schedule.clone() },
                exceptions: scaling.exceptions.clone(),
                work,
                orderer,
                quota: tenant.quota.map(|quota| Size {
                    millicores: quota.cpu_millis.unwrap_or(u64::MAX),
                    mebibytes: quota.memory_bytes.map_or(u64::MAX, |bytes| bytes / MEBIBYTE),
                }),
                prices: tenant.prices.clone(),
                needs: None,
                policy: Arc::clone(policy),
                problem: None,
            },
        );
    }
    chain(&mut all);
    all
}

/// Queue of Kueue that the newest Job of a `CronJob` is in, as Kueue labels Jobs itself where the namespace has a default queue;
/// while there is no Job that of the last one.
fn queue_of_jobs(
    snapshot: &Snapshot,
    found: &ControllerRecord,
    last: &Queues,
    queues: &mut Queues,
) -> Option<Name> {
    let namespace = &found.key.object.namespace;
    let there = snapshot.kueue.as_ref().and_then(|queues| queues.get(namespace));
    if found.key.kind != ControllerKind::CronJob || there.is_none() {
        return None;
    }
    let first = ControllerKey { kind: ControllerKind::Job, object: ObjectKey::new(namespace.clone(), "") };
    let jobs = snapshot.controllers.range((Bound::Included(first), Bound::Unbounded));
    let newest = jobs
        .take_while(|(key, _)| key.kind == ControllerKind::Job && key.object.namespace == *namespace)
        .filter(|(_, job)| job.owner.as_ref().is_some_and(|owner| owner.uid == found.uid))
        .filter_map(|(_, job)| job.work.as_ref())
        .max_by_key(|work| work.slot);
    let queue = newest.map_or_else(|| last.0.get(&found.uid).cloned(), |work| work.queue.clone())?;
    queues.0.insert(found.uid.clone(), queue.clone());
    Some(queue)
}

/// Finds whose run each needs: the first workload among its dependencies whose runs are ordered too.
fn chain(all: &mut BTreeMap<WorkloadKey, Asked>) {
    let keys: BTreeSet<WorkloadKey> = all.keys().cloned().collect();
    for (key, asked) in all.iter_mut() {
        let named = |name: &Name| {
            let (name, namespace) = name.split_once('.').unwrap_or((&**name, &*key.namespace));
            keys.get(&WorkloadKey::new(namespace, name)).cloned()
        };
        let needs = asked.policy.dependencies.iter().find_map(named);
        asked.needs = needs.filter(|needs| needs != key);
    }
    // A ring would wait for itself for ever.
    let needs: BTreeMap<WorkloadKey, WorkloadKey> =
        all.iter().filter_map(|(key, asked)| Some((key.clone(), asked.needs.clone()?))).collect();
    for (key, asked) in all.iter_mut() {
        let mut at = key;
        for _ in 0..=needs.len() {
            let Some(next) = needs.get(at) else { break };
            at = next;
            if at == key {
                asked.needs = None;
                asked.problem = Some(format!(
                    "its runs need those of {}, which need its own; take one out of spec.dependencies",
                    needs[key]
                ));
                break;
            }
        }
    }
}

/// What all ordered runs together may reserve: what nodes that take pods have, without what other pods on them, or on none
/// yet, ask for. `None` while no node says what it has.
pub fn capacity(snapshot: &Snapshot, jobs: &Jobs) -> Option<Size> {
    let nodes = counted(snapshot);
    let mut all = nodes.values().copied().fold(Size::default(), Size::plus);
    if all == Size::default() {
        return None;
    }
    for pod in snapshot.pods.values() {
        let ordered = pod.owner.as_ref().is_some_and(|owner| jobs.contains(&owner.uid));
        if !ordered {
            all = all.minus(taken(pod, &nodes));
        }
    }
    Some(all)
}

/// Nodes that take pods, and what each of them has.
pub(super) fn counted(snapshot: &Snapshot) -> BTreeMap<&Name, Size> {
    let open = snapshot.nodes.values().filter(|node| node.ready && !node.closed());
    open.filter_map(|node| {
        let (cpu, memory) = (node.allocatable.cpu_millis?, node.allocatable.memory_bytes?);
        Some((&node.name, Size { millicores: cpu, mebibytes: memory / MEBIBYTE }))
    })
    .collect()
}

/// What a pod takes of those nodes: nothing once it has ended, on another node, or while it finds no node.
pub(super) fn taken(pod: &PodRecord, nodes: &BTreeMap<&Name, Size>) -> Size {
    let lives = matches!(pod.phase, PodPhase::Pending | PodPhase::Running | PodPhase::Unknown);
    let here = match &pod.node {
        Some(node) => nodes.contains_key(node),
        None => pod.unschedulable.is_none(),
    };
    let asks = pod.containers.iter().map(|container| Size {
        millicores: container.cpu_request.unwrap_or(0),
        mebibytes: mebibytes(container.memory.request.unwrap_or(0)),
    });
    asks.filter(|_| lives && here).fold(Size::default(), Size::plus)
}
