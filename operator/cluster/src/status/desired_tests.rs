use super::*;
use crate::status::digest;
use crate::validate::TenantDefaults;
use homeostat_crds::conditions::{find, is_true};
use homeostat_knowledge::ids::{EvidenceId, IncidentId, Uid};
use homeostat_knowledge::observation::{Change, ObjectChange, ObjectKind, SourceReport};
use homeostat_knowledge::policy::BreakerLatch;
use homeostat_knowledge::records::{ControllerKey, OwnerRecord};
use homeostat_knowledge::{
    ActionKind, ControllerKind, ControllerRecord, Instants, Name, PodRecord, SignedDuration,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn deployment() -> ControllerKey {
    ControllerKey { kind: ControllerKind::Deployment, object: ObjectKey::new("shop", "order") }
}

fn policy() -> WorkloadPolicy {
    WorkloadPolicy {
        generation: 3,
        ..WorkloadPolicy::new(ObjectKey::new("shop", "order"), Uid::new("w"), deployment())
    }
}

pub(crate) fn rules() -> TenantPolicy {
    TenantPolicy {
        levels: BTreeMap::from([(ActionKind::EvictPod, Level::ActBounded)]),
        ..TenantPolicy::new(TenantName::new("food"), Uid::new("t"), [Name::from("shop")])
    }
}

fn pod(ready: bool) -> PodRecord {
    PodRecord {
        owner: Some(OwnerRecord {
            kind: ControllerKind::Deployment,
            name: Name::from("order"),
            uid: Uid::new("d"),
        }),
        ready,
        created: at(0),
        ..PodRecord::bare(ObjectKey::new("shop", "order-x"), Uid::new("p"))
    }
}

fn incident(state: IncidentState, severity: Severity) -> Incident {
    Incident {
        tenant: Some(TenantName::new("food")),
        workload: Some(ObjectKey::new("shop", "order")),
        state,
        severity,
        ..Incident::open(
            IncidentId::new("order-1"),
            Name::from("shop"),
            EvidenceId::new("e"),
            Instants::new(at(1), at(2)),
        )
    }
}

/// A picture in which all is well.
fn well() -> (CatalogueView, Snapshot) {
    let control = ControlPolicy { kill_switch: KillSwitch::Off, ..ControlPolicy::default() };
    let controller = ControllerRecord::bare(deployment(), Uid::new("d"));
    let mut snapshot = Snapshot::default();
    let changes = [
        ObjectChange::Control(Some(Arc::new(control.clone()))),
        ObjectChange::Tenant(Change::Applied(Arc::new(rules()))),
        ObjectChange::Workload(Change::Applied(Arc::new(policy()))),
        ObjectChange::Controller(Change::Applied(Arc::new(controller))),
        ObjectChange::Pod(Change::Applied(Arc::new(pod(true)))),
    ];
    for change in changes.iter().chain(&ObjectKind::REQUIRED.map(ObjectChange::Synced)) {
        snapshot.commit(change, at(10));
    }
    for (name, state) in [
        ("kubernetes", SourceState::Healthy),
        ("otlp", SourceState::Healthy),
        ("prometheus", SourceState::Off),
    ] {
        let report = SourceReport { state, accepted: 1, dropped: 0 };
        snapshot.sources.insert_mut(Name::from(name), report);
    }
    let view = CatalogueView {
        playbooks: Vec::new(),
        revision: 1,
        ready: true,
        control: Some(ControlEntry {
            uid: Uid::new("c"),
            generation: 1,
            policy: Ok(Arc::new(control)),
            defaults: TenantDefaults::default(),
            breaker: BreakerLatch::default(),
            seen: 0,
        }),
        tenants: vec![TenantEntry {
            name: TenantName::new("food"),
            uid: Uid::new("t"),
            generation: 1,
            created: at(0),
            policy: Ok(Arc::new(rules())),
            contested: Vec::new(),
            routes: Vec::new(),
            told: None,
            seen: 0,
        }],
        workloads: vec![Arc::new(WorkloadEntry {
            key: ObjectKey::new("shop", "order"),
            uid: Uid::new("w"),
            generation: 3,
            created: at(0),
            policy: Ok(Arc::new(policy())),
            verdict: Verdict::Accepted { tenant: TenantName::new("food") },
            seen: 0,
        })],
    };
    (view, snapshot)
}

struct Seen {
    control: ControlPlaneStatus,
    tenant: TenantStatus,
    workload: WorkloadStatus,
}

fn seen_at(view: &CatalogueView, snapshot: &Snapshot, now: Timestamp) -> Seen {
    let leading_since = Some(at(7));
    let me = SelfFacts {
        identity: "homeostat-0".into(),
        version: "0.1.0".into(),
        leading_since,
        ..SelfFacts::default()
    };
    let mut roots = RootHistory::default();
    roots.observe(snapshot, now, SignedDuration::from_hours(1));
    let mut all = desired_status(view, snapshot, &roots, &me, now).into_iter().map(|(status, _)| status);
    let (Some(DesiredStatus::Control(_, control)), Some(DesiredStatus::Tenant(_, tenant))) =
        (all.next(), all.next())
    else {
        panic!("the control plane comes first, then the tenants")
    };
    let Some(DesiredStatus::Workload(_, workload)) = all.next() else { panic!("then the workloads") };
    Seen { control: *control, tenant: *tenant, workload: *workload }
}

fn seen(view: &CatalogueView, snapshot: &Snapshot) -> Seen {
    seen_at(view, snapshot, at(100))
}

fn reason(conditions: &[Condition], about: ConditionType) -> String {
    find(conditions, about).unwrap().reason.clone()
}

#[test]
fn all_is_well() {
    let (view, snapshot) = well();
    let Seen { control, tenant, workload } = seen(&view, &snapshot);
    assert_eq!(workload.health, Some(Health::Healthy));
    assert_eq!(workload.target.as_deref(), Some("Deployment/order"));
    assert_eq!((workload.open_incidents, workload.observed_generation), (Some(0), Some(3)));
    assert_eq!(workload.level, Some(homeostat_crds::Level::ActBounded));
    for about in [ConditionType::Ready, ConditionType::TargetFound, ConditionType::ObjectivesMet] {
        assert!(is_true(&workload.conditions, about), "{about}");
    }
    assert!(is_true(&tenant.conditions, ConditionType::Ready));
    assert_eq!((tenant.workloads, tenant.level_lowered_because), (Some(1), None));
    assert!(is_true(&control.conditions, ConditionType::Ready));
    assert!(is_true(&control.conditions, ConditionType::WarmedUp));
    assert_eq!(reason(&control.conditions, ConditionType::PrometheusAvailable), "NotConfigured");
    assert_eq!((control.tenants, control.workloads), (Some(1), Some(1)));
    assert_eq!(control.leading_since, Some(MicroTime::new(at(7))));
    for (known, conditions) in [
        (workload::CONDITIONS, &workload.conditions),
        (tenant::CONDITIONS, &tenant.conditions),
        (control_plane::CONDITIONS, &control.conditions),
    ] {
        assert!(
            known.iter().all(|about| find(conditions, *about).is_some()),
            "every known condition is there"
        );
        assert!(conditions.iter().all(|condition| condition.observed_generation.is_some()));
    }
}

#[test]
fn nothing_new_gives_equal_statuses_whatever_the_time() {
    let (view, snapshot) = well();
    let (early, late) = (seen_at(&view, &snapshot, at(100)), seen_at(&view, &snapshot, at(90_000)));
    assert_eq!(digest(Some(&early.workload)), digest(Some(&late.workload)));
    assert_eq!(digest(Some(&early.tenant)), digest(Some(&late.tenant)));
    assert_eq!(digest(Some(&early.control)), digest(Some(&late.control)));
}

#[test]
fn a_workload_that_does_not_count_says_why() {
    let (mut view, snapshot) = well();
    let invalid = Rejection::Field { field: "spec.x".into(), found: "7".into(), rule: "it must be 8".into() };
    for (verdict, ready, found) in [
        (Verdict::TargetNotFound, "TargetNotFound", Some(false)),
        (Verdict::TargetTaken { by: ObjectKey::new("shop", "old") }, "TargetClaimedTwice", Some(true)),
        (Verdict::NoTenant, "NoTenant", None),
        (Verdict::TargetNotSupported, "TargetNotSupported", None),
        (Verdict::Invalid(invalid), "InvalidSpec", None),
    ] {
        let entry = WorkloadEntry { verdict: verdict.clone(), ..WorkloadEntry::clone(&view.workloads[0]) };
        view.workloads[0] = Arc::new(entry);
        let status = seen(&view, &snapshot).workload;
        assert!(!is_true(&status.conditions, ConditionType::Ready), "{verdict:?}");
        assert_eq!(reason(&status.conditions, ConditionType::Ready), ready);
        let target = find(&status.conditions, ConditionType::TargetFound).unwrap().status;
        let expected = found.map_or(ConditionStatus::Unknown, ConditionStatus::from);
        assert_eq!(target, expected, "{verdict:?}");
        assert_eq!((status.health, status.level), (Some(Health::Unknown), None));
        let message = &find(&status.conditions, ConditionType::Ready).unwrap().message;
        assert!(message.ends_with("no action is taken for it"), "{message}");
    }
}

#[test]
fn health_follows_incidents_and_pods() {
    for (state, severity, health) in [
        (IncidentState::Open, Severity::Critical, Health::Unhealthy),
        (IncidentState::Acting, Severity::Warning, Health::Degraded),
        (IncidentState::HandedOver, Severity::Critical, Health::Unhealthy),
        (IncidentState::Mitigated, Severity::Critical, Health::Healthy),
        (IncidentState::Resolved, Severity::Critical, Health::Healthy),
    ] {
        let (view, mut snapshot) = well();
        let incident = incident(state, severity);
        snapshot.incidents.insert_mut(incident.id.clone(), Arc::new(incident));
        let found = seen(&view, &snapshot);
        assert_eq!(found.workload.health, Some(health), "{state:?}");
        let open = i32::from(state != IncidentState::Resolved);
        assert_eq!((found.workload.open_incidents, found.tenant.open_incidents), (Some(open), Some(open)));
    }
    let (view, mut snapshot) = well();
    snapshot.commit(&ObjectChange::Pod(Change::Applied(Arc::new(pod(false)))), at(20));
    assert_eq!(seen(&view, &snapshot).workload.health, Some(Health::Unhealthy));
}

#[test]
fn a_lowered_level_says_why() {
    let (view, mut snapshot) = well();
    let engaged = ControlPolicy {
        kill_switch: KillSwitch::Engaged { reason: Name::from("maintenance"), by: None },
        ..ControlPolicy::default()
    };
    snapshot.commit(&ObjectChange::Control(Some(Arc::new(engaged))), at(20));
    let found = seen(&view, &snapshot);
    assert_eq!(found.workload.level, Some(homeostat_crds::Level::Recommend));
    assert_eq!(found.tenant.level_lowered_because.as_deref(), Some("kill switch: maintenance"));
    snapshot.commit(&ObjectChange::Control(None), at(20));
    let because = seen(&view, &snapshot).tenant.level_lowered_because.unwrap();
    assert!(because.contains("cannot be read"), "{because}");
}

#[test]
fn what_was_lowered_after_failures_is_recorded_and_stays_without_them() {
    let (mut view, mut snapshot) = well();
    for number in 0..3 {
        let mut failed = crate::ledger::tests::eviction();
        failed.id = homeostat_knowledge::ActionId::new(format!("order-{number}-1"));
        failed.workload = ObjectKey::new("shop", format!("order-{number}"));
        failed.state = homeostat_knowledge::ActionState::Failed;
        failed.instants.sent = Some(at(20 + number));
        failed.instants.closed = Some(at(50 + number));
        failed.outcome =
            Some(homeostat_knowledge::ActionOutcome { helped: false, reason: "still sick".to_owned() });
        snapshot.commit(&ObjectChange::Action(Change::Applied(Arc::new(failed))), at(60));
    }
    let lowered = seen(&view, &snapshot).tenant.level_caps;
    let [cap] = lowered.as_slice() else { panic!("one cap: {lowered:?}") };
    assert_eq!(
        (cap.action, cap.level),
        (homeostat_crds::ActionKind::EvictPod, homeostat_crds::Level::Approve)
    );
    assert_eq!(cap.since, MicroTime::new(at(52)));
    assert!(cap.reason.contains("3 of 3 EvictPod did not help"), "{}", cap.reason);

    // As the next visit finds it: recorded, long after.
    let mut policy = rules();
    let recorded = homeostat_knowledge::policy::LevelCap {
        level: Level::Approve,
        since: at(52),
        reason: Name::from(cap.reason.as_str()),
    };
    policy.caps.insert(ActionKind::EvictPod, recorded);
    view.tenants[0].policy = Ok(Arc::new(policy));
    let (_, fresh) = well();
    let later = seen_at(&view, &fresh, at(1_000_000)).tenant;
    assert_eq!(later.level_caps, lowered);
    assert_eq!(later.level, Some(homeostat_crds::Level::Approve));
    assert!(later.level_lowered_because.is_some_and(|why| why.contains("did not help")));
}

#[test]
fn before_the_actions_are_listed_no_breaker_is_said_to_be_closed() {
    let (view, mut snapshot) = well();
    let said = |snapshot: &Snapshot| {
        let seen = seen(&view, snapshot);
        [seen.tenant.conditions, seen.workload.conditions]
            .map(|conditions| find(&conditions, ConditionType::BreakerOpen).unwrap().status)
    };
    assert_eq!(said(&snapshot), [ConditionStatus::False; 2]);
    snapshot.synced.remove(&ObjectKind::Action);
    assert_eq!(said(&snapshot), [ConditionStatus::Unknown; 2]);
}

#[test]
fn what_the_kill_switch_leaves_half_done_is_listed_and_bounded() {
    let (view, mut snapshot) = well();
    for number in 0..53 {
        let mut verifying = crate::ledger::tests::eviction();
        verifying.id = homeostat_knowledge::ActionId::new(format!("order-{number}-1"));
        verifying.state = homeostat_knowledge::ActionState::Verifying;
        snapshot.commit(&ObjectChange::Action(Change::Applied(Arc::new(verifying))), at(20));
    }
    let off = seen(&view, &snapshot).control;
    assert_eq!((off.half_done.len(), off.half_done_more), (0, None), "the switch is off");
    let engaged = ControlPolicy {
        kill_switch: KillSwitch::Engaged { reason: Name::from("drill"), by: None },
        ..ControlPolicy::default()
    };
    snapshot.commit(&ObjectChange::Control(Some(Arc::new(engaged))), at(20));
    let stopped = seen(&view, &snapshot).control;
    assert_eq!((stopped.half_done.len(), stopped.half_done_more), (50, Some(3)));
    let first = &stopped.half_done[0];
    assert_eq!(first.kind, homeostat_crds::ActionKind::EvictPod);
    assert!(first.command.starts_with("kubectl -n shop get pods"), "{}", first.command);
}

#[test]
fn a_broken_invariant_is_shown_on_the_control_plane() {
    let (view, mut snapshot) = well();
    snapshot.halted = Some(Name::from("S2 broken by action order-1-1"));
    let control = seen(&view, &snapshot).control;
    assert!(!is_true(&control.conditions, ConditionType::Ready));
    assert_eq!(reason(&control.conditions, ConditionType::Ready), "InvariantBroken");
    let message = &find(&control.conditions, ConditionType::Ready).unwrap().message;
    assert!(message.contains("S2 broken by action order-1-1"), "{message}");
}

#[test]
fn an_open_breaker_is_stored_in_the_status_and_leaves_it_when_a_person_reset_it() {
    let (mut view, snapshot) = well();
    let open = |view: &CatalogueView| {
        let control = seen(view, &snapshot).control;
        let told = find(&control.conditions, ConditionType::BreakerOpen).unwrap().clone();
        let since = control.breaker_open_since.map(MicroTime::timestamp);
        assert_eq!(told.status == ConditionStatus::True, since.is_some());
        (since, told.message)
    };
    assert_eq!(open(&view), (None, String::new()));
    // Every action of that day is gone; what is stored goes on, also while the spec cannot be used.
    let entry = view.control.as_mut().unwrap();
    entry.breaker.opened = Some(at(5));
    let (since, told) = open(&view);
    assert_eq!(since, Some(at(5)));
    assert!(told.contains("homeostat resume --breaker"), "{told}");
    let why = Rejection::Unreadable { message: "a word too many".to_owned() };
    let usable = std::mem::replace(&mut view.control.as_mut().unwrap().policy, Err(why));
    assert_eq!(open(&view).0, Some(at(5)));
    let entry = view.control.as_mut().unwrap();
    (entry.policy, entry.breaker.reset) = (usable, Some(at(6)));
    assert_eq!(open(&view).0, None);
}

#[test]
fn actions_that_a_newer_version_wrote_are_counted_and_named() {
    use homeostat_knowledge::{ActionId, ActionState, UnreadAction};
    let (view, mut snapshot) = well();
    assert!(is_true(&seen(&view, &snapshot).control.conditions, ConditionType::ActionsReadable));
    let states = [ActionState::Sent, ActionState::Claimed, ActionState::Verified];
    for (state, number) in states.into_iter().zip(1..).chain((4..7).map(|n| (ActionState::Admitted, n))) {
        let unread = UnreadAction {
            id: ActionId::new(format!("order-1-{number}")),
            resource_version: Name::from("7"),
            incident: IncidentId::new("order-1"),
            origin: Origin::Incident,
            tenant: TenantName::new("food"),
            workload: ObjectKey::new("shop", "order"),
            target: Uid::new("p"),
            state,
            at: None,
            closed: None,
            why: "spec.action: unknown variant `Teleport`".to_owned(),
        };
        snapshot.commit(&ObjectChange::UnreadAction(Arc::new(unread)), at(20));
    }
    let control = seen(&view, &snapshot).control;
    let told = find(&control.conditions, ConditionType::ActionsReadable).unwrap();
    assert_eq!((told.status, told.reason.as_str()), (ConditionStatus::False, "NewerVersion"));
    for words in [" 5 Actions", "shop/order-1-1, shop/order-1-2, shop/order-1-4 and 2 more", "kubectl delete"]
    {
        assert!(told.message.contains(words), "{}", told.message);
    }
    assert!(!told.message.contains("order-1-3"), "it has ended: {}", told.message);
}

#[test]
fn a_contested_namespace_and_a_dead_source_are_told() {
    let (mut view, mut snapshot) = well();
    view.tenants[0].contested = vec![(Name::from("cafe"), TenantName::new("older"))];
    let down = SourceReport { state: SourceState::Down(Name::from("no word")), accepted: 0, dropped: 0 };
    snapshot.sources.insert_mut(Name::from("kubernetes"), down);
    let found = seen(&view, &snapshot);
    assert_eq!(reason(&found.tenant.conditions, ConditionType::NamespacesOwned), "NamespaceClaimedTwice");
    assert!(!is_true(&found.control.conditions, ConditionType::Ready));
    assert!(!is_true(&found.control.conditions, ConditionType::KubernetesAvailable));
    let source = &found.control.sources[0];
    assert_eq!((source.state, source.message.as_deref()), (WireSource::Unavailable, Some("no word")));
}

#[test]
fn a_tenant_whose_series_are_dropped_is_told_of_which_metric_until_all_are_taken() {
    use homeostat_knowledge::observation::{DroppedSeries, SeriesReport};
    let (view, mut snapshot) = well();
    let said = |snapshot: &Snapshot| {
        let tenant = seen(&view, snapshot).tenant;
        find(&tenant.conditions, ConditionType::SeriesTaken)
            .map(|one| (one.status, one.reason.clone(), one.message.clone()))
    };
    assert_eq!(said(&snapshot), None);
    let dropped = |name: &str| SeriesReport {
        dropped: Some(DroppedSeries { metric: Name::from(name), workload: Some(policy().key) }),
    };
    let tenant = rules().name;
    snapshot.crowd(Some(&TenantName::new("nobody")), &dropped("other"));
    snapshot.crowd(Some(&tenant), &dropped("orders_by_number"));
    assert_eq!(snapshot.crowded.size(), 1, "nothing is kept of a tenant that does not exist");
    let (status, reason, message) = said(&snapshot).unwrap();
    assert_eq!((status, reason.as_str()), (ConditionStatus::False, "TooManySeries"));
    assert!(message.contains(&format!("`orders_by_number` that {} sends", policy().key)), "{message}");
    snapshot.crowd(Some(&tenant), &SeriesReport { dropped: None });
    assert_eq!(said(&snapshot), None);
}

#[test]
fn autoscalers_that_work_against_each_other_are_named() {
    use homeostat_knowledge::forecast::Scaler;
    let (view, mut snapshot) = well();
    let said = |snapshot: &Snapshot| {
        let conditions = seen(&view, snapshot).workload.conditions;
        find(&conditions, ConditionType::ScalerUnique)
            .map(|one| (one.status, one.reason.clone(), one.message.clone()))
    };
    assert_eq!(said(&snapshot), None, "nothing else sizes it, or none is known");
    let queue = (deployment(), Scaler::Keda { name: Name::from("queue") });
    let fit = (deployment(), Scaler::Vpa { name: Name::from("fit") });
    snapshot.scalers = Arc::new(Scaler::by_target([queue.clone()]));
    let (status, _, message) = said(&snapshot).unwrap();
    assert_eq!((status, message.as_str()), (ConditionStatus::True, "ScaledObject queue of KEDA"));
    snapshot.scalers = Arc::new(Scaler::by_target([queue, fit]));
    let (status, reason, message) = said(&snapshot).unwrap();
    assert_eq!((status, reason.as_str()), (ConditionStatus::False, "TargetScaledTwice"));
    for name in ["ScaledObject queue", "VerticalPodAutoscaler fit", "neither scales"] {
        assert!(message.contains(name), "{message}");
    }
    assert!(is_true(&seen(&view, &snapshot).workload.conditions, ConditionType::Ready), "repairs go on");
}
