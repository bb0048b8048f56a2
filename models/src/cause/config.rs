//! The setting of a ranking.

use serde::{Deserialize, Serialize};

use super::Kind;

/// How a ranking weighs what it finds. `Default` is the shipped setting, the same for every system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CauseConfig {
    /// Times below this many seconds are noise of measuring; added to both sides of a ratio.
    pub time_floor_seconds: f64,
    /// Share of a typical request's time at which a slow-down counts half.
    pub material_share: f64,
    /// Factor by which times grow without a fault.
    pub usual_slow_down: f64,
    /// Strength of the whole additional time or of all additional failures, from metrics.
    pub amount_strength: f64,
    /// Weight of a change of flow that ends in an error.
    pub error_weight: f64,
    /// Weight of a change of flow that ends early.
    pub missing_weight: f64,
    /// Weight of a change of flow that is only different.
    pub different_weight: f64,
    /// A caller's deviation is the callee's when the callee's is at least this share of it.
    pub explained_share: f64,
    /// Deviations from the usual, in robust standard deviations, below which resources say nothing.
    pub resource_threshold: f64,
    /// Seconds after which a change has lost half of its weight.
    pub change_half_life_seconds: f64,
    /// Strength of a change at the very moment of the fault.
    pub change_strength: f64,
    /// Factor for entities that the symptom's entity does not call, directly or not.
    pub unreached_factor: f64,
    /// Evidence below this strength is not told.
    pub told_from: f64,
}

impl Default for CauseConfig {
    fn default() -> Self {
        Self {
            time_floor_seconds: 0.001,
            material_share: 0.05,
            usual_slow_down: 3.0,
            amount_strength: 6.0,
            error_weight: 2.0,
            missing_weight: 1.2,
            different_weight: 0.5,
            explained_share: 0.5,
            resource_threshold: 3.0,
            change_half_life_seconds: 600.0,
            change_strength: 1.0,
            unreached_factor: 0.3,
            told_from: 0.05,
        }
    }
}

/// Why a setting is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// A number is outside its range.
    #[error("{field} is {value}, but must be between {low} and {high}")]
    Range {
        /// Which.
        field: &'static str,
        /// Its value.
        value: f64,
        /// The least.
        low: f64,
        /// The most.
        high: f64,
    },
}

impl CauseConfig {
    /// Whether every number is in its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let Self {
            time_floor_seconds,
            material_share,
            usual_slow_down,
            amount_strength,
            error_weight,
            missing_weight,
            different_weight,
            explained_share,
            resource_threshold,
            change_half_life_seconds,
            change_strength,
            unreached_factor,
            told_from,
        } = *self;
        for (field, value, low, high) in [
            ("time_floor_seconds", time_floor_seconds, 1e-6, 10.0),
            ("material_share", material_share, 1e-3, 1.0),
            ("usual_slow_down", usual_slow_down, 1.0, 10.0),
            ("amount_strength", amount_strength, 0.0, 100.0),
            ("error_weight", error_weight, 0.0, 10.0),
            ("missing_weight", missing_weight, 0.0, 10.0),
            ("different_weight", different_weight, 0.0, 10.0),
            ("explained_share", explained_share, 0.0, 10.0),
            ("resource_threshold", resource_threshold, 1.0, 100.0),
            ("change_half_life_seconds", change_half_life_seconds, 1.0, 1e6),
            ("change_strength", change_strength, 0.0, 10.0),
            ("unreached_factor", unreached_factor, 0.0, 1.0),
            ("told_from", told_from, 0.0, 10.0),
        ] {
            if !(low..=high).contains(&value) {
                return Err(ConfigError::Range { field, value, low, high });
            }
        }
        Ok(())
    }

    /// How much a kind counts in the sum. All are on one scale, so all weigh the same.
    pub(super) fn weight(kind: Kind) -> f64 {
        match kind {
            Kind::OwnTime
            | Kind::Network
            | Kind::Errors
            | Kind::MissingSpans
            | Kind::RareTemplates
            | Kind::Resources
            | Kind::Changes => 1.0,
        }
    }
}
