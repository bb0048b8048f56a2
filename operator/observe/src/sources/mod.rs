//! The port of a source and the one visible list of sources.
//!
//! Adding a source: one file here, one line in [`SourceName`], wired in the binary.

pub mod counters;
pub mod mounted;
pub mod names;
pub mod otlp;
pub mod prometheus;
pub mod queue;
pub mod series;
pub mod shares;
pub mod tenant_header;

pub use counters::{Counters, Fate, Tally};
pub use queue::{Inlet, Outlet, queue};

use homeostat_knowledge::observation::SourceReport;
use homeostat_knowledge::{Entity, Name, Observation, Signal, Timestamp};
use std::net::SocketAddr;
use tokio_util::sync::CancellationToken;

/// Every source that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceName {
    /// Spans, log records and metrics pushed over OTLP: [`otlp`].
    Otlp,
    /// Queries for signals that workloads name: [`prometheus`].
    Prometheus,
    /// Watches of the API server: crate `homeostat-cluster`.
    Kubernetes,
    /// Metrics of the cluster's external metrics API, asked for by the binary. It has no health of its own: each metric is
    /// another adapter's, and the signal that is silent says so.
    External,
}

impl SourceName {
    /// Every source, in the order above.
    pub const ALL: [Self; 4] = [Self::Otlp, Self::Prometheus, Self::Kubernetes, Self::External];

    /// The name as used in snapshots, metrics and pages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Otlp => "otlp",
            Self::Prometheus => "prometheus",
            Self::Kubernetes => "kubernetes",
            Self::External => "external",
        }
    }
}

impl std::fmt::Display for SourceName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A source runs until it is told to stop, and recovers from the failures of what it listens to.
pub trait Source: Send + Sized + 'static {
    /// Which one it is.
    fn name(&self) -> SourceName;

    /// Delivers batches to `out` until `stop` is cancelled. Says its health as a [`Signal::Source`]
    /// observation at the start and whenever it changes.
    ///
    /// # Errors
    /// Only for what cannot heal by itself, for example a listener that broke.
    fn run(
        self,
        out: Outlet,
        stop: CancellationToken,
    ) -> impl Future<Output = Result<(), SourceError>> + Send;
}

/// A source could not start or had to end.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The address is taken or not ours.
    #[error(
        "OTLP receiver cannot listen on {address}: {cause}; choose another address or end the process that uses it"
    )]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// Why not.
        cause: std::io::Error,
    },
    /// The gRPC server ended.
    #[error("OTLP receiver ended: {0}; it starts again with the process")]
    Serve(String),
}

/// A source's statement about itself.
pub(crate) fn health(name: SourceName, report: SourceReport, now: Timestamp) -> Observation {
    Observation {
        tenant: None,
        entity: Entity::Source { name: Name::from(name.name()) },
        event_time: now,
        arrival_time: now,
        signal: Signal::Source(report),
    }
}
