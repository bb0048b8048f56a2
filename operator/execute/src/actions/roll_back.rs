//! Back to a named revision.

use super::{
    ActionSpec, Asks, Landed, Protected, Repeat, Right, Unfit, Verdict, owners, release, target, verify,
};
use crate::ports::{Field, FreshTarget};
use homeostat_knowledge::plan::Undo;
use homeostat_knowledge::records::ControllerKey;
use homeostat_knowledge::{
    ActionKind, ActionRecord, ControllerKind, ControllerRecord, FindingKind, Level, Name, ObjectKey,
    Parameters, Snapshot, Timestamp,
};

/// Puts the pod template of a named revision back: of a `ReplicaSet` of the Deployment, or of a
/// `ControllerRevision` of the `StatefulSet` or `DaemonSet`. The rollout itself is the controller's.
///
/// Repeat-safe because the object carries the action's id in `homeostat.dev/rolled-back-by`, written together
/// with the template under the version that was read. Refused when that revision is there already, when
/// somebody released again meanwhile, and when a GitOps tool owns the template.
///
/// Never undone by itself: the release that it takes back was just found bad, and going forward to it again is
/// for people. With a person's approval at every level, unless it is known that nothing else came with the
/// release (`release.rs`).
#[derive(Clone, Copy, Debug)]
pub struct RollBack;

impl ActionSpec for RollBack {
    fn kind(&self) -> ActionKind {
        ActionKind::RollBack
    }

    fn reversible(&self) -> bool {
        false // The release can be made again, but what ran meanwhile may not fit it.
    }

    fn alone_at(&self) -> Level {
        Level::ActFull
    }

    fn always_asks(&self) -> bool {
        true
    }

    fn asks(&self, record: &ActionRecord, snapshot: &Snapshot) -> Asks {
        match release::came_alone(record, revision_of(record), snapshot) {
            Ok(why) => Asks::Spared(why),
            Err(why) => Asks::Always(why),
        }
    }

    fn rights(&self) -> &'static [Right] {
        &[
            Right { api_group: "apps", resource: "deployments", verbs: &["get", "patch"] },
            Right { api_group: "apps", resource: "statefulsets", verbs: &["get", "patch"] },
            Right { api_group: "apps", resource: "daemonsets", verbs: &["get", "patch"] },
            Right { api_group: "apps", resource: "replicasets", verbs: &["get"] },
            Right { api_group: "apps", resource: "controllerrevisions", verbs: &["get"] },
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
        let revision = revision(record)?;
        there(record, controller, revision)?;
        if controller.key.kind == ControllerKind::Deployment {
            let key = ControllerKey {
                kind: ControllerKind::ReplicaSet,
                object: ObjectKey { namespace: record.target.key.namespace.clone(), name: revision.clone() },
            };
            // An old revision without pods may not be kept in the snapshot; then the dry run tells.
            if let Some(old) = snapshot.controllers.get(&key) {
                if old.owner.as_ref().is_none_or(|owner| owner.uid != controller.uid) {
                    return Err(Unfit::Protected(format!(
                        "revision {revision} does not belong to {}",
                        record.target.key
                    )));
                }
                if old.revision.is_some() && old.revision == controller.revision {
                    return Err(Unfit::Done(format!(
                        "{} is at revision {revision} already",
                        record.target.key
                    )));
                }
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
        let controller = target::fresh_controller(record, fresh)?;
        if fresh.marks.rolled_back_by.as_deref() == Some(record.id.as_str()) {
            return Err(Unfit::Done(format!("{} carries this roll back already", record.target.key)));
        }
        there(record, controller, revision(record)?)?;
        owners::no_tool(record, fresh, Field::Template)
    }

    fn landed(&self, record: &ActionRecord, fresh: Option<&FreshTarget>) -> Landed {
        target::annotated(record, fresh, fresh.and_then(|fresh| fresh.marks.rolled_back_by.as_ref()))
    }

    fn verify(&self, record: &ActionRecord, snapshot: &Snapshot, now: Timestamp) -> Verdict {
        verify::rolled_out(record, snapshot, now, "the roll back")
    }
}

fn revision_of(record: &ActionRecord) -> Option<&Name> {
    match &record.parameters {
        Parameters::RollBack { revision } if !revision.is_empty() => Some(revision),
        _ => None,
    }
}

fn revision(record: &ActionRecord) -> Result<&Name, Unfit> {
    revision_of(record).ok_or_else(|| Unfit::Protected("no revision to go back to is named".to_owned()))
}

/// The release that was decided on is still the present one, and not the wanted one.
fn there(record: &ActionRecord, controller: &ControllerRecord, revision: &Name) -> Result<(), Unfit> {
    let key = &record.target.key;
    if !matches!(
        controller.key.kind,
        ControllerKind::Deployment | ControllerKind::StatefulSet | ControllerKind::DaemonSet
    ) {
        return Err(Unfit::Protected(format!("{key} is of a kind that has no revisions")));
    }
    if controller.paused {
        return Err(Unfit::Protected(format!("the rollout of {key} is paused by a person")));
    }
    if controller.revision.as_ref() == Some(revision) {
        return Err(Unfit::Done(format!("{key} is at revision {revision} already")));
    }
    if controller.revision != record.before.revision {
        return Err(Unfit::Changed(format!("{key} was released again since the decision")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, change, controller, edit, fresh_controller, put_controller, snapshot};
    use homeostat_knowledge::Uid;
    use homeostat_knowledge::plan::Expectation;
    use homeostat_knowledge::records::OwnerRecord;

    fn back() -> ActionRecord {
        change("order-1-1", Parameters::RollBack { revision: Name::from("order-old") })
    }

    fn old(owner: &str, revision: &str) -> ControllerRecord {
        let mut set = controller(ControllerKind::ReplicaSet, "order-old");
        set.revision = Some(Name::from(revision));
        set.owner = Some(OwnerRecord {
            kind: ControllerKind::Deployment,
            name: Name::from("order"),
            uid: Uid::new(owner),
        });
        set
    }

    fn allowed(change: impl FnOnce(&mut Snapshot)) -> Result<(), Unfit> {
        let mut snapshot = snapshot();
        put_controller(&mut snapshot, old("uid-order", "3"));
        change(&mut snapshot);
        RollBack.check(&back(), &snapshot, &Protected::with_own_namespace("homeostat"))
    }

    #[test]
    fn only_to_another_revision_of_the_same_object() {
        assert_eq!(allowed(|_| {}), Ok(()));
        let foreign = allowed(|snapshot| put_controller(snapshot, old("somebody", "3")));
        assert!(matches!(foreign, Err(Unfit::Protected(_))));
        let there = allowed(|snapshot| put_controller(snapshot, old("uid-order", "4")));
        assert!(matches!(there, Err(Unfit::Done(_))));
        let mut paused = controller(ControllerKind::Deployment, "order");
        paused.paused = true;
        assert!(matches!(allowed(|snapshot| put_controller(snapshot, paused)), Err(Unfit::Protected(_))));
        let mut again = controller(ControllerKind::Deployment, "order");
        again.revision = Some(Name::from("5"));
        assert!(matches!(allowed(|snapshot| put_controller(snapshot, again)), Err(Unfit::Changed(_))));
    }

    #[test]
    fn a_release_since_the_decision_and_a_gitops_owner_stop_it() {
        let fresh = || fresh_controller(controller(ControllerKind::Deployment, "order"));
        assert_eq!(RollBack.check_fresh(&back(), None, &fresh()), Ok(()));
        let mut again = fresh();
        again.controller.as_mut().expect("a controller").revision = Some(Name::from("5"));
        assert!(matches!(RollBack.check_fresh(&back(), None, &again), Err(Unfit::Changed(_))));
        let mut owned = fresh();
        owned.marks.edits = vec![edit(Field::Template, "argocd-controller", -90_000)];
        assert!(matches!(RollBack.check_fresh(&back(), None, &owned), Err(Unfit::Protected(_))));
        // The release that is taken back was made by somebody, and lately.
        let mut released = fresh();
        released.marks.edits = vec![edit(Field::Template, "kubectl-set", -60)];
        assert_eq!(RollBack.check_fresh(&back(), None, &released), Ok(()));
    }

    #[test]
    fn the_mark_tells_whether_it_was_done_and_a_person_is_asked_where_nobody_said_otherwise() {
        let mut fresh = fresh_controller(controller(ControllerKind::Deployment, "order"));
        assert!(matches!(RollBack.landed(&back(), Some(&fresh)), Landed::No(_)));
        fresh.marks.rolled_back_by = Some(Name::from("order-1-1"));
        assert!(matches!(RollBack.landed(&back(), Some(&fresh)), Landed::Yes(_)));
        assert!(matches!(RollBack.check_fresh(&back(), None, &fresh), Err(Unfit::Done(_))));
        assert!(matches!(RollBack.asks(&back(), &snapshot()), Asks::Always(_)));
    }

    #[test]
    fn it_helped_when_the_old_template_is_rolled_out() {
        let mut record = back();
        record.verification.expect = Expectation::RolloutComplete;
        record.instants.sent = Some(at(0));
        let mut snapshot = snapshot();
        assert!(matches!(RollBack.verify(&record, &snapshot, at(1)), Verdict::Wait(_)));
        let mut rolled = controller(ControllerKind::Deployment, "order");
        rolled.revision = Some(Name::from("5"));
        put_controller(&mut snapshot, rolled);
        assert!(matches!(RollBack.verify(&record, &snapshot, at(3)), Verdict::Helped(_)));
    }
}
