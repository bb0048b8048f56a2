//! The console's pages without a cluster, over made-up but complete data:
//!
//! ```sh
//! cargo run -p homeostat-console --example pages -- night    # or quiet, stopped, starting
//! ```
//!
//! then open <http://127.0.0.1:8081>. A second argument is another address.
#![allow(clippy::expect_used, reason = "the shared fixtures may end the program: their texts are constants")]

#[path = "../tests/common/mod.rs"]
mod common;

use common::{FixedClock, Snapshots, action, at, forecasts, incident, snapshot};
use homeostat_console::{
    ArchiveSource, Console, ForecastSource, Heartbeat, Metrics, ReadyGate, RecentIncidents, router, serve,
};
use homeostat_knowledge::observation::{SourceReport, SourceState};
use homeostat_knowledge::policy::{KillSwitch, WorkloadPolicy};
use homeostat_knowledge::records::{ControllerKey, ControllerKind, Hold, NodeRecord};
use homeostat_knowledge::{
    ActionId, ActionState, ControlPolicy, IncidentId, IncidentState, Name, ObjectKey, Parameters, Severity,
    Snapshot, Uid,
};
use std::error::Error;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let scene = arguments.next().unwrap_or_else(|| "night".to_owned());
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8081".to_owned());
    let (recent, gate) = (RecentIncidents::default(), ReadyGate::default());
    let world = match scene.as_str() {
        "night" => {
            recent.add(incident(), vec![action()]);
            gate.open();
            night()
        }
        "quiet" => {
            gate.open();
            quiet()
        }
        "stopped" => {
            gate.open();
            let engaged = KillSwitch::Engaged {
                reason: Name::from("release under way, ask in #shop"),
                by: Some(Name::from("ana")),
            };
            // In the middle of a night, so that something is left half done.
            let mut world = night();
            half_done(&mut world);
            world.control = Arc::new(ControlPolicy { kill_switch: engaged, ..ControlPolicy::default() });
            world
        }
        "starting" => Snapshot::default(),
        other => return Err(format!("no scene {other}: give night, quiet, stopped or starting").into()),
    };
    let expected = Arc::new(if scene == "night" { forecasts() } else { Vec::new() });
    let console = Console {
        gate,
        heartbeat: Heartbeat::default(),
        metrics: Metrics::new(env!("CARGO_PKG_VERSION")),
        before_scrape: None,
        snapshots: Arc::new(Snapshots(Arc::new(Mutex::new(Arc::new(world))))),
        forecasts: ForecastSource::new(move || vec![Arc::clone(&expected)]),
        clock: Arc::new(FixedClock),
        recent,
        archive: ArchiveSource::default(),
        home: homeostat_knowledge::Name::from("homeostat-system"),
    };
    let listener = TcpListener::bind(&address).await?;
    println!("{scene}: http://{}", listener.local_addr()?);
    serve(listener, router(console), CancellationToken::new()).await?;
    Ok(())
}

fn kitchen() -> WorkloadPolicy {
    let key = ObjectKey::new("shop", "kitchen");
    WorkloadPolicy {
        availability: Some(0.999),
        ..WorkloadPolicy::new(
            key.clone(),
            Uid::new("7c01"),
            ControllerKey { kind: ControllerKind::Deployment, object: key },
        )
    }
}

/// Nothing is wrong, every source is there.
fn quiet() -> Snapshot {
    let mut world = Snapshot::default();
    world.generation = 88;
    world.control = Arc::new(ControlPolicy { kill_switch: KillSwitch::Off, ..ControlPolicy::default() });
    world.workloads.insert_mut(ObjectKey::new("shop", "kitchen"), Arc::new(kitchen()));
    for name in ["kubernetes", "otlp"] {
        let report = SourceReport { state: SourceState::Healthy, accepted: 48_210, dropped: 0 };
        world.sources.insert_mut(Name::from(name), report);
    }
    world
}

/// Incidents in several states with long names, an action that waits, more actions than are shown, a source that is
/// down.
fn night() -> Snapshot {
    let mut world = snapshot();
    world.workloads.insert_mut(ObjectKey::new("shop", "kitchen"), Arc::new(kitchen()));
    let long = "payment-settlement-reconciliation-worker-eu-central-1-crashing-4f8kq";
    let mut over = incident();
    over.id = IncidentId::new(long);
    over.workload = Some(ObjectKey::new(
        "finance-settlement-production",
        "payment-settlement-reconciliation-worker-eu-central-1",
    ));
    over.state = IncidentState::HandedOver;
    over.severity = Severity::Warning;
    over.handed_over =
        Some("two restarts did not help; kubectl describe configmap settlement-rules".to_owned());
    over.instants.acknowledged = None;
    over.instants.mitigated = None;
    over.instants.resolved = None;
    // The evening before: times of another day than the report's.
    over.instants.impact_start = at(-50_000_000);
    over.instants.detected = at(-49_998_000);
    world.incidents.insert_mut(over.id.clone(), Arc::new(over));
    for number in 0_i64..24 {
        let mut other = action();
        other.id = ActionId::new(format!("kitchen-hung-7t2kq-evict-{}", number + 2));
        other.instants.intent = Some(at(-60_000 * number));
        match number {
            7 => {
                other.state = ActionState::AwaitingApproval;
                other.incident = IncidentId::new(long);
                "approval is asked for until 13:19:05 UTC".clone_into(&mut other.message);
            }
            3 => {
                other.state = ActionState::Refused;
                "Cooldown refused: cooling down until 13:19:07 UTC; a person can act meanwhile"
                    .clone_into(&mut other.message);
            }
            _ => {}
        }
        world.actions.insert_mut(other.id.clone(), Arc::new(other));
    }
    world
}

/// An eviction whose outcome is not known yet, a Deployment that was given replicas, and a node that is held.
fn half_done(world: &mut Snapshot) {
    let mut evicted = action();
    evicted.id = ActionId::new("kitchen-hung-7t2kq-evict-90");
    evicted.state = ActionState::Verifying;
    let mut scaled = evicted.clone();
    scaled.id = ActionId::new("kitchen-hung-7t2kq-scale-91");
    scaled.parameters = Parameters::ScaleUp { replicas: 6 };
    scaled.before.replicas = Some(4);
    scaled.target.api_version = Name::from("apps/v1");
    scaled.target.kind = Name::from("Deployment");
    scaled.target.key = ObjectKey::new("shop", "kitchen");
    scaled.target.uid = Uid::new("d001");
    for one in [evicted, scaled] {
        world.actions.insert_mut(one.id.clone(), Arc::new(one));
    }
    let node = NodeRecord {
        cordoned: true,
        hold: Some(Hold { by: Name::from("node-pressure-2hx9d-cordon-1"), until: Some(at(1_200_000)) }),
        ..NodeRecord::bare(Name::from("worker-eu-central-1b-07"), Uid::new("n007"))
    };
    world.nodes.insert_mut(node.name.clone(), Arc::new(node));
}
