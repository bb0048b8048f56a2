//! How the planner decides.

use super::super::ahead::Fill;
use crate::size::{CpuSettings, MemorySettings};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// How the planner decides. `Default` is shipped.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Settings {
    /// Time from the creation of a pod until its program runs.
    pub pod_start: SignedDuration,
    /// Quantile of run time planned with, in deviations of the logarithm.
    pub deviations: f64,
    /// Share of its window that a run of which nothing is known is assumed to take.
    pub unknown_share: f64,
    /// Most that a tenant which was late, or a run for whose second try time is kept, comes forward.
    pub most_credit: SignedDuration,
    /// Chance of failing from which on time is kept for one more try.
    pub retry_from: f64,
    /// Memory.
    pub memory: MemorySettings,
    /// CPU.
    pub cpu: CpuSettings,
    /// A run that is past its latest start and has no room lets others pass that end so long after that at most.
    pub lets_pass: SignedDuration,
    /// Runs looked at in each queue when the first does not fit.
    pub look: usize,
    /// What known work may fill before a run that can wait is held back.
    pub fill: Fill,
    /// Jobs that may be declared.
    pub most_jobs: usize,
    /// Runs that may wait or run; more are refused.
    pub most_runs: usize,
}

impl Default for Settings {
    /// 79th percentile of run times, 5 s to start a pod, ten minutes of credit, two hours in which late runs let others pass.
    fn default() -> Self {
        Self {
            pod_start: SignedDuration::from_secs(5),
            deviations: 0.8,
            unknown_share: 0.3,
            most_credit: SignedDuration::from_mins(10),
            retry_from: 0.001,
            memory: MemorySettings::default(),
            cpu: CpuSettings::default(),
            lets_pass: SignedDuration::from_hours(2),
            look: 16,
            fill: Fill { now: 0.62, next: 0.85 },
            most_jobs: 100_000,
            most_runs: 200_000,
        }
    }
}
