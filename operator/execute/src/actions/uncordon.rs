//! Allow new pods on a node again.

use super::{ActionSpec, Landed, Protected, Repeat, Right, Unfit, Verdict, node, owners, target, verify};
use crate::ports::{Field, FreshTarget};
use homeostat_knowledge::plan::Undo;
use homeostat_knowledge::records::NodeRecord;
use homeostat_knowledge::{ActionKind, ActionRecord, FindingKind, Level, Snapshot, Timestamp};

/// Clears `spec.unschedulable` and our mark, only on a node that carries our mark: what a person cordoned stays
/// cordoned.
///
/// Repeat-safe because the patch is conditioned on the version that was read, and without our mark there is
/// nothing to do. Not undone: closing a node again is a new decision.
#[derive(Clone, Copy, Debug)]
pub struct Uncordon;

impl ActionSpec for Uncordon {
    fn kind(&self) -> ActionKind {
        ActionKind::Uncordon
    }

    fn reversible(&self) -> bool {
        true
    }

    fn alone_at(&self) -> Level {
        Level::ActFull
    }

    fn rights(&self) -> &'static [Right] {
        super::cordon::RIGHTS
    }

    fn undo(&self) -> Undo {
        Undo::None
    }

    fn field(&self) -> Option<Field> {
        Some(Field::Unschedulable)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Never
    }

    fn check(&self, record: &ActionRecord, snapshot: &Snapshot, _protected: &Protected) -> Result<(), Unfit> {
        ours(record, node::target(record, snapshot)?)
    }

    fn check_fresh(
        &self,
        record: &ActionRecord,
        _cause: Option<FindingKind>,
        fresh: &FreshTarget,
    ) -> Result<(), Unfit> {
        ours(record, node::fresh(record, fresh)?)?;
        owners::undisturbed(record, fresh, Field::Unschedulable)
    }

    fn landed(&self, record: &ActionRecord, fresh: Option<&FreshTarget>) -> Landed {
        let node = fresh.filter(|fresh| fresh.uid == record.target.uid).and_then(|fresh| fresh.node.as_ref());
        match node {
            Some(node) if !node.cordoned => {
                Landed::There("the node takes new pods, and who opened it is not known".to_owned())
            }
            Some(node) if node.hold.is_none() => {
                Landed::There("our mark is gone; somebody else keeps it cordoned".to_owned())
            }
            _ => target::absent(record, fresh, "the node is cordoned with our mark"),
        }
    }

    fn verify(&self, record: &ActionRecord, snapshot: &Snapshot, now: Timestamp) -> Verdict {
        if snapshot.nodes.get(&record.target.key.name).is_some_and(|node| node.hold.is_none()) {
            return Verdict::Helped("the node is released".to_owned());
        }
        verify::until(record, now, "the release is not seen on the node")
    }
}

/// Only what we closed is opened; as an undo only what the undone action itself closed.
fn ours(record: &ActionRecord, node: &NodeRecord) -> Result<(), Unfit> {
    if !node.cordoned {
        return Err(Unfit::Done(format!("node {} is not cordoned", node.name)));
    }
    let Some(hold) = &node.hold else {
        return Err(Unfit::Protected(format!("node {} was not cordoned by Homeostat", node.name)));
    };
    if record.undo_of.as_ref().is_some_and(|undone| *hold.by != *undone.as_str()) {
        return Err(Unfit::Protected(format!("node {} is held by action {}", node.name, hold.by)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, cluster, edit, fresh_node, hold, node, node_action, put_node};
    use homeostat_knowledge::{ActionId, Parameters};

    fn closed(by: Option<&str>) -> NodeRecord {
        let mut node = node("node-5");
        node.cordoned = true;
        node.hold = by.map(|by| hold(by, 3_600));
        node
    }

    fn allowed(record: &ActionRecord, node: NodeRecord) -> Result<(), Unfit> {
        let mut snapshot = cluster(20);
        put_node(&mut snapshot, node.clone());
        let result = Uncordon.check(record, &snapshot, &Protected::with_own_namespace("homeostat"));
        let fresh = Uncordon.check_fresh(record, None, &fresh_node(node));
        assert_eq!(result.is_ok(), fresh.is_ok(), "the cache and the fresh read agree");
        result
    }

    #[test]
    fn only_what_carries_our_mark_is_opened() {
        let record = node_action("node-1-2", "node-5", Parameters::Uncordon);
        assert_eq!(allowed(&record, closed(Some("node-1-1"))), Ok(()));
        assert!(matches!(allowed(&record, closed(None)), Err(Unfit::Protected(_))), "a person's");
        assert!(matches!(allowed(&record, node("node-5")), Err(Unfit::Done(_))));
        let mut undo = record;
        undo.undo_of = Some(ActionId::new("node-1-1"));
        assert_eq!(allowed(&undo, closed(Some("node-1-1"))), Ok(()));
        assert!(matches!(allowed(&undo, closed(Some("node-9-1"))), Err(Unfit::Protected(_))));
    }

    #[test]
    fn a_person_who_confirmed_the_cordon_is_respected() {
        let record = node_action("node-1-2", "node-5", Parameters::Uncordon);
        let mut fresh = fresh_node(closed(Some("node-1-1")));
        fresh.marks.edits = vec![edit(Field::Unschedulable, "kubectl-cordon", -10)];
        assert!(matches!(Uncordon.check_fresh(&record, None, &fresh), Err(Unfit::Protected(_))));
    }

    #[test]
    fn it_is_recognised_and_verified_by_the_node() {
        let mut record = node_action("node-1-2", "node-5", Parameters::Uncordon);
        record.instants.sent = Some(at(0));
        assert!(matches!(Uncordon.landed(&record, Some(&fresh_node(node("node-5")))), Landed::There(_)));
        assert!(matches!(Uncordon.landed(&record, Some(&fresh_node(closed(Some("x"))))), Landed::Unclear(_)));
        let mut snapshot = cluster(20);
        assert!(matches!(Uncordon.verify(&record, &snapshot, at(1)), Verdict::Helped(_)));
        put_node(&mut snapshot, closed(Some("x")));
        assert!(matches!(Uncordon.verify(&record, &snapshot, at(1)), Verdict::Wait(_)));
    }
}
