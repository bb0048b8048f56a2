//! Gathers what the guards look at from one snapshot: policies, live evidence, history, who else is there.

use crate::actions::{Protected, spec};
use crate::guards::{
    ActionFacts, DryRunFacts, EvidenceFacts, FreshFacts, GuardInput, OwnershipFacts, Purpose, SourceFacts,
    is_object_state,
};
use crate::history::ActionHistory;
use crate::lookback;
use crate::orders;
use crate::places::Place;
use crate::roots::Root;
use crate::witnesses;
use homeostat_knowledge::fight::{self, Fight};
use homeostat_knowledge::forecast::Need;
use homeostat_knowledge::observation::SourceState;
use homeostat_knowledge::policy::{KillSwitch, TenantPolicy};
use homeostat_knowledge::{
    ActionId, ActionKind, ActionRecord, Entity, Finding, FindingKind, GuardName, Incident, Name, Origin,
    Parameters, SignedDuration, Snapshot, Timestamp,
};
use std::collections::BTreeMap;

/// Source that pod and controller states come from.
pub const SOURCE_KUBERNETES: &str = "kubernetes";
/// Source of calls (spans). Names that begin with it count too, e.g. `otlp-traces`.
pub const SOURCE_OTLP: &str = "otlp";
/// Source of queried signals.
pub const SOURCE_PROMETHEUS: &str = "prometheus";

/// What only the driver knows.
#[derive(Clone, Debug)]
pub struct Situation {
    /// Last guard to be asked.
    pub through: GuardName,
    /// The intent comes from an earlier run.
    pub resumed: bool,
    /// The kill switch as read.
    pub kill_switch: KillSwitch,
    /// Holds the lease.
    pub leads: bool,
    /// Broken invariants.
    pub breaches: Vec<String>,
    /// Newest epoch acted from on the workload.
    pub newest_epoch: Option<u64>,
    /// The dry run.
    pub dry_run: DryRunFacts,
    /// The fresh read.
    pub fresh: FreshFacts,
    /// Root causes of the tenant.
    pub roots: Vec<Root>,
    /// The node and the zone of the target, with the root causes there.
    pub places: Vec<Place>,
    /// Everything known about other actions.
    pub history: Vec<ActionHistory>,
}

/// The guards' input for one action. Pure.
pub fn guard_input(
    record: &ActionRecord,
    finding: Option<&Finding>,
    snapshot: &Snapshot,
    situation: Situation,
    protected: &Protected,
    now: Timestamp,
) -> GuardInput {
    let Situation {
        through,
        resumed,
        kill_switch,
        leads,
        breaches,
        newest_epoch,
        dry_run,
        fresh,
        roots,
        places,
        history,
    } = situation;
    let tenant = snapshot.tenants.get(&record.tenant);
    let order = record.origin == Origin::Schedule;
    let controller = snapshot.controller_of(&record.workload);
    let protected = protected.with_people(&snapshot.control.protected);
    let unfit = match spec(record.kind()) {
        Some(spec) => spec.check(record, snapshot, &protected).err().map(|unfit| unfit.to_string()),
        None => Some(format!("{} is not implemented", record.kind())),
    };
    GuardInput {
        now,
        through,
        resumed,
        action: ActionFacts::of(record, snapshot),
        kill_switch,
        clock_off: SignedDuration::ZERO,
        leads,
        synced_since: snapshot.synced_since.filter(|_| snapshot.ready()),
        breaches,
        control: if order { orders::control(&snapshot.control) } else { (*snapshot.control).clone() },
        tenant: tenant.map(|tenant| {
            let limits = if order { orders::limits(&tenant.limits) } else { tenant.limits.clone() };
            TenantPolicy { limits, ..(**tenant).clone() }
        }),
        workload: snapshot.workloads.get(&record.workload).map(|workload| (**workload).clone()),
        neighbours: neighbours(record, snapshot),
        history: lookback::relevant(history, record, now),
        evidence: evidence(record, finding, snapshot),
        roots: if order { Vec::new() } else { roots },
        places: if order { Vec::new() } else { places },
        workloads_in_tenant: tenant.map_or(0, |tenant| {
            let count: usize =
                tenant.namespaces.iter().map(|namespace| snapshot.workloads_in(namespace).count()).sum();
            u32::try_from(count).unwrap_or(u32::MAX)
        }),
        ownership: OwnershipFacts {
            unfit,
            gitops_owner: gitops_owner(record, snapshot),
            hands_off: controller.and_then(|controller| controller.do_not_touch.clone()),
            rolling_out: controller.is_some_and(|controller| controller.rolling_out()),
            newest_epoch: newest_epoch.filter(|_| !order),
            fight: fight(record, snapshot, now),
        },
        dry_run,
        approval: record.approval.clone(),
        intent_stored: !record.resource_version.is_empty() && record.instants.intent.is_some(),
        fresh,
    }
}

/// Who takes back what is set there, as the ledger tells.
fn fight(record: &ActionRecord, snapshot: &Snapshot, now: Timestamp) -> Option<Fight> {
    let all = snapshot.actions.values().map(|action| &**action);
    fight::against(record, all, &snapshot.control.breaker, now)
}

/// The GitOps tool or custom resource that owns what is changed: the autoscaler, or else what the workload targets.
fn gitops_owner(record: &ActionRecord, snapshot: &Snapshot) -> Option<Name> {
    if record.kind() == ActionKind::DriveBounds {
        let workload = snapshot.workloads.get(&record.workload)?;
        return snapshot.autoscaler_named(workload, &record.target.key)?.gitops_owner.clone();
    }
    snapshot.controller_of(&record.workload)?.gitops_owner.clone()
}

/// Tenants that have pods on the node that is acted on.
fn neighbours(record: &ActionRecord, snapshot: &Snapshot) -> Vec<TenantPolicy> {
    if !record.target.is_node() {
        return Vec::new();
    }
    let on_node = snapshot
        .pods
        .values()
        .filter(|pod| pod.node.as_ref() == Some(&record.target.key.name))
        .filter_map(|pod| snapshot.tenant_of_namespace(&pod.key.namespace));
    let tenants: BTreeMap<_, _> = on_node.map(|tenant| (&tenant.name, tenant)).collect();
    tenants
        .into_values()
        .filter(|tenant| tenant.name != record.tenant)
        .map(|tenant| (**tenant).clone())
        .collect()
}

/// The finding as the newest snapshot has it: by what it is about (each process counts ids anew) when it is known, else the one
/// that explains the incident best for this workload or node.
fn live_finding<'a>(
    record: &ActionRecord,
    finding: Option<&Finding>,
    snapshot: &'a Snapshot,
) -> Option<&'a Finding> {
    let incident = snapshot.incidents.get(&record.incident)?;
    if let Some(decided) = finding {
        return incident
            .findings
            .iter()
            .find(|live| live.entity == decided.entity && live.kind == decided.kind);
    }
    let of_workload = |live: &&Finding| match &live.entity {
        // Of a pod only what is found of it, or of all.
        Entity::Pod { uid, .. } if &*record.target.kind == "Pod" => *uid == record.target.uid,
        Entity::Node { name } => record.target.is_node() && *name == record.target.key.name,
        entity => entity.workload() == Some(&record.workload),
    };
    let top = incident.top_cause().map(|cause| cause.kind);
    incident
        .findings
        .iter()
        .filter(of_workload)
        .find(|live| Some(live.kind) == top)
        .or_else(|| incident.findings.iter().find(of_workload))
}

/// The evidence as it stands now.
pub fn evidence(
    record: &ActionRecord,
    finding: Option<&Finding>,
    snapshot: &Snapshot,
) -> Option<EvidenceFacts> {
    let purpose = Purpose::of(record);
    if purpose == Purpose::Size {
        return size_evidence(record, snapshot);
    }
    if purpose == Purpose::Order {
        return Some(orders::evidence(record, snapshot, source(FindingKind::JobStuck, snapshot)));
    }
    let live = live_finding(record, finding, snapshot);
    let incident = snapshot.incidents.get(&record.incident);
    let (kind, since, last_seen, confidence) = if let Some(known) = live.or(finding) {
        (known.kind, known.since, known.last_seen, known.confidence)
    } else {
        let incident = incident?;
        let cause = incident.top_cause()?;
        (cause.kind, incident.instants.impact_start, incident.instants.detected, cause.confidence)
    };
    let health = snapshot.health.get(&record.workload);
    let (last_seen, active) = match purpose {
        // A finding that left the incident, or an incident that was closed, holds no more.
        Purpose::Heal | Purpose::Order => (last_seen, live.is_some_and(|live| live.active)),
        Purpose::Prevent => {
            let well =
                health.is_none_or(|health| health.good_since.is_some() || health.last_failure.is_none());
            let good = health.and_then(|health| health.last_good).unwrap_or(record.evidence.taken_at);
            (good, well && incident.is_some_and(|incident| calm(incident, live)))
        }
        // Returned above.
        Purpose::Size => (last_seen, false),
    };
    Some(EvidenceFacts {
        purpose,
        kind: Some(kind),
        since,
        last_seen: last_seen.max(record.evidence.taken_at),
        confidence: Some(confidence).filter(|value| value.is_finite()),
        active,
        source: source(kind, snapshot),
        sources: incident.map_or_else(Vec::new, |incident| {
            let telling = witnesses::telling(incident, purpose == Purpose::Prevent);
            witnesses::sources(telling, snapshot, |kind| source(kind, snapshot) == SourceFacts::Healthy)
        }),
    })
}

/// What was sick is well; or what is expected still is, and nothing else is found meanwhile.
fn calm(incident: &Incident, live: Option<&Finding>) -> bool {
    match live {
        Some(live) if live.kind == FindingKind::FaultExpected => {
            let mut active = incident.findings.iter().filter(|finding| finding.active);
            live.active && active.all(|finding| finding.kind == FindingKind::FaultExpected)
        }
        live => !live.is_some_and(|live| live.active),
    }
}

/// The newest decision about the size of the workload.
fn size_evidence(record: &ActionRecord, snapshot: &Snapshot) -> Option<EvidenceFacts> {
    let size = snapshot.sizes.get(&record.workload)?;
    Some(EvidenceFacts {
        purpose: Purpose::Size,
        kind: None,
        since: record.evidence.taken_at,
        last_seen: size.decided.max(record.evidence.taken_at),
        confidence: Some(1.0),
        active: still_wanted(record, snapshot),
        // What the decision does without signals is its own rule: the last safe size, then what people declared.
        source: SourceFacts::Healthy,
        sources: Vec::new(),
    })
}

/// Whether the newest decision still asks for at least as much of this change: so many replicas or more for a way up, so
/// many or fewer for a way down, so much or more of what a pod asks for.
pub fn still_wanted(record: &ActionRecord, snapshot: &Snapshot) -> bool {
    if let Parameters::ResizePod { cpu_millis, memory_bytes, .. } = record.parameters {
        let Some(pod) = snapshot.sizes.get(&record.workload).and_then(|size| size.pod.as_ref()) else {
            return false;
        };
        let leads = |wanted: Option<u64>, before: Option<u64>, need: Option<Need>| {
            wanted.is_none_or(|wanted| {
                before.zip(need).is_some_and(|(before, need)| need.leads(before, wanted))
            })
        };
        return leads(cpu_millis, record.before.cpu_millis, pod.cpu)
            && leads(memory_bytes, record.before.memory_bytes, pod.memory);
    }
    let Some(wanted) = snapshot.sizes.get(&record.workload).and_then(|size| size.wanted) else {
        return false;
    };
    let asked = |replicas: i32| u32::try_from(replicas).ok();
    match record.parameters {
        Parameters::ScaleUp { replicas } => asked(replicas).is_some_and(|asked| wanted >= asked),
        Parameters::ScaleDown { replicas } => asked(replicas).is_some_and(|asked| wanted <= asked),
        // A floor that stays is only held for longer.
        Parameters::DriveBounds { bounds, .. } => match record.before.bounds {
            Some(before) if bounds.min > before.min => u64::from(wanted) >= bounds.min,
            _ => u64::from(wanted) <= bounds.min,
        },
        _ => false,
    }
}

/// What the live finding says is wrong; decides what the fresh read must still show.
pub(crate) fn cause_kind(
    record: &ActionRecord,
    finding: Option<&Finding>,
    snapshot: &Snapshot,
) -> Option<FindingKind> {
    match Purpose::of(record) {
        Purpose::Heal => live_finding(record, finding, snapshot).or(finding).map(|finding| finding.kind),
        Purpose::Prevent | Purpose::Size | Purpose::Order => None,
    }
}

/// Findings from signals that a workload names.
fn named_signal(kind: FindingKind) -> bool {
    matches!(
        kind,
        FindingKind::SignalAbnormal
            | FindingKind::MemoryGrowing
            | FindingKind::VolumeFilling
            | FindingKind::QuotaFilling
            | FindingKind::EphemeralStorageFilling
            | FindingKind::QueueGrowing
            | FindingKind::CertificateExpiring
    )
}

/// Health of the sources that such a finding comes from: good when one of them delivers. Nothing tells which of two sources
/// a named signal came from, so one that is configured and down, or tells nothing of itself, is enough to doubt it.
fn source(kind: FindingKind, snapshot: &Snapshot) -> SourceFacts {
    let named = named_signal(kind);
    let families: &[&str] = if is_object_state(kind) {
        &[SOURCE_KUBERNETES]
    } else if named {
        &[SOURCE_PROMETHEUS, SOURCE_OTLP]
    } else {
        &[SOURCE_OTLP]
    };
    let told = |family: &&str| snapshot.sources.keys().any(|name| name.starts_with(*family));
    let silent = named && !families.iter().all(told);
    let (mut healthy, mut down, mut off) = (false, None, None);
    for (name, report) in &snapshot.sources {
        if !families.iter().any(|family| name.starts_with(family)) {
            continue;
        }
        match &report.state {
            SourceState::Healthy => healthy = true,
            SourceState::Down(reason) => down = Some(format!("{name}: {reason}")),
            SourceState::Off => off = Some(format!("{name} is not configured")),
        }
    }
    match down {
        Some(down) if named || !healthy => SourceFacts::Down(down),
        _ if silent => SourceFacts::Unknown,
        _ if healthy => SourceFacts::Healthy,
        _ => off.map_or(SourceFacts::Unknown, SourceFacts::Down),
    }
}

/// All actions that the snapshot knows, with what this process knows better put over it: its own open actions,
/// and what ended here.
pub fn history<'a>(
    snapshot: &'a Snapshot,
    open: impl Iterator<Item = &'a ActionRecord>,
    ended: &BTreeMap<ActionId, ActionHistory>,
) -> Vec<ActionHistory> {
    let mut all: BTreeMap<&ActionId, &ActionRecord> =
        snapshot.actions.values().map(|record| (&record.id, &**record)).collect();
    for record in open {
        let known = all.entry(&record.id).or_insert(record);
        if !known.state.ended() {
            *known = record;
        }
    }
    let mut history: Vec<ActionHistory> =
        all.into_values().filter(|record| !ended.contains_key(&record.id)).map(ActionHistory::of).collect();
    history.extend(ended.values().cloned());
    history.extend(snapshot.unread.values().map(|action| ActionHistory::unread(action)));
    history
}

/// Roots are remembered as long as the longest calm time that a tenant asks for.
pub(crate) fn longest_calm(snapshot: &Snapshot) -> SignedDuration {
    snapshot
        .tenants
        .values()
        .map(|tenant| tenant.limits.storm_calm)
        .max()
        .unwrap_or(SignedDuration::from_mins(10))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, incident, pod_entity, record, restart, snapshot};
    use homeostat_knowledge::observation::SourceReport;
    use homeostat_knowledge::plan::Expectation;
    use homeostat_knowledge::{IncidentState, WorkloadHealth};
    use std::sync::Arc;

    fn with(kind: FindingKind, change: impl FnOnce(&mut homeostat_knowledge::Incident)) -> Snapshot {
        let mut snapshot = snapshot();
        let mut incident = incident("order-1", pod_entity(), kind, -1);
        change(&mut incident);
        snapshot.incidents.insert_mut(incident.id.clone(), Arc::new(incident));
        snapshot
    }

    #[test]
    fn evidence_is_looked_up_as_it_stands_now() {
        let decided = with(FindingKind::Hung, |_| {})
            .incidents
            .values()
            .next()
            .map(|incident| incident.findings[0].clone());
        let decided = decided.expect("a finding");
        let record = record("order-1-1");
        let of = |snapshot: &Snapshot| evidence(&record, Some(&decided), snapshot).expect("evidence");
        let renewed = with(FindingKind::Hung, |incident| incident.findings[0].last_seen = at(7));
        assert_eq!((of(&renewed).last_seen, of(&renewed).active), (at(7), true));
        let over = with(FindingKind::Hung, |incident| incident.findings[0].active = false);
        assert!(!of(&over).active);
        let gone = with(FindingKind::Hung, |incident| incident.findings.clear());
        assert!(!of(&gone).active, "a finding that left its incident holds no more");
        let mut closed = with(FindingKind::Hung, |_| {});
        closed.incidents.remove_mut(&record.incident);
        assert!(!of(&closed).active);
        assert_eq!(evidence(&record, None, &closed), None, "after a restart, without the incident: unknown");
        // Of the process before: it counted the same ids for other findings.
        let other = with(FindingKind::Hung, |incident| {
            let mut before = incident.findings[0].clone();
            (before.kind, before.active) = (FindingKind::Slow, false);
            incident.findings.insert(0, before);
        });
        assert!(of(&other).active);
        let broken = with(FindingKind::Hung, |incident| incident.findings[0].confidence = f64::NAN);
        assert_eq!(of(&broken).confidence, None);
    }

    #[test]
    fn a_source_that_is_down_off_or_silent_about_itself_is_no_source() {
        let record = record("order-1-1");
        let mut snapshot = with(FindingKind::Hung, |_| {});
        let source = |snapshot: &Snapshot| evidence(&record, None, snapshot).expect("evidence").source;
        assert_eq!(source(&snapshot), SourceFacts::Healthy);
        let report = |state| SourceReport { state, accepted: 0, dropped: 0 };
        snapshot.sources.insert_mut("otlp".into(), report(SourceState::Down("port in use".into())));
        assert!(matches!(source(&snapshot), SourceFacts::Down(_)));
        snapshot.sources.insert_mut("otlp".into(), report(SourceState::Off));
        assert!(matches!(source(&snapshot), SourceFacts::Down(_)));
        snapshot.sources.remove_mut("otlp");
        assert_eq!(source(&snapshot), SourceFacts::Unknown, "a healthy watch says nothing about calls");
        // A pod that backs off is seen by the watch, whatever the spans do.
        let crashing = with(FindingKind::BackingOff, |_| {});
        assert_eq!(source(&crashing), SourceFacts::Healthy);
    }

    #[test]
    fn a_queue_is_doubted_as_soon_as_one_source_that_may_measure_it_is_down_or_unknown() {
        let source = |otlp: Option<SourceState>, prometheus: Option<SourceState>| {
            let mut snapshot = with(FindingKind::QueueGrowing, |_| {});
            snapshot.sources.remove_mut("otlp");
            for (name, state) in [("otlp", otlp), ("prometheus", prometheus)] {
                if let Some(state) = state {
                    let report = SourceReport { state, accepted: 0, dropped: 0 };
                    snapshot.sources.insert_mut(name.into(), report);
                }
            }
            super::source(FindingKind::QueueGrowing, &snapshot)
        };
        let down = || Some(SourceState::Down("no answer".into()));
        for (otlp, prometheus, expected) in [
            (Some(SourceState::Healthy), Some(SourceState::Healthy), "healthy"),
            (Some(SourceState::Healthy), Some(SourceState::Off), "healthy"),
            (Some(SourceState::Off), Some(SourceState::Healthy), "healthy"),
            (None, Some(SourceState::Healthy), "unknown"),
            (Some(SourceState::Healthy), None, "unknown"),
            (down(), None, "down"),
            (Some(SourceState::Healthy), down(), "down"),
            (down(), Some(SourceState::Healthy), "down"),
            (Some(SourceState::Off), Some(SourceState::Off), "down"),
            (None, None, "unknown"),
        ] {
            let what = format!("otlp {otlp:?}, prometheus {prometheus:?}");
            let found = match source(otlp, prometheus) {
                SourceFacts::Healthy => "healthy",
                SourceFacts::Down(_) => "down",
                SourceFacts::Unknown => "unknown",
            };
            assert_eq!(found, expected, "{what}");
        }
    }

    #[test]
    fn prevention_needs_calm_not_a_finding() {
        let mut record = restart("order-1-2");
        record.verification.expect = Expectation::RolloutComplete;
        let mut calm = with(FindingKind::Crashed, |incident| {
            incident.findings[0].active = false;
            incident.state = IncidentState::Mitigated;
        });
        let well =
            WorkloadHealth { last_good: Some(at(9)), good_since: Some(at(1)), ..WorkloadHealth::default() };
        calm.health.insert_mut(record.workload.clone(), well);
        let facts = evidence(&record, None, &calm).expect("evidence");
        assert!(facts.active && facts.purpose == Purpose::Prevent);
        assert_eq!(facts.last_seen, at(9));
        let failing = WorkloadHealth { last_failure: Some(at(10)), ..WorkloadHealth::default() };
        calm.health.insert_mut(record.workload.clone(), failing);
        assert!(!evidence(&record, None, &calm).expect("evidence").active);
        let again = with(FindingKind::Crashed, |_| {});
        assert!(!evidence(&record, None, &again).expect("evidence").active, "it crashed again");
    }

    #[test]
    fn own_writes_that_the_snapshot_does_not_show_count() {
        let snapshot = snapshot();
        let mut open = record("order-1-1");
        open.state = homeostat_knowledge::ActionState::Admitted;
        let mut over = record("order-0-1");
        over.state = homeostat_knowledge::ActionState::Verified;
        over.instants.sent = Some(at(-100));
        let ended = BTreeMap::from([(over.id.clone(), ActionHistory::of(&over))]);
        let known = history(&snapshot, std::iter::once(&open), &ended);
        assert_eq!(known.len(), 2);
        assert!(known.iter().all(ActionHistory::counts));
    }

    #[test]
    fn a_size_of_a_pod_is_wanted_while_it_leads_to_what_is_needed() {
        let need = |request, used, falls| Need { request, used, falls };
        let up = need(800, 100, false);
        assert!(up.leads(500, 800) && up.leads(500, 700) && !up.leads(500, 900), "no further");
        assert!(!up.leads(1_000, 800), "too little is known for less");
        let down = need(500, 600, true);
        assert!(down.leads(1_000, 800) && !down.leads(1_000, 550), "not below what is in use");
        assert!(!down.leads(500, 500), "no change");
    }
}
