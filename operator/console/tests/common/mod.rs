//! A healed incident as a real one looks, for the tests.
#![allow(dead_code, reason = "each test file uses its part")]

use homeostat_knowledge::action::{ActionInstants, EvidenceRef};
use homeostat_knowledge::forecast::{ForecastPoint, LoadLimit, MEMORY, Outlook, Peak, REQUESTS, RUNS};
use homeostat_knowledge::incident::TimelineKind;
use homeostat_knowledge::observation::{SourceReport, SourceState};
use homeostat_knowledge::plan::Expectation;
use homeostat_knowledge::policy::{KillSwitch, ScalingMode};
use homeostat_knowledge::{
    ActionId, ActionOutcome, ActionRecord, ActionState, Before, Cause, Clock, ControlPolicy, Entity,
    Evidence, EvidenceId, Finding, FindingId, FindingKind, ForecastRecord, ForecastSkill, GuardName,
    GuardReport, GuardResult, Incident, IncidentId, IncidentState, Instants, Name, ObjectKey, Origin,
    Parameters, PlaybookRef, Severity, SignedDuration, SizeAdvice, Snapshot, SnapshotSource, Target,
    TenantName, Timestamp, Uid, UnreadAction, Verification,
};
use std::sync::{Arc, Mutex};

/// `milliseconds` after 2026-11-22T13:04:05Z.
pub fn at(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(1_795_352_645_000 + milliseconds).expect("a valid time")
}

pub struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        at(90_000)
    }
}

#[derive(Clone, Default)]
pub struct Snapshots(pub Arc<Mutex<Arc<Snapshot>>>);

impl SnapshotSource for Snapshots {
    fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0.lock().expect("no test panics while it holds this"))
    }
}

pub fn pod() -> Entity {
    Entity::Pod {
        key: ObjectKey::new("shop", "kitchen-5d8f7c9b6-x2x7q"),
        uid: Uid::new("b7f9"),
        workload: Some(ObjectKey::new("shop", "kitchen")),
    }
}

pub fn incident() -> Incident {
    let kitchen = Entity::Workload { key: ObjectKey::new("shop", "kitchen") };
    let hung = vec![
        Evidence::new("calls without an answer", "12 of 12 in 0.8 s").usual("0 of 1,000"),
        Evidence::new("last good answer", "2.1 s ago").usual("every 9 ms"),
    ];
    let finding = |id: &str, entity: &Entity, kind, since, detected, evidence: &[Evidence]| Finding {
        id: FindingId::new(id),
        entity: entity.clone(),
        kind,
        since: at(since),
        detected: at(detected),
        last_seen: at(detected + 400),
        confidence: 0.993,
        evidence: evidence.to_vec(),
        active: false,
    };
    let order = Entity::Workload { key: ObjectKey::new("shop", "order") };
    let errors = [Evidence::new("calls that failed", "31 of 40 in 1.0 s").usual("2 of 1,000")];
    let mut incident = Incident {
        id: IncidentId::new("kitchen-hung-7t2kq"),
        namespace: Name::from("shop"),
        tenant: Some(TenantName::new("food-delivery")),
        workload: Some(ObjectKey::new("shop", "kitchen")),
        state: IncidentState::Resolved,
        severity: Severity::Critical,
        findings: vec![
            finding("f-1", &kitchen, FindingKind::Hung, 0, 812, &hung),
            finding("f-2", &order, FindingKind::ErrorBurst, 180, 1_020, &errors),
        ],
        causes: vec![
            Cause { entity: pod(), kind: FindingKind::Hung, confidence: 0.94, evidence: hung.clone() },
            Cause {
                entity: order,
                kind: FindingKind::ErrorBurst,
                confidence: 0.041,
                evidence: errors.to_vec(),
            },
        ],
        affected: vec![ObjectKey::new("shop", "order"), ObjectKey::new("shop", "gateway")],
        instants: Instants {
            impact_start: at(0),
            detected: at(812),
            acknowledged: Some(at(834)),
            mitigated: Some(at(2_940)),
            resolved: Some(at(62_940)),
        },
        timeline: Vec::new(),
        actions: vec![ActionId::new("kitchen-hung-7t2kq-evict-1")],
        reopen_count: 0,
        evidence: EvidenceId::new("e-1"),
        handed_over: None,
        acknowledged_by: None,
    };
    incident.record(
        at(812),
        TimelineKind::Finding,
        "Hung kitchen: 12 of 12 calls without an answer in 0.8 s",
    );
    incident.record(at(820), TimelineKind::Cause, "Kitchen explains 94 % of the failing calls");
    incident.record(
        at(834),
        TimelineKind::Decision,
        "Evict pod kitchen-5d8f7c9b6-x2x7q (playbook replace-sick-pod, step 1)",
    );
    incident.record(at(861), TimelineKind::Action, "Eviction accepted by the API server");
    incident.record(at(1_020), TimelineKind::Finding, "ErrorBurst order: a symptom of kitchen");
    incident.record(at(2_940), TimelineKind::State, "Mitigated: first good call after the last failure");
    incident.record(at(62_940), TimelineKind::State, "Resolved: no failure for 60 s");
    incident
}

pub fn action() -> ActionRecord {
    let guard = |name, result, observed: &str, limit: &str| GuardReport {
        name,
        result,
        observed: observed.to_owned(),
        limit: limit.to_owned(),
        message: String::new(),
    };
    ActionRecord {
        id: ActionId::new("kitchen-hung-7t2kq-evict-1"),
        namespace: Name::from("shop"),
        resource_version: Name::from("4711"),
        origin: homeostat_knowledge::Origin::Incident,
        incident: IncidentId::new("kitchen-hung-7t2kq"),
        tenant: TenantName::new("food-delivery"),
        workload: ObjectKey::new("shop", "kitchen"),
        playbook: PlaybookRef { name: Name::from("replace-sick-pod"), version: 0, step: 1 },
        target: Target {
            api_version: Name::from("v1"),
            kind: Name::from("Pod"),
            key: ObjectKey::new("shop", "kitchen-5d8f7c9b6-x2x7q"),
            uid: Uid::new("b7f9"),
            resource_version: Name::from("4242"),
        },
        parameters: Parameters::EvictPod { grace_seconds: None },
        before: Before { replicas: Some(1), ready: Some(1), restarts: Some(0), ..Before::default() },
        epoch: 812,
        evidence: EvidenceRef {
            id: EvidenceId::new("e-1"),
            taken_at: at(812),
            summary: "12 of 12 calls without an answer in 0.8 s (usual 0 of 1,000)".to_owned(),
        },
        verification: Verification {
            within: SignedDuration::from_secs(60),
            expect: Expectation::ObjectivesMet,
        },
        undo: homeostat_knowledge::plan::Undo::None,
        undo_of: None,
        request: homeostat_knowledge::Request::default(),
        state: ActionState::Verified,
        guards: vec![
            guard(GuardName::KillSwitch, GuardResult::Passed, "off", "off"),
            guard(GuardName::Level, GuardResult::Passed, "ActBounded", "ActBounded"),
            guard(GuardName::FreezeWindow, GuardResult::Unset, "no freeze window", "none open"),
            guard(GuardName::Budget, GuardResult::Passed, "2 of 20 this hour", "20"),
            guard(GuardName::FreshRead, GuardResult::Passed, "same UID, still sick", "same UID, still sick"),
        ],
        instants: ActionInstants {
            intent: Some(at(838)),
            claimed: Some(at(846)),
            sent: Some(at(848)),
            acknowledged: Some(at(861)),
            verified: Some(at(62_940)),
            closed: Some(at(62_945)),
        },
        outcome: Some(ActionOutcome {
            helped: true,
            reason: "412 good calls and no failure in 60 s after the new pod was ready".to_owned(),
        }),
        approval: None,
        message: "Verified".to_owned(),
    }
}

/// A snapshot with one open incident, one action, two sources.
pub fn snapshot() -> Snapshot {
    let mut open = incident();
    open.state = IncidentState::Acting;
    open.instants.mitigated = None;
    open.instants.resolved = None;
    let (id, action) = (open.id.clone(), action());
    let healthy = SourceReport { state: SourceState::Healthy, accepted: 1_159_040, dropped: 12 };
    let down = SourceState::Down(Name::from("Prometheus at http://prometheus:9090 cannot be reached"));
    let down = SourceReport { state: down, accepted: 0, dropped: 0 };
    let mut snapshot = Snapshot::default();
    snapshot.generation = 4_711;
    snapshot.control = Arc::new(ControlPolicy { kill_switch: KillSwitch::Off, ..ControlPolicy::default() });
    snapshot.incidents.insert_mut(id, Arc::new(open));
    for (id, state) in [("checkout-1", ActionState::Sent), ("checkout-2", ActionState::Verified)] {
        let unread = UnreadAction {
            id: ActionId::new(id),
            resource_version: Name::from("7"),
            incident: IncidentId::new("checkout"),
            origin: Origin::Incident,
            tenant: action.tenant.clone(),
            workload: action.workload.clone(),
            target: Uid::new("0"),
            state,
            at: None,
            closed: None,
            why: "spec.action: unknown variant `Teleport`".to_owned(),
        };
        snapshot.unread.insert_mut(unread.id.clone(), Arc::new(unread));
    }
    snapshot.actions.insert_mut(action.id.clone(), Arc::new(action));
    snapshot.sources.insert_mut(Name::from("otlp"), healthy);
    snapshot.sources.insert_mut(Name::from("prometheus"), down);
    snapshot
}

/// An hour of minutes from one band of p10 and p90 to another, rising as a morning does.
fn rise(first: (f64, f64), last: (f64, f64)) -> Vec<ForecastPoint> {
    let part = |minute: i64| f64::sin(std::f64::consts::FRAC_PI_2 * minute as f64 / 59.0);
    let between = |from: f64, to: f64, minute: i64| from + (to - from) * part(minute);
    let point = |minute: i64| {
        let (p10, p90) = (between(first.0, last.0, minute), between(first.1, last.1, minute));
        ForecastPoint { at: at(minute * 60_000), p10, p50: p10 / 2.0 + p90 / 2.0, p90 }
    };
    (0..60).map(point).collect()
}

/// What is expected of a kitchen before noon: its load, and its memory, which grows.
pub fn forecasts() -> Vec<ForecastRecord> {
    let load = ForecastRecord {
        workload: ObjectKey::new("shop", "kitchen"),
        workload_uid: Uid::new("7c01"),
        tenant: Some(TenantName::new("food")),
        signal: Name::from(REQUESTS),
        mode: ScalingMode::Auto,
        replicas: 3,
        outlook: Outlook {
            made: at(0),
            horizon_seconds: 3_600,
            now: Some(212.4),
            skill: ForecastSkill::Proven,
            model: Some("seasonal".into()),
            reason: "the day before yesterday looked the same".to_owned(),
            error: Some(0.62),
            peak: Some(Peak { p50: 480.0, p90: 531.2 }),
            points: rise((187.6, 260.0), (420.0, 531.2)),
            next_choice: Some(at(43_200_000)),
            limit: None,
        },
        size: SizeAdvice {
            wanted: Some(7),
            done: Some("scaled to 5, at most two more at a time".to_owned()),
            ..SizeAdvice::keep(at(0))
        },
        memory: None,
    };
    let mut memory = load.clone();
    memory.signal = Name::from(MEMORY);
    memory.mode = ScalingMode::Observe;
    memory.size = SizeAdvice::keep(at(0));
    memory.outlook.now = Some(402_653_184.0);
    memory.outlook.peak = Some(Peak { p50: 410_000_000.0, p90: 431_000_000.0 });
    memory.outlook.points = rise((399.0e6, 407.0e6), (389.0e6, 431.0e6));
    memory.outlook.limit = Some(LoadLimit {
        load: 536_870_912.0,
        p10_seconds: Some(9_000.0),
        p50_seconds: 14_400.0,
        reason: "512 MiB at 33 MiB an hour".to_owned(),
    });
    let mut runs = load.clone();
    (runs.signal, runs.size) = (Name::from(RUNS), SizeAdvice::keep(at(0)));
    (runs.outlook.now, runs.outlook.next_choice) = (Some(301.0), None);
    runs.outlook.model = Some("local level".into());
    runs.outlook.peak = Some(Peak { p50: 310.0, p90: 355.5 });
    runs.outlook.points = vec![ForecastPoint { at: at(0), p10: 270.2, p50: 310.0, p90: 355.5 }];
    vec![memory, load, runs]
}
