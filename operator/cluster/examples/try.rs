//! Tries everything once against a real API server.
#![allow(missing_docs, clippy::all, clippy::pedantic, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "by hand")]
use homeostat_cluster::*;
use homeostat_cluster::incidents::*;
use homeostat_execute::ports::{Actuator, Ledger};
use homeostat_knowledge::*;
use homeostat_knowledge::action::*;
use homeostat_knowledge::ids::*;
use homeostat_knowledge::observation::*;
use homeostat_knowledge::plan::*;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

struct Sys;
impl Clock for Sys { fn now(&self) -> Timestamp { Timestamp::now() } }
#[derive(Default)]
struct Board(Mutex<Arc<Snapshot>>);
impl SnapshotSource for Board { fn current(&self) -> Arc<Snapshot> { self.0.lock().unwrap().clone() } }

#[tokio::main]
async fn main() {
    let client = connect(&ConnectOptions::default()).await.unwrap();
    let (tx, mut rx) = tokio::sync::mpsc::channel(256);
    let clock: Arc<dyn Clock> = Arc::new(Sys);
    let began = Instant::now();
    let watches = Watches::start(&client, &WatchOptions::default(), clock.clone(), tx);
    let board = Arc::new(Board::default());
    let b2 = board.clone();
    tokio::spawn(async move {
        while let Some(o) = rx.recv().await {
            let mut s = Snapshot::clone(&b2.current());
            match &o.signal {
                Signal::Object(c) => {
                    if s.ready() || matches!(c, ObjectChange::Synced(_)) {
                        match c {
                            ObjectChange::Pod(Change::Applied(p)) => println!("{:?} pod {} {:?} ready={} {:?}", began.elapsed(), p.key, p.phase, p.ready, p.containers.iter().map(|c| format!("{:?}", c.state)).collect::<Vec<_>>()),
                            ObjectChange::Controller(Change::Applied(p)) => println!("{:?} ctl {:?} {}/{} surges={}", began.elapsed(), p.key, p.ready, p.replicas, p.surges),
                            other => println!("{:?} {}", began.elapsed(), format!("{other:?}").chars().take(160).collect::<String>()),
                        }
                    }
                    s = s.apply(c, o.arrival_time);
                }
                Signal::Source(r) => { println!("{:?} SOURCE {r:?}", began.elapsed()); let Entity::Source{name} = &o.entity else {panic!()}; s.sources.insert_mut(name.clone(), r.clone()); s.generation += 1; }
                _ => {}
            }
            *b2.0.lock().unwrap() = Arc::new(s);
        }
    });
    let (elector, leadership) = Elector::new(KubeLease::new(client.clone()), "try-1", Timing::default(), clock.clone()).unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let el = tokio::spawn(elector.run(stop.clone()));
    while !leadership.leads() { tokio::time::sleep(Duration::from_millis(20)).await; }
    println!("{:?} leads {:?}", began.elapsed(), leadership.term());
    let me = SelfFacts { identity: "try-1".into(), version: "0".into() };
    let writer = StatusWriter::new(client.clone(), watches.catalogue(), board.clone(), clock.clone(), me);
    tokio::spawn(writer.run(leadership.clone(), stop.clone()));
    let queue = IncidentQueue::new();
    tokio::spawn(queue.clone().run(IncidentStore::new(client.clone(), clock.clone()), leadership.clone(), stop.clone()));
    let (events, publisher) = recorder(client.clone(), "try-1");
    tokio::spawn(publisher.run(leadership.clone(), stop.clone()));
    while !board.current().ready() { tokio::time::sleep(Duration::from_millis(20)).await; }
    println!("{:?} READY pods={} controllers={} workloads={}", began.elapsed(), board.current().pods.size(), board.current().controllers.size(), board.current().workloads.size());
    let hands = ApiActuator::new(client.clone());
    println!("kill switch {:?}", hands.kill_switch().await);
    if std::env::args().nth(1).as_deref() == Some("idle") { tokio::time::sleep(Duration::from_secs(240)).await; stop.cancel(); el.await.unwrap(); return; }
    let key = ObjectKey::new("shop", "order");
    let pod = loop { if let Some(p) = board.current().pods_of(&key).find(|p| p.serving()).cloned() { break p; } tokio::time::sleep(Duration::from_millis(50)).await; };
    let id = format!("order-{}", Timestamp::now().as_millisecond() % 100000);
    let now = Timestamp::now();
    let incident = Incident { id: IncidentId::new(id.as_str()), namespace: Name::from("shop"), tenant: Some(TenantName::new("food")), workload: Some(key.clone()), state: IncidentState::Open, severity: Severity::Critical, findings: vec![Finding{ id: FindingId::new("f1"), entity: Entity::Pod{ key: pod.key.clone(), uid: pod.uid.clone(), workload: Some(key.clone())}, kind: FindingKind::Hung, since: now, detected: now, last_seen: now, confidence: 0.99, evidence: vec![Evidence::new("calls","12 of 12")], active: true }], causes: vec![Cause{ entity: Entity::Pod{ key: pod.key.clone(), uid: pod.uid.clone(), workload: Some(key.clone())}, kind: FindingKind::Hung, confidence: 0.99, evidence: vec![Evidence::new("calls that failed","12 of 12")]}], affected: vec![ObjectKey::new("shop","kitchen")], instants: Instants{ impact_start: now, detected: now, acknowledged: None, mitigated: None, resolved: None}, timeline: vec![], actions: vec![], reopen_count: 0, evidence: EvidenceId::new("e1"), handed_over: None, acknowledged_by: None };
    let t = Instant::now();
    queue.submit(Arc::new(incident.clone()));
    while queue.counts().created == 0 { assert!(queue.counts().failed == 0, "{:?}", queue.counts()); tokio::time::sleep(Duration::from_millis(1)).await; }
    println!("incident stored in {:?}", t.elapsed());
    events.tell(Fact::of_incident(EventReason::IncidentOpened, &incident, incident.summary()));
    let ledger = ApiLedger::new(client.clone(), clock.clone());
    let mut action = ActionRecord { id: ActionId::new(format!("{id}-1")), namespace: Name::from("shop"), resource_version: Name::from(""), incident: incident.id.clone(), tenant: TenantName::new("food"), workload: key.clone(), playbook: PlaybookRef{name: Name::from("hung"), version: 0, step: 1}, target: Snapshot::pod_target(&pod), parameters: Parameters::EvictPod, before: Before::default(), epoch: 1, evidence: EvidenceRef{ id: EvidenceId::new("e1"), taken_at: now, summary: "x".into()}, verification: Verification{ within: SignedDuration::from_secs(30), expect: Expectation::ObjectivesMet}, state: ActionState::Admitted, guards: vec![GuardReport{name: GuardName::KillSwitch, result: GuardResult::Passed, observed: "off".into(), limit: String::new(), message: String::new()}], instants: ActionInstants{ intent: Some(now), ..Default::default()}, outcome: None, approval: None, message: "because".into() };
    let t = Instant::now();
    action.resource_version = ledger.create(&action).await.unwrap();
    println!("action stored in {:?}", t.elapsed());
    println!("again: {:?}", ledger.create(&action).await);
    let stale = action.clone();
    action.state = ActionState::Claimed;
    let t = Instant::now();
    action.resource_version = ledger.update(&action).await.unwrap();
    println!("claimed in {:?}; second claim: {:?}", t.elapsed(), ledger.update(&stale).await);
    println!("read equal: {}", { let mut r = ledger.read(&action.key()).await.unwrap().unwrap(); r.instants.intent = action.instants.intent; r.evidence = action.evidence.clone(); r == action });
    println!("dry run: {:?}", hands.dry_run(&action.target, &Parameters::EvictPod, &action.id).await);
    let wrong = Target { uid: Uid::new("00000000-0000-0000-0000-000000000000"), ..action.target.clone() };
    println!("wrong uid: {:?}", hands.effect(&wrong, &Parameters::EvictPod, &action.id, &Name::from("")).await);
    let t = Instant::now();
    println!("evict: {:?} in {:?}", hands.effect(&action.target, &Parameters::EvictPod, &action.id, &Name::from("")).await, t.elapsed());
    tokio::time::sleep(Duration::from_secs(3)).await;
    let d = board.current().controller_of(&key).cloned().unwrap();
    let dt = Snapshot::controller_target(&d).unwrap();
    println!("restart dry: {:?}", hands.dry_run(&dt, &Parameters::RollingRestart, &action.id).await);
    let fresh = hands.fresh_target(&dt).await.unwrap().unwrap();
    let wrong = Target { uid: Uid::new("00000000-0000-0000-0000-000000000000"), ..dt.clone() };
    println!("restart wrong uid: {:?}", hands.effect(&wrong, &Parameters::RollingRestart, &action.id, &fresh.resource_version).await);
    println!("restart stale: {:?}", hands.effect(&dt, &Parameters::RollingRestart, &action.id, &Name::from("1")).await);
    println!("restart: {:?}", hands.effect(&dt, &Parameters::RollingRestart, &action.id, &fresh.resource_version).await);
    tokio::time::sleep(Duration::from_secs(1)).await;
    println!("restarted by {:?}", hands.fresh_target(&dt).await.unwrap().unwrap().restarted_by);
    let mut done = incident.clone(); done.state = IncidentState::Resolved; done.instants.mitigated = Some(Timestamp::now()); done.instants.resolved = Some(Timestamp::now());
    queue.submit(Arc::new(done));
    tokio::time::sleep(Duration::from_secs(6)).await;
    stop.cancel();
    el.await.unwrap();
}
