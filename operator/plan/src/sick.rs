//! Which pod is meant: the sick pod of the first-ranked cause, never another one.

use crate::case::{Case, Subject};
use crate::decision::{Stop, words};
use crate::kubelet;
use homeostat_knowledge::records::PodPhase;
use homeostat_knowledge::{ActionKind, Entity, FindingKind, ObjectKey, PodRecord, SignedDuration, Uid};
use std::sync::Arc;

/// Time after which an incident whose sick pod cannot be told goes to people.
const UNCLEAR: SignedDuration = SignedDuration::from_secs(30);

/// The pod to evict, or why there is none.
pub(crate) fn find<'a>(case: &Case<'a>, subject: &Subject<'a>) -> Result<&'a Arc<PodRecord>, Stop> {
    let pod = named_pod(case, subject)?;
    if let Some(action) = case.history.done_to(ActionKind::EvictPod, &pod.uid) {
        return Err(Stop::wait(format!(
            "{} was evicted already ({}); a pod is evicted once",
            pod.key, action.id
        )));
    }
    if shared(case, pod) {
        let pods = case.pods();
        let all = pods.iter().filter(|pod| !pod.deleting).count();
        let unready = pods.iter().filter(|pod| !pod.deleting && !pod.serving()).count();
        return Err(unclear(case, unready.max(1), all));
    }
    // Only where nothing names the sick pod could this be another one.
    if named(case).is_empty() && pod.serving() {
        let others = case.pods().into_iter().filter(|other| other.uid != pod.uid && !other.deleting);
        if others.count() > 0 {
            return Err(Stop::wait(format!("{} serves and others do not: it is not the sick one", pod.key)));
        }
    }
    Ok(pod)
}

/// None of several pods serves, or most of many do not, and they fail by themselves: what they have in common is the reason,
/// and one new pod would rule out nothing. Pods that were made a moment ago say nothing about readiness yet.
fn shared(case: &Case<'_>, pod: &PodRecord) -> bool {
    let kind = case.cause.kind;
    if matches!(kind, FindingKind::BackingOff | FindingKind::Crashed) {
        return alike(case) || mostly(case, |other| ended_by_itself(case, other).is_some());
    }
    let aside = |other: &PodRecord| {
        other.deleting
            || matches!(other.phase, PodPhase::Succeeded | PodPhase::Failed)
            || (kind == FindingKind::NotReady && kubelet::starting(other, case.now))
    };
    if !matches!(kind, FindingKind::NotReady | FindingKind::CrashLoop) || pod.serving() {
        return false;
    }
    if mostly(case, |other| !aside(other) && !other.serving()) {
        return true;
    }
    let pods = case.pods();
    let mut siblings = pods.iter().filter(|other| other.uid != pod.uid && !aside(other)).peekable();
    siblings.peek().is_some() && siblings.all(|other| !other.serving())
}

/// So many pods at least are more than one that is sick.
const SEVERAL: usize = 3;

/// At least three pods, and more than half of those that the workload should have, are as `out` says.
fn mostly(case: &Case<'_>, out: impl Fn(&PodRecord) -> bool) -> bool {
    let wanted =
        case.subject.as_ref().and_then(|subject| subject.controller).map_or(0, |found| found.replicas);
    let pods = case.pods();
    let out = pods.iter().filter(|pod| out(pod)).count();
    out >= SEVERAL && out * 2 > pods.len().max(usize::try_from(wanted).unwrap_or(0))
}

/// The exit code with which a pod that does not serve ended by itself.
fn ended_by_itself(case: &Case<'_>, pod: &PodRecord) -> Option<i32> {
    let ended = kubelet::own_exit(pod).or_else(|| kubelet::own_exit_before(pod, case.now));
    ended.filter(|_| !pod.serving() && !pod.deleting)
}

/// Every one of several pods ended by itself with the same exit code, and none serves again. Where they were killed,
/// from outside or at their memory limit, a new pod without the kubelet's back-off serves sooner and may well stay.
fn alike(case: &Case<'_>) -> bool {
    let pods = case.pods();
    let mut ends = pods
        .iter()
        .filter(|pod| !pod.deleting && !matches!(pod.phase, PodPhase::Succeeded | PodPhase::Failed))
        .map(|pod| ended_by_itself(case, pod));
    let Some(Some(first)) = ends.next() else { return false };
    let mut others = ends.peekable();
    others.peek().is_some() && others.all(|end| end == Some(first))
}

/// The pod that is meant, whatever is to be done to it; or why there is none.
pub(crate) fn named_pod<'a>(case: &Case<'a>, subject: &Subject<'a>) -> Result<&'a Arc<PodRecord>, Stop> {
    let named = named(case);
    let pod = match named.as_slice() {
        [] => of_workload(case, subject)?,
        [(key, uid)] => existing(case, key, uid).ok_or_else(|| {
            if case.pods().is_empty() {
                no_pod(case, subject)
            } else {
                Stop::wait(format!("{key} exists no more: its replacement is on the way"))
            }
        })?,
        several => worst(several.iter().filter_map(|(key, uid)| existing(case, key, uid)))
            .ok_or_else(|| Stop::wait("the sick pods exist no more: their replacements are on the way"))?,
    };
    if case.snapshot.workload_of(pod) != Some(subject.key) {
        return Err(Stop::hand_over(format!("{} does not belong to {}", pod.key, subject.key)));
    }
    if pod.deleting {
        return Err(Stop::wait(format!("{} is being replaced already", pod.key)));
    }
    if matches!(pod.phase, PodPhase::Succeeded | PodPhase::Failed) {
        return Err(Stop::wait(format!("{} has ended: its controller replaces it", pod.key)));
    }
    Ok(pod)
}

/// Pods that the cause, or the findings behind it, speak of.
fn named(case: &Case<'_>) -> Vec<(ObjectKey, Uid)> {
    let mut pods = Vec::new();
    let entities = std::iter::once(&case.cause.entity);
    for entity in entities.chain(case.supporting().map(|finding| &finding.entity)) {
        if let Entity::Pod { key, uid, .. } = entity
            && pods.iter().all(|(_, known)| known != uid)
        {
            pods.push((key.clone(), uid.clone()));
        }
    }
    pods
}

fn existing<'a>(case: &Case<'a>, key: &ObjectKey, uid: &Uid) -> Option<&'a Arc<PodRecord>> {
    case.snapshot.pods.get(key).filter(|pod| pod.uid == *uid)
}

/// Of several sick pods the one that the kubelet helps least; the first by name among equals.
fn worst<'a>(pods: impl Iterator<Item = &'a Arc<PodRecord>>) -> Option<&'a Arc<PodRecord>> {
    pods.min_by_key(|pod| {
        let down = kubelet::down(pod);
        let helped = match &down {
            Some(down) if down.backs_off => 0,
            Some(_) => 1,
            None => 2,
        };
        // Those that go already are taken care of.
        (pod.deleting, helped, pod.key.clone())
    })
}

/// The single pod of the workload, or its only unready one.
fn of_workload<'a>(case: &Case<'a>, subject: &Subject<'a>) -> Result<&'a Arc<PodRecord>, Stop> {
    let (leaving, staying): (Vec<_>, Vec<_>) = case
        .pods()
        .into_iter()
        .partition(|pod| pod.deleting || matches!(pod.phase, PodPhase::Succeeded | PodPhase::Failed));
    match staying.as_slice() {
        [] => Err(no_pod(case, subject)),
        // The pod that was sick may be the one that leaves.
        [only] if !leaving.is_empty() && kubelet::newest_start(only) >= case.since() => {
            Err(Stop::wait(format!("{} is the replacement: it gets time to start", only.key)))
        }
        [only] => Ok(only),
        several => {
            let unready: Vec<_> = several.iter().filter(|pod| !pod.serving()).collect();
            match unready.as_slice() {
                [sick] => Ok(sick),
                _ => Err(unclear(case, unready.len(), several.len())),
            }
        }
    }
}

/// A controller that makes no pod is kept from it: by a quota, by admission, by a Service account that is gone.
fn no_pod(case: &Case<'_>, subject: &Subject<'_>) -> Stop {
    let idle = case.idle();
    if idle >= UNCLEAR {
        return Stop::hand_over(format!(
            "{} has no pod and its controller made none for {}: look at quotas, limits and admission",
            subject.key,
            words(idle)
        ));
    }
    let reason = format!("{} has no pod: its controller makes one", subject.key);
    Stop::until(crate::decision::later(case.now, UNCLEAR - idle), reason)
}

fn unclear(case: &Case<'_>, unready: usize, all: usize) -> Stop {
    let reason = if unready == 0 {
        format!("which of {all} ready pods is sick is not known")
    } else {
        format!("{unready} of {all} pods are not ready: this is not one sick pod")
    };
    if unready == 0 && case.supporting().next().is_none() {
        return Stop::wait("no active finding supports the cause any more, and every pod is ready");
    }
    let idle = case.idle();
    if idle >= UNCLEAR {
        return Stop::hand_over(format!("{reason}, after {}", words(idle)));
    }
    Stop::until(crate::decision::later(case.now, UNCLEAR - idle), reason)
}
