//! What happened, as the API server saw it: every effect with the circumstances of its moment. The oracles judge by
//! this alone; they know nothing of what the process under test believed.

use crate::server::Server;
use homeostat_execute::guards::{Mode, frozen, mode};
use homeostat_execute::orders;
use homeostat_knowledge::policy::{KillSwitch, PLATFORM_TENANT};
use homeostat_knowledge::{
    ActionId, ActionKind, ActionRecord, ControlPolicy, EvidenceId, GuardLimits, Name, ObjectKey, Origin,
    SignedDuration, TenantName, TenantPolicy, Timestamp, Uid, WorkloadKey,
};
use std::collections::{BTreeMap, BTreeSet};

/// An effect that the API server carried out.
#[derive(Clone, Debug)]
pub struct Landed {
    /// When.
    pub at: Timestamp,
    /// Which process sent it.
    pub life: u64,
    /// For which action.
    pub action: ActionId,
    /// What kind of action.
    pub kind: ActionKind,
    /// The object that was changed.
    pub object: ObjectKey,
    /// Its UID.
    pub uid: Uid,
    /// The action as it was stored at that moment.
    pub stored: Option<ActionRecord>,
    /// When the workload was ill last, in truth.
    pub ill_at: Option<Timestamp>,
    /// The illness can be read off the object, so that a fresh read shows whether it is still there.
    pub visible: bool,
}

/// An effect and what it met.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The effect.
    pub landed: Landed,
    /// What forbade it for longer than news take to arrive, in words.
    pub forbidden: Vec<String>,
    /// What it did to budgets, in words, when it was too much.
    pub exceeded: Vec<String>,
    /// Tenant that owns the object, in truth.
    pub owner: Option<TenantName>,
    /// How far the tenant's level lets such an action go, in truth; `None` when it changed a moment ago.
    pub mode: Option<Mode>,
}

/// What the schedule said, for which generation of the tenant in which minute.
#[derive(Debug, Default)]
struct Window {
    key: Option<(i64, i64)>,
    until: Option<Timestamp>,
}

/// News take so long at most; whatever forbids effects must have stopped them after that.
const NEWS: SignedDuration = SignedDuration::from_secs(2);

/// Pods that came later may not be known to a process whose watch is held up.
const SETTLED: SignedDuration = SignedDuration::from_secs(30);

/// Everything that was recorded.
#[derive(Debug, Default)]
pub struct Audit {
    /// Effects, in order.
    pub effects: Vec<Entry>,
    /// Writes that the product's processes made.
    pub writes: u64,
    /// Requests for an effect that came after the same action's effect was carried out.
    pub again: Vec<(ActionId, Timestamp)>,
    /// Approvals that a person gave, for which evidence.
    pub approvals: BTreeMap<(ActionId, EvidenceId), Timestamp>,
    /// Effects of processes that had lost the lease, in words.
    pub zombies: Vec<String>,
    /// What was wrong with the release of a held state, in words.
    pub releases: Vec<String>,
    /// Actions that ended and then changed.
    pub changed_after_end: BTreeSet<ActionId>,
    switch: Option<Timestamp>,
    windows: BTreeMap<TenantName, Window>,
    paused: BTreeMap<WorkloadKey, Timestamp>,
    frozen: BTreeMap<WorkloadKey, Timestamp>,
    levels: BTreeMap<TenantName, (BTreeMap<ActionKind, homeostat_knowledge::Level>, Timestamp)>,
}

impl Audit {
    /// Takes note of what forbids effects now.
    pub fn look<'a>(
        &mut self,
        server: &Server,
        workloads: impl Iterator<Item = &'a WorkloadKey>,
        now: Timestamp,
    ) {
        let off = server.control.as_ref().is_some_and(|control| control.kill_switch == KillSwitch::Off);
        if off {
            self.switch = None;
        } else {
            self.switch.get_or_insert(now);
        }
        for key in workloads {
            let concerned = tenants_of(server, key, now);
            let own = is_node(server, key) || server.workloads.get(key).is_some_and(|policy| !policy.paused);
            let paused = !own || concerned.is_empty() || concerned.iter().any(|tenant| tenant.paused_at(now));
            mark(&mut self.paused, key, paused, now);
            let frozen = concerned.iter().any(|tenant| self.frozen(tenant, now));
            mark(&mut self.frozen, key, frozen, now);
        }
        for tenant in server.tenants.values() {
            let known = self.levels.get(&tenant.name);
            if known.is_none_or(|(levels, _)| *levels != tenant.levels) {
                self.levels.insert(tenant.name.clone(), (tenant.levels.clone(), now));
            }
        }
    }

    /// Is a window open? Windows begin with a minute, so the schedule is looked at once a minute.
    fn frozen(&mut self, tenant: &TenantPolicy, now: Timestamp) -> bool {
        if tenant.freezes.is_empty() {
            return false;
        }
        let key = (tenant.generation, now.as_second().div_euclid(60));
        let window = self.windows.entry(tenant.name.clone()).or_default();
        if window.key != Some(key) {
            let open = frozen(&tenant.freezes, now);
            window.until = open.map_or(Some(Timestamp::MAX), |open| open.map(|open| open.until));
            window.key = Some(key);
        }
        window.until.is_some_and(|until| now < until)
    }

    /// Since when the kill switch is on; `None` while it is off.
    pub fn switched(&self) -> Option<Timestamp> {
        self.switch
    }

    /// A request for an effect arrived.
    pub fn asked(&mut self, action: &ActionId, now: Timestamp) {
        if self.effects.iter().any(|entry| entry.landed.action == *action) {
            self.again.push((action.clone(), now));
        }
    }

    /// A held state was released because its time was over.
    pub fn released(&mut self, object: &ObjectKey, until: Option<Timestamp>, now: Timestamp) {
        if until.is_some_and(|until| now < until) {
            self.releases.push(format!("S10: {object} was released at {now}, before its time was over"));
        }
        if self.switch.is_some_and(|since| now.duration_since(since) > NEWS) {
            self.releases.push(format!("S4: {object} was released at {now} under the kill switch"));
        }
    }

    /// An effect was carried out.
    pub fn land(&mut self, server: &Server, landed: Landed) {
        let now = landed.at;
        let old = |since: Timestamp| now.duration_since(since) > NEWS;
        let mut forbidden = Vec::new();
        if let Some(since) = self.switch.filter(|since| old(*since)) {
            forbidden.push(format!("the kill switch was on since {since}"));
        }
        let workload = landed.stored.as_ref().map(|record| record.workload.clone());
        // What did not help is taken back in a freeze window too, but not while a person paused automation.
        let undo = landed.stored.as_ref().is_some_and(|record| record.undo_of.is_some());
        let since = |times: &BTreeMap<WorkloadKey, Timestamp>| {
            workload.as_ref().and_then(|key| times.get(key)).copied().filter(|since| old(*since))
        };
        if let Some(since) = since(&self.paused) {
            forbidden.push(format!("a person paused automation since {since}"));
        }
        if let Some(since) = since(&self.frozen).filter(|_| !undo) {
            forbidden.push(format!("a window was open since {since}"));
        }
        let owner = owner(server, &landed);
        let deciding = landed.stored.as_ref().and_then(|record| server.tenants.get(&record.tenant));
        let settled = deciding
            .and_then(|tenant| self.levels.get(&tenant.name))
            .is_some_and(|(_, since)| old(*since) || as_in_the_beginning(*since));
        let mode = match (deciding, &server.control) {
            (Some(tenant), Some(control)) if settled && !undo => Some(mode(landed.kind, tenant, control)),
            _ => None,
        };
        let exceeded = self.exceeded(server, &landed);
        self.effects.push(Entry { landed, forbidden, exceeded, owner, mode });
    }

    /// Counts the budgets in the plainest way: effects that landed, and whether their actions have ended.
    fn exceeded(&self, server: &Server, landed: &Landed) -> Vec<String> {
        // The budget of an undo was taken with that of the action that it takes back.
        let stored = landed.stored.as_ref().filter(|record| record.undo_of.is_none());
        let Some(record) = stored else { return Vec::new() };
        let (Some(tenant), Some(control)) = (server.tenants.get(&record.tenant), &server.control) else {
            return Vec::new();
        };
        let now = landed.at;
        // Runs and sizes have budgets of their own; none counts for the others.
        let (limits, control) = match record.origin {
            Origin::Schedule => (orders::limits(&tenant.limits), orders::control(control)),
            Origin::Forecast => sizes(&tenant.limits, control),
            Origin::Incident => (tenant.limits.clone(), control.clone()),
        };
        let earlier: Vec<(&Landed, &ActionRecord)> = self
            .effects
            .iter()
            .filter(|entry| entry.landed.action != landed.action)
            .filter_map(|entry| Some((&entry.landed, entry.landed.stored.as_ref()?)))
            .filter(|(_, other)| other.origin == record.origin)
            .collect();
        let open = |record: &ActionRecord| {
            record.undo_of.is_none()
                && server.actions.get(&record.key()).is_some_and(|stored| !stored.state.ended())
        };
        // What grows by forecast has its places beside those of what shrinks.
        let beside = record.origin == Origin::Forecast && !record.goes_down();
        let in_the_way = |other: &ActionRecord| open(other) && !(beside && other.goes_down());
        let recent = |at: Timestamp, span: SignedDuration| now.duration_since(at) < span;
        let count = |test: &dyn Fn(&Landed, &ActionRecord) -> bool| {
            1 + earlier.iter().filter(|(landed, record)| test(landed, record)).count()
        };
        let hour = SignedDuration::from_hours(1);
        let mut exceeded: Vec<String> = [
            (
                "under way on the workload",
                count(&|_, other| open(other) && other.workload == record.workload),
                limits.in_flight_per_workload,
            ),
            (
                "under way in the tenant",
                count(&|_, other| in_the_way(other) && other.tenant == record.tenant),
                limits.in_flight_per_tenant,
            ),
            ("under way in the cluster", count(&|_, other| in_the_way(other)), control.in_flight),
            (
                "on the workload in an hour",
                count(&|at, other| recent(at.at, hour) && other.workload == record.workload),
                limits.per_workload_hour,
            ),
            (
                "in the tenant in an hour",
                count(&|at, other| recent(at.at, hour) && other.tenant == record.tenant),
                limits.per_tenant_hour,
            ),
            ("in the cluster in an hour", count(&|at, _| recent(at.at, hour)), control.per_hour),
        ]
        .into_iter()
        .filter(|(_, used, limit)| *used > *limit as usize)
        .map(|(what, used, limit)| format!("{used} of {limit} {what}"))
        .collect();
        let ten = SignedDuration::from_mins(10);
        let touched: BTreeSet<&WorkloadKey> = earlier
            .iter()
            .filter(|(at, other)| recent(at.at, ten) && other.tenant == record.tenant)
            .map(|(_, other)| &other.workload)
            .chain([&record.workload])
            .collect();
        let group = server.workloads.keys().filter(|key| tenant.namespaces.contains(&key.namespace)).count();
        if touched.len() > 1 && touched.len() * 100 > group * limits.percent_per_10_minutes as usize {
            exceeded.push(format!("{} of {group} workloads in ten minutes", touched.len()));
        }
        exceeded
    }
}

/// Limits of sizes by forecast; a peak may come to all workloads at once.
fn sizes(limits: &GuardLimits, control: &ControlPolicy) -> (GuardLimits, ControlPolicy) {
    let scaling = &limits.scaling;
    let limits = GuardLimits {
        in_flight_per_workload: 1,
        in_flight_per_tenant: scaling.in_flight_per_tenant,
        per_workload_hour: scaling.per_workload_hour,
        per_tenant_hour: scaling.per_tenant_hour,
        percent_per_10_minutes: 100,
        ..limits.clone()
    };
    let control = ControlPolicy {
        in_flight: control.scaling_in_flight,
        per_hour: control.scaling_per_hour,
        ..control.clone()
    };
    (limits, control)
}

fn mark(times: &mut BTreeMap<WorkloadKey, Timestamp>, key: &WorkloadKey, holds: bool, now: Timestamp) {
    if holds {
        times.entry(key.clone()).or_insert(now);
    } else {
        times.remove(key);
    }
}

fn tenant_of<'a>(server: &'a Server, namespace: &Name) -> Option<&'a TenantPolicy> {
    server.tenants.values().find(|tenant| tenant.namespaces.contains(namespace))
}

/// Actions on nodes are kept under the node's name in the platform tenant's namespace.
fn is_node(server: &Server, key: &WorkloadKey) -> bool {
    server.nodes.contains_key(&key.name)
        && tenant_of(server, &key.namespace).is_some_and(|tenant| &*tenant.name.0 == PLATFORM_TENANT)
}

/// Whose pauses and windows count: the tenant's own, and for a node those of all tenants that have had a pod on it for
/// a while.
fn tenants_of<'a>(server: &'a Server, key: &WorkloadKey, now: Timestamp) -> Vec<&'a TenantPolicy> {
    let mut concerned: Vec<&TenantPolicy> = tenant_of(server, &key.namespace).into_iter().collect();
    if is_node(server, key) {
        let settled = |created: Timestamp| now.duration_since(created) > SETTLED;
        let pods = server.pods.values().map(|pod| &pod.record);
        let on_node = pods.filter(|pod| pod.node.as_ref() == Some(&key.name) && settled(pod.created));
        concerned.extend(on_node.filter_map(|pod| tenant_of(server, &pod.key.namespace)));
    }
    concerned
}

/// The tenant that owns what was changed.
fn owner(server: &Server, landed: &Landed) -> Option<TenantName> {
    let node = matches!(landed.kind, ActionKind::Cordon | ActionKind::Uncordon);
    let platform = TenantName::new(PLATFORM_TENANT);
    if node {
        return server.tenants.contains_key(&platform).then_some(platform);
    }
    tenant_of(server, &landed.object.namespace).map(|tenant| tenant.name.clone())
}

/// A level that was there when the world began.
fn as_in_the_beginning(since: Timestamp) -> bool {
    since.duration_since(crate::world::base()) < SignedDuration::from_millis(10)
}
