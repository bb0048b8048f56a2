//! Replace one pod through the Eviction API.

use super::{ActionSpec, Landed, Protected, Repeat, Right, Unfit, Verdict, verify};
use crate::ports::FreshTarget;
use homeostat_knowledge::plan::{Expectation, Undo};
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
        replaceable(pod)?;
        if let Some(owner) = &pod.owner
            && owner.kind == ControllerKind::StatefulSet
        {
            let set = ControllerKey {
                kind: owner.kind,
                object: ObjectKey { namespace: key.namespace.clone(), name: owner.name.clone() },
            };
            match snapshot.controllers.get(&set).map(|set| set.replicas) {
                Some(replicas) if replicas > 1 => {}
                Some(_) => {
                    return Err(Unfit::Protected(format!(
                        "pod {key} is the only replica of its StatefulSet"
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
            None => Landed::Yes("the pod is gone".to_owned()),
            Some(fresh) if fresh.uid != record.target.uid => {
                Landed::Yes("another pod has its name now".to_owned())
            }
            Some(fresh) if fresh.deleting => Landed::Yes("the pod is being deleted".to_owned()),
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
                .unwrap_or_else(|| verify::answers_well(record, snapshot, now)),
        }
    }
}

/// Refuses pods that nobody would make again, and pods that would lose data.
fn replaceable(pod: &PodRecord) -> Result<(), Unfit> {
    let key = &pod.key;
    if pod.local_data {
        return Err(Unfit::Protected(format!("pod {key} keeps data that an eviction would lose")));
    }
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
