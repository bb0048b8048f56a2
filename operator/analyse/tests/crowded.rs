//! What becomes of a metric with ever new label sets: one incident of the workload that sends it, which names it.

#![allow(clippy::unwrap_used, reason = "tests")]

use homeostat_analyse::calls::Calls;
use homeostat_analyse::{Analyser, Correlator, CorrelatorConfig};
use homeostat_knowledge::ids::SeededIds;
use homeostat_knowledge::observation::{DroppedSeries, SeriesReport};
use homeostat_knowledge::records::ControllerKey;
use homeostat_knowledge::{
    ControllerKind, FindingKind, Name, ObjectKey, Snapshot, TenantName, TenantPolicy, Timestamp, Uid,
    WorkloadPolicy,
};
use std::sync::Arc;

#[test]
fn a_flood_of_series_is_one_incident_of_who_sends_it_that_names_the_metric_and_ends_with_it() {
    let key = ObjectKey::new("shop", "order");
    let target = ControllerKey { kind: ControllerKind::Deployment, object: key.clone() };
    let tenant = TenantName::new("food");
    let mut snapshot = Snapshot::default();
    let policy = TenantPolicy::new(tenant.clone(), Uid::new("t"), [Name::from("shop")]);
    snapshot.tenants.insert_mut(tenant.clone(), Arc::new(policy));
    let workload = WorkloadPolicy::new(key.clone(), Uid::new("w"), target);
    snapshot.workloads.insert_mut(key.clone(), Arc::new(workload));
    let (mut analyser, mut ids) = (Analyser::new(), SeededIds::new(7));
    let mut correlator = Correlator::new(CorrelatorConfig::default());
    let mut findings = |snapshot: &Snapshot, correlator: &mut Correlator, second: i64| {
        let now = Timestamp::from_second(second).unwrap();
        let found = analyser.evaluate(snapshot, now).findings;
        correlator.update(&found, &Calls::default(), snapshot, now, &mut ids);
        found.iter().filter(|finding| finding.active).count()
    };
    assert_eq!(findings(&snapshot, &mut correlator, 0), 0);

    let metric = Name::from("orders_by_number");
    let dropped = DroppedSeries { metric, workload: Some(key.clone()) };
    snapshot.crowd(Some(&tenant), &SeriesReport { dropped: Some(dropped) });
    for second in 1..20 {
        assert_eq!(findings(&snapshot, &mut correlator, second), 1);
    }
    let incidents: Vec<_> = correlator.incidents().cloned().collect();
    let [incident] = incidents.as_slice() else { panic!("not one: {incidents:?}") };
    assert_eq!((&incident.workload, &incident.tenant), (&Some(key), &Some(tenant.clone())));
    let cause = incident.top_cause().unwrap();
    assert_eq!(cause.kind, FindingKind::SignalAbnormal);
    assert!(incident.summary().contains("orders_by_number"), "{}", incident.summary());

    snapshot.crowd(Some(&tenant), &SeriesReport { dropped: None });
    assert_eq!(findings(&snapshot, &mut correlator, 20), 0);
}
