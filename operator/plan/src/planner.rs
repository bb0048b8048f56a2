//! The way of one incident to a decision. Levels, pauses, budgets and the other switches are the guards'
//! business: what is planned here is what would be right, not what is allowed now.

use crate::advice;
use crate::case::{Case, Subject};
use crate::decision::{Decision, Stop, later, words};
use crate::history::REFUSALS;
use crate::{
    ahead, changes, drain, evict, kubelet, ladder, nodes, quiet, resize, room, select, sick, taken_back,
};
use homeostat_knowledge::action::EvidenceRef;
use homeostat_knowledge::observation::SourceState;
use homeostat_knowledge::{
    ActionKind, ActionRecord, Before, ControllerKind, ControllerRecord, Draft, Entity, FindingKind, IdSource,
    Incident, IncidentState, Parameters, Plan, PlanId, PlaybookRef, PodRecord, Severity, SignedDuration,
    Snapshot, Step, Target, TenantName, Timestamp, Uid, WorkloadKey,
};
use homeostat_playbooks::{After, Playbook, Rung};

/// Decides what to do about one incident now.
///
/// Pure: the same incident, snapshot, playbooks, instant and id source give the same decision. Meant to be
/// called for every incident that is not closed, whenever it or its surroundings change, and at the latest
/// at the instant that the last [`Decision::Wait`] named. A plan holds exactly one step.
pub fn plan(
    incident: &Incident,
    snapshot: &Snapshot,
    playbooks: &[Playbook],
    now: Timestamp,
    ids: &mut dyn IdSource,
) -> Decision {
    let mut notes = Vec::new();
    match decide(incident, snapshot, playbooks, now, ids, &mut notes) {
        Ok(plan) => Decision::Act(plan),
        Err(stop) => stop.decide(|| advice::commands(incident, snapshot), notes),
    }
}

fn decide(
    incident: &Incident,
    snapshot: &Snapshot,
    playbooks: &[Playbook],
    now: Timestamp,
    ids: &mut dyn IdSource,
    notes: &mut Vec<String>,
) -> Result<Plan<Draft>, Stop> {
    let case = Case::open(incident, snapshot, now)?;
    notes.push(incident.summary());
    let underway = case.history.in_flight().filter(|action| !contradicted(&case, action));
    if let Some(action) = underway {
        let until = action.instants.sent.map(|sent| later(sent, action.verification.within));
        let reason = format!("action {} ({}) is under way: {:?}", action.id, action.kind(), action.state);
        return Err(Stop::Wait { until, reason });
    }
    if let Some(action) = busy_elsewhere(&case) {
        return Err(Stop::wait(format!(
            "action {} of incident {} is under way on the same workload",
            action.id, action.incident
        )));
    }
    match next(&case, playbooks, notes) {
        Ok((playbook, chosen)) => Ok(draft(&case, playbook, chosen, ids, notes)),
        Err(stop) => {
            let end = drain::end(&case, playbooks, stop)?;
            Ok(draft(&case, end.playbook, end.chosen, ids, notes).taking_back(end.cordon))
        }
    }
}

/// The step that is due, with the playbook that asks for it.
fn next<'p>(
    case: &Case<'_>,
    playbooks: &'p [Playbook],
    notes: &mut Vec<String>,
) -> Result<(&'p Playbook, Chosen), Stop> {
    let playbook = select::choose(case, playbooks, notes)?;
    let chosen = if case.incident.state == IncidentState::Mitigated {
        aftercare(case, playbook)?
    } else {
        heal(case, playbook, notes)?
    };
    Ok((playbook, chosen))
}

/// An action for another incident that is under way on the same workload: one at a time.
fn busy_elsewhere<'a>(case: &Case<'a>) -> Option<&'a ActionRecord> {
    let key = case.subject.as_ref()?.key;
    let mut others = case.snapshot.actions.values().filter(|action| {
        action.incident != case.incident.id && action.workload == *key && action.state.in_flight()
    });
    others.next().map(|action| &**action)
}

/// A step that is due, with everything that the plan says about it.
pub(crate) struct Chosen {
    pub tenant: TenantName,
    pub workload: WorkloadKey,
    pub number: u32,
    pub rung: Rung,
    pub target: Target,
    pub parameters: Parameters,
    pub before: Before,
    pub taken_at: Timestamp,
    pub why: String,
}

/// A crash loop that is seen on something newer than the action's effect: the action did not help, and its
/// verification need not be waited for.
fn contradicted(case: &Case<'_>, action: &ActionRecord) -> bool {
    let Some(sent) = action.instants.sent else { return false };
    if case.cause.kind != FindingKind::CrashLoop {
        return false;
    }
    // Creation times have whole seconds, rounded down.
    let newer = |pod: &PodRecord| later(pod.created, SignedDuration::from_secs(1)) >= sent;
    let entities = std::iter::once(&case.cause.entity);
    entities.chain(case.supporting().map(|finding| &finding.entity)).any(|entity| match entity {
        Entity::Pod { key, uid, .. } => {
            *uid != action.target.uid
                && case.snapshot.pods.get(key).is_some_and(|pod| pod.uid == *uid && newer(pod))
        }
        _ => false,
    })
}

/// Why another process, run or replica cannot help: the same incident shows what the cause waits for, or that its node is
/// short of processor time. A single end, and an end at the memory limit, are the process's own all the same. Memory grows,
/// and disks fill, beside what waits for an answer that does not come: what is put by until then would be lost.
fn victim(case: &Case<'_>) -> Option<Stop> {
    use FindingKind::{
        BackingOff, CrashLoop, Crashed, DependencyDown, EphemeralStorageFilling, ErrorBurst, Hung, JobFailed,
        JobStuck, MemoryGrowing, NoisyNeighbour, NotReady, OutOfMemory, QueueGrowing, ReplicaOutlier, Slow,
        Unreachable,
    };
    let explaining: &[FindingKind] = match case.cause.kind {
        ErrorBurst if case.wrong_at_once() => &[DependencyDown],
        Hung | Slow | ErrorBurst => &[DependencyDown, NoisyNeighbour],
        // A victim of its node is moved; see `evict`.
        ReplicaOutlier
        | Unreachable
        | NotReady
        | CrashLoop
        | BackingOff
        | JobStuck
        | MemoryGrowing
        | EphemeralStorageFilling => &[DependencyDown],
        Crashed if ends_again(case) => &[DependencyDown],
        // Another run of the same template has the same memory.
        JobFailed => &[DependencyDown, OutOfMemory],
        // A backlog grows beside consumers that do not work it off.
        QueueGrowing => &[DependencyDown, Hung, ErrorBurst, Unreachable, CrashLoop, BackingOff, OutOfMemory],
        _ => return None,
    };
    let mut active = case.incident.findings.iter().filter(|finding| finding.active);
    let found = active.find(|finding| explaining.contains(&finding.kind))?;
    let more = if case.cause.kind == QueueGrowing { "more of the same" } else { "a restart" };
    Some(Stop::hand_over(format!(
        "{} shows {} as well, which explains {}: {more} would not help",
        found.entity, found.kind, case.cause.kind
    )))
}

/// What the same incident says of a silent source: only what is read off the state of objects is believed meanwhile. Where it
/// is known which source is down, the guards judge whether the finding comes from it.
fn unseen(case: &Case<'_>) -> Option<Stop> {
    if case.snapshot.sources.values().any(|report| matches!(report.state, SourceState::Down(_))) {
        return None;
    }
    let by_calls_or_samples = matches!(
        case.cause.kind,
        FindingKind::Hung
            | FindingKind::Slow
            | FindingKind::ErrorBurst
            | FindingKind::Unreachable
            | FindingKind::ReplicaOutlier
            | FindingKind::MemoryGrowing
            | FindingKind::VolumeFilling
            | FindingKind::QuotaFilling
            | FindingKind::EphemeralStorageFilling
            | FindingKind::QueueGrowing
            | FindingKind::NoisyNeighbour
    );
    let found = case.also(FindingKind::NoData).filter(|_| by_calls_or_samples)?;
    Some(Stop::wait(format!(
        "{} shows NoData as well: nothing is done on the account of a source that is silent",
        found.entity
    )))
}

/// The kubelet waits, or will wait, before it starts the process of the cause again.
fn ends_again(case: &Case<'_>) -> bool {
    case.pods().into_iter().any(|pod| {
        let meant = match &case.cause.entity {
            Entity::Pod { uid, .. } => pod.uid == *uid,
            _ => true,
        };
        meant && kubelet::backs_off(pod)
    })
}

fn heal(case: &Case<'_>, playbook: &Playbook, notes: &mut Vec<String>) -> Result<Chosen, Stop> {
    if let Some(stop) = unseen(case).or_else(|| victim(case)) {
        return Err(stop);
    }
    let mut tries = ladder::Tries::default();
    for (number, rung) in playbook.healing() {
        if rung.action == ActionKind::Notify {
            return Err(tell(case, playbook, rung));
        }
        if let Some(needed) = rung.requires
            && case.level(rung.action) < needed
        {
            notes.push(format!("step {number} ({}) is only for {} and above", rung.action, needed.name()));
            tries.skip(case, playbook, number, rung);
            continue;
        }
        let subject = if nodes::about_node(rung.action) {
            None
        } else {
            Some(case.restartable().map_err(Stop::hand_over)?)
        };
        ladder::in_vain(case, playbook, subject)?;
        let effects = case.history.effects();
        if effects >= playbook.limits.actions {
            return Err(Stop::hand_over(format!("{effects} actions were taken and it keeps coming back")));
        }
        let (idle, limit) = (case.idle(), playbook.limits.give_up);
        // What is due when the time ends is still done.
        if idle > limit && !ladder::may_be_late(case, rung.action) {
            return Err(ladder::unhealed(case, idle));
        }
        if let Some(done) = tries.used_up(case, rung) {
            notes.push(format!("step {number} ({}) was tried {done} times and did not help", rung.action));
            continue;
        }
        ahead::due(case, rung)?;
        // Waits end at the latest when people must be told.
        let give_up = later(case.now, limit - idle);
        let chosen = found_of_late(case).and_then(|()| match subject {
            None => nodes::step(case, number, rung),
            Some(subject) => step(case, subject, number, rung),
        });
        return chosen.and_then(|chosen| lasting(case, chosen)).map_err(|stop| {
            if idle >= limit { ladder::unhealed(case, idle) } else { stop.at_latest(give_up) }
        });
    }
    Err(Stop::hand_over(format!("every step of playbook {} was tried", playbook.name)))
}

/// The analysis finds what holds anew with each look, ten times a second, also where an object shows the same since hours.
/// What it did not find for so long is no finding of now: it stood still, or was halted with the whole process.
const LOOKED: SignedDuration = SignedDuration::from_secs(60);

fn found_of_late(case: &Case<'_>) -> Result<(), Stop> {
    let Some(seen) = case.last_seen() else { return Ok(()) };
    let age = case.now.duration_since(seen);
    if age > LOOKED.max(evict::maximum_age(case)) {
        return Err(Stop::wait(format!("the evidence is {} old", words(age))));
    }
    Ok(())
}

/// Waits as long as the guards would refuse the step because the finding may pass by itself, whatever the playbook says:
/// a step that cannot be taken yet is no decision.
fn lasting(case: &Case<'_>, chosen: Chosen) -> Result<Chosen, Stop> {
    let minimum = case.minimum_duration(&chosen.tenant);
    let at = later(case.since(), minimum);
    if case.now < at {
        let reason = format!("{} may pass by itself: it must last for {}", case.cause.kind, words(minimum));
        return Err(Stop::until(at, reason));
    }
    Ok(chosen)
}

/// The end of a ladder: people, or only a line in the incident.
fn tell(case: &Case<'_>, playbook: &Playbook, rung: &Rung) -> Stop {
    if let Some(stop) = nodes::taken_away(case, playbook.limits.give_up) {
        return stop;
    }
    if let After::WhenStillAbnormal { age } = rung.after {
        let at = later(case.since(), age);
        if case.now < at {
            return Stop::until(
                at,
                format!("{} may pass by itself: it gets {}", case.cause.kind, words(age)),
            );
        }
    }
    let reason = match &case.cause.entity {
        Entity::External { address } => {
            let address: String = address.chars().filter(|c| !c.is_control()).take(253).collect();
            format!(
                "{address} lies outside of what is under control and fails its callers; restarting them would not help"
            )
        }
        entity => {
            let reason = format!("{entity} ({}): {}", case.cause.kind, playbook.description);
            match case.cause.evidence.first() {
                Some(line) if advice::begins_with_evidence(case.cause.kind) => format!("{reason} {line}"),
                _ => reason,
            }
        }
    };
    match rung.severity {
        Severity::Info => Stop::nothing(reason),
        Severity::Warning | Severity::Critical => Stop::hand_over(reason),
    }
}

/// New pods need the image and the configuration of the newest release; while they are missing, nothing is begun that
/// makes any.
fn can_make_pods(case: &Case<'_>, action: ActionKind) -> Result<(), Stop> {
    let makes = matches!(
        action,
        ActionKind::EvictPod | ActionKind::RollingRestart | ActionKind::ScaleUp | ActionKind::RetryJob
    );
    let lacks = [FindingKind::ImagePullFailed, FindingKind::SetupFailed, FindingKind::Unschedulable];
    if !makes || lacks.contains(&case.cause.kind) {
        return Ok(());
    }
    let missing = [
        (FindingKind::ImagePullFailed, "an image cannot be pulled"),
        (FindingKind::SetupFailed, "a volume or configuration is missing"),
    ];
    if let Some((found, what)) = missing.iter().find_map(|(kind, what)| Some((case.also(*kind)?, what))) {
        return Err(Stop::wait(format!("{} shows that {what}: a new pod needs it", found.entity)));
    }
    // An eviction makes the room that it needs.
    if let Some(found) = case.also(FindingKind::Unschedulable).filter(|_| action != ActionKind::EvictPod) {
        return Err(Stop::wait(format!(
            "{} shows that no node has room: a new pod needs some",
            found.entity
        )));
    }
    if matches!(action, ActionKind::RollingRestart | ActionKind::ScaleUp) {
        room::for_one_more(case)?;
    }
    let lacking = case.pods().into_iter().filter(|pod| !pod.deleting).find_map(|pod| {
        Some(format!("{} cannot begin ({}): a new pod could not either", pod.key, kubelet::lacking(pod)?))
    });
    match lacking.filter(|_| action != ActionKind::EvictPod) {
        Some(reason) => Err(Stop::wait(reason)),
        None => Ok(()),
    }
}

/// What fails at every start while it is rolled out fails by its release, which only a Deployment is taken back from here.
fn undone_by_people(case: &Case<'_>, controller: &ControllerRecord) -> Result<(), Stop> {
    let kind = controller.key.kind;
    let rolled = matches!(kind, ControllerKind::StatefulSet | ControllerKind::DaemonSet);
    if !rolled || !controller.rolling_out() || case.cause.kind != FindingKind::CrashLoop {
        return Ok(());
    }
    Err(Stop::hand_over(format!(
        "{} fails at every start while {} is rolling out: releases of a {kind:?} are taken back by people",
        case.cause.entity, controller.key.object
    )))
}

fn step(case: &Case<'_>, subject: &Subject<'_>, number: u32, rung: &Rung) -> Result<Chosen, Stop> {
    can_make_pods(case, rung.action)?;
    match rung.action {
        ActionKind::EvictPod => {
            let controller = replacing(subject)?;
            undone_by_people(case, controller)?;
            let pod = sick::find(case, subject)?;
            let (taken_at, why) = evict::due(case, pod, rung.after)?;
            willing(case, ActionKind::EvictPod, &pod.uid)?;
            let grace_seconds = evict::grace(pod, rung);
            let killed = grace_seconds.map(|seconds| format!(", it is killed after {seconds} s"));
            Ok(Chosen {
                tenant: subject.tenant.name.clone(),
                workload: subject.key.clone(),
                number,
                rung: rung.clone(),
                target: Snapshot::pod_target(pod),
                parameters: Parameters::EvictPod { grace_seconds },
                before: before(controller, Some(pod)),
                taken_at,
                why: format!("{why}: replace it by a new pod{}", killed.unwrap_or_default()),
            })
        }
        ActionKind::RollingRestart => {
            let controller = replacing(subject)?;
            if controller.rolling_out() {
                return Err(Stop::wait(format!("{} is rolling out already", subject.key)));
            }
            let against = [FindingKind::NodeNotReady, FindingKind::CrashLoop];
            if let Some(found) = against.iter().find_map(|kind| case.also(*kind)) {
                return Err(Stop::wait(format!(
                    "{} shows {} as well: it is no time to replace all pods of {}",
                    found.entity, found.kind, subject.key
                )));
            }
            if !controller.surges && case.ready() < controller.replicas {
                return Err(Stop::wait(format!(
                    "one pod of {} less would serve during a rollout",
                    subject.key
                )));
            }
            changes::settled(case)?;
            let Some(taken_at) = case.last_seen() else {
                return Err(Stop::wait("no active finding supports the cause any more"));
            };
            let at = match rung.after {
                After::WhenStillAbnormal { age } => later(case.since(), age),
                _ => case.since(),
            };
            if case.now < at {
                return Err(Stop::until(at, format!("{} may pass by itself", case.cause.kind)));
            }
            let age = case.now.duration_since(taken_at);
            if age > evict::maximum_age(case) {
                return Err(Stop::wait(format!("the evidence is {} old", words(age))));
            }
            let why = format!("all pods of {} are replaced by its own rollout", subject.key);
            restart(case, subject, number, rung, controller, None, taken_at, why)
        }
        ActionKind::ResizePod => resize::step(case, subject, number, rung),
        _ => changes::step(case, subject, number, rung),
    }
}

fn aftercare(case: &Case<'_>, playbook: &Playbook) -> Result<Chosen, Stop> {
    if case.incident.handed_over.is_some() {
        return Err(Stop::nothing("it is healed, and people have taken it over: what is left is theirs"));
    }
    let Some((number, rung)) = playbook.aftercare().next() else {
        return Err(Stop::nothing("it is healed and being watched"));
    };
    let After::InQuietMinute { quiet } = rung.after else {
        return Err(Stop::nothing("it is healed and being watched"));
    };
    if let Some(needed) = rung.requires.filter(|needed| case.level(rung.action) < *needed) {
        return Err(Stop::nothing(format!(
            "it is healed; step {number} ({}) is only for {} and above",
            rung.action,
            needed.name()
        )));
    }
    let subject = case.restartable().map_err(Stop::nothing)?;
    let (controller, pod) = quiet::due(case, subject, quiet)?;
    let why = format!(
        "{} was restarted {} times and does well: a new pod, ready before the old one goes, starts without the kubelet's back-off",
        pod.key,
        pod.restarts()
    );
    restart(case, subject, number, rung, controller, Some(pod), case.now, why)
}

#[expect(clippy::too_many_arguments, reason = "one place that fills every field of a restart")]
fn restart(
    case: &Case<'_>,
    subject: &Subject<'_>,
    number: u32,
    rung: &Rung,
    controller: &ControllerRecord,
    pod: Option<&PodRecord>,
    taken_at: Timestamp,
    why: String,
) -> Result<Chosen, Stop> {
    let Some(target) = Snapshot::controller_target(controller) else {
        return Err(Stop::hand_over(format!("what {} targets cannot be restarted", subject.key)));
    };
    if controller.paused {
        return Err(Stop::hand_over(format!(
            "the rollout of {} is paused: nothing would happen",
            subject.key
        )));
    }
    willing(case, ActionKind::RollingRestart, &controller.uid)?;
    Ok(Chosen {
        tenant: subject.tenant.name.clone(),
        workload: subject.key.clone(),
        number,
        rung: rung.clone(),
        target,
        parameters: Parameters::RollingRestart,
        before: before(controller, pod),
        taken_at,
        why,
    })
}

/// The controller that makes a new pod when one goes; without it an eviction would only destroy.
fn replacing<'a>(subject: &Subject<'a>) -> Result<&'a ControllerRecord, Stop> {
    let Some(controller) = subject.controller else {
        return Err(Stop::nothing(format!("what {} targets does not exist", subject.key)));
    };
    if controller.replicas == 0 {
        return Err(Stop::nothing(format!("{} is scaled to zero", subject.key)));
    }
    match controller.key.kind {
        ControllerKind::Deployment
        | ControllerKind::ReplicaSet
        | ControllerKind::StatefulSet
        | ControllerKind::DaemonSet => Ok(controller),
        ControllerKind::Job | ControllerKind::CronJob => {
            Err(Stop::hand_over(format!("a {:?} does not simply make a new pod", controller.key.kind)))
        }
        ControllerKind::Other => Err(Stop::hand_over(format!(
            "the controller of {} is of a kind that is not known to make new pods",
            subject.key
        ))),
    }
}

/// Nobody is being asked about the same thing, and the guards did not refuse it a moment ago.
pub(crate) fn willing(case: &Case<'_>, kind: ActionKind, uid: &Uid) -> Result<(), Stop> {
    if let Some(action) = case.history.proposed(kind, uid) {
        return Err(Stop::wait(format!("action {} proposes this already: {:?}", action.id, action.state)));
    }
    if let Some(why) = case.history.left_to_people(kind, uid) {
        let why = if why.is_empty() { "nobody answered" } else { why };
        let reason = format!("{kind} was asked for: {why}");
        return Err(match case.incident.state {
            IncidentState::Mitigated => Stop::nothing(reason),
            _ => Stop::hand_over(reason),
        });
    }
    taken_back::denied_of_late(case, kind)?;
    let Some(refusals) = case.history.refusals(kind, uid) else { return Ok(()) };
    if refusals.count >= REFUSALS {
        let reason = format!("{kind} was refused {} times: {}", refusals.count, refusals.message);
        return Err(match case.incident.state {
            IncidentState::Mitigated => Stop::nothing(reason),
            _ => Stop::hand_over(reason),
        });
    }
    // A replica that warms up after its start says no until that is over: once is enough.
    let warm = case.snapshot.synced_since.map(|synced| later(synced, case.snapshot.control.warm_up));
    let again =
        warm.filter(|_| refusals.of_ourselves).map_or(refusals.again, |warm| warm.max(refusals.again));
    if case.now < again {
        return Err(Stop::until(again, format!("{kind} was refused: {}", refusals.message)));
    }
    Ok(())
}

pub(crate) fn before(controller: &ControllerRecord, pod: Option<&PodRecord>) -> Before {
    Before {
        replicas: Some(controller.replicas),
        ready: Some(controller.ready),
        revision: controller.revision.clone(),
        restarts: pod.map(PodRecord::restarts),
        ..Before::default()
    }
}

fn draft(
    case: &Case<'_>,
    playbook: &Playbook,
    chosen: Chosen,
    ids: &mut dyn IdSource,
    notes: &mut Vec<String>,
) -> Plan<Draft> {
    let mut explanation = vec![format!("{}: {}", chosen.parameters.kind(), chosen.why)];
    explanation.append(notes);
    let coming = ahead::told(case).filter(|_| chosen.parameters.kind() == ActionKind::RollingRestart);
    explanation.extend(coming.clone());
    let summary = case.incident.summary() + &coming.map_or_else(String::new, |coming| format!("; {coming}"));
    Plan::draft(
        PlanId::new(format!("{}-{}", case.incident.id, ids.suffix(5))),
        case.incident.id.clone(),
        chosen.tenant,
        chosen.workload,
        case.snapshot.generation,
        PlaybookRef { name: playbook.name.clone(), version: playbook.version, step: chosen.number },
        vec![Step {
            target: chosen.target,
            parameters: chosen.parameters,
            before: chosen.before,
            verification: chosen.rung.verification.clone(),
            undo: chosen.rung.undo,
            evidence: EvidenceRef {
                id: case.incident.evidence.clone(),
                taken_at: chosen.taken_at,
                summary: summary.chars().take(256).collect(),
            },
        }],
        explanation,
    )
}
