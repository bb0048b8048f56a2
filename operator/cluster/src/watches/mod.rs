//! What the cluster holds becomes observations: one file per kind, and one list of them in [`Watches::start`].
//!
//! Objects are reduced to records while they are read; whole objects are never kept. A change reaches the channel
//! without any delay of ours. Deletions that happened while the watch was broken are found by the next list.

mod actions;
mod amounts;
mod configs;
mod control_plane;
pub(crate) mod controllers;
mod events;
pub(crate) mod fresh;
mod incidents;
pub(crate) mod light;
pub(crate) mod marks;
pub(crate) mod nodes;
pub(crate) mod patience;
mod playbooks;
pub(crate) mod pods;
pub(crate) mod pulse;
mod reads;
mod rollout;
mod run;
pub(crate) mod scalables;
mod services;
mod tenants;
mod workloads;

pub use pulse::PulseLimits;

use crate::validate::acceptance::{Acceptance, Catalogue};
use homeostat_knowledge::observation::{ObjectKind, Observation, SourceState};
use homeostat_knowledge::{Clock, Name};
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::{Api, Client, Resource};
use light::{Body, Light};
use pulse::{Pulse, listening, report};
use run::{Closed, Gate, Outlet, Watched, run};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Name of the source that these watches are.
pub const SOURCE: &str = "kubernetes";

/// How often the source's health is looked at, and how often an unchanged report is repeated for its counts.
const LOOK: Duration = Duration::from_millis(500);
const REPEAT: Duration = Duration::from_secs(30);

/// What is watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchOptions {
    /// Only these namespaces; empty means all. Cluster-scoped kinds are watched in any case.
    pub namespaces: BTreeSet<String>,
    /// Namespaces that no tenant can own, beside the cluster's own: where Homeostat is installed.
    pub reserved: BTreeSet<String>,
    /// When a watch counts as dead.
    pub limits: PulseLimits,
}

/// Running watches. Dropping it stops them.
pub struct Watches {
    tasks: JoinSet<Closed>,
    catalogue: Catalogue,
}

impl Watches {
    /// Starts every watch. Observations go to `sender`; when its receiver is gone the watches end.
    ///
    /// Each change is one [`Observation`] with [`homeostat_knowledge::Signal::Object`]; after the first full list
    /// of a kind follows `ObjectChange::Synced`. Health of the whole source follows as
    /// [`homeostat_knowledge::Signal::Source`] for the entity [`SOURCE`], on each change and every 30 s.
    pub fn start(
        client: &Client,
        options: &WatchOptions,
        clock: Arc<dyn Clock>,
        sender: mpsc::Sender<Observation>,
    ) -> Self {
        let acceptance = Arc::new(Mutex::new(Acceptance::default()));
        let outlet = Outlet { sender, clock, acceptance: Arc::clone(&acceptance) };
        let mut start = Starter {
            client,
            namespaces: &options.namespaces,
            outlet: &outlet,
            tasks: JoinSet::new(),
            pulses: Vec::new(),
            gates: gates(&options.namespaces),
        };

        // The list of everything that is watched.
        start.namespaced(|| pods::Pods);
        start.namespaced(controllers::Controllers::<controllers::Deployments>::default);
        start.namespaced(controllers::Controllers::<controllers::ReplicaSets>::default);
        start.namespaced(controllers::Controllers::<controllers::StatefulSets>::default);
        start.namespaced(controllers::Controllers::<controllers::DaemonSets>::default);
        start.namespaced(controllers::Controllers::<controllers::Jobs>::default);
        start.namespaced(controllers::Controllers::<controllers::CronJobs>::default);
        start.namespaced(|| services::Services);
        start.cluster(nodes::Nodes);
        start.namespaced(|| configs::Configs);
        start.namespaced(|| events::Events);
        start.cluster(tenants::Tenants { reserved: options.reserved.clone() });
        start.namespaced(|| workloads::Workloads);
        start.cluster(playbooks::Playbooks);
        start.cluster(control_plane::ControlPlanes);
        start.namespaced(|| incidents::Incidents);
        start.namespaced(actions::Actions::default);

        let Starter { mut tasks, pulses, .. } = start;
        tasks.spawn(scalables::run(client.clone(), outlet.clone()));
        tasks.spawn(watch_health(pulses, options.limits, outlet));
        Self { tasks, catalogue: Catalogue::new(acceptance) }
    }

    /// What was judged of tenants, workloads, playbooks and the control plane, for their status.
    pub fn catalogue(&self) -> Catalogue {
        self.catalogue.clone()
    }

    /// Waits until a watch ends, which happens only when the receiver is gone.
    pub async fn ended(&mut self) {
        let _ended = self.tasks.join_next().await;
    }

    /// Stops every watch and waits for it.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

/// Wire kinds per record kind, and lists to wait for.
fn gates(namespaces: &BTreeSet<String>) -> BTreeMap<ObjectKind, Gate> {
    let parts = namespaces.len().max(1);
    [
        (ObjectKind::Pod, parts),
        (ObjectKind::Controller, 6 * parts),
        (ObjectKind::Service, parts),
        (ObjectKind::Node, 1),
        (ObjectKind::Config, parts),
        (ObjectKind::Event, parts),
        (ObjectKind::Tenant, 1),
        (ObjectKind::Workload, parts),
        (ObjectKind::Playbook, 1),
        (ObjectKind::Control, 1),
        (ObjectKind::Incident, parts),
        (ObjectKind::Action, parts),
    ]
    .into_iter()
    .map(|(kind, lists)| (kind, Gate::new(lists)))
    .collect()
}

struct Starter<'a> {
    client: &'a Client,
    namespaces: &'a BTreeSet<String>,
    outlet: &'a Outlet,
    tasks: JoinSet<Closed>,
    pulses: Vec<Arc<Pulse>>,
    gates: BTreeMap<ObjectKind, Gate>,
}

impl Starter<'_> {
    fn namespaced<W: Watched>(&mut self, make: impl Fn() -> W)
    where
        <W::Body as Body>::Kind: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        if self.namespaces.is_empty() {
            self.spawn(make(), W::NAME.to_owned(), Api::all);
        }
        for namespace in self.namespaces {
            self.spawn(make(), format!("{} in {namespace}", W::NAME), |client| {
                Api::namespaced(client, namespace)
            });
        }
    }

    fn cluster<W: Watched>(&mut self, watched: W)
    where
        <W::Body as Body>::Kind: Resource<DynamicType = (), Scope = ClusterResourceScope>,
    {
        self.spawn(watched, W::NAME.to_owned(), Api::all);
    }

    fn spawn<W: Watched>(
        &mut self,
        watched: W,
        name: String,
        api: impl FnOnce(Client) -> Api<Light<W::Body>>,
    ) {
        let Some(gate) = self.gates.get(&W::KIND).cloned() else { return };
        let pulse = Pulse::new(Name::from(name));
        let api = api(listening(self.client, &pulse));
        self.pulses.push(Arc::clone(&pulse));
        self.tasks.spawn(run(watched, api, self.outlet.clone(), pulse, gate));
    }
}

async fn watch_health(pulses: Vec<Arc<Pulse>>, limits: PulseLimits, outlet: Outlet) -> Closed {
    let mut last: Option<(SourceState, Instant)> = None;
    loop {
        #[allow(clippy::disallowed_methods, reason = "how long the API server is waited for")]
        let now = Instant::now();
        if let Some(report) = report(&pulses, limits, now) {
            let repeat = last.as_ref().is_none_or(|(state, at)| {
                // "No word for 95 s" counts on; the state behind it is the same.
                std::mem::discriminant(state) != std::mem::discriminant(&report.state)
                    || now.duration_since(*at) >= REPEAT
            });
            if repeat {
                if let SourceState::Down(why) = &report.state {
                    tracing::warn!(%why, "The view of the cluster is not up to date");
                }
                last = Some((report.state.clone(), now));
                if let Err(closed) = outlet.source(report).await {
                    return closed;
                }
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}
