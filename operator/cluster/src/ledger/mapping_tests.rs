use super::*;
use proptest::prelude::*;

/// An eviction as it is before anything was stored.
pub(crate) fn eviction() -> ActionRecord {
    let at = Timestamp::from_second(1_700_000_000).unwrap();
    ActionRecord {
        id: ActionId::new("order-7f3k2-1"),
        namespace: Name::from("shop"),
        resource_version: Name::from(""),
        origin: homeostat_knowledge::Origin::Incident,
        incident: IncidentId::new("order-7f3k2"),
        tenant: TenantName::new("food"),
        workload: ObjectKey::new("shop", "order"),
        playbook: PlaybookRef { name: Name::from("hung-process"), version: 0, step: 1 },
        target: Target {
            api_version: Name::from("v1"),
            kind: Name::from("Pod"),
            key: ObjectKey::new("shop", "order-6c-x"),
            uid: Uid::new("0f2c"),
            resource_version: Name::from("88231"),
        },
        parameters: Parameters::EvictPod { grace_seconds: None },
        before: Before {
            replicas: Some(1),
            ready: Some(0),
            revision: Some(Name::from("4")),
            restarts: Some(3),
            ..Before::default()
        },
        epoch: 17,
        evidence: EvidenceRef {
            id: EvidenceId::new("9c41"),
            taken_at: at,
            summary: "no answer for 1.2 s".to_owned(),
        },
        verification: Verification {
            within: SignedDuration::from_secs(30),
            expect: Expectation::ObjectivesMet,
        },
        undo: Undo::None,
        undo_of: None,
        request: homeostat_knowledge::Request::default(),
        state: ActionState::Admitted,
        guards: vec![GuardReport {
            name: GuardName::KillSwitch,
            result: GuardResult::Passed,
            observed: "off".to_owned(),
            limit: String::new(),
            message: String::new(),
        }],
        instants: ActionInstants { intent: Some(at), ..ActionInstants::default() },
        outcome: None,
        approval: None,
        message: "no answer for 1.2 s, 3 callers affected".to_owned(),
    }
}

/// Through the text that the API server stores.
fn there_and_back(record_: &ActionRecord) -> Result<ActionRecord, NotOurs> {
    let mut object = Action::new(record_.id.as_str(), spec(record_));
    object.metadata.namespace = Some(record_.namespace.to_string());
    object.metadata.resource_version = Some(record_.resource_version.to_string());
    object.status = Some(status(record_));
    let text = serde_json::to_string(&object).unwrap();
    record(&serde_json::from_str(&text).unwrap(), Timestamp::UNIX_EPOCH)
}

fn time() -> impl Strategy<Value = Option<Timestamp>> {
    prop::option::of(
        (0_i64..4_000_000_000_000_000).prop_map(|micros| Timestamp::from_microsecond(micros).unwrap()),
    )
}

prop_compose! {
    fn reports()(results in prop::collection::vec(0_usize..4, GuardName::ORDER.len()), text in ".{0,30}")
        -> Vec<GuardReport> {
        let all = [GuardResult::Passed, GuardResult::Refused, GuardResult::Unset, GuardResult::Unknown];
        GuardName::ORDER.into_iter().zip(results).map(|(name, result)| GuardReport {
            name, result: all[result], observed: text.clone(), limit: text.clone(), message: text.clone(),
        }).collect()
    }
}

/// One of each kind that is stored.
fn all_parameters(message: &str) -> [Parameters; 17] {
    let until = Timestamp::from_microsecond(1_700_000_000_123_456).unwrap();
    [
        Parameters::ScaleUp { replicas: 6 },
        Parameters::ScaleDown { replicas: 2 },
        Parameters::DriveBounds { bounds: Bounds { min: 6, max: 10 }, until },
        Parameters::EvictPod { grace_seconds: None },
        Parameters::EvictPod { grace_seconds: Some(1) },
        Parameters::RollingRestart,
        Parameters::RollBack { revision: Name::from("order-7d") },
        Parameters::Cordon { until },
        Parameters::Uncordon,
        Parameters::Suspend { until },
        Parameters::Resume,
        Parameters::RetryJob,
        Parameters::StartJob { cpu_millis: Some(500), memory_bytes: Some(1 << 30), parallelism: Some(4) },
        Parameters::StartJob { cpu_millis: None, memory_bytes: None, parallelism: None },
        Parameters::CreateJob { slot: Timestamp::from_second(1_700_000_000).unwrap() },
        Parameters::ResizePod {
            container: Name::from("app"),
            cpu_millis: Some(333),
            cpu_limit_millis: Some(1_001),
            memory_bytes: Some((1 << 40) + 1),
            memory_limit_bytes: Some((1 << 41) + 1),
        },
        Parameters::Notify { message: message.to_owned() },
    ]
}

proptest! {
    #[test]
    fn what_is_stored_is_carried_on_after_a_restart(
        states in 0_usize..12, guards in reports(), intent in time(), claimed in time(), sent in time(),
        acknowledged in time(), verified in time(), closed in time(), helped in prop::option::of(any::<bool>()),
        message in ".{0,80}", kind in 0_usize..17, approve in prop::option::of(any::<bool>()), epoch in 0_u64..1 << 50,
    ) {
        let before = ActionRecord {
            state: ActionState::ALL[states],
            guards,
            instants: ActionInstants { intent, claimed, sent, acknowledged, verified, closed },
            outcome: helped.map(|helped| ActionOutcome { helped, reason: message.clone() }),
            parameters: all_parameters(&message)[kind].clone(),
            before: Before {
                cordoned: helped,
                suspended: helped.map(|helped| !helped),
                cpu_millis: Some(epoch % 100_000),
                cpu_limit_millis: helped.map(|_| epoch % 1_000),
                memory_bytes: Some(epoch),
                memory_limit_bytes: helped.map(|_| epoch),
                bounds: helped.map(|_| Bounds { min: epoch % 100, max: 100 }),
                parallelism: helped.map(|_| 2),
                ..Before::default()
            },
            undo: if epoch % 2 == 0 { Undo::Restore } else { Undo::None },
            undo_of: helped.map(|_| ActionId::new("order-7f3k2-0")),
            request: Request {
                by: Name::from(if epoch % 3 == 0 { "" } else { "system:serviceaccount:h:h" }),
                expires: claimed,
                digest: Name::from(if epoch % 5 == 0 { "" } else { "6b86b273" }),
            },
            approval: approve.map(|yes| Approval {
                decision: if yes { ApprovalDecision::Approve } else { ApprovalDecision::Deny },
                approved_by: Name::from("ada"),
                evidence: EvidenceId::new("9c41"),
                digest: helped.map(|_| Name::from("6b86b273")),
                at: intent.unwrap_or(Timestamp::UNIX_EPOCH),
            }),
            message,
            epoch,
            origin: Origin::ALL[usize::try_from(epoch % 3).unwrap()],
            incident: match epoch % 3 {
                0 => eviction().incident,
                1 => forecast::occasion(&eviction().workload),
                _ => runs::occasion(&eviction().target),
            },
            resource_version: Name::from("5"),
            ..eviction()
        };
        prop_assert_eq!(there_and_back(&before), Ok(before));
    }
}

#[test]
fn what_a_forecast_asks_for_names_the_forecast_and_no_incident() {
    let workload = ObjectKey::new("shop", "order");
    let sized = ActionRecord {
        origin: Origin::Forecast,
        incident: forecast::occasion(&workload),
        parameters: Parameters::ScaleDown { replicas: 0 },
        ..eviction()
    };
    let spec = spec(&sized);
    assert_eq!(spec.incident_ref, None);
    assert_eq!(spec.forecast_ref.map(|forecast| forecast.name).as_deref(), Some("order-requests"));
    assert_eq!(there_and_back(&sized), Ok(sized));
}

#[test]
fn a_run_names_its_workload_and_neither_incident_nor_forecast() {
    let mut run = ActionRecord {
        origin: Origin::Schedule,
        parameters: Parameters::StartJob {
            cpu_millis: None,
            memory_bytes: Some(1 << 28),
            parallelism: Some(3),
        },
        ..eviction()
    };
    run.target.kind = Name::from("Job");
    run.incident = runs::occasion(&run.target);
    let wire = spec(&run);
    assert_eq!((wire.origin, &wire.incident_ref, &wire.forecast_ref), (WireOrigin::Schedule, &None, &None));
    assert_eq!(wire.serves(), "order");
    assert_eq!(there_and_back(&run), Ok(run));
    // A pod of it, too.
    let mut pod = ActionRecord {
        origin: Origin::Schedule,
        parameters: Parameters::ResizePod {
            container: Name::from("app"),
            cpu_millis: None,
            cpu_limit_millis: None,
            memory_bytes: Some(1 << 28),
            memory_limit_bytes: Some(1 << 29),
        },
        ..eviction()
    };
    pod.incident = runs::occasion(&pod.target);
    assert_eq!(there_and_back(&pod), Ok(pod));
    let mut object = Action::new("order-7f3k2-1", spec(&eviction()));
    object.spec.incident_ref = None;
    let error = record(&object, Timestamp::UNIX_EPOCH).unwrap_err();
    assert_eq!(error, NotOurs::Missing("spec.incidentRef"), "whose it is is never guessed");
}

#[test]
fn a_size_that_was_stored_before_there_were_limits_of_cpu_is_read_as_one_that_leaves_them() {
    let parameters = Parameters::ResizePod {
        container: Name::from("app"),
        cpu_millis: Some(800),
        cpu_limit_millis: None,
        memory_bytes: None,
        memory_limit_bytes: None,
    };
    let before = Before { cpu_millis: Some(500), ..Before::default() };
    let resize = ActionRecord { parameters, before, ..eviction() };
    let text = serde_json::to_string(&spec(&resize)).unwrap();
    assert!(!text.contains("cpuLimit"), "as an earlier version wrote it: {text}");
    assert_eq!(there_and_back(&resize), Ok(resize.clone()));
    // The same in what a replica records for itself.
    let mut kept = serde_json::to_value(&resize).unwrap();
    for part in ["/parameters/ResizePod", "/before"] {
        kept.pointer_mut(part).unwrap().as_object_mut().unwrap().remove("cpu_limit_millis").unwrap();
    }
    assert_eq!(serde_json::from_value::<ActionRecord>(kept).unwrap(), resize);
}

#[test]
fn an_action_without_status_is_a_proposal() {
    let mut object = Action::new("order-7f3k2-1", spec(&eviction()));
    object.metadata.namespace = Some("shop".into());
    let found = record(&object, Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(found.state, ActionState::Proposed);
    assert_eq!((found.guards.len(), found.instants), (0, ActionInstants::default()));
}

#[test]
fn what_this_version_cannot_do_is_refused_by_name() {
    let mut object = Action::new("a", spec(&eviction()));
    object.spec.action = homeostat_crds::ActionKind::Drain;
    assert_eq!(record(&object, Timestamp::UNIX_EPOCH), Err(NotOurs::Kind(ActionKind::Drain)));
    // A size without a number is no order to guess one.
    let mut object = Action::new("a", spec(&eviction()));
    for (action, missing) in [
        (homeostat_crds::ActionKind::ScaleUp, "spec.parameters.replicas"),
        (homeostat_crds::ActionKind::RollBack, "spec.parameters.revision"),
        (homeostat_crds::ActionKind::DriveBounds, "spec.parameters.minReplicas and maxReplicas"),
        (homeostat_crds::ActionKind::Cordon, "spec.parameters.until"),
        (homeostat_crds::ActionKind::ResizePod, "spec.parameters.container"),
        (homeostat_crds::ActionKind::CreateJob, "spec.parameters.slot"),
    ] {
        object.spec.action = action;
        assert_eq!(record(&object, Timestamp::UNIX_EPOCH), Err(NotOurs::Missing(missing)));
    }
    let mut object = Action::new("a", spec(&eviction()));
    object.status = Some(status(&eviction()));
    object.status.as_mut().unwrap().guards[0].name = "Moon".into();
    let error = record(&object, Timestamp::UNIX_EPOCH).unwrap_err().to_string();
    assert_eq!(error, "status.guards[0].name is `Moon`, which this version does not know");
}

#[test]
fn long_texts_are_cut_to_what_fits() {
    let long = "x".repeat(5_000);
    let mut record = eviction();
    record.message.clone_from(&long);
    record.evidence.summary = long;
    assert_eq!(status(&record).message.unwrap().chars().count(), 1_024);
    assert_eq!(spec(&record).evidence.summary.chars().count(), 1_024);
}

#[test]
fn what_is_asked_is_the_same_question_before_it_is_stored_and_after_it_was_read_back() {
    use homeostat_execute::asking::digest;
    let nanos = Timestamp::from_nanosecond(1_700_000_000_123_456_789).unwrap();
    let all = all_parameters("tell").into_iter().chain([
        Parameters::Cordon { until: nanos },
        Parameters::DriveBounds { bounds: Bounds { min: 6, max: 10 }, until: nanos },
        Parameters::ResizePod {
            container: "app".into(),
            cpu_millis: Some(250),
            cpu_limit_millis: None,
            memory_bytes: Some(1 << 28),
            memory_limit_bytes: None,
        },
    ]);
    for parameters in all {
        let mut asked = ActionRecord { parameters, ..eviction() };
        asked.evidence.taken_at = nanos;
        asked.request = Request { by: "h".into(), expires: Some(nanos), digest: Name::from("") };
        asked.request.digest = digest(&asked);
        let read = there_and_back(&asked).unwrap();
        assert_eq!(digest(&read), read.request.digest, "{:?}", read.parameters);
    }
}
