//! Streaming detectors, one file each. Each has a configuration that validates, whose `Default` is the
//! shipped setting, keeps a fixed amount of state, and returns the explanation with the verdict.

pub mod activity;
pub mod burst;
pub mod change;
pub mod channel;
pub mod counter;
pub mod direction;
pub mod expect;
pub mod flapping;
pub mod multivariate;
pub mod peers;
pub mod reason;
pub mod recurring;
pub mod rule;
pub mod seasonal;
pub mod series;
pub mod shape;
pub mod silence;
pub mod spread;
pub mod step;

pub use direction::Direction;
pub use multivariate::{MultivariateConfig, MultivariateDetector, MultivariateError, MultivariateVerdict};
pub use peers::{PeerConfig, PeerError, PeerMetric, PeerVerdict, outliers};
pub use reason::{Against, Reason};
pub use rule::{Condition, Rule, RuleConfig, separate};
pub use series::{SeriesConfig, SeriesConfigError, SeriesDetector, SeriesVerdict};
