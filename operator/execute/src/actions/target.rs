//! Questions that several actions ask about their target.

use super::{Landed, Protected, Right, Unfit};
use crate::ports::FreshTarget;
use homeostat_knowledge::forecast::Scaler;
use homeostat_knowledge::policy::Allowance;
use homeostat_knowledge::{
    ActionRecord, ControllerKind, ControllerRecord, Name, PodRecord, SignedDuration, Snapshot, Timestamp,
};
use std::sync::Arc;

/// Longest time that a state is held (a cordon, a suspension).
pub const LONGEST_HOLD: SignedDuration = SignedDuration::from_hours(24);

/// The controller that the action is about: the workload's own target, still the one that was decided on.
pub(super) fn controller<'a>(
    record: &ActionRecord,
    snapshot: &'a Snapshot,
    protected: &Protected,
) -> Result<&'a Arc<ControllerRecord>, Unfit> {
    protected.refuse(&record.target.key.namespace)?;
    let Some(controller) = snapshot.controller_of(&record.workload) else {
        return Err(Unfit::Changed(format!("the target of workload {} is not known", record.workload)));
    };
    if controller.key.object != record.target.key
        || controller.key.kind != ControllerKind::from_kind(&record.target.kind)
    {
        return Err(Unfit::Protected(format!(
            "{} {} is not the target of workload {}",
            record.target.kind, record.target.key, record.workload
        )));
    }
    if controller.uid != record.target.uid {
        return Err(Unfit::Changed(format!(
            "another {} is called {} now",
            record.target.kind, record.target.key
        )));
    }
    protected.refuse_labels(controller)?;
    Ok(controller)
}

/// The same object as was decided on, and not on its way out.
pub(super) fn same_object(record: &ActionRecord, fresh: &FreshTarget) -> Result<(), Unfit> {
    let key = &record.target.key;
    if fresh.uid != record.target.uid {
        return Err(Unfit::Changed(format!("another {} is called {key} now", record.target.kind)));
    }
    if fresh.deleting {
        return Err(Unfit::Changed(format!("{key} is being deleted")));
    }
    Ok(())
}

/// The effect is not seen, which is `what`. Only an object that nobody wrote since the decision proves that it never
/// was there.
pub(super) fn absent(record: &ActionRecord, fresh: Option<&FreshTarget>, what: &str) -> Landed {
    match fresh {
        None => Landed::Unclear("the target is gone".to_owned()),
        Some(fresh) if fresh.uid != record.target.uid => {
            Landed::Unclear("another object has the target's name now".to_owned())
        }
        Some(fresh) if fresh.resource_version == record.target.resource_version => {
            Landed::No(format!("{what}, and nothing changed since the decision"))
        }
        Some(_) => Landed::Unclear(format!("{what}, but something changed since the decision")),
    }
}

/// Whether the effect is there, by an annotation of the target that holds the id of the action whose effect it is: `by` is what
/// the fresh read has in it.
pub(super) fn annotated(record: &ActionRecord, fresh: Option<&FreshTarget>, by: Option<&Name>) -> Landed {
    let same = fresh.is_some_and(|fresh| fresh.uid == record.target.uid);
    if same && by.is_some_and(|by| **by == *record.id.as_str()) {
        return Landed::Yes("the annotation holds this action's id".to_owned());
    }
    absent(record, fresh, "the annotation does not hold this action's id")
}

/// The controller of the fresh read.
pub(super) fn fresh_controller<'a>(
    record: &ActionRecord,
    fresh: &'a FreshTarget,
) -> Result<&'a ControllerRecord, Unfit> {
    same_object(record, fresh)?;
    fresh
        .controller
        .as_ref()
        .ok_or_else(|| Unfit::Changed(format!("the fresh read of {} shows no controller", record.target.key)))
}

/// What people explicitly allow for the workload.
pub(super) fn allows(record: &ActionRecord, snapshot: &Snapshot, what: Allowance) -> bool {
    snapshot.workloads.get(&record.workload).is_some_and(|policy| policy.permits.allow.contains(&what))
}

/// To see what else sizes pods.
pub(super) const SEES_VPA: Right =
    Right { api_group: "autoscaling.k8s.io", resource: "verticalpodautoscalers", verbs: &["list"] };

/// To see which targets KEDA scales, or will scale.
pub(super) const SEES_KEDA: Right =
    Right { api_group: "keda.sh", resource: "scaledobjects", verbs: &["list"] };

/// Refuses sizes of pods that a `VerticalPodAutoscaler` sets by itself: one would change what the other set.
pub(super) fn sized_by_nobody_else(record: &ActionRecord, snapshot: &Snapshot) -> Result<(), Unfit> {
    let target = snapshot.workloads.get(&record.workload).map(|policy| &policy.target);
    let scaler = target.and_then(|target| snapshot.scalers.get(target));
    if let Some(name) = scaler.and_then(Scaler::vertical) {
        return Err(Unfit::Protected(format!(
            "VerticalPodAutoscaler {name} sets the resources of {}; set its updateMode to Off, or leave them to it",
            record.workload
        )));
    }
    Ok(())
}

/// Refuses a number of replicas that a `HorizontalPodAutoscaler` or a `ScaledObject` of KEDA sets by itself.
pub(super) fn scaled_by_nobody_else(record: &ActionRecord, snapshot: &Snapshot) -> Result<(), Unfit> {
    let target = snapshot.workloads.get(&record.workload).map(|policy| &policy.target);
    let scaler = target.and_then(|target| snapshot.scalers.get(target));
    match scaler.map(Scaler::each).and_then(|all| all.iter().find(|one| one.vertical().is_none())) {
        Some(scaler) => Err(Unfit::Protected(format!(
            "{scaler} sets the replicas of {}; change its bounds, or leave them to it",
            record.workload
        ))),
        None => Ok(()),
    }
}

/// A held state must end by itself, and soon.
pub(super) fn bounded_hold(record: &ActionRecord, until: Timestamp) -> Result<(), Unfit> {
    let taken_at = record.evidence.taken_at;
    let latest = taken_at.checked_add(LONGEST_HOLD).unwrap_or(taken_at);
    if until <= taken_at || until > latest {
        return Err(Unfit::Protected(format!(
            "it would be held until {until:.0}; a held state must end within {} h of its evidence",
            LONGEST_HOLD.as_hours()
        )));
    }
    Ok(())
}

/// Refuses to let go of a member's data while another member is away: the two may hold the only copies.
pub(super) fn copies(
    pod: &PodRecord,
    set: &ControllerRecord,
    record: &ActionRecord,
    snapshot: &Snapshot,
) -> Result<(), Unfit> {
    if !pod.local_data {
        return Ok(());
    }
    let mut others = snapshot.pods_of(&record.workload).filter(|other| other.uid != pod.uid);
    let away = others.find(|other| !snapshot.serves(other)).map(|other| other.key.to_string());
    let missing = set.ready - i32::from(pod.serving()) < set.replicas - 1;
    match away.or_else(|| missing.then(|| "another member".to_owned())) {
        Some(other) => Err(Unfit::Protected(format!(
            "pod {} keeps data, and {other} of {} does not serve: the two may hold its last copies",
            pod.key, set.key.object
        ))),
        None => Ok(()),
    }
}

/// Refuses to take a serving member away from a `StatefulSet` of three or more, when what is left would be no
/// majority. Two members are a pair, no quorum; one is refused elsewhere.
pub(super) fn quorum(
    record: &ActionRecord,
    pod: &PodRecord,
    set: &ControllerRecord,
    snapshot: &Snapshot,
) -> Result<(), Unfit> {
    if set.replicas < 3 || !pod.serving() || allows(record, snapshot, Allowance::QuorumMember) {
        return Ok(());
    }
    let serving = snapshot
        .pods_of(&record.workload)
        .filter(|other| other.uid != pod.uid && snapshot.serves(other))
        .count();
    let majority = usize::try_from(set.replicas / 2 + 1).unwrap_or(usize::MAX);
    if serving < majority {
        return Err(Unfit::Protected(format!(
            "without pod {} only {serving} of {} members would serve, and {majority} are a quorum; allow it with QuorumMember in Workload.spec.allow",
            pod.key, set.replicas
        )));
    }
    Ok(())
}
