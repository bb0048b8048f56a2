//! What load is coming: reads the snapshots once a minute, for workloads with `spec.scaling` only.
//!
//! Beside the loop, not in it: nothing here is waited for by a decision. Every replica keeps its own series, so that a
//! new leader does not begin with nothing. After a restart a series goes on from what was kept of it, at quarter hours.

use crate::hearing::Hearing;
use crate::kept::Memory;
use homeostat_console::Metrics;
use homeostat_knowledge::forecast::Outlook;
use homeostat_knowledge::{
    Clock, ControllerKind, Snapshot, SnapshotSource, Timestamp, WorkloadKey, WorkloadPolicy,
};
use homeostat_scale::outlook::{Forecasting, KeptLoad, LoadModel, Meter, STEP_SECONDS};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Workloads that are forecast: each costs about 80 kB after two weeks.
const MOST: usize = 2_000;

/// What is foreseen of one workload.
#[derive(Clone, Debug, PartialEq)]
pub struct Foreseen {
    /// What is coming.
    pub outlook: Outlook,
    /// What is kept of its load.
    pub kept: Option<KeptLoad>,
}

/// The newest of each workload.
pub type Outlooks = Arc<BTreeMap<WorkloadKey, Foreseen>>;

/// Everything that is known of one workload.
struct Watched {
    meter: Meter,
    hearing: Hearing,
    model: LoadModel,
}

/// Keeps a series per workload and forecasts each.
pub struct Forecaster {
    forecasting: Forecasting,
    watched: BTreeMap<WorkloadKey, Watched>,
    left_out: usize,
    memory: Memory,
}

impl Forecaster {
    /// Knows what was kept, and nothing else yet.
    pub fn new(forecasting: Forecasting, memory: Memory) -> Self {
        Self { forecasting, watched: BTreeMap::new(), left_out: 0, memory }
    }

    /// Workloads with `spec.scaling` that found no room.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Reads one snapshot, about once a minute, and gives all outlooks.
    pub fn step(&mut self, snapshot: &Snapshot, now: Timestamp) -> BTreeMap<WorkloadKey, Foreseen> {
        let scaled = |key: &WorkloadKey| {
            let policy = snapshot.workloads.get(key);
            policy.filter(|one| one.permits.scaling.is_some() && !completes(one))
        };
        self.watched.retain(|key, _| scaled(key).is_some());
        self.left_out = 0;
        let mut all = BTreeMap::new();
        for (key, policy) in
            snapshot.workloads.iter().filter(|(_, one)| one.permits.scaling.is_some() && !completes(one))
        {
            if !self.watched.contains_key(key) && self.watched.len() >= MOST {
                self.left_out += 1;
                continue;
            }
            let config = self.forecasting.config();
            let kept = self.memory.get(key).and_then(|kept| kept.load.as_ref());
            let watched = self.watched.entry(key.clone()).or_insert_with(|| Watched {
                meter: Meter::every(STEP_SECONDS),
                hearing: Hearing::default(),
                model: kept.map_or_else(|| LoadModel::new(config), |kept| LoadModel::restored(config, kept)),
            });
            let answered = watched.hearing.answered(snapshot, key, now).map(|(answered, _)| answered);
            if let Some(minute) = watched.meter.read(now, answered) {
                watched.model.observe(minute.number, minute.rate);
            }
            let carried = carried(snapshot, policy);
            let outlook = self.forecasting.look(&mut watched.model, carried, now);
            all.insert(key.clone(), Foreseen { outlook, kept: watched.model.kept() });
        }
        all
    }
}

/// Runs to completion: it answers no requests, its runs are ordered instead.
fn completes(policy: &WorkloadPolicy) -> bool {
    matches!(policy.target.kind, ControllerKind::Job | ControllerKind::CronJob)
}

/// Requests per second that the most replicas carry, as far as that is known.
fn carried(snapshot: &Snapshot, policy: &WorkloadPolicy) -> Option<f64> {
    let each = snapshot.sizes.get(&policy.key)?.per_replica?;
    Some(each * policy.permits.replicas?.max as f64)
}

/// Forecasts until `stop`: just after each full minute, newest result only.
pub async fn run(
    forecasting: Forecasting,
    memory: Memory,
    snapshots: Arc<dyn SnapshotSource>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    out: watch::Sender<Outlooks>,
    stop: CancellationToken,
) {
    let mut forecaster = Forecaster::new(forecasting, memory);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(until_next(STEP_SECONDS, clock.now())) => {}
        }
        let (snapshot, now) = (snapshots.current(), clock.now());
        if !snapshot.ready() {
            continue;
        }
        // A comparison of models takes long for a task that others wait behind.
        let work = tokio::task::spawn_blocking(move || {
            let all = forecaster.step(&snapshot, now);
            (forecaster, all)
        });
        let all;
        (forecaster, all) = match work.await {
            Ok(both) => both,
            Err(error) => {
                tracing::error!(%error, "Forecasts ended; they begin anew with the process");
                return;
            }
        };
        if forecaster.left_out() > 0 {
            let left_out = forecaster.left_out();
            tracing::warn!(left_out, most = MOST, "Workloads with spec.scaling are not forecast: too many");
        }
        metrics.forecasts(all.values().map(|one| one.outlook.skill), forecaster.left_out());
        out.send_replace(Arc::new(all));
    }
}

/// Time until just after the next full step of so many seconds.
pub fn until_next(seconds: u32, now: Timestamp) -> Duration {
    let step = i64::from(seconds.max(1)) * 1_000;
    let left = step - now.as_millisecond().rem_euclid(step);
    Duration::from_millis(left.unsigned_abs()) + Duration::from_millis(250)
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeostat_knowledge::observation::{Change, ObjectChange};
    use homeostat_knowledge::policy::{Bounds, Permits, ScalingPolicy};
    use homeostat_knowledge::records::ControllerKey;
    use homeostat_knowledge::{ForecastSkill, Name, ObjectKey, Uid, WorkloadHealth};
    use homeostat_scale::outlook::OutlookConfig;

    fn policy(scaling: Option<ScalingPolicy>) -> WorkloadPolicy {
        let key = ObjectKey::new("shop", "cart");
        WorkloadPolicy {
            permits: Permits { replicas: Some(Bounds { min: 1, max: 9 }), scaling, ..Permits::default() },
            ..WorkloadPolicy::new(
                key.clone(),
                Uid::new("u"),
                ControllerKey { kind: ControllerKind::Deployment, object: key },
            )
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A snapshot in which so many requests were answered, and others of the namespace were heard at this second.
    fn snapshot(scaling: Option<&ScalingPolicy>, answered: u64, heard: i64) -> Snapshot {
        let mut snapshot = Snapshot::default();
        let change = ObjectChange::Workload(Change::Applied(Arc::new(policy(scaling.cloned()))));
        snapshot.commit(&change, at(0));
        let health = WorkloadHealth { answered, ..WorkloadHealth::default() };
        snapshot.health.insert_mut(ObjectKey::new("shop", "cart"), health);
        snapshot.heard.insert_mut(Name::from("shop"), at(heard));
        snapshot
    }

    fn forecaster() -> Forecaster {
        Forecaster::new(Forecasting::new(OutlookConfig::default()).unwrap(), Memory::default())
    }

    #[test]
    fn a_workload_without_scaling_costs_nothing() {
        let mut forecaster = forecaster();
        assert!(forecaster.step(&snapshot(None, 500, 60), at(60)).is_empty());
        assert!(forecaster.watched.is_empty());
    }

    #[test]
    fn answered_requests_become_a_load_and_a_source_that_is_gone_a_gap() {
        let mut forecaster = forecaster();
        let scaling = ScalingPolicy::default();
        let now = |all: &BTreeMap<WorkloadKey, Foreseen>| all.values().next().and_then(|one| one.outlook.now);
        for minute in 0..20_u64 {
            let counted = 600 * (minute + 1);
            let second = 60 * minute as i64;
            let all = forecaster.step(&snapshot(Some(&scaling), counted, second), at(second));
            assert_eq!(all.len(), 1);
            if minute > 0 {
                assert_eq!(now(&all), Some(10.0), "600 requests in a minute");
            }
        }
        let idle = forecaster.step(&snapshot(Some(&scaling), 12_000, 1_190), at(1_200));
        assert_eq!(now(&idle), Some(0.0), "others are heard, this one is idle");
        forecaster.step(&snapshot(Some(&scaling), 12_000, 1_190), at(1_260));
        let gone = forecaster.step(&snapshot(Some(&scaling), 12_000, 1_190), at(1_320));
        assert_eq!(now(&gone), None, "nobody is heard");
        assert!(gone.values().all(|one| one.outlook.skill != ForecastSkill::Proven));
        assert!(forecaster.step(&snapshot(None, 12_600, 1_380), at(1_380)).is_empty());
        assert!(forecaster.watched.is_empty(), "scaling was taken out of the spec");
    }

    #[test]
    fn it_wakes_just_after_the_minute() {
        assert_eq!(until_next(60, at(59)), Duration::from_millis(1_250));
        assert_eq!(until_next(60, at(60)), Duration::from_millis(60_250));
        assert_eq!(until_next(15, at(50)), Duration::from_millis(10_250));
    }
}
