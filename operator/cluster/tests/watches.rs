//! Watches against a scripted API server: what arrives, in which order, and what happens when things break.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on stops")]
#![allow(clippy::disallowed_methods, reason = "the virtual clock of a paused runtime")]

mod support;

use homeostat_cluster::status::{SelfFacts, StatusWriter};
use homeostat_cluster::{Leadership, WatchOptions, Watches};
use homeostat_knowledge::observation::{Change, ObjectChange, ObjectKind, SourceReport, SourceState};
use homeostat_knowledge::{Clock, ContainerState, Entity, Observation, Signal, SnapshotSource};
use http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use support::board::Board;
use support::{Server, Still, status};
use tokio::sync::mpsc;
use tokio::time::Instant;

fn pod(name: &str, state: &Value) -> Value {
    json!({ "metadata": { "name": name, "namespace": "shop",
                          "managedFields": [{ "manager": "kubelet", "fieldsV1": { "f:status": {} } }] },
        "spec": { "containers": [{ "name": "app" }] },
        "status": { "phase": "Running", "containerStatuses": [
            { "name": "app", "ready": true, "restartCount": 0, "state": state }] } })
}

fn running() -> Value {
    json!({ "running": { "startedAt": "2026-11-22T09:00:00Z" } })
}

fn killed() -> Value {
    json!({ "terminated": { "exitCode": 137, "reason": "Error", "finishedAt": "2026-11-22T09:14:02Z" } })
}

/// A shop with one tenant, one deployment and one workload.
fn shop() -> Server {
    let server = Server::new();
    server.put("controlplanes", json!({ "metadata": { "name": "default" }, "spec": {} }));
    server.put("tenants", json!({ "metadata": { "name": "food" }, "spec": { "namespaces": ["shop"] } }));
    server.put(
        "deployments",
        json!({ "metadata": { "name": "order", "namespace": "shop" },
        "spec": { "replicas": 1 }, "status": { "replicas": 1 } }),
    );
    server.put("workloads", workload("order", "order"));
    server.put("pods", pod("order-x", &running()));
    server
}

fn workload(name: &str, target: &str) -> Value {
    json!({ "metadata": { "name": name, "namespace": "shop" },
        "spec": { "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": target },
                  "archetype": "Service" } })
}

struct Run {
    watches: Watches,
    receiver: mpsc::Receiver<Observation>,
    board: Arc<Board>,
}

fn start_with(server: &Server, options: &WatchOptions) -> Run {
    let (sender, receiver) = mpsc::channel(64);
    let watches = Watches::start(&server.client(), options, Arc::new(Still), sender);
    Run { watches, receiver, board: Arc::default() }
}

fn start(server: &Server) -> Run {
    start_with(server, &WatchOptions::default())
}

impl Run {
    /// The next change of an object; reports of the source are applied on the way.
    async fn next(&mut self) -> ObjectChange {
        let end = Instant::now() + Duration::from_mins(2);
        loop {
            let observation = tokio::time::timeout_at(end, self.receiver.recv());
            let observation = observation.await.expect("something happens").expect("watches run");
            match observation.signal {
                Signal::Object(change) => {
                    self.board.change(|snapshot| *snapshot = snapshot.clone().apply(&change, Still.now()));
                    return change;
                }
                Signal::Source(report) => {
                    let Entity::Source { name } = observation.entity else { panic!("a source reports") };
                    self.board.change(|snapshot| {
                        snapshot.sources.insert_mut(name, report);
                        snapshot.generation += 1;
                    });
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Changes up to the one that is looked for, which is the last.
    async fn until(&mut self, mut wanted: impl FnMut(&ObjectChange) -> bool) -> Vec<ObjectChange> {
        let mut all = Vec::new();
        loop {
            let change = self.next().await;
            let found = wanted(&change);
            all.push(change);
            if found {
                return all;
            }
        }
    }

    /// Until every kind is listed.
    async fn ready(&mut self) -> Vec<ObjectChange> {
        let board = Arc::clone(&self.board);
        let mut left: BTreeSet<ObjectKind> = ObjectKind::REQUIRED.into_iter().collect();
        left.extend([ObjectKind::Config, ObjectKind::Event]);
        let all = self
            .until(|change| {
                if let ObjectChange::Synced(kind) = change {
                    assert!(left.remove(kind), "told once");
                }
                left.is_empty()
            })
            .await;
        assert!(board.current().ready());
        all
    }

    fn source(&self) -> Option<SourceState> {
        self.board.current().sources.get("kubernetes").map(|report| report.state.clone())
    }

    /// Takes what comes for a while.
    async fn idle(&mut self, time: Duration) -> Vec<ObjectChange> {
        let mut all = Vec::new();
        let end = Instant::now() + time;
        while let Ok(change) = tokio::time::timeout_at(end, self.next_or_never()).await {
            all.push(change);
        }
        all
    }

    async fn next_or_never(&mut self) -> ObjectChange {
        loop {
            if let Ok(change) = tokio::time::timeout(Duration::from_mins(1), self.next()).await {
                return change;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn lists_become_records_and_each_kind_says_when_it_is_complete() {
    let server = shop();
    let mut run = start(&server);
    let all = run.ready().await;
    let snapshot = run.board.current();
    assert_eq!(snapshot.pods.size(), 1);
    assert_eq!(snapshot.workloads.size(), 1);
    assert_eq!(snapshot.tenants.size(), 1);
    assert_eq!(snapshot.controllers.size(), 1);
    let position = |wanted: &dyn Fn(&ObjectChange) -> bool| all.iter().position(wanted).unwrap();
    let workload = position(&|change| matches!(change, ObjectChange::Workload(_)));
    let synced = position(&|change| *change == ObjectChange::Synced(ObjectKind::Workload));
    assert!(workload < synced, "complete means that everything was delivered");
    for seen in server.seen() {
        assert_eq!(seen.method, Method::GET);
        if seen.path.ends_with("/configmaps") {
            assert!(!seen.query.contains_key("watch") || seen.query.contains_key("resourceVersion"));
        }
        if !seen.query.contains_key("watch") {
            assert_eq!(seen.query.get("limit").map(String::as_str), Some("500"), "{}", seen.path);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_reaches_the_channel_without_delay() {
    let server = shop();
    let mut run = start(&server);
    run.ready().await;
    let before = Instant::now();
    server.put("pods", pod("order-x", &killed()));
    let ObjectChange::Pod(Change::Applied(found)) = run.next().await else { panic!("a pod changed") };
    assert!(matches!(&found.containers[0].state, ContainerState::Terminated(end) if end.exit_code == 137));
    assert_eq!(before.elapsed(), Duration::ZERO, "no timer of ours was in the way");
    server.remove("pods", "shop", "order-x", true);
    assert!(matches!(run.next().await, ObjectChange::Pod(Change::Deleted(key)) if &*key.name == "order-x"));
}

#[tokio::test(start_paused = true)]
async fn long_lists_come_in_pages() {
    let server = shop();
    for number in 0..1_200 {
        server.put("pods", pod(&format!("p-{number:04}"), &running()));
    }
    let mut run = start(&server);
    run.ready().await;
    assert_eq!(run.board.current().pods.size(), 1_201);
    let lists = |seen: &&support::Seen| seen.path == "/api/v1/pods" && !seen.query.contains_key("watch");
    assert_eq!(server.seen().iter().filter(lists).count(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_happened_while_the_watch_was_gone_is_found_by_the_next_list() {
    let server = shop();
    server.put("pods", pod("stays", &running()));
    let mut run = start(&server);
    run.ready().await;
    server.remove("pods", "shop", "order-x", false);
    server.put_silently("pods", pod("comes", &running()));
    server.cut_watches(true);
    let mut pods: Vec<String> = run
        .idle(Duration::from_secs(30))
        .await
        .into_iter()
        .map(|change| match change {
            ObjectChange::Pod(Change::Applied(pod)) => format!("+{}", pod.key.name),
            ObjectChange::Pod(Change::Deleted(key)) => format!("-{}", key.name),
            other => format!("{other:?}"),
        })
        .collect();
    pods.sort();
    assert_eq!(pods, ["+comes", "-order-x"], "what did not change is not told again");
    assert_eq!(run.source(), Some(SourceState::Healthy));
}

#[tokio::test(start_paused = true)]
async fn an_event_is_told_when_it_happens_and_by_no_list() {
    let server = shop();
    let event = |reason: &str| {
        json!({ "metadata": { "name": reason, "namespace": "shop" }, "type": "Warning", "reason": reason,
                "regarding": { "kind": "Pod", "namespace": "shop", "name": "order-x" } })
    };
    server.put("events", event("Before"));
    let mut run = start(&server);
    assert!(run.ready().await.iter().all(|change| !matches!(change, ObjectChange::Event(_))));
    server.put("events", event("Now"));
    assert!(matches!(run.next().await, ObjectChange::Event(told) if &*told.reason == "Now"));
    server.cut_watches(true);
    let again = run.idle(Duration::from_secs(30)).await;
    assert!(again.is_empty(), "both are long over: {again:?}");
    server.put("events", event("Later"));
    assert!(matches!(run.next().await, ObjectChange::Event(told) if &*told.reason == "Later"));
}

#[tokio::test(start_paused = true)]
async fn a_broken_object_blinds_nobody() {
    let server = shop();
    let mut broken = pod("broken", &running());
    broken["status"]["containerStatuses"] = json!("none");
    server.put("pods", broken.clone());
    let mut run = start(&server);
    run.ready().await;
    assert_eq!(run.board.current().pods.size(), 1, "the other pod is there");
    server.put("pods", broken);
    server.put("pods", pod("order-x", &killed()));
    let changes = run.until(|change| matches!(change, ObjectChange::Pod(_))).await;
    assert_eq!(changes.len(), 1);
    run.idle(Duration::from_secs(31)).await;
    let report = run.board.current().sources.get("kubernetes").cloned().unwrap();
    assert_eq!((report.state, report.dropped), (SourceState::Healthy, 2));
}

#[tokio::test(start_paused = true)]
async fn gone_again_and_again_stays_below_twenty_requests_a_second() {
    // Lists fail, or lists succeed and every watch after them is told that it is too late.
    for lists_fail in [true, false] {
        let server = shop();
        let mut run = start(&server);
        run.ready().await;
        if lists_fail {
            server.trouble(Method::GET, "", usize::MAX, status(410, "Expired", "too old resource version"));
        }
        server.compact(true);
        server.cut_watches(true);
        for seconds in [1, 2, 5, 20, 100, 170] {
            let before = server.seen().len();
            run.idle(Duration::from_secs(seconds)).await;
            let requests = server.seen().len() - before;
            // Sixteen kinds begin together; from then on they spread.
            assert!(requests as u64 <= 20 * seconds + 32, "{requests} in {seconds} s, {lists_fail}");
        }
        assert!(matches!(run.source(), Some(SourceState::Down(_))) || !lists_fail);
        server.calm();
        server.compact(false);
        run.idle(Duration::from_mins(1)).await;
        assert_eq!(run.source(), Some(SourceState::Healthy), "recovers by itself");
        assert_eq!(run.board.current().pods.size(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_api_server_is_told_and_its_last_picture_kept() {
    let server = shop();
    let mut run = start(&server);
    run.ready().await;
    run.idle(Duration::from_secs(1)).await;
    assert_eq!(run.source(), Some(SourceState::Healthy));
    server.trouble(Method::GET, "", usize::MAX, support::Trouble::Refused);
    server.cut_watches(false);
    assert!(run.idle(Duration::from_secs(10)).await.is_empty(), "nothing is taken away");
    let Some(SourceState::Down(why)) = run.source() else { panic!("{:?}", run.source()) };
    assert!(why.contains("refused"), "{why}");
    server.put_silently("pods", pod("order-x", &killed()));
    server.calm();
    let changes = run.idle(Duration::from_mins(1)).await;
    assert_eq!(changes.len(), 1, "only what changed: {changes:?}");
    assert_eq!(run.source(), Some(SourceState::Healthy));
}

#[tokio::test(start_paused = true)]
async fn quiet_is_not_dead_and_silence_is() {
    let server = shop();
    let mut run = start(&server);
    run.ready().await;
    // Nothing happens, and the server sends no bookmarks: each watch is begun again now and then.
    for _ in 0..10 {
        run.idle(Duration::from_mins(1)).await;
        assert_eq!(run.source(), Some(SourceState::Healthy));
    }
    let watches = || server.seen().iter().filter(|seen| seen.query.contains_key("watch")).count();
    let per_minute = watches() / 10;
    assert!(per_minute <= 2 * 16, "{per_minute} requests per minute when nothing happens");

    // Connections are there but nobody answers any more.
    server.trouble(Method::GET, "", usize::MAX, support::Trouble::Silence);
    run.idle(Duration::from_secs(100)).await;
    let source = run.source();
    assert!(matches!(&source, Some(SourceState::Down(_))), "{source:?}");
    let before = server.seen().len();
    run.idle(Duration::from_secs(100)).await;
    assert!(server.seen().len() > before, "it does not wait for an answer for ever");
    server.put_silently("pods", pod("order-x", &killed()));
    server.calm();
    let changes = run.idle(Duration::from_mins(1)).await;
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!(run.source(), Some(SourceState::Healthy));
}

#[tokio::test(start_paused = true)]
async fn with_a_namespace_list_nothing_else_is_asked_for() {
    let server = shop();
    let mut stranger = pod("stranger", &running());
    stranger["metadata"]["namespace"] = json!("elsewhere");
    server.put("pods", stranger);
    let namespaces = BTreeSet::from(["shop".to_owned(), "cafe".to_owned()]);
    let mut run = start_with(&server, &WatchOptions { namespaces, ..WatchOptions::default() });
    run.ready().await;
    assert_eq!(run.board.current().pods.size(), 1);
    for seen in server.seen() {
        let namespaced = seen.path.contains("/namespaces/shop/") || seen.path.contains("/namespaces/cafe/");
        let cluster = ["/nodes", "/tenants", "/controlplanes", "/playbooks"]
            .iter()
            .any(|kind| seen.path.ends_with(kind));
        assert!(namespaced || cluster, "{}", seen.path);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_receiver_holds_back_and_loses_nothing() {
    let server = shop();
    for number in 0..300 {
        server.put("pods", pod(&format!("p-{number:03}"), &running()));
    }
    // The queue holds 64.
    let mut run = start(&server);
    tokio::time::sleep(Duration::from_secs(20)).await;
    run.ready().await;
    assert_eq!(run.board.current().pods.size(), 301);
}

fn writer(server: &Server, run: &Run) -> StatusWriter {
    writer_at(server, run, Arc::new(Still))
}

fn writer_at(server: &Server, run: &Run, clock: Arc<dyn Clock>) -> StatusWriter {
    let snapshots = Arc::clone(&run.board) as Arc<dyn SnapshotSource>;
    let me = SelfFacts { identity: "homeostat-0".into(), version: "0.1.0".into(), ..SelfFacts::default() };
    StatusWriter::new(server.client(), run.watches.catalogue(), snapshots, clock, me)
}

fn condition(server: &Server, plural: &str, namespace: &str, name: &str, type_: &str) -> (String, String) {
    let object = server.get(plural, namespace, name).unwrap();
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter().find(|one| one["type"] == type_).expect("the condition is there");
    let text = |field: &str| found[field].as_str().unwrap().to_owned();
    (text("status"), text("reason"))
}

#[tokio::test(start_paused = true)]
async fn each_status_is_written_once() {
    let server = shop();
    let mut run = start(&server);
    run.ready().await;
    run.idle(Duration::from_secs(1)).await;
    let mut writer = writer(&server, &run);
    let leads = Leadership::always();
    assert!(!writer.look(&leads).await);
    let group = "/apis/homeostat.dev/v1alpha1";
    let mut writes = server.writes();
    writes.sort();
    assert_eq!(
        writes,
        [
            format!("PATCH {group}/controlplanes/default/status"),
            format!("PATCH {group}/namespaces/shop/workloads/order/status"),
            format!("PATCH {group}/tenants/food/status"),
        ]
    );
    // Before our own writes came back through the watch, after it, and with a writer that knows nothing.
    assert!(!writer.look(&leads).await);
    run.idle(Duration::from_secs(5)).await;
    assert!(!writer.look(&leads).await);
    let mut another = self::writer(&server, &run);
    assert!(!another.look(&leads).await);
    assert_eq!(server.writes().len(), 3, "the same again is no write");
    assert_eq!(
        condition(&server, "workloads", "shop", "order", "Ready"),
        ("True".into(), "AsExpected".into())
    );

    // Nothing happens for ten minutes: nothing is written.
    run.idle(Duration::from_mins(10)).await;
    writer.look(&leads).await;
    assert_eq!(server.writes().len(), 3);
}

/// A clock an hour later.
struct Later;
impl Clock for Later {
    fn now(&self) -> homeostat_knowledge::Timestamp {
        Still.now() + Duration::from_hours(1)
    }
}

#[tokio::test(start_paused = true)]
async fn since_when_a_source_is_as_it_is_outlives_other_news_and_other_writers() {
    let server = shop();
    let mut run = start(&server);
    run.ready().await;
    run.idle(Duration::from_secs(1)).await;
    let changed = || -> Vec<homeostat_knowledge::Timestamp> {
        let status = server.get("controlplanes", "", "default").unwrap()["status"].take();
        let all = status["sources"].as_array().unwrap().iter();
        all.map(|one| one["changed"].as_str().unwrap().parse().unwrap()).collect()
    };
    writer(&server, &run).look(&Leadership::always()).await;
    assert_eq!(changed(), [Still.now(); 3]);
    run.idle(Duration::from_secs(1)).await;
    let down = SourceReport { state: SourceState::Down("no route".into()), accepted: 0, dropped: 0 };
    run.board.change(|snapshot| snapshot.sources.insert_mut("prometheus".into(), down));
    writer_at(&server, &run, Arc::new(Later)).look(&Leadership::always()).await;
    assert_eq!(server.writes().len(), 4, "one more");
    assert_eq!(changed(), [Still.now(), Later.now(), Still.now()], "Kubernetes, Prometheus, OTLP");
}

#[tokio::test(start_paused = true)]
async fn workloads_that_do_not_count_say_why_and_are_not_delivered() {
    let server = shop();
    server.put("workloads", workload("lost", "nowhere"));
    let mut twin = workload("twin", "order");
    twin["metadata"]["creationTimestamp"] = json!("2026-11-22T10:00:00Z");
    server.put("workloads", twin);
    let mut malformed = workload("malformed", "order");
    malformed["spec"]["archetype"] = json!("Castle");
    server.put("workloads", malformed);
    let mut stranger = workload("stranger", "order");
    stranger["metadata"]["namespace"] = json!("elsewhere");
    server.put("workloads", stranger);

    let mut run = start(&server);
    run.ready().await;
    run.idle(Duration::from_secs(1)).await;
    let delivered: Vec<String> = run.board.current().workloads.keys().map(ToString::to_string).collect();
    assert_eq!(delivered, ["shop/order"]);
    let mut writer = writer(&server, &run);
    writer.look(&Leadership::always()).await;
    for (namespace, name, reason) in [
        ("shop", "lost", "TargetNotFound"),
        ("shop", "twin", "TargetClaimedTwice"),
        ("shop", "malformed", "InvalidSpec"),
        ("elsewhere", "stranger", "NoTenant"),
    ] {
        let ready = condition(&server, "workloads", namespace, name, "Ready");
        assert_eq!(ready, ("False".into(), reason.into()), "{name}");
    }
    let malformed = server.get("workloads", "shop", "malformed").unwrap()["status"].to_string();
    assert!(malformed.contains("Castle"), "{malformed}");

    // Its target comes.
    server.put("deployments", json!({ "metadata": { "name": "nowhere", "namespace": "shop" } }));
    let wanted = |change: &ObjectChange| matches!(change, ObjectChange::Workload(Change::Applied(policy)) if &*policy.key.name == "lost");
    run.until(wanted).await;
    writer.look(&Leadership::always()).await;
    assert_eq!(condition(&server, "workloads", "shop", "lost", "Ready").0, "True");
}

#[tokio::test(start_paused = true)]
async fn playbooks_of_people_are_checked_delivered_and_taken_back() {
    let server = shop();
    let playbook = |name: &str, action: &str| {
        json!({ "metadata": { "name": name },
            "spec": { "trigger": { "findings": ["Slow"] },
                      "ladder": [{ "action": action, "verify": { "withinSeconds": 30 } }] } })
    };
    server.put("playbooks", playbook("mine", "EvictPod"));
    server.put("playbooks", playbook("slow", "RollingRestart"));
    server.put("playbooks", playbook("broken", "Reboot"));
    let mut run = start(&server);
    let all = run.ready().await;
    let name = |change: &ObjectChange| match change {
        ObjectChange::Playbook(Change::Applied(text)) => Some(text.name.to_string()),
        _ => None,
    };
    assert_eq!(all.iter().filter_map(name).collect::<Vec<_>>(), ["mine", "slow"]);
    run.idle(Duration::from_secs(1)).await;
    let mut writer = writer(&server, &run);
    writer.look(&Leadership::always()).await;
    let said = |name: &str| server.get("playbooks", "", name).unwrap()["status"].to_string();
    for (name, status, reason) in
        [("mine", "True", "AsExpected"), ("slow", "True", "AsExpected"), ("broken", "False", "InvalidSpec")]
    {
        let expected = (status.to_owned(), reason.to_owned());
        assert_eq!(condition(&server, "playbooks", "", name, "Accepted"), expected, "{name}");
        assert_eq!(condition(&server, "playbooks", "", name, "Ready"), expected, "{name}");
    }
    let broken = said("broken");
    assert!(broken.contains("line 4, column 17: no action is called Reboot"), "{broken}");
    assert!(broken.contains("it is not used"), "{broken}");
    assert!(said("slow").contains("instead of the shipped one"));
    // Our own writes are no news.
    run.idle(Duration::from_secs(5)).await;
    writer.look(&Leadership::always()).await;
    let written = server.writes().len();
    run.idle(Duration::from_mins(1)).await;
    writer.look(&Leadership::always()).await;
    assert_eq!(server.writes().len(), written);

    // One that was good and is changed for the worse is taken back; one that is repaired is delivered.
    server.put("playbooks", playbook("mine", "Reboot"));
    let gone = |change: &ObjectChange| *change == ObjectChange::Playbook(Change::Deleted("mine".into()));
    run.until(gone).await;
    server.put("playbooks", playbook("broken", "EvictPod"));
    run.until(|change| name(change).as_deref() == Some("broken")).await;
    writer.look(&Leadership::always()).await;
    assert_eq!(condition(&server, "playbooks", "", "mine", "Accepted").0, "False");
    assert_eq!(condition(&server, "playbooks", "", "broken", "Accepted").0, "True");
    server.remove("playbooks", "", "slow", true);
    run.until(|change| *change == ObjectChange::Playbook(Change::Deleted("slow".into()))).await;
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_made_anew_within_a_moment_gets_its_status_too() {
    let server = shop();
    let mut run = start(&server);
    run.ready().await;
    run.idle(Duration::from_secs(1)).await;
    let mut writer = writer(&server, &run);
    let leads = Leadership::always();
    writer.look(&leads).await;
    // It looks as the one before looked before its status was written.
    server.remove("workloads", "shop", "order", true);
    server.put("workloads", workload("order", "order"));
    for _ in 0..35 {
        run.idle(Duration::from_secs(1)).await;
        writer.look(&leads).await;
    }
    assert_eq!(condition(&server, "workloads", "shop", "order", "Ready").0, "True");
}

#[tokio::test(start_paused = true)]
async fn a_failed_status_write_is_tried_again_later() {
    let server = shop();
    let mut run = start(&server);
    run.ready().await;
    run.idle(Duration::from_secs(1)).await;
    server.trouble(Method::PATCH, "/tenants/food/status", 2, status(503, "ServiceUnavailable", "?"));
    let mut writer = writer(&server, &run);
    let leads = Leadership::always();
    assert!(writer.look(&leads).await, "something is left");
    assert!(writer.look(&leads).await, "and waits");
    assert_eq!(writer.counts().failed, 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    writer.look(&leads).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(!writer.look(&leads).await);
    assert_eq!(condition(&server, "tenants", "", "food", "Ready").0, "True");
}
