//! Who calls whom, for those who judge a change by what it did to others.

use super::Analyser;
use homeostat_knowledge::WorkloadKey;
use std::collections::BTreeSet;

impl Analyser {
    /// Workloads that are called by somebody new since this was asked last, each with all of its callers. Most often none.
    pub fn new_callers(&mut self) -> Vec<(WorkloadKey, BTreeSet<WorkloadKey>)> {
        self.calls.new_callers()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeostat_knowledge::observation::{Change, ObjectChange};
    use homeostat_knowledge::records::{ControllerKey, ServiceRecord};
    use homeostat_knowledge::{
        CallOutcome, ControllerKind, ControllerRecord, Entity, Name, ObjectKey, Observation, Signal,
        Snapshot, Span, SpanKind, Timestamp, Uid, WorkloadPolicy,
    };
    use std::collections::BTreeMap;
    use std::sync::Arc;

    fn key(name: &str) -> WorkloadKey {
        ObjectKey::new("shop", name)
    }

    /// Workload `stock` behind a Service of its name.
    fn world() -> Snapshot {
        let target = ControllerKey { kind: ControllerKind::Deployment, object: key("stock") };
        let labels = BTreeMap::from([(Name::from("app"), Name::from("stock"))]);
        let deployment = ControllerRecord {
            template_labels: labels.clone(),
            ..ControllerRecord::bare(target.clone(), Uid::new("stock"))
        };
        let service = ServiceRecord { key: key("stock"), selector: labels, cluster_ip: None };
        let policy = WorkloadPolicy::new(key("stock"), Uid::new("workload"), target);
        let mut snapshot = Snapshot::default();
        for change in [
            ObjectChange::Controller(Change::Applied(Arc::new(deployment))),
            ObjectChange::Service(Change::Applied(Arc::new(service))),
            ObjectChange::Workload(Change::Applied(Arc::new(policy))),
        ] {
            snapshot.commit(&change, Timestamp::UNIX_EPOCH);
        }
        snapshot
    }

    fn call(from: &str, to: &str) -> Observation {
        Observation {
            tenant: None,
            entity: Entity::Pod {
                key: key(&format!("{from}-0")),
                uid: Uid::new(from),
                workload: Some(key(from)),
            },
            event_time: Timestamp::UNIX_EPOCH,
            arrival_time: Timestamp::UNIX_EPOCH,
            signal: Signal::Span(Span {
                trace: 1,
                id: 1,
                parent: 0,
                kind: SpanKind::Client,
                start: Timestamp::UNIX_EPOCH,
                end: Timestamp::UNIX_EPOCH,
                operation: Name::from("op"),
                outcome: CallOutcome::Ok,
                peer: Some(Name::from(to)),
            }),
        }
    }

    #[test]
    fn a_new_caller_is_told_once_with_those_before_it() {
        let (snapshot, mut analyser) = (world(), Analyser::new());
        let of = |names: &[&str]| vec![(key("stock"), names.iter().map(|name| key(name)).collect())];
        analyser.ingest(&snapshot, &[call("order", "stock"), call("order", "elsewhere.example.com")]);
        assert_eq!(analyser.new_callers(), of(&["order"]), "what is no workload is left out");
        analyser.ingest(&snapshot, &[call("order", "stock")]);
        assert_eq!(analyser.new_callers(), []);
        analyser.ingest(&snapshot, &[call("cart", "stock")]);
        assert_eq!(analyser.new_callers(), of(&["cart", "order"]));
    }
}
