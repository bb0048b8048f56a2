//! Stop a Job or `CronJob` from starting pods.

use super::{ActionSpec, Landed, Protected, Repeat, Right, Unfit, Verdict, owners, run, target, verify};
use crate::ports::{Field, FreshTarget};
use homeostat_knowledge::plan::Undo;
use homeostat_knowledge::{
    ActionKind, ActionRecord, ControllerKind, FindingKind, Level, Parameters, Snapshot, Timestamp,
};

/// Sets `spec.suspend` together with our own mark: the action's id and until when it holds.
///
/// A suspended `CronJob` starts no new runs and lets the present ones end. A suspended Job loses the pods that
/// run, so that is done only when the Workload is `repeatable`. Repeat-safe as [`super::Cordon`], and it ends by
/// itself in the same ways.
#[derive(Clone, Copy, Debug)]
pub struct Suspend;

/// Rights of both directions.
pub(super) const RIGHTS: &[Right] = &[
    Right { api_group: "batch", resource: "jobs", verbs: &["get", "patch"] },
    Right { api_group: "batch", resource: "cronjobs", verbs: &["get", "patch"] },
];

impl ActionSpec for Suspend {
    fn kind(&self) -> ActionKind {
        ActionKind::Suspend
    }

    fn reversible(&self) -> bool {
        true
    }

    fn alone_at(&self) -> Level {
        Level::ActFull
    }

    fn rights(&self) -> &'static [Right] {
        RIGHTS
    }

    fn undo(&self) -> Undo {
        Undo::Restore
    }

    fn restore(&self, record: &ActionRecord) -> Option<Parameters> {
        (record.before.suspended == Some(false)).then_some(Parameters::Resume)
    }

    fn field(&self) -> Option<Field> {
        Some(Field::Suspend)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Never
    }

    fn check(&self, record: &ActionRecord, snapshot: &Snapshot, protected: &Protected) -> Result<(), Unfit> {
        let found = run::target(record, snapshot, protected)?;
        let Parameters::Suspend { until } = record.parameters else {
            return Err(Unfit::Protected("a suspension without an end".to_owned()));
        };
        target::bounded_hold(record, until)?;
        if found.paused {
            return Err(Unfit::Done(format!("{} is suspended already", record.target.key)));
        }
        if found.finished.is_some() {
            return Err(Unfit::Done(format!("{} has ended", record.target.key)));
        }
        if found.key.kind == ControllerKind::Job {
            run::repeatable(record, snapshot)?;
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
        if found.paused || found.finished.is_some() {
            return Err(Unfit::Done(format!("{} is suspended already, or has ended", record.target.key)));
        }
        owners::undisturbed(record, fresh, Field::Suspend)
    }

    fn landed(&self, record: &ActionRecord, fresh: Option<&FreshTarget>) -> Landed {
        let found =
            fresh.filter(|fresh| fresh.uid == record.target.uid).and_then(|fresh| fresh.controller.as_ref());
        match found {
            Some(found) if found.paused && found.hold.as_ref().is_some_and(|hold| hold.is_of(&record.id)) => {
                Landed::Yes("it carries this action's mark".to_owned())
            }
            _ => target::absent(record, fresh, "it does not carry this action's mark"),
        }
    }

    fn verify(&self, record: &ActionRecord, snapshot: &Snapshot, now: Timestamp) -> Verdict {
        let held = run::target(record, snapshot, &Protected::none()).is_ok_and(|found| {
            found.paused && found.hold.as_ref().is_some_and(|hold| hold.is_of(&record.id))
        });
        if held {
            return Verdict::Helped("it starts no pods".to_owned());
        }
        verify::until(record, now, "the suspension is not seen")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, edit, fresh_controller, hold, put_controller, run, run_action, runs};
    use homeostat_knowledge::ControllerRecord;
    use homeostat_knowledge::records::JobEnd;

    fn suspend(kind: ControllerKind) -> ActionRecord {
        run_action("order-1-1", kind, Parameters::Suspend { until: at(3_600) })
    }

    fn allowed(
        kind: ControllerKind,
        repeatable: bool,
        change: impl FnOnce(&mut ControllerRecord),
    ) -> Result<(), Unfit> {
        let mut snapshot = runs(kind, repeatable);
        let mut found = run(kind);
        change(&mut found);
        put_controller(&mut snapshot, found);
        Suspend.check(&suspend(kind), &snapshot, &Protected::with_own_namespace("homeostat"))
    }

    #[test]
    fn a_cron_job_always_a_job_only_when_it_may_run_again() {
        assert_eq!(allowed(ControllerKind::CronJob, false, |_| {}), Ok(()));
        assert!(matches!(allowed(ControllerKind::Job, false, |_| {}), Err(Unfit::Protected(_))));
        assert_eq!(allowed(ControllerKind::Job, true, |_| {}), Ok(()));
        assert!(matches!(allowed(ControllerKind::Job, true, |job| job.paused = true), Err(Unfit::Done(_))));
        let ended: fn(&mut ControllerRecord) = |job| job.finished = Some(JobEnd::Complete);
        assert!(matches!(allowed(ControllerKind::Job, true, ended), Err(Unfit::Done(_))));
        assert!(allowed(ControllerKind::Deployment, true, |_| {}).is_err());
    }

    #[test]
    fn it_ends_by_itself_and_its_mark_tells_whether_it_was_done() {
        let mut endless = suspend(ControllerKind::CronJob);
        endless.parameters = Parameters::Suspend { until: at(90_000) };
        let snapshot = runs(ControllerKind::CronJob, false);
        assert!(Suspend.check(&endless, &snapshot, &Protected::with_own_namespace("homeostat")).is_err());
        let record = suspend(ControllerKind::CronJob);
        let mut held = run(ControllerKind::CronJob);
        assert_eq!(Suspend.check_fresh(&record, None, &fresh_controller(held.clone())), Ok(()));
        held.paused = true;
        assert!(matches!(Suspend.landed(&record, Some(&fresh_controller(held.clone()))), Landed::No(_)));
        held.hold = Some(hold("order-1-1", 3_600));
        assert!(matches!(Suspend.landed(&record, Some(&fresh_controller(held.clone()))), Landed::Yes(_)));
        assert!(matches!(
            Suspend.check_fresh(&record, None, &fresh_controller(held.clone())),
            Err(Unfit::Done(_))
        ));
        let mut snapshot = snapshot;
        assert!(matches!(Suspend.verify(&record, &snapshot, at(1)), Verdict::Wait(_)));
        put_controller(&mut snapshot, held);
        assert!(matches!(Suspend.verify(&record, &snapshot, at(1)), Verdict::Helped(_)));
    }

    #[test]
    fn a_person_who_just_resumed_it_is_respected() {
        let mut fresh = fresh_controller(run(ControllerKind::CronJob));
        fresh.marks.edits = vec![edit(Field::Suspend, "kubectl-patch", -5)];
        let record = suspend(ControllerKind::CronJob);
        assert!(matches!(Suspend.check_fresh(&record, None, &fresh), Err(Unfit::Protected(_))));
        assert_eq!(Suspend.restore(&record), Some(Parameters::Resume));
    }
}
