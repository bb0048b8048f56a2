//! Is the eviction of a pod due? The kubelet's own help, the age of the evidence and the start of a new
//! process come first.

use crate::case::Case;
use crate::decision::{Stop, later, words};
use crate::kubelet::{self, Down};
use crate::nodes;
use crate::resize;
use crate::room;
use homeostat_knowledge::records::PodPhase;
use homeostat_knowledge::{
    ActionKind, ActionState, ControllerKind, Entity, FindingKind, Incident, PodRecord, SignedDuration,
    Timestamp,
};
use homeostat_playbooks::{After, Rung};

/// Time that the kubelet gets where a playbook does not say it.
const KUBELET_GRACE: SignedDuration = SignedDuration::from_secs(3);
/// A process younger than the finding must be seen sick for so long: the failures may be those of the one before.
const YOUNG: SignedDuration = SignedDuration::from_secs(10);

/// The kind is told by the state of the container itself, not by calls.
pub(crate) fn told_by_container(kind: FindingKind) -> bool {
    matches!(
        kind,
        FindingKind::Crashed | FindingKind::BackingOff | FindingKind::CrashLoop | FindingKind::OutOfMemory
    )
}

/// Seconds until the evicted process is killed. A `StatefulSet`'s pod always keeps its own grace period: what it has in
/// hand may be the only copy.
pub(crate) fn grace(pod: &PodRecord, rung: &Rung) -> Option<u32> {
    let stateful = pod.owner.as_ref().is_some_and(|owner| owner.kind == ControllerKind::StatefulSet);
    rung.grace_seconds.filter(|_| !stateful && !pod.local_data)
}

/// When the evidence for evicting this pod was taken, and why it is due; or why it is not.
pub(crate) fn due(case: &Case<'_>, pod: &PodRecord, after: After) -> Result<(Timestamp, String), Stop> {
    let kind = case.cause.kind;
    let node = pod.node.as_ref().and_then(|name| case.snapshot.nodes.get(name));
    if let Some(node) = node {
        nodes::left_alone(node)?;
    }
    if let Some(node) = node.filter(|node| !node.ready) {
        return Err(Stop::wait(format!(
            "node {} does not answer: nobody there could end {} or start another one",
            node.name, pod.key
        )));
    }
    if let Some(found) = case.also(FindingKind::NodeNotReady) {
        return Err(Stop::wait(format!(
            "{} is not ready, says the same incident: {} may be there",
            found.entity, pod.key
        )));
    }
    if pod.phase == PodPhase::Unknown {
        return Err(Stop::wait(format!(
            "nothing is known of {} since its kubelet fell silent: what it does, and whether it could be ended",
            pod.key
        )));
    }
    room::after_leaving(case, pod)?;
    short_of_time(case, pod)?;
    beside_a_stranger(case, pod)?;
    never_started(case, pod)?;
    better_than_none(case, pod)?;
    can_begin(case, pod)?;
    if let Some(down) = kubelet::down(pod) {
        if let Some(reason) = resize::at_the_bound(case, pod) {
            return Err(Stop::hand_over(reason));
        }
        return down_due(case, pod, &down, after);
    }
    if told_by_container(kind) {
        return Err(Stop::wait(format!(
            "the kubelet has started {} again: its first answers decide",
            pod.key
        )));
    }
    let start = kubelet::newest_start(pod);
    if kubelet::starting(pod, case.now) {
        let end = later(start, kubelet::START_ALLOWANCE);
        return Err(Stop::until(end, format!("{} is starting", pod.key)));
    }
    if kind == FindingKind::NotReady && pod.ready {
        return Err(Stop::wait(format!("{} is ready again", pod.key)));
    }
    if kind == FindingKind::NotReady && case.since() <= later(start, SETTLED) {
        let end = later(start, SLOW_START);
        if case.now < end {
            return Err(Stop::until(
                end,
                format!("{} was never ready: a process gets {} to start", pod.key, words(SLOW_START)),
            ));
        }
    }
    let seen = if kind == FindingKind::NotReady { Some(case.now) } else { case.last_seen() };
    let Some(seen) = seen else {
        return Err(Stop::wait("no active finding supports the cause any more"));
    };
    let since = case.since();
    if since < start && seen < later(start, YOUNG) {
        return Err(Stop::wait(format!(
            "the process of {} is younger than the finding: nothing says yet that it is sick too",
            pod.key
        )));
    }
    answers_again(case, seen)?;
    let limit = maximum_age(case);
    let age = case.now.duration_since(seen);
    if age > limit {
        return Err(Stop::wait(format!(
            "the evidence is {} old, at most {} count",
            words(age),
            words(limit)
        )));
    }
    // Spans come late: what was good at the end of a verification cannot be sick by what was seen before.
    if let Some(healed) = case.healed_at().filter(|healed| seen <= *healed) {
        return Err(Stop::wait(format!(
            "the last action was seen to help at {healed:.3}, after this evidence: it must be seen again"
        )));
    }
    warmed_up(case, pod, start)?;
    let (at, why) = match after {
        After::Immediately | After::InQuietMinute { .. } => {
            (since, "nothing heals this by itself".to_owned())
        }
        After::WhenKubeletGaveUp { grace } => {
            (later(since.max(start), grace), format!("nothing changed for {}", words(grace)))
        }
        After::WhenStillAbnormal { age } => (later(since, age), format!("it lasts for {}", words(age))),
    };
    if case.now < at {
        return Err(Stop::until(at, format!("{kind} may pass by itself: it gets until {at:.3}")));
    }
    Ok((seen, why))
}

/// A process that was never ready may need so long for its start.
const SLOW_START: SignedDuration = SignedDuration::from_mins(5);

/// A process that began a moment ago is later than its siblings, and than the one before: its caches are cold.
const WARM_UP: SignedDuration = SignedDuration::from_secs(60);

/// A fault that began so long after the start of its process is none of its start.
const SETTLED: SignedDuration = SignedDuration::from_secs(5);

/// What a young process does says little: its first calls meet cold caches and connections that are not made yet. Not so where
/// an action was seen to help since. One that differs from its siblings, or is late from its start on, may be so for a minute.
fn warmed_up(case: &Case<'_>, pod: &PodRecord, start: Timestamp) -> Result<(), Stop> {
    let settled = case.since() > later(start, SETTLED);
    let time = match case.cause.kind {
        FindingKind::ReplicaOutlier => WARM_UP,
        FindingKind::Slow if !settled => WARM_UP,
        FindingKind::Hung | FindingKind::ErrorBurst | FindingKind::Unreachable => YOUNG,
        _ => return Ok(()),
    };
    let end = later(start, time);
    if case.now >= end || case.healed_at().is_some_and(|healed| healed >= start) {
        return Ok(());
    }
    let reason = format!("the process of {} is younger than {}: it may be warming up", pod.key, words(time));
    Err(Stop::until(end, reason))
}

/// So many good calls over so long, and no failure among them, say more than the finding.
const GOOD_CALLS: u64 = 3;
const ANSWERS_AGAIN: SignedDuration = SignedDuration::from_secs(2);

/// Calls went well after the newest sign of the finding, and none failed since: whatever it was, it passes. A call that fails
/// renews the finding.
fn answers_again(case: &Case<'_>, seen: Timestamp) -> Result<(), Stop> {
    let fails =
        matches!(case.cause.kind, FindingKind::Hung | FindingKind::Unreachable | FindingKind::ErrorBurst);
    let health = case.subject.as_ref().and_then(|subject| case.snapshot.health.get(subject.key));
    let Some(health) = health.filter(|_| fails) else { return Ok(()) };
    let (Some(since), Some(last)) = (health.good_since, health.last_good) else { return Ok(()) };
    let good = last.duration_since(since);
    // Where nobody calls, probes stand for calls, and those of a hung process may well pass: they count none.
    if since > seen && good >= ANSWERS_AGAIN && health.good_calls >= GOOD_CALLS {
        return Err(Stop::wait(format!(
            "calls went well for {} after the newest sign of it, and none failed since",
            words(good)
        )));
    }
    Ok(())
}

/// What waited while a node was short of processor time is late for so long afterwards.
const CATCH_UP: SignedDuration = SignedDuration::from_secs(10);

/// A node that is short of processor time makes its pods late and lets them answer with errors; a new pod there would do no
/// better. Errors that are answered at once are not its doing. One that stands apart from its siblings elsewhere, or is too late for its probe, is moved once the node takes no
/// new pods. Without any sign of life it is another thing, which the analysis tells apart; but where a new pod was no better
/// already, the next one would not be either as long as the node is not known to be well.
fn short_of_time(case: &Case<'_>, pod: &PodRecord) -> Result<(), Stop> {
    let Some(name) = &pod.node else { return Ok(()) };
    let closed = case.snapshot.nodes.get(name).is_some_and(|node| node.closed());
    let tried = case.snapshot.actions.values().any(|action| {
        action.incident == case.incident.id
            && action.kind() == ActionKind::EvictPod
            && matches!(action.state, ActionState::Failed | ActionState::HandedOver)
    });
    match case.cause.kind {
        FindingKind::ErrorBurst if case.wrong_at_once() && !tried => return Ok(()),
        FindingKind::Slow | FindingKind::ErrorBurst => {}
        FindingKind::Hung | FindingKind::Unreachable if tried => {}
        FindingKind::ReplicaOutlier | FindingKind::NotReady if !closed => {}
        _ => return Ok(()),
    }
    let short = |incident: &Incident| {
        let own = incident.id == case.incident.id;
        let unwell = tried && incident.instants.mitigated.is_none();
        !incident.state.closed()
            && incident.findings.iter().any(|finding| {
                (unwell || finding.active || case.now < later(finding.last_seen, CATCH_UP))
                    && finding.kind == FindingKind::NoisyNeighbour
                    && (own || matches!(&finding.entity, Entity::Node { name: node } if node == name))
            })
    };
    match case.snapshot.incidents.values().find(|incident| short(incident)) {
        Some(known) => Err(Stop::wait(format!(
            "node {name} is short of processor time (incident {}): a new pod of {} would be late too",
            known.id, pod.key
        ))),
        None => Ok(()),
    }
}

/// Errors that begin so soon after a stranger's start may be of its making; lateness, which grows, for longer.
const STRANGER: SignedDuration = SignedDuration::from_secs(10);
const STRANGER_IF_SLOW: SignedDuration = SignedDuration::from_secs(30);
/// A node that is short of processor time because of it is known after so long.
const TELLS: SignedDuration = SignedDuration::from_secs(10);

/// A run or a pod of nobody's workload began on this node a moment before the errors: whether it takes the node's processors
/// is not known at once. Who answers with errors, or late, waits until it would be.
fn beside_a_stranger(case: &Case<'_>, pod: &PodRecord) -> Result<(), Stop> {
    if !matches!(case.cause.kind, FindingKind::Slow | FindingKind::ErrorBurst) || pod.node.is_none() {
        return Ok(());
    }
    // Victims follow one another: what began the incident counts, not what is called its cause by now.
    let since = case.since().min(case.incident.instants.impact_start);
    let soon = if case.cause.kind == FindingKind::Slow { STRANGER_IF_SLOW } else { STRANGER };
    let suspect = |other: &PodRecord| {
        let start = kubelet::newest_start(other);
        other.uid != pod.uid
            && other.node == pod.node
            && other.phase == PodPhase::Running
            && start <= since
            && since.duration_since(start) <= soon
    };
    let stranger = |other: &PodRecord| {
        let run = other.owner.as_ref().is_some_and(|owner| owner.kind == ControllerKind::Job);
        run || case.snapshot.workload_of(other).is_none()
    };
    let end = later(since, TELLS);
    let mut pods = case.snapshot.pods.values().filter(|_| case.now < end);
    match pods.find(|other| suspect(other) && stranger(other)) {
        Some(other) => Err(Stop::until(
            end,
            format!(
                "{} began on the same node just before: until {end:.3} it may be what {} lacks",
                other.key, pod.key
            ),
        )),
        None => Ok(()),
    }
}

/// A pod whose init containers have not done their work, or whose image, volume or configuration is missing: another one
/// would meet the same.
fn never_started(case: &Case<'_>, pod: &PodRecord) -> Result<(), Stop> {
    if pod.phase != PodPhase::Pending {
        return Ok(());
    }
    if case.cause.kind == FindingKind::CrashLoop {
        return Err(Stop::hand_over(format!(
            "an init container of {} fails at every start: a new pod would begin with it again",
            pod.key
        )));
    }
    Err(Stop::wait(format!("{} has not begun to run: a new pod would wait for the same", pod.key)))
}

/// A pod that still answers is better than none: where its siblings do not serve, or a new one of them cannot begin. A ready
/// member of a `StatefulSet` stays even without an answer until another one serves: what it holds may be the only whole copy.
fn better_than_none(case: &Case<'_>, pod: &PodRecord) -> Result<(), Stop> {
    let answers =
        matches!(case.cause.kind, FindingKind::Slow | FindingKind::ErrorBurst | FindingKind::ReplicaOutlier);
    let member = pod.owner.as_ref().is_some_and(|owner| owner.kind == ControllerKind::StatefulSet);
    if !pod.serving() {
        return Ok(());
    }
    let pods = case.pods();
    let siblings = || pods.iter().filter(|other| other.uid != pod.uid && !other.deleting);
    let wanted =
        case.subject.as_ref().and_then(|subject| subject.controller).map_or(1, |found| found.replicas);
    // A pod that was not made yet serves as little as one that leaves.
    let unseen = usize::try_from(wanted).is_ok_and(|wanted| siblings().count() + 1 < wanted);
    let others = siblings().next().is_some() || wanted > 1;
    let alone = others
        && !siblings().any(|other| case.snapshot.serves(other))
        && !(unseen && case.ready() > i32::from(case.snapshot.serves(pod)));
    if alone && (answers || member) {
        return Err(Stop::wait(format!("{} is the only pod of its workload that serves", pod.key)));
    }
    if !answers {
        return Ok(());
    }
    if let Some(found) = case.also(FindingKind::QueueGrowing)
        && others
        && matches!(case.cause.entity, Entity::Workload { .. })
    {
        return Err(Stop::wait(format!(
            "work piles up at {} as well: it may be load, and {} does a part of it",
            found.entity, pod.key
        )));
    }
    if let Some(found) = case.also(FindingKind::CrashLoop) {
        return Err(Stop::wait(format!(
            "{} shows CrashLoop as well: what would replace {} may fail at every start too",
            found.entity, pod.key
        )));
    }
    let stuck = |other: &PodRecord| other.phase == PodPhase::Pending && !kubelet::starting(other, case.now);
    match siblings().find(|other| stuck(other)) {
        Some(waiting) => Err(Stop::wait(format!(
            "{} has not begun to run, and what would replace {} might not either",
            waiting.key, pod.key
        ))),
        None => enough_stay(case, pod),
    }
}

/// The pod that still answers goes only while nodes have room, and where two or more are away already, only if half of
/// them stay.
fn enough_stay(case: &Case<'_>, pod: &PodRecord) -> Result<(), Stop> {
    if let Some(found) = case.also(FindingKind::Unschedulable) {
        return Err(Stop::wait(format!(
            "{} shows that no node has room, and what would replace {} might not begin either",
            found.entity, pod.key
        )));
    }
    let Some(controller) = case.subject.as_ref().and_then(|subject| subject.controller) else {
        return Ok(());
    };
    let ready = case.ready();
    let away = controller.replicas.saturating_sub(ready);
    let staying = ready.saturating_sub(1);
    if away > 0 && case.cause.kind == FindingKind::Slow && case.also(FindingKind::MemoryGrowing).is_some() {
        return Err(Stop::wait(format!(
            "{ready} of {} pods serve: {} still answers, and why the others are away comes first",
            controller.replicas, pod.key
        )));
    }
    if away >= 2 && staying.saturating_mul(2) < controller.replicas {
        return Err(Stop::wait(format!(
            "{} of {} pods serve: without {} it would be fewer than half",
            ready, controller.replicas, pod.key
        )));
    }
    Ok(())
}

/// What replaces the pod begins with the same image and configuration: where they are missing for another pod of its
/// release, the present one may at least start again by itself.
fn can_begin(case: &Case<'_>, pod: &PodRecord) -> Result<(), Stop> {
    let pods = case.pods();
    let same = |other: &PodRecord| other.uid != pod.uid && other.owner == pod.owner && !other.deleting;
    match pods.iter().filter(|other| same(other)).find_map(|other| Some((other, kubelet::lacking(other)?))) {
        Some((other, reason)) => Err(Stop::wait(format!(
            "{} cannot begin ({reason}), and what would replace {} could not either",
            other.key, pod.key
        ))),
        None => Ok(()),
    }
}

fn down_due(
    case: &Case<'_>,
    pod: &PodRecord,
    down: &Down,
    after: After,
) -> Result<(Timestamp, String), Stop> {
    let name = &down.container;
    // The state of the container is known as of now: the watch would have told a change.
    if down.backs_off {
        if let Some(reason) = kubelet::ends_soon(pod) {
            return Err(Stop::hand_over(reason));
        }
        return Ok((case.now, format!("the kubelet backs off before it starts {name} of {} again", pod.key)));
    }
    if case.cause.kind == FindingKind::CrashLoop {
        return Ok((case.now, format!("{name} of {} fails at every start", pod.key)));
    }
    let grace = match after {
        After::WhenKubeletGaveUp { grace } => grace,
        _ => KUBELET_GRACE,
    };
    // Ends are told in whole seconds, rounded down; the first failed call is more exact.
    let ended = down.ended.unwrap_or(Timestamp::MIN).max(case.since());
    let at = later(ended, grace);
    if case.now < at {
        return Err(Stop::until(
            at,
            format!("{name} of {} ended; the kubelet starts it again within {}", pod.key, words(grace)),
        ));
    }
    let silence = words(case.now.duration_since(ended));
    Ok((case.now, format!("the kubelet has not started {name} of {} for {silence}", pod.key)))
}

/// Longest age of evidence that the tenant accepts.
pub(crate) fn maximum_age(case: &Case<'_>) -> SignedDuration {
    case.subject.as_ref().map_or(SignedDuration::ZERO, |subject| subject.tenant.limits.evidence_maximum_age)
}
