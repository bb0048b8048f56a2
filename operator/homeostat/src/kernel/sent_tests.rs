#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use homeostat_knowledge::observation::{Change, ObjectChange};
use homeostat_knowledge::policy::{Measures, SignalPolicy};
use homeostat_situations::{Given, GivenPod, order};
use std::sync::Arc;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// Two pods of `order`, which has the signal `busy`, sent as `active`.
struct World {
    snapshot: Snapshot,
    sent: Sent,
}

impl World {
    fn new(across: Across) -> Self {
        let pod = |name: &str| GivenPod { name: name.into(), of: "order".into(), ..GivenPod::default() };
        let (mut snapshot, _) =
            Given { pods: vec![pod("order-1"), pod("order-2")], ..Given::default() }.build();
        let mut workload = (**snapshot.workloads.get(&order()).unwrap()).clone();
        workload.signals = vec![SignalPolicy {
            name: Name::from("busy"),
            promql: Name::from(""),
            metric: Some(MetricPolicy { name: Name::from("active"), across, from: None }),
            external: None,
            unit: Name::from(""),
            bad_above: true,
            threshold: None,
            minimum_effect: None,
            measures: Measures::Other,
        }];
        snapshot.commit(&ObjectChange::Workload(Change::Applied(Arc::new(workload))), at(0));
        Self { snapshot, sent: Sent::default() }
    }

    /// Workload `workers` without a pod has the signal too, sent by the pods of this one.
    fn workers_hear(&mut self, from: &str) {
        let mut workers = (**self.snapshot.workloads.get(&order()).unwrap()).clone();
        (workers.key.name, workers.target.object.name) = (Name::from("workers"), Name::from("workers"));
        workers.signals[0].metric.as_mut().unwrap().from = Some(Name::from(from));
        self.snapshot.commit(&ObjectChange::Workload(Change::Applied(Arc::new(workers))), at(0));
    }

    /// What each workload is told, by name.
    fn values(&mut self, second: i64) -> Vec<(String, f64)> {
        let told = self.sent.told(&self.snapshot, at(second)).values.into_iter();
        told.map(|one| (one.sample.asked_by.unwrap().name.to_string(), one.sample.value)).collect()
    }

    fn send(&mut self, pod: &str, what: (&str, &str), value: f64, counter: bool, second: i64) {
        self.arrives(pod, what, value, counter, (second, second));
    }

    fn arrives(
        &mut self,
        pod: &str,
        (metric, series): (&str, &str),
        value: f64,
        counter: bool,
        (told, second): (i64, i64),
    ) {
        let of = order();
        let of = self.snapshot.pods_of(&of).find(|one| one.key.name.ends_with(pod)).unwrap();
        let entity = self.snapshot.entity_of(of);
        let sample =
            Sample { metric: Name::from(metric), series: Name::from(series), value, counter, asked_by: None };
        let observation = Observation {
            tenant: None,
            entity,
            event_time: at(told),
            arrival_time: at(second),
            signal: Signal::Sample(sample.clone()),
        };
        self.sent.note(&self.snapshot, &observation, &sample);
    }

    /// Series that are kept, of all tenants.
    fn series(&self) -> usize {
        MOST - self.sent.shares.free()
    }

    fn value(&mut self, second: i64) -> Option<f64> {
        let told = self.sent.told(&self.snapshot, at(second));
        told.values.first().map(|value| value.sample.value)
    }
}

const ACTIVE: (&str, &str) = ("active", "");

#[test]
fn what_comes_late_does_not_replace_what_is_newer() {
    let mut world = World::new(Across::Sum);
    world.arrives("1", ACTIVE, 3.0, false, (60, 61));
    world.arrives("1", ACTIVE, 500.0, false, (0, 62));
    world.send("2", ACTIVE, 1.0, false, 62);
    assert_eq!(world.value(65), Some(4.0));
    world.arrives("1", ACTIVE, 7.0, false, (30, 200));
    world.send("2", ACTIVE, 1.0, false, 200);
    assert_eq!(world.value(201), Some(8.0), "a clock that was set back is believed after a while");
}

#[test]
fn values_of_all_pods_and_their_series_are_one_number() {
    for (across, number) in [(Across::Sum, 12.0), (Across::Max, 9.0)] {
        let mut world = World::new(across);
        assert_eq!(world.value(0), None, "nothing was sent");
        world.send("1", ("active", "route=a"), 4.0, false, 1);
        world.send("1", ("active", "route=b"), 5.0, false, 1);
        world.send("2", ACTIVE, 3.0, false, 1);
        world.send("2", ("other", ""), 100.0, false, 1);
        assert_eq!(world.value(15), Some(number));
        assert_eq!(world.value(20), None, "every 15 s");
        let told = world.sent.told(&world.snapshot, at(75));
        assert_eq!((told.values.len(), told.judged.len()), (1, 1), "judged once a minute");
    }
}

#[test]
fn what_is_no_number_or_negative_is_the_value_of_the_load_and_is_not_judged() {
    for (across, both, rest) in [(Across::Sum, 5.0, None), (Across::Max, 4.0, Some(4.0))] {
        let mut world = World::new(across);
        world.send("1", ACTIVE, 4.0, false, 0);
        world.send("2", ACTIVE, f64::NAN, false, 0);
        let told = world.sent.told(&world.snapshot, at(15));
        assert!(told.values[0].sample.value.is_nan());
        let number = |one: &Signal| matches!(one, Signal::Sample(sample) if sample.value.is_finite());
        assert!(number(&told.judged[0].signal), "detectors go by the numbers that there are");
        world.send("2", ACTIVE, -3.0, false, 30);
        assert_eq!(world.value(30), Some(-3.0), "the other pod does not hide it");
        world.send("2", ACTIVE, f64::INFINITY, false, 45);
        assert_eq!(world.value(45), Some(f64::INFINITY));
        world.send("2", ACTIVE, 1.0, false, 60);
        assert_eq!(world.value(60), Some(both), "it is over with the next number");
        world.send("2", ACTIVE, f64::NAN, false, 75);
        for second in [90, 180] {
            world.send("1", ACTIVE, 4.0, false, second);
        }
        assert_eq!(world.value(180), rest, "silent since, and what was wrong is old");
    }
}

#[test]
fn a_counter_is_a_rate_also_over_a_restart_of_its_process() {
    let mut world = World::new(Across::Sum);
    world.send("1", ACTIVE, 1_000.0, true, 0);
    assert_eq!(world.value(15), None, "one value is no rate");
    world.send("1", ACTIVE, 1_600.0, true, 60);
    assert_eq!(world.value(60), Some(10.0));
    world.send("1", ACTIVE, 120.0, true, 120);
    assert_eq!(world.value(120), Some(2.0));
    world.send("2", ACTIVE, 5.0, true, 121);
    assert_eq!(world.value(150), Some(2.0), "a new pod makes nothing unknown");
}

#[test]
fn a_living_pod_that_is_silent_makes_the_sum_unknown_and_one_that_is_gone_does_not() {
    for (across, rest) in [(Across::Sum, None), (Across::Max, Some(3.0))] {
        let mut world = World::new(across);
        world.send("1", ACTIVE, 4.0, false, 0);
        world.send("2", ACTIVE, 3.0, false, 0);
        world.send("2", ACTIVE, 3.0, false, 60);
        assert!(world.value(75).is_some());
        world.send("2", ACTIVE, 3.0, false, 120);
        assert_eq!(world.value(120), rest);
        let gone =
            world.snapshot.pods_of(&order()).find(|pod| pod.key.name.ends_with('1')).unwrap().key.clone();
        world.snapshot.commit(&ObjectChange::Pod(Change::Deleted(gone)), at(130));
        assert_eq!(world.value(135), Some(3.0));
        assert_eq!(world.value(300), None, "nobody sends it any more");
        assert_eq!(world.value(900), None);
        assert_eq!((world.sent.signals.len(), world.series()), (0, 0));
    }
}

#[test]
fn what_is_kept_is_bounded_and_goes_with_its_signal() {
    let mut world = World::new(Across::Sum);
    // Another tenant has all that it gets.
    let loud = Some(TenantName::new("loud"));
    while world.sent.shares.take(&loud, 1).is_ok() {}
    let of_loud = world.series();
    assert_eq!(of_loud, MOST / 2);
    for number in 0..MOST_EACH + 5 {
        world.send("1", ("active", &format!("route={number}")), 1.0, false, 0);
    }
    assert_eq!((world.series() - of_loud, world.sent.dropped), (MOST_EACH, 5));
    let mut workload = (**world.snapshot.workloads.get(&order()).unwrap()).clone();
    workload.signals.clear();
    world.snapshot.commit(&ObjectChange::Workload(Change::Applied(Arc::new(workload))), at(0));
    assert_eq!(world.value(15), None);
    assert_eq!(world.series(), of_loud);
}

#[test]
fn what_another_workload_sends_is_heard_by_one_that_has_no_pod() {
    let mut world = World::new(Across::Sum);
    world.workers_hear("order");
    world.send("1", ACTIVE, 4.0, false, 1);
    world.send("2", ACTIVE, 3.0, false, 1);
    let both = |value: f64| vec![("order".to_owned(), value), ("workers".to_owned(), value)];
    assert_eq!(world.values(15), both(7.0));
    assert_eq!(world.series(), 4, "each has its own");
    // Another sender from now on: what this one sent before counts no more.
    world.workers_hear("stock");
    world.send("1", ACTIVE, 5.0, false, 31);
    world.send("2", ACTIVE, 3.0, false, 31);
    assert_eq!(world.values(31), both(8.0)[..1]);
    assert_eq!(world.series(), 2);
}
