//! Replace all pods of a workload by its own rollout.

use super::{ActionSpec, Landed, Protected, Repeat, Right, Unfit, Verdict, owners, target, verify};
use crate::ports::{Field, FreshTarget};
use homeostat_knowledge::plan::Undo;
use homeostat_knowledge::policy::Allowance;
use homeostat_knowledge::{
    ActionKind, ActionRecord, ControllerKind, ControllerRecord, FindingKind, Level, Snapshot, Timestamp,
};

/// Sets the pod template's annotation `homeostat.dev/restarted-by` to the action's id; the controller rolls out.
///
/// Repeat-safe because the annotation's value is the action's id: setting it twice is one change, and a read
/// tells whether it is there.
#[derive(Clone, Copy, Debug)]
pub struct RollingRestart;

impl ActionSpec for RollingRestart {
    fn kind(&self) -> ActionKind {
        ActionKind::RollingRestart
    }

    fn reversible(&self) -> bool {
        true // The template stays the same but for one annotation.
    }

    fn alone_at(&self) -> Level {
        Level::ActBounded
    }

    fn rights(&self) -> &'static [Right] {
        &[
            Right { api_group: "apps", resource: "deployments", verbs: &["get", "patch"] },
            Right { api_group: "apps", resource: "statefulsets", verbs: &["get", "patch"] },
            Right { api_group: "apps", resource: "daemonsets", verbs: &["get", "patch"] },
        ]
    }

    fn undo(&self) -> Undo {
        Undo::None
    }

    fn field(&self) -> Option<Field> {
        Some(Field::Template)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Never
    }

    fn check(&self, record: &ActionRecord, snapshot: &Snapshot, protected: &Protected) -> Result<(), Unfit> {
        let controller = target::controller(record, snapshot, protected)?;
        if !target::allows(record, snapshot, Allowance::LocalData)
            && let Some(pod) = snapshot.pods_of(&record.workload).find(|pod| pod.local_data)
        {
            return Err(Unfit::Protected(format!(
                "pod {} keeps data that a restart would lose; allow it with LocalData in Workload.spec.allow",
                pod.key
            )));
        }
        restartable(controller)?;
        if target::allows(record, snapshot, Allowance::SingleReplica) {
            return Ok(());
        }
        stood_in_for(controller)
    }

    fn check_fresh(
        &self,
        record: &ActionRecord,
        _cause: Option<FindingKind>,
        fresh: &FreshTarget,
    ) -> Result<(), Unfit> {
        let key = &record.target.key;
        if fresh.uid != record.target.uid {
            return Err(Unfit::Changed(format!("another {} is called {key} now", record.target.kind)));
        }
        if fresh.restarted_by.as_deref() == Some(record.id.as_str()) {
            return Err(Unfit::Done(format!("{key} carries this restart already")));
        }
        if fresh.deleting {
            return Err(Unfit::Changed(format!("{key} is being deleted")));
        }
        let Some(controller) = &fresh.controller else {
            return Err(Unfit::Changed(format!("the fresh read of {key} shows no controller")));
        };
        restartable(controller)?;
        same_release(record, controller)?;
        owners::no_tool(record, fresh, Field::Template)
    }

    fn landed(&self, record: &ActionRecord, fresh: Option<&FreshTarget>) -> Landed {
        target::annotated(record, fresh, fresh.and_then(|fresh| fresh.restarted_by.as_ref()))
    }

    fn verify(&self, record: &ActionRecord, snapshot: &Snapshot, now: Timestamp) -> Verdict {
        verify::rolled_out(record, snapshot, now, "the rollout")
    }
}

/// Refuses controllers that a restart would harm or that others are changing.
fn restartable(controller: &ControllerRecord) -> Result<(), Unfit> {
    let key = &controller.key.object;
    match controller.key.kind {
        ControllerKind::Deployment | ControllerKind::StatefulSet | ControllerKind::DaemonSet => {}
        ControllerKind::ReplicaSet
        | ControllerKind::Job
        | ControllerKind::CronJob
        | ControllerKind::Other => {
            return Err(Unfit::Protected(format!("{key} is of a kind that cannot be rolled")));
        }
    }
    if controller.paused {
        return Err(Unfit::Protected(format!("the rollout of {key} is paused by a person")));
    }
    if controller.replicas == 0 && controller.key.kind != ControllerKind::DaemonSet {
        return Err(Unfit::Changed(format!("{key} has no replicas")));
    }
    if controller.key.kind == ControllerKind::Deployment
        && controller.replicas == 1
        && controller.ready > 0
        && !controller.surges
    {
        return Err(Unfit::Protected(format!(
            "{key} would take its only ready pod away first; set maxSurge to 1 and maxUnavailable to 0"
        )));
    }
    if controller.rolling_out() {
        return Err(Unfit::Done(format!("{key} is rolling out already")));
    }
    Ok(())
}

/// Refuses another release than the one that was ill: the picture that the decision stands on may be older than it.
fn same_release(record: &ActionRecord, controller: &ControllerRecord) -> Result<(), Unfit> {
    match (&record.before.revision, &controller.revision) {
        (Some(ill), Some(now)) if ill != now => Err(Unfit::Changed(format!(
            "{} is at revision {now} now, and revision {ill} was ill",
            controller.key.object
        ))),
        _ => Ok(()),
    }
}

/// Refuses a `StatefulSet` of one: its only pod goes before the new one comes.
fn stood_in_for(controller: &ControllerRecord) -> Result<(), Unfit> {
    if controller.key.kind == ControllerKind::StatefulSet && controller.replicas <= 1 {
        return Err(Unfit::Protected(format!(
            "{} has a single replica that nothing would stand in for; allow it with SingleReplica in Workload.spec.allow",
            controller.key.object
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        at, controller, fresh_controller, incident, pod, pod_entity, put_controller, put_pod, restart,
        snapshot,
    };
    use homeostat_knowledge::plan::Expectation;
    use homeostat_knowledge::{Name, Uid};
    use std::sync::Arc;

    fn deployment() -> ControllerRecord {
        controller(ControllerKind::Deployment, "order")
    }

    fn allowed(change: impl FnOnce(&mut ControllerRecord)) -> Result<(), Unfit> {
        let mut snapshot = snapshot();
        let mut controller = deployment();
        change(&mut controller);
        put_controller(&mut snapshot, controller);
        RollingRestart.check(&restart("order-1-1"), &snapshot, &Protected::with_own_namespace("homeostat"))
    }

    #[test]
    fn only_what_can_be_rolled_without_an_outage_is_restarted() {
        assert_eq!(allowed(|_| {}), Ok(()));
        assert!(matches!(allowed(|deployment| deployment.paused = true), Err(Unfit::Protected(_))));
        assert!(matches!(allowed(|deployment| deployment.surges = false), Err(Unfit::Protected(_))));
        assert_eq!(
            allowed(|deployment| {
                deployment.surges = false;
                deployment.ready = 0;
            }),
            Ok(()),
            "nothing serves, so nothing is taken away"
        );
        assert_eq!(
            allowed(|deployment| {
                deployment.surges = false;
                (deployment.replicas, deployment.current, deployment.ready, deployment.updated) =
                    (3, 3, 3, 3);
            }),
            Ok(())
        );
        assert!(matches!(allowed(|deployment| deployment.replicas = 0), Err(Unfit::Changed(_))));
        assert!(matches!(allowed(|deployment| deployment.updated = 0), Err(Unfit::Done(_))));
        assert!(matches!(allowed(|deployment| deployment.uid = Uid::new("another")), Err(Unfit::Changed(_))));
        let mut set = controller(ControllerKind::StatefulSet, "order");
        assert!(matches!(stood_in_for(&set), Err(Unfit::Protected(_))));
        (set.replicas, set.current, set.ready, set.updated) = (2, 2, 2, 2);
        assert_eq!((restartable(&set), stood_in_for(&set)), (Ok(()), Ok(())));
    }

    #[test]
    fn pods_with_local_data_forbid_it() {
        let mut snapshot = snapshot();
        let mut pod = pod();
        pod.local_data = true;
        put_pod(&mut snapshot, pod);
        let protected = Protected::with_own_namespace("homeostat");
        let result = RollingRestart.check(&restart("order-1-1"), &snapshot, &protected);
        assert!(matches!(result, Err(Unfit::Protected(_))));
        let own = Protected::with_own_namespace("shop");
        assert!(RollingRestart.check(&restart("order-1-1"), &crate::testing::snapshot(), &own).is_err());
    }

    #[test]
    fn the_annotation_tells_whether_it_was_done() {
        let record = restart("order-1-1");
        let mut fresh = fresh_controller(deployment());
        assert_eq!(RollingRestart.check_fresh(&record, None, &fresh), Ok(()));
        assert!(matches!(RollingRestart.landed(&record, Some(&fresh)), Landed::No(_)));
        fresh.restarted_by = Some(Name::from("order-1-1"));
        assert!(matches!(RollingRestart.check_fresh(&record, None, &fresh), Err(Unfit::Done(_))));
        assert!(matches!(RollingRestart.landed(&record, Some(&fresh)), Landed::Yes(_)));
        fresh.restarted_by = Some(Name::from("order-1-0"));
        fresh.resource_version = Name::from("written since");
        assert!(matches!(RollingRestart.landed(&record, Some(&fresh)), Landed::Unclear(_)));
        assert!(matches!(RollingRestart.landed(&record, None), Landed::Unclear(_)));
    }

    #[test]
    fn another_release_than_the_one_that_was_ill_is_not_restarted() {
        let record = restart("order-1-1");
        let judge = |revision: Option<&str>| {
            let mut deployment = deployment();
            deployment.revision = revision.map(Name::from);
            RollingRestart.check_fresh(&record, None, &fresh_controller(deployment))
        };
        assert_eq!(judge(Some("4")), Ok(()));
        assert!(matches!(judge(Some("5")), Err(Unfit::Changed(why)) if why.contains("revision 4")));
        assert_eq!(judge(None), Ok(()), "nothing tells of releases");
    }

    #[test]
    fn it_helped_when_its_own_rollout_is_complete_and_not_before() {
        let mut record = restart("order-1-1");
        record.verification.expect = Expectation::RolloutComplete;
        record.instants.sent = Some(at(0));
        let mut snapshot = snapshot();
        let mut judge = |change: fn(&mut ControllerRecord), second| {
            let mut controller = deployment();
            change(&mut controller);
            put_controller(&mut snapshot, controller);
            RollingRestart.verify(&record, &snapshot, at(second))
        };
        assert!(matches!(judge(|_| {}, 1), Verdict::Wait(_)), "the snapshot is older than the effect");
        assert!(matches!(judge(|_| {}, 30), Verdict::NotHelped(_)));
        let rolling: fn(&mut ControllerRecord) = |deployment| {
            deployment.revision = Some(Name::from("5"));
            (deployment.current, deployment.updated) = (2, 1);
        };
        assert!(matches!(judge(rolling, 2), Verdict::Wait(_)));
        assert!(matches!(judge(rolling, 30), Verdict::NotHelped(_)));
        assert!(matches!(
            judge(|deployment| deployment.revision = Some(Name::from("5")), 3),
            Verdict::Helped(_)
        ));
    }

    #[test]
    fn new_pods_helped_against_full_ephemeral_storage_once_it_is_not_found_to_fill_any_more() {
        let mut record = restart("order-1-1");
        record.instants.sent = Some(at(0));
        let mut snapshot = snapshot();
        let mut rolled = deployment();
        rolled.revision = Some(Name::from("5"));
        put_controller(&mut snapshot, rolled);
        let mut judge = |active, other: Option<FindingKind>, second| {
            let mut filling = incident("order-1", pod_entity(), FindingKind::EphemeralStorageFilling, -60);
            (filling.findings[0].active, filling.findings[0].last_seen) = (active, at(second));
            if let Some(kind) = other {
                filling.findings.extend(incident("order-2", pod_entity(), kind, 1).findings);
            }
            snapshot.incidents.insert_mut(filling.id.clone(), Arc::new(filling));
            RollingRestart.verify(&record, &snapshot, at(second))
        };
        assert!(
            matches!(judge(true, None, 20), Verdict::Wait(why) if why.contains("EphemeralStorageFilling"))
        );
        assert!(matches!(judge(true, None, 30), Verdict::NotHelped(_)), "the window is over");
        assert!(matches!(judge(false, None, 20), Verdict::Helped(_)));
        assert!(
            matches!(judge(true, Some(FindingKind::Slow), 20), Verdict::Helped(_)),
            "that is not held up"
        );
    }
}
