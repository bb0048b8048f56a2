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
pub use sources::queue::{Inlet, Outlet, queue};
pub use sources::shares::Shares;
pub use sources::tenant_header::TenantHeader;
pub use sources::{Source, SourceError, SourceName};
