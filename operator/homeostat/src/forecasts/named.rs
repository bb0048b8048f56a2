//! The load of a named signal, minute by minute; of a backlog, what came in each, or the most that waited.
//!
//! How long a queue is depends on the own replicas: those that are there before the work keep it short, and a forecast of its
//! length would then let them go. What arrives does not depend on them. It is what a queue grew by, and what was worked off
//! meanwhile; that is known where the work of one item is declared, and at least the growth where it was less. Elsewhere what
//! waits is all that there is, by its highest value in each minute, which is the nearest to what came.

use crate::loads::{Series, newest};
use homeostat_knowledge::forecast::{ForecastPoint, Outlook};
use homeostat_knowledge::policy::{BACKLOG, DuePolicy, LoadPolicy};
use homeostat_knowledge::{ForecastSkill, Snapshot, Timestamp, WorkloadPolicy};
use homeostat_scale::outlook::{Forecasting, LoadModel, OutlookConfig};

/// Looks at a minute before it says enough to be compared with its band.
const TELLING: u32 = 3;
/// Beside a band that is next to no width, less than this share of a load is no news.
const NEWS: f64 = 0.05;

/// What a minute of a load is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    /// The mean.
    Mean,
    /// The most.
    Most,
    /// What came.
    Came,
}

impl Of {
    fn load(load: &LoadPolicy) -> Self {
        match load.due {
            _ if *load.signal != *BACKLOG => Self::Mean,
            None => Self::Most,
            Some(_) => Self::Came,
        }
    }
}

/// What was seen of a load in the present minute.
#[derive(Clone, Debug, Default)]
pub(super) struct Named {
    series: Series,
    of: Option<Of>,
    sum: f64,
    count: u32,
    last: Option<Seen>,
}

/// A number of waiting items, when it was seen, and on how many ready replicas.
#[derive(Clone, Copy, Debug)]
struct Seen {
    at: Timestamp,
    items: f64,
    ready: f64,
}

impl Named {
    /// Whether from now on a minute is something else than before, so that nothing known of it holds any more.
    pub fn turns(&mut self, load: &LoadPolicy) -> bool {
        let of = Of::load(load);
        let turns = self.of.is_some_and(|before| before != of);
        if turns {
            (self.sum, self.count, self.last) = (0.0, 0, None);
        }
        self.of = Some(of);
        turns
    }

    /// Takes note of what the load is now. What is not seen whole, or is no load, does not count.
    pub fn note(
        &mut self,
        snapshot: &Snapshot,
        workload: &WorkloadPolicy,
        load: &LoadPolicy,
        now: Timestamp,
    ) {
        let seen = self.series.load(snapshot, workload, load, now);
        let usable = |value: &f64| value.is_finite() && *value >= 0.0;
        let Some(value) = seen.value.filter(usable).filter(|_| seen.silent.is_empty()) else {
            // What came while nobody looked is not known.
            self.last = None;
            return;
        };
        self.count += 1;
        match (Of::load(load), &load.due) {
            (Of::Mean, _) => self.sum += value,
            (Of::Most, _) | (Of::Came, None) => self.sum = self.sum.max(value),
            (Of::Came, Some(due)) => {
                let ready = snapshot.controllers.get(&workload.target).map_or(0, |found| found.ready.max(0));
                let at = newest(snapshot, &workload.key, &load.signal, now).unwrap_or(now);
                self.sum += self.came(Seen { at, items: value, ready: f64::from(ready) }, due);
            }
        }
    }

    /// Items that came since the number before this one: by how much there are more, and what the replicas that were ready
    /// all the time did of them. The declared work is what few items exceed, so it is rather more.
    fn came(&mut self, now: Seen, due: &DuePolicy) -> f64 {
        let Some(before) = self.last else {
            self.last = Some(now);
            return 0.0;
        };
        // The same answer again says nothing new.
        if now.at <= before.at {
            return 0.0;
        }
        self.last = Some(now);
        let seconds = now.at.duration_since(before.at).as_secs_f64();
        let could = now.ready.min(before.ready) * seconds / due.seconds_per_item;
        (now.items - before.items + could.min(before.items)).max(0.0)
    }

    /// The minute that is over; `None` when the load was not seen in it. The next one begins.
    pub fn over(&mut self) -> Option<f64> {
        let minute = self.so_far();
        (self.sum, self.count) = (0.0, 0);
        minute
    }

    /// The minute as if it ended now.
    fn so_far(&self) -> Option<f64> {
        let each = if self.averages() { f64::from(self.count) } else { 1.0 };
        (self.count > 0).then(|| self.sum / each)
    }

    fn averages(&self) -> bool {
        matches!(self.of, None | Some(Of::Mean))
    }

    /// The load of this minute so far, and how far it is out of the band in which it was expected, as a share of that;
    /// `None` unless it is out by more than the band is wide. Of what waits or came there can only be more by the end of the
    /// minute, so less of it says nothing yet.
    pub fn out(&self, band: &ForecastPoint) -> Option<(f64, f64)> {
        let so_far = self.so_far().filter(|_| self.count >= TELLING)?;
        let chance = (band.p90 - band.p10).max(NEWS * band.p90);
        let beyond = if so_far > band.p90 + chance {
            so_far - band.p90
        } else if self.averages() && so_far < band.p10 - chance {
            band.p10 - so_far
        } else {
            return None;
        };
        Some((so_far, beyond / band.p90.max(1.0)))
    }
}

/// A beat that fills a queue is the same each time, and the value of one cycle earlier cannot be beaten then. It foresees the
/// work all the same, which is what workers who only react do not.
pub(super) fn recur(forecasting: &Forecasting, model: &LoadModel, outlook: &mut Outlook) {
    if outlook.skill == ForecastSkill::Absent && forecasting.repeats(model) {
        outlook.skill = ForecastSkill::Proven;
        let why = &outlook.reason;
        outlook.reason = format!("it repeats itself, which the last value does not foresee; {why}");
    }
}

/// Why there is no forecast of a load that was not seen in the last minute, and what to do; `why` where there is one.
pub(super) fn missing(load: &str, model: &LoadModel, config: &OutlookConfig, why: String) -> String {
    let asks = if load == BACKLOG { BACKLOG } else { "spec.signals" };
    let check = format!("check what it asks in {asks}, and its source");
    match model.steps().silent() {
        _ if model.steps().usable() < config.first_choice => format!(
            "nothing is known yet: {} of {} minutes with a value of signal {load} were seen; {check}",
            model.steps().usable(),
            config.first_choice
        ),
        Some(silent) if silent >= config.forecast.horizon => {
            format!("signal {load} was not seen for {silent} min; {check}")
        }
        _ => why,
    }
}
