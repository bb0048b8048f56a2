//! The load of a named signal, minute by minute.

use crate::loads::Series;
use homeostat_knowledge::policy::LoadPolicy;
use homeostat_knowledge::{Snapshot, Timestamp, WorkloadPolicy};
use homeostat_scale::outlook::{LoadModel, OutlookConfig};

/// What was seen of a load in the present minute.
#[derive(Clone, Debug, Default)]
pub(super) struct Named {
    series: Series,
    sum: f64,
    count: u32,
}

impl Named {
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
        if let Some(value) = seen.value.filter(usable).filter(|_| seen.silent.is_empty()) {
            self.sum += value;
            self.count += 1;
        }
    }

    /// The mean of the minute that is over; `None` when the load was not seen in it. The next one begins.
    pub fn over(&mut self) -> Option<f64> {
        let mean = (self.count > 0).then(|| self.sum / f64::from(self.count));
        (self.sum, self.count) = (0.0, 0);
        mean
    }
}

/// Why there is no forecast of a load that was not seen in the last minute, and what to do; `why` where there is one.
pub(super) fn missing(load: &str, model: &LoadModel, config: &OutlookConfig, why: String) -> String {
    let check = "check what it asks in spec.signals, and its source";
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
