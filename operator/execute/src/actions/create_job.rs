//! Make a run of a `CronJob` because work waits that its schedule does not ask for yet.

use super::{ActionSpec, Landed, Protected, Repeat, Right, Unfit, Verdict, run, target, verify};
use crate::ports::FreshTarget;
use homeostat_knowledge::plan::Undo;
use homeostat_knowledge::policy::ScalingMode;
use homeostat_knowledge::records::ControllerKey;
use homeostat_knowledge::runs::made_name;
use homeostat_knowledge::{
    ActionKind, ActionRecord, ControllerKind, ControllerRecord, FindingKind, Level, Name, ObjectKey,
    Parameters, Snapshot, Timestamp,
};
use std::ops::Bound;
use std::sync::Arc;

/// Creates one Job of a `CronJob`'s template, suspended: when it begins is decided as for every other Job of it.
///
/// Only for Workloads that say `scaling.mode: Auto` and `scaling.backlog.runFrom`, never of a `CronJob` that is suspended,
/// whoever did that, and never beside a run that waits or is under way. Repeat-safe because the name of the Job follows from
/// the moment of the decision ([`made_name`]): the API server refuses to create it twice, and its annotation tells which
/// action created it. The `CronJob` is left as it is, so a tool that owns it has nothing to change back.
#[derive(Clone, Copy, Debug)]
pub struct CreateJob;

/// Tools that own a spec and let others make Jobs of it.
const GITOPS: [&str; 2] = ["Argo CD", "Flux"];

impl ActionSpec for CreateJob {
    fn kind(&self) -> ActionKind {
        ActionKind::CreateJob
    }

    fn reversible(&self) -> bool {
        false
    }

    fn alone_at(&self) -> Level {
        Level::ActBounded // The Workload says from how many waiting items on its owner wants a run.
    }

    fn rights(&self) -> &'static [Right] {
        &[
            Right { api_group: "batch", resource: "cronjobs", verbs: &["get"] },
            Right { api_group: "batch", resource: "jobs", verbs: &["get", "create"] },
        ]
    }

    fn undo(&self) -> Undo {
        Undo::None
    }

    fn repeat(&self) -> Repeat {
        Repeat::Never
    }

    fn check(&self, record: &ActionRecord, snapshot: &Snapshot, protected: &Protected) -> Result<(), Unfit> {
        let found = run::target(record, snapshot, protected)?;
        makes(record, found)?;
        let permits = snapshot.workloads.get(&record.workload).map(|policy| &policy.permits);
        let mode = permits.and_then(|permits| permits.scaling.as_ref()).map(|scaling| scaling.mode);
        let from = permits.and_then(|permits| permits.runs.items).and_then(|items| items.run_from);
        if mode != Some(ScalingMode::Auto) || from.is_none() {
            return Err(Unfit::Protected(format!(
                "workload {} asks for no runs by its backlog; set spec.scaling.backlog.runFrom, and spec.scaling.mode to \
                 Auto",
                record.workload
            )));
        }
        let queue = found.work.as_ref().and_then(|work| work.queue.as_ref());
        if let (Some(queue), true) = (queue, snapshot.kueue.is_some() || !snapshot.kueue_known) {
            let key = &record.target.key;
            return Err(Unfit::Protected(format!(
                "runs of CronJob {key} are left to queue {queue} of Kueue"
            )));
        }
        if let Some(job) = under_way(snapshot, found) {
            return Err(Unfit::Done(format!("Job {} of it waits or is under way", job.key.object)));
        }
        if snapshot.controllers.contains_key(&made_key(record)?) {
            return Err(Unfit::Done(format!("its Job {} is there already", made_key(record)?.object)));
        }
        Ok(())
    }

    fn check_fresh(
        &self,
        record: &ActionRecord,
        _cause: Option<FindingKind>,
        fresh: &FreshTarget,
    ) -> Result<(), Unfit> {
        let found = target::fresh_controller(record, fresh)?;
        makes(record, found)?;
        let key = &record.target.key;
        // Of the Jobs that the schedule made; others the snapshot shows.
        if found.current > 0 {
            return Err(Unfit::Done(format!("a run of CronJob {key} waits or is under way")));
        }
        match &fresh.marks.made_by {
            Some(by) => Err(Unfit::Done(format!("its Job of this moment was made already, by {by}"))),
            None => Ok(()),
        }
    }

    fn landed(&self, record: &ActionRecord, fresh: Option<&FreshTarget>) -> Landed {
        let by = fresh.and_then(|fresh| fresh.marks.made_by.as_ref());
        run::created(record, by, "the Job of this moment")
    }

    fn verify(&self, record: &ActionRecord, snapshot: &Snapshot, now: Timestamp) -> Verdict {
        let made = made_key(record).ok().and_then(|key| snapshot.controllers.get(&key));
        let by = made.and_then(|job| job.work.as_ref()).and_then(|work| work.made_by.as_ref());
        match (made, by) {
            (Some(_), Some(by)) if **by == *record.id.as_str() => {
                Verdict::Helped("the new Job is there and has its turn like any other".to_owned())
            }
            (Some(_), _) => Verdict::NotHelped("somebody else made a Job of this name".to_owned()),
            (None, _) => verify::until(record, now, "the new Job is not seen"),
        }
    }
}

/// Key of the Job that is made.
fn made_key(record: &ActionRecord) -> Result<ControllerKey, Unfit> {
    let Parameters::CreateJob { slot } = record.parameters else {
        return Err(Unfit::Protected("a Job without the moment that it is made for".to_owned()));
    };
    let name: Name = made_name(&record.target, slot);
    let object = ObjectKey { namespace: record.target.key.namespace.clone(), name };
    Ok(ControllerKey { kind: ControllerKind::Job, object })
}

/// It is a `CronJob` whose runs are wanted, and whose runs are not another operator's.
fn makes(record: &ActionRecord, found: &ControllerRecord) -> Result<(), Unfit> {
    let key = &record.target.key;
    if found.key.kind != ControllerKind::CronJob {
        return Err(Unfit::Protected(format!("{key} is no CronJob: there is no template to make a Job of")));
    }
    if found.paused {
        return Err(Unfit::Protected(format!("CronJob {key} is suspended: no run is made of it")));
    }
    match &found.gitops_owner {
        Some(owner) if !GITOPS.contains(&&**owner) => {
            Err(Unfit::Protected(format!("{owner} orders the runs of CronJob {key}; ask for a run there")))
        }
        _ => Ok(()),
    }
}

/// A Job of this `CronJob` that has not ended, whoever made it and whether it waits, runs or is held.
pub fn under_way<'a>(snapshot: &'a Snapshot, cron: &ControllerRecord) -> Option<&'a Arc<ControllerRecord>> {
    let namespace = cron.key.object.namespace.clone();
    let first = ControllerKey { kind: ControllerKind::Job, object: ObjectKey::new(namespace.clone(), "") };
    let jobs = snapshot.controllers.range((Bound::Included(first), Bound::Unbounded));
    jobs.take_while(|(key, _)| key.kind == ControllerKind::Job && key.object.namespace == namespace)
        .map(|(_, job)| job)
        .filter(|job| job.finished.is_none())
        .find(|job| job.owner.as_ref().is_some_and(|owner| owner.uid == cron.uid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, fresh_controller, permit, put_controller, run, run_action, runs};
    use homeostat_knowledge::policy::{RunItems, ScalingPolicy};
    use homeostat_knowledge::records::{JobEnd, OwnerRecord, Work};
    use std::collections::BTreeMap;

    const SLOT: i64 = 1_790_000_000;

    fn create() -> ActionRecord {
        run_action("run-order-1", ControllerKind::CronJob, Parameters::CreateJob { slot: at(SLOT) })
    }

    fn cron() -> ControllerRecord {
        let mut cron = run(ControllerKind::CronJob);
        cron.current = 0;
        cron
    }

    fn shop(mode: ScalingMode, run_from: Option<u32>, cron: ControllerRecord) -> Snapshot {
        let mut snapshot = runs(ControllerKind::CronJob, true);
        permit(&mut snapshot, |permits| {
            permits.scaling = Some(ScalingPolicy { mode, ..ScalingPolicy::default() });
            permits.runs.items = Some(RunItems { each: None, run_from });
        });
        put_controller(&mut snapshot, cron);
        snapshot
    }

    fn auto(cron: ControllerRecord) -> Snapshot {
        shop(ScalingMode::Auto, Some(20), cron)
    }

    fn allowed(snapshot: &Snapshot) -> Result<(), Unfit> {
        CreateJob.check(&create(), snapshot, &Protected::with_own_namespace("homeostat"))
    }

    /// A Job of the `CronJob`, by whom it was made.
    fn job(name: &str, by: Option<&str>) -> ControllerRecord {
        let mut job = run(ControllerKind::Job);
        job.key.object = ObjectKey::new("shop", name);
        job.uid = homeostat_knowledge::Uid::new(name);
        let above = cron();
        job.owner = Some(OwnerRecord {
            kind: ControllerKind::CronJob,
            name: above.key.object.name.clone(),
            uid: above.uid.clone(),
        });
        job.work = Some(Box::new(Work { made_by: by.map(Name::from), ..Work::default() }));
        job
    }

    #[test]
    fn only_where_people_say_from_how_many_items_on_and_only_in_auto() {
        assert_eq!(allowed(&auto(cron())), Ok(()));
        for (mode, from) in
            [(ScalingMode::Auto, None), (ScalingMode::Recommend, Some(20)), (ScalingMode::Observe, Some(20))]
        {
            let refused = allowed(&shop(mode, from, cron())).unwrap_err();
            assert!(
                matches!(&refused, Unfit::Protected(why) if why.contains("backlog.runFrom")),
                "{refused}"
            );
        }
        let mut job = create();
        job.target = Snapshot::controller_target(&run(ControllerKind::Job)).expect("a Job");
        let of_job = runs(ControllerKind::Job, true);
        let refused = CreateJob.check(&job, &of_job, &Protected::with_own_namespace("homeostat"));
        assert!(matches!(&refused, Err(Unfit::Protected(why)) if why.contains("no CronJob")), "{refused:?}");
    }

    #[test]
    fn a_suspended_cron_job_or_one_of_another_operator_makes_no_run_and_a_gitops_tool_is_no_obstacle() {
        let mut suspended = cron();
        suspended.paused = true;
        assert!(matches!(allowed(&auto(suspended.clone())), Err(Unfit::Protected(_))));
        let fresh = CreateJob.check_fresh(&create(), None, &fresh_controller(suspended));
        assert!(matches!(&fresh, Err(Unfit::Protected(why)) if why.contains("is suspended")), "{fresh:?}");
        for (owner, refused) in
            [(Some("Backup nightly"), true), (Some("Argo CD"), false), (Some("Flux"), false), (None, false)]
        {
            let mut owned = cron();
            owned.gitops_owner = owner.map(Name::from);
            assert_eq!(allowed(&auto(owned.clone())).is_err(), refused, "{owner:?}");
            let fresh = CreateJob.check_fresh(&create(), None, &fresh_controller(owned));
            assert_eq!(fresh.is_err(), refused, "{owner:?}");
        }
    }

    #[test]
    fn never_beside_a_run_that_waits_or_is_under_way_whoever_made_it() {
        for (paused, finished, free) in [
            (true, None, false),
            (false, None, false),
            (false, Some(JobEnd::Complete), true),
            (false, Some(JobEnd::Failed), true),
        ] {
            let mut snapshot = auto(cron());
            let mut other = job("order-night", None);
            (other.paused, other.finished) = (paused, finished);
            put_controller(&mut snapshot, other.clone());
            assert_eq!(allowed(&snapshot).is_ok(), free, "{paused} {finished:?}");
            // That of another CronJob is not in the way.
            other.owner = None;
            put_controller(&mut snapshot, other);
            assert_eq!(allowed(&snapshot), Ok(()));
        }
        let mut busy = cron();
        busy.current = 1;
        let fresh = CreateJob.check_fresh(&create(), None, &fresh_controller(busy));
        assert!(
            matches!(fresh, Err(Unfit::Done(_))),
            "the API server knows of one that the watch has not shown"
        );
        assert_eq!(CreateJob.check_fresh(&create(), None, &fresh_controller(cron())), Ok(()));
    }

    #[test]
    fn what_kueue_orders_is_left_to_it() {
        let mut labelled = cron();
        labelled.work = Some(Box::new(Work { queue: Some(Name::from("night")), ..Work::default() }));
        let mut snapshot = auto(labelled);
        assert!(allowed(&snapshot).is_err(), "nobody has answered yet whether there is Kueue");
        snapshot.kueue_known = true;
        assert_eq!(allowed(&snapshot), Ok(()));
        snapshot.kueue = Some(Arc::new(BTreeMap::new()));
        assert!(allowed(&snapshot).is_err());
    }

    #[test]
    fn the_new_job_tells_whether_it_was_made_and_by_whom() {
        let mut record = create();
        record.instants.sent = Some(at(0));
        let mut fresh = fresh_controller(cron());
        assert!(matches!(CreateJob.landed(&record, Some(&fresh)), Landed::Unclear(_)));
        assert!(matches!(CreateJob.landed(&record, None), Landed::Unclear(_)));
        fresh.marks.made_by = Some(Name::from("somebody else"));
        assert!(matches!(CreateJob.landed(&record, Some(&fresh)), Landed::Unclear(_)));
        assert!(matches!(CreateJob.check_fresh(&record, None, &fresh), Err(Unfit::Done(_))));
        fresh.marks.made_by = Some(Name::from("run-order-1"));
        assert!(matches!(CreateJob.landed(&record, Some(&fresh)), Landed::Yes(_)));
        assert!(matches!(CreateJob.check_fresh(&record, None, &fresh), Err(Unfit::Done(_))));

        let mut snapshot = auto(cron());
        assert!(matches!(CreateJob.verify(&record, &snapshot, at(1)), Verdict::Wait(_)));
        assert!(matches!(CreateJob.verify(&record, &snapshot, at(10_000)), Verdict::NotHelped(_)));
        let name = format!("order-backlog-{SLOT}");
        put_controller(&mut snapshot, job(&name, None));
        assert!(matches!(CreateJob.verify(&record, &snapshot, at(1)), Verdict::NotHelped(_)));
        put_controller(&mut snapshot, job(&name, Some("run-order-1")));
        assert!(matches!(CreateJob.verify(&record, &snapshot, at(1)), Verdict::Helped(_)));
        let mut ended = job(&name, Some("run-order-1"));
        ended.finished = Some(JobEnd::Complete);
        put_controller(&mut snapshot, ended);
        let again = allowed(&snapshot);
        assert!(matches!(&again, Err(Unfit::Done(why)) if why.contains(&name)), "{again:?}");
    }
}
