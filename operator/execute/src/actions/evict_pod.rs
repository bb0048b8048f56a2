//! Replace one pod through the Eviction API.

use super::{ActionSpec, Landed, Protected, Repeat, Right, Unfit, Verdict, target, verify};
use crate::ports::FreshTarget;
use homeostat_knowledge::plan::{Expectation, Undo};
use homeostat_knowledge::policy::Allowance;
use homeostat_knowledge::records::ControllerKey;
use homeostat_knowledge::{
    ActionKind, ActionRecord, ControllerKind, FindingKind, Level, ObjectKey, PodRecord, Snapshot, Timestamp,
};

/// Evicts the target pod; its controller makes a new one.
///
/// Repeat-safe because the eviction carries the UID as a precondition: the pod that was decided on can be
/// evicted once, a new pod of the same name is another object. A plain delete is never used, so a
/// `PodDisruptionBudget` always has its say.
#[derive(Clone, Copy, Debug)]
pub struct EvictPod;

impl ActionSpec for EvictPod {
    fn kind(&self) -> ActionKind {
        ActionKind::EvictPod
    }

    fn reversible(&self) -> bool {
        true // The controller brings an equal pod back.
    }

    fn alone_at(&self) -> Level {
        Level::ActBounded
    }

    fn rights(&self) -> &'static [Right] {
        &[
            Right { api_group: "", resource: "pods", verbs: &["get"] },
            Right { api_group: "", resource: "pods/eviction", verbs: &["create"] },
        ]
    }

    fn undo(&self) -> Undo {
        Undo::None
    }

    fn repeat(&self) -> Repeat {
        Repeat::Never
    }

    fn check(&self, record: &ActionRecord, snapshot: &Snapshot, protected: &Protected) -> Result<(), Unfit> {
        protected.refuse(&record.target.key.namespace)?;
        if &*record.target.kind != "Pod" {
            return Err(Unfit::Protected(format!("{} is no pod", record.target.kind)));
        }
        let key = &record.target.key;
        let pod = snapshot
            .pods
            .get(key)
            .ok_or_else(|| Unfit::Changed(format!("pod {key} is not known any more")))?;
        if pod.uid != record.target.uid {
            return Err(Unfit::Changed(format!("another pod is called {key} now")));
        }
        if pod.deleting {
            return Err(Unfit::Done(format!("pod {key} is being deleted already")));
        }
        if snapshot.workload_of(pod) != Some(&record.workload) {
            return Err(Unfit::Protected(format!(
                "pod {key} does not belong to workload {}",
                record.workload
            )));
        }
        if let Some(controller) = snapshot.controller_of(&record.workload) {
            protected.refuse_labels(controller)?;
        }
        if !target::allows(record, snapshot, Allowance::LocalData) {
            keeps_nothing(pod)?;
        }
        replaceable(pod)?;
        if let Some(owner) = &pod.owner
            && owner.kind == ControllerKind::StatefulSet
        {
            let set = ControllerKey {
                kind: owner.kind,
                object: ObjectKey { namespace: key.namespace.clone(), name: owner.name.clone() },
            };
            match snapshot.controllers.get(&set) {
                Some(set) if set.replicas > 1 => {
                    target::quorum(record, pod, set, snapshot)?;
                    target::copies(pod, set, record, snapshot)?;
                }
                Some(_) if target::allows(record, snapshot, Allowance::SingleReplica) => {}
                Some(_) => {
                    return Err(Unfit::Protected(format!(
                        "pod {key} is the only replica of its StatefulSet; allow it with SingleReplica in Workload.spec.allow"
                    )));
                }
                None => {
                    return Err(Unfit::Changed(format!("the StatefulSet of pod {key} is not known")));
                }
            }
        }
        Ok(())
    }

    fn check_fresh(
        &self,
        record: &ActionRecord,
        cause: Option<FindingKind>,
        fresh: &FreshTarget,
    ) -> Result<(), Unfit> {
        let key = &record.target.key;
        if fresh.uid != record.target.uid {
            return Err(Unfit::Changed(format!("another pod is called {key} now")));
        }
        if fresh.deleting {
            return Err(Unfit::Done(format!("pod {key} is being deleted already")));
        }
        let Some(pod) = &fresh.pod else {
            return Err(Unfit::Changed(format!("the fresh read of {key} shows no pod")));
        };
        replaceable(pod)?;
        let restarts = pod.restarts();
        match cause {
            // The evidence is about a process; after a restart it is about a process that is gone.
            Some(
                FindingKind::Hung | FindingKind::ErrorBurst | FindingKind::Slow | FindingKind::Unreachable,
            ) if record.before.restarts.is_some_and(|before| restarts > before) => Err(Unfit::Changed(
                format!("a container of pod {key} restarted since the decision ({restarts} restarts now)"),
            )),
            Some(
                FindingKind::Crashed
                | FindingKind::BackingOff
                | FindingKind::CrashLoop
                | FindingKind::OutOfMemory
                | FindingKind::NotReady,
            ) if pod.serving() => Err(Unfit::Changed(format!("pod {key} is ready again"))),
            _ => Ok(()),
        }
    }

    fn landed(&self, record: &ActionRecord, fresh: Option<&FreshTarget>) -> Landed {
        match fresh {
            None => Landed::There("the pod is gone, and who took it is not known".to_owned()),
            Some(fresh) if fresh.uid != record.target.uid => {
                Landed::There("another pod has its name now, and who did that is not known".to_owned())
            }
            Some(fresh) if fresh.deleting => {
                Landed::There("the pod is being deleted, and by whom is not known".to_owned())
            }
            // A deletion is not taken back, whatever else changes.
            Some(_) => Landed::No("the pod is there and not being deleted".to_owned()),
        }
    }

    fn verify(&self, record: &ActionRecord, snapshot: &Snapshot, now: Timestamp) -> Verdict {
        let gone = snapshot
            .pods
            .get(&record.target.key)
            .is_none_or(|pod| pod.uid != record.target.uid || pod.deleting);
        if !gone {
            return verify::until(record, now, "the evicted pod is still there");
        }
        match record.verification.expect {
            Expectation::Nothing => Verdict::Helped("the pod was replaced".to_owned()),
            Expectation::RolloutComplete => verify::pods_ready(record, snapshot, now)
                .unwrap_or_else(|| Verdict::Helped("all replicas are ready".to_owned())),
            Expectation::ObjectivesMet => verify::pods_ready(record, snapshot, now)
                .unwrap_or_else(|| verify::objectives_met(record, snapshot, now)),
        }
    }
}

/// Refuses pods that would lose data.
fn keeps_nothing(pod: &PodRecord) -> Result<(), Unfit> {
    if pod.local_data {
        return Err(Unfit::Protected(format!(
            "pod {} keeps data that an eviction would lose; allow it with LocalData in Workload.spec.allow",
            pod.key
        )));
    }
    Ok(())
}

/// Refuses pods that nobody would make again.
fn replaceable(pod: &PodRecord) -> Result<(), Unfit> {
    let key = &pod.key;
    match pod.owner.as_ref().map(|owner| owner.kind) {
        Some(ControllerKind::ReplicaSet | ControllerKind::StatefulSet | ControllerKind::DaemonSet) => Ok(()),
        Some(ControllerKind::Job | ControllerKind::CronJob) => Err(Unfit::Protected(format!(
            "pod {key} belongs to a Job, which would count the eviction as a failure"
        ))),
        Some(ControllerKind::Deployment | ControllerKind::Other) | None => {
            Err(Unfit::Protected(format!("no known controller would replace pod {key}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, controller, fresh_pod, pod, put_controller, put_pod, record, snapshot};
    use homeostat_knowledge::observation::{Change, ObjectChange};
    use homeostat_knowledge::records::OwnerRecord;
    use homeostat_knowledge::{ContainerState, Name, SignedDuration, Uid, WorkloadHealth};

    fn owner(kind: ControllerKind) -> OwnerRecord {
        OwnerRecord { kind, name: Name::from("order-rs"), uid: Uid::new("owner") }
    }

    fn allowed(change: impl FnOnce(&mut PodRecord)) -> Result<(), Unfit> {
        let mut snapshot = snapshot();
        let mut pod = pod();
        change(&mut pod);
        put_pod(&mut snapshot, pod);
        EvictPod.check(&record("order-1-1"), &snapshot, &Protected::with_own_namespace("homeostat"))
    }

    #[test]
    fn only_pods_that_come_back_without_losing_anything_are_evicted() {
        assert_eq!(allowed(|_| {}), Ok(()));
        assert!(matches!(allowed(|pod| pod.local_data = true), Err(Unfit::Protected(_))));
        assert!(matches!(allowed(|pod| pod.owner = None), Err(Unfit::Protected(_))));
        assert!(matches!(
            allowed(|pod| pod.owner = Some(owner(ControllerKind::Other))),
            Err(Unfit::Protected(_))
        ));
        assert!(matches!(
            allowed(|pod| pod.owner = Some(owner(ControllerKind::Job))),
            Err(Unfit::Protected(_))
        ));
        assert!(matches!(allowed(|pod| pod.uid = Uid::new("another")), Err(Unfit::Changed(_))));
        assert!(matches!(allowed(|pod| pod.deleting = true), Err(Unfit::Done(_))));
    }

    #[test]
    fn the_only_replica_of_a_stateful_set_is_left_alone() {
        for (replicas, expected) in [(1, false), (2, true)] {
            let mut snapshot = snapshot();
            let mut set = controller(ControllerKind::StatefulSet, "order");
            set.replicas = replicas;
            put_controller(&mut snapshot, set);
            let mut policy = crate::guards::testing::workload("order");
            policy.target.kind = ControllerKind::StatefulSet;
            let change = ObjectChange::Workload(Change::Applied(std::sync::Arc::new(policy)));
            snapshot.commit(&change, at(0));
            let mut pod = pod();
            pod.owner = Some(OwnerRecord {
                kind: ControllerKind::StatefulSet,
                name: Name::from("order"),
                uid: Uid::new("uid-order"),
            });
            put_pod(&mut snapshot, pod);
            let protected = Protected::with_own_namespace("homeostat");
            let result = EvictPod.check(&record("order-1-1"), &snapshot, &protected);
            assert_eq!(result.is_ok(), expected, "{replicas} replicas: {result:?}");
        }
    }

    #[test]
    fn the_fresh_read_must_show_the_same_process_still_sick() {
        let fresh = |change: fn(&mut PodRecord)| {
            let mut pod = pod();
            change(&mut pod);
            fresh_pod(pod)
        };
        let restarted: fn(&mut PodRecord) = |pod| pod.containers[0].restarts = 1;
        let down: fn(&mut PodRecord) = |pod| pod.ready = false;
        for (what, cause, change, expected) in [
            ("hangs", FindingKind::Hung, (|_| {}) as fn(&mut PodRecord), true),
            ("restarted by itself", FindingKind::Hung, restarted, false),
            ("restarted by itself", FindingKind::ErrorBurst, restarted, false),
            (
                "restarts are what it does",
                FindingKind::CrashLoop,
                |pod| {
                    pod.containers[0].restarts = 9;
                    pod.ready = false;
                },
                true,
            ),
            ("still down", FindingKind::BackingOff, down, true),
            ("up again", FindingKind::BackingOff, |_| {}, false),
            ("ready again", FindingKind::NotReady, |_| {}, false),
            ("another pod", FindingKind::Hung, |pod| pod.uid = Uid::new("another"), false),
            ("going already", FindingKind::Hung, |pod| pod.deleting = true, false),
        ] {
            let result = EvictPod.check_fresh(&record("order-1-1"), Some(cause), &fresh(change));
            assert_eq!(result.is_ok(), expected, "{what}: {result:?}");
        }
    }

    #[test]
    fn a_lost_reply_is_resolved_by_what_is_there() {
        let record = record("order-1-1");
        let mut going = pod();
        going.deleting = true;
        let mut other = pod();
        other.uid = Uid::new("another");
        for (fresh, there) in [
            (None, true),
            (Some(fresh_pod(going)), true),
            (Some(fresh_pod(other)), true),
            (Some(fresh_pod(pod())), false),
        ] {
            let landed = EvictPod.landed(&record, fresh.as_ref());
            assert_eq!(
                matches!(landed, Landed::There(_)),
                there,
                "a pod that is gone does not say who took it"
            );
            assert_eq!(matches!(landed, Landed::No(_)), !there);
        }
    }

    /// The old pod is gone, a new one is there since second 2.
    fn replaced(change: impl FnOnce(&mut PodRecord)) -> Snapshot {
        let mut snapshot = snapshot();
        snapshot.commit(&ObjectChange::Pod(Change::Deleted(pod().key)), at(1));
        let mut new = pod();
        new.key.name = Name::from("order-new");
        new.uid = Uid::new("new-uid");
        new.created = at(2);
        change(&mut new);
        put_pod(&mut snapshot, new);
        snapshot
    }

    fn sent() -> ActionRecord {
        let mut record = record("order-1-1");
        record.instants.sent = Some(at(0));
        record
    }

    #[test]
    fn it_helped_when_the_new_pod_is_ready_and_answers_well_for_a_while() {
        let judge = |snapshot: &Snapshot, second| EvictPod.verify(&sent(), snapshot, at(second));
        assert!(matches!(judge(&snapshot(), 5), Verdict::Wait(_)), "the old pod is still there");
        assert!(matches!(judge(&snapshot(), 30), Verdict::NotHelped(_)));
        assert!(matches!(judge(&replaced(|pod| pod.ready = false), 5), Verdict::Wait(_)));
        assert!(matches!(judge(&replaced(|_| {}), 5), Verdict::Helped(_)), "no calls are seen");
        let mut called = replaced(|_| {});
        let workload = record("x").workload;
        let failing = WorkloadHealth { last_failure: Some(at(4)), ..WorkloadHealth::default() };
        called.health.insert_mut(workload.clone(), failing);
        assert!(matches!(judge(&called, 5), Verdict::Wait(_)));
        assert!(matches!(judge(&called, 30), Verdict::NotHelped(_)));
        let well = WorkloadHealth { good_since: Some(at(6)), good_calls: 40, ..WorkloadHealth::default() };
        called.health.insert_mut(workload, well);
        assert!(matches!(judge(&called, 8), Verdict::Wait(_)), "good for 2 s only");
        assert!(matches!(judge(&called, 9), Verdict::Helped(_)));
    }

    #[test]
    fn after_a_restart_silence_is_no_success() {
        let hung =
            || crate::testing::incident("order-1", crate::testing::pod_entity(), FindingKind::Hung, -1);
        let judge = |snapshot: &Snapshot, second| EvictPod.verify(&sent(), snapshot, at(second));
        let mut restarted = replaced(|_| {});
        restarted.synced_since = Some(at(1));
        restarted.incidents.insert_mut(sent().incident, std::sync::Arc::new(hung()));
        assert!(matches!(judge(&restarted, 9), Verdict::Wait(_)), "its callers may not send yet");
        assert!(matches!(judge(&restarted, 180), Verdict::Wait(_)));
        assert!(matches!(judge(&restarted, 181), Verdict::Helped(_)), "nobody calls it");
        let well = WorkloadHealth { good_since: Some(at(6)), good_calls: 4, ..WorkloadHealth::default() };
        restarted.health.insert_mut(sent().workload, well);
        assert!(matches!(judge(&restarted, 9), Verdict::Helped(_)), "it is heard to answer");
    }

    #[test]
    fn who_took_the_place_of_an_outlier_is_compared_first_and_another_outlier_has_its_turn() {
        let outlier = |snapshot: &mut Snapshot, pod: &PodRecord| {
            let entity = snapshot.entity_of(pod);
            let mut found = crate::testing::incident("order-1", entity, FindingKind::ReplicaOutlier, -60);
            found.findings[0].last_seen = at(5);
            snapshot.incidents.insert_mut(found.id.clone(), std::sync::Arc::new(found));
        };
        let mut record = sent();
        record.verification.within = SignedDuration::from_secs(180);
        let judge = |snapshot: &Snapshot, second| EvictPod.verify(&record, snapshot, at(second));
        let mut gone = replaced(|_| {});
        outlier(&mut gone, &pod());
        assert!(matches!(judge(&gone, 81), Verdict::Wait(why) if why.contains("too young")));
        assert!(matches!(judge(&gone, 82), Verdict::Helped(_)));
        let mut restarted = gone.clone();
        restarted.synced_since = Some(at(1));
        assert!(matches!(judge(&restarted, 82), Verdict::Wait(why) if why.contains("start of this process")));
        assert!(matches!(judge(&restarted, 181), Verdict::Helped(_)));
        let mut again = replaced(|_| {});
        let new = again.pods_of(&record.workload).next().expect("the new pod").clone();
        outlier(&mut again, &new);
        assert!(matches!(judge(&again, 100), Verdict::Wait(why) if why.contains("is still found")));
        assert!(matches!(judge(&again, 180), Verdict::NotHelped(_)));
        let mut sibling = pod();
        (sibling.key.name, sibling.uid) = (Name::from("order-old"), Uid::new("old-uid"));
        let mut another = replaced(|_| {});
        put_pod(&mut another, sibling.clone());
        outlier(&mut another, &sibling);
        assert!(matches!(judge(&another, 6), Verdict::Helped(_)), "this one was there before");
        record.verification.within = SignedDuration::from_secs(30);
        assert!(matches!(EvictPod.verify(&record, &gone, at(30)), Verdict::Helped(_)), "the window is over");
    }

    #[test]
    fn a_new_pod_that_crashes_too_ends_the_wait_early() {
        let crashing = replaced(|pod| {
            pod.ready = false;
            pod.containers[0].restarts = 2;
        });
        assert!(matches!(EvictPod.verify(&sent(), &crashing, at(6)), Verdict::NotHelped(_)));
        let waiting = replaced(|pod| {
            pod.ready = false;
            pod.containers[0].state = ContainerState::Waiting { reason: Name::from("CrashLoopBackOff") };
        });
        assert!(matches!(EvictPod.verify(&sent(), &waiting, at(6)), Verdict::NotHelped(_)));
    }

    #[test]
    fn the_window_is_the_steps_own() {
        let mut record = sent();
        record.verification.within = SignedDuration::from_secs(300);
        assert!(matches!(EvictPod.verify(&record, &snapshot(), at(299)), Verdict::Wait(_)));
        assert!(matches!(EvictPod.verify(&record, &snapshot(), at(300)), Verdict::NotHelped(_)));
    }
}
