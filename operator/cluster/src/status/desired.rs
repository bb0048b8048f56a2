//! What each status should say. Pure: the same picture gives the same statuses.

use super::routes::RouteStandings;
use super::stops::{breaker_statement, readable, series_dropped};
use super::{half_done, routes, runs};
use crate::validate::acceptance::CatalogueView;
use crate::validate::{
    ControlEntry, PlaybookEntry, Rejection, TenantEntry, Verdict, WorkloadEntry, wire_action, wire_level,
};
use homeostat_crds::conditions::{Condition, Statement, complete, set};
use homeostat_crds::v1alpha1::control_plane::{self, SourceState as WireSource, SourceStatus};
use homeostat_crds::v1alpha1::workload::{self, Health};
use homeostat_crds::v1alpha1::{
    ControlPlaneStatus, PlaybookStatus, TenantStatus, WorkloadStatus, playbook, tenant,
};
use homeostat_crds::{ConditionStatus, ConditionType, MicroTime, Reason, clip};
use homeostat_execute::guards::{Breaker, cooldown_until, latched, open_breaker};
use homeostat_execute::{ActionHistory, RootHistory, lowering, roots};
use homeostat_knowledge::observation::{ObjectKind, SourceState};
use homeostat_knowledge::policy::{KillSwitch, LevelCap};
use homeostat_knowledge::{
    ActionKind, ControlPolicy, Entity, Incident, IncidentState, Level, ObjectKey, Origin, Severity, Snapshot,
    TenantName, TenantPolicy, Timestamp, WorkloadKey, WorkloadPolicy,
};
use homeostat_playbooks::LIBRARY;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// What this replica knows of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SelfFacts {
    /// Name of this replica.
    pub identity: String,
    /// Version of the program.
    pub version: String,
    /// Since when it leads without a break.
    pub leading_since: Option<Timestamp>,
    /// How the routes stand by which people are told.
    pub routes: RouteStandings,
}

/// A status as it should be.
#[derive(Clone, Debug, PartialEq)]
pub enum DesiredStatus {
    /// Of a `Workload`.
    Workload(ObjectKey, Box<WorkloadStatus>),
    /// Of a `Tenant`.
    Tenant(ObjectKey, Box<TenantStatus>),
    /// Of a `Playbook`.
    Playbook(ObjectKey, Box<PlaybookStatus>),
    /// Of the `ControlPlane`.
    Control(ObjectKey, Box<ControlPlaneStatus>),
}

/// Every status as it should be, with the digest that was last seen in the API server.
pub fn desired_status(
    view: &CatalogueView,
    snapshot: &Snapshot,
    roots: &RootHistory,
    me: &SelfFacts,
    now: Timestamp,
) -> Vec<(DesiredStatus, u64)> {
    let picture = Picture::new(snapshot, roots, now);
    let mut all = Vec::with_capacity(view.workloads.len() + view.tenants.len() + 1);
    if let Some(entry) = &view.control {
        let key = ObjectKey::new("", control_plane::NAME);
        let status = Box::new(picture.control(entry, me));
        all.push((DesiredStatus::Control(key, status), entry.seen));
    }
    for entry in &view.tenants {
        let key = ObjectKey::new("", entry.name.0.clone());
        all.push((DesiredStatus::Tenant(key, Box::new(picture.tenant(entry, view, &me.routes))), entry.seen));
    }
    for entry in &view.playbooks {
        let key = ObjectKey::new("", entry.name.clone());
        all.push((DesiredStatus::Playbook(key, Box::new(picture.playbook(entry))), entry.seen));
    }
    for entry in &view.workloads {
        let status = Box::new(picture.workload(entry));
        all.push((DesiredStatus::Workload(entry.key.clone(), status), entry.seen));
    }
    all
}

/// Conditions from statements; every known one is present.
fn conditions(
    statements: Vec<Statement>,
    known: &[ConditionType],
    generation: i64,
    now: MicroTime,
) -> Vec<Condition> {
    let mut conditions = Vec::with_capacity(known.len());
    for statement in statements {
        set(&mut conditions, statement, Some(generation), now);
    }
    complete(&mut conditions, known, Some(generation), now);
    conditions
}

pub(super) fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX).min(1_000_000)
}

fn invalid(why: &Rejection) -> (Reason, String) {
    (Reason::InvalidSpec, why.to_string())
}

/// The snapshot, counted once.
struct Picture<'a> {
    snapshot: &'a Snapshot,
    roots: &'a RootHistory,
    now: Timestamp,
    serving: HashMap<&'a WorkloadKey, i32>,
    open: HashMap<&'a WorkloadKey, Vec<&'a Incident>>,
    suffering: BTreeSet<&'a WorkloadKey>,
    open_by_tenant: BTreeMap<&'a TenantName, usize>,
    history: Vec<ActionHistory>,
}

impl<'a> Picture<'a> {
    fn new(snapshot: &'a Snapshot, roots: &'a RootHistory, now: Timestamp) -> Self {
        let mut serving: HashMap<&WorkloadKey, i32> = HashMap::new();
        for pod in snapshot.pods.values().filter(|pod| pod.serving()) {
            if let Some(key) = snapshot.workload_of(pod) {
                *serving.entry(key).or_default() += 1;
            }
        }
        let mut open: HashMap<&WorkloadKey, Vec<&Incident>> = HashMap::new();
        let mut suffering = BTreeSet::new();
        let mut open_by_tenant: BTreeMap<&TenantName, usize> = BTreeMap::new();
        for incident in snapshot.incidents.values().filter(|incident| !incident.state.closed()) {
            if let Some(key) = &incident.workload {
                open.entry(key).or_default().push(incident);
            }
            if !calm(incident) {
                suffering.extend(&incident.affected);
            }
            if let Some(tenant) = &incident.tenant {
                *open_by_tenant.entry(tenant).or_default() += 1;
            }
        }
        // Breakers and cool-downs are about repairs; sizes and runs are judged apart.
        let repairs = snapshot.actions.values().filter(|action| action.origin == Origin::Incident);
        let history = repairs.map(|action| ActionHistory::of(action)).collect();
        Self { snapshot, roots, now, serving, open, suffering, open_by_tenant, history }
    }

    fn time(&self) -> MicroTime {
        MicroTime::new(self.now)
    }

    fn workload(&self, entry: &WorkloadEntry) -> WorkloadStatus {
        let policy = entry.policy.as_ref().ok();
        let target = policy.map(|policy| {
            let other = policy.target_api.as_ref().map_or("Other", |api| &*api.kind);
            let kind = policy.target.kind.api().map_or(other, |(_, kind)| kind);
            clip(&format!("{kind}/{}", policy.target.object.name), 320)
        });
        let mut status = WorkloadStatus {
            observed_generation: Some(entry.generation),
            target,
            open_incidents: Some(count(self.open.get(&entry.key).map_or(0, Vec::len))),
            health: Some(Health::Unknown),
            ..WorkloadStatus::default()
        };
        let mut says = Vec::new();
        let found = ConditionType::TargetFound;
        let unique = ConditionType::TargetUnique;
        let not_ready = |reason: Reason, text: String| {
            Statement::new(ConditionType::Ready, false, reason, format!("{text}; no action is taken for it"))
        };
        match &entry.verdict {
            Verdict::Pending => {}
            Verdict::Invalid(why) => {
                let (reason, text) = invalid(why);
                says.push(not_ready(reason, text));
            }
            Verdict::NoTenant => {
                let text = format!("No Tenant names the namespace {}", entry.key.namespace);
                says.push(not_ready(Reason::NoTenant, text));
            }
            Verdict::TargetNotSupported => {
                let kinds = "a Deployment, StatefulSet, DaemonSet, Job, CronJob";
                let text =
                    format!("spec.targetRef is neither {kinds} nor of a kind with a scale subresource");
                says.push(Statement::new(
                    found,
                    ConditionStatus::Unknown,
                    Reason::TargetNotSupported,
                    text.clone(),
                ));
                says.push(not_ready(Reason::TargetNotSupported, text));
            }
            Verdict::TargetNotFound => {
                let other = policy.is_some_and(|policy| policy.target_api.is_some());
                let unread = if other { ", or may not be read (scaleTargets of the chart)" } else { "" };
                let target = status.target.as_deref().unwrap_or_default();
                let text = format!("{target} does not exist{unread}");
                says.push(Statement::new(found, false, Reason::TargetNotFound, text.clone()));
                says.push(not_ready(Reason::TargetNotFound, text));
            }
            Verdict::TargetTaken { by } => {
                let text = format!("The older Workload {} names the same object", by.name);
                says.push(Statement::new(found, true, Reason::AsExpected, ""));
                says.push(Statement::new(unique, false, Reason::TargetClaimedTwice, text.clone()));
                says.push(not_ready(Reason::TargetClaimedTwice, text));
            }
            Verdict::Accepted { tenant } => {
                says.push(Statement::new(found, true, Reason::AsExpected, ""));
                says.push(Statement::new(unique, true, Reason::AsExpected, ""));
                says.push(Statement::new(ConditionType::Ready, true, Reason::AsExpected, "Under control"));
                if let Some(policy) = policy {
                    self.accepted(policy, tenant, &mut status, &mut says);
                }
            }
        }
        if let Some(policy) = policy {
            says.push(self.hands_off(policy));
        }
        status.conditions = conditions(says, workload::CONDITIONS, entry.generation, self.time());
        status
    }

    /// Columns and conditions of a workload under control.
    fn accepted(
        &self,
        policy: &WorkloadPolicy,
        tenant: &TenantName,
        status: &mut WorkloadStatus,
        says: &mut Vec<Statement>,
    ) {
        status.tenant = Some(tenant.0.to_string());
        let controller = self.snapshot.controllers.get(&policy.target);
        status.target_uid = controller.map(|controller| controller.uid.to_string());
        let health = self.health(&policy.key, controller.map_or(0, |controller| controller.replicas));
        status.health = Some(health);
        let (met, reason) = match health {
            Health::Healthy => (ConditionStatus::True, Reason::ObjectivesMet),
            Health::Degraded | Health::Unhealthy => (ConditionStatus::False, Reason::ObjectivesMissed),
            Health::Unknown => (ConditionStatus::Unknown, Reason::NoData),
        };
        let troubled = self.open.get(&policy.key).and_then(|open| open.iter().find(|one| !calm(one)));
        let why = troubled.map(|incident| format!("Incident {}", incident.id)).unwrap_or_default();
        says.push(Statement::new(ConditionType::ObjectivesMet, met, reason, why));
        let Some(rules) = self.snapshot.tenants.get(tenant) else { return };
        let effects = self.history.iter().filter(|action| action.workload == policy.key);
        status.cooldown_until =
            cooldown_until(effects, &rules.limits).filter(|until| *until > self.now).map(MicroTime::new);
        let breaker = self.breaker(rules, &policy.key);
        let (level, _) = self.level(rules, breaker.is_some() || policy.paused);
        status.level = Some(wire_level(level));
        says.extend(self.breaker_said(breaker.as_ref()));
        says.extend(self.snapshot.runs.get(&policy.key).map(|report| runs::of_workload(report)));
        says.extend(self.scaler(policy, status.target.as_deref().unwrap_or_default()));
    }

    /// What sizes the target by itself, one or several; `None` when nothing does, or none is known.
    fn scaler(&self, policy: &WorkloadPolicy, target: &str) -> Option<Statement> {
        let about = ConditionType::ScalerUnique;
        let scaler = self.snapshot.scalers.get(&policy.target)?;
        Some(match self.snapshot.rival_scalers(policy) {
            None => Statement::new(about, true, Reason::AsExpected, scaler.to_string()),
            Some(rivals) => {
                let text = format!(
                    "{rivals} size {target} against each other; Homeostat neither scales it nor moves their bounds until \
                     one of them is left"
                );
                Statement::new(about, false, Reason::TargetScaledTwice, clip(&text, 1_024))
            }
        })
    }

    fn health(&self, key: &WorkloadKey, wanted: i32) -> Health {
        let troubles = self.open.get(key).map_or(&[][..], Vec::as_slice);
        let worst =
            troubles.iter().filter(|incident| !calm(incident)).map(|incident| incident.severity).max();
        let serving = self.serving.get(key).copied().unwrap_or(0);
        match worst {
            Some(Severity::Critical) => Health::Unhealthy,
            Some(Severity::Warning | Severity::Info) => Health::Degraded,
            None if self.suffering.contains(key) => Health::Degraded,
            None if !self.snapshot.ready() => Health::Unknown,
            None if wanted > 0 && serving == 0 => Health::Unhealthy,
            None if serving < wanted => Health::Degraded,
            None => Health::Healthy,
        }
    }

    fn hands_off(&self, policy: &WorkloadPolicy) -> Statement {
        let about = ConditionType::Paused;
        if policy.paused {
            return Statement::new(about, true, Reason::Requested, "spec.paused is true");
        }
        match policy.do_not_touch_until.filter(|until| *until > self.now) {
            Some(until) => Statement::new(about, true, Reason::Requested, format!("Hands off until {until}")),
            None => Statement::new(about, false, Reason::AsExpected, ""),
        }
    }

    fn breaker(&self, rules: &TenantPolicy, workload: &WorkloadKey) -> Option<Breaker> {
        let (history, control) = (&self.history, &self.snapshot.control);
        open_breaker(Origin::Incident, history, &rules.name, workload, &rules.limits, control, self.now)
    }

    /// Nothing before the actions are listed: as far as is known then, none failed.
    fn breaker_said(&self, breaker: Option<&Breaker>) -> Option<Statement> {
        self.snapshot.synced.contains(&ObjectKind::Action).then(|| breaker_statement(breaker))
    }

    /// Highest level in effect for any action, and why it is not higher.
    fn level(&self, rules: &TenantPolicy, lowered: bool) -> (Level, Option<String>) {
        let asked = rules.levels.keys().map(|action| rules.level(*action)).max().unwrap_or_default();
        let control: &ControlPolicy = &self.snapshot.control;
        let because = match &control.kill_switch {
            KillSwitch::Engaged { reason, .. } => Some((Level::Recommend, format!("kill switch: {reason}"))),
            KillSwitch::Unreadable => Some((
                Level::Recommend,
                "the kill switch cannot be read; is there a ControlPlane?".to_owned(),
            )),
            KillSwitch::Off if rules.paused_at(self.now) => {
                Some((Level::Recommend, paused(rules, self.now).message))
            }
            KillSwitch::Off if lowered => {
                Some((Level::Recommend, "too many actions did not help, or paused".to_owned()))
            }
            KillSwitch::Off if control.ceiling < asked => {
                Some((control.ceiling, format!("the cluster's ceiling is {}", control.ceiling.name())))
            }
            KillSwitch::Off => None,
        };
        match because {
            Some((cap, why)) if cap < asked => (cap, Some(why)),
            _ => (asked, None),
        }
    }

    fn tenant(&self, entry: &TenantEntry, view: &CatalogueView, told: &RouteStandings) -> TenantStatus {
        let accepted = |one: &&Arc<WorkloadEntry>| matches!(&one.verdict, Verdict::Accepted { tenant } if *tenant == entry.name);
        let workloads = view.workloads.iter().filter(accepted).count();
        let mut status = TenantStatus {
            observed_generation: Some(entry.generation),
            workloads: Some(count(workloads)),
            open_incidents: Some(count(self.open_by_tenant.get(&entry.name).copied().unwrap_or(0))),
            ..TenantStatus::default()
        };
        let mut says: Vec<Statement> = routes::of_tenant(entry, told).into_iter().collect();
        match &entry.policy {
            Err(why) => {
                let (reason, text) = invalid(why);
                says.push(Statement::new(ConditionType::Ready, false, reason, text));
                // What was lowered stays so when the object can be read again.
                if let Some(rules) = self.snapshot.tenants.get(&entry.name) {
                    let caps = rules.caps.iter();
                    status.level_caps = caps.map(|(action, cap)| wire_cap(*action, cap)).collect();
                }
            }
            Ok(policy) => {
                says.push(paused(policy, self.now));
                says.extend(owned(entry));
                // As delivered, its limits are held to the ControlPlane's.
                let held = self.snapshot.tenants.get(&entry.name).unwrap_or(policy);
                let storm = self.storm(held, workloads);
                says.push(storm);
                let nobody = ObjectKey::new("", "");
                let breaker = self.breaker(held, &nobody);
                let caps = lowering::caps(&self.history, policy, self.now);
                status.level_caps = caps.iter().map(|(action, cap)| wire_cap(*action, cap)).collect();
                let (level, because) = self.level(policy, breaker.is_some());
                let because = because.or_else(|| lowest(&caps));
                status.level = Some(wire_level(level));
                status.level_lowered_because = because.map(|why| clip(&why, 1_024));
                says.extend(self.breaker_said(breaker.as_ref()));
                says.extend(runs::of_tenant(policy, self.snapshot));
                says.extend(series_dropped(&policy.name, self.snapshot));
            }
        }
        status.conditions = conditions(says, tenant::CONDITIONS, entry.generation, self.time());
        status
    }

    fn playbook(&self, entry: &PlaybookEntry) -> PlaybookStatus {
        let shipped = LIBRARY.iter().any(|(name, _)| *name == &*entry.name);
        let (reason, text) = match &entry.text {
            Ok(_) if shipped => {
                (Reason::AsExpected, "Used instead of the shipped one of that name".to_owned())
            }
            Ok(_) => (Reason::AsExpected, "Used beside the shipped ones".to_owned()),
            Err(why) => {
                let instead = if shipped { "the shipped one of that name is used" } else { "it is not used" };
                (Reason::InvalidSpec, clip(&format!("{why}; {instead}"), 1_024))
            }
        };
        let accepted = entry.text.is_ok();
        let says = [ConditionType::Ready, ConditionType::Accepted]
            .map(|about| Statement::new(about, accepted, reason, text.clone()));
        PlaybookStatus {
            observed_generation: Some(entry.generation),
            conditions: conditions(says.into(), playbook::CONDITIONS, entry.generation, self.time()),
        }
    }

    fn storm(&self, policy: &TenantPolicy, workloads: usize) -> Statement {
        let percent = policy.limits.storm_percent.min(self.snapshot.control.storm_percent);
        let group = u32::try_from(workloads).unwrap_or(u32::MAX);
        let roots_ = self.roots.of(&policy.name);
        let state = roots::storm(&roots_, group, percent, policy.limits.storm_calm, self.now);
        if !state.storm {
            return Statement::new(ConditionType::Storm, false, Reason::Calm, "");
        }
        let text = format!(
            "{} of {group} workloads have a root cause of their own, {} are a storm; no action is taken",
            state.sick, state.threshold
        );
        Statement::new(ConditionType::Storm, true, Reason::StormLimit, text)
    }

    fn control(&self, entry: &ControlEntry, me: &SelfFacts) -> ControlPlaneStatus {
        let snapshot = self.snapshot;
        let policy = entry.policy.as_ref();
        let mut says = Vec::new();
        match policy {
            Err(why) => {
                let (reason, text) = invalid(why);
                let text = format!("{text}; no action is taken at all");
                says.push(Statement::new(ConditionType::Ready, false, reason, text));
            }
            Ok(policy) => {
                let engaged = match &policy.kill_switch {
                    KillSwitch::Engaged { reason, by } => {
                        let by = by.as_ref().map(|by| format!(" ({by})")).unwrap_or_default();
                        Some(format!("{reason}{by}"))
                    }
                    KillSwitch::Off | KillSwitch::Unreadable => None,
                };
                let reason = if engaged.is_some() { Reason::KillSwitch } else { Reason::Disengaged };
                let about = ConditionType::KillSwitchEngaged;
                says.push(Statement::new(about, engaged.is_some(), reason, engaged.unwrap_or_default()));
                let warm = snapshot
                    .synced_since
                    .is_some_and(|since| self.now.duration_since(since) >= policy.warm_up);
                let reason = if warm { Reason::AsExpected } else { Reason::WarmingUp };
                says.push(Statement::new(ConditionType::WarmedUp, warm, reason, ""));
            }
        }
        let mut sources = Vec::new();
        let mut all_well = policy.is_ok();
        for (name, title, about) in [
            ("kubernetes", "Kubernetes", ConditionType::KubernetesAvailable),
            ("prometheus", "Prometheus", ConditionType::PrometheusAvailable),
            ("otlp", "Otlp", ConditionType::OtlpAvailable),
        ] {
            let (statement, source) = self.source(name, title, about);
            all_well &=
                statement.status != ConditionStatus::False || source.state == WireSource::NotConfigured;
            says.push(statement);
            sources.push(source);
        }
        if policy.is_ok() {
            let (reason, text) = match &snapshot.halted {
                Some(breach) => (
                    Reason::InvariantBroken,
                    format!("{breach}; nothing is done until this replica restarts, please report this"),
                ),
                None if all_well => (Reason::AsExpected, String::new()),
                None => (Reason::NoData, "A source of telemetry does not deliver".to_owned()),
            };
            let ready = all_well && snapshot.halted.is_none();
            says.push(Statement::new(ConditionType::Ready, ready, reason, text));
        }
        let control = ControlPolicy { breaker: entry.breaker, ..(*snapshot.control).clone() };
        let open = latched(&self.history, &control, self.now);
        says.push(breaker_statement(open.map(Breaker::Latched).as_ref()));
        says.push(readable(snapshot));
        says.push(self.any_storm());
        let (half_done, half_done_more) = half_done::listed(snapshot);
        ControlPlaneStatus {
            observed_generation: Some(entry.generation),
            leader: Some(clip(&me.identity, 253)),
            version: Some(clip(&me.version, 64)),
            leading_since: me.leading_since.map(MicroTime::new),
            tenants: Some(count(snapshot.tenants.size())),
            workloads: Some(count(snapshot.workloads.size())),
            open_incidents: Some(count(
                snapshot.incidents.values().filter(|one| !one.state.closed()).count(),
            )),
            actions_in_flight: Some(count(self.history.iter().filter(|action| action.in_flight()).count())),
            breaker_open_since: open.map(MicroTime::new),
            half_done,
            half_done_more,
            sources,
            conditions: conditions(says, control_plane::CONDITIONS, entry.generation, self.time()),
        }
    }

    fn any_storm(&self) -> Statement {
        let mut stormy = self.snapshot.tenants.values().filter(|tenant| {
            let size = self
                .snapshot
                .workloads
                .keys()
                .filter(|key| tenant.namespaces.contains(&key.namespace))
                .count();
            self.storm(tenant, size).status == ConditionStatus::True
        });
        match stormy.next() {
            Some(tenant) => {
                let text = format!("in Tenant {}", tenant.name);
                Statement::new(ConditionType::Storm, true, Reason::StormLimit, text)
            }
            None => Statement::new(ConditionType::Storm, false, Reason::Calm, ""),
        }
    }

    fn source(&self, name: &str, title: &str, about: ConditionType) -> (Statement, SourceStatus) {
        let state = self.snapshot.sources.get(name).map(|report| &report.state);
        let (is, reason, wire, message) = match state {
            Some(SourceState::Healthy) => {
                (ConditionStatus::True, Reason::Connected, WireSource::Available, None)
            }
            Some(SourceState::Off) => {
                (ConditionStatus::Unknown, Reason::NotConfigured, WireSource::NotConfigured, None)
            }
            Some(SourceState::Down(why)) => {
                (ConditionStatus::False, Reason::Unreachable, WireSource::Unavailable, Some(clip(why, 1_024)))
            }
            None => (ConditionStatus::Unknown, Reason::Pending, WireSource::Unknown, None),
        };
        let statement = Statement::new(about, is, reason, message.clone().unwrap_or_default());
        // As with the times of conditions: the writer keeps the stored one while the state is the stored one.
        let changed = Some(self.time());
        (statement, SourceStatus { name: title.to_owned(), state: wire, message, changed })
    }
}

/// Does not hurt anybody any more.
fn calm(incident: &Incident) -> bool {
    matches!(incident.state, IncidentState::Mitigated | IncidentState::Resolved)
        || matches!(incident.top_cause().map(|cause| &cause.entity), Some(Entity::Source { .. }))
}

fn wire_cap(action: ActionKind, cap: &LevelCap) -> tenant::LevelCap {
    tenant::LevelCap {
        action: wire_action(action),
        level: wire_level(cap.level),
        since: MicroTime::new(cap.since),
        reason: clip(&cap.reason, 256),
    }
}

/// Why the lowest of the caps stands.
fn lowest(caps: &BTreeMap<ActionKind, LevelCap>) -> Option<String> {
    caps.values().min_by_key(|cap| cap.level).map(|cap| cap.reason.to_string())
}

fn paused(policy: &TenantPolicy, now: Timestamp) -> Statement {
    let about = ConditionType::Paused;
    if policy.paused {
        return Statement::new(about, true, Reason::Requested, "spec.paused is true");
    }
    match policy.do_not_touch_until.filter(|until| *until > now) {
        Some(until) => Statement::new(about, true, Reason::Requested, format!("Hands off until {until}")),
        None => Statement::new(about, false, Reason::AsExpected, ""),
    }
}

fn owned(entry: &TenantEntry) -> [Statement; 2] {
    if entry.contested.is_empty() {
        return [
            Statement::new(ConditionType::NamespacesOwned, true, Reason::AsExpected, ""),
            Statement::new(ConditionType::Ready, true, Reason::AsExpected, ""),
        ];
    }
    let list: Vec<String> =
        entry.contested.iter().map(|(namespace, owner)| format!("{namespace} (of {owner})")).collect();
    let text = format!("An older Tenant names: {}", list.join(", "));
    let reason = Reason::NamespaceClaimedTwice;
    [
        Statement::new(ConditionType::NamespacesOwned, false, reason, text.clone()),
        Statement::new(ConditionType::Ready, false, reason, text),
    ]
}

#[cfg(test)]
#[path = "desired_tests.rs"]
pub(crate) mod tests;
