//! Starts what foresees loads and limits and decides sizes, each a part of its own: whichever ends ends the process under its
//! own name, and none waits for the others.

use crate::forecasts::{self, Forecaster};
use crate::kept;
use crate::limits::{self, Limits};
use crate::parts::Parts;
use crate::sizes;
use crate::sources::World;
use homeostat_cluster::forecasts::Forecasts;
use homeostat_cluster::scalers;
use homeostat_console::Metrics;
use homeostat_knowledge::Observation;
use homeostat_scale::outlook::{Forecasting, OutlookConfig, OutlookConfigError};
use kube::Client;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// Where what they find goes.
pub struct Found {
    /// Forecasts of loads, with the sizes that follow.
    pub sizes: watch::Sender<Forecasts>,
    /// Forecasts of what fills up.
    pub limits: watch::Sender<Forecasts>,
    /// Others that scale the same workloads.
    pub objects: mpsc::Sender<Observation>,
}

/// Starts all of them over these namespaces (empty: all); each runs until `stop`.
pub fn start(
    (client, namespaces): (&Client, BTreeSet<String>),
    world: &World<'_>,
    metrics: &Metrics,
    found: Found,
    stop: &CancellationToken,
    parts: &Parts,
) -> Result<(), OutlookConfigError> {
    let forecasting = Forecasting::new(OutlookConfig::default())?;
    let filling = Limits::new()?;
    let most = forecasts::room(forecasts::memory_limit());
    let Found { sizes: sizes_in, limits: limits_in, objects } = found;
    let (outlooks_in, outlooks) = watch::channel(Arc::default());
    let (scalers_in, scalers) = watch::channel(Arc::default());
    let shared = || (Arc::clone(world.snapshots), Arc::clone(world.clock), stop.clone());

    // What earlier runs kept is read once, for forecasts and sizes; neither begins without it.
    let (memory_in, memory) = oneshot::channel();
    let (of, among, counts) = (client.clone(), namespaces.clone(), metrics.clone());
    let (snapshots, clock, end) = shared();
    parts.start("forecasts", async move {
        let (loads, decided) = kept::load(&of, &among, &end).await.apart();
        // Nobody is there to take it only when the process ends.
        let _ = memory_in.send(decided);
        let forecaster = Forecaster::new(forecasting, loads, most);
        forecasts::run(forecaster, snapshots, clock, counts, outlooks_in, end).await;
    });
    let (read, counts) = (shared(), metrics.clone());
    parts.start("sizes", async move {
        if let Ok(memory) = memory.await {
            sizes::run(read, counts, memory, outlooks, scalers, sizes_in).await;
        }
    });
    parts.start("limit forecasts", limits::run(filling, shared(), metrics.clone(), limits_in));
    let (snapshots, clock, end) = shared();
    let others = scalers::run(client.clone(), namespaces, snapshots, clock, scalers_in, objects, end);
    parts.start("autoscalers", others);
    Ok(())
}
