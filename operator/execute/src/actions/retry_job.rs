//! Run a failed Job again.

use super::{ActionSpec, Landed, Protected, Repeat, Right, Unfit, Verdict, run, target, verify};
use crate::ports::FreshTarget;
use homeostat_knowledge::plan::{Expectation, Undo};
use homeostat_knowledge::records::{ControllerKey, JobEnd};
use homeostat_knowledge::{
    ActionKind, ActionRecord, ControllerKind, ControllerRecord, FindingKind, Level, Name, ObjectKey,
    Snapshot, Target, Timestamp,
};

/// Creates a new Job of the failed Job's template, once for each failed Job, only when its Workload says
/// `repeatable`.
///
/// Repeat-safe because the new Job's name follows from the failed one ([`retry_name`]): the API server refuses to
/// create it twice, and its annotation tells which action created it. The failed Job is left as it is, for people
/// to look at. Nothing to undo: a run that took place cannot be taken back.
#[derive(Clone, Copy, Debug)]
pub struct RetryJob;

/// Name of the Job that retries this one. Short enough for the label that Kubernetes puts on its pods.
pub fn retry_name(target: &Target) -> Name {
    let base: String = target.key.name.chars().take(44).collect();
    let uid: String = target.uid.as_str().chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    Name::from(format!("{}-retry-{}", base.trim_end_matches(['-', '.']), uid.to_ascii_lowercase()))
}

impl ActionSpec for RetryJob {
    fn kind(&self) -> ActionKind {
        ActionKind::RetryJob
    }

    fn reversible(&self) -> bool {
        false
    }

    fn alone_at(&self) -> Level {
        Level::ActBounded // The Workload says that running it twice does no harm.
    }

    fn rights(&self) -> &'static [Right] {
        &[Right { api_group: "batch", resource: "jobs", verbs: &["get", "create"] }]
    }

    fn undo(&self) -> Undo {
        Undo::None
    }

    fn repeat(&self) -> Repeat {
        Repeat::Never
    }

    fn check(&self, record: &ActionRecord, snapshot: &Snapshot, protected: &Protected) -> Result<(), Unfit> {
        let found = run::target(record, snapshot, protected)?;
        failed(record, found)?;
        run::repeatable(record, snapshot)?;
        if snapshot.controllers.contains_key(&retry_key(record)) {
            return Err(Unfit::Done(format!("{} was retried already", record.target.key)));
        }
        Ok(())
    }

    fn check_fresh(
        &self,
        record: &ActionRecord,
        _cause: Option<FindingKind>,
        fresh: &FreshTarget,
    ) -> Result<(), Unfit> {
        failed(record, target::fresh_controller(record, fresh)?)?;
        if let Some(by) = &fresh.marks.retried_by {
            return Err(Unfit::Done(format!("{} was retried already, by {by}", record.target.key)));
        }
        Ok(())
    }

    fn landed(&self, record: &ActionRecord, fresh: Option<&FreshTarget>) -> Landed {
        let by = fresh.and_then(|fresh| fresh.marks.retried_by.as_ref());
        run::created(record, by, "the new Job")
    }

    fn verify(&self, record: &ActionRecord, snapshot: &Snapshot, now: Timestamp) -> Verdict {
        let Some(retry) = snapshot.controllers.get(&retry_key(record)) else {
            return verify::until(record, now, "the new Job is not seen");
        };
        match (retry.finished, record.verification.expect) {
            (Some(JobEnd::Complete), _) => Verdict::Helped("the new run ended well".to_owned()),
            (Some(JobEnd::Failed), _) => Verdict::NotHelped("the new run failed too".to_owned()),
            (None, Expectation::Nothing) => Verdict::Helped("the new run began".to_owned()),
            (None, _) => verify::until(record, now, "the new run has not ended"),
        }
    }
}

fn retry_key(record: &ActionRecord) -> ControllerKey {
    ControllerKey {
        kind: ControllerKind::Job,
        object: ObjectKey {
            namespace: record.target.key.namespace.clone(),
            name: retry_name(&record.target),
        },
    }
}

fn failed(record: &ActionRecord, found: &ControllerRecord) -> Result<(), Unfit> {
    let key = &record.target.key;
    if found.key.kind != ControllerKind::Job {
        return Err(Unfit::Protected(format!("{key} is no Job")));
    }
    if found.finished != Some(JobEnd::Failed) {
        return Err(Unfit::Changed(format!("Job {key} has not failed")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, fresh_controller, put_controller, run, run_action, runs};
    use homeostat_knowledge::{Parameters, Uid};

    fn broken() -> ControllerRecord {
        let mut job = run(ControllerKind::Job);
        job.finished = Some(JobEnd::Failed);
        job
    }

    fn retry() -> ActionRecord {
        run_action("order-1-1", ControllerKind::Job, Parameters::RetryJob)
    }

    fn allowed(repeatable: bool, job: ControllerRecord) -> Result<(), Unfit> {
        let mut snapshot = runs(ControllerKind::Job, repeatable);
        put_controller(&mut snapshot, job);
        RetryJob.check(&retry(), &snapshot, &Protected::with_own_namespace("homeostat"))
    }

    #[test]
    fn only_a_failed_job_that_may_run_twice_and_only_once() {
        assert_eq!(allowed(true, broken()), Ok(()));
        assert!(matches!(allowed(false, broken()), Err(Unfit::Protected(_))));
        assert!(matches!(allowed(true, run(ControllerKind::Job)), Err(Unfit::Changed(_))));
        let mut snapshot = runs(ControllerKind::Job, true);
        put_controller(&mut snapshot, broken());
        let mut again = broken();
        again.key = retry_key(&retry());
        put_controller(&mut snapshot, again);
        let result = RetryJob.check(&retry(), &snapshot, &Protected::with_own_namespace("homeostat"));
        assert!(matches!(result, Err(Unfit::Done(_))));
    }

    #[test]
    fn the_name_follows_from_the_failed_job_and_fits() {
        let mut target = retry().target;
        target.uid = Uid::new("0A1b2c3d-4e5f-6789");
        assert_eq!(&*retry_name(&target), "order-retry-0a1b2c3d");
        target.key.name = Name::from("n".repeat(63));
        assert!(retry_name(&target).len() <= 63);
        assert_eq!(retry_name(&target), retry_name(&target.clone()));
    }

    #[test]
    fn the_new_job_tells_whether_it_was_created_and_how_it_ended() {
        let mut record = retry();
        record.instants.sent = Some(at(0));
        let mut fresh = fresh_controller(broken());
        assert_eq!(RetryJob.check_fresh(&record, None, &fresh), Ok(()));
        assert!(matches!(RetryJob.landed(&record, Some(&fresh)), Landed::Unclear(_)));
        fresh.marks.retried_by = Some(Name::from("order-1-1"));
        assert!(matches!(RetryJob.landed(&record, Some(&fresh)), Landed::Yes(_)));
        assert!(matches!(RetryJob.check_fresh(&record, None, &fresh), Err(Unfit::Done(_))));
        let mut snapshot = runs(ControllerKind::Job, true);
        assert!(matches!(RetryJob.verify(&record, &snapshot, at(1)), Verdict::Wait(_)));
        for (end, expected) in [(None, "wait"), (Some(JobEnd::Complete), "yes"), (Some(JobEnd::Failed), "no")]
        {
            let mut again = run(ControllerKind::Job);
            again.key = retry_key(&record);
            again.finished = end;
            put_controller(&mut snapshot, again);
            let verdict = match RetryJob.verify(&record, &snapshot, at(5)) {
                Verdict::Wait(_) => "wait",
                Verdict::Helped(_) => "yes",
                Verdict::NotHelped(_) => "no",
            };
            assert_eq!(verdict, expected);
        }
    }
}
