//! Right size: CPU and memory requests of one pod from the history of its runs.
//!
//! The 95th percentile of the peaks with a margin, newer runs counting more, as the recommenders of VPA do by a decaying
//! histogram; memory also grows with its trend and after a kill. A kill says that more is needed, not how much: each raises
//! the floor by a fixed factor until a run has ended well above it.

use serde::{Deserialize, Serialize};

/// What one run, or one hour of a service, has used.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU cores: a high percentile within the run.
    pub cpu: f64,
    /// Bytes of memory: the peak.
    pub memory: f64,
    /// Limit of memory that the run was killed at, if it was.
    pub killed_at: Option<f64>,
}

/// Least and most of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// Least.
    pub min: f64,
    /// Most.
    pub max: f64,
}

/// How a size is found. `Default` is the shipped setting.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sizing {
    /// Bounds of CPU, in cores.
    pub cpu: Range,
    /// Bounds of memory, in bytes.
    pub memory: Range,
    /// What a pod gets before anything is known: cores and bytes.
    pub unknown: (f64, f64),
    /// Percentile, as a share.
    pub percentile: f64,
    /// Margin on it, as a share.
    pub margin: f64,
    /// After a kill, at least so many times the limit that it was killed at.
    pub after_kill: f64,
    /// Runs after which an old one counts half.
    pub half_life: f64,
}

const MEBIBYTE: f64 = 1_048_576.0;
/// Runs that are looked at.
const RUNS: usize = 200;
/// Runs below which nothing but the unknown's size and kills count.
const FEW: usize = 3;
/// The trend of memory is looked ahead for so many runs.
const AHEAD: f64 = 2.0;

impl Default for Sizing {
    fn default() -> Self {
        Self {
            cpu: Range { min: 0.01, max: 64.0 },
            memory: Range { min: 16.0 * MEBIBYTE, max: 256.0 * 1_024.0 * MEBIBYTE },
            unknown: (0.5, 512.0 * MEBIBYTE),
            percentile: 0.95,
            margin: 0.15,
            after_kill: 1.5,
            half_life: 24.0,
        }
    }
}

/// A setting that cannot work.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
pub enum SizingError {
    /// The bounds contradict.
    #[error("resources.{resource}: min is {min} and max is {max}; min must be above 0 and not exceed max")]
    Bounds {
        /// `cpu` or `memory`.
        resource: &'static str,
        /// Least.
        min: f64,
        /// Most.
        max: f64,
    },
    /// A number out of range.
    #[error("{field} is {value}, it must be {limit}")]
    Setting {
        /// Field of [`Sizing`].
        field: &'static str,
        /// Given.
        value: f64,
        /// Allowed.
        limit: &'static str,
    },
}

/// A size for one pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Size {
    /// CPU request, in cores.
    pub cpu: f64,
    /// Memory request and limit, in bytes: the same, as memory cannot be taken back from a pod.
    pub memory: f64,
    /// Whether more was wanted than the bounds allow.
    pub bounded: bool,
    /// Why, in words and numbers.
    pub reason: String,
}

impl Sizing {
    /// Refuses settings that contradict or are out of range, naming the field.
    pub fn validate(&self) -> Result<(), SizingError> {
        for (resource, Range { min, max }) in [("cpu", self.cpu), ("memory", self.memory)] {
            if !(min > 0.0 && min <= max && max.is_finite()) {
                return Err(SizingError::Bounds { resource, min, max });
            }
        }
        let check = |field, value: f64, low: f64, high: f64, limit| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(SizingError::Setting { field, value, limit })
            }
        };
        check("percentile", self.percentile, 0.5, 1.0, "0.5 to 1")?;
        check("margin", self.margin, 0.0, 4.0, "0 to 4")?;
        check("after_kill", self.after_kill, 1.1, 8.0, "1.1 to 8")?;
        check("half_life", self.half_life, 1.0, 10_000.0, "1 to 10,000 runs")
    }
}

/// Sizes one pod from its runs, oldest first. Values that are not finite or negative are left out.
pub fn right_size(runs: &[Usage], how: &Sizing) -> Result<Size, SizingError> {
    how.validate()?;
    let runs = &runs[runs.len().saturating_sub(RUNS)..];
    let usable = |value: f64| value.is_finite() && value >= 0.0;
    let column =
        |of: fn(&Usage) -> f64| -> Vec<f64> { runs.iter().map(of).filter(|value| usable(*value)).collect() };
    let (cpus, memories) = (column(|run| run.cpu), column(|run| run.memory));
    let known = cpus.len().min(memories.len());
    let (mut cpu, mut memory) = how.unknown;
    let mut reason = format!("{known} runs are too few, {FEW} are needed: the size for what is unknown");
    if known >= FEW {
        let grown = growth(&memories).max(0.0) * AHEAD;
        let seen = percentile(&memories, how);
        cpu = percentile(&cpus, how) * (1.0 + how.margin);
        memory = (seen + grown) * (1.0 + how.margin);
        reason = format!(
            "p{:.0} of {known} runs with {:.0} % margin: {:.2} cores, {:.0} MiB, of which {:.0} MiB for its growth",
            how.percentile * 100.0,
            how.margin * 100.0,
            cpu,
            memory / MEBIBYTE,
            grown * (1.0 + how.margin) / MEBIBYTE
        );
    }
    if let Some(floor) = floor(runs, how)
        && floor > memory
    {
        memory = floor;
        reason = format!("{reason}; {:.0} MiB after a kill for want of memory", floor / MEBIBYTE);
    }
    let bounded = cpu > how.cpu.max || memory > how.memory.max;
    if bounded {
        reason = format!("{reason}; more than resources allows: raise its max");
    }
    Ok(Size {
        cpu: cpu.clamp(how.cpu.min, how.cpu.max),
        memory: memory.clamp(how.memory.min, how.memory.max),
        bounded,
        reason,
    })
}

/// What the last kills ask for. A run that ended well with more ends the matter at what it used.
fn floor(runs: &[Usage], how: &Sizing) -> Option<f64> {
    let mut floor: Option<f64> = None;
    for run in runs {
        match run.killed_at.filter(|limit| limit.is_finite() && *limit > 0.0) {
            Some(limit) => floor = Some(floor.unwrap_or(0.0).max(limit * how.after_kill)),
            None if floor.is_some_and(|floor| run.memory * how.after_kill >= floor) => {
                floor = Some(run.memory * (1.0 + how.margin));
            }
            None => {}
        }
    }
    floor
}

/// Weighted percentile: a run that is a half-life older counts half.
fn percentile(values: &[f64], how: &Sizing) -> f64 {
    let newest = values.len();
    let mut weighed: Vec<(f64, f64)> = values
        .iter()
        .enumerate()
        .map(|(place, value)| (*value, (-((newest - place) as f64) / how.half_life).exp2()))
        .collect();
    weighed.sort_by(|one, other| one.0.total_cmp(&other.0));
    let total: f64 = weighed.iter().map(|(_, weight)| weight).sum();
    let mut sum = 0.0;
    for (value, weight) in &weighed {
        sum += weight;
        if sum >= how.percentile * total {
            return *value;
        }
    }
    weighed.last().map_or(0.0, |(value, _)| *value)
}

/// Growth per run over the last ten: the median of all slopes (Theil 1950, Sen 1968).
fn growth(values: &[f64]) -> f64 {
    let last = &values[values.len().saturating_sub(10)..];
    let mut slopes: Vec<f64> = Vec::new();
    for (late, value) in last.iter().enumerate() {
        for (early, before) in last[..late].iter().enumerate() {
            slopes.push((value - before) / (late - early) as f64);
        }
    }
    slopes.sort_by(f64::total_cmp);
    slopes.get(slopes.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MI: f64 = MEBIBYTE;

    fn runs(memories: &[f64]) -> Vec<Usage> {
        memories.iter().map(|memory| Usage { cpu: 0.8, memory: memory * MI, killed_at: None }).collect()
    }

    #[test]
    fn an_unknown_job_gets_the_safe_size_and_says_so() {
        for runs in [vec![], runs(&[100.0]), runs(&[f64::NAN, -4.0, 1.0])] {
            let size = right_size(&runs, &Sizing::default()).unwrap();
            assert_eq!((size.cpu, size.memory), Sizing::default().unknown);
            assert!(size.reason.contains("too few"), "{}", size.reason);
        }
    }

    #[test]
    fn a_steady_job_gets_its_percentile_and_margin() {
        let size = right_size(&runs(&[300.0; 40]), &Sizing::default()).unwrap();
        assert!((size.memory / MI - 345.0).abs() < 1.0 && (size.cpu - 0.92).abs() < 0.01, "{size:?}");
        assert!(!size.bounded && size.reason.contains("p95 of 40 runs"), "{}", size.reason);
    }

    #[test]
    fn a_need_that_triples_over_ten_runs_is_always_met() {
        let mut seen = runs(&[200.0; 20]);
        for run in 1..=10 {
            let size = right_size(&seen, &Sizing::default()).unwrap();
            let need = (200.0 + 40.0 * f64::from(run)) * MI;
            // The first step comes from a standstill and fits the margin or not; later ones are foreseen.
            assert!(size.memory >= need || run <= 2, "run {run}: {} of {}", size.memory / MI, need / MI);
            seen.push(Usage { cpu: 0.8, memory: need, killed_at: None });
        }
    }

    #[test]
    fn after_a_kill_there_is_more_and_a_second_kill_asks_for_more_still() {
        let mut seen = runs(&[300.0; 10]);
        seen.push(Usage { cpu: 0.8, memory: 345.0 * MI, killed_at: Some(345.0 * MI) });
        let first = right_size(&seen, &Sizing::default()).unwrap();
        assert!(first.memory >= 1.49 * 345.0 * MI && first.reason.contains("after a kill"), "{first:?}");
        seen.push(Usage { cpu: 0.8, memory: first.memory, killed_at: Some(first.memory) });
        let second = right_size(&seen, &Sizing::default()).unwrap();
        assert!(second.memory > 1.4 * first.memory, "{second:?}");
        seen.push(Usage { cpu: 0.8, memory: 600.0 * MI, killed_at: None });
        let third = right_size(&seen, &Sizing::default()).unwrap();
        assert!(third.memory < second.memory && third.memory > 600.0 * MI, "{third:?}");
    }

    #[test]
    fn bounds_hold_and_contradictions_are_named() {
        let tight = Sizing { memory: Range { min: MI, max: 100.0 * MI }, ..Sizing::default() };
        let size = right_size(&runs(&[300.0; 40]), &tight).unwrap();
        assert!(
            size.bounded && size.memory <= 100.0 * MI && size.reason.contains("raise its max"),
            "{size:?}"
        );
        let bad = Sizing { cpu: Range { min: 2.0, max: 1.0 }, ..Sizing::default() };
        assert!(right_size(&[], &bad).unwrap_err().to_string().contains("resources.cpu"));
        let odd = Sizing { percentile: 3.0, ..Sizing::default() };
        assert!(right_size(&[], &odd).unwrap_err().to_string().contains("percentile"));
    }
}
