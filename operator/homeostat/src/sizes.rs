//! How many replicas each workload with `spec.scaling` should have: decided every 15 s from the newest snapshot and the
//! newest outlook. What is decided goes to the loop, which makes plans of it, and to the writer of `Forecast` objects.
//!
//! Every replica decides, so that a new leader has learnt what the old one had; only the leader acts and writes.

use crate::forecasts::{Foreseen, Outlooks, until_next};
use crate::hearing::Hearing;
use crate::kept::{Kept, Memory};
use crate::loads::Series;
use homeostat_cluster::forecasts::Forecasts;
use homeostat_knowledge::forecast::{Outlook, REQUESTS, Scaler, Scalers};
use homeostat_knowledge::policy::{Bounds, ScalingPolicy};
use homeostat_knowledge::records::ControllerKey;
use homeostat_knowledge::{
    Clock, ControllerRecord, ForecastRecord, ForecastSkill, IncidentState, Name, SignedDuration, SizeAdvice,
    SizeEffect, Snapshot, SnapshotSource, Timestamp, WorkloadKey, WorkloadPolicy,
};
use homeostat_plan::sizes::{newest, told};
use homeostat_scale::outlook::Meter;
use homeostat_scale::services::{Expected, Owner};
use homeostat_scale::sizer::{Requests, STEP_SECONDS, Seen, Sizer, calendar, policy};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Replicas that have not changed for so long are what the load of a step was on.
const SETTLED: SignedDuration = SignedDuration::from_secs(60);
/// Points of an outlook that the decision looks at: ten minutes.
const AHEAD: usize = 2;
/// Share of requests that may be outside of the objective where the Workload names none.
const ALLOWED: f64 = 0.01;

/// Everything that is kept of one workload.
struct Sized {
    meter: Meter,
    hearing: Hearing,
    series: Series,
    sizer: Sizer,
    outside: Option<u64>,
    /// What its replicas were, and since when.
    settled: ((i32, i32, Option<Name>), Timestamp),
    advice: Option<SizeAdvice>,
}

/// Decides sizes.
#[derive(Default)]
pub struct Sizes {
    sized: BTreeMap<WorkloadKey, Sized>,
    memory: Memory,
}

impl Sizes {
    /// Knows what was kept, and nothing else yet.
    pub fn new(memory: Memory) -> Self {
        Self { memory, ..Self::default() }
    }

    /// Reads one snapshot, about every 15 s, and gives all forecasts with the sizes that follow.
    pub fn step(
        &mut self,
        snapshot: &Snapshot,
        outlooks: &BTreeMap<WorkloadKey, Foreseen>,
        scalers: &BTreeMap<ControllerKey, Scaler>,
        now: Timestamp,
    ) -> Vec<ForecastRecord> {
        self.sized.retain(|key, _| outlooks.contains_key(key) && snapshot.workloads.contains_key(key));
        let changes = newest(snapshot);
        let mut all = Vec::with_capacity(outlooks.len());
        for (key, Foreseen { outlook, kept: load }) in outlooks {
            let Some(workload) = snapshot.workloads.get(key) else { continue };
            let Some(scaling) = &workload.permits.scaling else { continue };
            let owner = owner(scalers.get(&workload.target));
            let mut size = self.size(snapshot, workload, scaling, outlook, &owner, now);
            let kept = snapshot.sizes.get(key).and_then(|before| before.done.clone());
            size.done = kept.or_else(|| changes.get(key).map(|action| told(action)));
            all.push(ForecastRecord {
                workload: key.clone(),
                workload_uid: workload.uid.clone(),
                tenant: snapshot.tenant_of_namespace(&key.namespace).map(|tenant| tenant.name.clone()),
                signal: Name::from(REQUESTS),
                mode: scaling.mode,
                replicas: count(snapshot.controllers.get(&workload.target).map_or(0, |one| one.ready)),
                outlook: outlook.clone(),
                size,
                memory: Kept {
                    size: self.sized.get(key).map(|sized| sized.sizer.kept()),
                    load: load.clone(),
                }
                .text(),
            });
        }
        all
    }

    fn size(
        &mut self,
        snapshot: &Snapshot,
        workload: &WorkloadPolicy,
        scaling: &ScalingPolicy,
        outlook: &Outlook,
        owner: &Owner,
        now: Timestamp,
    ) -> SizeAdvice {
        let nothing = |why: String| SizeAdvice {
            decided: now,
            per_replica: None,
            wanted: None,
            effect: SizeEffect::Keep,
            why,
            done: None,
        };
        let asked = match policy(scaling, workload.permits.replicas, workload.archetype) {
            Ok(asked) => asked,
            Err(error) => return nothing(error.to_string()),
        };
        let Some(controller) = snapshot.controllers.get(&workload.target) else {
            return nothing(format!("what workload {} targets is not there", workload.key));
        };
        if !self.sized.contains_key(&workload.key) {
            match Sizer::new(asked, allowed(workload), now) {
                Ok(mut sizer) => {
                    if let Some(kept) = self.memory.get(&workload.key).and_then(|kept| kept.size.as_ref())
                        && let Err(error) = sizer.restore(kept)
                    {
                        return nothing(error.to_string());
                    }
                    self.sized.insert(
                        workload.key.clone(),
                        Sized {
                            meter: Meter::every(STEP_SECONDS),
                            hearing: Hearing::default(),
                            series: Series::default(),
                            sizer,
                            outside: None,
                            settled: (shape(controller), now),
                            advice: None,
                        },
                    );
                }
                Err(error) => return nothing(error.to_string()),
            }
        }
        let Some(sized) = self.sized.get_mut(&workload.key) else {
            return nothing("nothing is kept of it".to_owned());
        };
        if *sized.sizer.policy() != asked
            && let Err(error) = sized.sizer.follow(asked)
        {
            return nothing(error.to_string());
        }
        if sized.settled.0 != shape(controller) {
            sized.settled = (shape(controller), now);
        }
        let counts = sized.hearing.answered(snapshot, &workload.key, now);
        let Some(step) = sized.meter.read(now, counts.map(|(answered, _)| answered)) else {
            // The same step again: what was decided stands.
            return sized.advice.clone().unwrap_or_else(|| nothing("nothing was seen yet".to_owned()));
        };
        let outside = counts.map(|(_, outside)| outside);
        let grown = outside.zip(sized.outside).map_or(0, |(after, before)| after.saturating_sub(before));
        sized.outside = outside;
        let hurts = snapshot.overloaded(&workload.key);
        let loads = sized.series.read(snapshot, workload, scaling, now);
        let (calendar, wrong) = calendar::asked(&scaling.calendar, now);
        let seen = Seen {
            requests: Requests {
                rate: step.rate,
                answered: step.count,
                outside: grown,
                telling: telling(snapshot, workload, controller, hurts)
                    && now.duration_since(sized.settled.1) >= SETTLED,
            },
            loads: &loads,
            replicas: count(controller.replicas),
            ready: count(controller.ready),
            expected: expected(outlook, now),
            calendar,
            hurts,
        };
        let mut advice = sized.sizer.decide(now, &seen, owner);
        for wrong in wrong {
            advice.why.push_str("; ");
            advice.why.push_str(&wrong);
        }
        sized.advice = Some(advice.clone());
        advice
    }
}

fn owner(scaler: Option<&Scaler>) -> Owner {
    match scaler {
        None => Owner::Nobody,
        Some(Scaler::Hpa(found)) => {
            let replicas = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
            let of = |bounds: Bounds| (replicas(bounds.min), replicas(bounds.max));
            Owner::Hpa {
                name: found.key.name.to_string(),
                bounds: of(found.bounds),
                peoples: of(found.peoples()),
            }
        }
        Some(Scaler::Keda { name }) => Owner::Keda { name: name.to_string() },
        Some(Scaler::Vpa { name }) => Owner::Vpa { name: name.to_string(), acts: true },
        Some(rivals @ Scaler::Several(_)) => Owner::Several { names: rivals.to_string() },
    }
}

fn count(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

fn shape(controller: &ControllerRecord) -> (i32, i32, Option<Name>) {
    (controller.replicas, controller.ready, controller.revision.clone())
}

/// Share of requests that may be outside of the objective.
fn allowed(workload: &WorkloadPolicy) -> f64 {
    let late = workload.latency.map(|latency| 1.0 - latency.quantile);
    late.or(workload.availability.map(|share| 1.0 - share)).unwrap_or(ALLOWED).clamp(0.001, 0.5)
}

/// Nothing but the load can be the reason for what is seen: all replicas are ready, and there is no incident that speaks
/// of anything else.
fn telling(
    snapshot: &Snapshot,
    workload: &WorkloadPolicy,
    controller: &ControllerRecord,
    overloaded: bool,
) -> bool {
    let open = |state: IncidentState| !matches!(state, IncidentState::Mitigated | IncidentState::Resolved);
    let concerned = snapshot.incidents.values().any(|incident| {
        open(incident.state)
            && (incident.workload.as_ref() == Some(&workload.key)
                || incident.affected.contains(&workload.key))
    });
    controller.ready == controller.replicas && !controller.rolling_out() && (!concerned || overloaded)
}

/// What the next ten minutes bring, by a forecast with skill.
fn expected(outlook: &Outlook, now: Timestamp) -> Option<Expected> {
    if outlook.skill != ForecastSkill::Proven {
        return None;
    }
    let ahead = || outlook.points.iter().filter(|point| point.at >= now).take(AHEAD);
    let most = |values: &mut dyn Iterator<Item = f64>| values.max_by(f64::total_cmp);
    let p50 = most(&mut ahead().map(|point| point.p50))?;
    let p90 = most(&mut ahead().map(|point| point.p90))?;
    Some(Expected { p50, p90 })
}

/// Decides until `stop`: just after each full step, newest result only.
pub async fn run(
    snapshots: Arc<dyn SnapshotSource>,
    clock: Arc<dyn Clock>,
    memory: Memory,
    outlooks: watch::Receiver<Outlooks>,
    scalers: watch::Receiver<Arc<Scalers>>,
    out: watch::Sender<Forecasts>,
    stop: CancellationToken,
) {
    let mut sizes = Sizes::new(memory);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(until_next(STEP_SECONDS, clock.now())) => {}
        }
        let (snapshot, now) = (snapshots.current(), clock.now());
        if !snapshot.ready() {
            continue;
        }
        let (outlooks, scalers) = (Arc::clone(&outlooks.borrow()), Arc::clone(&scalers.borrow()));
        // Thousands of decisions take longer than a task should that others wait behind.
        let work = tokio::task::spawn_blocking(move || {
            let all = sizes.step(&snapshot, &outlooks, &scalers, now);
            (sizes, all)
        });
        let all;
        (sizes, all) = match work.await {
            Ok(both) => both,
            Err(error) => {
                tracing::error!(%error, "Decisions about sizes ended; they begin anew with the process");
                return;
            }
        };
        out.send_replace(Some(Arc::new(all)));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use homeostat_knowledge::observation::{Change, ObjectChange};
    use homeostat_knowledge::policy::{Archetype, LoadPolicy, Permits, ScalingMode, WhenOwned};
    use homeostat_knowledge::records::{AutoscalerRecord, Drive, Hold};
    use homeostat_knowledge::{ControllerKind, ObjectKey, Uid};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn key() -> ObjectKey {
        ObjectKey::new("shop", "jobs")
    }

    fn target() -> ControllerKey {
        ControllerKey { kind: ControllerKind::Deployment, object: key() }
    }

    /// A worker with so many replicas whose backlog was so large at this second.
    fn snapshot(replicas: i32, backlog: Option<f64>, second: i64) -> Snapshot {
        let (world, _) = homeostat_situations::Given::default().build();
        let order = homeostat_situations::order();
        let mut controller = (**world.controller_of(&order).unwrap()).clone();
        controller.key = target();
        (controller.replicas, controller.current, controller.ready, controller.updated) =
            (replicas, replicas, replicas, replicas);
        let mut workload = (**world.workloads.get(&order).unwrap()).clone();
        (workload.key, workload.uid, workload.target) = (key(), Uid::new("jobs"), target());
        workload.archetype = Archetype::Worker;
        workload.permits = Permits {
            replicas: Some(Bounds { min: 0, max: 8 }),
            scaling: Some(ScalingPolicy {
                mode: ScalingMode::Auto,
                loads: vec![LoadPolicy { signal: "waiting".into(), per_replica: 10.0 }],
                ..ScalingPolicy::default()
            }),
            ..Permits::default()
        };
        let mut snapshot = Snapshot::default();
        for change in [
            ObjectChange::Controller(Change::Applied(Arc::new(controller))),
            ObjectChange::Workload(Change::Applied(Arc::new(workload))),
        ] {
            snapshot.commit(&change, at(second));
        }
        if let Some(backlog) = backlog {
            let place = |series: &str| (key(), Name::from("waiting"), Name::from(series));
            snapshot.loads.insert_mut(place("queue=a"), (backlog / 2.0, at(second)));
            snapshot.loads.insert_mut(place("queue=b"), (backlog / 2.0, at(second)));
        }
        snapshot
    }

    fn outlooks(second: i64) -> BTreeMap<WorkloadKey, Foreseen> {
        let outlook = Outlook {
            made: at(second),
            horizon_seconds: 3_600,
            now: None,
            skill: ForecastSkill::Unknown,
            model: None,
            reason: "nothing is known yet".to_owned(),
            error: None,
            peak: None,
            points: Vec::new(),
            next_choice: None,
            limit: None,
        };
        BTreeMap::from([(key(), Foreseen { outlook, kept: None })])
    }

    fn decide(
        sizes: &mut Sizes,
        replicas: i32,
        backlog: Option<f64>,
        step: i64,
        scalers: &BTreeMap<ControllerKey, Scaler>,
    ) -> SizeAdvice {
        let second = step * i64::from(STEP_SECONDS);
        let mut all =
            sizes.step(&snapshot(replicas, backlog, second), &outlooks(second), scalers, at(second));
        all.pop().unwrap().size
    }

    #[test]
    fn a_backlog_of_all_its_queues_asks_for_workers_from_zero() {
        let (mut sizes, nobody) = (Sizes::default(), BTreeMap::new());
        for step in 0..24 {
            decide(&mut sizes, 0, Some(0.0), step, &nobody);
        }
        let idle = decide(&mut sizes, 0, Some(0.0), 24, &nobody);
        assert_eq!((idle.wanted, idle.effect), (Some(0), SizeEffect::Keep), "{}", idle.why);
        let busy = decide(&mut sizes, 0, Some(45.0), 25, &nobody);
        assert_eq!(busy.effect, SizeEffect::Scale, "{}", busy.why);
        assert!(busy.wanted.is_some_and(|wanted| wanted >= 4), "45 items, ten for each: {}", busy.why);
        // The values are not renewed any more: nobody knows whether work still waits.
        let second = 25 * i64::from(STEP_SECONDS);
        let late = at(second + 300);
        let silent = sizes.step(&snapshot(5, Some(0.0), second), &outlooks(second), &nobody, late);
        assert!(silent[0].size.wanted.is_some_and(|wanted| wanted >= 5), "{}", silent[0].size.why);
        assert!(silent[0].size.why.contains("check the source"), "{}", silent[0].size.why);
    }

    #[test]
    fn a_queue_whose_exporter_is_down_beside_an_empty_one_takes_no_worker_away() {
        let (mut sizes, nobody) = (Sizes::default(), BTreeMap::new());
        for step in 0..60 {
            decide(&mut sizes, 4, Some(35.0), step, &nobody);
        }
        for step in 60..140 {
            let second = step * i64::from(STEP_SECONDS);
            let mut world = snapshot(4, Some(0.0), second);
            let lost = (key(), Name::from("waiting"), Name::from("queue=b"));
            world.loads.insert_mut(lost, (17.5, at(59 * i64::from(STEP_SECONDS))));
            let said = sizes.step(&world, &outlooks(second), &nobody, at(second)).pop().unwrap().size;
            assert!(said.wanted.is_some_and(|wanted| wanted >= 4), "{step}: {}", said.why);
            if step >= 65 {
                assert!(
                    said.why.contains("series queue=b of signal waiting is not seen"),
                    "{step}: {}",
                    said.why
                );
            }
        }
    }

    #[test]
    fn a_tenant_that_is_not_heard_any_more_keeps_its_size_while_others_are_heard() {
        let (mut sizes, nobody) = (Sizes::default(), BTreeMap::new());
        let mut ask = |step: i64, answered: u64, heard: &str| {
            let second = step * i64::from(STEP_SECONDS);
            let mut world = snapshot(4, None, second);
            let mut workload = (**world.workloads.get(&key()).unwrap()).clone();
            workload.permits.scaling = Some(ScalingPolicy::default());
            world.commit(&ObjectChange::Workload(Change::Applied(Arc::new(workload))), at(0));
            let health = homeostat_knowledge::WorkloadHealth { answered, ..Default::default() };
            world.health.insert_mut(key(), health);
            let last = if heard == "shop" { second } else { 100 * i64::from(STEP_SECONDS) };
            world.heard.insert_mut(Name::from("shop"), at(last));
            world.heard.insert_mut(Name::from(heard), at(second));
            sizes.step(&world, &outlooks(second), &nobody, at(second)).pop().unwrap().size
        };
        for step in 0..=100 {
            ask(step, 1 + 1_200 * step as u64, "shop");
        }
        let before = ask(101, 1 + 1_200 * 101, "shop").wanted.unwrap();
        for step in 102..300 {
            let said = ask(step, 1 + 1_200 * 101, "bank");
            assert!(said.wanted.is_some_and(|wanted| wanted >= before), "{step}: {}", said.why);
        }
        let idle = (300..500).map(|step| ask(step, 1 + 1_200 * 101, "shop")).last().unwrap();
        assert_eq!(idle.wanted, Some(1), "heard again, and nobody asks: {}", idle.why);
    }

    fn autoscaler() -> AutoscalerRecord {
        AutoscalerRecord {
            key: ObjectKey::new("shop", "web"),
            uid: Uid::new("web"),
            resource_version: Name::from("1"),
            scales: target(),
            bounds: Bounds { min: 1, max: 9 },
            drive: None,
            keda: None,
            gitops_owner: None,
        }
    }

    #[test]
    fn what_an_autoscaler_owns_is_refused_by_name() {
        for (scaler, name) in [
            (Scaler::Hpa(Box::new(autoscaler())), "HorizontalPodAutoscaler web"),
            (Scaler::Keda { name: "queue".into() }, "ScaledObject queue"),
            (Scaler::Vpa { name: "fit".into() }, "VerticalPodAutoscaler fit"),
            (
                Scaler::Several(vec![
                    Scaler::Hpa(Box::new(autoscaler())),
                    Scaler::Keda { name: "queue".into() },
                ]),
                "HorizontalPodAutoscaler web and ScaledObject queue",
            ),
        ] {
            let (mut sizes, owned) = (Sizes::default(), BTreeMap::from([(target(), scaler)]));
            decide(&mut sizes, 1, Some(0.0), 0, &owned);
            let refused = decide(&mut sizes, 1, Some(70.0), 1, &owned);
            assert_eq!(refused.effect, SizeEffect::Refuse);
            assert!(refused.why.contains(name) && refused.why.contains("would be"), "{}", refused.why);
        }
    }

    #[test]
    fn the_floor_of_an_autoscaler_follows_and_goes_back_to_people_where_the_workload_says_so() {
        let driving = |replicas, backlog, second| {
            let mut snapshot = snapshot(replicas, backlog, second);
            let mut workload = (**snapshot.workloads.get(&key()).unwrap()).clone();
            if let Some(scaling) = &mut workload.permits.scaling {
                scaling.when_owned = WhenOwned::DriveBounds;
            }
            snapshot.commit(&ObjectChange::Workload(Change::Applied(Arc::new(workload))), at(second));
            snapshot
        };
        let driven = |now: Bounds| {
            let hold = Hold { by: "shop.jobs-1".into(), until: None };
            let drive = Some(Drive { hold, before: Bounds { min: 1, max: 9 }, set: now });
            let scaler = Scaler::Hpa(Box::new(AutoscalerRecord { bounds: now, drive, ..autoscaler() }));
            BTreeMap::from([(target(), scaler)])
        };
        let mut sizes = Sizes::default();
        let mut decide = |backlog, step: i64, scalers: &BTreeMap<ControllerKey, Scaler>| {
            let second = step * i64::from(STEP_SECONDS);
            let world = driving(3, Some(backlog), second);
            sizes.step(&world, &outlooks(second), scalers, at(second)).pop().unwrap().size
        };
        let own = BTreeMap::from([(target(), Scaler::Hpa(Box::new(autoscaler())))]);
        decide(0.0, 0, &own);
        let busy = decide(45.0, 1, &own);
        let wanted = busy.wanted.unwrap();
        assert_eq!(busy.effect, SizeEffect::DriveBounds { min: wanted, max: 9 }, "{}", busy.why);
        let there = driven(Bounds { min: u64::from(wanted), max: 9 });
        let mut step = 2;
        let back = loop {
            let said = decide(0.0, step, &there);
            if said.wanted.is_some_and(|wanted| wanted <= 1) || step > 2_000 {
                break said;
            }
            step += 1;
        };
        assert_eq!(
            back.effect,
            SizeEffect::DriveBounds { min: 1, max: 9 },
            "never below people's: {}",
            back.why
        );
    }

    #[test]
    fn what_was_kept_is_taken_up_again() {
        let (mut sizes, nobody) = (Sizes::default(), BTreeMap::new());
        for step in 0..20 {
            decide(&mut sizes, 4, Some(38.0), step, &nobody);
        }
        let second = 20 * i64::from(STEP_SECONDS);
        let all = sizes.step(&snapshot(4, Some(38.0), second), &outlooks(second), &nobody, at(second));
        let before = all[0].size.wanted.unwrap();
        let kept: Kept = serde_json::from_str(all[0].memory.as_deref().unwrap()).unwrap();
        let mut again = Sizes::new(Arc::new(BTreeMap::from([(key(), kept)])));
        let said = decide(&mut again, 1, None, 22, &nobody);
        assert_eq!(said.wanted, Some(before), "{}", said.why);
    }
}
