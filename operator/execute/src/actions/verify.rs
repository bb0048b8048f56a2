//! Questions that several actions ask when they judge their success.

use super::Verdict;
use homeostat_knowledge::plan::Expectation;
use homeostat_knowledge::{
    ActionRecord, ContainerState, Entity, EvidenceSource, Finding, FindingKind, PodRecord, SignedDuration,
    Snapshot, Timestamp,
};

/// How long the signals must be good before an action counts as having helped. Long enough to see a second
/// failure of a process that dies right after its start, short against any verification window.
const HOLD: SignedDuration = SignedDuration::from_secs(3);

/// Restarts of a new pod after which it is said to crash by itself.
const CRASHES: u32 = 2;

/// New pods are compared with their siblings when they are a minute old, and three times before one is found to stand apart.
const COMPARED: SignedDuration = SignedDuration::from_secs(80);

/// How it is known that what an action is for is over.
enum End {
    /// Ready pods and good calls show it, or nothing does within minutes.
    Answers,
    /// Calls may go well all along: only that it is not found any more shows it.
    Finding,
    /// As `Finding`, where the incident shows nothing else: the action may be for that, and this one lasts.
    FindingAlone,
}

/// What shows the end of each kind.
fn end_of(kind: FindingKind) -> End {
    match kind {
        FindingKind::Slow | FindingKind::ReplicaOutlier | FindingKind::QueueGrowing => End::Finding,
        FindingKind::EphemeralStorageFilling | FindingKind::SignalAbnormal => End::FindingAlone,
        // Their failures are calls that fail, processes that end and pods that are not ready.
        FindingKind::Crashed
        | FindingKind::BackingOff
        | FindingKind::CrashLoop
        | FindingKind::OutOfMemory
        | FindingKind::Unreachable
        | FindingKind::Hung
        | FindingKind::ErrorBurst
        | FindingKind::DependencyDown
        | FindingKind::NotReady
        | FindingKind::Unschedulable
        | FindingKind::ImagePullFailed
        | FindingKind::SetupFailed
        // The actions on nodes and runs judge by those.
        | FindingKind::NodeNotReady
        | FindingKind::NodePressure
        | FindingKind::NoisyNeighbour
        | FindingKind::JobFailed
        | FindingKind::JobStuck
        // Found for minutes after they ended: a replaced pod's series is forgotten after five, what is stored is judged for ten.
        | FindingKind::MemoryGrowing
        | FindingKind::VolumeFilling
        | FindingKind::QuotaFilling
        // Nothing is wrong yet, or no action mends it.
        | FindingKind::CertificateExpiring
        | FindingKind::FaultExpected
        | FindingKind::OwnershipConflict
        | FindingKind::NoData => End::Answers,
    }
}

/// When the verification window ends.
pub(crate) fn deadline(record: &ActionRecord, now: Timestamp) -> Timestamp {
    let sent = record.instants.sent.or(record.instants.claimed).unwrap_or(now);
    sent.checked_add(record.verification.within).unwrap_or(sent)
}

/// Wait until the window ends, then say that it did not help.
pub(super) fn until(record: &ActionRecord, now: Timestamp, missing: &str) -> Verdict {
    if now < deadline(record, now) {
        Verdict::Wait(missing.to_owned())
    } else {
        Verdict::NotHelped(format!("{missing} after {} s", record.verification.within.as_secs()))
    }
}

/// A verdict as long as not all replicas are there and ready; `None` once they are.
pub(super) fn pods_ready(record: &ActionRecord, snapshot: &Snapshot, now: Timestamp) -> Option<Verdict> {
    if let Some(verdict) = new_pods_crash(record, snapshot) {
        return Some(verdict);
    }
    let ready = snapshot.pods_of(&record.workload).filter(|pod| pod.serving()).count();
    let wanted = snapshot
        .controller_of(&record.workload)
        .map_or(1, |controller| usize::try_from(controller.replicas.max(0)).unwrap_or(0));
    (ready < wanted).then(|| until(record, now, &format!("{ready} of {wanted} pods are ready")))
}

/// "Did not help", as soon as a pod that came after the effect crashes again and again: waiting longer
/// cannot change that.
pub(super) fn new_pods_crash(record: &ActionRecord, snapshot: &Snapshot) -> Option<Verdict> {
    let sent = record.instants.sent?;
    let crashing = |pod: &&std::sync::Arc<PodRecord>| {
        made_since(pod, sent)
            && !pod.deleting
            && pod.uid != record.target.uid
            && (pod.restarts() >= CRASHES
                || pod.containers.iter().any(|container| {
                    matches!(&container.state, ContainerState::Waiting { reason } if &**reason == "CrashLoopBackOff")
                }))
    };
    let pod = snapshot.pods_of(&record.workload).find(crashing)?;
    Some(Verdict::NotHelped(format!(
        "the new pod {} crashes too ({} restarts)",
        pod.key.name,
        pod.restarts()
    )))
}

/// The workload answers its callers well since the effect, and what was wrong, where calls do not show it, is not found any more.
pub(super) fn objectives_met(record: &ActionRecord, snapshot: &Snapshot, now: Timestamp) -> Verdict {
    match answers_well(record, snapshot, now) {
        Verdict::Helped(why) => still_wrong(record, snapshot, now).unwrap_or(Verdict::Helped(why)),
        other => other,
    }
}

/// The workload answers its callers well since the effect. Without calls the ready pods are all that is known.
pub(super) fn answers_well(record: &ActionRecord, snapshot: &Snapshot, now: Timestamp) -> Verdict {
    if let Some(verdict) = nobody_heard(record, snapshot, now) {
        return verdict;
    }
    let Some(health) = snapshot.health.get(&record.workload) else {
        return Verdict::Helped("all replicas are ready; no calls are seen".to_owned());
    };
    let Some(good_since) = health.good_since else {
        if health.last_failure.is_none() && health.last_good.is_none() {
            return Verdict::Helped("all replicas are ready; no calls are seen".to_owned());
        }
        return until(record, now, "the workload still fails its callers");
    };
    let sent = record.instants.sent.unwrap_or(good_since);
    let since = good_since.max(sent);
    let held = now.duration_since(since);
    if held >= HOLD.min(record.verification.within / 2) {
        return Verdict::Helped(format!(
            "{} good calls, no failure for {:.1} s",
            health.good_calls,
            held.as_secs_f64()
        ));
    }
    until(record, now, &format!("good for {:.1} s so far", held.as_secs_f64().max(0.0)))
}

/// After a restart callers may not send for minutes. What they complained of cannot be said to be over before; that the pods
/// are ready says nothing of it, as they were ready before.
fn nobody_heard(record: &ActionRecord, snapshot: &Snapshot, now: Timestamp) -> Option<Verdict> {
    let (sent, began) = record.instants.sent.zip(snapshot.synced_since)?;
    let heard = snapshot
        .health
        .get(&record.workload)
        .is_some_and(|health| health.good_calls > 0 || health.last_failure.is_some());
    let cause = snapshot.incidents.get(&record.incident)?.top_cause()?.kind;
    let told_by_callers = cause.source() == EvidenceSource::Callers;
    (sent < began && !heard && told_by_callers && !snapshot.listened(now))
        .then(|| Verdict::Wait("no call was heard since the start of this process".to_owned()))
}

/// A verdict as long as what the incident is about is still found, or could not have been found again yet; `None` once it is over,
/// and where calls tell that.
fn still_wrong(record: &ActionRecord, snapshot: &Snapshot, now: Timestamp) -> Option<Verdict> {
    let sent = record.instants.sent?;
    let incident = snapshot.incidents.get(&record.incident)?;
    let kind = incident.top_cause()?.kind;
    let tells = match end_of(kind) {
        End::Answers => false,
        End::Finding => true,
        End::FindingAlone => incident.findings.iter().all(|finding| finding.kind == kind),
    };
    let over = now >= deadline(record, now);
    // What waits in a backlog takes its time; that it gets less shows that what was done suffices. At the end it is enough that
    // it grows no more: with what was there before it grew.
    let falls = || {
        let health = snapshot.health.get(&record.workload);
        health.is_some_and(|health| health.backlog_falls || (over && health.backlog_stopped))
    };
    if !tells || (kind == FindingKind::QueueGrowing && falls()) {
        return None;
    }
    let alike: Vec<&Finding> = snapshot
        .incidents_of(&record.workload)
        .filter(|incident| !incident.state.closed())
        .flat_map(|incident| &incident.findings)
        .filter(|finding| finding.active && finding.kind == kind && concerns(finding, record, snapshot))
        .collect();
    let of_it = alike.iter().filter(|finding| reached(finding, record, sent, snapshot));
    if let Some(finding) = of_it.max_by_key(|finding| finding.last_seen) {
        if finding.last_seen > sent {
            return Some(until(record, now, &format!("{kind} is still found of {}", finding.entity)));
        }
        // What was not measured since says nothing against it.
        if !over {
            return Some(Verdict::Wait(format!("{kind} of {} was not measured since", finding.entity)));
        }
    }
    // That a new process finds nothing says something once it has looked for a while.
    let compares = matches!(kind.source(), EvidenceSource::Series | EvidenceSource::Siblings);
    let began_since = snapshot.synced_since.is_some_and(|began| sent < began);
    if compares && began_since && !snapshot.listened(now) {
        return Some(Verdict::Wait(format!(
            "{kind} was not looked for long enough since the start of this process"
        )));
    }
    // Another replica that stands apart has its turn.
    if kind != FindingKind::ReplicaOutlier || !alike.is_empty() || over {
        return None;
    }
    let mut made = snapshot.pods_of(&record.workload).filter(|pod| !pod.deleting && made_since(pod, sent));
    made.any(|pod| now.duration_since(pod.created) < COMPARED)
        .then(|| Verdict::Wait("its new pods are too young to be compared with their siblings".to_owned()))
}

/// Whether a finding speaks of the action's workload, or of a pod of it that is there and stays.
fn concerns(finding: &Finding, record: &ActionRecord, snapshot: &Snapshot) -> bool {
    let stays = match &finding.entity {
        Entity::Pod { key, uid, .. } => {
            snapshot.pods.get(key).is_some_and(|pod| pod.uid == *uid && !pod.deleting)
        }
        _ => true,
    };
    stays && finding.entity.workload() == Some(&record.workload)
}

/// Whether a finding speaks of what the action reached. One on a single pod reached that pod, and those that came since.
fn reached(finding: &Finding, record: &ActionRecord, sent: Timestamp, snapshot: &Snapshot) -> bool {
    let Entity::Pod { key, uid, .. } = &finding.entity else { return true };
    &*record.target.kind != "Pod"
        || *uid == record.target.uid
        || snapshot.pods.get(key).is_some_and(|pod| made_since(pod, sent))
}

/// The pod came after the effect. Creation times have a resolution of one second.
fn made_since(pod: &PodRecord, sent: Timestamp) -> bool {
    pod.created.as_second() >= sent.as_second()
}

/// A verdict as long as the rollout that *this* action asked for is not complete; `None` once it is.
fn rollout(record: &ActionRecord, snapshot: &Snapshot, now: Timestamp) -> Option<Verdict> {
    let Some(controller) = snapshot.controller_of(&record.workload) else {
        return Some(until(record, now, "the controller is not known"));
    };
    // The snapshot may be older than the effect: without a new revision it shows the world before.
    let begun = match (&record.before.revision, &controller.revision) {
        (Some(before), Some(present)) => before != present,
        _ => snapshot
            .pods_of(&record.workload)
            .filter(|pod| !pod.deleting)
            .all(|pod| record.instants.sent.is_some_and(|sent| made_since(pod, sent))),
    };
    if !begun {
        return Some(until(record, now, "the rollout has not begun"));
    }
    if controller.rolling_out() {
        if let Some(verdict) = new_pods_crash(record, snapshot) {
            return Some(verdict);
        }
        let text =
            format!("{} of {} replicas are of the new template", controller.updated, controller.replicas);
        return Some(until(record, now, &text));
    }
    pods_ready(record, snapshot, now)
}

/// The verdict on an action that rolls its workload out, which `what` names: it helped once that ended and, where they count, the
/// objectives are met.
pub(super) fn rolled_out(record: &ActionRecord, snapshot: &Snapshot, now: Timestamp, what: &str) -> Verdict {
    if let Some(verdict) = rollout(record, snapshot, now) {
        return verdict;
    }
    match record.verification.expect {
        Expectation::Nothing | Expectation::RolloutComplete => {
            Verdict::Helped(format!("{what} ended and all replicas are ready"))
        }
        Expectation::ObjectivesMet => objectives_met(record, snapshot, now),
    }
}
