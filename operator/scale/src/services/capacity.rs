//! What one replica carries: the load per replica up to which latency stays inside its objective, learnt from the data.

use serde::{Deserialize, Serialize};

/// Bins to a factor of two in load.
const FINE: f64 = 4.0;
const BINS: usize = 160;
/// Samples of a bin below which it says nothing.
const FEW: f64 = 20.0;
/// Counts are halved above this, so that a new release is noticed.
const FULL: f64 = 20_000.0;
/// Requests that one step counts for at most.
const STEP: f64 = FULL / 80.0;

/// Share of requests that may be outside of the objective where none is named.
const ALLOWED: f64 = 0.01;

/// Learns what one replica carries. Bounded; can be stored and restored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// Requests seen and requests outside of the objective, by load per replica.
    bins: Vec<(f64, f64)>,
    /// Share of requests that may be outside.
    allowed: f64,
}

/// What was learnt.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PerReplica {
    /// Load that one replica carries, in the signal's unit.
    pub load: f64,
    /// Whether more was seen to be too much; if not, it may carry more than this.
    pub bounded: bool,
}

/// A sample or setting that cannot be used.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
pub enum CapacityError {
    /// The objective leaves no room or asks for nothing.
    #[error("{0} is no share of requests that may be slow; it must be above 0 and below 1")]
    Allowed(f64),
    /// Not a number of its kind.
    #[error("{field} is {value}, it must be finite and {limit}; the sample is left out")]
    Sample {
        /// What was given.
        field: &'static str,
        /// Its value.
        value: f64,
        /// What is allowed.
        limit: &'static str,
    },
}

impl Default for Capacity {
    /// One request in a hundred may be outside.
    fn default() -> Self {
        Self { bins: vec![(0.0, 0.0); BINS], allowed: ALLOWED }
    }
}

impl Capacity {
    /// Nothing seen yet; `allowed` is the share of requests that may be outside of the objective.
    pub fn new(allowed: f64) -> Result<Self, CapacityError> {
        if allowed > 0.0 && allowed < 1.0 {
            Ok(Self { bins: vec![(0.0, 0.0); BINS], allowed })
        } else {
            Err(CapacityError::Allowed(allowed))
        }
    }

    /// The share of requests that may be outside of the objective.
    pub fn allowed(&self) -> f64 {
        self.allowed
    }

    /// Takes a step: load per ready replica, requests, and how many of them were outside of the objective.
    pub fn observe(&mut self, per_replica: f64, requests: f64, outside: f64) -> Result<(), CapacityError> {
        let check = |field, value: f64, good: bool, limit| {
            if value.is_finite() && good {
                Ok(())
            } else {
                Err(CapacityError::Sample { field, value, limit })
            }
        };
        check("load per replica", per_replica, per_replica > 0.0, "above 0")?;
        check("requests", requests, requests >= 0.0, "not negative")?;
        check(
            "requests outside of the objective",
            outside,
            (0.0..=requests).contains(&outside),
            "at most all",
        )?;
        // What is outside within one step has one reason: it counts as a step, however many requests that were.
        let weight = if requests > STEP { STEP / requests } else { 1.0 };
        let bin = &mut self.bins[bin(per_replica)];
        bin.0 += requests * weight;
        bin.1 += outside * weight;
        if bin.0 > FULL {
            *bin = (bin.0 / 2.0, bin.1 / 2.0);
        }
        Ok(())
    }

    /// What was seen, by bin: which, requests, requests outside of the objective.
    pub fn kept(&self) -> Vec<(u16, f32, f32)> {
        let seen = (0..).zip(&self.bins).filter(|(_, (requests, _))| *requests >= 1.0);
        seen.map(|(bin, (requests, outside))| (bin, *requests as f32, *outside as f32)).collect()
    }

    /// One with the same objective that has seen what was kept; what is no count is left out.
    #[must_use]
    pub fn restored(&self, kept: &[(u16, f32, f32)]) -> Self {
        let mut restored = Self { bins: vec![(0.0, 0.0); BINS], allowed: self.allowed };
        for (bin, requests, outside) in kept {
            if let Some(place) = restored.bins.get_mut(usize::from(*bin))
                && requests.is_finite()
                && (0.0..=*requests).contains(outside)
            {
                *place = (f64::from(*requests), f64::from(*outside));
            }
        }
        restored
    }

    /// Forgets a little: of what was seen this share, from 0 to 1, is left.
    pub fn fade(&mut self, left: f64) {
        for (requests, outside) in &mut self.bins {
            (*requests, *outside) = (*requests * left.clamp(0.0, 1.0), *outside * left.clamp(0.0, 1.0));
        }
    }

    /// The load up to which the objective is met; `None` while too little was seen.
    ///
    /// More load makes no request faster, so the share outside may only rise with it: loads that say otherwise are taken
    /// together (pool adjacent violators, Ayer et al. 1955). A bad minute at a load that was carried well before or beyond
    /// does not count by itself.
    pub fn per_replica(&self) -> Option<PerReplica> {
        // (requests, outside, lowest bin, highest bin)
        let mut pools: Vec<(f64, f64, usize, usize)> = Vec::new();
        for (bin, (requests, outside)) in self.bins.iter().enumerate().filter(|(_, seen)| seen.0 >= FEW) {
            let mut pool = (*requests, *outside, bin, bin);
            while let Some(before) = pools.pop_if(|before| before.1 / before.0 >= pool.1 / pool.0) {
                pool = (before.0 + pool.0, before.1 + pool.1, before.2, pool.3);
            }
            pools.push(pool);
        }
        let met = pools.iter().take_while(|pool| pool.1 / pool.0 <= self.allowed).count();
        let too_much = pools.get(met).map(|pool| edge(pool.2));
        let carried = met.checked_sub(1).and_then(|last| pools.get(last)).map(|pool| edge(pool.3 + 1));
        let load = match (carried, too_much) {
            (Some(carried), Some(too_much)) => carried.min(too_much),
            (one, other) => one.or(other)?,
        };
        Some(PerReplica { load, bounded: too_much.is_some() })
    }
}

fn bin(load: f64) -> usize {
    ((load.log2() * FINE).floor() + BINS as f64 / 2.0).clamp(0.0, BINS as f64 - 1.0) as usize
}

fn edge(bin: usize) -> f64 {
    ((bin as f64 - BINS as f64 / 2.0) / FINE).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_knee_is_found_from_below() {
        let mut capacity = Capacity::new(0.01).unwrap();
        assert_eq!(capacity.per_replica(), None);
        for load in 10..200 {
            let slow = if load > 100 { 50.0 } else { 1.0 };
            capacity.observe(f64::from(load), 1_000.0, slow).unwrap();
        }
        let said = capacity.per_replica().unwrap();
        assert!(said.bounded && (80.0..=110.0).contains(&said.load), "{said:?}");
    }

    #[test]
    fn a_bad_minute_at_a_load_that_is_carried_well_says_little() {
        let mut capacity = Capacity::new(0.05).unwrap();
        for load in 1..50 {
            capacity.observe(f64::from(load), 200.0, 0.0).unwrap();
        }
        let before = capacity.per_replica().unwrap();
        capacity.observe(3.0, 150.0, 120.0).unwrap();
        assert_eq!(capacity.per_replica(), Some(before), "a cold start at 3 is not what 3 costs");
        capacity.fade(0.0);
        assert_eq!(capacity.per_replica(), None);
    }

    #[test]
    fn what_was_never_too_much_is_said_to_be_open() {
        let mut capacity = Capacity::new(0.01).unwrap();
        capacity.observe(50.0, 1_000.0, 0.0).unwrap();
        assert!(!capacity.per_replica().unwrap().bounded);
        let error = capacity.observe(f64::NAN, 1.0, 0.0).unwrap_err().to_string();
        assert!(error.contains("load per replica"), "{error}");
        assert!(capacity.observe(1.0, 1.0, 2.0).is_err());
        assert!(Capacity::new(0.0).is_err());
    }
}
