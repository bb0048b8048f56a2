//! Whether people can be told is written into the Tenant's status when it changes, and outlives who found it out.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on stops")]

mod support;

use homeostat_cluster::status::{RouteStanding, RouteStandings, SelfFacts, StatusWriter};
use homeostat_cluster::{Leadership, WatchOptions, Watches};
use homeostat_knowledge::{Name, Observation, Snapshot, SnapshotSource, TenantName};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use support::{Server, Still};
use tokio::sync::{mpsc, watch};

struct Empty;

impl SnapshotSource for Empty {
    fn current(&self) -> Arc<Snapshot> {
        Arc::default()
    }
}

/// A process: its watches, its writer, and where it says how the routes stand.
struct Process {
    watches: Watches,
    writer: StatusWriter,
    standing: watch::Sender<RouteStandings>,
}

impl Process {
    fn start(server: &Server) -> Self {
        let (sender, mut receiver) = mpsc::channel::<Observation>(64);
        tokio::spawn(async move { while receiver.recv().await.is_some() {} });
        let watches = Watches::start(&server.client(), &WatchOptions::default(), Arc::new(Still), sender);
        let (standing, shown) = watch::channel(RouteStandings::default());
        let me = SelfFacts::default();
        let catalogue = watches.catalogue();
        let writer = StatusWriter::new(server.client(), catalogue, Arc::new(Empty), Arc::new(Still), me);
        Self { watches, writer: writer.with_routes(shown), standing }
    }

    /// Looks until our own writes came back; gives what people read, and how many writes of the Tenant there were.
    async fn shown(&mut self, server: &Server, found: Option<RouteStanding>) -> (String, String, usize) {
        if let Some(found) = found {
            let of_the_tenant = BTreeMap::from([(Name::from("oncall"), found)]);
            let all = BTreeMap::from([(TenantName::new("food"), of_the_tenant)]);
            self.standing.send_replace(Arc::new(all));
        }
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(2)).await;
            self.writer.look(&Leadership::always()).await;
        }
        let status = server.get("tenants", "", "food").unwrap()["status"].take();
        let conditions = status["conditions"].as_array().unwrap();
        let told = conditions.iter().find(|one| one["type"] == "NotifyReady").expect("it is said");
        let text = |field: &str| told[field].as_str().unwrap().to_owned();
        let writes = server.writes().iter().filter(|line| line.contains("/tenants/food/")).count();
        (text("status"), text("message"), writes)
    }
}

#[tokio::test(start_paused = true)]
async fn a_route_that_does_not_work_is_written_once_and_outlives_the_process_until_it_works() {
    let server = Server::new();
    server.put("controlplanes", json!({ "metadata": { "name": "default" }, "spec": {} }));
    let route = json!({ "name": "oncall", "kind": "Webhook",
        "urlFrom": { "secretKeyRef": { "name": "hooks", "key": "oncall" } } });
    let spec = json!({ "namespaces": ["shop"], "notify": [route] });
    server.put("tenants", json!({ "metadata": { "name": "food", "generation": 1 }, "spec": spec }));
    let mut first = Process::start(&server);
    let (status, _, writes) = first.shown(&server, None).await;
    assert_eq!((status.as_str(), writes), ("Unknown", 1), "nothing is looked at yet");
    let refused = || RouteStanding::NotTaken("its receiver refuses messages (status 404)".to_owned());
    let (status, message, writes) = first.shown(&server, Some(refused())).await;
    assert_eq!((status.as_str(), writes), ("False", 2));
    assert_eq!(
        message,
        "People are not told by route oncall (key oncall of Secret hooks): its receiver refuses messages (status 404)"
    );
    assert_eq!(first.shown(&server, Some(refused())).await.2, 2, "the same again is no write");
    first.watches.stop().await;

    let mut next = Process::start(&server);
    assert_eq!(next.shown(&server, None).await, ("False".to_owned(), message.clone(), 2));
    let idle = next.shown(&server, Some(RouteStanding::NotTried)).await;
    assert_eq!(idle, ("False".to_owned(), message, 2), "nothing was sent since");
    let works = next.shown(&server, Some(RouteStanding::Works)).await;
    assert_eq!(works, ("True".to_owned(), String::new(), 3));
}
