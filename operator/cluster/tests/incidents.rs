//! Incidents stored, against a scripted API server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on stops")]

mod support;

use homeostat_cluster::elector::lease::LeaseApi;
use homeostat_cluster::elector::machine::LeaseRecord;
use homeostat_cluster::incidents::{IncidentQueue, IncidentStore, Written};
use homeostat_cluster::{ClusterError, Elector, Leadership, Timing};
use homeostat_knowledge::ids::{EvidenceId, IncidentId, Uid};
use homeostat_knowledge::incident::TimelineKind;
use homeostat_knowledge::{
    Cause, Clock, Entity, Evidence, FindingKind, Incident, IncidentState, Instants, Name, ObjectKey,
    Severity, TenantName,
};
use http::Method;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{Server, Still, Trouble, status};
use tokio_util::sync::CancellationToken;

const PATH: &str = "/apis/homeostat.dev/v1alpha1/namespaces/shop/incidents";

fn incident(id: &str) -> Incident {
    let workload = ObjectKey::new("shop", "order");
    Incident {
        tenant: Some(TenantName::new("food")),
        workload: Some(workload.clone()),
        severity: Severity::Critical,
        causes: vec![Cause {
            entity: Entity::Pod {
                key: ObjectKey::new("shop", "order-6c-x"),
                uid: Uid::new("u"),
                workload: Some(workload),
            },
            kind: FindingKind::Hung,
            confidence: 0.99,
            evidence: vec![Evidence::new("calls that failed", "12 of 12")],
        }],
        ..Incident::open(
            IncidentId::new(id),
            Name::from("shop"),
            EvidenceId::new("e"),
            Instants::new(Still.now(), Still.now()),
        )
    }
}

fn store(server: &Server) -> IncidentStore {
    IncidentStore::new(server.client(), Arc::new(Still))
}

fn creation(id: &str) -> Vec<String> {
    vec![format!("POST {PATH}"), format!("PATCH {PATH}/{id}/status")]
}

#[tokio::test]
async fn a_new_incident_is_an_object_and_its_status_at_once() {
    let server = Server::new();
    let store = store(&server);
    assert_eq!(store.write(&incident("order-1")).await, Ok(Written::Created));
    assert_eq!(server.writes(), creation("order-1"));
    let patch = server.seen().pop().unwrap();
    assert_eq!(patch.content_type, "application/apply-patch+yaml");
    assert_eq!(patch.query.get("fieldManager").map(String::as_str), Some("homeostat"));
    assert_eq!(patch.query.get("force").map(String::as_str), Some("true"));
    let fields: Vec<&String> = patch.body.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["apiVersion", "kind", "metadata", "status"], "nothing of the people's part");

    let object = server.get("incidents", "shop", "order-1").unwrap();
    assert_eq!(object["metadata"]["labels"]["homeostat.dev/cause"], "Hung");
    assert_eq!(object["metadata"]["labels"]["homeostat.dev/workload"], "order");
    assert_eq!(object["status"]["causes"][0]["entity"]["name"], "order-6c-x");
    assert_eq!(object["status"]["state"], "Open");
}

#[tokio::test]
async fn the_same_again_is_no_request_and_a_change_is_one() {
    let server = Server::new();
    let store = store(&server);
    let mut incident = incident("order-1");
    store.write(&incident).await.unwrap();
    assert_eq!(store.write(&incident).await, Ok(Written::Unchanged));
    assert_eq!(server.seen().len(), 2);
    incident.state = IncidentState::Mitigated;
    incident.instants.mitigated = Some(Still.now());
    assert_eq!(store.write(&incident).await, Ok(Written::Updated));
    assert_eq!(server.seen().len(), 3);
    let object = server.get("incidents", "shop", "order-1").unwrap();
    assert_eq!(object["status"]["repairedIn"], "0.0s");
}

#[tokio::test]
async fn an_object_that_exists_already_is_taken_up_with_its_transition_times() {
    let server = Server::new();
    store(&server).write(&incident("order-1")).await.unwrap();
    // The reply to a creation was lost, or another replica wrote it before.
    let mut object = server.get("incidents", "shop", "order-1").unwrap();
    object["status"]["conditions"][0]["lastTransitionTime"] = "2026-01-01T00:00:00.000000Z".into();
    server.put("incidents", object);
    let mut changed = incident("order-1");
    changed.state = IncidentState::Acting;
    assert_eq!(store(&server).write(&changed).await, Ok(Written::Updated));
    let object = server.get("incidents", "shop", "order-1").unwrap();
    assert_eq!(object["status"]["state"], "Acting");
    assert_eq!(object["status"]["conditions"][0]["lastTransitionTime"], "2026-01-01T00:00:00.000000Z");
}

#[tokio::test]
async fn an_open_incident_that_somebody_deleted_comes_back_a_closed_one_does_not() {
    let server = Server::new();
    let store = store(&server);
    let mut incident = incident("order-1");
    store.write(&incident).await.unwrap();
    server.remove("incidents", "shop", "order-1", false);
    incident.state = IncidentState::Acting;
    assert_eq!(store.write(&incident).await, Ok(Written::Created));
    assert_eq!(server.get("incidents", "shop", "order-1").unwrap()["status"]["state"], "Acting");
    server.remove("incidents", "shop", "order-1", false);
    incident.state = IncidentState::Resolved;
    assert_eq!(store.write(&incident).await, Ok(Written::Unchanged));
    assert_eq!(server.get("incidents", "shop", "order-1"), None);
}

#[tokio::test]
async fn a_failure_at_each_step_converges() {
    for (method, path) in [(Method::POST, "/incidents"), (Method::PATCH, "/status")] {
        for trouble in [status(500, "InternalError", "?"), Trouble::LostAnswer, Trouble::Refused] {
            let server = Server::new();
            let store = store(&server);
            server.trouble(method.clone(), path, 1, trouble);
            let error = store.write(&incident("order-1")).await.unwrap_err();
            assert!(matches!(error, ClusterError::Transient { .. }), "{error:?}");
            store.write(&incident("order-1")).await.unwrap();
            let object = server.get("incidents", "shop", "order-1").unwrap();
            assert_eq!(object["status"]["state"], "Open", "{method}");
        }
    }
}

/// Runs the queue until `until` holds for the server.
async fn run(queue: &IncidentQueue, server: &Server, until: impl Fn(&Server) -> bool) {
    let stop = CancellationToken::new();
    let task = tokio::spawn(queue.clone().run(store(server), Leadership::always(), stop.clone()));
    for _ in 0..1_000 {
        if until(server) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn only_the_newest_version_is_written() {
    let server = Server::new();
    let queue = IncidentQueue::new();
    let mut incident = incident("order-1");
    for step in 0..50 {
        incident.record(Still.now(), TimelineKind::Action, format!("step {step}"));
        assert!(queue.submit(Arc::new(incident.clone())));
    }
    run(&queue, &server, |server| server.writes().len() >= 2).await;
    assert_eq!(server.writes(), creation("order-1"));
    let object = server.get("incidents", "shop", "order-1").unwrap();
    assert_eq!(object["status"]["timeline"].as_array().unwrap().len(), 50);
    assert_eq!(queue.counts().created, 1);
}

#[tokio::test(start_paused = true)]
async fn renewed_evidence_waits_and_a_new_state_does_not() {
    let server = Server::new();
    let queue = IncidentQueue::new();
    let stop = CancellationToken::new();
    let task = tokio::spawn(queue.clone().run(store(&server), Leadership::always(), stop.clone()));
    let mut incident = incident("order-1");
    queue.submit(Arc::new(incident.clone()));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(server.writes().len(), 2, "a new incident is written at once");

    for count in 13..20 {
        incident.causes[0].evidence[0].observed = format!("{count} of {count}");
        queue.submit(Arc::new(incident.clone()));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(server.writes().len(), 2, "evidence alone can wait");
    incident.state = IncidentState::Acting;
    queue.submit(Arc::new(incident.clone()));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(server.writes().len(), 3, "a new state cannot");
    incident.causes[0].evidence[0].observed = "21 of 21".to_owned();
    queue.submit(Arc::new(incident.clone()));
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(server.writes().len(), 4, "evidence is written after a while");

    for step in 0..10 {
        incident.record(Still.now(), TimelineKind::Action, format!("step {step}"));
        queue.submit(Arc::new(incident.clone()));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(server.writes().len(), 6, "steps that follow each other at once are written together");
    incident.handed_over = Some("people must go on".into());
    queue.submit(Arc::new(incident.clone()));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(server.writes().len(), 7, "people are told at once");
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_failed_write_is_tried_again_and_a_refused_one_is_not() {
    let server = Server::new();
    let queue = IncidentQueue::new();
    server.trouble(Method::POST, "/incidents", 3, status(503, "ServiceUnavailable", "?"));
    queue.submit(Arc::new(incident("order-1")));
    run(&queue, &server, |server| {
        server.get("incidents", "shop", "order-1").is_some_and(|o| !o["status"].is_null())
    })
    .await;
    assert_eq!((queue.counts().failed, queue.counts().created), (3, 1));

    let queue = IncidentQueue::new();
    server.trouble(Method::POST, "/incidents", 99, status(403, "Forbidden", "no"));
    queue.submit(Arc::new(incident("order-2")));
    let before = server.seen().len();
    run(&queue, &server, |server| server.seen().len() > before + 1).await;
    assert_eq!(server.seen().len(), before + 1);
    assert_eq!(queue.counts().dropped, 1);
}

#[tokio::test(start_paused = true)]
async fn that_an_incident_is_over_is_written_in_the_end_however_often_it_was_refused() {
    for trouble in [
        status(403, "Forbidden", "no"),
        status(422, "Invalid", "status.summary: too long"),
        status(400, "BadRequest", "what?"),
        status(500, "InternalError", "?"),
    ] {
        let (server, queue, stop) = (Server::new(), IncidentQueue::new(), CancellationToken::new());
        let task = tokio::spawn(queue.clone().run(store(&server), Leadership::always(), stop.clone()));
        let seconds = |count| tokio::time::sleep(Duration::from_secs(count));
        queue.submit(Arc::new(incident("order-1")));
        seconds(1).await;
        server.trouble(Method::PATCH, "/status", usize::MAX, trouble.clone());
        let before = server.seen().len();
        queue.submit(Arc::new(Incident { state: IncidentState::Resolved, ..incident("order-1") }));
        seconds(3_600).await;
        assert_eq!(queue.counts().unclosed, 1, "{trouble:?}: people see that one is wrongly open");
        let tries = server.seen().len() - before;
        assert!((10..60).contains(&tries), "{trouble:?}: it is tried again, and not all the time: {tries}");

        server.calm();
        seconds(301).await;
        assert_eq!(server.get("incidents", "shop", "order-1").unwrap()["status"]["state"], "Resolved");
        assert_eq!((queue.counts().unclosed, queue.counts().dropped), (0, 0));
        let after = server.seen().len();
        seconds(3_600).await;
        assert_eq!(server.seen().len(), after, "{trouble:?}: then it is quiet");
        stop.cancel();
        task.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_incident_whose_namespace_is_gone_is_not_closed_for_ever() {
    let (server, queue) = (Server::new(), IncidentQueue::new());
    server.trouble(Method::POST, "/incidents", usize::MAX, status(404, "NotFound", "namespace"));
    queue.submit(Arc::new(Incident { state: IncidentState::Resolved, ..incident("order-1") }));
    let counted = queue.clone();
    let stop = CancellationToken::new();
    let task = tokio::spawn(queue.run(store(&server), Leadership::always(), stop.clone()));
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!((counted.counts().unclosed, counted.counts().dropped), (0, 1));
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn that_an_incident_is_over_finds_room_in_a_full_queue() {
    let server = Server::new();
    let queue = IncidentQueue::new();
    for number in 0..1_024 {
        assert!(queue.submit(Arc::new(incident(&format!("i-{number}")))));
    }
    assert!(queue.submit(Arc::new(Incident { state: IncidentState::Resolved, ..incident("over") })));
    assert_eq!(queue.counts().dropped, 1, "an open one, whose next change is written again");
    run(&queue, &server, |_| true).await;
    assert_eq!(server.get("incidents", "shop", "over").unwrap()["status"]["state"], "Resolved");
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded_and_what_is_due_is_written_at_shutdown() {
    let server = Server::new();
    let queue = IncidentQueue::new();
    let taken = (0..2_000).filter(|number| queue.submit(Arc::new(incident(&format!("i-{number}"))))).count();
    assert_eq!(taken, 1_024);
    assert_eq!(queue.counts().dropped, 976);
    run(&queue, &server, |_| true).await;
    assert_eq!(queue.counts().created, 1_024);
}

/// The Lease of a cluster with one replica, whose API server may be away.
#[derive(Clone, Default)]
struct Lease {
    away: Arc<AtomicBool>,
    record: Arc<Mutex<Option<LeaseRecord>>>,
    version: Arc<AtomicU64>,
}

impl Lease {
    fn reached(&self) -> Result<(), ClusterError> {
        if self.away.load(Ordering::Relaxed) {
            return Err(ClusterError::timeout("reach", &Name::from("Lease"), Duration::ZERO));
        }
        Ok(())
    }

    fn write(&self, record: &LeaseRecord) -> Result<String, ClusterError> {
        self.reached()?;
        *self.record.lock().unwrap() = Some(record.clone());
        Ok((self.version.fetch_add(1, Ordering::Relaxed) + 1).to_string())
    }
}

impl LeaseApi for Lease {
    async fn get(&self) -> Result<Option<(LeaseRecord, String)>, ClusterError> {
        self.reached()?;
        let version = self.version.load(Ordering::Relaxed).to_string();
        Ok(self.record.lock().unwrap().clone().map(|record| (record, version)))
    }

    async fn create(&self, record: &LeaseRecord) -> Result<String, ClusterError> {
        self.write(record)
    }

    async fn update(&self, record: &LeaseRecord, _version: &str) -> Result<String, ClusterError> {
        self.write(record)
    }
}

#[tokio::test(start_paused = true)]
async fn that_an_incident_is_over_is_written_although_leadership_was_lost_meanwhile() {
    let (server, lease, queue) = (Server::new(), Lease::default(), IncidentQueue::new());
    let (elector, leadership) =
        Elector::new(lease.clone(), "me", Timing::default(), Arc::new(Still)).unwrap();
    let stop = CancellationToken::new();
    let electing = tokio::spawn(elector.run(stop.clone()));
    let writing = tokio::spawn(queue.clone().run(store(&server), leadership.clone(), stop.clone()));
    let seconds = |count| tokio::time::sleep(Duration::from_secs(count));
    seconds(1).await;
    assert!(leadership.leads());
    queue.submit(Arc::new(incident("order-1")));
    seconds(1).await;

    lease.away.store(true, Ordering::Relaxed);
    server.trouble(Method::PATCH, "/status", usize::MAX, Trouble::Refused);
    server.trouble(Method::POST, "/incidents", usize::MAX, Trouble::Refused);
    let over = Incident { state: IncidentState::Resolved, ..incident("order-1") };
    queue.submit(Arc::new(over));
    queue.submit(Arc::new(incident("order-2")));
    seconds(20).await;
    assert!(!leadership.leads());

    lease.away.store(false, Ordering::Relaxed);
    server.calm();
    seconds(30).await;
    assert!(leadership.leads());
    assert_eq!(server.get("incidents", "shop", "order-1").unwrap()["status"]["state"], "Resolved");
    assert_eq!(server.get("incidents", "shop", "order-2"), None, "the loop submits anew what is open");
    stop.cancel();
    let _ended = tokio::join!(electing, writing);
}
