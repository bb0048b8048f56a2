//! What pushes into the loop beside the watches: one line for each source.

use crate::args::RunArgs;
use crate::external;
use crate::parts::Parts;
use crate::run::RunError;
use homeostat_knowledge::{Clock, SnapshotSource};
use homeostat_observe::{
    Counters, OtlpOptions, OtlpSource, Outlet, PrometheusOptions, PrometheusSource, Source, SourceName,
};
use kube::Client;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What every source reads, and where it counts.
pub struct World<'a> {
    /// The newest picture.
    pub snapshots: &'a Arc<dyn SnapshotSource>,
    /// What time it is.
    pub clock: &'a Arc<dyn Clock>,
    /// What became of everything that arrived.
    pub counters: &'a Arc<Counters>,
}

/// Starts all of them; each runs until `stop`.
///
/// # Errors
/// A source that cannot begin, or a setting of one that cannot be used.
pub async fn start(
    args: &RunArgs,
    client: &Client,
    world: &World<'_>,
    out: Outlet,
    stop: &CancellationToken,
    parts: &Parts,
) -> Result<(), RunError> {
    let shared = || (Arc::clone(world.snapshots), Arc::clone(world.clock), Arc::clone(world.counters));
    let mut options = OtlpOptions::default();
    for text in args.trusted_forwarders.iter().filter(|text| !text.is_empty()) {
        let range = text.parse().map_err(|_| RunError::Forwarder { text: text.clone() })?;
        options.trusted_forwarders.push(range);
    }
    let (snapshots, clock, counters) = shared();
    let otlp = OtlpSource::bind(args.otlp_grpc, options, snapshots, clock, counters).await?;
    let (snapshots, clock, counters) = shared();
    let options = PrometheusOptions {
        tenant_header: args.prometheus_tenant_header.clone(),
        secrets: args.prometheus_dir.clone(),
        ..PrometheusOptions::default()
    };
    let prometheus = PrometheusSource::new(options, snapshots, clock, counters);
    let (snapshots, clock, counters) = shared();
    let asked = external::run(client.clone(), snapshots, clock, counters, out.clone(), stop.clone());

    // The list.
    keep(otlp, out.clone(), stop.clone(), parts);
    keep(prometheus, out, stop.clone(), parts);
    parts.start(SourceName::External.name(), asked);
    Ok(())
}

fn keep<S: Source>(source: S, out: Outlet, stop: CancellationToken, parts: &Parts) {
    let name: SourceName = source.name();
    parts.start(name.name(), async move {
        if let Err(error) = source.run(out, stop).await {
            tracing::error!(source = %name, error = %error, "Source ended");
        }
    });
}
