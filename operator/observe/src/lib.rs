//! Sources: what the world says becomes observations.
//!
//! A source takes in, bounds, attributes to a sender and converts. It decides nothing: whatever it
//! cannot deliver it refuses or drops, and counts ([`sources::Counters`]).
//!
//! Reading path: [`sources`] (the port and the list), [`sources::otlp`] (pushed telemetry),
//! [`sources::prometheus`] (queried signals).

pub mod sources;

pub use sources::counters::{Counters, Fate, Tally};
pub use sources::otlp::{OtlpOptions, OtlpSource};
pub use sources::prometheus::{PrometheusOptions, PrometheusSource};
pub use sources::{Outlet, Source, SourceError, SourceName};
