//! More memory for the container that ran out of it, in place.

use crate::case::{Case, Subject};
use crate::changes::seen_long_enough;
use crate::decision::Stop;
use crate::planner::{Chosen, before, willing};
use crate::{kubelet, sick};
use homeostat_knowledge::kubelet::OUT_OF_MEMORY;
use homeostat_knowledge::{
    ActionKind, Before, ContainerRecord, ContainerState, Parameters, PodRecord, Snapshot, Timestamp,
};
use homeostat_playbooks::Rung;
use std::sync::Arc;

/// The container of a pod that last ended at its memory limit, and when. Of several one that is down, then the one that ended
/// last: what runs well since long is not the sick one.
pub(crate) fn out_of_memory(pod: &PodRecord) -> Option<(&ContainerRecord, Option<Timestamp>)> {
    let ended = pod.containers.iter().filter_map(|container| {
        let end = match &container.state {
            ContainerState::Terminated(end) => Some(end),
            _ => container.last_termination.as_ref(),
        };
        end.filter(|end| &*end.reason == OUT_OF_MEMORY).map(|end| (container, end.finished))
    });
    ended.max_by_key(|(container, end)| (kubelet::container_down(container).is_some(), *end))
}

/// A container of the pod ran out of memory again, soon after a restart. That another one of the pod backs off says nothing of
/// it.
pub(crate) fn out_of_memory_again(pod: &PodRecord, now: Timestamp) -> bool {
    out_of_memory(pod).is_some_and(|(container, _)| {
        let backs_off = kubelet::container_down(container).is_some_and(|down| down.backs_off);
        container.restarts >= 1 && backs_off || kubelet::ended_again(container, now)
    })
}

/// Memory of one of these pods lies below the upper bound that people set, and its node is not short of memory itself:
/// then the end may be the node's doing, and more for one pod takes it from the others.
pub(crate) fn may_grow(snapshot: &Snapshot, subject: &Subject<'_>, pods: &[&Arc<PodRecord>]) -> bool {
    let mut sick =
        pods.iter().filter(|pod| !on_short_node(snapshot, pod)).filter_map(|pod| out_of_memory(pod));
    sick.any(|(container, _)| {
        let bounds = subject.policy.permits.memory_of(&container.name);
        container.memory.limit.zip(bounds).is_some_and(|(limit, bounds)| limit < bounds.max)
    })
}

/// The pod's node is short of memory itself.
pub(crate) fn on_short_node(snapshot: &Snapshot, pod: &PodRecord) -> bool {
    let node = pod.node.as_ref().and_then(|name| snapshot.nodes.get(name));
    node.is_some_and(|node| node.pressures.iter().any(|pressure| &**pressure == "MemoryPressure"))
}

/// Why a new pod would not help either: it ran out of memory again, and has as much as people allow. Where they set no bounds,
/// a new pod serves at least until it reaches its limit once more.
pub(crate) fn at_the_bound(case: &Case<'_>, pod: &PodRecord) -> Option<String> {
    let (container, _) = out_of_memory(pod).filter(|_| out_of_memory_again(pod, case.now))?;
    let bounds = case.subject.as_ref()?.policy.permits.memory_of(&container.name)?;
    let limit = container.memory.limit.filter(|limit| *limit >= bounds.max)?;
    Some(format!(
        "{} of {} ran out of memory again and has {}, as much as its Workload allows",
        container.name,
        pod.key,
        mebibytes(limit)
    ))
}

/// The step on the sick pod: the wanted limit, or half as much again as the one that ended it; never more than twice that,
/// never above the bound. The request grows in proportion, so that the pod keeps its quality-of-service class.
pub(crate) fn step(case: &Case<'_>, subject: &Subject<'_>, number: u32, rung: &Rung) -> Result<Chosen, Stop> {
    let Some(controller) = subject.controller else {
        return Err(Stop::nothing(format!("what {} targets does not exist", subject.key)));
    };
    let pod = sick::named_pod(case, subject)?;
    let node = pod.node.as_ref().and_then(|name| case.snapshot.nodes.get(name));
    if let Some(node) = node.filter(|node| !node.ready) {
        return Err(Stop::wait(format!(
            "node {} does not answer: nobody there could give {} more memory",
            node.name, pod.key
        )));
    }
    let Some((container, ended)) = out_of_memory(pod) else {
        return Err(Stop::wait(format!("{} did not run out of memory", pod.key)));
    };
    let resized =
        case.history.done_to(ActionKind::ResizePod, &pod.uid).and_then(|action| action.instants.sent);
    if resized.is_some_and(|sent| ended.is_none_or(|ended| ended <= sent)) {
        return Err(Stop::wait(format!("{} did not run out of memory since it was resized", pod.key)));
    }
    let taken_at = seen_long_enough(case, rung)?;
    let permits = &subject.policy.permits;
    let (request, limit, bounds) =
        match (container.memory.request, container.memory.limit, permits.memory_of(&container.name)) {
            (Some(request), Some(limit), Some(bounds)) => (request, limit, bounds),
            (_, _, None) if permits.memory_bytes.is_some() => {
                return Err(Stop::hand_over(format!(
                    "{} of {} ran out of memory, and the bounds of {} hold for another container \
                     (spec.scaling.resources.container)",
                    container.name, pod.key, subject.key
                )));
            }
            (_, _, None) => {
                return Err(Stop::hand_over(format!("{} has no bounds for its memory", subject.key)));
            }
            _ => {
                return Err(Stop::hand_over(format!(
                    "{} of {} has no memory request and limit that could be raised",
                    container.name, pod.key
                )));
            }
        };
    let wanted = rung.memory_bytes.unwrap_or(limit / 2 * 3).min(limit.saturating_mul(2)).min(bounds.max);
    if wanted <= limit {
        return Err(Stop::hand_over(format!(
            "{} of {} has {} of memory; more is not allowed",
            container.name,
            pod.key,
            mebibytes(limit)
        )));
    }
    willing(case, ActionKind::ResizePod, &pod.uid)?;
    Ok(Chosen {
        tenant: subject.tenant.name.clone(),
        workload: subject.key.clone(),
        number,
        rung: rung.clone(),
        target: Snapshot::pod_target(pod),
        parameters: Parameters::ResizePod {
            container: container.name.clone(),
            cpu_millis: None,
            cpu_limit_millis: None,
            memory_bytes: Some(in_proportion(request, wanted, limit)),
            memory_limit_bytes: Some(wanted),
        },
        before: Before {
            memory_bytes: Some(request),
            memory_limit_bytes: Some(limit),
            ..before(controller, Some(pod))
        },
        taken_at,
        why: format!(
            "{} ran out of its {} of memory again: it gets {}; change the template too, or the next pod begins with the old value",
            container.name,
            mebibytes(limit),
            mebibytes(wanted)
        ),
    })
}

/// The request that is to the new limit as the old one was to the old limit, rounded down; never less than it was.
fn in_proportion(request: u64, wanted: u64, limit: u64) -> u64 {
    let grown = u128::from(request) * u128::from(wanted) / u128::from(limit.max(1));
    u64::try_from(grown).unwrap_or(u64::MAX).clamp(request.min(wanted), wanted)
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeostat_knowledge::records::{Amounts, Memory, Termination};
    use homeostat_knowledge::{ObjectKey, Uid};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("in range")
    }

    /// A container that was restarted once, after this end.
    fn container(name: &str, reason: &str, ended: i64, state: ContainerState) -> ContainerRecord {
        ContainerRecord {
            name: name.into(),
            ready: false,
            restarts: 1,
            state,
            last_termination: Some(Termination {
                reason: reason.into(),
                exit_code: 1,
                started: None,
                finished: Some(at(ended)),
                used: Amounts::default(),
            }),
            cpu_request: None,
            cpu_limit: None,
            ephemeral_storage_limit: None,
            memory: Memory::default(),
        }
    }

    fn pod(containers: Vec<ContainerRecord>) -> PodRecord {
        PodRecord {
            resource_version: "9".into(),
            ready: false,
            created: at(-1_000_000),
            containers,
            ..PodRecord::bare(ObjectKey::new("shop", "order-a"), Uid::new("uid-order-a"))
        }
    }

    #[test]
    fn the_container_that_is_down_is_meant_not_one_that_runs_since_it_once_had_too_little_memory() {
        let week = -7 * 86_400;
        let runs = ContainerState::Running { since: at(week + 1) };
        let backs_off = ContainerState::Waiting { reason: "CrashLoopBackOff".into() };
        let app = container("app", OUT_OF_MEMORY, week, runs);
        let failing = pod(vec![app.clone(), container("sidecar", "Error", -9, backs_off.clone())]);
        assert!(!out_of_memory_again(&failing, at(0)), "the sidecar ends for another reason");
        let both = pod(vec![app, container("sidecar", OUT_OF_MEMORY, -9, backs_off)]);
        assert!(out_of_memory_again(&both, at(0)));
        let meant = out_of_memory(&both).map(|(container, ended)| (&*container.name, ended));
        assert_eq!(meant, Some(("sidecar", Some(at(-9)))));
    }
}
