//! From what a pod should ask for to the plan that gives it to one pod, in place. There is no incident: the decision itself
//! is the evidence, as for replicas.
//!
//! One pod at a time, the next when the one before was verified; each once an hour at most, doubled at most, a fifth less at
//! most. A limit follows its request upwards and is never lowered; where there is none, there will be none. The template is left
//! to its owner.

use crate::acted::Acted;
use crate::planner;
use crate::sizes::{Change, Place, SizeDecision, sized, told};
use homeostat_knowledge::action::Before;
use homeostat_knowledge::forecast::{Need, PodAdvice};
use homeostat_knowledge::guard::MOST_PER_CONTAINER;
use homeostat_knowledge::policy::{Bounds, Permits, ScalingMode};
use homeostat_knowledge::{
    ActionKind, ActionRecord, ActionState, GuardName, GuardReport, IdSource, Level, Parameters, PodRecord,
    SignedDuration, SizeAdvice, Snapshot, Timestamp, WorkloadPolicy,
};
use std::sync::Arc;

/// One pod is changed so often at most.
const POD_EVERY: SignedDuration = SignedDuration::from_hours(1);
/// Between two pods of a workload: a change of replicas finds room in the same budget.
const NEXT_AFTER: SignedDuration = SignedDuration::from_mins(10);
/// After a size that hurt, and after one that the cluster does not take.
const LEFT_ALONE: SignedDuration = SignedDuration::from_hours(24);
/// Share of a request that must be freed for asking for less.
const SPARE: f64 = 0.2;
const MEBIBYTE: u64 = 1 << 20;

/// Plans the change of the next pod, or says why there is none, by what was done before. Pure.
pub fn next(
    workload: &WorkloadPolicy,
    advice: &SizeAdvice,
    snapshot: &Snapshot,
    acted: &Acted,
    now: Timestamp,
    ids: &mut dyn IdSource,
) -> SizeDecision {
    let scaling = workload.permits.scaling.as_ref();
    let auto = scaling.is_some_and(|scaling| scaling.mode == ScalingMode::Auto);
    let Some(pod) = advice.pod.as_deref().filter(|_| auto) else { return SizeDecision::Nothing };
    let mut found: Vec<(&Arc<PodRecord>, Parameters, Before)> = Vec::new();
    let mut apart = None;
    // What its kubelet has not given a pod yet is not asked for again.
    let settled = |one: &&Arc<PodRecord>| one.serving() && one.resize.is_none();
    for one in snapshot.pods_of(&workload.key).filter(settled) {
        match change(one, pod, &workload.permits) {
            Ok(Some((parameters, before))) => found.push((one, parameters, before)),
            Ok(None) => {}
            Err(why) => apart = Some(why),
        }
    }
    found.sort_by(|(one, ..), (other, ..)| one.key.cmp(&other.key));
    if found.is_empty() {
        return apart.map_or(SizeDecision::Nothing, SizeDecision::Wait);
    }
    // Hands off, people's own words first.
    if let Some(scaler) = snapshot.scalers.get(&workload.target) {
        return SizeDecision::Wait(format!(
            "{scaler} acts on what workload {} targets, and what pods ask for may be what it goes by: recommended only",
            workload.key
        ));
    }
    if let Some(why) = held_back(workload, snapshot, acted, now) {
        return SizeDecision::Wait(why);
    }
    let rested = |one: &PodRecord| {
        let sent = changes(acted, workload).filter(|action| action.target.uid == one.uid);
        sent.filter_map(|action| action.instants.sent).all(|at| now.duration_since(at) >= POD_EVERY)
    };
    let Some((one, parameters, before)) = found.into_iter().find(|(one, ..)| rested(one)) else {
        return SizeDecision::Wait("each pod is changed once an hour at most".to_owned());
    };
    let advice = SizeAdvice { why: pod.why.clone(), ..advice.clone() };
    let place = Place { workload, advice: &advice, snapshot, acted, now };
    let controller = match place.controller() {
        Ok((controller, _)) => controller,
        Err(why) => return SizeDecision::Wait(why),
    };
    if controller.rolling_out() {
        return SizeDecision::Wait(format!("{} is being rolled out", controller.key.object));
    }
    let tenant = match place.open(ActionKind::ResizePod, true) {
        Ok(tenant) => tenant,
        Err(why) => return SizeDecision::Wait(why),
    };
    let level = tenant.level(ActionKind::ResizePod).min(snapshot.control.ceiling);
    if level < Level::ActFull {
        return SizeDecision::Wait(format!(
            "the level of {} is {}: recommended only; it is done from {} on",
            ActionKind::ResizePod,
            level.name(),
            Level::ActFull.name()
        ));
    }
    let what = format!("of {}: {}", one.key.name, words(&parameters, &before));
    let before = Before {
        cpu_millis: before.cpu_millis,
        cpu_limit_millis: before.cpu_limit_millis,
        memory_bytes: before.memory_bytes,
        memory_limit_bytes: before.memory_limit_bytes,
        ..planner::before(controller, Some(one))
    };
    let change = Change { target: Snapshot::pod_target(one), parameters, before, down: true, what };
    place.act(tenant, change, ids)
}

/// What is wrong, or was done before, that lets all pods of the workload be as they are.
fn held_back(
    workload: &WorkloadPolicy,
    snapshot: &Snapshot,
    acted: &Acted,
    now: Timestamp,
) -> Option<String> {
    let key = &workload.key;
    let incident = snapshot.incidents.values().find(|incident| {
        !incident.state.closed()
            && (incident.workload.as_ref() == Some(key) || incident.affected.contains(key))
    });
    if let Some(incident) = incident {
        return Some(format!("incident {} is open: pods keep their size meanwhile", incident.id));
    }
    let last = acted.on(key).iter().rev().find(|action| sized(action, true))?;
    let ended = last.instants.closed.unwrap_or(last.evidence.taken_at);
    let (wait, why) = if refused_by_cluster(last) {
        (LEFT_ALONE, "the cluster does not take it: recommended only")
    } else if hurt(last) {
        (LEFT_ALONE, "it did not do well")
    } else if last.state.ended() && last.instants.sent.is_some() {
        (NEXT_AFTER, "the next pod has its turn later")
    } else {
        return None;
    };
    let until = ended.checked_add(wait).unwrap_or(Timestamp::MAX);
    (now < until).then(|| format!("{}; {why}, until {until:.0}", told(last)))
}

/// The API server did not take it, e.g. because it cannot resize pods or the class of service would change; or it would not
/// let it be taken back.
fn refused_by_cluster(action: &ActionRecord) -> bool {
    let lasting = |guard: &GuardReport| guard.message.contains(MOST_PER_CONTAINER);
    action.state == ActionState::Refused
        && action
            .guards
            .iter()
            .any(|guard| !guard.result.permits() && (guard.name == GuardName::DryRun || lasting(guard)))
}

/// It was done, and did not help or was taken back.
fn hurt(action: &ActionRecord) -> bool {
    action.instants.sent.is_some()
        && action.state.ended()
        && (action.state != ActionState::Verified
            || action.outcome.as_ref().is_some_and(|outcome| !outcome.helped))
}

fn changes<'a>(acted: &'a Acted, workload: &WorkloadPolicy) -> impl Iterator<Item = &'a Arc<ActionRecord>> {
    acted.on(&workload.key).iter().filter(|action| action.kind() == ActionKind::ResizePod)
}

/// What one pod gets, and what it has; `None` when it has it, or as good as.
fn change(
    pod: &PodRecord,
    advice: &PodAdvice,
    permits: &Permits,
) -> Result<Option<(Parameters, Before)>, String> {
    let Some(container) = permits.measured(pod) else {
        let why = permits.unmeasured(pod).unwrap_or_default();
        return Err(format!("{why}: recommended only"));
    };
    let unset =
        |what: &str| format!("{} of {} asks for no {what}: set its request", container.name, pod.key.name);
    let guaranteed = guaranteed(pod);
    let mut wrong = None;
    let mut one = |need: Option<Need>, present: Option<u64>, bounds: Option<Bounds>, what: &str| {
        let (need, bounds) = (need?, bounds?);
        let Some(present) = present else {
            wrong = Some(unset(what));
            return None;
        };
        let wanted = step(need, present)?;
        if wanted < present && guaranteed {
            wrong = Some(format!(
                "{} is of the class Guaranteed, which a request of {what} below its limit would change: recommended \
                 only; change the template",
                pod.key.name
            ));
            return None;
        }
        if !bounds.contains(wanted) {
            wrong = Some(format!(
                "{what} of {} is more than a step away from its bounds; change the template",
                pod.key.name
            ));
            return None;
        }
        Some(wanted)
    };
    let cpu = one(advice.cpu, container.cpu_request, permits.cpu_millis, "CPU");
    let memory = one(advice.memory, container.memory.request, permits.memory_bytes, "memory");
    if cpu.is_none() && memory.is_none() {
        return wrong.map_or(Ok(None), Err);
    }
    // No further than is needed: that it is in its way is seen again, and costs no restart as with memory.
    let enough = advice.cpu.map_or(0, |need| need.request).max(cpu.unwrap_or(0));
    let cpu_limit =
        limit((container.cpu_request, container.cpu_limit), (cpu, advice.cpu), permits.cpu_millis)
            .map(|grown| grown.min(enough));
    let memory_limit = limit(
        (container.memory.request, container.memory.limit),
        (memory, advice.memory),
        permits.memory_bytes,
    );
    let before = Before {
        cpu_millis: cpu.and(container.cpu_request),
        cpu_limit_millis: cpu_limit.and(container.cpu_limit),
        memory_bytes: memory.and(container.memory.request),
        memory_limit_bytes: memory_limit.and(container.memory.limit),
        ..Before::default()
    };
    let parameters = Parameters::ResizePod {
        container: container.name.clone(),
        cpu_millis: cpu,
        cpu_limit_millis: cpu_limit,
        memory_bytes: memory,
        memory_limit_bytes: memory_limit,
    };
    Ok(Some((parameters, before)))
}

/// Each container asks for its limits, so the pod is of the class Guaranteed as far as can be seen: init containers are not.
fn guaranteed(pod: &PodRecord) -> bool {
    let same = |request: Option<u64>, limit: Option<u64>| request.is_some() && request == limit;
    pod.containers
        .iter()
        .all(|one| same(one.cpu_request, one.cpu_limit) && same(one.memory.request, one.memory.limit))
}

/// The next request on the way from `present` to what is needed; `None` while that is near enough.
fn step(need: Need, present: u64) -> Option<u64> {
    if need.request > present {
        return Some(need.request.min(present.saturating_mul(2))).filter(|wanted| *wanted > present);
    }
    let enough = need.request.max(need.used);
    let spare = enough as f64 <= present as f64 * (1.0 - SPARE);
    (need.falls && spare)
        .then(|| enough.max(present.saturating_mul(4).div_ceil(5)))
        .filter(|wanted| *wanted < present)
}

/// The limit that grows with the request, in proportion: where the request would pass it or was it, or what is needed
/// reaches it. A limit is never lowered.
fn limit(
    (request, limit): (Option<u64>, Option<u64>),
    (wanted, need): (Option<u64>, Option<Need>),
    bounds: Option<Bounds>,
) -> Option<u64> {
    let (request, limit, wanted, needed) = (request?, limit?, wanted?, need?.request);
    if wanted <= request || (request < limit && needed <= limit) {
        return None;
    }
    let grown = u128::from(limit) * u128::from(wanted) / u128::from(request.max(1));
    let grown = u64::try_from(grown).unwrap_or(u64::MAX).min(limit.saturating_mul(2)).min(bounds?.max);
    (grown > limit).then_some(grown.max(wanted))
}

/// A change in words.
pub(crate) fn words(parameters: &Parameters, before: &Before) -> String {
    let Parameters::ResizePod { cpu_millis, cpu_limit_millis, memory_bytes, memory_limit_bytes, .. } =
        parameters
    else {
        return String::new();
    };
    let pair = |what: &str, unit: &str, each: u64, from: Option<u64>, to: Option<u64>| {
        let (from, to) = (from? / each, to? / each);
        Some(format!("{what} from {from}{unit} to {to}{unit}"))
    };
    let parts = [
        pair("CPU", "m", 1, before.cpu_millis, *cpu_millis),
        pair("CPU limit", "m", 1, before.cpu_limit_millis, *cpu_limit_millis),
        pair("memory", " MiB", MEBIBYTE, before.memory_bytes, *memory_bytes),
        pair("memory limit", " MiB", MEBIBYTE, before.memory_limit_bytes, *memory_limit_bytes),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
