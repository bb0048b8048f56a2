//! Streaming detectors, one file each. Each has a configuration that validates, whose `Default` is the
//! shipped setting, keeps a fixed amount of state, and returns the explanation with the verdict.

pub mod alarm;
pub mod level;
pub mod multivariate;
pub mod peers;
pub mod rule;

pub use alarm::{Alarm, AlarmConfig};
pub use level::{Level, LevelConfig, Verdict};
pub use multivariate::{MultivariateConfig, MultivariateDetector, MultivariateError, MultivariateVerdict};
pub use peers::{PeerConfig, PeerError, PeerMetric, PeerVerdict, outliers};
pub use rule::{Condition, Rule, RuleConfig, separate};
