//! Keep new pods off a node.

use super::{ActionSpec, Landed, Protected, Repeat, Right, Unfit, Verdict, node, owners, target, verify};
use crate::ports::{Field, FreshTarget};
use homeostat_knowledge::plan::Undo;
use homeostat_knowledge::{ActionKind, ActionRecord, FindingKind, Level, Parameters, Snapshot, Timestamp};

/// Sets `spec.unschedulable` together with our own mark: the action's id and until when it holds.
///
/// Repeat-safe because flag and mark are written in one patch under the version that was read, and the mark is
/// the action's id. It ends by itself: what carries our mark is released when its time is over, when the action
/// did not help, and when Homeostat is removed. Never the node that Homeostat runs on, never the control plane,
/// at most [`ControlPolicy::cordoned_percent`](homeostat_knowledge::ControlPolicy) of the nodes, never in two zones.
#[derive(Clone, Copy, Debug)]
pub struct Cordon;

/// Rights of both directions.
pub(super) const RIGHTS: &[Right] = &[Right { api_group: "", resource: "nodes", verbs: &["get", "patch"] }];

impl ActionSpec for Cordon {
    fn kind(&self) -> ActionKind {
        ActionKind::Cordon
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
        (record.before.cordoned == Some(false)).then_some(Parameters::Uncordon)
    }

    fn field(&self) -> Option<Field> {
        Some(Field::Unschedulable)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Never
    }

    fn check(&self, record: &ActionRecord, snapshot: &Snapshot, protected: &Protected) -> Result<(), Unfit> {
        let node = node::target(record, snapshot)?;
        let Parameters::Cordon { until } = record.parameters else {
            return Err(Unfit::Protected("a cordon without an end".to_owned()));
        };
        target::bounded_hold(record, until)?;
        if node.cordoned {
            return Err(Unfit::Done(format!("node {} is cordoned already", node.name)));
        }
        node::may_be_closed(node, snapshot, protected)
    }

    fn check_fresh(
        &self,
        record: &ActionRecord,
        cause: Option<FindingKind>,
        fresh: &FreshTarget,
    ) -> Result<(), Unfit> {
        let node = node::fresh(record, fresh)?;
        let well = match cause {
            Some(FindingKind::NodeNotReady) => node.ready,
            Some(FindingKind::NodePressure) => node.pressures.is_empty(),
            _ => false,
        };
        if well {
            return Err(Unfit::Changed(format!("node {} is well again", node.name)));
        }
        if let Some(who) = &node.leaving {
            return Err(Unfit::Changed(format!("node {} is being taken away ({who})", node.name)));
        }
        if node.cordoned {
            return Err(Unfit::Done(format!("node {} is cordoned already", node.name)));
        }
        owners::undisturbed(record, fresh, Field::Unschedulable)
    }

    fn landed(&self, record: &ActionRecord, fresh: Option<&FreshTarget>) -> Landed {
        let node = fresh.filter(|fresh| fresh.uid == record.target.uid).and_then(|fresh| fresh.node.as_ref());
        match node {
            Some(node) if node.cordoned && node.hold.as_ref().is_some_and(|hold| hold.is_of(&record.id)) => {
                Landed::Yes("the node carries this action's mark".to_owned())
            }
            _ => target::absent(record, fresh, "the node does not carry this action's mark"),
        }
    }

    fn verify(&self, record: &ActionRecord, snapshot: &Snapshot, now: Timestamp) -> Verdict {
        let closed = snapshot.nodes.get(&record.target.key.name).is_some_and(|node| {
            node.cordoned && node.hold.as_ref().is_some_and(|hold| hold.is_of(&record.id))
        });
        if closed {
            return Verdict::Helped("the node takes no new pods".to_owned());
        }
        verify::until(record, now, "the cordon is not seen on the node")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, cluster, fresh_node, hold, node, node_action, put_node};
    use homeostat_knowledge::records::NodeRecord;
    use homeostat_knowledge::{ControlPolicy, TenantName, Uid};

    fn cordon() -> ActionRecord {
        node_action("node-1-1", "node-5", Parameters::Cordon { until: at(3_600) })
    }

    fn allowed(snapshot: &Snapshot, record: &ActionRecord) -> Result<(), Unfit> {
        Cordon.check(record, snapshot, &Protected::with_own_namespace("homeostat"))
    }

    fn with(change: impl FnOnce(&mut NodeRecord)) -> Result<(), Unfit> {
        let mut snapshot = cluster(20);
        let mut node = node("node-5");
        change(&mut node);
        put_node(&mut snapshot, node);
        allowed(&snapshot, &cordon())
    }

    #[test]
    fn ordinary_nodes_only_and_never_our_own() {
        assert_eq!(with(|_| {}), Ok(()));
        assert!(matches!(with(|node| node.control_plane = true), Err(Unfit::Protected(_))));
        assert!(matches!(with(|node| node.cordoned = true), Err(Unfit::Done(_))));
        assert!(matches!(with(|node| node.uid = Uid::new("another")), Err(Unfit::Changed(_))));
        // Homeostat runs on node-0.
        let own = node_action("node-1-1", "node-0", Parameters::Cordon { until: at(3_600) });
        assert!(matches!(allowed(&cluster(20), &own), Err(Unfit::Protected(_))));
        let mut unknown = cluster(20);
        let key = homeostat_knowledge::ObjectKey::new("homeostat", "homeostat-0");
        unknown.pods.remove_mut(&key);
        assert!(matches!(allowed(&unknown, &cordon()), Err(Unfit::Changed(_))), "where do we run?");
        let mut tenant = cordon();
        tenant.tenant = TenantName::new("shop");
        assert!(matches!(allowed(&cluster(20), &tenant), Err(Unfit::Protected(_))));
    }

    #[test]
    fn at_most_a_tenth_of_the_nodes_and_never_in_two_zones() {
        assert!(allowed(&cluster(9), &cordon()).is_err(), "a tenth of nine is none");
        assert_eq!(allowed(&cluster(10), &cordon()), Ok(()));
        let held = |nodes: usize, zone: Option<&str>| {
            let mut snapshot = cluster(nodes);
            let mut other = node("node-6");
            other.cordoned = true;
            other.hold = Some(hold("node-0-1", 3_600));
            other.zone = zone.map(Into::into);
            put_node(&mut snapshot, other);
            allowed(&snapshot, &cordon())
        };
        assert!(held(19, Some("zone-a")).is_err(), "a tenth of nineteen is one");
        assert_eq!(held(20, Some("zone-a")), Ok(()));
        assert!(held(20, Some("zone-b")).is_err());
        assert!(held(20, None).is_err(), "an unknown zone is another one");
    }

    #[test]
    fn of_nodes_that_all_look_bad_a_tenth_of_one_zone_is_closed_at_most() {
        let mut snapshot = cluster(0);
        for number in 0..60 {
            let mut bad = node(&format!("node-{number}"));
            (bad.ready, bad.zone) = (false, Some(format!("zone-{}", number % 3).into()));
            put_node(&mut snapshot, bad);
        }
        let mut zones = Vec::new();
        for number in 0..60 {
            let (name, id) = (format!("node-{number}"), format!("node-{number}-1"));
            let record = node_action(&id, &name, Parameters::Cordon { until: at(3_600) });
            if allowed(&snapshot, &record).is_ok() {
                let mut closed = (**snapshot.nodes.get(name.as_str()).expect("there")).clone();
                (closed.cordoned, closed.hold) = (true, Some(hold(&id, 3_600)));
                zones.push(closed.zone.clone());
                put_node(&mut snapshot, closed);
            }
        }
        assert_eq!(zones.len(), 6, "{zones:?}");
        assert!(zones.iter().all(|zone| *zone == zones[0]), "{zones:?}");
        let none = node_action("node-1-1", "node-5", Parameters::Cordon { until: at(3_600) });
        assert!(allowed(&cluster(0), &none).is_err(), "without nodes there is none to close");
    }

    #[test]
    fn a_lower_ceiling_leaves_fewer_nodes_and_zero_none() {
        for (percent, nodes, expected) in
            [(10, 10, true), (5, 19, false), (5, 20, true), (1, 99, false), (1, 100, true), (0, 1_000, false)]
        {
            let mut snapshot = cluster(nodes);
            let control = ControlPolicy { cordoned_percent: percent, ..ControlPolicy::default() };
            snapshot.control = std::sync::Arc::new(control);
            let found = allowed(&snapshot, &cordon());
            assert_eq!(found.is_ok(), expected, "{percent} % of {nodes}: {found:?}");
        }
    }

    #[test]
    fn it_ends_by_itself_within_a_day() {
        for (until, expected) in [(1, true), (86_400, true), (86_401, false), (0, false)] {
            let record = node_action("node-1-1", "node-5", Parameters::Cordon { until: at(until) });
            assert_eq!(allowed(&cluster(20), &record).is_ok(), expected, "until {until}");
        }
    }

    #[test]
    fn our_mark_tells_whether_it_was_done_by_us() {
        let record = cordon();
        let mut fresh = fresh_node(node("node-5"));
        assert_eq!(Cordon.check_fresh(&record, None, &fresh), Ok(()));
        fresh.node.as_mut().expect("a node").cordoned = true;
        assert!(matches!(Cordon.check_fresh(&record, None, &fresh), Err(Unfit::Done(_))));
        assert!(matches!(Cordon.landed(&record, Some(&fresh)), Landed::Unclear(_)), "somebody else's");
        fresh.node.as_mut().expect("a node").hold = Some(hold("node-1-1", 3_600));
        assert!(matches!(Cordon.landed(&record, Some(&fresh)), Landed::Yes(_)));
        assert!(matches!(Cordon.landed(&record, None), Landed::Unclear(_)));
    }

    #[test]
    fn a_node_that_got_well_unseen_is_left_open() {
        let record = cordon();
        let mut fresh = fresh_node(node("node-5"));
        let judge = |fresh: &FreshTarget, kind| Cordon.check_fresh(&record, Some(kind), fresh);
        assert!(matches!(judge(&fresh, FindingKind::NodePressure), Err(Unfit::Changed(_))));
        assert!(matches!(judge(&fresh, FindingKind::NodeNotReady), Err(Unfit::Changed(_))));
        let sick = fresh.node.as_mut().expect("a node");
        sick.pressures = vec!["MemoryPressure".into()];
        sick.ready = false;
        assert_eq!(judge(&fresh, FindingKind::NodePressure), Ok(()));
        assert_eq!(judge(&fresh, FindingKind::NodeNotReady), Ok(()));
    }

    #[test]
    fn it_is_verified_by_the_node_itself() {
        let mut record = cordon();
        record.instants.sent = Some(at(0));
        let mut snapshot = cluster(20);
        assert!(matches!(Cordon.verify(&record, &snapshot, at(1)), Verdict::Wait(_)));
        assert!(matches!(Cordon.verify(&record, &snapshot, at(30)), Verdict::NotHelped(_)));
        let mut closed = node("node-5");
        closed.cordoned = true;
        closed.hold = Some(hold("node-1-1", 3_600));
        put_node(&mut snapshot, closed);
        assert!(matches!(Cordon.verify(&record, &snapshot, at(1)), Verdict::Helped(_)));
    }
}
