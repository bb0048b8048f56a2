//! Let a run begin when it is its turn.

use super::{ActionSpec, Landed, Protected, Repeat, Right, Unfit, Verdict, owners, run, target, verify};
use crate::actions::retry_name;
use crate::ports::{Field, FreshTarget};
use homeostat_knowledge::plan::Undo;
use homeostat_knowledge::policy::{Bounds, ScalingMode};
use homeostat_knowledge::records::{ControllerKey, JobEnd};
use homeostat_knowledge::{
    ActionKind, ActionRecord, ControllerKind, ControllerRecord, FindingKind, Level, ObjectKey, Parameters,
    Snapshot, Timestamp,
};

/// Clears `spec.suspend` of a Job that its owner made suspended and that never ran; a Job that failed is run again as a
/// new Job of its template ([`retry_name`]), which is the second try of a run. Both with the size that its runs need, and
/// with as many pods at a time as its backlog asks for.
///
/// Only for Workloads that say `scaling.mode: Auto`, never what a queue of Kueue orders, and never a Job that ran and was
/// suspended since: that is a person's. Repeat-safe because a Job is let go once, with this action's mark, and a second
/// try has a name that can be used once. Not undone: a run that took place cannot be taken back.
#[derive(Clone, Copy, Debug)]
pub struct StartJob;

impl ActionSpec for StartJob {
    fn kind(&self) -> ActionKind {
        ActionKind::StartJob
    }

    fn reversible(&self) -> bool {
        false
    }

    fn alone_at(&self) -> Level {
        Level::ActBounded // The owner made the Job to be run; only the moment is ours.
    }

    fn rights(&self) -> &'static [Right] {
        &[
            Right { api_group: "batch", resource: "jobs", verbs: &["get", "patch", "create"] },
            target::SEES_VPA,
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
        let key = &record.target.key;
        let policy = snapshot.workloads.get(&record.workload);
        let mode = policy.and_then(|policy| policy.permits.scaling.as_ref()).map(|scaling| scaling.mode);
        if mode != Some(ScalingMode::Auto) {
            return Err(Unfit::Protected(format!(
                "the runs of workload {} are not ordered by Homeostat; set spec.scaling.mode to Auto",
                record.workload
            )));
        }
        let queue = found.work.as_ref().and_then(|work| work.queue.as_ref());
        // A label is an order of Kueue's unless it is known that there is none.
        if let (Some(queue), true) = (queue, snapshot.kueue.is_some() || !snapshot.kueue_known) {
            return Err(Unfit::Protected(format!("Job {key} is left to queue {queue} of Kueue")));
        }
        let memory = policy.and_then(|policy| policy.permits.memory_bytes);
        let cpu = policy.and_then(|policy| policy.permits.cpu_millis);
        if let Parameters::StartJob { cpu_millis, memory_bytes, parallelism } = record.parameters {
            within("CPU", cpu_millis, cpu)?;
            within("memory", memory_bytes, memory)?;
            if cpu_millis.is_some() || memory_bytes.is_some() {
                target::sized_by_nobody_else(record, snapshot)?;
            }
            let most = policy.and_then(|policy| policy.permits.runs.parallelism).map(|bounds| bounds.max);
            if let Some(pods) = parallelism.filter(|pods| most.is_none_or(|most| u64::from(*pods) > most)) {
                let allowed =
                    most.map_or_else(|| "no other number".to_owned(), |most| format!("at most {most}"));
                return Err(Unfit::Protected(format!(
                    "{pods} pods at a time are wanted for {key}; spec.scaling.parallelism of workload {} allows {allowed}",
                    record.workload
                )));
            }
        }
        waits(record, found)?;
        takes(record, found)?;
        if found.finished == Some(JobEnd::Failed) {
            run::repeatable(record, snapshot)?;
            if snapshot.controllers.contains_key(&again(record)) {
                return Err(Unfit::Done(format!("{key} was run again already")));
            }
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
        waits(record, found)?;
        takes(record, found)?;
        if let Some(by) = &fresh.marks.retried_by {
            return Err(Unfit::Done(format!("{} was run again already, by {by}", record.target.key)));
        }
        owners::no_tool(record, fresh, Field::Suspend)
    }

    /// The mark is written together with the flag, the sizes and the pods at a time: where it is, all of them are.
    fn landed(&self, record: &ActionRecord, fresh: Option<&FreshTarget>) -> Landed {
        let Some(fresh) = fresh.filter(|fresh| fresh.uid == record.target.uid) else {
            return Landed::No("the target is gone".to_owned());
        };
        let ours = |by: &homeostat_knowledge::Name| **by == *record.id.as_str();
        if fresh.marks.retried_by.as_ref().is_some_and(ours) {
            return Landed::Yes("the new Job carries this action's mark".to_owned());
        }
        let work = fresh.controller.as_ref().and_then(|found| found.work.as_ref());
        match work.and_then(|work| work.started_by.as_ref()) {
            Some(by) if ours(by) => Landed::Yes("it carries this action's mark".to_owned()),
            Some(by) => Landed::No(format!("it was started by {by}")),
            None => Landed::No("it does not carry this action's mark".to_owned()),
        }
    }

    fn verify(&self, record: &ActionRecord, snapshot: &Snapshot, now: Timestamp) -> Verdict {
        let own = ControllerKey { kind: ControllerKind::Job, object: record.target.key.clone() };
        let begun = |job: &ControllerRecord| {
            !job.paused && (job.current > 0 || job.ready > 0 || job.finished.is_some())
        };
        if snapshot.controllers.get(&again(record)).is_some_and(|job| begun(job)) {
            return Verdict::Helped("its second try began".to_owned());
        }
        let Some(job) = snapshot.controllers.get(&own) else {
            // Cleared away after it ended, as `ttlSecondsAfterFinished` asks for.
            return Verdict::Helped("it ran, and is cleared away".to_owned());
        };
        // What failed before this action, and waits for its second try, carries another mark or none.
        let ours = job.work.as_ref().and_then(|work| work.started_by.as_deref()) == Some(record.id.as_str());
        if begun(job) && (ours || job.finished != Some(JobEnd::Failed)) {
            return Verdict::Helped("its pods are there".to_owned());
        }
        verify::until(record, now, "no pod of the run is seen")
    }
}

/// Key of the Job that runs this one again.
fn again(record: &ActionRecord) -> ControllerKey {
    let object =
        ObjectKey { namespace: record.target.key.namespace.clone(), name: retry_name(&record.target) };
    ControllerKey { kind: ControllerKind::Job, object }
}

/// It is a Job that waits for its first start, or one that failed.
fn waits(record: &ActionRecord, found: &ControllerRecord) -> Result<(), Unfit> {
    let key = &record.target.key;
    if found.key.kind != ControllerKind::Job {
        return Err(Unfit::Protected(format!("{key} is no Job")));
    }
    match found.finished {
        Some(JobEnd::Failed) => return Ok(()),
        Some(JobEnd::Complete) => return Err(Unfit::Done(format!("Job {key} has ended"))),
        None => {}
    }
    if !found.paused {
        return Err(Unfit::Done(format!("Job {key} is not suspended")));
    }
    if let Some(by) = found.work.as_ref().and_then(|work| work.started_by.as_ref()) {
        return Err(Unfit::Protected(format!(
            "Job {key} was started by {by} and suspended since by somebody"
        )));
    }
    Ok(())
}

/// The Job can have so many pods at a time.
fn takes(record: &ActionRecord, found: &ControllerRecord) -> Result<(), Unfit> {
    let Parameters::StartJob { parallelism: Some(pods), .. } = record.parameters else { return Ok(()) };
    let key = &record.target.key;
    let refused =
        |why: String| Err(Unfit::Protected(format!("{pods} pods at a time are wanted for {key}; {why}")));
    let Some(work) = found.work.as_ref().filter(|_| pods > 0) else {
        return refused("one at least does its work".to_owned());
    };
    if work.indexed {
        return refused("each of its pods has a fixed part of the work (completionMode Indexed)".to_owned());
    }
    match work.completions {
        Some(all) if pods > all => refused(format!("its completions are {all}, so no more would ever run")),
        _ => Ok(()),
    }
}

fn within(what: &str, wanted: Option<u64>, bounds: Option<Bounds>) -> Result<(), Unfit> {
    match (wanted, bounds) {
        (Some(wanted), Some(bounds)) if !bounds.contains(wanted) => {
            Err(Unfit::Protected(format!("{what} {wanted} is outside of its bounds {bounds}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, fresh_controller, permit, put_controller, run, run_action, runs};
    use homeostat_knowledge::Name;
    use homeostat_knowledge::policy::ScalingPolicy;
    use homeostat_knowledge::records::Work;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    fn start(memory_bytes: Option<u64>) -> ActionRecord {
        let parameters = Parameters::StartJob { cpu_millis: None, memory_bytes, parallelism: None };
        run_action("run-order-1", ControllerKind::Job, parameters)
    }

    fn start_with(pods: u32) -> ActionRecord {
        let parameters =
            Parameters::StartJob { cpu_millis: None, memory_bytes: None, parallelism: Some(pods) };
        run_action("run-order-1", ControllerKind::Job, parameters)
    }

    fn waiting() -> ControllerRecord {
        let mut job = run(ControllerKind::Job);
        job.paused = true;
        job.current = 0;
        job.ready = 0;
        job.work = Some(Box::default());
        job
    }

    fn shop(mode: ScalingMode, job: ControllerRecord) -> Snapshot {
        let mut snapshot = runs(ControllerKind::Job, true);
        permit(&mut snapshot, |permits| {
            permits.repeatable = true;
            permits.scaling = Some(ScalingPolicy { mode, ..ScalingPolicy::default() });
            permits.memory_bytes = Some(Bounds { min: 1 << 20, max: 1 << 30 });
        });
        put_controller(&mut snapshot, job);
        snapshot
    }

    fn allowed(snapshot: &Snapshot, record: &ActionRecord) -> Result<(), Unfit> {
        StartJob.check(record, snapshot, &Protected::with_own_namespace("homeostat"))
    }

    #[test]
    fn only_what_waits_for_its_first_start_and_only_in_auto() {
        let auto = |job| allowed(&shop(ScalingMode::Auto, job), &start(None));
        assert_eq!(auto(waiting()), Ok(()));
        for mode in [ScalingMode::Observe, ScalingMode::Recommend] {
            let refused = allowed(&shop(mode, waiting()), &start(None)).unwrap_err();
            assert!(refused.to_string().contains("scaling.mode"), "{refused}");
        }
        let mut running = waiting();
        running.paused = false;
        assert!(matches!(auto(running), Err(Unfit::Done(_))));
        let mut ended = waiting();
        ended.finished = Some(JobEnd::Complete);
        assert!(matches!(auto(ended), Err(Unfit::Done(_))));
        let mut held = waiting();
        held.work = Some(Box::new(Work { started_by: Some(Name::from("run-order-0")), ..Work::default() }));
        assert!(matches!(auto(held.clone()), Err(Unfit::Protected(_))), "a person suspended it again");
        assert!(StartJob.check_fresh(&start(None), None, &fresh_controller(held)).is_err());
        assert_eq!(StartJob.check_fresh(&start(None), None, &fresh_controller(waiting())), Ok(()));
    }

    #[test]
    fn a_size_outside_of_its_bounds_is_refused() {
        let snapshot = shop(ScalingMode::Auto, waiting());
        assert_eq!(allowed(&snapshot, &start(Some(1 << 30))), Ok(()));
        assert!(allowed(&snapshot, &start(Some((1 << 30) + 1))).is_err());
    }

    #[test]
    fn pods_at_a_time_are_set_within_the_bounds_and_never_where_each_has_a_fixed_part() {
        let shop = |work: Work| {
            let mut job = waiting();
            job.work = Some(Box::new(work));
            let mut snapshot = shop(ScalingMode::Auto, job);
            permit(&mut snapshot, |permits| {
                permits.scaling = Some(ScalingPolicy { mode: ScalingMode::Auto, ..ScalingPolicy::default() });
                permits.runs.parallelism = Some(Bounds { min: 2, max: 6 });
            });
            snapshot
        };
        let plain = shop(Work::default());
        assert_eq!(allowed(&plain, &start_with(6)), Ok(()));
        assert_eq!(
            allowed(&plain, &start_with(1)),
            Ok(()),
            "completions or room may leave less than the least"
        );
        let text = |snapshot: &Snapshot, pods| allowed(snapshot, &start_with(pods)).unwrap_err().to_string();
        assert!(text(&plain, 7).contains("at most 6"), "{}", text(&plain, 7));
        assert!(text(&plain, 0).contains("one at least"));
        let unbounded = self::shop(ScalingMode::Auto, waiting());
        assert!(text(&unbounded, 1).contains("no other number"));
        let few = shop(Work { completions: Some(3), ..Work::default() });
        assert_eq!(allowed(&few, &start_with(3)), Ok(()));
        assert!(text(&few, 4).contains("completions are 3"), "{}", text(&few, 4));
        let indexed = Work { indexed: true, completions: Some(6), ..Work::default() };
        assert!(text(&shop(indexed.clone()), 2).contains("Indexed"));
        // It was made Indexed, or given completions, after the watch saw it last.
        let mut changed = waiting();
        changed.work = Some(Box::new(indexed));
        assert!(StartJob.check_fresh(&start_with(2), None, &fresh_controller(changed.clone())).is_err());
        assert_eq!(StartJob.check_fresh(&start(None), None, &fresh_controller(changed)), Ok(()));
    }

    #[test]
    fn what_a_vertical_autoscaler_sizes_may_start_but_gets_no_size_of_ours() {
        use homeostat_knowledge::forecast::Scaler;
        let mut snapshot = shop(ScalingMode::Auto, waiting());
        let target = snapshot.workloads.values().next().expect("a workload").target.clone();
        snapshot.scalers = Arc::new(BTreeMap::from([(target, Scaler::Vpa { name: Name::from("fit") })]));
        let protected = Protected::none();
        assert_eq!(StartJob.check(&start(None), &snapshot, &protected), Ok(()));
        let refused = StartJob.check(&start(Some(1 << 29)), &snapshot, &protected).expect_err("owned");
        assert!(refused.to_string().contains("VerticalPodAutoscaler fit"), "{refused}");
        snapshot.scalers = Arc::default();
        assert_eq!(StartJob.check(&start(Some(1 << 29)), &snapshot, &protected), Ok(()));
    }

    #[test]
    fn what_kueue_orders_is_left_to_it() {
        let mut job = waiting();
        job.work = Some(Box::new(Work { queue: Some(Name::from("night")), ..Work::default() }));
        let mut snapshot = shop(ScalingMode::Auto, job);
        assert!(allowed(&snapshot, &start(None)).is_err(), "nobody has answered yet whether there is Kueue");
        snapshot.kueue_known = true;
        assert_eq!(allowed(&snapshot, &start(None)), Ok(()), "the label alone is nobody's order");
        snapshot.kueue = Some(Arc::new(BTreeMap::new()));
        let refused = allowed(&snapshot, &start(None)).unwrap_err().to_string();
        assert!(refused.contains("night") && refused.contains("Kueue"), "{refused}");
    }

    #[test]
    fn a_failed_run_is_run_again_once_when_that_does_no_harm() {
        let mut failed = waiting();
        failed.paused = false;
        failed.finished = Some(JobEnd::Failed);
        let mut snapshot = shop(ScalingMode::Auto, failed.clone());
        assert_eq!(allowed(&snapshot, &start(None)), Ok(()));
        let mut fresh = fresh_controller(failed.clone());
        assert_eq!(StartJob.check_fresh(&start(None), None, &fresh), Ok(()));
        fresh.marks.retried_by = Some(Name::from("run-order-1"));
        assert!(matches!(StartJob.check_fresh(&start(None), None, &fresh), Err(Unfit::Done(_))));
        assert!(matches!(StartJob.landed(&start(None), Some(&fresh)), Landed::Yes(_)));
        let mut sent = start(None);
        sent.instants.sent = Some(at(0));
        assert!(
            matches!(StartJob.verify(&sent, &snapshot, at(1)), Verdict::Wait(_)),
            "the old end is no start"
        );
        let mut second = run(ControllerKind::Job);
        second.key = again(&start(None));
        put_controller(&mut snapshot, second);
        assert!(matches!(allowed(&snapshot, &start(None)), Err(Unfit::Done(_))));
        assert!(matches!(StartJob.verify(&sent, &snapshot, at(1)), Verdict::Helped(_)));
        permit(&mut snapshot, |permits| permits.repeatable = false);
        assert!(matches!(allowed(&snapshot, &start(None)), Err(Unfit::Protected(_))));
    }

    #[test]
    fn its_mark_tells_whether_it_was_done_and_its_pods_whether_it_helped() {
        let mut record = start(None);
        record.instants.sent = Some(at(0));
        assert!(matches!(StartJob.landed(&record, Some(&fresh_controller(waiting()))), Landed::No(_)));
        let mut snapshot = shop(ScalingMode::Auto, waiting());
        assert!(matches!(StartJob.verify(&record, &snapshot, at(1)), Verdict::Wait(_)));
        assert!(matches!(StartJob.verify(&record, &snapshot, at(10_000)), Verdict::NotHelped(_)));
        let mut begun = waiting();
        begun.paused = false;
        begun.current = 1;
        begun.work = Some(Box::new(Work { started_by: Some(Name::from("run-order-1")), ..Work::default() }));
        put_controller(&mut snapshot, begun.clone());
        assert!(matches!(StartJob.landed(&record, Some(&fresh_controller(begun))), Landed::Yes(_)));
        assert!(matches!(StartJob.verify(&record, &snapshot, at(1)), Verdict::Helped(_)));
    }
}
