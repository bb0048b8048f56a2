//! Reports, from the watch to their status, against a scripted API server in virtual time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on stops")]

mod support;

use homeostat_cluster::Leadership;
use homeostat_cluster::janitor::Retention;
use homeostat_cluster::reports::{ReportWriter, StoredIncidents};
use homeostat_knowledge::ids::Uid;
use homeostat_knowledge::observation::{Change, ObjectChange, ObjectKind};
use homeostat_knowledge::policy::TenantPolicy;
use homeostat_knowledge::{Clock, IncidentId, Name, Snapshot, SnapshotSource, TenantName};
use http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use support::clock::Hand;
use support::{Server, Still, status};
use tokio_util::sync::CancellationToken;

struct Known(Arc<Snapshot>);

impl SnapshotSource for Known {
    fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0)
    }
}

/// `food` owns shop and stock, `water` owns wells.
fn known() -> Snapshot {
    let mut snapshot = Snapshot::default();
    for kind in ObjectKind::REQUIRED {
        snapshot.commit(&ObjectChange::Synced(kind), Still.now());
    }
    for (name, namespaces) in [("food", vec!["shop", "stock"]), ("water", vec!["wells"])] {
        let policy =
            TenantPolicy::new(TenantName::new(name), Uid::new(name), namespaces.into_iter().map(Name::from));
        snapshot.commit(&ObjectChange::Tenant(Change::Applied(Arc::new(policy))), Still.now());
    }
    snapshot
}

fn incident(namespace: &str, name: &str, tenant: &str, over: bool) -> Value {
    let instants = if over {
        json!({ "impactStart": "2026-11-22T09:00:00.000000Z", "detected": "2026-11-22T09:00:02.000000Z",
            "acknowledged": "2026-11-22T09:00:03.000000Z", "mitigated": "2026-11-22T09:00:12.000000Z",
            "resolved": "2026-11-22T09:00:42.000000Z" })
    } else {
        json!({ "impactStart": "2026-11-22T09:00:00.000000Z", "detected": "2026-11-22T09:00:02.000000Z" })
    };
    json!({ "metadata": { "name": name, "namespace": namespace },
        "spec": { "fingerprint": "Hung:Workload:shop/cart", "tenant": tenant, "openedBy": "homeostat" },
        "status": { "state": if over { "Resolved" } else { "Open" }, "severity": "Critical", "cause": "cart (Hung)",
            "workload": "cart", "evidenceId": "e", "instants": instants } })
}

fn action(namespace: &str, name: &str, incident: &str, tenant: &str) -> Value {
    json!({ "metadata": { "name": name, "namespace": namespace, "labels": { "homeostat.dev/incident": incident } },
        "spec": { "origin": "Incident", "incidentRef": { "name": incident }, "tenant": tenant, "action": "EvictPod",
            "workloadRef": { "name": "cart" } },
        "status": { "state": "Verified", "instants": { "claimed": "2026-11-22T09:00:03.000000Z",
            "sent": "2026-11-22T09:00:03.100000Z" } } })
}

fn report(name: &str, spec: &Value) -> Value {
    json!({ "metadata": { "name": name, "namespace": "shop", "generation": 1 }, "spec": spec })
}

fn day() -> Value {
    json!({ "period": { "from": "2026-11-22T00:00:00.000000Z", "to": "2026-11-22T10:00:00.000000Z" } })
}

struct World {
    server: Server,
    clock: Arc<Hand>,
    stop: CancellationToken,
}

impl World {
    fn start(server: Server) -> Self {
        let (clock, stop) = (Arc::new(Hand::default()), CancellationToken::new());
        let world = Self { server, clock, stop };
        world.serve();
        world
    }

    /// Another process begins.
    fn serve(&self) {
        let writer = ReportWriter::new(
            self.server.client(),
            BTreeSet::new(),
            Arc::new(Known(Arc::new(known()))),
            Arc::clone(&self.clock) as Arc<dyn Clock>,
            Retention::default(),
            Some("https://example.org".parse().unwrap()),
        );
        tokio::spawn(writer.run(Leadership::always(), self.stop.clone()));
    }

    /// So many seconds pass.
    async fn pass(&self, seconds: i64) {
        for _ in 0..seconds {
            self.clock.forward(1);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    fn stored(&self, name: &str) -> Value {
        self.server.get("reports", "shop", name).unwrap()["status"].clone()
    }

    fn figure(&self, name: &str, figure: &str) -> Value {
        let status = self.stored(name);
        let all = status["keyFigures"].as_array().unwrap_or_else(|| panic!("{status}")).clone();
        all.iter().find(|one| one["name"] == figure).unwrap()["value"].clone()
    }

    fn writes(&self) -> usize {
        self.server.writes().len()
    }
}

fn full() -> Server {
    let server = Server::new();
    server.put("incidents", incident("shop", "cart-hung-1", "food", true));
    server.put("actions", action("shop", "cart-hung-1-1", "cart-hung-1", "food"));
    server.put("incidents", incident("stock", "cart-hung-2", "food", true));
    server.put("incidents", incident("wells", "pump-hung-1", "water", true));
    server
}

#[tokio::test(start_paused = true)]
async fn a_report_of_an_incident_gets_its_figures_once_and_then_nothing_is_written() {
    let world = World::start(full());
    world.server.put(
        "reports",
        report("one", &json!({ "incidentRef": { "name": "cart-hung-1" }, "format": "Json" })),
    );
    world.pass(3).await;
    let said = world.stored("one");
    assert_eq!(said["url"], "https://example.org/incidents/cart-hung-1/report.json");
    assert_eq!(said["observedGeneration"], 1);
    let ready = &said["conditions"][0];
    assert_eq!(
        (&ready["type"], &ready["status"], &ready["reason"]),
        (&json!("Ready"), &json!("True"), &json!("Generated"))
    );
    assert_eq!(world.figure("one", "TimeToRestore"), "12.000");
    assert_eq!(world.figure("one", "ActionsVerified"), "1");
    assert_eq!(
        world.server.writes(),
        ["PATCH /apis/homeostat.dev/v1alpha1/namespaces/shop/reports/one/status"]
    );
    let seen = world.server.seen().len();
    world.pass(600).await;
    assert_eq!(world.writes(), 1, "nothing changed");
    let reads = world.server.seen()[seen..].iter().filter(|seen| !seen.query.contains_key("watch")).count();
    assert_eq!(reads, 0, "what is over is not read again");
}

#[tokio::test(start_paused = true)]
async fn a_report_of_an_open_incident_follows_it_to_its_end_also_after_a_restart() {
    let server = full();
    server.put("incidents", incident("shop", "cart-hung-3", "food", false));
    let world = World::start(server);
    world.server.put("reports", report("one", &json!({ "incidentRef": { "name": "cart-hung-3" } })));
    world.pass(200).await;
    assert_eq!(world.figure("one", "State"), "Open");
    assert_eq!(world.figure("one", "TimeToRestore"), "no data");
    assert_eq!(world.writes(), 1, "nothing changed");
    world.stop.cancel();
    world.server.put("incidents", incident("shop", "cart-hung-3", "food", true));
    let next = World {
        stop: CancellationToken::new(),
        server: world.server.clone(),
        clock: Arc::clone(&world.clock),
    };
    next.serve();
    next.pass(5).await;
    assert_eq!(next.figure("one", "State"), "Resolved");
    assert_eq!(next.writes(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_period_counts_the_tenants_namespaces_is_made_again_when_it_ended_and_then_left_alone() {
    let world = World::start(full());
    world.server.put("reports", report("day", &day()));
    world.pass(3).await;
    assert_eq!(world.figure("day", "Incidents"), "2", "of both namespaces of food, and none of water");
    assert_eq!(world.figure("day", "MedianTimeToRestore"), "12.000");
    assert_eq!(
        (world.figure("day", "ActionsJudged"), world.figure("day", "WrongActions")),
        (json!("1"), json!("0"))
    );
    let url = world.stored("day")["url"].clone();
    assert_eq!(
        url,
        "https://example.org/report?from=2026-11-22T00:00:00Z&to=2026-11-22T10:00:00Z&tenant=food"
    );
    world.pass(600).await;
    assert_eq!(world.writes(), 1, "it lasts, and nothing changed");
    world.server.put("incidents", incident("stock", "cart-hung-4", "food", false));
    world.pass(75).await;
    assert_eq!((world.figure("day", "Incidents"), world.writes()), (json!("3"), 2));
    assert!(world.stored("day")["conditions"][1]["message"].as_str().unwrap().starts_with("so far"));

    // Until ten o'clock and a minute.
    world.pass(2_160).await;
    assert_eq!(world.writes(), 3, "the end is told");
    assert!(!world.stored("day").to_string().contains("so far"));
    world.server.put("incidents", incident("stock", "cart-hung-5", "food", true));
    world.pass(600).await;
    world.serve();
    world.pass(120).await;
    assert_eq!(world.writes(), 3, "what is over stays as it is, also for the next process");
}

#[tokio::test(start_paused = true)]
async fn actions_count_as_wrong_when_taken_back_aimed_elsewhere_or_a_person_says_so() {
    let server = full();
    let mut elsewhere = action("shop", "cart-hung-1-2", "cart-hung-1", "food");
    elsewhere["spec"]["workloadRef"]["name"] = json!("stock");
    let mut undone = action("stock", "cart-hung-2-1", "cart-hung-2", "food");
    undone["status"]["state"] = json!("Undone");
    let mut excused = undone.clone();
    excused["metadata"]["name"] = json!("cart-hung-2-2");
    excused["metadata"]["annotations"] = json!({ "homeostat.dev/verdict": "Right" });
    let mut blamed = action("shop", "cart-hung-1-3", "cart-hung-1", "food");
    blamed["metadata"]["annotations"] = json!({ "homeostat.dev/verdict": "Wrong" });
    server.put("incidents", incident("shop", "cart-hung-3", "food", false));
    let mut open = action("shop", "cart-hung-3-1", "cart-hung-3", "food");
    open["spec"]["workloadRef"]["name"] = json!("stock");
    for one in [elsewhere, undone, excused, blamed, open] {
        server.put("actions", one);
    }
    let world = World::start(server);
    world.server.put("reports", report("day", &day()));
    world.pass(3).await;
    let figure = |name| world.figure("day", name);
    assert_eq!(
        ["ActionsSent", "ActionsJudged", "WrongActions"].map(figure),
        [json!("6"), json!("5"), json!("3")],
        "what an open incident is about may still change"
    );
}

#[tokio::test(start_paused = true)]
async fn nobody_gets_figures_of_another_tenant() {
    let world = World::start(full());
    world.server.put("incidents", incident("shop", "pump-hung-2", "water", true));
    let mut others = day();
    others["tenant"] = json!("water");
    world.server.put("reports", report("others", &others));
    world.server.put("reports", report("theirs", &json!({ "incidentRef": { "name": "pump-hung-1" } })));
    world.server.put("reports", report("before", &json!({ "incidentRef": { "name": "pump-hung-2" } })));
    world.pass(5).await;
    for (name, reason, told) in [
        ("others", "InvalidSpec", "does not own namespace shop"),
        ("theirs", "TargetNotFound", "no incident pump-hung-1 in namespace shop"),
        ("before", "TargetNotFound", "no incident pump-hung-2 in namespace shop"),
    ] {
        let said = world.stored(name);
        assert!(said["keyFigures"].is_null() && said["url"].is_null() && said["summary"].is_null(), "{said}");
        let generated = &said["conditions"][1];
        assert_eq!((&generated["status"], &generated["reason"]), (&json!("False"), &json!(reason)));
        assert!(generated["message"].as_str().unwrap().contains(told), "{generated}");
    }
    let writes = world.writes();
    world.pass(600).await;
    assert_eq!(world.writes(), writes, "a refusal is told once");
    assert!(
        world.server.seen().iter().all(|seen| !seen.path.contains("/namespaces/wells/")),
        "not even read"
    );
}

#[tokio::test(start_paused = true)]
async fn a_spec_that_changed_is_served_at_once_and_a_failure_again_a_minute_later() {
    let world = World::start(full());
    world.server.put("reports", report("one", &json!({ "incidentRef": { "name": "nothing" } })));
    world.pass(3).await;
    assert_eq!(world.stored("one")["conditions"][0]["reason"], "TargetNotFound");
    world.server.trouble(Method::PATCH, "/reports/one/status", 1, status(503, "ServiceUnavailable", "no"));
    let mut better = report("one", &json!({ "incidentRef": { "name": "cart-hung-1" } }));
    better["metadata"]["generation"] = json!(2);
    better["status"] = world.stored("one");
    world.server.put("reports", better);
    world.pass(3).await;
    assert_eq!(world.stored("one")["observedGeneration"], 1, "the API server did not take it");
    world.pass(62).await;
    assert_eq!(world.stored("one")["observedGeneration"], 2);
    assert_eq!(world.stored("one")["conditions"][0]["status"], "True");
}

#[tokio::test(start_paused = true)]
async fn it_uses_the_rights_that_it_needs_and_creates_nothing() {
    let world = World::start(full());
    world.server.put("reports", report("one", &json!({ "incidentRef": { "name": "cart-hung-1" } })));
    world.server.put("reports", report("day", &day()));
    world.pass(5).await;
    let ours =
        |resource: &str, verb: &str| ("homeostat.dev".to_owned(), resource.to_owned(), verb.to_owned());
    let expected = BTreeSet::from([
        ours("reports", "get"),
        ours("reports", "list"),
        ours("reports", "watch"),
        ours("reports/status", "patch"),
        ours("incidents", "get"),
        ours("incidents", "list"),
        ours("actions", "list"),
    ]);
    assert_eq!(world.server.used(), expected);
}

#[tokio::test]
async fn pages_of_what_is_no_longer_in_memory_are_read_from_the_api_server() {
    let server = full();
    let stored = StoredIncidents::new(server.client(), BTreeSet::new(), Arc::new(Still));
    let (incident, _) = stored.incident(&IncidentId::new("cart-hung-2")).await.unwrap().unwrap();
    assert_eq!(&*incident.namespace, "stock");
    assert!(stored.incident(&IncidentId::new("nothing")).await.unwrap().is_none());
    let (from, to) = ("2026-11-22T09:00:00Z".parse().unwrap(), "2026-11-22T09:00:02Z".parse().unwrap());
    let namespaces = [Name::from("shop"), Name::from("stock")];
    let past = stored.period(from, to, Some("food"), &namespaces).await.unwrap();
    assert!(past.incidents.is_empty(), "recognised at the end is recognised after it");
    let past = stored.period(from, Still.now(), Some("food"), &namespaces).await.unwrap();
    let names: Vec<&str> = past.incidents.iter().map(|(incident, _)| incident.id.as_str()).collect();
    assert_eq!((names, past.cut), (vec!["cart-hung-1", "cart-hung-2"], false));
}
