//! What the Workload says becomes the policy that decides.

use super::STEP_SECONDS;
use crate::services::{Fallback, Mode, Policy, PolicyError, WhenOwned};
use homeostat_knowledge::policy::{Archetype, Bounds, ScalingMode, ScalingPolicy, WhenOwned as Owned};

/// Replica-minutes that a minute of waiting work is worth: a queue loses nothing by it.
const QUEUE_PRICE: f64 = 16.0;

/// A Workload that says no usable size.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
pub enum SetupError {
    /// Without bounds nothing is sized.
    #[error("spec.scaling.replicas is not set; set its min and max to be told a size")]
    NoBounds,
    /// The bounds or the fallback cannot work.
    #[error("spec.scaling: {0}")]
    Policy(#[from] PolicyError),
}

/// The policy of a workload of this archetype with these bounds.
pub fn policy(
    scaling: &ScalingPolicy,
    bounds: Option<Bounds>,
    archetype: Archetype,
) -> Result<Policy, SetupError> {
    let bounds = bounds.ok_or(SetupError::NoBounds)?;
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let shipped = Policy::default();
    let policy = Policy {
        mode: match scaling.mode {
            ScalingMode::Observe => Mode::Observe,
            ScalingMode::Recommend => Mode::Recommend,
            ScalingMode::Auto => Mode::Auto,
        },
        min: small(bounds.min),
        max: small(bounds.max),
        price: match (scaling.price, archetype) {
            (Some(price), _) => f64::from(price),
            (None, Archetype::Worker | Archetype::Batch) => QUEUE_PRICE,
            (None, Archetype::Service | Archetype::Edge) => shipped.price,
        },
        step_seconds: STEP_SECONDS,
        fallback: scaling.fallback.map(|fallback| Fallback {
            after_seconds: u32::try_from(fallback.after.as_secs()).unwrap_or(u32::MAX),
            replicas: fallback.replicas,
        }),
        when_owned: match scaling.when_owned {
            Owned::Refuse => WhenOwned::Refuse,
            Owned::DriveBounds => WhenOwned::DriveBounds,
        },
        ..shipped
    };
    policy.validate()?;
    Ok(policy)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn the_price_is_the_workloads_own_or_follows_from_what_it_is() {
        let price = |price, archetype| {
            let scaling = ScalingPolicy { price, ..ScalingPolicy::default() };
            policy(&scaling, Some(Bounds { min: 1, max: 4 }), archetype).unwrap().price.round() as u32
        };
        assert_eq!(price(Some(64), Archetype::Service), 64);
        assert_eq!(price(Some(64), Archetype::Worker), 64);
        assert!(price(None, Archetype::Service) > price(None, Archetype::Worker));
    }
}
