//! Streaming detectors, one file each. Each has a configuration that validates, whose `Default` is the
//! shipped setting, keeps a fixed amount of state, and returns the explanation with the verdict.
//!
//! | question | type | used by [`SeriesDetector`] |
//! |---|---|---|
//! | Is this point unusual, all in all? | [`SeriesDetector`] | |
//! | Is it far from its level, in usual spreads? | [`expect::Expectation`], [`spread::Spread`] | yes |
//! | Is it unusual for this time of day? | [`seasonal::DayProfile`] | yes |
//! | Is it unusual for this minute of the hour, time of day, hour of the week? | [`RhythmDetector`] | no |
//! | Does the series move more or less than it does? | [`activity::Activity`] | yes |
//! | Have the last points a usual shape? | [`SubspaceDetector`], on a history [`Shape`] | no |
//! | Since when is the level another? | [`change::Cusum`], in a window [`change::segments`] | told, no alarm |
//! | Did the counter start again? | [`counter::Counter`] | yes |
//! | Has it stopped? | [`silence::SilenceWatch`] | asked for |
//! | Does the alarm come and go? | [`flapping::Flapping`] | told |
//! | Which replica is unlike the others? | [`outliers`] | |
//! | Is this machine's row unusual, and by which dimension? | [`MultivariateDetector`] | |

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
pub mod rhythm;
pub mod rule;
pub mod seasonal;
pub mod series;
pub mod shape;
pub mod silence;
pub mod spread;
pub mod step;
pub mod subspace;

pub use direction::Direction;
pub use multivariate::{MultivariateConfig, MultivariateDetector, MultivariateError, MultivariateVerdict};
pub use peers::{PeerConfig, PeerError, PeerMetric, PeerVerdict, outliers};
pub use reason::{Against, Reason};
pub use rhythm::{RhythmConfig, RhythmConfigError, RhythmDetector, RhythmVerdict, Rhythms};
pub use rule::{Condition, Rule, RuleConfig, separate};
pub use series::{SeriesConfig, SeriesConfigError, SeriesDetector, SeriesVerdict};
pub use shape::{Shape, ShapeConfig, ShapeError};
pub use subspace::{SubspaceConfig, SubspaceConfigError, SubspaceDetector, SubspaceVerdict};
