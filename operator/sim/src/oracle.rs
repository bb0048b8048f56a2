//! What must hold after any disturbance: S1 to S10 over the whole history, by the API server's record alone, and the
//! end state as far as it may be compared with that of an undisturbed run.

use crate::audit::Entry;
use crate::objects::controller_key;
use crate::world::Inner;
use homeostat_execute::guards::Mode;
use homeostat_knowledge::policy::Bounds;
use homeostat_knowledge::records::JobEnd;
use homeostat_knowledge::{
    ActionKind, ActionRecord, ActionState, ControllerRecord, Name, Origin, SignedDuration, TenantName,
    WorkloadKey,
};
use std::collections::BTreeMap;

/// Evidence may be older at the effect than at the last judgement by the time that requests take.
const ON_THE_WAY: SignedDuration = SignedDuration::from_secs(2);
/// Sizes are decided so often.
const SIZE_STEP: SignedDuration = SignedDuration::from_secs(15);

/// Every broken invariant, in words that begin with its name.
pub fn violations(inner: &Inner) -> Vec<String> {
    let mut found = Vec::new();
    for entry in &inner.audit.effects {
        effect(inner, entry, &mut found);
    }
    for (action, at) in &inner.audit.again {
        found.push(format!("S2: {action} was sent again at {at}, after its effect was carried out"));
    }
    for record in inner.server.actions.values() {
        closed(inner, record, &mut found);
    }
    found.extend(inner.audit.releases.iter().cloned());
    found.extend(inner.audit.zombies.iter().cloned());
    for action in &inner.audit.changed_after_end {
        found.push(format!("S8: {action} changed after its end"));
    }
    found
}

fn effect(inner: &Inner, entry: &Entry, found: &mut Vec<String>) {
    let landed = &entry.landed;
    let id = &landed.action;
    let Some(stored) = &landed.stored else {
        found.push(format!("S1: the effect of {id} came before its action was stored"));
        return;
    };
    if stored.state != ActionState::Claimed || stored.instants.intent.is_none() {
        found.push(format!("S1: the effect of {id} came while its action was {:?}", stored.state));
    }
    let same = |test: &dyn Fn(&Entry) -> bool| inner.audit.effects.iter().filter(|one| test(one)).count();
    if same(&|one| one.landed.action == *id) > 1 {
        found.push(format!("S2: {id} had more than one effect"));
    }
    if landed.kind == ActionKind::EvictPod
        && same(&|one| one.landed.kind == landed.kind && one.landed.uid == landed.uid) > 1
    {
        found.push(format!("S2: pod {} was evicted more than once", landed.uid));
    }
    found.extend(entry.exceeded.iter().map(|text| format!("S3: {id}: {text}")));
    found.extend(entry.forbidden.iter().map(|text| format!("S4: {id}: {text}")));
    if entry.owner.as_ref() != Some(&stored.tenant) {
        found.push(format!("S5: {id} of {} changed an object of {:?}", stored.tenant, entry.owner));
    }
    // What a fresh read shows must still be there; what only calls show may be as old as the limit.
    let limit = inner
        .server
        .tenants
        .get(&stored.tenant)
        .filter(|_| !landed.visible)
        .map_or(SignedDuration::ZERO, |tenant| tenant.limits.evidence_maximum_age);
    // A size counts as wanted until the next decision is due.
    let limit = if stored.origin == Origin::Forecast { limit + SIZE_STEP } else { limit };
    let age = landed.ill_at.map(|at| landed.at.duration_since(at));
    if let Some(undone) = &stored.undo_of {
        if !inner.audit.effects.iter().any(|one| one.landed.action == *undone) {
            found.push(format!("S10: {id} takes back {undone}, which was not done"));
        }
    } else if age.is_none_or(|age| age > limit + ON_THE_WAY) {
        found.push(format!("S6: {id} changed what was well for {age:?}"));
    }
    if landed.uid != stored.target.uid {
        found.push(format!("S7: {id} was decided on {} and changed {}", stored.target.uid, landed.uid));
    }
    let approved = || {
        let key = (id.clone(), stored.evidence.id.clone());
        inner.audit.approvals.contains_key(&key) && stored.approval.is_some()
    };
    match entry.mode {
        Some(Mode::Act) if landed.kind == ActionKind::RollBack && !approved() => {
            found.push(format!("S9: {id} needs an approval at every level, and nobody gave it"));
        }
        Some(Mode::Approve) if !approved() => {
            found.push(format!("S9: {id} needed an approval that nobody gave"));
        }
        Some(Mode::Nothing | Mode::Recommend) => {
            found.push(format!("S9: the level does not allow {id} at all"));
        }
        Some(Mode::Approve | Mode::Act) | None => {}
    }
    match inner.server.actions.get(&stored.key()) {
        Some(record) if record.state == ActionState::Claimed => {} // Still to be resolved.
        Some(record) if record.instants.sent.is_some() => {}
        _ => found.push(format!("S8: the effect of {id} is lost: its action does not tell of it")),
    }
}

fn closed(inner: &Inner, record: &ActionRecord, found: &mut Vec<String>) {
    let id = &record.id;
    let effects = inner.audit.effects.iter().filter(|entry| entry.landed.action == *id).count();
    // What says that its outcome is unknown counts as done, and may have had none.
    let done = record.instants.acknowledged.is_some() && record.kind() != ActionKind::Notify;
    if done && effects != 1 {
        found.push(format!("S8: {id} says that it was done, and had {effects} effects"));
    }
    if record.state == ActionState::Undone && effects == 0 {
        found.push(format!("S10: {id} was undone and never done"));
    }
    if record.state.ended() {
        if record.instants.closed.is_none() || record.message.is_empty() {
            found.push(format!("S8: {id} ended as {:?} without time or reason", record.state));
        }
        if record.instants.sent.is_some() && record.guards.is_empty() {
            found.push(format!("S8: {id} had an effect and no results of guards"));
        }
    }
}

/// A workload at the end, without what differs from run to run (names, UIDs, versions, times).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rest {
    /// Wanted, present, ready replicas.
    pub replicas: (i32, usize, usize),
    /// Version of the program.
    pub image: Name,
    /// Rollout paused, or suspended.
    pub paused: bool,
    /// Bounds of its autoscaler.
    pub bounds: Option<Bounds>,
    /// What the pods ask for, thousandths of a core, in order of size.
    pub cpu_millis: Vec<u64>,
    /// Jobs by how they ended, those that are under way left out.
    pub ended: (usize, usize),
    /// Somebody is ill.
    pub ill: bool,
}

/// The end of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndState {
    /// Workloads.
    pub workloads: BTreeMap<WorkloadKey, Rest>,
    /// Cordoned nodes.
    pub cordoned: Vec<Name>,
    /// Effects: which kind of action, for which workload, how often.
    pub effects: BTreeMap<(ActionKind, TenantName, WorkloadKey), usize>,
    /// Actions that are not at their end.
    pub open: usize,
}

/// The end state as it is now.
pub fn end_state(inner: &Inner) -> EndState {
    let server = &inner.server;
    let mut workloads = BTreeMap::new();
    for (key, service) in &inner.services {
        let target = service.situation.targets().map(|kind| controller_key(kind, key));
        let controller = target.and_then(|key| server.controllers.get(&key));
        let Some(controller) = controller else { continue };
        let pods: Vec<_> = server.pods_of(&controller.record.key).collect();
        let mut cpu_millis: Vec<u64> = pods.iter().filter_map(|pod| pod.requests.cpu_millis).collect();
        cpu_millis.sort_unstable();
        let ended = |end: JobEnd| {
            let jobs = server.controllers.values().map(|one| &one.record);
            let own = |job: &&ControllerRecord| {
                job.owner.as_ref().is_some_and(|owner| owner.uid == controller.record.uid)
            };
            jobs.filter(own).filter(|job| job.finished == Some(end)).count()
        };
        let rest = Rest {
            replicas: (
                controller.record.replicas,
                pods.len(),
                pods.iter().filter(|pod| pod.record.serving()).count(),
            ),
            image: controller.template.image.clone(),
            paused: controller.record.paused,
            bounds: server.autoscalers.get(&controller.record.key).map(|one| one.record.bounds),
            cpu_millis,
            ended: (ended(JobEnd::Complete), ended(JobEnd::Failed)),
            ill: service.situation.ailing(server, key).is_some(),
        };
        workloads.insert(key.clone(), rest);
    }
    let mut effects = BTreeMap::new();
    for entry in &inner.audit.effects {
        if let Some(stored) = &entry.landed.stored {
            let key = (entry.landed.kind, stored.tenant.clone(), stored.workload.clone());
            *effects.entry(key).or_default() += 1;
        }
    }
    EndState {
        workloads,
        cordoned: server
            .nodes
            .values()
            .filter(|node| node.record.cordoned)
            .map(|node| node.record.name.clone())
            .collect(),
        effects,
        open: server.open_actions().count(),
    }
}
