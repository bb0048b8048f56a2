//! OTLP over gRPC: spans, log records and metrics that the pods push.
//!
//! The way of a request: [`server`] accepts it within its bounds, [`sender`] finds out whose it is from the
//! address of the connection (never from the payload), [`envelope`] walks the bytes, [`convert`] makes
//! observations, and the batch goes to the loop, or the sender is told to come again. `silence` tells when nothing comes
//! though it should.

pub mod convert;
pub mod envelope;
pub mod outcome;
pub mod sender;
pub mod server;

mod connection;
mod silence;

use super::{Counters, Outlet, Source, SourceError, SourceName};
use convert::Limits;
use homeostat_knowledge::{Clock, SnapshotSource};
use ipnet::IpNet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Bounds and trust of the receiver. `Default` is what ships.
#[derive(Clone, Debug)]
pub struct OtlpOptions {
    /// Largest request in bytes, after decompression.
    pub max_message_bytes: usize,
    /// Requests that are read or converted at one time, over all connections; each tenant has its share of them.
    pub max_concurrent_requests: usize,
    /// Those of them that one sender may have, a trusted forwarder excepted: who sends slowly must not keep others out.
    pub max_requests_per_sender: usize,
    /// Connections at one time.
    pub max_connections: usize,
    /// Those of them that one address may have, a trusted forwarder excepted.
    pub max_connections_per_sender: usize,
    /// Longest time from a request's first byte to its answer.
    pub request_timeout: Duration,
    /// Addresses whose resource attributes are believed, as far as they name a pod that exists. Empty means
    /// that every pod speaks for itself only.
    pub trusted_forwarders: Vec<IpNet>,
    /// Bounds of one request's content.
    pub limits: Limits,
    /// Distinct series of metrics that are known at one time, of all tenants together; each has its share of them.
    pub series: usize,
    /// How often the source says how it is, where that is news.
    pub report_every: Duration,
}

impl Default for OtlpOptions {
    fn default() -> Self {
        Self {
            max_message_bytes: 4 * 1024 * 1024,
            max_concurrent_requests: 32,
            max_requests_per_sender: 8,
            max_connections: 2048,
            max_connections_per_sender: 64,
            request_timeout: Duration::from_secs(10),
            trusted_forwarders: Vec::new(),
            limits: Limits::default(),
            series: 200_000,
            report_every: Duration::from_secs(5),
        }
    }
}

/// The OTLP receiver.
pub struct OtlpSource {
    listener: TcpListener,
    options: OtlpOptions,
    snapshots: Arc<dyn SnapshotSource>,
    clock: Arc<dyn Clock>,
    counters: Arc<Counters>,
}

impl OtlpSource {
    /// Listens on `address`; requests wait until [`Source::run`].
    ///
    /// # Errors
    /// [`SourceError::Listen`] when the address cannot be had.
    pub async fn bind(
        address: SocketAddr,
        options: OtlpOptions,
        snapshots: Arc<dyn SnapshotSource>,
        clock: Arc<dyn Clock>,
        counters: Arc<Counters>,
    ) -> Result<Self, SourceError> {
        let listener =
            TcpListener::bind(address).await.map_err(|cause| SourceError::Listen { address, cause })?;
        Ok(Self { listener, options, snapshots, clock, counters })
    }

    /// The address that it listens on, with the port that was given for port 0.
    ///
    /// # Errors
    /// When the operating system does not tell.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Source for OtlpSource {
    fn name(&self) -> SourceName {
        SourceName::Otlp
    }

    async fn run(self, out: Outlet, stop: CancellationToken) -> Result<(), SourceError> {
        server::serve(self.listener, self.options, self.snapshots, self.clock, self.counters, out, stop).await
    }
}
