//! Kubernetes' own controllers, as far as the actions meet them: Deployments roll out and keep their replicas, the
//! scheduler places pods on nodes that allow it, the kubelet starts and ends them, a `CronJob` starts Jobs.

use crate::objects::{
    self, Controller, Node, Pod, ROLLED_BACK_BY, Template, controller, controller_key, pod,
};
use crate::server::{Due, Server};
use homeostat_execute::ports::{Field, Requests};
use homeostat_knowledge::records::{ControllerKey, JobEnd, OwnerRecord, PodPhase};
use homeostat_knowledge::{ControllerKind, FindingKind, Name, ObjectKey, SignedDuration, Timestamp, Uid};

/// From a pod's creation to its readiness.
pub const START: SignedDuration = SignedDuration::from_millis(2_000);
/// From the deletion of a pod to its end.
pub const GRACE: SignedDuration = SignedDuration::from_millis(600);
/// Between two Jobs of a `CronJob`.
const PERIOD: SignedDuration = SignedDuration::from_secs(10);
/// How long a Job runs.
pub const JOB: SignedDuration = SignedDuration::from_secs(3);
/// What the template of every pod asks for.
pub const REQUESTS: Requests =
    Requests { cpu_millis: Some(100), cpu_limit_millis: None, memory_bytes: None, memory_limit_bytes: None };
/// A template whose program cannot work: every pod of it is ill.
pub const BAD_IMAGE: &str = "bad";

/// Creates a Deployment with all its pods up and well.
pub fn deploy(server: &mut Server, key: &ObjectKey, replicas: i32, now: Timestamp) {
    let controller_key = controller_key(ControllerKind::Deployment, key);
    let record = controller(controller_key.clone(), server.uid(&key.name), Name::from(""), replicas, None);
    let deployment = Controller::new(record);
    put_replica_set(server, &deployment);
    server.put_controller(deployment);
    for _ in 0..replicas {
        let uid = create_pod(server, &controller_key, now);
        if let Some(uid) = uid {
            server.due.remove(&(now + START, Due::Ready(uid.clone())));
            ready(server, &uid, now);
        }
    }
}

/// A new revision of the template: somebody changed something in it.
pub fn roll_out(server: &mut Server, key: &ControllerKey, change: impl FnOnce(&mut Template)) -> Option<()> {
    let mut deployment = server.controllers.get(key)?.clone();
    deployment.revisions.push(deployment.template.clone());
    let revision = deployment.revisions.len() + 1;
    deployment.template.hash = Name::from(revision.to_string());
    change(&mut deployment.template);
    deployment.record.generation += 1;
    deployment.record.revision = Some(Name::from(revision.to_string()));
    put_replica_set(server, &deployment);
    server.put_controller(deployment);
    Some(())
}

/// Puts the template of a `ReplicaSet` of this name back, as a new revision, with the mark of whoever did it. `None` when
/// there is no such revision. Of the one that is there already only the mark is new.
pub fn roll_back(server: &mut Server, key: &ControllerKey, set: &Name, by: Option<Name>) -> Option<()> {
    let mut deployment = server.controllers.get(key)?.clone();
    if *set_name(key, &deployment.template) == **set {
        let mark = Name::from(ROLLED_BACK_BY);
        if let Some(by) = by.filter(|by| deployment.marks.get(&mark) != Some(by)) {
            // An annotation of a Deployment counts as a change of what is wanted.
            deployment.record.generation += 1;
            deployment.marks.insert(mark, by);
        }
        server.put_controller(deployment);
        return Some(());
    }
    let named = |template: &&Template| *set_name(key, template) == **set;
    let template = deployment.revisions.iter().rev().find(named)?.clone();
    deployment.revisions.push(std::mem::replace(&mut deployment.template, template));
    let revision = Name::from((deployment.revisions.len() + 1).to_string());
    deployment.record.generation += 1;
    deployment.record.revision = Some(revision.clone());
    if let Some(by) = by {
        deployment.marks.insert(Name::from(ROLLED_BACK_BY), by);
    }
    let object = ObjectKey { namespace: key.object.namespace.clone(), name: set.clone() };
    let mut old = server.replica_sets.get(&controller_key(ControllerKind::ReplicaSet, &object))?.clone();
    let before = old.revision.replace(revision);
    old.release.get_or_insert_default().earlier.extend(before);
    server.put_replica_set(old);
    server.put_controller(deployment);
    Some(())
}

/// Name of the `ReplicaSet` of a template.
pub fn set_name(key: &ControllerKey, template: &Template) -> Name {
    Name::from(format!("{}-{}", key.object.name, template.hash))
}

fn put_replica_set(server: &mut Server, deployment: &Controller) {
    let above = &deployment.record;
    let name = set_name(&above.key, &deployment.template);
    let object = ObjectKey { namespace: above.key.object.namespace.clone(), name };
    let owner =
        OwnerRecord { kind: above.key.kind, name: above.key.object.name.clone(), uid: above.uid.clone() };
    let uid = server.uid("set");
    let key = controller_key(ControllerKind::ReplicaSet, &object);
    let mut set = controller(key, uid, Name::from(""), above.replicas, Some(owner));
    set.revision.clone_from(&above.revision);
    server.put_replica_set(set);
}

/// Begins to delete a pod. One that no node has, or that has ended, is gone at once.
pub fn delete_pod(server: &mut Server, key: &ObjectKey, now: Timestamp) {
    let Some(mut pod) = server.pods.get(key).filter(|pod| !pod.record.deleting).cloned() else { return };
    if pod.record.node.is_none() || matches!(pod.record.phase, PodPhase::Succeeded | PodPhase::Failed) {
        server.remove_pod(key);
        return;
    }
    pod.record.deleting = true;
    pod.record.ready = false;
    server.due.insert((now + GRACE, Due::Gone(pod.record.uid.clone())));
    server.put_pod(pod);
}

/// Somebody deletes a pod with force; another one has its name at once and is well.
pub fn replace_pod(server: &mut Server, key: &ObjectKey, now: Timestamp) {
    let Some(mut pod) = server.pods.get(key).cloned() else { return };
    server.remove_pod(key);
    pod.record.uid = server.uid("pod");
    pod.record.created = now;
    pod.record.deleting = false;
    pod.record.phase = PodPhase::Running;
    pod.ailment = None;
    pod.requests = REQUESTS;
    pod.set_by = None;
    well(&mut pod);
    server.put_pod(pod);
}

/// A process falls ill; what the kubelet can see of it, it writes down.
pub fn fall_ill(server: &mut Server, key: &ObjectKey, ailment: FindingKind) {
    use homeostat_knowledge::ContainerState;
    let Some(mut pod) = server.pods.get(key).filter(|pod| !pod.record.deleting).cloned() else { return };
    pod.ailment = Some(ailment);
    if matches!(ailment, FindingKind::BackingOff | FindingKind::CrashLoop | FindingKind::NotReady) {
        pod.record.ready = false;
        for container in &mut pod.record.containers {
            container.ready = false;
            if ailment != FindingKind::NotReady {
                container.state = ContainerState::Waiting { reason: Name::from("CrashLoopBackOff") };
            }
        }
    }
    server.put_pod(pod);
}

/// A pod gets well by itself.
pub fn recover(server: &mut Server, key: &ObjectKey) {
    let Some(mut pod) = server.pods.get(key).filter(|pod| !pod.record.deleting).cloned() else { return };
    pod.ailment = None;
    well(&mut pod);
    server.put_pod(pod);
}

fn well(pod: &mut Pod) {
    use homeostat_knowledge::ContainerState;
    let since = pod.record.created;
    pod.record.ready = true;
    for container in &mut pod.record.containers {
        container.ready = true;
        container.state = ContainerState::Running { since };
    }
}

fn create_pod(server: &mut Server, key: &ControllerKey, now: Timestamp) -> Option<Uid> {
    let deployment = server.controllers.get(key)?.clone();
    let set = format!("{}-{}", key.object.name, deployment.template.hash);
    let set_key = ControllerKey {
        kind: ControllerKind::ReplicaSet,
        object: ObjectKey::new(key.object.namespace.clone(), set.as_str()),
    };
    let owner = OwnerRecord {
        kind: ControllerKind::ReplicaSet,
        name: Name::from(set.as_str()),
        uid: server.replica_sets.get(&set_key)?.uid.clone(),
    };
    let uid = server.uid("pod");
    let name = ObjectKey::new(key.object.namespace.clone(), format!("{}-{uid}", key.object.name));
    let hash = deployment.template.hash.clone();
    let mut record = pod(name, uid.clone(), Name::from(""), owner, &hash, now);
    record.ready = false;
    record.phase = PodPhase::Pending;
    for container in &mut record.containers {
        container.ready = false;
    }
    let ailment = (&*deployment.template.image == BAD_IMAGE).then_some(FindingKind::ErrorBurst);
    server.put_pod(Pod { record, ailment, requests: REQUESTS, set_by: None });
    place(server, &uid, now);
    Some(uid)
}

/// The scheduler: the node with the fewest pods that is ready and allows new ones.
fn place(server: &mut Server, uid: &Uid, now: Timestamp) {
    let Some(mut pod) = server.pod_by_uid(uid).cloned() else { return };
    let load =
        |name: &Name| server.pods.values().filter(|other| other.record.node.as_ref() == Some(name)).count();
    let node = server
        .nodes
        .values()
        .filter(|node| node.record.ready && !node.record.cordoned)
        .min_by_key(|node| (load(&node.record.name), node.record.name.clone()))
        .map(|node| node.record.name.clone());
    if let Some(node) = node {
        pod.record.node = Some(node);
        pod.record.unschedulable = None;
        server.due.insert((now + START, Due::Ready(uid.clone())));
    } else if pod.record.unschedulable.is_some() {
        return;
    } else {
        pod.record.unschedulable = Some(Name::from("0 nodes are available"));
    }
    server.put_pod(pod);
}

fn ready(server: &mut Server, uid: &Uid, now: Timestamp) {
    let Some(mut pod) = server.pod_by_uid(uid).filter(|pod| !pod.record.deleting).cloned() else { return };
    pod.record.phase = PodPhase::Running;
    well(&mut pod);
    for container in &mut pod.record.containers {
        container.state = homeostat_knowledge::ContainerState::Running { since: now };
    }
    server.put_pod(pod);
}

/// A node that is ready, and as many more as the cluster needs to have this many.
pub fn add_nodes(server: &mut Server, name: &Name, number: usize) {
    let others = (0..number).map(|index| Name::from(format!("node-{index:02}")));
    for one in std::iter::once(name.clone()).chain(others) {
        if !server.nodes.contains_key(&one) && (one == *name || server.nodes.len() < number) {
            let record = objects::node(&one, server.uid("node"));
            server.put_node(Node { record, version: Name::from(""), ailment: None });
        }
    }
}

/// A pod of Homeostat itself on a node; once.
pub fn add_own_pod(server: &mut Server, node: &str, now: Timestamp) {
    let key = ObjectKey::new(objects::OWN_NAMESPACE, "homeostat-0");
    if server.pods.contains_key(&key) {
        return;
    }
    let owner = OwnerRecord {
        kind: ControllerKind::ReplicaSet,
        name: Name::from("homeostat"),
        uid: server.uid("homeostat"),
    };
    let uid = server.uid("pod");
    let mut record = pod(key, uid, Name::from(""), owner, &Name::from("1"), now);
    record.node = Some(Name::from(node));
    server.put_pod(Pod { record, ailment: None, requests: REQUESTS, set_by: None });
}

/// Creates a `CronJob` that starts a Job each ten seconds unless it is suspended.
pub fn cron(server: &mut Server, key: &ObjectKey, now: Timestamp) {
    let key = cron_by_hand(server, key);
    server.due.insert((now + PERIOD, Due::Run(key)));
}

/// Creates a `CronJob` whose time does not come by itself.
pub fn cron_by_hand(server: &mut Server, key: &ObjectKey) -> ControllerKey {
    let key = controller_key(ControllerKind::CronJob, key);
    let uid = server.uid(&key.object.name);
    server.put_controller(Controller::new(controller(key.clone(), uid, Name::from(""), 1, None)));
    key
}

/// A Job of a `CronJob`, with a name of its own or the given one. It has not ended.
pub fn create_job(server: &mut Server, cron: &ControllerKey, name: Option<Name>) -> Option<ControllerKey> {
    let above = server.controllers.get(cron)?.clone();
    let uid = server.uid("job");
    let name = name.unwrap_or_else(|| Name::from(format!("{}-{uid}", cron.object.name)));
    let key =
        controller_key(ControllerKind::Job, &ObjectKey { namespace: cron.object.namespace.clone(), name });
    let owner = OwnerRecord {
        kind: ControllerKind::CronJob,
        name: cron.object.name.clone(),
        uid: above.record.uid.clone(),
    };
    let record = controller(key.clone(), uid, Name::from(""), 1, Some(owner));
    server.put_controller(Controller { template: above.template, ..Controller::new(record) });
    Some(key)
}

/// A Job ends.
pub fn end_job(server: &mut Server, key: &ControllerKey, end: JobEnd) {
    if let Some(mut job) = server.controllers.get(key).cloned() {
        job.record.finished = Some(end);
        server.put_controller(job);
    }
}

/// A `CronJob`'s time has come: it starts a Job, unless it is suspended.
fn run_job(server: &mut Server, key: &ControllerKey, now: Timestamp) {
    let Some(paused) = server.controllers.get(key).map(|cron| cron.record.paused) else { return };
    server.due.insert((now + PERIOD, Due::Run(key.clone())));
    if paused {
        return;
    }
    if let Some(job) = create_job(server, key, None) {
        server.due.insert((now + JOB, Due::Done(job)));
    }
}

/// Everything that is due by now, then every controller until none of them has anything left to do.
pub fn turn(server: &mut Server, now: Timestamp) {
    while let Some((at, due)) = server.due.first().cloned() {
        if at > now {
            break;
        }
        server.due.pop_first();
        match due {
            Due::Run(key) => run_job(server, &key, now),
            Due::Done(key) => server.remove_controller(&key),
            Due::Complete(key) => end_job(server, &key, JobEnd::Complete),
            Due::Ready(uid) => ready(server, &uid, now),
            Due::Gone(uid) => {
                if let Some(key) = server.pod_by_uid(&uid).map(|pod| pod.record.key.clone()) {
                    server.remove_pod(&key);
                }
            }
        }
    }
    let waiting: Vec<Uid> = server
        .pods
        .values()
        .filter(|pod| pod.record.node.is_none() && !pod.record.deleting)
        .map(|pod| pod.record.uid.clone())
        .collect();
    for uid in waiting {
        place(server, &uid, now);
    }
    let sized: Vec<ControllerKey> = server.autoscalers.keys().cloned().collect();
    for key in sized {
        autoscale(server, &key);
    }
    let keys: Vec<ControllerKey> =
        server.controllers.keys().filter(|key| key.kind == ControllerKind::Deployment).cloned().collect();
    for key in keys {
        while reconcile(server, &key, now) {}
        report(server, &key);
    }
}

/// The autoscaler keeps its bounds. It looks at the load so seldom that the load itself moves nothing here.
fn autoscale(server: &mut Server, key: &ControllerKey) {
    let (Some(autoscaler), Some(target)) = (server.autoscalers.get(key), server.controllers.get(key)) else {
        return;
    };
    let bound = |count: u64| i32::try_from(count).unwrap_or(i32::MAX);
    let bounds = autoscaler.record.bounds;
    let replicas = target.record.replicas.clamp(bound(bounds.min), bound(bounds.max));
    if replicas != target.record.replicas {
        let mut target = target.clone();
        target.record.generation += 1;
        target.record.replicas = replicas;
        target.sized_by = objects::edit(Field::Replicas, objects::OTHERS, None);
        server.put_controller(target);
    }
}

/// One step of the Deployment controller: one more pod first, then one less, never fewer ready ones than wanted.
fn reconcile(server: &mut Server, key: &ControllerKey, now: Timestamp) -> bool {
    let Some(deployment) = server.controllers.get(key) else { return false };
    let (wanted, hash) = (deployment.record.replicas.max(0) as usize, deployment.template.hash.clone());
    if deployment.record.paused {
        return false;
    }
    let active: Vec<&Pod> = server.pods_of(key).filter(|pod| !pod.record.deleting).collect();
    let of_template = |pod: &&&Pod| pod.record.template_hash.as_ref() == Some(&hash);
    let new = active.iter().filter(of_template).count();
    let old: Vec<&&Pod> = active.iter().filter(|pod| !of_template(pod)).collect();
    let most = if old.is_empty() { wanted } else { wanted + 1 };
    if new < wanted && active.len() < most {
        return create_pod(server, key, now).is_some();
    }
    let serving = active.iter().filter(|pod| pod.record.serving()).count();
    let surplus = if let Some(pod) = old.iter().find(|pod| !pod.record.serving()) {
        (active.len() > wanted || serving >= wanted).then(|| pod.record.key.clone())
    } else if let Some(pod) = old.first() {
        (serving > wanted).then(|| pod.record.key.clone())
    } else if new > wanted {
        let not_ready = active.iter().find(|pod| !pod.record.serving());
        not_ready.or(active.last()).map(|pod| pod.record.key.clone())
    } else {
        None
    };
    match surplus {
        Some(pod) => {
            delete_pod(server, &pod, now);
            true
        }
        None => false,
    }
}

/// The Deployment's status.
fn report(server: &mut Server, key: &ControllerKey) {
    let Some(deployment) = server.controllers.get(key) else { return };
    let hash = &deployment.template.hash;
    let (mut current, mut ready, mut updated) = (0, 0, 0);
    for pod in server.pods_of(key).filter(|pod| !pod.record.deleting) {
        current += 1;
        ready += i32::from(pod.record.serving());
        updated += i32::from(pod.record.template_hash.as_ref() == Some(hash));
    }
    let record = &deployment.record;
    let seen = (record.current, record.ready, record.updated, record.observed_generation);
    if seen != (current, ready, updated, record.generation) {
        let mut deployment = deployment.clone();
        let record = &mut deployment.record;
        (record.current, record.ready, record.updated) = (current, ready, updated);
        record.observed_generation = record.generation;
        server.put_controller(deployment);
    }
}
