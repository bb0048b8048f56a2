//! Change a running pod's resources in place, or those of a `CronJob`'s next runs.

use super::{ActionSpec, Landed, Protected, Repeat, Right, Unfit, Verdict, owners, run, target, verify};
use crate::orders;
use crate::ports::{Field, FreshTarget, Requests};
use homeostat_knowledge::kubelet::{OUT_OF_MEMORY, ResizeStep};
use homeostat_knowledge::plan::{Expectation, Undo};
use homeostat_knowledge::policy::Bounds;
use homeostat_knowledge::records::PodPhase;
use homeostat_knowledge::{
    ActionKind, ActionRecord, ContainerRecord, ContainerState, ControllerKind, ControllerRecord, FindingKind,
    Level, Name, Origin, Parameters, PodRecord, Snapshot, Timestamp,
};

/// Sets requests and limits of CPU and memory of one container of a running pod through the `resize` subresource (stable since
/// Kubernetes 1.35, on by default since 1.33). What is not named stays. The template stays as it is, so a new pod begins with
/// the template's values again.
///
/// Within the bounds of `spec.scaling.resources` of the Workload, and of the container that they name, at most twice and at
/// least four fifths of what it was. Where a memory limit is named, bounds and step are those of the limit, which is what ends
/// a process; the request is never lowered then, at most doubled, and never above the limit. A limit of CPU is named with its
/// request only, never lowered, and both have their bounds and step. A pod of a run that is ordered gets at once
/// what its run was planned with, upwards only and without a step: a start may give any size as well, and the pod may have
/// ended before a second step. Of a `CronJob` the template is changed instead, for the runs to come: a Job's own template cannot be. What
/// people apply anew counts again. Repeat-safe because the values are absolute and the write is conditioned on the version that was read.
/// Undone by the values before; where those lie above what Homeostat may give a container, nothing is changed. The API server
/// refuses what would change the pod's quality-of-service class.
#[derive(Clone, Copy, Debug)]
pub struct ResizePod;

impl ActionSpec for ResizePod {
    fn kind(&self) -> ActionKind {
        ActionKind::ResizePod
    }

    fn reversible(&self) -> bool {
        true
    }

    fn alone_at(&self) -> Level {
        Level::ActFull
    }

    fn rights(&self) -> &'static [Right] {
        &[
            Right { api_group: "", resource: "pods", verbs: &["get"] },
            Right { api_group: "", resource: "pods/resize", verbs: &["patch"] },
            Right { api_group: "batch", resource: "cronjobs", verbs: &["get", "patch"] },
            target::SEES_VPA,
        ]
    }

    fn undo(&self) -> Undo {
        Undo::Restore
    }

    fn restore(&self, record: &ActionRecord) -> Option<Parameters> {
        let (container, set) = named(record)?;
        let known = |set: Option<u64>, before: Option<u64>| set.is_none() || before.is_some();
        let before = &record.before;
        let all = known(set.cpu_millis, before.cpu_millis)
            && known(set.cpu_limit_millis, before.cpu_limit_millis)
            && known(set.memory_bytes, before.memory_bytes)
            && known(set.memory_limit_bytes, before.memory_limit_bytes);
        all.then(|| Parameters::ResizePod {
            container: container.clone(),
            cpu_millis: set.cpu_millis.and(before.cpu_millis),
            cpu_limit_millis: set.cpu_limit_millis.and(before.cpu_limit_millis),
            memory_bytes: set.memory_bytes.and(before.memory_bytes),
            memory_limit_bytes: set.memory_limit_bytes.and(before.memory_limit_bytes),
        })
    }

    fn field(&self) -> Option<Field> {
        Some(Field::Resources)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Never
    }

    fn check(&self, record: &ActionRecord, snapshot: &Snapshot, protected: &Protected) -> Result<(), Unfit> {
        let key = &record.target.key;
        protected.refuse(&key.namespace)?;
        let Parameters::ResizePod { container, .. } = &record.parameters else {
            return Err(Unfit::Protected("no resources are named".to_owned()));
        };
        if record.undo_of.is_none() {
            target::sized_by_nobody_else(record, snapshot)?;
            protected.refuse_lasting(record)?;
        }
        if of_runs(record) {
            runs_to_come(record, container, snapshot, protected)?;
            return bounded(record, snapshot);
        }
        let pod = snapshot
            .pods
            .get(key)
            .filter(|pod| pod.uid == record.target.uid)
            .ok_or_else(|| Unfit::Changed(format!("pod {key} is not known any more")))?;
        if snapshot.workload_of(pod) != Some(&record.workload) {
            return Err(Unfit::Protected(format!(
                "pod {key} does not belong to workload {}",
                record.workload
            )));
        }
        if let Some(controller) = snapshot.controller_of(&record.workload) {
            protected.refuse_labels(controller)?;
        }
        if orders::of_pod(record) && pod.owner.as_ref().is_none_or(|owner| owner.kind != ControllerKind::Job)
        {
            return Err(Unfit::Protected(format!("pod {key} is no pod of a run")));
        }
        if pod.deleting || !pod.containers.iter().any(|known| known.name == *container) {
            return Err(Unfit::Changed(format!("pod {key} is going, or has no container {container}")));
        }
        bounds_hold(record, container, snapshot)?;
        bounded(record, snapshot)
    }

    fn check_fresh(
        &self,
        record: &ActionRecord,
        _cause: Option<FindingKind>,
        fresh: &FreshTarget,
    ) -> Result<(), Unfit> {
        target::same_object(record, fresh)?;
        let key = &record.target.key;
        let Some((wanted, present)) = requests(record, fresh) else {
            return Err(Unfit::Changed(format!("what pod {key} asks for cannot be read")));
        };
        if fits(wanted, present) {
            return Err(Unfit::Done(format!("pod {key} asks for this already")));
        }
        let before = Requests {
            cpu_millis: wanted.cpu_millis.and(record.before.cpu_millis),
            cpu_limit_millis: wanted.cpu_limit_millis.and(record.before.cpu_limit_millis),
            memory_bytes: wanted.memory_bytes.and(record.before.memory_bytes),
            memory_limit_bytes: wanted.memory_limit_bytes.and(record.before.memory_limit_bytes),
        };
        if !fits(before, present) {
            return Err(Unfit::Changed(format!("pod {key} was resized meanwhile")));
        }
        owners::undisturbed(record, fresh, Field::Resources)
    }

    fn landed(&self, record: &ActionRecord, fresh: Option<&FreshTarget>) -> Landed {
        let same = fresh.filter(|fresh| fresh.uid == record.target.uid);
        match same.and_then(|fresh| Some((fresh, requests(record, fresh)?))) {
            Some((fresh, (wanted, present))) if fits(wanted, present) => {
                if owners::set_by_us(record, fresh, Field::Resources) {
                    Landed::Yes("the pod asks for it, set by Homeostat".to_owned())
                } else {
                    Landed::There("the pod asks for it, and who set that is not known".to_owned())
                }
            }
            _ => target::absent(record, fresh, "the pod asks for something else"),
        }
    }

    fn verify(&self, record: &ActionRecord, snapshot: &Snapshot, now: Timestamp) -> Verdict {
        if of_runs(record) {
            let template = run::target(record, snapshot, &Protected::none());
            return match template.map(|found| sizes(record, found)) {
                Ok(Some((wanted, present))) if fits(wanted, present) => {
                    Verdict::Helped("its next runs have the new size".to_owned())
                }
                _ => verify::until(record, now, "the new size is not seen"),
            };
        }
        let same = snapshot.pods.get(&record.target.key).filter(|pod| pod.uid == record.target.uid);
        if orders::of_pod(record) {
            return of_run(record, same.map(|pod| &**pod), now);
        }
        if record.origin == Origin::Forecast && record.undo_of.is_none() {
            return watched(record, same.map(|pod| &**pod), snapshot, now);
        }
        if let Some(verdict) = by_kubelet(record, same.map(|pod| &**pod), now) {
            return verdict;
        }
        match same {
            None => return Verdict::NotHelped("the resized pod is gone".to_owned()),
            Some(pod) if !pod.serving() && record.verification.expect != Expectation::Nothing => {
                return verify::until(record, now, "the resized pod does not serve");
            }
            Some(_) => {}
        }
        match record.verification.expect {
            Expectation::Nothing | Expectation::RolloutComplete => {
                Verdict::Helped("the pod has its new size".to_owned())
            }
            Expectation::ObjectivesMet => verify::objectives_met(record, snapshot, now),
        }
    }
}

/// A verdict as long as the kubelet has not given the pod its size: what it refuses will not come. `None` once it has, and
/// where the kubelet says nothing (before Kubernetes 1.33).
fn by_kubelet(record: &ActionRecord, pod: Option<&PodRecord>, now: Timestamp) -> Option<Verdict> {
    let said = pod?.resize.as_deref()?;
    let words = format!("its kubelet {said}");
    // What is taken back may be seen with the answer to what it takes back.
    if said.step == ResizeStep::Infeasible && record.undo_of.is_none() {
        return Some(Verdict::NotHelped(words));
    }
    Some(verify::until(record, now, &words))
}

/// The pod of a run has its size, or needs none any more. How the run ends is learnt from by whoever orders runs: a run
/// that is killed all the same says nothing against the next start.
fn of_run(record: &ActionRecord, pod: Option<&PodRecord>, now: Timestamp) -> Verdict {
    let Some(pod) = pod.filter(|pod| matches!(pod.phase, PodPhase::Pending | PodPhase::Running)) else {
        return Verdict::Helped("the run's pod has ended, and its size with it".to_owned());
    };
    if let Some(verdict) = by_kubelet(record, Some(pod), now) {
        return verdict;
    }
    let Parameters::ResizePod { container, .. } = &record.parameters else {
        return verify::until(record, now, "no size is named");
    };
    let found = pod.containers.iter().find(|found| found.name == *container);
    if found.is_some_and(|found| found.memory.limit >= orders::limit_of_pod(record)) {
        return Verdict::Helped("the run's pod has the memory that was decided for it".to_owned());
    }
    verify::until(record, now, "the new size is not seen")
}

/// A size without a fault must not hurt while it is watched; when more replicas are wanted meanwhile, they need not wait
/// for the end of the watch.
fn watched(record: &ActionRecord, pod: Option<&PodRecord>, snapshot: &Snapshot, now: Timestamp) -> Verdict {
    let Some(pod) = pod else {
        return Verdict::Helped("the pod is gone, and its size with it".to_owned());
    };
    let sent = record.instants.sent.or(record.instants.claimed);
    let killed = |container: &ContainerRecord| {
        let end = match &container.state {
            ContainerState::Terminated(end) => Some(end),
            _ => container.last_termination.as_ref(),
        };
        end.is_some_and(|end| &*end.reason == OUT_OF_MEMORY && end.finished >= sent)
    };
    let of = named(record).map(|(container, _)| container);
    if sent.is_some() && pod.containers.iter().filter(|one| Some(&one.name) == of).any(killed) {
        return Verdict::NotHelped("the pod ran out of memory with its new size".to_owned());
    }
    if snapshot.overloaded(&record.workload) {
        return Verdict::NotHelped("the objective is missed with the new size".to_owned());
    }
    let wanted = snapshot.sizes.get(&record.workload).and_then(|size| size.wanted);
    let present = snapshot.controller_of(&record.workload).map(|controller| controller.replicas);
    let more = wanted.zip(present).is_some_and(|(wanted, present)| i64::from(wanted) > i64::from(present));
    match by_kubelet(record, Some(pod), now) {
        Some(Verdict::Wait(words)) if more => {
            return Verdict::NotHelped(format!("{words}; more replicas are wanted by now"));
        }
        Some(verdict) => return verdict,
        None => {}
    }
    if !pod.serving() {
        return verify::until(record, now, "the resized pod does not serve");
    }
    if more {
        return Verdict::Helped("nothing was missed; more replicas are wanted by now".to_owned());
    }
    if now < verify::deadline(record, now) {
        return Verdict::Wait("watched whether the new size hurts".to_owned());
    }
    verify::answers_well(record, snapshot, now)
}

/// It is about the template of a `CronJob`.
fn of_runs(record: &ActionRecord) -> bool {
    ControllerKind::from_kind(&record.target.kind) == ControllerKind::CronJob
}

/// The `CronJob` is the workload's, nobody else's, and has the one container that is named.
fn runs_to_come(
    record: &ActionRecord,
    container: &Name,
    snapshot: &Snapshot,
    protected: &Protected,
) -> Result<(), Unfit> {
    let found = run::target(record, snapshot, protected)?;
    let key = &record.target.key;
    if let Some(owner) = &found.gitops_owner {
        return Err(Unfit::Protected(format!(
            "{owner} would undo a change of CronJob {key}; change it there"
        )));
    }
    if found.work.as_ref().and_then(|work| work.container.as_ref()) != Some(container) {
        return Err(Unfit::Changed(format!("CronJob {key} has not one container, called {container}")));
    }
    Ok(())
}

/// What is wanted of a template, and what it has.
fn sizes(record: &ActionRecord, found: &ControllerRecord) -> Option<(Requests, Requests)> {
    let work = found.work.as_ref()?;
    let present = Requests {
        cpu_millis: work.requests.cpu_millis,
        cpu_limit_millis: work.cpu_limit,
        memory_bytes: work.requests.memory_bytes,
        // A template's limit of memory is always its request; another one that is named does not fit.
        memory_limit_bytes: work.requests.memory_bytes,
    };
    Some((named(record)?.1, present))
}

/// The container and what it is to have.
fn named(record: &ActionRecord) -> Option<(&Name, Requests)> {
    let Parameters::ResizePod { container, cpu_millis, cpu_limit_millis, memory_bytes, memory_limit_bytes } =
        &record.parameters
    else {
        return None;
    };
    let wanted = Requests {
        cpu_millis: *cpu_millis,
        cpu_limit_millis: *cpu_limit_millis,
        memory_bytes: *memory_bytes,
        memory_limit_bytes: *memory_limit_bytes,
    };
    Some((container, wanted))
}

/// The bounds are those of this container. Runs have one, and what brings back how it was needs none.
fn bounds_hold(record: &ActionRecord, container: &Name, snapshot: &Snapshot) -> Result<(), Unfit> {
    let permits = snapshot.workloads.get(&record.workload).map(|policy| &policy.permits);
    let free = record.undo_of.is_some() || orders::of_pod(record);
    match permits.and_then(|permits| permits.container.as_ref()) {
        Some(other) if !free && other != container => Err(Unfit::Protected(format!(
            "the bounds of workload {} hold for container {other}, not for {container} (spec.scaling.resources.container)",
            record.workload
        ))),
        _ => Ok(()),
    }
}

/// Something is named, within its bounds and steps.
fn bounded(record: &ActionRecord, snapshot: &Snapshot) -> Result<(), Unfit> {
    let Parameters::ResizePod { cpu_millis, cpu_limit_millis, memory_bytes, memory_limit_bytes, .. } =
        &record.parameters
    else {
        return Ok(());
    };
    if cpu_millis.is_none() && memory_bytes.is_none() {
        return Err(Unfit::Protected("no resources are named".to_owned()));
    }
    if record.undo_of.is_some() {
        return Ok(());
    }
    let permits = snapshot.workloads.get(&record.workload).map(|policy| &policy.permits);
    let before = &record.before;
    if orders::of_pod(record) {
        return grown(record, permits.and_then(|permits| permits.memory_bytes));
    }
    let bounds = permits.and_then(|permits| permits.cpu_millis);
    step("CPU", *cpu_millis, before.cpu_millis, bounds)?;
    step("CPU limit", *cpu_limit_millis, before.cpu_limit_millis, bounds)?;
    if let Some(limit) = *cpu_limit_millis
        && (cpu_millis.is_none_or(|request| request > limit) || before.cpu_limit_millis > Some(limit))
    {
        return Err(Unfit::Protected(format!(
            "CPU limit {limit}m is named without a request, below it, or below {:?} of before",
            before.cpu_limit_millis
        )));
    }
    let bounds = permits.and_then(|permits| permits.memory_bytes);
    let Some(limit) = *memory_limit_bytes else {
        return step("memory", *memory_bytes, before.memory_bytes, bounds);
    };
    step("memory limit", Some(limit), before.memory_limit_bytes, bounds)?;
    match (*memory_bytes, before.memory_bytes) {
        (Some(request), Some(before))
            if request >= before && request <= limit.min(before.saturating_mul(2)) =>
        {
            Ok(())
        }
        (request, before) => Err(Unfit::Protected(format!(
            "memory request {request:?} with limit {limit} is below {before:?} of before, above twice of it, or above the limit"
        ))),
    }
}

/// More memory for a pod of a run, within the bounds, and nothing else.
fn grown(record: &ActionRecord, bounds: Option<Bounds>) -> Result<(), Unfit> {
    let Parameters::ResizePod { cpu_millis, cpu_limit_millis, memory_bytes, .. } = record.parameters else {
        return Ok(());
    };
    let before = &record.before;
    let known = (memory_bytes, before.memory_bytes, orders::limit_of_pod(record), bounds);
    let (Some(request), Some(least), Some(limit), Some(bounds)) = known else {
        return Err(Unfit::Protected(
            "memory of the run's pod before is not known, or has no bounds; set spec.scaling.resources"
                .to_owned(),
        ));
    };
    if !bounds.contains(limit) {
        return Err(Unfit::Protected(format!("memory {limit} is outside of its bounds {bounds}")));
    }
    let present = before.memory_limit_bytes.unwrap_or(least);
    if cpu_millis.or(cpu_limit_millis).is_some() || limit <= present || request < least || request > limit {
        return Err(Unfit::Protected(format!(
            "a pod of a run is given more memory only, not {request} with limit {limit} instead of {least} with {present}"
        )));
    }
    Ok(())
}

/// Within the bounds and the step; what is not changed needs neither.
fn step(what: &str, wanted: Option<u64>, before: Option<u64>, bounds: Option<Bounds>) -> Result<(), Unfit> {
    let Some(wanted) = wanted else { return Ok(()) };
    let (Some(before), Some(bounds)) = (before, bounds) else {
        return Err(Unfit::Protected(format!(
            "{what} before is not known, or has no bounds; set spec.scaling.resources"
        )));
    };
    if !bounds.contains(wanted) {
        return Err(Unfit::Protected(format!("{what} {wanted} is outside of its bounds {bounds}")));
    }
    let (wanted, before) = (u128::from(wanted), u128::from(before));
    if wanted > before * 2 || wanted * 5 < before * 4 {
        return Err(Unfit::Protected(format!(
            "{what} from {before} to {wanted} is more than +100 % or -20 % in one step"
        )));
    }
    Ok(())
}

fn requests(record: &ActionRecord, fresh: &FreshTarget) -> Option<(Requests, Requests)> {
    if of_runs(record) {
        return sizes(record, fresh.controller.as_ref()?);
    }
    let (container, wanted) = named(record)?;
    Some((wanted, *fresh.marks.requests.get(container)?))
}

/// Everything that is named is there.
fn fits(named: Requests, present: Requests) -> bool {
    let same = |named: Option<u64>, present: Option<u64>| named.is_none() || named == present;
    same(named.cpu_millis, present.cpu_millis)
        && same(named.cpu_limit_millis, present.cpu_limit_millis)
        && same(named.memory_bytes, present.memory_bytes)
        && same(named.memory_limit_bytes, present.memory_limit_bytes)
}

#[cfg(test)]
mod tests;
