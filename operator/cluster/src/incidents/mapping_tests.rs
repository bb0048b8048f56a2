use super::*;
use proptest::prelude::*;

fn time() -> impl Strategy<Value = Timestamp> {
    // Whole microseconds: what the wire holds.
    (0_i64..4_000_000_000_000_000).prop_map(|micros| Timestamp::from_microsecond(micros).unwrap())
}

fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9]{0,12}(-[a-z0-9]{1,5})?"
}

fn key() -> impl Strategy<Value = ObjectKey> {
    ("[a-z]{1,8}", name()).prop_map(|(namespace, name)| ObjectKey::new(namespace, name))
}

fn share() -> impl Strategy<Value = f64> {
    (0_u8..=100).prop_map(|percent| f64::from(percent) / 100.0)
}

fn lines_of() -> impl Strategy<Value = Vec<Evidence>> {
    let line = ("[a-z ]{1,20}", ".{0,40}", prop::option::of(".{0,40}"))
        .prop_map(|(signal, observed, usual)| Evidence { signal, observed, usual });
    prop::collection::vec(line, 0..=wire::MAX_EVIDENCE)
}

/// Entities of an incident of `workload`: its pods are recognised by their names, as Kubernetes gives them.
fn entity_of(workload: ObjectKey) -> impl Strategy<Value = Entity> {
    let pod = workload.clone();
    prop_oneof![
        Just(Entity::Workload { key: workload }),
        ("[a-z0-9]{5}", "[0-9a-f]{8}").prop_map(move |(suffix, uid)| Entity::Pod {
            key: ObjectKey::new(pod.namespace.clone(), format!("{}-{suffix}", pod.name)),
            uid: Uid::new(uid),
            workload: Some(pod.clone()),
        }),
        name().prop_map(|name| Entity::Node { name: Name::from(name) }),
        name().prop_map(|name| Entity::External { address: Name::from(name) }),
        Just(Entity::Source { name: Name::from("otlp") }),
        Just(Entity::Cluster),
    ]
}

fn kinds() -> impl Strategy<Value = FindingKind> {
    prop::sample::select(FindingKind::ALL.to_vec())
}

prop_compose! {
    fn finding_of(workload: ObjectKey)(
        id in "[a-z0-9]{1,20}", entity in entity_of(workload), kind in kinds(), since in time(),
        detected in time(), last_seen in time(), confidence in share(), evidence in lines_of(), active: bool,
    ) -> Finding {
        Finding { id: FindingId::new(id), entity, kind, since, detected, last_seen, confidence, evidence, active }
    }
}

prop_compose! {
    fn cause_of(workload: ObjectKey)(
        entity in entity_of(workload), kind in kinds(), confidence in share(), evidence in lines_of(),
    ) -> Cause {
        Cause { entity, kind, confidence, evidence }
    }
}

fn timeline() -> impl Strategy<Value = Vec<TimelineEntry>> {
    let sorts = vec![
        TimelineKind::Finding,
        TimelineKind::Cause,
        TimelineKind::Decision,
        TimelineKind::Action,
        TimelineKind::State,
        TimelineKind::Person,
    ];
    let line = (time(), prop::sample::select(sorts), ".{1,60}").prop_map(|(at, what, text)| TimelineEntry {
        at,
        what,
        text,
    });
    prop::collection::vec(line, 0..12)
}

fn incident() -> impl Strategy<Value = Incident> {
    key().prop_flat_map(|workload| {
        let states = vec![
            IncidentState::Open,
            IncidentState::Acting,
            IncidentState::Mitigated,
            IncidentState::Resolved,
            IncidentState::HandedOver,
        ];
        let severities = vec![Severity::Info, Severity::Warning, Severity::Critical];
        let first = (
            name(),
            prop::option::of(name()),
            prop::sample::select(states),
            prop::sample::select(severities),
            prop::collection::vec(finding_of(workload.clone()), 0..5),
            prop::collection::vec(cause_of(workload.clone()), 0..5),
        );
        let second = (
            prop::collection::vec(key(), 0..5),
            (time(), time(), prop::option::of(time()), prop::option::of(time()), prop::option::of(time())),
            timeline(),
            prop::collection::vec(name(), 0..5),
            0_u32..9,
            "[0-9a-f]{1,16}",
            prop::option::of(".{1,40}"),
        );
        (Just(workload), first, second).prop_map(|(workload, first, second)| {
            let (id, tenant, state, severity, findings, causes) = first;
            let (affected, instants, timeline, actions, reopen_count, evidence, handed_over) = second;
            let (impact_start, detected, acknowledged, mitigated, resolved) = instants;
            Incident {
                id: IncidentId::new(id),
                namespace: workload.namespace.clone(),
                tenant: tenant.map(TenantName::new),
                workload: Some(workload),
                state,
                severity,
                findings,
                causes,
                affected,
                instants: Instants { impact_start, detected, acknowledged, mitigated, resolved },
                timeline,
                actions: actions.into_iter().map(ActionId::new).collect(),
                reopen_count,
                evidence: EvidenceId::new(evidence),
                handed_over,
                acknowledged_by: None,
            }
        })
    })
}

/// Through the text that the API server stores.
fn there_and_back(incident: &Incident) -> StoredIncident {
    let mut object = WireIncident::new(incident.id.as_str(), spec(incident));
    object.metadata.namespace = Some(incident.namespace.to_string());
    object.status = Some(status(incident));
    let text = serde_json::to_string(&object).unwrap();
    let object: WireIncident = serde_json::from_str(&text).unwrap();
    stored(&object, Timestamp::UNIX_EPOCH, incident.key()).unwrap()
}

proptest! {
    #[test]
    fn what_is_written_is_adopted_after_a_restart(incident in incident()) {
        // Pods of a workload whose name begins with another affected workload's name keep the longer one.
        prop_assume!(incident.affected.iter().all(|key| Some(key) != incident.workload.as_ref()));
        let back = there_and_back(&incident);
        let clash = incident.affected.iter().any(|key| incident.workload.as_ref().is_some_and(|own| {
            key.namespace == own.namespace && key.name.starts_with(&*own.name)
        }));
        prop_assume!(!clash);
        prop_assert_eq!(back.incident, incident);
        prop_assert!(!back.closed);
    }

    #[test]
    fn the_wire_stays_within_its_bounds(incident in incident(), factor in 1_usize..40) {
        let mut large = incident;
        large.findings = large.findings.iter().cycle().take(large.findings.len() * factor).cloned().collect();
        large.timeline = large.timeline.iter().cycle().take(large.timeline.len() * factor).cloned().collect();
        large.actions = large.actions.iter().cycle().take(large.actions.len() * factor).cloned().collect();
        large.handed_over = Some("x".repeat(4_000));
        let status = status(&large);
        prop_assert!(status.findings.len() <= wire::MAX_FINDINGS && status.causes.len() <= wire::MAX_CAUSES);
        prop_assert!(status.timeline.len() <= wire::MAX_TIMELINE && status.actions.len() <= wire::MAX_ACTIONS);
        prop_assert_eq!(status.handover.unwrap().reason.chars().count(), 1_024);
        prop_assert!(status.action_count == i32::try_from(large.actions.len()).ok());
    }
}

fn hung(pod: &str) -> Incident {
    let workload = ObjectKey::new("shop", "order");
    let at = Timestamp::from_second(1_000).unwrap();
    let later = Timestamp::from_millisecond(1_001_400).unwrap();
    Incident {
        tenant: Some(TenantName::new("food")),
        workload: Some(workload.clone()),
        severity: Severity::Critical,
        causes: vec![Cause {
            entity: Entity::Pod {
                key: ObjectKey::new("shop", pod),
                uid: Uid::new("u"),
                workload: Some(workload),
            },
            kind: FindingKind::Hung,
            confidence: 0.991,
            evidence: vec![Evidence::new("calls that failed", "12 of 12 in 0.8 s")],
        }],
        ..Incident::open(
            IncidentId::new("order-7f3k2"),
            Name::from("shop"),
            EvidenceId::new("e"),
            Instants::new(at, later),
        )
    }
}

#[test]
fn the_columns_that_people_see() {
    let status = status(&hung("order-6c-x"));
    assert_eq!(status.cause.as_deref(), Some("order (Hung)"));
    assert_eq!(status.detected_in.as_deref(), Some("1.4s"));
    assert_eq!(status.repaired_in, None);
    assert_eq!(status.causes[0].confidence_percent, 99);
}

#[test]
fn when_it_was_handed_over_stays_when_another_replica_takes_it_up() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let mut incident = hung("order-6c-x");
    incident.handed_over = Some("two restarts did not help".to_owned());
    incident.record(at(1_002), TimelineKind::State, "opened");
    incident.record(at(1_060), TimelineKind::State, "handed over to people");
    incident.record(at(9_000), TimelineKind::State, "taken up by this replica");
    assert_eq!(status(&incident).handover.unwrap().at, MicroTime::new(at(1_060)));
}

#[test]
fn another_pod_of_the_same_workload_has_the_same_fingerprint() {
    let (first, second) = (spec(&hung("order-6c-x")), spec(&hung("order-6c-y")));
    assert_eq!(first.fingerprint, "Hung:Workload:shop/order");
    assert_eq!(first.fingerprint, second.fingerprint);
}

#[test]
fn a_word_of_a_later_version_is_an_error_with_its_place() {
    let incident = hung("order-6c-x");
    let mut object = WireIncident::new("order-7f3k2", spec(&incident));
    let mut status = status(&incident);
    status.causes[0].kind = "Haunted".into();
    object.status = Some(status);
    let error = stored(&object, Timestamp::UNIX_EPOCH, incident.key()).unwrap_err();
    assert_eq!(error.to_string(), "status.causes[0].kind is `Haunted`, which this version does not know");
}

#[test]
fn what_people_wrote_is_read() {
    let incident = hung("order-6c-x");
    let mut object = WireIncident::new("order-7f3k2", spec(&incident));
    object.status = Some(status(&incident));
    object.spec.acknowledged = Some(wire::Acknowledgement { by: "ada".into(), at: None });
    object.spec.closed = Some(wire::Closing { by: "ada".into(), at: None, reason: "known".into() });
    let stored = stored(&object, Timestamp::UNIX_EPOCH, incident.key()).unwrap();
    assert_eq!(stored.acknowledged_by.as_deref(), Some("ada"));
    assert!(stored.closed);
}
