//! Let a Job or `CronJob` start pods again.

use super::{ActionSpec, Landed, Protected, Repeat, Right, Unfit, Verdict, owners, run, target, verify};
use crate::ports::{Field, FreshTarget};
use homeostat_knowledge::plan::Undo;
use homeostat_knowledge::{
    ActionKind, ActionRecord, ControllerRecord, FindingKind, Level, Snapshot, Timestamp,
};

/// Clears `spec.suspend` and our mark, only where our mark is: what a person suspended stays suspended.
///
/// Repeat-safe as [`super::Uncordon`]. Not undone.
#[derive(Clone, Copy, Debug)]
pub struct Resume;

impl ActionSpec for Resume {
    fn kind(&self) -> ActionKind {
        ActionKind::Resume
    }

    fn reversible(&self) -> bool {
        true
    }

    fn alone_at(&self) -> Level {
        Level::ActFull
    }

    fn rights(&self) -> &'static [Right] {
        super::suspend::RIGHTS
    }

    fn undo(&self) -> Undo {
        Undo::None
    }

    fn field(&self) -> Option<Field> {
        Some(Field::Suspend)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Never
    }

    fn check(&self, record: &ActionRecord, snapshot: &Snapshot, protected: &Protected) -> Result<(), Unfit> {
        ours(record, run::target(record, snapshot, protected)?)
    }

    fn check_fresh(
        &self,
        record: &ActionRecord,
        _cause: Option<FindingKind>,
        fresh: &FreshTarget,
    ) -> Result<(), Unfit> {
        ours(record, target::fresh_controller(record, fresh)?)?;
        owners::undisturbed(record, fresh, Field::Suspend)
    }

    fn landed(&self, record: &ActionRecord, fresh: Option<&FreshTarget>) -> Landed {
        let found =
            fresh.filter(|fresh| fresh.uid == record.target.uid).and_then(|fresh| fresh.controller.as_ref());
        match found {
            Some(found) if !found.paused => {
                Landed::There("it is not suspended, and who let it go on is not known".to_owned())
            }
            Some(found) if found.hold.is_none() => {
                Landed::There("our mark is gone; somebody else keeps it suspended".to_owned())
            }
            _ => target::absent(record, fresh, "it is suspended with our mark"),
        }
    }

    fn verify(&self, record: &ActionRecord, snapshot: &Snapshot, now: Timestamp) -> Verdict {
        match run::target(record, snapshot, &Protected::none()) {
            Ok(found) if found.hold.is_none() => Verdict::Helped("it is released".to_owned()),
            Ok(_) => verify::until(record, now, "the release is not seen"),
            Err(unfit) => verify::until(record, now, &unfit.to_string()),
        }
    }
}

fn ours(record: &ActionRecord, found: &ControllerRecord) -> Result<(), Unfit> {
    let key = &record.target.key;
    if !found.paused {
        return Err(Unfit::Done(format!("{key} is not suspended")));
    }
    let Some(hold) = &found.hold else {
        return Err(Unfit::Protected(format!("{key} was not suspended by Homeostat")));
    };
    if record.undo_of.as_ref().is_some_and(|undone| *hold.by != *undone.as_str()) {
        return Err(Unfit::Protected(format!("{key} is held by action {}", hold.by)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, fresh_controller, hold, put_controller, run, run_action, runs};
    use homeostat_knowledge::{ControllerKind, Parameters};

    #[test]
    fn only_what_carries_our_mark_goes_on() {
        let mut record = run_action("order-1-2", ControllerKind::CronJob, Parameters::Resume);
        record.instants.sent = Some(at(0));
        let mut snapshot = runs(ControllerKind::CronJob, false);
        let mut judge = |found: ControllerRecord| {
            put_controller(&mut snapshot, found.clone());
            let check = Resume.check(&record, &snapshot, &Protected::with_own_namespace("homeostat"));
            let fresh = fresh_controller(found);
            assert_eq!(check.is_ok(), Resume.check_fresh(&record, None, &fresh).is_ok());
            (check, Resume.landed(&record, Some(&fresh)), Resume.verify(&record, &snapshot, at(1)))
        };
        let mut found = run(ControllerKind::CronJob);
        assert!(matches!(judge(found.clone()), (Err(Unfit::Done(_)), Landed::There(_), Verdict::Helped(_))));
        found.paused = true;
        assert!(matches!(judge(found.clone()).0, Err(Unfit::Protected(_))), "a person's");
        found.hold = Some(hold("order-1-1", 60));
        assert!(matches!(judge(found), (Ok(()), Landed::No(_), Verdict::Wait(_))));
    }
}
