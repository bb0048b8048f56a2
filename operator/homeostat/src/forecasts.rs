//! What load is coming: reads the snapshots every few seconds, for workloads with `spec.scaling` only.
//!
//! A minute is read when its data are there: just after it, or a little later where they come late. What was read is
//! forecast at once, as far as a tick has room; a load that leaves its band in the middle of a minute is forecast before
//! that is over. Beside the loop, not in it: nothing here is waited for by a decision. Every replica keeps its own series,
//! so that a new leader does not begin with nothing. After a restart a series goes on from what was kept of it, at quarter
//! hours.

use crate::hearing::Hearing;
use crate::kept::Memory;
use crate::paced;
use homeostat_console::Metrics;
use homeostat_knowledge::forecast::{ForecastPoint, Outlook};
use homeostat_knowledge::{
    Clock, ControllerKind, Snapshot, SnapshotSource, Timestamp, WorkloadKey, WorkloadPolicy,
};
use homeostat_scale::outlook::{Forecasting, KeptLoad, LoadModel, Meter, STEP_SECONDS};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Workloads that are forecast and sized, where memory allows it.
pub const MOST: usize = 10_000;
/// So many always: the bound must not stop what small clusters need.
const LEAST: usize = 100;
/// What one workload may cost after two weeks, in bytes, and what everything else needs.
const BYTES_EACH: u64 = 400_000;
const BYTES_BESIDE: u64 = 128_000_000;
/// Workloads beyond that which are told so.
const MOST_TOLD: usize = 10_000;
/// Seconds between two looks at what arrived.
const TICK_SECONDS: u32 = 5;
/// Forecasts of a tick; the rest has its turn in the next, the oldest first. All have it within half a minute.
const PER_TICK: usize = 2_000;
/// Comparisons of models in a tick, which take far longer than a forecast.
const COMPARED_PER_TICK: usize = 50;
/// Forecasts of a tick that come before their time.
const EARLY_PER_TICK: usize = 100;
/// The data of a minute that is over are waited for so long, in seconds: they travel in batches.
const LATE: i64 = 15;
/// Before so many seconds of it a minute says too little to be compared with its band.
const TELLING: f64 = 15.0;
/// Chance alone moves a count by so many of its roots.
const CHANCE: f64 = 3.0;

/// What is foreseen of one workload.
#[derive(Clone, Debug, PartialEq)]
pub struct Foreseen {
    /// What is coming.
    pub outlook: Outlook,
    /// What is kept of its load.
    pub kept: Option<KeptLoad>,
    /// It found no room: it is neither forecast nor sized.
    pub left_out: bool,
}

/// The newest of each workload.
pub type Outlooks = Arc<BTreeMap<WorkloadKey, Arc<Foreseen>>>;

/// Everything that is known of one workload.
struct Watched {
    meter: Meter,
    hearing: Hearing,
    model: LoadModel,
    /// The minute in which it was read last.
    minute: Option<i64>,
    /// When it was read last, and what was counted by then.
    read: Option<(Timestamp, u64)>,
    /// It was read and not forecast since.
    due: bool,
    /// The minute in which it was forecast before its time.
    early: Option<i64>,
    foreseen: Arc<Foreseen>,
}

impl Watched {
    fn new(model: LoadModel, forecasting: &Forecasting, now: Timestamp) -> Self {
        let outlook = forecasting.waiting(&model, now);
        Self {
            meter: Meter::every(STEP_SECONDS),
            hearing: Hearing::default(),
            minute: None,
            read: None,
            due: false,
            early: None,
            foreseen: Arc::new(Foreseen { outlook, kept: None, left_out: false }),
            model,
        }
    }

    /// Reads the minute that is over, once. What was known until then and is not heard may still be on its way.
    fn read(&mut self, snapshot: &Snapshot, key: &WorkloadKey, now: Timestamp) {
        let (minute, into) = minute(now);
        if self.minute == Some(minute) {
            return;
        }
        let answered = self.hearing.answered(snapshot, key, now).map(|(answered, _)| answered);
        if answered.is_none() && self.read.is_some() && into < LATE {
            return;
        }
        self.minute = Some(minute);
        self.read = answered.map(|answered| (now, answered));
        if let Some(step) = self.meter.read(now, answered) {
            self.model.observe(step.number, step.rate);
        }
        self.due = true;
    }

    /// The load of this minute so far, and how far it is out of the band in which it was expected, as a share of that; `None`
    /// inside of it, where chance alone explains it, and after an early forecast in the same minute.
    fn out(&self, snapshot: &Snapshot, key: &WorkloadKey, now: Timestamp) -> Option<(f64, f64)> {
        if self.due || self.early == Some(minute(now).0) {
            return None;
        }
        let band = band(&self.foreseen.outlook, now)?;
        let (at, before) = self.read?;
        let seconds = now.duration_since(at).as_secs_f64();
        // A count that stands still may be for want of hearing it.
        let grown = snapshot.health.get(key)?.answered.checked_sub(before).filter(|grown| *grown > 0)? as f64;
        if seconds < TELLING {
            return None;
        }
        let (low, high) = (band.p10 * seconds, band.p90 * seconds);
        let beyond = if grown > high + CHANCE * high.max(1.0).sqrt() {
            grown - high
        } else if grown < low - CHANCE * low.max(1.0).sqrt() {
            low - grown
        } else {
            return None;
        };
        Some((grown / seconds, beyond / high.max(1.0)))
    }
}

/// Workloads that find room in a memory limit (bytes): a process that is killed for its memory sizes nobody.
pub fn room(limit: Option<u64>) -> usize {
    let Some(limit) = limit else { return MOST };
    let room = limit.saturating_sub(BYTES_BESIDE) / BYTES_EACH;
    usize::try_from(room).unwrap_or(MOST).clamp(LEAST, MOST)
}

/// Keeps a series per workload and forecasts each.
pub struct Forecaster {
    forecasting: Forecasting,
    watched: BTreeMap<WorkloadKey, Watched>,
    left_out: BTreeMap<WorkloadKey, Arc<Foreseen>>,
    left_out_in_all: usize,
    most: usize,
    memory: Memory,
}

impl Forecaster {
    /// Knows what was kept, and nothing else yet. It takes `most` workloads (see [`room`]).
    pub fn new(forecasting: Forecasting, memory: Memory, most: usize) -> Self {
        Self {
            forecasting,
            watched: BTreeMap::new(),
            left_out: BTreeMap::new(),
            left_out_in_all: 0,
            most,
            memory,
        }
    }

    /// Workloads with `spec.scaling` that found no room.
    pub fn left_out(&self) -> usize {
        self.left_out_in_all
    }

    /// Reads one snapshot, every few seconds, and gives all outlooks; `None` when they are what they were.
    pub fn step(
        &mut self,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Option<BTreeMap<WorkloadKey, Arc<Foreseen>>> {
        let mut news = self.follow(snapshot, now);
        for (key, watched) in &mut self.watched {
            watched.read(snapshot, key, now);
        }
        news |= self.forecast_due(snapshot, now);
        news |= self.forecast_early(snapshot, now);
        news.then(|| {
            let watched = self.watched.iter().map(|(key, watched)| (key, &watched.foreseen));
            watched.chain(&self.left_out).map(|(key, one)| (key.clone(), Arc::clone(one))).collect()
        })
    }

    /// Watches what is scaled, as far as there is room; whether that is another set than before.
    fn follow(&mut self, snapshot: &Snapshot, now: Timestamp) -> bool {
        let before = (self.watched.len(), self.left_out.len());
        let scaled = |policy: &WorkloadPolicy| policy.permits.scaling.is_some() && !completes(policy);
        let still = |key: &WorkloadKey| snapshot.workloads.get(key).is_some_and(|policy| scaled(policy));
        self.watched.retain(|key, _| still(key));
        self.left_out.retain(|key, _| still(key));
        let mut news = before != (self.watched.len(), self.left_out.len());
        self.left_out_in_all = 0;
        for (key, _) in snapshot.workloads.iter().filter(|(_, policy)| scaled(policy)) {
            if self.watched.contains_key(key) {
                continue;
            }
            let config = self.forecasting.config();
            if self.watched.len() >= self.most {
                self.left_out_in_all += 1;
                if !self.left_out.contains_key(key) && self.left_out.len() < MOST_TOLD {
                    let reason = format!(
                        "more than {} workloads have spec.scaling, as many as Homeostat has memory for: this one is neither \
                         forecast nor sized; raise its memory limit (resources.limits.memory of the chart) by 0.4 MB for \
                         each, up to 10,000, or take it out of others",
                        self.most
                    );
                    let empty = self.forecasting.waiting(&LoadModel::new(config), now);
                    let outlook = Outlook { reason, ..empty };
                    let told = Arc::new(Foreseen { outlook, kept: None, left_out: true });
                    self.left_out.insert(key.clone(), told);
                    news = true;
                }
                continue;
            }
            let kept = self.memory.get(key).and_then(|kept| kept.load.as_ref());
            let model = kept.map_or_else(|| LoadModel::new(config), |kept| LoadModel::restored(config, kept));
            self.watched.insert(key.clone(), Watched::new(model, &self.forecasting, now));
            self.left_out.remove(key);
            news = true;
        }
        news
    }

    /// Forecasts what was read, the oldest forecast first, as far as a tick has room.
    fn forecast_due(&mut self, snapshot: &Snapshot, now: Timestamp) -> bool {
        let Self { forecasting, watched, .. } = self;
        let mut due: Vec<(&WorkloadKey, &mut Watched)> =
            watched.iter_mut().filter(|(_, watched)| watched.due).collect();
        due.sort_by_key(|(_, watched)| watched.foreseen.outlook.made);
        let (mut looks, mut compared) = (0, 0);
        for (key, watched) in due {
            if looks >= PER_TICK {
                break;
            }
            let compare = compared < COMPARED_PER_TICK;
            // Without a comparison nothing can be said of it: it waits for the next tick.
            if !compare && watched.model.unchosen(forecasting.config()) {
                continue;
            }
            let before = watched.model.compared();
            let carried = snapshot.workloads.get(key).and_then(|policy| carried(snapshot, policy));
            let outlook = forecasting.look(&mut watched.model, carried, compare, now);
            compared += usize::from(watched.model.compared() != before);
            looks += 1;
            watched.due = false;
            let kept = watched.model.kept();
            watched.foreseen = Arc::new(Foreseen { outlook, kept, left_out: false });
        }
        looks > 0
    }

    /// Forecasts what left its band before the minute is over, the farthest first, as far as a tick has room.
    fn forecast_early(&mut self, snapshot: &Snapshot, now: Timestamp) -> bool {
        let Self { forecasting, watched, .. } = self;
        let mut out: Vec<(&WorkloadKey, &mut Watched, (f64, f64))> = watched
            .iter_mut()
            .filter_map(|(key, watched)| {
                let beyond = watched.out(snapshot, key, now)?;
                Some((key, watched, beyond))
            })
            .collect();
        out.sort_by(|(.., one), (.., other)| other.1.total_cmp(&one.1));
        let some = !out.is_empty();
        for (key, watched, (load, _)) in out.into_iter().take(EARLY_PER_TICK) {
            let (minute, _) = minute(now);
            watched.early = Some(minute);
            let carried = snapshot.workloads.get(key).and_then(|policy| carried(snapshot, policy));
            let mut supposed = watched.model.supposing(minute, load);
            let outlook = forecasting.look(&mut supposed, carried, false, now);
            let kept = watched.foreseen.kept.clone();
            watched.foreseen = Arc::new(Foreseen { outlook, kept, left_out: false });
        }
        some
    }
}

/// The minute since 1970, and the seconds into it.
fn minute(now: Timestamp) -> (i64, i64) {
    let step = i64::from(STEP_SECONDS);
    (now.as_second().div_euclid(step), now.as_second().rem_euclid(step))
}

/// What was expected for this moment.
fn band(outlook: &Outlook, now: Timestamp) -> Option<&ForecastPoint> {
    let begun = outlook.points.iter().take_while(|point| point.at <= now).last();
    begun.or_else(|| outlook.points.first())
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

/// Forecasts until `stop`: just after each full tick, newest result only.
pub async fn run(
    mut forecaster: Forecaster,
    snapshots: Arc<dyn SnapshotSource>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    out: watch::Sender<Outlooks>,
    stop: CancellationToken,
) {
    let mut left_out = 0;
    let work = move |snapshot: &Snapshot, now| {
        let all = forecaster.step(snapshot, now)?;
        Some((all, forecaster.left_out(), forecaster.most))
    };
    paced::each(TICK_SECONDS, "forecasts", (snapshots, clock, stop), work, |news| {
        let Some((all, without_room, most)) = news else { return };
        if without_room != left_out {
            left_out = without_room;
            tracing::warn!(left_out, most, "Workloads with spec.scaling are not forecast: too many");
        }
        let forecast = all.values().filter(|one| !one.left_out);
        metrics.forecasts(forecast.map(|one| one.outlook.skill), left_out);
        out.send_replace(Arc::new(all));
    })
    .await;
}

#[cfg(test)]
mod tests;
