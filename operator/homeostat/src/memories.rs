//! When memory reaches its limit: a forecast once a minute for each workload with a signal that measures it, and a limit.
//!
//! The memory is that of the pod that uses most; the limit is the threshold of the signal, else that of the only container.
//! Beside the loop like the loads, and shown only: what is done about a leak follows from findings. Nothing of it survives a
//! restart.

use crate::loads;
use crate::paced;
use homeostat_cluster::forecasts::Forecasts;
use homeostat_knowledge::forecast::MEMORY;
use homeostat_knowledge::policy::{Measures, ScalingMode, SignalPolicy};
use homeostat_knowledge::{
    Clock, ForecastRecord, Name, SizeAdvice, SizeEffect, Snapshot, SnapshotSource, Timestamp, WorkloadKey,
    WorkloadPolicy,
};
use homeostat_scale::outlook::{Forecasting, LoadModel, OutlookConfig, OutlookConfigError, STEP_SECONDS};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Workloads whose memory is forecast.
const MOST: usize = 2_000;
/// Minutes that are kept of each: two days, as a leak is seen in hours and a restart begins anew.
const KEPT: usize = 2 * 1_440;
/// Comparisons of models in a minute; the rest has its turn in the next.
const COMPARED: usize = 200;
/// Less than this share of what was used before is a new process: what was before says nothing of it.
const RESTARTED: f64 = 0.5;

/// Keeps the memory of each workload over time.
pub struct Memories {
    forecasting: Forecasting,
    watched: BTreeMap<WorkloadKey, LoadModel>,
}

impl Memories {
    /// Nothing was seen yet.
    pub fn new() -> Result<Self, OutlookConfigError> {
        let config = OutlookConfig { keep: KEPT, ..OutlookConfig::default() };
        Ok(Self { forecasting: Forecasting::new(config)?, watched: BTreeMap::new() })
    }

    /// Reads one snapshot, about once a minute, and gives all forecasts.
    pub fn step(&mut self, snapshot: &Snapshot, now: Timestamp) -> Vec<ForecastRecord> {
        let of = |policy: &WorkloadPolicy| {
            let signal = signal(policy)?;
            let limit = signal.threshold.or_else(|| limit(snapshot, &policy.key))?;
            (limit.is_finite() && limit > 0.0).then(|| (signal.name.clone(), limit))
        };
        self.watched.retain(|key, _| snapshot.workloads.get(key).is_some_and(|policy| of(policy).is_some()));
        let minute = now.as_second().div_euclid(i64::from(STEP_SECONDS)) - 1;
        let (mut all, mut compared) = (Vec::new(), 0);
        for (key, policy) in &snapshot.workloads {
            let Some((signal, limit)) = of(policy) else { continue };
            if !self.watched.contains_key(key) && self.watched.len() >= MOST {
                continue;
            }
            let fresh = || LoadModel::new(self.forecasting.config());
            let model = self.watched.entry(key.clone()).or_insert_with(fresh);
            let used = used(snapshot, key, &signal, now);
            let newest = model.steps().values().into_iter().rev().find(|value| value.is_finite());
            if used.zip(newest).is_some_and(|(used, before)| used < RESTARTED * before) {
                *model = fresh();
            }
            model.observe(minute, used);
            let before = model.compared();
            let mut outlook = self.forecasting.look(model, Some(limit), compared < COMPARED, now);
            compared += usize::from(model.compared() != before);
            if outlook.points.is_empty() {
                outlook.reason = format!(
                    "{} minutes of memory were seen by signal {signal}; check its promql or metric where that does not grow",
                    model.steps().usable()
                );
            }
            all.push(ForecastRecord {
                workload: key.clone(),
                workload_uid: policy.uid.clone(),
                tenant: snapshot.tenant_of_namespace(&key.namespace).map(|tenant| tenant.name.clone()),
                signal: Name::from(MEMORY),
                mode: ScalingMode::Observe,
                replicas: 0,
                outlook,
                size: SizeAdvice {
                    decided: now,
                    per_replica: None,
                    wanted: None,
                    effect: SizeEffect::Keep,
                    why: String::new(),
                    troubles: Vec::new(),
                    done: None,
                    pod: None,
                },
                memory: None,
            });
        }
        all
    }
}

/// The signal of a workload that measures memory.
pub fn signal(policy: &WorkloadPolicy) -> Option<&SignalPolicy> {
    measuring(policy, Measures::MemoryBytes)
}

/// The first signal of a workload that measures this.
pub fn measuring(policy: &WorkloadPolicy, measures: Measures) -> Option<&SignalPolicy> {
    policy.signals.iter().find(|signal| signal.measures == measures)
}

/// Memory limit of the pods' only container.
fn limit(snapshot: &Snapshot, key: &WorkloadKey) -> Option<f64> {
    snapshot.pods_of(key).find_map(|pod| match pod.containers.as_slice() {
        [only] => only.memory.limit.map(|bytes| bytes as f64),
        _ => None,
    })
}

/// What the pod that uses most uses now; `None` when nothing was seen lately.
pub fn used(snapshot: &Snapshot, key: &WorkloadKey, signal: &Name, now: Timestamp) -> Option<f64> {
    let age = loads::age(snapshot);
    let from = (key.clone(), signal.clone(), Name::from(""));
    let seen = snapshot.loads.range(from..).take_while(|((of, name, _), _)| of == key && name == signal);
    let fresh = seen.filter(|(_, (_, at))| now.duration_since(*at) <= age).map(|(_, (value, _))| *value);
    fresh.filter(|value| value.is_finite() && *value >= 0.0).max_by(f64::total_cmp)
}

/// Forecasts until `stop`: just after each full minute, newest result only.
pub async fn run(
    mut memories: Memories,
    snapshots: Arc<dyn SnapshotSource>,
    clock: Arc<dyn Clock>,
    out: watch::Sender<Forecasts>,
    stop: CancellationToken,
) {
    let work = move |snapshot: &Snapshot, now| memories.step(snapshot, now);
    paced::each(STEP_SECONDS, "forecasts of memory", (snapshots, clock, stop), work, |all| {
        out.send_replace(Some(Arc::new(all)));
    })
    .await;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use homeostat_knowledge::observation::{Change, ObjectChange};
    use homeostat_knowledge::policy::Permits;
    use homeostat_situations::{Given, GivenPod};

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + 60 * minute).unwrap()
    }

    /// A world in which `order` has a signal that measures its memory, with this threshold.
    fn world(threshold: Option<f64>) -> Snapshot {
        let pod = GivenPod { name: "order-1".into(), of: "order".into(), ..GivenPod::default() };
        let (mut world, _) = Given { pods: vec![pod], ..Given::default() }.build();
        let mut order = (**world.workloads.get(&homeostat_situations::order()).unwrap()).clone();
        order.permits = Permits { scaling: None, ..order.permits };
        order.signals = vec![SignalPolicy {
            name: Name::from("heap"),
            promql: Name::from("max by (pod) (container_memory_working_set_bytes)"),
            metric: None,
            unit: Name::from("bytes"),
            bad_above: true,
            threshold,
            minimum_effect: None,
            measures: Measures::MemoryBytes,
        }];
        world.commit(&ObjectChange::Workload(Change::Applied(Arc::new(order))), at(0));
        world
    }

    /// Minutes in which two pods used so much, the first one more; what is forecast after the last.
    fn run(
        world: &mut Snapshot,
        memories: &mut Memories,
        used: impl Iterator<Item = (i64, f64)>,
    ) -> Vec<ForecastRecord> {
        let mut all = Vec::new();
        for (minute, value) in used {
            for (series, share) in [("pod=a", 1.0), ("pod=b", 0.4)] {
                let place = (homeostat_situations::order(), Name::from("heap"), Name::from(series));
                world.loads.insert_mut(place, (share * value, at(minute)));
            }
            all = memories.step(world, at(minute));
        }
        all
    }

    /// Five a minute from 300 on.
    fn leak(minutes: std::ops::Range<i64>) -> impl Iterator<Item = (i64, f64)> {
        minutes.map(|minute| (minute, 300.0 + 5.0 * minute as f64))
    }

    #[test]
    fn a_leak_has_its_time_to_the_limit_and_a_band_and_a_restart_begins_anew() {
        let (mut world, mut memories) = (world(Some(1_500.0)), Memories::new().unwrap());
        let said = run(&mut world, &mut memories, leak(0..120)).pop().unwrap();
        assert_eq!((&*said.signal, said.outlook.now), (MEMORY, Some(895.0)), "the most of one pod");
        let limit = said.outlook.limit.unwrap();
        // 605 are left at 5 a minute.
        assert!((6_000.0..8_500.0).contains(&limit.p50_seconds), "{limit:?}");
        assert!(limit.p10_seconds.is_some_and(|early| early <= limit.p50_seconds), "{limit:?}");
        assert!(said.outlook.points.iter().all(|point| point.p10 <= point.p50 && point.p50 <= point.p90));
        let again = run(&mut world, &mut memories, (120..125).map(|minute| (minute, 300.0))).pop().unwrap();
        assert!(again.outlook.limit.is_none() && again.outlook.points.is_empty());
        assert!(
            again.outlook.reason.contains("5 minutes of memory") && again.outlook.reason.contains("heap")
        );
    }

    #[test]
    fn memory_that_only_goes_up_and_down_reaches_no_limit() {
        let (mut world, mut memories) = (world(Some(1_500.0)), Memories::new().unwrap());
        let saw = (0..120).map(|minute| (minute, 700.0 + 20.0 * (minute % 10) as f64));
        let said = run(&mut world, &mut memories, saw).pop().unwrap();
        assert!(said.outlook.limit.is_none() && !said.outlook.points.is_empty());
    }

    #[test]
    fn the_limit_of_the_only_container_counts_and_without_any_there_is_no_forecast() {
        let (mut limited, mut memories) = (world(None), Memories::new().unwrap());
        let order = homeostat_situations::order();
        let set = |world: &mut Snapshot, limit: Option<u64>| {
            let pods: Vec<_> = world.pods_of(&order).cloned().collect();
            assert!(!pods.is_empty());
            for pod in pods {
                let mut pod = (*pod).clone();
                pod.containers.truncate(1);
                pod.containers.iter_mut().for_each(|one| one.memory.limit = limit);
                world.commit(&ObjectChange::Pod(Change::Applied(Arc::new(pod))), at(0));
            }
        };
        set(&mut limited, None);
        assert_eq!(run(&mut limited, &mut memories, leak(0..1)), []);
        set(&mut limited, Some(1_500));
        let said = run(&mut limited, &mut memories, leak(1..121)).pop().unwrap();
        assert_eq!(said.outlook.limit.map(|limit| limit.load), Some(1_500.0));
        let (mut plain, _) = Given::default().build();
        assert_eq!(run(&mut plain, &mut memories, leak(121..122)), [], "no signal measures memory");
    }
}
