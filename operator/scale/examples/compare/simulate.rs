//! Virtual time: what a policy asks for, when replicas are ready, where the load was more than they could carry.

use super::data::Series;

/// Seconds from asking for a replica to its readiness.
pub const START: usize = 30;
/// Seconds between two looks of a policy.
pub const SYNC: usize = 15;

/// A way to choose a number of replicas. It is told what was, never what comes.
pub trait Policy {
    /// Called at every look with the loads since the last call, in replicas' worth, oldest first, and the
    /// replicas that exist, ready or starting. Returns how many there should be.
    fn decide(&mut self, seconds: usize, loads: &[f64], replicas: usize) -> usize;
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Minutes in which the load was above the capacity of the ready replicas.
    pub violation_minutes: f64,
    /// Minutes of replicas, ready or starting.
    pub replica_minutes: f64,
    /// How often the number changed.
    pub changes: usize,
}

/// Replicas that carry a load.
pub fn needed(load: f64) -> usize {
    (load - 1e-9).ceil().max(1.0) as usize
}

/// Everyone starts with twice what the first value needs, ready.
pub fn initial(series: &Series) -> usize {
    needed(2.0 * series.loads.first().copied().unwrap_or(0.0))
}

/// Runs a policy over a series. The newest replicas go first, so a replica is ready when the total has not been below it
/// for the time of a start.
pub fn run(series: &Series, policy: &mut dyn Policy) -> Outcome {
    run_every(series, policy, SYNC, 0)
}

/// The same with a look every `seconds`, the first of them `phase` seconds later.
pub fn run_every(series: &Series, policy: &mut dyn Policy, seconds: usize, phase: usize) -> Outcome {
    let (sync, start, phase) = (seconds / series.step, START / series.step, phase / series.step);
    let mut totals = Vec::with_capacity(series.loads.len());
    let mut total = initial(series);
    let mut changes = 0;
    let mut violated = 0_usize;
    for (step, load) in series.loads.iter().enumerate() {
        if step >= sync + phase && (step - phase) % sync == 0 {
            let wanted = policy.decide(step * series.step, &series.loads[step - sync..step], total);
            changes += usize::from(wanted != total);
            total = wanted;
        }
        totals.push(total);
        let ready = totals[step.saturating_sub(start)..].iter().copied().min().unwrap_or(total);
        violated += usize::from(*load > ready as f64 + 1e-9);
    }
    let minutes = series.step as f64 / 60.0;
    Outcome {
        violation_minutes: violated as f64 * minutes,
        replica_minutes: totals.iter().sum::<usize>() as f64 * minutes,
        changes,
    }
}

/// The fewest replica-minutes without a violation, by one who knows what comes: a replica has to exist for the time of a
/// start before it is needed.
pub fn oracle(series: &Series) -> f64 {
    let start = START / series.step;
    let ahead = |step: usize| {
        let end = (step + start + 1).min(series.loads.len());
        series.loads[step..end].iter().map(|load| needed(*load)).max().unwrap_or(1)
    };
    (0..series.loads.len()).map(ahead).sum::<usize>() as f64 * series.step as f64 / 60.0
}
