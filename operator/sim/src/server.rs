//! The API server: one revision counter, objects with a `resourceVersion`, conditional writes, the Eviction API with
//! its UID precondition and disruption budgets, and a log that watches read until it is compacted.

use crate::objects::{Autoscaler, Budget, CREATED_BY, Controller, Node, Pod};
use homeostat_execute::actions::retry_name;
use homeostat_execute::ports::FreshTarget;
use homeostat_knowledge::action::ActionInstants;
use homeostat_knowledge::forecast::Scaler;
use homeostat_knowledge::observation::{Change, ObjectChange};
use homeostat_knowledge::policy::{ControlPolicy, TenantPolicy, WorkloadPolicy};
use homeostat_knowledge::records::ControllerKey;
use homeostat_knowledge::runs::made_name;
use homeostat_knowledge::{
    ActionRecord, ActionState, ControllerKind, ControllerRecord, Incident, IncidentId, Name, ObjectKey,
    Parameters, Target, TenantName, Timestamp, Uid, WorkloadHealth, WorkloadKey,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// The five inputs that decisions are made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// Pods.
    Pods,
    /// Controllers of pods, autoscalers, and nodes.
    Controllers,
    /// Tenants, workloads and the control plane's policy.
    Policies,
    /// Actions.
    Actions,
    /// What the analysis says: incidents and health.
    Telemetry,
}

impl Stream {
    /// All five.
    pub const ALL: [Self; 5] =
        [Self::Pods, Self::Controllers, Self::Policies, Self::Actions, Self::Telemetry];
}

/// One event of a watch.
#[derive(Clone, Debug)]
pub enum News {
    /// An object.
    Object(ObjectChange),
    /// An incident as it stands.
    Incident(Arc<Incident>),
    /// An incident was closed.
    Closed(IncidentId),
    /// A workload's health.
    Health(WorkloadKey, WorkloadHealth),
}

/// What the API server answers to a change that it does not make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// 404.
    NotFound,
    /// 409: another UID, another version.
    Conflict(String),
    /// 429 of a disruption budget.
    Budget(String),
    /// 422.
    Invalid(String),
    /// 409, but only after the API server tried for longer than a request waits.
    Late(String),
}

/// Something that Kubernetes itself will do later.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// The containers of a new pod are up.
    Ready(Uid),
    /// A pod's grace period is over.
    Gone(Uid),
    /// A `CronJob`'s time has come.
    Run(ControllerKey),
    /// A Job is done, and goes.
    Done(ControllerKey),
    /// A Job is done, and stays for people to see.
    Complete(ControllerKey),
}

/// An object that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// A node that was closed.
    Node(Name),
    /// What was suspended.
    Run(ControllerKey),
    /// The bounds of what sizes this.
    Bounds(ControllerKey),
}

/// Objects that a read may answer from the past.
#[derive(Clone, Debug, Default)]
pub struct View {
    pods: BTreeMap<ObjectKey, Pod>,
    controllers: BTreeMap<ControllerKey, Controller>,
    nodes: BTreeMap<Name, Node>,
    autoscalers: BTreeMap<ControllerKey, Autoscaler>,
}

/// The API server and everything in it.
#[derive(Debug, Default)]
pub struct Server {
    /// Pods.
    pub pods: BTreeMap<ObjectKey, Pod>,
    /// Deployments, Jobs and what starts them.
    pub controllers: BTreeMap<ControllerKey, Controller>,
    /// `ReplicaSet`s.
    pub replica_sets: BTreeMap<ControllerKey, ControllerRecord>,
    /// Nodes.
    pub nodes: BTreeMap<Name, Node>,
    /// Autoscalers, by what they size.
    pub autoscalers: BTreeMap<ControllerKey, Autoscaler>,
    /// Disruption budgets.
    pub budgets: Vec<Budget>,
    /// Tenants.
    pub tenants: BTreeMap<TenantName, TenantPolicy>,
    /// Workloads.
    pub workloads: BTreeMap<WorkloadKey, WorkloadPolicy>,
    /// The `ControlPlane` object.
    pub control: Option<ControlPolicy>,
    /// Actions.
    pub actions: BTreeMap<ObjectKey, ActionRecord>,
    /// Incidents that are not closed.
    pub incidents: BTreeMap<IncidentId, Arc<Incident>>,
    /// Health.
    pub health: BTreeMap<WorkloadKey, WorkloadHealth>,
    /// What Kubernetes will do, by time.
    pub due: BTreeSet<(Timestamp, Due)>,
    /// What a stale read answers from.
    pub past: Option<View>,
    revision: u64,
    compacted: u64,
    log: VecDeque<(u64, Stream, News)>,
    uids: u64,
}

/// Events that the watch cache keeps.
const LOG: usize = 512;

impl Server {
    /// The newest revision.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    fn tell(&mut self, stream: Stream, news: News) -> Name {
        self.revision += 1;
        if self.log.len() >= LOG {
            self.log.pop_front();
            self.compacted = self.log.front().map_or(self.revision, |(first, ..)| first - 1);
        }
        self.log.push_back((self.revision, stream, news));
        Name::from(self.revision.to_string())
    }

    /// The version that the next write will have.
    fn next_version(&self) -> Name {
        Name::from((self.revision + 1).to_string())
    }

    /// Drops the log: every watch is told 410 and must list again.
    pub fn compact(&mut self) {
        self.log.clear();
        self.compacted = self.revision;
    }

    /// A UID that nothing had before.
    pub fn uid(&mut self, what: &str) -> Uid {
        self.uids += 1;
        Uid::new(format!("{what}-{}", self.uids))
    }

    /// Events of one stream after a revision; `None` is 410 Gone.
    pub fn watch(&self, stream: Stream, after: u64) -> Option<Vec<(u64, News)>> {
        if after < self.compacted {
            return None;
        }
        let first = self.log.partition_point(|(revision, ..)| *revision <= after);
        let events = self.log.iter().skip(first).filter(|(_, of, _)| *of == stream);
        Some(events.map(|(revision, _, news)| (*revision, news.clone())).collect())
    }

    /// The full list of one stream.
    pub fn list(&self, stream: Stream) -> Vec<News> {
        match stream {
            Stream::Pods => self
                .pods
                .values()
                .map(|pod| News::Object(ObjectChange::Pod(Change::Applied(Arc::new(pod.record.clone())))))
                .collect(),
            Stream::Controllers => self
                .replica_sets
                .values()
                .chain(self.controllers.values().map(|controller| &controller.record))
                .map(|record| News::Object(applied(record)))
                .chain(self.nodes.values().map(|node| {
                    News::Object(ObjectChange::Node(Change::Applied(Arc::new(node.record.clone()))))
                }))
                .chain([News::Object(self.scalers())])
                .collect(),
            Stream::Policies => {
                let control = News::Object(ObjectChange::Control(self.control.clone().map(Arc::new)));
                let tenants = self.tenants.values().map(|tenant| {
                    News::Object(ObjectChange::Tenant(Change::Applied(Arc::new(tenant.clone()))))
                });
                let workloads = self.workloads.values().map(|workload| {
                    News::Object(ObjectChange::Workload(Change::Applied(Arc::new(workload.clone()))))
                });
                std::iter::once(control).chain(tenants).chain(workloads).collect()
            }
            Stream::Actions => self
                .actions
                .values()
                .map(|action| News::Object(ObjectChange::Action(Change::Applied(Arc::new(action.clone())))))
                .collect(),
            Stream::Telemetry => self
                .incidents
                .values()
                .map(|incident| News::Incident(Arc::clone(incident)))
                .chain(
                    self.health
                        .iter()
                        .map(|(workload, health)| News::Health(workload.clone(), health.clone())),
                )
                .collect(),
        }
    }

    /// Stores a pod. As with every object, what changes nothing is no write: it gives no version and no event.
    pub fn put_pod(&mut self, pod: Pod) {
        if self.pods.get(&pod.record.key) != Some(&pod) {
            self.write_pod(pod);
        }
    }

    /// Another writer changes something of a pod that is not modelled.
    pub fn touch_pod(&mut self, key: &ObjectKey) {
        if let Some(pod) = self.pods.get(key).cloned() {
            self.write_pod(pod);
        }
    }

    fn write_pod(&mut self, mut pod: Pod) {
        pod.record.resource_version = self.next_version();
        let change = ObjectChange::Pod(Change::Applied(Arc::new(pod.record.clone())));
        self.tell(Stream::Pods, News::Object(change));
        self.pods.insert(pod.record.key.clone(), pod);
    }

    /// Touches the first object of a stream.
    pub fn stir(&mut self, stream: Stream) {
        match stream {
            Stream::Pods => {
                if let Some(key) = self.pods.keys().next().cloned() {
                    self.touch_pod(&key);
                }
            }
            Stream::Controllers => {
                if let Some(key) = self.controllers.keys().next().cloned() {
                    self.touch_controller(&key);
                }
            }
            // Tenants are told by those who change them; actions and telemetry move by themselves.
            Stream::Policies | Stream::Actions | Stream::Telemetry => {}
        }
    }

    /// Removes a pod from the store.
    pub fn remove_pod(&mut self, key: &ObjectKey) {
        if self.pods.remove(key).is_some() {
            self.tell(Stream::Pods, News::Object(ObjectChange::Pod(Change::Deleted(key.clone()))));
        }
    }

    /// The pod of this UID.
    pub fn pod_by_uid(&self, uid: &Uid) -> Option<&Pod> {
        self.pods.values().find(|pod| pod.record.uid == *uid)
    }

    /// Stores a controller.
    pub fn put_controller(&mut self, controller: Controller) {
        if self.controllers.get(&controller.record.key) != Some(&controller) {
            self.write_controller(controller);
        }
    }

    /// Another writer changes something of a controller that is not modelled.
    pub fn touch_controller(&mut self, key: &ControllerKey) {
        if let Some(controller) = self.controllers.get(key).cloned() {
            self.write_controller(controller);
        }
    }

    fn write_controller(&mut self, mut controller: Controller) {
        controller.record.resource_version = self.next_version();
        self.tell(Stream::Controllers, News::Object(applied(&controller.record)));
        self.controllers.insert(controller.record.key.clone(), controller);
    }

    /// Removes a controller from the store.
    pub fn remove_controller(&mut self, key: &ControllerKey) {
        if self.controllers.remove(key).is_some() {
            let change = ObjectChange::Controller(Change::Deleted(key.clone()));
            self.tell(Stream::Controllers, News::Object(change));
        }
    }

    /// Stores a `ReplicaSet`.
    pub fn put_replica_set(&mut self, mut record: ControllerRecord) {
        record.resource_version = self.next_version();
        self.tell(Stream::Controllers, News::Object(applied(&record)));
        self.replica_sets.insert(record.key.clone(), record);
    }

    /// Stores a node.
    pub fn put_node(&mut self, node: Node) {
        if self.nodes.get(&node.record.name) != Some(&node) {
            self.write_node(node);
        }
    }

    /// Another writer changes something of a node that is not modelled.
    pub fn touch_node(&mut self, name: &Name) {
        if let Some(node) = self.nodes.get(name).cloned() {
            self.write_node(node);
        }
    }

    fn write_node(&mut self, mut node: Node) {
        node.version = self.next_version();
        let change = ObjectChange::Node(Change::Applied(Arc::new(node.record.clone())));
        self.tell(Stream::Controllers, News::Object(change));
        self.nodes.insert(node.record.name.clone(), node);
    }

    /// Removes a node from the store.
    pub fn remove_node(&mut self, name: &Name) {
        if self.nodes.remove(name).is_some() {
            let change = ObjectChange::Node(Change::Deleted(ObjectKey::new("", name.as_ref())));
            self.tell(Stream::Controllers, News::Object(change));
        }
    }

    /// Stores an autoscaler.
    pub fn put_autoscaler(&mut self, autoscaler: Autoscaler) {
        if self.autoscalers.get(&autoscaler.record.scales) != Some(&autoscaler) {
            self.write_autoscaler(autoscaler);
        }
    }

    /// Another writer changes something of the autoscaler that sizes this, and nothing that is modelled.
    pub fn touch_autoscaler(&mut self, scales: &ControllerKey) {
        if let Some(autoscaler) = self.autoscalers.get(scales).cloned() {
            self.write_autoscaler(autoscaler);
        }
    }

    fn write_autoscaler(&mut self, mut autoscaler: Autoscaler) {
        autoscaler.record.resource_version = self.next_version();
        self.autoscalers.insert(autoscaler.record.scales.clone(), autoscaler);
        self.tell(Stream::Controllers, News::Object(self.scalers()));
    }

    /// What sizes what, all of it: so the product asks for it.
    fn scalers(&self) -> ObjectChange {
        let all = self.autoscalers.iter();
        let scaler = |autoscaler: &Autoscaler| Scaler::Hpa(Box::new(autoscaler.record.clone()));
        ObjectChange::Scalers(Arc::new(all.map(|(key, one)| (key.clone(), scaler(one))).collect()))
    }

    /// The autoscaler of this name.
    pub fn autoscaler(&self, key: &ObjectKey) -> Option<&Autoscaler> {
        self.autoscalers.values().find(|autoscaler| autoscaler.record.key == *key)
    }

    /// Stores a tenant.
    pub fn put_tenant(&mut self, tenant: TenantPolicy) {
        let change = ObjectChange::Tenant(Change::Applied(Arc::new(tenant.clone())));
        self.tell(Stream::Policies, News::Object(change));
        self.tenants.insert(tenant.name.clone(), tenant);
    }

    /// Stores a workload's policy.
    pub fn put_workload(&mut self, workload: WorkloadPolicy) {
        let change = ObjectChange::Workload(Change::Applied(Arc::new(workload.clone())));
        self.tell(Stream::Policies, News::Object(change));
        self.workloads.insert(workload.key.clone(), workload);
    }

    /// Removes a workload's policy.
    pub fn remove_workload(&mut self, key: &WorkloadKey) {
        if self.workloads.remove(key).is_some() {
            let change = ObjectChange::Workload(Change::Deleted(key.clone()));
            self.tell(Stream::Policies, News::Object(change));
        }
    }

    /// Stores, or with `None` deletes, the `ControlPlane` object.
    pub fn put_control(&mut self, control: Option<ControlPolicy>) {
        self.tell(Stream::Policies, News::Object(ObjectChange::Control(control.clone().map(Arc::new))));
        self.control = control;
    }

    /// Stores what the analysis says of an incident.
    pub fn put_incident(&mut self, incident: Incident) {
        let incident = Arc::new(incident);
        self.tell(Stream::Telemetry, News::Incident(Arc::clone(&incident)));
        self.incidents.insert(incident.id.clone(), incident);
    }

    /// Closes an incident.
    pub fn close_incident(&mut self, id: &IncidentId) {
        self.incidents.remove(id);
        self.tell(Stream::Telemetry, News::Closed(id.clone()));
    }

    /// Stores what the analysis says of a workload's health.
    pub fn put_health(&mut self, workload: &WorkloadKey, health: WorkloadHealth) {
        self.tell(Stream::Telemetry, News::Health(workload.clone(), health.clone()));
        self.health.insert(workload.clone(), health);
    }

    /// Creates an action without its state, as with every object that has a status.
    pub fn create_action(&mut self, record: &ActionRecord) -> Result<Name, Refused> {
        if self.actions.contains_key(&record.key()) {
            return Err(Refused::Conflict("exists already".to_owned()));
        }
        let bare = ActionRecord {
            state: ActionState::Proposed,
            guards: Vec::new(),
            instants: ActionInstants::default(),
            message: "no state yet".to_owned(),
            ..record.clone()
        };
        Ok(self.store_action(bare))
    }

    /// Stores an action's new state when the stored one still has the version that is given.
    pub fn update_action(&mut self, record: &ActionRecord) -> Result<Name, Refused> {
        match self.actions.get(&record.key()) {
            None => Err(Refused::NotFound),
            Some(stored) if stored.resource_version != record.resource_version => {
                Err(Refused::Conflict("the object has been modified".to_owned()))
            }
            Some(stored) => {
                let new = ActionRecord { parameters: record.parameters.as_stored(), ..record.clone() };
                if *stored == new { Ok(new.resource_version) } else { Ok(self.store_action(new)) }
            }
        }
    }

    /// Stores an action as it is, its instants in microseconds.
    pub fn store_action(&mut self, mut record: ActionRecord) -> Name {
        record.parameters = record.parameters.as_stored();
        record.resource_version = self.next_version();
        let change = ObjectChange::Action(Change::Applied(Arc::new(record.clone())));
        let version = self.tell(Stream::Actions, News::Object(change));
        self.actions.insert(record.key(), record);
        version
    }

    /// Answers an uncached read; with `stale` as an API server does that has not heard the newest.
    pub fn read(&self, target: &Target, stale: bool) -> Option<FreshTarget> {
        let past = self.past.as_ref().filter(|_| stale);
        let kind = ControllerKind::from_kind(&target.kind);
        match &*target.kind {
            "Pod" => {
                past.map_or(&self.pods, |view| &view.pods).get(&target.key).map(crate::objects::fresh_pod)
            }
            "Node" => past
                .map_or(&self.nodes, |view| &view.nodes)
                .get(&target.key.name)
                .map(crate::objects::fresh_node),
            "HorizontalPodAutoscaler" => {
                let mut all = past.map_or(&self.autoscalers, |view| &view.autoscalers).values();
                all.find(|one| one.record.key == target.key).map(crate::objects::fresh_autoscaler)
            }
            _ => {
                let controllers = past.map_or(&self.controllers, |view| &view.controllers);
                let found = controllers.get(&ControllerKey { kind, object: target.key.clone() })?;
                let mut fresh = crate::objects::fresh_controller(found);
                let name = retry_name(&Target { uid: found.record.uid.clone(), ..target.clone() });
                let object = ObjectKey { namespace: target.key.namespace.clone(), name };
                let retry = controllers.get(&ControllerKey { kind: ControllerKind::Job, object });
                fresh.marks.retried_by = retry.and_then(|retry| retry.marks.get(CREATED_BY).cloned());
                Some(fresh)
            }
        }
    }

    /// Who created the Job that such an effect makes beside its target; `None` where there is none.
    pub fn made_by(&self, target: &Target, parameters: &Parameters, stale: bool) -> Option<Name> {
        let Parameters::CreateJob { slot } = parameters else { return None };
        let object = ObjectKey { namespace: target.key.namespace.clone(), name: made_name(target, *slot) };
        let past = self.past.as_ref().filter(|_| stale);
        let controllers = past.map_or(&self.controllers, |view| &view.controllers);
        let job = controllers.get(&ControllerKey { kind: ControllerKind::Job, object })?;
        Some(job.marks.get(CREATED_BY).cloned().unwrap_or_else(|| Name::from("somebody else")))
    }

    /// Keeps the present as what stale reads will answer.
    pub fn remember(&mut self) {
        self.past = Some(View {
            pods: self.pods.clone(),
            controllers: self.controllers.clone(),
            nodes: self.nodes.clone(),
            autoscalers: self.autoscalers.clone(),
        });
    }

    /// Does the disruption budget let this pod be evicted now? What is ready may go while more serve than must; what is
    /// not, while as many serve as must, and some must.
    pub fn may_evict(&self, pod: &Pod) -> Result<(), Refused> {
        let owner = self.controller_of(pod);
        for budget in self.budgets.iter().filter(|budget| Some(&budget.controller) == owner.as_ref()) {
            let serving = self
                .pods
                .values()
                .filter(|other| other.record.serving() && self.controller_of(other) == owner)
                .count();
            let spare = !pod.record.ready && budget.minimum > 0 && serving >= budget.minimum;
            if serving <= budget.minimum && !spare {
                return Err(Refused::Budget(format!("{} must serve and {serving} do", budget.minimum)));
            }
        }
        Ok(())
    }

    /// Some pods must serve where this one belongs, by a disruption budget.
    pub fn some_must_serve(&self, pod: &Pod) -> bool {
        let owner = self.controller_of(pod);
        let mut budgets = self.budgets.iter().filter(|budget| Some(&budget.controller) == owner.as_ref());
        budgets.any(|budget| budget.minimum > 0)
    }

    /// The controller above a pod's `ReplicaSet`.
    pub fn controller_of(&self, pod: &Pod) -> Option<ControllerKey> {
        let owner = pod.record.owner.as_ref()?;
        let object =
            |name: &Name| ObjectKey { namespace: pod.record.key.namespace.clone(), name: name.clone() };
        let direct = ControllerKey { kind: owner.kind, object: object(&owner.name) };
        match self.replica_sets.get(&direct) {
            Some(set) => set
                .owner
                .as_ref()
                .map(|above| ControllerKey { kind: above.kind, object: object(&above.name) }),
            None => Some(direct),
        }
    }

    /// Pods of a controller, in name order.
    pub fn pods_of<'a>(&'a self, controller: &'a ControllerKey) -> impl Iterator<Item = &'a Pod> + 'a {
        self.pods.values().filter(move |pod| self.controller_of(pod).as_ref() == Some(controller))
    }

    /// What carries our mark, and until when: nodes (without a namespace), Jobs and what starts them, autoscalers.
    pub fn holds(&self) -> impl Iterator<Item = (Held, Option<Timestamp>)> + '_ {
        let nodes = self.nodes.values().filter_map(|node| {
            let held = Held::Node(node.record.name.clone());
            node.record.hold.as_ref().map(|hold| (held, hold.until))
        });
        let runs = self.controllers.values().filter_map(|run| {
            let held = Held::Run(run.record.key.clone());
            run.record.hold.as_ref().map(|hold| (held, hold.until))
        });
        let bounds = self.autoscalers.iter().filter_map(|(key, autoscaler)| {
            let hold = autoscaler.record.drive.as_ref().map(|drive| &drive.hold)?;
            Some((Held::Bounds(key.clone()), hold.until))
        });
        nodes.chain(runs).chain(bounds)
    }

    /// Actions that are open: not ended, and no standing recommendations.
    pub fn open_actions(&self) -> impl Iterator<Item = &ActionRecord> {
        self.actions.values().filter(|record| {
            let stands = record.state == ActionState::Proposed && !record.guards.is_empty();
            !record.state.ended() && !stands
        })
    }
}

fn applied(record: &ControllerRecord) -> ObjectChange {
    ObjectChange::Controller(Change::Applied(Arc::new(record.clone())))
}
