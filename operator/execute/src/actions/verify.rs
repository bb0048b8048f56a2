//! Questions that several actions ask when they judge their success.

use super::Verdict;
use homeostat_knowledge::{
    ActionRecord, ContainerState, EvidenceSource, FindingKind, PodRecord, SignedDuration, Snapshot, Timestamp,
};

/// How long the signals must be good before an action counts as having helped. Long enough to see a second
/// failure of a process that dies right after its start, short against any verification window.
const HOLD: SignedDuration = SignedDuration::from_secs(3);

/// Restarts of a new pod after which it is said to crash by itself.
const CRASHES: u32 = 2;

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
        // Creation times have a resolution of one second.
        pod.created.as_second() >= sent.as_second()
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

/// A verdict as long as the ephemeral storage that new pods should have emptied is still found to fill; `None` once it fell, and
/// where it is about something else. Beside another finding it is not waited for: what that needs would wait as long.
pub(super) fn emptied(record: &ActionRecord, snapshot: &Snapshot, now: Timestamp) -> Option<Verdict> {
    let fills = FindingKind::EphemeralStorageFilling;
    let incident = snapshot.incidents.get(&record.incident)?;
    if incident.top_cause()?.kind != fills {
        return None;
    }
    let mut active = incident.findings.iter().filter(|finding| finding.active).peekable();
    let only = active.peek().is_some() && active.all(|finding| finding.kind == fills);
    only.then(|| until(record, now, "its ephemeral storage still fills"))
}

/// A verdict as long as the rollout that *this* action asked for is not complete; `None` once it is.
pub(super) fn rollout(record: &ActionRecord, snapshot: &Snapshot, now: Timestamp) -> Option<Verdict> {
    let Some(controller) = snapshot.controller_of(&record.workload) else {
        return Some(until(record, now, "the controller is not known"));
    };
    // The snapshot may be older than the effect: without a new revision it shows the world before.
    let begun = match (&record.before.revision, &controller.revision) {
        (Some(before), Some(present)) => before != present,
        _ => snapshot
            .pods_of(&record.workload)
            .filter(|pod| !pod.deleting)
            .all(|pod| record.instants.sent.is_some_and(|sent| pod.created.as_second() >= sent.as_second())),
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
