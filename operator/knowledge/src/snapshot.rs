//! Everything known at one instant. Made by one writer, read by every stage, never changed:
//! the next generation shares all unchanged slices with this one.

use crate::action::{ActionRecord, Target, UnreadAction};
use crate::ahead::Ahead;
use crate::entity::{Entity, Name, ObjectKey, TenantName, WorkloadKey};
use crate::finding::FindingKind;
use crate::forecast::{Scaler, Scalers, SizeAdvice};
use crate::ids::{ActionId, IncidentId, Uid};
use crate::incident::Incident;
use crate::observation::{
    Change, ConfigRecord, DroppedSeries, ObjectChange, ObjectKind, SeriesReport, SourceReport,
};
use crate::policy::{ControlPolicy, TenantPolicy, WorkloadPolicy};
use crate::records::{
    AutoscalerRecord, ControllerKey, ControllerKind, ControllerRecord, Hold, NodeRecord, PodRecord, Release,
    ServiceRecord,
};
use crate::runs::{KueueQueues, RunsReport};
use jiff::{SignedDuration, Timestamp};
use rpds::RedBlackTreeMapSync as Map;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::Bound;
use std::sync::Arc;

/// Hands out the current snapshot; implemented by the binary's single writer.
pub trait SnapshotSource: Send + Sync {
    /// The newest generation. Cheap.
    fn current(&self) -> Arc<Snapshot>;
}

/// Everything known at one instant.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Counts up with each commit; also the epoch of decisions made from it.
    pub generation: u64,
    /// Control policy; the default (kill switch unreadable) until the object was seen.
    pub control: Arc<ControlPolicy>,
    /// Tenants by name.
    pub tenants: Map<TenantName, Arc<TenantPolicy>>,
    /// Workloads under control.
    pub workloads: Map<WorkloadKey, Arc<WorkloadPolicy>>,
    /// Pods.
    pub pods: Map<ObjectKey, Arc<PodRecord>>,
    /// Controllers of pods.
    pub controllers: Map<ControllerKey, Arc<ControllerRecord>>,
    /// Services.
    pub services: Map<ObjectKey, Arc<ServiceRecord>>,
    /// Nodes by name.
    pub nodes: Map<Name, Arc<NodeRecord>>,
    /// `ConfigMap` versions.
    pub configs: Map<ObjectKey, Arc<ConfigRecord>>,
    /// Incidents that are not closed.
    pub incidents: Map<IncidentId, Arc<Incident>>,
    /// Actions: all that are open, those that ended within the last 24 hours (budgets need them), and for longer those repairs of
    /// a workload that did not help and after which none did (its cool-down needs them).
    pub actions: Map<ActionId, Arc<ActionRecord>>,
    /// Actions that a newer version wrote in words that are not known here; none of them is in `actions`.
    pub unread: Map<ActionId, Arc<UnreadAction>>,
    /// Health per workload, as judged by the analysis.
    pub health: Map<WorkloadKey, WorkloadHealth>,
    /// Workloads that were seen to call each workload, by the one that is called.
    pub callers: Map<WorkloadKey, Arc<BTreeSet<WorkloadKey>>>,
    /// Newest values of the loads that workloads are sized by, by workload, signal and series.
    pub loads: Map<(WorkloadKey, Name, Name), (f64, Timestamp)>,
    /// When telemetry of pods of a namespace arrived last, by namespace.
    pub heard: Map<Name, Timestamp>,
    /// The size that each workload should have, as decided last.
    pub sizes: Map<WorkloadKey, Arc<SizeAdvice>>,
    /// What is coming, by workload and by the finding that says so, as decided last.
    pub ahead: Map<(WorkloadKey, FindingKind), Arc<Ahead>>,
    /// Runs of each workload whose runs are ordered.
    pub runs: Map<WorkloadKey, Arc<RunsReport>>,
    /// Queues of Kueue; `None` while its definitions are not served.
    pub kueue: Option<Arc<KueueQueues>>,
    /// Whether it was answered what there is of Kueue; until then `kueue` says nothing.
    pub kueue_known: bool,
    /// What else scales the targets of workloads.
    pub scalers: Arc<Scalers>,
    /// Telemetry sources by name.
    pub sources: Map<Name, SourceReport>,
    /// Tenants whose new series are dropped, as they have their share of all, and what most of those are of.
    pub crowded: Map<TenantName, DroppedSeries>,
    /// Kinds whose first full list has arrived.
    pub synced: BTreeSet<ObjectKind>,
    /// Since when all required kinds are synced.
    pub synced_since: Option<Timestamp>,
    /// The invariant that this process found broken: it sends no effect any more until it is restarted. `None` while
    /// all of them hold.
    pub halted: Option<Name>,
    by_ip: Map<IpAddr, ObjectKey>,
    by_target: Map<ControllerKey, WorkloadKey>,
}

/// How a workload does, judged from calls and pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkloadHealth {
    /// End of the last good call that started after the last failure, or last good probe where no calls are seen.
    pub last_good: Option<Timestamp>,
    /// End of the last failed call charged to the workload itself.
    pub last_failure: Option<Timestamp>,
    /// Good without a failure since; `None` while it fails or nothing is known.
    pub good_since: Option<Timestamp>,
    /// Good calls since `good_since`.
    pub good_calls: u64,
    /// Requests that it answered, well or not, since it is under control here: its server spans. Only grows.
    pub answered: u64,
    /// Those of them that were its own errors, or took longer by its own time than its latency objective. Only grows.
    pub outside: u64,
    /// Since when one of its pods answers nearly everything wrong, by itself and no later than usual.
    pub wrong_at_once: Option<Timestamp>,
    /// A backlog of it that was found to grow gets smaller, as samples of now show. Not so while it stands still, or is silent.
    pub backlog_falls: bool,
    /// Such a backlog grows no more, be it that it stands still, as samples of now show. Not so while it is silent.
    pub backlog_stopped: bool,
}

impl Snapshot {
    /// Who lost the process before connects again by then: exporters wait two minutes at most between two attempts.
    pub const RECONNECTED: SignedDuration = SignedDuration::from_mins(3);

    /// Whether silence says something: this process has listened for longer than senders need to find it after its start.
    pub fn listened(&self, now: Timestamp) -> bool {
        self.synced_since.is_some_and(|since| now.duration_since(since) >= Self::RECONNECTED)
    }

    /// The next generation with one object change in it. Unknown deletions change nothing.
    #[must_use]
    pub fn apply(mut self, change: &ObjectChange, now: Timestamp) -> Self {
        self.commit(change, now);
        self.generation += 1;
        self
    }

    /// The holds that are over by this change: the object is there, and our mark on it is gone. Whoever took it away.
    pub fn let_go(&self, change: &ObjectChange) -> Vec<Release> {
        let over = |before: Option<&Hold>, now: Option<&Hold>, object: String, uid: &Uid| {
            let held = before.filter(|_| now.is_none())?;
            Some(Release {
                object: Name::from(object),
                uid: uid.clone(),
                by: held.by.clone(),
                audit_id: None,
            })
        };
        let one = match change {
            ObjectChange::Node(Change::Applied(node)) => {
                self.nodes.get(&node.name).filter(|before| before.uid == node.uid).and_then(|before| {
                    over(before.hold.as_ref(), node.hold.as_ref(), format!("Node {}", node.name), &node.uid)
                })
            }
            ObjectChange::Controller(Change::Applied(run)) => {
                self.controllers.get(&run.key).filter(|before| before.uid == run.uid).and_then(|before| {
                    let kind = run.key.kind.api().map_or("run", |(_, kind)| kind);
                    let object = format!("{kind} {}", run.key.object);
                    over(before.hold.as_ref(), run.hold.as_ref(), object, &run.uid)
                })
            }
            ObjectChange::Scalers(scalers) => return self.given_back(scalers),
            _ => None,
        };
        one.into_iter().collect()
    }

    /// Autoscalers whose bounds we drove, and that carry our mark no more.
    fn given_back(&self, scalers: &Scalers) -> Vec<Release> {
        let (before, now) = (horizontal(&self.scalers), horizontal(scalers));
        let over = |known: &&AutoscalerRecord| {
            let drive = known.drive.as_ref()?;
            let same = now.iter().find(|found| found.key == known.key && found.uid == known.uid)?;
            same.drive.is_none().then(|| Release {
                object: Name::from(format!("HorizontalPodAutoscaler {}", known.key)),
                uid: known.uid.clone(),
                by: drive.hold.by.clone(),
                audit_id: None,
            })
        };
        before.iter().filter_map(over).collect()
    }

    /// Applies one object change in place (the writer batches several into one generation).
    pub fn commit(&mut self, change: &ObjectChange, now: Timestamp) {
        match change {
            ObjectChange::Pod(Change::Applied(pod)) => {
                // A pod that ended keeps its IP in the status while the address is given to another pod.
                let lives = matches!(
                    pod.phase,
                    crate::records::PodPhase::Running | crate::records::PodPhase::Pending
                );
                if let Some(old) = self.pods.get(&pod.key).cloned()
                    && (old.ip != pod.ip || !lives)
                {
                    self.forget_ip(&old);
                }
                if let Some(ip) = pod.ip
                    && lives
                {
                    self.by_ip.insert_mut(ip, pod.key.clone());
                }
                self.pods.insert_mut(pod.key.clone(), Arc::clone(pod));
            }
            ObjectChange::Pod(Change::Deleted(key)) => {
                if let Some(old) = self.pods.get(key).cloned() {
                    self.forget_ip(&old);
                    self.pods.remove_mut(key);
                }
            }
            ObjectChange::Controller(Change::Applied(record)) => {
                self.controllers.insert_mut(record.key.clone(), Arc::clone(record));
            }
            ObjectChange::Controller(Change::Deleted(key)) => {
                self.controllers.remove_mut(key);
            }
            ObjectChange::Service(Change::Applied(record)) => {
                self.services.insert_mut(record.key.clone(), Arc::clone(record));
            }
            ObjectChange::Service(Change::Deleted(key)) => {
                self.services.remove_mut(key);
            }
            ObjectChange::Node(Change::Applied(record)) => {
                self.nodes.insert_mut(record.name.clone(), Arc::clone(record));
            }
            ObjectChange::Node(Change::Deleted(key)) => {
                self.nodes.remove_mut(&key.name);
            }
            ObjectChange::Config(Change::Applied(record)) => {
                self.configs.insert_mut(record.key.clone(), Arc::clone(record));
            }
            ObjectChange::Config(Change::Deleted(key)) => {
                self.configs.remove_mut(key);
            }
            ObjectChange::Tenant(Change::Applied(tenant)) => {
                self.tenants.insert_mut(tenant.name.clone(), Arc::clone(tenant));
            }
            ObjectChange::Tenant(Change::Deleted(name)) => {
                self.tenants.remove_mut(name);
                self.crowded.remove_mut(name);
            }
            ObjectChange::Workload(Change::Applied(workload)) => {
                self.forget_workload(&workload.key);
                self.by_target.insert_mut(workload.target.clone(), workload.key.clone());
                self.workloads.insert_mut(workload.key.clone(), Arc::clone(workload));
            }
            ObjectChange::Workload(Change::Deleted(key)) => {
                self.forget_workload(key);
                self.health.remove_mut(key);
                self.sizes.remove_mut(key);
                self.runs.remove_mut(key);
            }
            ObjectChange::Control(control) => {
                self.control = control.clone().unwrap_or_default();
            }
            ObjectChange::Action(Change::Applied(action)) => {
                self.unread.remove_mut(&action.id);
                self.actions.insert_mut(action.id.clone(), Arc::clone(action));
            }
            ObjectChange::UnreadAction(action) => {
                self.actions.remove_mut(&action.id);
                self.unread.insert_mut(action.id.clone(), Arc::clone(action));
            }
            ObjectChange::Action(Change::Deleted(key)) => {
                let id = ActionId(key.name.clone());
                self.actions.remove_mut(&id);
                self.unread.remove_mut(&id);
            }
            // Incidents have one writer, the correlator; stored ones are adopted by it, not copied in here.
            // Playbooks are the planner's, not part of the world.
            ObjectChange::Incident(_) | ObjectChange::Event(_) | ObjectChange::Playbook(_) => {}
            ObjectChange::Kueue(queues) => {
                self.kueue.clone_from(queues);
                self.kueue_known = true;
            }
            ObjectChange::Scalers(scalers) => self.scalers = Arc::clone(scalers),
            ObjectChange::Synced(kind) => {
                self.synced.insert(*kind);
                if self.synced_since.is_none() && self.ready() {
                    self.synced_since = Some(now);
                }
            }
        }
    }

    /// Keeps which series of a tenant are dropped; of a tenant that does not exist nothing is kept.
    pub fn crowd(&mut self, tenant: Option<&TenantName>, report: &SeriesReport) {
        let Some(tenant) = tenant.filter(|tenant| self.tenants.contains_key(*tenant)) else { return };
        match &report.dropped {
            Some(dropped) => self.crowded.insert_mut(tenant.clone(), dropped.clone()),
            None => drop(self.crowded.remove_mut(tenant)),
        }
    }

    fn forget_ip(&mut self, pod: &PodRecord) {
        if let Some(ip) = pod.ip
            && self.by_ip.get(&ip) == Some(&pod.key)
        {
            self.by_ip.remove_mut(&ip);
        }
    }

    fn forget_workload(&mut self, key: &WorkloadKey) {
        if let Some(old) = self.workloads.get(key).cloned() {
            if self.by_target.get(&old.target) == Some(key) {
                self.by_target.remove_mut(&old.target);
            }
            self.workloads.remove_mut(key);
        }
    }

    /// All required caches have had their first full list.
    pub fn ready(&self) -> bool {
        ObjectKind::REQUIRED.iter().all(|kind| self.synced.contains(kind))
    }

    /// The pod that has this address now.
    pub fn pod_by_ip(&self, ip: IpAddr) -> Option<&Arc<PodRecord>> {
        self.by_ip.get(&ip).and_then(|key| self.pods.get(key))
    }

    /// The workload that a pod belongs to: its owner, or its owner's owner, is the target.
    pub fn workload_of(&self, pod: &PodRecord) -> Option<&WorkloadKey> {
        let owner = pod.owner.as_ref()?;
        let direct = ControllerKey {
            kind: owner.kind,
            object: ObjectKey { namespace: pod.key.namespace.clone(), name: owner.name.clone() },
        };
        if let Some(key) = self.by_target.get(&direct) {
            return Some(key);
        }
        let above = self.controllers.get(&direct)?.owner.as_ref()?;
        self.by_target.get(&ControllerKey {
            kind: above.kind,
            object: ObjectKey { namespace: pod.key.namespace.clone(), name: above.name.clone() },
        })
    }

    /// A pod as an entity with its workload.
    pub fn entity_of(&self, pod: &PodRecord) -> Entity {
        Entity::Pod { key: pod.key.clone(), uid: pod.uid.clone(), workload: self.workload_of(pod).cloned() }
    }

    /// The workload whose target is this controller.
    pub fn workload_by_target(&self, target: &ControllerKey) -> Option<&WorkloadKey> {
        self.by_target.get(target)
    }

    /// Pods of a workload, in name order, without those of other workloads.
    pub fn pods_of<'a>(&'a self, workload: &'a WorkloadKey) -> impl Iterator<Item = &'a Arc<PodRecord>> + 'a {
        self.pods_in(&workload.namespace).filter(move |pod| self.workload_of(pod) == Some(workload))
    }

    /// Pods of one namespace, in name order.
    pub fn pods_in<'a>(&'a self, namespace: &Name) -> impl Iterator<Item = &'a Arc<PodRecord>> + 'a {
        let namespace = namespace.clone();
        let start = ObjectKey { namespace: namespace.clone(), name: Name::from("") };
        self.pods
            .range((Bound::Included(start), Bound::Unbounded))
            .take_while(move |(key, _)| key.namespace == namespace)
            .map(|(_, pod)| pod)
    }

    /// Controllers of one kind in one namespace, in name order.
    pub fn controllers_in<'a>(
        &'a self,
        kind: ControllerKind,
        namespace: &Name,
    ) -> impl Iterator<Item = &'a Arc<ControllerRecord>> + 'a {
        let namespace = namespace.clone();
        let object = ObjectKey { namespace: namespace.clone(), name: Name::from("") };
        self.controllers
            .range((Bound::Included(ControllerKey { kind, object }), Bound::Unbounded))
            .take_while(move |(key, _)| key.kind == kind && key.object.namespace == namespace)
            .map(|(_, controller)| controller)
    }

    /// The controller that a workload targets, when it exists.
    pub fn controller_of(&self, workload: &WorkloadKey) -> Option<&Arc<ControllerRecord>> {
        self.controllers.get(&self.workloads.get(workload)?.target)
    }

    /// Serves, as far as anybody can say: ready, not on its way out, and its node answers. What a silent node said last about
    /// its pods is believed by the API server for a while longer.
    pub fn serves(&self, pod: &PodRecord) -> bool {
        let node = pod.node.as_ref().and_then(|name| self.nodes.get(name));
        pod.serving() && node.is_none_or(|node| node.ready)
    }

    /// The tenant that owns a namespace.
    pub fn tenant_of_namespace(&self, namespace: &str) -> Option<&Arc<TenantPolicy>> {
        self.tenants.values().find(|tenant| tenant.namespaces.contains(namespace))
    }

    /// Whether one workload was seen to call the other, without anybody between them.
    pub fn calls(&self, caller: &WorkloadKey, callee: &WorkloadKey) -> bool {
        self.callers.get(callee).is_some_and(|callers| callers.contains(caller))
    }

    /// Open incidents whose top cause is or belongs to this workload.
    pub fn incidents_of<'a>(
        &'a self,
        workload: &'a WorkloadKey,
    ) -> impl Iterator<Item = &'a Arc<Incident>> + 'a {
        self.incidents.values().filter(move |incident| incident.workload.as_ref() == Some(workload))
    }

    /// Whether a workload misses its objective as it would for want of capacity: it is slow, fails its callers, does not
    /// answer, runs out of memory, or work piles up.
    pub fn overloaded(&self, workload: &WorkloadKey) -> bool {
        let of_load = |kind: FindingKind| {
            matches!(
                kind,
                FindingKind::Slow
                    | FindingKind::ErrorBurst
                    | FindingKind::Hung
                    | FindingKind::Unreachable
                    | FindingKind::OutOfMemory
                    | FindingKind::QueueGrowing
            )
        };
        self.incidents_of(workload)
            .filter(|incident| !incident.state.closed())
            .flat_map(|incident| &incident.findings)
            .any(|finding| {
                finding.active && of_load(finding.kind) && finding.entity.workload() == Some(workload)
            })
    }

    /// Who answers at an address that a caller in `namespace` uses (`cart`, `cart.shop`,
    /// `cart.shop.svc.cluster.local`, a cluster IP or a pod IP). A service without a controlled workload
    /// behind it, and everything else, is external; a name of one label gets the caller's namespace, because it
    /// is another service in each.
    pub fn resolve(&self, namespace: &str, address: &str) -> Entity {
        let external = || Entity::External {
            address: if one_label(address) {
                Name::from(format!("{}.{namespace}", address.trim_end_matches('.')))
            } else {
                Name::from(address)
            },
        };
        if let Ok(ip) = address.parse::<IpAddr>() {
            if let Some(pod) = self.pod_by_ip(ip) {
                return self
                    .workload_of(pod)
                    .map_or_else(external, |key| Entity::Workload { key: key.clone() });
            }
            return self
                .services
                .values()
                .find(|service| service.cluster_ip == Some(ip))
                .and_then(|service| self.workload_behind(service))
                .map_or_else(external, |key| Entity::Workload { key: key.clone() });
        }
        let mut parts = address.trim_end_matches('.').split('.');
        let (Some(name), in_namespace, rest) = (parts.next(), parts.next(), parts.next()) else {
            return external();
        };
        if rest.is_some_and(|part| part != "svc") {
            return external();
        }
        let key = ObjectKey::new(in_namespace.unwrap_or(namespace), name);
        self.services
            .get(&key)
            .and_then(|service| self.workload_behind(service))
            .map_or_else(external, |key| Entity::Workload { key: key.clone() })
    }

    fn workload_behind(&self, service: &ServiceRecord) -> Option<&WorkloadKey> {
        if service.selector.is_empty() {
            return None;
        }
        // Few controllers share a namespace; a label index would cost memory for every cluster.
        self.workloads_in(&service.key.namespace).find_map(|policy| {
            let controller = self.controllers.get(&policy.target)?;
            service
                .selector
                .iter()
                .all(|(label, value)| controller.template_labels.get(label) == Some(value))
                .then_some(&policy.key)
        })
    }

    /// Workloads of one namespace, in name order.
    pub fn workloads_in<'a>(
        &'a self,
        namespace: &Name,
    ) -> impl Iterator<Item = &'a Arc<WorkloadPolicy>> + 'a {
        let namespace = namespace.clone();
        let start = ObjectKey { namespace: namespace.clone(), name: Name::from("") };
        self.workloads
            .range((Bound::Included(start), Bound::Unbounded))
            .take_while(move |(key, _)| key.namespace == namespace)
            .map(|(_, policy)| policy)
    }

    /// The target of a pod eviction.
    pub fn pod_target(pod: &PodRecord) -> Target {
        Target {
            api_version: Name::from("v1"),
            kind: Name::from("Pod"),
            key: pod.key.clone(),
            uid: pod.uid.clone(),
            resource_version: pod.resource_version.clone(),
        }
    }

    /// The target of an action on a node. Its version changes with every heartbeat and is not kept.
    pub fn node_target(node: &NodeRecord) -> Target {
        Target {
            api_version: Name::from("v1"),
            kind: Name::from("Node"),
            key: ObjectKey { namespace: Name::from(""), name: node.name.clone() },
            uid: node.uid.clone(),
            resource_version: Name::from("0"),
        }
    }

    /// The target of an action on a controller; `None` for kinds that have no known API.
    pub fn controller_target(controller: &ControllerRecord) -> Option<Target> {
        let (api_version, kind) = match (controller.key.kind.api(), &controller.api) {
            (Some((api_version, kind)), _) => (Name::from(api_version), Name::from(kind)),
            (None, Some(api)) => (api.api_version.clone(), api.kind.clone()),
            (None, None) => return None,
        };
        Some(Target {
            api_version,
            kind,
            key: controller.key.object.clone(),
            uid: controller.uid.clone(),
            resource_version: controller.resource_version.clone(),
        })
    }

    /// The target of a change of an autoscaler's bounds.
    pub fn autoscaler_target(autoscaler: &AutoscalerRecord) -> Target {
        Target {
            api_version: Name::from("autoscaling/v2"),
            kind: Name::from("HorizontalPodAutoscaler"),
            key: autoscaler.key.clone(),
            uid: autoscaler.uid.clone(),
            resource_version: autoscaler.resource_version.clone(),
        }
    }

    /// The `HorizontalPodAutoscaler` of people's own that sizes what the workload targets, as it was read last.
    pub fn autoscaler_of(&self, workload: &WorkloadPolicy) -> Option<&AutoscalerRecord> {
        match self.scalers.get(&workload.target) {
            Some(Scaler::Hpa(autoscaler)) => Some(autoscaler),
            Some(Scaler::Keda { .. } | Scaler::Vpa { .. } | Scaler::Several(_)) | None => None,
        }
    }

    /// The `HorizontalPodAutoscaler` of this name that sizes what the workload targets, also where it is one of several:
    /// what was done to it is followed and taken back all the same.
    pub fn autoscaler_named(&self, workload: &WorkloadPolicy, key: &ObjectKey) -> Option<&AutoscalerRecord> {
        self.scalers.get(&workload.target)?.each().iter().find_map(|one| match one {
            Scaler::Hpa(autoscaler) if autoscaler.key == *key => Some(&**autoscaler),
            _ => None,
        })
    }

    /// What sizes the workload's target against each other: two autoscalers or more, of which none is the owner.
    pub fn rival_scalers(&self, workload: &WorkloadPolicy) -> Option<&Scaler> {
        self.scalers.get(&workload.target).filter(|scaler| matches!(scaler, Scaler::Several(_)))
    }
}

/// A host name without a domain, as it is looked up in the caller's own namespace first.
fn one_label(address: &str) -> bool {
    let label = address.trim_end_matches('.');
    !label.is_empty() && label.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_".contains(letter))
}

fn horizontal(scalers: &Scalers) -> Vec<&AutoscalerRecord> {
    let each = scalers.values().flat_map(Scaler::each);
    each.filter_map(|one| match one {
        Scaler::Hpa(found) => Some(&**found),
        Scaler::Keda { .. } | Scaler::Vpa { .. } | Scaler::Several(_) => None,
    })
    .collect()
}
