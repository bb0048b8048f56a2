//! Pods of runs that have less memory than was decided for their run get it in place, while they run.
//!
//! A Job keeps the size that it was made with where the API server does not let it be changed, and may begin long after it
//! was made. Its pods can be changed all the same (subresource `resize`, stable since Kubernetes 1.35). Upwards only; once
//! for each pod, and again only when more is decided; what the cluster does not take is not tried for a while. A kubelet
//! may refuse or put off what the API server took: then the next run has it.

use super::declared::{Asked, mebibytes};
use super::desk::Desk;
use super::orders::{actions_of, evidence, may_size, plan};
use super::seen::{Jobs, Seen};
use super::{again, declared};
use homeostat_knowledge::kubelet::ResizeStep;
use homeostat_knowledge::plan::{Draft, Expectation, Undo};
use homeostat_knowledge::runs::{OCCASION, occasion};
use homeostat_knowledge::{
    ActionId, ActionRecord, ActionState, Before, ContainerState, GuardName, GuardResult, IdSource, Name,
    Parameters, Plan, PodRecord, SignedDuration, Snapshot, Step, Timestamp, Uid, Verification, WorkloadKey,
};
use homeostat_scale::jobs::Size;
use homeostat_scale::jobs::kueue::Orderer;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// A limit that lacks no more than this part of itself (about 3 %) is not worth a write: sizes have a margin of 15 %.
const NEAR: u64 = 32;
/// Plans of one workload that may be without an answer at once: orders under way have a budget, and starts need it too.
const AT_ONCE: usize = 4;
/// A plan without an action so long after it was made was not carried out.
const ANSWERED: SignedDuration = SignedDuration::from_secs(2);
/// Times that one size of one pod is planned, where something that passes stops it.
const TRIES: u32 = 3;
/// A workload whose pods the cluster does not resize is left alone so long.
const LEFT_ALONE: SignedDuration = SignedDuration::from_hours(1);
/// The new size must be seen by then.
const SIZE_WITHIN: SignedDuration = SignedDuration::from_secs(30);

/// What was planned for one pod.
#[derive(Clone, Copy, Debug)]
struct Planned {
    bytes: u64,
    at: Timestamp,
    tries: u32,
}

/// What is known of pods that were to be resized.
#[derive(Debug, Default)]
pub struct InPlace {
    /// By UID of the pod, as long as it lives.
    planned: BTreeMap<Uid, Planned>,
    /// Workloads whose pods the cluster does not resize: until when they are left alone, and its words.
    refused: BTreeMap<WorkloadKey, (Timestamp, String)>,
    /// Workloads with pods whose size their kubelets put off: the first of them, and how many more.
    put_off: BTreeMap<WorkloadKey, (Name, usize)>,
}

impl InPlace {
    /// Plans for all pods that lack memory and may have it.
    pub fn plans(
        &mut self,
        acting: &BTreeMap<WorkloadKey, Asked>,
        (desk, jobs): (&Desk, &Jobs),
        snapshot: &Snapshot,
        now: Timestamp,
        ids: &mut dyn IdSource,
    ) -> Vec<Plan<Draft>> {
        self.refused.retain(|key, (until, _)| acting.contains_key(key) && now < *until);
        let mut lacking: BTreeMap<&WorkloadKey, Vec<(&Arc<PodRecord>, Larger)>> = BTreeMap::new();
        let mut living: BTreeMap<Uid, Planned> = BTreeMap::new();
        self.put_off.clear();
        for (key, uid, planned) in desk.running() {
            let (Some(asked), Some(seen)) = (acting.get(key), jobs.get(uid)) else { continue };
            let pods = jobs.pods(uid);
            let container = seen.record.work.as_ref().and_then(|work| work.container.as_ref());
            let (Some(container), false) = (container, pods.is_empty()) else { continue };
            for pod in pods {
                if let Some(known) = self.planned.get(&pod.uid) {
                    living.insert(pod.uid.clone(), *known);
                }
            }
            // What Kueue lets go it has counted with the size that it had.
            if matches!(asked.orderer, Orderer::Kueue { .. }) || !may_size(asked, snapshot) {
                continue;
            }
            for pod in pods {
                self.heard(key, pod, now);
            }
            let Some(decided) = decided(key, asked, desk, seen, planned) else { continue };
            let short = pods.iter().filter_map(|pod| Some((pod, larger(pod, container, decided)?)));
            lacking.entry(key).or_default().extend(short);
        }
        self.planned = living;
        let mut plans = Vec::new();
        for (key, pods) in lacking {
            let Some(asked) = acting.get(key) else { continue };
            plans.extend(self.of_workload(key, asked, pods, snapshot, now, ids));
        }
        plans
    }

    /// What people should know of a workload's pods, in words.
    pub fn said(&self, workload: &WorkloadKey) -> Option<String> {
        if let Some((until, words)) = self.refused.get(workload) {
            return Some(format!("its pods are not resized in place until {until:.0}: {words}"));
        }
        let (pod, more) = self.put_off.get(workload)?;
        let others = if *more == 0 { String::new() } else { format!(" and of {more} more") };
        Some(format!(
            "the kubelet puts off the new size of pod {pod}{others} (Deferred); the next run has it from its start"
        ))
    }

    /// Takes note of what its kubelet says of a pod's size. What one node cannot give, others may not give either.
    fn heard(&mut self, key: &WorkloadKey, pod: &PodRecord, now: Timestamp) {
        let Some(said) = &pod.resize else { return };
        match said.step {
            ResizeStep::Infeasible if !self.refused.contains_key(key) => {
                let until = now.checked_add(LEFT_ALONE).unwrap_or(Timestamp::MAX);
                let words = format!(
                    "the kubelet of pod {} {said}; the next run has the size from its start",
                    pod.key.name
                );
                self.refused.insert(key.clone(), (until, words));
            }
            ResizeStep::Deferred => {
                let first = || (pod.key.name.clone(), 0);
                self.put_off.entry(key.clone()).and_modify(|(_, more)| *more += 1).or_insert_with(first);
            }
            ResizeStep::Infeasible | ResizeStep::InProgress => {}
        }
    }

    fn of_workload(
        &mut self,
        key: &WorkloadKey,
        asked: &Asked,
        pods: Vec<(&Arc<PodRecord>, Larger)>,
        snapshot: &Snapshot,
        now: Timestamp,
        ids: &mut dyn IdSource,
    ) -> Vec<Plan<Draft>> {
        let mut plans = Vec::new();
        if self.refused.contains_key(key) || pods.is_empty() {
            return plans;
        }
        if let Some(refusal) = refusal(key, snapshot, now) {
            let until = refusal.evidence.taken_at.checked_add(LEFT_ALONE).unwrap_or(Timestamp::MAX);
            let words = format!("{} {}: {}", refusal.kind(), refusal.id, refusal.message);
            self.refused.insert(key.clone(), (until, words));
            return plans;
        }
        let mut free = Vec::new();
        let mut under_way = 0;
        for (pod, larger) in pods {
            let earlier: Vec<&ActionRecord> =
                actions_of(snapshot, &occasion(&Snapshot::pod_target(pod))).collect();
            match turn(self.planned.get(&pod.uid), larger.limit, &earlier, now) {
                Turn::Now(tries) => free.push((pod, larger, tries)),
                Turn::UnderWay => under_way += 1,
                Turn::Done => {}
            }
        }
        for (pod, larger, tries) in free.into_iter().take(AT_ONCE.saturating_sub(under_way)) {
            self.planned.insert(pod.uid.clone(), Planned { bytes: larger.limit, at: now, tries });
            let why = format!(
                "pod {} has {} MiB, and {} were decided for its run",
                pod.key.name,
                mebibytes(larger.present),
                mebibytes(larger.limit)
            );
            let step = Step {
                target: Snapshot::pod_target(pod),
                parameters: larger.parameters,
                before: larger.before,
                verification: Verification { within: SIZE_WITHIN, expect: Expectation::RolloutComplete },
                undo: Undo::None,
                evidence: evidence(ids, now, &why),
            };
            plans.push(plan(asked, key, step, snapshot, &why, ids));
        }
        plans
    }
}

/// Memory that each pod of a run should have, in bytes: what the run was planned with, or what one that begins now would
/// get where that is more by now. Within people's bounds; `None` without them.
fn decided(key: &WorkloadKey, asked: &Asked, desk: &Desk, seen: &Seen, planned: Size) -> Option<u64> {
    let bounds = asked.policy.permits.memory_bytes?;
    let pods = seen.record.work.as_ref().map_or(1, |work| u64::from(work.at_once().max(1)));
    let now = match desk.pod_of(key) {
        Some(pod) => pod.mebibytes,
        None => desk.expects(key)?.1.mebibytes / asked.pods.max(1),
    };
    let bytes = (planned.mebibytes / pods).max(now).saturating_mul(declared::MEBIBYTE);
    Some(bytes.clamp(bounds.min, bounds.max.max(bounds.min)))
}

/// What one pod gets.
#[derive(Clone, Debug, PartialEq)]
struct Larger {
    /// Limit of memory before and after, bytes.
    present: u64,
    limit: u64,
    parameters: Parameters,
    before: Before,
}

/// What a pod gets whose container has less memory than was decided, in bytes; `None` where it has it, or as good as, is
/// being given it, has no limit that could end it, or has ended. The request grows by as much as the limit, so that the class
/// of service stays.
fn larger(pod: &PodRecord, container: &Name, decided: u64) -> Option<Larger> {
    let found = pod.containers.iter().find(|found| found.name == *container)?;
    // What was asked for is not there yet: a request above the limit that holds shows it before the kubelet says so.
    if matches!(found.state, ContainerState::Terminated(_)) || pod.resize.is_some() {
        return None;
    }
    let (limit, request) = (found.memory.limit?, found.memory.request?);
    if request > limit || !exceeds(decided, limit) {
        return None;
    }
    let parameters = Parameters::ResizePod {
        container: container.clone(),
        cpu_millis: None,
        cpu_limit_millis: None,
        memory_bytes: Some(request.saturating_add(decided - limit)),
        memory_limit_bytes: Some(decided),
    };
    let before = Before { memory_bytes: Some(request), memory_limit_bytes: Some(limit), ..Before::default() };
    Some(Larger { present: limit, limit: decided, parameters, before })
}

/// Enough more to be worth a write. Sizes are decided in whole MiB.
fn exceeds(wanted: u64, present: u64) -> bool {
    wanted > present.saturating_add((present / NEAR).max(declared::MEBIBYTE))
}

/// Whether it is a pod's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// It is planned now, for this try.
    Now(u32),
    /// It was planned, and what became of it is not known yet.
    UnderWay,
    /// It was given that much, or tried often enough, or waits for its next try.
    Done,
}

/// Whether a pod that lacks memory is planned now to have `bytes`: `planned` is what was planned for it here, `earlier` the
/// actions that the ledger has of it. Pure.
fn turn(planned: Option<&Planned>, bytes: u64, earlier: &[&ActionRecord], now: Timestamp) -> Turn {
    if earlier.iter().any(|action| !action.state.ended()) {
        return Turn::UnderWay;
    }
    // It got that much, and lost it again: somebody else sizes it.
    if earlier.iter().any(|action| action.instants.sent.is_some() && !exceeds(bytes, limit_of(action))) {
        return Turn::Done;
    }
    match planned.filter(|known| !exceeds(bytes, known.bytes)) {
        None => Turn::Now(1),
        Some(known) if earlier.is_empty() && now.duration_since(known.at) < ANSWERED => Turn::UnderWay,
        Some(known) if known.tries < TRIES && now >= again(known.at, known.tries - 1) => {
            Turn::Now(known.tries + 1)
        }
        Some(_) => Turn::Done,
    }
}

/// The limit of memory that an action was to set, bytes.
fn limit_of(action: &ActionRecord) -> u64 {
    match action.parameters {
        Parameters::ResizePod { memory_bytes, memory_limit_bytes, .. } => {
            memory_limit_bytes.or(memory_bytes).unwrap_or(0)
        }
        _ => 0,
    }
}

/// The newest resize of a pod of a workload that the cluster did not take, not long ago.
fn refusal<'a>(key: &WorkloadKey, snapshot: &'a Snapshot, now: Timestamp) -> Option<&'a ActionRecord> {
    let first = ActionId::new(OCCASION);
    let orders = snapshot.actions.range((Bound::Included(first), Bound::Unbounded));
    orders
        .take_while(|(id, _)| id.as_str().starts_with(OCCASION))
        .map(|(_, record)| &**record)
        .filter(|record| record.workload == *key && refused_by_cluster(record))
        .filter(|record| now.duration_since(record.evidence.taken_at) < LEFT_ALONE)
        .max_by_key(|record| record.evidence.taken_at)
}

/// The API server does not take it: it cannot resize pods, or not this one, or Homeostat lacks the right. That the pod was
/// gone by then says nothing of others.
fn refused_by_cluster(action: &ActionRecord) -> bool {
    action.state == ActionState::Refused
        && &*action.target.kind == "Pod"
        && action.guards.last().is_some_and(|guard| {
            let gone = |text: &str| text.contains(&format!("{:?} not found", &*action.target.key.name));
            guard.name == GuardName::DryRun
                && guard.result == GuardResult::Refused
                && !gone(&guard.message)
                && !gone(&guard.observed)
        })
}

#[cfg(test)]
mod tests;
