//! The simulated API server and Kubernetes keep the rules that the proof stands on.

use homeostat_knowledge::records::PodPhase;
use homeostat_knowledge::{
    ActionId, ControllerKind, Name, ObjectKey, Parameters, SignedDuration, Snapshot, Uid,
};
use homeostat_sim::kubernetes;
use homeostat_sim::objects::{self, Budget, Node, controller_key};
use homeostat_sim::server::{Refused, Server, Stream};
use homeostat_sim::situations::{self, EffectRequest};
use homeostat_sim::world::base;

fn key() -> ObjectKey {
    ObjectKey::new("shop", "order")
}

fn server(replicas: i32) -> Server {
    let mut server = Server::default();
    for name in ["node-a", "node-b"] {
        let record = objects::node(name, server.uid("node"));
        server.put_node(Node { record, version: Name::from(""), ailment: None });
    }
    kubernetes::deploy(&mut server, &key(), replicas, base());
    kubernetes::turn(&mut server, base());
    server
}

fn eviction(server: &Server) -> EffectRequest {
    let pod = server.pods.values().next().expect("a pod");
    EffectRequest {
        target: Snapshot::pod_target(&pod.record),
        parameters: Parameters::EvictPod { grace_seconds: None },
        action: ActionId::new("order-1-1"),
        uid: Some(pod.record.uid.clone()),
        version: None,
    }
}

#[test]
fn an_eviction_needs_the_uid_and_the_budget() {
    let mut server = server(2);
    let situation = situations::of(homeostat_knowledge::ActionKind::EvictPod).expect("evictions");
    let request = eviction(&server);
    assert_eq!(situation.check(&server, &request), Ok(()));
    let other = EffectRequest { uid: Some(Uid::new("another")), ..request.clone() };
    assert!(matches!(situation.check(&server, &other), Err(Refused::Conflict(_))));
    let controller = controller_key(ControllerKind::Deployment, &key());
    server.budgets.push(Budget { controller: controller.clone(), minimum: 2 });
    assert!(matches!(situation.check(&server, &request), Err(Refused::Budget(_))));
    server.budgets = vec![Budget { controller, minimum: 1 }];
    assert_eq!(situation.check(&server, &request), Ok(()));
    server.remove_pod(&request.target.key);
    assert_eq!(situation.check(&server, &request), Err(Refused::NotFound));
}

#[test]
fn a_budget_is_asked_before_the_uid_and_only_for_what_runs() {
    let mut server = server(2);
    let situation = situations::of(homeostat_knowledge::ActionKind::EvictPod).expect("evictions");
    let right = eviction(&server);
    let wrong = EffectRequest { uid: Some(Uid::new("another")), ..right.clone() };
    let key = right.target.key.clone();
    let controller = controller_key(ControllerKind::Deployment, &self::key());
    let change = |server: &mut Server, minimum, phase, ready| {
        server.budgets = vec![Budget { controller: controller.clone(), minimum }];
        let mut pod = server.pods[&key].clone();
        (pod.record.phase, pod.record.ready) = (phase, ready);
        server.put_pod(pod);
    };
    change(&mut server, 2, PodPhase::Running, true);
    assert!(matches!(situation.check(&server, &wrong), Err(Refused::Budget(_))));
    // One serves, one does not.
    for (minimum, free) in [(2, false), (1, true), (0, true)] {
        change(&mut server, minimum, PodPhase::Running, false);
        assert_eq!(situation.check(&server, &right).is_ok(), free, "{minimum}");
    }
    change(&mut server, 1, PodPhase::Running, false);
    assert!(matches!(situation.check(&server, &wrong), Err(Refused::Budget(_))));
    for phase in [PodPhase::Pending, PodPhase::Succeeded, PodPhase::Failed] {
        change(&mut server, 2, phase, false);
        assert_eq!(situation.check(&server, &right), Ok(()));
        assert!(matches!(situation.check(&server, &wrong), Err(Refused::Late(_))));
    }
}

#[test]
fn a_pod_that_no_node_has_is_gone_at_once() {
    let mut server = server(1);
    let mut pod = server.pods.values().next().expect("a pod").clone();
    kubernetes::delete_pod(&mut server, &pod.record.key, base());
    assert!(server.pods[&pod.record.key].record.deleting);
    server.remove_pod(&pod.record.key);
    pod.record.node = None;
    server.put_pod(pod.clone());
    kubernetes::delete_pod(&mut server, &pod.record.key, base());
    assert!(!server.pods.contains_key(&pod.record.key));
}

#[test]
fn what_changes_nothing_is_no_write() {
    let mut server = server(1);
    let before = server.revision();
    let deployment = server.controllers[&controller_key(ControllerKind::Deployment, &key())].clone();
    let replicas = deployment.record.replicas;
    server.put_controller(deployment.clone());
    server.put_pod(server.pods.values().next().expect("a pod").clone());
    server.put_node(server.nodes["node-a"].clone());
    let situation = situations::of(homeostat_knowledge::ActionKind::ScaleUp).expect("sizes");
    let mut request = EffectRequest {
        target: Snapshot::controller_target(&deployment.record).expect("a known kind"),
        parameters: Parameters::ScaleUp { replicas },
        ..eviction(&server)
    };
    situation.apply(&mut server, &request, base());
    assert_eq!(server.revision(), before);
    request.parameters = Parameters::ScaleUp { replicas: replicas + 1 };
    situation.apply(&mut server, &request, base());
    assert_eq!(server.revision(), before + 1);
}

#[test]
fn a_release_is_put_back_from_its_own_replica_set() {
    let mut server = server(1);
    let situation = situations::of(homeostat_knowledge::ActionKind::RollBack).expect("releases");
    let deployment = controller_key(ControllerKind::Deployment, &key());
    kubernetes::roll_out(&mut server, &deployment, |template| template.image = Name::from("v2"));
    let present = |server: &Server| server.controllers[&deployment].clone();
    let asked = |server: &Server, revision: &str| {
        let record = present(server).record;
        EffectRequest {
            target: Snapshot::controller_target(&record).expect("a known kind"),
            parameters: Parameters::RollBack { revision: Name::from(revision) },
            action: ActionId::new("order-1-1"),
            uid: Some(record.uid.clone()),
            version: Some(record.resource_version),
        }
    };
    let first = asked(&server, "order-1");
    assert_eq!(situation.check(&server, &first), Ok(()));
    assert_eq!(situation.check(&server, &asked(&server, "order-9")), Err(Refused::NotFound));
    let mut other = first.clone();
    other.target.uid = Uid::new("another");
    assert!(matches!(situation.check(&server, &other), Err(Refused::Invalid(_))));
    situation.apply(&mut server, &first, base());
    assert_eq!(&*present(&server).template.image, "v1");
    let (generation, revision) = (present(&server).record.generation, server.revision());
    let again = asked(&server, "order-1");
    situation.apply(&mut server, &again, base());
    assert_eq!((present(&server).record.generation, server.revision()), (generation, revision));
}

#[test]
fn a_write_on_an_old_version_is_refused() {
    let server = server(1);
    let situation = situations::of(homeostat_knowledge::ActionKind::RollingRestart).expect("restarts");
    let deployment = &server.controllers[&controller_key(ControllerKind::Deployment, &key())];
    let mut request = EffectRequest {
        target: Snapshot::controller_target(&deployment.record).expect("a known kind"),
        parameters: Parameters::RollingRestart,
        version: Some(deployment.record.resource_version.clone()),
        uid: Some(deployment.record.uid.clone()),
        ..eviction(&server)
    };
    assert_eq!(situation.check(&server, &request), Ok(()));
    request.version = Some(Name::from("1"));
    assert!(matches!(situation.check(&server, &request), Err(Refused::Conflict(_))));
}

#[test]
fn a_watch_delivers_every_event_in_order_until_the_log_is_compacted() {
    let mut server = server(1);
    let from = server.revision();
    for _ in 0..5 {
        server.stir(Stream::Pods);
    }
    let events = server.watch(Stream::Pods, from).expect("not compacted");
    assert_eq!(events.iter().map(|(at, _)| at - from).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert!(server.watch(Stream::Actions, from).expect("not compacted").is_empty());
    server.compact();
    assert!(server.watch(Stream::Pods, from).is_none(), "410 Gone");
    assert!(server.watch(Stream::Pods, server.revision()).is_some());
    assert_eq!(server.list(Stream::Pods).len(), 1);
}

#[test]
fn a_rollout_keeps_its_replicas_ready_and_ends() {
    let mut server = server(3);
    let deployment = controller_key(ControllerKind::Deployment, &key());
    kubernetes::roll_out(&mut server, &deployment, |template| template.image = Name::from("v2"));
    let mut now = base();
    for _ in 0..100 {
        now += SignedDuration::from_millis(200);
        kubernetes::turn(&mut server, now);
        let ready = server.pods_of(&deployment).filter(|pod| pod.record.serving()).count();
        assert!(ready >= 3, "{ready} ready at {now}");
    }
    let record = &server.controllers[&deployment].record;
    assert!(!record.rolling_out(), "{record:?}");
    assert_eq!((record.current, record.ready, record.updated), (3, 3, 3));
    assert_eq!(server.pods_of(&deployment).count(), 3);
}

#[test]
fn a_cordoned_node_gets_no_new_pods() {
    let mut server = server(1);
    for name in ["node-a", "node-b"] {
        let mut node = server.nodes[name].clone();
        node.record.cordoned = true;
        server.put_node(node);
    }
    let deployment = controller_key(ControllerKind::Deployment, &key());
    let mut scaled = server.controllers[&deployment].clone();
    scaled.record.replicas = 2;
    server.put_controller(scaled);
    kubernetes::turn(&mut server, base());
    let waiting = |server: &Server| server.pods.values().filter(|pod| pod.record.node.is_none()).count();
    assert_eq!(waiting(&server), 1);
    let mut node = server.nodes["node-a"].clone();
    node.record.cordoned = false;
    server.put_node(node);
    kubernetes::turn(&mut server, base());
    assert_eq!(waiting(&server), 0);
}

#[test]
fn a_suspended_cron_job_starts_nothing() {
    let mut server = Server::default();
    kubernetes::cron(&mut server, &key(), base());
    let jobs = |server: &mut Server, second| {
        kubernetes::turn(server, base() + SignedDuration::from_secs(second));
        server.controllers.keys().filter(|key| key.kind == ControllerKind::Job).count()
    };
    assert_eq!((jobs(&mut server, 9), jobs(&mut server, 10), jobs(&mut server, 13)), (0, 1, 0));
    let cron = controller_key(ControllerKind::CronJob, &key());
    let mut suspended = server.controllers[&cron].clone();
    suspended.record.paused = true;
    server.put_controller(suspended);
    assert_eq!(jobs(&mut server, 60), 0);
}
