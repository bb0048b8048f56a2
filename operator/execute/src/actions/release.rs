//! Whether a release changed its pods alone. Then taking it back puts everything back, and no person must weigh what else
//! came with it.

use super::target;
use homeostat_knowledge::observation::ObjectKind;
use homeostat_knowledge::policy::Allowance;
use homeostat_knowledge::records::{ControllerKey, ReleaseRecord};
use homeostat_knowledge::{
    ActionId, ActionKind, ActionRecord, ControllerKind, ControllerRecord, Name, ObjectKey, PodRecord,
    SignedDuration, Snapshot, Timestamp,
};
use std::sync::Arc;

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// What shows that nothing else came with the release that is taken back; an error says what is not known, or what did.
///
/// Witness is the youngest pod of the revision before that still serves: it started with every `ConfigMap` that this revision
/// reads as it was then, beside a schema as it was then. So nothing may have been written since, and no Job of its own may have
/// run. What cannot be seen (Secrets, which are not read; what programs change by themselves) its people must have ruled out:
/// `RollBackUnasked` in `Workload.spec.allow`.
pub(super) fn came_alone(
    record: &ActionRecord,
    revision: Option<&Name>,
    snapshot: &Snapshot,
) -> Result<String, String> {
    let release = &record.target.key;
    if !target::allows(record, snapshot, Allowance::RollBackUnasked) {
        return Err(format!(
            "whether a ConfigMap, Secret or schema changed with the release of {release} is not known; where releases change no \
             Secret and no schema, say so with RollBackUnasked in Workload.spec.allow"
        ));
    }
    if let Some(before) = taken_back_before(record, snapshot) {
        return Err(format!(
            "{release} was rolled back by {before} lately and released again: whoever did that may mean it"
        ));
    }
    let set = revision.and_then(|revision| set(&release.namespace, revision, snapshot)).ok_or_else(|| {
        format!("what the revision before the release of {release} reads is not known: only ReplicaSets are compared")
    })?;
    let witness = witness(set, snapshot).ok_or_else(|| {
        format!(
            "no pod of {} serves that would show that it can run beside what there is now",
            set.key.object.name
        )
    })?;
    unwritten(set, witness, snapshot)?;
    no_job_since(&release.namespace, witness.created, snapshot)?;
    Ok(format!(
        "no Job of its own ran and no ConfigMap that {} reads was written since its pod {} was made, which serves; RollBackUnasked \
         rules out the rest",
        set.key.object.name, witness.key.name
    ))
}

/// A roll back of ours that this release, or one soon before it, had already: within the last day.
fn taken_back_before<'a>(record: &ActionRecord, snapshot: &'a Snapshot) -> Option<&'a ActionId> {
    let earlier = |action: &&Arc<ActionRecord>| {
        action.kind() == ActionKind::RollBack
            && action.id != record.id
            && action.target.uid == record.target.uid
            && action.instants.sent.is_some_and(|sent| record.evidence.taken_at.duration_since(sent) < DAY)
    };
    snapshot.actions.values().find(earlier).map(|action| &action.id)
}

fn set<'a>(namespace: &Name, revision: &Name, snapshot: &'a Snapshot) -> Option<&'a ControllerRecord> {
    let object = ObjectKey { namespace: namespace.clone(), name: revision.clone() };
    let key = ControllerKey { kind: ControllerKind::ReplicaSet, object };
    snapshot.controllers.get(&key).map(|set| &**set)
}

/// The youngest pod of this `ReplicaSet` that serves.
fn witness<'a>(set: &ControllerRecord, snapshot: &'a Snapshot) -> Option<&'a PodRecord> {
    let own = |pod: &&PodRecord| {
        pod.owner.as_ref().is_some_and(|owner| {
            owner.kind == ControllerKind::ReplicaSet && owner.name == set.key.object.name
        }) && snapshot.serves(pod)
    };
    snapshot.pods_in(&set.key.object.namespace).map(|pod| &**pod).filter(own).max_by_key(|pod| pod.created)
}

/// Every `ConfigMap` that the revision reads is as it was before the witness was made.
fn unwritten(set: &ControllerRecord, witness: &PodRecord, snapshot: &Snapshot) -> Result<(), String> {
    let revision = &set.key.object.name;
    if set.reads().len() > ReleaseRecord::MOST_READS {
        return Err(format!(
            "{revision} reads more than {} ConfigMaps: not all are looked at",
            ReleaseRecord::MOST_READS
        ));
    }
    if !set.reads().is_empty() && !snapshot.synced.contains(&ObjectKind::Config) {
        return Err(format!("when the ConfigMaps that {revision} reads were written last is not known yet"));
    }
    for name in set.reads() {
        let key = ObjectKey { namespace: set.key.object.namespace.clone(), name: name.clone() };
        let Some(config) = snapshot.configs.get(&key) else {
            return Err(format!("ConfigMap {key}, which {revision} reads, is not there"));
        };
        match config.changed {
            Some(at) if at < witness.created => {}
            Some(_) => {
                return Err(format!(
                    "ConfigMap {key}, which {revision} reads, was written since its pod {} was made",
                    witness.key.name
                ));
            }
            None => {
                return Err(format!(
                    "when ConfigMap {key}, which {revision} reads, was written is not known"
                ));
            }
        }
    }
    Ok(())
}

/// No Job that people or their tools made ran: it may have changed a schema. Runs of a `CronJob` come with or without releases.
fn no_job_since(namespace: &Name, since: Timestamp, snapshot: &Snapshot) -> Result<(), String> {
    let mut jobs = snapshot.controllers_in(ControllerKind::Job, namespace);
    let ran = jobs.find(|job| {
        job.owner.as_ref().is_none_or(|owner| owner.kind != ControllerKind::CronJob)
            && job.run.started.is_some_and(|at| at >= since)
    });
    ran.map_or(Ok(()), |job| {
        Err(format!("Job {} ran beside the release and may have changed a schema or data", job.key.object))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, change, controller, permit, pod, put_controller, put_pod, snapshot};
    use homeostat_knowledge::observation::{Change, ConfigRecord, ObjectChange};
    use homeostat_knowledge::records::{OwnerRecord, RunTimes};
    use homeostat_knowledge::{Parameters, Uid};

    /// Release before: one pod, made at second 100, that serves and reads `settings`, written at second 50.
    fn known() -> Snapshot {
        let mut snapshot = snapshot();
        permit(&mut snapshot, |permits| {
            permits.allow.insert(Allowance::RollBackUnasked);
        });
        let mut set = controller(ControllerKind::ReplicaSet, "order-old");
        let reads = vec![Name::from("settings")];
        set.release = Some(Box::new(ReleaseRecord { reads, ..ReleaseRecord::default() }));
        put_controller(&mut snapshot, set);
        put_pod(&mut snapshot, witness("order-old-a", 100));
        snapshot.commit(&ObjectChange::Synced(ObjectKind::Config), at(0));
        write(&mut snapshot, Some(50));
        snapshot
    }

    fn witness(name: &str, created: i64) -> PodRecord {
        let owner = OwnerRecord {
            kind: ControllerKind::ReplicaSet,
            name: Name::from("order-old"),
            uid: Uid::new("uid-order-old"),
        };
        PodRecord {
            key: ObjectKey::new("shop", name),
            uid: Uid::new(format!("uid-{name}")),
            created: at(created),
            owner: Some(owner),
            ..pod()
        }
    }

    fn write(snapshot: &mut Snapshot, changed: Option<i64>) {
        let record = ConfigRecord {
            key: ObjectKey::new("shop", "settings"),
            resource_version: Name::from("3"),
            changed: changed.map(at),
        };
        snapshot.commit(&ObjectChange::Config(Change::Applied(Arc::new(record))), at(0));
    }

    fn asked(change_world: impl FnOnce(&mut Snapshot)) -> Result<String, String> {
        let mut snapshot = known();
        change_world(&mut snapshot);
        let revision = Name::from("order-old");
        let record = change("order-1-1", Parameters::RollBack { revision: revision.clone() });
        came_alone(&record, Some(&revision), &snapshot)
    }

    fn job(started: Option<i64>, cron: bool) -> ControllerRecord {
        let mut job = controller(ControllerKind::Job, "migrate");
        job.run = RunTimes { started: started.map(at), ..RunTimes::default() };
        job.owner = cron.then(|| OwnerRecord {
            kind: ControllerKind::CronJob,
            name: Name::from("nightly"),
            uid: Uid::new("uid-nightly"),
        });
        job
    }

    #[test]
    fn a_roll_back_of_more_than_a_day_ago_is_no_reason_to_ask() {
        let after = |seconds: i64| {
            asked(|world| {
                let parameters = Parameters::RollBack { revision: Name::from("order-old") };
                let mut earlier = change("order-0-1", parameters);
                earlier.instants.sent = Some(at(-seconds));
                world.commit(&ObjectChange::Action(Change::Applied(Arc::new(earlier))), at(0));
            })
        };
        assert!(after(86_399).is_err());
        assert!(after(86_400).is_ok());
    }

    #[test]
    fn nobody_is_asked_only_where_all_of_it_is_known() {
        type Doubt = fn(&mut Snapshot);
        let why = asked(|_| {}).expect("all is known");
        assert!(why.contains("order-old-a"), "{why}");
        let doubts: [(&str, Doubt); 10] = [
            ("RollBackUnasked in Workload.spec.allow", |world| {
                permit(world, |permits| permits.allow.clear());
            }),
            ("was written since its pod order-old-a", |world| write(world, Some(100))),
            ("was written is not known", |world| write(world, None)),
            ("is not there", |world| world.configs = Snapshot::default().configs),
            ("more than 64 ConfigMaps", |world| {
                let mut set = controller(ControllerKind::ReplicaSet, "order-old");
                let reads = (0..65).map(|number| Name::from(format!("settings-{number}"))).collect();
                set.release = Some(Box::new(ReleaseRecord { reads, ..ReleaseRecord::default() }));
                put_controller(world, set);
            }),
            ("not known yet", |world| {
                world.synced.remove(&ObjectKind::Config);
            }),
            ("no pod of order-old serves", |world| {
                let mut gone = witness("order-old-a", 100);
                gone.ready = false;
                put_pod(world, gone);
            }),
            ("Job shop/migrate ran", |world| put_controller(world, job(Some(100), false))),
            ("rolled back by order-0-1 lately and released again", |world| {
                let mut earlier =
                    change("order-0-1", Parameters::RollBack { revision: Name::from("order-old") });
                earlier.instants.sent = Some(at(120));
                world.commit(&ObjectChange::Action(Change::Applied(Arc::new(earlier))), at(130));
            }),
            ("only ReplicaSets are compared", |world| {
                world.controllers = Snapshot::default().controllers;
            }),
        ];
        for (words, doubt) in doubts {
            let why = asked(doubt).expect_err(words);
            assert!(why.contains(words), "{why}");
        }
    }

    #[test]
    fn what_was_there_before_the_youngest_pod_that_serves_proves_itself() {
        let younger = |world: &mut Snapshot| put_pod(world, witness("order-old-b", 200));
        assert!(
            asked(|world| {
                write(world, Some(150));
                younger(world);
            })
            .is_ok(),
            "a pod of the old release was made after it and serves"
        );
        assert!(asked(|world| put_controller(world, job(Some(99), false))).is_ok());
        assert!(asked(|world| put_controller(world, job(None, false))).is_ok(), "it has not run");
        assert!(asked(|world| put_controller(world, job(Some(150), true))).is_ok(), "a run of a CronJob");
    }
}
