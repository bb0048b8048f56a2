//! Aftercare: is this the quiet minute in which a healed pod, the only one of its workload, may be replaced by its rollout?
//! The new pod is ready before the old one goes, so nobody notices; the kubelet's back-off is forgotten.

use crate::case::{Case, Subject};
use crate::decision::{Stop, later, words};
use crate::kubelet::{self, BACK_OFF_MEMORY};
use crate::room;
use homeostat_knowledge::observation::SourceState;
use homeostat_knowledge::{
    ActionKind, ControllerKind, ControllerRecord, Entity, Finding, Incident, IncidentState, Name, PodRecord,
    SignedDuration, Timestamp,
};
use std::sync::Arc;

/// Source of the calls by which a workload is seen to do well.
const SPANS: &str = "otlp";

/// A node is in trouble so long, at most, before it is seen to be: probes miss three times, and ends have whole seconds.
const BEFORE_ITS_NODE: SignedDuration = SignedDuration::from_secs(10);

/// The controller to restart and the pod that carries the restart; or why not (yet).
pub(crate) fn due<'a>(
    case: &Case<'a>,
    subject: &Subject<'a>,
    quiet: SignedDuration,
) -> Result<(&'a Arc<ControllerRecord>, &'a Arc<PodRecord>), Stop> {
    if !subject.policy.surge_after_crash {
        return Err(Stop::nothing(format!("{} does not want a fresh pod after a crash", subject.key)));
    }
    let (pod, ended) = restarted_pod(case, subject)?;
    let controller = able(subject)?;
    if let Some(action) = done_since(case, subject, ended) {
        return Err(Stop::nothing(format!("the pods were replaced after this crash already ({action})")));
    }
    its_node(case, subject, pod, ended)?;
    calm(case, subject, controller, pod, quiet)?;
    Ok((controller, pod))
}

/// What an ill or busy node ended is not the workload's to pay for: the kubelet has one crash to remember, and a rollout
/// would load the node once more. While it is ill for another reason than this crash, no minute is quiet.
fn its_node(case: &Case<'_>, subject: &Subject<'_>, pod: &PodRecord, ended: Timestamp) -> Result<(), Stop> {
    let on_node = |other: &&Arc<Incident>| !other.state.closed() && shows_node(other, pod.node.as_ref());
    let Some(other) = case.snapshot.incidents.values().find(on_node) else { return Ok(()) };
    if ended >= later(other.instants.impact_start, -BEFORE_ITS_NODE) {
        return Err(Stop::nothing(format!(
            "{} ended while its node was in trouble (incident {}): a fresh pod would change nothing about that",
            pod.key, other.id
        )));
    }
    Err(Stop::wait(format!("incident {} is open on the node of {}", other.id, subject.key)))
}

/// The pod that the kubelet restarted, with the end of its container; it must still carry that restart.
fn restarted_pod<'a>(
    case: &Case<'a>,
    subject: &Subject<'a>,
) -> Result<(&'a Arc<PodRecord>, Timestamp), Stop> {
    let carries = |pod: &&'a Arc<PodRecord>| -> Option<Timestamp> {
        (pod.restarts() > 0 && !pod.deleting).then(|| kubelet::last_end(pod)).flatten()
    };
    let found = case.pods().into_iter().filter(|pod| match &case.cause.entity {
        Entity::Pod { uid, .. } => pod.uid == *uid,
        _ => true,
    });
    let Some((pod, ended)) =
        found.filter_map(|pod| carries(&pod).map(|end| (pod, end))).max_by_key(|(_, end)| *end)
    else {
        return Err(Stop::nothing(format!(
            "no pod of {} carries the restart: the kubelet has nothing to hold against it",
            subject.key
        )));
    };
    // Ends are told in whole seconds, rounded down.
    if ended < later(case.incident.instants.impact_start, SignedDuration::from_secs(-2)) {
        return Err(Stop::nothing(format!("{} did not end in this incident", pod.key)));
    }
    if case.now.duration_since(ended) >= BACK_OFF_MEMORY {
        return Err(Stop::nothing(format!("{} ran so long that the kubelet has forgotten", pod.key)));
    }
    Ok((pod, ended))
}

fn able<'a>(subject: &Subject<'a>) -> Result<&'a Arc<ControllerRecord>, Stop> {
    let Some(controller) = subject.controller else {
        return Err(Stop::nothing(format!("what {} targets does not exist", subject.key)));
    };
    if controller.key.kind != ControllerKind::Deployment || !controller.surges {
        return Err(Stop::nothing(format!(
            "{} would take its pod away before the new one is ready (maxSurge > 0 and maxUnavailable = 0 are needed)",
            subject.key
        )));
    }
    if controller.paused {
        return Err(Stop::nothing(format!("the rollout of {} is paused", subject.key)));
    }
    if controller.replicas > 1 {
        return Err(Stop::nothing(format!(
            "other pods of {} serve while the kubelet waits before it starts one again: they are not restarted for it",
            subject.key
        )));
    }
    Ok(controller)
}

/// A rolling restart of this workload, for whatever incident, that was sent or proposed after the crash.
fn done_since(case: &Case<'_>, subject: &Subject<'_>, ended: Timestamp) -> Option<String> {
    let mut restarts = case.snapshot.actions.values().filter(|action| {
        action.kind() == ActionKind::RollingRestart
            && action.workload == *subject.key
            && (action.state.had_effect() || !action.state.ended())
    });
    restarts
        .find(|action| {
            action.instants.sent.or(action.instants.intent).unwrap_or(action.evidence.taken_at) >= ended
        })
        .map(|action| action.id.to_string())
}

fn calm(
    case: &Case<'_>,
    subject: &Subject<'_>,
    controller: &ControllerRecord,
    pod: &PodRecord,
    quiet: SignedDuration,
) -> Result<(), Stop> {
    if controller.rolling_out() {
        return Err(Stop::wait(format!("{} is rolling out", subject.key)));
    }
    if controller.ready < controller.replicas || !case.pods().iter().all(|pod| case.snapshot.serves(pod)) {
        return Err(Stop::wait(format!("not every pod of {} serves", subject.key)));
    }
    let other = |finding: &&Finding| finding.active && finding.kind != case.cause.kind;
    if let Some(found) = case.incident.findings.iter().find(other) {
        return Err(Stop::wait(format!("{} shows {} still: it is not quiet", found.entity, found.kind)));
    }
    let good_since = case.snapshot.health.get(subject.key).and_then(|health| health.good_since);
    let Some(good_since) = good_since else {
        return Err(Stop::wait(format!("nothing says yet that {} does well", subject.key)));
    };
    if let Some(SourceState::Down(why)) = case.snapshot.sources.get(SPANS).map(|report| &report.state) {
        return Err(Stop::wait(format!("whether {} does well cannot be seen: {why}", subject.key)));
    }
    let at = later(good_since, quiet);
    if case.now < at {
        return Err(Stop::until(at, format!("{} has to do well for {} first", subject.key, words(quiet))));
    }
    // The call graph is not needed: whoever calls it, or is called by it, and suffers has an incident of its own. Of whom
    // something is only expected does not suffer.
    let mut others = case.snapshot.incidents.values().filter(|other| {
        other.id != case.incident.id
            && !other.only_tells()
            && (matches!(other.state, IncidentState::Open | IncidentState::Acting)
                || (other.state == IncidentState::HandedOver && other.workload.as_ref() == Some(subject.key)))
            && (other.namespace == subject.key.namespace
                || other.workload.as_ref().is_some_and(|key| key.namespace == subject.key.namespace))
    });
    if let Some(other) = others.next() {
        return Err(Stop::wait(format!("incident {} is open in {}", other.id, subject.key.namespace)));
    }
    let mut busy = case
        .snapshot
        .actions
        .values()
        .filter(|action| action.state.in_flight() && action.workload.namespace == subject.key.namespace);
    if let Some(action) = busy.next() {
        return Err(Stop::wait(format!("action {} is under way in {}", action.id, subject.key.namespace)));
    }
    room::beside(case, pod)
}

/// Whether this node is what the incident is about.
fn shows_node(incident: &Incident, node: Option<&Name>) -> bool {
    let cause = incident.top_cause().map(|cause| &cause.entity);
    matches!(cause, Some(Entity::Node { name }) if Some(name) == node)
}
