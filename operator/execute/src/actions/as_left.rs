//! Whether a target is still as the action left it that is to be taken back. That proves that the undo had no effect so far.

use super::owners;
use crate::ports::FreshTarget;
use homeostat_knowledge::records::Hold;
use homeostat_knowledge::{ActionKind, ActionRecord};

/// Whether the fresh read shows the very state that the undone action set, by its mark or by a field that Homeostat set
/// last and alone. What somebody set back to the same value is not as it was left. Pure; `false` for what is no undo.
pub(crate) fn as_left(record: &ActionRecord, fresh: Option<&FreshTarget>) -> bool {
    let Some((undone, fresh)) = record.undo_of.as_ref().zip(fresh) else { return false };
    let Some(spec) = super::spec(record.kind()) else { return false };
    if spec.check_fresh(record, None, fresh).is_err() {
        return false;
    }
    let marked = |hold: &Hold| hold.is_of(undone);
    match record.kind() {
        ActionKind::Uncordon => fresh.node.as_ref().and_then(|node| node.hold.as_ref()).is_some_and(marked),
        ActionKind::Resume => fresh.controller.as_ref().and_then(|run| run.hold.as_ref()).is_some_and(marked),
        ActionKind::DriveBounds => {
            let drive = fresh.autoscaler.as_ref().and_then(|found| found.drive.as_ref());
            drive.is_some_and(|drive| marked(&drive.hold))
        }
        _ => spec.field().is_some_and(|field| owners::last_set_by_us(fresh, field).is_some()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Field;
    use crate::testing::{
        at, autoscaler, change, controller, edit, fresh_autoscaler, fresh_controller, fresh_node, hold, node,
        node_action, run, run_action,
    };
    use homeostat_knowledge::policy::Bounds;
    use homeostat_knowledge::records::Drive;
    use homeostat_knowledge::{ActionId, Before, ControllerKind, Parameters, Snapshot};

    const UNDONE: &str = "order-1-1";

    fn undo(record: ActionRecord, before: Before) -> ActionRecord {
        ActionRecord { undo_of: Some(ActionId::new(UNDONE)), before, ..record }
    }

    /// The undo of each held state, with its target as that action holds it.
    fn held(by: &str) -> Vec<(ActionRecord, FreshTarget)> {
        let mut closed = node("node-5");
        (closed.cordoned, closed.hold) = (true, Some(hold(by, 3_600)));
        let mut suspended = run(ControllerKind::CronJob);
        (suspended.paused, suspended.hold) = (true, Some(hold(by, 3_600)));
        let (own, raised) = (Bounds { min: 2, max: 10 }, Bounds { min: 4, max: 10 });
        let mut driven = autoscaler(raised.min, raised.max);
        driven.drive = Some(Drive { hold: hold(by, 3_600), before: own, set: raised });
        let back = Parameters::DriveBounds { bounds: own, until: at(3_600) };
        let mut bounds = undo(change("u", back), Before { bounds: Some(raised), ..Before::default() });
        bounds.target = Snapshot::autoscaler_target(&driven);
        let open = undo(node_action("u", "node-5", Parameters::Uncordon), Before::default());
        let resume = undo(run_action("u", ControllerKind::CronJob, Parameters::Resume), Before::default());
        vec![
            (open, fresh_node(closed)),
            (resume, fresh_controller(suspended)),
            (bounds, fresh_autoscaler(driven)),
        ]
    }

    #[test]
    fn what_is_held_is_as_left_while_it_carries_the_mark_of_what_is_taken_back() {
        for (undo, fresh) in held(UNDONE) {
            assert!(as_left(&undo, Some(&fresh)), "{}", undo.kind());
            assert!(!as_left(&undo, None), "{} is gone", undo.kind());
            let alone = ActionRecord { undo_of: None, ..undo };
            assert!(!as_left(&alone, Some(&fresh)), "{} is no undo", alone.kind());
        }
        for (undo, fresh) in held("order-1-2") {
            assert!(!as_left(&undo, Some(&fresh)), "{} of another action", undo.kind());
        }
    }

    #[test]
    fn a_size_is_as_left_only_while_homeostat_set_it_last() {
        let before = Before { replicas: Some(4), ..Before::default() };
        let undo = undo(change("u", Parameters::ScaleDown { replicas: 2 }), before);
        let found = |replicas: i32, edits| {
            let mut deployment = controller(ControllerKind::Deployment, "order");
            deployment.replicas = replicas;
            let mut fresh = fresh_controller(deployment);
            fresh.marks.edits = edits;
            as_left(&undo, Some(&fresh))
        };
        let ours = || edit(Field::Replicas, "homeostat", -60);
        let part = |second| edit(Field::Replicas, "kube-controller-manager", second);
        assert!(found(4, vec![ours()]));
        assert!(found(4, vec![part(-600), ours()]), "it was somebody else's before");
        assert!(!found(4, vec![ours(), part(-30)]), "undone, and set again");
        assert!(!found(4, vec![part(-30)]));
        assert!(!found(4, Vec::new()), "who set it is not known");
        assert!(!found(2, vec![ours()]), "it is taken back");
        assert!(!found(3, vec![ours()]));
    }
}
