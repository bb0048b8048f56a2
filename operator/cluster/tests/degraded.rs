//! An API server that answers, but not as it should: a store without room, credentials that are refused, definitions
//! that are gone, and actions that a newer version wrote. Against a scripted one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on stops")]
#![allow(clippy::disallowed_methods, reason = "the virtual clock of a paused runtime")]

mod certificates;
mod support;

use homeostat_cluster::ledger::record;
use homeostat_cluster::{
    ApiActuator, ApiLedger, Elector, KubeLease, Leadership, Timing, WatchOptions, Watches,
};
use homeostat_execute::ports::{Actuator, EffectError, Ledger, LedgerStoreError, ReadError, Refusal};
use homeostat_knowledge::ids::Uid;
use homeostat_knowledge::observation::SourceState;
use homeostat_knowledge::policy::KillSwitch;
use homeostat_knowledge::{
    ActionId, ActionRecord, ActionState, Clock, Entity, Name, ObjectKey, Observation, Parameters, Signal,
    Snapshot, Target,
};
use http::Method;
use kube::Client;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use support::{Server, Still, status};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Kinds of our own, whose definitions can go.
const OWN: [&str; 6] = ["controlplanes", "tenants", "workloads", "playbooks", "incidents", "actions"];

fn shop() -> Server {
    let server = Server::new();
    server.put("controlplanes", json!({ "metadata": { "name": "default" }, "spec": {} }));
    server.put("tenants", json!({ "metadata": { "name": "food" }, "spec": { "namespaces": ["shop"] } }));
    server.put("deployments", json!({ "metadata": { "name": "order", "namespace": "shop" }, "spec": {} }));
    server.put(
        "workloads",
        json!({ "metadata": { "name": "order", "namespace": "shop" },
            "spec": { "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "order" },
                      "archetype": "Service" } }),
    );
    server.put(
        "pods",
        json!({ "metadata": { "name": "order-x", "namespace": "shop" },
            "spec": { "containers": [{ "name": "app" }] }, "status": { "phase": "Running" } }),
    );
    server
}

/// The watches, and what they told so far.
struct Told {
    _watches: Watches,
    receiver: mpsc::Receiver<Observation>,
    snapshot: Snapshot,
    /// How often the source was down and said that it is well again.
    recoveries: usize,
}

impl Told {
    fn start(client: &Client) -> Self {
        let (sender, receiver) = mpsc::channel(64);
        let watches = Watches::start(client, &WatchOptions::default(), Arc::new(Still), sender);
        Self { _watches: watches, receiver, snapshot: Snapshot::default(), recoveries: 0 }
    }

    async fn begin(server: &Server) -> Self {
        let mut told = Self::start(&server.client());
        told.wait(5).await;
        assert!(told.snapshot.ready());
        told
    }

    /// Takes what comes for so many seconds.
    async fn wait(&mut self, seconds: u64) {
        self.until(seconds, |_| false).await;
    }

    /// Takes what comes until this holds, for so many seconds at most; whether it does.
    async fn until(&mut self, seconds: u64, holds: impl Fn(&Self) -> bool) -> bool {
        let end = tokio::time::Instant::now() + Duration::from_secs(seconds);
        while !holds(self) {
            match tokio::time::timeout_at(end, self.receiver.recv()).await {
                Ok(observation) => self.take(observation.expect("the watches go on")),
                Err(_) => return false,
            }
        }
        true
    }

    fn take(&mut self, observation: Observation) {
        match observation {
            Observation { signal: Signal::Object(change), .. } => {
                self.snapshot.commit(&change, Still.now());
            }
            Observation { signal: Signal::Source(report), entity: Entity::Source { name }, .. } => {
                let before = self.snapshot.sources.get(&name);
                let down = before.is_some_and(|before| before.state != SourceState::Healthy);
                self.recoveries += usize::from(down && report.state == SourceState::Healthy);
                self.snapshot.sources.insert_mut(name, report);
            }
            other => panic!("{other:?}"),
        }
    }

    /// Every list is complete, and the source said how it is.
    fn known(&self) -> bool {
        self.snapshot.ready() && self.snapshot.sources.contains_key("kubernetes")
    }

    fn source(&self) -> SourceState {
        self.snapshot.sources.get("kubernetes").expect("it tells of itself").state.clone()
    }
}

/// An action as stored, with its status.
fn stored(name: &str, state: &str) -> Value {
    json!({ "metadata": { "name": name, "namespace": "shop" },
        "spec": { "origin": "Incident", "incidentRef": { "name": "order-7f3k2" }, "tenant": "food",
            "workloadRef": { "name": "order" }, "playbook": { "name": "hung-process", "version": 1, "step": 1 },
            "action": "EvictPod", "parameters": {}, "before": {}, "epoch": 17, "undo": "Never",
            "target": { "apiVersion": "v1", "kind": "Pod", "namespace": "shop", "name": "order-x",
                        "uid": "uid-of-order-x", "resourceVersion": "88" },
            "evidence": { "id": "9c41", "takenAt": "2026-11-22T09:14:00.000000Z", "summary": "no answer" },
            "verify": { "withinSeconds": 30, "expect": "ObjectivesMet" } },
        "status": { "state": state, "message": "under way", "guards": [],
            "instants": { "intent": "2026-11-22T09:14:01.000000Z", "claimed": "2026-11-22T09:14:02.000000Z" } } })
}

fn action(name: &str) -> ActionRecord {
    let mut object = stored(name, "Admitted");
    object["apiVersion"] = json!("homeostat.dev/v1alpha1");
    object["kind"] = json!("Action");
    record(&serde_json::from_value(object).expect("an action"), Still.now()).expect("readable")
}

fn pod() -> Target {
    action("order-7f3k2-1").target
}

async fn evict(server: &Server) -> Result<(), EffectError> {
    evict_by(&ApiActuator::new(server.client())).await
}

async fn evict_by(hands: &ApiActuator) -> Result<(), EffectError> {
    let evict = Parameters::EvictPod { grace_seconds: None };
    hands.effect(&pod(), &evict, &ActionId::new("order-7f3k2-1"), &Name::from("88")).await.map(drop)
}

/// Requests while `seconds` pass.
async fn requests(server: &Server, told: &mut Told, seconds: u64) -> usize {
    let before = server.seen().len();
    told.wait(seconds).await;
    server.seen().len() - before
}

#[tokio::test(start_paused = true)]
async fn a_store_without_room_takes_no_intent_says_so_and_is_still_read() {
    let server = shop();
    let mut told = Told::begin(&server).await;
    let full = status(500, "InternalError", "etcdserver: mvcc: database space exceeded");
    for method in [Method::POST, Method::PUT, Method::PATCH] {
        server.trouble(method, "", usize::MAX, full.clone());
    }
    let ledger = ApiLedger::new(server.client(), Arc::new(Still));
    let error = ledger.create(&action("order-7f3k2-1")).await.unwrap_err();
    assert!(matches!(&error, LedgerStoreError::Unknown(why) if why.contains("space exceeded")), "{error:?}");
    assert!(matches!(ledger.update(&action("a")).await, Err(LedgerStoreError::Unknown(_))));
    assert_eq!(ledger.read(&ObjectKey::new("shop", "order-7f3k2-1")).await, Ok(None), "and nothing is there");
    assert!(matches!(evict(&server).await, Err(EffectError::Unknown(_))), "once, and then it is looked for");
    assert_eq!(ApiActuator::new(server.client()).kill_switch().await, Ok(KillSwitch::Off));
    assert_eq!(server.writes().len(), 3, "nothing is sent a second time: {:?}", server.writes());
    told.wait(60).await;
    assert_eq!(told.source(), SourceState::Healthy);

    server.calm();
    assert!(ledger.create(&action("order-7f3k2-1")).await.is_ok(), "without a restart");
}

/// A replica that runs for leadership.
fn replica(server: &Server, name: &str) -> Leadership {
    let lease = KubeLease::new(server.client());
    let (elector, leadership) =
        Elector::new(lease, name, Timing::default(), Arc::new(Still)).expect("times that fit");
    tokio::spawn(elector.run(CancellationToken::new()));
    leadership
}

#[tokio::test(start_paused = true)]
async fn the_lease_tells_every_replica_that_the_store_is_full_and_that_it_takes_writes_again() {
    let server = Server::new();
    let replicas = [replica(&server, "a"), replica(&server, "b")];
    let full = || replicas.each_ref().map(Leadership::store_full);
    let leading = || replicas.iter().filter(|replica| replica.leads()).count();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!((full(), leading()), ([false; 2], 1));
    // A store that has no room, and one that fails in another way.
    for (said, is_full) in
        [("etcdserver: mvcc: database space exceeded", true), ("etcdserver: request timed out", false)]
    {
        server.trouble(Method::PUT, "/leases/homeostat", usize::MAX, status(500, "InternalError", said));
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert_eq!(full().iter().any(|one| *one), is_full, "within two attempts");
        let before = server.seen().len();
        tokio::time::sleep(Duration::from_mins(2)).await;
        assert_eq!((full(), leading()), ([is_full; 2], 0), "{said}");
        let asked = server.seen().len() - before;
        assert!(asked <= 2 * 2 * 70, "{asked} requests of two replicas in two minutes");
        server.calm();
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!((full(), leading()), ([false; 2], 1), "without a restart");
    }
}

#[tokio::test(start_paused = true)]
async fn refused_credentials_stop_everything_without_a_tight_loop_and_new_ones_are_taken_up() {
    let server = shop();
    let mut told = Told::begin(&server).await;
    let refused = status(401, "Unauthorized", "Unauthorized");
    for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH] {
        server.trouble(method, "", usize::MAX, refused.clone());
    }
    server.cut_watches(false);
    let hands = ApiActuator::new(server.client());
    let ledger = ApiLedger::new(server.client(), Arc::new(Still));
    assert!(matches!(hands.kill_switch().await, Err(ReadError::Denied(_))), "unreadable means stop");
    assert!(matches!(ledger.create(&action("order-7f3k2-1")).await, Err(LedgerStoreError::Denied(_))));
    assert!(matches!(evict(&server).await, Err(EffectError::Denied(_))));
    let evict = Parameters::EvictPod { grace_seconds: None };
    let dry = hands.dry_run(&pod(), &evict, &ActionId::new("a")).await;
    assert!(matches!(dry, Err(Refusal::WouldFail(_) | Refusal::Forbidden(_))), "{dry:?}");
    let asked = requests(&server, &mut told, 120).await;
    assert!(asked <= 20 * 120, "{asked} requests in two minutes");
    let SourceState::Down(why) = told.source() else { panic!("{:?}", told.source()) };
    assert!(why.contains("Unauthorized"), "{why}");
    assert_eq!(told.recoveries, 0, "a refusal is an answer, but no sign of life");
    assert_eq!(told.snapshot.pods.size(), 1, "the last picture stays");

    // The token was rotated.
    server.calm();
    told.wait(60).await;
    assert_eq!(told.source(), SourceState::Healthy);
}

/// In real time, for a minute: the client library reads a token's file again 50 s after the last time, by the wall's clock.
#[tokio::test]
async fn a_revoked_token_stops_everything_until_its_file_holds_another_which_is_used_without_a_restart() {
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("token-that-is-revoked");
    std::fs::write(&file, "first").unwrap();
    let server = shop();
    server.admit("first");
    let client = server.client_with_token_of(&file);
    let mut told = Told::start(&client);
    assert!(told.until(20, Told::known).await, "the token of the file is shown");
    let (hands, ledger) = (ApiActuator::new(client.clone()), ApiLedger::new(client, Arc::new(Still)));
    assert_eq!(hands.kill_switch().await, Ok(KillSwitch::Off));

    server.admit("second");
    server.cut_watches(false);
    let (before, since) = (server.seen().len(), tokio::time::Instant::now());
    assert!(matches!(hands.kill_switch().await, Err(ReadError::Denied(_))), "unreadable means stop");
    assert!(matches!(ledger.create(&action("order-7f3k2-1")).await, Err(LedgerStoreError::Denied(_))));
    assert!(matches!(evict_by(&hands).await, Err(EffectError::Denied(_))));
    assert!(told.until(20, |told| matches!(told.source(), SourceState::Down(_))).await, "it is told");

    std::fs::write(&file, "second").unwrap();
    assert!(told.until(90, |told| told.recoveries == 1).await, "{:?}", told.source());
    let (asked, seconds) = (server.seen().len() - before, since.elapsed().as_secs());
    assert!(asked as u64 <= 20 * seconds.max(1), "{asked} requests in {seconds} s");
    server.put("pods", json!({ "metadata": { "name": "order-y", "namespace": "shop" } }));
    assert!(told.until(20, |told| told.snapshot.pods.size() == 2).await, "what happens is seen again");
    assert_eq!(hands.kill_switch().await, Ok(KillSwitch::Off));
    assert!(ledger.create(&action("order-7f3k2-1")).await.is_ok(), "and written again");
}

#[tokio::test(start_paused = true)]
async fn without_its_definitions_nothing_is_done_and_nothing_breaks_until_they_are_back() {
    // Deleted: the objects go first. Or another version is served: this one is gone at once.
    for objects_go in [true, false] {
        let server = shop();
        let mut told = Told::begin(&server).await;
        assert_eq!(told.snapshot.workloads.size(), 1);
        if objects_go {
            server.remove("workloads", "shop", "order", true);
            server.remove("tenants", "", "food", true);
            server.remove("controlplanes", "", "default", true);
        }
        for kind in OWN {
            let gone = status(404, "NotFound", "the server could not find the requested resource");
            server.trouble(Method::GET, &format!("/{kind}"), usize::MAX, gone.clone());
            server.trouble(Method::POST, &format!("/{kind}"), usize::MAX, gone);
        }
        let gone = status(404, "NotFound", "the server could not find the requested resource");
        server.trouble(Method::GET, "/controlplanes/default", usize::MAX, gone);
        server.cut_watches(true);
        let asked = requests(&server, &mut told, 120).await;
        assert!(asked <= 20 * 120, "{asked} requests in two minutes");
        let SourceState::Down(why) = told.source() else { panic!("{:?}", told.source()) };
        assert!(why.contains("could not find"), "{why}");
        assert_eq!(told.recoveries, 0, "a refusal is an answer, but no sign of life");
        assert_eq!(told.snapshot.workloads.is_empty(), objects_go, "nothing to act on, or the last picture");
        let switch = ApiActuator::new(server.client()).kill_switch().await;
        assert_eq!(switch, Ok(KillSwitch::Unreadable), "and in any case no effect");
        let ledger = ApiLedger::new(server.client(), Arc::new(Still));
        assert_eq!(ledger.create(&action("order-7f3k2-1")).await, Err(LedgerStoreError::NotFound));

        server.calm();
        let again = shop();
        for (kind, namespace, name) in
            [("controlplanes", "", "default"), ("tenants", "", "food"), ("workloads", "shop", "order")]
        {
            server.put(kind, again.get(kind, namespace, name).unwrap());
        }
        told.wait(60).await;
        assert_eq!(told.source(), SourceState::Healthy);
        assert_eq!(told.snapshot.workloads.size(), 1, "taken up again without a restart");
    }
}

#[tokio::test(start_paused = true)]
async fn an_action_of_a_newer_version_is_told_as_one_that_cannot_be_read() {
    type Newer = fn(&mut Value);
    let changes: [(&str, Newer); 4] = [
        ("Teleport", |object| object["spec"]["action"] = json!("Teleport")),
        ("Moon", |object| {
            object["status"]["guards"] = json!([{ "name": "Moon", "result": "Passed" }]);
        }),
        ("Pondering", |object| object["status"]["state"] = json!("Pondering")),
        ("Drain", |object| object["spec"]["action"] = json!("Drain")),
    ];
    for (word, change) in changes {
        let server = shop();
        server.put("actions", stored("order-7f3k2-1", "Verifying"));
        let mut told = Told::begin(&server).await;
        assert_eq!((told.snapshot.actions.size(), told.snapshot.unread.size()), (1, 0));
        // While it is under way the newer version takes over, and later this one leads again.
        let mut newer = stored("order-7f3k2-1", "Verifying");
        change(&mut newer);
        server.put("actions", newer);
        told.wait(1).await;
        assert_eq!(told.snapshot.actions.size(), 0, "{word}: not carried on from what it was");
        let unread = told.snapshot.unread.values().next().expect(word);
        assert_eq!(unread.target, Uid::new("uid-of-order-x"));
        assert_eq!((&*unread.tenant.0, unread.workload.to_string()), ("food", "shop/order".to_owned()));
        assert_eq!(unread.incident.as_str(), "order-7f3k2");
        assert!(unread.state.in_flight(), "{word}: {:?}", unread.state);
        assert_eq!(unread.at, "2026-11-22T09:14:02Z".parse().ok());
        assert!(unread.why.contains(word) && unread.advice().contains("order-7f3k2-1"), "{}", unread.why);
        // Another start finds the same in its first list.
        let other = Told::begin(&server).await;
        assert_eq!((other.snapshot.actions.size(), other.snapshot.unread.size()), (0, 1));

        // It writes the end in words that are known here, or somebody deletes it.
        server.put("actions", stored("order-7f3k2-1", "Verified"));
        told.wait(1).await;
        assert_eq!((told.snapshot.actions.size(), told.snapshot.unread.size()), (1, 0), "{word}");
        assert_eq!(told.snapshot.actions.values().next().unwrap().state, ActionState::Verified);
        let mut newer = stored("order-7f3k2-1", "Verifying");
        change(&mut newer);
        server.put("actions", newer);
        told.wait(1).await;
        server.remove("actions", "shop", "order-7f3k2-1", true);
        told.wait(1).await;
        assert_eq!((told.snapshot.actions.size(), told.snapshot.unread.size()), (0, 0), "{word}");
    }
}
