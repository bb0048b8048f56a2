//! How many replicas each workload with `spec.scaling` should have: decided every 15 s from the newest snapshot and the
//! newest outlook. What is decided goes to the loop, which makes plans of it, and to the writer of `Forecast` objects.
//!
//! Every replica decides, so that a new leader has learnt what the old one had; only the leader acts and writes.

use crate::forecasts::{Foreseen, Outlooks, SeriesKey, requests};
use crate::hearing::Hearing;
use crate::kept::{Kept, Memory};
use crate::loads::Series;
use crate::paced;
use crate::quotas::Quotas;
use crate::standing::{self, Standing};
use homeostat_cluster::forecasts::Forecasts;
use homeostat_console::Metrics;
use homeostat_knowledge::forecast::{
    Outlook, PodAdvice, REQUESTS, Scaler, Scalers, SizeTrouble, load_signal,
};
use homeostat_knowledge::policy::{Bounds, ScalingPolicy};
use homeostat_knowledge::records::ControllerKey;
use homeostat_knowledge::{
    Clock, ControllerRecord, ForecastRecord, ForecastSkill, IncidentState, Name, SignedDuration, SizeAdvice,
    Snapshot, SnapshotSource, Timestamp, Uid, WorkloadKey, WorkloadPolicy,
};
use homeostat_plan::sizes::{newest, newest_of_pods, told};
use homeostat_scale::outlook::Meter;
use homeostat_scale::services::{Expected, Owner};
use homeostat_scale::sizer::{Requests, STEP_SECONDS, Seen, SetupError, Sizer, calendar, policy};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Replicas that have not changed for so long are what the load of a step was on.
const SETTLED: SignedDuration = SignedDuration::from_secs(60);
/// Points of an outlook that the decision looks at: ten minutes.
const AHEAD: usize = 2;
/// A forecast is made once a minute; one that is older than this says nothing of the minutes that come.
const RENEWED: SignedDuration = SignedDuration::from_secs(180);
/// Share of requests that may be outside of the objective where the Workload names none.
const ALLOWED: f64 = 0.01;

/// Everything that is kept of one workload.
struct Sized {
    uid: Uid,
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
    standing: Standing,
    memory: Memory,
    /// Parts of what is kept that found no room at the last step.
    dropped: usize,
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
        outlooks: &BTreeMap<SeriesKey, Arc<Foreseen>>,
        scalers: &BTreeMap<ControllerKey, Scaler>,
        now: Timestamp,
    ) -> Vec<ForecastRecord> {
        self.put_aside(snapshot, outlooks, now);
        let (changes, changes_of_pods) = (newest(snapshot), newest_of_pods(snapshot));
        let mut quotas = Quotas::of(snapshot);
        let mut all = Vec::with_capacity(outlooks.len());
        let mut dropped = 0;
        let mut text = |kept: Kept| {
            let (text, without_room) = kept.text();
            dropped += without_room;
            text
        };
        for ((key, signal), foreseen) in by_criticality(snapshot, outlooks) {
            let Foreseen { outlook, kept: load, left_out, .. } = &**foreseen;
            let Some(workload) = snapshot.workloads.get(key) else { continue };
            let Some(scaling) = &workload.permits.scaling else { continue };
            let mut record = ForecastRecord {
                workload: key.clone(),
                workload_uid: workload.uid.clone(),
                tenant: snapshot.tenant_of_namespace(&key.namespace).map(|tenant| tenant.name.clone()),
                signal: signal.clone(),
                mode: scaling.mode,
                replicas: count(snapshot.controllers.get(&workload.target).map_or(0, |one| one.ready)),
                outlook: outlook.clone(),
                // No size follows from the forecast of one load by itself.
                size: SizeAdvice::keep(now),
                memory: None,
            };
            if **signal != *REQUESTS {
                record.memory = text(Kept { load: load.clone(), ..Kept::default() });
                all.push(record);
                continue;
            }
            let owner = owner(scalers.get(&workload.target));
            let mut size = if *left_out {
                self.sized.remove(key);
                nothing(now, SizeTrouble::TooMany, outlook.reason.clone())
            } else {
                self.size(snapshot, workload, scaling, outlooks, &owner, now)
            };
            quotas.keep(snapshot, workload, &owner, &mut size, now);
            let kept = snapshot.sizes.get(key).and_then(|before| before.done.clone());
            size.done = kept.or_else(|| changes.get(key).map(|action| told(action)));
            size.pod = if *left_out { None } else { self.pod(snapshot, workload, now) };
            if let Some(pod) = &mut size.pod {
                let before = snapshot.sizes.get(key).and_then(|before| before.pod.as_ref()?.done.clone());
                pod.done = before.or_else(|| changes_of_pods.get(key).map(|action| told(action)));
                size.why = standing::beside(&size.why, pod);
                if standing::wrong(snapshot, workload, now).is_some()
                    && !size.troubles.contains(&SizeTrouble::SignalNotUsable)
                {
                    size.troubles.push(SizeTrouble::SignalNotUsable);
                    size.troubles.sort_unstable();
                }
            }
            record.size = size;
            let size = self.sized.get(key).map(|sized| sized.sizer.kept());
            record.memory = text(Kept { size, load: load.clone(), pod: self.standing.kept(key) });
            all.push(record);
        }
        // Who shows them counts on the order of names.
        all.sort_by(|one, other| {
            one.workload.cmp(&other.workload).then_with(|| one.signal.cmp(&other.signal))
        });
        if dropped != self.dropped {
            self.dropped = dropped;
            tracing::warn!(
                dropped,
                "Parts of what a restart must not forget find no room in their Forecasts"
            );
        }
        all
    }

    /// Puts aside what is known of workloads that are not sized now: they may come back. Nothing goes to another one of the name.
    fn put_aside(
        &mut self,
        snapshot: &Snapshot,
        outlooks: &BTreeMap<SeriesKey, Arc<Foreseen>>,
        now: Timestamp,
    ) {
        self.memory.forget(now);
        let stays = |key: &WorkloadKey, sized: &Sized| {
            outlooks.contains_key(&requests(key))
                && snapshot.workloads.get(key).is_some_and(|workload| workload.uid == sized.uid)
        };
        let gone = self.sized.iter().filter(|(key, sized)| !stays(key, sized));
        let gone: Vec<WorkloadKey> = gone.map(|(key, _)| key.clone()).collect();
        for key in gone {
            let Some(Sized { uid, sizer, .. }) = self.sized.remove(&key) else { continue };
            let kept = Kept { size: Some(sizer.kept()), ..Kept::default() };
            self.memory.put_aside(requests(&key), uid, kept, now);
        }
        for (key, uid, pod) in self.standing.follow(snapshot) {
            let kept = Kept { pod: Some(pod), ..Kept::default() };
            self.memory.put_aside(requests(&key), uid, kept, now);
        }
    }

    /// What each pod of a workload should ask for, going on from what was kept.
    fn pod(
        &mut self,
        snapshot: &Snapshot,
        workload: &WorkloadPolicy,
        now: Timestamp,
    ) -> Option<Box<PodAdvice>> {
        let Self { standing, memory, .. } = self;
        let kept = || memory.take(&requests(&workload.key), &workload.uid, |kept| kept.pod.take());
        standing.advise(snapshot, workload, kept, now)
    }

    fn size(
        &mut self,
        snapshot: &Snapshot,
        workload: &WorkloadPolicy,
        scaling: &ScalingPolicy,
        outlooks: &BTreeMap<SeriesKey, Arc<Foreseen>>,
        owner: &Owner,
        now: Timestamp,
    ) -> SizeAdvice {
        let nothing = |trouble: SizeTrouble, why: String| nothing(now, trouble, why);
        let asked = match policy(scaling, workload.permits.replicas, workload.archetype) {
            Ok(asked) => asked,
            Err(error @ SetupError::NoBounds) => return nothing(SizeTrouble::NoBounds, error.to_string()),
            Err(error) => return nothing(SizeTrouble::InvalidSetting, error.to_string()),
        };
        let Some(controller) = snapshot.controllers.get(&workload.target) else {
            let why = format!("what workload {} targets is not there", workload.key);
            return nothing(SizeTrouble::TargetNotFound, why);
        };
        if !self.sized.contains_key(&workload.key) {
            match Sizer::new(asked, allowed(workload), now) {
                Ok(mut sizer) => {
                    let series = requests(&workload.key);
                    if let Some(kept) = self.memory.take(&series, &workload.uid, |kept| kept.size.take())
                        && let Err(error) = sizer.restore(&kept)
                    {
                        return nothing(SizeTrouble::InvalidSetting, error.to_string());
                    }
                    self.sized.insert(
                        workload.key.clone(),
                        Sized {
                            uid: workload.uid.clone(),
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
                Err(error) => return nothing(SizeTrouble::InvalidSetting, error.to_string()),
            }
        }
        let Some(sized) = self.sized.get_mut(&workload.key) else {
            return nothing(SizeTrouble::NothingSeen, "nothing is kept of it".to_owned());
        };
        if *sized.sizer.policy() != asked
            && let Err(error) = sized.sizer.follow(asked)
        {
            return nothing(SizeTrouble::InvalidSetting, error.to_string());
        }
        if sized.settled.0 != shape(controller) {
            sized.settled = (shape(controller), now);
        }
        let counts = sized.hearing.answered(snapshot, &workload.key, now);
        let Some(step) = sized.meter.read(now, counts.map(|(answered, _)| answered)) else {
            // The same step again: what was decided stands.
            let early = || nothing(SizeTrouble::NothingSeen, "nothing was seen yet".to_owned());
            return sized.advice.clone().unwrap_or_else(early);
        };
        let outside = counts.map(|(_, outside)| outside);
        let grown = outside.zip(sized.outside).map_or(0, |(after, before)| after.saturating_sub(before));
        sized.outside = outside;
        let hurts = snapshot.overloaded(&workload.key);
        let mut loads = sized.series.read(snapshot, workload, scaling, now);
        let ahead = |series: &SeriesKey| outlooks.get(series).and_then(|one| expected(&one.outlook, now));
        for load in &mut loads {
            let Some(foreseen) = outlooks.get(&(workload.key.clone(), load_signal(&load.name))) else {
                continue;
            };
            load.soon = soon(foreseen, now);
            // Of what comes in a backlog no size follows by weighing.
            load.expected = expected(&foreseen.outlook, now).filter(|_| load.due.is_none());
        }
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
            expected: ahead(&requests(&workload.key)),
            calendar,
            hurts,
        };
        let mut advice = sized.sizer.decide(now, &seen, owner);
        if !wrong.is_empty() {
            advice.troubles.push(SizeTrouble::CalendarNotUsable);
            advice.troubles.sort_unstable();
        }
        for wrong in wrong {
            advice.why.push_str("; ");
            advice.why.push_str(&wrong);
        }
        sized.advice = Some(advice.clone());
        advice
    }
}

/// Who has what a quota leaves first: the most critical workload, of alike ones the first by name.
fn by_criticality<'a>(
    snapshot: &Snapshot,
    outlooks: &'a BTreeMap<SeriesKey, Arc<Foreseen>>,
) -> Vec<(&'a SeriesKey, &'a Arc<Foreseen>)> {
    let mut all: Vec<_> = outlooks.iter().collect();
    all.sort_by_cached_key(|((key, _), _)| Reverse(snapshot.workloads.get(key).map(|one| one.criticality)));
    all
}

/// Nothing can be said, for this reason.
fn nothing(now: Timestamp, trouble: SizeTrouble, why: String) -> SizeAdvice {
    SizeAdvice { why, troubles: vec![trouble], ..SizeAdvice::keep(now) }
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
    // A point stands for the time until the next one: the first that counts has begun.
    let begun = outlook.points.partition_point(|point| point.at <= now).saturating_sub(1);
    let ahead = || outlook.points.iter().skip(begun).take(AHEAD);
    let most = |values: &mut dyn Iterator<Item = f64>| values.max_by(f64::total_cmp);
    let p50 = most(&mut ahead().map(|point| point.p50))?;
    let p90 = most(&mut ahead().map(|point| point.p90))?;
    Some(Expected { p50, p90 })
}

/// The next minutes of a backlog one by one; nothing of a forecast that was not renewed.
fn soon(foreseen: &Foreseen, now: Timestamp) -> Vec<Expected> {
    let fresh = now.duration_since(foreseen.outlook.made) <= RENEWED;
    if fresh { foreseen.soon.clone() } else { Vec::new() }
}

/// Decides until `stop`: just after each full step, newest result only.
pub async fn run(
    world: (Arc<dyn SnapshotSource>, Arc<dyn Clock>, CancellationToken),
    metrics: Metrics,
    memory: Memory,
    outlooks: watch::Receiver<Outlooks>,
    scalers: watch::Receiver<Arc<Scalers>>,
    out: watch::Sender<Forecasts>,
) {
    let mut sizes = Sizes::new(memory);
    let work = move |snapshot: &Snapshot, now| {
        let (outlooks, scalers) = (Arc::clone(&outlooks.borrow()), Arc::clone(&scalers.borrow()));
        (sizes.step(snapshot, &outlooks, &scalers, now), sizes.memory.dropped())
    };
    paced::each(STEP_SECONDS, "decisions about sizes", world, work, |(all, dropped)| {
        metrics.analysis_dropped([("sizes", dropped)].into_iter());
        out.send_replace(Some(Arc::new(all)));
    })
    .await;
}

#[cfg(test)]
mod tests;
