//! When what fills up reaches its limit: a forecast for each workload with a signal that measures its memory, and for each
//! signal that measures a volume, a quota or ephemeral storage.
//!
//! The memory is that of the pod that uses most; its limit is the threshold of the signal, else that of the only container,
//! or of the one that `scaling.resources.container` names.
//! It is looked at each minute, an hour ahead. Of what fills a disk or a quota the series counts that uses most; its limit
//! is the threshold, for ephemeral storage else that of the only container. It is looked at each five minutes, a day ahead.
//! Beside the loop like the loads, and shown only: what is done follows from findings. Nothing of it survives a restart.

use crate::loads;
use crate::paced;
use homeostat_cluster::forecasts::Forecasts;
use homeostat_console::Metrics;
use homeostat_knowledge::forecast::{LoadLimit, MEMORY, Outlook};
use homeostat_knowledge::policy::{Measures, ScalingMode, SignalPolicy};
use homeostat_knowledge::{
    Clock, ForecastRecord, Name, SizeAdvice, Snapshot, SnapshotSource, Timestamp, WorkloadKey, WorkloadPolicy,
};
use homeostat_models::forecast::ForecastConfig;
use homeostat_scale::outlook::{Forecasting, LoadModel, OutlookConfig, OutlookConfigError, STEP_SECONDS};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Memories that are forecast; as many volumes, quotas and ephemeral storages.
const MOST: usize = 2_000;
/// Comparisons of models in a minute, of each sort; the rest has its turn in the next.
const COMPARED: usize = 200;
/// Less than this share of the memory that was used before is a new process: what was before says nothing of it.
const RESTARTED: f64 = 0.5;
/// Steps of which none may have reached the limit for the time to it to be told.
const LATELY: usize = 12;

/// Keeps over time what fills up.
pub struct Limits {
    memories: Watched,
    stored: Watched,
}

/// Signals that are looked at with one setting.
struct Watched {
    forecasting: Forecasting,
    /// Little after much is a new process, not a clean-up.
    restarts: bool,
    models: BTreeMap<(WorkloadKey, Name), Seen>,
    /// Signals that found no room at the last step.
    left_out: usize,
}

struct Seen {
    model: LoadModel,
    /// The last step that was looked at, and what is expected since.
    last: Option<(i64, Outlook)>,
}

/// One signal that fills up.
struct Filling<'a> {
    policy: &'a WorkloadPolicy,
    signal: &'a SignalPolicy,
    /// What its forecast is of.
    of: Name,
    limit: f64,
}

impl Limits {
    /// Nothing was seen yet.
    pub fn new() -> Result<Self, OutlookConfigError> {
        // Two days, as a leak is seen in hours and a restart begins anew.
        let memories = OutlookConfig { keep: 2 * 1_440, ..OutlookConfig::default() };
        // Two weeks, a day ahead, in steps of five minutes; a point is an hour.
        let day = ForecastConfig { horizon: 288, ..memories.forecast };
        let stored =
            OutlookConfig { step_seconds: 300, point_steps: 12, keep: 14 * 288, forecast: day, ..memories };
        Ok(Self { memories: Watched::new(memories, true)?, stored: Watched::new(stored, false)? })
    }

    /// Signals that fill up and found no room at the last step.
    pub fn left_out(&self) -> usize {
        self.memories.left_out + self.stored.left_out
    }

    /// Reads one snapshot, about once a minute, and gives all forecasts.
    pub fn step(&mut self, snapshot: &Snapshot, now: Timestamp) -> Vec<ForecastRecord> {
        let (stored, memories): (Vec<_>, Vec<_>) = snapshot
            .workloads
            .values()
            .flat_map(|policy| filling(snapshot, policy))
            .partition(|one| one.signal.measures.fills());
        let mut all = self.memories.step(&memories, snapshot, now);
        all.extend(self.stored.step(&stored, snapshot, now));
        all
    }
}

impl Watched {
    fn new(config: OutlookConfig, restarts: bool) -> Result<Self, OutlookConfigError> {
        let forecasting = Forecasting::new(config)?;
        Ok(Self { forecasting, restarts, models: BTreeMap::new(), left_out: 0 })
    }

    fn step(&mut self, wanted: &[Filling<'_>], snapshot: &Snapshot, now: Timestamp) -> Vec<ForecastRecord> {
        let mut kept = BTreeMap::new();
        for one in wanted {
            let place = (one.policy.key.clone(), one.of.clone());
            kept.extend(self.models.remove_entry(&place));
        }
        self.models = kept;
        let number = now.as_second().div_euclid(i64::from(self.forecasting.config().step_seconds)) - 1;
        let (mut all, mut compared) = (Vec::new(), 0);
        self.left_out = 0;
        for one in wanted {
            let place = (one.policy.key.clone(), one.of.clone());
            if !self.models.contains_key(&place) && self.models.len() >= MOST {
                self.left_out += 1;
                continue;
            }
            let fresh = || LoadModel::new(self.forecasting.config());
            let seen = self.models.entry(place).or_insert_with(|| Seen { model: fresh(), last: None });
            let model = &mut seen.model;
            // Within a step nothing is new, unless a first comparison waits for its turn.
            let turn = model.unchosen(self.forecasting.config());
            if let Some((_, outlook)) = seen.last.as_ref().filter(|(last, _)| *last == number && !turn) {
                all.push(record(one, snapshot, outlook.clone(), now));
                continue;
            }
            let used = loads::highest(snapshot, &one.policy.key, &one.signal.name, now);
            let newest = model.steps().values().into_iter().rev().find(|value| value.is_finite());
            if self.restarts && used.zip(newest).is_some_and(|(used, before)| used < RESTARTED * before) {
                *model = fresh();
            }
            model.observe(number, used);
            let before = model.compared();
            // A line towards a limit that was reached would lead away from it.
            let reached = model.steps().values().iter().rev().take(LATELY).any(|value| *value >= one.limit);
            let towards = Some(one.limit).filter(|_| !reached);
            let mut outlook = self.forecasting.look(model, towards, &[], compared < COMPARED, now);
            compared += usize::from(model.compared() != before);
            if used.is_some_and(|used| used >= one.limit) {
                let reason = "the limit is reached".to_owned();
                outlook.limit =
                    Some(LoadLimit { load: one.limit, p10_seconds: Some(0.0), p50_seconds: 0.0, reason });
            }
            if outlook.points.is_empty() {
                outlook.reason = format!(
                    "{} of the {} steps of {} min that are needed were seen by signal {}; check its promql or metric where that does \
                     not grow",
                    model.steps().usable(),
                    self.forecasting.config().first_choice,
                    self.forecasting.config().step_seconds / 60,
                    one.signal.name
                );
            }
            seen.last = Some((number, outlook.clone()));
            all.push(record(one, snapshot, outlook, now));
        }
        all
    }
}

fn record(one: &Filling<'_>, snapshot: &Snapshot, outlook: Outlook, now: Timestamp) -> ForecastRecord {
    let key = &one.policy.key;
    ForecastRecord {
        workload: key.clone(),
        workload_uid: one.policy.uid.clone(),
        tenant: snapshot.tenant_of_namespace(&key.namespace).map(|tenant| tenant.name.clone()),
        signal: one.of.clone(),
        mode: ScalingMode::Observe,
        replicas: 0,
        outlook,
        size: SizeAdvice::keep(now),
        memory: None,
    }
}

/// Whether a signal is forecast for its limit: the first one that measures memory, and all that measure what fills over hours.
pub fn forecast(policy: &WorkloadPolicy, signal: &Name) -> bool {
    signals(policy).any(|one| one.name == *signal)
}

fn signals(policy: &WorkloadPolicy) -> impl Iterator<Item = &SignalPolicy> {
    let memory = policy.measuring(Measures::MemoryBytes);
    memory.into_iter().chain(policy.signals.iter().filter(|signal| signal.measures.fills()))
}

/// What fills up of one workload and has a limit.
fn filling<'a>(snapshot: &Snapshot, policy: &'a WorkloadPolicy) -> Vec<Filling<'a>> {
    let with_limit = |signal: &'a SignalPolicy| {
        let container = || limit(snapshot, policy, signal.measures);
        let limit = signal.threshold.or_else(container)?;
        let of = if signal.measures.fills() { signal.name.clone() } else { Name::from(MEMORY) };
        (limit.is_finite() && limit > 0.0).then_some(Filling { policy, signal, of, limit })
    };
    signals(policy).filter_map(with_limit).collect()
}

/// Limit that the pods have for what is measured.
fn limit(snapshot: &Snapshot, policy: &WorkloadPolicy, measures: Measures) -> Option<f64> {
    let bytes = snapshot.pods_of(&policy.key).find_map(|pod| policy.permits.limit_of(pod, measures));
    bytes.map(|bytes| bytes as f64)
}

/// Forecasts until the token of `world` is cancelled: just after each full minute, newest result only.
pub async fn run(
    mut limits: Limits,
    world: (Arc<dyn SnapshotSource>, Arc<dyn Clock>, CancellationToken),
    metrics: Metrics,
    out: watch::Sender<Forecasts>,
) {
    let mut left_out = 0;
    let work = move |snapshot: &Snapshot, now| (limits.step(snapshot, now), limits.left_out());
    paced::each(STEP_SECONDS, "forecasts of limits", world, work, |(all, without_room)| {
        if without_room != left_out {
            left_out = without_room;
            tracing::warn!(left_out, most = MOST, "Signals that fill up are not forecast: too many");
        }
        metrics.limits_left_out(left_out);
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
            external: None,
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
        limits: &mut Limits,
        used: impl Iterator<Item = (i64, f64)>,
    ) -> Vec<ForecastRecord> {
        let mut all = Vec::new();
        for (minute, value) in used {
            for (series, share) in [("pod=a", 1.0), ("pod=b", 0.4)] {
                let place = (homeostat_situations::order(), Name::from("heap"), Name::from(series));
                world.loads.insert_mut(place, (share * value, at(minute)));
            }
            all = limits.step(world, at(minute));
        }
        all
    }

    /// Five a minute from 300 on.
    fn leak(minutes: std::ops::Range<i64>) -> impl Iterator<Item = (i64, f64)> {
        minutes.map(|minute| (minute, 300.0 + 5.0 * minute as f64))
    }

    #[test]
    fn a_leak_has_its_time_to_the_limit_and_a_band_and_a_restart_begins_anew() {
        let (mut world, mut limits) = (world(Some(1_500.0)), Limits::new().unwrap());
        let said = run(&mut world, &mut limits, leak(0..120)).pop().unwrap();
        assert_eq!((&*said.signal, said.outlook.now), (MEMORY, Some(895.0)), "the most of one pod");
        let limit = said.outlook.limit.unwrap();
        // 605 are left at 5 a minute.
        assert!((6_000.0..8_500.0).contains(&limit.p50_seconds), "{limit:?}");
        assert!(limit.p10_seconds.is_some_and(|early| early <= limit.p50_seconds), "{limit:?}");
        assert!(said.outlook.points.iter().all(|point| point.p10 <= point.p50 && point.p50 <= point.p90));
        let again = run(&mut world, &mut limits, (120..125).map(|minute| (minute, 300.0))).pop().unwrap();
        assert!(again.outlook.limit.is_none() && again.outlook.points.is_empty());
        assert!(
            again.outlook.reason.contains("5 of the 10 steps of 1 min")
                && again.outlook.reason.contains("heap")
        );
    }

    #[test]
    fn memory_that_only_goes_up_and_down_reaches_no_limit() {
        let (mut world, mut limits) = (world(Some(1_500.0)), Limits::new().unwrap());
        let saw = (0..120).map(|minute| (minute, 700.0 + 20.0 * (minute % 10) as f64));
        let said = run(&mut world, &mut limits, saw).pop().unwrap();
        assert!(said.outlook.limit.is_none() && !said.outlook.points.is_empty());
    }

    #[test]
    fn the_limit_of_the_only_container_counts_and_without_any_there_is_no_forecast() {
        let (mut limited, mut limits) = (world(None), Limits::new().unwrap());
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
        assert_eq!(run(&mut limited, &mut limits, leak(0..1)), []);
        set(&mut limited, Some(1_500));
        let said = run(&mut limited, &mut limits, leak(1..121)).pop().unwrap();
        assert_eq!(said.outlook.limit.map(|limit| limit.load), Some(1_500.0));
        let (mut plain, _) = Given::default().build();
        assert_eq!(run(&mut plain, &mut limits, leak(121..122)), [], "no signal measures memory");
    }

    #[test]
    fn signals_beyond_the_bound_are_counted_and_get_in_when_there_is_room() {
        let (mut world, mut limits) = (world(Some(1_500.0)), Limits::new().unwrap());
        let order = (**world.workloads.get(&homeostat_situations::order()).unwrap()).clone();
        for number in 0..MOST {
            let mut other = order.clone();
            other.key.name = Name::from(format!("other-{number}"));
            other.target.object.name = other.key.name.clone();
            world.commit(&ObjectChange::Workload(Change::Applied(Arc::new(other))), at(0));
        }
        assert_eq!((limits.step(&world, at(0)).len(), limits.left_out()), (MOST, 1));
        world.commit(&ObjectChange::Workload(Change::Deleted(order.key)), at(60));
        assert_eq!((limits.step(&world, at(1)).len(), limits.left_out()), (MOST, 0));
    }

    /// The memory of `order` becomes a volume and a quota, both with this limit.
    fn stored(threshold: f64) -> Snapshot {
        let mut world = world(Some(threshold));
        let mut order = (**world.workloads.get(&homeostat_situations::order()).unwrap()).clone();
        let heap = order.signals.remove(0);
        for (name, measures) in [("data", Measures::VolumeBytes), ("quota-pods", Measures::QuotaUsed)] {
            order.signals.push(SignalPolicy { name: Name::from(name), measures, ..heap.clone() });
        }
        world.commit(&ObjectChange::Workload(Change::Applied(Arc::new(order))), at(0));
        world
    }

    fn fill(
        world: &mut Snapshot,
        limits: &mut Limits,
        used: impl Iterator<Item = (i64, f64)>,
    ) -> Vec<ForecastRecord> {
        let mut all = Vec::new();
        for (minute, value) in used {
            for signal in ["data", "quota-pods", "scratch"] {
                let place = (homeostat_situations::order(), Name::from(signal), Name::from(""));
                world.loads.insert_mut(place, (value, at(minute)));
            }
            all = limits.step(world, at(minute));
        }
        all
    }

    #[test]
    fn a_volume_and_a_quota_have_a_forecast_each_a_day_ahead_with_the_time_to_the_limit() {
        let (mut world, mut limits) = (stored(2_000.0), Limits::new().unwrap());
        // Half a unit a minute.
        let line = |minute: i64| (minute, 500.0 + 0.5 * minute as f64);
        let early = fill(&mut world, &mut limits, (0..30).map(line));
        assert!(early.iter().all(|one| one.outlook.points.is_empty()));
        assert!(early[0].outlook.reason.contains("of the 10 steps of 5 min"), "{}", early[0].outlook.reason);
        let said = fill(&mut world, &mut limits, (30..1_200).map(line));
        let names: Vec<&str> = said.iter().map(|one| &*one.signal).collect();
        assert_eq!(names, ["data", "quota-pods"]);
        for one in &said {
            let outlook = &one.outlook;
            assert_eq!((outlook.horizon_seconds, outlook.points.len()), (86_400, 24));
            assert!(outlook.points.iter().all(|point| point.p10 <= point.p50 && point.p50 <= point.p90));
            let apart = outlook.points[1].at.duration_since(outlook.points[0].at);
            assert_eq!(apart.as_secs(), 3_600, "a point is an hour");
            let limit = outlook.limit.as_ref().unwrap();
            // 900 are left at half a unit a minute: 30 hours, beyond the points.
            assert!((90_000.0..126_000.0).contains(&limit.p50_seconds), "{limit:?}");
            assert!(limit.p10_seconds.is_some_and(|early| early <= limit.p50_seconds), "{limit:?}");
            assert_eq!(one.size.wanted, None);
        }
    }

    #[test]
    fn ephemeral_storage_has_a_forecast_of_its_signals_name_up_to_the_limit_of_the_only_container() {
        let (mut world, mut limits) = (world(None), Limits::new().unwrap());
        let mut order = (**world.workloads.get(&homeostat_situations::order()).unwrap()).clone();
        order.signals[0].name = Name::from("scratch");
        order.signals[0].measures = Measures::EphemeralStorageBytes;
        world.commit(&ObjectChange::Workload(Change::Applied(Arc::new(order))), at(0));
        // Half a unit a minute.
        let line = |minute: i64| (minute, 500.0 + 0.5 * minute as f64);
        assert_eq!(fill(&mut world, &mut limits, (0..5).map(line)), [], "it has no limit");
        let pods: Vec<_> = world.pods_of(&homeostat_situations::order()).cloned().collect();
        for pod in pods {
            let mut pod = (*pod).clone();
            pod.containers[0].ephemeral_storage_limit = Some(2_000);
            world.commit(&ObjectChange::Pod(Change::Applied(Arc::new(pod))), at(0));
        }
        let said = fill(&mut world, &mut limits, (5..1_200).map(line)).remove(0);
        assert_eq!((&*said.signal, said.outlook.horizon_seconds), ("scratch", 86_400));
        let limit = said.outlook.limit.unwrap();
        assert!((limit.load - 2_000.0).abs() < 1e-9, "{limit:?}");
        assert!((90_000.0..126_000.0).contains(&limit.p50_seconds), "{limit:?}");
    }

    #[test]
    fn what_is_cleaned_up_keeps_its_history_and_what_is_full_says_so() {
        let (mut world, mut limits) = (stored(1_000.0), Limits::new().unwrap());
        // From 900 down to 300 every five hours.
        let saw = (0..1_800).map(|minute| (minute, 300.0 + 2.0 * (minute % 300) as f64));
        let said = fill(&mut world, &mut limits, saw).remove(0);
        assert!(said.outlook.limit.is_none() && !said.outlook.points.is_empty(), "{:?}", said.outlook.limit);
        let full = (1_800..1_815).map(|minute| (minute, 1_000.0));
        let said = fill(&mut world, &mut limits, full).remove(0);
        let limit = said.outlook.limit.unwrap();
        assert!(limit.p50_seconds.abs() < 1.0 && limit.reason.contains("reached"), "{limit:?}");
        world.loads = Snapshot::default().loads;
        let gone = limits.step(&world, at(1_900)).remove(0);
        assert_eq!(gone.outlook.now, None, "what is not seen is not told");
    }
}
