//! What people have said about the size of a service, and who else scales it.

use super::choice::{Leading, Weighing};
use serde::{Deserialize, Serialize};

/// What is done with a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Mode {
    /// Note what would have been done.
    Observe,
    /// Say what should be done.
    #[default]
    Recommend,
    /// Do it.
    Auto,
}

/// What is done when something else scales the same object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum WhenOwned {
    /// Leave it alone and say who owns it.
    #[default]
    Refuse,
    /// Move the bounds of a `HorizontalPodAutoscaler`.
    DriveBounds,
}

/// Who else changes the size of the same object.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Owner {
    /// Nobody.
    #[default]
    Nobody,
    /// A `HorizontalPodAutoscaler` of people's own.
    Hpa {
        /// Its name.
        name: String,
        /// Its `minReplicas` and `maxReplicas`.
        bounds: (u32, u32),
        /// Those that people want, where we moved them.
        peoples: (u32, u32),
    },
    /// A KEDA `ScaledObject`, which owns an HPA.
    Keda {
        /// Its name.
        name: String,
    },
    /// A `VerticalPodAutoscaler`: it changes requests, not replicas.
    Vpa {
        /// Its name.
        name: String,
        /// Whether it acts, or only recommends.
        acts: bool,
    },
    /// Two or more, which work against each other.
    Several {
        /// Their kinds and names.
        names: String,
    },
}

/// Size when the signals are gone for long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fallback {
    /// Seconds without a signal before it is used.
    pub after_seconds: u32,
    /// Replicas.
    pub replicas: u32,
}

/// How a service is sized. `Default` is the shipped setting.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// What is done with a decision.
    pub mode: Mode,
    /// Fewest replicas; 0 lets an idle workload go away.
    pub min: u32,
    /// Most replicas.
    pub max: u32,
    /// Replica-minutes that a minute of violation is worth: the risk knob.
    pub price: f64,
    /// Replica-minutes that a way down must have promised in a row before it is gone.
    pub patience_minutes: f64,
    /// Seconds between two decisions.
    pub step_seconds: u32,
    /// Seconds from asking for a replica to its readiness.
    pub start_seconds: u32,
    /// Size when the signals are gone for long; `None` keeps the last safe size.
    pub fallback: Option<Fallback>,
    /// What is done when something else scales the same object.
    pub when_owned: WhenOwned,
    /// A way down that hurt the objective is not tried again for so long, in seconds.
    pub hold_seconds: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            mode: Mode::Recommend,
            min: 1,
            max: 10,
            price: 1_024.0,
            patience_minutes: 2.0,
            step_seconds: 15,
            start_seconds: 30,
            fallback: None,
            when_owned: WhenOwned::Refuse,
            hold_seconds: 3_600,
        }
    }
}

/// A setting that cannot work.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
pub enum PolicyError {
    /// The bounds contradict.
    #[error(
        "replicas.min is {min} and replicas.max is {max}: min must not exceed max, and max must be at least 1"
    )]
    Bounds {
        /// Fewest.
        min: u32,
        /// Most.
        max: u32,
    },
    /// The fallback is outside of the bounds.
    #[error(
        "fallback.replicas is {replicas}, it must lie within replicas.min {min} and replicas.max {max} and not be 0"
    )]
    Fallback {
        /// Given.
        replicas: u32,
        /// Fewest.
        min: u32,
        /// Most.
        max: u32,
    },
    /// A number out of range.
    #[error("{field} is {value}, it must be {limit}")]
    Range {
        /// Field of [`Policy`].
        field: &'static str,
        /// Given.
        value: f64,
        /// Allowed.
        limit: &'static str,
    },
}

impl Policy {
    /// Refuses settings that contradict or are out of range, naming the field.
    pub fn validate(&self) -> Result<(), PolicyError> {
        if self.min > self.max || self.max == 0 || self.max > 100_000 {
            return Err(PolicyError::Bounds { min: self.min, max: self.max });
        }
        if let Some(Fallback { replicas, .. }) = self.fallback
            && (replicas == 0 || !(self.min..=self.max).contains(&replicas))
        {
            return Err(PolicyError::Fallback { replicas, min: self.min, max: self.max });
        }
        let check = |field, value: f64, low: f64, high: f64, limit| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(PolicyError::Range { field, value, limit })
            }
        };
        check("price", self.price, 1.0, 1e9, "1 to 1,000,000,000 replica-minutes")?;
        check("patience_minutes", self.patience_minutes, 0.0, 1e6, "0 to 1,000,000 replica-minutes")?;
        check("step_seconds", f64::from(self.step_seconds), 1.0, 300.0, "1 to 300 s")?;
        check("start_seconds", f64::from(self.start_seconds), 1.0, 3_600.0, "1 to 3,600 s")
    }

    /// What the choice needs to know.
    pub(super) fn weighing(&self) -> Weighing {
        let steps_a_minute = 60.0 / f64::from(self.step_seconds.max(1));
        Weighing {
            price: self.price,
            patience: self.patience_minutes * steps_a_minute,
            steps_a_minute,
            min: self.min,
            max: self.max,
            leading: Leading::default(),
        }
    }
}
