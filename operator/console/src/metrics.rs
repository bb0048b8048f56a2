//! Every metric that Homeostat shows, behind one facade: one method per metric, so one call site per metric.
//!
//! Label values come from enumerations alone, so the number of series does not grow with the cluster; the exceptions,
//! the tenant of late runs and the workloads that are forecast, are bounded. Names follow
//! Prometheus practice: prefix `homeostat_`, base units, `_total` for counters.

mod forecasts;

use forecasts::Forecasts;
use homeostat_knowledge::observation::SourceState;
use homeostat_knowledge::policy::KillSwitch;
use homeostat_knowledge::{
    ActionKind, ActionState, FindingKind, ForecastRecord, ForecastSkill, GuardName, GuardResult, Incident,
    IncidentState, Severity, SignedDuration, Snapshot, Timestamp,
};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Prefix of every name.
pub const PREFIX: &str = "homeostat";

macro_rules! labels {
    ($($name:ident { $($label:ident),+ })+) => { $(
        #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
        struct $name { $($label: &'static str),+ }
    )+ };
}

labels! {
    BySourceFate { source, fate }
    BySourceState { source, state }
    ByKind { kind }
    ByIncident { state, severity }
    ByActionState { action, state }
    ByGuard { guard, result }
    ByApi { verb, result }
    ByState { state }
    BySkill { skill }
    ByResult { result }
    ByOutcome { outcome }
    ByCredential { credential }
    Build { version }
}

/// A label that people name; bounded by [`MOST_TENANTS`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByTenant {
    tenant: String,
}

/// Every metric. Cheap to clone; clones share the same numbers.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    leader: Gauge,
    queue: Gauge,
    steps: Histogram,
    last_step: Gauge<f64, AtomicU64>,
    items: Family<BySourceFate, Counter>,
    sources: Family<BySourceState, Gauge>,
    analysis_dropped: Family<ByKind, Counter>,
    findings: Family<ByKind, Counter>,
    incidents: Family<ByIncident, Gauge>,
    opened: Family<ByKind, Counter>,
    detection: Histogram,
    mitigation: Histogram,
    restore: Histogram,
    effect: Histogram,
    actions: Family<ByActionState, Counter>,
    open_actions: Family<ByActionState, Gauge>,
    guards: Family<ByGuard, Counter>,
    api: Family<ByApi, Counter>,
    kill_switch: Family<ByState, Gauge>,
    objects: Family<ByKind, Gauge>,
    generation: Gauge,
    halted: Gauge,
    store_full: Gauge,
    unread: Gauge,
    forecasts: Forecasts,
    incident_writes: Family<ByResult, Counter>,
    incidents_unclosed: Gauge,
    audit_waiting: Gauge,
    audit_lost: Counter,
    messages: Family<ByOutcome, Counter>,
    credentials: Family<ByCredential, Gauge>,
    late_runs: Family<ByTenant, Gauge>,
}

fn short() -> Histogram {
    Histogram::new([0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0])
}

fn long() -> Histogram {
    Histogram::new([0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0])
}

impl Metrics {
    /// All metrics at zero, with the build's version.
    pub fn new(version: &'static str) -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let metrics = Self {
            registry: Arc::default(),
            leader: Gauge::default(),
            queue: Gauge::default(),
            steps: short(),
            last_step: Gauge::default(),
            items: Family::default(),
            sources: Family::default(),
            analysis_dropped: Family::default(),
            findings: Family::default(),
            incidents: Family::default(),
            opened: Family::default(),
            detection: long(),
            mitigation: long(),
            restore: long(),
            effect: short(),
            actions: Family::default(),
            open_actions: Family::default(),
            guards: Family::default(),
            api: Family::default(),
            kill_switch: Family::default(),
            objects: Family::default(),
            generation: Gauge::default(),
            halted: Gauge::default(),
            store_full: Gauge::default(),
            unread: Gauge::default(),
            forecasts: Forecasts::default(),
            incident_writes: Family::default(),
            incidents_unclosed: Gauge::default(),
            audit_waiting: Gauge::default(),
            audit_lost: Counter::default(),
            messages: Family::default(),
            credentials: Family::default(),
            late_runs: Family::default(),
        };
        registry.register("build", "Version of this process", Info::new(Build { version }));
        registry.register("leader", "1 while this replica may act", metrics.leader.clone());
        registry.register("queue_batches", "Batches waiting for the loop", metrics.queue.clone());
        registry.register_with_unit(
            "step_duration",
            "Own time of one step of the loop: from observations to findings, incidents and plans",
            Unit::Seconds,
            metrics.steps.clone(),
        );
        registry.register_with_unit(
            "last_step_timestamp",
            "When the loop made its last step, since the epoch",
            Unit::Seconds,
            metrics.last_step.clone(),
        );
        registry.register(
            "source_items",
            "Items that arrived at a source, by what became of them",
            metrics.items.clone(),
        );
        registry.register("source_state", "1 for the state that a source is in", metrics.sources.clone());
        registry.register(
            "analysis_dropped",
            "What analysis and loop left out because a bound was reached, by kind",
            metrics.analysis_dropped.clone(),
        );
        registry.register("findings", "Findings recognised", metrics.findings.clone());
        registry.register("open_incidents", "Incidents that are not closed", metrics.incidents.clone());
        registry.register("incidents", "Incidents opened, by top cause", metrics.opened.clone());
        registry.register_with_unit(
            "incident_detection",
            "From impact start to detected, per incident",
            Unit::Seconds,
            metrics.detection.clone(),
        );
        registry.register_with_unit(
            "incident_mitigation",
            "From detected to mitigated, per incident",
            Unit::Seconds,
            metrics.mitigation.clone(),
        );
        registry.register_with_unit(
            "incident_restore",
            "From impact start to mitigated, per incident",
            Unit::Seconds,
            metrics.restore.clone(),
        );
        registry.register_with_unit(
            "effect_delay",
            "From the stored intent of an action to its effect",
            Unit::Seconds,
            metrics.effect.clone(),
        );
        registry.register("actions", "Actions that reached a state", metrics.actions.clone());
        registry.register(
            "open_actions",
            "Actions that have not ended, by state",
            metrics.open_actions.clone(),
        );
        registry.register("guard_results", "Results of guards", metrics.guards.clone());
        registry.register("api_requests", "Requests to the API server", metrics.api.clone());
        registry.register(
            "kill_switch_state",
            "1 for the state that the kill switch is in",
            metrics.kill_switch.clone(),
        );
        registry.register(
            "halted",
            "1 after an invariant was found broken: nothing is done until the restart",
            metrics.halted.clone(),
        );
        registry.register(
            "api_store_full",
            "1 while the API server's store takes no writes: nobody can lead and nothing is done",
            metrics.store_full.clone(),
        );
        registry.register(
            "unread_actions",
            "Actions that have not ended and that this version cannot read, because a newer one wrote them",
            metrics.unread.clone(),
        );
        metrics.forecasts.register(&mut registry);
        registry.register(
            "incident_writes",
            "Writes of incidents to the API server, by what became of them",
            metrics.incident_writes.clone(),
        );
        registry.register(
            "incidents_unclosed",
            "Incidents that are over and stored as open, because the API server refuses their last write",
            metrics.incidents_unclosed.clone(),
        );
        registry.register(
            "audit_waiting",
            "Decisions that wait for the disk of the audit record",
            metrics.audit_waiting.clone(),
        );
        registry.register(
            "audit_lost",
            "Decisions that are not in the audit record because too many waited for its disk",
            metrics.audit_lost.clone(),
        );
        registry.register(
            "messages",
            "Messages to the routes of Tenants, by what became of them",
            metrics.messages.clone(),
        );
        registry.register_with_unit(
            "credentials_expire",
            "Until the token that requests to the API server carry ends, where it says so",
            Unit::Seconds,
            metrics.credentials.clone(),
        );
        registry.register(
            "late_runs",
            "Runs of Jobs that are or will be late, by tenant; those of tenants beyond 50 together as other",
            metrics.late_runs.clone(),
        );
        registry.register("objects", "Objects known, by kind", metrics.objects.clone());
        registry.register(
            "snapshot_generation",
            "Generation of the newest snapshot",
            metrics.generation.clone(),
        );
        Self { registry: Arc::new(registry), ..metrics }
    }

    /// Whether this replica leads.
    pub fn leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Whether the API server's store takes no writes.
    pub fn store_full(&self, full: bool) {
        self.store_full.set(i64::from(full));
    }

    /// Batches that wait for the loop now.
    pub fn queue(&self, batches: usize) {
        self.queue.set(i64::try_from(batches).unwrap_or(i64::MAX));
    }

    /// One step of the loop: how long it took, and when it ended.
    pub fn step(&self, took: Duration, now: Timestamp) {
        self.steps.observe(took.as_secs_f64());
        self.last_step.set(now.as_millisecond() as f64 / 1e3);
    }

    /// A source's total since start; the source counts, this only shows.
    pub fn source_items(&self, source: &'static str, fate: &'static str, total: u64) {
        let family = self.items.get_or_create(&BySourceFate { source, fate });
        family.inner().store(total, Ordering::Relaxed);
    }

    /// Totals since start of what analysis and loop left out; they count, this only shows.
    pub fn analysis_dropped(&self, totals: impl Iterator<Item = (&'static str, u64)>) {
        for (kind, total) in totals {
            let family = self.analysis_dropped.get_or_create(&ByKind { kind });
            family.inner().store(total, Ordering::Relaxed);
        }
    }

    /// A new finding.
    pub fn finding(&self, kind: FindingKind) {
        self.findings.get_or_create(&ByKind { kind: kind.name() }).inc();
    }

    /// A new incident, with its top cause as it was then.
    pub fn incident_opened(&self, incident: &Incident) {
        let kind = incident.top_cause().map_or("Unknown", |cause| cause.kind.name());
        self.opened.get_or_create(&ByKind { kind }).inc();
        let delay = incident.instants.detected.duration_since(incident.instants.impact_start);
        self.detection.observe(delay.as_secs_f64().max(0.0));
    }

    /// An incident that was mitigated for the first time.
    pub fn incident_mitigated(&self, incident: &Incident) {
        let Some(mitigated) = incident.instants.mitigated else { return };
        let since = |start: Timestamp| mitigated.duration_since(start).as_secs_f64().max(0.0);
        self.mitigation.observe(since(incident.instants.detected));
        self.restore.observe(since(incident.instants.impact_start));
    }

    /// The effect of an action, with the time since its intent was stored.
    pub fn effect(&self, delay: Duration) {
        self.effect.observe(delay.as_secs_f64());
    }

    /// An action that reached a state.
    pub fn action(&self, action: ActionKind, state: ActionState) {
        let labels = ByActionState { action: action.name(), state: action_state(state) };
        self.actions.get_or_create(&labels).inc();
    }

    /// A guard's result.
    pub fn guard(&self, guard: GuardName, result: GuardResult) {
        let result = match result {
            GuardResult::Passed => "passed",
            GuardResult::Refused => "refused",
            GuardResult::Unset => "unset",
            GuardResult::Unknown => "unknown",
        };
        self.guards.get_or_create(&ByGuard { guard: guard.name(), result }).inc();
    }

    /// The skill of every forecast of a load, and how many loads found no room.
    pub fn forecasts(&self, skills: impl Iterator<Item = ForecastSkill>, left_out: usize) {
        self.forecasts.skills(skills, left_out);
    }

    /// How many signals that fill up have no forecast of their limit because there are too many.
    pub fn limits_left_out(&self, left_out: usize) {
        self.forecasts.limits_left_out(left_out);
    }

    /// The newest forecasts, in an order that stays; called before each scrape.
    pub fn forecast_values(&self, sorted: &[&ForecastRecord]) {
        self.forecasts.show(sorted);
    }

    /// Requests to the API server since start; the client counts, this only shows.
    pub fn api_requests(&self, verb: &'static str, result: &'static str, total: u64) {
        let family = self.api.get_or_create(&ByApi { verb, result });
        family.inner().store(total, Ordering::Relaxed);
    }

    /// Writes of incidents since start; the queue counts, this only shows.
    pub fn incident_writes(&self, result: &'static str, total: u64) {
        self.incident_writes.get_or_create(&ByResult { result }).inner().store(total, Ordering::Relaxed);
    }

    /// Incidents that are over, and whose last write did not go through.
    pub fn incidents_unclosed(&self, count: u64) {
        self.incidents_unclosed.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Decisions that wait for the disk of the audit record, and those since start that found no room to wait.
    pub fn audit_record(&self, waiting: u64, lost: u64) {
        self.audit_waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.audit_lost.inner().store(lost, Ordering::Relaxed);
    }

    /// Messages to people since start; who sends them counts, this only shows.
    pub fn messages(&self, outcome: &'static str, total: u64) {
        self.messages.get_or_create(&ByOutcome { outcome }).inner().store(total, Ordering::Relaxed);
    }

    /// Time until the token of this process ends, negative afterwards; `None` where there is none or it does not say.
    pub fn credentials_expire(&self, left: Option<SignedDuration>) {
        self.credentials.clear();
        if let Some(left) = left {
            self.credentials.get_or_create(&ByCredential { credential: "token" }).set(left.as_secs());
        }
    }

    /// Everything that the newest snapshot tells; called before each scrape.
    pub fn snapshot(&self, snapshot: &Snapshot) {
        self.generation.set(i64::try_from(snapshot.generation).unwrap_or(i64::MAX));
        self.halted.set(i64::from(snapshot.halted.is_some()));
        let unread = snapshot.unread.values().filter(|action| action.open()).count();
        self.unread.set(i64::try_from(unread).unwrap_or(i64::MAX));
        for (kind, count) in [
            ("Pod", snapshot.pods.size()),
            ("Controller", snapshot.controllers.size()),
            ("Service", snapshot.services.size()),
            ("Node", snapshot.nodes.size()),
            ("Tenant", snapshot.tenants.size()),
            ("Workload", snapshot.workloads.size()),
            ("Incident", snapshot.incidents.size()),
            ("Action", snapshot.actions.size()),
        ] {
            self.objects.get_or_create(&ByKind { kind }).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        let engaged = kill_switch(&snapshot.control.kill_switch);
        for state in ["off", "engaged", "unreadable"] {
            self.kill_switch.get_or_create(&ByState { state }).set(i64::from(state == engaged));
        }
        self.incidents.clear();
        for incident in snapshot.incidents.values() {
            let labels =
                ByIncident { state: incident_state(incident.state), severity: severity(incident.severity) };
            self.incidents.get_or_create(&labels).inc();
        }
        self.late_runs.clear();
        for (tenant, late) in late_runs(snapshot) {
            self.late_runs.get_or_create(&ByTenant { tenant }).set(late);
        }
        self.open_actions.clear();
        for action in snapshot.actions.values().filter(|action| !action.state.ended()) {
            let labels = ByActionState { action: action.kind().name(), state: action_state(action.state) };
            self.open_actions.get_or_create(&labels).inc();
        }
        self.sources.clear();
        for (name, report) in &snapshot.sources {
            // Names in a snapshot are free text; a label must not be.
            let source = ["otlp", "prometheus", "kubernetes"].into_iter().find(|known| *known == &**name);
            let source = source.unwrap_or("other");
            let now = source_state(&report.state);
            for state in ["off", "healthy", "down"] {
                self.sources.get_or_create(&BySourceState { source, state }).set(i64::from(state == now));
            }
        }
    }

    /// The page that is scraped: `OpenMetrics` text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// Tenants that have a series of their own.
const MOST_TENANTS: usize = 50;

/// Late runs of each tenant whose runs are ordered.
fn late_runs(snapshot: &Snapshot) -> BTreeMap<String, i64> {
    let mut all: BTreeMap<String, i64> = BTreeMap::new();
    for (key, report) in &snapshot.runs {
        let Some(tenant) = snapshot.tenant_of_namespace(&key.namespace) else { continue };
        let name = tenant.name.0.to_string();
        let name =
            if all.contains_key(&name) || all.len() < MOST_TENANTS { name } else { "other".to_owned() };
        *all.entry(name).or_default() += i64::from(report.late_runs);
    }
    all
}

/// Media type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(crate) fn kill_switch(state: &KillSwitch) -> &'static str {
    match state {
        KillSwitch::Off => "off",
        KillSwitch::Engaged { .. } => "engaged",
        KillSwitch::Unreadable => "unreadable",
    }
}

pub(crate) fn source_state(state: &SourceState) -> &'static str {
    match state {
        SourceState::Off => "off",
        SourceState::Healthy => "healthy",
        SourceState::Down(_) => "down",
    }
}

pub(crate) fn incident_state(state: IncidentState) -> &'static str {
    match state {
        IncidentState::Open => "Open",
        IncidentState::Acting => "Acting",
        IncidentState::Mitigated => "Mitigated",
        IncidentState::Resolved => "Resolved",
        IncidentState::HandedOver => "HandedOver",
    }
}

pub(crate) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "Info",
        Severity::Warning => "Warning",
        Severity::Critical => "Critical",
    }
}

pub(crate) fn action_state(state: ActionState) -> &'static str {
    match state {
        ActionState::Proposed => "Proposed",
        ActionState::AwaitingApproval => "AwaitingApproval",
        ActionState::Admitted => "Admitted",
        ActionState::Refused => "Refused",
        ActionState::Claimed => "Claimed",
        ActionState::Sent => "Sent",
        ActionState::Verifying => "Verifying",
        ActionState::Verified => "Verified",
        ActionState::Undone => "Undone",
        ActionState::Failed => "Failed",
        ActionState::Cancelled => "Cancelled",
        ActionState::HandedOver => "HandedOver",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeostat_knowledge::observation::{Change, ObjectChange};
    use homeostat_knowledge::policy::ScalingMode;
    use homeostat_knowledge::{Name, ObjectKey, RunsReport, TenantName, TenantPolicy, Uid};

    #[test]
    fn late_runs_are_counted_per_tenant_and_tenants_are_bounded() {
        let mut snapshot = Snapshot::default();
        for number in 0..60 {
            let name = format!("tenant-{number:02}");
            let tenant = TenantPolicy::new(TenantName::new(&*name), Uid::new(&*name), [Name::from(&*name)]);
            let change = ObjectChange::Tenant(Change::Applied(Arc::new(tenant)));
            snapshot.commit(&change, Timestamp::UNIX_EPOCH);
            let report = RunsReport {
                mode: ScalingMode::Auto,
                waiting: 3,
                running: 0,
                said: String::new(),
                late: None,
                late_runs: 3,
                latest: Vec::new(),
                problem: None,
            };
            snapshot.runs.insert_mut(ObjectKey::new(&*name, "plan"), Arc::new(report));
        }
        let metrics = Metrics::new("0");
        metrics.snapshot(&snapshot);
        let page = metrics.text();
        let series = page.lines().filter(|line| line.starts_with("homeostat_late_runs{"));
        let series: Vec<&str> = series.collect();
        assert_eq!(series.len(), 51, "{series:?}");
        let total = |line: &&str| line.rsplit(' ').next().and_then(|count| count.parse::<i64>().ok());
        assert_eq!(series.iter().filter_map(total).sum::<i64>(), 180);
        assert!(page.contains("homeostat_late_runs{tenant=\"other\"} 30"), "{page}");
    }
}
