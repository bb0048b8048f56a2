//! The loads that a Workload names, as they were seen last, and which of their series are missing.
//!
//! A signal of several series counts as their sum, so one that is missing must not look like less work; nor must one that is
//! negative or no number, which is then the value of the whole, and not usable. A series is waited
//! for as long as it was there before, from an hour to a day. It is not missing when it went with a pod of the workload
//! itself, or when a new one came in its place, as after a restart of its exporter.

use homeostat_knowledge::policy::{Across, ExternalPolicy, LoadPolicy, ScalingPolicy};
use homeostat_knowledge::{
    Name, ObjectKey, SignedDuration, Snapshot, Timestamp, WorkloadKey, WorkloadPolicy,
};
use homeostat_scale::sizer::{Load, unusable};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// A load that was not renewed for so long, or for two rounds of questions where that is longer, was not seen.
const AGE: SignedDuration = SignedDuration::from_secs(60);
/// A missing series is waited for at least and at most so long.
const LEAST: SignedDuration = SignedDuration::from_hours(1);
const MOST: SignedDuration = SignedDuration::from_hours(24);
/// Series of one workload that are remembered; more are counted in the sum, but not waited for.
const MOST_SERIES: usize = 64;

/// What is known of the series of one workload's loads, by signal and series.
#[derive(Clone, Debug, Default)]
pub struct Series {
    known: BTreeMap<(Name, Name), Known>,
}

#[derive(Clone, Debug)]
struct Known {
    first: Timestamp,
    last: Timestamp,
    /// The workload's pod that it tells of.
    pod: Option<ObjectKey>,
    /// It came in the place of one that went.
    replaces: bool,
}

/// What was not renewed for so long was not seen.
pub fn age(snapshot: &Snapshot) -> SignedDuration {
    let asked = snapshot.control.prometheus.as_ref().map_or(SignedDuration::ZERO, |policy| policy.interval);
    AGE.max(asked.checked_mul(2).unwrap_or(AGE))
}

/// The series of one signal that were seen lately: value, and when.
fn fresh<'a>(
    snapshot: &'a Snapshot,
    workload: &'a WorkloadKey,
    signal: &'a Name,
    now: Timestamp,
) -> impl Iterator<Item = (&'a Name, f64, Timestamp)> {
    let age = age(snapshot);
    let from = (workload.clone(), signal.clone(), Name::from(""));
    let seen =
        snapshot.loads.range(from..).take_while(move |((of, name, _), _)| of == workload && name == signal);
    seen.filter(move |(_, (_, at))| now.duration_since(*at) <= age)
        .map(|((_, _, series), (value, at))| (series, *value, *at))
}

/// When the newest of the values was seen that are a signal's now.
pub fn newest(
    snapshot: &Snapshot,
    workload: &WorkloadKey,
    signal: &Name,
    now: Timestamp,
) -> Option<Timestamp> {
    fresh(snapshot, workload, signal, now).map(|(.., at)| at).max()
}

/// What the series that has most has now; `None` when none was seen lately.
pub fn highest(snapshot: &Snapshot, workload: &WorkloadKey, signal: &Name, now: Timestamp) -> Option<f64> {
    let values = fresh(snapshot, workload, signal, now).map(|(_, value, _)| value);
    values.filter(|value| counts(*value)).max_by(f64::total_cmp)
}

/// What is said of a signal of which a series has no number now, or a negative one: what it is, and what to change.
pub fn wrong(snapshot: &Snapshot, policy: &WorkloadPolicy, signal: &Name, now: Timestamp) -> Option<String> {
    let value =
        fresh(snapshot, &policy.key, signal, now).map(|(_, value, _)| value).find(|one| !counts(*one))?;
    Some(unusable(signal, value, nobody(policy, signal).is_none()))
}

/// A value that may be a part of a load.
fn counts(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

impl Series {
    /// The loads of a workload now.
    pub fn read(
        &mut self,
        snapshot: &Snapshot,
        workload: &WorkloadPolicy,
        scaling: &ScalingPolicy,
        now: Timestamp,
    ) -> Vec<Load> {
        self.known.retain(|(signal, _), _| scaling.loads.iter().any(|load| load.signal == *signal));
        scaling.loads.iter().map(|load| self.load(snapshot, workload, load, now)).collect()
    }

    /// One of the loads of a workload now.
    pub fn load(
        &mut self,
        snapshot: &Snapshot,
        policy: &WorkloadPolicy,
        load: &LoadPolicy,
        now: Timestamp,
    ) -> Load {
        let (workload, signal) = (&policy.key, &load.signal);
        let age = age(snapshot);
        let (mut value, mut wrong): (Option<f64>, Option<f64>) = (None, None);
        for (series, more, at) in fresh(snapshot, workload, signal, now) {
            value = Some(value.unwrap_or_default() + more);
            wrong = wrong.or_else(|| (!counts(more)).then_some(more));
            // One that never was usable goes with what people change, and is not missed then.
            if counts(more) || self.known.contains_key(&(signal.clone(), series.clone())) {
                self.note(snapshot, workload, signal, series, at);
            }
        }
        let mut silent = Vec::new();
        let mut missing: Vec<(Name, Known)> = self
            .of(signal)
            .filter(|(_, known)| now.duration_since(known.last) > age)
            .map(|(name, known)| (name.clone(), known.clone()))
            .collect();
        missing.sort_by_key(|(_, known)| known.last);
        for (series, known) in missing {
            let there = known.last.duration_since(known.first).clamp(LEAST, MOST);
            let with_its_pod =
                known.pod.as_ref().is_some_and(|pod| snapshot.pods.get(pod).is_none_or(|pod| pod.deleting));
            if with_its_pod || now.duration_since(known.last) > there || self.replaced(signal, known.last) {
                self.known.remove(&(signal.clone(), series));
            } else {
                silent.push(series);
            }
        }
        Load {
            name: signal.clone(),
            value: wrong.or(value),
            per_replica: load.per_replica,
            silent,
            due: load.due,
            unsent: nobody(policy, signal),
            expected: None,
            soon: Vec::new(),
        }
    }

    fn of<'a>(&'a self, signal: &'a Name) -> impl Iterator<Item = (&'a Name, &'a Known)> {
        self.known
            .iter()
            .filter(move |((name, _), _)| name == signal)
            .map(|((_, series), known)| (series, known))
    }

    fn note(
        &mut self,
        snapshot: &Snapshot,
        workload: &WorkloadKey,
        signal: &Name,
        series: &Name,
        at: Timestamp,
    ) {
        let place = (signal.clone(), series.clone());
        if !self.known.contains_key(&place) && self.known.len() >= MOST_SERIES {
            return;
        }
        let known =
            self.known.entry(place).or_insert(Known { first: at, last: at, pod: None, replaces: false });
        known.last = known.last.max(at);
        if known.pod.is_none() {
            known.pod = pod(snapshot, workload, series);
        }
    }

    /// Whether a series began after that instant in the place of none yet; it then stands in the place of this one.
    fn replaced(&mut self, signal: &Name, gone: Timestamp) -> bool {
        let mut of = self.known.iter_mut().filter(|((name, _), _)| name == signal);
        let next = of.find(|(_, known)| known.first > gone && !known.replaces);
        next.map(|(_, known)| known.replaces = true).is_some()
    }
}

/// What is said of a signal that pods should send, or an adapter serve, when none does; `None` for the answer to a
/// query.
pub fn nobody(policy: &WorkloadPolicy, signal: &str) -> Option<Name> {
    let named = policy.signals.iter().find(|one| *one.name == *signal)?;
    if let Some(ExternalPolicy { name, .. }) = &named.external {
        return Some(Name::from(format!(
            "the external metrics API serves no {name} in {0}, or the chart value externalMetrics does not list it; try \
             kubectl get --raw /apis/external.metrics.k8s.io/v1beta1/namespaces/{0}/{name}",
            policy.key.namespace,
        )));
    }
    let metric = named.metric.as_ref()?;
    let or = match metric.across {
        Across::Sum => ", or one that did is silent",
        Across::Max => "",
    };
    let (sender, name) = (metric.sender(&policy.key), &metric.name);
    Some(Name::from(format!("no pod of {sender} sends the metric {name} over OTLP{or}")))
}

/// The workload's own pod that a label of a series names, by name or by address.
fn pod(snapshot: &Snapshot, workload: &WorkloadKey, series: &str) -> Option<ObjectKey> {
    series.split(',').filter_map(|label| label.split_once('=')).find_map(|(_, value)| {
        let address =
            value.parse::<SocketAddr>().map(|address| address.ip()).or_else(|_| value.parse::<IpAddr>());
        let named = || {
            snapshot.pods.get(&ObjectKey { namespace: workload.namespace.clone(), name: Name::from(value) })
        };
        let found = address.ok().map_or_else(named, |address| snapshot.pod_by_ip(address))?;
        (snapshot.workload_of(found) == Some(workload)).then(|| found.key.clone())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use homeostat_knowledge::observation::{Change, ObjectChange};
    use homeostat_situations::{Given, GivenPod};
    use std::sync::Arc;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// A workload that is sized by signal `waiting`, and what is known of its series.
    struct World {
        snapshot: Snapshot,
        workload: WorkloadPolicy,
        scaling: ScalingPolicy,
        series: Series,
    }

    impl World {
        fn new() -> Self {
            let pod = GivenPod { name: "order-1".into(), of: "order".into(), ..GivenPod::default() };
            let (snapshot, _) = Given { pods: vec![pod], ..Given::default() }.build();
            let workload = (**snapshot.workloads.get(&homeostat_situations::order()).unwrap()).clone();
            let scaling = ScalingPolicy {
                loads: vec![LoadPolicy { signal: "waiting".into(), per_replica: 10.0, due: None }],
                ..ScalingPolicy::default()
            };
            Self { snapshot, workload, scaling, series: Series::default() }
        }

        /// What is read at this second, when these series have these values then.
        fn read(&mut self, second: i64, values: &[(&str, f64)]) -> (Option<f64>, Vec<String>) {
            for (series, value) in values {
                let place = (self.workload.key.clone(), Name::from("waiting"), Name::from(*series));
                self.snapshot.loads.insert_mut(place, (*value, at(second)));
            }
            let load = self.series.read(&self.snapshot, &self.workload, &self.scaling, at(second)).remove(0);
            (load.value, load.silent.iter().map(ToString::to_string).collect())
        }

        fn own_pod(&self) -> Arc<homeostat_knowledge::PodRecord> {
            Arc::clone(self.snapshot.pods_of(&self.workload.key).next().unwrap())
        }
    }

    const BOTH: [(&str, f64); 2] = [("queue=a", 0.0), ("queue=b", 30.0)];
    const ONE: [(&str, f64); 1] = [("queue=a", 0.0)];

    #[test]
    fn a_series_that_stops_is_missing_for_as_long_as_it_was_there() {
        let mut world = World::new();
        for second in (0..=7_200).step_by(15) {
            assert_eq!(world.read(second, &BOTH), (Some(30.0), Vec::new()));
        }
        for second in (7_275..=14_400).step_by(15) {
            assert_eq!(world.read(second, &ONE), (Some(0.0), vec!["queue=b".to_owned()]), "{second}");
        }
        assert_eq!(world.read(14_415, &ONE), (Some(0.0), Vec::new()), "it is gone for good");
        world.read(14_430, &BOTH);
        assert_eq!(world.read(18_030, &ONE).1, ["queue=b"], "an hour at least");
        assert_eq!(world.read(18_045, &ONE).1, [""; 0]);
    }

    #[test]
    fn a_series_in_the_place_of_another_leaves_nothing_missing() {
        let mut world = World::new();
        for second in (0..=1_800).step_by(15) {
            world.read(second, &[("pod=exporter-1,queue=a", 5.0), ("queue=b", 1.0)]);
        }
        let after = [("pod=exporter-2,queue=a", 5.0), ("queue=b", 1.0)];
        for second in (1_815..=1_900).step_by(15) {
            assert_eq!(world.read(second, &after).1, [""; 0]);
        }
        // It stands for one only.
        for second in (1_905..=2_100).step_by(15) {
            world.read(second, &after[..1]);
        }
        assert_eq!(world.read(2_115, &after[..1]), (Some(5.0), vec!["queue=b".to_owned()]));
    }

    #[test]
    fn a_series_that_is_negative_or_no_number_is_not_hidden_in_the_sum() {
        let mut world = World::new();
        for wrong in [-3.0, f64::NAN, f64::INFINITY] {
            assert_eq!(world.read(0, &BOTH).0, Some(30.0));
            let (value, silent) =
                world.read(15, &[("queue=a", wrong), ("queue=b", 30.0), ("queue=c", wrong)]);
            assert_eq!(value.map(f64::to_bits), Some(wrong.to_bits()));
            assert_eq!(silent, [""; 0]);
            let signal = Name::from("waiting");
            let said = super::wrong(&world.snapshot, &world.workload, &signal, at(15)).unwrap();
            assert!(said.contains(&format!("signal waiting gave {wrong}")), "{said}");
            assert_eq!(highest(&world.snapshot, &world.workload.key, &signal, at(15)), Some(30.0));
            // The query leaves it out from now on.
            let (value, silent) = world.read(90, &BOTH);
            assert_eq!((value, silent), (Some(30.0), Vec::new()));
            world.snapshot.loads = Snapshot::default().loads;
        }
    }

    #[test]
    fn a_series_of_an_own_pod_goes_with_it() {
        let mut world = World::new();
        let pod = world.own_pod();
        let name = format!("container=main,pod={}", pod.key.name);
        for second in (0..=1_800).step_by(15) {
            world.read(second, &[("pod=other", 1.0), (&name, 1.0)]);
        }
        let rest = [("pod=other", 1.0)];
        for second in (1_815..=1_875).step_by(15) {
            world.read(second, &rest);
        }
        assert_eq!(world.read(1_890, &rest).1, [name.as_str()], "the pod is there, and should be seen");
        world.snapshot.commit(&ObjectChange::Pod(Change::Deleted(pod.key.clone())), at(1_890));
        assert_eq!(world.read(1_905, &rest).1, [""; 0]);
    }

    #[test]
    fn a_signal_without_any_value_is_not_seen_and_memory_is_bounded() {
        let mut world = World::new();
        let names: Vec<String> = (0..MOST_SERIES + 9).map(|number| format!("queue={number}")).collect();
        let all: Vec<(&str, f64)> = names.iter().map(|name| (name.as_str(), 1.0)).collect();
        assert_eq!(world.read(0, &all).0, Some(all.len() as f64));
        assert_eq!(world.series.known.len(), MOST_SERIES);
        assert_eq!(world.read(90, &[]).0, None);
        world.scaling.loads.clear();
        assert!(world.series.read(&world.snapshot, &world.workload, &world.scaling, at(90)).is_empty());
        assert!(world.series.known.is_empty(), "the signal is not asked for any more");
    }
}
