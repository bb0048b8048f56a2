//! What load is coming: reads the snapshots once a minute, for workloads with `spec.scaling` only.
//!
//! Beside the loop, not in it: nothing here is waited for by a decision. Every replica keeps its own series, so that a
//! new leader does not begin with nothing; the leader writes. After a restart a series begins anew.

use homeostat_cluster::forecasts::Forecasts;
use homeostat_console::Metrics;
use homeostat_knowledge::forecast::REQUESTS;
use homeostat_knowledge::{
    Clock, ControllerKind, ForecastRecord, IncidentState, Name, SignedDuration, Snapshot, SnapshotSource, Timestamp,
    WorkloadKey, WorkloadPolicy,
};
use homeostat_scale::outlook::{Forecasting, Given, LoadModel, Meter, Reading, STEP_SECONDS};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Workloads that are forecast: each costs about 80 kB after two weeks.
const MOST: usize = 2_000;
/// Own telemetry source that carries server spans.
const SOURCE: &str = "otlp";

/// Everything that is known of one workload.
struct Watched {
    meter: Meter,
    model: LoadModel,
}

/// Keeps a series per workload and forecasts each.
pub struct Forecaster {
    forecasting: Forecasting,
    watched: BTreeMap<WorkloadKey, Watched>,
    /// Items that the source had accepted at the last reading.
    accepted: Option<u64>,
    left_out: usize,
}

impl Forecaster {
    /// Nothing is known yet.
    pub fn new(forecasting: Forecasting) -> Self {
        Self { forecasting, watched: BTreeMap::new(), accepted: None, left_out: 0 }
    }

    /// Workloads with `spec.scaling` that found no room.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Reads one snapshot, about once a minute, and gives all forecasts.
    pub fn step(&mut self, snapshot: &Snapshot, now: Timestamp) -> Vec<ForecastRecord> {
        let scaled =
            |key: &WorkloadKey| {
                let policy = snapshot.workloads.get(key);
                policy.filter(|one| one.permits.scaling.is_some() && !completes(one))
            };
        self.watched.retain(|key, _| scaled(key).is_some());
        self.left_out = 0;
        // Nothing at all came in: that nobody asked cannot be told from a source that is gone.
        let accepted = snapshot.sources.get(SOURCE).map(|report| report.accepted);
        let alive = accepted.is_some() && accepted != self.accepted;
        self.accepted = accepted;
        let mut all = Vec::new();
        for (key, policy) in &snapshot.workloads {
            let Some(scaling) = policy.permits.scaling.filter(|_| !completes(policy)) else { continue };
            if !self.watched.contains_key(key) && self.watched.len() >= MOST {
                self.left_out += 1;
                continue;
            }
            let config = self.forecasting.config();
            let watched = self
                .watched
                .entry(key.clone())
                .or_insert_with(|| Watched { meter: Meter::default(), model: LoadModel::new(config) });
            let replicas = ready(snapshot, policy);
            if let Some(minute) = watched.meter.read(now, answered(snapshot, key).filter(|_| alive)) {
                let healthy = healthy(snapshot, key, now);
                watched.model.observe(minute.number, Reading { load: minute.rate, ready: replicas, healthy });
            }
            let given = Given { bounds: policy.permits.replicas, fallback: scaling.fallback };
            all.push(ForecastRecord {
                workload: key.clone(),
                workload_uid: policy.uid.clone(),
                tenant: snapshot.tenant_of_namespace(&key.namespace).map(|tenant| tenant.name.clone()),
                signal: Name::from(REQUESTS),
                mode: scaling.mode,
                replicas,
                outlook: self.forecasting.look(&mut watched.model, &given, now),
            });
        }
        all
    }
}

/// Runs to completion: it answers no requests, its runs are ordered instead.
fn completes(policy: &WorkloadPolicy) -> bool {
    matches!(policy.target.kind, ControllerKind::Job | ControllerKind::CronJob)
}

/// Requests answered so far; `None` before the first.
fn answered(snapshot: &Snapshot, key: &WorkloadKey) -> Option<u64> {
    snapshot.health.get(key).map(|health| health.answered).filter(|answered| *answered > 0)
}

fn ready(snapshot: &Snapshot, policy: &WorkloadPolicy) -> u32 {
    let controller = snapshot.controllers.get(&policy.target);
    controller.and_then(|controller| u32::try_from(controller.ready).ok()).unwrap_or(0)
}

/// Nothing was wrong with it in the last minute: no failed call, no open incident that concerns it.
fn healthy(snapshot: &Snapshot, key: &WorkloadKey, now: Timestamp) -> bool {
    let minute = SignedDuration::from_secs(i64::from(STEP_SECONDS));
    let failed = snapshot
        .health
        .get(key)
        .and_then(|health| health.last_failure)
        .is_some_and(|at| now.duration_since(at) <= minute);
    let concerned = snapshot.incidents.values().any(|incident| {
        !matches!(incident.state, IncidentState::Mitigated | IncidentState::Resolved)
            && (incident.workload.as_ref() == Some(key) || incident.affected.contains(key))
    });
    !failed && !concerned
}

/// Forecasts until `stop`: just after each full minute, newest result only.
pub async fn run(
    forecasting: Forecasting,
    snapshots: Arc<dyn SnapshotSource>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    out: watch::Sender<Forecasts>,
    stop: CancellationToken,
) {
    let mut forecaster = Forecaster::new(forecasting);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(until_next_minute(clock.now())) => {}
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
        metrics.forecasts(all.iter().map(|record| record.outlook.skill), forecaster.left_out());
        out.send_replace(Some(Arc::new(all)));
    }
}

/// Time until just after the next full minute.
fn until_next_minute(now: Timestamp) -> Duration {
    let step = i64::from(STEP_SECONDS) * 1_000;
    let left = step - now.as_millisecond().rem_euclid(step);
    Duration::from_millis(left.unsigned_abs()) + Duration::from_millis(250)
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeostat_knowledge::observation::{Change, ObjectChange, SourceReport, SourceState};
    use homeostat_knowledge::policy::{Archetype, Bounds, Permits, ScalingMode, ScalingPolicy};
    use homeostat_knowledge::records::ControllerKey;
    use homeostat_knowledge::{ForecastSkill, ObjectKey, Uid, WorkloadHealth};
    use homeostat_scale::outlook::OutlookConfig;

    fn policy(scaling: Option<ScalingPolicy>) -> WorkloadPolicy {
        let key = ObjectKey::new("shop", "cart");
        WorkloadPolicy {
            target: ControllerKey { kind: ControllerKind::Deployment, object: key.clone() },
            key,
            uid: Uid::new("u"),
            generation: 1,
            archetype: Archetype::Service,
            criticality: 500,
            availability: None,
            latency: None,
            signals: Vec::new(),
            dependencies: Vec::new(),
            playbooks: std::collections::BTreeSet::new(),
            paused: false,
            do_not_touch_until: None,
            maximum_useless_restarts: 2,
            surge_after_crash: true,
            permits: Permits { replicas: Some(Bounds { min: 1, max: 9 }), scaling, ..Permits::default() },
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A snapshot in which so many requests were answered, and so many items accepted.
    fn snapshot(scaling: Option<ScalingPolicy>, answered: u64, accepted: u64) -> Snapshot {
        let mut snapshot = Snapshot::default();
        let change = ObjectChange::Workload(Change::Applied(Arc::new(policy(scaling))));
        snapshot.commit(&change, at(0));
        let health = WorkloadHealth { answered, ..WorkloadHealth::default() };
        snapshot.health.insert_mut(ObjectKey::new("shop", "cart"), health);
        let report = SourceReport { state: SourceState::Healthy, accepted, dropped: 0 };
        snapshot.sources.insert_mut(Name::from(SOURCE), report);
        snapshot
    }

    fn forecaster() -> Forecaster {
        Forecaster::new(Forecasting::new(OutlookConfig::default()).unwrap())
    }

    #[test]
    fn a_workload_without_scaling_costs_nothing() {
        let mut forecaster = forecaster();
        assert_eq!(forecaster.step(&snapshot(None, 500, 500), at(60)), Vec::new());
        assert!(forecaster.watched.is_empty());
    }

    #[test]
    fn answered_requests_become_a_load_and_a_source_that_is_gone_a_gap() {
        let mut forecaster = forecaster();
        let scaling = Some(ScalingPolicy { mode: ScalingMode::Observe, fallback: None });
        for minute in 0..20_u64 {
            let counted = 600 * (minute + 1);
            let all = forecaster.step(&snapshot(scaling, counted, counted), at(60 * minute as i64));
            assert_eq!((all.len(), all[0].mode), (1, ScalingMode::Observe));
            if minute > 0 {
                assert_eq!(all[0].outlook.now, Some(10.0), "600 requests in a minute");
            }
        }
        let idle = forecaster.step(&snapshot(scaling, 12_000, 12_001), at(1_200));
        assert_eq!(idle[0].outlook.now, Some(0.0), "others are heard, this one is idle");
        let gone = forecaster.step(&snapshot(scaling, 12_000, 12_001), at(1_260));
        assert_eq!(gone[0].outlook.now, None, "nobody is heard");
        assert_ne!(gone[0].outlook.skill, ForecastSkill::Proven);
        assert_eq!(forecaster.step(&snapshot(None, 12_600, 12_601), at(1_320)), Vec::new());
        assert!(forecaster.watched.is_empty(), "scaling was taken out of the spec");
    }

    #[test]
    fn it_wakes_just_after_the_minute() {
        assert_eq!(until_next_minute(at(59)), Duration::from_millis(1_250));
        assert_eq!(until_next_minute(at(60)), Duration::from_millis(60_250));
    }
}
