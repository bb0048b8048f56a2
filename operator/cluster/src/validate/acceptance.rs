//! Which workloads and tenants count, judged from all of them together. Pure; fed by the watches.
//!
//! A workload is delivered only while its spec is valid, a tenant owns its namespace, its target exists, and no
//! older workload names the same target. Everything else has a [`Verdict`] that becomes conditions, and gets no
//! action. A namespace belongs to the oldest tenant that names it. Nothing is judged before the first full list of
//! tenants, workloads, controllers and the control plane: a target that was not listed yet is not missing.
//!
//! What is invalid loses nothing to others for that, because it may be a pause with a typing error: a tenant keeps its
//! namespaces, and counts as paused with its workloads under watch, a workload keeps its target.

use super::{Claim, Rejection, Route, TenantDefaults};
use homeostat_crds::Condition;
use homeostat_knowledge::ids::Uid;
use homeostat_knowledge::observation::{Change, ObjectChange, ObjectKind, PlaybookText};
use homeostat_knowledge::policy::BreakerLatch;
use homeostat_knowledge::records::{ApiKind, ControllerKey};
use homeostat_knowledge::{
    ControlPolicy, ControllerKind, Name, TenantName, TenantPolicy, Timestamp, WorkloadKey, WorkloadPolicy,
};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use tokio::sync::Mutex;

/// What is judged about a workload.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Lists are still loading.
    Pending,
    /// Under control.
    Accepted {
        /// The tenant that owns the namespace.
        tenant: TenantName,
    },
    /// The object itself cannot be used, or the tenant that owns the namespace cannot.
    Invalid(Rejection),
    /// No tenant owns the namespace.
    NoTenant,
    /// The target is of a kind without a scale subresource.
    TargetNotSupported,
    /// The target does not exist.
    TargetNotFound,
    /// An older workload has the same target.
    TargetTaken {
        /// That workload.
        by: WorkloadKey,
    },
}

/// A `Workload` object with its verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadEntry {
    /// Namespace and name.
    pub key: WorkloadKey,
    /// UID.
    pub uid: Uid,
    /// `metadata.generation`.
    pub generation: i64,
    /// Creation time; the oldest claim of a target counts.
    pub created: Timestamp,
    /// The policy, or why there is none.
    pub policy: Result<Arc<WorkloadPolicy>, Rejection>,
    /// What follows.
    pub verdict: Verdict,
    /// Digest of the status as last seen in the API server.
    pub seen: u64,
}

/// A `Tenant` object with what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct TenantEntry {
    /// Name.
    pub name: TenantName,
    /// UID.
    pub uid: Uid,
    /// `metadata.generation`.
    pub generation: i64,
    /// Creation time; the oldest claim of a namespace counts.
    pub created: Timestamp,
    /// The policy with its spec's namespaces, or why there is none.
    pub policy: Result<Arc<TenantPolicy>, Rejection>,
    /// Namespaces that an older tenant has, and which tenant.
    pub contested: Vec<(Name, TenantName)>,
    /// Where its people are told.
    pub routes: Vec<Route>,
    /// What its status says of them, as last seen in the API server.
    pub told: Option<Condition>,
    /// Digest of the status as last seen in the API server.
    pub seen: u64,
}

impl TenantEntry {
    /// The policy that counts: its own, or while it is invalid the pause of what it keeps.
    fn counts(&self) -> Option<&Arc<TenantPolicy>> {
        match &self.policy {
            Ok(policy) => Some(policy),
            Err(Rejection::Claiming { claim: Claim::Namespaces(meanwhile), .. }) => Some(meanwhile),
            Err(_) => None,
        }
    }
}

/// Playbooks of people that are read; each decision looks at all of them.
pub(crate) const MOST_PLAYBOOKS: usize = 256;

/// A `Playbook` object with what the checker said.
#[derive(Clone, Debug, PartialEq)]
pub struct PlaybookEntry {
    /// Name.
    pub name: Name,
    /// `metadata.generation`.
    pub generation: i64,
    /// Its text, or why it is not used.
    pub text: Result<Arc<PlaybookText>, Rejection>,
    /// Digest of the status as last seen in the API server.
    pub seen: u64,
}

/// The `ControlPlane` object.
#[derive(Clone, Debug, PartialEq)]
pub struct ControlEntry {
    /// UID.
    pub uid: Uid,
    /// `metadata.generation`.
    pub generation: i64,
    /// The policy, or why there is none.
    pub policy: Result<Arc<ControlPolicy>, Rejection>,
    /// What it sets for every tenant.
    pub defaults: TenantDefaults,
    /// What is stored of the cluster's breaker.
    pub breaker: BreakerLatch,
    /// Digest of the status as last seen in the API server.
    pub seen: u64,
}

/// One thing to judge.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    ControlSeen(ControlEntry),
    ControlGone,
    TenantSeen(TenantEntry),
    TenantGone(TenantName),
    WorkloadSeen(WorkloadEntry),
    WorkloadGone(WorkloadKey),
    PlaybookSeen(PlaybookEntry),
    PlaybookGone(Name),
    ControllerSeen(ControllerKey),
    ControllerGone(ControllerKey),
    /// It is there, and its kind has no scale subresource.
    ControllerNotScaled(ControllerKey),
    Synced(ObjectKind),
}

/// The judge.
#[derive(Debug, Default)]
pub(crate) struct Acceptance {
    control: Option<ControlEntry>,
    tenants: BTreeMap<TenantName, TenantEntry>,
    workloads: BTreeMap<WorkloadKey, Arc<WorkloadEntry>>,
    playbooks: BTreeMap<Name, PlaybookEntry>,
    controllers: HashSet<ControllerKey>,
    not_scaled: HashSet<ControllerKey>,
    claims: BTreeMap<ControllerKey, BTreeSet<WorkloadKey>>,
    owners: BTreeMap<Name, TenantName>,
    delivered_control: Option<Arc<ControlPolicy>>,
    /// Something was told of the control plane, if only that it is not there.
    control_told: bool,
    delivered_tenants: BTreeMap<TenantName, Arc<TenantPolicy>>,
    delivered_workloads: BTreeMap<WorkloadKey, Arc<WorkloadPolicy>>,
    synced: BTreeSet<ObjectKind>,
    revision: u64,
}

/// Lists that must be complete before anything is judged.
const NEEDED: [ObjectKind; 4] =
    [ObjectKind::Control, ObjectKind::Tenant, ObjectKind::Controller, ObjectKind::Workload];

impl Acceptance {
    fn ready(&self) -> bool {
        NEEDED.iter().all(|kind| self.synced.contains(kind))
    }

    /// Targets of other kinds than are watched, at most `most`, and what they are.
    pub fn scalables(&self, most: usize) -> BTreeMap<ControllerKey, ApiKind> {
        let policies = self.workloads.values().filter_map(|entry| entry.policy.as_ref().ok());
        let others = policies.filter(|policy| policy.target.kind == ControllerKind::Other);
        let named = others.filter_map(|policy| {
            Some((policy.target.clone(), ApiKind::clone(policy.target_api.as_deref()?)))
        });
        named.take(most).collect()
    }

    /// Takes in one thing; gives what must be delivered, in order.
    pub fn feed(&mut self, input: Input) -> Vec<ObjectChange> {
        let mut out = Vec::new();
        match input {
            Input::ControlSeen(mut entry) => {
                // What cannot be read at all does not close the breaker.
                if let (Err(Rejection::Unreadable { .. }), Some(known)) = (&entry.policy, &self.control) {
                    entry.breaker = known.breaker;
                }
                let before = self.defaults();
                // The default policy has no effects: what cannot be read must not allow anything.
                let policy = entry.policy.as_ref().ok().cloned();
                // Our own status writes come back as changes of the object and change nothing.
                if !std::mem::replace(&mut self.control_told, true) || self.delivered_control != policy {
                    self.delivered_control.clone_from(&policy);
                    out.push(ObjectChange::Control(policy));
                }
                self.control = Some(entry);
                self.revision += 1;
                if self.defaults() != before {
                    self.judge_tenants(&mut out);
                }
            }
            Input::ControlGone => {
                out.push(ObjectChange::Control(None));
                self.delivered_control = None;
                self.control = None;
                self.revision += 1;
                self.judge_tenants(&mut out);
            }
            Input::TenantSeen(entry) => {
                let same_claim = self.tenants.get(&entry.name).is_some_and(|old| {
                    old.policy == entry.policy && old.created == entry.created && old.uid == entry.uid
                });
                let contested = self.tenants.get(&entry.name).map(|old| old.contested.clone());
                let entry = TenantEntry { contested: contested.unwrap_or_default(), ..entry };
                self.tenants.insert(entry.name.clone(), entry);
                self.revision += 1;
                if !same_claim {
                    self.judge_tenants(&mut out);
                }
            }
            Input::TenantGone(name) => {
                self.tenants.remove(&name);
                self.revision += 1;
                self.judge_tenants(&mut out);
            }
            Input::WorkloadSeen(entry) => self.workload_seen(entry, &mut out),
            Input::WorkloadGone(key) => {
                if let Some(old) = self.workloads.remove(&key) {
                    self.revision += 1;
                    let rivals = self.forget_claim(&old);
                    self.deliver(&key, None, &mut out);
                    self.judge_workloads(rivals, &mut out);
                }
            }
            Input::PlaybookSeen(entry) => self.playbook_seen(entry, &mut out),
            Input::PlaybookGone(name) => {
                if let Some(old) = self.playbooks.remove(&name) {
                    self.revision += 1;
                    out.extend(old.text.is_ok().then_some(ObjectChange::Playbook(Change::Deleted(name))));
                }
            }
            Input::ControllerSeen(key) => {
                if self.not_scaled.remove(&key) | self.controllers.insert(key.clone()) {
                    self.judge_claims(&key, &mut out);
                }
            }
            Input::ControllerGone(key) => {
                if self.not_scaled.remove(&key) | self.controllers.remove(&key) {
                    self.judge_claims(&key, &mut out);
                }
            }
            Input::ControllerNotScaled(key) => {
                if self.controllers.remove(&key) | self.not_scaled.insert(key.clone()) {
                    self.judge_claims(&key, &mut out);
                }
            }
            Input::Synced(kind) => {
                let before = self.ready();
                self.synced.insert(kind);
                if !before && self.ready() {
                    self.judge_tenants(&mut out);
                    out.push(ObjectChange::Synced(ObjectKind::Tenant));
                    out.push(ObjectChange::Synced(ObjectKind::Workload));
                }
            }
        }
        out
    }

    fn defaults(&self) -> TenantDefaults {
        self.control.as_ref().map_or_else(TenantDefaults::default, |control| control.defaults)
    }

    /// Only what the checker accepts is delivered; what was accepted before and no longer is, is taken back.
    fn playbook_seen(&mut self, mut entry: PlaybookEntry, out: &mut Vec<ObjectChange>) {
        let old = self.playbooks.get(&entry.name);
        if old.is_none() && self.playbooks.len() >= MOST_PLAYBOOKS {
            entry.text = Err(Rejection::TooMany { most: MOST_PLAYBOOKS });
        }
        let before = old.and_then(|old| old.text.as_ref().ok());
        match (&entry.text, before) {
            (Ok(text), Some(before)) if text == before => {}
            (Ok(text), _) => out.push(ObjectChange::Playbook(Change::Applied(Arc::clone(text)))),
            (Err(_), Some(_)) => out.push(ObjectChange::Playbook(Change::Deleted(entry.name.clone()))),
            (Err(_), None) => {}
        }
        self.playbooks.insert(entry.name.clone(), entry);
        self.revision += 1;
    }

    fn workload_seen(&mut self, entry: WorkloadEntry, out: &mut Vec<ObjectChange>) {
        let key = entry.key.clone();
        let old = self.workloads.get(&key).cloned();
        let same_claim =
            old.as_ref().is_some_and(|old| old.uid == entry.uid && target_of(old) == target_of(&entry));
        let verdict = old.as_ref().map_or(Verdict::Pending, |old| old.verdict.clone());
        let mut affected = BTreeSet::from([key.clone()]);
        if !same_claim && let Some(old) = &old {
            affected.extend(self.forget_claim(old));
        }
        if let Some(target) = target_of(&entry) {
            let claims = self.claims.entry(target.clone()).or_default();
            if claims.insert(key.clone()) {
                affected.extend(claims.iter().cloned());
            }
        }
        self.workloads.insert(key, Arc::new(WorkloadEntry { verdict, ..entry }));
        self.revision += 1;
        self.judge_workloads(affected, out);
    }

    /// Removes a workload's claim; gives the others that want the same target.
    fn forget_claim(&mut self, entry: &WorkloadEntry) -> BTreeSet<WorkloadKey> {
        let Some(target) = target_of(entry) else { return BTreeSet::new() };
        let Some(claims) = self.claims.get_mut(target) else { return BTreeSet::new() };
        claims.remove(&entry.key);
        let rivals = claims.clone();
        if rivals.is_empty() {
            self.claims.remove(target);
        }
        rivals
    }

    fn judge_claims(&mut self, target: &ControllerKey, out: &mut Vec<ObjectChange>) {
        if let Some(claims) = self.claims.get(target).cloned() {
            self.judge_workloads(claims, out);
        }
    }

    fn judge_tenants(&mut self, out: &mut Vec<ObjectChange>) {
        if !self.ready() {
            return;
        }
        let mut order: Vec<_> = self
            .tenants
            .values()
            .filter_map(|entry| Some((entry.created, entry.name.clone(), Arc::clone(entry.counts()?))))
            .collect();
        order.sort_by(|left, right| (left.0, &left.1).cmp(&(right.0, &right.1)));
        let mut owners: BTreeMap<Name, TenantName> = BTreeMap::new();
        let mut contested: BTreeMap<TenantName, Vec<(Name, TenantName)>> = BTreeMap::new();
        for (_, tenant, policy) in &order {
            for namespace in &policy.namespaces {
                if let Some(owner) = owners.get(namespace) {
                    let list = contested.entry(tenant.clone()).or_default();
                    list.push((namespace.clone(), owner.clone()));
                } else {
                    owners.insert(namespace.clone(), tenant.clone());
                }
            }
        }
        for entry in self.tenants.values_mut() {
            entry.contested = contested.remove(&entry.name).unwrap_or_default();
        }
        let defaults = self.defaults();
        let mut wanted: BTreeMap<TenantName, Arc<TenantPolicy>> = BTreeMap::new();
        for (_, tenant, policy) in order {
            let mut policy = defaults.hold(TenantPolicy::clone(&policy));
            policy.namespaces.retain(|namespace| owners.get(namespace) == Some(&tenant));
            wanted.insert(tenant, Arc::new(policy));
        }
        let gone: Vec<_> =
            self.delivered_tenants.keys().filter(|name| !wanted.contains_key(*name)).cloned().collect();
        for name in gone {
            self.delivered_tenants.remove(&name);
            out.push(ObjectChange::Tenant(Change::Deleted(name)));
        }
        for (name, policy) in wanted {
            if self.delivered_tenants.get(&name) != Some(&policy) {
                self.delivered_tenants.insert(name, Arc::clone(&policy));
                out.push(ObjectChange::Tenant(Change::Applied(policy)));
            }
        }
        self.owners = owners;
        let all: BTreeSet<_> = self.workloads.keys().cloned().collect();
        self.judge_workloads(all, out);
    }

    fn judge_workloads(&mut self, keys: BTreeSet<WorkloadKey>, out: &mut Vec<ObjectChange>) {
        if !self.ready() {
            return;
        }
        for key in keys {
            let Some(entry) = self.workloads.get(&key) else { continue };
            let verdict = self.verdict(entry);
            let policy = match &verdict {
                // Under a tenant that is invalid it is watched, as under one that is paused.
                Verdict::Accepted { .. } | Verdict::Invalid(Rejection::Tenant { .. }) => {
                    entry.policy.as_ref().ok().cloned()
                }
                _ => None,
            };
            if entry.verdict != verdict {
                let entry = WorkloadEntry { verdict, ..WorkloadEntry::clone(entry) };
                self.workloads.insert(key.clone(), Arc::new(entry));
                self.revision += 1;
            }
            self.deliver(&key, policy, out);
        }
    }

    fn verdict(&self, entry: &WorkloadEntry) -> Verdict {
        let policy = match &entry.policy {
            Ok(policy) => policy,
            Err(why) => return Verdict::Invalid(why.clone()),
        };
        let Some(tenant) = self.owners.get(&entry.key.namespace) else { return Verdict::NoTenant };
        if self.not_scaled.contains(&policy.target) {
            return Verdict::TargetNotSupported;
        }
        if !self.controllers.contains(&policy.target) {
            return Verdict::TargetNotFound;
        }
        let first = self
            .claims
            .get(&policy.target)
            .into_iter()
            .flatten()
            .filter_map(|key| self.workloads.get(key))
            .min_by(|left, right| (left.created, &left.key.name).cmp(&(right.created, &right.key.name)));
        match first {
            Some(first) if first.key != entry.key => Verdict::TargetTaken { by: first.key.clone() },
            _ => self.accepted(tenant),
        }
    }

    /// Nothing is wrong with a workload of this tenant itself.
    fn accepted(&self, tenant: &TenantName) -> Verdict {
        let tenant = tenant.clone();
        match self.tenants.get(&tenant).map(|owner| &owner.policy) {
            Some(Err(why)) => Verdict::Invalid(Rejection::Tenant { tenant, why: Box::new(why.clone()) }),
            _ => Verdict::Accepted { tenant },
        }
    }

    fn deliver(
        &mut self,
        key: &WorkloadKey,
        policy: Option<Arc<WorkloadPolicy>>,
        out: &mut Vec<ObjectChange>,
    ) {
        match policy {
            Some(policy) if self.delivered_workloads.get(key) != Some(&policy) => {
                self.delivered_workloads.insert(key.clone(), Arc::clone(&policy));
                out.push(ObjectChange::Workload(Change::Applied(policy)));
            }
            Some(_) => {}
            None => {
                if self.delivered_workloads.remove(key).is_some() {
                    out.push(ObjectChange::Workload(Change::Deleted(key.clone())));
                }
            }
        }
    }
}

fn target_of(entry: &WorkloadEntry) -> Option<&ControllerKey> {
    match &entry.policy {
        Ok(policy) => Some(&policy.target),
        Err(Rejection::Claiming { claim: Claim::Target(target), .. }) => Some(target),
        Err(_) => None,
    }
}

/// Everything that has a status of ours, as judged now.
#[derive(Clone, Debug, Default)]
pub struct CatalogueView {
    /// Counts up with each change.
    pub revision: u64,
    /// Lists are complete; before that nothing is judged.
    pub ready: bool,
    /// The control plane object.
    pub control: Option<ControlEntry>,
    /// Tenants.
    pub tenants: Vec<TenantEntry>,
    /// Workloads.
    pub workloads: Vec<Arc<WorkloadEntry>>,
    /// Playbooks of people.
    pub playbooks: Vec<PlaybookEntry>,
}

/// Reads what the watches judged.
#[derive(Clone, Debug)]
pub struct Catalogue {
    acceptance: Arc<Mutex<Acceptance>>,
}

impl Catalogue {
    pub(crate) fn new(acceptance: Arc<Mutex<Acceptance>>) -> Self {
        Self { acceptance }
    }

    /// Counts up with each change.
    pub async fn revision(&self) -> u64 {
        self.acceptance.lock().await.revision
    }

    /// Where the people of this tenant are told; nowhere when it is not known.
    pub async fn routes(&self, tenant: &TenantName) -> Vec<Route> {
        let acceptance = self.acceptance.lock().await;
        acceptance.tenants.get(tenant).map(|entry| entry.routes.clone()).unwrap_or_default()
    }

    /// Where the people of every tenant are told.
    pub async fn all_routes(&self) -> Vec<(TenantName, Route)> {
        let acceptance = self.acceptance.lock().await;
        let of = |entry: &TenantEntry| {
            let routes = entry.routes.iter().cloned();
            routes.map(|route| (entry.name.clone(), route)).collect::<Vec<_>>()
        };
        acceptance.tenants.values().flat_map(of).collect()
    }

    /// The present view.
    pub async fn view(&self) -> CatalogueView {
        let acceptance = self.acceptance.lock().await;
        CatalogueView {
            revision: acceptance.revision,
            ready: acceptance.ready(),
            control: acceptance.control.clone(),
            tenants: acceptance.tenants.values().cloned().collect(),
            workloads: acceptance.workloads.values().cloned().collect(),
            playbooks: acceptance.playbooks.values().cloned().collect(),
        }
    }
}

#[cfg(test)]
#[path = "acceptance_tests.rs"]
mod tests;
