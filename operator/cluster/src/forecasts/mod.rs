//! Forecasts as resources: what is expected of a workload, shown by `kubectl get forecasts`.
//!
//! [`mapping`] says how a record becomes an object, purely; [`ForecastWriter`] writes what differs. An installation
//! whose workloads have no `spec.scaling` writes nothing.

mod kept;
pub mod mapping;
mod writer;

pub use kept::{KeptOf, KeptTexts, kept, kept_runs};
pub use mapping::differs;
pub use writer::{ForecastWriter, ForecastWriterCounts, Forecasts};
