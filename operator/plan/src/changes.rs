//! Steps that change what a workload is: its size, its release, its runs.

use crate::case::{Case, Subject};
use crate::decision::{Stop, later, words};
use crate::evict;
use crate::kubelet;
use crate::nodes::HOLD;
use crate::planner::{Chosen, before, willing};
use crate::release;
use crate::resize;
use crate::taken_back;
use homeostat_knowledge::policy::ScalingMode;
use homeostat_knowledge::records::{ControllerKey, JobEnd, PodPhase};
use homeostat_knowledge::runs::{age, first_tries, repeats};
use homeostat_knowledge::{
    ActionKind, Before, ContainerState, ControllerKind, ControllerRecord, Entity, FindingKind, Name,
    Parameters, PodRecord, SignedDuration, Snapshot, Timestamp,
};
use homeostat_playbooks::{After, Rung};
use std::sync::Arc;

/// New replicas, or new pods, need so long to show in a backlog or in a trend.
const SETTLE: SignedDuration = SignedDuration::from_mins(5);

/// Time that a release gets to become ready before people are asked about it.
const SLOW_START: SignedDuration = SignedDuration::from_mins(1);
/// And one that answered before is seen to fail for so long.
const SEEN_TO_FAIL: SignedDuration = SignedDuration::from_secs(30);

/// The step on what the workload targets.
pub(crate) fn step(case: &Case<'_>, subject: &Subject<'_>, number: u32, rung: &Rung) -> Result<Chosen, Stop> {
    let Some(controller) = subject.controller else {
        return Err(Stop::nothing(format!("what {} targets does not exist", subject.key)));
    };
    let taken_at = seen_long_enough(case, rung)?;
    let (target, parameters, why) = match rung.action {
        ActionKind::ScaleUp => {
            settled(case)?;
            worked_off(case, subject)?;
            taken_back::by_people(
                case,
                ActionKind::ScaleUp,
                &controller.uid,
                |set| matches!(set, Parameters::ScaleUp { replicas } if *replicas <= controller.replicas),
            )?;
            (controller, scale_up(subject, controller, rung)?, "more replicas share the load")
        }
        ActionKind::ScaleDown => {
            (controller, scale_down(subject, controller, rung)?, "fewer replicas are enough")
        }
        ActionKind::RollBack => {
            started(case, subject, rung)?;
            on_sound_nodes(case)?;
            let revision = revision(case, controller, rung)?;
            (controller, Parameters::RollBack { revision }, "the release before it did well")
        }
        ActionKind::Suspend if controller.paused => {
            return Err(Stop::wait(format!("{} is suspended already", subject.key)));
        }
        ActionKind::Suspend => {
            let of_runs = controller.key.kind == ControllerKind::CronJob;
            if of_runs
                && case.cause.kind == FindingKind::JobStuck
                && running(case, controller).next().is_none()
            {
                return Err(Stop::wait(format!("no run of {} goes on any more", subject.key)));
            }
            taken_back::by_people(case, ActionKind::Suspend, &controller.uid, |_| false)?;
            (controller, Parameters::Suspend { until: later(case.now, HOLD) }, "no new runs for a while")
        }
        ActionKind::Resume if controller.hold.is_none() => {
            return Err(Stop::nothing(format!("{} is not suspended by Homeostat", subject.key)));
        }
        ActionKind::Resume => (controller, Parameters::Resume, "it may run again"),
        ActionKind::RetryJob if ordered(subject) => {
            return Err(Stop::hand_over(format!(
                "{} failed; it is started again when it is its turn, and why it failed only people can tell",
                failed_job(case, controller)?.key.object
            )));
        }
        ActionKind::RetryJob if controller.paused => {
            return Err(Stop::wait(format!("{} is suspended: it is to have no runs", subject.key)));
        }
        ActionKind::RetryJob => {
            let failed = failed_job(case, controller)?;
            if !subject.policy.permits.repeatable {
                return Err(Stop::hand_over(format!(
                    "{} failed, and nobody said that a run of {} may be repeated (spec.repeatable)",
                    failed.key.object, subject.key
                )));
            }
            if let Some(pod) = too_little_memory(case) {
                return Err(Stop::hand_over(format!(
                    "{} reached its memory limit: another run of the same template has no more",
                    pod.key
                )));
            }
            (failed, Parameters::RetryJob, "the run failed and may be repeated")
        }
        other => return Err(Stop::hand_over(format!("{other} cannot be planned"))),
    };
    willing(case, rung.action, &target.uid)?;
    let image = match rung.action {
        ActionKind::Suspend | ActionKind::Resume => {
            Before { suspended: Some(target.paused), ..Before::default() }
        }
        _ => before(target, None),
    };
    let Some(object) = Snapshot::controller_target(target) else {
        return Err(Stop::hand_over(format!("what {} targets cannot be changed", subject.key)));
    };
    Ok(Chosen {
        tenant: subject.tenant.name.clone(),
        workload: subject.key.clone(),
        number,
        rung: rung.clone(),
        target: object,
        parameters,
        before: image,
        taken_at,
        why: why.to_owned(),
    })
}

/// A release that does not answer may be slow to start; one whose container ends again and again, or whose image is
/// missing, is not. It counts since when its own pods are seen to fail.
fn started(case: &Case<'_>, subject: &Subject<'_>, rung: &Rung) -> Result<(), Stop> {
    let since = release::since(case, subject);
    // What answered for longer than that before it failed is not starting any more.
    let answered =
        matches!(case.cause.kind, FindingKind::ErrorBurst | FindingKind::Hung | FindingKind::Unreachable);
    let newest =
        case.pods().into_iter().filter(|pod| !pod.deleting).map(|pod| kubelet::newest_start(pod)).max();
    let end = match newest.filter(|start| answered && *start < since) {
        Some(start) => later(start, SLOW_START).max(later(since, SEEN_TO_FAIL)),
        None => later(since, SLOW_START),
    };
    // A new volume needs time to be made, too.
    let may_start = matches!(
        case.cause.kind,
        FindingKind::NotReady
            | FindingKind::SetupFailed
            | FindingKind::Unreachable
            | FindingKind::Hung
            | FindingKind::ErrorBurst
            | FindingKind::OutOfMemory
    );
    let begins = release::begins(case, subject);
    if let Some(end) = begins.max(may_start.then_some(end)).filter(|end| case.now < *end) {
        return Err(Stop::until(end, format!("the new release of {} may be starting still", subject.key)));
    }
    lasted(case, rung, since)
}

/// A node that does not answer, or is short of something, keeps a release from getting ready as well as the release itself
/// does. A process that ends by itself does so anywhere.
fn on_sound_nodes(case: &Case<'_>) -> Result<(), Stop> {
    if evict::told_by_container(case.cause.kind) {
        return Ok(());
    }
    let ill = [FindingKind::NodeNotReady, FindingKind::NodePressure, FindingKind::NoisyNeighbour];
    if let Some(found) = ill.into_iter().find_map(|kind| case.also(kind)) {
        return Err(Stop::wait(format!(
            "{} shows {} as well: whether the new release is the reason is not known",
            found.entity, found.kind
        )));
    }
    let seen = |pod: &PodRecord| {
        case.supporting().any(|finding| matches!(&finding.entity, Entity::Pod { uid, .. } if *uid == pod.uid))
    };
    let silent = |pod: &PodRecord| {
        let node = pod.node.as_ref().and_then(|name| case.snapshot.nodes.get(name));
        node.filter(|node| !node.ready).map(|node| node.name.clone())
    };
    match case.pods().into_iter().filter(|pod| seen(pod)).find_map(|pod| Some((pod, silent(pod)?))) {
        Some((pod, node)) => Err(Stop::wait(format!(
            "node {node} does not answer: whether {} fails by its release is not known",
            pod.key
        ))),
        None => Ok(()),
    }
}

/// When the evidence was taken, once the step's own wait is over.
pub(crate) fn seen_long_enough(case: &Case<'_>, rung: &Rung) -> Result<Timestamp, Stop> {
    let Some(taken_at) = case.last_seen() else {
        return Err(Stop::wait("no active finding supports the cause any more"));
    };
    lasted(case, rung, case.since())?;
    let age = case.now.duration_since(taken_at);
    if age > evict::maximum_age(case) {
        return Err(Stop::wait(format!("the evidence is {} old", words(age))));
    }
    Ok(taken_at)
}

/// The step's own wait is over for what is so since then.
fn lasted(case: &Case<'_>, rung: &Rung, since: Timestamp) -> Result<(), Stop> {
    let at = match rung.after {
        After::WhenStillAbnormal { age } => later(since, age),
        _ => since,
    };
    if case.now < at {
        return Err(Stop::until(at, format!("{} may pass by itself", case.cause.kind)));
    }
    Ok(())
}

/// The last step that was seen to help, a change of the whole workload, had time to show.
pub(crate) fn settled(case: &Case<'_>) -> Result<(), Stop> {
    let Some(added) = case.subject.as_ref().and_then(|subject| case.history.healed_at(subject.key)) else {
        return Ok(());
    };
    let at = later(added, SETTLE);
    if case.now < at {
        return Err(Stop::until(
            at,
            format!("the last step was seen to help: it gets {} to show", words(SETTLE)),
        ));
    }
    Ok(())
}

/// A backlog that gets smaller is worked off by what there is.
fn worked_off(case: &Case<'_>, subject: &Subject<'_>) -> Result<(), Stop> {
    let falls = case.snapshot.health.get(subject.key).is_some_and(|health| health.backlog_falls);
    if falls && case.cause.kind == FindingKind::QueueGrowing {
        return Err(Stop::wait(format!(
            "the backlog of {} gets smaller: what there is works it off",
            subject.key
        )));
    }
    Ok(())
}

/// The wanted size, or half as many again, or as many as people want at least; never more than the tenant's step, never
/// above the bound.
fn scale_up(subject: &Subject<'_>, controller: &ControllerRecord, rung: &Rung) -> Result<Parameters, Stop> {
    let present = i64::from(controller.replicas);
    let (min, max) = bounds(subject)?;
    let wanted = rung.replicas.map_or(present + (present + 1) / 2, i64::from);
    let wanted = wanted
        .max(min)
        .min(present + present * i64::from(subject.tenant.limits.replica_step.up()) / 100)
        .min(max);
    if wanted <= present || present < 1 {
        return Err(Stop::hand_over(format!("{} has {present} replicas; more are not allowed", subject.key)));
    }
    Ok(Parameters::ScaleUp { replicas: i32::try_from(wanted).unwrap_or(i32::MAX) })
}

/// The wanted size, or a step of the tenant less; never below the bound, never below one.
fn scale_down(subject: &Subject<'_>, controller: &ControllerRecord, rung: &Rung) -> Result<Parameters, Stop> {
    let present = i64::from(controller.replicas);
    let (min, _) = bounds(subject)?;
    let least = present - present * i64::from(subject.tenant.limits.replica_step.down()) / 100;
    let wanted = rung.replicas.map_or(least, i64::from).max(least).max(min).max(1);
    if wanted >= present {
        return Err(Stop::hand_over(format!(
            "{} has {present} replicas; fewer are not allowed",
            subject.key
        )));
    }
    Ok(Parameters::ScaleDown { replicas: i32::try_from(wanted).unwrap_or(i32::MAX) })
}

fn bounds(subject: &Subject<'_>) -> Result<(i64, i64), Stop> {
    let Some(bounds) = subject.policy.permits.replicas else {
        return Err(Stop::hand_over(format!("{} has no bounds to scale within", subject.key)));
    };
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    Ok((number(bounds.min), number(bounds.max)))
}

/// The named revision; else the newest `ReplicaSet` before the present one of which a pod serves. Where no pod is left of any of
/// them, which one did well is not seen, and the newest is meant: it is what the present one replaced.
fn revision(case: &Case<'_>, controller: &ControllerRecord, rung: &Rung) -> Result<Name, Stop> {
    if let Some(named) = &rung.revision {
        return Ok(named.clone());
    }
    let number = |record: &ControllerRecord| record.revision.as_ref()?.parse::<u64>().ok();
    let present = number(controller);
    let earlier: Vec<(u64, &Name)> = case
        .snapshot
        .controllers
        .values()
        .filter(|set| {
            set.key.kind == ControllerKind::ReplicaSet
                && set.owner.as_ref().is_some_and(|owner| owner.uid == controller.uid)
        })
        .filter_map(|set| Some((number(set)?, &set.key.object.name)))
        .filter(|(revision, _)| present.is_some_and(|present| *revision < present))
        .collect();
    let pods = case.pods();
    let of = |pod: &PodRecord, set: &Name| {
        let owner = pod.owner.as_ref().filter(|owner| owner.kind == ControllerKind::ReplicaSet);
        !pod.deleting && owner.is_some_and(|owner| owner.name == *set)
    };
    let serves = |set: &Name| pods.iter().any(|pod| of(pod, set) && case.snapshot.serves(pod));
    // A pod that a node ran out of room for may lie there for weeks.
    let over = |pod: &PodRecord| matches!(pod.phase, PodPhase::Succeeded | PodPhase::Failed);
    let is_left = |set: &Name| pods.iter().any(|pod| of(pod, set) && !over(pod));
    if let Some((_, set)) = earlier.iter().filter(|(_, set)| serves(set)).max() {
        return Ok((*set).clone());
    }
    if earlier.iter().any(|(_, set)| is_left(set)) {
        return Err(Stop::hand_over(format!(
            "no pod of a release of {} before the present one serves: which of them did well is not known",
            controller.key.object
        )));
    }
    let newest = earlier.iter().max().map(|(_, set)| (*set).clone());
    newest.ok_or_else(|| Stop::hand_over(not_known(controller)))
}

/// Only `ReplicaSets` are looked at; what keeps its revisions otherwise is taken back by people.
fn not_known(controller: &ControllerRecord) -> String {
    let ControllerKey { kind, object } = &controller.key;
    let what = match kind {
        ControllerKind::StatefulSet => "statefulset",
        ControllerKind::DaemonSet => "daemonset",
        _ => return format!("the revision of {object} before the present one is not known"),
    };
    format!(
        "the revisions of {what} {object} are not looked at: take its release back with `kubectl rollout undo {what}/{} -n {}`",
        object.name, object.namespace
    )
}

/// Its runs are ordered, second tries among them.
fn ordered(subject: &Subject<'_>) -> bool {
    subject.policy.permits.scaling.as_ref().is_some_and(|scaling| scaling.mode == ScalingMode::Auto)
}

/// The Jobs of a `CronJob`.
fn runs<'a>(
    case: &Case<'a>,
    controller: &'a ControllerRecord,
) -> impl Iterator<Item = &'a Arc<ControllerRecord>> {
    case.snapshot.controllers.values().filter(|job| {
        job.key.kind == ControllerKind::Job
            && job.owner.as_ref().is_some_and(|owner| owner.uid == controller.uid)
    })
}

/// Those that have begun and not ended.
fn running<'a>(
    case: &Case<'a>,
    controller: &'a ControllerRecord,
) -> impl Iterator<Item = &'a Arc<ControllerRecord>> {
    runs(case, controller).filter(|job| job.finished.is_none() && !job.paused)
}

/// The pod that ended last, where it reached its memory limit by itself: not on a node that is short of memory.
fn too_little_memory<'a>(case: &Case<'a>) -> Option<&'a PodRecord> {
    let ended = case.pods().into_iter().filter_map(|pod| Some((newest_end(pod)?, &**pod)));
    let (_, pod) = ended.max_by_key(|(at, _)| *at)?;
    let own = resize::out_of_memory(pod).is_some() && !resize::on_short_node(case.snapshot, pod);
    own.then_some(pod)
}

fn newest_end(pod: &PodRecord) -> Option<Timestamp> {
    let ends = pod.containers.iter().filter_map(|container| match &container.state {
        ContainerState::Terminated(end) => end.finished,
        _ => container.last_termination.as_ref().and_then(|end| end.finished),
    });
    ends.max()
}

/// The Job itself, or the newest failed Job of the `CronJob`, unless a run goes on, or went well since: then nothing is
/// missing, and two at a time may harm.
fn failed_job<'a>(
    case: &Case<'a>,
    controller: &'a Arc<ControllerRecord>,
) -> Result<&'a Arc<ControllerRecord>, Stop> {
    if controller.finished == Some(JobEnd::Failed) {
        return not_repeated(case, controller);
    }
    let name = &controller.key.object;
    let newest = |end: JobEnd| {
        let ended = runs(case, controller).filter(move |job| job.finished == Some(end));
        ended.max_by(|one, other| age(one).cmp(&age(other)))
    };
    let Some(failed) = newest(JobEnd::Failed) else {
        return Err(Stop::wait(format!("no run of {name} has failed")));
    };
    if let Some(goes) = running(case, controller).next() {
        return Err(Stop::wait(format!("{} goes on: its end decides", goes.key.object)));
    }
    match newest(JobEnd::Complete) {
        Some(later) if age(later) > age(failed) => {
            Err(Stop::wait(format!("{} ended well since: nothing is missing", later.key.object)))
        }
        _ => Ok(failed),
    }
}

/// The failed Job, while nobody has repeated it; else its newest repeat decides whether it is missing still.
fn not_repeated<'a>(
    case: &Case<'a>,
    failed: &'a Arc<ControllerRecord>,
) -> Result<&'a Arc<ControllerRecord>, Stop> {
    let firsts = first_tries(case.snapshot);
    let again = case.snapshot.controllers.values().filter(|job| repeats(&firsts, job, failed));
    let Some(newest) = again.max_by(|one, other| age(one).cmp(&age(other))) else { return Ok(failed) };
    let name = &newest.key.object;
    Err(match newest.finished {
        None => Stop::wait(format!("{name} repeats {}: its end decides", failed.key.object)),
        Some(JobEnd::Complete) => Stop::wait(format!("{name} ended well since: nothing is missing")),
        Some(JobEnd::Failed) => {
            Stop::hand_over(format!("{} failed, and {name}, which repeats it, failed too", failed.key.object))
        }
    })
}
