//! What load is coming: reads the snapshots every few seconds, for workloads with `spec.scaling` only: of the requests, of each
//! signal in `spec.scaling.loads`, and of `spec.scaling.backlog`.
//!
//! A minute is read when its data are there: just after it, or a little later where they come late. What was read is
//! forecast at once, as far as a tick has room; a load that leaves its band in the middle of a minute is forecast before
//! that is over. Beside the loop, not in it: nothing here is waited for by a decision. Every replica keeps its own series,
//! so that a new leader does not begin with nothing. After a restart a series goes on from what was kept of it, at quarter
//! hours; so does that of a workload that was away for less than an hour.

use crate::hearing::Hearing;
use crate::kept::{Kept, Memory};
use crate::paced;
use homeostat_console::Metrics;
use homeostat_knowledge::forecast::{ForecastPoint, Outlook, REQUESTS, load_of, load_signal};
use homeostat_knowledge::policy::{BACKLOG, CalendarEntry, LoadPolicy};
use homeostat_knowledge::{
    Clock, ControllerKind, ForecastSkill, Name, Snapshot, SnapshotSource, Timestamp, Uid, WorkloadKey,
    WorkloadPolicy,
};
use homeostat_scale::outlook::{Forecasting, KeptLoad, LoadModel, Meter, OutlookConfig, STEP_SECONDS};
use homeostat_scale::services::Expected;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

mod named;

use self::named::Named;

/// Series that are forecast, where memory allows it: the requests of each workload, and its other loads.
pub const MOST: usize = 10_000;
/// So many always: the bound must not stop what small clusters need.
const LEAST: usize = 100;
/// Other loads of one workload, as many as a Workload may name, and its backlog.
const LOADS: usize = 9;
/// Minutes of a backlog that its workers are told of one by one.
const SOON: usize = 10;
/// What one series may cost after two weeks, in bytes, and what everything else needs.
const BYTES_EACH: u64 = 400_000;
const BYTES_BESIDE: u64 = 128_000_000;
/// Series beyond that which are told so.
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

/// A workload, and the signal of its forecast: [`REQUESTS`], or that of a load (see [`load_signal`]).
pub type SeriesKey = (WorkloadKey, Name);

/// The requests of a workload.
pub fn requests(workload: &WorkloadKey) -> SeriesKey {
    (workload.clone(), Name::from(REQUESTS))
}

/// What is foreseen of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Foreseen {
    /// What is coming.
    pub outlook: Outlook,
    /// Of a backlog the next minutes one by one, where the forecast has skill: work that comes at once is next to nothing in
    /// the mean of five minutes.
    pub soon: Vec<Expected>,
    /// What is kept of its load.
    pub kept: Option<KeptLoad>,
    /// It found no room: it is not forecast, and its workload is not sized if these are its requests.
    pub left_out: bool,
}

/// The newest of each series.
pub type Outlooks = Arc<BTreeMap<SeriesKey, Arc<Foreseen>>>;

/// Everything that is known of one series.
struct Watched {
    /// Of its workload.
    uid: Uid,
    meter: Meter,
    hearing: Hearing,
    /// What was seen of a load in this minute; `None` for requests.
    named: Option<Box<Named>>,
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
    fn new(signal: &str, uid: Uid, model: LoadModel, forecasting: &Forecasting, now: Timestamp) -> Self {
        let outlook = forecasting.waiting(&model, now);
        Self {
            uid,
            meter: Meter::every(STEP_SECONDS),
            hearing: Hearing::default(),
            named: load_of(signal).map(|_| Box::default()),
            minute: None,
            read: None,
            due: false,
            early: None,
            foreseen: Arc::new(Foreseen { outlook, soon: Vec::new(), kept: None, left_out: false }),
            model,
        }
    }

    /// Reads the minute that is over, once. What was known until then and is not heard may still be on its way.
    fn read(
        &mut self,
        snapshot: &Snapshot,
        (key, signal): &SeriesKey,
        config: &OutlookConfig,
        now: Timestamp,
    ) {
        let (minute, into) = minute(now);
        if let Some(named) = &mut self.named {
            let policy = snapshot.workloads.get(key);
            let load = policy.and_then(|policy| Some((policy, load(policy, signal)?)));
            if load.is_some_and(|(_, load)| named.turns(load)) {
                self.model = LoadModel::new(config);
            }
            if self.minute != Some(minute) {
                if let Some(over) = self.minute {
                    self.model.observe(over, named.over());
                }
                self.minute = Some(minute);
                self.due = true;
            }
            if let Some((policy, load)) = load {
                named.note(snapshot, policy, load, now);
            }
            return;
        }
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
        if let Some(named) = &self.named {
            // Without a back-test the band has no width, and every load is out of it.
            let tested = self.foreseen.outlook.skill != ForecastSkill::Unknown;
            return if tested { named.out(band) } else { None };
        }
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

/// Series that find room in a memory limit (bytes): a process that is killed for its memory sizes nobody.
pub fn room(limit: Option<u64>) -> usize {
    let Some(limit) = limit else { return MOST };
    let room = limit.saturating_sub(BYTES_BESIDE) / BYTES_EACH;
    usize::try_from(room).unwrap_or(MOST).clamp(LEAST, MOST)
}

/// Bytes that this process may use before it is killed, as its container's cgroup says (version 2, then 1).
pub fn memory_limit() -> Option<u64> {
    let files = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    // "max" is no number: no limit.
    files.iter().find_map(|file| std::fs::read_to_string(file).ok())?.trim().parse().ok()
}

/// Keeps each series and forecasts it.
pub struct Forecaster {
    forecasting: Forecasting,
    watched: BTreeMap<SeriesKey, Watched>,
    left_out: BTreeMap<SeriesKey, Arc<Foreseen>>,
    left_out_in_all: usize,
    most: usize,
    memory: Memory,
}

impl Forecaster {
    /// Knows what was kept, and nothing else yet. It takes `most` series (see [`room`]).
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

    /// Series of workloads with `spec.scaling` that found no room.
    pub fn left_out(&self) -> usize {
        self.left_out_in_all
    }

    /// Reads one snapshot, every few seconds, and gives all outlooks; `None` when they are what they were.
    pub fn step(
        &mut self,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Option<BTreeMap<SeriesKey, Arc<Foreseen>>> {
        let mut news = self.follow(snapshot, now);
        for (key, watched) in &mut self.watched {
            watched.read(snapshot, key, self.forecasting.config(), now);
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
        let still = |(key, signal): &SeriesKey, uid: Option<&Uid>| {
            let policy = snapshot.workloads.get(key).filter(|policy| scaled(policy));
            policy
                .filter(|policy| uid.is_none_or(|uid| policy.uid == *uid))
                .is_some_and(|policy| **signal == *REQUESTS || load(policy, signal).is_some())
        };
        self.memory.forget(now);
        let gone = self.watched.iter().filter(|(series, watched)| !still(series, Some(&watched.uid)));
        let gone: Vec<SeriesKey> = gone.map(|(series, _)| series.clone()).collect();
        for series in gone {
            let Some(Watched { uid, model, .. }) = self.watched.remove(&series) else { continue };
            // It may come back.
            let kept = Kept { load: model.kept(), ..Kept::default() };
            self.memory.put_aside(series, uid, kept, now);
        }
        self.left_out.retain(|series, _| still(series, None));
        let mut news = before != (self.watched.len(), self.left_out.len());
        self.left_out_in_all = 0;
        let mut others = self.watched.keys().filter(|(_, signal)| **signal != *REQUESTS).count();
        let all = || snapshot.workloads.iter().filter(|(_, policy)| scaled(policy));
        // Without its requests a workload is not sized at all: they go before the other loads of all.
        for (key, policy) in all() {
            let series = requests(key);
            if !self.watched.contains_key(&series) && self.watched.len() >= self.most && others > 0 {
                let last = self.watched.keys().rev().find(|(_, signal)| **signal != *REQUESTS).cloned();
                if let Some(last) = last {
                    self.watched.remove(&last);
                    others -= 1;
                }
            }
            news |= self.watch(series, &policy.uid, now);
        }
        for (key, policy) in all() {
            for load in named_loads(policy) {
                news |= self.watch((key.clone(), load_signal(&load.signal)), &policy.uid, now);
            }
        }
        news
    }

    /// Watches a series from now on, or says that there is no room for it; whether that is news.
    fn watch(&mut self, series: SeriesKey, uid: &Uid, now: Timestamp) -> bool {
        if self.watched.contains_key(&series) {
            return false;
        }
        let config = self.forecasting.config();
        if self.watched.len() >= self.most {
            self.left_out_in_all += 1;
            if self.left_out.contains_key(&series) || self.left_out.len() >= MOST_TOLD {
                return false;
            }
            let what = match load_of(&series.1) {
                None => "this workload is neither forecast nor sized".to_owned(),
                Some(load) => format!("load {load} is not forecast; it counts as it is seen"),
            };
            let reason = format!(
                "workloads with spec.scaling have more than {} series (their requests, each of spec.scaling.loads and \
                 spec.scaling.backlog), as many as Homeostat has memory for: {what}; raise its memory limit \
                 (resources.limits.memory of the chart) by 0.4 MB for each, up to 10,000, or take spec.scaling out of others",
                self.most
            );
            let empty = self.forecasting.waiting(&LoadModel::new(config), now);
            let outlook = Outlook { reason, ..empty };
            let foreseen = Foreseen { outlook, soon: Vec::new(), kept: None, left_out: true };
            self.left_out.insert(series, Arc::new(foreseen));
            return true;
        }
        let kept = self.memory.take(&series, uid, |kept| kept.load.take());
        let model = kept.map_or_else(|| LoadModel::new(config), |kept| LoadModel::restored(config, &kept));
        self.left_out.remove(&series);
        let watched = Watched::new(&series.1, uid.clone(), model, &self.forecasting, now);
        self.watched.insert(series, watched);
        true
    }

    /// Forecasts what was read, the oldest forecast first, as far as a tick has room.
    fn forecast_due(&mut self, snapshot: &Snapshot, now: Timestamp) -> bool {
        let Self { forecasting, watched, .. } = self;
        let mut due: Vec<(&SeriesKey, &mut Watched)> =
            watched.iter_mut().filter(|(_, watched)| watched.due).collect();
        due.sort_by_key(|(_, watched)| watched.foreseen.outlook.made);
        let (mut looks, mut compared) = (0, 0);
        for ((key, signal), watched) in due {
            if looks >= PER_TICK {
                break;
            }
            let compare = compared < COMPARED_PER_TICK;
            // Without a comparison nothing can be said of it: it waits for the next tick.
            if !compare && watched.model.unchosen(forecasting.config()) {
                continue;
            }
            let before = watched.model.compared();
            let policy = snapshot.workloads.get(key);
            let carried = policy.and_then(|policy| carried(snapshot, policy, signal));
            let mut outlook = forecasting.look(&mut watched.model, carried, calendar(policy), compare, now);
            if let Some(load) = load_of(signal).filter(|_| watched.model.steps().last().is_none()) {
                outlook.reason = named::missing(load, &watched.model, forecasting.config(), outlook.reason);
            }
            compared += usize::from(watched.model.compared() != before);
            looks += 1;
            watched.due = false;
            if load_of(signal) == Some(BACKLOG) {
                named::recur(forecasting, &watched.model, &mut outlook);
            }
            let soon = soon(forecasting, &watched.model, &outlook, signal);
            let kept = watched.model.kept();
            watched.foreseen = Arc::new(Foreseen { outlook, soon, kept, left_out: false });
        }
        looks > 0
    }

    /// Forecasts what left its band before the minute is over, the farthest first, as far as a tick has room.
    fn forecast_early(&mut self, snapshot: &Snapshot, now: Timestamp) -> bool {
        let Self { forecasting, watched, .. } = self;
        let mut out: Vec<(&SeriesKey, &mut Watched, (f64, f64))> = watched
            .iter_mut()
            .filter_map(|(series, watched)| {
                let beyond = watched.out(snapshot, &series.0, now)?;
                Some((series, watched, beyond))
            })
            .collect();
        out.sort_by(|(.., one), (.., other)| other.1.total_cmp(&one.1));
        let some = !out.is_empty();
        for ((key, signal), watched, (load, _)) in out.into_iter().take(EARLY_PER_TICK) {
            let (minute, _) = minute(now);
            watched.early = Some(minute);
            let policy = snapshot.workloads.get(key);
            let carried = policy.and_then(|policy| carried(snapshot, policy, signal));
            let mut supposed = watched.model.supposing(minute, load);
            let mut outlook = forecasting.look(&mut supposed, carried, calendar(policy), false, now);
            if load_of(signal) == Some(BACKLOG) {
                named::recur(forecasting, &supposed, &mut outlook);
            }
            let mut soon = soon(forecasting, &supposed, &outlook, signal);
            if soon.pop().is_some() {
                // They begin after this minute; what came in it waits already.
                soon.insert(0, Expected { p50: 0.0, p90: 0.0 });
            }
            let kept = watched.foreseen.kept.clone();
            watched.foreseen = Arc::new(Foreseen { outlook, soon, kept, left_out: false });
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

/// The next minutes of a backlog one by one, where its forecast has skill.
fn soon(forecasting: &Forecasting, model: &LoadModel, outlook: &Outlook, signal: &str) -> Vec<Expected> {
    if load_of(signal) != Some(BACKLOG) || outlook.skill != ForecastSkill::Proven {
        return Vec::new();
    }
    let minutes = forecasting.soon(model, SOON).into_iter();
    minutes.map(|(p50, p90)| Expected { p50, p90 }).collect()
}

/// Runs to completion: it answers no requests, its runs are ordered instead.
fn completes(policy: &WorkloadPolicy) -> bool {
    matches!(policy.target.kind, ControllerKind::Job | ControllerKind::CronJob)
}

/// Sized by what is forecast of it.
fn scaled(policy: &WorkloadPolicy) -> bool {
    policy.permits.scaling.is_some() && !completes(policy)
}

/// The loads of a workload that are forecast.
fn named_loads(policy: &WorkloadPolicy) -> impl Iterator<Item = &LoadPolicy> {
    policy.permits.scaling.iter().flat_map(|scaling| &scaling.loads).take(LOADS)
}

/// The load that a forecast's signal is of.
fn load<'a>(policy: &'a WorkloadPolicy, signal: &str) -> Option<&'a LoadPolicy> {
    let name = load_of(signal)?;
    named_loads(policy).find(|load| *load.signal == *name)
}

/// Events that people declared for a workload.
fn calendar(policy: Option<&Arc<WorkloadPolicy>>) -> &[CalendarEntry] {
    let scaling = policy.and_then(|policy| policy.permits.scaling.as_ref());
    scaling.map(|scaling| scaling.calendar.as_slice()).unwrap_or_default()
}

/// What the most replicas carry of a load, in its unit, as far as that is known.
fn carried(snapshot: &Snapshot, policy: &WorkloadPolicy, signal: &str) -> Option<f64> {
    let each = match load(policy, signal) {
        // Items that come in a minute.
        Some(LoadPolicy { signal, due: Some(due), .. }) if **signal == *BACKLOG => {
            f64::from(STEP_SECONDS) / due.seconds_per_item
        }
        Some(load) => load.per_replica,
        None => snapshot.sizes.get(&policy.key)?.per_replica?,
    };
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
        Some((all, forecaster.left_out(), forecaster.most, forecaster.memory.dropped()))
    };
    paced::each(TICK_SECONDS, "forecasts", (snapshots, clock, stop), work, |news| {
        let Some((all, without_room, most, dropped)) = news else { return };
        metrics.analysis_dropped([("loads", dropped)].into_iter());
        if without_room != left_out {
            left_out = without_room;
            tracing::warn!(left_out, most, "Loads of workloads with spec.scaling are not forecast: too many");
        }
        let forecast = all.values().filter(|one| !one.left_out);
        metrics.forecasts(forecast.map(|one| one.outlook.skill), left_out);
        out.send_replace(Arc::new(all));
    })
    .await;
}

#[cfg(test)]
mod tests;
